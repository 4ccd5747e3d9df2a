/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Staging on a device in RAM: what is acknowledged from memory is there for
 * every call at once, goes to the device in its turn, and when it cannot, each
 * open file is told once and what is lost is a suffix.
 */
#include "gate.h"
#include "zonefs-unit.h"

#define STAGED	"append_buffer=1M"

static uint64_t wp(struct env *v, uint32_t zno)
{
	return t_zone(v, zno).wp;
}

/* The writer needs a moment. */
static void await_wp(struct env *v, uint32_t zno, uint64_t want)
{
	for (int i = 0; i < 5000 && wp(v, zno) != want; i++)
		usleep(1000);
	CHECK_EQ(wp(v, zno), want);
}

static void await_late(struct env *v, uint64_t n)
{
	for (int i = 0; i < 5000 && t_stats(v).late_errors != n; i++)
		usleep(1000);
	CHECK_EQ(t_stats(v).late_errors, n);
}

static void test_there_at_once(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup(&v, STAGED);
	f = must_open(&v, SEQ(0), O_WRONLY);
	g = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);
	expect(g, 100, 0, 1);
	CHECK_EQ(wp(&v, SEQ(0)), 0);
	CHECK_EQ(put(f, 0, 3 * BS, 100, 1), 3 * BS);
	CHECK_EQ(t_size(&v, SEQ(0)), 3 * BS + 100);
	expect(g, 3 * BS + 100, 0, 1);
	/* Whole blocks follow at once, the rest waits. */
	await_wp(&v, SEQ(0), 3 * BS);
	expect(g, 3 * BS + 100, 0, 1);
	CHECK_EQ(t_stats(&v).tails_put, 0);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_stats(&v).tails_put, 1);
	CHECK_EQ(t_stats(&v).staged_bytes, 0);
	CHECK_EQ(put(f, O_APPEND, 50, 0, 0), 50);
	CHECK_EQ(put(f, 0, 10, 0, 0), -EINVAL);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_stats(&v).tails_put, 2);
	expect(g, 3 * BS + 100, 0, 1);
	t_release(g);
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), 3 * BS + 150);
	teardown(&v);
}

/* More than the buffer of the zone, and than that of the mount. */
static void test_back_pressure(void)
{
	struct zonefs_file *f[4];
	uint64_t pos[4] = { 0 };
	struct env v;

	setup(&v, "append_buffer=512K,buffers=1M");
	for (unsigned k = 0; k < 4; k++)
		f[k] = must_open(&v, SEQ(k), O_RDWR);
	for (unsigned i = 0; i < 12; i++)
		for (unsigned k = 0; k < 4; k++) {
			size_t len = (200 << 10) + 77;

			CHECK_EQ(put(f[k], 0, len, pos[k], k), len);
			pos[k] += len;
		}
	for (unsigned k = 0; k < 4; k++) {
		expect(f[k], pos[k], 0, k);
		CHECK_EQ(put(f[k], 0, CAP, pos[k], k), CAP - pos[k]);
		CHECK_EQ(put(f[k], 0, 1, CAP, k), -EFBIG);
		expect(f[k], CAP, 0, k);
		CHECK_EQ(t_close(f[k]), 0);
	}
	CHECK(t_stats(&v).arena_bytes <= 1 << 20);
	teardown(&v);
}

static void test_interval(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, STAGED ",flush_interval=1");
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	for (int i = 0; i < 5000 && !t_stats(&v).tails_put; i++)
		usleep(1000);
	CHECK_EQ(t_stats(&v).tails_put, 1);
	/* Nothing is staged: the memory goes back, too. */
	for (int i = 0; i < 5000 && t_stats(&v).arena_bytes; i++)
		usleep(1000);
	CHECK_EQ(t_stats(&v).arena_bytes, 0);
	t_release(f);
	teardown(&v);
}

