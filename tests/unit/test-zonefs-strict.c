/* SPDX-License-Identifier: BSD-2-Clause */
/* The strict personality: open, read, write, fsync, truncate (Z6 to Z10). */
#include <sys/stat.h>
#include <time.h>

#include "zonefs-unit.h"

/* ---- Z6 ---- */

static void test_open(void)
{
	static const struct { int flags; int cnv, seq; } rows[] = {
		{ O_RDONLY, 0, 0 }, { O_WRONLY, 0, 0 }, { O_RDWR, 0, 0 },
		{ O_RDWR | O_TRUNC, -EPERM, 0 }, { O_RDONLY | O_TRUNC, -EPERM, 0 },
		{ O_WRONLY | O_APPEND, 0, 0 }, { O_RDWR | O_DIRECT, 0, 0 },
	};
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(t_open(&v, CNV(0), rows[i].flags, &f), rows[i].cnv);
		if (!rows[i].cnv)
			t_release(f);
		CHECK_EQ(t_open(&v, SEQ(0), rows[i].flags, &f), rows[i].seq);
		t_release(f);
	}
	teardown(&v);
}

static void test_open_truncates(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), BS);
	t_release(must_open(&v, SEQ(0), STRICT_W | O_TRUNC));
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), BS);
	/* Without write access as well, and not counted. */
	g = must_open(&v, SEQ(0), O_RDONLY | O_TRUNC);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(t_stats(&v).nr_wro, 1);
	t_release(f);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	t_release(g);
	teardown(&v);
}

static void test_failing_reset_fails_the_open(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), BS);
	t_release(f);
	t_fault(&v, ZDEV_RESET, SEQ(0), ENOMEM, 1, 0);
	CHECK_EQ(t_open(&v, SEQ(0), STRICT_W | O_TRUNC, &f), -ENOMEM);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	CHECK(!t_stats(&v).read_only);
	teardown(&v);
}

/* fs-ro before file RO. */
static void test_open_precedence(void)
{
	struct zonefs_opts o;
	struct zonefs_file *f;
	struct env v;

	new_device(&v, &usual, "");
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(0), BLK_ZONE_COND_READONLY), 0);
	do_mount(&v, "strict");
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EPERM);
	CHECK_EQ(t_open(&v, SEQ(0), O_RDONLY | O_TRUNC, &f), -EPERM);
	zonefs_get_opts(v.fs, &o);
	o.read_only = true;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EROFS);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -EROFS);
	CHECK_EQ(t_open(&v, CNV(0), O_WRONLY | O_TRUNC, &f), -EROFS);
	CHECK_EQ(t_open(&v, SEQ(1), O_RDONLY, &f), 0);
	t_release(f);
	teardown(&v);
}

/* ---- Z7 ---- */

static void test_read(void)
{
	/* The file has 3 blocks. */
	static const struct {
		int flags;
		uint64_t off;
		size_t len;
		ssize_t want;
	} rows[] = {
		{ 0, 0, 3 * BS, 3 * BS },
		{ 0, 1, 10, 10 },
		{ 0, BS - 1, 2, 2 },
		{ 0, 2 * BS + 5, BS, BS - 5 },
		{ 0, 3 * BS, 10, 0 },
		{ 0, 3 * BS + 1, 10, 0 },
		{ 0, CAP, 10, 0 },
		{ 0, UINT64_MAX - 3, 10, 0 },
		{ 0, 0, 0, 0 },
		{ O_DIRECT, 0, 3 * BS, 3 * BS },
		{ O_DIRECT, BS, 8 * BS, 2 * BS },	/* aligned across the end */
		{ O_DIRECT, BS, 8 * BS + 1, 2 * BS },	/* the cut length counts */
		{ O_DIRECT, 1, BS, -EINVAL },
		{ O_DIRECT, 0, 100, -EINVAL },
		{ O_DIRECT, 3 * BS + 1, 10, 0 },	/* at or behind the end */
		{ O_DIRECT, CAP + 1, 1, 0 },
	};
	uint8_t *buf = buf_of(8 * BS + 1), *want = buf_of(3 * BS);
	struct zonefs_file *f, *r;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, 3 * BS, 0, 7), 3 * BS);
	fill(want, 3 * BS, 0, 7);
	r = must_open(&v, SEQ(0), O_RDONLY);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(t_read(r, rows[i].flags, buf, rows[i].len, rows[i].off), rows[i].want);
		if (rows[i].want > 0)
			CHECK(!memcmp(buf, want + rows[i].off, rows[i].want));
	}
	t_release(r);
	t_release(f);
	free(buf);
	free(want);
	teardown(&v);
}

