#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z9: fsync, fdatasync, syncfs in strict mode.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "Z9: fsync, fdatasync and syncfs succeed on files of both kinds" {
	make_mount strict
	expect "0 4096 0 0 0" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 fsync fdatasync syncfs
	expect "0 4096 0 0 0" zio "open:O_WRONLY:$MNT/cnv/0" write:4096 fsync fdatasync syncfs
	expect "0 0" zio "open:O_RDONLY:$MNT/seq/1" fsync
}

@test "Z9: fsync on a directory is EINVAL" {
	make_mount strict
	expect "0 EINVAL" zio "open:O_RDONLY,O_DIRECTORY:$MNT/seq" fsync
	expect "0 EINVAL" zio "open:O_RDONLY,O_DIRECTORY:$MNT" fsync
}

@test "Z9: fsync on a bad zone's file is EPERM" {
	make_mount strict,errors=zone-offline
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error write 3 EIO count=1
	expect "0 EIO EPERM" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 fsync
}

@test "Z9: a failed flush returns its errno and recovers as a write error" {
	make_mount strict,errors=zone-ro
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error flush all EIO count=1
	expect "0 4096 EIO EPERM" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 fsync \
		write:4096@4096
	same "$(mode_of "$MNT/seq/0")" 440
}

@test "Z9: a failed flush of a conventional file makes the mount read-only by default" {
	make_mount strict
	expect_log 'zone 1|cnv/0'
	expect ok ctl inject error flush all EIO count=1
	expect "0 4096 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/0" write:4096 fsync
	expect EROFS zio "open:O_WRONLY:$MNT/seq/0"
}
