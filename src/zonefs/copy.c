/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies from file to file. A request goes through its range part by part: where
 * whole blocks of the source, which must be on the device, become whole blocks of
 * the destination, the device copies them; edges, and everything once it has
 * refused, are read and written as any client would do it. Each part is a request
 * of its own, `sub`, so that parts keep the rules of writes and order with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

/* Of one request: its client may want to end, or the mount. */
#define COPY_MAX	((size_t)16 << 20)
#define BUF_ALIGN	4096u

struct copy {
	struct zonefs_req sub;		/* first */
	struct zonefs_req *whole;
	ssize_t		result;		/* of sub */
	struct zonefs_file *from;
	uint64_t	src_pos, pos;	/* of what is left */
	size_t		left, done;
	bool		by_hand;	/* the device has refused */
	char		*buf;
	size_t		buf_size;
};

static struct copy *copy_of(struct zonefs_req *r)
{
	return r->scratch;
}

static struct zonefs_req *end(struct zonefs_req *r, ssize_t result)
{
	free(copy_of(r)->buf);
	return zonefs_req_finish(r, result);
}

/* What is done stays done: an error comes when the client goes on from there. */
static struct zonefs_req *end_early(struct zonefs_req *r, ssize_t err)
{
	const struct copy *c = copy_of(r);

	return end(r, c->done ? (ssize_t)c->done : err);
}

/* ---- sub, which runs as an operation of the device does, see queue.c ---- */

static void sub_done(struct zonefs_req *sub, ssize_t result)
{
	struct copy *c = (struct copy *)sub;
	struct zonefs_req *r = c->whole;

	c->result = result;
	if (atomic_exchange(&r->handoff, HANDOFF_DONE) == HANDOFF_LEFT)
		zonefs_req_run(r);
}

/* sub is about to run, then r goes on with next. */
static struct zonefs_req *sub_new(struct zonefs_req *r, zonefs_step next)
{
	struct copy *c = copy_of(r);

	memset(&c->sub, 0, sizeof(c->sub));
	c->sub.done = sub_done;
	r->step = next;
	atomic_store(&r->handoff, HANDOFF_SUBMITTING);
	return &c->sub;
}

/* sub has been handed over. Not to be looked at any more if it is not done. */
static struct zonefs_req *sub_wait(struct zonefs_req *r)
{
	return atomic_exchange(&r->handoff, HANDOFF_LEFT) == HANDOFF_DONE ? r : NULL;
}

static struct zonefs_req *next_part(struct zonefs_req *r);

static struct zonefs_req *advance(struct zonefs_req *r, size_t n)
{
	struct copy *c = copy_of(r);

	c->src_pos += n;
	c->pos += n;
	c->left -= n;
	c->done += n;
	return next_part(r);
}

/* ---- by the device ---- */

/* Whole blocks from src_pos on that the device can copy; 0 when there are none. */
static uint64_t source_blocks(const struct copy *c, struct zonefs *fs, uint32_t *zno,
			      uint64_t *zpos)
{
	const struct zonefs_zone *z = c->from->zone;
	uint64_t end_pos, room;

	zonefs_zone_lock(fs, z);
	end_pos = zone_is_seq(z) ? zone_dev_end(fs, z) : z->size;
	if (z->act->unstable || zonefs_zone_readable(z))
		end_pos = 0;
	zonefs_zone_unlock(fs, z);
	if (c->src_pos >= end_pos)
		return 0;
	room = zonefs_zone_place(fs, z, c->src_pos, zno, zpos);
	return end_pos - c->src_pos < room ? end_pos - c->src_pos : room;
}

/* How much fits behind sub->pos; 0: let a write by hand find out why not. */
static uint64_t room_for(struct zonefs_req *sub, uint32_t *zno, uint64_t *zpos)
{
	struct zonefs *fs = sub->fs;
	struct zonefs_zone *z = sub->zone;
	const struct zonefs_active *act = z->act;
	bool ok;

	zonefs_zone_lock(fs, z);
	ok = !zonefs_zone_writable(z) && !atomic_load(&fs->read_only) &&
	     sub->pos < z->capacity;
	if (zone_is_seq(z))
		ok = ok && sub->pos == z->size && !act->held && !act->kept;
	zonefs_zone_unlock(fs, z);
	return ok ? zonefs_zone_place(fs, z, sub->pos, zno, zpos) : 0;
}

