/* SPDX-License-Identifier: BSD-2-Clause */
/* Going to the background, and where messages go. */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "zonefsd/log.h"

struct daemon {
	struct zlog	log;
	atomic_bool	to_syslog;
	int		verdict_fd;	/* to the parent, -1 in the foreground */
};

/*
 * Fork, before any lock is taken and any thread runs. Returns -1 in the process
 * that shall go on (d->log is ready); in the parent the exit status, once the
 * child has said how its start went.
 */
int daemon_start(struct daemon *d, bool foreground, bool debug);

/* All works: let the parent go with status 0, detach. 0, or -errno if it is gone. */
int daemon_ready(struct daemon *d);

#endif
