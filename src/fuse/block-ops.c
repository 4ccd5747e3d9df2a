/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The format dm-zoned: one file `disk`. Its devices, its attributes, its name.
 * While it is open: block-file.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "ctl_i.h"
#include "device.h"
#include "disk.h"

#define DISK_NAME	"disk"
/* More than a loop device keeps in flight: its queue has 128. */
#define DISK_BACKGROUND	256

/* ---- life ---- */

static void on_readonly(void *ctx)
{
	struct mnt *m = ctx;

	disk_late_error(m->disk);
	notify_readonly(m->notify);
}

static struct disk *disk_new(const struct zonefs_opts *o)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->mode = S_IFREG | (o->has_perm ? o->perm : 0600);
	d->uid = o->has_uid ? o->uid : o->mounter_uid;
	d->gid = o->has_gid ? o->gid : o->mounter_gid;
	clock_gettime(CLOCK_REALTIME, &d->ctime);
	d->atime = d->mtime = d->ctime;
	return d;
}

/* The zoned ones first, for the zones of the regular one are as large as theirs. */
static int open_devices(struct mnt *m, struct zerr *e)
{
	const struct options *o = m->opts;
	uint32_t i;
	int ret;

	for (i = 0; i < o->nr_zoned; i++) {
		ret = device_open_one(m, i + 1, o->zoned[i], 0, e);
		if (ret)
			return ret;
	}
	ret = device_open_one(m, 0, o->device,
			      i ? zdev_info(m->devs[1])->zone_size : 0, e);
	if (!ret)
		m->nr_devs = i + 1;
	return ret;
}

/* Those that nobody owns but us. */
static int close_devices(struct mnt *m)
{
	int ret = 0, err;
	uint32_t i;

	for (i = 0; i < DMZ_MAX_DEVS; i++) {
		if (!m->devs[i])
			continue;
		err = zdev_close(m->devs[i]);
		ret = ret ? ret : err;
		m->devs[i] = NULL;
	}
	m->nr_devs = 0;
	return ret;
}

static int open_block(struct mnt *m, struct zerr *e)
{
	struct block_opts opts = {
		.read_only = m->opts->zonefs.read_only,
		.log = m->log,
		.went_readonly = on_readonly,
		.ctx = m,
	};
	struct dmz_devs *devs;
	int ret;

	ret = dmz_devs_join(m->devs, m->nr_devs, &devs, e);
	if (ret)
		return ret;
	ret = block_open(devs, &opts, &m->disk->b, e);
	if (!ret) {
		m->disk->size = block_size(m->disk->b);
		return 0;
	}
	/* It is not ours to say once more that a device is bad. */
	dmz_devs_close(devs);
	memset(m->devs, 0, sizeof(m->devs));
	m->nr_devs = 0;
	return ret;
}

static int disk_start(struct mnt *m, struct zerr *e)
{
	int ret;

	m->root_ino = DISK_ROOT_INO;
	m->disk = disk_new(&m->opts->zonefs);
	m->notify = m->disk ? notify_new(m) : NULL;
	if (!m->notify)
		return zerr_errno(e, ENOMEM, "%s", m->opts->device);
	ret = open_devices(m, e);
	return ret ? ret : open_block(m, e);
}

/* Reclaim by hand may have long to go. */
static void disk_stop(struct mnt *m)
{
	if (m->disk && m->disk->b)
		block_end_reclaim(m->disk->b);
}

static int disk_close(struct mnt *m)
{
	int ret;

	if (m->disk && m->disk->b)
		ret = block_close(m->disk->b);	/* and its devices */
	else
		ret = close_devices(m);
	if (m->disk) {
		pthread_mutex_destroy(&m->disk->lock);
		free(m->disk);
	}
	return ret;
}

/*
 * Without ATOMIC_O_TRUNC: with it the kernel takes the file for empty after each
 * open that says O_TRUNC, and a loop device on it would read nothing for a moment.
 */
static void disk_init(struct fuse_conn_info *conn)
{
	conn->want |= FUSE_CAP_ASYNC_DIO & conn->capable;
	conn->max_background = DISK_BACKGROUND;
}

/* ---- attributes ---- */

static void fill_disk(struct disk *d, struct stat *st)
{
	pthread_mutex_lock(&d->lock);
	st->st_mode = d->mode;
	st->st_uid = d->uid;
	st->st_gid = d->gid;
	st->st_atim = d->atime;
	st->st_mtim = d->mtime;
	st->st_ctim = d->ctime;
	pthread_mutex_unlock(&d->lock);
	st->st_nlink = 1;
	st->st_size = d->size;
	st->st_blocks = d->size / 512;
	st->st_blksize = DMZ_BLOCK_SIZE;
}

static void fill_root(const struct mnt *m, struct stat *st)
{
	st->st_mode = S_IFDIR | 0555;
	st->st_nlink = 2;
	st->st_uid = m->opts->zonefs.mounter_uid;
	st->st_gid = m->opts->zonefs.mounter_gid;
	pthread_mutex_lock(&m->disk->lock);
	st->st_atim = st->st_mtim = st->st_ctim = m->disk->ctime;
	pthread_mutex_unlock(&m->disk->lock);
}

