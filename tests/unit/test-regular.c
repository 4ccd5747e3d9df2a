/* SPDX-License-Identifier: BSD-2-Clause */
/* Ordinary files and block devices as conventional zones. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "../../src/zdev/zdev_i.h"
#include "unit.h"

#define BS	4096u
#define ZONE	(1u << 20)
#define SIZE	(3 * ZONE + ZONE / 2)	/* the last slice is a short one */

static char dir[64], file[96];
static bool no_direct;		/* as on a file system without it */
static _Alignas(4096) char pattern[2 * ZONE], back[2 * ZONE];

/* Stands before the C library's. */
int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (no_direct && (flags & O_DIRECT)) {
		errno = EINVAL;
		return -1;
	}
	return real(path, flags, mode);
}

static void make_file(uint64_t size)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static int try_open(const char *path, bool read_only, struct zdev **dev, struct zerr *e)
{
	struct zdev_open_opts opts = { .read_only = read_only };

	e->msg[0] = '\0';
	return zdev_regular_open(path, ZONE, &opts, dev, e);
}

static struct zdev *open_path(const char *path, bool read_only)
{
	struct zdev *dev;
	struct zerr e;
	int ret = try_open(path, read_only, &dev, &e);

	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return dev;
}

static void slices_are_zones(void)
{
	struct zdev_zone z[4];
	struct zdev *dev;

	/* What is left of a block is not there. */
	make_file(SIZE + BS - 1);
	dev = open_path(file, false);
	CHECK_STR(zdev_info(dev)->backend, "regular");
	CHECK_EQ(zdev_info(dev)->block_size, BS);
	CHECK_EQ(zdev_info(dev)->size, SIZE);
	CHECK_EQ(zdev_info(dev)->zone_size, ZONE);
	CHECK_EQ(zdev_info(dev)->nr_zones, 4);
	CHECK_EQ(zdev_info(dev)->nr_conv, 4);
	CHECK_EQ(zdev_report(dev, 0, 4, z), 0);
	CHECK_EQ(z[2].start, 2 * ZONE);
	CHECK_EQ(z[2].capacity, ZONE);
	CHECK_EQ(z[3].size, ZONE / 2);
	CHECK_EQ(z[3].capacity, ZONE / 2);
	CHECK(z[3].wp == ZDEV_WP_NONE);
	CHECK_EQ(z[3].type, BLK_ZONE_TYPE_CONVENTIONAL);
	CHECK_EQ(z[3].cond, BLK_ZONE_COND_NOT_WP);
	CHECK_EQ(zdev_pwrite(dev, 3, ZONE / 2 - BS, pattern, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, 3, ZONE / 2 - BS, pattern, 2 * BS), -EINVAL);
	CHECK_EQ(zdev_pread(dev, 4, 0, back, BS), -EINVAL);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 0), -EIO);
	CHECK_EQ(zdev_get_tail(dev, 0, back), 0);
	CHECK_EQ(zdev_power_cut(dev), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Anywhere, any buffers, durable or not. */
static void data_goes_to_its_place(const char *path)
{
	struct iovec iov[3] = {
		{ pattern + 1, BS - 1 }, { pattern + BS, 1 }, { pattern + BS + 1, BS },
	};
	struct zdev_io io = {
		.op = ZDEV_WRITE, .zno = 1, .pos = ZONE - 2 * BS, .iov = iov, .nr_iov = 3,
		.fua = true,
	};
	struct zdev *dev = open_path(path, false);
	int fd;

	CHECK_EQ(zdev_pwrite(dev, 2, 0, pattern, ZONE), ZONE);
	CHECK_EQ(zdev_pwrite(dev, 0, 5 * BS, pattern + 3, 3 * BS), 3 * BS);
	CHECK_EQ(zdev_run(dev, &io), 2 * BS);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), 0);
	CHECK_EQ(zdev_pread(dev, 2, 0, back + 7, ZONE), ZONE);
	CHECK(!memcmp(back + 7, pattern, ZONE));
	CHECK_EQ(zdev_pread(dev, 0, 4 * BS, back, 5 * BS), 5 * BS);
	CHECK(!memcmp(back + BS, pattern + 3, 3 * BS));
	CHECK_EQ(zdev_pread(dev, 1, ZONE - 2 * BS, back, 2 * BS), 2 * BS);
	CHECK(!memcmp(back, pattern + 1, 2 * BS));
	CHECK_EQ(zdev_close(dev), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_EQ(pread(fd, back, 2 * BS, 2 * ZONE - 2 * BS), 2 * BS);
	close(fd);
	CHECK(!memcmp(back, pattern + 1, 2 * BS));
}

#define NR_IOS	300	/* more than are in flight at once */

struct many {
	pthread_mutex_t	lock;		/* guards left */
	pthread_cond_t	cond;
	unsigned	left;
};

