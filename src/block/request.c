/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests: cut into parts, sent on their way, told when all parts are done.
 * Leaving the lock, which is where device I/O starts and callers are told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_i.h"

/* ---- lists ---- */

void part_list_init(struct part_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

void part_list_add(struct part_list *l, struct part *p)
{
	p->next = NULL;
	*l->tail = p;
	l->tail = &p->next;
}

void parts_wake(struct block *b, struct part_list *l)
{
	if (!l->head)
		return;
	*b->ready.tail = l->head;
	b->ready.tail = l->tail;
	part_list_init(l);
}

void issue_io(struct block *b, struct io_list *l, struct zdev_io *io)
{
	io->next = NULL;
	*l->tail = io;
	l->tail = &io->next;
}

static struct zdev_io *take_ios(struct io_list *l)
{
	struct zdev_io *head = l->head;

	l->head = NULL;
	l->tail = &l->head;
	return head;
}

/* ---- chunks ---- */

struct chunk *chunk_find(const struct block *b, uint32_t no)
{
	struct chunk *c;

	for (c = b->chunk_hash[no % CHUNK_HASH]; c; c = c->hash_next)
		if (c->no == no)
			break;
	return c;
}

struct chunk *chunk_get(struct block *b, uint32_t no)
{
	struct chunk **slot = &b->chunk_hash[no % CHUNK_HASH], *c = chunk_find(b, no);

	if (!c) {
		/* There are as many as parts, and one for reclaim. */
		c = b->free_chunks;
		b->free_chunks = c->hash_next;
		memset(c, 0, sizeof(*c));
		c->no = no;
		part_list_init(&c->held);
		part_list_init(&c->parked);
		c->hash_next = *slot;
		*slot = c;
	}
	c->users++;
	return c;
}

void chunk_put(struct block *b, struct chunk *c)
{
	struct chunk **slot = &b->chunk_hash[c->no % CHUNK_HASH];

	if (--c->users)
		return;
	while (*slot != c)
		slot = &(*slot)->hash_next;
	*slot = c->hash_next;
	c->hash_next = b->free_chunks;
	b->free_chunks = c;
}

/* ---- the end of a part, and of a request ---- */

static void finish(struct block *b, struct block_io *io)
{
	io->next = b->finished;
	b->finished = io;
}

static void queue_flush(struct block *b, struct block_io *io)
{
	io->next = NULL;
	*b->flushes_tail = io;
	b->flushes_tail = &io->next;
	commit_kick(b);
}

/* One part less, or the cutting is over. */
static void put_pending(struct block *b, struct block_io *io)
{
	if (--io->pending)
		return;
	io->result = io->error ? io->error : (ssize_t)io->len;
	if (io->commit && !io->error)
		queue_flush(b, io);
	else
		finish(b, io);
}

void part_done(struct block *b, struct part *p)
{
	struct block_io *io = p->io;

	if (p->error && !io->error)
		io->error = p->error;
	free(p->bounce);
	p->bounce = NULL;
	chunk_put(b, p->chunk);
	p->next = b->free_parts;
	b->free_parts = p;
	put_pending(b, io);
}

/* ---- memory of the caller ---- */

/* Where byte `at` of the request's memory is, and how much follows in one piece. */
static char *iov_at(const struct block_io *io, uint64_t at, uint64_t *left)
{
	int i;

	for (i = 0; i < io->nr_iov; i++) {
		if (at < io->iov[i].iov_len) {
			*left = io->iov[i].iov_len - at;
			return (char *)io->iov[i].iov_base + at;
		}
		at -= io->iov[i].iov_len;
	}
	*left = 0;
	return NULL;
}

void part_copy(struct part *p, bool to_user)
{
	uint64_t done = 0, left, n;
	char *user;

	while (done < p->bytes) {
		user = iov_at(p->io, p->io_at + done, &left);
		n = p->bytes - done < left ? p->bytes - done : left;
		if (!n)
			return;
		if (to_user)
			memcpy(user, p->bounce + p->byte + done, n);
		else
			memcpy(p->bounce + p->byte + done, user, n);
		done += n;
	}
}

/* ---- cutting ---- */

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Whole blocks from pos on that one part may have. */
static uint32_t room(const struct block *b, const struct block_io *io, uint64_t pos)
{
	uint64_t block = pos / DMZ_BLOCK_SIZE % b->zone_blocks;
	uint64_t n = b->zone_blocks - block;

	n = min64(n, DMZ_BITS_PER_BLOCK - block % DMZ_BITS_PER_BLOCK);
	if (io->op == BLOCK_READ || io->op == BLOCK_WRITE)
		n = min64(n, ZDEV_MAX_IO / DMZ_BLOCK_SIZE);
	return (uint32_t)n;
}

/* By way of a block of ours: less than a block, or a block in several pieces. */
static void cut_bounced(struct block *b, struct block_io *io, struct part *p, uint64_t pos)
{
	p->byte = (uint32_t)(pos % DMZ_BLOCK_SIZE);
	p->bytes = (uint32_t)min64(io->len - io->at, DMZ_BLOCK_SIZE - p->byte);
	p->nr = 1;
	p->rmw = p->op == PART_WRITE && p->bytes < DMZ_BLOCK_SIZE;
	if (posix_memalign((void **)&p->bounce, DMZ_BLOCK_SIZE, DMZ_BLOCK_SIZE)) {
		p->bounce = NULL;
		p->error = -ENOMEM;
		return;
	}
	p->data = p->bounce;
}

/* The next part of io, whose length is at least one byte. */
static void cut_part(struct block *b, struct block_io *io, struct part *p)
{
	uint64_t pos = io->pos + io->at, left = UINT64_MAX;
	bool zeroes = io->op == BLOCK_DISCARD || io->op == BLOCK_ZERO;
	uint64_t whole = (io->len - io->at) / DMZ_BLOCK_SIZE;

	memset(p, 0, offsetof(struct part, dev));
	p->b = b;
	p->io = io;
	p->zone = p->other = DMZ_NONE;
	p->op = io->op == BLOCK_READ ? PART_READ : PART_WRITE;
	p->block = (uint32_t)(pos / DMZ_BLOCK_SIZE % b->zone_blocks);
	p->io_at = io->at;
	p->offload = io->op == BLOCK_COPY;
	if (!zeroes && !p->offload)
		p->data = iov_at(io, io->at, &left);
	whole = min64(whole, left / DMZ_BLOCK_SIZE);
	if (pos % DMZ_BLOCK_SIZE || !whole) {
		cut_bounced(b, io, p, pos);
	} else {
		p->nr = (uint32_t)min64(whole, room(b, io, pos));
		p->bytes = p->nr * DMZ_BLOCK_SIZE;
		if (zeroes)
			p->op = PART_DISCARD;
	}
	io->at += p->op == PART_DISCARD ? (uint64_t)p->nr * DMZ_BLOCK_SIZE : p->bytes;
	io->pending++;
	p->chunk = chunk_get(b, (uint32_t)(pos / DMZ_BLOCK_SIZE / b->zone_blocks));
}

static void start_part(struct block *b, struct part *p)
{
	b->clock++;
	if (p->error) {
		part_done(b, p);
	} else if (p->op == PART_READ) {
		read_step(b, p);
	} else {
		if (p->bounce && p->io->op == BLOCK_WRITE && !p->rmw)
			part_copy(p, false);
		write_queue(b, p);
	}
}

/* false when the parts ran out. */
static bool cut(struct block *b, struct block_io *io)
{
	struct part *p;

	while (io->at < io->len) {
		p = b->free_parts;
		if (!p)
			return false;
		b->free_parts = p->next;
		cut_part(b, io, p);
		start_part(b, p);
	}
	put_pending(b, io);
	return true;
}

/* Those that found no part when they came, in their order. */
static void cut_starved(struct block *b)
{
	struct block_io *io, *next;

	while ((io = b->starved) && b->free_parts) {
		/* Once it is cut, io belongs to others. */
		next = io->next;
		if (!cut(b, io))
			return;
		b->starved = next;
		if (!next)
			b->starved_tail = &b->starved;
	}
}

static void begin(struct block *b, struct block_io *io)
{
	b->last_use = zclock_coarse();
	if (io->op != BLOCK_READ && b->failed) {
		io->error = -EROFS;
		io->at = io->len;
	}
	io->pending = 1;
	if (b->starved || !cut(b, io)) {
		io->next = NULL;
		*b->starved_tail = io;
		b->starved_tail = &io->next;
	}
}

static int check(const struct block *b, struct block_io *io)
{
	uint64_t end;

	if (io->op == BLOCK_FLUSH)
		return 0;
	if (__builtin_add_overflow(io->pos, io->len, &end))
		return -EINVAL;
	if (io->op == BLOCK_READ) {
		if (io->pos >= b->size)
			io->len = 0;
		else
			io->len = min64(io->len, b->size - io->pos);
		return 0;
	}
	if (end > b->size)
		return -EINVAL;
	return b->opts.read_only ? -EROFS : 0;
}

void block_submit(struct block *b, struct block_io *io)
{
	io->error = check(b, io);
	io->at = 0;
	io->commit = io->fua && io->op != BLOCK_READ;
	io->result = io->error;
	if (io->error || (!io->len && io->op != BLOCK_FLUSH)) {
		io->done(io);
		return;
	}
	if (io->op == BLOCK_COPY) {
		copy_start(b, io);
		return;
	}
	request_start(b, io);
}

void request_start(struct block *b, struct block_io *io)
{
	pthread_mutex_lock(&b->lock);
	if (io->op == BLOCK_FLUSH) {
		b->stats.flushes++;
		queue_flush(b, io);
	} else {
		begin(b, io);
	}
	block_leave(b);
}

/* ---- leaving the lock ---- */

static void try_ready(struct block *b)
{
	struct part *p;

	while ((p = b->ready.head)) {
		b->ready.head = p->next;
		if (!p->next)
			b->ready.tail = &b->ready.head;
		if (p->op == PART_READ)
			read_step(b, p);
		else
			write_step(b, p);
	}
}

static void send(struct block *b, struct zdev_io *io)
{
	uint32_t zone = io->zno;

	/* A run of a read that was never written. */
	if (zone == DMZ_NONE) {
		memset(io->iov->iov_base, 0, io->iov->iov_len);
		io->result = (ssize_t)io->iov->iov_len;
		io->done(io);
		return;
	}
	zdev_submit(dmz_zone_dev(b->devs, zone, &io->zno), io);
}

static void send_all(struct block *b, struct zdev_io *io)
{
	struct zdev_io *next;

	for (; io; io = next) {
		next = io->next;
		send(b, io);
	}
}

static void tell(struct block_io *io)
{
	struct block_io *next;

	for (; io; io = next) {
		next = io->next;
		io->done(io);
	}
}

/*
 * Writes to sequential zones must be sent in the order in which their places
 * were given out: one thread at a time sends them, others leave theirs to it.
 */
static void send_in_order(struct block *b)
{
	struct zdev_io *ios;

	b->issuing = true;
	while ((ios = take_ios(&b->issue_seq))) {
		pthread_mutex_unlock(&b->lock);
		send_all(b, ios);
		pthread_mutex_lock(&b->lock);
	}
	b->issuing = false;
}

void block_fail(struct block *b, int err)
{
	uint32_t i;
	struct chunk *c;

	if (b->failed)
		return;
	b->failed = err;
	b->tell_failed = true;
	zlog(b->opts.log, ZLOG_ERR, "%s: the disk is read-only from now on: %s",
	     zdev_info(b->devs->dev[0].zdev)->path, strerror(-err));
	write_wake_zone_waiters(b, -EROFS);
	parts_wake(b, &b->wait_commit);
	bm_wake(b);
	for (i = 0; i < CHUNK_HASH; i++)
		for (c = b->chunk_hash[i]; c; c = c->hash_next)
			parts_wake(b, &c->parked);
	commit_kick(b);
	reclaim_kick(b);
	pthread_cond_broadcast(&b->changed);
}

void block_leave(struct block *b)
{
	struct block_io *finished;
	struct zdev_io *ios;
	bool failed;

	do {
		try_ready(b);
		cut_starved(b);
	} while (b->ready.head);
	ios = take_ios(&b->issue);
	finished = b->finished;
	b->finished = NULL;
	failed = b->tell_failed;
	b->tell_failed = false;
	if (b->issue_seq.head && !b->issuing)
		send_in_order(b);
	pthread_mutex_unlock(&b->lock);
	send_all(b, ios);
	if (failed && b->opts.went_readonly)
		b->opts.went_readonly(b->opts.ctx);
	tell(finished);
}
