#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: image
#
# Damaged images under programs built with the address sanitizer.

load ../common
load fuzz

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

@test "bytes flipped anywhere in the metadata of an image" {
	rounds damage_image 2
}

@test "a header with wild values and a right checksum" {
	rounds damage_image_sealed 4
}

@test "bytes flipped in the zone table" {
	rounds damage_table 4
}
