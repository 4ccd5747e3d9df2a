/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that the emulation cannot be: reports that fail or make no sense,
 * tails that cannot be read, zone types in any order, and answers that come
 * before the submission returns. A filter in front of a device in RAM.
 */
#include <sys/stat.h>

#include "zonefs-unit.h"
#include "../../src/zdev/zdev_i.h"

struct odd {
	struct zdev	dev;
	struct zdev	*next;
	bool		at_once;	/* complete on the submitter's stack */
	int		report_err, tail_err;
	void		(*edit)(uint32_t zno, struct zdev_zone *z);
};

static void at_once(struct zdev *next, struct zdev_io *io)
{
	struct zdev_io copy = *io;

	zdev_complete(io, zdev_run(next, &copy));
}

static void odd_submit(struct zdev *dev, struct zdev_io *io)
{
	struct odd *o = (struct odd *)dev;

	if (o->at_once)
		at_once(o->next, io);
	else
		zdev_submit(o->next, io);
}

static int odd_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	struct odd *o = (struct odd *)dev;
	int err = o->report_err ? o->report_err : zdev_report(o->next, zno, nr, zones);

	for (uint32_t i = 0; !err && o->edit && i < nr; i++)
		o->edit(zno + i, &zones[i]);
	return err;
}

static ssize_t odd_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	struct odd *o = (struct odd *)dev;

	return o->tail_err ? o->tail_err : zdev_get_tail(o->next, zno, buf);
}

static int odd_inject(struct zdev *dev, const struct zdev_fault *f)
{
	return zdev_inject(((struct odd *)dev)->next, f);
}

static int odd_close(struct zdev *dev)
{
	int err = zdev_close(((struct odd *)dev)->next);

	free(dev);
	return err;
}

static const struct zdev_ops odd_ops = {
	.submit = odd_submit, .report = odd_report, .get_tail = odd_get_tail,
	.inject = odd_inject, .close = odd_close,
};

static struct odd *new_odd(struct env *v, const char *features)
{
	struct odd *o = calloc(1, sizeof(*o));

	CHECK(o);
	new_device(v, &usual, features);
	o->next = v->dev;
	o->dev.ops = &odd_ops;
	o->dev.info = *zdev_info(v->dev);
	v->dev = &o->dev;
	return o;
}

/* ---- Z12: a failed report makes the mount read-only under every option ---- */

static void test_report_fails(void)
{
	static const char *const errors[] = {
		"errors=remount-ro", "errors=zone-ro", "errors=zone-offline", "errors=repair",
	};
	struct zonefs_file *f;
	struct odd *o;
	struct env v;

	for (int i = 0; i < 4; i++) {
		o = new_odd(&v, "");
		do_mount(&v, errors[i]);
		f = must_open(&v, SEQ(0), O_RDWR);
		CHECK_EQ(put(f, 0, 5000, 0, 1), 5000);
		t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
		o->report_err = -EIO;
		CHECK_EQ(put(f, 0, 5000, 5000, 1), -EIO);
		o->report_err = 0;
		CHECK(t_stats(&v).read_only);
		CHECK_EQ(t_size(&v, SEQ(0)), 5000);
		CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
		expect(f, 5000, 0, 1);
		t_release(f);
		teardown(&v);
	}
	o = new_odd(&v, "");
	o->report_err = -EIO;
	CHECK_EQ(try_mount(&v, ""), -EIO);
	teardown(&v);
}

/* ---- D2: a tail that cannot be read ---- */

