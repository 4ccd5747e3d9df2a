/* SPDX-License-Identifier: BSD-2-Clause */
/* The medium that emu sees: reads, writes and zone commands of an image. */
#include <errno.h>
#include <limits.h>

#include "clone.h"
#include "direct.h"
#include "image_i.h"
#include "room.h"
#include "zonefsd/units.h"

static int image_load(void *m, uint32_t zno, struct emu_zone_state *st)
{
	struct image *img = m;
	struct image_ptr cur;
	int ret;

	ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
	if (!ret)
		ret = image_resets_get(img, zno, &st->resets);
	if (ret)
		return ret;
	st->wp = cur.wp;
	st->cond = cur.cond;
	return 0;
}

static uint64_t zone_bit(uint32_t zno)
{
	return UINT64_C(1) << zno % 64;
}

/*
 * Is nothing of the zone, as far as we know, in the page cache that the disk does not
 * have? A direct read would have to wait until it is written.
 */
static bool is_settled(struct image *img, uint32_t zno)
{
	if (img->read_only)
		return true;
	if (image_is_conv(&img->layout, zno))
		return !atomic_load(&img->cached);
	return !(atomic_load(&img->dirty[zno / 64]) & zone_bit(zno));
}

/*
 * Large reads of sequential zones go past the page cache, as their writes do: to fill
 * pages that the reader's own cache will hold as well costs more than the disk. So do
 * all that are read once. Probing the cache first (RWF_NOWAIT) would start a read
 * ahead of its own.
 */
static bool reads_direct(struct image *img, uint32_t zno, size_t len, bool once)
{
	if (img->direct < 0)
		return false;
	return (len >= DIRECT_MIN && !image_is_conv(&img->layout, zno)) ||
	       (once && is_settled(img, zno));
}

static ssize_t read_either(struct image *img, uint32_t zno, const struct iovec *iov,
			   int nr_iov, size_t len, uint64_t off, bool once)
{
	ssize_t ret;

	/* A read that the write pointer cuts short is less than its iov. */
	if (nr_iov != 1 || iov->iov_len != len || !direct_fits(iov, nr_iov, off) ||
	    !reads_direct(img, zno, len, once))
		return image_readv(img->fd, iov, nr_iov, len, off);
	ret = image_readv(img->direct, iov, nr_iov, len, off);
	if (ret >= 0 || !direct_refused(-(int)ret))
		return ret;
	return image_readv(img->fd, iov, nr_iov, len, off);
}

static ssize_t image_read(void *m, uint32_t zno, uint64_t pos, const struct iovec *iov,
			  int nr_iov, bool once)
{
	struct image *img = m;
	const struct image_layout *lay = &img->layout;
	size_t len = zdev_iov_len(iov, nr_iov);
	uint64_t end = lay->geo.zone_size;
	struct image_ptr cur;
	int ret;

	/* Behind the pointer may lie what a rollback or a failed write left. */
	if (!image_is_conv(lay, zno)) {
		ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
		if (ret)
			return ret;
		end = cur.wp;
	}
	if (pos >= end)
		return 0;
	if (len > end - pos)
		len = end - pos;
	return read_either(img, zno, iov, nr_iov, len, image_zone_offset(lay, zno) + pos, once);
}

static int image_direct_begin(void *m, uint32_t zno, uint64_t pos, const struct iovec *iov,
			      int nr_iov, struct emu_direct *way)
{
	struct image *img = m;
	uint64_t off = image_zone_offset(&img->layout, zno) + pos;

	if (nr_iov > IOV_MAX || !direct_fits(iov, nr_iov, off) ||
	    !reads_direct(img, zno, zdev_iov_len(iov, nr_iov), true))
		return -EOPNOTSUPP;
	*way = (struct emu_direct) { .fd = img->direct, .off = off };
	return 0;
}

static void image_direct_end(void *m, struct emu_direct *way)
{
}

/* The largest piece of memory that the page cache keeps as one. */
#define MAX_FOLIO	(UINT64_C(2) << 20)

/*
 * The kernel drops what is cached of the range of a direct write; what it finds
 * dirty in there after the write it cannot drop, and the next sync is told EIO.
 * One zone's writes come one at a time, so only what is cached together with
 * bytes of another zone can be dirtied meanwhile.
 */
