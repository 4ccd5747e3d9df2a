/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How far the kernel reads ahead in files whose reads come to us. FUSE lets a
 * mount ask for less than the kernel's 128 KiB, not for more, though one request
 * carries a MiB: it takes a word in sysfs, which belongs to root.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fuse_i.h"

/* Four of the largest requests, so that a reader finds the next one answered. */
#define READAHEAD_KIB	(4 * MNT_MAX_WRITE / 1024)

void readahead_raise(const struct mnt *m)
{
	char path[64], value[16];
	int fd, len;

	if (!m->st_dev)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(m->st_dev), minor(m->st_dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;	/* a user's mount, or no sysfs: slower, no more */
	len = snprintf(value, sizeof(value), "%u\n", READAHEAD_KIB);
	if (write(fd, value, len) != len)
		zlog(m->log, ZLOG_DEBUG, "%s: %m", path);
	close(fd);
}
