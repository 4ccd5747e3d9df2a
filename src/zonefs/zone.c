/* SPDX-License-Identifier: BSD-2-Clause */
/* One file: finding it, its size and what is counted by it, its tail. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

static pthread_mutex_t *stripe(struct zonefs *fs, const struct zonefs_zone *z)
{
	return &fs->stripes[(size_t)(z - fs->zones) % ZONEFS_STRIPES];
}

void zonefs_zone_lock(struct zonefs *fs, const struct zonefs_zone *z)
{
	pthread_mutex_lock(stripe(fs, z));
}

void zonefs_zone_unlock(struct zonefs *fs, const struct zonefs_zone *z)
{
	pthread_mutex_unlock(stripe(fs, z));
}

struct zonefs_zone *zonefs_zone_by_zno(const struct zonefs *fs, uint32_t zno)
{
	uint32_t low = 0, high = fs->nr_files;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		struct zonefs_zone *z = &fs->zones[mid];

		if (zno < z->zno)
			high = mid;
		else if (zno - z->zno >= z->nr_zones)
			low = mid + 1;
		else
			return z;
	}
	return NULL;
}

struct zonefs_zone *zonefs_zone_by_ino(const struct zonefs *fs, uint64_t ino)
{
	struct zonefs_zone *z;

	if (ino >= fs->info->nr_zones)
		return NULL;
	z = zonefs_zone_by_zno(fs, (uint32_t)ino);
	return z && z->zno == ino ? z : NULL;
}

const char *zonefs_zone_name(const struct zonefs *fs, const struct zonefs_zone *z, char *buf)
{
	const struct zonefs_group *g = &fs->group[zone_is_seq(z) ? DIR_SEQ : DIR_CNV];
	uint32_t index = (uint32_t)(z - fs->zones);
	uint32_t low = 0, high = g->nr;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (g->files[mid] < index)
			low = mid + 1;
		else
			high = mid;
	}
	snprintf(buf, ZONEFS_NAME_LEN, "%s/%u", zone_is_seq(z) ? "seq" : "cnv", low);
	return buf;
}

uint64_t zonefs_zone_ino(const struct zonefs *fs, uint32_t zno)
{
	const struct zonefs_zone *z = zonefs_zone_by_zno(fs, zno);

	return z ? z->zno : 0;
}

uint64_t zonefs_zone_len(struct zonefs *fs, uint32_t zno)
{
	struct zonefs_zone *z = zonefs_zone_by_zno(fs, zno);
	uint64_t size;

	if (!z)
		return 0;
	zonefs_zone_lock(fs, z);
	size = z->size;
	zonefs_zone_unlock(fs, z);
	return size;
}

uint64_t zonefs_zone_place(const struct zonefs *fs, const struct zonefs_zone *z,
			   uint64_t pos, uint32_t *zno, uint64_t *zpos)
{
	uint64_t zone_size = fs->info->zone_size;

	*zno = z->zno;
	*zpos = pos;
	if (z->nr_zones == 1)
		return z->capacity - pos;
	*zno += (uint32_t)(pos / zone_size);
	*zpos = pos % zone_size;
	return zone_size - *zpos;
}

/* ---- uses ---- */

int zonefs_zone_get(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_active *act;
	int err = 0;

	zonefs_zone_lock(fs, z);
	act = z->act;
	if (!act) {
		act = calloc(1, sizeof(*act));
		if (act && zone_is_seq(z) && !fs->strict && z->size % fs->bs) {
			act->held = z->size % fs->bs;
			act->stored = true;
		} else if (act) {
			act->loaded = true;
		}
		z->act = act;
	}
	if (act)
		act->users++;
	else
		err = -ENOMEM;
	zonefs_zone_unlock(fs, z);
	return err;
}

void zonefs_zone_put(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_active *act;

	zonefs_zone_lock(fs, z);
	act = z->act;
	act->users--;
	/* Bytes that count and are nowhere else stay until unmount completes them. */
	if (act->users || (act->held && (!act->stored || act->kept) && !fs->strict))
		act = NULL;
	else
		z->act = NULL;
	zonefs_zone_unlock(fs, z);
	if (act) {
		zonefs_late_unheard(fs, z, act);
		free(act->stage);
		free(act->tail);
		free(act);
	}
}

/* ---- state; the stripe is held ---- */

static uint64_t blocks_of(const struct zonefs *fs, uint64_t size)
{
	return (size + fs->bs - 1) / fs->bs;
}

