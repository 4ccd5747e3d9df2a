#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z12, first part: mount options and remount, in strict mode.

load common

setup()
{
	common_setup
	requires_fuse
}

info()
{
	awk -v n="$1" '$1 == n { print $2 }' "$MNT/.zonefsd/info"
}

@test "Z12: the four errors= options are taken, the last one wins" {
	make_device
	for e in remount-ro zone-ro zone-offline repair; do
		mount_device "strict,errors=$e"
		same "$(info errors)" "$e"
		umount_device
	done
	mount_device strict,errors=zone-ro,errors=repair
	same "$(info errors)" repair
}

@test "Z12: remount-ro is the default" {
	make_mount strict
	same "$(info errors)" remount-ro
	same "$(info explicit_open)" 0
	same "$(info personality)" strict
}

@test "Z12: other options are refused" {
	make_device
	for o in errors=continue errors=panic errors= errors foo=bar bad_option \
			explicit-open=1 no-explicit-open strict=1; do
		refused 2 "^zonefsd: .*${o%%=*}" zonefsd -o "$o" "$DEV" "$MNT"
		no mountpoint -q "$MNT"
	done
}

@test "Z12: explicit-open is dropped with a note where the device has no limits" {
	make_mount strict,explicit-open
	same "$(info explicit_open)" 0
	grep -q explicit-open "$T/daemon.log"
}

@test "Z12: explicit-open stays where the device has a limit" {
	make_mount strict,explicit-open --capacity 32M --zone-size 4M --conv-zones 2 \
		--max-active-zones 3
	same "$(info explicit_open)" 1
}

@test "Z12: a remount replaces all options, starting from the defaults" {
	make_mount strict,errors=repair,explicit-open --capacity 32M --zone-size 4M \
		--conv-zones 2 --max-open-zones 3
	same "$(info errors) $(info explicit_open)" "repair 1"
	expect ok ctl remount errors=zone-ro,explicit-open
	same "$(info errors) $(info explicit_open)" "zone-ro 1"
	expect ok ctl remount rw
	same "$(info errors) $(info explicit_open)" "remount-ro 0"
	same "$(info personality)" strict
}

@test "Z12: a remount with a bad option changes nothing" {
	make_mount strict,errors=repair
	expect EINVAL ctl remount errors=panic
	expect EINVAL ctl remount foo
	same "$(info errors)" repair
}

@test "Z12: remount,ro stops writers, remount,rw lets them in again" {
	make_mount strict
	expect ok ctl remount ro
	same "$(info read_only)" 1
	expect EROFS zio "open:O_WRONLY:$MNT/seq/0"
	mount_writable
	same "$(info read_only)" 0
	fill_direct "$MNT/seq/0" 4096
}

@test "Z12: remount,ro with a file open for writing is EBUSY" {
	make_mount strict
	zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "touch:$T/open" "await:$T/go" write:4096 \
		>"$T/writer" &
	zio "await:$T/open"
	expect EBUSY ctl remount ro
	touch "$T/go"
	wait $!
	expect "0 0 0 4096" cat "$T/writer"
}

@test "Z12: remount,rw works after an error made the mount read-only" {
	make_mount strict
	expect_log 'zone 3|seq/0'
	expect ok ctl inject error write 3 EIO count=1
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096
	until mount_is_ro; do sleep 0.02; done
	mount_writable
	fill_direct "$MNT/seq/0" 4096
}

@test "Z12: remount,rw stays when the error's remount still waits for a writer" {
	make_mount strict
	expect_log 'zone 3|seq/0'
	zio "open:O_WRONLY,O_DIRECT:$MNT/seq/1" "touch:$T/open" "await:$T/go" >/dev/null &
	zio "await:$T/open"
	expect ok ctl inject error write 3 EIO count=1
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096
	no mount_is_ro
	mount_writable
	touch "$T/go"
	wait $!
	sleep 0.3
	no mount_is_ro
	fill_direct "$MNT/seq/1" 4096
}

@test "Z12: a zone marked bad stays so over remount,rw" {
	make_mount strict
	expect_log 'zone 3|seq/0'
	expect ok ctl inject offline 3
	expect "0 EIO" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096
	until mount_is_ro; do sleep 0.02; done
	mount_writable
	expect EPERM zio "open:O_WRONLY:$MNT/seq/0"
	same "$(mode_of "$MNT/seq/0")" 0
}

@test "Z12: a read-only mount reads and stats" {
	make_device
	mount_device strict
	fill_direct "$MNT/seq/0" 8192
	remount_device strict,ro
	mount_is_ro
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
	same "$(size_of "$MNT/seq/0")" 8192
}

@test "Z12: a read-only mount leaves the device as it was" {
	make_device
	mount_device strict
	fill_direct "$MNT/seq/0" 8192
	umount_device
	unchanged eval 'mount_device strict,ro; cat "$MNT/seq/0" "$MNT/cnv/0" >/dev/null; umount_device'
}
