/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The copier on devices in memory, behind a filter that completes reads in another
 * order than they came in, copies by itself or does not, and looks at what it is
 * asked.
 */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "../../src/block/copier.h"
#include "../../src/zdev/zdev_i.h"
#include "unit.h"

#define BS	4096u
#define ZONE	(1u << 20)
#define NR_CONV	3u
#define NR_ZONES 12u
#define PIECE	(64u * 1024)
#define NR_PIECES 4u
#define MAX_HELD 64

enum copies { REFUSED, DONE, HALF };	/* HALF: the first half is there, then -EIO */

struct shuffle {
	struct zdev	dev;		/* first */
	struct zdev	*next;
	pthread_t	thread;
	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	work;
	struct zdev_io	*held[MAX_HELD];	/* reads and copies */
	unsigned	nr_held;
	bool		stop;
	enum copies	copies;
	unsigned	delay_us;	/* of each read */
	unsigned	in_flight, most_in_flight;
	unsigned	nr_copies, nr_writes;
	unsigned	writing[NR_ZONES];
	uint64_t	busy_since, busy_ns;
	unsigned	seed;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- the filter ---- */

/* What stands in for an operation beneath. */
struct stand_in {
	struct zdev_io	io;		/* first */
	struct zdev_io	*whole;
	struct shuffle	*s;
};

static void ends(struct shuffle *s, const struct zdev_io *io)
{
	pthread_mutex_lock(&s->lock);
	if (!--s->in_flight)
		s->busy_ns += now_ns() - s->busy_since;
	if (io->op == ZDEV_WRITE)
		s->writing[io->zno]--;
	pthread_mutex_unlock(&s->lock);
}

static void stand_in_done(struct zdev_io *io)
{
	struct stand_in *in = (struct stand_in *)io;
	struct zdev_io *whole = in->whole;
	ssize_t result = io->result;

	ends(in->s, whole);
	free(in);
	zdev_complete(whole, result);
}

static void pass_on(struct shuffle *s, struct zdev_io *io)
{
	struct stand_in *in = malloc(sizeof(*in));

	CHECK(in);
	in->io = *io;
	in->io.done = stand_in_done;
	in->whole = io;
	in->s = s;
	zdev_submit(s->next, &in->io);
}

static void copy(struct shuffle *s, struct zdev_io *io)
{
	uint64_t len = s->copies == HALF ? io->bytes / 2 / BS * BS : io->bytes;
	ssize_t ret = s->copies == REFUSED ? -EOPNOTSUPP : 0;
	char *buf;

	if (!ret && len) {
		buf = malloc(len);
		CHECK(buf);
		ret = zdev_pread(s->next, io->src_zno, io->src_pos, buf, len);
		if (ret >= 0)
			ret = zdev_pwrite(s->next, io->zno, io->pos, buf, len);
		free(buf);
	}
	if (ret >= 0)
		ret = s->copies == HALF ? -EIO : 0;
	ends(s, io);
	zdev_complete(io, ret);
}

static void *shuffle_thread(void *arg)
{
	struct shuffle *s = arg;
	struct zdev_io *io;
	unsigned i, delay;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->nr_held && !s->stop)
			pthread_cond_wait(&s->work, &s->lock);
		if (!s->nr_held)
			break;
		delay = s->delay_us;
		/* Give others the time to come, then take any. */
		pthread_mutex_unlock(&s->lock);
		usleep(delay);
		pthread_mutex_lock(&s->lock);
		i = (unsigned)rand_r(&s->seed) % s->nr_held;
		io = s->held[i];
		s->held[i] = s->held[--s->nr_held];
		pthread_mutex_unlock(&s->lock);
		if (io->op == ZDEV_COPY)
			copy(s, io);
		else
			pass_on(s, io);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void shuffle_submit(struct zdev *dev, struct zdev_io *io)
{
	struct shuffle *s = (struct shuffle *)dev;
	bool hold = io->op == ZDEV_READ || io->op == ZDEV_COPY;

	pthread_mutex_lock(&s->lock);
	if (!s->in_flight++)
		s->busy_since = now_ns();
	if (s->in_flight > s->most_in_flight)
		s->most_in_flight = s->in_flight;
	s->nr_copies += io->op == ZDEV_COPY;
	if (io->op == ZDEV_WRITE) {
		s->nr_writes++;
		s->writing[io->zno]++;
		CHECK(io->zno < NR_CONV || s->writing[io->zno] == 1);
	}
	if (hold) {
		CHECK(s->nr_held < MAX_HELD);
		s->held[s->nr_held++] = io;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	if (!hold)
		pass_on(s, io);
}

static int shuffle_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	return zdev_report(((struct shuffle *)dev)->next, zno, nr, zones);
}

static int shuffle_inject(struct zdev *dev, const struct zdev_fault *fault)
{
	return zdev_inject(((struct shuffle *)dev)->next, fault);
}

static int shuffle_close(struct zdev *dev)
{
	struct shuffle *s = (struct shuffle *)dev;
	int ret;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	ret = zdev_close(s->next);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return ret;
}

static const struct zdev_ops shuffle_ops = {
	.submit		= shuffle_submit,
	.report		= shuffle_report,
	.inject		= shuffle_inject,
	.close		= shuffle_close,
};

static struct shuffle *make_dev(enum copies copies)
{
	const struct zdev_geometry g = {
		.block_size = BS, .zone_size = ZONE, .zone_capacity = ZONE,
		.nr_zones = NR_ZONES, .nr_conv = NR_CONV,
	};
	struct shuffle *s = calloc(1, sizeof(*s));
	struct zerr e;

