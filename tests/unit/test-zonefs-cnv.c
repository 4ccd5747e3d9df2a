/* SPDX-License-Identifier: BSD-2-Clause */
/* Conventional files: reads and writes of any shape, alone and aggregated. */
#include "zonefs-unit.h"

#define AGGR	((NR_CONV - 1) * ZONE_SIZE)

static void test_default_rules(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	/* O_TRUNC is ignored; truncate is fine only with the size it has. */
	f = must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 50, 1), 100);
	t_release(must_open(&v, CNV(0), O_WRONLY | O_TRUNC));
	expect(f, 100, 50, 1);
	CHECK_EQ(t_size(&v, CNV(0)), ZONE_SIZE);
	CHECK_EQ(t_ftruncate(&v, f, ZONE_SIZE), 0);
	CHECK_EQ(t_ftruncate(&v, f, 0), -EPERM);
	CHECK_EQ(t_truncate(&v, CNV(0), 100), -EPERM);
	CHECK_EQ(t_ftruncate(&v, f, ZONE_SIZE + 1), -EFBIG);
	/* Short at the end, then EFBIG; the end is where O_APPEND would write. */
	CHECK_EQ(put(f, 0, 100, ZONE_SIZE - 10, 1), 10);
	CHECK_EQ(put(f, 0, 100, ZONE_SIZE, 1), -EFBIG);
	CHECK_EQ(put(f, O_APPEND, 100, 0, 1), -EFBIG);
	CHECK_EQ(put(f, O_DIRECT, 3, 7, 1), 3);
	CHECK_EQ(put(f, 0, 0, 7, 1), 0);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(put(f, O_SYNC, 10, 4090, 1), 10);
	expect(f, 10, 4090, 1);
	CHECK_EQ(zonefs_lseek(f, 0, SEEK_HOLE), ZONE_SIZE);
	t_release(f);
	teardown(&v);
}

/* Every shape of a write against a copy in memory. */
static void check_shapes(const char *features, uint64_t size, const char *options)
{
	static const uint64_t at[] = { 0, 1, 100, BS - 1, BS, BS + 1, 3 * BS + 5 };
	static const size_t lens[] = {
		1, 99, BS - 1, BS, BS + 1, 2 * BS, 3 * BS - 7, 100000, 1 << 20, (1 << 20) + 3,
	};
	uint8_t *copy = calloc(1, size), *back = buf_of(size), *buf = buf_of((1 << 20) + 3);
	struct zonefs_file *f;
	unsigned seed = 1;
	struct env v;

	CHECK(copy);
	setup_with(&v, &usual, features, options);
	f = must_open(&v, CNV(0), O_RDWR);
	for (uint64_t base = 0; base < size; base += ZONE_SIZE) {
		for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
			for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
				/* Before, across and behind the zone's start. */
				uint64_t pos = base + at[i];
				size_t len = lens[k];

				if (base && k % 2)
					pos -= len / 2 + at[i];
				fill(buf, len, pos, seed++);
				CHECK_EQ(t_write(f, 0, buf, len, pos), len);
				memcpy(copy + pos, buf, len);
			}
		}
	}
	CHECK_EQ(t_read(f, 0, back, size, 0), size);
	CHECK(!memcmp(back, copy, size));
	for (uint64_t pos = 13; pos < size; pos += 333333) {
		size_t len = size - pos < 700001 ? size - pos : 700001;

		CHECK_EQ(t_read(f, 0, back, 700001, pos), len);
		CHECK(!memcmp(back, copy + pos, len));
	}
	t_release(f);
	teardown(&v);
	free(copy);
	free(back);
	free(buf);
}

static void test_shapes(void)
{
	check_shapes("", ZONE_SIZE, "");
	check_shapes("aggr_cnv", AGGR, "");
	check_shapes("aggr_cnv", AGGR, "strict");
}

/* Bytes side by side in the same blocks, all in flight at once: none is lost. */
static void test_parallel_unaligned_writes(void)
{
	enum { NR = 256, LEN = 300 };
	struct call *call = calloc(NR, sizeof(*call));
	uint8_t *data = buf_of(NR * LEN);
	struct zonefs_file *f;
	struct env v;

	CHECK(call);
	setup(&v, "");
	f = must_open(&v, CNV(0), O_RDWR);
	fill(data, NR * LEN, 1000, 6);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < NR; i++) {
			int k = (i * 37 + round) % NR;	/* not in order */

			call_init(&call[k]);
			zonefs_write(f, 0, data + k * LEN, LEN, 1000 + k * LEN, &call[k].r);
		}
		for (int i = 0; i < NR; i++)
			CHECK_EQ(call_wait(&call[i]), LEN);
		expect(f, NR * LEN, 1000, 6);
	}
	t_release(f);
	teardown(&v);
	free(call);
	free(data);
}

