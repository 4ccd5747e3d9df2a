/* SPDX-License-Identifier: BSD-2-Clause */
/* See fake-zbd.h. These definitions win over those of the shared libraries. */
#include "fake-zbd.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>

#include "unit.h"


struct fake fake = { .lock = PTHREAD_MUTEX_INITIALIZER };
static char dir[64], path[96];
static uint32_t nr_zones;
static int fake_fd = -1;

void fake_make(const char *types, uint64_t zone_size, uint64_t capacity, uint64_t last_size)
{
	uint32_t i;
	int fd;

	fake_end();
	snprintf(path, sizeof(path), "%s/data", unit_tmpdir(dir, sizeof(dir)));
	nr_zones = (uint32_t)strlen(types);
	CHECK(nr_zones <= FAKE_ZONES);
	memset(fake.zones, 0, sizeof(fake.zones));
	for (i = 0; i < nr_zones; i++) {
		struct zbd_zone *z = &fake.zones[i];

		z->start = i * zone_size;
		z->len = i + 1 == nr_zones && last_size ? last_size : zone_size;
		z->type = types[i] == 'c' ? BLK_ZONE_TYPE_CONVENTIONAL :
			  types[i] == 'p' ? BLK_ZONE_TYPE_SEQWRITE_PREF :
			  BLK_ZONE_TYPE_SEQWRITE_REQ;
		z->capacity = types[i] != 'c' && capacity < z->len ? capacity : z->len;
		z->cond = types[i] == 'c' ? BLK_ZONE_COND_NOT_WP : BLK_ZONE_COND_EMPTY;
		z->wp = z->start;
		fake.size = z->start + z->len;
	}
	fake.zone_size = zone_size;
	fake.block_size = 4096;
	fake.max_write = 65536;
	fake.mem_align = 512;
	fake.depth = 16;
	fake.max_open = 0;
	fake.writes = fake.reads = fake.flushes = fake.fua = fake.commands = fake.reports = 0;
	fake.largest = 0;
	fake.gone = false;
	fake.fail_err = fake.command_err = 0;
	fake.fail_skip = 0;
	fake.fail_refuse = false;
	fake.fail_partial = 0;
	fake.failing = NULL;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, (off_t)fake.size), 0);
	close(fd);
}

void fake_end(void)
{
	if (dir[0])
		unit_rm_tree(dir);
	dir[0] = '\0';
}

int fake_try_open(bool read_only, struct zdev **dev, struct zerr *e)
{
	struct blk_params p = {
		.path = "/dev/fake", .lock_fd = -1, .claim_fd = -1, .size = fake.size,
		.zone_size = fake.zone_size, .nr_zones = nr_zones,
		.block_size = fake.block_size, .max_open = fake.max_open,
		.max_write = fake.max_write, .mem_align = fake.mem_align,
		.depth = fake.depth, .read_only = read_only,
	};
	int ret;

	fake_fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fake_fd < 0 && errno == EINVAL)	/* no direct I/O on this file system */
		fake_fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fake_fd >= 0);
	p.fd = fake_fd;
	ret = blk_create(&p, dev, e);
	if (ret)
		close(fake_fd);
	return ret;
}

struct zdev *fake_open(void)
{
	struct zdev *dev;
	struct zerr e = { "" };
	int ret = fake_try_open(false, &dev, &e);

	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return dev;
}

void fake_set(uint32_t zno, uint8_t cond, uint64_t wp)
{
	pthread_mutex_lock(&fake.lock);
	fake.zones[zno].cond = cond;
	fake.zones[zno].wp = fake.zones[zno].start + wp;
	pthread_mutex_unlock(&fake.lock);
}

/* ---- libzbd ---- */

void zbd_close(int fd)
{
	CHECK_EQ(fd, fake_fd);
	close(fd);
}

int zbd_report_zones(int fd, off_t ofst, off_t len, enum zbd_report_option ro,
		     struct zbd_zone *zones, unsigned *nr)
{
	uint32_t zno = (uint32_t)((uint64_t)ofst / fake.zone_size);
	int ret = 0;

