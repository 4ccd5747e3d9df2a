/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk from its opening to its end, and what can be asked of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "block_i.h"

/* ---- memory ---- */

static int init_parts(struct block *b)
{
	uint32_t i;

	b->parts = calloc(NR_PARTS, sizeof(*b->parts));
	/* Each part may need one, and so does reclaim. */
	b->chunks = calloc(NR_PARTS + 1, sizeof(*b->chunks));
	if (!b->parts || !b->chunks)
		return -ENOMEM;
	for (i = 0; i < NR_PARTS; i++) {
		b->parts[i].next = b->free_parts;
		b->free_parts = &b->parts[i];
	}
	for (i = 0; i <= NR_PARTS; i++) {
		b->chunks[i].hash_next = b->free_chunks;
		b->free_chunks = &b->chunks[i];
	}
	return 0;
}

static void init_lists(struct block *b)
{
	struct zone_list *zones[] = { &b->free_cache, &b->free_random, &b->free_seq,
				      &b->leaving, &b->leaving_now, &b->left };
	struct part_list *parts[] = { &b->wait_zone, &b->wait_commit, &b->wait_bm, &b->ready };
	size_t i;

	for (i = 0; i < sizeof(zones) / sizeof(*zones); i++)
		zone_list_init(zones[i]);
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		part_list_init(parts[i]);
	b->issue.tail = &b->issue.head;
	b->issue_seq.tail = &b->issue_seq.head;
	b->starved_tail = &b->starved;
	b->flushes_tail = &b->flushes;
}

static void init_locks(struct block *b)
{
	pthread_cond_t *conds[] = { &b->commit_cond, &b->changed, &b->reclaim_cond };
	pthread_condattr_t attr;
	size_t i;

	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (i = 0; i < sizeof(conds) / sizeof(*conds); i++)
		pthread_cond_init(conds[i], &attr);
	pthread_condattr_destroy(&attr);
}

static int init_memory(struct block *b)
{
	size_t entries = (size_t)b->super.nr_map_blocks * DMZ_MAP_PER_BLOCK;
	int i, ret;

	b->zones = calloc(b->devs->nr_zones, sizeof(*b->zones));
	b->map = aligned_alloc(DMZ_BLOCK_SIZE, entries * sizeof(*b->map));
	b->map_dirty = calloc(b->super.nr_map_blocks, 1);
	b->mend = calloc(b->devs->nr_zones, 1);
	b->zeroes = mmap(NULL, ZDEV_MAX_IO, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->zeroes == MAP_FAILED)
		b->zeroes = NULL;
	for (i = 0; i < 2; i++)
		b->sb_block[i] = aligned_alloc(DMZ_BLOCK_SIZE, DMZ_BLOCK_SIZE);
	if (!b->zones || !b->map || !b->map_dirty || !b->mend || !b->zeroes || !b->sb_block[0] ||
	    !b->sb_block[1])
		return -ENOMEM;
	memset(b->map, 0xff, entries * sizeof(*b->map));
	ret = init_parts(b);
	if (!ret)
		ret = bm_init(b);
	return ret ? ret : reclaim_init(b);
}

