#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# A full file system beneath: ENOSPC, with write pointer and data consistent.

load common

setup()
{
	common_setup
	requires_fuse
}

# A small file system for the device at $T/small.
small_tmpfs()
{
	mkdir "$T/small"
	mount -t tmpfs -o size=8M tmpfs "$T/small"
}

small_ext4()
{
	requires_loop
	requires_mkfs ext4
	mkdir "$T/small"
	truncate -s 16M "$T/small.ext4"
	mkfs.ext4 -q -m 0 "$T/small.ext4"
	mount -o loop "$T/small.ext4" "$T/small"
}

make_there()
{
	if [[ $LAYOUT == dir ]]; then DEV=$T/small/dev; else DEV=$T/small/dev.img; fi
	zonefsctl create --layout "$LAYOUT" --capacity 128M --zone-size 16M --conv-zones 2 "$DEV"
	zonefsctl mkfs "$DEV"
}

# fill_up OPTIONS: append until ENOSPC, then read everything back.
fill_up()
{
	local out got

	mount_device "$1"
	may_log 'No space left|ENOSPC|zone|seq/'
	out=$(zio "open:O_WRONLY${2:-}:$MNT/seq/0" "fill:$((16 * M)),unit=65536" size)
	[[ $out == "0 "*"+ENOSPC "* ]] || { echo "got: $out"; false; }
	got=$(size_of "$MNT/seq/0")
	# All that was acknowledged is there, and at most one request more.
	written=${out#0 }
	written=${written%%+*}
	((got >= written && got <= written + 65536)) || { echo "$out, size $got"; false; }
	expect "0 $got" zio "open:O_RDONLY:$MNT/seq/0" "read:$((16 * M))@0,check=1"
}

# A directory has to write down that it is clean: no room for that is an error too.
unmount_full()
{
	umount "$MNT"
	wait "$DAEMON" || grep -q 'No space left' "$T/daemon.log"
}

again()
{
	local got

	got=$(size_of "$MNT/seq/0")
	unmount_full
	mount_device "$1"
	# Where the size was kept (Z12), the zone may have more.
	[[ $1 == *repair ]] || got=$(zone_wp 2 "$MNT")
	same "$(size_of "$MNT/seq/0")" "$got"
	expect "0 $got" zio "open:O_RDONLY:$MNT/seq/0" "read:$((16 * M))@0,check=1"
}

@test "a full tmpfs: appends stop with ENOSPC, what is there is right" {
	small_tmpfs
	make_there
	fill_up errors=repair
	again errors=repair
}

@test "a full ext4: appends stop with ENOSPC, what is there is right" {
	small_ext4
	make_there
	fill_up errors=repair
	again errors=repair
}

@test "a full file system under strict direct writes" {
	small_ext4
	make_there
	fill_up strict,errors=repair ,O_DIRECT
	again strict,errors=repair
}

@test "with the default errors= the mount turns read-only, and is right after a new mount" {
	small_tmpfs
	make_there
	fill_up strict ,O_DIRECT
	expect EROFS zio "open:O_WRONLY:$MNT/seq/1"
	again strict
}

@test "a reset makes room again" {
	small_tmpfs
	make_there
	fill_up errors=repair
	expect 0 zio "truncate:0:$MNT/seq/0"
	expect "0 $M" zio "open:O_WRONLY:$MNT/seq/1" "fill:$M,seed=2"
	expect "0 $M" zio "open:O_RDONLY:$MNT/seq/1" "read:$((2 * M))@0,seed=2,check=1"
}

@test "a full file system under a conventional zone is ENOSPC too" {
	small_tmpfs
	make_there
	mount_device errors=repair
	may_log 'No space left|ENOSPC|zone|cnv/'
	out=$(zio "open:O_WRONLY,O_DIRECT:$MNT/cnv/0" "fill:$((16 * M)),unit=65536")
	[[ $out == "0 "*"+ENOSPC" ]] || { echo "got: $out"; false; }
	written=${out#0 }
	expect "0 ${written%%+*}" zio "open:O_RDONLY:$MNT/cnv/0" "read:${written%%+*}@0,check=1"
}

@test "create on a full disk fails with one line and leaves nothing" {
	small_tmpfs
	head -c 8M /dev/zero >"$T/small/fill" || :
	DEV=$T/small/dev
	refused 1 'zonefsctl: .*No space left' zonefsctl create --layout "$LAYOUT" \
		--capacity 64G --zone-size 1M --conv-zones 0 "$DEV"
	[ ! -e "$DEV" ]
}

@test "a tail on a full disk is kept or refused, never lost" {
	small_tmpfs
	make_there
	mount_device errors=repair
	may_log 'No space left|ENOSPC|zone|seq/'
	pattern_file "$MNT/seq/1" 5000 1
	head -c 8M /dev/zero >"$T/small/fill" || :
	zio "open:O_WRONLY,O_APPEND:$MNT/seq/1" write:100,at=5000,seed=1 || :
	got=$(size_of "$MNT/seq/1")
	[[ $got == 5000 || $got == 5100 ]]
	expect "0 $got" zio "open:O_RDONLY:$MNT/seq/1" read:9000@0,seed=1,check=1
	rm "$T/small/fill"
	remount_device errors=repair
	same "$(size_of "$MNT/seq/1")" "$got"
	expect "0 $got" zio "open:O_RDONLY:$MNT/seq/1" read:9000@0,seed=1,check=1
}

small_xfs()
{
	requires_loop
	requires_mkfs xfs
	mkdir "$T/small"
	truncate -s 320M "$T/small.xfs"
	mkfs.xfs -q -m reflink=1 "$T/small.xfs" || skip "needs XFS with reflink"
	mount -o loop "$T/small.xfs" "$T/small" || skip "needs XFS in the kernel"
}

@test "a copy that shares its blocks meets a full file system without a crash" {
	[[ $LAYOUT == image ]] || skip "a directory has no table"
	small_xfs
	make_there
	cp --reflink=always "$DEV" "$T/small/copy"
	DEV=$T/small/copy
	# To the last block: in large pieces, then in small ones.
	dd if=/dev/zero of="$T/small/filler" bs=1M 2>/dev/null || :
	dd if=/dev/zero of="$T/small/filler2" bs=4k 2>/dev/null || :
	mount_device
	may_log 'No space left|ENOSPC'
	expect "0 ENOSPC" zio "open:O_WRONLY:$MNT/seq/0" write:4096
	is_running "$DAEMON"
	rm "$T/small/filler"
	expect "0 4096" zio "open:O_WRONLY:$MNT/seq/0" write:4096
	remount_device
	same "$(size_of "$MNT/seq/0")" 4096
	umount_device
	zonefsctl check "$DEV"
}
