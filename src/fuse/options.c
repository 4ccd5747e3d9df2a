/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line. Each mount option belongs to zonefs, to the daemon, to
 * libfuse, or to mount(8) and its helpers, whose words mean nothing here.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zonefsd/mounted.h"

static const char usage_text[] =
"Usage: zonefsd [-f] [-d] [-o OPTIONS] DEVICE MOUNTPOINT\n"
"Mount a zoned device. Formatted for zonefs, every zone is a file; formatted for\n"
"dm-zoned, it is one file, a disk that takes random writes.\n"
"\n"
"DEVICE is a zoned block device, or an image file or device directory (zonefsctl\n"
"create makes both).\n"
"\n"
"  -f, --foreground   stay in the foreground, log to standard error\n"
"  -d, --debug        as -f, and print each request\n"
"  -o OPTION[,...]    mount options, see below\n"
"  -h, --help         print this text\n"
"  -V, --version      print the version\n"
"\n"
"Mount options:\n"
"  zoned=PATH         DEVICE is a regular one, with this zoned device behind it\n"
"                     (formatted for dm-zoned; may be repeated)\n"
"  errors=ACTION      after an I/O error: remount-ro (default), zone-ro,\n"
"                     zone-offline or repair\n"
"  explicit-open      open zones explicitly while a file is open for writing\n"
"  strict             exactly the rules of the kernel's zonefs\n"
"  ro, rw             read-only or not\n"
"  uid=N, gid=N       owner of the files, in place of the format's\n"
"  perm=OCTAL         their permissions, in place of the format's\n"
"  allow_other        others may use the mount (always so when root mounts)\n"
"  append_buffer=SIZE memory for what is appended to one zone and not written\n"
"                     yet, 0: none\n"
"  buffers=SIZE       the same, for all zones together\n"
"  flush_interval=SECONDS  how long at most it waits\n"
"  no_passthrough     the daemon answers all reads itself\n"
"  powercut           emulated devices: keep a volatile write cache that\n"
"                     'zonefsctl inject MNT power-cut' drops\n"
"  suid, dev, exec, sync, dirsync, noatime, ... as in mount(8)\n";

/* Taken by libfuse, which turns them into mount(2) flags. */
static const char *const fuse_words[] = {
	"ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "sync",
	"dirsync", "atime", "noatime",
};

/* Of mount(8), fstab or systemd: for others to read. */
static const char *const foreign_words[] = {
	"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail",
	"_netdev", "_rnetdev", "loop", "relatime", "norelatime", "strictatime",
	"nostrictatime", "diratime", "nodiratime", "lazytime", "nolazytime", "silent", "loud",
	"mand", "nomand", "iversion", "noiversion",
};

static const char *const foreign_prefixes[] = {
	"x-", "X-", "comment=", "user=", "uhelper=", "helper=",
};

static bool is_one_of(const char *opt, const char *const *words, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!strcmp(opt, words[i]))
			return true;
	return false;
}

#define IS_ONE_OF(opt, words) is_one_of(opt, words, sizeof(words) / sizeof((words)[0]))

static bool is_foreign(const char *opt)
{
	size_t i;

	for (i = 0; i < sizeof(foreign_prefixes) / sizeof(foreign_prefixes[0]); i++)
		if (!strncmp(opt, foreign_prefixes[i], strlen(foreign_prefixes[i])))
			return true;
	return IS_ONE_OF(opt, foreign_words);
}

/* Those of zonefs that a disk has, too, or that do not matter to it. */
static const char *const disk_opts[] = {
	"ro", "rw", "uid", "gid", "perm", "no_passthrough", "errors=remount-ro",
};

/* Keep the first of the options that have no meaning for a disk. */
static int note_zonefs_only(struct options *o, const char *opt)
{
	size_t i, len;

	for (i = 0; i < sizeof(disk_opts) / sizeof(disk_opts[0]); i++) {
		len = strlen(disk_opts[i]);
		if (!strncmp(opt, disk_opts[i], len) && (!opt[len] || opt[len] == '='))
			return 0;
	}
	if (!o->zonefs_only)
		o->zonefs_only = strdup(opt);
	return o->zonefs_only ? 0 : -ENOMEM;
}

