/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers of sequential files whom the kernel serves from the zone's own file.
 *
 * Its rules: while a file is open in passthrough mode, every further open of it
 * must be so, too, with the same registered file, and there may be none that
 * uses the page cache. A writer says DIRECT_IO besides: its reads and writes come
 * to us, only its maps do not. So the mode belongs to the inode and lasts until
 * all its handles are released, which the kernel tells after it has let go.
 *
 * An open passes here when zonefs is done with it. It may have to wait until the
 * file is registered, by a thread that still may, and until what was appended so
 * far is in it (zonefs_set_through). What cannot be had is done without: readers
 * go through the page cache then.
 *
 * The state of an inode is in struct onode, guarded by m->lock. What its counts
 * ask for, advance() does, one step after the other; n->busy while one is under
 * way.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "caps.h"
#include "fuse_i.h"

struct pass {
	struct mnt	*m;
	bool		override;	/* see caps_keep */
	pthread_t	thread;

	/* Guarded by m->lock. */
	pthread_cond_t	wake;
	struct onode	*first, **end;	/* to be registered or unregistered */
	bool		refused;	/* the kernel would not have any: ask no more */
	bool		stop;
};

static void advance(struct mnt *m, struct onode *n);

/* ---- what to do next; m->lock held ---- */

static bool sees_backing(const struct freq *f)
{
	return !f->h->writable && !f->h->barred;
}

static bool reader_waits(const struct onode *n)
{
	const struct freq *f;

	for (f = n->waiting; f; f = f->next)
		if (sees_backing(f))
			return true;
	return false;
}

static enum pass_step next_step(const struct mnt *m, const struct onode *n)
{
	bool reader = reader_waits(n) && !n->refused;

	if (reader && !n->backing_id && !m->pass->refused && !n->nr_plain &&
	    !atomic_load(&n->nr_cached))
		return PASS_REGISTER;
	if (reader && n->backing_id && !n->through)
		return PASS_THROUGH_ON;
	if (n->waiting)	/* as a map cannot go to us, better the page cache for all */
		return n->refused && n->backing_id && !n->nr_pass ? PASS_UNREGISTER
								  : PASS_ADMIT;
	if (n->through && !n->nr_through)
		return PASS_THROUGH_OFF;
	if (n->backing_id && !n->nr_pass)
		return PASS_UNREGISTER;
	return PASS_NOTHING;
}

/* ---- the steps ---- */

static enum io_mode mode_for(const struct onode *n, const struct freq *f)
{
	if (n->backing_id)
		return n->through && sees_backing(f) ? IO_PASS : IO_PASS_DIRECT;
	return sees_backing(f) ? IO_CACHED : IO_DIRECT;
}

/* m->lock held. Give the opens that wait their modes. They are to be finished. */
static struct freq *admit(struct mnt *m, struct onode *n)
{
	struct freq *list = n->waiting, *f;

	for (f = list; f; f = f->next)
		handle_set_mode(m, f->h, mode_for(n, f));
	n->waiting = NULL;
	n->refused = false;
	return list;
}

static void finish_opens(struct freq *f)
{
	struct freq *next;

	for (; f; f = next) {
		next = f->next;
		freq_finish(f, 0);
	}
}

/* m->lock held, released. */
static void end_step(struct mnt *m, struct onode *n)
{
	n->busy = false;
	advance(m, n);		/* unlocks */
	pthread_mutex_lock(&m->lock);
	onode_put(m, n);
	pthread_mutex_unlock(&m->lock);
}

static void through_done(struct zonefs_req *zr, ssize_t result)
{
	struct onode *n = (struct onode *)((char *)zr - offsetof(struct onode, through_req));
	struct mnt *m = n->m;

	pthread_mutex_lock(&m->lock);
	n->through = n->step == PASS_THROUGH_ON && !result;
	n->refused = result != 0;
	end_step(m, n);
}

static void do_register(struct mnt *m, struct onode *n)
{
	int32_t id;
	int fd;

	id = zonefs_backing(m->fs, n->ino, &fd);
	if (id) {
		pthread_mutex_lock(&m->lock);
	} else {
		id = transport_register(m, fd);
		close(fd);
		pthread_mutex_lock(&m->lock);
		m->pass->refused |= id == -EPERM || id == -EOPNOTSUPP || id == -ENOTTY;
	}
	n->refused = id < 0;
	n->backing_id = id > 0 ? id : 0;
	end_step(m, n);
}

