/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes and discards: which zone takes them (part 12, with the freedoms of part
 * 17), and the change of bits once the data is there (R3).
 *
 * Writes to the same blocks run one after the other, in the order of arrival.
 */
#include <errno.h>
#include <string.h>

#include "block_i.h"

/* A write ahead of the pointer waits this long for what belongs before it. */
#define HOLD_NS		INT64_C(5000000)
#define HOLD_PARTS	256u
/* It may be this many times its own length ahead. */
#define HOLD_DISTANCE	64u
/* A gap that is not filled in time is filled with zeros up to these. */
#define GAP_TIMES	16u
#define GAP_BLOCKS	(ZDEV_MAX_IO / DMZ_BLOCK_SIZE)
/* A new chunk whose first write is at least this long is taken for a stream. */
#define STREAM_BLOCKS	16u
/*
 * Sequential zones that only reclaim may take. How many zones are spare in all is the
 * format's reserve; a stream may have the sequential ones of these, as then the
 * random ones stay free.
 */
#define KEEP_SEQ	2u
/* A zone was written "just now" when no more parts than these came since. */
#define STREAM_PARTS	4096u

/* What reclaim may need of the next commit besides. */
static uint32_t spare(const struct block *b)
{
	return 3 * b->bpz + 2;
}

/* ---- the order of writes ---- */

static bool overlaps(const struct part *a, const struct part *p)
{
	return a->block < p->block + p->nr && p->block < a->block + a->nr;
}

static bool must_wait(const struct chunk *c, const struct part *p)
{
	const struct part *a;

	for (a = c->writes; a != p; a = a->wnext)
		if (overlaps(a, p))
			return true;
	return false;
}

void write_queue(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;

	p->wprev = c->last_write;
	p->wnext = NULL;
	if (c->last_write)
		c->last_write->wnext = p;
	else
		c->writes = p;
	c->last_write = p;
	if (must_wait(c, p))
		return;
	p->running = true;
	write_step(b, p);
}

void write_unqueue(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;
	struct part *next = p->wnext, *q;

	if (p->wprev)
		p->wprev->wnext = next;
	else
		c->writes = next;
	if (next)
		next->wprev = p->wprev;
	else
		c->last_write = p->wprev;
	for (q = next; q; q = q->wnext) {
		if (q->running || !overlaps(p, q) || must_wait(c, q))
			continue;
		q->running = true;
		part_list_add(&b->ready, q);
	}
}

void chunk_settle(struct block *b, struct chunk *c)
{
	uint32_t dz = map_dzone(b, c->no), bz = map_bzone(b, c->no);

	if (c->started || c->job || dz == DMZ_NONE || !map_has_room(b, c->no))
		return;
	if (bz != DMZ_NONE && !b->zones[bz].weight) {
		map_set(b, c->no, dz, DMZ_NONE);
		zone_leave(b, bz);
		bz = DMZ_NONE;
	} else if (bz != DMZ_NONE && !b->zones[dz].weight) {
		/* All that is valid is in the buffer: it takes the data zone's place. */
		map_set(b, c->no, bz, DMZ_NONE);
		zone_leave(b, dz);
		dz = bz;
		bz = DMZ_NONE;
	}
	/* Nothing valid at all: unless a write is about to come. */
	if (bz == DMZ_NONE && !b->zones[dz].weight && !c->writes) {
		map_set(b, c->no, DMZ_NONE, DMZ_NONE);
		zone_leave(b, dz);
	}
}

static void write_end(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;

	write_unqueue(b, p);
	chunk_settle(b, c);
	if (c->job && !c->started)
		pthread_cond_broadcast(&b->changed);
	part_done(b, p);
}

/* ---- held writes ---- */

static void hold(struct block *b, struct part *p)
{
	if (!p->deadline)
		p->deadline = zclock_now() + HOLD_NS;
	part_list_add(&p->chunk->held, p);
	if (!b->nr_held++)
		pthread_cond_signal(&b->commit_cond);
}

/* Take the held parts of c that `late` (a time) or the pointer allow now. */
static void release_held(struct block *b, struct chunk *c, int64_t now, uint32_t wp)
{
	struct part_list all = c->held;
	struct part *p, *next;

	if (!all.head)
		return;
	part_list_init(&c->held);
	for (p = all.head; p; p = next) {
		next = p->next;
		if (p->block > wp && p->deadline > now) {
			part_list_add(&c->held, p);
			continue;
		}
		p->late = p->block > wp;
		b->nr_held--;
		part_list_add(&b->ready, p);
	}
}

