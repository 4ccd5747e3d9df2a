/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mount.fuse.zonefsd: what mount(8) runs for the type fuse.zonefsd. It clears a
 * dead mount away, starts zonefsd or hands remount options to the one running,
 * and records that umount(8) is to run umount.fuse.zonefsd.
 *
 * Not made to be setuid: mount(8) drops its privileges before it runs helpers.
 */
#include <errno.h>
#include <getopt.h>
#include <libmount/libmount.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "helper.h"

#define PROGRAM		"mount.fuse.zonefsd"

struct args {
	const char	*device;
	const char	*mountpoint;
	char		*user_opts;	/* mount(8)'s own, for utab; may be NULL */
	char		*vfs_opts;	/* the kernel's mount flags by name; may be NULL */
	char		*fs_opts;	/* zonefsd's; may be NULL */
	bool		fake;
	bool		no_utab;
	bool		verbose;
};

static const char usage_text[] =
	"usage: " PROGRAM " DEV MNT [-sfnv] [-o OPTIONS]\n"
	"\n"
	"Run by mount(8) for the type fuse.zonefsd.\n"
	"  -o OPTIONS   comma list, see zonefsd(8)\n"
	"  -f           fake: do everything but the mount\n"
	"  -n           do not record the mount in /run/mount/utab\n"
	"  -s           accepted, unknown options are still refused\n"
	"  -v           say what is done\n"
	"  -h, --help, -V, --version\n";

static int usage_error(const char *subject, const char *cause)
{
	fprintf(stderr, PROGRAM ": %s: %s, see --help\n", subject, cause);
	return MOUNT_USAGE;
}

static bool has_option(const char *optstr, const char *name)
{
	return optstr && !mnt_optstr_get_option(optstr, name, NULL, NULL);
}

/* ---- a dead mount ---- */

/*
 * The daemon of a mount was killed: the mount stays and answers ENOTCONN. Take
 * it away when it is one of this device; more than one can lie there.
 */
static int clear_dead(const struct args *a, const char *path, const char *device)
{
	struct mounted m;
	int i, ret;

	for (i = 0; i < 64; i++) {
		ret = mounted_find(path, &m);
		if (ret <= 0)
			return ret;
		if (!m.dead || strcmp(m.device, device)) {
			mounted_free(&m);
			return 0;
		}
		if (a->verbose)
			printf(PROGRAM ": %s: clearing the dead mount of %s\n",
			       m.mountpoint, m.device);
		ret = helper_unmount(m.mountpoint, true, false);
		if (!ret && geteuid() == 0)
			helper_utab_remove(m.mountpoint);
		mounted_free(&m);
		if (ret)
			return ret;
	}
	return -EBUSY;
}

static int clear_dead_mounts(const struct args *a)
{
	char *device = realpath(a->device, NULL);
	const char *path = a->mountpoint;
	int ret;

	if (!device)
		return 0;	/* zonefsd says what is wrong with it */
	ret = clear_dead(a, path, device);
	if (!ret) {
		path = a->device;
		ret = clear_dead(a, path, device);
	}
	free(device);
	if (!ret)
		return 0;
	fprintf(stderr, PROGRAM ": %s: cannot clear the dead mount: %s\n",
		path, strerror(-ret));
	return MOUNT_FAILED;
}

/* ---- mount ---- */

/* zonefsd beside this program, as in a build tree, else where it was installed. */
static void find_daemon(char path[PATH_MAX])
{
	static const char name[] = "zonefsd";
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name) - 1);
	char *slash = NULL;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
	}
	if (slash) {
		strcpy(slash + 1, name);
		if (!access(path, X_OK))
			return;
	}
	snprintf(path, PATH_MAX, "%s/%s", ZONEFSD_SBINDIR, name);
}

/* The options that zonefsd gets; NULL when there is no memory. */
static char *daemon_opts(const struct args *a)
{
	const char *vfs = a->vfs_opts ? a->vfs_opts : "";
	const char *fs = a->fs_opts ? a->fs_opts : "";
	char *opts;

	return asprintf(&opts, "%s%s%s", vfs, *vfs && *fs ? "," : "", fs) < 0 ? NULL : opts;
}

