#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: image
# long
#
# A disk of 14 TB, 52156 zones of 256 MiB, the first hundredth of them conventional:
# what of it is kept in memory, and what the user cannot have.

load common
load block

export BATS_TEST_TIMEOUT=300

setup()
{
	common_setup
	requires_fuse
	# Two sets of metadata, of which the bitmaps are 408 MiB each.
	requires_space $((1024 * M))
	make_disk --capacity $((52156 * 256))M --zone-size 256M --conv-zones 524 -- -o seq=1
}

# The next test needs the space.
teardown()
{
	local status=0

	common_teardown || status=$?
	rm -f "$DEV"
	return $status
}

# fact NAME: from the counters, as a program gets them.
fact()
{
	zonefsctl stat --json "$MNT" | jq ".stats.$1"
}

@test "14 TB take 3 MB of memory, and 5 zones" {
	mount_disk
	same "$(fact nr_zones)" 52156
	same "$(fact reserved)" 1
	[[ $(fact metadata_bytes) -le 3000000 ]]
	[[ $(fact unavailable) -le 5 ]]
	# The chunks are all zones but these.
	same "$DISK_SIZE" $(((52156 - $(fact unavailable) - 1) * 256 * M))
	[[ $((52156 - DISK_SIZE / (256 * M))) -le 6 ]]
}

# place N: where the Nth write goes: a MiB into every 200th chunk.
place()
{
	echo $((($1 * 200 * 256 + 1) * M))
}

@test "14 TB in use stay within that, from one end to the other" {
	mount_disk
	random_file "$T/r" $M
	# Half of the conventional zones, each with a bitmap of its own.
	for ((i = 0; i < 260; i++)); do
		put "$T/r" "$(place $i)"
	done
	put "$T/r" $((DISK_SIZE - M)) conv=notrunc,fsync
	[[ $(fact metadata_bytes) -le 3000000 ]]
	same "$(fact mapped_chunks)" 261
	remount_disk
	[[ $(fact metadata_bytes) -le 3000000 ]]
	for ((i = 0; i < 260; i += 20)); do
		holds "$T/r" "$(place $i)"
	done
	holds "$T/r" $((DISK_SIZE - M))
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}
