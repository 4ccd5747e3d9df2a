/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of an emulated device, and the calls that answer at once or wait. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "emu_i.h"
#include "zonefsd/latch.h"
#include "powercut.h"

/* Zones reported under one hold of the lock. */
#define REPORT_CHUNK	1024

static struct emu *to_emu(struct zdev *dev)
{
	return (struct emu *)dev;
}

static int check(const struct emu *emu, struct zdev_io *io)
{
	int ret = zdev_check(&emu->dev.info, io, emu_is_conv(&emu->conds, io->zno));

	if (!ret && ((io->op == ZDEV_COPY && !emu->ops->copy) ||
		     (io->op == ZDEV_DISCARD && !emu->ops->discard)))
		return -EOPNOTSUPP;
	return ret;
}

static void emu_submit(struct zdev *dev, struct zdev_io *io)
{
	struct emu *emu = to_emu(dev);
	bool ordered;
	int ret;

	io->priv = NULL;
	ret = check(emu, io);
	if (ret) {
		zdev_complete(io, ret);
		return;
	}
	if (io->op == ZDEV_READ && emu_aio_read(emu, io))
		return;
	ordered = io->zno == ZDEV_ALL_ZONES ||
		  (io->op != ZDEV_READ && !emu_is_conv(&emu->conds, io->zno));
	emu_queue_add(emu, io, ordered);
}

/* One emu_call in the zone's turn. */
static ssize_t run_call(struct emu *emu, struct emu_call *call)
{
	struct zdev_io io = { .zno = call->zno, .priv = call };
	struct zlatch latch;

	if (!emu_queue_run(emu, &io)) {
		zlatch_init(&latch, 1);
		io.done = zdev_put_latch;
		io.owner = &latch;
		emu_queue_add(emu, &io, true);
		zlatch_wait(&latch);
	}
	return io.result;
}

static void describe(const struct emu *emu, uint32_t zno, struct zdev_zone *zone)
{
	const struct emu_zone *z = &emu->conds.zones[zno];
	bool conv = emu_is_conv(&emu->conds, zno);

	*zone = (struct zdev_zone) {
		.start = zno * emu->dev.info.zone_size,
		.size = emu->dev.info.zone_size,
		.capacity = conv ? emu->dev.info.zone_size : emu->conds.capacity,
		.wp = z->wp,
		.resets = z->resets,
		.type = conv ? BLK_ZONE_TYPE_CONVENTIONAL : BLK_ZONE_TYPE_SEQWRITE_REQ,
		.cond = z->cond,
	};
	if (conv || z->cond == BLK_ZONE_COND_READONLY ||
	    z->cond == BLK_ZONE_COND_OFFLINE)
		zone->wp = ZDEV_WP_NONE;
}

/* Describe zones from *zno up to end. 1: stopped at a stale one; 0 or -EIO. */
static int describe_chunk(struct emu *emu, uint32_t *zno, uint32_t end,
			  struct zdev_zone **zone)
{
	int ret;

	pthread_mutex_lock(&emu->lock);
	ret = emu->queue.cut ? -EIO : 0;
	for (; !ret && *zno < end; (*zno)++) {
		ret = emu->conds.zones[*zno].stale;
		if (ret)
			break;
		describe(emu, *zno, (*zone)++);
	}
	pthread_mutex_unlock(&emu->lock);
	return ret;
}

static int emu_report(struct zdev *dev, uint32_t zno, uint32_t nr,
		      struct zdev_zone *zones)
{
	struct emu *emu = to_emu(dev);
	uint32_t end = zno + nr;

	while (zno < end) {
		struct emu_call call = { .run = emu_call_reload };
		uint32_t chunk = end - zno < REPORT_CHUNK ? end - zno : REPORT_CHUNK;
		int ret;

		ret = describe_chunk(emu, &zno, zno + chunk, &zones);
		if (ret > 0) {
			call.zno = zno;
			ret = (int)run_call(emu, &call);
		}
		if (ret)
			return ret;
	}
	return 0;
}

static ssize_t emu_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	struct emu_call call = { .run = emu_call_get_tail, .zno = zno, .buf = buf };
	struct emu *emu = to_emu(dev);

	return emu_is_conv(&emu->conds, zno) ? 0 : run_call(emu, &call);
}

static int emu_backing(struct zdev *dev, uint32_t zno)
{
	struct emu *emu = to_emu(dev);
	bool offline;

	pthread_mutex_lock(&emu->lock);
	offline = emu->conds.zones[zno].cond == BLK_ZONE_COND_OFFLINE;
	pthread_mutex_unlock(&emu->lock);
	/* The power-cut cache has none: the kernel would read on after the cut. */
	if (offline || !emu->ops->backing)
		return -EOPNOTSUPP;
	return emu->ops->backing(emu->medium, zno);
}

