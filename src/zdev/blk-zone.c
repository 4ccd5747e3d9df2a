/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conditions and write pointers of a block device's zones. The device keeps them;
 * here is what was learned from it and what our own operations have made of it
 * since. In doubt the device is asked: after every error, and for a zone that it
 * may have closed on its own to open another one.
 */
#include <errno.h>
#include <inttypes.h>
#include <libzbd/zbd.h>
#include <stdlib.h>

#include "blk_i.h"
#include "zonefsd/units.h"

/* Zones asked for at a time. */
#define REPORT_CHUNK	4096u

/* ---- what the device says ---- */

/* NULL, or what cannot be about zone zno as the device describes it. */
static const char *find_fault(const struct blk *b, uint32_t zno, const struct zbd_zone *zz)
{
	uint64_t bs = b->p.block_size;

	if (zz->start != blk_zone_start(b, zno) || zz->len != blk_zone_size(b, zno))
		return "is not where the zone size says";
	if (zz->type != BLK_ZONE_TYPE_CONVENTIONAL &&
	    zz->type != BLK_ZONE_TYPE_SEQWRITE_REQ && zz->type != BLK_ZONE_TYPE_SEQWRITE_PREF)
		return "is of an unknown type";
	if (!zz->capacity || zz->capacity > zz->len || zz->capacity % bs)
		return "has a bad capacity";
	switch (zz->cond) {
	case BLK_ZONE_COND_NOT_WP:
	case BLK_ZONE_COND_EMPTY:
	case BLK_ZONE_COND_FULL:
	case BLK_ZONE_COND_READONLY:
	case BLK_ZONE_COND_OFFLINE:
		return NULL;
	case BLK_ZONE_COND_IMP_OPEN:
	case BLK_ZONE_COND_EXP_OPEN:
	case BLK_ZONE_COND_CLOSED:
		if (zz->wp < zz->start || zz->wp - zz->start > zz->capacity ||
		    (zz->wp - zz->start) % bs)
			return "has a bad write pointer";
		return NULL;
	default:
		return "is in an unknown condition";
	}
}

/* nr zones from zno on, nr at most REPORT_CHUNK. 0 or -errno. */
static int ask(struct blk *b, uint32_t zno, uint32_t nr, struct zbd_zone *zz)
{
	unsigned got = nr;
	int ret;

	errno = EIO;
	ret = zbd_report_zones(b->p.fd, (off_t)blk_zone_start(b, zno),
			       (off_t)(nr * b->p.zone_size), ZBD_RO_ALL, zz, &got);
	if (ret)
		return ret < -1 ? ret : -errno;
	return got == nr ? 0 : -EIO;
}

/* Take over what the device says of a zone. The lock is held, or nobody else is there. */
static void adopt(struct bzone *z, const struct zbd_zone *zz)
{
	z->cond = (uint8_t)zz->cond;
	z->stale = false;
	switch (z->cond) {
	case BLK_ZONE_COND_EMPTY:
		z->wp = 0;
		break;
	case BLK_ZONE_COND_FULL:
	case BLK_ZONE_COND_NOT_WP:
		z->wp = z->capacity;
		break;
	case BLK_ZONE_COND_READONLY:
	case BLK_ZONE_COND_OFFLINE:
		break;	/* the device has no pointer any more; ours is the last word */
	default:
		z->wp = zz->wp - zz->start;
	}
}

static int load_chunk(struct blk *b, uint32_t zno, uint32_t nr, struct zbd_zone *zz,
		      struct zerr *e)
{
	const char *fault;
	uint32_t i;
	int ret;

	ret = ask(b, zno, nr, zz);
	if (ret)
		return zerr_errno(e, -ret, "%s: zone report", b->path);
	for (i = 0; i < nr; i++) {
		struct bzone *z = &b->zones[zno + i];

		fault = find_fault(b, zno + i, &zz[i]);
		if (fault)
			return zerr_set(e, EINVAL, "%s: zone %" PRIu32 " %s", b->path,
					zno + i, fault);
		z->capacity = zz[i].capacity;
		z->type = (uint8_t)zz[i].type;
		/* A zone that was read-only before: what may be read is the device's to say. */
		z->wp = z->capacity;
		adopt(z, &zz[i]);
	}
	return 0;
}

