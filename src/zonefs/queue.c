/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a request runs, waits for its turn, for the device or for the helper
 * thread, and ends. See the top of zonefs_i.h.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "zonefs_i.h"
#include "zonefsd/clock.h"

void zonefs_req_begin(struct zonefs *fs, struct zonefs_zone *z,
		      struct zonefs_file *file, struct zonefs_req *r)
{
	atomic_fetch_add(&fs->inflight, 1);
	r->fs = fs;
	r->zone = z;
	r->file = file;
	r->next = NULL;
	r->scratch = NULL;
	r->result = 0;
	r->staged = 0;
	r->at = 0;
	r->depth = 0;
	r->queued = false;
	r->pinned = false;
	r->parked = false;
	r->rmw = false;
	r->recovering = false;
}

void zonefs_inflight_put(struct zonefs *fs)
{
	if (atomic_fetch_sub(&fs->inflight, 1) == 1)
		sem_post(fs->idle);
}

void zonefs_req_run(struct zonefs_req *r)
{
	while (r)
		r = r->step(r);
}

/*
 * The device may answer before zdev_submit returns, on this thread or another.
 * Then the submitter goes on with the next step, in its loop; else the thread
 * of the completion does. Whoever comes second to the handoff goes on.
 */
static void io_done(struct zdev_io *io)
{
	struct zonefs_req *r = io->owner;

	if (atomic_exchange(&r->handoff, HANDOFF_DONE) == HANDOFF_LEFT)
		zonefs_req_run(r);
}

struct zonefs_req *zonefs_req_submit(struct zonefs_req *r, zonefs_step next)
{
	r->io.done = io_done;
	r->io.owner = r;
	r->step = next;
	atomic_store(&r->handoff, HANDOFF_SUBMITTING);
	zdev_submit(r->fs->dev, &r->io);
	/* Left to the completion, r may be gone by now. */
	if (atomic_exchange(&r->handoff, HANDOFF_LEFT) == HANDOFF_DONE)
		return r;
	return NULL;
}

struct zonefs_req *zonefs_req_io(struct zonefs_req *r, enum zdev_op op, uint32_t zno,
				 uint64_t pos, int nr_iov, zonefs_step next)
{
	r->io = (struct zdev_io) {
		.op = op, .zno = zno, .pos = pos,
		.iov = nr_iov ? r->iov : NULL, .nr_iov = nr_iov,
	};
	return zonefs_req_submit(r, next);
}

void zonefs_req_call(struct zonefs_req *r, zonefs_step then)
{
	assert(r->depth < sizeof(r->then) / sizeof(r->then[0]));
	r->then[r->depth++] = then;
}

struct zonefs_req *zonefs_req_return(struct zonefs_req *r, ssize_t result)
{
	assert(r->depth);
	r->result = result;
	r->step = r->then[--r->depth];
	return r;
}

struct zonefs_req *zonefs_req_queue(struct zonefs_req *r, zonefs_step step)
{
	struct zonefs_active *act;
	bool first;

	r->step = step;
	r->queued = true;
	zonefs_zone_lock(r->fs, r->zone);
	act = r->zone->act;
	first = !act->head;
	r->next = NULL;
	if (first) {
		act->head = r;
	} else {
		act->last->next = r;
		if (!r->recovering)
			atomic_store(&r->waits_on, r->zone);
	}
	act->last = r;
	zonefs_zone_unlock(r->fs, r->zone);
	return first ? r : NULL;
}

/* r is the head and leaves the queue; the next one, if any, becomes it. */
static struct zonefs_req *dequeue(struct zonefs_req *r)
{
	struct zonefs_active *act;
	struct zonefs_req *next;

	zonefs_zone_lock(r->fs, r->zone);
	act = r->zone->act;
	next = r->next;
	act->head = next;
	if (next)
		atomic_store(&next->waits_on, NULL);
	else
		act->last = NULL;
	zonefs_zone_unlock(r->fs, r->zone);
	r->queued = false;
	return next;
}

struct zonefs_req *zonefs_req_finish(struct zonefs_req *r, ssize_t result)
{
	struct zonefs_req *next = r->queued ? dequeue(r) : NULL;
	struct zonefs *fs = r->fs;

	if (r->pinned)
		zonefs_zone_put(fs, r->zone);
	free(r->scratch);
	r->scratch = NULL;
	r->done(r, result);
	zonefs_inflight_put(fs);
	return next;
}

/* ---- cancelling ---- */

