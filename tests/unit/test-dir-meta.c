/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zonefsd.meta: what is accepted, what is refused, and every state that a crash
 * between two steps of opening or closing can leave.
 */
#include <zlib.h>

#include "dir-util.h"

static char block[ZONE_SIZE];

/* Write text as zonefsd.meta, with the right checksum line behind it. */
static void put_meta(const char *text)
{
	static char buf[65536 + 64];

	snprintf(buf, sizeof(buf), "%schecksum=%08lx\n", text,
		 crc32(0, (const Bytef *)text, (uInt)strlen(text)));
	put_file(DIR_META, buf, strlen(buf));
}

static char *meta_of_fresh(void)
{
	char *text;

	create(&geometry);
	text = read_meta_text();
	*strstr(text, "checksum=") = '\0';
	return text;
}

/* meta of a fresh device with one part replaced. */
static void put_changed(const char *part, const char *with)
{
	char text[65536], *at;

	snprintf(text, sizeof(text), "%s", meta_of_fresh());
	at = strstr(text, part);
	CHECK(at != NULL);
	memmove(at + strlen(with), at + strlen(part), strlen(at + strlen(part)) + 1);
	memcpy(at, with, strlen(with));
	put_meta(text);
}

static void bad_lines_are_named(void)
{
	static const struct { const char *part, *with, *message; } rows[] = {
		{ "version=1", "version=2", "line 1: a version" },
		{ "state=clean", "state=closed", "line 3: bad state" },
		{ "state=clean", "state=clean\nstate=open", "line 4: given twice" },
		{ "uuid=", "uuid=x", "line 2: bad uuid" },
		{ "block_size=4096", "block_size=1024", "block size 1024" },
		{ "zone_size=65536", "zone_size=65537", "must be a power of two" },
		{ "zone_size=65536", "zone_size=0", "zone size 0" },
		{ "zone_size=65536", "zone_size=18446744073709551616", "bad number" },
		{ "zone_size=65536", "zone_size=-65536", "bad number" },
		{ "zone_size=65536", "zone_size 65536", "not KEY=VALUE" },
		{ "zone_capacity=49152", "zone_capacity=49153", "multiple of the block" },
		{ "zone_capacity=49152", "zone_capacity=98304", "zone capacity" },
		{ "nr_zones=6", "nr_zones=4294967295", "number of zones" },
		{ "nr_zones=6", "nr_zones=4294967296", "bad number" },
		{ "nr_zones=6", "nr_zones=0", "number of zones 0" },
		{ "nr_zones=6\n", "", "incomplete" },
		{ "nr_conv=2", "nr_conv=6", "conventional zones" },
		{ "max_open=0", "max_open=5", "open zones limit" },
		{ "max_active=0", "max_active=0\nfuture=1", "does not know" },
		{ "max_active=0", "max_active=0\nreadonly=6", "bad zone number" },
		{ "max_active=0", "max_active=0\nreadonly=4-3", "bad zone number" },
		{ "max_active=0", "max_active=0\noffline=1-", "bad zone number" },
		{ "max_active=0", "max_active=0\nreadonly=0-5\noffline=0-5\noffline=0",
		  "more than twice" },
		{ "version=1", "version=1\nreadonly=1", "does not know" },
		{ "max_active=0", "max_active=0\ntail=2 0 8c736521 6162", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=1 0 352441c2 616263", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=6 0 352441c2 616263", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=2 1 352441c2 616263", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=2 49152 352441c2 616263",
		  "bad tail" },
		{ "max_active=0", "max_active=0\ntail=2 0 352441c2 61626", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=2 0 00000000 ", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=2 0", "bad tail" },
		{ "max_active=0", "max_active=0\ntail=3 0 352441c2 616263\n"
		  "tail=2 0 352441c2 616263", "out of order" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_changed(rows[i].part, rows[i].with);
		open_fails(EINVAL, rows[i].message, NULL);
	}
}

/* Each costs a copy of those before it: a hostile file would take days. */
static void notes_are_limited(void)
{
	static char text[100000];
	size_t at = (size_t)sprintf(text, "zone_size=65536\n");

	create(&geometry);
	while (at < sizeof(text) - 16)
		at += (size_t)sprintf(text + at, "x-a=b\n");
	put_file(DIR_META, text, at);
	open_fails(EINVAL, "too many notes", NULL);
}

static void good_lines_are_taken(void)
{
	struct zdev *dev;

	put_changed("max_active=0", "max_active=0\nx-note=ours, kept\nreadonly=3-4\n"
		    "offline=4\ntail=2 0 352441c2 616263");
	dev = open_dev(false);
	CHECK_EQ(zone(dev, 3).cond, BLK_ZONE_COND_READONLY);
	CHECK_EQ(zone(dev, 4).cond, BLK_ZONE_COND_OFFLINE);
	check_tail(dev, 2, "abc");
	touch(dev);
	check_tail(dev, 2, "abc");
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_HAS(read_meta_text(), "\nx-note=ours, kept\n");
	CHECK_HAS(read_meta_text(), "\nreadonly=3-4\noffline=4\n");
	CHECK_HAS(read_meta_text(), "\ntail=2 0 352441c2 616263\n");
}

/* Any one bit flipped, any length cut: refused, nothing else. */
static void damage_is_detected(void)
{
	char text[65536], *copy;
	size_t len, i;

	put_changed("max_active=0", "max_active=0\ntail=2 0 352441c2 616263");
	snprintf(text, sizeof(text), "%s", read_meta_text());
	len = strlen(text);
	copy = malloc(len);
	CHECK(copy != NULL);
	for (i = 0; i < len; i++) {
		struct zdev *dev;
		struct zerr e;

		memcpy(copy, text, len);
		copy[i] ^= (char)(1 << i % 8);
		put_file(DIR_META, copy, len);
		CHECK_EQ(try_open(true, &dev, &e), -EINVAL);
		CHECK_HAS(e.msg, DIR_META);
		put_file(DIR_META, text, i);
		CHECK_EQ(try_open(true, &dev, &e), -EINVAL);
		CHECK_HAS(e.msg, DIR_META);
	}
	free(copy);
	put_file(DIR_META, text, len);
	CHECK_EQ(zdev_close(open_dev(true)), 0);
}

static void hints_are_limited_to_what_people_write(void)
{
	static const char *const bad[] = {
		"uuid=00000000-0000-0000-0000-000000000000\nzone_size=65536\n",
		"state=open\nzone_size=65536\n", "nr_zones=3\nzone_size=65536\n",
		"max_open=1\n", "zone_size=65536\nreadonly=3\n", "zone_size=65536",
		"zone_size=65536\nversion=1\n", "zone_size=1000\n",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct zdev *dev;
		struct zerr e;

		make_zloop();
		put_file(DIR_META, bad[i], strlen(bad[i]));
		CHECK_EQ(try_open(true, &dev, &e), -EINVAL);
	}
}

static void meta_that_is_no_file_is_refused(void)
{
	create(&geometry);
	CHECK_EQ(unlink(in_dev(DIR_META)), 0);
	CHECK_EQ(symlink("/etc/passwd", in_dev(DIR_META)), 0);
	open_fails(ELOOP, DIR_META, NULL);
	CHECK_EQ(unlink(in_dev(DIR_META)), 0);
	CHECK_EQ(mkfifo(in_dev(DIR_META), 0600), 0);
	open_fails(EINVAL, DIR_META, NULL);
}

/* ---- tails between zone files and meta ---- */

static struct zdev *device_with_tails(void)
{
	struct zdev *dev;

	create(&geometry);
	dev = open_dev(false);
	memset(block, 'm', sizeof(block));
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(put_tail(dev, Z0, BS, "first", 5), 0);
	CHECK_EQ(put_tail(dev, Z0 + 1, 0, "second", 6), 0);
	return dev;
}

static void check_device(void)
{
	int round;

	for (round = 0; round < 3; round++) {
		struct zdev *dev = open_dev(round == 0);

		CHECK_EQ(zone(dev, Z0).wp, BS);
		check_tail(dev, Z0, "first");
		if (round)
			touch(dev);
		check_tail(dev, Z0, "first");
		check_tail(dev, Z0 + 1, "second");
		check_tail(dev, Z0 + 2, "");
		CHECK_EQ(zdev_close(dev), 0);
		CHECK(!strstr(logged, "dropped"));
	}
}

/* A clean close takes tails out of zloop's sight. */
static void a_clean_directory_is_zloops(void)
{
	CHECK_EQ(zdev_close(device_with_tails()), 0);
	CHECK_EQ(size_of("seq-000002"), BS);
	CHECK_EQ(size_of("seq-000003"), 0);
	CHECK_HAS(read_meta_text(), "state=clean\n");
	CHECK_HAS(read_meta_text(), "tail=2 4096 ");
	check_device();
}

/* "open + tails" in meta, and each way the files can be: both directions. */
static void a_crash_between_meta_and_files_is_repaired(void)
{
	static const struct { int first, second; } sizes[] = {
		{ BS, 0 }, { BS + 5, 0 }, { BS, 6 }, { BS + 5, 6 },
		{ BS + 2, 3 },	/* after a power cut, part of them */
	};
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char text[65536], *at;

		CHECK_EQ(zdev_close(device_with_tails()), 0);
		snprintf(text, sizeof(text), "%s", read_meta_text());
		*strstr(text, "checksum=") = '\0';
		at = strstr(text, "state=clean");
		memmove(at + 10, at + 11, strlen(at + 11) + 1);
		memcpy(at, "state=open", 10);
		put_meta(text);
		set_size("seq-000002", sizes[i].first);
		set_size("seq-000003", sizes[i].second);
		check_device();
	}
}

