/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hostile metadata. Super blocks with a good checksum over any field, map and
 * bitmap blocks of any content: nothing crashes, and whatever a repair has gone
 * through holds no error afterwards. The seed is fixed; give another as argument.
 */
#include "dmz-unit.h"

#define ROUNDS	300

static char dir[128];
static uint64_t state;
static struct report r;
static struct zerr e;
static uint8_t block[DMZ_BLOCK_SIZE];

static uint32_t rnd(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 33) % below;
}

/* A value that is likely to hurt. */
static uint32_t odd_value(uint32_t old)
{
	static const uint32_t values[] = {
		0, 1, 2, 63, 64, 65, 511, 512, 513, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	};

	switch (rnd(3)) {
	case 0:
		return values[rnd(sizeof(values) / sizeof(values[0]))];
	case 1:
		return old + rnd(5) - 2;
	default:
		return rnd(UINT32_MAX);
	}
}

static void seal(void)
{
	dmz_put32(block + 44, 0);
	dmz_put32(block + 44, dmz_crc(dmz_get32(block + 8), block, sizeof(block)));
}

static void damage_super(struct dmz_devs *devs, uint32_t zone)
{
	uint32_t n = 1 + rnd(3), pos;

	if (dmz_set_read(devs, zone, 0, 1, block))
		return;
	while (n--) {
		pos = 4 * rnd(rnd(2) ? 12 : 32);
		dmz_put32(block + pos, odd_value(dmz_get32(block + pos)));
	}
	if (rnd(8))
		seal();
	CHECK_EQ(dmz_set_write(devs, zone, 0, 1, block), 0);
}

static void damage_map(struct dmz_devs *devs, uint32_t set_zone, uint32_t nr_zones)
{
	uint32_t n = 1 + rnd(20), pos;

	CHECK_EQ(dmz_set_read(devs, set_zone, 1, 1, block), 0);
	while (n--) {
		pos = 4 * rnd(rnd(2) ? 32 : 1024);
		dmz_put32(block + pos, rnd(4) ? rnd(nr_zones) : odd_value(dmz_get32(block + pos)));
	}
	CHECK_EQ(dmz_set_write(devs, set_zone, 1, 1, block), 0);
}

static void damage_bitmap(struct dmz_devs *devs, uint32_t set_zone, uint32_t nr_zones)
{
	uint32_t nr = 2 + rnd(nr_zones), n = 1 + rnd(30);

	CHECK_EQ(dmz_set_read(devs, set_zone, nr, 1, block), 0);
	while (n--)
		block[rnd(rnd(2) ? 128 : 4096)] = (uint8_t)rnd(256);
	CHECK_EQ(dmz_set_write(devs, set_zone, nr, 1, block), 0);
}

static void write_somewhere(struct dmz_devs *devs)
{
	uint32_t zno, zone = rnd(devs->nr_zones);
	struct zdev *dev = dmz_zone_dev(devs, zone, &zno);
	uint32_t bs = zdev_info(dev)->block_size, len = bs * (1 + rnd(DMZ_BLOCK_SIZE / bs));
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	if (z.type != BLK_ZONE_TYPE_CONVENTIONAL && z.wp != ZDEV_WP_NONE && z.wp + len <= z.capacity)
		CHECK_EQ(zdev_pwrite(dev, zno, z.wp, block, len), len);
}

static void damage(struct dmz_devs *devs)
{
	uint32_t set = rnd(2);

	switch (rnd(5)) {
	case 0:
		damage_super(devs, set);
		break;
	case 1:
		write_somewhere(devs);
		break;
	case 2:
		damage_bitmap(devs, set, devs->nr_zones);
		break;
	default:
		damage_map(devs, set, devs->nr_zones);
	}
}

/* Errors that no repair may decide. */
static bool left_alone(const char *text)
{
	return strstr(text, "the label is empty") || strstr(text, "map blocks for");
}

static void one_round(struct dmz_devs *devs)
{
	struct dmz_status st;
	struct dmz_set set[2];
	uint32_t n = 1 + rnd(12);
	int ret;

	format(devs, 4);
	while (n--)
		damage(devs);
	ret = load_sets(devs, set, &e);
	CHECK(ret >= 0 || e.msg[0]);
	dmz_status(devs, &st, &e);
	CHECK(dmz_probe(devs->dev[0].zdev) >= 0);
	ret = run_check(devs, false, &r, &e);
	CHECK(!ret || e.msg[0]);
	CHECK_EQ(run_check(devs, true, &r, &e), ret ? ret : 0);
	if (ret || left_alone(r.text))
		return;
	CHECK_EQ(r.res.errors, 0);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	CHECK_EQ(r.res.repaired, 0);
	CHECK_EQ(r.res.nr_zones, r.res.nr_meta + r.res.nr_tertiary + r.res.nr_runt +
		 r.res.mapped + r.res.buffered + r.res.nr_bad + r.res.free_random +
		 r.res.free_seq);
	CHECK(load_sets(devs, set, &e) == 0);
}

static void test_one_device(void)
{
	struct dmz_devs *devs = join_one(mem_device(10, 54, 256 * 4096, 512));

	for (int i = 0; i < ROUNDS; i++)
		one_round(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_two_devices(void)
{
	struct zdev *regular = file_device(dir, 8 * MIB, 256 * 4096);
	struct dmz_devs *devs = join_two(regular, mem_device(3, 61, 256 * 4096, 4096));

	for (int i = 0; i < ROUNDS / 4; i++)
		one_round(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	unit_tmpdir(dir, sizeof(dir));
	RUN(test_one_device);
	RUN(test_two_devices);
	unit_rm_tree(dir);
	return 0;
}
