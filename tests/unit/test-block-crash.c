/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power loss at any moment (docs/dm-zoned-rules.md, part 21): workloads with
 * flushes run on recorded devices; for moments at and between the boundaries of
 * their flushes, resets and super block writes the media are rebuilt as a
 * volatile cache may leave them. Then the disk must open, check clean, and hold
 * what was flushed or something later; go on from there, close, check clean, open
 * again and hold the same; and survive further crashes on the way.
 *
 * usage: test-block-crash [seed [points [workload]]]
 * points: moments for each workload and disk; with STRESS each workload runs on each
 * disk, all boundaries are taken and 1000 random moments a workload besides.
 */
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "block-rig.h"

static uint64_t rng;
static char context[256];

static uint64_t rnd(uint64_t n)
{
	return rec_rnd(&rng, n);
}

/* ---- the disks ---- */

#define KIB	1024u

static const struct rig_shape shapes[] = {
	{ .zone_size = 256 * KIB, .nr_conv = 6, .nr_seq = 20, .reserve = 2, .block_size = 4096 },
	/* Metadata sets of two zones each. */
	{ .zone_size = 256 * KIB, .nr_conv = 10, .nr_seq = 57, .reserve = 3, .block_size = 4096 },
	{ .zone_size = 256 * KIB, .nr_conv = 2, .nr_seq = 20, .nr_cache = 6, .reserve = 4,
	  .block_size = 4096 },
	{ .zone_size = 1024 * KIB, .nr_conv = 7, .nr_seq = 12, .reserve = 1, .block_size = 512 },
	{ .zone_size = 256 * KIB, .nr_conv = 0, .nr_seq = 24, .nr_cache = 7, .runt = 64 * KIB,
	  .reserve = 4, .block_size = 512 },
};
#define NR_SHAPES	(sizeof(shapes) / sizeof(shapes[0]))

/* ---- what is done to them ---- */

struct session {
	struct rig	rig;
	struct hist	*hist;
	struct runner	rn;
	uint64_t	size, chunk;
};

static void flush(struct session *s)
{
	runner_start(&s->rn, BLOCK_FLUSH, false, 0, 0, 0);
}

static void put(struct session *s, uint64_t block, uint64_t nr)
{
	uint64_t nr_blocks = s->size / BLK;

	block %= nr_blocks;
	if (nr > nr_blocks - block)
		nr = nr_blocks - block;
	runner_start(&s->rn, BLOCK_WRITE, false, block * BLK, nr * BLK, 0);
}

/* Mostly small, some of whole chunks, some not aligned at all. */
static void any_range(const struct session *s, uint64_t *pos, uint64_t *len)
{
	switch (rnd(10)) {
	case 0:
		*len = s->chunk * (1 + rnd(2));
		*pos = rnd(s->size / s->chunk) * s->chunk;
		break;
	case 1:
		*len = 1 + rnd(3 * BLK);
		*pos = rnd(s->size - *len);
		return;
	case 2:
		*len = 512 * (1 + rnd(20));
		*pos = rnd(s->size / 512) * 512;
		break;
	default:
		*len = BLK * (1 + rnd(rnd(4) ? 4 : 40));
		*pos = rnd(s->size / BLK) * BLK;
	}
	if (*len > s->size - *pos)
		*len = s->size - *pos;
}

static void any_op(struct session *s)
{
	uint64_t pos, len, src;

	any_range(s, &pos, &len);
	switch (rnd(20)) {
	case 0: case 1:
		flush(s);
		break;
	case 2: case 3:
		runner_start(&s->rn, BLOCK_WRITE, true, pos, len, 0);
		break;
	case 4:
		runner_start(&s->rn, rnd(2) ? BLOCK_DISCARD : BLOCK_ZERO, rnd(2), pos, len, 0);
		break;
	case 5: case 6:
		src = rnd(s->size - len + 1) / BLK * BLK;
		pos = pos / BLK * BLK;
		len = len < BLK ? BLK : len / BLK * BLK;
		if ((src >= pos + len || pos >= src + len) && src + len <= s->size &&
		    pos + len <= s->size)
			runner_start(&s->rn, BLOCK_COPY, rnd(4) == 0, pos, len, src);
		break;
	case 7: case 8:
		runner_start(&s->rn, BLOCK_READ, false, pos, len, 0);
		break;
	default:
		runner_start(&s->rn, BLOCK_WRITE, false, pos, len, 0);
	}
}

