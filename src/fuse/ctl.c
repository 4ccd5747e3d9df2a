/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The directory .zonefsd (docs/control.md): its nodes, and the threads that make
 * long reports and carry out commands, so that no receiver waits for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl_i.h"

#define CTL_LINE_MAX	4095		/* bytes in one command */
#define CTL_QUEUE_MAX	64		/* waiting commands or reports */
/* Bytes of text held for all readers; "zones" takes some 140 a zone. */
#define CTL_TEXT_MAX	(16u << 20)
#define CTL_TEXT_ZONE	512u

/* One thread that works off requests in order. */
struct worker {
	pthread_t	thread;
	int		(*run)(struct freq *f);	/* 0 or -errno */

	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	wake;
	struct freq	*first, **end;
	struct freq	*current;
	unsigned	nr;
	bool		stop;
};

struct ctl {
	struct mnt	*m;
	unsigned	nr_entries;
	struct timespec	time;
	struct worker	commands, long_commands, reports;
	size_t		text_max;

	pthread_mutex_t	lock;		/* guards text_bytes */
	size_t		text_bytes;
};

struct ctl_file {
	struct ctl	*ctl;
	const struct ctl_entry *entry;

	pthread_mutex_t	lock;		/* guards all below */
	char		*text;
	size_t		len;
};

/* Node CTL_NODE is the directory, CTL_NODE + 1 + i is entry i. */
static const struct ctl_entry *entry_of(const struct mnt *m, fuse_ino_t node)
{
	uint64_t i = node - CTL_NODE - 1;

	return i < m->ctl->nr_entries ? &m->format->entries[i] : NULL;
}

