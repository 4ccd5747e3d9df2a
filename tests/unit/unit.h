/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What unit tests share: checks that stay on in every build and say what they
 * compared, and a private directory that is removed at the end.
 */
#ifndef UNIT_H
#define UNIT_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "%s:%d: %s: not true: %s\n",		\
			__FILE__, __LINE__, __func__, #cond);		\
		abort();						\
	}								\
} while (0)

#define CHECK_EQ(got, want) do {					\
	long long got_ = (long long)(got), want_ = (long long)(want);	\
									\
	if (got_ != want_) {						\
		fprintf(stderr, "%s:%d: %s: %s is %lld, expected %lld\n", \
			__FILE__, __LINE__, __func__, #got, got_, want_); \
		abort();						\
	}								\
} while (0)

#define CHECK_STR(got, want) do {					\
	const char *got_ = (got), *want_ = (want);			\
									\
	if (strcmp(got_, want_)) {					\
		fprintf(stderr, "%s:%d: %s: %s is \"%s\", expected \"%s\"\n", \
			__FILE__, __LINE__, __func__, #got, got_, want_); \
		abort();						\
	}								\
} while (0)

/* text must contain part. */
#define CHECK_HAS(text, part) do {					\
	const char *text_ = (text), *part_ = (part);			\
									\
	if (!strstr(text_, part_)) {					\
		fprintf(stderr, "%s:%d: %s: \"%s\" does not contain \"%s\"\n", \
			__FILE__, __LINE__, __func__, text_, part_);	\
		abort();						\
	}								\
} while (0)

/* Name each test as it runs, so that an abort tells where. */
#define RUN(test) do { printf("%s\n", #test); fflush(stdout); test(); } while (0)

static inline int unit_rm_one(const char *path, const struct stat *st, int type,
			      struct FTW *ftw)
{
	return remove(path);
}

static inline void unit_rm_tree(const char *path)
{
	nftw(path, unit_rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A fresh directory below $TMPDIR or /tmp; returns path (at least 64 bytes). */
static inline char *unit_tmpdir(char *path, size_t len)
{
	const char *base = getenv("TMPDIR");

	snprintf(path, len, "%s/zonefsd-unit.XXXXXX", base ? base : "/tmp");
	CHECK(mkdtemp(path) == path);
	return path;
}

#endif
