/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside src/zonefs only.
 *
 *	super.c options.c	pure: the block on disk, the mount options
 *	mount.c			life: the file table, unmount, remount
 *	names.c attr.c		lookups and attributes, from memory
 *	queue.c			how a request runs, waits, ends; the helper thread
 *	zone.c			sizes and counters of one file; its tail
 *	file.c			open, close, accounting (Z6, Z13)
 *	read.c			Z7
 *	write.c			what a write to a sequential file may do (Z8, D)
 *	append.c		how data gets behind the write pointer
 *	stage.c			appends acknowledged from memory
 *	stage-write.c		... and how they get to the device
 *	through.c		readers that go past us
 *	arena_i.h		the memory for it, and what outlives a killed daemon
 *	conv.c			writes to conventional files
 *	copy.c			from file to file, by the device where it can
 *	truncate.c fsync.c	reset, finish, truncate; durability
 *	recover.c		Z12
 *	admin.c			zone commands by zone number
 *
 * How a request runs. Nothing here blocks the caller: a request is a chain of
 * steps. A step does some work and returns the request whose step is to run
 * next on this thread: its own, the one behind it in the queue, or NULL when
 * the thread has nothing more to do (the request waits for the device, for its
 * turn, or is done). Loops over steps are thus loops, never recursion, whatever
 * the device answers at once.
 *
 * What changes a sequential file (writes, truncates, opens for writing, the
 * last close, zone commands, recovery, fsync) goes through a queue per file,
 * one at a time: the head runs. A read goes beside it, with the size and the
 * tail of one moment; one that meets a reset goes through the queue instead.
 *
 * Staging (default personality). While an append is only copied, it is done in
 * the caller's thread. The bytes from stage->written to the size are then in
 * memory; each file has one writer, which brings them to the device beside the
 * queue. Whatever else the head of the queue does to the zone, it drains the
 * stage first (zonefs_drain), and the file is as if there were no staging.
 *
 * Locks, in this order, none held over I/O, over done() or over an event:
 *	stripe	of a file: struct zonefs_zone, its struct zonefs_active and the
 *		files on it. 64 of them: work in memory is short, and a mutex
 *		for each of a million files would be the larger part of it.
 *	fs->lock options, counts of files open for writing, directories.
 *	fs->work_lock	the list of the helper thread.
 *	fs->stage_lock	the lists of the stage thread.
 *	the arena's	its free segments.
 */
#ifndef ZONEFS_I_H
#define ZONEFS_I_H

#include <pthread.h>
#include <semaphore.h>

#include "zonefsd/units.h"
#include "arena_i.h"
#include "zonefsd/zonefs.h"

#define ZONEFS_STRIPES		64u

/* zonefs_zone.flags */
enum {
	ZF_RO		= 1,	/* write-protected by an error, until unmount */
	ZF_OFF		= 2,	/* no access, until unmount */
	ZF_OPEN		= 4,	/* explicitly open for the files on it (Z13) */
	ZF_ADM_OPEN	= 8,	/* explicitly open by command */
	ZF_ACTIVE	= 16,	/* counted in fs->nr_active */
};

/* When one of the times was changed. */
struct zonefs_times {
	struct timespec	atime, mtime, ctime;
};

/*
 * One file: a sequential zone, or one or more conventional ones. The size of a
 * sequential file in the default personality counts the tail, so the device's
 * write pointer is the size rounded down to blocks in both personalities.
 */
struct zonefs_zone {
	/* Set at mount, constant after. */
	uint64_t	capacity;	/* bytes, the largest size */
	uint32_t	zno;		/* the first zone; the inode number */
	uint32_t	nr_zones;	/* more than 1: aggregated */
	/* Guarded by the stripe. */
	uint64_t	size;		/* bytes, <= capacity */
	struct zonefs_active *act;	/* NULL while nobody uses the file */
	struct zonefs_times *times;	/* NULL: all of them fs->mount_time */
	uid_t		uid;
	gid_t		gid;
	uint16_t	mode;		/* permission bits */
	uint8_t		flags;		/* ZF_* */
	/* Constant again, and here for the sake of the size. */
	bool		seq;		/* on a sequential zone */
};

