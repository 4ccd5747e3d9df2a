/* SPDX-License-Identifier: BSD-2-Clause */
/* Recovery from I/O errors (Z12), every cell of its table, in both personalities. */
#include "zonefs-unit.h"

enum { MORE, LESS, SAME, ZONE_RO, ZONE_OFF, NR_STATES };

#define NONE	0	/* the access that is left: all of it */
#define RO	1
#define OFF	2

/* Two blocks in the file; MORE has three on the device, LESS none. */
#define SIZE	(2 * BS)
#define DEV	(3 * BS)

struct outcome {
	uint64_t	size;
	int		file;		/* NONE, RO, OFF */
	bool		fs_ro;
};

static const struct {
	const char	*errors;
	struct outcome	out[NR_STATES];
} table[] = {
	{ "errors=remount-ro",
	  { { SIZE, NONE, true }, { 0, NONE, true }, { SIZE, NONE, true },
	    { SIZE, RO, true }, { 0, OFF, true } } },
	{ "errors=zone-ro",
	  { { SIZE, RO, false }, { SIZE, RO, false }, { SIZE, RO, false },
	    { SIZE, RO, false }, { 0, OFF, false } } },
	{ "errors=zone-offline",
	  { { 0, OFF, false }, { 0, OFF, false }, { 0, OFF, false },
	    { 0, OFF, false }, { 0, OFF, false } } },
	{ "errors=repair",
	  { { DEV, NONE, false }, { 0, NONE, false }, { SIZE, NONE, false },
	    { SIZE, RO, false }, { 0, OFF, false } } },
};

static void break_zone(struct env *v, uint32_t zno, int state)
{
	char block[BS] = { 1 };

	switch (state) {
	case MORE:
		CHECK_EQ(zdev_pwrite(v->dev, zno, SIZE, block, BS), BS);
		break;
	case LESS:
		CHECK_EQ(zdev_command(v->dev, ZDEV_RESET, zno), 0);
		break;
	case SAME:
		t_fault(v, ZDEV_WRITE, zno, EIO, 1, 0);
		break;
	case ZONE_RO:
		CHECK_EQ(zdev_set_cond(v->dev, zno, BLK_ZONE_COND_READONLY), 0);
		break;
	default:
		CHECK_EQ(zdev_set_cond(v->dev, zno, BLK_ZONE_COND_OFFLINE), 0);
	}
}

static void check_outcome(struct env *v, uint64_t ino, const struct outcome *o, uint64_t was)
{
	static const uint32_t modes[] = { 0640, 0440, 0 };
	struct zonefs_stats st = t_stats(v);
	struct zonefs_file *f;
	char buf[BS];

	CHECK_EQ(t_size(v, ino), o->size);
	CHECK_EQ(t_mode(v, ino), modes[o->file]);
	CHECK_EQ(st.read_only, o->fs_ro);
	CHECK_EQ(v->went_readonly, o->fs_ro);
	if (o->size != was || o->file)
		CHECK(v->attr_changed);
	else
		CHECK(!v->attr_changed);
	/* The file, and its neighbour. */
	CHECK_EQ(t_open(v, ino, STRICT_W, &f),
		 o->fs_ro ? -EROFS : o->file ? -EPERM : 0);
	if (!o->fs_ro && !o->file)
		t_release(f);
	CHECK_EQ(t_truncate(v, ino, CAP), o->fs_ro ? -EROFS : o->file ? -EPERM : 0);
	CHECK_EQ(t_open(v, SEQ(7), STRICT_W, &f), o->fs_ro ? -EROFS : 0);
	if (!o->fs_ro)
		t_release(f);
	f = must_open(v, ino, O_RDONLY);
	if (o->file == OFF)
		CHECK_EQ(t_read(f, 0, buf, 1, 0), -EPERM);
	else if (o->size && t_zone(v, (uint32_t)ino).cond != BLK_ZONE_COND_OFFLINE)
		CHECK_EQ(t_read(f, 0, buf, 1, 0), 1);
	t_release(f);
}

static void test_write_error(void)
{
	static const char *const personalities[] = { "strict,", "" };
	struct zonefs_file *f;
	char options[64];
	struct env v;

	for (int p = 0; p < 2; p++) {
		for (size_t e = 0; e < 4; e++) {
			for (int state = 0; state < NR_STATES; state++) {
				snprintf(options, sizeof(options), "%s%s", personalities[p],
					 table[e].errors);
				setup(&v, options);
				f = must_open(&v, SEQ(0), STRICT_W);
				CHECK_EQ(put(f, STRICT_W, SIZE, 0, 1), SIZE);
				break_zone(&v, SEQ(0), state);
				CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
				CHECK_EQ(t_stats(&v).recoveries, 1);
				CHECK(v.log_lines);
				t_release(f);
				check_outcome(&v, SEQ(0), &table[e].out[state], SIZE);
				teardown(&v);
			}
		}
	}
}

