/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations of zcompare: what is chosen at random for each, and the system
 * call that it is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "zcompare.h"

sigjmp_buf fault_jump;

/* ---- random numbers ---- */

static uint64_t rnd(struct cmp *c)
{
	uint64_t z = c->rnd += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t below(struct cmp *c, uint64_t n)
{
	return n ? rnd(c) % n : 0;
}

static bool percent(struct cmp *c, unsigned int p)
{
	return below(c, 100) < p;
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h;
}

/* ---- what to choose from ---- */

static const char *const odd_names[] = {
	"", "cnv", "seq", "seq/00", "seq/-1", "seq/99999", "nothing", "seq/x", "seq/0/",
	"cnv/.", "seq/..", "seq/12345678901234567", "0123456789abcdef", "seq/0/x",
};

static void choose_file(struct cmp *c, struct op *op)
{
	op->file = below(c, c->nr_files);
	snprintf(op->path, sizeof(op->path), "%s", c->file[op->file].name);
}

/* A file most of the time. */
static void choose_path(struct cmp *c, struct op *op)
{
	op->file = -1;
	if (percent(c, 80))
		choose_file(c, op);
	else
		snprintf(op->path, sizeof(op->path), "%s",
			 odd_names[below(c, ARRAY_SIZE(odd_names))]);
	op->as_user = percent(c, 8);
}

/* One that is open, else none. */
static void choose_slot(struct cmp *c, struct op *op)
{
	int n = below(c, NR_SLOTS);

	op->slot = -1;
	for (int i = 0; i < NR_SLOTS; i++) {
		int at = (n + i) % NR_SLOTS;

		if (c->slot[at].fd[0] >= 0) {
			op->slot = at;
			op->file = c->slot[at].file;
			return;
		}
	}
}

/* A file's own figures, or those of any for a directory. */
static const struct file *file_of(const struct cmp *c, const struct op *op)
{
	return &c->file[op->file < 0 ? 0 : op->file];
}

static int64_t choose_off(struct cmp *c, const struct file *f)
{
	int64_t at[] = { f->size, f->size, f->size, f->size, 0, f->size - f->bs,
		f->size + f->bs, f->cap - f->bs, f->cap, f->cap + f->bs,
		f->size / 2 / f->bs * f->bs, below(c, f->cap / f->bs) * f->bs,
		below(c, f->cap), f->size + 1, f->size - 1, f->size + 512 };
	int64_t off = percent(c, f->seq ? 55 : 0) ? f->size : at[below(c, ARRAY_SIZE(at))];

	return off < 0 ? 0 : off;
}

static int64_t choose_len(struct cmp *c, const struct file *f)
{
	switch (below(c, 24)) {
	case 0:
		return 0;
	case 1:
		return below(c, 3 * f->bs);
	case 2:
		return below(c, 64) * f->bs + 512;
	case 3:
		return f->cap - f->size + below(c, 3) * f->bs;
	case 4:
		return below(c, MAX_WRITE / f->bs) * f->bs;
	case 5:
		return (MAX_WRITE / f->bs + below(c, MAX_WRITE / f->bs)) * f->bs;
	case 6:
		return percent(c, 20) ? f->cap + below(c, 2 * f->bs) : 1;
	case 7:
	case 8:
	case 9:
		return (1 + below(c, 64)) * f->bs;
	default:
		return (1 + below(c, 8)) * f->bs;
	}
}

/* ---- running ---- */

static void done(struct result *r, long long ret)
{
	r->err = ret < 0 ? errno : 0;
	r->ret = ret < 0 ? -1 : ret;
}

int fd_of(const struct cmp *c, enum side s, const struct op *op)
{
	return op->slot < 0 ? -1 : c->slot[op->slot].fd[s];
}

static const char *path_or_dot(const struct op *op)
{
	return *op->path ? op->path : ".";
}

static void choose_open(struct cmp *c, struct op *op)
{
	static const int rare[] = { O_TRUNC, O_TRUNC, O_TRUNC, O_CREAT, O_CREAT | O_EXCL, O_NONBLOCK,
		O_NOATIME, O_PATH, O_DIRECTORY, O_TMPFILE, O_NOFOLLOW };

	choose_path(c, op);
	op->flags = below(c, 10) < 3 ? O_RDONLY : percent(c, 50) ? O_WRONLY : O_RDWR;
	op->flags |= percent(c, 60) ? O_DIRECT : 0;
	op->flags |= percent(c, 20) ? O_APPEND : 0;
	op->flags |= percent(c, 8) ? O_DSYNC : percent(c, 8) ? O_SYNC : 0;
	if (percent(c, 12))
		op->flags |= rare[below(c, ARRAY_SIZE(rare))];
	op->slot = -1;
	for (int i = 0; i < NR_SLOTS; i++)
		if (c->slot[i].fd[0] < 0)
			op->slot = i;
}

static void run_open(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	int fd = openat(c->root[s], path_or_dot(op), op->flags | O_CLOEXEC, 0644);

	done(r, fd);
	if (fd < 0)
		return;
	r->ret = 0;
	if (op->slot < 0)
		close(fd);
	else
		c->slot[op->slot].fd[s] = fd;
}

static void keep_open(struct cmp *c, const struct op *op, const struct result r[])
{
	if (op->slot < 0 || r[0].err)
		return;
	c->slot[op->slot].file = op->file;
	c->slot[op->slot].flags = op->flags;
}

static void run_close(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, close(fd_of(c, s, op)));
	if (op->slot >= 0)
		c->slot[op->slot].fd[s] = -1;
}

