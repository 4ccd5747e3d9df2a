/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a command acts on: a device that it opens itself, or a mount, where the
 * daemon has the device and answers through its control files.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <uuid/uuid.h>

#include "cli.h"
#include "zonefsd/units.h"

#define REPORT_CHUNK	4096	/* zones asked for at a time */

/* A number in the daemon's info; false when it is absent or not one. */
static bool info_number(const char *info, const char *name, uint64_t max, uint64_t *v)
{
	char text[32];

	return !mounted_value(info, name, text, sizeof(text)) &&
	       !zu_parse_u64(text, max, v);
}

/*
 * Find the mount that path belongs to: 1, 0 for a device without one, or -errno
 * with *e. A dead mount has no hold on its device any more, the device's lock
 * tells; but its mount point leads nowhere.
 */
static int find_mount(struct target *t, struct zerr *e)
{
	struct statfs st;
	int ret = mounted_find(t->name, &t->mounted);

	if (ret < 0)
		return zerr_errno(e, -ret, "%s", t->name);
	if (!ret || !t->mounted.dead)
		return ret;
	if (statfs(t->name, &st) && errno == ENOTCONN)
		ret = zerr_set(e, ENOTCONN, "%s: the daemon of this mount is gone; "
			       "unmount it, and mount it again", t->name);
	else
		ret = 0;
	mounted_free(&t->mounted);
	return ret;
}

static int open_mount(struct target *t)
{
	const char *mnt = t->mounted.mountpoint;
	uint64_t nr_zones, nr_conv, zone_size;
	int ret;

	ret = mounted_read(mnt, "info", &t->info);
	if (ret)
		return fail("%s/" ZONEFSD_CTLDIR "/info: %s", mnt, strerror(-ret));
	if (!info_number(t->info, "nr_zones", ZDEV_MAX_ZONES, &nr_zones) ||
	    !info_number(t->info, "nr_conv", nr_zones, &nr_conv) ||
	    !info_number(t->info, "zone_size", ZDEV_MAX_ZONE_SIZE, &zone_size) ||
	    !nr_zones || zone_size < 1 << ZU_SECT_SHIFT || !zu_is_pow2(zone_size))
		return fail("%s/" ZONEFSD_CTLDIR "/info: not understood", mnt);
	t->nr_zones = nr_zones;
	t->nr_conv = nr_conv;
	t->zone_size = zone_size;
	t->formatted = true;
	return 0;
}

/* Is it one of a disk's? What cannot be read does not keep a command from the zones. */
static void probe_dmz(struct target *t)
{
	int ret = dmz_probe(t->dev);

	if (ret < 0)
		t->super_err = zerr_errno(&t->super_zerr, -ret, "%s: reading super blocks", t->name);
	else
		t->dmz = ret;
	/* A later device's is in zone 0, as that of zonefs. */
	t->formatted = ret == 2;
}

/* 0 or -errno with *e. */
static int open_device(struct target *t, bool write, struct zerr *e)
{
	struct zdev_open_opts opts = {
		.read_only = !write,
		.wait_ms = HOLDER_WAIT_MS,
	};
	const struct zdev_info *info;
	int ret;

	ret = zdev_open(t->name, &opts, &t->dev, e);
	if (ret == -ENODEV && dmz_probe_regular(t->name))
		return zerr_set(e, ENODEV, "%s: is the first of several devices of a disk, name the "
				"zoned ones behind it", t->name);
	if (ret)
		return e->msg[0] ? ret : zerr_errno(e, -ret, "%s", t->name);
	info = zdev_info(t->dev);
	t->nr_zones = info->nr_zones;
	t->nr_conv = info->nr_conv;
	t->zone_size = info->zone_size;
	/* A damaged super block counts: its zone is not ours to give away. */
	t->super_err = zonefs_super_read(t->dev, &t->super, &t->super_zerr);
	t->formatted = !t->super_err || t->super_err == -EINVAL;
	if (t->super_err == -ENODEV)
		probe_dmz(t);
	if (t->super_err)
		return 0;
	ret = zonefs_arena_pending(t->dev, NULL, &t->left, e);
	if (ret) {
		zdev_close(t->dev);
		t->dev = NULL;
	}
	return ret;
}

