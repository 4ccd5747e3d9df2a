/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files of the format zonefs: each handler hands the request to zonefs and
 * returns; the reply functions answer when zonefs is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fuse_i.h"

/* ---- open and release ---- */

static void open_reply(struct freq *f, ssize_t result)
{
	struct handle *h = f->h;

	if (result) {
		handle_drop(f->m, h);
		fuse_reply_err(f->req, -result);
		return;
	}
	/*
	 * Writers of a sequential file go past the page cache: each write(2) must
	 * reach the zone as it is, and a failing one must not make the client
	 * truncate the file (Z16.3). Readers use the cache, which is what shared
	 * maps need (Z16.7). A conventional file changes through the cache alone,
	 * so its pages are good until it is forgotten.
	 */
	f->fi.direct_io = h->mode == IO_DIRECT || h->mode == IO_PASS_DIRECT;
	f->fi.keep_cache = !h->seq;
	f->fi.fh = (uintptr_t)h;
	/* If this fails, the connection is gone: handle_drop_all finds the file. */
	if (h->mode == IO_PASS || h->mode == IO_PASS_DIRECT)
		transport_reply_open(f->req, &f->fi, h->node->backing_id);
	else
		fuse_reply_open(f->req, &f->fi);
}

/* zonefs has opened the file. */
static void open_done(struct zonefs_req *zr, ssize_t result)
{
	struct freq *f = (struct freq *)zr;	/* zr comes first */
	struct handle *h = f->h;
	struct mnt *m = f->m;

	if (result) {
		freq_finish(f, result);
		return;
	}
	/* The client must not answer its reads itself, by the size that it knows (Z7). */
	h->barred = zonefs_file_is_barred(h->file);
	if (h->seq) {
		freq_past_cancel(f);
		pass_open(f);
		return;
	}
	pthread_mutex_lock(&m->lock);
	handle_set_mode(m, h, h->barred ? IO_DIRECT : IO_CACHED);
	pthread_mutex_unlock(&m->lock);
	freq_finish(f, 0);
}

/*
 * O_TRUNC comes with the open, but the client does not say then whether the process has
 * CAP_FSETID, as it does of other changes by clearing the bits itself.
 */
static int open_flags(fuse_req_t req, int flags)
{
	return fuse_req_ctx(req)->uid ? flags | ZONEFS_O_DROP_SUID : flags;
}

void zone_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h;
	struct freq *f;

	f = freq_new(m, req, open_reply);
	if (!f)
		return;
	f->ino = ino_of(m, node);
	f->fi = *fi;
	h = handle_new();
	if (h) {
		h->flags = fi->flags;
		h->seq = ino_is_seq(m, f->ino);
		h->writable = (fi->flags & O_ACCMODE) != O_RDONLY;
	}
	if (!h || !handle_add(m, h, f->ino)) {
		free(h);
		f->reply = freq_reply_err;
		freq_fail(f, ENOMEM);
		return;
	}
	f->h = h;
	f->zr.done = open_done;
	zonefs_open(m->fs, f->ino, open_flags(req, fi->flags), &h->file, &f->zr);
	freq_submitted(f, true);
}

static void release_reply(struct freq *f, ssize_t result)
{
	handle_drop(f->m, f->h);
	fuse_reply_err(f->req, 0);
}

void zone_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct freq *f;

	/* Short of memory: the file stays open in zonefs until the unmount. */
	f = freq_new(m, req, release_reply);
	if (!f)
		return;
	f->h = h;
	zonefs_release(h->file, &f->zr);
	freq_submitted(f, false);
}

/* ---- data ---- */

