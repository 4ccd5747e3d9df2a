/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order in which a mount is built up and torn down. The file system is
 * unmounted while requests are still served, as unmounting may cause some; what
 * tells the kernel things ends before those who serve it do; the device is
 * closed last.
 */
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "caps.h"
#include "device.h"
#include "fuse-log.h"

/* Requests that a disk serves without asking for memory: what the kernel keeps in flight. */
#define DISK_FREQS	512

struct serve {
	struct mnt	m;
	struct loop	*loop;
	int		signal_fd;
	bool		override;	/* see caps_keep */
	bool		mounted;	/* libfuse has mounted, and must clean up */
	bool		notifying;
};

/* ---- the FUSE session ---- */

static int new_session(struct mnt *m, struct zerr *e)
{
	struct fuse_args args = FUSE_ARGS_INIT(m->opts->fuse.argc, m->opts->fuse.argv);

	/* libfuse changes args, in a copy of its own. */
	fuse_log_capture(e);
	m->se = fuse_session_new(&args, &mnt_ops, sizeof(mnt_ops), m);
	fuse_log_release();
	fuse_opt_free_args(&args);
	if (m->se)
		return 0;
	return zerr_set(e, EINVAL, "%s: %s", m->opts->mountpoint,
			*e->msg ? e->msg : "cannot set up FUSE");
}

static int mount_session(struct serve *s, struct zerr *e)
{
	struct zerr cause = { "" };
	int ret;

	fuse_log_capture(&cause);
	ret = fuse_session_mount(s->m.se, s->m.opts->mountpoint);
	fuse_log_release();
	if (ret)
		return zerr_set(e, EIO, "%s: %s", s->m.opts->mountpoint,
				*cause.msg ? cause.msg : "mount failed");
	s->mounted = true;
	s->m.st_dev = mnt_st_dev(s->m.opts->mountpoint);
	s->m.transport.wanted = pass_wanted(&s->m);
	ret = transport_take(&s->m);
	if (!ret)
		ret = pass_start(&s->m, s->override);
	if (ret)
		return zerr_errno(e, -ret, "%s: cannot set up FUSE", s->m.opts->mountpoint);
	return 0;
}

