/* SPDX-License-Identifier: BSD-2-Clause */
/* check: verify a device and the format on it, and repair what has one safe answer. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../zdev/image.h"
#include "cli.h"

enum { JSON = OPT_LONG, REPAIR };

static const struct opt check_opts[] = {
	{ REPAIR, "repair", NULL, "repair what has one safe answer" },
	{ JSON, "json", NULL, "JSON for programs" },
	OPT_END
};

/* What was found so far. */
struct findings {
	const char	*device;
	char		real[PATH_MAX];	/* the same without links */
	json_t		*list;		/* NULL: printed as they come */
	uint32_t	left, repaired, warnings;
};

/* What stands behind "NAME: " or "NAME/", or the whole line. */
static const char *skip_name(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (!len || strncmp(line, name, len))
		return line;
	if (line[len] == '/')
		return line + len + 1;
	return strncmp(line + len, ": ", 2) ? line : line + len + 2;
}

static void add(struct findings *f, const char *line, enum dmz_severity sev)
{
	struct zerr clean;
	json_t *text;

	/* Some lines name the device, all are printed with its name. */
	line = skip_name(skip_name(line, f->device), f->real);
	/* The line may quote what is on the device. */
	zerr_set(&clean, EINVAL, "%s", line);
	f->repaired += sev == DMZ_REPAIRED;
	f->left += sev == DMZ_ERROR;
	f->warnings += sev == DMZ_WARNING;
	if (!f->list) {
		say("%s: %s%s%s", f->device, sev == DMZ_WARNING ? "warning: " : "", clean.msg,
		    sev == DMZ_REPAIRED ? " (repaired)" : "");
		return;
	}
	text = json_string(clean.msg);
	json_array_append_new(f->list, json_pack("{s:o s:b s:b}", "problem",
						 text ? text : json_null(),
						 "repaired", sev == DMZ_REPAIRED,
						 "warning", sev == DMZ_WARNING));
}

static void problem(void *ctx, const char *line, bool repaired)
{
	add(ctx, line, repaired ? DMZ_REPAIRED : DMZ_ERROR);
}

static void finding(void *ctx, enum dmz_severity sev, const char *line)
{
	add(ctx, line, sev);
}

/* Progress and repair of the walk over the zones. */
struct zone_check {
	struct target	*t;
	struct findings	*f;
	bool		repair;
	uint8_t		*block;
	struct progress	progress;
};

static int drop_tail(struct zdev *dev, uint32_t zno, uint64_t wp)
{
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = zno, .pos = wp };

	return zdev_run(dev, &io);
}

static int check_zone(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	struct zone_check *c = ctx;
	bool fixed = false;
	char line[128];
	ssize_t len;

	progress_update(&c->progress, zno, c->t->nr_zones);
	if (z->wp == ZDEV_WP_NONE || z->cond == BLK_ZONE_COND_FULL)
		return 0;
	/* Mounting refuses nothing here, but a write would land on the super block's zone. */
	if (!zno && c->t->formatted) {
		if (c->repair)
			fixed = !zdev_command(c->t->dev, ZDEV_FINISH, 0);
		problem(c->f, "zone 0: holds the super block and is not full", fixed);
		return 0;
	}
	len = zdev_get_tail(c->t->dev, zno, c->block);
	if (len >= 0)
		return 0;
	if (c->repair)
		fixed = !drop_tail(c->t->dev, zno, z->wp);
	snprintf(line, sizeof(line), "zone %u: the partial last block cannot be read: %s",
		 zno, strerror(-len));
	problem(c->f, line, fixed);
	return 0;
}

/* What opening a device does not look at. */
static int check_content(struct target *t, bool repair, struct findings *f)
{
	struct zone_check c = { .t = t, .f = f, .repair = repair };
	int ret;

	if (t->super_err && t->super_err != -ENODEV)
		problem(f, t->super_zerr.msg, false);
	c.block = malloc(zdev_info(t->dev)->block_size);
	if (!c.block)
		return fail("%s: %s", t->name, strerror(ENOMEM));
	progress_start(&c.progress, "check");
	ret = target_zones(t, 0, t->nr_zones, check_zone, &c);
	progress_end(&c.progress);
	free(c.block);
	return ret;
}

/* Appends that a killed daemon acknowledged and did not get to the device. */
static int check_arena(struct target *t, bool repair, struct findings *f)
{
	struct zonefs_arena_left left = t->left;
	struct zerr e = { "" };
	char line[512];
	int ret;

	if (!left.bytes && !left.refused)
		return 0;
	if (repair) {
		ret = zonefs_arena_replay(t->dev, NULL, &left, &e);
		if (ret)
			return fail_zerr(&e, t->name, ret);
	}
	if (left.bytes) {
		snprintf(line, sizeof(line), "%" PRIu64 " acknowledged bytes of %" PRIu32
			 " zones wait in arena %s", left.bytes, left.zones, left.path);
		problem(f, line, repair);
	}
	if (left.refused) {
		snprintf(line, sizeof(line), "arena %s holds what does not fit the device",
			 left.path);
		problem(f, line, repair);
	}
	return 0;
}