	CHECK(s);
	CHECK_EQ(zdev_mem_create(&g, &s->next, &e), 0);
	s->dev.ops = &shuffle_ops;
	s->dev.info = *zdev_info(s->next);
	s->copies = copies;
	s->seed = 4711;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	CHECK_EQ(pthread_create(&s->thread, NULL, shuffle_thread, s), 0);
	return s;
}

/* ---- helpers ---- */

static char pattern[ZONE], back[ZONE];

static struct copier *make_copier(void)
{
	struct copier_opts o = { .piece = PIECE, .nr_pieces = NR_PIECES };
	struct copier *c;

	CHECK_EQ(copier_create(&o, &c), 0);
	return c;
}

static struct copier_stats stats_of(struct copier *c)
{
	struct copier_stats st;

	copier_get_stats(c, &st);
	return st;
}

static void fill(struct shuffle *s, uint32_t zno)
{
	CHECK_EQ(zdev_pwrite(s->next, zno, 0, pattern, ZONE), ZONE);
}

/* Bytes [pos, pos + len) of the zone are those of the pattern from `from` on. */
static void check_data(struct shuffle *s, uint32_t zno, uint64_t pos, uint64_t len, uint64_t from)
{
	if (len)
		CHECK_EQ(zdev_pread(s->next, zno, pos, back, len), len);
	CHECK(!memcmp(back, pattern + from, len));
}

static uint64_t wp(struct shuffle *s, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(s->next, zno, 1, &z), 0);
	return z.wp;
}

static void inject(struct shuffle *s, enum zdev_op op, uint32_t zno, int err, uint32_t skip)
{
	struct zdev_fault f = { .op = op, .zno = zno, .err = err, .skip = skip, .count = 1 };

	CHECK_EQ(zdev_inject(&s->dev, &f), 0);
}

static struct copier_job job_of(struct shuffle *src, uint32_t src_zno, uint64_t src_pos,
				struct shuffle *dst, uint32_t zno, uint64_t pos, uint64_t len)
{
	return (struct copier_job) {
		.src = { src ? &src->dev : NULL, src_zno, src_pos },
		.dst = { { &dst->dev, zno, pos } }, .nr_dst = 1, .len = len,
	};
}

/* Jobs that run beside each other, and the order in which they end. */
struct group {
	pthread_mutex_t	lock;		/* guards the rest */
	pthread_cond_t	cond;
	unsigned	nr_done;
	struct copier_job *ended[512];
};

#define GROUP { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER }

