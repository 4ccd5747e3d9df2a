/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking the format (part 20): super blocks, sets, zones, and the sum of all.
 * The cost grows with the zones and the metadata, and nothing in memory with
 * more than the zones.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "dmz-check_i.h"

/* First byte of a super block that nobody has given a meaning. */
static uint32_t unknown_from(const struct dmz_super *sb)
{
	return sb->version > 1 ? 112 : 48;
}

/* ---- super blocks ---- */

static int check_good_super(struct check *c, int i)
{
	const struct dmz_super *sb = &c->set[i].super;
	uint32_t pos = unknown_from(sb);
	int ret;

	if (sb->version > 1 && !sb->label[0])
		check_found(c, F_SUPER, DMZ_ERROR, false, "set %d: the label is empty", i);
	ret = dmz_set_read(c->devs, c->set_zone[i], 0, 1, c->block);
	if (ret)
		return zerr_errno(c->e, -ret, "%s: set %d: reading the super block",
				  dmz_dev_path(c->devs, 0), i);
	while (pos < DMZ_BLOCK_SIZE && !c->block[pos])
		pos++;
	if (pos < DMZ_BLOCK_SIZE)
		check_found(c, F_SUPER, DMZ_WARNING, false,
			    "set %d: super block: byte %" PRIu32 " has a value without a meaning",
			    i, pos);
	return 0;
}

/* A crash leaves generations one apart, a rebuild by the kernel leaves 1 (part 20.7). */
static void check_generations(struct check *c)
{
	uint64_t gen = c->set[c->winner].super.gen, old = c->set[!c->winner].super.gen;
	bool crash = gen - old == 1 || old == 1;

	if (gen == old)
		return;
	c->res->needs_sync = true;
	check_found(c, F_SYNC, crash ? DMZ_WARNING : DMZ_ERROR, c->can_write,
		    "set %d: older, generation %" PRIu64 " instead of %" PRIu64 "%s", !c->winner,
		    old, gen, crash ? ", as after a crash" : "");
}

static int check_supers(struct check *c)
{
	int i, ret = 0;

	for (i = 0; !ret && i < 2; i++) {
		if (c->set[i].good) {
			ret = check_good_super(c, i);
			continue;
		}
		check_found(c, F_SUPER, DMZ_ERROR, c->can_write, "set %d: %s", i, c->set[i].why);
		c->res->needs_sync = true;
	}
	if (!ret && c->set[0].good && c->set[1].good)
		check_generations(c);
	return ret;
}

/* What does not change which disk it is, only how it was made. */
static void check_sizes(struct check *c)
{
	const struct dmz_super *sb = &c->set[c->winner].super;
	uint32_t map = (uint32_t)(((uint64_t)sb->nr_chunks + DMZ_MAP_PER_BLOCK - 1) /
				  DMZ_MAP_PER_BLOCK);
	uint32_t zone, usable = 0, first, mz, room;
	struct dmz_super made;

	if (sb->nr_map_blocks != map)
		check_found(c, F_SIZES, DMZ_ERROR, false, "%" PRIu32 " map blocks for %" PRIu32
			    " chunks, should be %" PRIu32, sb->nr_map_blocks, sb->nr_chunks, map);
	if (!dmz_layout(c->devs, c->zones, c->kinds, sb->nr_reserved_seq, &made, &first, &mz,
			NULL) && sb->nr_chunks < made.nr_chunks)
		check_found(c, F_SIZES, DMZ_WARNING, false, "%" PRIu32 " chunks where there is room"
			    " for %" PRIu32 ": dmzadm calls this an error", sb->nr_chunks,
			    made.nr_chunks);
	for (zone = 0; zone < c->devs->nr_zones; zone++)
		usable += !dmz_zone_bad(&c->zones[zone]);
	room = 2 * c->meta_zones + sb->nr_reserved_seq;
	room = usable > room ? usable - room : 0;
	if (sb->nr_chunks > room)
		check_found(c, F_SIZES, DMZ_WARNING, false, "bad zones leave %" PRIu32 " too few "
			    "for all chunks and the reserve of %" PRIu32 ": the kernel refuses "
			    "this disk", sb->nr_chunks - room, sb->nr_reserved_seq);
}

/* ---- the later devices' ---- */

/* What of a later device's super block is not as the sets have it; NULL: nothing. */
static const char *later_fault(const struct dmz_super *main, const struct dmz_super *sb)
{
	if (sb->gen)
		return "the generation is not 0";
	if (strcmp(sb->label, main->label))
		return "the label is another";
	if (sb->nr_meta_blocks != main->nr_meta_blocks || sb->nr_chunks != main->nr_chunks ||
	    sb->nr_map_blocks != main->nr_map_blocks ||
	    sb->nr_bitmap_blocks != main->nr_bitmap_blocks ||
	    sb->nr_reserved_seq != main->nr_reserved_seq)
		return "the sizes are others";
	if (!memcmp(sb->dev_uuid, main->dev_uuid, sizeof(sb->dev_uuid)))
		return "the uuid is that of the first device";
	return NULL;
}

