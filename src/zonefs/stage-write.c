/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How staged bytes get to the device. Each file has one writer, which runs while
 * there are whole blocks to write: at once when it is idle, and what gathers
 * meanwhile goes in one write. It runs beside the file's queue, on the threads
 * that complete its I/O; the head of the queue waits for it before it does
 * anything else to the zone. The rest, less than a block, is stored as tail by
 * whoever drains the stage: fsync, close, or the clock. Where the device has no
 * room for it, it rests in the arena until something completes its block.
 *
 * When the writer fails it stops. The next drain, which the failure itself
 * starts if nobody else does, runs the recovery and says what was lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"
#include "zonefsd/clock.h"

#define SOME		64u	/* zones looked at together */

/* ---- segments; the stripe is held ---- */

/* The device has all up to st->written: free the segments before it. */
static void free_written(struct zonefs *fs, struct zonefs_stage *st)
{
	while (st->nr && st->written - st->base >= ARENA_SEG) {
		arena_put(fs->arena, st->ring[st->first]);
		st->first = (st->first + 1) % st->max_segs;
		st->nr--;
		st->base += ARENA_SEG;
	}
}

static void unlist(struct zonefs *fs, struct zonefs_stage *st)
{
	pthread_mutex_lock(&fs->stage_lock);
	*st->pprev = st->next;
	if (st->next)
		st->next->pprev = st->pprev;
	fs->nr_stages--;
	pthread_mutex_unlock(&fs->stage_lock);
}

void zonefs_stage_list(struct zonefs *fs, struct zonefs_stage *st)
{
	bool wake;

	pthread_mutex_lock(&fs->stage_lock);
	st->next = fs->stages;
	st->pprev = &fs->stages;
	if (st->next)
		st->next->pprev = &st->next;
	fs->stages = st;
	fs->nr_stages++;
	/* Not for each append of a client that syncs each: the clock runs on for a while. */
	wake = !fs->stage_ticks;
	fs->stage_ticks = fs->stage_used = true;
	pthread_mutex_unlock(&fs->stage_lock);
	if (wake)
		pthread_cond_signal(&fs->stage_cond);
}

/*
 * Free the segments that nothing needs any more: all, or all but the first one,
 * in which what rests ends at `size`. From behind, so that what a kill leaves is
 * a prefix.
 */
static void free_segments(struct zonefs *fs, struct zonefs_stage *st, uint64_t size)
{
	while (st->nr > st->rests) {
		st->nr--;
		arena_put(fs->arena, st->ring[(st->first + st->nr) % st->max_segs]);
	}
	if (!st->rests)
		return;
	st->seg = st->ring[st->first];
	st->end = st->base + ARENA_SEG;
	arena_publish(fs->arena, st->seg, (uint32_t)(size - st->base));
}

/*
 * The stage ends: the file's size becomes `size`, what of it is behind the last
 * whole block the tail. A tail that the device has not stored rests.
 */
static void go_quiet(struct zonefs *fs, struct zonefs_zone *z, uint64_t size, bool stored)
{
	struct zonefs_active *act = z->act;
	struct zonefs_stage *st = act->stage;
	uint64_t whole = zu_round_down(size, fs->bs);
	uint32_t held = (uint32_t)(size - whole);

	if (held)
		zonefs_stage_read(fs, z, whole, act->tail, held);
	atomic_fetch_sub(&fs->count.staged_bytes, z->size - st->written);
	st->rests = held && !stored;
	free_segments(fs, st, size);
	unlist(fs, st);
	st->live = false;
	st->err = 0;
	act->held = held;
	act->loaded = true;
	act->stored = held && stored;
	act->kept = false;
	zonefs_zone_set_size(fs, z, size);
	zonefs_zone_account(fs, z);
}

/* ---- the writer ---- */

static uint64_t whole_end(const struct zonefs *fs, const struct zonefs_zone *z)
{
	return zu_round_down(z->size, fs->bs);
}

bool zonefs_stage_start(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_stage *st = z->act->stage;

	if (st->running || st->err || whole_end(fs, z) <= st->written)
		return false;
	st->running = true;
	z->act->users++;
	return true;
}

/* Hand the waiter, an append, to the stage thread: it copies, and we go on writing. */
static void hand_over(struct zonefs *fs, struct zonefs_req *r)
{
	if (!r)
		return;
	r->next_work = NULL;
	pthread_mutex_lock(&fs->stage_lock);
	if (fs->ready)
		fs->ready_last->next_work = r;
	else
		fs->ready = r;
	fs->ready_last = r;
	pthread_mutex_unlock(&fs->stage_lock);
	pthread_cond_signal(&fs->stage_cond);
}

