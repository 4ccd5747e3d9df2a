/* SPDX-License-Identifier: BSD-2-Clause */
/* The super block byte for byte, its checksum, and the sizes of part 6. */
#include <errno.h>

#include "../../src/block/dmz_i.h"
#include "unit.h"

static uint8_t block[DMZ_BLOCK_SIZE];

static void test_crc(void)
{
	CHECK_EQ(dmz_crc(0, "123456789", 9), 0x2DFD2D88);
	CHECK_EQ(dmz_crc(0xFFFFFFFF, "123456789", 9), 0x340BC6D9);
	memset(block, 0, sizeof(block));
	CHECK_EQ(dmz_crc(0, block, sizeof(block)), 0);
	CHECK_EQ(dmz_crc(1, block, sizeof(block)), 0x5AD8A92C);
}

/* ---- reference super blocks of part 5 ---- */

static struct dmz_super reference(uint64_t sb_block, uint64_t gen)
{
	struct dmz_super sb = {
		.version = 2, .gen = gen, .sb_block = sb_block, .nr_meta_blocks = 202,
		.nr_reserved_seq = 16, .nr_chunks = 82, .nr_map_blocks = 1,
		.nr_bitmap_blocks = 200, .label = "dmz-test",
	};

	for (int i = 0; i < 16; i++) {
		sb.uuid[i] = (uint8_t)(0x10 + i);
		sb.dev_uuid[i] = (uint8_t)(0x20 + i);
	}
	return sb;
}

static struct dmz_super reference_two(uint64_t sb_block)
{
	struct dmz_super sb = reference(sb_block, 1);

	sb.nr_reserved_seq = 7;
	sb.nr_chunks = 99;
	sb.nr_bitmap_blocks = 216;
	sb.nr_meta_blocks = 218;
	return sb;
}

/* Encode into a fresh block: the checksum; what is decoded must be what went in. */
static uint32_t encode(const struct dmz_super *sb)
{
	struct dmz_super back;
	struct zerr e;

	memset(block, 0, sizeof(block));
	dmz_super_encode(sb, block);
	CHECK_EQ(dmz_super_decode(block, sb->sb_block, &back, &e), 0);
	CHECK(!memcmp(sb, &back, sizeof(back)));
	return dmz_get32(block + 44);
}

static void test_reference_version_2(void)
{
	static const uint8_t first[48] =
		"\x44\x42\x5a\x44\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\xca\0\0\0\x10\0\0\0\x52\0\0\0\x01\0\0\0\xc8\0\0\0\x1d\x15\x2f\x5e";
	struct dmz_super sb = reference(0, 1);

	CHECK_EQ(encode(&sb), 0x5E2F151D);
	CHECK(!memcmp(block, first, sizeof(first)));
	CHECK(!memcmp(block + 48, "dmz-test\0", 9));
	sb.gen = 2;
	CHECK_EQ(encode(&sb), 0x08070926);
	sb.gen = (UINT64_C(1) << 32) + 1;
	CHECK_EQ(encode(&sb), 0xDB342753);
	sb = reference(65536, 1);
	CHECK_EQ(encode(&sb), 0xE8424CB7);
}

static void test_reference_version_1(void)
{
	struct dmz_super sb = reference(0, 1);

	sb.version = 1;
	memset(sb.label, 0, sizeof(sb.label));
	memset(sb.uuid, 0, sizeof(sb.uuid));
	memset(sb.dev_uuid, 0, sizeof(sb.dev_uuid));
	CHECK_EQ(encode(&sb), 0x4DD32639);
	sb.sb_block = 65536;
	CHECK_EQ(encode(&sb), 0xFBBE7F93);
}

static void test_reference_two_devices(void)
{
	struct dmz_super sb = reference_two(0);

	CHECK_EQ(encode(&sb), 0x3F153ACC);
	sb = reference_two(65536);
	CHECK_EQ(encode(&sb), 0x89786366);
	sb = reference_two(524288);
	sb.gen = 0;
	for (int i = 0; i < 16; i++)
		sb.dev_uuid[i] = (uint8_t)(0x30 + i);
	CHECK_EQ(encode(&sb), 0x5E37315A);
}

