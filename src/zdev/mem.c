/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A medium in RAM, for tests. Data lives in chunks that are allocated when they
 * are first written, so that large devices cost nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "emu.h"

#define CHUNK		((uint64_t)64 * 1024)

struct mem_zone {
	uint64_t	wp;		/* as struct emu_zone_state, sequential only */
	uint64_t	resets;
	char		**chunks;	/* NULL: nothing written */
	char		*tail;		/* NULL: none */
	uint64_t	tail_wp;	/* the write pointer it was stored for */
	uint16_t	tail_len;
	uint8_t		cond;
};

struct mem {
	struct zdev_geometry g;
	/* Guards all zones. One for all, and held over copies: this is for tests. */
	pthread_mutex_t	lock;
	struct mem_zone	*zones;
};

static uint64_t nr_chunks(const struct mem *m)
{
	return (m->g.zone_size + CHUNK - 1) / CHUNK;
}

static void drop_tail(struct mem_zone *z)
{
	free(z->tail);
	z->tail = NULL;
}

static void drop_data(const struct mem *m, struct mem_zone *z)
{
	uint64_t i;

	for (i = 0; z->chunks && i < nr_chunks(m); i++)
		free(z->chunks[i]);
	free(z->chunks);
	z->chunks = NULL;
	drop_tail(z);
}

static char *get_chunk(const struct mem *m, struct mem_zone *z, uint64_t pos)
{
	char **chunk;

	if (!z->chunks)
		z->chunks = calloc(nr_chunks(m), sizeof(*z->chunks));
	if (!z->chunks)
		return NULL;
	chunk = &z->chunks[pos / CHUNK];
	if (!*chunk)
		*chunk = calloc(1, CHUNK);
	return *chunk;
}

/* Bytes from pos on that lie in one chunk and in one buffer. */
static size_t span(uint64_t pos, size_t len)
{
	size_t room = CHUNK - pos % CHUNK;

	return len < room ? len : room;
}

static int put_bytes(const struct mem *m, struct mem_zone *z, uint64_t pos,
		     const char *from, size_t len)
{
	size_t n;

	for (; len; pos += n, from += n, len -= n) {
		char *chunk = get_chunk(m, z, pos);

		if (!chunk)
			return -ENOMEM;
		n = span(pos, len);
		memcpy(chunk + pos % CHUNK, from, n);
	}
	return 0;
}

static void get_bytes(const struct mem_zone *z, uint64_t pos, char *to, size_t len)
{
	size_t n;

	for (; len; pos += n, to += n, len -= n) {
		n = span(pos, len);
		if (z->chunks && z->chunks[pos / CHUNK])
			memcpy(to, z->chunks[pos / CHUNK] + pos % CHUNK, n);
		else
			memset(to, 0, n);
	}
}

