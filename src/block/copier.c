/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The copier: see copier.h.
 *
 * One thread decides everything. Completions hand their transfer to it, so that
 * nothing is started, and no device is asked what may block, in a done() of a
 * device; and what belongs to jobs under way needs no lock. Jobs wait in line
 * until one of the places of those under way is free, of which there are as many as
 * pieces.
 *
 * A piece is a buffer with a part of a job. It is read, written to all destinations
 * and given to the next one. To a sequential zone each job has one write under way,
 * the lowest, and a job waits with its writes for those to the same zone before it;
 * its reads go ahead once those have all the pieces they need, so that nobody
 * holds pieces that another one must have first.
 */
#include "copier.h"
#include "zonefsd/latch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALIGNMENT	4096
#define STACK		(256 * 1024)
/* With a throttle: pieces are begun this long, then the rest of the time is kept free. */
#define BURST_NS	(10 * 1000 * 1000)
#define NR_DEVS		16
/* After refusals, so many jobs are copied by hand before the device is asked again. */
#define MAX_SKIP	1024

struct transfer {
	struct zdev_io	io;
	struct copier_piece *piece;
	struct transfer	*next;		/* ended, for the thread to see */
};

struct copier_piece {
	struct copier	*c;
	struct copier_job *job;
	struct copier_piece *next;	/* of the job, or unused */
	char		*buf;
	struct iovec	iov;
	uint64_t	off, len;	/* in the job */
	bool		ready;		/* has the data */
	unsigned	unwritten;	/* mask of destinations whose write is yet to begin */
	unsigned	nr_busy;	/* transfers under way */
	struct transfer	t[COPIER_MAX_DESTS];
};

/* A device that copies or does not. */
struct dev_memory {
	struct zdev	*dev;
	unsigned	skip;		/* jobs until it is asked again */
	unsigned	penalty;	/* the next skip; 0: it copies */
};

struct job_list {
	struct copier_job *first, *last;
};

struct copier {
	uint32_t	piece;
	uint32_t	nr_pieces;
	char		*zeros;		/* piece bytes */
	char		*buffers;
	struct copier_piece *pieces;
	pthread_t	thread;

	pthread_mutex_t	lock;		/* guards all up to stop */
	pthread_cond_t	work;		/* for the thread */
	struct job_list	submitted;
	struct transfer	*ended;
	unsigned	throttle;	/* percent, for the thread to take over; 0: it has */
	struct copier_stats stats;
	bool		stop;

	/* The thread's own. */
	unsigned	percent;
	struct job_list	waiting;
	struct job_list	active;		/* in the order of submission */
	unsigned	nr_active;
	struct copier_piece *unused;
	unsigned	nr_used;
	bool		freed;		/* a piece, since the last look at all jobs */
	uint64_t	burst_start;	/* ns; of what is under way */
	uint64_t	pause_until;	/* ns */
	struct dev_memory devs[NR_DEVS];
	unsigned	next_dev;	/* whose place the next one takes */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- lists ---- */

static void push_job(struct job_list *l, struct copier_job *job)
{
	job->next = NULL;
	if (l->first)
		l->last->next = job;
	else
		l->first = job;
	l->last = job;
}

static struct copier_job *pop_job(struct job_list *l)
{
	struct copier_job *job = l->first;

	if (job)
		l->first = job->next;
	return job;
}

static void append_list(struct job_list *l, struct job_list *more)
{
	if (!more->first)
		return;
	if (l->first)
		l->last->next = more->first;
	else
		l->first = more->first;
	l->last = more->last;
	more->first = NULL;
}

static void remove_job(struct job_list *l, struct copier_job *job)
{
	struct copier_job *prev = NULL, *at;

	for (at = l->first; at != job; at = at->next)
		prev = at;
	if (prev)
		prev->next = job->next;
	else
		l->first = job->next;
	if (l->last == job)
		l->last = prev;
}

/* ---- jobs ---- */

static unsigned all_dests(const struct copier_job *job)
{
	return (1u << job->nr_dst) - 1;
}

/* Destinations in mask do not get (all of) the data. */
static void fail(struct copier_job *job, unsigned mask, int err)
{
	job->failed |= mask;
	if (!job->error)
		job->error = err;
}

static bool is_lost(const struct copier_job *job)
{
	return job->failed == all_dests(job);
}

static bool same_zone(const struct copier_place *a, const struct copier_place *b)
{
	return a->dev == b->dev && a->zno == b->zno;
}

/* ---- pieces ---- */

static struct copier_piece *new_piece(struct copier *c, struct copier_job *job, uint64_t max)
{
	struct copier_piece *p = c->unused, **at;

