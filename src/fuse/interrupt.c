/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients that are killed while they wait. The kernel tells of any signal that
 * reaches a waiting client, once a request and without its number. Only one that
 * ends the client may end its wait, as on other file systems: a stop, a freezer
 * or a handler must not make an fsync fail. So the requests that were interrupted
 * are kept here, and a thread looks at their clients now and again, until the
 * answer or until the client is being killed, which may come later. So are those
 * of close: a client that is dead already sends them, and is sent no more signals.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse_i.h"
#include "zonefsd/clock.h"

#define LOOK_MS		200
#define DIES_OF_SIGNAL	0x400	/* PF_SIGNALED among the flags in /proc/TID/stat */
/* A client of which we cannot know may be a killed one: 5 s, then it is let go. */
#define LOOKS_MAX	25

enum client { CLIENT_WAITS, CLIENT_KILLED, CLIENT_UNKNOWN };

struct intr {
	pthread_t	thread;

	/* A leaf. Guards all below, and the watch of each freq. */
	pthread_mutex_t	lock;
	pthread_cond_t	wake;		/* something is to look at, or stop */
	pthread_cond_t	looked;		/* busy is none any more */
	struct freq	*first;		/* by the time of their next look */
	struct freq	**end;
	struct freq	*busy;		/* being looked at, without the lock */
	bool		sleeps;		/* the thread, until it is woken */
	bool		stop;
};

/* ---- is a thread being killed? ---- */

/* What /proc/TID/status says of a thread's signals: bit N - 1 is signal N. */
struct signals {
	uint64_t	pending, shared, blocked, ignored, caught;
	uint64_t	tracer;
};

#define SIGBIT(sig)	(UINT64_C(1) << ((sig) - 1))
#define SIGS_CORE	(SIGBIT(SIGQUIT) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGABRT) | \
			 SIGBIT(SIGBUS) | SIGBIT(SIGFPE) | SIGBIT(SIGSEGV) | SIGBIT(SIGSYS) | \
			 SIGBIT(SIGXCPU) | SIGBIT(SIGXFSZ))

static bool read_signals(pid_t tid, struct signals *s)
{
	static const char mask[] = "%*[A-Za-z]:\t%" SCNx64;
	char path[32], *line = NULL;
	bool all = false;
	size_t len = 0;
	FILE *f;

	*s = (struct signals) { 0 };
	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!all && getline(&line, &len, f) > 0) {
		if (!strncmp(line, "TracerPid:", 10))
			sscanf(line, "%*[A-Za-z]:\t%" SCNu64, &s->tracer);
		else if (!strncmp(line, "SigPnd:", 7))
			sscanf(line, mask, &s->pending);
		else if (!strncmp(line, "ShdPnd:", 7))
			sscanf(line, mask, &s->shared);
		else if (!strncmp(line, "SigBlk:", 7))
			sscanf(line, mask, &s->blocked);
		else if (!strncmp(line, "SigIgn:", 7))
			sscanf(line, mask, &s->ignored);
		else if (!strncmp(line, "SigCgt:", 7))	/* the last of them */
			all = sscanf(line, mask, &s->caught) == 1;
	}
	free(line);
	fclose(f);
	return all;
}

/*
 * The kernel makes each signal that is to end a process into a SIGKILL of all its
 * threads, but for those that dump its memory: these wait for their thread, which
 * dies of them on its way out of the call. Unless a debugger swallows them.
 */
static bool is_deadly(const struct signals *s)
{
	uint64_t pending = s->pending | s->shared;

	if (pending & SIGBIT(SIGKILL))
		return true;
	return !s->tracer && (pending & SIGS_CORE & ~(s->blocked | s->ignored | s->caught));
}

