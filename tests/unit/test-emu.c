/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What emulated devices do when the medium is slow or fails: on a medium that
 * does so on demand. (What they do when it works: conformance.c.)
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../src/zdev/emu_i.h"
#include "unit.h"

#define BS	4096u
#define CAP	(16 * BS)
#define NR	6u
#define Z	1u		/* the first sequential zone */

struct fake {
	pthread_mutex_t	lock;		/* guards all of this */
	pthread_cond_t	cond;
	uint64_t	wp[NR];
	char		data[NR][CAP];
	bool		gate[NR];	/* calls on the zone wait while set */
	unsigned	inside[NR], most_inside[NR];	/* writes and commands */
	unsigned	waiting;	/* calls that wait at a gate */
	unsigned	flushes;
	uint64_t	flushed_wp;	/* of the last zone flushed */
	int		fail_write;	/* the next write fails with this, */
	size_t		partial;	/* after so many bytes */
	int		fail_load, fail_reset, fail_flush;
	size_t		short_read;	/* the medium ends here; 0: nowhere */
};

static void enter(struct fake *m, uint32_t zno)
{
	pthread_mutex_lock(&m->lock);
	if (++m->inside[zno] > m->most_inside[zno])
		m->most_inside[zno] = m->inside[zno];
	m->waiting++;
	pthread_cond_broadcast(&m->cond);
	while (m->gate[zno])
		pthread_cond_wait(&m->cond, &m->lock);
	m->waiting--;
}