/* Unaligned, and longer than one operation of the device. */
static void test_read_large(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), O_RDWR | O_DIRECT);
	CHECK_EQ(put(f, STRICT_W, CAP, 0, 3), CAP);
	expect(f, CAP, 0, 3);
	expect(f, CAP - 777, 777, 3);
	expect(f, CAP - 777 - 99, 777, 3);
	t_release(f);
	teardown(&v);
}

/* ---- Z8 ---- */

static void test_write_checks_in_order(void)
{
	static const struct {
		const char *what;
		int flags;
		uint64_t off;
		size_t len;
		ssize_t cnv, seq;	/* seq has 2 blocks */
	} rows[] = {
		{ "3 before 4", O_WRONLY, CAP, 10, 10, -EFBIG },
		{ "3 before 6", O_WRONLY | O_DIRECT, CAP, 0, 0, -EFBIG },
		/* An append carries the client's idea of the end: 3 does not see it. */
		{ "7 before 3", O_WRONLY | O_APPEND, ZONE_SIZE, BS, -EINVAL, -EIO },
		{ "3 cnv", O_WRONLY, ZONE_SIZE, 10, -EFBIG, -EFBIG },
		{ "3 cnv, length 0", O_WRONLY, ZONE_SIZE, 0, -EFBIG, -EFBIG },
		{ "4", O_WRONLY, 2 * BS, BS, BS, -EIO },
		{ "4 before 6", O_WRONLY, 2 * BS, 0, 0, -EIO },
		{ "6 before 7", O_WRONLY | O_DIRECT | O_APPEND, 0, 0, 0, 0 },
		{ "6 before 10", O_WRONLY | O_DIRECT, 1, 0, 0, 0 },
		{ "7 cnv", O_WRONLY | O_APPEND, 0, BS, -EINVAL, -EIO },
		{ "10 length", O_WRONLY | O_DIRECT, 2 * BS, 512, -EINVAL, -EINVAL },
		{ "10 position", O_WRONLY | O_DIRECT, 2 * BS + 512, BS, -EINVAL, -EINVAL },
		{ "11 before", O_WRONLY | O_DIRECT, BS, BS, BS, -EINVAL },
		{ "11 behind", O_WRONLY | O_DIRECT, 3 * BS, BS, BS, -EINVAL },
		{ "11 at 0", O_WRONLY | O_DIRECT, 0, BS, BS, -EINVAL },
	};
	struct zonefs_file *f, *c;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	c = must_open(&v, CNV(0), O_WRONLY);
	CHECK_EQ(put(f, STRICT_W, 2 * BS, 0, 1), 2 * BS);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (getenv("VERBOSE"))
			fprintf(stderr, "  %s\n", rows[i].what);
		CHECK_EQ(put(c, rows[i].flags, rows[i].len, rows[i].off, 1), rows[i].cnv);
		CHECK_EQ(put(f, rows[i].flags, rows[i].len, rows[i].off, 1), rows[i].seq);
		CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
		CHECK_EQ(t_size(&v, CNV(0)), ZONE_SIZE);
	}
	/* Rows 0 to 11 change nothing: no recovery either. */
	CHECK_EQ(t_stats(&v).recoveries, 0);
	CHECK_EQ(t_zone(&v, SEQ(0)).wp, 2 * BS);
	CHECK_EQ(put(f, STRICT_W | O_APPEND, BS, 0, 1), BS);
	CHECK_EQ(put(f, STRICT_W | O_APPEND, BS, CAP, 1), BS);
	CHECK_EQ(t_size(&v, SEQ(0)), 4 * BS);
	t_release(f);
	t_release(c);
	teardown(&v);
}