/* Past its last signal: it closes what it had open. */
static bool is_dying(pid_t tid)
{
	char path[32], text[512], *p;
	unsigned flags = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	/* The name in parentheses may hold any character. */
	p = strrchr(text, ')');
	return p && sscanf(p, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       (flags & DIES_OF_SIGNAL);
}

/* /proc is there and speaks of our PID namespace, as the requests do. */
static bool proc_is_ours(void)
{
	char self[16] = "";

	return readlink("/proc/self", self, sizeof(self) - 1) > 0 && atoi(self) == getpid();
}

static enum client look_at(pid_t tid)
{
	struct signals s;

	/* 0: of a PID namespace that we do not see into. */
	if (!tid || !proc_is_ours())
		return CLIENT_UNKNOWN;
	if (read_signals(tid, &s))
		return is_deadly(&s) || is_dying(tid) ? CLIENT_KILLED : CLIENT_WAITS;
	/* Gone, so nobody waits; else /proc hides it (hidepid). */
	return syscall(SYS_tkill, tid, 0) && errno == ESRCH ? CLIENT_KILLED : CLIENT_UNKNOWN;
}

/* ---- the list, w->lock held ---- */

static void append(struct intr *w, struct freq *f)
{
	f->watch.next = NULL;
	f->watch.prev = w->end;
	*w->end = f;
	w->end = &f->watch.next;
}

static void prepend(struct intr *w, struct freq *f)
{
	f->watch.next = w->first;
	f->watch.prev = &w->first;
	if (w->first)
		w->first->watch.prev = &f->watch.next;
	else
		w->end = &f->watch.next;
	w->first = f;
}

static void unlink_freq(struct intr *w, struct freq *f)
{
	if (f->watch.next)
		f->watch.next->watch.prev = f->watch.prev;
	else
		w->end = f->watch.prev;
	*f->watch.prev = f->watch.next;
	f->watch.prev = NULL;
}

static void set_due(struct freq *f, long ms)
{
	f->watch.due = zclock_now() + ms * ZCLOCK_MS;
}

/* ---- the thread ---- */

/* w->lock held, released meanwhile. The first one's time has come. */
static void look(struct intr *w)
{
	struct freq *f = w->first;
	enum client c;
	bool end;

	w->busy = f;
	pthread_mutex_unlock(&w->lock);
	c = look_at(f->watch.tid);
	end = c == CLIENT_KILLED || (c == CLIENT_UNKNOWN && ++f->watch.looks == LOOKS_MAX);
	if (end)
		freq_cancel(f);
	pthread_mutex_lock(&w->lock);
	w->busy = NULL;
	pthread_cond_broadcast(&w->looked);
	/* Who has taken it out meanwhile keeps it until we let go of the lock. */
	if (!f->watch.prev)
		return;
	unlink_freq(w, f);
	if (end)
		return;
	set_due(f, LOOK_MS);
	append(w, f);
}

static void *intr_main(void *arg)
{
	struct intr *w = arg;
	struct timespec due;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (!w->first) {
			w->sleeps = true;
			pthread_cond_wait(&w->wake, &w->lock);
			w->sleeps = false;
		} else if (zclock_now() >= w->first->watch.due) {
			look(w);
		} else {
			due = zclock_timespec(w->first->watch.due);
			pthread_cond_timedwait(&w->wake, &w->lock, &due);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- for those who have requests ---- */

void intr_watch(struct intr *w, struct freq *f, bool now)
{
	f->watch.tid = fuse_req_ctx(f->req)->pid;
	set_due(f, now ? 0 : LOOK_MS);
	pthread_mutex_lock(&w->lock);
	if (now)
		prepend(w, f);
	else
		append(w, f);
	/* One that waits for its time will look here, too: closes are many. */
	if (now || w->sleeps)
		pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

void intr_forget(struct intr *w, struct freq *f)
{
	pthread_mutex_lock(&w->lock);
	if (f->watch.prev)
		unlink_freq(w, f);
	while (w->busy == f)
		pthread_cond_wait(&w->looked, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

struct intr *intr_new(void)
{
	struct intr *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	w->end = &w->first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&w->looked, NULL);
	if (!pthread_create(&w->thread, NULL, intr_main, w))
		return w;
	pthread_cond_destroy(&w->looked);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

void intr_free(struct intr *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->looked);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
