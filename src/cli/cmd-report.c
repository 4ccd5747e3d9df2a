/* SPDX-License-Identifier: BSD-2-Clause */
/* report: the zones, as blkzone(8) prints them, as JSON, or as a map. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"
#include "zonefsd/zone-report.h"

enum { JSON = OPT_LONG, MAP };

static const struct opt report_opts[] = {
	{ 'o', "offset", "OFFSET", "start at this sector of 512 bytes, the first one of a zone (0)" },
	{ 'c', "count", "COUNT", "show at most this many zones (all)" },
	{ JSON, "json", NULL, "JSON for programs, all sizes in bytes" },
	{ MAP, "map", NULL, "a map of all zones that fits the terminal" },
	OPT_END
};

struct report_args {
	uint64_t	offset_sect;
	uint32_t	count;
	bool		json, map;
};

static int print_line(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	char line[ZONE_REPORT_LINE];

	puts(zone_report_line(z, line, sizeof(line)));
	return ferror(stdout) ? EXIT_FAILED : 0;
}

/* One zone at a time: a report of a million zones does not fit in memory. */
static int print_json(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	const char **separator = ctx;
	json_t *wp = z->wp == ZDEV_WP_NONE ? json_null() : json_integer(z->wp);
	json_t *o = json_pack("{s:I s:I s:I s:I s:o s:s s:s}",
			      "zone", (json_int_t)zno, "start", (json_int_t)z->start,
			      "size", (json_int_t)z->size,
			      "capacity", (json_int_t)z->capacity, "write_pointer", wp,
			      "condition", cond_name(z->cond), "type", type_name(z->type));

	if (!o)
		return fail("report: %s", strerror(ENOMEM));
	fputs(*separator, stdout);
	*separator = ",\n    ";
	json_dumpf(o, stdout, JSON_PRESERVE_ORDER);
	json_decref(o);
	return ferror(stdout) ? EXIT_FAILED : 0;
}

static int report_json(struct target *t, uint32_t first, uint32_t nr)
{
	const char *separator = "\n    ";
	json_t *name = json_string(t->name) ?: json_null();
	int ret;

	printf("{\n  \"device\": ");
	json_dumpf(name, stdout, JSON_ENCODE_ANY);
	json_decref(name);
	printf(",\n  \"zone_size\": %" PRIu64 ",\n  \"nr_zones\": %u,\n  \"zones\": [",
	       t->zone_size, t->nr_zones);
	ret = target_zones(t, first, nr, print_json, &separator);
	puts("\n  ]\n}");
	return ret;
}

static int report_map(struct target *t, uint32_t first, uint32_t nr)
{
	struct zone_map *map = zone_map_new(nr);
	int ret;

	if (!map)
		return fail("%s: %s", t->name, strerror(ENOMEM));
	ret = target_zones(t, first, nr, zone_map_add, map);
	if (!ret)
		zone_map_print(map, t->name, t->zone_size, first);
	zone_map_free(map);
	return ret;
}

static int report(struct target *t, const struct report_args *r)
{
	uint64_t zone_sect = zu_bytes_to_sect(t->zone_size);
	uint64_t first = r->offset_sect / zone_sect;
	uint32_t nr;

	if (r->offset_sect % zone_sect)
		return fail("%s: offset %" PRIu64 ": not the first sector of a zone, zones have %"
			    PRIu64 " sectors", t->name, r->offset_sect, zone_sect);
	if (first >= t->nr_zones)
		return fail("%s: offset %" PRIu64 ": behind the last zone", t->name,
			    r->offset_sect);
	nr = t->nr_zones - first;
	if (nr > r->count)
		nr = r->count;
	if (r->json)
		return report_json(t, first, nr);
	if (r->map)
		return report_map(t, first, nr);
	return target_zones(t, first, nr, print_line, NULL);
}

/* As blkzone takes it: decimal with a suffix, or hexadecimal as reports show it. */
static int read_offset(struct args *a, uint64_t *offset_sect)
{
	char *end;

	if (strncmp(a->value, "0x", 2) || !isxdigit((unsigned char)a->value[2]))
		return args_size(a, offset_sect);
	errno = 0;
	*offset_sect = strtoull(a->value + 2, &end, 16);
	if (*end)
		return usage_error(a, "--offset: '%s' is not a sector", a->value);
	return errno ? fail("--offset: %s is too large", a->value) : 0;
}

static int run_report(struct args *a)
{
	struct report_args r = { .count = UINT32_MAX };
	struct target t;
	const char *path;
	int c, ret = 0;

	while (!ret && (c = args_next(a)) > 0) {
		if (c == 'o')
			ret = read_offset(a, &r.offset_sect);
		else if (c == 'c')
			ret = args_u32(a, &r.count);
		r.json |= c == JSON;
		r.map |= c == MAP;
	}
	if (ret)
		return ret;
	path = c < 0 ? NULL : args_operand(a, "DEV or MNT");
	if (!path)
		return a->status;
	if (r.json && r.map)
		return usage_error(a, "--json: excludes --map");
	ret = target_open(path, &t);
	if (ret)
		return ret;
	return finish_output(target_close(&t, report(&t, &r)));
}

const struct cmd cmd_report = {
	.name = "report",
	.synopsis = "[-o OFFSET] [-c COUNT] [--json|--map] DEV|MNT",
	.summary = "list zones, one per line",
	.opts = report_opts,
	.notes =
	"OFFSET is counted in 512-byte sectors, as in blkzone(8), and may have a suffix.\n",
	.run = run_report,
};
