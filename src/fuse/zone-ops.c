/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The format zonefs: every zone is a file. Names and attributes, and how the file
 * system on the device is built up and torn down. Open files are in zone-file.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "ctl_i.h"

/* ---- life ---- */

static void on_attr_changed(void *ctx, uint64_t ino)
{
	struct mnt *m = ctx;

	notify_inode(m->notify, ino);
}

static void on_readonly(void *ctx)
{
	struct mnt *m = ctx;

	notify_readonly(m->notify);
}

/* Which inodes are sequential files, for the way they are opened. */
static int map_zones(struct mnt *m, struct zerr *e)
{
	struct zdev *dev = m->devs[0];
	const struct zdev_info *info = zdev_info(dev);
	struct zdev_zone zones[64];
	uint32_t zno, nr, i;
	int ret;

	m->seq_map = calloc(1, info->nr_zones / 8 + 1);
	if (!m->seq_map)
		return zerr_errno(e, ENOMEM, "%s", m->opts->device);
	for (zno = 0; zno < info->nr_zones; zno += nr) {
		nr = info->nr_zones - zno < 64 ? info->nr_zones - zno : 64;
		ret = zdev_report(dev, zno, nr, zones);
		if (ret)
			return zerr_errno(e, -ret, "%s: cannot report zones", m->opts->device);
		for (i = 0; i < nr; i++)
			if (zones[i].type != BLK_ZONE_TYPE_CONVENTIONAL)
				m->seq_map[(zno + i) / 8] |= 1u << (zno + i) % 8;
	}
	return 0;
}

/* The device is open already: it had to be looked at. */
static int fs_open(struct mnt *m, struct zerr *e)
{
	struct zonefs_events ev = {
		.attr_changed = on_attr_changed, .went_readonly = on_readonly, .ctx = m,
	};
	int ret;

	ret = map_zones(m, e);
	if (ret)
		return ret;
	m->root_ino = zdev_info(m->devs[0])->nr_zones;	/* Z4 */
	m->notify = notify_new(m);
	if (!m->notify)
		return zerr_errno(e, ENOMEM, "%s", m->opts->device);
	return zonefs_mount(m->devs[0], &m->opts->zonefs, &ev, m->log, &m->fs, e);
}

static void fs_stop(struct mnt *m)
{
	if (m->fs)
		zonefs_stop(m->fs);
}

static int fs_close(struct mnt *m)
{
	int ret = m->fs ? zonefs_unmount(m->fs) : 0, err;

	err = zdev_close(m->devs[0]);
	free(m->seq_map);
	return ret ? ret : err;
}

static void fs_init(struct fuse_conn_info *conn)
{
	/*
	 * ASYNC_DIO sends the parts of one large direct write at once, and they
	 * would reach the zone in any order (Z16.2).
	 */
	conn->want |= FUSE_CAP_ATOMIC_O_TRUNC & conn->capable;
	conn->want &= ~FUSE_CAP_ASYNC_DIO;
	conn->max_background = 64;
}

/* ---- attributes ---- */

static void fill_stat(struct mnt *m, const struct zonefs_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->ino;
	st->st_size = ino_is_seq(m, a->ino) ? handle_shown_size(m, a->ino, a->size) : a->size;
	st->st_blocks = a->blocks;
	st->st_blksize = a->blksize;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_atim = a->atime;
	st->st_mtim = a->mtime;
	st->st_ctim = a->ctime;
}

static void fill_entry(struct mnt *m, const struct zonefs_attr *a,
		       struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = node_of(m, a->ino);
	e->attr_timeout = MNT_TIMEOUT;
	e->entry_timeout = MNT_TIMEOUT;
	fill_stat(m, a, &e->attr);
}

static int fs_getattr(struct mnt *m, fuse_ino_t node, struct stat *st)
{
	struct zonefs_attr attr;
	int ret = zonefs_getattr(m->fs, ino_of(m, node), &attr);

	if (!ret)
		fill_stat(m, &attr, st);
	return ret;
}

static void setattr_reply(struct freq *f, ssize_t result)
{
	struct zonefs_attr attr;
	struct stat st;

	if (!result)
		result = zonefs_getattr(f->m->fs, f->ino, &attr);
	if (result) {
		fuse_reply_err(f->req, -result);
		return;
	}
	fill_stat(f->m, &attr, &st);
	fuse_reply_attr(f->req, &st, MNT_TIMEOUT);
}

