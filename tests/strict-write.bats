#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z8: write in strict mode; the numbers in the names are the rows of its table.

load common

setup()
{
	common_setup
	requires_fuse
}

# Nothing on seq/0 has changed.
untouched()
{
	same "$(size_of "$MNT/seq/0")" "${1:-0}"
	same "$(stat_counter io_errors)" 0
}

@test "Z8.0: a write that must not wait is not supported" {
	make_mount strict
	expect "0 EOPNOTSUPP" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0,rwf=nowait
	expect "0 EOPNOTSUPP" zio "open:O_WRONLY:$MNT/cnv/0" write:4096@0,rwf=nowait
	untouched
}

@test "Z8.1: a descriptor on a zone that turned bad gets EPERM" {
	make_mount strict,errors=zone-ro
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error write 3 EIO count=1
	expect "0 EIO EPERM" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 write:4096@0
}

@test "Z8.2: a descriptor on a mount that turned read-only gets EROFS" {
	make_mount strict
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error write 3 EIO count=1
	expect "0 0 EIO 0 EROFS" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/1" \
		"open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 fd:0 write:4096
}

@test "Z8.1 comes before Z8.2" {
	make_mount strict
	expect_log 'zone 3|seq/0'
	expect ok ctl inject read-only 3
	expect "0 EIO EPERM" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 write:4096@0
	mount_is_ro || same "$(stat_counter read_only)" 1
}

@test "Z8.3: a position at or past the capacity is EFBIG, aligned or not" {
	make_mount strict
	expect "0 EFBIG EFBIG EFBIG" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@$CAP \
		write:4096@$((CAP + 4096)) write:100@$((CAP + 7))
	expect "0 EFBIG" zio "open:O_WRONLY:$MNT/cnv/0" write:1@$((4 * M))
	untouched
}

@test "Z8.3 comes before Z8.4: EFBIG also without O_DIRECT" {
	make_mount strict
	expect "0 EFBIG" zio "open:O_WRONLY:$MNT/seq/0" write:4096@$CAP
}

@test "Z8.4: a sequential file takes no write without O_DIRECT" {
	make_mount strict
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/0" write:4096@0
	expect "0 EIO" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:4096
	untouched
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0
}

@test "Z8.6: a write of length 0 does nothing" {
	make_mount strict
	expect "0 0 0" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:0@0 write:0@100
	untouched
}

@test "Z8.7: append mode writes at the write pointer" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 4096 4096 16384" zio "open:O_WRONLY,O_DIRECT,O_APPEND:$MNT/seq/0" \
		write:4096,at=8192 write:4096@0,at=12288 size
	expect "0 16384" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8.7: RWF_APPEND on a descriptor without O_APPEND" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0,at=8192,rwf=append
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8.8: RLIMIT_FSIZE sends SIGXFSZ and EFBIG" {
	make_mount strict
	expect "0 0 8192 EFBIG+XFSZ" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" rlimit:8192 \
		write:8192@0 write:4096@8192
	same "$(size_of "$MNT/seq/0")" 8192
}

@test "Z8.9: a write across the capacity is shortened to fit" {
	make_mount strict
	fill_direct "$MNT/seq/0" $((CAP - 8192))
	expect "0 8192 EFBIG" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:65536@$((CAP - 8192)) \
		write:4096@$CAP
	same "$(size_of "$MNT/seq/0")" "$CAP"
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:65536@$((CAP - 8192)),check=1
	expect "0 4096" zio "open:O_WRONLY:$MNT/cnv/0" write:8192@$((4 * M - 4096))
}

@test "Z8.9 comes before Z8.10: an unaligned length that crosses the capacity is taken" {
	make_mount strict
	fill_direct "$MNT/seq/0" $((CAP - 8192))
	expect "0 8192" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:8193@$((CAP - 8192))
	same "$(size_of "$MNT/seq/0")" "$CAP"
}

@test "Z8.10: a direct write must be block aligned" {
	make_mount strict
	expect "0 EINVAL EINVAL EINVAL" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:512@0 \
		write:4097@0 write:4096@512
	expect "0 EINVAL EINVAL 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/0" write:512@0 \
		write:4096@512 write:4096@4096
	untouched
}

@test "Z8.10: blocks of 512 bytes are enough on a device that has them" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 3 --block-size 512
	expect "0 512 1024 EINVAL" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:512@0 \
		write:1024@512 write:100@1536
	expect "0 1536" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0,check=1
}

@test "Z8.11: a write off the write pointer is EINVAL and changes nothing" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 EINVAL EINVAL EINVAL 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
		write:4096@0 write:4096@4096 write:4096@12288 write:4096@8192
	untouched 12288
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8.12: writes in a row each continue the last, to the capacity" {
	make_mount strict
	expect "0 $CAP EFBIG" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "fill:$CAP,unit=135168" \
		write:4096
	same "$(size_of "$MNT/seq/0")" "$CAP"
	expect "0 $CAP" zio "open:O_RDONLY:$MNT/seq/0" "read:$((4 * M))@0,check=1"
}

