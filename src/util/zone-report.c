/* SPDX-License-Identifier: BSD-2-Clause */
/* Zones as text, in the form of blkzone(8). */
#include "zonefsd/zone-report.h"

#include <inttypes.h>
#include <stdio.h>

#include "zonefsd/units.h"

const char *zone_report_cond(uint8_t cond)
{
	/* Indexed by BLK_ZONE_COND_*; the x ones are reserved values. */
	static const char names[16][3] = {
		"nw", "em", "oi", "oe", "cl", "x5", "x6", "x7",
		"x8", "x9", "xA", "xB", "xC", "ro", "fu", "of",
	};

	return names[cond & 15];
}

const char *zone_report_type(uint8_t type)
{
	switch (type) {
	case BLK_ZONE_TYPE_CONVENTIONAL:
		return "CONVENTIONAL";
	case BLK_ZONE_TYPE_SEQWRITE_REQ:
		return "SEQ_WRITE_REQUIRED";
	case BLK_ZONE_TYPE_SEQWRITE_PREF:
		return "SEQ_WRITE_PREFERRED";
	default:
		return "RESERVED";
	}
}

static uint64_t shown_wp_sect(const struct zdev_zone *z)
{
	if (z->said_wp_sect)
		return z->said_wp_sect;
	if (z->cond == BLK_ZONE_COND_FULL)
		return zu_bytes_to_sect(z->size);
	return z->wp == ZDEV_WP_NONE ? 0 : zu_bytes_to_sect(z->wp);
}

char *zone_report_line(const struct zdev_zone *z, char *buf, size_t len)
{
	/* reset and non-seq are flags that only host-aware disks raise. */
	snprintf(buf, len,
		 "  start: 0x%09" PRIx64 ", len 0x%06" PRIx64 ", cap 0x%06" PRIx64
		 ", wptr 0x%06" PRIx64 " reset:0 non-seq:0, zcond:%2u(%s) [type: %u(%s)]",
		 zu_bytes_to_sect(z->start), zu_bytes_to_sect(z->size),
		 zu_bytes_to_sect(z->capacity), shown_wp_sect(z),
		 z->cond, zone_report_cond(z->cond),
		 z->type, zone_report_type(z->type));
	return buf;
}
