/* SPDX-License-Identifier: BSD-2-Clause */
/* Image files: the format, damage, kill -9 and power loss, tails, repair. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <zlib.h>

#include "conformance.h"
#include "unit.h"
#include "../../src/zdev/image_i.h"

#define BS	4096u
#define ZONE	(256u * 1024)
#define CAP	(192u * 1024)
#define Z	2u		/* the first sequential zone */

static const struct zdev_geometry geometry = {
	.block_size = BS, .zone_size = ZONE, .zone_capacity = CAP, .nr_zones = 8,
	.nr_conv = 2, .uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
};
static char dir[64], path[128];
static char log_text[1024];
static char block[BS];

static void log_line(void *ctx, enum zlog_level level, const char *line)
{
	snprintf(log_text, sizeof(log_text), "%s", line);
}

static const struct zlog log_sink = { .write = log_line, .max_level = ZLOG_DEBUG };
static const struct zdev_open_opts rw = { .log = &log_sink };
static const struct zdev_open_opts ro = { .log = &log_sink, .read_only = true };

static void create(const struct zdev_geometry *g)
{
	struct zerr e;

	unlink(path);
	CHECK_EQ(zdev_image_create(path, g, NULL, NULL, &e), 0);
}

/* ---- the bare medium ---- */

struct med {
	struct image *img;
	const struct emu_medium_ops *ops;
	struct zdev_geometry g;
};

static int try_open(struct med *m, const struct zdev_open_opts *opts, struct zerr *e)
{
	log_text[0] = '\0';
	return image_open(path, opts, &m->img, &m->ops, &m->g, e);
}

static struct med med_open(const struct zdev_open_opts *opts)
{
	struct med m;
	struct zerr e;
	int ret = try_open(&m, opts, &e);

	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return m;
}

static uint64_t wp_of(struct med *m, uint32_t zno)
{
	struct emu_zone_state st;

	CHECK_EQ(m->ops->load(m->img, zno, &st), 0);
	return st.wp;
}

static ssize_t put(struct med *m, uint32_t zno, uint64_t pos, int byte)
{
	struct iovec iov = { .iov_base = block, .iov_len = BS };

	memset(block, byte, BS);
	return m->ops->write(m->img, zno, pos, &iov, 1);
}

/* The byte that fills the block at pos; -1 when the medium ends before. */
static int byte_at(struct med *m, uint32_t zno, uint64_t pos)
{
	char buf[BS];
	struct iovec iov = { .iov_base = buf, .iov_len = BS };
	ssize_t n = m->ops->read(m->img, zno, pos, &iov, 1, false);

	CHECK(n == 0 || n == BS);
	if (!n)
		return -1;
	CHECK(!memcmp(buf, buf + 1, BS - 1));
	return (unsigned char)buf[0];
}

static void put_tail(struct med *m, uint32_t zno, const char *text)
{
	CHECK_EQ(m->ops->put_tail(m->img, zno, wp_of(m, zno), text, strlen(text)), 0);
}

static void check_tail(struct med *m, uint32_t zno, const char *text)
{
	char buf[BS];

	CHECK_EQ(m->ops->get_tail(m->img, zno, wp_of(m, zno), buf), strlen(text));
	CHECK(!memcmp(buf, text, strlen(text)));
}

static void flush(struct med *m)
{
	CHECK_EQ(m->ops->flush(m->img, ZDEV_ALL_ZONES), 0);
}

/* What kill -9 between two operations leaves. */
static void kill_it(struct med *m)
{
	m->ops->abandon(m->img);
}

