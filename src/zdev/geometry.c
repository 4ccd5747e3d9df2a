/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device may look like: the one check that creation and opening share. */
#include <errno.h>
#include <inttypes.h>

#include "zdev_i.h"
#include "zonefsd/units.h"

static int check_zones(const struct zdev_geometry *g, struct zerr *e)
{
	uint64_t size;

	if (!g->nr_zones || g->nr_zones > ZDEV_MAX_ZONES)
		return zerr_set(e, EINVAL, "number of zones %" PRIu32
				": must be 1 to %u", g->nr_zones, ZDEV_MAX_ZONES);
	if (g->nr_conv >= g->nr_zones)
		return zerr_set(e, EINVAL, "conventional zones %" PRIu32
				": must be fewer than all %" PRIu32 " zones",
				g->nr_conv, g->nr_zones);
	if (!zu_mul(g->zone_size, g->nr_zones, &size) || size > ZDEV_MAX_SIZE)
		return zerr_set(e, EINVAL, "%" PRIu32 " zones of %" PRIu64
				" bytes: more than %" PRIu64 " bytes in all",
				g->nr_zones, g->zone_size, ZDEV_MAX_SIZE);
	return 0;
}

/* A limit above the number of sequential zones never binds: a mistake. */
static int check_limits(const struct zdev_geometry *g, struct zerr *e)
{
	uint32_t nr_seq = g->nr_zones - g->nr_conv;

	if (g->max_open > nr_seq)
		return zerr_set(e, EINVAL, "open zones limit %" PRIu32
				": more than the %" PRIu32 " sequential zones",
				g->max_open, nr_seq);
	if (g->max_active > nr_seq)
		return zerr_set(e, EINVAL, "active zones limit %" PRIu32
				": more than the %" PRIu32 " sequential zones",
				g->max_active, nr_seq);
	if (g->max_active && g->max_open > g->max_active)
		return zerr_set(e, EINVAL, "open zones limit %" PRIu32
				": more than the active zones limit %" PRIu32,
				g->max_open, g->max_active);
	return 0;
}

int zdev_geometry_check(const struct zdev_geometry *g, struct zerr *e)
{
	int ret;

	if (g->block_size != 512 && g->block_size != 4096)
		return zerr_set(e, EINVAL, "block size %" PRIu32
				": must be 512 or 4096", g->block_size);
	if (!zu_is_pow2(g->zone_size))
		return zerr_set(e, EINVAL, "zone size %" PRIu64
				": must be a power of two", g->zone_size);
	/* A zone holds the super block, whole. */
	if (g->zone_size < 4096 || g->zone_size > ZDEV_MAX_ZONE_SIZE)
		return zerr_set(e, EINVAL, "zone size %" PRIu64
				": must be 4096 to %" PRIu64, g->zone_size,
				ZDEV_MAX_ZONE_SIZE);
	if (!g->zone_capacity || g->zone_capacity > g->zone_size)
		return zerr_set(e, EINVAL, "zone capacity %" PRIu64
				": must be 1 to the zone size %" PRIu64,
				g->zone_capacity, g->zone_size);
	if (g->zone_capacity % g->block_size)
		return zerr_set(e, EINVAL, "zone capacity %" PRIu64
				": must be a multiple of the block size %" PRIu32,
				g->zone_capacity, g->block_size);
	ret = check_zones(g, e);
	return ret ? ret : check_limits(g, e);
}