/* A failed read of a good zone where nothing is wrong with the size: no action. */
static void test_read_error(void)
{
	struct outcome nothing = { SIZE, NONE, false };
	struct zonefs_file *f;
	struct env v;
	char buf[BS];

	for (size_t e = 0; e < 4; e++) {
		for (int state = 0; state < NR_STATES; state++) {
			setup(&v, table[e].errors);
			f = must_open(&v, SEQ(0), O_RDWR | O_DIRECT);
			CHECK_EQ(put(f, STRICT_W, SIZE, 0, 1), SIZE);
			if (state != SAME)
				break_zone(&v, SEQ(0), state);
			t_fault(&v, ZDEV_READ, SEQ(0), EIO, 1, 0);
			CHECK_EQ(t_read(f, O_DIRECT, buf, BS, 0), -EIO);
			CHECK_EQ(t_stats(&v).recoveries, 1);
			t_release(f);
			check_outcome(&v, SEQ(0),
				      state == SAME ? &nothing : &table[e].out[state], SIZE);
			teardown(&v);
		}
	}
}

/* A part of the write has landed: remount-ro keeps the size, repair shows it. */
static void test_partial_write(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=repair");
	f = must_open(&v, SEQ(0), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 3 * BS);
	CHECK_EQ(put(f, STRICT_W, 8 * BS, 0, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 3 * BS);
	CHECK_EQ(put(f, STRICT_W, BS, 3 * BS, 1), BS);
	t_release(f);
	teardown(&v);
	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 3 * BS);
	CHECK_EQ(put(f, STRICT_W, 8 * BS, 0, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	t_release(f);
	teardown(&v);
}

/* "Size kept" with more on the device: a remount for writing fails again at once. */
static void test_only_repair_resynchronises(void)
{
	struct zonefs_file *f;
	struct zonefs_opts o;
	struct env v;

	setup(&v, "strict");
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, SIZE, 0, 1), SIZE);
	break_zone(&v, SEQ(0), MORE);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EROFS);
	zonefs_get_opts(v.fs, &o);
	o.read_only = false;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
	CHECK(t_stats(&v).read_only);
	CHECK_EQ(v.went_readonly, 2);
	o.errors = ZONEFS_ERRORS_REPAIR;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), DEV);
	CHECK_EQ(put(f, STRICT_W, BS, DEV, 1), BS);
	t_release(f);
	teardown(&v);
}

/* Marks of files outlast a remount; a zone bad on the device, the next mount too. */
static void test_marks_stay_until_unmount(void)
{
	struct zonefs_opts o;
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=zone-ro");
	f = must_open(&v, SEQ(0), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), -EIO);
	t_release(f);
	zonefs_get_opts(v.fs, &o);
	o.errors = ZONEFS_ERRORS_REPAIR;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EPERM);
	CHECK_EQ(t_mode(&v, SEQ(0)), 0440);
	do_unmount(&v);
	do_mount(&v, "strict");
	CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
	teardown(&v);
}

/* An earlier recovery's mark decides like the condition of the device would. */
static void test_marked_file_fails_again(void)
{
	struct zonefs_file *f;
	struct zonefs_opts o;
	struct env v;
	char buf[BS];

	setup(&v, "strict,errors=zone-ro");
	f = must_open(&v, SEQ(0), O_RDWR | O_DIRECT);
	CHECK_EQ(put(f, STRICT_W, SIZE, 0, 1), SIZE);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
	CHECK_EQ(t_mode(&v, SEQ(0)), 0440);
	zonefs_get_opts(v.fs, &o);
	o.errors = ZONEFS_ERRORS_ZOL;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	t_fault(&v, ZDEV_READ, SEQ(0), EIO, 1, 0);
	CHECK_EQ(t_read(f, O_DIRECT, buf, BS, 0), -EIO);
	CHECK_EQ(t_mode(&v, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	t_release(f);
	teardown(&v);
}

/* Size, used blocks and the active count follow in every row. */
static void test_counts_follow(void)
{
	struct zonefs_statfs before, after;
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=zone-offline");
	zonefs_statfs(v.fs, &before);
	f = must_open(&v, SEQ(0), STRICT_W);
	CHECK_EQ(put(f, STRICT_W, SIZE, 0, 1), SIZE);
	CHECK_EQ(t_stats(&v).nr_active, 1);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, SIZE, 1), -EIO);
	CHECK_EQ(t_stats(&v).nr_active, 0);
	CHECK_EQ(t_stats(&v).nr_wro, 1);
	zonefs_statfs(v.fs, &after);
	CHECK_EQ(before.bfree, after.bfree);
	t_release(f);
	CHECK_EQ(t_stats(&v).nr_wro, 0);
	teardown(&v);
}

