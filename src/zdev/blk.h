/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real zoned block device. blk_open.c finds out what it is and that nobody
 * else uses it; from what it found blk_create makes the zdev. Split there so that
 * tests can put a file and zones of their own underneath.
 */
#ifndef ZDEV_BLK_H
#define ZDEV_BLK_H

#include "zdev_i.h"

struct blk_params {
	const char	*path;		/* copied */
	int		fd;		/* of libzbd: zone commands, O_DIRECT data */
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
	const struct zlog *log;
};

/*
 * Read all zones through libzbd, check them, start the threads. The descriptors
 * are the device's once this succeeds. 0 or -errno with *e.
 */
int blk_create(const struct blk_params *p, struct zdev **dev, struct zerr *e);

#endif
