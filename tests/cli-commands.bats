#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# zonefsctl: what each command prints and returns, on devices and on mounts.

load common

# A device with a zone in each condition that a device at rest can have.
device_with_zones()
{
	create_device
	zonefsctl mkfs "$DEV"
	zonefsctl finish -z 4 "$DEV"
}

blkzone_line='^  start: 0x[0-9a-f]{9}, len 0x[0-9a-f]{6}, cap 0x[0-9a-f]{6}, wptr 0x[0-9a-f]{6} reset:[01] non-seq:[01], zcond: ?[0-9]+\((nw|em|oi|oe|cl|ro|fu|of)\) \[type: [0-9]\((CONVENTIONAL|SEQ_WRITE_REQUIRED|SEQ_WRITE_PREFERRED|SEQ_OR_BEFORE_REQUIRED|GAP)\)\]$'

@test "create prints what it made" {
	run create_device
	[ "$status" -eq 0 ]
	[[ $output == *"8 zones of 4M"* ]]
}

@test "create's defaults: 16G, zones of 256M, 8 conventional, blocks of 4096, no limits" {
	name_device
	zonefsctl create --layout "$LAYOUT" "$DEV"
	zonefsctl info --json "$DEV" | jq -e '
		.size == 17179869184 and .zone_size == 268435456 and
		.zone_capacity == 268435456 and .nr_zones == 64 and .nr_conv == 8 and
		.block_size == 4096 and .max_open == 0 and .max_active == 0'
}

@test "create takes every option" {
	create_device --capacity 100M --zone-size 8M --zone-capacity 6M --conv-zones 3 \
		--block-size 512 --max-open-zones 4 --max-active-zones 5
	zonefsctl info --json "$DEV" | jq -e '
		.nr_zones == 13 and .zone_size == 8388608 and .zone_capacity == 6291456 and
		.nr_conv == 3 and .block_size == 512 and .max_open == 4 and .max_active == 5'
}

@test "create chooses the layout from the path" {
	zonefsctl create --capacity 16M --zone-size 4M --conv-zones 1 "$T/a"
	[ -f "$T/a" ]
	zonefsctl create --capacity 16M --zone-size 4M --conv-zones 1 "$T/b/"
	[ -f "$T/b/cnv-000000" ]
	mkdir "$T/c"
	zonefsctl create --capacity 16M --zone-size 4M --conv-zones 1 "$T/c"
	[ -f "$T/c/cnv-000000" ]
}

@test "sizes take K, M, G, T and plain bytes" {
	create_device --capacity 33554432 --zone-size 4096K --conv-zones 1
	zonefsctl info --json "$DEV" | jq -e '.nr_zones == 8 and .zone_size == 4194304'
}

@test "mkfs says what it made and formats" {
	create_device
	run zonefsctl mkfs -L "a label" -o aggr_cnv,uid=5,gid=6,perm=600 "$DEV"
	[ "$status" -eq 0 ]
	[[ $output == *zonefs* ]]
	zonefsctl info --json "$DEV" | jq -e '.format == "zonefs" and .label == "a label"'
	zonefsctl info "$DEV" | grep -E '^features' | grep -q 'aggr_cnv.*uid=5.*gid=6.*perm=600'
}

@test "mkfs resets the sequential zones" {
	device_with_zones
	same "$(zone_cond 4)" fu
	zonefsctl mkfs -f "$DEV"
	same "$(zone_cond 4)" em
}

@test "Z2: mkfs finishes a sequential zone 0" {
	create_device --capacity 32M --zone-size 4M --conv-zones 0
	zonefsctl mkfs "$DEV"
	same "$(zone_cond 0) $(zone_cond 1)" "fu em"
}

@test "Z2: mkfs refuses a device that holds something, unless forced" {
	make_device
	unchanged refused 1 'zonefsctl: .*zonefs' zonefsctl mkfs "$DEV"
	zonefsctl mkfs -f "$DEV"
}

@test "Z2: mkfs keeps the data of conventional zones" {
	requires_fuse
	make_mount
	expect "0 4096" zio "open:O_WRONLY:$MNT/cnv/0" write:4096@0
	umount_device
	zonefsctl mkfs -f "$DEV"
	mount_device
	expect "0 4096" zio "open:O_RDONLY:$MNT/cnv/0" read:4096@0,check=1
}