static int mem_load(void *medium, uint32_t zno, struct emu_zone_state *st)
{
	struct mem *m = medium;
	const struct mem_zone *z = &m->zones[zno];

	pthread_mutex_lock(&m->lock);
	st->wp = z->wp;
	st->resets = z->resets;
	st->cond = z->cond;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static ssize_t mem_read(void *medium, uint32_t zno, uint64_t pos,
			const struct iovec *iov, int nr_iov, bool once)
{
	struct mem *m = medium;
	size_t done = 0;
	int i;

	pthread_mutex_lock(&m->lock);
	for (i = 0; i < nr_iov; i++) {
		get_bytes(&m->zones[zno], pos + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	pthread_mutex_unlock(&m->lock);
	return (ssize_t)done;
}

static ssize_t mem_write(void *medium, uint32_t zno, uint64_t pos,
			 const struct iovec *iov, int nr_iov)
{
	struct mem *m = medium;
	struct mem_zone *z = &m->zones[zno];
	size_t done = 0;
	int ret = 0;
	int i;

	pthread_mutex_lock(&m->lock);
	for (i = 0; i < nr_iov && !ret; i++) {
		ret = put_bytes(m, z, pos + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	if (!ret && zno >= m->g.nr_conv) {
		z->wp = pos + done;
		drop_tail(z);
	}
	pthread_mutex_unlock(&m->lock);
	return ret ? ret : (ssize_t)done;
}

/* The bytes of one zone to another or the same; the lock is held. */
static int copy_bytes(const struct mem *m, struct mem_zone *z, uint64_t pos,
		      const struct mem_zone *src, uint64_t src_pos, uint64_t len)
{
	char part[4096];
	uint64_t at;
	size_t n;
	int ret = 0;

	for (at = 0; at < len && !ret; at += n) {
		n = len - at < sizeof(part) ? len - at : sizeof(part);
		get_bytes(src, src_pos + at, part, n);
		ret = put_bytes(m, z, pos + at, part, n);
	}
	return ret;
}

static int mem_copy(void *medium, uint32_t zno, uint64_t pos, uint32_t src, uint64_t src_pos,
		    uint64_t len, bool share_only)
{
	struct mem *m = medium;
	struct mem_zone *z = &m->zones[zno];
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = copy_bytes(m, z, pos, &m->zones[src], src_pos, len);
	if (!ret && zno >= m->g.nr_conv) {
		z->wp = pos + len;
		drop_tail(z);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int mem_discard(void *medium, uint32_t zno, uint64_t pos, uint64_t len)
{
	struct mem *m = medium;
	struct mem_zone *z = &m->zones[zno];
	size_t n;

	pthread_mutex_lock(&m->lock);
	for (; z->chunks && len; pos += n, len -= n) {
		n = span(pos, len);
		if (z->chunks[pos / CHUNK])
			memset(z->chunks[pos / CHUNK] + pos % CHUNK, 0, n);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_reset(void *medium, uint32_t zno)
{
	struct mem *m = medium;
	struct mem_zone *z = &m->zones[zno];

	pthread_mutex_lock(&m->lock);
	drop_data(m, z);
	if (z->wp)
		z->resets++;
	z->wp = 0;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_finish(void *medium, uint32_t zno)
{
	struct mem *m = medium;

	pthread_mutex_lock(&m->lock);
	m->zones[zno].wp = m->g.zone_capacity;
	drop_tail(&m->zones[zno]);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_flush(void *medium, uint32_t zno)
{
	return 0;
}

static int mem_set_cond(void *medium, uint32_t zno, uint8_t cond)
{
	struct mem *m = medium;

	pthread_mutex_lock(&m->lock);
	m->zones[zno].cond = cond;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int mem_put_tail(void *medium, uint32_t zno, uint64_t wp, const void *data,
			size_t len)
{
	struct mem *m = medium;
	struct mem_zone *z = &m->zones[zno];
	char *tail = NULL;

	if (len) {
		tail = malloc(len);
		if (!tail)
			return -ENOMEM;
		memcpy(tail, data, len);
	}
	pthread_mutex_lock(&m->lock);
	drop_tail(z);
	z->tail = tail;
	z->tail_wp = wp;
	z->tail_len = (uint16_t)len;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static ssize_t mem_get_tail(void *medium, uint32_t zno, uint64_t wp, void *buf)
{
	struct mem *m = medium;
	const struct mem_zone *z = &m->zones[zno];
	ssize_t len = 0;

	pthread_mutex_lock(&m->lock);
	if (z->tail && z->tail_wp == wp) {
		len = z->tail_len;
		memcpy(buf, z->tail, z->tail_len);
	}
	pthread_mutex_unlock(&m->lock);
	return len;
}

static int mem_reserve(void *medium, uint32_t zno, uint64_t pos, uint64_t len)
{
	return 0;
}

static int mem_set_wp(void *medium, uint32_t zno, uint64_t wp)
{
	struct mem *m = medium;

	pthread_mutex_lock(&m->lock);
	m->zones[zno].wp = wp;
	drop_tail(&m->zones[zno]);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static void mem_abandon(void *medium)
{
	struct mem *m = medium;
	uint32_t zno;

	for (zno = 0; zno < m->g.nr_zones; zno++)
		drop_data(m, &m->zones[zno]);
	pthread_mutex_destroy(&m->lock);
	free(m->zones);
	free(m);
}

static int mem_close(void *medium)
{
	mem_abandon(medium);
	return 0;
}

static const struct emu_medium_ops mem_ops = {
	.load		= mem_load,
	.read		= mem_read,
	.write		= mem_write,
	.reset		= mem_reset,
	.finish		= mem_finish,
	.flush		= mem_flush,
	.set_cond	= mem_set_cond,
	.put_tail	= mem_put_tail,
	.get_tail	= mem_get_tail,
	.reserve	= mem_reserve,
	.copy		= mem_copy,
	.discard	= mem_discard,
	.set_wp		= mem_set_wp,
	.close		= mem_close,
	.abandon	= mem_abandon,
};

int zdev_mem_create(const struct zdev_geometry *g, struct zdev **dev, struct zerr *e)
{
	struct emu_params p = {
		.ops = &mem_ops, .geometry = *g, .backend = "mem", .path = "",
	};
	struct zdev *backend;
	struct mem *m;
	int ret;

	ret = zdev_geometry_check(g, e);
	if (ret)
		return ret;
	m = calloc(1, sizeof(*m));
	if (!m)
		return zerr_errno(e, ENOMEM, "device in memory");
	m->g = *g;
	pthread_mutex_init(&m->lock, NULL);
	m->zones = calloc(g->nr_zones, sizeof(*m->zones));
	p.medium = m;
	ret = m->zones ? emu_create(&p, &backend, e) :
			 zerr_errno(e, ENOMEM, "device in memory");
	if (ret) {
		pthread_mutex_destroy(&m->lock);
		free(m->zones);
		free(m);
		return ret;
	}
	ret = zdev_fault_stack(backend, dev);
	return ret ? zerr_errno(e, -ret, "device in memory") : 0;
}
