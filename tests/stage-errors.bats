#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# Appends that were acknowledged and then could not be written: every loss is told
# to each open file once, at its next write, fsync or close (D17), and what was
# acknowledged with no error after it is there. SECONDS_EACH seconds for the test
# with errors at random (6; make stress: 120); SEED repeats it.

load common
load support/arena

: "${SECONDS_EACH:=$([[ ${STRESS:-} ]] && echo 120 || echo 6)}"
export BATS_TEST_TIMEOUT=$((SECONDS_EACH * 5 + 180))
# seq/0's zone in both geometries.
zone=3

setup()
{
	common_setup
	requires_fuse
	seed_random
}

# failing ERRNO [OPTION]: a mount of which the next write to seq/0 fails.
failing()
{
	[[ $DEV ]] && umount_device && rm -rf "$DEV"
	make_mount "${2:-errors=repair}" >"$T/made"
	may_log 'Input/output error|No space left'
	expect ok ctl inject error "${3:-write}" $zone "$1"
}

# Until the loss is known, however it came.
await_loss()
{
	local i

	for i in {1..300}; do
		[[ $(stat_counter late_errors) == 0 ]] || return 0
		sleep 0.02
	done
	echo "no late error"
	return 1
}

# zio in the background, to go on when $T/go is there; its answers in $T/zio.
in_background()
{
	rm -f "$T/go" "$T/here"
	zio "$@" >"$T/zio" 2>&1 3>&- &
	ZIO=$!
	zio "await:$T/here" >/dev/null
}

go_on()
{
	touch "$T/go"
	wait "$ZIO"
	same "$(cat "$T/zio")" "$1"
}

# holds FILE BYTES
holds()
{
	expect "0 $2" zio "open:O_RDONLY:$1" "read:$(($2 + 5000))@0,check=1"
}

@test "the next fsync, fdatasync or close tells, and only that one" {
	for errno in EIO ENOSPC; do
		for op in fsync fdatasync; do
			failing $errno
			expect "0 65536 $errno 0 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:65536 \
				$op $op size close
			holds "$MNT/seq/0" 0
		done
		failing $errno
		expect "0 65536 $errno 0 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:65536 \
			close "open:O_WRONLY:$MNT/seq/0" fsync close
		same "$(stat_counter late_errors)" 1
	done
}

@test "the next write tells; what follows the lost bytes is refused, what follows the end is not" {
	for errno in EIO ENOSPC; do
		failing $errno
		in_background "open:O_WRONLY:$MNT/seq/0" write:65536 "touch:$T/here" \
			"await:$T/go" write:100 write:100 fsync seek:0,end write:100 fsync close
		await_loss
		go_on "0 65536 0 0 $errno $errno 0 0 100 0 0"
		holds "$MNT/seq/0" 100
	done
}

@test "O_APPEND goes on at the end that is left" {
	for errno in EIO ENOSPC; do
		failing $errno
		in_background "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:65536 "touch:$T/here" \
			"await:$T/go" write:100 write:200,at=0 write:300,at=200 fsync close
		await_loss
		go_on "0 65536 0 0 $errno 200 300 0 0"
		holds "$MNT/seq/0" 500
	done
}

@test "what had reached the device stays: whole blocks of a write that failed in part" {
	for errno in EIO ENOSPC; do
		failing "$errno partial=16384"
		expect "0 65536 $errno 16384 0" zio "open:O_WRONLY:$MNT/seq/0" write:65536 fsync \
			size fsync
		holds "$MNT/seq/0" 16384
		grep -q 'the last 49152 bytes, which were acknowledged, are lost' "$T/daemon.log"
		: >"$T/daemon.log"
	done
	: >"$T/expected-log"
}

@test "the tail: lost at fsync, at close, and by the clock" {
	for errno in EIO ENOSPC; do
		failing $errno errors=repair put_tail
		expect "0 100 $errno 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:100 fsync size fsync
		failing $errno errors=repair put_tail
		expect "0 100 $errno" zio "open:O_WRONLY:$MNT/seq/0" write:100 close
		same "$(size_of "$MNT/seq/0")" 0
		failing $errno errors=repair,flush_interval=1 put_tail
		in_background "open:O_WRONLY:$MNT/seq/0" write:100 "touch:$T/here" "await:$T/go" \
			write:1 close
		await_loss
		go_on "0 100 0 0 $errno 0"
	done
}

