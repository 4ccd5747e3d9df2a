#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# The default personality: cp, dd, tar, rsync and truncate do what their users expect.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "cp of a file into a zone and back" {
	make_mount
	pattern_file "$T/src" 1234567
	cp "$T/src" "$MNT/seq/0"
	cmp "$T/src" "$MNT/seq/0"
	cp "$MNT/seq/0" "$T/back"
	cmp "$T/src" "$T/back"
}

@test "cp onto a zone that holds data replaces it" {
	make_mount
	pattern_file "$T/a" 1234567 1
	pattern_file "$T/b" 4567 2
	cp "$T/a" "$MNT/seq/0"
	cp "$T/b" "$MNT/seq/0"
	cmp "$T/b" "$MNT/seq/0"
}

@test "cp onto a full zone replaces it" {
	make_mount
	pattern_file "$T/a" 4567 1
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	cp "$T/a" "$MNT/seq/0"
	cmp "$T/a" "$MNT/seq/0"
}

@test "cp of sparse files: holes in front, between and at the end" {
	make_mount
	truncate -s 2000000 "$T/sparse"
	cp "$T/sparse" "$MNT/seq/0"
	cmp "$T/sparse" "$MNT/seq/0"
	echo middle | dd of="$T/sparse" bs=1 seek=1000001 conv=notrunc status=none
	cp --sparse=always "$T/sparse" "$MNT/seq/1"
	cmp "$T/sparse" "$MNT/seq/1"
	same "$(size_of "$MNT/seq/1")" 2000000
}

@test "cp of an empty file leaves an empty zone" {
	make_mount
	pattern_file "$MNT/seq/0" 100
	: >"$T/empty"
	cp "$T/empty" "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
}

@test "a file larger than the capacity stops with File too large, the written part is readable" {
	make_mount
	pattern_file "$T/big" $((CAP + 100000))
	run cp "$T/big" "$MNT/seq/0"
	[ "$status" -eq 1 ]
	[[ $output == *"File too large"* ]]
	same "$(size_of "$MNT/seq/0")" "$CAP"
	cmp -n "$CAP" "$T/big" "$MNT/seq/0"
}

@test "cp from zone to zone" {
	make_mount
	pattern_file "$MNT/seq/0" 1000001
	cp "$MNT/seq/0" "$MNT/seq/1"
	cmp "$MNT/seq/0" "$MNT/seq/1"
}

@test "tar writes an archive into a zone, appends none to it, and lists and extracts it" {
	make_mount
	mkdir "$T/tree"
	for i in {1..50}; do
		seq 1 $((i * 50)) >"$T/tree/file $i"
	done
	tar -C "$T" -cf "$MNT/seq/0" tree
	same "$(tar -tf "$MNT/seq/0" | wc -l)" 51
	mkdir "$T/out"
	tar -C "$T/out" -xf "$MNT/seq/0"
	diff -r "$T/tree" "$T/out/tree"
}

@test "tar through a compressor" {
	make_mount
	seq 1 100000 >"$T/data"
	tar -C "$T" -czf "$MNT/seq/0" data
	tar -xzOf "$MNT/seq/0" data | cmp - "$T/data"
}

@test "rsync --append continues a file" {
	requires_program rsync
	make_mount
	pattern_file "$T/0" 100001
	head -c 30000 "$T/0" >"$MNT/seq/0"
	rsync --append --inplace "$T/0" "$MNT/seq/0"
	cmp "$T/0" "$MNT/seq/0"
	head -c 99999 "$T/0" >"$MNT/seq/1"
	rsync --append-verify --inplace "$T/0" "$MNT/seq/1"
	cmp "$T/0" "$MNT/seq/1"
}

@test "dd with seek leaves zeros in front" {
	make_mount
	echo text | dd of="$MNT/seq/0" bs=1000 seek=3 conv=notrunc status=none
	cmp "$MNT/seq/0" <(head -c 3000 /dev/zero; echo text)
}

@test "truncate -s 0 resets, truncate to the capacity finishes" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	truncate -s 0 "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0") $(zone_cond 3 "$MNT")" "0 em"
	truncate -s "$CAP" "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0") $(zone_cond 3 "$MNT")" "$CAP fu"
	truncate -s 0 "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0") $(zone_cond 3 "$MNT")" "0 em"
}

