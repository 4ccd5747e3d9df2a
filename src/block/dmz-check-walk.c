/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sets block by block. The winner's blocks are put right as they pass by,
 * each from itself, the map and the zones alone; so a pass to check and a pass
 * to write see the same, and no set is ever held in memory.
 */
#include <errno.h>
#include <inttypes.h>

#include "dmz-check_i.h"

/* ---- bits of one bitmap block, least significant bit of byte 0 first ---- */

static uint32_t count_bits(const uint8_t *block)
{
	uint32_t i, n = 0;

	for (i = 0; i < DMZ_BLOCK_SIZE; i += 8)
		n += (uint32_t)__builtin_popcountll(dmz_get64(block + i));
	return n;
}

/* Clear the bits from `from` on: how many were set. */
static uint32_t cut_bits(uint8_t *block, uint32_t from)
{
	uint32_t i = from / 8, n = 0;
	uint8_t keep = (uint8_t)((1u << from % 8) - 1);

	if (from >= DMZ_BITS_PER_BLOCK)
		return 0;
	n += (uint32_t)__builtin_popcount(block[i] & ~keep & 0xff);
	block[i++] &= keep;
	for (; i < DMZ_BLOCK_SIZE; i++) {
		n += (uint32_t)__builtin_popcount(block[i]);
		block[i] = 0;
	}
	return n;
}

/* Clear in block what is set in mask: how many. */
static uint32_t clear_common(uint8_t *block, const uint8_t *mask)
{
	uint32_t i, n = 0;

	for (i = 0; i < DMZ_BLOCK_SIZE; i++) {
		n += (uint32_t)__builtin_popcount(block[i] & mask[i]);
		block[i] &= (uint8_t)~mask[i];
	}
	return n;
}

/* ---- what bits a zone may have ---- */

/* May its write pointer be believed? */
static bool has_pointer(const struct check *c, uint32_t zone)
{
	return c->kinds[zone] == DMZ_KIND_SEQ && !dmz_zone_bad(&c->zones[zone]) &&
	       c->zones[zone].wp != ZDEV_WP_NONE;
}

uint32_t check_limit(const struct check *c, uint32_t zone)
{
	uint32_t zb = c->devs->zone_blocks;
	uint64_t wp;

	if (c->role[zone] != ROLE_DATA && c->role[zone] != ROLE_BUFFER)
		return 0;
	if (!has_pointer(c, zone))
		return zb;
	wp = c->zones[zone].wp / DMZ_BLOCK_SIZE;
	return wp < zb ? (uint32_t)wp : zb;
}

/* Bits of bitmap block k of a zone below a limit that counts over the zone. */
static uint32_t limit_in_block(uint32_t limit, uint32_t k)
{
	uint64_t start = (uint64_t)k * DMZ_BITS_PER_BLOCK;

	if (limit <= start)
		return 0;
	return limit - start < DMZ_BITS_PER_BLOCK ? (uint32_t)(limit - start) : DMZ_BITS_PER_BLOCK;
}

/* Data is missing on a device that does not say that it is of this disk (R14). */
static void doubt_device(struct check *c, uint32_t i)
{
	if (c->later_bad[i] != LATER_NONE || c->wrong_dev)
		return;
	c->wrong_dev = true;
	check_found(c, F_LATER, DMZ_ERROR, false, "%s: lacks data of the disk, too: is it the "
		    "right device? nothing is repaired", dmz_dev_path(c->devs, i));
}

static void tell_cut(struct check *c, uint32_t zone, uint32_t beyond, uint32_t cut)
{
	char name[ZONE_NAME];

	if (beyond)
		check_found(c, F_BITS_BEYOND, DMZ_ERROR, c->can_write, "zone %s: %" PRIu32
			    " valid blocks beyond its end", check_zone_name(c, zone, name), beyond);
	if (!cut)
		return;
	if (c->role[zone] == ROLE_DATA || c->role[zone] == ROLE_BUFFER)
		check_found(c, F_BITS_POINTER, DMZ_ERROR, c->can_write, "zone %s: %" PRIu32
			    " valid blocks of chunk %" PRIu32 " beyond the write pointer",
			    check_zone_name(c, zone, name), cut, c->chunk[zone]);
	else
		check_found(c, F_BITS_UNMAPPED, DMZ_ERROR, c->can_write, "zone %s: %" PRIu32
			    " valid blocks, but no chunk has it", check_zone_name(c, zone, name),
			    cut);
	doubt_device(c, check_dev_of(c, zone));
}

/*
 * Blocks that the data zone has, the buffer zone cannot have: as both the
 * kernel and the open read the data zone first (R8).
 */
static int fix_buffer(struct check *c, uint32_t zone, uint32_t k, uint8_t *block, bool tell)
{
	const struct dmz_super *sb = &c->set[c->winner].super;
	uint32_t data = c->map[c->chunk[zone]].data, both;
	int ret;

	ret = dmz_set_read(c->devs, c->set_zone[c->winner],
			   1 + sb->nr_map_blocks + data * c->devs->bitmap_blocks + k, 1, c->block);
	if (ret)
		return ret;
	cut_bits(c->block, limit_in_block(check_limit(c, data), k));
	both = clear_common(block, c->block);
	if (both && tell)
		check_found(c, F_BITS_BOTH, DMZ_ERROR, c->can_write, "chunk %" PRIu32 ": %" PRIu32
			    " blocks valid in its data zone %" PRIu32 " and in its buffer zone %"
			    PRIu32, c->chunk[zone], both, data, zone);
	return 0;
}

