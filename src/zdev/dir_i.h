/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the directory backend only. The layout is docs/dir-format.md.
 *
 *	dir.c		open and close: clean, crashed, and tails moved to and fro
 *	dir-derive.c	the geometry of a directory that has no zonefsd.meta
 *	dir-medium.c	the medium: reads, writes, write pointers, tails
 *	dir-sync.c	what is dirty, and making it durable
 *	dir-fds.c	a bounded cache of open zone files
 *	dir-meta.c	zonefsd.meta as text
 *	dir-create.c	a new directory
 *	direct.c	writes past the page cache (of image as well)
 *	dir-mark.c	what tools leave in zonefsd.meta for the opens to come
 */
#ifndef ZDEV_DIR_I_H
#define ZDEV_DIR_I_H

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "emu.h"

#define DIR_META	"zonefsd.meta"
#define DIR_META_TMP	"zonefsd.meta.tmp"
#define DIR_CREATING	"zonefsd.creating"

/* "cnv-" or "seq-" and the zone number, six digits or more (L1). */
#define DIR_NAME_LEN	16

static inline const char *dir_zone_name(char name[DIR_NAME_LEN], uint32_t zno,
					uint32_t nr_conv)
{
	snprintf(name, DIR_NAME_LEN, "%s-%06u", zno < nr_conv ? "cnv" : "seq", zno);
	return name;
}

/* ---- dir-meta.c ---- */

enum dir_state { DIR_CLEAN, DIR_OPEN };

/* Zones first .. last that are read-only or offline. */
struct dir_bad {
	uint32_t	first, last;
	uint8_t		cond;
};

struct dir_tail {
	uint32_t	zno;
	uint32_t	len;
	uint64_t	wp;
	uint8_t		*data;		/* owned */
};

/* The whole of zonefsd.meta. */
struct dir_meta {
	struct zdev_geometry geometry;
	enum dir_state	state;
	bool		hint;		/* written by hand: only some of geometry is set */
	struct dir_bad	*bad;		/* by rising zone */
	size_t		nr_bad, max_bad;
	struct dir_tail	*tails;		/* by rising zone */
	size_t		nr_tails, max_tails;
	char		*extra;		/* lines "x-..." of others, kept as they are */
};

/*
 * Read zonefsd.meta. 0, -ENOENT (no message) when there is none, -EINVAL with *e
 * naming the line. *m needs dir_meta_free after 0 only.
 */
int dir_meta_read(int dirfd, const char *path, struct dir_meta *m, struct zerr *e);

/* Replace zonefsd.meta (a hint by a hint); it is durable on 0. */
int dir_meta_write(int dirfd, const struct dir_meta *m);
void dir_meta_free(struct dir_meta *m);

int dir_meta_add_tail(struct dir_meta *m, uint32_t zno, uint64_t wp,
		      const void *data, size_t len);
void dir_meta_drop_tails(struct dir_meta *m);
int dir_meta_add_bad(struct dir_meta *m, uint32_t first, uint32_t last, uint8_t cond);

/* ---- dir-mark.c ---- */

/* The line of a device with a volatile write cache. */
#define DIR_POWERCUT	"x-powercut=1\n"

bool dir_meta_powercut(const struct dir_meta *m);

/* ---- dir-derive.c ---- */

/* What is in the directory, for closedir. 0 or -errno. */
int dir_list(int dirfd, DIR **dir);

/*
 * Fill g in from the zone files, as far as it is not set by hand (zone_size,
 * zone_capacity, block_size). 0 or -errno with *e.
 */
int dir_derive(int dirfd, const char *path, struct zdev_geometry *g, struct zerr *e);

/* ---- struct dir: one open device ---- */

/* What is known of a zone. */
enum {
	DIR_DIRTY	= 1,	/* changed since the last sync that covered it */
	DIR_TOUCHED	= 2,	/* changed since the sync under way began */
	DIR_SYNCING	= 4,	/* a sync is under way */
	DIR_LOST_IO	= 8,	/* a sync failed: the zone's next flush says EIO */
	DIR_LOST_SPACE	= 16,	/* or ENOSPC */
	DIR_TAIL	= 32,	/* the file has bytes behind the write pointer */
	DIR_RO		= 64,	/* read-only for good */
	DIR_OFF		= 128,	/* offline for good */
	DIR_RESERVED	= 256,	/* the file may have space beyond its size */
	DIR_FLUSHED	= 512,	/* a flush came after the last change */
};

