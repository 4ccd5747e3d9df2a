#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z10: truncate and the other attribute changes in strict mode. The largest
# capacity of the mount is that of the conventional files, 4 MiB.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "Z10: a negative length and a read-only descriptor are EINVAL" {
	make_mount strict
	expect "EINVAL 0 EINVAL" zio "truncate:-1:$MNT/seq/0" "open:O_RDONLY:$MNT/seq/0" ftruncate:0
}

@test "Z10: a bad zone's file is EPERM" {
	make_mount strict
	expect ok ctl inject offline 3
	expect ok ctl inject read-only 4
	remount_device strict
	expect "EPERM EPERM EPERM EPERM" zio "truncate:0:$MNT/seq/0" "truncate:$CAP:$MNT/seq/0" \
		"truncate:0:$MNT/seq/1" "truncate:$CAP:$MNT/seq/1"
}

@test "Z10: a read-only mount stops truncate by path" {
	make_mount strict,ro
	expect "EROFS EROFS" zio "truncate:0:$MNT/seq/0" "truncate:$CAP:$MNT/seq/0"
}

@test "Z10: growing past the largest capacity is EFBIG, for every file" {
	make_mount strict
	expect "EFBIG EFBIG EFBIG" zio "truncate:$((4 * M + 1)):$MNT/seq/0" \
		"truncate:$((4 * M + 4096)):$MNT/cnv/0" "truncate:$((1024 * M)):$MNT/seq/0"
	expect "0 EFBIG" zio "open:O_WRONLY:$MNT/seq/0" "ftruncate:$((5 * M))"
}

@test "Z10: growing past RLIMIT_FSIZE is EFBIG with SIGXFSZ" {
	make_mount strict
	expect "0 EFBIG+XFSZ" zio "rlimit:$M" "truncate:$CAP:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
}

@test "Z10: a conventional file takes no other length, nor its own" {
	make_mount strict
	expect "EPERM EPERM EPERM" zio "truncate:0:$MNT/cnv/0" "truncate:4096:$MNT/cnv/0" \
		"truncate:$((4 * M)):$MNT/cnv/0"
	expect "0 EPERM" zio "open:O_RDWR:$MNT/cnv/0" ftruncate:0
	same "$(size_of "$MNT/cnv/0")" $((4 * M))
}

@test "Z10: a sequential file takes 0 and its capacity only" {
	make_mount strict
	fill_direct "$MNT/seq/0" 12288
	expect "EPERM EPERM EPERM EPERM" zio "truncate:4096:$MNT/seq/0" "truncate:1:$MNT/seq/0" \
		"truncate:$((CAP - 4096)):$MNT/seq/0" "truncate:$((CAP + 4096)):$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 12288
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z10: truncate to 0 resets the zone" {
	make_mount strict
	fill_direct "$MNT/seq/0" 12288
	expect 0 zio "truncate:0:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
	same "$(zone_cond 3 "$MNT")" em
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0,seed=7
	expect "0 4096" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,seed=7,check=1
}

@test "Z10: truncate to the capacity finishes the zone, whose rest reads as zeros" {
	make_mount strict
	fill_direct "$MNT/seq/0" 12288
	expect "0 0" zio "truncate:$CAP:$MNT/seq/0" "truncate:$CAP:$MNT/seq/1"
	same "$(size_of "$MNT/seq/0")" "$CAP"
	same "$(size_of "$MNT/seq/1")" "$CAP"
	same "$(zone_cond 3 "$MNT")" fu
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:12288@0,check=1
	cmp -i 12288:0 -n $((CAP - 12288)) "$MNT/seq/0" /dev/zero
	cmp -n "$CAP" "$MNT/seq/1" /dev/zero
}

@test "Z10: a length that the file has already sends no zone command" {
	make_mount strict
	resets=$(stat_counter resets)
	finishes=$(stat_counter finishes)
	expect "0 0 0" zio "truncate:0:$MNT/seq/0" "truncate:$CAP:$MNT/seq/1" \
		"truncate:$CAP:$MNT/seq/1"
	same "$(stat_counter resets)" "$resets"
	same "$(stat_counter finishes)" $((finishes + 1))
}

@test "Z10: a reset between writes on one descriptor" {
	make_mount strict
	expect "0 8192 0 EINVAL 4096 4096" zio "open:O_RDWR,O_DIRECT:$MNT/seq/0" write:8192@0 \
		ftruncate:0 write:4096@8192 write:4096@0 size
}

@test "Z10: a zone command that fails returns its errno and changes nothing" {
	make_mount strict
	may_log 'zone 3|seq/0'
	fill_direct "$MNT/seq/0" 8192
	expect ok ctl inject error reset 3 EIO count=1
	expect EIO zio "truncate:0:$MNT/seq/0"
	expect ok ctl inject error finish 3 EIO count=1
	expect EIO zio "truncate:$CAP:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 8192
	same "$(stat_counter read_only)" 0
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@8192
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z10: owner and root change mode, owner and times of files" {
	make_mount strict -- -o uid=1000,gid=1000,perm=600
	expect "0 0 0 EPERM" zio su:1000 "chmod:640:$MNT/seq/0" "utimes:$MNT/seq/0" \
		"chown:0.0:$MNT/seq/0"
	expect "0 EPERM EACCES" zio su:2000 "chmod:777:$MNT/seq/0" "utimes:$MNT/seq/0"
	expect "0 0" zio "chmod:604:$MNT/cnv/0" "chown:5.6:$MNT/cnv/0"
	expect "604 5:6" stat -c '%a %u:%g' "$MNT/cnv/0"
	expect "640 1000:1000" stat -c '%a %u:%g' "$MNT/seq/0"
}

@test "Z10: a bad zone's file keeps its attributes" {
	make_mount strict
	expect ok ctl inject offline 3
	remount_device strict
	expect "EPERM EPERM EPERM" zio "chmod:640:$MNT/seq/0" "chown:1.1:$MNT/seq/0" \
		"utimes:$MNT/seq/0"
	same "$(mode_of "$MNT/seq/0")" 0
}

@test "Z10: a read-only mount keeps all attributes" {
	make_mount strict,ro
	expect "EROFS EROFS EROFS" zio "chmod:640:$MNT/seq/0" "chown:1.1:$MNT/seq/0" \
		"utimes:$MNT/seq/0"
}

@test "Z10: a directory takes no write permission" {
	make_mount strict
	for dir in "$MNT" "$MNT/cnv" "$MNT/seq"; do
		expect "EPERM EPERM EPERM 0" zio "chmod:755:$dir" "chmod:575:$dir" \
			"chmod:557:$dir" "chmod:500:$dir"
		same "$(mode_of "$dir")" 500
		expect "0 0" zio "chown:1000.1000:$dir" "utimes:$dir"
		same "$(stat -c %u:%g "$dir")" 1000:1000
	done
}
