/* SPDX-License-Identifier: BSD-2-Clause */
/* mkfs: put a zonefs super block on a device and reset its zones. */
#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"
#include "zonefsd/units.h"

#define PROBE_SIZE	(UINT64_C(2) << 20)	/* all signatures but those at the end */
#define PROBE_END	(UINT64_C(256) << 10)	/* RAID and backup partition tables */
#define PROBE_CHUNK	(UINT32_C(256) << 10)

static const struct opt mkfs_opts[] = {
	{ 't', "type", "TYPE", "format: zonefs (the default)" },
	{ 'f', "force", NULL, "format even if the device contains something" },
	{ 'L', "label", "LABEL", "label, at most 63 bytes" },
	{ 'o', "options", "LIST", "comma list of aggr_cnv, perm=OCTAL, uid=N, gid=N" },
	OPT_END
};

/* Bytes at pos of the device, for at most PROBE_CHUNK and never across zones. */
static ssize_t read_device(struct zdev *dev, uint64_t pos, void *buf, uint64_t len)
{
	const struct zdev_info *info = zdev_info(dev);
	uint64_t at = pos & (info->zone_size - 1);

	if (len > PROBE_CHUNK)
		len = PROBE_CHUNK;
	if (len > info->max_io)
		len = info->max_io;
	if (len > info->zone_size - at)
		len = info->zone_size - at;
	return zdev_pread(dev, pos / info->zone_size, at, buf, len);
}

/* Copy [pos, end) of the device to the same place of fd. 0 or -errno. */
static int copy_part(struct zdev *dev, int fd, uint64_t pos, uint64_t end)
{
	char *buf = malloc(PROBE_CHUNK);
	ssize_t n = 0;

	if (!buf)
		return -ENOMEM;
	for (; pos < end; pos += n) {
		n = read_device(dev, pos, buf, end - pos);
		if (n <= 0)
			break;
		if (pwrite(fd, buf, n, pos) != n) {
			n = -errno;
			break;
		}
	}
	free(buf);
	return n < 0 ? n : 0;
}

/*
 * libblkid reads a file: a sparse one in memory, as long as the device, with
 * the parts that signatures live in.
 */
static int copy_to_memory(struct zdev *dev)
{
	uint64_t size = zdev_info(dev)->size;
	int fd, ret;

	fd = memfd_create("zonefsctl-probe", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ftruncate(fd, size) ? -errno : 0;
	if (!ret)
		ret = copy_part(dev, fd, 0, size < PROBE_SIZE ? size : PROBE_SIZE);
	if (!ret && size > PROBE_SIZE + PROBE_END)
		ret = copy_part(dev, fd, size - PROBE_END, size);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int report_content(blkid_probe pr, const char *path)
{
	const char *type;

	if (!blkid_probe_lookup_value(pr, "TYPE", &type, NULL))
		return fail("%s: contains a file system or signature of type %s (use -f)", path, type);
	if (!blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL))
		return fail("%s: contains a partition table of type %s (use -f)", path, type);
	return fail("%s: contains something unknown (use -f)", path);
}

/* 0 when nothing known is on the device, else EXIT_FAILED, reported. */
static int probe_content(struct target *t)
{
	blkid_probe pr;
	int fd, ret;

	/* libblkid knows only sound ones. */
	if (t->formatted)
		return fail("%s: contains a zonefs file system (use -f)", t->name);
	fd = copy_to_memory(t->dev);
	if (fd < 0)
		return fail("%s: probe: %s (-f skips it)", t->name, strerror(-fd));
	pr = blkid_new_probe();
	if (!pr || blkid_probe_set_device(pr, fd, 0, 0)) {
		ret = fail("%s: probe failed (-f skips it)", t->name);
		goto out;
	}
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE);
	blkid_probe_enable_partitions(pr, 1);
	ret = blkid_do_safeprobe(pr);
	if (ret == 1)
		ret = 0;
	else if (ret == 0)
		ret = report_content(pr, t->name);
	else if (ret == -2)
		ret = fail("%s: contains several signatures (use -f)", t->name);
	else
		ret = fail("%s: probe failed (-f skips it)", t->name);
out:
	blkid_free_probe(pr);
	close(fd);
	return ret;
}

static int set_options(const struct args *a, const char *list, struct zonefs_super *sb)
{
	char *copy = strdup(list), *rest = copy, *word;
	struct zerr e = { "" };
	int ret = 0;

	if (!copy)
		return fail("-o: %s", strerror(ENOMEM));
	while (!ret && (word = strsep(&rest, ","))) {
		ret = zonefs_super_option(sb, word, &e);
		if (ret == -ENOENT)
			ret = usage_error(a, "-o: '%s' is not an option of zonefs", word);
		else if (ret)
			ret = usage_error(a, "-o: %s", e.msg[0] ? e.msg : strerror(-ret));
	}
	free(copy);
	return ret;
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

static int set_label(const struct args *a, struct zonefs_super *sb)
{
	size_t len = strlen(a->value);

	if (len > ZONEFS_LABEL_MAX)
		return usage_error(a, "-L: %zu bytes, at most %d fit", len, ZONEFS_LABEL_MAX);
	memset(sb->label, 0, sizeof(sb->label));
	memcpy(sb->label, a->value, len);
	return 0;
}

static int set_type(const struct args *a)
{
	if (!strcmp(a->value, "zonefs"))
		return 0;
	if (!strcmp(a->value, "dmzoned"))
		return fail("-t dmzoned: not supported by this version");
	return usage_error(a, "-t: '%s' is not a format", a->value);
}

static int run_mkfs(struct args *a)
{
	struct zonefs_super sb;
	struct target t;
	const char *path;
	bool force = false;
	int c, ret = 0;

	zonefs_super_init(&sb);
	while (!ret && (c = args_next(a)) > 0) {
		if (c == 't')
			ret = set_type(a);
		else if (c == 'L')
			ret = set_label(a, &sb);
		else if (c == 'o')
			ret = set_options(a, a->value, &sb);
		else
			force = true;
	}
	if (ret)
		return ret;
	path = c < 0 ? NULL : args_operand(a, "DEV");
	if (!path)
		return a->status;
	ret = target_open_device(path, &t);
	if (ret)
		return ret;
	if (!force)
		ret = probe_content(&t);
	/* All data goes, and what waits with it. */
	t.left_settled = true;
	if (!ret)
		ret = target_make_writable(&t);
	if (!ret)
		ret = format(&t, &sb);
	return finish_output(target_close(&t, ret));
}

const struct cmd cmd_mkfs = {
	.name = "mkfs",
	.synopsis = "[OPTIONS] DEV",
	.summary = "format a device, all sequential zones lose their data",
	.opts = mkfs_opts,
	.notes =
	"  aggr_cnv     one file for each run of conventional zones\n"
	"  perm=OCTAL   access mode of the files (640)\n"
	"  uid=N gid=N  owner of the files (0)\n",
	.run = run_mkfs,
};
