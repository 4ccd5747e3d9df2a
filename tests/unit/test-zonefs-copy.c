/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies from file to file: D18. */
#include "zonefs-unit.h"

static ssize_t t_copy(struct zonefs_file *from, uint64_t src, struct zonefs_file *to, int flags,
		      uint64_t pos, size_t len)
{
	return WAIT(zonefs_copy(from, src, to, flags, pos, len, &c.r));
}

/* [pos, pos + len) must be the pattern from `from` on. */
static void expect_from(struct zonefs_file *file, size_t len, uint64_t pos, uint64_t from,
			unsigned seed)
{
	uint8_t *buf = buf_of(len), *want = buf_of(len);

	fill(want, len, from, seed);
	CHECK_EQ(t_read(file, 0, buf, len, pos), len);
	CHECK(!memcmp(buf, want, len));
	free(buf);
	free(want);
}

static void edges_go_by_hand(void)
{
	struct zonefs_file *a, *b;
	struct zonefs_stats st;
	struct env v;

	setup(&v, "");
	a = must_open(&v, SEQ(0), O_RDWR);
	b = must_open(&v, SEQ(1), O_RDWR);
	CHECK_EQ(put(a, 0, 10 * BS + 77, 0, 1), 10 * BS + 77);
	CHECK_EQ(put(b, 0, 100, 0, 1), 100);
	CHECK_EQ(t_copy(a, 100, b, 0, 100, CAP), 10 * BS + 77 - 100);
	expect(b, 10 * BS + 77, 0, 1);
	st = t_stats(&v);
	CHECK_EQ(st.copies, 1);
	CHECK_EQ(st.copy_offload_bytes, 9 * BS);
	CHECK_EQ(st.copy_fallback_bytes, BS - 100 + 77);
	CHECK_EQ(t_zone(&v, SEQ(1)).wp, 10 * BS);
	/* At the source's end there is nothing more. */
	CHECK_EQ(t_copy(a, 10 * BS + 77, b, 0, 10 * BS + 77, BS), 0);
	CHECK_EQ(t_copy(a, UINT64_MAX - BS, b, 0, 10 * BS + 77, BS), 0);
	/* The rules of write. */
	CHECK_EQ(t_copy(a, 0, b, 0, BS, BS), -EINVAL);
	CHECK_EQ(t_copy(a, 0, b, 0, CAP, BS), -EFBIG);
	CHECK_EQ(t_close(a), 0);
	CHECK_EQ(t_close(b), 0);
	teardown(&v);
}

static void access_and_personality(void)
{
	struct zonefs_file *a, *b, *w;
	struct env v;

	setup(&v, "");
	w = must_open(&v, SEQ(0), O_WRONLY);
	a = must_open(&v, SEQ(0), O_RDONLY);
	b = must_open(&v, SEQ(1), O_WRONLY);
	CHECK_EQ(put(w, 0, 2 * BS, 0, 1), 2 * BS);
	CHECK_EQ(t_copy(w, 0, b, 0, 0, BS), -EBADF);
	CHECK_EQ(t_copy(b, 0, a, 0, 0, BS), -EBADF);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, BS), BS);
	CHECK_EQ(t_close(w), 0);
	CHECK_EQ(t_close(a), 0);
	CHECK_EQ(t_close(b), 0);
	do_unmount(&v);
	do_mount(&v, "strict");
	a = must_open(&v, SEQ(0), O_RDONLY);
	b = must_open(&v, SEQ(1), STRICT_W);
	CHECK_EQ(t_copy(a, 0, b, STRICT_W, BS, BS), -EOPNOTSUPP);
	CHECK_EQ(t_close(a), 0);
	CHECK_EQ(t_close(b), 0);
	teardown(&v);
}

