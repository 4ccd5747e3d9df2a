/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening the metadata: the winning set is read and checked against the zones,
 * the other is made equal to it (R2), contradictions are mended (R8).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_i.h"

#define STRIDE		256u		/* blocks read at once */

static const char *path_of(const struct block *b)
{
	return zdev_info(b->devs->dev[0].zdev)->path;
}

/* ---- zones ---- */

static bool is_meta(const struct block *b, uint32_t zone)
{
	uint32_t mz = b->set_zone[1] - b->set_zone[0];

	return zone >= b->set_zone[0] && zone < b->set_zone[0] + 2 * mz;
}

/* Part 4: the first zone of each zoned device behind a regular one. */
static bool is_tertiary(const struct block *b, uint32_t zone)
{
	uint32_t i;

	for (i = 1; i < b->devs->nr; i++)
		if (zone == b->devs->dev[i].first_zone)
			return true;
	return false;
}

static void load_zone(struct block *b, uint32_t zone, const struct zdev_zone *r, uint8_t kind)
{
	struct zone *z = &b->zones[zone];

	z->kind = kind;
	z->chunk = DMZ_NONE;
	z->state = ZONE_FREE;
	if (dmz_zone_bad(r))
		z->flags = ZONE_F_BAD;
	else if (kind == DMZ_KIND_SEQ)
		zone_set_wp(b, zone, (uint32_t)(r->wp / DMZ_BLOCK_SIZE));
	/* R9: no write at a pointer inside a block, see pad_zone. */
	if (!z->flags && kind == DMZ_KIND_SEQ && r->wp % DMZ_BLOCK_SIZE)
		z->flags = ZONE_F_ERROR;
	if (is_meta(b, zone) || is_tertiary(b, zone) || kind == DMZ_KIND_RUNT) {
		z->state = ZONE_META;
		return;
	}
	if (dmz_zone_bad(r))
		return;
	b->nr_random += kind == DMZ_KIND_RANDOM;
	b->nr_cache += kind == DMZ_KIND_CACHE;
}

/* ---- the map ---- */

static int claim(struct block *b, uint32_t chunk, uint32_t zone, enum zone_state state,
		 struct zerr *e)
{
	struct zone *z;

	if (zone >= b->devs->nr_zones)
		return zerr_set(e, EINVAL, "%s: chunk %u is mapped to zone %u, which does not exist",
				path_of(b), chunk, zone);
	z = &b->zones[zone];
	if (z->state == ZONE_META)
		return zerr_set(e, EINVAL, "%s: chunk %u is mapped to zone %u, which is not for data",
				path_of(b), chunk, zone);
	if (z->state != ZONE_FREE)
		return zerr_set(e, EINVAL, "%s: zone %u is mapped twice, by chunks %u and %u",
				path_of(b), zone, z->chunk, chunk);
	z->state = (uint8_t)state;
	z->chunk = chunk;
	return 0;
}

static int claim_chunk(struct block *b, uint32_t chunk, struct zerr *e)
{
	uint32_t dz = map_dzone(b, chunk), bz = map_bzone(b, chunk);
	int ret;

	if (dz == DMZ_NONE && bz == DMZ_NONE)
		return 0;
	if (dz == DMZ_NONE)
		return zerr_set(e, EINVAL, "%s: chunk %u has a buffer zone and no data zone",
				path_of(b), chunk);
	ret = claim(b, chunk, dz, ZONE_DATA, e);
	if (ret)
		return ret;
	b->nr_mapped++;
	if (bz == DMZ_NONE)
		return 0;
	ret = claim(b, chunk, bz, ZONE_BUFFER, e);
	if (ret)
		return ret;
	b->nr_buffered++;
	if (zone_is_seq(&b->zones[bz]) || !zone_is_seq(&b->zones[dz]))
		return zerr_set(e, EINVAL, "%s: chunk %u: zones %u and %u do not go together",
				path_of(b), chunk, dz, bz);
	return 0;
}

static int load_map(struct block *b, int winner, struct zerr *e)
{
	size_t entries = (size_t)b->super.nr_map_blocks * DMZ_MAP_PER_BLOCK;
	uint32_t chunk, lost = 0;
	int ret;

	ret = dmz_set_read(b->devs, b->set_zone[winner], 1, b->super.nr_map_blocks, b->map);
	if (ret)
		return zerr_errno(e, -ret, "%s: reading the chunk map", path_of(b));
	for (chunk = 0; chunk < b->super.nr_chunks; chunk++) {
		ret = claim_chunk(b, chunk, e);
		if (ret)
			return ret;
		if (map_dzone(b, chunk) != DMZ_NONE &&
		    b->zones[map_dzone(b, chunk)].flags & ZONE_F_BAD)
			lost++;
	}
	/* R11 */
	memset(&b->map[chunk], 0xff, (entries - chunk) * sizeof(*b->map));
	if (lost)
		zlog(b->opts.log, ZLOG_WARN,
		     "%s: %u chunks are on zones that are read-only or offline", path_of(b), lost);
	return 0;
}

