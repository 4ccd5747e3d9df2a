#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z12, second part: what happens to a file, its zone and the mount after an I/O
# error, for each errors= option, in strict mode. seq/0 is zone 3 and holds
# 4096 bytes; cnv/0 is zone 1.

load common

setup()
{
	common_setup
	requires_fuse
	make_device
	may_log 'zone [13]|(seq|cnv)/0|read-only'
}

# start OPTION: mount with errors=OPTION and 4096 bytes in seq/0.
start()
{
	mount_device "strict,errors=$1"
	fill_direct "$MNT/seq/0" 4096
}

# after SIZE MODE ro|rw: what seq/0 and the mount look like now.
after()
{
	same "$(size_of "$MNT/seq/0")" "$1" size
	same "$(mode_of "$MNT/seq/0")" "$2" mode
	if [[ $3 == ro ]]; then
		expect EROFS zio "open:O_WRONLY:$MNT/seq/1"
		same "$(stat_counter read_only)" 1
	else
		expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/1" write:4096
	fi
}

write_fails()
{
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@4096
}

readable()
{
	expect "0 4096" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0,check=1
}

unreadable()
{
	expect "0 EPERM" zio "open:O_RDONLY:$MNT/seq/0" read:4096@0
}

no_truncate()
{
	expect "$1" zio "truncate:0:$MNT/seq/0"
}

# ---- the zone is ahead of the file ----

@test "Z12: written behind our back, remount-ro: size kept, mount read-only" {
	start remount-ro
	expect ok ctl inject write 3 4096
	write_fails
	after 4096 640 ro
	no_truncate EROFS
	readable
}

@test "Z12: after that, remount,rw alone does not help: the next write fails again" {
	start remount-ro
	expect ok ctl inject write 3 4096
	write_fails
	until mount_is_ro; do sleep 0.02; done
	mount_writable
	write_fails
	expect EROFS zio "open:O_WRONLY:$MNT/seq/1"
}

@test "Z12: written behind our back, zone-ro: size kept, file read-only" {
	start zone-ro
	expect ok ctl inject write 3 4096
	write_fails
	after 4096 440 rw
	no_truncate EPERM
	readable
}

@test "Z12: written behind our back, zone-offline: size 0, file without access" {
	start zone-offline
	expect ok ctl inject write 3 4096
	write_fails
	after 0 0 rw
	no_truncate EPERM
	unreadable
}

@test "Z12: written behind our back, repair: the file gets the zone's size" {
	start repair
	expect ok ctl inject write 3 4096
	write_fails
	after 8192 640 rw
	readable
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@8192
	no_truncate 0
	same "$(size_of "$MNT/seq/0")" 0
}

# ---- a write error on a good zone ----

@test "Z12: a write error with nothing written, remount-ro: only the mount changes" {
	start remount-ro
	expect ok ctl inject error write 3 EIO count=1
	write_fails
	after 4096 640 ro
	readable
}

@test "Z12: a write error with nothing written, zone-ro" {
	start zone-ro
	expect ok ctl inject error write 3 EIO count=1
	write_fails
	after 4096 440 rw
	readable
}

@test "Z12: a write error with nothing written, zone-offline" {
	start zone-offline
	expect ok ctl inject error write 3 EIO count=1
	write_fails
	after 0 0 rw
	unreadable
}

@test "Z12: a write error with nothing written, repair: nothing changes" {
	start repair
	expect ok ctl inject error write 3 EIO count=1
	write_fails
	after 4096 640 rw
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@4096
	readable
}

@test "Z12: the caller gets the errno of the medium" {
	start repair
	expect ok ctl inject error write 3 ENOSPC count=1
	expect "0 ENOSPC" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@4096
	after 4096 640 rw
}

