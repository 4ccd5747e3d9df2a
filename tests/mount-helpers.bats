#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: image
# private-mounts
#
# mount(8), umount(8) and fstab through the helpers. mount(8) looks for helpers in
# /sbin only, so this suite runs in a mount namespace of its own (tests/run makes
# it), where /sbin is a copy with our programs in it.

load common

setup_file()
{
	[[ $EUID == 0 && -c /dev/fuse && ${PRIVATE_MOUNTS:-} ]] || return 0
	local sbin=$BATS_FILE_TMPDIR/sbin dir

	# A copy in memory: the original has a few megabytes of small programs.
	mkdir "$sbin"
	dir=$(realpath /sbin)
	cp -a "$dir/." "$sbin"
	for p in zonefsd zonefsctl zonefs-losetup mount.fuse.zonefsd umount.fuse.zonefsd; do
		install -m 755 "$BUILD/$p" "$sbin/$p"
	done
	mount --bind "$sbin" "$dir"
	# The records that umount(8) looks for, and a device node that users may open.
	mkdir -p /run/mount "$BATS_FILE_TMPDIR/utab"
	mount --bind "$BATS_FILE_TMPDIR/utab" /run/mount
	mknod "$BATS_FILE_TMPDIR/fuse" c 10 229
	chmod 666 "$BATS_FILE_TMPDIR/fuse"
	mount --bind "$BATS_FILE_TMPDIR/fuse" /dev/fuse
	# Users may let others see their mounts.
	[[ -e /etc/fuse.conf ]] || return 0
	echo user_allow_other >"$BATS_FILE_TMPDIR/fuse.conf"
	mount --bind "$BATS_FILE_TMPDIR/fuse.conf" /etc/fuse.conf
}

setup()
{
	common_setup
	requires_fuse
	[[ ${PRIVATE_MOUNTS:-} ]] || skip "needs tests/run, and a root directory that is a mount point"
	make_device
}