/* ---- weights ---- */

/* The first bit of a zone that may not be set: in blocks from the zone's start. */
static uint32_t bits_end(const struct block *b, uint32_t zone)
{
	const struct zone *z = &b->zones[zone];

	if (z->state != ZONE_DATA && z->state != ZONE_BUFFER)
		return 0;
	if (zone_is_seq(z) && !(z->flags & ZONE_F_BAD))
		return z->wp;
	return b->zone_blocks;
}

static void weigh(struct block *b, uint32_t index, const void *bits)
{
	uint32_t zone = index / b->bpz, base = index % b->bpz * DMZ_BITS_PER_BLOCK;
	uint32_t end = bits_end(b, zone), weight, below;

	weight = bm_weight(bits, DMZ_BITS_PER_BLOCK);
	if (!weight)
		return;
	b->zones[zone].weight += weight;
	below = end <= base ? 0 : end - base < DMZ_BITS_PER_BLOCK ? end - base : DMZ_BITS_PER_BLOCK;
	if (bm_weight(bits, below) != weight)
		b->mend[zone] = 1;
}

static int load_weights(struct block *b, int winner, struct zerr *e)
{
	uint32_t first = 1 + b->super.nr_map_blocks, i, k, n;
	char *buf = aligned_alloc(DMZ_BLOCK_SIZE, STRIDE * DMZ_BLOCK_SIZE);
	int ret = buf ? 0 : -ENOMEM;

	for (i = 0; i < b->super.nr_bitmap_blocks && !ret; i += n) {
		n = b->super.nr_bitmap_blocks - i;
		n = n < STRIDE ? n : STRIDE;
		ret = dmz_set_read(b->devs, b->set_zone[winner], first + i, n, buf);
		for (k = 0; k < n && !ret; k++)
			weigh(b, i + k, buf + (size_t)k * DMZ_BLOCK_SIZE);
	}
	free(buf);
	return ret ? zerr_errno(e, -ret, "%s: reading the bitmaps", path_of(b)) : 0;
}

static void fill_free_lists(struct block *b)
{
	struct zone *z;
	uint32_t zone;

	for (zone = 0; zone < b->devs->nr_zones; zone++) {
		z = &b->zones[zone];
		if (z->state != ZONE_FREE)
			continue;
		if (z->flags & ZONE_F_BAD)
			z->state = ZONE_META;
		else if (!z->wp && !z->flags)
			zone_free(b, zone, false);
		/* load_mend resets the others. */
	}
}

int load_state(struct block *b, const struct zdev_zone *report, const uint8_t *kinds,
	       int winner, struct zerr *e)
{
	uint32_t zone;
	int ret;

	/* There may have been a try before this one. */
	memset(b->zones, 0, b->devs->nr_zones * sizeof(*b->zones));
	memset(b->mend, 0, b->devs->nr_zones);
	memset(b->active, 0, sizeof(b->active));
	b->nr_random = b->nr_cache = b->nr_mapped = b->nr_buffered = 0;
	for (zone = 0; zone < b->devs->nr_zones; zone++)
		load_zone(b, zone, &report[zone], kinds[zone]);
	ret = load_map(b, winner, e);
	if (!ret)
		ret = load_weights(b, winner, e);
	return ret;
}

/* Blocks of a set against those read of its twin, where they can be read. */
static bool is_same(struct block *b, uint32_t zone, uint32_t block, uint32_t nr,
		    const char *twin, char *buf)
{
	uint32_t i;

	if (!dmz_set_read(b->devs, zone, block, nr, buf))
		return !memcmp(buf, twin, (size_t)nr * DMZ_BLOCK_SIZE);
	for (i = 0; i < nr; i++, twin += DMZ_BLOCK_SIZE)
		if (!dmz_set_read(b->devs, zone, block + i, 1, buf) &&
		    memcmp(buf, twin, DMZ_BLOCK_SIZE))
			return false;
	return true;
}

bool load_is_twin(struct block *b, int set)
{
	char *buf = aligned_alloc(DMZ_BLOCK_SIZE, 2 * STRIDE * DMZ_BLOCK_SIZE);
	uint32_t i, n;
	bool twin = buf;

	for (i = 1; i < b->super.nr_meta_blocks && twin; i += n) {
		n = b->super.nr_meta_blocks - i;
		n = n < STRIDE ? n : STRIDE;
		twin = !dmz_set_read(b->devs, b->set_zone[set], i, n, buf) &&
		       is_same(b, b->set_zone[!set], i, n, buf, buf + STRIDE * DMZ_BLOCK_SIZE);
	}
	free(buf);
	return twin;
}

