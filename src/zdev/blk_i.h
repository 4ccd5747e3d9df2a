/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the blk backend only.
 *
 *	blk-open.c	is it zoned, does somebody use it, what are its limits
 *	blk.c		life, and the checks before an operation is queued
 *	blk-queue.c	order within a zone, and the threads
 *	blk-io.c	reads, writes and flushes: libaio
 *	blk-zone.c	conditions and write pointers, zone commands: libzbd
 *	blk-tail.c	partial last blocks, in a conventional zone 0
 *	blk-space.c	what the device does with data by itself: copies, discards
 *	regular.c	opening what is not zoned
 *
 * One operation at a time changes a sequential zone: the kernel promises the order
 * of two writes to one zone only from 6.10 on, and users of a zdev write large.
 * Reads, and all there is on conventional zones, run beside anything.
 *
 * Data is submitted by the thread that calls, or by the one that ends the
 * operation before it, and completed by the reaper. What blocks (zone commands,
 * reports, tails) is done by workers. No lock is held across any of these.
 */
#ifndef ZDEV_BLK_I_H
#define ZDEV_BLK_I_H

#include <libaio.h>
#include <pthread.h>
#include <stdatomic.h>

#include "blk.h"
#include "blk-tail.h"
#include "fifo.h"

#define BLK_IOV		8	/* pieces of an operation; more are copied into one */
#define BLK_WORKERS	4

struct zbd_zone;

struct bzone {
	/* Constant. */
	uint64_t	capacity;
	uint8_t		type;		/* enum blk_zone_type */

	/* Guarded by struct blk's lock. */
	uint8_t		cond;		/* enum blk_zone_cond */
	bool		stale;		/* the device must be asked: after an error */
	bool		busy;		/* an ordered operation is under way */
	uint32_t	seq;		/* of changes; odd: one is under way */
	uint64_t	wp;		/* end of completed writes, bytes from the start;
					 * READONLY, OFFLINE: what it was before */
	uint16_t	tail;		/* its slot + 1, 0: none */
	struct zdev_fifo waiting;	/* ordered operations */
};

/* An operation at the device. */
struct blk_slot {
	struct iocb	cb;
	struct zdev_io	*io;
	struct blk_slot	*next;		/* free, or waits for a worker */
	char		*bounce;	/* aligned copy of the data, or NULL */
	size_t		len;		/* bytes to move */
	size_t		done;		/* of these moved */
	size_t		part;		/* in flight */
	ssize_t		res;		/* io_submit refused it: why */
	uint32_t	flush;		/* its number */
	struct iovec	iov[BLK_IOV];
};

struct blk_tails {
	/* Constant once the device is open, but for the uuid: head_lock. */
	uint32_t	nr;		/* 0: no room for tails */
	uint32_t	slot_size;
	uint8_t		uuid[16];

	pthread_mutex_t	head_lock;	/* has_head; held while the head is written */
	bool		has_head;

	/* Guarded by struct blk's lock. */
	struct blk_tail_slot *slots;
	uint64_t	seq;		/* the highest in use */
	uint32_t	flush_begun;	/* number of the last flush that did */
	uint32_t	flush_ended;
};

struct blk {
	struct zdev	dev;
	struct blk_params p;
	char		*path;
	io_context_t	aio;
	pthread_t	reaper;
	pthread_t	workers[BLK_WORKERS];
	unsigned	nr_workers;
	bool		has_reaper;
	int		flushed;	/* result of the last flush, set as the reaper ends */
	struct blk_slot	*slots;
	atomic_uint	submits;	/* calls of io_submit */

	atomic_bool	no_discard;	/* refused before: of what is dead */
	atomic_bool	no_zeros;	/* and of what is to read as zeros */

	pthread_mutex_t	lock;		/* guards all below, and the zones as noted there */
	pthread_cond_t	work;		/* for a worker, or stop */
	bool		stop;
	struct blk_slot	*unused;
	struct blk_slot	*slots_to_do;	/* refused by io_submit, or never for it */
	struct zdev_fifo no_slot;	/* operations that wait for one */
	struct zdev_fifo jobs;		/* operations that block */
	struct bzone	*zones;
	struct blk_tails tails;
};

static inline struct blk *to_blk(struct zdev *dev)
{
	return (struct blk *)dev;
}

