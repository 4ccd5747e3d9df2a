/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verify an image, and put right what has one safe answer:
 *	header		from its copy, and the copy from the header
 *	state block	one is damaged: from the other. Both: as if power was
 *			lost, the flushed pointers count at the next open
 *	pointers	one is damaged, or they differ in a closed image: the
 *			flushed one counts if it is whole. The current one counts
 *			only while nothing written can have been lost
 *	reset count	the nearest one that the pointer's generation allows
 *	tail slot	a damaged one in a closed image is zeroed: no tail
 * What has none is told and left alone.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_i.h"

struct check {
	const char	*path;
	int		fd;
	bool		repair;
	struct image_layout lay;
	enum image_past	past;
	int		nr_left;
	void		(*problem)(void *ctx, const char *line, bool repaired);
	void		*ctx;
};

/* Tell a problem. ret: 0 it was repaired, 1 it cannot be or was not to be, -errno it failed. */
static void tell(struct check *c, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void tell(struct check *c, int ret, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (ret < 0 && n > 0 && (size_t)n < sizeof(line))
		snprintf(line + n, sizeof(line) - n, " (repair failed, errno %d)", -ret);
	if (ret)
		c->nr_left++;
	c->problem(c->ctx, line, !ret);
}

static int put(struct check *c, const void *buf, size_t len, uint64_t off)
{
	return c->repair ? image_pwrite(c->fd, buf, len, off) : 1;
}

/* ---- header ---- */

/* The whole block at offset is that of c->lay? */
static bool header_same(struct check *c, uint64_t offset, const struct image_header *want)
{
	struct image_header h;

	return !image_pread(c->fd, &h, sizeof(h), offset) && !memcmp(&h, want, sizeof(h));
}

static int check_headers(struct check *c, struct zerr *e)
{
	struct image_header h;
	struct stat st;
	int ret;

	ret = image_header_read(c->fd, IMAGE_HEADER_OFFSET, &c->lay, e);
	if (ret) {
		struct zerr unused;

		/* The first error is the one to show if the copy is no better. */
		if (image_header_read(c->fd, IMAGE_COPY_OFFSET, &c->lay, &unused))
			return ret;
		image_header_encode(&c->lay, &h);
		tell(c, put(c, &h, sizeof(h), IMAGE_HEADER_OFFSET),
		     "the header is damaged, its copy is not");
	} else {
		image_header_encode(&c->lay, &h);
		if (!header_same(c, IMAGE_COPY_OFFSET, &h))
			tell(c, put(c, &h, sizeof(h), IMAGE_COPY_OFFSET),
			     "the copy of the header is damaged");
	}
	if (fstat(c->fd, &st))
		return zerr_errno(e, errno, "reading its size");
	if ((uint64_t)st.st_size < c->lay.file_size)
		return zerr_set(e, EINVAL, "truncated image: %jd bytes of %" PRIu64,
				(intmax_t)st.st_size, c->lay.file_size);
	return 0;
}

/* ---- state blocks ---- */

static int repair_states(struct check *c, struct image_state *st)
{
	int i, ret;

	for (i = 0; i < 2; i++) {
		/* The block that counts has the larger number, in its own place. */
		uint64_t seq = le64toh(st->seq);
		struct image_state s = *st;

		if (seq % 2 != (unsigned)i)
			s.seq = htole64(seq ? seq - 1 : 0);
		image_state_seal(&s);
		ret = put(c, &s, sizeof(s), IMAGE_STATE_OFFSET(i));
		if (ret)
			return ret;
	}
	return 0;
}

static int check_states(struct check *c, struct zerr *e)
{
	struct image_instance now;
	struct image_state st[2], best = { .seq = 0 };
	int i, nr_valid = 0, ret;

	ret = image_instance_get(c->fd, &now);
	if (ret)
		return zerr_errno(e, -ret, "reading the state of the system");
	for (i = 0; i < 2; i++) {
		ret = image_pread(c->fd, &st[i], sizeof(st[i]), IMAGE_STATE_OFFSET(i));
		if (ret)
			return zerr_errno(e, -ret, "reading the state blocks");
		nr_valid += image_state_valid(&st[i], c->lay.geo.uuid);
	}
	ret = image_state_read(c->fd, c->lay.geo.uuid, &best);
	if (ret) {
		memset(&best, 0, sizeof(best));
		memcpy(best.uuid, c->lay.geo.uuid, sizeof(best.uuid));
		best.seq = htole64(1);
		tell(c, repair_states(c, &best), "both state blocks are damaged");
	} else if (nr_valid == 1) {
		tell(c, repair_states(c, &best), "one of the two state blocks is damaged");
	}
	c->past = image_past(&best, &now);
	return 0;
}

/* ---- zone table ---- */

/* Rewrite the entry so that it opens after c->past. false: there is no safe answer. */
static bool mend_entry(struct check *c, uint32_t zno, struct image_entry *e)
{
	struct image_ptr cur, flushed, p;
	uint64_t resets;
	bool cur_ok = image_ptr_decode(&c->lay, zno, IMAGE_CURRENT,
				       le64toh(e->word[IMAGE_CURRENT]), &cur);
	bool flushed_ok = image_ptr_decode(&c->lay, zno, IMAGE_FLUSHED,
					   le64toh(e->word[IMAGE_FLUSHED]), &flushed);
	bool trust_cur = cur_ok && c->past != IMAGE_PAST_POWER_LOST;

	if (flushed_ok && !(trust_cur && c->past == IMAGE_PAST_KILLED))
		p = flushed;
	else if (trust_cur)
		p = cur;
	else
		return false;
	/* A damaged count is replaced by the smallest possible one: it is statistics but for its low bits. */
	if (!image_resets_decode(zno, le64toh(e->word[IMAGE_RESETS]), &resets))
		e->word[IMAGE_RESETS] = htole64(image_resets_encode(zno, p.gen));
	e->word[IMAGE_CURRENT] = htole64(image_ptr_encode(zno, IMAGE_CURRENT, &p));
	e->word[IMAGE_FLUSHED] = htole64(image_ptr_encode(zno, IMAGE_FLUSHED, &p));
	e->reserved = 0;
	return true;
}

static int check_table(struct check *c, struct zerr *e)
{
	uint32_t zno;
	int ret;

	for (zno = 0; zno < c->lay.geo.nr_zones; zno++) {
		struct image_entry entry;
		uint64_t off = c->lay.table_offset + zno * (uint64_t)sizeof(entry);
		const char *what;

		ret = image_pread(c->fd, &entry, sizeof(entry), off);
		if (ret)
			return zerr_errno(e, -ret, "reading the zone table");
		what = image_entry_problem(&c->lay, zno, &entry, c->past);
		if (!what)
			continue;
		ret = mend_entry(c, zno, &entry) ? put(c, &entry, sizeof(entry), off) : 1;
		tell(c, ret, "zone %" PRIu32 ": %s", zno, what);
	}
	return 0;
}

/* ---- tails ---- */

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

static int check_slot(struct check *c, uint64_t nr, uint8_t *buf, struct zerr *e)
{
	uint32_t size = image_slot_size(&c->lay), zno = nr / IMAGE_TAIL_SLOTS;
	uint64_t off = c->lay.tail_offset + nr * size;
	int ret;

	ret = image_pread(c->fd, buf, size, off);
	if (ret)
		return zerr_errno(e, -ret, "reading the tails");
	if (all_zero(buf, size) ||
	    image_tail_valid(&c->lay, zno, (struct image_tail *)(void *)buf))
		return 0;
	tell(c, c->repair ? image_zero(c->fd, off, size) : 1,
	     "zone %" PRIu32 ": a slot for its tail is damaged", zno);
	return 0;
}

static int check_tails(struct check *c, struct zerr *e)
{
	uint64_t end = image_slot_offset(&c->lay, c->lay.geo.nr_zones, 0);
	uint64_t off = c->lay.tail_offset, data_end;
	uint32_t size = image_slot_size(&c->lay);
	uint8_t *buf;
	int ret;

	/* Not closed: a torn slot is nothing unusual, and removed at the next open. */
	if (c->past != IMAGE_PAST_CLEAN)
		return 0;
	buf = malloc(size);
	if (!buf)
		return zerr_errno(e, ENOMEM, "reading the tails");
	while ((ret = image_next_data(c->fd, &off, end, &data_end)) == 1) {
		uint64_t nr = (off - c->lay.tail_offset) / size;

		ret = check_slot(c, nr, buf, e);
		if (ret)
			break;
		off = c->lay.tail_offset + (nr + 1) * size;
	}
	free(buf);
	return ret;
}

static int check_all(struct check *c, struct zerr *e)
{
	int ret;

	ret = check_headers(c, e);
	if (!ret)
		ret = check_states(c, e);
	if (!ret)
		ret = check_table(c, e);
	if (!ret)
		ret = check_tails(c, e);
	if (!ret && c->repair && fsync(c->fd))
		ret = zerr_errno(e, errno, "syncing");
	return ret;
}

int image_check(const char *path, bool repair, uint32_t wait_ms,
		void (*problem)(void *ctx, const char *line, bool repaired),
		void *ctx, struct zerr *e)
{
	struct check c = {
		.path = path, .repair = repair, .problem = problem, .ctx = ctx,
	};
	struct zerr why = { "" };
	int ret;

	c.fd = open(path, (repair ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
	if (c.fd < 0)
		return zerr_errno(e, errno, "%s", path);
	ret = zdev_lock(c.fd, path, !repair, wait_ms, e);
	if (!ret) {
		ret = check_all(&c, &why);
		if (why.msg[0])
			zerr_set(e, -ret, "%s: %s", path, why.msg);
		else if (ret)
			zerr_errno(e, -ret, "%s", path);
	}
	close(c.fd);
	return ret ? ret : c.nr_left;
}
