#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# Bad input gets one clear line and status 1, and nothing is written. Images that
# are damaged are in image-damage.bats, directories in dir-zloop.bats.

load common

# Where the super block is.
super_offset()
{
	if [[ $LAYOUT == dir ]]; then
		echo 0
	else
		od -An -tu8 -j 104 -N 8 "$DEV" | tr -d ' '
	fi
}

super_file()
{
	if [[ $LAYOUT == dir ]]; then echo "$DEV/cnv-000000"; else echo "$DEV"; fi
}

# edit_super OFFSET HEX: change bytes and put the right checksum.
edit_super()
{
	local file at crc

	file=$(super_file)
	at=$(super_offset)
	put_bytes "$file" $((at + $1)) "$2"
	dd if="$file" of="$T/super" bs=1 skip="$at" count=4096 status=none
	put_bytes "$T/super" 4 00000000
	crc=$(gzip -c "$T/super" | tail -c 8 | od -An -tu4 -N 4 | tr -d ' ')
	crc=$(printf %08x $((crc ^ 0xffffffff)))
	put_bytes "$file" $((at + 4)) "${crc:6:2}${crc:4:2}${crc:2:2}${crc:0:2}"
}

refuses_mount()
{
	requires_fuse
	unchanged refused 1 "zonefsd: $1" zonefsd "$DEV" "$MNT"
	no mountpoint -q "$MNT"
}

@test "a path that does not exist" {
	for c in "info" "report" "check" "mkfs" "reset -a"; do
		# shellcheck disable=SC2086 # two words
		refused 1 'zonefsctl: .*nosuch.*No such file' zonefsctl $c "$T/nosuch"
	done
	DEV=$T
	refused 1 'zonefsd: .*nosuch.*No such file' zonefsd "$T/nosuch" "$MNT"
}

@test "paths that are no devices: an empty directory, a fifo, a socket, /dev/null" {
	mkdir "$T/empty"
	mkfifo "$T/fifo"
	for p in "$T/empty" "$T/fifo" /dev/null /etc/passwd; do
		refused 1 "zonefsctl: .*$p" timeout 20 zonefsctl info "$p"
		refused 1 "zonefsctl: .*$p" timeout 20 zonefsctl mkfs -f "$p"
		refused 1 "zonefsd: .*$p" timeout 20 zonefsd "$p" "$MNT"
	done
}

@test "geometries that cannot be" {
	name_device
	make() { zonefsctl create --layout "$LAYOUT" "$@" "$DEV"; }
	refused 1 'zonefsctl: .*power of two' make --zone-size 3M
	refused 1 'zonefsctl: .*' make --zone-size 4M --zone-capacity 5M
	refused 1 'zonefsctl: .*' make --zone-size 4M --zone-capacity 4097
	refused 1 'zonefsctl: .*' make --zone-size 4M --capacity 16M --conv-zones 5
	refused 1 'zonefsctl: .*' make --zone-size 0
	refused 1 'zonefsctl: .*' make --capacity 0
	refused 1 'zonefsctl: .*' make --zone-size 4M --zone-capacity 0
	refused 1 'zonefsctl: .*' make --zone-size 2048
	refused 1 'zonefsctl: .*' make --block-size 1024
	refused 1 'zonefsctl: .*' make --zone-size 8192T
	refused 1 'zonefsctl: .*' make --zone-size 4M --capacity 8388607T
	refused 1 'zonefsctl: .*' make --zone-size 4M --capacity 16M --conv-zones 1 --max-open-zones 5
	[ ! -e "$DEV" ]
}

@test "sizes that overflow or are no sizes" {
	name_device
	for size in 99999999999999999999 16777216T -1 x 1X "" 1.5M " "; do
		run zonefsctl create --layout "$LAYOUT" --capacity "$size" "$DEV"
		[[ $status == 1 || $status == 2 ]] || { echo "'$size': status $status"; false; }
		same "$(wc -l <<<"$output")" 1
		[ ! -e "$DEV" ]
	done
}

@test "an unformatted device" {
	create_device
	refuses_mount '.*(not formatted|no zonefs|super block)'
}

@test "a super block with a wrong checksum" {
	make_device
	flip_byte "$(super_file)" $(($(super_offset) + 100))
	refuses_mount '.*checksum'
}

