/* SPDX-License-Identifier: BSD-2-Clause */
/* The versions of each sector: see block-hist.h. */
#include <inttypes.h>

#include "block-hist.h"
#include "unit.h"

#define NO_OP	UINT32_MAX	/* a version that was there at the start */

struct version {
	uint64_t	sum;
	uint32_t	op;
};

struct versions {
	struct version	*v;
	uint32_t	nr, room;
};

struct hist {
	uint64_t	size;
	uint8_t		*latest;
	struct versions	*sector;
	struct hist_op	*ops;
	size_t		nr_ops, room;
};

static uint64_t sum_of(const uint8_t *p)
{
	uint64_t h = 0x9E3779B97F4A7C15, w;
	size_t i;

	for (i = 0; i < HIST_SECTOR; i += 8) {
		memcpy(&w, p + i, 8);
		h = (h ^ w) * UINT64_C(0xBF58476D1CE4E5B9);
		h ^= h >> 29;
	}
	return h;
}

static void add_version(struct hist *h, uint64_t sector, uint32_t op)
{
	struct versions *vs = &h->sector[sector];

	if (vs->nr == vs->room) {
		vs->room = vs->room ? 2 * vs->room : 2;
		vs->v = realloc(vs->v, vs->room * sizeof(*vs->v));
		CHECK(vs->v);
	}
	vs->v[vs->nr++] = (struct version) { sum_of(h->latest + sector * HIST_SECTOR), op };
}

struct hist *hist_create(uint64_t size, const uint8_t *base)
{
	struct hist *h = calloc(1, sizeof(*h));
	uint64_t i;

	CHECK(h);
	h->size = size;
	h->latest = calloc(1, size);
	h->sector = calloc(size / HIST_SECTOR, sizeof(*h->sector));
	CHECK(h->latest && h->sector);
	if (base)
		memcpy(h->latest, base, size);
	for (i = 0; i < size / HIST_SECTOR; i++)
		add_version(h, i, NO_OP);
	return h;
}

void hist_free(struct hist *h)
{
	uint64_t i;

	for (i = 0; i < h->size / HIST_SECTOR; i++)
		free(h->sector[i].v);
	free(h->sector);
	free(h->latest);
	free(h->ops);
	free(h);
}

size_t hist_start(struct hist *h, const struct hist_op *op, const uint8_t *data)
{
	uint64_t i;

	if (h->nr_ops == h->room) {
		h->room = h->room ? 2 * h->room : 256;
		h->ops = realloc(h->ops, h->room * sizeof(*h->ops));
		CHECK(h->ops);
	}
	h->ops[h->nr_ops] = *op;
	h->ops[h->nr_ops].done = UINT64_MAX;
	h->ops[h->nr_ops].failed = false;
	if (op->kind == HIST_WRITE || op->kind == HIST_FOUND)
		memcpy(h->latest + op->pos, data, op->len);
	else if (op->kind == HIST_ZERO)
		memset(h->latest + op->pos, 0, op->len);
	else if (op->kind == HIST_COPY)
		memcpy(h->latest + op->pos, h->latest + op->src, op->len);
	if (op->kind != HIST_FLUSH && op->len)
		for (i = op->pos / HIST_SECTOR; i <= (op->pos + op->len - 1) / HIST_SECTOR; i++)
			add_version(h, i, (uint32_t)h->nr_ops);
	return h->nr_ops++;
}

void hist_done(struct hist *h, size_t nr, uint64_t event, bool failed)
{
	h->ops[nr].done = event;
	h->ops[nr].failed = failed;
}

size_t hist_nr(const struct hist *h)
{
	return h->nr_ops;
}

const struct hist_op *hist_op(const struct hist *h, size_t nr)
{
	return &h->ops[nr];
}

const uint8_t *hist_latest(const struct hist *h)
{
	return h->latest;
}

/* What completed before this event is durable after `events`. */
static uint64_t flushed_before(const struct hist *h, uint64_t events)
{
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < h->nr_ops; i++)
		if (h->ops[i].kind == HIST_FLUSH && h->ops[i].done < events &&
		    !h->ops[i].failed && h->ops[i].start > at)
			at = h->ops[i].start;
	return at;
}

