/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices of one target: opened, checked against what the format can
 * carry, and used as one row of zones (part 3).
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dmz_i.h"
#include "zonefsd/latch.h"
#include "zonefsd/units.h"

#define REPORT_CHUNK	4096u	/* zones asked for at a time */

/* How a device is called in messages. */
static const char *dev_name(const struct zdev *dev)
{
	const char *path = zdev_info(dev)->path;

	return path[0] ? path : "device";
}

const char *dmz_dev_path(const struct dmz_devs *devs, uint32_t i)
{
	return dev_name(devs->dev[i].zdev);
}

/* ---- what the format cannot carry ---- */

static int check_zone(const struct zdev *dev, uint32_t zno, const struct zdev_zone *z,
		      struct zerr *e)
{
	uint64_t zone_size = zdev_info(dev)->zone_size;

	if (z->size != zone_size)
		return zerr_set(e, EINVAL, "%s: zone %" PRIu32 " is %" PRIu64 " bytes, not %" PRIu64
				" as the others: dm-zoned takes no such device", dev_name(dev),
				zno, z->size, zone_size);
	if (z->capacity != z->size)
		return zerr_set(e, EINVAL, "%s: zone %" PRIu32 " has a capacity of %" PRIu64
				" bytes, less than the zone size of %" PRIu64
				": dm-zoned cannot use it, zonefs can", dev_name(dev), zno,
				z->capacity, z->size);
	return 0;
}

/* Each zone of a zoned device. */
static int check_zones(struct zdev *dev, struct zerr *e)
{
	const struct zdev_info *info = zdev_info(dev);
	struct zdev_zone *zones = calloc(REPORT_CHUNK, sizeof(*zones));
	uint32_t zno, nr, i;
	int ret = zones ? 0 : zerr_errno(e, ENOMEM, "%s", dev_name(dev));

	for (zno = 0; !ret && zno < info->nr_zones; zno += nr) {
		nr = info->nr_zones - zno;
		if (nr > REPORT_CHUNK)
			nr = REPORT_CHUNK;
		ret = zdev_report(dev, zno, nr, zones);
		if (ret)
			zerr_errno(e, -ret, "%s: zone report", dev_name(dev));
		for (i = 0; !ret && i < nr; i++)
			ret = check_zone(dev, zno + i, &zones[i], e);
	}
	free(zones);
	return ret;
}

/* Device i of nr: regular where it must be, of a size that can be used. */
static int check_dev(struct zdev *dev, uint32_t i, uint32_t nr, struct zerr *e)
{
	const struct zdev_info *info = zdev_info(dev);
	bool regular = info->nr_conv == info->nr_zones;

	if (nr == 1 && regular)
		return zerr_set(e, EINVAL, "%s: has no sequential zones: a regular device needs "
				"a zoned one behind it", dev_name(dev));
	if (nr > 1 && !i && !regular)
		return zerr_set(e, EINVAL, "%s: is zoned: the first of several devices must be a "
				"regular one", dev_name(dev));
	if (i && regular)
		return zerr_set(e, EINVAL, "%s: is not zoned: only the first device can be a "
				"regular one", dev_name(dev));
	if (info->zone_size % DMZ_BLOCK_SIZE)
		return zerr_set(e, EINVAL, "%s: zones of %" PRIu64 " bytes are not multiples of %u",
				dev_name(dev), info->zone_size, DMZ_BLOCK_SIZE);
	return regular ? 0 : check_zones(dev, e);
}

/* ---- life ---- */

static int add_dev(struct dmz_devs *devs, struct zdev *dev, uint32_t nr, struct zerr *e)
{
	const struct zdev_info *info = zdev_info(dev);
	struct dmz_dev *d = &devs->dev[devs->nr];
	int ret = check_dev(dev, devs->nr, nr, e);

	if (ret)
		return ret;
	if (devs->nr && info->zone_size != devs->zone_size)
		return zerr_set(e, EINVAL, "%s: zones of %" PRIu64 " bytes, those of %s have %"
				PRIu64 ": all must be equal", dev_name(dev), info->zone_size,
				dev_name(devs->dev[0].zdev), devs->zone_size);
	/* Zone ids have 32 bits, and the last one means "none". */
	if (info->nr_zones >= DMZ_NONE - devs->nr_zones)
		return zerr_set(e, EINVAL, "%s: too many zones in all", dev_name(dev));
	d->zdev = dev;
	d->first_zone = devs->nr_zones;
	d->nr_zones = info->nr_zones;
	d->regular = !devs->nr && nr > 1;
	devs->zone_size = info->zone_size;
	devs->nr_zones += info->nr_zones;
	devs->nr++;
	return 0;
}