static int add_zoned(struct options *o, const char *path, struct zerr *e)
{
	if (!*path)
		return zerr_set(e, EINVAL, "zoned=: needs the path of a device");
	if (o->nr_zoned == OPTIONS_MAX_ZONED)
		return zerr_set(e, E2BIG, "zoned: at most %d devices", OPTIONS_MAX_ZONED);
	o->zoned[o->nr_zoned] = strdup(path);
	if (!o->zoned[o->nr_zoned])
		return zerr_errno(e, ENOMEM, "zoned");
	o->nr_zoned++;
	return 0;
}

static int add_fuse_opt(struct options *o, const char *opt)
{
	if (fuse_opt_add_arg(&o->fuse, "-o") || fuse_opt_add_arg(&o->fuse, opt))
		return -ENOMEM;
	return 0;
}

/* 0, or -errno with *e. */
static int apply_option(struct options *o, const char *opt, struct zerr *e)
{
	int ret;

	if (!*opt || is_foreign(opt))
		return 0;
	ret = zonefs_opts_apply(&o->zonefs, opt, e);
	if (ret && ret != -ENOENT)
		return ret;
	if (!ret && note_zonefs_only(o, opt))
		return zerr_errno(e, ENOMEM, "%s", opt);
	if (IS_ONE_OF(opt, fuse_words))	/* ro and rw are for both */
		return add_fuse_opt(o, opt);
	if (!ret)
		return 0;
	if (!strcmp(opt, "powercut")) {
		o->powercut = true;
		return 0;
	}
	if (!strncmp(opt, "zoned=", 6))
		return add_zoned(o, opt + 6, e);
	if (!strcmp(opt, "default_permissions"))
		return 0;	/* always on */
	if (strcmp(opt, "allow_other"))
		return zerr_set(e, EINVAL, "%s: unknown mount option", opt);
	if (geteuid() != 0)
		return zerr_set(e, EPERM, "allow_other: only root may give others access");
	return 0;
}

/* text is changed. A backslash before a comma keeps it in the option. */
static int apply_list(struct options *o, char *text, struct zerr *e)
{
	char *opt = text, *in, *out;
	bool end;
	int ret;

	for (in = out = text;; in++) {
		if (*in == '\\' && (in[1] == ',' || in[1] == '\\')) {
			*out++ = *++in;
			continue;
		}
		if (*in != ',' && *in) {
			*out++ = *in;
			continue;
		}
		end = !*in;
		*out = '\0';
		ret = apply_option(o, opt, e);
		if (ret || end)
			return ret;
		opt = out = in + 1;
	}
}

/* Print the one line of a usage error. Returns the exit status. */
static int usage_error(const char *msg)
{
	fprintf(stderr, PROGRAM ": %s\n", msg);
	return 2;
}

/* -1 to go on, else the exit status. */
static int parse_flag(struct options *o, int c, char **argv)
{
	struct zerr e = { "" };
	char msg[128];

	switch (c) {
	case 'd':
		o->debug = true;
		o->foreground = true;
		return -1;
	case 'f':
		o->foreground = true;
		return -1;
	case 'o':
		return apply_list(o, optarg, &e) ? usage_error(e.msg) : -1;
	case 'h':
		fputs(usage_text, stdout);
		return 0;
	case 'V':
		puts(PROGRAM " " ZONEFSD_VERSION);
		return 0;
	case ':':
		snprintf(msg, sizeof(msg), "-%c: needs an argument, see --help", optopt);
		return usage_error(msg);
	default:
		snprintf(msg, sizeof(msg), "%.80s: unknown option, see --help",
			 argv[optind - 1]);
		return usage_error(msg);
	}
}

