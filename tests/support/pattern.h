/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Test data that can be checked: each byte is a function of its place in the
 * file and a seed, so a reader finds lost, moved and stale data, whatever the
 * sizes of the writes were.
 */
#ifndef TESTS_PATTERN_H
#define TESTS_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t pattern_word(uint64_t index, uint64_t seed)
{
	uint64_t x = index * UINT64_C(0x9E3779B97F4A7C15) + seed + 1;

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

static inline void pattern_fill(void *buf, size_t len, uint64_t off, uint64_t seed)
{
	unsigned char *p = buf;
	size_t i = 0;

	while (i < len) {
		uint64_t w = pattern_word((off + i) / 8, seed);
		size_t in = (off + i) % 8;
		size_t n = 8 - in < len - i ? 8 - in : len - i;

		memcpy(p + i, (unsigned char *)&w + in, n);
		i += n;
	}
}

/* The first wrong byte's index in buf, or len when all are right. */
static inline size_t pattern_check(const void *buf, size_t len, uint64_t off,
				   uint64_t seed)
{
	const unsigned char *p = buf;
	unsigned char want[4096];
	size_t i = 0;

	while (i < len) {
		size_t n = len - i < sizeof(want) ? len - i : sizeof(want);

		pattern_fill(want, n, off + i, seed);
		if (memcmp(p + i, want, n) != 0)
			for (size_t k = 0; k < n; k++)
				if (p[i + k] != want[k])
					return i + k;
		i += n;
	}
	return len;
}

#endif
