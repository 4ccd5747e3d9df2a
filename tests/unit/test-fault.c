/* SPDX-License-Identifier: BSD-2-Clause */
/* Injected faults: which operations they hit, how often, and what they leave. */
#include <errno.h>

#include "unit.h"
#include "zonefsd/zdev.h"

#define BS	4096u
#define ZONE	(64u * 1024)
#define Z	1u

static const struct zdev_geometry geometry = {
	.block_size = BS, .zone_size = ZONE, .zone_capacity = ZONE, .nr_zones = 4,
	.nr_conv = 1,
};
static char buf[ZONE], got[ZONE];

static struct zdev *make(void)
{
	struct zdev *dev;
	struct zerr e;

	CHECK_EQ(zdev_mem_create(&geometry, &dev, &e), 0);
	return dev;
}

static int inject(struct zdev *dev, enum zdev_op op, uint32_t zno, int err, uint32_t skip,
		  uint32_t count, uint64_t partial)
{
	const struct zdev_fault f = {
		.op = op, .zno = zno, .err = err, .skip = skip, .count = count,
		.partial = partial,
	};

	return zdev_inject(dev, &f);
}

static uint64_t wp(struct zdev *dev, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	return z.wp;
}

static ssize_t write_block(struct zdev *dev, uint32_t zno)
{
	return zdev_pwrite(dev, zno, wp(dev, zno), buf, BS);
}

static void a_rule_skips_then_counts(void)
{
	struct zdev *dev = make();

	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, ENOSPC, 2, 2, 0), 0);
	CHECK_EQ(write_block(dev, Z), BS);
	CHECK_EQ(write_block(dev, Z + 1), BS);	/* another zone: not counted */
	CHECK_EQ(zdev_pread(dev, Z, 0, got, BS), BS);
	CHECK_EQ(write_block(dev, Z), BS);
	CHECK_EQ(write_block(dev, Z), -ENOSPC);
	CHECK_EQ(write_block(dev, Z), -ENOSPC);
	CHECK_EQ(wp(dev, Z), 2 * BS);
	CHECK_EQ(write_block(dev, Z), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_rule_for_ever_ends_when_cleared(void)
{
	struct zdev *dev = make();
	int i;

	CHECK_EQ(inject(dev, ZDEV_READ, ZDEV_ALL_ZONES, EIO, 0, 0, 0), 0);
	CHECK_EQ(inject(dev, ZDEV_READ, Z, ENOMEM, 0, 0, 0), 0);
	for (i = 0; i < 100; i++)
		CHECK_EQ(zdev_pread(dev, Z, 0, got, BS), -EIO);	/* the first rule wins */
	CHECK_EQ(inject(dev, ZDEV_READ, Z, 0, 0, 0, 0), 0);
	CHECK_EQ(zdev_pread(dev, Z, 0, got, BS), -EIO);
	CHECK_EQ(inject(dev, ZDEV_READ, ZDEV_ALL_ZONES, 0, 0, 0, 0), 0);
	CHECK_EQ(zdev_pread(dev, Z, 0, got, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void every_operation_can_fail(void)
{
	static const enum zdev_op ops[] = {
		ZDEV_RESET, ZDEV_FINISH, ZDEV_OPEN, ZDEV_CLOSE, ZDEV_FLUSH, ZDEV_PUT_TAIL,
	};
	struct zdev *dev = make();
	struct zdev_io io = { .op = ZDEV_APPEND, .zno = Z };
	struct iovec iov = { .iov_base = buf, .iov_len = BS };
	size_t i;

	CHECK_EQ(write_block(dev, Z), BS);
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		CHECK_EQ(inject(dev, ops[i], Z, EIO, 0, 1, 0), 0);
		CHECK_EQ(zdev_command(dev, ops[i], Z), -EIO);
	}
	CHECK_EQ(inject(dev, ZDEV_APPEND, Z, EIO, 0, 1, 0), 0);
	io.iov = &iov;
	io.nr_iov = 1;
	CHECK_EQ(zdev_run(dev, &io), -EIO);
	CHECK_EQ(wp(dev, Z), BS);
	/* A flush of all zones flushes this one. */
	CHECK_EQ(inject(dev, ZDEV_FLUSH, Z, EIO, 0, 1, 0), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z + 1), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_partial_write_lands_in_part(void)
{
	struct zdev *dev = make();
	struct iovec iov[3] = {
		{ .iov_base = buf, .iov_len = BS }, { .iov_base = buf + BS, .iov_len = 2 * BS },
		{ .iov_base = buf + 3 * BS, .iov_len = BS },
	};
	struct zdev_io io = { .op = ZDEV_WRITE, .zno = Z, .iov = iov, .nr_iov = 3 };
	size_t i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = 1 + i % 251;
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, EIO, 0, 1, 2 * BS), 0);
	CHECK_EQ(zdev_run(dev, &io), -EIO);
	CHECK_EQ(wp(dev, Z), 2 * BS);
	CHECK_EQ(zdev_pread(dev, Z, 0, got, 3 * BS), 3 * BS);
	CHECK(!memcmp(got, buf, 2 * BS));
	CHECK_EQ(got[2 * BS], 0);
	CHECK_EQ(iov[1].iov_len, 2 * BS);	/* the caller's stays as it was */

	/* More than there is to write: all of it lands. */
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, ENOSPC, 0, 1, 100 * BS), 0);
	CHECK_EQ(zdev_pwrite(dev, Z, 2 * BS, buf, BS), -ENOSPC);
	CHECK_EQ(wp(dev, Z), 3 * BS);
	/* An error of its own comes first. */
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, ENOSPC, 0, 1, BS), 0);
	CHECK_EQ(zdev_pwrite(dev, Z, 0, buf, BS), -EIO);
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, EIO, 0, 1, BS - 1), -EINVAL);
	CHECK_EQ(zdev_close(dev), 0);
}

static void the_rest_passes_through(void)
{
	struct zdev *dev = make();

	CHECK(zdev_info(dev)->emulated);
	CHECK_EQ(zdev_info(dev)->nr_zones, 4);
	CHECK_EQ(inject(dev, ZDEV_WRITE, 4, EIO, 0, 0, 0), -EINVAL);
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, -EIO, 0, 0, 0), -EINVAL);
	CHECK_EQ(zdev_get_tail(dev, Z, got), 0);
	CHECK_EQ(zdev_set_cond(dev, Z, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_pread(dev, Z, 0, got, BS), -EIO);
	CHECK_EQ(zdev_power_cut(dev), -EOPNOTSUPP);
	CHECK_EQ(inject(dev, ZDEV_WRITE, Z, EIO, 0, 0, 0), 0);	/* freed by close */
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	RUN(a_rule_skips_then_counts);
	RUN(a_rule_for_ever_ends_when_cleared);
	RUN(every_operation_can_fail);
	RUN(a_partial_write_lands_in_part);
	RUN(the_rest_passes_through);
	return 0;
}