/* Commits of one dirty block, of many, of zones far apart; nothing else. */
static void work_commits(struct session *s, unsigned steps)
{
	unsigned i, k;

	for (i = 0; i < steps / 6; i++) {
		for (k = 0; k < (i % 3 ? 1 : 6); k++)
			put(s, rnd(s->size / BLK), 1 + rnd(3));
		runner_drain(&s->rn);
		if (i % 5 == 4)
			runner_one(&s->rn, BLOCK_WRITE, true, rnd(s->size / BLK) * BLK, BLK, 0);
		else
			flush(s);
		if (i % 2)
			runner_drain(&s->rn);
	}
}

static void work_mixed(struct session *s, unsigned steps)
{
	unsigned i;

	for (i = 0; i < steps; i++)
		any_op(s);
}

/* All of the disk from its start on: a full chunk in each zone. */
static void fill(struct session *s)
{
	uint64_t pos, len;

	for (pos = 0; pos < s->size; pos += len) {
		len = s->size - pos < 32 * BLK ? s->size - pos : 32 * BLK;
		runner_start(&s->rn, BLOCK_WRITE, false, pos, len, 0);
	}
	runner_drain(&s->rn);
}

/* A full disk under random overwrites: reclaim runs all the time. */
static void work_full(struct session *s, unsigned steps)
{
	unsigned i;

	fill(s);
	flush(s);
	for (i = 0; i < steps; i++) {
		if (rnd(15) == 0)
			flush(s);
		put(s, rnd(s->size / BLK), 1 + rnd(6));
	}
}

/* Few chunks whose zones are given up and taken again by others before a commit. */
static void work_reuse(struct session *s, unsigned steps)
{
	uint64_t nr = s->size / s->chunk, c;
	unsigned i;

	fill(s);
	for (i = 0; i < steps; i++) {
		c = rnd(nr);
		switch (rnd(6)) {
		case 0: case 1:
			runner_start(&s->rn, rnd(2) ? BLOCK_DISCARD : BLOCK_ZERO, rnd(8) == 0,
				     c * s->chunk, s->chunk, 0);
			break;
		case 2:
			runner_start(&s->rn, BLOCK_WRITE, false, c * s->chunk, s->chunk, 0);
			break;
		case 3:
			put(s, c * (s->chunk / BLK) + rnd(s->chunk / BLK), 1 + rnd(4));
			break;
		case 4:
			/* A buffer that this empties: the same blocks again, then gone. */
			put(s, c * (s->chunk / BLK) + 5, 2);
			runner_drain(&s->rn);
			runner_start(&s->rn, BLOCK_DISCARD, false, c * s->chunk + 5 * BLK,
				     2 * BLK, 0);
			break;
		default:
			if (rnd(3) == 0)
				flush(s);
		}
	}
}

/*
 * Chunks in sequential zones that are partly written; over them direct writes at
 * the pointer, buffered ones below it and across it; reclaim by hand of each.
 */
