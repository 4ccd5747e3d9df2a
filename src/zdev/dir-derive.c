/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The geometry of a directory that the kernel's zloop made: counted and measured
 * from its files. What they cannot tell is asked for, not guessed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "dir_i.h"
#include "zonefsd/units.h"

/* The zone that a file is for; false if it is no zone file. */
static bool parse_name(const char *name, uint32_t *zno, bool *conv)
{
	char again[DIR_NAME_LEN];
	uint64_t v;

	*conv = !strncmp(name, "cnv-", 4);
	if (!*conv && strncmp(name, "seq-", 4))
		return false;
	if (zu_parse_u64(name + 4, ZDEV_MAX_ZONES - 1, &v))
		return false;
	*zno = (uint32_t)v;
	/* Leading zeros: exactly as many as the layout has. */
	return !strcmp(name, dir_zone_name(again, *zno, *conv ? *zno + 1 : 0));
}

int dir_list(int dirfd, DIR **dir)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	*dir = fd < 0 ? NULL : fdopendir(fd);
	if (*dir)
		return 0;
	err = errno;
	if (fd >= 0)
		close(fd);
	return -err;
}

/*
 * The highest numbers; that no file is missing below them, the scan of all zones
 * finds out afterwards.
 */
static int count_zones(int dirfd, struct zdev_geometry *g)
{
	struct dirent *entry;
	uint32_t zno;
	bool conv;
	DIR *dir;
	int ret;

	ret = dir_list(dirfd, &dir);
	if (ret)
		return ret;
	g->nr_conv = g->nr_zones = 0;
	while ((errno = 0, entry = readdir(dir))) {
		if (!parse_name(entry->d_name, &zno, &conv))
			continue;
		if (zno >= g->nr_zones)
			g->nr_zones = zno + 1;
		if (conv && zno >= g->nr_conv)
			g->nr_conv = zno + 1;
	}
	zno = (uint32_t)errno;
	closedir(dir);
	return -(int)zno;
}

/* L2, of the two sizes that there are here; 4096 is a multiple of those between. */
static uint32_t block_size(int dirfd)
{
	struct statx stx;
	struct statfs fs;

	if (fstatfs(dirfd, &fs) || fs.f_bsize <= 0)
		return 4096;
	if (fs.f_bsize <= 512)
		return 512;
	if (fs.f_bsize <= 4096)
		return 4096;
#ifdef STATX_DIOALIGN
	if (!statx(dirfd, "cnv-000000", AT_SYMLINK_NOFOLLOW, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align > 512)
		return 4096;
#else
	(void)stx;
#endif
	return 512;
}

static int zone_size(int dirfd, const char *path, struct zdev_geometry *g,
		     struct zerr *e)
{
	char name[DIR_NAME_LEN];
	struct stat st;

	if (!g->nr_conv)
		return zerr_set(e, EINVAL, "%s: zone size unknown, as there is no cnv file "
				"to take it from: put a line zone_size=BYTES into %s/%s",
				path, path, DIR_META);
	dir_zone_name(name, 0, g->nr_conv);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return zerr_errno(e, errno, "%s/%s", path, name);
	if (!S_ISREG(st.st_mode) || !zu_is_pow2((uint64_t)st.st_size))
		return zerr_set(e, EINVAL, "%s/%s: size %jd bytes is no zone size: "
				"not a power of two", path, name, (intmax_t)st.st_size);
	g->zone_size = (uint64_t)st.st_size;
	return 0;
}

int dir_derive(int dirfd, const char *path, struct zdev_geometry *g, struct zerr *e)
{
	struct zerr why;
	int ret;

	ret = count_zones(dirfd, g);
	if (ret)
		return zerr_errno(e, -ret, "%s", path);
	if (!g->zone_size) {
		ret = zone_size(dirfd, path, g, e);
		if (ret)
			return ret;
	}
	if (!g->zone_capacity)
		g->zone_capacity = g->zone_size;
	if (!g->block_size)
		g->block_size = block_size(dirfd);
	ret = zdev_geometry_check(g, &why);
	return ret ? zerr_set(e, -ret, "%s: %s", path, why.msg) : 0;
}
