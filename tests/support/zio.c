/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zio: system calls from the shell, one after the other in one process, so that
 * a test can say exactly what it asks for and what must come back.
 *
 *	zio open:O_WRONLY,O_DIRECT:FILE write:4096 write:512@0 fsync
 *
 * prints one line, one word a step: the call's result (>= 0) or the name of its
 * errno, here "0 4096 EINVAL 0". A step that an earlier failed open leaves without
 * a descriptor prints EBADF. The exit status is 0 unless the words themselves
 * were wrong (2). A fatal signal in a memory access prints its name.
 *
 * Descriptors are counted from 0 in order of opening; the last one opened is
 * used until "fd:N" picks another. Sizes are bytes, or with K, M, G.
 *
 *	open:FLAGS:PATH[:MODE]   openat with O_ names joined by ','
 *	close | fd:N | size      size: what fstat says
 *	dup                      the current descriptor again, as the next one
 *	write:LEN[@OFF][,k=v..]  at OFF or the descriptor's position; keys:
 *	    seed=N pattern seed; at=N pattern place, where it is not OFF;
 *	    mis=N misalign the buffer; vec=N iovecs; rwf=dsync|append|nowait
 *	    bad=1 pass an address that faults
 *	read:LEN[@OFF][,k=v..]   check=1 compare with the pattern: BAD@PLACE
 *	aio:LEN@OFF,n=N          N asynchronous writes in a row, then all events;
 *	                         prints the results joined by '/'
 *	fill:LEN[,unit=N]        writes of unit from the position on; total or errno
 *	seek:OFF,set|cur|end|data|hole
 *	truncate:LEN:PATH | ftruncate:LEN | fallocate:MODE,OFF,LEN
 *	fsync | fdatasync | syncfs
 *	map:LEN,PROT,FLAGS       PROT of r w, FLAGS shared|private
 *	load:OFF | store:OFF     one byte in the last map
 *	check:OFF,LEN[,seed=N]   compare the map with the pattern
 *	setfl:FLAGS              F_SETFL
 *	chmod:MODE:PATH chown:UID.GID:PATH utimes:PATH fchmod:MODE
 *	mkdir:PATH mknod:PATH symlink:PATH unlink:PATH rmdir:PATH
 *	link:OLD:NEW rename:OLD:NEW[:noreplace]
 *	getxattr:NAME setxattr:NAME removexattr:NAME listxattr
 *	ioctl:NUMBER | fibmap | fiemap | getflags
 *	sendfile:LEN:SOURCE      into the current descriptor
 *	copyrange:LEN[@OFF][,src=N]:SOURCE   the same by copy_file_range, to OFF or the
 *	    descriptor's position, from N or the source's start
 *	text:STRING              write the words themselves
 *	ls:PATH                  readdir: NAME/INODE/TYPE/OFFSET,...
 *	rlimit:BYTES             RLIMIT_FSIZE; SIGXFSZ shows as "EFBIG+XFSZ"
 *	su:UID                   become UID with no group but it and no capability
 *	touch:PATH | await:PATH  tell, and wait for, another process (60 s)
 *	alarm:MS                 SIGALRM then, to a handler that restarts no call
 *	alarms                   how many have come
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/fiemap.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define NR_FDS	4096
#define NR_AIO	64
#define NOT_SET	UINT64_MAX

struct zio {
	int		fds[NR_FDS];
	int		nr_fds;
	int		fd;		/* the one in use, -1 for none */
	unsigned char	*map;
	size_t		map_len;
};

/* Signal handlers have no argument of ours. */
static sigjmp_buf fault_jump;
static volatile sig_atomic_t got_xfsz, got_alarms;

static void on_fault(int sig)
{
	siglongjmp(fault_jump, sig);
}

static void on_xfsz(int sig)
{
	got_xfsz = 1;
}

static void on_alarm(int sig)
{
	got_alarms++;
}

static void bad_word(const char *word)
{
	fprintf(stderr, "zio: %s: not understood\n", word);
	exit(2);
}

static void print_result(long long ret)
{
	if (ret >= 0)
		printf("%lld", ret);
	else
		printf("%s%s", strerrorname_np(errno), got_xfsz ? "+XFSZ" : "");
	got_xfsz = 0;
}

static uint64_t number(const char *text, const char **end)
{
	char *e;
	uint64_t v = strtoull(text, &e, 0);

	if (e == text)
		bad_word(text);
	switch (*e) {
	case 'G': v <<= 10;	/* fall through */
	case 'M': v <<= 10;	/* fall through */
	case 'K': v <<= 10; e++;
	}
	if (end)
		*end = e;
	else if (*e)
		bad_word(text);
	return v;
}

