#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# Random operations with 32 in flight on a disk, as a file and as a loop device,
# compared with what must be there. OPS operations (6000; make stress: 1000000).

load common

: "${SEED:=$RANDOM$RANDOM}"
if [[ -n ${STRESS:-} ]]; then : "${OPS:=1000000}"; else : "${OPS:=6000}"; fi
export BATS_TEST_TIMEOUT=$((OPS / 100 + 200))

setup()
{
	common_setup
	requires_fuse
	echo "SEED=$SEED"
}

# Small zones, and few of them free: reclaim runs all the time.
make_disk()
{
	create_device --capacity 48M --zone-size 1M --conv-zones 9
	zonefsctl mkfs -t dmzoned -o seq=3 "$DEV"
	mount_device
}

# fsx OPTION... PATH: then the disk is closed, found sound, opened, and the same.
fsx()
{
	zfsx -s "$SEED" -S "$T/shadow" "$@"
}

check_again()
{
	umount_device
	zonefsctl check "$DEV"
	mount_device
	cmp "$MNT/disk" "$T/shadow"
	umount_device
}

@test "direct I/O on the file" {
	make_disk
	fsx -n "$OPS" "$MNT/disk"
	check_again
}

@test "operations of any length at any place" {
	make_disk
	fsx -n $((OPS / 4)) -a 1 -m 50000 "$MNT/disk"
	check_again
}

@test "a loop device" {
	requires_loop
	make_disk
	LOOP=$(zonefs-losetup -f --show "$MNT")
	fsx -n "$OPS" "$LOOP"
	zonefs-losetup -d "$LOOP"
	check_again
}

@test "a loop device, on a regular device and a zoned one" {
	requires_loop
	create_device --capacity 40M --zone-size 1M --conv-zones 1
	truncate -s 8500K "$T/regular"
	zonefsctl mkfs -t dmzoned -o seq=3 "$T/regular" "$DEV"
	mount_device "zoned=$DEV" "$T/regular"
	LOOP=$(zonefs-losetup -f --show "$MNT")
	fsx -n $((OPS / 2)) "$LOOP"
	zonefs-losetup -d "$LOOP"
	umount_device
	zonefsctl check "$T/regular" "$DEV"
}
