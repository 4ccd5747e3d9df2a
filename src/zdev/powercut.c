/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volatile write cache, turned inside out: everything goes to the medium
 * below at once, and what it was before is kept for undoing until a flush. That
 * way reads, reports and full disks behave as without it, and a daemon that is
 * killed in this mode loses nothing.
 *
 * Kept of a zone that changed since its last flush:
 *	sequential	its write pointer and tail; data below a write pointer
 *			does not change
 *	conventional	the old content of each block written
 * Of the states that a power loss may leave, the cut takes the poorest, with two
 * exceptions, both legal: a reset or finish counts as durable at once, and so
 * do, when they are too many to keep, blocks of conventional zones.
 */
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "powercut.h"

/* Old blocks kept, in bytes. A real cache would begin to write back as well. */
#define MAX_UNDO	((size_t)64 << 20)

/* The old content of a block of a conventional zone. */
struct undo {
	uint64_t	pos;	/* bytes from the zone start */
	char		data[];	/* block_size */
};

/* What a zone goes back to. */
struct before {
	uint32_t	zno;
	struct before	*next;
	/* Sequential zones. */
	uint64_t	wp;
	size_t		tail_len;
	char		*tail;
	/* Conventional zones: a tree of struct undo. */
	void		*undo;
	size_t		undo_bytes;
};

struct powercut {
	const struct emu_medium_ops *ops;
	void		*below;
	uint32_t	block_size;
	uint32_t	nr_zones;
	uint32_t	nr_conv;
	bool		cut;
	/*
	 * Held across a conventional write and the read of what it replaces, else
	 * one write could save half of another as the old content. Taken before
	 * lock. No other medium call waits for it.
	 */
	pthread_mutex_t	conv_lock;
	pthread_mutex_t	lock;		/* guards before; no I/O under it */
	struct before	**before;	/* one a zone, NULL: nothing to undo */
};

static bool is_conv(const struct powercut *pc, uint32_t zno)
{
	return zno < pc->nr_conv;
}

static void before_free(struct before *b)
{
	if (!b)
		return;
	tdestroy(b->undo, free);
	free(b->tail);
	free(b);
}

static struct before *get_before(struct powercut *pc, uint32_t zno)
{
	struct before *b;

	pthread_mutex_lock(&pc->lock);
	b = pc->before[zno];
	pthread_mutex_unlock(&pc->lock);
	return b;
}

/* Take the zone's record out, or put `b` in its place. */
static struct before *swap_before(struct powercut *pc, uint32_t zno, struct before *b)
{
	struct before *old;

	pthread_mutex_lock(&pc->lock);
	old = pc->before[zno];
	pc->before[zno] = b;
	pthread_mutex_unlock(&pc->lock);
	return old;
}

static struct before *before_new(struct powercut *pc, uint32_t zno)
{
	struct before *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->zno = zno;
	b->tail = is_conv(pc, zno) ? NULL : malloc(pc->block_size);
	if (!b->tail && !is_conv(pc, zno)) {
		free(b);
		return NULL;
	}
	return b;
}

/* Before the first change of a sequential zone since its flush: remember it. */
static int touch(struct powercut *pc, uint32_t zno)
{
	struct emu_zone_state st = { 0 };
	struct before *b;
	ssize_t ret;

	/* The zone's changing calls, and its own flush, come one at a time. */
	if (get_before(pc, zno))
		return 0;
	b = before_new(pc, zno);
	if (!b)
		return -ENOMEM;
	ret = pc->ops->load(pc->below, zno, &st);
	if (!ret)
		ret = pc->ops->get_tail(pc->below, zno, st.wp, b->tail);
	if (ret < 0) {
		before_free(b);
		return ret;
	}
	b->wp = st.wp;
	b->tail_len = ret;
	pthread_mutex_lock(&pc->lock);
	/* A flush of all zones may just have failed and put its record back. */
	if (!pc->before[zno]) {
		pc->before[zno] = b;
		b = NULL;
	}
	pthread_mutex_unlock(&pc->lock);
	before_free(b);
	return 0;
}