/* Bytes that are not ours stay, and the checksum covers them (R11). */
static void test_unknown_bytes_stay(void)
{
	struct dmz_super sb = reference(0, 1), back;
	struct zerr e;

	memset(block, 0xA5, sizeof(block));
	dmz_super_encode(&sb, block);
	CHECK_EQ(block[112], 0xA5);
	CHECK_EQ(block[4095], 0xA5);
	CHECK_EQ(dmz_super_decode(block, 0, &back, &e), 0);
	CHECK(!memcmp(&sb, &back, sizeof(sb)));
	sb.version = 1;
	memset(block, 0xA5, sizeof(block));
	dmz_super_encode(&sb, block);
	CHECK_EQ(block[48], 0xA5);
	block[4095] ^= 1;
	CHECK_EQ(dmz_super_decode(block, 0, &back, &e), -EINVAL);
}

/* Put the checksum right after a field was changed by hand. */
static void seal(void)
{
	dmz_put32(block + 44, 0);
	dmz_put32(block + 44, dmz_crc(dmz_get32(block + 8), block, sizeof(block)));
}

static void refused(uint64_t place, int err, const char *says)
{
	struct zerr e = { "" };
	struct dmz_super sb;

	CHECK_EQ(dmz_super_decode(block, place, &sb, &e), err);
	CHECK_HAS(e.msg, says);
}

static void test_refusals_in_order(void)
{
	struct dmz_super sb = reference(65536, 1);

	memset(block, 0, sizeof(block));
	dmz_super_encode(&sb, block);
	block[0] ^= 1;
	refused(65536, -ENODEV, "");
	block[0] ^= 1;
	block[4] = 3;
	block[48 + 31] = 'x';
	refused(0, -EINVAL, "version 3");
	block[4] = 2;
	refused(0, -EINVAL, "checksum");
	seal();
	refused(0, -EINVAL, "stands at block 0");
	memset(block + 80, 0, 32);
	seal();
	refused(65536, -EINVAL, "has no uuid");
	block[80] = 1;
	seal();
	refused(65536, -EINVAL, "label has no end");
	block[48 + 31] = 0;
	seal();
	refused(65536, -EINVAL, "uuid of the device");
	block[96] = 1;
	seal();
	CHECK_EQ(dmz_super_decode(block, 65536, &sb, NULL), 0);
	/* The kernel takes version 0 for 1. */
	block[4] = 0;
	seal();
	CHECK_EQ(dmz_super_decode(block, 65536, &sb, NULL), 0);
	CHECK_EQ(sb.version, 1);
}

/* ---- sizes (part 6) ---- */

#define MAX_ZONES	60000u

static struct zdev_zone zones[MAX_ZONES];
static uint8_t kinds[MAX_ZONES];

/* conv + seq zones of a zoned device, behind `cache` zones of a regular one. */
static struct dmz_devs row(uint32_t cache, uint32_t conv, uint32_t seq, uint32_t zone_blocks,
			   struct zdev *dev)
{
	struct dmz_devs d = {
		.nr = cache ? 2 : 1, .nr_zones = cache + conv + seq,
		.zone_size = (uint64_t)zone_blocks * DMZ_BLOCK_SIZE, .zone_blocks = zone_blocks,
		.bitmap_blocks = zone_blocks > 32768 ? zone_blocks / 32768 : 1,
	};
	uint32_t i;

	CHECK(d.nr_zones <= MAX_ZONES);
	d.dev[0].zdev = d.dev[1].zdev = dev;
	d.dev[0].regular = cache;
	d.dev[0].nr_zones = cache ? cache : d.nr_zones;
	d.dev[1].first_zone = cache;
	d.dev[1].nr_zones = conv + seq;
	for (i = 0; i < d.nr_zones; i++) {
		kinds[i] = i < cache ? DMZ_KIND_CACHE : i < cache + conv ? DMZ_KIND_RANDOM :
			   DMZ_KIND_SEQ;
		zones[i].cond = kinds[i] == DMZ_KIND_SEQ ? BLK_ZONE_COND_EMPTY :
				BLK_ZONE_COND_NOT_WP;
	}
	return d;
}

static struct zdev *any_device(void)
{
	struct zdev_geometry g = {
		.block_size = 4096, .zone_size = 1 << 20, .zone_capacity = 1 << 20,
		.nr_zones = 8, .nr_conv = 4,
	};
	struct zdev *dev;

	CHECK_EQ(zdev_mem_create(&g, &dev, NULL), 0);
	return dev;
}

static struct zdev *dev;

