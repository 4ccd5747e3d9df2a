/* SPDX-License-Identifier: BSD-2-Clause */
/* mkfs -t dmzoned: one zoned device, or a regular one and zoned ones, as one disk. */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"

static int probe_all(struct dmz_devs *devs, const char *const *paths)
{
	struct zdev *dev;
	uint32_t i;
	int ret = 0;

	for (i = 0; !ret && (dev = dmz_devs_get(devs, i)); i++)
		ret = probe_content(dev, paths[i]);
	return ret;
}

/* All data goes, and what waits with it. */
static int discard_arenas(struct dmz_devs *devs, const char *const *paths)
{
	struct zerr e = { "" };
	struct zdev *dev;
	uint32_t i;
	int ret;

	for (i = 0; (dev = dmz_devs_get(devs, i)); i++) {
		ret = zonefs_arena_discard(dev, &e);
		if (ret)
			return fail_zerr(&e, paths[i], ret);
	}
	return 0;
}

static void print_made(const char *path, const struct dmz_super *sb, uint64_t zone_size,
		       uint32_t asked)
{
	char uuid[37], size[16], zone[16];

	uuid_text(sb->uuid, uuid);
	say("%s: dm-zoned, uuid %s, label '%s'", path, uuid, sb->label);
	say("a disk of %s, %" PRIu32 " zones of %s; in reserve: %" PRIu32 "%s",
	    zu_format_size(sb->nr_chunks * zone_size, size, sizeof(size)), sb->nr_chunks,
	    zu_format_size(zone_size, zone, sizeof(zone)), sb->nr_reserved_seq,
	    asked > sb->nr_reserved_seq ? ", as there are no more conventional zones" : "");
}

static int format(struct dmz_devs *devs, const char *path, const struct dmz_mkfs *how)
{
	struct progress p;
	struct dmz_format_opts opts = {
		.label = how->label, .nr_reserved_seq = how->nr_reserved_seq,
		.progress = progress_update, .ctx = &p,
	};
	struct dmz_super sb;
	struct zerr e = { "" };
	int ret;

	progress_start(&p, "mkfs");
	ret = dmz_format(devs, &opts, &sb, &e);
	progress_end(&p);
	if (ret)
		return fail_zerr(&e, path, ret);
	print_made(path, &sb, zdev_info(dmz_devs_get(devs, 0))->zone_size, how->nr_reserved_seq);
	return 0;
}

/* Open the devices, do what is to be done with them, close them. */
static int with_devices(const char *const *paths, uint32_t nr, const struct dmz_mkfs *how,
			bool write)
{
	struct dmz_devs *devs;
	struct zerr e = { "" };
	int ret, err;

	ret = dmz_open(paths, nr, write, &devs, &e);
	if (ret)
		return fail_zerr(&e, paths[0], ret);
	if (!write)
		ret = how->force ? 0 : probe_all(devs, paths);
	else
		ret = discard_arenas(devs, paths);
	if (!ret && write)
		ret = format(devs, paths[0], how);
	err = dmz_devs_close(devs);
	return ret || !err ? ret : fail("%s: %s", paths[0], strerror(-err));
}

int mkfs_dmzoned(const char *const *paths, uint32_t nr, const struct dmz_mkfs *how)
{
	/* Opening for writing marks devices as in use: only once nothing is in the way. */
	int ret = with_devices(paths, nr, how, false);

	return ret ? ret : with_devices(paths, nr, how, true);
}
