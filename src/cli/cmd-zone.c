/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reset, finish, open, close, seal: commands to zones, through the daemon where
 * the device is mounted, else on the device itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum action { RESET, FINISH, OPEN, CLOSE, SEAL };

static const struct opt zone_opts[] = {
	{ 'a', "all", NULL, "all sequential zones" },
	{ 'z', "zones", "ZONE[-ZONE]", "this zone, or this range" },
	OPT_END
};

static const struct opt seal_opts[] = {
	{ 'z', "zones", "ZONE[-ZONE]", "this zone, or this range (all sequential zones)" },
	OPT_END
};

/* A command on its way over the zones of a device. */
struct walk {
	struct target	*t;
	const struct cmd *cmd;
	bool		all;
	uint32_t	first, nr;
	struct progress	progress;
	uint8_t		*block;		/* room for a tail */
};

/* Two errors of zoned devices have odd names elsewhere. */
static const char *cause(int err)
{
	if (err == -ETOOMANYREFS)
		return "the limit of open zones is reached";
	if (err == -EOVERFLOW)
		return "the limit of active zones is reached";
	return strerror(-err);
}

/* The zone of the super block can only be formatted anew. */
static bool is_super_zone(const struct target *t, uint32_t zno)
{
	return !zno && t->formatted;
}

/*
 * With --all a zone that the command has no meaning for is passed over, as a
 * device does that gets it with the ALL bit.
 */
static bool applies(enum action action, const struct zdev_zone *z)
{
	if (z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE)
		return false;
	switch (action) {
	case OPEN:
		return z->cond != BLK_ZONE_COND_FULL;
	case CLOSE:
		return z->cond == BLK_ZONE_COND_IMP_OPEN || z->cond == BLK_ZONE_COND_EXP_OPEN;
	default:
		return true;
	}
}

/* Complete the zone's partial last block with zeros. 1: done, 0: there is none, or -errno. */
static int seal_zone(struct zdev *dev, uint32_t zno, uint64_t wp, uint8_t *block)
{
	uint32_t size = zdev_info(dev)->block_size;
	ssize_t len, ret;

	len = zdev_get_tail(dev, zno, block);
	if (len <= 0)
		return len;
	memset(block + len, 0, size - len);
	ret = zdev_pwrite(dev, zno, wp, block, size);
	return ret < 0 ? ret : 1;
}

static int act_on_zone(struct walk *w, uint32_t zno, const struct zdev_zone *z)
{
	struct zdev *dev = w->t->dev;
	int ret = 0;

	/* Finish would drop the tail with its last bytes. */
	if ((w->cmd->arg == SEAL || w->cmd->arg == FINISH) && z->wp != ZDEV_WP_NONE &&
	    z->cond != BLK_ZONE_COND_FULL)
		ret = seal_zone(dev, zno, z->wp, w->block);
	if (ret < 0)
		return ret;
	switch (w->cmd->arg) {
	case RESET:
		return zdev_command(dev, ZDEV_RESET, zno);
	case FINISH:
		return zdev_command(dev, ZDEV_FINISH, zno);
	case OPEN:
		return zdev_command(dev, ZDEV_OPEN, zno);
	case CLOSE:
		return zdev_command(dev, ZDEV_CLOSE, zno);
	}
	return 0;
}

static int visit(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	struct walk *w = ctx;
	int ret;

	progress_update(&w->progress, zno - w->first, w->nr);
	if (w->all && (z->type == BLK_ZONE_TYPE_CONVENTIONAL ||
		       is_super_zone(w->t, zno) || !applies(w->cmd->arg, z)))
		return 0;
	ret = act_on_zone(w, zno, z);
	if (!ret)
		return 0;
	progress_end(&w->progress);
	return fail("%s: %s zone %u (%s): %s", w->t->name, w->cmd->name, zno,
		    cond_name(z->cond), cause(ret));
}

static int act_on_device(struct target *t, const struct cmd *cmd, const struct zone_range *r)
{
	struct walk w = {
		.t = t, .cmd = cmd, .all = !r, .first = r ? r->first : 0,
		.nr = r ? r->last - r->first + 1 : t->nr_zones,
	};
	int ret;

	w.block = malloc(zdev_info(t->dev)->block_size);
	if (!w.block)
		return fail("%s: %s", t->name, strerror(ENOMEM));
	progress_start(&w.progress, cmd->name);
	ret = target_zones(t, w.first, w.nr, visit, &w);
	progress_end(&w.progress);
	free(w.block);
	return ret;
}