/* sub->io := as much of the copy as one command can do. false: nothing. */
static bool make_command(struct zonefs_req *sub)
{
	struct zonefs *fs = sub->fs;
	uint32_t zno = 0, src_zno = 0;
	uint64_t zpos = 0, src_zpos = 0;
	uint64_t n = room_for(sub, &zno, &zpos);
	uint64_t have = source_blocks((struct copy *)sub, fs, &src_zno, &src_zpos);

	n = n < have ? n : have;
	n = n < sub->len ? n : sub->len;
	n = n < fs->info->max_io ? n : fs->info->max_io;
	n = zu_round_down(n, fs->bs);
	sub->io = (struct zdev_io) {
		.op = ZDEV_COPY, .zno = zno, .pos = zpos, .src_zno = src_zno,
		.src_pos = src_zpos, .bytes = n,
	};
	return n;
}

static struct zonefs_req *dev_synced(struct zonefs_req *sub)
{
	return zonefs_req_finish(sub, sub->result < 0 ? sub->result : (ssize_t)sub->asked);
}

/* n bytes are there. */
static struct zonefs_req *dev_copied(struct zonefs_req *sub, size_t n)
{
	struct zonefs *fs = sub->fs;
	struct zonefs_zone *z = sub->zone;

	zonefs_zone_lock(fs, z);
	if (zone_is_seq(z)) {
		zonefs_zone_set_size(fs, z, sub->pos + n);
		zonefs_zone_account(fs, z);
	}
	zonefs_zone_touch(fs, z);
	zonefs_zone_unlock(fs, z);
	atomic_fetch_add(&fs->count.copy_offload_bytes, n);
	sub->asked = n;
	if (sub->flags & (O_DSYNC | O_SYNC))
		return zonefs_flush_zone(sub, dev_synced);
	return zonefs_req_finish(sub, (ssize_t)n);
}

/*
 * On the helper thread: a copy is not a write that failed, whoever asked for it can
 * go on. But part of it may be there.
 */
static struct zonefs_req *look(struct zonefs_req *sub)
{
	struct zdev_zone dev;

	if (zdev_report(sub->fs->dev, sub->zone->zno, 1, &dev) || dev.wp == ZDEV_WP_NONE ||
	    dev.wp <= sub->pos || dev.wp > sub->pos + sub->io.bytes)
		return zonefs_req_finish(sub, -EOPNOTSUPP);
	return dev_copied(sub, dev.wp - sub->pos);
}

static struct zonefs_req *seq_copied(struct zonefs_req *sub)
{
	if (!sub->io.result)
		return dev_copied(sub, sub->io.bytes);
	if (sub->io.result == -EOPNOTSUPP)
		return zonefs_req_finish(sub, -EOPNOTSUPP);
	return zonefs_req_defer(sub, look);
}

static struct zonefs_req *conv_copied(struct zonefs_req *sub)
{
	zonefs_conv_leave(sub);
	if (sub->io.result)
		return zonefs_req_finish(sub, -EOPNOTSUPP);
	return dev_copied(sub, sub->io.bytes);
}

static struct zonefs_req *seq_drained(struct zonefs_req *sub)
{
	int err = zonefs_late_error(sub);

	if (err)
		return zonefs_req_finish(sub, err);
	if (!make_command(sub))
		return zonefs_req_finish(sub, -EOPNOTSUPP);
	return zonefs_req_submit(sub, seq_copied);
}

static struct zonefs_req *seq_turn(struct zonefs_req *sub)
{
	return zonefs_drain(sub, seq_drained);
}

static struct zonefs_req *conv_turn(struct zonefs_req *sub)
{
	if (make_command(sub))
		return zonefs_req_submit(sub, conv_copied);
	zonefs_conv_leave(sub);
	return zonefs_req_finish(sub, -EOPNOTSUPP);
}

static struct zonefs_req *dev_ended(struct zonefs_req *r)
{
	struct copy *c = copy_of(r);

	if (c->result >= 0)
		return advance(r, (size_t)c->result);
	/* Lost bytes, or a flush that failed: not to be hidden by a count. */
	if (c->result != -EOPNOTSUPP)
		return end(r, c->result);
	c->by_hand = true;
	return next_part(r);
}

static struct zonefs_req *by_device(struct zonefs_req *r)
{
	struct zonefs_req *sub = sub_new(r, dev_ended);
	const struct copy *c = copy_of(r);

	zonefs_req_begin(r->fs, r->zone, r->file, sub);
	sub->pos = c->pos;
	sub->len = zu_round_down(c->left, r->fs->bs);
	sub->flags = r->flags;
	if (zone_is_seq(r->zone))
		zonefs_req_run(zonefs_req_queue(sub, seq_turn));
	else
		zonefs_req_run(zonefs_conv_enter(sub, conv_turn));
	return sub_wait(r);
}

