/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the directory layout share. */
#ifndef DIR_UTIL_H
#define DIR_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../../src/zdev/dir_i.h"
#include "unit.h"

#define BS		4096u
#define ZONE_SIZE	(64u * 1024)
#define CAP		(48u * 1024)
#define NR_CONV		2u
#define NR_ZONES	6u
#define Z0		NR_CONV

static const struct zdev_geometry geometry = {
	.block_size = BS, .zone_size = ZONE_SIZE, .zone_capacity = CAP,
	.nr_zones = NR_ZONES, .nr_conv = NR_CONV,
};

static char dir[64];		/* private to the test program */
static char path[128];		/* of the device in it */
static char logged[2048];	/* all lines since log_reset */

static inline void keep_log(void *ctx, enum zlog_level level, const char *line)
{
	size_t at = strlen(logged);

	snprintf(logged + at, sizeof(logged) - at, "%s\n", line);
}

static const struct zlog test_log = { .write = keep_log, .max_level = ZLOG_DEBUG };

static inline char *in_dev(const char *name)
{
	static char buf[512];

	snprintf(buf, sizeof(buf), "%s/%s", path, name);
	return buf;
}

static inline int try_open(bool read_only, struct zdev **dev, struct zerr *e)
{
	const struct zdev_open_opts opts = { .read_only = read_only, .log = &test_log };

	logged[0] = '\0';
	return zdev_open(path, &opts, dev, e);
}

static inline struct zdev *open_dev(bool read_only)
{
	struct zdev *dev;
	struct zerr e;
	int ret = try_open(read_only, &dev, &e);

	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return dev;
}

/* The open must fail with err and name each part that is not NULL. */
static inline void open_fails(int err, const char *part, const char *more)
{
	struct zdev *dev;
	struct zerr e;

	CHECK_EQ(try_open(false, &dev, &e), -err);
	CHECK_HAS(e.msg, part);
	CHECK_HAS(e.msg, more ? more : "");
	CHECK_EQ(try_open(true, &dev, &e), -err);
	CHECK_HAS(e.msg, part);
}

static inline void create(const struct zdev_geometry *g)
{
	struct zerr e;
	int ret;

	unit_rm_tree(path);
	ret = zdev_create(path, ZDEV_LAYOUT_DIR, g, NULL, NULL, &e);
	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
}

static inline long long size_of(const char *name)
{
	struct stat st;

	return stat(in_dev(name), &st) ? -1 : (long long)st.st_size;
}

static inline void put_file(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(in_dev(name), "w");

	CHECK(f != NULL);
	CHECK_EQ(fwrite(data, 1, len, f), len);
	CHECK_EQ(fclose(f), 0);
}

static inline void set_size(const char *name, long long size)
{
	int fd = open(in_dev(name), O_WRONLY | O_CREAT, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, size), 0);
	close(fd);
}

static inline char *read_meta_text(void)
{
	static char text[65536];
	FILE *f = fopen(in_dev(DIR_META), "r");

	CHECK(f != NULL);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static inline ssize_t put_tail(struct zdev *dev, uint32_t zno, uint64_t pos,
			       const void *data, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = zno, .pos = pos,
			      .iov = &iov, .nr_iov = len ? 1 : 0 };

	return zdev_run(dev, &io);
}

static inline struct zdev_zone zone(struct zdev *dev, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	return z;
}

static inline void check_tail(struct zdev *dev, uint32_t zno, const char *want)
{
	char got[BS + 1] = "";
	ssize_t len = zdev_get_tail(dev, zno, got);

	CHECK_EQ(len, strlen(want));
	CHECK_STR(got, want);
}

/* A first change, which does nothing: the device is marked open by it. */
static inline void touch(struct zdev *dev)
{
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, NR_ZONES - 1), 0);
}

/* A directory as the kernel's zloop leaves it: no file of ours. */
static inline void make_zloop(void)
{
	unit_rm_tree(path);
	CHECK_EQ(mkdir(path, 0700), 0);
	set_size("cnv-000000", ZONE_SIZE);
	set_size("cnv-000001", ZONE_SIZE);
	set_size("seq-000002", 0);
	set_size("seq-000003", 3 * BS);
	set_size("seq-000004", ZONE_SIZE);
	set_size("seq-000005", 0);
}

/* A line over names, sizes and times of all files, to see whether anything changed. */
static inline void fingerprint(char *buf, size_t len)
{
	struct dirent **entry;
	size_t at = 0;
	int i, n = scandir(path, &entry, NULL, alphasort);

	CHECK(n >= 0);
	for (i = 0; i < n; i++) {
		struct stat st;

		CHECK_EQ(lstat(in_dev(entry[i]->d_name), &st), 0);
		if (strcmp(entry[i]->d_name, ".."))
			at += (size_t)snprintf(buf + at, len - at, "%s %lld %lld.%ld\n",
					       entry[i]->d_name, (long long)st.st_size,
					       (long long)st.st_ctim.tv_sec,
					       st.st_ctim.tv_nsec);
		CHECK(at < len);
		free(entry[i]);
	}
	free(entry);
}

static inline unsigned nr_open_files(void)
{
	unsigned nr = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static inline void start_tests(void)
{
	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/dev", dir);
}

#endif
