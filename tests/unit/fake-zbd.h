/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A zoned block device for the tests of the blk backend: the zones in memory, the
 * data in a file. Takes the place of libzbd, and stands between the backend and
 * libaio, where it checks what a device would refuse.
 */
#ifndef FAKE_ZBD_H
#define FAKE_ZBD_H

#include <libzbd/zbd.h>
#include <pthread.h>

#include "../../src/zdev/blk.h"

#define FAKE_ZONES	8

struct fake {
	/* Set by the test before fake_open. */
	uint64_t	zone_size, size;
	uint32_t	block_size, max_write, mem_align, max_open;
	unsigned	depth;

	pthread_mutex_t	lock;		/* guards all below */
	struct zbd_zone	zones[FAKE_ZONES];
	unsigned	in_flight[FAKE_ZONES];	/* writes */
	unsigned	writes, reads, flushes, fua, commands, reports;
	size_t		largest;	/* write to a sequential zone */
	bool		gone;		/* everything fails from now on */

	/* One write or flush to fail, when `skip` others have passed. */
	int		fail_err;	/* 0: none */
	unsigned	fail_skip;
	bool		fail_refuse;	/* by io_submit */
	uint64_t	fail_partial;	/* bytes that land all the same */
	void		*failing;	/* it is on its way */
	int		command_err;
};

extern struct fake fake;

/*
 * A new device: `types` has a letter a zone, c(onventional), s(equential),
 * p(referred); the last zone has last_size, 0: as the others.
 */
void fake_make(const char *types, uint64_t zone_size, uint64_t capacity, uint64_t last_size);
/* Open it. 0 or -errno with *e. */
int fake_try_open(bool read_only, struct zdev **dev, struct zerr *e);
struct zdev *fake_open(void);
void fake_end(void);

/* Put a zone into a condition behind the backend's back. wp: bytes from its start. */
void fake_set(uint32_t zno, uint8_t cond, uint64_t wp);

#endif