@test "Z2: mkfs takes labels of up to 63 bytes" {
	create_device
	refused 2 'zonefsctl: .*64' zonefsctl mkfs -L "$(printf %064d 0)" "$DEV"
	zonefsctl mkfs -L "$(printf %063d 0)" "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.label | length == 63'
}

@test "Z2: mkfs refuses unknown features and bad values" {
	create_device
	for o in nosuch invalid,,list uid=x uid=-1 uid=4294967296 perm=888 perm=10000 uid= aggr_cnv=1; do
		unchanged refused 2 'zonefsctl: .*' zonefsctl mkfs -o "$o" "$DEV"
	done
}

@test "Z1: the super block's fields and checksum, byte for byte" {
	create_device
	zonefsctl mkfs -L test -o aggr_cnv,uid=1000,gid=2000,perm=770 "$DEV"
	if [[ $LAYOUT == dir ]]; then
		head -c 4096 "$DEV/cnv-000000" >"$T/super"
	else
		offset=$(od -An -tu8 -j 104 -N 8 "$DEV" | tr -d ' ')
		dd if="$DEV" of="$T/super" bs=1 skip="$offset" count=4096 status=none
	fi
	same "$(head -c 4 "$T/super")" SFOZ
	same "$(od -An -c -j 8 -N 5 "$T/super" | tr -d ' ')" 'test\0'
	same "$(od -An -tu8 -j 88 -N 8 "$T/super" | tr -d ' ')" 15
	same "$(od -An -tu4 -j 96 -N 12 "$T/super" | tr -s ' ')" ' 1000 2000 504'
	# The complement of zlib's checksum, which gzip stores eight bytes before its end.
	crc=$(od -An -tx4 -j 4 -N 4 "$T/super" | tr -d ' ')
	put_bytes "$T/super" 4 00000000
	zlib=$(gzip -c "$T/super" | tail -c 8 | od -An -tx4 -N 4 | tr -d ' ')
	same "$((16#$crc))" $((16#$zlib ^ 0xffffffff))
}

@test "report prints what blkzone report prints, line for line" {
	device_with_zones
	zonefsctl report "$DEV" >"$T/report"
	same "$(wc -l <"$T/report")" 8
	same "$(grep -cE "$blkzone_line" "$T/report")" 8
	same "$(head -n 1 "$T/report")" \
		"  start: 0x000000000, len 0x002000, cap 0x002000, wptr 0x000000 reset:0 non-seq:0, zcond: 0(nw) [type: 1(CONVENTIONAL)]"
	same "$(sed -n 4p "$T/report")" \
		"  start: 0x000006000, len 0x002000, cap 0x001800, wptr 0x000000 reset:0 non-seq:0, zcond: 1(em) [type: 2(SEQ_WRITE_REQUIRED)]"
}

@test "report of a mount shows the mount's zones" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 8192
	zonefsctl report "$MNT" >"$T/by-mount"
	zonefsctl report "$DEV" >"$T/by-device"
	cmp "$T/by-mount" "$T/by-device"
	cmp "$T/by-mount" "$MNT/.zonefsd/zones"
	same "$(grep -cE "$blkzone_line" "$T/by-mount")" 8
	grep -q 'start: 0x000006000.*wptr 0x000010 .*(oi)' "$T/by-mount"
}

@test "report -o and -c choose zones" {
	device_with_zones
	same "$(zonefsctl report -o 0x6000 -c 2 "$DEV" | sed 's/,.*//')" "  start: 0x000006000
  start: 0x000008000"
	same "$(zonefsctl report -o 24576 -c 1 "$DEV" | sed 's/,.*//')" "  start: 0x000006000"
	same "$(zonefsctl report -c 100 "$DEV" | wc -l)" 8
	same "$(zonefsctl report -o 0xe000 "$DEV" | wc -l)" 1
	refused 1 'zonefsctl: .*offset' zonefsctl report -o 0x10000 "$DEV"
	refused 1 'zonefsctl: .*offset' zonefsctl report -o 5 "$DEV"
}

@test "report --json is valid and has every zone" {
	device_with_zones
	zonefsctl report --json "$DEV" >"$T/json"
	jq -e '(.zones | length) == 8 and .nr_zones == 8 and
		.zones[4].condition == "full" and .zones[0].write_pointer == null and
		.zones[3].write_pointer == 0 and .zones[3].capacity == 3145728' "$T/json"
	zonefsctl report --json -c 1 "$DEV" | jq -e '(.zones | length) == 1'
}

@test "report --map fits the width and shows every zone" {
	device_with_zones
	COLUMNS=40 zonefsctl report --map "$DEV" >"$T/map"
	[ -s "$T/map" ]
	[ "$(wc -L <"$T/map")" -le 80 ]
	no grep -q $'\033' "$T/map"
}

@test "info of a device, for people and for programs" {
	device_with_zones
	zonefsctl info "$DEV" >"$T/info"
	grep -qE '^backend +(dir|image)$' "$T/info"
	grep -qE '^nr_zones +8$' "$T/info"
	grep -qE '^state +not mounted$' "$T/info"
	zonefsctl info --json "$DEV" | jq -e '.nr_zones == 8 and .nr_conv == 3 and .nr_full == 1'
}

@test "info of a mount, by its mount point and by its device" {
	requires_fuse
	make_mount strict,errors=zone-ro
	zonefsctl info --json "$MNT" >"$T/by-mount"
	zonefsctl info --json "$DEV" >"$T/by-device"
	cmp "$T/by-mount" "$T/by-device"
	jq -e --arg m "$MNT" '.state == "mounted" and .mountpoint == $m and
		.personality == "strict" and .errors == "zone-ro"' "$T/by-mount"
}

@test "reset, finish, open and close of ranges on a device" {
	make_device
	zonefsctl finish -z 4-6 "$DEV"
	same "$(zone_cond 3) $(zone_cond 4) $(zone_cond 6) $(zone_cond 7)" "em fu fu em"
	zonefsctl reset -z 5 "$DEV"
	same "$(zone_cond 4) $(zone_cond 5) $(zone_cond 6)" "fu em fu"
	zonefsctl reset -a "$DEV"
	same "$(zone_cond 4) $(zone_cond 6)" "em em"
	zonefsctl open -z 4 "$DEV"
	zonefsctl finish -a "$DEV"
	same "$(zone_cond 3) $(zone_cond 7) $(zone_cond 0)" "fu fu nw"
}

@test "reset, finish, open, close and seal through a mount" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	zonefsctl seal -z 3 "$MNT"
	same "$(size_of "$MNT/seq/0")" 8192
	zonefsctl finish -z 3 "$DEV"
	same "$(size_of "$MNT/seq/0")" "$CAP"
	zonefsctl reset -z 3 "$MNT"
	same "$(size_of "$MNT/seq/0")" 0
	zonefsctl open -z 3 "$MNT"
	same "$(zone_cond 3)" oe
	zonefsctl close -z 3 "$MNT"
	zonefsctl finish -a "$MNT"
	same "$(size_of "$MNT/seq/4")" "$CAP"
	zonefsctl reset -a "$MNT"
	same "$(cat "$MNT"/seq/* | wc -c)" 0
}