static int raw_open(void)
{
	int fd = open(path, O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

/* Make the image look as if it was opened before the last boot. */
static void forget_boot(void)
{
	struct image_state st;
	int fd = raw_open(), i;

	for (i = 0; i < 2; i++) {
		CHECK_EQ(image_pread(fd, &st, sizeof(st), IMAGE_STATE_OFFSET(i)), 0);
		st.boot_id[3] ^= 1;
		image_state_seal(&st);
		CHECK_EQ(image_pwrite(fd, &st, sizeof(st), IMAGE_STATE_OFFSET(i)), 0);
	}
	close(fd);
}

static void lose_power(struct med *m)
{
	kill_it(m);
	forget_boot();
}

/* ---- format ---- */

static uint64_t le(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

/* The byte offsets of docs/image-format.md, spelled out. */
static void the_header_is_as_documented(void)
{
	uint8_t h[4096], copy[4096];
	struct stat st;
	uint32_t crc;
	int fd;

	create(&geometry);
	fd = raw_open();
	CHECK_EQ(image_pread(fd, h, sizeof(h), 0), 0);
	CHECK_EQ(image_pread(fd, copy, sizeof(copy), 12288), 0);
	CHECK(!memcmp(h, copy, sizeof(h)));
	CHECK(!memcmp(h, "ZNFSDIMG", 8));
	CHECK_EQ(le(h + 8, 4), 1);
	crc = le(h + 12, 4);
	memset(h + 12, 0, 4);
	CHECK_EQ(crc32(0, h, sizeof(h)), crc);
	CHECK_EQ(le(h + 16, 8), 0);
	CHECK_EQ(le(h + 24, 8), 0);
	CHECK(!memcmp(h + 32, geometry.uuid, 16));
	CHECK_EQ(le(h + 48, 4), BS);
	CHECK_EQ(le(h + 52, 4), 8);
	CHECK_EQ(le(h + 56, 4), 2);
	CHECK_EQ(le(h + 68, 4), 4);
	CHECK_EQ(le(h + 72, 8), ZONE);
	CHECK_EQ(le(h + 80, 8), CAP);
	CHECK_EQ(le(h + 88, 8), 65536);
	CHECK_EQ(le(h + 96, 8), 131072);
	CHECK_EQ(le(h + 104, 8), 1 << 20);
	CHECK_EQ(le(h + 112, 8), (1 << 20) + 8 * ZONE);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, (1 << 20) + 8 * ZONE);
	CHECK_EQ(st.st_mode & 0777, 0600);
	close(fd);
}

/* The CRC-16 of a word, computed bit by bit. */
static uint16_t slow_crc16(uint32_t zno, uint8_t role, uint64_t value)
{
	uint8_t b[11] = { zno, zno >> 8, zno >> 16, zno >> 24, role, value, value >> 8,
			  value >> 16, value >> 24, value >> 32, value >> 40 };
	uint16_t crc = 0xffff;
	int i, bit;

	for (i = 0; i < 11; i++) {
		crc ^= b[i] << 8;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
	}
	return crc;
}

static void the_table_is_as_documented(void)
{
	struct med m;
	uint8_t e[32];
	uint64_t value;
	int fd, role;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	CHECK_EQ(put(&m, Z, 0, 'b'), BS);
	CHECK_EQ(put(&m, Z, BS, 'c'), BS);
	CHECK_EQ(m.ops->set_cond(m.img, Z, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(m.ops->close(m.img), 0);
	fd = raw_open();
	CHECK_EQ(image_pread(fd, e, sizeof(e), 65536 + 32 * Z), 0);
	for (role = 0; role < 3; role++) {
		value = le(e + 8 * role, 6);
		CHECK_EQ(le(e + 8 * role + 6, 2), slow_crc16(Z, role, value));
		/* Generation 1, read-only, 16 sectors; and one reset. */
		CHECK_EQ(value, role == 2 ? 1 : UINT64_C(1) << 34 | UINT64_C(1) << 32 | 16);
	}
	CHECK_EQ(le(e + 24, 8), 0);
	close(fd);
}

static void no_flip_of_a_word_goes_unseen(void)
{
	struct image_layout lay;
	struct image_ptr p = { .wp = 5 * BS, .gen = 77 };
	uint64_t w;
	int i, j;

	image_layout_init(&lay, &geometry);
	w = image_ptr_encode(Z, IMAGE_CURRENT, &p);
	CHECK(image_ptr_decode(&lay, Z, IMAGE_CURRENT, w, &p));
	CHECK_EQ(p.wp, 5 * BS);
	CHECK_EQ(p.gen, 77);
	for (i = 0; i < 64; i++)
		for (j = i; j < 64; j++)
			CHECK(!image_ptr_decode(&lay, Z, IMAGE_CURRENT,
						w ^ UINT64_C(1) << i ^ (i == j ? 0 : UINT64_C(1) << j),
						&p));
	/* Nor a word in the place of another. */
	CHECK(!image_ptr_decode(&lay, Z + 1, IMAGE_CURRENT, w, &p));
	CHECK(!image_ptr_decode(&lay, Z, IMAGE_FLUSHED, w, &p));
}

static void resets_follow_the_generation(void)
{
	CHECK_EQ(image_resets_near(0, 0), 0);
	CHECK_EQ(image_resets_near(5, 5), 5);
	CHECK_EQ(image_resets_near(5, 6), 6);
	CHECK_EQ(image_resets_near(6, 5), 5);
	CHECK_EQ(image_resets_near(16383, 0), 16384);
	CHECK_EQ(image_resets_near(16384, 16383), 16383);
	CHECK_EQ(image_resets_near(0, 16383), 16383);	/* never below zero */
	CHECK_EQ(image_resets_near(100000, 100010 & 16383), 100010);
}

/* ---- creation ---- */

static void an_existing_file_is_not_overwritten(void)
{
	struct zerr e;
	int fd;

	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK_EQ(write(fd, "precious", 8), 8);
	CHECK_EQ(zdev_image_create(path, &geometry, NULL, NULL, &e), -EEXIST);
	CHECK_HAS(e.msg, "File exists");
	CHECK_EQ(lseek(fd, 0, SEEK_END), 8);
	close(fd);
}

static void a_file_too_large_is_refused_with_the_limit(void)
{
	struct zdev_geometry g = geometry;
	struct rlimit lim, old;
	struct zerr e;
	int ret;

	unlink(path);
	g.zone_size = g.zone_capacity = UINT64_C(1) << 40;
	g.nr_zones = 65535;
	ret = zdev_image_create(path, &g, NULL, NULL, &e);
	/* XFS takes 8 EiB; ext4 16 TiB, tmpfs 8 EiB. */
	if (ret) {
		CHECK_EQ(ret, -EFBIG);
		CHECK_HAS(e.msg, "takes at most");
		CHECK(access(path, F_OK));
	}
	unlink(path);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim = old;
	lim.rlim_cur = 1 << 20;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &lim), 0);
	CHECK_EQ(zdev_image_create(path, &geometry, NULL, NULL, &e), -EFBIG);
	CHECK_HAS(e.msg, "ulimit");
	CHECK(access(path, F_OK));
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	create(&geometry);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &lim), 0);
	ret = try_open(&(struct med) { .img = NULL }, &rw, &e);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	CHECK_EQ(ret, -EFBIG);
}

