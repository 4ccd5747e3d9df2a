/* SPDX-License-Identifier: BSD-2-Clause */
/* The default personality on sequential files: rules D1 to D10. */
#include <time.h>

#include "gate.h"
#include "zonefs-unit.h"

/* D1, D2: any length, exact to the byte, and so after a remount. */
static void test_any_length(void)
{
	static const size_t lens[] = {
		1, 2, 4093, 1, 4096, 4095, 1, 1, 8192, 5, 100000, 3, 1 << 20, (1 << 20) + 1,
	};
	struct zonefs_file *f;
	uint64_t size = 0;
	struct env v;

	setup(&v, "");
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		f = must_open(&v, SEQ(0), O_RDWR);
		CHECK_EQ(put(f, 0, lens[i], size, 2), lens[i]);
		size += lens[i];
		CHECK_EQ(t_size(&v, SEQ(0)), size);
		CHECK_EQ(t_zone(&v, SEQ(0)).wp, size / BS * BS);
		expect(f, size, 0, 2);
		CHECK_EQ(t_close(f), 0);
		/* Closed and opened: the tail comes back from the device. */
		f = must_open(&v, SEQ(0), O_RDONLY);
		expect(f, size, 0, 2);
		t_release(f);
		do_unmount(&v);
		do_mount(&v, "");
		CHECK_EQ(t_size(&v, SEQ(0)), size);
		f = must_open(&v, SEQ(0), O_RDONLY);
		expect(f, size, 0, 2);
		expect(f, 1, size - 1, 2);
		t_release(f);
	}
	teardown(&v);
}

/* D3: O_APPEND lands at the end, whatever the offset says. */
static void test_append_ignores_the_offset(void)
{
	static const uint64_t offs[] = { 0, 1, CAP, CAP + 1, UINT64_MAX };
	char got[60], want[60];
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR | O_APPEND);
	for (int i = 0; i < 5; i++) {
		char line[12] = "hello world";

		line[0] = (char)('0' + i);
		CHECK_EQ(t_write(f, O_APPEND, line, 12, offs[i]), 12);
		memcpy(want + 12 * i, line, 12);
	}
	CHECK_EQ(t_size(&v, SEQ(0)), 60);
	CHECK_EQ(t_read(f, 0, got, 60, 0), 60);
	CHECK(!memcmp(got, want, 60));
	t_release(f);
	teardown(&v);
}

/* D4: what is skipped reads as zeros. */
static void test_gap(void)
{
	static const uint64_t gaps[] = { 1, 10, 4000, 4096, 5000, 8192, 1 << 20, 1500000 };
	struct zonefs_file *f;
	uint64_t size;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		CHECK_EQ(t_ftruncate(&v, f, 0), 0);
		CHECK_EQ(put(f, 0, 100, 0, 3), 100);
		CHECK_EQ(put(f, 0, 200, 100 + gaps[i], 3), 200);
		size = 300 + gaps[i];
		CHECK_EQ(t_size(&v, SEQ(0)), size);
		expect(f, 100, 0, 3);
		expect_zeros(f, gaps[i], 100);
		expect(f, 200, 100 + gaps[i], 3);
	}
	/* In an empty file. */
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(put(f, 0, 1, CAP - 1, 3), 1);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_FULL);
	expect_zeros(f, CAP - 1, 0);
	expect(f, 1, CAP - 1, 3);
	t_release(f);
	teardown(&v);
}

/* A gap that is stopped ends the file: all that it has is as written, or zeros. */
static void check_stopped_gap(struct env *v, struct zonefs_file *f)
{
	uint64_t size = t_size(v, SEQ(0));

	CHECK(size > BS && size < CAP && size % BS == 0);
	CHECK_EQ(t_zone(v, SEQ(0)).wp, size);
	expect(f, 100, 0, 3);
	expect_zeros(f, size - 100, 100);
}

/* Begin to fill the file up to its capacity; a write of that is held at the gate. */
static void begin_gap(struct env *v, struct gate *g, struct zonefs_setattr_args *a,
		      struct call *grow)
{
	CHECK_EQ(put(a->file, 0, 100, 0, 3), 100);
	gate_shut(g, SEQ(0), BS);
	call_init(grow);
	zonefs_setattr(v->fs, SEQ(0), a, &grow->r);
	gate_await(g);
}

