/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that write, read, truncate, look and command the same few files at
 * once, in both personalities. Every byte that is read must be one that was
 * written there since the file was last emptied, or a zero; sizes and counts
 * must add up at the end. Meant for the thread checker above all.
 */
#include "zonefs-unit.h"

#define NR_FILES	3
#define NR_THREADS	8

struct shared {
	struct env	*v;
	bool		strict;
	unsigned	rounds;
	atomic_uint	next_seed;
};

static unsigned rnd(unsigned *seed, unsigned below)
{
	return (unsigned)rand_r(seed) % below;
}

/* Everyone writes the same pattern at the same place, whoever comes first. */
static void one_write(struct shared *sh, struct zonefs_file *f, unsigned *seed)
{
	size_t len = sh->strict ? BS * (1 + rnd(seed, 4)) : 1 + rnd(seed, 20000);
	uint64_t pos = t_size(sh->v, zonefs_file_ino(f));
	int flags = sh->strict ? STRICT_W : 0;
	uint8_t *buf = buf_of(len);
	ssize_t n;

	fill(buf, len, pos, 0);
	n = t_write(f, flags | (rnd(seed, 10) ? 0 : O_DSYNC), buf, len, pos);
	CHECK(n > 0 || n == -EINVAL || n == -EFBIG);
	free(buf);
}

static void one_read(struct shared *sh, struct zonefs_file *f, unsigned *seed)
{
	size_t len = 1 + rnd(seed, 50000);
	uint64_t size = t_size(sh->v, zonefs_file_ino(f));
	uint64_t pos = size ? rnd(seed, (unsigned)size) : 0;
	uint8_t *buf = buf_of(len);
	ssize_t n = t_read(f, 0, buf, len, pos);

	CHECK(n >= 0);
	for (ssize_t i = 0; i < n; i++)
		CHECK(buf[i] == pattern(pos + i, 0) || buf[i] == 0);
	free(buf);
}

static void one_change(struct shared *sh, struct zonefs_file *f, unsigned *seed)
{
	uint64_t ino = zonefs_file_ino(f);
	struct zonefs_statfs st;
	struct zonefs_file *g;
	int ret;

	switch (rnd(seed, 8)) {
	case 0:
		CHECK_EQ(t_ftruncate(sh->v, f, 0), 0);
		break;
	case 1:
		ret = t_truncate(sh->v, ino, t_size(sh->v, ino) + rnd(seed, 9000));
		CHECK(!ret || ret == -EPERM || ret == -EFBIG);
		break;
	case 2:
		CHECK_EQ(t_admin(sh->v, ZONEFS_ADM_SEAL, (uint32_t)ino), 0);
		break;
	case 3:
		CHECK_EQ(t_fsync(f), 0);
		break;
	case 4:
		ret = t_open(sh->v, ino, O_RDWR | O_DIRECT | (rnd(seed, 4) ? 0 : O_TRUNC), &g);
		CHECK(!ret || ret == -EBUSY);
		if (!ret)
			CHECK_EQ(t_close(g), 0);
		break;
	case 5:
		CHECK_EQ(t_chmod(sh->v, ino, 0600 + rnd(seed, 64)), 0);
		break;
	case 6:
		zonefs_statfs(sh->v->fs, &st);
		CHECK(st.bfree <= st.blocks);
		break;
	default:
		CHECK_EQ(t_admin(sh->v, ZONEFS_ADM_RESET, (uint32_t)ino), 0);
	}
}

static void one_cnv(struct zonefs_file *c, unsigned *seed)
{
	uint64_t pos = rnd(seed, 40000);
	size_t len = 1 + rnd(seed, 9000);

	if (rnd(seed, 2)) {
		CHECK_EQ(put(c, 0, len, pos, 0), len);
		return;
	}
	uint8_t *buf = buf_of(len);

	CHECK_EQ(t_read(c, 0, buf, len, pos), len);
	for (size_t i = 0; i < len; i++)
		CHECK(buf[i] == pattern(pos + i, 0) || buf[i] == 0);
	free(buf);
}