static void a_million_zones_of_15_tib(void)
{
	struct zdev_geometry g = geometry;
	struct stat st;
	struct med m;

	g.zone_size = g.zone_capacity = 16 << 20;
	g.nr_zones = 1000000;
	create(&g);
	CHECK_EQ(stat(path, &st), 0);
	CHECK(st.st_blocks < (64 << 20) / 512);
	m = med_open(&rw);
	CHECK_EQ(put(&m, 999999, 0, 'x'), BS);
	put_tail(&m, 999998, "tail");
	CHECK_EQ(m.ops->close(m.img), 0);
	m = med_open(&ro);
	CHECK_EQ(byte_at(&m, 999999, 0), 'x');
	check_tail(&m, 999998, "tail");
	CHECK_EQ(m.ops->close(m.img), 0);
	unlink(path);
}

/* ---- recognising ---- */

static void write_file(const void *data, size_t len)
{
	int fd;

	unlink(path);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(image_pwrite(fd, data, len, 0), 0);
	close(fd);
}

static void foreign_files_are_not_ours(void)
{
	struct med m;
	struct zerr e;

	write_file("", 0);
	CHECK_EQ(try_open(&m, &rw, &e), -ENODEV);
	CHECK_STR(e.msg, "");
	memset(block, 'x', BS);
	write_file(block, BS);
	CHECK_EQ(try_open(&m, &rw, &e), -ENODEV);
	CHECK_STR(e.msg, "");
	write_file("ZNFSDIM", 7);
	CHECK_EQ(try_open(&m, &rw, &e), -ENODEV);
}

static void expect_refused(const char *why)
{
	struct med m;
	struct zerr e;

	CHECK_EQ(try_open(&m, &rw, &e), -EINVAL);
	CHECK_HAS(e.msg, path);
	CHECK_HAS(e.msg, why);
}

static void flip(uint64_t off)
{
	uint8_t b;
	int fd = raw_open();

	CHECK_EQ(image_pread(fd, &b, 1, off), 0);
	b ^= 0x10;
	CHECK_EQ(image_pwrite(fd, &b, 1, off), 0);
	close(fd);
}

static void truncated_images_are_refused(void)
{
	create(&geometry);
	CHECK_EQ(truncate(path, (1 << 20) + 8 * ZONE - 1), 0);
	expect_refused("truncated image");
	CHECK_EQ(truncate(path, 4095), 0);
	expect_refused("truncated image");
	CHECK_EQ(truncate(path, 8), 0);
	expect_refused("truncated image");
}

static void damage_is_named_and_nothing_written(void)
{
	static const struct { uint64_t off; const char *why; } cases[] = {
		{ 13, "header (checksum)" },
		{ 100, "header (checksum)" },
		{ 4000, "header (checksum)" },
		{ 65536 + 32 * 5 + 1, "zone 5: damaged write pointer" },
		{ 65536 + 32 * 1 + 9, "zone 1: damaged flushed write pointer" },
		{ 65536 + 32 * 7 + 23, "zone 7: damaged reset count" },
		{ 65536 + 32 * 7 + 30, "zone 7: unknown data" },
	};
	struct stat a, b;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		create(&geometry);
		flip(cases[i].off);
		CHECK_EQ(stat(path, &a), 0);
		expect_refused(cases[i].why);
		CHECK_EQ(stat(path, &b), 0);
		CHECK(a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
		      a.st_mtim.tv_sec == b.st_mtim.tv_sec);
	}
	create(&geometry);
	flip(4096 + 20);
	flip(8192 + 20);
	expect_refused("no valid state block");
}

/* Change the header and put its checksum right. */
static void edit_header(size_t off, uint64_t value, size_t len)
{
	struct image_header h;
	int fd = raw_open();

	value = htole64(value);
	CHECK_EQ(image_pread(fd, &h, sizeof(h), 0), 0);
	memcpy((char *)&h + off, &value, len);
	h.crc = 0;
	h.crc = htole32(crc32(0, (void *)&h, sizeof(h)));
	CHECK_EQ(image_pwrite(fd, &h, sizeof(h), 0), 0);
	close(fd);
}

