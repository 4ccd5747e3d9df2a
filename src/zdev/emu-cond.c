/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The condition machine of sequential zones: rules L3 and L5, completed to what
 * ZBC and ZNS demand. Pure memory: the caller holds struct emu's lock.
 *
 * A write opens its zone when it is taken and moves the write pointer when it
 * is done; in between the zone is marked moving.
 */
#include <errno.h>
#include <stdlib.h>

#include "emu_i.h"

int emu_conds_init(struct emu_conds *c, const struct zdev_geometry *g)
{
	*c = (struct emu_conds) {
		.nr_zones = g->nr_zones,
		.nr_conv = g->nr_conv,
		.capacity = g->zone_capacity,
		.max_open = g->max_open,
		.max_active = g->max_active,
		.lru_oldest = EMU_NO_ZONE,
		.lru_newest = EMU_NO_ZONE,
	};
	c->zones = calloc(g->nr_zones, sizeof(*c->zones));
	return c->zones ? 0 : -ENOMEM;
}

void emu_conds_free(struct emu_conds *c)
{
	free(c->zones);
}

static bool is_open(uint8_t cond)
{
	return cond == BLK_ZONE_COND_IMP_OPEN || cond == BLK_ZONE_COND_EXP_OPEN;
}

static bool is_active(uint8_t cond)
{
	return is_open(cond) || cond == BLK_ZONE_COND_CLOSED;
}

static void lru_add(struct emu_conds *c, uint32_t zno)
{
	struct emu_zone *z = &c->zones[zno];

	z->lru_next = EMU_NO_ZONE;
	z->lru_prev = c->lru_newest;
	if (c->lru_newest != EMU_NO_ZONE)
		c->zones[c->lru_newest].lru_next = zno;
	else
		c->lru_oldest = zno;
	c->lru_newest = zno;
}

static void lru_del(struct emu_conds *c, uint32_t zno)
{
	struct emu_zone *z = &c->zones[zno];

	if (z->lru_prev != EMU_NO_ZONE)
		c->zones[z->lru_prev].lru_next = z->lru_next;
	else
		c->lru_oldest = z->lru_next;
	if (z->lru_next != EMU_NO_ZONE)
		c->zones[z->lru_next].lru_prev = z->lru_prev;
	else
		c->lru_newest = z->lru_prev;
}

void emu_cond_set(struct emu_conds *c, uint32_t zno, uint8_t cond)
{
	struct emu_zone *z = &c->zones[zno];

	c->nr_open += is_open(cond) - is_open(z->cond);
	c->nr_active += is_active(cond) - is_active(z->cond);
	if (z->cond == BLK_ZONE_COND_IMP_OPEN)
		lru_del(c, zno);
	z->cond = cond;
	/* Also when it was there before: an open zone that is used becomes the newest. */
	if (cond == BLK_ZONE_COND_IMP_OPEN)
		lru_add(c, zno);
}

/*
 * What an open zone becomes by close. One whose first write is still under way
 * is not empty, though its write pointer does not show it yet.
 */
static void close_zone(struct emu_conds *c, uint32_t zno)
{
	const struct emu_zone *z = &c->zones[zno];
	bool empty = !z->wp && !z->moving && !z->stale;

	emu_cond_set(c, zno, empty ? BLK_ZONE_COND_EMPTY : BLK_ZONE_COND_CLOSED);
}

/* Room for one more open zone, and for one more active if z is not. */
static int make_room(struct emu_conds *c, const struct emu_zone *z)
{
	if (c->max_active && !is_active(z->cond) && c->nr_active >= c->max_active)
		return -EOVERFLOW;
	if (!c->max_open || is_open(z->cond) || c->nr_open < c->max_open)
		return 0;
	if (c->lru_oldest == EMU_NO_ZONE)
		return -ETOOMANYREFS;
	close_zone(c, c->lru_oldest);
	return 0;
}

