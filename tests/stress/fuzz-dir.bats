#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir
#
# Damaged directories under programs built with the address sanitizer.

load ../common
load fuzz

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

@test "zone files that are missing, of any size, or no files" {
	rounds damage_dir 2
}

@test "a text file of ours with lines missing, doubled or wild" {
	rounds damage_meta 2
}
