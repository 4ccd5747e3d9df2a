/* SPDX-License-Identifier: BSD-2-Clause */
/* The image file format: conversion and checks, no I/O. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "image-format.h"
#include "zonefsd/units.h"

/* CRC-32 over len bytes at p with the 4 bytes at `at` taken as zero. */
static uint32_t crc_without(const void *p, size_t len, size_t at)
{
	static const uint8_t zero[4];
	const uint8_t *b = p;
	uLong crc = crc32(0, b, at);

	crc = crc32(crc, zero, sizeof(zero));
	return crc32(crc, b + at + sizeof(zero), len - at - sizeof(zero));
}

/* ---- header ---- */

static uint64_t round_up(uint64_t v, uint64_t align)
{
	return zu_round_down(v + align - 1, align);
}

void image_layout_init(struct image_layout *lay, const struct zdev_geometry *g)
{
	/* No sum can wrap: at most 2^24 zones of 2^15 + 32 bytes before 2^56 of data. */
	memset(lay, 0, sizeof(*lay));
	lay->geo = *g;
	lay->table_offset = IMAGE_TABLE_ALIGN;
	lay->tail_offset = round_up(lay->table_offset + image_table_len(lay),
				    IMAGE_TABLE_ALIGN);
	lay->data_offset = round_up(image_slot_offset(lay, g->nr_zones, 0),
				    IMAGE_DATA_ALIGN);
	lay->file_size = image_zone_offset(lay, g->nr_zones);
}

void image_header_encode(const struct image_layout *lay, struct image_header *h)
{
	const struct zdev_geometry *g = &lay->geo;

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, IMAGE_MAGIC, sizeof(h->magic));
	h->version = htole32(IMAGE_VERSION);
	h->ro_compat = htole64(lay->ro_compat);
	memcpy(h->uuid, g->uuid, sizeof(h->uuid));
	h->block_size = htole32(g->block_size);
	h->nr_zones = htole32(g->nr_zones);
	h->nr_conv = htole32(g->nr_conv);
	h->max_open = htole32(g->max_open);
	h->max_active = htole32(g->max_active);
	h->tail_slots = htole32(IMAGE_TAIL_SLOTS);
	h->zone_size = htole64(g->zone_size);
	h->zone_capacity = htole64(g->zone_capacity);
	h->table_offset = htole64(lay->table_offset);
	h->tail_offset = htole64(lay->tail_offset);
	h->data_offset = htole64(lay->data_offset);
	h->file_size = htole64(lay->file_size);
	h->crc = htole32(crc_without(h, sizeof(*h), offsetof(struct image_header, crc)));
}

/* The areas must be aligned, in order and inside the file. The geometry has been checked. */
static bool areas_fit(const struct image_layout *lay)
{
	/* With each start below this bound no sum that follows can wrap. */
	const uint64_t max_start = UINT64_C(1) << 60;

	if (lay->table_offset > max_start || lay->tail_offset > max_start ||
	    lay->data_offset > max_start || lay->file_size > INT64_MAX)
		return false;
	return lay->table_offset >= IMAGE_TABLE_ALIGN &&
	       lay->table_offset % IMAGE_TABLE_ALIGN == 0 &&
	       lay->table_offset + image_table_len(lay) <= lay->tail_offset &&
	       lay->tail_offset % IMAGE_TABLE_ALIGN == 0 &&
	       image_slot_offset(lay, lay->geo.nr_zones, 0) <= lay->data_offset &&
	       lay->data_offset % IMAGE_DATA_ALIGN == 0 &&
	       image_zone_offset(lay, lay->geo.nr_zones) <= lay->file_size;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

static int check_features(const struct image_header *h, struct zerr *e)
{
	uint64_t unknown = le64toh(h->incompat) & ~IMAGE_INCOMPAT_KNOWN;

	if (le32toh(h->version) != IMAGE_VERSION)
		return zerr_set(e, EINVAL, "image format version %" PRIu32
				" is not known, only %d", le32toh(h->version),
				IMAGE_VERSION);
	if (unknown)
		return zerr_set(e, EINVAL, "image format features %#" PRIx64
				" are not known", unknown);
	/* What uses these bytes has a feature bit, or another version. */
	if (!all_zero(h->reserved, sizeof(h->reserved)))
		return zerr_set(e, EINVAL, "image header: reserved bytes are not zero");
	return 0;
}

int image_header_decode(const struct image_header *h, struct image_layout *lay,
			struct zerr *e)
{
	struct zdev_geometry *g = &lay->geo;
	struct zerr why;
	int ret;

	if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)))
		return -ENODEV;
	if (le32toh(h->crc) != crc_without(h, sizeof(*h), offsetof(struct image_header, crc)))
		return zerr_set(e, EINVAL, "damaged image header (checksum)");
	ret = check_features(h, e);
	if (ret)
		return ret;

	memset(lay, 0, sizeof(*lay));
	memcpy(g->uuid, h->uuid, sizeof(g->uuid));
	g->block_size = le32toh(h->block_size);
	g->nr_zones = le32toh(h->nr_zones);
	g->nr_conv = le32toh(h->nr_conv);
	g->max_open = le32toh(h->max_open);
	g->max_active = le32toh(h->max_active);
	g->zone_size = le64toh(h->zone_size);
	g->zone_capacity = le64toh(h->zone_capacity);
	lay->ro_compat = le64toh(h->ro_compat);
	lay->table_offset = le64toh(h->table_offset);
	lay->tail_offset = le64toh(h->tail_offset);
	lay->data_offset = le64toh(h->data_offset);
	lay->file_size = le64toh(h->file_size);
	ret = zdev_geometry_check(g, &why);
	if (ret)
		return zerr_set(e, EINVAL, "image header: %s", why.msg);
	if (le32toh(h->tail_slots) != IMAGE_TAIL_SLOTS || !areas_fit(lay))
		return zerr_set(e, EINVAL, "image header: areas overlap or leave the file");
	return 0;
}