/* 1 before 2, though open has it the other way round. */
static void test_write_protected(void)
{
	struct zonefs_file *f, *g;
	struct zonefs_opts o;
	struct env v;

	setup(&v, "strict,errors=zone-ro");
	f = must_open(&v, SEQ(0), STRICT_W);
	g = must_open(&v, SEQ(1), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), -EIO);
	CHECK_EQ(put(f, STRICT_W, BS, CAP, 0), -EPERM);
	zonefs_get_opts(v.fs, &o);
	o.errors = ZONEFS_ERRORS_RO;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	t_fault(&v, ZDEV_WRITE, SEQ(1), EIO, 1, 0);
	CHECK_EQ(put(g, STRICT_W, BS, 0, 0), -EIO);
	CHECK(t_stats(&v).read_only);
	CHECK_EQ(put(g, STRICT_W, BS, CAP, 0), -EROFS);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), -EPERM);
	t_release(f);
	t_release(g);
	teardown(&v);
}

/* 9: a write across the capacity is cut, before its alignment is looked at. */
static void test_write_short_at_capacity(void)
{
	struct zonefs_file *f, *c;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, CAP - BS, 0, 1), CAP - BS);
	CHECK_EQ(put(f, STRICT_W, BS + 100, CAP - BS, 1), BS);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(put(f, STRICT_W, BS, CAP, 1), -EFBIG);
	CHECK_EQ(put(f, STRICT_W | O_APPEND, BS, 0, 1), -EFBIG);	/* 8 */
	t_release(f);
	f = must_open(&v, SEQ(1), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, CAP + 5 * BS, 0, 1), CAP);
	t_release(f);
	c = must_open(&v, CNV(0), O_WRONLY);
	CHECK_EQ(put(c, O_WRONLY, 100, ZONE_SIZE - 1, 1), 1);
	CHECK_EQ(put(c, O_WRONLY | O_DIRECT, BS + 1, ZONE_SIZE - BS, 1), BS);
	t_release(c);
	teardown(&v);
}

static void test_write_does_not_change_times(void)
{
	struct zonefs_attr before, after;
	struct zonefs_setattr_args a = {
		.valid = ZONEFS_SET_MTIME | ZONEFS_SET_CTIME,
		.mtime = { 100, 0 }, .ctime = { 100, 0 },
	};
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(t_setattr(&v, SEQ(0), &a), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &before), 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &after), 0);
	CHECK_EQ(after.mtime.tv_sec, 100);
	CHECK_EQ(after.ctime.tv_sec, 100);
	/* Nor does truncate by path; ftruncate sets both. */
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &after), 0);
	CHECK_EQ(after.mtime.tv_sec, 100);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &after), 0);
	CHECK(after.mtime.tv_sec > 100);
	CHECK(after.ctime.tv_sec > 100);
	CHECK_EQ(t_setattr(&v, SEQ(0), &a), 0);
	t_release(must_open(&v, SEQ(0), O_WRONLY | O_TRUNC));
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &after), 0);
	CHECK(after.mtime.tv_sec > 100);
	t_release(f);
	teardown(&v);
}

