#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# The format of the block view from the command line: made, shown, damaged in each
# way that docs/dm-zoned-rules.md, part 20, names, found, repaired.

load common

# 64 zones of 1 MiB, 10 of them conventional: sets 0 and 1 in zones 0 and 1, the
# map in block 1 of a set, the bitmap of zone N in block 2 + N.
GEOMETRY=(--capacity 64M --zone-size 1M --conv-zones 10)
ZONE=$M

make_disk()
{
	create_device "${GEOMETRY[@]}" "$@" >/dev/null
	zonefsctl mkfs -t dmzoned -o seq=4 -L disk "$DEV"
	find_data
}

# Where zone 0 begins in an image: at its super block.
find_data()
{
	[[ $LAYOUT == dir ]] || DATA=$(grep -abo -m 1 DBZD "$DEV" | head -n 1 | cut -d : -f 1)
}

# poke ZONE POS HEX...: overwrite bytes of a conventional zone. With fixed 8 digits
# a word is a little-endian number.
poke()
{
	local zone=$1 pos=$2 file=$DEV word bytes=

	shift 2
	for word; do
		if ((${#word} == 8)); then
			word=${word:6:2}${word:4:2}${word:2:2}${word:0:2}
		fi
		bytes+=$(sed 's/../\\x&/g' <<<"$word")
	done
	if [[ $LAYOUT == dir ]]; then
		file=$DEV/cnv-$(printf %06d "$zone")
	else
		pos=$((DATA + zone * ZONE + pos))
	fi
	# shellcheck disable=SC2059 # the escapes are the point
	printf "$bytes" | dd of="$file" bs=1 seek="$pos" conv=notrunc status=none
}

# map CHUNK DATA BUFFER, in both sets; "none" for no zone.
map()
{
	local set data=ffffffff buffer=ffffffff

	[[ $2 == none ]] || data=$(printf %08x "$2")
	[[ $3 == none ]] || buffer=$(printf %08x "$3")
	for set in 0 1; do
		poke "$set" $((4096 + 8 * $1)) "$data" "$buffer"
	done
}

# bits ZONE FIRST-BYTE HEX..., in both sets
bits()
{
	local set

	for set in 0 1; do
		poke "$set" $(((2 + $1) * 4096 + $2)) "${@:3}"
	done
}

# fill ZONE BYTES: write to a sequential zone through the device.
fill()
{
	[[ $LAYOUT == dir ]] || skip "needs zones that are files"
	head -c "$2" /dev/zero | tr '\0' x >>"$DEV/seq-$(printf %06d "$1")"
}

# check_says STATUS REGEX [OPTION...]
check_says()
{
	run zonefsctl check "${@:3}" "$DEV"
	[[ $status == "$1" ]] && grep -qE -- "^$DEV: ($2)\$" <<<"$output" || {
		printf 'expected: status %s, a line like: %s\ngot:      status %s\n%s\n' \
			"$1" "$2" "$status" "$output"
		return 1
	}
}

sound()
{
	expect "$DEV: sound" zonefsctl check "$DEV"
}

# An error: found without a write, repaired, gone.
found_and_repaired()
{
	unchanged check_says 1 "$1"
	check_says 0 "$1 \(repaired\)" --repair
	grep -q 'sound again' <<<"$output"
	sound
}

# ---- made and shown ----

@test "mkfs -t dmzoned says what it made, info shows it, check finds it sound" {
	create_device "${GEOMETRY[@]}"
	run zonefsctl mkfs -t dmzoned -L "my disk" -o seq=4 "$DEV"
	[ "$status" -eq 0 ]
	[[ $output == *"dm-zoned, uuid "*"label 'my disk'"*"a disk of 58M, 58 zones of 1M; in reserve: 4" ]]
	zonefsctl info --json "$DEV" | jq -e '.format == "dm-zoned" and .label == "my disk" and
		.format_version == 2 and .generation == 1 and .nr_chunks == 58 and
		.disk_size == 58 * 1048576 and .nr_reserved == 4 and .needs_sync == false and
		.metadata_set_0 == "generation 1, wins" and .metadata_set_1 == "generation 1"'
	zonefsctl info "$DEV" | grep -qx 'format         dm-zoned'
	sound
	zonefsctl check --json "$DEV" | jq -e '.sound and .problems == []'
}

@test "part 6: the reserve is 16, less on a device with few conventional zones" {
	create_device --capacity 128M --zone-size 1M --conv-zones 20
	zonefsctl mkfs -t dmzoned "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.nr_reserved == 16 and .nr_chunks == 110 and
		(.label | startswith("dmz-dev"))'
	zonefsctl mkfs -t dmzoned -f -o seq=1 "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.nr_reserved == 1 and .nr_chunks == 125'
	run zonefsctl mkfs -t dmzoned -f -o seq=30 "$DEV"
	[[ $output == *"in reserve: 19, as there are no more conventional zones"* ]]
	sound
}

@test "what the format cannot carry is refused with the reason and the way out" {
	create_device --capacity 64M --zone-size 1M --zone-capacity 768K --conv-zones 10
	unchanged refused 1 'capacity of 786432 bytes.*zonefs can' \
		zonefsctl mkfs -t dmzoned "$DEV"
	rm -r "$DEV"
	create_device --capacity 64M --zone-size 1M --conv-zones 2
	unchanged refused 1 'has 2 conventional zones, dm-zoned needs 3: put a regular device' \
		zonefsctl mkfs -t dmzoned "$DEV"
	rm -r "$DEV"
	create_device --capacity 16M --zone-size 64K --conv-zones 8
	unchanged refused 1 'put a regular device in front of it' \
		zonefsctl mkfs -t dmzoned -o seq=1 "$DEV"
	truncate -s 32M "$T/regular"
	refused 1 'regular: not a zoned device; a regular one needs a zoned one behind it' \
		zonefsctl mkfs -t dmzoned "$T/regular"
}

@test "mkfs -t dmzoned takes its own options only" {
	create_device "${GEOMETRY[@]}"
	unchanged refused 2 "'aggr_cnv' is not an option of dmzoned" \
		zonefsctl mkfs -t dmzoned -o aggr_cnv "$DEV"
	unchanged refused 2 "'seq=3' is not an option of zonefs" zonefsctl mkfs -o seq=3 "$DEV"
	for o in seq= seq=0 seq=x seq=-1 seq=4294967296; do
		unchanged refused 2 "-o: $o" zonefsctl mkfs -t dmzoned -o "$o" "$DEV"
	done
	unchanged refused 2 '32 bytes, at most 31' \
		zonefsctl mkfs -t dmzoned -L "$(printf %032d 0)" "$DEV"
	unchanged refused 2 'not empty' zonefsctl mkfs -t dmzoned -L "" "$DEV"
	unchanged refused 2 "'ext4' is not a format, zonefs and dmzoned are" zonefsctl mkfs -t ext4 "$DEV"
	refused 2 'no DEV given' zonefsctl mkfs -t dmzoned
	zonefsctl mkfs -o seq=3 -L "$(printf %031d 0)" -t dmzoned "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.nr_reserved == 3 and (.label | length) == 31'
}

@test "no format overwrites the other, or itself, unless forced" {
	make_disk
	unchanged refused 1 'contains a dm-zoned disk \(use -f\)' zonefsctl mkfs "$DEV"
	unchanged refused 1 'contains a dm-zoned disk' zonefsctl mkfs -t dmzoned "$DEV"
	# Also with a set gone, or both super blocks damaged.
	poke 0 0 00000000
	unchanged refused 1 'contains a dm-zoned disk' zonefsctl mkfs "$DEV"
	poke 0 0 445a4244
	poke 1 0 00000000
	unchanged refused 1 'contains a dm-zoned disk' zonefsctl mkfs "$DEV"
	zonefsctl mkfs -f "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.format == "zonefs"'
	unchanged refused 1 'contains a zonefs file system' zonefsctl mkfs -t dmzoned "$DEV"
	zonefsctl mkfs -t dmzoned -f "$DEV"
	sound
}

@test "nothing is left of a dm-zoned format below a zonefs one" {
	make_disk
	zonefsctl mkfs -f "$DEV"
	if [[ $LAYOUT == dir ]]; then
		no grep -lr DBZD "$DEV"
	else
		no grep -q DBZD "$DEV"
	fi
}

@test "foreign content is not overwritten unless forced" {
	requires_program mkfs.ext4
	create_device --capacity 64M --zone-size 1M --conv-zones 0
	truncate -s 40M "$T/regular"
	mkfs.ext4 -q "$T/regular"
	unchanged refused 1 'regular: contains a file system .* ext4 .*use -f' \
		zonefsctl mkfs -t dmzoned "$T/regular" "$DEV"
	zonefsctl mkfs -t dmzoned -f "$T/regular" "$DEV"
	expect "$T/regular: sound" zonefsctl check "$T/regular" "$DEV"
}

@test "a mounted device is not formatted or checked" {
	requires_fuse
	make_device
	mount_device
	refused 1 "mounted on $MNT" zonefsctl mkfs -t dmzoned -f "$DEV"
	truncate -s 40M "$T/regular"
	refused 1 "mounted on $MNT" zonefsctl mkfs -t dmzoned -f "$T/regular" "$DEV"
	refused 1 "mounted on $MNT" zonefsctl check "$T/regular" "$DEV"
	umount_device
}

# ---- several devices ----

make_two()
{
	create_device --capacity 64M --zone-size 1M --conv-zones "${1:-0}" >/dev/null
	truncate -s $((8 * M + 4096)) "$T/regular"
	zonefsctl mkfs -t dmzoned -o seq=4 -L two "$T/regular" "$DEV"
}

@test "a regular device in front: formatted, shown, checked" {
	make_two
	zonefsctl info --json "$T/regular" "$DEV" | jq -e --arg dev "$(realpath "$DEV")" '
		.zoned_devices == $dev and .label == "two" and .nr_zones == 73 and
		.nr_chunks == 67 and .format == "dm-zoned" and .zone_capacity == 1048576'
	expect "$T/regular: sound" zonefsctl check "$T/regular" "$DEV"
	refused 1 'is not zoned|not a zoned device' zonefsctl info "$DEV" "$T/regular"
}

@test "a later device alone is known, and not taken for more" {
	make_two
	zonefsctl info --json "$DEV" | jq -e '.format == "dm-zoned (a later device of several)"'
	check_says 1 '.*a later device of several: name the regular device before it'
	unchanged refused 1 'contains a part of a dm-zoned disk' zonefsctl mkfs "$DEV"
	unchanged refused 1 'super block' zonefsctl reset -z 0 "$DEV"
}

@test "a device of another disk is refused and left alone" {
	make_two 2
	cp -a "$T/regular" "$T/first"
	zonefsctl mkfs -t dmzoned -f -o seq=4 "$T/regular" "$DEV"
	run zonefsctl check --repair "$T/first" "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"belongs to another disk"* ]]
}

# make_three: a disk of $T/regular, $DEV and $T/second; and $T/blank.
make_three()
{
	create_device --capacity 32M --zone-size 1M --conv-zones 0
	truncate -s 8M "$T/regular"
	zonefsctl create --layout "$LAYOUT" --capacity 32M --zone-size 1M --conv-zones 0 "$T/second"
	zonefsctl mkfs -t dmzoned -o seq=4 "$T/regular" "$DEV" "$T/second"
	truncate -s 32M "$T/blank"
}

# all_unchanged COMMAND...: its status, or 99 when it wrote to a device of make_three.
all_unchanged()
{
	local before status=0

	before=$(for d in "$T/regular" "$DEV" "$T/second"; do fingerprint "$d"; done)
	"$@" || status=$?
	same "$(for d in "$T/regular" "$DEV" "$T/second"; do fingerprint "$d"; done)" "$before" \
		"a device was written to" || return 99
	return $status
}

# not_sound REGEX ARGUMENT...: a check that finds this, and a repair that does, too;
# neither of them writes.
not_sound()
{
	local args output status

	for args in "" --repair; do
		status=0
		# shellcheck disable=SC2086 # may be no word
		output=$(all_unchanged zonefsctl check $args "${@:2}") || status=$?
		[[ $status == 1 ]] && grep -qE -- "$1" <<<"$output" || {
			printf 'expected: %s\ngot:      status %s\n%s\n' "$1" "$status" "$output"
			return 1
		}
	done
}

@test "devices in another order, or one missing, are refused, and not repaired" {
	make_three
	not_sound '/second: stands elsewhere in the disk of .*/regular: name .* in the order' \
		"$T/regular" "$T/second" "$DEV"
	not_sound '/regular: its disk has 72 zones, here are 40: a device is missing' \
		"$T/regular" "$DEV"
	run zonefsctl info "$T/regular" "$T/second" "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"stands elsewhere"* ]]
	truncate -s 7M "$T/regular"
	not_sound 'its disk has 72 zones, here are 71: .*not as large as it was' \
		"$T/regular" "$DEV" "$T/second"
	truncate -s 8M "$T/regular"
	# The last zone of the regular one is empty: nothing was lost with it.
	expect "$T/regular: sound" zonefsctl check "$T/regular" "$DEV" "$T/second"
}

@test "a repair takes no device for the disk's that is something else" {
	make_three
	# Formatted for something else, with data in a zone.
	zonefsctl mkfs -f "$T/second"
	zonefsctl finish -z 5 "$T/second"
	not_sound '/second: holds something else than a part of the disk' \
		"$T/regular" "$DEV" "$T/second"
}

@test "a device named twice, and a regular one named alone, are told so" {
	make_three
	ln -s "$DEV" "$T/link"
	for cmd in "mkfs -t dmzoned -f" info check; do
		# shellcheck disable=SC2086 # several words
		all_unchanged refused 1 "zonefsctl: $T/link: is named twice" \
			zonefsctl $cmd "$T/regular" "$DEV" "$T/link"
	done
	for cmd in info check report; do
		refused 1 "regular: is the first of several devices of a disk, name the zoned" \
			zonefsctl $cmd "$T/regular"
		refused 1 "blank: not a zoned device" zonefsctl $cmd "$T/blank"
	done
}

@test "part 20: a later device's super block is written anew" {
	make_two
	zonefsctl info "$DEV"
	[[ $LAYOUT == dir ]] || skip "needs zones that are files"
	truncate -s 0 "$DEV/seq-000000"
	run zonefsctl check "$T/regular" "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"has no super block"* ]]
	zonefsctl check --repair "$T/regular" "$DEV"
	expect "$T/regular: sound" zonefsctl check "$T/regular" "$DEV"
}

# ---- part 20, item by item ----

@test "part 20.1: a bad set is written anew from the other" {
	make_disk
	for set in 0 1; do
		poke "$set" 40 ff
		found_and_repaired "set $set: super block: checksum is .*, should be .*"
		poke "$set" 0 00
		found_and_repaired "set $set: no super block"
	done
	zonefsctl info --json "$DEV" | jq -e '.generation == 1'
}

@test "part 20.1: both sets bad: told, nothing is written" {
	make_disk
	poke 0 40 ff
	poke 1 41 ff
	unchanged check_says 1 'no valid metadata: set 0: super block: checksum.*'
	unchanged check_says 1 'no valid metadata: set 0: super block: checksum.*' --repair
	run zonefsctl info "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"format         dm-zoned (damaged)"* ]]
}

@test "part 20.5: data zones that cannot be" {
	make_disk
	map 0 64 none
	found_and_repaired 'chunk 0: data zone 64 does not exist'
	map 5 1 none
	found_and_repaired 'chunk 5: data zone 1 holds metadata'
	map 6 4294967294 none
	found_and_repaired 'chunk 6: data zone 4294967294 does not exist'
	bits 2 0 01
	map 0 2 none
	map 57 2 none
	found_and_repaired "chunk 57: data zone 2 is another chunk's already"
	zonefsctl info --json "$DEV" | jq -e '.generation == 5 and .needs_sync == false'
}

@test "part 20.5: buffer zones that cannot be" {
	make_disk
	bits 2 0 01
	map 0 2 3
	found_and_repaired 'chunk 0: buffer zone 3 is not needed, its data zone takes random writes'
	map 1 none 3
	found_and_repaired 'chunk 1: has buffer zone 3 without a data zone'
	bits 4 0 01
	map 2 99 4
	found_and_repaired 'chunk 2: data zone 99 does not exist'
}

@test "part 20.6: bits where there can be none" {
	make_disk
	bits 30 0 07
	found_and_repaired 'zone 30: 3 valid blocks, but no chunk has it'
	map 0 2 none
	bits 2 0 01
	bits 2 128 80
	found_and_repaired 'zone 2: 1 valid blocks beyond its end'
}

@test "part 20.6: bits beyond the write pointer, and in both zones" {
	make_disk
	fill 20 40960
	map 0 20 3
	bits 20 0 ff0f
	bits 3 0 01fc
	unchanged check_says 1 'chunk 0: 1 blocks valid in its data zone 20 and in its buffer zone 3'
	check_says 0 'zone 20: 2 valid blocks of chunk 0 beyond the write pointer \(repaired\)' \
		--repair
	sound
}

@test "part 20.7: sets that differ are made the same, as set 0 has it" {
	make_disk
	poke 1 $((2 * 4096 + 100)) ff
	unchanged check_says 1 'the metadata sets must be made the same before the kernel uses.*'
	found_and_repaired 'the sets differ in 1 blocks, the first is block 2, but have the same generation'
}

@test "part 20.7: a newer set wins, and the older one is brought up to it" {
	make_disk
	if [[ $LAYOUT == dir ]]; then
		cp "$DEV/cnv-000000" "$T/old"
	else
		dd if="$DEV" of="$T/old" bs=4096 skip=$((DATA / 4096)) count=256 status=none
	fi
	# A repair makes generation 2 of both.
	map 0 64 none
	zonefsctl check --repair "$DEV"
	if [[ $LAYOUT == dir ]]; then
		cp "$T/old" "$DEV/cnv-000000"
	else
		dd if="$T/old" of="$DEV" bs=4096 seek=$((DATA / 4096)) conv=notrunc status=none
	fi
	zonefsctl info --json "$DEV" | jq -e '.needs_sync and .generation == 2 and
		.metadata_set_1 == "generation 2, wins"'
	unchanged check_says 1 'warning: set 0: older, generation 1 instead of 2, as after a crash'
	zonefsctl check --repair "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.needs_sync == false and .generation == 2'
	sound
}

@test "part 20.8: a write pointer inside a block is moved to its end" {
	make_disk --block-size 512
	fill 20 5120
	map 0 20 none
	bits 20 0 01
	found_and_repaired 'zone 20: the write pointer, at byte 5120, is not at a block'
	same "$(zone_wp 20)" 8192
}

@test "part 20, soft: warnings do not make a check fail, a repair sees to some" {
	make_disk
	map 500 20 none
	unchanged check_says 0 'warning: map block 0: has something behind the last chunk'
	unchanged check_says 0 'sound, warnings: 1'
	zonefsctl check --json "$DEV" |
		jq -e '.sound and (.problems | length) == 1 and .problems[0].warning'
	zonefsctl check --repair "$DEV"
	sound
	map 0 20 none
	unchanged check_says 0 'warning: chunk 0: data zone 20 is empty'
	zonefsctl check --repair "$DEV"
	sound
	map 0 2 none
	unchanged check_says 0 'warning: chunk 0: zone 2 has no valid block'
	map 0 none none
	fill 33 8192
	unchanged check_says 0 'warning: zone 33: not empty, but no chunk has it'
	zonefsctl check --repair "$DEV"
	same "$(zone_wp 33)" 0
	sound
}

@test "check reports in JSON what it found and what it repaired" {
	make_disk
	map 0 64 none
	run bash -c "zonefsctl check --json '$DEV' | jq -e '.sound == false and
		.problems == [{problem: \"chunk 0: data zone 64 does not exist\",
			repaired: false, warning: false}]'"
	[ "$status" -eq 0 ]
	zonefsctl check --repair --json "$DEV" | jq -e '.sound and .problems[0].repaired'
}

@test "part 6: a disk of 14 TB takes little memory and time" {
	[[ $LAYOUT == image ]] || skip "needs a file less for each zone"
	requires_space $((2 * 1024 * M))
	create_device --capacity 13041G --zone-size 256M --conv-zones 524
	zonefsctl mkfs -t dmzoned -o seq=1 "$DEV"
	zonefsctl info --json "$DEV" | jq -e '.nr_zones == 52164 and .nr_chunks == 52159'
	# Both sets are read, 816 MiB, with far less in memory.
	(ulimit -v $((200 * 1024)) && exec zonefsctl check "$DEV")
}
