/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the image backend only.
 *
 *	image.c		life: find, open, close; the state blocks
 *	image-create.c	a new image
 *	image-format.c	bytes on disk to values and back, checks
 *	image-recover.c	which pointer to trust after kill -9 or power loss
 *	image-instance.c	is the page cache still the one we wrote to?
 *	image-medium.c	reads, writes and commands of emu
 *	image-table.c	the mapped zone table
 *	image-flush.c	making durable, giving back the space of reset zones
 *	image-sync.c	the cheapest sync of the data
 *	image-tail.c	partial last blocks
 *	image-check.c	verify and repair
 *	image-io.c	whole reads and writes, holes
 */
#ifndef ZDEV_IMAGE_I_H
#define ZDEV_IMAGE_I_H

#include <pthread.h>
#include <stdatomic.h>

#include "emu.h"
#include "image-format.h"
#include "image.h"

/* What tells whether all that was written to the file is still there to read. */
struct image_instance {
	uint8_t		boot_id[16];
	uint64_t	sb_id;
	uint64_t	mnt_id;
};

/* How far the pointers on disk can be trusted at open. */
enum image_past {
	IMAGE_PAST_CLEAN,	/* closed */
	IMAGE_PAST_KILLED,	/* not closed, but nothing written was lost */
	IMAGE_PAST_POWER_LOST,	/* only what was flushed is sure to be there */
};

/* What a flush remembers of a zone from before it makes the data durable. */
struct image_captured {
	uint32_t		zno;
	bool			reaping;	/* stale: punch once the reset is durable */
	struct image_ptr	cur;
	uint64_t		resets;		/* the stored count */
};

/* Zones that one round of a flush takes at once. */
#define IMAGE_FLUSH_BATCH	8192

/* What each of a zone's tail slots is good for; see image-tail.c. */
struct image_tail_map {
	uint16_t	loaded : 1;	/* the rest has been read from the slots */
	uint16_t	current : 3;	/* slot of the newest tail, IMAGE_NO_SLOT: none */
	uint16_t	empty : 1;	/* that slot says there is no tail */
	uint16_t	durable : 3;	/* what a power cut would go back to */
	uint16_t	captured : 1;	/* a flush is under way and will make ... */
	uint16_t	pending : 3;	/* ... this slot the durable one */
};

#define IMAGE_NO_SLOT	IMAGE_TAIL_SLOTS

/*
 * No lock but open_lock is held across I/O, none is taken inside another. What
 * one zone's calls may do at the same time is emu's promise, see struct
 * emu_medium_ops; a flush runs beside all of them.
 */
struct image {
	/* Set at open, constant after. */
	int		fd;
	int		direct;		/* a second one, past the page cache; < 0: none */
	char		*path;
	bool		read_only;
	const struct zlog *log;
	struct image_layout layout;
	struct image_instance instance;
	struct image_entry *table;	/* mapped; read_only: a private copy */
	size_t		page_size;
	void		*clean_page;	/* mapped; NULL: only fdatasync syncs data */

	/*
	 * The first change says in the state block that the image is not clean,
	 * so that who only looks, or is refused, writes nothing. The lock guards
	 * the writing of state blocks and state_seq; whoever is about to change
	 * the image has to wait for that block.
	 */
	pthread_mutex_t	open_lock;
	atomic_bool	marked_open;
	uint64_t	state_seq;	/* of the state block written last */

	/* One bit a zone: it may have words or tails that no flush has seen. */
	_Atomic uint64_t *dirty;

	/* One bit a zone: a flush came after its last write. */
	_Atomic uint64_t *flushed;

	/* Data or tails went through the page cache since the last sync. */
	atomic_bool	cached;

	/* -errno of a flush that failed: nothing is written after it. */
	atomic_int	failed;

	/* Flushes: one round at a time, later callers share the next round. */
	pthread_mutex_t	flush_lock;	/* guards the five below */
	pthread_cond_t	flush_cond;	/* a round ended */
	bool		flush_running;
	uint64_t	flush_started;	/* rounds */
	uint64_t	flush_done;	/* the last round that ended */
	int		flush_result;	/* of that round */
	struct image_captured *batch;	/* the running round's */

	/* Zones whose reset left data behind. */
	pthread_mutex_t	stale_lock;	/* guards the two below */
	pthread_cond_t	stale_cond;	/* a zone left IMAGE_REAPING */
	_Atomic uint8_t	*stale;		/* enum image_stale, one a zone */
	uint32_t	nr_stale;

