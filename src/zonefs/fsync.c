/* SPDX-License-Identifier: BSD-2-Clause */
/* Durability: fsync and close (Z9). */
#include <errno.h>
#include <fcntl.h>

#include "zonefs_i.h"

static struct zonefs_req *flush_recovered(struct zonefs_req *r)
{
	return zonefs_req_return(r, r->result);
}

static struct zonefs_req *flush_failed(struct zonefs_req *r, ssize_t err)
{
	return zonefs_recover(r, "flush", err, CAUSE_WRITE, flush_recovered);
}

/*
 * The error of a zone stays until a flush of that zone alone has told it, so that
 * others who flush the device do not use it up. This file tells it now.
 */
static struct zonefs_req *tell_zones(struct zonefs_req *r)
{
	if (r->pos < r->zone->nr_zones)
		return zonefs_req_io(r, ZDEV_FLUSH, r->zone->zno + (uint32_t)r->pos++, 0, 0,
				     tell_zones);
	return flush_failed(r, -(ssize_t)r->len);
}

static struct zonefs_req *zone_flushed(struct zonefs_req *r)
{
	ssize_t err = r->io.result;

	if (err >= 0)
		return zonefs_req_return(r, 0);
	if (r->zone->nr_zones == 1)
		return flush_failed(r, err);
	r->pos = 0;
	r->len = (size_t)-err;
	return tell_zones(r);
}

static struct zonefs_req *flush(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;

	if (r->fs->info->read_only)
		return zonefs_req_return(r, 0);
	return zonefs_req_io(r, ZDEV_FLUSH, z->nr_zones > 1 ? ZDEV_ALL_ZONES : z->zno,
			     0, 0, zone_flushed);
}

/* The tail has become a block: the client did not write the zeros. */
static struct zonefs_req *tail_sealed(struct zonefs_req *r)
{
	if (r->result < 0)
		return zonefs_req_return(r, r->result);
	zonefs_attr_changed(r->fs, r->zone);
	return flush(r);
}

struct zonefs_req *zonefs_flush_zone(struct zonefs_req *r, zonefs_step then)
{
	zonefs_req_call(r, then);
	/* A tail the device has no room for is durable only as a block. */
	if (zonefs_tail_is_unstored(r->fs, r->zone))
		return zonefs_seal(r, tail_sealed);
	return flush(r);
}

static struct zonefs_req *finish_with_result(struct zonefs_req *r)
{
	return zonefs_req_finish(r, r->result);
}

/*
 * Strict: the rest of a cut write was staged for a continuation that did not
 * come. It was misaligned after all (see write.c), and this is where to say so.
 */
static bool drop_staged(struct zonefs_req *r)
{
	if (!r->fs->strict || !r->zone->act->held)
		return false;
	zonefs_zone_lock(r->fs, r->zone);
	zonefs_zone_drop_tail(r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	zonefs_attr_changed(r->fs, r->zone);
	return true;
}

static struct zonefs_req *fsync_drained(struct zonefs_req *r)
{
	int err = zone_is_seq(r->zone) ? zonefs_late_error(r) : 0;

	if (err)
		return zonefs_req_finish(r, err);
	zonefs_zone_lock(r->fs, r->zone);
	err = zonefs_zone_writable(r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	if (err)
		return zonefs_req_finish(r, err);
	if (zone_is_seq(r->zone) && drop_staged(r))
		return zonefs_req_finish(r, -EINVAL);
	return zonefs_flush_zone(r, finish_with_result);
}

static struct zonefs_req *fsync_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, fsync_drained);
}

void zonefs_fsync(struct zonefs_file *file, struct zonefs_req *r)
{
	zonefs_req_begin(file->fs, file->zone, file, r);
	atomic_fetch_add(&r->fs->count.fsyncs, 1);
	if (zone_is_seq(r->zone))
		r = zonefs_req_queue(r, fsync_turn);
	else
		r->step = fsync_turn;
	zonefs_req_run(r);
}

static struct zonefs_req *close_drained(struct zonefs_req *r)
{
	return zonefs_req_finish(r, drop_staged(r) ? -EINVAL : zonefs_late_error(r));
}

static struct zonefs_req *close_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, close_drained);
}

void zonefs_flush(struct zonefs_file *file, struct zonefs_req *r)
{
	zonefs_req_begin(file->fs, file->zone, file, r);
	if (zone_is_seq(r->zone) && (file->flags & O_ACCMODE) != O_RDONLY)
		r = zonefs_req_queue(r, close_turn);
	else
		r = zonefs_req_finish(r, 0);
	zonefs_req_run(r);
}
