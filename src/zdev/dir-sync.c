/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has changed since it was last made durable, and the flush.
 *
 * Two flushes may meet on one zone (its own and one of the whole device). Only
 * the first clears the dirty mark, and only if nothing touched the zone since it
 * began; the other syncs as well. So a flush that finds the mark gone can rely
 * on a sync that has ended, not on one that has just begun.
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
	bool first;
	int err;

	pthread_mutex_lock(&d->lock);
	first = !(*flags & DIR_SYNCING);
	if (first) {
		*flags |= DIR_SYNCING;
		*flags &= (uint16_t)~DIR_TOUCHED;
	}
	pthread_mutex_unlock(&d->lock);

	err = fdatasync(fd) ? errno : 0;

	pthread_mutex_lock(&d->lock);
	if (first) {
		*flags &= (uint16_t)~DIR_SYNCING;
		if (!err && (*flags & DIR_DIRTY) && !(*flags & DIR_TOUCHED)) {
			*flags &= (uint16_t)~DIR_DIRTY;
			*flags |= DIR_FLUSHED;
			d->nr_dirty--;
		}
	}
	pthread_mutex_unlock(&d->lock);
	return -err;
}

void dir_keep_error(struct dir *d, uint32_t zno, int err)
{
	pthread_mutex_lock(&d->lock);
	d->flags[zno] |= err == -ENOSPC || err == -EDQUOT ? DIR_LOST_SPACE : DIR_LOST_IO;
	pthread_mutex_unlock(&d->lock);
}

/* Take the zone's kept error, and say whether it is dirty. Lock held. */
static int take_error(struct dir *d, uint32_t zno, bool *dirty)
{
	uint16_t *flags = &d->flags[zno];
	int err = *flags & DIR_LOST_IO ? -EIO : *flags & DIR_LOST_SPACE ? -ENOSPC : 0;

	*flags &= (uint16_t)~(DIR_LOST_IO | DIR_LOST_SPACE);
	*dirty = *flags & DIR_DIRTY;
	return err;
}

static int flush_zone(struct dir *d, uint32_t zno)
{
	struct dir_fd *f;
	int err, ret = 0;
	bool dirty;

	pthread_mutex_lock(&d->lock);
	err = take_error(d, zno, &dirty);
	pthread_mutex_unlock(&d->lock);
	if (dirty) {
		ret = dir_fd_get(d, zno, &f);
		if (!ret) {
			ret = dir_sync_fd(d, zno, f->fd);
			dir_fd_put(d, f);
		}
	}
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
		err = flush_zone(d, zno);
		if (!ret)
			ret = err;
	}
	return ret;
}

int dir_flush(void *medium, uint32_t zno)
{
	struct dir *d = medium;

	return zno == ZDEV_ALL_ZONES ? flush_all(d) : flush_zone(d, zno);
}
