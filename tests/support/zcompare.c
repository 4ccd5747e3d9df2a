/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zcompare: one random sequence of system calls on two mounted file systems that
 * are to behave alike: the kernel's zonefs, and zonefsd -o strict.
 *
 *	zcompare [-s SEED] [-f FIRST] [-n END] [-e COUNT] [-v] [-k SYSFS] KERNEL OURS
 *
 * Both must be of the same geometry and content. Step N of a seed asks for the same
 * thing whatever came before: what it chooses at random depends on SEED and N alone,
 * and offsets that follow the files' sizes on these. After each step the results, the
 * attributes of the file, the figures of statfs, the positions of descriptors, the
 * counters (-k: the kernel's folder in /sys/fs/zonefs) and the data near the access
 * must agree, from the page cache or every few steps without; all data every 256 steps
 * and at the end.
 *
 * At the first difference it prints the step, both results and the last steps on
 * that file, and ends with status 1. To replay it: the same command on fresh devices
 * with -n STEP+1; to shrink it: the largest -f FIRST that still shows it. With -e it
 * goes on after up to COUNT results that differ, as long as all else agrees. What
 * FUSE forces to differ is in one table, known[].
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "zcompare.h"

static volatile sig_atomic_t got_xfsz;

static void on_fault(int sig)
{
	siglongjmp(fault_jump, sig);
}

static void on_xfsz(int sig)
{
	got_xfsz = 1;
}

/* ---- what FUSE forces to differ ---- */

typedef struct result pair[NR_SIDES];

static bool is(const struct op *op, const char *name)
{
	return !strcmp(op->def->name, name);
}

static bool open_for_writing(const struct cmp *c, const struct op *op)
{
	return op->slot >= 0 && (c->slot[op->slot].flags & O_ACCMODE) != O_RDONLY;
}

static bool seeks_past_end(struct cmp *c, const struct op *op, const pair r)
{
	int64_t end = 0;

	for (int i = 0; i < c->nr_files; i++)
		if (op->file == i || (op->file < 0 && c->file[i].cap > end))
			end = op->file < 0 ? c->file[i].cap : c->file[i].size;
	return is(op, "lseek") && op->whence <= SEEK_END && r[KERNEL].err == EINVAL &&
		!r[OURS].err && r[OURS].ret > end;
}

static bool maps_writable_seq(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "mmap") && op->flags == MAP_SHARED && op->file >= 0 &&
		c->file[op->file].seq && open_for_writing(c, op) &&
		r[KERNEL].err == EINVAL && r[OURS].err == ENODEV;
}

static bool lists_xattrs(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "xattr") && op->mode == 3 && !r[KERNEL].err && !r[KERNEL].ret &&
		r[OURS].err == EOPNOTSUPP;
}

static bool asks_fibmap(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "ioctl") && op->mode == 1 && r[KERNEL].err == EINVAL && !r[OURS].err;
}

static bool asks_blocksize(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "ioctl") && op->mode == 0 && !r[KERNEL].err && !r[OURS].err;
}

static bool gets_acl(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "xattr") && op->mode == 0 && r[KERNEL].err == EOPNOTSUPP &&
		!strncmp(op->path2, "system.posix_acl_", 17) && r[OURS].err == ENODATA;
}

static bool has_default_acl(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "xattr") && !strcmp(op->path2, "system.posix_acl_default") &&
		op->file >= 0 && r[KERNEL].err == EOPNOTSUPP &&
		(op->mode == 1 ? r[OURS].err == EACCES || r[OURS].err == EINVAL :
		 op->mode == 2 && !r[OURS].err);
}

static bool signals_early(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "write") && op->limit >= 0 && r[KERNEL].err && !r[KERNEL].sig &&
		r[OURS].err == EFBIG && r[OURS].sig == SIGXFSZ;
}

