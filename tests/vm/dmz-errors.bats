#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Blocks of a disk's metadata that can be neither read nor written, before it is mounted
# and while it is: an error or a disk that only reads, never other data, never a hang.
# With STRESS all of the places below go bad under a mount, too, not just four of them.

load common
load ../block
load dmz

SETS=("0-8191" "8192-16383")	# sectors: one zone of 4 MiB each
# Super block, map, bitmaps of set 0, then of set 1; each set; both.
RANGES=("0-7" "8-15" "16-8191" "8192-8199" "8200-8207" "8208-16383" "${SETS[@]}" "0-16383")

bad()
{
	echo "+$1" >"$NULLB/${DEV#/dev/}/badblocks"
}

# Good again are all.
mend()
{
	echo "-0-16383" >"$NULLB/${DEV#/dev/}/badblocks"
}

# A disk with $T/r at 8 MiB.
make_written()
{
	one_device size=128
	format_ours errors
	random_file "$T/r" $((6 * M))
	start_ours
	put "$T/r" $((8 * M)) conv=notrunc,fsync
	stop_ours
}

# within SECONDS COMMAND...: its status, and a failure if it does not end.
within()
{
	local status=0

	timeout -k 5 "$@" || status=$?
	((status != 124 && status != 137)) || echo "hangs: $*" >>"$T/hangs"
	return $status
}

nothing_hung()
{
	[[ ! -e $T/hangs ]] || {
		cat "$T/hangs"
		return 1
	}
}

@test "metadata that is bad before the mount" {
	local range

	may_log .
	make_written
	for range in "${RANGES[@]}"; do
		echo "bad: $range"
		bad "$range"
		no within 60 zonefsctl check "$DEV" >"$T/check" 2>&1
		no grep ' sound' "$T/check"
		no within 60 mount.fuse.zonefsd "$DEV" "$MNT" 2>"$T/stderr" 3>&-
		grep -q "zonefsd: $DEV: .*: Input/output error" "$T/stderr"
		no mountpoint -q "$MNT"
		nothing_hung
		mend
	done
	start_ours
	holds "$T/r" $((8 * M))
	stop_ours
	ours_finds_nothing
}

# goes_bad RANGE MIB: under a mount that then writes to two chunks from there on, which
# are not mapped. What fsync has acknowledged is found at the next mount; what was there
# is always read.
goes_bad()
{
	local offset acked=()

	start_ours
	bad "$1"
	for offset in $2 $(($2 + 4)); do
		random_file "$T/new.$offset" $((3 * M))
		if within 60 dd if="$T/new.$offset" of="$DISK" bs=64K oflag=seek_bytes \
				seek=$((offset * M)) conv=notrunc,fsync status=none; then
			acked+=("$offset")
		fi
		nothing_hung
		holds "$T/r" $((8 * M))
	done
	echo "$1: acknowledged ${acked[*]:-nothing}"
	# Nothing can be acknowledged that is written nowhere.
	if [[ $1 == "0-16383" ]]; then
		same "${#acked[@]}" 0
		mount_is_ro
	fi
	within 60 umount "$MNT"
	wait "$DAEMON" || :
	nothing_hung
	mend
	start_ours
	holds "$T/r" $((8 * M))
	for offset in "${acked[@]}"; do
		holds "$T/new.$offset" $((offset * M))
	done
	stop_ours
	zonefsctl check "$DEV"
}

@test "metadata that goes bad under a mount" {
	local range offset=16

	may_log .
	make_written
	[[ ${STRESS:-} ]] || RANGES=("8-15" "${SETS[@]}" "0-16383")
	for range in "${RANGES[@]}"; do
		goes_bad "$range" $offset
		offset=$((offset + 8))
	done
}