/* ---- conventional zones ---- */

static int by_pos(const void *a, const void *b)
{
	const struct undo *ua = a, *ub = b;

	return ua->pos < ub->pos ? -1 : ua->pos > ub->pos;
}

/* Save the block at pos unless it is saved already. conv_lock is held. */
static int save_block(struct powercut *pc, struct before *b, uint64_t pos)
{
	struct undo *u = calloc(1, sizeof(*u) + pc->block_size);
	struct iovec iov;
	void **node;
	ssize_t ret;

	if (!u)
		return -ENOMEM;
	u->pos = pos;
	if (tfind(u, &b->undo, by_pos)) {
		free(u);
		return 0;
	}
	iov = (struct iovec) { .iov_base = u->data, .iov_len = pc->block_size };
	ret = pc->ops->read(pc->below, b->zno, pos, &iov, 1, false);
	node = ret < 0 ? NULL : tsearch(u, &b->undo, by_pos);
	if (!node) {
		free(u);
		return ret < 0 ? ret : -ENOMEM;
	}
	b->undo_bytes += pc->block_size;
	return 0;
}

/* Save what a write to [pos, pos + len) will replace. conv_lock is held. */
static int save_range(struct powercut *pc, uint32_t zno, uint64_t pos, size_t len)
{
	struct before *b = get_before(pc, zno);
	uint64_t end = pos + len;
	int ret = 0;

	if (b && b->undo_bytes > MAX_UNDO) {
		before_free(swap_before(pc, zno, NULL));
		b = NULL;
	}
	if (!b) {
		b = before_new(pc, zno);
		if (!b)
			return -ENOMEM;
		swap_before(pc, zno, b);
	}
	for (; pos < end && !ret; pos += pc->block_size)
		ret = save_block(pc, b, pos);
	return ret;
}

static ssize_t write_conv(struct powercut *pc, uint32_t zno, uint64_t pos,
			  const struct iovec *iov, int nr_iov)
{
	ssize_t ret;

	pthread_mutex_lock(&pc->conv_lock);
	ret = save_range(pc, zno, pos, zdev_iov_len(iov, nr_iov));
	if (!ret)
		ret = pc->ops->write(pc->below, zno, pos, iov, nr_iov);
	pthread_mutex_unlock(&pc->conv_lock);
	return ret;
}

/* ---- flush ---- */

/* Take the records of zones first .. last out, as a list. */
static struct before *take_records(struct powercut *pc, uint32_t first, uint32_t last)
{
	struct before *list = NULL, *b;
	uint32_t zno;

	/* Not while a conventional write fills one. */
	pthread_mutex_lock(&pc->conv_lock);
	pthread_mutex_lock(&pc->lock);
	for (zno = first; zno <= last; zno++) {
		b = pc->before[zno];
		if (!b)
			continue;
		b->next = list;
		list = b;
		pc->before[zno] = NULL;
	}
	pthread_mutex_unlock(&pc->lock);
	pthread_mutex_unlock(&pc->conv_lock);
	return list;
}

/* Add the blocks of `newer` that `old`, whose content counts, does not have. */
static void merge_undo(struct before *old, struct before *newer)
{
	while (newer->undo) {
		struct undo *u = *(struct undo **)newer->undo;
		void *node;

		tdelete(u, &newer->undo, by_pos);
		node = tsearch(u, &old->undo, by_pos);
		/* Out of memory: this block will count as durable. */
		if (!node || *(struct undo **)node != u)
			free(u);
	}
	old->undo_bytes += newer->undo_bytes;
}

/* A flush failed: what it would have made durable is not. */
static void put_back(struct powercut *pc, struct before *old)
{
	struct before *newer;

	pthread_mutex_lock(&pc->conv_lock);
	newer = swap_before(pc, old->zno, old);
	if (newer && is_conv(pc, old->zno))
		merge_undo(old, newer);
	pthread_mutex_unlock(&pc->conv_lock);
	before_free(newer);
}

