/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the emulation only.
 *
 *	emu.c		life, report, the calls that wait
 *	emu-queue.c	order within a zone, workers, fairness between zones
 *	emu-exec.c	one operation: decide, call the medium, settle the outcome
 *	emu-aio.c	small reads, which nobody waits for
 *	emu-cond.c	the condition machine: pure memory, no lock, no I/O
 *
 * One lock, struct emu's, guards everything that changes, and it is held only
 * for work in memory: never across a call of the medium or of done(). Not one
 * lock a zone: an operation on one zone may close another one implicitly and
 * counts against limits of the whole device, so that the condition machine
 * needs a device-wide lock in any case; it costs less than a system call.
 */
#ifndef ZDEV_EMU_I_H
#define ZDEV_EMU_I_H

#include <pthread.h>

#include "emu.h"
#include "fifo.h"

#define EMU_NO_ZONE	UINT32_MAX

/* All that is kept of an idle zone: 32 bytes, and devices have a million. */
struct emu_zone {
	uint64_t	wp;		/* end of completed writes; bytes from the zone start */
	struct emu_lane	*lane;		/* what is queued or running, NULL: nothing */
	uint32_t	lru_next;	/* implicitly open zones only */
	uint32_t	lru_prev;
	uint64_t	resets : 48;
	uint64_t	cond : 8;	/* enum blk_zone_cond */
	uint64_t	moving : 1;	/* a changing call of the medium is under way */
	uint64_t	stale : 1;	/* wp unknown after a failure: load before use (L7) */
};

_Static_assert(sizeof(void *) > 8 || sizeof(struct emu_zone) <= 32,
	       "an idle zone takes at most 32 bytes");

/* ---- emu-cond.c ---- */

/* The conditions of all zones and what is counted across them. */
struct emu_conds {
	struct emu_zone	*zones;
	uint32_t	nr_zones;
	uint32_t	nr_conv;
	uint64_t	capacity;	/* of each sequential zone */
	uint32_t	max_open;	/* 0: no limit */
	uint32_t	max_active;	/* 0: no limit */
	bool		count_resets;
	uint32_t	nr_open;	/* implicitly and explicitly open */
	uint32_t	nr_active;	/* open and closed */
	uint32_t	lru_oldest;	/* implicitly open, least recently opened or written */
	uint32_t	lru_newest;
};

int emu_conds_init(struct emu_conds *c, const struct zdev_geometry *g);
void emu_conds_free(struct emu_conds *c);

/*
 * Decide op (any but READ and FLUSH) on sequential zone zno and take what it
 * needs: a write or OPEN opens the zone here, as it must be open before the
 * medium is touched. 1: call the medium, then emu_cond_done; 0: done already;
 * or the errno it is refused with, nothing changed.
 */
int emu_cond_take(struct emu_conds *c, uint32_t zno, enum zdev_op op,
		  uint64_t pos, uint64_t len);

/* The medium carried out what emu_cond_take let through. */
void emu_cond_done(struct emu_conds *c, uint32_t zno, enum zdev_op op,
		   uint64_t pos, uint64_t len);

/*
 * Take over what the medium has. first: at open, an unfinished zone is closed;
 * else after a failure, and a zone that is open stays open.
 */
void emu_cond_load(struct emu_conds *c, uint32_t zno,
		   const struct emu_zone_state *st, bool first);

/* The only place where a condition changes, so that the counts cannot drift. */
void emu_cond_set(struct emu_conds *c, uint32_t zno, uint8_t cond);

static inline bool emu_is_conv(const struct emu_conds *c, uint32_t zno)
{
	return zno < c->nr_conv;
}

/* ---- emu-queue.c ---- */

/*
 * What a zone with operations has beyond struct emu_zone; freed with the last
 * of them. The lane of ZDEV_ALL_ZONES belongs to the device and stays.
 */