/* Is there something of another use in place of a super block? */
static bool is_foreign(struct check *c, uint32_t i)
{
	static const uint8_t zeros[DMZ_BLOCK_SIZE];

	return !dmz_set_read(c->devs, c->devs->dev[i].first_zone, 0, 1, c->block) &&
	       dmz_get32(c->block) != DMZ_MAGIC && memcmp(c->block, zeros, sizeof(zeros));
}

/* 0, or -errno with *e when this is not the device that belongs here (R14). */
static int check_later(struct check *c, uint32_t i)
{
	const struct dmz_super *main = &c->set[c->winner].super;
	const struct zdev_zone *z = &c->zones[c->devs->dev[i].first_zone];
	const char *fault, *path = dmz_dev_path(c->devs, i);
	struct dmz_super sb;
	struct zerr why = { "" };
	bool fixable = c->can_write && !dmz_zone_bad(z);
	int ret;

	if (z->cond == BLK_ZONE_COND_OFFLINE) {
		check_found(c, F_LATER, DMZ_WARNING, false,
			    "%s: zone 0 with the super block is offline", path);
		return 0;
	}
	ret = dmz_tertiary_load(c->devs, i, main, &sb, &why);
	if (ret == -ENOTUNIQ || ret == -ENOMEM)
		return zerr_set(c->e, ret == -ENOMEM ? ENOMEM : EINVAL, "%s", why.msg);
	if (ret && is_foreign(c, i))
		return zerr_set(c->e, EINVAL, "%s: holds something else than a part of the disk "
				"of %s", path, dmz_dev_path(c->devs, 0));
	fault = ret ? NULL : later_fault(main, &sb);
	if (!ret && !fault)
		return 0;
	if (fixable)
		c->later_bad[i] = ret ? LATER_NONE : LATER_FAULTY;
	if (ret)
		check_found(c, F_LATER, DMZ_ERROR, fixable, "%s", why.msg);
	else
		check_found(c, F_LATER, DMZ_ERROR, fixable, "%s: super block: %s", path, fault);
	return 0;
}

/* ---- zones ---- */

static void set_roles(struct check *c)
{
	uint32_t zone, i;

	for (zone = 0; zone < c->devs->nr_zones; zone++)
		if (c->kinds[zone] == DMZ_KIND_RUNT)
			c->role[zone] = ROLE_RUNT;
	for (i = 1; i < c->devs->nr; i++)
		c->role[c->devs->dev[i].first_zone] = ROLE_LATER;
	for (zone = c->set_zone[0]; zone < c->set_zone[0] + 2 * c->meta_zones; zone++) {
		c->role[zone] = ROLE_META;
		if (dmz_zone_bad(&c->zones[zone])) {
			c->can_write = false;
			check_found(c, F_ZONES, DMZ_ERROR, false, "zone %" PRIu32
				    ", which holds metadata, is %s", zone,
				    c->zones[zone].cond == BLK_ZONE_COND_OFFLINE ? "offline" :
				    "read-only");
		}
	}
}

/* A zone that is there to be used, or could be. */
static void check_use(struct check *c, uint32_t zone)
{
	const struct zdev_zone *z = &c->zones[zone];
	bool bad = dmz_zone_bad(z), mapped = c->role[zone] != ROLE_FREE;
	bool seq = c->kinds[zone] == DMZ_KIND_SEQ;
	char name[ZONE_NAME];

	check_zone_name(c, zone, name);
	if (seq && !bad && z->wp != ZDEV_WP_NONE && z->wp % DMZ_BLOCK_SIZE)
		check_found(c, F_POINTER, DMZ_ERROR, c->can_write, "zone %s: the write pointer, at "
			    "byte %" PRIu64 ", is not at a block", name, z->wp);
	if (mapped && bad)
		check_found(c, F_LOST, DMZ_WARNING, false, "chunk %" PRIu32 ": zone %s is %s, with %"
			    PRIu32 " valid blocks", c->chunk[zone], name,
			    z->cond == BLK_ZONE_COND_OFFLINE ? "offline" : "read-only",
			    c->weight[zone]);
	if (mapped && !bad && !c->weight[zone])
		check_found(c, F_IDLE, DMZ_WARNING, false, "chunk %" PRIu32
			    ": zone %s has no valid block", c->chunk[zone], name);
	if (!mapped && seq && !bad && z->cond != BLK_ZONE_COND_EMPTY)
		check_found(c, F_NOT_EMPTY, DMZ_WARNING, c->can_write, "zone %s: not empty, but "
			    "no chunk has it", name);
	c->res->nr_bad += !mapped && bad;
	c->res->free_seq += !mapped && seq && !bad;
	c->res->free_random += !mapped && !seq && !bad;
}

