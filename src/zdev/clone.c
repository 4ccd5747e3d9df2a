/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies within the file system beneath. Sharing the blocks comes first: it is asked
 * for in so many words, as not every file system that can tries it in
 * copy_file_range(2). That one copies at least without a way through user space.
 */
#include "clone.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <unistd.h>

/* Everything that says no more than: not here, not these files, not these bounds. */
static bool is_refusal(int err)
{
	return err == EOPNOTSUPP || err == ENOSYS || err == EXDEV || err == EINVAL ||
	       err == ENOTTY || err == ETXTBSY || err == EPERM || err == EBADF;
}

/* As copy_file_range, but says -errno. */
static ssize_t copy_some(int src, uint64_t src_off, int dst, uint64_t dst_off, uint64_t len)
{
	off_t from = (off_t)src_off, to = (off_t)dst_off;
	ssize_t n;

	do {
		n = copy_file_range(src, &from, dst, &to, len, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int clone_range(int src, uint64_t src_off, int dst, uint64_t dst_off, uint64_t len,
		bool share_only, uint64_t *done)
{
	const struct file_clone_range range = {
		.src_fd = src, .src_offset = src_off, .src_length = len, .dest_offset = dst_off,
	};
	ssize_t n;

	*done = 0;
	if (!ioctl(dst, FICLONERANGE, &range)) {
		*done = len;
		return 0;
	}
	if (share_only)
		return -EOPNOTSUPP;
	while (*done < len) {
		n = copy_some(src, src_off + *done, dst, dst_off + *done, len - *done);
		if (n < 0 && !*done && is_refusal((int)-n))
			return -EOPNOTSUPP;
		if (n < 0)
			return (int)n;
		/* The source ends here: who asked has another idea of it. */
		if (!n)
			return *done ? -EIO : -EOPNOTSUPP;
		*done += (uint64_t)n;
	}
	return 0;
}