static void test_stopped_gap(void)
{
	struct zonefs_setattr_args a = { .valid = ZONEFS_SET_SIZE, .size = CAP - 1 };
	struct zonefs_file *f;
	struct call grow;
	struct gate *g;
	unsigned told;
	struct env v;

	new_device(&v, &usual, "");
	g = gate_stack(&v.dev);
	do_mount(&v, "");
	f = a.file = must_open(&v, SEQ(0), O_RDWR);
	told = atomic_load(&v.attr_changed);
	begin_gap(&v, g, &a, &grow);
	zonefs_cancel(v.fs, &grow.r);
	gate_open(g);
	CHECK_EQ(call_wait(&grow), -EINTR);
	check_stopped_gap(&v, f);
	CHECK(atomic_load(&v.attr_changed) > told);
	/* It is a file as any other: it goes on at its end. */
	CHECK_EQ(put(f, O_APPEND, 100, 0, 3), 100);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	/* The end of the mount stops it, too. */
	begin_gap(&v, g, &a, &grow);
	zonefs_stop(v.fs);
	gate_open(g);
	CHECK_EQ(call_wait(&grow), -EINTR);
	check_stopped_gap(&v, f);
	t_release(f);
	teardown(&v);
}

/* D5: nothing before the end, short at the capacity, then EFBIG. */
static void test_bounds(void)
{
	static const struct { uint64_t off; size_t len; ssize_t want; } rows[] = {
		{ 0, 1, -EINVAL }, { 999, 1, -EINVAL }, { 999, 2, -EINVAL },
		{ 500, 5000, -EINVAL }, { 0, 0, 0 }, { 500, 0, 0 }, { CAP + 5, 0, 0 },
		{ CAP, 1, -EFBIG }, { CAP + 1, 100, -EFBIG }, { UINT64_MAX, 1, -EFBIG },
	};
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 1000, 0, 3), 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(put(f, 0, rows[i].len, rows[i].off, 9), rows[i].want);
		CHECK_EQ(t_size(&v, SEQ(0)), 1000);
	}
	expect(f, 1000, 0, 3);
	CHECK_EQ(put(f, 0, CAP, 1000, 3), CAP - 1000);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	expect(f, CAP, 0, 3);
	CHECK_EQ(put(f, 0, 1, CAP, 3), -EFBIG);
	CHECK_EQ(put(f, O_APPEND, 1, 0, 3), -EFBIG);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	t_release(f);
	teardown(&v);
}

/* D6 */
static void test_truncate(void)
{
	static const struct { uint64_t from, to; int want; } rows[] = {
		{ 0, 0, 0 }, { 0, 1, 0 }, { 0, BS, 0 }, { 0, CAP, 0 }, { 0, CAP - 1, 0 },
		{ 100, 0, 0 }, { 100, 99, -EPERM }, { 100, 100, 0 }, { 100, 101, 0 },
		{ 100, BS, 0 }, { 100, 3 * BS + 7, 0 }, { 100, CAP, 0 },
		{ 2 * BS, BS, -EPERM }, { 2 * BS, 0, 0 }, { BS + 1, CAP, 0 },
		{ 100, CAP + 1, -EFBIG }, { 100, ZONE_SIZE, -EFBIG }, { 100, ZONE_SIZE + 1, -EFBIG },
		{ CAP, CAP, 0 }, { CAP, 0, 0 }, { CAP, 5, -EPERM },
		{ 100, (uint64_t)INT64_MAX + 1, -EINVAL },
	};
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t to = rows[i].to, from = rows[i].from;

		CHECK_EQ(t_ftruncate(&v, f, 0), 0);
		CHECK_EQ(put(f, 0, from, 0, 4), from);
		CHECK_EQ(i % 2 ? t_truncate(&v, SEQ(0), to) : t_ftruncate(&v, f, to),
			 rows[i].want);
		if (rows[i].want)
			to = from;
		CHECK_EQ(t_size(&v, SEQ(0)), to);
		if (to < from)
			continue;
		expect(f, from, 0, 4);
		expect_zeros(f, to - from, from);
	}
	t_release(f);
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(t_ftruncate(&v, f, 0), -EINVAL);
	t_release(f);
	teardown(&v);
}

