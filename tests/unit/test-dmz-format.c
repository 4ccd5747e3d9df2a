/* SPDX-License-Identifier: BSD-2-Clause */
/* Making the format, and finding its sets again, whatever is left of them. */
#include "dmz-unit.h"

static char dir[128];

/* ---- joining ---- */

static void refuse_join(struct zdev *const *dev, uint32_t nr, const char *says)
{
	struct dmz_devs *devs;
	struct zerr e = { "" };
	uint32_t i;

	CHECK_EQ(dmz_devs_join(dev, nr, &devs, &e), -EINVAL);
	CHECK_HAS(e.msg, says);
	for (i = 0; i < nr; i++)
		CHECK_EQ(zdev_close(dev[i]), 0);
}

static void test_what_cannot_be_joined(void)
{
	struct zdev_geometry g = {
		.block_size = 4096, .zone_size = MIB, .zone_capacity = MIB - 4096,
		.nr_zones = 20, .nr_conv = 4,
	};
	struct zdev *dev[3];

	CHECK_EQ(zdev_mem_create(&g, &dev[0], NULL), 0);
	refuse_join(dev, 1, "less than the zone size");
	dev[0] = file_device(dir, 8 * MIB, MIB);
	refuse_join(dev, 1, "needs a zoned one behind it");
	dev[0] = mem_device(4, 8, MIB, 4096);
	dev[1] = mem_device(4, 8, MIB, 4096);
	refuse_join(dev, 2, "must be a regular one");
	dev[0] = file_device(dir, 8 * MIB, 2 * MIB);
	dev[1] = mem_device(4, 8, MIB, 4096);
	refuse_join(dev, 2, "all must be equal");
	refuse_join(dev, 0, "must be 1 to");
}

