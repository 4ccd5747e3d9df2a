/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The threads that receive requests. Our own loop in place of libfuse's, because
 * a WRITE that must wait takes its buffer with it, see iobuf.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fuse_i.h"

#define LOOP_MIN	4
#define LOOP_MAX	10
#define LOOP_KICK_MS	10

struct receiver {
	struct loop	*loop;
	pthread_t	thread;
	struct iobuf	*buf;		/* NULL after a WRITE took it */
	atomic_bool	ended;
};

struct loop {
	struct mnt	*m;
	int		event_fd;
	unsigned	nr;
	atomic_int	error;
	struct receiver	r[LOOP_MAX];
};

/* 1 after a request, 0 when the session has ended, or -errno. */
static int receive_one(struct receiver *r)
{
	struct mnt *m = r->loop->m;
	struct fuse_buf fb = { 0 };
	int ret;

	if (!r->buf) {
		r->buf = iobuf_get(m->pool, IOBUF_RECEIVE);
		if (!r->buf)
			return -ENOMEM;
		r->buf->slot = &r->buf;
	}
	fb.mem = r->buf->recv;
	ret = fuse_session_receive_buf(m->se, &fb);
	if (ret == -EINTR || ret == -EAGAIN)
		return 1;
	if (ret <= 0)
		return ret;
	fuse_session_process_buf(m->se, &fb);
	return 1;
}

static void *receiver_main(void *arg)
{
	struct receiver *r = arg;
	struct loop *l = r->loop;
	uint64_t one = 1;
	int ret = 1;

	while (!fuse_session_exited(l->m->se)) {
		ret = receive_one(r);
		if (ret == -ENOMEM) {
			usleep(LOOP_KICK_MS * 1000);	/* may get better */
			continue;
		}
		if (ret <= 0)
			break;
	}
	if (ret < 0 && ret != -ENOMEM)
		atomic_store(&l->error, ret);
	fuse_session_exit(l->m->se);
	iobuf_put(l->m->pool, r->buf);
	r->buf = NULL;
	atomic_store(&r->ended, true);
	if (write(l->event_fd, &one, sizeof(one)) < 0)
		zlog(l->m->log, ZLOG_WARN, "cannot signal the end: %m");
	return NULL;
}

/*
 * Handle FUSE_INIT, which is the first request of a mount. Here libfuse brings
 * its own buffer: before INIT it may read more at once than ours have room for.
 */
static int receive_init(struct mnt *m, struct zerr *e)
{
	struct fuse_buf fb = { 0 };
	int ret;

	do
		ret = fuse_session_receive_buf(m->se, &fb);
	while (ret == -EINTR || ret == -EAGAIN);
	if (ret > 0)
		fuse_session_process_buf(m->se, &fb);
	free(fb.mem);
	if (ret > 0 && fuse_session_exited(m->se))
		ret = -EPROTO;
	if (ret > 0)
		return 0;
	ret = ret ? ret : -ENODEV;
	return zerr_errno(e, -ret, "%s: cannot start FUSE", m->opts->mountpoint);
}

static void nothing(int sig)
{
}

/* A signal that interrupts read(2) on the FUSE device, and does no more. */
static void prepare_kick(void)
{
	struct sigaction sa = { .sa_handler = nothing };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
}

int loop_start(struct mnt *m, struct loop **loop, struct zerr *e)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned nr = cpus < LOOP_MIN / 2 ? LOOP_MIN : cpus > LOOP_MAX / 2 ? LOOP_MAX : 2 * cpus;
	struct loop *l;
	int ret;

	prepare_kick();
	ret = receive_init(m, e);
	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return zerr_errno(e, ENOMEM, "%s", m->opts->mountpoint);
	l->m = m;
	l->event_fd = eventfd(0, EFD_CLOEXEC);
	for (; l->event_fd >= 0 && l->nr < nr; l->nr++) {
		l->r[l->nr].loop = l;
		ret = pthread_create(&l->r[l->nr].thread, NULL, receiver_main, &l->r[l->nr]);
		if (ret)
			break;
	}
	if (l->nr) {	/* fewer threads than wanted work, too */
		*loop = l;
		return 0;
	}
	if (l->event_fd >= 0)
		close(l->event_fd);
	free(l);
	return zerr_errno(e, EAGAIN, "%s: cannot start threads", m->opts->mountpoint);
}

int loop_event_fd(const struct loop *l)
{
	return l->event_fd;
}

int loop_stop(struct loop *l)
{
	unsigned i;
	int ret;

	fuse_session_exit(l->m->se);
	for (i = 0; i < l->nr; i++) {
		/* Again and again: the thread may have been just before its read(2). */
		while (!atomic_load(&l->r[i].ended)) {
			pthread_kill(l->r[i].thread, SIGUSR1);
			usleep(LOOP_KICK_MS * 1000);
		}
		pthread_join(l->r[i].thread, NULL);
	}
	ret = atomic_load(&l->error);
	close(l->event_fd);
	free(l);
	return ret;
}