/* Extended to within a block: of the size, stored, and there after a remount. */
static void test_truncate_survives(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	CHECK_EQ(t_truncate(&v, SEQ(0), BS + 10), 0);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 10);
	CHECK_EQ(t_truncate(&v, SEQ(0), BS + 20), 0);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect_zeros(f, BS + 20, 0);
	t_release(f);
	/* With O_TRUNC all is gone, the tail too. */
	t_release(must_open(&v, SEQ(0), O_WRONLY | O_TRUNC));
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	teardown(&v);
}

/* A tail in an otherwise empty zone, reset by path. */
static void test_reset_of_less_than_a_block(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 10, 0, 4), 10);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	CHECK_EQ(put(f, 0, 3, 0, 5), 3);
	expect(f, 3, 0, 5);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), 3);
	teardown(&v);
}

/* D7: reads need no alignment, O_DIRECT or not. */
static void test_reads(void)
{
	static const struct { uint64_t off; size_t len; ssize_t want; } rows[] = {
		{ 0, 10, 10 }, { 5, 5000, 5000 }, { BS, 1, 1 }, { BS - 1, 2, 2 },
		{ 2 * BS, 100, 100 }, { 2 * BS + 50, 100, 50 }, { 2 * BS + 99, 5, 1 },
		{ BS + 3, 10 * BS, BS + 97 }, { 2 * BS + 100, 5, 0 }, { CAP, 5, 0 },
	};
	uint8_t *buf = buf_of(10 * BS);
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 2 * BS + 100, 0, 4), 2 * BS + 100);
	for (int flags = 0; flags <= O_DIRECT; flags += O_DIRECT) {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			CHECK_EQ(t_read(f, flags, buf, rows[i].len, rows[i].off), rows[i].want);
			for (ssize_t k = 0; k < rows[i].want; k++)
				CHECK_EQ(buf[k], pattern(rows[i].off + k, 4));
		}
	}
	t_release(f);
	free(buf);
	teardown(&v);
}

/* D8: writes and truncates change mtime and ctime. */
static void test_times(void)
{
	struct zonefs_setattr_args a = {
		.valid = ZONEFS_SET_MTIME | ZONEFS_SET_CTIME,
		.mtime = { 100, 0 }, .ctime = { 100, 0 },
	};
	static const uint64_t inos[] = { SEQ(0), CNV(0) };
	struct zonefs_attr attr;
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	for (int i = 0; i < 2; i++) {
		f = must_open(&v, inos[i], O_RDWR);
		CHECK_EQ(t_setattr(&v, inos[i], &a), 0);
		CHECK_EQ(put(f, 0, 10, 0, 4), 10);
		CHECK_EQ(zonefs_getattr(v.fs, inos[i], &attr), 0);
		CHECK(attr.mtime.tv_sec > 100 && attr.ctime.tv_sec > 100);
		t_release(f);
	}
	CHECK_EQ(t_setattr(&v, SEQ(0), &a), 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), 50), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &attr), 0);
	CHECK(attr.mtime.tv_sec > 100);
	/* Set with the size, as a restoring tool does: what is asked wins. */
	a.valid |= ZONEFS_SET_SIZE;
	a.size = 60;
	CHECK_EQ(t_setattr(&v, SEQ(0), &a), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &attr), 0);
	CHECK_EQ(attr.mtime.tv_sec, 100);
	CHECK_EQ(attr.size, 60);
	teardown(&v);
}

/* D2: a device that has no room for tails. */
static void test_no_room_for_tails(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup(&v, "");
	t_fault(&v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
	f = must_open(&v, SEQ(0), O_RDWR);
	g = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 100, 0, 4), 100);
	CHECK_EQ(put(f, 0, BS, 100, 4), BS);
	expect(f, BS + 100, 0, 4);
	CHECK_EQ(t_close(g), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 100);
	/* fsync completes the block */
	atomic_store(&v.attr_changed, 0);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	CHECK(v.attr_changed);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	CHECK_EQ(put(f, 0, 50, 2 * BS, 4), 50);
	/* so does the last close */
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 3 * BS);
	CHECK_EQ(t_stats(&v).tails_padded, 2);
	/* and a synchronous write, whose caller gets its own length */
	f = must_open(&v, SEQ(1), O_RDWR);
	CHECK_EQ(put(f, O_SYNC, 20, 0, 4), 20);
	CHECK_EQ(t_size(&v, SEQ(1)), BS);
	t_release(f);
	/* and, without a close, the unmount */
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 60, 3 * BS, 4), 60);
	do_unmount(&v);
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(t_size(&v, SEQ(0)), 4 * BS);
	expect(f, 60, 3 * BS, 4);
	expect_zeros(f, BS - 60, 3 * BS + 60);
	t_release(f);
	teardown(&v);
}

