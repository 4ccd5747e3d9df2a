/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A filter in front of a device that holds writes to one zone, or other operations on it,
 * back until it is opened: what a test does meanwhile is done while the write is under way,
 * however slow or fast the machine is.
 */
#ifndef GATE_H
#define GATE_H

#include <pthread.h>

#include "../../src/zdev/zdev_i.h"
#include "unit.h"

struct gate {
	struct zdev	dev;		/* first */
	struct zdev	*next;
	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	reached;
	bool		shut;
	enum zdev_op	op;
	uint32_t	zno;
	uint64_t	from;		/* of the zone's bytes: held from here on */
	struct zdev_io	*held;
};

static inline void gate_submit(struct zdev *dev, struct zdev_io *io)
{
	struct gate *g = (struct gate *)dev;
	bool hold;

	pthread_mutex_lock(&g->lock);
	hold = g->shut && io->op == g->op && io->zno == g->zno && io->pos >= g->from;
	if (hold) {
		/* Only one is under way at a time. */
		CHECK(!g->held);
		g->held = io;
		pthread_cond_signal(&g->reached);
	}
	pthread_mutex_unlock(&g->lock);
	if (!hold)
		zdev_submit(g->next, io);
}

static inline int gate_report(struct zdev *dev, uint32_t zno, uint32_t nr,
			      struct zdev_zone *zones)
{
	return zdev_report(((struct gate *)dev)->next, zno, nr, zones);
}

static inline ssize_t gate_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	return zdev_get_tail(((struct gate *)dev)->next, zno, buf);
}

static inline int gate_close(struct zdev *dev)
{
	struct gate *g = (struct gate *)dev;
	int ret = zdev_close(g->next);

	CHECK(!g->held);
	pthread_cond_destroy(&g->reached);
	pthread_mutex_destroy(&g->lock);
	free(g);
	return ret;
}

static const struct zdev_ops gate_ops = {
	.submit		= gate_submit,
	.report		= gate_report,
	.get_tail	= gate_get_tail,
	.close		= gate_close,
};

/* An open gate in front of *dev, which becomes the gate's. */
static inline struct gate *gate_stack(struct zdev **dev)
{
	struct gate *g = calloc(1, sizeof(*g));

	CHECK(g);
	g->dev.ops = &gate_ops;
	g->dev.info = (*dev)->info;
	g->next = *dev;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->reached, NULL);
	*dev = &g->dev;
	return g;
}

static inline void gate_shut(struct gate *g, uint32_t zno, uint64_t from)
{
	pthread_mutex_lock(&g->lock);
	g->op = ZDEV_WRITE;
	g->zno = zno;
	g->from = from;
	g->shut = true;
	pthread_mutex_unlock(&g->lock);
}

/* The same for another operation. */
static inline void gate_shut_op(struct gate *g, enum zdev_op op, uint32_t zno)
{
	gate_shut(g, zno, 0);
	pthread_mutex_lock(&g->lock);
	g->op = op;
	pthread_mutex_unlock(&g->lock);
}

/* Until a write is held. */
static inline void gate_await(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (!g->held)
		pthread_cond_wait(&g->reached, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static inline void gate_open(struct gate *g)
{
	struct zdev_io *io;

	pthread_mutex_lock(&g->lock);
	io = g->held;
	g->held = NULL;
	g->shut = false;
	pthread_mutex_unlock(&g->lock);
	if (io)
		zdev_submit(g->next, io);
}

#endif