static void impossible_headers_are_refused(void)
{
	static const struct { size_t off, len; uint64_t value; const char *why; } cases[] = {
		{ 8, 4, 2, "version 2" },
		{ 16, 8, 1 << 5, "features 0x20" },
		{ 48, 4, 1024, "block size" },
		{ 52, 4, 0, "number of zones" },
		{ 52, 4, UINT32_MAX, "number of zones" },
		{ 52, 4, 1 << 24, "areas" },
		{ 56, 4, 9, "conventional" },
		{ 60, 4, 100, "open zones limit" },
		{ 68, 4, 5, "areas" },
		{ 72, 8, UINT64_MAX, "zone size" },
		{ 72, 8, 0, "zone size" },
		{ 80, 8, CAP + 1, "capacity" },
		{ 80, 8, ZONE * 2, "capacity" },
		{ 88, 8, 0, "areas" },
		{ 88, 8, UINT64_MAX - 65535, "areas" },
		{ 88, 8, 65536 + 512, "areas" },
		{ 96, 8, 65536, "areas" },
		{ 96, 8, UINT64_MAX, "areas" },
		{ 104, 8, 0, "areas" },
		{ 104, 8, UINT64_MAX - (1 << 20) + 1, "areas" },
		{ 104, 8, 2 << 20, "areas" },
		{ 112, 8, 0, "areas" },
		{ 112, 8, UINT64_MAX, "areas" },
		{ 112, 8, INT64_MAX, "truncated" },
		{ 120, 1, 1, "reserved" },
		{ 4095, 1, 1, "reserved" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		create(&geometry);
		edit_header(cases[i].off, cases[i].value, cases[i].len);
		expect_refused(cases[i].why);
	}
}

static void unknown_read_only_features_allow_reading(void)
{
	struct med m;

	create(&geometry);
	edit_header(24, 1, 8);
	expect_refused("read-only");
	m = med_open(&ro);
	CHECK_EQ(m.ops->close(m.img), 0);
}

/* ---- kill -9 ---- */

static void a_kill_loses_nothing(void)
{
	struct med m;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	CHECK_EQ(put(&m, Z, BS, 'b'), BS);
	put_tail(&m, Z, "tail one");
	put_tail(&m, Z, "tail two");
	CHECK_EQ(put(&m, Z + 1, 0, 'c'), BS);
	CHECK_EQ(m.ops->reset(m.img, Z + 1), 0);
	CHECK_EQ(m.ops->finish(m.img, Z + 2), 0);
	CHECK_EQ(put(&m, 0, 8 * BS, 'd'), BS);
	put_tail(&m, Z + 3, "gone");
	CHECK_EQ(m.ops->put_tail(m.img, Z + 3, 0, NULL, 0), 0);
	kill_it(&m);
	m = med_open(&rw);
	CHECK_HAS(log_text, "nothing is lost");
	CHECK_EQ(wp_of(&m, Z), 2 * BS);
	CHECK_EQ(byte_at(&m, Z, BS), 'b');
	check_tail(&m, Z, "tail two");
	CHECK_EQ(wp_of(&m, Z + 1), 0);
	CHECK_EQ(wp_of(&m, Z + 2), CAP);
	CHECK_EQ(byte_at(&m, Z + 2, CAP - BS), 0);
	CHECK_EQ(byte_at(&m, 0, 8 * BS), 'd');
	check_tail(&m, Z + 3, "");

	/* What recovery found is the flushed state from now on. */
	lose_power(&m);
	m = med_open(&rw);
	CHECK_EQ(wp_of(&m, Z), 2 * BS);
	check_tail(&m, Z, "tail two");
	CHECK_EQ(m.ops->close(m.img), 0);
}

static void child_writes(int out)
{
	struct med m = med_open(&rw);
	uint64_t pos = 0;
	char text[16];
	uint32_t n = 0;

	for (;; n++) {
		if (n % 5 == 4 && pos < CAP) {
			CHECK_EQ(put(&m, Z, pos, pos / BS), BS);
			pos += BS;
		} else if (pos < CAP) {
			snprintf(text, sizeof(text), "tail %u", n);
			put_tail(&m, Z, text);
		} else {
			CHECK_EQ(m.ops->reset(m.img, Z), 0);
			pos = 0;
		}
		CHECK_EQ(write(out, &n, sizeof(n)), sizeof(n));
	}
}

/* A step of child_writes: the state after it. */
static void state_after(uint32_t steps, uint64_t *wp, char text[16])
{
	uint64_t pos = 0;
	uint32_t n;

	text[0] = '\0';
	for (n = 0; n < steps; n++) {
		if (n % 5 == 4 && pos < CAP) {
			pos += BS;
			text[0] = '\0';
		} else if (pos < CAP) {
			snprintf(text, 16, "tail %u", n);
		} else {
			pos = 0;
			text[0] = '\0';
		}
	}
	*wp = pos;
}

static bool zone_is(struct med *m, uint32_t steps)
{
	char text[16], buf[BS];
	uint64_t wp;
	ssize_t n;

	state_after(steps, &wp, text);
	if (wp_of(m, Z) != wp)
		return false;
	n = m->ops->get_tail(m->img, Z, wp, buf);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

/* A real one, anywhere inside an operation. */
static void a_killed_writer_has_all_it_acknowledged(void)
{
	uint32_t done, n;
	struct med m;
	int round, fds[2];
	uint64_t pos;
	pid_t pid;

	for (round = 0; round < 30; round++) {
		create(&geometry);
		CHECK_EQ(pipe(fds), 0);
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			close(fds[0]);
			child_writes(fds[1]);
		}
		close(fds[1]);
		for (done = 0; done < 17u * (round + 1); done++)
			CHECK_EQ(read(fds[0], &n, sizeof(n)), sizeof(n));
		nanosleep(&(struct timespec) { .tv_nsec = round * 10007 }, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(fds[0], &n, sizeof(n)) == sizeof(n))
			done++;
		close(fds[0]);
		m = med_open(&rw);
		CHECK(zone_is(&m, done) || zone_is(&m, done + 1));
		for (pos = 0; pos < wp_of(&m, Z); pos += BS)
			CHECK_EQ(byte_at(&m, Z, pos), pos / BS);
		CHECK_EQ(m.ops->close(m.img), 0);
	}
}

/* ---- power loss ---- */

static void a_power_loss_goes_back_to_the_flush(void)
{
	struct med m;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	put_tail(&m, Z, "flushed");
	CHECK_EQ(put(&m, Z + 2, 0, 'z'), BS);
	flush(&m);
	CHECK_EQ(put(&m, Z, BS, 'b'), BS);
	put_tail(&m, Z, "one");
	put_tail(&m, Z, "two");
	put_tail(&m, Z, "three");
	CHECK_EQ(put(&m, Z + 1, 0, 'c'), BS);
	CHECK_EQ(m.ops->finish(m.img, Z + 2), 0);
	lose_power(&m);

	m = med_open(&ro);
	CHECK_HAS(log_text, "3 zones went back");
	CHECK_EQ(wp_of(&m, Z), BS);
	check_tail(&m, Z, "flushed");
	CHECK_EQ(m.ops->close(m.img), 0);

	m = med_open(&rw);
	CHECK_EQ(wp_of(&m, Z), BS);
	CHECK_EQ(byte_at(&m, Z, 0), 'a');
	CHECK_EQ(byte_at(&m, Z, BS), -1);
	check_tail(&m, Z, "flushed");
	CHECK_EQ(wp_of(&m, Z + 1), 0);
	CHECK_EQ(wp_of(&m, Z + 2), BS);

	/* Tails of before the loss do not come back with their pointer. */
	CHECK_EQ(put(&m, Z, BS, 'x'), BS);
	check_tail(&m, Z, "");
	/* Nor does data. */
	CHECK_EQ(m.ops->finish(m.img, Z + 1), 0);
	CHECK_EQ(byte_at(&m, Z + 1, 0), 0);
	CHECK_EQ(m.ops->finish(m.img, Z), 0);
	CHECK_EQ(byte_at(&m, Z, BS), 'x');
	CHECK_EQ(byte_at(&m, Z, 2 * BS), 0);
	CHECK_EQ(m.ops->close(m.img), 0);
	m = med_open(&rw);
	CHECK_STR(log_text, "");
	CHECK_EQ(m.ops->close(m.img), 0);
}

/* What a failed write, or another daemon's bug, left behind the pointer. */
static void leftovers_never_show(void)
{
	struct med m;
	int fd;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	fd = raw_open();
	memset(block, 'j', BS);
	CHECK_EQ(image_pwrite(fd, block, BS, (1 << 20) + Z * ZONE + BS), 0);
	CHECK_EQ(image_pwrite(fd, block, BS, (1 << 20) + Z * ZONE + CAP - BS), 0);
	close(fd);
	CHECK_EQ(byte_at(&m, Z, BS), -1);
	CHECK_EQ(m.ops->finish(m.img, Z), 0);
	CHECK_EQ(byte_at(&m, Z, 0), 'a');
	CHECK_EQ(byte_at(&m, Z, BS), 0);
	CHECK_EQ(byte_at(&m, Z, CAP - BS), 0);
	CHECK_EQ(m.ops->close(m.img), 0);
}

static void a_reset_is_durable_before_new_data(void)
{
	struct med m;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'o'), BS);
	CHECK_EQ(put(&m, Z, BS, 'o'), BS);
	put_tail(&m, Z, "old");
	flush(&m);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	check_tail(&m, Z, "");
	CHECK_EQ(put(&m, Z, 0, 'n'), BS);
	lose_power(&m);
	m = med_open(&rw);
	CHECK_EQ(wp_of(&m, Z), 0);
	check_tail(&m, Z, "");
	CHECK_EQ(m.ops->close(m.img), 0);
}

