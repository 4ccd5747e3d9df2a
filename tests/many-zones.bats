#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# 55,880 zones of 256 MiB, a disk of 14 TiB.

load common

NR=55880
export BATS_TEST_TIMEOUT=600

setup()
{
	common_setup
	requires_fuse
	name_device
	zonefsctl create --layout "$LAYOUT" --capacity $((NR * 256))M --conv-zones 1 "$DEV" ||
		skip "the file system beneath cannot hold a sparse 14 TiB"
}

@test "55,880 zones: format, mount, list, append to the last, unmount" {
	zonefsctl mkfs "$DEV"
	mount_device
	same "$(ls -l "$MNT/seq" | wc -l)" $NR
	same "$(ls "$MNT/seq" | wc -l)" $((NR - 1))
	echo "to the last zone" >>"$MNT/seq/$((NR - 2))"
	same "$(cat "$MNT/seq/$((NR - 2))")" "to the last zone"
	rss=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$DAEMON/status")
	[[ $ZONEFSD_WRAPPER ]] || [ "$rss" -lt 32768 ] || { echo "RSS $rss KiB"; false; }
	remount_device
	same "$(cat "$MNT/seq/$((NR - 2))")" "to the last zone"
	same "$(zonefsctl report "$MNT" | wc -l)" $NR
	zonefsctl report --json "$MNT" | jq -e ".zones | length == $NR"
	umount_device
	same "$(zonefsctl report "$DEV" | wc -l)" $NR
}

@test "a million zones: the report of a mount has all of them" {
	[[ $LAYOUT == image ]] || skip "an image only: a million files take minutes"
	rm "$DEV"
	zonefsctl create --layout image --capacity 1000000M --zone-size 1M --conv-zones 1 "$DEV" ||
		skip "the file system beneath cannot hold a sparse terabyte"
	zonefsctl mkfs "$DEV"
	mount_device
	same "$(zonefsctl report "$MNT" | wc -l)" 1000000
}
