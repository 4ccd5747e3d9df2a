/* SPDX-License-Identifier: BSD-2-Clause */
/* What the readable control files of both formats say (docs/control.md). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "ctl_i.h"
#include "zonefsd/zone-report.h"

/* Zones asked for at once. */
#define REPORT_CHUNK	1024

int ctl_text_version(struct mnt *m, FILE *out)
{
	fprintf(out, "%s\n", ZONEFSD_VERSION);
	return 0;
}

void ctl_put_rows(FILE *out, const struct ctl_row *rows, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		fprintf(out, "%s %" PRIu64 "\n", rows[i].name, rows[i].value);
}

/* A label comes from the device, a path from anywhere: they may hold anything. */
void ctl_put_text(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s ", name);
	for (; *value; value++)
		fputc((unsigned char)*value < ' ' || *value == 0x7f ? '?' : *value, out);
	fputc('\n', out);
}

void ctl_put_uuid(FILE *out, const char *name, const uint8_t *bytes)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(bytes, text);
	fprintf(out, "%s %s\n", name, text);
}

void ctl_put_device(FILE *out, const struct mnt *m, uint32_t nr_zones, uint32_t nr_conv)
{
	const struct zdev_info *d = zdev_info(m->devs[0]);
	/* A regular device has none of its own. */
	const struct zdev_info *zoned = zdev_info(m->devs[m->nr_devs - 1]);

	fprintf(out, "pid %d\n", (int)getpid());
	ctl_put_text(out, "device", d->path);
	fprintf(out, "backend %s\n", d->backend);
	ctl_put_uuid(out, "uuid", d->uuid);
	fprintf(out, "block_size %" PRIu32 "\nsize %" PRIu64 "\nzone_size %" PRIu64
		"\nzone_capacity %" PRIu64 "\n",
		d->block_size, d->size, zoned->zone_size, zoned->zone_capacity);
	fprintf(out, "nr_zones %" PRIu32 "\nnr_conv %" PRIu32 "\nmax_open %" PRIu32
		"\nmax_active %" PRIu32 "\n",
		nr_zones, nr_conv, zoned->max_open, zoned->max_active);
}

static int each_zone(struct mnt *m, struct zdev *dev, struct zdev_zone *zones, FILE *out,
		     void (*put)(struct mnt *m, FILE *out, uint32_t zno,
				 const struct zdev_zone *z))
{
	uint32_t nr_zones = zdev_info(dev)->nr_zones, zno, nr, i;
	int ret = 0;

	for (zno = 0; zno < nr_zones && !ret; zno += nr) {
		nr = nr_zones - zno < REPORT_CHUNK ? nr_zones - zno : REPORT_CHUNK;
		ret = zdev_report(dev, zno, nr, zones);
		for (i = 0; i < nr && !ret; i++)
			put(m, out, zno + i, &zones[i]);
	}
	return ret;
}

int ctl_each_zone(struct mnt *m, FILE *out,
		  void (*put)(struct mnt *m, FILE *out, uint32_t zno,
			      const struct zdev_zone *z))
{
	struct zdev_zone *zones;
	uint32_t i;
	int ret = 0;

	zones = malloc(REPORT_CHUNK * sizeof(*zones));
	if (!zones)
		return -ENOMEM;
	for (i = 0; i < m->nr_devs && !ret; i++)
		ret = each_zone(m, m->devs[i], zones, out, put);
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
	return ctl_each_zone(m, out, put_zone);
}