/* What is asked of this descriptor fails, wherever in the file. */
static bool in_vain(const struct cmp *c, const struct op *op, int needs)
{
	int flags = op->slot < 0 ? 0 : c->slot[op->slot].flags;
	int mode = flags & O_ACCMODE;

	if (op->slot < 0 || op->file < 0 || (mode != needs && mode != O_RDWR))
		return true;
	return needs == O_WRONLY && c->file[op->file].seq && !(flags & O_DIRECT);
}

/* On a descriptor that is open for it most of the time; needs: O_RDONLY or O_WRONLY. */
static void choose_rw(struct cmp *c, struct op *op, int needs)
{
	const struct file *f;
	bool direct;

	choose_slot(c, op);
	for (int tries = 0; tries < 3 && in_vain(c, op, needs); tries++)
		choose_slot(c, op);
	f = file_of(c, op);
	direct = op->slot >= 0 && c->slot[op->slot].flags & O_DIRECT;
	op->at = percent(c, 75);
	op->off = choose_off(c, f);
	op->len = choose_len(c, f);
	if (op->len > (int64_t)BUF_BYTES - 65536)
		op->len = BUF_BYTES - 65536;
	op->nvec = percent(c, 15) ? 2 + below(c, 3) : 1;
	/*
	 * Each piece as a device takes it: only the data reach a daemon, not where they
	 * stood. And null_blk overruns its pages when a piece is no whole block.
	 */
	op->mis = direct ? below(c, 4096 / f->bs) * f->bs : below(c, 8);
}

/*
 * An append whose own position is at the capacity, while the file's end is not: EFBIG
 * with zonefs, but all that a daemon gets is an append. Not asked for.
 */
static void mind_append(struct cmp *c, struct op *op)
{
	const struct file *f = file_of(c, op);

	if (op->slot < 0 || !f->seq)
		return;
	if (!op->at && lseek(c->slot[op->slot].fd[0], 0, SEEK_CUR) >= f->cap) {
		op->at = true;
		op->off = 0;
	}
	if (op->at && op->off >= f->cap)
		op->off = f->size < f->cap ? f->size : 0;
}

static void choose_write(struct cmp *c, struct op *op)
{
	static const int rwf[] = { RWF_DSYNC, RWF_SYNC, RWF_APPEND, RWF_APPEND, RWF_NOWAIT };

	choose_rw(c, op, O_WRONLY);
	if (percent(c, 12))
		op->rwf = rwf[below(c, ARRAY_SIZE(rwf))];
	if (op->rwf & RWF_APPEND ||
	    (op->slot >= 0 && c->slot[op->slot].flags & O_APPEND))
		mind_append(c, op);
	if (percent(c, 2))
		op->limit = file_of(c, op)->size + (below(c, 5) - 2) * file_of(c, op)->bs;
}

static void choose_read(struct cmp *c, struct op *op)
{
	choose_rw(c, op, O_RDONLY);
	if (percent(c, 60))
		op->off = below(c, file_of(c, op)->size / 512 + 2) * 512;
	if (percent(c, 3))
		op->rwf = RWF_NOWAIT;
}

static int make_iov(const struct op *op, unsigned char *buf, struct iovec iov[8])
{
	int64_t piece = op->len / op->nvec / 4096 * 4096, at = 0;

	for (int i = 0; i < op->nvec; i++) {
		int64_t n = i + 1 < op->nvec ? piece : op->len - at;

		iov[i] = (struct iovec){ buf + op->mis + at, n };
		at += n;
	}
	return op->nvec;
}

