/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zfsx: many random operations at the same time on a file or a block device, each
 * checked against a copy in memory.
 *
 *	zfsx [-n OPS] [-t THREADS] [-s SEED] [-r BYTES] [-m BYTES] [-a BYTES]
 *	     [-S FILE] PATH
 *
 * THREADS threads (32) read, write, discard, zero and fsync until OPS operations
 * (20000) are done, in the first -r bytes (all), up to -m bytes (128 KiB) each,
 * aligned to -a bytes (4096); with direct I/O when that is 512 or more. Two
 * that change the same blocks never run at the same time. In the end all is
 * read again, and with -S stored in FILE. Status 0: everything was as it must be.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLK		4096u
#define MAX_THREADS	256

enum kind { READ, WRITE, DISCARD, ZERO, SYNC, COPY, NR_KINDS };

static const char *const names[NR_KINDS] = {
	"reads", "writes", "discards", "zeroes", "syncs", "copies",
};

struct fsx {
	const char	*path;
	int		fd;
	bool		is_blk;
	uint64_t	seed, size, max, align, nr_ops;
	unsigned	nr_threads;
	const char	*save;
	uint8_t		*shadow;	/* what is written by the block's writer alone */

	pthread_mutex_t	lock;		/* guards all below */
	int16_t		*use;		/* a block: readers, or -1 for a writer */
	uint64_t	*last;		/* a block: the operation that changed it last */
	uint64_t	started;
	uint64_t	count[NR_KINDS];
	bool		failed;
};

struct op {
	enum kind	kind;
	uint64_t	nr, pos, len, src;
};

