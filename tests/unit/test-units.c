/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes and numbers as text, error and log lines, the geometry check. */
#include <errno.h>

#include "unit.h"
#include "zonefsd/error.h"
#include "zonefsd/log.h"
#include "zonefsd/units.h"
#include "zonefsd/zdev.h"

static void sizes_are_parsed(void)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0, 0 }, { "4096", 0, 4096 }, { "64K", 0, 65536 },
		{ "64k", 0, 65536 }, { "64KiB", 0, 65536 }, { "64kib", 0, 65536 },
		{ "256M", 0, 256 << 20 }, { "16G", 0, UINT64_C(16) << 30 },
		{ "2T", 0, UINT64_C(2) << 40 }, { "7E", 0, UINT64_C(7) << 60 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 }, { "8E", -ERANGE, 0 },
		{ "99999999999999999999999K", -ERANGE, 0 },
		{ "", -EINVAL, 0 }, { "K", -EINVAL, 0 }, { "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 }, { "1.5G", -EINVAL, 0 }, { "1KB", -EINVAL, 0 },
		{ "1Ki", -EINVAL, 0 }, { "1KiBx", -EINVAL, 0 }, { "1Q", -EINVAL, 0 },
		{ "1iB", -EINVAL, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t v = 77;

		CHECK_EQ(zu_parse_size(rows[i].text, &v), rows[i].ret);
		CHECK_EQ(v, rows[i].ret ? 77 : rows[i].bytes);
	}
}

static void numbers_are_parsed(void)
{
	uint64_t v = 5;
	uint32_t o = 5;

	CHECK_EQ(zu_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
	CHECK(v == UINT64_MAX);
	CHECK_EQ(zu_parse_u64("18446744073709551616", UINT64_MAX, &v), -ERANGE);
	CHECK_EQ(zu_parse_u64("11", 10, &v), -ERANGE);
	CHECK_EQ(zu_parse_u64("10", 10, &v), 0);
	CHECK_EQ(v, 10);
	CHECK_EQ(zu_parse_u64("", 10, &v), -EINVAL);
	CHECK_EQ(zu_parse_u64("-1", 10, &v), -EINVAL);
	CHECK_EQ(zu_parse_u64("1x", 10, &v), -EINVAL);
	CHECK_EQ(v, 10);
	CHECK_EQ(zu_parse_octal("640", 07777, &o), 0);
	CHECK_EQ(o, 0640);
	CHECK_EQ(zu_parse_octal("0640", 07777, &o), 0);
	CHECK_EQ(o, 0640);
	CHECK_EQ(zu_parse_octal("10000", 07777, &o), -ERANGE);
	CHECK_EQ(zu_parse_octal("648", 07777, &o), -EINVAL);
	CHECK_EQ(zu_parse_octal("", 07777, &o), -EINVAL);
	CHECK_EQ(o, 0640);
}

static void sizes_are_printed(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0" }, { 1, "1" }, { 512, "512" }, { 4096, "4K" },
		{ 4097, "4097" }, { 10001, "9.7K" }, { 256 << 20, "256M" },
		{ (UINT64_C(1) << 30) + (1 << 20), "1025M" },
		{ UINT64_C(55880) << 28, "13.6T" }, { UINT64_C(64) << 40, "64T" },
		{ UINT64_MAX, "15.9E" }, { UINT64_C(1) << 60, "1E" },
	};
	char buf[16];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_STR(zu_format_size(rows[i].bytes, buf, sizeof(buf)),
			  rows[i].text);
}

static void error_lines_hide_control_characters(void)
{
	struct zerr e = { "" };

	CHECK_EQ(zerr_set(&e, EINVAL, "%s: bad", "a\nb\033[1m"), -EINVAL);
	CHECK_STR(e.msg, "a?b?[1m: bad");
	CHECK_EQ(zerr_errno(&e, ENOENT, "%s", "x"), -ENOENT);
	CHECK_STR(e.msg, "x: No such file or directory");
	CHECK_EQ(zerr_set(&e, EIO, "%s: %s", "front", e.msg), -EIO);
	CHECK_STR(e.msg, "front: x: No such file or directory");
	CHECK_EQ(zerr_set(NULL, EIO, "nobody listens"), -EIO);
}

static void keep_line(void *ctx, enum zlog_level level, const char *line)
{
	snprintf(ctx, 64, "%d %s", (int)level, line);
}

static void log_lines_are_filtered_and_cleaned(void)
{
	char got[64] = "";
	struct zlog log = { .write = keep_line, .ctx = got, .max_level = ZLOG_INFO };

	zlog(&log, ZLOG_DEBUG, "dropped");
	CHECK_STR(got, "");
	zlog(&log, ZLOG_WARN, "zone %d\nforged", 7);
	CHECK_STR(got, "4 zone 7?forged");
	zlog(NULL, ZLOG_ERR, "dropped");
}

static void bad_geometries_are_named(void)
{
	const struct zdev_geometry good = {
		.block_size = 4096, .zone_size = 1 << 20, .zone_capacity = 3 << 18,
		.nr_zones = 16, .nr_conv = 2, .max_open = 3, .max_active = 5,
	};
	struct zdev_geometry g;
	struct zerr e;

	CHECK_EQ(zdev_geometry_check(&good, &e), 0);
#define BAD(field, value, part) do {				\
	g = good;						\
	g.field = (value);					\
	CHECK_EQ(zdev_geometry_check(&g, &e), -EINVAL);		\
	CHECK_HAS(e.msg, part);					\
} while (0)
	BAD(block_size, 1024, "block size 1024");
	BAD(block_size, 0, "block size 0");
	BAD(zone_size, 0, "zone size 0");
	BAD(zone_size, 3 << 20, "power of two");
	BAD(zone_size, 2048, "zone size 2048");
	BAD(zone_size, ZDEV_MAX_ZONE_SIZE * 2, "zone size");
	BAD(zone_size, 1 << 19, "zone capacity");
	BAD(zone_capacity, 0, "zone capacity 0");
	BAD(zone_capacity, (1 << 20) + 4096, "zone capacity");
	BAD(zone_capacity, 4096 + 512, "multiple of the block size");
	BAD(nr_zones, 0, "number of zones 0");
	BAD(nr_zones, ZDEV_MAX_ZONES + 1, "number of zones");
	BAD(nr_conv, 16, "conventional zones 16");
	BAD(max_open, 15, "open zones limit");
	BAD(max_open, 6, "open zones limit 6: more than the active");
	BAD(max_active, 15, "active zones limit");
	g = good;
	g.zone_size = g.zone_capacity = ZDEV_MAX_ZONE_SIZE;
	g.nr_zones = ZDEV_MAX_ZONES;
	CHECK_EQ(zdev_geometry_check(&g, &e), -EINVAL);
	CHECK_HAS(e.msg, "bytes in all");
#undef BAD
}

int main(void)
{
	RUN(sizes_are_parsed);
	RUN(numbers_are_parsed);
	RUN(sizes_are_printed);
	RUN(error_lines_hide_control_characters);
	RUN(log_lines_are_filtered_and_cleaned);
	RUN(bad_geometries_are_named);
	return 0;
}
