/* SPDX-License-Identifier: BSD-2-Clause */
/* The blk backend over a device that checks what real ones refuse. */
#include <errno.h>

#include "fake-zbd.h"
#include "unit.h"

#define BS	4096u
#define ZONE	(1u << 20)
#define CAP	(ZONE - 8 * BS)

static _Alignas(4096) char pattern[2 * ZONE], back[2 * ZONE];

static struct zdev_zone zone(struct zdev *dev, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	return z;
}

static ssize_t run(struct zdev *dev, enum zdev_op op, uint32_t zno, uint64_t pos,
		   struct iovec *iov, int nr, bool fua)
{
	struct zdev_io io = {
		.op = op, .zno = zno, .pos = pos, .iov = iov, .nr_iov = nr, .fua = fua,
	};

	return zdev_run(dev, &io);
}

/* What is in the zone is pattern up to `written`, then zeros. */
static void check_zone(struct zdev *dev, uint32_t zno, uint64_t written)
{
	CHECK_EQ(zdev_pread(dev, zno, 0, back, ZONE), ZONE);
	CHECK(!memcmp(back, pattern, written));
	for (uint64_t i = written; i < ZONE; i++)
		CHECK_EQ(back[i], 0);
}

static void geometry_is_the_devices(void)
{
	struct zdev_zone z[6];
	struct zdev *dev;

	fake_make("scspcs", ZONE, CAP, ZONE / 2);
	dev = fake_open();
	CHECK_EQ(zdev_info(dev)->nr_conv, 2);
	CHECK_EQ(zdev_info(dev)->zone_capacity, CAP);
	CHECK_EQ(zdev_info(dev)->size, 5 * ZONE + ZONE / 2);
	CHECK(!zdev_info(dev)->emulated);
	CHECK_EQ(zdev_report(dev, 0, 6, z), 0);
	CHECK_EQ(z[1].type, BLK_ZONE_TYPE_CONVENTIONAL);
	CHECK(z[1].wp == ZDEV_WP_NONE);
	CHECK_EQ(z[3].type, BLK_ZONE_TYPE_SEQWRITE_PREF);
	CHECK_EQ(z[3].capacity, CAP);
	CHECK_EQ(z[4].capacity, ZONE);
	CHECK_EQ(z[5].size, ZONE / 2);
	CHECK_EQ(z[5].capacity, ZONE / 2);
	/* Conventional zones may stand anywhere, and the last one may be short. */
	CHECK_EQ(zdev_pwrite(dev, 1, 5 * BS, pattern, BS), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), -EIO);
	CHECK_EQ(zdev_pwrite(dev, 5, 0, pattern, ZONE / 2), ZONE / 2);
	CHECK_EQ(zone(dev, 5).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(zdev_pread(dev, 5, ZONE / 2 - BS, back, 2 * BS), -EINVAL);
	CHECK_EQ(zdev_close(dev), 0);
}

static void bad_reports_are_refused(void)
{
	struct zdev *dev;
	struct zerr e;

	fake_make("cs", ZONE, CAP, 0);
	fake_set(1, BLK_ZONE_COND_CLOSED, CAP + BS);
	CHECK_EQ(fake_try_open(false, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "zone 1 has a bad write pointer");
	fake_set(1, BLK_ZONE_COND_CLOSED, 512);
	CHECK_EQ(fake_try_open(false, &dev, &e), -EINVAL);
	fake_set(1, 9, 0);
	CHECK_EQ(fake_try_open(false, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "unknown condition");
	fake_set(1, BLK_ZONE_COND_EMPTY, 0);
	fake.zones[1].capacity = ZONE + BS;
	CHECK_EQ(fake_try_open(false, &dev, &e), -EINVAL);
	CHECK_HAS(e.msg, "bad capacity");
	fake.zones[1].capacity = CAP;
	fake.zones[1].start += BS;
	CHECK_EQ(fake_try_open(false, &dev, &e), -EINVAL);
	fake.zones[1].start -= BS;
	fake.gone = true;
	CHECK_EQ(fake_try_open(false, &dev, &e), -ENXIO);
	CHECK_HAS(e.msg, "zone report");
}

static void large_writes_go_in_pieces(void)
{
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, CAP), CAP);
	CHECK_EQ(fake.largest, 65536);
	CHECK_EQ(fake.writes, (CAP + 65535) / 65536);
	CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_FULL);
	check_zone(dev, 1, CAP);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Buffers on odd addresses, of odd lengths, and many of them, are copied. */