static void test_zones_in_a_row(void)
{
	struct zdev *regular = file_device(dir, 8 * MIB + 4096, MIB);
	struct zdev *zoned = mem_device(2, 10, MIB, 4096);
	struct dmz_devs *devs = join_two(regular, zoned);
	struct zdev_zone zones[21];
	uint8_t kinds[21];
	uint32_t zno;

	CHECK_EQ(devs->nr_zones, 21);
	CHECK_EQ(devs->zone_blocks, 256);
	CHECK_EQ(devs->bitmap_blocks, 1);
	CHECK(dmz_zone_dev(devs, 8, &zno) == regular && zno == 8);
	CHECK(dmz_zone_dev(devs, 9, &zno) == zoned && zno == 0);
	CHECK_EQ(dmz_devs_report(devs, zones, kinds), 0);
	CHECK_EQ(kinds[0], DMZ_KIND_CACHE);
	CHECK_EQ(kinds[8], DMZ_KIND_RUNT);
	CHECK_EQ(kinds[10], DMZ_KIND_RANDOM);
	CHECK_EQ(kinds[11], DMZ_KIND_SEQ);
	CHECK_EQ(dmz_devs_flush(devs), 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* The first error is kept, but "not supported" outranks it. */
static void test_flush_errors(void)
{
	struct zdev *zoned = mem_device(4, 4, MIB, 4096);
	struct dmz_devs *devs = join_two(file_device(dir, 8 * MIB, MIB), zoned);
	struct zdev_fault f = { .op = ZDEV_FLUSH, .zno = ZDEV_ALL_ZONES, .err = EIO };

	CHECK_EQ(zdev_inject(zoned, &f), 0);
	CHECK_EQ(dmz_devs_flush(devs), -EIO);
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	f.err = EOPNOTSUPP;
	CHECK_EQ(zdev_inject(zoned, &(struct zdev_fault) { .op = ZDEV_FLUSH,
		 .zno = ZDEV_ALL_ZONES }), 0);
	CHECK_EQ(zdev_inject(zoned, &f), 0);
	CHECK_EQ(dmz_devs_flush(devs), -EOPNOTSUPP);
	f.err = 0;
	CHECK_EQ(zdev_inject(zoned, &f), 0);
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	CHECK_EQ(dmz_devs_flush(devs), 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- formatting ---- */

static void wipe(struct dmz_devs *devs, uint32_t zone)
{
	static uint8_t zero[DMZ_BLOCK_SIZE];

	CHECK_EQ(dmz_set_write(devs, zone, 0, 1, zero), 0);
}

static void check_set(struct dmz_devs *devs, const struct dmz_super *sb, uint32_t zone)
{
	uint8_t *block = malloc(DMZ_BLOCK_SIZE);
	uint32_t i, pos;

	for (i = 1; i < sb->nr_meta_blocks; i++) {
		CHECK_EQ(dmz_set_read(devs, zone, i, 1, block), 0);
		for (pos = 0; pos < DMZ_BLOCK_SIZE; pos++)
			CHECK_EQ(block[pos], i <= sb->nr_map_blocks ? 0xff : 0);
	}
	free(block);
}

static void test_one_device(void)
{
	struct dmz_devs *devs = join_one(mem_device(12, 288, MIB, 512));
	struct dmz_super sb = format(devs, 4);
	struct dmz_set set[2];
	struct zerr e = { "" };

	CHECK_EQ(sb.nr_chunks, 292);
	CHECK_EQ(sb.gen, 1);
	CHECK_STR(sb.label, "dmz-test");
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK(set[0].good && set[1].good);
	CHECK_EQ(set[1].first_zone, 2);
	CHECK(!memcmp(&sb, &set[0].super, sizeof(sb)));
	CHECK_EQ(set[1].super.sb_block, 512);
	check_set(devs, &sb, 0);
	check_set(devs, &sb, 2);
	CHECK_EQ(dmz_probe(devs->dev[0].zdev), 1);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_two_devices(void)
{
	struct zdev *zoned = mem_device(0, 64, 4 * MIB, 4096);
	struct dmz_devs *devs = join_two(file_device(dir, 32 * MIB, 4 * MIB), zoned), *alone;
	struct dmz_super sb = format(devs, 4), later;
	struct dmz_set set[2];
	struct zerr e = { "" };

	CHECK_EQ(sb.nr_chunks, 66);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(dmz_tertiary_load(devs, 1, &sb, &later, &e), 0);
	CHECK_EQ(later.gen, 0);
	CHECK_EQ(later.sb_block, 8 * 1024);
	CHECK_EQ(later.nr_chunks, 66);
	CHECK(memcmp(later.dev_uuid, sb.dev_uuid, 16));
	CHECK(!memcmp(later.uuid, sb.uuid, 16));
	CHECK_EQ(dmz_probe(devs->dev[0].zdev), 1);
	CHECK_EQ(dmz_probe(zoned), 2);
	alone = join_one(zoned);
	CHECK_EQ(load_sets(alone, set, &e), -EINVAL);
	CHECK_HAS(e.msg, "name the regular device before it");
	dmz_devs_part(alone);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void refuse_format(struct dmz_devs *devs, const struct dmz_format_opts *opts,
			  const char *says)
{
	struct zerr e = { "" };

	CHECK_EQ(dmz_format(devs, opts, NULL, &e), -EINVAL);
	CHECK_HAS(e.msg, says);
}

/* A refusal leaves the device as it was. */
static void test_refusals(void)
{
	struct dmz_format_opts opts = { .label = "01234567890123456789012345678901" };
	struct dmz_devs *devs = join_one(mem_device(10, 54, MIB, 4096));
	struct dmz_set set[2];
	struct zerr e;

	format(devs, 4);
	refuse_format(devs, &opts, "32 bytes, at most 31");
	opts.label = "";
	refuse_format(devs, &opts, "not empty");
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(dmz_devs_close(devs), 0);

	devs = join_one(mem_device(2, 54, MIB, 4096));
	refuse_format(devs, NULL, "put a regular device in front");
	CHECK_EQ(dmz_devs_close(devs), 0);

	/* The zone of the later super block and the runt come out of the reserve. */
	devs = join_two(file_device(dir, 8 * MIB + 4096, MIB), mem_device(0, 54, MIB, 4096));
	opts = (struct dmz_format_opts) { .nr_reserved_seq = 2 };
	refuse_format(devs, &opts, "2 zones in reserve are too few, these devices need 3");
	opts.nr_reserved_seq = 3;
	CHECK_EQ(dmz_format(devs, &opts, NULL, &e), 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_default_label_and_reserve(void)
{
	struct dmz_devs *devs = join_two(file_device(dir, 40 * MIB, MIB),
					 mem_device(0, 54, MIB, 4096));
	struct dmz_super sb;

	CHECK_EQ(dmz_format(devs, NULL, &sb, NULL), 0);
	CHECK_STR(sb.label, "dmz-regular");
	CHECK_EQ(sb.nr_reserved_seq, 16);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* Bad zones at the front: metadata goes behind them; the kernel's count of chunks. */
static void test_format_around_bad_zones(void)
{
	struct zdev *dev = mem_device(10, 54, MIB, 4096);
	struct dmz_devs *devs;
	struct dmz_super sb;
	struct dmz_set set[2];
	struct zerr e;

	CHECK_EQ(zdev_set_cond(dev, 30, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_set_cond(dev, 0, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_set_cond(dev, 1, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, 7, BLK_ZONE_COND_READONLY), 0);
	devs = join_one(dev);
	sb = format(devs, 4);
	CHECK_EQ(sb.sb_block, 2 * 256);
	CHECK_EQ(sb.nr_chunks, 64 - 4 - 2 - 4);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(set[0].first_zone, 2);
	CHECK_EQ(dmz_probe(dev), 1);
	/* The partner lost: found still. */
	wipe(devs, 3);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(set[0].first_zone, 2);
	CHECK_EQ(set[1].first_zone, 3);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- finding the sets ---- */

static void put_super(struct dmz_devs *devs, const struct dmz_super *sb)
{
	uint8_t *block = calloc(1, DMZ_BLOCK_SIZE);

	dmz_super_encode(sb, block);
	CHECK_EQ(dmz_set_write(devs, (uint32_t)(sb->sb_block / devs->zone_blocks), 0, 1, block), 0);
	free(block);
}

static void test_winner(void)
{
	struct dmz_devs *devs = join_one(mem_device(12, 288, MIB, 4096));
	struct dmz_super sb0 = format(devs, 4), sb1 = sb0;
	struct dmz_set set[2];
	struct zerr e;

	sb1.sb_block = 512;
	sb1.gen = 2;
	put_super(devs, &sb1);
	CHECK_EQ(load_sets(devs, set, &e), 1);
	sb0.gen = 2;
	put_super(devs, &sb0);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	/* Set 0 bad: set 1 is found two zones on. */
	wipe(devs, 0);
	CHECK_EQ(load_sets(devs, set, &e), 1);
	CHECK(!set[0].good);
	CHECK_EQ(set[0].first_zone, 0);
	CHECK_EQ(set[1].first_zone, 2);
	CHECK_EQ(dmz_probe(devs->dev[0].zdev), 1);
	/* Set 1 bad. */
	put_super(devs, &sb0);
	wipe(devs, 2);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(set[1].first_zone, 2);
	CHECK_HAS(set[1].why, "no super block");
	/* Both bad. */
	wipe(devs, 0);
	CHECK_EQ(load_sets(devs, set, &e), -ENODEV);
	CHECK_EQ(dmz_probe(devs->dev[0].zdev), 0);
	sb1.nr_chunks += 100;
	put_super(devs, &sb1);
	CHECK_EQ(load_sets(devs, set, &e), -EINVAL);
	CHECK_HAS(e.msg, "no valid metadata");
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* Set 1 of another format or with other sizes is no set 1. */
static void test_foreign_set_1(void)
{
	struct dmz_devs *devs = join_one(mem_device(12, 288, MIB, 4096));
	struct dmz_super sb = format(devs, 4), other;
	struct dmz_set set[2];
	struct zerr e;

	sb.sb_block = 512;
	sb.gen = 9;
	other = sb;
	other.uuid[3] ^= 1;
	put_super(devs, &other);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_HAS(set[1].why, "uuid differs");
	other = sb;
	other.nr_chunks--;
	put_super(devs, &other);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_HAS(set[1].why, "number of chunks differs");
	other = sb;
	strcpy(other.label, "other");
	put_super(devs, &other);
	CHECK_EQ(load_sets(devs, set, &e), 1);
	other.gen = 1;
	put_super(devs, &other);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_HAS(set[1].why, "label differs");
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* A zone goes bad that holds metadata (R10). */
static void test_bad_metadata_zone(void)
{
	struct zdev *dev = mem_device(12, 288, MIB, 4096);
	struct dmz_devs *devs = join_one(dev);
	struct dmz_set set[2];
	struct zerr e = { "" };

	format(devs, 4);
	CHECK_EQ(zdev_set_cond(dev, 0, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(load_sets(devs, set, &e), 1);
	CHECK_EQ(set[0].first_zone, 0);
	CHECK_EQ(set[1].first_zone, 2);
	CHECK_HAS(set[0].why, "offline");
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_unreadable(void)
{
	struct zdev *dev = mem_device(12, 288, MIB, 4096);
	struct dmz_devs *devs = join_one(dev);
	struct zdev_fault f = { .op = ZDEV_READ, .zno = 0, .err = EIO };
	struct dmz_set set[2];
	struct zerr e;

	format(devs, 4);
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(load_sets(devs, set, &e), -EIO);
	f.zno = 2;
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(load_sets(devs, set, &e), -EIO);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* Nothing of an older format may be found after a format. */
static void test_old_formats_go(void)
{
	struct zdev *zoned = mem_device(12, 288, MIB, 4096), *regular;
	struct dmz_devs *devs = join_one(zoned), *two;
	struct dmz_set set[2];
	struct zerr e;

	format(devs, 4);
	dmz_devs_part(devs);
	regular = file_device(dir, 40 * MIB, MIB);
	two = join_two(regular, zoned);
	format(two, 4);
	/* As a later device it has no sets of its own any more. */
	CHECK_EQ(dmz_probe(zoned), 2);
	wipe(two, 40);
	CHECK_EQ(dmz_probe(zoned), 0);
	format(two, 4);
	dmz_devs_part(two);
	CHECK_EQ(zdev_close(regular), 0);
	devs = join_one(zoned);
	format(devs, 4);
	CHECK_EQ(dmz_probe(zoned), 1);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_status(void)
{
	struct dmz_devs *devs = join_one(mem_device(10, 54, 4 * MIB, 4096));
	struct dmz_super sb = format(devs, 4);
	struct dmz_status st;
	struct zerr e;

	CHECK_EQ(dmz_status(devs, &st, &e), 0);
	CHECK(!memcmp(&sb, &st.super, sizeof(sb)));
	CHECK_EQ(st.size, sb.nr_chunks * 4 * MIB);
	CHECK(!st.needs_sync && st.set[0].good && st.set[1].good && !st.winner);
	wipe(devs, 0);
	CHECK_EQ(dmz_status(devs, &st, &e), 0);
	CHECK(st.needs_sync && !st.set[0].good && st.winner == 1);
	wipe(devs, 1);
	CHECK_EQ(dmz_status(devs, &st, &e), -ENODEV);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	RUN(test_what_cannot_be_joined);
	RUN(test_zones_in_a_row);
	RUN(test_flush_errors);
	RUN(test_one_device);
	RUN(test_two_devices);
	RUN(test_refusals);
	RUN(test_default_label_and_reserve);
	RUN(test_format_around_bad_zones);
	RUN(test_winner);
	RUN(test_foreign_set_1);
	RUN(test_bad_metadata_zone);
	RUN(test_unreadable);
	RUN(test_old_formats_go);
	RUN(test_status);
	unit_rm_tree(dir);
	return 0;
}
