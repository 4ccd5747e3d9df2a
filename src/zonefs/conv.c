/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes to conventional files. They run side by side, zone by zone and in
 * pieces of at most max_io. One that begins or ends within a block reads the
 * rest of that block, and writes it back: such a write and another one that
 * touches the same blocks go one after the other, or bytes would be lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

/* ---- who may run beside whom; the stripe is held, up to enter ---- */

static bool conflict(const struct zonefs_req *a, const struct zonefs_req *b)
{
	uint64_t mask = ~(uint64_t)(a->fs->bs - 1);

	if (!a->rmw && !b->rmw)
		return false;
	return (a->pos & mask) <= ((b->pos + b->len - 1) & mask) &&
	       (b->pos & mask) <= ((a->pos + a->len - 1) & mask);
}

/* Does r touch what a request of the list, up to `end`, touches? */
static bool conflicts(const struct zonefs_req *r, const struct zonefs_req *list,
		      const struct zonefs_req *end)
{
	for (; list != end; list = list->next)
		if (conflict(r, list))
			return true;
	return false;
}

static void add_running(struct zonefs_active *act, struct zonefs_req *r)
{
	r->next = act->ranges;
	act->ranges = r;
}

static void unlink_waiter(struct zonefs_active *act, struct zonefs_req *r,
			  struct zonefs_req *prev)
{
	if (prev)
		prev->next = r->next;
	else
		act->range_waiters = r->next;
	if (act->range_last == r)
		act->range_last = prev;
}

bool zonefs_conv_unwait(struct zonefs_active *act, struct zonefs_req *r)
{
	struct zonefs_req *prev = NULL;

	for (struct zonefs_req *w = act->range_waiters; w; prev = w, w = w->next) {
		if (w != r)
			continue;
		unlink_waiter(act, r, prev);
		return true;
	}
	return false;
}

/*
 * Start the waiters that nothing stands in the way of any more. They are taken
 * in order, and none overtakes an earlier one that it conflicts with.
 */
static void start_waiters(struct zonefs_active *act)
{
	struct zonefs_req *prev = NULL, *next;

	for (struct zonefs_req *w = act->range_waiters; w; w = next) {
		next = w->next;
		if (conflicts(w, act->ranges, NULL) ||
		    conflicts(w, act->range_waiters, w)) {
			prev = w;
			continue;
		}
		unlink_waiter(act, w, prev);
		atomic_store(&w->waits_on, NULL);
		add_running(act, w);
		/* Not on this thread: each of them might start others in turn. */
		zonefs_req_defer(w, w->step);
	}
}

struct zonefs_req *zonefs_conv_enter(struct zonefs_req *r, zonefs_step step)
{
	struct zonefs_active *act = r->zone->act;
	bool wait;

	r->rmw = (r->pos | r->len) & (r->fs->bs - 1);
	r->step = step;
	zonefs_zone_lock(r->fs, r->zone);
	wait = conflicts(r, act->ranges, NULL) || conflicts(r, act->range_waiters, NULL);
	if (!wait) {
		add_running(act, r);
	} else {
		r->next = NULL;
		if (act->range_last)
			act->range_last->next = r;
		else
			act->range_waiters = r;
		act->range_last = r;
		atomic_store(&r->waits_on, r->zone);
	}
	zonefs_zone_unlock(r->fs, r->zone);
	return wait ? NULL : r;
}

void zonefs_conv_leave(struct zonefs_req *r)
{
	struct zonefs_active *act = r->zone->act;
	struct zonefs_req **p = &act->ranges;

	zonefs_zone_lock(r->fs, r->zone);
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	start_waiters(act);
	zonefs_zone_unlock(r->fs, r->zone);
}

/* ---- one write ---- */

static struct zonefs_req *write_piece(struct zonefs_req *r);

static struct zonefs_req *complete(struct zonefs_req *r)
{
	if (!r->fs->strict) {
		zonefs_zone_lock(r->fs, r->zone);
		zonefs_zone_touch(r->fs, r->zone);
		zonefs_zone_unlock(r->fs, r->zone);
	}
	zonefs_conv_leave(r);
	return zonefs_req_return(r, (ssize_t)r->len);
}

static struct zonefs_req *recovered(struct zonefs_req *r)
{
	return zonefs_req_return(r, r->result);
}

/* Z8, last line: a direct write only returns its errno. */
static struct zonefs_req *failed(struct zonefs_req *r, ssize_t err)
{
	struct zonefs *fs = r->fs;
	char name[ZONEFS_NAME_LEN];

