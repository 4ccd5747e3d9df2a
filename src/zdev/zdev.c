/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of zonefsd/zdev.h that are the same for every device: they go
 * through the ops table, or wait for an asynchronous operation.
 */
#include <errno.h>
#include <pthread.h>

#include "zdev_i.h"

void zdev_complete(struct zdev_io *io, ssize_t result)
{
	io->result = result;
	io->done(io);
}

size_t zdev_iov_len(const struct iovec *iov, int nr_iov)
{
	size_t len = 0;
	int i;

	for (i = 0; i < nr_iov; i++)
		len += iov[i].iov_len;
	return len;
}

/* Does [pos, pos + bytes) lie in zone zno? */
static bool in_zone(const struct zdev_info *info, uint32_t zno, uint64_t pos, uint64_t bytes)
{
	uint64_t left, size;

	if (zno >= info->nr_zones)
		return false;
	left = info->size - zno * info->zone_size;
	size = left < info->zone_size ? left : info->zone_size;
	return pos <= size && bytes <= size - pos;
}

int zdev_check_copy(const struct zdev_info *info, const struct zdev_io *io, bool seq)
{
	uint64_t apart = io->pos > io->src_pos ? io->pos - io->src_pos : io->src_pos - io->pos;

	if (!io->bytes || io->bytes > info->max_io ||
	    ((io->bytes | io->pos | io->src_pos) & (info->block_size - 1)))
		return -EINVAL;
	if (!in_zone(info, io->src_zno, io->src_pos, io->bytes))
		return -EINVAL;
	if (io->zno == io->src_zno && apart < io->bytes)
		return -EINVAL;
	/* A sequential zone's capacity, and where it takes data, depend on its state: EIO. */
	return seq || in_zone(info, io->zno, io->pos, io->bytes) ? 0 : -EINVAL;
}

int zdev_check_discard(const struct zdev_info *info, const struct zdev_io *io, bool seq)
{
	if (seq)
		return -EIO;
	if (!io->bytes || ((io->bytes | io->pos) & (info->block_size - 1)))
		return -EINVAL;
	return in_zone(info, io->zno, io->pos, io->bytes) ? 0 : -EINVAL;
}

void zdev_submit(struct zdev *dev, struct zdev_io *io)
{
	dev->ops->submit(dev, io);
}

/* One thread that waits for its io. */
struct waiter {
	pthread_mutex_t	lock;		/* guards done */
	pthread_cond_t	cond;
	bool		done;
};

static void wake_waiter(struct zdev_io *io)
{
	struct waiter *w = io->owner;

	/* Signalled under the lock: the waiter's stack is gone right after. */
	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

ssize_t zdev_run(struct zdev *dev, struct zdev_io *io)
{
	struct waiter w = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};

	io->done = wake_waiter;
	io->owner = &w;
	zdev_submit(dev, io);

	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return io->result;
}

static ssize_t run_data(struct zdev *dev, enum zdev_op op, uint32_t zno,
			uint64_t pos, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct zdev_io io = {
		.op = op, .zno = zno, .pos = pos, .iov = &iov, .nr_iov = 1,
	};

	return zdev_run(dev, &io);
}

ssize_t zdev_pread(struct zdev *dev, uint32_t zno, uint64_t pos, void *buf, size_t len)
{
	return run_data(dev, ZDEV_READ, zno, pos, buf, len);
}

ssize_t zdev_pwrite(struct zdev *dev, uint32_t zno, uint64_t pos, const void *buf,
		    size_t len)
{
	/* A write only reads from its iov. */
	return run_data(dev, ZDEV_WRITE, zno, pos, (void *)(uintptr_t)buf, len);
}

int zdev_command(struct zdev *dev, enum zdev_op op, uint32_t zno)
{
	struct zdev_io io = { .op = op, .zno = zno };

	return (int)zdev_run(dev, &io);
}

int zdev_reserve(struct zdev *dev, uint32_t zno, uint64_t pos, uint64_t bytes)
{
	struct zdev_io io = { .op = ZDEV_RESERVE, .zno = zno, .pos = pos, .bytes = bytes };

	return (int)zdev_run(dev, &io);
}

const struct zdev_info *zdev_info(const struct zdev *dev)
{
	return &dev->info;
}

int zdev_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	if (zno > dev->info.nr_zones || nr > dev->info.nr_zones - zno)
		return -EINVAL;
	return dev->ops->report(dev, zno, nr, zones);
}

ssize_t zdev_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	if (zno >= dev->info.nr_zones)
		return -EINVAL;
	return dev->ops->get_tail(dev, zno, buf);
}

int zdev_backing(struct zdev *dev, uint32_t zno)
{
	if (zno >= dev->info.nr_zones)
		return -EINVAL;
	return dev->ops->backing ? dev->ops->backing(dev, zno) : -EOPNOTSUPP;
}

int zdev_close(struct zdev *dev)
{
	return dev->ops->close(dev);
}

int zdev_set_cond(struct zdev *dev, uint32_t zno, uint8_t cond)
{
	if (!dev->info.emulated || !dev->ops->set_cond)
		return -EOPNOTSUPP;
	if (zno >= dev->info.nr_zones ||
	    (cond != BLK_ZONE_COND_READONLY && cond != BLK_ZONE_COND_OFFLINE))
		return -EINVAL;
	return dev->ops->set_cond(dev, zno, cond);
}

int zdev_inject(struct zdev *dev, const struct zdev_fault *fault)
{
	if (!dev->info.emulated || !dev->ops->inject)
		return -EOPNOTSUPP;
	if (fault->zno != ZDEV_ALL_ZONES && fault->zno >= dev->info.nr_zones)
		return -EINVAL;
	return dev->ops->inject(dev, fault);
}

int zdev_power_cut(struct zdev *dev)
{
	if (!dev->info.emulated || !dev->ops->power_cut)
		return -EOPNOTSUPP;
	return dev->ops->power_cut(dev);
}