/* ---- by hand ---- */

static struct zonefs_req *hand_written(struct zonefs_req *r)
{
	struct copy *c = copy_of(r);

	if (c->result <= 0)
		return end_early(r, c->result);
	atomic_fetch_add(&r->fs->count.copy_fallback_bytes, (uint64_t)c->result);
	return advance(r, (size_t)c->result);
}

static struct zonefs_req *hand_read(struct zonefs_req *r)
{
	struct copy *c = copy_of(r);
	ssize_t n = c->result;

	if (n <= 0)
		return end_early(r, n);
	zonefs_write(r->file, r->flags, c->buf, (size_t)n, c->pos, sub_new(r, hand_written));
	return sub_wait(r);
}

static struct zonefs_req *by_hand(struct zonefs_req *r, size_t n)
{
	struct copy *c = copy_of(r);

	if (c->buf_size < n) {
		free(c->buf);
		c->buf_size = (n + BUF_ALIGN - 1) / BUF_ALIGN * BUF_ALIGN;
		c->buf = aligned_alloc(BUF_ALIGN, c->buf_size);
		if (!c->buf)
			return end_early(r, -ENOMEM);
	}
	zonefs_read(c->from, 0, c->buf, n, c->src_pos, sub_new(r, hand_read));
	return sub_wait(r);
}

/* ---- the whole ---- */

static struct zonefs_req *next_part(struct zonefs_req *r)
{
	struct copy *c = copy_of(r);
	size_t bs = r->fs->bs, edge = c->pos % bs, max = r->fs->info->max_io;

	if (!c->left)
		return end(r, (ssize_t)c->done);
	if (atomic_load(&r->stop) || atomic_load(&r->fs->stopping))
		return end_early(r, -EINTR);
	if (c->by_hand || c->src_pos % bs != edge)
		return by_hand(r, c->left < max ? c->left : max);
	/* Up to where a block begins, or what is less than one. */
	if (edge)
		return by_hand(r, c->left < bs - edge ? c->left : bs - edge);
	return c->left < bs ? by_hand(r, c->left) : by_device(r);
}

static struct zonefs_req *begin(struct zonefs_req *r)
{
	const struct zonefs_zone *z;
	struct copy *c = copy_of(r);
	uint64_t size;
	int err;

	z = c->from->zone;
	zonefs_zone_lock(r->fs, z);
	err = zonefs_zone_readable(z);
	size = z->size;
	zonefs_zone_unlock(r->fs, z);
	if (err)
		return end(r, err);
	if (c->src_pos >= size)
		return end(r, 0);
	if (c->left > size - c->src_pos)
		c->left = size - c->src_pos;
	return next_part(r);
}

static struct zonefs_req *source_drained(struct zonefs_req *sub)
{
	/* Bytes that were lost are for a write or fsync of that file to tell. */
	return zonefs_req_finish(sub, 0);
}

static struct zonefs_req *drain_turn(struct zonefs_req *sub)
{
	return zonefs_drain(sub, source_drained);
}

/* What is on its way to the device is to arrive there first. */
static struct zonefs_req *drain_source(struct zonefs_req *r)
{
	struct zonefs_zone *z = copy_of(r)->from->zone;
	struct zonefs_req *sub;

	if (!zonefs_stage_is_live(r->fs, z))
		return begin(r);
	sub = sub_new(r, begin);
	zonefs_req_begin(r->fs, z, NULL, sub);
	zonefs_req_run(zonefs_req_queue(sub, drain_turn));
	return sub_wait(r);
}

void zonefs_copy(struct zonefs_file *from, uint64_t src_pos, struct zonefs_file *file,
		 int flags, uint64_t pos, size_t len, struct zonefs_req *r)
{
	struct copy *c = NULL;
	int err = 0;

	zonefs_req_begin(file->fs, file->zone, file, r);
	atomic_fetch_add(&r->fs->count.copies, 1);
	if ((file->flags & O_ACCMODE) == O_RDONLY || (from->flags & O_ACCMODE) == O_WRONLY)
		err = -EBADF;
	else if (r->fs->strict)
		err = -EOPNOTSUPP;
	else
		c = calloc(1, sizeof(*c));
	if (!c) {
		zonefs_req_run(zonefs_req_finish(r, err ? err : -ENOMEM));
		return;
	}
	c->whole = r;
	c->from = from;
	c->src_pos = src_pos;
	c->pos = pos;
	c->left = len < COPY_MAX ? len : COPY_MAX;
	r->scratch = c;
	r->flags = flags;
	r->step = drain_source;
	zonefs_req_run(r);
}
