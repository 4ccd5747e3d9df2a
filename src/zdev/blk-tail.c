/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tails of a block device's zones: slots in a conventional zone 0, behind the
 * super block.
 *
 * A slot names its zone and the write pointer that its tail was stored for, and
 * counts only while the zone's pointer is that. A new tail goes to another slot
 * than the one it replaces, so a kill or a power loss finds one of them whole.
 *
 * A slot whose zone has moved on stays as it is until a flush that began after
 * that has ended: before, a power loss may take the write pointer back there. It
 * must not match by chance later. The pointer of a zone comes back to where it was
 * only through a reset, and a reset clears all slots that name the zone; opening
 * the device clears those that match nothing, whoever moved the pointer. What
 * others wrote up to the very same place is told by the block before the tail.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>
#include <zlib.h>

#include "blk_i.h"
#include "zonefsd/units.h"

#define MAX_BLOCK	4096u
#define SCAN_SIZE	((size_t)1 << 20)

union slot_buf {
	struct blk_tail	head;
	uint8_t		bytes[2 * MAX_BLOCK];
};

static uint32_t crc_of(const void *data, size_t len)
{
	return (uint32_t)crc32(0, data, (uInt)len);
}

static uint64_t slot_pos(const struct blk *b, uint32_t slot)
{
	return BLK_TAIL_SLOTS_POS + (uint64_t)slot * b->tails.slot_size;
}

