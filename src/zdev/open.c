/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening and making devices: find the backend, put the filters in front. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uuid/uuid.h>

#include "zdev_i.h"

typedef int (*open_fn)(const char *path, const struct zdev_open_opts *opts,
		       struct zdev **dev, struct zerr *e);

/* The backend for what stands at path. 0 or -errno with *e. */
static int find_backend(const char *path, open_fn *open_backend, struct zerr *e)
{
	struct stat st;

	if (stat(path, &st))
		return zerr_errno(e, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		*open_backend = zdev_dir_open;
	else if (S_ISREG(st.st_mode))
		*open_backend = zdev_image_open;
	else if (S_ISBLK(st.st_mode))
		*open_backend = zdev_blk_open;
	else
		return zerr_set(e, ENODEV, "%s: not a zoned device", path);
	return 0;
}

int zdev_open(const char *path, const struct zdev_open_opts *opts,
	      struct zdev **dev, struct zerr *e)
{
	struct zerr unused;
	struct zdev *backend;
	open_fn open_backend = NULL;
	char *real;
	int ret;

	if (!e)
		e = &unused;
	e->msg[0] = '\0';
	real = realpath(path, NULL);
	if (!real)
		return zerr_errno(e, errno, "%s", path);
	ret = find_backend(real, &open_backend, e);
	if (!ret)
		ret = open_backend(real, opts, &backend, e);
	free(real);
	if (ret) {
		if (!e->msg[0] && ret == -ENODEV)
			zerr_set(e, ENODEV, "%s: not a zoned device", path);
		else if (!e->msg[0])
			zerr_errno(e, -ret, "%s", path);
		return ret;
	}
	if (!backend->info.emulated) {
		*dev = backend;
		return 0;
	}
	ret = zdev_fault_stack(backend, dev);
	return ret ? zerr_errno(e, -ret, "%s", path) : 0;
}

int zdev_create(const char *path, enum zdev_layout layout,
		const struct zdev_geometry *g,
		void (*progress)(void *ctx, uint32_t done, uint32_t all), void *ctx,
		struct zerr *e)
{
	static const uint8_t no_uuid[16];
	struct zdev_geometry geo = *g;
	struct zerr why;
	int ret;

	ret = zdev_geometry_check(&geo, &why);
	if (ret)
		return zerr_set(e, -ret, "%s: %s", path, why.msg);
	if (!memcmp(geo.uuid, no_uuid, sizeof(no_uuid)))
		uuid_generate(geo.uuid);
	if (layout == ZDEV_LAYOUT_DIR)
		return zdev_dir_create(path, &geo, progress, ctx, e);
	return zdev_image_create(path, &geo, progress, ctx, e);
}
