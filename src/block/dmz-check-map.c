/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mapping table (part 7): what each chunk may have, each zone once at most.
 * What cannot stay goes as part 16 says, but a chunk whose data zone is
 * impossible keeps what its buffer zone holds.
 */
#include <errno.h>
#include <inttypes.h>

#include "dmz-check_i.h"

/* NULL, or why a chunk cannot have this zone. */
static const char *zone_fault(const struct check *c, uint32_t zone)
{
	if (zone >= c->devs->nr_zones)
		return "does not exist";
	switch (c->role[zone]) {
	case ROLE_META:
		return "holds metadata";
	case ROLE_LATER:
		return "holds a super block";
	case ROLE_RUNT:
		return "is the short last one of the regular device";
	case ROLE_DATA:
	case ROLE_BUFFER:
		return "is another chunk's already";
	default:
		return NULL;
	}
}

static const char *buffer_fault(const struct check *c, const struct pair *p, uint32_t data)
{
	const char *fault;

	if (p->buffer == p->data)
		return "is its data zone as well";
	fault = zone_fault(c, p->buffer);
	if (fault)
		return fault;
	if (c->kinds[p->buffer] == DMZ_KIND_SEQ)
		return "takes no random writes";
	if (data != DMZ_NONE && c->kinds[data] != DMZ_KIND_SEQ)
		return "is not needed, its data zone takes random writes";
	return NULL;
}

/* The pair as it should be. */
static struct pair fix_pair(struct check *c, uint32_t chunk, const struct pair *p)
{
	struct pair fixed = *p;
	const char *fault = NULL;

	if (p->data == DMZ_NONE) {
		if (p->buffer != DMZ_NONE)
			check_found(c, F_BUFFER_ZONE, DMZ_ERROR, c->can_write, "chunk %" PRIu32
				    ": has buffer zone %" PRIu32 " without a data zone", chunk,
				    p->buffer);
		return (struct pair) { DMZ_NONE, DMZ_NONE };
	}
	fault = zone_fault(c, p->data);
	if (fault) {
		check_found(c, F_DATA_ZONE, DMZ_ERROR, c->can_write, "chunk %" PRIu32
			    ": data zone %" PRIu32 " %s", chunk, p->data, fault);
		fixed.data = DMZ_NONE;
	}
	fault = p->buffer == DMZ_NONE ? NULL : buffer_fault(c, p, fixed.data);
	if (fault) {
		check_found(c, F_BUFFER_ZONE, DMZ_ERROR, c->can_write, "chunk %" PRIu32
			    ": buffer zone %" PRIu32 " %s", chunk, p->buffer, fault);
		fixed.buffer = DMZ_NONE;
	}
	if (fixed.data == DMZ_NONE) {
		fixed.data = fixed.buffer;
		fixed.buffer = DMZ_NONE;
	}
	return fixed;
}

/* Nothing was ever written there: in a repair it goes back to the free ones. */
static bool is_empty(const struct check *c, const struct pair *p)
{
	return p->data != DMZ_NONE && p->buffer == DMZ_NONE &&
	       c->kinds[p->data] == DMZ_KIND_SEQ && !dmz_zone_bad(&c->zones[p->data]) &&
	       !c->zones[p->data].wp;
}

static void claim(struct check *c, uint32_t zone, enum role role, uint32_t chunk)
{
	if (zone == DMZ_NONE)
		return;
	c->role[zone] = role;
	c->chunk[zone] = chunk;
}

static void check_pair(struct check *c, uint32_t chunk, const struct pair *p)
{
	struct pair fixed = fix_pair(c, chunk, p);

	if (is_empty(c, &fixed)) {
		check_found(c, F_EMPTY_ZONE, DMZ_WARNING, c->can_write, "chunk %" PRIu32
			    ": data zone %" PRIu32 " is empty", chunk, fixed.data);
		if (c->opts->repair)
			fixed.data = DMZ_NONE;
	}
	c->map[chunk] = fixed;
	claim(c, fixed.data, ROLE_DATA, chunk);
	claim(c, fixed.buffer, ROLE_BUFFER, chunk);
	c->res->mapped += fixed.data != DMZ_NONE;
	c->res->buffered += fixed.buffer != DMZ_NONE;
}

int check_map(struct check *c)
{
	const struct dmz_super *sb = &c->set[c->winner].super;
	uint32_t chunk, i, nr, block;
	int ret;

	for (chunk = 0; chunk < sb->nr_chunks; chunk += i) {
		block = chunk / DMZ_MAP_PER_BLOCK;
		nr = sb->nr_map_blocks - block < WALK_BLOCKS ? sb->nr_map_blocks - block : WALK_BLOCKS;
		ret = dmz_set_read(c->devs, c->set_zone[c->winner], 1 + block, nr, c->buf);
		if (ret)
			return zerr_errno(c->e, -ret, "%s: set %d: reading the map",
					  dmz_dev_path(c->devs, 0), c->winner);
		for (i = 0; i < nr * DMZ_MAP_PER_BLOCK && chunk + i < sb->nr_chunks; i++) {
			struct pair p = {
				dmz_get32(c->buf + 8 * (size_t)i),
				dmz_get32(c->buf + 8 * (size_t)i + 4),
			};

			check_pair(c, chunk + i, &p);
		}
	}
	return 0;
}

void check_fix_map_block(struct check *c, uint32_t nr, uint8_t *block, bool tell)
{
	uint64_t chunk = (uint64_t)nr * DMZ_MAP_PER_BLOCK;
	bool clean = true;
	uint32_t i;

	for (i = 0; i < DMZ_MAP_PER_BLOCK; i++, chunk++, block += 8) {
		struct pair p = { DMZ_NONE, DMZ_NONE };

		if (chunk < c->set[c->winner].super.nr_chunks)
			p = c->map[chunk];
		else if (dmz_get64(block) != UINT64_MAX)
			clean = false;
		dmz_put32(block, p.data);
		dmz_put32(block + 4, p.buffer);
	}
	if (tell && !clean)
		check_found(c, F_TAIL, DMZ_WARNING, c->can_write, "map block %" PRIu32
			    ": has something behind the last chunk", nr);
}