/* Who waits for the stage, no longer. The stripe is held. */
static struct zonefs_req *take_waiter(struct zonefs_stage *st)
{
	struct zonefs_req *r = st->waiter;

	st->waiter = NULL;
	if (r)
		atomic_store(&r->waits_on, NULL);
	return r;
}

/* st->iov := the bytes from st->written to end. The stripe is held. */
static int segment_iov(struct zonefs *fs, struct zonefs_stage *st, uint64_t end)
{
	uint64_t pos = st->written;
	int nr = 0;

	while (pos < end) {
		uint64_t off = pos - st->base;
		uint32_t seg = st->ring[(st->first + off / ARENA_SEG) % st->max_segs];
		size_t at = off % ARENA_SEG;
		size_t part = end - pos < ARENA_SEG - at ? end - pos : ARENA_SEG - at;

		st->iov[nr].iov_base = arena_data(fs->arena, seg) + at;
		st->iov[nr++].iov_len = part;
		pos += part;
	}
	return nr;
}

static void drain_later(struct zonefs *fs, struct zonefs_zone *z, sem_t *sem);
static struct zonefs_req *writer_next(struct zonefs_req *w);

/* Nothing is left to write, or the writer failed. It may run again, or be gone, by now. */
static struct zonefs_req *writer_end(struct zonefs *fs, struct zonefs_zone *z,
				     struct zonefs_req *waiter, bool wants_room, bool failed)
{
	if (waiter && wants_room)
		hand_over(fs, waiter);
	else if (!waiter && failed)
		drain_later(fs, z, NULL);
	zonefs_zone_put(fs, z);
	zonefs_inflight_put(fs);
	return wants_room ? NULL : waiter;
}

static struct zonefs_req *written(struct zonefs_req *w)
{
	struct zonefs *fs = w->fs;
	struct zonefs_stage *st = w->zone->act->stage;
	struct zonefs_req *waiter = NULL;
	ssize_t n = w->io.result;

	if (n >= 0 && (size_t)n != w->part)
		n = -EIO;
	zonefs_zone_lock(fs, w->zone);
	if (n < 0) {
		st->err = (int)n;
	} else {
		st->written += w->part;
		free_written(fs, st);
		if (st->waiter && st->wants_room && st->nr < st->max_segs)
			waiter = take_waiter(st);
	}
	zonefs_zone_unlock(fs, w->zone);
	if (n >= 0) {
		atomic_fetch_sub(&fs->count.staged_bytes, w->part);
		atomic_fetch_add(&fs->count.stage_writes, 1);
		atomic_fetch_add(&fs->count.stage_write_bytes, w->part);
	}
	hand_over(fs, waiter);
	return writer_next(w);
}

/* Ahead of the appends, so that they do not wait for it. */
static struct zonefs_req *reserved_ahead(struct zonefs_req *w)
{
	struct zonefs_stage *st = w->zone->act->stage;

	/* The next append finds out what is wrong, and takes less. */
	if (!w->io.result)
		atomic_store(&st->reserved, w->io.pos + w->io.bytes);
	w->rmw = true;
	return writer_next(w);
}

/* Is room to be held further on? Once a write; then w->io is set up. The stripe is held. */
static bool reserves_ahead(struct zonefs_req *w)
{
	const struct zonefs_zone *z = w->zone;
	uint64_t held = atomic_load(&z->act->stage->reserved);
	uint64_t end = held + ZONEFS_RESERVE_STEP;

	if (w->rmw || held >= z->capacity || held - z->size >= ZONEFS_RESERVE_STEP / 2)
		return false;
	if (end > z->capacity)
		end = z->capacity;
	w->io = (struct zdev_io) {
		.op = ZDEV_RESERVE, .zno = z->zno, .pos = held, .bytes = end - held,
	};
	return true;
}

static struct zonefs_req *writer_next(struct zonefs_req *w)
{
	struct zonefs *fs = w->fs;
	struct zonefs_zone *z = w->zone;
	struct zonefs_stage *st = z->act->stage;
	struct zonefs_req *waiter;
	bool wants_room, failed;
	uint64_t left;