_Static_assert(sizeof(void *) > 8 || sizeof(struct zonefs_zone) <= 64,
	       "devices have a million zones");

/* What a file needs only while someone has it open or a request runs on it. */
struct zonefs_active {
	uint32_t	users;		/* open files, and requests without one */
	uint32_t	nr_writers;	/* descriptors open for writing; sequential only */
	struct zonefs_file *files;	/* open files */
	struct zonefs_req *head, *last;	/* the queue; head runs */
	/*
	 * A reset is under way, or was since a read began when gen differs:
	 * what the read has seen may be neither the old nor the new content.
	 */
	bool		unstable;
	uint32_t	gen;
	/*
	 * The partial last block, `held` bytes. Default personality: part of
	 * the size; stored on the device, or !stored where that has no room for
	 * it, and then in the arena as well (zonefs_stage.rests). Strict: the
	 * rest of one large write that the client cut at an odd place, not part
	 * of the size. Not loaded: still on the device only. Kept: the device
	 * has moved on, the size has not (Z12), and so it can be stored no more.
	 * Only the head of the queue changes it, readers copy from it.
	 */
	uint8_t		*tail;		/* block_size bytes, or NULL */
	uint32_t	held;
	bool		loaded, stored, kept;
	struct zonefs_stage *stage;	/* NULL until the first append that is staged */
	uint32_t	through;	/* nothing is staged while somebody reads past us */
	/*
	 * An error that came after the append was acknowledged, counted as
	 * errseq_t does it: each open file is told once. Not told: nobody was yet.
	 */
	int		late_err;
	uint32_t	late_seq;
	bool		late_told;
	/* Conventional files: writes under way, and those that must wait for them. */
	struct zonefs_req *ranges;
	struct zonefs_req *range_waiters, *range_last;
};

/*
 * Appends on their way to the device. The bytes [base, size) are in segments of
 * the arena, ring[first] and what follows, the device has those before `written`.
 * Live from the first such append until it is drained; then the tail is
 * zonefs_active's again and no segment is held, but for one: where the device has
 * no room for the tail, the segment with its bytes rests in the arena as their
 * copy that outlives the daemon, until they are on the device in a block.
 */
#define STAGE_IOVS	(ZDEV_MAX_IO / ARENA_SEG + 2)

struct zonefs_stage {
	/* Constant while it is live or rests. */
	struct zonefs_zone *zone;
	struct arena	*arena;		/* of the mount */
	uint64_t	resets;		/* of the zone */
	uint32_t	max_segs;	/* slots of ring */
	/* The head of the queue's. */
	bool		prepared;	/* resets is right */
	uint32_t	seg;		/* the last one, being filled */
	uint64_t	end;		/* where it ends in the zone */
	/* Room is held up to here; head or writer. */
	atomic_uint_fast64_t reserved;
	/* Guarded by the stripe. */
	bool		live, running;
	bool		rests;		/* not live, and the tail is in ring[first] */
	bool		wants_room;	/* waiter is an append, else a drain */
	int		err;		/* of the writer; it has stopped */
	struct zonefs_req *waiter;	/* the head of the queue */
	uint64_t	base, written;
	uint32_t	first, nr;
	uint64_t	tail_at;	/* the tail when it went live: */
	uint32_t	tail_len;	/* bytes there that no write has replaced */
	bool		tail_stored;	/* ... and that the device has */
	int64_t		since;		/* ns: the last partial block began, or it went live */
	/* Guarded by fs->stage_lock. */
	struct zonefs_stage *next, **pprev;
	/* The writer's while it runs. */
	struct zonefs_req writer;
	struct iovec	iov[STAGE_IOVS];
	uint32_t	ring[];
};

struct zonefs_file {
	struct zonefs	*fs;
	struct zonefs_zone *zone;
	int		flags;		/* of open(2) */
	uint32_t	late_seen;	/* of act->late_seq */
	uint64_t	lost_end;	/* up to here bytes were lost that it may continue */
	struct zonefs_file *next, **pprev;	/* act->files */
};

enum { DIR_ROOT, DIR_CNV, DIR_SEQ, NR_DIRS };

struct zonefs_dir {
	uint16_t	mode;
	uid_t		uid;
	gid_t		gid;
	struct zonefs_times times;
};

