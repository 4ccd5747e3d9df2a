/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zmodel: random changes to a disk, and the same ones to a plain file of its size,
 * which then says what must be on the disk.
 *
 *	zmodel [-s SEED] [-n OPS] [-t THREADS] DISK MODEL
 *
 * DISK is a block device or the file `disk` of a mount, and is written past the page
 * cache. The threads work beside each other, each on stripes of its own: streams of
 * writes, overwrites of what it wrote last, writes elsewhere, discards, zeroes, flushes.
 * Most of that is in an eighth of the disk, and soon in another one. OPS is the sum of
 * all. Exits 1 at the first error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define BLOCK		UINT64_C(4096)
#define STRIPE		UINT64_C(262144)
#define MAX_THREADS	16
/* Operations of each thread in one part of the disk. */
#define STAY		8
/* Writes of a stream, which are STREAM_LEN each. */
#define STREAM_OPS	64
#define STREAM_LEN	(16 * BLOCK)

struct disk {
	int		fd, model;
	bool		block_device;
	uint64_t	size;
	unsigned	nr_threads;
	uint64_t	ops;		/* of each thread */
	uint64_t	seed;
};

struct worker {
	const struct disk *d;
	unsigned	no;
	pthread_t	thread;
	uint64_t	dice;		/* how many were thrown */
	uint64_t	done;		/* operations */
	uint64_t	last;		/* where it wrote */
	uint64_t	stream;		/* the stripe it goes on in */
	unsigned	stream_left;
	char		*buf;
	bool		failed;
};

static uint64_t roll(struct worker *w, uint64_t below)
{
	return pattern_word(w->dice++, w->d->seed * MAX_THREADS + w->no) % below;
}

static bool fail(const char *what, uint64_t pos, uint64_t len)
{
	fprintf(stderr, "zmodel: %s of %llu at %llu: %s\n", what, (unsigned long long)len,
		(unsigned long long)pos, strerror(errno));
	return false;
}

/* Stripes go around. What is left behind the last round belongs to nobody. */
static uint64_t my_stripes(const struct worker *w)
{
	return w->d->size / STRIPE / w->d->nr_threads;
}

static uint64_t stripe_pos(const struct worker *w, uint64_t i)
{
	return (i % my_stripes(w) * w->d->nr_threads + w->no) * STRIPE;
}

static bool put(struct worker *w, uint64_t pos, uint64_t len)
{
	pattern_fill(w->buf, len, 0, roll(w, UINT64_MAX));
	if (pwrite(w->d->fd, w->buf, len, (off_t)pos) != (ssize_t)len)
		return fail("write", pos, len);
	if (pwrite(w->d->model, w->buf, len, (off_t)pos) != (ssize_t)len)
		return fail("write to the model", pos, len);
	w->last = pos;
	return true;
}

static bool clear(struct worker *w, uint64_t pos, uint64_t len, bool discard)
{
	uint64_t range[2] = { pos, len };
	int mode = FALLOC_FL_KEEP_SIZE |
		   (discard ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	int ret;

	if (w->d->block_device)
		ret = ioctl(w->d->fd, discard ? BLKDISCARD : BLKZEROOUT, range);
	else
		ret = fallocate(w->d->fd, mode, (off_t)pos, (off_t)len);
	if (ret)
		return fail(discard ? "discard" : "zero", pos, len);
	if (fallocate(w->d->model, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)pos,
		      (off_t)len))
		return fail("hole in the model", pos, len);
	return true;
}

/* Up to `most` blocks at pos that do not leave the stripe. */
static uint64_t some(struct worker *w, uint64_t pos, uint64_t most)
{
	uint64_t left = (STRIPE - pos % STRIPE) / BLOCK;

	return (1 + roll(w, most < left ? most : left)) * BLOCK;
}

static uint64_t elsewhere(struct worker *w)
{
	uint64_t all = my_stripes(w), part = all < 8 ? all : all / 8;
	uint64_t first = pattern_word(w->done / STAY, w->d->seed) % all;
	uint64_t stripe = roll(w, 16) ? first + roll(w, part) : roll(w, all);

	return stripe_pos(w, stripe) + roll(w, STRIPE / BLOCK) * BLOCK;
}