static void one_less(struct zdev_io *io)
{
	struct many *m = io->owner;

	CHECK_EQ(io->result, BS);
	pthread_mutex_lock(&m->lock);
	if (!--m->left)
		pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void run_many(struct zdev *dev, enum zdev_op op, char *data)
{
	struct many m = {
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NR_IOS,
	};
	static struct zdev_io ios[NR_IOS];
	static struct iovec iov[NR_IOS];

	for (unsigned i = 0; i < NR_IOS; i++) {
		/* Each its own block, in no order: 77 and 300 have no common factor. */
		unsigned n = i * 77 % NR_IOS;

		iov[i] = (struct iovec) { data + n * BS, BS };
		ios[i] = (struct zdev_io) {
			.op = op, .zno = n / 256, .pos = n % 256 * BS, .iov = &iov[i],
			.nr_iov = 1, .done = one_less, .owner = &m,
		};
		zdev_submit(dev, &ios[i]);
	}
	pthread_mutex_lock(&m.lock);
	while (m.left)
		pthread_cond_wait(&m.cond, &m.lock);
	pthread_mutex_unlock(&m.lock);
}

static void many_are_in_flight(const char *path)
{
	struct zdev *dev = open_path(path, false);

	run_many(dev, ZDEV_WRITE, pattern);
	memset(back, 0, sizeof(back));
	run_many(dev, ZDEV_READ, back);
	CHECK(!memcmp(back, pattern, NR_IOS * BS));
	CHECK_EQ(zdev_close(dev), 0);
}

static int copy(struct zdev *dev, uint32_t src, uint64_t src_pos, uint32_t dst, uint64_t pos,
		uint64_t bytes)
{
	struct zdev_io io = {
		.op = ZDEV_COPY, .zno = dst, .pos = pos, .src_zno = src, .src_pos = src_pos,
		.bytes = bytes,
	};

	return (int)zdev_run(dev, &io);
}

static int discard(struct zdev *dev, uint32_t zno, uint64_t pos, uint64_t bytes)
{
	struct zdev_io io = { .op = ZDEV_DISCARD, .zno = zno, .pos = pos, .bytes = bytes };

	return (int)zdev_run(dev, &io);
}

static void files_copy_by_themselves(void)
{
	struct zdev *dev = open_path(file, false);
	int ret;

	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, ZONE), ZONE);
	CHECK_EQ(copy(dev, 0, 0, 0, BS, 2 * BS), -EINVAL);	/* overlap */
	CHECK_EQ(copy(dev, 0, 0, 1, 0, BS + 512), -EINVAL);
	CHECK_EQ(copy(dev, 0, 0, 1, 0, 0), -EINVAL);
	CHECK_EQ(copy(dev, 0, 0, 3, ZONE / 2 - BS, 2 * BS), -EINVAL);
	CHECK_EQ(copy(dev, 3, ZONE / 2, 0, 0, BS), -EINVAL);
	CHECK_EQ(copy(dev, 4, 0, 0, 0, BS), -EINVAL);
	ret = copy(dev, 0, BS, 3, 2 * BS, 100 * BS);
	if (ret == -EOPNOTSUPP) {
		printf("  the file system has no copies\n");
	} else {
		CHECK_EQ(ret, 0);
		CHECK_EQ(copy(dev, 0, 0, 0, ZONE - 2 * BS, 2 * BS), 0);
		CHECK_EQ(zdev_pread(dev, 3, 2 * BS, back, 100 * BS), 100 * BS);
		CHECK(!memcmp(back, pattern + BS, 100 * BS));
		CHECK_EQ(zdev_pread(dev, 0, ZONE - 3 * BS, back, 3 * BS), 3 * BS);
		CHECK(!memcmp(back, pattern + ZONE - 3 * BS, BS));
		CHECK(!memcmp(back + BS, pattern, 2 * BS));
	}
	CHECK_EQ(zdev_close(dev), 0);
}

static void discards_read_as_zeros(const char *path)
{
	struct zdev *dev = open_path(path, false);
	int ret;

	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, ZONE), ZONE);
	CHECK_EQ(discard(dev, 1, 0, 0), -EINVAL);
	CHECK_EQ(discard(dev, 1, ZONE - BS, 2 * BS), -EINVAL);
	CHECK_EQ(discard(dev, 1, 0, 100), -EINVAL);
	ret = discard(dev, 1, BS, 10 * BS);
	CHECK(!ret || ret == -EOPNOTSUPP);
	CHECK_EQ(zdev_pread(dev, 1, 0, back, 12 * BS), 12 * BS);
	CHECK(!memcmp(back, pattern, BS));
	CHECK(!memcmp(back + 11 * BS, pattern + 11 * BS, BS));
	for (unsigned i = BS; i < 11 * BS; i++)
		CHECK_EQ(back[i], ret ? pattern[i] : 0);
	CHECK_EQ(zdev_info(dev)->size, SIZE);
	CHECK_EQ(zdev_close(dev), 0);
}

