/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tails: partial last blocks, in four slots a zone.
 *
 * A slot names the write pointer and the reset count that its tail was stored
 * for. Of the slots that match the zone's present ones the one with the largest
 * sequence number counts; all others are void. Within the life of an image a
 * zone never has the same pair of pointer and count twice, except when a power
 * loss or a set_wp takes the pointer back: then all slots that do not match are
 * zeroed before the zone can change, lest they match again later.
 *
 * Tails are written through the page cache, a slot at a time; a kill or a power
 * loss leaves a slot old, new, or torn, and a torn one has a wrong checksum.
 * Three slots must therefore stay untouched:
 *	current	the newest acknowledged tail. A kill goes back to it.
 *	durable	the tail that belongs to the flushed pointer on disk. A power
 *		loss goes back to it, also long after the zone has moved on.
 *	pending	a flush has captured it and may by now have made durable the
 *		pointer that it belongs to: until the flush ends, either this or
 *		the durable one will be needed.
 * which leaves at least one to write the next tail to, without a sync ever.
 *
 *	put	writes to a slot that is none of the three, which becomes
 *		current. It keeps its place as durable or pending, if it had one.
 *	write, reset, finish	move the pointer, then there is no current slot
 *	capture	pending := current, before the flush reads the pointer
 *	settle	durable := pending, after the pointer is durable
 *
 * Example: a tail at W is flushed (slot 0: durable). The block is completed,
 * the pointer W + 1 is not flushed; tails at W + 1 go to slots 1, 2, 1, 2. Power
 * loss: the pointer is W again, slot 0 matches, slots 1 and 2 do not and are
 * zeroed. With a flush under way that has captured slot 2, the next tails go to
 * 1, 3, 1, ...: whether the disk says W or W + 1, its tail is there.
 *
 * Dropping a tail stores one of length 0: also that must win over older slots.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "image_i.h"

/* See image_slot_size(). */
#define MAX_SLOT	8192

union slot_buf {
	struct image_tail head;
	uint8_t		bytes[MAX_SLOT];
};

bool image_tail_valid(const struct image_layout *lay, uint32_t zno,
		      const struct image_tail *t)
{
	uint32_t len = le32toh(t->len);

	return le32toh(t->magic) == IMAGE_TAIL_MAGIC && le32toh(t->zno) == zno &&
	       len < lay->geo.block_size && !t->reserved &&
	       !memcmp(t->uuid, lay->geo.uuid, sizeof(t->uuid)) &&
	       le32toh(t->crc) == image_tail_crc(t, len);
}

static int read_slot(struct image *img, uint32_t zno, unsigned slot, union slot_buf *b)
{
	return image_pread(img->fd, b, image_slot_size(&img->layout),
			   image_slot_offset(&img->layout, zno, slot));
}

/* Is anything stored from slot `first` on up to slot `end`? 1, 0 or -errno. */
static int slots_in_use(struct image *img, uint32_t zno, unsigned first, unsigned end)
{
	uint64_t off = image_slot_offset(&img->layout, zno, first), data_end;

	return image_next_data(img->fd, &off,
			       image_slot_offset(&img->layout, zno, end), &data_end);
}

/* Find the slot that counts for the zone's current pointer. 0 or -errno. */
static int find_current(struct image *img, uint32_t zno, struct image_tail_map *map)
{
	uint64_t resets, seq, best = 0;
	struct image_ptr cur;
	union slot_buf b;
	unsigned slot;
	int ret;

	*map = (struct image_tail_map) {
		.loaded = 1, .current = IMAGE_NO_SLOT, .durable = IMAGE_NO_SLOT,
		.pending = IMAGE_NO_SLOT,
	};
	/* A look for holes spares most zones the reads. */
	ret = slots_in_use(img, zno, 0, IMAGE_TAIL_SLOTS);
	if (ret <= 0)
		return ret;
	ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
	if (!ret)
		ret = image_resets_get(img, zno, &resets);
	for (slot = 0; slot < IMAGE_TAIL_SLOTS && !ret; slot++) {
		ret = read_slot(img, zno, slot, &b);
		if (ret || !image_tail_valid(&img->layout, zno, &b.head) ||
		    le64toh(b.head.wp) != cur.wp || le64toh(b.head.resets) != resets)
			continue;
		seq = le64toh(b.head.seq);
		if (map->current != IMAGE_NO_SLOT && seq < best)
			continue;
		best = seq;
		map->current = slot;
		map->empty = !b.head.len;
	}
	map->durable = map->current;
	return ret;
}

