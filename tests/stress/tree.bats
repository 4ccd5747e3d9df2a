#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# layouts: dir image
#
# tests/big-tree.bats with all of /usr.

@test "all of /usr goes into zones and comes back identical, also after kill -9" {
	export BATS_TEST_TIMEOUT=7000 TREE=${TREE:-/usr} ZONE=256M ZONES=130
	env TMPDIR="$BATS_TEST_TMPDIR" bats "$BATS_TEST_DIRNAME/../big-tree.bats"
}
