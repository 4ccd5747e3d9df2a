/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside src/zonefs only: the arena, memory for appends on their way to the
 * device, in a file of a RAM file system.
 *
 *	arena-file.c	the format, where the file is, how it is opened
 *	arena.c		the arena of a mount: segments are taken, filled, freed
 *	arena-replay.c	what a killed daemon left
 *
 * docs/arena-format.md says what is in the file.
 */
#ifndef ZONEFS_ARENA_I_H
#define ZONEFS_ARENA_I_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zonefsd/arena.h"

/* Page aligned, so that O_DIRECT writes go straight from them. */
#define ARENA_SEG	((uint32_t)256 << 10)
#define ARENA_NO_SEG	UINT32_MAX
/* Bounds what a header may claim. */
#define ARENA_MAX_SEGS	(1u << 18)

#define ARENA_MAGIC	"ZFSARENA"
#define ARENA_VERSION	1u
#define ARENA_HEAD	4096u
/* Segments that can share a huge page lie in one. */
#define ARENA_CHUNK	((size_t)2 << 20)

/* Host byte order: the file never leaves the memory of one machine. */
struct arena_head {
	char		magic[8];	/* 0 */
	uint32_t	version;	/* 8 */
	uint32_t	incompat;	/* 12: a bit not known here: not understood */
	uint32_t	compat;		/* 16: a bit not known here does not matter */
	uint32_t	block_size;	/* 20 */
	uint8_t		uuid[16];	/* 24: of the device, or zeros */
	uint8_t		sb_uuid[16];	/* 40: of the super block */
	uint64_t	st_dev;		/* 56: of the device's file or directory */
	uint64_t	st_ino;		/* 64 */
	uint32_t	seg_size;	/* 72 */
	uint32_t	nr_segs;	/* 76 */
	uint64_t	table_off;	/* 80 */
	uint64_t	data_off;	/* 88 */
	uint32_t	reserved;	/* 96: 0 */
	uint32_t	crc;		/* 100: CRC-32 of all before it */
};

_Static_assert(sizeof(struct arena_head) == 104, "the header's layout is fixed");

/* What segment i holds; a cache line each, as different threads publish. */
struct arena_entry {
	uint32_t	zno;		/* 0 */
	uint32_t	reserved;	/* 4: 0 */
	uint64_t	resets;		/* 8: of the zone; 0 where they are not counted */
	uint64_t	start;		/* 16: where its first byte belongs in the zone */
	_Atomic uint64_t word;		/* 24: length and check bits; 0: free */
	uint64_t	pad[4];		/* 32: 0 */
};

_Static_assert(sizeof(struct arena_entry) == 64, "the entry's layout is fixed");

/* ---- arena-file.c ---- */

/* Of the identity of entry i; with a length it makes the word. */
uint64_t arena_seed(uint32_t index, uint32_t zno, uint64_t resets, uint64_t start);
uint64_t arena_word(uint64_t seed, uint32_t len);
/* The length of a word that belongs to seed, or -1. */
int64_t arena_word_len(uint64_t seed, uint64_t word);

/* Where table and data are, for that many segments. */
void arena_head_layout(struct arena_head *h, uint32_t nr_segs);

/* Fill in *h for dev. 0, -EOPNOTSUPP for a device without a path, -errno. */
int arena_head_make(struct zdev *dev, const uint8_t sb_uuid[16], uint32_t nr_segs,
		    struct arena_head *h);
/* 0, or -EINVAL with the reason in *why. */
int arena_head_check(const struct arena_head *h, uint64_t file_size, const char **why);
/* Do a header, checked, and the one made for a device belong together? */
bool arena_head_match(const struct arena_head *h, const struct arena_head *dev,
		      const char **why);

/* The directory for arenas, made if missing; path gets its name. An fd or -errno. */
int arena_dir_open(char path[200]);
void arena_name(const struct arena_head *h, char name[96]);

/*
 * Open the arena `name` and lock it. An fd; -ENOENT; -EBUSY: a daemon has it;
 * -EPERM: not a private file of ours; -errno.
 */
int arena_file_open(int dirfd, const char *name);

/* ---- arena.c ---- */

struct arena;

/*
 * The arena of a mount, of about `bytes`. An old one of the same name is gone by
 * then. Devices without a path have one that nobody finds again. 0 or -errno.
 */
int arena_create(struct zdev *dev, const uint8_t sb_uuid[16], uint64_t bytes,
		 struct arena **a);
/* Nothing in it is needed any more: remove and free it. NULL is fine. */
void arena_destroy(struct arena *a);

/*
 * A free segment for a zone that has `have` already, or ARENA_NO_SEG. No zone can
 * take the last ones from the others: the more it has, the more must be free. For
 * one that has many it may take a millisecond to find a good place.
 */
uint32_t arena_get(struct arena *a, uint32_t have);
void arena_put(struct arena *a, uint32_t seg);
char *arena_data(const struct arena *a, uint32_t seg);

/* Say what segment seg, just taken, is for. */
void arena_claim(struct arena *a, uint32_t seg, uint32_t zno, uint64_t resets,
		 uint64_t start);
/* Its first len bytes are there: from now on they survive the daemon. */
void arena_publish(struct arena *a, uint32_t seg, uint32_t len);

/* Give the memory of free segments back to the system. true when there was some. */
bool arena_trim(struct arena *a);
/* Bytes of memory that segments take, in use or not. */
uint64_t arena_bytes(struct arena *a);

#endif
