#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Z12 against the kernel: a zone goes bad, or changes behind the mount's back, or the
# way to the device fails, and what follows is compared step by step, for each errors=
# option and for each call that may meet it first. Without STRESS=1, the first call
# that a test of null_blk names meets every option, each other call one, by turns.

load common

OPTIONS=(remount-ro zone-ro zone-offline repair)

# The configfs folder of a null_blk, and the first sector of the zone of seq/0.
folder()
{
	echo "$NULLB/${1#/dev/}"
}
ZONE=2		# of seq/0: zone_nr_conv=2
ZONE_SECT=$((ZONE * 8192))	# zones of 4 MiB

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

# ---- a device-mapper path that fails; mend_X ends what fault_X began ----

# path DEVICE DOWN [FEATURE]: it is all right, or it fails what the feature says.
path()
{
	local dev=/dev/nullb${1#/dev/dm-} up=86400 down=0

	[[ $2 == up ]] || { up=0 down=86400; }
	dmsetup load --noudevsync "flakey${1#/dev/dm-}" \
		--table "0 $(blockdev --getsz "$dev") flakey $dev 0 $up $down ${3:+1 $3}"
	dmsetup suspend --noudevsync --noflush --nolockfs "flakey${1#/dev/dm-}"
	dmsetup resume --noudevsync "flakey${1#/dev/dm-}"
}

fault_path_writes()
{
	path "$1" down error_writes
}

fault_path_reads()
{
	path "$1" down error_reads
}

fault_path()
{
	path "$1" down
}

mend_path_writes()
{
	path "$1" up
}

mend_path_reads()
{
	path "$1" up
}

mend_path()
{
	path "$1" up
}

# ---- a disk that fails commands ----

# commands DEVICE: where scsi_debug is told which ones.
commands()
{
	local id

	id=$(readlink -f "/sys/block/${1#/dev/}/device")
	echo "/sys/kernel/debug/scsi_debug/${id##*/}/error"
}

# fail DEVICE OPCODE KEY ASC: with this sense, every time.
fail()
{
	echo "2 1 $2 0 0 2 $3 $4 0" >"$(commands "$1")"
}

mend_commands()
{
	local op

	for op in 0x88 0x8a 0x91 0x94 0x95; do
		# Refused where there is no such rule.
		echo "- 2 $op" >"$(commands "$1")" || :
	done 2>/dev/null
}

fault_medium()
{
	fail "$1" 0x8a 3 0x11	# WRITE(16): medium error
}

fault_hardware()
{
	fail "$1" 0x88 4 0x44	# READ(16): hardware error
}

fault_cache()
{
	fail "$1" 0x91 4 0x44	# SYNCHRONIZE CACHE(16)
}

# A failed write of which nobody knows how far it came.
fault_report()
{
	fail "$1" 0x8a 3 0x11
	fail "$1" 0x95 4 0x44	# REPORT ZONES
}

fault_command()
{
	fail "$1" 0x94 4 0x44	# RESET WRITE POINTER and the like
}

mend_medium()
{
	mend_commands "$1"
}

mend_hardware()
{
	mend_commands "$1"
}

mend_cache()
{
	mend_commands "$1"
}

mend_report()
{
	mend_commands "$1"
}

mend_command()
{
	mend_commands "$1"
}

# ---- two devices alike, KDEV and DEV, new ones or as new ----

twins_nullb()
{
	make_nullb size=24 zone_nr_conv=2 "$@"
	KDEV=$DEV
	make_nullb size=24 zone_nr_conv=2 "$@"
}

gone_nullb()
{
	rmdir "$(folder "$KDEV")" "$(folder "$DEV")"
}

# The null_blk's number is the one of the device on top of it, too.
make_flakey()
{
	make_nullb size=24 zone_nr_conv=2
	n=${DEV#/dev/nullb}
	dmsetup create --noudevsync "flakey$n" \
		--table "0 $(blockdev --getsz "$DEV") flakey $DEV 0 86400 0"
	DEV=/dev/dm-$n
	await_device
}

twins_flakey()
{
	local n

	if [[ ! ${DEVS:-} ]]; then
		requires_program dmsetup
		modprobe -a dm-mod dm-flakey
		make_flakey
		KDEV=$DEV
		make_flakey
		DEVS=("$KDEV" "$DEV")
	fi
	blkzone reset "$KDEV"
	blkzone reset "$DEV"
}

gone_flakey()
{
	path "$KDEV" up
	path "$DEV" up
}

twins_scsi()
{
	if [[ ! ${DEVS:-} ]]; then
		make_scsi_debug 2 dev_size_mb=24 zone_nr_conv=2
		mountpoint -q /sys/kernel/debug || mount -t debugfs debug /sys/kernel/debug
		[[ -e $(commands "${DEVS[0]}") ]] || skip "needs a kernel with SCSI fault injection"
		KDEV=${DEVS[0]} DEV=${DEVS[1]}
	fi
	blkzone reset "$KDEV"
	blkzone reset "$DEV"
}

gone_scsi()
{
	mend_commands "$KDEV"
	mend_commands "$DEV"
}

teardown()
{
	local n status=0

	common_teardown || status=1
	for n in 0 1; do
		[[ ! -e /dev/dm-$n ]] || dmsetup remove --noudevsync "flakey$n"
	done
	vm_teardown || status=1
	return $status
}

# ---- step by step ----

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
	! declare -F "mend_$3" >/dev/null || "mend_$3" "$2"
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
	if [[ ($1 == 0 && ! ${TWINS:-}) || ${STRESS:-} ]]; then
		echo "${OPTIONS[@]}"
	else
		echo "${OPTIONS[$1 % 4]}"
	fi
}

# against_kernel FAULT FIRST...: on new devices of the kind TWINS each time.
against_kernel()
{
	local option first n=0 status=0 twins=${TWINS:-nullb}

	may_log .
	for first in "${@:2}"; do
		for option in $(options_for $n); do
			"twins_$twins"
			zonefsctl mkfs -f "$KDEV" >/dev/null
			zonefsctl mkfs -f "$DEV" >/dev/null
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
			"gone_$twins"
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

@test "Z12: the path fails writes" {
	TWINS=flakey against_kernel path_writes write dsync aio append
}

@test "Z12: the path fails reads" {
	TWINS=flakey against_kernel path_reads read buffered
}

@test "Z12: the path fails both" {
	TWINS=flakey against_kernel path append fsync write read
}

@test "Z12: a medium error of a write" {
	TWINS=scsi against_kernel medium write append aio dsync
}

@test "Z12: a hardware error of a read" {
	TWINS=scsi against_kernel hardware read buffered
}

@test "Z12: the disk's cache cannot be written back" {
	TWINS=scsi against_kernel cache fsync dsync
}

@test "Z12: a write error, and no zone report" {
	TWINS=scsi against_kernel report write append dsync aio
}

@test "Z10: a zone command fails" {
	TWINS=scsi against_kernel command truncate finish
}

# ---- under load ----

# Nothing can be written behind the first MiB.
fault_io_ahead()
{
	echo "+$((ZONE_SECT + 2048))-$((ZONE_SECT + 16383))" >"$(folder "$1")/badblocks"
}

# many WORD: 250 times
many()
{
	yes "$1" | head -n 250
}

errnos()
{
	tr ' ' '\n' <"$1" | grep -v '^[0-9]' | sort -u | tr '\n' ' '
}

# under_load MNT DEVICE FAULT OUT: two writers append to seq/0, which the fault hits, another
# one to seq/1, and both files are read. What came of it, but for when. A shell of its
# own, which has no children but these.
under_load()
(
	local file=$1/seq/0 other=$1/seq/1 out=$4 acked i

	mkdir "$out"
	# shellcheck disable=SC2046 # many words
	{
		zio "open:O_WRONLY,O_DIRECT:$file" write:4096 "open:O_WRONLY,O_DIRECT:$other" \
			write:4096 >"$out/fill"
		for i in 1 2; do
			zio "open:O_WRONLY,O_DIRECT,O_APPEND:$file" $(many write:4096) >"$out/w$i" &
		done
		zio "open:O_WRONLY,O_DIRECT,O_APPEND:$other" $(many write:4096) >"$out/other" &
		zio "open:O_RDONLY,O_DIRECT:$file" $(many read:4096@0) >"$out/read" &
		zio "open:O_RDONLY,O_DIRECT:$other" $(many read:4096@0) >"$out/otherread" &
	} 3>&-
	until (($(stat -c %s "$file") > 200000)); do
		sleep 0.05
	done
	"fault_$3" "$2"
	wait
	acked=$(cat "$out"/w[12] | tr ' ' '\n' | grep -c '^4096$')
	# A lost zone: whether a writer or the reader meets it first is a matter of chance.
	if [[ $(stat -c %a "$file") == 0 ]]; then
		echo "all: $(errnos <(cat "$out"/w[12] "$out/read"))"
	else
		echo "writers: $(errnos <(cat "$out"/w[12]))"
		echo "reader: $(errnos "$out/read")"
	fi
	echo "other writer: $(errnos "$out/other")"
	echo "other reader: $(errnos "$out/otherread")"
	case $(stat -c %s "$file") in
	0) echo "nothing" ;;
	$(((acked + 1) * 4096))) echo "what was acknowledged" ;;
	*) echo "$(stat -c %s "$file") bytes, $(((acked + 1) * 4096)) acknowledged" ;;
	esac
	stat -c '%a' "$file" "$other"
	try chmod "chmod:600:$1/seq/2"
)