@test "truncate beyond the length fills with zeros" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	truncate -s 100001 "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 100001
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	cmp -i 5000:0 -n 95001 "$MNT/seq/0" /dev/zero
	echo end >>"$MNT/seq/0"
	same "$(tail -c 4 "$MNT/seq/0")" end
}

@test "truncate to the present length does nothing" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	truncate -s 5000 "$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 5000
}

@test "truncate to less than the length, other than 0, is refused" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	run truncate -s 4096 "$MNT/seq/0"
	[ "$status" -ne 0 ]
	same "$(size_of "$MNT/seq/0")" 5000
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "truncate beyond the capacity is File too large" {
	make_mount
	expect EFBIG zio "truncate:$((CAP + 1)):$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
}

@test "cp into a conventional zone overwrites in place and keeps the size" {
	make_mount
	pattern_file "$T/a" 100000 1
	pattern_file "$T/b" 4567 2
	cp "$T/a" "$MNT/cnv/0"
	cp "$T/b" "$MNT/cnv/0"
	same "$(size_of "$MNT/cnv/0")" $((4 * M))
	expect "0 4567 95433" zio "open:O_RDONLY:$MNT/cnv/0" read:4567@0,seed=2,check=1 \
		read:95433@4567,seed=1,check=1
	remount_device
	expect "0 4567 95433" zio "open:O_RDONLY:$MNT/cnv/0" read:4567@0,seed=2,check=1 \
		read:95433@4567,seed=1,check=1
}

@test "random writes into a conventional zone" {
	make_mount
	expect "0 7 4096 100000 1" zio "open:O_RDWR:$MNT/cnv/0" write:7@3000001 write:4096@100 \
		write:100000@2000000 write:1@$((4 * M - 1))
	remount_device
	expect "0 7 4096 100000 1" zio "open:O_RDONLY:$MNT/cnv/0" read:7@3000001,check=1 \
		read:4096@100,check=1 read:100000@2000000,check=1 read:1@$((4 * M - 1)),check=1
}

@test "mmap of a zone's file reads what was appended" {
	make_mount
	pattern_file "$MNT/seq/0" 100001
	expect "0 0 100001" zio "open:O_RDONLY:$MNT/seq/0" map:100001,r,shared check:0,100001
	expect "0 0 100001" zio "open:O_RDONLY:$MNT/seq/0" map:100001,r,private check:0,100001
}

@test "direct and buffered reads at any place agree" {
	make_mount
	pattern_file "$MNT/seq/0" 100001
	expect "0 5000 1 0" zio "open:O_RDONLY:$MNT/seq/0" read:5000@4090,check=1 \
		read:100@100000,check=1 read:1@100001
	expect "0 8192" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/0" read:8192@4096,check=1
}

@test "a reader follows a growing file: tail -c +N" {
	make_mount
	expect "0 0 0 1000 0 1000 0 0 1000 0 1000 0" zio "open:O_WRONLY:$MNT/seq/0" \
		"open:O_RDONLY:$MNT/seq/0" fd:0 write:1000 fd:1 read:5000,check=1 read:10 \
		fd:0 write:1000 fd:1 read:5000,check=1 read:10
}

@test "df counts written zones" {
	make_mount
	before=$(stat -f -c %f "$MNT")
	pattern_file "$MNT/seq/0" 40960
	same $((before - $(stat -f -c %f "$MNT"))) 10
}

@test "an editor's save by rename is refused and loses nothing" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	run mv "$MNT/seq/0" "$MNT/seq/1"
	[ "$status" -ne 0 ]
	run rm -f "$MNT/seq/0"
	[ "$status" -ne 0 ]
	run cp "$T/daemon.log" "$MNT/seq/new"
	[ "$status" -ne 0 ]
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "a file too large for what is left keeps what was there before the append" {
	make_mount
	pattern_file "$MNT/seq/0" $((CAP - 1000))
	run dd if=/dev/zero of="$MNT/seq/0" bs=4096 count=2 oflag=append conv=notrunc
	[ "$status" -ne 0 ]
	[[ $output == *"File too large"* ]]
	same "$(size_of "$MNT/seq/0")" "$CAP"
	expect "0 $((CAP - 1000))" zio "open:O_RDONLY:$MNT/seq/0" "read:$((CAP - 1000))@0,check=1"
}
