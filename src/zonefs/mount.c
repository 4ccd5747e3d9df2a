/* SPDX-License-Identifier: BSD-2-Clause */
/* Life of a mount: the file table (Z3), the end, and new options (Z12). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "zonefs_i.h"

#define REPORT_BATCH	1024u

/* ---- the file table ---- */

/* What is learnt of all zones on the way. */
struct build {
	struct zonefs	*fs;
	struct zerr	*e;
	uid_t		uid;		/* of files */
	gid_t		gid;
	uint16_t	perm;
	uint8_t		*block;		/* block_size bytes, for tails */
	uint32_t	nr_tails;	/* that strict does not show */
};

static int check_zone(struct build *b, uint32_t zno, const struct zdev_zone *zi)
{
	const struct zdev_info *info = b->fs->info;
	const char *path = info->path;

	switch (zi->type) {
	case BLK_ZONE_TYPE_CONVENTIONAL:
	case BLK_ZONE_TYPE_SEQWRITE_REQ:
	case BLK_ZONE_TYPE_SEQWRITE_PREF:
		break;
	default:
		return zerr_set(b->e, EIO, "%s: zone %u: unknown type %u", path, zno, zi->type);
	}
	if (zi->size > info->zone_size)
		return zerr_set(b->e, EINVAL, "%s: zone %u: longer than the device's zone size",
				path, zno);
	if (!zi->capacity || zi->capacity > zi->size || zi->capacity % info->block_size ||
	    (zi->type == BLK_ZONE_TYPE_CONVENTIONAL && zi->capacity != zi->size))
		return zerr_set(b->e, EIO, "%s: zone %u: bad capacity", path, zno);
	if (zi->wp != ZDEV_WP_NONE && (zi->wp > zi->capacity || zi->wp % info->block_size))
		return zerr_set(b->e, EIO, "%s: zone %u: bad write pointer", path, zno);
	return 0;
}

/* The table of Z3. */
static int apply_cond(struct build *b, struct zonefs_zone *z, const struct zdev_zone *zi)
{
	bool seq = zone_is_seq(z);

	switch (zi->cond) {
	case BLK_ZONE_COND_NOT_WP:
	case BLK_ZONE_COND_FULL:
		z->size = z->capacity;
		break;
	case BLK_ZONE_COND_EMPTY:
		z->size = 0;
		break;
	case BLK_ZONE_COND_IMP_OPEN:
	case BLK_ZONE_COND_EXP_OPEN:
	case BLK_ZONE_COND_CLOSED:
		if (zi->wp == ZDEV_WP_NONE)
			return zerr_set(b->e, EIO, "%s: zone %u: no write pointer",
					b->fs->info->path, z->zno);
		z->size = zi->wp;
		break;
	case BLK_ZONE_COND_READONLY:
	case BLK_ZONE_COND_OFFLINE:
		z->flags |= zi->cond == BLK_ZONE_COND_OFFLINE ? ZF_OFF : ZF_RO;
		z->size = seq || zi->cond == BLK_ZONE_COND_OFFLINE ? 0 : z->capacity;
		z->mode = 0;
		break;
	default:
		return zerr_set(b->e, EIO, "%s: zone %u: unknown condition %u",
				b->fs->info->path, z->zno, zi->cond);
	}
	return 0;
}

/* A partial last block from an earlier mount in the default personality. */
static void restore_tail(struct build *b, struct zonefs_zone *z)
{
	struct zonefs *fs = b->fs;
	ssize_t len = zdev_get_tail(fs->dev, z->zno, b->block);

	if (!len || len == -EOPNOTSUPP)
		return;
	if (len > 0 && len < (ssize_t)fs->bs && z->size < z->capacity) {
		b->nr_tails++;
		if (!fs->strict)
			z->size += (uint64_t)len;
		return;
	}
	/* A write would put other bytes in its place: keep writers off. */
	zlog(fs->log, ZLOG_ERR, "%s: zone %u: partial last block: %s; the file is read-only",
	     fs->info->path, z->zno, len < 0 ? strerror((int)-len) : "bad length");
	z->flags |= ZF_RO;
	z->mode &= (uint16_t)~0222;
}

