/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk under test: see block-rig.h. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>

#include "../../src/zdev/zdev_i.h"
#include "../support/pattern.h"
#include "block-rig.h"

struct block_stats rig_totals;

/* ---- devices ---- */

static void shapes(const struct rig_shape *s, struct rec_shape *shape)
{
	uint32_t d = 0;

	if (s->nr_cache)
		shape[d++] = (struct rec_shape) {
			.zone_size = s->zone_size, .block_size = 4096, .runt = s->runt,
			.nr_zones = s->nr_cache, .nr_conv = s->nr_cache,
		};
	shape[d] = (struct rec_shape) {
		.zone_size = s->zone_size, .block_size = s->block_size,
		.nr_zones = s->nr_conv + s->nr_seq, .nr_conv = s->nr_conv,
	};
}

void rig_from_image(struct rig *r, const struct rig *like, const struct rec_image *img)
{
	uint32_t d;

	*r = (struct rig) {
		.shape = like->shape, .nr_devs = like->nr_devs, .copies = like->copies,
		.jitter = like->jitter, .no_reclaim = like->no_reclaim,
		.verbose = like->verbose,
	};
	for (d = 0; d < r->nr_devs; d++)
		r->medium[d] = rec_image_device(img, d);
	r->rec = rec_create(img);
}

