/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads (Z7). A read takes the size and the bytes of the tail as they are at
 * one moment, then fetches the rest from the device, zone by zone and in pieces
 * of at most max_io. The edges of a piece that is not made of whole blocks go to
 * scratch memory, so that the caller's bytes arrive in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "zonefs_i.h"

static struct zonefs_req *read_start(struct zonefs_req *r);

static struct zonefs_req *read_end(struct zonefs_req *r, ssize_t result)
{
	if (result > 0)
		atomic_fetch_add(&r->fs->count.read_bytes, (uint64_t)result);
	return zonefs_req_finish(r, result);
}

/* The page cache, which all but direct reads go through, knows one error (Z7). */
static struct zonefs_req *read_recovered(struct zonefs_req *r)
{
	return read_end(r, r->flags & O_DIRECT || r->result == -ENOMEM ? r->result : -EIO);
}

/* Everything is there; unless a reset got between. */
static struct zonefs_req *read_complete(struct zonefs_req *r)
{
	bool again;

	zonefs_zone_lock(r->fs, r->zone);
	again = !r->queued && r->gen != r->zone->act->gen;
	zonefs_zone_unlock(r->fs, r->zone);
	if (again)
		return zonefs_req_queue(r, read_start);
	return read_end(r, (ssize_t)(r->at + r->from_tail));
}

static struct zonefs_req *read_piece(struct zonefs_req *r);

static struct zonefs_req *piece_read(struct zonefs_req *r)
{
	size_t asked = 0;

	for (int i = 0; i < r->io.nr_iov; i++)
		asked += r->iov[i].iov_len;
	if (r->io.result >= 0 && (size_t)r->io.result != asked)
		r->io.result = -EIO;
	if (r->io.result < 0)
		return zonefs_recover(r, "read", r->io.result, CAUSE_READ, read_recovered);
	r->at += r->part;
	return read_piece(r);
}

static struct zonefs_req *read_piece(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	uint64_t left = r->len - r->at, room, zpos;
	size_t head, rest;
	uint32_t zno;
	int nr = 0;

	if (!left)
		return read_complete(r);
	room = zonefs_zone_place(fs, r->zone, r->pos + r->at, &zno, &zpos);
	head = zpos % fs->bs;
	if (room > fs->info->max_io - head)
		room = fs->info->max_io - head;
	r->part = left < room ? left : room;
	rest = (fs->bs - (head + r->part) % fs->bs) % fs->bs;
	if ((head || rest) && !r->scratch) {
		r->scratch = malloc(2 * (size_t)fs->bs);
		if (!r->scratch)
			return read_end(r, -ENOMEM);
	}
	if (head)
		r->iov[nr++] = (struct iovec) { r->scratch, head };
	r->iov[nr++] = (struct iovec) { (char *)r->buf + r->at, r->part };
	if (rest)
		r->iov[nr++] = (struct iovec) { (char *)r->scratch + fs->bs, rest };
	return zonefs_req_io(r, ZDEV_READ, zno, zpos - head, nr, piece_read);
}

/* Z7, in its order: an errno, or the bytes to read. The stripe is held. */
static ssize_t read_check(const struct zonefs *fs, const struct zonefs_zone *z,
			  const struct zonefs_req *r)
{
	uint64_t n;
	int err;

	err = zonefs_zone_readable(z);
	if (err)
		return err;
	if (r->pos >= z->size)
		return 0;
	n = z->size - r->pos;
	if (n > r->len)
		n = r->len;
	if (fs->strict && r->flags & O_DIRECT && (r->pos | n) & (fs->bs - 1))
		return -EINVAL;
	return (ssize_t)n;
}

/*
 * Take n bytes, the last of the read, that the device has not got: staged ones, or
 * the tail. Only the default personality has them; strict files end with the write
 * pointer.
 */
static void copy_from_memory(struct zonefs_req *r, uint64_t wp, size_t n)
{
	const struct zonefs_active *act = r->zone->act;
	uint64_t from = r->pos > wp ? r->pos : wp;
	char *to = (char *)r->buf + (from - r->pos);

	if (act->stage && act->stage->live)
		zonefs_stage_read(r->fs, r->zone, from, to, n);
	else
		memcpy(to, act->tail + (from - wp), n);
	r->len -= n;
	r->from_tail = n;
}

static struct zonefs_req *read_start(struct zonefs_req *r)
{
	struct zonefs *fs = r->fs;
	struct zonefs_zone *z = r->zone;
	struct zonefs_active *act = z->act;
	uint64_t wp, end;
	ssize_t n;

	r->len = r->asked;
	r->at = r->from_tail = 0;
	zonefs_zone_lock(fs, z);
	if (act->unstable && !r->queued) {
		zonefs_zone_unlock(fs, z);
		return zonefs_req_queue(r, read_start);
	}
	n = read_check(fs, z, r);
	if (n <= 0) {
		zonefs_zone_unlock(fs, z);
		return read_end(r, n);
	}
	r->len = (size_t)n;
	r->gen = act->gen;
	wp = zone_is_seq(z) ? zone_dev_end(fs, z) : z->size;
	end = r->pos + r->len;
	if (end > wp && !act->loaded) {
		zonefs_zone_unlock(fs, z);
		return zonefs_tail_load(r, read_start);
	}
	if (end > wp)
		copy_from_memory(r, wp, (size_t)(end - (r->pos > wp ? r->pos : wp)));
	zonefs_zone_unlock(fs, z);
	return read_piece(r);
}

void zonefs_read(struct zonefs_file *file, int flags, void *buf, size_t len,
		 uint64_t off, struct zonefs_req *r)
{
	zonefs_req_begin(file->fs, file->zone, file, r);
	atomic_fetch_add(&r->fs->count.reads, 1);
	r->buf = buf;
	r->pos = off;
	r->asked = len > SSIZE_MAX ? SSIZE_MAX : len;
	r->flags = flags;
	r->step = read_start;
	zonefs_req_run(r);
}

bool zonefs_file_is_barred(struct zonefs_file *file)
{
	bool barred;

	zonefs_zone_lock(file->fs, file->zone);
	barred = zonefs_zone_readable(file->zone) != 0;
	zonefs_zone_unlock(file->fs, file->zone);
	return barred;
}