/* With O_DSYNC it is durable: a flush follows each part. */
static void synchronous_destinations(void)
{
	struct zonefs_file *a, *b, *c;
	struct env v;

	setup(&v, "errors=repair");
	a = must_open(&v, SEQ(0), O_RDWR);
	b = must_open(&v, SEQ(1), O_RDWR | O_DSYNC);
	c = must_open(&v, CNV(0), O_RDWR | O_DSYNC);
	CHECK_EQ(put(a, 0, 10 * BS + 77, 0, 1), 10 * BS + 77);
	t_fault(&v, ZDEV_FLUSH, SEQ(1), EIO, 1, 0);
	t_fault(&v, ZDEV_FLUSH, CNV(0), EIO, 1, 0);
	CHECK_EQ(t_copy(a, 0, c, O_DSYNC, 0, 4 * BS), -EIO);
	CHECK_EQ(t_copy(a, 0, b, O_DSYNC, 0, 4 * BS), -EIO);
	CHECK_EQ(t_close(a), 0);
	CHECK_EQ(t_close(b), 0);
	CHECK_EQ(t_close(c), 0);
	teardown(&v);
}

/* Whatever becomes of the device's copy, the bytes get there. */
static void the_device_may_fail(void)
{
	static const struct { int err; uint64_t partial; } cases[] = {
		{ EIO, 0 }, { EIO, 2 * BS }, { ENOSPC, BS }, { EOPNOTSUPP, 0 },
		{ ETOOMANYREFS, 0 }, { EIO, 5 * BS }, { EILSEQ, 100 * BS },
	};
	struct zonefs_file *a, *b, *c;
	struct env v;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setup(&v, "");
		a = must_open(&v, SEQ(0), O_RDWR);
		b = must_open(&v, SEQ(1), O_RDWR);
		c = must_open(&v, CNV(0), O_RDWR);
		CHECK_EQ(put(a, 0, 10 * BS + 77, 0, 1), 10 * BS + 77);
		t_fault(&v, ZDEV_COPY, ZDEV_ALL_ZONES, cases[i].err, 1, cases[i].partial);
		CHECK_EQ(t_copy(a, BS, b, 0, 0, CAP), 9 * BS + 77);
		expect_from(b, 9 * BS + 77, 0, BS, 1);
		t_fault(&v, ZDEV_COPY, ZDEV_ALL_ZONES, cases[i].err, 1, cases[i].partial);
		CHECK_EQ(t_copy(a, BS, c, 0, 3 * BS, CAP), 9 * BS + 77);
		expect_from(c, 9 * BS + 77, 3 * BS, BS, 1);
		CHECK_EQ(t_stats(&v).recoveries, 0);
		CHECK(!t_stats(&v).read_only);
		CHECK_EQ(t_close(a), 0);
		CHECK_EQ(t_close(b), 0);
		CHECK_EQ(t_close(c), 0);
		teardown(&v);
	}
}

/* What a write by hand meets is told as by write. */
static void writes_by_hand_may_fail(void)
{
	struct zonefs_file *a, *b;
	struct env v;

	setup(&v, "errors=repair");
	a = must_open(&v, SEQ(0), O_RDWR);
	b = must_open(&v, SEQ(1), O_RDWR);
	CHECK_EQ(put(a, 0, 10 * BS, 0, 1), 10 * BS);
	t_fault(&v, ZDEV_WRITE, SEQ(1), EIO, 1, 0);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, 10 * BS), -EIO);
	CHECK_EQ(t_size(&v, SEQ(1)), 0);
	t_fault(&v, ZDEV_READ, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, 10 * BS), -EIO);
	CHECK_EQ(t_size(&v, SEQ(1)), 0);
	/* Bad zones, on either side. */
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(1), BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, 10 * BS), -EIO);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, 10 * BS), -EPERM);
	t_close(a);
	t_close(b);
	teardown(&v);
}

/* Bytes that were acknowledged and lost: who copies behind them hears of it. */
static void late_errors_are_told(void)
{
	struct zonefs_file *a, *b;
	struct env v;

	setup(&v, "append_buffer=1M,errors=repair");
	a = must_open(&v, SEQ(0), O_RDWR);
	b = must_open(&v, SEQ(1), O_RDWR);
	CHECK_EQ(put(a, 0, 4 * BS, 0, 1), 4 * BS);
	CHECK_EQ(t_fsync(a), 0);
	t_fault(&v, ZDEV_WRITE, SEQ(1), EIO, 1, 0);
	CHECK_EQ(put(b, 0, 2 * BS, 0, 1), 2 * BS);
	CHECK_EQ(t_copy(a, 0, b, 0, 2 * BS, 2 * BS), -EIO);
	CHECK_EQ(t_copy(a, 0, b, 0, 0, 4 * BS), 4 * BS);
	expect(b, 4 * BS, 0, 1);
	CHECK_EQ(t_close(a), 0);
	CHECK_EQ(t_close(b), 0);
	teardown(&v);
}