/* Z3: no zone stays open over a mount, whoever opened it. */
static int close_open_zone(struct build *b, const struct zonefs_zone *z,
			   const struct zdev_zone *zi)
{
	enum zdev_op op = z->size ? ZDEV_CLOSE : ZDEV_RESET;
	int err;

	if (zi->cond != BLK_ZONE_COND_IMP_OPEN && zi->cond != BLK_ZONE_COND_EXP_OPEN)
		return 0;
	err = zdev_command(b->fs->dev, op, z->zno);
	if (err)
		return zerr_errno(b->e, -err, "%s: closing zone %u", b->fs->info->path, z->zno);
	return 0;
}

static int start_file(struct build *b, struct zonefs_zone *z, uint32_t zno,
		      const struct zdev_zone *zi)
{
	int err;

	z->zno = zno;
	z->nr_zones = 1;
	z->capacity = zi->capacity;
	z->uid = b->uid;
	z->gid = b->gid;
	z->mode = b->perm;
	z->seq = zi->type != BLK_ZONE_TYPE_CONVENTIONAL;
	err = apply_cond(b, z, zi);
	if (err || !zone_is_seq(z) || z->flags & (ZF_RO | ZF_OFF))
		return err;
	if (z->size < z->capacity)
		restore_tail(b, z);
	return close_open_zone(b, z, zi);
}

/* One more zone of a run of conventional ones: the worst condition counts. */
static int extend_file(struct build *b, struct zonefs_zone *z, const struct zdev_zone *zi)
{
	struct zonefs_zone part = { .zno = z->zno + z->nr_zones, .capacity = zi->capacity };
	int err = apply_cond(b, &part, zi);

	z->nr_zones++;
	z->capacity += zi->capacity;
	z->flags |= part.flags;
	if (z->flags & ZF_OFF)
		z->flags &= ~ZF_RO;
	if (z->flags & (ZF_RO | ZF_OFF))
		z->mode = 0;
	z->size = z->flags & ZF_OFF ? 0 : z->capacity;
	return err;
}

static int add_zone(struct build *b, uint32_t zno, const struct zdev_zone *zi)
{
	struct zonefs *fs = b->fs;
	struct zonefs_zone *last = fs->nr_files ? &fs->zones[fs->nr_files - 1] : NULL;
	int err = check_zone(b, zno, zi);

	if (err || !zno)
		return err;
	if (fs->sb.features & ZONEFS_F_AGGR_CNV && last && !zone_is_seq(last) &&
	    zi->type == BLK_ZONE_TYPE_CONVENTIONAL)
		return extend_file(b, last, zi);
	return start_file(b, &fs->zones[fs->nr_files++], zno, zi);
}

static int scan_zones(struct build *b)
{
	struct zonefs *fs = b->fs;
	uint32_t nr = fs->info->nr_zones, n;
	struct zdev_zone *zi = calloc(REPORT_BATCH, sizeof(*zi));
	int err = zi ? 0 : zerr_errno(b->e, ENOMEM, "%s", fs->info->path);

	for (uint32_t zno = 0; zno < nr && !err; zno += n) {
		n = nr - zno < REPORT_BATCH ? nr - zno : REPORT_BATCH;
		err = zdev_report(fs->dev, zno, n, zi);
		if (err)
			zerr_errno(b->e, -err, "%s: zone report", fs->info->path);
		for (uint32_t i = 0; i < n && !err; i++)
			err = add_zone(b, zno + i, &zi[i]);
	}
	free(zi);
	return err;
}

