/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zdev layer alone against a raw O_DIRECT file beneath, in the same run:
 *
 *	zdev-bench [-s SECONDS] [-r ROUNDS] [-z ZONES] FOLDER [NAME...]
 *
 * makes a device of each layout and plain files in FOLDER and prints a line a
 * measurement: raw, dir and image in operations a second (median of the rounds),
 * and the ratios to raw. NAMEs choose measurements. With -z the opens and closes
 * of devices of so many zones instead, in milliseconds, and the memory they take.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "zonefsd/zdev.h"

#define ZONE_SIZE	(UINT64_C(2) << 30)
#define NR_ZONES	10u
#define MAX_JOBS	8
#define MAX_DEPTH	32
#define MAX_ROUNDS	15

enum kind { RAW, DIR_LAYOUT, IMAGE, NR_KINDS };

struct work {
	const char	*name;
	bool		read;
	bool		flush;		/* after each write */
	bool		reserve;	/* 64 MiB ahead */
	bool		random;
	bool		cached;		/* raw reads go through the page cache as well */
	bool		unaligned;	/* a buffer that O_DIRECT does not take */
	size_t		len;
	int		jobs;		/* zones */
	int		depth;
};

static const struct work works[] = {
	{ "append-4k", .len = 4096, .jobs = 1, .depth = 1 },
	{ "append-4k-reserved", .len = 4096, .jobs = 1, .depth = 1, .reserve = true },
	{ "append-64k", .len = 65536, .jobs = 1, .depth = 1 },
	{ "append-128k", .len = 131072, .jobs = 1, .depth = 1 },
	{ "append-128k-buffered", .len = 131072, .jobs = 1, .depth = 1, .unaligned = true },
	{ "append-128k-reserved", .len = 131072, .jobs = 1, .depth = 1, .reserve = true },
	{ "append-1m", .len = 1 << 20, .jobs = 1, .depth = 1 },
	{ "append-1m-reserved", .len = 1 << 20, .jobs = 1, .depth = 1, .reserve = true },
	{ "append-4k-fsync", .len = 4096, .jobs = 1, .depth = 1, .flush = true },
	{ "append-4k-fsync-reserved", .len = 4096, .jobs = 1, .depth = 1, .flush = true,
	  .reserve = true },
	{ "append-4k-8zones", .len = 4096, .jobs = 8, .depth = 1 },
	{ "append-4k-8zones-fsync", .len = 4096, .jobs = 8, .depth = 1, .flush = true },
	{ "append-128k-8zones", .len = 131072, .jobs = 8, .depth = 1 },
	{ "append-128k-8zones-reserved", .len = 131072, .jobs = 8, .depth = 1,
	  .reserve = true },
	{ "read-4k", .len = 4096, .jobs = 1, .depth = 1, .read = true, .random = true },
	{ "read-4k-depth32", .len = 4096, .jobs = 1, .depth = 32, .read = true,
	  .random = true },
	{ "read-4k-depth32-cached", .len = 4096, .jobs = 1, .depth = 32, .read = true,
	  .random = true, .cached = true },
	{ "read-128k", .len = 131072, .jobs = 1, .depth = 1, .read = true },
	{ "read-128k-cached", .len = 131072, .jobs = 1, .depth = 1, .read = true,
	  .cached = true },
};

#define NR_WORKS	(sizeof(works) / sizeof(works[0]))

static double seconds = 1;
static int rounds = 3;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static char *new_buffer(const struct work *w)
{
	char *buf = NULL;
	size_t i;

	if (posix_memalign((void **)&buf, 4096, w->len + 4096))
		errx(1, "out of memory");
	for (i = 0; i < w->len + 4096; i++)
		buf[i] = (char)(i * 7 + i / 4096);
	return w->unaligned ? buf + 16 : buf;
}

static void free_buffer(const struct work *w, char *buf)
{
	free(w->unaligned ? buf - 16 : buf);
}

/* ---- one stream of operations ---- */

/* What is read: written once before, and not cached; in sequence no more than once. */
#define READ_SPAN	(UINT64_C(1) << 30)

