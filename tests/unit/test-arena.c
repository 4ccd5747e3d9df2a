/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a killed daemon leaves: at the next mount all that was acknowledged is
 * there, in order, once; an arena that does not fit the device is refused. The
 * number of kills is an argument.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../../src/zonefs/arena_i.h"
#include "zonefs-unit.h"

#define NR_WRITERS	3

static char dir[64];
static char path[128];

static void open_device(struct env *v, bool read_only)
{
	struct zdev_open_opts opts = { .read_only = read_only };
	struct zerr e = { "" };

	memset(v, 0, sizeof(*v));
	pthread_mutex_init(&v->log_lock, NULL);
	CHECK_EQ(zdev_open(path, &opts, &v->dev, &e), 0);
}

static void make_device(enum zdev_layout layout)
{
	struct zonefs_super sb;
	struct zerr e = { "" };
	struct env v;

	snprintf(path, sizeof(path), "%s/dev%s", dir, layout == ZDEV_LAYOUT_DIR ? "" : ".img");
	CHECK_EQ(zdev_create(path, layout, &usual, NULL, NULL, &e), 0);
	open_device(&v, false);
	zonefs_super_init(&sb);
	CHECK_EQ(zonefs_format(v.dev, &sb, NULL, NULL, &e), 0);
	teardown(&v);
}

static void remove_device(void)
{
	unit_rm_tree(path);
}

/* ---- a daemon that is killed ---- */

/* Bytes that were acknowledged, by file; in memory that both processes see. */
static _Atomic uint64_t *acked;

struct writer {
	struct env	*v;
	unsigned	k;
	bool		tails;
};

/* From now on the device has no room for tails. */
static void refuse_tails(struct env *v)
{
	t_fault(v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, EOPNOTSUPP, 0, 0);
}

static void *append_for_ever(void *arg)
{
	struct writer *w = arg;
	struct zonefs_file *f = must_open(w->v, SEQ(w->k), O_WRONLY);
	unsigned seed = (unsigned)(getpid() * 4 + w->k);
	uint64_t pos = t_size(w->v, SEQ(w->k));
	ssize_t n;

	for (;;) {
		size_t len = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 3000 : 150000);

		n = put(f, O_APPEND, len, pos, w->k);
		if (n <= 0)
			break;
		pos += (uint64_t)n;
		atomic_store(&acked[w->k], pos);
		/* Without room for tails fsync and the last close would put zeros there. */
		if (!(rand_r(&seed) % 16))
			CHECK_EQ(w->tails ? t_fsync(f) : t_flush(f), 0);
		if (w->tails && !(rand_r(&seed) % 32)) {
			CHECK_EQ(t_close(f), 0);
			f = must_open(w->v, SEQ(w->k), O_WRONLY);
		}
	}
	CHECK_EQ(n, -EFBIG);
	pause();
	return NULL;
}

static void daemon_main(const char *options, bool tails)
{
	struct writer w[NR_WRITERS];
	pthread_t t;
	struct env v;

	open_device(&v, false);
	if (!tails)
		refuse_tails(&v);
	do_mount(&v, options);
	for (unsigned k = 0; k < NR_WRITERS; k++) {
		w[k] = (struct writer) { &v, k, tails };
		/* Begin anew, and do not confuse an old count with that. */
		if (t_size(&v, SEQ(k)) > CAP / 2) {
			atomic_store(&acked[k], 0);
			CHECK_EQ(t_truncate(&v, SEQ(k), 0), 0);
		}
		CHECK_EQ(pthread_create(&t, NULL, append_for_ever, &w[k]), 0);
	}
	pause();
	_exit(0);
}

/* Until a writer has got something acknowledged: under valgrind that takes long. */
static void wait_for_an_append(void)
{
	uint64_t before[NR_WRITERS];

	for (unsigned k = 0; k < NR_WRITERS; k++)
		before[k] = atomic_load(&acked[k]);
	for (unsigned ms = 0; ms < 10000; ms++) {
		for (unsigned k = 0; k < NR_WRITERS; k++)
			if (atomic_load(&acked[k]) != before[k])
				return;
		usleep(1000);
	}
}