static void setattr_args(struct zonefs_setattr_args *set, const struct stat *st,
			 int valid)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	set->valid = (valid & FUSE_SET_ATTR_SIZE ? ZONEFS_SET_SIZE : 0) |
		     (valid & FUSE_SET_ATTR_MODE ? ZONEFS_SET_MODE : 0) |
		     (valid & FUSE_SET_ATTR_UID ? ZONEFS_SET_UID : 0) |
		     (valid & FUSE_SET_ATTR_GID ? ZONEFS_SET_GID : 0) |
		     (valid & FUSE_SET_ATTR_ATIME ? ZONEFS_SET_ATIME : 0) |
		     (valid & FUSE_SET_ATTR_MTIME ? ZONEFS_SET_MTIME : 0) |
		     (valid & FUSE_SET_ATTR_CTIME ? ZONEFS_SET_CTIME : 0);
	set->size = st->st_size;
	set->mode = st->st_mode;
	set->uid = st->st_uid;
	set->gid = st->st_gid;
	set->atime = valid & FUSE_SET_ATTR_ATIME_NOW ? now : st->st_atim;
	set->mtime = valid & FUSE_SET_ATTR_MTIME_NOW ? now : st->st_mtim;
	set->ctime = st->st_ctim;
}

static void fs_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int valid,
		       struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct freq *f;

	f = freq_new(m, req, setattr_reply);
	if (!f)
		return;
	f->ino = ino_of(m, node);
	setattr_args(&f->set, st, valid);
	if (fi)
		f->set.file = handle_of(fi)->file;
	zonefs_setattr(m->fs, f->ino, &f->set, &f->zr);
	freq_submitted(f, true);
}

static void fs_statfs(struct mnt *m, struct statvfs *st)
{
	struct zonefs_statfs z;

	zonefs_statfs(m->fs, &z);
	st->f_bsize = z.block_size;
	st->f_frsize = z.block_size;
	st->f_blocks = z.blocks;
	st->f_bfree = z.bfree;
	st->f_bavail = z.bfree;
	st->f_files = z.files;
	st->f_namemax = z.namelen;
}

/* ---- names ---- */

static int fs_lookup(struct mnt *m, fuse_ino_t parent, const char *name,
		     struct fuse_entry_param *e)
{
	struct zonefs_attr attr;
	int ret = zonefs_lookup(m->fs, ino_of(m, parent), name, &attr);

	if (!ret)
		fill_entry(m, &attr, e);
	return ret;
}

static int fs_readdir(struct mnt *m, fuse_ino_t node, uint64_t index, char buf[20],
		      const char **name, struct fuse_entry_param *e)
{
	struct zonefs_attr attr;
	int ret = zonefs_readdir(m->fs, ino_of(m, node), index, buf, &attr);

	if (ret > 0) {
		fill_entry(m, &attr, e);
		*name = buf;
	}
	return ret;
}

static int fs_dirop(struct mnt *m, enum zonefs_dirop op, fuse_ino_t parent, const char *name)
{
	return zonefs_dirop(m->fs, op, ino_of(m, parent), name);
}

static int fs_rename(struct mnt *m, fuse_ino_t parent, const char *name,
		     fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	return zonefs_rename(m->fs, ino_of(m, parent), name, ino_of(m, new_parent),
			     new_name, flags);
}

const struct format zone_format = {
	.name		= "zonefs",
	.open		= fs_open,
	.stop		= fs_stop,
	.close		= fs_close,
	.init		= fs_init,
	.getattr	= fs_getattr,
	.lookup		= fs_lookup,
	.readdir	= fs_readdir,
	.dirop		= fs_dirop,
	.rename		= fs_rename,
	.statfs		= fs_statfs,
	.setattr	= fs_setattr,
	.open_file	= zone_open,
	.release	= zone_release,
	.read		= zone_read,
	.write		= zone_write,
	.flush		= zone_flush,
	.fsync		= zone_fsync,
	.fallocate	= zone_fallocate,
	.copy		= zone_copy,
	.lseek		= zone_lseek,
	.entries	= zone_ctl_entries,
	.commands	= zone_ctl_commands,
};
