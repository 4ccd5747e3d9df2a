/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The image file format, version 1, byte for byte; docs/image-format.md tells
 * the meaning of each field. All integers are little endian on disk. The
 * functions here only convert and check; they do no I/O.
 */
#ifndef ZDEV_IMAGE_FORMAT_H
#define ZDEV_IMAGE_FORMAT_H

#include <stddef.h>

#include "zdev_i.h"

#define IMAGE_MAGIC		"ZNFSDIMG"	/* 8 bytes, no terminator */
#define IMAGE_STATE_MAGIC	"ZNFSDSTA"
#define IMAGE_TAIL_MAGIC	0x4c494154u	/* "TAIL" */
#define IMAGE_VERSION		1

/* Where things stand. What the header does not say is fixed. */
#define IMAGE_HEADER_OFFSET	0
#define IMAGE_STATE_OFFSET(i)	(UINT64_C(4096) * (1 + (i)))	/* i: 0, 1 */
#define IMAGE_COPY_OFFSET	12288		/* of the header */
#define IMAGE_TABLE_ALIGN	65536		/* the largest page size: it is mapped */
#define IMAGE_DATA_ALIGN	(UINT64_C(1) << 20)

/* Feature words: a bit that a program does not know ... */
#define IMAGE_INCOMPAT_KNOWN	UINT64_C(0)	/* forbids it to open the image */
#define IMAGE_RO_COMPAT_KNOWN	UINT64_C(0)	/* forbids it to write to the image */

/* At 0 and, for repair, at IMAGE_COPY_OFFSET. Never changes after creation. */
struct image_header {
	char		magic[8];	/*   0 */
	uint32_t	version;	/*   8 */
	uint32_t	crc;		/*  12: CRC-32 of all 4096 bytes, this field 0 */
	uint64_t	incompat;	/*  16 */
	uint64_t	ro_compat;	/*  24 */
	uint8_t		uuid[16];	/*  32 */
	uint32_t	block_size;	/*  48 */
	uint32_t	nr_zones;	/*  52 */
	uint32_t	nr_conv;	/*  56 */
	uint32_t	max_open;	/*  60 */
	uint32_t	max_active;	/*  64 */
	uint32_t	tail_slots;	/*  68: IMAGE_TAIL_SLOTS */
	uint64_t	zone_size;	/*  72 */
	uint64_t	zone_capacity;	/*  80 */
	uint64_t	table_offset;	/*  88 */
	uint64_t	tail_offset;	/*  96 */
	uint64_t	data_offset;	/* 104 */
	uint64_t	file_size;	/* 112 */
	uint8_t		reserved[3976];	/* 120: zero */
};

/*
 * One sector, so that a torn write cannot mix two of them, and two copies
 * written in turn, so that a failed one leaves the other.
 */
struct image_state {
	char		magic[8];	/*  0 */
	uint32_t	flags;		/*  8: IMAGE_STATE_* */
	uint32_t	crc;		/* 12: CRC-32 of all 512 bytes, this field 0 */
	uint64_t	seq;		/* 16: the larger one counts */
	uint8_t		uuid[16];	/* 24: the image's */
	uint8_t		boot_id[16];	/* 40: when it was opened for writing last */
	uint64_t	sb_id;		/* 56: of the mounted file system beneath; 0: unknown */
	uint64_t	mnt_id;		/* 64: of its mount; 0: unknown */
	uint8_t		reserved[440];	/* 72: zero */
};

enum {
	IMAGE_STATE_CLEAN = 1,		/* closed, both pointers of each zone agree */
	IMAGE_STATE_FLUSH_FAILED = 2,	/* what was not flushed may be lost */
};

/* The words of one zone in the table. */
enum image_role {
	IMAGE_CURRENT,	/* the write pointer */
	IMAGE_FLUSHED,	/* the one that the last flush made durable */
	IMAGE_RESETS,	/* number of resets */
	IMAGE_NR_ROLES,
};

/*
 * 32 bytes at table_offset + 32 * zone number. Each word changes by one aligned
 * store of 8 bytes and carries its own check bits, since a kill or write-back
 * can come between any two stores.
 *
 *	bits 63..48	CRC-16 of zone number, role and bits 47..0
 *	pointers:  47..34 generation (resets modulo 2^14), 33..32 condition
 *		   (0 none, 1 read-only, 2 offline), 31..0 wp in 512-byte sectors
 *	resets:	   47..0 the count
 */
struct image_entry {
	_Atomic uint64_t word[IMAGE_NR_ROLES];	/* 0, 8, 16 */
	uint64_t	reserved;		/* 24: zero */
};

#define IMAGE_GEN_BITS		14
#define IMAGE_GEN_MASK		((1u << IMAGE_GEN_BITS) - 1)
#define IMAGE_RESETS_MASK	((UINT64_C(1) << 48) - 1)

/* A pointer word taken apart. */
struct image_ptr {
	uint64_t	wp;		/* bytes from the zone start */
	uint16_t	gen;
	uint8_t		cond;		/* BLK_ZONE_COND_READONLY, _OFFLINE or 0 */
};

/* Four slots a zone at tail_offset + zone number * 4 * slot size. */
#define IMAGE_TAIL_SLOTS	4