static void work_buffers(struct session *s, unsigned steps)
{
	uint64_t blocks = s->chunk / BLK, nr = s->size / s->chunk, c;
	unsigned i;

	for (c = 0; c < nr / 2; c++)
		put(s, c * blocks, blocks / 2);
	runner_drain(&s->rn);
	block_reclaim(s->rig.b, true);
	for (i = 0; i < steps; i++) {
		c = rnd(nr / 2);
		switch (rnd(8)) {
		case 0: case 1:
			put(s, c * blocks + blocks / 2 + rnd(6), 1 + rnd(4));
			break;
		case 2: case 3:
			put(s, c * blocks + rnd(blocks / 2), 1 + rnd(4));
			break;
		case 4:
			put(s, c * blocks + blocks / 2 - 2, 5);
			break;
		case 5:
			put(s, c * blocks + blocks / 2 + 8 + rnd(blocks / 4), 2);
			break;
		case 6:
			flush(s);
			break;
		default:
			if (rnd(6) == 0) {
				if (rnd(2))
					runner_drain(&s->rn);
				block_reclaim(s->rig.b, rnd(2));
			}
		}
	}
}

static const struct workload {
	const char	*name;
	void		(*run)(struct session *s, unsigned steps);
	unsigned	steps;
} workloads[] = {
	{ "commits",	work_commits,	150 },
	{ "mixed",	work_mixed,	250 },
	{ "full",	work_full,	300 },
	{ "reuse",	work_reuse,	200 },
	{ "buffers",	work_buffers,	250 },
};
#define NR_WORKLOADS	(sizeof(workloads) / sizeof(workloads[0]))

/* ---- what is left of them ---- */

/* Changes to a disk that came back, so that later commits meet what a crash left. */
static void go_on(struct session *s)
{
	unsigned i, n = 1 + (unsigned)rnd(25);

	runner_init(&s->rn, &s->rig, s->hist);
	for (i = 0; i < n; i++)
		any_op(s);
	if (rnd(4) == 0)
		block_reclaim(s->rig.b, true);
	runner_one(&s->rn, BLOCK_FLUSH, false, 0, 0, 0);
	for (i = 0; i < rnd(6); i++)
		any_op(s);
	runner_end(&s->rn);
}

/* A clean close is a flush. */
static void close_disk(struct session *s)
{
	struct hist_op op = { .kind = HIST_FLUSH, .start = rec_mark(s->rig.rec) };
	size_t nr = hist_start(s->hist, &op, NULL);

	CHECK_EQ(rig_close(&s->rig), 0);
	hist_done(s->hist, nr, rec_mark(s->rig.rec), false);
}

static void check_closed(struct session *s)
{
	struct dmz_check_result res = rig_check(&s->rig);

	CHECK_EQ(res.errors, 0);
	CHECK(!res.needs_sync);
}

static void compare(struct session *s)
{
	uint8_t *data = rig_read_all(&s->rig);

	CHECK(hist_current(s->hist, 0, data, s->size));
	free(data);
}

static void end_session(struct session *s)
{
	CHECK_EQ(rec_refused(s->rig.rec), 0);
	hist_free(s->hist);
	rig_free(&s->rig);
}

/* Nothing of the first life may be wrong in the second. */
static void come_back(const struct session *first, struct session *s, uint64_t events,
		      enum rec_mood mood)
{
	uint8_t *data;

	CHECK_EQ(rig_check_crashed(&s->rig).errors, 0);
	CHECK_EQ(rig_open(&s->rig), 0);
	s->size = block_size(s->rig.b);
	s->chunk = first->chunk;
	CHECK_EQ(s->size, first->size);
	data = rig_read_all(&s->rig);
	if (!hist_allows(first->hist, events, 0, data, s->size)) {
		fprintf(stderr, "power lost after event %" PRIu64 ", mood %s, after:\n", events,
			rec_mood_names[mood]);
		rec_print(first->rig.rec, events < 60 ? 0 : events - 60, events);
		abort();
	}
	s->hist = hist_create(s->size, data);
	free(data);
}

static uint64_t some_event(struct rec *r)
{
	uint64_t *at, all = rec_events(r), event;
	size_t nr = rec_boundaries(r, &at);

	event = nr && rnd(3) ? at[rnd(nr)] : rnd(all + 1);
	free(at);
	return event;
}

