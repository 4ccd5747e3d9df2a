#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# A device in dm-zoned's format mounts as one file, disk.

load common
load block

setup()
{
	common_setup
	requires_fuse
}

@test "the mount shows one file, as large as the chunks" {
	make_disk
	mount_disk
	same "$(ls "$MNT")" disk
	same "$DISK_SIZE" $((46 * 4 * M))
	same "$(stat -c '%a %u %g %F %o' "$DISK")" "600 0 0 regular file 4096"
	same "$(stat -f -c '%S %s %b' "$MNT")" "4096 4096 $((DISK_SIZE / 4096))"
	same "$(stat -c %a "$MNT")" 555
}

@test "owner and permissions come from the options, and change until the unmount" {
	make_disk
	mount_disk uid=12,gid=34,perm=640
	same "$(stat -c '%a %u %g' "$DISK")" "640 12 34"
	chown 5:6 "$DISK"
	chmod 644 "$DISK"
	touch -d @1000 "$DISK"
	same "$(stat -c '%a %u %g %Y' "$DISK")" "644 5 6 1000"
	remount_disk
	same "$(stat -c '%a %u %g' "$DISK")" "600 0 0"
}

@test "a disk that was never written reads as zeros" {
	make_disk
	mount_disk
	zeros 0 "$DISK_SIZE"
}

@test "what is written is read, by this daemon and by the next" {
	make_disk
	mount_disk
	random_file "$T/r" $((20 * M))
	put "$T/r" 0
	put "$T/r" $((101 * M)) oflag=direct,seek_bytes
	put "$T/r" $((DISK_SIZE - 20 * M))
	for _ in 1 2; do
		holds "$T/r" 0
		holds "$T/r" $((101 * M))
		holds "$T/r" $((DISK_SIZE - 20 * M))
		zeros $((50 * M)) $((20 * M))
		remount_disk
	done
	umount_device
	zonefsctl check "$DEV"
}

@test "writes and reads of any place and length" {
	make_disk
	mount_disk
	random_file "$T/r" $((3 * M))
	cp "$T/r" "$T/want"
	put "$T/r" $((4 * M))
	for at in 1 511 4095 4097 65537 1000003; do
		head -c $((at % 9000 + 1)) "$T/r" >"$T/part"
		put "$T/part" $((4 * M + at))
		dd if="$T/part" of="$T/want" oflag=seek_bytes seek=$at conv=notrunc status=none
	done
	# Across the border of a chunk.
	put "$T/part" $((8 * M - 17))
	holds "$T/want" $((4 * M))
	holds "$T/part" $((8 * M - 17))
	expect "0 5" zio "open:O_RDONLY:$DISK" read:10@$((DISK_SIZE - 5))
	expect "0 0" zio "open:O_RDONLY:$DISK" read:10@$((DISK_SIZE + 5))
}

@test "the end of the disk is that of a block device" {
	make_disk
	mount_disk
	expect "0 5 ENOSPC ENOSPC" zio "open:O_WRONLY:$DISK" write:10@$((DISK_SIZE - 5)) \
		write:10@"$DISK_SIZE" write:1@$((DISK_SIZE + 12345))
	expect "0 ENOSPC" zio "open:O_WRONLY,O_APPEND:$DISK" write:10
	same "$(size_of "$DISK")" "$DISK_SIZE"
}

@test "its size does not change, and O_TRUNC is ignored" {
	make_disk
	mount_disk
	random_file "$T/r" $((4 * M))
	cp "$T/r" "$DISK"
	holds "$T/r" 0
	expect "EINVAL EINVAL" zio truncate:4096:"$DISK" truncate:$((DISK_SIZE + 1)):"$DISK"
	expect "0 EINVAL EINVAL 0" zio "open:O_RDWR:$DISK" ftruncate:0 ftruncate:4096 \
		ftruncate:"$DISK_SIZE"
	: >"$DISK"
	holds "$T/r" 0
	same "$(size_of "$DISK")" "$DISK_SIZE"
}

@test "many writes at once" {
	requires_program fio
	make_disk
	mount_disk
	fio --name=w --filename="$DISK" --size=100M --rw=randwrite --bs=4k --io_size=20M \
		--ioengine=libaio --iodepth=64 --direct=1 --verify=crc32c --do_verify=1 \
		--verify_fatal=1 --verify_state_save=0 --output="$T/fio"
	fio --name=w --filename="$DISK" --offset=100M --size=60M --rw=randwrite \
		--bsrange=512-300k --bs_unaligned --ioengine=psync --numjobs=1 \
		--verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 --output="$T/fio"
}

