/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file `disk` while it is open. Each request becomes one block_io, which works on
 * the memory that the request came in or will be answered from; the answer goes out
 * from its completion. None can be interrupted: they end as those of any disk do.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

/* Writes up to this are copied, so that many small ones need few large buffers. */
#define COPY_MAX	(16u << 10)
_Static_assert(COPY_MAX <= IOBUF_SMALL_SIZE, "a copied write fits a small buffer");
/* One copy request: it cannot be interrupted, and its client may want to end. */
#define COPY_RANGE_MAX	(64u << 20)

static void io_done(struct block_io *io)
{
	freq_finish((struct freq *)((char *)io - offsetof(struct freq, io)), io->result);
}

/* A request of op on the disk. NULL: it has been answered. */
static struct freq *io_freq(fuse_req_t req, struct handle *h, enum block_op op,
			    void (*reply)(struct freq *f, ssize_t result))
{
	struct freq *f = freq_new(fuse_req_userdata(req), req, reply);

	if (!f)
		return NULL;
	f->h = h;
	memset(&f->io, 0, sizeof(f->io));
	f->io.op = op;
	f->io.done = io_done;
	return f;
}

static void submit(struct freq *f)
{
	block_submit(f->m->disk->b, &f->io);
	freq_submitted(f, false);
}

/* ---- open and release ---- */

void disk_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_new();

	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	h->flags = fi->flags;
	h->writable = (fi->flags & O_ACCMODE) != O_RDONLY;
	h->mode = IO_DIRECT;
	atomic_store(&h->settled, true);
	atomic_store(&h->seen, atomic_load(&m->disk->errors));
	if (h->writable && (atomic_load(&m->disk->refuse_writes) ||
			    block_is_readonly(m->disk->b))) {
		free(h);
		fuse_reply_err(req, EROFS);
		return;
	}
	if (!handle_add(m, h, DISK_INO)) {
		free(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	transport_reply_open_parallel(req, fi);
}

void disk_release(fuse_req_t req, struct fuse_file_info *fi)
{
	handle_drop(fuse_req_userdata(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- late errors ---- */

void disk_late_error(struct disk *d)
{
	atomic_fetch_add(&d->errors, 1);
}

/* h has not been told of the last late error yet; now it is. */
static bool take_late_error(struct disk *d, struct handle *h)
{
	unsigned now = atomic_load(&d->errors);

	return h->writable && atomic_exchange(&h->seen, now) != now;
}

/* ---- data ---- */

void disk_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct freq *f = io_freq(req, handle_of(fi), BLOCK_READ, freq_reply_read);

	if (!f)
		return;
	f->buf = iobuf_get(m->pool, size <= IOBUF_SMALL_SIZE ? IOBUF_SMALL : IOBUF_LARGE);
	if (!f->buf || size > MNT_MAX_WRITE) {
		freq_fail(f, f->buf ? EINVAL : ENOMEM);
		return;
	}
	if ((uint64_t)off >= m->disk->size)
		size = 0;
	else if (size > m->disk->size - off)
		size = m->disk->size - off;
	if (!size) {
		freq_fail(f, 0);
		return;
	}
	f->iov = (struct iovec) { f->buf->data, size };
	f->io.iov = &f->iov;
	f->io.nr_iov = 1;
	f->io.pos = off;
	f->io.len = size;
	submit(f);
}

static void write_reply(struct freq *f, ssize_t result)
{
	if (result < 0)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_write(f->req, result);
	if (!f->buf_lent)
		iobuf_put(f->m->pool, f->buf);
}

/* Keep data for f, which waits: small in a buffer of its own, else where it came in. */
static const char *keep_data(struct freq *f, const char *data, size_t size)
{
	if (size > COPY_MAX) {
		f->buf = iobuf_of(data);
		f->buf_lent = true;
		return data;
	}
	f->buf = iobuf_get(f->m->pool, IOBUF_SMALL);
	return f->buf ? memcpy(f->buf->data, data, size) : NULL;
}

void disk_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct disk *d = m->disk;
	struct freq *f = io_freq(req, handle_of(fi), BLOCK_WRITE, write_reply);
	int err = 0;

	if (!f)
		return;
	if (atomic_load(&d->refuse_writes))
		err = EROFS;
	else if (size && (uint64_t)off >= d->size)
		err = ENOSPC;
	else if (size > d->size - off)
		size = d->size - off;
	if (!err && size && !(data = keep_data(f, data, size)))
		err = ENOMEM;
	if (err || !size) {
		freq_fail(f, err);
		return;
	}
	/* block_io has one type of iovec for both ways. */
	f->iov = (struct iovec) { (char *)data, size };
	f->io.iov = &f->iov;
	f->io.nr_iov = 1;
	f->io.pos = off;
	f->io.len = size;
	f->io.fua = fi->flags & (O_DSYNC | O_SYNC);
	submit(f);
}

/* ---- making it durable ---- */

/* What failed, others must hear of, too: they have written, and this flush was theirs. */
static void fsync_reply(struct freq *f, ssize_t result)
{
	struct disk *d = f->m->disk;

	if (result < 0 && result != -EROFS)
		disk_late_error(d);
	if (take_late_error(d, f->h) && result >= 0)
		result = -EIO;
	freq_reply_err(f, result);
}

void disk_fsync(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct freq *f = io_freq(req, handle_of(fi), BLOCK_FLUSH, fsync_reply);

	if (f)
		submit(f);
}

/* close(2) makes nothing durable, no more than that of a block device does. */
void disk_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);

	fuse_reply_err(req, take_late_error(m->disk, handle_of(fi)) ? EIO : 0);
}

