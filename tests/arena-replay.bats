#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# The arena that a killed daemon left: replayed when it fits the device, refused
# with one line when it is stale or another device's (docs/arena-format.md). The
# medium stands still when the daemon dies, so that there is much in the arena.

load common
load support/arena

setup()
{
	common_setup
	requires_fuse
	mkdir "$T/aside"
}

# A device on a medium that can be stopped.
device_on_medium()
{
	medium_make
	T=$T/medium make_device --capacity 128M --zone-size 8M --conv-zones 2
}

# leave_staged START LEN: append LEN bytes to seq/0, which has START, and kill the
# daemon before the device has them.
leave_staged()
{
	local pid

	mount_device flush_interval=3600
	ARENA=$(arena_path)
	rm -f "$T/writes" "$T/written" "$T/go"
	# The first byte has room held for the others.
	zio "open:O_WRONLY:$MNT/seq/0" "seek:$1,set" write:1 "touch:$T/writes" \
		"await:$T/stopped" "write:$(($2 - 1))" "touch:$T/written" "await:$T/go" \
		>"$T/zio" 2>&1 3>&- &
	pid=$!
	zio "await:$T/writes"
	medium_stop
	: >"$T/stopped"
	zio "await:$T/written"
	# It ends when its last write to the medium does.
	kill -9 "$DAEMON"
	medium_go
	{ wait "$DAEMON"; } 2>/dev/null || :
	DAEMON=
	umount -l "$MNT"
	: >"$T/go"
	rm "$T/stopped"
	wait "$pid"
	grep -q "^0 $1 1 0 0 $(($2 - 1)) " "$T/zio"
	[ -s "$ARENA" ]
}

# holds FILE BYTES
holds()
{
	expect "0 $2" zio "open:O_RDONLY:$1" "read:$(($2 + 5000))@0,check=1"
}

not_applied()
{
	grep -c 'not applied' "$T/daemon.log" || :
}

# mount_refuses REGEX BYTES: the mount works, says once why the arena is not
# applied, and seq/0 has what it had.
mount_refuses()
{
	local before

	before=$(content)
	check_log || return 1
	: >"$T/daemon.log"
	: >"$T/expected-log"
	expect_log "not applied: $1"
	mount_device
	same "$(not_applied)" 1 "lines about the arena"
	no grep -q replayed "$T/daemon.log"
	[[ ! ${2:-} ]] || holds "$MNT/seq/0" "$2"
	umount_device
	same "$(content)" "$before" "the content"
	[ ! -e "$ARENA" ]
	expect "$DEV: sound" zonefsctl check "$DEV"
}

# Of seq/0 as the device has it; the arena is out of the way.
content()
{
	[[ ! -e $ARENA ]] || mv "$ARENA" "$T/aside/now"
	mount_device ro
	sha256sum <"$MNT/seq/0"
	umount_device
	[[ ! -e $T/aside/now ]] || mv "$T/aside/now" "$ARENA"
}

@test "3 MiB that the device had not got are replayed by the next mount" {
	device_on_medium
	leave_staged 0 3000000
	mount_device
	holds "$MNT/seq/0" 3000000
	grep -qE 'replayed [1-9][0-9]{6} bytes of 1 zones' "$T/daemon.log"
	umount_device
	[ ! -e "$ARENA" ]
	mount_device
	holds "$MNT/seq/0" 3000000
}

@test "check tells of what waits, check --repair replays it" {
	device_on_medium
	leave_staged 0 3000000
	run zonefsctl check "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == *"$ARENA"* ]]
	zonefsctl check --repair "$DEV"
	[ ! -e "$ARENA" ]
	expect "$DEV: sound" zonefsctl check "$DEV"
	mount_device
	holds "$MNT/seq/0" 3000000
}

@test "a read-only mount leaves the arena, the next writable one replays it" {
	device_on_medium
	leave_staged 0 3000000
	mount_device ro
	grep -q 'wait for a mount that may write' "$T/daemon.log"
	umount_device
	[ -s "$ARENA" ]
	mount_device
	holds "$MNT/seq/0" 3000000
}

@test "killed again while it replays: nothing is lost, nothing is there twice" {
	device_on_medium
	leave_staged 0 3000000
	for i in 0 1 2 3 4 5 6 7; do
		"$BUILD/zonefsd" -f "$DEV" "$MNT" >>"$T/daemon.log" 2>&1 3>&- &
		DAEMON=$!
		sleep "0.0$i"
		kill_daemon || :
	done
	mount_device
	holds "$MNT/seq/0" 3000000
}

@test "the arena lost with the memory: what fsync covered is there, of the rest a prefix" {
	device_on_medium
	mount_device
	expect "0 5000 0 0" zio "open:O_WRONLY:$MNT/seq/0" write:5000 fsync close
	umount_device
	leave_staged 5000 3000000
	rm "$ARENA"
	mount_device
	size=$(size_of "$MNT/seq/0")
	((size >= 5000 && size < 3005000))
	holds "$MNT/seq/0" "$size"
	no grep -q replayed "$T/daemon.log"
}

