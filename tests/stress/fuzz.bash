# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# Damaged devices: no crash, no hang, nothing out of bounds, whatever tool looks at
# them. ROUNDS random devices a test, more or less (200; make stress: 5000); SEED
# repeats them.

: "${ROUNDS:=$([[ ${STRESS:-} ]] && echo 5000 || echo 200)}"
export BATS_TEST_TIMEOUT=$((ROUNDS * 5 + 60))

setup()
{
	common_setup
	# Their own status would look like an ordinary failure.
	export ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=halt_on_error=1:exitcode=99
	seed_random
	make_device --capacity 32M --zone-size 4M --zone-capacity 3M --conv-zones 1
	zonefsctl finish -z 3 "$DEV"
	cp -a --sparse=always "$DEV" "$T/sound"
}

# Each tool ends by itself with 0 or 1.
looks_at()
{
	local status

	for args in info report "report --json" check "check --repair" "mkfs -f"; do
		status=0
		# shellcheck disable=SC2086 # several words
		timeout 20 zonefsctl $args "$DEV" >"$T/out" 2>&1 </dev/null || status=$?
		[[ $status == [01] ]] && no grep -E 'Sanitizer|runtime error' "$T/out" || {
			echo "round $1, zonefsctl $args: status $status"
			cat "$T/out"
			return 1
		}
	done
}

restore()
{
	rm -rf "$DEV"
	cp -a --sparse=always "$T/sound" "$DEV"
}

rounds()
{
	local i

	for ((i = 0; i < ROUNDS / ${2:-1}; i++)); do
		restore
		"$1"
		looks_at "$i"
	done
}