	zonefs_zone_lock(fs, z);
	left = whole_end(fs, z) - st->written;
	failed = st->err;
	if (!failed && left && reserves_ahead(w)) {
		zonefs_zone_unlock(fs, z);
		return zonefs_req_submit(w, reserved_ahead);
	}
	if (!failed && left) {
		w->part = left < fs->info->max_io ? left : fs->info->max_io;
		w->rmw = false;
		w->io = (struct zdev_io) {
			.op = ZDEV_WRITE, .zno = z->zno, .pos = st->written, .iov = st->iov,
			.nr_iov = segment_iov(fs, st, st->written + w->part),
		};
		zonefs_zone_unlock(fs, z);
		return zonefs_req_submit(w, written);
	}
	st->running = false;
	waiter = take_waiter(st);
	wants_room = st->wants_room;
	zonefs_zone_unlock(fs, z);
	return writer_end(fs, z, waiter, waiter && wants_room, failed);
}

void zonefs_stage_run(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_req *w = &z->act->stage->writer;

	zonefs_req_begin(fs, z, NULL, w);
	w->step = writer_next;
	zonefs_req_run(w);
}

/* ---- draining ---- */

static struct zonefs_req *drain_step(struct zonefs_req *r);

static struct zonefs_req *settled(struct zonefs_req *r)
{
	return zonefs_req_return(r, r->result);
}

static struct zonefs_req *recovered(struct zonefs_req *r)
{
	return zonefs_tail_restore(r, settled);
}

static struct zonefs_req *rest_stored(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	ssize_t err = r->io.result;

	zonefs_zone_lock(fs, z);
	if (!err || err == -EOPNOTSUPP)
		go_quiet(fs, z, z->size, !err);
	else
		z->act->stage->err = (int)err;
	zonefs_zone_unlock(fs, z);
	if (!err)
		atomic_fetch_add(&fs->count.tails_put, 1);
	return drain_step(r);
}

/* What is staged of the last block; its place is w->iov's. The stripe is held. */
static void rest_iov(struct zonefs_req *r)
{
	struct zonefs_stage *st = r->zone->act->stage;
	uint64_t whole = whole_end(r->fs, r->zone), off = whole - st->base;
	uint32_t seg = st->ring[(st->first + off / ARENA_SEG) % st->max_segs];

	r->iov[0].iov_base = arena_data(r->fs->arena, seg) + off % ARENA_SEG;
	r->iov[0].iov_len = r->zone->size - whole;
}

static struct zonefs_req *drain_step(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct zonefs_stage *st = z->act->stage;
	uint64_t whole;
	uint32_t rest;
	bool run;
	int err;

	zonefs_zone_lock(fs, z);
	if (!st->live) {
		zonefs_zone_unlock(fs, z);
		return zonefs_req_return(r, 0);
	}
	err = st->running ? 0 : st->err;
	run = zonefs_stage_start(fs, z);
	whole = whole_end(fs, z);
	rest = (uint32_t)(z->size - whole);
	if (st->running) {
		st->waiter = r;
		st->wants_room = false;
		r->step = drain_step;
		if (!r->recovering)
			atomic_store(&r->waits_on, z);
	} else if (!err && (!rest || (st->tail_at == whole && st->tail_len == rest))) {
		go_quiet(fs, z, z->size, st->tail_stored);
	} else if (!err) {
		rest_iov(r);
	}
	if (st->running) {
		zonefs_zone_unlock(fs, z);
		if (run)
			zonefs_stage_run(fs, z);
		return NULL;
	}
	run = st->live;
	zonefs_zone_unlock(fs, z);
	if (err)
		return zonefs_recover(r, "write", err, CAUSE_WRITE, recovered);
	if (!run)
		return zonefs_req_return(r, 0);
	return zonefs_req_io(r, ZDEV_PUT_TAIL, z->zno, whole, 1, rest_stored);
}

bool zonefs_stage_is_live(struct zonefs *fs, const struct zonefs_zone *z)
{
	bool live;

	if (!fs->arena || !zone_is_seq(z))
		return false;
	zonefs_zone_lock(fs, z);
	live = z->act->stage && z->act->stage->live;
	zonefs_zone_unlock(fs, z);
	return live;
}

struct zonefs_req *zonefs_drain(struct zonefs_req *r, zonefs_step then)
{
	zonefs_req_call(r, then);
	if (!zonefs_stage_is_live(r->fs, r->zone))
		return zonefs_req_return(r, 0);
	return drain_step(r);
}

/* ---- draining without anybody waiting ---- */

struct drainer {
	struct zonefs_req req;		/* first */
	sem_t		*sem;
};

