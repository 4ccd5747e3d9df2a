/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of handlers. Control files branch off to ctl.c here, the rest goes to
 * the format of the device. Files that have a handle tell by it what they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
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

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	unsigned want = FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
			FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_READ;
	/*
	 * AUTO_INVAL_DATA would drop all pages of a file after each write, taking
	 * the new time for somebody else's; EXPLICIT_INVAL_DATA none when the size
	 * changes. HANDLE_KILLPRIV would leave clearing setuid bits to us; the
	 * kernel does it by SETATTR. Handles of NFS do not outlive a mount.
	 * Splicing would take data out of our buffers.
	 */
	unsigned refuse = FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_EXPLICIT_INVAL_DATA |
			  FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_ATOMIC_O_TRUNC |
			  FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_EXPORT_SUPPORT |
			  FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
			  FUSE_CAP_SPLICE_MOVE;
	struct mnt *m = userdata;

	conn->want |= want & conn->capable;
	conn->want &= ~refuse;
	if (conn->max_write > MNT_MAX_WRITE)
		conn->max_write = MNT_MAX_WRITE;
	m->format->init(conn);
	transport_init(m, conn);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct stat st;
	int ret;

	ret = node_is_ctl(node) ? ctl_getattr(m, node, &st) :
	      m->format->getattr(m, node, &st);
	if (ret)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_attr(req, &st, MNT_TIMEOUT);
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

	if (node_is_ctl(node))
		setattr_ctl(req, node, valid);
	else
		m->format->setattr(req, node, st, valid, fi);
}

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct mnt *m = fuse_req_userdata(req);
	struct statvfs st = { 0 };

	m->format->statfs(m, &st);
	fuse_reply_statfs(req, &st);
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (node_is_ctl(node))
		ctl_open(req, node, fi);
	else
		m->format->open_file(req, node, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);

	if (!h->ctl) {
		m->format->release(req, fi);
		return;
	}
	handle_drop(m, h);
	fuse_reply_err(req, 0);
}

static void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (handle_of(fi)->ctl)
		ctl_read(req, size, off, fi);
	else
		m->format->read(req, size, off, fi);
}

static void op_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size,
		     off_t off, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (handle_of(fi)->ctl)
		ctl_write(req, data, size, fi);
	else
		m->format->write(req, node, data, size, off, fi);
}

static void op_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (handle_of(fi)->ctl)
		fuse_reply_err(req, 0);
	else
		m->format->flush(req, node, fi);
}

static void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync,
		     struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (handle_of(fi)->ctl)
		fuse_reply_err(req, EINVAL);
	else
		m->format->fsync(req, node, fi);
}

static void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	int64_t ret = -EINVAL;

	if (!handle_of(fi)->ctl)
		ret = m->format->lseek(m, fi, off, whence);
	if (ret < 0)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_lseek(req, ret);
}

/* off and len are not negative, and their sum neither: the kernel has seen to that. */
static void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len,
			 struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	if (handle_of(fi)->ctl)
		fuse_reply_err(req, EOPNOTSUPP);
	else
		m->format->fallocate(req, mode, off, len, fi);
}

/* Neither are these. On EOPNOTSUPP the kernel copies by hand. */
static void op_copy_file_range(fuse_req_t req, fuse_ino_t node, off_t src,
			       struct fuse_file_info *from, fuse_ino_t to_node, off_t pos,
			       struct fuse_file_info *to, size_t len, int flags)
{
	struct mnt *m = fuse_req_userdata(req);

	if (!m->format->copy)
		fuse_reply_err(req, ENOSYS);
	else if (handle_of(from)->ctl || handle_of(to)->ctl)
		fuse_reply_err(req, EOPNOTSUPP);
	else
		m->format->copy(req, from, src, to_node, pos, len, to);
}

/*
 * No extended attributes: the kernel asks once, hears ENOSYS and never again,
 * which ls -l of many files feels. The same goes for ioctl and poll, and where the
 * format has none for fallocate and copy_file_range: ENOSYS makes the kernel answer
 * or do the right thing.
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
	.copy_file_range = op_copy_file_range,
};
