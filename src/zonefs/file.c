/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open and release, with the accounting of files open for writing (Z6, Z13).
 * Opens for writing and the last close of a sequential file take their turn in
 * its queue, so that each sees the state that the one before left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "zonefs_i.h"

static bool for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Z6, precedence: the mount, then the file. The stripe is held. */
static int open_check(struct zonefs *fs, const struct zonefs_zone *z, int flags)
{
	bool trunc = flags & O_TRUNC;

	if (for_writing(flags) || trunc) {
		if (atomic_load(&fs->read_only))
			return -EROFS;
		if (zonefs_zone_writable(z))
			return -EPERM;
	}
	return trunc && !zone_is_seq(z) && fs->strict ? -EPERM : 0;
}

/* ---- counting ---- */

static struct zonefs_req *open_retry(struct zonefs_req *r);

/* Z13: is there room for one more write-open file? fs->lock is held. */
static bool at_limit(const struct zonefs *fs)
{
	return fs->opts.explicit_open && fs->info->max_open &&
	       fs->nr_wro >= fs->info->max_open;
}

/*
 * Count the writable descriptor that r opens, `first` also as a write-open
 * sequential file. The read-only test is repeated under the lock that remount
 * takes. At the limit r is parked (-EINPROGRESS) until a file is released or a
 * moment has passed: the client lets close(2) return before it sends the release.
 */
static int count_writer(struct zonefs_req *r, bool first, bool *open_zone)
{
	struct zonefs *fs = r->fs;
	int err = 0;

	pthread_mutex_lock(&fs->lock);
	*open_zone = first && fs->opts.explicit_open;
	if (atomic_load(&fs->read_only)) {
		err = -EROFS;
	} else if (first && at_limit(fs)) {
		err = r->parked ? -EBUSY : -EINPROGRESS;
		if (!r->parked)
			zonefs_req_park(r, open_retry);
	} else {
		fs->nr_writable++;
		fs->nr_wro += first;
	}
	pthread_mutex_unlock(&fs->lock);
	return err;
}

/* Take the descriptor off its file's writers; true if it was the last. */
static bool drop_writer(struct zonefs_req *r)
{
	bool last;

	zonefs_zone_lock(r->fs, r->zone);
	last = !--r->zone->act->nr_writers;
	zonefs_zone_unlock(r->fs, r->zone);
	return last;
}

/*
 * The counterpart of count_writer, after drop_writer and after the zone was
 * closed: whoever waits for room must find some on the device as well.
 */
static void uncount_writer(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	bool last = zone_is_seq(r->zone) && !r->zone->act->nr_writers;

	pthread_mutex_lock(&fs->lock);
	fs->nr_writable--;
	fs->nr_wro -= last;
	if (last)
		zonefs_unpark(fs);
	pthread_mutex_unlock(&fs->lock);
}

/* ---- the last writer is gone (also when an open fails half way) ---- */

/*
 * Z13: the close is recovered from like a failed read. If that leaves the zone
 * good, it is still open on the device, out of our control.
 */
static struct zonefs_req *close_recovered(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;
	bool remains;

	zonefs_zone_lock(r->fs, z);
	remains = z->flags & ZF_OPEN;
	z->flags &= ~ZF_OPEN;
	zonefs_zone_account(r->fs, z);
	zonefs_zone_unlock(r->fs, z);
	if (remains)
		zonefs_set_readonly(r->fs, z);
	return zonefs_req_return(r, 0);
}

static struct zonefs_req *zone_closed(struct zonefs_req *r)
{
	if (r->io.result < 0)
		return zonefs_recover(r, "close", r->io.result, CAUSE_CLOSE, close_recovered);
	zonefs_zone_lock(r->fs, r->zone);
	r->zone->flags &= ~ZF_OPEN;
	zonefs_zone_account(r->fs, r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	return zonefs_req_return(r, 0);
}

/*
 * Take back the explicit open. An unwritten zone is reset instead, for on some
 * devices it would stay active; but a reset would drop the tail of one that has
 * less than a block.
 */
static struct zonefs_req *close_zone(struct zonefs_req *r, zonefs_step then)
{
	struct zonefs_zone *z = r->zone;
	enum zdev_op op = z->size ? ZDEV_CLOSE : ZDEV_RESET;

