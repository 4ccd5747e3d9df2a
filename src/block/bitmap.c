/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmap blocks in RAM: read when needed, evicted when not, never while they
 * hold what is not on the device (part 8).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "block_i.h"

/* ---- bits: little endian, the least significant first ---- */

static inline uint64_t mask(uint32_t from, uint32_t nr)
{
	uint64_t m = nr >= 64 ? UINT64_MAX : (UINT64_C(1) << nr) - 1;

	return htole64(m << from);
}

/* One word after the other: the bits [bit, bit + nr) as a word's index and mask. */
static bool next_word(uint32_t *bit, uint32_t *nr, uint32_t *word, uint64_t *m)
{
	uint32_t from = *bit % 64, n = 64 - from < *nr ? 64 - from : *nr;

	if (!n)
		return false;
	*word = *bit / 64;
	*m = mask(from, n);
	*bit += n;
	*nr -= n;
	return true;
}

uint32_t bm_set(struct bm *bm, uint32_t bit, uint32_t nr)
{
	uint32_t word, changed = 0;
	uint64_t m;

	while (next_word(&bit, &nr, &word, &m)) {
		changed += (uint32_t)__builtin_popcountll(m & ~bm->bits[word]);
		bm->bits[word] |= m;
	}
	return changed;
}

uint32_t bm_clear(struct bm *bm, uint32_t bit, uint32_t nr)
{
	uint32_t word, changed = 0;
	uint64_t m;

	while (next_word(&bit, &nr, &word, &m)) {
		changed += (uint32_t)__builtin_popcountll(m & bm->bits[word]);
		bm->bits[word] &= ~m;
	}
	return changed;
}

bool bm_test(const struct bm *bm, uint32_t bit)
{
	return bm->bits[bit / 64] & mask(bit % 64, 1);
}

uint32_t bm_run(const struct bm *bm, uint32_t bit, uint32_t nr)
{
	uint64_t want = bm_test(bm, bit) ? UINT64_MAX : 0, w;
	uint32_t done = 0, from, n, same;

	while (done < nr) {
		from = (bit + done) % 64;
		n = 64 - from < nr - done ? 64 - from : nr - done;
		/* Bits that differ, the one at hand lowest. */
		w = (le64toh(bm->bits[(bit + done) / 64]) ^ want) >> from;
		same = w ? (uint32_t)__builtin_ctzll(w) : 64;
		if (same < n)
			return done + same;
		done += n;
	}
	return nr;
}

uint32_t bm_weight(const void *bits, uint32_t nr)
{
	const uint64_t *word = bits;
	uint32_t i, weight = 0;

	for (i = 0; i < nr / 64; i++)
		weight += (uint32_t)__builtin_popcountll(word[i]);
	if (nr % 64)
		weight += (uint32_t)__builtin_popcountll(word[i] & mask(0, nr % 64));
	return weight;
}

/* ---- the cache ---- */

static void ring_del(struct bm *bm)
{
	bm->older->newer = bm->newer;
	bm->newer->older = bm->older;
}

/* As the one used last. */
static void ring_add(struct block *b, struct bm *bm)
{
	bm->newer = &b->lru;
	bm->older = b->lru.older;
	bm->older->newer = bm;
	b->lru.older = bm;
}

/*
 * How many blocks are kept: 3 MB with the zones and the map, as far as the rest
 * of 3 MB goes, but never too few to move a zone.
 */
static uint32_t pick_sizes(struct block *b)
{
	uint64_t fixed = (uint64_t)b->devs->nr_zones * sizeof(struct zone) +
			 (uint64_t)b->super.nr_map_blocks * DMZ_BLOCK_SIZE;
	uint64_t blocks = 2900000 > fixed ? (2900000 - fixed) / DMZ_BLOCK_SIZE : 0;
	uint32_t least = 8 * b->bpz + 96;

	if (blocks > 640)
		blocks = 640;
	if (blocks < least)
		blocks = least;
	/* Two fifths may change between two commits, and are copied for each. */
	b->image_max = (uint32_t)(blocks * 2 / 5);
	if (b->image_max < 4 * b->bpz + 32)
		b->image_max = 4 * b->bpz + 32;
	return (uint32_t)blocks - b->image_max;
}

