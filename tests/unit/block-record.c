/* SPDX-License-Identifier: BSD-2-Clause */
/* Recording devices, and what a power loss leaves of them: see block-record.h. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "../../src/zdev/zdev_i.h"
#include "block-record.h"
#include "unit.h"

#define NEVER	UINT64_MAX

/* A change, or a flush. */
struct rec_op {
	struct zdev_io	io;		/* what the device beneath gets */
	struct zdev_io	*whole;		/* what the user of the filter gave */
	struct rec	*rec;
	unsigned	jitter;
	bool		held;		/* being submitted: the submitter completes it */
	bool		early;		/* completed meanwhile */

	/* The record. */
	uint32_t	dev;
	enum zdev_op	op;
	bool		fua, dead;
	uint32_t	zno;
	uint64_t	pos, len;
	uint8_t		*data;		/* WRITE */
	struct iovec	iov;		/* data, for a COPY that becomes a write */
	ssize_t		result;
	uint64_t	submitted, done, durable;	/* events; NEVER */
	struct rec_op	*flying;	/* the next one in flight */
};

struct rec {
	pthread_mutex_t	lock;		/* guards all below while devices are in use */
	uint64_t	events;
	struct rec_op	**ops;		/* in order of submission */
	size_t		nr_ops, room;
	uint64_t	refused;
	struct rec_op	*flying;	/* in flight */
	bool		forgets;	/* constant while devices are in use */
	struct rec_image start;
	struct rec_image now;		/* as if nothing was cached; for copies */
	/* For rec_build: start with the first `folded` operations applied. */
	bool		settled;	/* `durable` is computed for settled_ops */
	size_t		settled_ops;
	struct rec_image base;
	size_t		folded;
	uint64_t	base_events;
};

struct rec_dev {
	struct zdev	dev;		/* first */
	struct rec	*rec;
	struct zdev	*next;
	uint32_t	idx;
	bool		copies;
	unsigned	jitter;
	/* Held from the record of a submission to the submission: same order. */
	pthread_mutex_t	order;
};

const char *const rec_mood_names[REC_NR_MOODS] = {
	"drop", "keep", "prefix", "some", "torn", "all but one", "only one", "by zone",
	"by device",
};

/* ---- images ---- */

void rec_image_init(struct rec_image *img, const struct rec_shape *shape, uint32_t nr_devs)
{
	uint32_t d;

	memset(img, 0, sizeof(*img));
	img->nr_devs = nr_devs;
	for (d = 0; d < nr_devs; d++) {
		img->shape[d] = shape[d];
		img->zone[d] = calloc(shape[d].nr_zones, sizeof(*img->zone[d]));
		CHECK(img->zone[d]);
	}
}

void rec_image_copy(struct rec_image *to, const struct rec_image *from)
{
	uint32_t d, z;

	rec_image_init(to, from->shape, from->nr_devs);
	for (d = 0; d < from->nr_devs; d++)
		for (z = 0; z < from->shape[d].nr_zones; z++) {
			const struct rec_zone *src = &from->zone[d][z];
			struct rec_zone *dst = &to->zone[d][z];

			dst->wp = src->wp;
			if (!src->data)
				continue;
			dst->data = malloc(from->shape[d].zone_size);
			CHECK(dst->data);
			memcpy(dst->data, src->data, from->shape[d].zone_size);
		}
}

void rec_image_free(struct rec_image *img)
{
	uint32_t d, z;

	for (d = 0; d < img->nr_devs; d++) {
		for (z = 0; z < img->shape[d].nr_zones; z++)
			free(img->zone[d][z].data);
		free(img->zone[d]);
	}
	memset(img, 0, sizeof(*img));
}

static uint8_t *image_bytes(struct rec_image *img, uint32_t d, uint32_t zno, uint64_t pos)
{
	struct rec_zone *z = &img->zone[d][zno];

	if (!z->data)
		z->data = calloc(1, img->shape[d].zone_size);
	CHECK(z->data);
	return z->data + pos;
}

