/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files on zones: the name space, file rules, open accounting and error
 * recovery of zonefs on top of a zdev. Pure logic: no FUSE type appears here.
 *
 * Rule numbers in comments (Z1 ..) are those of docs/zonefs-rules.md.
 */
#ifndef ZONEFSD_ZONEFS_H
#define ZONEFSD_ZONEFS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "zonefsd/super.h"
#include "zonefsd/zdev.h"

struct zonefs;
struct zonefs_file;	/* one open file description */

/* ---- options (options.c) ---- */

enum zonefs_errors {		/* what to do with a zone after an I/O error, Z12 */
	ZONEFS_ERRORS_RO,	/* remount-ro, the default */
	ZONEFS_ERRORS_ZRO,	/* zone-ro */
	ZONEFS_ERRORS_ZOL,	/* zone-offline */
	ZONEFS_ERRORS_REPAIR,	/* repair */
};

struct zonefs_opts {
	enum zonefs_errors errors;
	bool		explicit_open;
	bool		strict;		/* exactly the kernel's zonefs */
	bool		read_only;
	bool		has_uid, has_gid, has_perm;	/* override the super block */
	uid_t		uid;
	gid_t		gid;
	uint32_t	perm;		/* 0 .. 0777 */
	uid_t		mounter_uid;	/* owner of cnv/, seq/; of files too when not root */
	gid_t		mounter_gid;
	uint64_t	append_buffer;	/* bytes a zone, 0: none */
	uint64_t	buffers;	/* bytes a mount */
	uint32_t	flush_interval;	/* seconds */
	bool		no_passthrough;
};

/* The defaults, for the calling process's uid and gid. */
void zonefs_opts_init(struct zonefs_opts *o);

/*
 * Apply one "name" or "name=value". 0 when taken; -ENOENT when the name is not
 * one of zonefs's (it may be FUSE's or mount(8)'s); -EINVAL with *e for a bad
 * value.
 */
int zonefs_opts_apply(struct zonefs_opts *o, const char *opt, struct zerr *e);

/* ---- life ---- */

/* Calls from zonefs to its user, from any thread, with no lock held. */
struct zonefs_events {
	/* A file's size, mode or owner changed other than by the request that is being answered. */
	void	(*attr_changed)(void *ctx, uint64_t ino);
	/* An I/O error made the file system read-only. At most once a remount. */
	void	(*went_readonly)(void *ctx);
	void	*ctx;
};

/*
 * Build the file system on dev: read and check the super block, report all
 * zones, close those found open (Z3). dev stays the caller's and must outlive
 * it. On a device opened read-only opts->read_only must be set. Blocks. 0 or
 * -errno with *e.
 */
int zonefs_mount(struct zdev *dev, const struct zonefs_opts *opts,
		 const struct zonefs_events *ev, const struct zlog *log,
		 struct zonefs **fs, struct zerr *e);

/*
 * The mount will end: no request need fill a long space with zeros any more, as
 * if each were cancelled (see zonefs_cancel) that does. Does not block.
 */
void zonefs_stop(struct zonefs *fs);

/* Wait for what is in flight, flush the device, free fs. 0 or the first error. Blocks. */
int zonefs_unmount(struct zonefs *fs);

/*
 * Replace the remountable options (errors, explicit-open, read_only) as Z12
 * says; -EBUSY for ro with files open for writing, -EROFS for rw on a read-only
 * device. Does not block.
 */
int zonefs_remount(struct zonefs *fs, const struct zonefs_opts *opts);

/* The options in force; copied. */
void zonefs_get_opts(struct zonefs *fs, struct zonefs_opts *opts);
const struct zonefs_super *zonefs_super(const struct zonefs *fs);
struct zdev *zonefs_dev(struct zonefs *fs);

/* ---- names and attributes: none of these blocks on I/O ---- */

struct zonefs_attr {
	uint64_t	ino;
	uint64_t	size;		/* bytes */
	uint64_t	blocks;		/* 512-byte units, as st_blocks */
	uint32_t	blksize;
	uint32_t	mode;
	uint32_t	nlink;
	uid_t		uid;
	gid_t		gid;
	struct timespec	atime, mtime, ctime;
};

uint64_t zonefs_root_ino(const struct zonefs *fs);
bool zonefs_ino_is_dir(const struct zonefs *fs, uint64_t ino);

/* Z4. -ENOENT, -ENAMETOOLONG, -ENOTDIR. */
int zonefs_lookup(struct zonefs *fs, uint64_t dir_ino, const char *name,
		  struct zonefs_attr *attr);
int zonefs_getattr(struct zonefs *fs, uint64_t ino, struct zonefs_attr *attr);

/*
 * Entry `index` (0 = ".", 1 = "..", then 2 ..) of a directory: name is at most
 * 16 characters. 1 when there is one, 0 at the end, -errno.
 */
int zonefs_readdir(struct zonefs *fs, uint64_t dir_ino, uint64_t index,
		   char name[20], struct zonefs_attr *attr);

