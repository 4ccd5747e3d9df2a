/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new directory of zone files. A marker file stands in it until all is made
 * and durable, so that what a crash leaves is not taken for a device of fewer
 * zones.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir_i.h"

#define PROGRESS_STEP	1024

struct making {
	const char	*path;
	const struct zdev_geometry *g;
	int		dirfd;
	bool		made_dir;
	bool		marked;
	uint32_t	nr_made;	/* zone files, from zone 0 on */
	struct zerr	*e;
};

static int is_empty(int dirfd)
{
	struct dirent *entry;
	bool empty = true;
	DIR *dir;
	int ret;

	ret = dir_list(dirfd, &dir);
	if (ret)
		return ret;
	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(dir);
	return empty;
}

/* The directory, made or found empty, and locked. */
static int start(struct making *m)
{
	int ret;

	if (!mkdir(m->path, 0777))
		m->made_dir = true;
	else if (errno != EEXIST)
		return zerr_errno(m->e, errno, "%s", m->path);
	m->dirfd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dirfd < 0)
		return zerr_errno(m->e, errno, "%s", m->path);
	ret = zdev_lock(m->dirfd, m->path, false, 0, m->e);
	if (ret)
		return ret;
	ret = is_empty(m->dirfd);
	if (ret < 0)
		return zerr_errno(m->e, -ret, "%s", m->path);
	return ret ? 0 : zerr_errno(m->e, ENOTEMPTY, "%s", m->path);
}

static int make_file(const struct making *m, const char *name, uint64_t size)
{
	int fd, err = 0;

	fd = openat(m->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return zerr_errno(m->e, errno, "%s/%s", m->path, name);
	if (size && ftruncate(fd, (off_t)size))
		err = errno;
	close(fd);
	if (!err)
		return 0;
	unlinkat(m->dirfd, name, 0);
	return zerr_errno(m->e, err, "%s/%s", m->path, name);
}

static int make_zones(struct making *m, void (*progress)(void *, uint32_t, uint32_t),
		      void *ctx)
{
	const struct zdev_geometry *g = m->g;
	char name[DIR_NAME_LEN];
	uint32_t zno;
	int ret;

	for (zno = 0; zno < g->nr_zones; zno++) {
		dir_zone_name(name, zno, g->nr_conv);
		ret = make_file(m, name, zno < g->nr_conv ? g->zone_size : 0);
		if (ret)
			return ret;
		m->nr_made = zno + 1;
		if (progress && !(m->nr_made % PROGRESS_STEP))
			progress(ctx, m->nr_made, g->nr_zones);
	}
	return 0;
}

/* The new directory's own entry. */
static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, err = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return -err;
}

/* Everything durable, the marker gone last. */
static int complete(struct making *m)
{
	struct dir_meta meta = { .geometry = *m->g, .state = DIR_CLEAN };
	int ret;

	/* One sync of the file system: one of each file takes a thousand times longer. */
	ret = syncfs(m->dirfd) ? -errno : dir_meta_write(m->dirfd, &meta);
	if (!ret && unlinkat(m->dirfd, DIR_CREATING, 0))
		ret = -errno;
	if (!ret && fsync(m->dirfd))
		ret = -errno;
	if (!ret && m->made_dir)
		ret = sync_parent(m->path);
	return ret ? zerr_errno(m->e, -ret, "%s", m->path) : 0;
}

/* The marker goes last here too: a crash meanwhile must not leave a device. */
static void undo(struct making *m)
{
	char name[DIR_NAME_LEN];

	unlinkat(m->dirfd, DIR_META, 0);
	while (m->nr_made) {
		m->nr_made--;
		unlinkat(m->dirfd, dir_zone_name(name, m->nr_made, m->g->nr_conv), 0);
	}
	unlinkat(m->dirfd, DIR_CREATING, 0);
}

int zdev_dir_create(const char *path, const struct zdev_geometry *g,
		    void (*progress)(void *, uint32_t, uint32_t), void *ctx,
		    struct zerr *e)
{
	struct making m = { .path = path, .g = g, .dirfd = -1, .e = e };
	int ret;

	ret = start(&m);
	if (!ret) {
		ret = make_file(&m, DIR_CREATING, 0);
		m.marked = !ret;
	}
	if (!ret)
		ret = make_zones(&m, progress, ctx);
	if (!ret)
		ret = complete(&m);
	if (ret && m.marked)
		undo(&m);
	if (ret && m.made_dir)
		rmdir(path);
	if (m.dirfd >= 0)
		close(m.dirfd);
	if (!ret && progress)
		progress(ctx, g->nr_zones, g->nr_zones);
	return ret;
}