@test "fallocate discards and zeroes" {
	make_disk
	mount_disk
	random_file "$T/r" $((12 * M))
	put "$T/r" 0
	fallocate -p -o 4M -l 4M "$DISK"
	zeros $((4 * M)) $((4 * M))
	fallocate -p -o 1000 -l 10000 "$DISK"
	zeros 1000 10000
	fallocate -z -n -o 100000 -l 100 "$DISK"
	zeros 100000 100
	fallocate -z -o $((9 * M)) -l $((M + 1)) "$DISK"
	zeros $((9 * M)) $((M + 1))
	cp "$T/r" "$T/want"
	for range in 4194304:4194304 1000:10000 100000:100 $((9 * M)):$((M + 1)); do
		fallocate -z -n -o "${range%:*}" -l "${range#*:}" "$T/want"
	done
	holds "$T/want" 0
	remount_disk
	holds "$T/want" 0
	# All of it has room; more there is not. FALLOC_FL_KEEP_SIZE is 1.
	expect "0 0 ENOSPC 0 0 EOPNOTSUPP" zio "open:O_RDWR:$DISK" fallocate:0,0,"$DISK_SIZE" \
		fallocate:0,4096,"$DISK_SIZE" fallocate:1,4096,"$DISK_SIZE" \
		fallocate:3,$((DISK_SIZE - 4096)),1M fallocate:8,0,1M
	same "$(size_of "$DISK")" "$DISK_SIZE"
}

@test "copy_file_range copies within the disk" {
	make_disk
	mount_disk
	random_file "$T/r" $((9 * M))
	put "$T/r" 0
	expect "0 $((20 * M)) $((9 * M))" zio "open:O_RDWR:$DISK" seek:20M,set \
		copyrange:9M:"$DISK"
	holds "$T/r" $((20 * M))
	expect "0 $((40 * M + 5)) 70001" zio "open:O_RDWR:$DISK" seek:$((40 * M + 5)),set \
		copyrange:70001:"$DISK"
	head -c 70001 "$T/r" >"$T/part"
	holds "$T/part" $((40 * M + 5))
	expect "0 1000 EINVAL" zio "open:O_RDWR:$DISK" seek:1000,set copyrange:4096:"$DISK"
	expect "0 $DISK_SIZE ENOSPC" zio "open:O_RDWR:$DISK" seek:"$DISK_SIZE",set \
		copyrange:4096:"$DISK"
	[[ $(stat_counter copies) -ge 2 ]]
}

@test "the whole disk is data" {
	make_disk
	mount_disk
	expect "0 4096 $DISK_SIZE ENXIO" zio "open:O_RDONLY:$DISK" seek:4096,data \
		seek:4096,hole seek:"$DISK_SIZE",hole
}

@test "nothing can be made, moved or removed" {
	make_disk
	mount_disk
	expect "EPERM EPERM EPERM EPERM EPERM EPERM EPERM" zio mkdir:"$MNT/x" mknod:"$MNT/x" \
		symlink:"$MNT/x" unlink:"$DISK" rename:"$DISK:$MNT/x" link:"$DISK:$MNT/x" \
		rmdir:"$MNT/.zonefsd"
	expect "ENOENT ENOTDIR" zio open:O_RDONLY:"$MNT/seq" open:O_RDONLY:"$DISK/x"
}

@test "fsync and O_DSYNC survive the daemon and a power cut" {
	make_disk
	mount_disk powercut
	random_file "$T/r" $((6 * M))
	put "$T/r" 0 conv=notrunc,fsync
	put "$T/r" $((60 * M)) oflag=dsync,seek_bytes
	expect ok ctl inject power-cut
	may_log 'error|read-only|not be on the device|rror'
	umount_device || :
	mount_disk
	holds "$T/r" 0
	holds "$T/r" $((60 * M))
	put "$T/r" $((80 * M)) conv=notrunc,fsync
	kill_daemon
	mount_disk
	holds "$T/r" $((80 * M))
	umount_device
	zonefsctl check "$DEV"
}