/* What is on the device is not all there is. */
static void tell_what_waits(const struct target *t)
{
	if (t->left.bytes)
		fail("%s: note: %" PRIu64 " acknowledged bytes of a killed daemon wait in %s "
		     "for the next mount", t->name, t->left.bytes, t->left.path);
}

int target_open(const char *path, struct target *t)
{
	struct zerr e = { "" };
	int ret;

	memset(t, 0, sizeof(*t));
	t->name = path;
	ret = find_mount(t, &e);
	if (ret < 0)
		return fail_zerr(&e, path, ret);
	if (ret) {
		ret = open_mount(t);
		if (ret)
			target_close(t, ret);
		return ret;
	}
	ret = open_device(t, false, &e);
	if (ret)
		return fail_zerr(&e, path, ret);
	tell_what_waits(t);
	return 0;
}

int target_unmounted(const char *path, struct zerr *e)
{
	struct target t = { .name = path };
	int ret = find_mount(&t, e);

	if (ret > 0)
		ret = zerr_set(e, EBUSY, "%s: mounted on %s", t.mounted.device,
			       t.mounted.mountpoint);
	mounted_free(&t.mounted);
	return ret;
}

int target_try_device(const char *path, struct target *t, struct zerr *e)
{
	int ret;

	memset(t, 0, sizeof(*t));
	t->name = path;
	ret = target_unmounted(path, e);
	return ret ? ret : open_device(t, false, e);
}

int target_open_disk(const char *const *paths, uint32_t nr, struct target *t)
{
	struct zerr e = { "" };
	int ret;

	memset(t, 0, sizeof(*t));
	t->name = paths[0];
	ret = dmz_open(paths, nr, false, &t->disk, &e);
	if (ret)
		return fail_zerr(&e, paths[0], ret);
	t->dev = dmz_devs_get(t->disk, 0);
	t->nr_zones = zdev_info(t->dev)->nr_zones;
	t->nr_conv = zdev_info(t->dev)->nr_conv;
	t->zone_size = zdev_info(t->dev)->zone_size;
	t->dmz = 1;
	return 0;
}

int target_open_device(const char *path, struct target *t)
{
	struct zerr e = { "" };
	int ret;

	ret = target_try_device(path, t, &e);
	return ret ? fail_zerr(&e, path, ret) : 0;
}

int target_make_writable(struct target *t)
{
	struct zerr e = { "" };
	int ret;

	if (!t->dev)
		return 0;
	if (t->left.bytes && !t->left_settled)
		return fail("%s: acknowledged bytes wait in %s; mount the device, or have "
			    "check --repair replay them", t->name, t->left.path);
	ret = zdev_close(t->dev);
	t->dev = NULL;
	if (!ret)
		ret = open_device(t, true, &e);
	return ret ? fail_zerr(&e, t->name, ret) : 0;
}

int target_close(struct target *t, int status)
{
	int ret = t->disk ? dmz_devs_close(t->disk) : t->dev ? zdev_close(t->dev) : 0;

	t->disk = NULL;
	t->dev = NULL;
	mounted_free(&t->mounted);
	free(t->info);
	t->info = NULL;
	if (ret && !status)
		status = fail("%s: %s", t->name, strerror(-ret));
	return status;
}

int target_check_range(const struct target *t, const struct zone_range *r)
{
	if (r->last < t->nr_zones)
		return 0;
	return fail("%s: there is no zone %u, the last one is %u", t->name,
		    r->first < t->nr_zones ? r->last : r->first, t->nr_zones - 1);
}