@test "seal on a device" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	pattern_file "$MNT/seq/1" 100
	umount_device
	zonefsctl seal "$DEV"
	same "$(zone_wp 3) $(zone_wp 4)" "8192 4096"
	mount_device strict
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	cmp -i 5000:0 -n 3192 "$MNT/seq/0" /dev/zero
}

@test "finish on a device keeps the tail" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	umount_device
	zonefsctl finish -z 3 "$DEV"
	mount_device
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	same "$(size_of "$MNT/seq/0")" "$CAP"
}

@test "commands on the super block's zone and on conventional zones are refused whole" {
	make_device
	for c in reset finish open close; do
		unchanged refused 1 'zonefsctl: .*zone 0' zonefsctl $c -z 0 "$DEV"
		unchanged refused 1 'zonefsctl: .*zone 1 is conventional' zonefsctl $c -z 1 "$DEV"
		unchanged refused 1 'zonefsctl: .*conventional' zonefsctl $c -z 2-4 "$DEV"
	done
}

@test "zones and ranges that do not exist are refused" {
	make_device
	unchanged refused 1 'zonefsctl: .*8' zonefsctl reset -z 8 "$DEV"
	unchanged refused 1 'zonefsctl: .*' zonefsctl reset -z 3-8 "$DEV"
	for z in 4-3 x 3- -3 3-x 99999999999999999999 ''; do
		run zonefsctl reset -z "$z" "$DEV"
		[[ $status == 2 || $status == 1 ]]
	done
}

