/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside src/block: the running disk.
 *
 * One lock guards all tables; nothing waits for a device under it. A request is
 * cut into parts, none of which crosses a chunk or a bitmap block. A part looks
 * its zones up under the lock, leaves its device I/O on a list, and the I/O is
 * sent when the lock is released (block_leave). The completion takes the lock
 * again, changes bits and wakes what waited. Two threads do what must wait: one
 * commits the metadata, one reclaims random zones.
 *
 * "Block" is 4096 bytes here, a zone is named by its id over all devices. What
 * follows from the format has the part's number in docs/dm-zoned-rules.md.
 */
#ifndef BLOCK_I_H
#define BLOCK_I_H

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "copier.h"
#include "dmz_i.h"
#include "zonefsd/block.h"
#include "zonefsd/clock.h"
#include "zonefsd/log.h"

struct block;
struct chunk;
struct part;

/* ---- zones (zones.c) ---- */

enum zone_state {
	ZONE_META,	/* a metadata, tertiary, runt or bad zone: never ours to give */
	ZONE_FREE,
	ZONE_DATA,	/* first zone of a chunk */
	ZONE_BUFFER,	/* second zone of a chunk */
	ZONE_TARGET,	/* reclaim fills it */
	ZONE_LEAVING,	/* unmapped, but the mapping on disk may still name it (R4) */
	ZONE_LEFT,	/* committed; waits for I/O in flight, then to be reset */
};

enum {
	ZONE_F_BAD	= 1,	/* read-only or offline */
	ZONE_F_ERROR	= 2,	/* a write failed: takes no more before its next reset */
	ZONE_F_STUCK	= 4,	/* reclaim could not empty it */
	ZONE_F_STALE	= 8,	/* random and free: takes up space that trim.c gives back */
};

/* Many: 24 bytes each. */
struct zone {
	uint32_t	wp;	/* sequential: the block that the next write goes to */
	uint32_t	weight;	/* valid blocks */
	uint32_t	chunk;	/* DATA, BUFFER: whose; on a list: the next zone */
	uint32_t	stamp;	/* last use, block->clock */
	uint32_t	refs;	/* device I/O in flight */
	uint8_t		kind;	/* enum dmz_zone_kind */
	uint8_t		state;
	uint8_t		flags;
};

struct zone_list {
	uint32_t	head, tail;	/* DMZ_NONE: empty */
	uint32_t	nr;
};

/* As on disk. */
struct map_entry {
	uint32_t	dzone_le, bzone_le;
};

/* ---- bitmaps (bitmap.c) ---- */

/* One bitmap block in RAM. Evicted when unused, oldest first. */
struct bm {
	uint32_t	index;		/* zone * BPZ + number in the zone; DMZ_NONE: unused */
	uint32_t	pins;		/* may not be evicted */
	uint32_t	claims;		/* of these, by changes under way; see bm_claim */
	bool		loaded, loading;
	bool		dirty;		/* changed since the last commit began */
	bool		committing;	/* the running commit writes it */
	bool		second;		/* set 0 could not be read, set 1 is tried */
	struct bm	*hash_next;
	struct bm	*older, *newer;
	struct part	*waiters;
	uint64_t	*bits;		/* 4096 bytes, little endian */
	struct zdev_io	io;
	struct iovec	iov;
};

/* ---- parts of requests (request.c, read.c, write.c) ---- */

#define PART_IOS	4		/* runs of a read in flight at a time */

enum part_op { PART_READ, PART_WRITE, PART_DISCARD };

struct part {
	struct part	*next;		/* on the list where it waits */
	struct part	*wprev, *wnext;	/* chunk->writes */
	struct block	*b;
	struct block_io	*io;		/* NULL: of reclaim */
	struct chunk	*chunk;
	enum part_op	op;
	uint32_t	block, nr;	/* in the chunk */
	char		*data;		/* nr blocks; the user's memory, or bounce */
	uint32_t	at;		/* read: blocks done */

	/* Less than a block, or not in one piece in memory: by way of bounce. */
	char		*bounce;
	uint64_t	io_at;		/* where in the request */
	uint32_t	byte, bytes;	/* where in the block */
	bool		rmw;		/* write: the block must be read first */

	bool		running;	/* write: past all that it overlaps */
	bool		no_direct;	/* the sequential zone refused it */
	bool		offload;	/* the device copies the data itself, from zone src */
	uint32_t	src;
	bool		late;		/* held long enough for what comes before it */
	int64_t		deadline;	/* held: zclock_now() */
	uint32_t	zone, other;	/* written to; the chunk's second one or DMZ_NONE */
	struct bm	*bm, *other_bm;	/* claimed */
	unsigned	pending;	/* device I/Os in flight */
	int		error;
	struct zdev_io	dev[PART_IOS];
	struct iovec	iov[PART_IOS];
	uint32_t	io_zone[PART_IOS];	/* to release */
};

