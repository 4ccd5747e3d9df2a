/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a killed daemon left in its arena goes to the device. For each zone the
 * segments make a run of bytes; the device's write pointer must stand in it,
 * and what the device has of it must be the same. The rest is then appended.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena_i.h"
#include "zonefsd/super.h"
#include "zonefsd/units.h"

/* A segment in use, checked. */
struct piece {
	uint32_t	zno;
	uint32_t	index;
	uint64_t	resets;
	uint64_t	start, end;	/* in the zone */
};

struct old_arena {
	struct zdev	*dev;
	const struct zdev_info *info;
	const struct zlog *log;
	struct zonefs_arena_left *left;
	bool		apply;
	int		dirfd, fd;
	char		name[96];
	const char	*base;
	size_t		size;
	struct arena_head head;
	struct piece	*pieces;	/* by zone and place */
	uint32_t	nr;
	uint8_t		*block, *part;	/* for what the device has: a block, a segment */
};

static void refuse(struct old_arena *a, uint32_t zno, const char *why)
{
	a->left->refused++;
	zlog(a->log, ZLOG_ERR, "%s: zone %" PRIu32 ": what arena %s holds of it is not "
	     "applied: %s", a->info->path, zno, a->left->path, why);
}

/* ---- finding it ---- */

/*
 * Arenas with the uuid of our device and another place belong to a copy of it,
 * or to the device before it was moved. Said, so that nobody wonders.
 */
static void tell_of_others(struct old_arena *a, const char *dir)
{
	size_t prefix = strlen("arena-") + 36 + 1;
	static const uint8_t none[16];
	struct dirent *de;
	DIR *d;
	int fd;

	if (!memcmp(a->info->uuid, none, sizeof(none)))
		return;
	fd = dup(a->dirfd);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(d);
	while ((de = readdir(d))) {
		if (strncmp(de->d_name, a->name, prefix) || !strcmp(de->d_name, a->name))
			continue;
		fd = arena_file_open(a->dirfd, de->d_name);
		if (fd < 0)
			continue;	/* in use by the copy's own daemon */
		close(fd);
		zlog(a->log, ZLOG_WARN, "%s: arena %s/%s is not applied: it belongs to "
		     "another copy of the device", a->info->path, dir, de->d_name);
	}
	closedir(d);
}

static void close_arena(struct old_arena *a)
{
	if (a->base)
		munmap((void *)(uintptr_t)a->base, a->size);
	if (a->fd >= 0)
		close(a->fd);
	if (a->dirfd >= 0)
		close(a->dirfd);
	free(a->pieces);
	free(a->block);
	free(a->part);
}

/* Not ours to apply, and not ours to throw away: out of the way of the next one. */
static void put_aside(struct old_arena *a, const char *why)
{
	char aside[112];

	snprintf(aside, sizeof(aside), "refused-%s", a->name);
	zlog(a->log, ZLOG_ERR, "%s: arena %s is not applied: %s", a->info->path,
	     a->left->path, why);
	a->left->refused++;
	if (a->apply && renameat(a->dirfd, a->name, a->dirfd, aside))
		zlog(a->log, ZLOG_ERR, "%s: moving the arena aside: %s", a->left->path,
		     strerror(errno));
}

