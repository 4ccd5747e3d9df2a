/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which zone is whose: free lists, the chunk map, and the way of a zone from its
 * last mapping to its next (R4).
 */
#include "block_i.h"

/* ---- lists, linked through zone->chunk ---- */

void zone_list_init(struct zone_list *l)
{
	l->head = l->tail = DMZ_NONE;
	l->nr = 0;
}

void zone_list_push(struct block *b, struct zone_list *l, uint32_t zone)
{
	b->zones[zone].chunk = DMZ_NONE;
	if (l->tail == DMZ_NONE)
		l->head = zone;
	else
		b->zones[l->tail].chunk = zone;
	l->tail = zone;
	l->nr++;
}

static void unlink_after(struct block *b, struct zone_list *l, uint32_t prev, uint32_t zone)
{
	uint32_t next = b->zones[zone].chunk;

	if (prev == DMZ_NONE)
		l->head = next;
	else
		b->zones[prev].chunk = next;
	if (l->tail == zone)
		l->tail = prev;
	l->nr--;
	b->zones[zone].chunk = DMZ_NONE;
}

uint32_t zone_list_pop(struct block *b, struct zone_list *l)
{
	uint32_t zone = l->head;

	if (zone != DMZ_NONE)
		unlink_after(b, l, DMZ_NONE, zone);
	return zone;
}

/* ---- taking ---- */

static void not_stale(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];

	if (z->flags & ZONE_F_STALE)
		b->nr_stale--;
	z->flags &= (uint8_t)~ZONE_F_STALE;
}

uint32_t zone_alloc_random(struct block *b)
{
	uint32_t zone = zone_list_pop(b, &b->free_cache);

	if (zone == DMZ_NONE)
		zone = zone_list_pop(b, &b->free_random);
	if (zone != DMZ_NONE)
		not_stale(b, zone);
	if (zone == DMZ_NONE || (b->free_cache.nr + b->free_random.nr) * 10 <
				(b->nr_cache + b->nr_random) * 3)
		reclaim_kick(b);
	return zone;
}

static uint32_t dev_of(const struct block *b, uint32_t zone)
{
	uint32_t i = b->devs->nr - 1;

	while (i && zone < b->devs->dev[i].first_zone)
		i--;
	return i;
}

/* One zone of the device may be begun and not finished. */
static bool may_begin(const struct block *b, uint32_t zone)
{
	uint32_t i = dev_of(b, zone);
	const struct zdev_info *info = zdev_info(b->devs->dev[i].zdev);
	uint32_t max = info->max_active;

	return !max || b->active[i] < max;
}

uint32_t zone_alloc_seq(struct block *b, uint32_t keep)
{
	uint32_t prev = DMZ_NONE, zone;

	if (b->free_seq.nr <= keep)
		return DMZ_NONE;
	for (zone = b->free_seq.head; zone != DMZ_NONE; zone = b->zones[zone].chunk) {
		if (may_begin(b, zone)) {
			unlink_after(b, &b->free_seq, prev, zone);
			return zone;
		}
		prev = zone;
	}
	return DMZ_NONE;
}

static uint32_t take_stale(struct block *b, struct zone_list *l)
{
	uint32_t prev = DMZ_NONE, zone;

	for (zone = l->head; zone != DMZ_NONE; prev = zone, zone = b->zones[zone].chunk) {
		if (!(b->zones[zone].flags & ZONE_F_STALE))
			continue;
		unlink_after(b, l, prev, zone);
		not_stale(b, zone);
		return zone;
	}
	return DMZ_NONE;
}

uint32_t zone_take_stale(struct block *b)
{
	uint32_t zone = DMZ_NONE;

	if (b->nr_stale)
		zone = take_stale(b, &b->free_cache);
	if (b->nr_stale && zone == DMZ_NONE)
		zone = take_stale(b, &b->free_random);
	return zone;
}

/* ---- use ---- */

void zone_get(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];

	z->refs++;
	z->stamp = b->clock;
}

void zone_put(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];

	if (!--z->refs && z->state == ZONE_LEFT) {
		zone_list_push(b, &b->left, zone);
		commit_kick(b);
	}
}

static bool is_active(const struct block *b, uint32_t wp)
{
	return wp && wp < b->zone_blocks;
}

void zone_set_wp(struct block *b, uint32_t zone, uint32_t wp)
{
	struct zone *z = &b->zones[zone];
	uint32_t dev = dev_of(b, zone);

	b->active[dev] += (uint32_t)is_active(b, wp) - (uint32_t)is_active(b, z->wp);
	z->wp = wp;
}

/* ---- giving back ---- */

void zone_leave(struct block *b, uint32_t zone)
{
	struct zone *z = &b->zones[zone];

	z->state = ZONE_LEAVING;
	zone_list_push(b, &b->leaving, zone);
	b->nr_leaving++;
	if (!zone_is_seq(z))
		b->nr_leaving_random++;
	if (b->wait_zone.head)
		commit_kick(b);
}

void zone_free(struct block *b, uint32_t zone, bool stale)
{
	struct zone *z = &b->zones[zone];

	z->state = ZONE_FREE;
	z->weight = 0;
	if (z->flags & ZONE_F_BAD) {
		z->state = ZONE_META;
		return;
	}
	if (zone_is_seq(z))
		zone_list_push(b, &b->free_seq, zone);
	else if (z->kind == DMZ_KIND_CACHE)
		zone_list_push(b, &b->free_cache, zone);
	else
		zone_list_push(b, &b->free_random, zone);
	if (stale) {
		z->flags |= ZONE_F_STALE;
		b->nr_stale++;
	}
	write_zone_free(b);
	if (b->reclaim_asked || stale)
		reclaim_kick(b);
}

/* ---- the map ---- */

bool map_has_room(const struct block *b, uint32_t chunk)
{
	return b->map_dirty[chunk / DMZ_MAP_PER_BLOCK] || b->nr_busy + 4 < b->image_max;
}

static void claim_zone(struct block *b, uint32_t zone, uint32_t chunk, enum zone_state state)
{
	if (zone == DMZ_NONE)
		return;
	b->zones[zone].state = (uint8_t)state;
	b->zones[zone].chunk = chunk;
}

void map_set(struct block *b, uint32_t chunk, uint32_t dzone, uint32_t bzone)
{
	struct map_entry *m = &b->map[chunk];
	uint8_t *dirty = &b->map_dirty[chunk / DMZ_MAP_PER_BLOCK];

	b->nr_mapped += (uint32_t)(dzone != DMZ_NONE) -
			(uint32_t)(m->dzone_le != htole32(DMZ_NONE));
	b->nr_buffered += (uint32_t)(bzone != DMZ_NONE) -
			  (uint32_t)(m->bzone_le != htole32(DMZ_NONE));
	m->dzone_le = htole32(dzone);
	m->bzone_le = htole32(bzone);
	claim_zone(b, dzone, chunk, ZONE_DATA);
	claim_zone(b, bzone, chunk, ZONE_BUFFER);
	if (!*dirty) {
		*dirty = 1;
		b->nr_busy++;
	}
}
