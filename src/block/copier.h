/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The copier: copies or zeroes ranges between zones in the background
 * (docs/block-rules.md, section 2). Submission returns nothing and cannot fail;
 * every error comes in the completion.
 */
#ifndef COPIER_H
#define COPIER_H

#include "zonefsd/zdev.h"

#define COPIER_MAX_DESTS	2

struct copier;

struct copier_opts {
	uint32_t	piece;		/* bytes of a sub-job, block multiple, <= ZDEV_MAX_IO */
	uint32_t	nr_pieces;	/* in flight at most; their buffers are made at start */
};

struct copier_stats {
	uint64_t	jobs, bytes;		/* bytes: written at the destinations */
	uint64_t	offload_bytes;		/* of these, copied by the device itself */
	uint64_t	offload_fallbacks;	/* offloads tried and refused */
};

struct copier_place {
	struct zdev	*dev;
	uint32_t	zno;
	uint64_t	pos;		/* bytes from the zone's start */
};

/*
 * One range. The caller fills the upper part and owns the memory until done():
 * once, on any thread, with no lock held; must not block, may submit again.
 * src.dev NULL: zeroes are written. All positions and len are multiples of 4096.
 * Jobs to the same sequential zone are written in the order of their
 * submission, each in ascending order at the write pointer, whatever order the
 * reads complete in; after a failed write the later pieces of that job are not
 * tried, nor are jobs behind it to that zone that were submitted before done().
 */
struct copier_job {
	struct copier_place src;
	struct copier_place dst[COPIER_MAX_DESTS];
	int		nr_dst;
	uint64_t	len;
	void		(*done)(struct copier_job *job);
	void		*owner;

	int		error;		/* 0, or the first error as negative errno */
	unsigned	failed;		/* mask of destinations that do not hold the data */

	struct copier_job *next;	/* the copier's, with all below */
	struct copier_piece *pieces;	/* under way, by rising position */
	uint64_t	begun;		/* bytes that pieces have been made for */
	unsigned	seq, writing;	/* masks of destinations: sequential; with a write under way */
	bool		by_hand;	/* the device is not asked (again) to copy by itself */
};

/* 0 or -ENOMEM. Starts what threads it needs. */
int copier_create(const struct copier_opts *o, struct copier **c);

/* No job may be in flight. */
void copier_free(struct copier *c);

void copier_submit(struct copier *c, struct copier_job *job);

/* Submit and wait; returns job->error. Not from a done() callback. */
int copier_run(struct copier *c, struct copier_job *job);

/*
 * The share of time, 1 to 100 percent, in which copy I/O is in flight: the
 * rest is left to others. Applies to pieces that start from now on.
 */
void copier_set_throttle(struct copier *c, unsigned percent);

void copier_get_stats(struct copier *c, struct copier_stats *st);

#endif