int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "options", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c, status;

	memset(o, 0, sizeof(*o));
	zonefs_opts_init(&o->zonefs);
	o->allow_other = geteuid() == 0;
	if (fuse_opt_add_arg(&o->fuse, PROGRAM))
		return usage_error("out of memory");
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":dfo:hV", longopts, NULL)) != -1) {
		status = parse_flag(o, c, argv);
		if (status >= 0)
			return status;
	}
	if (argc - optind != 2)
		return usage_error(argc - optind < 2 ?
			"needs DEVICE and MOUNTPOINT, see --help" :
			"too many arguments, see --help");
	o->device = strdup(argv[optind]);
	o->mountpoint = strdup(argv[optind + 1]);
	if (!o->device || !o->mountpoint)
		return usage_error("out of memory");
	return -1;
}

static int resolve(char **path, struct zerr *e)
{
	char *real = realpath(*path, NULL);

	if (!real)
		return zerr_errno(e, errno, "%s", *path);
	free(*path);
	*path = real;
	return 0;
}

/* Real paths. A second open would wait for the first, and name us as who has it. */
static int check_named_once(const struct options *o, struct zerr *e)
{
	unsigned i, j;

	for (i = 0; i < o->nr_zoned; i++)
		for (j = 0; j <= i; j++)
			if (!strcmp(o->zoned[i], j ? o->zoned[j - 1] : o->device))
				return zerr_set(e, EINVAL, "%s: is named twice", o->zoned[i]);
	return 0;
}

/* Nothing of ours may be there; a dead mount could not even be looked at. */
static int check_unused(const struct options *o, struct zerr *e)
{
	struct mounted m;
	int ret = 0;

	if (mounted_find(o->mountpoint, &m) <= 0)
		return 0;
	if (!strcmp(m.mountpoint, o->mountpoint))
		ret = zerr_set(e, EBUSY, m.dead ? "%s: left by a dead daemon, unmount it first"
			       : "%s: a zonefsd mount is here already", o->mountpoint);
	mounted_free(&m);
	return ret;
}

static int check_mountpoint(const struct options *o, struct zerr *e)
{
	struct stat st;
	int ret;

	ret = check_unused(o, e);
	if (ret)
		return ret;
	if (stat(o->mountpoint, &st))
		return zerr_errno(e, errno, "%s", o->mountpoint);
	if (!S_ISDIR(st.st_mode))
		return zerr_errno(e, ENOTDIR, "%s", o->mountpoint);
	/* What fusermount3 asks of other users; it would say so in its own words. */
	if (geteuid() != 0 && access(o->mountpoint, W_OK))
		return zerr_errno(e, errno, "%s", o->mountpoint);
	return 0;
}

/* A comma in the path must not begin another option. */
static int add_fsname(struct options *o)
{
	char *name = NULL, *list = NULL;
	int ret = -ENOMEM;

	if (asprintf(&name, "fsname=%s", o->device) >= 0 &&
	    !fuse_opt_add_opt_escaped(&list, name))
		ret = add_fuse_opt(o, list);
	free(list);
	free(name);
	return ret;
}

int options_resolve(struct options *o, struct zerr *e)
{
	unsigned i;
	int ret;

	ret = resolve(&o->device, e);
	for (i = 0; i < o->nr_zoned && !ret; i++)
		ret = resolve(&o->zoned[i], e);
	if (!ret)
		ret = check_named_once(o, e);
	if (!ret)
		ret = resolve(&o->mountpoint, e);
	if (!ret)
		ret = check_mountpoint(o, e);
	if (ret)
		return ret;
	ret = add_fsname(o);
	if (!ret)
		ret = add_fuse_opt(o, "subtype=zonefsd,default_permissions");
	if (!ret && o->allow_other)
		ret = add_fuse_opt(o, "allow_other");
	if (!ret && o->debug)
		ret = add_fuse_opt(o, "debug");
	return ret ? zerr_errno(e, -ret, "%s", o->device) : 0;
}

void options_free(struct options *o)
{
	fuse_opt_free_args(&o->fuse);
	while (o->nr_zoned)
		free(o->zoned[--o->nr_zoned]);
	free(o->zonefs_only);
	free(o->device);
	free(o->mountpoint);
}
