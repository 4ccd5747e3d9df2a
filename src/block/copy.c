/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies inside the disk (docs/block-rules.md, section 3), a piece after the
 * other: by the device itself where that works, else read and written.
 */
#include <errno.h>
#include <stdlib.h>

#include "block_i.h"

#define PIECE	((uint64_t)ZDEV_MAX_IO)
/* Pieces copied by hand before the device is asked again. */
#define PAUSE	256u

struct copy {
	struct block	*b;
	struct block_io	*io;		/* the user's */
	struct block_io	sub;
	struct iovec	iov;
	uint64_t	done;
};

static void copy_end(struct copy *c, int err)
{
	struct block_io *io = c->io;
	struct block *b = c->b;

	free(c->iov.iov_base);
	free(c);
	io->result = err ? err : (ssize_t)io->len;
	pthread_mutex_lock(&b->lock);
	b->stats.copies++;
	if (!err)
		b->stats.copy_bytes += io->len;
	block_leave(b);
	io->done(io);
}

static void wrote(struct block_io *sub);

static void have_read(struct block_io *sub)
{
	struct copy *c = sub->owner;

	if (sub->result < 0) {
		copy_end(c, (int)sub->result);
		return;
	}
	sub->op = BLOCK_WRITE;
	sub->pos = c->io->pos + c->done;
	sub->fua = c->io->fua;
	sub->done = wrote;
	block_submit(c->b, sub);
}

static void by_hand(struct copy *c)
{
	struct block_io *sub = &c->sub;

	sub->op = BLOCK_READ;
	sub->pos = c->io->src + c->done;
	sub->fua = false;
	c->iov.iov_len = sub->len;
	sub->iov = &c->iov;
	sub->nr_iov = 1;
	sub->done = have_read;
	block_submit(c->b, sub);
}

/* err -EXDEV: what is copied does not lie together. That says nothing of the device. */
static void note_offload(struct copy *c, int err)
{
	struct block *b = c->b;

	pthread_mutex_lock(&b->lock);
	if (!err)
		b->stats.offload_bytes += c->sub.len;
	else
		b->stats.offload_fallbacks++;
	if (err && err != -EXDEV)
		b->offload_pause = PAUSE;
	block_leave(b);
}

static void offloaded(struct block_io *sub)
{
	struct copy *c = sub->owner;

	note_offload(c, sub->result < 0 ? (int)sub->result : 0);
	if (sub->result < 0)
		by_hand(c);
	else
		wrote(sub);
}

/* Bytes from pos to where a part of a request ends at the latest. */
static uint64_t to_edge(const struct block *b, uint64_t pos)
{
	uint64_t part = (uint64_t)DMZ_BITS_PER_BLOCK * DMZ_BLOCK_SIZE;

	if (part > b->devs->zone_size)
		part = b->devs->zone_size;
	return part - pos % part;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Where it has just failed, it is tried again only after a while. */
static bool may_offload(struct copy *c, uint64_t src, uint64_t dst)
{
	struct block *b = c->b;
	bool may = !(src % DMZ_BLOCK_SIZE) && !(dst % DMZ_BLOCK_SIZE);

	pthread_mutex_lock(&b->lock);
	if (may && b->offload_pause) {
		b->offload_pause--;
		may = false;
	}
	block_leave(b);
	return may;
}

static void next_piece(struct copy *c)
{
	uint64_t src = c->io->src + c->done, dst = c->io->pos + c->done;
	uint64_t left = min64(c->io->len - c->done, PIECE);
	uint64_t whole = min64(left, min64(to_edge(c->b, src), to_edge(c->b, dst)));
	struct block_io *sub = &c->sub;

	whole -= whole % DMZ_BLOCK_SIZE;
	sub->owner = c;
	sub->len = left;
	if (!whole || !may_offload(c, src, dst)) {
		by_hand(c);
		return;
	}
	*sub = (struct block_io){
		.op = BLOCK_COPY, .src = src, .pos = dst, .len = whole, .fua = c->io->fua,
		.commit = c->io->fua, .done = offloaded, .owner = c,
	};
	request_start(c->b, sub);
}

static void wrote(struct block_io *sub)
{
	struct copy *c = sub->owner;

	if (sub->result < 0) {
		copy_end(c, (int)sub->result);
		return;
	}
	c->done += sub->len;
	if (c->done == c->io->len)
		copy_end(c, 0);
	else
		next_piece(c);
}

void copy_start(struct block *b, struct block_io *io)
{
	uint64_t end, len = io->len < PIECE ? io->len : PIECE;
	struct copy *c;

	if (__builtin_add_overflow(io->src, io->len, &end) || end > b->size ||
	    (io->src < io->pos + io->len && io->pos < end)) {
		io->result = -EINVAL;
		io->done(io);
		return;
	}
	c = calloc(1, sizeof(*c));
	len = (len + DMZ_BLOCK_SIZE - 1) / DMZ_BLOCK_SIZE * DMZ_BLOCK_SIZE;
	if (c)
		c->iov.iov_base = aligned_alloc(DMZ_BLOCK_SIZE, len);
	if (!c || !c->iov.iov_base) {
		free(c);
		io->result = -ENOMEM;
		io->done(io);
		return;
	}
	c->b = b;
	c->io = io;
	next_piece(c);
}
