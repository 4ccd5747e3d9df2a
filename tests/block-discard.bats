#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# Space that a disk gives back to the files and devices beneath: what its user
# discards, and zones that are freed.

load common
load block

export BATS_TEST_TIMEOUT=300

setup()
{
	common_setup
	requires_fuse
	requires_holes
	mkdir "$T/fs"
}

teardown()
{
	detach_rest
	[[ -z ${BACK:-} ]] || losetup -d "$BACK"
	common_teardown
}

requires_holes()
{
	head -c 1M /dev/urandom >"$T/holes"
	fallocate -p -l "$M" "$T/holes" 2>/dev/null && (($(du -B1 "$T/holes" | cut -f1) < M)) ||
		skip "needs a file system that takes space back"
	rm "$T/holes"
}

# taken PATH: what it takes up. Space that has just been written may not be counted yet.
taken()
{
	sync -f "$1"
	du -s -B1 "$1" | cut -f1
}

# shrinks PATH BYTES: to so many at most; zones that were freed go in the background.
shrinks()
{
	local i

	for i in {1..100}; do
		(($(taken "$1") <= $2)) && return
		sleep 0.1
	done
	echo "$1 takes up $(taken "$1") bytes, expected $2 at most"
	return 1
}

# at_random FILE OFFSET: its last block comes first, so that a random zone takes it.
at_random()
{
	local last=$(($(size_of "$1") - 4096))

	dd if="$1" of="$DISK" bs=4096 count=1 iflag=skip_bytes skip=$last oflag=seek_bytes \
		seek=$(($2 + last)) conv=notrunc status=none
	put "$1" "$2"
}

@test "a disk that was full and is discarded takes up no space" {
	make_disk
	empty=$(taken "$DEV")
	mount_disk
	random_file "$T/r" $((4 * M))
	for ((at = 0; at < DISK_SIZE; at += 4 * M)); do
		if ((at < 32 * M)); then at_random "$T/r" $at; else put "$T/r" $at; fi
	done
	expect ok ctl sync
	(($(taken "$DEV") >= empty + DISK_SIZE))
	fallocate -p -l "$DISK_SIZE" "$DISK"
	expect ok ctl sync
	shrinks "$DEV" $((empty + 4 * M))
	same "$(stat_counter mapped_chunks)" 0
	(($(stat_counter discards) > 0))
	same "$(stat_counter discards_refused)" 0
	zeros 0 $((16 * M))
	umount_device
	zonefsctl check "$DEV"
}

@test "a discarded part of a random zone goes at once" {
	make_disk
	mount_disk
	random_file "$T/r" $((2 * M))
	at_random "$T/r" $((M / 2))
	expect ok ctl sync
	before=$(taken "$DEV")
	bytes=$(stat_counter discard_bytes)
	fallocate -p -o "$M" -l "$M" "$DISK"
	same $(($(stat_counter discard_bytes) - bytes)) "$M"
	(($(taken "$DEV") <= before - M + 65536))
	zeros "$M" "$M"
	cmp -n $((M / 2)) -i "0:$((M / 2))" "$T/r" "$DISK"
	cmp -n $((M / 2)) -i "$((3 * M / 2)):$((2 * M))" "$T/r" "$DISK"
	# Written anew, it has room again.
	put "$T/r" "$M"
	remount_disk
	holds "$T/r" "$M"
}

@test "what has a place in sequential zones is not kept in random ones" {
	make_disk
	empty=$(taken "$DEV")
	mount_disk
	random_file "$T/r" $((3 * M))
	for i in 0 1 2 3; do
		at_random "$T/r" $((i * 4 * M + M / 2))
	done
	expect ok ctl sync
	expect ok ctl reclaim
	shrinks "$DEV" $((empty + 4 * 7 * M / 2 + M))
	for i in 0 1 2 3; do
		holds "$T/r" $((i * 4 * M + M / 2))
	done
	same "$(stat_counter random_free)" "$(stat_counter random_all)"
}

# front_shrinks FRONT FILE: a disk with FRONT before the zoned device, which is FILE.
front_shrinks()
{
	local empty before

	create_device --capacity 256M --zone-size 4M --conv-zones 0
	zonefsctl mkfs -t dmzoned "$1" "$DEV"
	empty=$(taken "$2")
	mount_disk zoned="$DEV" "$1"
	random_file "$T/r" $((3 * M))
	for i in 0 1 2; do
		at_random "$T/r" $((i * 4 * M + M / 2))
	done
	expect ok ctl sync
	before=$(taken "$2")
	((before >= empty + 9 * M))
	fallocate -p -o "$M" -l "$M" "$DISK"
	(($(taken "$2") <= before - M + 65536))
	fallocate -p -l $((4 * M)) "$DISK"
	expect ok ctl sync
	shrinks "$2" $((empty + 6 * M + M / 2))
	expect ok ctl reclaim
	shrinks "$2" $((empty + M / 2))
	zeros 0 $((4 * M))
	holds "$T/r" $((4 * M + M / 2))
	holds "$T/r" $((8 * M + M / 2))
	same "$(stat_counter discards_refused)" 0
	umount_device
	zonefsctl check "$1" "$DEV"
}

@test "a regular file in front gets smaller" {
	truncate -s 40M "$T/front"
	front_shrinks "$T/front" "$T/front"
}

@test "a regular block device in front is told" {
	requires_loop
	truncate -s 40M "$T/front"
	BACK=$(losetup -f --show "$T/front")
	front_shrinks "$BACK" "$T/front"
}

@test "files that were removed leave no space behind after fstrim" {
	requires_loop
	requires_mkfs ext4
	make_disk
	mount_disk
	attach "$MNT"
	mkfs.ext4 -q "$LOOP"
	mount "$LOOP" "$T/fs"
	sync -f "$T/fs"
	expect ok ctl sync
	empty=$(taken "$DEV")
	random_file "$T/r" $((300 * 1024))
	for i in {1..300}; do
		cp "$T/r" "$T/fs/$i"
	done
	sync -f "$T/fs"
	(($(taken "$DEV") >= empty + 80 * M))
	rm "$T/fs"/[0-9]*
	sync -f "$T/fs"
	fstrim "$T/fs"
	sync -f "$T/fs"
	# Sequential zones stay whole while the file system has something in them.
	shrinks "$DEV" $((empty + 24 * M))
	umount "$T/fs"
	check_fs ext4
	zonefs-losetup -d "$LOOP"
	umount_device
	zonefsctl check "$DEV"
}

@test "a device that refuses discards serves as before" {
	make_disk
	mount_disk
	may_log 'discard: '
	zonefsctl inject "$MNT" error discard all EIO count=0
	random_file "$T/r" $((2 * M))
	at_random "$T/r" $((M / 2))
	fallocate -p -o "$M" -l "$M" "$DISK"
	zeros "$M" "$M"
	fallocate -p -l $((4 * M)) "$DISK"
	expect ok ctl sync
	(($(stat_counter discards_refused) > 0))
	same "$(stat_counter discards)" 0
	put "$T/r" "$M"
	holds "$T/r" "$M"
	zonefsctl inject "$MNT" error discard all 0
	umount_device
	zonefsctl check "$DEV"
}
