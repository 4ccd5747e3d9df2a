/* SPDX-License-Identifier: BSD-2-Clause */
/* Giving up what the daemon does not need. */
#ifndef CAPS_H
#define CAPS_H

#include <stdbool.h>

#include "zonefsd/error.h"

/*
 * Run fn(arg) on a thread that has lost every capability but the one to open the
 * nr paths and what is in them, where that needs one. The threads that fn starts
 * keep no more either. *override tells whether it needs that. Returns fn's result, or
 * -errno with *e.
 */
int caps_run_for_devices(const char *const *paths, unsigned nr, int (*fn)(void *arg), void *arg,
			 bool *override, struct zerr *e);

/*
 * The calling thread keeps no more than what a mounted daemon may need: to
 * remount, to unmount, to register files for passthrough, and to open the
 * device's files where override says so. 0 or -errno.
 */
int caps_keep(bool override);

/*
 * The calling thread, and all that it starts from now on, keep what unmounting
 * and remounting take, and with override what closing the device takes. Nobody but root may read the memory of the process,
 * which holds user data, and no core dump shows it. 0 or -errno with *e.
 */
int caps_drop(bool override, struct zerr *e);

#endif