/* The value of "key=" in a comma list, or dflt. */
static uint64_t key(const char *args, const char *name, uint64_t dflt)
{
	size_t n = strlen(name);

	for (const char *p = strchr(args, ','); p; p = strchr(p, ','))
		if (!strncmp(++p, name, n) && p[n] == '=')
			return number(p + n + 1, &p);
	return dflt;
}

static const struct { const char *name; int value; } open_flags[] = {
	{ "O_RDONLY", O_RDONLY }, { "O_WRONLY", O_WRONLY }, { "O_RDWR", O_RDWR },
	{ "O_DIRECT", O_DIRECT }, { "O_APPEND", O_APPEND }, { "O_TRUNC", O_TRUNC },
	{ "O_CREAT", O_CREAT }, { "O_EXCL", O_EXCL }, { "O_SYNC", O_SYNC },
	{ "O_DSYNC", O_DSYNC }, { "O_TMPFILE", O_TMPFILE }, { "O_PATH", O_PATH },
	{ "O_DIRECTORY", O_DIRECTORY }, { "O_NONBLOCK", O_NONBLOCK },
};

static int parse_open_flags(char *list)
{
	char *save = NULL;
	int flags = 0;

	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		size_t i = 0, n = sizeof(open_flags) / sizeof(*open_flags);

		while (i < n && strcmp(open_flags[i].name, w))
			i++;
		if (i == n)
			bad_word(w);
		flags |= open_flags[i].value;
	}
	return flags;
}

/* Cut "a:b:c" into up to three parts; missing ones are "". */
static void split(char *args, char *part[3])
{
	part[0] = args;
	for (int i = 1; i < 3; i++) {
		char *colon = strchr(part[i - 1], ':');

		part[i] = colon ? colon + 1 : strchr(part[i - 1], '\0');
		if (colon)
			*colon = '\0';
	}
}

/* ---- data ---- */

static int rwf_flags(const char *args)
{
	const char *p = strstr(args, "rwf=");

	if (!p)
		return 0;
	return !strncmp(p + 4, "dsync", 5) ? RWF_DSYNC :
	       !strncmp(p + 4, "append", 6) ? RWF_APPEND :
	       !strncmp(p + 4, "nowait", 6) ? RWF_NOWAIT : 0;
}

static void *new_buffer(size_t len)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, len + 8192)) {
		perror("zio");
		exit(2);
	}
	return p;
}

static void step_rw(struct zio *z, const char *args, bool writing)
{
	const char *p;
	size_t len = number(args, &p);
	uint64_t off = *p == '@' ? number(p + 1, &p) : NOT_SET;
	uint64_t seed = key(args, "seed", 0), nvec = key(args, "vec", 1);
	char *base = new_buffer(len), *buf = base + key(args, "mis", 0);
	struct iovec iov[16];
	uint64_t place = off;
	ssize_t ret;

	if (place == NOT_SET) {
		off_t at = lseek(z->fd, 0, SEEK_CUR);
		place = at < 0 ? 0 : at;
	}
	place = key(args, "at", place);
	for (uint64_t i = 0; i < nvec; i++)
		iov[i] = (struct iovec){ buf + len / nvec * i, i + 1 < nvec ?
			len / nvec : len - len / nvec * i };
	if (writing)
		pattern_fill(buf, len, place, seed);
	if (key(args, "bad", 0))
		iov[0].iov_base = (void *)4096;
	ret = writing ? pwritev2(z->fd, iov, nvec, off == NOT_SET ? -1 : (off_t)off,
				 rwf_flags(args)) :
			preadv2(z->fd, iov, nvec, off == NOT_SET ? -1 : (off_t)off,
				rwf_flags(args));
	print_result(ret);
	if (!writing && ret > 0 && key(args, "check", 0)) {
		size_t bad = pattern_check(buf, ret, place, seed);

		if (bad < (size_t)ret)
			printf(":BAD@%llu", (unsigned long long)(place + bad));
	}
	free(base);
}

static void step_fill(struct zio *z, const char *args)
{
	const char *p;
	uint64_t len = number(args, &p), unit = key(args, "unit", 256 << 10), done = 0;
	uint64_t seed = key(args, "seed", 0);
	char *buf = new_buffer(unit);
	off_t at = lseek(z->fd, 0, SEEK_CUR);

	while (done < len) {
		size_t n = len - done < unit ? len - done : unit;
		ssize_t ret;

		pattern_fill(buf, n, (at < 0 ? 0 : at) + done, seed);
		ret = write(z->fd, buf, n);
		if (ret <= 0) {
			printf("%llu+", (unsigned long long)done);
			print_result(ret);
			free(buf);
			return;
		}
		done += ret;
	}
	printf("%llu", (unsigned long long)done);
	free(buf);
}