/* What others do to the zone finds it as it would be without staging. */
static void test_order(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, STAGED);
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 5000, 0, 1), 5000);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(put(f, 0, 6000, 0, 2), 6000);
	CHECK_EQ(t_ftruncate(&v, f, 7000), 0);
	expect(f, 6000, 0, 2);
	expect_zeros(f, 1000, 6000);
	CHECK_EQ(put(f, 0, 10, 7000, 2), 10);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	/* A gap, and one that begins in memory. */
	CHECK_EQ(put(f, 0, 10, 2 * BS, 2), 10);
	CHECK_EQ(put(f, 0, 10, 3 * BS, 2), 10);
	expect_zeros(f, BS - 10, 2 * BS + 10);
	CHECK_EQ(put(f, 0, 10, 3 * BS + 10, 2), 10);
	CHECK_EQ(put(f, O_DSYNC, 10, 3 * BS + 20, 2), 10);
	CHECK_EQ(t_stats(&v).staged_bytes, 0);
	expect(f, 30, 3 * BS, 2);
	CHECK_EQ(put(f, 0, 10, 3 * BS + 30, 2), 10);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_FINISH, SEQ(0)), 0);
	expect(f, 40, 3 * BS, 2);
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(t_close(f), 0);
	/* An open that empties the file; one closed by nobody is drained in the end. */
	f = must_open(&v, SEQ(0), O_RDWR | O_TRUNC);
	CHECK_EQ(put(f, 0, BS + 7, 0, 3), BS + 7);
	CHECK_EQ(zonefs_sync(v.fs), 0);
	CHECK_EQ(wp(&v, SEQ(0)), BS);
	CHECK_EQ(put(f, 0, BS, BS + 7, 3), BS);
	do_unmount(&v);
	do_mount(&v, STAGED);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, 2 * BS + 7, 0, 3);
	t_release(f);
	teardown(&v);
}

/* ---- late errors ---- */

static void test_late_error_is_told_once_each(void)
{
	struct zonefs_file *f, *g, *h;
	struct env v;

	setup(&v, STAGED ",errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	g = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 100, 0, 1), BS + 100);
	CHECK_EQ(t_fsync(f), 0);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 3 * BS, BS + 100, 1), 3 * BS);
	await_late(&v, 1);
	/* A suffix is lost; what was durable, tail included, is not. */
	CHECK_EQ(put(f, 0, 10, 4 * BS + 100, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 100);
	CHECK(atomic_load(&v.attr_changed) >= 1);
	expect(f, BS + 100, 0, 1);
	/* It does not go on behind the hole, told or not. */
	CHECK_EQ(put(f, 0, 10, 4 * BS + 100, 1), -EIO);
	CHECK_EQ(t_fsync(f), 0);
	/* The other is told once as well, a newcomer is not. */
	CHECK_EQ(t_fsync(g), -EIO);
	CHECK_EQ(t_fsync(g), 0);
	h = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(t_close(h), 0);
	CHECK_EQ(put(g, 0, 3 * BS, BS + 100, 1), 3 * BS);
	CHECK_EQ(t_close(g), 0);
	expect(f, 4 * BS + 100, 0, 1);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_stats(&v).late_errors, 1);
	CHECK_EQ(t_stats(&v).recoveries, 1);
	teardown(&v);
}

static void test_late_errors_and_their_ends(void)
{
	static const struct {
		int		err;
		const char	*options;
		bool		ro;
	} row[] = {
		{ ENOSPC, STAGED, false },
		{ EIO, STAGED, true },
		{ EIO, STAGED ",errors=zone-ro", false },
		{ EIO, STAGED ",errors=zone-offline", false },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct zonefs_file *f, *g;
		struct env v;

		setup(&v, row[i].options);
		f = must_open(&v, SEQ(0), O_WRONLY);
		g = must_open(&v, SEQ(1), O_WRONLY);
		t_fault(&v, ZDEV_WRITE, SEQ(0), row[i].err, 0, BS);
		CHECK_EQ(put(g, 0, 4 * BS + 5, 0, 1), 4 * BS + 5);
		CHECK_EQ(put(f, 0, 4 * BS + 5, 0, 1), 4 * BS + 5);
		await_late(&v, 1);
		CHECK_EQ(t_close(f), -row[i].err);
		/* A block landed before the failure: it was acknowledged, it counts. */
		CHECK_EQ(t_size(&v, SEQ(0)), i == 3 ? 0 : BS);
		CHECK_EQ(t_stats(&v).read_only, row[i].ro);
		/* The neighbour's bytes are safe whatever became of the mount. */
		CHECK_EQ(t_close(g), 0);
		CHECK_EQ(t_size(&v, SEQ(1)), 4 * BS + 5);
		t_fault(&v, ZDEV_WRITE, SEQ(0), 0, 0, 0);
		teardown(&v);
	}
}

