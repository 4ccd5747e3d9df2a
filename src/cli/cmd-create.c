/* SPDX-License-Identifier: BSD-2-Clause */
/* create: an emulated zoned device in a directory or in an image file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../zdev/dir.h"
#include "cli.h"
#include "zonefsd/units.h"

enum { LAYOUT = OPT_LONG, CAPACITY, ZONE_SIZE, ZONE_CAPACITY, CONV_ZONES, BLOCK_SIZE,
       MAX_OPEN, MAX_ACTIVE };

static const struct opt create_opts[] = {
	{ LAYOUT, "layout", "dir|image", "what to make (dir if PATH is one or ends in /, else image)" },
	{ CAPACITY, "capacity", "SIZE", "size of the device, rounded up to whole zones (16G)" },
	{ ZONE_SIZE, "zone-size", "SIZE", "size of a zone, a power of two (256M)" },
	{ ZONE_CAPACITY, "zone-capacity", "SIZE", "usable part of a sequential zone (the zone size)" },
	{ CONV_ZONES, "conv-zones", "N", "conventional zones, from the first zone on (8)" },
	{ BLOCK_SIZE, "block-size", "512|4096", "logical block size in bytes (4096)" },
	{ MAX_OPEN, "max-open-zones", "N", "limit of open zones, 0 for none (0)" },
	{ MAX_ACTIVE, "max-active-zones", "N", "limit of active zones, 0 for none (0)" },
	{ 'o', NULL, "STRING", "the kernel's zloop \"add\" string in place of PATH and options" },
	OPT_END
};

struct create_args {
	struct zdev_geometry g;
	uint64_t	capacity;
	const char	*layout;
	const char	*zloop;
	bool		other_opts;	/* an option that -o excludes was given */
};

static int read_option(struct args *a, int c, struct create_args *ca)
{
	if (c == 'o') {
		ca->zloop = a->value;
		return 0;
	}
	ca->other_opts = true;
	switch (c) {
	case LAYOUT:
		ca->layout = a->value;
		if (strcmp(a->value, "dir") && strcmp(a->value, "image"))
			return usage_error(a, "--layout: '%s' is not dir or image", a->value);
		return 0;
	case CAPACITY:
		return args_size(a, &ca->capacity);
	case ZONE_SIZE:
		return args_size(a, &ca->g.zone_size);
	case ZONE_CAPACITY:
		return args_size(a, &ca->g.zone_capacity);
	case CONV_ZONES:
		return args_u32(a, &ca->g.nr_conv);
	case BLOCK_SIZE:
		return args_u32(a, &ca->g.block_size);
	case MAX_OPEN:
		return args_u32(a, &ca->g.max_open);
	}
	return args_u32(a, &ca->g.max_active);
}

/* nr_zones from the capacity; what zdev checks too is left to it. */
static int count_zones(const char *path, struct create_args *ca)
{
	uint64_t nr;

	if (!ca->capacity)
		return fail("%s: capacity 0: must be at least one zone", path);
	if (!zu_is_pow2(ca->g.zone_size))
		return fail("%s: zone size %llu: must be a power of two", path,
			    (unsigned long long)ca->g.zone_size);
	/* Both are below 2^63: no overflow. */
	nr = (ca->capacity + ca->g.zone_size - 1) / ca->g.zone_size;
	if (nr > ZDEV_MAX_ZONES)
		return fail("%s: capacity %llu: more than %u zones of %llu bytes", path,
			    (unsigned long long)ca->capacity, ZDEV_MAX_ZONES,
			    (unsigned long long)ca->g.zone_size);
	ca->g.nr_zones = nr;
	return 0;
}

static enum zdev_layout choose_layout(const char *path, const char *layout)
{
	struct stat st;

	if (layout)
		return !strcmp(layout, "dir") ? ZDEV_LAYOUT_DIR : ZDEV_LAYOUT_IMAGE;
	if (path[strlen(path) - 1] == '/' || (!stat(path, &st) && S_ISDIR(st.st_mode)))
		return ZDEV_LAYOUT_DIR;
	return ZDEV_LAYOUT_IMAGE;
}

static void print_made(const char *verb, const char *path, const struct zdev_geometry *g)
{
	char all[16], size[16], cap[16];

	zu_format_size(g->zone_size * g->nr_zones, all, sizeof(all));
	zu_format_size(g->zone_size, size, sizeof(size));
	zu_format_size(g->zone_capacity, cap, sizeof(cap));
	say("%s %s: %s, %u zones of %s%s%s%s, %u conventional, blocks of %u", verb, path, all,
	    g->nr_zones, size, g->zone_capacity == g->zone_size ? "" : " (capacity ",
	    g->zone_capacity == g->zone_size ? "" : cap,
	    g->zone_capacity == g->zone_size ? "" : ")", g->nr_conv, g->block_size);
}

static int create(const char *path, enum zdev_layout layout, const struct zdev_geometry *g)
{
	struct progress p;
	struct zerr e = { "" };
	int ret;

	progress_start(&p, "create");
	ret = zdev_create(path, layout, g, progress_update, &p, &e);
	progress_end(&p);
	if (ret)
		return fail_zerr(&e, path, ret);
	print_made("created", path, g);
	return 0;
}

