/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zonefsd.meta: what a directory of zone files cannot say itself. Text, a key and
 * a value a line, a checksum over all in the last one; docs/dir-format.md has
 * the keys. Replaced as a whole: temporary file, fsync, rename, fsync of the
 * directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>
#include <zlib.h>

#include "dir_i.h"
#include "zonefsd/units.h"

/* Room for every zone of the largest device to be bad, and many tails. */
#define META_MAX	((off_t)512 << 20)
/* Notes are few; each is copied as often as others follow it. */
#define EXTRA_MAX	((size_t)64 << 10)
#define CHECKSUM_LINE	(sizeof("checksum=01234567\n") - 1)

/* ---- building ---- */

void dir_meta_drop_tails(struct dir_meta *m)
{
	size_t i;

	for (i = 0; i < m->nr_tails; i++)
		free(m->tails[i].data);
	free(m->tails);
	m->tails = NULL;
	m->nr_tails = m->max_tails = 0;
}

void dir_meta_free(struct dir_meta *m)
{
	dir_meta_drop_tails(m);
	free(m->bad);
	free(m->extra);
	*m = (struct dir_meta) { 0 };
}

/* Room for one more element in a growing array. */
static int grow(void **array, size_t nr, size_t *max, size_t size)
{
	size_t want = *max ? *max * 2 : 16;
	void *bigger;

	if (nr < *max)
		return 0;
	bigger = reallocarray(*array, want, size);
	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	*max = want;
	return 0;
}

int dir_meta_add_tail(struct dir_meta *m, uint32_t zno, uint64_t wp,
		      const void *data, size_t len)
{
	struct dir_tail *t;
	uint8_t *copy;

	if (grow((void **)&m->tails, m->nr_tails, &m->max_tails, sizeof(*m->tails)))
		return -ENOMEM;
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	t = &m->tails[m->nr_tails++];
	*t = (struct dir_tail) { .zno = zno, .len = (uint32_t)len, .wp = wp, .data = copy };
	return 0;
}

int dir_meta_add_bad(struct dir_meta *m, uint32_t first, uint32_t last, uint8_t cond)
{
	if (grow((void **)&m->bad, m->nr_bad, &m->max_bad, sizeof(*m->bad)))
		return -ENOMEM;
	/* In no order: of two that name a zone, offline holds. */
	m->bad[m->nr_bad++] = (struct dir_bad) { .first = first, .last = last,
						  .cond = cond };
	return 0;
}

/* ---- writing ---- */

struct out {
	FILE	*f;
	uLong	crc;
};

__attribute__((format(printf, 2, 3)))
static void put(struct out *o, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	o->crc = crc32(o->crc, (const Bytef *)line, (uInt)len);
	fwrite(line, 1, (size_t)len, o->f);
}

static void put_tail_line(struct out *o, const struct dir_tail *t)
{
	uint32_t i;

	put(o, "tail=%" PRIu32 " %" PRIu64 " %08lx ", t->zno, t->wp,
	    crc32(0, t->data, t->len));
	for (i = 0; i < t->len; i++)
		put(o, "%02x", t->data[i]);
	put(o, "\n");
}

static void put_bad_line(struct out *o, const struct dir_bad *b)
{
	const char *key = b->cond == BLK_ZONE_COND_OFFLINE ? "offline" : "readonly";

	if (b->first == b->last)
		put(o, "%s=%" PRIu32 "\n", key, b->first);
	else
		put(o, "%s=%" PRIu32 "-%" PRIu32 "\n", key, b->first, b->last);
}

static void put_extra(struct out *o, const struct dir_meta *m)
{
	size_t len = m->extra ? strlen(m->extra) : 0;

	if (!len)
		return;
	o->crc = crc32(o->crc, (const Bytef *)m->extra, (uInt)len);
	fwrite(m->extra, 1, len, o->f);
}

static void put_hint(struct out *o, const struct dir_meta *m)
{
	const struct zdev_geometry *g = &m->geometry;

	put(o, "zone_size=%" PRIu64 "\n", g->zone_size);
	if (g->zone_capacity)
		put(o, "zone_capacity=%" PRIu64 "\n", g->zone_capacity);
	if (g->block_size)
		put(o, "block_size=%" PRIu32 "\n", g->block_size);
	put(o, "max_open=%" PRIu32 "\nmax_active=%" PRIu32 "\n", g->max_open,
	    g->max_active);
	put_extra(o, m);
}

