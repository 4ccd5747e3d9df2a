#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: image
#
# Image files: one sparse file; what is damaged or foreign is refused with one clear
# line and not written to. Offsets are those of docs/image-format.md.

load common

@test "an image is one sparse file" {
	create_device --capacity 1T
	[ "$(size_of "$DEV")" -ge $((1024 * 1024 * M)) ]
	[ "$(du --block-size=1M "$DEV" | cut -f1)" -lt 16 ]
}

@test "create does not overwrite a file" {
	echo precious >"$T/dev.img"
	refused 1 'zonefsctl: .*dev.img' zonefsctl create "$T/dev.img"
	same "$(cat "$T/dev.img")" precious
}

@test "a truncated image is refused wherever it ends" {
	create_device
	full=$(size_of "$DEV")
	for size in 0 1 511 4095 4096 8192 16384 65536 $M $((full - 4096)) $((full - 1)); do
		cp --sparse=always "$DEV" "$T/cut.img"
		truncate -s "$size" "$T/cut.img"
		refused 1 'zonefsctl: .*cut.img' zonefsctl info "$T/cut.img"
	done
}

@test "a foreign file is not a zoned device" {
	head -c 100000 /dev/urandom >"$T/random"
	truncate -s 10M "$T/zeros"
	seq 1 10000 >"$T/text"
	for f in random zeros text; do
		DEV=$T/$f
		unchanged refused 1 "zonefsctl: .*$f" zonefsctl info "$T/$f"
		unchanged refused 1 "zonefsctl: .*$f" zonefsctl mkfs -f "$T/$f"
	done
}

@test "an ext4 image is not a zoned device" {
	requires_program mkfs.ext4
	truncate -s 10M "$T/ext4"
	mkfs.ext4 -q "$T/ext4"
	DEV=$T/ext4
	unchanged refused 1 'zonefsctl: .*ext4' zonefsctl mkfs -f "$DEV"
}

@test "a header with any flipped byte is refused" {
	make_device
	for offset in 0 7 8 12 16 24 32 48 52 56 60 64 68 72 80 88 96 104 112 120 2000 4095; do
		flip_byte "$DEV" "$offset"
		unchanged refused 1 'zonefsctl: .*dev.img' zonefsctl info "$DEV"
		flip_byte "$DEV" "$offset"
	done
	zonefsctl info "$DEV"
}

@test "a newer version and an unknown incompatible feature are named" {
	make_device
	put_bytes "$DEV" 8 02000000
	refused 1 'zonefsctl: .*(version|checksum)' zonefsctl info "$DEV"
}

@test "a flipped byte in the zone table is refused or repaired, never believed" {
	make_device "${DEFAULT_GEOMETRY[@]}"
	table=$(od -An -tu8 -j 88 -N 8 "$DEV" | tr -d ' ')
	for byte in 0 1 2 3 4 5 6 7; do
		flip_byte "$DEV" $((table + 32 * 4 + byte))
		run zonefsctl report "$DEV"
		[[ $status == 1 && $output == *"zonefsctl: "*zone*4* ]] ||
			{ echo "byte $byte: $output"; false; }
		flip_byte "$DEV" $((table + 32 * 4 + byte))
	done
	zonefsctl report "$DEV"
}

@test "a daemon refuses a damaged image and mounts nothing" {
	requires_fuse
	make_device
	flip_byte "$DEV" 40
	unchanged refused 1 'zonefsd: .*dev.img' zonefsd "$DEV" "$MNT"
	no mountpoint -q "$MNT"
}

@test "check finds the damage, repair puts the header's copy back" {
	make_device
	flip_byte "$DEV" 40
	run zonefsctl check "$DEV"
	[ "$status" -eq 1 ]
	zonefsctl check --repair "$DEV"
	zonefsctl check "$DEV"
	zonefsctl info "$DEV"
}

@test "check of a sound image says so and writes nothing" {
	make_device
	unchanged zonefsctl check "$DEV"
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "an image copied to another name is the same device" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	umount_device
	cp --sparse=always "$DEV" "$T/copy.img"
	mount_device "" "$T/copy.img"
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "an image copied while mounted opens at a state that was flushed" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 8192
	sync "$MNT/seq/0"
	cp --sparse=always "$DEV" "$T/copy.img"
	umount_device
	mount_device "" "$T/copy.img"
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "an image on a read-only file system mounts read-only only" {
	requires_fuse
	make_device
	mkdir "$T/ro"
	: >"$T/ro/dev.img"
	mount --bind "$T" "$T/ro"
	mount -o remount,bind,ro "$T/ro"
	refused 1 'zonefsd: .*dev.img' zonefsd "$T/ro/dev.img" "$MNT"
	mount_device ro "$T/ro/dev.img"
	mount_is_ro
	umount_device
	umount "$T/ro"
}

@test "an image whose directory cannot be written is refused" {
	refused 1 'zonefsctl: .*missing' zonefsctl create "$T/missing/dev.img"
}

@test "an image that a file system cannot hold is refused in one line that says so" {
	requires_loop
	requires_mkfs ext4
	truncate -s 64M "$T/ext4"
	mkfs.ext4 -q "$T/ext4"
	mkdir "$T/small"
	mount -o loop "$T/ext4" "$T/small"
	refused 1 'zonefsctl: .*beneath takes at most' zonefsctl create \
		--layout image --capacity 64T "$T/small/dev.img"
	[ ! -e "$T/small/dev.img" ]
}