static void test_late_tail_error(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, STAGED);
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	CHECK_EQ(t_fsync(f), 0);
	t_fault(&v, ZDEV_PUT_TAIL, SEQ(0), ENOSPC, 1, 0);
	CHECK_EQ(put(f, 0, 100, 100, 1), 100);
	CHECK_EQ(t_fsync(f), -ENOSPC);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);
	expect(f, 100, 0, 1);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
}

static void test_zone_turns_bad_under_a_full_buffer(void)
{
	static const uint8_t conds[] = { BLK_ZONE_COND_READONLY, BLK_ZONE_COND_OFFLINE };

	for (unsigned i = 0; i < 2; i++) {
		struct zonefs_file *f;
		struct env v;

		setup(&v, STAGED ",errors=repair");
		f = must_open(&v, SEQ(0), O_RDWR);
		CHECK_EQ(put(f, 0, 2 * BS, 0, 1), 2 * BS);
		CHECK_EQ(t_fsync(f), 0);
		CHECK_EQ(zdev_set_cond(v.dev, SEQ(0), conds[i]), 0);
		CHECK_EQ(put(f, 0, 3 * BS, 2 * BS, 1), 3 * BS);
		CHECK_EQ(t_fsync(f), -EIO);
		CHECK_EQ(t_size(&v, SEQ(0)), i ? 0 : 2 * BS);
		CHECK_EQ(put(f, 0, 1, 2 * BS, 1), -EPERM);
		CHECK_EQ(t_close(f), 0);
		teardown(&v);
	}
}

/* With no file left to be told, the unmount says it. */
static void test_unheard_error(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, STAGED ",errors=repair");
	f = must_open(&v, SEQ(0), O_WRONLY);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 0, 0);
	CHECK_EQ(put(f, 0, 3 * BS, 0, 1), 3 * BS);
	t_release(f);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(zonefs_unmount(v.fs), -EIO);
	v.fs = NULL;
	teardown(&v);
}

/* ---- a device without room for tails ---- */

static void setup_without_tails(struct env *v, const char *options)
{
	setup(v, options);
	t_fault(v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
}

static void await_unstaged(struct env *v)
{
	for (int i = 0; i < 5000 && t_stats(v).staged_bytes; i++)
		usleep(1000);
	CHECK_EQ(t_stats(v).staged_bytes, 0);
}

/* A close, the clock and more appends leave the rest in the arena; fsync does not. */
static void test_rest_stays_in_the_arena(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup_without_tails(&v, STAGED ",flush_interval=1");
	f = must_open(&v, SEQ(0), O_RDWR);
	g = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	CHECK_EQ(t_close(g), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);
	CHECK_EQ(t_stats(&v).staged_bytes, 0);
	expect(f, 100, 0, 1);
	/* It goes on from there, with no way around the arena. */
	CHECK_EQ(put(f, 0, 50, 100, 1), 50);
	CHECK_EQ(t_stats(&v).staged_bytes, 150);
	await_unstaged(&v);
	expect(f, 150, 0, 1);
	CHECK_EQ(put(f, 0, 3 * BS, 150, 1), 3 * BS);
	await_wp(&v, SEQ(0), 3 * BS);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(put(f, O_APPEND, 400 << 10, 3 * BS + 150, 1), 400 << 10);
	CHECK_EQ(t_flush(f), 0);
	expect(f, (400 << 10) + 3 * BS + 150, 0, 1);
	/* Only what rests holds memory; then nothing does. */
	for (int i = 0; i < 5000 && t_stats(&v).arena_bytes > 256 << 10; i++)
		usleep(1000);
	CHECK_EQ(t_stats(&v).arena_bytes, 256 << 10);
	CHECK_EQ(t_stats(&v).tails_padded, 0);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	CHECK_EQ(t_size(&v, SEQ(0)), (400 << 10) + 4 * BS);
	CHECK_EQ(put(f, 0, BS, (400 << 10) + 4 * BS, 1), BS);
	for (int i = 0; i < 5000 && t_stats(&v).arena_bytes; i++)
		usleep(1000);
	CHECK_EQ(t_stats(&v).arena_bytes, 0);
	CHECK_EQ(put(f, 0, 7, (400 << 10) + 5 * BS, 1), 7);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), (400 << 10) + 6 * BS);
	CHECK_EQ(t_stats(&v).tails_padded, 2);
	teardown(&v);
}

