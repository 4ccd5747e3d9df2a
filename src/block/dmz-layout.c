/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes where on a device: the sizes of part 6. */
#include <errno.h>
#include <inttypes.h>

#include "dmz_i.h"

static uint64_t div_up(uint64_t n, uint64_t by)
{
	return (n + by - 1) / by;
}

uint32_t dmz_meta_zones(const struct dmz_devs *devs, const struct dmz_super *sb)
{
	return (uint32_t)div_up(sb->nr_meta_blocks, devs->zone_blocks);
}

static bool is_random(uint8_t kind)
{
	return kind == DMZ_KIND_RANDOM || kind == DMZ_KIND_CACHE;
}

/* Zones as dmzadm counts them: the condition of random ones does not matter. */
struct count {
	uint64_t	random;		/* that metadata may take, the runt included */
	uint64_t	usable;
};

static struct count count_zones(const struct dmz_devs *devs, const struct zdev_zone *zones,
				const uint8_t *kinds)
{
	struct count n = { 0, 0 };
	uint32_t zone;

	for (zone = 0; zone < devs->nr_zones; zone++) {
		bool random = devs->nr > 1 ? zone < devs->dev[0].nr_zones :
					     kinds[zone] == DMZ_KIND_RANDOM;

		n.random += random;
		n.usable += random || !dmz_zone_bad(&zones[zone]);
	}
	return n;
}

/* Part 6, step by step. */
static int compute(const struct dmz_devs *devs, struct count n, uint32_t reserved,
		   struct dmz_super *sb, struct zerr *e)
{
	const char *path = dmz_dev_path(devs, 0);
	uint64_t bitmap = (uint64_t)devs->nr_zones * devs->bitmap_blocks;
	uint64_t bz = div_up(bitmap, devs->zone_blocks), map, mz;

	if (n.random < 3)
		return zerr_set(e, EINVAL, "%s: has %" PRIu64 " %s, dm-zoned needs 3%s", path,
				n.random, devs->nr > 1 ? "zones' worth of space" :
				"conventional zones", devs->nr > 1 ? "" :
				": put a regular device in front of it");
	if (reserved > n.random)
		reserved = (uint32_t)n.random - 1;
	if (bz + reserved >= n.usable)
		return zerr_set(e, EINVAL, "%s: %" PRIu64 " usable zones are too few to keep %"
				PRIu32 " in reserve", path, n.usable, reserved);
	map = div_up(n.usable - bz - reserved, DMZ_MAP_PER_BLOCK);
	mz = div_up(1 + map + bitmap, devs->zone_blocks);
	if (2 * mz > n.random)
		return zerr_set(e, EINVAL, "%s: metadata takes %" PRIu64
				" conventional zones, there are %" PRIu64 "%s", path, 2 * mz,
				n.random, devs->nr > 1 ? ": the regular device is too small" :
				": put a regular device in front of it");
	if (2 * mz + reserved >= n.usable)
		return zerr_set(e, EINVAL, "%s: metadata and %" PRIu32 " zones in reserve leave "
				"none of %" PRIu64 " for data", path, reserved, n.usable);
	sb->nr_reserved_seq = reserved;
	sb->nr_chunks = (uint32_t)(n.usable - 2 * mz - reserved);
	sb->nr_map_blocks = (uint32_t)div_up(sb->nr_chunks, DMZ_MAP_PER_BLOCK);
	/* More than 16 TiB of metadata: nothing that exists. */
	if (1 + sb->nr_map_blocks + bitmap > UINT32_MAX)
		return zerr_set(e, EINVAL, "%s: too many zones for the format", path);
	sb->nr_bitmap_blocks = (uint32_t)bitmap;
	sb->nr_meta_blocks = 1 + sb->nr_map_blocks + sb->nr_bitmap_blocks;
	return 0;
}

/*
 * Set 0 begins where the kernel looks for it; what follows must be fit to hold
 * both sets, and leave a random zone for data.
 */
static int place_sets(const struct dmz_devs *devs, const struct zdev_zone *zones,
		      const uint8_t *kinds, uint32_t mz, uint32_t *first_meta, struct zerr *e)
{
	uint32_t end = devs->dev[0].nr_zones, first = 0, zone, left = 0, i;

	while (first < end && (!is_random(kinds[first]) || dmz_zone_bad(&zones[first])))
		first++;
	for (zone = first; zone < first + 2 * (uint64_t)mz; zone++)
		if (zone >= end || !is_random(kinds[zone]) || dmz_zone_bad(&zones[zone]))
			return zerr_set(e, EINVAL, "%s: metadata needs %" PRIu32 " good "
					"conventional zones in a row from zone %" PRIu32 " on, "
					"zone %" PRIu32 " is none", dmz_dev_path(devs, 0), 2 * mz,
					first, zone);
	for (; zone < devs->nr_zones; zone++)
		left += is_random(kinds[zone]) && !dmz_zone_bad(&zones[zone]);
	/* The first zone of a later device holds a super block only. */
	for (i = 1; i < devs->nr; i++)
		left -= is_random(kinds[devs->dev[i].first_zone]) &&
			!dmz_zone_bad(&zones[devs->dev[i].first_zone]);
	if (!left)
		return zerr_set(e, EINVAL, "%s: metadata leaves no conventional zone for data%s",
				dmz_dev_path(devs, 0), devs->nr > 1 ? "" :
				": put a regular device in front of it");
	*first_meta = first;
	return 0;
}

int dmz_layout(const struct dmz_devs *devs, const struct zdev_zone *zones,
	       const uint8_t *kinds, uint32_t reserved, struct dmz_super *sb,
	       uint32_t *first_meta, uint32_t *meta_zones, struct zerr *e)
{
	int ret;

	ret = compute(devs, count_zones(devs, zones, kinds), reserved, sb, e);
	if (ret)
		return ret;
	*meta_zones = dmz_meta_zones(devs, sb);
	return place_sets(devs, zones, kinds, *meta_zones, first_meta, e);
}
