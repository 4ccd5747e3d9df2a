/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random use of a disk against an array in memory: requests of all kinds, sizes
 * and alignments, many in flight, on the same blocks too. Of blocks with several
 * writes in flight a byte may be what any of them put there, until a read has
 * shown which it was. Small disks are filled and overwritten so that reclaim
 * has to run, closed, checked and opened again.
 *
 * usage: test-block-model [seed [runs]]
 * Without a number it runs for some seconds; STRESS makes it minutes.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#include "../support/pattern.h"
#include "block-rig.h"

#define KIB	1024u
#define DEPTH	16
#define NEVER	UINT64_MAX

static uint64_t rng;
static char context[128];

static uint64_t rnd(uint64_t n)
{
	return rec_rnd(&rng, n);
}

/* ---- the model ---- */

/* A request. Times are counts of submissions and completions. */
struct op {
	struct block_io	io;		/* first */
	struct model	*m;
	struct iovec	iov[4];
	uint8_t		*data;		/* written, or read */
	uint64_t	start, end;	/* NEVER: in flight */
	unsigned	refs;		/* blocks that remember it, and being in flight */
	unsigned	again;		/* a read sends itself again so often */
	bool		done;
};

/* A block that was written to since it was last certain. */
struct block_state {
	struct op	**writes;	/* in the order of their start */
	uint16_t	nr, room;
	uint16_t	in_flight;	/* reads and writes */
	uint16_t	sources;	/* copies that read it */
};

struct model {
	struct rig	rig;
	uint64_t	size, chunk;
	uint8_t		*base;		/* of blocks without writes: the contents */
	struct block_state *blk;
	uint64_t	clock;
	uint64_t	doubtful;	/* a block that may need a read, or NEVER */
	pthread_mutex_t	lock;		/* guards done of the ops */
	pthread_cond_t	cond;
	struct op	*flying[DEPTH];
};

static void put_op(struct op *op)
{
	if (--op->refs)
		return;
	free(op->data);
	free(op);
}

static bool is_write(const struct op *op)
{
	return op->io.op != BLOCK_READ && op->io.op != BLOCK_FLUSH;
}

static void remember(struct model *m, uint64_t b, struct op *op)
{
	struct block_state *s = &m->blk[b];

	if (s->nr == s->room) {
		s->room = (uint16_t)(s->room ? 2 * s->room : 2);
		s->writes = realloc(s->writes, s->room * sizeof(struct op *));
		CHECK(s->writes);
	}
	s->writes[s->nr++] = op;
	op->refs++;
}

static void forget(struct model *m, uint64_t b)
{
	struct block_state *s = &m->blk[b];

	while (s->nr)
		put_op(s->writes[--s->nr]);
}

static bool touches(const struct op *op, uint64_t at)
{
	return at >= op->io.pos && at - op->io.pos < op->io.len;
}

/* Was w's byte overwritten, for whoever looks from `from` on, by a later write? */
static bool superseded(const struct block_state *s, const struct op *w, uint64_t at, uint64_t from)
{
	uint16_t i;

	for (i = 0; i < s->nr; i++)
		if (touches(s->writes[i], at) && s->writes[i]->end < from &&
		    (!w || s->writes[i]->start > w->end))
			return true;
	return false;
}

/* May byte `at` be `byte`, for a read that started at `from`? */
static bool byte_allowed(const struct model *m, const struct block_state *s, uint64_t at,
			 uint8_t byte, uint64_t from)
{
	uint16_t i;

	if (m->base[at] == byte && !superseded(s, NULL, at, from))
		return true;
	for (i = 0; i < s->nr; i++)
		if (touches(s->writes[i], at) &&
		    s->writes[i]->data[at - s->writes[i]->io.pos] == byte &&
		    !superseded(s, s->writes[i], at, from))
			return true;
	return false;
}

static void wrong_byte(const struct model *m, const struct op *rd, uint64_t at, uint8_t byte)
{
	const struct block_state *s = &m->blk[at / BLK];
	uint16_t i;

	fprintf(stderr, "read pos %" PRIu64 " len %" PRIu64 " times %" PRIu64 " to %" PRIu64
		": byte %" PRIu64 " (block %" PRIu64 ", chunk %" PRIu64 ") is %02x; it was %02x\n",
		rd->io.pos, rd->io.len, rd->start, rd->end, at, at / BLK, at / m->chunk, byte,
		m->base[at]);
	for (i = 0; i < s->nr; i++)
		if (touches(s->writes[i], at))
			fprintf(stderr, "  %d pos %" PRIu64 " len %" PRIu64 " times %" PRIu64
				" to %" PRId64 ": %02x\n", s->writes[i]->io.op, s->writes[i]->io.pos,
				s->writes[i]->io.len, s->writes[i]->start,
				(int64_t)s->writes[i]->end,
				s->writes[i]->data[at - s->writes[i]->io.pos]);
	abort();
}

