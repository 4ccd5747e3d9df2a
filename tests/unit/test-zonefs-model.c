/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random use of the default personality against arrays in memory: appends,
 * gaps, truncates, seals, resets, faults and remounts, with staging and without.
 * The seed is printed; give it as argument (and a number of steps) to repeat a run.
 */
#include <time.h>

#include "zonefs-unit.h"

#define NR_FILES	3

struct model {
	uint8_t		*data;		/* CAP bytes */
	uint64_t	size;
};

static uint64_t rng;
/* Options of the mounts; staged, an append is not on the device when it is done. */
static const char *options;
static bool staged;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return below ? rng % below : 0;
}

/* Small, around a block, or large. */
static size_t rnd_len(void)
{
	switch (rnd(4)) {
	case 0:
		return 1 + rnd(20);
	case 1:
		return BS - 3 + rnd(7);
	case 2:
		return 1 + rnd(5 * BS);
	default:
		return 1 + rnd(3 << 19);
	}
}

static void do_write(struct zonefs_file *f, struct model *m, uint64_t gap, size_t len)
{
	uint8_t *buf = buf_of(len);
	uint64_t pos = m->size + gap;
	ssize_t want, n;
	int flags = rnd(8) ? 0 : O_DSYNC;

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)rnd(256);
	if (!gap && rnd(2)) {
		flags |= O_APPEND;
		pos = rnd(2 * CAP);
	}
	n = t_write(f, flags, buf, len, pos);
	if (flags & O_APPEND)
		pos = m->size;
	want = pos >= CAP ? -EFBIG : (ssize_t)(len < CAP - pos ? len : CAP - pos);
	CHECK_EQ(n, want);
	if (n > 0) {
		memset(m->data + m->size, 0, pos - m->size);
		memcpy(m->data + pos, buf, n);
		m->size = pos + n;
	}
	free(buf);
}

static void do_truncate(struct env *v, struct zonefs_file *f, uint64_t ino, struct model *m)
{
	uint64_t to;
	int want = 0;

	switch (rnd(6)) {
	case 0:
		to = 0;
		break;
	case 1:
		to = CAP;
		break;
	case 2:
		to = rnd(CAP);
		break;
	case 3:
		to = m->size;
		break;
	default:
		to = m->size + rnd_len();
	}
	if (to > CAP)
		want = -EFBIG;
	else if (to && to < m->size)
		want = -EPERM;
	CHECK_EQ(rnd(2) ? t_truncate(v, ino, to) : t_ftruncate(v, f, to), want);
	if (want)
		return;
	if (to > m->size)
		memset(m->data + m->size, 0, to - m->size);
	m->size = to;
}

static void do_seal(struct env *v, uint64_t ino, struct model *m)
{
	uint64_t to = (m->size + BS - 1) / BS * BS;

	CHECK_EQ(t_admin(v, ZONEFS_ADM_SEAL, (uint32_t)ino), 0);
	memset(m->data + m->size, 0, to - m->size);
	m->size = to;
}

/* Nothing lands, nothing is lost: the calm errors of D10. */
static void do_fault(struct env *v, struct zonefs_file *f, uint64_t ino, struct model *m)
{
	static const int errs[] = { ENOSPC, EOVERFLOW, ETOOMANYREFS };
	int err = errs[rnd(3)];
	enum zdev_op op = rnd(2) ? ZDEV_WRITE : ZDEV_PUT_TAIL;
	size_t len = op == ZDEV_WRITE ? BS + rnd(BS) : 1 + rnd(10);

	if (staged)
		return;
	if (m->size + 3 * BS > CAP || (op == ZDEV_PUT_TAIL && m->size % BS > BS - 20))
		return;
	t_fault(v, op, (uint32_t)ino, err, 1, 0);
	CHECK_EQ(put(f, O_APPEND, len, 0, 0), -err);
	t_fault(v, op, (uint32_t)ino, 0, 0, 0);
}

