#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# copy_file_range(2) between zone files: by the device where whole blocks go to whole
# blocks, by hand for the rest; always with the rules of write.

load common

setup()
{
	common_setup
	requires_fuse
}

# counts OFFLOADED FALLBACK, of bytes since the mount. Beneath some file systems
# nothing copies: then all are of the second kind.
counts()
{
	local offloaded fallback

	offloaded=$(stat_counter copy_offload_bytes)
	fallback=$(stat_counter copy_fallback_bytes)
	if ((offloaded)); then
		same "$offloaded" "$1" "bytes that the device copied"
		same "$fallback" "$2" "bytes copied by hand"
	else
		same "$fallback" $(($1 + $2)) "bytes copied by hand"
	fi
}

# is_part FILE OFF LEN PLACE: these bytes are the pattern's from PLACE on.
is_part()
{
	expect "0 $3" zio "open:O_RDONLY:$1" "read:$3@$2,check=1,at=$4"
}

@test "from one sequential zone to another, tail included" {
	make_mount
	pattern_file "$MNT/seq/0" 1000001
	expect "0 1000001 1000001" zio "open:O_WRONLY:$MNT/seq/1" \
		"copyrange:2M:$MNT/seq/0" size
	cmp "$MNT/seq/0" "$MNT/seq/1"
	counts 999424 577
	same "$(stat_counter copies)" 1
	# The tail goes on.
	expect "0 100" zio "open:O_WRONLY:$MNT/seq/1" "write:100@1000001"
	is_part "$MNT/seq/1" 0 1000101 0
}

@test "between all kinds of zones" {
	make_mount
	pattern_file "$MNT/seq/0" $((3 * M / 2))
	expect "0 1048576" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:1M@64K:$MNT/seq/0"
	is_part "$MNT/cnv/0" 65536 "$M" 0
	expect "0 524288" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:512K@2M,src=64K:$MNT/cnv/0"
	is_part "$MNT/cnv/0" $((2 * M)) 524288 0
	expect "0 1048576" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:1M,src=64K:$MNT/cnv/0"
	is_part "$MNT/seq/1" 0 "$M" 0
	counts $((5 * M / 2)) 0
}

@test "what does not fit the blocks is copied by hand" {
	make_mount
	pattern_file "$MNT/seq/0" 500000
	# The same place in a block: its head, then the device.
	expect "0 1000" zio "open:O_WRONLY:$MNT/seq/1" write:1000@0
	expect "0 300000" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:300000@1000,src=1000:$MNT/seq/0"
	is_part "$MNT/seq/1" 0 301000 0
	counts 294912 5088
	# Another one: nothing for the device.
	expect "0 300000" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:300000,src=1:$MNT/seq/0"
	is_part "$MNT/seq/2" 0 300000 1
	counts 294912 305088
	# Within blocks of a conventional zone.
	expect "0 5000" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:5000@100,src=4000:$MNT/seq/0"
	is_part "$MNT/cnv/0" 100 5000 4000
	same "$(dd if="$MNT/cnv/0" bs=100 count=1 status=none | tr -d '\0' | wc -c)" 0
}

@test "a copy goes to the end of a sequential file and nowhere else" {
	make_mount
	pattern_file "$MNT/seq/0" 100000
	pattern_file "$MNT/seq/1" 8192
	expect "0 EINVAL 8192" zio "open:O_WRONLY:$MNT/seq/1" \
		"copyrange:4096@4096:$MNT/seq/0" size
	expect "0 EINVAL 8192" zio "open:O_WRONLY:$MNT/seq/1" \
		"copyrange:100@100:$MNT/seq/0" size
	# Behind it zeros fill the space, as for write.
	expect "0 4096 20480" zio "open:O_WRONLY:$MNT/seq/1" \
		"copyrange:4096@16384:$MNT/seq/0" size
	is_part "$MNT/seq/1" 16384 4096 0
	# At the capacity it ends, and behind the source.
	expect "0 $CAP" zio "open:O_WRONLY:$MNT/seq/2" "fill:$CAP"
	expect "0 EFBIG" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:4096@$CAP:$MNT/seq/0"
	expect "0 $((CAP - 8192))" zio "open:O_WRONLY:$MNT/seq/3" "fill:$((CAP - 8192))"
	expect "0 8192" zio "open:O_WRONLY:$MNT/seq/3" "copyrange:12288@$((CAP - 8192)):$MNT/seq/0"
	expect "0 0" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:4096@20480,src=100000:$MNT/seq/0"
	expect "0 EBADF" zio "open:O_RDONLY:$MNT/seq/1" "copyrange:4096:$MNT/seq/0"
}

@test "appends that are in memory are copied, and copied behind" {
	make_mount append_buffer=4M
	expect "0 300000 0 300000 300000 600000" zio "open:O_RDWR:$MNT/seq/0" write:300000@0 \
		"open:O_RDWR:$MNT/seq/1" "copyrange:300000:$MNT/seq/0" \
		"copyrange:300000@300000:$MNT/seq/0" size
	is_part "$MNT/seq/1" 0 300000 0
	is_part "$MNT/seq/1" 300000 300000 0
}