/* At the end of a file that is full, and of each conventional one. */
static bool appends_at_capacity(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "write") && op->rwf == RWF_APPEND && op->file >= 0 &&
		c->file[op->file].size == c->file[op->file].cap &&
		(r[KERNEL].err == EINVAL || r[KERNEL].err == EIO) && r[OURS].err == EFBIG;
}

static bool appends_past_capacity(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "write") && op->file >= 0 && !c->file[op->file].seq && op->slot >= 0 &&
		c->slot[op->slot].flags & O_APPEND && r[KERNEL].err == EFBIG &&
		r[OURS].err == EINVAL;
}

static bool collapses_past_capacity(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "fallocate") && r[KERNEL].err == EFBIG && r[OURS].err == EOPNOTSUPP &&
		(op->mode == FALLOC_FL_COLLAPSE_RANGE || op->mode == FALLOC_FL_INSERT_RANGE);
}

static bool copies_nothing_past_capacity(struct cmp *c, const struct op *op, const pair r)
{
	return is(op, "copy") && op->mode == 1 && r[KERNEL].err == EFBIG && !r[OURS].err &&
		!r[OURS].ret;
}

static bool user_is_refused(struct cmp *c, const struct op *op, const pair r)
{
	bool link = is(op, "name") && op->mode == 5;

	return op->as_user && (r[KERNEL].err == EPERM || r[KERNEL].err == ENOENT) &&
		(r[OURS].err == EACCES || (link && r[OURS].err == EPERM));
}

/* A directory as the source of link(2) or moved into itself, or a file with a slash. */
static bool names_are_checked(struct cmp *c, const struct op *op, const pair r)
{
	bool to_missing = is(op, "name") && op->mode >= 5 && r[KERNEL].err == ENOENT &&
		faccessat(c->root[KERNEL], op->path2, F_OK, 0) && errno == ENOENT;

	return to_missing && (op->mode == 5 ? r[OURS].err == EPERM :
			      r[OURS].err == EINVAL || r[OURS].err == ENOTDIR);
}

/* Alike up to the first that failed; those behind it fail in both, not alike. */
static bool follows_failed_aio(struct cmp *c, const struct op *op, const pair r)
{
	const char *at[NR_SIDES] = { r[KERNEL].text, r[OURS].text };
	long first = 0, res[NR_SIDES];
	char *end;

	if (!is(op, "aio") || r[KERNEL].ret != r[OURS].ret)
		return false;
	while (*at[KERNEL] && *at[OURS]) {
		for (int s = 0; s < NR_SIDES; s++) {
			res[s] = strtol(at[s], &end, 10);
			at[s] = end + 1;
		}
		if (!first && res[KERNEL] != res[OURS])
			return false;
		if (first && ((res[KERNEL] != first && res[KERNEL] != -EIO) ||
			      (res[OURS] != first && res[OURS] != -EINVAL)))
			return false;
		if (!first && res[KERNEL] < 0)
			first = res[KERNEL];
	}
	return first == -EOVERFLOW || first == -ETOOMANYREFS;
}

