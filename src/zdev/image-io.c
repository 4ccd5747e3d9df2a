/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole reads and writes of an image file, and holes in it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "image_i.h"
#include "zonefsd/units.h"

/* Segments handed to one system call. */
#define NR_SEGS	16

typedef ssize_t (*rwv_fn)(int fd, const struct iovec *iov, int nr, off_t off);

/* Up to NR_SEGS segments of iov from byte `skip` on, at most len bytes. The number of them. */
static int slice(const struct iovec *iov, int nr_iov, size_t skip, size_t len,
		 struct iovec *seg)
{
	int n = 0;

	for (; nr_iov && len && n < NR_SEGS; iov++, nr_iov--) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		seg[n].iov_base = (char *)iov->iov_base + skip;
		seg[n].iov_len = iov->iov_len - skip < len ? iov->iov_len - skip : len;
		len -= seg[n++].iov_len;
		skip = 0;
	}
	return n;
}

static ssize_t rw_all(rwv_fn rw, int fd, const struct iovec *iov, int nr_iov,
		      size_t len, uint64_t off)
{
	struct iovec seg[NR_SEGS];
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = rw(fd, seg, slice(iov, nr_iov, done, len - done, seg), off + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += n;
	}
	return done;
}

ssize_t image_readv(int fd, const struct iovec *iov, int nr_iov, size_t len, uint64_t off)
{
	return rw_all(preadv, fd, iov, nr_iov, len, off);
}

ssize_t image_writev(int fd, const struct iovec *iov, int nr_iov, size_t len, uint64_t off)
{
	ssize_t ret = rw_all(pwritev, fd, iov, nr_iov, len, off);

	/* A write that stops without an error has no one to tell why. */
	return ret >= 0 && (size_t)ret < len ? -EIO : ret;
}

int image_pread(int fd, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	ssize_t ret = image_readv(fd, &iov, 1, len, off);

	if (ret < 0)
		return ret;
	return (size_t)ret < len ? -EIO : 0;
}

int image_pwrite(int fd, const void *buf, size_t len, uint64_t off)
{
	/* A write only reads from its iov. */
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	ssize_t ret = image_writev(fd, &iov, 1, len, off);

	return ret < 0 ? ret : 0;
}

int image_next_data(int fd, uint64_t *off, uint64_t end, uint64_t *data_end)
{
	off_t data, hole;

	if (*off >= end)
		return 0;
	data = lseek(fd, *off, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= end)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*off = data;
	*data_end = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 1;
}

int image_next_allocated(int fd, uint64_t *off, uint64_t end, uint64_t *alloc_end)
{
	union {
		struct fiemap	map;
		uint8_t		bytes[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u;
	const struct fiemap_extent *x = u.map.fm_extents;

	if (*off >= end)
		return 0;
	memset(&u, 0, sizeof(u));
	u.map.fm_start = *off;
	u.map.fm_length = end - *off;
	u.map.fm_extent_count = 1;
	if (ioctl(fd, FS_IOC_FIEMAP, &u.map))
		return image_next_data(fd, off, end, alloc_end);
	if (!u.map.fm_mapped_extents || x->fe_logical >= end)
		return 0;
	if (x->fe_logical > *off)
		*off = x->fe_logical;
	if (!zu_add(x->fe_logical, x->fe_length, alloc_end) || *alloc_end > end)
		*alloc_end = end;
	/* No progress would be a loop without end. */
	return *alloc_end > *off ? 1 : -EIO;
}

/* For file systems that cannot punch holes: zeros over what is stored. */
static int write_zeros(int fd, uint64_t off, uint64_t end)
{
	static const char zeros[65536];
	uint64_t data_end;
	size_t n;
	int ret;

	while ((ret = image_next_data(fd, &off, end, &data_end)) == 1) {
		for (; off < data_end; off += n) {
			n = data_end - off < sizeof(zeros) ? data_end - off : sizeof(zeros);
			ret = image_pwrite(fd, zeros, n, off);
			if (ret)
				return ret;
		}
	}
	return ret;
}

static int punch(int fd, uint64_t off, uint64_t len)
{
	int ret;

	do {
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	} while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

int image_zero(int fd, uint64_t off, uint64_t len)
{
	int ret;

	if (!len)
		return 0;
	ret = punch(fd, off, len);
	return ret == -EOPNOTSUPP || ret == -ENOSYS ? write_zeros(fd, off, off + len) : ret;
}

void image_discard(int fd, uint64_t off, uint64_t len)
{
	punch(fd, off, len);
}
