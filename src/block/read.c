/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads: each run of blocks comes from the data zone, from the buffer zone, or
 * is zeros (part 12).
 */
#include <errno.h>
#include <string.h>

#include "block_i.h"

/* What a block at the part's place is, and for how many blocks that holds. */
struct run {
	uint32_t	zone;	/* DMZ_NONE: zeros */
	uint32_t	nr;
};

/*
 * Limit r to what zone has to say about `block` on. true when the block is valid
 * there. A zone all of whose written blocks are valid needs no bitmap.
 */
static bool look(struct block *b, uint32_t zone, struct bm *bm, uint32_t block, struct run *r)
{
	const struct zone *z = &b->zones[zone];
	bool valid;
	uint32_t nr;

	if (zone_is_seq(z) && !(z->flags & ZONE_F_BAD)) {
		if (block >= z->wp)
			return false;
		if (r->nr > z->wp - block)
			r->nr = z->wp - block;
	}
	if (!bm)
		return z->weight != 0;
	valid = bm_test(bm, block % DMZ_BITS_PER_BLOCK);
	nr = bm_run(bm, block % DMZ_BITS_PER_BLOCK, r->nr);
	if (nr < r->nr)
		r->nr = nr;
	return valid;
}

/* Nothing to look up: all or nothing of what can be read is valid. */
static bool is_uniform(const struct block *b, uint32_t zone)
{
	const struct zone *z = &b->zones[zone];

	return !z->weight || z->weight == b->zone_blocks ||
	       (zone_is_seq(z) && !(z->flags & ZONE_F_BAD) && z->weight == z->wp);
}

/*
 * The bitmaps that tell of `block`, pinned. false when one must be read first:
 * then p waits for it, if it is not NULL.
 */
static bool get_bitmaps(struct block *b, uint32_t block, struct part *p, const uint32_t zone[2],
			struct bm *bm[2])
{
	int i;

	bm[0] = bm[1] = NULL;
	for (i = 0; i < 2; i++) {
		if (zone[i] == DMZ_NONE || is_uniform(b, zone[i]))
			continue;
		bm[i] = bm_get(b, zone[i], block, p);
		if (!bm[i]) {
			if (i && bm[0])
				bm_unpin(bm[0]);
			return false;
		}
	}
	return true;
}

/* The data zone comes first; nothing is valid in both (part 8). */
static struct run find_run(struct block *b, uint32_t block, uint32_t nr, const uint32_t zone[2],
			   struct bm *bm[2])
{
	struct run r = { .zone = DMZ_NONE, .nr = nr };
	int i;

	for (i = 0; i < 2; i++) {
		if (zone[i] != DMZ_NONE && look(b, zone[i], bm[i], block, &r)) {
			r.zone = zone[i];
			break;
		}
	}
	return r;
}

static void put_bitmaps(struct bm *bm[2])
{
	int i;

	for (i = 0; i < 2; i++)
		if (bm[i])
			bm_unpin(bm[i]);
}

bool read_source(struct block *b, uint64_t pos, uint32_t nr, struct part *p, uint32_t *from)
{
	uint32_t chunk = (uint32_t)(pos / DMZ_BLOCK_SIZE / b->zone_blocks);
	uint32_t block = (uint32_t)(pos / DMZ_BLOCK_SIZE % b->zone_blocks);
	uint32_t zone[2] = { map_dzone(b, chunk), map_bzone(b, chunk) };
	struct bm *bm[2];
	struct run r;

	if (!get_bitmaps(b, block, p, zone, bm))
		return false;
	r = find_run(b, block, nr, zone, bm);
	put_bitmaps(bm);
	*from = r.nr == nr ? r.zone : DMZ_NONE;
	return true;
}

static void read_done(struct zdev_io *io)
{
	struct part *p = io->owner;
	struct block *b = p->b;
	uint32_t zone = p->io_zone[io - p->dev];

	pthread_mutex_lock(&b->lock);
	if (zone != DMZ_NONE)
		zone_put(b, zone);
	if (io->result < 0 && !p->error)
		p->error = (int)io->result;
	else if (io->result != (ssize_t)io->iov->iov_len && !p->error)
		p->error = -EIO;
	if (!--p->pending)
		read_step(b, p);
	block_leave(b);
}

static void issue_run(struct block *b, struct part *p, int i, const struct run *r)
{
	struct zdev_io *io = &p->dev[i];

	p->iov[i].iov_base = p->data + (size_t)p->at * DMZ_BLOCK_SIZE;
	p->iov[i].iov_len = (size_t)r->nr * DMZ_BLOCK_SIZE;
	p->io_zone[i] = r->zone;
	memset(io, 0, sizeof(*io));
	io->op = ZDEV_READ;
	io->zno = r->zone;
	io->pos = (uint64_t)(p->block + p->at) * DMZ_BLOCK_SIZE;
	io->iov = &p->iov[i];
	io->nr_iov = 1;
	io->done = read_done;
	io->owner = p;
	io->once = true;	/* whoever has a disk has a page cache above it */
	if (r->zone != DMZ_NONE)
		zone_get(b, r->zone);
	p->pending++;
	issue_io(b, &b->issue, io);
}

/* All runs were read. */
static void read_end(struct block *b, struct part *p)
{
	if (p->op == PART_WRITE) {
		/* The first half of a change of less than a block. */
		write_step(b, p);
		return;
	}
	if (p->bounce && !p->error)
		part_copy(p, true);
	part_done(b, p);
}

void read_step(struct block *b, struct part *p)
{
	uint32_t zone[2] = {
		map_dzone(b, p->chunk->no), map_bzone(b, p->chunk->no)
	};
	struct bm *bm[2];
	uint32_t block;
	struct run r;
	int i;

	for (i = 0; i < PART_IOS && p->at < p->nr && !p->error; i++) {
		block = p->block + p->at;
		/* With runs in flight their completion comes here again, else p waits now. */
		if (!get_bitmaps(b, block, p->pending ? NULL : p, zone, bm))
			return;
		r = find_run(b, block, p->nr - p->at, zone, bm);
		issue_run(b, p, i, &r);
		p->at += r.nr;
		put_bitmaps(bm);
	}
	if (!p->pending && (p->error || p->at == p->nr))
		read_end(b, p);
}
