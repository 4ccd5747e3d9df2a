/* SPDX-License-Identifier: BSD-2-Clause */
/* The device in RAM follows the rules of all emulated devices. */
#include <errno.h>

#include "conformance.h"
#include "unit.h"

static struct zdev *make(void *ctx, const struct zdev_geometry *g)
{
	struct zdev *dev;
	struct zerr e;

	CHECK_EQ(zdev_mem_create(g, &dev, &e), 0);
	return dev;
}

static void follows_the_rules(void)
{
	const struct conformance c = { .make = make };

	conformance_run(&c);
}

/* A million zones: quick to open, and none of them costs data memory. */
static void a_million_zones_open(void)
{
	const struct zdev_geometry g = {
		.block_size = 4096, .zone_size = 64 << 20, .zone_capacity = 64 << 20,
		.nr_zones = 1000000, .nr_conv = 8,
	};
	struct zdev *dev = make(NULL, &g);
	static struct zdev_zone zones[1000000];
	static char block[4096] = "last";

	CHECK_EQ(zdev_pwrite(dev, 999999, 0, block, sizeof(block)), sizeof(block));
	CHECK_EQ(zdev_report(dev, 0, 1000000, zones), 0);
	CHECK_EQ(zones[999999].wp, 4096);
	CHECK(zones[999999].start == (uint64_t)999999 << 26);
	CHECK_EQ(zones[999998].cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(zdev_close(dev), 0);
}

static void bad_geometry_is_refused(void)
{
	const struct zdev_geometry g = { .block_size = 4096, .nr_zones = 4 };
	struct zdev *dev;
	struct zerr e;

	CHECK_EQ(zdev_mem_create(&g, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "zone size 0");
}

int main(void)
{
	RUN(follows_the_rules);
	RUN(a_million_zones_open);
	RUN(bad_geometry_is_refused);
	return 0;
}
