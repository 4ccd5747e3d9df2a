#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The format of the block view beside dmzadm and the kernel: what one makes the
# other takes, with the same numbers; what ours has repaired holds no error for dmzadm.

load common
load dmz

ZONE=$((4 * M))

each_case()
{
	one_device blocksize=4096 && "$@"
	one_device blocksize=512 && "$@"
	two_devices blocksize=4096 && "$@"
	two_devices blocksize=512 zone_nr_conv=2 && "$@"
}

# The numbers and the label of both super blocks: all but checksum and uuids.
numbers()
{
	local zone

	for zone in 0 1; do
		dd if="${DEVICES[0]}" bs=4096 skip=$((zone * ZONE / 4096)) count=1 iflag=direct \
			status=none | od -An -tx4 -v | head -n 5 |
			awk 'NR == 3 { $4 = "" } 1'
	done
	# Beyond the fields all is zero.
	dd if="${DEVICES[0]}" bs=4096 count=1 iflag=direct status=none | tail -c +113 | cksum
}

later_numbers()
{
	((${#DEVICES[@]} == 1)) || dd if="${DEVICES[1]}" bs=4096 count=1 iflag=direct status=none |
		od -An -tx4 -v | head -n 5 | awk 'NR == 3 { $4 = "" } 1'
}

dmzadm_then_ours()
{
	format_dmzadm same
	ours_finds_nothing
	numbers >"$T/theirs"
	later_numbers >>"$T/theirs"
	refused 1 "contains a( part of a)? dm-zoned disk" zonefsctl mkfs "$DEV" || return 1
	format_ours same
	{ numbers; later_numbers; } | diff "$T/theirs" -
	dmzadm_finds_nothing
	ours_finds_nothing
}

# Random bytes in map and bitmaps, the same in both sets or in one.
damage()
{
	local i set pos nr=$((RANDOM % 3 + 1))

	for ((i = 0; i < 20; i++)); do
		head -c 8 /dev/urandom >"$T/bytes"
		# Half of the map entries are numbers of zones that exist.
		if ((i % 2)); then
			printf '%b\377\377\377\377' "\\x$(printf %02x $((RANDOM % 74)))\\0\\0\\0" \
				>"$T/bytes"
			pos=$((4096 + RANDOM % 66 * 8))
		else
			pos=$((2 * 4096 + RANDOM % 70 * 4096 + RANDOM % 16 * 8))
		fi
		for set in 0 1; do
			((nr >> set & 1)) || continue
			dd if="$T/bytes" of="${DEVICES[0]}" bs=1 seek=$((set * ZONE + pos)) \
				conv=notrunc,fsync status=none
		done
	done
	blockdev --flushbufs "${DEVICES[0]}"
}

repaired_for_dmzadm()
{
	zonefsctl mkfs -t dmzoned -f -o seq=4 "${DEVICES[@]}"
	for _ in 1 2 3; do
		damage
		no zonefsctl check "${DEVICES[@]}" >"$T/found"
		zonefsctl check --repair "${DEVICES[@]}" >"$T/repaired" || {
			cat "$T/repaired"
			return 1
		}
		dmzadm_finds_nothing
	done
}

# Written and read through the kernel's own dm-zoned.
used_by_kernel()
{
	local i label="dmz$RANDOM"

	format_ours "$label"
	start_kernel "$label"
	same "$(blockdev --getsize64 "$DISK")" "$(zonefsctl_size)"
	for ((i = 0; i < 20; i++)); do
		dd if=/dev/urandom of="$DISK" bs=64K seek=$((RANDOM % 3000)) count=$((RANDOM % 20 + 1)) \
			oflag=direct status=none
	done
	sync "$DISK"
	stop_kernel
	zonefsctl check "${DEVICES[@]}"
	dmzadm_finds_nothing
}

# 64 zones and 9 of the regular one, less two of metadata and four in reserve
zonefsctl_size()
{
	echo $(((${#DEVICES[@]} == 1 ? 58 : 67) * ZONE))
}

teardown()
{
	remove_kernel
	vm_teardown
}

@test "formatted by dmzadm: sound for ours, which makes the same, sound for dmzadm" {
	requires_dmzadm
	each_case dmzadm_then_ours
}

@test "after random damage that ours has repaired, dmzadm finds no error" {
	requires_dmzadm
	each_case repaired_for_dmzadm
}

@test "formatted by ours, used by the kernel's dm-zoned, sound for both" {
	requires_dm_zoned
	each_case used_by_kernel
}