/* The moment of a question. */
struct moment {
	uint64_t	events;		/* so many have happened */
	uint64_t	flushed;	/* what completed before this event is durable */
};

/* Of `flushed`: no power was lost, so what completed is there. */
#define NO_LOSS	UINT64_MAX

static bool is_there(const struct hist *h, const struct version *v, const struct moment *m)
{
	const struct hist_op *op;

	if (v->op == NO_OP)
		return true;
	op = &h->ops[v->op];
	return !op->failed && (op->done < m->flushed || (op->fua && op->done < m->events));
}

/* The first version that may be there: those before it may not. */
static uint32_t oldest_allowed(const struct hist *h, const struct versions *vs,
			       const struct moment *m)
{
	uint32_t i;

	for (i = vs->nr - 1; i > 0; i--)
		if (is_there(h, &vs->v[i], m))
			break;
	return i;
}

static bool started(const struct hist *h, const struct version *v, uint64_t events)
{
	return v->op == NO_OP || h->ops[v->op].start < events;
}

static void explain(const struct hist *h, uint64_t sector, const struct moment *m,
		    const uint8_t *data)
{
	static const char *const names[] = { "write", "zero", "copy", "flush", "found" };
	const struct versions *vs = &h->sector[sector];
	uint64_t sum = sum_of(data);
	uint32_t i;

	fprintf(stderr, "sector %" PRIu64 " (block %" PRIu64 ") after event %" PRId64
		", flushed before event %" PRId64 ", holds %02x%02x%02x%02x..., one of:\n", sector,
		sector / 8, (int64_t)m->events, (int64_t)m->flushed, data[0], data[1], data[2], data[3]);
	for (i = 0; i < vs->nr; i++) {
		const struct hist_op *op = &h->ops[vs->v[i].op];
		const char *mark = vs->v[i].sum == sum ? "   <== this" : "";

		if (vs->v[i].op == NO_OP)
			fprintf(stderr, "  at the start%s\n", mark);
		else
			fprintf(stderr, "  op %u %s%s%s pos %" PRIu64 " len %" PRIu64 ", events %"
				PRIu64 " to %" PRId64 "%s\n", vs->v[i].op, names[op->kind],
				op->fua ? " fua" : "", op->failed ? " failed" : "", op->pos,
				op->len, op->start, (int64_t)op->done, mark);
	}
	fprintf(stderr, "  allowed from number %u on\n", oldest_allowed(h, vs, m));
}

static bool sector_allowed(const struct hist *h, uint64_t sector, const struct moment *m,
			   const uint8_t *data)
{
	const struct versions *vs = &h->sector[sector];
	uint32_t i;
	uint64_t sum = sum_of(data);

	for (i = oldest_allowed(h, vs, m); i < vs->nr && started(h, &vs->v[i], m->events); i++)
		if (vs->v[i].sum == sum)
			return true;
	return false;
}

static bool range_allowed(const struct hist *h, const struct moment *m, uint64_t pos,
			  const uint8_t *data, uint64_t len)
{
	uint64_t i, bad = 0;

	for (i = 0; i < len / HIST_SECTOR; i++) {
		uint64_t sector = pos / HIST_SECTOR + i;

		if (sector_allowed(h, sector, m, data + i * HIST_SECTOR))
			continue;
		if (bad++ < 3)
			explain(h, sector, m, data + i * HIST_SECTOR);
	}
	if (bad)
		fprintf(stderr, "%" PRIu64 " of %" PRIu64 " sectors are wrong\n", bad,
			len / HIST_SECTOR);
	return !bad;
}

bool hist_allows(const struct hist *h, uint64_t events, uint64_t pos, const uint8_t *data,
		 uint64_t len)
{
	const struct moment m = { .events = events, .flushed = flushed_before(h, events) };

	return range_allowed(h, &m, pos, data, len);
}

bool hist_current(const struct hist *h, uint64_t pos, const uint8_t *data, uint64_t len)
{
	const struct moment m = { .events = UINT64_MAX, .flushed = NO_LOSS };

	return range_allowed(h, &m, pos, data, len);
}
