/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The block view: one disk that takes random writes, on devices in dm-zoned's
 * format. Pure logic: no FUSE type appears here. Everything in bytes.
 *
 * Rule numbers (R1 ..) and parts are those of docs/dm-zoned-rules.md, sections
 * those of docs/block-rules.md.
 */
#ifndef ZONEFSD_BLOCK_H
#define ZONEFSD_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "zonefsd/dmz.h"

struct block;

struct block_opts {
	bool		read_only;
	bool		no_reclaim;	/* only when block_reclaim() asks; for tests */
	const struct zlog *log;
	/* The disk became read-only after errors; any thread, no lock held. May be NULL. */
	void		(*went_readonly)(void *ctx);
	void		*ctx;
};

/*
 * Open the disk: choose between the metadata sets (part 10), bring them to the
 * same contents (R2), check map and bitmaps against the zones (R8), start the
 * threads. On success owns devs; on failure it is the caller's still. Nothing
 * is written when it fails, nor ever with read_only. 0 or -errno with *e:
 * -EINVAL for damage, -ENODEV when the format is another. Blocks.
 */
int block_open(struct dmz_devs *devs, const struct block_opts *opts,
	       struct block **b, struct zerr *e);

/*
 * No request may be in flight. Commit all metadata, flush, stop the threads,
 * close the devices, free b. 0 or the first error. Blocks.
 */
int block_close(struct block *b);

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_DISCARD,	/* reads as zeros after */
	BLOCK_ZERO,	/* likewise */
	BLOCK_FLUSH,	/* all that was acknowledged before is durable after (section 1) */
	BLOCK_COPY,	/* len bytes from src to pos, which may not overlap (section 3) */
};

/*
 * One request. The caller fills the upper part and owns the memory until
 * done() is called: once, on any thread, the submitter's own included, with no
 * lock held; it must not block and may submit again or free the io.
 *
 * pos, len and src need no alignment: what is not whole blocks is read, changed
 * and written again, in order with other writes of the same blocks. A discard
 * of parts of blocks zeroes those. Of any length.
 *
 * result: len, or 0 for FLUSH; or a negative errno: -EINVAL beyond the end (a
 * read is cut there instead), -EIO, -EROFS, -ENOMEM, or why the device
 * could not empty a zone for the write, such as -ENOSPC where the file system beneath
 * is full. After a failed write the range may hold old or new data.
 */
struct block_io {
	enum block_op	op;
	bool		fua;		/* WRITE, DISCARD, ZERO, COPY: durable when done (R5) */
	uint64_t	pos;
	uint64_t	len;
	uint64_t	src;		/* COPY */
	const struct iovec *iov;	/* READ, WRITE: len bytes at least; any alignment */
	int		nr_iov;
	void		(*done)(struct block_io *io);
	void		*owner;		/* the caller's own */

	ssize_t		result;
	/* Private to block from submit to done. */
	struct block_io	*next;
	uint64_t	at;		/* bytes of it that were cut into parts */
	uint32_t	pending;	/* parts that are not done, and one while it is cut */
	int		error;		/* the first one */
	bool		commit;		/* must be committed before it is done */
};

/* Start io. Never fails, does not block on the devices. */
void block_submit(struct block *b, struct block_io *io);

/* Submit and wait. Not from a done() callback. */
ssize_t block_run(struct block *b, struct block_io *io);

/* The disk's size in bytes: constant. */
uint64_t block_size(const struct block *b);
const struct dmz_super *block_super(const struct block *b);
struct dmz_devs *block_devs(struct block *b);
bool block_is_readonly(struct block *b);

/*
 * Start reclaim by hand: as many random zones are freed as can be. With wait,
 * returns when nothing is left to do. 0, -EROFS, -EIO, -EINTR (see below).
 */
int block_reclaim(struct block *b, bool wait);

/* The disk is about to be closed: whoever waits for reclaim by hand waits no longer. */
void block_end_reclaim(struct block *b);

/* Figures, each since the open or as of now. */
struct block_stats {
	/* As `dmsetup status` counts them (part 15). */
	uint32_t	nr_zones;
	uint32_t	cache_free, cache_all;
	struct {
		uint32_t random_free, random_all, seq_free, seq_all;
	} dev[DMZ_MAX_DEVS];
	uint32_t	nr_devs;
	uint32_t	reserved;	/* sequential zones kept for reclaim */
	uint32_t	unavailable;	/* zones the user cannot have, the reserved ones not counted */
	uint32_t	mapped_chunks, buffered_chunks;
	uint32_t	waiting_free;	/* zones that the next commit frees (R4) */
	uint64_t	metadata_bytes;	/* in RAM */
	uint64_t	commits, commit_errors, metadata_blocks_written;
	uint64_t	flushes;	/* FLUSH requests; several may share a commit */
	uint64_t	direct_writes, buffered_writes;	/* parts of requests, by where they went */
	uint64_t	reclaim_empty, reclaim_move, reclaim_append, reclaim_merge, reclaim_rewrite;
	uint64_t	reclaim_bytes;	/* copied */
	uint64_t	copies, copy_bytes, offload_bytes, offload_fallbacks;
	uint64_t	waits_for_zone;	/* writes that found no free zone */
	uint64_t	discards, discard_bytes;	/* given back to the devices */
	uint64_t	discards_refused;	/* not supported, or failed */
};
void block_get_stats(struct block *b, struct block_stats *st);

#endif