static void do_unregister(struct mnt *m, struct onode *n)
{
	transport_unregister(m, n->backing_id);
	pthread_mutex_lock(&m->lock);
	n->backing_id = 0;
	end_step(m, n);
}

/* m->lock held, released. */
static void start_step(struct mnt *m, struct onode *n, enum pass_step step)
{
	struct pass *p = m->pass;

	n->busy = true;
	n->step = step;
	n->refs++;
	if (step == PASS_REGISTER || step == PASS_UNREGISTER) {
		n->next_step = NULL;
		*p->end = n;
		p->end = &n->next_step;
		pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&m->lock);
		return;
	}
	pthread_mutex_unlock(&m->lock);
	memset(&n->through_req, 0, sizeof(n->through_req));
	n->through_req.done = through_done;
	zonefs_set_through(m->fs, n->ino, step == PASS_THROUGH_ON, &n->through_req);
}

/* m->lock held, released. */
static void advance(struct mnt *m, struct onode *n)
{
	struct freq *opens = NULL;
	enum pass_step step = PASS_NOTHING;

	if (!n->busy) {
		step = next_step(m, n);
		if (step == PASS_ADMIT) {
			opens = admit(m, n);
			step = next_step(m, n);
		}
	}
	if (step == PASS_NOTHING)
		pthread_mutex_unlock(&m->lock);
	else
		start_step(m, n, step);		/* unlocks */
	finish_opens(opens);
}

/* ---- the thread that registers ---- */

static void *pass_main(void *arg)
{
	struct pass *p = arg;
	struct mnt *m = p->m;
	struct onode *n;
	int ret;

	ret = caps_keep(p->override);
	pthread_mutex_lock(&m->lock);
	if (ret)
		p->refused = true;
	while (p->first || !p->stop) {
		n = p->first;
		if (!n) {
			pthread_cond_wait(&p->wake, &m->lock);
			continue;
		}
		p->first = n->next_step;
		if (!p->first)
			p->end = &p->first;
		pthread_mutex_unlock(&m->lock);
		if (n->step == PASS_REGISTER)
			do_register(m, n);
		else
			do_unregister(m, n);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* ---- for the others ---- */

bool pass_wanted(const struct mnt *m)
{
	const struct zonefs_opts *o = &m->opts->zonefs;

	return !m->format->block && geteuid() == 0 && !o->strict && !o->no_passthrough &&
	       !m->opts->powercut && !strcmp(zdev_info(m->devs[0])->backend, "dir");
}

int pass_start(struct mnt *m, bool override)
{
	struct pass *p;
	int ret;

	if (!m->transport.wanted)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->m = m;
	p->override = override;
	p->end = &p->first;
	pthread_cond_init(&p->wake, NULL);
	ret = pthread_create(&p->thread, NULL, pass_main, p);
	if (!ret) {
		m->pass = p;
		return 0;
	}
	pthread_cond_destroy(&p->wake);
	free(p);
	return -ret;
}

void pass_stop(struct mnt *m)
{
	struct pass *p = m->pass;

	if (!p)
		return;
	pthread_mutex_lock(&m->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	free(p);
	m->pass = NULL;
}

bool pass_is_on(struct mnt *m, uint64_t *nr_files)
{
	bool on;

	pthread_mutex_lock(&m->lock);
	on = m->pass && m->transport.granted && !m->pass->refused;
	*nr_files = m->nr_through;
	pthread_mutex_unlock(&m->lock);
	return on;
}

void pass_open(struct freq *f)
{
	struct mnt *m = f->m;
	struct onode *n = f->h->node;

	pthread_mutex_lock(&m->lock);
	f->next = n->waiting;
	n->waiting = f;
	n->refused |= !m->pass || !m->transport.granted;
	advance(m, n);		/* unlocks */
}

void pass_released(struct mnt *m, struct onode *n)
{
	advance(m, n);		/* unlocks */
}