/* The files of cnv/ or seq/ in the order of their names. */
struct zonefs_group {
	uint32_t	nr;
	uint32_t	*files;		/* indices to fs->zones */
};

struct zonefs_counters {
	atomic_uint_fast64_t reads, read_bytes, writes, write_bytes, fsyncs;
	atomic_uint_fast64_t resets, finishes, tails_put, tails_dropped, tails_padded;
	atomic_uint_fast64_t io_errors, recoveries;
	atomic_uint_fast64_t staged_bytes, stage_writes, stage_write_bytes, stage_waits;
	atomic_uint_fast64_t late_errors;
	atomic_uint_fast64_t copies, copy_offload_bytes, copy_fallback_bytes;
};

struct zonefs {
	/* Constant after mount. */
	struct zdev	*dev;
	const struct zdev_info *info;
	const struct zlog *log;
	struct zonefs_events ev;
	struct zonefs_super sb;
	uint32_t	bs;		/* block size, a power of two */
	bool		strict;
	struct timespec	mount_time;
	struct zonefs_zone *zones;	/* by zone number */
	uint32_t	nr_files;
	struct zonefs_group group[NR_DIRS];	/* by DIR_CNV, DIR_SEQ */
	uint64_t	max_capacity;	/* of all files (Z4) */
	uint64_t	total_blocks;
	void		*zeroes;	/* info->max_io bytes, never written */
	struct arena	*arena;		/* NULL: nothing is staged */
	uint64_t	replayed;	/* bytes */

	pthread_mutex_t	stripes[ZONEFS_STRIPES];

	pthread_mutex_t	lock;		/* guards down to the next blank line */
	struct zonefs_opts opts;
	uint32_t	nr_wro;		/* write-open sequential files (Z13) */
	uint32_t	nr_writable;	/* descriptors open for writing, all files */
	bool		told_readonly;	/* ev.went_readonly called since the last remount */
	struct zonefs_dir dirs[NR_DIRS];

	atomic_bool	read_only;	/* by option or by an error; set under lock */
	atomic_uint	nr_active;	/* Z13 */
	atomic_uint_fast64_t used_blocks;	/* of sizes, Z5 */
	struct zonefs_counters count;

	/*
	 * Requests in flight, and one for the mount itself. Whoever takes it to
	 * 0 posts *idle, which stands on the stack of zonefs_unmount.
	 */
	atomic_uint_fast64_t inflight;
	sem_t		*idle;
	atomic_bool	stopping;	/* zonefs_stop was called */

	/* The helper thread runs steps that use a call of zdev that may block. */
	pthread_t	worker;
	pthread_mutex_t	work_lock;	/* guards down to the end */
	pthread_cond_t	work_cond;
	struct zonefs_req *work, *work_last;
	struct zonefs_req *parked, *parked_last;	/* in the order of `until` */
	bool		work_stop;

	/* The stage thread resumes appends that there is room for, and watches the clock. */
	pthread_t	stage_thread;
	pthread_mutex_t	stage_lock;	/* guards down to the end */
	pthread_cond_t	stage_cond;
	struct zonefs_req *ready, *ready_last;
	struct zonefs_stage *stages;	/* live ones */
	uint32_t	nr_stages;
	bool		stage_used;	/* some went live since the last tick */
	bool		stage_ticks;	/* else the thread sleeps until it is called */
	bool		stage_stop;

	atomic_int	late_err;	/* one that no file was there to be told */
};

typedef struct zonefs_req *(*zonefs_step)(struct zonefs_req *r);

/* What an error was about; decides what recovery does (Z12). */
enum zonefs_cause { CAUSE_READ, CAUSE_WRITE, CAUSE_CLOSE };

/* zonefs_req.handoff: who runs the next step, the submitter or the completion? */
enum { HANDOFF_SUBMITTING, HANDOFF_LEFT, HANDOFF_DONE };

/* ---- queue.c ---- */

/* Fill in the private part and count r in flight. Every request starts here. */
void zonefs_req_begin(struct zonefs *fs, struct zonefs_zone *z,
		      struct zonefs_file *file, struct zonefs_req *r);

