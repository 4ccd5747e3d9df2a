/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zchurn: overwrite a file at random for a while, many writes at a time, and prove
 * afterwards that each block holds what was written to it last.
 *
 *	zchurn fill STATE FILE BYTES UNIT	write all of it, UNIT bytes a write
 *	zchurn write STATE FILE SECONDS THREADS MOST	up to MOST bytes a write
 *	zchurn verify STATE FILE
 *
 * A block's data is a function of its place and of how often it was written, which
 * STATE, a mapped file outside the file system under test, knows for each block: a
 * block that is older than it should be is found as one of another place is. All
 * I/O is direct. Each thread has stripes of its own, side by side with those of the
 * others; one step in eight reads back, one in SYNC_STEPS syncs. Prints a line with
 * what it did.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define BLOCK		4096
#define STRIPE		(64 << 10)
#define STRIPE_BLOCKS	(STRIPE / BLOCK)
#define MAX_THREADS	64
#define SYNC_STEPS	2000

struct churn {
	const char	*path;
	int		fd;
	uint32_t	nr_blocks;
	uint32_t	*version;	/* of each block; a stripe's owner alone changes them */
	uint32_t	nr_threads;
	uint32_t	most;		/* blocks of a write, <= STRIPE_BLOCKS */
	time_t		end;		/* monotonic, seconds */
};

struct worker {
	struct churn	*c;
	pthread_t	thread;
	uint32_t	nr;
	uint64_t	dice;		/* state of the random numbers */
	char		*buf;		/* STRIPE bytes, aligned */
	uint64_t	writes, written, reads, syncs;
	bool		failed;
};

static void die(const char *what)
{
	fprintf(stderr, "zchurn: %s: %s\n", what, strerror(errno));
	exit(2);
}

static time_t seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static uint32_t draw(struct worker *w, uint32_t below)
{
	return (uint32_t)(pattern_word(w->dice++, w->nr) >> 16) % below;
}

static void make_blocks(const struct churn *c, char *buf, uint32_t first, uint32_t nr,
			uint32_t newer)
{
	for (uint32_t i = 0; i < nr; i++)
		pattern_fill(buf + (size_t)i * BLOCK, BLOCK, (uint64_t)(first + i) * BLOCK,
			     c->version[first + i] + newer);
}

/* Says which block is wrong, and what it is instead if it is an older one. */
static bool check_blocks(const struct churn *c, const char *buf, uint32_t first, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		const char *block = buf + (size_t)i * BLOCK;
		uint64_t at = (uint64_t)(first + i) * BLOCK;
		uint32_t v = c->version[first + i], old = v;
		size_t good = pattern_check(block, BLOCK, at, v);

		if (good == BLOCK)
			continue;
		while (old && pattern_check(block, BLOCK, at, old - 1) != BLOCK)
			old--;
		printf("%s: block %" PRIu32 ", written %" PRIu32 " times, is wrong from byte %zu",
		       c->path, first + i, v, good);
		if (old)
			printf(": as of write %" PRIu32, old - 1);
		printf("\n");
		return false;
	}
	return true;
}

static bool write_blocks(struct churn *c, char *buf, uint32_t first, uint32_t nr)
{
	size_t len = (size_t)nr * BLOCK;

	make_blocks(c, buf, first, nr, 1);
	if (pwrite(c->fd, buf, len, (off_t)first * BLOCK) != (ssize_t)len)
		return false;
	for (uint32_t i = 0; i < nr; i++)
		c->version[first + i]++;
	return true;
}

static bool read_blocks(const struct churn *c, char *buf, uint32_t first, uint32_t nr)
{
	size_t len = (size_t)nr * BLOCK;

	return pread(c->fd, buf, len, (off_t)first * BLOCK) == (ssize_t)len;
}

/* Most steps are of one block, one in four of several. */
static bool step(struct worker *w)
{
	struct churn *c = w->c;
	uint32_t stripes = c->nr_blocks / STRIPE_BLOCKS / c->nr_threads;
	uint32_t stripe = draw(w, stripes) * c->nr_threads + w->nr;
	uint32_t in = draw(w, STRIPE_BLOCKS), nr = 1;
	uint32_t first = stripe * STRIPE_BLOCKS + in;

	if (draw(w, 4) == 0)
		nr = 1 + draw(w, STRIPE_BLOCKS - in);
	if (nr > c->most)
		nr = c->most;
	if (draw(w, SYNC_STEPS) == 0) {
		w->syncs++;
		return !fdatasync(c->fd);
	}
	if (draw(w, 8) == 0) {
		w->reads++;
		return read_blocks(c, w->buf, first, nr) && check_blocks(c, w->buf, first, nr);
	}
	w->writes++;
	w->written += (uint64_t)nr * BLOCK;
	return write_blocks(c, w->buf, first, nr);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	errno = 0;
	while (seconds_now() < w->c->end)
		if (!step(w)) {
			w->failed = true;
			fprintf(stderr, "zchurn: %s: %s\n", w->c->path, strerror(errno));
			break;
		}
	return NULL;
}

