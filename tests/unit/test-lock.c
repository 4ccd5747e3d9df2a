/* SPDX-License-Identifier: BSD-2-Clause */
/* Exclusive and shared use of a device, and who is named as the holder. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "../../src/zdev/zdev_i.h"
#include "unit.h"

static char dir[64];

static int open_dir(void)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/* A child named comm that holds the lock and lets go after ms (0: never). */
static pid_t hold(const char *comm, bool shared, unsigned ms)
{
	int ready[2];
	pid_t pid;
	char c;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		struct zerr e;

		close(ready[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, comm);
		if (zdev_lock(open_dir(), dir, shared, 0, &e))
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		if (ms) {
			usleep(ms * 1000);
			_exit(0);
		}
		for (;;)
			pause();
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void let_go(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static unsigned now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static void the_holder_is_named(void)
{
	pid_t pid = hold("some-tool", false, 0);
	int fd = open_dir();
	char want[128];
	struct zerr e;

	snprintf(want, sizeof(want), "%s: in use by some-tool (pid %d)", dir, (int)pid);
	CHECK_EQ(zdev_lock(fd, dir, false, 0, &e), -EBUSY);
	CHECK_STR(e.msg, want);
	CHECK_EQ(zdev_lock(fd, dir, true, 0, &e), -EBUSY);
	let_go(pid);
	/* A killed holder leaves nothing behind. */
	CHECK_EQ(zdev_lock(fd, dir, false, 0, &e), 0);
	close(fd);
}

enum { NR_OTHERS = 300 };

/* Locks of others that come and go: the list of all locks moves while it is read. */
static pid_t churn(void)
{
	int fd[NR_OTHERS], ready[2];
	char name[96], c;
	pid_t pid;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 0; i < NR_OTHERS; i++) {
			snprintf(name, sizeof(name), "%s/other%u", dir, i);
			fd[i] = open(name, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
			if (fd[i] < 0 || flock(fd[i], LOCK_EX))
				_exit(1);
		}
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (unsigned i = 0;; i = (i + 1) % NR_OTHERS) {
			flock(fd[i], LOCK_UN);
			flock(fd[i], LOCK_EX);
		}
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void the_holder_is_named_while_others_lock(void)
{
	pid_t pid = hold("some-tool", false, 0), other = churn();
	int fd = open_dir();
	char want[128];
	struct zerr e;

	snprintf(want, sizeof(want), "%s: in use by some-tool (pid %d)", dir, (int)pid);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(zdev_lock(fd, dir, false, 0, &e), -EBUSY);
		CHECK_STR(e.msg, want);
	}
	let_go(other);
	let_go(pid);
	close(fd);
}

static void readers_share(void)
{
	pid_t pid = hold("reader", true, 0);
	int fd = open_dir();
	struct zerr e;

	CHECK_EQ(zdev_lock(fd, dir, true, 0, &e), 0);
	close(fd);
	fd = open_dir();
	CHECK_EQ(zdev_lock(fd, dir, false, 0, &e), -EBUSY);
	CHECK_HAS(e.msg, "in use by reader (pid ");
	let_go(pid);
	close(fd);
}

static void a_daemon_on_its_way_out_is_waited_for(void)
{
	pid_t pid = hold("zonefsd", false, 200);
	int fd = open_dir();
	struct zerr e;

	CHECK_EQ(zdev_lock(fd, dir, false, 10000, &e), 0);
	close(fd);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);

	/* Not for ever, and only when asked to. */
	pid = hold("zonefsd", false, 0);
	fd = open_dir();
	CHECK_EQ(zdev_lock(fd, dir, false, 0, &e), -EBUSY);
	CHECK_EQ(zdev_lock(fd, dir, false, 150, &e), -EBUSY);
	CHECK_HAS(e.msg, "in use by zonefsd (pid ");
	let_go(pid);
	close(fd);
}

/* It looks at every block device that was written to, and soon lets go. */
static void udev_is_waited_for(void)
{
	pid_t pid = hold("(udev-worker)", true, 200);
	int fd = open_dir();
	struct zerr e;

	CHECK_EQ(zdev_lock(fd, dir, false, 10000, &e), 0);
	close(fd);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void other_programs_are_not_waited_for(void)
{
	pid_t pid = hold("some-tool", false, 0);
	unsigned start = now_ms();
	int fd = open_dir();
	struct zerr e;

	CHECK_EQ(zdev_lock(fd, dir, false, 20000, &e), -EBUSY);
	CHECK(now_ms() - start < 10000);
	let_go(pid);
	close(fd);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	RUN(the_holder_is_named);
	RUN(the_holder_is_named_while_others_lock);
	RUN(readers_share);
	RUN(a_daemon_on_its_way_out_is_waited_for);
	RUN(udev_is_waited_for);
	RUN(other_programs_are_not_waited_for);
	unit_rm_tree(dir);
	return 0;
}
