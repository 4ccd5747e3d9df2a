/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Space of the file system beneath, held for writes to come or given back.
 *
 * fallocate(2) that runs out of space keeps what it got: to ask for much more
 * than is free would take all of it, and leave none for those who need little.
 */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

/*
 * A range as large as this is asked for in advance, and its caller will ask for
 * less. A smaller one is needed now: it may be there already, so try it.
 */
#define ROOM_AHEAD	(UINT64_C(1) << 20)

static int fits(int fd, uint64_t len)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) || !st.f_frsize)
		return 1;
	return len / st.f_frsize < st.f_bavail;
}

int room_allocate(int fd, uint64_t off, uint64_t len)
{
	int ret;

	if (len > ROOM_AHEAD && !fits(fd, len))
		return -ENOSPC;
	do {
		ret = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
	} while (ret && errno == EINTR);
	if (!ret)
		return 0;
	return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int room_punch(int fd, uint64_t off, uint64_t len)
{
	int ret;

	/*
	 * Of a block device the kernel then asks for zeros, and not for a discard, of
	 * which no device has to say what can be read after it.
	 */
	do {
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
				(off_t)len);
	} while (ret && errno == EINTR);
	if (!ret)
		return 0;
	return errno == ENOSYS || errno == ENODEV ? -EOPNOTSUPP : -errno;
}

int room_discard(int fd, uint64_t off, uint64_t len)
{
	uint64_t range[2] = { off, len };
	int ret;

	do {
		ret = ioctl(fd, BLKDISCARD, range);
	} while (ret && errno == EINTR);
	if (!ret)
		return 0;
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}