static void destroy(struct block *b)
{
	reclaim_free(b);
	bm_free(b);
	if (b->zeroes)
		munmap(b->zeroes, ZDEV_MAX_IO);
	free(b->sb_block[0]);
	free(b->sb_block[1]);
	free(b->zones);
	free(b->map);
	free(b->map_dirty);
	free(b->mend);
	free(b->parts);
	free(b->chunks);
	pthread_cond_destroy(&b->commit_cond);
	pthread_cond_destroy(&b->changed);
	pthread_cond_destroy(&b->reclaim_cond);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- opening ---- */

/* Sizes and places, from the winning super block. */
static void adopt(struct block *b, const struct dmz_set set[2], int winner)
{
	uint32_t mz;

	b->super = set[winner].super;
	b->zone_blocks = b->devs->zone_blocks;
	b->bpz = b->devs->bitmap_blocks;
	b->size = (uint64_t)b->super.nr_chunks * b->devs->zone_size;
	mz = dmz_meta_zones(b->devs, &b->super);
	b->set_zone[winner] = set[winner].first_zone;
	b->set_zone[!winner] = winner ? set[1].first_zone - mz : set[0].first_zone + mz;
}

/* Bytes of the super blocks that the format does not know stay as they are (R11). */
static int read_supers(struct block *b, const struct dmz_set set[2])
{
	int i, ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		memset(b->sb_block[i], 0, DMZ_BLOCK_SIZE);
		if (set[i].good)
			ret = dmz_set_read(b->devs, b->set_zone[i], 0, 1, b->sb_block[i]);
	}
	return ret;
}

/*
 * A winner that cannot be read everywhere leaves the place to its twin. Not to a set that
 * differs: what is missing might be what differs, too (R7).
 */
static bool may_swap(struct block *b, const struct dmz_set set[2], int winner, int err)
{
	if (err == -EINVAL || err == -ENOMEM || !set[0].good || !set[1].good ||
	    set[0].super.gen != set[1].super.gen || !load_is_twin(b, !winner))
		return false;
	zlog(b->opts.log, ZLOG_WARN, "%s: metadata set %d cannot be read everywhere, set %d can",
	     zdev_info(b->devs->dev[0].zdev)->path, winner, !winner);
	return true;
}

static int load(struct block *b, const struct zdev_zone *report, const uint8_t *kinds,
		struct zerr *e)
{
	struct dmz_set set[2];
	int winner, ret;

	winner = dmz_sets_load(b->devs, report, kinds, set, e);
	if (winner < 0)
		return winner;
	adopt(b, set, winner);
	ret = init_memory(b);
	if (!ret)
		ret = read_supers(b, set);
	if (ret)
		return zerr_errno(e, -ret, "%s", zdev_info(b->devs->dev[0].zdev)->path);
	ret = load_state(b, report, kinds, winner, e);
	if (ret && may_swap(b, set, winner, ret)) {
		winner = !winner;
		ret = load_state(b, report, kinds, winner, e);
	}
	if (!ret && !b->opts.read_only)
		ret = load_sync(b, set, winner, e);
	if (!ret && b->opts.read_only) {
		/* The sets were not made equal: the winner alone is read. */
		b->set_zone[!winner] = b->set_zone[winner];
	}
	return ret ? ret : load_mend(b, e);
}

static int start_threads(struct block *b)
{
	int ret;

	ret = pthread_create(&b->commit_thread, NULL, commit_main, b);
	if (ret)
		return -ret;
	b->have_commit_thread = true;
	ret = pthread_create(&b->reclaim_thread, NULL, reclaim_main, b);
	b->have_reclaim_thread = !ret;
	return -ret;
}

static void stop_threads(struct block *b)
{
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->reclaim_cond);
	pthread_cond_broadcast(&b->changed);
	block_leave(b);
	/* Reclaim may wait for a commit: its thread goes last. */
	if (b->have_reclaim_thread)
		pthread_join(b->reclaim_thread, NULL);
	pthread_mutex_lock(&b->lock);
	b->stopped = true;
	pthread_cond_broadcast(&b->commit_cond);
	block_leave(b);
	if (b->have_commit_thread)
		pthread_join(b->commit_thread, NULL);
}

int block_open(struct dmz_devs *devs, const struct block_opts *opts,
	       struct block **out, struct zerr *e)
{
	struct zdev_zone *report = calloc(devs->nr_zones, sizeof(*report));
	uint8_t *kinds = calloc(devs->nr_zones, 1);
	struct block *b = calloc(1, sizeof(*b));
	int ret = -ENOMEM;

