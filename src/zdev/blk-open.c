/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a block device: is it zoned, does anybody use it, what are its limits.
 *
 * Two things keep others away. A lock as on emulated devices, shared by readers,
 * between programs of ours. And a claim (O_EXCL), by which the kernel keeps out
 * mounts, device-mapper and whoever claims as well. Only one descriptor can have
 * a claim; among readers it is the first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libmount/libmount.h>
#include <libzbd/zbd.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blk.h"
#include "zonefsd/units.h"

#define MAX_DEPTH	128u
/* libzbd keeps what it knows in a table of 1024 descriptors, which it trusts to suffice. */
#define ZBD_MAX_FD	1000

/* ---- what sysfs says ---- */

static void sysfs_path(dev_t rdev, const char *name, char path[128])
{
	snprintf(path, 128, "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev), name);
}

/* A number below, or otherwise where the file or a number in it is missing. */
static uint64_t sysfs_number(dev_t rdev, const char *name, uint64_t otherwise)
{
	char path[128];
	uint64_t v;
	FILE *f;

	sysfs_path(rdev, name, path);
	f = fopen(path, "re");
	if (!f)
		return otherwise;
	if (fscanf(f, "%" SCNu64, &v) != 1)
		v = otherwise;
	fclose(f);
	return v;
}

/*
 * libzbd finds a device in sysfs by the name of its node, and some nodes have another
 * than the kernel's: those of device-mapper without udev. path, or the kernel's node.
 */
static void own_node(dev_t rdev, const char *path, char node[PATH_MAX])
{
	char uevent[128], line[PATH_MAX], name[128] = "";
	struct stat st;
	FILE *f;

	sysfs_path(rdev, "uevent", uevent);
	f = fopen(uevent, "re");
	while (f && !*name && fgets(line, sizeof(line), f))
		if (sscanf(line, "DEVNAME=%127s", name) != 1)
			*name = '\0';
	if (f)
		fclose(f);
	snprintf(node, PATH_MAX, "/dev/%s", name);
	if (!*name || !strcmp(name, basename(path)) || stat(node, &st) ||
	    !S_ISBLK(st.st_mode) || st.st_rdev != rdev)
		snprintf(node, PATH_MAX, "%s", path);
}

/* ---- who uses it ---- */

/* The mount of the device: true with *e. */
static bool find_mount(dev_t rdev, const char *path, struct zerr *e)
{
	struct libmnt_table *tab = mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_fs *fs = NULL;

	if (tab)
		fs = mnt_table_find_devno(tab, rdev, MNT_ITER_BACKWARD);
	/*
	 * btrfs has device numbers of its own, but says what it is made from. So do
	 * our own mounts; those have the lock.
	 */
	if (tab && !fs)
		fs = mnt_table_find_srcpath(tab, path, MNT_ITER_BACKWARD);
	if (fs && !strncmp(mnt_fs_get_fstype(fs), "fuse", 4))
		fs = NULL;
	if (fs)
		zerr_set(e, EBUSY, "%s: mounted on %s (%s)", path, mnt_fs_get_target(fs),
			 mnt_fs_get_fstype(fs));
	mnt_unref_table(tab);
	return fs != NULL;
}

/* A device made from this one: true with *e. */
static bool find_holder(dev_t rdev, const char *path, struct zerr *e)
{
	struct dirent *de;
	bool found = false;
	char name[128];
	DIR *dir;

	sysfs_path(rdev, "holders", name);
	dir = opendir(name);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		found = de->d_name[0] != '.';
		if (found)
			zerr_set(e, EBUSY, "%s: in use by the device %s", path, de->d_name);
	}
	closedir(dir);
	return found;
}

int blk_claim(dev_t rdev, const char *path, bool read_only, int *fd, struct zerr *e)
{
	/* First, as this is the test without a race. */
	*fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	if (errno != EBUSY)
		return zerr_errno(e, errno, "%s", path);
	if (find_mount(rdev, path, e) || find_holder(rdev, path, e))
		return -EBUSY;
	return read_only ? 0 : zerr_set(e, EBUSY, "%s: in use by another program", path);
}

/* ---- what it is ---- */

/* 0, -ENODEV, -EROFS with *e. */
static int check_kind(int fd, const char *path, bool read_only, struct zerr *e)
{
	uint32_t zone_sect = 0;
	int ro = 0;

	if (ioctl(fd, BLKGETZONESZ, &zone_sect) || !zone_sect)
		return zerr_set(e, ENODEV, "%s: not a zoned block device", path);
	if (!read_only && !ioctl(fd, BLKROGET, &ro) && ro)
		return zerr_set(e, EROFS, "%s: the device is read-only", path);
	return 0;
}

int blk_check_params(const struct blk_params *p, struct zerr *e)
{
	uint64_t nr;

	if (p->block_size != 512 && p->block_size != 4096)
		return zerr_set(e, EINVAL, "%s: blocks of %" PRIu32 " bytes, must be 512 or 4096",
				p->path, p->block_size);
	if (!zu_is_pow2(p->zone_size) || p->zone_size < 4096 ||
	    p->zone_size > ZDEV_MAX_ZONE_SIZE)
		return zerr_set(e, EINVAL, "%s: zones of %" PRIu64 " bytes, must be a power of two"
				", 4096 to %" PRIu64, p->path, p->zone_size, ZDEV_MAX_ZONE_SIZE);
	if (!p->size || p->size > ZDEV_MAX_SIZE)
		return zerr_set(e, EINVAL, "%s: size of %" PRIu64 " bytes, must be 1 to %" PRIu64,
				p->path, p->size, ZDEV_MAX_SIZE);
	nr = (p->size - 1) / p->zone_size + 1;
	if (nr > ZDEV_MAX_ZONES || nr != p->nr_zones)
		return zerr_set(e, EINVAL, "%s: %" PRIu32 " zones do not make the device",
				p->path, p->nr_zones);
	return 0;
}