/* Compare the device at p->path with what is described (L8). */
static int check_restored(const struct zloop_params *p)
{
	const struct zdev_geometry *g = &p->geometry;
	const struct zdev_info *info;
	struct target t;
	struct zdev_geometry found;
	int ret;

	ret = target_open_device(p->path, &t);
	if (ret)
		return ret;
	info = zdev_info(t.dev);
	found = (struct zdev_geometry){
		.block_size = info->block_size, .zone_size = info->zone_size,
		.zone_capacity = info->zone_capacity, .nr_zones = info->nr_zones,
		.nr_conv = info->nr_conv,
	};
	if (found.zone_size != g->zone_size || found.zone_capacity != g->zone_capacity ||
	    found.nr_zones != g->nr_zones || found.nr_conv != g->nr_conv)
		ret = fail("%s: holds a device of %u zones of %llu MiB (capacity %llu MiB), "
			   "%u conventional: not the one described", p->path, found.nr_zones,
			   (unsigned long long)found.zone_size >> 20,
			   (unsigned long long)found.zone_capacity >> 20, found.nr_conv);
	else
		print_made("restored", p->path, &found);
	return target_close(&t, ret);
}

/*
 * A device that stands there already is kept. The kernel's directories do not
 * tell all sizes: the string's are left for them, if they turn out to fit.
 */
static int restore(const struct zloop_params *p)
{
	struct zerr e = { "" };
	int hint, ret;

	hint = dir_write_hint(p->path, &p->geometry, p->discard_write_cache, &e);
	if (hint && hint != -EEXIST)
		return fail_zerr(&e, p->path, hint);
	ret = check_restored(p);
	if (ret && !hint)
		dir_remove_hint(p->path);
	if (!ret && hint && p->discard_write_cache) {
		ret = dir_set_powercut(p->path, &e);
		if (ret)
			ret = fail_zerr(&e, p->path, ret);
	}
	return ret;
}

/* Whether the file of zone 0 is in the directory, as zloop decides it. */
static bool holds_device(const char *dir)
{
	static const char *const names[] = { "cnv-000000", "seq-000000" };
	char *path;
	bool found = false;
	size_t i;

	for (i = 0; i < 2 && !found; i++) {
		if (asprintf(&path, "%s/%s", dir, names[i]) < 0)
			return false;
		found = !access(path, F_OK);
		free(path);
	}
	return found;
}

static int create_new(const struct zloop_params *p)
{
	bool made_base = !mkdir(p->base, 0700);
	struct zerr e = { "" };
	int ret;

	ret = create(p->path, ZDEV_LAYOUT_DIR, &p->geometry);
	if (ret && made_base)
		rmdir(p->base);
	if (!ret && p->discard_write_cache) {
		ret = dir_set_powercut(p->path, &e);
		if (ret)
			ret = fail_zerr(&e, p->path, ret);
	}
	return ret;
}

static int create_zloop(const struct args *a, const char *text)
{
	struct zloop_params p;
	int ret;

	ret = zloop_parse(a, text, &p);
	if (ret)
		return ret;
	if (p.noted[0])
		fprintf(stderr, PROGRAM ": %s: no meaning here, accepted\n", p.noted);
	ret = holds_device(p.path) ? restore(&p) : create_new(&p);
	zloop_free(&p);
	return ret;
}

static int run_create(struct args *a)
{
	struct create_args ca = {
		.capacity = UINT64_C(16) << 30,
		.g = { .block_size = 4096, .zone_size = 256 << 20, .nr_conv = 8 },
	};
	const char *path;
	int c, ret;

	ca.g.zone_capacity = UINT64_MAX;	/* not given */
	while ((c = args_next(a)) > 0) {
		ret = read_option(a, c, &ca);
		if (ret)
			return ret;
	}
	if (c < 0)
		return a->status;
	if (ca.zloop) {
		if (ca.other_opts || args_left(a))
			return usage_error(a, "-o: excludes PATH and the other options");
		return finish_output(create_zloop(a, ca.zloop));
	}
	path = args_operand(a, "PATH");
	if (!path)
		return a->status;
	if (ca.g.zone_capacity == UINT64_MAX)
		ca.g.zone_capacity = ca.g.zone_size;
	ret = count_zones(path, &ca);
	if (!ret)
		ret = create(path, choose_layout(path, ca.layout), &ca.g);
	return finish_output(ret);
}

const struct cmd cmd_create = {
	.name = "create",
	.synopsis = "[OPTIONS] PATH | -o STRING",
	.summary = "make an emulated zoned device",
	.opts = create_opts,
	.notes =
	"SIZE is in bytes or has the suffix K, M, G or T (binary).\n\n"
	"STRING is a comma list: id=N, capacity_mb=N, zone_size_mb=N, zone_capacity_mb=N,\n"
	"conv_zones=N, max_open_zones=N, base_dir=DIR, discard_write_cache; nr_queues=N,\n"
	"queue_depth=N, buffered_io, zone_append=0|1 and ordered_zone_append have no\n"
	"meaning here. It makes DIR/N/, or checks the device that is there.\n",
	.run = run_create,
};
