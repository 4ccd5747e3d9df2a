/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening an image that was not closed.
 *
 *	killed		every store is in the page cache, the current pointers
 *			are right. They become the flushed ones once an
 *			fdatasync has shown that the data can be written; if it
 *			cannot, this was a power loss.
 *	power lost	each word on disk is one of those stored since it was last
 *			made durable, independent of its neighbours. A flushed
 *			pointer, whichever, tells of durable data. The current
 *			one is not even looked at.
 *
 * Everything done here is durable before the caller writes the state block that
 * ends the old state; cut short, it is done again from the same start.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image_i.h"

enum image_past image_past(const struct image_state *st, const struct image_instance *now)
{
	struct image_instance then = {
		.sb_id = le64toh(st->sb_id),
		.mnt_id = le64toh(st->mnt_id),
	};
	uint32_t flags = le32toh(st->flags);

	memcpy(then.boot_id, st->boot_id, sizeof(then.boot_id));
	if (flags & IMAGE_STATE_CLEAN)
		return IMAGE_PAST_CLEAN;
	if (flags & IMAGE_STATE_FLUSH_FAILED)
		return IMAGE_PAST_POWER_LOST;
	return image_instance_same(&then, now) ? IMAGE_PAST_KILLED : IMAGE_PAST_POWER_LOST;
}

const char *image_entry_problem(const struct image_layout *lay, uint32_t zno,
				struct image_entry *entry, enum image_past past)
{
	struct image_ptr cur, flushed;
	uint64_t resets;
	bool cur_ok, flushed_ok;

	cur_ok = image_ptr_decode(lay, zno, IMAGE_CURRENT,
				  le64toh(entry->word[IMAGE_CURRENT]), &cur);
	flushed_ok = image_ptr_decode(lay, zno, IMAGE_FLUSHED,
				      le64toh(entry->word[IMAGE_FLUSHED]), &flushed);
	if (!cur_ok && past != IMAGE_PAST_POWER_LOST)
		return "damaged write pointer";
	if (!flushed_ok && past != IMAGE_PAST_KILLED)
		return "damaged flushed write pointer";
	if (!image_resets_decode(zno, le64toh(entry->word[IMAGE_RESETS]), &resets))
		return "damaged reset count";
	if (entry->reserved)
		return "unknown data in its table entry";
	if (past == IMAGE_PAST_CLEAN &&
	    (cur.wp != flushed.wp || cur.gen != flushed.gen || cur.cond != flushed.cond))
		return "its two write pointers differ, yet the image was closed";
	return NULL;
}

int image_table_verify(struct image *img, enum image_past past, struct zerr *e)
{
	const struct image_layout *lay = &img->layout;
	const uint32_t step = 2048;
	struct image_entry *entries;
	uint32_t zno = 0, n, i;
	int ret = 0;

	entries = malloc(step * sizeof(*entries));
	if (!entries)
		return zerr_errno(e, ENOMEM, "%s", img->path);
	for (; zno < lay->geo.nr_zones && !ret; zno += n) {
		n = lay->geo.nr_zones - zno < step ? lay->geo.nr_zones - zno : step;
		ret = image_pread(img->fd, entries, n * sizeof(*entries),
				  lay->table_offset + zno * (uint64_t)sizeof(*entries));
		if (ret) {
			zerr_errno(e, -ret, "%s: reading the zone table", img->path);
			break;
		}
		for (i = 0; i < n && !ret; i++) {
			const char *what = image_entry_problem(lay, zno + i, &entries[i], past);

			if (what)
				ret = zerr_set(e, EINVAL, "%s: zone %" PRIu32 ": %s",
					       img->path, zno + i, what);
		}
	}
	free(entries);
	return ret;
}

/* Make the words of a zone agree. 1 when its pointer went back, 0 or -errno. */
static int recover_zone(struct image *img, uint32_t zno, enum image_past past)
{
	bool lost = past == IMAGE_PAST_POWER_LOST;
	struct image_ptr p, old;
	bool back = false;
	uint64_t count;
	int ret;

	ret = image_ptr_get(img, zno, lost ? IMAGE_FLUSHED : IMAGE_CURRENT, &p);
	if (!ret)
		ret = image_count_get(img, zno, &count);
	if (ret)
		return ret;
	if (lost)
		back = image_ptr_get(img, zno, IMAGE_CURRENT, &old) ||
		       old.wp != p.wp || old.gen != p.gen;
	image_ptr_set(img, zno, lost ? IMAGE_CURRENT : IMAGE_FLUSHED, &p);
	image_count_set(img, zno, image_resets_near(count, p.gen));
	return back;
}

static int recover_table(struct image *img, enum image_past past)
{
	uint32_t nr_zones = img->layout.geo.nr_zones;
	uint32_t zno, nr_back = 0;

	for (zno = 0; zno < nr_zones; zno++) {
		int ret = recover_zone(img, zno, past);

		if (ret < 0)
			return ret;
		nr_back += ret;
	}
	if (past == IMAGE_PAST_POWER_LOST)
		zlog(img->log, ZLOG_WARN, "%s: power was lost while it was open: %" PRIu32
		     " zone%s went back to the last flush", img->path, nr_back,
		     nr_back == 1 ? "" : "s");
	else
		zlog(img->log, ZLOG_INFO, "%s: was not closed, nothing is lost",
		     img->path);
	return 0;
}

/* Free what is stored or reserved behind the write pointers: left over, and never shown. */
static int trim_data(struct image *img)
{
	const struct image_layout *lay = &img->layout;
	uint64_t end = image_zone_offset(lay, lay->geo.nr_zones);
	uint64_t off = image_zone_offset(lay, lay->geo.nr_conv);
	uint64_t data_end, from, to;
	struct image_ptr cur;
	int ret;

	while ((ret = image_next_allocated(img->fd, &off, end, &data_end)) == 1) {
		uint32_t zno = (off - lay->data_offset) / lay->geo.zone_size;

		ret = image_ptr_get(img, zno, IMAGE_CURRENT, &cur);
		if (ret)
			return ret;
		from = image_zone_offset(lay, zno) + cur.wp;
		to = image_zone_offset(lay, zno + 1);
		if (off > from)
			from = off;
		if (data_end < to)
			to = data_end;
		if (from < to)
			image_discard(img->fd, from, to - from);
		off = to;
	}
	return ret;
}

static int sync_all(struct image *img)
{
	return fdatasync(img->fd) ? -errno : 0;
}

int image_recover(struct image *img, enum image_past past)
{
	int ret;

	if (past == IMAGE_PAST_CLEAN)
		return 0;
	if (past == IMAGE_PAST_KILLED && !img->read_only && sync_all(img))
		past = IMAGE_PAST_POWER_LOST;
	ret = recover_table(img, past);
	if (ret || img->read_only)
		return ret;
	/* Only once the table is durable does nothing need what is trimmed. */
	ret = image_table_sync(img, 0, img->layout.geo.nr_zones - 1);
	if (!ret)
		ret = image_tails_trim(img, true);
	if (!ret)
		ret = trim_data(img);
	return ret ? ret : sync_all(img);
}