static void group_done(struct copier_job *job)
{
	struct group *g = job->owner;

	pthread_mutex_lock(&g->lock);
	g->ended[g->nr_done++] = job;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void group_start(struct group *g, struct copier *c, struct copier_job *job)
{
	job->owner = g;
	job->done = group_done;
	copier_submit(c, job);
}

static void group_wait(struct group *g, unsigned nr)
{
	pthread_mutex_lock(&g->lock);
	while (g->nr_done < nr)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

/* ---- tests ---- */

/* Reads come back in any order, writes go out in one. */
static void copies_are_in_order(void)
{
	struct shuffle *a = make_dev(REFUSED), *b = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 4);
	job = job_of(a, 4, 0, b, 5, 0, ZONE);
	CHECK_EQ(copier_run(c, &job), 0);
	CHECK_EQ(job.failed, 0);
	check_data(b, 5, 0, ZONE, 0);
	CHECK_EQ(b->nr_writes, ZONE / PIECE);
	CHECK(a->most_in_flight > 1 && a->most_in_flight <= NR_PIECES);
	/* From within a zone to a place in a conventional one. */
	job = job_of(a, 4, 7 * BS, b, 1, 3 * BS, 5 * PIECE + BS);
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(b, 1, 3 * BS, 5 * PIECE + BS, 7 * BS);
	/* Nothing is a job, too. */
	job = job_of(a, 4, 0, b, 6, 0, 0);
	CHECK_EQ(copier_run(c, &job), 0);
	CHECK_EQ(stats_of(c).jobs, 3);
	CHECK_EQ(stats_of(c).bytes, ZONE + 5 * PIECE + BS);
	CHECK_EQ(stats_of(c).offload_bytes, 0);
	CHECK_EQ(stats_of(c).offload_fallbacks, 0);
	copier_free(c);
	zdev_close(&a->dev);
	zdev_close(&b->dev);
}

static void zeroes_need_no_source(void)
{
	struct shuffle *a = make_dev(DONE);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 0);
	job = job_of(NULL, 0, 0, a, 0, BS, 3 * PIECE);
	CHECK_EQ(copier_run(c, &job), 0);
	job = job_of(NULL, 0, 0, a, 4, 0, 2 * PIECE + BS);
	CHECK_EQ(copier_run(c, &job), 0);
	CHECK_EQ(wp(a, 4), 2 * PIECE + BS);
	CHECK_EQ(zdev_pread(a->next, 0, 0, back, ZONE), ZONE);
	CHECK(!memcmp(back, pattern, BS));
	for (unsigned i = BS; i < BS + 3 * PIECE; i++)
		CHECK_EQ(back[i], 0);
	CHECK(!memcmp(back + BS + 3 * PIECE, pattern + BS + 3 * PIECE, ZONE - BS - 3 * PIECE));
	copier_free(c);
	zdev_close(&a->dev);
}

static void one_source_goes_to_two_places(void)
{
	struct shuffle *a = make_dev(DONE), *b = make_dev(DONE);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 3);
	job = job_of(a, 3, 0, a, 4, 0, ZONE);
	job.nr_dst = 2;
	job.dst[1] = (struct copier_place) { &b->dev, 1, 0 };
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(a, 4, 0, ZONE, 0);
	check_data(b, 1, 0, ZONE, 0);
	CHECK_EQ(stats_of(c).bytes, 2 * ZONE);
	CHECK_EQ(a->nr_copies, 0);

	/* One of them fails: the other one gets all of it. */
	CHECK_EQ(zdev_command(a->next, ZDEV_RESET, 4), 0);
	CHECK_EQ(zdev_pwrite(b->next, 1, 0, back, ZONE), ZONE);
	inject(a, ZDEV_WRITE, 4, EILSEQ, 3);
	a->nr_writes = 0;
	CHECK_EQ(copier_run(c, &job), -EILSEQ);
	CHECK_EQ(job.failed, 1);
	CHECK_EQ(wp(a, 4), 3 * PIECE);
	CHECK_EQ(a->nr_writes, 4);	/* the later ones are not tried */
	check_data(b, 1, 0, ZONE, 0);
	copier_free(c);
	zdev_close(&a->dev);
	zdev_close(&b->dev);
}

