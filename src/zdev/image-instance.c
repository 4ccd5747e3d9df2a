/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is the page cache still the one that we wrote to?
 *
 * What a killed daemon wrote is in the page cache, and reaches the disk in
 * whatever order. As long as the file system beneath has stayed mounted since,
 * reads show all of it. After a reboot, or once the file system was unmounted,
 * that is not sure: an orderly unmount writes everything, but one after its
 * device was pulled, was cut off by a test or failed does not, and afterwards
 * nothing on the disk tells the two apart. So "same boot, same mounted file
 * system" is what counts, and everything else is taken for a power loss. That
 * never breaks a promise: what was fsynced survives it. It costs acknowledged
 * but not fsynced data only when the daemon was killed and the file system
 * unmounted before the image was opened again.
 *
 * The mount id alone does not do. The kernel gives a freed one to the next mount,
 * so after umount and mount it is mostly the same again; and the same file
 * system seen from another mount namespace (a container, a restarted service)
 * has another. ext4, XFS and f2fs make a sysfs directory for each mounted
 * instance, and sysfs inode numbers are not reused before 2^31 others were: its
 * number is the instance. Elsewhere the unique mount id of Linux 6.8 is taken,
 * and before that the plain one.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image_i.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID		0x1000U
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE	0x4000U
#endif

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "01234567-89ab-..." to 16 bytes. */
static int parse_id(const char *text, uint8_t id[16])
{
	int n = 0, digit;

	for (; *text && *text != '\n'; text++) {
		if (*text == '-')
			continue;
		digit = hex_digit(*text);
		if (digit < 0 || n == 32)
			return -EIO;
		id[n / 2] = n % 2 ? (id[n / 2] | digit) : digit << 4;
		n++;
	}
	return n == 32 ? 0 : -EIO;
}

static int read_boot_id(uint8_t id[16])
{
	char text[64];
	ssize_t n;
	int fd, ret;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	text[n] = '\0';
	return parse_id(text, id);
}

/* The sysfs inode of the mounted file system on block device dev, 0 if there is none. */
static uint64_t read_sb_id(dev_t dev)
{
	static const char *const types[] = { "ext4", "xfs", "f2fs" };
	char path[64 + 256], target[256];
	const char *name;
	struct stat st;
	ssize_t n;
	size_t i;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	name = strrchr(target, '/');
	if (!name)
		return 0;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(path, sizeof(path), "/sys/fs/%s%s", types[i], name);
		if (!stat(path, &st))
			return st.st_ino;
	}
	return 0;
}

static uint64_t read_mnt_id(int fd)
{
	static const unsigned masks[] = { STATX_MNT_ID_UNIQUE, STATX_MNT_ID };
	struct statx stx;
	size_t i;

	for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
		if (!statx(fd, "", AT_EMPTY_PATH, masks[i], &stx) &&
		    stx.stx_mask & masks[i])
			return stx.stx_mnt_id;
	return 0;
}

int image_instance_get(int fd, struct image_instance *in)
{
	struct stat st;

	memset(in, 0, sizeof(*in));
	if (fstat(fd, &st))
		return -errno;
	in->sb_id = read_sb_id(st.st_dev);
	in->mnt_id = read_mnt_id(fd);
	return read_boot_id(in->boot_id);
}

bool image_instance_same(const struct image_instance *a, const struct image_instance *b)
{
	if (memcmp(a->boot_id, b->boot_id, sizeof(a->boot_id)))
		return false;
	if (a->sb_id && b->sb_id)
		return a->sb_id == b->sb_id;
	return a->mnt_id && a->mnt_id == b->mnt_id;
}