static int emu_set_zone_cond(struct zdev *dev, uint32_t zno, uint8_t cond)
{
	struct emu_call call = { .run = emu_call_set_cond, .zno = zno, .cond = cond };

	if (dev->info.read_only)
		return -EPERM;
	return (int)run_call(to_emu(dev), &call);
}

static int emu_power_cut(struct zdev *dev)
{
	struct emu *emu = to_emu(dev);
	int ret;

	if (!emu->powercut)
		return -EOPNOTSUPP;
	ret = emu_queue_cut(emu);
	return ret ? ret : powercut_drop(emu->medium);
}

static void emu_free(struct emu *emu)
{
	emu_conds_free(&emu->conds);
	pthread_mutex_destroy(&emu->lock);
	free(emu->path);
	free(emu);
}

static int emu_close(struct zdev *dev)
{
	struct emu *emu = to_emu(dev);
	int ret;

	emu_aio_stop(emu);
	emu_queue_stop(emu);
	ret = emu->ops->close(emu->medium);
	emu_free(emu);
	return ret;
}

static const struct zdev_ops emu_ops = {
	.submit		= emu_submit,
	.report		= emu_report,
	.get_tail	= emu_get_tail,
	.backing	= emu_backing,
	.set_cond	= emu_set_zone_cond,
	.power_cut	= emu_power_cut,
	.close		= emu_close,
};

static void fill_info(struct zdev_info *info, const struct emu_params *p,
		      const char *path)
{
	const struct zdev_geometry *g = &p->geometry;

	*info = (struct zdev_info) {
		.backend = p->backend,
		.path = path,
		.block_size = g->block_size,
		.size = g->nr_zones * g->zone_size,
		.zone_size = g->zone_size,
		.zone_capacity = g->zone_capacity,
		.nr_zones = g->nr_zones,
		.nr_conv = g->nr_conv,
		.max_open = g->max_open,
		.max_active = g->max_active,
		.max_io = ZDEV_MAX_IO,
		.read_only = p->read_only,
		.emulated = true,
	};
	memcpy(info->uuid, g->uuid, sizeof(info->uuid));
}

static int load_all(struct emu *emu, struct zerr *e)
{
	struct zerr why = { "" };
	uint32_t zno;

	if (!e)
		e = &why;
	for (zno = 0; zno < emu->conds.nr_zones; zno++) {
		struct emu_zone_state st = { 0 };
		int ret;

		e->msg[0] = '\0';
		ret = emu->ops->load(emu->medium, zno, &st);
		if (!ret)
			ret = emu_state_check(emu, zno, &st);
		if (ret && e->msg[0])	/* a medium may know better */
			return ret;
		if (ret)
			return zerr_errno(e, -ret, "%s: zone %" PRIu32 ": "
					  "reading its write pointer", emu->path, zno);
		emu_cond_load(&emu->conds, zno, &st, true);
	}
	return 0;
}

/* Put the write cache of power-cut mode in front of the medium. */
static int add_cache(struct emu *emu, const struct emu_params *p)
{
	int ret;

	ret = powercut_create(p->ops, p->medium, &p->geometry, &emu->medium);
	if (!ret) {
		emu->ops = &powercut_ops;
		emu->powercut = true;
	}
	return ret;
}

int emu_create(const struct emu_params *p, struct zdev **dev, struct zerr *e)
{
	struct emu *emu;
	int ret = -ENOMEM;

	emu = calloc(1, sizeof(*emu));
	if (!emu)
		return zerr_errno(e, ENOMEM, "%s", p->path);
	pthread_mutex_init(&emu->lock, NULL);
	emu->ops = p->ops;
	emu->medium = p->medium;
	emu->log = p->log;
	emu->path = strdup(p->path);
	if (!emu->path || emu_conds_init(&emu->conds, &p->geometry)) {
		zerr_errno(e, ENOMEM, "%s", p->path);
		goto fail;
	}
	emu->conds.count_resets = !p->no_resets;
	emu->dev.ops = &emu_ops;
	fill_info(&emu->dev.info, p, emu->path);
	ret = load_all(emu, e);
	if (ret)
		goto fail;
	if (p->powercut) {
		ret = add_cache(emu, p);
		if (ret) {
			zerr_errno(e, -ret, "%s", p->path);
			goto fail;
		}
	}
	ret = emu_queue_start(emu, p->nr_workers);
	if (ret) {
		zerr_errno(e, -ret, "%s: starting threads", p->path);
		goto fail;
	}
	emu_aio_start(emu);
	*dev = &emu->dev;
	return 0;
fail:
	/* The medium stays the caller's. */
	if (emu->powercut)
		powercut_free(emu->medium);
	emu_free(emu);
	return ret;
}
