#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# kill -9 of the daemon at random moments under several writers at once: tails,
# small appends with many an fsync, appends of any length with resets and
# finishes, 1 MiB writes, and four processes on one file. Staging is as users
# have it. ROUNDS rounds (10; make stress: 500); SEED repeats a run.

load common
load support/arena

: "${ROUNDS:=10}"
export BATS_TEST_TIMEOUT=$((ROUNDS * 30 + 60))
# Two files each; the shared one is the last.
mixes=(any tails synced large)
last=$((2 * ${#mixes[@]}))

setup()
{
	common_setup
	requires_fuse
	seed_random
}

files_of()
{
	echo "$MNT/seq/$((2 * $1))" "$MNT/seq/$((2 * $1 + 1))"
}

start_writers()
{
	local i

	WRITERS=()
	for i in "${!mixes[@]}"; do
		# shellcheck disable=SC2046 # two words
		zcrash write "$T/state-${mixes[i]}" $((SEED + $1 * 10 + i)) 3600 "${mixes[i]}" \
			$(files_of "$i") >"$T/writer-${mixes[i]}" 2>&1 3>&- &
		WRITERS+=($!)
	done
	zshare write "$T/state-shared" "$SEED" 4 "$MNT/seq/$last" \
		>"$T/writer-shared" 2>&1 3>&- &
	WRITERS+=($!)
}

# They end at the crash, not before and with no other error.
end_writers()
{
	local pid status=0

	for pid in "${WRITERS[@]}"; do
		wait "$pid" || status=1
	done
	[[ $status == 0 ]] && no grep "no crash" "$T"/writer-*
}

verify()
{
	local i status=0

	for i in "${!mixes[@]}"; do
		# shellcheck disable=SC2046 # two words
		zcrash verify "$T/state-${mixes[i]}" "$1" $(files_of "$i") || status=1
	done
	zshare verify "$T/state-shared" "$1" "$MNT/seq/$last" || status=1
	return $status
}

# The daemon dies again, at its start or while it replays.
kill_while_mounting()
{
	local pid

	# shellcheck disable=SC2086 # the wrapper is several words
	$ZONEFSD_WRAPPER "$BUILD/zonefsd" -f "$DEV" "$MNT" >>"$T/daemon.log" 2>&1 3>&- &
	pid=$!
	sleep "0.0$(printf %02d $((RANDOM % 60)))"
	{
		kill -9 "$pid"
		wait "$pid"
	} 2>/dev/null || :
	umount -l "$MNT" 2>/dev/null || :
}

# rounds kill|arena: arena takes the arena away while no daemon runs.
rounds()
{
	local i arena kept=0

	make_device --capacity 128M --zone-size 8M --zone-capacity 6M --conv-zones 2
	mount_device
	arena=$(arena_path)
	for ((i = 1; i <= ROUNDS; i++)); do
		start_writers "$i"
		sleep "0.$(printf %03d $((50 + RANDOM % 600)))"
		kill_daemon
		end_writers || { echo "round $i:"; cat "$T"/writer-* "$T/daemon.log"; return 1; }
		[[ ! -s $arena ]] || kept=$((kept + 1))
		if [[ $1 == arena ]]; then
			rm -f "$arena"
		elif ((RANDOM % 3 == 0)); then
			kill_while_mounting
		fi
		mount_device
		verify "$1" || { echo "round $i:"; cat "$T"/writer-* "$T/daemon.log"; return 1; }
	done
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
	same "$kept" "$ROUNDS" "rounds in which the daemon left an arena"
}

@test "kill -9 under several writers: every acknowledged append is there, in order, once" {
	rounds kill
	grep -q 'replayed [1-9]' "$T/daemon.log"
	no grep 'not applied' "$T/daemon.log"
}

@test "kill -9 and the arena lost: what fsync and close covered is there, of the rest a prefix" {
	rounds arena
	no grep 'replayed' "$T/daemon.log"
}
