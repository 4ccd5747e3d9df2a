#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir
#
# L1, L8, L9: a device directory is the kernel's zloop layout, byte for byte.
# Eight zones of 4 MiB with a capacity of 3 MiB, three conventional.

load common

# A directory as zloop makes it: no file of ours.
make_zloop_dir()
{
	DEV=$T/dev
	mkdir "$DEV"
	for i in 0 1 2; do
		truncate -s 4M "$DEV/cnv-00000$i"
	done
	for i in 3 4 5 6 7; do
		: >"$DEV/seq-00000$i"
	done
	chmod 600 "$DEV"/*
}

zone_files()
{
	(cd "$DEV" && stat -c '%n %s %a' cnv-* seq-* 2>/dev/null)
}

@test "L1: create makes one file a zone: names, sizes, modes" {
	create_device
	expect "cnv-000000 4194304 600
cnv-000001 4194304 600
cnv-000002 4194304 600
seq-000003 0 600
seq-000004 0 600
seq-000005 0 600
seq-000006 0 600
seq-000007 0 600" zone_files
}

@test "L1: only our own text file is beside them" {
	create_device
	expect "zonefsd.meta" ls "$DEV" --ignore 'cnv-*' --ignore 'seq-*' -A
	head -n 1 "$DEV/zonefsd.meta" | grep -qx 'version=1'
}

@test "L1: conventional files are sparse" {
	create_device
	same "$(du -s --block-size=1 "$DEV/cnv-000001" | cut -f1)" 0
}

@test "L1: without conventional zones the first file is seq-000000" {
	create_device --capacity 16M --zone-size 4M --conv-zones 0
	expect "seq-000000 0 600
seq-000001 0 600
seq-000002 0 600
seq-000003 0 600" zone_files
}

@test "L1: a file's size is the write pointer, its bytes are the data" {
	requires_fuse
	make_mount strict
	fill_direct "$MNT/seq/0" 12288
	same "$(size_of "$DEV/seq-000003")" 12288
	umount_device
	pattern_file "$T/want" 12288
	cmp "$DEV/seq-000003" "$T/want"
}

@test "L1: conventional data lies at its place" {
	requires_fuse
	make_mount strict
	expect "0 4096 0" zio "open:O_WRONLY:$MNT/cnv/0" write:4096@8192 fsync
	umount_device
	expect "0 4096" zio "open:O_RDONLY:$DEV/cnv-000001" read:4096@8192,check=1
}

@test "L1: a full zone's file has the capacity, written or finished" {
	requires_fuse
	make_mount strict
	fill_direct "$MNT/seq/0" "$CAP"
	expect 0 zio "truncate:$CAP:$MNT/seq/1"
	umount_device
	same "$(size_of "$DEV/seq-000003") $(size_of "$DEV/seq-000004")" "$CAP $CAP"
	same "$(zone_cond 3) $(zone_cond 4)" "fu fu"
}

@test "L1: a reset zone's file is empty" {
	requires_fuse
	make_mount strict
	fill_direct "$MNT/seq/0" 4096
	expect 0 zio "truncate:0:$MNT/seq/0"
	same "$(size_of "$DEV/seq-000003")" 0
	same "$(du --block-size=1 "$DEV/seq-000003" | cut -f1)" 0
}

@test "L1: the super block lies at the start of the first file" {
	make_device
	same "$(head -c 4 "$DEV/cnv-000000")" SFOZ
	same "$(size_of "$DEV/cnv-000000")" $((4 * M))
}

@test "a tail leaves the zone file at a clean unmount, so that zloop opens it" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	umount_device
	same "$(size_of "$DEV/seq-000003")" 4096
	mount_device
	same "$(size_of "$MNT/seq/0")" 5000
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
}

@test "a directory that zloop made opens, formats and mounts" {
	requires_fuse
	make_zloop_dir
	fill=$((3 * M))
	truncate -s "$fill" "$DEV/seq-000007"
	zonefsctl report "$DEV" >"$T/report"
	same "$(wc -l <"$T/report")" 8
	zonefsctl mkfs "$DEV"
	mount_device strict
	fill_direct "$MNT/seq/0" 8192
	umount_device
	same "$(size_of "$DEV/seq-000003")" 8192
}

@test "a zloop directory keeps its data: sizes are the write pointers" {
	make_zloop_dir
	pattern_file "$DEV/seq-000004" 8192
	zonefsctl report "$DEV" >/dev/null
	same "$(zone_wp 4) $(zone_cond 4) $(zone_cond 3)" "8192 cl em"
	same "$(zone_cond 0)" nw
}

@test "looking at a zloop directory adds no file of ours" {
	make_zloop_dir
	unchanged zonefsctl info "$DEV"
	unchanged zonefsctl report "$DEV"
	unchanged zonefsctl check "$DEV"
	[ ! -e "$DEV/zonefsd.meta" ]
}

@test "the zloop add string makes base_dir/id" {
	zonefsctl create -o "id=3,capacity_mb=32,zone_size_mb=4,zone_capacity_mb=3,conv_zones=3,base_dir=$T"
	DEV=$T/3
	same "$(zone_files | wc -l)" 8
	same "$(zone_files | head -n 1)" "cnv-000000 4194304 600"
	DEV=$T/dev
	create_device
	same "$(ls "$T/3")" "$(ls "$T/dev")"
}

@test "remove finds a device by its zloop id" {
	requires_fuse
	zonefsctl create -o "id=3,capacity_mb=32,zone_size_mb=4,conv_zones=1,base_dir=$T"
	zonefsctl mkfs "$T/3"
	mount_device "" "$T/3"
	zonefsctl remove -o "id=3,base_dir=$T"
	no mountpoint -q "$MNT"
	[ -e "$T/3/cnv-000000" ]
}

@test "L2: the zloop add string rounds the capacity down" {
	zonefsctl create -o "id=1,capacity_mb=35,zone_size_mb=4,conv_zones=1,base_dir=$T"
	DEV=$T/1
	same "$(zone_files | wc -l)" 8
}

@test "L2: the zloop add string takes every option, and notes what means nothing" {
	zonefsctl create -o "id=1,capacity_mb=32,zone_size_mb=4,zone_capacity_mb=3,conv_zones=3,max_open_zones=2,base_dir=$T,nr_queues=2,queue_depth=64,buffered_io,zone_append=1,ordered_zone_append,discard_write_cache" \
		2>"$T/notes"
	grep -q nr_queues "$T/notes"
	grep -q queue_depth "$T/notes"
	zonefsctl info --json "$T/1" | jq -e '.max_open == 2'
}

@test "L2: the zloop add string refuses bad values and unknown options" {
	for o in capacity_mb=4,zone_size_mb=4 zone_size_mb=3 zone_capacity_mb=5,zone_size_mb=4 \
			conv_zones=8,capacity_mb=32,zone_size_mb=4 capacity_mb=0 \
			capacity_mb=x capacity_mb=99999999999999999999 zone_capacity=63MB nosuch=1 \
			zone_append=2 max_open_zones=9,capacity_mb=32,zone_size_mb=4,conv_zones=1 \
			id=x; do
		run zonefsctl create -o "base_dir=$T/base,id=0,$o"
		[[ $status == 1 || $status == 2 ]] || { echo "$o: status $status"; false; }
		[ ! -e "$T/base/0" ] || { echo "$o left something"; false; }
	done
}

# ---- L8: what changed since the last time ----

@test "L8: a missing zone file is refused, naming it" {
	create_device
	rm "$DEV/seq-000005"
	unchanged refused 1 'zonefsctl: .*seq-000005' zonefsctl info "$DEV"
}

@test "L8: a missing conventional file is refused, naming it" {
	create_device
	rm "$DEV/cnv-000001"
	unchanged refused 1 'zonefsctl: .*cnv-000001' zonefsctl info "$DEV"
}

@test "L8: a sequential file above the capacity is refused, naming it" {
	create_device
	truncate -s $((CAP + 4096)) "$DEV/seq-000004"
	unchanged refused 1 'zonefsctl: .*seq-000004' zonefsctl info "$DEV"
}

@test "L9: a conventional file of the wrong size is refused, not accepted" {
	create_device
	truncate -s 3M "$DEV/cnv-000001"
	unchanged refused 1 'zonefsctl: .*cnv-000001' zonefsctl info "$DEV"
}

@test "L8: in a zloop directory a size that is no block multiple is refused" {
	make_zloop_dir
	truncate -s 1000 "$DEV/seq-000004"
	unchanged refused 1 'zonefsctl: .*seq-000004' zonefsctl info "$DEV"
}

@test "L8: an interrupted first add can be told from a device" {
	make_zloop_dir
	rm "$DEV"/seq-*
	refused 1 'zonefsctl: ' zonefsctl info "$DEV"
}

@test "a zone file that is no regular file is refused, naming it" {
	create_device
	rm "$DEV/seq-000004"
	mkfifo "$DEV/seq-000004"
	refused 1 'zonefsctl: .*seq-000004' zonefsctl info "$DEV"
	rm "$DEV/seq-000004"
	ln -s /etc/passwd "$DEV/seq-000004"
	refused 1 'zonefsctl: .*seq-000004' zonefsctl info "$DEV"
	rm "$DEV/seq-000004"
	mkdir "$DEV/seq-000004"
	refused 1 'zonefsctl: .*seq-000004' zonefsctl info "$DEV"
}

@test "an unreadable zone file is refused, naming it" {
	requires_root
	create_device
	chown -R 65534 "$DEV"
	chmod 755 "$T"
	chmod 000 "$DEV/seq-000004"
	refused 1 'zonefsctl: .*seq-000004' setpriv --reuid 65534 --clear-groups \
		"$(type -P zonefsctl)" info "$DEV"
}

@test "a damaged zonefsd.meta is refused, naming it" {
	create_device
	cp "$DEV/zonefsd.meta" "$T/meta"
	for damage in 'version=2' 'zone_size=x' 'garbage' ''; do
		printf '%s\n' "$damage" >"$DEV/zonefsd.meta"
		refused 1 'zonefsctl: .*zonefsd.meta' zonefsctl info "$DEV"
	done
	sed 's/^zone_size=.*/zone_size=18446744073709551615/' "$T/meta" >"$DEV/zonefsd.meta"
	refused 1 'zonefsctl: ' zonefsctl info "$DEV"
	cp "$T/meta" "$DEV/zonefsd.meta"
	zonefsctl info "$DEV"
}

