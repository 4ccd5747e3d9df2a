/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buffers for requests with data. A WRITE that waits for its zone keeps the
 * buffer it arrived in, so that data is not copied; READs use the same ones.
 * Last in, first out: only as many become resident as are in use at once.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "fuse_i.h"

#define IOBUF_HEAD	4096	/* struct iobuf and, at its end, FUSE's headers */
#define IOBUF_IN	80	/* fuse_in_header + fuse_write_in */
/* libfuse reads up to max_write + 4096 bytes to recv. */
#define IOBUF_SIZE	(IOBUF_HEAD + MNT_MAX_WRITE + 4096)
#define IOBUF_MAX	256	/* in use at once; more would be a client without bounds */
#define IOBUF_KEEP	8	/* unused ones that stay mapped */

struct iobuf_pool {
	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	returned;
	struct iobuf	*unused;
	uint32_t	nr_unused;
	uint32_t	nr_used;
};

struct iobuf_pool *iobuf_pool_new(void)
{
	struct iobuf_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->returned, NULL);
	return p;
}

void iobuf_pool_free(struct iobuf_pool *p)
{
	if (!p)
		return;
	iobuf_trim(p);
	pthread_cond_destroy(&p->returned);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct iobuf *iobuf_map(void)
{
	struct iobuf *b;
	char *base;

	base = mmap(NULL, IOBUF_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	b = (struct iobuf *)base;
	b->data = base + IOBUF_HEAD;
	b->recv = b->data - IOBUF_IN;
	return b;
}

struct iobuf *iobuf_get(struct iobuf_pool *p)
{
	struct iobuf *b;

	pthread_mutex_lock(&p->lock);
	while (p->nr_used >= IOBUF_MAX)
		pthread_cond_wait(&p->returned, &p->lock);
	p->nr_used++;
	b = p->unused;
	if (b) {
		p->unused = b->next;
		p->nr_unused--;
	}
	pthread_mutex_unlock(&p->lock);
	if (!b)
		b = iobuf_map();
	if (b) {
		b->next = NULL;
		b->slot = NULL;
		return b;
	}
	pthread_mutex_lock(&p->lock);
	p->nr_used--;
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void iobuf_put(struct iobuf_pool *p, struct iobuf *b)
{
	bool keep;

	if (!b)
		return;
	pthread_mutex_lock(&p->lock);
	p->nr_used--;
	keep = p->nr_unused < IOBUF_KEEP;
	if (keep) {
		b->next = p->unused;
		p->unused = b;
		p->nr_unused++;
	}
	pthread_cond_signal(&p->returned);
	pthread_mutex_unlock(&p->lock);
	if (!keep)
		munmap(b, IOBUF_SIZE);
}

void iobuf_trim(struct iobuf_pool *p)
{
	struct iobuf *b, *next;

	pthread_mutex_lock(&p->lock);
	b = p->unused;
	p->unused = NULL;
	p->nr_unused = 0;
	pthread_mutex_unlock(&p->lock);
	for (; b; b = next) {
		next = b->next;
		munmap(b, IOBUF_SIZE);
	}
}

struct iobuf *iobuf_of(const char *data)
{
	return (struct iobuf *)((uintptr_t)data - IOBUF_HEAD);
}

void iobuf_take(struct iobuf *b)
{
	*b->slot = NULL;
	b->slot = NULL;
}
