/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks at the end of what they have: more bitmap blocks in use than are kept in
 * memory, while a commit is under way and when it fails; zones that reclaim cannot
 * empty; few zones that may be active, many to reset, worn ones, huge ones; metadata
 * that cannot be read.
 */
#include <errno.h>
#include <stdatomic.h>

#include "block-rig.h"
#include "gate.h"

#define ZONE_BLOCKS	32u
#define SET1		20u	/* where set 1 of the crowded disk begins */
#define OLD_CHUNKS	240u	/* changed before the commit */
#define NEW_CHUNKS	200u	/* changed meanwhile: more than there is room for */
#define WATCH		60u

struct shape {
	uint64_t	zone_blocks;
	uint32_t	nr_conv, nr_seq, reserve, max_active;
};

struct disk {
	uint64_t	zone_blocks;
	struct zdev	*dev;
	struct gate	*gate;
	struct block	*b;
};

static void make_device(struct disk *d, const struct shape *s)
{
	struct zdev_geometry g = {
		.block_size = BLK, .zone_size = s->zone_blocks * BLK,
		.zone_capacity = s->zone_blocks * BLK, .nr_zones = s->nr_conv + s->nr_seq,
		.nr_conv = s->nr_conv, .max_active = s->max_active,
	};
	struct zerr e = { "" };

	d->zone_blocks = s->zone_blocks;
	CHECK_EQ(zdev_mem_create(&g, &d->dev, &e), 0);
	d->gate = gate_stack(&d->dev);
}

static void format_device(struct disk *d, const struct shape *s)
{
	struct dmz_format_opts format = { .label = "tight", .nr_reserved_seq = s->reserve };
	struct dmz_devs *devs;
	struct zerr e = { "" };

	CHECK_EQ(dmz_devs_join(&d->dev, 1, &devs, &e), 0);
	CHECK_EQ(dmz_format(devs, &format, NULL, &e), 0);
	dmz_devs_part(devs);
}

static int open_device(struct disk *d)
{
	struct block_opts opts = { .no_reclaim = true };
	struct dmz_devs *devs;
	struct zerr e = { "" };
	int ret;

	CHECK_EQ(dmz_devs_join(&d->dev, 1, &devs, &e), 0);
	ret = block_open(devs, &opts, &d->b, &e);
	if (ret)
		dmz_devs_part(devs);
	return ret;
}

static void open_disk(struct disk *d, const struct shape *s)
{
	make_device(d, s);
	format_device(d, s);
	CHECK_EQ(open_device(d), 0);
}

/* ---- requests that are not waited for ---- */

struct req {
	struct block_io	io;		/* first */
	struct iovec	iov;
	uint8_t		*data;
	atomic_bool	done;
};

static void req_done(struct block_io *io)
{
	atomic_store(&((struct req *)io)->done, true);
}

static void req_start(struct disk *d, struct req *q, enum block_op op, uint64_t chunk,
		      uint64_t block, uint64_t nr)
{
	memset(q, 0, sizeof(*q));
	q->data = malloc(nr * BLK + 1);
	CHECK(q->data);
	memset(q->data, (int)(chunk * 7 + block) & 0xff, nr * BLK);
	q->iov = (struct iovec) { q->data, nr * BLK };
	q->io = (struct block_io) {
		.op = op, .pos = (chunk * d->zone_blocks + block) * BLK, .len = nr * BLK,
		.iov = &q->iov, .nr_iov = 1, .done = req_done,
	};
	block_submit(d->b, &q->io);
}

static ssize_t req_end(struct req *q)
{
	while (!atomic_load(&q->done))
		usleep(100);
	free(q->data);
	return q->io.result;
}

static void put(struct disk *d, uint64_t chunk, uint64_t block, uint64_t nr)
{
	struct req q;

	req_start(d, &q, BLOCK_WRITE, chunk, block, nr);
	CHECK_EQ(req_end(&q), nr * BLK);
}

