# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# Where arenas are (docs/arena-format.md), and a medium that stands still, so that
# what is appended stays in the arena.

teardown()
{
	arena_teardown
}

arena_teardown()
{
	medium_go
	common_teardown || return
	remove_arenas
}

# arena_path: of $DEV, mounted or not. Whether the file is there is another question.
arena_path()
{
	local dir=/run/zonefsd id

	[[ $(stat -f -c %T /run) == tmpfs ]] || dir=/dev/shm/zonefsd-$EUID
	read -r -a id < <(stat -c '%d %i' "$DEV")
	printf '%s/arena-%s-%x-%x\n' "$dir" \
		"$(zonefsctl info "$DEV" | awk '$1 == "uuid" { print $2 }')" "${id[@]}"
}

# What a test leaves behind is in memory. The mounts are gone.
remove_arenas()
{
	local arena

	if [[ $DEV && -e $DEV ]]; then
		arena=$(arena_path)
		rm -f "$arena" "${arena%/*}/refused-${arena##*/}"
	fi
}

# A file system at $T/medium whose writes medium_stop holds back.
medium_make()
{
	requires_loop
	requires_mkfs ext4
	requires_program fsfreeze
	mkdir "$T/medium"
	truncate -s "${1:-256M}" "$T/medium.ext4"
	mkfs.ext4 -q -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$T/medium.ext4"
	mount -o loop "$T/medium.ext4" "$T/medium"
}

medium_stop()
{
	fsfreeze -f "$T/medium"
	: >"$T/medium.stopped"
}

medium_go()
{
	[[ ! -e $T/medium.stopped ]] || fsfreeze -u "$T/medium"
	rm -f "$T/medium.stopped"
}