static void run_write(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct iovec iov[8];
	int n = make_iov(op, c->wbuf, iov);

	done(r, pwritev2(fd_of(c, s, op), iov, n, op->at ? op->off : -1, op->rwf));
}

static void run_read(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct iovec iov[8];
	int n = make_iov(op, c->rbuf[s], iov);

	done(r, preadv2(fd_of(c, s, op), iov, n, op->at ? op->off : -1, op->rwf));
	if (r->ret > 0)
		r->hash = hash_bytes(c->rbuf[s] + op->mis, r->ret);
}

/* See mind_append(), for each of the writes. */
static void mind_aio_append(struct cmp *c, struct op *op)
{
	const struct file *f = file_of(c, op);
	int64_t below_cap;

	if (op->slot < 0 || !(c->slot[op->slot].flags & O_APPEND))
		return;
	if (op->off >= f->cap)
		op->off = f->size < f->cap ? f->size : 0;
	below_cap = (f->cap - op->off + op->len - 1) / op->len;
	if (op->nvec > below_cap)
		op->nvec = below_cap;
}

static void choose_aio(struct cmp *c, struct op *op)
{
	choose_rw(c, op, O_WRONLY);
	op->nvec = 1 + below(c, NR_AIO);
	op->mis = 0;
	op->len = (1 + below(c, 16)) * file_of(c, op)->bs;
	/* All must be asked for in the same way. */
	op->off = percent(c, 85) ? file_of(c, op)->size : op->off;
	mind_aio_append(c, op);
}

/* Several in a row, each where the one before ends; then wait for all. */
static void run_aio(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct iocb cb[NR_AIO] = { 0 }, *cbs[NR_AIO];
	struct io_event ev[NR_AIO];
	aio_context_t ctx = 0;
	long long res[NR_AIO];
	long submitted, got;
	size_t n = 0;

	if (syscall(SYS_io_setup, NR_AIO, &ctx)) {
		done(r, -1);
		return;
	}
	for (int i = 0; i < op->nvec; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_fildes = fd_of(c, s, op);
		cb[i].aio_buf = (uintptr_t)(c->wbuf + i * op->len);
		cb[i].aio_nbytes = op->len;
		cb[i].aio_offset = op->off + i * op->len;
		cb[i].aio_data = i;
		cbs[i] = &cb[i];
	}
	submitted = syscall(SYS_io_submit, ctx, op->nvec, cbs);
	done(r, submitted);
	if (submitted > 0) {
		got = syscall(SYS_io_getevents, ctx, submitted, submitted, ev, NULL);
		for (long i = 0; i < got; i++)
			res[ev[i].data] = ev[i].res;
		for (long i = 0; i < got && n < sizeof(r->text); i++)
			n += snprintf(r->text + n, sizeof(r->text) - n, "%lld/", res[i]);
	}
	syscall(SYS_io_destroy, ctx);
}

static int64_t choose_size(struct cmp *c, const struct file *f)
{
	int64_t at[] = { 0, 0, 0, f->cap, f->cap, f->size, f->size - f->bs, f->size + f->bs,
		below(c, f->cap), f->cap + f->bs, -1, INT64_MAX, f->cap * 4 };

	return at[below(c, ARRAY_SIZE(at))];
}

static void choose_truncate(struct cmp *c, struct op *op)
{
	choose_path(c, op);
	op->off = choose_size(c, file_of(c, op));
	if (percent(c, 3))
		op->limit = file_of(c, op)->size;
}

static void run_truncate(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", c->mnt[s], op->path);
	done(r, truncate(path, op->off));
}

static void choose_ftruncate(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	op->off = choose_size(c, file_of(c, op));
	if (percent(c, 3))
		op->limit = file_of(c, op)->size;
}

static void run_ftruncate(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, ftruncate(fd_of(c, s, op), op->off));
}

static void choose_seek(struct cmp *c, struct op *op)
{
	static const int whence[] = { SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA,
		SEEK_HOLE };

	choose_slot(c, op);
	op->whence = whence[below(c, ARRAY_SIZE(whence))];
	op->off = choose_off(c, file_of(c, op));
	if (op->whence == SEEK_CUR || op->whence == SEEK_END)
		op->off = (int64_t)below(c, 9) * 4096 - 5 * 4096;
	if (percent(c, 3))
		op->off = -1;
}

