/* SPDX-License-Identifier: BSD-2-Clause */
/* A request whose submitter waits for it. */
#include "block_i.h"

struct waiter {
	/* Guards done, so that the waiter does not leave before the teller has. */
	pthread_mutex_t	lock;
	pthread_cond_t	cond;
	bool		done;
};

static void wake(struct block_io *io)
{
	struct waiter *w = io->owner;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

ssize_t block_run(struct block *b, struct block_io *io)
{
	struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

	io->done = wake;
	io->owner = &w;
	block_submit(b, io);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return io->result;
}