static bool cached_alone(const struct image_layout *lay, uint32_t zno, uint64_t off,
			 size_t len)
{
	uint64_t zone = image_zone_offset(lay, zno);

	return zu_round_down(off, MAX_FOLIO) >= zone &&
	       zu_round_down(off + len + MAX_FOLIO - 1, MAX_FOLIO) <=
	       zone + lay->geo.zone_size;
}

/*
 * Past the page cache what is large and aligned, while the file system lets us. Not
 * on conventional zones: several may write to one place at once.
 */
static bool goes_direct(struct image *img, uint32_t zno, const struct iovec *iov, int nr_iov,
			size_t len, uint64_t off)
{
	size_t least = DIRECT_MIN;

	if (img->direct < 0 || image_is_conv(&img->layout, zno))
		return false;
	/* A zone that was flushed after its last write will be flushed after this one. */
	if (image_syncs_direct(img) &&
	    atomic_load(&img->flushed[zno / 64]) & zone_bit(zno))
		least = DIRECT_MIN_FLUSHED;
	return len >= least && direct_fits(iov, nr_iov, off) &&
	       cached_alone(&img->layout, zno, off, len);
}

static ssize_t write_cached(struct image *img, const struct iovec *iov, int nr_iov,
			    size_t len, uint64_t off)
{
	ssize_t ret = image_writev(img->fd, iov, nr_iov, len, off);

	image_note_cached(img);
	return ret;
}

static ssize_t write_either(struct image *img, uint32_t zno, const struct iovec *iov,
			    int nr_iov, size_t len, uint64_t off)
{
	ssize_t ret;

	if (!goes_direct(img, zno, iov, nr_iov, len, off))
		return write_cached(img, iov, nr_iov, len, off);
	ret = image_writev(img->direct, iov, nr_iov, len, off);
	if (ret >= 0 || !direct_refused(-(int)ret))
		return ret;
	/* Also when a short write ended off the grain: all of it again. */
	return write_cached(img, iov, nr_iov, len, off);
}

/* The data of a write. Zones that were reset may have to give room first. */
static ssize_t write_data(struct image *img, uint32_t zno, uint64_t pos,
			  const struct iovec *iov, int nr_iov, size_t len)
{
	uint64_t off = image_zone_offset(&img->layout, zno) + pos;
	ssize_t ret;

	ret = write_either(img, zno, iov, nr_iov, len, off);
	if (ret == -ENOSPC && image_make_room(img))
		ret = write_either(img, zno, iov, nr_iov, len, off);
	return ret;
}

/* Before anything new is stored in a zone: where its write pointer is. 0 or -errno. */
static int change_zone(struct image *img, uint32_t zno, struct image_ptr *cur)
{
	int ret = image_prepare(img, zno);

	return ret ? ret : image_ptr_get(img, zno, IMAGE_CURRENT, cur);
}

/* Before len bytes are put into a conventional zone. 0 or -errno. */
static int begin_conv(struct image *img, uint64_t pos, uint64_t len)
{
	uint64_t size = img->layout.geo.zone_size;
	int ret;

	ret = image_begin_change(img);
	if (ret)
		return ret;
	return pos > size || len > size - pos ? -EINVAL : 0;
}

/* The same of a sequential zone, whose pointer is *cur then. */
static int begin_seq(struct image *img, uint32_t zno, uint64_t pos, uint64_t len,
		     struct image_ptr *cur)
{
	int ret;

	ret = change_zone(img, zno, cur);
	if (ret)
		return ret;
	return pos != cur->wp || len > img->layout.geo.zone_capacity - pos ? -EIO : 0;
}

/* The zone's data reaches up to wp now. */
static void end_seq(struct image *img, uint32_t zno, struct image_ptr *cur, uint64_t wp)
{
	cur->wp = wp;
	image_ptr_set(img, zno, IMAGE_CURRENT, cur);
	image_tail_forget(img, zno);
	atomic_fetch_and(&img->flushed[zno / 64], ~zone_bit(zno));
	image_dirty_set(img, zno);
}

static ssize_t image_write(void *m, uint32_t zno, uint64_t pos, const struct iovec *iov,
			   int nr_iov)
{
	struct image *img = m;
	bool conv = image_is_conv(&img->layout, zno);
	size_t len = zdev_iov_len(iov, nr_iov);
	struct image_ptr cur;
	ssize_t ret;

	ret = conv ? begin_conv(img, pos, len) : begin_seq(img, zno, pos, len, &cur);
	if (!ret)
		ret = write_data(img, zno, pos, iov, nr_iov, len);
	if (ret >= 0 && !conv)
		end_seq(img, zno, &cur, pos + len);
	return ret;
}