static void run_seek(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, lseek(fd_of(c, s, op), op->off, op->whence));
}

static void choose_sync(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	op->mode = below(c, 4);
}

static void run_sync(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	int fd = fd_of(c, s, op);

	done(r, op->mode == 0 ? syncfs(fd) : op->mode == 1 ? fdatasync(fd) : fsync(fd));
}

static void choose_setfl(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	op->flags = (percent(c, 60) ? O_DIRECT : 0) | (percent(c, 30) ? O_APPEND : 0);
}

static void run_setfl(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, fcntl(fd_of(c, s, op), F_SETFL, op->flags));
}

static void keep_setfl(struct cmp *c, const struct op *op, const struct result r[])
{
	if (op->slot >= 0 && !r[0].err)
		c->slot[op->slot].flags = (c->slot[op->slot].flags & ~(O_DIRECT | O_APPEND)) |
			op->flags;
}

static void choose_fallocate(struct cmp *c, struct op *op)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE |
		FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_PUNCH_HOLE, FALLOC_FL_INSERT_RANGE };

	choose_slot(c, op);
	op->mode = modes[below(c, ARRAY_SIZE(modes))];
	op->off = choose_off(c, file_of(c, op));
	op->len = choose_len(c, file_of(c, op));
}

static void run_fallocate(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, fallocate(fd_of(c, s, op), op->mode, op->off, op->len));
}

static const unsigned long requests[] = {
	FIGETBSZ, FIBMAP, FS_IOC_GETFLAGS, FS_IOC_FIEMAP, FS_IOC_FSGETXATTR, FIONREAD,
	FS_IOC_GETVERSION, 0x1234, FS_IOC_SETFLAGS, FITRIM, FIFREEZE + 16,
};

static void choose_ioctl(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	op->mode = below(c, ARRAY_SIZE(requests));
}

static void run_ioctl(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	long long room[32] = { 0 };

	if (requests[op->mode] == FS_IOC_FIEMAP)
		((struct fiemap *)room)->fm_length = FIEMAP_MAX_OFFSET;
	done(r, ioctl(fd_of(c, s, op), requests[op->mode], room));
	if (r->ret >= 0)
		snprintf(r->text, sizeof(r->text), "%lld", room[0]);
}

static void choose_xattr(struct cmp *c, struct op *op)
{
	static const char *const names[] = { "user.x", "trusted.x", "security.x",
		"system.posix_acl_access", "x", "system.posix_acl_default" };

	choose_slot(c, op);
	op->mode = below(c, 4);
	snprintf(op->path2, sizeof(op->path2), "%s", names[below(c, ARRAY_SIZE(names))]);
}

static void run_xattr(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	char value[64] = "v";
	int fd = fd_of(c, s, op);

	done(r, op->mode == 0 ? fgetxattr(fd, op->path2, value, sizeof(value)) :
	     op->mode == 1 ? fsetxattr(fd, op->path2, value, 1, 0) :
	     op->mode == 2 ? fremovexattr(fd, op->path2) :
	     flistxattr(fd, value, sizeof(value)));
}

/* ---- maps ---- */

static void choose_map(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	op->map = below(c, NR_MAPS);
	op->mode = (percent(c, 90) ? PROT_READ : 0) | (percent(c, 40) ? PROT_WRITE : 0);
	op->flags = percent(c, 60) ? MAP_SHARED : MAP_PRIVATE;
	op->off = percent(c, 80) ? 0 : 4096 * below(c, 16);
	op->len = 4096 * (1 + below(c, 64));
}

static void run_map(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct map *m = &c->map[op->map];
	void *p;

	if (m->at[s])
		munmap(m->at[s], m->len);
	m->at[s] = NULL;
	p = mmap(NULL, op->len, op->mode, op->flags, fd_of(c, s, op), op->off);
	done(r, p == MAP_FAILED ? -1 : 0);
	if (p != MAP_FAILED)
		m->at[s] = p;
}

static void keep_map(struct cmp *c, const struct op *op, const struct result r[])
{
	c->map[op->map].len = op->len;
	c->map[op->map].file = op->file;
}

static void choose_access(struct cmp *c, struct op *op)
{
	op->map = below(c, NR_MAPS);
	for (int i = 0; i < NR_MAPS && !c->map[op->map].at[0]; i++)
		op->map = (op->map + 1) % NR_MAPS;
	op->file = c->map[op->map].at[0] ? c->map[op->map].file : -1;
	op->off = below(c, c->map[op->map].len);
	op->mode = percent(c, 50);
	op->len = 1 + below(c, 64);
}