static const struct known {
	const char	*what;
	const char	*reason;
	bool		(*match)(struct cmp *c, const struct op *op, const pair r);
} known[] = {
	{ "lseek beyond the end", "the client answers lseek by its own limits, without "
	  "asking the daemon", seeks_past_end },
	{ "shared map of a sequential file open for writing", "the client refuses shared "
	  "maps of a FOPEN_DIRECT_IO file with an errno of its own", maps_writable_seq },
	{ "listxattr", "the client knows no empty list without a handler", lists_xattrs },
	{ "FIBMAP", "the client answers it for every mount without a block device",
	  asks_fibmap },
	{ "FIGETBSZ", "the client answers it with the size of a page", asks_blocksize },
	{ "an ACL that is not there", "the client takes a daemon without extended attributes "
	  "for one whose files have none", gets_acl },
	{ "default ACL of a file", "the client has ACLs enabled on every mount, and VFS "
	  "answers for a file that is no directory", has_default_acl },
	{ "SIGXFSZ with EFBIG", "the client compares RLIMIT_FSIZE before the daemon can "
	  "refuse the write", signals_early },
	{ "RWF_APPEND to a full file", "the flag is not sent, only the offset that the "
	  "client makes of it", appends_at_capacity },
	{ "O_APPEND to a conventional file, past the capacity", "the daemon is not told the "
	  "offset or position of an append, only that it is one", appends_past_capacity },
	{ "fallocate that moves data, past the capacity", "the client refuses these modes "
	  "without asking the daemon", collapses_past_capacity },
	{ "copy_file_range of nothing, past the capacity", "the client knows no capacity, and "
	  "asks the daemon only for bytes that there are", copies_nothing_past_capacity },
	{ "error for other users", "a name that is missing is no error of the lookup, so VFS "
	  "checks permissions before the daemon is asked", user_is_refused },
	{ "link or rename to a missing name, with more than one error", "likewise, VFS checks "
	  "the kinds of both names before the daemon is asked", names_are_checked },
	{ "what was submitted behind a write that met a zone limit", "the client ends each "
	  "extending write before it sends the next, which then is not at the end",
	  follows_failed_aio },
};

_Static_assert(ARRAY_SIZE(known) <= ARRAY_SIZE(((struct cmp *)NULL)->excused),
	       "one counter for each");

/* After an excused difference both must stand alike again. */
static void mend(struct cmp *c, const struct op *op)
{
	if (is(op, "lseek"))
		for (int s = 0; s < NR_SIDES; s++)
			lseek(fd_of(c, s, op), 0, SEEK_SET);
}

static bool excused(struct cmp *c, const struct op *op, const pair r)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!known[i].match(c, op, r))
			continue;
		c->excused[i]++;
		mend(c, op);
		return true;
	}
	return false;
}

/* ---- reports ---- */

static void flag_words(char *out, size_t size, int flags)
{
	static const struct { int bit; const char *name; } names[] = {
		{ O_DIRECT, "DIRECT" }, { O_APPEND, "APPEND" }, { O_TRUNC, "TRUNC" },
		{ O_CREAT, "CREAT" }, { O_EXCL, "EXCL" }, { O_DSYNC, "DSYNC" },
		{ O_SYNC & ~O_DSYNC, "SYNC" }, { O_NONBLOCK, "NONBLOCK" },
		{ O_NOATIME, "NOATIME" }, { O_PATH, "PATH" },
		{ O_DIRECTORY, "DIRECTORY" }, { O_TMPFILE & ~O_DIRECTORY, "TMPFILE" },
		{ O_NOFOLLOW, "NOFOLLOW" },
	};
	size_t n;

	n = snprintf(out, size, "%s", (flags & O_ACCMODE) == O_RDONLY ? "RDONLY" :
		     (flags & O_ACCMODE) == O_WRONLY ? "WRONLY" : "RDWR");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if ((flags & names[i].bit) && n < size)
			n += snprintf(out + n, size - n, "|%s", names[i].name);
}

static void describe(const struct cmp *c, const struct op *op, char *out, size_t size)
{
	char flags[128] = "", where[200] = "";

	if (op->slot >= 0 && c->slot[op->slot].fd[0] >= 0) {
		flag_words(flags, sizeof(flags), c->slot[op->slot].flags);
		snprintf(where, sizeof(where), " slot %d (%s %s)", op->slot, op->file < 0 ?
			 "directory" : c->file[op->file].name, flags);
	}
	if (is(op, "open"))
		flag_words(flags, sizeof(flags), op->flags);
	else
		snprintf(flags, sizeof(flags), "%#x", op->flags);
	snprintf(out, size, "%llu: %s%s path '%s' '%s'%s off %lld%s len %lld flags %s "
		 "mode %#o whence %d rwf %#x nvec %d mis %d map %d limit %lld",
		 (unsigned long long)c->step, op->def->name, op->as_user ? " as user" : "",
		 op->path, op->path2, where, (long long)op->off,
		 is(op, "write") || is(op, "read") ? op->at ? "" : " (at position)" : "",
		 (long long)op->len, flags, op->mode, op->whence, op->rwf, op->nvec, op->mis,
		 op->map, (long long)op->limit);
}

