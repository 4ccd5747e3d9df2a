/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device contains already, so that mkfs does not overwrite it unasked. */
#include <blkid/blkid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"

#define PROBE_SIZE	(UINT64_C(2) << 20)	/* all signatures but those at the end */
#define PROBE_END	(UINT64_C(256) << 10)	/* RAID and backup partition tables */
#define PROBE_CHUNK	(UINT32_C(256) << 10)

/* Bytes at pos of the device, for at most PROBE_CHUNK and never across zones. */
static ssize_t read_device(struct zdev *dev, uint64_t pos, void *buf, uint64_t len)
{
	const struct zdev_info *info = zdev_info(dev);
	uint64_t at = pos & (info->zone_size - 1);

	if (len > PROBE_CHUNK)
		len = PROBE_CHUNK;
	if (len > info->max_io)
		len = info->max_io;
	if (len > info->zone_size - at)
		len = info->zone_size - at;
	return zdev_pread(dev, pos / info->zone_size, at, buf, len);
}

/* Copy [pos, end) of the device to the same place of fd. 0 or -errno. */
static int copy_part(struct zdev *dev, int fd, uint64_t pos, uint64_t end)
{
	char *buf = malloc(PROBE_CHUNK);
	ssize_t n = 0;

	if (!buf)
		return -ENOMEM;
	for (; pos < end; pos += n) {
		n = read_device(dev, pos, buf, end - pos);
		if (n <= 0)
			break;
		if (pwrite(fd, buf, n, pos) != n) {
			n = -errno;
			break;
		}
	}
	free(buf);
	return n < 0 ? n : 0;
}

/*
 * libblkid reads a file: a sparse one in memory, as long as the device, with
 * the parts that signatures live in.
 */
static int copy_to_memory(struct zdev *dev)
{
	uint64_t size = zdev_info(dev)->size;
	int fd, ret;

	fd = memfd_create("zonefsctl-probe", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ftruncate(fd, size) ? -errno : 0;
	if (!ret)
		ret = copy_part(dev, fd, 0, size < PROBE_SIZE ? size : PROBE_SIZE);
	if (!ret && size > PROBE_SIZE + PROBE_END)
		ret = copy_part(dev, fd, size - PROBE_END, size);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int report_content(blkid_probe pr, const char *path)
{
	const char *type;

	if (!blkid_probe_lookup_value(pr, "TYPE", &type, NULL))
		return fail("%s: contains a file system or signature of type %s (use -f)", path, type);
	if (!blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL))
		return fail("%s: contains a partition table of type %s (use -f)", path, type);
	return fail("%s: contains something unknown (use -f)", path);
}

/* Ours. libblkid knows only sound ones of zonefs, and not dm-zoned. */
static int probe_ours(struct zdev *dev, const char *name)
{
	struct zonefs_super sb;
	int ret;

	ret = zonefs_super_read(dev, &sb, NULL);
	if (!ret || ret == -EINVAL)
		return fail("%s: contains a zonefs file system (use -f)", name);
	if (ret == -ENODEV)
		ret = dmz_probe(dev);
	if (ret < 0)
		return fail("%s: probe: %s (-f skips it)", name, strerror(-ret));
	return !ret ? 0 : fail("%s: contains %s dm-zoned disk (use -f)", name,
			       ret == 1 ? "a" : "a part of a");
}

static int probe_others(struct zdev *dev, const char *name)
{
	blkid_probe pr;
	int fd, ret;

	fd = copy_to_memory(dev);
	if (fd < 0)
		return fail("%s: probe: %s (-f skips it)", name, strerror(-fd));
	pr = blkid_new_probe();
	if (!pr || blkid_probe_set_device(pr, fd, 0, 0)) {
		ret = fail("%s: probe failed (-f skips it)", name);
		goto out;
	}
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE);
	blkid_probe_enable_partitions(pr, 1);
	ret = blkid_do_safeprobe(pr);
	if (ret == 1)
		ret = 0;
	else if (ret == 0)
		ret = report_content(pr, name);
	else if (ret == -2)
		ret = fail("%s: contains several signatures (use -f)", name);
	else
		ret = fail("%s: probe failed (-f skips it)", name);
out:
	blkid_free_probe(pr);
	close(fd);
	return ret;
}

int probe_content(struct zdev *dev, const char *name)
{
	int ret = probe_ours(dev, name);

	return ret ? ret : probe_others(dev, name);
}