/* ---- space ---- */

static void range_reply(struct freq *f, ssize_t result)
{
	freq_reply_err(f, result < 0 ? result : 0);
}

static void submit_range(fuse_req_t req, enum block_op op, uint64_t pos, uint64_t len,
			 struct fuse_file_info *fi)
{
	struct freq *f = io_freq(req, handle_of(fi), op, range_reply);

	if (!f)
		return;
	f->io.pos = pos;
	f->io.len = len;
	f->io.fua = handle_of(fi)->flags & (O_DSYNC | O_SYNC);
	submit(f);
}

/* The end of the disk cuts what keeps the size; what would change it has no room. */
void disk_fallocate(fuse_req_t req, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct disk *d = ((struct mnt *)fuse_req_userdata(req))->disk;
	uint64_t pos = off, end = pos + (uint64_t)len;
	int what = mode & ~FALLOC_FL_KEEP_SIZE;

	if (what && what != FALLOC_FL_PUNCH_HOLE && what != FALLOC_FL_ZERO_RANGE) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if (atomic_load(&d->refuse_writes) || block_is_readonly(d->b)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (end > d->size && !(mode & FALLOC_FL_KEEP_SIZE)) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	if (end > d->size)
		end = d->size;
	if (!what || pos >= end)	/* all of the disk has room */
		fuse_reply_err(req, 0);
	else
		submit_range(req, what == FALLOC_FL_PUNCH_HOLE ? BLOCK_DISCARD : BLOCK_ZERO,
			     pos, end - pos, fi);
}

static void copy_reply(struct freq *f, ssize_t result)
{
	if (result < 0)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_write(f->req, result);
}

void disk_copy(fuse_req_t req, struct fuse_file_info *from_fi, off_t src, fuse_ino_t node,
	       off_t pos, size_t len, struct fuse_file_info *fi)
{
	struct disk *d = ((struct mnt *)fuse_req_userdata(req))->disk;
	uint64_t from = src, to = pos, max = COPY_RANGE_MAX;
	struct freq *f = io_freq(req, handle_of(fi), BLOCK_COPY, copy_reply);
	int err = 0;

	if (!f)
		return;
	if (atomic_load(&d->refuse_writes))
		err = EROFS;
	else if (len && to >= d->size)
		err = ENOSPC;
	else if (from >= d->size)
		max = 0;
	if (!err && max) {
		max = max < d->size - to ? max : d->size - to;
		max = max < d->size - from ? max : d->size - from;
	}
	len = len < max ? len : max;
	if (!err && from < to + len && to < from + len)
		err = EINVAL;
	if (err || !len) {
		freq_fail(f, err);
		return;
	}
	f->io.src = from;
	f->io.pos = to;
	f->io.len = len;
	f->io.fua = handle_of(fi)->flags & (O_DSYNC | O_SYNC);
	submit(f);
}

/* A disk is data from its first byte to its last. */
int64_t disk_lseek(struct mnt *m, struct fuse_file_info *fi, off_t off, int whence)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off < 0 || (uint64_t)off >= m->disk->size)
		return -ENXIO;
	return whence == SEEK_DATA ? off : (int64_t)m->disk->size;
}