@test "Z12: a write that reached the zone in part, repair: size is what reached it" {
	start repair
	expect ok ctl inject error write 3 EIO count=1 partial=8192
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:65536@4096
	after 12288 640 rw
	expect "0 12288" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

@test "Z12: a write that reached the zone in part, remount-ro: size kept" {
	start remount-ro
	expect ok ctl inject error write 3 EIO count=1 partial=8192
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:65536@4096
	after 4096 640 ro
}

@test "Z16.3: a first write that fails in part does not reset the zone" {
	mount_device strict,errors=repair
	expect ok ctl inject error write 3 EIO count=1 partial=8192
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:65536@0
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:20000@0,check=1
}

# ---- the zone turns read-only ----

@test "Z12: the zone turns read-only, remount-ro" {
	start remount-ro
	expect ok ctl inject read-only 3
	write_fails
	after 4096 440 ro
	readable
}

@test "Z12: the zone turns read-only, zone-ro" {
	start zone-ro
	expect ok ctl inject read-only 3
	write_fails
	after 4096 440 rw
	no_truncate EPERM
	readable
}

@test "Z12: the zone turns read-only, zone-offline" {
	start zone-offline
	expect ok ctl inject read-only 3
	write_fails
	after 0 0 rw
	unreadable
}

@test "Z12: the zone turns read-only, repair" {
	start repair
	expect ok ctl inject read-only 3
	write_fails
	after 4096 440 rw
	readable
}

# ---- the zone goes offline ----

@test "Z12: the zone goes offline, remount-ro" {
	start remount-ro
	expect ok ctl inject offline 3
	write_fails
	after 0 0 ro
	unreadable
}

@test "Z12: the zone goes offline, zone-ro" {
	start zone-ro
	expect ok ctl inject offline 3
	write_fails
	after 0 0 rw
}

@test "Z12: the zone goes offline, zone-offline" {
	start zone-offline
	expect ok ctl inject offline 3
	write_fails
	after 0 0 rw
}

@test "Z12: the zone goes offline, repair" {
	start repair
	expect ok ctl inject offline 3
	write_fails
	after 0 0 rw
	no_truncate EPERM
}

@test "Z12: a failed read of an offline zone recovers too" {
	start zone-ro
	expect ok ctl inject offline 3
	expect "0 EIO" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:4096@0
	after 0 0 rw
}

# ---- what is no reason ----

@test "Z12: a read error on a good zone changes nothing, under every option" {
	for e in remount-ro zone-ro zone-offline repair; do
		mount_device "strict,errors=$e"
		expect 0 zio "truncate:0:$MNT/seq/0"
		fill_direct "$MNT/seq/0" 4096
		expect ok ctl inject error read 3 EIO count=1
		expect "0 EIO 4096" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:4096@0 \
			read:4096@0,check=1
		same "$(size_of "$MNT/seq/0") $(mode_of "$MNT/seq/0")" "4096 640"
		same "$(stat_counter read_only)" 0
		umount_device
	done
}

# ---- conventional zones ----

@test "Z12: a failed fsync of a conventional file, zone-ro" {
	mount_device strict,errors=zone-ro
	expect ok ctl inject error flush all EIO count=1
	expect "0 4096 EIO" zio "open:O_WRONLY:$MNT/cnv/0" write:4096 fsync
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "$((4 * M)) 440"
	fill_direct "$MNT/seq/0" 4096
}

@test "Z12: a failed fsync of a conventional file, zone-offline" {
	mount_device strict,errors=zone-offline
	expect ok ctl inject error flush all EIO count=1
	expect "0 4096 EIO" zio "open:O_WRONLY:$MNT/cnv/0" write:4096 fsync
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "0 0"
}

@test "Z12: a failed fsync of a conventional file, repair: nothing changes" {
	mount_device strict,errors=repair
	expect ok ctl inject error flush all EIO count=1
	expect "0 4096 EIO 0" zio "open:O_WRONLY:$MNT/cnv/0" write:4096 fsync fsync
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "$((4 * M)) 640"
}

# ---- after a new mount ----

@test "Z3: at mount a read-only zone's file has mode 000; seq size 0, cnv its capacity" {
	start remount-ro
	expect ok ctl inject read-only 3
	expect ok ctl inject read-only 1
	remount_device strict
	same "$(size_of "$MNT/seq/0") $(mode_of "$MNT/seq/0")" "0 0"
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "$((4 * M)) 0"
	expect EPERM zio "open:O_WRONLY:$MNT/seq/0"
	fill_direct "$MNT/seq/1" 4096
}

@test "Z3: at mount an offline zone's file has mode 000 and size 0" {
	start remount-ro
	expect ok ctl inject offline 3
	expect ok ctl inject offline 1
	for e in remount-ro zone-ro zone-offline repair; do
		remount_device "strict,errors=$e"
		same "$(size_of "$MNT/seq/0") $(mode_of "$MNT/seq/0")" "0 0"
		same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "0 0"
		expect 0 zio "truncate:0:$MNT/seq/1"
		fill_direct "$MNT/seq/1" 4096
	done
}

@test "Z3: with aggregation one bad member makes the whole file bad" {
	zonefsctl mkfs -f -o aggr_cnv "$DEV"
	mount_device strict
	expect ok ctl inject read-only 2
	remount_device strict
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "$((8 * M)) 0"
	expect ok ctl inject offline 1
	remount_device strict
	same "$(size_of "$MNT/cnv/0") $(mode_of "$MNT/cnv/0")" "0 0"
}

@test "Z3: a fresh mount takes the zone's size, whatever was written behind our back" {
	start remount-ro
	expect ok ctl inject write 3 4096
	remount_device strict
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@8192
}
