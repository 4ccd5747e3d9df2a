/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A zoned storage device, whatever it is made of. Everything above this
 * interface works in bytes; 512-byte sectors appear only inside a backend,
 * where a format or an ioctl demands them.
 *
 * Zone types and conditions are the kernel's, from <linux/blkzoned.h>:
 * BLK_ZONE_TYPE_{CONVENTIONAL,SEQWRITE_REQ,SEQWRITE_PREF} and BLK_ZONE_COND_*.
 * The condition machine is that of ZBC and ZNS.
 */
#ifndef ZONEFSD_ZDEV_H
#define ZONEFSD_ZDEV_H

#include <linux/blkzoned.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "zonefsd/error.h"
#include "zonefsd/log.h"

struct zdev;

/* Bounds that every backend keeps, checked before anything is allocated. */
#define ZDEV_MAX_ZONES		(1u << 24)
#define ZDEV_MAX_SIZE		(UINT64_C(1) << 56)	/* bytes, 64 PiB */
#define ZDEV_MAX_ZONE_SIZE	(UINT64_C(1) << 40)	/* bytes */
#define ZDEV_MAX_IO		(UINT32_C(1) << 20)	/* bytes in one zdev_io */

#define ZDEV_ALL_ZONES		UINT32_MAX
#define ZDEV_WP_NONE		UINT64_MAX

/* Constant while the device is open. All sizes in bytes. */
struct zdev_info {
	const char	*backend;	/* "dir", "image", "blk", "mem", "regular" */
	const char	*path;		/* real path, "" for mem */
	uint8_t		uuid[16];	/* all zero where the device has none */
	uint32_t	block_size;	/* logical block = write granularity: 512 or 4096 */
	uint64_t	size;		/* whole device */
	uint64_t	zone_size;	/* power of two; the last zone may be smaller */
	uint64_t	zone_capacity;	/* of a full-length sequential zone */
	uint32_t	nr_zones;
	uint32_t	nr_conv;	/* conventional zones in all */
	uint32_t	max_open;	/* 0: no limit */
	uint32_t	max_active;	/* 0: no limit */
	uint32_t	max_io;		/* bytes, largest single read or write */
	uint32_t	max_command;	/* longer writes go to the medium in several; 0: none do */
	bool		read_only;
	bool		emulated;	/* has the emulation-only calls below */
};

struct zdev_zone {
	uint64_t	start;		/* bytes from the device start */
	uint64_t	size;		/* bytes to the next zone's start */
	uint64_t	capacity;	/* usable bytes, <= size */
	uint64_t	wp;		/* bytes from the zone start; FULL: the capacity;
					 * ZDEV_WP_NONE: conventional, READONLY, OFFLINE */
	uint64_t	said_wp_sect;	/* blk: what the device says, from the zone start, where
					 * that tells nothing (FULL, READONLY, OFFLINE); or 0 */
	uint64_t	resets;		/* since the device was made; 0 if unknown */
	uint8_t		type;		/* enum blk_zone_type */
	uint8_t		cond;		/* enum blk_zone_cond */
};

enum zdev_op {
	ZDEV_READ,
	ZDEV_WRITE,	/* sequential zone: pos must be the write pointer */
	ZDEV_APPEND,	/* sequential zone: lands at the write pointer, pos is set */
	ZDEV_RESET,
	ZDEV_FINISH,
	ZDEV_OPEN,	/* explicitly */
	ZDEV_CLOSE,
	ZDEV_FLUSH,	/* zno or ZDEV_ALL_ZONES: what completed before is durable after */
	ZDEV_PUT_TAIL,	/* see zdev_get_tail */
	ZDEV_RESERVE,	/* sequential zone: see zdev_reserve */
	ZDEV_COPY,	/* see zdev_io: by the device itself, without data passing through us */
	ZDEV_DISCARD,	/* conventional zone: the space is given back, reads as zeros; see dead */
};