static void die(const char *what)
{
	fprintf(stderr, "zfsx: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t rnd(uint64_t *rng, uint64_t n)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return (*rng >> 11) % n;
}

/* ---- which blocks are in use ---- */

static bool may_use(const struct fsx *f, uint64_t pos, uint64_t len, bool change)
{
	uint64_t b;

	for (b = pos / BLK; b <= (pos + len - 1) / BLK; b++)
		if (f->use[b] < 0 || (change && f->use[b]))
			return false;
	return true;
}

static void set_use(struct fsx *f, uint64_t pos, uint64_t len, bool change, int by)
{
	uint64_t b;

	for (b = pos / BLK; b <= (pos + len - 1) / BLK; b++)
		f->use[b] = (int16_t)(f->use[b] + (change ? -by : by));
}

static void use_op(struct fsx *f, const struct op *op, int by)
{
	if (op->kind == SYNC)
		return;
	set_use(f, op->pos, op->len, op->kind != READ, by);
	if (op->kind == COPY)
		set_use(f, op->src, op->len, false, by);
}

/* ---- one operation ---- */

static enum kind any_kind(const struct fsx *f, uint64_t *rng)
{
	switch (rnd(rng, 40)) {
	case 0: case 1:
		return SYNC;
	case 2: case 3: case 4:
		return DISCARD;
	case 5:
		return ZERO;
	case 6:
		/* A block device has no call for it. */
		return f->is_blk ? WRITE : COPY;
	case 7: case 8: case 9: case 10: case 11: case 12: case 13: case 14: case 15: case 16:
	case 17: case 18: case 19: case 20:
		return READ;
	default:
		return WRITE;
	}
}

static uint64_t down(uint64_t v, uint64_t to)
{
	return v - v % to;
}

static void any_op(const struct fsx *f, uint64_t *rng, struct op *op)
{
	uint64_t align = f->align, max = f->max;

	op->kind = any_kind(f, rng);
	/* What a block device discards are whole blocks. */
	if (f->is_blk && align < BLK && (op->kind == DISCARD || op->kind == ZERO))
		align = BLK;
	if (op->kind == DISCARD && rnd(rng, 4) == 0)
		max *= 8;
	else if (rnd(rng, 3))
		max = 4 * BLK;
	op->pos = down(rnd(rng, f->size - align + 1), align);
	op->len = down(align + rnd(rng, max), align);
	if (op->len > down(f->size - op->pos, align))
		op->len = down(f->size - op->pos, align);
	op->src = down(rnd(rng, f->size - op->len + 1), align);
	if (op->kind == COPY && op->src < op->pos + op->len && op->pos < op->src + op->len)
		op->kind = READ;
}

/* An operation that nothing stands in the way of, and its number; false: enough. */
static bool take_op(struct fsx *f, uint64_t *rng, struct op *op)
{
	bool ok;

	pthread_mutex_lock(&f->lock);
	do {
		any_op(f, rng, op);
	} while (op->kind != SYNC &&
		 (!may_use(f, op->pos, op->len, op->kind != READ) ||
		  (op->kind == COPY && !may_use(f, op->src, op->len, false))));
	ok = !f->failed && f->started < f->nr_ops;
	if (ok) {
		op->nr = f->started++;
		f->count[op->kind]++;
		use_op(f, op, 1);
	}
	pthread_mutex_unlock(&f->lock);
	return ok;
}

static void end_op(struct fsx *f, const struct op *op, bool ok)
{
	uint64_t b;

	pthread_mutex_lock(&f->lock);
	use_op(f, op, -1);
	if (op->kind != READ && op->kind != SYNC)
		for (b = op->pos / BLK; b <= (op->pos + op->len - 1) / BLK; b++)
			f->last[b] = op->nr;
	if (!ok)
		f->failed = true;
	pthread_mutex_unlock(&f->lock);
}

static bool same(struct fsx *f, const struct op *op, const uint8_t *got)
{
	uint64_t i = 0;

	if (!memcmp(got, f->shadow + op->pos, op->len))
		return true;
	while (got[i] == f->shadow[op->pos + i])
		i++;
	pthread_mutex_lock(&f->lock);
	printf("zfsx: %s: operation %" PRIu64 " read %" PRIu64 " bytes from %" PRIu64 ": at %" PRIu64
	       " is %02x and not %02x; operation %" PRIu64 " changed that block last\n", f->path,
	       op->nr, op->len, op->pos, op->pos + i, got[i], f->shadow[op->pos + i],
	       f->last[(op->pos + i) / BLK]);
	pthread_mutex_unlock(&f->lock);
	return false;
}

static void new_data(struct fsx *f, const struct op *op, uint64_t *rng, uint8_t *buf)
{
	uint64_t i, w;

	for (i = 0; i < op->len; i += 8) {
		w = rnd(rng, UINT32_MAX) * UINT64_C(0x9E3779B97F4A7C15) + op->nr;
		memcpy(buf + i, &w, op->len - i < 8 ? op->len - i : 8);
	}
	memcpy(f->shadow + op->pos, buf, op->len);
}

static int zero_range(const struct fsx *f, const struct op *op)
{
	uint64_t range[2] = { op->pos, op->len };

	if (f->is_blk)
		return ioctl(f->fd, op->kind == DISCARD ? BLKDISCARD : BLKZEROOUT, range);
	return fallocate(f->fd, FALLOC_FL_KEEP_SIZE |
			 (op->kind == DISCARD ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
			 range[0], range[1]);
}

/* Copies may be short. */
static bool copy_range(const struct fsx *f, const struct op *op)
{
	loff_t from = op->src, to = op->pos;
	uint64_t left = op->len;
	ssize_t n;

	while (left) {
		n = copy_file_range(f->fd, &from, f->fd, &to, left, 0);
		if (n <= 0)
			return false;
		left -= n;
	}
	return true;
}

static bool run_op(struct fsx *f, const struct op *op, uint64_t *rng, uint8_t *buf)
{
	switch (op->kind) {
	case READ:
		return pread(f->fd, buf, op->len, op->pos) == (ssize_t)op->len &&
		       same(f, op, buf);
	case WRITE:
		new_data(f, op, rng, buf);
		return pwrite(f->fd, buf, op->len, op->pos) == (ssize_t)op->len;
	case DISCARD:
	case ZERO:
		memset(f->shadow + op->pos, 0, op->len);
		return !zero_range(f, op);
	case COPY:
		memcpy(f->shadow + op->pos, f->shadow + op->src, op->len);
		return copy_range(f, op);
	default:
		return !(rnd(rng, 2) ? fsync(f->fd) : fdatasync(f->fd));
	}
}

struct worker {
	struct fsx	*f;
	pthread_t	thread;
	uint64_t	rng;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct fsx *f = w->f;
	uint8_t *buf;
	struct op op;

	if (posix_memalign((void **)&buf, BLK, f->max + BLK))
		die("memory");
	while (take_op(f, &w->rng, &op)) {
		bool ok;

		errno = 0;
		ok = run_op(f, &op, &w->rng, buf);
		if (!ok)
			printf("zfsx: %s: one of the %s, number %" PRIu64 ", %" PRIu64 " bytes at %"
			       PRIu64 ": %s\n", f->path, names[op.kind], op.nr, op.len, op.pos,
			       errno ? strerror(errno) : "wrong or short");
		end_op(f, &op, ok);
	}
	free(buf);
	return NULL;
}

/* ---- all of it ---- */

static void open_path(struct fsx *f)
{
	struct stat st;
	uint64_t size;

	f->fd = open(f->path, O_RDWR | O_CLOEXEC | (f->align >= 512 ? O_DIRECT : 0));
	if (f->fd < 0 || fstat(f->fd, &st))
		die(f->path);
	f->is_blk = S_ISBLK(st.st_mode);
	size = st.st_size;
	if (f->is_blk && ioctl(f->fd, BLKGETSIZE64, &size))
		die(f->path);
	if (!f->size || f->size > size)
		f->size = size;
	f->size = down(f->size, BLK);
	if (f->size < BLK || f->max < f->align)
		die("sizes");
	f->shadow = malloc(f->size);
	f->use = calloc(f->size / BLK, sizeof(*f->use));
	f->last = calloc(f->size / BLK, sizeof(*f->last));
	if (!f->shadow || !f->use || !f->last)
		die("memory");
}

static bool read_all(struct fsx *f, bool compare)
{
	struct op op = { .kind = READ, .nr = f->started };
	uint8_t *buf;
	bool ok = true;

	if (posix_memalign((void **)&buf, BLK, 1 << 20))
		die("memory");
	for (; op.pos < f->size && ok; op.pos += op.len) {
		op.len = f->size - op.pos < 1 << 20 ? f->size - op.pos : 1 << 20;
		if (pread(f->fd, buf, op.len, op.pos) != (ssize_t)op.len)
			die(f->path);
		if (compare)
			ok = same(f, &op, buf);
		else
			memcpy(f->shadow + op.pos, buf, op.len);
	}
	free(buf);
	return ok;
}

static void save(const struct fsx *f)
{
	FILE *out = fopen(f->save, "w");

	if (!out || fwrite(f->shadow, 1, f->size, out) != f->size || fclose(out))
		die(f->save);
}

static int run(struct fsx *f)
{
	static struct worker w[MAX_THREADS];
	unsigned i;
	int k;

	open_path(f);
	read_all(f, false);
	pthread_mutex_init(&f->lock, NULL);
	for (i = 0; i < f->nr_threads; i++) {
		w[i].f = f;
		w[i].rng = (f->seed * MAX_THREADS + i) * UINT64_C(0x9E3779B97F4A7C15) + 1;
		if (pthread_create(&w[i].thread, NULL, worker_main, &w[i]))
			die("starting a thread");
	}
	for (i = 0; i < f->nr_threads; i++)
		pthread_join(w[i].thread, NULL);
	if (f->failed || fsync(f->fd) || !read_all(f, true))
		return 1;
	for (k = 0; k < NR_KINDS; k++)
		printf("%" PRIu64 " %s%s", f->count[k], names[k], k + 1 < NR_KINDS ? ", " : "\n");
	if (f->save)
		save(f);
	return 0;
}

int main(int argc, char **argv)
{
	static struct fsx f = {
		.seed = 1, .max = 128 << 10, .align = BLK, .nr_ops = 20000, .nr_threads = 32,
	};
	int c;

	while ((c = getopt(argc, argv, "n:t:s:r:m:a:S:")) != -1) {
		switch (c) {
		case 'n': f.nr_ops = strtoull(optarg, NULL, 0); break;
		case 't': f.nr_threads = (unsigned)strtoul(optarg, NULL, 0); break;
		case 's': f.seed = strtoull(optarg, NULL, 0); break;
		case 'r': f.size = strtoull(optarg, NULL, 0); break;
		case 'm': f.max = strtoull(optarg, NULL, 0); break;
		case 'a': f.align = strtoull(optarg, NULL, 0); break;
		case 'S': f.save = optarg; break;
		default: optind = argc + 1;
		}
	}
	if (optind != argc - 1 || !f.nr_threads || f.nr_threads > MAX_THREADS || !f.align ||
	    f.max < f.align) {
		fprintf(stderr, "usage: zfsx [-n OPS] [-t THREADS] [-s SEED] [-r BYTES] "
			"[-m BYTES] [-a BYTES] [-S FILE] PATH\n");
		return 2;
	}
	f.path = argv[optind];
	return run(&f);
}
