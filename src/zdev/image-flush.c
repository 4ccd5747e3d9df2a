/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making an image durable.
 *
 * A flush takes whole rounds: all zones that changed, since an fdatasync takes
 * the whole file anyway, and callers that come while a round runs share the next
 * one. A round is, in this order,
 *	1. capture each changed zone's current pointer and newest tail,
 *	2. sync the data: data and tails up to there are durable,
 *	3. store the captured pointers as the flushed ones,
 *	4. msync the table,
 *	5. free what the zones reset before step 1 still hold.
 * Whichever table pages the kernel writes on its own in between, the flushed
 * words on disk tell of data that is on disk.
 *
 * An fdatasync or msync that fails leaves the kernel's pages marked clean whether
 * written or not, so a second try would succeed without meaning it. The image
 * takes no change from then on, and its state block says that at the next open
 * only the flushed pointers count.
 *
 * A reset only stores its words. That old data must not be destroyed, by a punch
 * or by new data, before these words are durable. The zone is "stale" until
 * either a round or, before its own next change, image_prepare has done that.
 */
#include <errno.h>
#include <string.h>

#include "image_i.h"

/* Resets that may hold back their space until someone flushes. */
#define MAX_STALE	256

int image_check_failed(struct image *img)
{
	return atomic_load(&img->failed);
}

/* Note a failure to make something durable. Returns ret. */
static int fail(struct image *img, const char *what, int ret)
{
	char text[128];
	int none = 0;

	if (!atomic_compare_exchange_strong(&img->failed, &none, -EIO))
		return ret;
	zlog(img->log, ZLOG_ERR, "%s: %s: %s: no more changes are taken",
	     img->path, what, strerror_r(-ret, text, sizeof(text)));
	/* Best effort: it may fail as well, and after a power loss it is not needed. */
	pthread_mutex_lock(&img->open_lock);
	image_state_write(img, IMAGE_STATE_FLUSH_FAILED);
	pthread_mutex_unlock(&img->open_lock);
	return ret;
}

int image_begin_change(struct image *img)
{
	int ret = image_check_failed(img), shared = 0;

	if (ret || atomic_load(&img->marked_open))
		return ret;
	pthread_mutex_lock(&img->open_lock);
	if (!atomic_load(&img->marked_open)) {
		shared = image_table_unshare(img);
		ret = shared ? 0 : image_state_write(img, 0);
		atomic_store(&img->marked_open, !shared && !ret);
	}
	pthread_mutex_unlock(&img->open_lock);
	/* Nothing has changed then, and there may be room the next time. */
	if (shared)
		return shared;
	return ret ? fail(img, "writing the state block", ret) : 0;
}

/* ---- zones that were reset ---- */

bool image_is_stale(struct image *img, uint32_t zno)
{
	return atomic_load(&img->stale[zno]) != IMAGE_FRESH;
}

/* Claim the zone's old data for freeing. false: it has none. Waits for who has claimed it before. */
static bool claim_stale(struct image *img, uint32_t zno, bool wait)
{
	bool claimed = false;

	if (!image_is_stale(img, zno))
		return false;
	pthread_mutex_lock(&img->stale_lock);
	while (wait && img->stale[zno] == IMAGE_REAPING)
		pthread_cond_wait(&img->stale_cond, &img->stale_lock);
	if (img->stale[zno] == IMAGE_STALE) {
		img->stale[zno] = IMAGE_REAPING;
		claimed = true;
	}
	pthread_mutex_unlock(&img->stale_lock);
	return claimed;
}

/* Free the data of a claimed zone, if its reset is durable, and end the claim. */
static void reap(struct image *img, uint32_t zno, bool durable)
{
	const struct image_layout *lay = &img->layout;

	if (durable) {
		image_discard(img->fd, image_zone_offset(lay, zno),
			      lay->geo.zone_capacity);
		/* Slots of an older count never match again: this frees space, no more. */
		image_tail_clear(img, zno);
	}
	pthread_mutex_lock(&img->stale_lock);
	img->stale[zno] = durable ? IMAGE_FRESH : IMAGE_STALE;
	if (durable)
		img->nr_stale--;
	pthread_cond_broadcast(&img->stale_cond);
	pthread_mutex_unlock(&img->stale_lock);
}

int image_stale_add(struct image *img, uint32_t zno)
{
	bool too_many;

	pthread_mutex_lock(&img->stale_lock);
	img->stale[zno] = IMAGE_STALE;
	too_many = ++img->nr_stale >= MAX_STALE;
	pthread_mutex_unlock(&img->stale_lock);
	/* After the mark: the round that sees this bit frees the data. */
	image_dirty_set(img, zno);
	return too_many ? image_flush(img) : 0;
}

