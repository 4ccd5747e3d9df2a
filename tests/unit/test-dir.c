/* SPDX-License-Identifier: BSD-2-Clause */
/* The directory layout follows the rules of all emulated devices. */
#include <errno.h>
#include "conformance.h"
#include "unit.h"

static char dir[64];
static char path[128];

static struct zdev *open_dev(void)
{
	const struct zdev_open_opts opts = { .wait_ms = 0 };
	struct zdev *dev;
	struct zerr e;
	int ret = zdev_open(path, &opts, &dev, &e);

	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return dev;
}

static struct zdev *make(void *ctx, const struct zdev_geometry *g)
{
	struct zerr e;

	unit_rm_tree(path);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, g, NULL, NULL, &e), 0);
	return open_dev();
}

static struct zdev *reopen(void *ctx, struct zdev *dev)
{
	CHECK_EQ(zdev_close(dev), 0);
	return open_dev();
}

static void follows_the_rules(void)
{
	const struct conformance c = { .make = make, .reopen = reopen };

	conformance_run(&c);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/dev", dir);
	RUN(follows_the_rules);
	unit_rm_tree(dir);
	return 0;
}
