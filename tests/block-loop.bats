#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# File systems on a loop device on a disk of ours.

load common
load block

# 1 GiB in zones of 8 MiB, 24 of them conventional: 22 for data that is written at
# random, 110 chunks.
BLOCK_GEOMETRY=(--capacity 1G --zone-size 8M --conv-zones 24)
export BLOCK_GEOMETRY BATS_TEST_TIMEOUT=300

setup()
{
	common_setup
	requires_fuse
	requires_loop
	mkdir "$T/fs"
}

teardown()
{
	detach_rest
	common_teardown
}

queue()
{
	cat "/sys/block/${LOOP#/dev/}/queue/$1"
}

# make_tree DIR: some 40 MB in a thousand files and more, small and large.
make_tree()
{
	local i

	cp -r --no-dereference /etc/. "$1" 2>/dev/null || :
	for i in {1..800}; do
		head -c $((i * 7)) /dev/urandom >"$1/small.$i"
	done
	for i in 1 2 3; do
		random_file "$1/large.$i" $((12 * M + i))
	done
}

same_tree()
{
	diff -r --no-dereference "$1" "$2"
}

# fs_survives TYPE: filled, taken apart down to the device, put together again.
fs_survives()
{
	requires_mkfs "$1"
	make_disk
	mount_disk
	attach "$MNT"
	"mkfs.$1" -q "$LOOP"
	mkdir "$T/tree"
	make_tree "$T/tree"
	mount "$LOOP" "$T/fs"
	cp -a "$T/tree" "$T/fs/one"
	cp -a "$T/tree" "$T/fs/two"
	rm -r "$T/fs/one"
	cp -a "$T/tree" "$T/fs/three"
	umount "$T/fs"
	check_fs "$1"
	zonefs-losetup -d "$LOOP"
	umount_device
	zonefsctl check "$DEV"
	mount_disk
	attach "$MNT"
	check_fs "$1"
	mount "$LOOP" "$T/fs"
	same_tree "$T/tree" "$T/fs/two"
	same_tree "$T/tree" "$T/fs/three"
	fstrim "$T/fs"
	same_tree "$T/tree" "$T/fs/three"
	umount "$T/fs"
	check_fs "$1"
	zonefs-losetup -d "$LOOP"
}

@test "the loop device of a mount is that of its disk" {
	make_disk
	mount_disk
	attach -f --show "$MNT"
	same "$(losetup -n -O DIO,LOG-SEC,AUTOCLEAR,RO,BACK-FILE "$LOOP" | tr -s ' ' | sed 's/^ //')" \
		"1 4096 0 0 $DISK"
	same "$(blockdev --getsize64 "$LOOP")" "$DISK_SIZE"
	same "$(queue discard_granularity)" 4096
	[[ $(queue discard_max_bytes) -gt 0 ]]
	zonefs-losetup -l | grep -q "$LOOP.*$DISK"
	zonefs-losetup -l --json | jq -e --arg l "$LOOP" '[.. | strings] | any(. == $l)'
	zonefs-losetup -d "$MNT"
	no losetup "$LOOP"
	attach "$DISK"
	refused 32 'umount: .*busy' umount "$MNT"
	zonefs-losetup -d "$DISK"
	umount_device
}

@test "umount names the loop device that keeps a mount busy" {
	make_disk
	mount.fuse.zonefsd "$DEV" "$MNT" 3>&-
	awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info" >>"$T/daemons"
	attach "$MNT"
	refused 32 "umount.*: $MNT: target is busy: $LOOP is attached to it, .*zonefs-losetup -d" \
		umount.fuse.zonefsd "$MNT"
	zonefs-losetup -d "$MNT"
	(cd "$MNT" && refused 32 'target is busy$' umount.fuse.zonefsd "$MNT")
	umount.fuse.zonefsd "$MNT"
}

@test "ext4 fills the disk, is taken apart and found again" {
	fs_survives ext4
}

@test "XFS fills the disk, is taken apart and found again" {
	fs_survives xfs
}

@test "btrfs fills the disk, is taken apart and found again" {
	fs_survives btrfs
}

@test "discards give zones back" {
	make_disk
	mount_disk
	attach "$MNT"
	random_file "$T/r" $((40 * M))
	dd if="$T/r" of="$LOOP" bs=1M oflag=direct status=none
	[[ $(stat_counter mapped_chunks) -ge 5 ]]
	blkdiscard -o 8M -l 16M "$LOOP"
	cmp -n $((16 * M)) -i "0:$((8 * M))" /dev/zero "$LOOP"
	blkdiscard -z -o 28M -l 5M "$LOOP"
	cmp -n $((5 * M)) -i "0:$((28 * M))" /dev/zero "$LOOP"
	cmp -n $((8 * M)) "$T/r" "$LOOP"
	cmp -n $((4 * M)) -i $((24 * M)) "$T/r" "$LOOP"
	blkdiscard -f "$LOOP"
	cmp -n $((64 * M)) /dev/zero "$LOOP"
	blockdev --flushbufs "$LOOP"
	expect ok ctl sync
	same "$(stat_counter mapped_chunks)" 0
}

