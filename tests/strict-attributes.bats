#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z14: the four attributes, and the other files of .zonefsd (docs/control.md).

load common

setup()
{
	common_setup
	requires_fuse
}

@test "Z14: the limits are the device's" {
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 2 --max-open-zones 4 \
		--max-active-zones 5
	expect 4 attribute max_wro_seq_files
	expect 5 attribute max_active_seq_files
	expect 0 attribute nr_wro_seq_files
	expect 0 attribute nr_active_seq_files
}

@test "Z14: 0 where the device has no limit" {
	make_mount strict
	expect 0 attribute max_wro_seq_files
	expect 0 attribute max_active_seq_files
}

@test "Z14: conventional files never count" {
	make_mount strict
	zio "open:O_WRONLY:$MNT/cnv/0" write:4096 "touch:$T/open" "await:$T/go" >/dev/null &
	zio "await:$T/open"
	expect 0 attribute nr_wro_seq_files
	expect 0 attribute nr_active_seq_files
	touch "$T/go"
	wait $!
}

@test "the attribute files are decimal numbers with a newline, and read-only" {
	make_mount strict
	for f in max_wro_seq_files nr_wro_seq_files max_active_seq_files nr_active_seq_files; do
		same "$(od -An -c "$MNT/.zonefsd/$f" | tr -d ' ')" '0\n'
		same "$(mode_of "$MNT/.zonefsd/$f")" 444
	done
}

@test "every documented control file is there with its mode" {
	make_mount strict
	for f in version info stats zones lengths; do
		same "$(mode_of "$MNT/.zonefsd/$f")" 444
		[ -n "$(cat "$MNT/.zonefsd/$f")" ]
	done
	same "$(mode_of "$MNT/.zonefsd/ctl")" 600
	same "$(stat -c %u "$MNT/.zonefsd/ctl")" 0
}

@test "info has every documented name" {
	make_mount strict
	for n in pid device backend uuid label format features block_size size zone_size \
			zone_capacity nr_zones nr_conv max_open max_active personality errors \
			explicit_open read_only; do
		grep -qE "^$n( |\$)" "$MNT/.zonefsd/info"
	done
	grep -qx "pid $DAEMON" "$MNT/.zonefsd/info"
	grep -qx "device $(realpath "$DEV")" "$MNT/.zonefsd/info"
	grep -qx "nr_zones 8" "$MNT/.zonefsd/info"
	grep -qx "zone_capacity $CAP" "$MNT/.zonefsd/info"
}

@test "only root writes to ctl, and nobody reads it" {
	make_mount strict
	expect "0 EACCES" zio su:65534 "open:O_WRONLY:$MNT/.zonefsd/ctl"
	expect "0 EACCES" zio su:65534 "open:O_RDONLY:$MNT/.zonefsd/ctl"
	same "$(zio "open:O_RDONLY:$MNT/.zonefsd/ctl" read:100 | grep -c '[1-9]')" 0
}

@test "ctl refuses what it does not know" {
	make_mount strict
	for line in x "reset" "reset x" "reset 8" "reset 3-9" "reset 4-3" "reset 99999999999" \
			"inject" "inject offline" "inject offline 8" "inject error write 3" \
			"inject error write 3 EWHAT" "inject error dance 3 EIO" \
			"inject write 3 100000000000" "remount x" "finish -1" "seal 3 4"; do
		expect EINVAL ctl "$line" || expect EIO ctl "$line"
	done
}

@test "ctl zone commands act on files" {
	make_mount strict
	fill_direct "$MNT/seq/0" 8192
	fill_direct "$MNT/seq/1" 8192
	expect ok ctl reset 3
	same "$(size_of "$MNT/seq/0") $(size_of "$MNT/seq/1")" "0 8192"
	expect ok ctl finish 4-5
	same "$(size_of "$MNT/seq/1") $(size_of "$MNT/seq/2")" "$CAP $CAP"
	expect ok ctl reset all
	same "$(cat "$MNT"/seq/* | wc -c)" 0
	expect ok ctl open 6
	same "$(zone_cond 6 "$MNT")" oe
	expect ok ctl close 6
	same "$(zone_cond 6 "$MNT")" em
}

@test "ctl refuses a command on the super block's zone and on conventional ones" {
	make_mount strict
	expect EPERM ctl reset 0
	expect EIO ctl reset 1
	umount_device
	rm -rf "$T"/dev*
	make_mount strict --capacity 32M --zone-size 4M --conv-zones 0
	expect EPERM ctl reset 0
	expect ok ctl reset all
	remount_device strict
}

@test "lengths and zones tell of every zone" {
	make_mount strict
	fill_direct "$MNT/seq/1" 8192
	expect "3 0
4 8192
5 0
6 0
7 0" cat "$MNT/.zonefsd/lengths"
	same "$(wc -l <"$MNT/.zonefsd/zones")" 8
}

@test "stats counts what was done" {
	make_mount strict
	fill_direct "$MNT/seq/1" 8192
	expect "0 8192" zio "open:O_RDONLY,O_DIRECT:$MNT/seq/1" read:8192
	same "$(stat_counter writes) $(stat_counter write_bytes)" "1 8192"
	same "$(stat_counter reads) $(stat_counter read_bytes)" "1 8192"
	expect 0 zio "truncate:0:$MNT/seq/1"
	same "$(stat_counter resets)" 1
}
