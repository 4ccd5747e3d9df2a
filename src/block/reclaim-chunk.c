/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim of one chunk: cases A to D of part 13, and one of ours.
 *
 * While a chunk is copied, reads and writes go on. No write goes to its
 * sequential data zone; those in place to a random one are marked. When the
 * copy is complete the writes in flight are waited for, and in one step what was
 * copied and has not changed since counts in the new zone, the rest where it is:
 * the chunk then has the old random zone for its buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_i.h"

#define NR_JOBS		32u
#define JOB_BLOCKS	1024u		/* 4 MiB */
#define PIECE		(512u * 1024)
#define NR_PIECES	16u

/* ---- waiting ---- */

/* Writes to c wait from now on; those in flight are waited for. */
static void hold_writes(struct block *b, struct chunk *c)
{
	c->job->hold = true;
	while (c->started) {
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		if (c->started)
			pthread_cond_wait(&b->changed, &b->lock);
	}
}

static void let_writes(struct block *b, struct chunk *c)
{
	c->job->hold = false;
	parts_wake(b, &c->parked);
}

static void wait_jobs(struct block *b, unsigned left)
{
	while (b->jobs_running > left) {
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		if (b->jobs_running > left)
			pthread_cond_wait(&b->changed, &b->lock);
	}
}

/* ---- copying ---- */

static void job_done(struct copier_job *job)
{
	struct block *b = job->owner;

	pthread_mutex_lock(&b->lock);
	if (job->error && !b->job_error)
		b->job_error = job->error;
	b->stats.reclaim_bytes += job->error ? 0 : job->len;
	job->len = 0;
	b->jobs_running--;
	pthread_cond_broadcast(&b->changed);
	block_leave(b);
}

static struct copier_job *free_job(struct block *b)
{
	unsigned i;

	wait_jobs(b, NR_JOBS - 1);
	for (i = 0; i < NR_JOBS; i++)
		if (!b->jobs[i].len)
			return &b->jobs[i];
	return NULL;
}

static void place(struct block *b, struct copier_place *p, uint32_t zone, uint32_t block)
{
	p->dev = dmz_zone_dev(b->devs, zone, &p->zno);
	p->pos = (uint64_t)block * DMZ_BLOCK_SIZE;
}

/* from DMZ_NONE: zeros. Drops the lock. */
static void copy_run(struct block *b, uint32_t from, uint32_t to, uint32_t block, uint32_t nr)
{
	struct copier_job *job = free_job(b);

	memset(job, 0, sizeof(*job));
	if (from != DMZ_NONE)
		place(b, &job->src, from, block);
	place(b, &job->dst[0], to, block);
	job->nr_dst = 1;
	job->len = (uint64_t)nr * DMZ_BLOCK_SIZE;
	job->done = job_done;
	job->owner = b;
	b->jobs_running++;
	block_leave(b);
	copier_submit(b->copier, job);
	pthread_mutex_lock(&b->lock);
}

/* Where block of the chunk is valid now, and how far that goes. */
struct where {
	uint32_t	zone, nr;
};

static bool is_changed(const struct block *b, uint32_t block)
{
	return b->job_changed[block / 64] & UINT64_C(1) << block % 64;
}

/* May drop the lock to read bitmaps. 0 or -errno. */
static int find_run(struct block *b, const struct reclaim_job *job, uint32_t block,
		    struct where *w)
{
	uint32_t zone[2] = { job->kind == RECLAIM_APPEND ? DMZ_NONE : job->dzone,
			     job->kind == RECLAIM_MERGE ? DMZ_NONE : job->bzone };
	uint32_t bit = block % DMZ_BITS_PER_BLOCK, n;
	struct bm *bm;
	int i, err;

	w->zone = DMZ_NONE;
	w->nr = b->zone_blocks - block;
	if (w->nr > DMZ_BITS_PER_BLOCK - bit)
		w->nr = DMZ_BITS_PER_BLOCK - bit;
	for (i = 0; i < 2 && w->zone == DMZ_NONE; i++) {
		if (zone[i] == DMZ_NONE)
			continue;
		bm = bm_get_wait(b, zone[i], block, &err);
		if (!bm)
			return err;
		n = bm_run(bm, bit, w->nr);
		w->nr = n < w->nr ? n : w->nr;
		if (bm_test(bm, bit))
			w->zone = zone[i];
		bm_put(b, bm);
	}
	/* What is being changed in place stays there. */
	if (w->zone != DMZ_NONE && !zone_is_seq(&b->zones[w->zone]) && is_changed(b, block)) {
		w->zone = DMZ_NONE;
		w->nr = 1;
	}
	if (w->zone != DMZ_NONE && w->nr > JOB_BLOCKS)
		w->nr = JOB_BLOCKS;
	return 0;
}

