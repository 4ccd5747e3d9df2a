#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z6: open, row by row, in strict mode.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "Z6: files open for reading, writing and both" {
	make_mount strict
	for mode in O_RDONLY O_WRONLY O_RDWR; do
		expect "0 0" zio "open:$mode:$MNT/cnv/0" "open:$mode:$MNT/seq/0"
	done
}

@test "Z6: O_TRUNC on a conventional file fails" {
	make_mount strict
	for mode in O_RDONLY O_WRONLY O_RDWR; do
		expect "EPERM" zio "open:$mode,O_TRUNC:$MNT/cnv/0"
	done
	same "$(size_of "$MNT/cnv/0")" $((4 * M))
}

@test "Z6: O_TRUNC on a sequential file resets the zone" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect 0 zio "open:O_WRONLY,O_TRUNC:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
	fill_direct "$MNT/seq/0" 4096
}

@test "Z6: O_RDONLY with O_TRUNC resets and is not counted as a writer" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	zio "open:O_RDONLY,O_TRUNC:$MNT/seq/0" "touch:$T/open" "await:$T/go" &
	zio "await:$T/open"
	same "$(size_of "$MNT/seq/0")" 0
	expect 0 attribute nr_wro_seq_files
	touch "$T/go"
	wait $!
}

@test "Z6: O_RDONLY with O_TRUNC needs write permission" {
	make_mount strict -- -o perm=644
	fill_direct "$MNT/seq/0" 8192
	expect "0 EACCES" zio su:65534 "open:O_RDONLY,O_TRUNC:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 8192
}

@test "Z6: O_TRUNC takes the set-user-ID bit away, unless root asks" {
	make_mount strict
	fill_direct "$MNT/seq/0" 4096
	chown 1000 "$MNT/seq/0"
	chmod 6755 "$MNT/seq/0" "$MNT/seq/1"
	expect "0 0" zio su:1000 "open:O_WRONLY,O_TRUNC:$MNT/seq/0"
	same "$(mode_of "$MNT/seq/0")" 755
	expect "0" zio "open:O_WRONLY,O_TRUNC:$MNT/seq/1"
	same "$(mode_of "$MNT/seq/1")" 6755
	# Nor by an open that fails, or truncates nothing.
	chown 1000 "$MNT/cnv/0"
	chmod 6755 "$MNT/cnv/0"
	expect "0 EPERM" zio su:1000 "open:O_WRONLY,O_TRUNC:$MNT/cnv/0"
	expect "0 0" zio su:1000 "open:O_WRONLY:$MNT/cnv/0"
	same "$(mode_of "$MNT/cnv/0")" 6755
}

@test "Z6: a reset that fails makes the open fail and undoes the count" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect ok ctl inject error reset 3 EIO count=1
	may_log 'reset'
	expect EIO zio "open:O_WRONLY,O_TRUNC:$MNT/seq/0"
	expect 0 attribute nr_wro_seq_files
	same "$(size_of "$MNT/seq/0")" 8192
}

@test "Z6: O_APPEND opens a conventional file, whose non-empty writes then fail" {
	make_mount strict
	expect "0 EINVAL 0" zio "open:O_WRONLY,O_APPEND:$MNT/cnv/0" write:4096 write:0
}

@test "Z6: O_DIRECT can be set later by fcntl" {
	make_mount strict
	expect "0 EIO 0 4096" zio "open:O_WRONLY:$MNT/seq/0" write:4096 setfl:O_DIRECT write:4096
}

@test "Z6: O_CREAT opens what exists, with O_EXCL it fails" {
	make_mount strict
	expect "0 0" zio "open:O_RDWR,O_CREAT:$MNT/cnv/0" "open:O_RDWR,O_CREAT:$MNT/seq/0"
	expect EEXIST zio "open:O_RDWR,O_CREAT,O_EXCL:$MNT/cnv/0"
	expect EEXIST zio "open:O_RDWR,O_CREAT,O_EXCL:$MNT/seq/0"
}

@test "Z6: O_CREAT of a missing name is ENOENT" {
	make_mount strict
	expect ENOENT zio "open:O_RDWR,O_CREAT:$MNT/seq/5"
	expect ENOENT zio "open:O_RDWR,O_CREAT,O_EXCL:$MNT/cnv/x"
	expect ENOENT zio "open:O_RDWR,O_CREAT:$MNT/x"
}

@test "Z6: on a read-only mount opening for writing is EROFS" {
	make_mount strict,ro
	expect "EROFS EROFS EROFS" zio "open:O_WRONLY:$MNT/cnv/0" "open:O_RDWR:$MNT/seq/0" \
		"open:O_RDONLY,O_TRUNC:$MNT/seq/0"
	expect "0 0" zio "open:O_RDONLY:$MNT/cnv/0" "open:O_RDONLY:$MNT/seq/0"
}

@test "Z6: after an error made the mount read-only, opening for writing is EROFS" {
	make_mount strict
	expect ok ctl inject error write 3 EIO count=1
	expect_log 'seq/0|zone 3'
	may_log 'read-only'
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096
	expect EROFS zio "open:O_WRONLY:$MNT/seq/1"
	expect 0 zio "open:O_RDONLY:$MNT/seq/1"
}

@test "Z6: a bad zone's file opens for writing for nobody" {
	make_mount strict
	expect ok ctl inject read-only 3
	expect ok ctl inject offline 4
	expect ok ctl inject offline 1
	remount_device strict
	expect "EPERM EPERM EPERM" zio "open:O_WRONLY:$MNT/seq/0" "open:O_RDWR:$MNT/seq/1" \
		"open:O_WRONLY:$MNT/cnv/0"
}

@test "Z6: a file of mode 000 opens for root only, and each read fails" {
	make_mount strict
	expect ok ctl inject offline 3
	remount_device strict
	expect "0 EPERM EPERM" zio "open:O_RDONLY:$MNT/seq/0" read:4096 read:4096@8192
	expect "0 EACCES" zio su:65534 "open:O_RDONLY:$MNT/seq/0"
}

@test "Z6: mode bits keep others out" {
	make_mount strict
	expect "0 EACCES EACCES" zio su:65534 "open:O_RDONLY:$MNT/seq/0" "open:O_WRONLY:$MNT/cnv/0"
}

@test "Z6: O_TMPFILE is not supported" {
	make_mount strict
	expect EOPNOTSUPP zio "open:O_RDWR,O_TMPFILE:$MNT/seq"
	expect "0 EACCES" zio su:65534 "open:O_RDWR,O_TMPFILE:$MNT/seq"
}

@test "Z6: EROFS comes before EPERM, and EPERM before EACCES" {
	make_mount strict
	expect ok ctl inject read-only 3
	remount_device strict
	expect "EPERM" zio "open:O_WRONLY:$MNT/seq/0"
	remount_device strict,ro
	expect "EROFS EROFS" zio "open:O_WRONLY:$MNT/seq/0" "truncate:0:$MNT/seq/0"
	expect "0 EROFS" zio su:65534 "open:O_WRONLY:$MNT/seq/0"
}
