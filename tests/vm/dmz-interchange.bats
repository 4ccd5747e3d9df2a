#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# long
#
# One disk, the kernel's dm-zoned and zonefsd by turns: what one has formatted, written,
# discarded and reclaimed the other finds sound, and reads.
#
#   SEED    of the writes, printed (1; with STRESS a random one)
#   ROUNDS  of both in turn (1, which takes half a minute; with STRESS 30)
#   OPS     of each turn of ours (200), twice; a third of that for the kernel, whose
#           writers sleep for up to a second when they find no free zone

: "${SEED:=${STRESS:+$((RANDOM * 32768 + RANDOM))}}" "${SEED:=1}"
: "${ROUNDS:=${STRESS:+30}}" "${ROUNDS:=1}" "${OPS:=200}"
# Each takes as long as it takes.
export BATS_TEST_TIMEOUT=$((ROUNDS > 3 ? ROUNDS * 300 : 900))

load common
load dmz

teardown()
{
	[[ ! ${LOOP:-} ]] || losetup -d "$LOOP" 2>/dev/null || :
	umount -l "$T/fs" 2>/dev/null || :
	common_teardown || echo "see above"
	remove_kernel
	vm_teardown
}

# Every byte of the disk, past the page cache.
holds_model()
{
	dd if="$DISK" bs=1M iflag=direct status=none | cmp - "$T/model"
}

# change OPS THREADS: the disk and its model.
change()
{
	zmodel -s "$SEED" -n "$1" -t "$2" "$DISK" "$T/model"
	SEED=$((SEED + 1))
}

kernel_status()
{
	dmsetup status "$DM" | cut -d ' ' -f 4-
}

our_status()
{
	sed -n 's/^status //p' "$MNT/.zonefsd/stats"
}

# Until more random zones, or cache zones if there are any, are free than make the
# kernel think of it: 30 in 100. Only so its data comes into sequential zones.
kernel_reclaims()
{
	local status

	for _ in {1..600}; do
		quietly dmsetup message "$DM" 0 reclaim
		status=$(kernel_status)
		[[ $status =~ \ ([0-9]+)/([1-9][0-9]*)\ (cache|random) ]]
		if ((BASH_REMATCH[1] * 100 > BASH_REMATCH[2] * 30)); then
			[[ $status =~ \ ([0-9]+)/([0-9]+)\ sequential ]]
			((BASH_REMATCH[1] == BASH_REMATCH[2])) || return 0
			break
		fi
		sleep 0.1
	done
	echo "the kernel does not reclaim: $status"
	return 1
}

# As many as can be: with every chunk mapped a few stay in use. Returns when done.
ours_reclaims()
{
	timeout 300 sh -c 'echo now >"$1"' sh "$MNT/.zonefsd/reclaim" || {
		echo "reclaim does not end: $(our_status)"
		return 1
	}
}

# Copies are what makes reclaim worth a test.
turn_of_ours()
{
	start_ours
	holds_model
	change "$OPS" "$1"
	ours_reclaims
	[[ $(stat_counter reclaim_bytes) -gt 0 ]]
	change "$OPS" "$1"
	holds_model
	stop_ours
}

turn_of_kernel()
{
	start_kernel "$LABEL"
	holds_model
	change $((OPS / 3)) "$1"
	kernel_reclaims
	change $((OPS / 3)) "$1"
	holds_model
	stop_kernel
}

# by_turns FORMATTER FIRST SECOND: rounds of both, with one writer and with eight.
by_turns()
{
	local round threads whom

	LABEL=dmz$SEED
	echo "SEED=$SEED"
	rm -f "$T/model"
	"$1" "$LABEL"
	truncate -s "$(disk_size)" "$T/model"
	for ((round = 1; round <= ROUNDS; round++)); do
		threads=$((round % 2 ? 8 : 1))
		for whom in "$2" "$3"; do
			"turn_of_$whom" $threads
			dmzadm_finds_nothing
			zonefsctl check "${DEVICES[@]}"
		done
	done
}

disk_size()
{
	zonefsctl info --json "${DEVICES[@]}" | jq .disk_size
}

@test "one device, formatted by dmzadm, ours first" {
	requires_dm_zoned
	one_device size=128
	by_turns format_dmzadm ours kernel
}

@test "one device, formatted by ours, the kernel first" {
	requires_dm_zoned
	one_device size=128 blocksize=512
	by_turns format_ours kernel ours
}

@test "two devices, formatted by dmzadm, ours first" {
	requires_dm_zoned
	two_devices size=128 blocksize=512
	by_turns format_dmzadm ours kernel
}

@test "two devices, formatted by ours, the kernel first" {
	requires_dm_zoned
	two_devices size=128 zone_nr_conv=2
	by_turns format_ours kernel ours
}

# fs_turn DEV: what is on the file system is what was written, and more is written.
fs_turn()
{
	fsck.ext4 -fn "$1"
	mount "$1" "$T/fs"
	diff -r "$T/tree" "$T/fs/tree"
	rm -r "$T/fs/tree"
	head -c $((RANDOM * 100)) /dev/urandom >"$T/tree/$RANDOM"
	cp -r "$T/tree" "$T/fs/tree"
	fstrim "$T/fs"
	umount "$T/fs"
}

@test "an ext4 moves between the kernel's and ours" {
	requires_dm_zoned
	modprobe -a loop ext4
	one_device size=128
	format_ours ext4
	mkdir "$T/fs" "$T/tree"
	for i in {1..50}; do
		head -c $((i * i * 300)) /dev/urandom >"$T/tree/$i"
	done
	start_kernel ext4
	mkfs.ext4 -q "$DISK"
	mount "$DISK" "$T/fs"
	cp -r "$T/tree" "$T/fs/tree"
	umount "$T/fs"
	stop_kernel
	for ((round = 1; round <= ROUNDS; round++)); do
		start_ours
		LOOP=$(zonefs-losetup "$MNT")
		fs_turn "$LOOP"
		zonefs-losetup -d "$LOOP"
		LOOP=
		stop_ours
		dmzadm_finds_nothing
		start_kernel ext4
		fs_turn "$DISK"
		stop_kernel
		zonefsctl check "${DEVICES[@]}"
	done
}