/* Everything valid goes to the sequential zone `to`, from its write pointer on. */
static int copy_chunk(struct block *b, struct reclaim_job *job, uint32_t to)
{
	uint32_t block = b->zones[to].wp, gap;
	struct where w;
	int ret = 0;

	while (block < b->zone_blocks && !ret) {
		ret = find_run(b, job, block, &w);
		if (ret)
			break;
		if (w.zone != DMZ_NONE) {
			gap = block - b->zones[to].wp;
			if (gap)
				copy_run(b, DMZ_NONE, to, b->zones[to].wp, gap);
			copy_run(b, w.zone, to, block, w.nr);
			zone_set_wp(b, to, block + w.nr);
		}
		block += w.nr;
		ret = b->stopping ? -ECANCELED : b->failed ? b->failed : b->job_error;
	}
	wait_jobs(b, 0);
	return ret ? ret : b->job_error;
}

/* ---- the step from the old state to the new ---- */

/* Bitmaps of up to three zones: data zone, buffer zone, target. */
struct final {
	struct bm	**bm[3];
	uint32_t	zone[3];
};

static void put_final(struct block *b, struct final *f)
{
	uint32_t i, k;

	for (i = 0; i < 3; i++) {
		for (k = 0; f->bm[i] && k < b->bpz; k++) {
			if (!f->bm[i][k])
				continue;
			bm_unclaim(b, f->bm[i][k]);
			bm_put(b, f->bm[i][k]);
		}
	}
}

static int get_bitmap(struct block *b, uint32_t zone, uint32_t k, struct bm **slot)
{
	struct bm *bm;
	int err;

	bm = bm_get_wait(b, zone, k * DMZ_BITS_PER_BLOCK, &err);
	if (!bm)
		return err;
	while (!bm_claim(b, bm, 1)) {
		if (b->failed) {
			bm_put(b, bm);
			return b->failed;
		}
		commit_kick(b);
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		if (bm_claim(b, bm, 1))
			break;
		if (!b->failed)
			pthread_cond_wait(&b->changed, &b->lock);
	}
	*slot = bm;
	return 0;
}

