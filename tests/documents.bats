#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What is documented is there, and what is there is documented.

load common

PROJECT=$TESTS/..

# The manual as plain words.
manual()
{
	mandoc -T ascii "$PROJECT/man/$1.8" | col -b
}

# The long options of a help text.
long_options()
{
	grep -oE -- '--[a-z][a-z-]+' | sort -u
}

@test "every program has a manual, and it names every option of --help" {
	requires_program mandoc
	for p in zonefsd zonefs-losetup; do
		for o in $("$p" --help | long_options); do
			manual "$p" | grep -qE -- "$o\b" || { echo "$p $o"; false; }
		done
	done
	for c in create remove mkfs info report reset finish open close check seal stat inject; do
		manual zonefsctl | grep -qE "zonefsctl $c\b" || { echo "$c"; false; }
		for o in $(zonefsctl $c --help | long_options); do
			manual zonefsctl | grep -qE -- "$o\b" || { echo "zonefsctl $c $o"; false; }
		done
	done
}

@test "the manual of zonefsd names every mount option of --help" {
	requires_program mandoc
	for o in $(zonefsd --help | sed -n '/^Mount options/,$p' |
			grep -oE '^  [a-z_]+(-[a-z]+)?' | tr -d ' '); do
		manual zonefsd | grep -qE -- "\b$o\b" || { echo "$o"; false; }
	done
}

@test "the mount helpers have manuals" {
	requires_program mandoc
	manual mount.fuse.zonefsd | grep -q zonefsd
	manual umount.fuse.zonefsd | grep -q zonefsd
}

@test "completion knows every command" {
	files=("$PROJECT"/contrib/bash-completion/*)
	for c in create remove mkfs info report reset finish open close check seal stat; do
		grep -qw "$c" "${files[@]}"
	done
}

@test "make install puts every program, manual and completion below DESTDIR" {
	requires_program make
	# In a folder of its own: the prefix is compiled in, and other tests use that build.
	make -s -j2 -C "$PROJECT" BUILD="$T/build" WERROR=1 DESTDIR="$T/root" PREFIX=/usr install
	for p in zonefsd zonefsctl zonefs-losetup; do
		[ -x "$T/root/usr/sbin/$p" ]
		"$T/root/usr/sbin/$p" --version
	done
	[ -x "$T/root/sbin/mount.fuse.zonefsd" ]
	[ -x "$T/root/sbin/umount.fuse.zonefsd" ]
	[ "$(find "$T/root" -name '*.8' | wc -l)" -eq 5 ]
	[ "$(find "$T/root" -path '*bash-completion*' -type f | wc -l)" -ge 1 ]
}

@test "every header compiles alone" {
	requires_program "${CC:-cc}"
	for h in "$PROJECT"/include/zonefsd/*.h; do
		"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -I"$PROJECT/include" -fsyntax-only -x c "$h"
	done
}
