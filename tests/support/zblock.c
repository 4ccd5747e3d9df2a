/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zblock: write to a disk, a file or a block device, until the daemon behind it
 * dies, then prove what must be there is there.
 *
 *	zblock write STATE SEED THREADS PATH
 *	zblock verify STATE PATH
 *
 * The writers overwrite, discard and zero blocks of their own at random, several
 * at the same time, fsync now and then, and keep in STATE, a mapped file outside
 * the disk, which generation of each block was begun and which one a successful
 * fsync has covered. They end with 0 at the first error that a dead daemon
 * gives, and with 1 at any other error.
 *
 * The verifier reads everything back: each sector of 512 bytes is of the
 * generation that was covered, or of a later one that was begun. It then makes the
 * present contents the new start, so that write and verify can follow each other
 * for many rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

#define BLK		4096u
#define SECTOR		512u
#define SHARE		64u	/* blocks in a row that belong to one writer */
#define MAX_THREADS	64u

/* A generation counts up by 2; odd: the block is zero. 0: as it was made, zero. */
struct entry {
	uint32_t	begun;		/* the last one asked for */
	uint32_t	acked;		/* the last one answered */
	uint32_t	synced;		/* the last one that fsync covered */
	uint32_t	zeroed;		/* the last odd one asked for */
};

struct state {
	uint64_t	nr_blocks;
	struct entry	e[];
};

struct run {
	struct state	*st;
	const char	*path;
	int		fd;
	bool		is_blk;
	unsigned	nr_threads;
	uint64_t	seed;
	atomic_bool	stop;
	atomic_bool	failed;
	atomic_ulong	ops;
};

struct writer {
	struct run	*r;
	unsigned	nr;
	pthread_t	thread;
	uint64_t	rng;
	char		*buf;		/* SHARE blocks */
	uint64_t	*dirty;		/* blocks changed since the last fsync */
	size_t		nr_dirty, room;
};

static void die(const char *what)
{
	fprintf(stderr, "zblock: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t rnd(struct writer *w, uint64_t n)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return (w->rng >> 11) % n;
}

/* false: nobody is behind it any more. */
static bool open_disk(struct run *r)
{
	struct stat st;

	r->fd = open(r->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (r->fd < 0 && (errno == ENOTCONN || errno == ECONNABORTED))
		return false;
	if (r->fd < 0 || fstat(r->fd, &st))
		die(r->path);
	r->is_blk = S_ISBLK(st.st_mode);
	return true;
}

static uint64_t size_of(const struct run *r)
{
	struct stat st;
	uint64_t size;

	if (r->is_blk && !ioctl(r->fd, BLKGETSIZE64, &size))
		return size;
	if (fstat(r->fd, &st))
		die(r->path);
	return st.st_size;
}

static void map_state(struct run *r, const char *path)
{
	uint64_t nr = size_of(r) / BLK;
	size_t len = sizeof(struct state) + nr * sizeof(struct entry);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, len))
		die(path);
	r->st = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r->st == MAP_FAILED)
		die(path);
	close(fd);
	r->st->nr_blocks = nr;
}

/* Each sector begins with its block and generation. */
static void fill(char *buf, uint64_t block, uint32_t gen)
{
	unsigned i;

	for (i = 0; i < BLK / SECTOR; i++) {
		char *p = buf + i * SECTOR;

		pattern_fill(p, SECTOR, i * SECTOR, block * 1000003 + gen);
		memcpy(p, &block, 8);
		memcpy(p + 8, &gen, 4);
	}
}

/* ---- the writers ---- */

static bool is_the_crash(int err)
{
	return err == ENOTCONN || err == ECONNABORTED || err == EIO || err == ENODEV ||
	       err == EROFS || err == ENOENT;
}

static void note_dirty(struct writer *w, uint64_t block)
{
	if (w->nr_dirty == w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->dirty = realloc(w->dirty, w->room * sizeof(*w->dirty));
		if (!w->dirty)
			die("memory");
	}
	w->dirty[w->nr_dirty++] = block;
}

static void begin(struct writer *w, uint64_t block, uint64_t nr, bool zero)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		struct entry *e = &w->r->st->e[block + i];

		e->begun = (e->begun | 1) + 1 + zero;
		if (zero)
			e->zeroed = e->begun;
		else
			fill(w->buf + i * BLK, block + i, e->begun);
		note_dirty(w, block + i);
	}
}