static int run_daemon(const struct args *a)
{
	char path[PATH_MAX];
	char *opts = daemon_opts(a);
	char *argv[8];
	int n = 0, ret;

	if (!opts) {
		fprintf(stderr, PROGRAM ": %s: %s\n", a->mountpoint, strerror(ENOMEM));
		return MOUNT_SYSTEM;
	}
	find_daemon(path);
	argv[n++] = path;
	if (*opts) {
		argv[n++] = (char *)"-o";
		argv[n++] = opts;
	}
	argv[n++] = (char *)"--";
	argv[n++] = (char *)a->device;
	argv[n++] = (char *)a->mountpoint;
	argv[n] = NULL;
	if (a->verbose)
		printf(PROGRAM ": %s%s%s %s %s\n", path, *opts ? " -o " : "", opts,
		       a->device, a->mountpoint);
	fflush(stdout);
	ret = a->fake ? 0 : helper_run(argv);
	free(opts);
	if (ret < 0) {
		fprintf(stderr, PROGRAM ": %s: %s\n", path, strerror(-ret));
		return MOUNT_SYSTEM;
	}
	if (ret > 128)
		fprintf(stderr, PROGRAM ": %s: ended by signal %d\n", path, ret - 128);
	return ret == 0 ? MOUNT_OK : ret == 2 ? MOUNT_USAGE : MOUNT_FAILED;
}

/*
 * Only now can umount(8) know of its helper. Until mount(8) returns nobody was
 * promised that umount(8) waits, so the moment between does not matter; done
 * before, a failed mount would leave the record behind.
 */
static void record_mount(const struct args *a)
{
	struct mounted m;
	int ret;

	if (a->no_utab || a->fake || geteuid() != 0)
		return;
	ret = mounted_find(a->mountpoint, &m);
	if (ret == 0)
		ret = -ENOENT;
	if (ret > 0) {
		ret = helper_utab_add(&m, a->user_opts);
		mounted_free(&m);
	}
	if (ret)
		fprintf(stderr, PROGRAM ": %s: not recorded in /run/mount/utab, so that "
			"umount will not wait for the data: %s\n",
			a->mountpoint, strerror(-ret));
}

static int do_mount(const struct args *a)
{
	int ret = a->fake ? 0 : clear_dead_mounts(a);

	if (!ret)
		ret = run_daemon(a);
	if (!ret)
		record_mount(a);
	return ret;
}

/* ---- remount ---- */

/*
 * On a remount mount(8) hands over the options of the fstab line or of the
 * mount as well, those that only count at mount time included. These are passed
 * over; what nobody knows is an error.
 */
static const char *const mount_time_opts[] = {
	"strict", "uid", "gid", "perm", "allow_other", "append_buffer", "buffers",
	"flush_interval", "no_passthrough", "powercut", "zoned", "cache",
	/* as the kernel shows a FUSE mount */
	"user_id", "group_id", "default_permissions", "max_read", "blksize",
	"fsname", "subtype", "rootmode", "fd",
};

enum opt_kind { OPT_REMOUNT, OPT_MOUNT_TIME, OPT_UNKNOWN };

static enum opt_kind classify(const char *name, size_t len)
{
	size_t i;

	if ((len == 6 && !memcmp(name, "errors", len)) ||
	    (len == 13 && !memcmp(name, "explicit-open", len)))
		return OPT_REMOUNT;
	for (i = 0; i < sizeof(mount_time_opts) / sizeof(mount_time_opts[0]); i++)
		if (strlen(mount_time_opts[i]) == len &&
		    !memcmp(name, mount_time_opts[i], len))
			return OPT_MOUNT_TIME;
	return OPT_UNKNOWN;
}

/* 0 and *opts (free it), or -errno with *e. */
static int remount_opts(const struct args *a, char **opts, struct zerr *e)
{
	char *next = a->fs_opts, *name, *value, *part;
	size_t name_len, value_len;
	int ret;

	*opts = NULL;
	while (next && !mnt_optstr_next_option(&next, &name, &name_len,
					       &value, &value_len)) {
		enum opt_kind kind = classify(name, name_len);

		if (kind == OPT_MOUNT_TIME)
			continue;
		if (kind == OPT_UNKNOWN) {
			ret = zerr_set(e, EINVAL, "%.*s: unknown mount option",
				       (int)name_len, name);
			goto fail;
		}
		part = value ? strndup(value, value_len) : NULL;
		name = strndup(name, name_len);
		ret = (value && !part) || !name ||
		      mnt_optstr_append_option(opts, name, part) ? -ENOMEM : 0;
		free(part);
		free(name);
		if (ret) {
			zerr_errno(e, ENOMEM, "%s", a->mountpoint);
			goto fail;
		}
	}
	return 0;
fail:
	free(*opts);
	*opts = NULL;
	return ret;
}