static void buffers_need_no_alignment(void)
{
	struct iovec iov[12];
	struct zdev *dev;
	size_t at = 0;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	for (int i = 0; i < 12; i++) {
		iov[i] = (struct iovec) { pattern + at, i % 2 ? BS + 1 : BS - 1 };
		at += iov[i].iov_len;
	}
	CHECK_EQ(run(dev, ZDEV_APPEND, 1, 0, iov, 12, false), 12 * BS);
	CHECK_EQ(zdev_pwrite(dev, 1, 12 * BS, pattern + 12 * BS, BS), BS);
	check_zone(dev, 1, 13 * BS);
	memset(back, 1, sizeof(back));
	CHECK_EQ(zdev_pread(dev, 1, 0, back + 3, 20 * BS), 20 * BS);
	CHECK(!memcmp(back + 3, pattern, 13 * BS));
	CHECK_EQ(back[3 + 13 * BS], 0);
	CHECK_EQ(back[3 + 20 * BS - 1], 0);
	CHECK_EQ(back[3 + 20 * BS], 1);
	CHECK_EQ(zdev_close(dev), 0);
}

static void misplaced_writes_never_reach_the_device(void)
{
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern, BS), -EIO);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, 100), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, 0), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, 2, 0, pattern, BS), -EINVAL);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, ZONE), -EIO);
	CHECK_EQ(fake.writes, 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 1), 0);
	CHECK_EQ(zdev_pwrite(dev, 1, CAP, pattern, BS), -EIO);
	CHECK_EQ(fake.writes, 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_failed_write_asks_the_device(void)
{
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), BS);
	fake.fail_err = EIO;
	fake.fail_partial = 2 * BS;
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern + BS, 4 * BS), -EIO);
	/* The next one finds out by itself. */
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern + BS, BS), -EIO);
	CHECK_EQ(zone(dev, 1).wp, 3 * BS);
	CHECK_EQ(zdev_pwrite(dev, 1, 3 * BS, pattern + 3 * BS, BS), BS);
	check_zone(dev, 1, 4 * BS);
	/* What io_submit does not take is no different. */
	fake.fail_err = EINVAL;
	fake.fail_refuse = true;
	CHECK_EQ(zdev_pwrite(dev, 1, 4 * BS, pattern, BS), -EIO);
	CHECK_EQ(zdev_pwrite(dev, 1, 4 * BS, pattern + 4 * BS, BS), BS);
	check_zone(dev, 1, 5 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A failed piece of a large write leaves the pieces before it. */
static void a_write_may_fail_half_way(void)
{
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	fake.fail_err = ENODATA;
	fake.fail_skip = 2;
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, CAP), -ENODATA);
	CHECK_EQ(zone(dev, 1).wp, 2 * 65536);
	check_zone(dev, 1, 2 * 65536);
	CHECK_EQ(zdev_close(dev), 0);
}

