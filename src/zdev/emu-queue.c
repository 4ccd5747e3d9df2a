/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who runs when. A zone with operations has a lane; lanes with something to
 * start stand on one list, and each worker takes the first lane, starts one
 * operation of it and puts the lane back at the end. So zones share the workers
 * evenly. A lane has at most one ordered operation under way and a bounded
 * number of others, so that a slow zone cannot hold all workers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu_i.h"

#define MAX_POOL	64
#define WORKER_STACK	(256 * 1024)

static bool can_start_ordered(const struct emu_lane *lane)
{
	return lane->ordered.first && !lane->ordered_busy;
}

static bool can_start_loose(const struct emu_queue *q, const struct emu_lane *lane)
{
	return lane->loose.first && lane->nr_loose_busy < q->max_loose;
}

/*
 * Have one worker look at the list, unless all of them are about to: the one to
 * wake(), or NULL.
 */
static struct emu_worker *call_one(struct emu_queue *q)
{
	struct emu_worker *w = q->idle;

	if (!w)
		return NULL;
	q->idle = w->next_idle;
	w->idle = false;
	return w;
}

/* Without the lock, which is the first thing that w takes. */
static void wake(struct emu_worker *w)
{
	if (w)
		pthread_cond_signal(&w->wake);
}

static void sleep_until_woken(struct emu_worker *w)
{
	struct emu_queue *q = &w->emu->queue;

	w->idle = true;
	w->next_idle = q->idle;
	q->idle = w;
	while (w->idle)
		pthread_cond_wait(&w->wake, &w->emu->lock);
}

/* Put lane on the list if it has something to start. True if it was put there. */
static bool make_ready(struct emu_queue *q, struct emu_lane *lane)
{
	if (lane->ready || (!can_start_ordered(lane) && !can_start_loose(q, lane)))
		return false;
	lane->ready = true;
	lane->next_ready = NULL;
	if (q->first)
		q->last->next_ready = lane;
	else
		q->first = lane;
	q->last = lane;
	return true;
}

/* The lane of a zone, made if need be; NULL when there is no memory. */
static struct emu_lane *get_lane(struct emu *emu, uint32_t zno)
{
	struct emu_queue *q = &emu->queue;
	struct emu_lane *lane;

	if (zno == ZDEV_ALL_ZONES)
		return &q->all;
	lane = emu->conds.zones[zno].lane;
	if (lane)
		return lane;
	lane = q->pool;
	if (lane) {
		q->pool = lane->next_ready;
		q->nr_pool--;
	} else {
		lane = malloc(sizeof(*lane));
		if (!lane)
			return NULL;
	}
	*lane = (struct emu_lane) { .zno = zno };
	emu->conds.zones[zno].lane = lane;
	return lane;
}

static void put_lane(struct emu *emu, struct emu_lane *lane)
{
	struct emu_queue *q = &emu->queue;

	if (lane == &q->all || lane->ordered_busy || lane->nr_loose_busy ||
	    lane->ordered.first || lane->loose.first)
		return;
	emu->conds.zones[lane->zno].lane = NULL;
	if (q->nr_pool == MAX_POOL) {
		free(lane);
		return;
	}
	lane->next_ready = q->pool;
	q->pool = lane;
	q->nr_pool++;
}

/* Are we in done() of the lane's operation? Then this worker looks at the list next. */
static bool runs_lane(const struct emu_lane *lane)
{
	return lane->ordered_busy && pthread_equal(lane->runner, pthread_self());
}

void emu_queue_add(struct emu *emu, struct zdev_io *io, bool ordered)
{
	struct emu_worker *w = NULL;
	struct emu_lane *lane;

	pthread_mutex_lock(&emu->lock);
	lane = get_lane(emu, io->zno);
	if (lane) {
		zdev_fifo_push(ordered ? &lane->ordered : &lane->loose, io);
		if (make_ready(&emu->queue, lane) && !runs_lane(lane))
			w = call_one(&emu->queue);
	}
	pthread_mutex_unlock(&emu->lock);
	wake(w);
	if (!lane)
		zdev_complete(io, -ENOMEM);
}