# loaded FAULT OPTION...: each takes 2 ms to write or read.
loaded()
{
	local option status=0 ZONE_SECT=$((ZONE * 16384))

	may_log .
	for option in "${@:2}"; do
		twins_nullb size=48 zone_size=8 irqmode=2 completion_nsec=2000000
		zonefsctl mkfs -f "$KDEV" >/dev/null
		zonefsctl mkfs -f "$DEV" >/dev/null
		kernel_mount "errors=$option" "$KDEV"
		mount_device "strict,errors=$option"
		rm -rf "$T/of-kernel" "$T/of-ours"
		under_load "$KMNT" "$KDEV" "$1" "$T/of-kernel" >"$T/kernel.out" 3>&- &
		under_load "$MNT" "$DEV" "$1" "$T/of-ours" >"$T/ours.out"
		wait $!
		diff "$T/kernel.out" "$T/ours.out" >"$T/diff" || {
			echo "errors=$option, $1 under load:"
			cat "$T/kernel.out" "$T/diff"
			status=1
		}
		kernel_umount
		umount "$MNT"
		wait "$DAEMON" || :
		gone_nullb
	done
	return $status
}

# some OPTION...: those, or with STRESS all.
some()
{
	[[ ${STRESS:-} ]] && echo "${OPTIONS[@]}" || echo "$@"
}

@test "Z12 under load: the zone turns read-only" {
	# shellcheck disable=SC2046 # several words
	loaded readonly $(some remount-ro)
}

@test "Z12 under load: the zone goes offline" {
	# shellcheck disable=SC2046
	loaded offline $(some repair)
}

@test "Z12 under load: write errors" {
	# shellcheck disable=SC2046
	loaded io_ahead $(some zone-ro zone-offline)
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

# bad_at_mount FAULT: Z3's last table, for a sequential zone. No device that a kernel
# here can make has a bad conventional one: null_blk refuses, scsi_debug sets no such
# condition, dm-flakey fails calls and changes no condition, and NVMe's zones are all
# sequential. tests/unit has them.
bad_at_mount()
{
	twins_nullb
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
