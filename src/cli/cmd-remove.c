/* SPDX-License-Identifier: BSD-2-Clause */
/* remove: stop using a device, its files stay. Unmounts, and waits for the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "zonefsd/units.h"

static const struct opt remove_opts[] = {
	{ 'o', NULL, "id=N,base_dir=DIR", "the device DIR/N (base_dir: /var/local/zloop)" },
	OPT_END
};

/* Start argv with its errors going to *err_fd. 0 or -errno. */
static int spawn(char *const argv[], pid_t *pid, int *err_fd)
{
	posix_spawn_file_actions_t fa;
	int ends[2], ret;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	ret = posix_spawn_file_actions_init(&fa);
	if (!ret) {
		ret = posix_spawn_file_actions_adddup2(&fa, ends[1], STDERR_FILENO);
		if (!ret)
			ret = posix_spawnp(pid, argv[0], &fa, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&fa);
	}
	close(ends[1]);
	if (ret)
		close(ends[0]);
	else
		*err_fd = ends[0];
	return -ret;
}

/* What stands behind "TOOL: SUBJECT: ", or the whole line. */
static const char *skip_subject(const char *line, const char *tool, const char *subject)
{
	size_t tool_len = strlen(tool), len = strlen(subject);

	if (strncmp(line, tool, tool_len) || strncmp(line + tool_len, ": ", 2))
		return line;
	line += tool_len + 2;
	if (!strncmp(line, subject, len) && !strncmp(line + len, ": ", 2))
		line += len + 2;
	return line;
}

/* Run argv; on failure its first error line, or its status, is the cause. */
static int run_tool(const char *subject, char *const argv[])
{
	char text[400] = "", rest[256];
	size_t len = 0;
	int fd = -1, ret, status;
	ssize_t n;
	pid_t pid;

	ret = spawn(argv, &pid, &fd);
	if (ret)
		return fail("%s: %s: %s", subject, argv[0], strerror(-ret));
	/* To the end, so that the tool never blocks on a full pipe. */
	do {
		if (len < sizeof(text) - 1) {
			n = read(fd, text + len, sizeof(text) - 1 - len);
			len += n > 0 ? n : 0;
		} else {
			n = read(fd, rest, sizeof(rest));
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (text[0])
		return fail("%s: %s", subject, skip_subject(text, argv[0], subject));
	return fail("%s: %s failed with status %d", subject, argv[0],
		    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The daemon flushes after the mount is gone; its run file tells how that went. */
static int wait_for_daemon(const struct mounted *m, pid_t pid)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	char state[16], error[512];
	int status = -1, known = -1;

	while (!kill(pid, 0) || errno == EPERM) {
		if (!mounted_status_read(pid, state, &status, error, sizeof(error)))
			known = status;
		nanosleep(&pause, NULL);
	}
	if (!mounted_status_read(pid, state, &status, error, sizeof(error)))
		known = status;
	if (known <= 0)
		return 0;
	return fail("%s: the daemon ended with status %d%s%s", m->device, known,
		    error[0] ? ": " : "", error);
}

/* Whose mount we may not look into: its lock on the device tells. */
static int wait_for_lock(const struct mounted *m)
{
	struct zdev_open_opts opts = { .read_only = true, .wait_ms = HOLDER_WAIT_MS };
	struct zerr e = { "" };
	struct zdev *dev;
	int ret;

	ret = zdev_open(m->device, &opts, &dev, &e);
	if (ret)
		return fail_zerr(&e, m->device, ret);
	zdev_close(dev);
	return 0;
}

int unmount(const struct mounted *m)
{
	char *as_root[] = { "umount", "--", m->mountpoint, NULL };
	char *as_user[] = { "fusermount3", "-u", "--", m->mountpoint, NULL };
	char *info, text[16];
	uint64_t pid = 0;
	int ret;

	if (!m->dead && !mounted_read(m->mountpoint, "info", &info)) {
		if (mounted_value(info, "pid", text, sizeof(text)) ||
		    zu_parse_u64(text, INT32_MAX, &pid))
			pid = 0;
		free(info);
	}
	ret = run_tool(m->mountpoint, geteuid() ? as_user : as_root);
	if (ret || m->dead)
		return ret;
	return pid ? wait_for_daemon(m, pid) : wait_for_lock(m);
}

/* "id=N,base_dir=DIR" to DIR/N; NULL with a->status set. */
static char *zloop_path(struct args *a, const char *text)
{
	char *copy = strdup(text), *rest = copy, *word, *path = NULL;
	const char *base = "/var/local/zloop", *id = NULL;
	uint64_t v;

	while (copy && (word = strsep(&rest, ","))) {
		if (!strncmp(word, "id=", 3)) {
			id = word + 3;
		} else if (!strncmp(word, "base_dir=", 9)) {
			base = word + 9;
		} else {
			a->status = usage_error(a, "-o: '%s' is not id=N or base_dir=DIR", word);
			goto out;
		}
	}
	if (!copy)
		a->status = fail("-o: %s", strerror(ENOMEM));
	else if (!id || zu_parse_u64(id, INT32_MAX, &v))
		a->status = usage_error(a, "-o: needs id=N");
	else if (asprintf(&path, "%s/%llu", base, (unsigned long long)v) < 0)
		path = NULL;
out:
	free(copy);
	return path;
}

static int remove_device(const char *path)
{
	struct mounted m;
	struct target t;
	int ret;

	ret = mounted_find(path, &m);
	if (ret < 0)
		return fail("%s: %s", path, strerror(-ret));
	if (ret == 1) {
		ret = unmount(&m);
		if (!ret)
			say("unmounted %s", m.mountpoint);
		mounted_free(&m);
		return ret;
	}
	/* Not ours to unmount: a holder is an error, and named. */
	ret = target_open_device(path, &t);
	if (ret)
		return ret;
	say("%s: not in use", path);
	return target_close(&t, 0);
}

static int run_remove(struct args *a)
{
	char *path = NULL;
	const char *word;
	int c, ret;

	while ((c = args_next(a)) > 0) {
		free(path);
		path = zloop_path(a, a->value);
		if (!path)
			return a->status;
	}
	if (c < 0 || (path && args_left(a))) {
		ret = c < 0 ? a->status : usage_error(a, "-o: excludes DEV");
		free(path);
		return ret;
	}
	word = path ? path : args_operand(a, "DEV");
	if (!word)
		return a->status;
	ret = remove_device(word);
	free(path);
	return finish_output(ret);
}

const struct cmd cmd_remove = {
	.name = "remove",
	.synopsis = "-o id=N[,base_dir=DIR] | DEV",
	.summary = "stop using a device, its files stay",
	.opts = remove_opts,
	.notes = "A mounted device is unmounted; the command returns when all is on the device.\n",
	.run = run_remove,
};
