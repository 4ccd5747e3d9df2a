/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the format. In this order, with a flush after each step, so that a
 * crash leaves either no format at all or the whole new one:
 *	1. old super blocks are overwritten, of whatever format they were;
 *	2. sequential zones are reset;
 *	3. map and bitmaps of both sets are written;
 *	4. the super blocks of later devices, without the sets no format;
 *	5. set 0's super block, from here on the format is there, as the kernel
 *	   looks for this one first; then set 1's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "dmz_i.h"

#define WRITE_BLOCKS	256u	/* at a time */
#define PROGRESS_STEP	64u
#define LABEL_CUT	30	/* of a label made up, as dmzadm does */

struct maker {
	struct dmz_devs	*devs;
	const struct dmz_format_opts *opts;
	struct zdev_zone *zones;
	uint8_t		*kinds;
	uint8_t		*buf;		/* WRITE_BLOCKS */
	struct dmz_super sb;
	uint32_t	first_meta, meta_zones;
	struct zerr	*e;
};

/* -errno with *e, for what went wrong with a zone. */
static int zone_error(const struct maker *m, uint32_t zone, const char *doing, int err)
{
	uint32_t zno;
	struct zdev *dev = dmz_zone_dev(m->devs, zone, &zno);
	const char *path = zdev_info(dev)->path;

	return zerr_errno(m->e, -err, "%s: zone %" PRIu32 ": %s", path[0] ? path : "device", zno,
			  doing);
}

static void show_progress(const struct maker *m, uint32_t done)
{
	if (m->opts->progress)
		m->opts->progress(m->opts->ctx, done, m->devs->nr_zones + 2 * m->meta_zones);
}

static int flush(const struct maker *m)
{
	int ret = dmz_devs_flush(m->devs);

	return ret ? zerr_errno(m->e, -ret, "%s: flush", dmz_dev_path(m->devs, 0)) : 0;
}

/* ---- what the format will be ---- */

static int set_label(struct maker *m)
{
	const char *path = zdev_info(m->devs->dev[0].zdev)->path;
	const char *slash = strrchr(path, '/');
	const char *label = m->opts->label;

	if (!label) {
		snprintf(m->sb.label, LABEL_CUT + 1, "dmz-%s",
			 !*path ? "disk" : slash ? slash + 1 : path);
		return 0;
	}
	if (!*label)
		return zerr_set(m->e, EINVAL, "%s: dm-zoned needs a label that is not empty",
				dmz_dev_path(m->devs, 0));
	if (strlen(label) > DMZ_LABEL_MAX)
		return zerr_set(m->e, EINVAL, "%s: a label of %zu bytes, at most %d fit",
				dmz_dev_path(m->devs, 0), strlen(label), DMZ_LABEL_MAX);
	strcpy(m->sb.label, label);
	return 0;
}

static void set_uuid(uint8_t to[16], const uint8_t from[16])
{
	if (uuid_is_null(from))
		uuid_generate_random(to);
	else
		memcpy(to, from, 16);
}

/*
 * Part 6 counts zones as space that hold none: those with a super block only and
 * the runt. They come out of the reserve, of which reclaim needs one to be left.
 */
static uint32_t needed_reserve(const struct maker *m)
{
	uint32_t zone, nr = m->devs->nr;

	for (zone = 0; zone < m->devs->dev[0].nr_zones; zone++)
		nr += m->kinds[zone] == DMZ_KIND_RUNT;
	return nr;
}

/*
 * The kernel does not count bad random zones as space, dmzadm does: it would
 * make what the kernel refuses.
 */
static int leave_out_bad(struct maker *m)
{
	struct dmz_super *sb = &m->sb;
	uint32_t zone, bad = 0;

	for (zone = 0; zone < m->devs->nr_zones; zone++)
		bad += m->kinds[zone] == DMZ_KIND_RANDOM && dmz_zone_bad(&m->zones[zone]);
	if (!bad || m->devs->nr > 1)
		return 0;
	if (bad >= sb->nr_chunks)
		return zerr_set(m->e, EINVAL, "%s: %" PRIu32 " bad zones leave none for data",
				dmz_dev_path(m->devs, 0), bad);
	sb->nr_chunks -= bad;
	sb->nr_map_blocks = (sb->nr_chunks + DMZ_MAP_PER_BLOCK - 1) / DMZ_MAP_PER_BLOCK;
	sb->nr_meta_blocks = 1 + sb->nr_map_blocks + sb->nr_bitmap_blocks;
	m->meta_zones = dmz_meta_zones(m->devs, sb);
	return 0;
}

