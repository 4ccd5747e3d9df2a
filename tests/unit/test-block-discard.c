/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Space that a disk gives back to its devices: what the user discards of random
 * zones at once, zones that were freed whole, once a power loss cannot bring them
 * back. That nothing is discarded and written at the same time block-record.c
 * checks, in this and in the other tests of the disk.
 */
#include <errno.h>
#include <time.h>

#include "block-rig.h"
#include "zonefsd/latch.h"

#define KIB	1024u
#define ZONE	(256 * KIB)

static const struct rig_shape one = {
	.zone_size = ZONE, .nr_conv = 6, .nr_seq = 20, .reserve = 2, .block_size = 4096,
};
static const struct rig_shape two = {
	.zone_size = ZONE, .nr_conv = 1, .nr_seq = 20, .nr_cache = 6, .reserve = 4,
	.block_size = 512,
};
static uint8_t data[ZONE], back[ZONE];

static void begin(struct rig *r, const struct rig_shape *shape)
{
	rig_create(r, shape);
	r->no_reclaim = true;
	CHECK_EQ(rig_open(r), 0);
}

static void end(struct rig *r)
{
	if (r->b)
		CHECK_EQ(rig_close(r), 0);
	CHECK_EQ(rig_check(r).errors, 0);
	rig_free(r);
}

static void put(struct rig *r, uint64_t block, uint64_t nr)
{
	CHECK_EQ(rig_run(r, BLOCK_WRITE, block * BLK, nr * BLK, data), nr * BLK);
}

static void discard(struct rig *r, uint64_t block, uint64_t nr)
{
	CHECK_EQ(rig_run(r, BLOCK_DISCARD, block * BLK, nr * BLK, NULL), nr * BLK);
}

static void flush(struct rig *r)
{
	CHECK_EQ(rig_run(r, BLOCK_FLUSH, 0, 0, NULL), 0);
}

/* Blocks of what put() wrote at `first`, or zeros. */
static void check_blocks(struct rig *r, uint64_t first, uint64_t block, uint64_t nr, bool zeros)
{
	uint64_t i;

	CHECK_EQ(rig_run(r, BLOCK_READ, block * BLK, nr * BLK, back), nr * BLK);
	for (i = 0; i < nr * BLK; i++)
		CHECK_EQ(back[i], zeros ? 0 : data[(block - first) * BLK + i]);
}

static struct block_stats stats(struct rig *r)
{
	struct block_stats st;

	block_get_stats(r->b, &st);
	return st;
}

/* The discards of freed zones come in the background. */
static struct rec_discard wait_for_discard(struct rig *r, size_t nr)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct rec_discard d = { 0 };
	unsigned i;

	for (i = 0; i < 20000 && !rec_discard(r->rec, nr, &d); i++)
		nanosleep(&ms, NULL);
	CHECK(rec_discard(r->rec, nr, &d));
	return d;
}

static void check_discard(struct rig *r, size_t nr, uint64_t block, uint64_t blocks)
{
	struct rec_discard d;

	CHECK(rec_discard(r->rec, nr, &d));
	CHECK_EQ(d.pos, block * BLK);
	CHECK_EQ(d.len, blocks * BLK);
	CHECK(!d.dead);
	CHECK(!rec_discard(r->rec, nr + 1, &d));
}

static void valid_blocks_go_at_once_and_in_one_piece(void)
{
	struct rec_discard d;
	struct rig r;

	begin(&r, &one);
	put(&r, 10, 8);
	discard(&r, 12, 4);
	check_discard(&r, 0, 12, 4);
	check_blocks(&r, 10, 10, 2, false);
	check_blocks(&r, 10, 12, 4, true);
	check_blocks(&r, 10, 16, 2, false);
	/* They are gone already; zeros are no discard. */
	discard(&r, 12, 4);
	CHECK_EQ(rig_run(&r, BLOCK_ZERO, 10 * BLK, BLK, NULL), BLK);
	check_discard(&r, 0, 12, 4);
	/* Of parts of blocks only the whole ones between; with what is gone already. */
	CHECK_EQ(rig_run(&r, BLOCK_DISCARD, 15 * BLK + 512, 2 * BLK, NULL), 2 * BLK);
	check_discard(&r, 1, 16, 1);
	discard(&r, 0, 16);
	check_discard(&r, 2, 0, 16);
	/* The last one: the zone is freed. */
	discard(&r, 0, 64);
	CHECK(!rec_discard(r.rec, 3, &d));
	CHECK_EQ(stats(&r).discards, 3);
	CHECK_EQ(stats(&r).discard_bytes, (4 + 1 + 16) * BLK);
	end(&r);
}

static void sequential_zones_are_left_alone(void)
{
	struct rec_discard d;
	struct rig r;

	begin(&r, &one);
	put(&r, 0, 32);
	CHECK_EQ(stats(&r).direct_writes, 1);
	discard(&r, 4, 4);
	CHECK(!rec_discard(r.rec, 0, &d));
	/* Of their buffers, what these held. */
	put(&r, 8, 4);
	put(&r, 20, 4);
	CHECK_EQ(stats(&r).buffered_chunks, 1);
	discard(&r, 0, 10);
	check_discard(&r, 0, 0, 10);
	check_blocks(&r, 0, 0, 10, true);
	end(&r);
}

static void put_latch(struct block_io *io)
{
	zlatch_put(io->owner);
}

