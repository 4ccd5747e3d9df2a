#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The format of the block view beside dmzadm and the kernel: what one makes the
# other takes, with the same numbers; what ours has repaired holds no error for dmzadm.

load common

PATH=$PATH:$VM_CACHE/dmz-tools/usr/sbin:$VM_CACHE/dmz-tools/sbin
ZONE=$((4 * M))

requires_dmzadm()
{
	dmzadm --version >/dev/null 2>&1 || skip "needs dmzadm of dm-zoned-tools"
	modprobe dm-zoned || skip "needs a kernel with dm-zoned"
}

# make_regular MIB [NAME=VALUE...]: an ordinary disk in memory, named in REGULAR.
make_regular()
{
	local n=0 dir setting

	[[ -d $NULLB ]] || modprobe null_blk nr_devices=0
	while [[ -d $NULLB/nullb$n ]]; do
		n=$((n + 1))
	done
	dir=$NULLB/nullb$n
	mkdir "$dir"
	for setting in memory_backed=1 size="$1" blocksize=4096 "${@:2}" power=1; do
		echo "${setting#*=}" >"$dir/${setting%%=*}"
	done
	REGULAR=/dev/nullb$n
	for _ in {1..200}; do
		[[ ! -b $REGULAR ]] || return 0
		sleep 0.05
	done
	return 1
}

# Each case: a zoned device, alone or behind a regular one, all in DEVICES.
one()
{
	make_nullb size=256 zone_nr_conv=10 "$@"
	DEVICES=("$DEV")
}

two()
{
	make_regular 34
	make_nullb size=256 "$@"
	DEVICES=("$REGULAR" "$DEV")
}

each_case()
{
	one blocksize=4096 && "$@"
	one blocksize=512 && "$@"
	two blocksize=4096 && "$@"
	two blocksize=512 zone_nr_conv=2 && "$@"
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

dmzadm_finds_nothing()
{
	dmzadm --check "${DEVICES[@]}" >"$T/dmzadm" 2>&1
	grep -q 'No error detected' "$T/dmzadm" || {
		cat "$T/dmzadm"
		return 1
	}
}

sound()
{
	expect "${DEVICES[0]}: sound" zonefsctl check "${DEVICES[@]}"
}

dmzadm_then_ours()
{
	dmzadm --format "${DEVICES[@]}" --force --seq=4 --label=same >"$T/out" 2>&1 || {
		cat "$T/out"
		return 1
	}
	sound
	numbers >"$T/theirs"
	later_numbers >>"$T/theirs"
	refused 1 "contains a( part of a)? dm-zoned disk" zonefsctl mkfs "$DEV" || return 1
	zonefsctl mkfs -t dmzoned -f -o seq=4 -L same "${DEVICES[@]}"
	{ numbers; later_numbers; } | diff "$T/theirs" -
	dmzadm_finds_nothing
	sound
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
	local name="dmz$RANDOM" disk

	zonefsctl mkfs -t dmzoned -f -o seq=4 -L "$name" "${DEVICES[@]}"
	dmzadm --start "${DEVICES[@]}" >"$T/out" 2>&1 || {
		cat "$T/out"
		return 1
	}
	disk=$(grep -lx "$name" /sys/block/dm-*/dm/name)
	disk=/dev/$(basename "${disk%/dm/name}")
	same "$(blockdev --getsize64 "$disk")" \
		"$(zonefsctl_size)"
	for ((i = 0; i < 20; i++)); do
		dd if=/dev/urandom of="$disk" bs=64K seek=$((RANDOM % 3000)) count=$((RANDOM % 20 + 1)) \
			oflag=direct status=none
	done
	sync "$disk"
	# dmzadm --stop would wait for udev.
	dmsetup --noudevsync remove "$name"
	zonefsctl check "${DEVICES[@]}"
	dmzadm_finds_nothing
}

# 64 zones and 9 of the regular one, less two of metadata and four in reserve
zonefsctl_size()
{
	echo $(((${#DEVICES[@]} == 1 ? 58 : 67) * ZONE))
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
	requires_dmzadm
	requires_program dmsetup
	each_case used_by_kernel
}