struct zonefs_statfs {
	uint32_t	block_size;
	uint64_t	blocks, bfree;
	uint64_t	files;
	uint32_t	namelen;
	uint64_t	fsid;
};
void zonefs_statfs(struct zonefs *fs, struct zonefs_statfs *st);

/* What create, unlink, rename ... answer for a name (Z10, Z11): a negative errno or 0. */
enum zonefs_dirop { ZONEFS_CREATE, ZONEFS_UNLINK, ZONEFS_RMDIR };
int zonefs_dirop(struct zonefs *fs, enum zonefs_dirop op, uint64_t dir_ino,
		 const char *name);
int zonefs_rename(struct zonefs *fs, uint64_t dir_ino, const char *name,
		  uint64_t new_dir_ino, const char *new_name, unsigned flags);

/* ---- requests that may wait for the device ---- */

/*
 * Embedded in the caller's request. done() is called once, on any thread,
 * possibly before the call that took the request returns, with no lock held;
 * it must not block. result: bytes, 0, or -errno. All zero before its use, but
 * for done: zonefs_cancel may look at it before the call that takes it has.
 */
struct zonefs_req {
	void	(*done)(struct zonefs_req *r, ssize_t result);

	/* Private to zonefs until done; src/zonefs/zonefs_i.h says more. */
	struct zonefs	*fs;
	struct zonefs_zone *zone;
	struct zonefs_file *file;
	struct zonefs_req *next;	/* the queue of the file */
	struct zonefs_req *next_work;	/* the list of the helper thread */
	_Atomic(struct zonefs_zone *) waits_on;	/* set while it may be cancelled */
	atomic_bool	stop;		/* it was cancelled */

	/* What runs next, and a stack of what follows when that part is through. */
	struct zonefs_req *(*step)(struct zonefs_req *r);
	struct zonefs_req *(*then[8])(struct zonefs_req *r);
	struct zdev_io	io;
	struct iovec	iov[3];
	_Atomic int	handoff;

	void		*buf;		/* the caller's data */
	uint64_t	pos;
	size_t		asked;		/* bytes */
	size_t		len;		/* of these, what is possible */
	uint64_t	at;		/* how far it is */
	size_t		part;		/* bytes of the I/O in flight */
	size_t		from_tail;	/* read: bytes that came from memory */
	size_t		staged;		/* write: bytes staged before the rest went past it */
	void		*scratch;	/* edge blocks; freed with the request */
	const void	*args;
	int64_t		until;		/* ns of the monotonic clock */
	ssize_t		result;
	int		flags;		/* of the descriptor */
	uint32_t	gen;
	uint8_t		depth;		/* of then */
	uint8_t		op;
	uint8_t		cause;
	bool		queued, pinned, parked, rmw;
	bool		recovering;	/* has met an error, can no longer be cancelled */
};

/* With O_TRUNC: not a process that may leave the set-user-ID bit. None of open(2)'s. */
#define ZONEFS_O_DROP_SUID	(1 << 30)

/*
 * Open ino with open(2) flags (access mode, O_TRUNC, O_APPEND, O_DIRECT,
 * O_SYNC, O_DSYNC) or the above, rules Z6 and Z13. On result 0 *file is set and owned by
 * the caller until zonefs_release.
 */
void zonefs_open(struct zonefs *fs, uint64_t ino, int flags,
		 struct zonefs_file **file, struct zonefs_req *r);

/* close(2) of one descriptor: what was written reaches the device; late errors. */
void zonefs_flush(struct zonefs_file *file, struct zonefs_req *r);

/* The last reference is gone: undo the open accounting, free file. result is always 0. */
void zonefs_release(struct zonefs_file *file, struct zonefs_req *r);

uint64_t zonefs_file_ino(const struct zonefs_file *file);

/* Whether all its reads fail, for its zone is bad (Z7). Does not block. */
bool zonefs_file_is_barred(struct zonefs_file *file);

/*
 * Read up to len bytes at off into buf, which stays the caller's and must live
 * until done. flags: the descriptor's present open flags. Z7.
 */
void zonefs_read(struct zonefs_file *file, int flags, void *buf, size_t len,
		 uint64_t off, struct zonefs_req *r);

/* Write, Z8 in strict mode; default personality: docs/zonefs-rules.md "Default". As zonefs_read. */
void zonefs_write(struct zonefs_file *file, int flags, const void *buf, size_t len,
		  uint64_t off, struct zonefs_req *r);

/*
 * Copy up to len bytes at src_pos of `from` to pos of file, which takes them as it would a
 * write there: whole blocks by the device if it can, all else by hand. The bytes copied,
 * which may be fewer, 0 at the end of `from`, or -errno; -EOPNOTSUPP in strict mode.
 * Both files stay open until done.
 */
