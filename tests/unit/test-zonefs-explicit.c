/* SPDX-License-Identifier: BSD-2-Clause */
/* Write-open accounting, explicit-open and the counts of Z13, Z14. */
#include <time.h>

#include "../../src/zonefs/zonefs_i.h"
#include "zonefs-unit.h"

static const struct zdev_geometry limited = {
	.block_size = BS, .zone_size = ZONE_SIZE, .zone_capacity = CAP,
	.nr_zones = NR_ZONES, .nr_conv = NR_CONV, .max_open = 3, .max_active = 4,
};

static void expect_counts(struct env *v, uint32_t nr_wro, uint32_t nr_active)
{
	struct zonefs_stats st = t_stats(v);

	CHECK_EQ(st.nr_wro, nr_wro);
	CHECK_EQ(st.nr_active, nr_active);
}

static uint8_t cond_of(struct env *v, uint64_t ino)
{
	return t_zone(v, (uint32_t)ino).cond;
}

static void test_limits_are_shown(void)
{
	struct env v;

	setup_with(&v, &limited, "", "strict");
	CHECK_EQ(t_stats(&v).max_wro, 3);
	CHECK_EQ(t_stats(&v).max_active, 4);
	expect_counts(&v, 0, 0);
	teardown(&v);
}

/* Without the option writable opens are counted, and nothing is refused. */
static void test_counts_without_the_option(void)
{
	struct zonefs_file *f[5], *r, *c;
	struct env v;

	setup_with(&v, &limited, "", "strict");
	r = must_open(&v, SEQ(0), O_RDONLY);
	c = must_open(&v, CNV(0), O_RDWR);
	expect_counts(&v, 0, 0);
	for (unsigned i = 0; i < 5; i++) {
		f[i] = must_open(&v, SEQ(i), i % 2 ? O_RDWR : O_WRONLY);
		expect_counts(&v, i + 1, 0);
		CHECK_EQ(cond_of(&v, SEQ(i)), BLK_ZONE_COND_EMPTY);
	}
	for (unsigned i = 0; i < 5; i++)
		t_release(f[i]);
	expect_counts(&v, 0, 0);
	t_release(r);
	t_release(c);
	teardown(&v);
}