	c->unused = p->next;
	if (!c->nr_used++)
		c->burst_start = now_ns();
	p->job = job;
	p->off = job->begun;
	p->len = job->len - p->off < max ? job->len - p->off : max;
	p->ready = false;
	p->iov.iov_base = job->src.dev ? p->buf : c->zeros;
	p->iov.iov_len = p->len;
	p->unwritten = all_dests(job);
	p->next = NULL;
	job->begun += p->len;
	for (at = &job->pieces; *at; at = &(*at)->next)
		;
	*at = p;
	return p;
}

/* After a burst comes a pause that makes up for it. */
static void end_burst(struct copier *c)
{
	uint64_t now = now_ns();

	c->pause_until = now + (now - c->burst_start) * (100 - c->percent) / c->percent;
}

static void free_piece(struct copier *c, struct copier_piece *p)
{
	struct copier_piece **at;

	for (at = &p->job->pieces; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	p->next = c->unused;
	c->unused = p;
	c->freed = true;
	if (!--c->nr_used)
		end_burst(c);
}

/* May a piece begin? If not for the throttle alone, *until is when to look again. */
static bool may_begin(struct copier *c, uint64_t *until)
{
	uint64_t now;

	if (!c->unused)
		return false;
	if (c->percent == 100)
		return true;
	now = now_ns();
	if (c->nr_used)
		return now - c->burst_start < BURST_NS;
	if (now >= c->pause_until)
		return true;
	*until = c->pause_until;
	return false;
}

/* ---- transfers ---- */

/* On any thread. */
static void transfer_ended(struct zdev_io *io)
{
	struct transfer *t = io->owner;
	struct copier *c = t->piece->c;

	pthread_mutex_lock(&c->lock);
	t->next = c->ended;
	c->ended = t;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

static void start(struct copier_piece *p, struct transfer *t, enum zdev_op op,
		  const struct copier_place *at)
{
	const struct copier_place *src = &p->job->src;

	t->io = (struct zdev_io) {
		.op = op, .zno = at->zno, .pos = at->pos + p->off,
		.done = transfer_ended, .owner = t,
	};
	if (op == ZDEV_COPY) {
		t->io.src_zno = src->zno;
		t->io.src_pos = src->pos + p->off;
		t->io.bytes = p->len;
		/*
		 * A copy through the page cache of a file system that cannot share
		 * blocks takes longer than reads and writes past it (258 against
		 * 430 MiB/s of reclaim on ext4).
		 */
		t->io.share_only = true;
	} else {
		t->io.iov = &p->iov;
		t->io.nr_iov = 1;
	}
	p->nr_busy++;
	zdev_submit(at->dev, &t->io);
}

/* ---- copies by the device ---- */

static struct dev_memory *remember(struct copier *c, struct zdev *dev)
{
	struct dev_memory *m;
	unsigned i;

	for (i = 0; i < NR_DEVS; i++)
		if (c->devs[i].dev == dev)
			return &c->devs[i];
	m = &c->devs[c->next_dev++ % NR_DEVS];
	*m = (struct dev_memory) { .dev = dev };
	return m;
}

/* Is it worth a try? Asked once a job. */
static bool can_offload(struct copier *c, const struct copier_job *job)
{
	const struct copier_place *src = &job->src, *dst = &job->dst[0];
	uint64_t apart = src->pos < dst->pos ? dst->pos - src->pos : src->pos - dst->pos;
	struct dev_memory *m;

	if (!src->dev || job->nr_dst != 1 || src->dev != dst->dev)
		return false;
	if (src->zno == dst->zno && apart < job->len)
		return false;
	m = remember(c, job->src.dev);
	if (!m->skip)
		return true;
	m->skip--;
	return false;
}

static void offload_worked(struct copier *c, struct copier_piece *p)
{
	remember(c, p->job->src.dev)->penalty = 0;
	pthread_mutex_lock(&c->lock);
	c->stats.offload_bytes += p->len;
	c->stats.bytes += p->len;
	pthread_mutex_unlock(&c->lock);
	free_piece(c, p);
}

/*
 * How far the copy that failed got: what its destination is to go on with by hand.
 * False: there is no going on.
 */
static bool find_place(const struct copier_piece *p, uint64_t *off)
{
	const struct copier_place *dst = &p->job->dst[0];
	struct zdev_zone zone;

	*off = p->off;
	/* A conventional zone takes it all again. */
	if (p->t[0].io.result == -EOPNOTSUPP || !p->job->seq)
		return true;
	if (zdev_report(dst->dev, dst->zno, 1, &zone) || zone.wp == ZDEV_WP_NONE ||
	    zone.wp < dst->pos + p->off || zone.wp > dst->pos + p->off + p->len)
		return false;
	*off = zone.wp - dst->pos;
	return true;
}

static void offload_failed(struct copier *c, struct copier_piece *p)
{
	struct dev_memory *m = remember(c, p->job->src.dev);
	struct copier_job *job = p->job;
	int err = (int)p->t[0].io.result;
	uint64_t off;

	m->penalty = m->penalty < MAX_SKIP / 2 ? 2 * m->penalty + 1 : MAX_SKIP;
	m->skip = m->penalty;
	job->by_hand = true;
	pthread_mutex_lock(&c->lock);
	c->stats.offload_fallbacks++;
	pthread_mutex_unlock(&c->lock);
	if (find_place(p, &off))
		job->begun = off;
	else
		fail(job, 1, err);
	free_piece(c, p);
}

/* ---- what has ended ---- */

static void write_ended(struct copier *c, struct copier_piece *p, unsigned bit, ssize_t result)
{
	p->job->writing &= ~bit;
	if (result < 0) {
		fail(p->job, bit, (int)result);
		return;
	}
	pthread_mutex_lock(&c->lock);
	c->stats.bytes += p->len;
	pthread_mutex_unlock(&c->lock);
}

static void take_ended(struct copier *c, struct transfer *t)
{
	struct copier_piece *p = t->piece;
	ssize_t result = t->io.result;

	p->nr_busy--;
	switch (t->io.op) {
	case ZDEV_COPY:
		if (result)
			offload_failed(c, p);
		else
			offload_worked(c, p);
		return;
	case ZDEV_READ:
		p->ready = true;
		if (result < 0)
			fail(p->job, all_dests(p->job), (int)result);
		break;
	default:
		write_ended(c, p, 1u << (t - p->t), result);
	}
}

/* ---- what can begin ---- */

/*
 * Is there a job before this one to a sequential zone of it, one in mask? needy: count
 * only those that may need more pieces, as one may that the device copies for.
 */
static bool is_behind(const struct copier *c, const struct copier_job *job, unsigned mask,
		      bool needy)
{
	const struct copier_job *other;
	int i, j;

	for (other = c->active.first; other != job; other = other->next) {
		if (needy && other->by_hand && other->begun == other->len)
			continue;
		for (i = 0; i < job->nr_dst; i++)
			for (j = 0; j < other->nr_dst; j++)
				if ((mask & job->seq & 1u << i) &&
				    same_zone(&job->dst[i], &other->dst[j]))
					return true;
	}
	return false;
}

/* What the device says may take a while, so what is known already comes first. */
static bool is_seq(const struct copier *c, const struct copier_job *job, int i)
{
	const struct copier_job *other;
	struct zdev_zone zone;
	int j;

	for (other = c->active.first; other != job; other = other->next)
		for (j = 0; j < other->nr_dst; j++)
			if (same_zone(&job->dst[i], &other->dst[j]))
				return other->seq & 1u << j;
	if (zdev_report(job->dst[i].dev, job->dst[i].zno, 1, &zone))
		return true;
	return zone.type != BLK_ZONE_TYPE_CONVENTIONAL;
}

static void activate(struct copier *c)
{
	struct copier_job *job;
	int i;

	while (c->nr_active < c->nr_pieces && (job = pop_job(&c->waiting))) {
		push_job(&c->active, job);
		c->nr_active++;
		if (is_lost(job))
			continue;
		for (i = 0; i < job->nr_dst; i++)
			job->seq |= (unsigned)is_seq(c, job, i) << i;
		job->by_hand = !can_offload(c, job);
	}
}

/* Begin what one job may. */
static void begin_pieces(struct copier *c, struct copier_job *job, uint64_t *until)
{
	struct copier_piece *p;

	while (job->begun < job->len && !is_lost(job)) {
		/* One copy at a time: those behind one that is refused would have no place. */
		if (!job->by_hand && (job->pieces || is_behind(c, job, 1, false)))
			return;
		if (is_behind(c, job, ~0u, true) || !may_begin(c, until))
			return;
		p = new_piece(c, job, job->by_hand ? c->piece : ZDEV_MAX_IO);
		if (!job->by_hand)
			start(p, &p->t[0], ZDEV_COPY, &job->dst[0]);
		else if (job->src.dev)
			start(p, &p->t[0], ZDEV_READ, &job->src);
		else
			p->ready = true;
	}
}

/* lowest: all pieces before this one were read. */
static void write_piece(struct copier *c, struct copier_piece *p, bool lowest)
{
	struct copier_job *job = p->job;
	unsigned bit;
	int i;

	p->unwritten &= ~job->failed;
	for (i = 0; i < job->nr_dst; i++) {
		bit = 1u << i;
		if (!(p->unwritten & bit))
			continue;
		if ((job->seq & bit) &&
		    (!lowest || (job->writing & bit) || is_behind(c, job, bit, false)))
			continue;
		p->unwritten &= ~bit;
		job->writing |= bit;
		start(p, &p->t[i], ZDEV_WRITE, &job->dst[i]);
	}
}

static void begin_writes(struct copier *c, struct copier_job *job)
{
	struct copier_piece *p, *next;
	bool lowest = true;

	for (p = job->pieces; p; p = next) {
		next = p->next;
		if (p->ready)
			write_piece(c, p, lowest);
		if (p->ready && !p->unwritten && !p->nr_busy)
			free_piece(c, p);
		else
			lowest = lowest && p->ready;
	}
}

/* ---- the thread ---- */

/* Jobs of a list that write to zone at: there is no place for them any more. */
static void fail_list(struct copier_job *job, const struct copier_place *at, int err)
{
	int i;

	for (; job; job = job->next)
		for (i = 0; i < job->nr_dst; i++)
			if (same_zone(&job->dst[i], at) && !(job->failed & 1u << i))
				fail(job, 1u << i, err);
}

/* Who was to write behind what is missing now, whenever it came. */
static void fail_followers(struct copier *c, const struct copier_job *job)
{
	int i;

	pthread_mutex_lock(&c->lock);
	append_list(&c->waiting, &c->submitted);
	pthread_mutex_unlock(&c->lock);
	for (i = 0; i < job->nr_dst; i++) {
		if (!(job->failed & job->seq & 1u << i))
			continue;
		fail_list(job->next, &job->dst[i], job->error);
		fail_list(c->waiting.first, &job->dst[i], job->error);
	}
}

static void finish(struct copier *c, struct copier_job *job)
{
	if (job->failed)
		fail_followers(c, job);
	remove_job(&c->active, job);
	c->nr_active--;
	pthread_mutex_lock(&c->lock);
	c->stats.jobs++;
	pthread_mutex_unlock(&c->lock);
	job->done(job);
}

static bool is_over(const struct copier_job *job)
{
	return !job->pieces && (job->begun == job->len || is_lost(job));
}

/* Go through the jobs until none has anything to begin. */
static void begin_all(struct copier *c, uint64_t *until)
{
	struct copier_job *job, *next;
	bool again;

	do {
		again = false;
		c->freed = false;
		activate(c);
		for (job = c->active.first; job; job = next) {
			begin_pieces(c, job, until);
			begin_writes(c, job);
			next = job->next;
			if (is_over(job)) {
				finish(c, job);
				again = true;
			}
		}
	} while (again || c->freed);
}

static bool has_work(const struct copier *c)
{
	return c->ended || c->submitted.first || c->throttle || c->stop;
}

/* Wait for something to do, or until `until` (0: no such time). False: the end. */
static bool wait_for_work(struct copier *c, uint64_t until, struct transfer **ended)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u),
	};
	bool go_on;
	int ret = 0;