static void conditions_follow_the_device(void)
{
	struct zdev *dev;

	fake_make("cssss", ZONE, CAP, 0);
	fake.max_open = 2;
	dev = fake_open();
	CHECK_EQ(zdev_command(dev, ZDEV_CLOSE, 1), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, 1), 0);
	CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_EXP_OPEN);
	/* Closed without a write: the device knows what that makes of it. */
	CHECK_EQ(zdev_command(dev, ZDEV_CLOSE, 1), 0);
	CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, 1), 0);
	CHECK_EQ(zdev_pwrite(dev, 2, 0, pattern, BS), BS);
	CHECK_EQ(zone(dev, 2).cond, BLK_ZONE_COND_IMP_OPEN);
	/* The third has the second closed, of which nobody tells us. */
	CHECK_EQ(zdev_pwrite(dev, 3, 0, pattern, BS), BS);
	CHECK_EQ(zone(dev, 2).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, 3), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, 4), -ETOOMANYREFS);
	CHECK_EQ(zdev_pwrite(dev, 4, 0, pattern, BS), -ETOOMANYREFS);
	CHECK_EQ(zone(dev, 4).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 3), 0);
	CHECK_EQ(zone(dev, 3).wp, CAP);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, 3), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 3), 0);
	CHECK_EQ(zone(dev, 3).wp, 0);
	CHECK_EQ(zdev_pwrite(dev, 3, 0, pattern, BS), BS);
	fake.command_err = EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 3), -EIO);
	CHECK_EQ(zone(dev, 3).wp, BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void bad_zones_are_left_alone(void)
{
	struct zdev *dev;

	fake_make("css", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), BS);
	fake_set(1, BLK_ZONE_COND_READONLY, 0);
	CHECK_EQ(zdev_pwrite(dev, 1, BS, pattern, BS), -EIO);
	CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_READONLY);
	CHECK(zone(dev, 1).wp == ZDEV_WP_NONE);
	check_zone(dev, 1, BS);		/* what was written before is there */
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), -EIO);
	CHECK_EQ(fake.commands, 0);
	fake_set(2, BLK_ZONE_COND_OFFLINE, 0);
	CHECK_EQ(zdev_pwrite(dev, 2, 0, pattern, BS), -EIO);
	CHECK_EQ(zone(dev, 2).cond, BLK_ZONE_COND_OFFLINE);
	CHECK_EQ(zdev_pread(dev, 2, 0, back, BS), -EIO);
	/* All ones, as devices say, and what libzbd makes of it in bytes. */
	fake_set(2, BLK_ZONE_COND_OFFLINE, (UINT64_MAX << 9) - 2 * ZONE);
	CHECK(zone(dev, 2).said_wp_sect == UINT64_MAX - 2 * ZONE / 512);
	CHECK(zone(dev, 2).wp == ZDEV_WP_NONE);
	CHECK_EQ(zdev_close(dev), 0);
}

static void reads_of_a_full_zone_reach_the_capacity(void)
{
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 1), 0);
	fake.reads = 0;
	check_zone(dev, 1, BS);
	CHECK_EQ(fake.reads, 1);
	CHECK_EQ(zdev_pread(dev, 1, CAP, back, ZONE - CAP), ZONE - CAP);
	CHECK_EQ(fake.reads, 1);	/* nothing is there to be asked for */
	CHECK_EQ(zdev_close(dev), 0);
}

static void flush_and_fua_reach_the_device(void)
{
	struct iovec iov = { pattern, 2 * BS };
	struct zdev *dev;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(run(dev, ZDEV_WRITE, 1, 0, &iov, 1, true), 2 * BS);
	CHECK_EQ(run(dev, ZDEV_WRITE, 0, 0, &iov, 1, true), 2 * BS);
	CHECK_EQ(fake.fua, 2);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(fake.flushes, 2);
	fake.fail_err = EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_read_only_device_takes_no_change(void)
{
	struct zdev *dev;
	struct zerr e;

	fake_make("cs", ZONE, CAP, 0);
	CHECK_EQ(fake_try_open(true, &dev, &e), 0);
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), 0);
	CHECK_EQ(zdev_pread(dev, 1, 0, back, BS), BS);
	CHECK_EQ(fake.writes + fake.commands + fake.flushes, 0);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- several at a time ---- */