/* A temporary file that a crash left is in nobody's way. */
static void a_left_over_temporary_file_does_no_harm(void)
{
	CHECK_EQ(zdev_close(device_with_tails()), 0);
	put_file(DIR_META_TMP, "half", 4);
	check_device();
	CHECK_EQ(size_of(DIR_META_TMP), -1);
	CHECK_EQ(symlink(DIR_META, in_dev(DIR_META_TMP)), 0);
	check_device();
}

/* Somebody wrote to the zone in between, with zloop for instance. */
static void a_tail_that_does_not_fit_is_dropped_and_logged(void)
{
	struct zdev *dev;

	CHECK_EQ(zdev_close(device_with_tails()), 0);
	set_size("seq-000002", 2 * BS);
	dev = open_dev(true);
	check_tail(dev, Z0, "");
	check_tail(dev, Z0 + 1, "second");
	CHECK_EQ(zdev_close(dev), 0);
	dev = open_dev(false);
	touch(dev);
	CHECK_HAS(logged, "zone 2: 5 bytes of a partial last block dropped");
	check_tail(dev, Z0, "");
	check_tail(dev, Z0 + 1, "second");
	CHECK_EQ(zone(dev, Z0).wp, 2 * BS);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK(!strstr(read_meta_text(), "tail=2 "));
}