	/* One bit a zone: space is reserved beyond its write pointer. */
	_Atomic uint64_t *reserved;

	/* Tails. */
	pthread_mutex_t	tail_lock;	/* guards tails */
	struct image_tail_map *tails;	/* one a zone */
	_Atomic uint64_t tail_seq;
	atomic_bool	tails_written;	/* since open */
};

enum image_stale {
	IMAGE_FRESH,	/* nothing is stored that the zone does not show */
	IMAGE_STALE,	/* the reset is not durable yet, the old data is still there */
	IMAGE_REAPING,	/* someone makes the reset durable and frees the data */
};

/* ---- image.c ---- */

/*
 * Write the next state block with the given flags and the present instance and
 * make it durable. 0 or -errno.
 */
int image_state_write(struct image *img, uint32_t flags);

/* Read both state blocks and unpack the one that counts. 0, -EINVAL (none is valid) or -errno. */
int image_state_read(int fd, const uint8_t uuid[16], struct image_state *st);

/* Read and check the header at offset of an open file. 0, -ENODEV, -EINVAL with *e, -errno. */
int image_header_read(int fd, uint64_t offset, struct image_layout *lay, struct zerr *e);

/* ---- image-instance.c ---- */

/* Which boot, which mount of which file system fd lives on now. 0 or -errno. */
int image_instance_get(int fd, struct image_instance *in);

/* Is everything that was written under a still what b reads? When in doubt, no. */
bool image_instance_same(const struct image_instance *a, const struct image_instance *b);

/* ---- image-recover.c ---- */

/* What state block st says about the file, seen from `now`. */
enum image_past image_past(const struct image_state *st, const struct image_instance *now);

/*
 * NULL, or what is wrong with the words of a zone that are needed to open it
 * after such a past.
 */
const char *image_entry_problem(const struct image_layout *lay, uint32_t zno,
				struct image_entry *entry, enum image_past past);

/*
 * Read the whole table and refuse what image_entry_problem finds, before it is
 * mapped: an unreadable table is an error here, but SIGBUS in the mapping. 0,
 * -EINVAL or -errno with *e.
 */
int image_table_verify(struct image *img, enum image_past past, struct zerr *e);

/*
 * Bring the mapped table and, if writable, the file to the state after such a
 * past, all of it durable. Does not write a state block: cut short, it is done
 * again at the next open. 0 or -errno.
 */
int image_recover(struct image *img, enum image_past past);

/* ---- image-table.c ---- */

/*
 * To be called before anything on disk changes: a store to a table whose blocks
 * another file shares needs room, and finding none is SIGBUS. The state blocks
 * get theirs, too. 0 also where the file system has no such call, -ENOSPC, -errno.
 */
int image_table_unshare(struct image *img);
int image_table_map(struct image *img);
void image_table_unmap(struct image *img);

/* 0, or -EIO: the word in memory is damaged. */
int image_ptr_get(struct image *img, uint32_t zno, enum image_role role,
		  struct image_ptr *p);
/* The stored count, which a kill in the middle of a reset leaves ahead of the zone's. */
int image_count_get(struct image *img, uint32_t zno, uint64_t *count);
/* The resets of the zone as its current pointer is. */
int image_resets_get(struct image *img, uint32_t zno, uint64_t *resets);

void image_ptr_set(struct image *img, uint32_t zno, enum image_role role,
		   const struct image_ptr *p);
void image_count_set(struct image *img, uint32_t zno, uint64_t count);

/* Give both pointers of the zone a condition, whatever a flush does meanwhile. */
int image_cond_set(struct image *img, uint32_t zno, uint8_t cond);

/* The data that c saw is durable: let the flushed pointer say so, unless the zone was reset since. */
int image_publish(struct image *img, const struct image_captured *c);

/* Make the entries first .. last durable. 0 or -errno. */
int image_table_sync(struct image *img, uint32_t first, uint32_t last);

void image_dirty_set(struct image *img, uint32_t zno);

/* ---- image-flush.c ---- */

/* What completed before is durable after. 0 or -errno, then the image has failed. */
int image_flush(struct image *img);

/* 0, or -errno once a flush has failed: the state on disk must stay as it is. */
int image_check_failed(struct image *img);