/* Bytes one by one, since a store may fail with a signal. */
static void run_access(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct map *m = &c->map[op->map];
	unsigned char seen[64] = { 0 };
	int sig;

	if (!m->at[s])
		return;
	sig = sigsetjmp(fault_jump, 1);
	if (sig) {
		r->sig = sig;
		return;
	}
	for (int64_t i = 0; i < op->len && op->off + i < (int64_t)m->len; i++) {
		volatile unsigned char *p = m->at[s] + op->off + i;

		if (op->mode)
			*p = c->wbuf[i];
		else
			seen[i] = *p;
	}
	r->hash = hash_bytes(seen, sizeof(seen));
}

static void run_msync(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct map *m = &c->map[op->map];

	done(r, m->at[s] ? msync(m->at[s], m->len, MS_SYNC) : 0);
}

static void run_unmap(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct map *m = &c->map[op->map];

	done(r, m->at[s] ? munmap(m->at[s], m->len) : 0);
	m->at[s] = NULL;
}

/* ---- names and attributes ---- */

static void choose_chmod(struct cmp *c, struct op *op)
{
	static const int modes[] = { 0640, 0640, 0600, 0777, 0, 0444, 0555, 04755, 0222, 0111 };

	choose_path(c, op);
	op->mode = modes[below(c, ARRAY_SIZE(modes))];
}

static void run_chmod(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, fchmodat(c->root[s], path_or_dot(op), op->mode, 0));
}

static void choose_chown(struct cmp *c, struct op *op)
{
	static const int owners[] = { -1, 0, 0, USER, 2000 };

	choose_path(c, op);
	op->mode = owners[below(c, ARRAY_SIZE(owners))];
	op->whence = owners[below(c, ARRAY_SIZE(owners))];
}

static void run_chown(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, fchownat(c->root[s], path_or_dot(op), op->mode, op->whence, 0));
}

static void run_utimes(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct timespec t[2] = { { .tv_sec = 1000000 }, { .tv_sec = 2000000 } };
	struct stat st;

	done(r, utimensat(c->root[s], path_or_dot(op), t, 0));
	if (!r->err && !fstatat(c->root[s], path_or_dot(op), &st, 0))
		snprintf(r->text, sizeof(r->text), "%lld %lld", (long long)st.st_atime,
			 (long long)st.st_mtime);
}

static void choose_name(struct cmp *c, struct op *op)
{
	choose_path(c, op);
	op->mode = below(c, 7);
	if (percent(c, 60)) {
		char first[40];

		snprintf(first, sizeof(first), "%s", op->path);
		choose_file(c, op);
		snprintf(op->path2, sizeof(op->path2), "%s", op->path);
		snprintf(op->path, sizeof(op->path), "%s", first);
	} else {
		snprintf(op->path2, sizeof(op->path2), "%s",
			 odd_names[below(c, ARRAY_SIZE(odd_names))]);
	}
	op->file = -1;
	op->flags = percent(c, 25) ? RENAME_NOREPLACE : percent(c, 10) ? RENAME_EXCHANGE : 0;
}

static void run_name(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	const char *p = path_or_dot(op);
	int root = c->root[s];

	done(r, op->mode == 0 ? unlinkat(root, p, 0) :
	     op->mode == 1 ? unlinkat(root, p, AT_REMOVEDIR) :
	     op->mode == 2 ? mkdirat(root, p, 0755) :
	     op->mode == 3 ? mknodat(root, p, S_IFREG | 0644, 0) :
	     op->mode == 4 ? symlinkat("target", root, p) :
	     op->mode == 5 ? linkat(root, p, root, op->path2, 0) :
	     renameat2(root, p, root, op->path2, op->flags));
}

static void choose_stat(struct cmp *c, struct op *op)
{
	choose_path(c, op);
	op->mode = below(c, 8);
}

static void run_stat(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct stat st;

	done(r, fstatat(c->root[s], path_or_dot(op), &st, AT_SYMLINK_NOFOLLOW));
	if (!r->err)
		snprintf(r->text, sizeof(r->text), "%o %u:%u %lld ino %llu links %llu",
			 st.st_mode, st.st_uid, st.st_gid, (long long)st.st_size,
			 (unsigned long long)st.st_ino, (unsigned long long)st.st_nlink);
}

static void run_may(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	done(r, faccessat(c->root[s], path_or_dot(op), op->mode, AT_EACCESS));
}