/* Small jobs to one zone, as reclaim makes them: read ahead, written in line. */
static void jobs_of_a_zone_stand_in_line(enum copies copies)
{
	struct shuffle *a = make_dev(copies);
	struct copier *c = make_copier();
	struct copier_job jobs[128];
	struct group g = GROUP;

	fill(a, 3);
	fill(a, 6);
	for (unsigned i = 0; i < 128; i++) {
		/* By turns to two zones. */
		jobs[i] = job_of(i % 8 == 7 ? NULL : a, i % 2 ? 3 : 6, i / 2 * 4 * BS,
				 a, i % 2 ? 4 : 5, i / 2 * 4 * BS, 4 * BS);
		group_start(&g, c, &jobs[i]);
	}
	group_wait(&g, 128);
	for (unsigned i = 0; i < 128; i++)
		CHECK_EQ(jobs[i].error, 0);
	check_data(a, 5, 0, ZONE, 0);
	CHECK_EQ(zdev_pread(a->next, 4, 0, back, ZONE), ZONE);
	for (unsigned i = 0; i < 64; i++) {
		char *at = back + i * 4 * BS;

		if (i % 4 == 3)
			CHECK(!at[0] && !at[4 * BS - 1]);
		else
			CHECK(!memcmp(at, pattern + i * 4 * BS, 4 * BS));
	}
	if (copies == DONE)
		CHECK_EQ(stats_of(c).offload_bytes, 112 * 4 * BS);
	else
		CHECK(a->most_in_flight > 2);
	copier_free(c);
	zdev_close(&a->dev);
}

static void line_by_hand(void)
{
	jobs_of_a_zone_stand_in_line(REFUSED);
}

static void line_by_the_device(void)
{
	jobs_of_a_zone_stand_in_line(DONE);
}

static void line_by_both(void)
{
	jobs_of_a_zone_stand_in_line(HALF);
}

/* What comes behind a failed write has no place; other zones go on. */
static void a_failed_write_ends_the_line(void)
{
	struct shuffle *a = make_dev(REFUSED), *b = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job jobs[4], conv;
	struct group g = GROUP;

	fill(b, 3);
	b->delay_us = 20000;	/* all are there before the first ends */
	inject(a, ZDEV_WRITE, 4, EIO, 5);
	jobs[0] = job_of(b, 3, 0, a, 4, 0, 4 * PIECE);
	jobs[1] = job_of(b, 3, 4 * PIECE, a, 4, 4 * PIECE, 4 * PIECE);	/* fails */
	jobs[2] = job_of(b, 3, 8 * PIECE, a, 4, 8 * PIECE, 4 * PIECE);
	jobs[3] = job_of(b, 3, 0, a, 5, 0, 4 * PIECE);
	for (int i = 0; i < 4; i++)
		group_start(&g, c, &jobs[i]);
	group_wait(&g, 4);
	CHECK_EQ(jobs[0].error, 0);
	CHECK_EQ(jobs[1].error, -EIO);
	CHECK_EQ(jobs[1].failed, 1);
	CHECK_EQ(jobs[2].error, -EIO);
	CHECK_EQ(jobs[2].failed, 1);
	CHECK_EQ(jobs[3].error, 0);
	CHECK_EQ(wp(a, 4), 5 * PIECE);
	CHECK_EQ(wp(a, 5), 4 * PIECE);
	CHECK_EQ(a->nr_writes, 6 + 4);
	/* What is submitted after done() is tried again. */
	jobs[1] = job_of(b, 3, 5 * PIECE, a, 4, 5 * PIECE, 3 * PIECE);
	CHECK_EQ(copier_run(c, &jobs[1]), 0);
	check_data(a, 4, 0, 8 * PIECE, 0);

	/* In a conventional zone everything else has its place. */
	g.nr_done = 0;
	inject(a, ZDEV_WRITE, 1, EIO, 0);
	conv = job_of(b, 3, 0, a, 1, 0, PIECE);
	jobs[0] = job_of(b, 3, PIECE, a, 1, PIECE, PIECE);
	group_start(&g, c, &conv);
	group_start(&g, c, &jobs[0]);
	group_wait(&g, 2);
	CHECK_EQ(!!conv.error + !!jobs[0].error, 1);
	copier_free(c);
	zdev_close(&a->dev);
	zdev_close(&b->dev);
}

