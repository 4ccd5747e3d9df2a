#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z4: what the tree shows in strict mode: names, inode numbers, modes, sizes, times.

load common

setup()
{
	common_setup
	requires_fuse
}

attributes()
{
	stat -c '%i %a %u:%g %s %h %b %o' "$1"
}

# seq/0's times, with everything before them far in the past.
age()
{
	touch -d @1000 "$1"
}

@test "Z4: the root lists cnv and seq after the dots" {
	make_mount strict
	expect "./8/d/1,../8/d/2,cnv/9/d/3,seq/10/d/4" zio "ls:$MNT"
}

@test "Z4: a group lists its files in numeric order with the zones as inode numbers" {
	make_mount strict
	expect "./9/d/1,../8/d/2,0/1/f/3,1/2/f/4" zio "ls:$MNT/cnv"
	expect "./10/d/1,../8/d/2,0/3/f/3,1/4/f/4,2/5/f/5,3/6/f/6,4/7/f/7" zio "ls:$MNT/seq"
}

@test "Z4: more than ten files are listed in numeric order" {
	make_mount strict --capacity 64M --zone-size 4M --conv-zones 1
	expect "$(seq 0 14)" ls -U "$MNT/seq"
	expect "$(seq 0 14 | sort)" ls "$MNT/seq"
}

@test "Z4: the root's attributes" {
	make_mount strict
	expect "8 555 0:0 4 4 0 4096" attributes "$MNT"
}

@test "Z4: a group's size is its number of files" {
	make_mount strict
	expect "9 555 0:0 2 2 0 4096" attributes "$MNT/cnv"
	expect "10 555 0:0 5 2 0 4096" attributes "$MNT/seq"
}

@test "Z4: a file's blocks are its capacity, its block size the device's" {
	make_mount strict
	expect "1 640 0:0 4194304 1 8192 4096" attributes "$MNT/cnv/0"
	expect "3 640 0:0 0 1 6144 4096" attributes "$MNT/seq/0"
	fill_direct "$MNT/seq/0" 8192
	expect "3 640 0:0 8192 1 6144 4096" attributes "$MNT/seq/0"
}

@test "Z4: on a device of 512-byte blocks st_blksize is 512" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 2 --block-size 512
	expect "1 640 0:0 4194304 1 8192 512" attributes "$MNT/cnv/0"
	expect "2 640 0:0 0 1 8192 512" attributes "$MNT/seq/0"
}

@test "Z4: without conventional files there is no cnv, and seq keeps its inode number" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 0
	expect "./8/d/1,../8/d/2,seq/10/d/3" zio "ls:$MNT"
	expect "8 555 0:0 3 3 0 4096" attributes "$MNT"
	same "$(stat -c %i "$MNT/seq/0")" 1
	same "$(size_of "$MNT/seq")" 7
}

@test "Z1: one conventional zone holds the super block and makes no cnv" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 1
	expect seq ls "$MNT"
	same "$(size_of "$MNT/seq")" 7
}

@test "Z4: other spellings of a number are no names" {
	make_mount strict
	for name in 00 +0 -0 0x0 5 "0 " 01 seq a 4294967296 4294967301; do
		expect "ENOENT" zio "open:O_RDONLY:$MNT/seq/$name"
	done
	expect "ENOENT" zio "open:O_RDONLY:$MNT/cnv/2"
	expect "ENOENT" zio "open:O_RDONLY:$MNT/0"
}

@test "Z4: a name of more than 16 characters is too long" {
	make_mount strict
	expect "ENOENT" zio "open:O_RDONLY:$MNT/seq/1234567890123456"
	expect "ENAMETOOLONG" zio "open:O_RDONLY:$MNT/seq/12345678901234567"
	expect "ENAMETOOLONG" zio "open:O_RDONLY:$MNT/12345678901234567"
	expect "ENAMETOOLONG" zio "mkdir:$MNT/12345678901234567"
}