static void check_part(struct model *m, const struct op *rd, uint64_t at, uint64_t end)
{
	const struct block_state *s = &m->blk[at / BLK];
	const uint8_t *got = rd->data + (at - rd->io.pos);

	if (!s->nr && !memcmp(got, m->base + at, end - at))
		return;
	for (; at < end; at++, got++)
		if (!byte_allowed(m, s, at, *got, rd->start))
			wrong_byte(m, rd, at, *got);
}

/* The usual case: the last write began after the others ended, and covers them. */
static bool last_covers(const struct block_state *s, uint64_t b)
{
	const struct op *w = s->writes[s->nr - 1];
	uint16_t i;

	if (s->nr > 1 && (w->io.pos > b * BLK || w->io.pos + w->io.len < (b + 1) * BLK))
		return false;
	for (i = 0; i + 1 < s->nr; i++)
		if (s->writes[i]->end > w->start)
			return false;
	return true;
}

static void take_last(struct model *m, uint64_t b)
{
	const struct op *w = m->blk[b].writes[m->blk[b].nr - 1];
	uint64_t from = b * BLK > w->io.pos ? b * BLK : w->io.pos, end = w->io.pos + w->io.len;

	if (end > (b + 1) * BLK)
		end = (b + 1) * BLK;
	memcpy(m->base + from, w->data + (from - w->io.pos), end - from);
	forget(m, b);
}

/* Nothing is in flight on the block: is each byte one thing only? Then it is the base. */
static bool make_certain(struct model *m, uint64_t b)
{
	struct block_state *s = &m->blk[b];
	uint8_t now[BLK];
	uint64_t at;
	uint16_t i;

	memcpy(now, m->base + b * BLK, BLK);
	for (at = b * BLK; at < (b + 1) * BLK; at++) {
		unsigned n = 0;

		for (i = 0; i < s->nr; i++) {
			const struct op *w = s->writes[i];

			if (!touches(w, at) || superseded(s, w, at, NEVER))
				continue;
			now[at % BLK] = w->data[at - w->io.pos];
			n++;
		}
		if (n > 1)
			return false;
	}
	memcpy(m->base + b * BLK, now, BLK);
	forget(m, b);
	return true;
}

static void block_idle(struct model *m, uint64_t b, const struct op *op)
{
	struct block_state *s = &m->blk[b];
	uint16_t i;

	if (!s->nr)
		return;
	if (last_covers(s, b)) {
		take_last(m, b);
		return;
	}
	if (make_certain(m, b))
		return;
	/* A read of all of it that began after the last write ended has shown it. */
	for (i = 0; i < s->nr; i++)
		if (s->writes[i]->end > op->start)
			break;
	if (op->io.op == BLOCK_READ && i == s->nr && op->io.pos <= b * BLK &&
	    op->io.pos + op->io.len >= (b + 1) * BLK) {
		memcpy(m->base + b * BLK, op->data + (b * BLK - op->io.pos), BLK);
		forget(m, b);
		return;
	}
	m->doubtful = b;
}

/* ---- requests ---- */

#define FOR_BLOCKS(b, pos, len) \
	for (uint64_t b = (pos) / BLK; (len) && b <= ((pos) + (len) - 1) / BLK; b++)

