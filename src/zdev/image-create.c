/* SPDX-License-Identifier: BSD-2-Clause */
/* Making an image file. It becomes one, by its magic, as the last step. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "image_i.h"
#include "zonefsd/units.h"

/* Zones whose table entries are written at once. */
#define STEP	2048

/*
 * On btrfs every write of a block goes to a new place, so that a store to the
 * mapped table could find no space, which is SIGBUS. Without copy on write the
 * allocated table is overwritten in place. No one else knows or needs the flag.
 */
static void avoid_copy_on_write(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return;
	flags |= FS_NOCOW_FL;
	/* May fail: then the file system has no such thing. */
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		return;
}

/* The largest size below `size` that the file system lets fd have. */
static uint64_t largest_size(int fd, uint64_t size)
{
	uint64_t fits = 0, fails = size, middle;

	while (fails - fits > 4096) {
		middle = fits + (fails - fits) / 2;
		if (ftruncate(fd, middle))
			fails = middle;
		else
			fits = middle;
	}
	return fits;
}

/* Give the file its size, the limits of the process and of the file system kept. */
static int set_size(int fd, const char *path, uint64_t size, struct zerr *e)
{
	char want[16], have[16];
	struct rlimit lim;

	zu_format_size(size, want, sizeof(want));
	/* Beyond this limit ftruncate would raise SIGXFSZ. */
	if (!getrlimit(RLIMIT_FSIZE, &lim) && lim.rlim_cur != RLIM_INFINITY &&
	    lim.rlim_cur < size)
		return zerr_set(e, EFBIG, "%s: a file of %s is larger than the file size "
				"limit of this process (ulimit -f)", path, want);
	if (!ftruncate(fd, size))
		return 0;
	if (errno != EFBIG && errno != EINVAL)
		return zerr_errno(e, errno, "%s", path);
	zu_format_size(largest_size(fd, size), have, sizeof(have));
	return zerr_set(e, EFBIG, "%s: the device needs one file of %s, the file system "
			"beneath takes at most %s: use --layout dir", path, want, have);
}

static int write_table(int fd, const struct image_layout *lay,
		       void (*progress)(void *, uint32_t, uint32_t), void *ctx)
{
	const struct image_ptr start = { 0 };
	struct image_entry *entries;
	uint32_t zno, n, i;
	int ret = 0;

	entries = calloc(STEP, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (zno = 0; zno < lay->geo.nr_zones && !ret; zno += n) {
		n = lay->geo.nr_zones - zno < STEP ? lay->geo.nr_zones - zno : STEP;
		for (i = 0; i < n; i++) {
			_Atomic uint64_t *w = entries[i].word;

			w[IMAGE_CURRENT] = htole64(image_ptr_encode(zno + i, IMAGE_CURRENT, &start));
			w[IMAGE_FLUSHED] = htole64(image_ptr_encode(zno + i, IMAGE_FLUSHED, &start));
			w[IMAGE_RESETS] = htole64(image_resets_encode(zno + i, 0));
		}
		ret = image_pwrite(fd, entries, n * sizeof(*entries),
				   lay->table_offset + zno * (uint64_t)sizeof(*entries));
		if (progress)
			progress(ctx, zno + n, lay->geo.nr_zones);
	}
	free(entries);
	return ret;
}

static int write_states(int fd, const uint8_t uuid[16])
{
	int i, ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		struct image_state st = {
			.flags = htole32(IMAGE_STATE_CLEAN),
			.seq = htole64(i),
		};

		memcpy(st.uuid, uuid, sizeof(st.uuid));
		image_state_seal(&st);
		ret = image_pwrite(fd, &st, sizeof(st), IMAGE_STATE_OFFSET(i));
	}
	return ret;
}

static int sync_file(int fd)
{
	return fsync(fd) ? -errno : 0;
}

/* All that an image of this layout holds. 0 or -errno. */
static int write_all(int fd, const struct image_layout *lay,
		     void (*progress)(void *, uint32_t, uint32_t), void *ctx)
{
	struct image_header h;
	int ret;

	/* Where this is not supported the writes below allocate just as well. */
	if (fallocate(fd, 0, 0, lay->tail_offset) && errno != EOPNOTSUPP)
		return -errno;
	image_header_encode(lay, &h);
	ret = write_table(fd, lay, progress, ctx);
	if (!ret)
		ret = write_states(fd, lay->geo.uuid);
	if (!ret)
		ret = image_pwrite(fd, &h, sizeof(h), IMAGE_COPY_OFFSET);
	if (!ret)
		ret = sync_file(fd);
	if (!ret)
		ret = image_pwrite(fd, &h, sizeof(h), IMAGE_HEADER_OFFSET);
	return ret ? ret : sync_file(fd);
}

/* Make the new name durable. */
static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, ret = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	/* A directory that may be written but not read cannot be synced, and need not fail us. */
	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	if (fsync(fd) && errno != EINVAL)
		ret = -errno;
	close(fd);
	return ret;
}

int zdev_image_create(const char *path, const struct zdev_geometry *g,
		      void (*progress)(void *, uint32_t, uint32_t), void *ctx,
		      struct zerr *e)
{
	struct image_layout lay;
	int fd, ret;

	image_layout_init(&lay, g);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return zerr_errno(e, errno, "%s", path);
	avoid_copy_on_write(fd);
	ret = set_size(fd, path, lay.file_size, e);
	if (!ret) {
		ret = write_all(fd, &lay, progress, ctx);
		if (!ret)
			ret = sync_parent(path);
		if (ret)
			zerr_errno(e, -ret, "%s", path);
	}
	close(fd);
	if (ret)
		unlink(path);
	return ret;
}