static void acked(struct writer *w, uint64_t block, uint64_t nr, bool synced)
{
	uint64_t i;

	for (i = block; i < block + nr; i++) {
		struct entry *e = &w->r->st->e[i];

		e->acked = e->begun;
		if (synced)
			e->synced = e->acked;
	}
}

static bool do_write(struct writer *w, uint64_t block, uint64_t nr)
{
	struct iovec iov = { .iov_base = w->buf, .iov_len = nr * BLK };
	bool sync = rnd(w, 30) == 0;

	begin(w, block, nr, false);
	if (pwritev2(w->r->fd, &iov, 1, block * BLK, sync ? RWF_DSYNC : 0) !=
	    (ssize_t)iov.iov_len)
		return false;
	acked(w, block, nr, sync);
	return true;
}

static bool do_zero(struct writer *w, uint64_t block, uint64_t nr)
{
	uint64_t range[2] = { block * BLK, nr * BLK };
	bool discard = rnd(w, 2);
	int ret;

	begin(w, block, nr, true);
	if (w->r->is_blk)
		ret = ioctl(w->r->fd, discard ? BLKDISCARD : BLKZEROOUT, range);
	else
		ret = fallocate(w->r->fd, FALLOC_FL_KEEP_SIZE |
				(discard ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
				range[0], range[1]);
	if (ret)
		return false;
	acked(w, block, nr, false);
	return true;
}

static bool do_sync(struct writer *w)
{
	size_t i;

	if (rnd(w, 2) ? fsync(w->r->fd) : fdatasync(w->r->fd))
		return false;
	for (i = 0; i < w->nr_dirty; i++) {
		struct entry *e = &w->r->st->e[w->dirty[i]];

		e->synced = e->acked;
	}
	w->nr_dirty = 0;
	return true;
}

static bool one_op(struct writer *w)
{
	uint64_t shares = w->r->st->nr_blocks / SHARE / w->r->nr_threads, block, nr;

	block = (rnd(w, shares) * w->r->nr_threads + w->nr) * SHARE;
	switch (rnd(w, 40)) {
	case 0: case 1:
		return do_sync(w);
	case 2:
		return do_zero(w, block, SHARE);
	case 3:
		return do_write(w, block, SHARE);
	}
	nr = rnd(w, SHARE);
	block += nr;
	nr = 1 + rnd(w, SHARE - nr < 8 ? SHARE - nr : 8);
	return rnd(w, 12) ? do_write(w, block, nr) : do_zero(w, block, nr);
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	struct run *r = w->r;

	while (!atomic_load(&r->stop)) {
		if (one_op(w)) {
			atomic_fetch_add(&r->ops, 1);
			continue;
		}
		if (!is_the_crash(errno)) {
			fprintf(stderr, "zblock: %s: %s\n", r->path, strerror(errno));
			atomic_store(&r->failed, true);
		}
		atomic_store(&r->stop, true);
	}
	return NULL;
}

static int run_writers(struct run *r)
{
	static struct writer w[MAX_THREADS];
	unsigned i;

	if (r->st->nr_blocks / SHARE < r->nr_threads) {
		fprintf(stderr, "zblock: %s: too small for %u writers\n", r->path, r->nr_threads);
		return 2;
	}
	for (i = 0; i < r->nr_threads; i++) {
		w[i] = (struct writer) { .r = r, .nr = i };
		w[i].rng = (r->seed * 64 + i) * UINT64_C(0x9E3779B97F4A7C15) + 1;
		if (posix_memalign((void **)&w[i].buf, BLK, SHARE * BLK) ||
		    pthread_create(&w[i].thread, NULL, writer_main, &w[i]))
			die("starting a writer");
	}
	for (i = 0; i < r->nr_threads; i++)
		pthread_join(w[i].thread, NULL);
	printf("%lu operations\n", atomic_load(&r->ops));
	return atomic_load(&r->failed);
}

/* ---- the verifier ---- */

static bool is_zero(const char *p)
{
	return !p[0] && !memcmp(p, p + 1, SECTOR - 1);
}

/* The generation of a sector of this block; false: it holds something else. */
static bool generation(const struct entry *e, const char *p, unsigned sector, uint64_t block,
		       uint32_t *gen)
{
	char want[BLK];
	uint64_t named;

	if (is_zero(p)) {
		*gen = e->zeroed;
		return true;
	}
	memcpy(&named, p, 8);
	memcpy(gen, p + 8, 4);
	if (named != block || *gen & 1)
		return false;
	fill(want, block, *gen);
	return !memcmp(p, want + sector * SECTOR, SECTOR);
}

/* Zeros: of the last zeroing, or of an earlier one that was covered. */
static bool allowed(const struct entry *e, const char *p, uint32_t gen)
{
	if (is_zero(p))
		return e->zeroed > e->synced || e->synced & 1 || !e->synced;
	return gen >= e->synced && gen <= e->begun;
}

static void complain(const struct entry *e, const char *p, uint64_t block, unsigned sector,
		     bool known, uint32_t gen)
{
	printf("block %" PRIu64 " sector %u: ", block, sector);
	if (is_zero(p))
		printf("zeros");
	else if (known)
		printf("generation %u", gen);
	else
		printf("foreign data %02x%02x%02x%02x", p[0] & 255, p[1] & 255, p[2] & 255,
		       p[3] & 255);
	printf("; covered %u, answered %u, begun %u, last zeroed %u\n", e->synced, e->acked,
	       e->begun, e->zeroed);
}

/* Returns the number of wrong sectors; *mixed: of several generations. */
static unsigned verify_block(const struct entry *e, const char *data, uint64_t block,
			     uint32_t *found, bool *mixed)
{
	unsigned i, bad = 0;

	*mixed = false;
	for (i = 0; i < BLK / SECTOR; i++) {
		const char *p = data + i * SECTOR;
		uint32_t gen = 0;
		bool known = generation(e, p, i, block, &gen);

		if (!known || !allowed(e, p, gen)) {
			if (!bad++)
				complain(e, p, block, i, known, gen);
			continue;
		}
		if (!i)
			*found = gen;
		else if (gen != *found || is_zero(p) != is_zero(data))
			*mixed = true;
	}
	return bad;
}

/* What was found is the new start; a block of two minds is made one. */
static void settle(struct run *r, uint64_t block, char *data, uint32_t found, bool mixed)
{
	struct entry *e = &r->st->e[block];

	if (mixed) {
		found = e->begun = (e->begun | 1) + 1;
		fill(data, block, found);
		if (pwrite(r->fd, data, BLK, block * BLK) != BLK)
			die(r->path);
	}
	e->synced = e->acked = found;
	if (!(found & 1))
		e->zeroed = found ? 0 : e->zeroed;
}

static int verify(struct run *r)
{
	uint64_t block, nr, i, bad = 0;
	uint32_t found = 0;
	bool mixed;
	char *buf;

	if (posix_memalign((void **)&buf, BLK, SHARE * BLK))
		die("memory");
	for (block = 0; block < r->st->nr_blocks; block += nr) {
		nr = r->st->nr_blocks - block < SHARE ? r->st->nr_blocks - block : SHARE;
		if (pread(r->fd, buf, nr * BLK, block * BLK) != (ssize_t)(nr * BLK))
			die(r->path);
		for (i = 0; i < nr; i++) {
			bad += verify_block(&r->st->e[block + i], buf + i * BLK, block + i, &found,
					    &mixed);
			settle(r, block + i, buf + i * BLK, found, mixed);
		}
	}
	if (fsync(r->fd))
		die(r->path);
	free(buf);
	return bad != 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: zblock write STATE SEED THREADS PATH\n"
		"       zblock verify STATE PATH\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct run r;

	if (argc == 4 && !strcmp(argv[1], "verify")) {
		r.path = argv[3];
		if (!open_disk(&r))
			die(r.path);
		map_state(&r, argv[2]);
		return verify(&r);
	}
	if (argc != 6 || strcmp(argv[1], "write"))
		return usage();
	r.path = argv[5];
	r.seed = strtoull(argv[3], NULL, 0);
	r.nr_threads = (unsigned)strtoul(argv[4], NULL, 0);
	if (!r.nr_threads || r.nr_threads > MAX_THREADS)
		return usage();
	/* It was killed before we came. */
	if (!open_disk(&r))
		return 0;
	map_state(&r, argv[2]);
	return run_writers(&r);
}