/* Take r out of the queue; the head, which waits for the stage, stays. The stripe is held. */
static void unqueue(struct zonefs_active *act, struct zonefs_req *r)
{
	struct zonefs_req *p = act->head;

	if (p == r) {
		act->stage->waiter = NULL;
		return;
	}
	while (p->next != r)
		p = p->next;
	p->next = r->next;
	if (act->last == r)
		act->last = p;
	r->queued = false;
}

static struct zonefs_req *interrupted(struct zonefs_req *r)
{
	return zonefs_req_finish(r, r->staged ? (ssize_t)r->staged : -EINTR);
}

void zonefs_cancel(struct zonefs *fs, struct zonefs_req *r)
{
	struct zonefs_zone *z;
	bool found;

	/* First: should it begin now, it shall know. */
	atomic_store(&r->stop, true);
	z = atomic_load(&r->waits_on);
	if (!z)
		return;
	zonefs_zone_lock(fs, z);
	found = atomic_load(&r->waits_on) == z;
	if (found) {
		atomic_store(&r->waits_on, NULL);
		if (!zonefs_conv_unwait(z->act, r))
			unqueue(z->act, r);
	}
	zonefs_zone_unlock(fs, z);
	/* Not here: the caller holds a lock that done() will take. */
	if (found)
		zonefs_req_defer(r, interrupted);
}

/* ---- the helper thread ---- */

/* fs->work_lock is held, here and in the next two. */
static void add_work(struct zonefs *fs, struct zonefs_req *r)
{
	r->next_work = NULL;
	if (fs->work)
		fs->work_last->next_work = r;
	else
		fs->work = r;
	fs->work_last = r;
	pthread_cond_signal(&fs->work_cond);
}

static void unpark_first(struct zonefs *fs)
{
	struct zonefs_req *r = fs->parked;

	fs->parked = r->next_work;
	add_work(fs, r);
}

/* Wait for work, no longer than the first of the parked requests does. */
static void wait_for_work(struct zonefs *fs)
{
	struct timespec until;

	if (!fs->parked) {
		pthread_cond_wait(&fs->work_cond, &fs->work_lock);
		return;
	}
	if (zclock_now() >= fs->parked->until) {
		unpark_first(fs);
	} else {
		until = zclock_timespec(fs->parked->until);
		pthread_cond_timedwait(&fs->work_cond, &fs->work_lock, &until);
	}
}

struct zonefs_req *zonefs_req_defer(struct zonefs_req *r, zonefs_step step)
{
	struct zonefs *fs = r->fs;

	r->step = step;
	pthread_mutex_lock(&fs->work_lock);
	add_work(fs, r);
	pthread_mutex_unlock(&fs->work_lock);
	return NULL;
}

void zonefs_req_park(struct zonefs_req *r, zonefs_step step)
{
	struct zonefs *fs = r->fs;

	r->step = step;
	r->next_work = NULL;
	r->until = zclock_now() + ZONEFS_PARK_MS * ZCLOCK_MS;
	pthread_mutex_lock(&fs->work_lock);
	if (fs->parked)
		fs->parked_last->next_work = r;
	else
		fs->parked = r;
	fs->parked_last = r;
	pthread_cond_signal(&fs->work_cond);
	pthread_mutex_unlock(&fs->work_lock);
}

void zonefs_unpark(struct zonefs *fs)
{
	pthread_mutex_lock(&fs->work_lock);
	if (fs->parked)
		unpark_first(fs);
	pthread_mutex_unlock(&fs->work_lock);
}

static void *worker_main(void *arg)
{
	struct zonefs *fs = arg;
	struct zonefs_req *r;

	pthread_mutex_lock(&fs->work_lock);
	for (;;) {
		while (!fs->work && !fs->work_stop)
			wait_for_work(fs);
		r = fs->work;
		if (!r)
			break;
		fs->work = r->next_work;
		pthread_mutex_unlock(&fs->work_lock);
		zonefs_req_run(r);
		pthread_mutex_lock(&fs->work_lock);
	}
	pthread_mutex_unlock(&fs->work_lock);
	return NULL;
}

int zonefs_thread_start(struct zonefs *fs, pthread_t *thread, void *(*run)(void *))
{
	sigset_t all, old;
	int err;

	/* Signals are main()'s: none may land here. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, NULL, run, fs);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int zonefs_worker_start(struct zonefs *fs)
{
	return zonefs_thread_start(fs, &fs->worker, worker_main);
}

void zonefs_worker_stop(struct zonefs *fs)
{
	pthread_mutex_lock(&fs->work_lock);
	fs->work_stop = true;
	pthread_cond_signal(&fs->work_cond);
	pthread_mutex_unlock(&fs->work_lock);
	pthread_join(fs->worker, NULL);
}
