/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of zonefsd. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <fuse_opt.h>
#include <stdbool.h>

#include "zonefsd/dmz.h"
#include "zonefsd/error.h"
#include "zonefsd/zonefs.h"

#define PROGRAM	"zonefsd"
#define OPTIONS_MAX_ZONED	(DMZ_MAX_DEVS - 1)

/* All strings and args are owned here. */
struct options {
	char		*device;	/* real path */
	char		*mountpoint;	/* real path */
	bool		foreground;
	bool		debug;
	bool		allow_other;
	bool		powercut;
	struct zonefs_opts zonefs;
	char		*zonefs_only;	/* an option that a disk does not have, NULL: none */
	char		*zoned[OPTIONS_MAX_ZONED];	/* devices behind `device`, real paths */
	unsigned	nr_zoned;
	struct fuse_args fuse;		/* for libfuse: the generic mount options */
};

/*
 * Parse argv. -1 when *o is ready, else the exit status (help was printed, or
 * the error). options_free in any case.
 */
int options_parse(struct options *o, int argc, char **argv);

/*
 * Resolve both paths and finish o->fuse, which names the device. 0 or -errno
 * with *e.
 */
int options_resolve(struct options *o, struct zerr *e);
void options_free(struct options *o);

#endif
