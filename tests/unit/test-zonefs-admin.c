/* SPDX-License-Identifier: BSD-2-Clause */
/* Zone commands by number, also on zones whose file is open; cancelling; counters. */
#include "zonefs-unit.h"

static void test_what_takes_no_command(void)
{
	struct env v;

	setup(&v, "");
	for (int op = ZONEFS_ADM_RESET; op <= ZONEFS_ADM_SEAL; op++) {
		CHECK_EQ(t_admin(&v, op, 0), -EPERM);
		CHECK_EQ(t_admin(&v, op, CNV(0)), -EIO);
		CHECK_EQ(t_admin(&v, op, NR_ZONES), -EINVAL);
		CHECK_EQ(t_admin(&v, op, UINT32_MAX), -EINVAL);
	}
	teardown(&v);
}

static void check_commands(const char *options, int flags)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, options);
	f = must_open(&v, SEQ(0), flags);
	CHECK_EQ(put(f, flags, BS, 0, 1), BS);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(0)), 0);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_OPEN, SEQ(0)), 0);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_EXP_OPEN);
	CHECK_EQ(put(f, flags, BS, BS, 1), BS);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(t_stats(&v).nr_active, 0);
	CHECK_EQ(put(f, flags, BS, 0, 1), BS);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_FINISH, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	CHECK_EQ(put(f, flags, BS, CAP, 1), -EFBIG);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_OPEN, SEQ(0)), -EIO);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(0)), -EIO);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, SEQ(0)), 0);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(0)), -EIO);
	CHECK(v.attr_changed);
	t_release(f);
	/* Open by command, without any file: it counts, and the close undoes it. */
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_OPEN, SEQ(1)), 0);
	CHECK_EQ(t_stats(&v).nr_active, 1);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(1)), 0);
	CHECK_EQ(t_stats(&v).nr_active, 0);
	/* Left open: the unmount closes it. */
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_OPEN, SEQ(1)), 0);
	do_unmount(&v);
	CHECK_EQ(t_zone(&v, SEQ(1)).cond, BLK_ZONE_COND_EMPTY);
	teardown(&v);
}

static void test_commands(void)
{
	check_commands("", O_WRONLY);
	check_commands("strict", STRICT_W);
}

/* A zone that somebody opened by command stays open over a file's last close. */
static void test_open_by_command_outlasts_files(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_file *f;
	struct env v;

	g.max_open = 4;
	setup_with(&v, &g, "", "strict,explicit-open");
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_OPEN, SEQ(0)), 0);
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), BS);
	t_release(f);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_EXP_OPEN);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(0)), 0);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_CLOSED);
	/* The other way round: the writer goes on by implicit opens. */
	f = must_open(&v, SEQ(1), STRICT_W);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_CLOSE, SEQ(1)), 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), BS);
	CHECK_EQ(t_zone(&v, SEQ(1)).cond, BLK_ZONE_COND_IMP_OPEN);
	t_release(f);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	teardown(&v);
}

static void test_seal(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	expect(f, 100, 0, 1);
	expect_zeros(f, BS - 100, 100);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	CHECK_EQ(put(f, 0, 2 * BS + 1, BS, 1), 2 * BS + 1);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	t_release(f);
	/* Of a file that nobody has open, from the stored tail. */
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 4 * BS);
	CHECK_EQ(t_zone(&v, SEQ(0)).wp, 4 * BS);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, 2 * BS + 1, BS, 1);
	expect_zeros(f, BS - 1, 3 * BS + 1);
	t_release(f);
	teardown(&v);
}

/* Finish keeps the bytes of the tail. */
static void test_finish_seals_first(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 5, 0, 1), BS + 5);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_FINISH, SEQ(0)), 0);
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP);
	expect(f, BS + 5, 0, 1);
	expect_zeros(f, BS, BS + 5);
	t_release(f);
	teardown(&v);
}

static void test_protected_files(void)
{
	struct env v;

	new_device(&v, &usual, "");
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(0), BLK_ZONE_COND_READONLY), 0);
	do_mount(&v, "");
	for (int op = ZONEFS_ADM_RESET; op <= ZONEFS_ADM_SEAL; op++)
		CHECK_EQ(t_admin(&v, op, SEQ(0)), -EPERM);
	do_unmount(&v);
	do_mount(&v, "ro");
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, SEQ(1)), -EROFS);
	teardown(&v);
}

static void test_failing_command(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	t_fault(&v, ZDEV_RESET, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, SEQ(0)), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	expect(f, 100, 0, 1);
	t_release(f);
	teardown(&v);
}