struct image_tail {
	uint32_t	magic;		/*  0 */
	uint32_t	crc;		/*  4: CRC-32 of these 64 bytes, this field 0, and the data */
	uint32_t	zno;		/*  8 */
	uint32_t	len;		/* 12: of the data that follows, < block size; 0: no tail */
	uint64_t	wp;		/* 16: bytes from the zone start */
	uint64_t	resets;		/* 24: of the zone */
	uint64_t	seq;		/* 32: the largest one counts */
	uint8_t		uuid[16];	/* 40: the image's */
	uint64_t	reserved;	/* 56: zero */
};

#define IMAGE_AT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
_Static_assert(sizeof(struct image_header) == 4096, "image_header");
IMAGE_AT(image_header, version, 8);
IMAGE_AT(image_header, crc, 12);
IMAGE_AT(image_header, incompat, 16);
IMAGE_AT(image_header, ro_compat, 24);
IMAGE_AT(image_header, uuid, 32);
IMAGE_AT(image_header, block_size, 48);
IMAGE_AT(image_header, nr_zones, 52);
IMAGE_AT(image_header, nr_conv, 56);
IMAGE_AT(image_header, max_open, 60);
IMAGE_AT(image_header, max_active, 64);
IMAGE_AT(image_header, tail_slots, 68);
IMAGE_AT(image_header, zone_size, 72);
IMAGE_AT(image_header, zone_capacity, 80);
IMAGE_AT(image_header, table_offset, 88);
IMAGE_AT(image_header, tail_offset, 96);
IMAGE_AT(image_header, data_offset, 104);
IMAGE_AT(image_header, file_size, 112);
IMAGE_AT(image_header, reserved, 120);
_Static_assert(sizeof(struct image_state) == 512, "image_state");
IMAGE_AT(image_state, flags, 8);
IMAGE_AT(image_state, crc, 12);
IMAGE_AT(image_state, seq, 16);
IMAGE_AT(image_state, uuid, 24);
IMAGE_AT(image_state, boot_id, 40);
IMAGE_AT(image_state, sb_id, 56);
IMAGE_AT(image_state, mnt_id, 64);
IMAGE_AT(image_state, reserved, 72);
_Static_assert(sizeof(struct image_entry) == 32, "image_entry");
IMAGE_AT(image_entry, reserved, 24);
_Static_assert(sizeof(struct image_tail) == 64, "image_tail");
IMAGE_AT(image_tail, crc, 4);
IMAGE_AT(image_tail, zno, 8);
IMAGE_AT(image_tail, len, 12);
IMAGE_AT(image_tail, wp, 16);
IMAGE_AT(image_tail, resets, 24);
IMAGE_AT(image_tail, seq, 32);
IMAGE_AT(image_tail, uuid, 40);
IMAGE_AT(image_tail, reserved, 56);

/* A checked header in host order. */
struct image_layout {
	struct zdev_geometry geo;
	uint64_t	ro_compat;
	uint64_t	table_offset;
	uint64_t	tail_offset;
	uint64_t	data_offset;
	uint64_t	file_size;
};

/*
 * Bytes of a tail slot: room for header and largest tail, and never two slots in
 * one sector of any disk, where a torn write of one could take the other along.
 */
static inline uint32_t image_slot_size(const struct image_layout *lay)
{
	return lay->geo.block_size == 512 ? 4096 : 8192;
}

static inline uint64_t image_table_len(const struct image_layout *lay)
{
	return (uint64_t)lay->geo.nr_zones * sizeof(struct image_entry);
}

static inline uint64_t image_slot_offset(const struct image_layout *lay,
					 uint32_t zno, unsigned slot)
{
	return lay->tail_offset +
	       ((uint64_t)zno * IMAGE_TAIL_SLOTS + slot) * image_slot_size(lay);
}

static inline uint64_t image_zone_offset(const struct image_layout *lay, uint32_t zno)
{
	return lay->data_offset + zno * lay->geo.zone_size;
}

static inline bool image_is_conv(const struct image_layout *lay, uint32_t zno)
{
	return zno < lay->geo.nr_conv;
}

/* Place table, tails and data for a geometry that has been checked. */
void image_layout_init(struct image_layout *lay, const struct zdev_geometry *g);

void image_header_encode(const struct image_layout *lay, struct image_header *h);

/* 0, -ENODEV without message when the magic is absent, -EINVAL with *e naming what is wrong. */
int image_header_decode(const struct image_header *h, struct image_layout *lay,
			struct zerr *e);

/* Put magic and checksum into s; its other fields are the caller's, little endian. */
void image_state_seal(struct image_state *s);

/* Is s a whole state block of the image uuid? */
bool image_state_valid(const struct image_state *s, const uint8_t uuid[16]);

/* A pointer or count to its word (host order), check bits included. */
uint64_t image_ptr_encode(uint32_t zno, enum image_role role, const struct image_ptr *p);
uint64_t image_resets_encode(uint32_t zno, uint64_t resets);

/*
 * A word (host order) to what it says: false when the check bits are wrong or
 * when the pointer is none that a zone of this layout can have.
 */
bool image_ptr_decode(const struct image_layout *lay, uint32_t zno,
		      enum image_role role, uint64_t word, struct image_ptr *p);
bool image_resets_decode(uint32_t zno, uint64_t word, uint64_t *resets);

/* The number of resets that ends in gen and is nearest to the stored count. */
uint64_t image_resets_near(uint64_t count, uint16_t gen);

/* The checksum of a slot whose data follows the header at t. */
uint32_t image_tail_crc(const struct image_tail *t, size_t len);

#endif
