/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zshare: several processes append records to one file until the daemon dies
 * under them, then prove that each one's records are there, in order, none twice.
 *
 *	zshare write STATE SEED WRITERS FILE
 *	zshare verify STATE kill|arena FILE
 *
 * A record is a function of the seed, its writer and its number, so the
 * verifier needs no marks to find the next one: it must be the next record of
 * one of the writers. Only the last one may be cut. After a kill every
 * acknowledged record is there; after one that took the arena along those
 * that were acknowledged before an fsync began that succeeded.
 *
 * The verifier empties a file that is half full or ends within a record.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "pattern.h"

#define MAX_WRITERS	8
#define MAX_RECORD	(64 << 10)

/* Shared by the processes, each of which has its own acked. */
struct state {
	uint64_t	seed;
	uint64_t	round;		/* of an emptied file; seeds the records */
	uint32_t	nr;
	atomic_uint_fast64_t acked[MAX_WRITERS];	/* records */
	atomic_uint_fast64_t durable[MAX_WRITERS];
};

/* Record nr of a writer into buf. Its length: most are short, one in 16 is long. */
static size_t make_record(const struct state *st, uint32_t writer, uint64_t nr, char *buf)
{
	uint64_t seed = (st->seed + st->round) * UINT64_C(1000003) + writer;
	uint64_t dice = pattern_word(nr, seed);
	size_t most = dice % 16 ? 3000 : MAX_RECORD;
	size_t len = 16 + (dice >> 8) % (most - 16);

	pattern_fill(buf, len, nr * MAX_RECORD, seed);
	return len;
}

/* ---- the writers ---- */

/* An fsync covers what the others have had acknowledged, too. */
static int sync_all(struct state *st, int fd)
{
	uint64_t acked[MAX_WRITERS], old;

	for (uint32_t i = 0; i < st->nr; i++)
		acked[i] = atomic_load(&st->acked[i]);
	if (fsync(fd))
		return -1;
	for (uint32_t i = 0; i < st->nr; i++) {
		old = atomic_load(&st->durable[i]);
		while (old < acked[i] &&
		       !atomic_compare_exchange_weak(&st->durable[i], &old, acked[i]))
			;
	}
	return 0;
}

/* 0: the daemon died, or the file is full. */
static int append_records(struct state *st, uint32_t writer, const char *path)
{
	char buf[MAX_RECORD];
	uint64_t nr = atomic_load(&st->acked[writer]);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	ssize_t n = 0;

	while (fd >= 0) {
		size_t len = make_record(st, writer, nr, buf);

		n = write(fd, buf, len);
		if (n != (ssize_t)len)
			break;
		atomic_store(&st->acked[writer], ++nr);
		/* The first one leaves it to the others. */
		if (writer && pattern_word(nr, writer) % 50 == 0 && sync_all(st, fd)) {
			n = -1;
			break;
		}
	}
	if (is_the_kill(errno) || (fd >= 0 && (n >= 0 || errno == EFBIG)))
		return 0;
	fprintf(stderr, "zshare: writer %u of %s: %s\n", writer, path, strerror(errno));
	return 1;
}

static int write_records(struct state *st, const char *path)
{
	int status, ret = 0;

	for (uint32_t i = 0; i < st->nr; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (!pid)
			_exit(append_records(st, i, path));
	}
	while (wait(&status) > 0)
		ret |= !WIFEXITED(status) || WEXITSTATUS(status);
	return ret;
}

/* ---- the verifier ---- */

/* The record at the start of data, of which `left` bytes are there; 0: it is none. */
static size_t next_record(const struct state *st, const char *data, size_t left,
			  uint64_t *seen, char *buf)
{
	for (uint32_t i = 0; i < st->nr; i++) {
		size_t len = make_record(st, i, seen[i], buf);

		if (memcmp(data, buf, len < left ? len : left))
			continue;
		seen[i] += len <= left;
		return len;
	}
	return 0;
}

/*
 * Records, and at most the last one cut: *cut. Counts each writer's in seen.
 * Prints what is wrong.
 */
static bool check_records(const struct state *st, const char *data, size_t size,
			  uint64_t *seen, bool *cut)
{
	char buf[MAX_RECORD];
	size_t at, len;

	for (at = 0; at < size; at += len) {
		len = next_record(st, data + at, size - at, seen, buf);
		if (!len) {
			printf("no record's bytes at %zu of %zu\n", at, size);
			return false;
		}
	}
	*cut = at > size;
	return true;
}

static bool check_counts(const struct state *st, const uint64_t *seen, bool arena)
{
	bool ok = true;

	for (uint32_t i = 0; i < st->nr; i++) {
		uint64_t least = atomic_load(arena ? &st->durable[i] : &st->acked[i]);

		if (seen[i] >= least)
			continue;
		printf("writer %u: %" PRIu64 " records, not %" PRIu64 "\n", i, seen[i], least);
		ok = false;
	}
	return ok;
}

static int verify(struct state *st, bool arena, const char *path)
{
	uint64_t seen[MAX_WRITERS] = { 0 };
	struct stat sb = { .st_size = 0 };
	char *data = read_file(path, &sb);
	bool cut = false, ok;

	ok = check_records(st, data, (size_t)sb.st_size, seen, &cut) &&
	     check_counts(st, seen, arena);
	free(data);
	if (!ok)
		return 1;
	if (cut || sb.st_size > sb.st_blocks * 512 / 2) {
		if (truncate(path, 0))
			err(2, "%s", path);
		memset(seen, 0, sizeof(seen));
		st->round++;
	}
	for (uint32_t i = 0; i < st->nr; i++) {
		atomic_store(&st->acked[i], seen[i]);
		atomic_store(&st->durable[i], seen[i]);
	}
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: zshare write STATE SEED WRITERS FILE\n"
		"       zshare verify STATE kill|arena FILE\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct state *st;

	if (argc == 5 && !strcmp(argv[1], "verify"))
		return verify(map_state(argv[2], sizeof(*st)), !strcmp(argv[3], "arena"), argv[4]);
	if (argc != 6 || strcmp(argv[1], "write"))
		return usage();
	st = map_state(argv[2], sizeof(*st));
	if (!st->seed)
		st->seed = strtoull(argv[3], NULL, 0);
	st->nr = (uint32_t)strtoul(argv[4], NULL, 0);
	if (!st->nr || st->nr > MAX_WRITERS)
		return usage();
	return write_records(st, argv[5]);
}
