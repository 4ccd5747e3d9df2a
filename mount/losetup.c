/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zonefs-losetup: a loop device on a file of a mount of ours, with direct I/O, so
 * that a disk or a conventional zone carries any file system.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <libmount/libmount.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "zonefsd/mounted.h"
#include "zonefsd/units.h"

#define PROGRAM		"zonefs-losetup"

/* Another program may take the free device that the kernel named. */
#define ATTACH_TRIES	64
/* For udev to make a node and links, or to let go of a device it looks at. */
#define SETTLE_MS	3000
#define SETTLE_STEP_MS	20
/* There while udev has something to do. */
#define UDEV_QUEUE	"/run/udev/queue"
/* The one file of a mount that is formatted for block use. */
#define DISK_NAME	"disk"

/* ---- mounts ---- */

/*
 * The mount with this id or, with id 0, of this file system; NULL if it is not
 * ours. Belongs to tb.
 */
static struct libmnt_fs *find_mount(struct libmnt_table *tb, int id, dev_t dev)
{
	struct libmnt_iter *itr = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs, *found = NULL;
	const char *type;

	while (itr && !found && !mnt_table_next_fs(tb, itr, &fs)) {
		type = mnt_fs_get_fstype(fs);
		if (type && !strcmp(type, ZONEFSD_FSTYPE) &&
		    (id ? mnt_fs_get_id(fs) == id : mnt_fs_get_devno(fs) == dev))
			found = fs;
	}
	mnt_free_iter(itr);
	return found;
}

static struct libmnt_table *read_mounts(struct zerr *e)
{
	struct libmnt_table *tb = mnt_new_table();

	if (tb && !mnt_table_parse_file(tb, "/proc/self/mountinfo"))
		return tb;
	mnt_unref_table(tb);
	zerr_set(e, EIO, "/proc/self/mountinfo: cannot read");
	return NULL;
}

/* ---- the file to attach ---- */

struct backing {
	int		fd;
	char		path[PATH_MAX];
	uint32_t	block_size;
	bool		read_only;
};

/*
 * Which file of the mount fd is: "/cnv/0" whatever mount or bind mount it was
 * reached through. 0 or -errno with *e.
 */
static int path_within(int fd, const char *path, char within[PATH_MAX], struct zerr *e)
{
	char link[64];
	const char *root, *target;
	struct libmnt_table *tb;
	struct libmnt_fs *fs;
	struct statx stx;
	ssize_t n;
	int len, ret = 0;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx))
		return zerr_errno(e, errno, "%s", path);
	tb = read_mounts(e);
	if (!tb)
		return -EIO;
	fs = stx.stx_mask & STATX_MNT_ID ? find_mount(tb, stx.stx_mnt_id, 0) : NULL;
	if (!fs) {
		ret = zerr_set(e, EINVAL, "%s: not on a mount of zonefsd", path);
		goto out;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, within, PATH_MAX);
	root = mnt_fs_get_root(fs);
	target = mnt_fs_get_target(fs);
	if (n < 0 || n == PATH_MAX || strncmp(within, target, strlen(target))) {
		ret = zerr_set(e, EINVAL, "%s: cannot be found in its mount", path);
		goto out;
	}
	within[n] = '\0';
	/* What follows the mount point, behind what the mount point shows. */
	target = within + (strcmp(target, "/") ? strlen(target) : 0);
	root = strcmp(root, "/") ? root : "";
	len = strlen(root) + strlen(target);
	if (len >= PATH_MAX - 1) {
		ret = zerr_set(e, ENAMETOOLONG, "%s: name too long", path);
		goto out;
	}
	memmove(within + strlen(root), target, strlen(target) + 1);
	memcpy(within, root, strlen(root));
	if (!len)
		strcpy(within, "/");
out:
	mnt_unref_table(tb);
	return ret;
}

