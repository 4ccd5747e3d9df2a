/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the unit tests of src/zonefs share: a formatted device in RAM, a mount
 * of it, and the calls of zonefs.h as functions that wait for their answer.
 */
#ifndef ZONEFS_UNIT_H
#define ZONEFS_UNIT_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>

#include "zonefsd/zonefs.h"
#include "unit.h"

/*
 * Zone 0 holds the super block, zones 1 to NR_CONV - 1 are cnv/0 .., zone
 * NR_CONV + n is seq/n. The capacity is not the zone size, on purpose.
 */
#define BS		4096u
#define ZONE_SIZE	(UINT64_C(4) << 20)
#define CAP		(UINT64_C(3) << 20)
#define NR_CONV		4u
#define NR_ZONES	12u
#define NR_SEQ		(NR_ZONES - NR_CONV)
#define CNV(n)		(1u + (n))
#define SEQ(n)		(NR_CONV + (n))

#define STRICT_W	(O_WRONLY | O_DIRECT)

struct env {
	struct zdev	*dev;
	struct zonefs	*fs;
	struct zonefs_opts opts;
	struct zlog	log;
	/* From the events, counted. */
	atomic_uint	attr_changed, went_readonly, log_lines;
	char		last_log[256];
	pthread_mutex_t	log_lock;
};

static inline void env_attr_changed(void *ctx, uint64_t ino)
{
	atomic_fetch_add(&((struct env *)ctx)->attr_changed, 1);
}

static inline void env_went_readonly(void *ctx)
{
	atomic_fetch_add(&((struct env *)ctx)->went_readonly, 1);
}

static inline void env_log(void *ctx, enum zlog_level level, const char *line)
{
	struct env *v = ctx;

	pthread_mutex_lock(&v->log_lock);
	snprintf(v->last_log, sizeof(v->last_log), "%s", line);
	pthread_mutex_unlock(&v->log_lock);
	atomic_fetch_add(&v->log_lines, 1);
	if (getenv("VERBOSE"))
		fprintf(stderr, "  log: %s\n", line);
}

/* Mount v->dev by a comma list of options; 0 or -errno. */
static inline int try_mount(struct env *v, const char *options)
{
	struct zonefs_events ev = {
		.attr_changed = env_attr_changed, .went_readonly = env_went_readonly, .ctx = v,
	};
	char list[256], *save, *opt;
	struct zerr e = { "" };
	int err;

	zonefs_opts_init(&v->opts);
	v->opts.mounter_uid = v->opts.mounter_gid = 0;
	/* The way to the device without staging; who tests that asks for it. */
	v->opts.append_buffer = 0;
	snprintf(list, sizeof(list), "%s", options);
	for (opt = strtok_r(list, ",", &save); opt; opt = strtok_r(NULL, ",", &save))
		CHECK_EQ(zonefs_opts_apply(&v->opts, opt, &e), 0);
	v->log = (struct zlog) { .write = env_log, .ctx = v, .max_level = ZLOG_DEBUG };
	err = zonefs_mount(v->dev, &v->opts, &ev, &v->log, &v->fs, &e);
	if (err)
		CHECK(e.msg[0]);
	return err;
}

static inline void do_mount(struct env *v, const char *options)
{
	CHECK_EQ(try_mount(v, options), 0);
}

static inline void do_unmount(struct env *v)
{
	CHECK_EQ(zonefs_unmount(v->fs), 0);
	v->fs = NULL;
}

static inline void new_device(struct env *v, const struct zdev_geometry *g,
			      const char *features)
{
	char list[256], *save, *opt;
	struct zonefs_super sb;
	struct zerr e = { "" };

	memset(v, 0, sizeof(*v));
	pthread_mutex_init(&v->log_lock, NULL);
	CHECK_EQ(zdev_mem_create(g, &v->dev, &e), 0);
	zonefs_super_init(&sb);
	snprintf(list, sizeof(list), "%s", features);
	for (opt = strtok_r(list, ",", &save); opt; opt = strtok_r(NULL, ",", &save))
		CHECK_EQ(zonefs_super_option(&sb, opt, &e), 0);
	CHECK_EQ(zonefs_format(v->dev, &sb, NULL, NULL, &e), 0);
}

static const struct zdev_geometry usual = {
	.block_size = BS, .zone_size = ZONE_SIZE, .zone_capacity = CAP,
	.nr_zones = NR_ZONES, .nr_conv = NR_CONV,
};

static inline void setup_with(struct env *v, const struct zdev_geometry *g,
			      const char *features, const char *options)
{
	new_device(v, g, features);
	do_mount(v, options);
}

static inline void setup(struct env *v, const char *options)
{
	setup_with(v, &usual, "", options);
}

static inline void teardown(struct env *v)
{
	if (v->fs)
		CHECK_EQ(zonefs_unmount(v->fs), 0);
	CHECK_EQ(zdev_close(v->dev), 0);
	pthread_mutex_destroy(&v->log_lock);
}

/* ---- calls that wait ---- */

struct call {
	struct zonefs_req r;		/* first */
	ssize_t		result;
	sem_t		sem;
};

static inline void call_done(struct zonefs_req *r, ssize_t result)
{
	struct call *c = (struct call *)r;

	c->result = result;
	sem_post(&c->sem);
}

static inline void call_init(struct call *c)
{
	memset(c, 0, sizeof(*c));
	c->r.done = call_done;
	sem_init(&c->sem, 0, 0);
}

static inline ssize_t call_wait(struct call *c)
{
	while (sem_wait(&c->sem))
		;
	sem_destroy(&c->sem);
	return c->result;
}