static void step_aio(struct zio *z, const char *args)
{
	const char *p;
	size_t len = number(args, &p);
	uint64_t off = *p == '@' ? number(p + 1, &p) : 0, n = key(args, "n", 1);
	struct iocb cb[NR_AIO], *cbs[NR_AIO];
	struct io_event ev[NR_AIO];
	char *buf = new_buffer(len * n);
	long long res[NR_AIO];
	aio_context_t ctx = 0;
	long got;

	if (n > NR_AIO || syscall(SYS_io_setup, NR_AIO, &ctx))
		bad_word(args);
	memset(cb, 0, sizeof(cb));
	pattern_fill(buf, len * n, off, key(args, "seed", 0));
	for (uint64_t i = 0; i < n; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_fildes = z->fd;
		cb[i].aio_buf = (uintptr_t)(buf + i * len);
		cb[i].aio_nbytes = len;
		cb[i].aio_offset = off + i * len;
		cb[i].aio_data = i;
		cbs[i] = &cb[i];
	}
	got = syscall(SYS_io_submit, ctx, n, cbs);
	if (got <= 0) {
		print_result(got);
		return;
	}
	n = got;
	got = syscall(SYS_io_getevents, ctx, n, n, ev, NULL);
	for (long i = 0; i < got; i++)
		res[ev[i].data] = ev[i].res;
	for (uint64_t i = 0; i < n; i++) {
		if (i)
			putchar('/');
		errno = res[i] < 0 ? -res[i] : 0;
		print_result(res[i]);
	}
	syscall(SYS_io_destroy, ctx);
	free(buf);
}

static void step_seek(struct zio *z, const char *args)
{
	const char *p, *how = strchr(args, ',');
	long long off = args[0] == '-' ? -(long long)number(args + 1, &p) :
			(long long)number(args, &p);
	int whence = SEEK_SET;

	if (how)
		whence = !strcmp(how, ",cur") ? SEEK_CUR : !strcmp(how, ",end") ? SEEK_END :
			 !strcmp(how, ",data") ? SEEK_DATA :
			 !strcmp(how, ",hole") ? SEEK_HOLE : SEEK_SET;
	print_result(lseek(z->fd, off, whence));
}

static void step_copy(struct zio *z, char *args, bool range)
{
	const char *end = NULL;
	char *part[3];
	uint64_t len;
	loff_t from, to;
	int src;

	split(args, part);
	len = number(part[0], range ? &end : NULL);
	src = open(part[1], O_RDONLY | O_CLOEXEC);
	if (src < 0) {
		print_result(-1);
		return;
	}
	if (range) {
		bool placed = *end == '@';

		from = (loff_t)key(part[0], "src", 0);
		to = placed ? (loff_t)number(end + 1, &end) : 0;
		print_result(copy_file_range(src, &from, z->fd, placed ? &to : NULL, len, 0));
	} else {
		print_result(sendfile(z->fd, src, NULL, len));
	}
	close(src);
}

/* ---- maps ---- */

static void step_map(struct zio *z, const char *args)
{
	const char *p;
	void *m;

	z->map_len = number(args, &p);
	m = mmap(NULL, z->map_len, (strchr(p, 'r') && strstr(p, ",r") ? PROT_READ : 0) |
		 (strstr(p, "w,") ? PROT_WRITE : 0),
		 strstr(p, "shared") ? MAP_SHARED : MAP_PRIVATE, z->fd, 0);
	z->map = m == MAP_FAILED ? NULL : m;
	print_result(m == MAP_FAILED ? -1 : 0);
}

static void step_access(struct zio *z, const char *args, char kind)
{
	const char *p;
	uint64_t off = number(args, &p);
	int sig;

	if (!z->map) {
		printf("NOMAP");
		return;
	}
	sig = sigsetjmp(fault_jump, 1);
	if (sig) {
		printf("SIG%s", sigabbrev_np(sig));
	} else if (kind == 'l') {
		printf("%u", *(volatile unsigned char *)(z->map + off));
	} else if (kind == 's') {
		*(volatile unsigned char *)(z->map + off) = 1;
		printf("0");
	} else {
		size_t len = *p == ',' ? number(p + 1, &p) : 1, bad;

		bad = pattern_check(z->map + off, len, off, key(args, "seed", 0));
		if (bad < len)
			printf("BAD@%llu", (unsigned long long)(off + bad));
		else
			printf("%zu", len);
	}
}