# ---- L9: defects of the original that must be absent ----

@test "L9: a finished zone with a capacity below its size can be opened again" {
	requires_fuse
	make_mount strict
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	remount_device strict
	same "$(size_of "$MNT/seq/0")" "$CAP"
}

@test "L9: a write across the capacity never makes the file larger" {
	requires_fuse
	make_mount strict
	expect "0 $CAP" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "write:$((4 * M))@0"
	same "$(size_of "$DEV/seq-000003")" "$CAP"
	remount_device strict
}

@test "L9: a reset of an empty zone and a finish of a full one leave the file alone" {
	requires_fuse
	make_mount strict
	expect 0 zio "truncate:$CAP:$MNT/seq/1"
	before=$(stat -c '%y %z' "$DEV/seq-000003" "$DEV/seq-000004")
	expect ok ctl reset 3
	expect ok ctl finish 4
	same "$(stat -c '%y %z' "$DEV/seq-000003" "$DEV/seq-000004")" "$before"
}

@test "L9: reads past the file's end are zeros only there" {
	make_zloop_dir
	requires_fuse
	zonefsctl mkfs "$DEV"
	pattern_file "$DEV/seq-000003" 8192
	truncate -s "$CAP" "$DEV/seq-000003"
	mount_device strict
	expect "0 8192" zio "open:O_RDONLY:$MNT/seq/0" read:8192@0,check=1
	cmp -i 8192:0 -n $((CAP - 8192)) "$MNT/seq/0" /dev/zero
}

