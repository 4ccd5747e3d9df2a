/* SPDX-License-Identifier: BSD-2-Clause */
/* The one line for each zone that blkzone(8) prints. */
#ifndef ZONEFSD_ZONE_REPORT_H
#define ZONEFSD_ZONE_REPORT_H

#include <stddef.h>

#include "zonefsd/zdev.h"

#define ZONE_REPORT_LINE	192	/* enough for any line */

/*
 * Format a zone as `blkzone report` does, without newline, numbers in sectors.
 * A full zone shows its length as the write pointer, as SCSI and NVMe devices
 * report it; a zone without one shows 0, or what the device says. Returns buf.
 */
char *zone_report_line(const struct zdev_zone *z, char *buf, size_t len);

/* "em", "oi", ...: blkzone's two letters for a BLK_ZONE_COND_*. */
const char *zone_report_cond(uint8_t cond);

/* "CONVENTIONAL", ...: blkzone's word for a BLK_ZONE_TYPE_*. */
const char *zone_report_type(uint8_t type);

#endif