#define NR_IO	(CAP / BS)

struct burst {
	pthread_mutex_t	lock;		/* guards the rest */
	pthread_cond_t	cond;
	unsigned	pending, failed;
	uint64_t	end[FAKE_ZONES];	/* of the last completion in a zone */
};

static void burst_done(struct zdev_io *io)
{
	struct burst *b = io->owner;

	pthread_mutex_lock(&b->lock);
	if (io->result != BS)
		b->failed++;
	else if (io->op != ZDEV_READ)
		CHECK_EQ(io->pos, b->end[io->zno]);
	if (io->result == BS)
		b->end[io->zno] = io->pos + BS;
	if (!--b->pending)
		pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

/* One block after the other to zones first..last, all at once; how many failed. */
static unsigned burst(struct zdev *dev, enum zdev_op op, uint32_t first, uint32_t last)
{
	unsigned nr = NR_IO * (last - first + 1), i;
	struct burst b = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER, .pending = nr };
	struct zdev_io *io = calloc(nr, sizeof(*io));
	struct iovec *iov = calloc(nr, sizeof(*iov));

	CHECK(io && iov);
	for (i = 0; i < nr; i++) {
		uint64_t pos = i / (last - first + 1) * BS;

		iov[i] = (struct iovec) { (op == ZDEV_READ ? back : pattern) + pos, BS };
		io[i] = (struct zdev_io) {
			.op = op, .zno = first + i % (last - first + 1), .pos = pos,
			.iov = &iov[i], .nr_iov = 1, .done = burst_done, .owner = &b,
		};
		zdev_submit(dev, &io[i]);
	}
	pthread_mutex_lock(&b.lock);
	while (b.pending)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
	free(io);
	free(iov);
	return b.failed;
}

static void order_holds_with_few_slots(void)
{
	struct zdev *dev;

	fake_make("cssss", ZONE, CAP, 0);
	fake.depth = 2;
	dev = fake_open();
	CHECK_EQ(burst(dev, ZDEV_APPEND, 1, 3), 0);
	check_zone(dev, 1, CAP);
	check_zone(dev, 3, CAP);
	CHECK_EQ(burst(dev, ZDEV_READ, 1, 1), 0);
	CHECK_EQ(burst(dev, ZDEV_WRITE, 4, 4), 0);
	CHECK_EQ(burst(dev, ZDEV_WRITE, 4, 4), NR_IO);	/* it is full */
	CHECK_EQ(zdev_close(dev), 0);
}

