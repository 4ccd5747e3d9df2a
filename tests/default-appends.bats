#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# The default personality: appends of any size, with lengths exact to the byte.
# seq/0 is zone 3.

load common

setup()
{
	common_setup
	requires_fuse
}

holds()
{
	expect "0 $2" zio "open:O_RDONLY:$1" "read:$((8 * M))@0,check=1,seed=${3:-0}"
	same "$(size_of "$1")" "$2"
}

@test "an append of any size leaves a length exact to the byte" {
	make_mount
	expect "0 1 4095 1 4097 12345" zio "open:O_WRONLY:$MNT/seq/0" write:1 write:4095 \
		write:1 write:4097 write:12345
	holds "$MNT/seq/0" 20539
}

@test "cat >> and echo >> append" {
	make_mount
	echo one >>"$MNT/seq/0"
	echo two >>"$MNT/seq/0"
	seq 1 5000 | cat >>"$MNT/seq/0"
	cmp "$MNT/seq/0" <(echo one; echo two; seq 1 5000)
}

@test "tee -a appends to several files" {
	make_mount
	echo start >>"$MNT/seq/1"
	seq 1 3000 | tee -a "$MNT/seq/0" "$MNT/seq/1" >/dev/null
	cmp "$MNT/seq/0" <(seq 1 3000)
	cmp "$MNT/seq/1" <(echo start; seq 1 3000)
}

@test "dd with conv=notrunc and oflag=append continues a file" {
	make_mount
	pattern_file "$T/src" 100000
	dd if="$T/src" of="$MNT/seq/0" bs=777 count=50 status=none
	dd if="$T/src" of="$MNT/seq/0" bs=777 skip=50 oflag=append conv=notrunc status=none
	cmp "$T/src" "$MNT/seq/0"
}

@test "dd oflag=direct with whole blocks" {
	make_mount
	pattern_file "$T/src" $((1 * M))
	dd if="$T/src" of="$MNT/seq/0" bs=64K oflag=direct status=none
	cmp "$T/src" "$MNT/seq/0"
}

@test "O_APPEND writes go to the end, whatever the position" {
	make_mount
	expect "0 100 0 100 200" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:100 seek:0,set \
		write:100,at=100 size
	holds "$MNT/seq/0" 200
}

@test "two O_APPEND descriptors take turns" {
	make_mount
	expect "0 0 1000 0 1000 0 1000 0 1000" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" \
		"open:O_WRONLY,O_APPEND:$MNT/seq/0" write:1000,at=0 fd:0 write:1000,at=1000 \
		fd:1 write:1000,at=2000 fd:0 write:1000,at=3000
	holds "$MNT/seq/0" 4000
}

@test "many processes appending lines lose none" {
	make_mount
	for p in 1 2 3 4; do
		for i in {1..100}; do
			echo "process $p line $i" >>"$MNT/seq/0"
		done &
		pids+=($!)
	done
	wait "${pids[@]}"
	same "$(sort "$MNT/seq/0" | uniq | wc -l)" 400
	same "$(wc -l <"$MNT/seq/0")" 400
}

@test "a write past the end fills the gap with zeros" {
	make_mount
	expect "0 100 50 10050" zio "open:O_WRONLY:$MNT/seq/0" write:100@0 write:50@10000 size
	expect "0 100 50" zio "open:O_RDONLY:$MNT/seq/0" read:100@0,check=1 read:50@10000,check=1
	cmp -i 100:0 -n 9900 "$MNT/seq/0" /dev/zero
}

@test "a write past the end of an empty file starts with zeros" {
	make_mount
	expect "0 10 $((2 * M + 10))" zio "open:O_WRONLY:$MNT/seq/0" "write:10@$((2 * M))" size
	cmp -n $((2 * M)) "$MNT/seq/0" /dev/zero
}

@test "a write before the end is EINVAL and changes nothing" {
	make_mount
	expect "0 10000 EINVAL EINVAL EINVAL 10000" zio "open:O_WRONLY:$MNT/seq/0" \
		write:10000@0 write:1@0 write:4096@4096 write:1@9999 size
	holds "$MNT/seq/0" 10000
}

@test "a write across the capacity is short, the next one is EFBIG" {
	make_mount
	expect "0 $((CAP - 100)) 100 EFBIG EFBIG" zio "open:O_WRONLY:$MNT/seq/0" \
		"fill:$((CAP - 100)),unit=100000" write:1000 write:1 write:4096@$((CAP * 2))
	holds "$MNT/seq/0" "$CAP"
}

@test "a file filled to its capacity is full" {
	make_mount
	expect "0 $CAP" zio "open:O_WRONLY:$MNT/seq/0" "fill:$CAP,unit=99991"
	same "$(zone_cond 3 "$MNT")" fu
	expect "0 EFBIG" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:1
}

@test "a tail survives an unmount, and appends continue it" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	remount_device
	holds "$MNT/seq/0" 5000
	expect "0 5000" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:5000,at=5000
	holds "$MNT/seq/0" 10000
	remount_device
	holds "$MNT/seq/0" 10000
}

@test "a tail of one byte, one block less one, and in each zone" {
	make_mount
	for i in 0 1 2 3 4; do
		expect "0 $((i * 1023 + 1))" zio "open:O_WRONLY:$MNT/seq/$i" \
			"write:$((i * 1023 + 1)),seed=$i"
	done
	remount_device
	for i in 0 1 2 3 4; do
		holds "$MNT/seq/$i" $((i * 1023 + 1)) $i
	done
}

