#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# zonefsd shown to a person: from nothing to a mounted zoned device with real
# files in its zones. Everything happens in a temporary directory and is taken
# away again. Run by `make demo`; BUILD names the build folder.

set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "${BUILD:-build}" && pwd)
PATH=$build:$PATH
export LC_ALL=C

zone_size=16M
conv_zones=2
capacity=512M

# ---- telling ----

if [[ -t 1 ]]; then
	bold=$(tput bold 2>/dev/null || true)
	plain=$(tput sgr0 2>/dev/null || true)
else
	bold='' plain=''
fi

say()
{
	echo
	echo "$bold# $*$plain"
}

# Show a line as one would type it, then run it.
run()
{
	echo "$bold\$ $1$plain"
	eval "$1"
}

fail()
{
	echo "demo: $*" >&2
	exit 1
}

# ---- needs ----

if [[ $(id -u) != 0 ]]; then
	fail "root: needed to mount as mount(8) does; run sudo make demo"
fi
[[ -e /dev/fuse ]] || fail "/dev/fuse: missing; load the kernel module fuse, or" \
	"give the container this device"
[[ -x $build/zonefsd ]] || fail "$build/zonefsd: not built, run make first"

# ---- cleaning up, whatever happens ----

top=$PWD
tmp=$(mktemp -d "${TMPDIR:-/tmp}/zonefsd-demo.XXXXXX")
cd "$tmp"
loop=

cleanup()
{
	local status=$?

	trap - EXIT
	if [[ -n $loop ]]; then
		umount ext4 2>/dev/null || true
		zonefs-losetup -d "$loop" || true
	fi
	if grep -q " $tmp/mnt " /proc/mounts; then
		umount.fuse.zonefsd mnt || umount -l mnt || true
	fi
	cd /
	rm -rf --one-file-system "$tmp"
	[[ $status == 0 ]] || echo "demo: failed (status $status)" >&2
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# From the build folder, without an installation; with one, what is shown.
mount_dev()
{
	echo "$bold\$ mount -t fuse.zonefsd ${1:-disk.img} mnt$plain"
	mount.fuse.zonefsd "${1:-disk.img}" mnt
}

umount_mnt()
{
	echo "$bold\$ umount mnt$plain"
	umount.fuse.zonefsd mnt
}

same()
{
	local a b

	a=$(sha256sum <"$1")
	b=$(sha256sum <"$2")
	echo "sha256 ${a:0:16}..  $1"
	echo "sha256 ${b:0:16}..  $2"
	[[ $a == "$b" ]] || fail "$2: differs from $1"
}

# ---- the story ----

mkdir mnt ext4 files
cp -r "$top"/{README.md,docs,include,src} files/
cp "$build/zonefsd" files/

say "A zoned device of $capacity in one sparse file: zones of $zone_size, the first" \
	"$conv_zones conventional (random writes), the others sequential (append only)."
run "zonefsctl create --capacity $capacity --zone-size $zone_size \
--conv-zones $conv_zones disk.img"
run "ls -lhs disk.img"

say "Format it with zonefs: no more than a super block in the first zone."
run "zonefsctl mkfs -L demo disk.img"
run "zonefsctl info disk.img"

say "Mount it. Every zone is a file; a sequential file's size is its write pointer."
mount_dev
run "ls mnt mnt/cnv"
run "ls -lv mnt/seq | head -6"

say "Copy a text into a zone, append to it, and read it back."
run "cp files/docs/zonefs-rules.md mnt/seq/0"
run "echo 'one more line' >>mnt/seq/0"
run "tail -n 1 mnt/seq/0"
cp files/docs/zonefs-rules.md expected
echo "one more line" >>expected
same expected mnt/seq/0

say "Write a program with dd, in a block size that fits nothing."
run "dd if=files/zonefsd of=mnt/seq/1 bs=10000 status=none"
same files/zonefsd mnt/seq/1

say "A tar archive goes straight into a zone, and comes out again."
run "tar -cf mnt/seq/2 files"
mkdir out
run "tar -xf mnt/seq/2 -C out"
run "diff -r files out/files && echo 'no difference'"

say "Sizes are exact to the byte, whatever the block size of the device is."
run "ls -lv mnt/seq | head -6"

say "A sequential zone only grows: to write before its end is refused."
run "dd if=files/zonefsd of=mnt/seq/0 bs=4096 count=1 conv=notrunc status=none ||
  echo 'refused, as it should be'" 2>&1 | tee refused
grep -q refused, refused || fail "mnt/seq/0: an overwrite went through"

say "All zones at a glance, and one by one, as blkzone report prints them."
run "zonefsctl report --map mnt"
run "zonefsctl report -c 5 mnt"

say "Reset a zone: truncate it to 0. Finish zones, so that they take no more: truncate" \
	"to the capacity, or zonefsctl by zone number (seq/3 is zone $((conv_zones + 3)))."
run "truncate -s 0 mnt/seq/1"
run "truncate -s $zone_size mnt/seq/2"
run "zonefsctl finish -z $((conv_zones + 3)) mnt"
run "ls -lv mnt/seq | head -6"
run "zonefsctl report --map mnt"

if [[ ! -e /dev/loop-control ]] || ! command -v mkfs.ext4 >/dev/null; then
	say "(No loop devices or no mkfs.ext4 here: a file system on a conventional zone" \
		"is left out.)"
else
	say "A conventional zone takes random writes: it carries a file system of its own."
	loop=$(zonefs-losetup -f --show mnt/cnv/0)
	echo "$bold\$ zonefs-losetup -f --show mnt/cnv/0$plain"
	echo "$loop"
	run "mkfs.ext4 -q $loop"
	run "mount $loop ext4"
	run "cp files/README.md ext4/"
	same files/README.md ext4/README.md
	run "umount ext4"
	run "fsck.ext4 -fn $loop >fsck.log 2>&1 && echo 'clean'"
	run "zonefs-losetup -d $loop"
	loop=
fi

say "Unmount: returns when everything is on the device. Mount again: still there."
umount_mnt
mount_dev
same expected mnt/seq/0
run "ls -lv mnt/seq | head -6"

say "The daemon may even be killed: the same command mounts the device again."
pid=$(sed -n 's/^pid //p' mnt/.zonefsd/info)
run "kill -9 $pid"
mount_dev
same expected mnt/seq/0
umount_mnt

say "Check the device."
run "zonefsctl check disk.img"

say "A device can also be a directory with one file a zone, as the kernel's zloop has it."
run "zonefsctl create --capacity 64M --zone-size 4M --conv-zones 2 disk/"
run "zonefsctl mkfs disk/"
run "ls -v disk | head -4"
mount_dev disk/
run "cp files/README.md mnt/seq/0"
same files/README.md mnt/seq/0
umount_mnt

echo
echo "${bold}demo: all went well; every file came back as it went in.$plain"