int64_t write_held_timeout(struct block *b, int64_t now)
{
	int64_t first = 0;
	struct chunk *c;
	struct part *p;
	uint32_t i;

	for (i = 0; b->nr_held && i < CHUNK_HASH; i++) {
		for (c = b->chunk_hash[i]; c; c = c->hash_next) {
			release_held(b, c, now, 0);
			for (p = c->held.head; p; p = p->next)
				if (!first || p->deadline < first)
					first = p->deadline;
		}
	}
	return first;
}

/* ---- where to ---- */

static void wait_for_commit(struct block *b, struct part *p)
{
	part_list_add(&b->wait_commit, p);
	commit_kick(b);
}

static void wait_for_zone(struct block *b, struct part *p)
{
	b->stats.waits_for_zone++;
	p->chunk->want_zone++;
	part_list_add(&b->wait_zone, p);
	reclaim_kick(b);
	if (b->leaving.nr)
		commit_kick(b);
}

/* The writes of c that wait for a zone are tried again. */
static void stop_waiting(struct block *b, struct chunk *c)
{
	struct part_list all = b->wait_zone;
	struct part *p, *next;

	if (!c->want_zone)
		return;
	c->want_zone = 0;
	part_list_init(&b->wait_zone);
	for (p = all.head; p; p = next) {
		next = p->next;
		part_list_add(p->chunk == c ? &b->ready : &b->wait_zone, p);
	}
}

/*
 * A zone costs a whole chunk's copying: it goes where most writes wait. Now and
 * then to the one that has waited longest, so that none waits for ever.
 */
#define OLDEST_EVERY	4u

void write_zone_free(struct block *b)
{
	struct chunk *best;
	struct part *p;

	if (!b->wait_zone.head)
		return;
	best = b->wait_zone.head->chunk;
	if (b->nr_given++ % OLDEST_EVERY)
		for (p = b->wait_zone.head; p; p = p->next)
			if (p->chunk->want_zone > best->want_zone)
				best = p->chunk;
	stop_waiting(b, best);
}

void write_wake_zone_waiters(struct block *b, int err)
{
	struct part *p;

	for (p = b->wait_zone.head; p; p = p->next) {
		p->chunk->want_zone = 0;
		p->error = err;
	}
	parts_wake(b, &b->wait_zone);
}

/* A stream that filled the chunk before this one comes on here. */
static bool continues_stream(const struct block *b, uint32_t chunk)
{
	const struct zone *z;
	uint32_t dz;

	if (!chunk)
		return false;
	dz = map_dzone(b, chunk - 1);
	if (dz == DMZ_NONE)
		return false;
	z = &b->zones[dz];
	return zone_is_seq(z) && z->wp == b->zone_blocks && b->clock - z->stamp < STREAM_PARTS;
}

/* A zone for the first write to a chunk: sequential at once when that looks well. */
static uint32_t first_zone(struct block *b, const struct part *p)
{
	uint32_t zone = DMZ_NONE, near = p->block;
	bool long_one = p->nr >= STREAM_BLOCKS;

	if (near <= GAP_BLOCKS && near <= p->nr * GAP_TIMES && near < b->zone_blocks / 8 &&
	    (long_one || continues_stream(b, p->chunk->no)))
		zone = zone_alloc_seq(b, KEEP_SEQ);
	if (zone == DMZ_NONE)
		zone = zone_alloc_random(b);
	return zone;
}

enum direct { DIRECT_YES, DIRECT_NO, DIRECT_LATER };

/* May p go to the sequential data zone itself? */
static enum direct direct(const struct block *b, const struct part *p, const struct zone *z)
{
	uint32_t gap;

	if (p->chunk->job || z->flags || p->no_direct || p->block < z->wp)
		return DIRECT_NO;
	gap = p->block - z->wp;
	if (p->offload)
		return gap || p->chunk->started ? DIRECT_NO : DIRECT_YES;
	if (!gap)
		return DIRECT_YES;
	if (!p->late && gap <= p->nr * HOLD_DISTANCE && b->nr_held < HOLD_PARTS &&
	    (b->clock - z->stamp < HOLD_PARTS || !z->wp))
		return DIRECT_LATER;
	return p->late && gap <= GAP_BLOCKS && gap <= p->nr * GAP_TIMES ? DIRECT_YES : DIRECT_NO;
}