# The daemon that mount(8) left in the background; its log goes to syslog.
note_daemon()
{
	DAEMON=$(awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info")
	echo "$DAEMON" >>"$T/daemons"
}

mount_with()
{
	mount -t fuse.zonefsd "$@" 3>&-
	note_daemon
}

gone()
{
	no is_running "$1"
}

@test "mount -t fuse.zonefsd mounts, umount waits until all is on the device" {
	mount_with "$DEV" "$MNT"
	pattern_file "$MNT/seq/0" 100001
	umount "$MNT"
	gone "$DAEMON"
	expect "$DEV: sound" zonefsctl check "$DEV"
	mount_with "$DEV" "$MNT"
	expect "0 100001" zio "open:O_RDONLY:$MNT/seq/0" read:200000@0,check=1
}

@test "mount passes options to the daemon" {
	mount_with -o strict,errors=repair "$DEV" "$MNT"
	grep -qx 'personality strict' "$MNT/.zonefsd/info"
	grep -qx 'errors repair' "$MNT/.zonefsd/info"
}

@test "mount takes the options that mount(8) knows" {
	mount_with -o noatime,nosuid,nodev,noexec,rw "$DEV" "$MNT"
	grep -E " $MNT fuse.zonefsd " /proc/mounts | grep nosuid | grep nodev | grep -q noexec
}

@test "the mount shows the device's real path and our type" {
	ln -s "$DEV" "$T/link"
	mount_with "$T/link" "$MNT"
	same "$(findmnt -n -o SOURCE,FSTYPE "$MNT" | tr -s ' ')" "$(realpath "$DEV") fuse.zonefsd"
}

@test "an fstab line works: mount MNT, umount MNT" {
	echo "$DEV $MNT fuse.zonefsd errors=zone-ro,noauto 0 0" >"$T/fstab"
	mount -T "$T/fstab" "$MNT" 3>&-
	note_daemon
	grep -qx 'errors zone-ro' "$MNT/.zonefsd/info"
	umount "$MNT"
	gone "$DAEMON"
}

@test "mount fails with the daemon's line and a status of mount(8)" {
	run mount -t fuse.zonefsd -o nosuch "$DEV" "$MNT"
	[ "$status" -ne 0 ]
	[[ $output == *zonefsd*nosuch* ]]
	no mountpoint -q "$MNT"
	run mount -t fuse.zonefsd "$T/missing" "$MNT"
	[ "$status" -ne 0 ]
	[[ $output == *missing* ]]
}

@test "remount passes options to the daemon, which mount(2) cannot" {
	mount_with "$DEV" "$MNT"
	mount -o remount,errors=repair "$MNT"
	grep -qx 'errors repair' "$MNT/.zonefsd/info"
	mount -o remount,ro "$MNT"
	mount_is_ro
	grep -qx 'read_only 1' "$MNT/.zonefsd/info"
	run touch "$MNT/seq/0"
	[ "$status" -ne 0 ]
	mount -o remount,rw "$MNT"
	no mount_is_ro
	pattern_file "$MNT/seq/0" 100
}

@test "remount with a bad option changes nothing" {
	mount_with -o errors=zone-ro "$DEV" "$MNT"
	run mount -o remount,errors=panic "$MNT"
	[ "$status" -ne 0 ]
	grep -qx 'errors zone-ro' "$MNT/.zonefsd/info"
	run mount -o remount,nosuch "$MNT"
	[ "$status" -ne 0 ]
}

@test "remount,ro with a file open for writing is refused" {
	mount_with "$DEV" "$MNT"
	zio "open:O_WRONLY:$MNT/seq/0" "touch:$T/open" "await:$T/go" >/dev/null &
	zio "await:$T/open"
	run mount -o remount,ro "$MNT"
	[ "$status" -ne 0 ]
	no mount_is_ro
	touch "$T/go"
	wait $!
}

@test "a dead mount is cleared by mounting again with the same command" {
	mount_with "$DEV" "$MNT"
	pattern_file "$MNT/seq/0" 5000
	kill -9 "$DAEMON"
	until gone "$DAEMON"; do sleep 0.02; done
	run ls "$MNT"
	[ "$status" -ne 0 ]
	mount_with "$DEV" "$MNT"
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
	same "$(grep -c " $MNT fuse" /proc/mounts)" 1
}

@test "a dead mount of this device at another place is cleared too" {
	mkdir "$T/old"
	mount -t fuse.zonefsd "$DEV" "$T/old" 3>&-
	pid=$(awk '$1 == "pid" { print $2 }' "$T/old/.zonefsd/info")
	kill -9 "$pid"
	# The lock on the device goes a moment before the mount is dead.
	until gone "$pid" && ! stat "$T/old" >/dev/null 2>&1; do sleep 0.02; done
	mount_with "$DEV" "$MNT"
	no grep -q " $T/old " /proc/mounts
}

@test "a daemon that ended well leaves no run file, whoever unmounted" {
	mount_with "$DEV" "$MNT"
	[ -e "/run/zonefsd/$DAEMON.status" ]
	umount -i "$MNT"
	until gone "$DAEMON"; do sleep 0.02; done
	[ ! -e "/run/zonefsd/$DAEMON.status" ]
}

@test "umount of a dead mount takes it away" {
	mount_with "$DEV" "$MNT"
	kill -9 "$DAEMON"
	until gone "$DAEMON"; do sleep 0.02; done
	umount "$MNT" || umount -l "$MNT"
	no grep -q " $MNT " /proc/mounts
}

@test "umount of a busy mount fails and leaves it alone" {
	mount_with "$DEV" "$MNT"
	zio "open:O_WRONLY:$MNT/seq/0" "touch:$T/open" "await:$T/go" write:100 >"$T/out" &
	zio "await:$T/open"
	run umount "$MNT"
	[ "$status" -ne 0 ]
	touch "$T/go"
	wait $!
	expect "0 0 0 100" cat "$T/out"
}

@test "umount -l returns, and the daemon ends when the last file is closed" {
	mount_with "$DEV" "$MNT"
	zio "open:O_WRONLY:$MNT/seq/0" "touch:$T/open" "await:$T/go" write:5000 >"$T/out" &
	writer=$!
	zio "await:$T/open"
	umount -l "$MNT"
	is_running "$DAEMON"
	touch "$T/go"
	wait "$writer"
	expect "0 0 0 5000" cat "$T/out"
	for _ in {1..250}; do
		is_running "$DAEMON" || break
		sleep 0.02
	done
	gone "$DAEMON"
	mount_with "$DEV" "$MNT"
	same "$(size_of "$MNT/seq/0")" 5000
}

@test "umount returns the daemon's status when the last flush fails" {
	mount_with "$DEV" "$MNT"
	pattern_file "$MNT/seq/0" 5000
	expect ok ctl inject error flush all EIO
	run umount "$MNT"
	[ "$status" -ne 0 ]
	[[ $output == *umount.fuse.zonefsd*"$DEV"* || $output == *"$MNT"* ]]
	no grep -q " $MNT " /proc/mounts
}

@test "zonefsd in the background returns only when the mount works" {
	zonefsd "$DEV" "$MNT" 3>&-
	[ -e "$MNT/seq/0" ]
	note_daemon
	umount "$MNT"
	for _ in {1..250}; do
		is_running "$DAEMON" || break
		sleep 0.02
	done
	gone "$DAEMON"
}

@test "a device mounts again right after an unmount that did not wait" {
	for _ in 1 2 3 4 5; do
		zonefsd "$DEV" "$MNT" 3>&-
		note_daemon
		head -c 5000 /dev/zero >"$MNT/seq/0"
		umount -i "$MNT"
	done
}

@test "SIGTERM unmounts and leaves a clean device" {
	mount_device
	pattern_file "$MNT/seq/0" 5000
	kill -TERM "$DAEMON"
	wait "$DAEMON"
	no grep -q " $MNT " /proc/mounts
	mount_device
	expect "0 5000" zio "open:O_RDONLY:$MNT/seq/0" read:9000@0,check=1
}

@test "what took the place of a lazily unmounted mount is left alone" {
	mount_device
	exec 7<"$MNT/seq/0"
	umount -l -i "$MNT"
	mount -t tmpfs none "$MNT"
	kill -TERM "$DAEMON"
	wait "$DAEMON"
	exec 7<&-
	grep -q " $MNT tmpfs " /proc/mounts
	umount "$MNT"
	mount_device
}

@test "what is mounted over the mount is left alone at a signal and after an error" {
	expect_log 'cnv/0.*write: Input/output error'
	expect_log 'cnv/0.*file system is now read-only'
	mount_device
	exec 7<>"$MNT/cnv/0" 8<"$MNT/.zonefsd/stats" 9>"$MNT/.zonefsd/ctl"
	mount -t tmpfs none "$MNT"
	echo "inject error write 1 EIO" >&9
	no dd if=/dev/zero of=/dev/fd/7 bs=4096 count=1 conv=notrunc,fsync
	grep -q "^read_only 1" <&8
	exec 7<&- 8<&- 9<&-
	touch "$MNT/writable"
	kill -TERM "$DAEMON"
	wait "$DAEMON"
	[ -e "$MNT/writable" ]
	umount "$MNT"
	# Ours was beneath, and died with its daemon.
	umount -l -i "$MNT"
	mount_device
}

@test "after the mount the daemon has given up its capabilities and core dumps" {
	mount_device
	caps=$(awk '$1 == "CapEff:" { print $2 }' "/proc/$DAEMON/status")
	# At most CAP_SYS_ADMIN (bit 21) may be left.
	same $((16#$caps & ~(1 << 21))) 0 "CapEff $caps"
	same "$(awk '$1 == "CapPrm:" { print $2 }' "/proc/$DAEMON/status")" "$caps"
	grep -qE 'Max core file size +0 +0' "/proc/$DAEMON/limits" ||
		[ "$(stat -c %u "/proc/$DAEMON/mem")" -eq 0 ]
}

# ---- as a user ----

as_user()
{
	env XDG_RUNTIME_DIR="$T/run" setpriv --reuid 65534 --regid 65534 --clear-groups \
		--inh-caps=-all --bounding-set=+all "$@" 3>&-
}

requires_fusermount()
{
	requires_program fusermount3
	[[ -u $(type -P fusermount3) ]] || skip "needs fusermount3 to be setuid"
	[[ -e /etc/mtab ]] || skip "fusermount3 needs /etc/mtab, which is missing"
	mkdir "$T/run"
	chmod 755 "$T"
	chown -R 65534:65534 "$DEV" "$MNT" "$T/run"
}

@test "a user mounts through fusermount3, owns the files and unmounts" {
	requires_fusermount
	as_user "$BUILD/zonefsd" "$DEV" "$MNT"
	same "$(as_user stat -c %u:%g:%a "$MNT/seq/0")" 65534:65534:640
	as_user sh -c "echo text >'$MNT/seq/0'"
	same "$(as_user cat "$MNT/seq/0")" text
	pid=$(as_user awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info")
	same "$(awk '$1 == "Uid:" { print $2 }' "/proc/$pid/status")" 65534
	as_user fusermount3 -u "$MNT"
	for _ in {1..250}; do
		is_running "$pid" || break
		sleep 0.02
	done
	gone "$pid"
}

@test "a user's mount is closed to others, and its control file is the user's" {
	requires_fusermount
	as_user "$BUILD/zonefsd" "$DEV" "$MNT"
	run ls "$MNT"
	[ "$status" -ne 0 ]
	as_user zonefsctl finish -z 3 "$MNT"
	same "$(as_user stat -c %s "$MNT/seq/0")" "$CAP"
	as_user fusermount3 -u "$MNT"
}

@test "a user cannot mount a device that is not the user's" {
	requires_fusermount
	chown -R 0:0 "$DEV"
	chmod 600 "$DEV"
	refused 1 'zonefsd: .*dev.img.*Permission denied' as_user "$BUILD/zonefsd" "$DEV" "$MNT"
}

@test "umount does not wait for a process that is not the mounting user's" {
	requires_fusermount
	# One that root runs, and that does not end.
	sleep 100 3>&- &
	other=$!
	as_user zimpostor "$other" "$MNT" -oallow_other 3>&- &
	impostor=$!
	until mountpoint -q "$MNT" || ! is_running "$impostor"; do
		sleep 0.02
	done
	mountpoint -q "$MNT" || skip "users may not mount for others here"
	same "$(cat "$MNT/.zonefsd/info")" "pid $other"
	timeout 20 umount.fuse.zonefsd "$MNT"
	is_running "$other"
	kill "$other"
	wait "$impostor" || :
}
