/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding a mount of ours in /proc/self/mountinfo, and talking to its daemon
 * through the control files (docs/control.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "zonefsd/mounted.h"
#include "zonefsd/units.h"

#define MOUNTINFO	"/proc/self/mountinfo"

/*
 * The path without symbolic links, as mountinfo would name it; NULL with errno.
 * realpath() may not end in a slash: it would look into the directory, which
 * fails on a dead mount and hangs on a stuck one.
 */
static char *resolve(const char *path)
{
	size_t len = strlen(path);
	char *copy, *real;

	copy = strdup(path);
	if (!copy)
		return NULL;
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	real = realpath(copy, NULL);
	free(copy);
	return real;
}

static bool is_ours(struct libmnt_fs *fs)
{
	const char *type = mnt_fs_get_fstype(fs);
	const char *root = mnt_fs_get_root(fs);

	/* A bind mount of a subdirectory has no control files. */
	return type && !strcmp(type, ZONEFSD_FSTYPE) && root && !strcmp(root, "/");
}

/* Who mounted it, which the kernel vouches for. */
static bool get_owner(struct libmnt_fs *fs, uid_t *owner)
{
	const char *opts = mnt_fs_get_fs_options(fs);
	char *value, text[16];
	size_t len;
	uint64_t uid;

	if (!opts || mnt_optstr_get_option(opts, "user_id", &value, &len) ||
	    !value || len >= sizeof(text))
		return false;
	memcpy(text, value, len);
	text[len] = '\0';
	if (zu_parse_u64(text, UINT32_MAX, &uid))
		return false;
	*owner = (uid_t)uid;
	return true;
}

/*
 * Any user may mount a FUSE file system that names any device as its source.
 * Believe in the name only what root, the device's owner or we ourselves
 * mounted.
 */
static bool is_trusted(struct libmnt_fs *fs, const char *device)
{
	struct stat st;
	uid_t uid;

	if (!get_owner(fs, &uid))
		return false;
	return uid == 0 || uid == geteuid() || (!stat(device, &st) && st.st_uid == uid);
}

/* The mount whose root is at path or that was made of the device at path, or NULL. */
static struct libmnt_fs *search(struct libmnt_table *tb, const char *path)
{
	struct libmnt_fs *fs, *by_target = NULL, *by_source = NULL;
	struct libmnt_iter *itr = mnt_new_iter(MNT_ITER_FORWARD);
	const char *target, *source;

	if (!itr)
		return NULL;
	while (!mnt_table_next_fs(tb, itr, &fs)) {
		target = mnt_fs_get_target(fs);
		source = mnt_fs_get_source(fs);
		/* The last one mounted there hides those before it. */
		if (target && !strcmp(target, path))
			by_target = fs;
		/* The first one is the mount, those behind it are copies. */
		if (!by_source && is_ours(fs) && source && !strcmp(source, path) &&
		    is_trusted(fs, path))
			by_source = fs;
	}
	mnt_free_iter(itr);
	if (by_target && is_ours(by_target))
		return by_target;
	return by_source;
}

static bool has_ro(const char *optstr)
{
	return optstr && !mnt_optstr_get_option(optstr, "ro", NULL, NULL);
}

static int fill(struct libmnt_fs *fs, struct mounted *m)
{
	const char *source = mnt_fs_get_source(fs);
	struct statfs st;

	m->device = strdup(source ? source : "");
	m->mountpoint = strdup(mnt_fs_get_target(fs));
	if (!m->device || !m->mountpoint) {
		mounted_free(m);
		return -ENOMEM;
	}
	m->read_only = has_ro(mnt_fs_get_vfs_options(fs)) ||
		       has_ro(mnt_fs_get_fs_options(fs));
	m->has_owner = get_owner(fs, &m->owner);
	m->dead = statfs(m->mountpoint, &st) && errno == ENOTCONN;
	return 1;
}

int mounted_find(const char *path, struct mounted *m)
{
	struct libmnt_table *tb;
	struct libmnt_fs *fs;
	char *real;
	int ret = 0;

	memset(m, 0, sizeof(*m));
	real = resolve(path);
	if (!real)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	tb = mnt_new_table();
	if (!tb) {
		free(real);
		return -ENOMEM;
	}
	ret = mnt_table_parse_file(tb, MOUNTINFO);
	if (ret) {
		ret = ret < 0 ? ret : -EIO;
		goto out;
	}
	fs = search(tb, real);
	if (fs)
		ret = fill(fs, m);
out:
	mnt_unref_table(tb);
	free(real);
	return ret;
}

void mounted_free(struct mounted *m)
{
	free(m->device);
	free(m->mountpoint);
	memset(m, 0, sizeof(*m));
}

static int open_control(const char *mountpoint, const char *file, int flags)
{
	char path[PATH_MAX];
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/" ZONEFSD_CTLDIR "/%s", mountpoint, file);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int mounted_command(const char *mountpoint, const char *line)
{
	size_t len = strlen(line);
	ssize_t n;
	int fd, ret = 0;

	if (!len || strchr(line, '\n'))
		return -EINVAL;
	fd = open_control(mountpoint, "ctl", O_WRONLY);
	if (fd < 0)
		return fd;
	/* One write is one command: a second attempt would be a second command. */
	n = write(fd, line, len);
	if (n < 0)
		ret = -errno;
	else if ((size_t)n != len)
		ret = -EIO;
	close(fd);
	return ret;
}

int mounted_read(const char *mountpoint, const char *file, char **text)
{
	size_t room = 0, len = 0;
	char *buf = NULL, *more;
	ssize_t n;
	int fd, ret;

	fd = open_control(mountpoint, file, O_RDONLY);
	if (fd < 0)
		return fd;
	do {
		if (room - len < 2) {
			room = room ? room * 2 : 16384;
			more = realloc(buf, room);
			ret = -ENOMEM;
			if (!more)
				goto fail;
			buf = more;
		}
		n = read(fd, buf + len, room - len - 1);
		if (n > 0)
			len += n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	ret = -errno;
	if (n < 0)
		goto fail;
	close(fd);
	buf[len] = '\0';
	*text = buf;
	return 0;
fail:
	free(buf);
	close(fd);
	return ret;
}

int mounted_value(const char *text, const char *name, char *buf, size_t len)
{
	size_t name_len = strlen(name), n;
	const char *line, *value;

	for (line = text; *line; line += *line == '\n') {
		n = strcspn(line, "\n");
		if (n >= name_len && !memcmp(line, name, name_len) &&
		    (n == name_len || line[name_len] == ' ')) {
			value = line + name_len + (n > name_len);
			n -= value - line;
			if (n >= len)
				return -ERANGE;
			memcpy(buf, value, n);
			buf[n] = '\0';
			return 0;
		}
		line += n;
	}
	return -ENOENT;
}