/* Conventional: the answer is fixed, good and full. */
static void test_conventional(void)
{
	static const struct outcome out[] = {
		{ ZONE_SIZE, NONE, true }, { ZONE_SIZE, RO, false },
		{ 0, OFF, false }, { ZONE_SIZE, NONE, false },
	};
	struct zonefs_file *f;
	struct env v;
	char buf[BS];

	for (size_t e = 0; e < 4; e++) {
		setup(&v, table[e].errors);
		f = must_open(&v, CNV(0), O_RDWR);
		/* A direct write only returns its errno, a read error does nothing. */
		t_fault(&v, ZDEV_WRITE, CNV(0), EIO, 2, 0);
		t_fault(&v, ZDEV_READ, CNV(0), EIO, 1, 0);
		CHECK_EQ(put(f, O_RDWR | O_DIRECT, BS, 0, 0), -EIO);
		CHECK_EQ(t_stats(&v).recoveries, 0);
		CHECK_EQ(t_read(f, 0, buf, BS, 0), -EIO);
		CHECK_EQ(t_size(&v, CNV(0)), ZONE_SIZE);
		CHECK_EQ(t_mode(&v, CNV(0)), 0640);
		CHECK(!t_stats(&v).read_only);
		CHECK_EQ(put(f, O_RDWR, BS, 0, 0), -EIO);
		t_release(f);
		CHECK_EQ(t_size(&v, CNV(0)), out[e].size);
		CHECK_EQ(t_mode(&v, CNV(0)), out[e].file == OFF ? 0 : out[e].file ? 0440 : 0640);
		CHECK_EQ(t_stats(&v).read_only, out[e].fs_ro);
		teardown(&v);
	}
}

/* A log line before the answer: device, zone, operation, cause. */
static void test_log_names_it_all(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "strict,errors=repair");
	f = must_open(&v, SEQ(2), STRICT_W);
	t_fault(&v, ZDEV_WRITE, SEQ(2), EIO, 1, 0);
	CHECK_EQ(put(f, STRICT_W, BS, 0, 1), -EIO);
	CHECK_HAS(v.last_log, "zone 6 (seq/2): write: Input/output error");
	t_release(f);
	teardown(&v);
}

/* Limits of the device reach the caller as they are; strict recovers from them. */
static void test_errno_is_passed_on(void)
{
	static const int errs[] = { ENOSPC, ETOOMANYREFS, EOVERFLOW, ENOMEM };
	struct zonefs_file *f;
	struct env v;

	for (int i = 0; i < 4; i++) {
		setup(&v, "strict");
		f = must_open(&v, SEQ(0), STRICT_W);
		t_fault(&v, ZDEV_WRITE, SEQ(0), errs[i], 1, 0);
		CHECK_EQ(put(f, STRICT_W, BS, 0, 1), -errs[i]);
		CHECK(t_stats(&v).read_only);
		t_release(f);
		teardown(&v);
	}
}

/* ---- default personality ---- */

/* Lack of room or of zone resources is nobody's fault (D10). */
static void test_default_takes_lack_of_room_calmly(void)
{
	static const int errs[] = { ENOSPC, ETOOMANYREFS, EOVERFLOW };
	struct zonefs_file *f;
	struct env v;

	for (int i = 0; i < 3; i++) {
		for (size_t e = 0; e < 4; e++) {
			setup(&v, table[e].errors);
			f = must_open(&v, SEQ(0), O_RDWR);
			CHECK_EQ(put(f, 0, 5000, 0, 1), 5000);
			t_fault(&v, ZDEV_WRITE, SEQ(0), errs[i], 1, 0);
			CHECK_EQ(put(f, 0, 10000, 5000, 1), -errs[i]);
			CHECK_EQ(t_size(&v, SEQ(0)), 5000);
			CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
			CHECK(!t_stats(&v).read_only);
			CHECK_EQ(put(f, 0, 10000, 5000, 1), 10000);
			expect(f, 15000, 0, 1);
			t_release(f);
			teardown(&v);
		}
	}
}