	zonefs_req_call(r, then);
	if (!(z->flags & ZF_OPEN))
		return zonefs_req_return(r, 0);
	if (z->flags & ZF_ADM_OPEN) {
		/* Somebody asked for it to stay open. */
		r->io.result = 0;
		return zone_closed(r);
	}
	return zonefs_req_io(r, op, z->zno, 0, 0, zone_closed);
}

/* ---- open ---- */

/*
 * Put the new file, until now r->scratch, on its zone; it keeps the use of the
 * zone that r took.
 */
static struct zonefs_req *open_succeed(struct zonefs_req *r)
{
	struct zonefs_file *file = r->scratch;
	struct zonefs_active *act = r->zone->act;

	zonefs_zone_lock(r->fs, r->zone);
	/* An error that nobody was told of yet is for the next to come, too. */
	file->late_seen = act->late_seq - (act->late_seq && !act->late_told);
	file->next = act->files;
	file->pprev = &act->files;
	if (file->next)
		file->next->pprev = &file->next;
	act->files = file;
	zonefs_zone_unlock(r->fs, r->zone);
	r->pinned = false;
	r->scratch = NULL;
	*(struct zonefs_file **)r->buf = file;
	return zonefs_req_finish(r, 0);
}

static struct zonefs_req *undo_closed(struct zonefs_req *r)
{
	if (for_writing(r->flags))
		uncount_writer(r);
	return zonefs_req_finish(r, -(ssize_t)r->at);
}

/* Fail after the writer was counted. */
static struct zonefs_req *open_undo(struct zonefs_req *r, int err)
{
	r->at = (uint64_t)-err;
	if (for_writing(r->flags) && drop_writer(r))
		return close_zone(r, undo_closed);
	return undo_closed(r);
}

/* As VFS does for a truncation. A set-group-ID bit without execution says nothing. */
static bool drop_suid(struct zonefs_zone *z)
{
	uint16_t bits = S_ISUID | (z->mode & S_IXGRP ? S_ISGID : 0);
	bool dropped = z->mode & bits;

	z->mode &= (uint16_t)~bits;
	return dropped;
}

static struct zonefs_req *open_truncated(struct zonefs_req *r)
{
	bool dropped;

	if (r->result < 0)
		return open_undo(r, (int)r->result);
	zonefs_zone_lock(r->fs, r->zone);
	zonefs_zone_touch(r->fs, r->zone);
	dropped = r->flags & ZONEFS_O_DROP_SUID && drop_suid(r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	if (dropped)
		zonefs_attr_changed(r->fs, r->zone);
	return open_succeed(r);
}

static struct zonefs_req *open_trunc(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;

	if (!(r->flags & O_TRUNC))
		return open_succeed(r);
	if (z->size)
		return zonefs_reset(r, open_truncated);
	zonefs_zone_lock(r->fs, z);
	if (r->fs->strict)
		zonefs_zone_drop_tail(z);
	zonefs_zone_unlock(r->fs, z);
	r->result = 0;
	return open_truncated(r);
}

static struct zonefs_req *zone_opened(struct zonefs_req *r)
{
	if (r->io.result < 0)
		return open_undo(r, (int)r->io.result);
	zonefs_zone_lock(r->fs, r->zone);
	r->zone->flags |= ZF_OPEN;
	zonefs_zone_account(r->fs, r->zone);
	zonefs_zone_unlock(r->fs, r->zone);
	return open_trunc(r);
}

static struct zonefs_req *open_drained(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	bool open_zone = false;
	int err;

	zonefs_zone_lock(fs, z);
	err = open_check(fs, z, r->flags);
	if (!err && for_writing(r->flags)) {
		err = count_writer(r, !z->act->nr_writers, &open_zone);
		z->act->nr_writers += !err;
	}
	zonefs_zone_unlock(fs, z);
	if (err == -EINPROGRESS)
		return NULL;
	if (err)
		return zonefs_req_finish(r, err);
	if (open_zone && z->size < z->capacity)
		return zonefs_req_io(r, ZDEV_OPEN, z->zno, 0, 0, zone_opened);
	return open_trunc(r);
}

/* Head of the queue: an open of a sequential file that writes or empties it. */
static struct zonefs_req *open_turn(struct zonefs_req *r)
{
	if (r->flags & O_TRUNC)
		return zonefs_drain(r, open_drained);
	return open_drained(r);
}

static struct zonefs_req *open_retry(struct zonefs_req *r)
{
	r->parked = true;
	return open_turn(r);
}

static struct zonefs_req *open_now(struct zonefs_req *r)
{
	bool open_zone;
	int err;

