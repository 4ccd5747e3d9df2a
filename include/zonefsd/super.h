/* SPDX-License-Identifier: BSD-2-Clause */
/* The zonefs super block: the first 4096 bytes of a formatted device (Z1, Z2). */
#ifndef ZONEFSD_SUPER_H
#define ZONEFSD_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "zonefsd/zdev.h"

#define ZONEFS_SUPER_SIZE	4096
#define ZONEFS_MAGIC		0x5A4F4653u
#define ZONEFS_LABEL_MAX	63	/* bytes without the terminator */

enum {
	ZONEFS_F_AGGR_CNV = 1, ZONEFS_F_UID = 2, ZONEFS_F_GID = 4, ZONEFS_F_PERM = 8,
	ZONEFS_F_ALL = 15,
};

/* In host order. */
struct zonefs_super {
	char		label[64];	/* terminated by the decoder */
	uint8_t		uuid[16];
	uint64_t	features;	/* ZONEFS_F_* */
	uint32_t	uid, gid;
	uint32_t	perm;
};

/* Fill block (ZONEFS_SUPER_SIZE bytes), checksum included. */
void zonefs_super_encode(const struct zonefs_super *sb, void *block);

/*
 * Check and unpack a block in the order of Z1. 0, -ENODEV when the magic is
 * absent, -EINVAL with *e naming what is wrong.
 */
int zonefs_super_decode(const void *block, struct zonefs_super *sb, struct zerr *e);

/* Read the block from zone 0 of dev and decode it. Blocks. */
int zonefs_super_read(struct zdev *dev, struct zonefs_super *sb, struct zerr *e);

/* Defaults of a fresh format: a random uuid, perm 0640, no feature. */
void zonefs_super_init(struct zonefs_super *sb);

/* Apply "aggr_cnv", "uid=N", "gid=N" or "perm=OCTAL". 0, -ENOENT (unknown name) or -EINVAL with *e. */
int zonefs_super_option(struct zonefs_super *sb, const char *opt, struct zerr *e);

/*
 * Format dev: reset every sequential zone, write the block, finish zone 0 when
 * it is sequential, flush. Data of conventional zones but the first block
 * stays. -EINVAL when every zone but one is offline. Blocks.
 */
int zonefs_format(struct zdev *dev, const struct zonefs_super *sb,
		  void (*progress)(void *ctx, uint32_t done, uint32_t all), void *ctx,
		  struct zerr *e);

#endif