static void test_counts_with_the_option(void)
{
	struct zonefs_file *f[3], *g, *c;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	for (unsigned i = 0; i < 3; i++) {
		f[i] = must_open(&v, SEQ(i), STRICT_W);
		expect_counts(&v, i + 1, i + 1);
		CHECK_EQ(cond_of(&v, SEQ(i)), BLK_ZONE_COND_EXP_OPEN);
	}
	CHECK_EQ(t_open(&v, SEQ(3), O_WRONLY, &g), -EBUSY);
	CHECK_EQ(t_open(&v, SEQ(3), O_RDWR | O_TRUNC, &g), -EBUSY);
	expect_counts(&v, 3, 3);
	/* Readers, conventional files and further opens of the same file do not count. */
	g = must_open(&v, SEQ(3), O_RDONLY);
	c = must_open(&v, CNV(0), O_RDWR);
	t_release(g);
	g = must_open(&v, SEQ(0), O_WRONLY);
	expect_counts(&v, 3, 3);
	t_release(f[0]);
	expect_counts(&v, 3, 3);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EXP_OPEN);
	t_release(g);
	/* The last close: a reset, as nothing was written. */
	expect_counts(&v, 2, 2);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EMPTY);
	g = must_open(&v, SEQ(3), O_WRONLY);
	t_release(g);
	CHECK_EQ(put(f[1], STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(cond_of(&v, SEQ(1)), BLK_ZONE_COND_EXP_OPEN);
	t_release(f[1]);
	CHECK_EQ(cond_of(&v, SEQ(1)), BLK_ZONE_COND_CLOSED);
	expect_counts(&v, 1, 2);
	t_release(f[2]);
	expect_counts(&v, 0, 1);
	t_release(c);
	teardown(&v);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/*
 * At the limit an open waits a moment for releases that are on their way. It
 * waits when zonefs_open returns; where the release comes late, for the machine
 * is slow, it may fail, and the test begins anew.
 */
static void test_open_waits_for_a_release(void)
{
	struct zonefs_file *f[3], *g;
	struct call open;
	int64_t start;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	for (unsigned i = 0; i < 3; i++)
		f[i] = must_open(&v, SEQ(i), STRICT_W);
	for (;;) {
		start = now_ms();
		call_init(&open);
		zonefs_open(v.fs, SEQ(3), STRICT_W, &g, &open.r);
		t_release(f[0]);
		start = now_ms() - start;
		if (!call_wait(&open))
			break;
		CHECK_EQ(open.result, -EBUSY);
		CHECK(start >= ZONEFS_PARK_MS);
		f[0] = must_open(&v, SEQ(0), STRICT_W);
	}
	expect_counts(&v, 3, 3);
	t_release(g);
	t_release(f[1]);
	t_release(f[2]);
	teardown(&v);
}

/* The device's own limits come through, and undo the count. */
static void test_open_command_fails(void)
{
	static const int errs[] = { ETOOMANYREFS, EOVERFLOW, EIO };
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	for (int i = 0; i < 3; i++) {
		t_fault(&v, ZDEV_OPEN, SEQ(0), errs[i], 1, 0);
		CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -errs[i]);
		expect_counts(&v, 0, 0);
		CHECK_EQ(t_stats(&v).recoveries, 0);
	}
	t_release(must_open(&v, SEQ(0), O_WRONLY));
	teardown(&v);
}

/* With max_open 0 only the device refuses: four active zones are all it has. */
static void test_only_max_active(void)
{
	struct zdev_geometry g = limited;
	struct zonefs_file *f[5];
	struct env v;

	g.max_open = 0;
	setup_with(&v, &g, "", "strict,explicit-open");
	for (unsigned i = 0; i < 4; i++)
		f[i] = must_open(&v, SEQ(i), O_WRONLY);
	CHECK_EQ(t_open(&v, SEQ(4), O_WRONLY, &f[4]), -EOVERFLOW);
	expect_counts(&v, 4, 4);
	for (unsigned i = 0; i < 4; i++)
		t_release(f[i]);
	teardown(&v);
}

static void test_full_file_sends_no_command(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	CHECK_EQ(t_truncate(&v, SEQ(0), CAP), 0);
	t_fault(&v, ZDEV_OPEN, SEQ(0), EIO, 0, 0);
	t_fault(&v, ZDEV_CLOSE, SEQ(0), EIO, 0, 0);
	f = must_open(&v, SEQ(0), STRICT_W);
	expect_counts(&v, 1, 0);
	/* Emptied: no open command, the next write opens implicitly. */
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EMPTY);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_IMP_OPEN);
	expect_counts(&v, 1, 1);
	t_release(f);
	expect_counts(&v, 0, 1);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	teardown(&v);
}

static void test_full_clears_the_marks(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	t_fault(&v, ZDEV_CLOSE, SEQ(0), EIO, 0, 0);
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, CAP, 0, 0), CAP);
	expect_counts(&v, 1, 0);
	t_release(f);
	expect_counts(&v, 0, 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(t_ftruncate(&v, f, CAP), 0);
	expect_counts(&v, 1, 0);
	t_release(f);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	teardown(&v);
}

static void test_truncate_reopens(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EXP_OPEN);
	expect_counts(&v, 1, 1);
	/* The failure of that is returned, the size is 0 anyway. */
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	t_fault(&v, ZDEV_OPEN, SEQ(0), ETOOMANYREFS, 1, 0);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -ETOOMANYREFS);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	expect_counts(&v, 1, 0);
	t_release(f);
	expect_counts(&v, 0, 0);
	/* O_TRUNC: opened, reset, opened. */
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	t_release(f);
	f = must_open(&v, SEQ(0), STRICT_W | O_TRUNC);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EXP_OPEN);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	t_release(f);
	/* Its reset fails: the zone is not left open. */
	t_fault(&v, ZDEV_RESET, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_open(&v, SEQ(0), STRICT_W | O_TRUNC, &f), -EIO);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_CLOSED);
	expect_counts(&v, 0, 1);
	teardown(&v);
}