/* ---- against a model ---- */

#define NR_FILES	5

struct model {
	uint8_t		data[NR_FILES][ZONE_SIZE];
	uint64_t	size[NR_FILES];
	struct zonefs_file *file[NR_FILES];
};

static unsigned rnd(unsigned *seed, unsigned below)
{
	return (unsigned)rand_r(seed) % below;
}

static bool is_seq(unsigned i)
{
	return i < 3;
}

static void one_write(struct model *m, unsigned *seed)
{
	unsigned i = rnd(seed, NR_FILES);
	size_t len = 1 + rnd(seed, 3) * BS + rnd(seed, 3 * BS);
	uint64_t pos = is_seq(i) ? m->size[i] : rnd(seed, 1u << 20);

	if (pos + len > CAP)
		return;
	fill(m->data[i] + pos, len, pos, *seed);
	if (is_seq(i))
		m->size[i] += len;
	CHECK_EQ(t_write(m->file[i], 0, m->data[i] + pos, len, pos), len);
}

static void one_copy(struct model *m, unsigned *seed)
{
	unsigned from = rnd(seed, NR_FILES), to = rnd(seed, NR_FILES);
	size_t len = 1 + rnd(seed, 40 * BS);
	uint64_t src = rnd(seed, 1u << 20), pos = rnd(seed, 1u << 20);

	if (rnd(seed, 2))
		src = src / BS * BS;
	if (rnd(seed, 2))
		pos = pos / BS * BS;
	if (is_seq(to))
		pos = m->size[to];
	/* As most do, from the same place in the block. */
	if (rnd(seed, 2))
		src = src / BS * BS + pos % BS;
	if (is_seq(from) && src >= m->size[from])
		return;
	if (is_seq(from) && len > m->size[from] - src)
		len = m->size[from] - src;
	if (pos + len > CAP || (from == to && src < pos + len && pos < src + len))
		return;
	memmove(m->data[to] + pos, m->data[from] + src, len);
	if (is_seq(to))
		m->size[to] += len;
	CHECK_EQ(t_copy(m->file[from], src, m->file[to], 0, pos, len), len);
}

static void compare(struct model *m)
{
	uint8_t *buf = buf_of(ZONE_SIZE);

	for (unsigned i = 0; i < NR_FILES; i++) {
		CHECK_EQ(t_read(m->file[i], 0, buf, ZONE_SIZE, 0), m->size[i]);
		CHECK(!memcmp(buf, m->data[i], m->size[i]));
	}
	free(buf);
}

static void open_all(struct env *v, struct model *m)
{
	for (unsigned i = 0; i < NR_FILES; i++)
		m->file[i] = must_open(v, is_seq(i) ? SEQ(i) : CNV(i - 3), O_RDWR);
}

static void close_all(struct model *m)
{
	for (unsigned i = 0; i < NR_FILES; i++)
		CHECK_EQ(t_close(m->file[i]), 0);
}

static void random_copies(const char *options, unsigned seed)
{
	struct model *m = calloc(1, sizeof(*m));
	struct env v;

	CHECK(m);
	setup(&v, options);
	for (unsigned i = 0; i < NR_FILES; i++)
		m->size[i] = is_seq(i) ? 0 : ZONE_SIZE;
	open_all(&v, m);
	for (unsigned n = 0; n < 300; n++) {
		unsigned what = rnd(&seed, 20), i = rnd(&seed, 3);

		if (what < 8) {
			one_write(m, &seed);
		} else if (what < 18) {
			one_copy(m, &seed);
		} else if (what == 18) {
			CHECK_EQ(t_truncate(&v, SEQ(i), 0), 0);
			m->size[i] = 0;
		} else {
			CHECK_EQ(t_fsync(m->file[i]), 0);
		}
		if (n % 50 == 49)
			compare(m);
	}
	CHECK(t_stats(&v).copy_offload_bytes);
	close_all(m);
	do_unmount(&v);
	do_mount(&v, options);
	open_all(&v, m);
	compare(m);
	close_all(m);
	teardown(&v);
	free(m);
}