/* Run steps until this thread has none left. NULL is fine. */
void zonefs_req_run(struct zonefs_req *r);

/* Submit an operation of which r->iov, if it has one, is set up; next runs after. */
struct zonefs_req *zonefs_req_io(struct zonefs_req *r, enum zdev_op op, uint32_t zno,
				 uint64_t pos, int nr_iov, zonefs_step next);

/* Submit r->io, of which all but done and owner is set up; next runs after. */
struct zonefs_req *zonefs_req_submit(struct zonefs_req *r, zonefs_step next);

/* Put r at the end of its file's queue; step runs when it is the head. */
struct zonefs_req *zonefs_req_queue(struct zonefs_req *r, zonefs_step step);

/*
 * Parts that several requests share (append, reset, recovery ...) are called
 * with what is to follow and return to it with a result, in r->result.
 */
void zonefs_req_call(struct zonefs_req *r, zonefs_step then);
struct zonefs_req *zonefs_req_return(struct zonefs_req *r, ssize_t result);

/* Have the helper thread run step. */
struct zonefs_req *zonefs_req_defer(struct zonefs_req *r, zonefs_step step);

/*
 * Have the helper thread run step when zonefs_unpark is called, which takes one
 * request, or ZONEFS_PARK_MS from now. r belongs to that thread at once.
 */
#define ZONEFS_PARK_MS	100
void zonefs_req_park(struct zonefs_req *r, zonefs_step step);
void zonefs_unpark(struct zonefs *fs);

/* r is done: answer it, and hand over to the next of the queue it was in. */
struct zonefs_req *zonefs_req_finish(struct zonefs_req *r, ssize_t result);

/* A thread that gets no signals. 0 or -errno. */
int zonefs_thread_start(struct zonefs *fs, pthread_t *thread, void *(*run)(void *));
int zonefs_worker_start(struct zonefs *fs);
void zonefs_worker_stop(struct zonefs *fs);
void zonefs_inflight_put(struct zonefs *fs);

/* ---- zone.c ---- */

static inline bool zone_is_seq(const struct zonefs_zone *z)
{
	return z->seq;
}

static inline uint64_t zone_wp(const struct zonefs *fs, const struct zonefs_zone *z)
{
	return zu_round_down(z->size, fs->bs);
}

void zonefs_zone_lock(struct zonefs *fs, const struct zonefs_zone *z);
void zonefs_zone_unlock(struct zonefs *fs, const struct zonefs_zone *z);

/* By inode number (= number of its first zone); NULL. */
struct zonefs_zone *zonefs_zone_by_ino(const struct zonefs *fs, uint64_t ino);
/* The file that has zone zno; NULL for the super block's. */
struct zonefs_zone *zonefs_zone_by_zno(const struct zonefs *fs, uint32_t zno);

/* "seq/12"; buf of 20 bytes. Returns buf. For messages: it searches. */
#define ZONEFS_NAME_LEN	20
const char *zonefs_zone_name(const struct zonefs *fs, const struct zonefs_zone *z, char *buf);

/*
 * Where byte pos of a file is: *zno, and *zpos in it. Returns the bytes from
 * there to the end of that zone. Aggregated zones but the device's last have the
 * full zone size, and with that one the file ends.
 */
uint64_t zonefs_zone_place(const struct zonefs *fs, const struct zonefs_zone *z,
			   uint64_t pos, uint32_t *zno, uint64_t *zpos);

/* Take, drop a use of z->act, made and freed as needed. -ENOMEM. */
int zonefs_zone_get(struct zonefs *fs, struct zonefs_zone *z);
void zonefs_zone_put(struct zonefs *fs, struct zonefs_zone *z);

/* These need the stripe held. */
void zonefs_zone_set_size(struct zonefs *fs, struct zonefs_zone *z, uint64_t size);
void zonefs_zone_account(struct zonefs *fs, struct zonefs_zone *z);
void zonefs_zone_drop_tail(struct zonefs_zone *z);
/* mtime and ctime are now. Kept as they are when there is no memory. */
void zonefs_zone_touch(struct zonefs *fs, struct zonefs_zone *z);
struct zonefs_times *zonefs_zone_times(struct zonefs *fs, struct zonefs_zone *z);
/* -EPERM for a file without access (Z7, Z8), or 0. */
int zonefs_zone_writable(const struct zonefs_zone *z);
int zonefs_zone_readable(const struct zonefs_zone *z);