struct part_list {
	struct part	*head, **tail;
};

/* What is being done to a chunk by reclaim. */
enum reclaim_kind {
	RECLAIM_EMPTY,		/* A: nothing valid in it */
	RECLAIM_MOVE,		/* B: random zone to a new sequential one */
	RECLAIM_APPEND,		/* C: buffer behind the write pointer of the data zone */
	RECLAIM_MERGE,		/* D: data zone into its buffer */
	RECLAIM_REWRITE,	/* ours: both into a new sequential zone */
};

struct reclaim_job {
	enum reclaim_kind kind;
	uint32_t	dzone, bzone, target;
	bool		hold;		/* writes to the chunk wait */
	uint64_t	*changed;	/* bit a block: written in place since it began */
};

/* A chunk while anything goes on in it. */
struct chunk {
	uint32_t	no;
	uint32_t	users;		/* parts and reclaim */
	uint32_t	started;	/* writes with device I/O in flight */
	uint32_t	want_zone;	/* writes that wait for a free zone */
	struct chunk	*hash_next;
	struct part	*writes, *last_write;	/* in order of arrival */
	struct part_list held;		/* wait for the write before them */
	struct part_list parked;	/* wait for reclaim */
	struct reclaim_job *job;
};

/* ---- the disk ---- */

#define CHUNK_HASH	256u
#define BM_HASH		256u
#define NR_PARTS	512u
#define COMMIT_SECONDS	10u
#define IDLE_SECONDS	10u

struct image_block {
	uint32_t	block;		/* in the set */
	struct bm	*bm;		/* NULL: a map block */
};

struct io_list {
	struct zdev_io	*head, **tail;
};

struct block {
	struct dmz_devs	*devs;
	struct block_opts opts;
	struct dmz_super super;
	uint64_t	size;		/* bytes */
	uint32_t	zone_blocks, bpz;
	uint32_t	set_zone[2];	/* where the sets begin */
	char		*sb_block[2];	/* as on disk */

	/* Guards all below. Held for table work only, never over device I/O. */
	pthread_mutex_t	lock;

	struct zone	*zones;
	struct map_entry *map;
	uint8_t		*map_dirty;	/* a map block each */
	struct zone_list free_cache, free_random, free_seq;
	struct zone_list leaving;	/* go with the next commit */
	struct zone_list leaving_now;	/* go with the running one */
	struct zone_list left;		/* to be reset and freed by the commit thread */
	uint32_t	nr_random, nr_cache;	/* usable for data */
	uint32_t	nr_leaving;	/* on these three, on the way from one to the next, or trimmed */
	uint32_t	nr_leaving_random;	/* of these */
	uint32_t	nr_stale;	/* free zones with ZONE_F_STALE */
	uint32_t	active[DMZ_MAX_DEVS];	/* sequential zones begun and not full */
	uint32_t	nr_mapped, nr_buffered;
	uint32_t	clock;		/* counts parts of requests */
	int64_t		last_use;	/* zclock */

	struct bm	*bms;
	uint32_t	nr_bms;
	struct bm	*bm_hash[BM_HASH];
	struct bm	lru;		/* ring head: newer is the oldest */
	uint32_t	nr_busy;	/* bitmap blocks dirty or claimed, map blocks dirty */
	uint32_t	image_max;	/* blocks of one commit */
	char		*bm_mem;
	bool		bm_short;	/* a thread waits for a bitmap */

	struct part	*parts;
	struct part	*free_parts;
	struct chunk	*chunks;
	struct chunk	*free_chunks;
	struct chunk	*chunk_hash[CHUNK_HASH];
	struct block_io	*starved, **starved_tail;	/* wait for parts */
	struct part_list wait_zone;	/* no free zone */
	struct part_list wait_commit;	/* too much metadata changed */
	struct part_list wait_bm;	/* no room for a bitmap */
	struct part_list ready;		/* to be tried again */
	uint32_t	nr_held;
	uint32_t	offload_pause;	/* copies by hand before the device is asked */
	uint32_t	nr_given;	/* free zones handed to waiting writes */

	struct io_list	issue;		/* device I/O to send, any order */
	struct io_list	issue_seq;	/* in this order, by one thread at a time */
	bool		issuing;
	struct block_io	*finished;	/* to be told */

