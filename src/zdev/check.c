/* SPDX-License-Identifier: BSD-2-Clause */
/* What is wrong with an operation before it is queued, whatever state its zone is in. */
#include <errno.h>

#include "zdev_i.h"

static bool aligned(const struct zdev_info *info, uint64_t v)
{
	return !(v & (info->block_size - 1));
}

/* The last zone may be smaller. */
static uint64_t zone_size(const struct zdev_info *info, uint32_t zno)
{
	uint64_t left = info->size - zno * info->zone_size;

	return left < info->zone_size ? left : info->zone_size;
}

/* READ, WRITE, APPEND. */
static int check_data(const struct zdev_info *info, const struct zdev_io *io, bool conv)
{
	uint64_t pos = io->op == ZDEV_APPEND ? 0 : io->pos;
	uint64_t size = zone_size(info, io->zno);

	if (!io->len || io->len > info->max_io || !aligned(info, io->len) ||
	    !aligned(info, pos) || pos > size)
		return -EINVAL;
	if (conv && io->op == ZDEV_APPEND)
		return -EIO;
	/* What is wrong with a sequential write depends on the zone's state: EIO. */
	if ((io->op == ZDEV_READ || conv) && io->len > size - pos)
		return -EINVAL;
	return 0;
}

/* Does [pos, pos + bytes) lie in zone zno? */
static bool in_zone(const struct zdev_info *info, uint32_t zno, uint64_t pos, uint64_t bytes)
{
	uint64_t size;

	if (zno >= info->nr_zones)
		return false;
	size = zone_size(info, zno);
	return pos <= size && bytes <= size - pos;
}

static int check_copy(const struct zdev_info *info, const struct zdev_io *io, bool conv)
{
	uint64_t apart = io->pos > io->src_pos ? io->pos - io->src_pos : io->src_pos - io->pos;

	if (!io->bytes || io->bytes > info->max_io ||
	    !aligned(info, io->bytes | io->pos | io->src_pos))
		return -EINVAL;
	if (!in_zone(info, io->src_zno, io->src_pos, io->bytes))
		return -EINVAL;
	if (io->zno == io->src_zno && apart < io->bytes)
		return -EINVAL;
	/* As for a write. */
	return !conv || in_zone(info, io->zno, io->pos, io->bytes) ? 0 : -EINVAL;
}

static int check_discard(const struct zdev_info *info, const struct zdev_io *io, bool conv)
{
	if (!conv)
		return -EIO;
	if (!io->bytes || !aligned(info, io->bytes | io->pos))
		return -EINVAL;
	return in_zone(info, io->zno, io->pos, io->bytes) ? 0 : -EINVAL;
}

int zdev_check(const struct zdev_info *info, struct zdev_io *io, bool conv)
{
	io->len = 0;
	if (io->op == ZDEV_FLUSH && io->zno == ZDEV_ALL_ZONES)
		return 0;
	if (io->zno >= info->nr_zones)
		return -EINVAL;
	if (info->read_only && io->op != ZDEV_READ && io->op != ZDEV_FLUSH)
		return -EPERM;
	switch (io->op) {
	case ZDEV_READ:
	case ZDEV_WRITE:
	case ZDEV_APPEND:
		io->len = zdev_iov_len(io->iov, io->nr_iov);
		return check_data(info, io, conv);
	case ZDEV_PUT_TAIL:
		io->len = zdev_iov_len(io->iov, io->nr_iov);
		if (io->len >= info->block_size)
			return -EINVAL;
		return conv ? -EIO : 0;
	case ZDEV_COPY:
		io->len = io->bytes;
		return check_copy(info, io, conv);
	case ZDEV_DISCARD:
		return check_discard(info, io, conv);
	case ZDEV_FLUSH:
		return 0;
	case ZDEV_RESERVE:
	case ZDEV_RESET:
	case ZDEV_FINISH:
	case ZDEV_OPEN:
	case ZDEV_CLOSE:
		return conv ? -EIO : 0;
	default:
		return -EINVAL;
	}
}