/* ---- R2 ---- */

/* Write the blocks of the loser that differ. from: what the winner holds. */
static int copy_blocks(struct block *b, uint32_t to_zone, uint32_t block, uint32_t nr,
		       const char *from, const char *to, uint32_t *written)
{
	uint32_t i, n;
	int ret;

	for (i = 0; i < nr; i += n) {
		n = 1;
		if (!memcmp(from + (size_t)i * DMZ_BLOCK_SIZE, to + (size_t)i * DMZ_BLOCK_SIZE,
			    DMZ_BLOCK_SIZE))
			continue;
		ret = dmz_set_write(b->devs, to_zone, block + i, n,
				    from + (size_t)i * DMZ_BLOCK_SIZE);
		if (ret)
			return ret;
		(*written)++;
	}
	return 0;
}

static int equalize(struct block *b, uint32_t from_zone, uint32_t to_zone, uint32_t *written)
{
	char *from = aligned_alloc(DMZ_BLOCK_SIZE, 2 * STRIDE * DMZ_BLOCK_SIZE);
	char *to = from ? from + STRIDE * DMZ_BLOCK_SIZE : NULL;
	uint32_t i, n, k;
	int ret = from ? 0 : -ENOMEM;

	for (i = 1; i < b->super.nr_meta_blocks && !ret; i += n) {
		n = b->super.nr_meta_blocks - i;
		n = n < STRIDE ? n : STRIDE;
		ret = dmz_set_read(b->devs, from_zone, i, n, from);
		if (ret)
			break;
		/* What cannot be read of the loser is written anew: no block shall look equal. */
		if (dmz_set_read(b->devs, to_zone, i, n, to))
			for (k = 0; k < n * DMZ_BLOCK_SIZE; k += DMZ_BLOCK_SIZE)
				to[k] = (char)~from[k];
		ret = copy_blocks(b, to_zone, i, n, from, to, written);
	}
	free(from);
	return ret;
}

static int write_loser_super(struct block *b, int loser)
{
	struct dmz_super sb = b->super;

	sb.sb_block = (uint64_t)b->set_zone[loser] * b->zone_blocks;
	dmz_super_encode(&sb, b->sb_block[loser]);
	return dmz_set_write(b->devs, b->set_zone[loser], 0, 1, b->sb_block[loser]);
}

int load_sync(struct block *b, const struct dmz_set set[2], int winner, struct zerr *e)
{
	int loser = !winner, ret;
	uint32_t written = 0;
	bool stale = !set[loser].good || set[loser].super.gen != set[winner].super.gen;

	ret = equalize(b, b->set_zone[winner], b->set_zone[loser], &written);
	if (!ret && (written || stale)) {
		zlog(b->opts.log, ZLOG_WARN, "%s: metadata set %d %s%s, %u blocks taken from set %d",
		     path_of(b), loser,
		     !set[loser].good ? "is bad: " : stale ? "is older" : "differs",
		     set[loser].good ? "" : set[loser].why, written, winner);
		ret = dmz_devs_flush(b->devs);
		if (!ret)
			ret = write_loser_super(b, loser);
		if (!ret)
			ret = dmz_devs_flush(b->devs);
	}
	return ret ? zerr_errno(e, -ret, "%s: making the metadata sets equal", path_of(b)) : 0;
}

/* ---- R8 ---- */

static int room_for(struct block *b, uint32_t bms)
{
	if (b->nr_busy + bms + 4 <= b->image_max)
		return 0;
	return b->opts.read_only ? -EROFS : commit_run(b);
}

/* One bitmap block for a change that needs no other thread. */
static struct bm *take(struct block *b, uint32_t zone, uint32_t block, int *err)
{
	struct bm *bm = bm_get_wait(b, zone, block, err);

	if (bm && !bm_claim(b, bm, 0)) {
		bm_put(b, bm);
		*err = -ENOMEM;
		return NULL;
	}
	return bm;
}

static void give(struct block *b, struct bm *bm)
{
	bm_unclaim(b, bm);
	bm_put(b, bm);
}

/* Bits from bits_end() on are cleared. */
static int mend_zone(struct block *b, uint32_t zone)
{
	uint32_t k, base, end = bits_end(b, zone), from, n;
	struct bm *bm;
	int err = room_for(b, b->bpz);

	if (err)
		return err;
	pthread_mutex_lock(&b->lock);
	for (k = 0; k < b->bpz && !err; k++) {
		base = k * DMZ_BITS_PER_BLOCK;
		from = end <= base ? 0 : end - base;
		if (from >= DMZ_BITS_PER_BLOCK)
			continue;
		bm = take(b, zone, base, &err);
		if (!bm)
			break;
		n = bm_clear(bm, from, DMZ_BITS_PER_BLOCK - from);
		b->zones[zone].weight -= n;
		if (n)
			bm->dirty = true;
		give(b, bm);
	}
	block_leave(b);
	return err;
}