static void kill_a_daemon(const char *options, bool tails, unsigned max_us, bool busy)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid)
		daemon_main(options, tails);
	if (busy)
		wait_for_an_append();
	usleep((unsigned)rand() % max_us);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_acked(struct env *v)
{
	for (unsigned k = 0; k < NR_WRITERS; k++) {
		uint64_t size = t_size(v, SEQ(k)), want = atomic_load(&acked[k]);
		struct zonefs_file *f = must_open(v, SEQ(k), O_RDONLY);

		if (size < want)
			fprintf(stderr, "file %u\n", k);
		CHECK(size >= want);
		expect(f, size, 0, k);
		t_release(f);
	}
}

static void kill_often(enum zdev_layout layout, bool tails, unsigned times)
{
	uint64_t replayed = 0;
	struct env v;

	make_device(layout);
	for (unsigned i = 0; i < times; i++) {
		/* Where tails are refused, each file must find room for its rest. */
		kill_a_daemon(i % 4 ? "append_buffer=1M" :
			      tails ? "append_buffer=512K,buffers=768K" : "append_buffer=256K",
			      tails, 30000, i % 3);
		open_device(&v, false);
		do_mount(&v, i % 8 == 7 ? "strict" : "");
		replayed += t_stats(&v).replayed_bytes;
		/* Strict does not show a partial last block. */
		if (i % 8 == 7) {
			do_unmount(&v);
			do_mount(&v, "");
		}
		check_acked(&v);
		teardown(&v);
	}
	printf("replayed %llu bytes\n", (unsigned long long)replayed);
	CHECK(times < 20 || replayed);
	for (unsigned k = 0; k < NR_WRITERS; k++)
		atomic_store(&acked[k], 0);
	remove_device();
}

/* ---- arenas that do not fit ---- */

/*
 * Leave an arena: SEQ(0) is at base, len bytes of the pattern from there on are
 * published for it and not on the device.
 */
static void leave_arena(uint64_t base, size_t len)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		struct zonefs_super sb;
		struct zdev_zone z;
		struct arena *a;
		struct zerr e;
		struct env v;
		uint32_t seg;

		open_device(&v, false);
		CHECK_EQ(zonefs_super_read(v.dev, &sb, &e), 0);
		CHECK_EQ(zdev_report(v.dev, SEQ(0), 1, &z), 0);
		CHECK_EQ(arena_create(v.dev, sb.uuid, 1 << 20, &a), 0);
		seg = arena_get(a, 0);
		CHECK(seg != ARENA_NO_SEG);
		fill(arena_data(a, seg), len, base, 7);
		arena_claim(a, seg, SEQ(0), z.resets, base);
		arena_publish(a, seg, (uint32_t)len);
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
}

/* Give SEQ(0) a length. */
static void grow(size_t len)
{
	struct zonefs_file *f;
	struct env v;

	open_device(&v, false);
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_WRONLY | O_TRUNC);
	if (len)
		CHECK_EQ(put(f, 0, len, 0, 7), len);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
}

static struct zonefs_arena_left pending(void)
{
	struct zonefs_arena_left left;
	struct zerr e = { "" };
	struct env v;

	open_device(&v, true);
	CHECK_EQ(zonefs_arena_pending(v.dev, NULL, &left, &e), 0);
	teardown(&v);
	return left;
}

/* Mount and see: what was replayed, and how long the file is, of the pattern. */
static void expect_replay(uint64_t bytes, uint64_t size)
{
	struct zonefs_file *f;
	struct env v;

	open_device(&v, false);
	do_mount(&v, "");
	CHECK_EQ(t_stats(&v).replayed_bytes, bytes);
	CHECK_EQ(t_size(&v, SEQ(0)), size);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, size, 0, 7);
	t_release(f);
	teardown(&v);
	CHECK_EQ(pending().bytes, 0);
	CHECK_STR(pending().path, "");
}

static void test_replay(void)
{
	struct zonefs_arena_left left;

	make_device(ZDEV_LAYOUT_IMAGE);
	grow(BS);
	leave_arena(BS, 3 * BS + 9);
	left = pending();
	CHECK_EQ(left.bytes, 3 * BS + 9);
	CHECK_EQ(left.zones, 1);
	CHECK_EQ(left.refused, 0);
	expect_replay(3 * BS + 9, 4 * BS + 9);
	/* The device has a part of it, or all, or the same tail. */
	grow(3 * BS);
	leave_arena(BS, 3 * BS + 9);
	expect_replay(BS + 9, 4 * BS + 9);
	leave_arena(BS, 3 * BS + 9);
	expect_replay(0, 4 * BS + 9);
	/* More of the tail than the device. */
	leave_arena(BS, 3 * BS + 19);
	expect_replay(19, 4 * BS + 19);
	remove_device();
}

