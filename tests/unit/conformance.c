/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of emulated devices as tables: docs/zonefs-rules.md L3 and L5,
 * completed to ZBC and ZNS.
 */
#include <errno.h>
#include <pthread.h>

#include "conformance.h"
#include "unit.h"
#include "zonefsd/latch.h"

#define BS		4096u
#define ZONE_SIZE	(256u * 1024)
#define CAP		(192u * 1024)	/* below the zone size on purpose */
#define NR_CONV		2u
#define Z0		NR_CONV		/* the first sequential zone */

enum {
	E = BLK_ZONE_COND_EMPTY, I = BLK_ZONE_COND_IMP_OPEN,
	X = BLK_ZONE_COND_EXP_OPEN, C = BLK_ZONE_COND_CLOSED,
	F = BLK_ZONE_COND_FULL, R = BLK_ZONE_COND_READONLY,
	O = BLK_ZONE_COND_OFFLINE, N = BLK_ZONE_COND_NOT_WP,
};

static const struct zdev_geometry geometry = {
	.block_size = BS, .zone_size = ZONE_SIZE, .zone_capacity = CAP,
	.nr_zones = 10, .nr_conv = NR_CONV,
};

static char pattern[ZONE_SIZE];

static struct zdev *make(const struct conformance *c)
{
	return c->make(c->ctx, &geometry);
}

static struct zdev_zone zone(struct zdev *dev, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	return z;
}

/* Read, and once more with the hint, which changes nothing but the way. */
static ssize_t read_both(struct zdev *dev, uint32_t zno, uint64_t pos, void *buf, size_t len)
{
	static _Alignas(4096) char again[ZONE_SIZE];
	struct iovec iov = { again, len };
	struct zdev_io io = { .op = ZDEV_READ, .zno = zno, .pos = pos, .iov = &iov, .nr_iov = 1,
			      .once = true };
	ssize_t ret = zdev_pread(dev, zno, pos, buf, len);

	CHECK(len <= sizeof(again));
	CHECK_EQ(zdev_run(dev, &io), ret);
	CHECK(ret < 0 || !memcmp(again, buf, (size_t)ret));
	return ret;
}

static ssize_t append(struct zdev *dev, uint32_t zno, size_t len, uint64_t *pos)
{
	struct iovec iov = { .iov_base = pattern, .iov_len = len };
	struct zdev_io io = { .op = ZDEV_APPEND, .zno = zno, .iov = &iov, .nr_iov = 1,
			      .pos = 12345 };
	ssize_t ret = zdev_run(dev, &io);

	if (pos)
		*pos = io.pos;
	return ret;
}

static ssize_t put_tail(struct zdev *dev, uint32_t zno, uint64_t pos,
			const void *data, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = zno, .pos = pos,
			      .iov = &iov, .nr_iov = len ? 1 : 0 };

	return zdev_run(dev, &io);
}

/* ---- L3, cell by cell ---- */

/* The ways to come to a condition; the starts differ by write pointer. */
enum start { AT_E, AT_I, AT_X, AT_X0, AT_C, AT_F, AT_FINISHED, AT_R, AT_O, NR_STARTS };

static const uint64_t start_wp[NR_STARTS] = {
	[AT_I] = 2 * BS, [AT_X] = 2 * BS, [AT_C] = 2 * BS, [AT_F] = CAP,
	[AT_FINISHED] = CAP, [AT_R] = ZDEV_WP_NONE, [AT_O] = ZDEV_WP_NONE,
};
static const uint8_t start_cond[NR_STARTS] = {
	[AT_E] = E, [AT_I] = I, [AT_X] = X, [AT_X0] = X, [AT_C] = C, [AT_F] = F,
	[AT_FINISHED] = F, [AT_R] = R, [AT_O] = O,
};

static void go_to(struct zdev *dev, uint32_t zno, enum start s)
{
	if (s == AT_X || s == AT_X0)
		CHECK_EQ(zdev_command(dev, ZDEV_OPEN, zno), 0);
	if (s == AT_F)
		CHECK_EQ(zdev_pwrite(dev, zno, 0, pattern, CAP), CAP);
	else if (s != AT_E && s != AT_X0)
		CHECK_EQ(zdev_pwrite(dev, zno, 0, pattern, 2 * BS), 2 * BS);
	if (s == AT_C)
		CHECK_EQ(zdev_command(dev, ZDEV_CLOSE, zno), 0);
	if (s == AT_FINISHED)
		CHECK_EQ(zdev_command(dev, ZDEV_FINISH, zno), 0);
	if (s == AT_R || s == AT_O)
		CHECK_EQ(zdev_set_cond(dev, zno, start_cond[s]), 0);
	CHECK_EQ(zone(dev, zno).cond, start_cond[s]);
	CHECK_EQ(zone(dev, zno).wp, start_wp[s]);
}

enum what {
	WRITE_AT_WP, WRITE_FILL, WRITE_OFF_WP, WRITE_ACROSS, APPEND_FITS, APPEND_FILL,
	APPEND_ACROSS, OPEN, CLOSE, FINISH, RESET, READ, FLUSH, TAIL, NR_WHAT,
};