/* What follows from the table: the groups, and the sums of Z4, Z5 and Z13. */
static int index_files(struct zonefs *fs)
{
	uint32_t nr[NR_DIRS] = { 0 };

	for (uint32_t i = 0; i < fs->nr_files; i++)
		nr[zone_is_seq(&fs->zones[i]) ? DIR_SEQ : DIR_CNV]++;
	for (int d = DIR_CNV; d <= DIR_SEQ; d++) {
		fs->group[d].files = calloc(nr[d] ? nr[d] : 1, sizeof(uint32_t));
		if (!fs->group[d].files)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < fs->nr_files; i++) {
		struct zonefs_zone *z = &fs->zones[i];
		struct zonefs_group *g = &fs->group[zone_is_seq(z) ? DIR_SEQ : DIR_CNV];
		uint64_t size = z->size;

		g->files[g->nr++] = i;
		fs->total_blocks += z->capacity / fs->bs;
		if (z->capacity > fs->max_capacity)
			fs->max_capacity = z->capacity;
		z->size = 0;
		zonefs_zone_set_size(fs, z, size);
		zonefs_zone_account(fs, z);
	}
	return 0;
}

static int build_table(struct zonefs *fs, struct zerr *e)
{
	const struct zonefs_opts *o = &fs->opts;
	bool sb_uid = fs->sb.features & ZONEFS_F_UID, sb_gid = fs->sb.features & ZONEFS_F_GID;
	struct build b = {
		.fs = fs, .e = e,
		/* Not even the mounter could use files of root (D12). */
		.uid = o->has_uid ? o->uid : sb_uid ? fs->sb.uid : o->mounter_uid,
		.gid = o->has_gid ? o->gid : sb_gid ? fs->sb.gid :
		       o->mounter_uid ? o->mounter_gid : 0,
		.perm = (uint16_t)(o->has_perm ? o->perm : fs->sb.perm),
		.block = malloc(fs->bs),
	};
	struct zonefs_zone *fit;
	int err = b.block ? 0 : zerr_errno(e, ENOMEM, "%s", fs->info->path);

	fs->zones = calloc(fs->info->nr_zones, sizeof(*fs->zones));
	if (!err && !fs->zones)
		err = zerr_errno(e, ENOMEM, "%s: file table", fs->info->path);
	if (!err)
		err = scan_zones(&b);
	free(b.block);
	if (err)
		return err;
	/* Aggregation may have left most of it unused. */
	fit = realloc(fs->zones, (fs->nr_files + 1) * sizeof(*fs->zones));
	if (fit)
		fs->zones = fit;
	if (fs->strict && b.nr_tails)
		zlog(fs->log, ZLOG_WARN, "%s: %u files end within a block, which strict "
		     "does not show", fs->info->path, b.nr_tails);
	err = index_files(fs);
	return err ? zerr_errno(e, -err, "%s", fs->info->path) : 0;
}

/* ---- mount ---- */

static void init_dirs(struct zonefs *fs)
{
	for (int d = DIR_ROOT; d < NR_DIRS; d++) {
		fs->dirs[d].mode = 0555;
		fs->dirs[d].times = (struct zonefs_times) {
			fs->mount_time, fs->mount_time, fs->mount_time,
		};
		if (d == DIR_ROOT)
			continue;
		fs->dirs[d].uid = fs->opts.mounter_uid;
		fs->dirs[d].gid = fs->opts.mounter_gid;
	}
}

static struct zonefs *alloc_fs(struct zdev *dev, const struct zonefs_opts *opts,
			       const struct zonefs_events *ev, const struct zlog *log)
{
	struct zonefs *fs = calloc(1, sizeof(*fs));
	pthread_condattr_t mono;

	if (!fs)
		return NULL;
	fs->dev = dev;
	fs->info = zdev_info(dev);
	fs->log = log;
	if (ev)
		fs->ev = *ev;
	fs->opts = *opts;
	fs->bs = fs->info->block_size;
	fs->strict = opts->strict;
	/* Only ever read: the pages of it are the system's one page of zeros. */
	fs->zeroes = calloc(1, fs->info->max_io);
	atomic_init(&fs->read_only, opts->read_only);
	atomic_init(&fs->inflight, 1);
	clock_gettime(CLOCK_REALTIME, &fs->mount_time);
	for (unsigned i = 0; i < ZONEFS_STRIPES; i++)
		pthread_mutex_init(&fs->stripes[i], NULL);
	pthread_mutex_init(&fs->lock, NULL);
	pthread_mutex_init(&fs->work_lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&fs->work_cond, &mono);
	pthread_mutex_init(&fs->stage_lock, NULL);
	pthread_cond_init(&fs->stage_cond, &mono);
	pthread_condattr_destroy(&mono);
	init_dirs(fs);
	return fs;
}

