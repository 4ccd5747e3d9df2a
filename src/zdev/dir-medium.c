/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The directory as a medium: a zone is a file, its size is the write pointer,
 * plus the tail if it has one (L1, L7). The size is never a copy of something
 * kept elsewhere, so that a killed daemon leaves exactly what it wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clone.h"
#include "dir_i.h"
#include "direct.h"
#include "room.h"
#include "zonefsd/units.h"

/* ---- state ---- */

static int bad_file(struct dir *d, const char *name, int err, const char *cause)
{
	return zerr_set(d->e, err, "%s/%s: %s", d->path, name, cause);
}

static int check_conv(struct dir *d, const char *name, uint64_t size)
{
	if (size == d->g.zone_size)
		return 0;
	return zerr_set(d->e, EINVAL, "%s/%s: size %" PRIu64 " bytes, but a "
			"conventional zone has %" PRIu64, d->path, name, size,
			d->g.zone_size);
}

static int check_seq(struct dir *d, const char *name, uint64_t size)
{
	if (size > d->g.zone_capacity)
		return zerr_set(d->e, EINVAL, "%s/%s: size %" PRIu64 " bytes, but the "
				"zone capacity is %" PRIu64, d->path, name, size,
				d->g.zone_capacity);
	if (size % d->g.block_size && !d->lenient)
		return zerr_set(d->e, EINVAL, "%s/%s: size %" PRIu64 " bytes is not a "
				"multiple of the block size %" PRIu32, d->path, name,
				size, d->g.block_size);
	return 0;
}

/* Opening takes place later, one by one; what cannot be opened is told now. */
static int check_access(struct dir *d, const char *name)
{
	if (!geteuid() || !faccessat(d->dirfd, name, d->read_only ? R_OK : R_OK | W_OK, 0))
		return 0;
	return zerr_errno(d->e, errno, "%s/%s", d->path, name);
}

