#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z7: read, in strict mode. seq/0 holds three blocks of the pattern.

load common

setup()
{
	common_setup
	requires_fuse
	make_mount strict
	fill_direct "$MNT/seq/0" 12288
}

@test "Z7: a buffered read has no alignment rule and stops at the end" {
	expect "0 1000 5088 0" zio "open:O_RDONLY:$MNT/seq/0" read:1000@7,check=1 \
		read:9000@7200,check=1 read:10@12288
}

@test "Z7: a read at or past the end gives 0, also past the capacity" {
	expect "0 0 0 0 0" zio "open:O_RDONLY:$MNT/seq/0" read:4096@12288 read:4096@16384 \
		read:4096@$CAP read:4096@$((CAP * 8))
	expect "0 0" zio "open:O_RDONLY:$MNT/cnv/0" read:4096@$((4 * M))
}

@test "Z7: a direct read at or past the end gives 0, even unaligned" {
	expect "0 0 0" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:100@12289 read:4096@$CAP
}

@test "Z7: a direct read must be aligned" {
	expect "0 EINVAL EINVAL 8192" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:4096@100 \
		read:1000@0 read:8192@4096,check=1
}

@test "Z7: an aligned direct read across the end is cut there" {
	expect "0 4096 12288" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:16384@8192,check=1 \
		read:65536@0,check=1
}

@test "Z7: the descriptor's position moves with what was read" {
	expect "0 8192 4096 0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:8192,check=1 \
		read:8192,check=1 read:8192 seek:0,cur
}

@test "Z7: a vectored read" {
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:16384@0,vec=4,check=1
}

@test "Z7: reads that must not wait are not supported" {
	expect "0 EOPNOTSUPP" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0,rwf=nowait
}

@test "Z7: sendfile reads what read does" {
	expect "0 12288 12288" zio "open:O_RDWR,O_CREAT:$T/copy" "sendfile:16384:$MNT/seq/0" size
	expect "0 12288" zio "open:O_RDONLY:$T/copy" read:16384@0,check=1
}

@test "Z7: a conventional file reads as zeros until it is written" {
	cmp -n $((4 * M)) "$MNT/cnv/0" /dev/zero
}

@test "Z7: an offline file cannot be read" {
	expect ok ctl inject offline 3
	remount_device strict
	expect "0 EPERM" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0
}

@test "Z7: a file whose zone was read-only at mount cannot be read" {
	expect ok ctl inject read-only 3
	expect ok ctl inject read-only 1
	remount_device strict
	expect "0 EPERM" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0
	expect "0 EPERM" zio "open:O_RDONLY:$MNT/cnv/0" read:4096@0
}

@test "Z7: a failing medium gives EIO" {
	expect ok ctl inject error read 3 EIO count=1
	may_log 'read'
	expect "0 EIO" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:4096@0
	expect "0 4096" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:4096@0,check=1
}

@test "Z7: a reader sees what another descriptor wrote meanwhile" {
	expect "0 0 12288 0 4096 0 4096 16384" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
		"open:O_RDONLY:$MNT/seq/0" read:65536@0,check=1 fd:0 write:4096@12288 fd:1 \
		read:65536@12288,check=1 read:65536@0,check=1
}
