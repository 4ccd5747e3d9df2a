/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening devices. What one holds is known only when it is open; by then it has
 * started threads, which for a disk must have been prepared before (pressure.c). So
 * a disk's device is closed again after the look at it.
 */
#include "device.h"

#include <errno.h>

#include "caps.h"

/* How long the device's present holder may take to shut down. */
#define DEVICE_WAIT_MS	10000

struct open_args {
	struct mnt	*m;
	struct zerr	*e;
};

int device_open_one(struct mnt *m, uint32_t slot, const char *path, uint64_t zone_size,
		    struct zerr *e)
{
	struct zdev_open_opts zo = {
		.read_only = m->opts->zonefs.read_only,
		.powercut = m->opts->powercut,
		.wait_ms = DEVICE_WAIT_MS,
		.log = m->log,
	};

	if (zone_size)
		return zdev_regular_open(path, zone_size, &zo, &m->devs[slot], e);
	return zdev_open(path, &zo, &m->devs[slot], e);
}

/* Set m->format. The device stays open for zonefs alone. */
static int look_at_device(struct mnt *m, struct zerr *e)
{
	int ret, what;

	ret = device_open_one(m, 0, m->opts->device, 0, e);
	if (ret == -ENODEV && dmz_probe_regular(m->opts->device))
		zerr_set(e, ENODEV, "%s: is the first of several devices of a disk, name the "
			 "zoned ones with -o zoned=DEV", m->opts->device);
	if (ret)
		return ret;
	m->nr_devs = 1;
	what = dmz_probe(m->devs[0]);
	if (what < 0)
		return zerr_errno(e, -what, "%s: cannot read", m->opts->device);
	if (what == 2)
		return zerr_set(e, EINVAL, "%s: is one of several devices of a disk, mount the "
				"regular one and name this one with -o zoned=DEV", m->opts->device);
	m->format = what ? &disk_format : &zone_format;
	if (!what)
		return 0;
	ret = zdev_close(m->devs[0]);
	m->devs[0] = NULL;
	m->nr_devs = 0;
	return ret ? zerr_errno(e, -ret, "%s: cannot close", m->opts->device) : 0;
}

static int open_any(void *arg)
{
	struct open_args *a = arg;
	int ret;

	ret = look_at_device(a->m, a->e);
	if (!ret && !a->m->format->block)
		ret = a->m->format->open(a->m, a->e);
	return ret;
}

static int open_disk(void *arg)
{
	struct open_args *a = arg;

	return a->m->format->open(a->m, a->e);
}

static int check_disk_options(const struct options *o, struct zerr *e)
{
	if (!o->zonefs_only)
		return 0;
	return zerr_set(e, EINVAL, "%s: option %s: has no meaning for a disk, which is what "
			"the device is formatted for", o->device, o->zonefs_only);
}

int device_open(struct mnt *m, bool *override, struct zerr *e)
{
	struct open_args a = { .m = m, .e = e };
	const char *paths[DMZ_MAX_DEVS] = { m->opts->device };
	unsigned nr = 1, i;
	int ret = 0;

	for (i = 0; i < m->opts->nr_zoned; i++)
		paths[nr++] = m->opts->zoned[i];
	if (nr > 1)
		m->format = &disk_format;
	else
		ret = caps_run_for_devices(paths, nr, open_any, &a, override, e);
	if (ret || !m->format->block)
		return ret;
	ret = check_disk_options(m->opts, e);
	if (ret)
		return ret;
	pressure_prepare(&m->pressure);
	return caps_run_for_devices(paths, nr, open_disk, &a, override, e);
}

int device_close(struct mnt *m, struct zerr *e)
{
	int ret = 0;

	if (m->format)
		ret = m->format->close(m);
	else if (m->nr_devs)
		ret = zdev_close(m->devs[0]);
	notify_free(m->notify);
	if (ret)
		zerr_errno(e, -ret, "%s: the last data may not be on the device",
			   m->opts->device);
	return ret;
}
