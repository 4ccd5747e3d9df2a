/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commits: what changed in map and bitmaps goes to both metadata sets, in the
 * order of part 11 and under the rules R1 to R6. Set 1 is always written first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_i.h"

#define TRIES		3
/* Zones are reset for so long at a time while others wait for the thread. */
#define RECYCLE_NS	INT64_C(20000000)

/* ---- what is written ---- */

static int by_index(const void *a, const void *b)
{
	uint32_t x = (*(struct bm *const *)a)->index, y = (*(struct bm *const *)b)->index;

	return x < y ? -1 : x > y;
}

static void add_image(struct block *b, uint32_t block, struct bm *bm, const void *data)
{
	struct image_block *im = &b->image[b->nr_image];

	im->block = block;
	im->bm = bm;
	memcpy(b->image_mem + (size_t)b->nr_image * DMZ_BLOCK_SIZE, data, DMZ_BLOCK_SIZE);
	b->nr_image++;
}

static void snapshot_map(struct block *b)
{
	uint32_t i;

	for (i = 0; i < b->super.nr_map_blocks; i++) {
		if (!b->map_dirty[i])
			continue;
		b->map_dirty[i] = 0;
		b->nr_busy--;
		add_image(b, 1 + i, NULL, &b->map[(size_t)i * DMZ_MAP_PER_BLOCK]);
	}
}

static void snapshot_bitmaps(struct block *b)
{
	uint32_t i, n = 0;

	for (i = 0; i < b->nr_bms; i++)
		if (b->bms[i].dirty)
			b->sorted[n++] = &b->bms[i];
	qsort(b->sorted, n, sizeof(*b->sorted), by_index);
	for (i = 0; i < n; i++) {
		struct bm *bm = b->sorted[i];

		bm->dirty = false;
		bm->committing = true;
		if (!bm->claims)
			b->nr_busy--;
		add_image(b, 1 + b->super.nr_map_blocks + bm->index, bm, bm->bits);
	}
}

/*
 * A picture of all that changed, so that later changes do not get into this
 * commit. Bits change when data has been written: it covers no other (R3).
 */
static void snapshot(struct block *b)
{
	b->nr_image = 0;
	b->want_commit = false;
	snapshot_map(b);
	snapshot_bitmaps(b);
	b->leaving_now = b->leaving;
	zone_list_init(&b->leaving);
	b->commit_running = true;
	parts_wake(b, &b->wait_commit);
	pthread_cond_broadcast(&b->changed);
}

/* ---- writing it ---- */

