#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z5: what df and statfs show in strict mode.

load common

setup()
{
	common_setup
	requires_fuse
}

# Block size, blocks, free, available, files, free files, name length.
space()
{
	stat -f -c '%s %S %b %f %a %c %d %l' "$MNT"
}

@test "Z5: an empty file system: conventional files count as used" {
	make_mount strict
	# 2 x 4 MiB + 5 x 3 MiB; 3 names in cnv, 6 in seq with their directories
	expect "4096 4096 5888 3840 3840 9 0 16" space
}

@test "Z5: written blocks are used, a finished zone wholly" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	expect "4096 4096 5888 3838 3838 9 0 16" space
	expect 0 zio "truncate:$CAP:$MNT/seq/1"
	expect "4096 4096 5888 3070 3070 9 0 16" space
	expect 0 zio "truncate:0:$MNT/seq/0"
	expect "4096 4096 5888 3072 3072 9 0 16" space
}

@test "Z5: blocks are of the device's block size" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 2 --block-size 512
	expect "512 512 57344 49152 49152 9 0 16" space
}

@test "Z5: without cnv only seq's names are counted" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 0
	expect "4096 4096 7168 7168 7168 8 0 16" space
}

@test "Z5: with aggregation cnv counts one file" {
	make_mount strict -- -o aggr_cnv
	expect "4096 4096 5888 3840 3840 8 0 16" space
}

@test "Z5: offline zones are in the total and not in use" {
	make_mount strict
	expect ok ctl inject offline 1
	expect ok ctl inject offline 4
	remount_device strict
	expect "4096 4096 5888 4864 4864 9 0 16" space
}