static int plan_sizes(struct maker *m)
{
	uint32_t need = needed_reserve(m), wanted = m->opts->nr_reserved_seq;
	int ret;

	if (!wanted)
		wanted = need > DMZ_DEFAULT_RESERVED ? need : DMZ_DEFAULT_RESERVED;
	ret = dmz_layout(m->devs, m->zones, m->kinds, wanted, &m->sb, &m->first_meta,
			 &m->meta_zones, m->e);
	if (ret)
		return ret;
	if (m->sb.nr_reserved_seq < need)
		return zerr_set(m->e, EINVAL, "%s: %" PRIu32 " zones in reserve are too few, these "
				"devices need %" PRIu32 "%s", dmz_dev_path(m->devs, 0),
				m->sb.nr_reserved_seq, need, m->sb.nr_reserved_seq < wanted ?
				": the regular device is too small" : "");
	return leave_out_bad(m);
}

/* What else stands in the way, found before anything is written. */
static int check_devices(const struct maker *m)
{
	uint32_t i;

	for (i = 0; i < m->devs->nr; i++) {
		const struct dmz_dev *d = &m->devs->dev[i];

		if (zdev_info(d->zdev)->read_only)
			return zerr_set(m->e, EROFS, "%s: is read-only", dmz_dev_path(m->devs, i));
		if (i && dmz_zone_bad(&m->zones[d->first_zone]))
			return zerr_set(m->e, EIO, "%s: zone 0, which must hold a super block, "
					"cannot be written", dmz_dev_path(m->devs, i));
	}
	return 0;
}

static int plan(struct maker *m)
{
	int ret;

	ret = dmz_devs_report(m->devs, m->zones, m->kinds);
	if (ret)
		return zerr_errno(m->e, -ret, "%s: zone report", dmz_dev_path(m->devs, 0));
	ret = check_devices(m);
	if (!ret)
		ret = plan_sizes(m);
	if (!ret)
		ret = set_label(m);
	if (ret)
		return ret;
	m->sb.version = 2;
	set_uuid(m->sb.uuid, m->opts->uuid);
	set_uuid(m->sb.dev_uuid, m->opts->dev_uuid[0]);
	return 0;
}

/* ---- 1. the old format ---- */

/* Is there one that a later open, of this device alone or with others, might take? */
static bool may_be_super(const struct maker *m, uint32_t i, uint32_t zone)
{
	return zone == m->devs->dev[i].first_zone || zone == m->first_meta ||
	       zone == m->first_meta + m->meta_zones ||
	       dmz_get32(m->buf) == DMZ_MAGIC;
}

static int wipe_zone(struct maker *m, uint32_t i, uint32_t zone)
{
	uint32_t zno;
	struct zdev *dev = dmz_zone_dev(m->devs, zone, &zno);
	int ret;

	if (m->kinds[zone] == DMZ_KIND_SEQ) {
		/* Only the first one's first block is ever a super block. */
		ret = zno || m->zones[zone].cond == BLK_ZONE_COND_EMPTY ? 0 :
		      zdev_command(dev, ZDEV_RESET, zno);
		return ret ? zone_error(m, zone, "reset", ret) : 0;
	}
	if (m->zones[zone].size < DMZ_BLOCK_SIZE)
		return 0;
	/* What cannot be read may be one, too. */
	ret = dmz_set_read(m->devs, zone, 0, 1, m->buf);
	if (!ret && !may_be_super(m, i, zone))
		return 0;
	memset(m->buf, 0, DMZ_BLOCK_SIZE);
	ret = dmz_set_write(m->devs, zone, 0, 1, m->buf);
	return ret ? zone_error(m, zone, "overwriting its first block", ret) : 0;
}

static int wipe_old(struct maker *m)
{
	uint32_t i, zone;
	int ret = 0;

	for (i = 0; i < m->devs->nr; i++) {
		const struct dmz_dev *d = &m->devs->dev[i];

		for (zone = d->first_zone; !ret && zone < d->first_zone + d->nr_zones; zone++)
			if (!dmz_zone_bad(&m->zones[zone]))
				ret = wipe_zone(m, i, zone);
	}
	return ret ? ret : flush(m);
}

/* ---- 2. zones ---- */

static int reset_zones(struct maker *m)
{
	uint32_t zone, zno;
	int ret;

	for (zone = 0; zone < m->devs->nr_zones; zone++) {
		struct zdev *dev = dmz_zone_dev(m->devs, zone, &zno);

		if (zone % PROGRESS_STEP == 0)
			show_progress(m, zone);
		if (m->kinds[zone] != DMZ_KIND_SEQ || dmz_zone_bad(&m->zones[zone]))
			continue;
		/* An empty zone needs it for a tail stored behind its write pointer. */
		if (m->zones[zone].cond == BLK_ZONE_COND_EMPTY && !zdev_get_tail(dev, zno, m->buf))
			continue;
		ret = zdev_command(dev, ZDEV_RESET, zno);
		if (ret)
			return zone_error(m, zone, "reset", ret);
	}
	return flush(m);
}

