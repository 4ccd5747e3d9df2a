#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# An emulated device with -o strict behaves as the kernel's zonefs on a device of the
# same geometry, whatever is asked of them.
#
# long

load common
load compare

# emulated OPTION...: the twin of a null_blk of 64 MiB in zones of 4 MiB
emulated()
{
	create_device --capacity 64M --zone-size 4M "$@"
}

@test "image: capacity below size, conventional zones" {
	make_nullb zone_nr_conv=4 zone_capacity=3
	kernel_has_it
	emulated --zone-capacity 3M --conv-zones 4
	format_twins
	compare
}

@test "image: blocks of 512 bytes, no conventional zone" {
	make_nullb blocksize=512
	kernel_has_it
	emulated --conv-zones 0 --block-size 512
	format_twins
	compare
}

@test "dir: limits, explicit-open, aggregated conventional zones" {
	make_nullb zone_nr_conv=5 zone_max_open=5 zone_max_active=10
	kernel_has_it
	LAYOUT=dir emulated --conv-zones 5 --max-open-zones 5 --max-active-zones 10
	format_twins -o aggr_cnv,perm=660
	compare explicit-open
	compare errors=repair
}
