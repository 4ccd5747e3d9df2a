/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zcrash: write to zone files until the daemon dies under us, then prove what
 * must be there is there.
 *
 *	zcrash write STATE SEED SECONDS MIX FILE...
 *	zcrash survive STATE SEED SECONDS MIX FILE...
 *	zcrash verify STATE kill|arena|power FILE...
 *
 * The writer appends, resets, finishes and fsyncs at random, as MIX (see the
 * table) has it, and keeps in STATE, a mapped file outside the file system
 * under test, what was acknowledged and what a successful fsync covered. It
 * ends with 0 at the first error that a dead daemon gives, and with 1 at any
 * other error.
 *
 * "survive" writes to a device that fails now and then: at an error it takes the
 * file's size for what is left, which may not be less than fsync covered, and goes
 * on from there. An error that it was not told of shows as wrong bytes. In the
 * end all must be acknowledged by fsync.
 *
 * The verifier reads everything back. After a kill: every acknowledged byte is
 * there, and nothing that was never written. After a kill that took the arena
 * along: what an fsync or a close covered is there, and so are resets and
 * finishes; of the rest a prefix. After a power cut: what an fsync covered is
 * there; of the rest a prefix. It then makes the present contents the new start,
 * so that write and verify can follow each other for many rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "pattern.h"

#define MAX_FILES	64
#define MAX_WRITE	(1 << 20)

/* What a writer does; the last columns are how many of 1000 steps. */
static const struct mix {
	const char	*name;
	int		flags;		/* of open(2) */
	size_t		least, most;	/* bytes of a write */
	size_t		small;		/* half of the writes are no longer; 0: no such half */
	unsigned	fsync, reopen, reset, finish;
} mixes[] = {
	{ "any",	O_APPEND,	1,	192 << 10,	9000,	120, 20, 10, 5 },
	{ "direct",	O_DIRECT,	4096,	192 << 10,	0,	120, 20, 10, 5 },
	{ "large",	0,		1 << 20, 1 << 20,	0,	 20, 10, 10, 0 },
	{ "tails",	O_APPEND,	1,	700,		0,	  0,  5,  1, 0 },
	{ "synced",	O_APPEND,	1,	9000,		500,	450,  5,  2, 1 },
};

enum pending { NOTHING, APPEND, RESET, FINISH };

/* One file. gen counts the resets and seeds the pattern. Lengths in bytes. */
struct entry {
	uint64_t	gen;
	uint64_t	acked;		/* data written in this generation */
	bool		full;		/* finished: zeros follow up to the capacity */
	uint64_t	drained;	/* of acked, what fsync or close has covered */
	uint64_t	synced_gen;
	uint64_t	synced;
	bool		synced_full;
	enum pending	pending;	/* asked for, not answered */
	uint64_t	pending_len;	/* APPEND: bytes; RESET: the new generation */
};

struct state {
	uint64_t	seed;
	uint64_t	last_gen;	/* never reused, also when a power cut undoes a reset */
	struct entry	file[MAX_FILES];
};

struct run {
	struct state	*st;
	int		nr;
	char		**path;
	int		fd[MAX_FILES];
	uint64_t	rng;
	const struct mix *mix;
	bool		survive;
	uint64_t	errors;		/* that were survived */
	char		*buf;
};

static uint64_t seed_of(const struct run *r, int i, uint64_t gen)
{
	return r->st->seed * 1000003 + (uint64_t)i * 100000 + gen;
}

static uint64_t rnd(struct run *r, uint64_t n)
{
	r->rng ^= r->rng << 13;
	r->rng ^= r->rng >> 7;
	r->rng ^= r->rng << 17;
	return r->rng % n;
}

/* ---- the writer ---- */

/* What a killed daemon, or a device whose power was cut, answers. */
static bool is_the_crash(int error)
{
	return is_the_kill(error) || error == EROFS;
}

/*
 * The file's size is what is left. Asked afresh: the client learns of a size that
 * shrank a moment after the error.
 */