/*
 * One operation in flight. The caller fills the upper part and owns the memory
 * (iov and data included) until done() is called. done() is called exactly
 * once, on any thread (the submitter's own included), with no lock of zdev
 * held; it must not block and may submit again or free the io.
 *
 * result: bytes for READ, WRITE, APPEND; 0 for the others; or a negative errno:
 *   -EIO         refused by the zone's condition (full, read-only, offline), a
 *                write off the write pointer or across the capacity, a command
 *                a conventional zone does not have, or a failing medium
 *   -ENOSPC      the file system beneath is full
 *   -ETOOMANYREFS  limit of open zones, nothing can be closed implicitly
 *   -EOVERFLOW   limit of active zones
 *   -EINVAL      not block aligned, length 0, beyond the zone, over max_io
 *   -EPERM       device opened read-only
 *   -ENODATA, -EREMOTEIO, -EILSEQ, -ETIMEDOUT, -ENOLINK  block devices: as -EIO, but
 *                the kernel knows more of the failing medium
 *   -EOPNOTSUPP  COPY, DISCARD: cannot be done here or now, nothing was written
 * COPY writes `bytes` bytes (at most ZDEV_MAX_IO) as a WRITE at pos would, taken from
 * src_pos of src_zno, and may not overlap itself. Whoever submits it must be ready to
 * copy by hand after any error.
 * A WRITE is all or nothing for the caller: after any error re-read the write
 * pointer with zdev_report(), part of the data may be on the medium. A READ
 * past the write pointer returns zero bytes there; never short inside a zone.
 */
struct zdev_io {
	enum zdev_op	op;
	bool		fua;		/* WRITE, APPEND: durable when done */
	uint32_t	zno;
	uint64_t	pos;		/* bytes from the zone's start */
	const struct iovec *iov;	/* READ, WRITE, APPEND, PUT_TAIL */
	int		nr_iov;
	uint64_t	bytes;		/* RESERVE, COPY, DISCARD: a block multiple for the latter two */
	uint32_t	src_zno;	/* COPY: another zone or range of the same device */
	uint64_t	src_pos;	/* COPY: bytes from the source zone's start */
	bool		share_only;	/* COPY: only if no data need be moved, else -EOPNOTSUPP */
	bool		dead;		/* DISCARD: nobody reads it again: need not be zeros after */
	bool		once;		/* READ: a hint, the caller keeps what it will need again */
	void		(*done)(struct zdev_io *io);
	void		*owner;		/* the caller's own */

	ssize_t		result;

	/* Private to zdev from submit to done. */
	struct zdev_io	*next;
	size_t		len;
	void		*priv;
};

/*
 * Start io. Never fails and never blocks on the medium: every error arrives in
 * io->done. Writes and commands to one sequential zone take effect in the order
 * of submission; when one fails, those queued behind it that no longer fit
 * fail too and write nothing. Reads are not ordered with anything.
 */
void zdev_submit(struct zdev *dev, struct zdev_io *io);

/* Submit and wait. Returns io->result. Not from a done() callback. */
ssize_t zdev_run(struct zdev *dev, struct zdev_io *io);

/* zdev_run with the io filled in for the common cases. May block. */
ssize_t zdev_pread(struct zdev *dev, uint32_t zno, uint64_t pos, void *buf, size_t len);
ssize_t zdev_pwrite(struct zdev *dev, uint32_t zno, uint64_t pos, const void *buf, size_t len);
int zdev_command(struct zdev *dev, enum zdev_op op, uint32_t zno);

const struct zdev_info *zdev_info(const struct zdev *dev);

/*
 * The state of nr zones from zno on, as of the last completed operation on each
 * (a write in flight is not counted). 0, -EINVAL (range), -EIO. After a failed
 * write it asks the medium, so it may block; not from a done() callback.
 */
int zdev_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones);

/*
 * The tail: the bytes of a partial last block, which no write pointer can
 * count. ZDEV_PUT_TAIL stores all of it (1 .. block_size - 1 bytes in iov) for
 * the write pointer pos and replaces the tail stored before, atomically: after
 * kill -9 one of the two is there, and a tail that a flush has made durable
 * survives a power cut. A write, reset or finish of the zone drops it; so does
 * a PUT_TAIL with nr_iov 0. -EOPNOTSUPP where the device has no room for tails.
 *
 * zdev_get_tail copies the tail stored for the zone's present write pointer to
 * buf (block_size bytes) and returns its length, 0 if there is none, or
 * -errno. May block.
 */
ssize_t zdev_get_tail(struct zdev *dev, uint32_t zno, void *buf);

/*
 * ZDEV_RESERVE has the storage beneath hold room for `bytes` bytes from pos on:
 * what is written there later, as data or as tail, cannot fail with -ENOSPC. No
 * size, write pointer or condition changes. pos and bytes need no alignment;
 * what reaches past the capacity is cut, what lies before the write pointer is
 * skipped. Reservations of a zone add up. bytes 0 gives back what lies beyond the
 * write pointer; so do a reset, a finish, the close of the device, and after a
 * crash the next open for writing. In order with the zone's writes. 0; -ENOSPC,
 * then a part may be held; -EOPNOTSUPP where it cannot be done, which need not
 * be for all zones or for ever; -EIO.
 */