static void put_all(struct out *o, const struct dir_meta *m)
{
	const struct zdev_geometry *g = &m->geometry;
	char uuid[37];
	size_t i;

	uuid_unparse_lower(g->uuid, uuid);
	put(o, "version=1\nuuid=%s\nstate=%s\n", uuid,
	    m->state == DIR_CLEAN ? "clean" : "open");
	put(o, "block_size=%" PRIu32 "\nzone_size=%" PRIu64 "\nzone_capacity=%" PRIu64
	    "\n", g->block_size, g->zone_size, g->zone_capacity);
	put(o, "nr_zones=%" PRIu32 "\nnr_conv=%" PRIu32 "\nmax_open=%" PRIu32
	    "\nmax_active=%" PRIu32 "\n", g->nr_zones, g->nr_conv, g->max_open,
	    g->max_active);
	for (i = 0; i < m->nr_bad; i++)
		put_bad_line(o, &m->bad[i]);
	for (i = 0; i < m->nr_tails; i++)
		put_tail_line(o, &m->tails[i]);
	put_extra(o, m);
	fprintf(o->f, "checksum=%08lx\n", o->crc);
}

static int write_tmp(int dirfd, const struct dir_meta *m)
{
	struct out o = { .crc = crc32(0, NULL, 0) };
	int fd, err = 0;

	/* One that a crash left is not reused: it may be something else's link. */
	if (unlinkat(dirfd, DIR_META_TMP, 0) && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, DIR_META_TMP, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
		    O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	o.f = fdopen(fd, "w");
	if (!o.f) {
		err = errno;
		close(fd);
		return -err;
	}
	if (m->hint)
		put_hint(&o, m);
	else
		put_all(&o, m);
	errno = EIO;
	if (ferror(o.f) || fflush(o.f) || fsync(fd))
		err = errno;
	if (fclose(o.f) && !err)
		err = errno;
	return -err;
}

int dir_meta_write(int dirfd, const struct dir_meta *m)
{
	int ret;

	ret = write_tmp(dirfd, m);
	if (!ret && renameat(dirfd, DIR_META_TMP, dirfd, DIR_META))
		ret = -errno;
	if (ret) {
		unlinkat(dirfd, DIR_META_TMP, 0);
		return ret;
	}
	return fsync(dirfd) ? -errno : 0;
}

/* ---- reading ---- */

struct in {
	struct dir_meta	*m;
	const char	*path;
	unsigned	line;
	unsigned	seen;		/* bits: rows of fields[], as found */
	uint64_t	nr_bad;		/* zones named by readonly and offline */
	struct zerr	*e;
};

static int damaged(const struct in *in, const char *what)
{
	return zerr_set(in->e, EINVAL, "%s/%s: line %u: %s", in->path, DIR_META,
			in->line, what);
}

/* Up to sep, which is replaced by a terminator; NULL when there is no sep. */
static char *word(char **text, char sep)
{
	char *w = *text, *end = strchr(w, sep);

	if (!end)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return w;
}

static int read_version(struct in *in, char *value)
{
	if (strcmp(value, "1"))
		return damaged(in, "a version that this program does not know");
	return 0;
}

static int read_uuid(struct in *in, char *value)
{
	return uuid_parse(value, in->m->geometry.uuid) ? damaged(in, "bad uuid") : 0;
}

static int read_state(struct in *in, char *value)
{
	if (!strcmp(value, "clean"))
		in->m->state = DIR_CLEAN;
	else if (!strcmp(value, "open"))
		in->m->state = DIR_OPEN;
	else
		return damaged(in, "bad state");
	return 0;
}

static int read_u32(struct in *in, char *value, uint32_t *to)
{
	uint64_t v;

	if (zu_parse_u64(value, UINT32_MAX, &v))
		return damaged(in, "bad number");
	*to = (uint32_t)v;
	return 0;
}

static int read_u64(struct in *in, char *value, uint64_t *to)
{
	return zu_parse_u64(value, UINT64_MAX, to) ? damaged(in, "bad number") : 0;
}

#define GEOMETRY_READER(name, type)						\
static int read_##name(struct in *in, char *value)				\
{										\
	return read_##type(in, value, &in->m->geometry.name);			\
}
GEOMETRY_READER(block_size, u32)
GEOMETRY_READER(zone_size, u64)
GEOMETRY_READER(zone_capacity, u64)
GEOMETRY_READER(nr_zones, u32)
GEOMETRY_READER(nr_conv, u32)
GEOMETRY_READER(max_open, u32)
GEOMETRY_READER(max_active, u32)

/* Keys that stand once. Those with hint may be written by hand for a zloop directory. */
static const struct field {
	const char	*key;
	int		(*read)(struct in *in, char *value);
	bool		hint;
} fields[] = {
	{ "version",		read_version,		false },
	{ "uuid",		read_uuid,		false },
	{ "state",		read_state,		false },
	{ "block_size",		read_block_size,	true },
	{ "zone_size",		read_zone_size,		true },
	{ "zone_capacity",	read_zone_capacity,	true },
	{ "nr_zones",		read_nr_zones,		false },
	{ "nr_conv",		read_nr_conv,		false },
	{ "max_open",		read_max_open,		true },
	{ "max_active",		read_max_active,	true },
};
#define NR_FIELDS	(sizeof(fields) / sizeof(fields[0]))
#define ALL_FIELDS	((1u << NR_FIELDS) - 1)

static int read_bad(struct in *in, char *value, uint8_t cond)
{
	uint64_t first, last, max = in->m->geometry.nr_zones;
	char *text = value, *from = word(&text, '-');

	if (!max || zu_parse_u64(from ? from : text, max - 1, &first) ||
	    zu_parse_u64(text, max - 1, &last) || first > last)
		return damaged(in, "bad zone number");
	/* A zone turns read-only once, and offline once. */
	in->nr_bad += last - first + 1;
	if (in->nr_bad > 2 * max)
		return damaged(in, "zones named more than twice");
	if (dir_meta_add_bad(in->m, (uint32_t)first, (uint32_t)last, cond))
		return zerr_errno(in->e, ENOMEM, "%s/%s", in->path, DIR_META);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hex text to buf; the number of bytes, or -EINVAL. */
static int from_hex(const char *text, uint8_t *buf, size_t max)
{
	size_t n;

	for (n = 0; text[2 * n]; n++) {
		int high = hex_digit(text[2 * n]), low = hex_digit(text[2 * n + 1]);

		if (n == max || high < 0 || low < 0)
			return -EINVAL;
		buf[n] = (uint8_t)(high << 4 | low);
	}
	return (int)n;
}

/* "ZONE WP CRC HEX", by rising zone. */
static int read_tail(struct in *in, char *value)
{
	const struct zdev_geometry *g = &in->m->geometry;
	char *text = value, *zno_text = word(&text, ' ');
	char *wp_text = zno_text ? word(&text, ' ') : NULL;
	char *crc_text = wp_text ? word(&text, ' ') : NULL;
	uint8_t data[4096], crc[4];
	uint64_t zno, wp;
	int len;

	if (!crc_text || !g->nr_zones ||
	    zu_parse_u64(zno_text, g->nr_zones - 1, &zno) || zno < g->nr_conv ||
	    zu_parse_u64(wp_text, g->zone_capacity, &wp) || wp == g->zone_capacity ||
	    !g->block_size || wp % g->block_size || from_hex(crc_text, crc, 4) != 4)
		return damaged(in, "bad tail");
	len = from_hex(text, data, sizeof(data));
	if (len <= 0 || (uint32_t)len >= g->block_size ||
	    crc32(0, data, (uInt)len) != ((uLong)crc[0] << 24 | (uLong)crc[1] << 16 |
					  (uLong)crc[2] << 8 | crc[3]))
		return damaged(in, "bad tail");
	if (in->m->nr_tails && in->m->tails[in->m->nr_tails - 1].zno >= zno)
		return damaged(in, "tails out of order");
	if (dir_meta_add_tail(in->m, (uint32_t)zno, wp, data, (size_t)len))
		return zerr_errno(in->e, ENOMEM, "%s/%s", in->path, DIR_META);
	return 0;
}

static int keep_extra(struct in *in, const char *key, const char *value)
{
	char *old = in->m->extra, *both;

	if ((old ? strlen(old) : 0) + strlen(value) > EXTRA_MAX)
		return damaged(in, "too many notes");
	if (asprintf(&both, "%s%s=%s\n", old ? old : "", key, value) < 0)
		return zerr_errno(in->e, ENOMEM, "%s/%s", in->path, DIR_META);
	free(old);
	in->m->extra = both;
	return 0;
}

static int read_field(struct in *in, unsigned row, char *value)
{
	if (in->seen & 1u << row)
		return damaged(in, "given twice");
	if (in->m->hint && !fields[row].hint)
		return damaged(in, "no such key without a first line version=1");
	in->seen |= 1u << row;
	return fields[row].read(in, value);
}

static int read_line(struct in *in, char *line)
{
	char *value = line, *key = word(&value, '=');
	unsigned row;

	if (!key)
		return damaged(in, "not KEY=VALUE");
	for (row = 0; row < NR_FIELDS; row++)
		if (!strcmp(key, fields[row].key))
			return read_field(in, row, value);
	if (!strncmp(key, "x-", 2))
		return keep_extra(in, key, value);
	if (!in->m->hint && (in->seen & ALL_FIELDS) == ALL_FIELDS) {
		if (!strcmp(key, "readonly"))
			return read_bad(in, value, BLK_ZONE_COND_READONLY);
		if (!strcmp(key, "offline"))
			return read_bad(in, value, BLK_ZONE_COND_OFFLINE);
		if (!strcmp(key, "tail"))
			return read_tail(in, value);
	}
	return damaged(in, "a key that this program does not know");
}

/* Cut the checksum line off. A file that starts with version= must have one. */
static int check_checksum(struct in *in, char *text, size_t len)
{
	uint8_t crc[4];
	char *line;

	if (len < CHECKSUM_LINE || text[len - 1] != '\n')
		return zerr_set(in->e, EINVAL, "%s/%s: damaged: cut off", in->path,
				DIR_META);
	line = text + len - CHECKSUM_LINE;
	text[len - 1] = '\0';
	if (strncmp(line, "checksum=", 9) || from_hex(line + 9, crc, 4) != 4 ||
	    crc32(0, (Bytef *)text, (uInt)(line - text)) !=
	    ((uLong)crc[0] << 24 | (uLong)crc[1] << 16 | (uLong)crc[2] << 8 | crc[3]))
		return zerr_set(in->e, EINVAL, "%s/%s: damaged: wrong checksum",
				in->path, DIR_META);
	*line = '\0';
	return 0;
}

static int check_complete(const struct in *in)
{
	struct zerr why;

	if (in->m->hint) {
		if (in->m->geometry.zone_size)
			return 0;
		return zerr_set(in->e, EINVAL, "%s/%s: neither version=1 nor zone_size=",
				in->path, DIR_META);
	}
	if ((in->seen & ALL_FIELDS) != ALL_FIELDS)
		return zerr_set(in->e, EINVAL, "%s/%s: damaged: incomplete", in->path,
				DIR_META);
	if (zdev_geometry_check(&in->m->geometry, &why))
		return zerr_set(in->e, EINVAL, "%s/%s: %s", in->path, DIR_META, why.msg);
	return 0;
}

static int parse(struct in *in, char *text, size_t len)
{
	char *line;
	int ret = 0;

	if (memchr(text, '\0', len))
		return zerr_set(in->e, EINVAL, "%s/%s: damaged: not text", in->path,
				DIR_META);
	in->m->hint = strncmp(text, "version=", 8);
	if (!in->m->hint) {
		ret = check_checksum(in, text, len);
		if (ret)
			return ret;
	}
	while (!ret && *text) {
		in->line++;
		line = word(&text, '\n');
		if (!line)
			return damaged(in, "cut off");
		/* People who write hints write comments. */
		if (in->m->hint && (!*line || *line == '#'))
			continue;
		ret = read_line(in, line);
	}
	return ret ? ret : check_complete(in);
}

/* All of fd, a file of size bytes or fewer by now, with a terminator. */
static int read_all(int fd, size_t size, char **text, size_t *len)
{
	char *buf;
	ssize_t n;

	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	for (*len = 0; *len < size; *len += (size_t)n) {
		n = read(fd, buf + *len, size - *len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (!n)
			break;
		else if (n < 0) {
			n = -errno;
			free(buf);
			return (int)n;
		}
	}
	buf[*len] = '\0';
	*text = buf;
	return 0;
}

/* The file as text; free it. 0 or -errno. */
static int slurp(int dirfd, char **text, size_t *len)
{
	struct stat st;
	int fd, ret;

	fd = openat(dirfd, DIR_META, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode))
		ret = -EINVAL;
	else if (st.st_size > META_MAX)
		ret = -EFBIG;
	else
		ret = read_all(fd, (size_t)st.st_size, text, len);
	close(fd);
	return ret;
}

int dir_meta_read(int dirfd, const char *path, struct dir_meta *m, struct zerr *e)
{
	struct in in = { .m = m, .path = path, .e = e };
	char *text = NULL;
	size_t len = 0;
	int ret;

	*m = (struct dir_meta) { 0 };
	ret = slurp(dirfd, &text, &len);
	if (ret == -ENOENT)
		return ret;
	if (ret)
		return zerr_errno(e, -ret, "%s/%s", path, DIR_META);
	ret = parse(&in, text, len);
	free(text);
	if (ret)
		dir_meta_free(m);
	return ret;
}