static int survived(struct run *r, int i, const char *op)
{
	struct entry *e = &r->st->file[i];
	uint64_t most = e->acked + (e->pending == APPEND ? e->pending_len : 0);
	struct statx stx;

	if (statx(r->fd[i], "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &stx)) {
		fprintf(stderr, "zcrash: stat %s: %s\n", r->path[i], strerror(errno));
		return -1;
	}
	if (e->pending == RESET && !stx.stx_size)
		e->drained = 0;
	if (stx.stx_size < e->drained || stx.stx_size > most) {
		fprintf(stderr, "zcrash: %s %s: %s left %" PRIu64 " bytes, of which %" PRIu64
			" may be at most and %" PRIu64 " were durable\n", op, r->path[i],
			strerror(errno), (uint64_t)stx.stx_size, most, e->drained);
		return -1;
	}
	e->full = e->full && stx.stx_size == e->acked;
	e->acked = stx.stx_size;
	e->pending = NOTHING;
	r->errors++;
	return 0;
}

static int failed(struct run *r, int i, const char *op)
{
	if (r->survive && (errno == EIO || errno == ENOSPC))
		return survived(r, i, op);
	if (!r->survive && is_the_crash(errno))
		return 1;
	fprintf(stderr, "zcrash: %s %s: %s\n", op, r->path[i], strerror(errno));
	return -1;
}

static size_t write_length(struct run *r)
{
	const struct mix *m = r->mix;
	size_t len = m->small && rnd(r, 2) ? 1 + rnd(r, m->small) :
		     m->least + rnd(r, m->most - m->least + 1);

	return m->flags & O_DIRECT ? len & ~(size_t)4095 : len;
}

static int do_append(struct run *r, int i)
{
	struct entry *e = &r->st->file[i];
	size_t len = write_length(r);
	ssize_t ret;

	pattern_fill(r->buf, len, e->acked, seed_of(r, i, e->gen));
	e->pending_len = len;
	e->pending = APPEND;
	ret = r->mix->flags & O_APPEND ? write(r->fd[i], r->buf, len) :
					 pwrite(r->fd[i], r->buf, len, e->acked);
	if (ret < 0 && errno == EFBIG)
		e->full = true;		/* the whole capacity is data */
	else if (ret < 0)
		return failed(r, i, "write");
	else
		e->acked += ret;
	e->pending = NOTHING;
	return 0;
}

static int do_reset(struct run *r, int i)
{
	struct entry *e = &r->st->file[i];

	e->pending_len = ++r->st->last_gen;
	e->pending = RESET;
	if (ftruncate(r->fd[i], 0))
		return failed(r, i, "reset");
	e->acked = e->drained = 0;
	e->full = false;
	e->gen = e->pending_len;
	e->pending = NOTHING;
	return 0;
}

static int do_finish(struct run *r, int i)
{
	struct entry *e = &r->st->file[i];
	struct stat st;

	if (fstat(r->fd[i], &st))
		return failed(r, i, "stat");
	e->pending = FINISH;
	if (ftruncate(r->fd[i], st.st_blocks * 512))
		return failed(r, i, "finish");
	e->drained = e->acked;
	e->full = true;
	e->pending = NOTHING;
	return 0;
}

static int do_fsync(struct run *r, int i)
{
	struct entry *e = &r->st->file[i];

	if (rnd(r, 2) ? fsync(r->fd[i]) : fdatasync(r->fd[i]))
		return failed(r, i, "fsync");
	e->drained = e->acked;
	e->synced_gen = e->gen;
	e->synced = e->acked;
	e->synced_full = e->full;
	return 0;
}

static int do_open(struct run *r, int i)
{
	r->fd[i] = open(r->path[i], O_WRONLY | O_CLOEXEC | r->mix->flags);
	return r->fd[i] < 0 ? failed(r, i, "open") : 0;
}

static int do_reopen(struct run *r, int i)
{
	int closed = close(r->fd[i]), err = errno;
	int ret = do_open(r, i);

	/* Of a close that failed only a survivor has to know more. */
	errno = closed && !ret ? err : errno;
	if (closed)
		return ret ? ret : failed(r, i, "close");
	r->st->file[i].drained = r->st->file[i].acked;
	return ret;
}

static int one_step(struct run *r)
{
	const struct mix *m = r->mix;
	int i = rnd(r, r->nr);
	bool full = r->st->file[i].full;
	uint64_t dice = rnd(r, 1000);

	if (dice < m->fsync)
		return do_fsync(r, i);
	if (dice < m->fsync + m->reopen)
		return do_reopen(r, i);
	if (dice < m->fsync + m->reopen + m->reset || (full && dice < 500))
		return do_reset(r, i);
	if (dice < m->fsync + m->reopen + m->reset + m->finish && !r->survive)
		return do_finish(r, i);
	return full ? 0 : do_append(r, i);
}

/* A survivor's end: what it takes for written must be. */
static int settle(struct run *r)
{
	int ret = 0;

	for (int i = 0; i < r->nr && !ret; i++)
		for (int n = 0; n < 100 && !ret; n++) {
			uint64_t errors = r->errors;

			ret = do_fsync(r, i);
			if (errors == r->errors)
				break;
		}
	for (int i = 0; i < r->nr && !ret; i++)
		ret = do_reopen(r, i);
	return ret;
}

static int write_files(struct run *r, double seconds)
{
	struct timespec now, end;
	uint64_t steps = 0;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)seconds;
	for (int i = 0; i < r->nr && !ret; i++)
		ret = do_open(r, i);
	while (!ret) {
		ret = one_step(r);
		steps++;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec)
			break;
	}
	if (r->survive && !ret)
		ret = settle(r);
	if (r->survive)
		printf("%" PRIu64 " steps, %" PRIu64 " errors\n", steps, r->errors);
	else
		printf("%" PRIu64 " steps, %s\n", steps,
		       ret > 0 ? strerror(errno) : "no crash");
	return ret < 0;
}