/*
 * The mount flags to be. nosuid and nodev stay, once set: libfuse sets them by
 * itself, an fstab line does not name them, and mount(8) does not hand over the
 * words suid and dev that would take them back.
 */
static int remount_flags(const struct args *a, const struct mounted *m,
			 unsigned long *flags, struct zerr *e)
{
	unsigned long old = 0;
	int ret;

	*flags = 0;
	if (a->vfs_opts && mnt_optstr_get_flags(a->vfs_opts, flags,
						mnt_get_builtin_optmap(MNT_LINUX_MAP)))
		return zerr_set(e, EINVAL, "%s: bad mount option", a->vfs_opts);
	ret = helper_current_flags(m->mountpoint, &old);
	if (ret)
		return zerr_errno(e, -ret, "%s", m->mountpoint);
	*flags |= old & (MS_NOSUID | MS_NODEV);
	*flags &= ~MS_REMOUNT;
	return 0;
}

static int remount(const struct args *a, const struct mounted *m, struct zerr *e)
{
	unsigned long flags;
	char *opts;
	int ret;

	if (geteuid() != 0)
		return zerr_set(e, EPERM, "%s: only root can remount", a->mountpoint);
	if (m->dead)
		return zerr_set(e, ENOTCONN, "%s: zonefsd has ended, mount it again "
				"without remount", a->mountpoint);
	ret = remount_flags(a, m, &flags, e);
	if (!ret)
		ret = remount_opts(a, &opts, e);
	if (ret)
		return ret;
	if (a->verbose)
		printf(PROGRAM ": %s: remount with %s%s%s\n", a->mountpoint,
		       flags & MS_RDONLY ? "ro" : "rw", opts ? "," : "", opts ? opts : "");
	if (!a->fake)
		ret = helper_remount(m, opts ? opts : "", flags, e);
	free(opts);
	return ret;
}

static int do_remount(const struct args *a)
{
	struct zerr e = { "" };
	struct mounted m;
	int ret;

	ret = mounted_find(a->mountpoint, &m);
	if (ret > 0) {
		ret = remount(a, &m, &e);
		mounted_free(&m);
	} else if (ret == 0) {
		ret = zerr_set(&e, EINVAL, "%s: not mounted by zonefsd", a->mountpoint);
	} else {
		zerr_errno(&e, -ret, "%s", a->mountpoint);
	}
	if (!ret)
		return MOUNT_OK;
	fprintf(stderr, PROGRAM ": %s\n", e.msg);
	return MOUNT_FAILED;
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
	char *list = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "sfnvo:t:N:hV", longopts, NULL)) != -1) {
		switch (c) {
		case 's':
		case 't':	/* the type, known */
			break;
		case 'f':
			a->fake = true;
			break;
		case 'n':
			a->no_utab = true;
			break;
		case 'v':
			a->verbose = true;
			break;
		case 'o':
			if (mnt_optstr_append_option(&list, optarg, NULL))
				return MOUNT_SYSTEM;
			break;
		case 'N':
			return usage_error("-N", "not supported, use nsenter(1)");
		case 'h':
			fputs(usage_text, stdout);
			return MOUNT_OK;
		case 'V':
			puts(PROGRAM " " ZONEFSD_VERSION);
			return MOUNT_OK;
		default:
			return MOUNT_USAGE;
		}
	}
	if (argc - optind != 2) {
		free(list);
		return usage_error("arguments", "a device and a mount point are needed");
	}
	a->device = argv[optind];
	a->mountpoint = argv[optind + 1];
	c = list ? mnt_split_optstr(list, &a->user_opts, &a->vfs_opts, &a->fs_opts, 0, 0) : 0;
	free(list);
	return c ? usage_error("-o", "not a list of options") : -1;
}

int main(int argc, char **argv)
{
	struct args a = { .device = NULL };
	int ret;

	ret = parse_args(&a, argc, argv);
	if (ret < 0)
		ret = has_option(a.vfs_opts, "remount") ? do_remount(&a) : do_mount(&a);
	free(a.user_opts);
	free(a.vfs_opts);
	free(a.fs_opts);
	return ret;
}
