/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * info: what a device or a mount is. A device is described in the lines that a
 * mount's .zonefsd/info has, so that one table shows both.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"

enum { JSON = OPT_LONG };

static const struct opt info_opts[] = {
	{ JSON, "json", NULL, "JSON for programs, all sizes in bytes" },
	OPT_END
};

enum kind { TEXT, NUMBER, BYTES, FLAG };

static const struct field {
	const char	*name;
	enum kind	kind;
} fields[] = {
	{ "device", TEXT },
	{ "zoned_devices", TEXT },
	{ "mountpoint", TEXT },
	{ "state", TEXT },
	{ "pid", NUMBER },
	{ "backend", TEXT },
	{ "uuid", TEXT },
	{ "size", BYTES },
	{ "block_size", BYTES },
	{ "zone_size", BYTES },
	{ "zone_capacity", BYTES },
	{ "nr_zones", NUMBER },
	{ "nr_conv", NUMBER },
	{ "max_open", NUMBER },
	{ "max_active", NUMBER },
	{ "nr_empty", NUMBER },
	{ "nr_open", NUMBER },
	{ "nr_closed", NUMBER },
	{ "nr_full", NUMBER },
	{ "nr_read_only", NUMBER },
	{ "nr_offline", NUMBER },
	{ "format", TEXT },
	{ "format_uuid", TEXT },
	{ "label", TEXT },
	{ "features", TEXT },
	{ "format_version", NUMBER },
	{ "generation", NUMBER },
	{ "disk_size", BYTES },
	{ "nr_chunks", NUMBER },
	{ "nr_reserved", NUMBER },
	{ "metadata_set_0", TEXT },
	{ "metadata_set_1", TEXT },
	{ "needs_sync", FLAG },
	{ "personality", TEXT },
	{ "errors", TEXT },
	{ "explicit_open", FLAG },
	{ "read_only", FLAG },
};
#define NR_FIELDS	(sizeof(fields) / sizeof(fields[0]))

struct counts {
	uint32_t	by_cond[16];
};

static int count_zone(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	struct counts *n = ctx;

	n->by_cond[z->cond & 15]++;
	return 0;
}

static int count_zones(struct target *t, struct counts *n)
{
	struct target one = { .name = t->name };
	int ret = target_zones(t, 0, t->nr_zones, count_zone, n);
	uint32_t i;

	for (i = 1; !ret && t->disk && (one.dev = dmz_devs_get(t->disk, i)); i++)
		ret = target_zones(&one, 0, zdev_info(one.dev)->nr_zones, count_zone, n);
	return ret;
}

static void put_counts(FILE *f, const struct counts *n)
{
	const uint32_t *c = n->by_cond;

	fprintf(f, "nr_empty %u\nnr_open %u\nnr_closed %u\nnr_full %u\n"
		"nr_read_only %u\nnr_offline %u\n", c[BLK_ZONE_COND_EMPTY],
		c[BLK_ZONE_COND_IMP_OPEN] + c[BLK_ZONE_COND_EXP_OPEN],
		c[BLK_ZONE_COND_CLOSED], c[BLK_ZONE_COND_FULL],
		c[BLK_ZONE_COND_READONLY], c[BLK_ZONE_COND_OFFLINE]);
}

/* A line of its own, whatever a path or a label holds. */
static void put_clean(FILE *f, const char *value)
{
	for (; *value; value++)
		fputc((unsigned char)*value < ' ' || *value == 0x7f ? '?' : *value, f);
}

static void put_text(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s ", name);
	put_clean(f, value);
	fputc('\n', f);
}

static void put_zonefs(FILE *f, const struct zonefs_super *sb)
{
	char uuid[37];

	uuid_text(sb->uuid, uuid);
	put_text(f, "format", "zonefs");
	put_text(f, "format_uuid", uuid);
	put_text(f, "label", sb->label);
	fprintf(f, "features");
	if (sb->features & ZONEFS_F_AGGR_CNV)
		fprintf(f, " aggr_cnv");
	if (sb->features & ZONEFS_F_UID)
		fprintf(f, " uid=%u", sb->uid);
	if (sb->features & ZONEFS_F_GID)
		fprintf(f, " gid=%u", sb->gid);
	if (sb->features & ZONEFS_F_PERM)
		fprintf(f, " perm=%o", sb->perm);
	fprintf(f, "\n");
}

/* A disk's format, or what is known of a device that is not all of it. */
static void put_dmz(FILE *f, const struct dmz_status *st, int err)
{
	const struct dmz_super *sb = &st->super;
	char uuid[37];

	if (err) {
		put_text(f, "format", "dm-zoned (damaged)");
		return;
	}
	put_text(f, "format", "dm-zoned");
	if (sb->version > 1) {
		uuid_text(sb->uuid, uuid);
		put_text(f, "format_uuid", uuid);
		put_text(f, "label", sb->label);
	}
	put_dmz_status(f, st);
}

static void put_disk(FILE *f, struct target *t)
{
	struct dmz_status st = { .winner = 0 };
	struct dmz_devs *devs = t->disk;
	int err = 0;

	if (!devs)
		err = dmz_devs_join(&t->dev, 1, &devs, &t->super_zerr);
	if (!err)
		err = dmz_status(devs, &st, &t->super_zerr);
	if (devs && !t->disk)
		dmz_devs_part(devs);
	put_dmz(f, &st, err);
	t->super_err = err == -ENODEV ? -EINVAL : err;
}

