/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mkfs: make a format on a device. Here the command and the format with a file
 * for each zone; that of the block view is in mkfs-dmz.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"

static const struct opt mkfs_opts[] = {
	{ 't', "type", "TYPE", "format: zonefs (the default) or dmzoned" },
	{ 'f', "force", NULL, "format even if the device contains something" },
	{ 'L', "label", "LABEL", "label, at most 63 bytes, 31 with dmzoned" },
	{ 'o', "options", "LIST", "comma list of the format's own options" },
	OPT_END
};

/* What the command line asks for. */
struct request {
	const struct args *a;
	bool		dmzoned, force;
	const char	*label;		/* NULL: none given */
	const char	**lists;	/* those of -o */
	int		nr_lists;
};

/* ---- zonefs ---- */

static int set_zonefs_option(void *ctx, const struct args *a, const char *word)
{
	struct zerr e = { "" };
	int ret = zonefs_super_option(ctx, word, &e);

	if (ret == -ENOENT)
		return usage_error(a, "-o: '%s' is not an option of zonefs", word);
	if (ret)
		return usage_error(a, "-o: %s", e.msg[0] ? e.msg : strerror(-ret));
	return 0;
}

static int set_dmz_option(void *ctx, const struct args *a, const char *word)
{
	struct dmz_mkfs *how = ctx;
	uint64_t v;

	if (strncmp(word, "seq=", 4))
		return usage_error(a, "-o: '%s' is not an option of dmzoned", word);
	if (zu_parse_u64(word + 4, UINT32_MAX, &v) || !v)
		return usage_error(a, "-o: %s: not a number of zones, from 1 on", word);
	how->nr_reserved_seq = (uint32_t)v;
	return 0;
}

/* Each word of all -o, in order. 0 or the exit status, error reported. */
static int set_options(const struct request *r, void *ctx,
		       int (*set)(void *ctx, const struct args *a, const char *word))
{
	int i, ret = 0;

	for (i = 0; !ret && i < r->nr_lists; i++) {
		char *copy = strdup(r->lists[i]), *rest = copy, *word;

		if (!copy)
			return fail("-o: %s", strerror(ENOMEM));
		while (!ret && (word = strsep(&rest, ",")))
			ret = set(ctx, r->a, word);
		free(copy);
	}
	return ret;
}

static int check_label(const struct request *r, size_t max)
{
	size_t len = r->label ? strlen(r->label) : 0;

	return len <= max ? 0 : usage_error(r->a, "-L: %zu bytes, at most %zu fit", len, max);
}

static void print_made(const struct zdev_info *info, const struct zonefs_super *sb)
{
	char uuid[37], size[16], zone[16];
	bool aggr = sb->features & ZONEFS_F_AGGR_CNV;
	uint32_t cnv = info->nr_conv ? info->nr_conv - 1 : 0;

	uuid_text(sb->uuid, uuid);
	say("%s: zonefs, uuid %s%s%s%s", info->path, uuid,
	    sb->label[0] ? ", label '" : "", sb->label, sb->label[0] ? "'" : "");
	say("%s in zones of %s; sequential files: %u, conventional files: %u%s",
	    zu_format_size(info->size, size, sizeof(size)),
	    zu_format_size(info->zone_size, zone, sizeof(zone)),
	    info->nr_zones - 1 - cnv, aggr && cnv ? 1 : cnv, aggr ? " (aggregated)" : "");
}

static int format(struct target *t, const struct zonefs_super *sb)
{
	struct progress p;
	struct zerr e = { "" };
	int ret;

	ret = zonefs_arena_discard(t->dev, &e);
	if (!ret) {
		ret = dmz_wipe(t->dev);
		if (ret)
			zerr_errno(&e, -ret, "%s: overwriting super blocks of dm-zoned", t->name);
	}
	if (ret)
		return fail_zerr(&e, t->name, ret);
	progress_start(&p, "mkfs");
	ret = zonefs_format(t->dev, sb, progress_update, &p, &e);
	progress_end(&p);
	if (ret)
		return fail_zerr(&e, t->name, ret);
	print_made(zdev_info(t->dev), sb);
	return 0;
}

