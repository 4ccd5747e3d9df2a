/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices in the format of the block view, to be damaged. */
#ifndef DMZ_UNIT_H
#define DMZ_UNIT_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "../../src/block/dmz_i.h"
#include "unit.h"

#define MIB		((uint64_t)1 << 20)

static inline struct zdev *mem_device(uint32_t conv, uint32_t seq, uint64_t zone_size,
				      uint32_t block_size)
{
	struct zdev_geometry g = {
		.block_size = block_size, .zone_size = zone_size, .zone_capacity = zone_size,
		.nr_zones = conv + seq, .nr_conv = conv,
	};
	struct zdev *dev;
	struct zerr e = { "" };

	if (zdev_mem_create(&g, &dev, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return dev;
}

static inline struct dmz_devs *join_one(struct zdev *dev)
{
	struct dmz_devs *devs = NULL;
	struct zerr e = { "" };

	if (dmz_devs_join(&dev, 1, &devs, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return devs;
}

/* A regular file of the given size in dir, cut into zones. */
static inline struct zdev *file_device(const char *dir, uint64_t size, uint64_t zone_size)
{
	struct zdev_open_opts opts = { .wait_ms = 1000 };
	struct zerr e = { "" };
	struct zdev *dev;
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/regular", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, (off_t)size), 0);
	close(fd);
	if (zdev_regular_open(path, zone_size, &opts, &dev, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return dev;
}

static inline struct dmz_devs *join_two(struct zdev *regular, struct zdev *zoned)
{
	struct zdev *both[2] = { regular, zoned };
	struct dmz_devs *devs = NULL;
	struct zerr e = { "" };

	if (dmz_devs_join(both, 2, &devs, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return devs;
}

static inline struct dmz_super format(struct dmz_devs *devs, uint32_t reserve)
{
	struct dmz_format_opts opts = { .label = "dmz-test", .nr_reserved_seq = reserve };
	struct dmz_super sb;
	struct zerr e = { "" };

	if (dmz_format(devs, &opts, &sb, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return sb;
}

/* dmz_sets_load, reports included. */
static inline int load_sets(struct dmz_devs *devs, struct dmz_set set[2], struct zerr *e)
{
	struct zdev_zone *zones = calloc(devs->nr_zones, sizeof(*zones));
	uint8_t *kinds = calloc(devs->nr_zones, 1);
	int ret;

	CHECK_EQ(dmz_devs_report(devs, zones, kinds), 0);
	ret = dmz_sets_load(devs, zones, kinds, set, e);
	free(kinds);
	free(zones);
	return ret;
}

/* What a check said, a line each: "E text", "W text" or "R text". */
struct report {
	struct dmz_check_result res;
	char		text[1 << 20];
	size_t		len;
};

static inline void add_line(void *ctx, enum dmz_severity sev, const char *text)
{
	struct report *r = ctx;
	int n = snprintf(r->text + r->len, sizeof(r->text) - r->len, "%c %s\n", "EWR"[sev], text);

	r->len += (size_t)n;
	CHECK(r->len < sizeof(r->text));
}

static inline int run_check(struct dmz_devs *devs, bool repair, struct report *r, struct zerr *e)
{
	struct dmz_check_opts opts = { .repair = repair, .found = add_line, .ctx = r };

	e->msg[0] = '\0';
	r->len = 0;
	r->text[0] = '\0';
	return dmz_check(devs, &opts, &r->res, e);
}

#endif
