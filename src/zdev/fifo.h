/* SPDX-License-Identifier: BSD-2-Clause */
/* A FIFO of operations, linked through io->next. All zero: empty. Locks are the caller's. */
#ifndef ZDEV_FIFO_H
#define ZDEV_FIFO_H

#include "zonefsd/zdev.h"

struct zdev_fifo {
	struct zdev_io	*first, *last;	/* last: only while there is a first */
};

static inline void zdev_fifo_push(struct zdev_fifo *f, struct zdev_io *io)
{
	io->next = NULL;
	if (f->first)
		f->last->next = io;
	else
		f->first = io;
	f->last = io;
}

/* NULL: empty. */
static inline struct zdev_io *zdev_fifo_pop(struct zdev_fifo *f)
{
	struct zdev_io *io = f->first;

	if (io)
		f->first = io->next;
	return io;
}

#endif
