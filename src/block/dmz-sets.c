/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding the two metadata sets and choosing between them (part 10), and the
 * super blocks of the later devices. Unlike the kernel it finds set 1 at any
 * distance from a set 0 that is bad, and goes on when zones have gone bad (R10).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmz_i.h"

/* The search, and what it knows. */
struct finder {
	struct dmz_devs	*devs;
	const struct zdev_zone *zones;
	const uint8_t	*kinds;
	uint8_t		*block;		/* room for one */
	bool		magic_seen;
};

static bool can_hold_meta(const struct finder *f, uint64_t zone)
{
	return zone < f->devs->dev[0].nr_zones &&
	       (f->kinds[zone] == DMZ_KIND_RANDOM || f->kinds[zone] == DMZ_KIND_CACHE);
}

/* ---- one super block ---- */

/* NULL, or what is wrong with the sizes (parts 2 and 6; R10: bad zones do not count). */
static const char *find_fault(const struct dmz_devs *devs, const struct dmz_super *sb)
{
	uint64_t bitmap = (uint64_t)devs->nr_zones * devs->bitmap_blocks;
	uint64_t meta = (uint64_t)1 + sb->nr_map_blocks + sb->nr_bitmap_blocks;
	uint64_t taken = 2 * (uint64_t)dmz_meta_zones(devs, sb) + sb->nr_reserved_seq;

	if (sb->version < 2 && devs->nr > 1)
		return "version 1 has one device only";
	if (sb->nr_bitmap_blocks != bitmap)
		return "number of bitmap blocks does not fit the zones";
	if (!sb->nr_chunks || !sb->nr_reserved_seq || taken + sb->nr_chunks > devs->nr_zones)
		return "number of chunks does not fit the zones";
	if ((uint64_t)sb->nr_map_blocks * DMZ_MAP_PER_BLOCK < sb->nr_chunks)
		return "number of map blocks does not fit the chunks";
	if (sb->nr_meta_blocks != meta)
		return "number of metadata blocks is not the sum of its parts";
	return NULL;
}