int image_prepare(struct image *img, uint32_t zno)
{
	int ret;

	ret = image_begin_change(img);
	if (!ret)
		ret = image_tail_load(img, zno);
	if (ret || !claim_stale(img, zno, true))
		return ret;
	ret = image_table_sync(img, zno, zno);
	reap(img, zno, !ret);
	return ret ? fail(img, "syncing the zone table", ret) : 0;
}

bool image_make_room(struct image *img)
{
	bool any;

	pthread_mutex_lock(&img->stale_lock);
	any = img->nr_stale > 0;
	pthread_mutex_unlock(&img->stale_lock);
	return any && !image_flush(img);
}

/* ---- rounds ---- */

static int capture(struct image *img, uint32_t zno, struct image_captured *c)
{
	int ret;

	/*
	 * The tail before the pointer: the other way round, a tail of a later
	 * pointer could push out the one that belongs to this pointer. The
	 * count before the pointer: a reset in between is then seen later on.
	 */
	c->zno = zno;
	image_tail_capture(img, zno);
	c->reaping = claim_stale(img, zno, false);
	/* Who flushes once will do so again. */
	atomic_fetch_or(&img->flushed[zno / 64], UINT64_C(1) << zno % 64);
	ret = image_count_get(img, zno, &c->resets);
	return ret ? ret : image_ptr_get(img, zno, IMAGE_CURRENT, &c->cur);
}

/* Capture changed zones from *zno on until the batch is full: their number, *zno is the next one. */
static uint32_t capture_batch(struct image *img, uint32_t *zno, int *err)
{
	uint32_t nr_zones = img->layout.geo.nr_zones;
	uint32_t n = 0;

	for (; *zno < nr_zones && n + 64 <= IMAGE_FLUSH_BATCH; *zno += 64) {
		uint64_t bits = 0;

		if (atomic_load(&img->dirty[*zno / 64]))
			bits = atomic_exchange(&img->dirty[*zno / 64], 0);
		for (; bits; bits &= bits - 1) {
			int ret = capture(img, *zno + __builtin_ctzll(bits),
					  &img->batch[n++]);

			if (ret)
				*err = ret;
		}
	}
	return n;
}

static int sync_data(struct image *img)
{
	int ret = image_sync_data(img);

	return ret ? fail(img, "syncing the data", ret) : 0;
}

/* Steps 2 to 4 for the first n of the batch. */
static int commit_batch(struct image *img, uint32_t n)
{
	uint32_t i;
	int ret;

	ret = sync_data(img);
	for (i = 0; i < n && !ret; i++) {
		ret = image_publish(img, &img->batch[i]);
		if (ret)
			fail(img, "updating the zone table", ret);
	}
	if (ret || !n)
		return ret;
	ret = image_table_sync(img, img->batch[0].zno, img->batch[n - 1].zno);
	return ret ? fail(img, "syncing the zone table", ret) : 0;
}

static int flush_round(struct image *img)
{
	uint32_t zno = 0, n, i;
	int ret;

	ret = image_check_failed(img);
	if (ret)
		return ret;
	do {
		n = capture_batch(img, &zno, &ret);
		if (ret)
			fail(img, "reading the zone table", ret);
		else
			ret = commit_batch(img, n);
		for (i = 0; i < n; i++) {
			image_tail_settle(img, img->batch[i].zno, !ret);
			if (img->batch[i].reaping)
				reap(img, img->batch[i].zno, !ret);
		}
	} while (zno < img->layout.geo.nr_zones && !ret);
	return ret;
}

int image_flush(struct image *img)
{
	uint64_t round;
	int ret;

	if (img->read_only)
		return 0;
	pthread_mutex_lock(&img->flush_lock);
	/* A round that runs already may have captured too early for this caller. */
	round = img->flush_started + 1;
	while (img->flush_done < round) {
		if (img->flush_running) {
			pthread_cond_wait(&img->flush_cond, &img->flush_lock);
			continue;
		}
		img->flush_running = true;
		img->flush_started++;
		pthread_mutex_unlock(&img->flush_lock);
		ret = flush_round(img);
		pthread_mutex_lock(&img->flush_lock);
		img->flush_running = false;
		img->flush_done = img->flush_started;
		img->flush_result = ret;
		pthread_cond_broadcast(&img->flush_cond);
	}
	/* Failure is for good, so a later round's result will do. */
	ret = img->flush_result;
	pthread_mutex_unlock(&img->flush_lock);
	return ret;
}
