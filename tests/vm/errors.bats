#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Z12 against the kernel: a zone goes bad, or changes behind the mount's back, and
# what follows is compared step by step, for each errors= option and for each call
# that may meet it first. Without STRESS=1, the first call that a test names meets
# every option, each of the others meets one.

load common

OPTIONS=(remount-ro zone-ro zone-offline repair)

# The configfs folder of a null_blk, and the first sector of the zone of seq/0.
folder()
{
	echo "$NULLB/${1#/dev/}"
}
ZONE=2		# of seq/0: zone_nr_conv=2
ZONE_SECT=$((ZONE * 8192))

fault_ahead()
{
	dd if=/dev/zero of="$1" bs=4096 seek=$((ZONE_SECT / 8 + 2)) count=1 oflag=direct \
		conv=notrunc status=none
}

fault_behind()
{
	blkzone reset --force -o $ZONE_SECT -c 1 "$1"
	dd if=/dev/zero of="$1" bs=4096 seek=$((ZONE_SECT / 8)) count=1 oflag=direct \
		conv=notrunc status=none
}

# Not writable where the file ends, with all else in order.
fault_io()
{
	echo "+$((ZONE_SECT + 16))-$((ZONE_SECT + 31))" >"$(folder "$1")/badblocks"
}

# Nor readable where the data are.
fault_read()
{
	echo "+$ZONE_SECT-$((ZONE_SECT + 31))" >"$(folder "$1")/badblocks"
}

fault_readonly()
{
	echo $ZONE_SECT >"$(folder "$1")/zone_readonly"
}

fault_offline()
{
	echo $ZONE_SECT >"$(folder "$1")/zone_offline"
}

# try WORDS: a step and what came of it.
try()
{
	echo "$1: $(zio "${@:2}")"
}

look()
{
	stat -c '  %n %s %a %b' "$1/seq/0" "$1/seq/1"
	stat -f -c '  blocks %b free %f' "$1"
}

# steps MNT DEVICE FAULT FIRST: 8192 bytes in seq/0, the fault, FIRST meets it.
steps()
{
	local mnt=$1 file=$1/seq/0

	try fill "open:O_WRONLY,O_DIRECT:$file" write:8192 "open:O_WRONLY,O_DIRECT:$mnt/seq/1" \
		write:4096
	"fault_$3" "$2"
	case $4 in
	write) try first "open:O_WRONLY,O_DIRECT:$file" write:4096@8192 write:4096@8192 ;;
	append) try first "open:O_WRONLY,O_DIRECT,O_APPEND:$file" write:8192 write:4096 ;;
	dsync) try first "open:O_RDWR,O_DIRECT,O_DSYNC:$file" write:4096@8192 read:4096@0 ;;
	aio) try first "open:O_WRONLY,O_DIRECT:$file" aio:4096@8192,n=1 aio:4096@8192,n=1 ;;
	read) try first "open:O_RDONLY,O_DIRECT:$file" read:4096@0 read:4096@4096 ;;
	buffered) try first "open:O_RDONLY:$file" read:4096@0 read:100@4096 ;;
	fsync) try first "open:O_WRONLY,O_DIRECT:$file" fsync write:4096@8192 fsync ;;
	truncate) try first "truncate:0:$file" "open:O_WRONLY,O_DIRECT:$file" write:4096@0 ;;
	finish) try first "truncate:4194304:$file" "open:O_WRONLY,O_DIRECT:$file" write:4096@0 ;;
	esac
	look "$mnt"
	try again "open:O_WRONLY,O_DIRECT:$file" write:4096@8192 fsync
	try read "open:O_RDONLY,O_DIRECT:$file" read:4096@0
	try other "open:O_WRONLY,O_DIRECT:$mnt/seq/1" write:4096@4096
	try chmod "chmod:600:$file" "chmod:600:$mnt/seq/1"
	try reset "truncate:0:$file" "open:O_WRONLY,O_DIRECT:$file" write:4096@0
	look "$mnt"
}

