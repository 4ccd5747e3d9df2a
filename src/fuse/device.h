/* SPDX-License-Identifier: BSD-2-Clause */
/* The devices of a mount, and the format that they hold. */
#ifndef DEVICE_H
#define DEVICE_H

#include "fuse_i.h"

/*
 * Open the devices, find out what they hold and have that format build upon them.
 * All of it on threads with few capabilities; *override as caps_keep wants it. 0 or
 * -errno with *e; device_close in any case.
 */
int device_open(struct mnt *m, bool *override, struct zerr *e);

/* Bring everything to the devices and close them. 0, or -errno with *e: not all arrived. */
int device_close(struct mnt *m, struct zerr *e);

/*
 * For formats: open one, zoned or (zone_size not 0) regular, and put it into
 * m->devs[slot]. 0 or -errno with *e.
 */
int device_open_one(struct mnt *m, uint32_t slot, const char *path, uint64_t zone_size,
		    struct zerr *e);

#endif