static void a_failed_read_fails_all_destinations(void)
{
	struct shuffle *a = make_dev(REFUSED), *b = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 3);
	inject(a, ZDEV_READ, 3, ENODATA, 2);
	job = job_of(a, 3, 0, b, 4, 0, ZONE);
	job.nr_dst = 2;
	job.dst[1] = (struct copier_place) { &b->dev, 5, 0 };
	CHECK_EQ(copier_run(c, &job), -ENODATA);
	CHECK_EQ(job.failed, 3);
	CHECK(wp(b, 4) < ZONE && wp(b, 5) < ZONE);
	check_data(b, 4, 0, wp(b, 4), 0);
	check_data(b, 5, 0, wp(b, 5), 0);
	/* The zone is written where it is, by who has asked. */
	job = job_of(a, 3, wp(b, 4), b, 4, wp(b, 4), ZONE - wp(b, 4));
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(b, 4, 0, ZONE, 0);
	copier_free(c);
	zdev_close(&a->dev);
	zdev_close(&b->dev);
}

static void the_device_copies_if_it_can(void)
{
	struct shuffle *a = make_dev(DONE), *b = make_dev(DONE);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 3);
	job = job_of(a, 3, 0, a, 4, 0, ZONE);
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(a, 4, 0, ZONE, 0);
	CHECK_EQ(stats_of(c).offload_bytes, ZONE);
	CHECK_EQ(stats_of(c).bytes, ZONE);
	CHECK_EQ(a->nr_writes, 0);
	/* Not what overlaps, and not to another device. */
	job = job_of(a, 4, 0, b, 4, 0, BS);
	CHECK_EQ(copier_run(c, &job), 0);
	job = job_of(a, 0, 0, a, 0, BS, 2 * BS);
	CHECK_EQ(copier_run(c, &job), 0);
	CHECK_EQ(stats_of(c).offload_fallbacks, 0);
	CHECK_EQ(stats_of(c).offload_bytes, ZONE);
	copier_free(c);
	zdev_close(&a->dev);
	zdev_close(&b->dev);
}

/* Half of it is there, and no more: go on from there by hand. */
static void copies_that_fail_are_finished(void)
{
	struct shuffle *a = make_dev(HALF);
	struct copier *c = make_copier();
	struct copier_job job;

	fill(a, 3);
	job = job_of(a, 3, BS, a, 4, 0, ZONE - BS);
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(a, 4, 0, ZONE - BS, BS);
	CHECK_EQ(stats_of(c).offload_fallbacks, 1);
	CHECK_EQ(a->nr_copies, 1);
	copier_free(c);
	c = make_copier();
	job = job_of(a, 3, BS, a, 1, 0, ZONE - BS);
	CHECK_EQ(copier_run(c, &job), 0);
	check_data(a, 1, 0, ZONE - BS, BS);
	CHECK_EQ(a->nr_copies, 2);
	copier_free(c);
	zdev_close(&a->dev);
}

/* A device that never copies is asked ever more rarely; one that does again, always. */
static void refusals_are_remembered(void)
{
	struct shuffle *a = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job job;
	unsigned i, asked;

	for (i = 0; i < 1000; i++) {
		job = job_of(a, 3, 0, a, 1, 0, BS);
		CHECK_EQ(copier_run(c, &job), 0);
	}
	asked = a->nr_copies;
	CHECK(asked > 1 && asked < 15);
	CHECK_EQ(stats_of(c).offload_fallbacks, asked);
	a->copies = DONE;
	for (i = 0; i < 2048 && a->nr_copies == asked; i++) {
		job = job_of(a, 3, 0, a, 1, 0, BS);
		CHECK_EQ(copier_run(c, &job), 0);
	}
	for (i = 0; i < 10; i++) {
		job = job_of(a, 3, 0, a, 1, 0, BS);
		CHECK_EQ(copier_run(c, &job), 0);
	}
	CHECK_EQ(a->nr_copies, asked + 11);
	CHECK_EQ(stats_of(c).offload_bytes, 11 * BS);
	copier_free(c);
	zdev_close(&a->dev);
}

