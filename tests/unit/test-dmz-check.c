/* SPDX-License-Identifier: BSD-2-Clause */
/* The checker: each item of part 20 is damaged, found, repaired, and gone. */
#include "dmz-unit.h"

/* One device: 10 conventional zones (0 and 1 hold metadata), 54 sequential ones. */
#define ZONE		(4 * MIB)
#define ZB		1024u
#define MAP		1u	/* block of the map in a set */
#define BITMAP(zone)	(2u + (zone))	/* of the zone's bitmap */

static char dir[128];
static struct report r;
static struct zerr e;
static uint8_t block[DMZ_BLOCK_SIZE];

static struct dmz_devs *fresh(void)
{
	struct dmz_devs *devs = join_one(mem_device(10, 54, ZONE, 4096));

	format(devs, 4);
	return devs;
}

static uint32_t set_zone(struct dmz_devs *devs, int set)
{
	return (uint32_t)set;	/* both fixtures have sets of one zone from zone 0 on */
}

/* ---- damage; set 2 stands for both ---- */

static void read_block(struct dmz_devs *devs, int set, uint32_t nr)
{
	CHECK_EQ(dmz_set_read(devs, set_zone(devs, set), nr, 1, block), 0);
}

static void write_block(struct dmz_devs *devs, int set, uint32_t nr)
{
	CHECK_EQ(dmz_set_write(devs, set_zone(devs, set), nr, 1, block), 0);
}

static void map(struct dmz_devs *devs, int set, uint32_t chunk, uint32_t data, uint32_t buffer)
{
	for (int i = 0; i < 2; i++) {
		if (set != 2 && set != i)
			continue;
		read_block(devs, i, MAP);
		dmz_put32(block + 8 * chunk, data);
		dmz_put32(block + 8 * chunk + 4, buffer);
		write_block(devs, i, MAP);
	}
}

static void set_bits(struct dmz_devs *devs, int set, uint32_t zone, uint32_t first, uint32_t nr)
{
	for (int i = 0; i < 2; i++) {
		if (set != 2 && set != i)
			continue;
		read_block(devs, i, BITMAP(zone));
		for (uint32_t b = first; b < first + nr; b++)
			block[b / 8] |= (uint8_t)(1u << b % 8);
		write_block(devs, i, BITMAP(zone));
	}
}

static bool bit(struct dmz_devs *devs, int set, uint32_t zone, uint32_t nr)
{
	read_block(devs, set, BITMAP(zone));
	return block[nr / 8] >> nr % 8 & 1;
}

static void get_map(struct dmz_devs *devs, uint32_t chunk, uint32_t *data, uint32_t *buffer)
{
	read_block(devs, 0, MAP);
	*data = dmz_get32(block + 8 * chunk);
	*buffer = dmz_get32(block + 8 * chunk + 4);
}

static void fill_zone(struct dmz_devs *devs, uint32_t zone, uint32_t blocks)
{
	static uint8_t data[64 * 1024];
	uint64_t pos, end = (uint64_t)blocks * DMZ_BLOCK_SIZE;
	uint32_t zno;
	struct zdev *dev = dmz_zone_dev(devs, zone, &zno);

	for (pos = 0; pos < end; pos += sizeof(data)) {
		size_t n = end - pos < sizeof(data) ? end - pos : sizeof(data);

		CHECK_EQ(zdev_pwrite(dev, zno, pos, data, n), (ssize_t)n);
	}
}

/* Super block of a set: change gen or fields and seal it. */
static void put_super(struct dmz_devs *devs, int set, const struct dmz_super *sb)
{
	read_block(devs, set, 0);
	dmz_super_encode(sb, block);
	write_block(devs, set, 0);
}

static struct dmz_super get_super(struct dmz_devs *devs, int set)
{
	struct dmz_super sb;

	read_block(devs, set, 0);
	CHECK_EQ(dmz_super_decode(block, dmz_get64(block + 16), &sb, &e), 0);
	return sb;
}

/* ---- expectations ---- */