/* Header and mapping. 1, 0 when it is not for us, -errno. */
static int map_arena(struct old_arena *a, const struct arena_head *want)
{
	const char *why;
	struct stat st;
	void *base;

	if (fstat(a->fd, &st))
		return -errno;
	a->size = (size_t)st.st_size;
	if (pread(a->fd, &a->head, sizeof(a->head), 0) != (ssize_t)sizeof(a->head)) {
		/* Killed between making it and writing its header: nothing is in it. */
		return 0;
	}
	if (!a->head.version && !a->head.crc)
		return 0;
	if (arena_head_check(&a->head, a->size, &why) ||
	    !arena_head_match(&a->head, want, &why)) {
		put_aside(a, why);
		return 0;
	}
	base = mmap(NULL, a->size, PROT_READ, MAP_SHARED, a->fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	a->base = base;
	return 1;
}

/* 1 with *a open, 0 when there is none, -errno. close_arena in any case. */
static int open_arena(struct old_arena *a, struct zerr *e)
{
	struct zonefs_super sb = { .label = "" };
	struct arena_head want;
	char dir[200];
	int ret;

	/* Not formatted or damaged: what its arena was for is gone. */
	zonefs_super_read(a->dev, &sb, NULL);
	ret = arena_head_make(a->dev, sb.uuid, 0, &want);
	if (ret)
		return ret == -EOPNOTSUPP ? 0 : zerr_errno(e, -ret, "%s", a->info->path);
	a->dirfd = arena_dir_open(dir);
	if (a->dirfd < 0)
		return 0;
	arena_name(&want, a->name);
	tell_of_others(a, dir);
	a->fd = arena_file_open(a->dirfd, a->name);
	if (a->fd == -ENOENT)
		return 0;
	snprintf(a->left->path, sizeof(a->left->path), "%s/%s", dir, a->name);
	if (a->fd < 0)
		return zerr_errno(e, -a->fd, "%s", a->left->path);
	ret = map_arena(a, &want);
	return ret < 0 ? zerr_errno(e, -ret, "%s", a->left->path) : ret;
}

/* ---- what is in it ---- */

static int by_place(const void *x, const void *y)
{
	const struct piece *a = x, *b = y;

	if (a->zno != b->zno)
		return a->zno < b->zno ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

/* One entry of the table, as the dead daemon may have left it at any moment. */
static bool read_entry(struct old_arena *a, uint32_t i, struct piece *p)
{
	const struct arena_entry *e =
		(const struct arena_entry *)(a->base + a->head.table_off) + i;
	uint64_t word = atomic_load_explicit(&((struct arena_entry *)(uintptr_t)e)->word,
					     memory_order_acquire);
	int64_t len;

	if (!word)
		return false;
	len = arena_word_len(arena_seed(i, e->zno, e->resets, e->start), word);
	if (len < 0) {
		a->left->refused++;
		zlog(a->log, ZLOG_ERR, "%s: entry %" PRIu32 " of arena %s is damaged, and "
		     "not applied", a->info->path, i, a->left->path);
		return false;
	}
	*p = (struct piece) { e->zno, i, e->resets, e->start, 0 };
	if (!len)
		return false;
	if (len > a->head.seg_size || !zu_add(p->start, (uint64_t)len, &p->end) ||
	    p->zno >= a->info->nr_zones || p->end > a->info->zone_size ||
	    p->start % a->info->block_size) {
		refuse(a, p->zno, "its place makes no sense");
		return false;
	}
	return true;
}

static int read_table(struct old_arena *a)
{
	a->pieces = calloc(a->head.nr_segs ? a->head.nr_segs : 1, sizeof(*a->pieces));
	a->block = malloc(a->info->block_size);
	a->part = malloc(a->head.seg_size);
	if (!a->pieces || !a->block || !a->part)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->head.nr_segs; i++)
		a->nr += read_entry(a, i, &a->pieces[a->nr]);
	qsort(a->pieces, a->nr, sizeof(*a->pieces), by_place);
	return 0;
}

static const char *bytes_of(const struct old_arena *a, const struct piece *p, uint64_t pos)
{
	return a->base + a->head.data_off + (size_t)p->index * a->head.seg_size +
	       (pos - p->start);
}

/* ---- does a zone's run fit? ---- */

/* Pieces that follow each other without a gap. Returns their number, 0 if refused. */
static uint32_t run_length(struct old_arena *a, const struct piece *p, uint32_t max)
{
	uint32_t n = 1;

	while (n < max && p[n].zno == p->zno)
		n++;
	for (uint32_t i = 1; i < n; i++)
		if (p[i].start != p[i - 1].end || p[i].resets != p->resets) {
			refuse(a, p->zno, "its parts do not fit together");
			return 0;
		}
	return n;
}

/*
 * Whatever else has written to the zone since: the bytes that both have must be
 * the same. So must those of a partial block that was completed: the write pointer
 * is behind it then. 1, 0 when they are not, -errno.
 */
static int same_bytes(struct old_arena *a, const struct piece *p, uint64_t wp, size_t tail)
{
	size_t len = wp > p->start ? (size_t)((wp < p->end ? wp : p->end) - p->start) : 0;
	size_t done = 0, n, blocks;
	ssize_t ret;

	blocks = zu_round_down(len + a->info->block_size - 1, a->info->block_size);
	for (; done < blocks; done += n) {
		n = blocks - done < a->info->max_io ? blocks - done : a->info->max_io;
		ret = zdev_pread(a->dev, p->zno, p->start + done, a->part + done, n);
		if (ret < 0)
			return (int)ret;
	}
	if (memcmp(a->part, bytes_of(a, p, p->start), len))
		return 0;
	if (wp < p->start || wp >= p->end)
		return 1;
	if (tail > p->end - wp)
		tail = (size_t)(p->end - wp);
	return !memcmp(a->block, bytes_of(a, p, wp), tail);
}

/*
 * Look at the zone of the run p[0..n): *from is where its rest begins that the
 * device has not got. 1; 0 when there is no rest or it must not be applied;
 * -errno.
 */
static int check_run(struct old_arena *a, const struct piece *p, uint32_t n, uint64_t *from)
{
	uint64_t end = p[n - 1].end;
	uint64_t last = zu_round_down(end + a->info->block_size - 1, a->info->block_size);
	struct zdev_zone z;
	ssize_t tail = 0;
	int ret;

	ret = zdev_report(a->dev, p->zno, 1, &z);
	if (ret)
		return ret;
	if (z.type == BLK_ZONE_TYPE_CONVENTIONAL || z.wp == ZDEV_WP_NONE)
		return refuse(a, p->zno, "the zone cannot be written"), 0;
	if (z.resets != p->resets)
		return refuse(a, p->zno, "the zone was reset since"), 0;
	if (z.wp < p->start || z.wp > last || end > z.capacity)
		return refuse(a, p->zno, "the write pointer is elsewhere"), 0;
	if (z.wp < z.capacity)
		tail = zdev_get_tail(a->dev, p->zno, a->block);
	if (tail < 0 && tail != -EOPNOTSUPP)
		return (int)tail;
	for (uint32_t i = 0; i < n; i++) {
		ret = same_bytes(a, &p[i], z.wp, tail > 0 ? (size_t)tail : 0);
		if (ret < 0)
			return ret;
		if (!ret)
			return refuse(a, p->zno, "the zone has other bytes there"), 0;
	}
	*from = z.wp;
	return z.wp + (uint64_t)(tail > 0 ? tail : 0) < end;
}

/* ---- applying it ---- */

static int put_tail(struct old_arena *a, uint32_t zno, uint64_t wp, const char *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct zdev_io io = {
		.op = ZDEV_PUT_TAIL, .zno = zno, .pos = wp, .iov = &iov, .nr_iov = 1,
	};
	ssize_t ret = zdev_run(a->dev, &io);

	if (ret != -EOPNOTSUPP)
		return (int)ret;
	/* No room for tails on this device: its block is completed with zeros. */
	memset(a->block, 0, a->info->block_size);
	memcpy(a->block, data, len);
	ret = zdev_pwrite(a->dev, zno, wp, a->block, a->info->block_size);
	return ret < 0 ? (int)ret : 0;
}

static int apply_piece(struct old_arena *a, const struct piece *p, uint64_t pos)
{
	uint64_t whole = zu_round_down(p->end, a->info->block_size), n;
	ssize_t ret;

	for (; pos < whole; pos += n) {
		n = whole - pos < a->info->max_io ? whole - pos : a->info->max_io;
		ret = zdev_pwrite(a->dev, p->zno, pos, bytes_of(a, p, pos), n);
		if (ret < 0)
			return (int)ret;
	}
	if (whole == p->end)
		return 0;
	return put_tail(a, p->zno, whole, bytes_of(a, p, whole), p->end - whole);
}

static int apply_run(struct old_arena *a, const struct piece *p, uint32_t n, uint64_t from)
{
	int ret = 0;

	for (uint32_t i = 0; i < n && !ret; i++)
		if (p[i].end > from)
			ret = apply_piece(a, &p[i], from > p[i].start ? from : p[i].start);
	return ret;
}

static int each_run(struct old_arena *a, struct zerr *e)
{
	uint64_t from = 0;
	uint32_t n;
	int ret;

	for (uint32_t i = 0; i < a->nr; i += n) {
		const struct piece *p = &a->pieces[i];

		n = run_length(a, p, a->nr - i);
		if (!n) {
			for (n = 1; i + n < a->nr && p[n].zno == p->zno; n++)
				;
			continue;
		}
		ret = check_run(a, p, n, &from);
		if (ret > 0) {
			a->left->zones++;
			a->left->bytes += p[n - 1].end - from;
		}
		ret = ret > 0 && a->apply ? apply_run(a, p, n, from) : ret < 0 ? ret : 0;
		if (ret)
			return zerr_errno(e, -ret, "%s: zone %" PRIu32 ": replaying arena %s",
					  a->info->path, p->zno, a->left->path);
	}
	return 0;
}

/* What is applied must be durable before its other copy goes. */
static int make_durable(struct old_arena *a, struct zerr *e)
{
	int ret = a->left->bytes ? zdev_command(a->dev, ZDEV_FLUSH, ZDEV_ALL_ZONES) : 0;

	if (ret)
		return zerr_errno(e, -ret, "%s: replaying arena %s", a->info->path,
				  a->left->path);
	if (unlinkat(a->dirfd, a->name, 0) && errno != ENOENT)
		return zerr_errno(e, errno, "%s", a->left->path);
	if (a->left->bytes)
		zlog(a->log, ZLOG_WARN, "%s: replayed %" PRIu64 " bytes of %" PRIu32
		     " zones that a killed daemon had acknowledged", a->info->path,
		     a->left->bytes, a->left->zones);
	return 0;
}

static int visit(struct zdev *dev, const struct zlog *log, bool apply,
		 struct zonefs_arena_left *left, struct zerr *e)
{
	struct old_arena a = {
		.dev = dev, .info = zdev_info(dev), .log = log, .left = left,
		.apply = apply, .dirfd = -1, .fd = -1,
	};
	int ret;

	memset(left, 0, sizeof(*left));
	ret = open_arena(&a, e);
	if (ret > 0) {
		ret = read_table(&a);
		if (ret)
			zerr_errno(e, -ret, "%s", left->path);
		if (!ret)
			ret = each_run(&a, e);
		if (!ret && apply)
			ret = make_durable(&a, e);
	} else if (!ret && apply && a.fd >= 0) {
		/* Empty, or put aside by now. */
		unlinkat(a.dirfd, a.name, 0);
	}
	close_arena(&a);
	return ret;
}

int zonefs_arena_pending(struct zdev *dev, const struct zlog *log,
			 struct zonefs_arena_left *left, struct zerr *e)
{
	return visit(dev, log, false, left, e);
}

int zonefs_arena_replay(struct zdev *dev, const struct zlog *log,
			struct zonefs_arena_left *left, struct zerr *e)
{
	return visit(dev, log, true, left, e);
}

int zonefs_arena_discard(struct zdev *dev, struct zerr *e)
{
	static const uint8_t none[16];
	struct arena_head want;
	char dir[200], name[96];
	int dirfd, ret;

	ret = arena_head_make(dev, none, 0, &want);
	if (ret)
		return ret == -EOPNOTSUPP ? 0 : zerr_errno(e, -ret, "%s", zdev_info(dev)->path);
	dirfd = arena_dir_open(dir);
	if (dirfd < 0)
		return 0;
	arena_name(&want, name);
	if (unlinkat(dirfd, name, 0) && errno != ENOENT)
		ret = zerr_errno(e, errno, "%s/%s", dir, name);
	close(dirfd);
	return ret;
}
