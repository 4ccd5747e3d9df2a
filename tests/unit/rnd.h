/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random numbers for the test programs that are called with [COUNT [SEED]]: a run
 * that failed can be repeated.
 */
#ifndef RND_H
#define RND_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t rng;

/* 0 .. n - 1 */
static inline uint32_t rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 11) % n;
}

/* Begin the sequence of main's SEED, or one that is new, and say which. Returns COUNT. */
static inline unsigned long rnd_begin(int argc, char **argv, unsigned long usual)
{
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);

	printf("seed %" PRIu64 "\n", seed);
	fflush(stdout);
	rng = seed * 0x9e3779b97f4a7c15 + 1;
	return argc > 1 ? strtoul(argv[1], NULL, 0) : usual;
}

#endif