/* The contents of put(). */
static void get(struct disk *d, uint64_t chunk, uint64_t block, uint64_t nr)
{
	uint64_t i, len = nr * BLK;
	uint8_t *data = malloc(len);
	struct iovec iov = { data, len };
	struct block_io io = {
		.op = BLOCK_READ, .pos = (chunk * d->zone_blocks + block) * BLK, .len = len,
		.iov = &iov, .nr_iov = 1,
	};

	CHECK(data);
	CHECK_EQ(block_run(d->b, &io), len);
	for (i = 0; i < len; i++)
		CHECK_EQ(data[i], (chunk * 7 + block) & 0xff);
	free(data);
}

static void flush(struct disk *d)
{
	struct req q;

	req_start(d, &q, BLOCK_FLUSH, 0, 0, 0);
	CHECK_EQ(req_end(&q), 0);
}

/* ---- no room for a bitmap ---- */

struct crowd {
	struct disk	d;
	struct req	flush, fresh[NEW_CHUNKS], read, write;
};

static unsigned nr_done(const struct crowd *c)
{
	unsigned i, n = 0;

	for (i = 0; i < NEW_CHUNKS; i++)
		n += atomic_load(&c->fresh[i].done);
	return n;
}

/* Until no more of them are done: the rest wait for room. */
static void settle(const struct crowd *c)
{
	unsigned n, seen = 0, calm = 0;

	while (calm < 20) {
		usleep(10000);
		n = nr_done(c);
		calm = n == seen ? calm + 1 : 0;
		seen = n;
	}
	CHECK(seen && seen < NEW_CHUNKS);
}

/*
 * A commit that does not end, and behind it so many changes that nothing in memory can make
 * room. Of chunk 0's two zones one has its bitmap there, the other has not.
 */
static void crowd(struct crowd *c)
{
	static const struct shape shape = {
		.zone_blocks = ZONE_BLOCKS, .nr_conv = 560, .nr_seq = 60, .reserve = 8,
	};
	struct disk *d = &c->d;
	uint64_t i;

	open_disk(d, &shape);
	put(d, 0, 0, 16);
	put(d, 0, 3, 1);
	flush(d);
	for (i = 0; i < OLD_CHUNKS; i++)
		put(d, 1 + i, i % ZONE_BLOCKS, 1);
	gate_shut(d->gate, SET1, 0);
	req_start(d, &c->flush, BLOCK_FLUSH, 0, 0, 0);
	gate_await(d->gate);
	put(d, 0, 16, 1);
	for (i = 0; i < NEW_CHUNKS; i++)
		req_start(d, &c->fresh[i], BLOCK_WRITE, 1 + OLD_CHUNKS + i, 5, 1);
	settle(c);
	req_start(d, &c->read, BLOCK_READ, 0, 0, ZONE_BLOCKS);
	req_start(d, &c->write, BLOCK_WRITE, 0, 17, 1);
}

static void test_waits_for_room(void)
{
	struct block_stats st;
	struct crowd c;
	unsigned i;

	rig_watch(WATCH, "requests wait for room");
	crowd(&c);
	block_get_stats(c.d.b, &st);
	CHECK_EQ(st.commits, 1);
	gate_open(c.d.gate);
	CHECK_EQ(req_end(&c.flush), 0);
	for (i = 0; i < NEW_CHUNKS; i++)
		CHECK_EQ(req_end(&c.fresh[i]), BLK);
	CHECK_EQ(req_end(&c.read), ZONE_BLOCKS * BLK);
	CHECK_EQ(req_end(&c.write), BLK);
	CHECK_EQ(block_close(c.d.b), 0);
}

/* The same, and the commit fails: whoever waited is told. */
static void test_room_never_comes(void)
{
	struct zdev_fault fault = { .op = ZDEV_WRITE, .zno = SET1, .err = EIO };
	struct block_stats st;
	struct crowd c;
	unsigned i;
	ssize_t ret;

	rig_watch(WATCH, "a commit fails while requests wait for room");
	crowd(&c);
	CHECK_EQ(block_reclaim(c.d.b, false), 0);
	/* Zones that the waiting writes are to fill do not keep it from others. */
	do {
		usleep(10000);
		block_get_stats(c.d.b, &st);
	} while (!st.reclaim_move);
	usleep(100000);
	CHECK_EQ(zdev_inject(c.d.gate->next, &fault), 0);
	gate_open(c.d.gate);
	CHECK_EQ(req_end(&c.flush), -EIO);
	for (i = 0; i < NEW_CHUNKS; i++) {
		ret = req_end(&c.fresh[i]);
		CHECK(ret == BLK || ret == -EROFS || ret == -EIO);
	}
	CHECK_EQ(req_end(&c.read), -EIO);
	CHECK(req_end(&c.write) < 0);
	CHECK(block_is_readonly(c.d.b));
	CHECK_EQ(block_reclaim(c.d.b, true), -EIO);
	CHECK_EQ(block_close(c.d.b), -EIO);
}