	/* Commit (commit.c). */
	pthread_cond_t	commit_cond;	/* wakes its thread */
	pthread_cond_t	changed;	/* told after anything that another thread may wait for */
	struct block_io	*flushes, **flushes_tail;
	bool		want_commit;
	bool		commit_running;
	bool		stopping;	/* reclaim ends */
	bool		stopped;	/* it has; the commit thread ends, too */
	bool		flush_failed;	/* the commit thread's own */
	int64_t		last_commit;	/* zclock */
	struct image_block *image;
	struct bm	**sorted;	/* scratch of nr_bms */
	char		*image_mem;
	uint32_t	nr_image;
	int		failed;		/* the disk is read-only: why */
	bool		tell_failed;	/* opts.went_readonly is still to be called */

	/* Reclaim (reclaim.c). */
	pthread_cond_t	reclaim_cond;	/* wakes its thread */
	struct copier	*copier;
	bool		reclaim_asked;	/* until nothing is left */
	bool		reclaim_ended;	/* nobody shall wait for it any more */
	bool		reclaim_on;	/* few free zones were seen, until there are more */
	struct copier_job *jobs;
	unsigned	jobs_running;
	int		job_error;
	uint64_t	*job_changed;
	struct bm	**final_bms;	/* scratch: bitmaps of three zones */
	uint32_t	last_victim;	/* chunk that reclaim did not empty */
	uint32_t	reclaim_failures;	/* one after the other */
	int		zone_error;	/* why a zone could not be freed, last; -errno */
	bool		have_stuck;	/* zones may have ZONE_F_STUCK */
	bool		stuck_tried;	/* they were tried again for the writes that wait now */

	pthread_t	commit_thread, reclaim_thread;
	bool		have_commit_thread, have_reclaim_thread;
	char		*zeroes;	/* ZDEV_MAX_IO bytes */
	uint8_t		*mend;		/* while opening: zones whose bits are wrong */
	struct block_stats stats;	/* the counters */
};

static inline uint32_t map_dzone(const struct block *b, uint32_t chunk)
{
	return le32toh(b->map[chunk].dzone_le);
}

static inline uint32_t map_bzone(const struct block *b, uint32_t chunk)
{
	return le32toh(b->map[chunk].bzone_le);
}

static inline bool zone_is_seq(const struct zone *z)
{
	return z->kind == DMZ_KIND_SEQ;
}

/*
 * All functions below are called with the lock held unless they say otherwise.
 */

/* Release the lock, send what is on the issue lists, tell what is finished. */
void block_leave(struct block *b);

/* The disk becomes read-only: err is negative. */
void block_fail(struct block *b, int err);

/* zones.c */
void zone_list_init(struct zone_list *l);
void zone_list_push(struct block *b, struct zone_list *l, uint32_t zone);
uint32_t zone_list_pop(struct block *b, struct zone_list *l);
/* A free zone that takes random writes, or DMZ_NONE. */
uint32_t zone_alloc_random(struct block *b);
/* A free sequential zone while more than `keep` are free and its device has one active zone to spare. */
uint32_t zone_alloc_seq(struct block *b, uint32_t keep);
/* No mapping names it any more. Its bits are clear. */
void zone_leave(struct block *b, uint32_t zone);
void zone_get(struct block *b, uint32_t zone);
void zone_put(struct block *b, uint32_t zone);
/* The write pointer moves from z->wp to wp: counts active zones. */
void zone_set_wp(struct block *b, uint32_t zone, uint32_t wp);
/* Free for use: its wp is 0, nothing names it. stale: it held data. Wakes who waits. */
void zone_free(struct block *b, uint32_t zone, bool stale);
/* Take a free zone that is stale, and is not any more; or DMZ_NONE. */
uint32_t zone_take_stale(struct block *b);
/* Whether room for the change of the chunk's map entry is in the next commit. */
bool map_has_room(const struct block *b, uint32_t chunk);
/* Change an entry: zones' states and counts with it. Needs map_has_room. */
void map_set(struct block *b, uint32_t chunk, uint32_t dzone, uint32_t bzone);

/* bitmap.c */
int bm_init(struct block *b);
void bm_free(struct block *b);
/*
 * The bitmap block of zone that has `block`, pinned; or NULL when it must be read
 * first: then p is parked, and tried again when it is there or p->error is set.
 * With p NULL nothing is read.
 */
struct bm *bm_get(struct block *b, uint32_t zone, uint32_t block, struct part *p);
/* The same, waiting; drops the lock meanwhile. NULL: *err is set. */
struct bm *bm_get_wait(struct block *b, uint32_t zone, uint32_t block, int *err);
void bm_put(struct block *b, struct bm *bm);
/*
 * The same by who has kept the lock since it got bm: no other could miss it, so none is
 * woken. One that must wait for a second bitmap would wake itself, again and again.
 */