	zonefs_conv_leave(r);
	if (zonefs_error_is_soft(fs, err) && r->at)
		return zonefs_req_return(r, (ssize_t)r->at);
	if (!(r->flags & O_DIRECT) && err == -EIO)
		return zonefs_recover(r, "write", err, CAUSE_WRITE, recovered);
	if (err != -ENOMEM) {
		atomic_fetch_add(&fs->count.io_errors, 1);
		zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): write: %s", fs->info->path,
		     r->zone->zno, zonefs_zone_name(fs, r->zone, name), strerror((int)-err));
	}
	return zonefs_req_return(r, err);
}

/* A piece: bytes [zpos, zpos + r->part) of a zone, and the blocks around it. */
struct piece {
	uint32_t	zno;
	uint64_t	zpos;
	size_t		head;		/* bytes before it in its first block */
	size_t		rest;		/* bytes behind it in its last block */
	uint64_t	last;		/* where the last block begins */
	uint8_t		*first_buf, *last_buf;	/* these blocks; may be the same one */
};

static void look_at_piece(struct zonefs_req *r, struct piece *p)
{
	const struct zonefs *fs = r->fs;
	uint64_t left = r->len - r->at;
	uint64_t room = zonefs_zone_place(fs, r->zone, r->pos + r->at, &p->zno, &p->zpos);
	uint64_t end;

	p->head = p->zpos & (fs->bs - 1);
	if (room > fs->info->max_io - p->head)
		room = fs->info->max_io - p->head;
	r->part = left < room ? left : room;
	end = p->zpos + r->part;
	p->rest = (fs->bs - (end & (fs->bs - 1))) & (fs->bs - 1);
	p->last = end + p->rest - fs->bs;
	p->first_buf = p->last_buf = r->scratch;
	if (r->scratch && p->last != p->zpos - p->head)
		p->last_buf += fs->bs;
}

static struct zonefs_req *piece_written(struct zonefs_req *r)
{
	if (r->io.result < 0)
		return failed(r, r->io.result);
	r->at += r->part;
	return write_piece(r);
}

static struct zonefs_req *submit_piece(struct zonefs_req *r)
{
	struct piece p;
	int nr = 0;

	look_at_piece(r, &p);
	if (p.head)
		r->iov[nr++] = (struct iovec) { p.first_buf, p.head };
	r->iov[nr++] = (struct iovec) { (char *)r->buf + r->at, r->part };
	if (p.rest)
		r->iov[nr++] = (struct iovec) { p.last_buf + r->fs->bs - p.rest, p.rest };
	return zonefs_req_io(r, ZDEV_WRITE, p.zno, p.zpos - p.head, nr, piece_written);
}

static struct zonefs_req *last_read(struct zonefs_req *r)
{
	if (r->io.result < 0)
		return failed(r, r->io.result);
	return submit_piece(r);
}

static struct zonefs_req *read_block(struct zonefs_req *r, uint32_t zno, uint64_t zpos,
				     uint8_t *buf, zonefs_step next)
{
	r->iov[0] = (struct iovec) { buf, r->fs->bs };
	return zonefs_req_io(r, ZDEV_READ, zno, zpos, 1, next);
}

static struct zonefs_req *first_read(struct zonefs_req *r)
{
	struct piece p;

	if (r->io.result < 0)
		return failed(r, r->io.result);
	look_at_piece(r, &p);
	if (p.rest && p.last_buf != p.first_buf)
		return read_block(r, p.zno, p.last, p.last_buf, last_read);
	return submit_piece(r);
}

static struct zonefs_req *write_piece(struct zonefs_req *r)
{
	struct piece p;

	if (r->at == r->len)
		return complete(r);
	if (r->rmw && !r->scratch) {
		r->scratch = malloc(2 * (size_t)r->fs->bs);
		if (!r->scratch)
			return failed(r, -ENOMEM);
	}
	look_at_piece(r, &p);
	if (p.head)
		return read_block(r, p.zno, p.zpos - p.head, p.first_buf, first_read);
	if (p.rest)
		return read_block(r, p.zno, p.last, p.last_buf, last_read);
	return submit_piece(r);
}

struct zonefs_req *zonefs_conv_write(struct zonefs_req *r, zonefs_step then)
{
	zonefs_req_call(r, then);
	return zonefs_conv_enter(r, write_piece);
}