/* Set p->zone and p->other; false when p waits for something. */
static bool choose(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;
	uint32_t dz = map_dzone(b, c->no), bz = map_bzone(b, c->no);

	if ((dz == DMZ_NONE || bz == DMZ_NONE) && !map_has_room(b, c->no)) {
		wait_for_commit(b, p);
		return false;
	}
	if (dz == DMZ_NONE) {
		dz = first_zone(b, p);
		if (dz == DMZ_NONE) {
			wait_for_zone(b, p);
			return false;
		}
		map_set(b, c->no, dz, DMZ_NONE);
		stop_waiting(b, c);
	}
	p->zone = dz;
	p->other = bz;
	if (!zone_is_seq(&b->zones[dz]))
		return true;
	switch (direct(b, p, &b->zones[dz])) {
	case DIRECT_YES:
		return true;
	case DIRECT_LATER:
		hold(b, p);
		return false;
	case DIRECT_NO:
		break;
	}
	if (bz == DMZ_NONE) {
		bz = zone_alloc_random(b);
		if (bz == DMZ_NONE) {
			wait_for_zone(b, p);
			return false;
		}
		map_set(b, c->no, dz, bz);
		/* Reclaim of the chunk would wait for them, and they for reclaim. */
		stop_waiting(b, c);
	}
	p->zone = bz;
	p->other = dz;
	return true;
}

/* ---- bitmaps of a change ---- */

static void drop_bitmaps(struct block *b, struct part *p)
{
	struct bm *bms[2] = { p->bm, p->other_bm };
	int i;

	for (i = 0; i < 2; i++) {
		if (!bms[i])
			continue;
		bm_unclaim(b, bms[i]);
		bm_unpin(bms[i]);
	}
	p->bm = p->other_bm = NULL;
}

/* Pin and claim the bitmap of zone for p's blocks in *slot; false: p waits. */
static bool take_bitmap(struct block *b, struct part *p, uint32_t zone, struct bm **slot)
{
	struct bm *bm = bm_get(b, zone, p->block, p);

	if (!bm)
		return false;
	if (!bm_claim(b, bm, spare(b))) {
		bm_unpin(bm);
		wait_for_commit(b, p);
		return false;
	}
	*slot = bm;
	return true;
}

/* Bits of a zone without any stay as they are while p's blocks are ours. */
static bool take_bitmaps(struct block *b, struct part *p, uint32_t zone, uint32_t other)
{
	if (zone != DMZ_NONE && !take_bitmap(b, p, zone, &p->bm))
		return false;
	if (other == DMZ_NONE || !b->zones[other].weight ||
	    take_bitmap(b, p, other, &p->other_bm))
		return true;
	drop_bitmaps(b, p);
	return false;
}

/* Returns how many were set. */
static uint32_t clear_bits(struct block *b, uint32_t zone, struct bm *bm, const struct part *p)
{
	uint32_t n;

	if (!bm)
		return 0;
	n = bm_clear(bm, p->block % DMZ_BITS_PER_BLOCK, p->nr);
	b->zones[zone].weight -= n;
	if (n)
		bm->dirty = true;
	return n;
}

static void set_bits(struct block *b, uint32_t zone, struct bm *bm, const struct part *p)
{
	uint32_t n = bm_set(bm, p->block % DMZ_BITS_PER_BLOCK, p->nr);

	b->zones[zone].weight += n;
	if (n)
		bm->dirty = true;
}

/* Reclaim must not take these blocks for what it copied. */
static void mark_changed(struct part *p)
{
	struct reclaim_job *job = p->chunk->job;
	uint32_t i;

	if (!job)
		return;
	for (i = p->block; i < p->block + p->nr; i++)
		job->changed[i / 64] |= UINT64_C(1) << i % 64;
}

/* ---- the write itself ---- */

static void write_done(struct zdev_io *io);

