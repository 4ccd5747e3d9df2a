/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Capabilities belong to threads. Those that do the device's I/O keep none, or
 * CAP_DAC_OVERRIDE where files of the device belong to somebody else: root may
 * mount anybody's, and a directory opens its zone files when they are used. The
 * others keep CAP_SYS_ADMIN: to show "ro" after an error, and to unmount at a
 * signal; and CAP_DAC_OVERRIDE as well where the device needs it, for they close
 * it and carry out some commands on it, and register its files for passthrough.
 */
#include "caps.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_NONE	0
#define KEEP(cap)	(UINT64_C(1) << (cap))

/* Leave the calling thread with the caps that it has of those wanted, in the given sets. */
static int keep(uint64_t wanted, capng_type_t sets)
{
	uint64_t have = 0;

	if (capng_get_caps_process())
		return -EIO;
	for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
		if (wanted & KEEP(i) && capng_have_capability(CAPNG_PERMITTED, i))
			have |= KEEP(i);
	if (sets & CAPNG_PERMITTED)
		capng_clear(CAPNG_SELECT_CAPS);
	else
		for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
			capng_update(CAPNG_DROP, CAPNG_EFFECTIVE, i);
	for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
		if (have & KEEP(i))
			capng_update(CAPNG_ADD, sets, i);
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
	const char	*const *paths;
	unsigned	nr;
	int		(*fn)(void *arg);
	void		*arg;
	int		ret;
	bool		failed;		/* before fn */
	bool		override;	/* the device needs CAP_DAC_OVERRIDE */
};

static void *run_for_device(void *arg)
{
	struct device_run *r = arg;
	unsigned i;

	r->ret = keep(KEEP_NONE, CAPNG_EFFECTIVE);
	for (i = 0; i < r->nr && !r->ret && !r->override; i++)
		r->override = !may_use_device(r->paths[i]);
	if (!r->ret)
		r->ret = keep(r->override ? KEEP(CAP_DAC_OVERRIDE) : KEEP_NONE,
			      CAPNG_EFFECTIVE | CAPNG_PERMITTED);
	r->failed = r->ret != 0;
	if (!r->failed)
		r->ret = r->fn(r->arg);
	return NULL;
}

int caps_run_for_devices(const char *const *paths, unsigned nr, int (*fn)(void *arg), void *arg,
			 bool *override, struct zerr *e)
{
	struct device_run r = { .paths = paths, .nr = nr, .fn = fn, .arg = arg };
	pthread_t thread;
	int ret;

	*override = false;
	if (geteuid() != 0)
		return fn(arg);
	ret = pthread_create(&thread, NULL, run_for_device, &r);
	if (ret)
		return zerr_errno(e, ret, "cannot start a thread");
	pthread_join(thread, NULL);
	*override = r.override;
	if (r.failed)
		return zerr_errno(e, -r.ret, "cannot drop capabilities");
	return r.ret;
}

int caps_keep(bool override)
{
	return keep(KEEP(CAP_SYS_ADMIN) | (override ? KEEP(CAP_DAC_OVERRIDE) : 0),
		    CAPNG_EFFECTIVE | CAPNG_PERMITTED);
}

int caps_drop(bool override, struct zerr *e)
{
	int ret;

	if (prctl(PR_SET_DUMPABLE, 0))
		return zerr_errno(e, errno, "cannot forbid core dumps");
	/* fusermount3, which unmounts for other users, must stay set-user-id. */
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return zerr_errno(e, errno, "cannot give up privileges");
	ret = caps_keep(override);
	return ret ? zerr_errno(e, -ret, "cannot drop capabilities") : 0;
}
