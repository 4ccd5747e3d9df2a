/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * umount.fuse.zonefsd: what umount(8) runs for a mount of ours. umount(2) does
 * not wait for a FUSE daemon; this does, and returns how the daemon ended.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <libmount/libmount.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper.h"
#include "zonefsd/units.h"

#define PROGRAM		"umount.fuse.zonefsd"

/* How often a waiting user is told so, and the state file looked at. */
#define TELL_MS		5000

/*
 * The kernel ends the connection when the last mount of the file system is
 * gone. One in another mount namespace cannot be seen from here; a daemon that
 * still says "running" so long after umount(2) has one.
 */
#define ELSEWHERE_MS	15000

struct args {
	const char	*target;
	bool		force;
	bool		lazy;
	bool		no_utab;
	bool		ro_when_busy;
	bool		verbose;
};

/* The process behind a mount. */
struct daemon {
	pid_t	pid;	/* 0: unknown */
	int	pidfd;	/* -1: unknown */
	dev_t	dev;	/* st_dev of the file system */
};

static const char usage_text[] =
	"usage: " PROGRAM " MNT [-flnrv]\n"
	"\n"
	"Run by umount(8). Returns when everything is on the device.\n"
	"  -f   force: end the connection, do not wait\n"
	"  -l   lazy: detach now, do not wait\n"
	"  -n   leave /run/mount/utab alone\n"
	"  -r   if the mount is busy, make it read-only\n"
	"  -v   say what is done\n"
	"  -h, --help, -V, --version\n";

static int fail(const char *subject, const char *cause)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", subject, cause);
	return MOUNT_FAILED;
}

/* ---- the daemon ---- */

static pid_t read_pid(const char *mountpoint)
{
	char *text, value[24];
	uint64_t pid = 0;

	if (mounted_read(mountpoint, "info", &text))
		return 0;
	if (mounted_value(text, "pid", value, sizeof(value)) ||
	    zu_parse_u64(value, INT32_MAX, &pid))
		pid = 0;
	free(text);
	return pid;
}

/* Does the process pid run as uid? /proc/PID itself is root's for a daemon of ours. */
static bool runs_as(pid_t pid, uid_t uid)
{
	char path[32], line[256];
	bool same = false;
	unsigned euid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Uid:\t%*u\t%u", &euid) != 1)
			continue;
		same = euid == uid;
		break;
	}
	fclose(f);
	return same;
}

/*
 * Any user may mount a FUSE file system of our type, which then names whatever
 * process it likes. Wait for one of that user's at most.
 */
static bool is_credible(const struct mounted *m, pid_t pid)
{
	return m->has_owner && (m->owner == geteuid() || runs_as(pid, m->owner));
}

/*
 * Fill in what can be known. A number may have gone to another process between
 * the answer and pidfd_open; when the daemon answers once more afterwards, it
 * was alive all the time and the descriptor is its own.
 */
static void find_daemon(const struct mounted *m, struct daemon *d)
{
	const char *mountpoint = m->mountpoint;
	struct stat st;

	d->pidfd = -1;
	d->dev = 0;
	d->pid = read_pid(mountpoint);
	if (!d->pid || stat(mountpoint, &st))
		return;
	d->dev = st.st_dev;
	d->pidfd = syscall(SYS_pidfd_open, d->pid, 0);
	if (d->pidfd >= 0 && (!is_credible(m, d->pid) || read_pid(mountpoint) != d->pid)) {
		close(d->pidfd);
		d->pidfd = -1;
	}
}

/* Is the file system still mounted somewhere, a bind mount for instance? */
static bool still_mounted(dev_t dev)
{
	struct libmnt_table *tb = mnt_new_table();
	bool found = tb && !mnt_table_parse_file(tb, "/proc/self/mountinfo") &&
		     mnt_table_find_devno(tb, dev, MNT_ITER_BACKWARD);

	mnt_unref_table(tb);
	return found;
}

static bool says_running(pid_t pid)
{
	char state[16], error[2];
	int status;

	return !mounted_status_read(pid, state, &status, error, sizeof(error)) &&
	       !strcmp(state, "running");
}

/* 0 when the daemon has ended, -EBUSY when it serves another mount, -errno. */
static int wait_for_end(const struct args *a, const struct daemon *d)
{
	struct pollfd p = { .fd = d->pidfd, .events = POLLIN };
	bool tell = isatty(STDERR_FILENO) || a->verbose;
	int waited = 0, n;

	for (;;) {
		n = poll(&p, 1, TELL_MS);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		waited += TELL_MS;
		if (waited >= ELSEWHERE_MS && says_running(d->pid))
			return -EBUSY;
		if (tell)
			fprintf(stderr, PROGRAM ": %s: waiting for zonefsd (pid %d) to "
				"write everything to the device\n", a->target, (int)d->pid);
	}
}

/* How the daemon ended, as it wrote it down. */
static int end_status(const struct args *a, const struct daemon *d)
{
	char state[16], error[512];
	int status, ret;

	ret = mounted_status_read(d->pid, state, &status, error, sizeof(error));
	if (ret == -ENOENT)
		return MOUNT_OK;	/* a good end; or another user's, not ours to read */
	if (ret)
		return fail(a->target, "cannot read how zonefsd ended");
	mounted_status_remove(d->pid);
	if (strcmp(state, "done"))
		return fail(a->target, "zonefsd ended before everything was on the device");
	if (status)
		return fail(a->target, *error ? error : "zonefsd ended with an error");
	return MOUNT_OK;
}