/* ---- the verifier ---- */

struct seen {
	uint64_t	len;		/* what stat says */
	uint64_t	capacity;
	uint64_t	block;
};

/* The first place at or after off that is not zero, or len. */
static uint64_t zeros_until(const char *data, uint64_t off, uint64_t len)
{
	while (off < len && !data[off])
		off++;
	return off;
}

static char *see_file(const char *path, struct seen *s)
{
	struct stat st;
	char *data = read_file(path, &st);

	s->len = st.st_size;
	s->capacity = st.st_blocks * 512;
	s->block = st.st_blksize;
	return data;
}

/* Are the first n bytes of generation gen, and all behind them zero? */
static bool holds(const struct run *r, int i, const char *data, uint64_t len,
		  uint64_t gen, uint64_t n)
{
	return n <= len && pattern_check(data, n, 0, seed_of(r, i, gen)) == n &&
	       zeros_until(data, n, len) == len;
}

/*
 * Does the file hold generation gen with at least min and at most max bytes of
 * it, finished or not? On success the entry describes what was found.
 */
static bool matches(const struct run *r, int i, const char *data, const struct seen *s,
		    uint64_t gen, uint64_t min, uint64_t max, bool may_be_full)
{
	struct entry *e = &r->st->file[i];

	if (s->len >= min && s->len <= max && holds(r, i, data, s->len, gen, s->len)) {
		e->gen = gen;
		e->acked = s->len;
		e->full = s->len == s->capacity;
		return true;
	}
	if (may_be_full && s->len == s->capacity) {
		uint64_t n = pattern_check(data, s->len, 0, seed_of(r, i, gen));

		/* A finish comes after all acknowledged data; zero bytes may match. */
		if (n < min || !holds(r, i, data, s->len, gen, n))
			return false;
		e->gen = gen;
		e->acked = n;
		e->full = true;
		return true;
	}
	return false;
}

/*
 * A finish first completes the partial last block with zeros. Killed between the
 * two it leaves all that was written, and zeros to the end of that block: then
 * the user calls it again.
 */
static bool finish_again(const struct run *r, int i, const char *data,
			 const struct seen *s)
{
	struct entry *e = &r->st->file[i];

	if (e->pending != FINISH || s->len <= e->acked || s->len - e->acked >= s->block ||
	    s->len % s->block || !holds(r, i, data, s->len, e->gen, e->acked))
		return false;
	if (truncate(r->path[i], s->capacity))
		err(2, "%s", r->path[i]);
	e->full = true;
	return true;
}

