/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening an ordinary file or block device as if it had conventional zones. All
 * else is the blk backend's. Files get the fault filter of emulated devices as
 * well; a power-cut mode have both not: that filter stands behind the emulation,
 * which these do without.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk.h"
#include "direct.h"
#include "image_i.h"
#include "zonefsd/units.h"

/* What a file system that has direct I/O at all takes, and what users of ours write. */
#define FILE_BLOCK	4096u
#define FILE_DEPTH	128u

/* ---- what it is ---- */

static int is_zoned(const char *path, struct zerr *e)
{
	return zerr_set(e, EINVAL, "%s: a zoned device where an ordinary one is needed", path);
}

/* 0 or -errno with *e. */
static int check_file(struct blk_params *p, const struct stat *st, struct zerr *e)
{
	struct image_layout lay;
	int ret;

	ret = image_header_read(p->lock_fd, IMAGE_HEADER_OFFSET, &lay, NULL);
	if (!ret || ret == -EINVAL)
		return is_zoned(p->path, e);
	if (ret != -ENODEV)
		return zerr_errno(e, -ret, "%s", p->path);
	p->size = (uint64_t)st->st_size;
	p->block_size = FILE_BLOCK;
	return 0;
}

static int check_blk(struct blk_params *p, struct zerr *e)
{
	uint32_t zone_sect = 0;
	int block_size, ro = 0;
	uint64_t size;

	if (!ioctl(p->lock_fd, BLKGETZONESZ, &zone_sect) && zone_sect)
		return is_zoned(p->path, e);
	if (!p->read_only && !ioctl(p->lock_fd, BLKROGET, &ro) && ro)
		return zerr_set(e, EROFS, "%s: the device is read-only", p->path);
	if (ioctl(p->lock_fd, BLKGETSIZE64, &size) || ioctl(p->lock_fd, BLKSSZGET, &block_size))
		return zerr_errno(e, errno, "%s: size", p->path);
	p->size = size;
	p->block_size = (uint32_t)block_size;
	return 0;
}

/* Zones from the size that was found. */
static int divide(struct blk_params *p, struct zerr *e)
{
	/* Blocks of no size, or another bad one, are refused below. */
	if (p->block_size)
		p->size -= p->size % p->block_size;
	if (!p->size)
		return zerr_set(e, EINVAL, "%s: has no room for a block", p->path);
	/* Else the number of zones may be none. */
	if (p->zone_size && (p->size - 1) / p->zone_size < ZDEV_MAX_ZONES)
		p->nr_zones = (uint32_t)((p->size - 1) / p->zone_size) + 1;
	return blk_check_params(p, e);
}

/* ---- the descriptor of the data ---- */

/* Some file systems give out the descriptor, and then refuse all that comes. */
static bool direct_works(int fd)
{
	_Alignas(FILE_BLOCK) char probe[FILE_BLOCK];

	return pread(fd, probe, sizeof(probe), 0) >= 0 || !direct_refused(errno);
}

static int open_buffered(struct blk_params *p, int access, struct zerr *e)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", p->lock_fd);
	p->fd = open(self, access | O_CLOEXEC);
	if (p->fd < 0)
		return zerr_errno(e, errno, "%s", p->path);
	p->buffered = true;
	p->mem_align = 1;
	return 0;
}

static int open_data(struct blk_params *p, const struct stat *st, struct zerr *e)
{
	int access = p->read_only ? O_RDONLY : O_RDWR;

	p->fd = direct_open(p->lock_fd, access);
	if (p->fd < 0 && !direct_refused(-p->fd))
		return zerr_errno(e, -p->fd, "%s", p->path);
	if (p->fd >= 0 && !direct_works(p->fd)) {
		close(p->fd);
		p->fd = -1;
	}
	p->depth = FILE_DEPTH;
	p->max_write = ZDEV_MAX_IO;
	if (p->fd < 0)
		return open_buffered(p, access, e);
	if (p->is_file)
		p->mem_align = direct_mem_align(p->fd);
	else
		blk_read_queue(p, st->st_rdev, p->block_size);
	return 0;
}

/* ---- opening ---- */

static int open_all(struct blk_params *p, uint32_t wait_ms, struct zdev **dev, struct zerr *e)
{
	struct stat st;
	int ret;

	if (fstat(p->lock_fd, &st))
		return zerr_errno(e, errno, "%s", p->path);
	p->is_file = S_ISREG(st.st_mode);
	ret = p->is_file ? check_file(p, &st, e) : check_blk(p, e);
	if (!ret)
		ret = divide(p, e);
	if (!ret)
		ret = zdev_lock(p->lock_fd, p->path, p->read_only, wait_ms, e);
	if (!ret && !p->is_file)
		ret = blk_claim(st.st_rdev, p->path, p->read_only, &p->claim_fd, e);
	if (!ret)
		ret = open_data(p, &st, e);
	return ret ? ret : blk_create(p, dev, e);
}

static int open_backend(const char *path, uint64_t zone_size, const struct zdev_open_opts *opts,
			struct zdev **dev, struct zerr *e)
{
	struct blk_params p = {
		.path = path, .fd = -1, .claim_fd = -1, .zone_size = zone_size,
		.regular = true, .read_only = opts->read_only, .log = opts->log,
	};

	return blk_open_with(&p, open_all, opts->wait_ms, dev, e);
}

/* The type first: to open a pipe would wait. */
static int check_type(const char *path, struct zerr *e)
{
	struct stat st;

	if (stat(path, &st))
		return zerr_errno(e, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return is_zoned(path, e);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return zerr_set(e, ENODEV, "%s: not a file or block device", path);
	return 0;
}

int zdev_regular_open(const char *path, uint64_t zone_size, const struct zdev_open_opts *opts,
		      struct zdev **dev, struct zerr *e)
{
	struct zdev *backend;
	char *real;
	int ret;

	if (opts->powercut)
		return zerr_set(e, EOPNOTSUPP, "%s: a power-cut mode have only emulated devices",
				path);
	real = realpath(path, NULL);
	if (!real)
		return zerr_errno(e, errno, "%s", path);
	ret = check_type(real, e);
	if (!ret)
		ret = open_backend(real, zone_size, opts, &backend, e);
	free(real);
	if (ret)
		return ret;
	if (!backend->info.emulated) {
		*dev = backend;
		return 0;
	}
	ret = zdev_fault_stack(backend, dev);
	return ret ? zerr_errno(e, -ret, "%s", path) : 0;
}
