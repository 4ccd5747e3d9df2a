#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# kill -9 of the daemon behind a disk, and power cuts, at random moments under
# writers that fsync now and then. ROUNDS rounds (3; make stress: 200); SEED
# repeats a run.

load common

: "${ROUNDS:=3}" "${SEED:=$RANDOM$RANDOM}"
export BATS_TEST_TIMEOUT=$((ROUNDS * 30 + 60))

setup()
{
	common_setup
	requires_fuse
	echo "SEED=$SEED"
	RANDOM=$((SEED % 32768))
}

# Zones so small that reclaim has to run all the time.
make_disk()
{
	create_device --capacity 12M --zone-size 256K --conv-zones 8
	zonefsctl mkfs -t dmzoned -o seq=2 "$DEV"
}

# rounds KIND OPTIONS: KIND kill or power.
rounds()
{
	local i writer

	make_disk
	mount_device "$2"
	for ((i = 1; i <= ROUNDS; i++)); do
		zblock write "$T/state" $((SEED + i)) 6 "$MNT/disk" >"$T/writer" 2>&1 3>&- &
		writer=$!
		sleep "$((RANDOM % 2)).$(printf %03d $((RANDOM % 1000)))"
		if [[ $1 == kill ]]; then
			kill_daemon
		else
			expect ok ctl inject power-cut
		fi
		wait "$writer" || { echo "round $i:"; cat "$T/writer" "$T/daemon.log"; return 1; }
		if [[ $1 == power ]]; then
			umount "$MNT"
			wait "$DAEMON" || :
		fi
		mount_device "$2"
		zblock verify "$T/state" "$MNT/disk" || { echo "round $i:"; cat "$T/writer"; return 1; }
		umount_device
		zonefsctl check "$DEV" || { echo "round $i"; return 1; }
		mount_device "$2"
		zblock verify "$T/state" "$MNT/disk" || { echo "round $i, once more"; return 1; }
	done
	# They did something between the crashes.
	cat "$T/writer"
	umount_device
}

@test "kill -9: what fsync covered is there" {
	may_log .
	rounds kill ""
}

@test "power cut: what fsync covered is there" {
	may_log .
	rounds power powercut
}

@test "the daemon is killed while it opens a disk that it left in disorder" {
	may_log .
	make_disk
	mount_device
	for ((i = 1; i <= ROUNDS; i++)); do
		zblock write "$T/state" $((SEED + i)) 4 "$MNT/disk" >"$T/writer" 2>&1 3>&- &
		writer=$!
		sleep "0.$(printf %03d $((RANDOM % 1000)))"
		kill_daemon
		wait "$writer"
		# Starts that do not get far.
		for _ in 1 2 3; do
			"$BUILD/zonefsd" -f "$DEV" "$MNT" >>"$T/daemon.log" 2>&1 3>&- &
			DAEMON=$!
			echo "$DAEMON" >>"$T/daemons"
			sleep "0.0$(printf %02d $((RANDOM % 60)))"
			{
				kill -9 "$DAEMON"
				wait "$DAEMON"
			} 2>/dev/null || :
			umount -l "$MNT" 2>/dev/null || :
		done
		mount_device
		zblock verify "$T/state" "$MNT/disk"
	done
	umount_device
	zonefsctl check "$DEV"
}