static void test_lengths(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(3), O_RDWR);
	CHECK_EQ(put(f, 0, 12345, 0, 1), 12345);
	CHECK_EQ(zonefs_zone_len(v.fs, SEQ(3)), 12345);
	CHECK_EQ(zonefs_zone_len(v.fs, SEQ(4)), 0);
	CHECK_EQ(zonefs_zone_len(v.fs, 0), 0);
	CHECK_EQ(zonefs_zone_len(v.fs, NR_ZONES), 0);
	t_release(f);
	teardown(&v);
}

static void test_counters(void)
{
	struct zonefs_stats st;
	struct zonefs_file *f;
	struct env v;
	char buf[100];

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 10, 0, 1), BS + 10);
	CHECK_EQ(put(f, 0, 10, 0, 1), -EINVAL);
	CHECK_EQ(t_read(f, 0, buf, 100, 0), 100);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_ftruncate(&v, f, CAP), 0);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	st = t_stats(&v);
	CHECK_EQ(st.nr_files, NR_ZONES - 1);
	CHECK_EQ(st.nr_cnv, NR_CONV - 1);
	CHECK_EQ(st.nr_seq, NR_SEQ);
	CHECK_EQ(st.writes, 2);
	CHECK_EQ(st.write_bytes, BS + 10);
	CHECK_EQ(st.reads, 1);
	CHECK_EQ(st.read_bytes, 100);
	CHECK_EQ(st.fsyncs, 1);
	CHECK_EQ(st.resets, 1);
	CHECK_EQ(st.finishes, 1);
	CHECK_EQ(st.tails_put, 1);
	CHECK_EQ(st.tails_padded, 1);
	CHECK_EQ(st.io_errors, 0);
	t_release(f);
	teardown(&v);
}

/* ---- cancelling ---- */

/* Many writes queued behind a long one; those that still wait can be cancelled. */
static void test_cancel(void)
{
	enum { NR = 64 };
	struct call big, call[NR];
	uint8_t *data = buf_of(CAP);
	struct zonefs_file *f;
	unsigned cut = 0, done = 0;
	struct env v;

	setup(&v, "");
	memset(data, 1, CAP);
	f = must_open(&v, SEQ(0), O_WRONLY);
	call_init(&big);
	zonefs_write(f, O_APPEND, data, CAP - NR * BS, 0, &big.r);
	for (int i = 0; i < NR; i++) {
		call_init(&call[i]);
		zonefs_write(f, O_APPEND, data, BS, 0, &call[i].r);
	}
	for (int i = NR - 1; i >= 0; i -= 2)
		zonefs_cancel(v.fs, &call[i].r);
	CHECK_EQ(call_wait(&big), CAP - NR * BS);
	for (int i = 0; i < NR; i++) {
		ssize_t n = call_wait(&call[i]);

		CHECK(n == BS || (n == -EINTR && i % 2));
		cut += n == -EINTR;
		done += n == BS;
	}
	CHECK_EQ(cut + done, NR);
	CHECK_EQ(t_size(&v, SEQ(0)), CAP - cut * (uint64_t)BS);
	/* Cancelling what is over does nothing. */
	zonefs_cancel(v.fs, &big.r);
	t_release(f);
	teardown(&v);
	free(data);
}

/* An open that waits, cancelled, leaves nothing behind. */
static void test_cancel_an_open(void)
{
	struct zonefs_file *f, *g = NULL;
	uint8_t *data = buf_of(CAP);
	struct call big, open;
	struct env v;
	ssize_t ret;

	setup(&v, "");
	memset(data, 1, CAP);
	f = must_open(&v, SEQ(0), O_WRONLY);
	call_init(&big);
	call_init(&open);
	zonefs_write(f, 0, data, CAP, 0, &big.r);
	zonefs_open(v.fs, SEQ(0), O_WRONLY, &g, &open.r);
	zonefs_cancel(v.fs, &open.r);
	CHECK_EQ(call_wait(&big), CAP);
	ret = call_wait(&open);
	CHECK(ret == 0 || ret == -EINTR);
	if (!ret)
		t_release(g);
	t_release(f);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	teardown(&v);
	free(data);
}

/* A release without its request: unmount frees what is still open. */
static void test_unmount_with_open_files(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_WRONLY);
	must_open(&v, SEQ(0), O_RDONLY);
	must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(put(f, 0, 1000, 0, 0), 1000);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), 1000);
	teardown(&v);
}

int main(void)
{
	RUN(test_what_takes_no_command);
	RUN(test_commands);
	RUN(test_open_by_command_outlasts_files);
	RUN(test_seal);
	RUN(test_finish_seals_first);
	RUN(test_protected_files);
	RUN(test_failing_command);
	RUN(test_lengths);
	RUN(test_counters);
	RUN(test_cancel);
	RUN(test_cancel_an_open);
	RUN(test_unmount_with_open_files);
	return 0;
}