static void print_side(const char *who, const struct result *r)
{
	printf("  %-8s %lld %s%s%s hash %016llx %s\n", who, r->ret,
	       r->err ? strerrorname_np(r->err) : "", r->sig ? " SIG" : "",
	       r->sig ? sigabbrev_np(r->sig) : "", (unsigned long long)r->hash, r->text);
}

static void print_past(const struct cmp *c, int file)
{
	uint64_t from = c->step > NR_PAST ? c->step - NR_PAST + 1 : 0;
	uint64_t at = c->step;
	int shown = 0;

	while (at > from && at > c->first && shown < NR_SHOWN) {
		at--;
		if (file < 0 || c->past_file[at % NR_PAST] == file)
			shown++;
	}
	printf("before that:\n");
	for (; at < c->step; at++)
		if (file < 0 || c->past_file[at % NR_PAST] == file)
			printf("  %s\n", c->past[at % NR_PAST]);
}

/* The end of the run, but for -e: say where they differ, in what. */
static void differ(struct cmp *c, const struct op *op, const char *what,
		   const struct result r[NR_SIDES])
{
	printf("DIFFERENCE at step %llu, seed %llu: %s\n", (unsigned long long)c->step,
	       (unsigned long long)c->seed, what);
	printf("  %s\n", c->past[c->step % NR_PAST]);
	print_side("kernel", &r[KERNEL]);
	print_side("zonefsd", &r[OURS]);
	print_past(c, op->file);
	printf("replay with: -s %llu -f %llu -n %llu\n", (unsigned long long)c->seed,
	       (unsigned long long)c->first, (unsigned long long)c->step + 1);
	if (c->tolerated-- == 0)
		exit(1);
	c->differed = true;
}

__attribute__((format(printf, 2, 3)))
static void say(struct result *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

/* ---- what must agree after each step ---- */

static void same_text(struct cmp *c, const struct op *op, const char *what,
		      const struct result r[NR_SIDES])
{
	if (!strcmp(r[KERNEL].text, r[OURS].text))
		return;
	c->tolerated = 0;
	differ(c, op, what, r);
}

static void check_attributes(struct cmp *c, const struct op *op, int file)
{
	struct file *f = &c->file[file];
	struct result r[NR_SIDES] = { 0 };
	struct stat st;

	for (int s = 0; s < NR_SIDES; s++) {
		if (fstatat(c->root[s], f->name, &st, 0)) {
			say(&r[s], "%s", strerrorname_np(errno));
			continue;
		}
		say(&r[s], "%s: size %lld mode %o owner %u:%u links %llu blocks %lld "
		    "blksize %ld ino %llu", f->name, (long long)st.st_size, st.st_mode,
		    st.st_uid, st.st_gid, (unsigned long long)st.st_nlink,
		    (long long)st.st_blocks, (long)st.st_blksize,
		    (unsigned long long)st.st_ino);
		f->size = st.st_size;
	}
	same_text(c, op, "attributes", r);
}

static void check_statfs(struct cmp *c, const struct op *op)
{
	struct result r[NR_SIDES] = { 0 };
	struct statvfs v;

	for (int s = 0; s < NR_SIDES; s++) {
		fstatvfs(c->root[s], &v);
		say(&r[s], "bsize %lu frsize %lu blocks %llu free %llu avail %llu files %llu "
		    "ffree %llu favail %llu namemax %lu ro %lu", v.f_bsize, v.f_frsize,
		    (unsigned long long)v.f_blocks, (unsigned long long)v.f_bfree,
		    (unsigned long long)v.f_bavail, (unsigned long long)v.f_files,
		    (unsigned long long)v.f_ffree, (unsigned long long)v.f_favail,
		    v.f_namemax, v.f_flag & ST_RDONLY);
	}
	same_text(c, op, "statfs", r);
}

static void check_position(struct cmp *c, const struct op *op)
{
	struct result r[NR_SIDES] = { 0 };

	if (op->slot < 0 || op->file < 0 || c->slot[op->slot].fd[0] < 0)
		return;
	for (int s = 0; s < NR_SIDES; s++)
		say(&r[s], "position %lld flags %o",
		    (long long)lseek(fd_of(c, s, op), 0, SEEK_CUR),
		    fcntl(fd_of(c, s, op), F_GETFL));
	same_text(c, op, "position of the descriptor", r);
}

static void read_small(const char *dir, const char *name, char *out, size_t size)
{
	char path[512];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, size - 1);
		close(fd);
	}
	out[n < 0 ? 0 : n] = '\0';
}

