#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# One device, the kernel's zonefs and zonefsd by turns: what one has formatted and
# written the other mounts and reads, with every feature of the format.

load common

# Sizes, modes, owners, inode numbers and the data of all files.
picture()
{
	(cd "$1" && find cnv seq -type f 2>/dev/null | sort >"$T/files" &&
		xargs stat -c '%n %s %a %u:%g %b %i' <"$T/files" &&
		xargs md5sum <"$T/files")
}

# put MNT SEED: into conventional and sequential files, some full, some not.
put()
{
	local mnt=$1 seed=$2 bs

	bs=$(stat -c %o "$mnt/seq/0")
	[[ ! -e $mnt/cnv/0 ]] ||
		expect "0 70000 0" zio "open:O_WRONLY:$mnt/cnv/0" "write:70000@$((seed * 100)),seed=$seed" \
			fsync
	expect "0 $((3 * bs))" zio "open:O_WRONLY,O_DIRECT,O_APPEND:$mnt/seq/$seed" \
		"write:$((3 * bs))@0,seed=$seed"
	expect "0 262144" zio "open:O_WRONLY,O_DIRECT,O_APPEND:$mnt/seq/3" \
		"write:262144@0,seed=$seed"
	truncate -s $(($(stat -c %b "$mnt/seq/$((4 + seed))") * 512)) "$mnt/seq/$((4 + seed))"
}

# by_turns FORMATTER [OPTION...]: format, then write with one and read with the other.
by_turns()
{
	"$1" -f "${@:2}" "$DEV"
	kernel_mount
	put "$KMNT" 1
	picture "$KMNT" >"$T/written"
	kernel_umount
	mount_device strict
	picture "$MNT" | diff "$T/written" -
	put "$MNT" 2
	picture "$MNT" >"$T/written"
	umount_device
	kernel_mount
	picture "$KMNT" | diff "$T/written" -
	kernel_umount
	# The other personality shows the same files.
	mount_device ""
	picture "$MNT" | diff "$T/written" -
	umount_device
}

ours()
{
	zonefsctl mkfs "$@"
}

@test "formatted by mkzonefs, every feature" {
	requires_mkzonefs
	make_nullb zone_nr_conv=4 zone_capacity=3
	by_turns mkzonefs
	by_turns mkzonefs -o aggr_cnv
	by_turns mkzonefs -L label -o aggr_cnv,uid=1000,gid=2000,perm=664
}

@test "formatted by zonefsctl, every feature" {
	make_nullb zone_nr_conv=4 zone_capacity=3
	by_turns ours
	by_turns ours -o aggr_cnv
	by_turns ours -L label -o aggr_cnv,uid=1000,gid=2000,perm=664
}

@test "blocks of 512 bytes, no conventional zone, a smaller last zone" {
	make_nullb blocksize=512 size=62
	by_turns ours
}

@test "a conventional zone 0 alone, and eight conventional zones" {
	make_nullb zone_nr_conv=1
	by_turns ours -o perm=600
	make_nullb zone_nr_conv=8
	by_turns ours -o aggr_cnv
}

@test "NVMe ZNS" {
	use_zns 0
	by_turns ours
	use_zns 2
	by_turns ours
}

@test "scsi_debug, host-managed" {
	make_scsi_debug 1 zone_nr_conv=2
	by_turns ours
}

@test "both formatters write the same super block but for the uuid" {
	requires_mkzonefs
	make_nullb zone_nr_conv=2
	mkzonefs -f -L name -o aggr_cnv,uid=5,gid=6,perm=644 "$DEV"
	head -c 4096 "$DEV" >"$T/theirs"
	zonefsctl mkfs -f -L name -o aggr_cnv,uid=5,gid=6,perm=644 "$DEV"
	head -c 4096 "$DEV" >"$T/ours"
	# The checksum at 4 and the uuid at 72 differ.
	cmp -l "$T/theirs" "$T/ours" | awk '!($1 > 4 && $1 <= 8) && !($1 > 72 && $1 <= 88)' >"$T/diff"
	same "$(cat "$T/diff")" ""
}