/* O_DSYNC: the flush comes before the answer, its failure is a write error. */
static void test_synchronous_write(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=repair");
	f = must_open(&v, SEQ(0), STRICT_W);
	t_fault(&v, ZDEV_FLUSH, ZDEV_ALL_ZONES, EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(t_stats(&v).io_errors, 0);
	CHECK_EQ(put(f, STRICT_W | O_DSYNC, BS, BS, 0), -EIO);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	CHECK_EQ(put(f, STRICT_W | O_SYNC, BS, 2 * BS, 0), BS);
	t_release(f);
	teardown(&v);
}

/* Z16.1: chunks that the client cut within a block. */
static void test_cut_write(void)
{
	const size_t chunk = (1 << 20) - 512;
	struct zonefs_file *f, *r;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	r = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	CHECK_EQ(t_size(&v, SEQ(0)), (1 << 20) - BS);
	CHECK_EQ(put(f, STRICT_W, chunk, chunk, 5), chunk);
	CHECK_EQ(put(f, STRICT_W, 1024, 2 * chunk, 5), 1024);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 << 20);
	expect(r, 2 << 20, 0, 5);
	/* Up to the capacity, with appends. */
	CHECK_EQ(put(f, STRICT_W | O_APPEND, chunk, 2 << 20, 5), chunk);
	CHECK_EQ(put(f, STRICT_W | O_APPEND, BS, (2 << 20) + chunk, 5), 512);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	expect(r, CAP, 0, 5);
	CHECK_EQ(t_close(f), 0);
	t_release(r);
	teardown(&v);
}

/* What is staged and not continued makes the next call fail. */
static void test_cut_write_without_its_rest(void)
{
	const size_t chunk = (1 << 20) - 512, whole = (1 << 20) - BS;
	struct zonefs_file *f, *r;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	r = must_open(&v, SEQ(0), O_RDONLY);
	/* too small for such a chunk */
	CHECK_EQ(put(f, STRICT_W, (512 << 10) - 512, 0, 5), -EINVAL);
	CHECK_EQ(put(f, STRICT_W, chunk, 512, 5), -EINVAL);

	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	CHECK_EQ(t_flush(r), 0);			/* a reader's close is not it */
	CHECK_EQ(put(f, STRICT_W, BS, whole, 5), -EINVAL);	/* the write pointer */
	CHECK_EQ(t_size(&v, SEQ(0)), whole);
	CHECK_EQ(put(f, STRICT_W, BS, whole, 5), BS);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);

	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	CHECK_EQ(put(f, STRICT_W, BS, chunk, 5), -EINVAL);	/* does not complete it */
	CHECK_EQ(put(f, STRICT_W, 512, chunk, 5), -EINVAL);
	CHECK_EQ(t_size(&v, SEQ(0)), whole);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);

	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	atomic_store(&v.attr_changed, 0);
	CHECK_EQ(t_fsync(f), -EINVAL);
	CHECK_EQ(v.attr_changed, 1);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);

	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	CHECK_EQ(t_ftruncate(&v, f, CAP), -EINVAL);
	CHECK_EQ(t_size(&v, SEQ(0)), whole);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);

	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 5), BS);

	CHECK_EQ(put(f, STRICT_W, chunk, BS, 5), chunk);
	CHECK_EQ(t_close(f), -EINVAL);
	CHECK_EQ(t_size(&v, SEQ(0)), 1 << 20);
	expect(r, 1 << 20, 0, 5);
	t_release(r);
	teardown(&v);
}

/* A write of zone 0 bytes in a failing zone runs recovery, and drops what is staged. */
static void test_cut_write_fails(void)
{
	const size_t chunk = (1 << 20) - 512, whole = (1 << 20) - BS;
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=repair");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, chunk, 0, 5), chunk);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, 512, chunk, 5), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), whole);
	CHECK_EQ(put(f, STRICT_W, BS, whole, 5), BS);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
}

/* Z8, 15. */
static void test_limits_of_the_device(void)
{
	static const int errs[] = { EOVERFLOW, ETOOMANYREFS, EIO };
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=repair");
	((struct zdev_info *)zdev_info(v.dev))->max_command = 2 * BS;
	f = must_open(&v, SEQ(0), STRICT_W);
	for (int i = 0; i < 3; i++) {
		t_fault(&v, ZDEV_WRITE, SEQ(0), errs[i], 2, 0);
		CHECK_EQ(put(f, STRICT_W, 2 * BS, 0, 5), -errs[i]);
		CHECK_EQ(put(f, STRICT_W, 3 * BS, 0, 5), -EIO);
	}
	CHECK_EQ(put(f, STRICT_W, 3 * BS, 0, 5), 3 * BS);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
}