@test "a tail that was durable stays when what follows it is lost" {
	for errno in EIO ENOSPC; do
		failing $errno
		expect ok ctl inject error write $zone 0
		expect "0 5000 0" zio "open:O_WRONLY:$MNT/seq/0" write:5000 fsync
		expect ok ctl inject error write $zone $errno
		expect "0 5000 65536 $errno 5000 0" zio "open:O_WRONLY:$MNT/seq/0" seek:0,end \
			write:65536 fsync size fsync
		holds "$MNT/seq/0" 5000
		remount_device errors=repair
		holds "$MNT/seq/0" 5000
	done
}

@test "two descriptors of a file: each is told once, at fsync, write or close" {
	for errno in EIO ENOSPC; do
		failing $errno
		expect "0 0 0 65536 $errno 0 0 $errno 0 0 0 0" \
			zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" "open:O_WRONLY,O_APPEND:$MNT/seq/0" \
			fd:0 write:65536 fsync fsync fd:1 fsync fsync close fd:0 close
		failing $errno
		expect "0 0 0 65536 $errno 0 $errno 0 100 0 0" \
			zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" "open:O_WRONLY,O_APPEND:$MNT/seq/0" \
			fd:0 write:65536 fsync fd:1 write:100 fsync write:100,at=0 fsync close
		failing $errno
		expect "0 0 0 65536 $errno 0 $errno 0 0" \
			zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" "open:O_WRONLY,O_APPEND:$MNT/seq/0" \
			fd:0 write:65536 fsync fd:1 close fd:0 close
	done
}

@test "two processes: the one that wrote nothing is told, too" {
	failing EIO
	in_background "open:O_RDWR:$MNT/seq/0" "touch:$T/here" "await:$T/go" fsync fsync close
	expect "0 65536 EIO 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:65536 fsync fsync close
	go_on "0 0 0 EIO 0 0"
}

@test "a reader is not told, and reads what is left" {
	failing "EIO partial=8192"
	expect "0 0 0 65536 EIO 0 8192 0" zio "open:O_RDONLY:$MNT/seq/0" \
		"open:O_WRONLY:$MNT/seq/0" fd:1 write:65536 fsync fd:0 read:65536@0,check=1 close
}

@test "a descriptor opened after the error is told when nobody was, and else not" {
	for errno in EIO ENOSPC; do
		failing $errno
		in_background "open:O_WRONLY:$MNT/seq/0" write:65536 "touch:$T/here" \
			"await:$T/go" "open:O_WRONLY:$MNT/seq/0" fsync fsync fd:0 fsync fsync \
			"open:O_WRONLY:$MNT/seq/0" write:100 fsync close
		await_loss
		go_on "0 65536 0 0 0 $errno 0 0 $errno 0 0 100 0 0"
	done
}

@test "a duplicate of a descriptor is the same open file: told once" {
	failing EIO
	expect "0 0 0 65536 0 EIO 0 0 0" zio "open:O_WRONLY:$MNT/seq/0" dup fd:0 write:65536 \
		fd:1 fsync fd:0 fsync close
	failing EIO
	expect "0 0 0 65536 0 EIO 0 0" zio "open:O_WRONLY:$MNT/seq/0" dup fd:0 write:65536 \
		fd:1 close fd:0 fsync
}

# after_loss OPTION ERRNO FSYNC WRITE: what an open file gets when it was told.
after_loss()
{
	failing "$2" "errors=$1"
	expect ok ctl inject error write $zone 0
	expect "0 8192 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:8192 fsync close
	expect ok ctl inject error write $zone "$2"
	may_log 'read-only|offline'
	expect "0 65536 $2 $3 $4 0" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:65536,at=8192 \
		fsync fsync write:100,at=8192 close
}

# at_last OPTION BYTES: a new mount has what was durable.
at_last()
{
	remount_device "errors=$1"
	holds "$MNT/seq/0" "$2"
}

@test "EIO and errors=remount-ro: told, then the mount is read-only" {
	after_loss remount-ro EIO 0 EROFS
	same "$(size_of "$MNT/seq/0")" 8192
	for _ in {1..100}; do
		mount_is_ro && break
		sleep 0.05
	done
	mount_is_ro
	holds "$MNT/seq/0" 8192
	at_last remount-ro 8192
}

@test "EIO and errors=zone-ro: told, then the file is read-only, and no other" {
	after_loss zone-ro EIO EPERM EPERM
	same "$(size_of "$MNT/seq/0") $(mode_of "$MNT/seq/0")" "8192 440"
	expect "0 100" zio "open:O_WRONLY:$MNT/seq/1" write:100
	at_last zone-ro 8192
}

@test "EIO and errors=zone-offline: told, then the file is offline, and no other" {
	after_loss zone-offline EIO EPERM EPERM
	same "$(size_of "$MNT/seq/0") $(mode_of "$MNT/seq/0")" "0 0"
	expect "0 100" zio "open:O_WRONLY:$MNT/seq/1" write:100
	at_last zone-offline 8192
}

