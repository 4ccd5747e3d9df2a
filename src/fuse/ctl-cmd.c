/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of .zonefsd/ctl (docs/control.md), one line each. They run on
 * ctl.c's command thread and may wait for the device. A line comes from another
 * program: every word of it is checked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_i.h"
#include "zonefsd/units.h"

#define MAX_WORDS	8
#define ADMIN_DEPTH	32	/* zone commands in flight */
#define REPORT_CHUNK	1024	/* zones asked for at once */

struct args {
	struct mnt	*m;
	int		nr;
	char		*word[MAX_WORDS];
	atomic_bool	*stop;
};

/* ---- zone commands ---- */

struct admin {
	struct mnt	*m;
	enum zonefs_admin op;
	bool		all;

	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	done;
	struct admin_slot *unused;
	unsigned	nr_used;
	int		error;		/* the first one */
};

struct admin_slot {
	struct zonefs_req zr;		/* comes first */
	struct admin	*a;
	struct admin_slot *next;
};

static void admin_done(struct zonefs_req *zr, ssize_t result)
{
	struct admin_slot *s = (struct admin_slot *)zr;
	struct admin *a = s->a;

	pthread_mutex_lock(&a->lock);
	if (result < 0 && !a->error)
		a->error = result;
	s->next = a->unused;
	a->unused = s;
	a->nr_used--;
	pthread_cond_signal(&a->done);
	pthread_mutex_unlock(&a->lock);
}

/* Start the command on one zone, waiting for a free slot. false after an error. */
static bool admin_submit(struct admin *a, uint32_t zno)
{
	struct admin_slot *s = NULL;

	pthread_mutex_lock(&a->lock);
	while (!a->unused && !a->error)
		pthread_cond_wait(&a->done, &a->lock);
	if (!a->error) {
		s = a->unused;
		a->unused = s->next;
		a->nr_used++;
	}
	pthread_mutex_unlock(&a->lock);
	if (!s)
		return false;
	memset(&s->zr, 0, sizeof(s->zr));
	s->zr.done = admin_done;
	zonefs_admin(a->m->fs, a->op, zno, &s->zr);
	return true;
}

/*
 * "all" leaves out, as the devices' own commands for all zones do, the zones
 * that the command has no meaning for.
 */
static bool admin_applies(const struct admin *a, uint32_t zno, const struct zdev_zone *z)
{
	if (!a->all)
		return true;
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL || !zonefs_zone_ino(a->m->fs, zno) ||
	    z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE)
		return false;
	if (a->op == ZONEFS_ADM_OPEN)
		return z->cond != BLK_ZONE_COND_FULL;
	if (a->op == ZONEFS_ADM_CLOSE)
		return z->cond == BLK_ZONE_COND_IMP_OPEN || z->cond == BLK_ZONE_COND_EXP_OPEN;
	return true;
}

static int admin_range(struct admin *a, uint32_t first, uint32_t last, atomic_bool *stop)
{
	struct zdev_zone *zones;
	uint64_t zno = first;
	uint32_t nr, i;
	int ret = 0;

	zones = malloc(REPORT_CHUNK * sizeof(*zones));
	if (!zones)
		return -ENOMEM;
	for (; zno <= last && !ret; zno += nr) {
		nr = last - zno + 1 < REPORT_CHUNK ? last - zno + 1 : REPORT_CHUNK;
		ret = zdev_report(a->m->dev, zno, nr, zones);
		for (i = 0; i < nr && !ret; i++) {
			if (atomic_load(stop))
				ret = -EINTR;
			else if (admin_applies(a, zno + i, &zones[i]) &&
				 !admin_submit(a, zno + i))
				ret = -ECANCELED;	/* a->error says why */
		}
	}
	free(zones);
	return ret;
}

