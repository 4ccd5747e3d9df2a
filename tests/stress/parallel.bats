#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Many clients at once, for a daemon under the thread sanitizer: writers, readers,
# truncates, reports, admin commands, remounts. SECONDS_EACH seconds a test (10;
# make stress: 120).

load ../common

: "${SECONDS_EACH:=$([[ ${STRESS:-} ]] && echo 120 || echo 10)}"
export BATS_TEST_TIMEOUT=$((SECONDS_EACH * 5 + 120))

setup()
{
	common_setup
	requires_fuse
}

# for_a_while COMMAND...: again and again, in the background, errors allowed.
for_a_while()
{
	(
		end=$((SECONDS + SECONDS_EACH))
		while ((SECONDS < end)); do
			"$@" || :
		done
	) >/dev/null 2>&1 3>&- &
	JOBS+=($!)
}

# writer N: append, fsync, read back, reset; says what was wrong.
writer()
{
	local f=$MNT/seq/$1 seed=$RANDOM out

	out=$(zio "open:O_WRONLY,O_TRUNC:$f" "fill:200000,unit=7777,seed=$seed" fsync \
		"open:O_RDONLY:$f" "read:300000@0,check=1,seed=$seed")
	[[ $out == "0 200000 0 0 200000" ]] || echo "seq/$1: $out" >>"$T/wrong"
}

direct_writer()
{
	local f=$MNT/seq/$1 seed=$RANDOM out

	out=$(zio "truncate:0:$f" "open:O_WRONLY,O_DIRECT:$f" "fill:262144,unit=8192,seed=$seed" \
		"open:O_RDONLY,O_DIRECT:$f" "read:524288@0,check=1,seed=$seed")
	[[ $out == "0 0 262144 0 262144" ]] || echo "seq/$1: $out" >>"$T/wrong"
}

shared_append()
{
	echo "a line of process $BASHPID" >>"$MNT/seq/4"
}

conventional()
{
	local at=$((RANDOM * 64)) seed=$RANDOM

	zio "open:O_RDWR:$MNT/cnv/0" "write:5000@$at,seed=$seed" fsync
}

reader()
{
	cat "$MNT/seq/$((RANDOM % 5))" "$MNT/cnv/0"
}

mapper()
{
	zio "open:O_RDONLY:$MNT/seq/$((RANDOM % 5))" map:65536,r,shared load:0
}

looker()
{
	ls -l "$MNT" "$MNT/seq" "$MNT/cnv"
	stat -f "$MNT"
	cat "$MNT"/.zonefsd/{stats,zones,lengths,info,nr_wro_seq_files}
	zonefsctl report "$MNT"
}

admin()
{
	zonefsctl finish -z 9 "$MNT"
	zonefsctl reset -z 9 "$MNT"
	zonefsctl open -z 9 "$MNT"
	zonefsctl close -z 9 "$MNT"
	printf sync >"$MNT/.zonefsd/ctl"
	printf 'remount errors=zone-ro' >"$MNT/.zonefsd/ctl"
}

load_on_mount()
{
	JOBS=()
	for_a_while writer 0
	for_a_while writer 1
	for_a_while direct_writer 2
	for_a_while direct_writer 3
	for_a_while shared_append
	for_a_while shared_append
	for_a_while conventional
	for_a_while reader
	for_a_while mapper
	for_a_while looker
	for_a_while admin
	for_a_while truncate -s 0 "$MNT/seq/4"
	wait "${JOBS[@]}"
	[[ ! -e $T/wrong ]] || { head "$T/wrong"; return 1; }
}

geometry=(--capacity 40M --zone-size 4M --zone-capacity 3M --conv-zones 2)

@test "parallel load on a mount of the default personality" {
	make_mount "" "${geometry[@]}"
	load_on_mount
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "parallel load with open limits and explicit-open" {
	make_mount explicit-open "${geometry[@]}" --max-open-zones 6 --max-active-zones 8
	load_on_mount
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "parallel load while zones fail" {
	may_log .
	make_mount errors=repair "${geometry[@]}"
	for z in 2 3 4 5 6; do
		expect ok ctl inject error write $z EIO skip=20 count=0
	done
	expect ok ctl inject error flush all EIO skip=50 count=3
	load_on_mount || :
	for z in 2 3 4 5 6; do
		expect ok ctl inject error write $z 0
	done
	expect ok ctl inject error flush all 0
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "unmount under load: killed clients, then SIGTERM" {
	make_mount "" "${geometry[@]}"
	for_a_while writer 0
	for_a_while reader
	for_a_while looker
	sleep 2
	kill -TERM "$DAEMON"
	wait "${JOBS[@]}" || :
	umount -l "$MNT" 2>/dev/null || :
	wait "$DAEMON" || :
	expect "$DEV: sound" zonefsctl check "$DEV"
}
