/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes: text to bytes and back, alignment, and arithmetic that cannot wrap. */
#ifndef ZONEFSD_UNITS_H
#define ZONEFSD_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A sector is 512 bytes whatever the device's block size is. */
#define ZU_SECT_SHIFT	9

static inline uint64_t zu_sect_to_bytes(uint64_t sect)
{
	return sect << ZU_SECT_SHIFT;
}

static inline uint64_t zu_bytes_to_sect(uint64_t bytes)
{
	return bytes >> ZU_SECT_SHIFT;
}

static inline bool zu_is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* align is a power of two. */
static inline uint64_t zu_round_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* false when a + b or a * b does not fit; *sum, *product are set otherwise. */
static inline bool zu_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool zu_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/*
 * "4096", "64K", "256M", "16G", "2T" (binary; a trailing "iB" or lower case is
 * accepted) to bytes. 0, or -EINVAL for bad text, -ERANGE when it does not fit
 * 63 bits. *bytes is written only on success.
 */
int zu_parse_size(const char *text, uint64_t *bytes);

/* A plain decimal number up to max. 0, -EINVAL or -ERANGE. */
int zu_parse_u64(const char *text, uint64_t max, uint64_t *value);

/* An octal number up to max ("640", "0640"). 0, -EINVAL or -ERANGE. */
int zu_parse_octal(const char *text, uint32_t max, uint32_t *value);

/*
 * Bytes to a short text for people: exact with the largest unit that divides
 * it ("256M"), else one decimal ("13.6T"). Returns buf. 16 bytes are enough.
 */
char *zu_format_size(uint64_t bytes, char *buf, size_t len);

#endif