static ssize_t act(struct zdev *dev, uint32_t zno, enum what w, uint64_t wp)
{
	uint64_t pos;
	ssize_t ret;

	if (wp == ZDEV_WP_NONE)
		wp = 2 * BS;
	switch (w) {
	case WRITE_AT_WP:
		return zdev_pwrite(dev, zno, wp, pattern, BS);
	case WRITE_FILL:
		return zdev_pwrite(dev, zno, wp, pattern, wp < CAP ? CAP - wp : BS);
	case WRITE_OFF_WP:
		return zdev_pwrite(dev, zno, wp < CAP ? wp + BS : 0, pattern, BS);
	case WRITE_ACROSS:
		return zdev_pwrite(dev, zno, wp, pattern, CAP - wp + BS);
	case APPEND_FITS:
	case APPEND_FILL:
		ret = append(dev, zno, w == APPEND_FITS || wp == CAP ? BS : CAP - wp,
			     &pos);
		if (ret > 0)
			CHECK_EQ(pos, wp);
		return ret;
	case APPEND_ACROSS:
		return append(dev, zno, CAP - wp + BS, NULL);
	case OPEN:
		return zdev_command(dev, ZDEV_OPEN, zno);
	case CLOSE:
		return zdev_command(dev, ZDEV_CLOSE, zno);
	case FINISH:
		return zdev_command(dev, ZDEV_FINISH, zno);
	case RESET:
		return zdev_command(dev, ZDEV_RESET, zno);
	case FLUSH:
		return zdev_command(dev, ZDEV_FLUSH, zno);
	case TAIL:
		return put_tail(dev, zno, wp, "tail", 4);
	default:
		return 0;
	}
}

#define SAME	0xff		/* refused or no effect: condition and wp stay */
#define EIO_	(0x100 | SAME)	/* refused with EIO */

/* The condition after; what is refused leaves everything as it was. */
static const uint16_t table[NR_WHAT][NR_STARTS] = {
	/*		     E     I     X     X0    C     F   FINISHED R     O */
	[WRITE_AT_WP]	= { I,    I,    X,    X,    I,    EIO_, EIO_, EIO_, EIO_ },
	[WRITE_FILL]	= { F,    F,    F,    F,    F,    EIO_, EIO_, EIO_, EIO_ },
	[WRITE_OFF_WP]	= { EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_ },
	[WRITE_ACROSS]	= { EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_ },
	[APPEND_FITS]	= { I,    I,    X,    X,    I,    EIO_, EIO_, EIO_, EIO_ },
	[APPEND_FILL]	= { F,    F,    F,    F,    F,    EIO_, EIO_, EIO_, EIO_ },
	[APPEND_ACROSS]	= { EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_, EIO_ },
	[OPEN]		= { X,    X,    X,    X,    X,    EIO_, EIO_, EIO_, EIO_ },
	[CLOSE]		= { EIO_, C,    C,    E,    C,    EIO_, EIO_, EIO_, EIO_ },
	[FINISH]	= { F,    F,    F,    F,    F,    F,    F,    EIO_, EIO_ },
	[RESET]		= { E,    E,    E,    E,    E,    E,    E,    EIO_, EIO_ },
	[FLUSH]		= { SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME },
	[TAIL]		= { SAME, SAME, SAME, SAME, SAME, EIO_, EIO_, EIO_, EIO_ },
};

static uint64_t wp_after(enum what w, uint64_t wp, uint16_t cell)
{
	if ((cell & 0xff) == SAME)
		return wp;
	if (cell == F)
		return CAP;
	if (w == RESET)
		return 0;
	return w == WRITE_AT_WP || w == APPEND_FITS ? wp + BS : wp;
}

static ssize_t result_of(enum what w, uint64_t wp, uint16_t cell)
{
	if (cell == EIO_)
		return -EIO;
	if (w == WRITE_AT_WP || w == APPEND_FITS)
		return BS;
	if (w == WRITE_FILL || w == APPEND_FILL)
		return (ssize_t)(CAP - wp);
	return 0;
}

/* The data must read back up to the write pointer, zeros behind. */
static void check_data(struct zdev *dev, uint32_t zno, uint64_t written)
{
	static char got[ZONE_SIZE];
	uint64_t i;

	memset(got, 0xee, sizeof(got));
	CHECK_EQ(read_both(dev, zno, 0, got, ZONE_SIZE), ZONE_SIZE);
	CHECK(!memcmp(got, pattern, written));
	for (i = written; i < ZONE_SIZE; i++)
		CHECK_EQ(got[i], 0);
}

