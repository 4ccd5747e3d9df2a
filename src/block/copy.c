/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies inside the disk (docs/block-rules.md, section 3), a piece after the
 * other: read, then write.
 */
#include <errno.h>
#include <stdlib.h>

#include "block_i.h"

#define PIECE	((uint64_t)ZDEV_MAX_IO)

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

static void next_piece(struct copy *c)
{
	struct block_io *sub = &c->sub;
	uint64_t left = c->io->len - c->done;

	sub->op = BLOCK_READ;
	sub->pos = c->io->src + c->done;
	sub->len = left < PIECE ? left : PIECE;
	c->iov.iov_len = sub->len;
	sub->iov = &c->iov;
	sub->nr_iov = 1;
	sub->done = have_read;
	sub->owner = c;
	block_submit(c->b, sub);
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
