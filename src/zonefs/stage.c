/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Appends that are acknowledged from memory. The head of the file's queue copies
 * the bytes to segments of the arena, one memcpy for each, and publishes them:
 * from then on they survive the daemon. See stage-write.c for the way on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"
#include "zonefsd/clock.h"

/* ---- may it? ---- */

/*
 * A zone that the device may have to open first can meet its limits, which is
 * for write(2) to say. One that has a block written is active already.
 */
static bool may_meet_limit(const struct zonefs *fs, const struct zonefs_zone *z)
{
	return (fs->info->max_active || fs->info->max_open) && !zone_dev_end(fs, z);
}

bool zonefs_stage_takes(const struct zonefs_req *r)
{
	const struct zonefs_zone *z = r->zone;
	const struct zonefs_active *act = z->act;

	if (!r->fs->arena || act->through || r->flags & (O_DSYNC | O_SYNC) ||
	    r->pos != z->size || act->kept)
		return false;
	return !may_meet_limit(r->fs, z);
}

/* ---- going live ---- */

static uint32_t max_segs(const struct zonefs *fs)
{
	uint64_t n = (fs->opts.append_buffer + ARENA_SEG - 1) / ARENA_SEG;

	return n < ARENA_MAX_SEGS ? (uint32_t)n : ARENA_MAX_SEGS;
}

int zonefs_stage_alloc(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_active *act = z->act;
	uint32_t n = max_segs(fs);
	struct zonefs_stage *st = NULL;
	uint8_t *tail = NULL;

	if (!act->stage && fs->arena) {
		st = calloc(1, sizeof(*st) + n * sizeof(st->ring[0]));
		if (!st)
			return -ENOMEM;
		st->zone = z;
		st->arena = fs->arena;
		st->max_segs = n;
	}
	if (!act->tail) {
		tail = malloc(fs->bs);
		if (!tail) {
			free(st);
			return -ENOMEM;
		}
	}
	zonefs_zone_lock(fs, z);
	if (st)
		act->stage = st;
	if (tail)
		act->tail = tail;
	zonefs_zone_unlock(fs, z);
	return 0;
}

/*
 * Take over the tail and be the place where the file ends. What rests goes on in
 * its segment: at no moment there are two with the same bytes.
 */
static void go_live(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_active *act = z->act;
	struct zonefs_stage *st = act->stage;

	st->live = true;
	st->err = 0;
	st->written = zone_wp(fs, z);
	if (!st->rests) {
		st->base = st->end = st->written;
		st->first = st->nr = 0;
	}
	st->rests = false;
	st->tail_at = st->written;
	st->tail_len = act->held;
	st->tail_stored = act->stored;
	st->since = zclock_coarse();
	zonefs_stage_list(fs, st);
}

/* The bytes of the tail are in a segment, and readers find them there from now on. */
static void tail_is_staged(struct zonefs *fs, struct zonefs_active *act)
{
	atomic_fetch_add(&fs->count.staged_bytes, act->held);
	act->held = 0;
	act->stored = false;
}

/* ---- copying ---- */

static struct zonefs_req *copy_in(struct zonefs_req *r);

/* Bytes from r->buf + r->staged on, of which the size already counts `counted`. */
static struct zonefs_req *copy_some(struct zonefs_req *r, const void *from, size_t n)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct zonefs_stage *st = z->act->stage;
	uint64_t size = z->size, start = st->end - ARENA_SEG;
	bool run, failed;

	memcpy(arena_data(fs->arena, st->seg) + (size - start), from, n);
	arena_publish(fs->arena, st->seg, (uint32_t)(size - start + n));
	zonefs_zone_lock(fs, z);
	failed = st->err;
	if (!failed) {
		if ((size + n) / fs->bs != size / fs->bs)
			st->since = zclock_coarse();
		zonefs_zone_set_size(fs, z, size + n);
		zonefs_zone_account(fs, z);
		zonefs_zone_touch(fs, z);
		atomic_fetch_add(&fs->count.staged_bytes, n);
		r->staged += n;
	}
	run = zonefs_stage_start(fs, z);
	zonefs_zone_unlock(fs, z);
	if (run)
		zonefs_stage_run(fs, z);
	return failed ? zonefs_drain(r, copy_in) : copy_in(r);
}

