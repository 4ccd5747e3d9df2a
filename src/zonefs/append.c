/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How data gets behind the write pointer. An append is a stream that begins at
 * the write pointer: the tail, zeros up to r->pos, then the caller's bytes.
 * Its whole blocks are written in pieces of at most max_io, the rest becomes
 * the new tail. Nothing is copied but that tail.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

static uint64_t stream_end(const struct zonefs_req *r)
{
	return r->pos + r->len;
}

/* Add the part of [seg, seg_end), which lies at base, that is in [pos, end). */
static int add_part(struct zonefs_req *r, int nr, uint64_t pos, uint64_t end,
		    uint64_t seg, uint64_t seg_end, const uint8_t *base)
{
	uint64_t from = pos > seg ? pos : seg;
	uint64_t to = end < seg_end ? end : seg_end;

	if (from >= to)
		return nr;
	r->iov[nr].iov_base = (void *)(uintptr_t)(base + (from - seg));
	r->iov[nr].iov_len = to - from;
	return nr + 1;
}

/* r->iov := the bytes [pos, end) of the stream, at most max_io. Returns the count. */
static int stream_iov(struct zonefs_req *r, uint64_t pos, uint64_t end)
{
	const struct zonefs_active *act = r->zone->act;
	uint64_t wp = zone_wp(r->fs, r->zone);
	uint64_t tail_end = wp + act->held;
	/* Zeros are the same everywhere: let the piece begin in the buffer's start. */
	uint64_t gap = pos > tail_end ? pos : tail_end;
	int nr;

	nr = add_part(r, 0, pos, end, wp, tail_end, act->tail);
	nr = add_part(r, nr, pos, end, gap, r->pos, r->fs->zeroes);
	return add_part(r, nr, pos, end, r->pos, stream_end(r), r->buf);
}

/*
 * [pos, end) of the stream, less than a block, becomes the tail. Readers copy
 * from act->tail under the stripe, so all that they may see changes in one go.
 */
static void copy_tail(struct zonefs_req *r, uint64_t pos, uint64_t end)
{
	struct zonefs_active *act = r->zone->act;
	int nr = stream_iov(r, pos, end);
	uint8_t *to = act->tail;

	for (int i = 0; i < nr; i++) {
		if (to != r->iov[i].iov_base)
			memcpy(to, r->iov[i].iov_base, r->iov[i].iov_len);
		to += r->iov[i].iov_len;
	}
	act->held = (uint32_t)(end - pos);
}

/* Bytes of the caller's that are in the file. */
static ssize_t landed(const struct zonefs_req *r)
{
	uint64_t size = r->zone->size;

	if (size <= r->pos)
		return 0;
	return (ssize_t)(size - r->pos < r->len ? size - r->pos : r->len);
}

/* The stream is on the device but for the rest, which is stored as tail or not. */
static void settle(struct zonefs_req *r, bool stored)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	uint64_t end = stream_end(r);
	uint64_t whole = zu_round_down(end, fs->bs);

	zonefs_zone_lock(fs, z);
	copy_tail(r, whole, end);
	if (stored || !z->act->held)
		zonefs_stage_unrest(z->act);
	z->act->stored = stored;
	z->act->kept = false;
	zonefs_zone_set_size(fs, z, fs->strict ? whole : end);
	zonefs_zone_account(fs, z);
	if (!fs->strict)
		zonefs_zone_touch(fs, z);
	zonefs_zone_unlock(fs, z);
}

static struct zonefs_req *commit(struct zonefs_req *r, bool stored)
{
	settle(r, stored);
	return zonefs_req_return(r, (ssize_t)r->len);
}

/* ---- failure ---- */

/* The errno, or how much there was room for. */
static struct zonefs_req *fail_end(struct zonefs_req *r)
{
	ssize_t err = r->result, n = 0;

	if (zonefs_error_is_soft(r->fs, err)) {
		zonefs_zone_lock(r->fs, r->zone);
		n = landed(r);
		zonefs_zone_unlock(r->fs, r->zone);
	}
	return zonefs_req_return(r, n ? n : err);
}

static void tail_is_back(struct zonefs_req *r)
{
	zonefs_zone_lock(r->fs, r->zone);
	zonefs_stage_unrest(r->zone->act);
	r->zone->act->stored = true;
	zonefs_zone_unlock(r->fs, r->zone);
}