/* Does the size count bytes that are only in memory? Head of the queue only. */
bool zonefs_tail_is_unstored(const struct zonefs *fs, const struct zonefs_zone *z);

/* Have the tail in memory, then run next. r may be in the queue or not. */
struct zonefs_req *zonefs_tail_load(struct zonefs_req *r, zonefs_step next);

/* ---- names.c ---- */

/* DIR_*, or -1 for what is no directory or one that is not there. */
int zonefs_dir_of(const struct zonefs *fs, uint64_t ino);

/* Tell the user of zonefs; no lock held. */
void zonefs_attr_changed(struct zonefs *fs, const struct zonefs_zone *z);

/* ---- write-any.c ---- */

/*
 * What the default personality makes of a write to a sequential or a
 * conventional file: an errno, 0, or 1 with r->pos and r->len made fit. The
 * stripe is held.
 */
int zonefs_write_check_any(struct zonefs_req *r);

/* ---- append.c ---- */

/*
 * Head of the queue only, with the tail loaded: put r->len bytes of r->buf at
 * r->pos, which is at or behind the end; zeros fill the space between. Returns
 * to then with the bytes of r->buf that are in the file (all but for lack of
 * room), or an errno after recovery has run; -EINTR when it was stopped in the
 * space between, which then ends the file.
 */
struct zonefs_req *zonefs_append(struct zonefs_req *r, zonefs_step then);

/*
 * After a write failed and recovery ran, on the helper thread: it may have taken
 * the stored tail with it, which is stored again. Returns what r->result is.
 */
struct zonefs_req *zonefs_tail_restore(struct zonefs_req *r, zonefs_step then);

/* Complete the tail, if there is one, with zeros. Returns 0 or an errno, as append. */
struct zonefs_req *zonefs_seal(struct zonefs_req *r, zonefs_step then);

/* ---- stage.c ---- */

/* May the write r, checked, be staged? Head of the queue; the stripe is held. */
bool zonefs_stage_takes(const struct zonefs_req *r);

/* Have what stage and tail need, which stays as long as the file is in use. -ENOMEM. */
int zonefs_stage_alloc(struct zonefs *fs, struct zonefs_zone *z);

/*
 * Learn of the device what the stage must know of the zone, whose write pointer
 * must be wp. Head of the queue; blocks. 0 or -errno.
 */
int zonefs_stage_prepare(struct zonefs *fs, struct zonefs_zone *z, uint64_t wp);

/*
 * Head of the queue, drained and prepared: the bytes of iov, which follow the last
 * whole block `whole` and which the device has no room for, rest in the arena.
 * false: it has none either.
 */
bool zonefs_stage_rest(struct zonefs *fs, struct zonefs_zone *z, uint64_t whole,
		       const struct iovec *iov, int nr);
/* The tail is on the device, or dropped: nothing rests any more. The stripe is held. */
void zonefs_stage_unrest(struct zonefs_active *act);

/* Room is held on the device this much ahead of the appends, if it has that. */
#define ZONEFS_RESERVE_STEP	(UINT64_C(16) << 20)

/*
 * Head of the queue, after zonefs_stage_takes and with the tail loaded: copy r's
 * bytes to the stage, r->staged of them. The rest, which r->buf, r->pos and r->len
 * are then, found no room; it is to be written past the stage. Returns 0.
 */
struct zonefs_req *zonefs_stage_append(struct zonefs_req *r, zonefs_step then);

/* Where the bytes begin that the device has not got. The stripe is held. */
static inline uint64_t zone_dev_end(const struct zonefs *fs, const struct zonefs_zone *z)
{
	if (z->act && z->act->stage && z->act->stage->live)
		return z->act->stage->written;
	return zone_wp(fs, z);
}

/* Copy n bytes at pos, which are not before zone_dev_end. The stripe is held. */
void zonefs_stage_read(struct zonefs *fs, const struct zonefs_zone *z, uint64_t pos,
		       void *buf, size_t n);

/* ---- stage-write.c ---- */