static void test_write_needs_write_access(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), -EBADF);
	t_release(f);
	teardown(&v);
}

/* ---- Z9 ---- */

static void test_fsync(void)
{
	static const uint64_t inos[] = { CNV(0), SEQ(0) };
	struct zonefs_file *f;
	struct env v;

	for (int i = 0; i < 2; i++) {
		setup(&v, "strict");
		f = must_open(&v, inos[i], O_RDONLY);
		CHECK_EQ(t_fsync(f), 0);
		t_fault(&v, ZDEV_FLUSH, (uint32_t)inos[i], EIO, 1, 0);
		CHECK_EQ(t_fsync(f), -EIO);
		CHECK(t_stats(&v).read_only);
		CHECK_EQ(v.went_readonly, 1);
		CHECK_EQ(t_fsync(f), 0);
		t_release(f);
		teardown(&v);

		setup(&v, "strict,errors=zone-ro");
		f = must_open(&v, inos[i], O_RDONLY);
		t_fault(&v, ZDEV_FLUSH, (uint32_t)inos[i], EIO, 1, 0);
		CHECK_EQ(t_fsync(f), -EIO);
		CHECK_EQ(t_mode(&v, inos[i]), 0440);
		CHECK_EQ(t_fsync(f), -EPERM);
		t_release(f);
		teardown(&v);
	}
}

/* ---- Z10 ---- */

static void check_truncate(struct env *v, struct zonefs_file *f)
{
	/* Where each starts: empty, 2 blocks, full. */
	static const struct { uint64_t to; int empty, part, full; } rows[] = {
		{ 0, 0, 0, 0 },
		{ BS, -EPERM, -EPERM, -EPERM },
		{ 2 * BS, -EPERM, -EPERM, -EPERM },
		{ 3 * BS, -EPERM, -EPERM, -EPERM },
		{ 1, -EPERM, -EPERM, -EPERM },
		{ CAP - 1, -EPERM, -EPERM, -EPERM },
		{ CAP, 0, 0, 0 },
		{ CAP + 1, -EPERM, -EPERM, -EPERM },
		{ ZONE_SIZE, -EPERM, -EPERM, -EPERM },		/* the largest file here */
		{ ZONE_SIZE + 1, -EFBIG, -EFBIG, -EFBIG },
		{ INT64_MAX, -EFBIG, -EFBIG, -EFBIG },
		{ (uint64_t)INT64_MAX + 1, -EINVAL, -EINVAL, -EINVAL },
	};
	static const uint64_t from[] = { 0, 2 * BS, CAP };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const int want[] = { rows[i].empty, rows[i].part, rows[i].full };

		for (int k = 0; k < 3; k++) {
			uint64_t size = from[k];
			int ret;

			CHECK_EQ(t_truncate(v, SEQ(0), 0), 0);
			if (size == CAP)
				CHECK_EQ(t_truncate(v, SEQ(0), CAP), 0);
			else if (size)
				CHECK_EQ(put(f, STRICT_W, size, 0, 0), size);
			ret = i % 2 ? t_truncate(v, SEQ(0), rows[i].to) :
				t_ftruncate(v, f, rows[i].to);
			CHECK_EQ(ret, want[k]);
			CHECK_EQ(t_size(v, SEQ(0)), ret ? size : rows[i].to);
			CHECK_EQ(t_zone(v, SEQ(0)).wp, ret ? size : rows[i].to);
			CHECK_EQ(put(f, STRICT_W, BS, t_size(v, SEQ(0)), 0),
				 t_size(v, SEQ(0)) == CAP ? -EFBIG : (int)BS);
		}
	}
}

static void test_truncate_sequential(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	check_truncate(&v, f);
	t_release(f);
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(t_ftruncate(&v, f, 0), -EINVAL);
	t_release(f);
	teardown(&v);
}

