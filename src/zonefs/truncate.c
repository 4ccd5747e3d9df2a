/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reset, finish and truncate (Z10). The commands are parts that opens with
 * O_TRUNC and the administrator's commands use too.
 */
#include <errno.h>
#include <fcntl.h>

#include "zonefs_i.h"

/* ---- reset ---- */

/* Z13: the zone was open for its writers and is again; it is empty either way. */
static struct zonefs_req *reopened(struct zonefs_req *r)
{
	if (r->io.result < 0) {
		zonefs_zone_lock(r->fs, r->zone);
		r->zone->flags &= ~ZF_OPEN;
		zonefs_zone_account(r->fs, r->zone);
		zonefs_zone_unlock(r->fs, r->zone);
	}
	return zonefs_req_return(r, r->io.result);
}

static struct zonefs_req *was_reset(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	ssize_t err = r->io.result;
	bool reopen;

	zonefs_zone_lock(fs, z);
	z->act->unstable = false;
	if (!err) {
		z->flags &= ~ZF_ADM_OPEN;
		zonefs_zone_drop_tail(z);
		for (struct zonefs_file *f = z->act->files; f; f = f->next)
			f->lost_end = 0;
		if (z->act->stage) {
			/* The zone has one more reset, and no room is held any more. */
			z->act->stage->prepared = false;
			atomic_store(&z->act->stage->reserved, 0);
		}
		zonefs_zone_set_size(fs, z, 0);
		zonefs_zone_account(fs, z);
	}
	reopen = z->flags & ZF_OPEN;
	zonefs_zone_unlock(fs, z);
	if (err)
		return zonefs_req_return(r, err);
	atomic_fetch_add(&fs->count.resets, 1);
	if (!reopen)
		return zonefs_req_return(r, 0);
	return zonefs_req_io(r, ZDEV_OPEN, z->zno, 0, 0, reopened);
}

struct zonefs_req *zonefs_reset(struct zonefs_req *r, zonefs_step then)
{
	struct zonefs_active *act = r->zone->act;

	zonefs_req_call(r, then);
	zonefs_zone_lock(r->fs, r->zone);
	act->unstable = true;
	act->gen++;
	zonefs_zone_unlock(r->fs, r->zone);
	return zonefs_req_io(r, ZDEV_RESET, r->zone->zno, 0, 0, was_reset);
}

/* ---- finish ---- */

static struct zonefs_req *flushed(struct zonefs_req *r)
{
	return zonefs_req_return(r, r->result);
}

static struct zonefs_req *finished(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;

	if (r->io.result < 0)
		return zonefs_req_return(r, r->io.result);
	zonefs_zone_lock(fs, z);
	zonefs_zone_drop_tail(z);
	zonefs_zone_set_size(fs, z, z->capacity);
	zonefs_zone_account(fs, z);
	zonefs_zone_unlock(fs, z);
	atomic_fetch_add(&fs->count.finishes, 1);
	if (fs->strict)
		return zonefs_req_return(r, 0);
	/* D9: a finished zone takes no more data, so what it has shall last. */
	return zonefs_flush_zone(r, flushed);
}

static struct zonefs_req *tail_sealed(struct zonefs_req *r)
{
	if (r->result < 0)
		return zonefs_req_return(r, r->result);
	return zonefs_req_io(r, ZDEV_FINISH, r->zone->zno, 0, 0, finished);
}

struct zonefs_req *zonefs_finish(struct zonefs_req *r, zonefs_step then)
{
	/* The device knows nothing of the tail: make a block of it first. */
	zonefs_req_call(r, then);
	return zonefs_seal(r, tail_sealed);
}

/* ---- truncate and ftruncate ---- */

static struct zonefs_req *truncated(struct zonefs_req *r)
{
	const struct zonefs_setattr_args *a = r->args;

	/* Strict: a path truncate leaves the times alone (Z4). */
	if (r->result >= 0 && (a->file || !r->fs->strict)) {
		zonefs_zone_lock(r->fs, r->zone);
		zonefs_zone_touch(r->fs, r->zone);
		zonefs_zone_unlock(r->fs, r->zone);
	}
	return zonefs_req_return(r, r->result < 0 ? r->result : 0);
}

/* The checks of Z10 that need no device. 1: there is something to do. */
static int truncate_check(struct zonefs *fs, const struct zonefs_zone *z,
			  const struct zonefs_setattr_args *a)
{
	/* A descriptor that got through open may go on after an error (Z10). */
	if (!a->file && atomic_load(&fs->read_only))
		return -EROFS;
	if (a->file && (a->file->flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	if (zonefs_zone_writable(z))
		return -EPERM;
	if (a->size > INT64_MAX)
		return -EINVAL;
	if (a->size > fs->max_capacity)
		return -EFBIG;
	if (!zone_is_seq(z))
		return !fs->strict && a->size == z->size ? 0 : -EPERM;
	/* Strict refuses other lengths even when nothing would change (Z10). */
	if (a->size == z->size)
		return fs->strict && a->size && a->size != z->capacity ? -EPERM : 0;
	if (!a->size || a->size == z->capacity)
		return 1;
	if (fs->strict || a->size < z->size)
		return -EPERM;
	return a->size > z->capacity ? -EFBIG : 1;
}

static struct zonefs_req *grow(struct zonefs_req *r)
{
	const struct zonefs_setattr_args *a = r->args;

	r->pos = a->size;
	r->len = 0;
	return zonefs_append(r, truncated);
}

/*
 * What is staged of a write that was cut (see write.c) is lost to anything but
 * its continuation; unless the file is emptied, someone has to be told.
 */
static bool staged_is_lost(struct zonefs_req *r, uint64_t size)
{
	if (!r->fs->strict || !r->zone->act->held)
		return false;
	zonefs_zone_lock(r->fs, r->zone);
	zonefs_zone_drop_tail(r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	if (size)
		zonefs_attr_changed(r->fs, r->zone);
	return size;
}

struct zonefs_req *zonefs_truncate(struct zonefs_req *r, zonefs_step then)
{
	const struct zonefs_setattr_args *a = r->args;
	struct zonefs_zone *z = r->zone;
	bool undo;
	int ret;

	zonefs_req_call(r, then);
	zonefs_zone_lock(r->fs, z);
	ret = truncate_check(r->fs, z, a);
	/* The client undoes an append that failed by setting the size it knows. */
	undo = ret == -EPERM && a->size == z->size;
	zonefs_zone_unlock(r->fs, z);
	if ((ret >= 0 || undo) && zone_is_seq(z) && staged_is_lost(r, a->size))
		ret = -EINVAL;
	r->result = ret;
	if (ret <= 0)
		return truncated(r);
	if (!a->size)
		return zonefs_reset(r, truncated);
	if (a->size == z->capacity)
		return zonefs_finish(r, truncated);
	if (!z->act->loaded)
		return zonefs_tail_load(r, grow);
	return grow(r);
}
