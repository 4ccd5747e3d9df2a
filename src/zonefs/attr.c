/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes, statfs and statistics, from memory (Z4, Z5, Z10, Z14). */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zonefs_i.h"

/* ---- reading ---- */

static void dir_attr(struct zonefs *fs, int d, struct zonefs_attr *a)
{
	const struct zonefs_dir *dir = &fs->dirs[d];
	uint64_t nr = fs->group[d].nr;

	if (d == DIR_ROOT)
		nr = 2 + !!fs->group[DIR_CNV].nr + !!fs->group[DIR_SEQ].nr;
	pthread_mutex_lock(&fs->lock);
	*a = (struct zonefs_attr) {
		.ino = (uint64_t)fs->info->nr_zones + (unsigned)d,
		.size = nr,
		.blksize = fs->bs,
		.mode = S_IFDIR | dir->mode,
		.nlink = d == DIR_ROOT ? (uint32_t)nr : 2,
		.uid = dir->uid, .gid = dir->gid,
		.atime = dir->times.atime,
		.mtime = dir->times.mtime,
		.ctime = dir->times.ctime,
	};
	pthread_mutex_unlock(&fs->lock);
}

static void file_attr(struct zonefs *fs, const struct zonefs_zone *z, struct zonefs_attr *a)
{
	zonefs_zone_lock(fs, z);
	*a = (struct zonefs_attr) {
		.ino = z->zno,
		.size = z->size,
		.blocks = zu_bytes_to_sect(z->capacity),
		.blksize = fs->bs,
		.mode = S_IFREG | z->mode,
		.nlink = 1,
		.uid = z->uid, .gid = z->gid,
		.atime = z->times ? z->times->atime : fs->mount_time,
		.mtime = z->times ? z->times->mtime : fs->mount_time,
		.ctime = z->times ? z->times->ctime : fs->mount_time,
	};
	zonefs_zone_unlock(fs, z);
}

int zonefs_getattr(struct zonefs *fs, uint64_t ino, struct zonefs_attr *attr)
{
	const struct zonefs_zone *z = zonefs_zone_by_ino(fs, ino);
	int d = z ? -1 : zonefs_dir_of(fs, ino);

	if (z)
		file_attr(fs, z, attr);
	else if (d >= 0)
		dir_attr(fs, d, attr);
	else
		return -ENOENT;
	return 0;
}

/* ---- changing ---- */

/* Owner, mode and times as far as asked; ctime of its own when only it follows. */
static void change(const struct zonefs_setattr_args *a, uint16_t *mode, uid_t *uid,
		   gid_t *gid, struct zonefs_times *t)
{
	if (a->valid & ZONEFS_SET_MODE)
		*mode = a->mode & 07777;
	if (a->valid & ZONEFS_SET_UID)
		*uid = a->uid;
	if (a->valid & ZONEFS_SET_GID)
		*gid = a->gid;
	if (a->valid & ZONEFS_SET_ATIME)
		t->atime = a->atime;
	if (a->valid & ZONEFS_SET_MTIME)
		t->mtime = a->mtime;
	if (a->valid & ZONEFS_SET_CTIME)
		t->ctime = a->ctime;
	else
		clock_gettime(CLOCK_REALTIME_COARSE, &t->ctime);
}

static int change_dir(struct zonefs *fs, int d, const struct zonefs_setattr_args *a)
{
	struct zonefs_dir *dir = &fs->dirs[d];

	if (a->valid & ZONEFS_SET_SIZE)
		return -EISDIR;
	if (atomic_load(&fs->read_only))
		return -EROFS;
	if (a->valid & ZONEFS_SET_MODE && a->mode & 0222)
		return -EPERM;
	pthread_mutex_lock(&fs->lock);
	change(a, &dir->mode, &dir->uid, &dir->gid, &dir->times);
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

static int change_file(struct zonefs *fs, struct zonefs_zone *z,
		       const struct zonefs_setattr_args *a)
{
	struct zonefs_times *t;
	int err;

	if (!(a->valid & ~(uint32_t)ZONEFS_SET_SIZE))
		return 0;
	/* With a size, the times that the client sends along share its fate (Z10). */
	if (!(a->valid & ZONEFS_SET_SIZE) && atomic_load(&fs->read_only))
		return -EROFS;
	zonefs_zone_lock(fs, z);
	err = zonefs_zone_writable(z);
	t = err ? NULL : zonefs_zone_times(fs, z);
	if (t)
		change(a, &z->mode, &z->uid, &z->gid, t);
	else if (!err)
		err = -ENOMEM;
	zonefs_zone_unlock(fs, z);
	return err;
}

static struct zonefs_req *size_set(struct zonefs_req *r)
{
	if (r->result < 0)
		return zonefs_req_finish(r, r->result);
	return zonefs_req_finish(r, change_file(r->fs, r->zone, r->args));
}

static struct zonefs_req *set_size(struct zonefs_req *r)
{
	return zonefs_truncate(r, size_set);
}

static struct zonefs_req *set_size_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, set_size);
}