static void one_cell(const struct conformance *c, enum what w, enum start s)
{
	struct zdev *dev = make(c);
	uint16_t cell = table[w][s];
	uint64_t wp = start_wp[s];
	uint64_t written = wp == ZDEV_WP_NONE || s == AT_FINISHED ? 2 * BS : wp;
	struct zdev_zone z;
	char tail[BS];

	go_to(dev, Z0, s);
	CHECK_EQ(act(dev, Z0, w, wp), result_of(w, wp, cell));
	z = zone(dev, Z0);
	CHECK_EQ(z.cond, (cell & 0xff) == SAME ? start_cond[s] : cell);
	CHECK_EQ(z.wp, wp_after(w, wp, cell));
	if (w == TAIL && cell != EIO_) {
		CHECK_EQ(zdev_get_tail(dev, Z0, tail), 4);
		CHECK(!memcmp(tail, "tail", 4));
	}

	/* Every write stores the pattern from its start. */
	if (s == AT_O)
		CHECK_EQ(read_both(dev, Z0, 0, tail, BS), -EIO);
	else if (w == RESET && cell != EIO_)
		check_data(dev, Z0, 0);
	else if (z.wp == wp || w == FINISH || wp == 0)
		check_data(dev, Z0, w == FINISH || z.wp == wp ? written : z.wp);

	/* The zone beside it knows nothing of all this. */
	CHECK_EQ(zone(dev, Z0 + 1).cond, E);
	check_data(dev, Z0 + 1, 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void condition_table(const struct conformance *c)
{
	int w, s;

	for (w = 0; w < NR_WHAT; w++) {
		if (w == READ)
			continue;
		for (s = 0; s < NR_STARTS; s++)
			one_cell(c, w, s);
	}
}

/* The row "re-add" of L3: opens are not remembered. */
static void conditions_after_reopen(const struct conformance *c)
{
	static const uint8_t after[NR_STARTS] = {
		[AT_E] = E, [AT_I] = C, [AT_X] = C, [AT_X0] = E, [AT_C] = C,
		[AT_F] = F, [AT_FINISHED] = F, [AT_R] = R, [AT_O] = O,
	};
	int s;

	if (!c->reopen)
		return;
	for (s = 0; s < NR_STARTS; s++) {
		struct zdev *dev = make(c);
		struct zdev_zone z;

		go_to(dev, Z0, s);
		dev = c->reopen(c->ctx, dev);
		z = zone(dev, Z0);
		CHECK_EQ(z.cond, after[s]);
		CHECK_EQ(z.wp, start_wp[s]);
		if (s != AT_O)
			check_data(dev, Z0, s == AT_F ? CAP : s == AT_E || s == AT_X0 ?
				   0 : 2 * BS);
		CHECK_EQ(zdev_close(dev), 0);
	}
}

/* ---- conventional zones ---- */

static void conventional_zones(const struct conformance *c)
{
	static const enum zdev_op commands[] = {
		ZDEV_RESET, ZDEV_FINISH, ZDEV_OPEN, ZDEV_CLOSE, ZDEV_PUT_TAIL,
	};
	struct zdev *dev = make(c);
	char buf[2 * BS];
	size_t i;

	CHECK_EQ(zone(dev, 0).cond, N);
	CHECK_EQ(zone(dev, 0).wp, ZDEV_WP_NONE);
	CHECK_EQ(zone(dev, 0).capacity, ZONE_SIZE);
	CHECK_EQ(zone(dev, 0).type, BLK_ZONE_TYPE_CONVENTIONAL);
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		CHECK_EQ(zdev_command(dev, commands[i], 0), -EIO);
	CHECK_EQ(append(dev, 0, BS, NULL), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 0), 0);
	CHECK_EQ(zdev_get_tail(dev, 0, buf), 0);

	/* Anywhere, in any order, over again; also above a sequential capacity. */
	CHECK_EQ(zdev_pwrite(dev, 1, ZONE_SIZE - BS, pattern, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern + BS, BS), BS);
	CHECK_EQ(read_both(dev, 1, 0, buf, 2 * BS), 2 * BS);
	CHECK_EQ(buf[0], 0);
	CHECK(!memcmp(buf + BS, pattern + BS, BS));
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern, BS), BS);
	CHECK_EQ(read_both(dev, 1, BS, buf, BS), BS);
	CHECK(!memcmp(buf, pattern, BS));
	CHECK_EQ(zdev_pwrite(dev, 1, ZONE_SIZE - BS, pattern, 2 * BS), -EINVAL);
	CHECK_EQ(zone(dev, 1).cond, N);

	CHECK_EQ(zdev_set_cond(dev, 1, R), 0);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), -EIO);
	CHECK_EQ(read_both(dev, 1, ZONE_SIZE - BS, buf, BS), BS);
	CHECK(!memcmp(buf, pattern, BS));
	CHECK_EQ(zdev_set_cond(dev, 1, O), 0);
	CHECK_EQ(read_both(dev, 1, 0, buf, BS), -EIO);
	CHECK_EQ(zone(dev, 1).cond, O);
	CHECK_EQ(zdev_set_cond(dev, 1, R), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- many reads at the same time ---- */

#define NR_READS	300u	/* more than any way has room for */

struct one_read {
	struct zdev_io	io;
	struct iovec	iov;
	struct zlatch	*latch;
	char		*buf;
};

static void read_ended(struct zdev_io *io)
{
	struct one_read *r = io->owner;

	zlatch_put(r->latch);
}

/* Conventional zone 0 is the pattern; zone Z0 up to wp, and zeros from there. */
static void check_read(const struct one_read *r, uint64_t wp)
{
	uint64_t i, pos = r->io.pos, end = r->io.zno ? wp : ZONE_SIZE;

	CHECK_EQ(r->io.result, r->iov.iov_len);
	for (i = 0; i < r->iov.iov_len; i++)
		CHECK_EQ(r->buf[i], pos + i < end ? pattern[pos + i] : 0);
}

static void reads_once_run_side_by_side(const struct conformance *c)
{
	struct one_read *r = calloc(NR_READS, sizeof(*r));
	struct zdev *dev = make(c);
	uint64_t wp = 20 * BS;
	struct zlatch latch;
	unsigned i, round;

	CHECK(r != NULL);
	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, ZONE_SIZE), ZONE_SIZE);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, wp), wp);
	for (round = 0; round < 3; round++) {
		zlatch_init(&latch, NR_READS);
		for (i = 0; i < NR_READS; i++) {
			if (!round)
				CHECK(!posix_memalign((void **)&r[i].buf, 4096, 4 * BS));
			r[i].latch = &latch;
			r[i].iov = (struct iovec) { r[i].buf, (1 + i % 4) * BS };
			r[i].io = (struct zdev_io) {
				.op = ZDEV_READ, .once = true, .zno = i % 3 ? Z0 : 0,
				.pos = i * 7 % 40 * BS, .iov = &r[i].iov, .nr_iov = 1,
				.done = read_ended, .owner = &r[i],
			};
			zdev_submit(dev, &r[i].io);
		}
		/* Beside writes in the first round, of flushed data in the last one. */
		if (!round)
			CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, pattern, CAP), CAP);
		zlatch_wait(&latch);
		for (i = 0; i < NR_READS; i++)
			check_read(&r[i], wp);
		CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	}
	CHECK_EQ(zdev_close(dev), 0);
	for (i = 0; i < NR_READS; i++)
		free(r[i].buf);
	free(r);
}

/* ---- what is refused whatever the condition ---- */

