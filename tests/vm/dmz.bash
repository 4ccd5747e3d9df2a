# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# For suites of the virtual machine about the format of the block view: devices for
# it, dmzadm and the kernel's dm-zoned on them. Loaded after common.bash.

PATH=$PATH:$VM_CACHE/dmz-tools/usr/sbin:$VM_CACHE/dmz-tools/sbin

requires_dmzadm()
{
	dmzadm --version >/dev/null 2>&1 || skip "needs dmzadm of dm-zoned-tools"
	modprobe dm-zoned || skip "needs a kernel with dm-zoned"
}

# To let the kernel's target have a disk, and take it back.
requires_dm_zoned()
{
	requires_program dmsetup
	requires_dmzadm
}

# ---- devices: DEVICES has all of the disk, the regular one first ----

# make_regular MIB [NAME=VALUE...]: an ordinary disk in memory, named in REGULAR.
make_regular()
{
	local n=0 dir setting

	[[ -d $NULLB ]] || modprobe null_blk nr_devices=0
	while [[ -d $NULLB/nullb$n ]]; do
		n=$((n + 1))
	done
	dir=$NULLB/nullb$n
	mkdir "$dir"
	for setting in memory_backed=1 size="$1" blocksize=4096 "${@:2}" power=1; do
		echo "${setting#*=}" >"$dir/${setting%%=*}"
	done
	REGULAR=/dev/nullb$n
	for _ in {1..200}; do
		[[ ! -b $REGULAR ]] || return 0
		sleep 0.05
	done
	echo "no device $REGULAR appeared"
	return 1
}

# One zoned device, by default 64 zones of 4 MiB, the first 10 conventional.
one_device()
{
	make_nullb size=256 zone_nr_conv=10 "$@"
	DEVICES=("$DEV")
}

# A regular device of 8 zones and a half, and a zoned one.
two_devices()
{
	make_regular 34
	make_nullb size=256 "$@"
	DEVICES=("$REGULAR" "$DEV")
}

# ---- the format ----

# quietly COMMAND...: its output only when it fails.
quietly()
{
	"$@" >"$T/quiet" 2>&1 || {
		echo "failed: $*"
		cat "$T/quiet"
		return 1
	}
}

format_dmzadm()
{
	quietly dmzadm --format "${DEVICES[@]}" --force --seq=4 --label="$1"
}

format_ours()
{
	quietly zonefsctl mkfs -t dmzoned -f -o seq=4 -L "$1" "${DEVICES[@]}"
}

# dmzadm's exit status tells nothing.
dmzadm_finds_nothing()
{
	quietly dmzadm --check "${DEVICES[@]}"
	grep -q 'No error detected' "$T/quiet" || {
		cat "$T/quiet"
		return 1
	}
}

# Not even a warning.
ours_finds_nothing()
{
	expect "${DEVICES[0]}: sound" zonefsctl check "${DEVICES[@]}"
}

# ---- ours and the kernel's, by turns: $DISK is the disk while one has it ----

start_ours()
{
	may_log 'the disk may stall when memory is short'
	if ((${#DEVICES[@]} > 1)); then
		mount_device "zoned=${DEVICES[1]}" "${DEVICES[0]}"
	else
		mount_device "" "${DEVICES[0]}"
	fi
	DISK=$MNT/disk
}

stop_ours()
{
	umount_device
	DISK=
}

# start_kernel LABEL
start_kernel()
{
	DM=$1
	quietly dmzadm --start "${DEVICES[@]}"
	# There is no udev that would make names.
	DISK=$(grep -lx "$DM" /sys/block/dm-*/dm/name)
	DISK=${DISK%/dm/name}
	DISK=/dev/${DISK##*/}
	[[ -b $DISK ]]
}

# dmzadm --stop would look for names that udev makes.
stop_kernel()
{
	quietly dmsetup --noudevsync remove "$DM"
	DM=
	DISK=
}

# What a test that failed has left.
remove_kernel()
{
	[[ ! ${DM:-} ]] || dmsetup --noudevsync remove --force "$DM" || :
}