@test "cp copies zone to zone with it" {
	make_mount
	pattern_file "$MNT/seq/0" 3000001
	cp --reflink=auto "$MNT/seq/0" "$MNT/seq/1"
	cmp "$MNT/seq/0" "$MNT/seq/1"
	cp --reflink=auto "$MNT/seq/0" "$MNT/cnv/0"
	cmp -n 3000001 "$MNT/seq/0" "$MNT/cnv/0"
	run cp --reflink=always "$MNT/seq/0" "$MNT/seq/2"
	[ "$status" -eq 1 ]
	[[ $output == *"Operation not supported"* ]]
}

@test "readers that have the file in their cache see what was copied" {
	make_mount
	pattern_file "$MNT/seq/0" 20000
	pattern_file "$MNT/cnv/0" 20000 3
	expect "0 2000" zio "open:O_WRONLY:$MNT/seq/1" write:2000@0
	# An open reader that has read all there was.
	tail -f -c +1 "$MNT/seq/1" >"$T/seen" 3>&- &
	reader=$!
	until (($(size_of "$T/seen") == 2000)); do sleep 0.05; done
	expect "0 18000" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:18000@2000,src=2000:$MNT/seq/0"
	cat "$MNT/cnv/0" >/dev/null
	expect "0 8192" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:8192@4096:$MNT/seq/0"
	is_part "$MNT/cnv/0" 4096 8192 0
	is_part "$MNT/seq/1" 0 20000 0
	until (($(size_of "$T/seen") == 20000)); do sleep 0.05; done
	kill "$reader"
	cmp "$T/seen" "$MNT/seq/0"
}

@test "what was copied and synced survives kill -9 of the daemon" {
	make_mount
	pattern_file "$MNT/seq/0" 2000001
	expect "0 2000001 0" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:4M:$MNT/seq/0" fsync
	expect "0 2000001 0" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:4M@1M:$MNT/seq/0" fsync
	# Not synced, but written by a daemon that no power failed.
	expect "0 2000001" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:4M:$MNT/seq/0"
	kill_daemon
	mount_device
	same "$(size_of "$MNT/seq/1")" 2000001
	is_part "$MNT/seq/1" 0 2000001 0
	is_part "$MNT/cnv/0" "$M" 2000001 0
	is_part "$MNT/seq/2" 0 2000001 0
}

@test "what was copied and synced survives a power cut, the rest does not" {
	make_mount powercut
	pattern_file "$MNT/seq/0" 1000000
	expect "0 1000000 0" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:2M:$MNT/seq/0" fsync
	expect "0 1000000" zio "open:O_WRONLY,O_SYNC:$MNT/seq/3" "copyrange:2M:$MNT/seq/0"
	expect "0 1000000" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:2M:$MNT/seq/0"
	expect "0 1000000" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:2M:$MNT/seq/0"
	expect ok ctl inject power-cut
	may_log '.*'
	umount "$MNT" || umount -l "$MNT"
	wait "$DAEMON" || :
	DAEMON=
	mount_device
	is_part "$MNT/seq/1" 0 1000000 0
	is_part "$MNT/seq/3" 0 1000000 0
	same "$(size_of "$MNT/seq/2")" 0
	same "$(tr -d '\0' <"$MNT/cnv/0" | wc -c)" 0
}

@test "where the device fails to copy, the copy goes on by hand" {
	make_mount
	may_log 'zone|seq/'
	pattern_file "$MNT/seq/0" 1000000
	expect ok ctl inject error copy all EIO
	expect "0 1000000" zio "open:O_WRONLY:$MNT/seq/1" "copyrange:2M:$MNT/seq/0"
	is_part "$MNT/seq/1" 0 1000000 0
	same "$(stat_counter copy_offload_bytes)" 0
	same "$(stat_counter copy_fallback_bytes)" 1000000
	same "$(stat_counter recoveries)" 0
	# A medium that fails writes fails those of a copy.
	expect ok ctl inject error write 5 EIO
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:2M:$MNT/seq/0"
	same "$(size_of "$MNT/seq/2")" 0
	same "$(stat_counter read_only)" 1
}

@test "strict has no such call: the kernel splices, and the rules of write hold" {
	make_mount strict
	fill_direct "$MNT/seq/1" 8192
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/0" "copyrange:8192:$MNT/seq/1"
	expect "0 8192" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "copyrange:8192:$MNT/seq/1"
	expect "0 8192" zio "open:O_WRONLY:$MNT/cnv/0" "copyrange:8192:$MNT/seq/1"
	is_part "$MNT/seq/0" 0 8192 0
	is_part "$MNT/cnv/0" 0 8192 0
	same "$(stat_counter copies)" 0
}

@test "zones that cannot be read or written" {
	make_mount errors=repair
	may_log 'zone|seq/'
	pattern_file "$MNT/seq/0" 100000
	pattern_file "$MNT/seq/1" 100000
	expect ok ctl inject read-only 5
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/2" "copyrange:8192:$MNT/seq/0"
	expect ok ctl inject offline 4
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/3" "copyrange:8192@0:$MNT/seq/1"
	same "$(size_of "$MNT/seq/3")" 0
}
