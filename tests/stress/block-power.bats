#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# long
#
# The unit tests of the block view in their long form: power losses at all flush
# boundaries and 1000 moments between for each workload and each kind of disk,
# failing devices, and random use against a model.

load ../common

export BATS_TEST_TIMEOUT=14000

@test "power lost at every flush boundary, and at 1000 moments between" {
	STRESS=1 "$BUILD/tests/test-block-crash"
}

@test "random faults for a quarter of an hour" {
	STRESS=1 "$BUILD/tests/test-block-fault"
}

@test "random use for a quarter of an hour" {
	STRESS=1 "$BUILD/tests/test-block-model"
}

@test "kill -9 and power cuts 200 times" {
	for layout in dir image; do
		ROUNDS=200 LAYOUT=$layout bats --formatter tap "$TESTS/block-crash.bats"
	done
}

@test "1000000 operations on a file and on loop devices" {
	for layout in dir image; do
		LAYOUT=$layout STRESS=1 bats --formatter tap "$TESTS/block-fsx.bats"
	done
}
