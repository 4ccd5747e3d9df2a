/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults at chosen places: a filter that fails operations by rules and passes
 * everything else on. Without rules it costs one load.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "zdev_i.h"

struct rule {
	struct zdev_fault fault;	/* skip and count are counted down */
	bool		forever;
	struct rule	*next;
};

struct fault {
	struct zdev	dev;
	struct zdev	*next;
	atomic_uint	nr_rules;
	pthread_mutex_t	lock;		/* guards rules */
	struct rule	*rules;		/* in the order they were made */
};

static struct fault *to_fault(struct zdev *dev)
{
	return (struct fault *)dev;
}

/* ---- rules ---- */

static bool matches(const struct zdev_fault *f, const struct zdev_io *io)
{
	/* A flush of all zones is one of each. */
	return f->op == io->op &&
	       (f->zno == ZDEV_ALL_ZONES || io->zno == ZDEV_ALL_ZONES || f->zno == io->zno);
}

static void drop_rule(struct fault *ft, struct rule **at)
{
	struct rule *r = *at;

	*at = r->next;
	free(r);
	atomic_fetch_sub(&ft->nr_rules, 1);
}

/* The rule that io falls under: its errno, and *partial; 0 if there is none. */
static int find_fault(struct fault *ft, const struct zdev_io *io, uint64_t *partial)
{
	struct rule **at, *r;
	int err = 0;

	pthread_mutex_lock(&ft->lock);
	for (at = &ft->rules; (r = *at); at = &r->next) {
		if (!matches(&r->fault, io))
			continue;
		if (r->fault.skip) {
			r->fault.skip--;
			continue;
		}
		err = r->fault.err;
		*partial = r->fault.partial;
		if (!r->forever && !--r->fault.count)
			drop_rule(ft, at);
		break;
	}
	pthread_mutex_unlock(&ft->lock);
	return err;
}

/* Is there a rule for reads of zone src or writes of zone dst? */
static bool may_fail(struct fault *ft, uint32_t src, uint32_t dst)
{
	const struct zdev_io rd = { .op = ZDEV_READ, .zno = src };
	const struct zdev_io wr = { .op = ZDEV_WRITE, .zno = dst };
	const struct rule *r;
	bool found = false;

	pthread_mutex_lock(&ft->lock);
	for (r = ft->rules; r && !found; r = r->next)
		found = matches(&r->fault, &rd) || matches(&r->fault, &wr);
	pthread_mutex_unlock(&ft->lock);
	return found;
}

static int fault_inject(struct zdev *dev, const struct zdev_fault *f)
{
	struct fault *ft = to_fault(dev);
	struct rule *r = NULL, **at;

	if (f->err < 0 || f->partial % dev->info.block_size)
		return -EINVAL;
	if (f->err) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->fault = *f;
		r->forever = !f->count;
	}
	pthread_mutex_lock(&ft->lock);
	for (at = &ft->rules; *at;) {
		const struct zdev_fault *old = &(*at)->fault;

		if (!f->err && old->op == f->op &&
		    (f->zno == ZDEV_ALL_ZONES || old->zno == f->zno))
			drop_rule(ft, at);
		else
			at = &(*at)->next;
	}
	if (r) {
		*at = r;
		atomic_fetch_add(&ft->nr_rules, 1);
	}
	pthread_mutex_unlock(&ft->lock);
	return 0;
}

/* ---- operations ---- */

/* The part of a write that lands before the write fails. */
struct part {
	struct zdev_io	io;
	struct zdev_io	*whole;
	int		err;
	struct iovec	iov[];
};

static void part_done(struct zdev_io *io)
{
	struct part *p = (struct part *)io;
	struct zdev_io *whole = p->whole;
	ssize_t result = io->result < 0 ? io->result : -p->err;

	free(p);
	zdev_complete(whole, result);
}

