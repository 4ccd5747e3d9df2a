/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that tells the kernel about changes it did not make itself. The
 * kernel may answer a notification only after it has got pages that it waits
 * for from us, so nobody who serves requests, and nobody who holds a lock, may
 * send one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fuse_i.h"

#define REMOUNT_RETRY_MS	20
#define REMOUNT_TRIES		100

struct notify {
	struct mnt	*m;
	pthread_t	thread;
	uint64_t	nr_words;	/* of changed */

	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	wake;		/* something is to do */
	pthread_cond_t	idle;		/* nothing is to do */
	uint64_t	*changed;	/* bitmap of inodes: no allocation later, no duplicates */
	bool		any_changed;
	struct freq	*freqs;		/* to be finished after an invalidation */
	struct freq	**freqs_end;
	bool		busy;		/* an invalidation is under way */
	bool		stop;
	bool		readonly;	/* to be shown in the mount table */
	bool		remounting;	/* that is under way */
	unsigned	tries;		/* left for it; 0: wait for the last writer */
};

static void inval(struct notify *n, uint64_t ino, uint64_t pos)
{
	/* -ENOENT: the kernel does not know the inode, nothing to forget. */
	fuse_lowlevel_notify_inval_inode(n->m->se, node_of(n->m, ino), pos, 0);
}

/* n->lock held, released meanwhile. Go through the bitmap once. */
static void send_changed(struct notify *n)
{
	uint64_t i, word;

	n->busy = true;
	n->any_changed = false;
	for (i = 0; i < n->nr_words; i++) {
		word = n->changed[i];
		if (!word)
			continue;
		n->changed[i] = 0;
		pthread_mutex_unlock(&n->lock);
		for (; word; word &= word - 1)
			inval(n, i * 64 + __builtin_ctzll(word), 0);
		pthread_mutex_lock(&n->lock);
	}
	n->busy = false;
}

/* n->lock held, released meanwhile. */
static void finish_freqs(struct notify *n)
{
	struct freq *f, *next;

	n->busy = true;
	f = n->freqs;
	n->freqs = NULL;
	n->freqs_end = &n->freqs;
	pthread_mutex_unlock(&n->lock);
	for (; f; f = next) {
		next = f->next;
		inval(n, f->ino, f->off);
		freq_finish(f, f->result);
	}
	pthread_mutex_lock(&n->lock);
	n->busy = false;
}

/*
 * Turn the super block read-only and leave all other flags of the mount alone.
 * Nothing to do for one that the user does not see any more.
 */
static int remount_readonly(const struct mnt *m)
{
	int root = mnt_clone(m), fd, ret = 0;

	if (root < 0)
		return root == -ESTALE ? 0 : root;
	fd = fspick(root, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	if (fd < 0)
		ret = -errno;
	close(root);
	if (fd < 0)
		return ret;
	if (fsconfig(fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) ||
	    fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0))
		ret = -errno;
	close(fd);
	return ret;
}

/* n->lock held, released meanwhile. */
static void try_readonly(struct notify *n)
{
	int ret;

	n->tries--;
	n->remounting = true;
	pthread_mutex_unlock(&n->lock);
	ret = remount_readonly(n->m);
	/* The kernel lets go of a writer a moment after it has sent RELEASE. */
	if (ret == -EBUSY)
		usleep(REMOUNT_RETRY_MS * 1000);
	else if (ret)
		zlog(n->m->log, ZLOG_WARN, "%s: cannot remount read-only: %s",
		     n->m->opts->mountpoint, strerror(-ret));
	pthread_mutex_lock(&n->lock);
	n->remounting = false;
	pthread_cond_broadcast(&n->idle);
	if (ret != -EBUSY) {
		n->readonly = false;
		n->tries = 0;
	}
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;

	pthread_mutex_lock(&n->lock);
	for (;;) {
		if (n->freqs) {
			finish_freqs(n);
			continue;
		}
		if (n->any_changed) {
			send_changed(n);
			continue;
		}
		pthread_cond_broadcast(&n->idle);
		if (n->stop)
			break;
		if (n->readonly && n->tries)
			try_readonly(n);
		else
			pthread_cond_wait(&n->wake, &n->lock);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

struct notify *notify_new(struct mnt *m)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->m = m;
	n->nr_words = m->root_ino / 64 + 1;	/* the root comes after all files */
	n->freqs_end = &n->freqs;
	n->changed = calloc(n->nr_words, sizeof(*n->changed));
	if (!n->changed) {
		free(n);
		return NULL;
	}
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->wake, NULL);
	pthread_cond_init(&n->idle, NULL);
	return n;
}

int notify_start(struct notify *n)
{
	return -pthread_create(&n->thread, NULL, notify_main, n);
}

void notify_stop(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	pthread_cond_destroy(&n->idle);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	free(n->changed);
	free(n);
}

void notify_inode(struct notify *n, uint64_t ino)
{
	pthread_mutex_lock(&n->lock);
	if (ino / 64 < n->nr_words && !n->stop) {
		n->changed[ino / 64] |= UINT64_C(1) << ino % 64;
		n->any_changed = true;
		pthread_cond_signal(&n->wake);
	}
	pthread_mutex_unlock(&n->lock);
}

void notify_then_finish(struct notify *n, struct freq *f, ssize_t result)
{
	bool stopped;

	f->result = result;
	f->next = NULL;
	pthread_mutex_lock(&n->lock);
	stopped = n->stop;
	if (!stopped) {
		*n->freqs_end = f;
		n->freqs_end = &f->next;
		pthread_cond_signal(&n->wake);
	}
	pthread_mutex_unlock(&n->lock);
	if (stopped)
		freq_finish(f, result);
}

void notify_readonly(struct notify *n)
{
	/* Only root may remount; others see EROFS all the same. */
	if (geteuid() != 0)
		return;
	pthread_mutex_lock(&n->lock);
	n->readonly = true;
	n->tries = 1;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void notify_writable(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->readonly = false;
	n->tries = 0;
	while (n->remounting)
		pthread_cond_wait(&n->idle, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

void notify_no_writer(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	if (n->readonly) {
		n->tries = REMOUNT_TRIES;
		pthread_cond_signal(&n->wake);
	}
	pthread_mutex_unlock(&n->lock);
}

void notify_flush(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	while (n->busy || n->any_changed || n->freqs)
		pthread_cond_wait(&n->idle, &n->lock);
	pthread_mutex_unlock(&n->lock);
}