static void op_done(struct block_io *io)
{
	struct op *op = (struct op *)io;
	struct model *m = op->m;

	if (op->again && io->result == (ssize_t)io->len) {
		op->again--;
		block_submit(m->rig.b, io);
		return;
	}
	pthread_mutex_lock(&m->lock);
	op->done = true;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void settle(struct model *m, struct op *op)
{
	struct block_io *io = &op->io;
	uint64_t end = io->pos + io->len;

	op->end = m->clock++;
	if (io->result != (io->op == BLOCK_FLUSH ? 0 : (ssize_t)io->len))
		fprintf(stderr, "request %d pos %" PRIu64 " len %" PRIu64 ": %zd\n", io->op,
			io->pos, io->len, io->result);
	CHECK_EQ(io->result, io->op == BLOCK_FLUSH ? 0 : io->len);
	if (io->op == BLOCK_FLUSH) {
		put_op(op);
		return;
	}
	if (io->op == BLOCK_COPY)
		FOR_BLOCKS(b, io->src, io->len)
			m->blk[b].sources--;
	FOR_BLOCKS(b, io->pos, io->len) {
		uint64_t from = b * BLK > io->pos ? b * BLK : io->pos;

		if (io->op == BLOCK_READ)
			check_part(m, op, from, (b + 1) * BLK < end ? (b + 1) * BLK : end);
		if (!--m->blk[b].in_flight)
			block_idle(m, b, op);
	}
	put_op(op);
}

/* One that is done, out of those in flight; *busy: how many are not. m->lock is held. */
static struct op *take_done(struct model *m, unsigned *busy)
{
	unsigned i;

	*busy = 0;
	for (i = 0; i < DEPTH; i++) {
		struct op *op = m->flying[i];

		if (op && op->done) {
			m->flying[i] = NULL;
			return op;
		}
		*busy += op != NULL;
	}
	return NULL;
}

/* Until at most `most` are in flight. */
static void reap(struct model *m, unsigned most)
{
	struct op *op;
	unsigned busy;

	pthread_mutex_lock(&m->lock);
	while ((op = take_done(m, &busy)) || busy > most) {
		if (!op) {
			pthread_cond_wait(&m->cond, &m->lock);
			continue;
		}
		pthread_mutex_unlock(&m->lock);
		settle(m, op);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
}

static void scatter(struct op *op)
{
	uint64_t at = 0, len = op->io.len, n;
	int i;

	for (i = 0; i < 4; i++) {
		n = i == 3 || rnd(2) ? len - at : rnd(len - at + 1);
		op->iov[i] = (struct iovec) { op->data + at, n };
		at += n;
	}
	op->io.iov = op->iov;
	op->io.nr_iov = 4;
}

static void fill_data(struct model *m, struct op *op)
{
	op->data = calloc(1, op->io.len + 1);
	CHECK(op->data);
	if (op->io.op == BLOCK_WRITE)
		pattern_fill(op->data, op->io.len, op->io.pos, op->start + 1);
	else if (op->io.op == BLOCK_COPY)
		memcpy(op->data, m->base + op->io.src, op->io.len);
}

/* A copy's source must be certain, and stay so. */
static bool may_start(const struct model *m, const struct block_io *io)
{
	if (io->op == BLOCK_COPY)
		FOR_BLOCKS(b, io->src, io->len)
			if (m->blk[b].nr)
				return false;
	if (io->op != BLOCK_READ && io->op != BLOCK_FLUSH)
		FOR_BLOCKS(b, io->pos, io->len)
			if (m->blk[b].sources)
				return false;
	return true;
}

static void start(struct model *m, const struct block_io *io, unsigned again)
{
	struct op *op;
	unsigned i = 0;

	reap(m, DEPTH - 1);
	if (!may_start(m, io))
		return;
	op = calloc(1, sizeof(*op));
	CHECK(op);
	op->io = *io;
	op->io.done = op_done;
	op->m = m;
	op->start = m->clock++;
	op->end = NEVER;
	op->refs = 1;
	op->again = again;
	fill_data(m, op);
	scatter(op);
	if (io->op == BLOCK_COPY)
		FOR_BLOCKS(b, io->src, io->len)
			m->blk[b].sources++;
	if (io->op != BLOCK_FLUSH)
		FOR_BLOCKS(b, io->pos, io->len) {
			m->blk[b].in_flight++;
			if (is_write(op))
				remember(m, b, op);
		}
	while (m->flying[i])
		i++;
	m->flying[i] = op;
	block_submit(m->rig.b, &op->io);
}

static void ask(struct model *m, enum block_op what, uint64_t pos, uint64_t len)
{
	const struct block_io io = { .op = what, .pos = pos, .len = len };

	start(m, &io, 0);
}

/* ---- what is done ---- */

static void any_range(struct model *m, uint64_t *pos, uint64_t *len)
{
	uint64_t hot = rnd(3) ? m->size : m->chunk;	/* the first chunk more often */

	switch (rnd(12)) {
	case 0:
		*len = 1 + rnd(3 * m->chunk);
		break;
	case 1: case 2:
		*len = 1 + rnd(20 * BLK);
		break;
	case 3: case 4:
		*len = 1 + rnd(2 * BLK);
		break;
	default:
		*len = BLK * (1 + rnd(8));
	}
	*pos = rnd(hot);
	if (rnd(3))
		*pos = *pos / BLK * BLK;
	if (*len > m->size - *pos)
		*len = m->size - *pos;
}

static void any_copy(struct model *m)
{
	struct block_io io = { .op = BLOCK_COPY, .fua = rnd(8) == 0 };

	any_range(m, &io.pos, &io.len);
	io.src = rnd(m->size - io.len + 1);
	if (rnd(4)) {
		io.pos = io.pos / BLK * BLK;
		io.src = io.src / BLK * BLK;
		io.len = io.len < BLK ? BLK : io.len / BLK * BLK;
	}
	if (io.pos + io.len <= m->size && io.src + io.len <= m->size &&
	    (io.src >= io.pos + io.len || io.pos >= io.src + io.len))
		start(m, &io, 0);
}

static void any_op(struct model *m)
{
	struct block_io io = { .op = BLOCK_WRITE };

	if (m->doubtful != NEVER) {
		uint64_t b = m->doubtful;

		m->doubtful = NEVER;
		ask(m, BLOCK_READ, b * BLK, BLK);
	}
	any_range(m, &io.pos, &io.len);
	switch (rnd(24)) {
	case 0:
		ask(m, BLOCK_FLUSH, 0, 0);
		return;
	case 1:
		io.fua = true;
		break;
	case 2:
		io.op = rnd(2) ? BLOCK_DISCARD : BLOCK_ZERO;
		if (rnd(2)) {
			io.pos = io.pos / m->chunk * m->chunk;
			io.len = m->chunk < m->size - io.pos ? m->chunk : m->size - io.pos;
		}
		break;
	case 3: case 4:
		any_copy(m);
		return;
	case 5: case 6: case 7: case 8: case 9: case 10:
		io.op = BLOCK_READ;
		break;
	default:
		break;
	}
	start(m, &io, io.op == BLOCK_READ && rnd(4) == 0);
}

static void check_all(struct model *m)
{
	uint64_t pos;

	for (pos = 0; pos < m->size; pos += 64 * BLK)
		ask(m, BLOCK_READ, pos, m->size - pos < 64 * BLK ? m->size - pos : 64 * BLK);
	reap(m, 0);
}

static void fill(struct model *m)
{
	uint64_t pos, len;

	for (pos = 0; pos < m->size; pos += len) {
		len = BLK * (1 + rnd(100));
		if (len > m->size - pos)
			len = m->size - pos;
		ask(m, BLOCK_WRITE, pos, len);
	}
}

/* Small writes all over it. */
static void overwrite(struct model *m, unsigned n)
{
	while (n--) {
		uint64_t b = rnd(m->size / BLK), nr = 1 + rnd(rnd(8) ? 4 : 32);

		if (nr > m->size / BLK - b)
			nr = m->size / BLK - b;
		ask(m, rnd(6) ? BLOCK_WRITE : BLOCK_READ, b * BLK, nr * BLK);
		if (rnd(200) == 0)
			ask(m, BLOCK_FLUSH, 0, 0);
	}
}

/* Chunks half written, moved to sequential zones, continued there, and torn up. */
static void grow_chunks(struct model *m)
{
	uint64_t blocks = m->chunk / BLK, nr = m->size / m->chunk, c;

	for (c = 0; c < nr; c++)
		ask(m, BLOCK_DISCARD, c * m->chunk, m->chunk);
	for (c = 0; c < nr / 3; c++)
		ask(m, BLOCK_WRITE, c * m->chunk, m->chunk / 2);
	reap(m, 0);
	CHECK_EQ(block_reclaim(m->rig.b, true), 0);
	for (c = 0; c < nr / 3; c++) {
		uint64_t at = c * blocks + blocks / 2 + (c % 3 ? 1 + rnd(blocks / 4) : 0);

		ask(m, BLOCK_WRITE, at * BLK, 3 * BLK);
		if (c % 2)
			ask(m, BLOCK_WRITE, (c * blocks + rnd(blocks / 2)) * BLK, 2 * BLK);
	}
	CHECK_EQ(block_reclaim(m->rig.b, false), 0);
	overwrite(m, 20);
	reap(m, 0);
	CHECK_EQ(block_reclaim(m->rig.b, true), 0);
}

static void check_format(struct model *m)
{
	struct dmz_check_result res = rig_check(&m->rig);

	CHECK_EQ(res.errors, 0);
	/* Above all no chunk keeps a zone that has nothing of it. */
	CHECK_EQ(res.warnings, 0);
	CHECK(!res.needs_sync);
}

static void reopen(struct model *m)
{
	check_all(m);
	CHECK_EQ(rig_close(&m->rig), 0);
	check_format(m);
	CHECK_EQ(rig_open(&m->rig), 0);
	check_all(m);
}

static void any_shape(struct rig_shape *s)
{
	*s = (struct rig_shape) {
		.zone_size = (256u << rnd(3) * rnd(2)) * KIB, .nr_conv = 6 + (uint32_t)rnd(7),
		.nr_seq = 20 + (uint32_t)rnd(21), .reserve = 1 + (uint32_t)rnd(4),
		.block_size = rnd(3) ? 4096 : 512,
	};
	if (rnd(2)) {
		s->nr_cache = s->nr_conv;
		s->nr_conv = (uint32_t)rnd(3);
		s->runt = rnd(2) ? 8 * BLK : 0;
		s->reserve += 2;
	}
}

static void run(uint64_t seed, unsigned steps)
{
	struct model m = { .doubtful = NEVER };
	struct rig_shape shape;
	unsigned i;

	rng = rec_seed(seed);
	any_shape(&shape);
	snprintf(context, sizeof(context), "seed %" PRIu64 ": zones of %" PRIu64 " KiB, %u + %u + %u"
		 ", reserve %u, blocks of %u", seed, shape.zone_size / KIB, shape.nr_cache,
		 shape.nr_conv, shape.nr_seq, shape.reserve, shape.block_size);
	printf("%s\n", context);
	fflush(stdout);
	rig_watch(300, "%s", context);
	rig_create(&m.rig, &shape);
	rec_forget(m.rig.rec);
	m.rig.copies = rnd(2);
	m.rig.jitter = rnd(4) ? 0 : 100;
	CHECK_EQ(rig_open(&m.rig), 0);
	m.size = block_size(m.rig.b);
	m.chunk = shape.zone_size;
	m.base = calloc(1, m.size);
	m.blk = calloc(m.size / BLK, sizeof(*m.blk));
	CHECK(m.base && m.blk);
	pthread_mutex_init(&m.lock, NULL);
	pthread_cond_init(&m.cond, NULL);

	for (i = 0; i < steps; i++)
		any_op(&m);
	reopen(&m);
	fill(&m);
	overwrite(&m, steps);
	reopen(&m);
	for (i = 0; i < steps; i++)
		any_op(&m);
	grow_chunks(&m);
	for (i = 0; i < steps / 2; i++)
		any_op(&m);
	reopen(&m);

	CHECK_EQ(rig_close(&m.rig), 0);
	check_format(&m);
	CHECK_EQ(rec_refused(m.rig.rec), 0);
	rig_free(&m.rig);
	for (i = 0; i < m.size / BLK; i++) {
		forget(&m, i);
		free(m.blk[i].writes);
	}
	free(m.blk);
	free(m.base);
	pthread_mutex_destroy(&m.lock);
	pthread_cond_destroy(&m.cond);
}

/* ---- edges ---- */

static const struct rig_shape small = {
	.zone_size = 256 * KIB, .nr_conv = 6, .nr_seq = 20, .reserve = 2, .block_size = 4096,
};

static void test_ends(void)
{
	uint8_t buf[3 * BLK];
	struct rig r;
	uint64_t size;

	rig_create(&r, &small);
	CHECK_EQ(rig_open(&r), 0);
	size = block_size(r.b);
	CHECK(size && !(size % small.zone_size));
	memset(buf, 1, sizeof(buf));
	CHECK_EQ(rig_run(&r, BLOCK_READ, size - BLK, 2 * BLK, buf), BLK);
	CHECK_EQ(rig_run(&r, BLOCK_READ, size - 10, 20, buf), 10);
	CHECK(!buf[0] && !buf[9] && !buf[BLK - 1] && buf[BLK]);
	CHECK_EQ(rig_run(&r, BLOCK_READ, size, BLK, buf), 0);
	CHECK_EQ(rig_run(&r, BLOCK_READ, size + 5, BLK, buf), 0);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, size - BLK, 2 * BLK, buf), -EINVAL);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, size, 1, buf), -EINVAL);
	CHECK_EQ(rig_run(&r, BLOCK_DISCARD, BLK, size, NULL), -EINVAL);
	CHECK_EQ(rig_run(&r, BLOCK_ZERO, 1, UINT64_MAX, NULL), -EINVAL);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, 0, 0, buf), 0);
	CHECK_EQ(rig_run(&r, BLOCK_READ, 0, 0, buf), 0);
	CHECK_EQ(rig_run(&r, BLOCK_DISCARD, 5, 0, NULL), 0);
	CHECK_EQ(rig_run(&r, BLOCK_FLUSH, 0, 0, NULL), 0);
	CHECK_EQ(rig_close(&r), 0);
	rig_free(&r);
}