/* On the helper thread: the device had room for the tail, and has none now. */
static struct zonefs_req *let_tail_rest(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;
	uint64_t wp = zone_wp(r->fs, z);

	/* Without room it stays in memory, until something completes its block. */
	if (!zonefs_stage_prepare(r->fs, z, wp))
		zonefs_stage_rest(r->fs, z, wp, r->iov, 1);
	return zonefs_req_return(r, r->result);
}

static struct zonefs_req *tail_put_back(struct zonefs_req *r)
{
	if (!r->io.result)
		tail_is_back(r);
	else if (r->io.result == -EOPNOTSUPP && r->fs->arena)
		return zonefs_req_defer(r, let_tail_rest);
	return zonefs_req_return(r, r->result);
}

/* On the helper thread, where recovery ends: the question may block. */
static bool tail_is_stored(const struct zonefs_req *r)
{
	const struct zonefs_active *act = r->zone->act;
	uint8_t *buf = malloc(r->fs->bs);
	bool same;

	if (!buf)
		return false;
	same = zdev_get_tail(r->fs->dev, r->zone->zno, buf) == (ssize_t)act->held &&
	       !memcmp(buf, act->tail, act->held);
	free(buf);
	return same;
}

/*
 * The failed write may have dropped the stored tail, which was acknowledged
 * long ago: store it again if it still belongs to the write pointer and is not
 * there any more. Where it is, there may be no room for it a second time.
 */
struct zonefs_req *zonefs_tail_restore(struct zonefs_req *r, zonefs_step then)
{
	struct zonefs_zone *z = r->zone;
	bool again;

	zonefs_req_call(r, then);
	if (r->fs->strict)
		return zonefs_req_return(r, r->result);
	zonefs_zone_lock(r->fs, z);
	again = z->act->held && !z->act->kept && !(z->flags & (ZF_RO | ZF_OFF));
	if (again) {
		z->act->stored = false;
		r->iov[0].iov_base = z->act->tail;
		r->iov[0].iov_len = z->act->held;
	}
	zonefs_zone_unlock(r->fs, z);
	if (!again)
		return zonefs_req_return(r, r->result);
	if (tail_is_stored(r)) {
		tail_is_back(r);
		return zonefs_req_return(r, r->result);
	}
	return zonefs_req_io(r, ZDEV_PUT_TAIL, z->zno, zone_wp(r->fs, z), 1, tail_put_back);
}

static struct zonefs_req *recovered(struct zonefs_req *r)
{
	return zonefs_tail_restore(r, fail_end);
}

/* ---- a rest that the device has no room for ---- */

static struct zonefs_req *rest_padded(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	ssize_t n = r->io.result;

	if (n >= 0 && n != (ssize_t)fs->bs)
		n = -EIO;
	if (n < 0)
		return zonefs_recover(r, "write", n, CAUSE_WRITE, recovered);
	zonefs_zone_lock(fs, z);
	zonefs_zone_drop_tail(z);
	zonefs_zone_set_size(fs, z, r->at + fs->bs);
	zonefs_zone_account(fs, z);
	zonefs_zone_touch(fs, z);
	zonefs_zone_unlock(fs, z);
	atomic_fetch_add(&fs->count.tails_padded, 1);
	zonefs_attr_changed(fs, z);
	return zonefs_req_return(r, (ssize_t)r->len);
}

/*
 * There is no place where it would outlive the daemon: its block is completed
 * before the answer, as O_SYNC would do it.
 */
static struct zonefs_req *pad_rest(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct iovec *iov = r->zone->act->stage->iov;
	uint64_t end = stream_end(r);
	int nr = stream_iov(r, r->at, end);

	/* Those of the writer, which has nothing to do: it may be one more than r has. */
	memcpy(iov, r->iov, nr * sizeof(*iov));
	iov[nr++] = (struct iovec) { fs->zeroes, r->at + fs->bs - end };
	r->io = (struct zdev_io) {
		.op = ZDEV_WRITE, .zno = r->zone->zno, .pos = r->at, .iov = iov, .nr_iov = nr,
	};
	return zonefs_req_submit(r, rest_padded);
}

static struct zonefs_req *rest_in_arena(struct zonefs_req *r)
{
	int nr = stream_iov(r, r->at, stream_end(r));

	if (!zonefs_stage_rest(r->fs, r->zone, r->at, r->iov, nr))
		return pad_rest(r);
	return commit(r, false);
}