static void clean(struct dmz_devs *devs)
{
	struct dmz_set set[2];

	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_STR(r.text, "");
	CHECK_EQ(r.res.errors + r.res.warnings, 0);
	CHECK(!r.res.needs_sync);
	CHECK_EQ(load_sets(devs, set, &e), 0);
	CHECK_EQ(set[0].super.gen, set[1].super.gen);
	/* All zones are accounted for (part 20). */
	CHECK_EQ(r.res.nr_zones, r.res.nr_meta + r.res.nr_tertiary + r.res.nr_runt +
		 r.res.mapped + r.res.buffered + r.res.nr_bad + r.res.free_random +
		 r.res.free_seq);
}

/* Found with this text; a check changes nothing; a repair does, and all is well. */
static void found_and_repaired(struct dmz_devs *devs, const char *text)
{
	struct report *first = malloc(sizeof(*first));
	char want[300];

	CHECK_EQ(run_check(devs, false, first, &e), 0);
	CHECK_HAS(first->text, text);
	CHECK(first->res.errors + first->res.warnings > 0);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_STR(r.text, first->text);
	free(first);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	snprintf(want, sizeof(want), "R %s", text + 2);
	CHECK_HAS(r.text, want);
	CHECK_EQ(r.res.errors, 0);
	CHECK(r.res.repaired > 0);
}

