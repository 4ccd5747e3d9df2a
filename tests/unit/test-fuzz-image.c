/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Damaged images: a valid image gets bits flipped, bytes overwritten or its end
 * cut off, in its header, state blocks, table or tails, half of the time with
 * checksums put right again. Whatever opens is used, closed, checked, repaired.
 * Nothing may crash, hang or reach outside (run it under AddressSanitizer), a
 * refusal must come with a reason and leave the file as it was.
 *
 * usage: test-fuzz-image [iterations [seed]]
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include "rnd.h"
#include "unit.h"
#include "../../src/zdev/image_i.h"

#define NR_ZONES	6u
#define ZONE		(32u * 1024)

static const struct zdev_geometry geometry = {
	.block_size = 512, .zone_size = ZONE, .zone_capacity = 24 * 1024 + 512,
	.nr_zones = NR_ZONES, .nr_conv = 1, .max_open = 3, .uuid = { 7 },
};
static char dir[64], path[128];
static uint8_t *good, *bad;
static size_t size;
static unsigned long nr_opened, nr_refused, nr_mended;

/* ---- a valid image with something in it ---- */

static struct zdev *open_dev(bool read_only, int *err, struct zerr *e)
{
	const struct zdev_open_opts opts = { .read_only = read_only };
	struct zdev *dev = NULL;

	*err = zdev_open(path, &opts, &dev, e);
	return dev;
}

static ssize_t put_tail(struct zdev *dev, uint32_t zno, uint64_t pos)
{
	char text[] = "a tail";
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = zno, .pos = pos, .iov = &iov,
			      .nr_iov = 1 };

	return zdev_run(dev, &io);
}

static void make_good(void)
{
	static char buf[ZONE];
	struct zdev *dev;
	struct stat st;
	struct zerr e;
	int ret, fd;

	CHECK_EQ(zdev_image_create(path, &geometry, NULL, NULL, &e), 0);
	dev = open_dev(false, &ret, &e);
	CHECK_EQ(ret, 0);
	memset(buf, 'x', sizeof(buf));
	CHECK_EQ(zdev_pwrite(dev, 0, 0, buf, 4096), 4096);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, buf, 1024), 1024);
	CHECK_EQ(put_tail(dev, 1, 1024), 0);
	CHECK_EQ(put_tail(dev, 2, 0), 0);
	CHECK_EQ(zdev_pwrite(dev, 3, 0, buf, 512), 512);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 3), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 4), 0);
	CHECK_EQ(zdev_set_cond(dev, 5, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_close(dev), 0);

	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &st));
	size = st.st_size;
	good = malloc(size);
	bad = malloc(size);
	CHECK(good && bad);
	CHECK_EQ(image_pread(fd, good, size, 0), 0);
	close(fd);
}

/* ---- damage ---- */

/* A place where metadata is. */
static size_t somewhere(void)
{
	switch (rnd(6)) {
	case 0:
		return rnd(128);		/* header */
	case 1:
		return 4096 + rnd(2) * 4096 + rnd(80);
	case 2:
		return 12288 + rnd(128);
	case 3:
	case 4:
		return 65536 + rnd(NR_ZONES * 32);
	default:				/* tails of zones 1 and 2 */
		return 131072 + (4 + rnd(8)) * 4096 + rnd(128);
	}
}

static void put_number(size_t at)
{
	static const uint64_t numbers[] = {
		0, 1, 511, 512, 4096, 65535, 65536, UINT32_MAX, INT32_MAX, INT64_MAX,
		UINT64_MAX, UINT64_C(1) << 40, UINT64_C(1) << 56, UINT64_C(1) << 63,
	};
	uint64_t v = htole64(numbers[rnd(sizeof(numbers) / sizeof(numbers[0]))] +
			     (rnd(3) ? 0 : rnd(3) - 1));

	at &= ~(size_t)3;
	memcpy(bad + at, &v, rnd(2) ? 4 : 8);
}

static void damage(void)
{
	uint32_t n = 1 + rnd(4), len;
	size_t at;

	while (n--) {
		at = somewhere();
		switch (rnd(4)) {
		case 0:
			bad[at] ^= 1 << rnd(8);
			break;
		case 1:
			put_number(at);
			break;
		case 2:
			for (len = 1 + rnd(600); len--; at++)
				bad[at] = rnd(256);
			break;
		default:
			memset(bad + at, rnd(2) ? 0 : 0xff, 1 + rnd(5000));
		}
	}
}

static void seal_header(size_t at)
{
	struct image_header h;

	memcpy(&h, bad + at, sizeof(h));
	h.crc = 0;
	h.crc = htole32(crc32(0, (void *)&h, sizeof(h)));
	memcpy(bad + at, &h, sizeof(h));
}