/* Whatever else is done to the file finds the rest, and ends it. */
static void test_rest_and_others(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_without_tails(&v, STAGED);
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 10, 0, 2), 10);
	CHECK_EQ(t_flush(f), 0);
	/* A gap within the block, and one across blocks. */
	CHECK_EQ(put(f, 0, 10, 20, 2), 10);
	CHECK_EQ(put(f, 0, 10, 30, 2), 10);
	CHECK_EQ(t_flush(f), 0);
	expect(f, 10, 0, 2);
	expect_zeros(f, 10, 10);
	expect(f, 20, 20, 2);
	CHECK_EQ(put(f, 0, 10, 3 * BS + 5, 2), 10);
	expect(f, 20, 20, 2);
	expect_zeros(f, 3 * BS - 35, 40);
	expect(f, 10, 3 * BS + 5, 2);
	CHECK_EQ(t_ftruncate(&v, f, 3 * BS + 20), 0);
	expect_zeros(f, 5, 3 * BS + 15);
	CHECK_EQ(t_stats(&v).tails_padded, 0);
	CHECK_EQ(put(f, O_DSYNC, 10, 3 * BS + 20, 2), 10);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	CHECK_EQ(t_size(&v, SEQ(0)), 4 * BS);
	expect(f, 10, 3 * BS + 20, 2);
	CHECK_EQ(put(f, 0, 10, 4 * BS, 2), 10);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(put(f, 0, 9, 0, 3), 9);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	CHECK_EQ(put(f, 0, 9, BS, 3), 9);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(t_ftruncate(&v, f, CAP), 0);
	expect(f, 9, BS, 3);
	/* The room comes: the rest is stored as any tail. */
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	CHECK_EQ(put(f, 0, 9, 0, 3), 9);
	CHECK_EQ(t_flush(f), 0);
	t_fault(&v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, 0, 0, 0);
	CHECK_EQ(put(f, 0, 9, 9, 3), 9);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 18);
	/* And with nobody to close the file, the unmount completes it. */
	t_fault(&v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
	CHECK_EQ(put(f, 0, 9, 18, 3), 9);
	CHECK_EQ(t_flush(f), 0);
	do_unmount(&v);
	do_mount(&v, STAGED);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, 27, 0, 3);
	expect_zeros(f, BS - 27, 27);
	t_release(f);
	teardown(&v);
}

