/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One daemon or tool at a time on a device: flock(2) on the image file or on the
 * directory. The kernel drops it when its holder dies, so a crash leaves nothing
 * to clean up. Who holds it is found in /proc/locks, for the message.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "zdev_i.h"
#include "zonefsd/mounted.h"

#define RETRY_MS	50
#define FIND_TRIES	100

struct holder {
	pid_t	pid;		/* 0: unknown, for instance in another container */
	char	comm[32];	/* "" if unknown */
};

/* One line of /proc/locks: the pid of an flock on the file, or 0. */
static pid_t parse_lock(const char *line, const struct stat *st, bool match_dev)
{
	unsigned major, minor;
	char kind[16];
	uint64_t ino;
	int pid;

	/* "1: FLOCK  ADVISORY  WRITE 123 08:01:4711 0 EOF"; waiters have "->". */
	if (sscanf(line, "%*u: %15s %*s %*s %d %x:%x:%" SCNu64, kind, &pid, &major,
		   &minor, &ino) != 5)
		return 0;
	if (strcmp(kind, "FLOCK") || ino != st->st_ino || pid <= 0)
		return 0;
	if (match_dev && makedev(major, minor) != st->st_dev)
		return 0;
	return pid;
}

/*
 * On btrfs and overlayfs stat's device number is not that of /proc/locks. That
 * file comes a page a read; a lock which moves up between two, as others before
 * it go, is missed.
 */
static pid_t find_pid(const struct stat *st)
{
	pid_t exact = 0, by_ino = 0;
	char line[256];
	FILE *f;

	f = fopen("/proc/locks", "re");
	if (!f)
		return 0;
	while (!exact && fgets(line, sizeof(line), f)) {
		exact = parse_lock(line, st, true);
		if (!by_ino)
			by_ino = parse_lock(line, st, false);
	}
	fclose(f);
	return exact ? exact : by_ino;
}

static void find_holder(int fd, struct holder *h)
{
	char path[64];
	struct stat st;
	FILE *f;

	*h = (struct holder) { 0 };
	if (fstat(fd, &st))
		return;
	h->pid = find_pid(&st);
	if (!h->pid)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)h->pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(h->comm, sizeof(h->comm), f))
		h->comm[strcspn(h->comm, "\n")] = '\0';
	fclose(f);
}

/*
 * A daemon without a mount of the device is on its way out (or has not mounted
 * yet, and will hold the lock when the time is up). So is one that cannot be
 * found any more.
 */
static bool holder_is_leaving(const struct holder *h, const char *path)
{
	struct mounted m;
	bool serving;

	if (!h->comm[0])
		return true;
	/* It looks at each block device that was closed after writing. */
	if (!strcmp(h->comm, "(udev-worker)") || !strcmp(h->comm, "systemd-udevd"))
		return true;
	if (strcmp(h->comm, "zonefsd"))
		return false;
	if (mounted_find(path, &m) <= 0)
		return true;
	serving = !m.dead;
	mounted_free(&m);
	return !serving;
}

static int refuse(const struct holder *h, const char *path, struct zerr *e)
{
	if (h->comm[0])
		return zerr_set(e, EBUSY, "%s: in use by %s (pid %d)", path, h->comm,
				(int)h->pid);
	if (h->pid)
		return zerr_set(e, EBUSY, "%s: in use (locked by pid %d)", path,
				(int)h->pid);
	return zerr_set(e, EBUSY, "%s: in use by another process", path);
}

int zdev_lock(int fd, const char *path, bool shared, uint32_t wait_ms, struct zerr *e)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };
	int how = (shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
	uint32_t waited = 0, tries = 0;
	struct holder h;

	for (;;) {
		if (!flock(fd, how))
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return zerr_errno(e, errno, "%s: locking", path);
		find_holder(fd, &h);
		if (waited < wait_ms && holder_is_leaving(&h, path)) {
			nanosleep(&pause, NULL);
			waited += RETRY_MS;
		} else if (h.comm[0] || ++tries >= FIND_TRIES) {
			return refuse(&h, path, e);
		}
	}
}