static void bad_requests(const struct conformance *c)
{
	struct zdev *dev = make(c);
	struct zdev_zone z[2];

	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, 0), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, BS - 512), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, Z0, 512, pattern, BS), -EINVAL);
	CHECK_EQ(read_both(dev, Z0, 0, pattern, 0), -EINVAL);
	CHECK_EQ(read_both(dev, Z0, 1, pattern, BS), -EINVAL);
	CHECK_EQ(read_both(dev, Z0, ZONE_SIZE, pattern, BS), -EINVAL);
	CHECK_EQ(read_both(dev, Z0, UINT64_MAX - BS + 1, pattern, BS), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, 10, 0, pattern, BS), -EINVAL);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, ZDEV_ALL_ZONES), -EINVAL);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 10), -EINVAL);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_report(dev, 9, 2, z), -EINVAL);
	CHECK_EQ(zdev_report(dev, 10, 0, z), 0);
	CHECK_EQ(zdev_report(dev, UINT32_MAX, 2, z), -EINVAL);
	CHECK_EQ(zdev_get_tail(dev, 10, z), -EINVAL);
	CHECK_EQ(put_tail(dev, Z0, 0, pattern, BS), -EINVAL);
	CHECK_EQ(put_tail(dev, Z0, BS, pattern, 1), -EIO);
	CHECK_EQ(zdev_set_cond(dev, Z0, F), -EINVAL);
	CHECK_EQ(zdev_set_cond(dev, 10, R), -EINVAL);
	CHECK_EQ(zone(dev, Z0).cond, E);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- limits ---- */

static struct zdev *make_limited(const struct conformance *c, uint32_t max_open,
				 uint32_t max_active)
{
	struct zdev_geometry g = geometry;

	g.max_open = max_open;
	g.max_active = max_active;
	return c->make(c->ctx, &g);
}

static ssize_t write_block(struct zdev *dev, uint32_t zno)
{
	return zdev_pwrite(dev, zno, zone(dev, zno).wp, pattern, BS);
}

/* A write at the limit closes the least recently used implicitly open zone. */
static void open_limit_write(const struct conformance *c)
{
	struct zdev *dev = make_limited(c, 2, 0);

	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);
	CHECK_EQ(write_block(dev, Z0), BS);	/* now Z0 + 1 is the oldest */
	CHECK_EQ(write_block(dev, Z0 + 2), BS);
	CHECK_EQ(zone(dev, Z0).cond, I);
	CHECK_EQ(zone(dev, Z0 + 1).cond, C);
	CHECK_EQ(zone(dev, Z0 + 2).cond, I);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);	/* a closed zone needs room too */
	CHECK_EQ(zone(dev, Z0).cond, C);
	CHECK_EQ(zone(dev, Z0 + 1).cond, I);
	CHECK_EQ(zone(dev, Z0 + 1).wp, 2 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* So does an explicit open, unlike zloop's (L5). */
static void open_limit_explicit(const struct conformance *c)
{
	struct zdev *dev = make_limited(c, 2, 0);

	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0 + 1), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0 + 2), 0);
	CHECK_EQ(zone(dev, Z0).cond, C);

	/* All explicitly open: nothing can make room, nothing changes. */
	CHECK_EQ(write_block(dev, Z0), -ETOOMANYREFS);
	CHECK_EQ(append(dev, Z0 + 3, BS, NULL), -ETOOMANYREFS);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0 + 3), -ETOOMANYREFS);
	CHECK_EQ(zone(dev, Z0).cond, C);
	CHECK_EQ(zone(dev, Z0).wp, BS);
	CHECK_EQ(zone(dev, Z0 + 3).cond, E);

	/* What is open already needs no room, and neither does a finish. */
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0 + 1), 0);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 3), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Explicitly opening an implicitly open zone does not change the count. */
static void open_limit_promotion(const struct conformance *c)
{
	struct zdev *dev = make_limited(c, 2, 0);

	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0), 0);
	CHECK_EQ(zone(dev, Z0).cond, X);
	CHECK_EQ(zone(dev, Z0 + 1).cond, I);
	CHECK_EQ(write_block(dev, Z0 + 2), BS);
	CHECK_EQ(zone(dev, Z0 + 1).cond, C);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Every way out of the open conditions frees the room. */
static void open_limit_release(const struct conformance *c)
{
	static const enum what ways[] = { CLOSE, RESET, FINISH, WRITE_FILL };
	struct zdev *dev;
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		dev = make_limited(c, 1, 0);
		CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0), 0);
		CHECK_EQ(write_block(dev, Z0), BS);
		CHECK_EQ(write_block(dev, Z0 + 1), -ETOOMANYREFS);
		CHECK(act(dev, Z0, ways[i], BS) >= 0);
		CHECK_EQ(write_block(dev, Z0 + 1), BS);
		CHECK_EQ(zdev_close(dev), 0);
	}
	dev = make_limited(c, 1, 0);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0, O), 0);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void active_limit(const struct conformance *c)
{
	struct zdev *dev = make_limited(c, 1, 2);

	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);		/* closes Z0 */
	CHECK_EQ(zone(dev, Z0).cond, C);
	CHECK_EQ(write_block(dev, Z0 + 2), -EOVERFLOW);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0 + 2), -EOVERFLOW);
	CHECK_EQ(zone(dev, Z0 + 1).cond, I);		/* not closed for nothing */
	CHECK_EQ(zone(dev, Z0 + 2).cond, E);
	CHECK_EQ(write_block(dev, Z0), BS);		/* active already */
	CHECK_EQ(zdev_command(dev, ZDEV_CLOSE, Z0), 0);	/* closed is still active */
	CHECK_EQ(write_block(dev, Z0 + 2), -EOVERFLOW);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0), 0);
	CHECK_EQ(write_block(dev, Z0 + 2), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Closed zones found at open count as active; there may be more than allowed. */
static void active_limit_after_reopen(const struct conformance *c)
{
	struct zdev *dev;

	if (!c->reopen)
		return;
	dev = make_limited(c, 1, 2);
	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(write_block(dev, Z0 + 1), BS);
	dev = c->reopen(c->ctx, dev);
	CHECK_EQ(zdev_info(dev)->max_open, 1);
	CHECK_EQ(zdev_info(dev)->max_active, 2);
	CHECK_EQ(write_block(dev, Z0 + 2), -EOVERFLOW);
	CHECK_EQ(write_block(dev, Z0), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- tails ---- */

static void tails(const struct conformance *c)
{
	struct zdev *dev = make(c);
	char got[BS], block[BS];

	CHECK_EQ(zdev_get_tail(dev, Z0, got), 0);
	CHECK_EQ(put_tail(dev, Z0, 0, pattern, 100), 0);
	CHECK_EQ(zone(dev, Z0).cond, E);
	CHECK_EQ(zone(dev, Z0).wp, 0);
	check_data(dev, Z0, 0);			/* not visible to reads */
	CHECK_EQ(put_tail(dev, Z0, 0, pattern, BS - 1), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), BS - 1);
	CHECK(!memcmp(got, pattern, BS - 1));
	CHECK_EQ(put_tail(dev, Z0, 0, "abc", 3), 0);	/* replaced, not mixed */
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 3);
	CHECK(!memcmp(got, "abc", 3));
	CHECK_EQ(put_tail(dev, Z0, 0, NULL, 0), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), 0);

	/* A write drops it, whatever its length. */
	CHECK_EQ(put_tail(dev, Z0, 0, "abc", 3), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, BS), BS);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 0);
	CHECK_EQ(put_tail(dev, Z0, BS, "tail", 4), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 4);
	check_data(dev, Z0, BS);

	/* So do reset and finish; a finished zone reads zeros where it was. */
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 0);
	check_data(dev, Z0, BS);
	CHECK_EQ(put_tail(dev, Z0 + 1, 0, "tail", 4), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0 + 1), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0 + 1, got), 0);
	memset(block, 0, sizeof(block));
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, block, BS), BS);
	CHECK_EQ(read_both(dev, Z0 + 1, 0, got, BS), BS);
	CHECK(!memcmp(got, block, BS));
	CHECK_EQ(zdev_close(dev), 0);
}