static inline bool blk_is_seq(const struct blk *b, uint32_t zno)
{
	return b->zones[zno].type != BLK_ZONE_TYPE_CONVENTIONAL;
}

static inline uint64_t blk_zone_start(const struct blk *b, uint32_t zno)
{
	return zno * b->p.zone_size;
}

/* The last zone may be smaller. */
static inline uint64_t blk_zone_size(const struct blk *b, uint32_t zno)
{
	uint64_t left = b->p.size - blk_zone_start(b, zno);

	return left < b->p.zone_size ? left : b->p.zone_size;
}

/* ---- blk.c ---- */

/* What users of a zdev see of an errno that the kernel gave; ret if it is none. */
ssize_t blk_result(ssize_t ret);

/* Log that `what` on zone zno failed. Returns blk_result(ret). */
ssize_t blk_failed(const struct blk *b, uint32_t zno, const char *what, ssize_t ret);

/* ---- blk-queue.c ---- */

int blk_queue_start(struct blk *b);
/* No operation may be queued. Flushes the device: 0 or -errno. */
int blk_queue_stop(struct blk *b);

/* Queue an operation behind those of its zone. */
void blk_queue_add(struct blk *b, struct zdev_io *io);

/* The ordered operation under way on zone zno is complete: start what waits. */
void blk_queue_next(struct blk *b, uint32_t zno);

/* Let a worker call blk_io_slot. */
void blk_queue_slot(struct blk *b, struct blk_slot *s);

/* Let a worker call blk_space_run, and complete the operation. */
void blk_queue_space(struct blk *b, struct zdev_io *io);

/* ---- blk-io.c ---- */

int blk_io_setup(struct blk *b);
void blk_io_free(struct blk *b);

/* Start a read, write or flush; it ends by itself. */
void blk_io_start(struct blk *b, struct zdev_io *io);

/* An ordered write at the head of its zone. True: started; false: io->result says why not. */
bool blk_io_write(struct blk *b, struct zdev_io *io);

/* Complete what io_submit refused, or do what it was not asked to; blocks. */
void blk_io_slot(struct blk *b, struct blk_slot *s);

/* The reaper: completes operations until blk_io_stop. */
void *blk_io_reap(void *arg);

/* Flush, and let the reaper end with the result in b->flushed. */
void blk_io_stop(struct blk *b);

/* ---- blk-space.c ---- */

/* COPY, DISCARD; blocks. 0 or -errno. */
int blk_space_run(struct blk *b, const struct zdev_io *io);

/* ---- blk-zone.c ---- */

/* Read and check all zones. 0 or -errno with *e. */
int blk_zones_load(struct blk *b, struct zerr *e);

/* Ask the device for a zone in doubt, in its turn; blocks. 0 or -EIO. */
int blk_zone_refresh(struct blk *b, uint32_t zno);

int blk_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones);

/* Decide a zone command from what is known: its result, or 1: ask the device. */
int blk_zone_decide(struct blk *b, const struct zdev_io *io);

/* Carry it out; blocks. 0 or -errno. */
int blk_zone_command(struct blk *b, const struct zdev_io *io);

/* Whether a write may start; sets io->pos of an append and opens the zone. 0 or -EIO. */
int blk_zone_take_write(struct blk *b, struct zdev_io *io);

/* A write has ended. */
void blk_zone_end_write(struct blk *b, const struct zdev_io *io, ssize_t result);

/* ---- blk-tail.c ---- */

/* Find the tails; those that match no zone are cleared, unless read-only. 0 or -ENOMEM. */
int blk_tails_load(struct blk *b);

ssize_t blk_get_tail(struct zdev *dev, uint32_t zno, void *buf);

/* PUT_TAIL, in the zone's turn; blocks. 0 or -errno. */
int blk_tail_put(struct blk *b, const struct zdev_io *io);

/* Clear all that names the zone, after a reset, in the zone's turn; blocks. 0 or -errno. */
int blk_tail_clear(struct blk *b, uint32_t zno);

/* The zone's write pointer has moved on. The lock is held. */
void blk_tail_retire(struct blk *b, struct bzone *z);

/* A flush begins: its number; with that number it has ended without an error. */
uint32_t blk_tail_flush_begins(struct blk *b);
void blk_tail_flush_ended(struct blk *b, uint32_t nr);

#endif