/*
 * Take the next operation off the first ready lane, and say which kind it is.
 * *other is the worker to wake for what the lane has left.
 */
static struct zdev_io *start_one(struct emu_queue *q, struct emu_lane **from,
				 bool *ordered, struct emu_worker **other)
{
	struct emu_lane *lane = q->first;
	struct zdev_io *io;

	q->first = lane->next_ready;
	lane->ready = false;
	*ordered = can_start_ordered(lane) &&
		   !(lane->loose_turn && can_start_loose(q, lane));
	if (*ordered) {
		io = zdev_fifo_pop(&lane->ordered);
		lane->ordered_busy = true;
		lane->runner = pthread_self();
	} else {
		io = zdev_fifo_pop(&lane->loose);
		lane->nr_loose_busy++;
	}
	lane->loose_turn = *ordered;
	*other = make_ready(q, lane) ? call_one(q) : NULL;
	*from = lane;
	return io;
}

static void end_one(struct emu *emu, struct emu_lane *lane, bool ordered)
{
	if (ordered)
		lane->ordered_busy = false;
	else
		lane->nr_loose_busy--;
	/* No signal: this worker looks at the list next. */
	make_ready(&emu->queue, lane);
	put_lane(emu, lane);
}

bool emu_queue_run(struct emu *emu, struct zdev_io *io)
{
	struct emu_queue *q = &emu->queue;
	struct emu_worker *w = NULL;
	struct emu_lane *lane;
	bool idle;

	pthread_mutex_lock(&emu->lock);
	lane = get_lane(emu, io->zno);
	idle = lane && !lane->ordered_busy && !lane->ordered.first && !q->cut;
	if (idle) {
		lane->ordered_busy = true;
		lane->runner = pthread_self();
		q->nr_live++;
	} else if (lane) {
		put_lane(emu, lane);
	}
	pthread_mutex_unlock(&emu->lock);
	if (!idle)
		return false;

	io->result = emu_exec(emu, io);

	pthread_mutex_lock(&emu->lock);
	end_one(emu, lane, true);
	if (q->first)
		w = call_one(q);	/* no worker saw the lane wait */
	q->nr_live--;
	if (q->cut && !q->nr_live)
		pthread_cond_broadcast(&q->quiet);
	pthread_mutex_unlock(&emu->lock);
	wake(w);
	return true;
}

/* ---- writes that follow one another ---- */

#define RUN_IOV		64

/* Several writes of a zone as one. */
struct run {
	struct zdev_io	io;
	struct iovec	iov[RUN_IOV];
	struct zdev_io	*rest;		/* those behind the first, linked */
};

static bool may_join(const struct run *run, const struct zdev_io *io, uint32_t max_io)
{
	return io && io->op == ZDEV_WRITE && !io->priv && !io->fua &&
	       io->pos == run->io.pos + run->io.len && run->io.len + io->len <= max_io &&
	       run->io.nr_iov + io->nr_iov <= RUN_IOV;
}

static void join(struct run *run, const struct zdev_io *io)
{
	memcpy(&run->iov[run->io.nr_iov], io->iov, (size_t)io->nr_iov * sizeof(*io->iov));
	run->io.nr_iov += io->nr_iov;
	run->io.len += io->len;
}

/*
 * A medium takes one large write in much less time than many small ones: those
 * that wait behind `first` and continue it are taken with it. false: none.
 */
static bool take_run(struct emu *emu, struct emu_lane *lane, struct zdev_io *first,
		     struct run *run)
{
	uint32_t max_io = emu->dev.info.max_io;
	struct zdev_io **end = &run->rest;

	if (first->op != ZDEV_WRITE || first->priv || first->fua || first->nr_iov > RUN_IOV ||
	    !lane->ordered.first)
		return false;
	run->io = *first;
	run->io.nr_iov = 0;
	run->io.len = 0;
	run->io.iov = run->iov;
	join(run, first);
	while (may_join(run, lane->ordered.first, max_io)) {
		join(run, lane->ordered.first);
		*end = zdev_fifo_pop(&lane->ordered);
		end = &(*end)->next;
	}
	*end = NULL;
	return end != &run->rest;
}

