/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening and closing a directory of zone files.
 *
 * zonefsd.meta says state=open from before the first change until a clean close,
 * so that after a crash a partial last block in a zone file is known to be a
 * tail; after a clean close it is damage. Tails are in the zone files during that
 * time, else in zonefsd.meta, out of zloop's sight. On the way from one to the
 * other both have them, with state=open:
 *
 *	first change:	meta open + tails | write tails to files, sync | meta open
 *	close:		sync files | meta open + tails | cut files, sync |
 *			meta clean + tails
 *
 * No operation runs in between, so whoever finds "open + tails" may write the
 * tails to the files again, however far the other came.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "dir_i.h"

/* More is left in the zone files: better not clean than out of memory. */
#define MAX_TAIL_BYTES	((size_t)64 << 20)

/* ---- close ---- */

void dir_abandon(void *medium)
{
	struct dir *d = medium;

	dir_fds_close(d);
	dir_meta_free(&d->meta);
	pthread_cond_destroy(&d->synced);
	pthread_mutex_destroy(&d->lock);
	pthread_mutex_destroy(&d->meta_lock);
	close(d->dirfd);
	free(d->flags);
	free(d->path);
	free(d);
}

/* -EFBIG when there are too many to hold. */
static int collect_tails(struct dir *d)
{
	uint8_t buf[4096];
	size_t bytes = 0;
	uint32_t zno;

	for (zno = d->g.nr_conv; zno < d->g.nr_zones; zno++) {
		struct emu_zone_state st;
		ssize_t len;
		int ret;

		if (!(d->flags[zno] & DIR_TAIL))
			continue;
		ret = dir_medium_ops.load(d, zno, &st);
		if (ret)
			return ret;
		len = dir_medium_ops.get_tail(d, zno, st.wp, buf);
		if (len < 0)
			return (int)len;
		bytes += (size_t)len;
		if (bytes > MAX_TAIL_BYTES)
			return -EFBIG;
		if (len)
			ret = dir_meta_add_tail(&d->meta, zno, st.wp, buf, (size_t)len);
		if (ret)
			return ret;
	}
	return 0;
}

static int tails_to_meta(struct dir *d)
{
	size_t i;
	int ret;

	ret = collect_tails(d);
	if (ret || !d->meta.nr_tails)
		return ret;
	ret = dir_meta_write(d->dirfd, &d->meta);
	for (i = 0; !ret && i < d->meta.nr_tails; i++)
		ret = dir_medium_ops.set_wp(d, d->meta.tails[i].zno, d->meta.tails[i].wp);
	return ret ? ret : dir_flush(d, ZDEV_ALL_ZONES);
}

static int mark_clean(struct dir *d)
{
	int ret;

	dir_release_all(d);
	ret = dir_flush(d, ZDEV_ALL_ZONES);
	if (!ret)
		ret = tails_to_meta(d);
	if (ret == -EFBIG) {
		zlog(d->log, ZLOG_INFO, "%s: too many partial last blocks: they stay in "
		     "the zone files, zloop cannot open this device", d->path);
		return 0;
	}
	if (ret)
		return ret;
	d->meta.state = DIR_CLEAN;
	return dir_meta_write(d->dirfd, &d->meta);
}

int dir_close(void *medium)
{
	struct dir *d = medium;
	int ret = 0;

	if (d->live) {
		ret = mark_clean(d);
		if (ret)
			zlog(d->log, ZLOG_ERR, "%s: closing: %s", d->path, strerror(-ret));
	}
	dir_abandon(d);
	return ret;
}

/* ---- open ---- */

