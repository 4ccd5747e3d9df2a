#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Z13: the two counters and explicit-open, in strict mode. Zones 2 to 7 are seq/0
# to seq/5; two may be open, three active.

load common

LIMITS=(--capacity 32M --zone-size 4M --zone-capacity 3M --conv-zones 2
	--max-open-zones 2 --max-active-zones 3)

setup()
{
	common_setup
	requires_fuse
	make_device "${LIMITS[@]}"
}

# hold NAME MODE FILE...: keep files open in another process until release NAME.
hold()
{
	local name=$1 mode=$2 file opens=()

	shift 2
	for file; do
		opens+=("open:$mode:$MNT/$file")
	done
	zio "${opens[@]}" "touch:$T/$name.open" "await:$T/$name.go" >"$T/$name.out" &
	echo $! >"$T/$name.pid"
	zio "await:$T/$name.open" >/dev/null
}

# RELEASE comes after close(2) has returned: wait for the count.
release()
{
	touch "$T/$1.go"
	wait "$(<"$T/$1.pid")"
	for _ in {1..100}; do
		[[ $(attribute nr_wro_seq_files) == "${2:-0}" ]] && return
		sleep 0.02
	done
	echo "nr_wro_seq_files stays $(attribute nr_wro_seq_files), not ${2:-0}"
	return 1
}

# counts WRITE-OPEN ACTIVE
counts()
{
	same "$(attribute nr_wro_seq_files) $(attribute nr_active_seq_files)" "$1 $2" \
		"write-open active"
}

@test "Z13: writers are counted, readers and conventional files are not" {
	mount_device strict
	hold w O_WRONLY seq/0 seq/1 cnv/0
	counts 2 0
	hold r O_RDONLY seq/2 seq/0
	counts 2 0
	hold w2 O_RDWR seq/0
	counts 2 0
	release r 2
	release w 1
	release w2 0
	counts 0 0
}

@test "Z13: without the option the open limit may be passed" {
	mount_device strict
	hold w O_WRONLY seq/0 seq/1 seq/2
	counts 3 0
	release w
}

@test "Z13: files with data are active, with or without the option" {
	mount_device strict
	fill_direct "$MNT/seq/0" 4096
	fill_direct "$MNT/seq/1" 4096
	counts 0 2
	remount_device strict
	counts 0 2
	expect 0 zio "truncate:0:$MNT/seq/0"
	counts 0 1
	expect 0 zio "truncate:$CAP:$MNT/seq/1"
	counts 0 0
}

@test "Z13: a write that fills the zone ends its being active" {
	mount_device strict
	fill_direct "$MNT/seq/0" "$CAP"
	counts 0 0
}

@test "Z13: explicit-open: the first writer opens the zone, the last close closes it" {
	mount_device strict,explicit-open
	hold w O_WRONLY seq/0
	counts 1 1
	same "$(zone_cond 2 "$MNT")" oe
	release w
	counts 0 0
	same "$(zone_cond 2 "$MNT")" em
}

@test "Z13: explicit-open: a written zone is closed, not reset" {
	mount_device strict,explicit-open
	fill_direct "$MNT/seq/0" 4096
	for _ in {1..100}; do
		[[ $(zone_cond 2 "$MNT") == cl ]] && break
		sleep 0.02
	done
	same "$(zone_cond 2 "$MNT")" cl
	counts 0 1
	same "$(size_of "$MNT/seq/0")" 4096
}

@test "Z13: explicit-open: a writer more than the open limit is EBUSY" {
	mount_device strict,explicit-open
	hold w O_WRONLY seq/0 seq/1
	expect EBUSY zio "open:O_WRONLY:$MNT/seq/2"
	counts 2 2
	expect "0 0 0" zio "open:O_RDONLY:$MNT/seq/2" "open:O_WRONLY:$MNT/seq/0" \
		"open:O_WRONLY:$MNT/cnv/0"
	release w
	expect 0 zio "open:O_WRONLY:$MNT/seq/2"
}

@test "Z13: a close and an open in a row do not meet the limit" {
	mount_device strict,explicit-open
	hold w O_WRONLY seq/0
	for i in 1 2 3 4 5 1 2 3 4 5; do
		expect 0 zio "open:O_WRONLY:$MNT/seq/$i"
	done
	release w
}

@test "Z13: explicit-open: the device's active limit refuses with its errno" {
	mount_device strict,explicit-open
	fill_direct "$MNT/seq/0" 4096
	fill_direct "$MNT/seq/1" 4096
	fill_direct "$MNT/seq/2" 4096
	expect EOVERFLOW zio "open:O_WRONLY:$MNT/seq/3"
	counts 0 3
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@4096
}

@test "Z13: explicit-open: a full file is counted but its zone not opened" {
	mount_device strict,explicit-open
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	hold w O_WRONLY seq/0
	counts 1 0
	same "$(zone_cond 2 "$MNT")" fu
	release w
}

@test "Z13: explicit-open: filling the zone ends active, the count stays until close" {
	mount_device strict,explicit-open
	zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" "fill:$CAP" "touch:$T/w.open" \
		"await:$T/w.go" >"$T/w.out" &
	echo $! >"$T/w.pid"
	zio "await:$T/w.open"
	counts 1 0
	release w
}

@test "Z13: explicit-open: a reset while open opens the zone again" {
	mount_device strict,explicit-open
	hold w O_WRONLY seq/0
	fill_direct "$MNT/seq/0" 4096
	expect 0 zio "truncate:0:$MNT/seq/0"
	same "$(zone_cond 2 "$MNT")" oe
	counts 1 1
	release w
}

@test "Z13: explicit-open: a file that was full at open is not opened by its reset" {
	mount_device strict,explicit-open
	expect 0 zio "truncate:$CAP:$MNT/seq/0"
	hold w O_WRONLY seq/0
	expect 0 zio "truncate:0:$MNT/seq/0"
	same "$(zone_cond 2 "$MNT")" em
	counts 1 0
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096@0
	same "$(zone_cond 2 "$MNT")" oi
	release w
}

@test "Z13: explicit-open: an open command that fails undoes the count" {
	mount_device strict,explicit-open
	may_log 'zone 2|seq/0'
	expect ok ctl inject error open 2 EIO count=1
	expect EIO zio "open:O_WRONLY:$MNT/seq/0"
	counts 0 0
	expect 0 zio "open:O_WRONLY:$MNT/seq/0"
}

@test "Z13: explicit-open: a close command that fails does not fail close(2) nor leak" {
	mount_device strict,explicit-open
	may_log 'zone 2|seq/0|read-only'
	expect ok ctl inject error close 2 EIO count=1
	expect "0 4096 0" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" write:4096 close
	for _ in {1..100}; do
		[[ $(attribute nr_wro_seq_files) == 0 ]] && break
		sleep 0.02
	done
	same "$(attribute nr_wro_seq_files)" 0
}

@test "Z13: explicit-open: a zone that turned bad gets no close command" {
	mount_device strict,explicit-open,errors=zone-ro
	expect_log 'zone 2|seq/0'
	expect "0 0 18 0 EIO 0" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
		"open:O_WRONLY:$MNT/.zonefsd/ctl" "text:inject read-only 2" fd:0 \
		write:4096@0 close
	same "$(mode_of "$MNT/seq/0")" 440
	for _ in {1..100}; do
		[[ $(attribute nr_wro_seq_files) == 0 ]] && break
		sleep 0.02
	done
	counts 0 0
}
