/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arena of a mount. Segments are taken from the top of a stack, so that few
 * of them stay warm in the processor's cache and the rest need no memory at
 * all. Memory is allocated when a segment is first used, not by touching it:
 * where the RAM file system is full that would be SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena_i.h"
#include "zonefsd/map.h"

#ifndef MADV_COLLAPSE		/* Linux 6.1 */
#define MADV_COLLAPSE	25
#endif

#define CHUNK_SEGS	((uint32_t)(ARENA_CHUNK / ARENA_SEG))
/* A zone with that many segments writes a stream. */
#define STREAM_SEGS	4u

struct arena {
	int		fd;
	int		dirfd;		/* -1: the file has no name */
	char		name[96];
	char		*base;		/* on a chunk's boundary, as the file's start is */
	size_t		size;
	char		*data;
	struct arena_entry *table;
	uint32_t	nr_segs;
	uint64_t	*seeds;		/* by segment; its holder's */

	pthread_mutex_t	lock;		/* guards down to the end; held for work in memory */
	uint32_t	*stack;		/* free segments, the next one last */
	uint32_t	nr_free;
	bool		*backed;	/* by segment: has memory */
	bool		*huge;		/* by chunk: was asked to be one page */
	uint32_t	nr_backed;
};

char *arena_data(const struct arena *a, uint32_t seg)
{
	return a->data + (size_t)seg * ARENA_SEG;
}

static off_t seg_off(const struct arena *a, uint32_t seg)
{
	return arena_data(a, seg) - a->base;
}

/* ---- life ---- */

static int make_file(struct arena *a, const struct arena_head *h)
{
	char path[200];

	a->dirfd = arena_dir_open(path);
	if (a->dirfd < 0)
		return a->dirfd;
	arena_name(h, a->name);
	a->fd = openat(a->dirfd, a->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	return a->fd < 0 ? -errno : 0;
}

/* Map the file where its chunks can become huge pages. */
static int map_file(struct arena *a)
{
	void *room = zmap_aligned(a->size, 0, ARENA_CHUNK, PROT_NONE);

	if (!room)
		return -errno;
	a->base = mmap(room, a->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, a->fd, 0);
	if (a->base == MAP_FAILED) {
		a->base = NULL;
		munmap(room, a->size);
		return -ENOMEM;
	}
	return 0;
}

/* Header and table get their memory now. */
static int fill_file(struct arena *a, const struct arena_head *h)
{
	size_t table_len = (size_t)h->nr_segs * sizeof(struct arena_entry);
	int err;

	a->size = h->data_off + (size_t)h->nr_segs * ARENA_SEG;
	if (flock(a->fd, LOCK_EX | LOCK_NB) || ftruncate(a->fd, (off_t)a->size))
		return -errno;
	if (fallocate(a->fd, 0, 0, (off_t)(h->table_off + table_len)))
		return -errno;
	err = map_file(a);
	if (err)
		return err;
	madvise(a->base, a->size, MADV_DONTDUMP);
	memcpy(a->base, h, sizeof(*h));
	a->table = (struct arena_entry *)(a->base + h->table_off);
	a->data = a->base + h->data_off;
	return 0;
}

static int make_lists(struct arena *a)
{
	a->seeds = calloc(a->nr_segs, sizeof(*a->seeds));
	a->stack = calloc(a->nr_segs, sizeof(*a->stack));
	a->backed = calloc(a->nr_segs, sizeof(*a->backed));
	a->huge = calloc(a->nr_segs / CHUNK_SEGS + 1, sizeof(*a->huge));
	if (!a->seeds || !a->stack || !a->backed || !a->huge)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->nr_segs; i++)
		a->stack[i] = a->nr_segs - 1 - i;
	a->nr_free = a->nr_segs;
	return 0;
}

int arena_create(struct zdev *dev, const uint8_t sb_uuid[16], uint64_t bytes,
		 struct arena **ap)
{
	struct arena *a = calloc(1, sizeof(*a));
	struct arena_head h = { .data_off = 0 };
	int err;

	if (!a)
		return -ENOMEM;
	a->fd = a->dirfd = -1;
	bytes = (bytes + ARENA_SEG - 1) / ARENA_SEG;
	a->nr_segs = bytes < ARENA_MAX_SEGS ? (uint32_t)bytes : ARENA_MAX_SEGS;
	pthread_mutex_init(&a->lock, NULL);
	err = arena_head_make(dev, sb_uuid, a->nr_segs, &h);
	if (!err) {
		err = make_file(a, &h);
	} else if (err == -EOPNOTSUPP) {
		arena_head_layout(&h, a->nr_segs);
		a->fd = memfd_create("zonefsd-arena", MFD_CLOEXEC);
		err = a->fd < 0 ? -errno : 0;
	}
	if (!err)
		err = fill_file(a, &h);
	if (!err)
		err = make_lists(a);
	if (err)
		arena_destroy(a);
	else
		*ap = a;
	return err;
}

void arena_destroy(struct arena *a)
{
	if (!a)
		return;
	if (a->base)
		munmap(a->base, a->size);
	if (a->fd >= 0 && a->dirfd >= 0)
		unlinkat(a->dirfd, a->name, 0);
	if (a->fd >= 0)
		close(a->fd);
	if (a->dirfd >= 0)
		close(a->dirfd);
	pthread_mutex_destroy(&a->lock);
	free(a->seeds);
	free(a->stack);
	free(a->backed);
	free(a->huge);
	free(a);
}