/* Writes that wait for others can be cancelled, and hold up nobody. */
static void test_cancel_waiting_writes(void)
{
	enum { NR = 64 };
	struct call *call = calloc(NR, sizeof(*call));
	struct zonefs_file *f;
	uint8_t data[100];
	unsigned done = 0;
	struct env v;

	CHECK(call);
	memset(data, 7, sizeof(data));
	setup(&v, "");
	f = must_open(&v, CNV(0), O_RDWR);
	for (int i = 0; i < NR; i++) {
		call_init(&call[i]);
		zonefs_write(f, 0, data, 100, (uint64_t)i, &call[i].r);
	}
	for (int i = 0; i < NR; i += 2)
		zonefs_cancel(v.fs, &call[i].r);
	for (int i = 0; i < NR; i++) {
		ssize_t n = call_wait(&call[i]);

		CHECK(n == 100 || (n == -EINTR && !(i % 2)));
		done += n == 100;
	}
	CHECK(done >= NR / 2);
	t_release(f);
	teardown(&v);
	free(call);
}

/* Holds up the thread that recovers, in its line of the log. */
struct gate {
	sem_t		reached, open;
	bool		shut;
};

static void gate_log(void *ctx, enum zlog_level level, const char *line)
{
	struct gate *g = ctx;

	if (!g->shut || !strstr(line, "is now read-only"))
		return;
	g->shut = false;
	sem_post(&g->reached);
	while (sem_wait(&g->open))
		;
}

/* The error of an fsync is told, though it is interrupted while it waits to recover. */
static void test_cancel_keeps_the_error(void)
{
	struct gate g = { .shut = true };
	struct call first, second;
	struct zonefs_file *f;
	struct env v;

	sem_init(&g.reached, 0, 0);
	sem_init(&g.open, 0, 0);
	setup(&v, "errors=remount-ro");
	v.log = (struct zlog) { .write = gate_log, .ctx = &g, .max_level = ZLOG_DEBUG };
	f = must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 50, 1), 100);
	t_fault(&v, ZDEV_FLUSH, ZDEV_ALL_ZONES, EIO, 2, 0);
	call_init(&first);
	zonefs_fsync(f, &first.r);
	while (sem_wait(&g.reached))
		;
	call_init(&second);
	zonefs_fsync(f, &second.r);
	while (t_stats(&v).io_errors < 2)
		usleep(1000);
	/* It has met the error; give it the time to queue behind the first. */
	usleep(20000);
	zonefs_cancel(v.fs, &second.r);
	sem_post(&g.open);
	CHECK_EQ(call_wait(&first), -EIO);
	CHECK_EQ(call_wait(&second), -EIO);
	t_release(f);
	teardown(&v);
	sem_destroy(&g.reached);
	sem_destroy(&g.open);
}

/* A failing edge read or write: the errno, and the waiters go on. */
static void test_failures(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(put(f, 0, 10000, 0, 1), 10000);
	t_fault(&v, ZDEV_READ, CNV(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 10, 5, 1), -EIO);
	t_fault(&v, ZDEV_WRITE, CNV(0), ENOSPC, 1, 0);
	CHECK_EQ(put(f, 0, 10, 5, 1), -ENOSPC);
	/* The first piece of a long one is in: a short write. */
	CHECK_EQ(zdev_inject(v.dev, &(struct zdev_fault) {
		.op = ZDEV_WRITE, .zno = CNV(0), .err = ENOSPC, .skip = 1, .count = 1 }), 0);
	CHECK_EQ(put(f, 0, 2 << 20, 0, 1), 1 << 20);
	CHECK_EQ(put(f, 0, 10, 5, 1), 10);
	expect(f, 10000, 0, 1);
	CHECK(!t_stats(&v).read_only);
	t_release(f);
	teardown(&v);
}

/* Several runs of conventional zones are not possible here; members' conditions are. */
static void test_aggregated_conditions(void)
{
	struct zonefs_file *f;
	struct env v;
	char buf[10];

	new_device(&v, &usual, "aggr_cnv");
	CHECK_EQ(zdev_set_cond(v.dev, CNV(1), BLK_ZONE_COND_READONLY), 0);
	do_mount(&v, "strict");
	CHECK_EQ(t_size(&v, CNV(0)), AGGR);
	CHECK_EQ(t_mode(&v, CNV(0)), 0);
	f = must_open(&v, CNV(0), O_RDONLY);
	CHECK_EQ(t_read(f, 0, buf, 10, 0), -EPERM);
	t_release(f);
	do_unmount(&v);
	CHECK_EQ(zdev_set_cond(v.dev, CNV(2), BLK_ZONE_COND_OFFLINE), 0);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, CNV(0)), 0);
	CHECK_EQ(t_mode(&v, CNV(0)), 0);
	CHECK_EQ(t_open(&v, CNV(0), O_WRONLY, &f), -EPERM);
	teardown(&v);
}

int main(void)
{
	RUN(test_default_rules);
	RUN(test_shapes);
	RUN(test_parallel_unaligned_writes);
	RUN(test_cancel_waiting_writes);
	RUN(test_cancel_keeps_the_error);
	RUN(test_failures);
	RUN(test_aggregated_conditions);
	return 0;
}