/* ---- zones that reclaim cannot empty ---- */

static const struct shape few = {
	.zone_blocks = ZONE_BLOCKS, .nr_conv = 8, .nr_seq = 14, .reserve = 4,
};
#define FEW_RANDOM	6u	/* without the sets' */

static void fail(struct disk *d, enum zdev_op op, uint32_t from, uint32_t to, int err)
{
	struct zdev_fault fault = { .op = op, .err = err };

	for (fault.zno = from; fault.zno < to; fault.zno++)
		CHECK_EQ(zdev_inject(d->gate->next, &fault), 0);
}

/* One block in each of so many chunks, which takes more random zones than there are. */
static void fill_chunks(struct disk *d, uint64_t from, uint64_t nr)
{
	uint64_t i;

	for (i = from; i < from + nr; i++)
		put(d, i, 3, 1);
}

/* What reclaim failed to empty a while ago, it can now: no write is refused. */
static void test_device_recovers(void)
{
	struct disk d;

	rig_watch(WATCH, "the sequential zones take no writes for a while");
	open_disk(&d, &few);
	fill_chunks(&d, 0, FEW_RANDOM);
	fail(&d, ZDEV_WRITE, few.nr_conv, few.nr_conv + few.nr_seq, ENOSPC);
	CHECK_EQ(block_reclaim(d.b, true), 0);
	fail(&d, ZDEV_WRITE, few.nr_conv, few.nr_conv + few.nr_seq, 0);
	fill_chunks(&d, FEW_RANDOM, FEW_RANDOM);
	get(&d, 0, 3, 1);
	get(&d, FEW_RANDOM, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
}

/* A zone that could not be emptied, and was given up and taken again, is as any other. */
static void test_zone_comes_again(void)
{
	struct req q;
	struct disk d;

	rig_watch(WATCH, "zones that could not be read are used again");
	open_disk(&d, &few);
	fill_chunks(&d, 0, FEW_RANDOM);
	fail(&d, ZDEV_READ, 2, few.nr_conv, EIO);
	CHECK_EQ(block_reclaim(d.b, true), 0);
	fail(&d, ZDEV_READ, 2, few.nr_conv, 0);
	req_start(&d, &q, BLOCK_DISCARD, 0, 0, FEW_RANDOM * ZONE_BLOCKS);
	CHECK_EQ(req_end(&q), FEW_RANDOM * ZONE_BLOCKS * BLK);
	flush(&d);
	fill_chunks(&d, 0, 2 * FEW_RANDOM);
	get(&d, FEW_RANDOM, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
}

/* A write for which no zone can be emptied is told why not. */
static void test_says_why_nothing_is_free(void)
{
	static const int errs[] = { EIO, ENOSPC };
	struct disk d;
	struct req q;
	unsigned i;

	for (i = 0; i < 2; i++) {
		rig_watch(WATCH, "the sequential zones fail writes with %d", errs[i]);
		open_disk(&d, &few);
		fill_chunks(&d, 0, FEW_RANDOM);
		fail(&d, ZDEV_WRITE, few.nr_conv, few.nr_conv + few.nr_seq, errs[i]);
		req_start(&d, &q, BLOCK_WRITE, FEW_RANDOM, 3, 1);
		CHECK_EQ(req_end(&q), -errs[i]);
		get(&d, 0, 3, 1);
		CHECK_EQ(block_close(d.b), 0);
	}
}

/* ---- few zones may be active ---- */

/* The only zone that may be active is being written: reclaim waits for it. */
static void test_active_zone_busy(void)
{
	struct shape s = few;
	struct block_stats st;
	struct disk d;
	struct req q;

	rig_watch(WATCH, "the one active zone is in use");
	s.max_active = 1;
	open_disk(&d, &s);
	put(&d, 0, 0, 16);
	fill_chunks(&d, 1, FEW_RANDOM);
	gate_shut(d.gate, s.nr_conv, 0);
	req_start(&d, &q, BLOCK_WRITE, 0, 16, 4);
	gate_await(d.gate);
	CHECK_EQ(block_reclaim(d.b, false), 0);
	do {
		usleep(10000);
		block_get_stats(d.b, &st);
	} while (!st.reclaim_move);
	usleep(200000);
	gate_open(d.gate);
	CHECK_EQ(req_end(&q), 4 * BLK);
	fill_chunks(&d, 1 + FEW_RANDOM, FEW_RANDOM);
	get(&d, 0, 0, 16);
	get(&d, 0, 16, 4);
	get(&d, 1, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
}

/* One that is only being read can be finished. */
static void test_active_zone_read(void)
{
	struct shape s = few;
	struct disk d;
	struct req q;

	rig_watch(WATCH, "the one active zone is being read");
	s.max_active = 1;
	open_disk(&d, &s);
	put(&d, 0, 0, 16);
	fill_chunks(&d, 1, FEW_RANDOM);
	gate_shut_op(d.gate, ZDEV_READ, s.nr_conv);
	req_start(&d, &q, BLOCK_READ, 0, 0, 16);
	gate_await(d.gate);
	CHECK_EQ(block_reclaim(d.b, true), 0);
	gate_open(d.gate);
	CHECK_EQ(req_end(&q), 16 * BLK);
	get(&d, 0, 0, 16);
	get(&d, 1, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
}

/*
 * While a zone is being finished all that it held is discarded. It must not be given to
 * others, who would find it full.
 */
static void test_finished_zone_leaves(void)
{
	const struct shape s = {
		.zone_blocks = ZONE_BLOCKS, .nr_conv = 8, .nr_seq = 6, .reserve = 2,
		.max_active = 1,
	};
	struct block_stats st;
	struct disk d;
	struct req q;

	rig_watch(WATCH, "a zone is freed while it is being finished");
	open_disk(&d, &s);
	put(&d, 0, 0, 16);
	fill_chunks(&d, 1, 5);
	gate_shut_op(d.gate, ZDEV_FINISH, s.nr_conv);
	CHECK_EQ(block_reclaim(d.b, false), 0);
	gate_await(d.gate);
	req_start(&d, &q, BLOCK_DISCARD, 0, 0, ZONE_BLOCKS);
	CHECK_EQ(req_end(&q), ZONE_BLOCKS * BLK);
	flush(&d);
	usleep(100000);
	gate_open(d.gate);
	CHECK_EQ(block_reclaim(d.b, true), 0);
	/* The zone that was freed last is the next one taken. */
	fill_chunks(&d, 6, 1);
	CHECK_EQ(block_reclaim(d.b, true), 0);
	block_get_stats(d.b, &st);
	CHECK_EQ(st.reclaim_move, 6);
	get(&d, 1, 3, 1);
	get(&d, 6, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
}

/* ---- devices that are slow, and that cannot be read everywhere ---- */

/* A filter that outlives the disk. */
struct odd {
	struct zdev	dev;		/* first */
	struct zdev	*next;
	uint32_t	reset_us;	/* a reset takes so long */
	atomic_uint	resets;
	atomic_bool	bad;		/* the block at bad_pos of zone 0, until it is written */
	uint64_t	bad_pos;
};

static bool covers(const struct zdev_io *io, uint64_t pos)
{
	return io->zno == 0 && io->pos <= pos && pos < io->pos + io->iov->iov_len;
}

static void odd_submit(struct zdev *dev, struct zdev_io *io)
{
	struct odd *o = (struct odd *)dev;

	if (io->op == ZDEV_RESET) {
		usleep(o->reset_us);
		atomic_fetch_add(&o->resets, 1);
	}
	if (io->op == ZDEV_WRITE && covers(io, o->bad_pos))
		atomic_store(&o->bad, false);
	if (io->op == ZDEV_READ && atomic_load(&o->bad) && covers(io, o->bad_pos))
		zdev_complete(io, -EIO);
	else
		zdev_submit(o->next, io);
}

static int odd_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	return zdev_report(((struct odd *)dev)->next, zno, nr, zones);
}

static ssize_t odd_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	return zdev_get_tail(((struct odd *)dev)->next, zno, buf);
}

static int odd_close(struct zdev *dev)
{
	return 0;
}

static const struct zdev_ops odd_ops = {
	.submit = odd_submit, .report = odd_report, .get_tail = odd_get_tail,
	.close = odd_close,
};

static struct odd *make_odd(struct disk *d, const struct shape *s)
{
	struct odd *o = calloc(1, sizeof(*o));

	CHECK(o);
	make_device(d, s);
	o->dev.ops = &odd_ops;
	o->dev.info = d->dev->info;
	o->next = d->dev;
	d->dev = &o->dev;
	format_device(d, s);
	CHECK_EQ(open_device(d), 0);
	return o;
}

static void free_odd(struct odd *o)
{
	CHECK_EQ(zdev_close(o->next), 0);
	free(o);
}

/*
 * What cannot be read of set 0 is taken from set 1 and written anew: if all the rest of
 * the two is equal.
 */
static void test_unreadable_block(void)
{
	uint8_t ones[BLK];
	struct disk d;
	struct odd *o;

	rig_watch(WATCH, "a block of the metadata cannot be read");
	o = make_odd(&d, &few);
	put(&d, 0, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
	/* The bitmap of zone 2, the first of the random ones: super block and map come first. */
	o->bad_pos = (2 + 2) * BLK;
	atomic_store(&o->bad, true);
	CHECK_EQ(open_device(&d), 0);
	CHECK(!atomic_load(&o->bad));
	get(&d, 0, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
	/* Another block of set 1 differs, as after a commit that did not end. */
	memset(ones, 0xff, BLK);
	CHECK_EQ(zdev_pwrite(o->next, 1, (2 + 7) * BLK, ones, BLK), BLK);
	atomic_store(&o->bad, true);
	CHECK_EQ(open_device(&d), -EIO);
	atomic_store(&o->bad, false);
	CHECK_EQ(open_device(&d), 0);
	get(&d, 0, 3, 1);
	CHECK_EQ(block_close(d.b), 0);
	free_odd(o);
}

#define MANY		60u

/* A flush does not wait until all zones are reset that a large discard has freed. */
static void test_flush_between_resets(void)
{
	const struct shape s = {
		.zone_blocks = ZONE_BLOCKS, .nr_conv = 20, .nr_seq = MANY + 20, .reserve = 4,
	};
	unsigned before, i;
	struct disk d;
	struct odd *o;
	struct req q;

	rig_watch(WATCH, "many zones to reset");
	o = make_odd(&d, &s);
	o->reset_us = 10000;
	for (i = 0; i < MANY; i++)
		put(&d, i, 0, ZONE_BLOCKS);
	req_start(&d, &q, BLOCK_DISCARD, 0, 0, MANY * ZONE_BLOCKS);
	CHECK_EQ(req_end(&q), MANY * ZONE_BLOCKS * BLK);
	before = atomic_load(&o->resets);
	flush(&d);
	while (atomic_load(&o->resets) == before)
		usleep(100);
	put(&d, MANY, 3, 1);
	flush(&d);
	CHECK(atomic_load(&o->resets) < before + MANY / 2);
	CHECK_EQ(block_close(d.b), 0);
	free_odd(o);
}

/* ---- opened again ---- */

static const struct rig_shape small = {
	.zone_size = ZONE_BLOCKS * BLK, .nr_conv = 6, .nr_seq = 20, .reserve = 4,
	.block_size = BLK,
};
#define SMALL_RANDOM	4u	/* without the sets' */

/*
 * Chunks in zones that can only be read take a random zone each when they are written
 * to, and give it back: all moves to another zone.
 */
static void test_worn_zones(void)
{
	uint8_t *data = malloc(ZONE_BLOCKS * BLK), old[BLK];
	struct rig r;
	uint64_t i;

	rig_watch(WATCH, "chunks in zones that can only be read");
	CHECK(data);
	memset(data, 0x11, ZONE_BLOCKS * BLK);
	rig_create(&r, &small);
	CHECK_EQ(rig_open(&r), 0);
	for (i = 0; i < 2 * SMALL_RANDOM; i++)
		CHECK_EQ(rig_run(&r, BLOCK_WRITE, i * ZONE_BLOCKS * BLK, ZONE_BLOCKS * BLK, data),
			 ZONE_BLOCKS * BLK);
	CHECK_EQ(rig_close(&r), 0);
	CHECK_EQ(rig_open(&r), 0);
	for (i = 0; i < 2 * SMALL_RANDOM; i++)
		CHECK_EQ(zdev_set_cond(r.top[0], small.nr_conv + (uint32_t)i,
				       BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(rig_close(&r), 0);
	CHECK_EQ(rig_open(&r), 0);
	memset(data, 0x22, BLK);
	for (i = 0; i < 2 * SMALL_RANDOM; i++)
		CHECK_EQ(rig_run(&r, BLOCK_WRITE, (i * ZONE_BLOCKS + 3) * BLK, BLK, data), BLK);
	for (i = 0; i < 2 * SMALL_RANDOM; i++) {
		CHECK_EQ(rig_run(&r, BLOCK_READ, (i * ZONE_BLOCKS + 3) * BLK, BLK, old), BLK);
		CHECK(!memcmp(old, data, BLK));
		CHECK_EQ(rig_run(&r, BLOCK_READ, (i * ZONE_BLOCKS + 4) * BLK, BLK, old), BLK);
		CHECK(!memcmp(old, data + BLK, BLK));
	}
	CHECK_EQ(rig_close(&r), 0);
	CHECK_EQ(rig_check(&r).errors, 0);
	rig_free(&r);
	free(data);
}

/* Opened to be read only, a set that was not made equal answers for no other. */
static void test_stale_set(void)
{
	struct zdev_fault fault = { .op = ZDEV_READ, .zno = 0, .err = EIO };
	struct block_opts opts = { .read_only = true };
	uint8_t data[BLK], got[BLK];
	struct zerr e = { "" };
	struct rig r;

	rig_watch(WATCH, "a set that differs");
	memset(data, 0x33, BLK);
	rig_create(&r, &small);
	CHECK_EQ(rig_open(&r), 0);
	CHECK_EQ(rig_run(&r, BLOCK_WRITE, 3 * BLK, BLK, data), BLK);
	CHECK_EQ(rig_close(&r), 0);
	/* The bitmap of zone 2, the first of the random ones: super block and map come first. */
	memset(got, 0, BLK);
	CHECK_EQ(zdev_pwrite(r.medium[0], 1, (2 + 2) * BLK, got, BLK), BLK);
	CHECK_EQ(block_open(rig_devs(&r), &opts, &r.b, &e), 0);
	rig_inject(&r, 0, &fault);
	CHECK_EQ(rig_run(&r, BLOCK_READ, 3 * BLK, BLK, got), -EIO);
	rig_clear(&r);
	CHECK_EQ(rig_run(&r, BLOCK_READ, 3 * BLK, BLK, got), BLK);
	CHECK(!memcmp(got, data, BLK));
	CHECK_EQ(rig_close(&r), 0);
	rig_free(&r);
}

/* ---- zones larger than any that are made ---- */

static void test_huge_zones(void)
{
	static const uint64_t gib[] = { 16, 32 };
	struct shape s = few;
	struct disk d;
	unsigned i;

	for (i = 0; i < sizeof(gib) / sizeof(gib[0]); i++) {
		rig_watch(WATCH, "zones of %u GiB", (unsigned)gib[i]);
		s.zone_blocks = (gib[i] << 30) / BLK;
		open_disk(&d, &s);
		fill_chunks(&d, 0, FEW_RANDOM);
		CHECK_EQ(block_reclaim(d.b, true), 0);
		get(&d, 0, 3, 1);
		CHECK_EQ(block_close(d.b), 0);
	}
}

int main(void)
{
	RUN(test_waits_for_room);
	RUN(test_room_never_comes);
	RUN(test_device_recovers);
	RUN(test_zone_comes_again);
	RUN(test_says_why_nothing_is_free);
	RUN(test_active_zone_busy);
	RUN(test_active_zone_read);
	RUN(test_finished_zone_leaves);
	RUN(test_unreadable_block);
	RUN(test_flush_between_resets);
	RUN(test_worn_zones);
	RUN(test_stale_set);
	RUN(test_huge_zones);
	return 0;
}
