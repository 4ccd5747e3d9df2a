/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all emulated devices share: the zone condition machine, the order of
 * operations within a zone, the open and active limits, and the worker threads
 * that call the medium. A medium (dir, image, mem) only stores bytes and write
 * pointers; it knows no conditions but those it must remember.
 */
#ifndef ZDEV_EMU_H
#define ZDEV_EMU_H

#include "zdev_i.h"

/* What the medium remembers of a sequential zone. */
struct emu_zone_state {
	uint64_t	wp;	/* bytes from the zone start, <= capacity; == capacity: full */
	uint64_t	resets;
	uint8_t		cond;	/* BLK_ZONE_COND_READONLY, _OFFLINE, or 0: follows from wp */
};

/* Where a direct read finds its data. */
struct emu_direct {
	int		fd;
	uint64_t	off;		/* bytes in it */
	void		*owner;		/* the medium's own */
};

/*
 * Called from worker threads with no lock held; may block. For one sequential
 * zone at most one of the changing calls (write, reset, finish, put_tail,
 * reserve, copy, set_cond) runs at a time, and flush of that zone not beside them;
 * reads, and changes of conventional zones, run beside anything. All return 0 (or
 * bytes) or a negative errno.
 */
struct emu_medium_ops {
	/* The stored state. At open for all zones, later after a failed write. */
	int	(*load)(void *m, uint32_t zno, struct emu_zone_state *st);
	/*
	 * Up to the iov's length; short only where the medium ends (emu adds zeros).
	 * once: nothing is won by keeping the data in memory.
	 */
	ssize_t	(*read)(void *m, uint32_t zno, uint64_t pos,
			const struct iovec *iov, int nr_iov, bool once);
	/*
	 * For a read as with `once`: which open file has all of the range, so that
	 * a direct read of it will do, until direct_end. -EOPNOTSUPP: use read.
	 * Does not block. Both may be NULL.
	 */
	int	(*direct_begin)(void *m, uint32_t zno, uint64_t pos,
				const struct iovec *iov, int nr_iov, struct emu_direct *way);
	void	(*direct_end)(void *m, struct emu_direct *way);
	/*
	 * All of the iov or an error; a sequential zone's stored wp becomes
	 * pos + length, only after the data is in the medium's hands.
	 */
	ssize_t	(*write)(void *m, uint32_t zno, uint64_t pos,
			 const struct iovec *iov, int nr_iov);
	/* wp 0, data and tail gone. One more in resets, unless nothing was there. */
	int	(*reset)(void *m, uint32_t zno);
	int	(*finish)(void *m, uint32_t zno);	/* wp := capacity, the rest reads zero */
	/*
	 * zno or ZDEV_ALL_ZONES: what the calls above did is durable after. The
	 * flush of all zones runs beside anything, one at a time.
	 */
	int	(*flush)(void *m, uint32_t zno);
	int	(*set_cond)(void *m, uint32_t zno, uint8_t cond);
	/* len 0 drops the tail. wp is the zone's write pointer. */
	int	(*put_tail)(void *m, uint32_t zno, uint64_t wp, const void *data, size_t len);
	/* The length of the tail stored for wp, or 0. */
	ssize_t	(*get_tail)(void *m, uint32_t zno, uint64_t wp, void *buf);
	/*
	 * Have space for len bytes from pos, which is not before the write
	 * pointer; with len 0 give back all beyond pos, the write pointer. May be
	 * NULL, as may the three that follow.
	 */
	int	(*reserve)(void *m, uint32_t zno, uint64_t pos, uint64_t len);
	/*
	 * As a write of len bytes at pos, which are those from src_pos of zone src on:
	 * all of them data, and not those that are written; share_only as in struct
	 * zdev_io. -EOPNOTSUPP: not here,
	 * and nothing has changed. A change of zone zno alone.
	 */
	int	(*copy)(void *m, uint32_t zno, uint64_t pos, uint32_t src,
			uint64_t src_pos, uint64_t len, bool share_only);
	/* Conventional zones: the range reads as zeros. -EOPNOTSUPP as above. */
	int	(*discard)(void *m, uint32_t zno, uint64_t pos, uint64_t len);
	/* As zdev_backing. */
	int	(*backing)(void *m, uint32_t zno);
	/*
	 * For the power-cut cache (powercut.c), with no other call on the zone
	 * in flight: a sequential zone goes back to wp, which is not above the
	 * present one, and has no tail. May leave the data beyond wp in place.
	 */
	int	(*set_wp)(void *m, uint32_t zno, uint64_t wp);
	/* Flush, mark clean, free m. Called last, by zdev_close. */
	int	(*close)(void *m);
	/* Free m and write nothing. Called last, after a power cut. */
	void	(*abandon)(void *m);
};

struct emu_params {
	const struct emu_medium_ops *ops;
	void		*medium;	/* owned by emu once emu_create succeeds */
	struct zdev_geometry geometry;	/* already checked */
	const char	*backend;
	const char	*path;		/* copied */
	bool		read_only;
	bool		powercut;	/* put powercut.c in front of the medium */
	bool		no_resets;	/* the medium does not count them: always report 0 */
	unsigned	nr_workers;	/* 0: a default */
	const struct zlog *log;
};

/*
 * Load every zone's state through the medium and start the workers. A zone with
 * 0 < wp < capacity starts closed, as after any power cycle. Memory: at most 32
 * bytes a zone; what an active zone needs beyond is allocated when it is first
 * used. 0 or -errno with *e.
 */
int emu_create(const struct emu_params *p, struct zdev **dev, struct zerr *e);

#endif