static ssize_t copy(struct rig *r, uint64_t pos, uint64_t src, uint64_t len)
{
	struct block_io io = { .op = BLOCK_COPY, .pos = pos, .src = src, .len = len };

	return block_run(r->b, &io);
}

static void test_copies(void)
{
	uint8_t buf[BLK], got[BLK];
	struct rig r;
	uint64_t size;

	rig_create(&r, &small);
	CHECK_EQ(rig_open(&r), 0);
	size = block_size(r.b);
	pattern_fill(buf, BLK, 0, 7);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, 0, BLK, buf), BLK);
	CHECK_EQ(copy(&r, 5 * BLK, 0, BLK), BLK);
	CHECK_EQ(rig_run(&r, BLOCK_READ, 5 * BLK, BLK, got), BLK);
	CHECK(!memcmp(buf, got, BLK));
	/* Overlap, ends and nothing. */
	CHECK_EQ(copy(&r, BLK, 0, 2 * BLK), -EINVAL);
	CHECK_EQ(copy(&r, 0, 0, BLK), -EINVAL);
	CHECK_EQ(copy(&r, size, 0, BLK), -EINVAL);
	CHECK_EQ(copy(&r, 0, size - BLK, 2 * BLK), -EINVAL);
	CHECK_EQ(copy(&r, BLK, 0, 0), 0);
	/* A hole is copied as zeros, over data. */
	CHECK_EQ(copy(&r, 0, size - BLK, BLK), BLK);
	CHECK_EQ(rig_run(&r, BLOCK_READ, 0, BLK, got), BLK);
	CHECK(!got[0] && !memcmp(got, got + 1, BLK - 1));
	CHECK_EQ(rig_close(&r), 0);
	rig_free(&r);
}

