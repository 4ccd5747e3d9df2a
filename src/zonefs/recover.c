/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After an I/O error the device is asked what it has, and the file is put
 * right by the errors= option (Z12). The question may block, so the helper
 * thread does it, as head of the file's queue: one recovery of a file at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

bool zonefs_error_is_soft(const struct zonefs *fs, ssize_t err)
{
	if (fs->strict)
		return false;
	return err == -ENOSPC || err == -EDQUOT || err == -ETOOMANYREFS || err == -EOVERFLOW;
}

void zonefs_set_readonly(struct zonefs *fs, const struct zonefs_zone *z)
{
	char name[ZONEFS_NAME_LEN];
	bool tell;

	pthread_mutex_lock(&fs->lock);
	tell = !atomic_load(&fs->read_only) && !fs->told_readonly;
	atomic_store(&fs->read_only, true);
	fs->opts.read_only = true;
	fs->told_readonly = fs->told_readonly || tell;
	pthread_mutex_unlock(&fs->lock);
	if (!tell)
		return;
	zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): file system is now read-only",
	     fs->info->path, z->zno, zonefs_zone_name(fs, z, name));
	if (fs->ev.went_readonly)
		fs->ev.went_readonly(fs->ev.ctx);
}

/* What recovery found, and what it decided. */
struct verdict {
	struct zdev_zone dev;
	int		report_err;
	bool		soft;		/* errno that is nobody's fault */
	bool		tail_landed;	/* the device has the tail, in a whole block */
	enum zonefs_errors errors;
	/* Decided: */
	bool		fs_ro;
	bool		changed;	/* size or mode */
	const char	*says;		/* for the log; NULL: no action */
	uint64_t	lost;		/* bytes that were acknowledged */
};

/* Marks come before sizes: the active count follows from both. */
static void mark(struct zonefs *fs, struct zonefs_zone *z, struct verdict *v, uint16_t flag)
{
	uint16_t bits = flag == ZF_OFF ? 0777 : 0222;

	v->changed |= !(z->flags & flag) || z->mode & bits;
	z->flags |= flag;
	z->mode &= (uint16_t)~bits;
	if (flag == ZF_OFF) {
		v->changed |= z->size;
		zonefs_zone_set_size(fs, z, 0);
		zonefs_zone_drop_tail(z);
	}
	if (v->changed)
		v->says = flag == ZF_OFF ? "file is now offline" : "file is now read-only";
}

/* The size is what the device has; a tail that stood behind it is none any more. */
static void follow_device(struct zonefs *fs, struct zonefs_zone *z, struct verdict *v)
{
	struct zonefs_active *act = z->act;

	if (act->held && !fs->strict && !v->tail_landed)
		atomic_fetch_add(&fs->count.tails_dropped, 1);
	zonefs_zone_drop_tail(z);
	act->gen++;
	zonefs_zone_set_size(fs, z, v->dev.wp);
	v->changed = true;
	v->says = "size follows the device";
}

/* The rows of the table of Z12 for a zone that is good. */
static void judge_good(struct zonefs *fs, struct zonefs_zone *z, struct verdict *v)
{
	uint64_t wp = zone_wp(fs, z);

	if (v->soft || v->errors == ZONEFS_ERRORS_REPAIR) {
		if (v->dev.wp != wp)
			follow_device(fs, z, v);
		return;
	}
	switch (v->errors) {
	case ZONEFS_ERRORS_ZRO:
		mark(fs, z, v, ZF_RO);
		break;
	case ZONEFS_ERRORS_ZOL:
		mark(fs, z, v, ZF_OFF);
		break;
	default:
		if (v->dev.wp < wp)
			follow_device(fs, z, v);
		v->fs_ro = true;
	}
}

static void judge(struct zonefs *fs, struct zonefs_zone *z, enum zonefs_cause cause,
		  struct verdict *v)
{
	bool off = z->flags & ZF_OFF || v->dev.cond == BLK_ZONE_COND_OFFLINE;
	bool ro = z->flags & ZF_RO || v->dev.cond == BLK_ZONE_COND_READONLY;

	if (v->report_err) {
		v->fs_ro = true;
		return;
	}
	/* Not part of the size, and the write that would have completed it failed. */
	if (fs->strict && cause == CAUSE_WRITE)
		zonefs_zone_drop_tail(z);
	if (off || ro) {
		mark(fs, z, v, off || v->errors == ZONEFS_ERRORS_ZOL ? ZF_OFF : ZF_RO);
		v->fs_ro = v->errors == ZONEFS_ERRORS_RO;
	} else if (cause == CAUSE_WRITE || v->dev.wp != zone_wp(fs, z)) {
		judge_good(fs, z, v);
	}
	if (!fs->strict && z->act->held && z->act->loaded)
		z->act->kept = v->dev.wp != zone_wp(fs, z);
	zonefs_zone_account(fs, z);
}