static void free_zone(struct zonefs_zone *z)
{
	struct zonefs_file *file, *next;

	free(z->times);
	if (!z->act)
		return;
	for (file = z->act->files; file; file = next) {
		next = file->next;
		free(file);
	}
	free(z->act->stage);
	free(z->act->tail);
	free(z->act);
}

static void free_fs(struct zonefs *fs)
{
	for (uint32_t i = 0; i < fs->nr_files; i++)
		free_zone(&fs->zones[i]);
	for (unsigned i = 0; i < ZONEFS_STRIPES; i++)
		pthread_mutex_destroy(&fs->stripes[i]);
	pthread_mutex_destroy(&fs->lock);
	pthread_mutex_destroy(&fs->work_lock);
	pthread_cond_destroy(&fs->work_cond);
	pthread_mutex_destroy(&fs->stage_lock);
	pthread_cond_destroy(&fs->stage_cond);
	arena_destroy(fs->arena);
	for (int d = 0; d < NR_DIRS; d++)
		free(fs->group[d].files);
	free(fs->zones);
	free(fs->zeroes);
	free(fs);
}

static int read_super(struct zonefs *fs, struct zerr *e)
{
	int err = zonefs_super_read(fs->dev, &fs->sb, e);

	if (err == -ENODEV)
		return zerr_set(e, EINVAL, "%s: no zonefs super block", fs->info->path);
	return err;
}

/* Z3: with no limit there is nothing to reserve a zone against. */
static void check_explicit_open(struct zonefs *fs)
{
	if (!fs->opts.explicit_open || fs->info->max_open || fs->info->max_active)
		return;
	zlog(fs->log, ZLOG_INFO, "%s: no limit of open or active zones, explicit-open ignored",
	     fs->info->path);
	fs->opts.explicit_open = false;
}

/* What a killed daemon left comes first: sizes count it. */
static int replay(struct zonefs *fs, struct zerr *e)
{
	struct zonefs_arena_left left;
	int err;

	if (!fs->info->read_only) {
		err = zonefs_arena_replay(fs->dev, fs->log, &left, e);
		fs->replayed = left.bytes;
		return err;
	}
	err = zonefs_arena_pending(fs->dev, fs->log, &left, e);
	if (!err && left.bytes)
		zlog(fs->log, ZLOG_WARN, "%s: %llu bytes in arena %s wait for a mount that may "
		     "write", fs->info->path, (unsigned long long)left.bytes, left.path);
	return err;
}

/* Without an arena appends go straight to the device, which is slower and no worse. */
static int start_staging(struct zonefs *fs, struct zerr *e)
{
	int err;

	if (fs->strict || fs->info->read_only || !fs->opts.append_buffer || !fs->opts.buffers)
		return 0;
	err = arena_create(fs->dev, fs->sb.uuid, fs->opts.buffers, &fs->arena);
	if (err) {
		zlog(fs->log, ZLOG_WARN, "%s: no memory for appends on a RAM file system: %s; "
		     "each goes to the device at once", fs->info->path, strerror(-err));
		return 0;
	}
	err = zonefs_stage_thread_start(fs);
	return err ? zerr_errno(e, -err, "%s: starting a thread", fs->info->path) : 0;
}

int zonefs_mount(struct zdev *dev, const struct zonefs_opts *opts,
		 const struct zonefs_events *ev, const struct zlog *log,
		 struct zonefs **fsp, struct zerr *e)
{
	struct zonefs *fs;
	int err;

