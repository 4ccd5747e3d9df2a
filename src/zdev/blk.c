/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a block device, and the checks before an operation is queued. */
#include <errno.h>
#include <libzbd/zbd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk_i.h"

/* ---- errors ---- */

ssize_t blk_result(ssize_t ret)
{
	switch (ret) {
	case -ENOMEM:
	case -ETOOMANYREFS:
	case -EOVERFLOW:
	/* What the block layer tells of a failing medium, and zonefs passes on. */
	case -ENODATA:
	case -EREMOTEIO:
	case -EILSEQ:
	case -ETIMEDOUT:
	case -ENOLINK:
		return ret;
	default:
		/* ENOSPC, too: a removed device has size 0, and writes are beyond it. */
		return ret < 0 ? -EIO : ret;
	}
}

ssize_t blk_failed(const struct blk *b, uint32_t zno, const char *what, ssize_t ret)
{
	zdev_log_failure(b->p.log, b->path, zno, what, ret);
	if (b->p.is_file && (ret == -ENOSPC || ret == -EDQUOT))
		return -ENOSPC;
	return blk_result(ret);
}

/* ---- before an operation is queued ---- */

static int check(const struct blk *b, struct zdev_io *io)
{
	bool conv = io->zno < b->p.nr_zones && !blk_is_seq(b, io->zno);
	int ret = zdev_check(&b->dev.info, io, conv);

	if (!ret && io->op == ZDEV_PUT_TAIL && !b->tails.nr)
		return -EOPNOTSUPP;
	return ret;
}

static void blk_submit(struct zdev *dev, struct zdev_io *io)
{
	struct blk *b = to_blk(dev);
	int ret = check(b, io);

	/* Nothing can be dirty, and a descriptor for reading may not flush. */
	if (ret || (io->op == ZDEV_FLUSH && b->p.read_only))
		zdev_complete(io, ret);
	else if (io->op == ZDEV_COPY && !b->p.is_file)
		zdev_complete(io, -EOPNOTSUPP);		/* the kernel has no call for it */
	else if (io->op == ZDEV_COPY || io->op == ZDEV_DISCARD)
		blk_queue_space(b, io);
	else if (io->op == ZDEV_READ || io->op == ZDEV_FLUSH || !blk_is_seq(b, io->zno))
		blk_io_start(b, io);
	else
		blk_queue_add(b, io);
}

/* ---- life ---- */

static void blk_free(struct blk *b)
{
	blk_io_free(b);
	free(b->tails.slots);
	pthread_mutex_destroy(&b->tails.head_lock);
	pthread_cond_destroy(&b->work);
	pthread_mutex_destroy(&b->lock);
	free(b->zones);
	free(b->path);
	free(b);
}

static int blk_close(struct zdev *dev)
{
	struct blk *b = to_blk(dev);
	int ret = blk_queue_stop(b);

	if (b->p.regular)
		close(b->p.fd);
	else
		zbd_close(b->p.fd);
	/* Who waits for the lock may claim the device: the lock goes last. */
	if (b->p.claim_fd >= 0)
		close(b->p.claim_fd);
	if (b->p.lock_fd >= 0)
		close(b->p.lock_fd);
	if (b->p.read_only)
		ret = 0;
	blk_free(b);
	return ret;
}

static const struct zdev_ops blk_ops = {
	.submit		= blk_submit,
	.report		= blk_report,
	.get_tail	= blk_get_tail,
	.close		= blk_close,
};

static void fill_info(struct blk *b)
{
	b->dev.info = (struct zdev_info) {
		.backend = b->p.regular ? "regular" : "blk",
		.path = b->path,
		.block_size = b->p.block_size,
		.size = b->p.size,
		.zone_size = b->p.zone_size,
		.nr_zones = b->p.nr_zones,
		.max_open = b->p.max_open,
		.max_active = b->p.max_active,
		.max_io = ZDEV_MAX_IO,
		.max_command = b->p.max_write,
		.read_only = b->p.read_only,
		.emulated = b->p.is_file,
	};
}

static int allocate(struct blk *b, const struct blk_params *p)
{
	b->path = strdup(p->path);
	b->zones = calloc(p->nr_zones, sizeof(*b->zones));
	return b->path && b->zones ? blk_io_setup(b) : -ENOMEM;
}

int blk_create(const struct blk_params *p, struct zdev **dev, struct zerr *e)
{
	struct blk *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return zerr_errno(e, ENOMEM, "%s", p->path);
	b->p = *p;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	pthread_mutex_init(&b->tails.head_lock, NULL);
	b->dev.ops = &blk_ops;
	ret = allocate(b, p);
	if (ret) {
		zerr_errno(e, -ret, "%s: setting up asynchronous I/O", p->path);
		goto fail;
	}
	fill_info(b);
	ret = blk_zones_load(b, e);
	if (ret)
		goto fail;
	ret = blk_tails_load(b);
	if (ret) {
		zerr_errno(e, -ret, "%s", p->path);
		goto fail;
	}
	ret = blk_queue_start(b);
	if (ret) {
		zerr_errno(e, -ret, "%s: starting threads", p->path);
		goto fail;
	}
	*dev = &b->dev;
	return 0;
fail:
	/* The descriptors stay the caller's. */
	blk_free(b);
	return ret;
}
