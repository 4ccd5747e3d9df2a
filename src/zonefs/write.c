/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes, and the strict rules for them (Z8).
 *
 * The client sends a write(2) in chunks, and cuts them by pages of the buffer:
 * when that is not page aligned, the chunks of one legal write begin and end
 * within blocks (Z16.1). A large direct chunk that ends within a block is thus
 * accepted; its last part is staged, and the next write that continues it
 * exactly completes the block. Until then the part is in no size and on no
 * device. If anything else comes first, the write was a misaligned one: the part
 * is dropped and that next call gets EINVAL. A chunk this small cannot come from
 * such a cut:
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "zonefs_i.h"

#define STAGE_MIN	((size_t)512 << 10)

static bool is_aligned(const struct zonefs *fs, uint64_t v)
{
	return !(v & (fs->bs - 1));
}

/*
 * Rules 1 to 3, which both kinds of files share. An append carries what the
 * client takes for the end, not the descriptor's position: rule 3 has nothing to
 * look at.
 */
static int strict_check_common(const struct zonefs_req *r)
{
	if (zonefs_zone_writable(r->zone))
		return -EPERM;
	if (atomic_load(&r->fs->read_only))
		return -EROFS;
	return r->pos >= r->zone->capacity && !(r->flags & O_APPEND) ? -EFBIG : 0;
}

static void cut(struct zonefs_req *r)
{
	uint64_t room = r->zone->capacity - r->pos;

	r->len = r->asked < room ? r->asked : room;
}

/* The numbers are the rows of Z8. An errno, 0, or 1. The stripe is held. */
static int strict_check_seq(struct zonefs_req *r)
{
	const struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	uint64_t held = z->act->held, wp = z->size;
	int err = strict_check_common(r);

	if (err)
		return err;
	if (!(r->flags & O_DIRECT))
		return -EIO;			/* 4 */
	if (!r->asked)
		return 0;			/* 6 */
	if (r->flags & O_APPEND)
		r->pos = wp + held;		/* 7 */
	if (r->pos >= z->capacity)
		return -EFBIG;			/* 8 */
	cut(r);					/* 9 */
	/* 10 and 11: where a block is staged, only what follows it is in place. */
	if (r->pos != wp + held || (!is_aligned(fs, r->pos + r->len) && r->len < STAGE_MIN)) {
		zonefs_zone_drop_tail(z);
		return -EINVAL;
	}
	return 1;
}

static int strict_check_cnv(struct zonefs_req *r)
{
	int err = strict_check_common(r);

	if (err)
		return err;
	if (!r->asked)
		return 0;			/* 6 */
	if (r->flags & O_APPEND)
		return -EINVAL;			/* 7 */
	cut(r);					/* 9 */
	if (r->flags & O_DIRECT && !is_aligned(r->fs, r->pos | r->len))
		return -EINVAL;			/* 10 */
	return 1;
}

static int check(struct zonefs_req *r, bool *dropped)
{
	const struct zonefs_active *act = r->zone->act;
	uint32_t held = act->held;
	int ret;

	zonefs_zone_lock(r->fs, r->zone);
	if (!r->fs->strict)
		ret = zonefs_write_check_any(r);
	else if (zone_is_seq(r->zone))
		ret = strict_check_seq(r);
	else
		ret = strict_check_cnv(r);
	*dropped = ret < 0 && act->held < held;
	zonefs_zone_unlock(r->fs, r->zone);
	return ret;
}

static struct zonefs_req *write_end(struct zonefs_req *r, ssize_t result)
{
	if (result > 0)
		atomic_fetch_add(&r->fs->count.write_bytes, (uint64_t)result);
	return zonefs_req_finish(r, result);
}

static struct zonefs_req *synced(struct zonefs_req *r)
{
	return write_end(r, r->result < 0 ? r->result : (ssize_t)r->asked);
}

static struct zonefs_req *written(struct zonefs_req *r)
{
	if (r->result < 0 || !(r->flags & (O_DSYNC | O_SYNC)))
		return write_end(r, r->result);
	r->asked = (size_t)r->result;
	return zonefs_flush_zone(r, synced);
}

/*
 * The kernel cuts a large write itself. What is behind a piece that fails waits for the
 * zone, is given up with EIO, and that is what all of the write returns.
 */
static struct zonefs_req *strict_written(struct zonefs_req *r)
{
	uint32_t max = r->fs->info->max_command;

	if ((r->result == -EOVERFLOW || r->result == -ETOOMANYREFS) && max && r->len > max)
		r->result = -EIO;
	return written(r);
}

static struct zonefs_req *append(struct zonefs_req *r)
{
	return zonefs_append(r, r->fs->strict ? strict_written : written);
}

/* The first bytes were staged, the rest was not, for lack of room somewhere. */
static struct zonefs_req *rest_written(struct zonefs_req *r)
{
	if (r->result >= 0)
		return write_end(r, (ssize_t)r->staged + r->result);
	return write_end(r, r->staged ? (ssize_t)r->staged : r->result);
}

static struct zonefs_req *rest_drained(struct zonefs_req *r)
{
	int err = zonefs_late_error(r);

	/* Of this write, too, bytes may be lost. */
	if (err)
		return write_end(r, err);
	return zonefs_append(r, rest_written);
}

static struct zonefs_req *staged(struct zonefs_req *r)
{
	if (!r->len)
		return write_end(r, (ssize_t)r->staged);
	return zonefs_drain(r, rest_drained);
}

static struct zonefs_req *stage(struct zonefs_req *r)
{
	return zonefs_stage_append(r, staged);
}

static struct zonefs_req *write_turn(struct zonefs_req *r);

/* Sequential, default personality: through memory, or when that is empty past it. */
static struct zonefs_req *write_any(struct zonefs_req *r)
{
	bool takes;

	zonefs_zone_lock(r->fs, r->zone);
	takes = zonefs_stage_takes(r);
	zonefs_zone_unlock(r->fs, r->zone);
	if (!takes && zonefs_stage_is_live(r->fs, r->zone))
		return zonefs_drain(r, write_turn);
	if (!r->zone->act->loaded)
		return zonefs_tail_load(r, takes ? stage : append);
	return takes ? stage(r) : append(r);
}

static struct zonefs_req *write_turn(struct zonefs_req *r)
{
	bool dropped;
	int err = zone_is_seq(r->zone) ? zonefs_late_error(r) : 0;
	int ret = err ? err : check(r, &dropped);

	if (!err && dropped)
		zonefs_attr_changed(r->fs, r->zone);
	if (ret <= 0)
		return zonefs_req_finish(r, ret);
	if (!zone_is_seq(r->zone))
		return zonefs_conv_write(r, written);
	return r->fs->strict ? append(r) : write_any(r);
}

void zonefs_write(struct zonefs_file *file, int flags, const void *buf, size_t len,
		  uint64_t off, struct zonefs_req *r)
{
	zonefs_req_begin(file->fs, file->zone, file, r);
	atomic_fetch_add(&r->fs->count.writes, 1);
	r->buf = (void *)(uintptr_t)buf;
	r->pos = off;
	r->asked = len > SSIZE_MAX ? SSIZE_MAX : len;
	r->flags = flags;
	if ((file->flags & O_ACCMODE) == O_RDONLY)
		r = zonefs_req_finish(r, -EBADF);
	else if (zone_is_seq(r->zone))
		r = zonefs_req_queue(r, write_turn);
	else
		r->step = write_turn;
	zonefs_req_run(r);
}
