#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# tests/crash.bats with many rounds.

@test "200 rounds of each crash test" {
	export BATS_TEST_TIMEOUT=7000 ROUNDS=${ROUNDS:-200}
	env TMPDIR="$BATS_TEST_TMPDIR" bats "$BATS_TEST_DIRNAME/../crash.bats"
}