static int fix_bitmap_block(struct check *c, uint32_t nr, uint8_t *block, bool tell)
{
	uint32_t zone = nr / c->devs->bitmap_blocks, k = nr % c->devs->bitmap_blocks;
	uint32_t beyond, cut;
	int ret = 0;

	beyond = cut_bits(block, limit_in_block(c->devs->zone_blocks, k));
	cut = cut_bits(block, limit_in_block(check_limit(c, zone), k));
	if (tell && (beyond || cut))
		tell_cut(c, zone, beyond, cut);
	if (c->role[zone] == ROLE_BUFFER)
		ret = fix_buffer(c, zone, k, block, tell);
	if (tell)
		c->weight[zone] += count_bits(block);
	return ret;
}

/* Put nr blocks of the winner, from `first` of the set on, right. */
static int fix_blocks(struct check *c, uint32_t first, uint32_t nr, uint8_t *buf, bool tell)
{
	uint32_t map_end = 1 + c->set[c->winner].super.nr_map_blocks, i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++, buf += DMZ_BLOCK_SIZE) {
		if (first + i < map_end)
			check_fix_map_block(c, first + i - 1, buf, tell);
		else
			ret = fix_bitmap_block(c, first + i - map_end, buf, tell);
	}
	return ret;
}

/* ---- passes ---- */

static int read_error(const struct check *c, uint32_t block, int err)
{
	return zerr_errno(c->e, -err, "%s: set %d: reading blocks from %" PRIu32 " on",
			  dmz_dev_path(c->devs, 0), c->winner, block);
}

/* How many of nr blocks differ; *first becomes the first one's index. */
static uint32_t count_different(const uint8_t *a, const uint8_t *b, uint32_t nr, uint32_t *first)
{
	uint32_t i, n = 0;

	for (i = 0; i < nr; i++) {
		size_t pos = (size_t)i * DMZ_BLOCK_SIZE;

		if (!memcmp(a + pos, b + pos, DMZ_BLOCK_SIZE))
			continue;
		if (!n++)
			*first = i;
	}
	return n;
}

/* What comparing the sets found. */
struct compared {
	uint64_t	differ;
	uint32_t	first;
	bool		unreadable;
};

static void compare(struct check *c, uint32_t block, uint32_t nr, struct compared *d)
{
	uint32_t first = 0, n;

	if (dmz_set_read(c->devs, c->set_zone[!c->winner], block, nr, c->other)) {
		d->unreadable = true;
		return;
	}
	n = count_different(c->buf, c->other, nr, &first);
	if (n && !d->differ)
		d->first = block + first;
	d->differ += n;
}

static void tell_compared(struct check *c, const struct compared *d)
{
	if (d->unreadable)
		check_found(c, F_SYNC, DMZ_ERROR, c->can_write, "set %d: cannot be read everywhere",
			    !c->winner);
	if (d->differ)
		check_found(c, F_SYNC, DMZ_ERROR, c->can_write, "the sets differ in %" PRIu64
			    " blocks, the first is block %" PRIu32 ", but have the same generation",
			    d->differ, d->first);
	if (d->unreadable || d->differ)
		c->res->needs_sync = true;
}

int check_walk(struct check *c, bool compare_sets)
{
	uint32_t end = c->set[c->winner].super.nr_meta_blocks, block, nr, first;
	struct compared d = { 0 };
	int ret;

	for (block = 1; block < end; block += nr) {
		nr = end - block < WALK_BLOCKS ? end - block : WALK_BLOCKS;
		ret = dmz_set_read(c->devs, c->set_zone[c->winner], block, nr, c->buf);
		if (ret)
			return read_error(c, block, ret);
		if (compare_sets)
			compare(c, block, nr, &d);
		memcpy(c->other, c->buf, (size_t)nr * DMZ_BLOCK_SIZE);
		ret = fix_blocks(c, block, nr, c->buf, true);
		if (ret)
			return read_error(c, block, ret);
		c->wrong += count_different(c->buf, c->other, nr, &first);
	}
	tell_compared(c, &d);
	return 0;
}

/* Write those of nr blocks in c->buf that differ from c->other, in runs. */
static int write_different(struct check *c, int to, uint32_t block, uint32_t nr, bool all)
{
	uint32_t i, run;
	int ret = 0;

	for (i = 0; !ret && i < nr; i += run ? run : 1) {
		for (run = 0; i + run < nr; run++) {
			size_t pos = (size_t)(i + run) * DMZ_BLOCK_SIZE;

			if (!all && !memcmp(c->buf + pos, c->other + pos, DMZ_BLOCK_SIZE))
				break;
		}
		if (run)
			ret = dmz_set_write(c->devs, c->set_zone[to], block + i, run,
					    c->buf + (size_t)i * DMZ_BLOCK_SIZE);
	}
	return ret;
}

int check_write(struct check *c, int to)
{
	uint32_t end = c->set[c->winner].super.nr_meta_blocks, block, nr;
	bool unreadable = false;
	int ret;

	for (block = 1; block < end; block += nr) {
		nr = end - block < WALK_BLOCKS ? end - block : WALK_BLOCKS;
		ret = dmz_set_read(c->devs, c->set_zone[c->winner], block, nr, c->buf);
		if (ret)
			return read_error(c, block, ret);
		if (to == c->winner)
			memcpy(c->other, c->buf, (size_t)nr * DMZ_BLOCK_SIZE);
		else
			unreadable = dmz_set_read(c->devs, c->set_zone[to], block, nr, c->other);
		ret = fix_blocks(c, block, nr, c->buf, false);
		if (ret)
			return read_error(c, block, ret);
		ret = write_different(c, to, block, nr, unreadable);
		if (ret)
			return zerr_errno(c->e, -ret, "%s: set %d: writing blocks from %" PRIu32
					  " on", dmz_dev_path(c->devs, 0), to, block);
	}
	return 0;
}