static void faults_reach_files(void)
{
	struct zdev_fault f = { .op = ZDEV_WRITE, .zno = 1, .err = EILSEQ, .count = 1 };
	struct zdev *dev = open_path(file, false);

	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, BS), BS);
	/* Who copies by hand meets it. */
	CHECK_EQ(copy(dev, 0, 0, 1, 0, BS), -EOPNOTSUPP);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), -EILSEQ);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), BS);
	CHECK_EQ(zdev_set_cond(dev, 1, BLK_ZONE_COND_OFFLINE), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
}

static void readers_write_nothing(void)
{
	struct zdev *dev = open_path(file, true);

	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, BS), -EPERM);
	CHECK_EQ(discard(dev, 0, 0, BS), -EPERM);
	CHECK_EQ(copy(dev, 0, 0, 1, 0, BS), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_pread(dev, 0, 0, back, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void one_user_at_a_time(const char *path)
{
	struct zdev *dev = open_path(path, false), *other;
	struct zerr e;

	CHECK_EQ(try_open(path, false, &other, &e), -EBUSY);
	CHECK_HAS(e.msg, path);
	CHECK_EQ(try_open(path, true, &other, &e), -EBUSY);
	CHECK_EQ(zdev_close(dev), 0);
	dev = open_path(path, true);
	other = open_path(path, true);
	CHECK_EQ(zdev_close(other), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void what_is_not_ordinary_is_refused(void)
{
	struct zdev_geometry g = {
		.block_size = BS, .zone_size = ZONE, .zone_capacity = ZONE, .nr_zones = 2,
	};
	struct zdev_open_opts opts = { .powercut = true };
	struct zdev *dev;
	struct zerr e;
	char path[128];

	snprintf(path, sizeof(path), "%s/image", dir);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_IMAGE, &g, NULL, NULL, &e), 0);
	CHECK_EQ(try_open(path, false, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "a zoned device");
	CHECK_EQ(try_open(dir, false, &dev, &e), -EINVAL);
	CHECK_EQ(try_open("/dev/null", false, &dev, &e), -ENODEV);
	snprintf(path, sizeof(path), "%s/none", dir);
	CHECK_EQ(try_open(path, false, &dev, &e), -ENOENT);
	CHECK_EQ(zdev_regular_open(file, ZONE, &opts, &dev, &e), -EOPNOTSUPP);
	opts.powercut = false;
	CHECK_EQ(zdev_regular_open(file, ZONE + BS, &opts, &dev, &e), -EINVAL);
	CHECK_EQ(zdev_regular_open(file, 0, &opts, &dev, &e), -EINVAL);
	make_file(BS - 1);
	CHECK_EQ(try_open(file, false, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "no room");
	make_file(SIZE);
}

static void all_of_a_file(const char *path)
{
	data_goes_to_its_place(path);
	many_are_in_flight(path);
	discards_read_as_zeros(path);
	one_user_at_a_time(path);
}

/* A loop device of the file, which goes with its last user; or "". */
static int make_loop(char path[32])
{
	struct loop_config conf = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), nr, fd = -1;

	nr = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
	if (nr >= 0) {
		snprintf(path, 32, "/dev/loop%d", nr);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd >= 0) {
		conf.fd = (uint32_t)open(file, O_RDWR | O_CLOEXEC);
		if (ioctl(fd, LOOP_CONFIGURE, &conf)) {
			close(fd);
			fd = -1;
		}
		close((int)conf.fd);
	}
	if (ctl >= 0)
		close(ctl);
	return fd;
}

static void block_devices_do_as_well(void)
{
	char path[32] = "";
	struct zdev *dev;
	struct zerr e;
	int fd, excl;

	make_file(SIZE);
	fd = make_loop(path);
	if (fd < 0) {
		printf("  skipped: no loop device to be had\n");
		return;
	}
	all_of_a_file(path);
	dev = open_path(path, false);
	CHECK(!zdev_info(dev)->emulated);
	CHECK_EQ(zdev_info(dev)->size, SIZE);
	CHECK_EQ(copy(dev, 0, 0, 1, 0, BS), -EOPNOTSUPP);
	CHECK_EQ(open(path, O_RDONLY | O_EXCL | O_CLOEXEC), -1);
	CHECK_EQ(errno, EBUSY);
	CHECK_EQ(zdev_close(dev), 0);
	excl = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	CHECK(excl >= 0);
	CHECK_EQ(try_open(path, false, &dev, &e), -EBUSY);
	close(excl);
	close(fd);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i * 31 + i / 4096 + 1);
	unit_tmpdir(dir, sizeof(dir));
	snprintf(file, sizeof(file), "%s/file", dir);
	RUN(slices_are_zones);
	for (int i = 0; i < 2; i++) {
		no_direct = i;
		make_file(SIZE);
		printf("%s\n", i ? "buffered" : "direct");
		all_of_a_file(file);
		RUN(files_copy_by_themselves);
		RUN(faults_reach_files);
		RUN(readers_write_nothing);
	}
	no_direct = false;
	RUN(what_is_not_ordinary_is_refused);
	RUN(block_devices_do_as_well);
	unit_rm_tree(dir);
	return 0;
}