void bm_unpin(struct bm *bm);
/* There may be room: those that wait for it look again. */
void bm_wake(struct block *b);
/* Promise of a change: keeps room in the next commit. false: none is left. */
bool bm_claim(struct block *b, struct bm *bm, uint32_t spare);
void bm_unclaim(struct block *b, struct bm *bm);
/* Change bits of a claimed block (bit: in the block). Returns how many changed. */
uint32_t bm_set(struct bm *bm, uint32_t bit, uint32_t nr);
uint32_t bm_clear(struct bm *bm, uint32_t bit, uint32_t nr);
bool bm_test(const struct bm *bm, uint32_t bit);
/* Bits from bit on that equal its value, at most nr. */
uint32_t bm_run(const struct bm *bm, uint32_t bit, uint32_t nr);
uint32_t bm_weight(const void *bits, uint32_t nr);

/* request.c */
void part_list_init(struct part_list *l);
void part_list_add(struct part_list *l, struct part *p);
/* All of l will be tried again by block_leave. */
void parts_wake(struct block *b, struct part_list *l);
void part_done(struct block *b, struct part *p);
/* NULL: nothing goes on in it. */
struct chunk *chunk_find(const struct block *b, uint32_t no);
struct chunk *chunk_get(struct block *b, uint32_t no);
void chunk_put(struct block *b, struct chunk *c);
void issue_io(struct block *b, struct io_list *l, struct zdev_io *io);
/* Copy between the part's bounce block and the request's memory. No lock needed. */
void part_copy(struct part *p, bool to_user);

/* Start io as it is, COPY included: that one must lie in one part. No lock held. */
void request_start(struct block *b, struct block_io *io);

/* read.c */
/* Go on with a read. */
void read_step(struct block *b, struct part *p);
/*
 * The zone that holds all nr blocks of the disk from byte pos on, at their place,
 * or DMZ_NONE. They are in one chunk and bitmap block. false: p waits for a bitmap.
 */
bool read_source(struct block *b, uint64_t pos, uint32_t nr, struct part *p, uint32_t *from);

/* write.c */
/* Put p behind the writes of its chunk; starts it when it overlaps none. */
void write_queue(struct block *b, struct part *p);
void write_step(struct block *b, struct part *p);
/* A zone is free: the writes of one chunk that wait for one are tried again. */
void write_zone_free(struct block *b);
/* All that wait for one are tried again, or fail with err. */
void write_wake_zone_waiters(struct block *b, int err);
/* Out of the chunk's list: what waited for it may start. */
void write_unqueue(struct block *b, struct part *p);
/* Parts held for longer than they may be. Returns the next deadline, 0 if none. */
int64_t write_held_timeout(struct block *b, int64_t now);
/* Free what a chunk does not need any more, when nothing is being written to it. */
void chunk_settle(struct block *b, struct chunk *c);

/* commit.c */
void *commit_main(void *block);
void commit_kick(struct block *b);
/* One commit, by the caller: before the threads run, or by theirs. No lock held. */
int commit_run(struct block *b);
/* The last one: nothing else runs any more. No lock held. */
int commit_last(struct block *b);

/* trim.c */
/* Give one stale zone's space back if that is due; drops the lock meanwhile. false: it is not. */
bool trim_one(struct block *b);
/* All of them, whether it is due or not. */
void trim_all(struct block *b);
/* A discard has ended. */
void trim_count(struct block *b, const struct zdev_io *io);

/* reclaim.c */
void *reclaim_main(void *block);
void reclaim_kick(struct block *b);

/* reclaim-chunk.c */
/* The chunk that costs least now. */
struct victim {
	uint32_t	chunk;
	enum reclaim_kind kind;
	uint64_t	cost;		/* blocks to copy, and a malus for recent use */
};

int reclaim_init(struct block *b);
void reclaim_free(struct block *b);
/*
 * Do it, if the chunk is still as it was. Drops the lock on the way. 0, -EAGAIN when what
 * it needs is in use, or -errno.
 */
int reclaim_chunk(struct block *b, const struct victim *v);

/* load.c: before any thread runs, no lock held. */
/* Map, zones, weights of the winning set; what must be mended is noted. 0 or -errno with *e. */
int load_state(struct block *b, const struct zdev_zone *report, const uint8_t *kinds,
	       int winner, struct zerr *e);
/* Is `set` readable everywhere, and the other one equal wherever that can be read? */
bool load_is_twin(struct block *b, int set);
/* R2: the sets become equal. */
int load_sync(struct block *b, const struct dmz_set set[2], int winner, struct zerr *e);
/* R8: bits and zones that contradict each other are mended. */
int load_mend(struct block *b, struct zerr *e);

/* copy.c: no lock held. */
void copy_start(struct block *b, struct block_io *io);

#endif