/* The share of time in which a copies, in percent. */
static unsigned share(struct shuffle *a, struct copier *c, unsigned nr)
{
	uint64_t start, busy;
	unsigned i;

	pthread_mutex_lock(&a->lock);
	busy = a->busy_ns;
	pthread_mutex_unlock(&a->lock);
	start = now_ns();
	for (i = 0; i < nr; i++) {
		struct copier_job job = job_of(a, 3, 0, a, 1, 0, ZONE);

		CHECK_EQ(copier_run(c, &job), 0);
	}
	pthread_mutex_lock(&a->lock);
	busy = a->busy_ns - busy;
	pthread_mutex_unlock(&a->lock);
	return (unsigned)(busy * 100 / (now_ns() - start));
}

static void the_throttle_leaves_time_to_others(void)
{
	struct shuffle *a = make_dev(REFUSED);
	struct copier *c = make_copier();

	fill(a, 3);
	a->delay_us = 1000;
	share(a, c, 1);		/* no more copies by the device from now on */
	CHECK(share(a, c, 3) > 50);
	copier_set_throttle(c, 20);
	CHECK(share(a, c, 6) <= 30);
	copier_set_throttle(c, 100);
	CHECK(share(a, c, 3) > 50);
	copier_free(c);
	zdev_close(&a->dev);
}

/* Taking the limit off ends the pause it has made. */
static void a_lifted_throttle_works_at_once(void)
{
	struct shuffle *a = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job first, second;
	struct group g = GROUP;
	uint64_t start;

	a->delay_us = 30000;
	copier_set_throttle(c, 1);
	first = job_of(a, 3, 0, a, 1, 0, BS);
	second = first;
	CHECK_EQ(copier_run(c, &first), 0);
	start = now_ns();
	group_start(&g, c, &second);
	copier_set_throttle(c, 100);
	group_wait(&g, 1);
	CHECK(now_ns() - start < 2000000000u);
	copier_free(c);
	zdev_close(&a->dev);
}