struct emu_lane {
	uint32_t	zno;
	struct zdev_fifo ordered;	/* one at a time, in order of submission */
	struct zdev_fifo loose;		/* reads, and all there is on conventional zones */
	bool		ordered_busy;
	pthread_t	runner;		/* ordered_busy: the thread that carries it out */
	bool		ready;		/* on the list of lanes with work to start */
	bool		loose_turn;	/* the next start is from the loose fifo */
	uint32_t	nr_loose_busy;
	struct emu_lane	*next_ready;	/* or in the pool of spare lanes */
};

struct emu_worker {
	struct emu	*emu;
	pthread_t	thread;
	pthread_cond_t	wake;
	bool		idle;		/* on the list of those that sleep */
	struct emu_worker *next_idle;
};

struct emu_queue {
	struct emu_lane	*first, *last;	/* ready lanes: workers take them round robin */
	struct emu_lane	*pool;		/* spare, so that a busy zone costs no malloc */
	unsigned	nr_pool;
	struct emu_lane	all;		/* FLUSH of ZDEV_ALL_ZONES */
	unsigned	max_loose;	/* of one lane at a time, so that a slow zone
					 * leaves workers to the others */
	struct emu_worker *idle;	/* who slept last wakes first: its caches are warm */
	bool		stop;
	bool		cut;		/* power is off: what starts from now on fails */
	unsigned	nr_live;	/* operations under way that started before */
	pthread_cond_t	quiet;		/* the last of them ended */
	unsigned	nr_workers;
	struct emu_worker *workers;
};

struct emu {
	struct zdev	dev;
	const struct emu_medium_ops *ops;
	void		*medium;
	bool		powercut;	/* medium is powercut.c's, in front of the real one */
	const struct zlog *log;
	char		*path;
	pthread_mutex_t	lock;		/* guards conds and queue */
	struct emu_conds conds;
	struct emu_queue queue;
	struct emu_aio	*aio;		/* NULL: workers read everything */
};

int emu_queue_start(struct emu *emu, unsigned nr_workers);
/* No operation may be queued. */
void emu_queue_stop(struct emu *emu);

/*
 * Let every operation from now on fail with -EIO and wait for those under way. 0,
 * or -EIO when that was done before. Not from a done() callback.
 */
int emu_queue_cut(struct emu *emu);

/* Ordered: one at a time with the others of the zone, as submitted. Else loose. */
void emu_queue_add(struct emu *emu, struct zdev_io *io, bool ordered);

/*
 * Carry out an ordered operation on this thread, which may block, if its zone
 * has none queued or under way: true with io->result set, done() is not called.
 * Handing each of many small calls to a worker costs more than the calls.
 */
bool emu_queue_run(struct emu *emu, struct zdev_io *io);

/* ---- emu-aio.c ---- */

/* Without it, or where it fails, emu->aio stays NULL. */
void emu_aio_start(struct emu *emu);
/* No operation may be under way. */
void emu_aio_stop(struct emu *emu);

/* Start a checked read. false: nothing has happened, it is one for the workers. */
bool emu_aio_read(struct emu *emu, struct zdev_io *io);

/* ---- emu-exec.c ---- */

/* Carry out io in its turn: its result. Called by a worker, no lock held. */
ssize_t emu_exec(struct emu *emu, struct zdev_io *io);

/* A call that runs in a zone's turn but is no zdev_op: io->priv points to it. */
struct emu_call {
	ssize_t	(*run)(struct emu *emu, struct emu_call *call);
	uint32_t	zno;
	uint8_t		cond;
	void		*buf;
};

ssize_t emu_call_reload(struct emu *emu, struct emu_call *call);
ssize_t emu_call_set_cond(struct emu *emu, struct emu_call *call);
ssize_t emu_call_get_tail(struct emu *emu, struct emu_call *call);

/* 0, or -EIO when the medium's idea of a zone cannot be. */
int emu_state_check(const struct emu *emu, uint32_t zno,
		    const struct emu_zone_state *st);

#endif
