/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buffers for requests with data. A WRITE that waits for its zone keeps the
 * buffer it arrived in, so that data is not copied; READs use the same ones.
 * Last in, first out: only as many become resident as are in use at once.
 *
 * A fixed pool has all its memory from the start, for it may be needed when there is
 * no other to be had. What is small has buffers of its own there, which are many.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "fuse_i.h"
#include "zonefsd/map.h"

#define IOBUF_HEAD	4096	/* struct iobuf and, at its end, FUSE's headers */
#define IOBUF_IN	80	/* fuse_in_header + fuse_write_in */
/* libfuse reads up to max_write + 4096 bytes to recv. */
#define IOBUF_SIZE	(IOBUF_HEAD + MNT_MAX_WRITE + 4096)
/* A large one is a huge page behind its head. */
#define IOBUF_HUGE	((size_t)2 << 20)
#define IOBUF_HUGE_SIZE	(IOBUF_HEAD + IOBUF_HUGE)
#define IOBUF_MAX	256	/* in use at once; more would be a client without bounds */
#define IOBUF_KEEP	8	/* unused ones of a kind that stay mapped */

/* Of a fixed pool: more than there are receivers, and some 50 MiB together. */
#define FIXED_FULL	40
#define FIXED_SMALL	256
#define FIXED_SMALL_SIZE (IOBUF_HEAD + IOBUF_SMALL_SIZE)

struct iobuf_stack {
	struct iobuf	*unused;
	uint32_t	nr_unused;
};

struct iobuf_pool {
	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	returned;
	struct iobuf_stack stack[3];	/* one for each kind */
	uint32_t	nr_used;

	char		*memory;	/* of a fixed pool, else NULL; constant */
};

#define FIXED_BYTES	((size_t)FIXED_FULL * IOBUF_SIZE + (size_t)FIXED_SMALL * FIXED_SMALL_SIZE)

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* base is page aligned. */
static struct iobuf *format_iobuf(char *base, enum iobuf_kind kind)
{
	struct iobuf *b = (struct iobuf *)base;

	b->kind = kind;
	b->data = base + IOBUF_HEAD;
	b->recv = b->data - IOBUF_IN;
	return b;
}

static void push(struct iobuf_stack *s, struct iobuf *b)
{
	b->next = s->unused;
	s->unused = b;
	s->nr_unused++;
}

/* One map, in large pages if the system has them: few pieces for the disk. */
static bool make_fixed(struct iobuf_pool *p)
{
	char *base = p->memory = map(FIXED_BYTES);
	int i;

	if (!base)
		return false;
	madvise(base, FIXED_BYTES, MADV_HUGEPAGE);
	for (i = 0; i < FIXED_FULL; i++, base += IOBUF_SIZE)
		push(&p->stack[IOBUF_RECEIVE], format_iobuf(base, IOBUF_RECEIVE));
	for (i = 0; i < FIXED_SMALL; i++, base += FIXED_SMALL_SIZE)
		push(&p->stack[IOBUF_SMALL], format_iobuf(base, IOBUF_SMALL));
	return true;
}

struct iobuf_pool *iobuf_pool_new(bool fixed)
{
	struct iobuf_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (fixed && !make_fixed(p)) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->returned, NULL);
	return p;
}

void iobuf_pool_free(struct iobuf_pool *p)
{
	if (!p)
		return;
	if (p->memory)
		munmap(p->memory, FIXED_BYTES);
	else
		iobuf_trim(p, 0);
	pthread_cond_destroy(&p->returned);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/*
 * Memory of IOBUF_HUGE_SIZE whose data begins on a huge page, or is of small ones if
 * the system has none. A disk takes a MiB in one piece several times as fast as in
 * 256 (measured on virtio: 2.5 GB/s to 0.9).
 */
static char *map_huge(void)
{
	char *base = zmap_aligned(IOBUF_HUGE_SIZE, IOBUF_HEAD, IOBUF_HUGE,
				  PROT_READ | PROT_WRITE);

	if (base)
		madvise(base + IOBUF_HEAD, IOBUF_HUGE, MADV_HUGEPAGE);
	return base;
}

static struct iobuf *iobuf_map(enum iobuf_kind kind)
{
	char *base = kind == IOBUF_LARGE ? map_huge() : map(IOBUF_SIZE);

	return base ? format_iobuf(base, kind) : NULL;
}

static void iobuf_unmap(struct iobuf *b)
{
	munmap(b, b->kind == IOBUF_LARGE ? IOBUF_HUGE_SIZE : IOBUF_SIZE);
}

/* The kind that serves for another in this pool. */
static enum iobuf_kind kind_in(const struct iobuf_pool *p, enum iobuf_kind kind)
{
	if (kind == IOBUF_LARGE && p->memory)
		return IOBUF_RECEIVE;
	return kind == IOBUF_SMALL && !p->memory ? IOBUF_RECEIVE : kind;
}

/* p->lock held. None to be had: one must come back first. */
static bool must_wait(const struct iobuf_pool *p, const struct iobuf_stack *s)
{
	return p->memory ? !s->unused : p->nr_used >= IOBUF_MAX;
}

struct iobuf *iobuf_get(struct iobuf_pool *p, enum iobuf_kind kind)
{
	struct iobuf_stack *s;
	struct iobuf *b;

	kind = kind_in(p, kind);
	s = &p->stack[kind];
	pthread_mutex_lock(&p->lock);
	while (must_wait(p, s))
		pthread_cond_wait(&p->returned, &p->lock);
	p->nr_used++;
	b = s->unused;
	if (b) {
		s->unused = b->next;
		s->nr_unused--;
	}
	pthread_mutex_unlock(&p->lock);
	if (!b)
		b = iobuf_map(kind);
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
	struct iobuf_stack *s;
	bool keep;

	if (!b)
		return;
	s = &p->stack[b->kind];
	pthread_mutex_lock(&p->lock);
	p->nr_used--;
	keep = p->memory || s->nr_unused < IOBUF_KEEP;
	if (keep)
		push(s, b);
	/* In a fixed pool those who wait may want another kind. */
	if (p->memory)
		pthread_cond_broadcast(&p->returned);
	else
		pthread_cond_signal(&p->returned);
	pthread_mutex_unlock(&p->lock);
	if (!keep)
		iobuf_unmap(b);
}

static struct iobuf *take_surplus(struct iobuf_pool *p, struct iobuf_stack *s, uint32_t keep)
{
	struct iobuf *b = NULL;

	pthread_mutex_lock(&p->lock);
	if (s->nr_unused > keep) {
		b = s->unused;
		s->unused = b->next;
		s->nr_unused--;
	}
	pthread_mutex_unlock(&p->lock);
	return b;
}

void iobuf_trim(struct iobuf_pool *p, uint32_t keep)
{
	struct iobuf *b;
	int kind;

	for (kind = 0; kind < 3 && !p->memory; kind++)
		while ((b = take_surplus(p, &p->stack[kind], keep)))
			iobuf_unmap(b);
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