static void one_cancelled(struct shared *sh, struct zonefs_file *f)
{
	struct call c;
	uint8_t buf[1];
	ssize_t n;

	call_init(&c);
	zonefs_read(f, 0, buf, 1, 0, &c.r);
	zonefs_cancel(sh->v->fs, &c.r);
	n = call_wait(&c);
	CHECK(n == 0 || n == 1 || n == -EINTR);
}

static void *worker(void *arg)
{
	struct shared *sh = arg;
	unsigned seed = atomic_fetch_add(&sh->next_seed, 1);
	struct zonefs_file *f[NR_FILES], *c = must_open(sh->v, CNV(0), O_RDWR);

	for (unsigned k = 0; k < NR_FILES; k++)
		f[k] = must_open(sh->v, SEQ(k), O_RDWR | O_DIRECT);
	for (unsigned i = 0; i < sh->rounds; i++) {
		struct zonefs_file *file = f[rnd(&seed, NR_FILES)];
		unsigned what = rnd(&seed, 32);

		if (what < 14)
			one_write(sh, file, &seed);
		else if (what < 24)
			one_read(sh, file, &seed);
		else if (what < 28)
			one_cnv(c, &seed);
		else if (what < 30)
			one_cancelled(sh, file);
		else
			one_change(sh, file, &seed);
	}
	for (unsigned k = 0; k < NR_FILES; k++)
		CHECK_EQ(t_close(f[k]), 0);
	t_release(c);
	return NULL;
}

static void run(const char *options, unsigned rounds)
{
	struct zdev_geometry g = usual;
	pthread_t thread[NR_THREADS];
	struct zonefs_statfs st;
	uint64_t used = 0;
	struct env v;
	struct shared sh = {
		.v = &v, .strict = !strncmp(options, "strict", 6), .rounds = rounds,
	};

	g.max_open = NR_FILES;
	setup_with(&v, &g, "", options);
	atomic_store(&sh.next_seed, 1);
	for (int i = 0; i < NR_THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, worker, &sh), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	CHECK_EQ(t_stats(&v).io_errors, 0);
	for (uint64_t ino = 1; ino < NR_ZONES; ino++)
		used += (t_size(&v, ino) + BS - 1) / BS;
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.blocks - st.bfree, used);
	teardown(&v);
}

/* ---- a read beside resets sees the old bytes, the new ones, or the end ---- */

static atomic_bool stop;

static void *fill_and_empty(void *arg)
{
	struct env *v = arg;
	struct zonefs_file *f = must_open(v, SEQ(0), O_WRONLY);

	for (int i = 0; i < 300; i++) {
		CHECK_EQ(put(f, 0, 3 * BS + 50, 0, 0), 3 * BS + 50);
		CHECK_EQ(put(f, 0, 100, 3 * BS + 50, 0), 100);
		CHECK_EQ(i % 2 ? t_ftruncate(v, f, 0) :
			 t_admin(v, ZONEFS_ADM_RESET, SEQ(0)), 0);
	}
	t_release(f);
	atomic_store(&stop, true);
	return NULL;
}

static void run_reads_beside_resets(const char *options)
{
	uint8_t *buf = buf_of(4 * BS);
	struct zonefs_file *f;
	pthread_t thread;
	struct env v;
	ssize_t n;

	setup(&v, options);
	atomic_store(&stop, false);
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(pthread_create(&thread, NULL, fill_and_empty, &v), 0);
	while (!atomic_load(&stop)) {
		n = t_read(f, 0, buf, 4 * BS - 10, 10);
		CHECK(n >= 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK_EQ(buf[i], pattern(10 + i, 0));
	}
	pthread_join(thread, NULL);
	t_release(f);
	teardown(&v);
	free(buf);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 400;

	run("", rounds);
	run("explicit-open", rounds);
	run("append_buffer=1M,buffers=1M,flush_interval=1", rounds);
	run("append_buffer=8M,explicit-open,flush_interval=0", rounds);
	run("strict", rounds);
	run("strict,explicit-open", rounds);
	run_reads_beside_resets("");
	run_reads_beside_resets("append_buffer=1M");
	return 0;
}
