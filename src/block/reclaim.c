/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: random zones become free again, one chunk at a time (part 13). When
 * that is due and which chunk is next stands here, how it is done in
 * reclaim-chunk.c. The thread trims them, too (trim.c).
 */
#include <errno.h>
#include <string.h>

#include "block_i.h"

#define MAX_FAILURES	3u
/* In percent of the random zones: when it starts, and when it is done. */
#define START_FREE	30u
#define STOP_FREE	45u
/* What is in use is looked at again after this. */
#define BUSY_NS		INT64_C(10000000)

/* ---- which chunk ---- */

static uint32_t random_free(const struct block *b)
{
	return b->free_cache.nr + b->free_random.nr;
}

/* The last free sequential zone is kept for a rewrite, which gives one back. */
static bool may_move(const struct block *b)
{
	return b->free_seq.nr > 1 || (b->free_seq.nr && !b->nr_buffered);
}

static bool judge(const struct block *b, uint32_t zone, struct victim *v)
{
	const struct zone *z = &b->zones[zone];
	uint32_t dz;

	if (zone_is_seq(z) || (z->state != ZONE_DATA && z->state != ZONE_BUFFER) ||
	    z->flags & (ZONE_F_BAD | ZONE_F_STUCK))
		return false;
	v->chunk = z->chunk;
	v->cost = z->weight;
	if (z->state == ZONE_DATA && !z->weight) {
		v->kind = RECLAIM_EMPTY;
		/* The first write is on its way into it: only if there is nothing else to do. */
		if (chunk_find(b, z->chunk))
			v->cost = 8 * (uint64_t)b->zone_blocks;
		return true;
	}
	if (z->state == ZONE_DATA) {
		v->kind = RECLAIM_MOVE;
		return may_move(b);
	}
	dz = map_dzone(b, z->chunk);
	v->kind = RECLAIM_REWRITE;
	v->cost += b->zones[dz].weight;
	if (!b->free_seq.nr) {
		/* It frees a sequential zone, not a random one: a bad one is no gain. */
		if (b->zones[dz].flags & ZONE_F_BAD)
			return false;
		v->kind = RECLAIM_MERGE;
		v->cost = b->zones[dz].weight + (uint64_t)b->zone_blocks;
	}
	return true;
}

static bool pick(const struct block *b, struct victim *best)
{
	struct victim v = { 0 };
	bool found = false;
	uint32_t zone;

	for (zone = 0; zone < b->devs->nr_zones; zone++) {
		if (!judge(b, zone, &v))
			continue;
		if (b->clock - b->zones[zone].stamp < 64)
			v.cost += b->zone_blocks;
		if (v.chunk == b->last_victim)
			v.cost += 4 * (uint64_t)b->zone_blocks;
		if (!found || v.cost < best->cost)
			*best = v;
		found = true;
	}
	return found;
}

/* ---- when ---- */

static bool idle(const struct block *b, int64_t now)
{
	return now - b->last_use >= IDLE_SECONDS * ZCLOCK_SECOND;
}

static bool is_wanted(struct block *b, int64_t now)
{
	uint64_t all = b->nr_random + b->nr_cache, nr;

	if (b->failed || b->opts.read_only)
		return false;
	if (b->reclaim_asked || b->wait_zone.head)
		return true;
	if (b->opts.no_reclaim)
		return false;
	/* Those on their way out count: the next commit frees them. */
	nr = (random_free(b) + b->nr_leaving_random) * UINT64_C(100);
	if (nr < all * START_FREE)
		b->reclaim_on = true;
	else if (nr >= all * STOP_FREE)
		b->reclaim_on = false;
	return b->reclaim_on || idle(b, now);
}

/* Copies yield to others unless somebody waits for them. */
static void set_throttle(struct block *b, int64_t now)
{
	uint64_t all = b->nr_random + b->nr_cache;
	uint64_t percent = all ? random_free(b) * UINT64_C(100) / all : 0;

	if (b->wait_zone.head || b->reclaim_asked || percent < 15 || idle(b, now))
		percent = 100;
	else
		percent = 100 - percent / 2 < 75 ? 100 - percent / 2 : 75;
	copier_set_throttle(b->copier, (unsigned)percent);
}

/*
 * Nothing can be freed, and nothing is on its way: whoever waits must be told. A
 * zone that is free was given to a chunk whose writes did not take it.
 */