/* Of the acknowledged bytes, at least `min` are there. */
static bool verify_kill(const struct run *r, int i, const char *data,
			const struct seen *s, uint64_t min)
{
	const struct entry e = r->st->file[i];
	uint64_t max = e.acked + (e.pending == APPEND ? e.pending_len : 0);

	if (e.pending == RESET && !s->len) {
		r->st->file[i].gen = e.pending_len;
		r->st->file[i].acked = 0;
		r->st->file[i].full = false;
		return true;
	}
	if (e.full && min == e.acked)
		return s->len == s->capacity &&
		       holds(r, i, data, s->len, e.gen, e.acked);
	return finish_again(r, i, data, s) ||
	       matches(r, i, data, s, e.gen, min, max, e.pending == FINISH);
}

static bool verify_power(const struct run *r, int i, const char *data,
			 const struct seen *s)
{
	const struct entry e = r->st->file[i];
	uint64_t max = e.acked + (e.pending == APPEND ? e.pending_len : 0);
	bool synced = e.synced_gen == e.gen;

	if (e.pending == RESET && !s->len) {
		r->st->file[i].gen = e.pending_len;
		r->st->file[i].acked = 0;
		r->st->file[i].full = false;
		return true;
	}
	if (synced && e.synced_full)
		return s->len == s->capacity && holds(r, i, data, s->len, e.gen, e.acked);
	if (matches(r, i, data, s, e.gen, synced ? e.synced : 0, max,
		    e.full || e.pending == FINISH))
		return true;
	/* Resets that no flush has covered may be undone. */
	for (uint64_t g = e.synced_gen; g < e.gen; g++)
		if (matches(r, i, data, s, g, g == e.synced_gen ? e.synced : 0,
			    s->capacity, true))
			return true;
	return false;
}

static bool verify_file(struct run *r, int i, const char *kind)
{
	bool power = !strcmp(kind, "power"), arena = !strcmp(kind, "arena");
	struct entry before = r->st->file[i], *e = &r->st->file[i];
	struct seen s;
	char *data = see_file(r->path[i], &s);
	bool ok = power ? verify_power(r, i, data, &s) :
		  verify_kill(r, i, data, &s, arena ? e->drained : e->acked);

	if (!ok)
		printf("%s: %" PRIu64 " bytes, right up to %zu; generation %" PRIu64
		       " acknowledged %" PRIu64 "%s, drained %" PRIu64 ", synced %" PRIu64
		       " of generation %" PRIu64 "%s, pending %d of %" PRIu64 "\n", r->path[i], s.len,
		       pattern_check(data, s.len, 0, seed_of(r, i, before.gen)),
		       before.gen, before.acked, before.full ? " (full)" : "",
		       before.drained, before.synced, before.synced_gen,
		       before.synced_full ? " (full)" : "", before.pending,
		       before.pending_len);
	e->pending = NOTHING;
	e->drained = e->acked;
	if (power) {	/* what survived is on the medium */
		e->synced = e->acked;
		e->synced_full = e->full;
		e->synced_gen = e->gen;
	}
	free(data);
	return ok;
}

static int usage(void)
{
	fprintf(stderr, "usage: zcrash write|survive STATE SEED SECONDS MIX FILE...\n"
		"       zcrash verify STATE kill|arena|power FILE...\n");
	return 2;
}

static const struct mix *mix_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++)
		if (!strcmp(mixes[i].name, name))
			return &mixes[i];
	return NULL;
}

int main(int argc, char **argv)
{
	static struct run r;
	int ret = 0;

	if (argc < 5)
		return usage();
	r.st = map_state(argv[2], sizeof(*r.st));
	if (!strcmp(argv[1], "verify")) {
		r.path = argv + 4;
		r.nr = argc - 4;
		for (int i = 0; i < r.nr; i++)
			ret |= !verify_file(&r, i, argv[3]);
		return ret;
	}
	r.survive = !strcmp(argv[1], "survive");
	if ((!r.survive && strcmp(argv[1], "write")) || argc < 7)
		return usage();
	if (!r.st->seed)
		r.st->seed = strtoull(argv[3], NULL, 0);
	r.rng = strtoull(argv[3], NULL, 0) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	r.mix = mix_by_name(argv[5]);
	r.path = argv + 6;
	r.nr = argc - 6;
	if (!r.mix || r.nr > MAX_FILES || posix_memalign((void **)&r.buf, 4096, MAX_WRITE))
		return usage();
	return write_files(&r, atof(argv[4]));
}