static void make_conventional(struct blk *b)
{
	uint32_t zno;

	for (zno = 0; zno < b->p.nr_zones; zno++)
		b->zones[zno] = (struct bzone) {
			.capacity = blk_zone_size(b, zno),
			.wp = blk_zone_size(b, zno),
			.type = BLK_ZONE_TYPE_CONVENTIONAL,
			.cond = BLK_ZONE_COND_NOT_WP,
		};
	b->dev.info.nr_conv = b->p.nr_zones;
}

static int load_zones(struct blk *b, struct zerr *e)
{
	struct zdev_info *info = &b->dev.info;
	uint32_t zno, nr, max = b->p.nr_zones < REPORT_CHUNK ? b->p.nr_zones : REPORT_CHUNK;
	struct zbd_zone *zz = calloc(max, sizeof(*zz));
	int ret = zz ? 0 : zerr_errno(e, ENOMEM, "%s", b->path);

	for (zno = 0; zno < b->p.nr_zones && !ret; zno += nr) {
		nr = b->p.nr_zones - zno < max ? b->p.nr_zones - zno : max;
		ret = load_chunk(b, zno, nr, zz, e);
	}
	free(zz);
	for (zno = 0; zno < b->p.nr_zones && !ret; zno++) {
		if (!blk_is_seq(b, zno))
			info->nr_conv++;
		else if (b->zones[zno].capacity > info->zone_capacity)
			info->zone_capacity = b->zones[zno].capacity;
	}
	return ret;
}

int blk_zones_load(struct blk *b, struct zerr *e)
{
	if (!b->p.regular)
		return load_zones(b, e);
	make_conventional(b);
	return 0;
}