static void cured(struct dmz_devs *devs, const char *text)
{
	found_and_repaired(devs, text);
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- a sound disk ---- */

static void test_clean(void)
{
	struct dmz_devs *devs = fresh();

	clean(devs);
	CHECK(r.res.super_valid);
	CHECK_EQ(r.res.nr_zones, 64);
	CHECK_EQ(r.res.nr_meta, 2);
	CHECK_EQ(r.res.free_random, 8);
	CHECK_EQ(r.res.free_seq, 54);
	CHECK_STR(r.res.super.label, "dmz-test");
	/* In use: random; sequential; buffered. */
	map(devs, 2, 0, 2, DMZ_NONE);
	set_bits(devs, 2, 2, 100, 50);
	map(devs, 2, 7, 20, DMZ_NONE);
	fill_zone(devs, 20, 10);
	set_bits(devs, 2, 20, 0, 10);
	map(devs, 2, 52, 21, 3);
	fill_zone(devs, 21, ZB);
	set_bits(devs, 2, 21, 5, ZB - 5);
	set_bits(devs, 2, 3, 0, 5);
	clean(devs);
	CHECK_EQ(r.res.mapped, 3);
	CHECK_EQ(r.res.buffered, 1);
	CHECK_EQ(r.res.free_random, 6);
	CHECK_EQ(r.res.free_seq, 52);
	/* A repair of a sound disk writes nothing. */
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_STR(r.text, "");
	CHECK_EQ(get_super(devs, 0).gen, 1);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- super blocks and sets ---- */

static void test_bad_set(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 0, 0, 2, DMZ_NONE);
	set_bits(devs, 0, 2, 0, 1);
	read_block(devs, 1, 0);
	block[200] ^= 1;
	write_block(devs, 1, 0);
	found_and_repaired(devs, "E set 1: super block: checksum");
	CHECK(bit(devs, 1, 2, 0));
	/* No byte of the bad one is carried on. */
	read_block(devs, 1, 0);
	CHECK_EQ(block[200], 0);
	clean(devs);
	read_block(devs, 0, 0);
	block[0] ^= 1;
	write_block(devs, 0, 0);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK(r.res.needs_sync);
	cured(devs, "E set 0: no super block");
}

static void test_generations(void)
{
	struct dmz_devs *devs = fresh();
	struct dmz_super sb = get_super(devs, 1);

	/* As a crash leaves it: set 1 is newer. */
	sb.gen = 2;
	put_super(devs, 1, &sb);
	map(devs, 1, 0, 2, DMZ_NONE);
	set_bits(devs, 1, 2, 0, 1);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	CHECK(r.res.needs_sync);
	CHECK_HAS(r.text, "W set 0: older, generation 1 instead of 2, as after a crash");
	found_and_repaired(devs, "W set 0: older");
	CHECK(bit(devs, 0, 2, 0));
	CHECK_EQ(get_super(devs, 0).gen, 2);
	clean(devs);
	/* The kernel's rebuild: the loser has generation 1. */
	sb.gen = 100;
	put_super(devs, 1, &sb);
	sb = get_super(devs, 0);
	sb.gen = 1;
	put_super(devs, 0, &sb);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	/* Too far apart. */
	sb.gen = 50;
	put_super(devs, 0, &sb);
	cured(devs, "E set 0: older, generation 50 instead of 100\n");
}

static void test_sets_differ(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 2, DMZ_NONE);
	set_bits(devs, 2, 2, 0, 5);
	set_bits(devs, 1, 2, 5, 1);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK(r.res.needs_sync);
	found_and_repaired(devs, "E the sets differ in 1 blocks, the first is block 4,");
	/* Set 0 wins the tie. */
	CHECK(!bit(devs, 1, 2, 5));
	CHECK_EQ(get_super(devs, 1).gen, 1);
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_unknown_bytes(void)
{
	struct dmz_devs *devs = fresh();

	read_block(devs, 0, 0);
	block[300] = 7;
	dmz_put32(block + 44, 0);
	dmz_put32(block + 44, dmz_crc(1, block, sizeof(block)));
	write_block(devs, 0, 0);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_HAS(r.text, "W set 0: super block: byte 300");
	CHECK_EQ(r.res.errors, 0);
	read_block(devs, 0, 0);
	CHECK_EQ(block[300], 7);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* Said, but not ours to choose. */
static void test_not_repairable(void)
{
	struct dmz_devs *devs = fresh();
	struct dmz_super sb;

	for (int i = 0; i < 2; i++) {
		sb = get_super(devs, i);
		memset(sb.label, 0, sizeof(sb.label));
		sb.nr_chunks--;
		put_super(devs, i, &sb);
	}
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_HAS(r.text, "E set 0: the label is empty");
	CHECK_HAS(r.text, "E set 1: the label is empty");
	CHECK_HAS(r.text, "W 57 chunks where there is room for 58");
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_no_format(void)
{
	struct dmz_devs *devs = fresh();

	memset(block, 0, sizeof(block));
	write_block(devs, 1, 0);
	block[0] = 1;
	write_block(devs, 0, 0);
	CHECK_EQ(run_check(devs, false, &r, &e), -ENODEV);
	CHECK_HAS(e.msg, "holds no dm-zoned format");
	CHECK(!r.res.super_valid);
	dmz_put32(block, DMZ_MAGIC);
	write_block(devs, 0, 0);
	CHECK_EQ(run_check(devs, true, &r, &e), -EINVAL);
	CHECK_HAS(e.msg, "no valid metadata");
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- the map ---- */

static void test_data_zone(void)
{
	static const struct {
		uint32_t	zone;
		const char	*says;
	} cases[] = {
		{ 64, "E chunk 5: data zone 64 does not exist" },
		{ 4000000000, "E chunk 5: data zone 4000000000 does not exist" },
		{ 0, "E chunk 5: data zone 0 holds metadata" },
		{ 1, "E chunk 5: data zone 1 holds metadata" },
		{ 20, "E chunk 5: data zone 20 is another chunk's already" },
	};
	uint32_t data, buffer;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dmz_devs *devs = fresh();

		fill_zone(devs, 20, 10);
		map(devs, 2, 0, 20, DMZ_NONE);
		set_bits(devs, 2, 20, 0, 10);
		map(devs, 2, 5, cases[i].zone, DMZ_NONE);
		found_and_repaired(devs, cases[i].says);
		get_map(devs, 5, &data, &buffer);
		CHECK_EQ(data, DMZ_NONE);
		get_map(devs, 0, &data, &buffer);
		CHECK_EQ(data, 20);
		CHECK_EQ(get_super(devs, 0).gen, 2);
		CHECK_EQ(get_super(devs, 1).gen, 2);
		clean(devs);
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

/* What the buffer zone holds is kept, though dmzadm would give it up. */
static void test_data_zone_with_buffer(void)
{
	struct dmz_devs *devs = fresh();
	uint32_t data, buffer;

	map(devs, 2, 5, 77, 4);
	set_bits(devs, 2, 4, 9, 3);
	found_and_repaired(devs, "E chunk 5: data zone 77 does not exist");
	get_map(devs, 5, &data, &buffer);
	CHECK_EQ(data, 4);
	CHECK_EQ(buffer, DMZ_NONE);
	CHECK(bit(devs, 0, 4, 9) && bit(devs, 1, 4, 11));
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_buffer_zone(void)
{
	static const struct {
		uint32_t	data, zone;
		const char	*says;
	} cases[] = {
		{ 20, 64, "E chunk 5: buffer zone 64 does not exist" },
		{ 20, 1, "E chunk 5: buffer zone 1 holds metadata" },
		{ 20, 20, "E chunk 5: buffer zone 20 is its data zone as well" },
		{ 20, 21, "E chunk 5: buffer zone 21 takes no random writes" },
		{ 20, 2, "E chunk 5: buffer zone 2 is another chunk's already" },
		{ 3, 4, "E chunk 5: buffer zone 4 is not needed" },
		{ DMZ_NONE, 4, "E chunk 5: has buffer zone 4 without a data zone" },
	};
	uint32_t data, buffer;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dmz_devs *devs = fresh();

		fill_zone(devs, 20, 10);
		set_bits(devs, 2, cases[i].data == 3 ? 3 : 20, 0, 10);
		map(devs, 2, 0, 2, DMZ_NONE);
		set_bits(devs, 2, 2, 0, 10);
		map(devs, 2, 5, cases[i].data, cases[i].zone);
		found_and_repaired(devs, cases[i].says);
		get_map(devs, 5, &data, &buffer);
		CHECK_EQ(data, cases[i].data);
		CHECK_EQ(buffer, DMZ_NONE);
		clean(devs);
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

static void test_tail(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 511, 20, DMZ_NONE);
	cured(devs, "W map block 0: has something behind the last chunk");
}

static void test_empty_data_zone(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 5, 20, DMZ_NONE);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	CHECK_EQ(r.res.mapped, 1);
	cured(devs, "W chunk 5: data zone 20 is empty");
}

/* ---- bitmaps ---- */

static void test_bits_of_unmapped(void)
{
	struct dmz_devs *devs = fresh();

	set_bits(devs, 2, 30, 7, 3);
	set_bits(devs, 2, 0, 1000, 1);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_HAS(r.text, "E zone 0: 1 valid blocks, but no chunk has it");
	CHECK_EQ(r.res.errors, 2);
	cured(devs, "E zone 30: 3 valid blocks, but no chunk has it");
}

static void test_bits_beyond_end(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 2, DMZ_NONE);
	set_bits(devs, 2, 2, ZB - 1, 2);
	set_bits(devs, 2, 2, 32767, 1);
	found_and_repaired(devs, "E zone 2: 2 valid blocks beyond its end");
	CHECK(bit(devs, 0, 2, ZB - 1));
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_bits_beyond_pointer(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 20, DMZ_NONE);
	fill_zone(devs, 20, 13);
	set_bits(devs, 2, 20, 10, 5);
	found_and_repaired(devs, "E zone 20: 2 valid blocks of chunk 0 beyond the write pointer");
	CHECK(bit(devs, 0, 20, 12) && !bit(devs, 0, 20, 13) && !bit(devs, 1, 20, 14));
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* R8: the data zone's block stays if it is below the pointer, else the buffer's. */
static void test_bits_in_both(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 20, 3);
	fill_zone(devs, 20, 13);
	set_bits(devs, 2, 20, 10, 5);
	set_bits(devs, 2, 3, 12, 2);
	found_and_repaired(devs, "E chunk 0: 1 blocks valid in its data zone 20 and in its "
			   "buffer zone 3");
	CHECK(bit(devs, 0, 20, 12) && !bit(devs, 0, 3, 12));
	CHECK(!bit(devs, 0, 20, 13) && bit(devs, 0, 3, 13));
	CHECK(!bit(devs, 1, 20, 13) && bit(devs, 1, 3, 13));
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- zones ---- */

static void test_not_empty(void)
{
	struct dmz_devs *devs = fresh();
	struct zdev_zone z;

	fill_zone(devs, 33, 3);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_EQ(r.res.errors, 0);
	found_and_repaired(devs, "W zone 33: not empty, but no chunk has it");
	CHECK_EQ(zdev_report(devs->dev[0].zdev, 33, 1, &z), 0);
	CHECK_EQ(z.wp, 0);
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_idle(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 2, DMZ_NONE);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_STR(r.text, "W chunk 0: zone 2 has no valid block\n");
	CHECK_EQ(get_super(devs, 0).gen, 1);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* A write pointer inside a block, on a device of smaller ones (R9). */
static void test_unaligned_pointer(void)
{
	struct dmz_devs *devs = join_one(mem_device(10, 54, ZONE, 512));
	struct zdev_zone z;

	format(devs, 4);
	map(devs, 2, 0, 20, DMZ_NONE);
	fill_zone(devs, 20, 2);
	memset(block, 0xee, sizeof(block));
	CHECK_EQ(zdev_pwrite(devs->dev[0].zdev, 20, 8192, block, 1536), 1536);
	set_bits(devs, 2, 20, 0, 3);
	CHECK_EQ(run_check(devs, false, &r, &e), 0);
	CHECK_HAS(r.text, "E zone 20: 1 valid blocks of chunk 0 beyond the write pointer");
	found_and_repaired(devs, "E zone 20: the write pointer, at byte 9728, is not at a block");
	CHECK_EQ(zdev_report(devs->dev[0].zdev, 20, 1, &z), 0);
	CHECK_EQ(z.wp, 3 * DMZ_BLOCK_SIZE);
	CHECK(bit(devs, 0, 20, 1) && !bit(devs, 0, 20, 2));
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

static void test_bad_zones(void)
{
	struct dmz_devs *devs = fresh();
	struct zdev *dev = devs->dev[0].zdev;

	map(devs, 2, 0, 20, DMZ_NONE);
	fill_zone(devs, 20, 8);
	set_bits(devs, 2, 20, 0, 8);
	map(devs, 2, 1, 21, DMZ_NONE);
	fill_zone(devs, 21, 9);
	set_bits(devs, 2, 21, 0, 9);
	CHECK_EQ(zdev_set_cond(dev, 20, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_set_cond(dev, 21, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, 22, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_HAS(r.text, "W chunk 0: zone 20 is offline, with 8 valid blocks");
	CHECK_HAS(r.text, "W chunk 1: zone 21 is read-only, with 9 valid blocks");
	CHECK_HAS(r.text, "W bad zones leave 3 too few for all chunks and the reserve of 4");
	CHECK_EQ(r.res.errors, 0);
	CHECK_EQ(r.res.nr_bad, 1);
	CHECK_EQ(r.res.free_seq, 51);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* Nothing is changed when one of the sets cannot be. */
static void test_bad_metadata_zone(void)
{
	struct dmz_devs *devs = fresh();

	map(devs, 2, 0, 77, DMZ_NONE);
	fill_zone(devs, 33, 3);
	CHECK_EQ(zdev_set_cond(devs->dev[0].zdev, 1, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(run_check(devs, true, &r, &e), 0);
	CHECK_HAS(r.text, "E zone 1, which holds metadata, is read-only");
	CHECK_HAS(r.text, "E chunk 0: data zone 77");
	CHECK_HAS(r.text, "W zone 33: not empty");
	CHECK_EQ(r.res.repaired, 0);
	CHECK_EQ(get_super(devs, 0).gen, 1);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- several devices ---- */

static struct dmz_devs *fresh_two(uint32_t conv)
{
	struct zdev *regular = file_device(dir, 8 * ZONE + 4096, ZONE);
	struct dmz_devs *devs = join_two(regular, mem_device(conv, 64, ZONE, 4096));

	format(devs, 4);
	return devs;
}

static void test_two_devices(void)
{
	for (uint32_t conv = 0; conv < 3; conv += 2) {
		struct dmz_devs *devs = fresh_two(conv);

		clean(devs);
		CHECK_EQ(r.res.nr_tertiary, 1);
		CHECK_EQ(r.res.nr_runt, 1);
		CHECK_EQ(r.res.free_random, 6 + (conv ? conv - 1 : 0));
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

static void test_later_super_block(void)
{
	for (uint32_t conv = 0; conv < 3; conv += 2) {
		struct dmz_devs *devs = fresh_two(conv);
		struct dmz_super sb, old, new;
		struct dmz_set set[2];
		struct zdev_zone z;

		sb = get_super(devs, 0);
		CHECK_EQ(dmz_tertiary_load(devs, 1, &sb, &old, &e), 0);
		/* Others' sizes: said, and the uuid stays. */
		new = old;
		new.nr_chunks++;
		memset(block, 0, sizeof(block));
		dmz_super_encode(&new, block);
		if (!conv)
			CHECK_EQ(zdev_command(devs->dev[1].zdev, ZDEV_RESET, 0), 0);
		CHECK_EQ(dmz_set_write(devs, 9, 0, 1, block), 0);
		found_and_repaired(devs, "E device: super block: the sizes are others");
		clean(devs);
		CHECK_EQ(dmz_tertiary_load(devs, 1, &sb, &new, &e), 0);
		CHECK(!memcmp(&old, &new, sizeof(old)));
		/* Gone. */
		if (conv) {
			memset(block, 0, sizeof(block));
			CHECK_EQ(dmz_set_write(devs, 9, 0, 1, block), 0);
		} else {
			CHECK_EQ(zdev_command(devs->dev[1].zdev, ZDEV_RESET, 0), 0);
		}
		CHECK_EQ(load_sets(devs, set, &e), -EINVAL);
		found_and_repaired(devs, "E device: has no super block");
		clean(devs);
		CHECK_EQ(zdev_report(devs->dev[1].zdev, 0, 1, &z), 0);
		CHECK_EQ(z.wp, conv ? ZDEV_WP_NONE : DMZ_BLOCK_SIZE);
		/* Of another target: nothing may be touched. */
		memset(block, 0, sizeof(block));
		new.uuid[0] ^= 1;
		dmz_super_encode(&new, block);
		if (!conv)
			CHECK_EQ(zdev_command(devs->dev[1].zdev, ZDEV_RESET, 0), 0);
		CHECK_EQ(dmz_set_write(devs, 9, 0, 1, block), 0);
		CHECK_EQ(run_check(devs, true, &r, &e), -EINVAL);
		CHECK_HAS(e.msg, "belongs to another disk");
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

/* Put `block` where the super block of the device behind the regular one is. */
static void put_later(struct dmz_devs *devs, uint32_t conv)
{
	if (!conv)
		CHECK_EQ(zdev_command(devs->dev[1].zdev, ZDEV_RESET, 0), 0);
	CHECK_EQ(dmz_set_write(devs, 9, 0, 1, block), 0);
}

/* What a repair would take from a device that may not be one of the disk. */
static void test_wrong_device(void)
{
	for (uint32_t conv = 0; conv < 3; conv += 2) {
		struct dmz_devs *devs = fresh_two(conv);
		struct dmz_super sb = get_super(devs, 0), later;

		/* One that has its place elsewhere in the disk. */
		CHECK_EQ(dmz_tertiary_load(devs, 1, &sb, &later, &e), 0);
		later.sb_block += devs->zone_blocks;
		memset(block, 0, sizeof(block));
		dmz_super_encode(&later, block);
		put_later(devs, conv);
		CHECK_EQ(run_check(devs, true, &r, &e), -EINVAL);
		CHECK_HAS(e.msg, "in the order in which they were formatted");
		/* One with other content. */
		memset(block, 'x', sizeof(block));
		put_later(devs, conv);
		CHECK_EQ(run_check(devs, true, &r, &e), -EINVAL);
		CHECK_HAS(e.msg, "holds something else");
		CHECK_EQ(dmz_set_read(devs, 9, 0, 1, block), 0);
		CHECK_EQ(block[0], 'x');
		/* A new one, where chunk 0 would lose its block. */
		memset(block, 0, sizeof(block));
		put_later(devs, conv);
		map(devs, 2, 0, 20, DMZ_NONE);
		set_bits(devs, 2, 20, 0, 1);
		for (int repair = 0; repair < 2; repair++) {
			CHECK_EQ(run_check(devs, repair, &r, &e), 0);
			CHECK_HAS(r.text, "E device: lacks data of the disk, too");
			CHECK_HAS(r.text, "E zone 20 (zone 11 of device): 1 valid blocks");
			CHECK_EQ(r.res.repaired, 0);
			CHECK_EQ(get_super(devs, 0).gen, 1);
		}
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

static void test_map_of_two_devices(void)
{
	struct dmz_devs *devs = fresh_two(2);

	map(devs, 2, 0, 8, DMZ_NONE);
	found_and_repaired(devs, "E chunk 0: data zone 8 is the short last one");
	map(devs, 2, 0, 9, DMZ_NONE);
	found_and_repaired(devs, "E chunk 0: data zone 9 holds a super block");
	set_bits(devs, 2, 12, 0, 1);
	found_and_repaired(devs, "E zone 12 (zone 3 of device): 1 valid blocks");
	clean(devs);
	CHECK_EQ(dmz_devs_close(devs), 0);
}

/* ---- what goes wrong while checking ---- */

static void test_io_errors(void)
{
	struct dmz_devs *devs = fresh();
	struct zdev_fault f = { .op = ZDEV_READ, .zno = 0, .err = EIO, .skip = 1 };

	/* The super block is read by the search and by the check. */
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	CHECK_EQ(run_check(devs, false, &r, &e), -EIO);
	CHECK_HAS(e.msg, "set 0: reading the super block");
	f.err = 0;
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	f = (struct zdev_fault) { .op = ZDEV_WRITE, .zno = 1, .err = EIO };
	map(devs, 2, 0, 77, DMZ_NONE);
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	CHECK_EQ(run_check(devs, true, &r, &e), -EIO);
	CHECK_HAS(e.msg, "set 1: writing");
	/* What was not repaired is not called so, and set 0 stands. */
	CHECK_HAS(r.text, "E chunk 0: data zone 77");
	CHECK_EQ(get_super(devs, 0).gen, 1);
	f.err = 0;
	CHECK_EQ(zdev_inject(devs->dev[0].zdev, &f), 0);
	cured(devs, "E chunk 0: data zone 77");
}

/* Every block zeroed or filled with garbage: told, counted, cut short, repaired. */
static void test_damage_all_over(void)
{
	for (int byte = 0; byte < 3; byte++) {
		struct dmz_devs *devs = fresh();

		for (uint32_t nr = 1; nr < 66; nr++) {
			for (uint32_t i = 0; i < sizeof(block); i++)
				block[i] = byte == 2 ? (uint8_t)(i * 7 + nr) : byte ? 0xff : 0;
			write_block(devs, 0, nr);
			write_block(devs, 1, nr);
		}
		CHECK_EQ(run_check(devs, true, &r, &e), 0);
		CHECK(r.res.repaired > 58);
		CHECK_EQ(r.res.errors, 0);
		if (byte != 1)
			CHECK_HAS(r.text, " more chunks with a bad data zone");
		CHECK_EQ(run_check(devs, true, &r, &e), 0);
		CHECK_EQ(r.res.errors, 0);
		CHECK_EQ(dmz_devs_close(devs), 0);
	}
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	RUN(test_clean);
	RUN(test_bad_set);
	RUN(test_generations);
	RUN(test_sets_differ);
	RUN(test_unknown_bytes);
	RUN(test_not_repairable);
	RUN(test_no_format);
	RUN(test_data_zone);
	RUN(test_data_zone_with_buffer);
	RUN(test_buffer_zone);
	RUN(test_tail);
	RUN(test_empty_data_zone);
	RUN(test_bits_of_unmapped);
	RUN(test_bits_beyond_end);
	RUN(test_bits_beyond_pointer);
	RUN(test_bits_in_both);
	RUN(test_not_empty);
	RUN(test_idle);
	RUN(test_unaligned_pointer);
	RUN(test_bad_zones);
	RUN(test_bad_metadata_zone);
	RUN(test_two_devices);
	RUN(test_later_super_block);
	RUN(test_wrong_device);
	RUN(test_map_of_two_devices);
	RUN(test_io_errors);
	RUN(test_damage_all_over);
	unit_rm_tree(dir);
	return 0;
}
