/* SPDX-License-Identifier: BSD-2-Clause */
/* What the readable control files say (docs/control.md). */
#include "ctl_i.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "zonefsd/zone-report.h"

/* Zones asked for at once. */
#define REPORT_CHUNK	1024

static struct zonefs_stats get_stats(struct mnt *m)
{
	struct zonefs_stats st;

	zonefs_get_stats(m->fs, &st);
	return st;
}

int ctl_text_max_wro(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).max_wro);
	return 0;
}

int ctl_text_nr_wro(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).nr_wro);
	return 0;
}

int ctl_text_max_active(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).max_active);
	return 0;
}

int ctl_text_nr_active(struct mnt *m, FILE *out)
{
	fprintf(out, "%" PRIu32 "\n", get_stats(m).nr_active);
	return 0;
}

int ctl_text_version(struct mnt *m, FILE *out)
{
	fprintf(out, "%s\n", ZONEFSD_VERSION);
	return 0;
}

/* The label comes from the device and may hold anything. */
static void put_printable(FILE *out, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

static void put_uuid(FILE *out, const char *name, const uint8_t *bytes)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(bytes, text);
	fprintf(out, "%s %s\n", name, text);
}

static void put_format(FILE *out, const struct zonefs_super *sb)
{
	fputs("format zonefs\n", out);
	put_uuid(out, "format_uuid", sb->uuid);
	fputs("label ", out);
	put_printable(out, sb->label);
	fputs("\nfeatures", out);
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

static void put_device(FILE *out, const struct zdev_info *d)
{
	fprintf(out, "pid %d\ndevice ", (int)getpid());
	put_printable(out, d->path);
	fprintf(out, "\nbackend %s\n", d->backend);
	put_uuid(out, "uuid", d->uuid);
	fprintf(out, "block_size %" PRIu32 "\nsize %" PRIu64 "\nzone_size %" PRIu64
		"\nzone_capacity %" PRIu64 "\n",
		d->block_size, d->size, d->zone_size, d->zone_capacity);
	fprintf(out, "nr_zones %" PRIu32 "\nnr_conv %" PRIu32 "\nmax_open %" PRIu32
		"\nmax_active %" PRIu32 "\n",
		d->nr_zones, d->nr_conv, d->max_open, d->max_active);
}

int ctl_text_info(struct mnt *m, FILE *out)
{
	static const char *const errors[] = {
		[ZONEFS_ERRORS_RO] = "remount-ro",
		[ZONEFS_ERRORS_ZRO] = "zone-ro",
		[ZONEFS_ERRORS_ZOL] = "zone-offline",
		[ZONEFS_ERRORS_REPAIR] = "repair",
	};
	struct zonefs_opts o;
	uint64_t nr;

	put_device(out, zdev_info(m->dev));
	put_format(out, zonefs_super(m->fs));
	zonefs_get_opts(m->fs, &o);
	fprintf(out, "personality %s\nerrors %s\nexplicit_open %d\nread_only %d\n",
		o.strict ? "strict" : "default", errors[o.errors], o.explicit_open,
		get_stats(m).read_only);
	fprintf(out, "passthrough %s\n", pass_is_on(m, &nr) ? "on" : "off");
	return 0;
}

int ctl_text_stats(struct mnt *m, FILE *out)
{
	struct zonefs_stats st = get_stats(m);
	uint64_t nr_through;
	bool on = pass_is_on(m, &nr_through);
	const struct {
		const char	*name;
		uint64_t	value;
	} rows[] = {
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
		{ "replayed_bytes", st.replayed_bytes },
		{ "read_only", st.read_only },
		{ "passthrough", on }, { "passthrough_files", nr_through },
	};
	unsigned i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(out, "%s %" PRIu64 "\n", rows[i].name, rows[i].value);
	return 0;
}

/* Call put for every zone. */
static int each_zone(struct mnt *m, FILE *out,
		     void (*put)(struct mnt *m, FILE *out, uint32_t zno,
				 const struct zdev_zone *z))
{
	uint32_t nr_zones = zdev_info(m->dev)->nr_zones, zno, nr, i;
	struct zdev_zone *zones;
	int ret = 0;

	zones = malloc(REPORT_CHUNK * sizeof(*zones));
	if (!zones)
		return -ENOMEM;
	for (zno = 0; zno < nr_zones && !ret; zno += nr) {
		nr = nr_zones - zno < REPORT_CHUNK ? nr_zones - zno : REPORT_CHUNK;
		ret = zdev_report(m->dev, zno, nr, zones);
		for (i = 0; i < nr && !ret; i++)
			put(m, out, zno + i, &zones[i]);
	}
	free(zones);
	return ret;
}

static void put_zone(struct mnt *m, FILE *out, uint32_t zno, const struct zdev_zone *z)
{
	char line[ZONE_REPORT_LINE];

	fprintf(out, "%s\n", zone_report_line(z, line, sizeof(line)));
}

int ctl_text_zones(struct mnt *m, FILE *out)
{
	return each_zone(m, out, put_zone);
}

static void put_length(struct mnt *m, FILE *out, uint32_t zno, const struct zdev_zone *z)
{
	if (z->type != BLK_ZONE_TYPE_CONVENTIONAL && zonefs_zone_ino(m->fs, zno))
		fprintf(out, "%" PRIu32 " %" PRIu64 "\n", zno,
			zonefs_zone_len(m->fs, zno));
}

int ctl_text_lengths(struct mnt *m, FILE *out)
{
	return each_zone(m, out, put_length);
}
