/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Order and threads. What changes a sequential zone waits in the zone's queue for
 * the one before it. Who ends an operation starts the next; what would block it
 * there, a zone command or the question where the write pointer is, goes to the
 * workers.
 */
#include <errno.h>

#include "blk_i.h"

#define STACK	(256 * 1024)

static void add_job(struct blk *b, struct zdev_io *io)
{
	pthread_mutex_lock(&b->lock);
	zdev_fifo_push(&b->jobs, io);
	pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
}

void blk_queue_space(struct blk *b, struct zdev_io *io)
{
	add_job(b, io);
}

void blk_queue_slot(struct blk *b, struct blk_slot *s)
{
	pthread_mutex_lock(&b->lock);
	s->next = b->slots_to_do;
	b->slots_to_do = s;
	pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
}

static bool is_write(const struct zdev_io *io)
{
	return io->op == ZDEV_WRITE || io->op == ZDEV_APPEND;
}

/* These are not ordered with anything. */
static bool is_space(const struct zdev_io *io)
{
	return io->op == ZDEV_COPY || io->op == ZDEV_DISCARD;
}

static bool is_stale(struct blk *b, uint32_t zno)
{
	bool stale;

	pthread_mutex_lock(&b->lock);
	stale = b->zones[zno].stale;
	pthread_mutex_unlock(&b->lock);
	return stale;
}

/*
 * Begin the operation at the head of its zone without blocking. True: it goes
 * on elsewhere. False: it is over, with io->result.
 */
static bool begin(struct blk *b, struct zdev_io *io)
{
	int ret;

	if (io->op != ZDEV_PUT_TAIL && !is_stale(b, io->zno)) {
		if (is_write(io))
			return blk_io_write(b, io);
		ret = blk_zone_decide(b, io);
		if (ret <= 0) {
			io->result = ret;
			return false;
		}
	}
	add_job(b, io);
	return true;
}

/* The same on a worker, where it may block. */
static bool begin_blocking(struct blk *b, struct zdev_io *io)
{
	int ret = 0;

	if (is_stale(b, io->zno))
		ret = blk_zone_refresh(b, io->zno);
	if (!ret && is_write(io))
		return blk_io_write(b, io);
	if (!ret && io->op == ZDEV_PUT_TAIL)
		ret = blk_tail_put(b, io);
	else if (!ret)
		ret = blk_zone_decide(b, io);
	if (ret > 0)
		ret = blk_zone_command(b, io);
	io->result = ret;
	return false;
}

void blk_queue_next(struct blk *b, uint32_t zno)
{
	struct bzone *z = &b->zones[zno];
	struct zdev_io *io;

	for (;;) {
		pthread_mutex_lock(&b->lock);
		io = zdev_fifo_pop(&z->waiting);
		z->busy = io != NULL;
		pthread_mutex_unlock(&b->lock);
		if (!io || begin(b, io))
			return;
		/* Completed while the zone is ours: done() keeps its order. */
		zdev_complete(io, io->result);
	}
}

void blk_queue_add(struct blk *b, struct zdev_io *io)
{
	struct bzone *z = &b->zones[io->zno];
	uint32_t zno = io->zno;
	bool idle;

	pthread_mutex_lock(&b->lock);
	zdev_fifo_push(&z->waiting, io);
	idle = !z->busy;
	z->busy = true;
	pthread_mutex_unlock(&b->lock);
	if (idle)
		blk_queue_next(b, zno);
}

static void run_job(struct blk *b, struct zdev_io *io)
{
	uint32_t zno = io->zno;

	if (is_space(io)) {
		zdev_complete(io, blk_space_run(b, io));
		return;
	}
	if (begin_blocking(b, io))
		return;
	zdev_complete(io, io->result);
	blk_queue_next(b, zno);
}

static void *worker(void *arg)
{
	struct blk *b = arg;
	struct blk_slot *s;
	struct zdev_io *io;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		while (!b->slots_to_do && !b->jobs.first && !b->stop)
			pthread_cond_wait(&b->work, &b->lock);
		s = b->slots_to_do;
		io = s ? NULL : zdev_fifo_pop(&b->jobs);
		if (!s && !io)
			break;
		if (s)
			b->slots_to_do = s->next;
		pthread_mutex_unlock(&b->lock);
		if (s)
			blk_io_slot(b, s);
		else
			run_job(b, io);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

int blk_queue_start(struct blk *b)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	ret = pthread_create(&b->reaper, &attr, blk_io_reap, b);
	b->has_reaper = !ret;
	while (!ret && b->nr_workers < BLK_WORKERS) {
		ret = pthread_create(&b->workers[b->nr_workers], &attr, worker, b);
		if (!ret)
			b->nr_workers++;
	}
	pthread_attr_destroy(&attr);
	if (ret)
		blk_queue_stop(b);
	return -ret;
}

int blk_queue_stop(struct blk *b)
{
	unsigned i;

	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_broadcast(&b->work);
	pthread_mutex_unlock(&b->lock);
	for (i = 0; i < b->nr_workers; i++)
		pthread_join(b->workers[i], NULL);
	if (b->has_reaper) {
		blk_io_stop(b);
		pthread_join(b->reaper, NULL);
	}
	return b->flushed;
}