static void those_behind_a_failed_write_fail(void)
{
	struct zdev *dev;
	unsigned failed;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	fake.fail_err = EIO;
	fake.fail_skip = 10;
	failed = burst(dev, ZDEV_WRITE, 1, 1);
	CHECK_EQ(failed, NR_IO - 10);
	CHECK_EQ(zone(dev, 1).wp, 10 * BS);
	check_zone(dev, 1, 10 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_device_that_is_gone_gives_errors(void)
{
	struct zdev *dev;
	struct zdev_zone z;

	fake_make("css", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 1, 0, pattern, BS), BS);
	pthread_mutex_lock(&fake.lock);
	fake.gone = true;
	pthread_mutex_unlock(&fake.lock);
	CHECK_EQ(burst(dev, ZDEV_WRITE, 1, 2), 2 * NR_IO);
	CHECK_EQ(burst(dev, ZDEV_READ, 0, 0), NR_IO);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), -EIO);
	CHECK_EQ(zdev_report(dev, 1, 1, &z), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

struct beside {
	struct zdev	*dev;
	uint32_t	zno;
};

static void *fill_and_reset(void *arg)
{
	struct beside *s = arg;
	_Alignas(4096) char buf[2 * BS];
	struct zdev_zone z;
	int round;
	uint64_t pos;

	for (round = 0; round < 4; round++) {
		for (pos = 0; pos < 32 * BS; pos += 2 * BS) {
			CHECK_EQ(zdev_pwrite(s->dev, s->zno, pos, pattern + pos, 2 * BS), 2 * BS);
			CHECK_EQ(zdev_pread(s->dev, s->zno, pos, buf, 2 * BS), 2 * BS);
			CHECK(!memcmp(buf, pattern + pos, 2 * BS));
			CHECK_EQ(zdev_report(s->dev, s->zno, 1, &z), 0);
			CHECK_EQ(z.wp, pos + 2 * BS);
			CHECK_EQ(zdev_command(s->dev, ZDEV_FLUSH, s->zno), 0);
		}
		CHECK_EQ(zdev_command(s->dev, ZDEV_RESET, s->zno), 0);
	}
	return NULL;
}

static void threads_do_not_meet(void)
{
	struct beside s[6];
	struct zdev_zone z[7];
	pthread_t t[6];
	int i;

	fake_make("csssssss", ZONE, CAP, 0);
	fake.depth = 3;
	s[0].dev = fake_open();
	for (i = 0; i < 6; i++) {
		s[i] = (struct beside) { .dev = s[0].dev, .zno = (uint32_t)i + 1 };
		CHECK_EQ(pthread_create(&t[i], NULL, fill_and_reset, &s[i]), 0);
	}
	for (i = 0; i < 200; i++)
		CHECK_EQ(zdev_report(s[0].dev, 1, 7, z), 0);
	for (i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(zdev_close(s[0].dev), 0);
}

/* The kernel has no copies between block devices; zeros it knows of. */
static void copies_and_discards(void)
{
	struct zdev_io copy = { .op = ZDEV_COPY, .zno = 1, .src_zno = 0, .bytes = BS };
	struct zdev_io discard = { .op = ZDEV_DISCARD, .zno = 0, .pos = BS, .bytes = 2 * BS };
	struct zdev *dev;
	ssize_t ret;

	fake_make("cs", ZONE, CAP, 0);
	dev = fake_open();
	CHECK_EQ(zdev_pwrite(dev, 0, 0, pattern, 4 * BS), 4 * BS);
	CHECK_EQ(zdev_run(dev, &copy), -EOPNOTSUPP);
	copy.bytes = BS + 512;
	CHECK_EQ(zdev_run(dev, &copy), -EINVAL);
	CHECK_EQ(zone(dev, 1).wp, 0);
	ret = zdev_run(dev, &discard);
	CHECK(!ret || ret == -EOPNOTSUPP);
	CHECK_EQ(zdev_pread(dev, 0, 0, back, 4 * BS), 4 * BS);
	CHECK(!memcmp(back, pattern, BS) && !memcmp(back + 3 * BS, pattern + 3 * BS, BS));
	for (unsigned i = BS; i < 3 * BS; i++)
		CHECK_EQ(back[i], ret ? pattern[i] : 0);
	discard.zno = 1;
	CHECK_EQ(zdev_run(dev, &discard), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i * 7 + i / BS + 1);
	RUN(geometry_is_the_devices);
	RUN(bad_reports_are_refused);
	RUN(large_writes_go_in_pieces);
	RUN(buffers_need_no_alignment);
	RUN(copies_and_discards);
	RUN(misplaced_writes_never_reach_the_device);
	RUN(a_failed_write_asks_the_device);
	RUN(a_write_may_fail_half_way);
	RUN(conditions_follow_the_device);
	RUN(bad_zones_are_left_alone);
	RUN(reads_of_a_full_zone_reach_the_capacity);
	RUN(flush_and_fua_reach_the_device);
	RUN(a_read_only_device_takes_no_change);
	RUN(order_holds_with_few_slots);
	RUN(those_behind_a_failed_write_fail);
	RUN(a_device_that_is_gone_gives_errors);
	RUN(threads_do_not_meet);
	fake_end();
	return 0;
}
