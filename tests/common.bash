# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What every suite uses. A test has a private directory $T that is cleaned up,
# mounts, loop devices and daemons included, also when the test fails.
#
#   LAYOUT   dir or image: what make_device makes
#   BUILD    where the programs are
#   ZONEFSD_WRAPPER  words put before the daemon: valgrind, setarch -R ...
#
# A daemon's output goes to $T/daemon.log. Lines there that tell of an error
# fail the test, unless it said expect_log PATTERN.

TESTS=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
: "${BUILD:=$TESTS/../build}" "${LAYOUT:=image}" "${ZONEFSD_WRAPPER:=}"
BUILD=$(cd "$BUILD" && pwd)
PATH=$BUILD:$BUILD/support:$PATH:/usr/sbin:/sbin
export PATH LC_ALL=C BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}

# A teardown may run without its setup, when a run is stopped at that moment: with
# an empty T everything on the machine would be below "$T/".
T=${BATS_TEST_TMPDIR:-/nonexistent}

K=1024
M=$((1024 * 1024))
export K M

# The geometry of make_device without options: 8 zones of 4 MiB holding 3 MiB,
# zone 0 for the super block, cnv/0 and cnv/1, seq/0 to seq/4 (zones 3 to 7).
DEFAULT_GEOMETRY=(--capacity 32M --zone-size 4M --zone-capacity 3M --conv-zones 3)
CAP=$((3 * M))
export CAP

setup()
{
	common_setup
}

teardown()
{
	common_teardown
}

common_setup()
{
	T=${BATS_TEST_TMPDIR:?}
	# Tests that become another user must be able to reach their files.
	chmod 755 "$BATS_RUN_TMPDIR" "$T"
	MNT=$T/mnt
	DEV=
	DAEMON=
	mkdir "$MNT"
	: >"$T/daemon.log"
	: >"$T/daemons"
	: >"$T/expected-log"
}

# In setup: a random sequence, SEED's; the output of a test that failed tells it.
seed_random()
{
	: "${SEED:=$RANDOM$RANDOM}"
	echo "SEED=$SEED"
	RANDOM=$((SEED % 32768))
}

# All that a test can leave behind, most dependent first.
common_teardown()
{
	local status=0 dev pid

	for dev in $(losetup -l -n -O NAME,BACK-FILE 2>/dev/null |
			awk -v t="$T/" 'index($2, t) == 1 { print $1 }'); do
		awk -v d="$dev" '$3 == d || $1 == d { print $2 }' /proc/mounts |
			xargs -r -n 1 umount -l
		# An automatic one went with its mount.
		losetup -d "$dev" 2>/dev/null
	done
	awk -v t="$T/" 'index($2, t) == 1 { print $2 }' /proc/mounts | sort -r |
		xargs -r -n 1 umount -l
	while read -r pid; do
		end_daemon "$pid"
	done <"$T/daemons"
	check_log || status=1
	return $status
}

# A daemon whose mount is gone ends by itself; help it if it does not.
end_daemon()
{
	local i

	for i in {1..200}; do
		is_ours "$1" || return 0
		if [[ $i == 100 ]]; then
			echo "daemon $1 does not end; its mount is seen by:"
			grep -l " $T/" /proc/[0-9]*/mountinfo 2>/dev/null
			kill "$1"
		fi
		sleep 0.05
	done
	kill -9 "$1" 2>/dev/null
}

# A number that is free again soon belongs to another process, of another test.
is_ours()
{
	grep -qzF "$T/" "/proc/$1/cmdline" 2>/dev/null
}

# Not one that has ended and waits for its parent.
is_running()
{
	[[ -e /proc/$1/stat ]] && ! grep -q ') Z ' "/proc/$1/stat" 2>/dev/null
}

# expect_log REGEX: lines like this may be in the daemon's log, and one must be.
expect_log()
{
	printf '%s\n' "$1" >>"$T/expected-log"
}

# may_log REGEX: lines like this may be in the daemon's log.
may_log()
{
	printf '?%s\n' "$1" >>"$T/expected-log"
}

# valgrind does not know fspick(2), by which the daemon turns its mount read-only.
without_valgrind()
{
	if [[ $ZONEFSD_WRAPPER == valgrind* ]]; then
		grep -v 'cannot remount read-only: Function not implemented'
	else
		cat
	fi
}