@test "Z4: the control directory is found but not listed" {
	make_mount strict
	[ -d "$MNT/.zonefsd" ]
	expect "cnv
seq" ls -A "$MNT"
}

@test "Z4: aggregated conventional zones are one file" {
	make_mount strict -- -o aggr_cnv
	expect "./9/d/1,../8/d/2,0/1/f/3" zio "ls:$MNT/cnv"
	expect "1 640 0:0 8388608 1 16384 4096" attributes "$MNT/cnv/0"
	expect "3 640 0:0 0 1 6144 4096" attributes "$MNT/seq/0"
}

@test "Z4: perm, uid and gid of the super block apply to files, not to directories" {
	make_mount strict -- -o perm=770,uid=1000,gid=2000
	expect "3 770 1000:2000 0 1 6144 4096" attributes "$MNT/seq/0"
	expect "1 770 1000:2000 4194304 1 8192 4096" attributes "$MNT/cnv/0"
	expect "555 0:0" stat -c '%a %u:%g' "$MNT/seq"
	expect "555 0:0" stat -c '%a %u:%g' "$MNT"
}

@test "Z4: each feature alone leaves the other attributes at their defaults" {
	make_device "${DEFAULT_GEOMETRY[@]}" -- -o uid=1000
	mount_device strict
	expect "640 1000:0" stat -c '%a %u:%g' "$MNT/seq/0"
	umount_device
	zonefsctl mkfs -f -o gid=1000 "$DEV"
	mount_device strict
	expect "640 0:1000" stat -c '%a %u:%g' "$MNT/seq/0"
	umount_device
	zonefsctl mkfs -f -o perm=600 "$DEV"
	mount_device strict
	expect "600 0:0" stat -c '%a %u:%g' "$MNT/seq/0"
}

@test "Z4: a direct write changes neither mtime nor ctime" {
	make_mount strict
	age "$MNT/seq/0"
	before=$(stat -c '%Y %Z' "$MNT/seq/0")
	sleep 1.1
	fill_direct "$MNT/seq/0" 8192
	expect "$before" stat -c '%Y %Z' "$MNT/seq/0"
}

@test "Z4: ftruncate sets mtime and ctime, truncate by path sets none" {
	make_mount strict
	age "$MNT/seq/0"
	before=$(stat -c '%Y %Z' "$MNT/seq/0")
	sleep 1.1
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	expect "$before" stat -c '%Y %Z' "$MNT/seq/0"
	expect "0 0" zio "open:O_WRONLY:$MNT/seq/0" ftruncate:0
	[ "$(stat -c %Y "$MNT/seq/0")" -gt 1000 ]
	[ "$(stat -c %Z "$MNT/seq/0")" -gt "${before#* }" ]
}

@test "Z4: O_TRUNC sets mtime" {
	make_mount strict
	age "$MNT/seq/0"
	expect 0 zio "open:O_WRONLY,O_TRUNC:$MNT/seq/0"
	[ "$(stat -c %Y "$MNT/seq/0")" -gt 1000 ]
}

@test "Z4: a changed mode and owner survive a cache drop but not an unmount" {
	make_mount strict
	chmod 600 "$MNT/seq/0"
	chown 1000:2000 "$MNT/seq/0"
	[ ! -w /proc/sys/vm/drop_caches ] || echo 2 >/proc/sys/vm/drop_caches
	expect "600 1000:2000" stat -c '%a %u:%g' "$MNT/seq/0"
	remount_device strict
	expect "640 0:0" stat -c '%a %u:%g' "$MNT/seq/0"
}

@test "Z3: a written zone's size is its write pointer after a new mount" {
	make_mount strict
	fill_direct "$MNT/seq/1" 12288
	expect 0 zio "truncate:$CAP:$MNT/seq/2"
	remount_device strict
	same "$(size_of "$MNT/seq/0")" 0
	same "$(size_of "$MNT/seq/1")" 12288
	same "$(size_of "$MNT/seq/2")" "$CAP"
}