@test "EIO and errors=repair: told, then the file goes on" {
	after_loss repair EIO 0 100
	holds "$MNT/seq/0" 8292
	at_last repair 8292
}

@test "ENOSPC turns nothing read-only, whatever errors= says" {
	for option in remount-ro zone-ro zone-offline repair; do
		after_loss $option ENOSPC 0 100
		no mount_is_ro
		holds "$MNT/seq/0" 8292
		at_last $option 8292
	done
}

@test "the end of the mount: a loss that nobody can be told of is its status, and in the log" {
	for errno in EIO ENOSPC; do
		failing $errno errors=repair,flush_interval=3600 put_tail
		in_background "open:O_WRONLY:$MNT/seq/0" write:100 "touch:$T/here" "await:$T/go"
		may_log 'ended by a signal with files open'
		kill "$DAEMON"
		status=0
		wait "$DAEMON" || status=$?
		touch "$T/go"
		wait "$ZIO"
		umount -l "$MNT" 2>/dev/null || :
		same "$status" 1
		grep -q 'no open file was told that acknowledged bytes were lost' "$T/daemon.log"
		: >"$T/daemon.log"
		mount_device
		same "$(size_of "$MNT/seq/0")" 0
	done
}

@test "a loss that was told is no failure of the unmount" {
	failing EIO
	expect "0 65536 EIO" zio "open:O_WRONLY:$MNT/seq/0" write:65536 close
	umount_device
}

@test "the device fails under a full buffer: all that was held is told as lost" {
	medium_make
	T=$T/medium make_device --capacity 128M --zone-size 16M --conv-zones 3
	may_log 'Input/output error'
	mount_device errors=repair,flush_interval=3600
	# 1 byte, so that room is held; 3 MiB in memory; a write that waits for room.
	in_background "open:O_WRONLY:$MNT/seq/0" write:1 "touch:$T/here" "await:$T/go" \
		"write:$((3 * M - 1))" "touch:$T/full" "fill:$((8 * M)),unit=$M" fsync size fsync close
	medium_stop
	touch "$T/go"
	zio "await:$T/full"
	sleep 0.2
	expect ok ctl inject error write $zone EIO count=0
	medium_go
	wait "$ZIO"
	read -r -a answers <"$T/zio"
	# open, 1 byte, here, go, 3 MiB, full; then the loss, once.
	same "${answers[*]:0:6}" "0 1 0 0 $((3 * M - 1)) 0"
	[[ ${answers[6]} =~ ^([0-9]+)\+EIO$ ]]
	acked=$((3 * M + BASH_REMATCH[1]))
	size=${answers[8]}
	same "${answers[7]} ${answers[9]} ${answers[10]}" "0 0 0"
	((size < acked))
	lost=$(sed -n 's/.*the last \([0-9]*\) bytes, which were acknowledged.*/\1/p' "$T/daemon.log")
	# Of the write that was told, too, bytes may be among the lost.
	((size + lost >= acked && size + lost <= acked + M))
	expect ok ctl inject error write $zone 0
	holds "$MNT/seq/0" "$size"
	remount_device
	holds "$MNT/seq/0" "$size"
}

# inject_at_random: until $T/done.
inject_at_random()
{
	local ops=(write write put_tail flush) errnos=(EIO ENOSPC) n

	while [[ ! -e $T/done ]]; do
		n=$((RANDOM % 8 + zone))
		ctl inject error "${ops[RANDOM % 4]}" $n "${errnos[RANDOM % 2]}" \
			"skip=$((RANDOM % 6))" "partial=$((RANDOM % 5 * 4096))"
		sleep "0.0$((RANDOM % 10))"
	done
}

