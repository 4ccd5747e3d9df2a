/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of zonefsd/zdev.h that are the same for every device: they go
 * through the ops table, or wait for an asynchronous operation.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "zdev_i.h"
#include "zonefsd/latch.h"

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

void zdev_log_failure(const struct zlog *log, const char *path, uint32_t zno,
		      const char *what, ssize_t ret)
{
	char text[128];
	const char *cause = strerror_r((int)-ret, text, sizeof(text));

	if (zno == ZDEV_ALL_ZONES)
		zlog(log, ZLOG_ERR, "%s: %s: %s", path, what, cause);
	else
		zlog(log, ZLOG_ERR, "%s: zone %" PRIu32 ": %s: %s", path, zno, what, cause);
}

void zdev_submit(struct zdev *dev, struct zdev_io *io)
{
	dev->ops->submit(dev, io);
}

void zdev_put_latch(struct zdev_io *io)
{
	zlatch_put(io->owner);
}

ssize_t zdev_run(struct zdev *dev, struct zdev_io *io)
{
	struct zlatch latch;

	zlatch_init(&latch, 1);
	io->done = zdev_put_latch;
	io->owner = &latch;
	zdev_submit(dev, io);
	zlatch_wait(&latch);
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