static void drainer_done(struct zonefs_req *r, ssize_t result)
{
	struct drainer *d = (struct drainer *)r;
	sem_t *sem = d->sem;

	free(d);
	if (sem)
		sem_post(sem);
}

static struct zonefs_req *drainer_end(struct zonefs_req *r)
{
	return zonefs_req_finish(r, r->result);
}

static struct zonefs_req *drainer_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, drainer_end);
}

/* Drain z in its turn, and post sem. Without memory the clock tries again. */
static void drain_later(struct zonefs *fs, struct zonefs_zone *z, sem_t *sem)
{
	struct drainer *d = calloc(1, sizeof(*d));

	if (!d || zonefs_zone_get(fs, z)) {
		free(d);
		if (sem)
			sem_post(sem);
		return;
	}
	d->sem = sem;
	d->req.done = drainer_done;
	zonefs_req_begin(fs, z, NULL, &d->req);
	d->req.pinned = true;
	zonefs_req_run(zonefs_req_queue(&d->req, drainer_turn));
}

/* ---- failure ---- */

uint64_t zonefs_stage_collapse(struct zonefs *fs, struct zonefs_zone *z,
			       const struct zdev_zone *dev, int err)
{
	struct zonefs_active *act = z->act;
	struct zonefs_stage *st = act->stage;
	uint64_t old = z->size, size = st->written;

	/* A part of the write that failed may have landed: it is in its place. */
	if (dev && dev->wp != ZDEV_WP_NONE && dev->wp > size && dev->wp <= whole_end(fs, z))
		size = dev->wp;
	if (st->tail_at == size)
		size += st->tail_len;
	go_quiet(fs, z, size, st->tail_stored);
	act->gen++;
	act->late_err = err;
	act->late_seq++;
	act->late_told = false;
	for (struct zonefs_file *f = act->files; f; f = f->next)
		f->lost_end = old;
	atomic_fetch_add(&fs->count.late_errors, 1);
	return old - size;
}

int zonefs_late_error(struct zonefs_req *r)
{
	struct zonefs_active *act = r->zone->act;
	int err = 0;

	zonefs_zone_lock(r->fs, r->zone);
	if (r->file && r->file->late_seen != act->late_seq) {
		r->file->late_seen = act->late_seq;
		act->late_told = true;
		err = act->late_err;
	}
	zonefs_zone_unlock(r->fs, r->zone);
	return err;
}

void zonefs_late_unheard(struct zonefs *fs, const struct zonefs_zone *z,
			 const struct zonefs_active *act)
{
	char name[ZONEFS_NAME_LEN];

	if (!act->late_seq || act->late_told)
		return;
	atomic_store(&fs->late_err, act->late_err);
	zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): no open file was told that acknowledged "
	     "bytes were lost: %s", fs->info->path, z->zno, zonefs_zone_name(fs, z, name),
	     strerror(-act->late_err));
}

/* ---- room that was held ---- */

static struct zonefs_req *unreserved(struct zonefs_req *r)
{
	return zonefs_req_return(r, 0);
}

struct zonefs_req *zonefs_stage_unreserve(struct zonefs_req *r, zonefs_step then)
{
	struct zonefs_zone *z = r->zone;
	struct zonefs_stage *st = z->act->stage;
	uint64_t held = st ? atomic_load(&st->reserved) : 0;

	zonefs_req_call(r, then);
	if (!held || held == UINT64_MAX)
		return zonefs_req_return(r, 0);
	atomic_store(&st->reserved, 0);
	if (held <= z->size)
		return zonefs_req_return(r, 0);
	r->io = (struct zdev_io) { .op = ZDEV_RESERVE, .zno = z->zno, .pos = z->size };
	return zonefs_req_submit(r, unreserved);
}

/* ---- the stage thread ---- */

/* Up to max of the live stages' zones, in turn. Returns how many. */
static unsigned some_zones(struct zonefs *fs, struct zonefs_zone **zones, unsigned max)
{
	struct zonefs_stage *st, **last;
	unsigned n = 0;

	pthread_mutex_lock(&fs->stage_lock);
	for (st = fs->stages; st && n < max; st = st->next)
		zones[n++] = st->zone;
	if (st) {
		/* Those taken go to the end, for the rest to come first next time. */
		struct zonefs_stage *head = fs->stages;

		*st->pprev = NULL;
		for (last = &st->next; *last; last = &(*last)->next)
			;
		*last = head;
		head->pprev = last;
		fs->stages = st;
		st->pprev = &fs->stages;
	}
	pthread_mutex_unlock(&fs->stage_lock);
	return n;
}