/* Write or copy the first `len` bytes of io, then fail it. false: out of memory. */
static bool submit_part(struct fault *ft, struct zdev_io *io, int err, size_t len)
{
	struct part *p = calloc(1, sizeof(*p) + io->nr_iov * sizeof(p->iov[0]));
	size_t left = len;
	int i;

	if (!p)
		return false;
	for (i = 0; i < io->nr_iov && left; i++) {
		p->iov[i] = io->iov[i];
		if (p->iov[i].iov_len > left)
			p->iov[i].iov_len = left;
		left -= p->iov[i].iov_len;
	}
	p->whole = io;
	p->err = err;
	p->io = (struct zdev_io) {
		.op = io->op, .fua = io->fua, .zno = io->zno, .pos = io->pos,
		.iov = p->iov, .nr_iov = i, .done = part_done,
		.bytes = len < io->bytes ? len : io->bytes,
		.src_zno = io->src_zno, .src_pos = io->src_pos, .share_only = io->share_only,
	};
	ft->next->ops->submit(ft->next, &p->io);
	return true;
}

static void fault_submit(struct zdev *dev, struct zdev_io *io)
{
	struct fault *ft = to_fault(dev);
	uint64_t partial = 0;
	int err = 0;

	if (atomic_load_explicit(&ft->nr_rules, memory_order_relaxed)) {
		err = find_fault(ft, io, &partial);
		/* Reads or writes that fail do so only when the copy is made by hand. */
		if (!err && io->op == ZDEV_COPY && may_fail(ft, io->src_zno, io->zno))
			err = EOPNOTSUPP;
	}
	if (!err) {
		ft->next->ops->submit(ft->next, io);
		return;
	}
	if (partial && (io->op == ZDEV_WRITE || io->op == ZDEV_APPEND || io->op == ZDEV_COPY) &&
	    submit_part(ft, io, err, partial))
		return;
	zdev_complete(io, -err);
}

static int fault_report(struct zdev *dev, uint32_t zno, uint32_t nr,
			struct zdev_zone *zones)
{
	struct zdev *next = to_fault(dev)->next;

	return next->ops->report(next, zno, nr, zones);
}

static ssize_t fault_get_tail(struct zdev *dev, uint32_t zno, void *buf)
{
	struct zdev *next = to_fault(dev)->next;

	return next->ops->get_tail(next, zno, buf);
}

static int fault_backing(struct zdev *dev, uint32_t zno)
{
	struct fault *ft = to_fault(dev);

	if (atomic_load(&ft->nr_rules))
		return -EOPNOTSUPP;
	return zdev_backing(ft->next, zno);
}

static int fault_set_cond(struct zdev *dev, uint32_t zno, uint8_t cond)
{
	return zdev_set_cond(to_fault(dev)->next, zno, cond);
}

static int fault_power_cut(struct zdev *dev)
{
	return zdev_power_cut(to_fault(dev)->next);
}

static int fault_close(struct zdev *dev)
{
	struct fault *ft = to_fault(dev);
	int ret;

	ret = zdev_close(ft->next);
	while (ft->rules)
		drop_rule(ft, &ft->rules);
	pthread_mutex_destroy(&ft->lock);
	free(ft);
	return ret;
}

static const struct zdev_ops fault_ops = {
	.submit		= fault_submit,
	.report		= fault_report,
	.get_tail	= fault_get_tail,
	.backing	= fault_backing,
	.set_cond	= fault_set_cond,
	.inject		= fault_inject,
	.power_cut	= fault_power_cut,
	.close		= fault_close,
};

int zdev_fault_stack(struct zdev *next, struct zdev **dev)
{
	struct fault *ft = calloc(1, sizeof(*ft));

	if (!ft) {
		zdev_close(next);
		return -ENOMEM;
	}
	ft->dev.ops = &fault_ops;
	ft->dev.info = next->info;
	ft->next = next;
	pthread_mutex_init(&ft->lock, NULL);
	*dev = &ft->dev;
	return 0;
}
