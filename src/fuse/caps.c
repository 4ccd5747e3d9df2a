/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Capabilities belong to threads. Those that do the device's I/O keep none, or
 * CAP_DAC_OVERRIDE where files of the device belong to somebody else: root may
 * mount anybody's, and a directory opens its zone files when they are used. The
 * others keep CAP_SYS_ADMIN: to show "ro" after an error, and to unmount at a
 * signal. The one that registers files for passthrough needs both.
 */
#include "caps.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(cap)	(UINT64_C(1) << (cap))

/* Leave the calling thread with the caps that it has of these, in the given sets. */
static int keep(uint64_t caps, capng_type_t sets)
{
	unsigned i;

	if (capng_get_caps_process())
		return -EIO;
	for (i = 0; i <= CAP_LAST_CAP; i++)
		if (!capng_have_capability(CAPNG_PERMITTED, i))
			caps &= ~BIT(i);
	if (sets & CAPNG_PERMITTED)
		capng_clear(CAPNG_SELECT_CAPS);
	for (i = 0; i <= CAP_LAST_CAP; i++)
		capng_update(caps & BIT(i) ? CAPNG_ADD : CAPNG_DROP, sets, i);
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

static bool may_use(int dirfd, const char *name)
{
	return !faccessat(dirfd, name, R_OK | W_OK, AT_EACCESS) || errno == EROFS;
}

/* With what the thread has in effect now: path, and in a directory every file. */
static bool may_use_device(const char *path)
{
	struct dirent *de;
	bool ok = may_use(AT_FDCWD, path);
	struct stat st;
	DIR *dir;

	if (!ok || stat(path, &st) || !S_ISDIR(st.st_mode))
		return ok;
	dir = opendir(path);
	if (!dir)
		return false;
	while (ok && (de = readdir(dir)))
		if (de->d_name[0] != '.')
			ok = may_use(dirfd(dir), de->d_name);
	closedir(dir);
	return ok;
}

struct device_run {
	const char	*path;
	int		(*fn)(void *arg);
	void		*arg;
	int		ret;
	bool		failed;		/* before fn */
	bool		override;
};

static void *run_for_device(void *arg)
{
	struct device_run *r = arg;

	r->ret = keep(0, CAPNG_EFFECTIVE);
	if (!r->ret) {
		r->override = !may_use_device(r->path);
		r->ret = keep(r->override ? BIT(CAP_DAC_OVERRIDE) : 0,
			      CAPNG_EFFECTIVE | CAPNG_PERMITTED);
	}
	r->failed = r->ret != 0;
	if (!r->failed)
		r->ret = r->fn(r->arg);
	return NULL;
}

int caps_run_for_device(const char *path, int (*fn)(void *arg), void *arg,
			bool *override, struct zerr *e)
{
	struct device_run r = { .path = path, .fn = fn, .arg = arg };
	pthread_t thread;
	int ret;

	if (geteuid() != 0)
		return fn(arg);
	ret = pthread_create(&thread, NULL, run_for_device, &r);
	if (ret)
		return zerr_errno(e, ret, "cannot start a thread");
	pthread_join(thread, NULL);
	if (r.failed)
		return zerr_errno(e, -r.ret, "cannot drop capabilities");
	*override = r.override;
	return r.ret;
}

int caps_keep_for_backing(bool override)
{
	return keep(BIT(CAP_SYS_ADMIN) | (override ? BIT(CAP_DAC_OVERRIDE) : 0),
		    CAPNG_EFFECTIVE | CAPNG_PERMITTED);
}

int caps_drop(struct zerr *e)
{
	int ret;

	if (prctl(PR_SET_DUMPABLE, 0))
		return zerr_errno(e, errno, "cannot forbid core dumps");
	/* fusermount3, which unmounts for other users, must stay set-user-id. */
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return zerr_errno(e, errno, "cannot give up privileges");
	ret = keep(BIT(CAP_SYS_ADMIN), CAPNG_EFFECTIVE | CAPNG_PERMITTED);
	return ret ? zerr_errno(e, -ret, "cannot drop capabilities") : 0;
}