static bool is_due(struct zonefs *fs, struct zonefs_zone *z, int64_t before)
{
	const struct zonefs_stage *st;
	bool due;

	zonefs_zone_lock(fs, z);
	st = z->act ? z->act->stage : NULL;
	due = st && st->live && (st->since <= before || (st->err && !st->waiter));
	zonefs_zone_unlock(fs, z);
	return due;
}

static uint32_t nr_stages(struct zonefs *fs)
{
	uint32_t nr;

	pthread_mutex_lock(&fs->stage_lock);
	nr = fs->nr_stages;
	pthread_mutex_unlock(&fs->stage_lock);
	return nr;
}

static void tick(struct zonefs *fs)
{
	int64_t before = zclock_now() - fs->opts.flush_interval * ZCLOCK_SECOND;
	struct zonefs_zone *zones[SOME];
	uint32_t left, n;

	for (left = nr_stages(fs); left; left -= n) {
		n = some_zones(fs, zones, left < SOME ? left : SOME);
		if (!n)
			break;
		for (uint32_t i = 0; i < n; i++)
			if (is_due(fs, zones[i], before))
				drain_later(fs, zones[i], NULL);
	}
}

/*
 * Wait for something to do, no longer than until *next; true when it is time for a
 * tick. fs->stage_lock is held.
 */
static bool wait_or_tick(struct zonefs *fs, int64_t *next)
{
	struct timespec ts = zclock_timespec(*next);

	if (!fs->stage_ticks) {
		*next = 0;
		pthread_cond_wait(&fs->stage_cond, &fs->stage_lock);
		return false;
	}
	if (!*next)
		*next = zclock_now() + ZCLOCK_SECOND;
	else if (zclock_now() < *next)
		pthread_cond_timedwait(&fs->stage_cond, &fs->stage_lock, &ts);
	else
		return true;
	return false;
}

/* The clock stops when nothing is staged, and nothing was since the last tick. */
static bool may_stop_clock(struct zonefs *fs)
{
	fs->stage_ticks = fs->nr_stages || fs->stage_used;
	fs->stage_used = false;
	return !fs->stage_ticks;
}

static void *stage_main(void *arg)
{
	struct zonefs *fs = arg;
	struct zonefs_req *r;
	int64_t next = 0;
	bool idle = false;

	pthread_mutex_lock(&fs->stage_lock);
	while (fs->ready || !fs->stage_stop) {
		r = fs->ready;
		if (r) {
			fs->ready = r->next_work;
		} else if (wait_or_tick(fs, &next)) {
			idle = may_stop_clock(fs);
			next = zclock_now() + ZCLOCK_SECOND;
		} else {
			continue;
		}
		pthread_mutex_unlock(&fs->stage_lock);
		if (r)
			zonefs_req_run(r);
		else if (idle)
			arena_trim(fs->arena);
		else
			tick(fs);
		pthread_mutex_lock(&fs->stage_lock);
	}
	pthread_mutex_unlock(&fs->stage_lock);
	return NULL;
}

int zonefs_stage_thread_start(struct zonefs *fs)
{
	return zonefs_thread_start(fs, &fs->stage_thread, stage_main);
}

void zonefs_stage_thread_stop(struct zonefs *fs)
{
	pthread_mutex_lock(&fs->stage_lock);
	fs->stage_stop = true;
	pthread_cond_signal(&fs->stage_cond);
	pthread_mutex_unlock(&fs->stage_lock);
	pthread_join(fs->stage_thread, NULL);
}

void zonefs_stage_drain_all(struct zonefs *fs)
{
	struct zonefs_zone *zones[SOME];
	uint32_t left, n;
	sem_t sem;

	if (!fs->arena)
		return;
	sem_init(&sem, 0, 0);
	for (left = nr_stages(fs); left; left -= n) {
		n = some_zones(fs, zones, left < SOME ? left : SOME);
		if (!n)
			break;
		for (uint32_t i = 0; i < n; i++)
			drain_later(fs, zones[i], &sem);
		for (uint32_t i = 0; i < n; i++)
			while (sem_wait(&sem))
				;
	}
	sem_destroy(&sem);
}

int zonefs_sync(struct zonefs *fs)
{
	int err;

	zonefs_stage_drain_all(fs);
	if (fs->info->read_only)
		return 0;
	err = zdev_command(fs->dev, ZDEV_FLUSH, ZDEV_ALL_ZONES);
	return err;
}
