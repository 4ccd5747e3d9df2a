/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every emulated device must do whatever it is made of: the condition
 * machine, its limits, reads, order and tails. Run against each medium by its
 * own test program.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "zonefsd/zdev.h"

struct conformance {
	/* A fresh device of this geometry; the one made before is closed by then. */
	struct zdev *(*make)(void *ctx, const struct zdev_geometry *g);
	/*
	 * Close dev and open the same device again. NULL where a device does
	 * not outlive its close.
	 */
	struct zdev *(*reopen)(void *ctx, struct zdev *dev);
	void	*ctx;
};

/* Aborts with the place and the values when something is not as it must be. */
void conformance_run(const struct conformance *c);

#endif
