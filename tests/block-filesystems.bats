#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# File systems with real files on a disk that is 80 % full, and overwritten at random
# so that reclaim runs all the time: taken apart, put together again, compared, checked.
# Then fio's own verification of direct writes, 32 in flight.
#
#   TREE          where the files are taken from (/usr)
#   TREE_MB       how much (100; make stress: 2048)
#   SECONDS_EACH  of random overwrites, on each file system (10; make stress: 600)
#   FIO_MB        that fio writes, twice (100; make stress: 400): each write has reclaim
#                 copy a part of a zone

load common
load block

if [[ ${STRESS:-} ]]; then
	: "${TREE_MB:=2048}" "${SECONDS_EACH:=600}" "${FIO_MB:=400}"
	GEOMETRY=(--capacity 5G --zone-size 8M --conv-zones 40)
	BTRFS=()
else
	: "${TREE_MB:=100}" "${SECONDS_EACH:=10}" "${FIO_MB:=100}"
	GEOMETRY=(--capacity 440M --zone-size 4M --conv-zones 12)
	# As its manual has it for less than a GiB.
	BTRFS=(--mixed)
fi
: "${TREE:=/usr}"
export BATS_TEST_TIMEOUT=$((SECONDS_EACH * 4 + TREE_MB * 3 + 300))

# Real files, the same for all file systems: $SAMPLE and their checksums.
setup_file()
{
	export SAMPLE=$BATS_FILE_TMPDIR/tree
	mkdir "$SAMPLE"
	(cd "$TREE" && find . -xdev -type f -printf '%s %i %p\n' 2>/dev/null) | sort -k 2n |
		awk -v max=$((TREE_MB * 1048576)) '{ sum += $1 } sum > max { exit }
			{ print substr($0, index($0, "./")) }' >"$BATS_FILE_TMPDIR/files"
	tar -C "$TREE" -cf - -T "$BATS_FILE_TMPDIR/files" | tar -C "$SAMPLE" -xf -
	sums "$SAMPLE" >"$BATS_FILE_TMPDIR/sums"
}

setup()
{
	common_setup
	requires_fuse
	requires_loop
	mkdir "$T/fs"
}

# The next test needs the space.
teardown()
{
	local status=0

	detach_rest
	common_teardown || status=$?
	rm -rf --one-file-system "$DEV"
	return $status
}

# sums DIR: of each file.
sums()
{
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

same_files()
{
	sums "$T/fs/tree" | cmp - "$BATS_FILE_TMPDIR/sums"
}

# The file system's device taken away from under it, and the disk's, and both found
# sound. Then all is put together again.
take_apart()
{
	umount "$T/fs"
	check_fs "$1"
	zonefs-losetup -d "$LOOP"
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
	mount_disk
	attach "$MNT"
	mount "$LOOP" "$T/fs"
}

# churn_bytes: how large a file makes the file system 80 % full.
churn_bytes()
{
	df -B 1 --output=size,used "$T/fs" | awk 'END { printf "%d", $1 * 0.8 - $2 }'
}

# sample_reclaim: every second, how much it has moved so far, until stopped.
sample_reclaim()
{
	while sleep 1; do
		stat_counter reclaim_bytes
	done >"$T/reclaim"
}

# figures TYPE: what the churn was, and the disk's counters.
figures()
{
	sed "s/^/# $LAYOUT $1: /" "$T/churn"
	awk 'NR > 1 { n++; more += $1 > last } { last = $1 }
		END { printf "# reclaim moved data in %d of %d seconds\n", more, n }' "$T/reclaim"
	grep -E '^(direct|buffered)_writes|^reclaim|^flushes|^commits|^metadata_blocks|^waits' \
		"$MNT/.zonefsd/stats" | sed 's/^/#   /'
}

# survives TYPE UNIT MOST MKFS_OPTION...: zchurn fills with writes of UNIT bytes and
# overwrites with writes of up to MOST.
survives()
{
	local type=$1 unit=$2 most=$3 sampler

	requires_mkfs "$type"
	requires_space $((TREE_MB * M * 3))
	make_disk "${GEOMETRY[@]}" -- -o seq=8
	mount_disk
	attach "$MNT"
	"mkfs.$type" -q "${@:4}" "$LOOP"
	mount "$LOOP" "$T/fs"
	cp -a "$SAMPLE" "$T/fs/tree"
	take_apart "$type"
	same_files

	zchurn fill "$T/versions" "$T/fs/churn" "$(churn_bytes)" "$unit"
	sample_reclaim 3>&- &
	sampler=$!
	zchurn write "$T/versions" "$T/fs/churn" "$SECONDS_EACH" 16 "$most" >"$T/churn"
	{ kill "$sampler"; wait "$sampler"; } 2>/dev/null || :
	[[ ! ${STRESS:-} ]] || figures "$type" >&3
	[[ $(stat_counter reclaim_bytes) -gt $((16 * M)) ]]
	take_apart "$type"
	same_files
	zchurn verify "$T/versions" "$T/fs/churn"

	umount "$T/fs"
	check_fs "$type"
	zonefs-losetup -d "$LOOP"
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "ext4, nearly full, while reclaim runs" {
	survives ext4 $M 65536
}

@test "XFS, nearly full, while reclaim runs" {
	survives xfs $M 65536
}

# It writes an extent anew, and keeps the old one as long as a block of it is used:
# with extents of several blocks random writes would take the space of two files.
@test "btrfs, nearly full, while reclaim runs" {
	survives btrfs 4096 4096 "${BTRFS[@]}"
}

# fio_verify SEED OPTION...: every block of a file, once, and then read again.
fio_verify()
{
	fio --name=v --directory="$T/fs" --size="${FIO_MB}M" --rw=randwrite \
		--bsrange=4k-128k --ioengine=libaio --iodepth=32 --direct=1 --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 --randseed="$1" --output="$T/fio" \
		"${@:2}" || { cat "$T/fio"; return 1; }
}

# verified TYPE: verified while writes go on, then overwritten and verified as a whole, at
# once and after everything was taken apart.
verified()
{
	requires_mkfs "$1"
	requires_program fio
	requires_space $((TREE_MB * M * 3))
	make_disk "${GEOMETRY[@]}" -- -o seq=8
	mount_disk
	attach "$MNT"
	"mkfs.$1" -q "$LOOP"
	mount "$LOOP" "$T/fs"
	fio_verify 1 --verify_backlog=512
	fio_verify 2
	take_apart "$1"
	fio_verify 2 --verify_only=1
	umount "$T/fs"
	check_fs "$1"
	zonefs-losetup -d "$LOOP"
	umount_device
	expect "$DEV: sound" zonefsctl check "$DEV"
}

@test "ext4, fio verifies with 32 in flight" {
	verified ext4
}

@test "XFS, fio verifies with 32 in flight" {
	verified xfs
}