static int write_image(struct block *b, int set)
{
	uint32_t i, n;
	int ret;

	for (i = 0; i < b->nr_image; i += n) {
		for (n = 1; i + n < b->nr_image; n++)
			if (b->image[i + n].block != b->image[i].block + n)
				break;
		ret = dmz_set_write(b->devs, b->set_zone[set], b->image[i].block, n,
				    b->image_mem + (size_t)i * DMZ_BLOCK_SIZE);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * After a flush that failed nobody knows what is still to be written: the next one
 * may succeed though data is gone, and zones that were copied are about to be
 * freed. So it is not tried again, and the disk takes no further change.
 */
static int flush_result(struct block *b, int ret)
{
	if (ret)
		b->flush_failed = true;
	return ret;
}

static int flush_all(struct block *b)
{
	return flush_result(b, dmz_devs_flush(b->devs));
}

/* The sets are on the first device. */
static int flush_sets(struct block *b)
{
	return flush_result(b, zdev_command(b->devs->dev[0].zdev, ZDEV_FLUSH, ZDEV_ALL_ZONES));
}

static int write_super(struct block *b, int set, uint64_t gen)
{
	struct dmz_super sb = b->super;

	sb.gen = gen;
	sb.sb_block = (uint64_t)b->set_zone[set] * b->zone_blocks;
	dmz_super_encode(&sb, b->sb_block[set]);
	return dmz_set_write(b->devs, b->set_zone[set], 0, 1, b->sb_block[set]);
}

/* Steps 1 to 4: afterwards set 1 holds the new state. Flushes the data, too. */
static int write_new(struct block *b)
{
	int ret = write_image(b, 1);

	if (!ret)
		ret = flush_all(b);
	if (!ret)
		ret = write_super(b, 1, b->super.gen + 1);
	return ret ? ret : flush_sets(b);
}

/* Steps 5 to 8: set 0 follows. */
static int write_old(struct block *b)
{
	int ret = write_image(b, 0);

	if (!ret)
		ret = flush_sets(b);
	if (!ret)
		ret = write_super(b, 0, b->super.gen + 1);
	return ret ? ret : flush_sets(b);
}

/* R6: the same contents and generation again, or no metadata any more. */
static int try_often(struct block *b, int (*step)(struct block *b))
{
	int i, ret = 0;

	for (i = 0; i < TRIES; i++) {
		ret = step(b);
		if (!ret)
			return 0;
		pthread_mutex_lock(&b->lock);
		b->stats.commit_errors++;
		pthread_mutex_unlock(&b->lock);
		if (ret == -EROFS || ret == -EPERM)
			return -EROFS;
		if (b->flush_failed)
			return ret;
	}
	return ret;
}

/* ---- zones on their way out ---- */

/* Nothing on disk names them any more: they may be used when no I/O is left in them. */
static void let_go(struct block *b)
{
	uint32_t zone;

	while ((zone = zone_list_pop(b, &b->leaving_now)) != DMZ_NONE) {
		b->zones[zone].state = ZONE_LEFT;
		if (!b->zones[zone].refs)
			zone_list_push(b, &b->left, zone);
	}
}

static int reset_zone(struct block *b, uint32_t zone)
{
	uint32_t zno;
	struct zdev *dev = dmz_zone_dev(b->devs, zone, &zno);

	return zdev_command(dev, ZDEV_RESET, zno);
}

/* The lock is held, and dropped for each reset. */
static void recycle(struct block *b)
{
	int64_t until = zclock_now() + RECYCLE_NS;
	struct zone *z;
	uint32_t zone;
	int ret;

	while (((!b->flushes && !b->nr_held) || zclock_now() < until) &&
	       (zone = zone_list_pop(b, &b->left)) != DMZ_NONE) {
		z = &b->zones[zone];
		if (!zone_is_seq(z)) {
			b->nr_leaving_random--;
			z->flags &= (uint8_t)~ZONE_F_STUCK;
		} else if ((z->wp || z->flags) && !(z->flags & ZONE_F_BAD)) {
			block_leave(b);
			ret = reset_zone(b, zone);
			pthread_mutex_lock(&b->lock);
			zone_set_wp(b, zone, 0);
			z->flags = ret ? ZONE_F_BAD : 0;
			if (ret) {
				b->zone_error = ret;
				zlog(b->opts.log, ZLOG_ERR,
				     "%s: zone %u cannot be reset, it is not used any more: %s",
				     zdev_info(b->devs->dev[0].zdev)->path, zone,
				     strerror(-ret));
			}
		}
		b->nr_leaving--;
		zone_free(b, zone, !zone_is_seq(z));
		pthread_cond_broadcast(&b->changed);
	}
}

/* ---- one commit ---- */

static struct block_io *take_flushes(struct block *b)
{
	struct block_io *ios = b->flushes;

	b->flushes = NULL;
	b->flushes_tail = &b->flushes;
	return ios;
}

static void answer(struct block_io *io, int err)
{
	struct block_io *next;

	for (; io; io = next) {
		next = io->next;
		if (err)
			io->result = err;
		io->done(io);
	}
}

static void commit_end(struct block *b, int err)
{
	uint32_t i;

	pthread_mutex_lock(&b->lock);
	if (!err && b->nr_image) {
		b->super.gen++;
		b->stats.commits++;
		b->stats.metadata_blocks_written += 2 * (uint64_t)b->nr_image;
	}
	/* After an error what is in RAM is all there is: it stays. */
	for (i = 0; i < b->nr_image && !err; i++)
		if (b->image[i].bm)
			b->image[i].bm->committing = false;
	if (err)
		block_fail(b, err);
	else
		let_go(b);
	b->commit_running = false;
	b->last_commit = zclock_now();
	bm_wake(b);
	pthread_cond_broadcast(&b->changed);
	block_leave(b);
}

int commit_run(struct block *b)
{
	struct block_io *waiters;
	int ret;

	pthread_mutex_lock(&b->lock);
	waiters = take_flushes(b);
	ret = b->failed ? -EIO : 0;
	if (!ret)
		snapshot(b);
	block_leave(b);
	if (ret) {
		answer(waiters, ret);
		return ret;
	}
	ret = b->nr_image ? try_often(b, write_new) : flush_all(b);
	/* Durable, once set 1 holds it. */
	answer(waiters, ret ? -EIO : 0);
	if (!ret && b->nr_image)
		ret = try_often(b, write_old);
	commit_end(b, ret);
	return ret;
}

int commit_last(struct block *b)
{
	int ret = commit_run(b);

	pthread_mutex_lock(&b->lock);
	recycle(b);
	if (!ret)
		trim_all(b);
	block_leave(b);
	return ret;
}

/* ---- its thread ---- */

void commit_kick(struct block *b)
{
	b->want_commit = true;
	pthread_cond_signal(&b->commit_cond);
}

static bool is_due(const struct block *b, int64_t now)
{
	if (b->failed)
		return b->flushes != NULL;
	if (b->flushes || (b->want_commit && (b->nr_busy || b->leaving.nr)))
		return true;
	return (b->nr_busy || b->leaving.nr) && now - b->last_commit >= COMMIT_SECONDS * ZCLOCK_SECOND;
}

/* Until kicked, or `until` (0: the next commit that is due by time). */
static void doze(struct block *b, int64_t now, int64_t until)
{
	struct timespec ts;

	if (!until || until > now + COMMIT_SECONDS * ZCLOCK_SECOND)
		until = now + COMMIT_SECONDS * ZCLOCK_SECOND;
	ts = zclock_timespec(until);
	pthread_cond_timedwait(&b->commit_cond, &b->lock, &ts);
}

void *commit_main(void *arg)
{
	struct block *b = arg;
	int64_t now, until;

	pthread_mutex_lock(&b->lock);
	while (!b->stopped || b->flushes) {
		now = zclock_now();
		until = write_held_timeout(b, now);
		if (b->ready.head) {
			block_leave(b);
			pthread_mutex_lock(&b->lock);
			continue;
		}
		if (b->left.nr) {
			recycle(b);
			if (!b->flushes)
				continue;
		}
		if (is_due(b, now)) {
			block_leave(b);
			commit_run(b);
			pthread_mutex_lock(&b->lock);
			continue;
		}
		b->want_commit = false;
		doze(b, now, until);
	}
	block_leave(b);
	return NULL;
}