@test "a tail survives kill -9 of the daemon" {
	make_mount
	expect "0 5000 3000 1" zio "open:O_WRONLY:$MNT/seq/0" write:5000 write:3000 write:1
	kill_daemon
	mount_device
	holds "$MNT/seq/0" 8001
}

@test "every acknowledged append survives kill -9, also while the file is open" {
	make_mount
	zio "open:O_WRONLY:$MNT/seq/0" fill:200000,unit=1777 "touch:$T/written" "await:$T/go" \
		>/dev/null &
	zio "await:$T/written"
	kill_daemon
	touch "$T/go"
	wait $!
	mount_device
	holds "$MNT/seq/0" 200000
}

@test "a reset drops the tail" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	expect 0 zio "truncate:0:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" 0
	expect "0 10" zio "open:O_WRONLY:$MNT/seq/0" write:10,seed=3
	remount_device
	holds "$MNT/seq/0" 10 3
}

@test "finish keeps the tail, zeros follow up to the capacity" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	same "$(size_of "$MNT/seq/0")" "$CAP"
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	cmp -i 5000:0 -n $((CAP - 5000)) "$MNT/seq/0" /dev/zero
	remount_device
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	cmp -i 5000:0 -n $((CAP - 5000)) "$MNT/seq/0" /dev/zero
}

@test "a file's length is the zone's write pointer and the tail" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	same "$(zone_wp 3 "$MNT")" 4096
	grep -qx '3 5000' "$MNT/.zonefsd/lengths"
}

@test "seal completes tails with zeros" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	expect ok ctl seal 3
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:5000@0,check=1
	cmp -i 5000:0 -n 3192 "$MNT/seq/0" /dev/zero
	expect "0 10" zio "open:O_WRONLY,O_APPEND:$MNT/seq/0" write:10
}

@test "fsync after each small append" {
	make_mount
	for i in {1..20}; do
		echo "line $i" >>"$MNT/seq/0"
		sync "$MNT/seq/0"
	done
	kill_daemon
	mount_device
	cmp "$MNT/seq/0" <(for i in {1..20}; do echo "line $i"; done)
}

@test "O_DSYNC and O_SYNC appends of any size" {
	make_mount
	expect "0 10 5000" zio "open:O_WRONLY,O_DSYNC:$MNT/seq/0" write:10 write:5000
	expect "0 5" zio "open:O_WRONLY,O_SYNC,O_APPEND:$MNT/seq/0" write:5,at=5010
	holds "$MNT/seq/0" 5015
}

@test "the tail of a 512-byte-block device is shorter than a sector" {
	make_mount "" --capacity 32M --zone-size 4M --conv-zones 3 --block-size 512
	pattern_file "$MNT/seq/0" 1000
	same "$(zone_wp 3 "$MNT")" 512
	remount_device
	holds "$MNT/seq/0" 1000
}

@test "writes larger than a request, unaligned in place and memory" {
	make_mount
	expect "0 100 $((2 * M + 333)) 77" zio "open:O_WRONLY:$MNT/seq/0" write:100 \
		"write:$((2 * M + 333)),mis=77" write:77
	holds "$MNT/seq/0" $((2 * M + 510))
}

@test "a sealed file goes on under a strict mount" {
	make_mount
	pattern_file "$MNT/seq/0" 5000
	expect ok ctl seal all
	umount_device
	mount_device strict
	same "$(size_of "$MNT/seq/0")" 8192
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@8192
}

# start_long_gap FILE ZONE: fill 60 GiB with zeros in the background, as $FILLER.
start_long_gap()
{
	truncate -s 60G "$1" 2>/dev/null 3>&- &
	FILLER=$!
	until (($(zone_wp "$2") > 0)); do
		sleep 0.02
	done
}

@test "a long gap ends when its writer is killed, and with the daemon" {
	make_mount "" --capacity 192G --zone-size 64G --conv-zones 1
	start_long_gap "$MNT/seq/0" 1
	kill -9 "$FILLER"
	wait "$FILLER" 2>/dev/null || :
	size=$(size_of "$MNT/seq/0")
	((size > 0 && size < 60 << 30 && size % 4096 == 0))
	same "$(zone_wp 1)" "$size"
	echo more >>"$MNT/seq/0"
	same "$(tail -c 5 "$MNT/seq/0")" more
	: >"$MNT/seq/0"
	start_long_gap "$MNT/seq/1" 2
	kill "$DAEMON"
	wait "$DAEMON"
	wait "$FILLER" || :
	may_log "ended by a signal with files open"
	mount_device
	size=$(size_of "$MNT/seq/1")
	((size > 0 && size < 60 << 30 && size % 4096 == 0))
}

@test "an append that the device holds no room for goes past the arena" {
	make_mount
	expect ok ctl inject error reserve all ENOSPC count=0
	echo text >"$MNT/seq/0"
	same "$(cat "$MNT/seq/0")" text
	same "$(stat_counter staged_bytes)$(stat_counter stage_write_bytes)" 00
	expect ok ctl inject error reserve all 0
	echo more >"$MNT/seq/1"
	same "$(cat "$MNT/seq/1")" more
}