@test "check of sound devices, for people and for programs" {
	make_device
	expect "$DEV: sound" zonefsctl check "$DEV"
	zonefsctl check --json "$DEV" | jq -e '.sound == true and (.problems | length) == 0'
}

@test "check finds a damaged super block" {
	make_device
	if [[ $LAYOUT == dir ]]; then
		flip_byte "$DEV/cnv-000000" 100
	else
		flip_byte "$DEV" $(($(od -An -tu8 -j 104 -N 8 "$DEV") + 100))
	fi
	run zonefsctl check "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"super block"* || $output == *checksum* ]]
	run bash -c "zonefsctl check --json '$DEV' | jq -e '.sound == false and (.problems | length) > 0'"
	[ "$status" -eq 0 ]
}

@test "stat shows the counters of a mount" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	zonefsctl stat "$MNT" | grep -qE '^nr_seq +5'
	zonefsctl stat --json "$MNT" | jq -e '.stats.nr_seq == 5 and .stats.write_bytes == 5000'
	refused 1 'zonefsctl: .*not a mount' zonefsctl stat "$T"
	refused 1 'zonefsctl: .*nosuch: No such file' zonefsctl stat "$T/nosuch"
}

@test "remove unmounts and waits; the files stay" {
	requires_fuse
	make_mount
	pattern_file "$MNT/seq/0" 5000
	zonefsctl remove "$DEV"
	no mountpoint -q "$MNT"
	wait "$DAEMON"
	[ -e "$DEV" ]
	mount_device
	same "$(size_of "$MNT/seq/0")" 5000
}

# ---- manners ----

@test "every command has --help and a usage error is 2, on one line" {
	zonefsctl --help >/dev/null
	zonefsctl --version | grep -q '^zonefsctl [0-9]'
	for c in create remove mkfs info report reset finish open close check seal stat; do
		zonefsctl --help | grep -qE "^ +$c "
		zonefsctl $c --help | grep -qi usage
		refused 2 "zonefsctl: .*nosuch" zonefsctl $c --nosuch
		refused 2 "zonefsctl: " zonefsctl $c
	done
	refused 2 "zonefsctl: .*nosuch" zonefsctl nosuch
	refused 2 "zonefsctl: " zonefsctl
}

@test "the other programs have --help and --version too" {
	for p in zonefsd zonefs-losetup; do
		$p --help >"$T/help"
		grep -qi usage "$T/help"
		$p --version | grep -q "^$p [0-9]"
		refused 2 "$p: " $p
		run $p --nosuch
		[ "$status" -eq 2 ]
	done
}

@test "a closed stdout is a failure, not a silence" {
	make_device
	run bash -c "zonefsctl report '$DEV' >/dev/full"
	[ "$status" -eq 1 ]
	run bash -c "zonefsctl info --json '$DEV' >/dev/full"
	[ "$status" -eq 1 ]
}

@test "names with spaces, newlines and terminal controls cannot forge lines" {
	mkdir "$T/odd"
	name="$T/odd/a b"$'\n'"zonefsctl: forged"$'\033'"[31m"
	run zonefsctl info "$name"
	[ "$status" -eq 1 ]
	same "$(wc -l <<<"$output")" 1
	no grep -q $'\033' <<<"$output"
	zonefsctl create --layout "$LAYOUT" --capacity 16M --zone-size 4M --conv-zones 1 "$name"
	zonefsctl mkfs "$name"
	zonefsctl info --json "$name" | jq -e .nr_zones
}