/* What there was room for is a short write; the size is what the device has. */
static void test_default_short_write_for_lack_of_room(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	t_fault(&v, ZDEV_WRITE, SEQ(0), ENOSPC, 2, 2 * BS);
	CHECK_EQ(put(f, 0, 20000, 100, 1), 2 * BS - 100);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	t_fault(&v, ZDEV_WRITE, SEQ(0), 0, 0, 0);
	t_fault(&v, ZDEV_WRITE, SEQ(0), ENOSPC, 1, 0);
	CHECK_EQ(put(f, 0, 20000, 2 * BS, 1), -ENOSPC);
	CHECK_EQ(put(f, 0, 20000, 2 * BS, 1), 20000);
	expect(f, 2 * BS + 20000, 0, 1);
	/* Only zeros of a gap have landed: nothing of the caller's. */
	t_fault(&v, ZDEV_WRITE, SEQ(0), ENOSPC, 1, 2 * BS);
	CHECK_EQ(put(f, 0, 1000, 2 * BS + 20000 + 50000, 1), -ENOSPC);
	CHECK_EQ(t_size(&v, SEQ(0)), 6 * BS + 2 * BS);
	t_release(f);
	teardown(&v);
}

/* The tail that was acknowledged before survives a failed write, and a remount. */
static void test_default_tail_survives_a_failed_write(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 77, 0, 1), BS + 77);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 2 * BS, BS + 77, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 77);
	expect(f, BS + 77, 0, 1);
	t_fault(&v, ZDEV_PUT_TAIL, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 10, BS + 77, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 77);
	t_release(f);
	do_unmount(&v);
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_RDONLY);
	CHECK_EQ(t_size(&v, SEQ(0)), BS + 77);
	expect(f, BS + 77, 0, 1);
	t_release(f);
	teardown(&v);
}

/* Blocks landed, the tail did not: the size follows, the table applies. */
static void test_default_tail_cannot_be_stored(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	t_fault(&v, ZDEV_PUT_TAIL, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 2 * BS + 10, 0, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	t_fault(&v, ZDEV_PUT_TAIL, SEQ(0), ENOSPC, 1, 0);
	CHECK_EQ(put(f, 0, 2 * BS + 10, 2 * BS, 1), 2 * BS);
	CHECK_EQ(t_size(&v, SEQ(0)), 4 * BS);
	t_release(f);
	teardown(&v);
	setup(&v, "");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, 100, 0, 1), 100);
	t_fault(&v, ZDEV_PUT_TAIL, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 2 * BS + 10, 100, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 100);		/* kept */
	CHECK(t_stats(&v).read_only);
	expect(f, 100, 0, 1);				/* from memory */
	CHECK_EQ(t_fsync(f), 0);
	t_release(f);
	CHECK_EQ(t_stats(&v).io_errors, 1);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, 100, 0, 1);
	t_release(f);
	teardown(&v);
}

/* More behind the tail's back: repair drops the tail, it is a block by now. */
static void test_default_device_moved_past_the_tail(void)
{
	char block[BS] = { 9 };
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 77, 0, 1), BS + 77);
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(0), BS, block, BS), BS);
	CHECK_EQ(put(f, 0, 100, BS + 77, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 2 * BS);
	CHECK_EQ(t_stats(&v).tails_dropped, 1);
	CHECK_EQ(put(f, 0, 100, 2 * BS, 1), 100);
	t_release(f);
	teardown(&v);
}

/* A write that landed in part took the tail with it: nothing is lost. */
static void test_default_tail_in_a_partial_write(void)
{
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair");
	f = must_open(&v, SEQ(0), O_RDWR);
	CHECK_EQ(put(f, 0, BS + 77, 0, 1), BS + 77);
	t_fault(&v, ZDEV_WRITE, SEQ(0), EIO, 1, 2 * BS);
	CHECK_EQ(put(f, 0, 4 * BS, BS + 77, 1), -EIO);
	CHECK_EQ(t_size(&v, SEQ(0)), 3 * BS);
	expect(f, 3 * BS, 0, 1);
	CHECK_EQ(t_stats(&v).tails_dropped, 0);
	t_release(f);
	teardown(&v);
}

int main(void)
{
	RUN(test_write_error);
	RUN(test_read_error);
	RUN(test_partial_write);
	RUN(test_only_repair_resynchronises);
	RUN(test_marks_stay_until_unmount);
	RUN(test_marked_file_fails_again);
	RUN(test_counts_follow);
	RUN(test_conventional);
	RUN(test_log_names_it_all);
	RUN(test_errno_is_passed_on);
	RUN(test_default_takes_lack_of_room_calmly);
	RUN(test_default_short_write_for_lack_of_room);
	RUN(test_default_tail_survives_a_failed_write);
	RUN(test_default_tail_cannot_be_stored);
	RUN(test_default_device_moved_past_the_tail);
	RUN(test_default_tail_in_a_partial_write);
	return 0;
}
