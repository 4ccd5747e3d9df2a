#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir
#
# Readers that the kernel serves from the zone's own file: what they see, beside
# writers, resets and the death of the daemon, and who goes without.

load common

setup()
{
	common_setup
	requires_fuse
}

# A mount with passthrough; without it on this machine there is nothing to test.
pass_mount()
{
	make_mount "$@"
	grep -qx 'passthrough on' "$MNT/.zonefsd/info" ||
		skip "needs FUSE passthrough (Linux 6.9)"
	# The first file opened shows whether it may be used.
	exec 9<"$MNT/seq/0"
	[[ $(stat_counter passthrough) == 1 ]] || skip "needs the right to pass through"
	exec 9<&-
	await_open 0
}

# The RELEASE of a closed file comes a moment later.
await_open()
{
	local i

	for i in {1..100}; do
		[[ $(stat_counter passthrough_files) != "$1" ]] || return 0
		sleep 0.05
	done
	same "$(stat_counter passthrough_files)" "$1" "files that pass through"
}

@test "a reader passes through, and the statistics count it" {
	pass_mount
	pattern_file "$MNT/seq/0" 1000000
	exec 5<"$MNT/seq/0" 6<"$MNT/seq/0" 7<"$MNT/seq/1"
	await_open 3
	reads=$(stat_counter reads)
	expect "0 1000000" zio "open:O_RDONLY:$MNT/seq/0" "read:1000000,check=1"
	same "$(stat_counter reads)" "$reads" "reads that reached the daemon"
	exec 5<&- 6<&- 7<&-
	await_open 0
}

@test "appended bytes are there when write returns" {
	local i pos=0 steps=() want=(0 0)

	pass_mount
	for i in 1 511 512 4095 4096 4097 100 65536 12345 1; do
		steps+=(fd:0 "write:$i@0,at=$pos" fd:1 "read:$i@$pos,check=1")
		want+=(0 "$i" 0 "$i")
		pos=$((pos + i))
	done
	expect "${want[*]}" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" \
		"open:O_RDONLY:$MNT/seq/0" "${steps[@]}"
	same "$(size_of "$MNT/seq/0")" "$pos"
}

@test "what was appended before a reader came is there for it" {
	pass_mount
	exec 5>>"$MNT/seq/0"
	printf 'abcde' >&5
	same "$(<"$MNT/seq/0")" abcde
	printf 'fgh' >&5
	same "$(<"$MNT/seq/0")" abcdefgh
	exec 5>&-
}

@test "a writer may come before, between and after readers" {
	pass_mount
	exec 5>>"$MNT/seq/0"
	printf 'a' >&5
	exec 6<"$MNT/seq/0"
	exec 7>>"$MNT/seq/0"
	printf 'b' >&7
	exec 8<"$MNT/seq/0"
	exec 6<&-
	exec 9>>"$MNT/seq/0"
	exec 8<&-
	await_open 0
	printf 'c' >&9
	printf 'd' >&5
	exec 6<"$MNT/seq/0"
	same "$(cat <&6)" abcd
	exec 5>&- 6<&- 7>&- 9>&-
	same "$(<"$MNT/seq/0")" abcd
}

@test "a reader follows a writer that never pauses" {
	local writer

	pass_mount "" --capacity 128M --zone-size 32M --conv-zones 1
	pattern_file "$T/want" $((20 * M))
	dd if="$T/want" of="$MNT/seq/0" bs=10007 oflag=append conv=notrunc status=none 3>&- &
	writer=$!
	tail -c +1 -f --pid=$writer -s 0.01 "$MNT/seq/0" >"$T/got"
	wait $writer
	cmp "$T/want" "$MNT/seq/0"
	cmp "$T/want" "$T/got"
}

@test "a map shows the file, and bytes appended to its last page" {
	pass_mount
	pattern_file "$MNT/seq/0" 10000
	expect "0 0 $(od -An -tu1 -N1 "$MNT/seq/0" | tr -d ' ') 0 300 10300" zio \
		"open:O_RDONLY:$MNT/seq/0" "map:12288,r,shared" "load:0" \
		"open:O_WRONLY,O_APPEND:$MNT/seq/0" "write:300@0,at=10000" "check:0,10300"
}

@test "a descriptor that writes cannot be mapped shared without a reader" {
	pass_mount
	pattern_file "$MNT/seq/0" 8192
	expect "0 ENODEV" zio "open:O_RDWR:$MNT/seq/0" "map:4096,rw,shared"
	expect "0 EACCES" zio "open:O_RDONLY:$MNT/seq/0" "map:4096,rw,shared"
}

