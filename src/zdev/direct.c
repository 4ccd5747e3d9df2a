/* SPDX-License-Identifier: BSD-2-Clause */
/* Direct transfers: where they are possible. See direct.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "direct.h"
#include "zonefsd/units.h"

/* Fits every disk; finer grains exist but no one fills buffers that way. */
#define GRAIN	4096u

/* Does the file system ask for more than GRAIN, or refuse? It need not tell. */
static bool grain_fits(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) ||
	    !(stx.stx_mask & STATX_DIOALIGN))
		return true;
	return stx.stx_dio_offset_align && stx.stx_dio_offset_align <= GRAIN &&
	       stx.stx_dio_mem_align <= GRAIN;
#else
	return true;
#endif
}

uint32_t direct_mem_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN) && zu_is_pow2(stx.stx_dio_mem_align) &&
	    stx.stx_dio_mem_align <= GRAIN)
		return stx.stx_dio_mem_align;
#endif
	return GRAIN;
}

int direct_open(int fd, int access)
{
	char self[32];
	int direct;

	if (!grain_fits(fd))
		return -EOPNOTSUPP;
	/* The file itself, whatever its name leads to by now. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	direct = open(self, access | O_DIRECT | O_CLOEXEC);
	return direct < 0 ? -errno : direct;
}

bool direct_fits(const struct iovec *iov, int nr_iov, uint64_t off)
{
	uintptr_t all = (uintptr_t)off;
	int i;

	for (i = 0; i < nr_iov; i++)
		all |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(all % GRAIN);
}

bool direct_refused(int err)
{
	return err == EINVAL || err == EOPNOTSUPP || err == ENOTBLK || err == EAGAIN;
}
