/* SPDX-License-Identifier: BSD-2-Clause */
/* The super block, byte for byte (Z1), the formatter (Z2) and the mount options. */
#include "zonefs-unit.h"

static uint8_t block[ZONEFS_SUPER_SIZE];

static void test_vector_empty(void)
{
	struct zonefs_super sb = { .perm = 0640 };

	zonefs_super_encode(&sb, block);
	CHECK(!memcmp(block, "SFOZ\x3b\xb7\xe0\xca", 8));
}

static void full_super(struct zonefs_super *sb)
{
	*sb = (struct zonefs_super) {
		.label = "test", .features = ZONEFS_F_ALL, .uid = 1000, .gid = 2000,
		.perm = 0770,
	};
	for (int i = 0; i < 16; i++)
		sb->uuid[i] = (uint8_t)i;
}

static void test_vector_full(void)
{
	struct zonefs_super sb, back;
	struct zerr e;

	full_super(&sb);
	zonefs_super_encode(&sb, block);
	CHECK(!memcmp(block + 4, "\xac\xe3\x41\x81", 4));
	CHECK(!memcmp(block + 8, "test\0", 5));
	CHECK_EQ(block[72 + 15], 15);
	CHECK_EQ(block[88], 15);
	CHECK_EQ(block[96] | block[97] << 8, 1000);
	CHECK_EQ(block[100] | block[101] << 8, 2000);
	CHECK_EQ(block[104] | block[105] << 8, 0770);
	CHECK_EQ(zonefs_super_decode(block, &back, &e), 0);
	CHECK(!memcmp(&sb, &back, sizeof(sb)));
}