static void tails_survive_reopen(const struct conformance *c)
{
	struct zdev *dev;
	char got[BS];

	if (!c->reopen)
		return;
	dev = make(c);
	CHECK_EQ(put_tail(dev, Z0, 0, "first", 5), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, pattern, BS), BS);
	CHECK_EQ(put_tail(dev, Z0 + 1, BS, pattern, BS - 1), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 2, 0, pattern, CAP - BS), CAP - BS);
	CHECK_EQ(put_tail(dev, Z0 + 2, CAP - BS, "x", 1), 0);
	CHECK_EQ(put_tail(dev, Z0 + 3, 0, "gone", 4), 0);
	CHECK_EQ(put_tail(dev, Z0 + 3, 0, NULL, 0), 0);
	dev = c->reopen(c->ctx, dev);
	dev = c->reopen(c->ctx, dev);
	CHECK_EQ(zdev_get_tail(dev, Z0, got), 5);
	CHECK(!memcmp(got, "first", 5));
	CHECK_EQ(zdev_get_tail(dev, Z0 + 1, got), BS - 1);
	CHECK(!memcmp(got, pattern, BS - 1));
	CHECK_EQ(zone(dev, Z0 + 1).wp, BS);
	check_data(dev, Z0 + 1, BS);
	CHECK_EQ(zdev_get_tail(dev, Z0 + 2, got), 1);
	CHECK_EQ(zdev_get_tail(dev, Z0 + 3, got), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, BS, pattern + BS, BS), BS);
	dev = c->reopen(c->ctx, dev);
	CHECK_EQ(zdev_get_tail(dev, Z0 + 1, got), 0);
	check_data(dev, Z0 + 1, 2 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- order, several at a time ---- */

#define NR_IO	(CAP / BS)

struct burst {
	pthread_mutex_t	lock;	/* guards the counts */
	pthread_cond_t	cond;
	unsigned	pending;
	unsigned	failed;
	uint64_t	end;	/* of the last completion; they come in order */
};

static void burst_done(struct zdev_io *io)
{
	struct burst *b = io->owner;

	pthread_mutex_lock(&b->lock);
	if (io->result != BS)
		b->failed++;
	else
		CHECK_EQ(io->pos, b->end);
	b->end = io->pos + BS;
	if (!--b->pending)
		pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

/* Submit writes of every block of zno at once; the number that failed. */
static unsigned burst(struct zdev *dev, uint32_t zno, enum zdev_op op, bool fua)
{
	static struct zdev_io io[NR_IO];
	static struct iovec iov[NR_IO];
	struct burst b = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER, .pending = NR_IO };
	unsigned i;

	for (i = 0; i < NR_IO; i++) {
		iov[i] = (struct iovec) { pattern + i * BS, BS };
		io[i] = (struct zdev_io) {
			.op = op, .zno = zno, .pos = i * BS, .iov = &iov[i],
			.nr_iov = 1, .done = burst_done, .owner = &b, .fua = fua,
		};
		zdev_submit(dev, &io[i]);
	}
	pthread_mutex_lock(&b.lock);
	while (b.pending)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
	return b.failed;
}

static void writes_keep_their_order(const struct conformance *c)
{
	struct zdev *dev = make(c);

	CHECK_EQ(burst(dev, Z0, ZDEV_WRITE, false), 0);
	CHECK_EQ(zone(dev, Z0).cond, F);
	check_data(dev, Z0, CAP);
	CHECK_EQ(burst(dev, Z0 + 1, ZDEV_APPEND, false), 0);
	check_data(dev, Z0 + 1, CAP);
	CHECK_EQ(burst(dev, Z0 + 2, ZDEV_WRITE, true), 0);
	check_data(dev, Z0 + 2, CAP);
	CHECK_EQ(burst(dev, Z0, ZDEV_WRITE, false), NR_IO);	/* it is full */
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- copies and discards by the device ---- */

static struct zdev_io copy_io(uint32_t src, uint64_t src_pos, uint32_t zno, uint64_t pos,
			      uint64_t bytes)
{
	return (struct zdev_io) {
		.op = ZDEV_COPY, .zno = zno, .pos = pos, .src_zno = src, .src_pos = src_pos,
		.bytes = bytes,
	};
}

static int copy(struct zdev *dev, uint32_t src, uint64_t src_pos, uint32_t zno, uint64_t pos,
		uint64_t bytes)
{
	struct zdev_io io = copy_io(src, src_pos, zno, pos, bytes);

	return (int)zdev_run(dev, &io);
}

static int discard(struct zdev *dev, uint32_t zno, uint64_t pos, uint64_t bytes)
{
	struct zdev_io io = { .op = ZDEV_DISCARD, .zno = zno, .pos = pos, .bytes = bytes };

	return (int)zdev_run(dev, &io);
}

/* [pos, pos + len) of the zone is the pattern from `from` on. */
static void check_copy(struct zdev *dev, uint32_t zno, uint64_t pos, uint64_t len, uint64_t from)
{
	static char buf[ZONE_SIZE];

	CHECK_EQ(read_both(dev, zno, pos, buf, len), len);
	CHECK(!memcmp(buf, pattern + from, len));
}

static void copies_land_at_the_write_pointer(const struct conformance *c)
{
	struct zdev *dev = make(c);

	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, CAP), CAP);
	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, ZONE_SIZE), ZONE_SIZE);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, pattern, 3 * BS), 3 * BS);
	CHECK_EQ(put_tail(dev, Z0 + 1, 3 * BS, "tail", 4), 0);
	if (copy(dev, Z0, 3 * BS, Z0 + 1, 3 * BS, 5 * BS)) {
		/* Files that cannot share or copy anything are rare, and no fault. */
		printf("    skipped: nothing beneath copies\n");
		CHECK_EQ(copy(dev, Z0, 3 * BS, Z0 + 1, 3 * BS, 5 * BS), -EOPNOTSUPP);
		CHECK_EQ(zone(dev, Z0 + 1).wp, 3 * BS);
		CHECK_EQ(zdev_close(dev), 0);
		return;
	}
	CHECK_EQ(zone(dev, Z0 + 1).wp, 8 * BS);
	CHECK_EQ(zone(dev, Z0 + 1).cond, I);
	check_copy(dev, Z0 + 1, 0, 8 * BS, 0);
	/* The rest, from another kind of zone; then it is full. */
	CHECK_EQ(copy(dev, 0, 8 * BS, Z0 + 1, 8 * BS, CAP - 8 * BS), 0);
	CHECK_EQ(zone(dev, Z0 + 1).cond, F);
	check_data(dev, Z0 + 1, CAP);
	/* Both ways between the kinds, and within a zone. */
	CHECK_EQ(copy(dev, Z0, BS, 1, 7 * BS, 4 * BS), 0);
	check_copy(dev, 1, 7 * BS, 4 * BS, BS);
	CHECK_EQ(copy(dev, 1, 7 * BS, 1, 0, 4 * BS), 0);
	check_copy(dev, 1, 0, 4 * BS, BS);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 2, 0, 2 * BS), 0);
	CHECK_EQ(copy(dev, Z0 + 2, 0, Z0 + 2, 2 * BS, 2 * BS), 0);
	check_copy(dev, Z0 + 2, 2 * BS, 2 * BS, 0);
	if (c->reopen) {
		dev = c->reopen(c->ctx, dev);
		CHECK_EQ(zone(dev, Z0 + 2).wp, 4 * BS);
		check_copy(dev, Z0 + 2, 0, 2 * BS, 0);
		check_copy(dev, 1, 7 * BS, 4 * BS, BS);
		check_data(dev, Z0 + 1, CAP);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

static void copies_follow_the_rules_of_writes(const struct conformance *c)
{
	struct zdev_fault f = { .op = ZDEV_COPY, .zno = Z0 + 1, .err = ENOSPC, .count = 1 };
	struct zdev *dev = make(c);

	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, 8 * BS), 8 * BS);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, pattern, 2 * BS), 2 * BS);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, BS, BS), -EIO);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, 3 * BS, BS), -EIO);
	CHECK_EQ(copy(dev, 0, 0, Z0 + 1, 2 * BS, CAP), -EIO);
	/* Bounds, sizes, overlap. */
	CHECK_EQ(copy(dev, Z0, 0, 0, 0, 0), -EINVAL);
	CHECK_EQ(copy(dev, Z0, 512, 0, 0, BS), -EINVAL);
	CHECK_EQ(copy(dev, Z0, 0, 0, 512, BS), -EINVAL);
	CHECK_EQ(copy(dev, Z0, 0, 0, ZONE_SIZE, BS), -EINVAL);
	CHECK_EQ(copy(dev, 0, ZONE_SIZE, 1, 0, BS), -EINVAL);
	CHECK_EQ(copy(dev, 0, 0, 0, BS, 2 * BS), -EINVAL);
	CHECK_EQ(copy(dev, geometry.nr_zones, 0, 0, 0, BS), -EINVAL);
	CHECK_EQ(copy(dev, 0, 0, geometry.nr_zones, 0, BS), -EINVAL);
	/* Behind the pointer is nothing to copy, though it can be read. */
	CHECK_EQ(copy(dev, Z0, 7 * BS, 0, 0, 2 * BS), -EOPNOTSUPP);
	CHECK_EQ(copy(dev, Z0 + 1, 2 * BS, Z0 + 1, 2 * BS + BS, BS), -EOPNOTSUPP);
	/* Faults: its own, and those that it has to leave to reads and writes. */
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, 2 * BS, BS), -ENOSPC);
	f.op = ZDEV_WRITE;
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, 2 * BS, BS), -EOPNOTSUPP);
	f.err = 0;
	CHECK_EQ(zdev_inject(dev, &f), 0);
	f = (struct zdev_fault) { .op = ZDEV_READ, .zno = Z0, .err = EIO };
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, 2 * BS, BS), -EOPNOTSUPP);
	f.err = 0;
	CHECK_EQ(zdev_inject(dev, &f), 0);
	CHECK_EQ(zone(dev, Z0 + 1).wp, 2 * BS);
	/* Worn zones. */
	CHECK_EQ(zdev_set_cond(dev, Z0 + 1, R), 0);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 1, 2 * BS, BS), -EIO);
	CHECK_EQ(zdev_set_cond(dev, 1, R), 0);
	CHECK_EQ(copy(dev, Z0, 0, 1, 0, BS), -EIO);
	CHECK_EQ(zdev_set_cond(dev, Z0, O), 0);
	CHECK_EQ(copy(dev, Z0, 0, Z0 + 2, 0, BS), -EIO);
	CHECK_EQ(zone(dev, Z0 + 2).wp, 0);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Each in its turn, as if all were writes. */