static void set_why(struct dmz_set *set, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void set_why(struct dmz_set *set, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(set->why, sizeof(set->why), fmt, ap);
	va_end(ap);
	set->good = false;
}

/*
 * The super block at the start of `zone`: set->good, or set->why. A zone that
 * is offline is as good as damaged; any other error of the device ends the
 * search (R7), because the set may be the newer one. 0 or -errno.
 */
static int load_super(struct finder *f, uint32_t zone, struct dmz_set *set)
{
	uint64_t place = (uint64_t)zone * f->devs->zone_blocks;
	const char *fault;
	struct zerr e;
	int ret;

	*set = (struct dmz_set) { .first_zone = zone };
	if (f->zones[zone].cond == BLK_ZONE_COND_OFFLINE) {
		set_why(set, "zone %" PRIu32 " is offline", zone);
		return 0;
	}
	ret = dmz_set_read(f->devs, zone, 0, 1, f->block);
	if (ret)
		return ret;
	ret = dmz_super_decode(f->block, place, &set->super, &e);
	f->magic_seen |= ret != -ENODEV;
	fault = ret ? NULL : find_fault(f->devs, &set->super);
	if (fault)
		set_why(set, "super block: %s", fault);
	else if (ret)
		set_why(set, "%s", ret == -ENODEV ? "no super block" : e.msg);
	else
		set->good = true;
	return 0;
}

/* Do 2 * MZ zones from first on exist that can hold metadata? */
static bool room_for_sets(const struct finder *f, uint32_t first, const struct dmz_super *sb)
{
	uint64_t mz = dmz_meta_zones(f->devs, sb), zone;

	for (zone = first; zone < first + 2 * mz; zone++)
		if (!can_hold_meta(f, zone))
			return false;
	return true;
}

/* NULL, or what set 1 has that cannot stand beside this set 0. */
static const char *find_difference(const struct dmz_super *a, const struct dmz_super *b)
{
	if (a->version != b->version)
		return "version";
	if (memcmp(a->uuid, b->uuid, sizeof(a->uuid)))
		return "uuid";
	if (memcmp(a->dev_uuid, b->dev_uuid, sizeof(a->dev_uuid)))
		return "uuid of the device";
	if (a->nr_meta_blocks != b->nr_meta_blocks || a->nr_map_blocks != b->nr_map_blocks ||
	    a->nr_bitmap_blocks != b->nr_bitmap_blocks)
		return "number of metadata blocks";
	if (a->nr_reserved_seq != b->nr_reserved_seq)
		return "reserve";
	if (a->nr_chunks != b->nr_chunks)
		return "number of chunks";
	/* Of two generations the newer label is right. */
	if (a->gen == b->gen && strcmp(a->label, b->label))
		return "label";
	return NULL;
}

/* ---- both sets ---- */

/* Set 0 is good: its partner is MZ zones on. */
static int load_partner(struct finder *f, struct dmz_set set[2])
{
	uint32_t mz = dmz_meta_zones(f->devs, &set[0].super);
	const char *what;
	int ret;

	if (!room_for_sets(f, set[0].first_zone, &set[0].super)) {
		set_why(&set[0], "super block: both sets do not fit the conventional zones");
		return 0;
	}
	ret = load_super(f, set[0].first_zone + mz, &set[1]);
	if (ret || !set[1].good)
		return ret;
	what = find_difference(&set[0].super, &set[1].super);
	if (what)
		set_why(&set[1], "super block: the %s differs from set 0", what);
	return 0;
}

/*
 * Set 0, at base, is bad: a good set 1 says itself how far away it must be, so
 * that nothing else passes for it, and an unreadable zone on the way is none.
 */
static int search_partner(struct finder *f, uint32_t base, struct dmz_set *set)
{
	struct dmz_set seen;
	uint32_t mz;
	int ret, err = 0;

	*set = (struct dmz_set) { .first_zone = DMZ_NONE, .why = "not found" };
	for (mz = 1; can_hold_meta(f, base + 2 * (uint64_t)mz - 1); mz++) {
		ret = load_super(f, base + mz, &seen);
		if (!err)
			err = ret;
		if (!ret && seen.good && dmz_meta_zones(f->devs, &seen.super) == mz &&
		    room_for_sets(f, base, &seen.super)) {
			*set = seen;
			return 0;
		}
	}
	return err;
}

/*
 * The zone where set 0 begins was bad when the device was formatted, or has
 * become so. If the first good zone holds a set 0 with its partner behind it,
 * it was bad all along.
 */
static int load_behind_bad(struct finder *f, uint32_t base, struct dmz_set set[2])
{
	uint32_t zone = base;
	int ret;

	while (can_hold_meta(f, zone) && dmz_zone_bad(&f->zones[zone]))
		zone++;
	if (!can_hold_meta(f, zone))
		return 0;
	ret = load_super(f, zone, &set[0]);
	if (!ret && set[0].good)
		ret = load_partner(f, set);
	if (ret || (set[0].good && (set[1].good ||
				    dmz_meta_zones(f->devs, &set[0].super) != zone - base)))
		return ret;
	return load_super(f, base, &set[0]);
}

static int load_sets(struct finder *f, struct dmz_set set[2])
{
	uint32_t base = 0;
	int ret;

	while (base < f->devs->dev[0].nr_zones && !can_hold_meta(f, base))
		base++;
	set[0] = (struct dmz_set) { .first_zone = DMZ_NONE, .why = "no conventional zone" };
	set[1] = set[0];
	if (base == f->devs->dev[0].nr_zones)
		return 0;
	ret = load_super(f, base, &set[0]);
	if (!ret && set[0].good)
		ret = load_partner(f, set);
	if (!ret && !set[0].good && dmz_zone_bad(&f->zones[base]))
		ret = load_behind_bad(f, base, set);
	if (!ret && !set[0].good)
		ret = search_partner(f, base, &set[1]);
	return ret;
}

/* ---- the later devices ---- */

int dmz_tertiary_load(struct dmz_devs *devs, uint32_t i, const struct dmz_super *main,
		      struct dmz_super *sb, struct zerr *e)
{
	uint32_t zone = devs->dev[i].first_zone;
	uint8_t *block = malloc(DMZ_BLOCK_SIZE);
	struct zerr why = { "" };
	int ret;

	if (!block)
		return zerr_errno(e, ENOMEM, "%s", dmz_dev_path(devs, i));
	ret = dmz_set_read(devs, zone, 0, 1, block);
	if (ret) {
		free(block);
		return zerr_errno(e, -ret, "%s: reading the super block", dmz_dev_path(devs, i));
	}
	ret = dmz_super_decode(block, dmz_super_place(block), sb, &why);
	free(block);
	if (ret)
		return zerr_set(e, EINVAL, "%s: %s", dmz_dev_path(devs, i),
				ret == -ENODEV ? "has no super block of dm-zoned" : why.msg);
	if (sb->version < 2 || memcmp(sb->uuid, main->uuid, sizeof(sb->uuid)))
		return zerr_set(e, ENOTUNIQ, "%s: belongs to another disk than %s",
				dmz_dev_path(devs, i), dmz_dev_path(devs, 0));
	if (sb->sb_block != (uint64_t)zone * devs->zone_blocks)
		return zerr_set(e, ENOTUNIQ, "%s: stands elsewhere in the disk of %s: name its "
				"devices in the order in which they were formatted",
				dmz_dev_path(devs, i), dmz_dev_path(devs, 0));
	return 0;
}

/* A zone that went offline must not stop the open (R10). */
static int load_tertiaries(struct dmz_devs *devs, const struct zdev_zone *zones,
			   const struct dmz_super *main, struct zerr *e)
{
	struct dmz_super sb;
	uint32_t i;
	int ret = 0;

	for (i = 1; !ret && i < devs->nr; i++)
		if (zones[devs->dev[i].first_zone].cond != BLK_ZONE_COND_OFFLINE)
			ret = dmz_tertiary_load(devs, i, main, &sb, e);
	return ret == -ENOTUNIQ ? -EINVAL : ret;
}

/* ---- both together ---- */

int dmz_sets_find(struct dmz_devs *devs, const struct zdev_zone *zones, const uint8_t *kinds,
		  struct dmz_set set[2], struct zerr *e)
{
	struct finder f = {
		.devs = devs, .zones = zones, .kinds = kinds, .block = malloc(DMZ_BLOCK_SIZE),
	};
	uint32_t nr_zones;
	int ret;

	if (!f.block)
		return zerr_errno(e, ENOMEM, "%s", dmz_dev_path(devs, 0));
	ret = load_sets(&f, set);
	free(f.block);
	if (ret)
		return zerr_errno(e, -ret, "%s: reading the super blocks", dmz_dev_path(devs, 0));
	if (set[0].good && set[1].good)
		return set[1].super.gen > set[0].super.gen;
	if (set[0].good || set[1].good) {
		/* Its place follows from the good one. */
		if (set[1].good)
			set[0].first_zone = set[1].first_zone -
					    dmz_meta_zones(devs, &set[1].super);
		return set[1].good;
	}
	if (devs->nr == 1 && dmz_probe(devs->dev[0].zdev) == 2)
		return zerr_set(e, EINVAL, "%s: is a later device of several: name the regular "
				"device before it", dmz_dev_path(devs, 0));
	if (!f.magic_seen)
		return zerr_set(e, ENODEV, "%s: holds no dm-zoned format", dmz_dev_path(devs, 0));
	/* Of a super block that is sound, but for the zones here. */
	nr_zones = set[0].super.nr_bitmap_blocks / devs->bitmap_blocks;
	if (nr_zones && nr_zones != devs->nr_zones)
		return zerr_set(e, EINVAL, "%s: its disk has %" PRIu32 " zones, here are %" PRIu32
				": a device is missing, one too many, or not as large as it was",
				dmz_dev_path(devs, 0), nr_zones, devs->nr_zones);
	return zerr_set(e, EINVAL, "%s: no valid metadata: set 0: %s; set 1: %s",
			dmz_dev_path(devs, 0), set[0].why, set[1].why);
}

int dmz_sets_load(struct dmz_devs *devs, const struct zdev_zone *zones, const uint8_t *kinds,
		  struct dmz_set set[2], struct zerr *e)
{
	int winner = dmz_sets_find(devs, zones, kinds, set, e);
	int ret;

	if (winner < 0)
		return winner;
	ret = load_tertiaries(devs, zones, &set[winner].super, e);
	return ret ? ret : winner;
}

int dmz_status(struct dmz_devs *devs, struct dmz_status *st, struct zerr *e)
{
	struct zdev_zone *zones = calloc(devs->nr_zones, sizeof(*zones));
	uint8_t *kinds = calloc(devs->nr_zones, 1);
	struct dmz_set set[2];
	int i, ret = zones && kinds ? dmz_devs_report(devs, zones, kinds) : -ENOMEM;

	memset(st, 0, sizeof(*st));
	if (ret)
		zerr_errno(e, -ret, "%s", dmz_dev_path(devs, 0));
	else
		ret = dmz_sets_load(devs, zones, kinds, set, e);
	free(kinds);
	free(zones);
	if (ret < 0)
		return ret;
	st->winner = ret;
	st->super = set[ret].super;
	st->size = st->super.nr_chunks * devs->zone_size;
	st->needs_sync = !set[0].good || !set[1].good || set[0].super.gen != set[1].super.gen;
	for (i = 0; i < 2; i++) {
		st->set[i].good = set[i].good;
		st->set[i].gen = set[i].good ? set[i].super.gen : 0;
		memcpy(st->set[i].why, set[i].why, sizeof(st->set[i].why));
	}
	return 0;
}
