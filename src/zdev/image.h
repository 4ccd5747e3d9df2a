/* SPDX-License-Identifier: BSD-2-Clause */
/* Image files: what the rest of zdev, and the tools that check devices, may call. */
#ifndef ZDEV_IMAGE_H
#define ZDEV_IMAGE_H

#include "zdev_i.h"

struct image;
struct emu_medium_ops;

/*
 * Open an image as a bare medium, without the emulation above it: zdev_image_open
 * is this and emu_create. Returns, beyond *img, its operations and geometry. As
 * zdev_open otherwise.
 */
int image_open(const char *path, const struct zdev_open_opts *opts, struct image **img,
	       const struct emu_medium_ops **ops, struct zdev_geometry *g, struct zerr *e);

/*
 * Verify the image at path: header, state blocks, each word of the zone table,
 * each tail. Every problem is told to problem() as one line, with repaired set
 * when it was repaired. repair: what has one safe answer is put right. Takes
 * the device's lock. The number of problems left, or -errno with *e as
 * zdev_open, when the file could not be looked at. Blocks.
 */
int image_check(const char *path, bool repair, uint32_t wait_ms,
		void (*problem)(void *ctx, const char *line, bool repaired),
		void *ctx, struct zerr *e);

#endif