static void copies_keep_the_order_of_writes(const struct conformance *c)
{
	static struct zdev_io io[NR_IO];
	static struct iovec iov[NR_IO];
	struct burst b = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER, .pending = NR_IO };
	struct zdev *dev = make(c);
	unsigned i;

	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, CAP), CAP);
	for (i = 0; i < NR_IO; i++) {
		iov[i] = (struct iovec) { pattern + i * BS, BS };
		io[i] = copy_io(0, i * BS, Z0, i * BS, BS);
		if (i % 2)
			io[i] = (struct zdev_io) {
				.op = ZDEV_WRITE, .zno = Z0, .pos = i * BS, .iov = &iov[i],
				.nr_iov = 1,
			};
		io[i].done = burst_done;
		io[i].owner = &b;
		zdev_submit(dev, &io[i]);
	}
	pthread_mutex_lock(&b.lock);
	while (b.pending)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
	/* Where nothing copies, all that comes behind the first one fails. */
	if (io[0].result != -EOPNOTSUPP) {
		for (i = 0; i < NR_IO; i++)
			CHECK_EQ(io[i].result, i % 2 ? BS : 0);
		check_data(dev, Z0, CAP);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

static void discards_leave_zeros(const struct conformance *c)
{
	static char buf[ZONE_SIZE];
	struct zdev *dev = make(c);
	unsigned i;
	int ret;

	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, ZONE_SIZE), ZONE_SIZE);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, BS), BS);
	CHECK_EQ(discard(dev, Z0, 0, BS), -EIO);
	CHECK_EQ(discard(dev, 1, 0, 0), -EINVAL);
	CHECK_EQ(discard(dev, 1, 512, BS), -EINVAL);
	CHECK_EQ(discard(dev, 1, ZONE_SIZE - BS, 2 * BS), -EINVAL);
	ret = discard(dev, 1, 3 * BS, 9 * BS);
	CHECK(!ret || ret == -EOPNOTSUPP);
	if (c->reopen)
		dev = c->reopen(c->ctx, dev);
	CHECK_EQ(read_both(dev, 1, 0, buf, ZONE_SIZE), ZONE_SIZE);
	for (i = 0; i < ZONE_SIZE; i++)
		CHECK_EQ(buf[i], !ret && i >= 3 * BS && i < 12 * BS ? 0 : pattern[i]);
	CHECK_EQ(zdev_pwrite(dev, 1, 4 * BS, pattern, BS), BS);
	check_copy(dev, 1, 4 * BS, BS, 0);
	CHECK_EQ(zdev_set_cond(dev, 1, R), 0);
	CHECK_EQ(discard(dev, 1, 0, BS), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

static void resets_are_counted(const struct conformance *c)
{
	struct zdev *dev = make(c);
	int i;

	/* A directory has no place to count them. */
	if (!strcmp(zdev_info(dev)->backend, "dir")) {
		CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, BS), BS);
		CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
		CHECK_EQ(zone(dev, Z0).resets, 0);
		CHECK_EQ(zdev_close(dev), 0);
		return;
	}
	for (i = 1; i <= 3; i++) {
		CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, BS), BS);
		CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
		CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);	/* not a second one */
		CHECK_EQ(zone(dev, Z0).resets, i);
		CHECK_EQ(zone(dev, Z0).wp, 0);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