int bm_init(struct block *b)
{
	uint32_t i;
	size_t len;

	b->nr_bms = pick_sizes(b);
	len = (size_t)(b->nr_bms + b->image_max) * DMZ_BLOCK_SIZE;
	b->bms = calloc(b->nr_bms, sizeof(*b->bms));
	b->bm_mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->bm_mem == MAP_FAILED)
		b->bm_mem = NULL;
	b->image = calloc(b->image_max, sizeof(*b->image));
	b->sorted = calloc(b->nr_bms, sizeof(*b->sorted));
	if (!b->bms || !b->bm_mem || !b->image || !b->sorted)
		return -ENOMEM;
	b->image_mem = b->bm_mem + (size_t)b->nr_bms * DMZ_BLOCK_SIZE;
	b->lru.newer = b->lru.older = &b->lru;
	for (i = 0; i < b->nr_bms; i++) {
		b->bms[i].index = DMZ_NONE;
		b->bms[i].bits = (uint64_t *)(b->bm_mem + (size_t)i * DMZ_BLOCK_SIZE);
		ring_add(b, &b->bms[i]);
	}
	b->stats.metadata_bytes = len + b->nr_bms * (sizeof(*b->bms) + sizeof(*b->sorted)) +
				  b->image_max * sizeof(*b->image) +
				  (uint64_t)b->devs->nr_zones * sizeof(struct zone) +
				  (uint64_t)b->super.nr_map_blocks * (DMZ_BLOCK_SIZE + 1);
	return 0;
}

void bm_free(struct block *b)
{
	if (b->bm_mem)
		munmap(b->bm_mem, (size_t)(b->nr_bms + b->image_max) * DMZ_BLOCK_SIZE);
	free(b->bms);
	free(b->sorted);
	free(b->image);
}

static struct bm **hash_slot(struct block *b, uint32_t index)
{
	return &b->bm_hash[index % BM_HASH];
}

static void unhash(struct block *b, struct bm *bm)
{
	struct bm **slot = hash_slot(b, bm->index);

	while (*slot != bm)
		slot = &(*slot)->hash_next;
	*slot = bm->hash_next;
	bm->index = DMZ_NONE;
	bm->loaded = false;
}

static struct bm *evict(struct block *b)
{
	struct bm *bm;

	for (bm = b->lru.newer; bm != &b->lru; bm = bm->newer)
		if (!bm->pins && !bm->dirty && !bm->committing && !bm->loading)
			break;
	if (bm == &b->lru)
		return NULL;
	if (bm->index != DMZ_NONE)
		unhash(b, bm);
	return bm;
}

void bm_wake(struct block *b)
{
	parts_wake(b, &b->wait_bm);
	if (b->bm_short) {
		b->bm_short = false;
		pthread_cond_broadcast(&b->changed);
	}
}

static void load_from(struct block *b, struct bm *bm, int set);

static void wake_all(struct block *b, struct bm *bm, int err)
{
	struct part *p, *next;

	for (p = bm->waiters; p; p = next) {
		next = p->next;
		if (err && !p->error)
			p->error = err;
		part_list_add(&b->ready, p);
	}
	bm->waiters = NULL;
	bm_wake(b);
	pthread_cond_broadcast(&b->changed);
}

static void load_done(struct zdev_io *io)
{
	struct bm *bm = (struct bm *)((char *)io - offsetof(struct bm, io));
	struct block *b = io->owner;
	bool good = io->result == DMZ_BLOCK_SIZE;

	pthread_mutex_lock(&b->lock);
	if (!good && !bm->second) {
		bm->second = true;
		load_from(b, bm, 1);
	} else {
		bm->loading = false;
		bm->loaded = good;
		/* R7: what cannot be read is an error, not an empty bitmap. */
		wake_all(b, bm, good ? 0 : -EIO);
	}
	block_leave(b);
}