/* ---- the threads ---- */

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct freq *f;
	int ret;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		f = w->first;
		if (!f) {
			if (w->stop)
				break;
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		w->first = f->next;
		if (!w->first)
			w->end = &w->first;
		w->nr--;
		w->current = f;
		if (w->stop)
			atomic_store(&f->stop, true);
		pthread_mutex_unlock(&w->lock);
		ret = w->run(f);
		/* worker_stop must not find it when it is gone. */
		pthread_mutex_lock(&w->lock);
		w->current = NULL;
		pthread_mutex_unlock(&w->lock);
		freq_finish(f, ret);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static bool worker_start(struct worker *w, int (*run)(struct freq *f))
{
	w->run = run;
	w->end = &w->first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	if (!pthread_create(&w->thread, NULL, worker_main, w))
		return true;
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	return false;
}

static void set_stop(struct freq *f)
{
	atomic_store(&f->stop, true);
}

/* Queue f, or fail it when too many wait. */
static void worker_add(struct worker *w, struct freq *f)
{
	bool taken;

	f->cancel = set_stop;
	pthread_mutex_lock(&w->lock);
	taken = w->nr < CTL_QUEUE_MAX && !w->stop;
	if (taken) {
		f->next = NULL;
		*w->end = f;
		w->end = &f->next;
		w->nr++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	if (taken)
		freq_submitted(f, true);
	else
		freq_fail(f, EAGAIN);
}

static void worker_stop(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	if (w->current)
		atomic_store(&w->current->stop, true);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
}

static void worker_destroy(struct worker *w)
{
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
}

/* ---- nodes ---- */

static int fill_stat(const struct mnt *m, fuse_ino_t node, struct stat *st)
{
	bool is_dir = node == CTL_NODE;
	const struct ctl_entry *en = entry_of(m, node);

	if (!is_dir && !en)
		return -ENOENT;
	memset(st, 0, sizeof(*st));
	st->st_ino = node;
	st->st_nlink = is_dir ? 2 : 1;
	st->st_uid = m->opts->zonefs.mounter_uid;
	st->st_gid = m->opts->zonefs.mounter_gid;
	st->st_atim = st->st_mtim = st->st_ctim = m->ctl->time;
	if (is_dir)
		st->st_mode = S_IFDIR | 0555;
	else
		st->st_mode = S_IFREG | (!en->write ? 0444 : en->text ? 0644 : 0600);
	return 0;
}

int ctl_lookup(const struct mnt *m, const char *name, struct stat *st)
{
	unsigned i;

	if (!strcmp(name, "."))
		return fill_stat(m, CTL_NODE, st);
	for (i = 0; i < m->ctl->nr_entries; i++)
		if (!strcmp(name, m->format->entries[i].name))
			return fill_stat(m, CTL_NODE + 1 + i, st);
	return -ENOENT;
}

int ctl_getattr(const struct mnt *m, fuse_ino_t node, struct stat *st)
{
	return fill_stat(m, node, st);
}

const char *ctl_readdir(const struct mnt *m, uint64_t index, struct stat *st)
{
	if (index < 2) {
		fill_stat(m, CTL_NODE, st);
		return index ? ".." : ".";
	}
	if (fill_stat(m, CTL_NODE - 1 + index, st))
		return NULL;
	return m->format->entries[index - 2].name;
}

/* ---- open files ---- */

static bool may_command(const struct mnt *m, fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == m->opts->zonefs.mounter_uid;
}

static int check_open(const struct mnt *m, fuse_req_t req, const struct ctl_entry *en,
		      int flags)
{
	int mode = flags & O_ACCMODE;

	if (mode != O_WRONLY && !en->text)
		return -EACCES;
	if (mode != O_RDONLY && !(en->write && may_command(m, req)))
		return -EACCES;
	return 0;
}

static struct ctl_file *file_new(struct ctl *c, const struct ctl_entry *en)
{
	struct ctl_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->ctl = c;
	file->entry = en;
	pthread_mutex_init(&file->lock, NULL);
	return file;
}

void ctl_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	const struct ctl_entry *en = entry_of(m, node);
	struct handle *h;
	int ret;

	ret = en ? check_open(m, req, en, fi->flags) : -EISDIR;
	if (ret) {
		fuse_reply_err(req, -ret);
		return;
	}
	h = handle_new();
	if (h)
		h->ctl = file_new(m->ctl, en);
	if (!h || !h->ctl) {
		free(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	handle_add(m, h, 0);	/* cannot fail for a control file */
	/* Past the cache: the size is unknown, and each write is one command. */
	fi->direct_io = 1;
	fi->fh = (uintptr_t)h;
	fuse_reply_open(req, fi);
}

/* Room in the common limit for a text that replaces one of old bytes. */
static bool charge_text(struct ctl *c, size_t old, size_t len)
{
	bool fits;

	pthread_mutex_lock(&c->lock);
	c->text_bytes -= old;
	fits = len <= c->text_max - c->text_bytes;
	if (fits)
		c->text_bytes += len;
	pthread_mutex_unlock(&c->lock);
	return fits;
}

void ctl_file_free(struct ctl_file *file)
{
	if (!file)
		return;
	charge_text(file->ctl, file->len, 0);
	pthread_mutex_destroy(&file->lock);
	free(file->text);
	free(file);
}

/* ---- reading: the text of one moment, made when offset 0 is read ---- */

static int make_text(struct ctl_file *file)
{
	struct ctl *c = file->ctl;
	char *text = NULL;
	size_t len = 0, old;
	FILE *out;
	int ret;

	out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;
	ret = file->entry->text(c->m, out);
	if (ferror(out) && !ret)
		ret = -ENOMEM;
	if (fclose(out) && !ret)
		ret = -ENOMEM;
	if (ret) {
		free(text);
		return ret;
	}
	pthread_mutex_lock(&file->lock);
	old = file->len;
	free(file->text);
	file->text = NULL;
	file->len = 0;
	if (charge_text(c, old, len)) {
		file->text = text;
		file->len = len;
	} else {
		free(text);
		ret = -ENOMEM;
	}
	pthread_mutex_unlock(&file->lock);
	return ret;
}

static void reply_slice(fuse_req_t req, struct ctl_file *file, size_t size, uint64_t off)
{
	char *slice = NULL;
	size_t n = 0;

	pthread_mutex_lock(&file->lock);
	if (off < file->len) {
		n = size < file->len - off ? size : file->len - off;
		slice = malloc(n);
		if (slice)
			memcpy(slice, file->text + off, n);
	}
	pthread_mutex_unlock(&file->lock);
	if (n && !slice)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, slice, n);
	free(slice);
}

static void report_reply(struct freq *f, ssize_t result)
{
	if (result)
		fuse_reply_err(f->req, -result);
	else
		reply_slice(f->req, f->h->ctl, f->size, 0);
}

static int run_report(struct freq *f)
{
	return atomic_load(&f->stop) ? -EINTR : make_text(f->h->ctl);
}

void ctl_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct ctl_file *file = handle_of(fi)->ctl;
	struct freq *f;
	int ret;

	if (!off && file->entry->slow) {
		f = freq_new(m, req, report_reply);
		if (!f)
			return;
		f->h = handle_of(fi);
		f->size = size;
		worker_add(&m->ctl->reports, f);
		return;
	}
	ret = off ? 0 : make_text(file);
	if (ret)
		fuse_reply_err(req, -ret);
	else
		reply_slice(req, file, size, off);
}

/* ---- writing: one command ---- */

static void command_reply(struct freq *f, ssize_t result)
{
	if (result)
		fuse_reply_err(f->req, -result);
	else
		fuse_reply_write(f->req, f->size);
	free(f->line);
}

static int run_command(struct freq *f)
{
	int ret = -EINTR;

	if (!atomic_load(&f->stop))
		ret = f->h->ctl->entry->write(f->m, f->line, &f->stop);
	/* Whoever reads a file after the answer must not see an old size. */
	notify_flush(f->m->notify);
	return ret;
}

/* The line in data, empty or not, without its newline, or NULL with the errno in *err. */
static char *copy_line(const char *data, size_t size, int *err)
{
	char *line;

	*err = EINVAL;
	if (size && data[size - 1] == '\n')
		size--;
	if (size > CTL_LINE_MAX || memchr(data, '\n', size) ||
	    memchr(data, '\0', size))
		return NULL;
	line = strndup(data, size);
	*err = ENOMEM;
	return line;
}

void ctl_write(fuse_req_t req, const char *data, size_t size, struct fuse_file_info *fi)
{
	struct mnt *m = fuse_req_userdata(req);
	struct handle *h = handle_of(fi);
	struct freq *f;
	char *line;
	int err;

	/* The descriptor may have been handed on to somebody else. */
	if (!may_command(m, req)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	line = copy_line(data, size, &err);
	if (!line) {
		fuse_reply_err(req, err);
		return;
	}
	f = freq_new(m, req, command_reply);
	if (!f) {
		free(line);
		return;
	}
	f->h = h;
	f->line = line;
	f->size = size;
	worker_add(h->ctl->entry->long_write ? &m->ctl->long_commands : &m->ctl->commands, f);
}

/* ---- life ---- */

/* Start all threads or none. */
static bool start_workers(struct ctl *c)
{
	struct worker *w[] = { &c->commands, &c->long_commands, &c->reports };
	int (*const run[])(struct freq *f) = { run_command, run_command, run_report };
	unsigned i;

	for (i = 0; i < 3 && worker_start(w[i], run[i]); i++)
		;
	if (i == 3)
		return true;
	while (i--) {
		worker_stop(w[i]);
		worker_destroy(w[i]);
	}
	return false;
}

struct ctl *ctl_new(struct mnt *m)
{
	struct ctl *c = calloc(1, sizeof(*c));
	uint32_t i;

	if (!c)
		return NULL;
	c->m = m;
	c->text_max = CTL_TEXT_MAX;
	for (i = 0; i < m->nr_devs; i++)
		c->text_max += (size_t)CTL_TEXT_ZONE * zdev_info(m->devs[i])->nr_zones;
	while (m->format->entries[c->nr_entries].name)
		c->nr_entries++;
	clock_gettime(CLOCK_REALTIME, &c->time);
	pthread_mutex_init(&c->lock, NULL);
	if (start_workers(c))
		return c;
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void ctl_stop(struct ctl *c)
{
	worker_stop(&c->commands);
	worker_stop(&c->long_commands);
	worker_stop(&c->reports);
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	worker_destroy(&c->commands);
	worker_destroy(&c->long_commands);
	worker_destroy(&c->reports);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
