/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parent waits until the child has mounted or failed, so that its exit
 * status tells the truth. Until then the child writes its one line of error to
 * the terminal itself; after it, to syslog.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "options.h"

static void write_log(void *ctx, enum zlog_level level, const char *line)
{
	struct daemon *d = ctx;

	if (atomic_load(&d->to_syslog))
		zlog_to_syslog(NULL, level, line);
	else
		zlog_to_stderr((void *)(uintptr_t)PROGRAM, level, line);
}

/* The exit status that the child reports, or 1 when it dies without a word. */
static int wait_for_verdict(int fd, pid_t pid)
{
	unsigned char verdict;
	int status;
	ssize_t n;

	do
		n = read(fd, &verdict, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return verdict;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);	/* it has said why */
	fprintf(stderr, PROGRAM ": the daemon died while starting\n");
	return 1;
}

int daemon_start(struct daemon *d, bool foreground, bool debug)
{
	int fds[2], status;
	pid_t pid;

	d->log.write = write_log;
	d->log.ctx = d;
	d->log.max_level = debug ? ZLOG_DEBUG : ZLOG_INFO;
	d->verdict_fd = -1;
	atomic_init(&d->to_syslog, false);
	signal(SIGPIPE, SIG_IGN);
	if (foreground)
		return -1;
	if (pipe2(fds, O_CLOEXEC))
		goto fail;
	pid = fork();
	if (pid < 0)
		goto fail;
	if (pid) {
		close(fds[1]);
		status = wait_for_verdict(fds[0], pid);
		close(fds[0]);
		return status;
	}
	close(fds[0]);
	d->verdict_fd = fds[1];
	setsid();
	if (chdir("/"))		/* all paths are absolute by now */
		goto fail;
	return -1;
fail:
	fprintf(stderr, PROGRAM ": cannot start the daemon: %s\n", strerror(errno));
	return 1;
}

int daemon_ready(struct daemon *d)
{
	unsigned char verdict = 0;
	int null;

	if (d->verdict_fd < 0)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	openlog(PROGRAM, LOG_PID, LOG_DAEMON);
	atomic_store(&d->to_syslog, true);
	/* The parent may have been interrupted: nobody waits for this mount then. */
	if (write(d->verdict_fd, &verdict, 1) != 1) {
		atomic_store(&d->to_syslog, false);
		close(null);
		return -EPIPE;
	}
	close(d->verdict_fd);
	d->verdict_fd = -1;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}