static void format(struct rig *r)
{
	struct dmz_format_opts opts = {
		.label = "rig", .nr_reserved_seq = r->shape.reserve,
	};
	struct dmz_devs *devs = rig_devs(r);
	struct zerr e = { "" };
	int ret;

	ret = dmz_format(devs, &opts, NULL, &e);
	if (ret)
		fprintf(stderr, "format: %s\n", e.msg);
	CHECK_EQ(ret, 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

void rig_create(struct rig *r, const struct rig_shape *shape)
{
	struct rig like = { .shape = *shape, .nr_devs = shape->nr_cache ? 2 : 1 };
	struct rec_shape rs[REC_MAX_DEVS];
	struct rec_image empty, formatted;
	uint64_t rng = 1;

	shapes(shape, rs);
	rec_image_init(&empty, rs, like.nr_devs);
	rig_from_image(r, &like, &empty);
	format(r);
	/* Begin the record with a formatted disk. */
	rec_build(r->rec, rec_events(r->rec), REC_KEEP, &rng, &formatted);
	rec_free(r->rec);
	r->rec = rec_create(&formatted);
	rec_image_free(&empty);
	rec_image_free(&formatted);
}

void rig_free(struct rig *r)
{
	uint32_t d;

	CHECK(!r->b);
	for (d = 0; d < r->nr_devs; d++)
		CHECK_EQ(zdev_close(r->medium[d]), 0);
	rec_free(r->rec);
}

struct dmz_devs *rig_devs(struct rig *r)
{
	struct dmz_devs *devs;
	struct zerr e = { "" };
	uint32_t d;
	int ret;

	for (d = 0; d < r->nr_devs; d++) {
		struct zdev *dev = rec_stack(r->rec, d, r->medium[d], r->copies, r->jitter);

		CHECK_EQ(zdev_fault_stack(dev, &r->top[d]), 0);
	}
	ret = dmz_devs_join(r->top, r->nr_devs, &devs, &e);
	if (ret)
		fprintf(stderr, "join: %s\n", e.msg);
	CHECK_EQ(ret, 0);
	return devs;
}

static void went_readonly(void *ctx)
{
	struct rig *r = ctx;

	atomic_fetch_add(&r->went_readonly, 1);
}

static void say(void *ctx, enum zlog_level level, const char *line)
{
	fprintf(stderr, "  log: %s\n", line);
}

int rig_open(struct rig *r)
{
	static const struct zlog log = { .write = say, .max_level = ZLOG_DEBUG };
	struct block_opts opts = {
		.no_reclaim = r->no_reclaim, .went_readonly = went_readonly, .ctx = r,
		.log = r->verbose ? &log : NULL,
	};
	struct dmz_devs *devs = rig_devs(r);
	struct zerr e = { "" };
	int ret;

	if (r->at_open)
		rig_inject(r, r->at_open_dev, r->at_open);
	ret = block_open(devs, &opts, &r->b, &e);
	if (ret) {
		if (!r->at_open)
			fprintf(stderr, "open: %s\n", e.msg);
		CHECK(e.msg[0]);
		r->b = NULL;
		dmz_devs_close(devs);
	}
	return ret;
}

int rig_close(struct rig *r)
{
	struct block_stats st;
	int ret;

	block_get_stats(r->b, &st);
#define ADD(name) rig_totals.name += st.name
	ADD(commits);
	ADD(direct_writes);
	ADD(buffered_writes);
	ADD(reclaim_empty);
	ADD(reclaim_move);
	ADD(reclaim_append);
	ADD(reclaim_merge);
	ADD(reclaim_rewrite);
	ADD(copies);
	ADD(offload_bytes);
	ADD(offload_fallbacks);
	ADD(waits_for_zone);
#undef ADD
	ret = block_close(r->b);
	r->b = NULL;
	return ret;
}

struct findings {
	bool		verbose, crashed;
	unsigned	excused;
};

/* What a power loss leaves of a commit, or of a write in smaller blocks. */
static bool is_excused(const char *text)
{
	if (!strncmp(text, "set ", 4))
		return !strstr(text, "older");
	return strstr(text, "the sets differ") || strstr(text, "the write pointer, at");
}

static void found(void *ctx, enum dmz_severity sev, const char *text)
{
	struct findings *f = ctx;

	if (sev == DMZ_ERROR && f->crashed && is_excused(text))
		f->excused++;
	else if (sev == DMZ_ERROR || f->verbose)
		fprintf(stderr, "  check: %s: %s\n", sev == DMZ_ERROR ? "error" : "note", text);
}

static struct dmz_check_result check(struct rig *r, bool crashed)
{
	struct findings f = { .verbose = r->verbose, .crashed = crashed };
	struct dmz_check_opts opts = { .found = found, .ctx = &f };
	struct dmz_devs *devs = rig_devs(r);
	struct dmz_check_result res;
	struct zerr e = { "" };
	int ret;

	ret = dmz_check(devs, &opts, &res, &e);
	if (ret)
		fprintf(stderr, "check: %s\n", e.msg);
	CHECK_EQ(ret, 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
	res.errors -= f.excused;
	return res;
}

struct dmz_check_result rig_check(struct rig *r)
{
	return check(r, false);
}

struct dmz_check_result rig_check_crashed(struct rig *r)
{
	return check(r, true);
}

void rig_inject(struct rig *r, uint32_t d, const struct zdev_fault *f)
{
	CHECK_EQ(zdev_inject(r->top[d], f), 0);
}

void rig_clear(struct rig *r)
{
	static const enum zdev_op ops[] = {
		ZDEV_READ, ZDEV_WRITE, ZDEV_RESET, ZDEV_FINISH, ZDEV_FLUSH, ZDEV_COPY,
		ZDEV_DISCARD,
	};
	uint32_t d;
	size_t i;

	for (d = 0; d < r->nr_devs; d++)
		for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
			rig_inject(r, d, &(struct zdev_fault) {
				.op = ops[i], .zno = ZDEV_ALL_ZONES,
			});
}

ssize_t rig_run(struct rig *r, enum block_op op, uint64_t pos, uint64_t len, void *buf)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct block_io io = {
		.op = op, .pos = pos, .len = len, .iov = &iov, .nr_iov = 1,
	};

	return block_run(r->b, &io);
}

uint8_t *rig_read_all(struct rig *r)
{
	uint64_t size = block_size(r->b), pos, n;
	uint8_t *data = malloc(size);

	CHECK(data);
	for (pos = 0; pos < size; pos += n) {
		n = size - pos < 1 << 20 ? size - pos : 1 << 20;
		CHECK_EQ(rig_run(r, BLOCK_READ, pos, n, data + pos), n);
	}
	return data;
}

bool rig_compare(struct rig *r, const struct hist *h, uint64_t events, bool lost)
{
	uint64_t size = block_size(r->b), pos, n;
	uint8_t *data = malloc(16 * BLK);
	bool ok = true;

	CHECK(data);
	for (pos = 0; pos < size && ok; pos += n) {
		n = lost ? BLK : 16 * BLK;
		if (rig_run(r, BLOCK_READ, pos, n, data) == (ssize_t)n)
			ok = events == UINT64_MAX ? hist_current(h, pos, data, n) :
						    hist_allows(h, events, pos, data, n);
		else
			ok = lost;
	}
	free(data);
	return ok;
}

/* ---- the watchdog ---- */

static char watched[256];

static void bark(int sig)
{
	static const char text[] = "hangs: ";

	if (write(2, text, sizeof(text) - 1) >= 0 && write(2, watched, strlen(watched)) >= 0)
		abort();
	abort();
}

void rig_watch(unsigned seconds, const char *fmt, ...)
{
	va_list ap;

	alarm(0);
	va_start(ap, fmt);
	vsnprintf(watched, sizeof(watched) - 1, fmt, ap);
	va_end(ap);
	strcat(watched, "\n");
	signal(SIGALRM, bark);
	alarm(seconds);
}

/* ---- requests ---- */

void runner_init(struct runner *rn, struct rig *r, struct hist *h)
{
	memset(rn, 0, sizeof(*rn));
	rn->rig = r;
	rn->hist = h;
	rn->size = block_size(r->b);
	rn->use = calloc(rn->size / BLK, sizeof(*rn->use));
	rn->unknown = calloc(1, rn->size / BLK);
	CHECK(rn->use && rn->unknown);
	pthread_mutex_init(&rn->lock, NULL);
	pthread_cond_init(&rn->cond, NULL);
}

static bool range_free(const struct runner *rn, uint64_t pos, uint64_t len, bool write)
{
	uint64_t i;

	for (i = pos / BLK; len && i <= (pos + len - 1) / BLK; i++)
		if (rn->use[i] < 0 || (write && rn->use[i]))
			return false;
	return true;
}

static void range_use(struct runner *rn, uint64_t pos, uint64_t len, bool write, int by)
{
	uint64_t i;

	for (i = pos / BLK; len && i <= (pos + len - 1) / BLK; i++)
		rn->use[i] = (int16_t)(rn->use[i] + (write ? -by : by));
}

static void use(struct runner *rn, const struct block_io *io, int by)
{
	if (io->op == BLOCK_FLUSH)
		return;
	range_use(rn, io->pos, io->len, io->op != BLOCK_READ, by);
	if (io->op == BLOCK_COPY)
		range_use(rn, io->src, io->len, false, by);
}

static void slot_done(struct block_io *io)
{
	struct runner_slot *s = (struct runner_slot *)io;
	struct runner *rn = s->runner;
	uint64_t at = rec_mark(rn->rig->rec);

	pthread_mutex_lock(&rn->lock);
	s->done_at = at;
	s->state = SLOT_DONE;
	pthread_cond_signal(&rn->cond);
	pthread_mutex_unlock(&rn->lock);
}

static bool range_known(const struct runner *rn, uint64_t pos, uint64_t len)
{
	return !len || !memchr(rn->unknown + pos / BLK, 1, (pos + len - 1) / BLK - pos / BLK + 1);
}

static void set_known(struct runner *rn, uint64_t pos, uint64_t len, bool known)
{
	if (len)
		memset(rn->unknown + pos / BLK, !known, (pos + len - 1) / BLK - pos / BLK + 1);
}

/* What was read where old or new data may be: now it is known. */
static void learn(struct runner *rn, uint64_t pos, uint64_t len, const uint8_t *data)
{
	struct hist_op op = { .kind = HIST_FOUND, .pos = pos, .len = len };
	size_t nr;

	CHECK(hist_current(rn->hist, pos, data, len));
	op.start = rec_mark(rn->rig->rec);
	nr = hist_start(rn->hist, &op, data);
	hist_done(rn->hist, nr, rec_mark(rn->rig->rec), false);
}

/* What a failed write left is found out by reading the blocks, if that works. */
static void find_out(struct runner *rn, uint64_t pos, uint64_t len)
{
	uint64_t end = (pos + len + BLK - 1) / BLK * BLK;
	uint8_t *data;

	pos = pos / BLK * BLK;
	len = end - pos;
	data = malloc(len + 1);
	CHECK(data);
	set_known(rn, pos, len, false);
	if (rig_run(rn->rig, BLOCK_READ, pos, len, data) == (ssize_t)len) {
		learn(rn, pos, len, data);
		set_known(rn, pos, len, true);
	}
	free(data);
}

static void explain_failure(const struct runner_slot *s)
{
	fprintf(stderr, "request %d pos %" PRIu64 " len %" PRIu64 " src %" PRIu64 ": %zd\n",
		s->io.op, s->io.pos, s->io.len, s->io.src, s->io.result);
}

/* What a request that is done tells. */
static void settle(struct runner *rn, struct runner_slot *s)
{
	struct block_io *io = &s->io;
	bool failed = io->result < 0;

	use(rn, io, -1);
	if (failed)
		rn->nr_errors++;
	if (failed && !rn->faults)
		explain_failure(s);
	CHECK(!failed || rn->faults);
	if (!failed)
		CHECK_EQ(io->result, io->op == BLOCK_FLUSH ? 0 : io->len);
	if (io->op != BLOCK_READ) {
		hist_done(rn->hist, s->hist, s->done_at, failed);
		if (failed && io->op != BLOCK_FLUSH)
			find_out(rn, io->pos, io->len);
	} else if (!failed && !range_known(rn, io->pos, io->len)) {
		CHECK(hist_current(rn->hist, io->pos, s->buf, io->len));
	} else if (!failed) {
		CHECK(!memcmp(s->buf, hist_latest(rn->hist) + io->pos, io->len));
	}
	free(s->buf);
	s->buf = NULL;
}

/* One that is done, of those in flight. rn->lock is held. */
static struct runner_slot *find_done(struct runner *rn)
{
	unsigned i;

	for (i = 0; i < RUNNER_DEPTH; i++)
		if (rn->slot[i].state == SLOT_DONE)
			return &rn->slot[i];
	return NULL;
}

/* Settle what is done; wait until at most `most` are in flight. */
static void reap(struct runner *rn, unsigned most)
{
	struct runner_slot *s;

	pthread_mutex_lock(&rn->lock);
	while ((s = find_done(rn)) || rn->busy > most) {
		if (!s) {
			pthread_cond_wait(&rn->cond, &rn->lock);
			continue;
		}
		pthread_mutex_unlock(&rn->lock);
		settle(rn, s);
		pthread_mutex_lock(&rn->lock);
		s->state = SLOT_FREE;
		rn->busy--;
	}
	pthread_mutex_unlock(&rn->lock);
}

void runner_drain(struct runner *rn)
{
	reap(rn, 0);
}

/* Several pieces of any length, so that none is aligned. */
static void scatter(struct runner_slot *s, uint64_t len)
{
	uint64_t a = len > 3 ? (s->hist * 7919) % (len / 2) + 1 : len;
	uint64_t b = len > 3 ? (len - a) / 2 : 0;
	int n = 0;

	s->iov[n++] = (struct iovec) { s->buf, a };
	if (b)
		s->iov[n++] = (struct iovec) { s->buf + a, b };
	if (len - a - b)
		s->iov[n++] = (struct iovec) { s->buf + a + b, len - a - b };
	s->io.iov = s->iov;
	s->io.nr_iov = n;
}

static const enum hist_kind kinds[] = {
	[BLOCK_WRITE] = HIST_WRITE, [BLOCK_DISCARD] = HIST_ZERO, [BLOCK_ZERO] = HIST_ZERO,
	[BLOCK_FLUSH] = HIST_FLUSH, [BLOCK_COPY] = HIST_COPY,
};

static void note(struct runner *rn, struct runner_slot *s)
{
	struct hist_op op = {
		.fua = s->io.fua, .pos = s->io.pos, .len = s->io.len, .src = s->io.src,
	};

	if (s->io.op == BLOCK_READ)
		return;
	op.kind = kinds[s->io.op];
	if (s->io.op == BLOCK_WRITE)
		pattern_fill(s->buf, s->io.len, s->io.pos, hist_nr(rn->hist) + 1);
	op.start = rec_mark(rn->rig->rec);
	s->hist = hist_start(rn->hist, &op, s->buf);
}

static struct runner_slot *free_slot(struct runner *rn)
{
	struct runner_slot *s = rn->slot;

	pthread_mutex_lock(&rn->lock);
	while (s->state != SLOT_FREE)
		s++;
	memset(s, 0, sizeof(*s));
	s->state = SLOT_BUSY;
	pthread_mutex_unlock(&rn->lock);
	rn->busy++;
	return s;
}

static bool may_start(const struct runner *rn, enum block_op op, uint64_t pos, uint64_t len,
		      uint64_t src)
{
	if (op == BLOCK_FLUSH)
		return true;
	if (op == BLOCK_COPY && (!range_free(rn, src, len, false) || !range_known(rn, src, len)))
		return false;
	return range_free(rn, pos, len, op != BLOCK_READ);
}

static struct runner_slot *start(struct runner *rn, const struct block_io *io)
{
	struct runner_slot *s = free_slot(rn);

	s->io = *io;
	s->io.done = slot_done;
	s->runner = rn;
	s->buf = malloc(io->len + 1);
	CHECK(s->buf);
	note(rn, s);
	scatter(s, io->len);
	use(rn, io, 1);
	block_submit(rn->rig->b, &s->io);
	return s;
}

bool runner_start(struct runner *rn, enum block_op op, bool fua, uint64_t pos, uint64_t len,
		  uint64_t src)
{
	const struct block_io io = {
		.op = op, .fua = fua, .pos = pos, .len = len, .src = src,
	};

	reap(rn, RUNNER_DEPTH - 1);
	if (!may_start(rn, op, pos, len, src))
		return false;
	start(rn, &io);
	return true;
}

ssize_t runner_one(struct runner *rn, enum block_op op, bool fua, uint64_t pos, uint64_t len,
		   uint64_t src)
{
	const struct block_io io = {
		.op = op, .fua = fua, .pos = pos, .len = len, .src = src,
	};
	struct runner_slot *s;

	runner_drain(rn);
	s = start(rn, &io);
	runner_drain(rn);
	return s->io.result;
}

void runner_end(struct runner *rn)
{
	runner_drain(rn);
	pthread_cond_destroy(&rn->cond);
	pthread_mutex_destroy(&rn->lock);
	free(rn->use);
	free(rn->unknown);
}