/* The CRC of a block as it stands, bit by bit, to make wrong ones that pass it. */
static void seal_block(void)
{
	uint32_t crc = 0xffffffff;

	memset(block + 4, 0, 4);
	for (unsigned i = 0; i < sizeof(block); i++) {
		crc ^= block[i];
		for (int b = 0; b < 8; b++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	for (int i = 0; i < 4; i++)
		block[4 + i] = (uint8_t)(crc >> (8 * i));
}

static void expect_refused(int err, const char *says)
{
	struct zonefs_super sb;
	struct zerr e = { "" };

	CHECK_EQ(zonefs_super_decode(block, &sb, &e), err);
	if (says)
		CHECK_HAS(e.msg, says);
}

static void test_refusals_in_order(void)
{
	struct zonefs_super sb;

	full_super(&sb);
	zonefs_super_encode(&sb, block);
	block[0] ^= 1;
	expect_refused(-ENODEV, NULL);
	block[0] ^= 1;
	block[4095] = 1;			/* reserved, but the checksum comes first */
	expect_refused(-EINVAL, "checksum");
	block[92] = 1;				/* feature bit 32 */
	memset(block + 96, 0xff, 8);		/* uid and gid invalid */
	seal_block();
	expect_refused(-EINVAL, "features");
	block[92] = 0;
	seal_block();
	expect_refused(-EINVAL, "uid");
	memset(block + 96, 0, 4);
	seal_block();
	expect_refused(-EINVAL, "gid");
	memset(block + 100, 0, 4);
	block[105] = 0x08;			/* 04000 */
	seal_block();
	expect_refused(-EINVAL, "permissions");
	block[105] = 0x01;
	seal_block();
	expect_refused(-EINVAL, "reserved byte 4095");
	block[4095] = 0;
	block[108] = 1;
	seal_block();
	expect_refused(-EINVAL, "reserved byte 108");
	block[108] = 0;
	seal_block();
	expect_refused(0, NULL);
}

/* Values without their feature bit do not count, valid or not. */
static void test_values_without_features(void)
{
	struct zonefs_super sb;
	struct zerr e;

	full_super(&sb);
	sb.features = 0;
	sb.uid = sb.gid = UINT32_MAX;
	sb.perm = 07777;
	zonefs_super_encode(&sb, block);
	CHECK_EQ(zonefs_super_decode(block, &sb, &e), 0);
	CHECK_EQ(sb.uid, 0);
	CHECK_EQ(sb.gid, 0);
	CHECK_EQ(sb.perm, 0640);
}

static void test_label_is_terminated(void)
{
	struct zonefs_super sb = { .perm = 0640 };
	struct zerr e;

	zonefs_super_encode(&sb, block);
	memset(block + 8, 'x', 64);
	seal_block();
	CHECK_EQ(zonefs_super_decode(block, &sb, &e), 0);
	CHECK_EQ(strlen(sb.label), 63);
}

static void test_every_flipped_bit_is_refused(void)
{
	struct zonefs_super sb;
	struct zerr e;

	full_super(&sb);
	zonefs_super_encode(&sb, block);
	for (unsigned bit = 0; bit < 8 * sizeof(block); bit++) {
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(zonefs_super_decode(block, &sb, &e) < 0);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_format_options(void)
{
	static const struct { const char *opt; int err; } rows[] = {
		{ "aggr_cnv", 0 }, { "uid=1000", 0 }, { "gid=0", 0 }, { "perm=0777", 0 },
		{ "perm=600", 0 }, { "perm=1000", -EINVAL }, { "perm=8", -EINVAL },
		{ "perm=", -EINVAL }, { "uid=4294967295", -EINVAL }, { "uid=-1", -EINVAL },
		{ "uid=4294967294", 0 }, { "gid=x", -EINVAL }, { "foo", -ENOENT },
		{ "aggr_cnv=1", -ENOENT }, { "", -ENOENT },
	};
	struct zonefs_super sb;
	struct zerr e;

	zonefs_super_init(&sb);
	CHECK_EQ(sb.perm, 0640);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e.msg[0] = 0;
		CHECK_EQ(zonefs_super_option(&sb, rows[i].opt, &e), rows[i].err);
		CHECK_EQ(e.msg[0] != 0, rows[i].err == -EINVAL);
	}
	CHECK_EQ(sb.features, ZONEFS_F_ALL);
	CHECK_EQ(sb.uid, 4294967294u);
	CHECK_EQ(sb.perm, 0600);
}

static void test_mount_options(void)
{
	static const struct { const char *opt; int err; } rows[] = {
		{ "errors=zone-ro", 0 }, { "errors=zone-offline", 0 }, { "errors=repair", 0 },
		{ "errors=remount-ro", 0 }, { "errors=panic", -EINVAL },
		{ "errors=continue", -EINVAL }, { "errors", -EINVAL }, { "errors=", -EINVAL },
		{ "explicit-open", 0 }, { "explicit-open=1", -EINVAL },
		{ "noexplicit-open", -ENOENT }, { "strict", 0 }, { "ro", 0 }, { "rw", 0 },
		{ "uid=7", 0 }, { "gid=8", 0 }, { "perm=444", 0 }, { "perm=999", -EINVAL },
		{ "append_buffer=1M", 0 }, { "append_buffer=x", -EINVAL },
		{ "buffers=0", 0 }, { "flush_interval=9", 0 }, { "flush_interval=1d", -EINVAL },
		{ "no_passthrough", 0 }, { "foo=bar", -ENOENT }, { "bad_option", -ENOENT },
		{ "errorsx=repair", -ENOENT }, { "error", -ENOENT },
	};
	struct zonefs_opts o;
	struct zerr e;

	zonefs_opts_init(&o);
	CHECK(!o.has_uid && !o.has_gid && !o.has_perm && !o.strict && !o.read_only);
	CHECK_EQ(o.errors, ZONEFS_ERRORS_RO);
	CHECK_EQ(zonefs_opts_apply(&o, "errors=repair", &e), 0);
	CHECK_EQ(o.errors, ZONEFS_ERRORS_REPAIR);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e.msg[0] = 0;
		CHECK_EQ(zonefs_opts_apply(&o, rows[i].opt, &e), rows[i].err);
		CHECK_EQ(e.msg[0] != 0, rows[i].err == -EINVAL);
	}
	CHECK_EQ(o.errors, ZONEFS_ERRORS_RO);
	CHECK(o.has_uid && o.has_gid && o.has_perm && o.strict && !o.read_only);
	CHECK(o.explicit_open && o.no_passthrough);
	CHECK_EQ(o.uid, 7);
	CHECK_EQ(o.gid, 8);
	CHECK_EQ(o.perm, 0444);
	CHECK_EQ(o.append_buffer, 1 << 20);
	CHECK_EQ(o.buffers, 0);
	CHECK_EQ(o.flush_interval, 9);
}

static void make(struct zdev **dev, uint32_t nr_zones, uint32_t nr_conv)
{
	struct zdev_geometry g = usual;
	struct zerr e;

	g.nr_zones = nr_zones;
	g.nr_conv = nr_conv;
	CHECK_EQ(zdev_mem_create(&g, dev, &e), 0);
}

static int format(struct zdev *dev)
{
	struct zonefs_super sb, back;
	struct zerr e = { "" };
	int err;

	zonefs_super_init(&sb);
	strcpy(sb.label, "hello");
	err = zonefs_format(dev, &sb, NULL, NULL, &e);
	if (err) {
		CHECK(e.msg[0]);
		return err;
	}
	CHECK_EQ(zonefs_super_read(dev, &back, &e), 0);
	CHECK(!memcmp(&sb, &back, sizeof(sb)));
	return 0;
}

static void test_format_resets_all_and_keeps_conventional_data(void)
{
	char data[BS], back[BS], tail[10] = "123456789";
	struct iovec iov = { tail, sizeof(tail) };
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = 6, .iov = &iov, .nr_iov = 1 };
	struct zdev_zone z;
	struct zdev *dev;

	make(&dev, 8, 2);
	memset(data, 'a', sizeof(data));
	CHECK_EQ(zdev_pwrite(dev, 0, BS, data, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, data, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, 3, 0, data, BS), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 4), 0);
	CHECK_EQ(zdev_run(dev, &io), 0);
	CHECK_EQ(zdev_set_cond(dev, 5, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, 7, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(format(dev), 0);
	for (uint32_t zno = 2; zno < 8; zno++) {
		CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
		CHECK_EQ(z.cond, zno == 5 ? BLK_ZONE_COND_READONLY :
			 zno == 7 ? BLK_ZONE_COND_OFFLINE : BLK_ZONE_COND_EMPTY);
	}
	CHECK_EQ(zdev_get_tail(dev, 6, back), 0);
	CHECK_EQ(zdev_pread(dev, 0, BS, back, BS), BS);
	CHECK(!memcmp(data, back, BS));
	CHECK_EQ(zdev_pread(dev, 1, 0, back, BS), BS);
	CHECK(!memcmp(data, back, BS));
	CHECK_EQ(zdev_close(dev), 0);
}

static void test_format_finishes_a_sequential_zone_0(void)
{
	struct zdev_zone z;
	struct zdev *dev;

	make(&dev, 4, 0);
	CHECK_EQ(format(dev), 0);
	CHECK_EQ(zdev_report(dev, 0, 1, &z), 0);
	CHECK_EQ(z.cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(format(dev), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void test_format_refuses_a_device_that_is_offline(void)
{
	struct zdev *dev;

	make(&dev, 4, 1);
	for (uint32_t zno = 1; zno < 4; zno++)
		CHECK_EQ(zdev_set_cond(dev, zno, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(format(dev), -EINVAL);
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	RUN(test_vector_empty);
	RUN(test_vector_full);
	RUN(test_refusals_in_order);
	RUN(test_values_without_features);
	RUN(test_label_is_terminated);
	RUN(test_every_flipped_bit_is_refused);
	RUN(test_format_options);
	RUN(test_mount_options);
	RUN(test_format_resets_all_and_keeps_conventional_data);
	RUN(test_format_finishes_a_sequential_zone_0);
	RUN(test_format_refuses_a_device_that_is_offline);
	return 0;
}