static void seal_word(uint32_t zno, enum image_role role)
{
	static const uint8_t conds[4] = { 0, BLK_ZONE_COND_READONLY, BLK_ZONE_COND_OFFLINE };
	uint8_t *at = bad + 65536 + zno * 32 + role * 8;
	struct image_ptr p;
	uint64_t w;

	memcpy(&w, at, sizeof(w));
	w = le64toh(w);
	p.wp = (w & UINT32_MAX) * 512;
	p.cond = conds[w >> 32 & 3];
	p.gen = w >> 34 & IMAGE_GEN_MASK;
	w = htole64(role == IMAGE_RESETS ? image_resets_encode(zno, w) :
					   image_ptr_encode(zno, role, &p));
	memcpy(at, &w, sizeof(w));
}

/* Put checksums right, so that what they would hide is looked at. */
static void seal(void)
{
	struct image_state st;
	uint32_t zno;
	int i;

	seal_header(0);
	seal_header(12288);
	for (i = 0; i < 2; i++) {
		memcpy(&st, bad + IMAGE_STATE_OFFSET(i), sizeof(st));
		image_state_seal(&st);
		memcpy(bad + IMAGE_STATE_OFFSET(i), &st, sizeof(st));
	}
	for (zno = 0; zno < NR_ZONES; zno++)
		for (i = 0; i < IMAGE_NR_ROLES; i++)
			seal_word(zno, i);
}

/* ---- what users do ---- */

static void use(struct zdev *dev)
{
	static char buf[ZDEV_MAX_IO];
	const struct zdev_info *info = zdev_info(dev);
	uint32_t zno, nr = info->nr_zones < 64 ? info->nr_zones : 64;
	size_t len = info->zone_size < sizeof(buf) ? info->zone_size : sizeof(buf);
	struct zdev_zone z;

	for (zno = 0; zno < nr; zno++) {
		CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
		CHECK(z.wp == ZDEV_WP_NONE || z.wp <= z.capacity);
		zdev_pread(dev, zno, 0, buf, len);
		CHECK(zdev_get_tail(dev, zno, buf) < (ssize_t)info->block_size);
		if (info->read_only || z.wp == ZDEV_WP_NONE)
			continue;
		zdev_pwrite(dev, zno, z.wp, buf, info->block_size);
		put_tail(dev, zno, z.wp + info->block_size);
		zdev_command(dev, rnd(2) ? ZDEV_RESET : ZDEV_FINISH, zno);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

static uint32_t content(void)
{
	uint32_t crc = 0;
	uint8_t buf[65536];
	ssize_t n;
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		crc = crc32(crc, buf, n);
	close(fd);
	return crc;
}

static void try_open(bool read_only)
{
	uint32_t before = content();
	struct zdev *dev;
	struct zerr e;
	int ret;

	dev = open_dev(read_only, &ret, &e);
	if (!ret) {
		nr_opened++;
		use(dev);
	} else {
		nr_refused++;
		CHECK(ret == -EINVAL || ret == -ENODEV || ret == -ENOMEM);
		CHECK_HAS(e.msg, path);
		CHECK(!strchr(e.msg, '\n'));
	}
	if (ret || read_only)
		CHECK_EQ(content(), before);
}

static void count_problem(void *ctx, const char *line, bool repaired)
{
	CHECK(*line && !strchr(line, '\n'));
	if (getenv("FUZZ_VERBOSE"))
		fprintf(stderr, "  %s%s\n", line, repaired ? " (repaired)" : "");
}

static void one(void)
{
	int fd, ret, left;
	struct zerr e;

	memcpy(bad, good, size);
	damage();
	if (rnd(2))
		seal();
	fd = open(path, O_RDWR | O_TRUNC);
	CHECK(fd >= 0);
	CHECK_EQ(image_pwrite(fd, bad, size, 0), 0);
	if (rnd(20) == 0)
		CHECK_EQ(ftruncate(fd, rnd(2) ? rnd(size) : rnd(70000)), 0);
	close(fd);

	try_open(true);
	ret = image_check(path, false, 0, count_problem, NULL, &e);
	if (rnd(2)) {
		left = image_check(path, true, 0, count_problem, NULL, &e);
		CHECK(ret < 0 || left <= ret);
		if (ret > 0 && !left) {
			nr_mended++;
			CHECK_EQ(image_check(path, false, 0, count_problem, NULL, &e), 0);
		}
	}
	try_open(false);
}

int main(int argc, char **argv)
{
	unsigned long n = rnd_begin(argc, argv, 300);

	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	make_good();
	while (n--)
		one();
	printf("%lu opened, %lu refused, %lu mended\n", nr_opened, nr_refused, nr_mended);
	free(good);
	free(bad);
	unit_rm_tree(dir);
	return 0;
}