static void test_stale(void)
{
	struct zonefs_file *f;
	struct env v;

	/* The write pointer is before it, or behind. */
	make_device(ZDEV_LAYOUT_IMAGE);
	grow(BS);
	leave_arena(2 * BS, BS);
	CHECK_EQ(pending().refused, 1);
	expect_replay(0, BS);
	grow(5 * BS);
	leave_arena(BS, 2 * BS);
	expect_replay(0, 5 * BS);
	/* The zone was reset, and is as long again. */
	grow(BS);
	leave_arena(BS, 2 * BS);
	open_device(&v, false);
	CHECK_EQ(zdev_command(v.dev, ZDEV_RESET, SEQ(0)), 0);
	teardown(&v);
	CHECK_EQ(pending().refused, 1);
	expect_replay(0, 0);
	/* Other bytes are where both have some. */
	open_device(&v, false);
	do_mount(&v, "");
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 2 * BS, 0, 7), 2 * BS);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
	leave_arena(0, 3 * BS);
	open_device(&v, false);
	CHECK_EQ(zdev_command(v.dev, ZDEV_FLUSH, SEQ(0)), 0);
	teardown(&v);
	expect_replay(BS, 3 * BS);
	remove_device();
}

static void test_other_content(void)
{
	struct zonefs_file *f;
	struct env v;

	make_device(ZDEV_LAYOUT_DIR);
	grow(0);
	open_device(&v, false);
	do_mount(&v, "append_buffer=0");
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, BS, 0, 9), BS);
	CHECK_EQ(t_close(f), 0);
	teardown(&v);
	leave_arena(0, 2 * BS);
	CHECK_EQ(pending().refused, 1);
	open_device(&v, false);
	do_mount(&v, "");
	CHECK_EQ(t_stats(&v).replayed_bytes, 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	teardown(&v);
	remove_device();
}

/* ---- damage ---- */