	pthread_mutex_lock(&c->lock);
	while (!ret && !has_work(c))
		ret = until ? pthread_cond_timedwait(&c->work, &c->lock, &ts) :
			      pthread_cond_wait(&c->work, &c->lock);
	*ended = c->ended;
	c->ended = NULL;
	append_list(&c->waiting, &c->submitted);
	if (c->throttle) {
		c->percent = c->throttle;
		c->pause_until = 0;
	}
	c->throttle = 0;
	go_on = !c->stop;
	pthread_mutex_unlock(&c->lock);
	return go_on;
}

static void *copier_thread(void *arg)
{
	struct transfer *t, *next;
	struct copier *c = arg;
	uint64_t until = 0;

	while (wait_for_work(c, until, &t)) {
		for (; t; t = next) {
			next = t->next;
			take_ended(c, t);
		}
		until = 0;
		begin_all(c, &until);
	}
	return NULL;
}

/* ---- the calls ---- */

static int make_pieces(struct copier *c)
{
	uint32_t i;
	int j;

	c->pieces = calloc(c->nr_pieces, sizeof(*c->pieces));
	c->zeros = aligned_alloc(ALIGNMENT, c->piece);
	c->buffers = aligned_alloc(ALIGNMENT, (size_t)c->nr_pieces * c->piece);
	if (!c->pieces || !c->zeros || !c->buffers)
		return -ENOMEM;
	memset(c->zeros, 0, c->piece);
	for (i = 0; i < c->nr_pieces; i++) {
		struct copier_piece *p = &c->pieces[i];

		p->c = c;
		p->buf = c->buffers + (size_t)i * c->piece;
		for (j = 0; j < COPIER_MAX_DESTS; j++)
			p->t[j].piece = p;
		p->next = c->unused;
		c->unused = p;
	}
	return 0;
}

