/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers that go past us: they read the backing file of a zone themselves. While
 * one is there nothing is staged, so that the backing file is the whole truth.
 */
#include <errno.h>

#include "zonefs_i.h"

/* The head of the queue, drained: does the device have every byte that counts? */
static struct zonefs_req *turn_on(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;
	struct zonefs_active *act = z->act;
	int err = 0;

	zonefs_zone_lock(r->fs, z);
	if (act->held && (act->kept || (act->loaded && !act->stored)))
		err = -EOPNOTSUPP;
	if (!err)
		act->through++;
	zonefs_zone_unlock(r->fs, z);
	/* The use of the zone that r took is the reader's. */
	r->pinned = err;
	return zonefs_req_finish(r, err);
}

static struct zonefs_req *turn(struct zonefs_req *r)
{
	return zonefs_drain(r, turn_on);
}

/* Nothing has to wait for this. */
static struct zonefs_req *turn_off(struct zonefs_req *r)
{
	zonefs_zone_lock(r->fs, r->zone);
	r->zone->act->through--;
	zonefs_zone_unlock(r->fs, r->zone);
	r->pinned = true;
	return zonefs_req_finish(r, 0);
}

void zonefs_set_through(struct zonefs *fs, uint64_t ino, bool on, struct zonefs_req *r)
{
	struct zonefs_zone *z = zonefs_zone_by_ino(fs, ino);
	int err = z && zone_is_seq(z) ? 0 : -ENOENT;

	zonefs_req_begin(fs, z, NULL, r);
	if (!err && on)
		err = zonefs_zone_get(fs, z);
	r->pinned = !err && on;
	if (err)
		r = zonefs_req_finish(r, err);
	else
		r = on ? zonefs_req_queue(r, turn) : turn_off(r);
	zonefs_req_run(r);
}

int zonefs_backing(struct zonefs *fs, uint64_t ino, int *fd)
{
	struct zonefs_zone *z = zonefs_zone_by_ino(fs, ino);
	bool bad;
	int ret;

	if (!z)
		return -ENOENT;
	zonefs_zone_lock(fs, z);
	bad = z->flags & (ZF_RO | ZF_OFF);
	zonefs_zone_unlock(fs, z);
	if (bad || z->nr_zones > 1 || fs->strict)
		return -EOPNOTSUPP;
	ret = zdev_backing(fs->dev, z->zno);
	if (ret < 0)
		return ret;
	*fd = ret;
	return 0;
}
