/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cuts on demand, on each backend that outlives its close. Random writes,
 * commands, tails and flushes, then a cut: afterwards each zone is what its last
 * flush made durable, or what its reset or finish since then made of it, and
 * conventional zones hold what they held at the flush.
 *
 * usage: test-powercut [rounds [seed]]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <zlib.h>

#include "rnd.h"
#include "unit.h"
#include "zonefsd/zdev.h"

#define BS		4096u
#define ZONE		(64u * 1024)
#define CAP		(48u * 1024)
#define NR_ZONES	6u
#define NR_CONV		2u
#define CAP_BLOCKS	(CAP / BS)
#define ZONE_BLOCKS	(ZONE / BS)

struct zone_model {
	uint32_t	wp;			/* blocks */
	uint8_t		blocks[ZONE_BLOCKS];	/* the byte that fills each */
	uint32_t	tail_len;
	uint8_t		tail;
};

static const struct zdev_geometry geometry = {
	.block_size = BS, .zone_size = ZONE, .zone_capacity = CAP,
	.nr_zones = NR_ZONES, .nr_conv = NR_CONV, .max_open = 2,
};
static struct zone_model now[NR_ZONES], durable[NR_ZONES];
static char dir[64], path[128];

static struct zdev *open_dev(bool powercut)
{
	const struct zdev_open_opts opts = { .powercut = powercut };
	struct zdev *dev;
	struct zerr e;
	int ret;

	ret = zdev_open(path, &opts, &dev, &e);
	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return dev;
}

static void create(enum zdev_layout layout)
{
	struct zerr e;

	unit_rm_tree(path);
	CHECK_EQ(zdev_create(path, layout, &geometry, NULL, NULL, &e), 0);
	memset(now, 0, sizeof(now));
	memset(durable, 0, sizeof(durable));
}

static ssize_t put_tail(struct zdev *dev, uint32_t zno, uint8_t byte, uint32_t len)
{
	char buf[BS];
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct zdev_io io = {
		.op = ZDEV_PUT_TAIL, .zno = zno, .pos = now[zno].wp * BS, .iov = &iov,
		.nr_iov = len ? 1 : 0,
	};

	memset(buf, byte, sizeof(buf));
	now[zno].tail = byte;
	now[zno].tail_len = len;
	return zdev_run(dev, &io);
}

static void write_blocks(struct zdev *dev, uint32_t zno, uint32_t at, uint32_t n)
{
	static char buf[ZONE];
	uint32_t i;

	for (i = 0; i < n; i++) {
		uint8_t byte = 1 + rnd(255);

		now[zno].blocks[at + i] = byte;
		memset(buf + i * BS, byte, BS);
	}
	CHECK_EQ(zdev_pwrite(dev, zno, at * BS, buf, n * BS), n * BS);
}

/*
 * n blocks from somewhere else. False: there is nothing, or the file system has no
 * copies.
 */
static bool copy_blocks(struct zdev *dev, uint32_t zno, uint32_t at, uint32_t n)
{
	uint32_t src = rnd(NR_ZONES), end = src < NR_CONV ? ZONE_BLOCKS : now[src].wp, from;
	struct zdev_io io = {
		.op = ZDEV_COPY, .zno = zno, .pos = at * BS, .src_zno = src, .bytes = n * BS,
	};
	ssize_t ret;

	if (src == zno || n > end)
		return false;
	from = rnd(end - n + 1);
	io.src_pos = from * BS;
	ret = zdev_run(dev, &io);
	CHECK(!ret || ret == -EOPNOTSUPP);
	if (!ret)
		memcpy(now[zno].blocks + at, now[src].blocks + from, n);
	return !ret;
}

static void discard_blocks(struct zdev *dev, uint32_t zno, uint32_t at, uint32_t n)
{
	struct zdev_io io = {
		.op = ZDEV_DISCARD, .zno = zno, .pos = at * BS, .bytes = n * BS,
	};
	ssize_t ret = zdev_run(dev, &io);

	CHECK(!ret || ret == -EOPNOTSUPP);
	if (!ret)
		memset(now[zno].blocks + at, 0, n);
}

