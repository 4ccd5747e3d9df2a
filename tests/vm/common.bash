# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# For suites that run in the virtual machine (tests/vm/boot): zoned devices of the
# guest's kernel, and its zonefs. Everything of tests/common.bash is here, too.
#
# Devices that a test makes are gone after it. A message of the guest's kernel
# about a bug fails the test.

: "${BATS_TEST_TIMEOUT:=900}"
# shellcheck source=tests/common.bash
source "${BASH_SOURCE[0]%/*}/../common.bash"
# mkzonefs and zonefs-tools' helpers, where there is such a package
PATH=$PATH:$VM_CACHE/tools/usr/sbin:$VM_CACHE/tools/sbin
NULLB=/sys/kernel/config/nullb

setup()
{
	vm_setup
}

teardown()
{
	vm_teardown
}

vm_setup()
{
	common_setup
	KMNT=$T/kernel
	mkdir "$KMNT"
	echo "zonefsd-test $T" >/dev/kmsg
	modprobe zonefs
}

vm_teardown()
{
	local status=0 dir

	common_teardown || status=1
	for dir in "$NULLB"/nullb*; do
		[[ ! -d $dir ]] || rmdir "$dir"
	done
	[[ ! -d /sys/module/scsi_debug ]] || modprobe -r scsi_debug || status=1
	# zonefs itself begins its messages with "WARNING:".
	if dmesg | awk -v mark="zonefsd-test $T" 'index($0, mark) { found = 1 } found' |
			grep -A 20 -E 'BUG:|WARNING: CPU|Oops|blocked for more than'; then
		status=1
	fi
	return $status
}

# ---- devices: each helper puts its name into $DEV ----

# make_nullb NAME=VALUE...: a zoned disk in memory, 64 MiB in zones of 4 MiB unless
# told otherwise; the names are those of null_blk's configfs.
make_nullb()
{
	local dir n=0 setting

	[[ -d $NULLB ]] || modprobe null_blk nr_devices=0
	while [[ -d $NULLB/nullb$n ]]; do
		n=$((n + 1))
	done
	dir=$NULLB/nullb$n
	mkdir "$dir"
	for setting in memory_backed=1 zoned=1 size=64 zone_size=4 zone_nr_conv=0 \
			blocksize=4096 "$@" power=1; do
		echo "${setting#*=}" >"$dir/${setting%%=*}" || {
			echo "null_blk refuses $setting"
			return 1
		}
	done
	DEV=/dev/nullb$n
	await_device
}

# make_scsi_debug COUNT NAME=VALUE...: COUNT host-managed disks, named in DEVS.
make_scsi_debug()
{
	local count=$1

	modprobe -a sd_mod
	modprobe scsi_debug delay=0 zbc=managed dev_size_mb=64 zone_size_mb=4 \
		per_host_store=1 add_host="$count" "${@:2}"
	DEVS=()
	for dir in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; do
		DEVS+=("/dev/${dir##*/}")
	done
	same "${#DEVS[@]}" "$count"
	DEV=${DEVS[0]}
	for DEV in "${DEVS[@]}"; do
		await_device
	done
}

# use_scsi_debug NUMBER: one of those.
use_scsi_debug()
{
	DEV=${DEVS[$1]}
}

# use_zns NUMBER: one of the drives of tests/vm/boot, all zones reset.
use_zns()
{
	local dir

	modprobe nvme
	for _ in {1..200}; do
		for dir in /sys/class/nvme/nvme*; do
			if [[ $(<"$dir/serial") == "zns$1"* ]]; then
				dir=$(echo "$dir"/nvme*n1)
				DEV=/dev/${dir##*/}
				await_device
				blkzone reset "$DEV"
				return
			fi
		done 2>/dev/null
		sleep 0.05
	done
	skip "needs NVMe drives with zones in QEMU"
}

# Known to the kernel as zoned, and there.
await_device()
{
	local name=${DEV#/dev/}

	for _ in {1..200}; do
		if [[ -b $DEV && $(<"/sys/block/$name/queue/zoned") == host-managed ]] &&
				blkzone report -c 1 "$DEV" >/dev/null 2>&1; then
			return
		fi
		sleep 0.05
	done 2>/dev/null
	echo "no zoned device $DEV appeared"
	return 1
}

queue()
{
	cat "/sys/block/${DEV#/dev/}/queue/$1"
}

# ---- the kernel's zonefs ----

requires_mkzonefs()
{
	mkzonefs --version >/dev/null 2>&1 || skip "needs mkzonefs of zonefs-tools"
}

# kernel_mount [OPTIONS [DEV]]: the kernel's zonefs at $KMNT.
kernel_mount()
{
	mount -t zonefs ${1:+-o "$1"} "${2:-$DEV}" "$KMNT"
}

kernel_umount()
{
	umount "$KMNT"
}
