/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data and flushes of a block device, by libaio on a descriptor with O_DIRECT.
 * Each operation in flight has a slot, of which there are as many as the device
 * takes requests, lest io_submit waits for one; the rest wait here. A descriptor
 * without O_DIRECT would have io_submit wait for all: there workers do each part.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blk_i.h"

#define BATCH		32	/* completions taken at a time */
#define PAGE		4096

/* ---- buffers ---- */

static bool fits(const struct blk *b, const struct zdev_io *io)
{
	int i;

	if (io->nr_iov > BLK_IOV)
		return false;
	for (i = 0; i < io->nr_iov; i++)
		if ((uintptr_t)io->iov[i].iov_base % b->p.mem_align ||
		    io->iov[i].iov_len % b->p.block_size)
			return false;
	return true;
}

/* Copy the first len bytes of the iov to buf, or from it. */
static void copy_iov(const struct zdev_io *io, char *buf, size_t len, bool to_buf)
{
	size_t n;
	int i;

	for (i = 0; i < io->nr_iov && len; i++, buf += n, len -= n) {
		n = io->iov[i].iov_len < len ? io->iov[i].iov_len : len;
		memcpy(to_buf ? buf : io->iov[i].iov_base, to_buf ? io->iov[i].iov_base : buf, n);
	}
}

/* Zero what lies behind the first `from` bytes. */
static void zero_rest(const struct zdev_io *io, size_t from)
{
	int i;

	for (i = 0; i < io->nr_iov; i++) {
		if (from < io->iov[i].iov_len) {
			memset((char *)io->iov[i].iov_base + from, 0, io->iov[i].iov_len - from);
			from = 0;
		} else {
			from -= io->iov[i].iov_len;
		}
	}
}

/* Point s->iov at `len` bytes from `from` on. Returns how many pieces that takes. */
static int slice(struct blk_slot *s, size_t from, size_t len)
{
	const struct zdev_io *io = s->io;
	int i, n = 0;

	if (s->bounce) {
		s->iov[0] = (struct iovec) { .iov_base = s->bounce + from, .iov_len = len };
		return 1;
	}
	for (i = 0; i < io->nr_iov && len; i++) {
		size_t have = io->iov[i].iov_len;

		if (from >= have) {
			from -= have;
			continue;
		}
		have = have - from < len ? have - from : len;
		s->iov[n++] = (struct iovec) {
			.iov_base = (char *)io->iov[i].iov_base + from, .iov_len = have,
		};
		from = 0;
		len -= have;
	}
	return n;
}

/* ---- to the device ---- */

static bool is_ordered(const struct blk *b, const struct zdev_io *io)
{
	return io->op != ZDEV_READ && io->op != ZDEV_FLUSH && blk_is_seq(b, io->zno);
}

static void prepare(struct blk *b, struct blk_slot *s)
{
	const struct zdev_io *io = s->io;
	int nr;

	if (io->op == ZDEV_FLUSH) {
		io_prep_fdsync(&s->cb, b->p.fd);
		s->cb.data = s;
		return;
	}
	/* The kernel would cut a large write, and have its pieces in flight together. */
	s->part = s->len - s->done;
	if (is_ordered(b, io) && s->part > b->p.max_write)
		s->part = b->p.max_write;
	nr = slice(s, s->done, s->part);
	if (io->op == ZDEV_READ)
		io_prep_preadv(&s->cb, b->p.fd, s->iov, nr,
			       (long long)(blk_zone_start(b, io->zno) + io->pos + s->done));
	else
		io_prep_pwritev(&s->cb, b->p.fd, s->iov, nr,
				(long long)(blk_zone_start(b, io->zno) + io->pos + s->done));
	if (io->fua && io->op != ZDEV_READ)
		s->cb.aio_rw_flags = RWF_DSYNC;
	s->cb.data = s;
}

static void submit(struct blk *b, struct blk_slot *s)
{
	struct iocb *cb = &s->cb;
	int ret;

	prepare(b, s);
	if (b->p.buffered) {
		blk_queue_slot(b, s);
		return;
	}
	/* The reaper's load of it orders what we wrote to *s before what it reads. */
	atomic_fetch_add_explicit(&b->submits, 1, memory_order_release);
	do
		ret = io_submit(b->aio, 1, &cb);
	while (ret == -EINTR);
	if (ret == 1)
		return;
	/* Not completed here: each would start the next one, deeper on the stack. */
	s->res = ret == -EAGAIN || !ret ? -ENOMEM : ret;
	blk_queue_slot(b, s);
}

