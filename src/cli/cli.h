/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands of zonefsctl share. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "zonefsd/arena.h"
#include "zonefsd/dmz.h"
#include "zonefsd/error.h"
#include "zonefsd/mounted.h"
#include "zonefsd/super.h"
#include "zonefsd/zdev.h"

#define PROGRAM		"zonefsctl"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* How long to wait for a daemon that is on its way out, in milliseconds. */
#define HOLDER_WAIT_MS	10000

/* ---- arguments (args.c) ---- */

/* One option of a command; a list of them ends with key 0. */
struct opt {
	int		key;	/* the short letter, or OPT_LONG + n where there is none */
	const char	*name;	/* the long name, or NULL */
	const char	*arg;	/* what its value is called; NULL for a flag */
	const char	*help;
};
#define OPT_LONG	256
#define OPT_END		{ 0, NULL, NULL, NULL }

struct args;

/* One command: drives dispatch, usage and the reading of options. */
struct cmd {
	const char	*name;
	const char	*synopsis;	/* what follows the name */
	const char	*summary;
	const struct opt *opts;
	const char	*notes;		/* shown at the end of --help, or NULL */
	int		(*run)(struct args *a);	/* returns the exit status */
	int		arg;		/* the command's own */
};

/* One or a few related ones a file, cmd-*.c. */
extern const struct cmd cmd_create, cmd_remove, cmd_mkfs, cmd_info, cmd_report, cmd_reset,
	cmd_finish, cmd_open, cmd_close, cmd_check, cmd_seal, cmd_stat, cmd_inject;

/* The words behind the command's name while they are read. */
struct args {
	const struct cmd *cmd;
	int		argc;
	char		**argv;		/* argv[0] is the command's name */
	int		next;		/* after the options: the first operand */
	bool		operands_only;	/* options stop at the first operand */
	const struct opt *opt;		/* the option found last */
	const char	*value;		/* its value, or NULL */
	int		status;		/* what to exit with when args_next fails */
};

/*
 * The next option's key; 0 when operands follow; -1 when there is nothing more
 * to do than to return a->status (--help was shown, or an error reported).
 */
int args_next(struct args *a);

/* Operands left. */
int args_left(const struct args *a);

/*
 * The only operand, or NULL with a->status set when there is none or a second.
 * what names it in the error.
 */
const char *args_operand(struct args *a, const char *what);

/* The last option's value; 0 or the exit status, error reported. */
int args_size(struct args *a, uint64_t *bytes);
int args_u32(struct args *a, uint32_t *value);

struct zone_range {
	uint32_t	first, last;	/* both included */
};
int args_range(struct args *a, struct zone_range *r);	/* "N" or "N-M" */

/* ---- messages (args.c) ---- */

/* "zonefsctl: SUBJECT: CAUSE" on stderr; control characters are replaced. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* EXIT_FAILED */
int fail_zerr(const struct zerr *e, const char *subject, int err);	/* EXIT_FAILED */
int usage_error(const struct args *a, const char *fmt, ...)		/* EXIT_USAGE */
	__attribute__((format(printf, 2, 3)));

/* One line on stdout, control characters replaced: for what holds a path. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Flush stdout: a full disk behind it is a failure too. status if that works. */
int finish_output(int status);

void print_usage(const struct cmd *cmd);

/* ---- progress (progress.c) ---- */

/*
 * "WHAT: N of M zones" on stderr, from the second second on and only on a
 * terminal. progress_update has the type of zdev's progress callbacks.
 */
struct progress {
	const char	*what;
	bool		tty, shown;
	int64_t		last;		/* shown or begun, ns of the monotonic clock */
};
void progress_start(struct progress *p, const char *what);
void progress_update(void *p, uint32_t done, uint32_t all);
void progress_end(struct progress *p);

/* ---- a device or a mount (target.c) ---- */

/* Exactly one of dev and mounted.mountpoint is set. */
struct target {
	const char	*name;		/* what the user typed */
	struct zdev	*dev;
	int		dmz;		/* devices only: as dmz_probe says */
	struct dmz_devs	*disk;		/* several devices: owns dev, the first of them */
	struct mounted	mounted;
	char		*info;		/* text of .zonefsd/info, mounts only */
	uint32_t	nr_zones;
	uint32_t	nr_conv;
	uint64_t	zone_size;
	bool		formatted;	/* zone 0 holds a super block, sound or not */
	int		super_err;	/* 0, or why super is not valid */
	struct zonefs_super super;	/* devices only */
	struct zerr	super_zerr;
	struct zonefs_arena_left left;	/* devices only: what waits for replay */
	bool		left_settled;	/* the command sees to it itself */
};