static void check_zones(struct check *c)
{
	uint32_t zone;

	for (zone = 0; zone < c->devs->nr_zones; zone++) {
		switch (c->role[zone]) {
		case ROLE_META:
			c->res->nr_meta++;
			break;
		case ROLE_LATER:
			c->res->nr_tertiary++;
			break;
		case ROLE_RUNT:
			c->res->nr_runt++;
			break;
		default:
			check_use(c, zone);
		}
	}
}

/* ---- life ---- */

static int load(struct check *c)
{
	int ret;

	ret = dmz_devs_report(c->devs, c->zones, c->kinds);
	if (ret)
		return zerr_errno(c->e, -ret, "%s: zone report", dmz_dev_path(c->devs, 0));
	c->winner = dmz_sets_find(c->devs, c->zones, c->kinds, c->set, c->e);
	if (c->winner < 0)
		return c->winner;
	c->res->super = c->set[c->winner].super;
	c->res->super_valid = true;
	c->res->nr_zones = c->devs->nr_zones;
	c->meta_zones = dmz_meta_zones(c->devs, &c->res->super);
	c->set_zone[c->winner] = c->set[c->winner].first_zone;
	c->set_zone[!c->winner] = c->winner ? c->set_zone[1] - c->meta_zones :
					      c->set_zone[0] + c->meta_zones;
	c->map = malloc(c->res->super.nr_chunks * sizeof(*c->map));
	return c->map ? 0 : zerr_errno(c->e, ENOMEM, "%s", dmz_dev_path(c->devs, 0));
}

static int check_all(struct check *c)
{
	uint32_t i;
	bool same, repair;
	int ret;

	ret = load(c);
	if (ret)
		return ret;
	c->can_write = true;
	set_roles(c);
	ret = check_supers(c);
	for (i = 1; !ret && i < c->devs->nr; i++)
		ret = check_later(c, i);
	if (ret)
		return ret;
	check_sizes(c);
	ret = check_map(c);
	same = c->set[0].good && c->set[1].good && c->set[0].super.gen == c->set[1].super.gen;
	if (!ret)
		ret = check_walk(c, same);
	if (ret)
		return ret;
	check_zones(c);
	repair = c->opts->repair && !c->wrong_dev;
	if (repair)
		ret = check_repair(c);
	if (!ret && repair && c->can_write)
		c->res->needs_sync = false;
	/* After a failed repair all stands as it was found. */
	check_tell(c, repair && !ret);
	return ret;
}

static int alloc(struct check *c)
{
	uint32_t nr = c->devs->nr_zones;
	void *buf;

	c->zones = calloc(nr, sizeof(*c->zones));
	c->kinds = calloc(nr, sizeof(*c->kinds));
	c->role = calloc(nr, sizeof(*c->role));
	c->chunk = calloc(nr, sizeof(*c->chunk));
	c->weight = calloc(nr, sizeof(*c->weight));
	c->later_bad = calloc(c->devs->nr, sizeof(*c->later_bad));
	if (!c->zones || !c->kinds || !c->role || !c->chunk || !c->weight || !c->later_bad ||
	    posix_memalign(&buf, DMZ_BLOCK_SIZE, (2 * WALK_BLOCKS + 1) * (size_t)DMZ_BLOCK_SIZE))
		return -ENOMEM;
	c->buf = buf;
	c->other = c->buf + (size_t)WALK_BLOCKS * DMZ_BLOCK_SIZE;
	c->block = c->other + (size_t)WALK_BLOCKS * DMZ_BLOCK_SIZE;
	return check_notes_init(c);
}

int dmz_check(struct dmz_devs *devs, const struct dmz_check_opts *opts,
	      struct dmz_check_result *res, struct zerr *e)
{
	struct check c = { .devs = devs, .opts = opts, .res = res, .e = e };
	int ret;

	memset(res, 0, sizeof(*res));
	ret = alloc(&c);
	ret = ret ? zerr_errno(e, -ret, "%s", dmz_dev_path(devs, 0)) : check_all(&c);
	free(c.notes);
	free(c.map);
	free(c.buf);
	free(c.later_bad);
	free(c.weight);
	free(c.chunk);
	free(c.role);
	free(c.kinds);
	free(c.zones);
	return ret;
}
