/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request between its arrival and its answer. Handlers never wait: the answer
 * comes from zonefs's completion, on whatever thread that runs. A signal to the
 * client may arrive at any moment in between; if it kills the client, zonefs is
 * asked to give up.
 *
 * Most requests complete before the call that takes them returns. Such a one is
 * answered by the thread that received it, and costs nothing of what only those
 * that wait need: the interrupt, two of libfuse's locks each time, and a buffer
 * of their own.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_i.h"

/* ---- memory ---- */

struct freq_pool {
	struct freq	*all;
	unsigned	nr;

	pthread_mutex_t	lock;		/* guards unused */
	struct freq	*unused;
};

struct freq_pool *freq_pool_new(unsigned nr)
{
	struct freq_pool *p = calloc(1, sizeof(*p));
	unsigned i;

	if (!p)
		return NULL;
	p->all = calloc(nr, sizeof(*p->all));
	if (!p->all) {
		free(p);
		return NULL;
	}
	p->nr = nr;
	pthread_mutex_init(&p->lock, NULL);
	for (i = 0; i < nr; i++) {
		p->all[i].next = p->unused;
		p->unused = &p->all[i];
	}
	return p;
}

void freq_pool_free(struct freq_pool *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p->all);
	free(p);
}

/* More than the pool has come from malloc, as all do without one. */
static struct freq *alloc_freq(struct freq_pool *p)
{
	struct freq *f = NULL;

	if (p) {
		pthread_mutex_lock(&p->lock);
		f = p->unused;
		if (f)
			p->unused = f->next;
		pthread_mutex_unlock(&p->lock);
	}
	/* Not calloc, which takes a lock where malloc has a cache for each thread. */
	return f ? f : malloc(sizeof(*f));
}

static void free_freq(struct freq_pool *p, struct freq *f)
{
	if (!p || f < p->all || f >= p->all + p->nr) {
		free(f);
		return;
	}
	pthread_mutex_lock(&p->lock);
	f->next = p->unused;
	p->unused = f;
	pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

/* The last one after freq_drain took the mount's own count away. */
static void uncount(struct mnt *m)
{
	if (atomic_fetch_sub(&m->nr_requests, 1) != 1)
		return;
	pthread_mutex_lock(&m->lock);
	m->drained = true;
	pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->lock);
}

static void freq_done(struct zonefs_req *zr, ssize_t result)
{
	freq_finish((struct freq *)((char *)zr - offsetof(struct freq, zr)), result);
}

static void give_up(struct freq *f)
{
	zonefs_cancel(f->m->fs, &f->zr);
}

struct freq *freq_new(struct mnt *m, fuse_req_t req,
		      void (*reply)(struct freq *f, ssize_t result))
{
	struct freq *f = alloc_freq(m->freqs);

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	memset(f, 0, sizeof(*f));
	f->m = m;
	f->req = req;
	f->reply = reply;
	f->zr.done = freq_done;
	f->cancel = give_up;
	pthread_mutex_init(&f->lock, NULL);
	atomic_fetch_add(&m->nr_requests, 1);
	return f;
}

static void answer(struct freq *f)
{
	struct mnt *m = f->m;

	/* After this no interrupt runs any more or will: libfuse has a lock for it. */
	if (f->interruptible)
		fuse_req_interrupt_func(f->req, NULL, NULL);
	if (f->watched)
		intr_forget(m->intr, f);
	f->reply(f, f->result);
	pthread_mutex_destroy(&f->lock);
	free_freq(m->freqs, f);
	uncount(m);
}

/* libfuse holds the lock of req, and req stays valid until we return. */
static void freq_interrupt(fuse_req_t req, void *data)
{
	struct freq *f = data;

	if (f->watched)
		return;
	f->watched = true;
	intr_watch(f->m->intr, f, true);
}

void freq_cancel(struct freq *f)
{
	pthread_mutex_lock(&f->lock);
	if (!f->finished && !f->past_cancel)
		f->cancel(f);
	pthread_mutex_unlock(&f->lock);
}

/* True if f is finished. Else whoever finishes it answers it. */
static bool let_go(struct freq *f)
{
	bool finished;

	pthread_mutex_lock(&f->lock);
	finished = f->finished;
	f->on_its_own = !finished;
	if (!finished && f->buf_lent) {
		iobuf_take(f->buf);
		f->buf_lent = false;
	}
	pthread_mutex_unlock(&f->lock);
	return finished;
}

void freq_submitted(struct freq *f, bool interruptible)
{
	bool finished = false;

	if (interruptible) {
		pthread_mutex_lock(&f->lock);
		finished = f->finished;
		pthread_mutex_unlock(&f->lock);
		f->interruptible = !finished;
		if (!finished && f->closes) {
			f->watched = true;
			intr_watch(f->m->intr, f, false);
		}
		/* It may come at once, if the client was faster. */
		if (!finished)
			fuse_req_interrupt_func(f->req, freq_interrupt, f);
	}
	if (finished || let_go(f))
		answer(f);
}

void freq_drop_buf(struct freq *f)
{
	struct iobuf *own;

	pthread_mutex_lock(&f->lock);
	own = f->buf_lent ? NULL : f->buf;
	f->buf = NULL;
	f->buf_lent = false;
	pthread_mutex_unlock(&f->lock);
	iobuf_put(f->m->pool, own);
}

void freq_past_cancel(struct freq *f)
{
	pthread_mutex_lock(&f->lock);
	f->past_cancel = true;
	pthread_mutex_unlock(&f->lock);
}

void freq_reply_read(struct freq *f, ssize_t result)
{
	if (result < 0)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_buf(f->req, f->buf->data, result);
	iobuf_put(f->m->pool, f->buf);
}

void freq_fail(struct freq *f, int err)
{
	f->result = -err;
	answer(f);
}

void freq_finish(struct freq *f, ssize_t result)
{
	bool on_its_own;

	pthread_mutex_lock(&f->lock);
	f->finished = true;
	f->result = result;
	on_its_own = f->on_its_own;
	pthread_mutex_unlock(&f->lock);
	if (on_its_own)
		answer(f);
}

void freq_drain(struct mnt *m)
{
	uncount(m);
	pthread_mutex_lock(&m->lock);
	while (!m->drained)
		pthread_cond_wait(&m->idle, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void freq_reply_err(struct freq *f, ssize_t result)
{
	fuse_reply_err(f->req, result < 0 ? -result : 0);
}
