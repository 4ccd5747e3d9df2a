/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside src/block: the format as structures and numbers, shared by mkfs, the
 * checker and the running disk. A "block" here is always 4096 bytes, a zone id
 * counts over all devices (docs/dm-zoned-rules.md, parts 1 to 8).
 */
#ifndef DMZ_I_H
#define DMZ_I_H

#include <endian.h>
#include <string.h>

#include "zonefsd/dmz.h"

#define DMZ_MAGIC		0x445A4244u
#define DMZ_NONE		UINT32_MAX	/* no zone in a map entry; no zone at all */
#define DMZ_MAP_PER_BLOCK	512u		/* entries */
#define DMZ_BITS_PER_BLOCK	32768u
#define DMZ_DEFAULT_RESERVED	16u

/* All integers on disk are little endian, and need not be aligned in memory. */
static inline uint32_t dmz_get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t dmz_get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void dmz_put32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void dmz_put64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

enum dmz_zone_kind {
	DMZ_KIND_RANDOM,	/* conventional zone of a zoned device */
	DMZ_KIND_CACHE,		/* zone-sized slice of the regular device */
	DMZ_KIND_SEQ,
	DMZ_KIND_RUNT,		/* short last slice of the regular device: never used */
};

struct dmz_dev {
	struct zdev	*zdev;		/* owned */
	uint32_t	first_zone;	/* id of its zone 0 */
	uint32_t	nr_zones;
	bool		regular;
};

struct dmz_devs {
	struct dmz_dev	dev[DMZ_MAX_DEVS];
	uint32_t	nr;
	uint32_t	nr_zones;	/* of all */
	uint64_t	zone_size;	/* bytes */
	uint32_t	zone_blocks;	/* ZB */
	uint32_t	bitmap_blocks;	/* BPZ, a zone */
};

/* What device i is called in messages. */
const char *dmz_dev_path(const struct dmz_devs *devs, uint32_t i);

/* The device of zone id `zone` (< nr_zones); *zno is its number there. */
struct zdev *dmz_zone_dev(const struct dmz_devs *devs, uint32_t zone, uint32_t *zno);

/* Report of all zones, by id, and their kinds. Arrays of nr_zones. 0 or -errno. Blocks. */
int dmz_devs_report(struct dmz_devs *devs, struct zdev_zone *zones, uint8_t *kinds);

static inline bool dmz_zone_bad(const struct zdev_zone *z)
{
	return z->cond == BLK_ZONE_COND_OFFLINE || z->cond == BLK_ZONE_COND_READONLY;
}

/* Part 5: seed is the low half of gen. The block's crc field must be zero. */
uint32_t dmz_crc(uint32_t seed, const void *buf, size_t len);

/* Fill the known fields of block (4096 bytes) and the checksum; other bytes stay (R11). */
void dmz_super_encode(const struct dmz_super *sb, void *block);

/*
 * Check (part 10, in its order) and unpack a super block that stands at
 * absolute block `place`. -ENODEV without the magic, -EINVAL with *e.
 */
int dmz_super_decode(const void *block, uint64_t place, struct dmz_super *sb, struct zerr *e);

/* Where a super block says it stands; to be decoded there by who does not know its place. */
uint64_t dmz_super_place(const void *block);

/*
 * The sizes that part 6 computes. in: kinds and zones of all devices, wanted
 * reserve. Fills the size fields of *sb (nr_*), and *first_meta with the zone id
 * where set 0 begins, *meta_zones with MZ (zones of one set). 0 or -EINVAL with *e.
 */
int dmz_layout(const struct dmz_devs *devs, const struct zdev_zone *zones,
	       const uint8_t *kinds, uint32_t reserved, struct dmz_super *sb,
	       uint32_t *first_meta, uint32_t *meta_zones, struct zerr *e);

/* MZ of a super block: zones of one set. */
uint32_t dmz_meta_zones(const struct dmz_devs *devs, const struct dmz_super *sb);

struct dmz_set {
	uint32_t	first_zone;	/* DMZ_NONE: not found */
	bool		good;
	struct dmz_super super;		/* if good */
	char		why[160];	/* if not */
};

/*
 * Find and verify both sets and the tertiary super blocks (parts 4, 10, 20.1 to
 * 20.4, and R10: too few usable zones is no reason). set[0] is the one at the
 * first metadata zone. Returns the winner, 0 or 1 (a tie goes to 0), or -errno
 * with *e: no good set (-ENODEV when there is no magic anywhere, else -EINVAL),
 * tertiary super blocks that do not belong here, an I/O error. Blocks.
 */
int dmz_sets_load(struct dmz_devs *devs, const struct zdev_zone *zones, const uint8_t *kinds,
		  struct dmz_set set[2], struct zerr *e);

/* The same without the tertiary super blocks, for who would repair those. */
int dmz_sets_find(struct dmz_devs *devs, const struct zdev_zone *zones, const uint8_t *kinds,
		  struct dmz_set set[2], struct zerr *e);

/*
 * Read and verify the super block of later device i beside that of a set, main.
 * 0, -EINVAL (damaged, or none), -ENOTUNIQ (another device belongs here) or -errno,
 * with *e. Blocks.
 */
int dmz_tertiary_load(struct dmz_devs *devs, uint32_t i, const struct dmz_super *main,
		      struct dmz_super *sb, struct zerr *e);

/*
 * Read or write nr blocks of the set that starts at zone first_zone, from block
 * `block` of the set on (0 is its super block), across zones and in pieces that
 * the device takes. buf: any alignment. Blocks.
 */
int dmz_set_read(struct dmz_devs *devs, uint32_t first_zone, uint32_t block, uint32_t nr,
		 void *buf);
int dmz_set_write(struct dmz_devs *devs, uint32_t first_zone, uint32_t block, uint32_t nr,
		  const void *buf);

/* Flush all devices, at the same time. 0 or the error that ranks first (section 1). Blocks. */
int dmz_devs_flush(struct dmz_devs *devs);

#endif
