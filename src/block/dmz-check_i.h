/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the checker.
 *
 *	dmz-check.c		life, super blocks, zones, the sum
 *	dmz-check-found.c	what was found, kept until it is known what was repaired
 *	dmz-check-map.c		the mapping table
 *	dmz-check-walk.c	the sets, block by block: bitmaps, comparison, writing
 *	dmz-check-repair.c	the order of a repair
 *
 * What a set should hold is never stored: the mapping table is kept in memory
 * as it should be, and each block read from the winning set is put right on its
 * way (part 16, R8). The check counts what that changes, a repair writes it.
 */
#ifndef DMZ_CHECK_I_H
#define DMZ_CHECK_I_H

#include "dmz_i.h"

#define WALK_BLOCKS	256u	/* of a set, read at a time */

/* Kinds of findings: of each only the first ones are told one by one. */
enum finding {
	F_SUPER, F_SYNC, F_LATER, F_SIZES, F_ZONES, F_POINTER,
	F_DATA_ZONE, F_BUFFER_ZONE, F_TAIL, F_EMPTY_ZONE,
	F_BITS_UNMAPPED, F_BITS_BEYOND, F_BITS_POINTER, F_BITS_BOTH,
	F_LOST, F_IDLE, F_NOT_EMPTY,
	NR_FINDINGS
};

/* What a zone is used for. */
enum role {
	ROLE_FREE,
	ROLE_META,
	ROLE_LATER,	/* a later device's first zone, with a super block alone */
	ROLE_RUNT,
	ROLE_DATA,
	ROLE_BUFFER,
};

/* LATER_NONE: nothing tells that the device is of this disk. */
enum later_bad { LATER_GOOD, LATER_FAULTY, LATER_NONE };

/* A mapping entry. */
struct pair {
	uint32_t	data, buffer;	/* zone ids or DMZ_NONE */
};

struct notes;

struct check {
	struct dmz_devs	*devs;
	const struct dmz_check_opts *opts;
	struct dmz_check_result *res;
	struct zerr	*e;
	struct zdev_zone *zones;
	uint8_t		*kinds;
	uint8_t		*buf;		/* WALK_BLOCKS of the winner */
	uint8_t		*other;		/* WALK_BLOCKS of the loser, or before they were put right */
	uint8_t		*block;		/* one */
	struct dmz_set	set[2];
	int		winner;
	uint32_t	set_zone[2];	/* where each begins */
	uint32_t	meta_zones;	/* of one set */
	bool		can_write;	/* the zones of both sets take writes */
	struct pair	*map;		/* by chunk, as it should be */
	uint8_t		*role;		/* by zone, as its map says */
	uint32_t	*chunk;		/* by zone, ROLE_DATA and ROLE_BUFFER */
	uint32_t	*weight;	/* by zone: valid blocks */
	uint8_t		*later_bad;	/* by device, enum later_bad: its super block needs writing */
	bool		wrong_dev;	/* one may not be of this disk: nothing is repaired */
	uint64_t	wrong;		/* blocks of the winner to put right */
	struct notes	*notes;
};

/* ---- dmz-check-found.c ---- */

/* 0 or -ENOMEM. */
int check_notes_init(struct check *c);

/* Note a finding. fixable: a repair that succeeds has dealt with it. */
void check_found(struct check *c, enum finding kind, enum dmz_severity sev, bool fixable,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Tell and count all that was found. repaired: so were the fixable ones. */
void check_tell(struct check *c, bool repaired);

/* The device that has a zone. */
uint32_t check_dev_of(const struct check *c, uint32_t zone);

/* "7", or with several devices "7 (zone 3 of /dev/sdx)"; buf of ZONE_NAME bytes. */
#define ZONE_NAME	128
const char *check_zone_name(const struct check *c, uint32_t zone, char *buf);

/* ---- dmz-check-map.c ---- */

/* Read the winner's map to c->map, put right, and fill role and chunk. 0 or -errno with *e. */
int check_map(struct check *c);

/* Put map block `nr` (0 is the first) right. tail: look beyond the last chunk. */
void check_fix_map_block(struct check *c, uint32_t nr, uint8_t *block, bool tell);

/* ---- dmz-check-walk.c ---- */

/* Blocks of a zone that may be valid: up to its write pointer where there is one. */
uint32_t check_limit(const struct check *c, uint32_t zone);

/*
 * Read the winner's map and bitmaps, tell what is wrong, and weigh zones. With
 * compare, also whether the other set is the same. 0 or -errno with *e.
 */
int check_walk(struct check *c, bool compare);

/* Write what set `to` should hold wherever it does not. 0 or -errno with *e. */
int check_write(struct check *c, int to);

/* ---- dmz-check-repair.c ---- */

/* All that was found and can be repaired. 0 or -errno with *e. */
int check_repair(struct check *c);

#endif