/* ---- names and attributes ---- */

static int rename_step(char *part[3])
{
	if (!strcmp(part[2], "noreplace"))
		return renameat2(AT_FDCWD, part[0], AT_FDCWD, part[1], RENAME_NOREPLACE);
	return rename(part[0], part[1]);
}

static int chown_step(char *part[3])
{
	const char *dot;
	uid_t uid = number(part[0], &dot);

	return chown(part[1], uid, number(dot + 1, NULL));
}

static void step_ls(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool first = true;

	if (!d) {
		print_result(-1);
		return;
	}
	while ((e = readdir(d))) {
		printf("%s%s/%llu/%c/%lld", first ? "" : ",", e->d_name,
		       (unsigned long long)e->d_ino, e->d_type == DT_DIR ? 'd' :
		       e->d_type == DT_REG ? 'f' : '?', (long long)e->d_off);
		first = false;
	}
	closedir(d);
}

static int fiemap_step(int fd)
{
	struct fiemap fm = { .fm_length = FIEMAP_MAX_OFFSET };

	return ioctl(fd, FS_IOC_FIEMAP, &fm);
}

static int ioctl_step(int fd, unsigned long request)
{
	long long room[16] = { 0 };

	return ioctl(fd, request, room);
}

static int alarm_step(uint64_t ms)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval it = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	return sigaction(SIGALRM, &sa, NULL) || setitimer(ITIMER_REAL, &it, NULL) ? -1 : 0;
}

static int become(uid_t uid)
{
	return setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid) ?
		-1 : 0;
}

static int set_rlimit(uint64_t bytes)
{
	struct rlimit r = { bytes, RLIM_INFINITY };

	return setrlimit(RLIMIT_FSIZE, &r);
}

static int await(const char *path)
{
	for (int i = 0; i < 60 * 100; i++) {
		if (!access(path, F_OK))
			return 0;
		usleep(10000);
	}
	errno = ETIMEDOUT;
	return -1;
}

static int touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int fallocate_step(int fd, const char *args)
{
	const char *p;
	int mode = number(args, &p);
	off_t off = number(p + 1, &p);

	return fallocate(fd, mode, off, number(p + 1, NULL));
}

static off_t file_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_size;
}

/* The next descriptor is fd, and in use. */
static void new_fd(struct zio *z, int fd)
{
	if (z->nr_fds == NR_FDS)
		bad_word("too many opens");
	z->fds[z->nr_fds++] = z->fd = fd;
	print_result(fd < 0 ? -1 : 0);
}

static void step_open(struct zio *z, char *args)
{
	char *part[3];

	split(args, part);
	new_fd(z, open(part[1], parse_open_flags(part[0]) | O_CLOEXEC,
		       *part[2] ? (mode_t)strtoul(part[2], NULL, 8) : 0644));
}

static void step_dup(struct zio *z)
{
	new_fd(z, fcntl(z->fd, F_DUPFD_CLOEXEC, 0));
}

/* Steps on names: each part is an argument. Returns false if op is none of them. */
static bool step_names(const char *op, char *args)
{
	char *part[3], copy[8192];
	long long ret;

	snprintf(copy, sizeof(copy), "%s", args);
	split(copy, part);
	if (!strcmp(op, "mkdir"))
		ret = mkdir(part[0], 0755);
	else if (!strcmp(op, "mknod"))
		ret = mknod(part[0], S_IFREG | 0644, 0);
	else if (!strcmp(op, "symlink"))
		ret = symlink("target", part[0]);
	else if (!strcmp(op, "unlink"))
		ret = unlink(part[0]);
	else if (!strcmp(op, "rmdir"))
		ret = rmdir(part[0]);
	else if (!strcmp(op, "link"))
		ret = link(part[0], part[1]);
	else if (!strcmp(op, "rename"))
		ret = rename_step(part);
	else if (!strcmp(op, "truncate"))
		ret = truncate(part[1], part[0][0] == '-' ? -1 : (off_t)number(part[0], NULL));
	else if (!strcmp(op, "chmod"))
		ret = chmod(part[1], strtoul(part[0], NULL, 8));
	else if (!strcmp(op, "chown"))
		ret = chown_step(part);
	else if (!strcmp(op, "utimes"))
		ret = utimensat(AT_FDCWD, part[0], NULL, 0);
	else if (!strcmp(op, "touch"))
		ret = touch(part[0]);
	else if (!strcmp(op, "await"))
		ret = await(part[0]);
	else
		return false;
	print_result(ret);
	return true;
}

