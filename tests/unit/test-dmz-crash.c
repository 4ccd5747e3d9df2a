/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cuts while a device is formatted or repaired (part 21.10): before each
 * write, reset and flush, with what was not flushed kept or lost.
 */
#include <sys/stat.h>

#include "dmz-unit.h"

#define ZONE	(MIB / 4)

static char dir[128], path[200];
static struct report r;
static struct zerr e;
static uint8_t block[DMZ_BLOCK_SIZE];

static void make_image(void)
{
	struct zdev_geometry g = {
		.block_size = 4096, .zone_size = ZONE, .zone_capacity = ZONE,
		.nr_zones = 40, .nr_conv = 10,
	};

	unlink(path);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_IMAGE, &g, NULL, NULL, &e), 0);
}

static struct dmz_devs *open_image(void)
{
	struct zdev_open_opts opts = { .powercut = true, .wait_ms = 1000 };
	const char *paths[] = { path };
	struct dmz_devs *devs;

	if (dmz_devs_open(paths, 1, &opts, &devs, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return devs;
}

/* From the n-th operation of this kind on nothing works any more. */
static void stop_at(struct dmz_devs *devs, enum zdev_op op, uint32_t n)
{
	struct zdev_fault f = { .op = op, .zno = ZDEV_ALL_ZONES, .err = EIO, .skip = n };

	CHECK_EQ(zdev_inject(dmz_devs_get(devs, 0), &f), 0);
}

/* Power goes; unflushed writes are lost, or were on the medium already. */
static void power_cut(struct dmz_devs *devs, enum zdev_op op, bool lose)
{
	struct zdev_fault f = { .op = op, .zno = ZDEV_ALL_ZONES };

	CHECK_EQ(zdev_inject(dmz_devs_get(devs, 0), &f), 0);
	if (lose)
		CHECK_EQ(zdev_power_cut(dmz_devs_get(devs, 0)), 0);
	dmz_devs_close(devs);
}

static void fill(struct dmz_devs *devs, uint32_t zone, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++)
		CHECK_EQ(zdev_pwrite(dmz_devs_get(devs, 0), zone, i * DMZ_BLOCK_SIZE, block,
				     DMZ_BLOCK_SIZE), DMZ_BLOCK_SIZE);
}

static void map(struct dmz_devs *devs, uint32_t set, uint32_t chunk, uint32_t data,
		uint32_t buffer)
{
	CHECK_EQ(dmz_set_read(devs, set, 1, 1, block), 0);
	dmz_put32(block + 8 * chunk, data);
	dmz_put32(block + 8 * chunk + 4, buffer);
	CHECK_EQ(dmz_set_write(devs, set, 1, 1, block), 0);
}

static void bits(struct dmz_devs *devs, uint32_t set, uint32_t zone, uint8_t first)
{
	CHECK_EQ(dmz_set_read(devs, set, 2 + zone, 1, block), 0);
	block[0] = first;
	CHECK_EQ(dmz_set_write(devs, set, 2 + zone, 1, block), 0);
}

static const enum zdev_op ops[] = { ZDEV_WRITE, ZDEV_RESET, ZDEV_FLUSH };

/* ---- format ---- */

/* An older format in use, with zones to reset. */
static struct dmz_devs *old_format(struct dmz_super *sb)
{
	struct dmz_devs *devs;