check_log()
{
	local bad allowed re

	while read -r re; do
		[[ $re == \?* ]] || grep -qE "$re" "$T/daemon.log" || {
			echo "the daemon's log has no line like: $re"
			cat "$T/daemon.log"
			return 1
		}
	done <"$T/expected-log"
	allowed=$(sed 's/^?//' "$T/expected-log")
	bad=$(grep -iE 'error|fail|cannot|corrupt|damaged|sanitizer|assert' "$T/daemon.log" |
		grep -vE 'ERROR SUMMARY: 0 errors|errors=' | without_valgrind |
		if [[ $allowed ]]; then grep -vE "$allowed"; else cat; fi)
	[[ -z $bad ]] || {
		echo "the daemon's log:"
		cat "$T/daemon.log"
		return 1
	}
}

# ---- what a test needs ----

requires_root()
{
	[[ $EUID == 0 ]] || skip "needs root"
}

requires_program()
{
	type -P "$1" >/dev/null || skip "needs the program $1"
}

requires_fuse()
{
	requires_root
	[[ -c /dev/fuse ]] || skip "needs /dev/fuse"
}

requires_loop()
{
	requires_root
	[[ -c /dev/loop-control ]] || skip "needs loop devices"
}

requires_mkfs()
{
	requires_program "mkfs.$1"
	grep -qw "$1" /proc/filesystems || skip "needs a kernel with $1"
}

# requires_space BYTES: in the scratch directory.
requires_space()
{
	local free

	free=$(($(stat -f -c '%a * %S' "$T")))
	((free >= $1)) || skip "needs $(($1 / M)) MiB in $T"
}

# ---- devices and mounts ----

# Name $DEV for the layout, without making it.
name_device()
{
	if [[ $LAYOUT == dir ]]; then DEV=$T/dev; else DEV=$T/dev.img; fi
}

