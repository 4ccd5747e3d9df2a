/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Talking to a running daemon from another program: find the mount of a
 * device or of a path, send it commands, wait for its end. Shared by zonefsctl,
 * the mount helpers and zonefs-losetup. See docs/control.md for the files.
 */
#ifndef ZONEFSD_MOUNTED_H
#define ZONEFSD_MOUNTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "zonefsd/error.h"

#define ZONEFSD_FSTYPE	"fuse.zonefsd"
#define ZONEFSD_CTLDIR	".zonefsd"

struct mounted {
	char	*device;	/* real path of the device, as mountinfo has it */
	char	*mountpoint;
	bool	read_only;
	bool	dead;		/* the daemon is gone: statfs says ENOTCONN */
	bool	has_owner;	/* mountinfo says who mounted it: */
	uid_t	owner;
};

/*
 * path is a mount point of ours (exactly), or a device of which we have a
 * mount (made by root, by the device's owner or by the caller's own user). 1 and *m filled in (free with mounted_free), 0 when it is neither,
 * -errno. Reads /proc/self/mountinfo only; never blocks on a daemon except for
 * the dead check, which is one statfs.
 */
int mounted_find(const char *path, struct mounted *m);
void mounted_free(struct mounted *m);

/*
 * Write one command line to MNT/.zonefsd/ctl. 0 or -errno as the daemon
 * answered. Blocks until the daemon has carried it out.
 */
int mounted_command(const char *mountpoint, const char *line);

/* Read a whole control file to a new string (*text, free it). 0 or -errno. */
int mounted_read(const char *mountpoint, const char *file, char **text);

/* Value of "name value" in a control file's text, copied to buf. 0, -ENOENT, -ERANGE (buf too short). */
int mounted_value(const char *text, const char *name, char *buf, size_t len);

/*
 * A run file lets others learn how a daemon ended: RUNDIR/PID.status, text
 * "name value" lines: device, mountpoint, state (starting, running, stopping,
 * done), exit (status), error (one line, only if exit is not 0). One that ended
 * well has removed it. RUNDIR is /run/zonefsd for root, else
 * $XDG_RUNTIME_DIR/zonefsd, mode 0700.
 */
int mounted_rundir(char *buf, size_t len);	/* made if missing; 0 or -errno */
int mounted_status_write(pid_t pid, const char *device, const char *mountpoint,
			 const char *state, int exit_status, const char *error);
/* state and error copied out; *exit_status -1 while not done. 0, -ENOENT, -errno. */
int mounted_status_read(pid_t pid, char state[16], int *exit_status,
			char *error, size_t error_len);
void mounted_status_remove(pid_t pid);
/* Remove files of daemons that are gone for minutes, read or not; a thousand at most. */
void mounted_status_prune(void);

#endif