/* Whatever is reserved, nothing of it is seen. */
static void reservations_change_nothing(const struct conformance *c)
{
	struct zdev *dev = make(c);
	char buf[BS];

	CHECK_EQ(zdev_reserve(dev, 0, 0, BS), -EIO);
	CHECK_EQ(zdev_reserve(dev, geometry.nr_zones, 0, BS), -EINVAL);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, CAP), 0);
	CHECK_EQ(zone(dev, Z0).cond, E);
	CHECK_EQ(zone(dev, Z0).wp, 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, buf), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, pattern, 2 * BS), 2 * BS);
	CHECK_EQ(put_tail(dev, Z0, 2 * BS, "tail", 4), 0);
	/* Odd, before the write pointer, past the capacity, past all bounds. */
	CHECK_EQ(zdev_reserve(dev, Z0, 123, 3 * BS + 7), 0);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, BS), 0);
	CHECK_EQ(zdev_reserve(dev, Z0, CAP - BS, 100 * BS), 0);
	CHECK_EQ(zdev_reserve(dev, Z0, CAP + BS, BS), 0);
	CHECK_EQ(zdev_reserve(dev, Z0, 3 * BS, UINT64_MAX), 0);
	CHECK_EQ(zone(dev, Z0).cond, I);
	CHECK_EQ(zone(dev, Z0).wp, 2 * BS);
	CHECK_EQ(zdev_get_tail(dev, Z0, buf), 4);
	check_data(dev, Z0, 2 * BS);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, 0), 0);
	CHECK_EQ(zdev_get_tail(dev, Z0, buf), 4);
	CHECK_EQ(zdev_pwrite(dev, Z0, 2 * BS, pattern + 2 * BS, CAP - 2 * BS), CAP - 2 * BS);
	check_data(dev, Z0, CAP);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, CAP), 0);	/* full: all of it is there */
	CHECK_EQ(zdev_reserve(dev, Z0 + 1, 0, 4 * BS), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 1), 0);
	CHECK_EQ(zone(dev, Z0 + 1).cond, F);
	CHECK_EQ(read_both(dev, Z0 + 1, CAP - BS, buf, BS), BS);
	CHECK_EQ(buf[BS - 1], 0);
	CHECK_EQ(zdev_set_cond(dev, Z0 + 2, R), 0);
	CHECK_EQ(zdev_reserve(dev, Z0 + 2, 0, BS), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- large aligned writes and others, mixed ---- */

/* What the zone must hold. */
struct shadow {
	char	data[CAP + BS];
	size_t	wp, tail;
};

static unsigned mix_seed = 1;

static unsigned pick(unsigned n)
{
	return (unsigned)rand_r(&mix_seed) % n;
}

static void check_shadow(struct zdev *dev, uint32_t zno, const struct shadow *s)
{
	static char got[CAP];
	size_t pos = s->wp ? pick((unsigned)(s->wp / BS)) * BS : 0;
	char tail[BS];

	if (s->wp) {
		CHECK_EQ(read_both(dev, zno, pos, got, s->wp - pos), s->wp - pos);
		CHECK(!memcmp(got, s->data + pos, s->wp - pos));
	}
	CHECK_EQ(zone(dev, zno).wp, s->wp);
	if (s->wp == CAP)
		return;
	CHECK_EQ(zdev_get_tail(dev, zno, tail), s->tail);
	CHECK(!memcmp(tail, s->data + s->wp, s->tail));
}

static void mix_write(struct zdev *dev, uint32_t zno, struct shadow *s, char *buf)
{
	size_t room = (CAP - s->wp) / BS, n, len, i, shift = pick(3) ? 0 : 8 * (1 + pick(64));
	struct iovec iov[3];
	struct zdev_io io = { .op = ZDEV_APPEND, .zno = zno, .iov = iov };

	n = pick(3) ? 16 + pick(24) : 1 + pick(8);
	len = (n < room ? n : room) * BS;
	for (i = 0; i < len; i++)
		buf[shift + i] = (char)(1 + pick(255));
	memcpy(buf + shift, s->data + s->wp, s->tail);	/* it is completed */
	memcpy(s->data + s->wp, buf + shift, len);
	/* One buffer, or three of any or of whole pages. */
	iov[0] = (struct iovec) { buf + shift, len };
	io.nr_iov = 1;
	if (len > 3 * BS && pick(2)) {
		size_t a = pick(2) ? BS : 1 + pick(BS), b = pick(2) ? BS : 1 + pick(BS);

		iov[0].iov_len = a;
		iov[1] = (struct iovec) { buf + shift + a, b };
		iov[2] = (struct iovec) { buf + shift + a + b, len - a - b };
		io.nr_iov = 3;
	}
	CHECK_EQ(zdev_run(dev, &io), len);
	CHECK_EQ(io.pos, s->wp);
	s->wp += len;
	s->tail = 0;
}

static void mix_tail(struct zdev *dev, uint32_t zno, struct shadow *s)
{
	size_t i;

	s->tail = pick(BS);
	for (i = 0; i < s->tail; i++)
		s->data[s->wp + i] = (char)(1 + pick(255));
	CHECK_EQ(put_tail(dev, zno, s->wp, s->data + s->wp, s->tail), 0);
}

/* The two ways to the medium must not show: any mix reads as it was written. */
static void direct_and_cached_writes_mix(const struct conformance *c)
{
	struct zdev *dev = make(c);
	static struct shadow s;
	char *buf;
	int i;

	s = (struct shadow) { .wp = 0 };
	CHECK(!posix_memalign((void **)&buf, 4096, CAP + BS));
	for (i = 0; i < 400; i++) {
		unsigned what = pick(16);

		if (s.wp == CAP || what == 0) {
			CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
			s.wp = s.tail = 0;
		} else if (what < 10) {
			mix_write(dev, Z0, &s, buf);
		} else if (what < 13) {
			mix_tail(dev, Z0, &s);
		} else if (what == 13) {
			CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), 0);
		} else if (what == 14) {
			CHECK_EQ(zdev_reserve(dev, Z0, s.wp, pick(2) * (1 + pick(CAP))), 0);
		} else if (c->reopen) {
			dev = c->reopen(c->ctx, dev);
		}
		check_shadow(dev, Z0, &s);
	}
	free(buf);
	CHECK_EQ(zdev_close(dev), 0);
}

void conformance_run(const struct conformance *c)
{
	size_t i;

	/* No zero byte: a hole cannot pass for data. */
	for (i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(1 + i % 251);
#define STEP(test) do { printf("  %s\n", #test); fflush(stdout); test(c); } while (0)
	STEP(condition_table);
	STEP(conditions_after_reopen);
	STEP(conventional_zones);
	STEP(reads_once_run_side_by_side);
	STEP(bad_requests);
	STEP(open_limit_write);
	STEP(open_limit_explicit);
	STEP(open_limit_promotion);
	STEP(open_limit_release);
	STEP(active_limit);
	STEP(active_limit_after_reopen);
	STEP(tails);
	STEP(tails_survive_reopen);
	STEP(writes_keep_their_order);
	STEP(copies_land_at_the_write_pointer);
	STEP(copies_follow_the_rules_of_writes);
	STEP(copies_keep_the_order_of_writes);
	STEP(discards_leave_zeros);
	STEP(resets_are_counted);
	STEP(reservations_change_nothing);
	STEP(direct_and_cached_writes_mix);
#undef STEP
}