# create_device [OPTION...]: an unformatted device $DEV.
create_device()
{
	(($#)) || set -- "${DEFAULT_GEOMETRY[@]}"
	name_device
	zonefsctl create --layout "$LAYOUT" "$@" "$DEV"
}

# make_device [OPTION...] [-- MKFS OPTION...]: $DEV, formatted.
make_device()
{
	local create=()

	while (($#)) && [[ $1 != -- ]]; do
		create+=("$1")
		shift
	done
	create_device "${create[@]}"
	zonefsctl mkfs "${@:2}" "$DEV"
}

# mount_device [OPTIONS] [DEV [MNT]]: the daemon, in the foreground as our child.
mount_device()
{
	local dev=${2:-$DEV} mnt=${3:-$MNT}

	requires_fuse
	mkdir -p "$mnt"
	# shellcheck disable=SC2086 # the wrapper is several words
	$ZONEFSD_WRAPPER "$BUILD/zonefsd" -f ${1:+-o "$1"} "$dev" "$mnt" \
		>>"$T/daemon.log" 2>&1 3>&- &
	DAEMON=$!
	echo "$DAEMON" >>"$T/daemons"
	await_mount "$mnt" "$DAEMON"
}

# Until the daemon answers, not only until the mount is there.
await_mount()
{
	until mountpoint -q "$1" && [[ -e $1/.zonefsd/version ]]; do
		is_running "$2" || {
			echo "the daemon ended:"
			cat "$T/daemon.log"
			return 1
		}
		sleep 0.02
	done
}

# Make, format and mount with mount options $1 and create options from $2 on.
make_mount()
{
	local opts=${1:-}

	shift || :
	make_device "$@"
	mount_device "$opts"
}

# The daemon's exit status is the result: 0 when all went to the device.
umount_device()
{
	umount "$MNT"
	wait "$DAEMON"
	DAEMON=
}

remount_device()
{
	umount_device
	mount_device "$@"
}

# As a crash does: no chance to write anything.
kill_daemon()
{
	# Without the shell's own line about it.
	{
		kill -9 "$DAEMON"
		wait "$DAEMON"
	} 2>/dev/null || :
	DAEMON=
	umount -l "$MNT"
}

# ctl WORDS: one line to the mount's ctl file. Prints ok or the errno's name.
ctl()
{
	local out

	out=$(zio "open:O_WRONLY:$MNT/.zonefsd/ctl" "text:$*")
	case $out in
	"0 "[0-9]*) echo ok ;;
	"0 "*) echo "${out#0 }"; return 1 ;;
	*) echo "open: ${out%% *}"; return 1 ;;
	esac
}

# remount,rw as mount(8) does it: on a read-only mount ctl cannot be opened.
mount_writable()
{
	mount.fuse.zonefsd "$DEV" "$MNT" -o remount,rw
}

# ---- looking ----

size_of()
{
	stat -c %s "$1"
}

mode_of()
{
	stat -c %a "$1"
}

stat_counter()
{
	awk -v n="$1" '$1 == n { print $2 }' "$MNT/.zonefsd/stats"
}

attribute()
{
	cat "$MNT/.zonefsd/$1"
}

mount_is_ro()
{
	awk -v m="$MNT" '$2 == m { print $4 }' /proc/mounts | grep -qE '^ro(,|$)'
}

# zone_cond ZONE [DEV]: the condition as blkzone names it: em oi oe cl fu ro of nw.
zone_cond()
{
	zonefsctl report -o "$(($1 * $(zone_sectors "${2:-$DEV}")))" -c 1 "${2:-$DEV}" |
		sed -n 's/.*zcond:\([0-9 ]*\)(\(..\)).*/\2/p'
}

# zone_wp ZONE [DEV]: bytes from the start of the zone.
zone_wp()
{
	local sect

	sect=$(zonefsctl report -o "$(($1 * $(zone_sectors "${2:-$DEV}")))" -c 1 "${2:-$DEV}" |
		sed -n 's/.*wptr \(0x[0-9a-f]*\).*/\1/p')
	echo $((sect * 512))
}

zone_sectors()
{
	zonefsctl report -c 1 "$1" | sed -n 's/.* len \(0x[0-9a-f]*\).*/\1/p' |
		{ read -r n; echo $((n)); }
}

# ---- asking and expecting ----

# expect WANT COMMAND...: the command's whole output.
expect()
{
	local want=$1 got

	shift
	got=$("$@" 2>&1) || :
	[[ $got == "$want" ]] || {
		printf 'ran:      %s\nexpected: %s\ngot:      %s\n' "$*" "$want" "$got"
		return 1
	}
}

# same GOT WANT [WHAT]
same()
{
	[[ $1 == "$2" ]] || {
		printf 'expected: %s\ngot:      %s%s\n' "$2" "$1" "${3:+  ($3)}"
		return 1
	}
}

# no COMMAND...: it must fail. (A "!" line does not fail a test.)
no()
{
	if "$@"; then
		echo "succeeded: $*"
		return 1
	fi
}

# refused STATUS REGEX COMMAND...: exit status, one line on stderr that matches,
# nothing on stdout.
refused()
{
	local want=$1 re=$2 status=0

	shift 2
	"$@" >"$T/stdout" 2>"$T/stderr" 3>&- || status=$?
	if [[ $status != "$want" || $(wc -l <"$T/stderr") != 1 || -s $T/stdout ]] ||
			! grep -qE -- "$re" "$T/stderr"; then
		printf 'ran:      %s\nexpected: status %s, one line like: %s\n' "$*" "$want" "$re"
		printf 'got:      status %s\n' "$status"
		cat "$T/stdout" "$T/stderr"
		return 1
	fi
}

# A checksum of everything a device is made of, to show that nothing was written.
# The access times of the files are no part of it.
fingerprint()
{
	if [[ -d $1 ]]; then
		(cd "$1" && find . -type f -printf '%p %s %m\n' | sort &&
			find . -type f -print0 | sort -z | xargs -0 cat) | sha256sum
	else
		{ stat -c '%s %a' "$1"; cat "$1"; } | sha256sum
	fi
}

# unchanged COMMAND...: run it, and prove that it wrote nothing to $DEV.
unchanged()
{
	local before

	before=$(fingerprint "$DEV")
	"$@"
	same "$(fingerprint "$DEV")" "$before" "the device was written to"
}

# pattern_file PATH BYTES [SEED]: a file whose content zio can check.
pattern_file()
{
	: >"$1"
	expect "0 $2" zio "open:O_WRONLY:$1" "fill:$2,seed=${3:-0}"
}

# fill_direct FILE BYTES: strict mode's way to write, from position 0.
fill_direct()
{
	expect "0 $2" zio "open:O_WRONLY,O_DIRECT:$1" "fill:$2"
}

# flip_byte FILE OFFSET: invert all its bits.
flip_byte()
{
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %02x $((255 - byte)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# put_bytes FILE OFFSET HEX
put_bytes()
{
	# shellcheck disable=SC2059 # the format is the bytes
	printf "$(echo "$3" | sed 's/../\\x&/g')" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