static void step_conv(struct zdev *dev, uint32_t zno)
{
	uint32_t at = rnd(ZONE_BLOCKS), n = 1 + rnd(4), what = rnd(6);

	if (n > ZONE_BLOCKS - at)
		n = ZONE_BLOCKS - at;
	if (!what)
		discard_blocks(dev, zno, at, n);
	else if (what > 1 || !copy_blocks(dev, zno, at, n))
		write_blocks(dev, zno, at, n);
}

static void step_seq(struct zdev *dev, uint32_t zno)
{
	struct zone_model *z = &now[zno];
	uint32_t what = rnd(20), n = 1 + rnd(5);

	if (what == 0) {
		CHECK_EQ(zdev_command(dev, ZDEV_RESET, zno), 0);
		memset(z, 0, sizeof(*z));
		durable[zno] = *z;
	} else if (what == 1) {
		CHECK_EQ(zdev_command(dev, ZDEV_FINISH, zno), 0);
		/* Of a zone that writes have filled it changes nothing, see L3. */
		if (z->wp == CAP_BLOCKS)
			return;
		z->wp = CAP_BLOCKS;
		z->tail_len = 0;
		durable[zno] = *z;
	} else if (z->wp == CAP_BLOCKS) {
		return;
	} else if (what < 10) {
		CHECK_EQ(put_tail(dev, zno, 1 + rnd(255), rnd(4) ? 1 + rnd(BS - 1) : 0), 0);
	} else {
		if (n > CAP_BLOCKS - z->wp)
			n = CAP_BLOCKS - z->wp;
		if (what < 16 || !copy_blocks(dev, zno, z->wp, n))
			write_blocks(dev, zno, z->wp, n);
		z->wp += n;
		z->tail_len = 0;
	}
}

static void step(struct zdev *dev)
{
	uint32_t zno = rnd(NR_ZONES);

	switch (rnd(12)) {
	case 0:
		CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, zno), 0);
		durable[zno] = now[zno];
		break;
	case 1:
		CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
		memcpy(durable, now, sizeof(now));
		break;
	default:
		if (zno < NR_CONV)
			step_conv(dev, zno);
		else
			step_seq(dev, zno);
	}
}

static void compare(struct zdev *dev, const struct zone_model *model)
{
	static uint8_t got[ZONE];
	struct zdev_zone z;
	uint32_t zno, i, j;

	for (zno = 0; zno < NR_ZONES; zno++) {
		const struct zone_model *m = &model[zno];

		CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
		if (zno >= NR_CONV)
			CHECK_EQ(z.wp, m->wp * BS);
		CHECK_EQ(zdev_pread(dev, zno, 0, got, ZONE), ZONE);
		for (i = 0; i < ZONE_BLOCKS; i++)
			for (j = 0; j < BS; j++)
				CHECK_EQ(got[i * BS + j], zno < NR_CONV || i < m->wp ?
					 m->blocks[i] : 0);
		CHECK_EQ(zdev_get_tail(dev, zno, got), m->tail_len);
		for (j = 0; j < m->tail_len; j++)
			CHECK_EQ(got[j], m->tail);
	}
}

/* Contents of all files, to see that a close changed nothing. */
static uint32_t sum;

static int sum_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	static uint8_t buf[65536];
	ssize_t n;
	int fd;

	if (type != FTW_F)
		return 0;
	sum = crc32(sum, (const void *)name, strlen(name));
	fd = open(name, O_RDONLY);
	CHECK(fd >= 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sum = crc32(sum, buf, n);
	close(fd);
	return 0;
}

static uint32_t content(void)
{
	sum = 0;
	/* Sorted order is not needed: the same directory is read twice. */
	CHECK_EQ(nftw(path, sum_one, 8, FTW_PHYS), 0);
	return sum;
}

static void all_fails(struct zdev *dev)
{
	static const enum zdev_op ops[] = {
		ZDEV_RESET, ZDEV_FINISH, ZDEV_OPEN, ZDEV_CLOSE, ZDEV_FLUSH,
	};
	struct zdev_zone z;
	char buf[BS];
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		CHECK_EQ(zdev_command(dev, ops[i], NR_CONV), -EIO);
	CHECK_EQ(zdev_pread(dev, 0, 0, buf, BS), -EIO);
	CHECK_EQ(zdev_pwrite(dev, 0, 0, buf, BS), -EIO);
	CHECK_EQ(zdev_report(dev, 0, 1, &z), -EIO);
	CHECK_EQ(zdev_get_tail(dev, NR_CONV, buf), -EIO);
	CHECK_EQ(zdev_power_cut(dev), -EIO);
}