static int read_at(const struct blk *b, void *buf, size_t len, uint64_t pos)
{
	ssize_t n = pread(b->p.fd, buf, len, (off_t)pos);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

static int write_at(const struct blk *b, const void *buf, size_t len, uint64_t pos)
{
	ssize_t n = pwrite(b->p.fd, buf, len, (off_t)pos);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

/* ---- the head ---- */

static uint32_t head_crc(const struct blk_tail_head *h)
{
	struct blk_tail_head copy = *h;

	copy.crc = 0;
	return crc_of(&copy, sizeof(copy));
}

static int super_crc(const struct blk *b, uint32_t *crc)
{
	_Alignas(MAX_BLOCK) uint8_t super[BLK_TAIL_HEAD_POS];
	int ret = read_at(b, super, sizeof(super), 0);

	*crc = crc_of(super, sizeof(super));
	return ret;
}

/* Once, before the first tail. The caller holds the head_lock. */
static int write_head(struct blk *b)
{
	_Alignas(MAX_BLOCK) uint8_t buf[BLK_TAIL_HEAD_SIZE] = { 0 };
	struct blk_tail_head h = {
		.version = htole32(BLK_TAIL_VERSION),
		.slot_size = htole32(b->tails.slot_size),
		.nr_slots = htole32(b->tails.nr),
	};
	uint32_t crc;
	int ret;

	ret = super_crc(b, &crc);
	if (ret)
		return ret;
	memcpy(h.magic, BLK_TAIL_HEAD_MAGIC, sizeof(h.magic));
	h.super_crc = htole32(crc);
	uuid_generate(b->tails.uuid);
	memcpy(h.uuid, b->tails.uuid, sizeof(h.uuid));
	h.crc = htole32(head_crc(&h));
	memcpy(buf, &h, sizeof(h));
	return write_at(b, buf, sizeof(buf), BLK_TAIL_HEAD_POS);
}

static int need_head(struct blk *b)
{
	int ret = 0;

	pthread_mutex_lock(&b->tails.head_lock);
	if (!b->tails.has_head)
		ret = write_head(b);
	if (!ret)
		b->tails.has_head = true;
	pthread_mutex_unlock(&b->tails.head_lock);
	return ret;
}

/* 1: a sound head of this format; 0: none; -errno. */
static int read_head(struct blk *b)
{
	_Alignas(MAX_BLOCK) uint8_t buf[BLK_TAIL_HEAD_SIZE];
	struct blk_tail_head h;
	uint32_t crc;
	int ret;

	ret = read_at(b, buf, sizeof(buf), BLK_TAIL_HEAD_POS);
	if (!ret)
		ret = super_crc(b, &crc);
	if (ret)
		return ret;
	memcpy(&h, buf, sizeof(h));
	/* A device formatted since has other files. */
	if (memcmp(h.magic, BLK_TAIL_HEAD_MAGIC, sizeof(h.magic)) ||
	    le32toh(h.crc) != head_crc(&h) || le32toh(h.super_crc) != crc)
		return 0;
	if (le32toh(h.version) != BLK_TAIL_VERSION || h.incompat ||
	    le32toh(h.slot_size) != b->tails.slot_size || !h.nr_slots ||
	    le32toh(h.nr_slots) > b->tails.nr)
		return -EINVAL;
	b->tails.nr = le32toh(h.nr_slots);
	memcpy(b->tails.uuid, h.uuid, sizeof(h.uuid));
	return 1;
}

/* ---- slots ---- */

static uint32_t tail_crc(const struct blk_tail *t, const void *data, size_t len)
{
	struct blk_tail copy = *t;

	copy.crc = 0;
	return (uint32_t)crc32(crc_of(&copy, sizeof(copy)), data, (uInt)len);
}

/* buf holds a whole slot. */
static bool is_sound(const struct blk *b, const uint8_t *buf)
{
	struct blk_tail t;
	uint32_t len;

	memcpy(&t, buf, sizeof(t));
	len = le32toh(t.len);
	return le32toh(t.magic) == BLK_TAIL_MAGIC && len && len < b->p.block_size &&
	       !memcmp(t.uuid, b->tails.uuid, sizeof(t.uuid)) &&
	       le32toh(t.zno) < b->p.nr_zones &&
	       le32toh(t.crc) == tail_crc(&t, buf + sizeof(t), len);
}

/* Is a tail for wp of any use in the condition that the zone is in? The lock is held. */
static bool takes_tail(const struct bzone *z, uint64_t wp)
{
	return z->type != BLK_ZONE_TYPE_CONVENTIONAL && z->wp == wp && wp < z->capacity &&
	       z->cond != BLK_ZONE_COND_FULL && z->cond != BLK_ZONE_COND_READONLY &&
	       z->cond != BLK_ZONE_COND_OFFLINE;
}

void blk_tail_retire(struct blk *b, struct bzone *z)
{
	struct blk_tail_slot *s;

	if (!z->tail)
		return;
	s = &b->tails.slots[z->tail - 1];
	s->state = BLK_TAIL_OLD;
	s->stamp = b->tails.flush_begun;
	z->tail = 0;
}

static int clear_slot(struct blk *b, uint32_t slot)
{
	_Alignas(MAX_BLOCK) static const uint8_t zeros[MAX_BLOCK];
	int ret = write_at(b, zeros, b->p.block_size, slot_pos(b, slot));

	if (ret)
		return (int)blk_failed(b, b->tails.slots[slot].zno, "dropping the tail", ret);
	pthread_mutex_lock(&b->lock);
	b->tails.slots[slot].state = BLK_TAIL_UNUSED;
	pthread_mutex_unlock(&b->lock);
	return 0;
}

/* A slot that names the zone, from `from` on; nr when there is none. */
static uint32_t next_of_zone(struct blk *b, uint32_t zno, uint32_t from)
{
	const struct blk_tail_slot *s;
	uint32_t slot;

	pthread_mutex_lock(&b->lock);
	blk_tail_retire(b, &b->zones[zno]);
	for (slot = from; slot < b->tails.nr; slot++) {
		s = &b->tails.slots[slot];
		if (s->zno == zno && s->state == BLK_TAIL_OLD)
			break;
	}
	pthread_mutex_unlock(&b->lock);
	return slot;
}

int blk_tail_clear(struct blk *b, uint32_t zno)
{
	uint32_t slot;
	int ret = 0;

	for (slot = next_of_zone(b, zno, 0); slot < b->tails.nr && !ret;
	     slot = next_of_zone(b, zno, slot + 1))
		ret = clear_slot(b, slot);
	return ret;
}

/* ---- flushes ---- */

/* The lock is held. Numbers of flushes wrap; fewer than 2^31 run at once. */
static bool may_reuse(const struct blk *b, const struct blk_tail_slot *s)
{
	return s->state == BLK_TAIL_UNUSED ||
	       (s->state == BLK_TAIL_OLD && (int32_t)(b->tails.flush_ended - s->stamp) > 0);
}

uint32_t blk_tail_flush_begins(struct blk *b)
{
	uint32_t nr;

	pthread_mutex_lock(&b->lock);
	nr = ++b->tails.flush_begun;
	pthread_mutex_unlock(&b->lock);
	return nr;
}

void blk_tail_flush_ended(struct blk *b, uint32_t nr)
{
	pthread_mutex_lock(&b->lock);
	if ((int32_t)(nr - b->tails.flush_ended) > 0)
		b->tails.flush_ended = nr;
	pthread_mutex_unlock(&b->lock);
}

/* ---- storing ---- */

/* A slot to write to, BUSY now; -1: none. */
static int64_t take_slot(struct blk *b, uint32_t zno)
{
	struct blk_tails *t = &b->tails;
	int64_t slot = -1;
	uint32_t i;

	pthread_mutex_lock(&b->lock);
	for (i = 0; i < t->nr && slot < 0; i++)
		if (may_reuse(b, &t->slots[i]))
			slot = i;
	if (slot >= 0) {
		t->slots[slot].state = BLK_TAIL_BUSY;
		t->slots[slot].zno = zno;
		t->slots[slot].seq = ++t->seq;
	}
	pthread_mutex_unlock(&b->lock);
	return slot;
}

static int64_t get_slot(struct blk *b, uint32_t zno)
{
	int64_t slot = take_slot(b, zno);
	uint32_t nr;

	if (slot >= 0)
		return slot;
	/* Perhaps they only wait for a flush. */
	nr = blk_tail_flush_begins(b);
	if (fdatasync(b->p.fd))
		return blk_failed(b, ZDEV_ALL_ZONES, "flush", -errno);
	blk_tail_flush_ended(b, nr);
	slot = take_slot(b, zno);
	return slot >= 0 ? slot : -EOPNOTSUPP;
}

/* What tells the block before wp from another one: its checksum. */
static int crc_before(const struct blk *b, uint32_t zno, uint64_t wp, uint32_t *crc)
{
	_Alignas(MAX_BLOCK) uint8_t block[MAX_BLOCK];
	int ret;

	*crc = 0;
	if (!wp)
		return 0;
	ret = read_at(b, block, b->p.block_size,
		      blk_zone_start(b, zno) + wp - b->p.block_size);
	if (!ret)
		*crc = crc_of(block, b->p.block_size);
	return ret;
}

/* 0 when a tail for wp may be stored now; *before, if the present one is for it too. */
static int check_put(struct blk *b, const struct zdev_io *io, bool *has_before,
		     uint32_t *before)
{
	const struct bzone *z = &b->zones[io->zno];
	int ret;

	pthread_mutex_lock(&b->lock);
	ret = takes_tail(z, io->pos) ? 0 : -EIO;
	*has_before = z->tail && b->tails.slots[z->tail - 1].wp == io->pos;
	if (*has_before)
		*before = b->tails.slots[z->tail - 1].before;
	pthread_mutex_unlock(&b->lock);
	return ret;
}

static int write_slot(struct blk *b, uint32_t slot, const struct zdev_io *io, uint32_t before)
{
	_Alignas(MAX_BLOCK) union slot_buf buf = { 0 };
	size_t at = sizeof(buf.head);
	int i;

	buf.head = (struct blk_tail) {
		.magic = htole32(BLK_TAIL_MAGIC),
		.seq = htole64(b->tails.slots[slot].seq),
		.wp = htole64(io->pos),
		.zno = htole32(io->zno),
		.len = htole32((uint32_t)io->len),
		.before = htole32(before),
	};
	memcpy(buf.head.uuid, b->tails.uuid, sizeof(buf.head.uuid));
	for (i = 0; i < io->nr_iov; i++) {
		memcpy(buf.bytes + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	buf.head.crc = htole32(tail_crc(&buf.head, buf.bytes + sizeof(buf.head), io->len));
	/* A short tail fits the first block with its head. */
	return write_at(b, &buf, at <= b->p.block_size ? b->p.block_size : b->tails.slot_size,
			slot_pos(b, slot));
}

static void put_done(struct blk *b, uint32_t slot, const struct zdev_io *io, uint32_t before,
		     bool ok)
{
	struct blk_tail_slot *s = &b->tails.slots[slot];
	struct bzone *z = &b->zones[io->zno];

	pthread_mutex_lock(&b->lock);
	s->wp = io->pos;
	s->len = (uint16_t)io->len;
	s->before = before;
	if (ok) {
		blk_tail_retire(b, z);
		s->state = BLK_TAIL_CURRENT;
		z->tail = (uint16_t)(slot + 1);
	} else {
		/* Who knows what is there: it names the zone until it is cleared. */
		s->state = BLK_TAIL_OLD;
		s->stamp = b->tails.flush_begun;
	}
	pthread_mutex_unlock(&b->lock);
}

int blk_tail_put(struct blk *b, const struct zdev_io *io)
{
	uint32_t before = 0;
	bool has_before;
	int64_t slot;
	int ret;

	ret = check_put(b, io, &has_before, &before);
	if (ret)
		return ret;
	if (!io->len)
		return blk_tail_clear(b, io->zno);
	ret = need_head(b);
	if (!ret && !has_before)
		ret = crc_before(b, io->zno, io->pos, &before);
	if (ret)
		return (int)blk_failed(b, io->zno, "storing the tail", ret);
	slot = get_slot(b, io->zno);
	if (slot < 0)
		return (int)slot;
	ret = write_slot(b, (uint32_t)slot, io, before);
	put_done(b, (uint32_t)slot, io, before, !ret);
	return ret ? (int)blk_failed(b, io->zno, "storing the tail", ret) : 0;
}

/* ---- reading ---- */

/* The zone's slot as it is on disk, for wp: its length, 0: none, or -errno. */
static ssize_t read_tail(struct blk *b, uint32_t zno, uint64_t wp, uint32_t slot, void *data)
{
	_Alignas(MAX_BLOCK) union slot_buf buf;
	uint32_t before, len;
	int ret;

	ret = read_at(b, &buf, b->tails.slot_size, slot_pos(b, slot));
	if (!ret && (!is_sound(b, buf.bytes) || le32toh(buf.head.zno) != zno ||
		     le64toh(buf.head.wp) != wp))
		ret = -EIO;
	if (!ret)
		ret = crc_before(b, zno, wp, &before);
	if (ret)
		return blk_failed(b, zno, "reading the tail", ret);
	len = le32toh(buf.head.len);
	if (le32toh(buf.head.before) != before) {
		zlog(b->p.log, ZLOG_WARN, "%s: zone %" PRIu32 ": its partial last block of "
		     "%" PRIu32 " bytes is dropped, others wrote to the zone", b->path, zno, len);
		return 0;
	}
	memcpy(data, buf.bytes + sizeof(buf.head), len);
	return len;
}

ssize_t blk_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	struct blk *b = to_blk(dev);
	const struct bzone *z = &b->zones[zno];
	struct zdev_zone zone;
	uint32_t slot = 0;
	bool found;
	int ret;

	/* Makes a write pointer that is in doubt right. */
	ret = blk_report(dev, zno, 1, &zone);
	if (ret)
		return ret;
	if (zone.cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	pthread_mutex_lock(&b->lock);
	found = z->tail && takes_tail(z, b->tails.slots[z->tail - 1].wp);
	if (found)
		slot = z->tail - 1u;
	pthread_mutex_unlock(&b->lock);
	return found ? read_tail(b, zno, zone.wp, slot, buf) : 0;
}

/* ---- opening ---- */

/* Take slot `slot`, read to buf, into account. Nobody else is there. */
static void meet_slot(struct blk *b, uint32_t slot, const uint8_t *buf)
{
	struct blk_tail_slot *s = &b->tails.slots[slot];
	struct blk_tail t;
	struct bzone *z;

	if (!is_sound(b, buf))
		return;
	memcpy(&t, buf, sizeof(t));
	*s = (struct blk_tail_slot) {
		.wp = le64toh(t.wp), .seq = le64toh(t.seq), .zno = le32toh(t.zno),
		.before = le32toh(t.before), .len = (uint16_t)le32toh(t.len),
		.state = BLK_TAIL_OLD,
	};
	if (s->seq > b->tails.seq)
		b->tails.seq = s->seq;
	z = &b->zones[s->zno];
	if (!takes_tail(z, s->wp) || (z->tail && b->tails.slots[z->tail - 1].seq > s->seq))
		return;
	blk_tail_retire(b, z);
	s->state = BLK_TAIL_CURRENT;
	z->tail = (uint16_t)(slot + 1);
}

static int scan(struct blk *b)
{
	uint32_t step = (uint32_t)(SCAN_SIZE / b->tails.slot_size), slot, i, nr;
	uint8_t *buf = aligned_alloc(MAX_BLOCK, SCAN_SIZE);
	int ret = buf ? 0 : -ENOMEM;

	for (slot = 0; slot < b->tails.nr && !ret; slot += nr) {
		nr = b->tails.nr - slot < step ? b->tails.nr - slot : step;
		ret = read_at(b, buf, (size_t)nr * b->tails.slot_size, slot_pos(b, slot));
		for (i = 0; i < nr && !ret; i++)
			meet_slot(b, slot + i, buf + (size_t)i * b->tails.slot_size);
	}
	free(buf);
	return ret;
}

/* Clear what matches nothing. What replaced it must be durable before. */
static int clear_old(struct blk *b)
{
	bool flushed = false;
	uint32_t slot;
	int ret = 0;

	for (slot = 0; slot < b->tails.nr && !ret; slot++) {
		if (b->tails.slots[slot].state != BLK_TAIL_OLD)
			continue;
		if (!flushed && fdatasync(b->p.fd))
			return -errno;
		flushed = true;
		ret = clear_slot(b, slot);
	}
	return ret;
}

/* How many slots there is room for. */
static uint32_t room(const struct blk *b)
{
	const struct bzone *z = &b->zones[0];
	uint64_t nr;

	/* Nobody but the user writes to a device that has no sequential zones. */
	if (b->p.regular)
		return 0;
	if (z->type != BLK_ZONE_TYPE_CONVENTIONAL || z->cond != BLK_ZONE_COND_NOT_WP ||
	    z->capacity < BLK_TAIL_SLOTS_POS)
		return 0;
	nr = (z->capacity - BLK_TAIL_SLOTS_POS) / b->tails.slot_size;
	return nr < BLK_TAIL_MAX_SLOTS ? (uint32_t)nr : BLK_TAIL_MAX_SLOTS;
}

int blk_tails_load(struct blk *b)
{
	struct blk_tails *t = &b->tails;
	uint32_t zno;
	int ret;

	t->slot_size = 2 * b->p.block_size;
	t->nr = room(b);
	if (!t->nr)
		return 0;
	t->slots = calloc(t->nr, sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	ret = read_head(b);
	t->has_head = ret > 0;
	if (t->has_head)
		ret = scan(b);
	if (t->has_head && !ret && !b->p.read_only)
		ret = clear_old(b);
	if (ret >= 0)
		return 0;
	/* The files are there without; nothing is stored over what is not understood. */
	zlog(b->p.log, ZLOG_WARN, "%s: partial last blocks of zones cannot be kept: %s", b->path,
	     ret == -EINVAL ? "stored by another version" : strerror(-ret));
	for (zno = 0; zno < b->p.nr_zones; zno++)
		b->zones[zno].tail = 0;
	t->nr = 0;
	return 0;
}