	zonefs_zone_lock(r->fs, r->zone);
	err = open_check(r->fs, r->zone, r->flags);
	zonefs_zone_unlock(r->fs, r->zone);
	if (!err && for_writing(r->flags))
		err = count_writer(r, false, &open_zone);
	return err ? zonefs_req_finish(r, err) : open_succeed(r);
}

void zonefs_open(struct zonefs *fs, uint64_t ino, int flags,
		 struct zonefs_file **file, struct zonefs_req *r)
{
	struct zonefs_zone *z = zonefs_zone_by_ino(fs, ino);
	bool changes = for_writing(flags) || flags & O_TRUNC;
	struct zonefs_file *new;
	int err = z ? 0 : zonefs_ino_is_dir(fs, ino) ? -EISDIR : -ENOENT;

	zonefs_req_begin(fs, z, NULL, r);
	r->flags = flags;
	r->buf = file;
	if (!err)
		err = zonefs_zone_get(fs, z);
	r->pinned = !err;
	if (!err) {
		new = r->scratch = malloc(sizeof(*new));
		err = new ? 0 : -ENOMEM;
	}
	if (!err)
		*new = (struct zonefs_file) { .fs = fs, .zone = z, .flags = flags };
	if (err)
		r = zonefs_req_finish(r, err);
	else if (zone_is_seq(z) && changes)
		r = zonefs_req_queue(r, open_turn);
	else
		r->step = open_now;
	zonefs_req_run(r);
}

uint64_t zonefs_file_ino(const struct zonefs_file *file)
{
	return file->zone->zno;
}

/* ---- release ---- */

static void unlink_file(struct zonefs_file *file)
{
	*file->pprev = file->next;
	if (file->next)
		file->next->pprev = file->pprev;
}

static struct zonefs_req *release_end(struct zonefs_req *r)
{
	uncount_writer(r);
	return zonefs_req_finish(r, 0);
}

static struct zonefs_req *release_sealed(struct zonefs_req *r)
{
	if (r->result >= 0)
		zonefs_attr_changed(r->fs, r->zone);
	return close_zone(r, release_end);
}

static struct zonefs_req *room_given_back(struct zonefs_req *r)
{
	struct zonefs_active *act = r->zone->act;

	if (r->fs->strict && act->held) {
		/* Nobody is left to continue it or to hear of it. */
		zonefs_zone_lock(r->fs, r->zone);
		zonefs_zone_drop_tail(r->zone);
		zonefs_zone_unlock(r->fs, r->zone);
	}
	if (zonefs_tail_is_unstored(r->fs, r->zone))
		return zonefs_seal(r, release_sealed);
	return close_zone(r, release_end);
}

static struct zonefs_req *release_drained(struct zonefs_req *r)
{
	if (!drop_writer(r))
		return release_end(r);
	return zonefs_stage_unreserve(r, room_given_back);
}

/* Head of the queue; the file that r had is gone, its use of the zone is r's. */
static struct zonefs_req *release_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, release_drained);
}

void zonefs_release(struct zonefs_file *file, struct zonefs_req *r)
{
	bool writes = for_writing(file->flags);

	zonefs_req_begin(file->fs, file->zone, NULL, r);
	r->pinned = true;
	zonefs_zone_lock(r->fs, r->zone);
	unlink_file(file);
	zonefs_zone_unlock(r->fs, r->zone);
	free(file);
	if (writes && zone_is_seq(r->zone)) {
		r = zonefs_req_queue(r, release_turn);
	} else {
		if (writes)
			uncount_writer(r);
		r = zonefs_req_finish(r, 0);
	}
	zonefs_req_run(r);
}