static struct image_tail_map get_map(struct image *img, uint32_t zno)
{
	struct image_tail_map map;

	pthread_mutex_lock(&img->tail_lock);
	map = img->tails[zno];
	pthread_mutex_unlock(&img->tail_lock);
	return map;
}

int image_tail_load(struct image *img, uint32_t zno)
{
	struct image_tail_map map;
	int ret;

	if (image_is_conv(&img->layout, zno) || get_map(img, zno).loaded)
		return 0;
	ret = find_current(img, zno, &map);
	if (ret)
		return ret;
	pthread_mutex_lock(&img->tail_lock);
	/* Someone who reads the tail at the same time has found the same. */
	if (!img->tails[zno].loaded)
		img->tails[zno] = map;
	pthread_mutex_unlock(&img->tail_lock);
	return 0;
}

bool image_tail_exists(struct image *img, uint32_t zno)
{
	struct image_tail_map map = get_map(img, zno);

	return map.current != IMAGE_NO_SLOT && !map.empty;
}

static unsigned free_slot(const struct image_tail_map *map)
{
	unsigned slot = 0;

	while (slot == map->current || slot == map->durable ||
	       (map->captured && slot == map->pending))
		slot++;
	return slot;
}

int image_tail_put(struct image *img, uint32_t zno, uint64_t wp, const void *data,
		   size_t len)
{
	struct image_tail_map map = get_map(img, zno);
	unsigned slot = free_slot(&map);
	union slot_buf b;
	uint64_t resets;
	int ret;

	if (!len && (map.current == IMAGE_NO_SLOT || map.empty))
		return 0;
	ret = image_resets_get(img, zno, &resets);
	if (ret)
		return ret;
	b.head = (struct image_tail) {
		.magic = htole32(IMAGE_TAIL_MAGIC),
		.zno = htole32(zno),
		.len = htole32(len),
		.wp = htole64(wp),
		.resets = htole64(resets),
		.seq = htole64(atomic_fetch_add(&img->tail_seq, 1)),
	};
	memcpy(b.head.uuid, img->layout.geo.uuid, sizeof(b.head.uuid));
	if (len)
		memcpy(b.bytes + sizeof(b.head), data, len);
	b.head.crc = htole32(image_tail_crc(&b.head, len));
	atomic_store(&img->tails_written, true);
	ret = image_pwrite(img->fd, &b, sizeof(b.head) + len,
			   image_slot_offset(&img->layout, zno, slot));
	image_note_cached(img);
	if (ret)
		return ret;

	pthread_mutex_lock(&img->tail_lock);
	img->tails[zno].current = slot;
	img->tails[zno].empty = !len;
	pthread_mutex_unlock(&img->tail_lock);
	image_dirty_set(img, zno);
	return 0;
}

ssize_t image_tail_get(struct image *img, uint32_t zno, uint64_t wp, void *buf)
{
	struct image_tail_map map;
	union slot_buf b;
	int ret;

	ret = image_tail_load(img, zno);
	if (ret)
		return ret;
	map = get_map(img, zno);
	if (map.current == IMAGE_NO_SLOT || map.empty)
		return 0;
	ret = read_slot(img, zno, map.current, &b);
	if (ret)
		return ret;
	if (!image_tail_valid(&img->layout, zno, &b.head))
		return -EIO;
	if (le64toh(b.head.wp) != wp)
		return 0;
	memcpy(buf, b.bytes + sizeof(b.head), le32toh(b.head.len));
	return le32toh(b.head.len);
}