/* The root of a mount stands for its disk: put that into *fd and b->path. */
static int enter_mount(int *fd, struct backing *b, struct zerr *e)
{
	size_t len = strlen(b->path);
	int disk;

	disk = openat(*fd, DISK_NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (disk < 0 && errno == ENOENT)
		return zerr_set(e, EINVAL, "%s: is not formatted for block use, "
				"name one of its files cnv/N", b->path);
	if (disk < 0)
		return zerr_errno(e, errno, "%s/" DISK_NAME, b->path);
	close(*fd);
	*fd = disk;
	if (len + sizeof("/" DISK_NAME) > sizeof(b->path))
		return zerr_errno(e, ENAMETOOLONG, "%s", b->path);
	strcpy(b->path + len, "/" DISK_NAME);
	return 0;
}

/* Only disks and whole zones: control files are none. *fd may change. */
static int check_backing(int *fd, struct backing *b, struct stat *st, struct zerr *e)
{
	char within[PATH_MAX];
	int ret;

	ret = path_within(*fd, b->path, within, e);
	if (ret)
		return ret;
	if (!strcmp(within, "/")) {
		ret = enter_mount(fd, b, e);
		if (ret)
			return ret;
		strcpy(within, "/" DISK_NAME);
	}
	if (fstat(*fd, st))
		return zerr_errno(e, errno, "%s", b->path);
	if (!S_ISREG(st->st_mode) || (strcmp(within, "/" DISK_NAME) &&
	    strncmp(within, "/cnv/", 5) && strncmp(within, "/seq/", 5)))
		return zerr_set(e, EINVAL, "%s: neither a disk nor the file of a zone", b->path);
	if (!strncmp(within, "/seq/", 5) && !b->read_only)
		return zerr_set(e, EINVAL, "%s: a sequential zone takes no random "
				"writes, attach it read-only with -r", b->path);
	if (st->st_size < 512)
		return zerr_set(e, EINVAL, "%s: is empty", b->path);
	return 0;
}

/*
 * Open the file at path. It is opened for writing only when it is known to be
 * ours, and is then the one that was looked at.
 */
static int open_backing(const char *path, bool read_only, struct backing *b,
			struct zerr *e)
{
	/* O_DIRECT as losetup(8) does it: newer kernels take it as the request. */
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC;
	char link[64];
	struct stat st;
	int fd, ret;

	if (!realpath(path, b->path))
		return zerr_errno(e, errno, "%s", path);
	b->read_only = read_only;
	fd = open(b->path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return zerr_errno(e, errno, "%s", path);
	ret = check_backing(&fd, b, &st, e);
	if (ret)
		goto out;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	b->fd = open(link, flags);
	if (b->fd < 0 && errno == EROFS)
		ret = zerr_set(e, EROFS, "%s: is read-only, attach it with -r", path);
	else if (b->fd < 0)
		ret = zerr_errno(e, errno, "%s", path);
	/* A partial last block is only reached with the smallest one. */
	b->block_size = st.st_blksize == 4096 && st.st_size % 4096 == 0 ? 4096 : 512;
out:
	close(fd);
	return ret;
}

/* ---- loop devices ---- */

static void sleep_ms(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static void loop_name(int nr, char *name, size_t len)
{
	snprintf(name, len, "/dev/loop%d", nr);
}

/* Until udev has looked at a new device: it holds it open, and makes its links. */
static void await_udev(void)
{
	int waited;

	for (waited = 0; waited < SETTLE_MS && !access(UDEV_QUEUE, F_OK);
	     waited += SETTLE_STEP_MS)
		sleep_ms(SETTLE_STEP_MS);
}

/* The open loop device, or -errno. A new one's node may take udev a moment. */
static int open_loop(int nr, int flags)
{
	char name[32];
	int fd, waited;

	loop_name(nr, name, sizeof(name));
	for (waited = 0; ; waited += SETTLE_STEP_MS) {
		fd = open(name, flags | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT || waited >= SETTLE_MS)
			return -errno;
		sleep_ms(SETTLE_STEP_MS);
	}
}

/* Attach b to loop device nr. 0 or -errno; -EBUSY: somebody else was faster. */
static int configure(int nr, const struct backing *b, struct zerr *e)
{
	struct loop_config config = {
		.fd = b->fd,
		.block_size = b->block_size,
		.info.lo_flags = LO_FLAGS_DIRECT_IO |
				 (b->read_only ? LO_FLAGS_READ_ONLY : 0),
	};
	struct loop_info64 info = { .lo_device = 0 };
	char name[32];
	int fd, ret;

	loop_name(nr, name, sizeof(name));
	fd = open_loop(nr, b->read_only ? O_RDONLY : O_RDWR);
	if (fd < 0)
		return zerr_errno(e, -fd, "%s", name);
	snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%.*s",
		 LO_NAME_SIZE - 1, b->path);
	if (ioctl(fd, LOOP_CONFIGURE, &config)) {
		ret = zerr_errno(e, errno, "%s: cannot attach %s", name, b->path);
		goto close_fd;
	}
	ret = 0;
	/* The kernel would fall back to its page cache without a word. */
	if (ioctl(fd, LOOP_GET_STATUS64, &info))
		ret = zerr_errno(e, errno, "%s: cannot read its state", name);
	else if (!(info.lo_flags & LO_FLAGS_DIRECT_IO))
		ret = zerr_set(e, EINVAL, "%s: the kernel refuses direct I/O on %s",
			       name, b->path);
	if (ret)
		ioctl(fd, LOOP_CLR_FD, 0);
close_fd:
	close(fd);
	return ret;
}

/* The number of the loop device that b is attached to now, or -errno with *e. */
static int attach(const struct backing *b, struct zerr *e)
{
	int control, nr = -1, tries, ret = -EBUSY;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return zerr_set(e, ENODEV, "/dev/loop-control: this system has no loop "
				"devices (module loop, CONFIG_BLK_DEV_LOOP)");
	if (control < 0)
		return zerr_errno(e, errno, "/dev/loop-control");
	for (tries = 0; ret == -EBUSY && tries < ATTACH_TRIES; tries++) {
		if (tries)
			sleep_ms(SETTLE_STEP_MS);
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		if (nr < 0)
			ret = zerr_errno(e, errno, "/dev/loop-control: no free loop device");
		else
			ret = configure(nr, b, e);
	}
	close(control);
	return ret ? ret : nr;
}

/* One loop device of ours. */
struct loop {
	int		nr;
	char		file[PATH_MAX];
	uint64_t	size;
	bool		read_only;
};

static int read_sysfs(int nr, const char *name, char *buf, size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/loop%d/%s", nr, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return 0;
}

static bool path_on_ours(struct libmnt_table *tb, const char *path)
{
	struct libmnt_iter *itr = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	bool found = false;

	while (itr && !found && !mnt_table_next_fs(tb, itr, &fs)) {
		const char *type = mnt_fs_get_fstype(fs), *target = mnt_fs_get_target(fs);
		size_t len = target ? strlen(target) : 0;

		found = type && !strcmp(type, ZONEFSD_FSTYPE) && len &&
			!strncmp(path, target, len) && path[len] == '/';
	}
	mnt_free_iter(itr);
	return found;
}

static bool is_mounted(struct libmnt_table *tb, dev_t dev)
{
	return mnt_table_find_devno(tb, dev, MNT_ITER_FORWARD) != NULL;
}

/*
 * The file of l was on a mount of ours that is mounted no more, a dead one for
 * instance; it is named from its root then. Or on one that we do not see.
 */
static bool is_gone(struct libmnt_table *tb, const struct loop *l, dev_t dev)
{
	return !is_mounted(tb, dev) &&
	       (!strcmp(l->file, "/" DISK_NAME) || !strncmp(l->file, "/cnv/", 5) ||
		!strncmp(l->file, "/seq/", 5));
}

/*
 * 1 and *l when loop device nr is attached to a file of ours, 0 when not, or
 * -errno. The kernel asks the file system for the file's numbers, so on a dead
 * mount it may have none to tell and the name must do. gone_too: also when the
 * mount is gone.
 */
static int loop_get(struct libmnt_table *tb, int nr, bool gone_too, struct loop *l)
{
	struct loop_info64 info = { .lo_device = 0 };
	char size[32], name[32];
	int fd, ret;

	if (read_sysfs(nr, "loop/backing_file", l->file, sizeof(l->file)))
		return 0;
	loop_name(nr, name, sizeof(name));
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, LOOP_GET_STATUS64, &info) ? -errno : 0;
	close(fd);
	if (ret == -ENXIO)
		return 0;	/* detached meanwhile */
	if (ret ? !path_on_ours(tb, l->file) : !find_mount(tb, 0, info.lo_device))
		if (!gone_too || !is_gone(tb, l, info.lo_device))
			return 0;
	l->nr = nr;
	l->read_only = !ret && (info.lo_flags & LO_FLAGS_READ_ONLY);
	l->size = 0;
	if (!read_sysfs(nr, "size", size, sizeof(size)) &&
	    !zu_parse_u64(size, UINT64_MAX >> ZU_SECT_SHIFT, &l->size))
		l->size = zu_sect_to_bytes(l->size);
	return 1;
}

static int by_number(const void *a, const void *b)
{
	const struct loop *x = a, *y = b;

	return (x->nr > y->nr) - (x->nr < y->nr);
}

/* Look at every loop device in dir. *loops, *n grow. 0 or -errno with *e. */
static int scan_loops(DIR *dir, struct libmnt_table *tb, struct loop **loops, int *n,
		      struct zerr *e)
{
	struct dirent *de;
	struct loop *more;
	char end;
	int nr, ret;

	while ((de = readdir(dir))) {
		if (sscanf(de->d_name, "loop%d%c", &nr, &end) != 1)
			continue;
		more = realloc(*loops, (*n + 1) * sizeof(*more));
		if (!more)
			return zerr_errno(e, ENOMEM, "/sys/block");
		*loops = more;
		ret = loop_get(tb, nr, false, &more[*n]);
		if (ret < 0)
			return zerr_errno(e, -ret, "/dev/loop%d", nr);
		*n += ret;
	}
	return 0;
}

/* All of ours by number; the caller frees *loops, also after an error. */
static int loop_list(struct loop **loops, int *n, struct zerr *e)
{
	struct libmnt_table *tb;
	DIR *dir;
	int ret;

	*loops = NULL;
	*n = 0;
	dir = opendir("/sys/block");
	if (!dir)
		return zerr_errno(e, errno, "/sys/block");
	tb = read_mounts(e);
	ret = tb ? scan_loops(dir, tb, loops, n, e) : -EIO;
	mnt_unref_table(tb);
	closedir(dir);
	if (*n)
		qsort(*loops, *n, sizeof(**loops), by_number);
	return ret;
}

/*
 * Detach and wait until the file is let go, so that its mount can be unmounted
 * next. The kernel only marks a device that is in use for later; refuse that.
 */
static int detach(int nr, struct zerr *e)
{
	char name[32], file[PATH_MAX];
	int fd, waited, sync_error;

	loop_name(nr, name, sizeof(name));
	for (waited = 0; ; waited += SETTLE_STEP_MS) {
		fd = open(name, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd >= 0)
			break;
		if (errno == EBUSY && waited < SETTLE_MS / 10) {
			sleep_ms(SETTLE_STEP_MS);
			continue;
		}
		return zerr_set(e, errno, "%s: %s", name,
				errno == EBUSY ? "is in use" : strerror(errno));
	}
	/*
	 * The kernel writes back too, but keeps errors to itself. What could not
	 * be written it has dropped, so there is no use in staying attached.
	 */
	sync_error = fsync(fd) ? errno : 0;
	if (ioctl(fd, LOOP_CLR_FD, 0)) {
		zerr_errno(e, errno, "%s: cannot detach", name);
		close(fd);
		return -EIO;
	}
	close(fd);
	for (waited = 0; !read_sysfs(nr, "loop/backing_file", file, sizeof(file));
	     waited += SETTLE_STEP_MS) {
		if (waited >= SETTLE_MS)
			return zerr_set(e, EBUSY, "%s: still open somewhere, detaches "
					"when that ends", name);
		sleep_ms(SETTLE_STEP_MS);
	}
	if (sync_error)
		return zerr_errno(e, sync_error, "%s: detached, but not everything could "
				  "be written", name);
	return 0;
}

/* ---- commands ---- */

static int report(const struct zerr *e)
{
	fprintf(stderr, PROGRAM ": %s\n", e->msg);
	return 1;
}

static int cmd_attach(const char *path, bool read_only)
{
	struct zerr e = { "" }, late = { "" };
	struct backing b;
	int nr;

	if (open_backing(path, read_only, &b, &e))
		return report(&e);
	nr = attach(&b, &e);
	close(b.fd);
	if (nr < 0)
		return report(&e);
	await_udev();
	/* A device that nobody learns of would stay for ever. */
	if (printf("/dev/loop%d\n", nr) < 0 || fflush(stdout)) {
		zerr_errno(&e, errno, "standard output");
		detach(nr, &late);
		return report(&e);
	}
	return 0;
}

/* The number of the loop device that a node stands for, or -errno with *e. */
static int loop_number(const char *path, struct zerr *e)
{
	char name[64], target[PATH_MAX], end, *base;
	struct stat st;
	ssize_t n;
	int nr;

	if (stat(path, &st))
		return zerr_errno(e, errno, "%s", path);
	if (S_ISBLK(st.st_mode)) {
		snprintf(name, sizeof(name), "/sys/dev/block/%u:%u",
			 major(st.st_rdev), minor(st.st_rdev));
		n = readlink(name, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		base = strrchr(target, '/');
		if (base && sscanf(base, "/loop%d%c", &nr, &end) == 1)
			return nr;
	}
	return zerr_set(e, EINVAL, "%s: not a loop device", path);
}

static int detach_loop(const char *path)
{
	struct zerr e = { "" };
	struct libmnt_table *tb;
	struct loop l;
	int nr, ret;

	nr = loop_number(path, &e);
	if (nr < 0)
		return report(&e);
	tb = read_mounts(&e);
	if (!tb)
		return report(&e);
	ret = loop_get(tb, nr, true, &l);
	mnt_unref_table(tb);
	if (ret < 0)
		zerr_errno(&e, -ret, "%s", path);
	else if (ret == 0)
		ret = zerr_set(&e, EINVAL, "%s: not attached to a file of a zonefsd mount",
			       path);
	else
		ret = detach(nr, &e);
	return ret ? report(&e) : 0;
}

/* Is l attached to what file names, the path of a file or of a mount? */
static bool is_on(const struct loop *l, const char *file)
{
	size_t len = strlen(file);

	return !strncmp(l->file, file, len) &&
	       (!l->file[len] || !strcmp(l->file + len, "/" DISK_NAME));
}

/* All loop devices on a file or on the disk of a mount. */
static int detach_from(const char *path)
{
	struct zerr e = { "" };
	struct loop *loops = NULL;
	int i, n = 0, found = 0, ret = 0;
	char *file = strdup(path), *real = NULL;
	size_t len = strlen(path);

	/* A slash at its end would have realpath() look into it, which may be dead. */
	while (file && len > 1 && file[len - 1] == '/')
		file[--len] = '\0';
	if (file)
		real = realpath(file, NULL);
	free(file);
	if (!real) {
		zerr_errno(&e, errno, "%s", path);
		return report(&e);
	}
	if (loop_list(&loops, &n, &e))
		ret = report(&e);
	for (i = 0; i < n; i++) {
		if (!is_on(&loops[i], real))
			continue;
		found++;
		if (detach(loops[i].nr, &e))
			ret = report(&e);
	}
	free(loops);
	free(real);
	if (found || ret)
		return ret;
	zerr_set(&e, ENXIO, "%s: no loop device is attached to it", path);
	return report(&e);
}

static int cmd_detach(const char *path)
{
	struct stat st;

	return stat(path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ?
	       detach_from(path) : detach_loop(path);
}

static int cmd_detach_all(void)
{
	struct zerr e = { "" };
	struct loop *loops;
	int i, n, ret = 0;

	if (loop_list(&loops, &n, &e))
		ret = report(&e);
	for (i = 0; i < n; i++)
		if (detach(loops[i].nr, &e))
			ret = report(&e);
	free(loops);
	return ret;
}

static int list_json(const struct loop *loops, int n)
{
	json_t *root = json_object(), *list = json_array();
	char name[32];
	int i, ret;

	for (i = 0; i < n; i++) {
		loop_name(loops[i].nr, name, sizeof(name));
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b}", "name", name,
			"back-file", loops[i].file, "size", (json_int_t)loops[i].size,
			"ro", loops[i].read_only));
	}
	json_object_set_new(root, "loopdevices", list);
	ret = json_dumpf(root, stdout, JSON_INDENT(2));
	json_decref(root);
	putchar('\n');
	return ret;
}