/* The same size is a tail after a crash and damage after a clean close. */
static void a_partial_block_counts_only_after_a_crash(void)
{
	create(&geometry);
	set_size("seq-000002", BS + 7);
	open_fails(EINVAL, "seq-000002", "not a multiple");
	put_changed("state=clean", "state=open");
	set_size("seq-000002", BS + 7);
	CHECK_EQ(zdev_close(open_dev(false)), 0);
	CHECK_EQ(size_of("seq-000002"), BS);
	/* Still too large is too large. */
	put_changed("state=clean", "state=open");
	set_size("seq-000002", CAP + 7);
	open_fails(EINVAL, "seq-000002", "zone capacity");
}

/* A device that cannot be marked open stays as it was; it can be later. */
static void a_failed_mark_leaves_the_device_clean(void)
{
	char before[65536];
	struct zdev *dev;

	CHECK_EQ(zdev_close(device_with_tails()), 0);
	snprintf(before, sizeof(before), "%s", read_meta_text());
	/* A directory in the place of the temporary file. */
	CHECK_EQ(mkdir(in_dev(DIR_META_TMP), 0700), 0);
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 2, 0, block, BS), -EIO);
	CHECK_HAS(logged, "marking it open: Is a directory");
	CHECK_STR(read_meta_text(), before);
	CHECK_EQ(size_of("seq-000002"), BS);
	CHECK_EQ(zone(dev, Z0 + 2).wp, 0);
	check_tail(dev, Z0, "first");
	CHECK_EQ(rmdir(in_dev(DIR_META_TMP)), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 2, 0, block, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
	check_device();
}

/* Looking, or being refused by the layers above, leaves no trace. */
static void an_open_without_a_change_writes_nothing(void)
{
	char before[2048], after[2048];
	struct zdev *dev;

	CHECK_EQ(zdev_close(device_with_tails()), 0);
	fingerprint(before, sizeof(before));
	dev = open_dev(false);
	check_tail(dev, Z0, "first");
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), -EIO);	/* off the write pointer */
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0), 0);
	CHECK_EQ(zdev_close(dev), 0);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);
}

/* A note put into a hint leaves it a hint. */
static void a_hint_is_rewritten_as_a_hint(void)
{
	static const char hint[] = "zone_size=65536\nzone_capacity=65536\nx-a=b\n";
	struct dir_meta m;
	struct zdev *dev;
	struct zerr e;
	int fd;

	make_zloop();
	put_file(DIR_META, hint, strlen(hint));
	fd = open(path, O_RDONLY | O_DIRECTORY);
	CHECK_EQ(dir_meta_read(fd, path, &m, &e), 0);
	CHECK_EQ(dir_meta_write(fd, &m), 0);
	dir_meta_free(&m);
	close(fd);
	CHECK_STR(read_meta_text(), "zone_size=65536\nzone_capacity=65536\n"
				    "max_open=0\nmax_active=0\nx-a=b\n");
	dev = open_dev(false);
	touch(dev);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_HAS(read_meta_text(), "version=1\n");
	CHECK_HAS(read_meta_text(), "x-a=b\n");
}

int main(void)
{
	start_tests();
	RUN(bad_lines_are_named);
	RUN(notes_are_limited);
	RUN(good_lines_are_taken);
	RUN(damage_is_detected);
	RUN(hints_are_limited_to_what_people_write);
	RUN(meta_that_is_no_file_is_refused);
	RUN(a_clean_directory_is_zloops);
	RUN(a_crash_between_meta_and_files_is_repaired);
	RUN(a_left_over_temporary_file_does_no_harm);
	RUN(a_tail_that_does_not_fit_is_dropped_and_logged);
	RUN(a_partial_block_counts_only_after_a_crash);
	RUN(a_failed_mark_leaves_the_device_clean);
	RUN(an_open_without_a_change_writes_nothing);
	RUN(a_hint_is_rewritten_as_a_hint);
	unit_rm_tree(dir);
	return 0;
}
