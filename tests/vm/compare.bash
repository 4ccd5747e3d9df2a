# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# The kernel's zonefs on one device, zonefsd -o strict on its twin, one random sequence
# of operations on both: see tests/support/zcompare.c.
#
#   SEED   of the sequences, printed (a random one)
#   STEPS  of each sequence (2000; with STRESS 20000)

: "${SEED:=$((RANDOM * 32768 + RANDOM))}" "${STEPS:=${STRESS:+20000}}" "${STEPS:=2000}"
SYSFS=/sys/fs/zonefs
[[ ! ${STRESS:-} ]] || BATS_TEST_TIMEOUT=7200

# twins MAKER ARGUMENT...: two devices alike, KDEV and DEV.
twins()
{
	"$@"
	KDEV=$DEV
	"$@"
}

# format_twins [OPTION...]: the kernel's by its own tool where there is one.
format_twins()
{
	if mkzonefs --version >/dev/null 2>&1; then
		mkzonefs -f "$@" "$KDEV"
	else
		zonefsctl mkfs -f "$@" "$KDEV"
	fi
	zonefsctl mkfs -f "$@" "$DEV"
}

# compare [OPTIONS]: mount both with these options, compare, unmount both.
compare()
{
	local opts=${1:-}

	mount -t zonefs ${opts:+-o "$opts"} "$KDEV" "$KMNT"
	mount_device "strict${opts:+,$opts}"
	zcompare -s "$SEED" -n "$STEPS" -k "$SYSFS/${KDEV#/dev/}" "$KMNT" "$MNT"
	umount "$KMNT"
	umount_device
	SEED=$((SEED + 1))
}