static void map_state(struct churn *c, const char *state, off_t bytes)
{
	int fd = open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	size_t len;

	c->nr_blocks = (uint32_t)(bytes / STRIPE * STRIPE_BLOCKS);
	len = c->nr_blocks * sizeof(*c->version);
	if (fd < 0 || !len || ftruncate(fd, (off_t)len))
		die(state);
	c->version = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c->version == MAP_FAILED)
		die(state);
	close(fd);
}

static char *make_buffer(size_t len)
{
	void *buf;

	if (posix_memalign(&buf, BLOCK, len))
		die("memory");
	return buf;
}

static int do_fill(struct churn *c, uint32_t unit)
{
	char *buf = make_buffer((size_t)unit * BLOCK);

	for (uint32_t at = 0; at < c->nr_blocks; at += unit) {
		uint32_t left = c->nr_blocks - at;

		if (!write_blocks(c, buf, at, left < unit ? left : unit))
			die(c->path);
	}
	free(buf);
	return fsync(c->fd) || close(c->fd) ? 1 : 0;
}

static int do_write(struct churn *c)
{
	struct worker w[MAX_THREADS] = { { 0 } }, sum = { 0 };

	for (uint32_t i = 0; i < c->nr_threads; i++) {
		w[i].c = c;
		w[i].nr = i;
		w[i].dice = (uint64_t)time(NULL) << 32;
		w[i].buf = make_buffer(STRIPE);
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			die("thread");
	}
	for (uint32_t i = 0; i < c->nr_threads; i++) {
		pthread_join(w[i].thread, NULL);
		free(w[i].buf);
		sum.writes += w[i].writes;
		sum.written += w[i].written;
		sum.reads += w[i].reads;
		sum.syncs += w[i].syncs;
		sum.failed |= w[i].failed;
	}
	printf("%" PRIu64 " writes of %" PRIu64 " MiB, %" PRIu64 " reads, %" PRIu64 " syncs\n",
	       sum.writes, sum.written >> 20, sum.reads, sum.syncs);
	return fsync(c->fd) || close(c->fd) || sum.failed ? 1 : 0;
}

static int do_verify(struct churn *c)
{
	char *buf = make_buffer(STRIPE);
	int ret = 0;

	for (uint32_t at = 0; at < c->nr_blocks; at += STRIPE_BLOCKS) {
		if (!read_blocks(c, buf, at, STRIPE_BLOCKS))
			die(c->path);
		if (!check_blocks(c, buf, at, STRIPE_BLOCKS))
			ret = 1;
	}
	free(buf);
	return ret;
}

static int usage(void)
{
	fprintf(stderr, "usage: zchurn fill STATE FILE BYTES UNIT\n"
		"       zchurn write STATE FILE SECONDS THREADS MOST\n"
		"       zchurn verify STATE FILE\n");
	return 2;
}

/* Of the size that the file has, or shall have. */
static void open_file(struct churn *c, const char *state, const char *path, int flags,
		      off_t bytes)
{
	struct stat st;

	c->path = path;
	c->fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0600);
	if (c->fd < 0 || fstat(c->fd, &st))
		die(path);
	map_state(c, state, bytes ? bytes : st.st_size);
}

/* A number from 1 to most; 0: it is none. */
static uint64_t number(const char *arg, uint64_t most)
{
	char *end;
	uint64_t n = strtoull(arg, &end, 10);

	return *end || n > most ? 0 : n;
}

int main(int argc, char **argv)
{
	struct churn c = { .nr_threads = 1 };
	uint64_t bytes, blocks, seconds;

	if (argc == 4 && !strcmp(argv[1], "verify")) {
		open_file(&c, argv[2], argv[3], O_RDONLY, 0);
		return do_verify(&c);
	}
	if (argc == 6 && !strcmp(argv[1], "fill")) {
		bytes = number(argv[4], UINT64_C(1) << 40);
		blocks = number(argv[5], 1 << 30) / BLOCK;
		if (bytes < STRIPE || !blocks)
			return usage();
		open_file(&c, argv[2], argv[3], O_WRONLY | O_CREAT, (off_t)bytes);
		return do_fill(&c, (uint32_t)blocks);
	}
	if (argc != 7 || strcmp(argv[1], "write"))
		return usage();
	seconds = number(argv[4], 1 << 30);
	c.nr_threads = (uint32_t)number(argv[5], MAX_THREADS);
	c.most = (uint32_t)number(argv[6], STRIPE) / BLOCK;
	if (!seconds || !c.nr_threads || !c.most)
		return usage();
	open_file(&c, argv[2], argv[3], O_RDWR, 0);
	if (c.nr_blocks / STRIPE_BLOCKS < c.nr_threads)
		return usage();
	c.end = seconds_now() + (time_t)seconds;
	return do_write(&c);
}
