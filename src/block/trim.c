/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Space that goes back to the devices beneath (R15): the contents of random zones
 * that were freed. Each was unmapped by a commit before it became free (R4), so that no
 * power loss brings the data back; and while its space is given back it is not on
 * a free list, so that no write takes it.
 *
 * It is done by the thread of reclaim, as flushes wait for the one of commits, and not
 * while zones are few: those are written again soon. What the user discards of a
 * zone in use goes at once, see write.c.
 */
#include "block_i.h"

void trim_count(struct block *b, const struct zdev_io *io)
{
	if (io->result < 0) {
		b->stats.discards_refused++;
		return;
	}
	b->stats.discards++;
	b->stats.discard_bytes += io->bytes;
}

/* It stays ZONE_FREE for those who count, and no list has it. */
static void trim(struct block *b, uint32_t zone)
{
	struct zdev_io io = {
		.op = ZDEV_DISCARD, .bytes = b->devs->zone_size, .dead = true,
	};
	struct zdev *dev = dmz_zone_dev(b->devs, zone, &io.zno);

	b->nr_leaving++;
	b->nr_leaving_random++;
	block_leave(b);
	zdev_run(dev, &io);
	pthread_mutex_lock(&b->lock);
	trim_count(b, &io);
	b->nr_leaving--;
	b->nr_leaving_random--;
	zone_free(b, zone, false);
	pthread_cond_broadcast(&b->changed);
}

bool trim_one(struct block *b)
{
	uint32_t zone;

	if (b->failed || b->reclaim_on || b->wait_zone.head)
		return false;
	zone = zone_take_stale(b);
	if (zone == DMZ_NONE)
		return false;
	trim(b, zone);
	return true;
}

void trim_all(struct block *b)
{
	uint32_t zone;

	while ((zone = zone_take_stale(b)) != DMZ_NONE)
		trim(b, zone);
}
