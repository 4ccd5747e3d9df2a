/* SPDX-License-Identifier: BSD-2-Clause */
/* inject: faults for emulated devices, to see what the software above makes of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"

static const struct opt inject_opts[] = { OPT_END };

/* The daemon knows the words; it gets them as they are. */
static int inject_mount(struct target *t, int nr, char **words)
{
	char line[512] = "inject";
	size_t len = strlen(line);
	int i, ret;

	for (i = 0; i < nr; i++) {
		len += snprintf(line + len, sizeof(line) - len, " %s", words[i]);
		if (len >= sizeof(line))
			return fail("%s: inject: too many words", t->name);
	}
	ret = mounted_command(t->mounted.mountpoint, line);
	return ret ? fail("%s: %s: %s", t->name, line, strerror(-ret)) : 0;
}

/* Without a daemon only what lasts makes sense. */
static int inject_device(struct args *a, struct target *t, int nr, char **words)
{
	struct zone_range r;
	uint64_t zno;
	uint8_t cond;
	int ret;

	if (nr != 2 || (strcmp(words[0], "read-only") && strcmp(words[0], "offline")))
		return fail("%s: not mounted: only read-only ZONE and offline ZONE are possible",
			    t->name);
	if (zu_parse_u64(words[1], UINT32_MAX, &zno))
		return usage_error(a, "%s: '%s' is not a zone", words[0], words[1]);
	r.first = r.last = zno;
	ret = target_check_range(t, &r);
	if (!ret)
		ret = target_make_writable(t);
	if (ret)
		return ret;
	cond = words[0][0] == 'r' ? BLK_ZONE_COND_READONLY : BLK_ZONE_COND_OFFLINE;
	ret = zdev_set_cond(t->dev, zno, cond);
	return ret ? fail("%s: zone %s: %s", t->name, words[1], strerror(-ret)) : 0;
}

static int run_inject(struct args *a)
{
	struct target t;
	char **words;
	int c, nr, ret;

	a->operands_only = true;
	c = args_next(a);
	if (c < 0)
		return a->status;
	nr = args_left(a) - 1;
	words = a->argv + a->next + 1;
	if (nr < 1)
		return usage_error(a, "inject: needs DEV or MNT and a fault");
	ret = target_open(a->argv[a->next], &t);
	if (ret)
		return ret;
	ret = t.dev ? inject_device(a, &t, nr, words) : inject_mount(&t, nr, words);
	return target_close(&t, ret);
}

const struct cmd cmd_inject = {
	.name = "inject",
	.synopsis = "DEV|MNT FAULT...",
	.summary = "make an emulated device fail",
	.opts = inject_opts,
	.notes =
	"Faults:\n"
	"  read-only ZONE         the zone turns read-only, for good\n"
	"  offline ZONE           the zone goes offline, for good\n"
	"Only on a mount:\n"
	"  error OP ZONE ERRNO [skip=N] [count=N] [partial=BYTES]\n"
	"                         OP (read, write, append, reset, finish, open, close,\n"
	"                         flush, put_tail, reserve, copy, discard) fails; ZONE\n"
	"                         may be all, ERRNO 0 clears\n"
	"  write ZONE BYTES       zeros appear at the write pointer behind the mount's back\n"
	"  power-cut              what no flush made durable is lost, and the device dead\n",
	.run = run_inject,
};
