/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that fail (docs/dm-zoned-rules.md, part 21.9): the n-th write, flush,
 * reset or read of a workload, once or for good, with a part of a write landing,
 * at open, too; zones that wear out; devices that turn read-only. Each request
 * succeeds with the right data or tells an error, none hangs, and once the
 * device is well again, or after a power loss on top, what was flushed is there.
 *
 * usage: test-block-fault [seed [runs]]
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#include "block-rig.h"

#define KIB	1024u

static uint64_t rng;
static char context[256];

static uint64_t rnd(uint64_t n)
{
	return rec_rnd(&rng, n);
}

static const struct rig_shape shapes[] = {
	{ .zone_size = 256 * KIB, .nr_conv = 6, .nr_seq = 14, .reserve = 2, .block_size = 4096 },
	{ .zone_size = 256 * KIB, .nr_conv = 1, .nr_seq = 14, .nr_cache = 6, .reserve = 3,
	  .block_size = 4096 },
	{ .zone_size = 256 * KIB, .nr_conv = 9, .nr_seq = 57, .reserve = 3, .block_size = 512 },
};
#define NR_SHAPES	(sizeof(shapes) / sizeof(shapes[0]))

struct test {
	struct rig	rig;
	struct hist	*hist;
	struct runner	rn;
	uint64_t	size, chunk;
	bool		lost;	/* a zone is offline: what it held cannot be read */
};

/* ---- what is done meanwhile ---- */

/* Whole sectors: so much of a failed write is there or not. */
static void any_op(struct test *t)
{
	uint64_t len = (rnd(3) ? BLK : HIST_SECTOR) * (1 + rnd(rnd(6) ? 6 : 48));
	uint64_t pos = rnd(t->size / BLK) * BLK + (len % BLK ? rnd(8) * HIST_SECTOR : 0), src;

	if (len > t->size - pos)
		len = t->size - pos;
	switch (rnd(16)) {
	case 0: case 1:
		runner_start(&t->rn, BLOCK_FLUSH, false, 0, 0, 0);
		break;
	case 2:
		runner_start(&t->rn, BLOCK_WRITE, true, pos, len, 0);
		break;
	case 3:
		if (rnd(2)) {
			pos = pos / t->chunk * t->chunk;
			len = t->chunk;
		}
		runner_start(&t->rn, rnd(2) ? BLOCK_DISCARD : BLOCK_ZERO, false, pos, len, 0);
		break;
	case 4:
		src = (pos + t->size / 2) % t->size;
		if (src + len <= t->size && (src >= pos + len || pos >= src + len))
			runner_start(&t->rn, BLOCK_COPY, false, pos, len, src);
		break;
	case 5: case 6: case 7:
		runner_start(&t->rn, BLOCK_READ, false, pos, len, 0);
		break;
	case 8:
		pos = pos / t->chunk * t->chunk;
		runner_start(&t->rn, BLOCK_WRITE, false, pos, t->chunk / (1 + rnd(2)), 0);
		break;
	default:
		runner_start(&t->rn, BLOCK_WRITE, false, pos, len, 0);
	}
}

static void some_ops(struct test *t, unsigned n)
{
	while (n--) {
		any_op(t);
		if (rnd(25) == 0)
			block_reclaim(t->rig.b, false);
	}
}

/* Zones of all kinds in use: full, half full, buffered. */
static void prepare(struct test *t)
{
	uint64_t c;

	for (c = 0; c < t->size / t->chunk; c++)
		if (c % 4)
			runner_start(&t->rn, BLOCK_WRITE, false, c * t->chunk,
				     c % 4 == 1 ? t->chunk / 2 : t->chunk, 0);
	runner_one(&t->rn, BLOCK_FLUSH, false, 0, 0, 0);
	if (rnd(2))
		CHECK_EQ(block_reclaim(t->rig.b, true), 0);
	some_ops(t, 20);
	runner_drain(&t->rn);
}

static void begin(struct test *t, const struct rig_shape *shape)
{
	memset(t, 0, sizeof(*t));
	rig_create(&t->rig, shape);
	t->rig.copies = rnd(2);
	CHECK_EQ(rig_open(&t->rig), 0);
	t->size = block_size(t->rig.b);
	t->chunk = shape->zone_size;
	t->hist = hist_create(t->size, NULL);
	runner_init(&t->rn, &t->rig, t->hist);
	prepare(t);
	t->rn.faults = true;
}

static void end(struct test *t)
{
	hist_free(t->hist);
	rig_free(&t->rig);
}

/* ---- afterwards ---- */

/* A disk that is not read-only works again once its device does. */
static void works_again(struct test *t)
{
	unsigned i;

	for (i = 0; i < 5; i++)
		if (!runner_one(&t->rn, BLOCK_FLUSH, false, 0, 0, 0))
			return;
	CHECK(block_is_readonly(t->rig.b));
}