static int wait_for_daemon(const struct args *a, const struct daemon *d)
{
	int ret;

	if (d->pidfd < 0) {
		if (a->verbose)
			printf(PROGRAM ": %s: zonefsd not found, not waiting\n", a->target);
		return MOUNT_OK;
	}
	if (still_mounted(d->dev))
		return MOUNT_OK;
	ret = wait_for_end(a, d);
	if (ret == -EBUSY) {
		fprintf(stderr, PROGRAM ": %s: unmounted here, still mounted in another "
			"mount namespace\n", a->target);
		return MOUNT_OK;
	}
	if (ret)
		return fail(a->target, strerror(-ret));
	return end_status(a, d);
}

/* ---- unmount ---- */

/* Is the loop device on a file below the mount point? */
static bool loop_is_on(const char *loop, const char *mountpoint)
{
	char path[NAME_MAX + 32], file[PATH_MAX] = "";
	size_t len = strlen(mountpoint);
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", loop);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(file, sizeof(file), f))
		file[0] = '\0';
	fclose(f);
	return !strncmp(file, mountpoint, len) && file[len] == '/';
}

/* It is what no list of open files shows. */
static int fail_busy(const struct args *a, const char *mountpoint)
{
	char cause[NAME_MAX + 80] = "target is busy";
	DIR *dir = opendir("/sys/block");
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, "loop", 4) || !loop_is_on(de->d_name, mountpoint))
			continue;
		snprintf(cause, sizeof(cause), "target is busy: /dev/%s is attached to it, "
			 "detach it with zonefs-losetup -d", de->d_name);
		break;
	}
	if (dir)
		closedir(dir);
	return fail(a->target, cause);
}

static int busy(const struct args *a, const struct mounted *m)
{
	struct zerr e = { "" };
	unsigned long flags;
	char opts[256];
	int ret;

	if (!a->ro_when_busy || m->dead)
		return fail_busy(a, m->mountpoint);
	ret = helper_current_flags(m->mountpoint, &flags);
	if (!ret)
		ret = helper_current_opts(m, opts, sizeof(opts));
	/* umount(8) takes this for an unmount and forgets the helper: nothing
	 * may be left for the next one to wait for. */
	if (!ret)
		ret = mounted_command(m->mountpoint, "sync");
	if (ret)
		return fail(a->target, strerror(-ret));
	if (helper_remount(m, opts, flags | MS_RDONLY, &e)) {
		fprintf(stderr, PROGRAM ": %s\n", e.msg);
		return MOUNT_FAILED;
	}
	fprintf(stderr, PROGRAM ": %s: busy, made read-only\n", a->target);
	return MOUNT_OK;
}

static int unmount(const struct args *a, const struct mounted *m)
{
	struct daemon d = { .pidfd = -1 };
	int ret;

	if (!m->dead)
		find_daemon(m, &d);
	ret = helper_unmount(m->mountpoint, false, false);
	if (!ret) {
		if (a->verbose)
			printf(PROGRAM ": %s: unmounted\n", m->mountpoint);
		if (!a->no_utab && geteuid() == 0)
			helper_utab_remove(m->mountpoint);
		ret = wait_for_daemon(a, &d);
	} else if (ret == -EBUSY) {
		ret = busy(a, m);
	} else if (geteuid() == 0 || ret != -EPERM) {
		ret = fail(a->target, strerror(-ret));
	} else {
		ret = MOUNT_FAILED;	/* fusermount3 has said why */
	}
	if (d.pidfd >= 0)
		close(d.pidfd);
	return ret;
}

/*
 * Without a word to the daemon: with -f it may no longer answer, with -l the
 * mount stays in use, and a bind mount of a directory within has none.
 */
static int unmount_plain(const struct args *a)
{
	int ret = helper_unmount(a->target, a->lazy, a->force);

	if (!ret && !a->no_utab && geteuid() == 0)
		helper_utab_remove(a->target);
	if (!ret)
		return MOUNT_OK;
	if (geteuid() != 0 && ret == -EPERM)
		return MOUNT_FAILED;	/* fusermount3 has said why */
	if (ret == -EINVAL)
		return fail(a->target, "not mounted");
	return fail(a->target, ret == -EBUSY ? "target is busy" : strerror(-ret));
}

/* ---- arguments ---- */

/* -1 to go on, else the exit status. */
static int parse_args(struct args *a, int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "flnrvt:N:hV", longopts, NULL)) != -1) {
		switch (c) {
		case 'f':
			a->force = true;
			break;
		case 'l':
			a->lazy = true;
			break;
		case 'n':
			a->no_utab = true;
			break;
		case 'r':
			a->ro_when_busy = true;
			break;
		case 'v':
			a->verbose = true;
			break;
		case 't':	/* the type, known */
			break;
		case 'h':
			fputs(usage_text, stdout);
			return MOUNT_OK;
		case 'V':
			puts(PROGRAM " " ZONEFSD_VERSION);
			return MOUNT_OK;
		case 'N':
			fprintf(stderr, PROGRAM ": -N: not supported, use nsenter(1)\n");
			return MOUNT_USAGE;
		default:
			return MOUNT_USAGE;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, PROGRAM ": arguments: one mount point is needed, "
			"see --help\n");
		return MOUNT_USAGE;
	}
	a->target = argv[optind];
	return -1;
}

int main(int argc, char **argv)
{
	struct args a = { .target = NULL };
	struct mounted m;
	int ret;

	ret = parse_args(&a, argc, argv);
	if (ret >= 0)
		return ret;
	if (a.force || a.lazy)
		return unmount_plain(&a);
	ret = mounted_find(a.target, &m);
	if (ret < 0)
		return fail(a.target, strerror(-ret));
	if (ret == 0)
		return unmount_plain(&a);
	ret = unmount(&a, &m);
	mounted_free(&m);
	return ret;
}