void zonefs_setattr(struct zonefs *fs, uint64_t ino,
		    const struct zonefs_setattr_args *args, struct zonefs_req *r)
{
	struct zonefs_zone *z = zonefs_zone_by_ino(fs, ino);
	int d = z ? -1 : zonefs_dir_of(fs, ino);
	int err = 0;

	zonefs_req_begin(fs, z, args->file, r);
	r->args = args;
	if (!z)
		err = d < 0 ? -ENOENT : change_dir(fs, d, args);
	else if (!(args->valid & ZONEFS_SET_SIZE))
		err = change_file(fs, z, args);
	else
		err = zonefs_zone_get(fs, z);
	r->pinned = !err && z && args->valid & ZONEFS_SET_SIZE;
	if (!r->pinned)
		r = zonefs_req_finish(r, err);
	else if (zone_is_seq(z))
		r = zonefs_req_queue(r, set_size_turn);
	else
		r->step = set_size;
	zonefs_req_run(r);
}

/* ---- where data is (Z11) ---- */

int64_t zonefs_lseek(struct zonefs_file *file, uint64_t off, int whence)
{
	uint64_t size;

	zonefs_zone_lock(file->fs, file->zone);
	size = file->zone->size;
	zonefs_zone_unlock(file->fs, file->zone);
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= size)
		return -ENXIO;
	return (int64_t)(whence == SEEK_DATA ? off : size);
}

/* ---- sums ---- */

static uint64_t fsid(const uint8_t *uuid)
{
	uint64_t id = 0;

	for (unsigned i = 0; i < 16; i++)
		id ^= (uint64_t)uuid[i] << (8 * (i % 8));
	return id;
}

void zonefs_statfs(struct zonefs *fs, struct zonefs_statfs *st)
{
	*st = (struct zonefs_statfs) {
		.block_size = fs->bs,
		.blocks = fs->total_blocks,
		.bfree = fs->total_blocks - atomic_load(&fs->used_blocks),
		.namelen = 16,
		.fsid = fsid(fs->sb.uuid),
	};
	for (int d = DIR_CNV; d <= DIR_SEQ; d++)
		st->files += fs->group[d].nr ? fs->group[d].nr + UINT64_C(1) : 0;
}

void zonefs_get_stats(struct zonefs *fs, struct zonefs_stats *st)
{
	struct zonefs_counters *c = &fs->count;

	*st = (struct zonefs_stats) {
		.max_wro = fs->info->max_open,
		.max_active = fs->info->max_active,
		.nr_active = atomic_load(&fs->nr_active),
		.nr_files = fs->nr_files,
		.nr_cnv = fs->group[DIR_CNV].nr,
		.nr_seq = fs->group[DIR_SEQ].nr,
		.reads = atomic_load(&c->reads),
		.read_bytes = atomic_load(&c->read_bytes),
		.writes = atomic_load(&c->writes),
		.write_bytes = atomic_load(&c->write_bytes),
		.fsyncs = atomic_load(&c->fsyncs),
		.resets = atomic_load(&c->resets),
		.finishes = atomic_load(&c->finishes),
		.tails_put = atomic_load(&c->tails_put),
		.tails_dropped = atomic_load(&c->tails_dropped),
		.tails_padded = atomic_load(&c->tails_padded),
		.io_errors = atomic_load(&c->io_errors),
		.recoveries = atomic_load(&c->recoveries),
		.staged_bytes = atomic_load(&c->staged_bytes),
		.stage_writes = atomic_load(&c->stage_writes),
		.stage_write_bytes = atomic_load(&c->stage_write_bytes),
		.stage_waits = atomic_load(&c->stage_waits),
		.arena_bytes = fs->arena ? arena_bytes(fs->arena) : 0,
		.late_errors = atomic_load(&c->late_errors),
		.copies = atomic_load(&c->copies),
		.copy_offload_bytes = atomic_load(&c->copy_offload_bytes),
		.copy_fallback_bytes = atomic_load(&c->copy_fallback_bytes),
		.replayed_bytes = fs->replayed,
		.read_only = atomic_load(&fs->read_only),
	};
	pthread_mutex_lock(&fs->lock);
	st->nr_wro = fs->nr_wro;
	pthread_mutex_unlock(&fs->lock);
}

int zonefs_fallocate(struct zonefs_file *file, uint64_t end)
{
	struct zonefs *fs = file->fs;
	int ret;

	if (!fs->strict)
		return -ENOSYS;
	zonefs_zone_lock(fs, file->zone);
	ret = zonefs_zone_writable(file->zone);
	zonefs_zone_unlock(fs, file->zone);
	if (ret)
		return -EPERM;
	return end > fs->max_capacity ? -EFBIG : -EOPNOTSUPP;
}
