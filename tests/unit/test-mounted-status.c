/* SPDX-License-Identifier: BSD-2-Clause */
/* The run files of daemons: written, read, and removed when nobody did. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "zonefsd/mounted.h"

#define NR_MANY		1500
#define NOBODY		65534

static char base[] = "run-XXXXXX";
static char dir[256];

static const char *in_dir(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static bool exists(const char *name)
{
	struct stat st;

	return !lstat(in_dir(name), &st);
}

static void set_age(const char *path, time_t seconds)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - seconds } };

	t[1] = t[0];
	CHECK_EQ(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void make(const char *name, time_t age)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
	set_age(in_dir(name), age);
}

/* Not root's folder, which the machine uses. */
static void use_private_folder(void)
{
	char cwd[128];

	CHECK(mkdtemp(base));
	if (geteuid() == 0) {
		CHECK_EQ(chown(base, NOBODY, NOBODY), 0);
		CHECK_EQ(seteuid(NOBODY), 0);
	}
	CHECK(getcwd(cwd, sizeof(cwd)));
	snprintf(dir, sizeof(dir), "%s/%s", cwd, base);
	CHECK_EQ(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
	CHECK_EQ(mounted_rundir(dir, sizeof(dir)), 0);
}

/* A process of this number has been, and nobody reaped and replaced it yet. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		_exit(0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void test_write_and_read(void)
{
	char state[16], error[64];
	int status;

	CHECK_EQ(mounted_status_write(getpid(), "/dev", "/mnt", "running", -1, NULL), 0);
	CHECK_EQ(mounted_status_read(getpid(), state, &status, error, sizeof(error)), 0);
	CHECK(!strcmp(state, "running") && status == -1 && !*error);
	CHECK_EQ(mounted_status_write(getpid(), "/dev", "/mnt", "done", 1, "two\nlines"), 0);
	CHECK_EQ(mounted_status_read(getpid(), state, &status, error, sizeof(error)), 0);
	CHECK(!strcmp(state, "done") && status == 1 && !strcmp(error, "two?lines"));
	mounted_status_remove(getpid());
	CHECK_EQ(mounted_status_read(getpid(), state, &status, error, sizeof(error)), -ENOENT);
}

static void test_prune_takes_the_old_of_the_dead(void)
{
	char dead[64], unfinished[64], mine[64], fresh[64];
	pid_t pid = dead_pid();

	snprintf(dead, sizeof(dead), "%d.status", pid);
	snprintf(unfinished, sizeof(unfinished), "%d.status.new", pid);
	snprintf(mine, sizeof(mine), "%d.status", getpid());
	make(dead, 3600);
	make(unfinished, 3600);
	make(mine, 3600);
	mounted_status_prune();
	CHECK(!exists(dead) && !exists(unfinished) && exists(mine));
	/* umount(8) may be about to read it. */
	snprintf(fresh, sizeof(fresh), "%d.status", pid);
	make(fresh, 10);
	mounted_status_prune();
	CHECK(exists(fresh));
	mounted_status_remove(getpid());
	mounted_status_remove(pid);
}

static void test_prune_leaves_what_is_not_ours(void)
{
	static const char *const names[] = {
		"arena-1", "1234567.status.old", "1234567", "-1234567.status", "0.status",
		"99999999999999999999.status", "1234567.statusx", " 1234567.status",
	};
	unsigned i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		make(names[i], 3600);
	mounted_status_prune();
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		CHECK(exists(names[i]));
		unlink(in_dir(names[i]));
	}
}

static void test_prune_follows_no_link(void)
{
	char link[64];

	make("victim", 3600);
	snprintf(link, sizeof(link), "%d.status", dead_pid());
	CHECK_EQ(symlink("victim", in_dir(link)), 0);
	set_age(in_dir(link), 3600);
	mounted_status_prune();
	CHECK(exists("victim") && !exists(link));
	unlink(in_dir("victim"));

	/* Others may write there: it is none of ours. */
	snprintf(link, sizeof(link), "%d.status", dead_pid());
	make(link, 3600);
	CHECK_EQ(chmod(dir, 0777), 0);
	mounted_status_prune();
	CHECK(exists(link));
	CHECK_EQ(chmod(dir, 0700), 0);
	mounted_status_prune();
	CHECK(!exists(link));
}

/* No process has such a number: the kernel's largest is 4194304. */
static void test_prune_is_bounded(void)
{
	char name[64];
	int i, left;

	for (i = 0; i < NR_MANY; i++) {
		snprintf(name, sizeof(name), "%d.status", 5000000 + i);
		make(name, 3600);
	}
	mounted_status_prune();
	for (i = left = 0; i < NR_MANY; i++) {
		snprintf(name, sizeof(name), "%d.status", 5000000 + i);
		left += exists(name);
	}
	CHECK_EQ(left, NR_MANY - 1024);
	mounted_status_prune();
	for (i = 0; i < NR_MANY; i++) {
		snprintf(name, sizeof(name), "%d.status", 5000000 + i);
		CHECK(!exists(name));
	}
}

int main(void)
{
	use_private_folder();
	RUN(test_write_and_read);
	RUN(test_prune_takes_the_old_of_the_dead);
	RUN(test_prune_leaves_what_is_not_ours);
	RUN(test_prune_follows_no_link);
	RUN(test_prune_is_bounded);
	CHECK_EQ(rmdir(dir), 0);	/* nothing else was left in it */
	CHECK(geteuid() == getuid() || seteuid(getuid()) == 0);
	CHECK_EQ(rmdir(base), 0);
	return 0;
}
