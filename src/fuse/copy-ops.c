/* SPDX-License-Identifier: BSD-2-Clause */
/* copy_file_range(2) between zone files of one mount. */
#include <errno.h>
#include <fcntl.h>

#include "fuse_i.h"

static void copy_reply(struct freq *f, ssize_t result)
{
	if (f->h->seq)
		handle_append_end(f->m, f->h);
	if (result < 0)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_write(f->req, result);
}

void zone_copy(fuse_req_t req, struct fuse_file_info *from, off_t src, fuse_ino_t node,
	       off_t pos, size_t len, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct freq *f;

	/*
	 * The kernel's zonefs has no such call either: the kernel splices, for good after
	 * this answer, and the data comes as reads and writes.
	 */
	if (m->opts->zonefs.strict) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	f = freq_new(m, req, copy_reply);
	if (!f)
		return;
	handle_settle(m, handle_of(from));
	handle_settle(m, h);
	f->h = h;
	f->off = pos;
	f->ino = ino_of(m, node);
	if (h->seq) {
		handle_append_begin(m, h);
		f->zr.done = zone_append_done;
	}
	/* With O_APPEND the kernel does not ask. */
	zonefs_copy(handle_of(from)->file, src, h->file, h->flags, pos, len, &f->zr);
	freq_submitted(f, true);
}