static bool is_conv(const struct rec_image *img, uint32_t d, uint32_t zno)
{
	return zno < img->shape[d].nr_conv;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

static void load_zone(struct zdev *dev, const struct rec_image *img, uint32_t d, uint32_t zno)
{
	const struct rec_zone *z = &img->zone[d][zno];
	bool conv = is_conv(img, d, zno);
	uint64_t end = conv ? img->shape[d].zone_size : z->wp, pos, n;
	static const uint8_t zeros[64 << 10];

	if (conv && !z->data)
		return;
	for (pos = 0; pos < end; pos += n) {
		const uint8_t *from = z->data ? z->data + pos : zeros;

		n = end - pos < sizeof(zeros) ? end - pos : sizeof(zeros);
		if (!conv || !all_zero(from, n))
			CHECK_EQ(zdev_pwrite(dev, zno, pos, from, n), n);
	}
}

struct zdev *rec_image_device(const struct rec_image *img, uint32_t d)
{
	const struct rec_shape *s = &img->shape[d];
	/* A device in memory has a sequential zone at least; the filter hides it. */
	struct zdev_geometry g = {
		.block_size = s->block_size, .zone_size = s->zone_size,
		.zone_capacity = s->zone_size, .nr_conv = s->nr_conv,
		.nr_zones = s->nr_zones + (s->nr_conv == s->nr_zones),
	};
	struct zdev *dev;
	struct zerr e;
	uint32_t zno;

	CHECK_EQ(zdev_mem_create(&g, &dev, &e), 0);
	for (zno = 0; zno < s->nr_zones; zno++)
		load_zone(dev, img, d, zno);
	return dev;
}

/* A write, or of its sectors those that the random numbers choose. */
static void apply_write(struct rec_image *img, const struct rec_op *op, uint64_t *torn)
{
	uint8_t *at = image_bytes(img, op->dev, op->zno, op->pos);
	uint64_t i;

	for (i = 0; i < op->len; i += REC_SECTOR)
		if (!torn || rec_rnd(torn, 2))
			memcpy(at + i, op->data + i, REC_SECTOR);
}

/* The contents are lost; what is dead then holds what nobody ever wrote. */
static void apply_discard(struct rec_image *img, const struct rec_op *op, uint64_t *torn)
{
	uint8_t *at = image_bytes(img, op->dev, op->zno, op->pos);
	uint64_t i;

	for (i = 0; i < op->len; i += REC_SECTOR)
		if (!torn || rec_rnd(torn, 2))
			memset(at + i, op->dead ? 0xdd : 0, REC_SECTOR);
}

/* To a conventional zone. torn: random numbers that choose the sectors, or NULL. */
static void apply_conv(struct rec_image *img, const struct rec_op *op, uint64_t *torn)
{
	if (op->op == ZDEV_WRITE)
		apply_write(img, op, torn);
	else if (op->op == ZDEV_DISCARD)
		apply_discard(img, op, torn);
}

/* To a sequential zone; of a write the first len bytes. */
static void apply_seq(struct rec_image *img, const struct rec_op *op, uint64_t len)
{
	struct rec_zone *z = &img->zone[op->dev][op->zno];

	switch (op->op) {
	case ZDEV_WRITE:
		CHECK_EQ(op->pos, z->wp);
		memcpy(image_bytes(img, op->dev, op->zno, op->pos), op->data, len);
		z->wp = op->pos + len;
		break;
	case ZDEV_RESET:
		free(z->data);
		z->data = NULL;
		z->wp = 0;
		break;
	case ZDEV_FINISH:
		z->wp = img->shape[op->dev].zone_size;
		break;
	default:
		break;
	}
}

static void apply(struct rec_image *img, const struct rec_op *op)
{
	if (op->op == ZDEV_FLUSH)
		return;
	if (is_conv(img, op->dev, op->zno))
		apply_conv(img, op, NULL);
	else
		apply_seq(img, op, op->len);
}

/* ---- recording ---- */

static struct rec_op *op_new(struct rec_dev *rd, struct zdev_io *io)
{
	struct rec_op *op = calloc(1, sizeof(*op));
	size_t at = 0;
	int i;

	CHECK(op);
	op->whole = io;
	op->rec = rd->rec;
	op->jitter = rd->jitter;
	op->dev = rd->idx;
	op->op = io->op;
	op->fua = io->fua;
	op->dead = io->dead;
	op->zno = io->zno;
	op->pos = io->pos;
	op->done = op->durable = NEVER;
	if (io->op == ZDEV_DISCARD || io->op == ZDEV_COPY)
		op->len = io->bytes;
	if (io->op != ZDEV_WRITE)
		return op;
	op->len = zdev_iov_len(io->iov, io->nr_iov);
	op->data = malloc(op->len);
	CHECK(op->data || !op->len);
	for (i = 0; i < io->nr_iov; i++) {
		memcpy(op->data + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return op;
}

/* Make a copy a write of what the source holds now. rec->lock is held. */
static void resolve_copy(struct rec *r, struct rec_op *op)
{
	const struct rec_zone *src = &r->now.zone[op->dev][op->whole->src_zno];

	op->data = calloc(1, op->len);
	CHECK(op->data);
	if (src->data)
		memcpy(op->data, src->data + op->whole->src_pos, op->len);
	op->op = ZDEV_WRITE;
	op->iov = (struct iovec) { .iov_base = op->data, .iov_len = op->len };
	op->io.op = ZDEV_WRITE;
	op->io.iov = &op->iov;
	op->io.nr_iov = 1;
}

static bool same_bytes(const struct rec_op *a, const struct rec_op *b)
{
	return a->dev == b->dev && a->zno == b->zno && a->pos < b->pos + b->len &&
	       b->pos < a->pos + a->len;
}

/* rec->lock is held. */
static void take_off(struct rec *r, struct rec_op *op)
{
	const struct rec_op *o;

	for (o = r->flying; o; o = o->flying)
		CHECK((op->op != ZDEV_DISCARD && o->op != ZDEV_DISCARD) || !same_bytes(op, o));
	op->flying = r->flying;
	r->flying = op;
}

static void land(struct rec *r, const struct rec_op *op)
{
	struct rec_op **at = &r->flying;

	while (*at != op)
		at = &(*at)->flying;
	*at = op->flying;
}

static void finish_op(struct rec_op *op)
{
	struct zdev_io *whole = op->whole;
	ssize_t result = op->result;

	op->whole = NULL;
	if (op->rec->forgets) {
		free(op->data);
		free(op);
	}
	zdev_complete(whole, result);
}

static void op_done(struct zdev_io *io)
{
	struct rec_op *op = (struct rec_op *)io;
	struct rec *r = op->rec;
	bool held;

	if (op->jitter)
		usleep((useconds_t)random() % op->jitter);
	pthread_mutex_lock(&r->lock);
	op->result = io->result;
	op->done = r->events++;
	land(r, op);
	if (op->result < 0)
		r->refused++;
	held = op->held;
	op->early = held;
	pthread_mutex_unlock(&r->lock);
	if (!held)
		finish_op(op);
}

static void keep(struct rec *r, struct rec_op *op)
{
	if (r->nr_ops == r->room) {
		r->room = r->room ? 2 * r->room : 1024;
		r->ops = realloc(r->ops, r->room * sizeof(struct rec_op *));
		CHECK(r->ops);
	}
	r->ops[r->nr_ops++] = op;
}

static void record(struct rec *r, struct rec_op *op)
{
	pthread_mutex_lock(&r->lock);
	if (!r->forgets)
		keep(r, op);
	op->submitted = r->events++;
	op->held = true;
	take_off(r, op);
	if (op->op == ZDEV_COPY)
		resolve_copy(r, op);
	/* What is refused changes nothing; such a test has failed already. */
	if (op->op != ZDEV_FLUSH && (op->op != ZDEV_WRITE || is_conv(&r->now, op->dev, op->zno) ||
				     op->pos == r->now.zone[op->dev][op->zno].wp))
		apply(&r->now, op);
	pthread_mutex_unlock(&r->lock);
}

static void rec_submit(struct zdev *dev, struct zdev_io *io)
{
	struct rec_dev *rd = (struct rec_dev *)dev;
	struct rec_op *op;
	bool early;

	if (io->op == ZDEV_READ || io->op == ZDEV_OPEN || io->op == ZDEV_CLOSE) {
		zdev_submit(rd->next, io);
		return;
	}
	/* The disk has no use for others. */
	CHECK(io->op == ZDEV_WRITE || io->op == ZDEV_RESET || io->op == ZDEV_FINISH ||
	      io->op == ZDEV_FLUSH || io->op == ZDEV_COPY || io->op == ZDEV_DISCARD);
	if ((io->op != ZDEV_FLUSH || io->zno != ZDEV_ALL_ZONES) && io->zno >= dev->info.nr_zones) {
		zdev_complete(io, -EINVAL);
		return;
	}
	if (io->op == ZDEV_COPY && !rd->copies) {
		zdev_complete(io, -EOPNOTSUPP);
		return;
	}
	op = op_new(rd, io);
	op->io = (struct zdev_io) {
		.op = io->op, .fua = io->fua, .zno = io->zno, .pos = io->pos, .iov = io->iov,
		.nr_iov = io->nr_iov, .bytes = io->bytes, .dead = io->dead, .done = op_done,
	};
	pthread_mutex_lock(&rd->order);
	record(rd->rec, op);
	zdev_submit(rd->next, &op->io);
	pthread_mutex_unlock(&rd->order);

	pthread_mutex_lock(&rd->rec->lock);
	op->held = false;
	early = op->early;
	pthread_mutex_unlock(&rd->rec->lock);
	if (early)
		finish_op(op);
}

static int rec_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	struct rec_dev *rd = (struct rec_dev *)dev;
	uint64_t runt = rd->rec->start.shape[rd->idx].runt;
	int ret;

	ret = zdev_report(rd->next, zno, nr, zones);
	if (!ret && runt && nr && zno + nr == dev->info.nr_zones)
		zones[nr - 1].size = zones[nr - 1].capacity = runt;
	return ret;
}

static ssize_t rec_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	return zdev_get_tail(((struct rec_dev *)dev)->next, zno, buf);
}

static int rec_set_cond(struct zdev *dev, uint32_t zno, uint8_t cond)
{
	return zdev_set_cond(((struct rec_dev *)dev)->next, zno, cond);
}

static int rec_inject(struct zdev *dev, const struct zdev_fault *fault)
{
	return zdev_inject(((struct rec_dev *)dev)->next, fault);
}

static int rec_close(struct zdev *dev)
{
	struct rec_dev *rd = (struct rec_dev *)dev;

	pthread_mutex_destroy(&rd->order);
	free(rd);
	return 0;
}

static const struct zdev_ops rec_ops = {
	.submit		= rec_submit,
	.report		= rec_report,
	.get_tail	= rec_get_tail,
	.set_cond	= rec_set_cond,
	.inject		= rec_inject,
	.close		= rec_close,
};

struct zdev *rec_stack(struct rec *r, uint32_t d, struct zdev *next, bool copies,
		       unsigned jitter)
{
	const struct rec_shape *s = &r->start.shape[d];
	struct rec_dev *rd = calloc(1, sizeof(*rd));

	CHECK(rd);
	rd->dev.ops = &rec_ops;
	rd->dev.info = next->info;
	rd->dev.info.nr_zones = s->nr_zones;
	rd->dev.info.nr_conv = s->nr_conv;
	rd->dev.info.size = s->nr_zones * s->zone_size;
	if (s->nr_conv == s->nr_zones)
		rd->dev.info.backend = "regular";
	if (s->runt)
		rd->dev.info.size -= s->zone_size - s->runt;
	rd->rec = r;
	rd->idx = d;
	rd->next = next;
	rd->copies = copies;
	rd->jitter = jitter;
	pthread_mutex_init(&rd->order, NULL);
	return &rd->dev;
}

struct rec *rec_create(const struct rec_image *start)
{
	struct rec *r = calloc(1, sizeof(*r));

	CHECK(r);
	pthread_mutex_init(&r->lock, NULL);
	rec_image_copy(&r->start, start);
	rec_image_copy(&r->now, start);
	return r;
}

void rec_free(struct rec *r)
{
	size_t i;

	for (i = 0; i < r->nr_ops; i++) {
		CHECK(!r->ops[i]->whole);
		free(r->ops[i]->data);
		free(r->ops[i]);
	}
	free(r->ops);
	rec_image_free(&r->start);
	rec_image_free(&r->now);
	rec_image_free(&r->base);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void rec_forget(struct rec *r)
{
	r->forgets = true;
}

uint64_t rec_mark(struct rec *r)
{
	uint64_t at;

	pthread_mutex_lock(&r->lock);
	at = r->events++;
	pthread_mutex_unlock(&r->lock);
	return at;
}

uint64_t rec_events(struct rec *r)
{
	uint64_t n;

	pthread_mutex_lock(&r->lock);
	n = r->events;
	pthread_mutex_unlock(&r->lock);
	return n;
}

uint64_t rec_refused(struct rec *r)
{
	uint64_t n;

	pthread_mutex_lock(&r->lock);
	n = r->refused;
	pthread_mutex_unlock(&r->lock);
	return n;
}

bool rec_discard(struct rec *r, size_t nr, struct rec_discard *d)
{
	const struct rec_op *op = NULL;
	size_t i;

	pthread_mutex_lock(&r->lock);
	for (i = 0; i < r->nr_ops && !op; i++)
		if (r->ops[i]->op == ZDEV_DISCARD && !nr--)
			op = r->ops[i];
	if (op)
		*d = (struct rec_discard) {
			.dev = op->dev, .zno = op->zno, .pos = op->pos, .len = op->len,
			.dead = op->dead, .submitted = op->submitted,
		};
	pthread_mutex_unlock(&r->lock);
	return op;
}

/* ---- what a power loss leaves ---- */

static bool covers(const struct rec_op *flush, const struct rec_op *op)
{
	return flush->op == ZDEV_FLUSH && !flush->result && flush->done != NEVER &&
	       flush->dev == op->dev && flush->submitted > op->done &&
	       (flush->zno == ZDEV_ALL_ZONES || flush->zno == op->zno);
}

/*
 * Find the event at which each operation became durable. A flush that completed
 * before another may have been submitted after it, so the first to complete counts.
 */
static void settle(struct rec *r)
{
	size_t nr_flushes = 0, i, f;
	struct rec_op **flush;

	if (r->settled && r->settled_ops == r->nr_ops)
		return;
	flush = calloc(r->nr_ops + 1, sizeof(struct rec_op *));
	CHECK(flush);
	for (i = 0; i < r->nr_ops; i++)
		if (r->ops[i]->op == ZDEV_FLUSH)
			flush[nr_flushes++] = r->ops[i];
	for (i = 0; i < r->nr_ops; i++) {
		struct rec_op *op = r->ops[i];

		op->durable = op->fua && op->done != NEVER && op->result >= 0 ? op->done : NEVER;
		for (f = 0; f < nr_flushes && op->done != NEVER; f++)
			if (covers(flush[f], op) && flush[f]->done < op->durable)
				op->durable = flush[f]->done;
	}
	free(flush);
	r->settled = true;
	r->settled_ops = r->nr_ops;
}

static bool has_effect(const struct rec_op *op)
{
	return op->op != ZDEV_FLUSH && (op->done == NEVER || op->result >= 0);
}

/* Advance the base image over operations that are durable at `events`. */
static void fold(struct rec *r, uint64_t events)
{
	if (!r->base.nr_devs || events < r->base_events) {
		rec_image_free(&r->base);
		rec_image_copy(&r->base, &r->start);
		r->folded = 0;
	}
	r->base_events = events;
	for (; r->folded < r->nr_ops; r->folded++) {
		const struct rec_op *op = r->ops[r->folded];

		if (op->submitted >= events)
			break;
		if (!has_effect(op))
			continue;
		if (op->durable >= events)
			break;
		apply(&r->base, op);
	}
}

/* What is chosen once for a power loss. */
struct choice {
	enum rec_mood	mood;
	uint64_t	events;
	uint64_t	moment;		/* PREFIX: */
	size_t		one;		/* ALL_BUT_ONE, ONLY_ONE: the index */
	uint64_t	salt;		/* BY_ZONE, BY_DEVICE */
	uint64_t	*rng;
};

static void choose(const struct rec *r, struct choice *c)
{
	size_t *candidates = calloc(r->nr_ops + 1, sizeof(*candidates)), nr = 0, i;
	uint64_t first = c->events;

	CHECK(candidates);
	for (i = r->folded; i < r->nr_ops && r->ops[i]->submitted < c->events; i++) {
		if (!has_effect(r->ops[i]) || r->ops[i]->durable < c->events)
			continue;
		if (!nr)
			first = r->ops[i]->submitted;
		candidates[nr++] = i;
	}
	c->one = nr ? candidates[rec_rnd(c->rng, nr)] : SIZE_MAX;
	c->moment = first + rec_rnd(c->rng, c->events - first + 1);
	c->salt = rec_rnd(c->rng, UINT32_MAX);
	free(candidates);
}

enum fate { LOST, KEPT, PARTLY };

static enum fate fate_of(const struct choice *c, size_t i, const struct rec_op *op)
{
	uint64_t key;

	switch (c->mood) {
	case REC_DROP:
		return LOST;
	case REC_KEEP:
		return KEPT;
	case REC_PREFIX:
		return op->done < c->moment ? KEPT : LOST;
	case REC_SOME:
		return rec_rnd(c->rng, 2) ? KEPT : LOST;
	case REC_TORN:
		return (enum fate)rec_rnd(c->rng, 3);
	case REC_ALL_BUT_ONE:
		return i == c->one ? (enum fate)(rec_rnd(c->rng, 2) ? LOST : PARTLY) : KEPT;
	case REC_ONLY_ONE:
		return i == c->one ? (enum fate)(rec_rnd(c->rng, 2) ? KEPT : PARTLY) : LOST;
	default:
		key = rec_seed(c->salt + op->dev * 65536 +
			       (c->mood == REC_BY_ZONE ? op->zno : 0));
		return rec_rnd(&key, 2) ? KEPT : LOST;
	}
}

/* How much of each sequential zone's history is there: operations up to an index. */
struct history {
	size_t		must;		/* 1 + the last that is durable; 0: none */
	bool		over;		/* one was lost: all behind it are */
};

static struct history *histories(const struct rec *r, const struct choice *c, uint32_t d)
{
	struct history *h = calloc(r->start.shape[d].nr_zones, sizeof(*h));
	size_t i;

	CHECK(h);
	for (i = r->folded; i < r->nr_ops && r->ops[i]->submitted < c->events; i++)
		if (r->ops[i]->dev == d && has_effect(r->ops[i]) &&
		    r->ops[i]->durable < c->events)
			h[r->ops[i]->zno].must = i + 1;
	return h;
}

/* The first bytes of a write that landed before the tail that is lost. */
static uint64_t torn_length(const struct rec *r, const struct rec_op *op, uint64_t *rng)
{
	uint32_t bs = r->start.shape[op->dev].block_size;

	return op->op == ZDEV_WRITE ? rec_rnd(rng, op->len / bs) * bs : 0;
}

static void leave_seq(const struct rec *r, struct rec_image *img, struct history *h, size_t i,
		      enum fate fate, uint64_t *rng)
{
	const struct rec_op *op = r->ops[i];
	uint64_t part;

	if (i < h->must)
		fate = KEPT;
	if (h->over)
		return;
	if (fate == KEPT) {
		apply_seq(img, op, op->len);
		return;
	}
	h->over = true;
	part = fate == PARTLY ? torn_length(r, op, rng) : 0;
	if (part)
		apply_seq(img, op, part);
}

void rec_build(struct rec *r, uint64_t events, enum rec_mood mood, uint64_t *rng,
	       struct rec_image *img)
{
	struct choice c = { .mood = mood, .events = events, .rng = rng };
	struct history *h[REC_MAX_DEVS] = { NULL };
	uint32_t d;
	size_t i;

	settle(r);
	fold(r, events);
	choose(r, &c);
	rec_image_copy(img, &r->base);
	for (d = 0; d < img->nr_devs; d++)
		h[d] = histories(r, &c, d);
	for (i = r->folded; i < r->nr_ops && r->ops[i]->submitted < events; i++) {
		const struct rec_op *op = r->ops[i];
		enum fate fate;

		if (!has_effect(op))
			continue;
		fate = fate_of(&c, i, op);
		if (op->durable < events)
			fate = KEPT;
		if (!is_conv(img, op->dev, op->zno))
			leave_seq(r, img, &h[op->dev][op->zno], i, fate, rng);
		else if (fate != LOST)
			apply_conv(img, op, fate == PARTLY ? rng : NULL);
	}
	for (d = 0; d < img->nr_devs; d++)
		free(h[d]);
}

static bool is_boundary(const struct rec *r, const struct rec_op *op)
{
	switch (op->op) {
	case ZDEV_FLUSH:
	case ZDEV_RESET:
	case ZDEV_FINISH:
		return true;
	case ZDEV_WRITE:
		return !op->pos && op->len == 4096 && is_conv(&r->start, op->dev, op->zno);
	default:
		return false;
	}
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

size_t rec_boundaries(struct rec *r, uint64_t **at)
{
	size_t nr = 0, out = 0, i;

	*at = calloc(4 * r->nr_ops + 1, sizeof(**at));
	CHECK(*at);
	for (i = 0; i < r->nr_ops; i++) {
		const struct rec_op *op = r->ops[i];

		if (!is_boundary(r, op))
			continue;
		(*at)[nr++] = op->submitted;
		(*at)[nr++] = op->submitted + 1;
		if (op->done == NEVER)
			continue;
		(*at)[nr++] = op->done;
		(*at)[nr++] = op->done + 1;
	}
	qsort(*at, nr, sizeof(**at), by_number);
	for (i = 0; i < nr; i++)
		if (!out || (*at)[out - 1] != (*at)[i])
			(*at)[out++] = (*at)[i];
	return out;
}

void rec_print(struct rec *r, uint64_t from, uint64_t to)
{
	static const char *const names[] = {
		[ZDEV_WRITE] = "write", [ZDEV_RESET] = "reset", [ZDEV_FINISH] = "finish",
		[ZDEV_FLUSH] = "flush", [ZDEV_DISCARD] = "discard",
	};
	size_t i;

	settle(r);
	for (i = 0; i < r->nr_ops; i++) {
		const struct rec_op *op = r->ops[i];

		if (op->submitted >= to || (op->done != NEVER && op->done < from))
			continue;
		fprintf(stderr, "  %" PRIu64 "..%" PRId64 " (durable %" PRId64 ") dev %u zone %d: "
			"%s%s block %" PRIu64 " +%" PRIu64 ": %zd\n", op->submitted,
			(int64_t)op->done, (int64_t)op->durable, op->dev, (int)op->zno,
			names[op->op], op->fua ? " fua" : "", op->pos / 4096, op->len / 4096,
			op->result);
	}
}
