#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Any number of zones with a bounded number of open files.

load common

setup()
{
	common_setup
	requires_fuse
}

@test "3000 zones, all written, with 1024 descriptors for the daemon" {
	make_device --capacity 3001M --zone-size 1M --conv-zones 1
	ulimit -n 1024
	mount_device
	for i in {0..2999}; do
		echo "open:O_WRONLY:$MNT/seq/$i" "write:$((i % 5000 + 1)),seed=$i" close
	done >"$T/steps"
	# A few thousand steps in some processes, each closing what it opened.
	xargs -n 900 zio <"$T/steps" >"$T/out"
	no grep -qE '[A-Z]' "$T/out"
	[ "$(ls "/proc/$DAEMON/fd" | wc -l)" -lt 1024 ]
	remount_device
	for i in {0..2999}; do
		echo "open:O_RDONLY:$MNT/seq/$i" "read:9999@0,check=1,seed=$i" close
	done >"$T/steps"
	xargs -n 900 zio <"$T/steps" | tr ' ' '\n' | awk 'NR % 3 == 2' >"$T/lengths"
	cmp "$T/lengths" <(for i in {0..2999}; do echo $((i % 5000 + 1)); done)
}

@test "600 files open for writing at a time, with 256 descriptors for the daemon" {
	make_device --capacity 601M --zone-size 1M --conv-zones 1
	soft=$(ulimit -Sn)
	ulimit -Sn 256
	mount_device
	ulimit -Sn 2000 2>/dev/null || skip "needs 2000 descriptors for the test itself"
	steps=()
	for i in {0..599}; do
		steps+=("open:O_WRONLY:$MNT/seq/$i")
	done
	for i in {0..599}; do
		steps+=("fd:$i" write:100)
	done
	same "$(zio "${steps[@]}" | tr ' ' '\n' | sort | uniq -c | tr -s ' ')" " 1200 0
 600 100"
	ulimit -Sn "$soft"
}

# 64 TiB; an image only as large as the file system beneath takes a file.
@test "the largest zones hold files" {
	if [[ $LAYOUT == dir ]]; then nr=64; else nr=8; fi
	make_mount "" --capacity ${nr}T --zone-size 1T --conv-zones 1
	last=$MNT/seq/$((nr - 2))
	echo text >"$last"
	same "$(cat "$last")" text
	same "$(stat -c %b "$last")" $((1024 * 1024 * 1024 * 2))
	remount_device
	same "$(cat "$last")" text
}

@test "the smallest device: two zones" {
	make_mount "" --capacity 2M --zone-size 1M --conv-zones 1
	same "$(ls -A "$MNT")" seq
	expect "0 $M" zio "open:O_WRONLY:$MNT/seq/0" "fill:$M"
	remount_device
	same "$(size_of "$MNT/seq/0")" "$M"
}