/* A reset whose words never reached the disk: the zone is what it was, tail and all. */
static void a_lost_reset_leaves_the_zone_whole(void)
{
	struct image_entry before, after;
	uint64_t off = 65536 + 32 * Z;
	struct med m;
	int fd;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'o'), BS);
	put_tail(&m, Z, "old");
	flush(&m);
	fd = raw_open();
	CHECK_EQ(image_pread(fd, &before, sizeof(before), off), 0);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	kill_it(&m);
	CHECK_EQ(image_pread(fd, &after, sizeof(after), off), 0);
	CHECK(memcmp(&before, &after, sizeof(after)));
	/* One word of three made it. */
	after.word[IMAGE_FLUSHED] = before.word[IMAGE_FLUSHED];
	after.word[IMAGE_CURRENT] = before.word[IMAGE_CURRENT];
	CHECK_EQ(image_pwrite(fd, &after, sizeof(after), off), 0);
	close(fd);
	forget_boot();
	m = med_open(&rw);
	CHECK_EQ(wp_of(&m, Z), BS);
	CHECK_EQ(byte_at(&m, Z, 0), 'o');
	check_tail(&m, Z, "old");
	CHECK_EQ(m.ops->close(m.img), 0);
}

/* ---- flushes beside changes ---- */

struct life {
	uint64_t	wp;
	unsigned	tail;	/* names its text, 0: none */
};

struct worker {
	struct med	*m;
	uint32_t	zno;
	atomic_bool	*stop;
	struct life	past[1024];	/* since its last flush, the oldest first */
	unsigned	nr;
};

static void *change_zone(void *arg)
{
	struct worker *w = arg;
	struct iovec iov = { .iov_len = BS };
	char buf[BS], text[16];
	unsigned n, from;

	iov.iov_base = buf;
	memset(buf, w->zno, sizeof(buf));
	w->past[0] = (struct life) { 0 };
	w->nr = 1;
	for (n = 1; !atomic_load(w->stop); n++) {
		struct life l = w->past[w->nr - 1];

		if (n % 61 == 0 || w->nr == 1024) {
			from = w->nr - 1;
			CHECK_EQ(w->m->ops->flush(w->m->img, w->zno), 0);
			w->past[0] = w->past[from];
			w->nr = 1;
			continue;
		}
		if (n % 97 == 0 || l.wp == CAP) {
			CHECK_EQ(w->m->ops->reset(w->m->img, w->zno), 0);
			l = (struct life) { 0 };
		} else if (n % 7 == 0) {
			CHECK_EQ(w->m->ops->write(w->m->img, w->zno, l.wp, &iov, 1), BS);
			l = (struct life) { .wp = l.wp + BS };
		} else {
			l.tail = n;
			snprintf(text, sizeof(text), "%u", n);
			CHECK_EQ(w->m->ops->put_tail(w->m->img, w->zno, l.wp, text,
						     strlen(text)), 0);
		}
		w->past[w->nr++] = l;
	}
	return NULL;
}

