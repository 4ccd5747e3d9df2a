#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The kernel's zonefs and zonefsd -o strict, each on a device of its own of the same
# kind, whatever is asked of them. One geometry a test.
#
# long

load common
load compare

@test "null_blk: capacity below size, one conventional zone, limits" {
	twins make_nullb zone_nr_conv=1 zone_capacity=3 zone_max_open=4 zone_max_active=10
	format_twins
	compare
	compare explicit-open
}

@test "null_blk: blocks of 512 bytes, no conventional zone, a smaller last zone" {
	twins make_nullb blocksize=512 size=38
	format_twins
	compare errors=zone-ro
}

@test "null_blk: eight conventional zones as one file" {
	twins make_nullb zone_nr_conv=8
	format_twins -o aggr_cnv,uid=1000,gid=2000,perm=666
	compare errors=repair
}

@test "null_blk: fewer active zones than files" {
	twins make_nullb zone_nr_conv=2 zone_max_open=3 zone_max_active=4
	format_twins
	compare explicit-open,errors=repair
}

@test "NVMe ZNS: blocks of 4096 bytes, capacity below size, limits" {
	twins_of use_zns 0 1
	format_twins
	compare explicit-open
}

@test "NVMe ZNS: blocks of 512 bytes" {
	twins_of use_zns 2 3
	format_twins
	compare
}

@test "scsi_debug: host-managed, conventional zones" {
	make_scsi_debug 2 zone_nr_conv=3 zone_max_open=6
	twins_of use_scsi_debug 0 1
	format_twins
	compare explicit-open
}
