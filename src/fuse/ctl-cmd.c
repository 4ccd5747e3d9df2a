/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of .zonefsd/ctl (docs/control.md), one line each: what they have in
 * common, and the faults that emulated devices can be given.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_i.h"
#include "zonefsd/units.h"

/* ---- faults ---- */

/* Zones count over all devices, as in the report. *zno: its number on *dev. */
static int parse_zone(struct ctl_args *c, const char *text, struct zdev **dev, uint32_t *zno)
{
	uint64_t value;
	uint32_t i, nr;

	if (zu_parse_u64(text, UINT32_MAX, &value))
		return -EINVAL;
	for (i = 0; i < c->m->nr_devs; i++, value -= nr) {
		nr = zdev_info(c->m->devs[i])->nr_zones;
		if (value >= nr)
			continue;
		*dev = c->m->devs[i];
		*zno = value;
		return 0;
	}
	return -EINVAL;
}

static int inject_cond(struct ctl_args *c, uint8_t cond)
{
	struct zdev *dev;
	uint32_t zno;

	if (c->nr != 3 || parse_zone(c, c->word[2], &dev, &zno))
		return -EINVAL;
	return zdev_set_cond(dev, zno, cond);
}

/* "EIO" or "5"; 0 clears. -1 when it is neither. */
static int parse_errno(const char *text)
{
	const char *name;
	uint64_t value;
	int i;

	if (!zu_parse_u64(text, 4095, &value))
		return value;
	for (i = 1; i < 4096; i++) {
		name = strerrorname_np(i);
		if (name && !strcmp(name, text))
			return i;
	}
	return -1;
}

static int parse_op(const char *text, enum zdev_op *op)
{
	static const struct {
		const char	*name;
		enum zdev_op	op;
	} ops[] = {
		{ "read", ZDEV_READ }, { "write", ZDEV_WRITE }, { "append", ZDEV_APPEND },
		{ "reset", ZDEV_RESET }, { "finish", ZDEV_FINISH }, { "open", ZDEV_OPEN },
		{ "close", ZDEV_CLOSE }, { "flush", ZDEV_FLUSH },
		{ "put_tail", ZDEV_PUT_TAIL }, { "reserve", ZDEV_RESERVE },
		{ "copy", ZDEV_COPY }, { "discard", ZDEV_DISCARD },
	};
	unsigned i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(text, ops[i].name))
			continue;
		*op = ops[i].op;
		return 0;
	}
	return -EINVAL;
}

static int fault_option(struct zdev_fault *fault, const char *opt)
{
	uint64_t value;

	if (!strncmp(opt, "skip=", 5) && !zu_parse_u64(opt + 5, UINT32_MAX, &value))
		fault->skip = value;
	else if (!strncmp(opt, "count=", 6) && !zu_parse_u64(opt + 6, UINT32_MAX, &value))
		fault->count = value;
	else if (!strncmp(opt, "partial=", 8) && !zu_parse_size(opt + 8, &value))
		fault->partial = value;
	else
		return -EINVAL;
	return 0;
}

/* To one device or, where none is named, to all. */
static int inject_fault(struct mnt *m, struct zdev *dev, const struct zdev_fault *fault)
{
	uint32_t i;
	int ret = 0;

	if (dev)
		return zdev_inject(dev, fault);
	for (i = 0; i < m->nr_devs && !ret; i++)
		ret = zdev_inject(m->devs[i], fault);
	return ret;
}

/* inject error OP ZONE ERRNO [skip=N] [count=N] [partial=BYTES] */
static int inject_error(struct ctl_args *c)
{
	struct zdev_fault fault = { .zno = ZDEV_ALL_ZONES, .count = 1 };
	struct zdev *dev = NULL;
	int i;

	if (c->nr < 5 || parse_op(c->word[2], &fault.op))
		return -EINVAL;
	if (strcmp(c->word[3], "all") && parse_zone(c, c->word[3], &dev, &fault.zno))
		return -EINVAL;
	fault.err = parse_errno(c->word[4]);
	if (fault.err < 0)
		return -EINVAL;
	for (i = 5; i < c->nr; i++)
		if (fault_option(&fault, c->word[i]))
			return -EINVAL;
	return inject_fault(c->m, dev, &fault);
}

/* inject write ZONE BYTES: zeros at the write pointer, and zonefs is not told. */
static int inject_write(struct ctl_args *c)
{
	uint64_t left, len, max;
	struct zdev_zone z;
	struct zdev *dev;
	ssize_t ret = 0;
	uint32_t zno;
	char *zeros;

	if (c->nr != 4 || parse_zone(c, c->word[2], &dev, &zno) ||
	    zu_parse_size(c->word[3], &left))
		return -EINVAL;
	max = zdev_info(dev)->max_io;
	ret = zdev_report(dev, zno, 1, &z);
	if (ret)
		return ret;
	if (z.wp == ZDEV_WP_NONE || left > z.capacity - z.wp)
		return -EIO;
	zeros = calloc(1, max);
	if (!zeros)
		return -ENOMEM;
	for (; left && ret >= 0; left -= len, z.wp += len) {
		len = left < max ? left : max;
		ret = zdev_pwrite(dev, zno, z.wp, zeros, len);
	}
	free(zeros);
	return ret < 0 ? ret : 0;
}

static int inject_power_cut(struct mnt *m)
{
	uint32_t i;
	int ret = 0, err;

	for (i = 0; i < m->nr_devs; i++) {
		err = zdev_power_cut(m->devs[i]);
		ret = ret ? ret : err;
	}
	return ret;
}

int ctl_cmd_inject(struct ctl_args *c)
{
	const char *what = c->word[1];
	uint32_t i;

	for (i = 0; i < c->m->nr_devs; i++)
		if (!zdev_info(c->m->devs[i])->emulated)
			return -EOPNOTSUPP;
	if (!strcmp(what, "read-only"))
		return inject_cond(c, BLK_ZONE_COND_READONLY);
	if (!strcmp(what, "offline"))
		return inject_cond(c, BLK_ZONE_COND_OFFLINE);
	if (!strcmp(what, "error"))
		return inject_error(c);
	if (!strcmp(what, "write"))
		return inject_write(c);
	if (!strcmp(what, "power-cut") && c->nr == 2)
		return inject_power_cut(c->m);
	return -EINVAL;
}

/* ---- dispatch ---- */

/* Words of text to c->word. 0 or -EINVAL for too many or none. */
static int split_words(struct ctl_args *c, char *text)
{
	char *save, *word;

	for (word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (c->nr == CTL_MAX_WORDS)
			return -EINVAL;
		c->word[c->nr++] = word;
	}
	return c->nr ? 0 : -EINVAL;
}

int ctl_command(struct mnt *m, const char *line, atomic_bool *stop)
{
	struct ctl_args c = { .m = m, .stop = stop };
	const struct ctl_cmd *cmd = m->format->commands;
	char *text = strdup(line);
	int ret = -ENOMEM;

	if (!text)
		return ret;
	ret = split_words(&c, text);
	while (!ret && cmd->name && strcmp(c.word[0], cmd->name))
		cmd++;
	if (!ret && (!cmd->name || c.nr < cmd->min || c.nr > cmd->max))
		ret = -EINVAL;
	if (!ret)
		ret = cmd->run(&c);
	zlog(m->log, ZLOG_DEBUG, "ctl: %s: %s", line, ret ? strerrorname_np(-ret) : "done");
	free(text);
	return ret;
}
