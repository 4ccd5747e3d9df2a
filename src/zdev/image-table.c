/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zone table, mapped shared: a store is in the page cache at once and so
 * survives the daemon. Written back by the kernel at any time and in any order,
 * so each word stands for itself.
 *
 * The words of a zone and who changes them:
 *	current	the zone's own calls, one at a time
 *	flushed	a flush, upwards only (image_publish); the zone's reset
 *	resets	the zone's reset
 * A flush runs beside a reset, so it changes the flushed word by compare and
 * exchange, and only while the count of resets is the one it captured. A reset
 * stores the flushed word first and the current one last: a flush that finds the
 * zone reset then leaves the new flushed word to be made durable, and a kill in
 * between leaves the current word, hence the zone, as it was.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "image_i.h"
#include "zonefsd/units.h"

int image_table_unshare(struct image *img)
{
	int ret;

	do {
		ret = fallocate(img->fd, FALLOC_FL_UNSHARE_RANGE, 0,
				img->layout.table_offset + image_table_len(&img->layout));
	} while (ret && errno == EINTR);
	if (!ret || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return -errno;
}

int image_table_map(struct image *img)
{
	void *p;

	/* The private copy of a reader is where a lost power is made up for. */
	p = mmap(NULL, image_table_len(&img->layout), PROT_READ | PROT_WRITE,
		 img->read_only ? MAP_PRIVATE : MAP_SHARED, img->fd,
		 img->layout.table_offset);
	if (p == MAP_FAILED)
		return -errno;
	img->table = p;
	return 0;
}

void image_table_unmap(struct image *img)
{
	if (img->table)
		munmap(img->table, image_table_len(&img->layout));
	img->table = NULL;
}

static _Atomic uint64_t *word_at(struct image *img, uint32_t zno, enum image_role role)
{
	return &img->table[zno].word[role];
}

static uint64_t load_word(struct image *img, uint32_t zno, enum image_role role)
{
	return le64toh(atomic_load(word_at(img, zno, role)));
}

static void store_word(struct image *img, uint32_t zno, enum image_role role,
		       uint64_t word)
{
	/* An unchanged page is one that need not be written. */
	if (load_word(img, zno, role) != word)
		atomic_store(word_at(img, zno, role), htole64(word));
}

int image_ptr_get(struct image *img, uint32_t zno, enum image_role role,
		  struct image_ptr *p)
{
	uint64_t word = load_word(img, zno, role);

	return image_ptr_decode(&img->layout, zno, role, word, p) ? 0 : -EIO;
}

int image_count_get(struct image *img, uint32_t zno, uint64_t *count)
{
	uint64_t word = load_word(img, zno, IMAGE_RESETS);

	return image_resets_decode(zno, word, count) ? 0 : -EIO;
}

int image_resets_get(struct image *img, uint32_t zno, uint64_t *resets)
{
	struct image_ptr cur;
	int ret;

	ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
	if (!ret)
		ret = image_count_get(img, zno, resets);
	if (!ret)
		*resets = image_resets_near(*resets, cur.gen);
	return ret;
}

void image_ptr_set(struct image *img, uint32_t zno, enum image_role role,
		   const struct image_ptr *p)
{
	store_word(img, zno, role, image_ptr_encode(zno, role, p));
}

void image_count_set(struct image *img, uint32_t zno, uint64_t count)
{
	store_word(img, zno, IMAGE_RESETS, image_resets_encode(zno, count));
}

/* Replace the flushed word if it is still `old`; both in host order. */
static bool replace_flushed(struct image *img, uint32_t zno, uint64_t old,
			    const struct image_ptr *p)
{
	uint64_t expected = htole64(old);
	uint64_t word = image_ptr_encode(zno, IMAGE_FLUSHED, p);

	return atomic_compare_exchange_strong(word_at(img, zno, IMAGE_FLUSHED),
					      &expected, htole64(word));
}

int image_cond_set(struct image *img, uint32_t zno, uint8_t cond)
{
	struct image_ptr p;
	uint64_t old;
	int ret;

	ret = image_ptr_get(img, zno, IMAGE_CURRENT, &p);
	if (ret)
		return ret;
	p.cond = cond;
	image_ptr_set(img, zno, IMAGE_CURRENT, &p);
	do {
		old = load_word(img, zno, IMAGE_FLUSHED);
		if (!image_ptr_decode(&img->layout, zno, IMAGE_FLUSHED, old, &p))
			return -EIO;
		p.cond = cond;
	} while (!replace_flushed(img, zno, old, &p));
	return 0;
}

int image_publish(struct image *img, const struct image_captured *c)
{
	struct image_ptr p;
	uint64_t old, count;
	int ret;

	do {
		/* In this order: see above, and a generation that came round is found. */
		old = load_word(img, c->zno, IMAGE_FLUSHED);
		ret = image_count_get(img, c->zno, &count);
		if (ret)
			return ret;
		if (!image_ptr_decode(&img->layout, c->zno, IMAGE_FLUSHED, old, &p))
			return -EIO;
		if (count != c->resets || p.gen != c->cur.gen || p.wp >= c->cur.wp)
			return 0;
		p.wp = c->cur.wp;
	} while (!replace_flushed(img, c->zno, old, &p));
	return 0;
}

int image_table_sync(struct image *img, uint32_t first, uint32_t last)
{
	uintptr_t start = (uintptr_t)&img->table[first];
	uintptr_t end = (uintptr_t)&img->table[last + 1];
	int ret;

	/* On a shared mapping this is an fdatasync of just these pages. */
	start = zu_round_down(start, img->page_size);
	do {
		ret = msync((void *)start, end - start, MS_SYNC);
	} while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

void image_dirty_set(struct image *img, uint32_t zno)
{
	atomic_fetch_or(&img->dirty[zno / 64], UINT64_C(1) << zno % 64);
}