static bool in_past(struct med *m, const struct worker *w)
{
	char buf[BS + 1] = "";
	uint64_t wp = wp_of(m, w->zno);
	ssize_t n = m->ops->get_tail(m->img, w->zno, wp, buf);
	unsigned i, tail = n > 0 ? strtoul(buf, NULL, 10) : 0;

	for (i = 0; i < w->nr; i++)
		if (w->past[i].wp == wp && w->past[i].tail == tail)
			return true;
	return false;
}

static void flushes_run_beside_changes(void)
{
	static struct worker w[6];
	pthread_t threads[6];
	atomic_bool stop = false;
	struct med m;
	int i, n;

	create(&geometry);
	m = med_open(&rw);
	for (i = 0; i < 6; i++) {
		w[i] = (struct worker) { .m = &m, .zno = Z + i, .stop = &stop };
		CHECK_EQ(pthread_create(&threads[i], NULL, change_zone, &w[i]), 0);
	}
	for (n = 0; n < 100; n++)
		flush(&m);
	stop = true;
	for (i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	lose_power(&m);
	m = med_open(&rw);
	for (i = 0; i < 6; i++)
		CHECK(in_past(&m, &w[i]));
	CHECK_EQ(m.ops->close(m.img), 0);
}

static void conditions_survive_a_power_loss(void)
{
	struct emu_zone_state st;
	struct med m;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	CHECK_EQ(m.ops->set_cond(m.img, Z, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(m.ops->set_cond(m.img, 0, BLK_ZONE_COND_OFFLINE), 0);
	lose_power(&m);
	m = med_open(&rw);
	CHECK_EQ(m.ops->load(m.img, Z, &st), 0);
	CHECK_EQ(st.cond, BLK_ZONE_COND_READONLY);
	CHECK_EQ(m.ops->load(m.img, 0, &st), 0);
	CHECK_EQ(st.cond, BLK_ZONE_COND_OFFLINE);
	CHECK_EQ(m.ops->close(m.img), 0);
}

static void what_is_the_same_instance(void)
{
	struct image_instance a = { .boot_id = { 1 }, .sb_id = 5, .mnt_id = 7 }, b = a;

	CHECK(image_instance_same(&a, &b));
	b.mnt_id = 8;			/* another mount namespace */
	CHECK(image_instance_same(&a, &b));
	b.sb_id = 6;			/* unmounted and mounted */
	b.mnt_id = 7;
	CHECK(!image_instance_same(&a, &b));
	b.sb_id = 0;
	CHECK(image_instance_same(&a, &b));
	b.mnt_id = 8;
	CHECK(!image_instance_same(&a, &b));
	a.mnt_id = b.mnt_id = a.sb_id = 0;	/* nothing known: no */
	CHECK(!image_instance_same(&a, &b));
	b = a = (struct image_instance) { .boot_id = { 1 }, .sb_id = 5 };
	b.boot_id[15] = 1;
	CHECK(!image_instance_same(&a, &b));
}

/* ---- space ---- */

static uint64_t allocated(void)
{
	struct stat st;

	CHECK_EQ(stat(path, &st), 0);
	return st.st_blocks * UINT64_C(512);
}

static void resets_give_space_back(void)
{
	struct med m;
	uint64_t empty, pos;

	create(&geometry);
	empty = allocated();
	m = med_open(&rw);
	for (pos = 0; pos < CAP; pos += BS)
		CHECK_EQ(put(&m, Z, pos, 'x'), BS);
	put_tail(&m, Z + 1, "tail");
	flush(&m);
	CHECK(allocated() >= empty + CAP);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	CHECK_EQ(m.ops->reset(m.img, Z + 1), 0);
	flush(&m);
	CHECK(allocated() <= empty + BS);
	/* By the next write too; and what a rollback left is freed at open. */
	for (pos = 0; pos < CAP; pos += BS)
		CHECK_EQ(put(&m, Z, pos, 'y'), BS);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	CHECK_EQ(put(&m, Z, 0, 'z'), BS);
	CHECK(allocated() <= empty + 4 * BS);
	for (pos = BS; pos < CAP; pos += BS)
		CHECK_EQ(put(&m, Z, pos, 'z'), BS);
	lose_power(&m);
	m = med_open(&rw);
	CHECK_EQ(wp_of(&m, Z), 0);
	CHECK(allocated() <= empty + BS);
	CHECK_EQ(m.ops->close(m.img), 0);
}

/* ---- read-only ---- */

static uint32_t file_crc(void)
{
	static uint8_t buf[65536];
	uint32_t crc = 0;
	int fd = raw_open();
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		crc = crc32(crc, buf, n);
	close(fd);
	return crc;
}

/* ---- large writes ---- */

/*
 * Zones large enough for writes past the page cache, mixed with small ones; read
 * back while open, after a kill, after a flush and a power loss.
 */
static void large_and_small_writes_mix(void)
{
	const struct zdev_geometry g = {
		.block_size = 512, .zone_size = 8 << 20, .zone_capacity = 7 << 20,
		.nr_zones = 4, .nr_conv = 1,
	};
	const size_t lens[] = { 131072, 4096, 1 << 20, 512, 65536, 3584, 1 << 20, 69632 };
	char *want, *got;
	struct iovec iov;
	size_t wp, i, n;
	struct med m;

	CHECK(!posix_memalign((void **)&want, 4096, 8 << 20));
	CHECK(!posix_memalign((void **)&got, 4096, 8 << 20));
	for (i = 0; i < 8 << 20; i++)
		want[i] = (char)(1 + i % 241 + i / 65536);
	create(&g);
	m = med_open(&rw);
	for (wp = 0, i = 0; wp < g.zone_capacity; wp += n, i++) {
		n = lens[i % 8] < g.zone_capacity - wp ? lens[i % 8] : g.zone_capacity - wp;
		iov = (struct iovec) { want + wp, n };
		CHECK_EQ(m.ops->write(m.img, 2, wp, &iov, 1), n);
		/* Neighbours, so that pages around are dirty. */
		iov = (struct iovec) { want, 512 };
		CHECK_EQ(m.ops->write(m.img, 0, (8 << 20) - 512, &iov, 1), 512);
		CHECK_EQ(m.ops->write(m.img, 1, 512 * i, &iov, 1), 512);
		iov = (struct iovec) { got, wp + n };
		CHECK_EQ(m.ops->read(m.img, 2, 0, &iov, 1, false), wp + n);
		CHECK(!memcmp(got, want, wp + n));
		if (i % 4 == 3)
			flush(&m);
		if (i % 8 == 5) {
			kill_it(&m);
			m = med_open(&rw);
			CHECK_EQ(wp_of(&m, 2), wp + n);
		}
	}
	flush(&m);
	lose_power(&m);
	m = med_open(&rw);
	iov = (struct iovec) { got, g.zone_capacity };
	CHECK_EQ(m.ops->read(m.img, 2, 0, &iov, 1, false), g.zone_capacity);
	CHECK(!memcmp(got, want, g.zone_capacity));
	CHECK_EQ(m.ops->close(m.img), 0);
	free(want);
	free(got);
}

/* ---- reserved space ---- */

static long long file_blocks(void)
{
	struct stat st;

	CHECK_EQ(stat(path, &st), 0);
	return (long long)st.st_blocks * 512;
}

static bool tells_extents(int fd)
{
	struct fiemap map = { .fm_length = BS };

	return !ioctl(fd, FS_IOC_FIEMAP, &map);
}

static void reserved_space_is_given_back(void)
{
	struct med m;
	long long base;

	create(&geometry);
	m = med_open(&rw);
	CHECK_EQ(put(&m, Z, 0, 'a'), BS);
	flush(&m);
	base = file_blocks();
	if (m.ops->reserve(m.img, Z, BS, CAP - BS) == -EOPNOTSUPP) {
		printf("  skipped: no space can be reserved here\n");
		m.ops->close(m.img);
		return;
	}
	CHECK(file_blocks() >= base + (long long)(CAP - BS));
	CHECK_EQ(m.ops->reserve(m.img, Z, BS, 0), 0);
	CHECK_EQ(file_blocks(), base);
	/* By a reset, also of a zone without data; what is reserved after it stays. */
	CHECK_EQ(m.ops->reserve(m.img, Z + 1, 0, CAP), 0);
	CHECK_EQ(m.ops->reset(m.img, Z + 1), 0);
	CHECK_EQ(file_blocks(), base);
	CHECK_EQ(m.ops->reserve(m.img, Z, BS, CAP - BS), 0);
	CHECK_EQ(m.ops->reset(m.img, Z), 0);
	CHECK_EQ(m.ops->reserve(m.img, Z, 0, CAP), 0);
	flush(&m);
	CHECK(file_blocks() >= base + (long long)(CAP - 2 * BS));
	/* By finish. */
	CHECK_EQ(m.ops->finish(m.img, Z), 0);
	CHECK(file_blocks() < base + (long long)CAP / 2);
	/* By the close, the tail stays. */
	CHECK_EQ(put(&m, Z + 2, 0, 'b'), BS);
	CHECK_EQ(m.ops->reserve(m.img, Z + 2, BS, CAP - BS), 0);
	put_tail(&m, Z + 2, "tail");
	CHECK_EQ(m.ops->close(m.img), 0);
	CHECK(file_blocks() <= base + 16 * BS);
	m = med_open(&rw);
	check_tail(&m, Z + 2, "tail");
	CHECK_EQ(byte_at(&m, Z + 2, 0), 'b');
	/* By the open after a crash of either kind, where the file system tells what is held. */
	if (!tells_extents(m.img->fd)) {
		CHECK_EQ(m.ops->close(m.img), 0);
		return;
	}
	base = file_blocks();
	CHECK_EQ(m.ops->reserve(m.img, Z + 2, BS, CAP - BS), 0);
	CHECK_EQ(m.ops->reserve(m.img, Z + 3, 0, CAP), 0);
	kill_it(&m);
	m = med_open(&rw);
	CHECK(file_blocks() <= base);
	CHECK_EQ(m.ops->reserve(m.img, Z + 3, 0, CAP), 0);
	flush(&m);
	lose_power(&m);
	m = med_open(&rw);
	CHECK(file_blocks() <= base);
	check_tail(&m, Z + 2, "tail");
	CHECK_EQ(m.ops->close(m.img), 0);
}

static void readers_change_nothing(void)
{
	struct stat a, b;
	struct med m;
	uint32_t crc;
	int lost;

	for (lost = 0; lost < 2; lost++) {
		create(&geometry);
		m = med_open(&rw);
		CHECK_EQ(put(&m, Z, 0, 'a'), BS);
		put_tail(&m, Z, "tail");
		if (lost)
			lose_power(&m);
		else
			kill_it(&m);
		crc = file_crc();
		CHECK_EQ(stat(path, &a), 0);
		m = med_open(&ro);
		CHECK_EQ(wp_of(&m, Z), lost ? 0 : BS);
		check_tail(&m, Z, lost ? "" : "tail");
		CHECK_EQ(m.ops->close(m.img), 0);
		CHECK_EQ(stat(path, &b), 0);
		CHECK(a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
		      a.st_ctim.tv_nsec == b.st_ctim.tv_nsec);
		CHECK_EQ(file_crc(), crc);
	}
}

/* ---- check and repair ---- */

static char lines[2048];

static void collect(void *ctx, const char *line, bool repaired)
{
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s%s;", line,
		 repaired ? " (repaired)" : "");
}

static int check(bool repair)
{
	struct zerr e;

	lines[0] = '\0';
	return image_check(path, repair, 0, collect, NULL, &e);
}

static void check_repairs_what_is_safe(void)
{
	static const uint64_t offsets[] = {
		3, 13, 12288 + 5, 4096 + 1, 8192 + 30, 65536 + 32 * Z, 65536 + 32 * Z + 13,
		65536 + 32 * Z + 16, 65536 + 32 * Z + 31,
	};
	struct med m;
	uint32_t crc;
	size_t i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		create(&geometry);
		m = med_open(&rw);
		CHECK_EQ(put(&m, Z, 0, 'a'), BS);
		put_tail(&m, Z, "tail");
		CHECK_EQ(m.ops->close(m.img), 0);
		CHECK_EQ(check(true), 0);
		CHECK_STR(lines, "");
		flip(offsets[i]);
		crc = file_crc();
		CHECK_EQ(check(false), 1);
		CHECK_EQ(file_crc(), crc);
		CHECK_EQ(check(true), 0);
		CHECK_HAS(lines, "(repaired)");
		CHECK_EQ(check(false), 0);
		CHECK_STR(lines, "");
		m = med_open(&rw);
		CHECK_EQ(wp_of(&m, Z), BS);
		CHECK_EQ(byte_at(&m, Z, 0), 'a');
		check_tail(&m, Z, "tail");
		CHECK_EQ(m.ops->close(m.img), 0);
	}
}

static void check_leaves_what_has_no_answer(void)
{
	struct zerr e;
	struct med m;

	create(&geometry);
	flip(65536 + 32 * Z);
	flip(65536 + 32 * Z + 8);
	CHECK_EQ(check(true), 1);
	CHECK_HAS(lines, "zone 2: damaged write pointer;");
	CHECK_EQ(try_open(&m, &rw, &e), -EINVAL);

	/* Both state blocks: back to the flush. A damaged tail: none. */
	create(&geometry);
	m = med_open(&rw);
	put_tail(&m, Z, "tail");
	CHECK_EQ(m.ops->close(m.img), 0);
	flip(131072 + Z * 4 * 8192 + 66);
	CHECK_EQ(check(false), 1);
	CHECK_HAS(lines, "zone 2: a slot for its tail");
	flip(4096);
	flip(8192);
	CHECK_EQ(check(true), 0);
	m = med_open(&rw);
	CHECK_HAS(log_text, "went back");
	check_tail(&m, Z, "");
	CHECK_EQ(m.ops->close(m.img), 0);

	write_file("no", 2);
	CHECK_EQ(image_check(path, true, 0, collect, NULL, &e), -ENODEV);
}

/* ---- the whole device ---- */

static struct zdev *make_dev(void *ctx, const struct zdev_geometry *g)
{
	struct zdev *dev;
	struct zerr e;

	create(g);
	CHECK_EQ(zdev_open(path, &rw, &dev, &e), 0);
	CHECK_STR(zdev_info(dev)->backend, "image");
	return dev;
}

static struct zdev *reopen_dev(void *ctx, struct zdev *dev)
{
	struct zerr e;

	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(zdev_open(path, &rw, &dev, &e), 0);
	return dev;
}

static void follows_the_rules(void)
{
	const struct conformance c = { .make = make_dev, .reopen = reopen_dev };

	conformance_run(&c);
}

static void one_opener_at_a_time(void)
{
	struct zdev *dev, *other;
	struct zerr e;

	create(&geometry);
	CHECK_EQ(zdev_open(path, &rw, &dev, &e), 0);
	CHECK_EQ(zdev_open(path, &rw, &other, &e), -EBUSY);
	CHECK_EQ(zdev_open(path, &ro, &other, &e), -EBUSY);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(zdev_open(path, &ro, &dev, &e), 0);
	CHECK_EQ(zdev_open(path, &ro, &other, &e), 0);
	CHECK_EQ(zdev_close(other), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	RUN(the_header_is_as_documented);
	RUN(the_table_is_as_documented);
	RUN(no_flip_of_a_word_goes_unseen);
	RUN(resets_follow_the_generation);
	RUN(an_existing_file_is_not_overwritten);
	RUN(a_file_too_large_is_refused_with_the_limit);
	RUN(a_million_zones_of_15_tib);
	RUN(foreign_files_are_not_ours);
	RUN(truncated_images_are_refused);
	RUN(damage_is_named_and_nothing_written);
	RUN(impossible_headers_are_refused);
	RUN(unknown_read_only_features_allow_reading);
	RUN(a_kill_loses_nothing);
	RUN(a_killed_writer_has_all_it_acknowledged);
	RUN(a_power_loss_goes_back_to_the_flush);
	RUN(leftovers_never_show);
	RUN(a_reset_is_durable_before_new_data);
	RUN(a_lost_reset_leaves_the_zone_whole);
	RUN(flushes_run_beside_changes);
	RUN(conditions_survive_a_power_loss);
	RUN(what_is_the_same_instance);
	RUN(resets_give_space_back);
	RUN(large_and_small_writes_mix);
	RUN(reserved_space_is_given_back);
	RUN(readers_change_nothing);
	RUN(check_repairs_what_is_safe);
	RUN(check_leaves_what_has_no_answer);
	RUN(follows_the_rules);
	RUN(one_opener_at_a_time);
	unit_rm_tree(dir);
	return 0;
}