@test "a flush that fails is told to everyone who has it open for writing, once" {
	make_disk
	mount_disk
	may_log 'error|read-only|not be on the device|rror'
	expect ok ctl inject error flush all EIO count=1000
	random_file "$T/r" 4096
	out=$(zio "open:O_RDWR:$DISK" "open:O_RDWR:$DISK" "open:O_RDONLY:$DISK" write:4096@0 \
		fd:0 write:4096@0 fsync fd:1 close fd:2 close)
	same "$out" "0 0 0 EBADF 0 4096 EIO 0 EIO 0 0"
}

@test "a read-only mount reads, and writes nothing to the device" {
	make_disk
	mount_disk
	random_file "$T/r" $((5 * M))
	put "$T/r" $((7 * M))
	umount_device
	before=$(fingerprint "$DEV")
	mount_disk ro
	mount_is_ro
	holds "$T/r" $((7 * M))
	expect EROFS zio "open:O_RDWR:$DISK"
	grep -qx 'read_only 1' "$MNT/.zonefsd/info"
	umount_device
	same "$(fingerprint "$DEV")" "$before" "the device was written to"
}

@test "it is remounted read-only and back" {
	make_disk
	mount_disk
	random_file "$T/r" 100000
	put "$T/r" 0
	zio "open:O_WRONLY:$DISK" "touch:$T/open" "await:$T/go" >/dev/null &
	zio "await:$T/open"
	no mount.fuse.zonefsd "$DEV" "$MNT" -o remount,ro
	no mount_is_ro
	refused 32 "mount.fuse.zonefsd: $MNT: cannot be remounted with errors=zone-ro" \
		mount.fuse.zonefsd "$DEV" "$MNT" -o remount,errors=zone-ro
	put "$T/r" 200000
	touch "$T/go"
	wait $!
	mount.fuse.zonefsd "$DEV" "$MNT" -o remount,ro
	mount_is_ro
	grep -qx 'read_only 1' "$MNT/.zonefsd/info"
	expect EROFS zio "open:O_WRONLY:$DISK"
	holds "$T/r" 200000
	mount_writable
	no mount_is_ro
	put "$T/r" 300000
	holds "$T/r" 300000
}

@test "options of zonefs are refused with one line" {
	make_disk
	for opt in errors=zone-ro errors=repair explicit-open strict append_buffer=1M \
			buffers=1M flush_interval=3; do
		refused 1 "zonefsd: .*$opt.*no meaning for a disk" zonefsd -o "$opt" "$DEV" "$MNT"
	done
	refused 2 'zonefsd: .*zoned' zonefsd -o zoned "$DEV" "$MNT"
	refused 2 'zonefsd: zoned=: needs the path' zonefsd -o zoned= "$DEV" "$MNT"
	unchanged refused 1 'zonefsd: .*nosuch' zonefsd -o zoned="$T/nosuch" "$DEV" "$MNT"
	mount_disk errors=remount-ro,no_passthrough,noatime
}

@test "the control files tell of the disk" {
	make_disk
	mount_disk
	same "$(attribute version)" "$(zonefsd --version | cut -d' ' -f2)"
	grep -qx 'format dm-zoned' "$MNT/.zonefsd/info"
	grep -qx "disk_size $DISK_SIZE" "$MNT/.zonefsd/info"
	same "$(head -1 "$MNT/.zonefsd/stats")" \
		"status 64 zones 0/0 cache 14/14 random 32/32 sequential"
	same "$(wc -l <"$MNT/.zonefsd/zones")" 64
	no grep -vqE '^[a-z_]+ ([0-9]+|64 zones .*)$' "$MNT/.zonefsd/stats"
	same "$(ls -A "$MNT/.zonefsd" | wc -l)" 6
}

@test "zonefsctl shows a mounted disk" {
	make_disk
	mount_disk
	zonefsctl stat "$MNT" | head -1 | grep -qx '64 zones 0/0 cache 14/14 random 32/32 sequential'
	zonefsctl stat --json "$MNT" | jq -e '.stats | .status == "64 zones 0/0 cache 14/14 random 32/32 sequential"
		and .random_all == 14 and .read_only == false and .mapped_chunks == 0'
	zonefsctl info "$MNT" | grep -qE '^format +dm-zoned$'
	zonefsctl info --json "$MNT" | jq -e '.format == "dm-zoned" and .nr_zones == 64'
	same "$(zonefsctl report "$MNT")" "$(cat "$MNT/.zonefsd/zones")"
	zonefsctl report --json "$MNT" | jq -e '.zones | length == 64'
}

