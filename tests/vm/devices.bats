#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The guest has the zoned devices that the other suites here stand on, and zonefsd
# reports on them what blkzone does.

load common

# zones CONVENTIONAL SEQUENTIAL CAPACITY: as the kernel reports them
zones()
{
	blkzone report "$DEV" >"$T/report"
	same "$(grep -c 'CONVENTIONAL' "$T/report")" "$1"
	same "$(grep -c 'SEQ_WRITE_REQUIRED' "$T/report")" "$2"
	same "$(($(sed -n 's/.*cap \(0x[0-9a-f]*\),.*SEQ.*/\1/p' "$T/report" |
		head -n 1) * 512))" "$3"
}

@test "null_blk: capacity below size, conventional zones, limits" {
	make_nullb zone_nr_conv=8 zone_capacity=3 zone_max_open=4 zone_max_active=6
	zones 8 8 $((3 * M))
	same "$(queue max_open_zones) $(queue max_active_zones)" "4 6"
	same "$(queue logical_block_size)" 4096
}

@test "null_blk: blocks of 512 bytes, no conventional zone, a smaller last zone" {
	make_nullb blocksize=512 size=62
	zones 0 16 $((4 * M))
	same "$(blockdev --getsize64 "$DEV")" $((62 * M))
	same "$(queue logical_block_size)" 512
}

@test "NVMe: zoned namespaces" {
	use_zns 0
	zones 0 16 $((3 * M))
	same "$(queue max_open_zones) $(queue max_active_zones)" "6 8"
	use_zns 3
	zones 0 20 $((2 * M))
	same "$(queue logical_block_size)" 512
}

@test "scsi_debug: host-managed disks" {
	make_scsi_debug 2 zone_nr_conv=2 zone_max_open=5
	zones 2 14 $((4 * M))
	same "$(queue max_open_zones)" 5
}

# sector_of ZONE
sector_of()
{
	echo $(($1 * $(queue chunk_sectors)))
}

# fill ZONE BYTES: from its start.
fill()
{
	dd if=/dev/zero of="$DEV" bs=4096 count=$(($2 / 4096)) oflag=direct conv=notrunc \
		seek=$(($(sector_of "$1") / 8)) status=none
}

# One zone from 3 on for each thing that can be done to it, CAPACITY bytes in each.
zones_in_all_conditions()
{
	local command zone=5

	zonefsctl mkfs "$DEV"
	fill 3 "$1"
	fill 4 8192
	for command in close open finish; do
		[[ $command == open ]] || fill $zone 8192
		blkzone $command -o "$(sector_of $zone)" -c 1 "$DEV"
		zone=$((zone + 1))
	done
}

# same_reports: of the device, of each zone alone, and of the mount.
same_reports()
{
	local start

	blkzone report "$DEV" >"$T/blkzone"
	zonefsctl report "$DEV" | diff "$T/blkzone" -
	while read -r _ start _; do
		zonefsctl report -o "${start%,}" -c 1 "$DEV"
	done <"$T/blkzone" | diff "$T/blkzone" -
	mount_device strict
	# A mount may close zones.
	blkzone report "$DEV" >"$T/blkzone"
	diff "$T/blkzone" "$MNT/.zonefsd/zones"
	zonefsctl report "$MNT" | diff "$T/blkzone" -
	umount_device
}

@test "null_blk: reports of zones in all conditions" {
	make_nullb zone_nr_conv=2 zone_capacity=3
	zones_in_all_conditions $((3 * M))
	fill 8 8192
	fill 9 8192
	sector_of 8 >"$NULLB/${DEV#/dev/}/zone_readonly"
	sector_of 9 >"$NULLB/${DEV#/dev/}/zone_offline"
	same "$(blkzone report "$DEV" | grep -oE '\([a-z]{2}\)' | sort -u | tr -d '\n')" \
		"(cl)(em)(fu)(nw)(oe)(of)(oi)(ro)"
	same_reports
}

@test "NVMe, scsi_debug: reports of zones in all conditions" {
	use_zns 0
	zones_in_all_conditions $((3 * M))
	same_reports
	make_scsi_debug 1 zone_nr_conv=2
	zones_in_all_conditions $((4 * M))
	same_reports
}

@test "the kernel's zonefs mounts what mkzonefs formats" {
	requires_mkzonefs
	make_nullb zone_nr_conv=3
	mkzonefs "$DEV"
	kernel_mount
	same "$(ls "$KMNT/cnv" | wc -l) $(ls "$KMNT/seq" | wc -l)" "2 13"
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$KMNT/seq/0" write:4096
	same "$(size_of "$KMNT/seq/0")" 4096
	kernel_umount
}

@test "a node that has another name than the device" {
	make_nullb zone_nr_conv=3
	mknod "$T/disk" b $(($(stat -c 0x%t "$DEV"))) $(($(stat -c 0x%T "$DEV")))
	DEV=$T/disk
	zonefsctl mkfs "$DEV"
	mount_device strict
	fill_direct "$MNT/seq/0" 8192
	umount_device
}