void zonefs_copy(struct zonefs_file *from, uint64_t src_pos, struct zonefs_file *file,
		 int flags, uint64_t pos, size_t len, struct zonefs_req *r);

/* Z9: what was acknowledged for this file is durable when done. */
void zonefs_fsync(struct zonefs_file *file, struct zonefs_req *r);

enum {	/* zonefs_setattr_args.valid */
	ZONEFS_SET_SIZE = 1, ZONEFS_SET_MODE = 2, ZONEFS_SET_UID = 4,
	ZONEFS_SET_GID = 8, ZONEFS_SET_ATIME = 16, ZONEFS_SET_MTIME = 32,
	ZONEFS_SET_CTIME = 64,
};
struct zonefs_setattr_args {
	uint32_t	valid;
	struct zonefs_file *file;	/* ftruncate: the descriptor; else NULL */
	uint64_t	size;
	uint32_t	mode;
	uid_t		uid;
	gid_t		gid;
	struct timespec	atime, mtime, ctime;
};
/* truncate, chmod, chown, utimes; Z10. args must live until done. */
void zonefs_setattr(struct zonefs *fs, uint64_t ino,
		    const struct zonefs_setattr_args *args, struct zonefs_req *r);

/* SEEK_DATA, SEEK_HOLE (Z11). The new offset or -errno. Does not block. */
int64_t zonefs_lseek(struct zonefs_file *file, uint64_t off, int whence);

/*
 * fallocate of a range that ends at end, of a file open for writing (Z11): never done,
 * always an error. ENOSYS in the default personality. Does not block.
 */
int zonefs_fallocate(struct zonefs_file *file, uint64_t end);

/*
 * Ask that a request ends early: if it has not started on the device it
 * completes with -EINTR. One that fills the space behind the end of a file with
 * zeros ends within that space, with -EINTR; what was filled is part of the
 * file. Nothing happens to any other. The caller must make sure
 * that r is not done yet (it holds a lock that done() takes before it frees r).
 */
void zonefs_cancel(struct zonefs *fs, struct zonefs_req *r);

/* ---- readers that go past us ---- */

/*
 * Somebody is about to read the backing file of the sequential file ino itself
 * and sees only what is in there. When done (0 or -errno), all that was
 * acknowledged is, the bytes of a partial last block included, and while on,
 * each append is acknowledged only when it is. Counted: off as often as on was
 * answered with 0. -EOPNOTSUPP while the device cannot hold the last bytes.
 */
void zonefs_set_through(struct zonefs *fs, uint64_t ino, bool on, struct zonefs_req *r);

/*
 * *fd := a new descriptor, read only and the caller's to close, of the file that
 * holds exactly the bytes of file ino. 0; -EOPNOTSUPP when there is none; -ENOENT
 * or -errno. May open a file, so it may block.
 */
int zonefs_backing(struct zonefs *fs, uint64_t ino, int *fd);

/* ---- administration ---- */

enum zonefs_admin { ZONEFS_ADM_RESET, ZONEFS_ADM_FINISH, ZONEFS_ADM_OPEN,
		    ZONEFS_ADM_CLOSE, ZONEFS_ADM_SEAL };

/*
 * A zone command by device zone number, ordered with the writes of the zone's
 * file, sizes and accounting kept right. Conventional zones: -EIO. The zone of
 * the super block: -EPERM.
 */
void zonefs_admin(struct zonefs *fs, enum zonefs_admin op, uint32_t zno,
		  struct zonefs_req *r);

struct zonefs_stats {
	uint32_t	max_wro, nr_wro, max_active, nr_active;	/* Z14 */
	uint64_t	nr_files, nr_cnv, nr_seq;
	uint64_t	reads, read_bytes, writes, write_bytes, fsyncs;
	uint64_t	resets, finishes, tails_put, tails_dropped, tails_padded;
	uint64_t	io_errors, recoveries;
	/* Appends acknowledged from memory: now there, written, waits for room. */
	uint64_t	staged_bytes, stage_writes, stage_write_bytes, stage_waits;
	uint64_t	arena_bytes;	/* memory taken now */
	uint64_t	late_errors;	/* failures after the append was acknowledged */
	/* Requests to copy; bytes of these that the device copied, that we did. */
	uint64_t	copies, copy_offload_bytes, copy_fallback_bytes;
	uint64_t	replayed_bytes;	/* at the mount, from a killed daemon's arena */
	bool		read_only;	/* by mount option or by an error */
};
void zonefs_get_stats(struct zonefs *fs, struct zonefs_stats *st);

/* The file that a device zone belongs to: its inode number, or 0 for the super block's zone. */
uint64_t zonefs_zone_ino(const struct zonefs *fs, uint32_t zno);

/* All that was acknowledged is durable when this returns. 0 or the first error. Blocks. */
int zonefs_sync(struct zonefs *fs);

/* Exact length of a sequential file on zone zno, tail included; for reports. */
uint64_t zonefs_zone_len(struct zonefs *fs, uint32_t zno);

#endif