static void put_format(FILE *f, struct target *t)
{
	if (t->dmz == 2)
		put_text(f, "format", "dm-zoned (a later device of several)");
	else if (t->dmz)
		put_disk(f, t);
	else if (t->super_err)
		put_text(f, "format", t->super_err == -ENODEV ? "none" : "damaged");
	else
		put_zonefs(f, &t->super);
}

/* The zoned ones behind a regular one, and what they have together. */
static void add_later(FILE *f, const struct target *t, struct zdev_info *sum)
{
	struct zdev *dev;
	uint32_t i;

	for (i = 1; t->disk && (dev = dmz_devs_get(t->disk, i)); i++) {
		const struct zdev_info *info = zdev_info(dev);

		fprintf(f, i == 1 ? "zoned_devices " : " ");
		put_clean(f, info->path);
		sum->size += info->size;
		sum->nr_zones += info->nr_zones;
		sum->nr_conv += info->nr_conv;
		sum->zone_capacity = info->zone_capacity;
	}
	if (t->disk)
		fputc('\n', f);
}

static void put_device(FILE *f, struct target *t)
{
	const struct zdev_info *i = zdev_info(t->dev);
	struct zdev_info sum = *i;
	static const uint8_t none[16];
	char uuid[37];

	put_text(f, "device", i->path);
	add_later(f, t, &sum);
	put_text(f, "state", "not mounted");
	put_text(f, "backend", i->backend);
	if (memcmp(i->uuid, none, sizeof(none))) {
		uuid_text(i->uuid, uuid);
		put_text(f, "uuid", uuid);
	}
	fprintf(f, "size %" PRIu64 "\nblock_size %u\nzone_size %" PRIu64
		"\nzone_capacity %" PRIu64 "\nnr_zones %u\nnr_conv %u\n"
		"max_open %u\nmax_active %u\n", sum.size, i->block_size, i->zone_size,
		sum.zone_capacity, sum.nr_zones, sum.nr_conv, i->max_open, i->max_active);
	put_format(f, t);
}

/* The lines of a device or a mount. NULL: out of memory. */
static char *collect(struct target *t, const struct counts *n)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	if (t->dev) {
		put_device(f, t);
	} else {
		fputs(t->info, f);
		put_text(f, "mountpoint", t->mounted.mountpoint);
		put_text(f, "state", "mounted");
	}
	put_counts(f, n);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static void print_field(const struct field *fl, const char *value)
{
	char size[16];
	uint64_t v;

	if (fl->kind == BYTES && !zu_parse_u64(value, UINT64_MAX, &v) && v >= 1024)
		printf("%-14s %s (%s)\n", fl->name, value,
		       zu_format_size(v, size, sizeof(size)));
	else if (*value)
		printf("%-14s %s\n", fl->name, value);
	else
		printf("%s\n", fl->name);
}

static json_t *json_field(const struct field *fl, const char *value)
{
	uint64_t v;

	/* Text from a label or a path need not be UTF-8. */
	if (fl->kind == TEXT)
		return json_string(value) ?: json_null();
	if (zu_parse_u64(value, INT64_MAX, &v))
		return json_null();
	return fl->kind == FLAG ? json_boolean(v) : json_integer(v);
}

static void print_text(const char *text)
{
	char value[8192];
	size_t i;

	for (i = 0; i < NR_FIELDS; i++)
		if (!mounted_value(text, fields[i].name, value, sizeof(value)))
			print_field(&fields[i], value);
}

static void print_json(const struct target *t, const char *text)
{
	const char *device = t->dev ? zdev_info(t->dev)->path : t->mounted.device;
	json_t *root = json_object();
	char value[8192];
	size_t i;

	for (i = 0; i < NR_FIELDS; i++)
		if (!mounted_value(text, fields[i].name, value, sizeof(value)))
			json_object_set_new(root, fields[i].name,
					    json_field(&fields[i], value));
	/* The lines have these without control characters. */
	json_object_set_new(root, "device", json_field(&fields[0], device));
	if (t->mounted.mountpoint)
		json_object_set_new(root, "mountpoint",
				    json_field(&fields[1], t->mounted.mountpoint));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

static int info(struct target *t, bool json)
{
	struct counts n = { { 0 } };
	char *text;
	int ret;

	ret = count_zones(t, &n);
	if (ret)
		return ret;
	text = collect(t, &n);
	if (!text)
		return fail("%s: %s", t->name, strerror(ENOMEM));
	if (json)
		print_json(t, text);
	else
		print_text(text);
	free(text);
	/* Damaged: all is shown, and the damage is named. */
	if (t->super_err && t->super_err != -ENODEV)
		return fail_zerr(&t->super_zerr, t->name, t->super_err);
	return 0;
}

static int run_info(struct args *a)
{
	const char *const *paths = NULL;
	struct target t;
	bool json = false;
	uint32_t nr;
	int c, ret;

	while ((c = args_next(a)) > 0)
		json = true;
	if (!c)
		paths = dmz_operands(a, "DEV or MNT", &nr);
	if (!paths)
		return a->status;
	ret = nr > 1 ? target_open_disk(paths, nr, &t) : target_open(paths[0], &t);
	if (ret)
		return ret;
	return finish_output(target_close(&t, info(&t, json)));
}

const struct cmd cmd_info = {
	.name = "info",
	.synopsis = "[--json] DEV...|MNT",
	.summary = "show geometry, limits, format and state",
	.opts = info_opts,
	.run = run_info,
};