/* Run fusermount3 -u, which unmounts for those who may not. true if it did. */
static bool run_fusermount(const char *mountpoint, bool lazy)
{
	char *argv[] = {
		(char *)"fusermount3", (char *)"-q", (char *)(lazy ? "-uz" : "-u"),
		(char *)"--", (char *)mountpoint, NULL,
	};
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/*
 * By path, right after a look at what is there: a mount that a descriptor refers
 * to is busy. False also when it is not ours, which *there tells.
 */
static bool unmount_idle(const struct mnt *m, bool *there)
{
	int root = mnt_open(m);

	*there = root >= 0;
	if (root < 0)
		return false;
	close(root);
	if (!umount2(m->opts->mountpoint, UMOUNT_NOFOLLOW))
		return true;
	return errno == EPERM && run_fusermount(m->opts->mountpoint, false);
}

/* Through a descriptor, so that nothing else can be hit. True: it is gone. */
static bool unmount_lazily(const struct mnt *m)
{
	int root = mnt_open(m), err;
	char path[32];

	if (root < 0)
		return root == -ESTALE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
	err = umount2(path, MNT_DETACH) ? errno : 0;
	close(root);
	return !err || (err == EPERM && run_fusermount(m->opts->mountpoint, true));
}

/* A signal came. Without open files all is gone at once, else they end with us. */
static void unmount_at_signal(struct serve *s)
{
	bool there;

	if (unmount_idle(&s->m, &there))
		return;
	/*
	 * libfuse would unmount once more, and take away whatever is mounted there
	 * by then. So it is not asked to; some versions then lose a string.
	 */
	if (!there || unmount_lazily(&s->m))
		s->mounted = false;
	if (there)
		zlog(s->m.log, ZLOG_WARN, "%s: ended by a signal with files open",
		     s->m.opts->mountpoint);
}

/* ---- life ---- */

static int block_signals(struct serve *s, struct zerr *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? zerr_errno(e, errno, "cannot wait for signals") : 0;
}

static int start_threads(struct serve *s, struct zerr *e)
{
	struct mnt *m = &s->m;
	int ret;

	m->intr = intr_new();
	m->ctl = m->intr ? ctl_new(m) : NULL;
	if (!m->ctl)
		return zerr_errno(e, EAGAIN, "%s: cannot start threads", m->opts->mountpoint);
	ret = notify_start(m->notify);
	if (ret)
		return zerr_errno(e, -ret, "%s: cannot start threads", m->opts->mountpoint);
	s->notifying = true;
	return loop_start(m, &s->loop, e);
}

/* Undo what start has done so far. 0, or -errno with *e. */
static int teardown(struct serve *s, struct zerr *e)
{
	struct mnt *m = &s->m;
	int ret;

	/* Before the first wait: what runs for hours must not hold up the end. */
	if (m->format && m->format->stop)
		m->format->stop(m);
	if (m->ctl)
		ctl_stop(m->ctl);
	if (s->notifying)
		notify_stop(m->notify);
	if (s->loop && (ret = loop_stop(s->loop)))
		zlog(m->log, ZLOG_ERR, "%s: FUSE: %s", m->opts->mountpoint, strerror(-ret));
	freq_drain(m);
	intr_free(m->intr);
	handle_drop_all(m);
	pass_stop(m);
	if (s->mounted)
		fuse_session_unmount(m->se);
	ctl_free(m->ctl);
	ret = device_close(m, e);
	if (m->se)
		fuse_session_destroy(m->se);
	freq_pool_free(m->freqs);
	iobuf_pool_free(m->pool);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->lock);
	free(s);
	return ret;
}

static int make_pools(struct mnt *m, struct zerr *e)
{
	m->pool = iobuf_pool_new(m->format->block);
	if (m->format->block)
		m->freqs = freq_pool_new(DISK_FREQS);
	if (m->pool && (m->freqs || !m->format->block))
		return 0;
	return zerr_errno(e, ENOMEM, "%s", m->opts->device);
}

static int start(struct serve *s, struct zerr *e)
{
	int ret;

	ret = block_signals(s, e);
	if (!ret)
		ret = device_open(&s->m, &s->override, e);
	if (!ret)
		ret = make_pools(&s->m, e);
	if (!ret)
		ret = new_session(&s->m, e);
	if (!ret)
		ret = mount_session(s, e);
	if (!ret && s->m.format->block)
		pressure_lock(&s->m.pressure, s->m.log);
	if (!ret)
		ret = caps_drop(s->override, e);
	if (!ret)
		ret = start_threads(s, e);
	/* INIT is answered: the kernel has set its own value by now. */
	if (!ret)
		readahead_raise(&s->m);
	return ret;
}

int serve_start(const struct options *o, const struct zlog *log, struct serve **sp,
		struct zerr *e)
{
	struct serve *s = calloc(1, sizeof(*s));
	struct zerr ignored;
	int ret;

	if (!s)
		return zerr_errno(e, ENOMEM, "%s", o->device);
	s->m.opts = o;
	s->m.log = log;
	s->signal_fd = -1;
	pthread_mutex_init(&s->m.lock, NULL);
	pthread_cond_init(&s->m.idle, NULL);
	atomic_init(&s->m.nr_requests, 1);
	ret = start(s, e);
	if (ret)
		teardown(s, &ignored);
	else
		*sp = s;
	return ret;
}

void serve_wait(struct serve *s)
{
	struct pollfd p[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = loop_event_fd(s->loop), .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			break;
	if (!p[1].revents)
		unmount_at_signal(s);
}

int serve_stop(struct serve *s, struct zerr *e)
{
	return teardown(s, e);
}