static void sizes(const struct dmz_devs *d, uint32_t reserve, uint32_t used, uint32_t bpz,
		  uint32_t bitmap, uint32_t map, uint32_t meta, uint32_t mz, uint32_t chunks)
{
	struct dmz_super sb = { 0 };
	uint32_t first, meta_zones;
	struct zerr e = { "" };

	CHECK_EQ(dmz_layout(d, zones, kinds, reserve, &sb, &first, &meta_zones, &e), 0);
	CHECK_EQ(first, 0);
	CHECK_EQ(sb.nr_reserved_seq, used);
	CHECK_EQ(d->bitmap_blocks, bpz);
	CHECK_EQ(sb.nr_bitmap_blocks, bitmap);
	CHECK_EQ(sb.nr_map_blocks, map);
	CHECK_EQ(sb.nr_meta_blocks, meta);
	CHECK_EQ(meta_zones, mz);
	CHECK_EQ(sb.nr_chunks, chunks);
}

static void test_sizes(void)
{
	struct dmz_devs d = row(0, 10, 54, 1024, dev);

	sizes(&d, 16, 9, 1, 64, 1, 66, 1, 53);
	d = row(0, 12, 288, 256, dev);
	sizes(&d, 4, 4, 1, 300, 1, 302, 2, 292);
	d = row(0, 16, 84, 65536, dev);
	sizes(&d, 16, 16, 2, 200, 1, 202, 1, 82);
	d = row(8, 0, 64, 1024, dev);
	sizes(&d, 4, 4, 1, 72, 1, 74, 1, 66);
	d = row(0, 524, 51632, 65536, dev);
	sizes(&d, 16, 16, 2, 104312, 102, 104415, 2, 52136);
	sizes(&d, 1, 1, 2, 104312, 102, 104415, 2, 52151);
}

static void no_layout(const struct dmz_devs *d, uint32_t reserve, const char *says)
{
	struct dmz_super sb;
	uint32_t first, mz;
	struct zerr e = { "" };

	CHECK_EQ(dmz_layout(d, zones, kinds, reserve, &sb, &first, &mz, &e), -EINVAL);
	CHECK_HAS(e.msg, says);
}

/* Refusals name the reason and, where there is one, the way out. */
static void test_no_room(void)
{
	struct dmz_devs d = row(0, 2, 60, 1024, dev);

	no_layout(&d, 16, "has 2 conventional zones");
	no_layout(&d, 16, "put a regular device in front");
	d = row(2, 0, 60, 1024, dev);
	no_layout(&d, 16, "has 2 zones' worth of space");
	d = row(0, 10, 1, 1024, dev);
	no_layout(&d, 10, "too few to keep 10");
	d = row(0, 12, 2, 1024, dev);
	no_layout(&d, 12, "leave none");
	d = row(0, 3, 500, 64, dev);
	no_layout(&d, 1, "metadata takes 16 conventional zones, there are 3");
	/* All conventional zones would be taken by metadata. */
	d = row(0, 4, 400, 256, dev);
	no_layout(&d, 1, "no conventional zone for data");
	/* The one left is the first of the later device. */
	d = row(4, 1, 400, 256, dev);
	no_layout(&d, 1, "no conventional zone for data");
}

static void test_bad_zones(void)
{
	struct dmz_devs d = row(0, 10, 54, 1024, dev);
	struct dmz_super sb;
	uint32_t first, mz;

	/* A bad zone between the sets. */
	zones[1].cond = BLK_ZONE_COND_OFFLINE;
	no_layout(&d, 4, "zone 1 is none");
	/* Metadata goes behind bad ones; they are counted as dmzadm does. */
	zones[0].cond = BLK_ZONE_COND_READONLY;
	zones[20].cond = BLK_ZONE_COND_OFFLINE;
	CHECK_EQ(dmz_layout(&d, zones, kinds, 4, &sb, &first, &mz, NULL), 0);
	CHECK_EQ(first, 2);
	CHECK_EQ(sb.nr_chunks, 64 - 1 - 2 - 4);
	/* A sequential zone between the conventional ones. */
	zones[0].cond = zones[1].cond = BLK_ZONE_COND_NOT_WP;
	kinds[1] = DMZ_KIND_SEQ;
	no_layout(&d, 4, "in a row from zone 0 on, zone 1 is none");
}

int main(void)
{
	dev = any_device();
	RUN(test_crc);
	RUN(test_reference_version_2);
	RUN(test_reference_version_1);
	RUN(test_reference_two_devices);
	RUN(test_unknown_bytes_stay);
	RUN(test_refusals_in_order);
	RUN(test_sizes);
	RUN(test_no_room);
	RUN(test_bad_zones);
	CHECK_EQ(zdev_close(dev), 0);
	return 0;
}