struct job {
	const struct work *w;
	struct zdev	*dev;		/* NULL: raw */
	uint32_t	zno;
	const char	*path;		/* raw */
	double		end;
	uint64_t	done;
	pthread_t	thread;
	unsigned	seed;
	/* Through zdev: what is in flight. */
	pthread_mutex_t	lock;		/* guards the two below, and done */
	pthread_cond_t	cond;
	int		pending;
	uint64_t	pos;
};

static uint64_t next_pos(struct job *j)
{
	uint64_t pos = j->pos;

	if (j->w->random)
		return ((uint64_t)rand_r(&j->seed) << 12) % READ_SPAN;
	j->pos += j->w->len;
	return pos;
}

static uint64_t end_of(const struct work *w)
{
	return w->read ? READ_SPAN : ZONE_SIZE;
}

static void must(const char *what, long long got, long long want)
{
	if (got != want)
		errx(1, "%s: %s", what, got < 0 ? strerror(-(int)got) : "short");
}

static void raw_one(struct job *j, int fd, char *buf)
{
	const struct work *w = j->w;
	uint64_t pos = next_pos(j);
	ssize_t n = w->read ? pread(fd, buf, w->len, (off_t)pos) :
			      pwrite(fd, buf, w->len, (off_t)pos);

	must("raw", n < 0 ? -errno : n, (long long)w->len);
	if (w->flush && fdatasync(fd))
		err(1, "fdatasync");
}

static void *raw_stream(void *arg)
{
	struct job *j = arg;
	char *buf = new_buffer(&(struct work){ .len = j->w->len });
	int fd = open(j->path, O_RDWR | O_CREAT | (j->w->cached ? 0 : O_DIRECT), 0600);

	if (fd < 0)
		err(1, "%s", j->path);
	while (now() < j->end && j->pos + j->w->len <= end_of(j->w)) {
		raw_one(j, fd, buf);
		j->done++;
	}
	close(fd);
	free(buf);
	return NULL;
}

/*
 * The operations of a zone as the layers above send them: each that is done sends
 * the next one off.
 */
struct flight {
	struct zdev_io	io;
	struct iovec	iov;
	struct job	*job;
};

/* What comes after io; false: nothing. */
static bool next_op(struct job *j, struct zdev_io *io)
{
	const struct work *w = j->w;

	if (io->op == ZDEV_RESERVE) {
		io->op = ZDEV_WRITE;
		return true;
	}
	if (io->op == ZDEV_WRITE && w->flush) {
		io->op = ZDEV_FLUSH;
		return true;
	}
	if (now() >= j->end || j->pos + w->len > end_of(w))
		return false;
	io->pos = next_pos(j);
	io->op = w->read ? ZDEV_READ : ZDEV_WRITE;
	if (w->reserve && !(io->pos % (64 << 20))) {
		io->op = ZDEV_RESERVE;
		io->bytes = 64 << 20;
	}
	return true;
}

static void landed(struct zdev_io *io)
{
	struct flight *f = io->owner;
	struct job *j = f->job;
	bool more;

	must("zdev", io->result, io->op == ZDEV_READ || io->op == ZDEV_WRITE ?
	     (long long)j->w->len : 0);
	pthread_mutex_lock(&j->lock);
	j->done += io->op == (j->w->flush ? ZDEV_FLUSH : j->w->read ? ZDEV_READ : ZDEV_WRITE);
	more = next_op(j, io);
	if (!more && !--j->pending)
		pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&j->lock);
	if (more)
		zdev_submit(j->dev, io);
}