static void stop(struct test *t)
{
	struct hist_op op = { .kind = HIST_FLUSH };
	size_t nr;
	int ret;

	runner_end(&t->rn);
	CHECK(rig_compare(&t->rig, t->hist, UINT64_MAX, t->lost));
	CHECK_EQ(atomic_load(&t->rig.went_readonly), block_is_readonly(t->rig.b));
	op.start = rec_mark(t->rig.rec);
	nr = hist_start(t->hist, &op, NULL);
	ret = rig_close(&t->rig);
	hist_done(t->hist, nr, rec_mark(t->rig.rec), ret != 0);
}

/* Open once more, with the device well: all that was flushed is there, and stays. */
static void come_back(struct test *t, uint64_t events)
{
	CHECK_EQ(rig_check_crashed(&t->rig).errors, 0);
	CHECK_EQ(rig_open(&t->rig), 0);
	CHECK(rig_compare(&t->rig, t->hist, events, t->lost));
	CHECK_EQ(rig_run(&t->rig, BLOCK_DISCARD, 0, BLK, NULL), BLK);
	CHECK_EQ(rig_run(&t->rig, BLOCK_FLUSH, 0, 0, NULL), 0);
	CHECK_EQ(rig_close(&t->rig), 0);
	CHECK_EQ(rig_check(&t->rig).errors, 0);
}

/* Instead: the power is lost as well, at some moment. */
static void lose_power(struct test *t)
{
	uint64_t events = rnd(rec_events(t->rig.rec) + 1);
	enum rec_mood mood = (enum rec_mood)rnd(REC_NR_MOODS);
	struct test back = { .hist = t->hist };
	struct rec_image img;

	rec_build(t->rig.rec, events, mood, &rng, &img);
	rig_from_image(&back.rig, &t->rig, &img);
	rec_image_free(&img);
	come_back(&back, events);
	rig_free(&back.rig);
}

/* ---- faults ---- */

static void any_fault(struct zdev_fault *f)
{
	static const struct {
		enum zdev_op	op;
		uint32_t	skip;	/* of so many in a workload */
	} ops[] = {
		{ ZDEV_WRITE, 400 }, { ZDEV_WRITE, 100 }, { ZDEV_WRITE, 20 }, { ZDEV_FLUSH, 60 },
		{ ZDEV_FLUSH, 6 }, { ZDEV_RESET, 10 }, { ZDEV_READ, 100 }, { ZDEV_READ, 10 },
		{ ZDEV_FINISH, 2 }, { ZDEV_COPY, 5 },
	};
	static const int errs[] = { EIO, EIO, EIO, ENOSPC, ENODATA, ETIMEDOUT };
	static const uint32_t counts[] = { 1, 1, 1, 2, 5, 0 };
	uint64_t i = rnd(sizeof(ops) / sizeof(ops[0]));

	*f = (struct zdev_fault) {
		.op = ops[i].op, .zno = ZDEV_ALL_ZONES, .skip = (uint32_t)rnd(ops[i].skip),
		.err = errs[rnd(6)], .count = counts[rnd(6)],
		.partial = rnd(3) ? 0 : BLK * (1 + rnd(3)),
	};
}

static void say_fault(const struct zdev_fault *f, uint32_t dev, const char *when)
{
	size_t said = strlen(context);

	snprintf(context + said, sizeof(context) - said, ", %s: device %u zone %d op %d after %u"
		 ", error %d, %u times, %" PRIu64 " bytes land", when, dev, (int)f->zno, f->op,
		 f->skip, f->err, f->count, f->partial);
	rig_watch(120, "%s", context);
}

static void run_fault(const struct rig_shape *shape)
{
	struct zdev_fault f;
	struct test t;
	uint32_t dev;

	begin(&t, shape);
	any_fault(&f);
	dev = (uint32_t)rnd(t.rig.nr_devs);
	/* For good only in one zone, or nothing works. */
	if (!f.count && rnd(2))
		f.zno = (uint32_t)rnd(shape->nr_conv ? shape->nr_conv : 3);
	say_fault(&f, dev, "fault");
	rig_inject(&t.rig, dev, &f);
	some_ops(&t, 60 + (unsigned)rnd(100));
	runner_drain(&t.rn);
	rig_clear(&t.rig);
	works_again(&t);
	some_ops(&t, 10);
	stop(&t);
	if (rnd(3) == 0)
		lose_power(&t);
	come_back(&t, rec_events(t.rig.rec));
	end(&t);
}

/* The fault is met while the disk opens, after a power loss or a clean close. */
static void run_fault_at_open(const struct rig_shape *shape)
{
	struct test t, back;
	struct rec_image img;
	struct zdev_fault f;
	uint64_t events;

	begin(&t, shape);
	some_ops(&t, 40);
	stop(&t);
	events = rnd(2) ? rec_events(t.rig.rec) : rnd(rec_events(t.rig.rec) + 1);
	rec_build(t.rig.rec, events, (enum rec_mood)rnd(REC_NR_MOODS), &rng, &img);
	back = (struct test) { .hist = t.hist };
	rig_from_image(&back.rig, &t.rig, &img);
	rec_image_free(&img);

	any_fault(&f);
	f.skip %= 12;
	back.rig.at_open = &f;
	back.rig.at_open_dev = (uint32_t)rnd(back.rig.nr_devs);
	say_fault(&f, back.rig.at_open_dev, "at open");
	if (!rig_open(&back.rig)) {
		rig_clear(&back.rig);
		CHECK(rig_compare(&back.rig, t.hist, events, block_is_readonly(back.rig.b)));
		rig_close(&back.rig);
	}
	back.rig.at_open = NULL;
	come_back(&back, events);
	rig_free(&back.rig);
	end(&t);
}

