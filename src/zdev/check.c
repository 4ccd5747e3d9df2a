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