static void test_tail_cannot_be_read(void)
{
	struct zonefs_file *f;
	struct odd *o;
	struct env v;
	char buf[BS];

	o = new_odd(&v, "");
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 9, 0, 1), BS + 9);
	t_release(f);
	/* After the mount: only what needs it fails. */
	o->tail_err = -EIO;
	f = must_open(&v, SEQ(0), O_RDWR);
	expect(f, BS, 0, 1);
	CHECK_EQ(t_read(f, 0, buf, 10, BS), -EIO);
	CHECK_EQ(put(f, 0, 1, BS + 9, 1), -EIO);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_SEAL, SEQ(0)), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 9);
	o->tail_err = 0;
	expect(f, BS + 9, 0, 1);
	t_release(f);
	do_unmount(&v);
	/* At mount: nobody may write over what is not seen. */
	o->tail_err = -EIO;
	do_mount(&v, "");
	CHECK_HAS(v.last_log, "read-only");
	CHECK_EQ(t_mode(&v, SEQ(0)), 0440);
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EPERM);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, BS, 0, 1);
	t_release(f);
	o->tail_err = 0;
	do_unmount(&v);
	do_mount(&v, "");
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 9);
	teardown(&v);
}

/* A device without tails at all. */
static void test_no_tails(void)
{
	struct odd *o;
	struct env v;

	o = new_odd(&v, "");
	o->tail_err = -EOPNOTSUPP;
	do_mount(&v, "");
	CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
	t_release(must_open(&v, SEQ(0), O_WRONLY));
	teardown(&v);
}

/* ---- Z3: reports that make no sense ---- */

static void unknown_type(uint32_t zno, struct zdev_zone *z)
{
	z->type = zno == 7 ? 9 : z->type;
}

static void unknown_cond(uint32_t zno, struct zdev_zone *z)
{
	z->cond = zno == 7 ? 0x77 : z->cond;
}

static void capacity_over_size(uint32_t zno, struct zdev_zone *z)
{
	z->capacity = zno == 7 ? z->size + BS : z->capacity;
}

static void capacity_within_a_block(uint32_t zno, struct zdev_zone *z)
{
	z->capacity -= zno == 7;
}

static void no_capacity(uint32_t zno, struct zdev_zone *z)
{
	z->capacity = zno == 7 ? 0 : z->capacity;
}

static void wp_over_capacity(uint32_t zno, struct zdev_zone *z)
{
	if (zno == 7) {
		z->cond = BLK_ZONE_COND_CLOSED;
		z->wp = z->capacity + BS;
	}
}

static void wp_within_a_block(uint32_t zno, struct zdev_zone *z)
{
	if (zno == 7) {
		z->cond = BLK_ZONE_COND_CLOSED;
		z->wp = 100;
	}
}

static void closed_without_wp(uint32_t zno, struct zdev_zone *z)
{
	if (zno == 7) {
		z->cond = BLK_ZONE_COND_CLOSED;
		z->wp = ZDEV_WP_NONE;
	}
}

static void zone_too_long(uint32_t zno, struct zdev_zone *z)
{
	z->size += zno == 7 ? BS : 0;
}

static void test_bad_reports(void)
{
	static const struct { void (*edit)(uint32_t, struct zdev_zone *); int err; } rows[] = {
		{ unknown_type, -EIO }, { unknown_cond, -EIO }, { capacity_over_size, -EIO },
		{ capacity_within_a_block, -EIO }, { no_capacity, -EIO },
		{ wp_over_capacity, -EIO }, { wp_within_a_block, -EIO },
		{ closed_without_wp, -EIO }, { zone_too_long, -EINVAL },
	};
	struct odd *o;
	struct env v;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		o = new_odd(&v, "");
		o->edit = rows[i].edit;
		CHECK_EQ(try_mount(&v, i % 2 ? "strict" : ""), rows[i].err);
		teardown(&v);
	}
}

/* ---- Z3, Z4: several runs of conventional zones ---- */

static void mixed(uint32_t zno, struct zdev_zone *z)
{
	/* c c s c c s s c s s s s: zone 0 is the super block's */
	bool conv = zno == 1 || zno == 3 || zno == 4 || zno == 7;

	z->type = !zno || conv ? BLK_ZONE_TYPE_CONVENTIONAL : BLK_ZONE_TYPE_SEQWRITE_PREF;
	z->cond = !zno || conv ? BLK_ZONE_COND_NOT_WP : BLK_ZONE_COND_EMPTY;
	z->wp = !zno || conv ? ZDEV_WP_NONE : 0;
	z->capacity = !zno || conv ? z->size : CAP;
}