/* A release reaches the daemon after close(2) has returned: give it a second. */
static void check_counters(struct cmp *c, const struct op *op)
{
	/* The latter two stay as they are. */
	static const char *const names[] = { "nr_wro_seq_files", "nr_active_seq_files",
		"max_wro_seq_files", "max_active_seq_files" };
	size_t nr = c->step % ALL_EVERY ? 2 : ARRAY_SIZE(names);
	struct result r[NR_SIDES] = { 0 };
	char control[512];

	snprintf(control, sizeof(control), "%s/.zonefsd", c->mnt[OURS]);
	for (size_t i = 0; c->sysfs && i < nr; i++) {
		for (int tries = 0; tries < 1000; tries++) {
			read_small(c->sysfs, names[i], r[KERNEL].text, sizeof(r->text));
			read_small(control, names[i], r[OURS].text, sizeof(r->text));
			if (!strcmp(r[KERNEL].text, r[OURS].text))
				break;
			usleep(1000);
		}
		same_text(c, op, names[i], r);
	}
}

static void check_data(struct cmp *c, const struct op *op, int file, int64_t from,
		       int64_t to)
{
	struct result r[NR_SIDES] = { 0 };
	ssize_t n[NR_SIDES];

	from = from < 0 ? 0 : from;
	if (to - from > (int64_t)BUF_BYTES)
		to = from + BUF_BYTES;
	if (to <= from)
		return;
	for (int s = 0; s < NR_SIDES; s++) {
		int fd = openat(c->root[s], c->file[file].name, O_RDONLY | O_CLOEXEC);

		if (c->step % FRESH_EVERY == 0)
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		n[s] = pread(fd, c->rbuf[s], to - from, from);
		say(&r[s], "%s: read %lld at %lld: %zd %s", c->file[file].name,
		    (long long)(to - from), (long long)from, n[s],
		    n[s] < 0 ? strerrorname_np(errno) : "");
		close(fd);
	}
	same_text(c, op, "reading back", r);
	if (n[0] <= 0 || !memcmp(c->rbuf[KERNEL], c->rbuf[OURS], n[0]))
		return;
	for (ssize_t i = 0; i < n[0]; i++) {
		if (c->rbuf[KERNEL][i] == c->rbuf[OURS][i])
			continue;
		for (int s = 0; s < NR_SIDES; s++)
			say(&r[s], "%s: byte %lld is %02x", c->file[file].name,
			    (long long)from + i, c->rbuf[s][i]);
		same_text(c, op, "data", r);
	}
}

static void check_all(struct cmp *c, const struct op *op)
{
	for (int i = 0; i < c->nr_files; i++) {
		check_attributes(c, op, i);
		for (int64_t at = 0; at < c->file[i].size; at += BUF_BYTES)
			check_data(c, op, i, at, c->file[i].size);
	}
}

