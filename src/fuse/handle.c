/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files. Listed, because the kernel sends no RELEASE when the connection
 * breaks (umount -f, a signal to the daemon), and counted by inode and mode: a
 * write must know whether somebody may have its pages cached, and an open
 * whether others pass through.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fuse_i.h"

struct handle *handle_new(void)
{
	return calloc(1, sizeof(struct handle));
}

static struct onode **onode_bucket(struct mnt *m, uint64_t ino)
{
	return &m->onodes[ino % (sizeof(m->onodes) / sizeof(m->onodes[0]))];
}

/* m->lock held. */
static struct onode *onode_get(struct mnt *m, uint64_t ino)
{
	struct onode **bucket = onode_bucket(m, ino), *n;

	for (n = *bucket; n; n = n->next)
		if (n->ino == ino)
			break;
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return NULL;
		n->m = m;
		n->ino = ino;
		n->next = *bucket;
		*bucket = n;
	}
	n->refs++;
	return n;
}

void onode_put(struct mnt *m, struct onode *n)
{
	struct onode **p;

	if (--n->refs)
		return;
	for (p = onode_bucket(m, n->ino); *p != n; p = &(*p)->next)
		;
	*p = n->next;
	free(n);
}

/* m->lock held. */
static void list_add(struct mnt *m, struct handle *h)
{
	h->next = m->handles;
	h->prev = &m->handles;
	if (h->next)
		h->next->prev = &h->next;
	m->handles = h;
}

/* m->lock held. */
static void list_del(struct handle *h)
{
	if (!h->prev)
		return;
	*h->prev = h->next;
	if (h->next)
		h->next->prev = h->prev;
	h->prev = NULL;
}

bool handle_add(struct mnt *m, struct handle *h, uint64_t ino)
{
	pthread_mutex_lock(&m->lock);
	if (!h->ctl) {
		h->node = onode_get(m, ino);
		if (!h->node) {
			pthread_mutex_unlock(&m->lock);
			return false;
		}
		m->nr_writers += h->writable;
	}
	list_add(m, h);
	pthread_mutex_unlock(&m->lock);
	return true;
}

/* m->lock held. by is 1 or -1. */
static void count_mode(struct mnt *m, const struct handle *h, int by)
{
	struct onode *n = h->node;

	switch (h->mode) {
	case IO_UNDECIDED:
		break;
	case IO_CACHED:
		atomic_fetch_add(&n->nr_cached, by);
		break;
	case IO_DIRECT:
		if (!atomic_load(&h->settled))
			n->nr_plain += by;
		break;
	case IO_PASS:
		m->nr_through += by;
		n->nr_through += by;
		n->nr_pass += by;
		break;
	case IO_PASS_DIRECT:
		/* It may be mapped, if it can be read. */
		n->nr_through += (h->flags & O_ACCMODE) == O_RDWR ? by : 0;
		n->nr_pass += by;
		break;
	}
}

void handle_set_mode(struct mnt *m, struct handle *h, enum io_mode mode)
{
	h->mode = mode;
	count_mode(m, h, 1);
}

void handle_settle(struct mnt *m, struct handle *h)
{
	if (atomic_load_explicit(&h->settled, memory_order_relaxed))
		return;
	pthread_mutex_lock(&m->lock);
	if (h->mode == IO_DIRECT && !atomic_load(&h->settled))
		h->node->nr_plain--;
	atomic_store(&h->settled, true);
	pthread_mutex_unlock(&m->lock);
}

/* m->lock held, released. */
static void leave_onode(struct mnt *m, struct onode *n)
{
	if (m->pass) {
		pass_released(m, n);
		pthread_mutex_lock(&m->lock);
	}
	onode_put(m, n);
	pthread_mutex_unlock(&m->lock);
}

void handle_drop(struct mnt *m, struct handle *h)
{
	bool last_writer = false, last;

	pthread_mutex_lock(&m->lock);
	list_del(h);
	last = !m->handles;
	if (h->node) {
		count_mode(m, h, -1);
		m->nr_writers -= h->writable;
		last_writer = h->writable && !m->nr_writers;
		leave_onode(m, h->node);
	} else {
		pthread_mutex_unlock(&m->lock);
	}
	ctl_file_free(h->ctl);
	free(h);
	/* Some stay: a shell that reads one file after the other opens the next one soon. */
	if (last || last_writer)
		iobuf_trim(m->pool, last_writer ? 0 : 2);
	if (last_writer)
		notify_no_writer(m->notify);
}

void handle_append_begin(struct mnt *m, struct handle *h)
{
	struct zonefs_attr attr;

	if (zonefs_getattr(m->fs, h->node->ino, &attr))
		attr.size = 0;
	pthread_mutex_lock(&m->lock);
	if (!h->node->nr_appends++)
		h->node->shown = attr.size;
	pthread_mutex_unlock(&m->lock);
}

void handle_append_end(struct mnt *m, struct handle *h)
{
	pthread_mutex_lock(&m->lock);
	h->node->nr_appends--;
	pthread_mutex_unlock(&m->lock);
}

uint64_t handle_shown_size(struct mnt *m, uint64_t ino, uint64_t size)
{
	struct onode *n = NULL;

	pthread_mutex_lock(&m->lock);
	if (m->nr_writers)
		for (n = *onode_bucket(m, ino); n && n->ino != ino; n = n->next)
			;
	if (n && n->nr_appends && n->shown < size)
		size = n->shown;
	pthread_mutex_unlock(&m->lock);
	return size;
}

struct waiter {
	struct zonefs_req zr;
	pthread_mutex_t	lock;
	pthread_cond_t	cond;
	bool		done;
};

static void waiter_done(struct zonefs_req *zr, ssize_t result)
{
	struct waiter *w = (struct waiter *)zr;	/* zr comes first */

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void release_and_wait(struct zonefs_file *file)
{
	struct waiter w = {
		.zr.done = waiter_done,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};

	zonefs_release(file, &w.zr);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
}

void handle_drop_all(struct mnt *m)
{
	struct handle *h;

	/* No thread receives requests any more: the list changes only here. */
	while ((h = m->handles)) {
		if (h->file)
			release_and_wait(h->file);
		handle_drop(m, h);
	}
}