static void test_truncate_same_size_sends_no_command(void)
{
	struct env v;

	setup(&v, "strict");
	t_fault(&v, ZDEV_RESET, SEQ(0), EIO, 0, 0);
	t_fault(&v, ZDEV_FINISH, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	/* A failing command: its errno, nothing changed, no recovery. */
	CHECK_EQ(t_truncate(&v, SEQ(0), CAP), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	CHECK(!t_stats(&v).read_only);
	CHECK_EQ(t_truncate(&v, SEQ(0), CAP), 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), CAP), 0);
	CHECK_EQ(t_stats(&v).finishes, 1);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	CHECK(!t_stats(&v).read_only);
	teardown(&v);
}

static void test_truncate_conventional(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(t_truncate(&v, CNV(0), 0), -EPERM);
	CHECK_EQ(t_truncate(&v, CNV(0), ZONE_SIZE), -EPERM);
	CHECK_EQ(t_ftruncate(&v, f, BS), -EPERM);
	CHECK_EQ(t_ftruncate(&v, f, ZONE_SIZE + 1), -EFBIG);
	t_release(f);
	teardown(&v);
}

/* ftruncate goes on after an error has made the mount read-only. */
static void test_ftruncate_on_a_read_only_mount(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, BS, 0), -EIO);
	CHECK(t_stats(&v).read_only);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -EROFS);
	CHECK_EQ(t_chmod(&v, SEQ(0), 0600), -EROFS);
	/* The client sends the times along. */
	CHECK_EQ(t_setattr(&v, SEQ(0), &(struct zonefs_setattr_args) {
		.valid = ZONEFS_SET_SIZE | ZONEFS_SET_MTIME, .file = f, .mtime = { 9, 0 } }), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	t_release(f);
	teardown(&v);
}

/* ---- Z11 ---- */

static void test_lseek(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(zonefs_lseek(f, 0, SEEK_DATA), -ENXIO);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(zonefs_lseek(f, 5, SEEK_DATA), 5);
	CHECK_EQ(zonefs_lseek(f, 5, SEEK_HOLE), BS);
	CHECK_EQ(zonefs_lseek(f, BS, SEEK_DATA), -ENXIO);
	CHECK_EQ(zonefs_lseek(f, BS, SEEK_HOLE), -ENXIO);
	CHECK_EQ(zonefs_lseek(f, 0, SEEK_END), -EINVAL);
	t_release(f);
	teardown(&v);
}

/* Blocks of 512 bytes. */
static void test_small_blocks(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_file *f;
	struct env v;

	g.block_size = 512;
	setup_with(&v, &g, "", "strict");
	f = must_open(&v, SEQ(0), O_RDWR | O_DIRECT);
	CHECK_EQ(put(f, STRICT_W, 512, 0, 0), 512);
	CHECK_EQ(put(f, STRICT_W, 1536, 512, 0), 1536);
	CHECK_EQ(put(f, STRICT_W, 100, 2048, 0), -EINVAL);
	expect(f, 2048, 0, 0);
	t_release(f);
	teardown(&v);
}

int main(void)
{
	RUN(test_open);
	RUN(test_open_truncates);
	RUN(test_failing_reset_fails_the_open);
	RUN(test_open_precedence);
	RUN(test_read);
	RUN(test_read_large);
	RUN(test_write_checks_in_order);
	RUN(test_write_protected);
	RUN(test_write_short_at_capacity);
	RUN(test_write_does_not_change_times);
	RUN(test_synchronous_write);
	RUN(test_cut_write);
	RUN(test_cut_write_without_its_rest);
	RUN(test_cut_write_fails);
	RUN(test_limits_of_the_device);
	RUN(test_write_needs_write_access);
	RUN(test_fsync);
	RUN(test_truncate_sequential);
	RUN(test_truncate_same_size_sends_no_command);
	RUN(test_truncate_conventional);
	RUN(test_ftruncate_on_a_read_only_mount);
	RUN(test_lseek);
	RUN(test_small_blocks);
	return 0;
}
