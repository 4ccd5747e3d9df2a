/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded cache of open zone files, so that a device may have any number of
 * zones under any limit of open files. Files in use are never closed; each
 * worker uses one at a time, so the bound is exceeded by the number of workers
 * at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir_i.h"
#include "direct.h"

#define DEFAULT_MAX	256
#define LEAST_MAX	8

void dir_fds_init(struct dir *d)
{
	struct rlimit rl;

	d->fds.max = DEFAULT_MAX;
	/* A quarter of the descriptors at most: the rest of the program needs some. */
	if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur / 8 < DEFAULT_MAX)
		d->fds.max = (unsigned)(rl.rlim_cur / 8);
	if (d->fds.max < LEAST_MAX)
		d->fds.max = LEAST_MAX;
}

static struct dir_fd **bucket(struct dir *d, uint32_t zno)
{
	return &d->fds.bucket[zno % DIR_FD_BUCKETS];
}

static struct dir_fd *find(struct dir *d, uint32_t zno)
{
	struct dir_fd *f;

	for (f = *bucket(d, zno); f; f = f->chain)
		if (f->zno == zno)
			return f;
	return NULL;
}

static void age_list_add(struct dir_fds *fds, struct dir_fd *f)
{
	f->newer = NULL;
	f->older = fds->newest;
	if (fds->newest)
		fds->newest->newer = f;
	else
		fds->oldest = f;
	fds->newest = f;
}

static void age_list_del(struct dir_fds *fds, struct dir_fd *f)
{
	if (f->newer)
		f->newer->older = f->older;
	else
		fds->newest = f->older;
	if (f->older)
		f->older->newer = f->newer;
	else
		fds->oldest = f->newer;
}

/* Take f out of the cache; the caller closes and frees it. Lock held. */
static void forget(struct dir *d, struct dir_fd *f)
{
	struct dir_fd **at = bucket(d, f->zno);

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	age_list_del(&d->fds, f);
	d->fds.nr--;
}

static struct dir_fd *use(struct dir *d, struct dir_fd *f)
{
	f->refs++;
	age_list_del(&d->fds, f);
	age_list_add(&d->fds, f);
	return f;
}

static void close_file(struct dir_fd *f)
{
	if (f->direct != DIR_NO_FD)
		close(f->direct);
	close(f->fd);
	free(f);
}

/* Whom to close: the oldest unused clean file, else the oldest unused one. Lock held. */
static struct dir_fd *pick_victim(struct dir *d)
{
	struct dir_fd *f, *dirty = NULL;

	for (f = d->fds.oldest; f; f = f->newer) {
		if (f->refs)
			continue;
		if (!(d->flags[f->zno] & DIR_DIRTY))
			return f;
		if (!dirty)
			dirty = f;
	}
	return dirty;
}

/*
 * Close files until the bound is kept. One with unsynced data is synced first:
 * the kernel may forget a write-back error with the last open file, and an
 * fsync through a new one would then answer that all is well. The zone keeps the
 * error for its next flush.
 */
static void trim(struct dir *d)
{
	struct dir_fd *f;

	pthread_mutex_lock(&d->lock);
	while (d->fds.nr > d->fds.max && (f = pick_victim(d))) {
		bool dirty = d->flags[f->zno] & DIR_DIRTY;

		f->refs++;
		if (dirty) {
			pthread_mutex_unlock(&d->lock);
			dir_sync_fd(d, f->zno, f->fd);
			pthread_mutex_lock(&d->lock);
		}
		if (--f->refs)
			continue;	/* someone took it meanwhile */
		if (d->flags[f->zno] & DIR_DIRTY) {
			/* Written again, or it cannot be synced: stay above the bound. */
			break;
		}
		forget(d, f);
		pthread_mutex_unlock(&d->lock);
		close_file(f);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
}

/* Opened with the checks of the scan again: files can be swapped while we run. */
int dir_zone_open(struct dir *d, uint32_t zno, int flags)
{
	char name[DIR_NAME_LEN];
	struct stat st;
	int fd, err;

	fd = openat(d->dirfd, dir_zone_name(name, zno, d->g.nr_conv),
		    flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? errno : S_ISREG(st.st_mode) ? 0 : EIO;
	if (err) {
		close(fd);
		return -err;
	}
	return fd;
}

int dir_fd_get(struct dir *d, uint32_t zno, struct dir_fd **file)
{
	struct dir_fd *f, *fresh;
	bool full;
	int fd;

	pthread_mutex_lock(&d->lock);
	f = find(d, zno);
	if (f)
		*file = use(d, f);
	pthread_mutex_unlock(&d->lock);
	if (f)
		return 0;

	fresh = malloc(sizeof(*fresh));
	fd = fresh ? dir_zone_open(d, zno, d->read_only ? O_RDONLY : O_RDWR) : -ENOMEM;
	if (fd < 0) {
		free(fresh);
		return fd;
	}
	*fresh = (struct dir_fd) { .zno = zno, .fd = fd, .direct = DIR_NO_FD };

	pthread_mutex_lock(&d->lock);
	f = find(d, zno);	/* a reader beside us may have been faster */
	if (!f) {
		f = fresh;
		fresh = NULL;
		f->chain = *bucket(d, zno);
		*bucket(d, zno) = f;
		age_list_add(&d->fds, f);
		d->fds.nr++;
	}
	*file = use(d, f);
	full = d->fds.nr > d->fds.max;
	pthread_mutex_unlock(&d->lock);
	if (fresh)
		close_file(fresh);
	if (full)
		trim(d);
	return 0;
}

void dir_fd_put(struct dir *d, struct dir_fd *f)
{
	pthread_mutex_lock(&d->lock);
	f->refs--;
	pthread_mutex_unlock(&d->lock);
}

int dir_fd_direct(struct dir *d, struct dir_fd *f)
{
	int fd, none = DIR_NO_FD;

	if (f->direct != DIR_NO_FD || atomic_load(&d->no_direct))
		return f->direct;
	fd = direct_open(f->fd, d->read_only ? O_RDONLY : O_RDWR);
	/* Readers may come here side by side: the first one's stays. */
	if (fd >= 0 && !atomic_compare_exchange_strong(&f->direct, &none, fd))
		close(fd);
	else if (fd < 0 && fd != -EMFILE && fd != -ENFILE && fd != -ENOMEM)
		atomic_store(&d->no_direct, true);
	return f->direct;
}

struct dir_fd *dir_fd_get_direct(struct dir *d, uint32_t zno)
{
	struct dir_fd *f;

	pthread_mutex_lock(&d->lock);
	f = d->flags[zno] & DIR_DIRTY ? NULL : find(d, zno);
	if (f && f->direct == DIR_NO_FD)
		f = NULL;
	if (f)
		use(d, f);
	pthread_mutex_unlock(&d->lock);
	return f;
}

void dir_fds_close(struct dir *d)
{
	struct dir_fd *f, *older;

	for (f = d->fds.newest; f; f = older) {
		older = f->older;
		close_file(f);
	}
	d->fds = (struct dir_fds) { .max = d->fds.max };
}
