/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run file of a daemon, RUNDIR/PID.status: how it fares, and how it ended.
 * It is replaced by rename, so a reader never sees half of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "zonefsd/mounted.h"
#include "zonefsd/units.h"

#define STATUS_MAX	(2 * PATH_MAX + 4096)
#define STATUS_KEEP	300	/* seconds that umount(8) has to read it */
#define PRUNE_MAX	1024	/* at a time: a start must not take long */

/* The directory must be ours alone: others could plant a false status. */
static int make_private(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(dir, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	return 0;
}

int mounted_rundir(char *buf, size_t len)
{
	const char *base;
	int n;

	if (geteuid() == 0) {
		n = snprintf(buf, len, "/run/zonefsd");
	} else {
		base = getenv("XDG_RUNTIME_DIR");
		if (base && *base == '/')
			n = snprintf(buf, len, "%s/zonefsd", base);
		else	/* not set by su and sudo; where there is one, it is here */
			n = snprintf(buf, len, "/run/user/%u/zonefsd", geteuid());
	}
	if (n < 0 || (size_t)n >= len)
		return -ENAMETOOLONG;
	return make_private(buf);
}

static int status_path(pid_t pid, const char *suffix, char *buf, size_t len)
{
	int ret, n;

	ret = mounted_rundir(buf, len);
	if (ret)
		return ret;
	n = snprintf(buf + strlen(buf), len - strlen(buf), "/%d.status%s", (int)pid, suffix);
	return n < 0 || strlen(buf) + 1 >= len ? -ENAMETOOLONG : 0;
}

/* A value is one line: what would break it becomes '?'. */
static void put_line(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s ", name);
	for (; *value; value++)
		fputc((unsigned char)*value < ' ' || *value == 0x7f ? '?' : *value, f);
	fputc('\n', f);
}

int mounted_status_write(pid_t pid, const char *device, const char *mountpoint,
			 const char *state, int exit_status, const char *error)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	FILE *f;
	int ret, fd;

	ret = status_path(pid, "", path, sizeof(path));
	if (!ret)
		ret = status_path(pid, ".new", tmp, sizeof(tmp));
	if (ret)
		return ret;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		ret = -errno;
		close(fd);
		goto fail;
	}
	put_line(f, "device", device);
	put_line(f, "mountpoint", mountpoint);
	put_line(f, "state", state);
	if (exit_status >= 0)
		fprintf(f, "exit %d\n", exit_status);
	if (exit_status > 0 && error && *error)
		put_line(f, "error", error);
	ret = ferror(f) ? -EIO : 0;
	if (fclose(f) && !ret)
		ret = -errno;
	if (!ret && rename(tmp, path))
		ret = -errno;
	if (!ret)
		return 0;
fail:
	unlink(tmp);
	return ret;
}

int mounted_status_read(pid_t pid, char state[16], int *exit_status,
			char *error, size_t error_len)
{
	char path[PATH_MAX], text[STATUS_MAX], value[16];
	uint64_t status;
	ssize_t n;
	int ret, fd;

	ret = status_path(pid, "", path, sizeof(path));
	if (ret)
		return ret;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	ret = -errno;
	close(fd);
	if (n < 0)
		return ret;
	text[n] = '\0';

	if (mounted_value(text, "state", state, 16))
		return -EIO;
	*exit_status = -1;
	if (!mounted_value(text, "exit", value, sizeof(value))) {
		if (zu_parse_u64(value, 255, &status))
			return -EIO;
		*exit_status = status;
	}
	if (error_len && mounted_value(text, "error", error, error_len))
		error[0] = '\0';
	return 0;
}

void mounted_status_remove(pid_t pid)
{
	char path[PATH_MAX];

	if (!status_path(pid, "", path, sizeof(path)))
		unlink(path);
}

/* The pid of PID.status or of its next version that was never finished; 0: neither. */
static pid_t pid_of_name(const char *name)
{
	char *end;
	long pid;

	if (*name < '1' || *name > '9')
		return 0;
	pid = strtol(name, &end, 10);
	if (pid > INT_MAX || (strcmp(end, ".status") && strcmp(end, ".status.new")))
		return 0;
	return (pid_t)pid;
}

static DIR *open_rundir(void)
{
	char path[PATH_MAX];
	DIR *dir;
	int fd;

	if (mounted_rundir(path, sizeof(path)))
		return NULL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

void mounted_status_prune(void)
{
	time_t old = time(NULL) - STATUS_KEEP;
	unsigned left = PRUNE_MAX;
	DIR *dir = open_rundir();
	struct dirent *de;
	struct stat st;
	pid_t pid;

	if (!dir)
		return;
	while (left && (de = readdir(dir))) {
		pid = pid_of_name(de->d_name);
		if (!pid || !kill(pid, 0) || errno != ESRCH ||
		    fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    st.st_mtime >= old)
			continue;
		if (!unlinkat(dirfd(dir), de->d_name, 0))
			left--;
	}
	closedir(dir);
}