static void *zdev_stream(void *arg)
{
	struct flight f[MAX_DEPTH];
	struct job *j = arg;
	int i;

	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->cond, NULL);
	j->pending = j->w->depth;
	for (i = 0; i < j->w->depth; i++) {
		f[i].job = j;
		f[i].iov = (struct iovec) { new_buffer(j->w), j->w->len };
		f[i].io = (struct zdev_io) {
			.op = ZDEV_FLUSH, .zno = j->zno, .iov = &f[i].iov, .nr_iov = 1,
			.done = landed, .owner = &f[i],
		};
		pthread_mutex_lock(&j->lock);
		next_op(j, &f[i].io);
		pthread_mutex_unlock(&j->lock);
		zdev_submit(j->dev, &f[i].io);
	}
	pthread_mutex_lock(&j->lock);
	while (j->pending)
		pthread_cond_wait(&j->cond, &j->lock);
	pthread_mutex_unlock(&j->lock);
	for (i = 0; i < j->w->depth; i++)
		free_buffer(j->w, f[i].iov.iov_base);
	return NULL;
}

/* ---- a measurement ---- */

static struct zdev *open_device(const char *path)
{
	const struct zdev_open_opts opts = { .read_only = false };
	struct zdev *dev;
	struct zerr e;

	if (zdev_open(path, &opts, &dev, &e))
		errx(1, "%s", e.msg);
	return dev;
}

