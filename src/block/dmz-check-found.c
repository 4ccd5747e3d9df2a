/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Findings of a check. They are kept until the end, because only then it is
 * known which of them a repair has dealt with. A disk that is damaged all over has
 * millions: of each kind only so many are kept, the rest is counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmz-check_i.h"

#define MAX_TOLD	50u	/* of a kind */
#define NR_SORTS	4u	/* of those not told: by severity and fixable */

/* What those beyond MAX_TOLD are told as. */
static const char *const kind_names[NR_FINDINGS] = {
	[F_SUPER] = "super blocks",
	[F_SYNC] = "differences between the sets",
	[F_LATER] = "super blocks of later devices",
	[F_SIZES] = "sizes",
	[F_ZONES] = "zones",
	[F_POINTER] = "write pointers",
	[F_DATA_ZONE] = "chunks with a bad data zone",
	[F_BUFFER_ZONE] = "chunks with a bad buffer zone",
	[F_TAIL] = "map blocks with something behind the last chunk",
	[F_EMPTY_ZONE] = "chunks with an empty data zone",
	[F_BITS_UNMAPPED] = "zones without a chunk but with valid blocks",
	[F_BITS_BEYOND] = "zones with valid blocks beyond their end",
	[F_BITS_POINTER] = "zones with valid blocks beyond the write pointer",
	[F_BITS_BOTH] = "chunks with blocks valid in both zones",
	[F_LOST] = "chunks with a bad zone",
	[F_IDLE] = "mapped zones without a valid block",
	[F_NOT_EMPTY] = "zones without a chunk that are not empty",
};

struct note {
	enum dmz_severity sev;
	bool		fixable;
	char		text[256];
};

struct notes {
	uint32_t	nr;
	uint32_t	told[NR_FINDINGS];
	uint64_t	untold[NR_FINDINGS][NR_SORTS];
	struct note	note[NR_FINDINGS * MAX_TOLD];
};

int check_notes_init(struct check *c)
{
	c->notes = calloc(1, sizeof(*c->notes));
	return c->notes ? 0 : -ENOMEM;
}

void check_found(struct check *c, enum finding kind, enum dmz_severity sev, bool fixable,
		 const char *fmt, ...)
{
	struct notes *all = c->notes;
	struct note *n;
	va_list ap;

	if (all->told[kind] == MAX_TOLD) {
		all->untold[kind][(sev == DMZ_ERROR) + 2 * fixable]++;
		return;
	}
	all->told[kind]++;
	n = &all->note[all->nr++];
	n->sev = sev;
	n->fixable = fixable;
	va_start(ap, fmt);
	vsnprintf(n->text, sizeof(n->text), fmt, ap);
	va_end(ap);
}

static void tell(struct check *c, enum dmz_severity sev, uint64_t count, const char *text)
{
	struct dmz_check_result *r = c->res;

	*(sev == DMZ_ERROR ? &r->errors : sev == DMZ_WARNING ? &r->warnings : &r->repaired) += count;
	if (c->opts->found)
		c->opts->found(c->opts->ctx, sev, text);
}

static void tell_untold(struct check *c, enum finding kind, uint32_t sort, bool repaired)
{
	uint64_t count = c->notes->untold[kind][sort];
	enum dmz_severity sev = sort & 1 ? DMZ_ERROR : DMZ_WARNING;
	char text[128];

	if (!count)
		return;
	snprintf(text, sizeof(text), "%" PRIu64 " more %s", count, kind_names[kind]);
	tell(c, repaired && sort & 2 ? DMZ_REPAIRED : sev, count, text);
}

void check_tell(struct check *c, bool repaired)
{
	uint32_t i, kind, sort;

	for (i = 0; i < c->notes->nr; i++) {
		const struct note *n = &c->notes->note[i];

		tell(c, repaired && n->fixable ? DMZ_REPAIRED : n->sev, 1, n->text);
	}
	for (kind = 0; kind < NR_FINDINGS; kind++)
		for (sort = 0; sort < NR_SORTS; sort++)
			tell_untold(c, kind, sort, repaired);
}

uint32_t check_dev_of(const struct check *c, uint32_t zone)
{
	uint32_t i = c->devs->nr - 1;

	while (zone < c->devs->dev[i].first_zone)
		i--;
	return i;
}

const char *check_zone_name(const struct check *c, uint32_t zone, char *buf)
{
	uint32_t i = check_dev_of(c, zone), zno = zone - c->devs->dev[i].first_zone;

	if (c->devs->nr == 1)
		snprintf(buf, ZONE_NAME, "%" PRIu32, zone);
	else
		snprintf(buf, ZONE_NAME, "%" PRIu32 " (zone %" PRIu32 " of %s)", zone, zno,
			 dmz_dev_path(c->devs, i));
	return buf;
}