static void writes_wait_for_discards(void)
{
	struct iovec iov = { .iov_base = data, .iov_len = 4 * BLK };
	struct block_io io[3];
	struct zlatch latch;
	struct rig r;
	unsigned i, k;

	rig_create(&r, &one);
	r.no_reclaim = true;
	r.jitter = 300;
	CHECK_EQ(rig_open(&r), 0);
	put(&r, 70, 8);
	for (i = 0; i < 200; i++) {
		zlatch_init(&latch, 3);
		for (k = 0; k < 3; k++) {
			io[k] = (struct block_io) {
				.op = k == 1 ? BLOCK_DISCARD : BLOCK_WRITE, .pos = (70 + k) * BLK,
				.len = 4 * BLK, .iov = &iov, .nr_iov = 1,
				.done = put_latch, .owner = &latch,
			};
			block_submit(r.b, &io[k]);
		}
		zlatch_wait(&latch);
		check_blocks(&r, 70, 70, 1, false);
		check_blocks(&r, 70, 71, 1, true);
		check_blocks(&r, 72, 72, 4, false);
	}
	CHECK_EQ(stats(&r).discards, 200);
	end(&r);
}

/* With the power lost as d began: no mapping is left, whatever was not flushed. */
static void check_unmapped(struct rig *r, const struct rec_discard *d)
{
	struct rec_image img;
	uint64_t rng = 1;
	struct rig lost;

	rec_build(r->rec, d->submitted, REC_DROP, &rng, &img);
	rig_from_image(&lost, r, &img);
	rec_image_free(&img);
	CHECK_EQ(rig_open(&lost), 0);
	CHECK_EQ(stats(&lost).mapped_chunks, 0);
	end(&lost);
}

static void a_freed_zone(const struct rig_shape *shape)
{
	struct rec_discard d;
	struct rig r;

	begin(&r, shape);
	put(&r, 64 + 10, 8);
	flush(&r);
	discard(&r, 64, 64);
	CHECK(!rec_discard(r.rec, 0, &d));
	flush(&r);
	d = wait_for_discard(&r, 0);
	CHECK(d.dead);
	CHECK_EQ(d.dev, 0);
	CHECK_EQ(d.pos, 0);
	CHECK_EQ(d.len, ZONE);
	CHECK(!rec_discard(r.rec, 1, &d));
	CHECK_EQ(rig_close(&r), 0);
	check_unmapped(&r, &d);
	end(&r);
}

static void a_freed_zone_goes_once_that_is_durable(void)
{
	a_freed_zone(&one);
	a_freed_zone(&two);
}

static void at_the_end_nothing_is_left(void)
{
	struct rec_discard d;
	struct rig r;

	begin(&r, &one);
	put(&r, 10, 8);
	discard(&r, 0, 64);
	CHECK_EQ(rig_close(&r), 0);
	CHECK(rec_discard(r.rec, 0, &d));
	CHECK(d.dead);
	check_unmapped(&r, &d);
	end(&r);
}

/* Reclaim frees zones: what they held is on sequential ones then. */
static void what_reclaim_has_moved_goes(void)
{
	struct rec_discard d;
	struct rig r;
	uint64_t c;

	begin(&r, &two);
	for (c = 0; c < 4; c++)
		put(&r, c * 64 + 10, 8);
	CHECK_EQ(block_reclaim(r.b, true), 0);
	CHECK_EQ(stats(&r).reclaim_move, 4);
	wait_for_discard(&r, 3);
	for (c = 0; c < 4; c++) {
		CHECK(rec_discard(r.rec, c, &d));
		CHECK(d.dead && d.dev == 0);
		check_blocks(&r, c * 64 + 10, c * 64 + 10, 8, false);
	}
	end(&r);
}

static void a_refusal_is_no_error(int err)
{
	const struct zdev_fault f = { .op = ZDEV_DISCARD, .zno = ZDEV_ALL_ZONES, .err = err };
	uint64_t c, nr;
	struct rig r;

	begin(&r, &one);
	nr = block_size(r.b) / ZONE;
	rig_inject(&r, 0, &f);
	put(&r, 10, 8);
	discard(&r, 12, 4);
	check_blocks(&r, 10, 12, 4, true);
	discard(&r, 0, 64);
	flush(&r);
	/* The zone is free again: there is room for all, and random zones for four. */
	for (c = 0; c < nr; c++)
		put(&r, c * 64 + (c < 4 ? 10 : 0), c < 4 ? 8 : 64);
	for (c = 0; c < nr; c++)
		discard(&r, c * 64, 64);
	CHECK_EQ(rig_close(&r), 0);
	CHECK_EQ(atomic_load(&r.went_readonly), 0);
	CHECK_EQ(rig_open(&r), 0);
	check_blocks(&r, 0, 0, 64, true);
	CHECK_EQ(stats(&r).mapped_chunks, 0);
	end(&r);
}

static void refusals_are_no_errors(void)
{
	a_refusal_is_no_error(EOPNOTSUPP);
	a_refusal_is_no_error(EIO);
	a_refusal_is_no_error(EROFS);
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / BLK + 1) | 1;
	rig_watch(120, "test-block-discard");
	RUN(valid_blocks_go_at_once_and_in_one_piece);
	RUN(sequential_zones_are_left_alone);
	RUN(writes_wait_for_discards);
	RUN(a_freed_zone_goes_once_that_is_durable);
	RUN(at_the_end_nothing_is_left);
	RUN(what_reclaim_has_moved_goes);
	RUN(refusals_are_no_errors);
	return 0;
}