	CHECK_EQ(fd, fake_fd);
	CHECK(*nr && zno + *nr <= nr_zones);
	pthread_mutex_lock(&fake.lock);
	fake.reports++;
	if (fake.gone)
		ret = -ENXIO;
	else
		memcpy(zones, &fake.zones[zno], *nr * sizeof(*zones));
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static unsigned nr_open(void)
{
	unsigned n = 0;
	uint32_t i;

	for (i = 0; i < nr_zones; i++)
		n += fake.zones[i].cond == BLK_ZONE_COND_IMP_OPEN ||
		     fake.zones[i].cond == BLK_ZONE_COND_EXP_OPEN;
	return n;
}

/* At the limit a device closes a zone that a write has opened. */
static int make_room(void)
{
	uint32_t i;

	if (!fake.max_open || nr_open() < fake.max_open)
		return 0;
	for (i = 0; i < nr_zones; i++)
		if (fake.zones[i].cond == BLK_ZONE_COND_IMP_OPEN) {
			fake.zones[i].cond = BLK_ZONE_COND_CLOSED;
			return 0;
		}
	return -ETOOMANYREFS;
}

static int command(struct zbd_zone *z, enum zbd_zone_op op)
{
	int ret = 0;

	if (fake.gone || fake.command_err)
		return fake.gone ? -ENXIO : -fake.command_err;
	CHECK(z->type != BLK_ZONE_TYPE_CONVENTIONAL);
	switch (op) {
	case ZBD_OP_RESET:
		z->wp = z->start;
		z->cond = BLK_ZONE_COND_EMPTY;
		break;
	case ZBD_OP_FINISH:
		z->cond = BLK_ZONE_COND_FULL;
		z->wp = UINT64_MAX;	/* has no meaning */
		break;
	case ZBD_OP_OPEN:
		if (z->cond != BLK_ZONE_COND_IMP_OPEN)
			ret = make_room();
		if (!ret)
			z->cond = BLK_ZONE_COND_EXP_OPEN;
		break;
	case ZBD_OP_CLOSE:	/* as ZNS: never written, yet active */
		z->cond = BLK_ZONE_COND_CLOSED;
		break;
	}
	return ret;
}

int zbd_zones_operation(int fd, enum zbd_zone_op op, off_t ofst, off_t len)
{
	struct zbd_zone *z = &fake.zones[(uint64_t)ofst / fake.zone_size];
	int ret;

	CHECK_EQ(fd, fake_fd);
	CHECK_EQ(ofst, z->start);
	CHECK_EQ(len, z->len);
	pthread_mutex_lock(&fake.lock);
	fake.commands++;
	ret = command(z, op);
	pthread_mutex_unlock(&fake.lock);
	errno = -ret;
	return ret ? -1 : 0;
}

/* ---- libaio ---- */

static struct zbd_zone *zone_of(const struct iocb *cb)
{
	return &fake.zones[(uint64_t)cb->u.c.offset / fake.zone_size];
}

static size_t check_iov(const struct iocb *cb)
{
	const struct iovec *iov = cb->u.c.buf;
	size_t len = 0;
	unsigned i;

	for (i = 0; i < cb->u.c.nbytes; i++) {
		CHECK_EQ((uintptr_t)iov[i].iov_base % fake.mem_align, 0);
		CHECK_EQ(iov[i].iov_len % fake.block_size, 0);
		len += iov[i].iov_len;
	}
	CHECK(len);
	CHECK_EQ((uint64_t)cb->u.c.offset % fake.block_size, 0);
	return len;
}

/* What a sequential zone demands. */
static int check_write(const struct iocb *cb, struct zbd_zone *z)
{
	size_t len = check_iov(cb);
	int ret = 0;

	fake.fua += cb->aio_rw_flags == RWF_DSYNC;
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL)
		return 0;
	CHECK(len <= fake.max_write);
	fake.largest = len > fake.largest ? len : fake.largest;
	if (z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	CHECK_EQ(fake.in_flight[z - fake.zones], 0);
	CHECK_EQ(cb->u.c.offset, z->wp);
	CHECK(z->wp + len <= z->start + z->capacity);
	if (z->cond != BLK_ZONE_COND_IMP_OPEN && z->cond != BLK_ZONE_COND_EXP_OPEN)
		ret = make_room();
	if (!ret && z->cond != BLK_ZONE_COND_EXP_OPEN)
		z->cond = BLK_ZONE_COND_IMP_OPEN;
	return ret;
}

/* The lock is held. 0, or what io_submit says. */
static int arrives(struct iocb *cb)
{
	struct zbd_zone *z;
	int ret = 0;

	if (cb->aio_lio_opcode == IO_CMD_FDSYNC) {
		fake.flushes++;
	} else if (cb->aio_lio_opcode == IO_CMD_PREADV) {
		fake.reads++;
		z = zone_of(cb);
		if (z->type != BLK_ZONE_TYPE_CONVENTIONAL &&
		    z->cond != BLK_ZONE_COND_FULL && z->cond != BLK_ZONE_COND_READONLY)
			CHECK((uint64_t)cb->u.c.offset + check_iov(cb) <= z->wp);
		return fake.gone ? -EIO : 0;
	} else {
		fake.writes++;
		if (!fake.gone)
			ret = check_write(cb, zone_of(cb));
	}
	if (fake.gone || ret)
		return fake.gone ? -EIO : ret;
	if (fake.fail_err && fake.fail_skip) {
		fake.fail_skip--;
	} else if (fake.fail_err && !fake.failing) {
		if (fake.fail_refuse) {
			ret = -fake.fail_err;
			fake.fail_err = 0;
			return ret;
		}
		fake.failing = cb;
	}
	if (cb->aio_lio_opcode == IO_CMD_PWRITEV)
		fake.in_flight[zone_of(cb) - fake.zones]++;
	return 0;
}

int io_submit(io_context_t ctx, long nr, struct iocb **cbs)
{
	int (*real)(io_context_t, long, struct iocb **) = dlsym(RTLD_NEXT, "io_submit");
	int ret;

	CHECK_EQ(nr, 1);
	/* The flush that ends the reaper always goes through. */
	if (cbs[0]->data) {
		pthread_mutex_lock(&fake.lock);
		ret = arrives(cbs[0]);
		pthread_mutex_unlock(&fake.lock);
		if (ret)
			return ret;
	}
	return real(ctx, nr, cbs);
}

/* The lock is held. */
static void leaves(struct io_event *ev)
{
	struct iocb *cb = ev->obj;
	struct zbd_zone *z;
	uint64_t landed = ev->res;
	bool fails = fake.failing == cb;

	if (fails) {
		ev->res = (unsigned long)-fake.fail_err;
		landed = fake.fail_partial;
		fake.failing = NULL;
		fake.fail_err = 0;
	}
	if (cb->aio_lio_opcode != IO_CMD_PWRITEV)
		return;
	z = zone_of(cb);
	fake.in_flight[z - fake.zones]--;
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL)
		return;
	z->wp += landed;
	if (z->wp == z->start + z->capacity) {
		z->cond = BLK_ZONE_COND_FULL;
		z->wp = UINT64_MAX;
	}
}

int io_getevents(io_context_t ctx, long min, long nr, struct io_event *ev, struct timespec *t)
{
	int (*real)(io_context_t, long, long, struct io_event *, struct timespec *) =
		dlsym(RTLD_NEXT, "io_getevents");
	int i, n = real(ctx, min, nr, ev, t);

	pthread_mutex_lock(&fake.lock);
	for (i = 0; i < n; i++)
		if (ev[i].data)
			leaves(&ev[i]);
	pthread_mutex_unlock(&fake.lock);
	return n;
}
