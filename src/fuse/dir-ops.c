/* SPDX-License-Identifier: BSD-2-Clause */
/* Names: lookup, directory listings, and all that would change a directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_i.h"
#include "zonefsd/mounted.h"

static bool is_ctl_name(fuse_ino_t parent, const char *name)
{
	return parent == FUSE_ROOT_ID && !strcmp(name, ZONEFSD_CTLDIR);
}

static void lookup_ctl(fuse_req_t req, const struct mnt *m, const char *name)
{
	struct fuse_entry_param e = {
		.attr_timeout = MNT_TIMEOUT, .entry_timeout = MNT_TIMEOUT,
	};
	int ret;

	ret = ctl_lookup(m, name, &e.attr);
	if (ret) {
		fuse_reply_err(req, -ret);
		return;
	}
	e.ino = e.attr.st_ino;
	fuse_reply_entry(req, &e);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mnt *m = fuse_req_userdata(req);
	struct fuse_entry_param e = { .entry_timeout = MNT_TIMEOUT };
	int ret;

	if (is_ctl_name(parent, name) || node_is_ctl(parent)) {
		lookup_ctl(req, m, node_is_ctl(parent) ? name : ".");
		return;
	}
	ret = m->format->lookup(m, parent, name, &e);
	/* ino 0: the kernel may remember that there is no such name. */
	if (!ret || ret == -ENOENT)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, -ret);
}

void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	/* The names never change. */
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/*
 * The entry at index into e: 1, 0 at the end, -errno. *name points to buf or to
 * a constant.
 */
static int get_entry(struct mnt *m, fuse_ino_t node, uint64_t index, char buf[20],
		     const char **name, struct fuse_entry_param *e)
{
	if (node_is_ctl(node)) {
		memset(e, 0, sizeof(*e));
		*name = ctl_readdir(m, index, &e->attr);
		e->ino = e->attr.st_ino;
		return *name != NULL;
	}
	return m->format->readdir(m, node, index, buf, name, e);
}

/* off is the index of the first entry wanted (Z4). */
static void read_entries(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
			 bool plus)
{
	struct mnt *m = fuse_req_userdata(req);
	struct fuse_entry_param e;
	size_t used = 0, len;
	const char *name;
	char *out, buf[20];
	int ret;

	if (size > MNT_MAX_WRITE)
		size = MNT_MAX_WRITE;
	out = malloc(size);
	if (!out) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (;; off++, used += len) {
		ret = get_entry(m, node, off, buf, &name, &e);
		if (ret <= 0)
			break;
		len = plus ? fuse_add_direntry_plus(req, out + used, size - used, name,
						    &e, off + 1)
			   : fuse_add_direntry(req, out + used, size - used, name,
					       &e.attr, off + 1);
		if (len > size - used)
			break;
	}
	if (ret < 0 && !used)
		fuse_reply_err(req, -ret);
	else
		fuse_reply_buf(req, out, used);
	free(out);
}

void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	read_entries(req, node, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	read_entries(req, node, size, off, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync,
		 struct fuse_file_info *fi)
{
	fuse_reply_err(req, EINVAL);	/* Z9 */
}

/* ---- what would change a directory: nothing may, only the errno differs (Z11) ---- */

static void refuse(fuse_req_t req, enum zonefs_dirop op, fuse_ino_t parent,
		   const char *name)
{
	struct mnt *m = fuse_req_userdata(req);
	int ret = -EPERM;

	if (!node_is_ctl(parent) && !is_ctl_name(parent, name))
		ret = m->format->dirop(m, op, parent, name);
	fuse_reply_err(req, ret < 0 ? -ret : EPERM);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	refuse(req, ZONEFS_CREATE, parent, name);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	refuse(req, ZONEFS_CREATE, parent, name);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	refuse(req, ZONEFS_CREATE, parent, name);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	refuse(req, ZONEFS_CREATE, parent, name);
}

void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
	refuse(req, ZONEFS_CREATE, parent, name);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	refuse(req, ZONEFS_UNLINK, parent, name);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	refuse(req, ZONEFS_RMDIR, parent, name);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct mnt *m = fuse_req_userdata(req);
	int ret = -EPERM;

	if (!node_is_ctl(parent) && !node_is_ctl(new_parent) &&
	    !is_ctl_name(parent, name) && !is_ctl_name(new_parent, new_name))
		ret = m->format->rename(m, parent, name, new_parent, new_name, flags);
	fuse_reply_err(req, -ret);
}