static int cmd_list(bool json)
{
	struct zerr e = { "" };
	struct loop *loops;
	int i, n, ret = 0;
	char size[16];

	if (loop_list(&loops, &n, &e)) {
		free(loops);
		return report(&e);
	}
	if (json) {
		ret = list_json(loops, n);
	} else if (n) {
		printf("%-12s %8s %2s %s\n", "NAME", "SIZE", "RO", "BACK-FILE");
		for (i = 0; i < n; i++)
			printf("/dev/loop%-3d %8s %2d %s\n", loops[i].nr,
			       zu_format_size(loops[i].size, size, sizeof(size)),
			       loops[i].read_only, loops[i].file);
	}
	free(loops);
	if (ret || fflush(stdout)) {
		zerr_set(&e, EIO, "standard output: cannot write");
		return report(&e);
	}
	return 0;
}

/* ---- arguments ---- */

static const char usage_text[] =
	"usage: " PROGRAM " [-f] [--show] [-r] MNT|FILE\n"
	"       " PROGRAM " -d LOOPDEV|MNT|FILE | -D\n"
	"       " PROGRAM " -l [--json]\n"
	"\n"
	"A loop device with direct I/O on a zonefsd mount: on its disk (MNT means MNT/disk)\n"
	"or on the file of a zone.\n"
	"  -f, --find        use the first free loop device (always so)\n"
	"      --show        print its name (always so)\n"
	"  -r, --read-only   needed for seq/N\n"
	"  -d, --detach      detach LOOPDEV, or those on MNT or FILE\n"
	"  -D, --detach-all  detach all loop devices on zonefsd mounts\n"
	"  -l, --list        list them\n"
	"      --json        list them as JSON\n"
	"  -h, --help, -V, --version\n";