@test "Z16.1: one write larger than a request, from an unaligned buffer" {
	make_mount strict
	expect "0 $((2 * M + 512 * K))" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
		"write:$((2 * M + 512 * K))@0,mis=512"
	expect "0 $((2 * M + 512 * K))" zio "open:O_RDONLY:$MNT/seq/0" "read:$CAP@0,check=1"
	expect "0 $CAP" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/1" "write:$((8 * M))@0,mis=100"
	expect "0 $CAP" zio "open:O_RDONLY:$MNT/seq/1" "read:$((8 * M))@0,check=1"
}

@test "Z8: a vectored write" {
	make_mount strict
	expect "0 16384" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:16384@0,vec=4
	expect "0 16384" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8: asynchronous writes in order all succeed" {
	make_mount strict
	expect "0 8192/8192/8192/8192/8192/8192/8192/8192" zio \
		"open:O_WRONLY,O_DIRECT:$MNT/seq/0" aio:8192@0,n=8
	expect "0 65536" zio "open:O_RDONLY:$MNT/seq/0" read:70000@0,check=1
}

@test "Z8: asynchronous writes off the write pointer report EINVAL" {
	make_mount strict
	expect "0 EINVAL/EINVAL" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" aio:4096@4096,n=2
	untouched
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0
}

@test "Z8: of two writers at one offset the second gets EINVAL" {
	make_mount strict
	expect "0 0 4096 0 EINVAL" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
		"open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0 fd:0 write:4096@0
}

@test "Z8: O_DSYNC, O_SYNC and RWF_DSYNC write and flush" {
	make_mount strict
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT,O_DSYNC:$MNT/seq/0" write:4096@0
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT,O_SYNC:$MNT/seq/0" write:4096@4096
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@8192,rwf=dsync
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8: the flush of O_DSYNC that fails is a write error" {
	make_mount strict,errors=zone-ro
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error flush all EIO count=1
	expect "0 EIO EPERM" zio "open:O_WRONLY,O_DIRECT,O_DSYNC:$MNT/seq/0" write:4096@0 \
		write:4096@4096
}

@test "Z8.14: a write that reaches the zone in part is EIO" {
	make_mount strict,errors=repair
	expect_log 'zone 3|seq/0'
	fill_direct "$MNT/seq/0" 8192
	expect ok ctl inject error write 3 EIO count=1 partial=4096
	expect "0 EIO 12288 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:16384@8192 size \
		write:4096@12288
	expect "0 16384" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z8: buffered writes to a conventional file have no alignment rule" {
	make_mount strict
	expect "0 1000 7 $((4 * M)) 0" zio "open:O_RDWR:$MNT/cnv/0" write:1000@13 \
		write:7@$((3 * M + 1)) size fsync
	expect "0 1000 7" zio "open:O_RDONLY:$MNT/cnv/0" read:1000@13,check=1 \
		read:7@$((3 * M + 1)),check=1
}

@test "Z8: a conventional file is rewritten in place, and keeps it after an unmount" {
	make_mount strict
	expect "0 65536 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/1" write:65536@0,seed=1 \
		write:4096@8192,seed=2
	remount_device strict
	expect "0 8192 4096 53248" zio "open:O_RDONLY:$MNT/cnv/1" read:8192@0,seed=1,check=1 \
		read:4096@8192,seed=2,check=1 read:53248@12288,seed=1,check=1
}

@test "Z8: a write across two members of an aggregated file" {
	make_mount strict -- -o aggr_cnv
	expect "0 $((2 * M))" zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/0" \
		"write:$((2 * M))@$((3 * M))"
	remount_device strict
	expect "0 $((2 * M))" zio "open:O_RDONLY:$MNT/cnv/0" \
		"read:$((2 * M))@$((3 * M)),check=1"
}

@test "Z8: a mapped conventional file is written back" {
	make_mount strict
	expect "0 0 0 1 0" zio "open:O_RDWR:$MNT/cnv/0" map:65536,rw,shared store:5000 load:5000 \
		fsync
	remount_device strict
	same "$(od -An -tu1 -j 5000 -N 1 "$MNT/cnv/0" | tr -d ' ')" 1
}

@test "Z8: a failed synchronous direct write to a conventional file only returns its errno" {
	make_mount strict
	may_log 'zone 1|cnv/0'
	expect ok ctl inject error write 1 EIO count=1
	expect "0 EIO 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/0" write:4096@0 write:4096@0
	same "$(stat_counter read_only)" 0
}