static void issue_part(struct block *b, struct part *p, int i, uint32_t block, char *data,
		       uint32_t nr)
{
	struct zdev_io *io = &p->dev[i];

	memset(io, 0, sizeof(*io));
	p->iov[i].iov_base = data;
	p->iov[i].iov_len = (size_t)nr * DMZ_BLOCK_SIZE;
	io->op = ZDEV_WRITE;
	io->zno = p->zone;
	io->pos = (uint64_t)block * DMZ_BLOCK_SIZE;
	if (p->offload) {
		io->op = ZDEV_COPY;
		dmz_zone_dev(b->devs, p->src, &io->src_zno);
		io->src_pos = p->io->src % b->devs->zone_size;
		io->bytes = (uint64_t)nr * DMZ_BLOCK_SIZE;
		zone_get(b, p->src);
	} else {
		io->iov = &p->iov[i];
		io->nr_iov = 1;
	}
	io->done = write_done;
	io->owner = p;
	zone_get(b, p->zone);
	p->pending++;
	issue_io(b, zone_is_seq(&b->zones[p->zone]) ? &b->issue_seq : &b->issue, io);
}

static void start_write(struct block *b, struct part *p)
{
	struct zone *z = &b->zones[p->zone];
	uint32_t gap;
	int i = 0;

	p->chunk->started++;
	if (!zone_is_seq(z)) {
		mark_changed(p);
		b->stats.buffered_writes++;
		issue_part(b, p, 0, p->block, p->data, p->nr);
		return;
	}
	b->stats.direct_writes++;
	/* The device may refuse to copy: until it has, nothing must follow. */
	if (p->offload)
		z->flags |= ZONE_F_ERROR;
	gap = p->block - z->wp;
	if (gap)
		issue_part(b, p, i++, z->wp, b->zeroes, gap);
	issue_part(b, p, i, p->block, p->data, p->nr);
	zone_set_wp(b, p->zone, p->block + p->nr);
	release_held(b, p->chunk, 0, z->wp);
}

/*
 * The zone refused. A sequential one takes no more before its next reset, and p
 * goes to a random zone instead; from there is no way on.
 */
static bool write_failed(struct block *b, struct part *p)
{
	struct zone *z = &b->zones[p->zone];

	if (p->error == -EPERM || p->error == -EROFS) {
		block_fail(b, -EROFS);
		p->error = -EROFS;
		return false;
	}
	if (!zone_is_seq(z))
		return false;
	z->flags |= ZONE_F_ERROR;
	p->no_direct = true;
	p->error = 0;
	return true;
}

/* Whatever went wrong, the copy is made by hand then. */
static void offload_ended(struct block *b, struct part *p)
{
	struct zone *z = &b->zones[p->zone];

	zone_put(b, p->src);
	if (!zone_is_seq(z) || (p->error && p->error != -EOPNOTSUPP))
		return;
	z->flags &= (uint8_t)~ZONE_F_ERROR;
	if (p->error)
		zone_set_wp(b, p->zone, p->block);
}

static void write_complete(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;
	bool again = false;

	if (p->offload)
		offload_ended(b, p);
	else
		again = p->error && write_failed(b, p);

	c->started--;
	if (!p->error && !again) {
		set_bits(b, p->zone, p->bm, p);
		clear_bits(b, p->other, p->other_bm, p);
	}
	drop_bitmaps(b, p);
	/* Others ran meanwhile and may have found no room. */
	bm_wake(b);
	if (!again) {
		write_end(b, p);
		return;
	}
	if (c->job && !c->started)
		pthread_cond_broadcast(&b->changed);
	part_list_add(&b->ready, p);
}

static void write_done(struct zdev_io *io)
{
	struct part *p = io->owner;
	struct block *b = p->b;

	pthread_mutex_lock(&b->lock);
	zone_put(b, p->zone);
	if (io->result < 0 && !p->error)
		p->error = (int)io->result;
	else if (!p->offload && io->result >= 0 &&
		 io->result != (ssize_t)io->iov->iov_len && !p->error)
		p->error = -EIO;
	if (!--p->pending)
		write_complete(b, p);
	block_leave(b);
}

