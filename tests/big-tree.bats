#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
# long
#
# A real file tree through tar across several zones and back. TREE is the tree
# (default: about 50 MB of /usr/share or /usr/lib; make stress: all of /usr).

load common

: "${ZONE:=16M}" "${ZONES:=16}"
export BATS_TEST_TIMEOUT=3600

setup()
{
	common_setup
	requires_fuse
	if [[ ! ${TREE:-} ]]; then
		TREE=$T/tree
		sample_tree
	fi
	requires_space $((2 * $(du -sbx "$TREE" | cut -f1)))
	make_device --capacity $((ZONES * ${ZONE%M}))M --zone-size "$ZONE" --conv-zones 2
}

# Real files, as many as make 50 MB.
sample_tree()
{
	mkdir "$TREE"
	(cd / && find usr/bin usr/lib usr/share usr/include -xdev -type f -size -4M \
		-printf '%s %p\n' 2>/dev/null) |
		awk -v max=$((50 * M)) '{ sum += $1 } sum > max { exit }
			{ print substr($0, index($0, " ") + 1) }' >"$T/files"
	tar -C / -cf - -T "$T/files" | tar -C "$TREE" -xf -
}

# The zones of the archive, in order.
volumes()
{
	printf "$MNT/seq/%d\n" $(seq 0 $((ZONES - 3)))
}

# Cut the archive into zones: each takes what fits in it, tail and all.
write_archive()
{
	tar -C "$TREE" -cf - --one-file-system --sort=name . 2>/dev/null | {
		for volume in $(volumes); do
			head -c "$zone_bytes" >"$volume" || return 1
			(($(size_of "$volume") == zone_bytes)) || break
		done
	}
}

read_archive()
{
	local volume

	for volume in $(volumes); do
		cat "$volume"
	done
}

compare()
{
	mkdir -p "$T/out"
	read_archive | tar -C "$T/out" -xf -
	(cd "$TREE" && find . -xdev -type f -print0 | sort -z | xargs -0 sha256sum) >"$T/want"
	(cd "$T/out" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$T/got"
	cmp "$T/want" "$T/got"
	[ -s "$T/want" ]
	rm -rf "$T/out"
}

zone_bytes()
{
	zone_bytes=$(($(stat -c %b "$MNT/seq/0") * 512))
}

@test "a tree goes through tar into zones and comes back identical" {
	mount_device
	zone_bytes
	write_archive
	compare
	remount_device
	compare
}

@test "a tree with kill -9 in the middle: what was fsynced is there, sizes are right" {
	mount_device
	zone_bytes
	tar -C "$TREE" -cf "$T/archive" --one-file-system --sort=name . 2>/dev/null
	# Whole zones, each fsynced, until the kill; the archive is the reference.
	(
		i=0
		for volume in $(volumes); do
			dd if="$T/archive" of="$volume" bs=64K skip=$((i * zone_bytes)) \
				iflag=skip_bytes,count_bytes count="$zone_bytes" conv=fsync \
				status=none || exit 0
			((i += 1))
			echo "$i" >"$T/synced"
		done
	) 2>/dev/null 3>&- &
	writer=$!
	until [[ $(cat "$T/synced" 2>/dev/null || echo 0) -ge 1 ]]; do sleep 0.01; done
	sleep 0.1
	kill_daemon
	wait "$writer" || :
	mount_device
	synced=$(<"$T/synced")
	i=0
	for volume in $(volumes); do
		size=$(size_of "$volume")
		cmp -n "$size" -i $((i * zone_bytes)):0 "$T/archive" "$volume" ||
			{ [[ $size == 0 ]]; }
		((i >= synced)) || same "$size" "$(min_size $i)" "$volume"
		((i += 1))
	done
	write_archive
	compare
}

# What zone i of the archive must hold.
min_size()
{
	local left=$(($(size_of "$T/archive") - $1 * zone_bytes))

	((left < 0)) && left=0
	((left > zone_bytes)) && left=$zone_bytes
	echo "$left"
}