/* On the helper thread. */
static struct zonefs_req *prepare_rest(struct zonefs_req *r)
{
	if (zonefs_stage_prepare(r->fs, r->zone, r->at))
		return pad_rest(r);
	return rest_in_arena(r);
}

/* It waits for fsync or the end, where a kill of the daemon does not take it. */
static struct zonefs_req *let_rest(struct zonefs_req *r)
{
	if (!r->fs->arena)
		return commit(r, false);
	if (!r->zone->act->stage->prepared)
		return zonefs_req_defer(r, prepare_rest);
	return rest_in_arena(r);
}

/* ---- the way there ---- */

static struct zonefs_req *tail_put(struct zonefs_req *r)
{
	if (!r->io.result) {
		atomic_fetch_add(&r->fs->count.tails_put, 1);
		return commit(r, true);
	}
	if (r->io.result == -EOPNOTSUPP)
		return let_rest(r);
	return zonefs_recover(r, "storing a partial block", r->io.result, CAUSE_WRITE, recovered);
}

static struct zonefs_req *put_rest(struct zonefs_req *r)
{
	uint64_t end = stream_end(r);
	uint64_t whole = zu_round_down(end, r->fs->bs);

	if (whole == end || r->fs->strict)
		return commit(r, false);
	return zonefs_req_io(r, ZDEV_PUT_TAIL, r->zone->zno, whole,
			     stream_iov(r, whole, end), tail_put);
}

/*
 * A gap may be as long as a zone and take hours: a request that is to stop does
 * so before the caller's bytes, and what it has written stays, as zeros.
 */
static bool stops_in_gap(const struct zonefs_req *r)
{
	return r->at < r->pos &&
	       (atomic_load(&r->stop) || atomic_load(&r->fs->stopping));
}

static struct zonefs_req *end_in_gap(struct zonefs_req *r)
{
	r->pos = r->at;
	r->len = 0;
	settle(r, false);
	zonefs_attr_changed(r->fs, r->zone);
	return zonefs_req_return(r, -EINTR);
}

static struct zonefs_req *write_piece(struct zonefs_req *r);

static struct zonefs_req *piece_written(struct zonefs_req *r)
{
	ssize_t n = r->io.result;

	if (n >= 0 && (size_t)n != r->part)
		n = -EIO;
	if (n < 0)
		return zonefs_recover(r, "write", n, CAUSE_WRITE, recovered);
	r->at += r->part;
	/* The tail is in its block, and what rested of it is behind the write pointer. */
	zonefs_zone_lock(r->fs, r->zone);
	zonefs_stage_unrest(r->zone->act);
	zonefs_zone_unlock(r->fs, r->zone);
	if (stops_in_gap(r))
		return end_in_gap(r);
	return write_piece(r);
}

static struct zonefs_req *write_piece(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	uint64_t left = zu_round_down(stream_end(r), fs->bs);

	if (r->at >= left)
		return put_rest(r);
	left -= r->at;
	r->part = left < fs->info->max_io ? left : fs->info->max_io;
	return zonefs_req_io(r, ZDEV_WRITE, r->zone->zno, r->at,
			     stream_iov(r, r->at, r->at + r->part), piece_written);
}

struct zonefs_req *zonefs_append(struct zonefs_req *r, zonefs_step then)
{
	zonefs_req_call(r, then);
	/* Before anything is written: a full memory must not cost data. */
	if (stream_end(r) % r->fs->bs && zonefs_stage_alloc(r->fs, r->zone))
		return zonefs_req_return(r, -ENOMEM);
	r->at = zone_wp(r->fs, r->zone);
	return write_piece(r);
}

static struct zonefs_req *sealed(struct zonefs_req *r)
{
	ssize_t err = r->result < 0 ? r->result : 0;

	if (!err)
		atomic_fetch_add(&r->fs->count.tails_padded, 1);
	return zonefs_req_return(r, err);
}

static struct zonefs_req *seal_tail(struct zonefs_req *r)
{
	r->len = 0;
	r->pos = zone_wp(r->fs, r->zone) + r->fs->bs;
	return zonefs_append(r, sealed);
}

struct zonefs_req *zonefs_seal(struct zonefs_req *r, zonefs_step then)
{
	zonefs_req_call(r, then);
	if (!r->zone->act->held || r->fs->strict)
		return zonefs_req_return(r, 0);
	if (!r->zone->act->loaded)
		return zonefs_tail_load(r, seal_tail);
	return seal_tail(r);
}