void zone_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct freq *f;

	f = freq_new(m, req, freq_reply_read);
	if (!f)
		return;
	handle_settle(m, h);
	f->buf = iobuf_get(m->pool, size < IOBUF_LARGE_MIN ? IOBUF_RECEIVE : IOBUF_LARGE);
	if (!f->buf || size > MNT_MAX_WRITE) {
		freq_fail(f, f->buf ? EINVAL : ENOMEM);
		return;
	}
	zonefs_read(h->file, fi->flags, f->buf->data, size, off, &f->zr);
	freq_submitted(f, true);
}

static void write_reply(struct freq *f, ssize_t result)
{
	if (f->h->seq)
		handle_append_end(f->m, f->h);
	if (result < 0)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_write(f->req, result);
	if (!f->buf_lent)
		iobuf_put(f->m->pool, f->buf);
}

void zone_append_done(struct zonefs_req *zr, ssize_t result)
{
	struct freq *f = (struct freq *)zr;	/* zr comes first */
	struct zonefs_attr attr;

	if (result >= 0 && (!result || !atomic_load(&f->h->node->nr_cached))) {
		freq_finish(f, result);
		return;
	}
	/*
	 * An append lands at the end, whatever offset the client believed in; a
	 * failed one may have landed in part.
	 */
	if (result < 0 || zonefs_getattr(f->m->fs, f->ino, &attr))
		f->off = 0;
	else if (attr.size - result < f->off)
		f->off = attr.size - result;
	freq_past_cancel(f);
	/*
	 * The kernel may have to read a page before it can drop it, and to receive
	 * that READ takes a buffer: whoever waits for the kernel keeps none.
	 */
	freq_drop_buf(f);
	notify_then_finish(f->m->notify, f, result);
}

void zone_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct freq *f;
	int flags;

	f = freq_new(m, req, write_reply);
	if (!f)
		return;
	handle_settle(m, h);
	f->h = h;
	f->off = off;
	f->ino = ino_of(m, node);
	f->buf = iobuf_of(data);
	f->buf_lent = true;
	/* Write-back of a shared map carries no access mode. */
	flags = (fi->flags & ~O_ACCMODE) | (h->flags & O_ACCMODE);
	if (h->seq) {
		handle_append_begin(m, h);
		f->zr.done = zone_append_done;
	}
	zonefs_write(h->file, flags, data, size, off, &f->zr);
	freq_submitted(f, true);
}

/* Bytes that were acknowledged are lost: the kernel forgets them before this is told. */
static void sync_done(struct zonefs_req *zr, ssize_t result)
{
	struct freq *f = (struct freq *)zr;	/* zr comes first */

	if (result >= 0 || !f->h->seq) {
		freq_finish(f, result);
		return;
	}
	freq_past_cancel(f);
	notify_then_finish(f->m->notify, f, result);
}

/* A request to make the file's data safe. NULL: it has been answered. */
static struct freq *sync_freq(fuse_req_t req, fuse_ino_t node, struct handle *h)
{
	struct mnt *m = fuse_req_userdata(req);
	struct freq *f = freq_new(m, req, freq_reply_err);

	if (!f)
		return NULL;
	f->h = h;
	f->ino = ino_of(m, node);
	f->zr.done = sync_done;
	return f;
}

void zone_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct freq *f;

	f = sync_freq(req, node, h);
	if (!f)
		return;
	zonefs_flush(h->file, &f->zr);
	/* Strict keeps nothing back that a close would have to wait for. */
	f->closes = !f->m->opts->zonefs.strict;
	freq_submitted(f, f->closes);
}

void zone_fsync(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct freq *f;

	f = sync_freq(req, node, h);
	if (!f)
		return;
	zonefs_fsync(h->file, &f->zr);
	freq_submitted(f, true);
}

int64_t zone_lseek(struct mnt *m, struct fuse_file_info *fi, off_t off, int whence)
{
	return zonefs_lseek(handle_of(fi)->file, off, whence);
}

void zone_fallocate(fuse_req_t req, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	fuse_reply_err(req, -zonefs_fallocate(handle_of(fi)->file,
					      (uint64_t)off + (uint64_t)len));
}
