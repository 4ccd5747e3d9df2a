/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order of a repair, so that a crash anywhere leaves the old contents or
 * the new ones, never a mixture (R1):
 *	1. the losing set gets all that it should hold, while the winner stands;
 *	2. its super block, of the next generation if anything was wrong: it wins;
 *	3. then, if anything was wrong, the former winner the same way.
 * Only now that no map leads there are zones reset (R4), and the super blocks of
 * later devices written, which carry nothing that could be lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <uuid/uuid.h>

#include "dmz-check_i.h"

static int flush(struct check *c)
{
	int ret = dmz_devs_flush(c->devs);

	return ret ? zerr_errno(c->e, -ret, "%s: flush", dmz_dev_path(c->devs, 0)) : 0;
}

/* ---- sets ---- */

static int write_super(struct check *c, int to, uint64_t gen)
{
	/* Bytes of others stay; a bad block has none to be trusted. */
	int from = c->set[to].good ? to : c->winner;
	struct dmz_super sb = c->set[c->winner].super;
	int ret;

	ret = dmz_set_read(c->devs, c->set_zone[from], 0, 1, c->block);
	if (ret)
		return zerr_errno(c->e, -ret, "%s: set %d: reading the super block",
				  dmz_dev_path(c->devs, 0), from);
	sb.gen = gen;
	sb.sb_block = (uint64_t)c->set_zone[to] * c->devs->zone_blocks;
	dmz_super_encode(&sb, c->block);
	ret = dmz_set_write(c->devs, c->set_zone[to], 0, 1, c->block);
	if (ret)
		return zerr_errno(c->e, -ret, "%s: set %d: writing the super block",
				  dmz_dev_path(c->devs, 0), to);
	return 0;
}

static int write_set(struct check *c, int to, uint64_t gen)
{
	int ret = check_write(c, to);

	if (!ret)
		ret = flush(c);
	if (!ret)
		ret = write_super(c, to, gen);
	if (!ret)
		ret = flush(c);
	return ret;
}

static int repair_sets(struct check *c)
{
	uint64_t gen = c->set[c->winner].super.gen;
	int ret;

	if (!c->wrong && !c->res->needs_sync)
		return 0;
	if (gen == UINT64_MAX)
		return zerr_set(c->e, EINVAL, "%s: generation %" PRIu64 " has no successor",
				dmz_dev_path(c->devs, 0), gen);
	if (!c->wrong)
		return write_set(c, !c->winner, gen);
	ret = write_set(c, !c->winner, gen + 1);
	if (!ret)
		ret = write_set(c, c->winner, gen + 1);
	if (!ret)
		c->res->super.gen = gen + 1;
	return ret;
}

/* ---- zones ---- */

static int zone_error(const struct check *c, uint32_t zone, const char *doing, int err)
{
	char name[ZONE_NAME];

	return zerr_errno(c->e, -err, "%s: zone %s: %s", dmz_dev_path(c->devs, 0),
			  check_zone_name(c, zone, name), doing);
}

/* Zeros up to the next block: nothing valid is there, and no write starts elsewhere (R9). */
static int align_pointer(struct check *c, struct zdev *dev, uint32_t zno, uint64_t wp)
{
	size_t len = DMZ_BLOCK_SIZE - wp % DMZ_BLOCK_SIZE;
	ssize_t n;

	memset(c->block, 0, len);
	n = zdev_pwrite(dev, zno, wp, c->block, len);
	return n < 0 ? (int)n : 0;
}

static int repair_zone(struct check *c, uint32_t zone)
{
	const struct zdev_zone *z = &c->zones[zone];
	uint32_t zno;
	struct zdev *dev = dmz_zone_dev(c->devs, zone, &zno);
	int ret = 0;

	if (c->kinds[zone] != DMZ_KIND_SEQ || dmz_zone_bad(z))
		return 0;
	if (c->role[zone] == ROLE_FREE && z->cond != BLK_ZONE_COND_EMPTY)
		ret = zdev_command(dev, ZDEV_RESET, zno);
	else if (c->role[zone] == ROLE_DATA && z->wp != ZDEV_WP_NONE && z->wp % DMZ_BLOCK_SIZE)
		ret = align_pointer(c, dev, zno, z->wp);
	return ret ? zone_error(c, zone, c->role[zone] == ROLE_FREE ? "reset" :
				"moving the write pointer to a block", ret) : 0;
}

/* ---- super blocks of later devices ---- */

static int repair_later(struct check *c, uint32_t i)
{
	uint32_t zone = c->devs->dev[i].first_zone;
	struct dmz_super sb = c->set[c->winner].super, old;
	int ret = 0;

	sb.gen = 0;
	sb.sb_block = (uint64_t)zone * c->devs->zone_blocks;
	memset(c->block, 0, DMZ_BLOCK_SIZE);
	if (!dmz_tertiary_load(c->devs, i, &sb, &old, NULL) &&
	    memcmp(old.dev_uuid, sb.dev_uuid, sizeof(sb.dev_uuid)))
		memcpy(sb.dev_uuid, old.dev_uuid, sizeof(sb.dev_uuid));
	else
		uuid_generate_random(sb.dev_uuid);
	dmz_super_encode(&sb, c->block);
	if (c->kinds[zone] == DMZ_KIND_SEQ && c->zones[zone].cond != BLK_ZONE_COND_EMPTY)
		ret = zdev_command(c->devs->dev[i].zdev, ZDEV_RESET, 0);
	if (!ret)
		ret = dmz_set_write(c->devs, zone, 0, 1, c->block);
	return ret ? zone_error(c, zone, "writing the super block", ret) : 0;
}

int check_repair(struct check *c)
{
	uint32_t i, zone;
	int ret = 0;

	for (i = 0; i < c->devs->nr; i++)
		if (zdev_info(c->devs->dev[i].zdev)->read_only)
			return zerr_set(c->e, EROFS, "%s: is read-only", dmz_dev_path(c->devs, i));
	/* Without both sets nothing can be changed and be safe. */
	if (!c->can_write)
		return 0;
	ret = repair_sets(c);
	for (zone = 0; !ret && zone < c->devs->nr_zones; zone++)
		ret = repair_zone(c, zone);
	for (i = 1; !ret && i < c->devs->nr; i++)
		if (c->later_bad[i] != LATER_GOOD)
			ret = repair_later(c, i);
	return ret ? ret : flush(c);
}