/* May drop the lock. The chunk's writes must be held. */
static int get_final(struct block *b, struct final *f)
{
	uint32_t i, k;
	int ret;

	for (i = 0; i < 3; i++) {
		if (f->zone[i] == DMZ_NONE)
			continue;
		f->bm[i] = &b->final_bms[(size_t)i * b->bpz];
		memset(f->bm[i], 0, b->bpz * sizeof(*f->bm[i]));
		for (k = 0; k < b->bpz; k++) {
			ret = get_bitmap(b, f->zone[i], k, &f->bm[i][k]);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static int wait_map_room(struct block *b, uint32_t chunk)
{
	while (!map_has_room(b, chunk)) {
		if (b->failed)
			return b->failed;
		commit_kick(b);
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		if (!map_has_room(b, chunk) && !b->failed)
			pthread_cond_wait(&b->changed, &b->lock);
	}
	return 0;
}

/* Bits of word w in bitmap block k go from one zone to another but for `but`. */
static void move_word(struct block *b, struct final *f, int from, int to, uint32_t k,
		      uint32_t w, uint64_t but_le)
{
	struct bm *src, *dst;
	uint64_t bits;
	uint32_t n;

	if (!f->bm[from])
		return;
	src = f->bm[from][k];
	dst = f->bm[to][k];
	bits = src->bits[w] & ~but_le;
	if (!bits)
		return;
	n = (uint32_t)__builtin_popcountll(bits);
	src->bits[w] &= ~bits;
	b->zones[f->zone[from]].weight -= n;
	b->zones[f->zone[to]].weight += (uint32_t)__builtin_popcountll(bits & ~dst->bits[w]);
	dst->bits[w] |= bits;
	src->dirty = dst->dirty = true;
}

static void move_bits(struct block *b, struct final *f, int to)
{
	uint32_t words = b->zone_blocks / 64 ? b->zone_blocks / 64 : 1, per = DMZ_BITS_PER_BLOCK / 64;
	uint64_t changed;
	uint32_t w;
	int from;

	for (w = 0; w < words; w++) {
		changed = htole64(b->job_changed[w]);
		for (from = 0; from < 2; from++) {
			if (from == to || f->zone[from] == DMZ_NONE)
				continue;
			move_word(b, f, from, to, w / per, w % per,
				  zone_is_seq(&b->zones[f->zone[from]]) ? 0 : changed);
		}
	}
}

/* The chunk's new mapping, from what is valid where. */
static void remap(struct block *b, struct chunk *c, const struct reclaim_job *job)
{
	uint32_t dz = job->dzone, bz = job->bzone, old_random, seq;

	if (job->kind == RECLAIM_APPEND) {
		seq = dz;
		old_random = bz;
	} else {
		seq = job->target;
		old_random = job->kind == RECLAIM_MOVE ? dz : bz;
	}
	if (old_random != DMZ_NONE && !b->zones[old_random].weight) {
		map_set(b, c->no, seq, DMZ_NONE);
		zone_leave(b, old_random);
	} else {
		map_set(b, c->no, seq, old_random);
	}
	if (job->kind == RECLAIM_REWRITE)
		zone_leave(b, dz);
}

static int finish_copy(struct block *b, struct chunk *c)
{
	struct reclaim_job *job = c->job;
	struct final f = { .zone = { job->dzone, job->bzone, job->target } };
	int ret;

	hold_writes(b, c);
	ret = get_final(b, &f);
	if (!ret)
		ret = wait_map_room(b, c->no);
	if (!ret) {
		move_bits(b, &f, job->kind == RECLAIM_APPEND ? 0 : 2);
		remap(b, c, job);
	}
	put_final(b, &f);
	return ret;
}

/* ---- the cases ---- */

/* One that refused a write is the last choice: it may refuse this, too. */
static bool is_better(const struct zone *z, const struct zone *best)
{
	if (!z->flags != !best->flags)
		return !z->flags;
	return z->wp > best->wp;
}

static bool is_written(const struct block *b, uint32_t chunk)
{
	const struct chunk *c = chunk_find(b, chunk);

	return c && c->started;
}

/*
 * A zone that is begun but not full, the one with the least left, and none that is being
 * written. DMZ_NONE; *later: one that is will be free for it soon, or reset.
 */
static uint32_t find_begun(const struct block *b, bool *later)
{
	uint32_t zone, best = DMZ_NONE;
	const struct zone *z;

	for (zone = 0; zone < b->devs->nr_zones; zone++) {
		z = &b->zones[zone];
		if (!zone_is_seq(z) || !z->wp || z->wp == b->zone_blocks ||
		    z->flags & ZONE_F_BAD || z->state == ZONE_META)
			continue;
		if (z->state != ZONE_DATA || (z->refs && is_written(b, z->chunk)))
			*later = true;
		else if (best == DMZ_NONE || is_better(z, &b->zones[best]))
			best = zone;
	}
	return best;
}

/*
 * The device takes no further zone that is begun but not full: fill one up. 0, -EAGAIN
 * when that may be tried again, or -errno.
 */
static int finish_one(struct block *b)
{
	bool later = false;
	uint32_t zone = find_begun(b, &later), zno;
	struct zdev *dev;
	struct zone *z;
	int ret;

	if (zone == DMZ_NONE)
		return later ? -EAGAIN : -ENOSPC;
	z = &b->zones[zone];
	/* Keeps writes away meanwhile, and the zone from being reset and used again. */
	z->flags |= ZONE_F_ERROR;
	zone_get(b, zone);
	block_leave(b);
	dev = dmz_zone_dev(b->devs, zone, &zno);
	ret = zdev_command(dev, ZDEV_FINISH, zno);
	pthread_mutex_lock(&b->lock);
	if (!ret) {
		z->flags &= (uint8_t)~ZONE_F_ERROR;
		zone_set_wp(b, zone, b->zone_blocks);
	}
	zone_put(b, zone);
	return ret;
}

/* A target that nothing names on disk may be reset at once. */
static void drop_target(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];

	z->state = ZONE_LEFT;
	b->nr_leaving++;
	if (b->job_error)
		z->flags |= ZONE_F_ERROR;
	if (!z->refs) {
		zone_list_push(b, &b->left, zone);
		commit_kick(b);
	}
}

/* B, or both zones into a new one. */
static int do_move(struct block *b, struct chunk *c)
{
	struct reclaim_job *job = c->job;
	int ret;

	while ((job->target = zone_alloc_seq(b, 0)) == DMZ_NONE) {
		ret = b->free_seq.nr ? finish_one(b) : -ENOSPC;
		if (ret)
			return ret;
	}
	b->zones[job->target].state = ZONE_TARGET;
	ret = copy_chunk(b, job, job->target);
	if (!ret)
		ret = finish_copy(b, c);
	if (ret)
		drop_target(b, job->target);
	return ret;
}

/* C. What was copied without its bits being set does no harm. */
static int do_append(struct block *b, struct chunk *c)
{
	int ret = copy_chunk(b, c->job, c->job->dzone);

	if (b->job_error)
		b->zones[c->job->dzone].flags |= ZONE_F_ERROR;
	return ret ? ret : finish_copy(b, c);
}

/* Bits of a piece follow its data at once: its blocks are ours while it is copied. */
static int merge_bits(struct block *b, const struct reclaim_job *job, const struct where *w,
		      uint32_t block)
{
	uint32_t k = block / DMZ_BITS_PER_BLOCK, bit = block % DMZ_BITS_PER_BLOCK, i;
	struct bm *bm[2] = { NULL, NULL };
	uint32_t zone[2] = { job->dzone, job->bzone };
	int ret = 0;

	for (i = 0; i < 2 && !ret; i++)
		ret = get_bitmap(b, zone[i], k, &bm[i]);
	if (!ret) {
		b->zones[zone[1]].weight += bm_set(bm[1], bit, w->nr);
		b->zones[zone[0]].weight -= bm_clear(bm[0], bit, w->nr);
		bm[0]->dirty = bm[1]->dirty = true;
	}
	for (i = 0; i < 2; i++) {
		if (!bm[i])
			continue;
		bm_unclaim(b, bm[i]);
		bm_put(b, bm[i]);
	}
	return ret;
}

static int merge_piece(struct block *b, struct chunk *c, uint32_t block, uint32_t *nr)
{
	struct part p = { .b = b, .chunk = c, .op = PART_WRITE, .block = block, .nr = *nr };
	struct where w;
	int ret;

	write_queue(b, &p);
	while (!p.running) {
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		if (!p.running)
			pthread_cond_wait(&b->changed, &b->lock);
	}
	/* While it waited a write may have made them invalid. */
	ret = find_run(b, c->job, block, &w);
	if (!ret && w.zone != DMZ_NONE) {
		w.nr = w.nr < *nr ? w.nr : *nr;
		copy_run(b, w.zone, c->job->bzone, block, w.nr);
		wait_jobs(b, 0);
		ret = b->job_error;
		if (!ret)
			ret = merge_bits(b, c->job, &w, block);
	}
	*nr = w.nr < *nr ? w.nr : *nr;
	write_unqueue(b, &p);
	return ret;
}

/* D: the data zone's blocks go to the buffer, which takes its place. */
static int do_merge(struct block *b, struct chunk *c)
{
	struct reclaim_job *job = c->job;
	uint32_t block = 0, nr;
	struct where w;
	int ret = 0;

	/* Pieces take their turn among the writes: one that was parked would never end. */
	let_writes(b, c);
	while (block < b->zone_blocks && b->zones[job->dzone].weight && !ret) {
		ret = find_run(b, job, block, &w);
		nr = w.nr;
		if (!ret && w.zone != DMZ_NONE)
			ret = merge_piece(b, c, block, &nr);
		block += nr;
		if (!ret)
			ret = b->stopping ? -ECANCELED : b->failed;
	}
	if (ret || b->zones[job->dzone].weight)
		return ret;
	hold_writes(b, c);
	ret = wait_map_room(b, c->no);
	if (ret)
		return ret;
	map_set(b, c->no, job->bzone, DMZ_NONE);
	zone_leave(b, job->dzone);
	return 0;
}

/* A. */
static int do_empty(struct block *b, struct chunk *c)
{
	hold_writes(b, c);
	return wait_map_room(b, c->no);
}

/* Is all of the buffer at or behind the data zone's pointer? 1, 0 or -errno. */
static int can_append(struct block *b, const struct reclaim_job *job)
{
	const struct zone *dz = &b->zones[job->dzone];
	uint32_t block = 0, nr;
	struct bm *bm;
	int err;

	if (dz->flags || dz->wp == b->zone_blocks)
		return 0;
	while (block < dz->wp) {
		bm = bm_get_wait(b, job->bzone, block, &err);
		if (!bm)
			return err;
		nr = dz->wp - block;
		if (nr > DMZ_BITS_PER_BLOCK - block % DMZ_BITS_PER_BLOCK)
			nr = DMZ_BITS_PER_BLOCK - block % DMZ_BITS_PER_BLOCK;
		err = bm_test(bm, block % DMZ_BITS_PER_BLOCK) ||
		      bm_run(bm, block % DMZ_BITS_PER_BLOCK, nr) < nr;
		bm_put(b, bm);
		if (err)
			return 0;
		block += nr;
	}
	return 1;
}

static int run_kind(struct block *b, struct chunk *c)
{
	struct reclaim_job *job = c->job;
	int ret;

	if (job->kind == RECLAIM_REWRITE || job->kind == RECLAIM_MERGE) {
		ret = can_append(b, job);
		if (ret < 0)
			return ret;
		if (ret)
			job->kind = RECLAIM_APPEND;
	}
	switch (job->kind) {
	case RECLAIM_EMPTY:
		b->stats.reclaim_empty++;
		return do_empty(b, c);
	case RECLAIM_APPEND:
		b->stats.reclaim_append++;
		return do_append(b, c);
	case RECLAIM_MERGE:
		b->stats.reclaim_merge++;
		return do_merge(b, c);
	case RECLAIM_MOVE:
		b->stats.reclaim_move++;
		return do_move(b, c);
	case RECLAIM_REWRITE:
		b->stats.reclaim_rewrite++;
		return do_move(b, c);
	}
	return -EINVAL;
}

/* The lock is held, and dropped on the way. */
int reclaim_chunk(struct block *b, const struct victim *v)
{
	struct reclaim_job job = {
		.kind = v->kind, .target = DMZ_NONE, .changed = b->job_changed,
	};
	struct chunk *c = chunk_get(b, v->chunk);
	int ret;

	memset(b->job_changed, 0, ((size_t)b->zone_blocks + 63) / 64 * 8);
	b->job_error = 0;
	c->job = &job;
	hold_writes(b, c);
	job.dzone = map_dzone(b, c->no);
	job.bzone = map_bzone(b, c->no);
	/* It may have changed before the writes were held. */
	if (job.dzone == DMZ_NONE || (job.bzone == DMZ_NONE) !=
				     (v->kind == RECLAIM_EMPTY || v->kind == RECLAIM_MOVE) ||
	    (job.bzone == DMZ_NONE && zone_is_seq(&b->zones[job.dzone]))) {
		ret = 0;
	} else {
		/* With a writer that never rests nothing else gets it done. */
		if (v->chunk != b->last_victim)
			let_writes(b, c);
		ret = run_kind(b, c);
	}
	c->job = NULL;
	parts_wake(b, &c->parked);
	chunk_settle(b, c);
	b->last_victim = map_bzone(b, c->no) != DMZ_NONE ? c->no : DMZ_NONE;
	chunk_put(b, c);
	return ret;
}

/* ---- life ---- */

int reclaim_init(struct block *b)
{
	const struct copier_opts o = { .piece = PIECE, .nr_pieces = NR_PIECES };

	b->last_victim = DMZ_NONE;
	b->jobs = calloc(NR_JOBS, sizeof(*b->jobs));
	b->job_changed = calloc(((size_t)b->zone_blocks + 63) / 64, sizeof(*b->job_changed));
	b->final_bms = calloc(3 * (size_t)b->bpz, sizeof(*b->final_bms));
	if (!b->jobs || !b->job_changed || !b->final_bms)
		return -ENOMEM;
	return copier_create(&o, &b->copier);
}

void reclaim_free(struct block *b)
{
	if (b->copier)
		copier_free(b->copier);
	free(b->jobs);
	free(b->job_changed);
	free(b->final_bms);
}