static int usage_error(const char *subject, const char *cause)
{
	fprintf(stderr, PROGRAM ": %s: %s, see --help\n", subject, cause);
	return 2;
}

struct args {
	const char	*loopdev;
	bool		read_only, all, list, json, attach;
};

/* -1 to go on, else the exit status. */
static int parse_args(struct args *a, int argc, char **argv)
{
	enum { OPT_SHOW = 256, OPT_JSON };
	static const struct option longopts[] = {
		{ "find", no_argument, NULL, 'f' },
		{ "show", no_argument, NULL, OPT_SHOW },
		{ "read-only", no_argument, NULL, 'r' },
		{ "detach", required_argument, NULL, 'd' },
		{ "detach-all", no_argument, NULL, 'D' },
		{ "list", no_argument, NULL, 'l' },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "frd:DlhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'r':
			a->read_only = true;
			a->attach = true;
			break;
		case 'f':
		case OPT_SHOW:
			a->attach = true;
			break;
		case 'd':
			a->loopdev = optarg;
			break;
		case 'D':
			a->all = true;
			break;
		case 'l':
			a->list = true;
			break;
		case OPT_JSON:
			a->json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'V':
			puts(PROGRAM " " ZONEFSD_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct args a = { .loopdev = NULL };
	bool other;
	int ret;

	ret = parse_args(&a, argc, argv);
	if (ret >= 0)
		return ret;
	other = a.loopdev || a.all || a.list;
	if (!!a.loopdev + a.all + a.list + a.attach > 1 || (a.json && !a.list))
		return usage_error("options", "these do not go together");
	if (argc - optind != !other)
		return usage_error("arguments", other ? "too many" :
				   "one mount point or file is needed");
	if (a.loopdev)
		return cmd_detach(a.loopdev);
	if (a.all)
		return cmd_detach_all();
	if (a.list)
		return cmd_list(a.json);
	return cmd_attach(argv[optind], a.read_only);
}
