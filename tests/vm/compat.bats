#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A script written for the kernel's zonefs runs unchanged on zonefsd, with the
# stand-ins of contrib/zonefs-compat, and sees the same.

load common

# What make install does, in the guest's own layer.
setup_file()
{
	install -m 755 "$BUILD"/{zonefsd,zonefsctl} /usr/local/sbin
	# With the daemon beside them, whatever prefix they were built for.
	install -m 755 "$BUILD"/{zonefsd,{u,}mount.fuse.zonefsd} /sbin
}

with_ours()
{
	PATH=$TESTS/../contrib/zonefs-compat:$PATH "$@" 3>&-
}

same_on_both()
{
	local script=$TESTS/vm/compat-script

	requires_mkzonefs
	"$script" "$KDEV" "$KMNT" >"$T/kernel.out" || { cat "$T/kernel.out"; return 1; }
	with_ours "$script" "$DEV" "$MNT" >"$T/ours.out" || { cat "$T/ours.out"; return 1; }
	diff "$T/kernel.out" "$T/ours.out"
	grep -qx "done" "$T/ours.out"
}

@test "a zonefs script on a block device" {
	make_nullb zone_nr_conv=3 zone_capacity=3
	KDEV=$DEV
	make_nullb zone_nr_conv=3 zone_capacity=3
	same_on_both
}

@test "a zonefs script on an emulated device" {
	make_nullb zone_nr_conv=3
	KDEV=$DEV
	create_device --capacity 64M --zone-size 4M --conv-zones 3
	same_on_both
}

@test "the stand-in mkzonefs takes the options of mkzonefs" {
	local option

	make_nullb zone_nr_conv=3
	for option in --help --version -h "-v -f $DEV" "-f -o aggr_cnv,uid=1,gid=2,perm=777 $DEV"; do
		# shellcheck disable=SC2086 # several words
		with_ours mkzonefs $option >/dev/null
	done
	for option in "" "-x $DEV" "-f -o $DEV" "-f -o nothing $DEV" -o /dev/null; do
		# shellcheck disable=SC2086 # several words
		no with_ours mkzonefs $option
	done 2>/dev/null
}

@test "the stand-in mount leaves other mounts alone" {
	with_ours mount -t tmpfs none "$MNT"
	same "$(stat -f -c %T "$MNT")" tmpfs
}
