#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# What a client has cached never stands in the way of what is in the zone.

load common

# words N WORD: WORD, N times
words()
{
	local i

	for ((i = 0; i < $1; i++)); do
		printf '%s\n' "$2"
	done
}

@test "readers beside an appender never see zeros in place of what it wrote" {
	make_mount
	mapfile -t appends < <(words 600 write:37 && words 200 write:1000 && words 200 write:4097)
	mapfile -t reads < <(words 1500 read:2M@0,check=1)
	zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" "${appends[@]}" >"$T/appended" &
	pids=($!)
	for i in 1 2 3; do
		zio "open:O_RDONLY:$MNT/seq/0" "${reads[@]}" >"$T/read$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	no grep -qE '[A-Z@]' "$T/appended" "$T/read1" "$T/read2" "$T/read3"
	same "$(size_of "$MNT/seq/0")" $((600 * 37 + 200 * 1000 + 200 * 4097))
}

@test "a reader that keeps its descriptor over a reset by command sees the new data" {
	make_mount
	fill="open:O_WRONLY,O_APPEND:$MNT/seq/0"
	expect "0 100000" zio "$fill" write:100000,seed=1
	zio "open:O_RDONLY:$MNT/seq/0" read:1M@0,check=1,seed=1 "touch:$T/read" \
		"await:$T/again" size read:1M@0,check=1,seed=2 >"$T/out" &
	pid=$!
	zio "await:$T/read"
	expect ok ctl reset 3
	expect "0 5000" zio "$fill" write:5000,seed=2
	touch "$T/again"
	wait "$pid"
	same "$(cat "$T/out")" "0 100000 0 0 5000 5000"
}

@test "an append is in a shared map of the file right after it" {
	make_mount
	expect "0 5000" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:5000
	zio "open:O_RDONLY:$MNT/seq/0" map:8192,r,shared check:0,5000 "touch:$T/mapped" \
		"await:$T/again" check:0,8192 >"$T/out" &
	pid=$!
	zio "await:$T/mapped"
	expect "0 3192" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:3192,at=5000
	touch "$T/again"
	wait "$pid"
	same "$(cat "$T/out")" "0 0 5000 0 0 8192"
}

@test "a signal to the daemon with files open leaves a device that mounts again" {
	make_mount
	expect_log 'with files open'
	zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:777 "touch:$T/open" "await:$T/ended" \
		write:10 >"$T/out" &
	pid=$!
	zio "await:$T/open"
	kill "$DAEMON"
	for _ in {1..200}; do
		is_running "$DAEMON" || break
		sleep 0.05
	done
	no is_running "$DAEMON"
	no mountpoint -q "$MNT"
	touch "$T/ended"
	wait "$pid"
	same "$(cat "$T/out")" "0 777 0 0 ENOTCONN"
	mount_device
	same "$(size_of "$MNT/seq/0")" 777
}
