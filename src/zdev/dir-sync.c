/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has changed since it was last made durable, and the flush.
 *
 * Two flushes may meet on one zone (its own and one of the whole device). The
 * kernel tells a write-back error once, to one of them, so syncs of a zone go one
 * after the other, and an error stays with the zone until its own flush has told
 * it: an fsync of another file, or a sync command, which flush the whole device,
 * must not use it up. The dirty mark goes when nothing has touched the zone since
 * the sync began.
 */
#include <errno.h>
#include <unistd.h>

#include "dir_i.h"

/* With more dirty zones one sync of the file system goes first. */
#define MANY_DIRTY	32

void dir_mark_dirty(struct dir *d, uint32_t zno, bool tail)
{
	uint16_t *flags = &d->flags[zno];

	pthread_mutex_lock(&d->lock);
	if (!(*flags & DIR_DIRTY))
		d->nr_dirty++;
	*flags |= DIR_DIRTY | DIR_TOUCHED;
	*flags &= (uint16_t)~DIR_FLUSHED;
	if (tail)
		*flags |= DIR_TAIL;
	else
		*flags &= (uint16_t)~DIR_TAIL;
	pthread_mutex_unlock(&d->lock);
}

int dir_sync_fd(struct dir *d, uint32_t zno, int fd)
{
	uint16_t *flags = &d->flags[zno];
	int err;

	pthread_mutex_lock(&d->lock);
	while (*flags & DIR_SYNCING)
		pthread_cond_wait(&d->synced, &d->lock);
	*flags |= DIR_SYNCING;
	*flags &= (uint16_t)~DIR_TOUCHED;
	pthread_mutex_unlock(&d->lock);

	err = fdatasync(fd) ? errno : 0;

	pthread_mutex_lock(&d->lock);
	*flags &= (uint16_t)~DIR_SYNCING;
	if (err == ENOSPC || err == EDQUOT) {
		*flags |= DIR_LOST_SPACE;
	} else if (err) {
		*flags |= DIR_LOST_IO;
	} else if ((*flags & DIR_DIRTY) && !(*flags & DIR_TOUCHED)) {
		*flags &= (uint16_t)~DIR_DIRTY;
		*flags |= DIR_FLUSHED;
		d->nr_dirty--;
	}
	pthread_cond_broadcast(&d->synced);
	pthread_mutex_unlock(&d->lock);
	return -err;
}

/* The error that syncs of the zone have met. tell: it is told now, forget it. */
static int kept_error(struct dir *d, uint32_t zno, bool tell)
{
	uint16_t *flags = &d->flags[zno];
	int err;

	pthread_mutex_lock(&d->lock);
	err = *flags & DIR_LOST_IO ? -EIO : *flags & DIR_LOST_SPACE ? -ENOSPC : 0;
	if (tell)
		*flags &= (uint16_t)~(DIR_LOST_IO | DIR_LOST_SPACE);
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int flush_zone(struct dir *d, uint32_t zno, bool tell)
{
	struct dir_fd *f;
	int ret = 0, err;
	bool dirty;

	pthread_mutex_lock(&d->lock);
	dirty = d->flags[zno] & DIR_DIRTY;
	pthread_mutex_unlock(&d->lock);
	if (dirty) {
		ret = dir_fd_get(d, zno, &f);
		if (!ret) {
			ret = dir_sync_fd(d, zno, f->fd);
			dir_fd_put(d, f);
		}
	}
	err = kept_error(d, zno, tell);
	return err ? err : ret;
}

/* The next zone from zno on with something to flush, or nr_zones. */
static uint32_t next_dirty(struct dir *d, uint32_t zno)
{
	const uint16_t any = DIR_DIRTY | DIR_LOST_IO | DIR_LOST_SPACE;

	pthread_mutex_lock(&d->lock);
	while (zno < d->g.nr_zones && !(d->flags[zno] & any))
		zno++;
	pthread_mutex_unlock(&d->lock);
	return zno;
}

static int flush_all(struct dir *d)
{
	uint32_t zno, nr_dirty;
	int err, ret = 0;

	pthread_mutex_lock(&d->lock);
	nr_dirty = d->nr_dirty;
	pthread_mutex_unlock(&d->lock);
	/*
	 * The syncs of the single files then find nothing left to write; they
	 * are needed for their errors.
	 */
	if (nr_dirty > MANY_DIRTY && syncfs(d->dirfd))
		ret = -errno;
	for (zno = next_dirty(d, 0); zno < d->g.nr_zones; zno = next_dirty(d, zno + 1)) {
		err = flush_zone(d, zno, false);
		if (!ret)
			ret = err;
	}
	return ret;
}

int dir_flush(void *medium, uint32_t zno)
{
	struct dir *d = medium;

	return zno == ZDEV_ALL_ZONES ? flush_all(d) : flush_zone(d, zno, true);
}