/* The daemon refuses what would destroy a disk, even to those who may do it. */
static bool refused_for_disk(const struct target *t, int err)
{
	char format[16];

	return err == -EPERM && !mounted_value(t->info, "format", format, sizeof(format)) &&
	       !strcmp(format, "dm-zoned");
}

static int act_on_mount(struct target *t, const struct cmd *cmd, const struct zone_range *r)
{
	char line[64];
	int ret;

	if (!r)
		snprintf(line, sizeof(line), "%s all", cmd->name);
	else if (r->first == r->last)
		snprintf(line, sizeof(line), "%s %u", cmd->name, r->first);
	else
		snprintf(line, sizeof(line), "%s %u-%u", cmd->name, r->first, r->last);
	ret = mounted_command(t->mounted.mountpoint, line);
	if (!ret)
		return 0;
	return fail("%s: %s: %s", t->name, line, refused_for_disk(t, ret) ?
		    "would destroy the disk that the zones hold" : cause(ret));
}

/* Nothing is done when one zone of the range cannot be meant. */
static int check_zone(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	const struct target *t = ctx;

	if (is_super_zone(t, zno))
		return fail("%s: zone 0 holds the super block", t->name);
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL)
		return fail("%s: zone %u is conventional", t->name, zno);
	return 0;
}

static int act(struct target *t, const struct cmd *cmd, const struct zone_range *r)
{
	int ret = 0;

	if (r) {
		ret = target_check_range(t, r);
		if (!ret)
			ret = target_zones(t, r->first, r->last - r->first + 1, check_zone, t);
	}
	if (!ret)
		ret = target_make_writable(t);
	if (ret)
		return ret;
	return t->dev ? act_on_device(t, cmd, r) : act_on_mount(t, cmd, r);
}

static int run_zone(struct args *a)
{
	struct zone_range range;
	bool all = false, have_range = false;
	struct target t;
	const char *path;
	int c, ret = 0;

	while (!ret && (c = args_next(a)) > 0) {
		all |= c == 'a';
		have_range |= c == 'z';
		if (c == 'z')
			ret = args_range(a, &range);
	}
	if (ret)
		return ret;
	path = c < 0 ? NULL : args_operand(a, "DEV or MNT");
	if (!path)
		return a->status;
	if (all && have_range)
		return usage_error(a, "-a: excludes -z");
	if (!all && !have_range && a->cmd->arg != SEAL)
		return usage_error(a, "%s: give -z ZONE[-ZONE], or -a for all", a->cmd->name);
	ret = target_open(path, &t);
	if (ret)
		return ret;
	ret = act(&t, a->cmd, have_range ? &range : NULL);
	return finish_output(target_close(&t, ret));
}

#define ALL_NOTE \
	"With -a, zones that the command has no meaning for are passed over: conventional,\n" \
	"read-only and offline ones, and the zone of the super block.\n"

const struct cmd cmd_reset = {
	.name = "reset",
	.synopsis = "-a | -z ZONE[-ZONE] DEV|MNT",
	.summary = "rewind the write pointer, data is lost",
	.opts = zone_opts,
	.notes = ALL_NOTE,
	.run = run_zone,
	.arg = RESET,
};

const struct cmd cmd_finish = {
	.name = "finish",
	.synopsis = "-a | -z ZONE[-ZONE] DEV|MNT",
	.summary = "make zones full, no more writes",
	.opts = zone_opts,
	.notes = ALL_NOTE,
	.run = run_zone,
	.arg = FINISH,
};

const struct cmd cmd_open = {
	.name = "open",
	.synopsis = "-a | -z ZONE[-ZONE] DEV|MNT",
	.summary = "open zones explicitly",
	.opts = zone_opts,
	.notes = ALL_NOTE
	"Zones stay open as long as the device is in use, that is, while it is mounted.\n",
	.run = run_zone,
	.arg = OPEN,
};

const struct cmd cmd_close = {
	.name = "close",
	.synopsis = "-a | -z ZONE[-ZONE] DEV|MNT",
	.summary = "close open zones, data stays",
	.opts = zone_opts,
	.notes = ALL_NOTE,
	.run = run_zone,
	.arg = CLOSE,
};

const struct cmd cmd_seal = {
	.name = "seal",
	.synopsis = "[-z ZONE[-ZONE]] DEV|MNT",
	.summary = "complete partial last blocks with zeros",
	.opts = seal_opts,
	.notes = "Files get longer by these zeros. Readers other than zonefsd see whole blocks only.\n",
	.run = run_zone,
	.arg = SEAL,
};
