/* SPDX-License-Identifier: BSD-2-Clause */
/* Directories of zone files: what tools outside zdev may call. */
#ifndef ZDEV_DIR_H
#define ZDEV_DIR_H

#include "zonefsd/zdev.h"

/*
 * Remember in zonefsd.meta that the device at path has a volatile write cache:
 * from then on every open for writing puts the power-cut filter in front, as if
 * zdev_open_opts.powercut were set. Takes the device's lock. 0 or -errno with *e.
 */
int dir_set_powercut(const char *path, struct zerr *e);

/*
 * Say what the zone files of a directory without zonefsd.meta cannot: the
 * sizes and the limit of g (uuid, nr_zones and nr_conv are found out). 0, or
 * -EEXIST (no message) when there is a zonefsd.meta, or -errno with *e.
 */
int dir_write_hint(const char *path, const struct zdev_geometry *g, bool powercut,
		   struct zerr *e);

/* Take a hint back that did not lead to a device. */
void dir_remove_hint(const char *path);

#endif
