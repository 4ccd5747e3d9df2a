/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of handlers, and those that deal with the whole mount or attributes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "fuse_i.h"

/* dirfd with an empty path, or a path. Sends no request. */
static dev_t st_dev_of(int dirfd, const char *path)
{
	const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
	struct statx stx;

	if (statx(dirfd, path, flags, 0, &stx))
		return 0;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}

dev_t mnt_st_dev(const char *mountpoint)
{
	return st_dev_of(AT_FDCWD, mountpoint);
}

/* fd, or -ESTALE when it is of another file system. */
static int if_ours(const struct mnt *m, int fd)
{
	if (fd < 0)
		return -errno;
	if (m->st_dev && st_dev_of(fd, "") == m->st_dev)
		return fd;
	close(fd);
	return -ESTALE;
}

/* An O_PATH open of a root asks its file system nothing. */
int mnt_open(const struct mnt *m)
{
	return if_ours(m, open(m->opts->mountpoint,
			       O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int mnt_clone(const struct mnt *m)
{
	return if_ours(m, open_tree(AT_FDCWD, m->opts->mountpoint,
				    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				    AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW));
}

void mnt_fill_stat(struct mnt *m, const struct zonefs_attr *a, struct stat *st)
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

void mnt_fill_entry(struct mnt *m, const struct zonefs_attr *a,
		    struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = node_of(m, a->ino);
	e->attr_timeout = MNT_TIMEOUT;
	e->entry_timeout = MNT_TIMEOUT;
	mnt_fill_stat(m, a, &e->attr);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	unsigned want = FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
			FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ATOMIC_O_TRUNC |
			FUSE_CAP_ASYNC_READ;
	/*
	 * ASYNC_DIO sends the parts of one large direct write at once, and they
	 * would reach the zone in any order (Z16.2). AUTO_INVAL_DATA would drop
	 * all pages of a file after each write, taking the new time for somebody
	 * else's; EXPLICIT_INVAL_DATA none when the size changes. HANDLE_KILLPRIV
	 * would leave clearing setuid bits to us; the kernel does it by SETATTR.
	 * Handles of NFS do not outlive a mount. Splicing would take data out of
	 * our buffers.
	 */
	unsigned refuse = FUSE_CAP_ASYNC_DIO | FUSE_CAP_AUTO_INVAL_DATA |
			  FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV |
			  FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_EXPORT_SUPPORT |
			  FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
			  FUSE_CAP_SPLICE_MOVE;

	conn->want |= want & conn->capable;
	conn->want &= ~refuse;
	if (conn->max_write > MNT_MAX_WRITE)
		conn->max_write = MNT_MAX_WRITE;
	conn->max_background = 64;
	transport_init(userdata, conn);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct zonefs_attr attr;
	struct stat st;
	int ret;

	if (node_is_ctl(node)) {
		ret = ctl_getattr(m, node, &st);
	} else {
		ret = zonefs_getattr(m->fs, ino_of(m, node), &attr);
		if (!ret)
			mnt_fill_stat(m, &attr, &st);
	}
	if (ret)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_attr(req, &st, MNT_TIMEOUT);
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
	mnt_fill_stat(f->m, &attr, &st);
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

/* Control files take a truncation, for "echo reset 1 >ctl", and nothing else. */
static void setattr_ctl(fuse_req_t req, fuse_ino_t node, int valid)
{
	struct stat st;
	int ret;

	ret = ctl_getattr(fuse_req_userdata(req), node, &st);
	if (!ret && valid & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		ret = -EPERM;
	if (ret)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_attr(req, &st, MNT_TIMEOUT);
}

static void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int valid,
		       struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct freq *f;

	if (node_is_ctl(node)) {
		setattr_ctl(req, node, valid);
		return;
	}
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

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct mnt *m = fuse_req_userdata(req);
	struct zonefs_statfs z;
	struct statvfs st = { 0 };

	zonefs_statfs(m->fs, &z);
	st.f_bsize = z.block_size;
	st.f_frsize = z.block_size;
	st.f_blocks = z.blocks;
	st.f_bfree = z.bfree;
	st.f_bavail = z.bfree;
	st.f_files = z.files;
	st.f_namemax = z.namelen;
	fuse_reply_statfs(req, &st);
}

/*
 * No extended attributes: the kernel asks once, hears ENOSYS and never again,
 * which ls -l of many files feels. The same goes for ioctl, poll and
 * copy_file_range, and fallocate but in strict mode, where ENOSYS makes the kernel answer or do the right thing.
 */
const struct fuse_lowlevel_ops mnt_ops = {
	.init		= op_init,
	.getattr	= op_getattr,
	.setattr	= op_setattr,
	.statfs		= op_statfs,
	.lookup		= op_lookup,
	.opendir	= op_opendir,
	.readdir	= op_readdir,
	.readdirplus	= op_readdirplus,
	.fsyncdir	= op_fsyncdir,
	.mknod		= op_mknod,
	.mkdir		= op_mkdir,
	.create		= op_create,
	.symlink	= op_symlink,
	.link		= op_link,
	.unlink		= op_unlink,
	.rmdir		= op_rmdir,
	.rename		= op_rename,
	.open		= op_open,
	.read		= op_read,
	.write		= op_write,
	.flush		= op_flush,
	.release	= op_release,
	.fsync		= op_fsync,
	.lseek		= op_lseek,
	.fallocate	= op_fallocate,
};
