/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sync error is told to the one whose bytes are lost, by fsync, whoever else
 * has met it before: a sync of the whole mount, an fsync of another file.
 */
#include "sync-error.h"
#include "zonefs-unit.h"

static char dir[64], path[80];

/* As setup(), on a directory. */
static void setup_dir(struct env *v, const char *feature)
{
	const struct zdev_open_opts o = { .log = NULL };
	struct zonefs_super sb;
	struct zerr e = { "" };

	memset(v, 0, sizeof(*v));
	pthread_mutex_init(&v->log_lock, NULL);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, &usual, NULL, NULL, &e), 0);
	CHECK_EQ(zdev_open(path, &o, &v->dev, &e), 0);
	zonefs_super_init(&sb);
	if (*feature)
		CHECK_EQ(zonefs_super_option(&sb, feature, &e), 0);
	CHECK_EQ(zonefs_format(v->dev, &sb, NULL, NULL, &e), 0);
	do_mount(v, "errors=repair");
}

static void teardown_dir(struct env *v)
{
	teardown(v);
	unit_rm_tree(path);
}

/* The sync says that it failed; the writer hears of it, once, all the same. */
static void check_told(struct env *v, struct zonefs_file *f, uint64_t pos)
{
	CHECK_EQ(put(f, 0, BS, pos, 1), BS);
	sync_error = EIO;
	CHECK_EQ(zonefs_sync(v->fs), -EIO);
	CHECK_EQ(sync_error, 0);
	CHECK_EQ(t_fsync(f), -EIO);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(zonefs_sync(v->fs), 0);
	CHECK_EQ(put(f, 0, BS, pos + BS, 1), BS);
	sync_error = ENOSPC;
	CHECK_EQ(t_fsync(f), -ENOSPC);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(zonefs_sync(v->fs), 0);
}

static void test_sync_leaves_the_error_to_the_writer(void)
{
	static const uint64_t inos[] = { CNV(0), CNV(2), SEQ(0) };
	struct zonefs_file *f;
	struct env v;

	setup_dir(&v, "");
	for (unsigned i = 0; i < 3; i++) {
		f = must_open(&v, inos[i], O_RDWR);
		check_told(&v, f, 0);
		t_release(f);
	}
	teardown_dir(&v);
}

/* One file of all conventional zones: any of them may have the error. */
static void test_aggregated(void)
{
	struct zonefs_file *f;
	struct env v;

	setup_dir(&v, "aggr_cnv");
	f = must_open(&v, CNV(0), O_RDWR);
	check_told(&v, f, 0);
	check_told(&v, f, ZONE_SIZE);
	check_told(&v, f, 3 * ZONE_SIZE - 2 * BS);
	t_release(f);
	teardown_dir(&v);
}

/* The fsync of the aggregated file flushes the device, and meets others' errors. */
static void test_others_errors_stay(void)
{
	struct zonefs_file *f, *g;
	struct env v;

	setup_dir(&v, "aggr_cnv");
	f = must_open(&v, CNV(0), O_RDWR);
	g = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(g, 0, BS, 0, 1), BS);
	sync_error = EIO;
	CHECK_EQ(t_fsync(f), -EIO);
	CHECK_EQ(t_fsync(g), -EIO);
	CHECK_EQ(t_fsync(g), 0);
	CHECK_EQ(t_fsync(f), 0);
	t_release(g);
	t_release(f);
	teardown_dir(&v);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/dev", dir);
	RUN(test_sync_leaves_the_error_to_the_writer);
	RUN(test_aggregated);
	RUN(test_others_errors_stay);
	unit_rm_tree(dir);
	return 0;
}