/* The first segment begins with what the size counts already: the tail. */
static void seed_tail(struct zonefs *fs, struct zonefs_zone *z, uint32_t seg)
{
	struct zonefs_active *act = z->act;

	if (!act->held)
		return;
	memcpy(arena_data(fs->arena, seg), act->tail, act->held);
	arena_publish(fs->arena, seg, act->held);
	tail_is_staged(fs, act);
}

/* One more segment behind the others. false: none for now. */
static bool add_segment(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct zonefs_stage *st = z->act->stage;
	uint32_t nr, seg;

	zonefs_zone_lock(fs, z);
	nr = st->live ? st->nr : 0;
	zonefs_zone_unlock(fs, z);
	seg = nr < st->max_segs ? arena_get(fs->arena, nr) : ARENA_NO_SEG;
	if (seg == ARENA_NO_SEG)
		return false;
	zonefs_zone_lock(fs, z);
	if (!st->live)
		go_live(fs, z);
	arena_claim(fs->arena, seg, z->zno, st->resets, st->end);
	st->ring[(st->first + st->nr++) % st->max_segs] = seg;
	st->seg = seg;
	st->end += ARENA_SEG;
	seed_tail(fs, z, seg);
	zonefs_zone_unlock(fs, z);
	return true;
}

/* Go on where the last drain left the rest. */
static void resume(struct zonefs *fs, struct zonefs_zone *z)
{
	zonefs_zone_lock(fs, z);
	go_live(fs, z);
	tail_is_staged(fs, z->act);
	zonefs_zone_unlock(fs, z);
}

/* ---- no room in memory ---- */

/* The rest does not go through the stage. */
static struct zonefs_req *go_past(struct zonefs_req *r)
{
	r->buf = (char *)r->buf + r->staged;
	r->pos += r->staged;
	r->len -= r->staged;
	return zonefs_req_return(r, 0);
}

/*
 * Wait for the writer to free a segment of this zone; what other zones do with
 * theirs is no matter. Without one, nothing of ours will ever get free.
 */
static struct zonefs_req *wait_for_room(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct zonefs_stage *st = z->act->stage;
	bool run = false, none;

	zonefs_zone_lock(fs, z);
	none = !st->live || (!st->nr && !st->err);
	if (!none && !st->err) {
		st->waiter = r;
		st->wants_room = true;
		r->step = copy_in;
		atomic_store(&r->waits_on, z);
		run = zonefs_stage_start(fs, z);
	}
	none = none || st->err;
	zonefs_zone_unlock(fs, z);
	if (none)
		return go_past(r);
	atomic_fetch_add(&fs->count.stage_waits, 1);
	if (run)
		zonefs_stage_run(fs, z);
	return NULL;
}

/* ---- no room on the device ---- */

static struct zonefs_req *reserve(struct zonefs_req *r, uint64_t step);

static struct zonefs_req *reserved(struct zonefs_req *r)
{
	struct zonefs_stage *st = r->zone->act->stage;
	uint64_t need = r->pos + r->len;
	ssize_t err = r->io.result;

	if (!err)
		atomic_store(&st->reserved, r->io.pos + r->io.bytes);
	else if (err == -EOPNOTSUPP)
		atomic_store(&st->reserved, UINT64_MAX);
	else if (zonefs_error_is_soft(r->fs, err) && r->io.pos + r->io.bytes > need)
		return reserve(r, 0);
	else
		return go_past(r);
	return copy_in(r);
}

/* Have the device hold room for r and `step` bytes more. */
static struct zonefs_req *reserve(struct zonefs_req *r, uint64_t step)
{
	struct zonefs_zone *z = r->zone;
	uint64_t end = r->pos + r->len + step;

	if (end > z->capacity)
		end = z->capacity;
	r->io = (struct zdev_io) {
		.op = ZDEV_RESERVE, .zno = z->zno, .pos = z->size, .bytes = end - z->size,
	};
	return zonefs_req_submit(r, reserved);
}

/* ---- the append ---- */

static struct zonefs_req *copy_in(struct zonefs_req *r)
{
	struct zonefs_stage *st = r->zone->act->stage;
	uint64_t pos = r->pos + r->staged, room;
	size_t left = r->len - r->staged;