/* To be called before anything on disk changes. 0, or -errno: then nothing may. */
int image_begin_change(struct image *img);

/* The zone was reset: its data is to be freed. Flushes when too much has gathered. */
int image_stale_add(struct image *img, uint32_t zno);
bool image_is_stale(struct image *img, uint32_t zno);

/*
 * Before anything new is stored in a zone: a reset must be durable first, else a
 * power cut would show the new bytes under the old pointer.
 */
int image_prepare(struct image *img, uint32_t zno);

/* After -ENOSPC: free what reset zones still hold. true when there was any. */
bool image_make_room(struct image *img);

/* ---- image-sync.c ---- */

/* Find the cheapest way. Without it, data is synced all the same. */
void image_sync_init(struct image *img);
void image_sync_free(struct image *img);

/* Is the sync of data that went past the page cache cheaper? */
bool image_syncs_direct(const struct image *img);

/*
 * To be called after each change of the file through the page cache but those of
 * the table and the state blocks, before it is reported as done.
 */
void image_note_cached(struct image *img);

/* All data and tails that were written before are durable after. 0 or -errno. May block. */
int image_sync_data(struct image *img);

/* ---- image-tail.c ---- */

/*
 * Learn what the slots of the zone hold. Must come before the zone's first change
 * since open, while its pointer is the durable one. 0 or -errno.
 */
int image_tail_load(struct image *img, uint32_t zno);

/* As put_tail and get_tail of struct emu_medium_ops. */
int image_tail_put(struct image *img, uint32_t zno, uint64_t wp, const void *data,
		   size_t len);
ssize_t image_tail_get(struct image *img, uint32_t zno, uint64_t wp, void *buf);

/* Is a tail stored for the zone's present pointer? Loaded zones only. */
bool image_tail_exists(struct image *img, uint32_t zno);

/* The zone's pointer has moved: no slot matches it any more. */
void image_tail_forget(struct image *img, uint32_t zno);

/* All slots of the zone are zeroed; no earlier pointer needs them. */
int image_tail_clear(struct image *img, uint32_t zno);

/* Give back the space that the zone's unused slots hold; best effort. */
void image_tail_release(struct image *img, uint32_t zno);

/* A flush begins or ends for the zone. See image-tail.c. */
void image_tail_capture(struct image *img, uint32_t zno);
void image_tail_settle(struct image *img, uint32_t zno, bool durable);

/*
 * Zero every slot in use but the one that holds its zone's tail. Only when all
 * pointers are durable. reserved: free what was reserved for slots as well. 0 or
 * -errno.
 */
int image_tails_trim(struct image *img, bool reserved);

/* Does the slot (header and data) hold a tail of zone zno, whole? */
bool image_tail_valid(const struct image_layout *lay, uint32_t zno,
		      const struct image_tail *t);

/* ---- image-io.c ---- */

/* All len bytes unless the file ends: bytes or -errno. len is at most what the iov holds. */
ssize_t image_readv(int fd, const struct iovec *iov, int nr_iov, size_t len, uint64_t off);
/* All len bytes: len or -errno, then any part may have been written. */
ssize_t image_writev(int fd, const struct iovec *iov, int nr_iov, size_t len, uint64_t off);
/* As above for one buffer; 0 or -errno, the end of the file is -EIO. */
int image_pread(int fd, void *buf, size_t len, uint64_t off);
int image_pwrite(int fd, const void *buf, size_t len, uint64_t off);

/* [off, off + len) reads as zeros after, its space is freed where that can be done. */
int image_zero(int fd, uint64_t off, uint64_t len);
/* Free the space of a range that no one will read before it is written; best effort. */
void image_discard(int fd, uint64_t off, uint64_t len);

/*
 * The next part of [*off, end) that may hold data: 1 and *off, *data_end, 0 when
 * there is none, -errno.
 */
int image_next_data(int fd, uint64_t *off, uint64_t end, uint64_t *data_end);
/*
 * As above for what takes up space: also what was reserved and never written,
 * if the file system tells.
 */
int image_next_allocated(int fd, uint64_t *off, uint64_t end, uint64_t *alloc_end);

/* ---- image-medium.c ---- */

/* Give back what is reserved and was not used; best effort. */
void image_release_all(struct image *img);

extern const struct emu_medium_ops image_ops;

/* ---- image.c, for image_ops ---- */

int image_close(struct image *img);
void image_free(struct image *img);

#endif
