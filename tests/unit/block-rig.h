/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk on recorded devices in memory, with faults on demand, and requests to
 * it with several in flight.
 */
#ifndef BLOCK_RIG_H
#define BLOCK_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "block-hist.h"
#include "block-record.h"
#include "unit.h"
#include "zonefsd/block.h"

#define BLK	4096u

struct rig_shape {
	uint64_t	zone_size;
	uint32_t	nr_conv, nr_seq;	/* of the zoned device */
	uint32_t	nr_cache;		/* zones of a regular device before it, or 0 */
	uint64_t	runt;			/* bytes of its last zone, if that is smaller */
	uint32_t	reserve;
	uint32_t	block_size;		/* of the zoned device */
};

struct rig {
	struct rig_shape shape;
	uint32_t	nr_devs;
	struct zdev	*medium[REC_MAX_DEVS];	/* outlives the disk */
	struct zdev	*top[REC_MAX_DEVS];	/* takes faults, while the disk is open */
	struct rec	*rec;
	bool		copies;			/* the devices can copy */
	unsigned	jitter;			/* see rec_stack */
	bool		no_reclaim;
	bool		verbose;
	const struct zdev_fault *at_open; /* injected before the disk is opened, or NULL */
	uint32_t	at_open_dev;
	struct block	*b;
	atomic_uint	went_readonly;
};

/* Devices, formatted. The record begins after the format. */
void rig_create(struct rig *r, const struct rig_shape *shape);

/* Devices that hold img; copies, jitter and the like as `like` has them. */
void rig_from_image(struct rig *r, const struct rig *like, const struct rec_image *img);
void rig_free(struct rig *r);

/* A new stack on the media, not opened. */
struct dmz_devs *rig_devs(struct rig *r);

/* block_open; 0 or -errno, said on stderr. */
int rig_open(struct rig *r);
int rig_close(struct rig *r);

/* Check of the closed disk; says the errors on stderr. */
struct dmz_check_result rig_check(struct rig *r);

/*
 * The same after a power loss. Errors that it may leave are not counted: a set
 * that is bad or differs, a write pointer inside a block (R2, R9).
 */
struct dmz_check_result rig_check_crashed(struct rig *r);

/* Fail operations on device d, or ZDEV_ALL_ZONES of it. See struct zdev_fault. */
void rig_inject(struct rig *r, uint32_t d, const struct zdev_fault *f);
void rig_clear(struct rig *r);

/* All of it, into a buffer that is the caller's to free. */
uint8_t *rig_read_all(struct rig *r);

/*
 * Does the disk hold what the history allows after `events` events (UINT64_MAX: now,
 * without a power loss)? Blocks that cannot be read are passed over, if `lost`.
 */
bool rig_compare(struct rig *r, const struct hist *h, uint64_t events, bool lost);

/* One request, waited for. */
ssize_t rig_run(struct rig *r, enum block_op op, uint64_t pos, uint64_t len, void *buf);

/*
 * Ends the program, saying where it was, when nothing calls it again for so
 * many seconds.
 */
void rig_watch(unsigned seconds, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Figures of all disks closed so far, added up. */
extern struct block_stats rig_totals;

/* ---- requests in flight, in a history ---- */

struct runner_slot {
	struct block_io	io;		/* first */
	struct runner	*runner;
	struct iovec	iov[3];
	uint8_t		*buf;
	size_t		hist;		/* its number in the history */
	uint64_t	done_at;	/* event */
	enum { SLOT_FREE, SLOT_BUSY, SLOT_DONE } state;
};

#define RUNNER_DEPTH	8

/* Sends requests that do not touch the same blocks at the same time. */
struct runner {
	struct rig	*rig;
	struct hist	*hist;
	uint64_t	size;
	int16_t		*use;		/* a block: readers, or -1 for a writer */
	pthread_mutex_t	lock;		/* guards the slots' state and done_at */
	pthread_cond_t	cond;
	struct runner_slot slot[RUNNER_DEPTH];
	unsigned	busy;
	bool		faults;		/* errors are expected; ranges are whole sectors */
	uint8_t		*unknown;	/* a block: old or new, after an error */
	unsigned	nr_errors;
};

void runner_init(struct runner *rn, struct rig *r, struct hist *h);

/* Waits for all and frees. */
void runner_end(struct runner *rn);

/*
 * Start a request, when it touches no block that is in use; else false. src:
 * COPY. Waits when all slots are in flight. A read is compared when it is done,
 * a write's data follow from its number.
 */
bool runner_start(struct runner *rn, enum block_op op, bool fua, uint64_t pos, uint64_t len,
		  uint64_t src);

/* Until nothing is in flight. */
void runner_drain(struct runner *rn);

/* drain, start, drain. Its result. */
ssize_t runner_one(struct runner *rn, enum block_op op, bool fua, uint64_t pos, uint64_t len,
		   uint64_t src);

#endif
