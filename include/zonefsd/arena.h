/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arena of a device: appends that were acknowledged from memory and that
 * the device may not have yet. It lies on a RAM file system and outlives a
 * killed daemon. docs/arena-format.md has the format, and where it lies.
 */
#ifndef ZONEFSD_ARENA_H
#define ZONEFSD_ARENA_H

#include <stdint.h>

#include "zonefsd/zdev.h"

struct zonefs_arena_left {
	uint64_t	bytes;		/* of them, those the device has not got */
	uint32_t	zones;		/* that they belong to */
	uint32_t	refused;	/* zones with bytes that do not fit the device */
	char		path[320];	/* of the arena; "" without one */
};

/*
 * Does an arena of dev, which must be open and not mounted, wait for replay?
 * 0 and *left; left->bytes is 0 when nothing does. Changes nothing. log gets a
 * line for each thing in an arena that does not match. -errno with *e. Blocks.
 */
int zonefs_arena_pending(struct zdev *dev, const struct zlog *log,
			 struct zonefs_arena_left *left, struct zerr *e);

/*
 * Write to dev what its arena holds and dev has not got, make it durable, remove
 * the arena. *left as it was before. What does not match is refused, with a
 * line to log, and goes with the arena. On error the arena stays, and a
 * second replay goes on where this one ended. 0 or -errno with *e. Blocks.
 */
int zonefs_arena_replay(struct zdev *dev, const struct zlog *log,
			struct zonefs_arena_left *left, struct zerr *e);

/* The content of dev is to go: so is what waits for it. 0 or -errno with *e. */
int zonefs_arena_discard(struct zdev *dev, struct zerr *e);

#endif