@test "a flush of the loop device is one of the disk" {
	make_disk
	mount_disk
	attach "$MNT"
	flushes=$(stat_counter flushes)
	dd if=/dev/urandom of="$LOOP" bs=4096 count=10 conv=fsync status=none
	[[ $(stat_counter flushes) -gt $flushes ]]
}

@test "a read-only mount is attached read-only" {
	requires_mkfs ext4
	make_disk
	mount_disk
	attach "$MNT"
	mkfs.ext4 -q "$LOOP"
	mount "$LOOP" "$T/fs"
	random_file "$T/fs/r" 100000
	cp "$T/fs/r" "$T/r"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP"
	umount_device
	before=$(fingerprint "$DEV")
	mount_disk ro
	refused 1 'zonefs-losetup: .*read-only.*-r' zonefs-losetup "$MNT"
	attach -r "$MNT"
	same "$(blockdev --getro "$LOOP")" 1
	mount -o ro "$LOOP" "$T/fs"
	cmp "$T/r" "$T/fs/r"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP"
	umount_device
	same "$(fingerprint "$DEV")" "$before" "the device was written to"
}

@test "random overwrites under reclaim, with many in flight" {
	requires_program fio
	make_disk
	mount_disk
	attach "$MNT"
	# More than the random zones have room for, so that zones are reclaimed.
	fio --name=w --filename="$LOOP" --size=600M --io_size=400M --rw=randwrite \
		--bsrange=4k-256k --ioengine=libaio --iodepth=32 --direct=1 --verify=crc32c \
		--do_verify=1 --verify_fatal=1 --verify_state_save=0 --output="$T/fio"
	[[ $(stat_counter reclaim_bytes) -gt 0 ]]
}

@test "a killed daemon leaves nothing that hangs, and no fsynced file is lost" {
	requires_mkfs ext4
	make_disk
	mount_disk
	attach "$MNT"
	mkfs.ext4 -q "$LOOP"
	mount "$LOOP" "$T/fs"
	random_file "$T/r" $((5 * M))
	dd if="$T/r" of="$T/fs/r" bs=64K conv=fsync status=none
	sync "$T/fs"
	dd if=/dev/zero of="$T/fs/z" bs=1M count=300 conv=fsync status=none 2>/dev/null 3>&- &
	writer=$!
	sleep 0.3
	{ kill -9 "$DAEMON"; wait "$DAEMON"; } 2>/dev/null || :
	no wait "$writer"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP" || :
	no losetup "$LOOP"
	mount.fuse.zonefsd "$DEV" "$MNT" 3>&-
	awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info" >>"$T/daemons"
	attach "$MNT"
	mount "$LOOP" "$T/fs"
	cmp "$T/r" "$T/fs/r"
	umount "$T/fs"
	check_fs ext4
	zonefs-losetup -d "$LOOP"
}

@test "a loop device outlives its dead mount's clearing, and is detached" {
	make_disk
	mount_disk
	attach "$MNT"
	old=$LOOP
	{ kill -9 "$DAEMON"; wait "$DAEMON"; } 2>/dev/null || :
	mount.fuse.zonefsd "$DEV" "$MNT" 3>&-
	awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info" >>"$T/daemons"
	attach "$MNT"
	zonefs-losetup -d "$old" || :
	no losetup "$old"
	losetup "$LOOP"
	zonefs-losetup -d "$LOOP"
}

# ---- when memory is short ----

# A memory group of 48 MiB: $GROUP. Older systems have it in a hierarchy of its own.
make_group()
{
	local name=zonefsd-test.$$ v1=/sys/fs/cgroup/memory v2=/sys/fs/cgroup

	if mkdir "$v1/$name" 2>/dev/null && echo 48M >"$v1/$name/memory.limit_in_bytes"; then
		GROUP=$v1/$name
	elif mkdir "$v2/$name" 2>/dev/null &&
		{ echo 48M >"$v2/$name/memory.max"; } 2>/dev/null; then
		GROUP=$v2/$name
	else
		rmdir "$v1/$name" "$v2/$name" 2>/dev/null || :
		skip "needs to make memory control groups"
	fi
}

end_group()
{
	local i

	for i in {1..50}; do
		rmdir "$GROUP" 2>/dev/null && return
		sleep 0.1
	done
}

@test "a writer that dirties more pages than its memory holds does not hang" {
	requires_mkfs ext4
	requires_space $((900 * M))
	make_group
	make_disk
	mount_disk
	attach "$MNT"
	mkfs.ext4 -q "$LOOP"
	mount "$LOOP" "$T/fs"
	random_file "$T/r" $((8 * M))
	# Only the writers are in the group, not who waits for them.
	for n in 1 2 3; do
		(
			echo "$BASHPID" >"$GROUP/cgroup.procs"
			for ((i = 0; i < 20; i++)); do
				cat "$T/r"
			done >"$T/fs/out.$n"
		) 3>&- &
		writers+=($!)
	done
	for writer in "${writers[@]}"; do
		wait "$writer"
	done
	sync -f "$T/fs"
	for n in 1 2 3; do
		same "$(size_of "$T/fs/out.$n")" $((160 * M))
		for ((i = 0; i < 20; i++)); do
			cat "$T/r"
		done | cmp - "$T/fs/out.$n"
	done
	umount "$T/fs"
	end_group
	check_fs ext4
	zonefs-losetup -d "$LOOP"
}