static int leave(struct fake *m, uint32_t zno, int ret)
{
	m->inside[zno]--;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int fake_load(void *medium, uint32_t zno, struct emu_zone_state *st)
{
	struct fake *m = medium;
	int ret;

	pthread_mutex_lock(&m->lock);
	st->wp = m->wp[zno];
	ret = m->fail_load;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static ssize_t fake_read(void *medium, uint32_t zno, uint64_t pos,
			 const struct iovec *iov, int nr_iov, bool once)
{
	struct fake *m = medium;
	size_t len = iov[0].iov_len;

	enter(m, zno);
	if (m->short_read && pos + len > m->short_read)
		len = m->short_read > pos ? m->short_read - pos : 0;
	memcpy(iov[0].iov_base, m->data[zno] + pos, len);
	leave(m, zno, 0);
	return (ssize_t)len;
}

static ssize_t fake_write(void *medium, uint32_t zno, uint64_t pos,
			  const struct iovec *iov, int nr_iov)
{
	struct fake *m = medium;
	size_t len = iov[0].iov_len;
	int err;

	enter(m, zno);
	err = m->fail_write;
	m->fail_write = 0;
	if (err)
		len = m->partial;
	memcpy(m->data[zno] + pos, iov[0].iov_base, len);
	if (zno >= Z)
		m->wp[zno] = pos + len;
	leave(m, zno, 0);
	return err ? err : (ssize_t)len;
}

static int fake_reset(void *medium, uint32_t zno)
{
	struct fake *m = medium;

	enter(m, zno);
	if (!m->fail_reset)
		m->wp[zno] = 0;
	return leave(m, zno, m->fail_reset);
}

static int fake_finish(void *medium, uint32_t zno)
{
	struct fake *m = medium;

	enter(m, zno);
	m->wp[zno] = CAP;
	return leave(m, zno, 0);
}

static int fake_flush(void *medium, uint32_t zno)
{
	struct fake *m = medium;

	if (zno == ZDEV_ALL_ZONES)
		return 0;
	enter(m, zno);
	m->flushes++;
	m->flushed_wp = m->wp[zno];
	return leave(m, zno, m->fail_flush);
}

static int fake_set_cond(void *medium, uint32_t zno, uint8_t cond)
{
	return 0;
}

static int fake_put_tail(void *medium, uint32_t zno, uint64_t wp, const void *data,
			 size_t len)
{
	return -EOPNOTSUPP;
}

static ssize_t fake_get_tail(void *medium, uint32_t zno, uint64_t wp, void *buf)
{
	return 0;
}

static int fake_close(void *medium)
{
	struct fake *m = medium;

	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->cond);
	free(m);
	return 0;
}

static const struct emu_medium_ops fake_ops = {
	.load = fake_load, .read = fake_read, .write = fake_write,
	.reset = fake_reset, .finish = fake_finish, .flush = fake_flush,
	.set_cond = fake_set_cond, .put_tail = fake_put_tail,
	.get_tail = fake_get_tail, .close = fake_close,
};

static struct zdev *make(struct fake **fake, uint32_t max_open, uint32_t max_active,
			 unsigned workers)
{
	struct fake *m = calloc(1, sizeof(*m));
	struct emu_params p = {
		.ops = &fake_ops, .medium = m, .backend = "fake", .path = "fake",
		.geometry = { .block_size = BS, .zone_size = CAP, .zone_capacity = CAP,
			      .nr_zones = NR, .nr_conv = Z, .max_open = max_open,
			      .max_active = max_active },
		.nr_workers = workers,
	};
	struct zdev *dev;

	CHECK(m != NULL);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
	CHECK_EQ(emu_create(&p, &dev, NULL), 0);
	*fake = m;
	return dev;
}

static void set_gate(struct fake *m, uint32_t zno, bool shut)
{
	pthread_mutex_lock(&m->lock);
	m->gate[zno] = shut;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void wait_for_waiting(struct fake *m, unsigned nr)
{
	pthread_mutex_lock(&m->lock);
	while (m->waiting < nr)
		pthread_cond_wait(&m->cond, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void fail_next_write(struct fake *m, int err, size_t partial)
{
	pthread_mutex_lock(&m->lock);
	m->fail_write = err;
	m->partial = partial;
	pthread_mutex_unlock(&m->lock);
}

static char block[CAP];

/* Operations in flight together. */
struct flight {
	struct zdev_io	io;
	struct iovec	iov;
	atomic_int	*pending;
};

static void landed(struct zdev_io *io)
{
	struct flight *f = io->owner;

	atomic_fetch_sub(f->pending, 1);
}

static void launch(struct zdev *dev, struct flight *f, atomic_int *pending,
		   enum zdev_op op, uint32_t zno, uint64_t pos, size_t len)
{
	*f = (struct flight) {
		.io = { .op = op, .zno = zno, .pos = pos, .iov = &f->iov, .nr_iov = 1,
			.done = landed, .owner = f },
		.iov = { block, len }, .pending = pending,
	};
	atomic_fetch_add(pending, 1);
	zdev_submit(dev, &f->io);
}

static void wait_landed(atomic_int *pending)
{
	while (atomic_load(pending))
		usleep(200);
}

static struct zdev_zone zone(struct zdev *dev, uint32_t zno)
{
	struct zdev_zone z;

	CHECK_EQ(zdev_report(dev, zno, 1, &z), 0);
	return z;
}

static ssize_t put(struct zdev *dev, uint32_t zno, uint64_t pos, size_t len)
{
	return zdev_pwrite(dev, zno, pos, block, len);
}

/* L7: the medium says how far a failed write came; followers are judged by that. */
static void followers_of_a_failed_write_fail(void)
{
	atomic_int pending = 0;
	struct flight f[4];
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 4);

	fail_next_write(m, -EIO, BS);
	set_gate(m, Z, true);
	launch(dev, &f[0], &pending, ZDEV_WRITE, Z, 0, 2 * BS);
	launch(dev, &f[1], &pending, ZDEV_WRITE, Z, 2 * BS, BS);
	launch(dev, &f[2], &pending, ZDEV_WRITE, Z, BS, BS);
	launch(dev, &f[3], &pending, ZDEV_APPEND, Z, 0, BS);
	set_gate(m, Z, false);
	wait_landed(&pending);
	CHECK_EQ(f[0].io.result, -EIO);
	CHECK_EQ(f[1].io.result, -EIO);		/* would leave a hole */
	CHECK_EQ(f[2].io.result, BS);		/* fits what is really there */
	CHECK_EQ(f[3].io.result, BS);
	CHECK_EQ(f[3].io.pos, 2 * BS);
	CHECK_EQ(zone(dev, Z).wp, 3 * BS);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_IMP_OPEN);
	CHECK_EQ(zdev_close(dev), 0);
}

/* L9: recovery must not forget that the zone was open. */
static void a_failure_keeps_the_open_condition(void)
{
	struct fake *m;
	struct zdev *dev = make(&m, 0, 1, 2);

	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z), 0);
	fail_next_write(m, -EIO, 0);
	CHECK_EQ(put(dev, Z, 0, BS), -EIO);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_EXP_OPEN);
	fail_next_write(m, -EIO, BS);
	CHECK_EQ(put(dev, Z, 0, 2 * BS), -EIO);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_EXP_OPEN);
	CHECK_EQ(zone(dev, Z).wp, BS);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z), 0);

	/* Opened by the write alone and nothing written: empty, and no longer active. */
	fail_next_write(m, -EIO, 0);
	CHECK_EQ(put(dev, Z, 0, BS), -EIO);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(put(dev, Z + 1, 0, BS), BS);

	/* A failed write may fill the zone all the same. */
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z + 1), 0);
	fail_next_write(m, -EIO, CAP);
	CHECK_EQ(put(dev, Z, 0, CAP), -EIO);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(put(dev, Z + 1, 0, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void errnos_are_those_of_the_interface(void)
{
	static const struct { int medium, user; } rows[] = {
		{ -EIO, -EIO }, { -ENOSPC, -ENOSPC }, { -EDQUOT, -ENOSPC },
		{ -ENOENT, -EIO }, { -EINVAL, -EIO }, { -EROFS, -EIO }, { -EPERM, -EIO },
	};
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fail_next_write(m, rows[i].medium, 0);
		CHECK_EQ(put(dev, Z, 0, BS), rows[i].user);
	}
	m->fail_reset = -EACCES;
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

/* While the write pointer cannot be read, nothing is guessed. */
static void an_unreadable_write_pointer_is_an_error(void)
{
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);
	struct zdev_zone z;

	m->fail_load = -EIO;
	fail_next_write(m, -EIO, BS);
	CHECK_EQ(put(dev, Z, 0, 2 * BS), -EIO);
	CHECK_EQ(zdev_report(dev, Z, 1, &z), -EIO);
	CHECK_EQ(put(dev, Z, BS, BS), -EIO);
	CHECK_EQ(zdev_get_tail(dev, Z, block), -EIO);
	CHECK_EQ(zdev_report(dev, Z + 1, 1, &z), 0);	/* the others are well */
	m->fail_load = 0;
	CHECK_EQ(zone(dev, Z).wp, BS);
	CHECK_EQ(put(dev, Z, BS, BS), BS);

	/* Neither is a write pointer that cannot be. */
	fail_next_write(m, -EIO, BS + 1);
	CHECK_EQ(put(dev, Z, 2 * BS, 2 * BS), -EIO);
	CHECK_EQ(zdev_report(dev, Z, 1, &z), -EIO);
	pthread_mutex_lock(&m->lock);
	m->wp[Z] = CAP + BS;
	pthread_mutex_unlock(&m->lock);
	CHECK_EQ(zdev_report(dev, Z, 1, &z), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_failed_reset_changes_nothing(void)
{
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);

	CHECK_EQ(put(dev, Z, 0, BS), BS);
	m->fail_reset = -EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z), -EIO);
	CHECK_EQ(zone(dev, Z).wp, BS);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_IMP_OPEN);
	CHECK_EQ(zone(dev, Z).resets, 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_write_in_flight_is_not_reported(void)
{
	atomic_int pending = 0;
	struct flight f;
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);

	set_gate(m, Z, true);
	launch(dev, &f, &pending, ZDEV_WRITE, Z, 0, CAP);
	wait_for_waiting(m, 1);
	CHECK_EQ(zone(dev, Z).wp, 0);
	CHECK(zone(dev, Z).cond != BLK_ZONE_COND_FULL);
	set_gate(m, Z, false);
	wait_landed(&pending);
	CHECK_EQ(zone(dev, Z).wp, CAP);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A zone whose medium hangs holds some workers; the rest serve the others. */
static void a_slow_zone_does_not_stop_the_others(void)
{
	static struct flight writes[64], reads[64], conv[64];
	atomic_int pending = 0;
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 8);
	int i;

	CHECK_EQ(put(dev, Z, 0, BS), BS);
	set_gate(m, Z, true);
	for (i = 0; i < 64; i++) {
		launch(dev, &writes[i], &pending, ZDEV_APPEND, Z, 0, BS);
		launch(dev, &reads[i], &pending, ZDEV_READ, Z, 0, BS);
	}
	wait_for_waiting(m, 5);		/* one write and half of the workers reading */
	CHECK_EQ(put(dev, Z + 1, 0, BS), BS);
	CHECK_EQ(zdev_pread(dev, Z + 2, 0, block, BS), BS);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z + 2), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	pthread_mutex_lock(&m->lock);
	CHECK_EQ(m->waiting, 5);
	pthread_mutex_unlock(&m->lock);
	set_gate(m, Z, false);
	wait_landed(&pending);

	set_gate(m, 0, true);
	for (i = 0; i < 64; i++)
		launch(dev, &conv[i], &pending, ZDEV_WRITE, 0, 0, BS);
	wait_for_waiting(m, 4);
	CHECK_EQ(put(dev, Z + 1, BS, BS), BS);
	set_gate(m, 0, false);
	wait_landed(&pending);
	CHECK(m->most_inside[0] > 1);	/* conventional zones: in parallel */
	CHECK_EQ(zdev_close(dev), 0);
}

