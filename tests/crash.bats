#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# kill -9 of the daemon, and power cuts, at random moments under a writer that
# fsyncs now and then. ROUNDS rounds (10; make stress: 200); SEED repeats a run.

load common

: "${ROUNDS:=10}"
export BATS_TEST_TIMEOUT=$((ROUNDS * 20 + 60))
geometry=(--capacity 64M --zone-size 4M --zone-capacity 3M --conv-zones 2)

setup()
{
	common_setup
	requires_fuse
	seed_random
}

# rounds KIND OPTIONS [MIX]: KIND kill or power; MIX of zcrash.
rounds()
{
	local i writer files

	make_device "${geometry[@]}"
	mount_device "$2"
	files=("$MNT"/seq/{0,1,2,3,4,5})
	for ((i = 1; i <= ROUNDS; i++)); do
		zcrash write "$T/state" $((SEED + i)) 3600 "${3:-any}" "${files[@]}" \
			>"$T/writer" 2>&1 3>&- &
		writer=$!
		sleep "0.$(printf %03d $((RANDOM % 700)))"
		if [[ $1 == kill ]]; then
			kill_daemon
		else
			expect ok ctl inject power-cut
		fi
		wait "$writer" && no grep "no crash" "$T/writer" ||
			{ echo "round $i:"; cat "$T/writer" "$T/daemon.log"; return 1; }
		if [[ $1 == power ]]; then
			umount "$MNT"
			wait "$DAEMON" || :
		fi
		mount_device "$2"
		zcrash verify "$T/state" "$1" "${files[@]}" ||
			{ echo "round $i:"; cat "$T/writer"; return 1; }
	done
}

@test "kill -9, default personality: every acknowledged append is there" {
	rounds kill ""
}

@test "kill -9, strict: every acknowledged write is there" {
	rounds kill strict direct
}

@test "power cut, default personality: what fsync covered is there, of the rest a prefix" {
	may_log .
	rounds power powercut
}

@test "power cut, strict: what fsync covered is there, of the rest a prefix" {
	may_log .
	rounds power powercut,strict direct
}

@test "kill -9 while zones are reset and finished through ctl" {
	make_device "${geometry[@]}"
	for ((i = 1; i <= ROUNDS; i++)); do
		mount_device
		(
			while :; do
				for z in 2 3 4 5; do
					echo "$i data" >>"$MNT/seq/$((z - 2))" || exit 0
					zonefsctl finish -z $z "$MNT" || exit 0
					zonefsctl reset -z $z "$MNT" || exit 0
				done
			done
		) >/dev/null 2>&1 3>&- &
		admin=$!
		sleep "0.$(printf %03d $((RANDOM % 400)))"
		kill_daemon
		wait "$admin" || :
		# A line that was written and not closed yet is still in the arena.
		run zonefsctl check "$DEV"
		same "$(grep -v -e ' wait in arena ' -e ': problems: 1$' -e ': sound$' \
			<<<"$output")" ""
	done
}

@test "a second power cut right after the first loses nothing more" {
	may_log .
	make_device "${geometry[@]}"
	mount_device powercut
	expect "0 5000 0" zio "open:O_WRONLY:$MNT/seq/0" write:5000 fsync
	for _ in 1 2 3; do
		expect ok ctl inject power-cut
		umount "$MNT"
		wait "$DAEMON" || :
		mount_device powercut
		expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
		same "$(size_of "$MNT/seq/0")" 5000
	done
}

@test "after a power cut every operation fails until the device is opened again" {
	may_log .
	make_device "${geometry[@]}"
	mount_device powercut
	expect ok ctl inject power-cut
	run zio "open:O_WRONLY:$MNT/seq/0" write:4096 fsync
	[[ $output != *" 4096 0"* ]]
	umount "$MNT"
	wait "$DAEMON" && false || :
	mount_device
	same "$(size_of "$MNT/seq/0")" 0
}