int dmz_devs_join(struct zdev *const *devs, uint32_t nr, struct dmz_devs **out, struct zerr *e)
{
	struct dmz_devs *d;
	uint32_t i;
	int ret = 0;

	if (!nr || nr > DMZ_MAX_DEVS)
		return zerr_set(e, EINVAL, "%" PRIu32 " devices: must be 1 to %d", nr,
				DMZ_MAX_DEVS);
	d = calloc(1, sizeof(*d));
	if (!d)
		return zerr_errno(e, ENOMEM, "%s", dev_name(devs[0]));
	for (i = 0; !ret && i < nr; i++)
		ret = add_dev(d, devs[i], nr, e);
	if (!ret && d->zone_size / DMZ_BLOCK_SIZE > UINT32_MAX)
		ret = zerr_set(e, EINVAL, "%s: zones of %" PRIu64 " bytes are too large",
			       dev_name(devs[0]), d->zone_size);
	if (ret) {
		free(d);
		return ret;
	}
	d->zone_blocks = (uint32_t)(d->zone_size / DMZ_BLOCK_SIZE);
	d->bitmap_blocks = d->zone_blocks > DMZ_BITS_PER_BLOCK ?
			   d->zone_blocks / DMZ_BITS_PER_BLOCK : 1;
	*out = d;
	return 0;
}

/* The zoned ones come first, because the regular one is cut into their zones. */
static int open_all(const char *const *paths, uint32_t nr, const struct zdev_open_opts *opts,
		    struct zdev **dev, struct zerr *e)
{
	uint32_t i;
	int ret;

	for (i = nr > 1; i < nr; i++) {
		ret = zdev_open(paths[i], opts, &dev[i], e);
		if (ret == -ENODEV && nr == 1)
			zerr_set(e, ENODEV, "%s: not a zoned device; a regular one needs a zoned "
				 "one behind it", paths[i]);
		if (ret)
			return ret;
	}
	if (nr == 1)
		return 0;
	return zdev_regular_open(paths[0], zdev_info(dev[1])->zone_size, opts, &dev[0], e);
}

int dmz_devs_open(const char *const *paths, uint32_t nr, const struct zdev_open_opts *opts,
		  struct dmz_devs **devs, struct zerr *e)
{
	struct zdev *dev[DMZ_MAX_DEVS] = { NULL };
	uint32_t i;
	int ret;

	if (!nr || nr > DMZ_MAX_DEVS)
		return zerr_set(e, EINVAL, "%" PRIu32 " devices: must be 1 to %d", nr,
				DMZ_MAX_DEVS);
	ret = open_all(paths, nr, opts, dev, e);
	if (!ret)
		ret = dmz_devs_join(dev, nr, devs, e);
	for (i = 0; ret && i < nr; i++)
		if (dev[i])
			zdev_close(dev[i]);
	return ret;
}

int dmz_devs_close(struct dmz_devs *devs)
{
	uint32_t i;
	int ret = 0, err;

	for (i = 0; i < devs->nr; i++) {
		err = zdev_close(devs->dev[i].zdev);
		if (!ret)
			ret = err;
	}
	free(devs);
	return ret;
}

void dmz_devs_part(struct dmz_devs *devs)
{
	free(devs);
}

struct zdev *dmz_devs_get(const struct dmz_devs *devs, uint32_t i)
{
	return i < devs->nr ? devs->dev[i].zdev : NULL;
}

/* ---- zones ---- */

static const struct dmz_dev *find_dev(const struct dmz_devs *devs, uint32_t zone)
{
	uint32_t i = devs->nr - 1;

	while (zone < devs->dev[i].first_zone)
		i--;
	return &devs->dev[i];
}