@test "zone commands would destroy the disk and are refused" {
	expect_log 'reset refused'
	expect_log 'finish refused'
	make_disk
	mount_disk
	for cmd in reset finish open close seal; do
		expect EPERM ctl "$cmd" 20
	done
	refused 1 'zonefsctl: .*: reset 20: would destroy the disk' zonefsctl reset -z 20 "$MNT"
	expect EINVAL ctl nonsense
	expect ok ctl sync
}

@test "reclaim by hand frees random zones" {
	make_disk
	mount_disk
	random_file "$T/r" $((2 * M))
	# Not from the start of a chunk, so into random zones.
	for chunk in 1 2 3 4; do
		put "$T/r" $(((4 * chunk + 1) * M))
	done
	same "$(stat_counter random_free)" 10
	same "$(awk '$1 == "state" { print $2 }' "$MNT/.zonefsd/reclaim")" idle
	echo >"$MNT/.zonefsd/reclaim"
	expect ok ctl sync
	same "$(stat_counter random_free)" 14
	[[ $(stat_counter reclaim_move) -ge 4 ]]
	for chunk in 1 2 3 4; do
		holds "$T/r" $(((4 * chunk + 1) * M))
	done
	remount_disk
	holds "$T/r" $((17 * M))
	echo now >"$MNT/.zonefsd/reclaim"
	expect ok ctl reclaim
	# An empty line is one, but no command.
	no bash -c "echo >'$MNT/.zonefsd/ctl'"
}

@test "more is written than the random zones hold" {
	make_disk
	mount_disk
	random_file "$T/r" $((M + 4096))
	for ((chunk = 0; chunk < 46; chunk++)); do
		put "$T/r" $(((4 * chunk + 2) * M - 8192))
	done
	for ((chunk = 0; chunk < 46; chunk++)); do
		holds "$T/r" $(((4 * chunk + 2) * M - 8192))
	done
	remount_disk
	for ((chunk = 0; chunk < 46; chunk++)); do
		holds "$T/r" $(((4 * chunk + 2) * M - 8192))
	done
	umount_device
	zonefsctl check "$DEV"
}

@test "SIGTERM unmounts, and everything is on the device" {
	make_disk
	mount_disk
	random_file "$T/r" $((5 * M))
	put "$T/r" 12345
	kill -TERM "$DAEMON"
	wait "$DAEMON"
	no grep -q " $MNT " /proc/mounts
	mount_disk
	holds "$T/r" 12345
}

@test "a killed daemon leaves nothing that hangs, and the helper clears the mount" {
	make_disk
	mount_disk
	random_file "$T/r" $((5 * M))
	put "$T/r" 4096 conv=notrunc,fsync
	dd if=/dev/zero of="$DISK" bs=1M seek=40 conv=notrunc oflag=direct status=none \
		count=100000 2>/dev/null 3>&- &
	writer=$!
	sleep 0.3
	{ kill -9 "$DAEMON"; wait "$DAEMON"; } 2>/dev/null || :
	wait "$writer" || :
	no ls "$MNT"
	mount.fuse.zonefsd "$DEV" "$MNT" 3>&-
	awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info" >>"$T/daemons"
	DISK=$MNT/disk
	holds "$T/r" 4096
}

@test "umount returns the daemon's status when the last commit fails" {
	make_disk
	may_log 'rror|read-only|not be on the device'
	mount.fuse.zonefsd "$DEV" "$MNT" 3>&-
	awk '$1 == "pid" { print $2 }' "$MNT/.zonefsd/info" >>"$T/daemons"
	DISK=$MNT/disk
	random_file "$T/r" 5000
	put "$T/r" 0
	expect ok ctl inject error flush all EIO count=1000
	run umount.fuse.zonefsd "$MNT"
	[ "$status" -ne 0 ]
	[[ $output == *umount.fuse.zonefsd* ]]
	no grep -q " $MNT " /proc/mounts
}

