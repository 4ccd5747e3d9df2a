#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Damaged devices under programs built with the address sanitizer: no crash, no
# hang, nothing out of bounds. ROUNDS random devices (200; make stress: 5000).

load ../common

setup()
{
	common_setup
	: "${ROUNDS:=$([[ ${STRESS:-} ]] && echo 5000 || echo 200)}" "${SEED:=$RANDOM}"
	export BATS_TEST_TIMEOUT=$((ROUNDS * 5 + 60))
	echo "SEED=$SEED"
	RANDOM=$SEED
	create_device --capacity 32M --zone-size 4M --zone-capacity 3M --conv-zones 1
	zonefsctl mkfs "$DEV"
	zonefsctl finish -z 3 "$DEV"
	cp -a --sparse=always "$DEV" "$T/sound"
}

# Each tool ends by itself with 0 or 1.
looks_at()
{
	local status

	for args in info report "report --json" check "check --repair" "mkfs -f"; do
		status=0
		# shellcheck disable=SC2086 # several words
		timeout 20 zonefsctl $args "$DEV" >"$T/out" 2>&1 </dev/null || status=$?
		[[ $status == [01] ]] || {
			echo "round $1, zonefsctl $args: status $status"
			cat "$T/out"
			return 1
		}
	done
}

restore()
{
	rm -rf "$DEV"
	cp -a --sparse=always "$T/sound" "$DEV"
}

# damage_image: some bytes in the header, the state, the table or the tails.
damage_image()
{
	local n

	for ((n = RANDOM % 8 + 1; n > 0; n--)); do
		flip_byte "$DEV" $((RANDOM * 32768 % (RANDOM % 2 ? 200 : 16384) + RANDOM % 200))
	done
	((RANDOM % 5)) || truncate -s $((RANDOM * 1024)) "$DEV"
}

# With the checksum made right, so that the checks behind it are reached.
damage_image_sealed()
{
	local crc

	flip_byte "$DEV" $((32 + RANDOM % 88))
	put_bytes "$DEV" 12 00000000
	crc=$(head -c 4096 "$DEV" | gzip -c | tail -c 8 | od -An -tx4 -N 4 | tr -d ' ')
	put_bytes "$DEV" 12 "${crc:6:2}${crc:4:2}${crc:2:2}${crc:0:2}"
	dd if="$DEV" of="$DEV" bs=4096 count=1 seek=3 conv=notrunc status=none
}

damage_table()
{
	local n at

	at=$(od -An -tu8 -j 88 -N 8 "$T/sound" | tr -d ' ')
	for ((n = RANDOM % 4 + 1; n > 0; n--)); do
		flip_byte "$DEV" $((at + RANDOM % 256))
	done
}

damage_dir()
{
	local files=("$DEV"/*) f

	f=${files[RANDOM % ${#files[@]}]}
	case $((RANDOM % 5)) in
	0) rm "$f" ;;
	1) truncate -s $((RANDOM * 211)) "$f" ;;
	2) head -c $((RANDOM % 3000)) /dev/urandom >"$f" ;;
	3) rm "$f"; mkdir "$f" ;;
	*) f=$DEV/zonefsd.meta
	   flip_byte "$f" $((RANDOM % $(size_of "$f"))) ;;
	esac
}

damage_meta()
{
	local f=$DEV/zonefsd.meta lines line

	lines=$(wc -l <"$f")
	line=$((RANDOM % lines + 1))
	case $((RANDOM % 4)) in
	0) sed -i "${line}d" "$f" ;;
	1) sed -i "${line}s/=.*/=$RANDOM$RANDOM$RANDOM$RANDOM$RANDOM/" "$f" ;;
	2) sed -i "${line}s/=.*/=-1/" "$f" ;;
	*) sed -i "${line}p" "$f" ;;
	esac
}

rounds()
{
	local i

	for ((i = 0; i < ROUNDS / ${2:-1}; i++)); do
		restore
		"$1"
		looks_at "$i"
	done
}

@test "bytes flipped anywhere in the metadata of an image" {
	[[ $LAYOUT == image ]] || skip "for images"
	rounds damage_image 2
}

@test "a header with wild values and a right checksum" {
	[[ $LAYOUT == image ]] || skip "for images"
	rounds damage_image_sealed 4
}

@test "bytes flipped in the zone table" {
	[[ $LAYOUT == image ]] || skip "for images"
	rounds damage_table 4
}

@test "zone files that are missing, of any size, or no files" {
	[[ $LAYOUT == dir ]] || skip "for directories"
	rounds damage_dir 2
}

@test "a text file of ours with lines missing, doubled or wild" {
	[[ $LAYOUT == dir ]] || skip "for directories"
	rounds damage_meta 2
}
