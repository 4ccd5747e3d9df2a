/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control files and commands of the format zonefs (docs/control.md). Commands
 * run on ctl.c's command thread and may wait for the device.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_i.h"
#include "zonefsd/units.h"

#define ADMIN_DEPTH	32	/* zone commands in flight */
#define REPORT_CHUNK	1024	/* zones asked for at once */

/* ---- texts ---- */

static struct zonefs_stats get_stats(struct mnt *m)
{
	struct zonefs_stats st;

	zonefs_get_stats(m->fs, &st);
	return st;
}

static int text_max_wro(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).max_wro);
	return 0;
}

static int text_nr_wro(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).nr_wro);
	return 0;
}

static int text_max_active(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).max_active);
	return 0;
}

static int text_nr_active(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).nr_active);
	return 0;
}

static void put_format(FILE *out, const struct mnt *m)
{
	const struct zonefs_super *sb = zonefs_super(m->fs);

	fprintf(out, "format %s\n", m->format->name);
	ctl_put_uuid(out, "format_uuid", sb->uuid);
	ctl_put_text(out, "label", sb->label);
	fputs("features", out);
	if (sb->features & ZONEFS_F_AGGR_CNV)
		fputs(" aggr_cnv", out);
	if (sb->features & ZONEFS_F_UID)
		fprintf(out, " uid=%" PRIu32, sb->uid);
	if (sb->features & ZONEFS_F_GID)
		fprintf(out, " gid=%" PRIu32, sb->gid);
	if (sb->features & ZONEFS_F_PERM)
		fprintf(out, " perm=%" PRIo32, sb->perm);
	fputc('\n', out);
}

static int text_info(struct mnt *m, FILE *out)
{
	static const char *const errors[] = {
		[ZONEFS_ERRORS_RO] = "remount-ro",
		[ZONEFS_ERRORS_ZRO] = "zone-ro",
		[ZONEFS_ERRORS_ZOL] = "zone-offline",
		[ZONEFS_ERRORS_REPAIR] = "repair",
	};
	const struct zdev_info *d = zdev_info(m->devs[0]);
	struct zonefs_opts o;
	uint64_t nr;

	ctl_put_device(out, m, d->nr_zones, d->nr_conv);
	put_format(out, m);
	zonefs_get_opts(m->fs, &o);
	fprintf(out, "personality %s\nerrors %s\nexplicit_open %d\nread_only %d\n",
		o.strict ? "strict" : "default", errors[o.errors], o.explicit_open,
		get_stats(m).read_only);
	fprintf(out, "passthrough %s\n", pass_is_on(m, &nr) ? "on" : "off");
	return 0;
}

static int text_stats(struct mnt *m, FILE *out)
{
	struct zonefs_stats st = get_stats(m);
	uint64_t nr_through;
	bool on = pass_is_on(m, &nr_through);
	const struct ctl_row rows[] = {
		{ "max_wro", st.max_wro }, { "nr_wro", st.nr_wro },
		{ "max_active", st.max_active }, { "nr_active", st.nr_active },
		{ "nr_files", st.nr_files }, { "nr_cnv", st.nr_cnv },
		{ "nr_seq", st.nr_seq },
		{ "reads", st.reads }, { "read_bytes", st.read_bytes },
		{ "writes", st.writes }, { "write_bytes", st.write_bytes },
		{ "fsyncs", st.fsyncs }, { "resets", st.resets },
		{ "finishes", st.finishes }, { "tails_put", st.tails_put },
		{ "tails_dropped", st.tails_dropped },
		{ "tails_padded", st.tails_padded },
		{ "io_errors", st.io_errors }, { "recoveries", st.recoveries },
		{ "staged_bytes", st.staged_bytes }, { "stage_writes", st.stage_writes },
		{ "stage_write_bytes", st.stage_write_bytes },
		{ "stage_waits", st.stage_waits }, { "arena_bytes", st.arena_bytes },
		{ "late_errors", st.late_errors },
		{ "copies", st.copies }, { "copy_offload_bytes", st.copy_offload_bytes },
		{ "copy_fallback_bytes", st.copy_fallback_bytes },
		{ "replayed_bytes", st.replayed_bytes },
		{ "read_only", st.read_only },
		{ "passthrough", on }, { "passthrough_files", nr_through },
	};

	ctl_put_rows(out, rows, sizeof(rows) / sizeof(rows[0]));
	return 0;
}

static void put_length(struct mnt *m, FILE *out, uint32_t zno, const struct zdev_zone *z)
{
	if (z->type != BLK_ZONE_TYPE_CONVENTIONAL && zonefs_zone_ino(m->fs, zno))
		fprintf(out, "%" PRIu32 " %" PRIu64 "\n", zno,
			zonefs_zone_len(m->fs, zno));
}

static int text_lengths(struct mnt *m, FILE *out)
{
	return ctl_each_zone(m, out, put_length);
}

const struct ctl_entry zone_ctl_entries[] = {
	{ .name = "max_wro_seq_files", .text = text_max_wro },
	{ .name = "nr_wro_seq_files", .text = text_nr_wro },
	{ .name = "max_active_seq_files", .text = text_max_active },
	{ .name = "nr_active_seq_files", .text = text_nr_active },
	{ .name = "version", .text = ctl_text_version },
	{ .name = "info", .text = text_info },
	{ .name = "stats", .text = text_stats },
	{ .name = "zones", .text = ctl_text_zones, .slow = true },
	{ .name = "lengths", .text = text_lengths, .slow = true },
	{ .name = "ctl", .write = ctl_command },
	{ .name = NULL }
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
		ret = zdev_report(a->m->devs[0], zno, nr, zones);
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
	uint32_t max = zdev_info(m->devs[0])->nr_zones - 1;
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

static int run_admin(struct ctl_args *c, enum zonefs_admin op)
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

static int cmd_reset(struct ctl_args *c)
{
	return run_admin(c, ZONEFS_ADM_RESET);
}

static int cmd_finish(struct ctl_args *c)
{
	return run_admin(c, ZONEFS_ADM_FINISH);
}

static int cmd_open(struct ctl_args *c)
{
	return run_admin(c, ZONEFS_ADM_OPEN);
}

static int cmd_close(struct ctl_args *c)
{
	return run_admin(c, ZONEFS_ADM_CLOSE);
}

static int cmd_seal(struct ctl_args *c)
{
	return run_admin(c, ZONEFS_ADM_SEAL);
}

/* ---- the whole mount ---- */

static int cmd_sync(struct ctl_args *c)
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
static int cmd_remount(struct ctl_args *c)
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

const struct ctl_cmd zone_ctl_commands[] = {
	{ "reset",	cmd_reset,	2, 2 },
	{ "finish",	cmd_finish,	2, 2 },
	{ "open",	cmd_open,	2, 2 },
	{ "close",	cmd_close,	2, 2 },
	{ "seal",	cmd_seal,	2, 2 },
	{ "sync",	cmd_sync,	1, 1 },
	{ "remount",	cmd_remount,	2, 2 },
	{ "inject",	ctl_cmd_inject,	2, CTL_MAX_WORDS },
	{ .name = NULL }
};
