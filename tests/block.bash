# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# For the suites of the block view: devices formatted for it.

# 64 zones of 4 MiB, the first 16 conventional: two for the metadata, 14 for data.
# Of the 48 sequential ones 16 are kept back, so that the disk has 46 chunks.
BLOCK_GEOMETRY=(--capacity 256M --zone-size 4M --conv-zones 16)

# make_disk [CREATE OPTION...] [-- MKFS OPTION...]: $DEV, formatted for block use.
make_disk()
{
	local create=()

	while (($#)) && [[ $1 != -- ]]; do
		create+=("$1")
		shift
	done
	((${#create[@]})) || create=("${BLOCK_GEOMETRY[@]}")
	create_device "${create[@]}"
	zonefsctl mkfs -t dmzoned "${@:2}" "$DEV"
}

# mount_disk [OPTIONS]: where the daemon may not have all that it asks for, it says so.
mount_disk()
{
	may_log 'the disk may stall when memory is short'
	mount_device "$@"
	DISK=$MNT/disk
	DISK_SIZE=$(size_of "$DISK")
	export DISK_SIZE
}

# Everything on the device, and a new daemon.
remount_disk()
{
	umount_device
	mount_disk "$@"
}

# random_file PATH BYTES: whose content does not compress or repeat.
random_file()
{
	head -c "$2" /dev/urandom >"$1"
}

# put FILE BYTE_OFFSET [DD OPERAND...]: write all of FILE to the disk there.
put()
{
	dd if="$1" of="$DISK" bs=64K oflag=seek_bytes seek="$2" conv=notrunc status=none "${@:3}"
}

# holds FILE BYTE_OFFSET: the disk has the content of FILE there.
holds()
{
	cmp -n "$(size_of "$1")" -i "0:$2" "$1" "$DISK"
}

# zeros BYTE_OFFSET BYTES: the disk has nothing but zeros there.
zeros()
{
	cmp -n "$2" -i "0:$1" /dev/zero "$DISK"
}

# ---- loop devices ----

# attach ARGUMENT...: prints nothing, sets $LOOP.
attach()
{
	LOOP=$(zonefs-losetup "$@")
	[[ -b $LOOP ]]
}

# Of the teardown: a loop device of a mount that is gone has no path below $T any more,
# but one that begins at the root of that mount. Another may have its number by now.
detach_rest()
{
	local file=/sys/block/${LOOP#/dev/}/loop/backing_file

	[[ -n ${LOOP:-} && -r $file ]] || return 0
	case $(<"$file") in
	"$T"/* | /disk*)
		umount -l "$LOOP" 2>/dev/null
		losetup -d "$LOOP"
		;;
	esac
}

# check_fs TYPE: fsck finds nothing.
check_fs()
{
	case $1 in
	ext4) e2fsck -fn "$LOOP" ;;
	xfs) xfs_repair -n "$LOOP" ;;
	btrfs) btrfs check "$LOOP" ;;
	esac
}