static void test_readonly(void)
{
	const struct block_opts opts = { .read_only = true };
	uint8_t buf[BLK], got[BLK];
	struct dmz_devs *devs;
	uint64_t events;
	struct rig r;
	struct zerr e;

	rig_create(&r, &small);
	CHECK_EQ(rig_open(&r), 0);
	pattern_fill(buf, BLK, 0, 3);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, 7 * BLK, BLK, buf), BLK);
	CHECK_EQ(rig_close(&r), 0);
	events = rec_events(r.rec);
	devs = rig_devs(&r);
	CHECK_EQ(block_open(devs, &opts, &r.b, &e), 0);
	CHECK(block_is_readonly(r.b));
	CHECK_EQ(rig_run(&r, BLOCK_READ, 7 * BLK, BLK, got), BLK);
	CHECK(!memcmp(buf, got, BLK));
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, 0, BLK, buf), -EROFS);
	CHECK_EQ(rig_run(&r, BLOCK_DISCARD, 7 * BLK, BLK, NULL), -EROFS);
	CHECK_EQ(copy(&r, 0, 7 * BLK, BLK), -EROFS);
	CHECK_EQ(block_reclaim(r.b, true), -EROFS);
	CHECK_EQ(rig_close(&r), 0);
	CHECK_EQ(rec_events(r.rec), events);
	rig_free(&r);
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
	time_t end = time(NULL) + (stress ? 900 : 12);

	signal(SIGABRT, say_where);
	RUN(test_ends);
	RUN(test_copies);
	RUN(test_readonly);
	memset(&rig_totals, 0, sizeof(rig_totals));
	for (i = 0; i < runs && (argc > 2 || time(NULL) < end); i++)
		run(seed + i, stress ? 6000 : 600);
	printf("%lu runs; reclaim: %" PRIu64 " empty, %" PRIu64 " moved, %" PRIu64 " appended, %"
	       PRIu64 " merged, %" PRIu64 " rewritten; %" PRIu64 " waits for a zone\n", i,
	       rig_totals.reclaim_empty, rig_totals.reclaim_move, rig_totals.reclaim_append,
	       rig_totals.reclaim_merge, rig_totals.reclaim_rewrite, rig_totals.waits_for_zone);
	return 0;
}