	if (!report || !kinds || !b) {
		free(b);
		zerr_errno(e, ENOMEM, "%s", zdev_info(devs->dev[0].zdev)->path);
		goto out;
	}
	b->devs = devs;
	b->opts = *opts;
	init_locks(b);
	init_lists(b);
	ret = dmz_devs_report(devs, report, kinds);
	if (ret)
		zerr_errno(e, -ret, "%s: reporting zones", zdev_info(devs->dev[0].zdev)->path);
	else
		ret = load(b, report, kinds, e);
	if (!ret) {
		b->last_use = b->last_commit = zclock_now();
		ret = start_threads(b);
		if (ret) {
			zerr_errno(e, -ret, "starting a thread");
			stop_threads(b);
		}
	}
	if (ret)
		destroy(b);
	else
		*out = b;
out:
	free(report);
	free(kinds);
	return ret;
}

int block_close(struct block *b)
{
	int ret = 0, err;

	stop_threads(b);
	if (!b->opts.read_only)
		ret = b->failed ? -EIO : commit_last(b);
	err = dmz_devs_close(b->devs);
	destroy(b);
	return ret ? ret : err;
}

/* ---- questions ---- */

uint64_t block_size(const struct block *b)
{
	return b->size;
}

const struct dmz_super *block_super(const struct block *b)
{
	return &b->super;
}

struct dmz_devs *block_devs(struct block *b)
{
	return b->devs;
}

bool block_is_readonly(struct block *b)
{
	bool ro;

	pthread_mutex_lock(&b->lock);
	ro = b->opts.read_only || b->failed;
	block_leave(b);
	return ro;
}

/* As dmsetup status counts: what is ours, bad or reserved is left out (part 15). */
static void count_dev(const struct block *b, uint32_t i, uint32_t *reserved,
		      struct block_stats *st)
{
	const struct dmz_dev *d = &b->devs->dev[i];
	uint32_t zone, keep;
	const struct zone *z;

	for (zone = d->first_zone; zone < d->first_zone + d->nr_zones; zone++) {
		z = &b->zones[zone];
		if (z->state == ZONE_META || z->flags & ZONE_F_BAD)
			continue;
		st->cache_all += z->kind == DMZ_KIND_CACHE;
		st->cache_free += z->kind == DMZ_KIND_CACHE && z->state == ZONE_FREE;
		st->dev[i].random_all += z->kind == DMZ_KIND_RANDOM;
		st->dev[i].random_free += z->kind == DMZ_KIND_RANDOM && z->state == ZONE_FREE;
		st->dev[i].seq_all += zone_is_seq(z);
		st->dev[i].seq_free += zone_is_seq(z) && z->state == ZONE_FREE;
	}
	/* The reserve is a number, not these zones or those. */
	keep = *reserved < st->dev[i].seq_all ? *reserved : st->dev[i].seq_all;
	*reserved -= keep;
	st->dev[i].seq_all -= keep;
	st->dev[i].seq_free -= keep < st->dev[i].seq_free ? keep : st->dev[i].seq_free;
}

void block_get_stats(struct block *b, struct block_stats *st)
{
	struct copier_stats cs;
	uint32_t i, reserved;

	copier_get_stats(b->copier, &cs);
	pthread_mutex_lock(&b->lock);
	*st = b->stats;
	reserved = b->super.nr_reserved_seq;
	st->nr_zones = b->devs->nr_zones;
	st->nr_devs = b->devs->nr;
	st->reserved = b->super.nr_reserved_seq;
	st->unavailable = b->devs->nr_zones - b->super.nr_chunks - b->super.nr_reserved_seq;
	st->mapped_chunks = b->nr_mapped;
	st->buffered_chunks = b->nr_buffered;
	st->waiting_free = b->nr_leaving;
	for (i = 0; i < b->devs->nr; i++)
		count_dev(b, i, &reserved, st);
	block_leave(b);
	st->offload_bytes += cs.offload_bytes;
	st->offload_fallbacks += cs.offload_fallbacks;
}