static int powercut_flush(void *m, uint32_t zno)
{
	struct powercut *pc = m;
	bool all = zno == ZDEV_ALL_ZONES;
	struct before *list, *b;
	int ret;

	/*
	 * What changes from here on gets records of its own, which begin with a
	 * state that this flush covers or one that is newer.
	 */
	list = take_records(pc, all ? 0 : zno, all ? pc->nr_zones - 1 : zno);
	ret = pc->ops->flush(pc->below, zno);
	while ((b = list)) {
		list = b->next;
		if (ret)
			put_back(pc, b);
		else
			before_free(b);
	}
	return ret;
}

/* ---- the rest of the table ---- */

static int powercut_load(void *m, uint32_t zno, struct emu_zone_state *st)
{
	struct powercut *pc = m;

	return pc->ops->load(pc->below, zno, st);
}

static ssize_t powercut_read(void *m, uint32_t zno, uint64_t pos,
			     const struct iovec *iov, int nr_iov, bool once)
{
	struct powercut *pc = m;

	return pc->ops->read(pc->below, zno, pos, iov, nr_iov, once);
}

static ssize_t powercut_write(void *m, uint32_t zno, uint64_t pos,
			      const struct iovec *iov, int nr_iov)
{
	struct powercut *pc = m;
	int ret;

	if (is_conv(pc, zno))
		return write_conv(pc, zno, pos, iov, nr_iov);
	ret = touch(pc, zno);
	return ret ? ret : pc->ops->write(pc->below, zno, pos, iov, nr_iov);
}

static int powercut_reset(void *m, uint32_t zno)
{
	struct powercut *pc = m;
	int ret;

	ret = pc->ops->reset(pc->below, zno);
	if (!ret)
		before_free(swap_before(pc, zno, NULL));
	return ret;
}

static int powercut_finish(void *m, uint32_t zno)
{
	struct powercut *pc = m;
	int ret;

	ret = pc->ops->finish(pc->below, zno);
	if (!ret)
		before_free(swap_before(pc, zno, NULL));
	return ret;
}

static int powercut_set_cond(void *m, uint32_t zno, uint8_t cond)
{
	struct powercut *pc = m;

	return pc->ops->set_cond(pc->below, zno, cond);
}

static int powercut_put_tail(void *m, uint32_t zno, uint64_t wp, const void *data,
			     size_t len)
{
	struct powercut *pc = m;
	int ret;

	ret = touch(pc, zno);
	return ret ? ret : pc->ops->put_tail(pc->below, zno, wp, data, len);
}

static ssize_t powercut_get_tail(void *m, uint32_t zno, uint64_t wp, void *buf)
{
	struct powercut *pc = m;

	return pc->ops->get_tail(pc->below, zno, wp, buf);
}

static int powercut_reserve(void *m, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct powercut *pc = m;

	return pc->ops->reserve ? pc->ops->reserve(pc->below, zno, pos, len) : -EOPNOTSUPP;
}

/* A copy is a write that brings its own data: what it replaces is kept the same way. */
static int powercut_copy(void *m, uint32_t zno, uint64_t pos, uint32_t src, uint64_t src_pos,
			 uint64_t len, bool share_only)
{
	struct powercut *pc = m;
	int ret;

	if (!pc->ops->copy)
		return -EOPNOTSUPP;
	if (!is_conv(pc, zno)) {
		ret = touch(pc, zno);
		return ret ? ret : pc->ops->copy(pc->below, zno, pos, src, src_pos, len,
						 share_only);
	}
	pthread_mutex_lock(&pc->conv_lock);
	ret = save_range(pc, zno, pos, len);
	if (!ret)
		ret = pc->ops->copy(pc->below, zno, pos, src, src_pos, len, share_only);
	pthread_mutex_unlock(&pc->conv_lock);
	return ret;
}

static int powercut_discard(void *m, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct powercut *pc = m;
	int ret;

	/* Block by block it is kept: of a whole zone that would be too much. */
	if (!pc->ops->discard || len > MAX_UNDO)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&pc->conv_lock);
	ret = save_range(pc, zno, pos, len);
	if (!ret)
		ret = pc->ops->discard(pc->below, zno, pos, len);
	pthread_mutex_unlock(&pc->conv_lock);
	return ret;
}