void zonefs_zone_set_size(struct zonefs *fs, struct zonefs_zone *z, uint64_t size)
{
	/* Unsigned wrap-around makes a decrease of it. */
	atomic_fetch_add(&fs->used_blocks, blocks_of(fs, size) - blocks_of(fs, z->size));
	z->size = size;
}

void zonefs_zone_account(struct zonefs *fs, struct zonefs_zone *z)
{
	uint64_t wp = zone_wp(fs, z);
	bool active = false;

	if (!zone_is_seq(z))
		return;
	if (z->flags & (ZF_RO | ZF_OFF) || wp == z->capacity)
		z->flags &= ~(ZF_OPEN | ZF_ADM_OPEN);
	if (!(z->flags & (ZF_RO | ZF_OFF)))
		active = z->flags & (ZF_OPEN | ZF_ADM_OPEN) || (wp && wp < z->capacity);
	if (active && !(z->flags & ZF_ACTIVE)) {
		z->flags |= ZF_ACTIVE;
		atomic_fetch_add(&fs->nr_active, 1);
	} else if (!active && z->flags & ZF_ACTIVE) {
		z->flags &= ~ZF_ACTIVE;
		atomic_fetch_sub(&fs->nr_active, 1);
	}
}

void zonefs_zone_drop_tail(struct zonefs_zone *z)
{
	zonefs_stage_unrest(z->act);
	z->act->held = 0;
	z->act->loaded = true;
	z->act->stored = false;
	z->act->kept = false;
}

struct zonefs_times *zonefs_zone_times(struct zonefs *fs, struct zonefs_zone *z)
{
	if (!z->times) {
		z->times = malloc(sizeof(*z->times));
		if (z->times)
			*z->times = (struct zonefs_times) {
				fs->mount_time, fs->mount_time, fs->mount_time,
			};
	}
	return z->times;
}

void zonefs_zone_touch(struct zonefs *fs, struct zonefs_zone *z)
{
	struct zonefs_times *t = zonefs_zone_times(fs, z);

	if (!t)
		return;
	clock_gettime(CLOCK_REALTIME_COARSE, &t->mtime);
	t->ctime = t->mtime;
}

int zonefs_zone_writable(const struct zonefs_zone *z)
{
	return z->flags & (ZF_RO | ZF_OFF) ? -EPERM : 0;
}

int zonefs_zone_readable(const struct zonefs_zone *z)
{
	if (z->flags & ZF_OFF || (z->flags & ZF_RO && !(z->mode & 0777)))
		return -EPERM;
	return 0;
}

/* ---- the tail ---- */

bool zonefs_tail_is_unstored(const struct zonefs *fs, const struct zonefs_zone *z)
{
	const struct zonefs_active *act = z->act;

	if (fs->strict || !zone_is_seq(z) || z->flags & (ZF_RO | ZF_OFF))
		return false;
	return act && act->held && act->loaded && !act->stored && !act->kept;
}

/* Take what the device has, unless a reset has overtaken us. The stripe is held. */
static int install_tail(struct zonefs_active *act, uint8_t *buf, ssize_t len)
{
	if (act->loaded)
		return 0;
	if (len < 0)
		return (int)len;
	if (len != (ssize_t)act->held || act->tail)
		return -EIO;
	act->tail = buf;
	act->loaded = true;
	return 1;
}

static struct zonefs_req *load_tail(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	char name[ZONEFS_NAME_LEN];
	uint8_t *buf = malloc(fs->bs);
	ssize_t len = buf ? zdev_get_tail(fs->dev, r->zone->zno, buf) : -ENOMEM;
	int ret;

	zonefs_zone_lock(fs, r->zone);
	ret = install_tail(r->zone->act, buf, len);
	zonefs_zone_unlock(fs, r->zone);
	if (ret <= 0)
		free(buf);
	if (ret < 0) {
		atomic_fetch_add(&fs->count.io_errors, 1);
		zlog(fs->log, ZLOG_ERR, "%s: zone %u (%s): partial last block: %s",
		     fs->info->path, r->zone->zno, zonefs_zone_name(fs, r->zone, name),
		     len < 0 ? strerror((int)-len) : "not as long as it was");
		return zonefs_req_finish(r, ret);
	}
	return zonefs_req_return(r, 0);
}

struct zonefs_req *zonefs_tail_load(struct zonefs_req *r, zonefs_step next)
{
	zonefs_req_call(r, next);
	return zonefs_req_defer(r, load_tail);
}

void zonefs_attr_changed(struct zonefs *fs, const struct zonefs_zone *z)
{
	if (fs->ev.attr_changed)
		fs->ev.attr_changed(fs->ev.ctx, z->zno);
}