/* Between commits the two sets are equal: set 1 serves where set 0 is unreadable. */
static void load_from(struct block *b, struct bm *bm, int set)
{
	uint64_t block = 1 + (uint64_t)b->super.nr_map_blocks + bm->index;
	struct zdev_io *io = &bm->io;

	memset(io, 0, sizeof(*io));
	bm->iov.iov_base = bm->bits;
	bm->iov.iov_len = DMZ_BLOCK_SIZE;
	io->op = ZDEV_READ;
	io->zno = b->set_zone[set] + (uint32_t)(block / b->zone_blocks);
	io->pos = block % b->zone_blocks * DMZ_BLOCK_SIZE;
	io->iov = &bm->iov;
	io->nr_iov = 1;
	io->done = load_done;
	io->owner = b;
	issue_io(b, &b->issue, io);
}

/* The entry of index: as it is or, with load, at least being read; NULL: none. */
static struct bm *find(struct block *b, uint32_t index, bool load)
{
	struct bm **slot = hash_slot(b, index), *bm;

	for (bm = *slot; bm; bm = bm->hash_next)
		if (bm->index == index)
			break;
	if (!load || (bm && (bm->loaded || bm->loading)))
		return bm;
	if (!bm) {
		bm = evict(b);
		if (!bm)
			return NULL;
		bm->index = index;
		bm->hash_next = *slot;
		*slot = bm;
	}
	/* Weight 0 says that no bit is set. */
	if (!b->zones[index / b->bpz].weight) {
		memset(bm->bits, 0, DMZ_BLOCK_SIZE);
		bm->loaded = true;
		return bm;
	}
	bm->loading = true;
	bm->second = false;
	load_from(b, bm, 0);
	return bm;
}

static uint32_t index_of(const struct block *b, uint32_t zone, uint32_t block)
{
	return zone * b->bpz + block / DMZ_BITS_PER_BLOCK;
}

static struct bm *pin(struct block *b, struct bm *bm)
{
	bm->pins++;
	ring_del(bm);
	ring_add(b, bm);
	return bm;
}

struct bm *bm_get(struct block *b, uint32_t zone, uint32_t block, struct part *p)
{
	struct bm *bm = find(b, index_of(b, zone, block), p != NULL);

	if (bm && bm->loaded)
		return pin(b, bm);
	if (!p)
		return NULL;
	if (bm) {
		p->next = bm->waiters;
		bm->waiters = p;
	} else if (b->failed) {
		/* What cannot be written any more leaves no room for others. */
		p->error = -EIO;
		part_list_add(&b->ready, p);
	} else {
		part_list_add(&b->wait_bm, p);
		commit_kick(b);
	}
	return NULL;
}

struct bm *bm_get_wait(struct block *b, uint32_t zone, uint32_t block, int *err)
{
	uint32_t index = index_of(b, zone, block);
	struct bm *bm;

	for (;;) {
		bm = find(b, index, true);
		if (bm && bm->loaded)
			return pin(b, bm);
		if (!bm && b->failed)
			break;
		b->bm_short = !bm;
		if (!bm)
			commit_kick(b);
		/* What find() left to be read is sent on the way out. */
		block_leave(b);
		pthread_mutex_lock(&b->lock);
		bm = find(b, index, false);
		if (bm ? bm->loading : b->bm_short) {
			pthread_cond_wait(&b->changed, &b->lock);
			bm = find(b, index, false);
		}
		if (bm && !bm->loaded && !bm->loading)
			break;
	}
	*err = -EIO;
	return NULL;
}

void bm_unpin(struct bm *bm)
{
	bm->pins--;
}

void bm_put(struct block *b, struct bm *bm)
{
	bm_unpin(bm);
	if (!bm->pins)
		bm_wake(b);
}

bool bm_claim(struct block *b, struct bm *bm, uint32_t spare)
{
	if (!bm->dirty && !bm->claims) {
		if (b->nr_busy + spare >= b->image_max)
			return false;
		b->nr_busy++;
	}
	bm->claims++;
	return true;
}

void bm_unclaim(struct block *b, struct bm *bm)
{
	if (!--bm->claims && !bm->dirty)
		b->nr_busy--;
}
