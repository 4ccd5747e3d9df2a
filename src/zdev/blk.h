/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real block device, zoned or, as if it had conventional zones only, an ordinary
 * one or a file. blk-open.c and regular.c find out what it is and that nobody
 * else uses it; from what they found blk_create makes the zdev. Split there so that
 * tests can put a file and zones of their own underneath.
 */
#ifndef ZDEV_BLK_H
#define ZDEV_BLK_H

#include "zdev_i.h"

struct blk_params {
	const char	*path;		/* copied */
	int		fd;		/* zone commands (of libzbd then), O_DIRECT data */
	int		lock_fd;	/* hold the device for us until they are closed; -1: none */
	int		claim_fd;
	uint64_t	size;		/* all sizes in bytes */
	uint64_t	zone_size;
	uint32_t	nr_zones;
	uint32_t	block_size;	/* write granularity of sequential zones */
	uint32_t	max_open;	/* 0: no limit */
	uint32_t	max_active;	/* 0: no limit */
	uint32_t	max_write;	/* largest write that the device takes in one piece */
	uint32_t	mem_align;	/* of buffers; a power of two */
	unsigned	depth;		/* requests in flight */
	bool		read_only;
	bool		regular;	/* not zoned: libzbd knows nothing of it */
	bool		is_file;	/* regular: a file, not a block device */
	bool		buffered;	/* fd has no O_DIRECT: workers move the data */
	bool		no_discard;	/* a block device to which space cannot be given back */
	const struct zlog *log;
};

/*
 * Read all zones through libzbd, check them, start the threads. The descriptors
 * are the device's once this succeeds. 0 or -errno with *e.
 */
int blk_create(const struct blk_params *p, struct zdev **dev, struct zerr *e);

/* ---- blk-open.c: what all block devices have ---- */

/*
 * Open p->path for its lock and call opener, which finds out the rest and ends with
 * blk_create. What is open is closed when it fails. 0 or -errno with *e.
 */
typedef int blk_opener(struct blk_params *p, uint32_t wait_ms, struct zdev **dev,
		       struct zerr *e);
int blk_open_with(struct blk_params *p, blk_opener *opener, uint32_t wait_ms,
		  struct zdev **dev, struct zerr *e);

/*
 * Keep the others away: *fd, or -1 for a reader beside another. 0 or -errno with *e.
 * The lock must be held.
 */
int blk_claim(dev_t rdev, const char *path, bool read_only, int *fd, struct zerr *e);

/*
 * Fill in mem_align, max_write, depth and no_discard of the open device, which has
 * logical blocks of lblock bytes and whose block_size is set.
 */
void blk_read_queue(struct blk_params *p, dev_t rdev, uint32_t lblock);

/* Are sizes and numbers what a zdev may have? 0 or -EINVAL with *e. */
int blk_check_params(const struct blk_params *p, struct zerr *e);

#endif