static int dir_load(void *medium, uint32_t zno, struct emu_zone_state *st)
{
	struct dir *d = medium;
	bool conv = zno < d->g.nr_conv;
	char name[DIR_NAME_LEN];
	struct stat sb;
	uint64_t size;
	int ret;

	dir_zone_name(name, zno, d->g.nr_conv);
	if (fstatat(d->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? bad_file(d, name, EINVAL, "zone file is missing") :
					 zerr_errno(d->e, errno, "%s/%s", d->path, name);
	if (!S_ISREG(sb.st_mode))
		return bad_file(d, name, EINVAL, "not a regular file");
	size = (uint64_t)sb.st_size;
	ret = conv ? check_conv(d, name, size) : check_seq(d, name, size);
	if (!ret && d->e)
		ret = check_access(d, name);
	if (ret)
		return ret;
	*st = (struct emu_zone_state) {
		.wp = conv ? 0 : zu_round_down(size, d->g.block_size),
	};
	pthread_mutex_lock(&d->lock);
	if (d->flags[zno] & DIR_OFF)
		st->cond = BLK_ZONE_COND_OFFLINE;
	else if (d->flags[zno] & DIR_RO)
		st->cond = BLK_ZONE_COND_READONLY;
	d->flags[zno] &= (uint16_t)~DIR_TAIL;
	if (!conv && size != st->wp)
		d->flags[zno] |= DIR_TAIL;
	/* A crash left it. Metadata of the file system may count too: no harm done. */
	if (!conv && d->lenient && zu_sect_to_bytes((uint64_t)sb.st_blocks) >
				   size + (uint64_t)sb.st_blksize)
		d->flags[zno] |= DIR_RESERVED;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static bool has_flag(struct dir *d, uint32_t zno, uint16_t flag)
{
	bool set;

	pthread_mutex_lock(&d->lock);
	set = d->flags[zno] & flag;
	pthread_mutex_unlock(&d->lock);
	return set;
}

static bool has_tail(struct dir *d, uint32_t zno)
{
	return has_flag(d, zno, DIR_TAIL);
}

static int file_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int set_size(int fd, uint64_t size)
{
	int ret;

	do {
		ret = ftruncate(fd, (off_t)size);
	} while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

/* ---- data ---- */

/* All of buf, or up to the end of the file. *done counts also before an error. */
static int move_buf(int fd, bool write, char *buf, size_t len, uint64_t pos,
		    size_t *done)
{
	ssize_t n;

	while (len) {
		n = write ? pwrite(fd, buf, len, (off_t)pos) :
			    pread(fd, buf, len, (off_t)pos);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return write ? -ENOSPC : 0;
		buf += n;
		len -= (size_t)n;
		pos += (uint64_t)n;
		*done += (size_t)n;
	}
	return 0;
}

/* What one call has left after *done bytes, buffer by buffer. */
static int move_rest(int fd, bool write, uint64_t pos, const struct iovec *iov,
		     int nr_iov, size_t *done)
{
	size_t skip = *done;
	int i, ret;

	for (i = 0; i < nr_iov; i++) {
		size_t before = *done;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		ret = move_buf(fd, write, (char *)iov[i].iov_base + skip,
			       iov[i].iov_len - skip, pos + *done, done);
		if (ret)
			return ret;
		if (*done - before < iov[i].iov_len - skip)
			return 0;	/* the end of the file */
		skip = 0;
	}
	return 0;
}

/* The whole iov in one call, as nearly always. */
static int move_iov(int fd, bool write, uint64_t pos, const struct iovec *iov,
		    int nr_iov, size_t *done)
{
	int nr = nr_iov < IOV_MAX ? nr_iov : IOV_MAX;
	ssize_t n;

	n = write ? pwritev(fd, iov, nr, (off_t)pos) : preadv(fd, iov, nr, (off_t)pos);
	if (n < 0 && errno != EINTR)
		return -errno;
	*done = n < 0 ? 0 : (size_t)n;
	return move_rest(fd, write, pos, iov, nr_iov, done);
}

/* A zone that was flushed after its last write will be flushed after this one. */
static bool goes_direct(struct dir *d, uint32_t zno, const struct iovec *iov, int nr_iov,
			uint64_t pos)
{
	size_t len = zdev_iov_len(iov, nr_iov);

	if (len < DIRECT_MIN &&
	    (len < DIRECT_MIN_FLUSHED || !has_flag(d, zno, DIR_FLUSHED)))
		return false;
	return nr_iov <= IOV_MAX && direct_fits(iov, nr_iov, pos);
}

/*
 * The same past the page cache, by fd. A short direct write ends anywhere, so the rest
 * goes the other way, and brings the error if there is one.
 */
static int move_direct(struct dir *d, const struct dir_fd *f, int fd, bool write, uint64_t pos,
		       const struct iovec *iov, int nr_iov, size_t *done)
{
	ssize_t n;

	n = write ? pwritev(fd, iov, nr_iov, (off_t)pos) : preadv(fd, iov, nr_iov, (off_t)pos);
	if (n < 0 && direct_refused(errno))
		atomic_store(&d->no_direct, true);
	else if (n < 0 && errno != EINTR)
		return -errno;
	*done = n < 0 ? 0 : (size_t)n;
	return move_rest(f->fd, write, pos, iov, nr_iov, done);
}

/* Past the page cache what is large and aligned. */
static int write_iov(struct dir *d, struct dir_fd *f, uint64_t pos, const struct iovec *iov,
		     int nr_iov, size_t *done)
{
	int fd = DIR_NO_FD;

	if (goes_direct(d, f->zno, iov, nr_iov, pos))
		fd = dir_fd_direct(d, f);
	return fd == DIR_NO_FD ? move_iov(f->fd, true, pos, iov, nr_iov, done) :
				 move_direct(d, f, fd, true, pos, iov, nr_iov, done);
}

/*
 * Past the page cache what is read once, unless it may be in there alone: then a direct
 * read would have to wait until it is written.
 */
static int read_iov(struct dir *d, struct dir_fd *f, uint64_t pos, const struct iovec *iov,
		    int nr_iov, bool once, size_t *done)
{
	int fd = DIR_NO_FD;

	if (once && nr_iov <= IOV_MAX && direct_fits(iov, nr_iov, pos) &&
	    !has_flag(d, f->zno, DIR_DIRTY))
		fd = dir_fd_direct(d, f);
	return fd == DIR_NO_FD ? move_iov(f->fd, false, pos, iov, nr_iov, done) :
				 move_direct(d, f, fd, false, pos, iov, nr_iov, done);
}

static ssize_t dir_read(void *medium, uint32_t zno, uint64_t pos,
			const struct iovec *iov, int nr_iov, bool once)
{
	struct dir *d = medium;
	struct dir_fd *f;
	size_t done = 0;
	int ret;

	ret = dir_fd_get(d, zno, &f);
	if (ret)
		return ret;
	ret = read_iov(d, f, pos, iov, nr_iov, once, &done);
	dir_fd_put(d, f);
	return ret ? ret : (ssize_t)done;
}

static int dir_direct_begin(void *medium, uint32_t zno, uint64_t pos, const struct iovec *iov,
			    int nr_iov, struct emu_direct *way)
{
	struct dir *d = medium;
	struct dir_fd *f;

	f = nr_iov <= IOV_MAX && direct_fits(iov, nr_iov, pos) ? dir_fd_get_direct(d, zno) : NULL;
	if (!f)
		return -EOPNOTSUPP;
	*way = (struct emu_direct) { .fd = f->direct, .off = pos, .owner = f };
	return 0;
}

static void dir_direct_end(void *medium, struct emu_direct *way)
{
	dir_fd_put(medium, way->owner);
}

/*
 * A write failed after `done` bytes. Whole blocks stay: they are data in its
 * place, and the file size says so. What is behind them goes, or the size would
 * be no write pointer; but not a tail that stood there before (old_size) and is
 * still the last thing that was acknowledged.
 */
static int cut_failed_write(struct dir *d, uint32_t zno, int fd, uint64_t pos,
			    size_t done, uint64_t old_size)
{
	uint64_t end = zu_round_down(pos + done, d->g.block_size);
	uint64_t size;
	int ret;

	if (end < old_size)
		end = old_size;
	ret = file_size(fd, &size);
	if (!ret && size > end)
		ret = set_size(fd, end);
	dir_mark_dirty(d, zno, end % d->g.block_size);
	return ret;
}

/* The size of the file before a write at pos, where its blocks end. */
static int size_before(struct dir *d, const struct dir_fd *f, uint64_t pos, uint64_t *size)
{
	*size = pos;
	return has_tail(d, f->zno) ? file_size(f->fd, size) : 0;
}

/* A write or copy to pos ended, with ret after `done` bytes: settle the file. */
static void end_seq(struct dir *d, const struct dir_fd *f, uint64_t pos, size_t done,
		    uint64_t old_size, int ret)
{
	int cut;

	if (!ret) {
		dir_mark_dirty(d, f->zno, false);
		return;
	}
	cut = cut_failed_write(d, f->zno, f->fd, pos, done, old_size);
	if (cut)
		zlog(d->log, ZLOG_ERR, "%s: zone %" PRIu32 ": cutting its file after "
		     "a failed write: %s", d->path, f->zno, strerror(-cut));
}

static int write_seq(struct dir *d, struct dir_fd *f, uint64_t pos,
		     const struct iovec *iov, int nr_iov, size_t *done)
{
	uint64_t old_size;
	int ret;

	ret = size_before(d, f, pos, &old_size);
	if (ret)
		return ret;
	ret = write_iov(d, f, pos, iov, nr_iov, done);
	end_seq(d, f, pos, *done, old_size, ret);
	return ret;
}

/* The open file of a zone that is about to change, until dir_fd_put. 0 or -errno. */
static int change_file(struct dir *d, uint32_t zno, struct dir_fd **f)
{
	int ret = dir_begin(d);

	return ret ? ret : dir_fd_get(d, zno, f);
}

static ssize_t dir_write(void *medium, uint32_t zno, uint64_t pos,
			 const struct iovec *iov, int nr_iov)
{
	struct dir *d = medium;
	struct dir_fd *f;
	size_t done = 0;
	int ret;

	ret = change_file(d, zno, &f);
	if (ret)
		return ret;
	if (zno < d->g.nr_conv) {
		ret = move_iov(f->fd, true, pos, iov, nr_iov, &done);
		dir_mark_dirty(d, zno, false);
	} else {
		ret = write_seq(d, f, pos, iov, nr_iov, &done);
	}
	dir_fd_put(d, f);
	return ret ? ret : (ssize_t)done;
}

/* ---- without data ---- */

static int copy_file(struct dir *d, struct dir_fd *f, uint64_t pos, struct dir_fd *src,
		     uint64_t src_pos, uint64_t len, bool share_only)
{
	bool seq = f->zno >= d->g.nr_conv;
	uint64_t old_size, done;
	int ret = 0;

	if (seq)
		ret = size_before(d, f, pos, &old_size);
	if (ret)
		return ret;
	ret = clone_range(src->fd, src_pos, f->fd, pos, len, share_only, &done);
	if (ret == -EOPNOTSUPP)
		return ret;
	if (seq)
		end_seq(d, f, pos, done, old_size, ret);
	else
		dir_mark_dirty(d, f->zno, false);
	return ret;
}

static int dir_copy(void *medium, uint32_t zno, uint64_t pos, uint32_t src, uint64_t src_pos,
		    uint64_t len, bool share_only)
{
	struct dir_fd *from, *to;
	struct dir *d = medium;
	int ret;

	ret = dir_begin(d);
	if (!ret)
		ret = dir_fd_get(d, src, &from);
	if (ret)
		return ret;
	ret = dir_fd_get(d, zno, &to);
	if (!ret) {
		ret = copy_file(d, to, pos, from, src_pos, len, share_only);
		dir_fd_put(d, to);
	}
	dir_fd_put(d, from);
	return ret;
}

static int dir_discard(void *medium, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct dir *d = medium;
	struct dir_fd *f;
	int ret;

	ret = change_file(d, zno, &f);
	if (ret)
		return ret;
	ret = room_punch(f->fd, pos, len);
	if (ret != -EOPNOTSUPP)
		dir_mark_dirty(d, zno, false);
	dir_fd_put(d, f);
	return ret;
}

/* ---- commands ---- */

/*
 * Give back what the file has beyond its size: a truncate to the same size does
 * that, where punching a hole does not everywhere.
 */
static int release(struct dir *d, uint32_t zno, int fd)
{
	uint64_t size;
	int ret;

	if (!has_flag(d, zno, DIR_RESERVED))
		return 0;
	ret = file_size(fd, &size);
	if (!ret)
		ret = set_size(fd, size);
	if (ret)
		return ret;
	pthread_mutex_lock(&d->lock);
	d->flags[zno] &= (uint16_t)~DIR_RESERVED;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

void dir_release_all(struct dir *d)
{
	struct dir_fd *f;
	uint32_t zno;

	for (zno = d->g.nr_conv; zno < d->g.nr_zones; zno++) {
		if (!has_flag(d, zno, DIR_RESERVED) || dir_fd_get(d, zno, &f))
			continue;
		release(d, zno, f->fd);
		dir_fd_put(d, f);
	}
}

static int dir_reserve(void *medium, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct dir *d = medium;
	struct dir_fd *f;
	int ret;

	if (!len && !has_flag(d, zno, DIR_RESERVED))
		return 0;
	/* Now: what is reserved here may be the room that beginning needs. */
	ret = len ? dir_begin(d) : 0;
	if (!ret)
		ret = dir_fd_get(d, zno, &f);
	if (ret)
		return ret;
	if (!len) {
		ret = release(d, zno, f->fd);
		goto put;
	}
	/* Before it is done, as it may be done in part. */
	pthread_mutex_lock(&d->lock);
	d->flags[zno] |= DIR_RESERVED;
	pthread_mutex_unlock(&d->lock);
	ret = room_allocate(f->fd, pos, len);
put:
	dir_fd_put(d, f);
	return ret;
}

/* Cut the file to size, if it is longer. */
static int shrink(struct dir *d, uint32_t zno, int fd, uint64_t size)
{
	uint64_t now;
	int ret;

	ret = file_size(fd, &now);
	if (ret || now <= size)
		return ret;
	ret = set_size(fd, size);
	if (!ret)
		dir_mark_dirty(d, zno, false);
	return ret;
}

static int dir_set_wp(void *medium, uint32_t zno, uint64_t wp)
{
	struct dir *d = medium;
	struct dir_fd *f;
	int ret;

	ret = change_file(d, zno, &f);
	if (ret)
		return ret;
	ret = shrink(d, zno, f->fd, wp);
	if (!ret)
		ret = release(d, zno, f->fd);
	dir_fd_put(d, f);
	return ret;
}

static int dir_reset(void *medium, uint32_t zno)
{
	return dir_set_wp(medium, zno, 0);
}

/* Zero bytes from..to of a file, less than a block. */
static int write_zeros(int fd, uint64_t from, uint64_t to)
{
	static const char zeros[4096];
	size_t done = 0;

	return move_buf(fd, true, (char *)(uintptr_t)zeros, to - from, from, &done);
}

/*
 * To the capacity, not to the zone size (L9). A tail is zeroed after the file
 * has its final size: the other way round, a kill in between would lose the tail
 * without finishing the zone.
 */
static int finish_file(struct dir *d, uint32_t zno, int fd)
{
	uint64_t size, wp;
	int ret;

	/* First, or what was reserved would become a part of the file. */
	ret = release(d, zno, fd);
	if (ret)
		return ret;
	ret = file_size(fd, &size);
	if (ret || size == d->g.zone_capacity)
		return ret;
	ret = set_size(fd, d->g.zone_capacity);
	wp = zu_round_down(size, d->g.block_size);
	if (!ret && wp != size)
		ret = write_zeros(fd, wp, size);
	dir_mark_dirty(d, zno, false);
	return ret;
}

static int dir_finish(void *medium, uint32_t zno)
{
	struct dir *d = medium;
	struct dir_fd *f;
	int ret;

	ret = change_file(d, zno, &f);
	if (ret)
		return ret;
	ret = finish_file(d, zno, f->fd);
	dir_fd_put(d, f);
	return ret;
}

/* Durable at once: a zone that is worn out stays so. */
static int dir_set_cond(void *medium, uint32_t zno, uint8_t cond)
{
	struct dir *d = medium;
	int ret;

	ret = dir_begin(d);
	if (ret)
		return ret;
	pthread_mutex_lock(&d->meta_lock);
	ret = dir_meta_add_bad(&d->meta, zno, zno, cond);
	if (!ret) {
		ret = dir_meta_write(d->dirfd, &d->meta);
		if (ret)
			d->meta.nr_bad--;
	}
	pthread_mutex_unlock(&d->meta_lock);
	if (ret)
		return ret;
	pthread_mutex_lock(&d->lock);
	d->flags[zno] |= cond == BLK_ZONE_COND_OFFLINE ? DIR_OFF : DIR_RO;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

/* ---- tails ---- */

/*
 * Growing, as a file's last bytes do, is one pwrite within a page, which a kill
 * cannot split. A shorter tail cuts the old one first.
 */
static int put_tail(struct dir *d, uint32_t zno, int fd, uint64_t wp,
		    const void *data, size_t len)
{
	uint64_t size;
	size_t done = 0;
	int ret;

	ret = shrink(d, zno, fd, wp + len);
	if (ret || !len)
		return ret;
	ret = file_size(fd, &size);
	if (ret)
		return ret;
	ret = move_buf(fd, true, (char *)(uintptr_t)data, len, wp, &done);
	if (ret && wp + done > size)
		set_size(fd, size);	/* as it was; if that fails too the size rules */
	dir_mark_dirty(d, zno, !ret || size > wp);
	return ret;
}

int dir_store_tail(struct dir *d, uint32_t zno, uint64_t wp, const void *data, size_t len)
{
	struct dir_fd *f;
	int ret;

	if (!len && !has_tail(d, zno))
		return 0;
	ret = dir_fd_get(d, zno, &f);
	if (ret)
		return ret;
	ret = put_tail(d, zno, f->fd, wp, data, len);
	dir_fd_put(d, f);
	return ret;
}

static int dir_put_tail(void *medium, uint32_t zno, uint64_t wp, const void *data,
			size_t len)
{
	struct dir *d = medium;
	int ret;

	ret = dir_begin(d);
	return ret ? ret : dir_store_tail(d, zno, wp, data, len);
}

static int compare_tail(const void *key, const void *tail)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct dir_tail *)tail)->zno;

	return a < b ? -1 : a > b;
}

/* A tail that is still in zonefsd.meta, as nothing has changed yet. */
static ssize_t stored_tail(struct dir *d, uint32_t zno, uint64_t wp, void *buf)
{
	const struct dir_tail *t = NULL;
	ssize_t len = 0;

	if (atomic_load(&d->live))
		return 0;
	pthread_mutex_lock(&d->meta_lock);
	if (d->meta.nr_tails)
		t = bsearch(&zno, d->meta.tails, d->meta.nr_tails, sizeof(*t),
			    compare_tail);
	if (t && t->wp == wp) {
		memcpy(buf, t->data, t->len);
		len = (ssize_t)t->len;
	}
	pthread_mutex_unlock(&d->meta_lock);
	return len;
}

static ssize_t dir_get_tail(void *medium, uint32_t zno, uint64_t wp, void *buf)
{
	struct dir *d = medium;
	struct dir_fd *f;
	uint64_t size;
	size_t done = 0;
	ssize_t ret;

	ret = stored_tail(d, zno, wp, buf);
	if (ret || !has_tail(d, zno))
		return ret;
	ret = dir_fd_get(d, zno, &f);
	if (ret)
		return ret;
	ret = file_size(f->fd, &size);
	if (!ret && size > wp && size - wp < d->g.block_size)
		ret = move_buf(f->fd, false, buf, size - wp, wp, &done);
	dir_fd_put(d, f);
	return ret ? ret : (ssize_t)done;
}

/* A tail that waits in zonefsd.meta would be missing at the end. */
static int dir_backing(void *medium, uint32_t zno)
{
	struct dir *d = medium;

	if (d->meta.nr_tails && bsearch(&zno, d->meta.tails, d->meta.nr_tails,
					sizeof(*d->meta.tails), compare_tail))
		return -EOPNOTSUPP;
	return dir_zone_open(d, zno, O_RDONLY);
}

const struct emu_medium_ops dir_medium_ops = {
	.load		= dir_load,
	.read		= dir_read,
	.direct_begin	= dir_direct_begin,
	.direct_end	= dir_direct_end,
	.write		= dir_write,
	.reset		= dir_reset,
	.finish		= dir_finish,
	.flush		= dir_flush,
	.set_cond	= dir_set_cond,
	.put_tail	= dir_put_tail,
	.get_tail	= dir_get_tail,
	.reserve	= dir_reserve,
	.copy		= dir_copy,
	.discard	= dir_discard,
	.backing	= dir_backing,
	.set_wp		= dir_set_wp,
	.close		= dir_close,
	.abandon	= dir_abandon,
};
