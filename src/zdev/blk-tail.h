/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a block device keeps tails: on disk and in memory. docs/blk-tails.md has
 * the format in words.
 */
#ifndef ZDEV_BLK_TAIL_H
#define ZDEV_BLK_TAIL_H

#include <stdbool.h>
#include <stdint.h>

/* Behind the super block of zonefs, which is all that zone 0 holds otherwise. */
#define BLK_TAIL_HEAD_POS	4096u
#define BLK_TAIL_HEAD_SIZE	4096u
#define BLK_TAIL_SLOTS_POS	8192u
#define BLK_TAIL_MAX_SLOTS	4096u	/* read at each open */

#define BLK_TAIL_HEAD_MAGIC	"ZFSTAILS"
#define BLK_TAIL_MAGIC		0x4c494154u	/* "TAIL" */
#define BLK_TAIL_VERSION	1u

/* All numbers are little endian; CRC-32 as of zlib, of the whole with crc 0. */
struct blk_tail_head {
	char		magic[8];	/* 0 */
	uint32_t	version;	/* 8 */
	uint32_t	incompat;	/* 12: a bit not known here: keep off */
	uint32_t	compat;		/* 16: a bit not known here does not matter */
	uint32_t	slot_size;	/* 20: bytes, two blocks */
	uint32_t	nr_slots;	/* 24 */
	uint32_t	super_crc;	/* 28: of the super block they belong to */
	uint8_t		uuid[16];	/* 32: a new one with each head */
	uint32_t	reserved[3];	/* 48: 0 */
	uint32_t	crc;		/* 60 */
};

_Static_assert(sizeof(struct blk_tail_head) == 64, "the head's layout is fixed");

/* The first bytes of a slot; the tail follows. A slot of zeros is unused. */
struct blk_tail {
	uint32_t	magic;		/* 0 */
	uint32_t	crc;		/* 4: tail included */
	uint8_t		uuid[16];	/* 8: the head's */
	uint64_t	seq;		/* 24: of two for one place the higher counts */
	uint64_t	wp;		/* 32: of the zone, bytes from its start */
	uint32_t	zno;		/* 40 */
	uint32_t	len;		/* 44: 1 to the block size - 1 */
	uint32_t	before;		/* 48: CRC-32 of the block before wp, 0: none */
	uint32_t	reserved[3];	/* 52: 0 */
};

_Static_assert(sizeof(struct blk_tail) == 64, "the slot's layout is fixed");

enum blk_tail_state {
	BLK_TAIL_UNUSED,	/* nothing on disk names a zone */
	BLK_TAIL_CURRENT,	/* its zone's tail */
	BLK_TAIL_OLD,		/* not any more, but a power loss may go back to it */
	BLK_TAIL_BUSY,		/* being written */
};

struct blk_tail_slot {
	uint64_t	wp;
	uint64_t	seq;
	uint32_t	zno;
	uint32_t	before;
	uint32_t	stamp;		/* OLD: may be reused when a later flush has ended */
	uint16_t	len;
	uint8_t		state;		/* enum blk_tail_state */
};

#endif