@test "L9: fsync on the mount reaches the backing file" {
	requires_fuse
	requires_program strace
	make_mount strict
	fill_direct "$MNT/seq/0" 4096
	strace -f -e trace=fsync,fdatasync,syncfs,sync_file_range -o "$T/strace" -p "$DAEMON" &
	tracer=$!
	until grep -q . "$T/strace" 2>/dev/null || [[ -e /proc/$tracer/task ]]; do sleep 0.05; done
	sleep 0.5
	expect "0 0" zio "open:O_WRONLY:$MNT/seq/0" fsync
	kill "$tracer"
	wait "$tracer" || :
	grep -qE 'f(data)?sync|syncfs' "$T/strace"
}

@test "L9: a failed create leaves nothing behind" {
	mkdir "$T/dev"
	refused 1 'zonefsctl: ' zonefsctl create --layout dir --capacity 16M --zone-size 4M \
		--conv-zones 5 "$T/dev"
	same "$(ls -A "$T/dev")" ""
	refused 1 'zonefsctl: ' zonefsctl create --layout dir --capacity 16M --zone-size 4M \
		--conv-zones 5 "$T/new"
	[ ! -e "$T/new" ]
}

@test "create refuses a directory that is not empty" {
	mkdir "$T/dev"
	echo precious >"$T/dev/file"
	refused 1 'zonefsctl: ' zonefsctl create --layout dir --capacity 16M --zone-size 4M "$T/dev"
	same "$(ls -A "$T/dev")" file
}

# The daemon gives its capabilities up, and reaches all of the device to the end.
@test "root mounts, changes and unmounts a directory of somebody else's" {
	make_device
	chown -R 65534:65534 "$DEV"
	mount_device
	echo text >"$MNT/seq/0"
	zonefsctl inject "$MNT" offline 7
	umount_device
	grep -qx state=clean "$DEV/zonefsd.meta"
	grep -qx offline=7 "$DEV/zonefsd.meta"
	mount_device
	same "$(cat "$MNT/seq/0")" text
}