/* Refused as one, they are judged one by one, as if they had not been joined. */
static void exec_run(struct emu *emu, struct zdev_io *first, struct run *run, bool live)
{
	ssize_t ret = live ? emu_exec(emu, &run->io) : -EIO;
	struct zdev_io *io, *next;

	first->next = run->rest;
	for (io = first; io; io = next) {
		next = io->next;
		if (ret >= 0)
			zdev_complete(io, (ssize_t)io->len);
		else
			zdev_complete(io, live ? emu_exec(emu, io) : -EIO);
	}
}

static void *worker(void *arg)
{
	struct emu_worker *self = arg;
	struct emu *emu = self->emu;
	struct emu_queue *q = &emu->queue;
	struct emu_worker *other;
	struct emu_lane *lane;
	struct zdev_io *io;
	struct run run;
	bool ordered, live, joined;

	pthread_mutex_lock(&emu->lock);
	for (;;) {
		while (!q->first && !q->stop)
			sleep_until_woken(self);
		if (!q->first)
			break;
		io = start_one(q, &lane, &ordered, &other);
		joined = ordered && take_run(emu, lane, io, &run);
		live = !q->cut;
		q->nr_live += live;
		pthread_mutex_unlock(&emu->lock);
		wake(other);

		/* Completed while the lane is held: done() keeps the zone's order. */
		if (joined)
			exec_run(emu, io, &run, live);
		else
			zdev_complete(io, live ? emu_exec(emu, io) : -EIO);

		pthread_mutex_lock(&emu->lock);
		end_one(emu, lane, ordered);
		q->nr_live -= live;
		if (q->cut && live && !q->nr_live)
			pthread_cond_broadcast(&q->quiet);
	}
	pthread_mutex_unlock(&emu->lock);
	return NULL;
}

int emu_queue_cut(struct emu *emu)
{
	struct emu_queue *q = &emu->queue;
	int ret = 0;

	pthread_mutex_lock(&emu->lock);
	if (q->cut)
		ret = -EIO;
	q->cut = true;
	while (q->nr_live)
		pthread_cond_wait(&q->quiet, &emu->lock);
	pthread_mutex_unlock(&emu->lock);
	return ret;
}

static unsigned default_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	/* They mostly wait for the medium: a disk is fast only with many requests. */
	if (cpus < 8)
		return 16;
	return cpus < 16 ? 2 * (unsigned)cpus : 32;
}

int emu_queue_start(struct emu *emu, unsigned nr_workers)
{
	struct emu_queue *q = &emu->queue;
	pthread_attr_t attr;
	int ret = 0;

	if (!nr_workers)
		nr_workers = default_workers();
	q->all.zno = ZDEV_ALL_ZONES;
	q->max_loose = nr_workers > 2 ? nr_workers / 2 : 1;
	q->workers = calloc(nr_workers, sizeof(*q->workers));
	if (!q->workers)
		return -ENOMEM;
	pthread_cond_init(&q->quiet, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	while (!ret && q->nr_workers < nr_workers) {
		struct emu_worker *w = &q->workers[q->nr_workers];

		w->emu = emu;
		pthread_cond_init(&w->wake, NULL);
		ret = pthread_create(&w->thread, &attr, worker, w);
		if (!ret)
			q->nr_workers++;
		else
			pthread_cond_destroy(&w->wake);
	}
	pthread_attr_destroy(&attr);
	if (ret)
		emu_queue_stop(emu);
	return -ret;
}

void emu_queue_stop(struct emu *emu)
{
	struct emu_queue *q = &emu->queue;
	struct emu_lane *lane;
	unsigned i;

	pthread_mutex_lock(&emu->lock);
	q->stop = true;
	while (q->idle)
		wake(call_one(q));
	pthread_mutex_unlock(&emu->lock);
	for (i = 0; i < q->nr_workers; i++)
		pthread_join(q->workers[i].thread, NULL);
	for (i = 0; i < q->nr_workers; i++)
		pthread_cond_destroy(&q->workers[i].wake);
	while ((lane = q->pool)) {
		q->pool = lane->next_ready;
		free(lane);
	}
	pthread_cond_destroy(&q->quiet);
	free(q->workers);
}
