#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Signals to a client that waits for a device that stands still: only one that
# kills it ends the wait, as on other file systems, and at once.

load common
load support/arena

setup()
{
	common_setup
	requires_fuse
	medium_make
	T=$T/medium make_device --capacity 128M --zone-size 16M --conv-zones 3
	mount_device append_buffer=1M
}

# waiting CALL [STEP]: zio's CALL on seq/0, which has 1 byte, waits for the device, as
# do those after it. STEP comes first.
waiting()
{
	rm -f "$T/here" "$T/go"
	# A job in the background would ignore the signals of a terminal.
	env --default-signal=INT,QUIT zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:1 \
		"touch:$T/here" "await:$T/go" "${2:-alarms}" write:4096 "$1" alarms fsync \
		close >"$T/zio" 3>&- &
	CLIENT=$!
	zio "await:$T/here" >/dev/null
	medium_stop
	touch "$T/go"
	# Six words are out when it is in the call.
	await_true words_are 6
	await_true client_state SD
	sleep 0.1
	client_state SD
	words_are 6
}

words_are()
{
	[[ $(wc -w <"$T/zio") == "$1" ]]
}

# client_state LETTERS: of ps(1)
client_state()
{
	grep -q ") [$1] " "/proc/$CLIENT/stat" 2>/dev/null
}

client_is_gone()
{
	! is_running "$CLIENT"
}

# await_true COMMAND...: within two seconds
await_true()
{
	for _ in {1..100}; do
		"$@" && return
		sleep 0.02
	done
	echo "never true: $*"
	cat "$T/zio"
	return 1
}

# Longer than the daemon takes to look at the client again.
still_waits()
{
	sleep 0.6
	words_are 6 && client_state SD
}

# The device works again, and the call has the result of one without signals.
call_ends_with()
{
	medium_go
	wait "$CLIENT"
	same "$(cat "$T/zio")" "$1"
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

# What calls may wait for: a flush, zeros, room in the buffer, what was appended.
calls=(fsync ftruncate:12M write:8M close)

# killed_by SIGNAL...: the last one kills, within about a second.
killed_by()
{
	local sig start=$EPOCHREALTIME

	for sig; do
		kill "-$sig" "$CLIENT"
		[[ $sig != CONT ]] || still_waits
		start=$EPOCHREALTIME
	done
	await_true client_is_gone
	((${EPOCHREALTIME/./} - ${start/./} < 1200000)) || {
		echo "took from $start to $EPOCHREALTIME"
		return 1
	}
	{ wait "$CLIENT"; } 2>/dev/null || :
	words_are 6
	medium_go
}

# for_each_call COMMAND...: with a client that waits in the call.
for_each_call()
{
	for call in "${calls[@]}"; do
		echo "in $call:"
		waiting "$call"
		"$@"
		# What the zone holds is what was written, and zeros.
		expect "0 1" zio "open:O_RDONLY:$MNT/seq/0" read:1,check=1
		expect 0 zio "truncate:0:$MNT/seq/0"
	done
}

@test "fsync, stopped and continued" {
	waiting fsync
	kill -STOP "$CLIENT"
	await_true client_state D
	still_waits
	kill -CONT "$CLIENT"
	still_waits
	call_ends_with "0 1 0 0 0 4096 0 0 0 0"
}

@test "a truncate that fills with zeros, stopped and continued" {
	waiting ftruncate:12M
	kill -STOP "$CLIENT"
	kill -CONT "$CLIENT"
	still_waits
	call_ends_with "0 1 0 0 0 4096 0 0 0 0"
}

@test "a write against a full buffer, stopped and continued" {
	waiting write:8M
	kill -STOP "$CLIENT"
	kill -CONT "$CLIENT"
	still_waits
	call_ends_with "0 1 0 0 0 4096 8388608 0 0 0"
}

@test "a handler for SIGALRM that restarts nothing runs after the call has succeeded" {
	waiting fsync alarm:400
	await_true client_state D
	still_waits
	call_ends_with "0 1 0 0 0 4096 0 1 0 0"
}

@test "close, stopped and continued" {
	waiting close
	kill -STOP "$CLIENT"
	kill -CONT "$CLIENT"
	still_waits
	call_ends_with "0 1 0 0 0 4096 0 0 EBADF EBADF"
}

@test "SIGKILL ends each call within a second" {
	for_each_call killed_by KILL
}

@test "signals that nobody handles end each call within a second" {
	for_each_call killed_by INT
	for_each_call killed_by QUIT
}

@test "SIGKILL after signals that did no harm" {
	for_each_call killed_by STOP CONT KILL
}

@test "a client in a PID namespace that the daemon does not see is let go after five seconds" {
	umount_device
	ZONEFSD_WRAPPER="unshare --pid --fork $ZONEFSD_WRAPPER" mount_device
	waiting fsync
	kill -STOP "$CLIENT"
	kill -CONT "$CLIENT"
	still_waits
	call_ends_with "0 1 0 0 0 4096 0 0 0 0"
	ZONEFSD_WRAPPER="unshare --pid --fork $ZONEFSD_WRAPPER" mount_device
	waiting fsync
	kill -KILL "$CLIENT"
	sleep 4
	still_waits
	# Five for the call, five for the close.
	for _ in {1..5}; do
		await_true client_is_gone && break
	done
	client_is_gone
}

@test "a client that is killed while others wait: they go on" {
	waiting fsync
	zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" fsync >"$T/other" 2>&1 3>&- &
	other=$!
	kill -STOP "$other"
	kill -CONT "$other"
	kill -KILL "$CLIENT"
	await_true client_is_gone
	medium_go
	wait "$other"
	same "$(cat "$T/other")" "0 0"
}
