/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for other threads: see latch.h. */
#include "zonefsd/latch.h"

void zlatch_init(struct zlatch *l, unsigned left)
{
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->cond, NULL);
	l->left = left;
}

void zlatch_put(struct zlatch *l)
{
	/* Signalled under the lock: it is gone as soon as the waiter has the lock. */
	pthread_mutex_lock(&l->lock);
	if (!--l->left)
		pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
}

void zlatch_wait(struct zlatch *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->left)
		pthread_cond_wait(&l->cond, &l->lock);
	pthread_mutex_unlock(&l->lock);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->lock);
}