@test "a super block with an unknown feature" {
	make_device
	edit_super 88 1000000000000000
	refuses_mount '.*feature'
}

@test "a super block with reserved bytes set" {
	make_device
	edit_super 2000 01
	refuses_mount '.*reserved'
}

@test "a super block with a uid or gid that none has" {
	make_device
	edit_super 88 0600000000000000
	edit_super 96 ffffffff
	refuses_mount '.*uid'
	edit_super 96 01000000
	edit_super 100 ffffffff
	refuses_mount '.*gid'
}

@test "a super block with mode bits that are none" {
	make_device
	edit_super 88 0800000000000000
	edit_super 104 ffffffff
	refuses_mount '.*(perm|mode)'
}

@test "the edited super block itself is right: a known feature mounts" {
	requires_fuse
	make_device
	edit_super 88 0800000000000000
	edit_super 104 80010000
	mount_device
	same "$(mode_of "$MNT/seq/0")" 600
}

@test "a mount point that does not exist" {
	requires_fuse
	make_device
	unchanged refused 1 'zonefsd: .*nosuch' zonefsd "$DEV" "$T/nosuch"
}

@test "a mount point that is a file" {
	requires_fuse
	make_device
	: >"$T/file"
	unchanged refused 1 'zonefsd: .*file' zonefsd "$DEV" "$T/file"
}

@test "a mount point that is busy with another mount of ours" {
	requires_fuse
	make_mount
	first=$DEV
	DEV=
	if [[ $LAYOUT == dir ]]; then DEV=$T/two; else DEV=$T/two.img; fi
	zonefsctl create --layout "$LAYOUT" "${DEFAULT_GEOMETRY[@]}" "$DEV"
	zonefsctl mkfs "$DEV"
	refused 1 "zonefsd: .*$MNT" zonefsd "$DEV" "$MNT"
	same "$(zonefsctl info --json "$MNT" | jq -r .device)" "$(realpath "$first")"
}

@test "unknown mount options and bad values, naming them" {
	requires_fuse
	make_device
	for o in nosuch errors=x uid=x uid=-1 gid=99999999999 perm=9 perm=77777 append_buffer=x \
			flush_interval=x; do
		unchanged refused 2 "zonefsd: .*${o%%=*}" zonefsd -o "$o" "$DEV" "$MNT"
	done
}

@test "wrong usage is 2" {
	refused 2 'zonefsd: ' zonefsd
	refused 2 'zonefsd: ' zonefsd "$T/dev"
	refused 2 'zonefsd: ' zonefsd a b c
}

@test "a device in use: a second daemon is refused, naming the first" {
	requires_fuse
	make_mount
	mkdir "$T/mnt2"
	refused 1 "zonefsd: .*$DAEMON" zonefsd "$DEV" "$T/mnt2"
	no mountpoint -q "$T/mnt2"
	same "$(size_of "$MNT/seq/0")" 0
}

@test "a device in use: tools that would change it behind the daemon are refused" {
	requires_fuse
	make_mount
	refused 1 "zonefsctl: .*($DAEMON|$MNT)" zonefsctl mkfs -f "$DEV"
	refused 1 "zonefsctl: .*($DAEMON|$MNT)" zonefsctl check --repair "$DEV"
	refused 1 "zonefsctl: .*" zonefsctl create --layout "$LAYOUT" "$DEV"
}

@test "a device that another user may not read" {
	requires_fuse
	make_device
	chmod 700 "$T"
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$(type -P zonefsctl)" info "$DEV"
	[ "$status" -eq 1 ]
	[[ $output == "zonefsctl: $DEV"*"Permission denied"* ]]
	chmod 755 "$T"
}

@test "a limit of file sizes below what the device needs" {
	make_device
	refused 1 'zonefsd: .*ulimit -f' bash -c 'ulimit -f 1000; exec "$@"' - \
		"$BUILD/zonefsd" "$DEV" "$MNT"
	refused 1 'zonefsctl: .*(ulimit -f|File too large)' bash -c 'ulimit -f 1000; exec "$@"' - \
		zonefsctl create --layout "$LAYOUT" "${DEFAULT_GEOMETRY[@]}" "$T/other"
	[ ! -e "$T/other" ]
}