static bool has_file(int dirfd, const char *name)
{
	return !faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

static bool is_device(int dirfd)
{
	return has_file(dirfd, DIR_META) || has_file(dirfd, DIR_CREATING) ||
	       has_file(dirfd, "cnv-000000") || has_file(dirfd, "seq-000000");
}

/* Find out the geometry and the rest of meta. */
static int read_meta(struct dir *d, struct zerr *e)
{
	int ret;

	if (has_file(d->dirfd, DIR_CREATING))
		return zerr_set(e, EINVAL, "%s: incomplete device, its creation was "
				"interrupted: remove the directory and create it again",
				d->path);
	ret = dir_meta_read(d->dirfd, d->path, &d->meta, e);
	if (ret == -ENOENT) {
		d->meta.hint = true;
		ret = 0;
	}
	if (!ret && d->meta.hint) {
		ret = dir_derive(d->dirfd, d->path, &d->meta.geometry, e);
		if (!d->read_only)
			uuid_generate(d->meta.geometry.uuid);
	}
	if (ret)
		return ret;
	d->g = d->meta.geometry;
	d->lenient = !d->meta.hint && d->meta.state == DIR_OPEN;
	return 0;
}

static int init_flags(struct dir *d)
{
	uint32_t zno;
	size_t i;

	d->flags = calloc(d->g.nr_zones, sizeof(*d->flags));
	if (!d->flags)
		return -ENOMEM;
	for (i = 0; i < d->meta.nr_bad; i++) {
		const struct dir_bad *b = &d->meta.bad[i];

		for (zno = b->first; zno <= b->last; zno++)
			d->flags[zno] |= b->cond == BLK_ZONE_COND_OFFLINE ? DIR_OFF : DIR_RO;
	}
	return 0;
}

/* Write the tails that meta holds behind the write pointers they belong to. */
static int tails_to_files(struct dir *d)
{
	size_t i;

	for (i = 0; i < d->meta.nr_tails; i++) {
		const struct dir_tail *t = &d->meta.tails[i];
		struct emu_zone_state st;
		int ret;

		ret = dir_medium_ops.load(d, t->zno, &st);
		if (!ret && st.wp != t->wp)
			zlog(d->log, ZLOG_WARN, "%s: zone %" PRIu32 ": %" PRIu32 " bytes of a "
			     "partial last block dropped: stored for write pointer %" PRIu64
			     ", now it is %" PRIu64, d->path, t->zno, t->len, t->wp, st.wp);
		else if (!ret)
			ret = dir_store_tail(d, t->zno, t->wp, t->data, t->len);
		if (ret)
			return ret;
	}
	return dir_flush(d, ZDEV_ALL_ZONES);
}

static int mark_open(struct dir *d)
{
	struct dir_meta old = d->meta;
	int ret;

	if (d->meta.state == DIR_OPEN && !d->meta.hint)
		return 0;
	d->meta.state = DIR_OPEN;
	d->meta.hint = false;
	ret = dir_meta_write(d->dirfd, &d->meta);
	if (ret)
		d->meta = old;
	return ret;
}

/* The tails are forgotten here only when they are gone from disk, too. */
static int move_tails_to_files(struct dir *d)
{
	struct dir_meta without = d->meta;
	int ret;

	if (!d->meta.nr_tails)
		return 0;
	d->lenient = true;
	ret = tails_to_files(d);
	if (ret)
		return ret;
	without.nr_tails = 0;
	ret = dir_meta_write(d->dirfd, &without);
	if (!ret)
		dir_meta_drop_tails(&d->meta);
	return ret;
}

/* From here on the files may change. meta_lock is held. Repeatable when it fails. */
static int go_live(struct dir *d)
{
	int ret;

	ret = mark_open(d);
	if (!ret)
		ret = move_tails_to_files(d);
	if (ret) {
		zlog(d->log, ZLOG_ERR, "%s: marking it open: %s", d->path, strerror(-ret));
		return ret;
	}
	d->lenient = true;
	atomic_store(&d->live, true);
	return 0;
}

int dir_begin(struct dir *d)
{
	int ret = 0;

	if (atomic_load(&d->live))
		return 0;
	pthread_mutex_lock(&d->meta_lock);
	if (!d->live)
		ret = go_live(d);
	pthread_mutex_unlock(&d->meta_lock);
	return ret;
}

static int new_dir(const char *path, const struct zdev_open_opts *opts,
		   struct dir **dir, struct zerr *e)
{
	struct dir *d;
	int err;

	d = calloc(1, sizeof(*d));
	if (!d)
		return zerr_errno(e, ENOMEM, "%s", path);
	d->read_only = opts->read_only;
	d->log = opts->log;
	d->path = strdup(path);
	d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!d->path || d->dirfd < 0) {
		err = d->path ? errno : ENOMEM;
		if (d->dirfd >= 0)
			close(d->dirfd);
		free(d->path);
		free(d);
		return zerr_errno(e, err, "%s", path);
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->synced, NULL);
	pthread_mutex_init(&d->meta_lock, NULL);
	dir_fds_init(d);
	*dir = d;
	return 0;
}

/* A write past this limit would raise SIGXFSZ, long after the mount. */
static int check_file_limit(const struct dir *d, struct zerr *e)
{
	uint64_t largest = d->g.nr_conv ? d->g.zone_size : d->g.zone_capacity;
	struct rlimit lim;

	if (d->read_only || getrlimit(RLIMIT_FSIZE, &lim) ||
	    lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur >= largest)
		return 0;
	return zerr_set(e, EFBIG, "%s: zones larger than the file size limit of this "
			"process (ulimit -f)", d->path);
}

/* All that comes before the device exists: lock it, read what it is. */
static int prepare(struct dir *d, const struct zdev_open_opts *opts, struct zerr *e)
{
	int ret;

	if (!is_device(d->dirfd))
		return -ENODEV;
	ret = zdev_lock(d->dirfd, d->path, opts->read_only, opts->wait_ms, e);
	/* The zone files may be writable where zonefsd.meta cannot be replaced. */
	if (!ret && !opts->read_only && faccessat(d->dirfd, ".", W_OK | X_OK, 0))
		ret = zerr_errno(e, errno, "%s", d->path);
	if (!ret)
		ret = read_meta(d, e);
	if (!ret)
		ret = check_file_limit(d, e);
	if (!ret && init_flags(d))
		ret = zerr_errno(e, ENOMEM, "%s", d->path);
	return ret;
}

int zdev_dir_open(const char *path, const struct zdev_open_opts *opts,
		  struct zdev **dev, struct zerr *e)
{
	struct emu_params p = {
		.ops = &dir_medium_ops, .backend = "dir", .read_only = opts->read_only,
		.powercut = opts->powercut, .no_resets = true, .log = opts->log,
	};
	struct dir *d = NULL;
	int ret;

	ret = new_dir(path, opts, &d, e);
	if (ret)
		return ret;
	ret = prepare(d, opts, e);
	if (!ret) {
		p.medium = d;
		p.path = d->path;
		p.geometry = d->g;
		if (!opts->read_only && dir_meta_powercut(&d->meta))
			p.powercut = true;
		d->e = e;
		ret = emu_create(&p, dev, e);
		d->e = NULL;
	}
	if (ret) {
		dir_abandon(d);
		return ret;
	}
	/* After a crash: finish what it interrupted, and mark it clean at the end. */
	if (!opts->read_only && d->lenient) {
		ret = dir_begin(d);
		if (ret) {
			zerr_errno(e, -ret, "%s: repairing it after a crash", path);
			(*dev)->ops->close(*dev);
		}
	}
	return ret;
}