static void crash(struct session *first, uint64_t events, enum rec_mood mood, unsigned depth)
{
	struct session s = { .size = 0 };
	struct rec_image img;
	size_t said = strlen(context);

	snprintf(context + said, sizeof(context) - said, ", event %" PRIu64 " %s", events,
		 rec_mood_names[mood]);
	rig_watch(300, "%s", context);
	rec_build(first->rig.rec, events, mood, &rng, &img);
	rig_from_image(&s.rig, &first->rig, &img);
	rec_image_free(&img);
	come_back(first, &s, events, mood);
	go_on(&s);
	close_disk(&s);
	check_closed(&s);
	CHECK_EQ(rig_open(&s.rig), 0);
	compare(&s);
	close_disk(&s);
	check_closed(&s);
	if (depth && rnd(3) == 0)
		crash(&s, some_event(s.rig.rec), (enum rec_mood)rnd(REC_NR_MOODS), depth - 1);
	end_session(&s);
	context[said] = '\0';
}

/* ---- runs ---- */

static void crash_everywhere(struct session *s)
{
	uint64_t *at;
	size_t nr = rec_boundaries(s->rig.rec, &at), i;

	for (i = 0; i < nr; i++)
		crash(s, at[i], (enum rec_mood)rnd(REC_NR_MOODS), 2);
	free(at);
}

static void run(uint64_t seed, const struct workload *w, const struct rig_shape *shape,
		unsigned points, bool boundaries)
{
	struct session s = { .chunk = shape->zone_size };
	unsigned i;

	rng = rec_seed(seed);
	snprintf(context, sizeof(context), "seed %" PRIu64 ", workload %s, disk %zu", seed,
		 w->name, (size_t)(shape - shapes));
	printf("%s\n", context);
	fflush(stdout);
	rig_watch(300, "%s", context);
	rig_create(&s.rig, shape);
	s.rig.copies = rnd(2);
	s.rig.jitter = rnd(2) ? 0 : 200;
	CHECK_EQ(rig_open(&s.rig), 0);
	s.size = block_size(s.rig.b);
	s.hist = hist_create(s.size, NULL);
	runner_init(&s.rn, &s.rig, s.hist);
	w->run(&s, w->steps);
	runner_end(&s.rn);
	compare(&s);
	close_disk(&s);
	check_closed(&s);
	s.rig.jitter = 0;

	if (boundaries)
		crash_everywhere(&s);
	for (i = 0; i < points; i++)
		crash(&s, boundaries ? rnd(rec_events(s.rig.rec) + 1) : some_event(s.rig.rec),
		      (enum rec_mood)rnd(REC_NR_MOODS), 2);
	end_session(&s);
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
	unsigned points = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : stress ? 200 : 12;
	const char *only = argc > 3 ? argv[3] : NULL;
	size_t w, d;

	signal(SIGABRT, say_where);
	printf("test-block-crash %" PRIu64 " %u\n", seed, points);
	for (w = 0; w < NR_WORKLOADS; w++)
		for (d = 0; d < NR_SHAPES; d++) {
			/* Each workload on one disk, all disks in turn. */
			if (!stress && (seed + w) % NR_SHAPES != d)
				continue;
			if (!only || !strcmp(only, workloads[w].name))
				run(seed + w * NR_SHAPES + d, &workloads[w], &shapes[d], points, stress);
		}
	printf("reclaim: %" PRIu64 " empty, %" PRIu64 " moved, %" PRIu64 " appended, %" PRIu64
	       " merged, %" PRIu64 " rewritten; %" PRIu64 " commits\n", rig_totals.reclaim_empty,
	       rig_totals.reclaim_move, rig_totals.reclaim_append, rig_totals.reclaim_merge,
	       rig_totals.reclaim_rewrite, rig_totals.commits);
	return 0;
}