int zdev_reserve(struct zdev *dev, uint32_t zno, uint64_t pos, uint64_t bytes);

/*
 * A new descriptor, read only and the caller's to close, of the file that holds
 * exactly the bytes of zone zno from offset 0 on, the tail included. -EOPNOTSUPP
 * when there is none (another layout, an offline zone), and while reads of it
 * would go past a filter: power-cut mode, fault rules. Rules made later do not
 * reach it. -EIO, -EINVAL. May block.
 */
int zdev_backing(struct zdev *dev, uint32_t zno);

struct zdev_open_opts {
	bool		read_only;
	bool		powercut;	/* volatile write cache, dropped by zdev_power_cut */
	uint32_t	wait_ms;	/* for a holder that is shutting down */
	const struct zlog *log;
};

/*
 * Open a device for exclusive use: a directory of zone files, an image file, a
 * zoned block device.
 * Takes the lock that keeps every other daemon and tool out; read_only takes it
 * shared. Nothing on the device is changed when this fails. 0 or -errno with *e:
 * -EBUSY (names the process that holds it, or the mount or device on top of it),
 * -ENODEV (not a zoned device), -EINVAL (damaged; says what and where), -ENOENT,
 * -EACCES, -EROFS. Blocks.
 */
int zdev_open(const char *path, const struct zdev_open_opts *opts,
	      struct zdev **dev, struct zerr *e);

/*
 * Open an ordinary file or an ordinary block device as if it had conventional
 * zones of zone_size bytes (a power of two) only; the last one may be smaller.
 * Locks, errors and opts as zdev_open; -EINVAL also when it is zoned or empty.
 * Blocks.
 */
int zdev_regular_open(const char *path, uint64_t zone_size,
		      const struct zdev_open_opts *opts, struct zdev **dev, struct zerr *e);

/*
 * Flush everything, mark the device clean, release it and free dev, also when
 * an error is returned (the first one met). No io may be in flight. Blocks.
 */
int zdev_close(struct zdev *dev);

/* What zdev_create makes. All sizes in bytes. */
struct zdev_geometry {
	uint32_t	block_size;
	uint64_t	zone_size;
	uint64_t	zone_capacity;
	uint32_t	nr_zones;
	uint32_t	nr_conv;
	uint32_t	max_open;
	uint32_t	max_active;
	uint8_t		uuid[16];	/* all zero: a random one */
};

enum zdev_layout { ZDEV_LAYOUT_DIR, ZDEV_LAYOUT_IMAGE };

/*
 * Check a geometry: 0 or -EINVAL with *e naming the value and the rule.
 * Called by zdev_create and by every backend on what it reads from disk.
 */
int zdev_geometry_check(const struct zdev_geometry *g, struct zerr *e);

/*
 * Make a new emulated device at path: a directory (which may exist if empty) or
 * a file (which must not exist). On failure nothing of it stays behind.
 * progress, if not NULL, is called with zones done and in all, now and then.
 * 0 or -errno with *e. Blocks.
 */
int zdev_create(const char *path, enum zdev_layout layout,
		const struct zdev_geometry *g,
		void (*progress)(void *ctx, uint32_t done, uint32_t all), void *ctx,
		struct zerr *e);

/* A device in RAM, for tests. 0, -EINVAL or -ENOMEM. */
int zdev_mem_create(const struct zdev_geometry *g, struct zdev **dev, struct zerr *e);

/* Emulated devices only (info->emulated), else -EOPNOTSUPP: */

/* Force a zone to BLK_ZONE_COND_READONLY or _OFFLINE for good, as a worn medium would. Blocks. */
int zdev_set_cond(struct zdev *dev, uint32_t zno, uint8_t cond);

/*
 * Make the next operation of the given kind on zone zno (or ZDEV_ALL_ZONES)
 * that comes after `skip` others fail with -err, `count` times (0: for ever); a
 * write or copy lands its first `partial` bytes (a block multiple) before it fails. A
 * copy answers -EOPNOTSUPP where a read or write that it stands for might fail.
 * err 0 clears all rules of that op and zone.
 */
struct zdev_fault {
	enum zdev_op	op;
	uint32_t	zno;
	int		err;		/* positive errno */
	uint32_t	skip;
	uint32_t	count;
	uint64_t	partial;	/* bytes */
};
int zdev_inject(struct zdev *dev, const struct zdev_fault *fault);

/*
 * Opened with powercut: forget everything that no flush has made durable, as a
 * power loss would, and fail all later operations with -EIO. The device must
 * then be closed and opened again. Blocks.
 */
int zdev_power_cut(struct zdev *dev);

#endif