@test "stale: more was appended since" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	expect "0 3000000 500000 0" zio "open:O_WRONLY:$MNT/seq/0" seek:0,end write:500000 fsync
	umount_device
	cp "$T/aside/old" "$ARENA"
	mount_refuses "the write pointer is elsewhere" 3500000
}

@test "stale: the device has all of it: nothing is done, and nothing said" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	umount_device
	cp "$T/aside/old" "$ARENA"
	: >"$T/daemon.log"
	mount_device
	holds "$MNT/seq/0" 3000000
	no grep -qE 'replayed|not applied' "$T/daemon.log"
	umount_device
	[ ! -e "$ARENA" ]
}

@test "stale: the zone was reset since" {
	device_on_medium
	mount_device
	expect "0 8192 0" zio "open:O_WRONLY:$MNT/seq/0" write:8192 fsync
	umount_device
	leave_staged 8192 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	expect 0 zio "truncate:0:$MNT/seq/0"
	umount_device
	cp "$T/aside/old" "$ARENA"
	if [[ $LAYOUT == dir ]]; then
		mount_refuses "the write pointer is elsewhere" 0
	else
		mount_refuses "the zone was reset since" 0
	fi
}

@test "stale: the zone was reset and has other bytes since" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	expect "0 0 1000000 0" zio "truncate:0:$MNT/seq/0" "open:O_WRONLY:$MNT/seq/0" \
		write:1000000,seed=7 fsync
	umount_device
	cp "$T/aside/old" "$ARENA"
	mount_refuses "the zone (was reset since|has other bytes there)"
	mount_device
	expect "0 1000000" zio "open:O_RDONLY:$MNT/seq/0" read:2000000@0,check=1,seed=7
}

@test "stale: the zone was finished since" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	truncate -s 8M "$MNT/seq/0"
	umount_device
	cp "$T/aside/old" "$ARENA"
	mount_refuses "the (write pointer is elsewhere|zone cannot be written)"
}

@test "stale: formatted since" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	mount_device
	umount_device
	zonefsctl mkfs -f "$DEV"
	cp "$T/aside/old" "$ARENA"
	mount_refuses "the device was formatted since" 0
	[ -s "${ARENA%/*}/refused-${ARENA##*/}" ]
}

@test "foreign: another device's arena under this one's name is put aside" {
	device_on_medium
	leave_staged 0 3000000
	mv "$ARENA" "$T/aside/foreign"
	mv "$DEV" "$DEV.other"
	zonefsctl create --layout "$LAYOUT" --capacity 128M --zone-size 8M --conv-zones 2 "$DEV"
	zonefsctl mkfs "$DEV"
	mount_device
	expect "0 5000" zio "open:O_WRONLY:$MNT/seq/0" write:5000
	umount_device
	ARENA=$(arena_path)
	cp "$T/aside/foreign" "$ARENA"
	mount_refuses "it belongs to another device" 5000
	[ -s "${ARENA%/*}/refused-${ARENA##*/}" ]
}

@test "foreign: the arena of a copy of the device" {
	device_on_medium
	leave_staged 0 3000000
	first=$ARENA
	cp -a "$DEV" "$DEV.copy"
	DEV=$DEV.copy
	# Under its own name: said, and left to the device that it belongs to.
	mount_device
	same "$(not_applied)" 1
	grep -q 'not applied: it belongs to another copy' "$T/daemon.log"
	umount_device
	[ -s "$first" ]
	# Under the copy's name.
	ARENA=$(arena_path)
	[[ $ARENA != "$first" ]]
	mv "$first" "$ARENA"
	mount_refuses "it belongs to another copy of the device"
	[ -s "${ARENA%/*}/refused-${ARENA##*/}" ]
}

@test "a damaged header, or one too short, is put aside" {
	device_on_medium
	leave_staged 0 3000000
	cp "$ARENA" "$T/aside/old"
	flip_byte "$ARENA" 72
	mount_refuses "its header is damaged"
	cp "$T/aside/old" "$ARENA"
	truncate -s 100K "$ARENA"
	mount_refuses "its header makes no sense"
}

# mount_fails REGEX: with one line about the arena, which stays.
mount_fails()
{
	run zonefsd -f "$DEV" "$MNT" 3>&-
	[ "$status" -eq 1 ]
	same "$(grep -c arena <<<"$output")" 1
	grep -qE "^zonefsd: .*/arena-.*: $1\$" <<<"$output"
	[ -e "$ARENA" ]
}

@test "an arena that others may write, or a link, refuses the mount; put right, it is replayed" {
	device_on_medium
	leave_staged 0 3000000
	chmod 666 "$ARENA"
	mount_fails "Operation not permitted"
	chmod 600 "$ARENA"
	mv "$ARENA" "$T/aside/real"
	ln -s "$T/aside/real" "$ARENA"
	mount_fails "Operation not permitted"
	rm "$ARENA"
	mv "$T/aside/real" "$ARENA"
	mount_device
	holds "$MNT/seq/0" 3000000
}