/* Is there something to do for zonefs_drain? Head of the queue only. */
bool zonefs_stage_is_live(struct zonefs *fs, const struct zonefs_zone *z);

/*
 * Head of the queue only: wait until the device has all that is staged, tail
 * included if it has room for that. Returns 0, or an errno after recovery; the
 * stage is not live then, either.
 */
struct zonefs_req *zonefs_drain(struct zonefs_req *r, zonefs_step then);

/* Start the writer if it has something to do; true: zonefs_stage_run. The stripe is held. */
bool zonefs_stage_start(struct zonefs *fs, struct zonefs_zone *z);
void zonefs_stage_run(struct zonefs *fs, struct zonefs_zone *z);

/* Went live, the stripe is held. */
void zonefs_stage_list(struct zonefs *fs, struct zonefs_stage *st);

/*
 * The writer failed with err; the device has what dev says (NULL: it does not
 * answer). The size shrinks to that. Returns the bytes lost. The stripe is held.
 */
uint64_t zonefs_stage_collapse(struct zonefs *fs, struct zonefs_zone *z,
			       const struct zdev_zone *dev, int err);

/* Give back room that was held beyond the end. Head of the queue, drained. Returns 0. */
struct zonefs_req *zonefs_stage_unreserve(struct zonefs_req *r, zonefs_step then);

/* The errno that r's file has not been told yet, or 0. Not with the stripe held. */
int zonefs_late_error(struct zonefs_req *r);
/* Nobody was told of an error of act, which goes. */
void zonefs_late_unheard(struct zonefs *fs, const struct zonefs_zone *z,
			 const struct zonefs_active *act);

int zonefs_stage_thread_start(struct zonefs *fs);
/* Nothing is in flight. */
void zonefs_stage_thread_stop(struct zonefs *fs);
/* Drain every live stage, and wait for that. Errors are late ones. */
void zonefs_stage_drain_all(struct zonefs *fs);

/* ---- conv.c ---- */

/*
 * Write r->len bytes of r->buf at r->pos. Returns the bytes written, or an errno
 * after recovery where Z8 wants one.
 */
struct zonefs_req *zonefs_conv_write(struct zonefs_req *r, zonefs_step then);
/*
 * r is to write r->len bytes at r->pos: step runs when no other write is in its way.
 * From then until leave it is in that of others.
 */
struct zonefs_req *zonefs_conv_enter(struct zonefs_req *r, zonefs_step step);
void zonefs_conv_leave(struct zonefs_req *r);
/* Take r out of the writes that wait for others. The stripe is held. */
bool zonefs_conv_unwait(struct zonefs_active *act, struct zonefs_req *r);

/* ---- truncate.c ---- */

/*
 * Head of the queue only. Reset the zone, or finish it after completing the
 * tail. Returns 0 or the errno of the command, for which no recovery runs.
 */
struct zonefs_req *zonefs_reset(struct zonefs_req *r, zonefs_step then);
struct zonefs_req *zonefs_finish(struct zonefs_req *r, zonefs_step then);

/*
 * ftruncate and truncate as r->args say: 0 or an errno. Head of the queue, or
 * at once for a conventional file.
 */
struct zonefs_req *zonefs_truncate(struct zonefs_req *r, zonefs_step then);

/* ---- fsync.c ---- */

/*
 * Make what the file has durable; changes r->pos and r->len. Head of the queue,
 * or a conventional file. Returns 0, or an errno after recovery.
 */
struct zonefs_req *zonefs_flush_zone(struct zonefs_req *r, zonefs_step then);

/* ---- recover.c ---- */

/*
 * Put the file right after `what` failed with err (negative). Returns err.
 * Takes its turn in the queue if r has none.
 */
struct zonefs_req *zonefs_recover(struct zonefs_req *r, const char *what, ssize_t err,
				  enum zonefs_cause cause, zonefs_step then);
/* Make the mount read-only because of an error on z. No lock held. */
void zonefs_set_readonly(struct zonefs *fs, const struct zonefs_zone *z);
/* Lack of room or of zone resources, which the default personality takes calmly. */
bool zonefs_error_is_soft(const struct zonefs *fs, ssize_t err);

#endif