/* done() may submit the job again. */
static void chain_done(struct copier_job *job)
{
	struct group *g = job->owner;
	struct copier *c = (struct copier *)g->ended[0];

	CHECK_EQ(job->error, 0);
	job->dst[0].pos += job->len;
	job->src.pos += job->len;
	if (job->dst[0].pos < ZONE) {
		copier_submit(c, job);
		return;
	}
	pthread_mutex_lock(&g->lock);
	g->nr_done = 1;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void done_may_submit_again(void)
{
	struct shuffle *a = make_dev(REFUSED);
	struct copier *c = make_copier();
	struct copier_job job;
	struct group g = GROUP;

	fill(a, 3);
	job = job_of(a, 3, 0, a, 4, 0, 4 * BS);
	job.done = chain_done;
	job.owner = &g;
	g.ended[0] = (struct copier_job *)c;
	copier_submit(c, &job);
	group_wait(&g, 1);
	check_data(a, 4, 0, ZONE, 0);
	copier_free(c);
	zdev_close(&a->dev);
}

/*
 * Jobs of all kinds at once, against what the zones must hold. Sources are zones
 * that nobody writes.
 */
static void everything_at_once(unsigned seed)
{
	static char want[NR_ZONES][ZONE];
	static struct copier_job jobs[400];
	struct shuffle *a = make_dev(seed % 3);
	struct copier *c = make_copier();
	struct group g = GROUP;
	uint64_t at[NR_ZONES] = { 0 };
	unsigned i, nr = 0;

	memset(want, 0, sizeof(want));
	fill(a, 0);
	fill(a, 3);
	for (i = 0; i < 400; i++) {
		unsigned zno = 1 + (unsigned)rand_r(&seed) % (NR_ZONES - 1);
		uint64_t len = (1 + (unsigned)rand_r(&seed) % 40) * BS;
		uint64_t from = (unsigned)rand_r(&seed) % 200 * BS;
		bool zero = !((unsigned)rand_r(&seed) % 5);
		unsigned two = (unsigned)rand_r(&seed) % 4 ? 0 : 4 + (zno + 1) % 8;

		/* Each place once: jobs to a conventional zone are in no order. */
		if (zno == 3 || at[zno] + len > ZONE || two == zno || (two && at[two] + len > ZONE))
			continue;
		jobs[nr] = job_of(zero ? NULL : a, i % 2 ? 0 : 3, from, a, zno, at[zno], len);
		if (two) {
			jobs[nr].nr_dst = 2;
			jobs[nr].dst[1] = (struct copier_place) { &a->dev, two, at[two] };
			if (!zero)
				memcpy(want[two] + at[two], pattern + from, len);
			at[two] += len;
		}
		if (!zero)
			memcpy(want[zno] + at[zno], pattern + from, len);
		at[zno] += len;
		group_start(&g, c, &jobs[nr++]);
	}
	group_wait(&g, nr);
	for (i = 0; i < nr; i++)
		CHECK_EQ(jobs[i].error, 0);
	for (i = 1; i < NR_ZONES; i++) {
		if (i == 3)
			continue;
		CHECK_EQ(zdev_pread(a->next, i, 0, back, ZONE), ZONE);
		CHECK(!memcmp(back, want[i], at[i]));
		if (i >= NR_CONV)
			CHECK_EQ(wp(a, i), at[i]);
	}
	CHECK_EQ(stats_of(c).jobs, nr);
	copier_free(c);
	zdev_close(&a->dev);
}

static void all_kinds_of_jobs(void)
{
	for (unsigned seed = 1; seed <= 12; seed++)
		everything_at_once(seed);
}

/* Whatever fails, each job ends, and a zone holds a prefix of what it should. */
static void faults_anywhere(void)
{
	for (unsigned n = 0; n < 24; n++) {
		struct shuffle *a = make_dev(n % 3), *b = make_dev(n % 3);
		struct copier *c = make_copier();
		static struct copier_job jobs[16];
		struct group g = GROUP;

		copier_set_throttle(c, n % 2 ? 100 : 90);
		fill(a, 3);
		inject(a, n % 4 ? ZDEV_WRITE : ZDEV_READ, ZDEV_ALL_ZONES, EIO, n);
		for (unsigned i = 0; i < 16; i++) {
			jobs[i] = job_of(a, 3, i * PIECE, i % 2 ? b : a, 4, i / 2 * PIECE, PIECE);
			if (i % 4 == 1) {
				jobs[i].nr_dst = 2;
				jobs[i].dst[1] = (struct copier_place) { &a->dev, 5, i / 4 * PIECE };
			}
			group_start(&g, c, &jobs[i]);
		}
		group_wait(&g, 16);
		/* It may not have come to that. */
		inject(a, n % 4 ? ZDEV_WRITE : ZDEV_READ, ZDEV_ALL_ZONES, 0, 0);
		for (unsigned i = 0; i < 16; i++) {
			CHECK_EQ(!jobs[i].error, !jobs[i].failed);
			if (!(jobs[i].failed & 1))
				check_data(i % 2 ? b : a, 4, i / 2 * PIECE, PIECE, i * PIECE);
			if (i >= 2 && (jobs[i - 2].failed & 1))
				CHECK(jobs[i].failed & 1);
		}
		copier_free(c);
		zdev_close(&a->dev);
		zdev_close(&b->dev);
	}
}

int main(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i * 31 + i / 4096 + 1);
	RUN(copies_are_in_order);
	RUN(zeroes_need_no_source);
	RUN(one_source_goes_to_two_places);
	RUN(line_by_hand);
	RUN(line_by_the_device);
	RUN(line_by_both);
	RUN(a_failed_write_ends_the_line);
	RUN(a_failed_read_fails_all_destinations);
	RUN(the_device_copies_if_it_can);
	RUN(copies_that_fail_are_finished);
	RUN(refusals_are_remembered);
	RUN(the_throttle_leaves_time_to_others);
	RUN(a_lifted_throttle_works_at_once);
	RUN(done_may_submit_again);
	RUN(all_kinds_of_jobs);
	RUN(faults_anywhere);
	return 0;
}