static int disk_getattr(struct mnt *m, fuse_ino_t node, struct stat *st)
{
	uint64_t ino = ino_of(m, node);

	memset(st, 0, sizeof(*st));
	st->st_ino = node;
	if (ino == DISK_ROOT_INO)
		fill_root(m, st);
	else if (ino == DISK_INO)
		fill_disk(m->disk, st);
	else
		return -ENOENT;
	return 0;
}

/*
 * To 0 without a file is what the kernel makes of open(2) with O_TRUNC, the shell's
 * ">" for instance, which a block device ignores. truncate(2) looks the same.
 */
static bool may_set_size(const struct disk *d, uint64_t size, const struct fuse_file_info *fi)
{
	return size == d->size || (!size && !fi);
}

static void change_attrs(struct disk *d, const struct stat *st, int valid)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&d->lock);
	if (valid & FUSE_SET_ATTR_MODE)
		d->mode = S_IFREG | (st->st_mode & 07777);
	if (valid & FUSE_SET_ATTR_UID)
		d->uid = st->st_uid;
	if (valid & FUSE_SET_ATTR_GID)
		d->gid = st->st_gid;
	if (valid & FUSE_SET_ATTR_ATIME)
		d->atime = valid & FUSE_SET_ATTR_ATIME_NOW ? now : st->st_atim;
	if (valid & FUSE_SET_ATTR_MTIME)
		d->mtime = valid & FUSE_SET_ATTR_MTIME_NOW ? now : st->st_mtim;
	d->ctime = now;
	pthread_mutex_unlock(&d->lock);
}

/* Until the unmount, as with a device node. */
static void disk_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int valid,
			 struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct stat now;
	int ret = 0;

	if (ino_of(m, node) != DISK_INO)
		ret = -EPERM;
	else if (valid & FUSE_SET_ATTR_SIZE && !may_set_size(m->disk, st->st_size, fi))
		ret = -EINVAL;
	if (!ret) {
		change_attrs(m->disk, st, valid);
		ret = disk_getattr(m, node, &now);
	}
	if (ret)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_attr(req, &now, MNT_TIMEOUT);
}

/* Used is what has a zone; a loop device takes f_bsize as the grain of its discards. */
static void disk_statfs(struct mnt *m, struct statvfs *st)
{
	uint32_t nr_chunks = block_super(m->disk->b)->nr_chunks;
	struct block_stats bs;

	block_get_stats(m->disk->b, &bs);
	st->f_bsize = DMZ_BLOCK_SIZE;
	st->f_frsize = DMZ_BLOCK_SIZE;
	st->f_blocks = m->disk->size / DMZ_BLOCK_SIZE;
	if (nr_chunks > bs.mapped_chunks)
		st->f_bfree = st->f_blocks / nr_chunks * (nr_chunks - bs.mapped_chunks);
	st->f_bavail = st->f_bfree;
	st->f_files = 1;
	st->f_namemax = 255;
}

/* ---- names ---- */

static void fill_entry(struct mnt *m, uint64_t ino, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = node_of(m, ino);
	e->attr_timeout = MNT_TIMEOUT;
	e->entry_timeout = MNT_TIMEOUT;
	disk_getattr(m, e->ino, &e->attr);
}

static int disk_lookup(struct mnt *m, fuse_ino_t parent, const char *name,
		       struct fuse_entry_param *e)
{
	if (ino_of(m, parent) != DISK_ROOT_INO)
		return -ENOTDIR;
	if (strcmp(name, DISK_NAME))
		return strlen(name) > 255 ? -ENAMETOOLONG : -ENOENT;
	fill_entry(m, DISK_INO, e);
	return 0;
}

static int disk_readdir(struct mnt *m, fuse_ino_t node, uint64_t index, char buf[20],
			const char **name, struct fuse_entry_param *e)
{
	static const char *const names[] = { ".", "..", DISK_NAME };

	if (ino_of(m, node) != DISK_ROOT_INO)
		return -ENOTDIR;
	if (index > 2)
		return 0;
	*name = names[index];
	fill_entry(m, index == 2 ? DISK_INO : DISK_ROOT_INO, e);
	return 1;
}

static int disk_dirop(struct mnt *m, enum zonefs_dirop op, fuse_ino_t parent, const char *name)
{
	return -EPERM;
}

static int disk_rename(struct mnt *m, fuse_ino_t parent, const char *name,
		       fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	return -EPERM;
}

const struct format disk_format = {
	.name		= "dm-zoned",
	.block		= true,
	.open		= disk_start,
	.stop		= disk_stop,
	.close		= disk_close,
	.init		= disk_init,
	.getattr	= disk_getattr,
	.lookup		= disk_lookup,
	.readdir	= disk_readdir,
	.dirop		= disk_dirop,
	.rename		= disk_rename,
	.statfs		= disk_statfs,
	.setattr	= disk_setattr,
	.open_file	= disk_open,
	.release	= disk_release,
	.read		= disk_read,
	.write		= disk_write,
	.flush		= disk_flush,
	.fsync		= disk_fsync,
	.fallocate	= disk_fallocate,
	.copy		= disk_copy,
	.lseek		= disk_lseek,
	.entries	= block_ctl_entries,
	.commands	= block_ctl_commands,
};