/* "all", "N" or "N-M". 0 or -EINVAL. */
static int parse_zones(struct mnt *m, const char *text, uint32_t *first, uint32_t *last)
{
	uint32_t max = zdev_info(m->dev)->nr_zones - 1;
	uint64_t lo, hi;
	char buf[32], *dash;

	*first = 0;
	*last = max;
	if (!strcmp(text, "all"))
		return 0;
	if (strlen(text) >= sizeof(buf))
		return -EINVAL;
	strcpy(buf, text);
	dash = strchr(buf, '-');
	if (dash)
		*dash++ = '\0';
	if (zu_parse_u64(buf, max, &lo) || zu_parse_u64(dash ? dash : buf, max, &hi) ||
	    lo > hi)
		return -EINVAL;
	*first = lo;
	*last = hi;
	return 0;
}

static int run_admin(struct args *c, enum zonefs_admin op)
{
	struct admin_slot slots[ADMIN_DEPTH];
	struct admin a = {
		.m = c->m, .op = op, .all = !strcmp(c->word[1], "all"),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER,
	};
	uint32_t first, last;
	unsigned i;
	int ret;

	ret = parse_zones(c->m, c->word[1], &first, &last);
	if (ret)
		return ret;
	for (i = 0; i < ADMIN_DEPTH; i++) {
		slots[i].a = &a;
		slots[i].next = a.unused;
		a.unused = &slots[i];
	}
	ret = admin_range(&a, first, last, c->stop);
	pthread_mutex_lock(&a.lock);
	while (a.nr_used)
		pthread_cond_wait(&a.done, &a.lock);
	pthread_mutex_unlock(&a.lock);
	return a.error ? a.error : ret;
}

static int cmd_reset(struct args *c)
{
	return run_admin(c, ZONEFS_ADM_RESET);
}

static int cmd_finish(struct args *c)
{
	return run_admin(c, ZONEFS_ADM_FINISH);
}

static int cmd_open(struct args *c)
{
	return run_admin(c, ZONEFS_ADM_OPEN);
}

static int cmd_close(struct args *c)
{
	return run_admin(c, ZONEFS_ADM_CLOSE);
}

static int cmd_seal(struct args *c)
{
	return run_admin(c, ZONEFS_ADM_SEAL);
}

/* ---- the whole mount ---- */

static int cmd_sync(struct args *c)
{
	return zonefs_sync(c->m->fs);
}

/* One of the options that a remount may change. */
static int remount_option(struct zonefs_opts *o, const char *opt)
{
	struct zerr e;

	if (!strcmp(opt, "ro") || !strcmp(opt, "rw")) {
		o->read_only = opt[1] == 'o';
		return 0;
	}
	if (strncmp(opt, "errors=", 7) && strcmp(opt, "explicit-open"))
		return -EINVAL;
	return zonefs_opts_apply(o, opt, &e) ? -EINVAL : 0;
}

/* Z12: what is not given goes back to its default. */
static int cmd_remount(struct args *c)
{
	struct zonefs_opts o, defaults;
	char *rest = c->word[1], *opt;
	int ret = 0;

	zonefs_get_opts(c->m->fs, &o);
	zonefs_opts_init(&defaults);
	o.errors = defaults.errors;
	o.explicit_open = defaults.explicit_open;
	o.read_only = false;
	while (!ret && (opt = strsep(&rest, ",")))
		ret = remount_option(&o, opt);
	if (!ret)
		ret = zonefs_remount(c->m->fs, &o);
	/* What an error before this wanted would come late, and stay. */
	if (!ret && !o.read_only)
		notify_writable(c->m->notify);
	return ret;
}

/* ---- faults ---- */

static int parse_zone(struct args *c, const char *text, uint32_t *zno)
{
	uint64_t value;

	if (zu_parse_u64(text, zdev_info(c->m->dev)->nr_zones - 1, &value))
		return -EINVAL;
	*zno = value;
	return 0;
}

