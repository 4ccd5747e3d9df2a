/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads that no thread waits for. Small random reads of a disk come by the dozen, and
 * a worker each costs more in changes of threads than all else on their way. Here they
 * go to the kernel at once, and one thread takes what has ended, many at a time.
 *
 * Whatever is special takes the way over the workers: what is not in the file alone
 * (behind the write pointer, in the page cache), what is not aligned, and what failed
 * or ended early, which is read once more there and reported if it fails again.
 */
#include <errno.h>
#include <libaio.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "emu_i.h"

#define DEPTH	128
#define BATCH	32
#define STACK	(256 * 1024)
/* Copying the answer of more is work for several threads. */
#define MAX_LEN	(32u << 10)

struct aio_read {
	struct iocb	cb;
	struct zdev_io	*io;
	struct emu_direct way;
	struct aio_read	*next;		/* unused */
};

struct emu_aio {
	struct emu	*emu;
	io_context_t	ctx;
	pthread_t	reaper;
	int		event_fd;	/* readable: the reaper ends with the poll of it */
	atomic_uint	submits;	/* calls of io_submit */
	struct aio_read	reads[DEPTH];

	pthread_mutex_t	lock;		/* guards unused */
	struct aio_read	*unused;
};

static struct aio_read *get_read(struct emu_aio *a)
{
	struct aio_read *r;

	pthread_mutex_lock(&a->lock);
	r = a->unused;
	if (r)
		a->unused = r->next;
	pthread_mutex_unlock(&a->lock);
	return r;
}

static void put_read(struct emu_aio *a, struct aio_read *r)
{
	pthread_mutex_lock(&a->lock);
	r->next = a->unused;
	a->unused = r;
	pthread_mutex_unlock(&a->lock);
}

static bool submit(struct emu_aio *a, struct iocb *cb)
{
	int ret;

	/* The reaper's load of it orders what we wrote before what it reads. */
	atomic_fetch_add_explicit(&a->submits, 1, memory_order_release);
	do
		ret = io_submit(a->ctx, 1, &cb);
	while (ret == -EINTR);
	return ret == 1;
}

/* Has the zone written data in all of the range, and nothing in doubt? */
static bool is_written(struct emu *emu, const struct zdev_io *io)
{
	const struct emu_zone *z = &emu->conds.zones[io->zno];
	uint64_t end;
	bool sure;

	pthread_mutex_lock(&emu->lock);
	end = emu_is_conv(&emu->conds, io->zno) ? emu->dev.info.zone_size : z->wp;
	sure = !z->stale && z->cond != BLK_ZONE_COND_OFFLINE && !emu->queue.cut;
	pthread_mutex_unlock(&emu->lock);
	return sure && io->len <= end && io->pos <= end - io->len;
}

bool emu_aio_read(struct emu *emu, struct zdev_io *io)
{
	struct emu_aio *a = emu->aio;
	struct aio_read *r;

	if (!a || !io->once || io->len > MAX_LEN || !is_written(emu, io))
		return false;
	r = get_read(a);
	if (!r)
		return false;
	if (emu->ops->direct_begin(emu->medium, io->zno, io->pos, io->iov, io->nr_iov, &r->way)) {
		put_read(a, r);
		return false;
	}
	r->io = io;
	io_prep_preadv(&r->cb, r->way.fd, io->iov, io->nr_iov, (long long)r->way.off);
	r->cb.data = r;
	if (submit(a, &r->cb))
		return true;
	emu->ops->direct_end(emu->medium, &r->way);
	put_read(a, r);
	return false;
}

/* res is bytes or -errno. */
static void arrived(struct emu_aio *a, struct aio_read *r, long res)
{
	struct zdev_io *io = r->io;

	a->emu->ops->direct_end(a->emu->medium, &r->way);
	put_read(a, r);
	if (res >= 0 && (size_t)res == io->len)
		zdev_complete(io, res);
	else
		emu_queue_add(a->emu, io, false);
}

static void *reap(void *arg)
{
	struct io_event events[BATCH];
	struct emu_aio *a = arg;
	bool last = false;
	int i, nr;

	while (!last) {
		nr = io_getevents(a->ctx, 1, BATCH, events, NULL);
		atomic_load_explicit(&a->submits, memory_order_acquire);
		for (i = 0; i < nr; i++) {
			if (events[i].data)
				arrived(a, events[i].data, (long)events[i].res);
			else
				last = true;
		}
	}
	return NULL;
}

static void free_aio(struct emu_aio *a)
{
	if (a->ctx)
		io_destroy(a->ctx);
	if (a->event_fd >= 0)
		close(a->event_fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static bool start_reaper(struct emu_aio *a)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	ret = pthread_create(&a->reaper, &attr, reap, a);
	pthread_attr_destroy(&attr);
	return !ret;
}

void emu_aio_start(struct emu *emu)
{
	struct emu_aio *a;
	unsigned i;

	if (!emu->ops->direct_begin)
		return;
	a = calloc(1, sizeof(*a));
	if (!a)
		return;
	a->emu = emu;
	pthread_mutex_init(&a->lock, NULL);
	for (i = 0; i < DEPTH; i++)
		put_read(a, &a->reads[i]);
	a->event_fd = eventfd(1, EFD_CLOEXEC);
	/* One more, for the poll that ends the reaper. */
	if (a->event_fd < 0 || io_setup(DEPTH + 1, &a->ctx) || !start_reaper(a))
		free_aio(a);
	else
		emu->aio = a;
}

void emu_aio_stop(struct emu *emu)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	struct emu_aio *a = emu->aio;
	struct iocb cb;

	if (!a)
		return;
	io_prep_poll(&cb, a->event_fd, POLLIN);
	cb.data = NULL;
	/* It can only lack memory, and the reaper must end. */
	while (!submit(a, &cb))
		nanosleep(&pause, NULL);
	pthread_join(a->reaper, NULL);
	free_aio(a);
	emu->aio = NULL;
}
