/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a device can do with data by itself: copies, of a file alone, as the kernel
 * has no call for it on block devices; and discards.
 */
#include <errno.h>

#include "blk_i.h"
#include "clone.h"
#include "room.h"

static int copy(struct blk *b, const struct zdev_io *io)
{
	uint64_t done;
	int ret;

	ret = clone_range(b->p.fd, blk_zone_start(b, io->src_zno) + io->src_pos,
			  b->p.fd, blk_zone_start(b, io->zno) + io->pos, io->bytes,
			  io->share_only, &done);
	if (!ret || ret == -EOPNOTSUPP)
		return ret;
	return (int)blk_failed(b, io->zno, "copy", ret);
}

/*
 * Many block devices discard that cannot promise zeros. Some can zero that cannot
 * discard: that gives no space back, and may take as long as to write it.
 */
static int discard(struct blk *b, const struct zdev_io *io)
{
	bool zeros = !io->dead || b->p.is_file;
	atomic_bool *refused = zeros ? &b->no_zeros : &b->no_discard;
	uint64_t pos = blk_zone_start(b, io->zno) + io->pos;
	int ret;

	if (b->p.no_discard || atomic_load_explicit(refused, memory_order_relaxed))
		return -EOPNOTSUPP;
	ret = zeros ? room_punch(b->p.fd, pos, io->bytes) : room_discard(b->p.fd, pos, io->bytes);
	if (ret == -EOPNOTSUPP)
		atomic_store_explicit(refused, true, memory_order_relaxed);
	if (!ret || ret == -EOPNOTSUPP)
		return ret;
	return (int)blk_failed(b, io->zno, "discard", ret);
}

int blk_space_run(struct blk *b, const struct zdev_io *io)
{
	return io->op == ZDEV_COPY ? copy(b, io) : discard(b, io);
}
