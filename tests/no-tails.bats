#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# A device that has no room for partial last blocks (D2), and kill -9 of the daemon:
# what write(2) and close(2) acknowledged is in the arena until fsync or the last
# close completes its block. ROUNDS kills (10); SEED repeats them.

load common
load support/arena

: "${ROUNDS:=10}"
export BATS_TEST_TIMEOUT=$((ROUNDS * 15 + 60))
# seq/0's zone
zone=3

setup()
{
	common_setup
	requires_fuse
	seed_random
	HOLDERS=()
}

teardown()
{
	let_go
	arena_teardown
}

# mount_without_tails [OPTIONS]
mount_without_tails()
{
	mount_device "${1:-}"
	expect ok ctl inject error put_tail all EOPNOTSUPP count=0
}

# hold FILE: a writer that keeps it open, so that no other close is the last.
hold()
{
	local here

	here=$T/here.${#HOLDERS[@]}
	rm -f "$here" "$T/go"
	zio "open:O_WRONLY:$1" "touch:$here" "await:$T/go" >/dev/null 2>&1 3>&- &
	HOLDERS+=($!)
	zio "await:$here" >/dev/null
}

let_go()
{
	touch "$T/go"
	((${#HOLDERS[@]} == 0)) || wait "${HOLDERS[@]}" || :
	HOLDERS=()
}

# append START LEN [OP...]: by a process of its own, which closes seq/0.
append()
{
	local zeros=()

	for _ in "${@:3}"; do
		zeros+=(0)
	done
	expect "0 $1 $2${zeros[*]:+ ${zeros[*]}} 0" \
		zio "open:O_WRONLY:$MNT/seq/0" "seek:$1,set" "write:$2" "${@:3}" close
}

crash()
{
	kill_daemon
	let_go
}

# holds BYTES: seq/0, and not one more.
holds()
{
	same "$(size_of "$MNT/seq/0")" "$1"
	expect "0 $1" zio "open:O_RDONLY:$MNT/seq/0" "read:$(($1 + 5000))@0,check=1"
}

@test "closed, and appended to again: every byte is there after a kill" {
	make_device
	mount_without_tails
	hold "$MNT/seq/0"
	append 0 157
	same "$(stat_counter staged_bytes)" 0 "bytes staged after the close"
	same "$(zone_wp $zone "$MNT")" 0
	holds 157
	crash
	mount_without_tails
	grep -q 'replayed 157 bytes of 1 zones' "$T/daemon.log"
	holds 157
	hold "$MNT/seq/0"
	append 157 6000
	append 6157 10
	append 6167 300000
	crash
	mount_device
	holds 306167
	no grep 'not applied' "$T/daemon.log"
}

@test "the clock: what it could not store survives a kill" {
	make_device
	mount_without_tails flush_interval=1
	hold "$MNT/seq/0"
	expect "0 5000" zio "open:O_WRONLY:$MNT/seq/0" write:5000 &
	wait $!
	for _ in {1..200}; do
		[[ $(stat_counter staged_bytes) != 0 ]] || break
		sleep 0.02
	done
	same "$(stat_counter staged_bytes)" 0
	crash
	mount_device
	holds 5000
}

@test "fsync completes the block, so does the last close, and a kill takes nothing of it" {
	make_device
	mount_without_tails
	hold "$MNT/seq/0"
	append 0 157
	expect "0 157 0 4096 0" zio "open:O_WRONLY:$MNT/seq/0" seek:157,set fsync size close
	same "$(stat_counter tails_padded)" 1
	same "$(zone_wp $zone "$MNT")" 4096
	append 4096 100
	let_go
	# The release comes after close(2).
	for _ in {1..200}; do
		[[ $(stat_counter tails_padded) != 2 ]] || break
		sleep 0.02
	done
	same "$(stat_counter tails_padded)" 2
	crash
	mount_device
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 157" zio "open:O_RDONLY:$MNT/seq/0" read:157@0,check=1
	expect "0 100" zio "open:O_RDONLY:$MNT/seq/0" read:100@4096,check=1
	no grep -E 'replayed|not applied' "$T/daemon.log"
}

@test "reset and unmount leave nothing behind" {
	make_device
	mount_without_tails
	hold "$MNT/seq/0"
	append 0 157
	expect 0 zio "truncate:0:$MNT/seq/0"
	crash
	mount_without_tails
	holds 0
	hold "$MNT/seq/0"
	append 0 157
	let_go
	umount_device
	[ ! -e "$(arena_path)" ]
	mount_device
	same "$(size_of "$MNT/seq/0")" 4096
	expect "0 157" zio "open:O_RDONLY:$MNT/seq/0" read:157@0,check=1
	no grep -E 'replayed|not applied' "$T/daemon.log"
}

@test "killed again and again, between appends of any length" {
	local i n pos=0 len

	make_device
	for ((i = 0; i < ROUNDS; i++)); do
		mount_without_tails
		holds "$pos"
		hold "$MNT/seq/0"
		for ((n = RANDOM % 4 + 1; n; n--)); do
			len=$((RANDOM % 3 ? RANDOM % 500 + 1 : RANDOM + 1))
			append "$pos" "$len"
			pos=$((pos + len))
		done
		((RANDOM % 3)) || sleep "0.0$((RANDOM % 10))"
		crash
	done
	mount_device
	holds "$pos"
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
	no grep 'not applied' "$T/daemon.log"
}