/* ---- state ---- */

static uint32_t state_crc(const struct image_state *s)
{
	return crc_without(s, sizeof(*s), offsetof(struct image_state, crc));
}

void image_state_seal(struct image_state *s)
{
	memcpy(s->magic, IMAGE_STATE_MAGIC, sizeof(s->magic));
	s->crc = htole32(state_crc(s));
}

bool image_state_valid(const struct image_state *s, const uint8_t uuid[16])
{
	return !memcmp(s->magic, IMAGE_STATE_MAGIC, sizeof(s->magic)) &&
	       !memcmp(s->uuid, uuid, sizeof(s->uuid)) &&
	       le32toh(s->crc) == state_crc(s);
}

/* ---- zone table ---- */

/*
 * CRC-16 with the polynomial 0x1021, start value 0xffff, most significant bit
 * first: finds every error of up to three bits and every burst of up to 16.
 */
static uint16_t crc16(const uint8_t *p, size_t len)
{
	static const uint16_t nibble[16] = {
		0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
		0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
	};
	uint16_t crc = 0xffff;

	for (; len; len--, p++) {
		crc = (uint16_t)(crc << 4) ^ nibble[(crc >> 12) ^ (*p >> 4)];
		crc = (uint16_t)(crc << 4) ^ nibble[(crc >> 12) ^ (*p & 15)];
	}
	return crc;
}

/* The 48 bits of value with their check bits. */
static uint64_t seal_word(uint32_t zno, enum image_role role, uint64_t value)
{
	uint8_t b[11];
	int i;

	/* Number and role take part, so that a word in a wrong place is found. */
	for (i = 0; i < 4; i++)
		b[i] = zno >> (8 * i);
	b[4] = role;
	for (i = 0; i < 6; i++)
		b[5 + i] = value >> (8 * i);
	return value | (uint64_t)crc16(b, sizeof(b)) << 48;
}

static bool word_valid(uint32_t zno, enum image_role role, uint64_t word)
{
	return word == seal_word(zno, role, word & IMAGE_RESETS_MASK);
}

enum { COND_NONE, COND_READONLY, COND_OFFLINE };

uint64_t image_ptr_encode(uint32_t zno, enum image_role role, const struct image_ptr *p)
{
	uint64_t cond = COND_NONE;

	if (p->cond == BLK_ZONE_COND_READONLY)
		cond = COND_READONLY;
	else if (p->cond == BLK_ZONE_COND_OFFLINE)
		cond = COND_OFFLINE;
	return seal_word(zno, role, zu_bytes_to_sect(p->wp) | cond << 32 |
			 (uint64_t)p->gen << 34);
}

bool image_ptr_decode(const struct image_layout *lay, uint32_t zno,
		      enum image_role role, uint64_t word, struct image_ptr *p)
{
	static const uint8_t conds[4] = {
		0, BLK_ZONE_COND_READONLY, BLK_ZONE_COND_OFFLINE, UINT8_MAX
	};
	uint64_t max = image_is_conv(lay, zno) ? 0 : lay->geo.zone_capacity;

	if (!word_valid(zno, role, word))
		return false;
	p->wp = zu_sect_to_bytes(word & UINT32_MAX);
	p->cond = conds[word >> 32 & 3];
	p->gen = word >> 34 & IMAGE_GEN_MASK;
	return p->wp <= max && p->wp % lay->geo.block_size == 0 && p->cond != UINT8_MAX;
}

uint64_t image_resets_encode(uint32_t zno, uint64_t resets)
{
	return seal_word(zno, IMAGE_RESETS, resets & IMAGE_RESETS_MASK);
}

bool image_resets_decode(uint32_t zno, uint64_t word, uint64_t *resets)
{
	*resets = word & IMAGE_RESETS_MASK;
	return word_valid(zno, IMAGE_RESETS, word);
}

uint64_t image_resets_near(uint64_t count, uint16_t gen)
{
	/* How far gen is ahead of the count; half the range or more: behind. */
	uint64_t ahead = (gen - count) & IMAGE_GEN_MASK;

	if (ahead <= IMAGE_GEN_MASK / 2)
		return count + ahead;
	ahead = IMAGE_GEN_MASK + 1 - ahead;
	return count >= ahead ? count - ahead : gen;
}

/* ---- tails ---- */

uint32_t image_tail_crc(const struct image_tail *t, size_t len)
{
	return crc_without(t, sizeof(*t) + len, offsetof(struct image_tail, crc));
}