@test "a reset under an open reader, and new data" {
	pass_mount
	pattern_file "$MNT/seq/0" 100000 1
	expect "0 100000 0 0 0 0 50000 0 50000 0" zio "open:O_RDONLY:$MNT/seq/0" \
		"read:200000@0,check=1,seed=1" "truncate:0:$MNT/seq/0" "read:4096@0" "size" \
		"open:O_WRONLY,O_APPEND:$MNT/seq/0" "write:50000@0,at=0,seed=2" "fd:0" \
		"read:100000@0,check=1,seed=2" "read:4096@50000"
	exec 5<"$MNT/seq/0"
	same "$(ctl reset 3)" ok
	same "$(size_of "$MNT/seq/0")" 0
	same "$(cat <&5)" ""
	exec 5<&-
}

@test "finish under an open reader: the file ends at the capacity" {
	pass_mount
	pattern_file "$MNT/seq/0" 5000
	exec 5<"$MNT/seq/0"
	expect "0" zio "truncate:$CAP:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" "$CAP"
	same "$(wc -c <&5)" "$CAP"
	exec 5<&-
	cmp -i 5000:0 -n $((CAP - 5000)) "$MNT/seq/0" /dev/zero
}

@test "fsync, close and a new mount find what readers saw" {
	pass_mount
	exec 5<"$MNT/seq/0"
	pattern_file "$MNT/seq/0" 12345
	exec 5<&-
	remount_device
	expect "0 12345" zio "open:O_RDONLY:$MNT/seq/0" "read:100000,check=1"
}

@test "no_passthrough, strict, powercut: readers go without" {
	make_device
	for opts in no_passthrough strict powercut; do
		mount_device "$opts"
		grep -qx 'passthrough off' "$MNT/.zonefsd/info"
		exec 5<"$MNT/seq/0"
		same "$(stat_counter passthrough_files)" 0
		exec 5<&-
		umount_device
	done
	mount_device no_passthrough
	pattern_file "$MNT/seq/0" 12345
	expect "0 12345 0 10 0 10" zio "open:O_RDONLY:$MNT/seq/0" "read:100000@0,check=1" \
		"open:O_WRONLY,O_APPEND:$MNT/seq/0" "write:10@0,at=12345" "fd:0" \
		"read:100@12345,check=1"
}

@test "fault rules: whoever opens from then on goes without, and meets them" {
	pass_mount
	pattern_file "$MNT/seq/0" 8192
	same "$(ctl inject error write 3 EIO count=1)" ok
	exec 5<"$MNT/seq/0"
	same "$(stat_counter passthrough_files)" 0
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" "read:8192,check=1"
	same "$(ctl inject error write 3 0)" ok
	# A cached handle is open: nobody else may pass through.
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" "read:8192,check=1"
	same "$(stat_counter passthrough_files)" 0
	exec 5<&-
	await_open 0
	exec 5<"$MNT/seq/0"
	same "$(stat_counter passthrough_files)" 1
	exec 5<&-
}

@test "a zone that turned bad is not passed through" {
	pass_mount
	pattern_file "$MNT/seq/0" 8192
	same "$(ctl inject offline 3)" ok
	may_log 'seq/0'
	zio "open:O_RDONLY:$MNT/seq/0" "read:4096"
	same "$(stat_counter passthrough_files)" 0
}

@test "kill -9 of the daemon with readers open" {
	pass_mount
	pattern_file "$MNT/seq/0" 100000
	exec 5<"$MNT/seq/0" 6<"$MNT/seq/1"
	timeout 20 zio "open:O_RDONLY:$MNT/seq/0" "map:4096,r,shared" "load:0" >/dev/null
	kill_daemon
	timeout 10 cat <&5 >/dev/null || [[ $? != 124 ]]
	exec 5<&- 6<&-
	mount_device
	expect "0 100000" zio "open:O_RDONLY:$MNT/seq/0" "read:200000,check=1"
}

@test "thousands of opens leave nothing registered" {
	local before i

	pass_mount
	pattern_file "$MNT/seq/0" 4096
	before=$(awk '{ print $1 }' /proc/sys/fs/file-nr)
	for ((i = 0; i < 5000; i++)); do
		: <"$MNT/seq/$((i % 5))"
	done
	await_open 0
	same "$(stat_counter passthrough)" 1
	(($(awk '{ print $1 }' /proc/sys/fs/file-nr) - before < 2000))
}

@test "readers and writers that come and go, all at once" {
	local i n pids=()

	pass_mount "" --capacity 256M --zone-size 64M --conv-zones 1
	printf start >"$MNT/seq/0"
	for i in {1..4}; do
		for ((n = 0; n < 300; n++)); do
			printf 'line %d\n' "$i" >>"$MNT/seq/0"
		done 3>&- &
		pids+=($!)
		for ((n = 0; n < 300; n++)); do
			head -c 5 "$MNT/seq/0" >"$T/out.$i"
			[[ $(<"$T/out.$i") == start ]] || exit 1
		done 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	same "$(wc -l <"$MNT/seq/0")" 1200
	await_open 0
}