	make_image();
	devs = open_image();
	*sb = format(devs, 2);
	for (uint32_t set = 0; set < 2; set++) {
		map(devs, set, 0, 20, DMZ_NONE);
		bits(devs, set, 20, 0x0f);
	}
	fill(devs, 20, 4);
	fill(devs, 25, 2);
	CHECK_EQ(dmz_devs_flush(devs), 0);
	return devs;
}

/* The old one as it was, none, or the new one; at most one super block is missing. */
static void check_format(const struct dmz_super *old, bool done)
{
	struct dmz_devs *devs = open_image();
	struct dmz_set set[2];
	int ret = load_sets(devs, set, &e);

	if (ret < 0) {
		CHECK(!done);
		CHECK(ret == -ENODEV || ret == -EINVAL);
	} else {
		bool is_old = !memcmp(set[ret].super.uuid, old->uuid, 16);

		CHECK(!done || !is_old);
		CHECK_EQ(run_check(devs, false, &r, &e), 0);
		CHECK_EQ(r.res.mapped, is_old);
		CHECK_EQ(r.res.warnings, is_old);	/* the zone to reset */
		CHECK(r.res.errors <= 1);
		CHECK_EQ(r.res.errors == 1, r.res.needs_sync);
	}
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_format(void)
{
	struct dmz_format_opts opts = { .label = "new", .nr_reserved_seq = 2 };
	uint32_t points = 0;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		for (int lose = 0; lose < 2; lose++) {
			for (uint32_t n = 0, ret = 1; ret; n++, points++) {
				struct dmz_super old;
				struct dmz_devs *devs = old_format(&old);

				stop_at(devs, ops[i], n);
				ret = dmz_format(devs, &opts, NULL, &e) != 0;
				power_cut(devs, ops[i], lose);
				check_format(&old, !ret);
			}
		}
	}
	CHECK(points > 20);
}

/* ---- repair ---- */

/*
 * Something of everything: a chunk in order, one that cannot be, bits to be cut,
 * bits in both zones, a zone to reset; and set 1 newer, older, or bad.
 */
static struct dmz_devs *damaged(int variant)
{
	struct dmz_devs *devs;
	struct dmz_super sb;

	make_image();
	devs = open_image();
	sb = format(devs, 2);
	fill(devs, 20, 8);
	fill(devs, 21, 4);
	fill(devs, 25, 2);
	for (uint32_t set = 0; set < 2; set++) {
		if ((variant == 1 && !set) || (variant == 2 && set))
			continue;
		map(devs, set, 0, 20, 3);
		bits(devs, set, 20, 0x0f);
		bits(devs, set, 3, 0x38);
		map(devs, set, 1, 21, DMZ_NONE);
		bits(devs, set, 21, 0xff);
		map(devs, set, 2, 99, 4);
		bits(devs, set, 4, 0x80);
		map(devs, set, 3, 20, DMZ_NONE);
		bits(devs, set, 30, 0x01);
	}
	memset(block, 0, sizeof(block));
	if (variant == 1) {
		sb.gen = 2;
		sb.sb_block = ZONE / DMZ_BLOCK_SIZE;
		dmz_super_encode(&sb, block);
		CHECK_EQ(dmz_set_write(devs, 1, 0, 1, block), 0);
	} else if (variant == 2) {
		CHECK_EQ(dmz_set_write(devs, 1, 0, 1, block), 0);
	}
	CHECK_EQ(dmz_devs_flush(devs), 0);
	return devs;
}

static void check_bits(struct dmz_devs *devs, uint32_t zone, uint8_t want)
{
	for (uint32_t set = 0; set < 2; set++) {
		CHECK_EQ(dmz_set_read(devs, set, 2 + zone, 1, block), 0);
		CHECK_EQ(block[0], want);
	}
}

/* Whatever the first attempt came to, the second one ends where one alone does. */
static void check_repaired(void)
{
	struct dmz_devs *devs = open_image();

	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_STR(r.text, "");
	CHECK_EQ(r.res.mapped, 3);
	CHECK_EQ(r.res.buffered, 1);
	check_bits(devs, 20, 0x0f);
	check_bits(devs, 3, 0x30);
	check_bits(devs, 21, 0x0f);
	check_bits(devs, 4, 0x80);
	check_bits(devs, 30, 0);
	CHECK_EQ(dmz_set_read(devs, 0, 1, 1, block), 0);
	CHECK_EQ(dmz_get32(block), 20);
	CHECK_EQ(dmz_get32(block + 4), 3);
	CHECK_EQ(dmz_get32(block + 8), 21);
	CHECK_EQ(dmz_get32(block + 16), 4);
	CHECK_EQ(dmz_get32(block + 24), DMZ_NONE);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_repair(void)
{
	uint32_t points = 0;

	for (int variant = 0; variant < 3; variant++)
		for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
			for (int lose = 0; lose < 2; lose++)
				for (uint32_t n = 0, ret = 1; ret; n++, points++) {
					struct dmz_devs *devs = damaged(variant);

					stop_at(devs, ops[i], n);
					ret = run_check(devs, true, &r, &e) != 0;
					power_cut(devs, ops[i], lose);
					check_repaired();
				}
	CHECK(points > 60);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
	RUN(test_format);
	RUN(test_repair);
	unit_rm_tree(dir);
	return 0;
}
