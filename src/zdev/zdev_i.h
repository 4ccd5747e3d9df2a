/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside src/zdev only: the ops table that backends and filters implement. */
#ifndef ZDEV_I_H
#define ZDEV_I_H

#include <pthread.h>

#include "zonefsd/zdev.h"

/* The rules for each call stand at its namesake in zonefsd/zdev.h. */
struct zdev_ops {
	void	(*submit)(struct zdev *dev, struct zdev_io *io);
	int	(*report)(struct zdev *dev, uint32_t zno, uint32_t nr,
			  struct zdev_zone *zones);
	ssize_t	(*get_tail)(struct zdev *dev, uint32_t zno, void *buf);
	int	(*backing)(struct zdev *dev, uint32_t zno);
	int	(*set_cond)(struct zdev *dev, uint32_t zno, uint8_t cond);
	int	(*inject)(struct zdev *dev, const struct zdev_fault *fault);
	int	(*power_cut)(struct zdev *dev);
	int	(*close)(struct zdev *dev);	/* frees dev */
};

/* Embedded first in each backend's or filter's own struct. */
struct zdev {
	const struct zdev_ops	*ops;
	struct zdev_info	info;
};

/* Set io->result and call io->done. No lock may be held. */
void zdev_complete(struct zdev_io *io, ssize_t result);

/* A done() whose io's owner is a struct zlatch. */
void zdev_put_latch(struct zdev_io *io);

/* Log that `what` on zone zno (or ZDEV_ALL_ZONES) of path ended with ret, a -errno. */
void zdev_log_failure(const struct zlog *log, const char *path, uint32_t zno,
		      const char *what, ssize_t ret);

/* Bytes in io->iov; sets nothing. */
size_t zdev_iov_len(const struct iovec *iov, int nr_iov);

/*
 * 0, or the errno that io is refused with whatever state its zone is in. conv: the
 * zone is conventional; means nothing if io->zno is none of the device's. Sets io->len.
 */
int zdev_check(const struct zdev_info *info, struct zdev_io *io, bool conv);

/* Backends: each opens what it recognises, -ENODEV (no message) for what it does not. */
int zdev_dir_open(const char *path, const struct zdev_open_opts *opts,
		  struct zdev **dev, struct zerr *e);
int zdev_image_open(const char *path, const struct zdev_open_opts *opts,
		    struct zdev **dev, struct zerr *e);
int zdev_blk_open(const char *path, const struct zdev_open_opts *opts,
		  struct zdev **dev, struct zerr *e);

int zdev_dir_create(const char *path, const struct zdev_geometry *g,
		    void (*progress)(void *, uint32_t, uint32_t), void *ctx,
		    struct zerr *e);
int zdev_image_create(const char *path, const struct zdev_geometry *g,
		      void (*progress)(void *, uint32_t, uint32_t), void *ctx,
		      struct zerr *e);

/*
 * Filters: take over next (closed with them, also when they fail) and put
 * themselves in front of it.
 */
int zdev_fault_stack(struct zdev *next, struct zdev **dev);

/*
 * Take the lock of an open device file or directory fd: exclusive, or shared for
 * readers; wait up to wait_ms for a holder that is on its way out. -EBUSY with
 * *e naming the holder's pid and command. See lock.c.
 */
int zdev_lock(int fd, const char *path, bool shared, uint32_t wait_ms, struct zerr *e);

#endif