/* Closed implicitly while its first write is under way: closed, not empty. */
static void a_zone_may_be_closed_under_its_write(void)
{
	atomic_int pending = 0;
	struct flight f;
	struct fake *m;
	struct zdev *dev = make(&m, 1, 0, 4);

	set_gate(m, Z, true);
	launch(dev, &f, &pending, ZDEV_WRITE, Z, 0, BS);
	wait_for_waiting(m, 1);
	CHECK_EQ(put(dev, Z + 1, 0, BS), BS);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_CLOSED);
	set_gate(m, Z, false);
	wait_landed(&pending);
	CHECK_EQ(f.io.result, BS);
	CHECK_EQ(zone(dev, Z).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(zone(dev, Z).wp, BS);
	CHECK_EQ(zone(dev, Z + 1).cond, BLK_ZONE_COND_IMP_OPEN);

	/* If that write fails with nothing written, the zone is empty again. */
	fail_next_write(m, -EIO, 0);
	set_gate(m, Z + 2, true);
	launch(dev, &f, &pending, ZDEV_WRITE, Z + 2, 0, BS);
	wait_for_waiting(m, 1);
	CHECK_EQ(put(dev, Z, BS, BS), -EIO);	/* takes the failure meant for the other */
	fail_next_write(m, -EIO, 0);
	CHECK_EQ(zone(dev, Z + 2).cond, BLK_ZONE_COND_CLOSED);
	set_gate(m, Z + 2, false);
	wait_landed(&pending);
	CHECK_EQ(f.io.result, -EIO);
	CHECK_EQ(zone(dev, Z + 2).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(zdev_close(dev), 0);
}

static void fua_flushes_after_the_write(void)
{
	struct iovec iov = { block, BS };
	struct zdev_io io = { .op = ZDEV_APPEND, .fua = true, .zno = Z, .iov = &iov,
			      .nr_iov = 1 };
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);

	CHECK_EQ(put(dev, Z, 0, BS), BS);
	CHECK_EQ(m->flushes, 0);
	CHECK_EQ(zdev_run(dev, &io), BS);
	CHECK_EQ(m->flushes, 1);
	CHECK_EQ(m->flushed_wp, 2 * BS);

	/* Written but not durable is an error; what was written is there. */
	m->fail_flush = -EIO;
	CHECK_EQ(zdev_run(dev, &io), -EIO);
	CHECK_EQ(zone(dev, Z).wp, 3 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

/* L9: a short read is completed with zeros, what was read stays. */
static void a_short_read_keeps_its_data(void)
{
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);
	char got[4 * BS];

	memset(block, 'x', sizeof(block));
	CHECK_EQ(put(dev, Z, 0, 4 * BS), 4 * BS);
	m->short_read = BS + 100;
	CHECK_EQ(zdev_pread(dev, Z, 0, got, sizeof(got)), sizeof(got));
	CHECK(!memcmp(got, block, BS + 100));
	CHECK_EQ(got[BS + 100], 0);
	CHECK_EQ(got[4 * BS - 1], 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_medium_without_tails_says_so(void)
{
	struct iovec iov = { block, 5 };
	struct zdev_io io = { .op = ZDEV_PUT_TAIL, .zno = Z, .iov = &iov, .nr_iov = 1 };
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);

	CHECK_EQ(zdev_run(dev, &io), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- many threads ---- */

struct stress {
	struct zdev	*dev;
	unsigned	seed;
};

static void *stress_thread(void *arg)
{
	struct stress *s = arg;
	char buf[2 * BS];
	int i;

	for (i = 0; i < 3000; i++) {
		uint32_t zno = Z + (uint32_t)rand_r(&s->seed) % (NR - Z);
		struct iovec iov = { block, BS };
		struct zdev_io io = { .op = ZDEV_APPEND, .zno = zno, .iov = &iov,
				      .nr_iov = 1 };
		struct zdev_zone z;

		switch (rand_r(&s->seed) % 10) {
		case 0:
			zdev_command(s->dev, ZDEV_RESET, zno);
			break;
		case 1:
			zdev_command(s->dev, ZDEV_CLOSE, zno);
			break;
		case 2:
			zdev_command(s->dev, ZDEV_OPEN, zno);
			break;
		case 3:
			CHECK_EQ(zdev_pread(s->dev, zno, 0, buf, sizeof(buf)),
				 sizeof(buf));
			break;
		case 4:
			z = zone(s->dev, zno);
			CHECK(z.wp <= CAP && !(z.wp % BS));
			break;
		case 5:
			CHECK_EQ(zdev_command(s->dev, ZDEV_FLUSH, zno), 0);
			break;
		default:
			zdev_run(s->dev, &io);
		}
	}
	return NULL;
}

/* Whatever happens at once: limits hold, the medium sees one change at a time. */
static void limits_hold_under_stress(void)
{
	struct stress s[6];
	pthread_t thread[6];
	struct fake *m;
	struct zdev *dev = make(&m, 2, 3, 8);
	struct emu *emu = (struct emu *)dev;
	uint32_t zno, nr_open = 0, nr_active = 0;
	struct zdev_zone z;
	unsigned i;

	for (i = 0; i < 6; i++) {
		s[i] = (struct stress) { .dev = dev, .seed = i };
		CHECK_EQ(pthread_create(&thread[i], NULL, stress_thread, &s[i]), 0);
	}
	for (i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	for (zno = Z; zno < NR; zno++) {
		z = zone(dev, zno);
		CHECK_EQ(z.wp, m->wp[zno]);
		nr_open += z.cond == BLK_ZONE_COND_IMP_OPEN ||
			   z.cond == BLK_ZONE_COND_EXP_OPEN;
		nr_active += z.cond == BLK_ZONE_COND_CLOSED;
	}
	nr_active += nr_open;
	CHECK_EQ(emu->conds.nr_open, nr_open);
	CHECK_EQ(emu->conds.nr_active, nr_active);
	CHECK(nr_open <= 2 && nr_active <= 3);
	CHECK_EQ(zdev_close(dev), 0);
}

/* Idle zones cost what the interface promises, also after use. */
static void idle_zones_have_no_lane(void)
{
	struct fake *m;
	struct zdev *dev = make(&m, 0, 0, 2);
	struct emu *emu = (struct emu *)dev;
	uint32_t zno;

	for (zno = Z; zno < NR; zno++)
		CHECK_EQ(put(dev, zno, 0, BS), BS);
	/* The last worker may still be on its way out. */
	for (zno = Z; zno < NR; zno++) {
		struct emu_lane *lane;

		do {
			pthread_mutex_lock(&emu->lock);
			lane = emu->conds.zones[zno].lane;
			pthread_mutex_unlock(&emu->lock);
		} while (lane);
	}
	CHECK(sizeof(struct emu_zone) <= 32);
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	RUN(followers_of_a_failed_write_fail);
	RUN(a_failure_keeps_the_open_condition);
	RUN(errnos_are_those_of_the_interface);
	RUN(an_unreadable_write_pointer_is_an_error);
	RUN(a_failed_reset_changes_nothing);
	RUN(a_write_in_flight_is_not_reported);
	RUN(a_slow_zone_does_not_stop_the_others);
	RUN(a_zone_may_be_closed_under_its_write);
	RUN(fua_flushes_after_the_write);
	RUN(a_short_read_keeps_its_data);
	RUN(a_medium_without_tails_says_so);
	RUN(limits_hold_under_stress);
	RUN(idle_zones_have_no_lane);
	return 0;
}