static bool go_on_streaming(struct worker *w)
{
	uint64_t done = (STREAM_OPS - w->stream_left--) * STREAM_LEN;

	return put(w, stripe_pos(w, w->stream + done / STRIPE) + done % STRIPE, STREAM_LEN);
}

static bool one_op(struct worker *w)
{
	uint64_t dice = roll(w, 100), pos;

	if (w->stream_left && dice < 60)
		return go_on_streaming(w);
	if (dice < 5) {
		w->stream = roll(w, my_stripes(w));
		w->stream_left = STREAM_OPS;
		return go_on_streaming(w);
	}
	if (dice < 30) {
		pos = w->last;
		return put(w, pos, some(w, pos, 4));
	}
	if (dice < 90) {
		pos = elsewhere(w);
		return put(w, pos, some(w, pos, 16));
	}
	if (dice < 99) {
		pos = dice % 2 ? w->last : elsewhere(w);
		return clear(w, pos, some(w, pos, dice == 98 ? STRIPE / BLOCK : 8), dice % 3);
	}
	return !fdatasync(w->d->fd) || fail("flush", 0, 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->last = stripe_pos(w, 0);
	for (; w->done < w->d->ops && !w->failed; w->done++)
		w->failed = !one_op(w);
	return NULL;
}

static int run(struct disk *d)
{
	struct worker w[MAX_THREADS] = { 0 };
	bool failed = false;
	unsigned i;

	for (i = 0; i < d->nr_threads; i++) {
		w[i].d = d;
		w[i].no = i;
		if (posix_memalign((void **)&w[i].buf, BLOCK, STRIPE) ||
		    pthread_create(&w[i].thread, NULL, work, &w[i])) {
			perror("zmodel");
			exit(1);
		}
	}
	for (i = 0; i < d->nr_threads; i++) {
		pthread_join(w[i].thread, NULL);
		failed |= w[i].failed;
		free(w[i].buf);
	}
	if (fsync(d->fd)) {
		perror("zmodel: fsync");
		failed = true;
	}
	return failed;
}

static int open_both(struct disk *d, const char *disk, const char *model)
{
	struct stat st;

	d->fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (d->fd < 0 || fstat(d->fd, &st)) {
		perror(disk);
		return 1;
	}
	d->block_device = S_ISBLK(st.st_mode);
	d->size = (uint64_t)st.st_size;
	if (d->block_device && ioctl(d->fd, BLKGETSIZE64, &d->size)) {
		perror(disk);
		return 1;
	}
	d->model = open(model, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->model < 0 || fstat(d->model, &st) ||
	    (!st.st_size && ftruncate(d->model, (off_t)d->size))) {
		perror(model);
		return 1;
	}
	if (st.st_size && (uint64_t)st.st_size != d->size) {
		fprintf(stderr, "zmodel: %s has another size than %s\n", disk, model);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct disk d = { .seed = 1, .ops = 1000, .nr_threads = 8 };
	int opt, ret;

	while ((opt = getopt(argc, argv, "s:n:t:")) != -1) {
		switch (opt) {
		case 's': d.seed = strtoull(optarg, NULL, 0); break;
		case 'n': d.ops = strtoull(optarg, NULL, 0); break;
		case 't': d.nr_threads = (unsigned)strtoul(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	if (argc - optind != 2 || !d.nr_threads || d.nr_threads > MAX_THREADS) {
		fprintf(stderr, "usage: zmodel [-s SEED] [-n OPS] [-t THREADS] DISK MODEL\n");
		return 2;
	}
	d.ops /= d.nr_threads;
	if (open_both(&d, argv[optind], argv[optind + 1]))
		return 1;
	if (d.size / STRIPE < d.nr_threads) {
		fprintf(stderr, "zmodel: %s is too small\n", argv[optind]);
		return 1;
	}
	ret = run(&d);
	close(d.model);
	close(d.fd);
	return ret;
}
