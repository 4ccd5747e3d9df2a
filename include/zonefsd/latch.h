/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A latch: one thread waits until a number of things have happened on others. It may
 * live on the waiter's stack: whoever counts down last does not touch it after the
 * waiter has been let go.
 */
#ifndef ZONEFSD_LATCH_H
#define ZONEFSD_LATCH_H

#include <pthread.h>

struct zlatch {
	pthread_mutex_t	lock;		/* guards left */
	pthread_cond_t	cond;
	unsigned	left;
};

void zlatch_init(struct zlatch *l, unsigned left);

/* One of them has happened. Any thread. */
void zlatch_put(struct zlatch *l);

/* Wait for all. Afterwards l is no latch any more. Blocks. */
void zlatch_wait(struct zlatch *l);

#endif