static void destroy(struct copier *c)
{
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	free(c->buffers);
	free(c->zeros);
	free(c->pieces);
	free(c);
}

static int start_thread(struct copier *c)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	ret = pthread_create(&c->thread, &attr, copier_thread, c);
	pthread_attr_destroy(&attr);
	/* Threads and memory are what it may lack. */
	return ret ? -ENOMEM : 0;
}

int copier_create(const struct copier_opts *o, struct copier **cp)
{
	struct copier *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int ret;

	if (!c)
		return -ENOMEM;
	c->piece = o->piece;
	c->nr_pieces = o->nr_pieces;
	c->percent = 100;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->work, &attr);
	pthread_condattr_destroy(&attr);
	ret = make_pieces(c);
	if (!ret)
		ret = start_thread(c);
	if (ret) {
		destroy(c);
		return ret;
	}
	*cp = c;
	return 0;
}

void copier_free(struct copier *c)
{
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	destroy(c);
}

void copier_submit(struct copier *c, struct copier_job *job)
{
	job->error = 0;
	job->failed = 0;
	job->pieces = NULL;
	job->begun = 0;
	job->seq = job->writing = 0;
	job->by_hand = true;
	pthread_mutex_lock(&c->lock);
	push_job(&c->submitted, job);
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

static void put_latch(struct copier_job *job)
{
	zlatch_put(job->owner);
}

int copier_run(struct copier *c, struct copier_job *job)
{
	struct zlatch latch;

	zlatch_init(&latch, 1);
	job->done = put_latch;
	job->owner = &latch;
	copier_submit(c, job);
	zlatch_wait(&latch);
	return job->error;
}

void copier_set_throttle(struct copier *c, unsigned percent)
{
	pthread_mutex_lock(&c->lock);
	c->throttle = percent < 1 ? 1 : percent > 100 ? 100 : percent;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

void copier_get_stats(struct copier *c, struct copier_stats *st)
{
	pthread_mutex_lock(&c->lock);
	*st = c->stats;
	pthread_mutex_unlock(&c->lock);
}