/*
 * The device has gone on past the write pointer: a write that failed may have
 * put the block there that begins with the tail. Only the head of the queue
 * changes the tail, and that is who asks.
 */
static bool tail_landed(struct zonefs *fs, const struct zonefs_zone *z, uint64_t wp)
{
	const struct zonefs_active *act = z->act;
	uint64_t at = zone_wp(fs, z);
	uint8_t *block;
	bool same;

	if (fs->strict || !act->held || !act->loaded || wp <= at)
		return false;
	block = malloc(fs->bs);
	if (!block)
		return false;
	same = zdev_pread(fs->dev, z->zno, at, block, fs->bs) == (ssize_t)fs->bs &&
	       !memcmp(block, act->tail, act->held);
	free(block);
	return same;
}

/* Ask the device; a conventional zone has no more to say than that it is there. */
static void look(struct zonefs *fs, const struct zonefs_zone *z, struct verdict *v)
{
	v->dev.wp = z->capacity;
	v->dev.cond = BLK_ZONE_COND_NOT_WP;
	if (zone_is_seq(z))
		v->report_err = zdev_report(fs->dev, z->zno, 1, &v->dev);
	if (zone_is_seq(z) && !v->report_err)
		v->tail_landed = tail_landed(fs, z, v->dev.wp);
	pthread_mutex_lock(&fs->lock);
	v->errors = fs->opts.errors;
	pthread_mutex_unlock(&fs->lock);
}

static void say(struct zonefs *fs, const struct zonefs_zone *z, const struct verdict *v)
{
	char name[ZONEFS_NAME_LEN];

	zonefs_zone_name(fs, z, name);
	if (v->lost)
		zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): the last %llu bytes, which were "
		     "acknowledged, are lost", fs->info->path, z->zno, name,
		     (unsigned long long)v->lost);
	if (v->report_err)
		zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): report: %s", fs->info->path,
		     z->zno, name, strerror(-v->report_err));
	else if (v->says)
		zlog(fs->log, ZLOG_WARN, "%s: zone %u (%s): %s, %llu bytes", fs->info->path,
		     z->zno, name, v->says, (unsigned long long)z->size);
}

static struct zonefs_req *run(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct verdict v = { .soft = zonefs_error_is_soft(fs, r->result) };

	look(fs, z, &v);
	zonefs_zone_lock(fs, z);
	if (z->act->stage && z->act->stage->live) {
		v.lost = zonefs_stage_collapse(fs, z, v.report_err ? NULL : &v.dev,
					       (int)r->result);
		v.changed = v.lost;
	}
	judge(fs, z, r->cause, &v);
	zonefs_zone_unlock(fs, z);
	atomic_fetch_add(&fs->count.recoveries, 1);
	say(fs, z, &v);
	if (v.fs_ro)
		zonefs_set_readonly(fs, z);
	if (v.changed)
		zonefs_attr_changed(fs, z);
	return zonefs_req_return(r, r->result);
}

/* A failed read: the writer may have failed, too, and been recovered from. */
static struct zonefs_req *drained(struct zonefs_req *r)
{
	r->result = -(ssize_t)r->part;
	r->cause = CAUSE_READ;
	return zonefs_req_defer(r, run);
}

static struct zonefs_req *turn(struct zonefs_req *r)
{
	if (r->cause != CAUSE_READ || !zonefs_stage_is_live(r->fs, r->zone))
		return zonefs_req_defer(r, run);
	r->part = (size_t)-r->result;
	return zonefs_drain(r, drained);
}

struct zonefs_req *zonefs_recover(struct zonefs_req *r, const char *what, ssize_t err,
				  enum zonefs_cause cause, zonefs_step then)
{
	struct zonefs *fs = r->fs;
	char name[ZONEFS_NAME_LEN];

	zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): %s: %s", fs->info->path, r->zone->zno,
	     zonefs_zone_name(fs, r->zone, name), what, strerror((int)-err));
	atomic_fetch_add(&fs->count.io_errors, 1);
	zonefs_req_call(r, then);
	r->result = err;
	r->cause = cause;
	/* An EINTR in its place would hide the error, which may never come again. */
	r->recovering = true;
	return r->queued ? turn(r) : zonefs_req_queue(r, turn);
}
