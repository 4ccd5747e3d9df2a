/* SPDX-License-Identifier: BSD-2-Clause */
/* What mount.fuse.zonefsd and umount.fuse.zonefsd share. */
#ifndef ZONEFSD_MOUNT_HELPER_H
#define ZONEFSD_MOUNT_HELPER_H

#include <stdbool.h>

#include "zonefsd/error.h"
#include "zonefsd/mounted.h"

/* Exit statuses of mount(8) and umount(8) that apply here. */
enum { MOUNT_OK = 0, MOUNT_USAGE = 1, MOUNT_SYSTEM = 2, MOUNT_FAILED = 32 };

/*
 * Run a program without a shell and wait for it. argv[0] is looked up in $PATH
 * when it has no slash. Its exit status, 128 + signal when it was killed, or
 * -errno when it could not be started.
 */
int helper_run(char *const argv[]);

/*
 * Take the mount away: umount2(2) as root, fusermount3 otherwise (which prints
 * its own message). 0 or -errno.
 */
int helper_unmount(const char *mountpoint, bool lazy, bool force);

/*
 * Record in libmount's utab that umount(8) is to run umount.fuse.zonefsd here,
 * with mount(8)'s own options in user_opts (may be NULL). The kernel and
 * mountinfo have no place for it. 0 or -errno.
 */
int helper_utab_add(const struct mounted *m, const char *user_opts);
int helper_utab_remove(const char *mountpoint);

/*
 * Give the running mount new options: `opts` as the daemon's ctl file takes
 * them, without ro and rw; `mount_flags` as mount(2) takes them, with MS_RDONLY
 * saying which of the two. Nothing has changed when this fails. 0 or -errno with
 * *e.
 */
int helper_remount(const struct mounted *m, const char *opts,
		   unsigned long mount_flags, struct zerr *e);

/* The options that ctl's remount would need to change nothing; ro, rw left out. */
int helper_current_opts(const struct mounted *m, char *buf, size_t len);

/* The MS_ flags that the mount has now, for a remount that keeps them. 0 or -errno. */
int helper_current_flags(const char *mountpoint, unsigned long *mount_flags);

#endif