static void make_device(const char *path, enum kind kind, uint64_t zone_size, uint32_t zones)
{
	const struct zdev_geometry g = {
		.block_size = 4096, .zone_size = zone_size, .zone_capacity = zone_size,
		.nr_zones = zones, .nr_conv = 1,
	};
	struct zerr e;

	if (zdev_create(path, kind == IMAGE ? ZDEV_LAYOUT_IMAGE : ZDEV_LAYOUT_DIR, &g, NULL,
			NULL, &e))
		errx(1, "%s", e.msg);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void fill(const struct work *w, enum kind kind, struct zdev *dev, const char *path)
{
	struct work fw = { .len = 1 << 20 };
	struct job j = { .w = &fw, .dev = dev, .zno = 1, .path = path };
	char *buf = new_buffer(&fw);
	int fd = -1;

	if (kind == RAW)
		fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	while (j.pos < READ_SPAN) {
		if (kind == RAW)
			raw_one(&j, fd, buf);
		else
			must("fill", zdev_pwrite(dev, 1, next_pos(&j), buf, fw.len), fw.len);
	}
	if (kind == RAW) {
		fdatasync(fd);
		close(fd);
	} else {
		zdev_command(dev, ZDEV_FLUSH, 1);
	}
	free(buf);
}

static void drop_cached(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		err(1, "%s", path);
	close(fd);
}

static double run_jobs(const struct work *w, enum kind kind, struct zdev *dev,
		       const char *path)
{
	struct job jobs[MAX_JOBS * MAX_DEPTH];
	char paths[MAX_JOBS][4096];
	double start = now(), took;
	uint64_t done = 0;
	int i, n = w->jobs * (kind == RAW ? w->depth : 1);

	for (i = 0; i < n; i++) {
		snprintf(paths[i % w->jobs], sizeof(paths[0]), "%s%s%d", path, w->read ? "" : ".",
			 i % w->jobs);
		jobs[i] = (struct job) {
			.w = w, .dev = dev, .zno = (uint32_t)(1 + i), .end = start + seconds,
			.path = w->read ? path : paths[i % w->jobs], .seed = (unsigned)i,
		};
		pthread_create(&jobs[i].thread, NULL,
			       kind == RAW ? raw_stream : zdev_stream,
			       &jobs[i]);
	}
	for (i = 0; i < n; i++) {
		pthread_join(jobs[i].thread, NULL);
		done += jobs[i].done;
	}
	took = now() - start;
	for (i = 0; i < w->jobs; i++)
		unlink(paths[i]);
	return (double)done / took;
}

static double measure(const struct work *w, enum kind kind, const char *folder)
{
	static const char *const names[] = { "raw", "dir", "image" };
	struct zdev *dev = NULL;
	char path[4000], file[4096];
	double rate;

	snprintf(path, sizeof(path), "%s/zdev-bench.%s", folder, names[kind]);
	remove_tree(path);
	if (kind != RAW) {
		make_device(path, kind, ZONE_SIZE, NR_ZONES);
		dev = open_device(path);
	}
	if (w->read) {
		fill(w, kind, dev, path);
		snprintf(file, sizeof(file), "%s%s", path, kind == DIR_LAYOUT ? "/seq-000001" : "");
		drop_cached(file);
	}
	rate = run_jobs(w, kind, dev, path);
	if (dev)
		must("close", zdev_close(dev), 0);
	remove_tree(path);
	/* What one left to be written must not burden the next. */
	sync();
	return rate;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void measure_all(const struct work *w, const char *folder)
{
	double rate[NR_KINDS][MAX_ROUNDS], ratio[NR_KINDS][MAX_ROUNDS];
	int r, k;

	for (r = 0; r < rounds; r++)
		for (k = RAW; k < NR_KINDS; k++) {
			rate[k][r] = measure(w, (enum kind)k, folder);
			ratio[k][r] = rate[k][r] / rate[RAW][r];
		}
	printf("%-28s %9.0f %9.0f %9.0f   %5.2f  %5.2f\n", w->name, median(rate[RAW], rounds),
	       median(rate[DIR_LAYOUT], rounds), median(rate[IMAGE], rounds),
	       median(ratio[DIR_LAYOUT], rounds), median(ratio[IMAGE], rounds));
	fflush(stdout);
}

/* ---- many zones ---- */

/* Resident memory of this process that is not a file's, in KiB. */
static long resident(void)
{
	char line[128];
	long kib = 0, anon = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			anon = kib;
	}
	if (f)
		fclose(f);
	return anon;
}

/* Wall clock and processor time since the last call, in ms. */
struct lap {
	double		wall, cpu;
};

static double cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void lap(struct lap *l, const char *what)
{
	if (what)
		printf("  %s %.1f (cpu %.1f)", what, (now() - l->wall) * 1e3,
		       (cpu_now() - l->cpu) * 1e3);
	l->wall = now();
	l->cpu = cpu_now();
}

static void measure_open(const char *folder, enum kind kind, uint32_t zones)
{
	static char block[4096];
	struct zdev *dev;
	struct lap l;
	char path[4000];
	long before;

	snprintf(path, sizeof(path), "%s/zdev-bench.many", folder);
	remove_tree(path);
	printf("%s, %" PRIu32 " zones, ms:", kind == IMAGE ? "image" : "dir", zones);
	lap(&l, NULL);
	make_device(path, kind, 4 << 20, zones);
	lap(&l, "create");
	before = resident();
	dev = open_device(path);
	lap(&l, "open");
	printf("  memory %ld KiB", resident() - before);
	zdev_close(dev);
	lap(&l, "close");
	dev = open_device(path);
	lap(&l, "open again");
	must("write", zdev_pwrite(dev, zones - 1, 0, block, sizeof(block)), sizeof(block));
	lap(&l, NULL);
	zdev_close(dev);
	lap(&l, "close with one changed");
	putchar('\n');
	remove_tree(path);
}

int main(int argc, char **argv)
{
	uint32_t zones = 0;
	size_t i;
	int c, a;

	while ((c = getopt(argc, argv, "s:r:z:")) != -1) {
		switch (c) {
		case 's':
			seconds = atof(optarg);
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		case 'z':
			zones = (uint32_t)atol(optarg);
			break;
		default:
			return 2;
		}
	}
	if (optind == argc || rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: zdev-bench [-s SECONDS] [-r ROUNDS] [-z ZONES] FOLDER [NAME...]");
	if (zones) {
		measure_open(argv[optind], IMAGE, zones);
		measure_open(argv[optind], DIR_LAYOUT, zones);
		return 0;
	}
	printf("%-28s %9s %9s %9s   %5s  %5s\n", "operations a second", "raw", "dir", "image",
	       "dir", "image");
	for (i = 0; i < NR_WORKS; i++) {
		bool chosen = argc == optind + 1;

		for (a = optind + 1; a < argc; a++)
			chosen |= !strcmp(argv[a], works[i].name);
		if (chosen)
			measure_all(&works[i], argv[optind]);
	}
	return 0;
}
