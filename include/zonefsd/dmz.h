/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The on-disk format of the block view, which is dm-zoned's: make it, look at
 * it, check and repair it. Nothing here runs while the device is mounted.
 *
 * Part numbers in comments are those of docs/dm-zoned-rules.md.
 */
#ifndef ZONEFSD_DMZ_H
#define ZONEFSD_DMZ_H

#include <stdbool.h>
#include <stdint.h>

#include "zonefsd/zdev.h"

#define DMZ_BLOCK_SHIFT		12
#define DMZ_BLOCK_SIZE		4096u	/* bytes, whatever the device's block is */
#define DMZ_LABEL_MAX		31	/* bytes without the terminator */
#define DMZ_MAX_DEVS		16	/* ours; the format has no limit */

/*
 * The devices of one target, concatenated (part 3): one zoned device, or a
 * regular one followed by zoned ones with equal zone sizes.
 */
struct dmz_devs;

/*
 * Open nr devices by path, in table order: zdev_open for zoned ones, and, if nr
 * is above 1, zdev_regular_open for the first. What the format cannot carry
 * (capacity below the zone size, a smaller last zone of a zoned device, unequal
 * zone sizes, a zone that is not a multiple of 4096 bytes) is refused with the
 * reason and, where there is one, the way out. Errors as zdev_open's. Blocks.
 */
int dmz_devs_open(const char *const *paths, uint32_t nr, const struct zdev_open_opts *opts,
		  struct dmz_devs **devs, struct zerr *e);

/*
 * The same of devices that are open; owns them on success. With nr above 1 the
 * first is the regular one. -EINVAL with *e as above, -ENOMEM.
 */
int dmz_devs_join(struct zdev *const *devs, uint32_t nr, struct dmz_devs **out, struct zerr *e);

/* Close all of them (zdev_close) and free devs. The first error. Blocks. */
int dmz_devs_close(struct dmz_devs *devs);

/* Free devs; the devices stay open and are the caller's again. */
void dmz_devs_part(struct dmz_devs *devs);

/* Device i, still owned by devs; NULL beyond the last one. */
struct zdev *dmz_devs_get(const struct dmz_devs *devs, uint32_t i);

/*
 * Does dev, zoned or regular, carry super blocks of this format: set 0's, sound
 * or not, or set 1's when set 0's is bad, or that of a zoned device behind a
 * regular one? 1 for the first or only device, 2 for a later device of several,
 * 0 for neither, -errno. Where two formats have left something, the whole one
 * counts. Blocks.
 */
int dmz_probe(struct zdev *dev);

/*
 * Is path a regular device, the first of several of a disk? For a message when it
 * is named alone: it has no zones of its own then, so only a sound set 0 is seen.
 * Takes no lock. Blocks.
 */
bool dmz_probe_regular(const char *path);

/*
 * Overwrite the super blocks of this format in dev's conventional zones, before
 * it gets another one that would leave them there. 0 or -errno. Blocks.
 */
int dmz_wipe(struct zdev *dev);

/* A super block in host order (part 4). */
struct dmz_super {
	uint32_t	version;	/* 1 or 2 */
	uint64_t	gen;
	uint64_t	sb_block;	/* absolute, in blocks of 4096 */
	uint32_t	nr_meta_blocks;	/* of a set, the super block included */
	uint32_t	nr_reserved_seq;
	uint32_t	nr_chunks;
	uint32_t	nr_map_blocks;
	uint32_t	nr_bitmap_blocks;
	char		label[DMZ_LABEL_MAX + 1];	/* terminated */
	uint8_t		uuid[16];
	uint8_t		dev_uuid[16];
};

/* What is on a device, without a look at map and bitmaps. */
struct dmz_status {
	struct dmz_super super;		/* of the set that wins */
	uint64_t	size;		/* of the disk, in bytes */
	int		winner;		/* 0 or 1 */
	bool		needs_sync;	/* one set is bad or older; their contents may differ yet */
	struct {
		bool		good;
		uint64_t	gen;	/* if good */
		char		why[160];	/* if not */
	} set[2];
};

/*
 * 0 or -errno with *e: -ENODEV when the format is another, -EINVAL when it is
 * damaged or the devices do not belong together. Blocks.
 */
int dmz_status(struct dmz_devs *devs, struct dmz_status *st, struct zerr *e);

struct dmz_format_opts {
	const char	*label;		/* NULL: "dmz-" and the last part of the path, cut to 30 */
	uint32_t	nr_reserved_seq; /* 0: the default, 16 */
	uint8_t		uuid[16];	/* all zero: random ones */
	uint8_t		dev_uuid[DMZ_MAX_DEVS][16];
	/* Zones done and in all, now and then; may be NULL. */
	void		(*progress)(void *ctx, uint32_t done, uint32_t all);
	void		*ctx;
};

/*
 * Format: reset every sequential zone, write both sets, then the tertiary super
 * blocks, so that a crash at any point leaves no valid old format and no valid
 * half of a new one (part 21.10). -EINVAL with *e naming what does not fit
 * (part 6: fewer than three random zones, no room ...). *sb, if not NULL, gets
 * set 0's super block. Blocks.
 */
int dmz_format(struct dmz_devs *devs, const struct dmz_format_opts *opts,
	       struct dmz_super *sb, struct zerr *e);

enum dmz_severity { DMZ_ERROR, DMZ_WARNING, DMZ_REPAIRED };

/* What the checker counts (part 20). */
struct dmz_check_result {
	struct dmz_super super;		/* of the winning set */
	bool		super_valid;	/* false: no usable super block was found */
	uint32_t	nr_zones, nr_meta, nr_tertiary, nr_runt, nr_bad;
	uint32_t	mapped, buffered, free_random, free_seq;	/* zones */
	bool		needs_sync;	/* the sets differ, or one is bad */
	uint64_t	errors, warnings, repaired;
};

struct dmz_check_opts {
	bool		repair;
	/* One finding: text without a newline. May be NULL. */
	void		(*found)(void *ctx, enum dmz_severity sev, const char *text);
	void		*ctx;
};

/*
 * Verify everything in part 20, and repair it. 0 when it ran to its end,
 * whatever it found; -errno with *e when it could not (an unreadable device, no
 * valid super block). Blocks.
 */
int dmz_check(struct dmz_devs *devs, const struct dmz_check_opts *opts,
	      struct dmz_check_result *res, struct zerr *e);

#endif
