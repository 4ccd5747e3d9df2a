/* SPDX-License-Identifier: BSD-2-Clause */
/* One mount from its beginning to its end. */
#ifndef SERVE_H
#define SERVE_H

#include "options.h"
#include "zonefsd/error.h"
#include "zonefsd/log.h"

struct serve;

/*
 * Open the device, mount it and begin to serve. Signals that end the daemon are
 * blocked from here on. 0, or -errno with *e and nothing left mounted or open.
 */
int serve_start(const struct options *o, const struct zlog *log, struct serve **s,
		struct zerr *e);

/* Serve until the file system is unmounted or a signal asks to end. */
void serve_wait(struct serve *s);

/*
 * Unmount if that has not happened, bring everything to the device, close it,
 * free s. 0, or -errno with *e: not all of it arrived.
 */
int serve_stop(struct serve *s, struct zerr *e);

#endif