static void model(void)
{
	for (unsigned seed = 1; seed <= 4; seed++) {
		random_copies("", seed);
		random_copies("append_buffer=1M", seed + 100);
	}
}

/* ---- side by side ---- */

struct crowd {
	struct env	*v;
	unsigned	seed;
};

/* Crosswise between a few files, with resets; every byte is one of the pattern or 0. */
static void *one_of_many(void *arg)
{
	struct crowd *cr = arg;
	struct zonefs_file *f[4];
	ssize_t n;

	for (unsigned i = 0; i < 4; i++)
		f[i] = must_open(cr->v, i < 3 ? SEQ(i) : CNV(0), O_RDWR);
	for (unsigned round = 0; round < 150; round++) {
		unsigned from = rnd(&cr->seed, 4), to = rnd(&cr->seed, 4);
		uint64_t pos = to < 3 ? t_size(cr->v, SEQ(to)) : rnd(&cr->seed, 64) * BS;
		uint64_t src = pos % BS + rnd(&cr->seed, 16) * BS;

		switch (rnd(&cr->seed, 8)) {
		case 0:
			CHECK_EQ(t_truncate(cr->v, SEQ(from % 3), 0), 0);
			break;
		case 1:
		case 2:
			n = put(f[to], 0, 1 + rnd(&cr->seed, 5 * BS), pos, 0);
			CHECK(n > 0 || n == -EINVAL || n == -EFBIG);
			break;
		default:
			if (from == to)
				break;
			n = t_copy(f[from], src, f[to], 0, pos, 1 + rnd(&cr->seed, 30 * BS));
			CHECK(n >= 0 || n == -EINVAL || n == -EFBIG);
		}
	}
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(t_close(f[i]), 0);
	return NULL;
}

static void crowd(const char *options)
{
	struct crowd cr[6];
	pthread_t threads[6];
	struct env v;

	setup(&v, options);
	for (unsigned i = 0; i < 6; i++) {
		cr[i] = (struct crowd) { &v, i + 1 };
		CHECK_EQ(pthread_create(&threads[i], NULL, one_of_many, &cr[i]), 0);
	}
	for (unsigned i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(t_stats(&v).recoveries, 0);
	CHECK(!t_stats(&v).read_only);
	teardown(&v);
}

static void side_by_side(void)
{
	crowd("");
	crowd("append_buffer=1M");
}

/* A cancelled copy ends after a part, with what is there. */
static void a_copy_can_be_cancelled(void)
{
	struct zonefs_file *a, *b;
	struct env v;
	ssize_t n = 0;

	setup(&v, "");
	a = must_open(&v, CNV(0), O_RDWR);
	CHECK_EQ(put(a, 0, CAP, 0, 1), CAP);
	for (unsigned i = 0; i < NR_SEQ; i++) {
		struct call c;

		b = must_open(&v, SEQ(i), O_RDWR);
		call_init(&c);
		/* Before it begins, which may be as late as it likes. */
		if (i % 2)
			zonefs_cancel(v.fs, &c.r);
		zonefs_copy(a, 0, b, 0, 0, CAP, &c.r);
		n = call_wait(&c);
		CHECK_EQ(n, i % 2 ? -EINTR : (ssize_t)CAP);
		CHECK_EQ(t_size(&v, SEQ(i)), i % 2 ? 0 : CAP);
		CHECK_EQ(t_close(b), 0);
	}
	CHECK_EQ(t_close(a), 0);
	teardown(&v);
}

int main(void)
{
	RUN(edges_go_by_hand);
	RUN(access_and_personality);
	RUN(synchronous_destinations);
	RUN(the_device_may_fail);
	RUN(writes_by_hand_may_fail);
	RUN(late_errors_are_told);
	RUN(model);
	RUN(side_by_side);
	RUN(a_copy_can_be_cancelled);
	return 0;
}
