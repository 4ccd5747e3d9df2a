/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes and numbers to and from text. See zonefsd/units.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "zonefsd/units.h"

static const char units[] = "KMGTPE";

/*
 * Digits of the given base at *text, at least one; *text moves behind them.
 * Unlike strtoull: no sign, no white space, no prefix.
 */
static int parse_digits(const char **text, unsigned base, uint64_t max,
			uint64_t *value)
{
	const char *s = *text;
	uint64_t v = 0;

	if (*s < '0' || *s >= (char)('0' + base))
		return -EINVAL;
	for (; *s >= '0' && *s < (char)('0' + base); s++) {
		if (!zu_mul(v, base, &v) || !zu_add(v, (uint64_t)(*s - '0'), &v) ||
		    v > max)
			return -ERANGE;
	}
	*text = s;
	*value = v;
	return 0;
}

/* The shift that a unit letter stands for, 0 if it is none. */
static unsigned unit_shift(char c)
{
	const char *u;

	if (c >= 'a' && c <= 'z')
		c -= 'a' - 'A';
	u = c ? strchr(units, c) : NULL;
	return u ? 10 * (unsigned)(u - units + 1) : 0;
}

int zu_parse_size(const char *text, uint64_t *bytes)
{
	unsigned shift;
	uint64_t v;
	int ret;

	ret = parse_digits(&text, 10, INT64_MAX, &v);
	if (ret)
		return ret;
	shift = unit_shift(*text);
	if (shift) {
		text++;
		if ((text[0] == 'i' || text[0] == 'I') &&
		    (text[1] == 'B' || text[1] == 'b'))
			text += 2;
	}
	if (*text)
		return -EINVAL;
	if (v > ((uint64_t)INT64_MAX >> shift))
		return -ERANGE;
	*bytes = v << shift;
	return 0;
}

/* Digits and nothing else. */
static int parse_number(const char *text, unsigned base, uint64_t max, uint64_t *value)
{
	uint64_t v;
	int ret;

	ret = parse_digits(&text, base, max, &v);
	if (ret)
		return ret;
	if (*text)
		return -EINVAL;
	*value = v;
	return 0;
}

int zu_parse_u64(const char *text, uint64_t max, uint64_t *value)
{
	return parse_number(text, 10, max, value);
}

int zu_parse_octal(const char *text, uint32_t max, uint32_t *value)
{
	uint64_t v;
	int ret = parse_number(text, 8, max, &v);

	if (!ret)
		*value = (uint32_t)v;
	return ret;
}

char *zu_format_size(uint64_t bytes, char *buf, size_t len)
{
	unsigned exact = 0, top = 0;
	const char *unit;

	while (bytes && exact < strlen(units) &&
	       !(bytes & ((UINT64_C(1) << (10 * (exact + 1))) - 1)))
		exact++;
	while (top < strlen(units) && (bytes >> (10 * (top + 1))))
		top++;

	/* Exact if that stays short: 13970G says less than 13.6T. */
	if ((bytes >> (10 * exact)) < 10000) {
		unit = exact ? &units[exact - 1] : "";
		snprintf(buf, len, "%" PRIu64 "%.1s", bytes >> (10 * exact), unit);
	} else {
		uint64_t rest = (bytes >> (10 * (top - 1))) & 1023;

		snprintf(buf, len, "%" PRIu64 ".%u%c", bytes >> (10 * top),
			 (unsigned)(rest * 10 / 1024), units[top - 1]);
	}
	return buf;
}