static int inject_cond(struct args *c, uint8_t cond)
{
	uint32_t zno;

	if (c->nr != 3 || parse_zone(c, c->word[2], &zno))
		return -EINVAL;
	return zdev_set_cond(c->m->dev, zno, cond);
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

/* inject error OP ZONE ERRNO [skip=N] [count=N] [partial=BYTES] */
static int inject_error(struct args *c)
{
	struct zdev_fault fault = { .zno = ZDEV_ALL_ZONES, .count = 1 };
	int i;

	if (c->nr < 5 || parse_op(c->word[2], &fault.op))
		return -EINVAL;
	if (strcmp(c->word[3], "all") && parse_zone(c, c->word[3], &fault.zno))
		return -EINVAL;
	fault.err = parse_errno(c->word[4]);
	if (fault.err < 0)
		return -EINVAL;
	for (i = 5; i < c->nr; i++)
		if (fault_option(&fault, c->word[i]))
			return -EINVAL;
	return zdev_inject(c->m->dev, &fault);
}

/* inject write ZONE BYTES: zeros at the write pointer, and zonefs is not told. */
static int inject_write(struct args *c)
{
	uint32_t max = zdev_info(c->m->dev)->max_io, zno;
	uint64_t left, len;
	struct zdev_zone z;
	ssize_t ret = 0;
	char *zeros;

	if (c->nr != 4 || parse_zone(c, c->word[2], &zno) ||
	    zu_parse_size(c->word[3], &left))
		return -EINVAL;
	ret = zdev_report(c->m->dev, zno, 1, &z);
	if (ret)
		return ret;
	if (z.wp == ZDEV_WP_NONE || left > z.capacity - z.wp)
		return -EIO;
	zeros = calloc(1, max);
	if (!zeros)
		return -ENOMEM;
	for (; left && ret >= 0; left -= len, z.wp += len) {
		len = left < max ? left : max;
		ret = zdev_pwrite(c->m->dev, zno, z.wp, zeros, len);
	}
	free(zeros);
	return ret < 0 ? ret : 0;
}

static int cmd_inject(struct args *c)
{
	const char *what = c->word[1];

	if (!zdev_info(c->m->dev)->emulated)
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
		return zdev_power_cut(c->m->dev);
	return -EINVAL;
}

/* ---- dispatch ---- */

static const struct {
	const char	*name;
	int		(*run)(struct args *c);
	int		min, max;	/* words, the name included */
} commands[] = {
	{ "reset",	cmd_reset,	2, 2 },
	{ "finish",	cmd_finish,	2, 2 },
	{ "open",	cmd_open,	2, 2 },
	{ "close",	cmd_close,	2, 2 },
	{ "seal",	cmd_seal,	2, 2 },
	{ "sync",	cmd_sync,	1, 1 },
	{ "remount",	cmd_remount,	2, 2 },
	{ "inject",	cmd_inject,	2, MAX_WORDS },
};

/* Words of text to c->word. 0 or -EINVAL for too many or none. */
static int split_words(struct args *c, char *text)
{
	char *save, *word;

	for (word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (c->nr == MAX_WORDS)
			return -EINVAL;
		c->word[c->nr++] = word;
	}
	return c->nr ? 0 : -EINVAL;
}

int ctl_command(struct mnt *m, const char *line, atomic_bool *stop)
{
	struct args c = { .m = m, .stop = stop };
	char *text = strdup(line);
	int ret = -ENOMEM;
	unsigned i;

	if (!text)
		return ret;
	ret = split_words(&c, text);
	for (i = 0; !ret && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(c.word[0], commands[i].name))
			break;
	if (!ret && i == sizeof(commands) / sizeof(commands[0]))
		ret = -EINVAL;
	if (!ret && (c.nr < commands[i].min || c.nr > commands[i].max))
		ret = -EINVAL;
	if (!ret)
		ret = commands[i].run(&c);
	zlog(m->log, ZLOG_DEBUG, "ctl: %s: %s", line, ret ? strerrorname_np(-ret) : "done");
	free(text);
	return ret;
}