/* What follows the rest is lost: it stays, was it stored once or not. */
static void test_rest_and_late_error(void)
{
	static const int errs[] = { ENOSPC, EIO };

	for (unsigned i = 0; i < 4; i++) {
		int err = errs[i % 2];
		struct zonefs_file *f;
		struct env v, below;
		struct gate *g;

		new_device(&v, &usual, "");
		below.dev = v.dev;
		g = gate_stack(&v.dev);
		do_mount(&v, STAGED ",errors=repair");
		f = must_open(&v, SEQ(0), O_RDWR);
		if (i < 2)
			t_fault(&below, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
		CHECK_EQ(put(f, 0, BS + 100, 0, 1), BS + 100);
		CHECK_EQ(t_flush(f), 0);
		t_fault(&below, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
		t_fault(&below, ZDEV_WRITE, SEQ(0), err, 1, 0);
		/* More than a segment is acknowledged before the write fails. */
		gate_shut(g, SEQ(0), BS);
		CHECK_EQ(put(f, 0, 300 << 10, BS + 100, 1), 300 << 10);
		gate_await(g);
		gate_open(g);
		CHECK_EQ(t_flush(f), -err);
		CHECK_EQ(t_size(&v, SEQ(0)), BS + 100);
		expect(f, BS + 100, 0, 1);
		CHECK_EQ(put(f, O_APPEND, 5, BS + 100, 1), 5);
		CHECK_EQ(t_flush(f), 0);
		CHECK_EQ(t_fsync(f), 0);
		CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
		expect(f, BS + 105, 0, 1);
		CHECK_EQ(t_close(f), 0);
		teardown(&v);
	}
}

/* No room in the arena either: the block is completed before the answer. */
static void test_rest_without_room(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup_without_tails(&v, "append_buffer=256K,buffers=256K,errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	g = must_open(&v, SEQ(1), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	CHECK_EQ(t_flush(f), 0);
	atomic_store(&v.attr_changed, 0);
	CHECK_EQ(put(g, 0, BS + 100, 0, 2), BS + 100);
	CHECK_EQ(atomic_load(&v.attr_changed), 1);
	CHECK_EQ(wp(&v, SEQ(1)), 2 * BS);
	CHECK_EQ(t_size(&v, SEQ(1)), 2 * BS);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	expect(g, BS + 100, 0, 2);
	expect_zeros(g, BS - 100, BS + 100);
	/* The first may go on: it has its place. */
	CHECK_EQ(put(f, 0, 100, 100, 1), 100);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(t_stats(&v).tails_padded, 1);
	/* What was not acknowledged does not count. */
	t_fault(&v, ZDEV_WRITE, SEQ(1), ENOSPC, 1, 0);
	CHECK_EQ(put(g, O_APPEND, 10, 0, 2), -ENOSPC);
	CHECK_EQ(t_size(&v, SEQ(1)), 2 * BS);
	/* The place is free again: the next one gets it. */
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(put(g, 0, 10, 2 * BS, 2), 10);
	CHECK_EQ(t_size(&v, SEQ(1)), 2 * BS + 10);
	expect(g, 10, 2 * BS, 2);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(t_close(g), 0);
	teardown(&v);
}

/* ---- readers that go past us ---- */

static int through(struct env *v, uint64_t ino, bool on)
{
	return (int)WAIT(zonefs_set_through(v->fs, ino, on, &c.r));
}

static void test_through(void)
{
	struct zonefs_file *f;
	struct env v;
	int fd;

	setup(&v, STAGED);
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, BS + 10, 0, 1), BS + 10);
	CHECK_EQ(through(&v, SEQ(0), true), 0);
	CHECK_EQ(wp(&v, SEQ(0)), BS);
	CHECK_EQ(t_stats(&v).tails_put, 1);
	CHECK_EQ(put(f, 0, BS, BS + 10, 1), BS);
	CHECK_EQ(wp(&v, SEQ(0)), 2 * BS);
	CHECK_EQ(t_stats(&v).staged_bytes, 0);
	CHECK_EQ(through(&v, SEQ(0), false), 0);
	CHECK_EQ(put(f, 0, 10, 2 * BS + 10, 1), 10);
	CHECK(t_stats(&v).staged_bytes > 0);
	CHECK_EQ(t_close(f), 0);
	CHECK_EQ(through(&v, CNV(0), true), -ENOENT);
	CHECK_EQ(zonefs_backing(v.fs, SEQ(0), &fd), -EOPNOTSUPP);
	teardown(&v);
}

/* ---- a request that waits for room is let go ---- */

static void test_cancel(void)
{
	size_t len = 2 << 20;
	uint8_t *buf = buf_of(len);
	struct zonefs_file *f;
	struct env v;
	ssize_t n;

	fill(buf, len, 0, 1);
	for (int i = 0; i < 50; i++) {
		struct call c;

		setup(&v, "append_buffer=256K,buffers=256K");
		f = must_open(&v, SEQ(0), O_RDWR);
		call_init(&c);
		zonefs_write(f, 0, buf, len, 0, &c.r);
		/* It may be done by now, but c.r is still ours to name. */
		if (!sem_trywait(&c.sem)) {
			n = c.result;
		} else {
			zonefs_cancel(v.fs, &c.r);
			n = call_wait(&c);
		}
		CHECK(n > 0);
		CHECK_EQ(t_size(&v, SEQ(0)), n);
		expect(f, (size_t)n, 0, 1);
		CHECK_EQ(t_close(f), 0);
		teardown(&v);
	}
	free(buf);
}

int main(void)
{
	RUN(test_there_at_once);
	RUN(test_back_pressure);
	RUN(test_interval);
	RUN(test_order);
	RUN(test_late_error_is_told_once_each);
	RUN(test_late_errors_and_their_ends);
	RUN(test_late_tail_error);
	RUN(test_zone_turns_bad_under_a_full_buffer);
	RUN(test_unheard_error);
	RUN(test_rest_stays_in_the_arena);
	RUN(test_rest_and_others);
	RUN(test_rest_and_late_error);
	RUN(test_rest_without_room);
	RUN(test_through);
	RUN(test_cancel);
	return 0;
}