/* ---- without data ---- */

/* What of it is there after a failure does not count: the pointer says so. */
static int clone_data(struct image *img, uint32_t zno, uint64_t pos, uint32_t src,
		      uint64_t src_pos, uint64_t len, bool share_only)
{
	uint64_t from = image_zone_offset(&img->layout, src) + src_pos;
	uint64_t to = image_zone_offset(&img->layout, zno) + pos;
	uint64_t done;
	int ret;

	ret = clone_range(img->fd, from, img->fd, to, len, share_only, &done);
	if (ret == -ENOSPC && image_make_room(img))
		ret = clone_range(img->fd, from, img->fd, to, len, share_only, &done);
	if (ret != -EOPNOTSUPP)
		image_note_cached(img);
	return ret;
}

static int image_copy(void *m, uint32_t zno, uint64_t pos, uint32_t src, uint64_t src_pos,
		      uint64_t len, bool share_only)
{
	struct image *img = m;
	bool conv = image_is_conv(&img->layout, zno);
	struct image_ptr cur;
	int ret;

	ret = conv ? begin_conv(img, pos, len) : begin_seq(img, zno, pos, len, &cur);
	if (!ret)
		ret = clone_data(img, zno, pos, src, src_pos, len, share_only);
	if (!ret && !conv)
		end_seq(img, zno, &cur, pos + len);
	return ret;
}

static int image_discard_op(void *m, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct image *img = m;
	int ret;

	ret = begin_conv(img, pos, len);
	if (ret)
		return ret;
	ret = room_punch(img->fd, image_zone_offset(&img->layout, zno) + pos, len);
	image_note_cached(img);
	return ret;
}

/* ---- reserved space ---- */

static bool is_reserved(struct image *img, uint32_t zno)
{
	return atomic_load(&img->reserved[zno / 64]) & zone_bit(zno);
}

/* Give back what lies beyond the zone's write pointer, and tail slots not in use. */
static int release(struct image *img, uint32_t zno)
{
	uint64_t capacity = img->layout.geo.zone_capacity;
	struct image_ptr cur;
	int ret;

	if (!is_reserved(img, zno))
		return 0;
	ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
	if (ret)
		return ret;
	if (cur.wp < capacity)
		image_discard(img->fd, image_zone_offset(&img->layout, zno) + cur.wp,
			      capacity - cur.wp);
	image_tail_release(img, zno);
	atomic_fetch_and(&img->reserved[zno / 64], ~zone_bit(zno));
	return 0;
}

void image_release_all(struct image *img)
{
	uint32_t zno;

	for (zno = 0; zno < img->layout.geo.nr_zones; zno++)
		if (!(zno % 64) && !atomic_load(&img->reserved[zno / 64]))
			zno += 63;
		else
			release(img, zno);
}

/* Room for data, and for the tails that may stand there first. */
static int allocate(struct image *img, uint32_t zno, uint64_t pos, uint64_t len)
{
	const struct image_layout *lay = &img->layout;
	int ret = 0;

	if (!is_reserved(img, zno)) {
		atomic_fetch_or(&img->reserved[zno / 64], zone_bit(zno));
		ret = room_allocate(img->fd, image_slot_offset(lay, zno, 0),
				     IMAGE_TAIL_SLOTS * (uint64_t)image_slot_size(lay));
		if (ret)
			atomic_fetch_and(&img->reserved[zno / 64], ~zone_bit(zno));
	}
	return ret ? ret : room_allocate(img->fd, image_zone_offset(lay, zno) + pos, len);
}

static int image_reserve(void *m, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct image *img = m;
	int ret;

	if (!len)
		return release(img, zno);
	/* A reset that is not durable yet would take the new space along. */
	ret = image_prepare(img, zno);
	if (ret)
		return ret;
	ret = allocate(img, zno, pos, len);
	if (ret == -ENOSPC && image_make_room(img))
		ret = allocate(img, zno, pos, len);
	return ret;
}

/* ---- commands ---- */