/* An open zone file. */
struct dir_fd {
	uint32_t	zno;
	int		fd;
	atomic_int	direct;		/* a second one, past the page cache; DIR_NO_FD */
	unsigned	refs;		/* in use; only unused ones are closed */
	struct dir_fd	*newer, *older;	/* by last use */
	struct dir_fd	*chain;		/* in its hash bucket */
};

#define DIR_NO_FD	(-1)
#define DIR_FD_BUCKETS	256

struct dir_fds {
	struct dir_fd	*bucket[DIR_FD_BUCKETS];
	struct dir_fd	*newest, *oldest;
	unsigned	nr, max;	/* files; each has up to two descriptors */
};

struct dir {
	int		dirfd;		/* holds the device's lock */
	char		*path;
	struct zdev_geometry g;
	bool		read_only;
	atomic_bool	live;		/* marked open on disk: files may change, close marks it clean */
	atomic_bool	lenient;	/* a partial last block is a tail, not damage */
	atomic_bool	no_direct;	/* direct transfers were refused once */
	const struct zlog *log;
	struct zerr	*e;		/* while opening: where load explains itself */

	/* Guards flags, nr_dirty and fds. Held for work in memory only. */
	pthread_mutex_t	lock;
	pthread_cond_t	synced;		/* a zone left DIR_SYNCING */
	uint16_t	*flags;
	uint32_t	nr_dirty;	/* zones with DIR_DIRTY */
	struct dir_fds	fds;

	/*
	 * Guards meta. Held while the file is written: changes of a zone's condition
	 * wait for it, and before the device is live every change and get_tail.
	 */
	pthread_mutex_t	meta_lock;
	struct dir_meta	meta;
};

/* ---- dir-fds.c ---- */

void dir_fds_init(struct dir *d);
void dir_fds_close(struct dir *d);

/* A new descriptor of a zone's file, or -errno. */
int dir_zone_open(struct dir *d, uint32_t zno, int flags);

/* The open file of a zone, until dir_fd_put. 0 or -errno. */
int dir_fd_get(struct dir *d, uint32_t zno, struct dir_fd **f);
void dir_fd_put(struct dir *d, struct dir_fd *f);

/* The file's descriptor past the page cache, opened if need be; DIR_NO_FD when there is none. */
int dir_fd_direct(struct dir *d, struct dir_fd *f);

/*
 * As dir_fd_get, but NULL unless the file has such a descriptor already, and all that was
 * written to it has been synced. Does not block.
 */
struct dir_fd *dir_fd_get_direct(struct dir *d, uint32_t zno);

/* ---- dir-sync.c ---- */

/* The zone's file changed (after it did). tail: it has bytes behind the wp now. */
void dir_mark_dirty(struct dir *d, uint32_t zno, bool tail);

/*
 * Make the zone's file durable through fd. 0 or -errno, which the zone's next
 * flush returns, too.
 */
int dir_sync_fd(struct dir *d, uint32_t zno, int fd);

int dir_flush(void *medium, uint32_t zno);

/* ---- dir-medium.c ---- */

extern const struct emu_medium_ops dir_medium_ops;

/* Write a tail into its zone file, without dir_begin. */
int dir_store_tail(struct dir *d, uint32_t zno, uint64_t wp, const void *data, size_t len);
/* Give back the space that the files have beyond their sizes; best effort. */
void dir_release_all(struct dir *d);

/* ---- dir.c ---- */

/*
 * Before any change: the first one marks the device open in zonefsd.meta. So one
 * that is only looked at, or refused by the layers above, is not written to.
 */
int dir_begin(struct dir *d);

/* The close of emu_medium_ops. */
int dir_close(void *medium);
void dir_abandon(void *medium);

#endif
