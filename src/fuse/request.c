/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request between its arrival and its answer. Handlers never wait: the answer
 * comes from zonefs's completion, on whatever thread that runs. An interrupt of
 * the client may arrive at any moment in between and asks zonefs to give up.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "fuse_i.h"

static void count_request(struct mnt *m, int by)
{
	pthread_mutex_lock(&m->lock);
	m->nr_requests += by;
	if (!m->nr_requests)
		pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->lock);
}

static void freq_done(struct zonefs_req *zr, ssize_t result)
{
	freq_finish((struct freq *)((char *)zr - offsetof(struct freq, zr)), result);
}

static void freq_cancel(struct freq *f)
{
	zonefs_cancel(f->m->fs, &f->zr);
}

struct freq *freq_new(struct mnt *m, fuse_req_t req,
		      void (*reply)(struct freq *f, ssize_t result))
{
	struct freq *f = calloc(1, sizeof(*f));

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	f->m = m;
	f->req = req;
	f->reply = reply;
	f->zr.done = freq_done;
	f->cancel = freq_cancel;
	pthread_mutex_init(&f->lock, NULL);
	count_request(m, 1);
	return f;
}

/* libfuse holds the lock of req, and req stays valid until we return. */
static void freq_interrupt(fuse_req_t req, void *data)
{
	struct freq *f = data;

	pthread_mutex_lock(&f->lock);
	f->interrupted = true;
	if (f->submitted && !f->finished)
		f->cancel(f);
	pthread_mutex_unlock(&f->lock);
}

bool freq_submit(struct freq *f, bool interruptible)
{
	bool go_on;

	f->interruptible = interruptible;
	if (interruptible)
		fuse_req_interrupt_func(f->req, freq_interrupt, f);
	pthread_mutex_lock(&f->lock);
	go_on = !f->interrupted;
	f->submitted = go_on;
	pthread_mutex_unlock(&f->lock);
	if (!go_on)
		freq_finish(f, -EINTR);
	return go_on;
}

void freq_past_cancel(struct freq *f)
{
	pthread_mutex_lock(&f->lock);
	f->submitted = false;
	pthread_mutex_unlock(&f->lock);
}

void freq_fail(struct freq *f, int err)
{
	freq_finish(f, -err);
}

void freq_finish(struct freq *f, ssize_t result)
{
	struct mnt *m = f->m;

	pthread_mutex_lock(&f->lock);
	f->finished = true;
	pthread_mutex_unlock(&f->lock);
	/* After this no interrupt runs any more or will: libfuse has a lock for it. */
	if (f->interruptible)
		fuse_req_interrupt_func(f->req, NULL, NULL);
	f->reply(f, result);
	pthread_mutex_destroy(&f->lock);
	free(f);
	count_request(m, -1);
}

void freq_drain(struct mnt *m)
{
	pthread_mutex_lock(&m->lock);
	while (m->nr_requests)
		pthread_cond_wait(&m->idle, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void freq_reply_err(struct freq *f, ssize_t result)
{
	fuse_reply_err(f->req, result < 0 ? -result : 0);
}