static void give_up(struct block *b)
{
	/* What the next commit frees may be what another move needs. */
	if (!b->nr_leaving)
		b->reclaim_asked = false;
	b->reclaim_on = false;
	if (!b->wait_zone.head)
		return;
	if (random_free(b)) {
		write_wake_zone_waiters(b, 0);
	} else if (!b->nr_leaving && !b->commit_running) {
		/* No sound device is too small for its disk. */
		write_wake_zone_waiters(b, b->zone_error ? b->zone_error : -ENOSPC);
		b->stuck_tried = false;
	}
}

static void doze_for(struct block *b, int64_t ns)
{
	struct timespec ts = zclock_timespec(zclock_now() + ns);

	pthread_cond_timedwait(&b->reclaim_cond, &b->lock, &ts);
}

static void doze(struct block *b, unsigned seconds)
{
	doze_for(b, seconds * ZCLOCK_SECOND);
}

static void forget_stuck(struct block *b)
{
	uint32_t zone;

	for (zone = 0; zone < b->devs->nr_zones && b->have_stuck; zone++)
		b->zones[zone].flags &= (uint8_t)~ZONE_F_STUCK;
	b->have_stuck = false;
}

/* What could not be emptied is tried once more before a write is refused for it. */
static bool try_stuck(struct block *b)
{
	if (!b->have_stuck || b->stuck_tried || !b->wait_zone.head || random_free(b) ||
	    b->nr_leaving)
		return false;
	b->stuck_tried = true;
	forget_stuck(b);
	return true;
}

/* A zone that cannot be emptied is left alone after a few tries. */
static void note_failure(struct block *b, const struct victim *v, int err)
{
	uint32_t dz = map_dzone(b, v->chunk), bz = map_bzone(b, v->chunk);

	zlog(b->opts.log, ZLOG_WARN, "chunk %u: reclaim failed: %s", v->chunk, strerror(-err));
	b->last_victim = v->chunk;
	b->zone_error = err;
	if (++b->reclaim_failures < MAX_FAILURES)
		return;
	b->reclaim_failures = 0;
	b->have_stuck = true;
	if (bz != DMZ_NONE)
		b->zones[bz].flags |= ZONE_F_STUCK;
	else if (dz != DMZ_NONE)
		b->zones[dz].flags |= ZONE_F_STUCK;
}

static void round_of_reclaim(struct block *b)
{
	struct victim v;
	int ret;

	if (!pick(b, &v) && !(try_stuck(b) && pick(b, &v))) {
		give_up(b);
		pthread_cond_broadcast(&b->changed);
		if (b->leaving.nr)
			commit_kick(b);
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		doze(b, 1);
		return;
	}
	set_throttle(b, zclock_now());
	ret = reclaim_chunk(b, &v);
	if (ret && ret != -ECANCELED && ret != -EAGAIN)
		note_failure(b, &v, ret);
	if (!ret) {
		b->reclaim_failures = 0;
		b->stuck_tried = false;
	}
	if (b->leaving.nr && (b->wait_zone.head || b->reclaim_on || b->reclaim_asked))
		commit_kick(b);
	if (ret == -EAGAIN ||
	    (!ret && v.kind == RECLAIM_EMPTY && map_dzone(b, v.chunk) != DMZ_NONE))
		doze_for(b, BUSY_NS);
	block_leave(b);
	pthread_mutex_lock(&b->lock);
}

void *reclaim_main(void *arg)
{
	struct block *b = arg;
	bool wanted;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping) {
		wanted = is_wanted(b, zclock_now());
		if (trim_one(b))
			continue;
		if (wanted)
			round_of_reclaim(b);
		else
			doze(b, IDLE_SECONDS);
	}
	block_leave(b);
	return NULL;
}

void reclaim_kick(struct block *b)
{
	pthread_cond_signal(&b->reclaim_cond);
}

int block_reclaim(struct block *b, bool wait)
{
	int ret;

	if (b->opts.read_only)
		return -EROFS;
	pthread_mutex_lock(&b->lock);
	b->reclaim_asked = true;
	forget_stuck(b);
	reclaim_kick(b);
	while (wait && b->reclaim_asked && !b->failed && !b->stopping)
		pthread_cond_wait(&b->changed, &b->lock);
	ret = b->failed ? b->failed : b->reclaim_ended ? -EINTR : 0;
	block_leave(b);
	return ret;
}

void block_end_reclaim(struct block *b)
{
	pthread_mutex_lock(&b->lock);
	b->reclaim_asked = false;
	b->reclaim_ended = true;
	pthread_cond_broadcast(&b->changed);
	block_leave(b);
}