/* One line of the daemon's report back to a zone; the inverse of its formatter. */
static bool parse_zone(const char *line, struct zdev_zone *z)
{
	uint64_t start, len, cap, wp;
	unsigned cond, type;

	if (sscanf(line, " start: 0x%" SCNx64 ", len 0x%" SCNx64 ", cap 0x%" SCNx64
		   ", wptr 0x%" SCNx64 " reset:%*u non-seq:%*u, zcond:%u(%*[^)]) [type: %u(",
		   &start, &len, &cap, &wp, &cond, &type) != 6)
		return false;
	if (cap > len || start > zu_bytes_to_sect(ZDEV_MAX_SIZE) ||
	    len > zu_bytes_to_sect(ZDEV_MAX_ZONE_SIZE) || cond > 0xf || type > 0xf)
		return false;
	memset(z, 0, sizeof(*z));
	z->start = zu_sect_to_bytes(start);
	z->size = zu_sect_to_bytes(len);
	z->capacity = zu_sect_to_bytes(cap);
	z->cond = cond;
	z->type = type;
	z->wp = ZDEV_WP_NONE;
	if (cond == BLK_ZONE_COND_FULL || cond == BLK_ZONE_COND_READONLY ||
	    cond == BLK_ZONE_COND_OFFLINE)
		z->said_wp_sect = wp;
	if (cond == BLK_ZONE_COND_FULL)
		z->wp = z->capacity;
	else if (type != BLK_ZONE_TYPE_CONVENTIONAL && cond != BLK_ZONE_COND_READONLY &&
		 cond != BLK_ZONE_COND_OFFLINE)
		z->wp = wp <= cap ? zu_sect_to_bytes(wp) : z->capacity;
	return true;
}

static int mounted_zones(struct target *t, uint32_t first, uint32_t nr, zone_fn fn, void *ctx)
{
	struct zdev_zone z;
	char *text, *line, *end;
	uint32_t zno;
	int ret;

	ret = mounted_read(t->mounted.mountpoint, "zones", &text);
	if (ret)
		return fail("%s/" ZONEFSD_CTLDIR "/zones: %s", t->mounted.mountpoint,
			    strerror(-ret));
	line = text;
	for (zno = 0; !ret && zno < first + nr; zno++, line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		if (zno < first)
			continue;
		if (!parse_zone(line, &z))
			ret = fail("%s/" ZONEFSD_CTLDIR "/zones: line %u not understood",
				   t->mounted.mountpoint, zno + 1);
		else
			ret = fn(ctx, zno, &z);
	}
	free(text);
	return ret;
}

int target_zones(struct target *t, uint32_t first, uint32_t nr, zone_fn fn, void *ctx)
{
	struct zdev_zone *zones;
	uint32_t i, n;
	int ret = 0;

	if (!t->dev)
		return mounted_zones(t, first, nr, fn, ctx);
	zones = calloc(REPORT_CHUNK, sizeof(*zones));
	if (!zones)
		return fail("%s: %s", t->name, strerror(ENOMEM));
	for (; !ret && nr; first += n, nr -= n) {
		n = nr < REPORT_CHUNK ? nr : REPORT_CHUNK;
		ret = zdev_report(t->dev, first, n, zones);
		if (ret)
			ret = fail("%s: report of zone %u: %s", t->name, first, strerror(-ret));
		for (i = 0; !ret && i < n; i++)
			ret = fn(ctx, first + i, &zones[i]);
	}
	free(zones);
	return ret;
}

const char *cond_name(uint8_t cond)
{
	switch (cond) {
	case BLK_ZONE_COND_NOT_WP:
		return "not-write-pointer";
	case BLK_ZONE_COND_EMPTY:
		return "empty";
	case BLK_ZONE_COND_IMP_OPEN:
		return "implicitly-open";
	case BLK_ZONE_COND_EXP_OPEN:
		return "explicitly-open";
	case BLK_ZONE_COND_CLOSED:
		return "closed";
	case BLK_ZONE_COND_READONLY:
		return "read-only";
	case BLK_ZONE_COND_FULL:
		return "full";
	case BLK_ZONE_COND_OFFLINE:
		return "offline";
	}
	return "unknown";
}

const char *type_name(uint8_t type)
{
	switch (type) {
	case BLK_ZONE_TYPE_CONVENTIONAL:
		return "conventional";
	case BLK_ZONE_TYPE_SEQWRITE_REQ:
		return "sequential-write-required";
	case BLK_ZONE_TYPE_SEQWRITE_PREF:
		return "sequential-write-preferred";
	}
	return "unknown";
}

void uuid_text(const uint8_t uuid[16], char text[37])
{
	uuid_unparse_lower(uuid, text);
}