/* ---- segments ---- */

static void push(struct arena *a, uint32_t seg)
{
	pthread_mutex_lock(&a->lock);
	a->stack[a->nr_free++] = seg;
	pthread_mutex_unlock(&a->lock);
}

/* Have memory for segment seg, which is nobody's. */
static bool back(struct arena *a, uint32_t seg)
{
	int err;

	do {
		err = fallocate(a->fd, FALLOC_FL_KEEP_SIZE, seg_off(a, seg), ARENA_SEG);
	} while (err && errno == EINTR);
	if (err)
		return false;
	pthread_mutex_lock(&a->lock);
	a->backed[seg] = true;
	a->nr_backed++;
	pthread_mutex_unlock(&a->lock);
	return true;
}

/* All of a chunk has memory by now, none of it is given back: note it. */
static void chunk_backed(struct arena *a, uint32_t first)
{
	pthread_mutex_lock(&a->lock);
	for (uint32_t seg = first; seg < first + CHUNK_SEGS; seg++) {
		a->nr_backed += !a->backed[seg];
		a->backed[seg] = true;
	}
	pthread_mutex_unlock(&a->lock);
}

/*
 * Make one page of the chunk that segment seg, which is the caller's, lies in. A
 * disk takes a MiB in one piece faster than in 256 (measured on virtio: 1.4 GB/s to
 * 1.0). It takes a millisecond, so it is for streams, and done once; if the system
 * has no such page or some of the chunk is under I/O, small ones it remains.
 */
static void make_huge(struct arena *a, uint32_t seg)
{
	uint32_t first = seg - seg % CHUNK_SEGS;
	bool done;

	pthread_mutex_lock(&a->lock);
	done = a->huge[seg / CHUNK_SEGS];
	a->huge[seg / CHUNK_SEGS] = true;
	pthread_mutex_unlock(&a->lock);
	if (done || first + CHUNK_SEGS > a->nr_segs ||
	    fallocate(a->fd, FALLOC_FL_KEEP_SIZE, seg_off(a, first), ARENA_CHUNK))
		return;
	chunk_backed(a, first);
	madvise(arena_data(a, first), ARENA_CHUNK, MADV_COLLAPSE);
}

uint32_t arena_get(struct arena *a, uint32_t have)
{
	uint32_t seg = ARENA_NO_SEG;
	bool backed = true;

	pthread_mutex_lock(&a->lock);
	if (a->nr_free > have) {
		seg = a->stack[--a->nr_free];
		backed = a->backed[seg];
	}
	pthread_mutex_unlock(&a->lock);
	if (!backed && !back(a, seg)) {
		push(a, seg);
		return ARENA_NO_SEG;
	}
	if (seg != ARENA_NO_SEG && have >= STREAM_SEGS)
		make_huge(a, seg);
	return seg;
}

void arena_put(struct arena *a, uint32_t seg)
{
	atomic_store_explicit(&a->table[seg].word, 0, memory_order_release);
	push(a, seg);
}

void arena_claim(struct arena *a, uint32_t seg, uint32_t zno, uint64_t resets,
		 uint64_t start)
{
	struct arena_entry *e = &a->table[seg];

	/* It is free, for all to see, before it says anything new. */
	atomic_thread_fence(memory_order_seq_cst);
	e->zno = zno;
	e->resets = resets;
	e->start = start;
	a->seeds[seg] = arena_seed(seg, zno, resets, start);
}

void arena_publish(struct arena *a, uint32_t seg, uint32_t len)
{
	atomic_store_explicit(&a->table[seg].word, arena_word(a->seeds[seg], len),
			      memory_order_release);
}

/* A free segment that has memory, taken off the stack; or ARENA_NO_SEG. */
static uint32_t take_backed(struct arena *a)
{
	uint32_t seg = ARENA_NO_SEG;

	pthread_mutex_lock(&a->lock);
	for (uint32_t i = a->nr_free; i--;) {
		if (!a->backed[a->stack[i]])
			continue;
		seg = a->stack[i];
		a->stack[i] = a->stack[--a->nr_free];
		break;
	}
	pthread_mutex_unlock(&a->lock);
	return seg;
}

bool arena_trim(struct arena *a)
{
	bool some = false;
	uint32_t seg;

	while ((seg = take_backed(a)) != ARENA_NO_SEG) {
		if (fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      seg_off(a, seg), ARENA_SEG)) {
			push(a, seg);
			break;
		}
		pthread_mutex_lock(&a->lock);
		a->backed[seg] = false;
		a->huge[seg / CHUNK_SEGS] = false;
		a->nr_backed--;
		/* Below the ones with memory, if there are any by now. */
		memmove(a->stack + 1, a->stack, a->nr_free++ * sizeof(*a->stack));
		a->stack[0] = seg;
		pthread_mutex_unlock(&a->lock);
		some = true;
	}
	return some;
}

uint64_t arena_bytes(struct arena *a)
{
	uint64_t bytes;

	pthread_mutex_lock(&a->lock);
	bytes = (uint64_t)a->nr_backed * ARENA_SEG;
	pthread_mutex_unlock(&a->lock);
	return bytes;
}