/* The device copies within itself, from one zone. false: p waits, or has ended. */
static bool take_source(struct block *b, struct part *p)
{
	uint32_t zno;

	if (!p->offload)
		return true;
	if (!read_source(b, p->io->src, p->nr, p, &p->src)) {
		drop_bitmaps(b, p);
		return false;
	}
	if (p->src != DMZ_NONE && p->src != p->zone &&
	    dmz_zone_dev(b->devs, p->src, &zno) == dmz_zone_dev(b->devs, p->zone, &zno))
		return true;
	drop_bitmaps(b, p);
	p->error = -EXDEV;
	write_end(b, p);
	return false;
}

/* ---- discards (R15) ---- */

static void discard_done(struct zdev_io *io)
{
	struct part *p = io->owner;
	struct block *b = p->b;

	pthread_mutex_lock(&b->lock);
	zone_put(b, p->zone);
	/* The blocks read as zeros in any case. */
	trim_count(b, io);
	p->chunk->started--;
	write_end(b, p);
	block_leave(b);
}

/*
 * What p->zone holds of these blocks goes back to the device. No write comes to them
 * before that is done, as p keeps its place. A power loss may leave their bits set:
 * then they read as before or as zeros, as after any discard that was not flushed.
 */
static void start_discard(struct block *b, struct part *p)
{
	struct zdev_io *io = &p->dev[0];

	memset(io, 0, sizeof(*io));
	io->op = ZDEV_DISCARD;
	io->zno = p->zone;
	io->pos = (uint64_t)p->block * DMZ_BLOCK_SIZE;
	io->bytes = (uint64_t)p->nr * DMZ_BLOCK_SIZE;
	io->done = discard_done;
	io->owner = p;
	p->chunk->started++;
	zone_get(b, p->zone);
	issue_io(b, &b->issue, io);
}

/* Nr blocks of p were valid in zone: is it worth telling the device? */
static bool gives_back(const struct block *b, const struct part *p, uint32_t zone, uint32_t nr)
{
	const struct chunk *c = p->chunk;

	if (!nr || zone_is_seq(&b->zones[zone]) || p->io->op != BLOCK_DISCARD)
		return false;
	/* A zone that this leaves empty is freed now, and goes back whole: trim.c. */
	return b->zones[zone].weight || c->started || c->job || p->wprev || p->wnext;
}

static void discard_step(struct block *b, struct part *p)
{
	uint32_t dz = map_dzone(b, p->chunk->no), bz = map_bzone(b, p->chunk->no);
	uint32_t in_data, in_buffer;

	if (dz != DMZ_NONE && !b->zones[dz].weight)
		dz = DMZ_NONE;
	if (!take_bitmaps(b, p, dz, bz))
		return;
	mark_changed(p);
	in_data = clear_bits(b, dz, p->bm, p);
	in_buffer = clear_bits(b, bz, p->other_bm, p);
	drop_bitmaps(b, p);
	/* At most one of the two is random (part 7). */
	p->zone = DMZ_NONE;
	if (gives_back(b, p, dz, in_data))
		p->zone = dz;
	else if (gives_back(b, p, bz, in_buffer))
		p->zone = bz;
	if (p->zone != DMZ_NONE)
		start_discard(b, p);
	else
		write_end(b, p);
}

/* The block was read: put in what the user changes. */
static void merge(struct part *p)
{
	if (p->io->op == BLOCK_WRITE)
		part_copy(p, false);
	else
		memset(p->bounce + p->byte, 0, p->bytes);
	p->rmw = false;
}

void write_step(struct block *b, struct part *p)
{
	struct chunk *c = p->chunk;

	if (!p->io) {
		/* Reclaim has its blocks for itself now. */
		pthread_cond_broadcast(&b->changed);
		return;
	}
	if (!p->error && b->failed)
		p->error = -EROFS;
	if (p->error) {
		write_end(b, p);
		return;
	}
	if (c->job && c->job->hold) {
		part_list_add(&c->parked, p);
		return;
	}
	if (p->rmw && p->at < p->nr) {
		read_step(b, p);
		return;
	}
	if (p->rmw && p->io->op != BLOCK_WRITE && map_dzone(b, c->no) == DMZ_NONE) {
		/* Zeros are there already. */
		write_end(b, p);
		return;
	}
	if (p->rmw)
		merge(p);
	if (p->op == PART_DISCARD)
		discard_step(b, p);
	else if (choose(b, p) && take_bitmaps(b, p, p->zone, p->other) && take_source(b, p))
		start_write(b, p);
}
