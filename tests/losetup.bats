#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# private-mounts: "all of ours" are those of this suite
#
# zonefs-losetup: block devices on conventional zones.

load common

setup()
{
	common_setup
	requires_fuse
	requires_loop
}

# attach ARGUMENT...: prints the loop device and remembers it for the cleanup.
attach()
{
	LOOP=$(zonefs-losetup "$@")
	[[ -b $LOOP ]]
}

teardown()
{
	# Only ours, and only below $T.
	losetup -l -n -O NAME,BACK-FILE | awk -v t="$T/" 'index($2, t) == 1 { print $1 }' |
		while read -r loop; do
			umount "$loop" 2>/dev/null || :
			losetup -d "$loop"
		done
	common_teardown
}

big_zones=(--capacity 256M --zone-size 32M --conv-zones 3)

@test "a conventional zone carries an ext4" {
	requires_mkfs ext4
	make_mount "" "${big_zones[@]}"
	attach -f --show "$MNT/cnv/0"
	mkfs.ext4 -q "$LOOP"
	mkdir "$T/fs"
	mount "$LOOP" "$T/fs"
	cp /etc/services "$T/fs/"
	umount "$T/fs"
	fsck.ext4 -fn "$LOOP"
	zonefs-losetup -d "$LOOP"
	remount_device
	attach "$MNT/cnv/0"
	mount "$LOOP" "$T/fs"
	cmp /etc/services "$T/fs/services"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP"
}

@test "all conventional zones together carry an ext4" {
	requires_mkfs ext4
	make_mount "" "${big_zones[@]}" -- -o aggr_cnv
	attach "$MNT/cnv/0"
	same "$(blockdev --getsize64 "$LOOP")" $((64 * M))
	mkfs.ext4 -q "$LOOP"
	mkdir "$T/fs"
	mount "$LOOP" "$T/fs"
	head -c 40M /dev/urandom >"$T/fs/random"
	cp "$T/fs/random" "$T/random"
	umount "$T/fs"
	fsck.ext4 -fn "$LOOP"
	mount "$LOOP" "$T/fs"
	cmp "$T/random" "$T/fs/random"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP"
}

@test "the loop device uses direct I/O" {
	make_mount
	attach "$MNT/cnv/0"
	same "$(losetup -n -O DIO "$LOOP" | tr -d ' ')" 1
	zonefs-losetup -d "$LOOP"
}

@test "list shows ours, for people and for programs" {
	make_mount
	same "$(zonefs-losetup -l | grep -c "$T" || :)" 0
	attach "$MNT/cnv/0"
	zonefs-losetup -l | grep -q "$LOOP.*$MNT/cnv/0"
	zonefs-losetup -l --json | jq -e --arg l "$LOOP" '[.. | strings] | any(. == $l)'
	zonefs-losetup -d "$LOOP"
	same "$(zonefs-losetup -l | grep -c "$MNT" || :)" 0
	zonefs-losetup -l --json | jq -e .
}

@test "detach all detaches those of our mounts, and no other" {
	make_mount
	truncate -s 1M "$T/plain"
	other=$(losetup -f --show "$T/plain")
	attach "$MNT/cnv/0"
	attach "$MNT/cnv/1"
	# -D is for the whole machine: only when no other mount of ours has one.
	others=$(zonefs-losetup -l | grep -c /dev/loop || :)
	[[ $others == 2 ]] || skip "other loop devices of zonefsd mounts are attached"
	zonefs-losetup -D
	same "$(zonefs-losetup -l | grep -c "$MNT" || :)" 0
	losetup "$other"
	losetup -d "$other"
}

@test "a sequential zone is attached read-only, with -r" {
	make_mount
	pattern_file "$T/src" 1048576
	cp "$T/src" "$MNT/seq/0"
	refused 1 'zonefs-losetup: .*seq/0.*-r' zonefs-losetup "$MNT/seq/0"
	attach -r "$MNT/seq/0"
	same "$(blockdev --getro "$LOOP")" 1
	cmp -n 1048576 "$LOOP" "$T/src"
	zonefs-losetup -d "$LOOP"
}

@test "a squashfs in a sequential zone mounts" {
	requires_program mksquashfs
	grep -qw squashfs /proc/filesystems || skip "needs a kernel with squashfs"
	make_mount
	mksquashfs /etc/default "$T/sq" -quiet >/dev/null
	cp "$T/sq" "$MNT/seq/0"
	attach -r "$MNT/seq/0"
	mkdir "$T/fs"
	mount -o ro "$LOOP" "$T/fs"
	diff -r /etc/default "$T/fs"
	umount "$T/fs"
	zonefs-losetup -d "$LOOP"
}

@test "what is no zone file is refused, and nothing stays attached" {
	make_mount
	: >"$T/file"
	for f in "$T/file" "$MNT" "$MNT/cnv" "$MNT/.zonefsd/stats" "$MNT/cnv/99" "$T/nosuch" \
			/dev/null; do
		refused 1 'zonefs-losetup: ' zonefs-losetup "$f"
	done
	refused 1 'zonefs-losetup: ' zonefs-losetup -r "$MNT/seq/0"
	same "$(losetup -l -n -O BACK-FILE | grep -c "$T" || :)" 0
}

@test "detaching what is not ours is refused" {
	truncate -s 1M "$T/plain"
	other=$(losetup -f --show "$T/plain")
	refused 1 "zonefs-losetup: .*$other" zonefs-losetup -d "$other"
	losetup "$other"
	losetup -d "$other"
	refused 1 'zonefs-losetup: .*nosuch' zonefs-losetup -d /dev/nosuch
}

@test "wrong usage is 2" {
	for args in "" "-d" "-l x" "-D -l" "-d x y"; do
		# shellcheck disable=SC2086 # several words
		run zonefs-losetup $args
		[ "$status" -eq 2 ]
	done
}

@test "a file's name detaches the loop devices on it, and no others" {
	make_mount
	attach "$MNT/cnv/0"
	zero=$LOOP
	attach "$MNT/cnv/1"
	refused 1 'zonefs-losetup: .*seq/0.*no loop device' zonefs-losetup -d "$MNT/seq/0"
	refused 1 'zonefs-losetup: .*no loop device' zonefs-losetup -d "$MNT"
	zonefs-losetup -d "$MNT/cnv/0"
	same "$(zonefs-losetup -l | grep -c "$zero .*$MNT" || :)" 0
	zonefs-losetup -l | grep -q "$LOOP.*$MNT/cnv/1"
	zonefs-losetup -d "$LOOP"
}

@test "a loop device on a mount that is gone is detached" {
	make_mount
	attach "$MNT/cnv/0"
	kill_daemon
	# Its last flush has nobody to go to.
	refused 1 "zonefs-losetup: $LOOP: detached, but" zonefs-losetup -d "$LOOP"
	no losetup "$LOOP"
}
