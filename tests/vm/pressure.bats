#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# memory: 208M
# drives: large
#
# A system whose memory is all dirty, to be written through a disk of ours: the daemon
# must go on without the memory that only it can free. There is no swap and no memory
# group, the zoned drive is a real one, and the kernel may let all of the page cache
# become dirty. The daemon leaves the rest of the system some 40 MiB.
#
#   MB      that each of three writers writes (60; with STRESS 250)
#   ROUNDS  of them, each over what the last one wrote (2; with STRESS 6)

: "${MB:=${STRESS:+250}}" "${MB:=60}" "${ROUNDS:=${STRESS:+6}}" "${ROUNDS:=2}"
# The kernel tells of tasks that hang, before that.
export BATS_TEST_TIMEOUT=$((540 + ROUNDS * MB))

load common

setup()
{
	vm_setup
	# The drives are files beside it, and a full disk stops the machine.
	(($(stat -f -c '%a * %S' "$SHARE") > 2304 * M)) || skip "needs 2304 MiB in TMPDIR"
	modprobe -a loop ext4
	mkdir "$T/fs"
}

teardown()
{
	umount -l "$T/fs" 2>/dev/null || :
	[[ ! ${LOOP:-} ]] || losetup -d "$LOOP" 2>/dev/null || :
	vm_teardown
}

# use_plain NUMBER: an ordinary drive of tests/vm/boot, named in $PLAIN.
use_plain()
{
	local dir

	for _ in {1..200}; do
		for dir in /sys/class/nvme/nvme*; do
			if [[ $(<"$dir/serial") == "plain$1"* ]]; then
				dir=$(echo "$dir"/nvme*n1)
				PLAIN=/dev/${dir##*/}
				[[ ! -b $PLAIN ]] || return 0
			fi
		done 2>/dev/null
		sleep 0.05
	done
	echo "no drive plain$1"
	return 1
}

# may_be_dirty PERCENT: of the page cache, before those who write are made to wait.
may_be_dirty()
{
	echo $(($1 / 2)) >/proc/sys/vm/dirty_background_ratio
	echo "$1" >/proc/sys/vm/dirty_ratio
}

# On a drive: 16 zones of an ordinary one, 64 of a zoned one.
make_real()
{
	may_be_dirty 95
	use_zns 0
	use_plain 0
	DEVICES=("$PLAIN" "$DEV")
	zonefsctl mkfs -t dmzoned -f "${DEVICES[@]}"
	mount_device "zoned=$DEV" "$PLAIN"
}

# In a file: 64 zones of 8 MiB, 16 of them conventional. It is written through the page
# cache, too, of which something must be left: what the kernel leaves by itself.
make_emulated()
{
	may_be_dirty 20
	modprobe nvme
	use_plain 1
	mkfs.ext4 -q "$PLAIN"
	mkdir "$T/host"
	mount "$PLAIN" "$T/host"
	DEVICES=("$T/host/image")
	zonefsctl create --capacity 512M --zone-size 8M --conv-zones 16 "${DEVICES[0]}"
	zonefsctl mkfs -t dmzoned "${DEVICES[0]}"
	mount_device "" "${DEVICES[0]}"
}

# start_disk KIND: with a file system on it.
start_disk()
{
	"make_$1"
	LOOP=$(zonefs-losetup "$MNT")
	mkfs.ext4 -q "$LOOP"
	mount "$LOOP" "$T/fs"
}

# All was written and is sound, down to the devices.
stop_disk()
{
	umount "$T/fs"
	e2fsck -fn "$LOOP"
	zonefs-losetup -d "$LOOP"
	LOOP=
	umount_device
	zonefsctl check "${DEVICES[@]}"
}

# write_file NAME SEED
write_file()
{
	expect "0 $((MB * M)) 0" zio "open:O_WRONLY,O_CREAT:$T/fs/$1" "fill:${MB}M,seed=$2" fsync
}

# holds_file NAME SEED
holds_file()
{
	same "$(size_of "$T/fs/$1")" $((MB * M))
	# shellcheck disable=SC2046 # a word for each MiB
	zio "open:O_RDONLY:$T/fs/$1" $(yes "read:1M,check=1,seed=$2" | head -n "$MB") >"$T/read"
	same "$(tr ' ' '\n' <"$T/read" | sort | uniq -c | tr -s ' \n' ' ')" " 1 0 $MB $M "
}

# What the kernel has said in this test.
kernel_said()
{
	dmesg | awk -v mark="zonefsd-test $T" 'index($0, mark) { found = 1 } found' |
		grep -E "$1"
}

# of_daemon NAME: the figure in its /proc/PID/status.
of_daemon()
{
	awk -v n="$1:" '$1 == n { print $2 }' "/proc/$DAEMON/status"
}

# Pages that had to be read for it.
major_faults()
{
	sed 's/.*) //' "/proc/$DAEMON/stat" | cut -d ' ' -f 10
}

# The kernel reclaims nothing through the threads of the daemon (PR_SET_IO_FLUSHER is
# PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE), spares it, and has locked all it has: but for
# a page at the end of each stack.
protected()
{
	local task flags threads

	threads=$(of_daemon Threads)
	[[ $threads -gt 4 ]]
	for task in "/proc/$DAEMON/task"/*; do
		flags=$(sed 's/.*) //' "$task/stat" | cut -d ' ' -f 7)
		same $((flags & 0x180000)) $((0x180000)) "flags $flags of $task"
	done
	same "$(<"/proc/$DAEMON/oom_score_adj")" -1000
	[[ $(of_daemon VmLck) -ge $(($(of_daemon VmSize) - 4 * threads)) ]] || {
		cat "/proc/$DAEMON/status"
		return 1
	}
	no grep 'may stall' "$T/daemon.log"
}

# dirty KIND: three writers beside each other, each over what the last one there wrote.
dirty()
{
	local n round writer writers faults

	start_disk "$1"
	protected
	faults=$(major_faults)
	for ((round = 1; round <= ROUNDS; round++)); do
		writers=()
		for n in 1 2 3; do
			write_file $n $((round * 10 + n)) 3>&- &
			writers+=($!)
		done
		for writer in "${writers[@]}"; do
			wait "$writer"
		done
	done
	protected
	same "$(major_faults)" "$faults" "pages read for the daemon"
	no kernel_said 'Out of memory|oom-kill'
	umount "$T/fs"
	mount "$LOOP" "$T/fs"
	for n in 1 2 3; do
		holds_file $n $((ROUNDS * 10 + n))
	done
	[[ $(stat_counter reclaim_bytes) -gt 0 ]]
	stop_disk
}

@test "writers dirty far more than memory holds, on a drive" {
	dirty real
}

@test "the same on an emulated device" {
	dirty emulated
}

@test "memory runs out: others are killed, the daemon and what is written are not" {
	local writer status

	start_disk real
	write_file 1 1 3>&- &
	writer=$!
	while is_running "$writer"; do
		# It keeps a line that has no end, and is always smaller than the daemon.
		status=0
		tail -n 1 /dev/zero || status=$?
		same "$status" 137
	done
	wait "$writer"
	kernel_said 'Out of memory: Killed process' >"$T/killed"
	no grep -v '(tail)' "$T/killed"
	protected
	umount "$T/fs"
	mount "$LOOP" "$T/fs"
	holds_file 1 1
	stop_disk
}