	if (zdev_info(dev)->read_only && !opts->read_only)
		return zerr_set(e, EROFS, "%s: is read-only", zdev_info(dev)->path);
	fs = alloc_fs(dev, opts, ev, log);
	if (!fs)
		return zerr_errno(e, ENOMEM, "%s", zdev_info(dev)->path);
	err = fs->zeroes ? read_super(fs, e) : zerr_errno(e, ENOMEM, "%s", fs->info->path);
	if (!err) {
		check_explicit_open(fs);
		err = replay(fs, e);
	}
	if (!err)
		err = build_table(fs, e);
	if (!err)
		err = start_staging(fs, e);
	if (!err) {
		err = zonefs_worker_start(fs);
		if (err)
			zerr_errno(e, -err, "%s: starting a thread", fs->info->path);
		if (err && fs->arena)
			zonefs_stage_thread_stop(fs);
	}
	if (err) {
		free_fs(fs);
		return err;
	}
	*fsp = fs;
	return 0;
}

/* ---- unmount ---- */

/* The device had no room for the tail: complete its block, the bytes count. */
static int pad_tail(struct zonefs *fs, struct zonefs_zone *z)
{
	uint8_t *block = calloc(1, fs->bs);
	ssize_t n;

	if (!block)
		return -ENOMEM;
	memcpy(block, z->act->tail, z->act->held);
	n = zdev_pwrite(fs->dev, z->zno, zone_wp(fs, z), block, fs->bs);
	free(block);
	return n < 0 ? (int)n : 0;
}

/* Leave the device as a mount expects it; the first error. */
static int settle_zone(struct zonefs *fs, struct zonefs_zone *z)
{
	int err = 0, ret = 0;

	if (z->act)
		zonefs_late_unheard(fs, z, z->act);
	if (zonefs_tail_is_unstored(fs, z))
		err = pad_tail(fs, z);
	if (z->flags & (ZF_OPEN | ZF_ADM_OPEN) && !(z->flags & (ZF_RO | ZF_OFF)))
		ret = zdev_command(fs->dev, z->size ? ZDEV_CLOSE : ZDEV_RESET, z->zno);
	return err ? err : ret;
}

void zonefs_stop(struct zonefs *fs)
{
	atomic_store(&fs->stopping, true);
}

int zonefs_unmount(struct zonefs *fs)
{
	int err = 0, ret;
	sem_t idle;

	zonefs_stop(fs);
	zonefs_stage_drain_all(fs);
	sem_init(&idle, 0, 0);
	fs->idle = &idle;
	zonefs_inflight_put(fs);
	while (sem_wait(&idle))
		;
	sem_destroy(&idle);
	zonefs_worker_stop(fs);
	if (fs->arena)
		zonefs_stage_thread_stop(fs);
	if (!fs->info->read_only) {
		for (uint32_t i = 0; i < fs->nr_files; i++) {
			ret = settle_zone(fs, &fs->zones[i]);
			err = err ? err : ret;
		}
		ret = zdev_command(fs->dev, ZDEV_FLUSH, ZDEV_ALL_ZONES);
		err = err ? err : ret;
		ret = atomic_load(&fs->late_err);
		err = err ? err : ret;
	}
	free_fs(fs);
	return err;
}

/* ---- options ---- */

int zonefs_remount(struct zonefs *fs, const struct zonefs_opts *opts)
{
	int err = 0;

	pthread_mutex_lock(&fs->lock);
	if (opts->read_only && !atomic_load(&fs->read_only) && fs->nr_writable)
		err = -EBUSY;
	else if (!opts->read_only && fs->info->read_only)
		err = -EROFS;
	if (!err) {
		fs->opts.errors = opts->errors;
		fs->opts.explicit_open = opts->explicit_open;
		fs->opts.read_only = opts->read_only;
		fs->told_readonly = false;
		atomic_store(&fs->read_only, opts->read_only);
	}
	pthread_mutex_unlock(&fs->lock);
	return err;
}

void zonefs_get_opts(struct zonefs *fs, struct zonefs_opts *opts)
{
	pthread_mutex_lock(&fs->lock);
	*opts = fs->opts;
	pthread_mutex_unlock(&fs->lock);
}

const struct zonefs_super *zonefs_super(const struct zonefs *fs)
{
	return &fs->sb;
}

struct zdev *zonefs_dev(struct zonefs *fs)
{
	return fs->dev;
}