/* Open the arena file that waits. */
static int arena_fd(void)
{
	int fd = open(pending().path, O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

static void test_torn_entry(void)
{
	struct arena_entry e;
	int fd;

	make_device(ZDEV_LAYOUT_IMAGE);
	/* Each byte of the entry of the segment in use is wrong in turn. */
	for (size_t at = 0; at < 32; at++) {
		uint8_t byte;

		if (at >= 4 && at < 8)
			continue;	/* reserved */
		grow(BS);
		leave_arena(BS, BS + 3);
		fd = arena_fd();
		CHECK_EQ(pread(fd, &e, sizeof(e), ARENA_HEAD), sizeof(e));
		CHECK_EQ(pread(fd, &byte, 1, (off_t)(ARENA_HEAD + at)), 1);
		byte ^= 0x10;
		CHECK_EQ(pwrite(fd, &byte, 1, (off_t)(ARENA_HEAD + at)), 1);
		close(fd);
		CHECK_EQ(pending().refused, 1);
		expect_replay(0, BS);
	}
	remove_device();
}

static void test_damaged_header(void)
{
	struct zonefs_arena_left left;
	char aside[400], *slash;

	make_device(ZDEV_LAYOUT_IMAGE);
	for (size_t at = 0; at < 104; at += 7) {
		uint8_t byte;
		int fd;

		grow(BS);
		leave_arena(BS, BS + 3);
		left = pending();
		CHECK_EQ(left.bytes, BS + 3);
		fd = arena_fd();
		CHECK_EQ(pread(fd, &byte, 1, (off_t)at), 1);
		byte ^= 0x40;
		CHECK_EQ(pwrite(fd, &byte, 1, (off_t)at), 1);
		close(fd);
		CHECK_EQ(pending().refused, 1);
		expect_replay(0, BS);
		/* It is aside, for whoever wants to look. */
		slash = strrchr(left.path, '/');
		*slash = '\0';
		snprintf(aside, sizeof(aside), "%s/refused-%s", left.path, slash + 1);
		CHECK_EQ(unlink(aside), 0);
	}
	remove_device();
}

static void test_foreign(void)
{
	struct zonefs_arena_left left;
	char other[320], copy[640];
	struct zonefs_super sb;
	struct zerr e = { "" };
	struct stat st;
	struct env v;

	/* Another file with the same uuid in the place of the device. */
	make_device(ZDEV_LAYOUT_IMAGE);
	grow(BS);
	leave_arena(BS, BS);
	left = pending();
	snprintf(other, sizeof(other), "%s", left.path);
	snprintf(copy, sizeof(copy), "cp %s %s.copy && mv %s.copy %s", path, path, path, path);
	CHECK_EQ(system(copy), 0);
	open_device(&v, false);
	do_mount(&v, "");
	CHECK_EQ(t_stats(&v).replayed_bytes, 0);
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	CHECK(atomic_load(&v.log_lines) >= 1);
	teardown(&v);
	/* It was not for this one to remove. */
	CHECK_EQ(stat(other, &st), 0);
	CHECK_EQ(unlink(other), 0);
	/* Formatted since. */
	leave_arena(BS, BS);
	open_device(&v, false);
	zonefs_super_init(&sb);
	CHECK_EQ(zonefs_format(v.dev, &sb, NULL, NULL, &e), 0);
	teardown(&v);
	left = pending();
	CHECK_EQ(left.refused, 1);
	expect_replay(0, 0);
	snprintf(copy, sizeof(copy), "rm %.*srefused-*", (int)(strrchr(left.path, '/') + 1 - left.path),
		 left.path);
	CHECK_EQ(system(copy), 0);
	/* Thrown away on purpose. */
	leave_arena(0, BS);
	open_device(&v, false);
	CHECK_EQ(zonefs_arena_discard(v.dev, &e), 0);
	teardown(&v);
	expect_replay(0, 0);
	remove_device();
}

/* A read-only mount leaves it for one that may write. */
static void test_read_only(void)
{
	struct env v;

	make_device(ZDEV_LAYOUT_DIR);
	grow(BS);
	leave_arena(BS, BS + 1);
	open_device(&v, true);
	do_mount(&v, "ro");
	CHECK_EQ(t_size(&v, SEQ(0)), BS);
	CHECK_HAS(v.last_log, "wait");
	teardown(&v);
	CHECK_EQ(pending().bytes, BS + 1);
	expect_replay(BS + 1, 2 * BS + 1);
	remove_device();
}

/* The device fails meanwhile: the mount does, and the arena stays. */
static void test_replay_fails(void)
{
	struct env v;

	make_device(ZDEV_LAYOUT_IMAGE);
	grow(BS);
	leave_arena(BS, 2 * BS + 1);
	open_device(&v, false);
	t_fault(&v, ZDEV_WRITE, SEQ(0), ENOSPC, 1, BS);
	CHECK_EQ(try_mount(&v, ""), -ENOSPC);
	teardown(&v);
	expect_replay(BS + 1, 3 * BS + 1);
	remove_device();
}

/* ---- rests of less than a block that the device has no room for ---- */

#define RESTS	"append_buffer=512K,buffers=512K,errors=repair,flush_interval=1"

static int through(struct env *v, bool on)
{
	return (int)WAIT(zonefs_set_through(v->fs, SEQ(0), on, &c.r));
}

/* What is done to SEQ(0), which is empty, before the kill. */

static void closed(struct env *v, struct zonefs_file *f)
{
	CHECK_EQ(put(f, 0, BS + 100, 0, 7), BS + 100);
	CHECK_EQ(t_flush(f), 0);
}

static void less_than_a_block(struct env *v, struct zonefs_file *f)
{
	CHECK_EQ(put(f, 0, 100, 0, 7), 100);
	CHECK_EQ(t_flush(f), 0);
}

static void continued(struct env *v, struct zonefs_file *f)
{
	closed(v, f);
	CHECK_EQ(put(f, 0, 50, BS + 100, 7), 50);
}

static void continued_and_closed(struct env *v, struct zonefs_file *f)
{
	closed(v, f);
	CHECK_EQ(put(f, 0, 300 << 10, BS + 100, 7), 300 << 10);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(put(f, 0, 3 * BS, BS + 100 + (300 << 10), 7), 3 * BS);
	CHECK_EQ(t_flush(f), 0);
}

static void by_the_clock(struct env *v, struct zonefs_file *f)
{
	CHECK_EQ(put(f, 0, 100, 0, 7), 100);
	for (int i = 0; i < 10000 && t_stats(v).staged_bytes; i++)
		usleep(1000);
	CHECK_EQ(t_stats(v).staged_bytes, 0);
}

static void past_the_arena(struct env *v, struct zonefs_file *f)
{
	CHECK_EQ(through(v, true), 0);
	CHECK_EQ(put(f, 0, 10, 0, 7), 10);
	CHECK_EQ(put(f, 0, 90, 10, 7), 90);
	CHECK_EQ(t_stats(v).staged_bytes, 0);
}

static void past_the_arena_by_blocks(struct env *v, struct zonefs_file *f)
{
	past_the_arena(v, f);
	CHECK_EQ(put(f, 0, BS, 100, 7), BS);
	CHECK_EQ(through(v, false), 0);
	CHECK_EQ(put(f, 0, 20, BS + 100, 7), 20);
	CHECK_EQ(t_flush(f), 0);
	CHECK_EQ(through(v, true), -EOPNOTSUPP);
}

/* The device forgets the tail as it fails, and has no room for it any more. */
static void stored_once(struct env *v, struct zonefs_file *f)
{
	struct zdev_io forget = { .op = ZDEV_PUT_TAIL, .zno = SEQ(0), .pos = BS };

	t_fault(v, ZDEV_PUT_TAIL, ZDEV_ALL_ZONES, 0, 0, 0);
	closed(v, f);
	CHECK_EQ(zdev_run(v->dev, &forget), 0);
	refuse_tails(v);
	t_fault(v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 3 * BS, BS + 100, 7), 3 * BS);
	CHECK_EQ(t_flush(f), -EIO);
}

static void late_error(struct env *v, struct zonefs_file *f)
{
	closed(v, f);
	t_fault(v, ZDEV_WRITE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(put(f, 0, 3 * BS, BS + 100, 7), 3 * BS);
	CHECK_EQ(t_flush(f), -EIO);
	CHECK_EQ(t_size(v, SEQ(0)), BS + 100);
}

static void sealed(struct env *v, struct zonefs_file *f)
{
	closed(v, f);
	CHECK_EQ(t_fsync(f), 0);
	CHECK_EQ(t_size(v, SEQ(0)), 2 * BS);
}

static void synchronous(struct env *v, struct zonefs_file *f)
{
	less_than_a_block(v, f);
	CHECK_EQ(put(f, O_DSYNC, BS, 100, 7), BS);
}

static void was_reset(struct env *v, struct zonefs_file *f)
{
	less_than_a_block(v, f);
	CHECK_EQ(t_ftruncate(v, f, 0), 0);
}

static void was_reset_and_continued(struct env *v, struct zonefs_file *f)
{
	closed(v, f);
	CHECK_EQ(t_ftruncate(v, f, 0), 0);
	less_than_a_block(v, f);
}

/* Other files have all of the arena. */
static void arena_full(struct env *v, struct zonefs_file *f)
{
	for (unsigned k = 1; k < 3; k++) {
		struct zonefs_file *other = must_open(v, SEQ(k), O_WRONLY);

		CHECK_EQ(put(other, 0, 60, 0, k), 60);
		CHECK_EQ(t_flush(other), 0);
	}
	CHECK_EQ(put(f, 0, 100, 0, 7), 100);
}

static const struct rest_case {
	const char	*name;
	void		(*act)(struct env *v, struct zonefs_file *f);
	uint64_t	size;		/* after a replay on a device with room for tails */
	uint64_t	bytes;		/* of the pattern, then there are zeros */
} rest_cases[] = {
	{ "closed", closed, BS + 100, BS + 100 },
	{ "less than a block", less_than_a_block, 100, 100 },
	{ "continued", continued, BS + 150, BS + 150 },
	{ "continued and closed", continued_and_closed, (300 << 10) + 4 * BS + 100,
	  (300 << 10) + 4 * BS + 100 },
	{ "by the clock", by_the_clock, 100, 100 },
	{ "past the arena", past_the_arena, 100, 100 },
	{ "past the arena by blocks", past_the_arena_by_blocks, BS + 120, BS + 120 },
	{ "stored once", stored_once, BS + 100, BS + 100 },
	{ "late error", late_error, BS + 100, BS + 100 },
	{ "sealed", sealed, 2 * BS, BS + 100 },
	{ "synchronous", synchronous, 2 * BS, BS + 100 },
	{ "reset", was_reset, 0, 0 },
	{ "reset and continued", was_reset_and_continued, 100, 100 },
	{ "arena full", arena_full, BS, 100 },
};

static void kill_after(const struct rest_case *rc)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		struct env v;

		open_device(&v, false);
		refuse_tails(&v);
		do_mount(&v, RESTS);
		rc->act(&v, must_open(&v, SEQ(0), O_RDWR | O_TRUNC));
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_rest(const struct rest_case *rc, bool room)
{
	uint64_t size = room ? rc->size : (rc->size + BS - 1) / BS * BS;
	struct zonefs_file *f;
	struct env v;

	CHECK_EQ(pending().refused, 0);
	open_device(&v, false);
	if (!room)
		refuse_tails(&v);
	do_mount(&v, room ? "" : RESTS);
	CHECK_EQ(t_size(&v, SEQ(0)), size);
	f = must_open(&v, SEQ(0), O_RDONLY);
	expect(f, rc->bytes, 0, 7);
	if (size > rc->bytes)
		expect_zeros(f, size - rc->bytes, rc->bytes);
	t_release(f);
	for (unsigned k = 1; k < 3; k++) {
		if (rc->act != arena_full)
			break;
		f = must_open(&v, SEQ(k), O_RDONLY);
		expect(f, 60, 0, k);
		t_release(f);
		CHECK_EQ(t_truncate(&v, SEQ(k), 0), 0);
	}
	teardown(&v);
}

/* Killed with rests in the arena; replayed where there is room for tails, and where not. */
static void test_rests(void)
{
	static const enum zdev_layout layouts[] = { ZDEV_LAYOUT_DIR, ZDEV_LAYOUT_IMAGE };

	for (unsigned l = 0; l < 2; l++) {
		make_device(layouts[l]);
		for (unsigned i = 0; i < 2 * sizeof(rest_cases) / sizeof(rest_cases[0]); i++) {
			const struct rest_case *rc = &rest_cases[i / 2];

			printf("  %s, layout %u, %s\n", rc->name, l, i % 2 ? "room" : "no room");
			fflush(stdout);
			kill_after(rc);
			check_rest(rc, i % 2);
		}
		remove_device();
	}
}

/* Killed between the replay that completed a block and the end of the arena. */
static void test_padded_twice(void)
{
	const struct rest_case *rc = &rest_cases[0];
	struct zonefs_arena_left left;
	char copy[800];

	make_device(ZDEV_LAYOUT_IMAGE);
	kill_after(rc);
	left = pending();
	CHECK_EQ(left.bytes, 100);
	snprintf(copy, sizeof(copy), "cp %s %s.copy", left.path, dir);
	CHECK_EQ(system(copy), 0);
	check_rest(rc, false);
	snprintf(copy, sizeof(copy), "mv %s.copy %s", dir, left.path);
	CHECK_EQ(system(copy), 0);
	left = pending();
	CHECK_EQ(left.bytes, 0);
	check_rest(rc, false);
	remove_device();
}

int main(int argc, char **argv)
{
	unsigned times = argc > 1 ? (unsigned)atoi(argv[1]) : 24;

	srand((unsigned)time(NULL));
	unit_tmpdir(dir, sizeof(dir));
	acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(acked != MAP_FAILED);
	RUN(test_replay);
	RUN(test_stale);
	RUN(test_other_content);
	RUN(test_torn_entry);
	RUN(test_damaged_header);
	RUN(test_foreign);
	RUN(test_read_only);
	RUN(test_replay_fails);
	RUN(test_rests);
	RUN(test_padded_twice);
	printf("kill_often\n");
	for (unsigned tails = 0; tails < 2; tails++) {
		kill_often(ZDEV_LAYOUT_DIR, tails, times);
		kill_often(ZDEV_LAYOUT_IMAGE, tails, times);
	}
	unit_rm_tree(dir);
	return 0;
}