# forced FAULT FIRST: makes of what the kernel does what FUSE forces on us.
forced()
{
	# The client repeats a buffered read whose readahead failed, and the file has lost
	# its access in between: the caller sees the errno of the second one.
	if [[ $1 == offline && $2 == buffered ]]; then
		sed 's/^first: 0 EIO EPERM$/first: 0 EPERM EPERM/'
	else
		cat
	fi
}

# options_for N: of the Nth call of a test, by turns.
options_for()
{
	if [[ $1 == 0 || ${STRESS:-} ]]; then
		echo "${OPTIONS[@]}"
	else
		echo "${OPTIONS[$1 % 4]}"
	fi
}

# against_kernel FAULT FIRST...: on new devices each time.
against_kernel()
{
	local option first n=0 status=0

	may_log .
	for first in "${@:2}"; do
		for option in $(options_for $n); do
			make_nullb size=24 zone_nr_conv=2
			KDEV=$DEV
			make_nullb size=24 zone_nr_conv=2
			zonefsctl mkfs "$KDEV" >/dev/null
			zonefsctl mkfs "$DEV" >/dev/null
			kernel_mount "errors=$option" "$KDEV"
			mount_device "strict,errors=$option"
			steps "$KMNT" "$KDEV" "$1" "$first" | sed "s,$KMNT/,," |
				forced "$1" "$first" >"$T/kernel.out"
			steps "$MNT" "$DEV" "$1" "$first" | sed "s,$MNT/,," >"$T/ours.out"
			diff "$T/kernel.out" "$T/ours.out" >"$T/diff" || {
				echo "errors=$option, $1, first met by $first:"
				cat "$T/kernel.out" "$T/diff"
				status=1
			}
			kernel_umount
			umount "$MNT"
			wait "$DAEMON" || :
			rmdir "$(folder "$KDEV")" "$(folder "$DEV")"
		done
		n=$((n + 1))
	done
	return $status
}

@test "Z12: written behind the mount's back" {
	against_kernel ahead write append read fsync aio
}

@test "Z12: reset and written less behind the mount's back" {
	against_kernel behind write read dsync
}

@test "Z12: a write error on a good zone" {
	against_kernel io write append dsync aio
}

@test "Z12: a read error on a good zone" {
	against_kernel read read buffered
}

@test "Z12: the zone turns read-only" {
	against_kernel readonly write append read buffered fsync truncate finish
}

@test "Z12: the zone goes offline" {
	against_kernel offline write append read buffered fsync truncate finish
}

see_bad()
{
	local mnt=$1

	stat -c '%n %s %a %b' "$mnt"/*/* | sed "s,$mnt/,,"
	stat -f -c 'blocks %b free %f' "$mnt"
	try seq "open:O_RDWR,O_DIRECT:$mnt/seq/0" read:4096@0 write:4096@0
	try cnv "open:O_RDWR,O_DIRECT:$mnt/cnv/0" read:4096@0 write:4096@0
	try reading "open:O_RDONLY:$mnt/seq/0" read:4096@0
	try chmod "chmod:777:$mnt/seq/0" "chmod:777:$mnt/cnv/0"
}

# bad_at_mount FAULT: Z3's last table, for a sequential zone; null_blk lets no
# conventional one go bad.
bad_at_mount()
{
	make_nullb size=24 zone_nr_conv=2
	KDEV=$DEV
	make_nullb size=24 zone_nr_conv=2
	for dev in "$KDEV" "$DEV"; do
		zonefsctl mkfs "$dev" >/dev/null
		"fault_$1" "$dev"
	done
	kernel_mount "" "$KDEV"
	mount_device strict
	see_bad "$KMNT" >"$T/kernel.out"
	see_bad "$MNT" >"$T/ours.out"
	cat "$T/kernel.out"
	diff "$T/kernel.out" "$T/ours.out"
	kernel_umount
	umount "$MNT"
	wait "$DAEMON" || :
}

@test "Z3: a zone that is read-only at mount" {
	may_log .
	bad_at_mount readonly
}

@test "Z3: a zone that is offline at mount" {
	may_log .
	bad_at_mount offline
}