/* Steps on the current descriptor that are one call. */
static bool step_fd(struct zio *z, const char *op, char *args)
{
	char value[64] = "v";
	long long ret;

	if (!strcmp(op, "fsync"))
		ret = fsync(z->fd);
	else if (!strcmp(op, "fdatasync"))
		ret = fdatasync(z->fd);
	else if (!strcmp(op, "syncfs"))
		ret = syncfs(z->fd);
	else if (!strcmp(op, "text"))
		ret = write(z->fd, args, strlen(args));
	else if (!strcmp(op, "size"))
		ret = file_size(z->fd);
	else if (!strcmp(op, "ftruncate"))
		ret = ftruncate(z->fd, args[0] == '-' ? -1 : (off_t)number(args, NULL));
	else if (!strcmp(op, "fallocate"))
		ret = fallocate_step(z->fd, args);
	else if (!strcmp(op, "fchmod"))
		ret = fchmod(z->fd, strtoul(args, NULL, 8));
	else if (!strcmp(op, "setfl"))
		ret = fcntl(z->fd, F_SETFL, parse_open_flags(args));
	else if (!strcmp(op, "getxattr"))
		ret = fgetxattr(z->fd, args, value, sizeof(value));
	else if (!strcmp(op, "setxattr"))
		ret = fsetxattr(z->fd, args, value, 1, 0);
	else if (!strcmp(op, "removexattr"))
		ret = fremovexattr(z->fd, args);
	else if (!strcmp(op, "listxattr"))
		ret = flistxattr(z->fd, value, sizeof(value));
	else if (!strcmp(op, "ioctl"))
		ret = ioctl_step(z->fd, number(args, NULL));
	else if (!strcmp(op, "fibmap"))
		ret = ioctl_step(z->fd, FIBMAP);
	else if (!strcmp(op, "getflags"))
		ret = ioctl_step(z->fd, FS_IOC_GETFLAGS);
	else if (!strcmp(op, "fiemap"))
		ret = fiemap_step(z->fd);
	else if (!strcmp(op, "su"))
		ret = become(number(args, NULL));
	else if (!strcmp(op, "rlimit"))
		ret = set_rlimit(number(args, NULL));
	else if (!strcmp(op, "alarm"))
		ret = alarm_step(number(args, NULL));
	else if (!strcmp(op, "alarms"))
		ret = got_alarms;
	else
		return false;
	print_result(ret);
	return true;
}

static void step(struct zio *z, char *word)
{
	char *colon = strchr(word, ':'), *args = colon ? colon + 1 : strchr(word, '\0');
	char op[32];

	snprintf(op, sizeof(op), "%.*s", (int)strcspn(word, ":"), word);
	if (!strcmp(op, "open")) {
		step_open(z, args);
	} else if (!strcmp(op, "close")) {
		print_result(close(z->fd));
		z->fd = -1;
	} else if (!strcmp(op, "dup")) {
		step_dup(z);
	} else if (!strcmp(op, "fd")) {
		uint64_t n = number(args, NULL);

		if (n >= (uint64_t)z->nr_fds)
			bad_word(word);
		z->fd = z->fds[n];
		print_result(0);
	} else if (!strcmp(op, "write") || !strcmp(op, "read")) {
		step_rw(z, args, *op == 'w');
	} else if (!strcmp(op, "fill")) {
		step_fill(z, args);
	} else if (!strcmp(op, "aio")) {
		step_aio(z, args);
	} else if (!strcmp(op, "seek")) {
		step_seek(z, args);
	} else if (!strcmp(op, "sendfile") || !strcmp(op, "copyrange")) {
		step_copy(z, args, *op == 'c');
	} else if (!strcmp(op, "map")) {
		step_map(z, args);
	} else if (!strcmp(op, "load") || !strcmp(op, "store") || !strcmp(op, "check")) {
		step_access(z, args, *op);
	} else if (!strcmp(op, "ls")) {
		step_ls(args);
	} else if (!step_names(op, args) && !step_fd(z, op, args)) {
		bad_word(word);
	}
}

int main(int argc, char **argv)
{
	static struct zio z = { .fd = -1 };
	struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct sigaction xfsz = { .sa_handler = on_xfsz };

	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGXFSZ, &xfsz, NULL);
	for (int i = 1; i < argc; i++) {
		if (i > 1)
			putchar(' ');
		step(&z, argv[i]);
		fflush(stdout);
	}
	putchar('\n');
	return 0;
}