/* A zone of a device wears out. Metadata has its own rules: not those. */
static void run_worn(const struct rig_shape *shape)
{
	struct test t;
	uint32_t dev, zno;
	uint8_t cond;

	begin(&t, shape);
	some_ops(&t, 20);
	dev = t.rig.nr_devs - 1;
	cond = rnd(2) ? BLK_ZONE_COND_READONLY : BLK_ZONE_COND_OFFLINE;
	zno = shape->nr_conv + (uint32_t)rnd(shape->nr_seq);
	if (dev && zno == 0)
		zno = 1;	/* where the tertiary super block is */
	snprintf(context + strlen(context), 60, ", zone %u of device %u turns %s", zno, dev,
		 cond == BLK_ZONE_COND_READONLY ? "read-only" : "offline");
	rig_watch(120, "%s", context);
	CHECK_EQ(zdev_set_cond(t.rig.top[dev], zno, cond), 0);
	t.lost = cond == BLK_ZONE_COND_OFFLINE;
	some_ops(&t, 100);
	runner_drain(&t.rn);
	stop(&t);
	come_back(&t, rec_events(t.rig.rec));
	end(&t);
}

static const enum zdev_op changes[] = {
	ZDEV_WRITE, ZDEV_RESET, ZDEV_FINISH, ZDEV_DISCARD, ZDEV_COPY,
};

/* From some moment on a device takes no change any more, as one that is write protected. */
static void run_protected(const struct rig_shape *shape)
{
	uint32_t skip = (uint32_t)rnd(40), d;
	int err = rnd(2) ? EROFS : EPERM;
	struct test t;
	size_t i;

	begin(&t, shape);
	snprintf(context + strlen(context), 60, ", read-only after %u, error %d", skip, err);
	rig_watch(120, "%s", context);
	for (d = 0; d < t.rig.nr_devs; d++)
		for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
			rig_inject(&t.rig, d, &(struct zdev_fault) {
				.op = changes[i], .zno = ZDEV_ALL_ZONES, .err = err, .skip = skip,
			});
	some_ops(&t, 150);
	while (!runner_one(&t.rn, BLOCK_WRITE, true, rnd(t.size / BLK) * BLK, BLK, 0))
		;
	CHECK(runner_one(&t.rn, BLOCK_WRITE, true, 0, BLK, 0) < 0);
	CHECK(runner_one(&t.rn, BLOCK_FLUSH, false, 0, 0, 0) < 0);
	CHECK(block_is_readonly(t.rig.b));
	CHECK_EQ(atomic_load(&t.rig.went_readonly), 1);
	CHECK_EQ(runner_one(&t.rn, BLOCK_WRITE, false, 0, BLK, 0), -EROFS);
	CHECK_EQ(runner_one(&t.rn, BLOCK_DISCARD, false, 0, BLK, 0), -EROFS);
	CHECK(block_reclaim(t.rig.b, true) < 0);
	stop(&t);
	come_back(&t, rec_events(t.rig.rec));
	end(&t);
}

static void run(uint64_t seed)
{
	static const struct {
		const char	*name;
		void		(*run)(const struct rig_shape *shape);
	} kinds[] = {
		{ "fault", run_fault }, { "fault", run_fault }, { "fault", run_fault },
		{ "fault", run_fault }, { "open", run_fault_at_open }, { "worn", run_worn },
		{ "protected", run_protected },
	};
	uint64_t kind, shape;

	rng = rec_seed(seed);
	kind = rnd(sizeof(kinds) / sizeof(kinds[0]));
	shape = rnd(NR_SHAPES);
	snprintf(context, sizeof(context), "seed %" PRIu64 ": %s, disk %" PRIu64, seed,
		 kinds[kind].name, shape);
	rig_watch(120, "%s", context);
	kinds[kind].run(&shapes[shape]);
}

static void say_where(int sig)
{
	if (write(2, context, strlen(context)) < 0 || write(2, "\n", 1) < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	bool stress = getenv("STRESS");
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	unsigned long runs = argc > 2 ? strtoul(argv[2], NULL, 0) : ULONG_MAX, i;
	time_t until = time(NULL) + (stress ? 900 : 12);

	signal(SIGABRT, say_where);
	printf("seeds from %" PRIu64 " on\n", seed);
	fflush(stdout);
	for (i = 0; i < runs && (argc > 2 || time(NULL) < until); i++)
		run(seed + i);
	printf("%lu runs\n", i);
	return 0;
}