static void check_step(struct cmp *c, const struct op *op)
{
	if (op->file >= 0) {
		int64_t end;

		check_attributes(c, op, op->file);
		end = c->file[op->file].size;
		check_data(c, op, op->file, end - 8192, end + 4096);
		if (op->off < end)
			check_data(c, op, op->file, op->off - 4096,
				   op->off + op->len + 4096 < end + 512 ?
				   op->off + op->len + 4096 : end + 512);
	}
	check_position(c, op);
	check_statfs(c, op);
	check_counters(c, op);
	if (c->step % ALL_EVERY == ALL_EVERY - 1)
		check_all(c, op);
}

/* ---- one step ---- */

static void fill_pattern(struct cmp *c)
{
	uint64_t x = (c->seed << 20) * 0x9e3779b97f4a7c15 + c->step + 1;

	for (size_t i = 0; i < 65536; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(c->wbuf + i, &x, 8);
	}
	for (size_t i = 65536; i + 65536 <= BUF_BYTES; i += 65536)
		memcpy(c->wbuf + i, &c->step, 8);
}

static void run_side(struct cmp *c, enum side s, const struct op *op, struct result *r)
{
	struct rlimit limit = { op->limit, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };

	got_xfsz = 0;
	errno = 0;
	if (op->limit >= 0)
		setrlimit(RLIMIT_FSIZE, &limit);
	if (op->as_user && seteuid(USER))
		exit(2);
	op->def->run(c, s, op, r);
	if (op->as_user && seteuid(0))
		exit(2);
	if (op->limit >= 0)
		setrlimit(RLIMIT_FSIZE, &none);
	if (got_xfsz)
		r->sig = SIGXFSZ;
}

static void choose_op(struct cmp *c, struct op *op)
{
	const struct op_def *def = ops;
	uint64_t all = 0, n;

	c->rnd = c->seed * 0xd1342543de82ef95 + c->step * 0x2545f4914f6cdd1d;
	for (size_t i = 0; i < nr_ops; i++)
		all += ops[i].weight;
	n = below(c, all);
	while (n >= (uint64_t)def->weight) {
		n -= def->weight;
		def++;
	}
	*op = (struct op){ .def = def, .file = -1, .slot = -1, .nvec = 1, .limit = -1 };
	def->choose(c, op);
}

static bool same_result(const struct result *a, const struct result *b)
{
	return a->ret == b->ret && a->err == b->err && a->sig == b->sig &&
		a->hash == b->hash && !strcmp(a->text, b->text);
}

static void step(struct cmp *c)
{
	struct result r[NR_SIDES] = { 0 };
	struct op op;

	choose_op(c, &op);
	fill_pattern(c);
	describe(c, &op, c->past[c->step % NR_PAST], sizeof(*c->past));
	c->past_file[c->step % NR_PAST] = op.file;
	for (int s = 0; s < NR_SIDES; s++)
		run_side(c, s, &op, &r[s]);
	if (c->verbose) {
		printf("%s = %lld %s\n", c->past[c->step % NR_PAST], r[0].ret,
		       r[0].err ? strerrorname_np(r[0].err) : "");
		fflush(stdout);
	}
	if (!same_result(&r[KERNEL], &r[OURS]) && !excused(c, &op, r))
		differ(c, &op, "result", r);
	if (op.def->keep)
		op.def->keep(c, &op, r);
	check_step(c, &op);
}

/* ---- start and end ---- */