void image_tail_forget(struct image *img, uint32_t zno)
{
	pthread_mutex_lock(&img->tail_lock);
	img->tails[zno].current = IMAGE_NO_SLOT;
	pthread_mutex_unlock(&img->tail_lock);
}

int image_tail_clear(struct image *img, uint32_t zno)
{
	int ret;

	ret = slots_in_use(img, zno, 0, IMAGE_TAIL_SLOTS);
	if (ret > 0)
		ret = image_zero(img->fd, image_slot_offset(&img->layout, zno, 0),
				 IMAGE_TAIL_SLOTS * (uint64_t)image_slot_size(&img->layout));
	image_note_cached(img);
	if (ret)
		return ret;
	pthread_mutex_lock(&img->tail_lock);
	/* A flush that has captured the zone finds nothing to settle. */
	img->tails[zno] = (struct image_tail_map) {
		.loaded = 1, .current = IMAGE_NO_SLOT, .durable = IMAGE_NO_SLOT,
		.pending = IMAGE_NO_SLOT,
	};
	pthread_mutex_unlock(&img->tail_lock);
	return 0;
}

void image_tail_release(struct image *img, uint32_t zno)
{
	unsigned slot;

	for (slot = 0; slot < IMAGE_TAIL_SLOTS; slot++) {
		if (slots_in_use(img, zno, slot, slot + 1))
			continue;
		/* No one reads it before it is written; its writer is not beside us. */
		image_discard(img->fd, image_slot_offset(&img->layout, zno, slot),
			      image_slot_size(&img->layout));
	}
}

void image_tail_capture(struct image *img, uint32_t zno)
{
	struct image_tail_map *map = &img->tails[zno];

	pthread_mutex_lock(&img->tail_lock);
	map->captured = 1;
	map->pending = map->current;
	pthread_mutex_unlock(&img->tail_lock);
}

void image_tail_settle(struct image *img, uint32_t zno, bool durable)
{
	struct image_tail_map *map = &img->tails[zno];

	pthread_mutex_lock(&img->tail_lock);
	if (map->captured && durable)
		map->durable = map->pending;
	map->captured = 0;
	pthread_mutex_unlock(&img->tail_lock);
}

static int trim_zone(struct image *img, uint32_t zno, bool reserved)
{
	struct image_tail_map map;
	unsigned slot;
	int ret;

	ret = find_current(img, zno, &map);
	for (slot = 0; slot < IMAGE_TAIL_SLOTS && !ret; slot++) {
		if (slot == map.current)
			continue;
		ret = reserved ? 1 : slots_in_use(img, zno, slot, slot + 1);
		if (ret > 0)
			ret = image_zero(img->fd,
					 image_slot_offset(&img->layout, zno, slot),
					 image_slot_size(&img->layout));
	}
	return ret;
}

int image_tails_trim(struct image *img, bool reserved)
{
	int (*next)(int, uint64_t *, uint64_t, uint64_t *) =
		reserved ? image_next_allocated : image_next_data;
	const struct image_layout *lay = &img->layout;
	uint64_t end = image_slot_offset(lay, lay->geo.nr_zones, 0);
	uint64_t off = lay->tail_offset, data_end;
	uint64_t step = image_slot_offset(lay, 1, 0) - lay->tail_offset;
	int ret;

	while ((ret = next(img->fd, &off, end, &data_end)) == 1) {
		uint32_t zno = (off - lay->tail_offset) / step;

		ret = trim_zone(img, zno, reserved);
		if (ret)
			return ret;
		off = image_slot_offset(lay, zno + 1, 0);
	}
	return ret;
}
