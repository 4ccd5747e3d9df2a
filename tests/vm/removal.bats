#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The device goes away under load: every call ends with an error in good time, the
# mount can be removed, and no process is left.

load common

# Twice the 30 s that are promised, for an emulated machine on a busy host.
LIMIT=60

# remove_under_load OPTIONS COMMAND...: COMMAND runs until it fails, on each of four files.
remove_under_load()
{
	local pids=() i pid

	may_log .
	make_scsi_debug 1 zone_nr_conv=2
	zonefsctl mkfs "$DEV"
	mount_device "$1"
	for i in 0 1 2 3; do
		("${@:2}" "$MNT/seq/$i") 3>&- >>"$T/load" 2>&1 &
		pids+=($!)
	done
	sleep 3
	for pid in "${pids[@]}"; do
		is_running "$pid" || { echo "ended by itself:"; cat "$T/load"; return 1; }
	done
	SECONDS=0
	echo 1 >"/sys/block/${DEV#/dev/}/device/delete"
	for pid in "${pids[@]}"; do
		wait "$pid" || :
	done
	echo "# the last call ended after $SECONDS s" >&3
	((SECONDS <= LIMIT)) || { echo "took $SECONDS s"; return 1; }
	timeout $LIMIT umount "$MNT"
	while ((SECONDS <= 3 * LIMIT)); do
		is_running "$DAEMON" || return 0
		sleep 0.1
	done
	echo "the daemon is left"
	return 1
}

# Over and over, since a zone is full in no time.
write_direct()
{
	while dd if=/dev/zero of="$1" bs=64K count=32 oflag=direct status=none; do :; done
	return 1
}

write_default()
{
	while head -c 3000001 /dev/zero >"$1" && sync "$1"; do :; done
	return 1
}

read_direct()
{
	while dd if="$1" of=/dev/null bs=64K iflag=direct status=none &&
		dd if=/dev/zero of="$1" bs=64K count=32 oflag=direct status=none; do :; done
	return 1
}

@test "strict: direct writers" {
	remove_under_load strict write_direct
}

@test "default: staged writers with fsync" {
	remove_under_load "" write_default
}

@test "strict, errors=repair: readers and writers" {
	remove_under_load strict,errors=repair read_direct
}
