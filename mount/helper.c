/* SPDX-License-Identifier: BSD-2-Clause */
/* What mount.fuse.zonefsd and umount.fuse.zonefsd share. See helper.h. */
#include <errno.h>
#include <libmount/libmount.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"

int helper_run(char *const argv[])
{
	pid_t pid;
	int err, status;

	err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int helper_unmount(const char *mountpoint, bool lazy, bool force)
{
	int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0) | (force ? MNT_FORCE : 0);
	char *argv[5];
	int n = 0, ret;

	if (geteuid() == 0)
		return umount2(mountpoint, flags) ? -errno : 0;

	argv[n++] = (char *)"fusermount3";
	argv[n++] = (char *)(lazy ? "-uz" : "-u");
	argv[n++] = (char *)"--";
	argv[n++] = (char *)mountpoint;
	argv[n] = NULL;
	ret = helper_run(argv);
	return ret > 0 ? -EPERM : ret;
}

static int utab_update(const char *target, struct libmnt_fs *fs)
{
	struct libmnt_update *update = mnt_new_update();
	struct libmnt_lock *lock = NULL;
	int ret;

	if (!update)
		return -ENOMEM;
	ret = mnt_update_set_fs(update, 0, target, fs);
	if (ret) {
		/* 1: there is nothing to write */
		ret = ret < 0 ? ret : 0;
		goto out;
	}
	lock = mnt_new_lock(mnt_update_get_filename(update), 0);
	if (lock)
		mnt_lock_block_signals(lock, 1);
	ret = mnt_update_table(update, lock);
	if (ret > 0)
		ret = -EIO;
out:
	/* In this order: newer versions of libmount keep a reference in update. */
	mnt_free_update(update);
	mnt_free_lock(lock);
	return ret;
}

int helper_utab_add(const struct mounted *m, const char *user_opts)
{
	struct libmnt_fs *fs = mnt_new_fs();
	char *opts = NULL;
	int ret = -ENOMEM;

	if (!fs)
		return ret;
	if (user_opts && *user_opts && !(opts = strdup(user_opts)))
		goto out;
	if (mnt_optstr_append_option(&opts, "uhelper", ZONEFSD_FSTYPE) ||
	    mnt_fs_set_source(fs, m->device) || mnt_fs_set_target(fs, m->mountpoint) ||
	    mnt_fs_set_fstype(fs, ZONEFSD_FSTYPE) || mnt_fs_set_options(fs, opts))
		goto out;
	ret = utab_update(NULL, fs);
out:
	free(opts);
	mnt_unref_fs(fs);
	return ret;
}

int helper_utab_remove(const char *mountpoint)
{
	return utab_update(mountpoint, NULL);
}

int helper_current_opts(const struct mounted *m, char *buf, size_t len)
{
	char *text, errors[32], explicit_open[8];
	int n, ret;

	ret = mounted_read(m->mountpoint, "info", &text);
	if (ret)
		return ret;
	*buf = '\0';
	ret = mounted_value(text, "errors", errors, sizeof(errors));
	if (!ret)
		ret = mounted_value(text, "explicit_open", explicit_open,
				    sizeof(explicit_open));
	free(text);
	if (ret)	/* a disk has none of them */
		return ret == -ENOENT ? 0 : ret;
	n = snprintf(buf, len, "errors=%s%s", errors,
		     strcmp(explicit_open, "0") ? ",explicit-open" : "");
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

int helper_current_flags(const char *mountpoint, unsigned long *mount_flags)
{
	static const struct { unsigned long st, ms; } map[] = {
		{ ST_RDONLY, MS_RDONLY }, { ST_NOSUID, MS_NOSUID },
		{ ST_NODEV, MS_NODEV }, { ST_NOEXEC, MS_NOEXEC },
		{ ST_SYNCHRONOUS, MS_SYNCHRONOUS }, { ST_NOATIME, MS_NOATIME },
		{ ST_NODIRATIME, MS_NODIRATIME }, { ST_RELATIME, MS_RELATIME },
	};
	struct statvfs st;
	size_t i;

	if (statvfs(mountpoint, &st))
		return -errno;
	*mount_flags = 0;
	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (st.f_flag & map[i].st)
			*mount_flags |= map[i].ms;
	return 0;
}

static int kernel_remount(const char *mountpoint, unsigned long flags)
{
	return mount("none", mountpoint, ZONEFSD_FSTYPE, MS_REMOUNT | flags, NULL) ? -errno : 0;
}

static int daemon_remount(const char *mountpoint, bool ro, const char *opts)
{
	char line[512];
	int n;

	n = snprintf(line, sizeof(line), "remount %s%s%s", ro ? "ro" : "rw",
		     *opts ? "," : "", opts);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -E2BIG;
	return mounted_command(mountpoint, line);
}

static int remount_error(int ret, const char *mountpoint, bool ro, const char *opts,
			 struct zerr *e)
{
	if (ret == -EBUSY && ro)
		return zerr_set(e, EBUSY, "%s: files are open for writing", mountpoint);
	if (ret == -EROFS)
		return zerr_set(e, EROFS, "%s: the device is read-only", mountpoint);
	if (ret == -EINVAL && *opts)
		return zerr_set(e, EINVAL, "%s: cannot be remounted with %s", mountpoint, opts);
	return zerr_errno(e, -ret, "%s: cannot remount", mountpoint);
}

/*
 * The daemon takes its options through a file that must be opened for writing,
 * and the kernel refuses that on a read-only mount. So the kernel's side is made
 * writable first; in between it is the daemon that refuses to write.
 */
int helper_remount(const struct mounted *m, const char *opts,
		   unsigned long mount_flags, struct zerr *e)
{
	bool ro = mount_flags & MS_RDONLY;
	unsigned long old_flags = 0;
	char old_opts[256];
	bool was_ro;
	int ret;

	ret = helper_current_flags(m->mountpoint, &old_flags);
	if (!ret)
		ret = helper_current_opts(m, old_opts, sizeof(old_opts));
	if (ret)
		return remount_error(ret, m->mountpoint, ro, opts, e);
	was_ro = old_flags & MS_RDONLY;

	if (was_ro) {
		ret = kernel_remount(m->mountpoint, mount_flags & ~MS_RDONLY);
		if (ret)
			return remount_error(ret, m->mountpoint, ro, opts, e);
	}
	ret = daemon_remount(m->mountpoint, ro, opts);
	if (ret)
		goto restore_kernel;
	ret = kernel_remount(m->mountpoint, mount_flags);
	if (!ret)
		return 0;
	daemon_remount(m->mountpoint, was_ro, old_opts);
restore_kernel:
	if (was_ro)
		kernel_remount(m->mountpoint, old_flags);
	return remount_error(ret, m->mountpoint, ro, opts, e);
}