/* ---- 3. map and bitmaps ---- */

static int fill(struct maker *m, uint32_t set_zone, uint32_t block, uint32_t end, int byte)
{
	uint32_t nr;
	int ret;

	memset(m->buf, byte, (size_t)WRITE_BLOCKS * DMZ_BLOCK_SIZE);
	for (; block < end; block += nr) {
		nr = end - block < WRITE_BLOCKS ? end - block : WRITE_BLOCKS;
		ret = dmz_set_write(m->devs, set_zone, block, nr, m->buf);
		if (ret)
			return zone_error(m, set_zone + block / m->devs->zone_blocks,
					  "writing metadata", ret);
		show_progress(m, m->devs->nr_zones + set_zone - m->first_meta +
			      block / m->devs->zone_blocks);
	}
	return 0;
}

static int write_sets(struct maker *m)
{
	uint32_t set, zone, map_end = 1 + m->sb.nr_map_blocks;
	int ret = 0;

	for (set = 0; !ret && set < 2; set++) {
		zone = m->first_meta + set * m->meta_zones;
		ret = fill(m, zone, 1, map_end, 0xff);
		if (!ret)
			ret = fill(m, zone, map_end, m->sb.nr_meta_blocks, 0);
	}
	return ret ? ret : flush(m);
}

/* ---- 4. and 5. super blocks ---- */

static int write_super(struct maker *m, const struct dmz_super *sb)
{
	uint32_t zone = (uint32_t)(sb->sb_block / m->devs->zone_blocks);
	int ret;

	memset(m->buf, 0, DMZ_BLOCK_SIZE);
	dmz_super_encode(sb, m->buf);
	ret = dmz_set_write(m->devs, zone, 0, 1, m->buf);
	return ret ? zone_error(m, zone, "writing the super block", ret) : 0;
}

static int write_tertiaries(struct maker *m)
{
	struct dmz_super sb = m->sb;
	uint32_t i;
	int ret = 0;

	sb.gen = 0;
	for (i = 1; !ret && i < m->devs->nr; i++) {
		sb.sb_block = (uint64_t)m->devs->dev[i].first_zone * m->devs->zone_blocks;
		set_uuid(sb.dev_uuid, m->opts->dev_uuid[i]);
		ret = write_super(m, &sb);
	}
	return ret ? ret : flush(m);
}

static int write_supers(struct maker *m)
{
	uint32_t set;
	int ret = write_tertiaries(m);

	m->sb.gen = 1;
	for (set = 0; !ret && set < 2; set++) {
		m->sb.sb_block = (uint64_t)(m->first_meta + set * m->meta_zones) *
				 m->devs->zone_blocks;
		ret = write_super(m, &m->sb);
		if (!ret)
			ret = flush(m);
	}
	return ret;
}

static int make(struct maker *m)
{
	int ret = plan(m);

	if (!ret)
		ret = wipe_old(m);
	if (!ret)
		ret = reset_zones(m);
	if (!ret)
		ret = write_sets(m);
	if (!ret)
		ret = write_supers(m);
	if (ret)
		return ret;
	show_progress(m, m->devs->nr_zones + 2 * m->meta_zones);
	m->sb.sb_block = (uint64_t)m->first_meta * m->devs->zone_blocks;
	return 0;
}

int dmz_format(struct dmz_devs *devs, const struct dmz_format_opts *opts,
	       struct dmz_super *sb, struct zerr *e)
{
	static const struct dmz_format_opts defaults;
	struct maker m = {
		.devs = devs, .opts = opts ? opts : &defaults, .e = e,
		.zones = calloc(devs->nr_zones, sizeof(*m.zones)),
		.kinds = calloc(devs->nr_zones, sizeof(*m.kinds)),
	};
	void *buf = NULL;
	int ret;

	if (!m.zones || !m.kinds ||
	    posix_memalign(&buf, DMZ_BLOCK_SIZE, (size_t)WRITE_BLOCKS * DMZ_BLOCK_SIZE)) {
		ret = zerr_errno(e, ENOMEM, "%s", dmz_dev_path(devs, 0));
	} else {
		m.buf = buf;
		ret = make(&m);
	}
	if (!ret && sb)
		*sb = m.sb;
	free(buf);
	free(m.kinds);
	free(m.zones);
	return ret;
}