/* D9: O_DSYNC flushes what a write has put, tails included. */
static void test_synchronous(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, O_DSYNC, 100, 0, 4), 100);
	t_fault(&v, ZDEV_FLUSH, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 100, 100, 4), 100);
	CHECK_EQ(put(f, O_DSYNC, 100, 200, 4), -EIO);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	CHECK_EQ(t_size(&v, SEQ(0)), 300);
	t_fault(&v, ZDEV_FLUSH, SEQ(0), ENOSPC, 1, 0);
	CHECK_EQ(t_fsync(f), -ENOSPC);
	CHECK_EQ(t_fsync(f), 0);
	expect(f, 300, 0, 4);
	t_release(f);
	teardown(&v);
}

/* Strict does not show a tail that a default mount left, and says so. */
static void test_strict_after_default(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 10, 0, 4), BS + 10);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "strict");
	CHECK_HAS(v.last_log, "1 files end within a block");
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	do_unmount(&v);
	/* Not written meanwhile: it is still there. */
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 10);
	do_unmount(&v);
	do_mount(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, BS, 4), BS);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	teardown(&v);
}

/* The stored tail cannot be read any more: an error, not other bytes. */
static void test_tail_lost_behind_our_back(void)
{
	struct zdev_io drop = { .op = ZDEV_PUT_TAIL, .zno = SEQ(0) };
	struct zonefs_file *f;
	struct env v;
	char buf[10];

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 10, 0, 4), 10);
	t_release(f);
	CHECK_EQ(zdev_run(v.dev, &drop), 0);
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(t_read(f, 0, buf, 10, 0), -EIO);
	CHECK_EQ(put(f, 0, 10, 10, 4), -EIO);
	CHECK_EQ(t_ftruncate(&v, f, CAP), -EIO);
	/* A reset is the way out. */
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(put(f, 0, 10, 0, 4), 10);
	expect(f, 10, 0, 4);
	t_release(f);
	teardown(&v);
}

/* Reads, and the answer of fsync, do not need a mount for writing. */
static void test_read_only_mount(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 5000, 0, 4), 5000);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "ro");
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, 5000, 0, 4);
	CHECK_EQ(t_fsync(f), 0);
	t_release(f);
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EROFS);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -EROFS);
	teardown(&v);
}

/* Blocks of 512 bytes: tails are shorter. */
static void test_small_blocks(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_file *f;
	struct env v;

	g.block_size = 512;
	setup_with(&v, &g, "", "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 513, 0, 4), 513);
	CHECK_EQ(put(f, 0, 1000, 1600, 4), 1000);
	expect(f, 513, 0, 4);
	expect_zeros(f, 1600 - 513, 513);
	expect(f, 1000, 1600, 4);
	CHECK_EQ(t_zone(&v, SEQ(0)).wp, 2560);
	t_release(f);
	teardown(&v);
}

/* D9: a finish has reached the medium when it returns, or says that it has not. */
static void test_finish_is_durable(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 10, 0, 4), BS + 10);
	t_release(f);
	t_fault(&v, ZDEV_FLUSH, ZDEV_ALL_ZONES, EIO, 1, 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), t_zone(&v, SEQ(0)).capacity), -EIO);
	CHECK_EQ(t_truncate(&v, SEQ(1), t_zone(&v, SEQ(1)).capacity), 0);
	teardown(&v);
}

int main(void)
{
	RUN(test_any_length);
	RUN(test_append_ignores_the_offset);
	RUN(test_gap);
	RUN(test_stopped_gap);
	RUN(test_bounds);
	RUN(test_truncate);
	RUN(test_truncate_survives);
	RUN(test_reset_of_less_than_a_block);
	RUN(test_reads);
	RUN(test_times);
	RUN(test_no_room_for_tails);
	RUN(test_synchronous);
	RUN(test_strict_after_default);
	RUN(test_tail_lost_behind_our_back);
	RUN(test_read_only_mount);
	RUN(test_small_blocks);
	RUN(test_finish_is_durable);
	return 0;
}