static int powercut_set_wp(void *m, uint32_t zno, uint64_t wp)
{
	struct powercut *pc = m;

	return pc->ops->set_wp(pc->below, zno, wp);
}

void powercut_free(void *m)
{
	struct powercut *pc = m;
	uint32_t zno;

	for (zno = 0; zno < pc->nr_zones; zno++)
		before_free(pc->before[zno]);
	pthread_mutex_destroy(&pc->conv_lock);
	pthread_mutex_destroy(&pc->lock);
	free(pc->before);
	free(pc);
}

static void powercut_abandon(void *m)
{
	struct powercut *pc = m;

	pc->ops->abandon(pc->below);
	powercut_free(pc);
}

static int powercut_close(void *m)
{
	struct powercut *pc = m;
	int ret;

	if (pc->cut) {
		powercut_abandon(pc);
		return 0;
	}
	ret = pc->ops->close(pc->below);
	powercut_free(pc);
	return ret;
}

const struct emu_medium_ops powercut_ops = {
	.load		= powercut_load,
	.read		= powercut_read,
	.write		= powercut_write,
	.reset		= powercut_reset,
	.finish		= powercut_finish,
	.flush		= powercut_flush,
	.set_cond	= powercut_set_cond,
	.put_tail	= powercut_put_tail,
	.get_tail	= powercut_get_tail,
	.reserve	= powercut_reserve,
	.copy		= powercut_copy,
	.discard	= powercut_discard,
	.set_wp		= powercut_set_wp,
	.close		= powercut_close,
	.abandon	= powercut_abandon,
};

int powercut_create(const struct emu_medium_ops *ops, void *below,
		    const struct zdev_geometry *g, void **pcp)
{
	struct powercut *pc = calloc(1, sizeof(*pc));

	if (!pc)
		return -ENOMEM;
	pc->before = calloc(g->nr_zones, sizeof(*pc->before));
	if (!pc->before) {
		free(pc);
		return -ENOMEM;
	}
	pc->ops = ops;
	pc->below = below;
	pc->block_size = g->block_size;
	pc->nr_zones = g->nr_zones;
	pc->nr_conv = g->nr_conv;
	pthread_mutex_init(&pc->conv_lock, NULL);
	pthread_mutex_init(&pc->lock, NULL);
	*pcp = pc;
	return 0;
}

/* ---- the cut ---- */

static int take_back_seq(struct powercut *pc, const struct before *b)
{
	struct emu_zone_state st = { 0 };
	int ret;

	ret = pc->ops->load(pc->below, b->zno, &st);
	if (!ret && st.wp != b->wp)
		ret = pc->ops->set_wp(pc->below, b->zno, b->wp);
	if (ret || (st.wp != b->wp && !b->tail_len))
		return ret;
	/* With length 0 this drops a tail stored since. */
	return pc->ops->put_tail(pc->below, b->zno, b->wp, b->tail, b->tail_len);
}

static int take_back_conv(struct powercut *pc, struct before *b)
{
	struct iovec iov = { .iov_len = pc->block_size };
	int first = 0;

	while (b->undo) {
		struct undo *u = *(struct undo **)b->undo;
		ssize_t ret;

		iov.iov_base = u->data;
		ret = pc->ops->write(pc->below, b->zno, u->pos, &iov, 1);
		if (ret < 0 && !first)
			first = ret;
		tdelete(u, &b->undo, by_pos);
		free(u);
	}
	return first;
}

int powercut_drop(void *m)
{
	struct powercut *pc = m;
	uint32_t zno;
	int first = 0;

	for (zno = 0; zno < pc->nr_zones; zno++) {
		struct before *b = pc->before[zno];
		int ret;

		if (!b)
			continue;
		ret = is_conv(pc, zno) ? take_back_conv(pc, b) : take_back_seq(pc, b);
		if (ret && !first)
			first = ret;
	}
	pc->cut = true;
	return first;
}