static void die(const char *what)
{
	fprintf(stderr, "zcompare: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void add_file(struct cmp *c, const char *dir, int number)
{
	struct file *f = &c->file[c->nr_files];
	struct stat st;

	snprintf(f->name, sizeof(f->name), "%s/%d", dir, number);
	if (c->nr_files == NR_FILES || fstatat(c->root[KERNEL], f->name, &st, 0))
		return;
	f->seq = !strcmp(dir, "seq");
	f->cap = st.st_blocks * 512;
	f->size = st.st_size;
	f->bs = st.st_blksize;
	c->nr_files++;
}

/* A few files, so that one is met often; the last one may be smaller. */
static void add_files(struct cmp *c)
{
	struct stat st;

	if (!fstatat(c->root[KERNEL], "cnv", &st, 0)) {
		add_file(c, "cnv", 0);
		if (st.st_size > 1)
			add_file(c, "cnv", st.st_size - 1);
	}
	if (fstatat(c->root[KERNEL], "seq", &st, 0))
		die("seq");
	for (int i = 0; i < 6 && i < st.st_size - 1; i++)
		add_file(c, "seq", i);
	add_file(c, "seq", st.st_size - 1);
}

static void prepare(struct cmp *c)
{
	c->wbuf = aligned_alloc(4096, BUF_BYTES + 65536);
	c->past = calloc(NR_PAST, sizeof(*c->past));
	c->past_file = calloc(NR_PAST, sizeof(*c->past_file));
	if (!c->wbuf || !c->past || !c->past_file)
		die("memory");
	memset(c->wbuf, 0x5a, BUF_BYTES + 65536);
	for (int s = 0; s < NR_SIDES; s++) {
		c->rbuf[s] = aligned_alloc(4096, BUF_BYTES + 65536);
		c->root[s] = open(c->mnt[s], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (!c->rbuf[s] || c->root[s] < 0)
			die(c->mnt[s]);
		memset(c->rbuf[s], 0, BUF_BYTES + 65536);
	}
	for (int i = 0; i < NR_SLOTS; i++)
		c->slot[i] = (struct slot){ { -1, -1 }, -1, 0 };
	add_files(c);
}

static void finish(struct cmp *c)
{
	struct op none = { .def = ops, .file = -1, .slot = -1 };

	check_all(c, &none);
	for (int s = 0; s < NR_SIDES; s++) {
		for (int i = 0; i < NR_SLOTS; i++)
			if (c->slot[i].fd[s] >= 0)
				close(c->slot[i].fd[s]);
		for (int i = 0; i < NR_MAPS; i++)
			if (c->map[i].at[s])
				munmap(c->map[i].at[s], c->map[i].len);
	}
	printf("%llu steps%s, seed %llu\n", (unsigned long long)(c->end - c->first),
	       c->differed ? "" : " agree", (unsigned long long)c->seed);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (c->excused[i])
			printf("%6llu excused: %s: %s\n", (unsigned long long)c->excused[i],
			       known[i].what, known[i].reason);
}

int main(int argc, char **argv)
{
	struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct sigaction xfsz = { .sa_handler = on_xfsz };
	static struct cmp c = { .seed = 1, .end = 1000 };
	int opt;

	while ((opt = getopt(argc, argv, "s:f:n:e:k:v")) != -1) {
		switch (opt) {
		case 's': c.seed = strtoull(optarg, NULL, 0); break;
		case 'f': c.first = strtoull(optarg, NULL, 0); break;
		case 'n': c.end = strtoull(optarg, NULL, 0); break;
		case 'e': c.tolerated = strtoul(optarg, NULL, 0); break;
		case 'k': c.sysfs = optarg; break;
		case 'v': c.verbose = true; break;
		default: return 2;
		}
	}
	if (argc - optind != NR_SIDES) {
		fprintf(stderr, "usage: zcompare [-s SEED] [-f FIRST] [-n END] [-e COUNT] "
			"[-v] [-k SYSFS] KERNEL OURS\n");
		return 2;
	}
	c.mnt[KERNEL] = argv[optind];
	c.mnt[OURS] = argv[optind + 1];
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGXFSZ, &xfsz, NULL);
	prepare(&c);
	for (c.step = c.first; c.step < c.end; c.step++)
		step(&c);
	finish(&c);
	return c.differed;
}