static void choose_list(struct cmp *c, struct op *op)
{
	static const char *const dirs[] = { ".", "cnv", "seq" };

	snprintf(op->path, sizeof(op->path), "%s", dirs[below(c, ARRAY_SIZE(dirs))]);
	op->off = percent(c, 50) ? 0 : below(c, 12);
	op->file = -1;
	op->as_user = percent(c, 10);
}

static void run_list(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	int fd = openat(c->root[s], op->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	size_t n = 0;

	done(r, d ? 0 : -1);
	if (!d)
		return;
	seekdir(d, op->off);
	while ((e = readdir(d))) {
		char line[320];
		int len = snprintf(line, sizeof(line), "%s/%llu/%d/%lld ", e->d_name,
				   (unsigned long long)e->d_ino, e->d_type,
				   (long long)e->d_off);

		r->hash = r->hash * 31 + hash_bytes(line, len);
		if (n < sizeof(r->text))
			n += snprintf(r->text + n, sizeof(r->text) - n, "%s", line);
		r->ret++;
	}
	closedir(d);
}

/* ---- data without a buffer of the caller's ---- */

static void choose_copy(struct cmp *c, struct op *op)
{
	choose_slot(c, op);
	snprintf(op->path2, sizeof(op->path2), "%s", c->file[below(c, c->nr_files)].name);
	op->mode = below(c, 3);
	op->len = choose_len(c, file_of(c, op)) % 65536;
}

/* From another file of the same mount into the descriptor, or out of it. */
static void run_copy(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	int src = openat(c->root[s], op->path2, O_RDONLY | O_CLOEXEC), sink;
	off_t at = 0;

	done(r, src);
	if (src < 0)
		return;
	if (op->mode == 0) {
		done(r, sendfile(fd_of(c, s, op), src, NULL, op->len));
	} else if (op->mode == 1) {
		done(r, copy_file_range(src, NULL, fd_of(c, s, op), NULL, op->len, 0));
	} else {
		sink = memfd_create("sink", MFD_CLOEXEC);
		done(r, sendfile(sink, fd_of(c, s, op), &at, op->len));
		if (r->ret > 0)
			r->hash = hash_bytes(c->rbuf[s], pread(sink, c->rbuf[s], r->ret, 0));
		close(sink);
	}
	close(src);
}

static void choose_cache(struct cmp *c, struct op *op)
{
	op->mode = 1 + below(c, 3);
	op->file = -1;
}

/* Once is enough for both. */
static void run_cache(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	int fd;

	if (s != KERNEL)
		return;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && dprintf(fd, "%d\n", op->mode) < 0)
		perror("drop_caches");
	close(fd);
}

const struct op_def ops[] = {
	{ "open", 140, choose_open, run_open, keep_open },
	{ "close", 70, choose_slot, run_close, NULL },
	{ "write", 300, choose_write, run_write, NULL },
	{ "read", 150, choose_read, run_read, NULL },
	{ "aio", 30, choose_aio, run_aio, NULL },
	{ "truncate", 40, choose_truncate, run_truncate, NULL },
	{ "ftruncate", 40, choose_ftruncate, run_ftruncate, NULL },
	{ "lseek", 50, choose_seek, run_seek, NULL },
	{ "sync", 25, choose_sync, run_sync, NULL },
	{ "setfl", 15, choose_setfl, run_setfl, keep_setfl },
	{ "fallocate", 10, choose_fallocate, run_fallocate, NULL },
	{ "ioctl", 10, choose_ioctl, run_ioctl, NULL },
	{ "xattr", 10, choose_xattr, run_xattr, NULL },
	{ "mmap", 25, choose_map, run_map, keep_map },
	{ "access", 40, choose_access, run_access, NULL },
	{ "msync", 5, choose_access, run_msync, NULL },
	{ "munmap", 6, choose_access, run_unmap, NULL },
	{ "chmod", 15, choose_chmod, run_chmod, NULL },
	{ "chown", 10, choose_chown, run_chown, NULL },
	{ "utimes", 6, choose_path, run_utimes, NULL },
	{ "name", 40, choose_name, run_name, NULL },
	{ "stat", 20, choose_stat, run_stat, NULL },
	{ "may", 10, choose_stat, run_may, NULL },
	{ "list", 10, choose_list, run_list, NULL },
	{ "copy", 15, choose_copy, run_copy, NULL },
	{ "drop_caches", 1, choose_cache, run_cache, NULL },
};

const size_t nr_ops = ARRAY_SIZE(ops);