/* What is valid in both zones counts in the data zone, which the kernel reads first. */
static int mend_overlap(struct block *b, uint32_t chunk)
{
	uint32_t dz = map_dzone(b, chunk), bz = map_bzone(b, chunk), k, w, n;
	struct bm *data, *buffer;
	int err = room_for(b, 2 * b->bpz);
	uint64_t both;

	if (err)
		return err;
	pthread_mutex_lock(&b->lock);
	for (k = 0; k < b->bpz && b->zones[dz].weight && b->zones[bz].weight; k++) {
		data = bm_get_wait(b, dz, k * DMZ_BITS_PER_BLOCK, &err);
		if (!data)
			break;
		buffer = take(b, bz, k * DMZ_BITS_PER_BLOCK, &err);
		for (w = 0; buffer && w < DMZ_BITS_PER_BLOCK / 64; w++) {
			both = data->bits[w] & buffer->bits[w];
			n = (uint32_t)__builtin_popcountll(both);
			buffer->bits[w] &= ~both;
			b->zones[bz].weight -= n;
			if (n)
				buffer->dirty = true;
		}
		bm_put(b, data);
		if (!buffer)
			break;
		give(b, buffer);
	}
	block_leave(b);
	return err;
}

/* Unmapped zones that hold something: only once the sets agree that they are unmapped. */
static int reset_strays(struct block *b)
{
	struct zdev *dev;
	uint32_t zone, zno;
	struct zone *z;
	int ret;

	for (zone = 0; zone < b->devs->nr_zones; zone++) {
		z = &b->zones[zone];
		if (z->state != ZONE_FREE || !zone_is_seq(z) || (!z->wp && !z->flags) ||
		    z->flags & ZONE_F_BAD)
			continue;
		dev = dmz_zone_dev(b->devs, zone, &zno);
		ret = zdev_command(dev, ZDEV_RESET, zno);
		if (ret == -EPERM || ret == -EROFS)
			return ret;
		zone_set_wp(b, zone, 0);
		z->flags = ret ? ZONE_F_BAD : 0;
	}
	return 0;
}

/*
 * R9: a pointer that a power loss left inside a block is moved to the next one by
 * writing zeros. If that fails the zone takes no more; what is below stays readable.
 */
static void pad_zone(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];
	struct zdev_zone r;
	struct zdev *dev;
	uint64_t rest;
	uint32_t zno;

	dev = dmz_zone_dev(b->devs, zone, &zno);
	if (zdev_report(dev, zno, 1, &r) || r.wp == ZDEV_WP_NONE || !(r.wp % DMZ_BLOCK_SIZE))
		return;
	rest = DMZ_BLOCK_SIZE - r.wp % DMZ_BLOCK_SIZE;
	if (zdev_pwrite(dev, zno, r.wp, b->zeroes, rest) != (ssize_t)rest)
		return;
	zone_set_wp(b, zone, (uint32_t)((r.wp + rest) / DMZ_BLOCK_SIZE));
	z->flags &= (uint8_t)~ZONE_F_ERROR;
}

static void pad_zones(struct block *b)
{
	uint32_t zone;

	for (zone = 0; zone < b->devs->nr_zones; zone++)
		if (b->zones[zone].state == ZONE_DATA && zone_is_seq(&b->zones[zone]) &&
		    b->zones[zone].flags == ZONE_F_ERROR)
			pad_zone(b, zone);
}

int load_mend(struct block *b, struct zerr *e)
{
	uint32_t zone, chunk, mended = 0;
	int ret = 0;

	for (zone = 0; zone < b->devs->nr_zones && !ret; zone++) {
		if (!b->mend[zone])
			continue;
		mended++;
		ret = mend_zone(b, zone);
	}
	for (chunk = 0; chunk < b->super.nr_chunks && !ret; chunk++)
		if (map_bzone(b, chunk) != DMZ_NONE)
			ret = mend_overlap(b, chunk);
	if (!ret && b->nr_busy && !b->opts.read_only)
		ret = commit_run(b);
	if (!ret && !b->opts.read_only) {
		pad_zones(b);
		ret = reset_strays(b);
	}
	if (mended)
		zlog(b->opts.log, ZLOG_WARN, "%s: %u zones had bits for blocks that they do not hold",
		     path_of(b), mended);
	fill_free_lists(b);
	return ret ? zerr_errno(e, -ret, "%s: mending the metadata", path_of(b)) : 0;
}
