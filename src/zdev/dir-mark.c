/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a tool leaves in zonefsd.meta for the opens to come. See dir.h and
 * docs/dir-format.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "dir_i.h"

static int open_locked(const char *path, struct zerr *e)
{
	int dirfd, ret;

	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return zerr_errno(e, errno, "%s", path);
	ret = zdev_lock(dirfd, path, false, 0, e);
	if (!ret)
		return dirfd;
	close(dirfd);
	return ret;
}

bool dir_meta_powercut(const struct dir_meta *m)
{
	return m->extra && strstr(m->extra, DIR_POWERCUT);
}

int dir_set_powercut(const char *path, struct zerr *e)
{
	struct dir_meta meta;
	char *extra;
	int dirfd, ret;

	dirfd = open_locked(path, e);
	if (dirfd < 0)
		return dirfd;
	ret = dir_meta_read(dirfd, path, &meta, e);
	if (ret == -ENOENT)
		zerr_errno(e, ENOENT, "%s/" DIR_META, path);
	if (ret)
		goto close_dir;
	if (dir_meta_powercut(&meta))
		goto free_meta;
	if (asprintf(&extra, "%s" DIR_POWERCUT, meta.extra ? meta.extra : "") < 0) {
		ret = zerr_errno(e, ENOMEM, "%s", path);
		goto free_meta;
	}
	free(meta.extra);
	meta.extra = extra;
	ret = dir_meta_write(dirfd, &meta);
	if (ret)
		zerr_errno(e, -ret, "%s/" DIR_META, path);
free_meta:
	dir_meta_free(&meta);
close_dir:
	close(dirfd);
	return ret;
}

int dir_write_hint(const char *path, const struct zdev_geometry *g, bool powercut,
		   struct zerr *e)
{
	int dirfd, fd, ret = 0;

	dirfd = open_locked(path, e);
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, DIR_META, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		ret = errno == EEXIST ? -EEXIST : zerr_errno(e, errno, "%s/" DIR_META, path);
	} else {
		/* block_size is left out: the zone files may need the smaller one. */
		if (dprintf(fd, "zone_size=%" PRIu64 "\nzone_capacity=%" PRIu64
			    "\nmax_open=%" PRIu32 "\n%s", g->zone_size, g->zone_capacity,
			    g->max_open, powercut ? DIR_POWERCUT : "") < 0)
			ret = zerr_errno(e, errno, "%s/" DIR_META, path);
		close(fd);
		if (ret)
			unlinkat(dirfd, DIR_META, 0);
	}
	close(dirfd);
	return ret;
}

void dir_remove_hint(const char *path)
{
	struct dir_meta meta;
	struct zerr unused;
	int dirfd = open_locked(path, &unused);

	if (dirfd < 0)
		return;
	/* An open for writing may have made a real one of it meanwhile. */
	if (!dir_meta_read(dirfd, path, &meta, &unused)) {
		if (meta.hint)
			unlinkat(dirfd, DIR_META, 0);
		dir_meta_free(&meta);
	}
	close(dirfd);
}