struct zdev *dmz_zone_dev(const struct dmz_devs *devs, uint32_t zone, uint32_t *zno)
{
	const struct dmz_dev *d = find_dev(devs, zone);

	*zno = zone - d->first_zone;
	return d->zdev;
}

static uint8_t zone_kind(const struct dmz_devs *devs, const struct dmz_dev *d,
			 const struct zdev_zone *z)
{
	if (d->regular)
		return z->size < devs->zone_size ? DMZ_KIND_RUNT : DMZ_KIND_CACHE;
	return z->type == BLK_ZONE_TYPE_CONVENTIONAL ? DMZ_KIND_RANDOM : DMZ_KIND_SEQ;
}

int dmz_devs_report(struct dmz_devs *devs, struct zdev_zone *zones, uint8_t *kinds)
{
	uint32_t i, zone;
	int ret;

	for (i = 0; i < devs->nr; i++) {
		const struct dmz_dev *d = &devs->dev[i];

		ret = zdev_report(d->zdev, 0, d->nr_zones, zones + d->first_zone);
		if (ret)
			return ret;
		for (zone = d->first_zone; zone < d->first_zone + d->nr_zones; zone++)
			kinds[zone] = zone_kind(devs, d, &zones[zone]);
	}
	return 0;
}

/* ---- metadata sets ---- */

static int set_io(struct dmz_devs *devs, enum zdev_op op, uint32_t first_zone, uint32_t block,
		  uint32_t nr, char *buf)
{
	uint64_t pos = (uint64_t)first_zone * devs->zone_size + (uint64_t)block * DMZ_BLOCK_SIZE;
	uint64_t left = (uint64_t)nr * DMZ_BLOCK_SIZE, end;
	struct iovec iov;

	if (!zu_mul(devs->nr_zones, devs->zone_size, &end) || pos > end || left > end - pos)
		return -EINVAL;
	for (; left; pos += iov.iov_len, buf += iov.iov_len, left -= iov.iov_len) {
		struct zdev_io io = { .op = op, .iov = &iov, .nr_iov = 1 };
		struct zdev *dev = dmz_zone_dev(devs, (uint32_t)(pos / devs->zone_size), &io.zno);
		uint64_t max = zu_round_down(zdev_info(dev)->max_io, DMZ_BLOCK_SIZE);
		ssize_t n;

		io.pos = pos & (devs->zone_size - 1);
		if (max > devs->zone_size - io.pos)
			max = devs->zone_size - io.pos;
		iov.iov_base = buf;
		iov.iov_len = left < max ? left : max;
		n = zdev_run(dev, &io);
		if (n != (ssize_t)iov.iov_len)
			return n < 0 ? (int)n : -EIO;
	}
	return 0;
}

int dmz_set_read(struct dmz_devs *devs, uint32_t first_zone, uint32_t block, uint32_t nr,
		 void *buf)
{
	return set_io(devs, ZDEV_READ, first_zone, block, nr, buf);
}

int dmz_set_write(struct dmz_devs *devs, uint32_t first_zone, uint32_t block, uint32_t nr,
		  const void *buf)
{
	/* A write only reads from its buffer. */
	return set_io(devs, ZDEV_WRITE, first_zone, block, nr, (char *)(uintptr_t)buf);
}

/* ---- flush ---- */

static void flush_done(struct zdev_io *io)
{
	zlatch_put(io->owner);
}

int dmz_devs_flush(struct dmz_devs *devs)
{
	struct zdev_io io[DMZ_MAX_DEVS] = { 0 };
	struct zlatch latch;
	uint32_t i;
	int err = 0;

	zlatch_init(&latch, devs->nr);
	for (i = 0; i < devs->nr; i++) {
		io[i].op = ZDEV_FLUSH;
		io[i].zno = ZDEV_ALL_ZONES;
		io[i].done = flush_done;
		io[i].owner = &latch;
		zdev_submit(devs->dev[i].zdev, &io[i]);
	}
	zlatch_wait(&latch);
	for (i = 0; i < devs->nr; i++)
		if (io[i].result && (!err || io[i].result == -EOPNOTSUPP))
			err = (int)io[i].result;
	return err;
}