static int open_zone(struct emu_conds *c, uint32_t zno, uint8_t cond)
{
	struct emu_zone *z = &c->zones[zno];
	int ret;

	ret = make_room(c, z);
	if (ret)
		return ret;
	/* A write does not weaken an explicit open. */
	if (z->cond != BLK_ZONE_COND_EXP_OPEN)
		emu_cond_set(c, zno, cond);
	return 0;
}

static int take_write(struct emu_conds *c, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct emu_zone *z = &c->zones[zno];
	int ret;

	if (z->cond == BLK_ZONE_COND_FULL || pos != z->wp || len > c->capacity - pos)
		return -EIO;
	ret = open_zone(c, zno, BLK_ZONE_COND_IMP_OPEN);
	return ret ? ret : 1;
}

static int take_close(struct emu_conds *c, uint32_t zno)
{
	const struct emu_zone *z = &c->zones[zno];

	if (z->cond == BLK_ZONE_COND_CLOSED)
		return 0;
	if (!is_open(z->cond))
		return -EIO;
	close_zone(c, zno);
	return 0;
}

int emu_cond_take(struct emu_conds *c, uint32_t zno, enum zdev_op op,
		  uint64_t pos, uint64_t len)
{
	struct emu_zone *z = &c->zones[zno];

	if (z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	switch (op) {
	case ZDEV_WRITE:
	case ZDEV_APPEND:
	case ZDEV_COPY:
		return take_write(c, zno, pos, len);
	case ZDEV_OPEN:
		if (z->cond == BLK_ZONE_COND_FULL)
			return -EIO;
		return open_zone(c, zno, BLK_ZONE_COND_EXP_OPEN);
	case ZDEV_CLOSE:
		return take_close(c, zno);
	case ZDEV_FINISH:
		return z->cond != BLK_ZONE_COND_FULL;
	case ZDEV_RESET:
		/* An empty zone may hold a tail: only the medium knows. */
		return 1;
	case ZDEV_PUT_TAIL:
		return z->cond == BLK_ZONE_COND_FULL || pos != z->wp ? -EIO : 1;
	default:
		return -EINVAL;
	}
}

void emu_cond_done(struct emu_conds *c, uint32_t zno, enum zdev_op op,
		   uint64_t pos, uint64_t len)
{
	struct emu_zone *z = &c->zones[zno];

	switch (op) {
	case ZDEV_WRITE:
	case ZDEV_APPEND:
	case ZDEV_COPY:
		z->wp = pos + len;
		if (z->wp == c->capacity)
			emu_cond_set(c, zno, BLK_ZONE_COND_FULL);
		break;
	case ZDEV_FINISH:
		z->wp = c->capacity;
		emu_cond_set(c, zno, BLK_ZONE_COND_FULL);
		break;
	case ZDEV_RESET:
		if (z->wp && c->count_resets)
			z->resets++;
		z->wp = 0;
		emu_cond_set(c, zno, BLK_ZONE_COND_EMPTY);
		break;
	default:
		break;
	}
}

void emu_cond_load(struct emu_conds *c, uint32_t zno,
		   const struct emu_zone_state *st, bool first)
{
	struct emu_zone *z = &c->zones[zno];
	uint8_t cond;

	z->stale = 0;
	z->wp = st->wp;
	z->resets = st->resets;
	if (st->cond)
		cond = st->cond;
	else if (emu_is_conv(c, zno))
		cond = BLK_ZONE_COND_NOT_WP;
	else if (st->wp == c->capacity)
		cond = BLK_ZONE_COND_FULL;
	else if (!first && z->cond == BLK_ZONE_COND_EXP_OPEN)
		return;		/* the user's, whatever the write pointer */
	else if (!st->wp)
		cond = BLK_ZONE_COND_EMPTY;
	else if (!first && z->cond == BLK_ZONE_COND_IMP_OPEN)
		return;
	else
		cond = BLK_ZONE_COND_CLOSED;
	emu_cond_set(c, zno, cond);
}
