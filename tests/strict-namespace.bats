#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z11: everything that is neither open, read, write, fsync nor truncate, in strict mode.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "Z11: nothing can be made: a missing name is ENOENT" {
	make_mount strict
	for dir in "$MNT" "$MNT/cnv" "$MNT/seq"; do
		expect "ENOENT ENOENT ENOENT ENOENT" zio "mkdir:$dir/x" "mknod:$dir/x" \
			"symlink:$dir/x" "link:$MNT/seq/0:$dir/x"
	done
}

@test "Z11: nothing can be made: a name that exists is EEXIST" {
	make_mount strict
	expect "EEXIST EEXIST EEXIST EEXIST" zio "mkdir:$MNT/seq/0" "mknod:$MNT/seq/0" \
		"symlink:$MNT/cnv/0" "link:$MNT/seq/0:$MNT/seq/1"
	expect "EEXIST" zio "mkdir:$MNT/seq"
}

@test "Z11: unlink, rmdir and rename are EPERM for root" {
	make_mount strict
	expect "EPERM EPERM EPERM EPERM" zio "unlink:$MNT/seq/0" "unlink:$MNT/cnv/0" \
		"rmdir:$MNT/cnv" "rename:$MNT/seq/0:$MNT/seq/1"
	expect "EPERM" zio "rename:$MNT/cnv:$MNT/seq"
}

@test "Z11: unlink, rmdir and rename are EACCES for others" {
	make_mount strict
	expect "0 EACCES EACCES EACCES" zio su:65534 "unlink:$MNT/seq/0" "rmdir:$MNT/cnv" \
		"rename:$MNT/seq/0:$MNT/seq/1"
}

@test "Z11: a missing name is ENOENT, the target of a rename too" {
	make_mount strict
	expect "ENOENT ENOENT ENOENT ENOENT" zio "unlink:$MNT/seq/9" "rmdir:$MNT/x" \
		"rename:$MNT/seq/9:$MNT/seq/0" "rename:$MNT/seq/0:$MNT/seq/9"
}

@test "Z11: on a read-only mount unlink, rmdir and rename are EROFS first" {
	make_mount strict,ro
	expect "EROFS EROFS EROFS" zio "unlink:$MNT/seq/0" "rmdir:$MNT/cnv" \
		"rename:$MNT/seq/0:$MNT/seq/1"
}

@test "Z11: renaming a file onto itself does nothing; NOREPLACE finds it" {
	make_mount strict
	expect "0 EEXIST" zio "rename:$MNT/seq/0:$MNT/seq/0" \
		"rename:$MNT/seq/0:$MNT/seq/1:noreplace"
}

@test "Z11: fallocate is not supported" {
	make_mount strict
	expect "0 EOPNOTSUPP EOPNOTSUPP" zio "open:O_RDWR:$MNT/seq/0" fallocate:0,0,4096 \
		fallocate:3,0,4096
	expect "0 EOPNOTSUPP" zio "open:O_RDWR:$MNT/cnv/0" fallocate:0,0,4096
	expect "0 EBADF" zio "open:O_RDONLY:$MNT/seq/0" fallocate:0,0,4096
	expect "0 EFBIG EFBIG" zio "open:O_RDWR:$MNT/seq/0" fallocate:0,0,$((4 * M + 1)) \
		fallocate:3,$((4 * M)),4096
}

@test "Z11: there are no extended attributes" {
	make_mount strict
	expect "0 EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP" zio "open:O_RDWR:$MNT/seq/0" \
		getxattr:user.a setxattr:user.a removexattr:user.a
}

@test "Z11: inode flags, FIEMAP and unknown ioctls" {
	make_mount strict
	expect "0 ENOTTY EOPNOTSUPP ENOTTY" zio "open:O_RDWR:$MNT/seq/0" getflags fiemap \
		ioctl:0x5a00
}

@test "Z11: SEEK_DATA and SEEK_HOLE know one stretch of data" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 0 5000 8192 8192 ENXIO ENXIO ENXIO" zio "open:O_RDONLY:$MNT/seq/0" \
		seek:0,data seek:5000,data seek:0,hole seek:8191,hole seek:8192,data \
		seek:8192,hole seek:100000,data
	expect "0 0 $((4 * M))" zio "open:O_RDONLY:$MNT/cnv/0" seek:0,data seek:0,hole
	expect "0 ENXIO" zio "open:O_RDONLY:$MNT/seq/1" seek:0,data
}

@test "Z11: SEEK_END is the size" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 8192 4096" zio "open:O_RDONLY:$MNT/seq/0" seek:0,end seek:-4096,end
}

@test "Z11: conventional files map shared and private, for reading and writing" {
	make_mount strict
	expect "0 0 0 1" zio "open:O_RDWR:$MNT/cnv/0" map:8192,rw,shared store:0 load:0
	expect "0 0 0 1" zio "open:O_RDWR:$MNT/cnv/0" map:8192,rw,private store:5000 load:5000
	expect "0 0 0" zio "open:O_RDONLY:$MNT/cnv/0" map:8192,r,shared load:4096
}

@test "Z11: a sequential file does not map shared on a writable descriptor" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	# The kernel's zonefs says EINVAL; the FUSE client decides this one (Z16.7).
	expect "0 ENODEV ENODEV" zio "open:O_RDWR:$MNT/seq/0" map:4096,r,shared map:4096,rw,shared
}

@test "Z11: a sequential file maps shared on a read-only descriptor, not for writing" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 0 8192 EACCES" zio "open:O_RDONLY:$MNT/seq/0" map:8192,r,shared check:0,8192 \
		map:8192,rw,shared
}

@test "Z11: what root may open without a permission bit maps as well" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	chmod 0 "$MNT/seq/0"
	expect "0 0 8192" zio "open:O_RDONLY:$MNT/seq/0" map:8192,r,shared check:0,8192
}

@test "Z11: a private map of a sequential file, also writable" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "0 0 8192 0 1" zio "open:O_RDONLY:$MNT/seq/0" map:8192,rw,private check:0,8192 \
		store:17 load:17
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "Z11: access past the page with the end of the file is SIGBUS" {
	make_mount strict
	fill_direct "$MNT/seq/0" 4096
	expect "0 0 4096 SIGBUS" zio "open:O_RDONLY:$MNT/seq/0" map:8192,r,shared check:0,4096 \
		load:4096
}

@test "Z11: sendfile into a sequential file follows the rules of write" {
	make_mount strict
	pattern_file "$T/src" 8192
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/0" "sendfile:8192:$T/src"
	expect "0 8192" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "sendfile:8192:$T/src"
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "Z11: copy_file_range into a sequential file follows the rules of write" {
	make_mount strict
	fill_direct "$MNT/seq/1" 8192
	expect "0 EIO" zio "open:O_WRONLY:$MNT/seq/0" "copyrange:8192:$MNT/seq/1"
	same "$(size_of "$MNT/seq/0")" 0
}

@test "Z11: read(2) on a directory is EISDIR" {
	make_mount strict
	expect "0 EISDIR 0 EISDIR" zio "open:O_RDONLY:$MNT" read:10 "open:O_RDONLY:$MNT/seq" read:10
}