static void expect_file(struct env *v, int dir, const char *name, uint64_t ino, uint64_t size)
{
	struct zonefs_attr a;

	CHECK_EQ(zonefs_lookup(v->fs, NR_ZONES + dir, name, &a), 0);
	CHECK_EQ(a.ino, ino);
	CHECK_EQ(a.size, size);
}

static void test_mixed_zones(void)
{
	struct zonefs_attr a;
	struct odd *o;
	struct env v;

	o = new_odd(&v, "");
	o->edit = mixed;
	do_mount(&v, "");
	expect_file(&v, 1, "0", 1, ZONE_SIZE);
	expect_file(&v, 1, "1", 3, ZONE_SIZE);
	expect_file(&v, 1, "3", 7, ZONE_SIZE);
	expect_file(&v, 2, "0", 2, 0);
	expect_file(&v, 2, "1", 5, 0);
	expect_file(&v, 2, "6", 11, 0);
	teardown(&v);
	o = new_odd(&v, "aggr_cnv");
	o->edit = mixed;
	do_mount(&v, "");
	expect_file(&v, 1, "0", 1, ZONE_SIZE);
	expect_file(&v, 1, "1", 3, 2 * ZONE_SIZE);
	expect_file(&v, 1, "2", 7, ZONE_SIZE);
	CHECK_EQ(zonefs_lookup(v.fs, NR_ZONES + 1, "3", &a), -ENOENT);
	CHECK_EQ(zonefs_getattr(v.fs, 4, &a), -ENOENT);
	CHECK_EQ(zonefs_zone_ino(v.fs, 4), 3);
	CHECK_EQ(zonefs_zone_ino(v.fs, 5), 5);
	teardown(&v);
}

/* ---- answers before the submission returns: loops, not recursion ---- */

/* 768 pieces and a queue of 2000 requests on a stack of 128 KiB. */
static void *deep(void *arg)
{
	enum { NR = 2000 };
	struct call *call = calloc(NR, sizeof(*call));
	struct zonefs_file *f, *c;
	struct env *v = arg;
	char byte = 1;

	CHECK(call);
	f = must_open(v, SEQ(0), O_RDWR);
	CHECK_EQ(t_ftruncate(v, f, CAP - 10), 0);
	expect_zeros(f, CAP - 10, 0);
	CHECK_EQ(t_ftruncate(v, f, 0), 0);
	for (int i = 0; i < NR; i++) {
		call_init(&call[i]);
		zonefs_write(f, O_APPEND, &byte, 1, 0, &call[i].r);
	}
	for (int i = 0; i < NR; i++)
		CHECK_EQ(call_wait(&call[i]), 1);
	CHECK_EQ(t_size(v, SEQ(0)), NR);
	c = must_open(v, CNV(0), O_RDWR);
	CHECK_EQ(put(c, 0, ZONE_SIZE - 3, 1, 1), ZONE_SIZE - 3);
	expect(c, ZONE_SIZE - 3, 1, 1);
	t_release(c);
	t_release(f);
	free(call);
	return NULL;
}

static void test_answers_at_once(void)
{
	pthread_attr_t small;
	pthread_t thread;
	struct odd *o;
	struct env v;

	o = new_odd(&v, "");
	o->at_once = true;
	o->dev.info.max_io = BS;
	do_mount(&v, "");
	pthread_attr_init(&small);
	CHECK_EQ(pthread_attr_setstacksize(&small, 128 << 10), 0);
	CHECK_EQ(pthread_create(&thread, &small, deep, &v), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&small);
	teardown(&v);
}

int main(void)
{
	RUN(test_report_fails);
	RUN(test_tail_cannot_be_read);
	RUN(test_no_tails);
	RUN(test_bad_reports);
	RUN(test_mixed_zones);
	RUN(test_answers_at_once);
	return 0;
}