static void random_rounds(enum zdev_layout layout, unsigned long rounds)
{
	struct zdev *dev;
	uint32_t before, n;

	create(layout);
	while (rounds--) {
		dev = open_dev(true);
		for (n = rnd(100); n; n--)
			step(dev);
		if (rnd(4) == 0) {
			/* No cut: nothing is lost. */
			CHECK_EQ(zdev_close(dev), 0);
			memcpy(durable, now, sizeof(now));
		} else {
			CHECK_EQ(zdev_power_cut(dev), 0);
			all_fails(dev);
			before = content();
			CHECK_EQ(zdev_close(dev), 0);
			CHECK_EQ(content(), before);
			memcpy(now, durable, sizeof(now));
		}
		dev = open_dev(false);
		compare(dev, now);
		CHECK_EQ(zdev_power_cut(dev), -EOPNOTSUPP);
		CHECK_EQ(zdev_close(dev), 0);
	}
}

/* ---- a cut while others write and flush ---- */

struct writer {
	struct zdev	*dev;
	uint32_t	zno;
	uint32_t	flushed;	/* blocks; conventional: rounds */
	uint32_t	written;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;
	char buf[BS];

	for (;;) {
		uint64_t pos = w->zno < NR_CONV ? 0 : w->written * (uint64_t)BS;

		memset(buf, w->written + 1, BS);
		if (pos == CAP || zdev_pwrite(w->dev, w->zno, pos, buf, BS) != BS)
			return NULL;
		w->written++;
		if (w->written % 3)
			continue;
		if (zdev_command(w->dev, ZDEV_FLUSH, w->zno % 2 ? w->zno : ZDEV_ALL_ZONES))
			return NULL;
		w->flushed = w->written;
	}
}

static void cut_under_load(enum zdev_layout layout)
{
	struct writer w[NR_ZONES] = { { .dev = NULL } };
	pthread_t threads[NR_ZONES];
	uint8_t buf[BS];
	struct zdev_zone z;
	struct zdev *dev;
	uint32_t i;

	create(layout);
	dev = open_dev(true);
	for (i = 0; i < NR_ZONES; i++) {
		w[i].dev = dev;
		w[i].zno = i;
		CHECK_EQ(pthread_create(&threads[i], NULL, write_on, &w[i]), 0);
	}
	nanosleep(&(struct timespec) { .tv_nsec = (1 + rnd(20)) * 1000000 }, NULL);
	CHECK_EQ(zdev_power_cut(dev), 0);
	for (i = 0; i < NR_ZONES; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(zdev_close(dev), 0);
	dev = open_dev(false);
	for (i = 0; i < NR_ZONES; i++) {
		CHECK_EQ(zdev_report(dev, i, 1, &z), 0);
		if (i >= NR_CONV)
			CHECK(z.wp >= w[i].flushed * BS && z.wp <= (w[i].written + 1) * BS);
		CHECK_EQ(zdev_pread(dev, i, 0, buf, BS), BS);
		if (i < NR_CONV)
			/* Bytes: a difference, so that it may have wrapped. */
			CHECK((uint8_t)(buf[0] - w[i].flushed) <=
			      w[i].written + 1 - w[i].flushed);
		else if (z.wp)
			CHECK_EQ(buf[0], 1);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

int main(int argc, char **argv)
{
	static const enum zdev_layout layouts[] = { ZDEV_LAYOUT_IMAGE, ZDEV_LAYOUT_DIR };
	unsigned long rounds = rnd_begin(argc, argv, 30);
	int i, n;

	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/dev", dir);
	for (i = 0; i < 2; i++) {
		printf("%s\n", layouts[i] == ZDEV_LAYOUT_DIR ? "dir" : "image");
		fflush(stdout);
		random_rounds(layouts[i], rounds);
		for (n = 0; n < 5; n++)
			cut_under_load(layouts[i]);
	}
	unit_rm_tree(dir);
	return 0;
}