/* What a sequential zone takes; 512e disks write 4096 bytes there. */
static uint32_t write_granularity(dev_t rdev, const struct zbd_info *info)
{
	uint64_t v = sysfs_number(rdev, "queue/zone_write_granularity", 0);

	/* 0: not said. */
	if (!v && info->model == ZBD_DM_HOST_MANAGED)
		v = info->pblock_size;
	return v > info->lblock_size && v <= 4096 ? (uint32_t)v : info->lblock_size;
}

void blk_read_queue(struct blk_params *p, dev_t rdev, uint32_t lblock)
{
	unsigned short max_sect = 0;
	uint64_t v;

	/*
	 * A mask; kernels before 6.0 do not tell, and want whole blocks. So does null_blk,
	 * though it says 511: of a block that goes on in another page it reads zeros.
	 */
	v = sysfs_number(rdev, "queue/dma_alignment", lblock - 1) + 1;
	p->mem_align = zu_is_pow2(v) && v <= 4096 ? (uint32_t)v : 4096;
	if (p->mem_align < lblock)
		p->mem_align = lblock;

	p->max_write = ZDEV_MAX_IO;
	if (!ioctl(p->fd, BLKSECTGET, &max_sect) && max_sect &&
	    zu_sect_to_bytes(max_sect) < p->max_write)
		p->max_write = (uint32_t)zu_round_down(zu_sect_to_bytes(max_sect), p->block_size);
	if (p->max_write < p->block_size)
		p->max_write = p->block_size;

	v = sysfs_number(rdev, "queue/nr_requests", MAX_DEPTH);
	p->depth = v && v < MAX_DEPTH ? (unsigned)v : MAX_DEPTH;

	/* The queue of a partition is its disk's. */
	v = sysfs_number(rdev, "../queue/discard_max_bytes", 1);
	p->no_discard = !sysfs_number(rdev, "queue/discard_max_bytes", v);
}

/* Open the device in libzbd and fill in the rest of *p. 0 or -errno with *e. */
static int open_zbd(struct blk_params *p, dev_t rdev, struct zerr *e)
{
	struct zbd_info info;
	char node[PATH_MAX];
	uint64_t size;

	own_node(rdev, p->path, node);
	zbd_set_log_level(ZBD_LOG_NONE);
	errno = EIO;
	p->fd = zbd_open(node, (p->read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC,
			 NULL);
	if (p->fd < 0)
		return zerr_errno(e, errno, "%s", p->path);
	/* Some versions return a descriptor that they have closed again. */
	if (zbd_get_info(p->fd, &info)) {
		p->fd = -1;
		return zerr_set(e, EIO, "%s: cannot tell its zones", p->path);
	}
	if (ioctl(p->fd, BLKGETSIZE64, &size))
		return zerr_errno(e, errno, "%s: size", p->path);
	p->size = size;
	p->zone_size = info.zone_size;
	p->nr_zones = info.nr_zones;
	/* Unknown is all ones. */
	p->max_open = info.max_nr_open_zones == UINT32_MAX ? 0 : info.max_nr_open_zones;
	p->max_active = info.max_nr_active_zones == UINT32_MAX ? 0 : info.max_nr_active_zones;
	p->block_size = write_granularity(rdev, &info);
	blk_read_queue(p, rdev, info.lblock_size);
	return blk_check_params(p, e);
}

/* ---- opening ---- */

static int open_all(struct blk_params *p, uint32_t wait_ms, struct zdev **dev, struct zerr *e)
{
	struct stat st;
	int ret;

	if (fstat(p->lock_fd, &st))
		return zerr_errno(e, errno, "%s", p->path);
	if (p->lock_fd > ZBD_MAX_FD)
		return zerr_errno(e, EMFILE, "%s", p->path);
	ret = check_kind(p->lock_fd, p->path, p->read_only, e);
	if (!ret)
		ret = zdev_lock(p->lock_fd, p->path, p->read_only, wait_ms, e);
	if (!ret)
		ret = blk_claim(st.st_rdev, p->path, p->read_only, &p->claim_fd, e);
	if (!ret)
		ret = open_zbd(p, st.st_rdev, e);
	return ret ? ret : blk_create(p, dev, e);
}

int blk_open_with(struct blk_params *p, blk_opener *opener, uint32_t wait_ms,
		  struct zdev **dev, struct zerr *e)
{
	int ret;

	p->lock_fd = open(p->path, O_RDONLY | O_CLOEXEC);
	if (p->lock_fd < 0)
		return zerr_errno(e, errno, "%s", p->path);
	ret = opener(p, wait_ms, dev, e);
	if (!ret)
		return 0;
	if (p->fd >= 0) {
		if (p->regular)
			close(p->fd);
		else
			zbd_close(p->fd);
	}
	if (p->claim_fd >= 0)
		close(p->claim_fd);
	close(p->lock_fd);
	return ret;
}

int zdev_blk_open(const char *path, const struct zdev_open_opts *opts, struct zdev **dev,
		  struct zerr *e)
{
	struct blk_params p = {
		.path = path, .fd = -1, .claim_fd = -1,
		.read_only = opts->read_only, .log = opts->log,
	};

	if (opts->powercut)
		return zerr_set(e, EOPNOTSUPP, "%s: a power-cut mode have only emulated devices",
				path);
	return blk_open_with(&p, open_all, opts->wait_ms, dev, e);
}
