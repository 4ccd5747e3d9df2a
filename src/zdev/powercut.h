/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volatile write cache in front of an emulated medium, for power-cut tests:
 * what no flush has made durable can be taken back.
 */
#ifndef ZDEV_POWERCUT_H
#define ZDEV_POWERCUT_H

#include "emu.h"

/* The table of a medium made by powercut_create. */
extern const struct emu_medium_ops powercut_ops;

/*
 * Put the cache in front of below, a medium of geometry g that ops serve. *pc is
 * the new medium; its close and abandon take below along. 0 or -ENOMEM.
 */
int powercut_create(const struct emu_medium_ops *ops, void *below,
		    const struct zdev_geometry *g, void **pc);

/* Undo powercut_create: free the cache alone. */
void powercut_free(void *pc);

/*
 * Cut the power: every zone goes back to what its last flush made durable, or,
 * never flushed, to its state at open. No other call may be in flight. After it
 * only the close in powercut_ops may be called; that one writes nothing. 0 or
 * the first error; the rest of the zones is taken back all the same.
 */
int powercut_drop(void *pc);

#endif