/*
 * 0 or EXIT_FAILED, error reported. A mount is used through its daemon; a device
 * is opened read-only.
 */
int target_open(const char *path, struct target *t);

/* The devices of a disk, regular one first, not mounted and read-only. As target_open. */
int target_open_disk(const char *const *paths, uint32_t nr, struct target *t);

/* As target_open, for what needs the device itself: a mounted one is refused. */
int target_open_device(const char *path, struct target *t);

/* 0, or -EBUSY with *e when the device at path is mounted, or -errno. */
int target_unmounted(const char *path, struct zerr *e);

/* As target_open_device, but the error is not reported: -errno with *e. */
int target_try_device(const char *path, struct target *t, struct zerr *e);

/*
 * Open the device anew for writing. Refused while appends wait in an arena for it,
 * unless left_settled: they would not fit it any more. Opening marks it as in use, so this comes
 * after everything that may refuse, which then leaves the device untouched.
 * Nothing to do on a mount. 0 or EXIT_FAILED, error reported.
 */
int target_make_writable(struct target *t);

/* status, or EXIT_FAILED when closing the device fails. */
int target_close(struct target *t, int status);

/*
 * Call fn for nr zones from first on. Stops when fn returns nonzero. 0, what fn
 * returned, or EXIT_FAILED, error reported.
 */
typedef int (*zone_fn)(void *ctx, uint32_t zno, const struct zdev_zone *z);
int target_zones(struct target *t, uint32_t first, uint32_t nr, zone_fn fn, void *ctx);

/* 0 or EXIT_FAILED, error reported, when a zone of r does not exist. */
int target_check_range(const struct target *t, const struct zone_range *r);

const char *cond_name(uint8_t cond);	/* "empty", "implicitly-open", ... */
const char *type_name(uint8_t type);

/* A uuid as text. */
void uuid_text(const uint8_t uuid[16], char text[37]);

/* Stop using a mount (cmd-remove.c): 0 or EXIT_FAILED, error reported. */
int unmount(const struct mounted *m);

/* ---- what is on a device already (probe.c) ---- */

/* 0 when nothing known is, else EXIT_FAILED, reported. */
int probe_content(struct zdev *dev, const char *name);

/* ---- the format of the block view (dmz.c, mkfs-dmz.c, check-dmz.c) ---- */

/* The devices of a disk, those that are mounted refused. 0 or -errno with *e. */
int dmz_open(const char *const *paths, uint32_t nr, bool write, struct dmz_devs **devs,
	     struct zerr *e);

/* Operands, the devices of one disk; what is wanted. NULL with a->status set. */
const char *const *dmz_operands(struct args *a, const char *what, uint32_t *nr);

/* zonefsctl mkfs -t dmzoned: the exit status. */
struct dmz_mkfs {
	const char	*label;		/* NULL: a default */
	uint32_t	nr_reserved_seq; /* 0: the default */
	bool		force;
};
int mkfs_dmzoned(const char *const *paths, uint32_t nr, const struct dmz_mkfs *how);

/*
 * What check and check-dmz.c tell each other. Each finding is passed on, whose
 * device is named by the caller; sev as dmz_check's.
 */
typedef void (*dmz_problem)(void *ctx, enum dmz_severity sev, const char *line);
/* 0 or -errno with *e. */
int check_dmzoned(const char *const *paths, uint32_t nr, bool repair, dmz_problem problem,
		  void *ctx, struct zerr *e);

/* Lines "name value" of the format, for info. */
void put_dmz_status(FILE *f, const struct dmz_status *st);

/* zloop.c, the kernel's "add" string; reports errors, returns the exit status. */
struct zloop_params {
	char		*path;		/* BASE/ID, to be freed */
	char		*base;		/* to be freed */
	struct zdev_geometry geometry;
	bool		discard_write_cache;
	char		noted[128];	/* options that mean nothing here */
};
int zloop_parse(const struct args *a, const char *text, struct zloop_params *p);
void zloop_free(struct zloop_params *p);

/* report-map.c */
struct zone_map;
struct zone_map *zone_map_new(uint32_t nr_zones);	/* NULL: out of memory */
int zone_map_add(void *map, uint32_t zno, const struct zdev_zone *z);
void zone_map_print(const struct zone_map *map, const char *name, uint64_t zone_size,
		    uint32_t first);
void zone_map_free(struct zone_map *map);

#endif