static void check_read(struct zonefs_file *f, const struct model *m)
{
	uint64_t pos = rnd(4) ? rnd(m->size + 10) : m->size - rnd(m->size < BS ? m->size : BS);
	size_t len = rnd_len(), want = 0;
	uint8_t *buf = buf_of(len);

	if (pos < m->size)
		want = len < m->size - pos ? len : m->size - pos;
	CHECK_EQ(t_read(f, rnd(2) ? O_DIRECT : 0, buf, len, pos), want);
	CHECK(!memcmp(buf, m->data + pos, want));
	free(buf);
}

static void check_all(struct env *v, struct zonefs_file *f, uint64_t ino, const struct model *m)
{
	uint8_t *buf = buf_of(CAP);

	CHECK_EQ(t_size(v, ino), m->size);
	if (staged)
		CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_zone(v, (uint32_t)ino).wp, m->size / BS * BS);
	CHECK_EQ(t_read(f, 0, buf, CAP, 0), m->size);
	CHECK(!memcmp(buf, m->data, m->size));
	free(buf);
}

static void step(struct env *v, struct zonefs_file **file, struct model *model)
{
	unsigned k = (unsigned)rnd(NR_FILES);
	struct zonefs_file *f = file[k];
	struct model *m = &model[k];
	uint64_t ino = SEQ(k);

	switch (rnd(20)) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6:
		do_write(f, m, 0, rnd_len());
		break;
	case 7: case 8:
		do_write(f, m, rnd_len(), rnd_len());
		break;
	case 9: case 10:
		do_truncate(v, f, ino, m);
		break;
	case 11:
		do_seal(v, ino, m);
		break;
	case 12:
		CHECK_EQ(t_fsync(f), 0);
		break;
	case 13:
		CHECK_EQ(t_close(f), 0);
		file[k] = must_open(v, ino, O_RDWR);
		break;
	case 14:
		do_fault(v, f, ino, m);
		break;
	case 15:
		if (m->size)
			CHECK_EQ(put(f, 0, 10, rnd(m->size), 0), -EINVAL);
		break;
	default:
		check_read(f, m);
	}
	CHECK_EQ(t_size(v, ino), m->size);
}

static void remount(struct env *v, struct zonefs_file **file, struct model *model)
{
	char list[128];

	for (unsigned k = 0; k < NR_FILES; k++) {
		check_all(v, file[k], SEQ(k), &model[k]);
		t_release(file[k]);
	}
	do_unmount(v);
	snprintf(list, sizeof(list), "%s%s", options, rnd(2) ? "" : ",explicit-open");
	do_mount(v, list);
	for (unsigned k = 0; k < NR_FILES; k++) {
		file[k] = must_open(v, SEQ(k), O_RDWR);
		check_all(v, file[k], SEQ(k), &model[k]);
	}
}

static void run(uint64_t seed, unsigned long steps)
{
	struct zdev_geometry g = usual;
	struct zonefs_file *file[NR_FILES];
	struct model model[NR_FILES];
	struct env v;

	printf("seed %llu, %s\n", (unsigned long long)seed, options);
	fflush(stdout);
	rng = seed * 2 + 1;
	g.max_open = 8;
	setup_with(&v, &g, "", options);
	for (unsigned k = 0; k < NR_FILES; k++) {
		model[k] = (struct model) { .data = buf_of(CAP) };
		file[k] = must_open(&v, SEQ(k), O_RDWR);
	}
	for (unsigned long i = 0; i < steps; i++) {
		step(&v, file, model);
		if (i % 100 == 99)
			remount(&v, file, model);
	}
	for (unsigned k = 0; k < NR_FILES; k++) {
		t_release(file[k]);
		free(model[k].data);
	}
	CHECK(!t_stats(&v).read_only);
	CHECK_EQ(t_stats(&v).staged_bytes, 0);
	teardown(&v);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	unsigned long steps = argc > 2 ? strtoul(argv[2], NULL, 0) : 3000;

	options = "append_buffer=0";
	run(seed, steps);
	staged = true;
	options = "append_buffer=1M,buffers=2M,flush_interval=0";
	run(seed, steps);
	options = "append_buffer=8M";
	run(seed, steps / 4);
	return 0;
}