static int mkfs_zonefs(const struct request *r, const char *path)
{
	struct zonefs_super sb;
	struct target t;
	int ret;

	zonefs_super_init(&sb);
	ret = check_label(r, ZONEFS_LABEL_MAX);
	if (!ret)
		ret = set_options(r, &sb, set_zonefs_option);
	if (ret)
		return ret;
	if (r->label)
		memcpy(sb.label, r->label, strlen(r->label));
	ret = target_open_device(path, &t);
	if (ret)
		return ret;
	if (!r->force)
		ret = probe_content(t.dev, path);
	/* All data goes, and what waits with it. */
	t.left_settled = true;
	if (!ret)
		ret = target_make_writable(&t);
	if (!ret)
		ret = format(&t, &sb);
	return target_close(&t, ret);
}

/* ---- both ---- */

static int mkfs_dmz(const struct request *r, const char *const *paths, uint32_t nr)
{
	struct dmz_mkfs how = { .label = r->label, .force = r->force };
	int ret;

	if (r->label && !*r->label)
		return usage_error(r->a, "-L: dmzoned needs a label that is not empty");
	ret = check_label(r, DMZ_LABEL_MAX);
	if (!ret)
		ret = set_options(r, &how, set_dmz_option);
	return ret ? ret : mkfs_dmzoned(paths, nr, &how);
}

static int set_type(struct request *r, const char *type)
{
	r->dmzoned = !strcmp(type, "dmzoned");
	if (r->dmzoned || !strcmp(type, "zonefs"))
		return 0;
	return usage_error(r->a, "-t: '%s' is not a format, zonefs and dmzoned are", type);
}

/* 0, the exit status, or -1 with that in a->status. */
static int read_options(struct args *a, struct request *r)
{
	int c, ret = 0;

	while (!ret && (c = args_next(a)) > 0) {
		if (c == 't')
			ret = set_type(r, a->value);
		else if (c == 'L')
			r->label = a->value;
		else if (c == 'o')
			r->lists[r->nr_lists++] = a->value;
		else
			r->force = true;
	}
	return ret ? ret : c;
}

static int run_mkfs(struct args *a)
{
	/* No more lists than words. */
	struct request r = { .a = a, .lists = calloc((size_t)a->argc + 1, sizeof(*r.lists)) };
	const char *const *paths = NULL;
	const char *path = NULL;
	uint32_t nr;
	int ret;

	if (!r.lists)
		return fail("%s", strerror(ENOMEM));
	ret = read_options(a, &r);
	if (!ret && r.dmzoned)
		paths = dmz_operands(a, "DEV", &nr);
	else if (!ret)
		path = args_operand(a, "DEV");
	if (paths)
		ret = mkfs_dmz(&r, paths, nr);
	else if (path)
		ret = mkfs_zonefs(&r, path);
	else if (ret <= 0)
		ret = a->status;
	free(r.lists);
	return finish_output(ret);
}

const struct cmd cmd_mkfs = {
	.name = "mkfs",
	.synopsis = "[OPTIONS] DEV...",
	.summary = "format a device, all sequential zones lose their data",
	.opts = mkfs_opts,
	.notes =
	"Options of zonefs, zones as files:\n"
	"  aggr_cnv     one file for each run of conventional zones\n"
	"  perm=OCTAL   access mode of the files (640)\n"
	"  uid=N gid=N  owner of the files (0)\n"
	"Options of dmzoned, one disk:\n"
	"  seq=N        sequential zones kept in reserve (16)\n"
	"dmzoned takes one zoned device, or a regular device and zoned ones behind it.\n",
	.run = run_mkfs,
};