int blk_zone_refresh(struct blk *b, uint32_t zno)
{
	struct zbd_zone zz;
	int ret;

	ret = ask(b, zno, 1, &zz);
	if (!ret && (find_fault(b, zno, &zz) || zz.capacity != b->zones[zno].capacity ||
		     zz.type != b->zones[zno].type))
		ret = -EIO;
	if (ret)
		return (int)blk_failed(b, zno, "reading its write pointer", ret);
	pthread_mutex_lock(&b->lock);
	adopt(&b->zones[zno], &zz);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

/* ---- report ---- */

/* The lock is held. */
static void describe(const struct blk *b, uint32_t zno, struct zdev_zone *zone)
{
	const struct bzone *z = &b->zones[zno];

	*zone = (struct zdev_zone) {
		.start = blk_zone_start(b, zno),
		.size = blk_zone_size(b, zno),
		.capacity = z->capacity,
		.wp = z->wp,
		.type = z->type,
		.cond = z->cond,
	};
	if (!blk_is_seq(b, zno) || z->cond == BLK_ZONE_COND_READONLY ||
	    z->cond == BLK_ZONE_COND_OFFLINE)
		zone->wp = ZDEV_WP_NONE;
}

/* For people to read: null_blk's full zone may end at its capacity, others' at its length. */
static bool pointer_tells_nothing(uint8_t cond)
{
	return cond == BLK_ZONE_COND_FULL || cond == BLK_ZONE_COND_READONLY ||
		cond == BLK_ZONE_COND_OFFLINE;
}

/* All ones less the start, often: signed, since libzbd's bytes lack their top bits. */
static uint64_t said_wp_sect(const struct zbd_zone *zz)
{
	return (uint64_t)((int64_t)(zz->wp - zz->start) >> ZU_SECT_SHIFT);
}

/* What is known of one zone will do, unless it is in doubt. */
static bool report_known(struct blk *b, uint32_t zno, struct zdev_zone *zone)
{
	const struct bzone *z = &b->zones[zno];
	bool known;

	pthread_mutex_lock(&b->lock);
	known = !z->stale && z->cond != BLK_ZONE_COND_IMP_OPEN &&
		!pointer_tells_nothing(z->cond);
	if (known)
		describe(b, zno, zone);
	pthread_mutex_unlock(&b->lock);
	return known;
}

/*
 * What the device said stands for the zones that nothing was done to between the
 * question and now. For the others, what our own operations have made of them.
 */
static int settle(struct blk *b, uint32_t zno, uint32_t nr, const struct zbd_zone *zz,
		  const uint32_t *seq, struct zdev_zone *zones)
{
	const char *fault = NULL;
	uint32_t i;

	pthread_mutex_lock(&b->lock);
	for (i = 0; i < nr && !fault; i++) {
		struct bzone *z = &b->zones[zno + i];

		fault = find_fault(b, zno + i, &zz[i]);
		if (!fault && (zz[i].capacity != z->capacity || zz[i].type != z->type))
			fault = "is another one than at the start";
		if (!fault && z->seq == seq[i] && !(seq[i] & 1))
			adopt(z, &zz[i]);
		describe(b, zno + i, &zones[i]);
		if (blk_is_seq(b, zno + i) && z->cond == zz[i].cond &&
		    pointer_tells_nothing(z->cond))
			zones[i].said_wp_sect = said_wp_sect(&zz[i]);
	}
	pthread_mutex_unlock(&b->lock);
	if (!fault)
		return 0;
	zlog(b->p.log, ZLOG_ERR, "%s: zone %" PRIu32 " %s", b->path, zno + i - 1, fault);
	return -EIO;
}

static int report_chunk(struct blk *b, uint32_t zno, uint32_t nr, struct zbd_zone *zz,
			uint32_t *seq, struct zdev_zone *zones)
{
	uint32_t i;
	int ret;

	pthread_mutex_lock(&b->lock);
	for (i = 0; i < nr; i++)
		seq[i] = b->zones[zno + i].seq;
	pthread_mutex_unlock(&b->lock);
	ret = ask(b, zno, nr, zz);
	if (ret)
		return (int)blk_failed(b, zno, "zone report", ret);
	return settle(b, zno, nr, zz, seq, zones);
}

static int report_zones(struct blk *b, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	uint32_t max = nr < REPORT_CHUNK ? nr : REPORT_CHUNK, n;
	struct zbd_zone *zz;
	uint32_t *seq;
	int ret = 0;

	if (!nr || (nr == 1 && report_known(b, zno, zones)))
		return 0;
	zz = calloc(max, sizeof(*zz));
	seq = calloc(max, sizeof(*seq));
	if (!zz || !seq)
		ret = -ENOMEM;
	for (; nr && !ret; zno += n, zones += n, nr -= n) {
		n = nr < max ? nr : max;
		ret = report_chunk(b, zno, n, zz, seq, zones);
	}
	free(seq);
	free(zz);
	return ret;
}

int blk_report(struct zdev *dev, uint32_t zno, uint32_t nr, struct zdev_zone *zones)
{
	struct blk *b = to_blk(dev);
	uint32_t i;

	if (!b->p.regular)
		return report_zones(b, zno, nr, zones);
	/* Nothing of them ever changes. */
	for (i = 0; i < nr; i++)
		describe(b, zno + i, &zones[i]);
	return 0;
}

/* ---- zone commands ---- */

static bool is_open(uint8_t cond)
{
	return cond == BLK_ZONE_COND_IMP_OPEN || cond == BLK_ZONE_COND_EXP_OPEN;
}

int blk_zone_decide(struct blk *b, const struct zdev_io *io)
{
	uint8_t cond;

	pthread_mutex_lock(&b->lock);
	cond = b->zones[io->zno].cond;
	pthread_mutex_unlock(&b->lock);
	if (cond == BLK_ZONE_COND_READONLY || cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	switch (io->op) {
	case ZDEV_FINISH:
		return cond != BLK_ZONE_COND_FULL;
	case ZDEV_OPEN:
		if (cond == BLK_ZONE_COND_FULL)
			return -EIO;
		return cond != BLK_ZONE_COND_EXP_OPEN;
	case ZDEV_CLOSE:
		if (cond == BLK_ZONE_COND_CLOSED)
			return 0;
		return is_open(cond) ? 1 : -EIO;
	case ZDEV_RESERVE:
		return 0;	/* a zone's capacity is its own */
	default:
		return 1;
	}
}

static const struct {
	enum zbd_zone_op op;
	const char	*name;
} commands[] = {
	[ZDEV_RESET] = { ZBD_OP_RESET, "reset" },
	[ZDEV_FINISH] = { ZBD_OP_FINISH, "finish" },
	[ZDEV_OPEN] = { ZBD_OP_OPEN, "open" },
	[ZDEV_CLOSE] = { ZBD_OP_CLOSE, "close" },
};

/* What a command that worked makes of a zone. The lock is held. */
static void command_done(struct blk *b, struct bzone *z, enum zdev_op op)
{
	switch (op) {
	case ZDEV_RESET:
		blk_tail_retire(b, z);
		z->wp = 0;
		z->cond = BLK_ZONE_COND_EMPTY;
		break;
	case ZDEV_FINISH:
		blk_tail_retire(b, z);
		z->wp = z->capacity;
		z->cond = BLK_ZONE_COND_FULL;
		break;
	case ZDEV_OPEN:
		z->cond = BLK_ZONE_COND_EXP_OPEN;
		break;
	default:
		/* A zone never written becomes empty with ZBC, but stays active with ZNS. */
		z->stale = !z->wp;
		z->cond = z->wp ? BLK_ZONE_COND_CLOSED : BLK_ZONE_COND_EMPTY;
	}
}

static void start_change(struct blk *b, struct bzone *z)
{
	pthread_mutex_lock(&b->lock);
	z->seq++;
	pthread_mutex_unlock(&b->lock);
}

int blk_zone_command(struct blk *b, const struct zdev_io *io)
{
	struct bzone *z = &b->zones[io->zno];
	int ret = 0;

	start_change(b, z);
	errno = EIO;
	if (zbd_zones_operation(b->p.fd, commands[io->op].op,
				(off_t)blk_zone_start(b, io->zno),
				(off_t)blk_zone_size(b, io->zno)))
		ret = (int)blk_failed(b, io->zno, commands[io->op].name, -errno);
	pthread_mutex_lock(&b->lock);
	z->seq++;
	if (ret)
		z->stale = true;
	else
		command_done(b, z, io->op);
	pthread_mutex_unlock(&b->lock);
	if (!ret && io->op == ZDEV_RESET)
		ret = blk_tail_clear(b, io->zno);
	return ret;
}

/* ---- writes ---- */

int blk_zone_take_write(struct blk *b, struct zdev_io *io)
{
	struct bzone *z = &b->zones[io->zno];
	int ret = 0;

	pthread_mutex_lock(&b->lock);
	if (io->op == ZDEV_APPEND)
		io->pos = z->wp;
	if (z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE ||
	    z->cond == BLK_ZONE_COND_FULL || io->pos != z->wp ||
	    io->len > z->capacity - io->pos)
		ret = -EIO;
	else
		z->seq++;
	pthread_mutex_unlock(&b->lock);
	return ret;
}

void blk_zone_end_write(struct blk *b, const struct zdev_io *io, ssize_t result)
{
	struct bzone *z = &b->zones[io->zno];

	pthread_mutex_lock(&b->lock);
	z->seq++;
	if (result < 0) {
		z->stale = true;
	} else {
		blk_tail_retire(b, z);
		z->wp = io->pos + io->len;
		if (z->wp == z->capacity)
			z->cond = BLK_ZONE_COND_FULL;
		else if (z->cond != BLK_ZONE_COND_EXP_OPEN)
			z->cond = BLK_ZONE_COND_IMP_OPEN;
	}
	pthread_mutex_unlock(&b->lock);
}
