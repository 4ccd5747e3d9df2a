# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# The kernel's zonefs on one device, zonefsd -o strict on its twin, one random sequence
# of operations on both: see tests/support/zcompare.c.
#
#   SEED   of the sequences, printed (1; with STRESS a random one)
#   COMPARE_OPTIONS  more options for it
#   STEPS  of each sequence (500; with STRESS 15000)

# One run of make check does what the other did: a difference that a new sequence
# finds is hardly the last change's.
: "${SEED:=${STRESS:+$((RANDOM * 32768 + RANDOM))}}" "${SEED:=1}"
: "${STEPS:=${STRESS:+15000}}" "${STEPS:=500}"
SYSFS=/sys/fs/zonefs
# Each sequence takes as long as it takes.
export BATS_TEST_TIMEOUT=$((STEPS > 900 ? STEPS : 900))

# note TEXT: for tests/run to print, although nothing failed.
note()
{
	echo "# note: $*" >&3
}

teardown_file()
{
	[[ ! -e $BATS_FILE_TMPDIR/steps ]] ||
		note "$(awk '{ n += $1 } END { print n }' "$BATS_FILE_TMPDIR/steps") steps in all"
}

# twins MAKER ARGUMENT...: two devices alike, KDEV and DEV.
twins()
{
	"$@"
	KDEV=$DEV
	"$@"
}

# The device just made is the kernel's.
kernel_has_it()
{
	KDEV=$DEV
}

# twins_of MAKER FIRST SECOND: two that differ in one argument.
twins_of()
{
	"$1" "$2"
	KDEV=$DEV
	"$1" "$3"
}

# format_twins [OPTION...]: the kernel's by its own tool where there is one.
format_twins()
{
	if mkzonefs --version >/dev/null 2>&1; then
		mkzonefs -f "$@" "$KDEV" >/dev/null
	else
		zonefsctl mkfs -f "$@" "$KDEV"
	fi
	zonefsctl mkfs -f "$@" "$DEV"
}

# compare [OPTIONS]: mount both with these options, compare, unmount both.
compare()
{
	local opts=${1:-} said

	mount -t zonefs ${opts:+-o "$opts"} "$KDEV" "$KMNT"
	mount_device "strict${opts:+,$opts}"
	said=$(zcompare -s "$SEED" -n "$STEPS" ${COMPARE_OPTIONS:-} \
		-k "$SYSFS/${KDEV#/dev/}" "$KMNT" "$MNT") || { echo "$said"; return 1; }
	note "$(grep -m 1 " steps" <<<"$said"): $BATS_TEST_DESCRIPTION${opts:+ ($opts)}"
	echo "$STEPS" >>"$BATS_FILE_TMPDIR/steps"
	umount "$KMNT"
	umount_device
	SEED=$((SEED + 1))
}