/* Damaged is what a check is there to tell; anything else kept it from looking. */
static int open_failed(const struct zerr *e, const char *path, int err, struct findings *f)
{
	if (err != -EINVAL && err != -EIO)
		return fail_zerr(e, path, err);
	problem(f, e->msg, false);
	return 0;
}

/* The image's own structures; what is wrong there may keep it from being opened. */
static int check_image(const char *path, bool repair, struct findings *f)
{
	struct zerr e = { "" };
	struct stat st;
	int ret;

	if (stat(path, &st))
		return fail("%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0;
	ret = image_check(path, repair, HOLDER_WAIT_MS, problem, f, &e);
	return ret < 0 ? open_failed(&e, path, ret, f) : 0;
}

static int check_disk(const char *const *paths, uint32_t nr, bool repair, struct findings *f)
{
	struct zerr e = { "" };
	int ret = check_dmzoned(paths, nr, repair, finding, f, &e);

	return ret ? open_failed(&e, paths[0], ret, f) : 0;
}

static int check(const char *path, bool repair, struct findings *f)
{
	struct zerr e = { "" };
	struct target t;
	int ret;

	/* First of all, because a mounted device is not to be touched. */
	ret = target_try_device(path, &t, &e);
	if (!ret)
		target_close(&t, 0);
	else if (ret != -EINVAL && ret != -EIO)
		return fail_zerr(&e, path, ret);
	ret = check_image(path, repair, f);
	if (ret)
		return ret;
	/* Said already, and better. */
	if (f->left)
		return 0;
	e.msg[0] = '\0';
	ret = target_try_device(path, &t, &e);
	if (ret)
		return open_failed(&e, path, ret, f);
	if (t.dmz) {
		ret = target_close(&t, 0);
		return ret ? ret : check_disk(&path, 1, repair, f);
	}
	t.left_settled = true;
	if (repair)
		ret = target_make_writable(&t);
	if (!ret)
		ret = check_arena(&t, repair, f);
	if (!ret)
		ret = check_content(&t, repair, f);
	return target_close(&t, ret);
}

/* A regular device and zoned ones behind it: as check(), in the same order. */
static int check_several(const char *const *paths, uint32_t nr, bool repair, struct findings *f)
{
	struct dmz_devs *devs;
	struct zerr e = { "" };
	uint32_t i;
	int ret;

	ret = dmz_open(paths, nr, false, &devs, &e);
	if (!ret)
		dmz_devs_close(devs);
	else if (ret != -EINVAL && ret != -EIO)
		return fail_zerr(&e, paths[0], ret);
	for (i = 1, ret = 0; !ret && i < nr; i++)
		ret = check_image(paths[i], repair, f);
	return ret || f->left ? ret : check_disk(paths, nr, repair, f);
}

static void print_verdict(const struct findings *f, int status)
{
	json_t *root, *name;

	if (!f->list) {
		if (f->left)
			say("%s: problems: %u", f->device, f->left);
		else if (f->repaired)
			say("%s: sound again, problems repaired: %u", f->device,
			    f->repaired);
		else if (!status && f->warnings)
			say("%s: sound, warnings: %u", f->device, f->warnings);
		else if (!status)
			say("%s: sound", f->device);
		return;
	}
	name = json_string(f->device);
	root = json_pack("{s:o s:b s:O}", "device", name ? name : json_null(),
			 "sound", !f->left && !status, "problems", f->list);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

static int run_check(struct args *a)
{
	struct findings f = { .list = NULL };
	const char *const *paths = NULL;
	bool json = false, repair = false;
	uint32_t nr;
	int c, ret;

	while ((c = args_next(a)) > 0) {
		json |= c == JSON;
		repair |= c == REPAIR;
	}
	if (!c)
		paths = dmz_operands(a, "DEV", &nr);
	if (!paths)
		return a->status;
	f.device = paths[0];
	if (!realpath(f.device, f.real))
		f.real[0] = '\0';
	if (json)
		f.list = json_array();
	ret = nr > 1 ? check_several(paths, nr, repair, &f) : check(f.device, repair, &f);
	if (!ret || f.left || f.repaired)
		print_verdict(&f, ret);
	json_decref(f.list);
	return finish_output(ret || f.left ? EXIT_FAILED : EXIT_DONE);
}

const struct cmd cmd_check = {
	.name = "check",
	.synopsis = "[--repair] [--json] DEV...",
	.summary = "verify a device and the format on it",
	.opts = check_opts,
	.notes =
	"The device may not be mounted. Exits 1 when something is wrong and stays so.\n"
	"Several devices are those of one disk in the format dmzoned, the regular one first.\n",
	.run = run_check,
};