	if (!left) {
		r->len = 0;
		return zonefs_req_return(r, 0);
	}
	/* The writer failed meanwhile, and the size went back. */
	if (pos != r->zone->size)
		return go_past(r);
	if (atomic_load(&st->reserved) < r->pos + r->len)
		return reserve(r, ZONEFS_RESERVE_STEP);
	if (st->rests)
		resume(r->fs, r->zone);
	if ((!st->live || st->end == pos) && !add_segment(r))
		return wait_for_room(r);
	room = st->end - pos;
	return copy_some(r, (char *)r->buf + r->staged, left < room ? left : room);
}

int zonefs_stage_prepare(struct zonefs *fs, struct zonefs_zone *z, uint64_t wp)
{
	struct zdev_zone dev = { 0 };
	int err = zonefs_stage_alloc(fs, z);

	if (!err)
		err = zdev_report(fs->dev, z->zno, 1, &dev);
	if (!err && dev.wp != wp)
		err = -EIO;
	if (err)
		return err;
	z->act->stage->resets = dev.resets;
	z->act->stage->prepared = true;
	return 0;
}

/* On the helper thread: to ask the device may block. */
static struct zonefs_req *prepare(struct zonefs_req *r)
{
	/* Past the stage the write finds out what is wrong, or works. */
	if (zonefs_stage_prepare(r->fs, r->zone, zone_wp(r->fs, r->zone)))
		return go_past(r);
	return copy_in(r);
}

struct zonefs_req *zonefs_stage_append(struct zonefs_req *r, zonefs_step then)
{
	const struct zonefs_stage *st = r->zone->act->stage;

	zonefs_req_call(r, then);
	if (!st || !st->prepared)
		return zonefs_req_defer(r, prepare);
	return copy_in(r);
}

/* ---- a tail that the device has no room for ---- */

/* One segment, of nothing yet, from `whole` on. false: there is none. */
static bool rest_segment(struct zonefs *fs, struct zonefs_zone *z, uint64_t whole)
{
	struct zonefs_stage *st = z->act->stage;
	uint32_t seg = arena_get(fs->arena, 0);

	if (seg == ARENA_NO_SEG)
		return false;
	zonefs_zone_lock(fs, z);
	arena_claim(fs->arena, seg, z->zno, st->resets, whole);
	st->base = whole;
	st->end = whole + ARENA_SEG;
	st->first = 0;
	st->nr = 1;
	st->ring[0] = st->seg = seg;
	st->rests = true;
	zonefs_zone_unlock(fs, z);
	return true;
}

bool zonefs_stage_rest(struct zonefs *fs, struct zonefs_zone *z, uint64_t whole,
		       const struct iovec *iov, int nr)
{
	struct zonefs_stage *st = z->act->stage;
	char *data;
	size_t len;

	if (!st->rests && !rest_segment(fs, z, whole))
		return false;
	/* Of the tail there before, the bytes are the same. */
	data = arena_data(fs->arena, st->seg);
	len = whole - st->base;
	for (int i = 0; i < nr; i++) {
		memcpy(data + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	arena_publish(fs->arena, st->seg, (uint32_t)len);
	return true;
}

void zonefs_stage_unrest(struct zonefs_active *act)
{
	struct zonefs_stage *st = act->stage;

	if (!st || !st->rests)
		return;
	arena_put(st->arena, st->ring[st->first]);
	st->nr = 0;
	st->rests = false;
}

/* ---- reading ---- */

void zonefs_stage_read(struct zonefs *fs, const struct zonefs_zone *z, uint64_t pos,
		       void *buf, size_t n)
{
	const struct zonefs_stage *st = z->act->stage;
	char *to = buf;

	while (n) {
		uint64_t off = pos - st->base;
		uint32_t seg = st->ring[(st->first + off / ARENA_SEG) % st->max_segs];
		size_t at = off % ARENA_SEG;
		size_t part = n < ARENA_SEG - at ? n : ARENA_SEG - at;

		memcpy(to, arena_data(fs->arena, seg) + at, part);
		to += part;
		pos += part;
		n -= part;
	}
}