static int image_reset(void *m, uint32_t zno)
{
	struct image *img = m;
	struct image_ptr p;
	uint64_t resets;
	int ret;

	/* Nothing was stored since the last reset. */
	if (image_is_stale(img, zno))
		return image_check_failed(img);
	ret = change_zone(img, zno, &p);
	if (!ret)
		ret = image_resets_get(img, zno, &resets);
	if (ret)
		return ret;
	if (!p.wp && !image_tail_exists(img, zno))
		return release(img, zno);
	resets++;
	p.wp = 0;
	p.gen = resets & IMAGE_GEN_MASK;
	/* In this order: see image-table.c. */
	image_ptr_set(img, zno, IMAGE_FLUSHED, &p);
	image_count_set(img, zno, resets);
	image_ptr_set(img, zno, IMAGE_CURRENT, &p);
	image_tail_forget(img, zno);
	/* The reaper frees the zone as a whole. */
	atomic_fetch_and(&img->reserved[zno / 64], ~zone_bit(zno));
	return image_stale_add(img, zno);
}

static int image_finish(void *m, uint32_t zno)
{
	struct image *img = m;
	uint64_t capacity = img->layout.geo.zone_capacity;
	struct image_ptr cur;
	int ret;

	ret = change_zone(img, zno, &cur);
	if (ret)
		return ret;
	/* What lies behind the pointer is about to become readable. */
	ret = image_zero(img->fd, image_zone_offset(&img->layout, zno) + cur.wp,
			 capacity - cur.wp);
	image_note_cached(img);
	if (ret)
		return ret;
	cur.wp = capacity;
	image_ptr_set(img, zno, IMAGE_CURRENT, &cur);
	image_tail_forget(img, zno);
	image_dirty_set(img, zno);
	return 0;
}

static int image_flush_op(void *m, uint32_t zno)
{
	return image_flush(m);
}

/* Conditions are for good, so at once and not by the next flush. */
static int image_set_cond(void *m, uint32_t zno, uint8_t cond)
{
	struct image *img = m;
	int ret;

	ret = image_begin_change(img);
	if (!ret)
		ret = image_cond_set(img, zno, cond);
	return ret ? ret : image_table_sync(img, zno, zno);
}

static int image_put_tail(void *m, uint32_t zno, uint64_t wp, const void *data,
			  size_t len)
{
	struct image *img = m;
	struct image_ptr cur;
	int ret;

	ret = change_zone(img, zno, &cur);
	if (ret)
		return ret;
	if (wp != cur.wp || wp == img->layout.geo.zone_capacity ||
	    len >= img->layout.geo.block_size)
		return -EINVAL;
	ret = image_tail_put(img, zno, wp, data, len);
	if (ret == -ENOSPC && image_make_room(img))
		ret = image_tail_put(img, zno, wp, data, len);
	return ret;
}

static ssize_t image_get_tail(void *m, uint32_t zno, uint64_t wp, void *buf)
{
	return image_tail_get(m, zno, wp, buf);
}

static int image_set_wp(void *m, uint32_t zno, uint64_t wp)
{
	struct image *img = m;
	struct image_ptr p;
	int ret;

	ret = change_zone(img, zno, &p);
	if (ret)
		return ret;
	if (wp > p.wp)
		return -EINVAL;
	/* The zone will have the pointers in between again, with other tails. */
	ret = image_tail_clear(img, zno);
	if (ret)
		return ret;
	p.wp = wp;
	image_ptr_set(img, zno, IMAGE_FLUSHED, &p);
	image_ptr_set(img, zno, IMAGE_CURRENT, &p);
	image_dirty_set(img, zno);
	return 0;
}

static int image_close_op(void *m)
{
	return image_close(m);
}

static void image_abandon(void *m)
{
	image_free(m);
}

const struct emu_medium_ops image_ops = {
	.load		= image_load,
	.read		= image_read,
	.direct_begin	= image_direct_begin,
	.direct_end	= image_direct_end,
	.write		= image_write,
	.reset		= image_reset,
	.finish		= image_finish,
	.flush		= image_flush_op,
	.set_cond	= image_set_cond,
	.put_tail	= image_put_tail,
	.get_tail	= image_get_tail,
	.reserve	= image_reserve,
	.copy		= image_copy,
	.discard	= image_discard_op,
	.set_wp		= image_set_wp,
	.close		= image_close_op,
	.abandon	= image_abandon,
};