#define WAIT(invoke) ({ struct call c; call_init(&c); invoke; call_wait(&c); })

static inline int t_open(struct env *v, uint64_t ino, int flags, struct zonefs_file **file)
{
	return (int)WAIT(zonefs_open(v->fs, ino, flags, file, &c.r));
}

static inline struct zonefs_file *must_open(struct env *v, uint64_t ino, int flags)
{
	struct zonefs_file *file = NULL;

	CHECK_EQ(t_open(v, ino, flags, &file), 0);
	CHECK_EQ(zonefs_file_ino(file), ino);
	return file;
}

static inline int t_flush(struct zonefs_file *file)
{
	return (int)WAIT(zonefs_flush(file, &c.r));
}

static inline void t_release(struct zonefs_file *file)
{
	CHECK_EQ(WAIT(zonefs_release(file, &c.r)), 0);
}

/* As close(2): the result of the flush. */
static inline int t_close(struct zonefs_file *file)
{
	int err = t_flush(file);

	t_release(file);
	return err;
}

static inline ssize_t t_read(struct zonefs_file *file, int flags, void *buf, size_t len,
			     uint64_t off)
{
	return WAIT(zonefs_read(file, flags, buf, len, off, &c.r));
}

static inline ssize_t t_write(struct zonefs_file *file, int flags, const void *buf,
			      size_t len, uint64_t off)
{
	return WAIT(zonefs_write(file, flags, buf, len, off, &c.r));
}

static inline int t_fsync(struct zonefs_file *file)
{
	return (int)WAIT(zonefs_fsync(file, &c.r));
}

static inline int t_setattr(struct env *v, uint64_t ino, const struct zonefs_setattr_args *a)
{
	return (int)WAIT(zonefs_setattr(v->fs, ino, a, &c.r));
}

static inline int t_truncate(struct env *v, uint64_t ino, uint64_t size)
{
	struct zonefs_setattr_args a = { .valid = ZONEFS_SET_SIZE, .size = size };

	return t_setattr(v, ino, &a);
}

static inline int t_ftruncate(struct env *v, struct zonefs_file *file, uint64_t size)
{
	struct zonefs_setattr_args a = {
		.valid = ZONEFS_SET_SIZE, .size = size, .file = file,
	};

	return t_setattr(v, zonefs_file_ino(file), &a);
}

static inline int t_chmod(struct env *v, uint64_t ino, uint32_t mode)
{
	struct zonefs_setattr_args a = { .valid = ZONEFS_SET_MODE, .mode = mode };

	return t_setattr(v, ino, &a);
}

static inline int t_admin(struct env *v, enum zonefs_admin op, uint32_t zno)
{
	return (int)WAIT(zonefs_admin(v->fs, op, zno, &c.r));
}

/* ---- what is there ---- */

static inline uint64_t t_size(struct env *v, uint64_t ino)
{
	struct zonefs_attr a;

	CHECK_EQ(zonefs_getattr(v->fs, ino, &a), 0);
	return a.size;
}

static inline uint32_t t_mode(struct env *v, uint64_t ino)
{
	struct zonefs_attr a;

	CHECK_EQ(zonefs_getattr(v->fs, ino, &a), 0);
	return a.mode & 07777;
}

static inline struct zonefs_stats t_stats(struct env *v)
{
	struct zonefs_stats st;

	zonefs_get_stats(v->fs, &st);
	return st;
}

static inline struct zdev_zone t_zone(struct env *v, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(v->dev, zno, 1, &z), 0);
	return z;
}

static inline void t_fault(struct env *v, enum zdev_op op, uint32_t zno, int err,
			   uint32_t count, uint64_t partial)
{
	struct zdev_fault f = {
		.op = op, .zno = zno, .err = err, .count = count, .partial = partial,
	};

	CHECK_EQ(zdev_inject(v->dev, &f), 0);
}

/* The byte that belongs at pos of a file; no two blocks look alike. */
static inline uint8_t pattern(uint64_t pos, unsigned seed)
{
	return (uint8_t)(pos * 7 + pos / BS * 13 + seed * 31 + 1);
}

static inline void fill(void *buf, size_t len, uint64_t pos, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = pattern(pos + i, seed);
}

static inline void *buf_of(size_t len)
{
	void *buf = malloc(len ? len : 1);

	CHECK(buf);
	return buf;
}

/* Write len bytes of the pattern at pos; the result of the write. */
static inline ssize_t put(struct zonefs_file *file, int flags, size_t len, uint64_t pos,
			  unsigned seed)
{
	void *buf = buf_of(len);
	ssize_t n;

	fill(buf, len, pos, seed);
	n = t_write(file, flags, buf, len, pos);
	free(buf);
	return n;
}

/* [pos, pos + len) must be the pattern. */
static inline void expect(struct zonefs_file *file, size_t len, uint64_t pos, unsigned seed)
{
	uint8_t *buf = buf_of(len), *want = buf_of(len);

	memset(buf, 0xee, len);
	fill(want, len, pos, seed);
	CHECK_EQ(t_read(file, 0, buf, len, pos), len);
	CHECK(!memcmp(buf, want, len));
	free(buf);
	free(want);
}

static inline void expect_zeros(struct zonefs_file *file, size_t len, uint64_t pos)
{
	uint8_t *buf = buf_of(len);

	memset(buf, 0xee, len);
	CHECK_EQ(t_read(file, 0, buf, len, pos), len);
	for (size_t i = 0; i < len; i++)
		CHECK_EQ(buf[i], 0);
	free(buf);
}

#endif