/* close(2) still returns 0; the mark remained, so the mount turns read-only. */
static void test_close_command_fails(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict,explicit-open,errors=repair");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	t_fault(&v, ZDEV_CLOSE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	CHECK(t_stats(&v).read_only);
	expect_counts(&v, 0, 1);
	teardown(&v);
	/* A zone that is bad loses its mark, and nothing else happens. */
	setup_with(&v, &limited, "", "strict,explicit-open,errors=repair");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), BS);
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(0), BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	CHECK(!t_stats(&v).read_only);
	CHECK_EQ(t_mode(&v, SEQ(0)), 0440);
	expect_counts(&v, 0, 0);
	teardown(&v);
	/* So does one that an error has marked before: close sends no command. */
	setup_with(&v, &limited, "", "strict,explicit-open,errors=zone-ro");
	f = must_open(&v, SEQ(0), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 0), -EIO);
	t_fault(&v, ZDEV_RESET, SEQ(0), EIO, 0, 0);
	expect_counts(&v, 1, 0);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	expect_counts(&v, 0, 0);
	teardown(&v);
}

/* 0515: active after a write, same after a remount, down when filled or emptied. */
static void test_active_files(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "strict");
	for (unsigned i = 0; i < 4; i++) {
		f = must_open(&v, SEQ(i), STRICT_W);
		CHECK_EQ(put(f, STRICT_W, 1 << 20, 0, 0), 1 << 20);
		t_release(f);
		expect_counts(&v, 0, i + 1);
	}
	do_unmount(&v);
	do_mount(&v, "strict");
	expect_counts(&v, 0, 4);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), 0);
	expect_counts(&v, 0, 3);
	CHECK_EQ(t_truncate(&v, SEQ(1), CAP), 0);
	expect_counts(&v, 0, 2);
	f = must_open(&v, SEQ(2), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, CAP, 1 << 20, 0), CAP - (1 << 20));
	expect_counts(&v, 1, 1);
	t_release(f);
	teardown(&v);
}

/* A tail is not a reason to be active, nor to be reset at the last close. */
static void test_default_tail_survives_the_close(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "explicit-open");
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 100, 0, 0), 100);
	expect_counts(&v, 1, 1);
	t_release(f);
	expect_counts(&v, 0, 0);
	CHECK_EQ(cond_of(&v, SEQ(0)), BLK_ZONE_COND_EMPTY);
	do_unmount(&v);
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);
	expect(f, 100, 0, 0);
	t_release(f);
	teardown(&v);
}

/* Default: an active limit is an error for one writer, not for the mount. */
static void test_default_active_limit(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_with(&v, &limited, "", "");
	for (unsigned i = 0; i < 5; i++) {
		f = must_open(&v, SEQ(i), O_WRONLY);
		CHECK_EQ(put(f, 0, BS, 0, 0), i < 4 ? (int)BS : -EOVERFLOW);
		t_release(f);
	}
	CHECK(!t_stats(&v).read_only);
	CHECK_EQ(t_truncate(&v, SEQ(0), CAP), 0);
	f = must_open(&v, SEQ(4), O_WRONLY);
	CHECK_EQ(put(f, 0, BS, 0, 0), BS);
	t_release(f);
	teardown(&v);
}

int main(void)
{
	RUN(test_limits_are_shown);
	RUN(test_counts_without_the_option);
	RUN(test_counts_with_the_option);
	RUN(test_open_waits_for_a_release);
	RUN(test_open_command_fails);
	RUN(test_only_max_active);
	RUN(test_full_file_sends_no_command);
	RUN(test_full_clears_the_marks);
	RUN(test_truncate_reopens);
	RUN(test_close_command_fails);
	RUN(test_active_files);
	RUN(test_default_tail_survives_the_close);
	RUN(test_default_active_limit);
	return 0;
}
