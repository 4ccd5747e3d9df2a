#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# L3 and the limits of ZBC and ZNS: the zone conditions, cell by cell, as the mount's
# ctl file and the report show them. Zones 2 to 7 are seq/0 to seq/5.

load common

setup()
{
	common_setup
	requires_fuse
}

start()
{
	make_mount strict --capacity 32M --zone-size 4M --zone-capacity 3M --conv-zones 2 "$@"
}

# bring CONDITION N: file seq/N, whose zone is N + 2, into a condition.
bring()
{
	case $1 in
	em) expect ok ctl reset $(($2 + 2)) ;;
	oi) bring em "$2"; fill_direct "$MNT/seq/$2" 4096 ;;
	oe) bring oi "$2"; expect ok ctl open $(($2 + 2)) ;;
	oe-empty) bring em "$2"; expect ok ctl open $(($2 + 2)) ;;
	cl) bring oi "$2"; expect ok ctl close $(($2 + 2)) ;;
	fu) bring em "$2"; fill_direct "$MNT/seq/$2" "$CAP" ;;
	esac
	same "$(cond "$2")" "${1%-empty}" "bring $1"
}

cond()
{
	zone_cond $(($1 + 2)) "$MNT"
}

# becomes FROM WANT RESULT COMMAND: ctl COMMAND on a zone in condition FROM.
becomes()
{
	bring "$1" 0
	expect "$3" ctl "$4" 2
	same "$(cond 0)" "$2" "$4 of $1"
}

append()
{
	expect "0 4096" zio "open:O_WRONLY,O_DIRECT,O_APPEND:$MNT/seq/$1" write:4096
}

@test "L3: a write opens implicitly, but leaves an explicitly open zone so" {
	start
	bring em 0; append 0; same "$(cond 0)" oi
	bring oi 0; append 0; same "$(cond 0)" oi
	bring oe 0; append 0; same "$(cond 0)" oe
	bring cl 0; append 0; same "$(cond 0)" oi
}

@test "L3: a write that ends at the capacity makes the zone full, from any condition" {
	start
	bring fu 0
	for from in oi oe cl; do
		bring $from 0
		expect "0 4096 $((CAP - 4096))" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/0" \
			seek:4096,set "fill:$((CAP - 4096))"
		same "$(cond 0)" fu "filled from $from"
	done
}

@test "L3: open" {
	start
	becomes em oe ok open
	becomes oi oe ok open
	becomes oe oe ok open
	becomes cl oe ok open
	becomes fu fu EIO open
}

@test "L3: close" {
	start
	becomes em em EIO close
	becomes oi cl ok close
	becomes oe cl ok close
	becomes oe-empty em ok close
	becomes cl cl ok close
	becomes fu fu EIO close
}

@test "L3: finish" {
	start
	for from in em oi oe oe-empty cl fu; do
		becomes $from fu ok finish
		same "$(size_of "$MNT/seq/0")" "$CAP"
	done
}

@test "L3: reset" {
	start
	for from in em oi oe oe-empty cl fu; do
		becomes $from em ok reset
		same "$(size_of "$MNT/seq/0")" 0
	done
}

@test "L3: after a new mount an open zone is closed, or empty if unwritten" {
	start
	bring oi 0; bring oe 1; bring oe-empty 2; bring cl 3; bring fu 4
	remount_device strict
	same "$(cond 0) $(cond 1) $(cond 2) $(cond 3) $(cond 4) $(cond 5)" "cl cl em cl fu em"
}

@test "L3: conventional zones refuse every command" {
	start
	for c in reset finish open close; do
		expect EIO ctl $c 1
	done
	same "$(zone_cond 1 "$MNT")" nw
}

@test "read-only and offline zones refuse every command" {
	start
	may_log 'zone|read-only'
	expect ok ctl inject read-only 2
	expect ok ctl inject offline 3
	for c in reset finish open close; do
		expect EIO ctl $c 2 || expect EPERM ctl $c 2
		expect EIO ctl $c 3 || expect EPERM ctl $c 3
	done
	same "$(cond 0) $(cond 1)" "ro of"
}

@test "read-only and offline zones stay so after a new mount" {
	start
	expect ok ctl inject read-only 2
	expect ok ctl inject offline 3
	remount_device strict
	same "$(cond 0) $(cond 1)" "ro of"
}

@test "open limit: an implicit open closes the least recent implicitly open zone" {
	start --max-open-zones 2
	append 0
	append 1
	append 2
	same "$(cond 0) $(cond 1) $(cond 2)" "cl oi oi"
	append 1
	append 3
	same "$(cond 1) $(cond 2) $(cond 3)" "oi cl oi"
	append 0
	same "$(cond 0) $(cond 1) $(cond 3)" "oi cl oi"
}

@test "open limit: an explicit open closes an implicitly open zone first" {
	start --max-open-zones 2
	append 0
	append 1
	expect ok ctl open 4
	same "$(cond 0) $(cond 1) $(cond 2)" "cl oi oe"
}

@test "open limit: with all zones explicitly open neither kind of open works" {
	start --max-open-zones 2
	may_log 'zone|read-only'
	expect ok ctl open 2
	expect ok ctl open 3
	expect ETOOMANYREFS ctl open 4
	expect "0 ETOOMANYREFS" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/2" write:4096
	same "$(size_of "$MNT/seq/2")" 0
}

@test "open limit: full, reset and close free a slot" {
	start --max-open-zones 1
	expect ok ctl open 2
	expect ok ctl close 2
	expect ok ctl open 3
	expect ok ctl reset 3
	expect ok ctl open 4
	expect ok ctl finish 4
	expect ok ctl open 5
}

@test "open limit: opening an implicitly open zone explicitly needs no slot" {
	start --max-open-zones 1
	append 0
	expect ok ctl open 2
	same "$(cond 0)" oe
}

@test "active limit: closed zones count, a new one is refused with EOVERFLOW" {
	start --max-active-zones 2
	may_log 'zone|read-only'
	append 0
	append 1
	expect ok ctl close 2
	expect EOVERFLOW ctl open 4
	expect "0 EOVERFLOW" zio "open:O_WRONLY,O_DIRECT:$MNT/seq/2" write:4096
}

@test "active limit: reset and finish make room" {
	start --max-active-zones 2
	append 0
	append 1
	expect ok ctl reset 2
	append 2
	expect ok ctl finish 3
	append 3
}

@test "active limit: an active zone may be opened again" {
	start --max-active-zones 2 --max-open-zones 1
	append 0
	append 1
	same "$(cond 0) $(cond 1)" "cl oi"
	expect ok ctl open 2
	same "$(cond 0) $(cond 1)" "oe cl"
}