@test "a regular device in front takes the random writes" {
	create_device --capacity 256M --zone-size 4M --conv-zones 0
	truncate -s 40M "$T/front"
	zonefsctl mkfs -t dmzoned "$T/front" "$DEV"
	refused 1 'zonefsd: .*one of several.*-o zoned=DEV' zonefsd "$DEV" "$MNT"
	mount_disk zoned="$DEV" "$T/front"
	head -1 "$MNT/.zonefsd/stats" |
		grep -qE '^status 74 zones [0-9]+/8 cache 0/0 random [0-9]+/[0-9]+ sequential$'
	grep -qx "zoned_devices $(realpath "$DEV")" "$MNT/.zonefsd/info"
	same "$(wc -l <"$MNT/.zonefsd/zones")" 74
	same "$(zonefsctl report "$MNT" | wc -l)" 74
	random_file "$T/r" $((5 * M))
	put "$T/r" $((9 * M + 512))
	umount_device
	mount_disk zoned="$DEV" "$T/front"
	holds "$T/r" $((9 * M + 512))
	refused 1 'zonefsd: .*' zonefsd -o zoned="$DEV" "$T/front" "$T/mnt2"
}

@test "devices that do not make the disk are refused with one line each" {
	create_device --capacity 64M --zone-size 4M --conv-zones 0
	for n in second other; do
		zonefsctl create --layout "$LAYOUT" --capacity 64M --zone-size 4M --conv-zones 0 "$T/$n"
	done
	truncate -s 40M "$T/front" "$T/blank"
	zonefsctl mkfs -t dmzoned -o seq=3 "$T/front" "$DEV" "$T/second"
	cp -a "$T/front" "$T/was"
	refuses() { unchanged refused 1 "zonefsd: $T/$1" zonefsd -o "$2" "$T/$3" "$MNT"; }
	refuses 'front: is the first of several.*, name the zoned ones with -o zoned=DEV' rw front
	refuses 'blank: not a zoned device' rw blank
	refuses 'front: its disk has 42 zones, here are 26: a device is missing' zoned="$DEV" front
	refuses 'second: stands elsewhere in the disk of .*/front: name .* in the order' \
		"zoned=$T/second,zoned=$DEV" front
	refuses 'second: is named twice' "zoned=$DEV,zoned=$T/second,zoned=$T/second" front
	refuses 'second: is named twice' zoned="$T/second" second
	refuses 'other: has no super block of dm-zoned' "zoned=$DEV,zoned=$T/other" front
	refuses 'blank: holds no dm-zoned format' "zoned=$DEV,zoned=$T/second" blank
	zonefsctl mkfs -t dmzoned -o seq=3 "$T/blank" "$T/other"
	refuses 'other: belongs to another disk than .*/front' "zoned=$DEV,zoned=$T/other" front
	truncate -s 36M "$T/front"
	refuses 'front: its disk has 42 zones, here are 41: .* not as large as it was' \
		"zoned=$DEV,zoned=$T/second" front
	cp "$T/was" "$T/front"
	mount_disk "zoned=$DEV,zoned=$T/second" "$T/front"
}

@test "the daemon keeps its memory, and a fixed number of threads" {
	make_disk
	mount_disk
	threads=$(awk '$1 == "Threads:" { print $2 }' "/proc/$DAEMON/status")
	dd if=/dev/zero of="$DISK" bs=1M count=64 oflag=direct conv=notrunc status=none
	writers=()
	for _ in 1 2 3 4 5 6 7 8; do
		dd if=/dev/zero of="$DISK" bs=4K count=500 conv=notrunc status=none 3>&- &
		writers+=($!)
	done
	wait "${writers[@]}"
	same "$(awk '$1 == "Threads:" { print $2 }' "/proc/$DAEMON/status")" "$threads"
	[[ -z $ZONEFSD_WRAPPER ]] || skip "needs the daemon alone"
	locked=$(awk '$1 == "VmLck:" { print $2 }' "/proc/$DAEMON/status")
	[[ $locked -gt 40000 ]] || skip "needs the right to lock memory"
	# Bit 24, CAP_SYS_RESOURCE.
	((16#$(awk '$1 == "CapEff:" { print $2 }' /proc/self/status) >> 24 & 1)) ||
		skip "needs the right to be spared by the kernel"
	same "$(cat "/proc/$DAEMON/oom_score_adj")" -1000
}