@test "errors at random under several writers: what is acknowledged without a later error is there" {
	local mixes=(any tails synced large) i pids=()

	may_log 'Input/output error|No space left'
	make_mount errors=repair --capacity 128M --zone-size 8M --zone-capacity 6M --conv-zones 3
	for i in 0 1 2 3; do
		zcrash survive "$T/state$i" $((SEED + i)) "$SECONDS_EACH" "${mixes[i]}" \
			"$MNT/seq/$((2 * i))" "$MNT/seq/$((2 * i + 1))" >"$T/writer$i" 2>&1 3>&- &
		pids+=($!)
	done
	inject_at_random >/dev/null 2>&1 3>&- &
	injector=$!
	status=0
	for i in 0 1 2 3; do
		wait "${pids[i]}" || status=1
	done
	touch "$T/done"
	wait "$injector" || :
	cat "$T"/writer?
	[[ $status == 0 ]]
	for i in 0 1 2 3; do
		grep -q ' [1-9][0-9]* errors' "$T/writer$i"
	done
	expect ok ctl inject error write all 0
	expect ok ctl inject error put_tail all 0
	expect ok ctl inject error flush all 0
	for _ in 1 2; do
		for i in 0 1 2 3; do
			zcrash verify "$T/state$i" kill "$MNT/seq/$((2 * i))" "$MNT/seq/$((2 * i + 1))"
		done
		remount_device errors=repair
	done
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

small_tmpfs()
{
	mkdir "$T/small"
	mount -t tmpfs -o size=12M tmpfs "$T/small"
	T=$T/small make_device --capacity 128M --zone-size 16M --conv-zones 3
	may_log 'No space left'
}

# written ANSWER: bytes of "0 BYTES[+ENOSPC] ..."
written()
{
	local w=${1#0 }

	w=${w%% *}
	echo "${w%+ENOSPC}"
}

@test "a full file system beneath: write says so, nothing that it took is lost" {
	small_tmpfs
	mount_device
	for i in 0 1 2; do
		zio "open:O_WRONLY,O_APPEND:$MNT/seq/$i" "fill:$((8 * M)),unit=10000" fsync size close \
			>"$T/out$i" 2>&1 3>&- &
		pids[i]=$!
	done
	wait "${pids[@]}"
	sum=0
	for i in 0 1 2; do
		read -r out <"$T/out$i"
		size=$(size_of "$MNT/seq/$i")
		[[ $out =~ ^0\ [0-9]+(\+ENOSPC)?\ 0\ $size\ 0$ ]] || { echo "seq/$i: $out"; false; }
		# A write that there was room for in part is counted by the file alone.
		((size >= $(written "$out") && size < $(written "$out") + 10000))
		holds "$MNT/seq/$i" "$size"
		sum=$((sum + size))
	done
	((sum > 4 * M))
	cat "$T"/out? | grep -q ENOSPC
	same "$(stat_counter late_errors)" 0
	no mount_is_ro
}

@test "a full file system beneath a device that holds no room: told late, never silent" {
	small_tmpfs
	mount_device
	expect ok ctl inject error reserve all EOPNOTSUPP count=0
	for i in 0 1; do
		out=$(zio "open:O_WRONLY,O_APPEND:$MNT/seq/$i" "fill:$((16 * M)),unit=10000" fsync size \
			fsync close)
		size=$(size_of "$MNT/seq/$i")
		[[ $out =~ ^0\ [0-9]+\+ENOSPC\ 0\ $size\ 0\ 0$ ]] || { echo "seq/$i: $out"; false; }
		holds "$MNT/seq/$i" "$size"
	done
	[[ $(stat_counter late_errors) != 0 ]]
	no mount_is_ro
	# A directory has to write down that it is clean.
	umount "$MNT"
	wait "$DAEMON" || grep -q 'No space left' "$T/daemon.log"
	mount_device
	holds "$MNT/seq/1" "$size"
}

@test "a zone that stands still, its buffer full, stops no other zone" {
	[[ $LAYOUT == dir ]] || skip "the zones of an image share a file"
	medium_make
	make_device --capacity 128M --zone-size 16M --conv-zones 3
	# seq/0 is on a medium of its own.
	mv "$DEV"/seq-*3 "$T/medium/zone"
	: >"$DEV/seq-000003"
	mount --bind "$T/medium/zone" "$DEV/seq-000003"
	mount_device
	in_background "open:O_WRONLY:$MNT/seq/0" write:1 "touch:$T/here" "await:$T/go" \
		"fill:$((15 * M)),unit=$M" fsync close
	medium_stop
	touch "$T/go"
	for _ in {1..300}; do
		(($(stat_counter stage_waits) == 0)) || break
		sleep 0.02
	done
	(($(stat_counter stage_waits) > 0))
	for i in {1..5}; do
		expect "0 0 $((15 * M)) 0 0" timeout 30 zio "truncate:0:$MNT/seq/1" \
			"open:O_WRONLY:$MNT/seq/1" "fill:$((15 * M)),unit=$((i * 100000))" fsync close
	done
	same "$(stat_counter late_errors)" 0
	is_running "$ZIO"
	medium_go
	wait "$ZIO"
	same "$(cat "$T/zio")" "0 1 0 0 $((15 * M)) 0 0"
	holds "$MNT/seq/0" $((15 * M + 1))
	holds "$MNT/seq/1" $((15 * M))
	umount_device
}