/* Start io in slot s. Its length is checked, a write has its place. */
static void start(struct blk *b, struct blk_slot *s, struct zdev_io *io)
{
	s->io = io;
	s->done = 0;
	s->part = 0;
	s->res = 0;
	s->bounce = NULL;
	if (io->op == ZDEV_FLUSH) {
		s->flush = blk_tail_flush_begins(b);
	} else if (!fits(b, io)) {
		s->bounce = aligned_alloc(PAGE, (s->len + PAGE - 1) & ~(size_t)(PAGE - 1));
		if (!s->bounce) {
			s->res = -ENOMEM;
			blk_queue_slot(b, s);
			return;
		}
		if (io->op != ZDEV_READ)
			copy_iov(io, s->bounce, s->len, true);
	}
	submit(b, s);
}

/*
 * How much of io the device is asked for. A read ends at the write pointer: some
 * devices fail what lies behind it. 0: nothing, or -EIO.
 */
static ssize_t ask_length(struct blk *b, const struct zdev_io *io)
{
	uint64_t end;
	uint8_t cond;

	if (io->op == ZDEV_FLUSH)
		return 0;
	pthread_mutex_lock(&b->lock);
	end = b->zones[io->zno].wp;
	cond = b->zones[io->zno].cond;
	pthread_mutex_unlock(&b->lock);
	if (cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	if (io->op == ZDEV_READ && blk_is_seq(b, io->zno)) {
		if (io->pos >= end)
			return 0;
		return end - io->pos < io->len ? (ssize_t)(end - io->pos) : (ssize_t)io->len;
	}
	if (io->op == ZDEV_WRITE && !blk_is_seq(b, io->zno) && cond != BLK_ZONE_COND_NOT_WP)
		return -EIO;
	return (ssize_t)io->len;
}

/* A slot for io, or it waits for one: NULL. */
static struct blk_slot *get_slot(struct blk *b, struct zdev_io *io)
{
	struct blk_slot *s;

	pthread_mutex_lock(&b->lock);
	s = b->unused;
	if (s)
		b->unused = s->next;
	else
		zdev_fifo_push(&b->no_slot, io);
	pthread_mutex_unlock(&b->lock);
	return s;
}

static void start_if_slot(struct blk *b, struct zdev_io *io)
{
	struct blk_slot *s = get_slot(b, io);

	if (!s)
		return;
	s->len = (size_t)(uintptr_t)io->priv;
	start(b, s, io);
}

void blk_io_start(struct blk *b, struct zdev_io *io)
{
	ssize_t len = ask_length(b, io);

	if (len > 0 || io->op == ZDEV_FLUSH) {
		io->priv = (void *)(uintptr_t)len;
		start_if_slot(b, io);
		return;
	}
	if (!len) {
		zero_rest(io, 0);
		len = (ssize_t)io->len;
	}
	zdev_complete(io, len);
}

bool blk_io_write(struct blk *b, struct zdev_io *io)
{
	io->result = blk_zone_take_write(b, io);
	if (io->result)
		return false;
	io->priv = (void *)(uintptr_t)io->len;
	start_if_slot(b, io);
	return true;
}

/* ---- from the device ---- */

static const char *name_of(enum zdev_op op)
{
	return op == ZDEV_READ ? "read" : op == ZDEV_FLUSH ? "flush" : "write";
}

/* The outcome for the caller, taken over into the zone. */
static ssize_t conclude(struct blk *b, struct blk_slot *s, ssize_t ret)
{
	struct zdev_io *io = s->io;

	if (ret < 0)
		ret = blk_failed(b, io->zno, name_of(io->op), ret);
	if (is_ordered(b, io)) {
		blk_zone_end_write(b, io, ret);
	} else if (ret < 0 && io->op != ZDEV_FLUSH && !b->p.regular) {
		pthread_mutex_lock(&b->lock);
		b->zones[io->zno].stale = true;
		pthread_mutex_unlock(&b->lock);
	}
	if (ret < 0)
		return ret;
	if (io->op == ZDEV_FLUSH) {
		blk_tail_flush_ended(b, s->flush);
		return 0;
	}
	if (io->op == ZDEV_READ) {
		if (s->bounce)
			copy_iov(io, s->bounce, s->len, false);
		zero_rest(io, s->len);
	}
	return (ssize_t)io->len;
}

/* Give s to the next that waits for one, or back. */
static void put_slot(struct blk *b, struct blk_slot *s)
{
	struct zdev_io *io;

	free(s->bounce);
	s->bounce = NULL;
	pthread_mutex_lock(&b->lock);
	io = zdev_fifo_pop(&b->no_slot);
	if (!io) {
		s->next = b->unused;
		b->unused = s;
	}
	pthread_mutex_unlock(&b->lock);
	if (!io)
		return;
	s->len = (size_t)(uintptr_t)io->priv;
	start(b, s, io);
}

/* The operation of slot s is over: ret is 0 or -errno. */
static void end(struct blk *b, struct blk_slot *s, ssize_t ret)
{
	struct zdev_io *io = s->io;
	bool ordered = is_ordered(b, io);
	uint32_t zno = io->zno;

	ret = conclude(b, s, ret);
	put_slot(b, s);
	zdev_complete(io, ret);
	if (ordered)
		blk_queue_next(b, zno);
}

/* An event: res is bytes or -errno of the part in flight. */
static void arrived(struct blk *b, struct blk_slot *s, ssize_t res)
{
	/*
	 * A direct transfer ends early only where the device fails or ends. One of a
	 * file may find the disk full: the next call for the rest says so.
	 */
	if (res >= 0 && (size_t)res != s->part && !(res && b->p.is_file))
		res = -EIO;
	if (res > 0)
		s->done += (size_t)res;
	if (res >= 0 && s->done < s->len)
		submit(b, s);
	else
		end(b, s, res < 0 ? res : 0);
}

/* What the kernel would do with the prepared s->cb. */
static ssize_t move_part(struct blk *b, struct blk_slot *s)
{
	const struct zdev_io *io = s->io;
	int nr = (int)s->cb.u.c.nbytes;
	off_t off = s->cb.u.c.offset;
	ssize_t ret;

	do {
		if (io->op == ZDEV_FLUSH)
			ret = fdatasync(b->p.fd);
		else if (io->op == ZDEV_READ)
			ret = preadv(b->p.fd, s->iov, nr, off);
		else
			ret = pwritev2(b->p.fd, s->iov, nr, off, io->fua ? RWF_DSYNC : 0);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

void blk_io_slot(struct blk *b, struct blk_slot *s)
{
	if (s->res)
		end(b, s, s->res);
	else
		arrived(b, s, move_part(b, s));
}

void *blk_io_reap(void *arg)
{
	struct io_event events[BATCH];
	struct blk *b = arg;
	bool last = false;
	int i, nr;

	while (!last) {
		nr = io_getevents(b->aio, 1, BATCH, events, NULL);
		atomic_load_explicit(&b->submits, memory_order_acquire);
		for (i = 0; i < nr; i++) {
			if (events[i].data) {
				arrived(b, events[i].data, (long)events[i].res);
			} else {
				b->flushed = (int)blk_result((long)events[i].res);
				last = true;
			}
		}
	}
	return NULL;
}

void blk_io_stop(struct blk *b)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	struct iocb cb, *p = &cb;

	io_prep_fdsync(&cb, b->p.fd);
	/* It can only lack memory, and the reaper must end. */
	while (io_submit(b->aio, 1, &p) != 1)
		nanosleep(&pause, NULL);
}

int blk_io_setup(struct blk *b)
{
	unsigned i;

	b->slots = calloc(b->p.depth, sizeof(*b->slots));
	if (!b->slots)
		return -ENOMEM;
	for (i = 0; i < b->p.depth; i++) {
		b->slots[i].next = b->unused;
		b->unused = &b->slots[i];
	}
	/* One more, for the flush that ends the reaper. */
	return io_setup((int)b->p.depth + 1, &b->aio);
}

void blk_io_free(struct blk *b)
{
	if (b->aio)
		io_destroy(b->aio);
	free(b->slots);
}
