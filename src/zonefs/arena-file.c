/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena's file: its format, its name, and the directory it lies in. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <uuid/uuid.h>
#include <zlib.h>

#include "arena_i.h"
#include "zonefsd/mounted.h"
#include "zonefsd/units.h"

/* ---- entries ---- */

/* Spreads each bit of x over the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t arena_seed(uint32_t index, uint32_t zno, uint64_t resets, uint64_t start)
{
	return mix(start ^ mix(resets ^ mix((uint64_t)zno << 32 | index)));
}

uint64_t arena_word(uint64_t seed, uint32_t len)
{
	return (mix(seed ^ len) & ~UINT64_C(0xffffffff)) | len;
}

int64_t arena_word_len(uint64_t seed, uint64_t word)
{
	uint32_t len = (uint32_t)word;

	return word == arena_word(seed, len) ? (int64_t)len : -1;
}

/* ---- header ---- */

static uint32_t head_crc(const struct arena_head *h)
{
	return (uint32_t)crc32(0, (const void *)h, offsetof(struct arena_head, crc));
}

void arena_head_layout(struct arena_head *h, uint32_t nr_segs)
{
	uint64_t end = ARENA_HEAD + (uint64_t)nr_segs * sizeof(struct arena_entry);

	h->seg_size = ARENA_SEG;
	h->nr_segs = nr_segs;
	h->table_off = ARENA_HEAD;
	h->data_off = zu_round_down(end + ARENA_CHUNK - 1, ARENA_CHUNK);
}

int arena_head_make(struct zdev *dev, const uint8_t sb_uuid[16], uint32_t nr_segs,
		    struct arena_head *h)
{
	const struct zdev_info *info = zdev_info(dev);
	struct stat st;

	if (!info->path[0])
		return -EOPNOTSUPP;
	if (stat(info->path, &st))
		return -errno;
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, ARENA_MAGIC, sizeof(h->magic));
	h->version = ARENA_VERSION;
	h->block_size = info->block_size;
	memcpy(h->uuid, info->uuid, sizeof(h->uuid));
	memcpy(h->sb_uuid, sb_uuid, sizeof(h->sb_uuid));
	h->st_dev = st.st_dev;
	h->st_ino = st.st_ino;
	arena_head_layout(h, nr_segs);
	h->crc = head_crc(h);
	return 0;
}

int arena_head_check(const struct arena_head *h, uint64_t file_size, const char **why)
{
	uint64_t table = (uint64_t)h->nr_segs * sizeof(struct arena_entry), data;

	*why = "its header is damaged";
	if (memcmp(h->magic, ARENA_MAGIC, sizeof(h->magic)) || h->crc != head_crc(h))
		return -EINVAL;
	*why = "its version or features are not known here";
	if (h->version != ARENA_VERSION || h->incompat)
		return -EINVAL;
	*why = "its header makes no sense";
	if (h->seg_size < 4096 || h->seg_size > 1u << 30 || !zu_is_pow2(h->seg_size) ||
	    h->nr_segs > ARENA_MAX_SEGS || h->table_off % sizeof(struct arena_entry) ||
	    h->data_off % 4096 || h->table_off < sizeof(*h) || h->data_off < table ||
	    h->table_off > h->data_off - table)
		return -EINVAL;
	data = (uint64_t)h->seg_size * h->nr_segs;
	if (h->data_off > file_size || data > file_size - h->data_off)
		return -EINVAL;
	return 0;
}

bool arena_head_match(const struct arena_head *h, const struct arena_head *dev,
		      const char **why)
{
	*why = "it belongs to another device";
	if (memcmp(h->uuid, dev->uuid, sizeof(h->uuid)) ||
	    h->block_size != dev->block_size)
		return false;
	*why = "it belongs to another copy of the device";
	if (h->st_dev != dev->st_dev || h->st_ino != dev->st_ino)
		return false;
	*why = "the device was formatted since";
	return !memcmp(h->sb_uuid, dev->sb_uuid, sizeof(h->sb_uuid));
}

/* ---- where ---- */

static bool is_ram(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) &&
	       (st.f_type == TMPFS_MAGIC || (unsigned long)st.f_type == RAMFS_MAGIC);
}

/* Ours alone, or others could plant an arena. */
static int open_private_dir(const char *path)
{
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && st.st_uid == geteuid() && !(st.st_mode & 022))
		return fd;
	close(fd);
	return -EPERM;
}

int arena_dir_open(char path[200])
{
	int fd;

	if (!mounted_rundir(path, 200)) {
		fd = open_private_dir(path);
		if (fd >= 0 && is_ram(fd))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	snprintf(path, 200, "/dev/shm/zonefsd-%u", (unsigned)geteuid());
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	fd = open_private_dir(path);
	if (fd < 0 || is_ram(fd))
		return fd;
	close(fd);
	return -EOPNOTSUPP;
}

void arena_name(const struct arena_head *h, char name[96])
{
	char uuid[37];

	uuid_unparse_lower(h->uuid, uuid);
	snprintf(name, 96, "arena-%s-%" PRIx64 "-%" PRIx64, uuid, h->st_dev, h->st_ino);
}

int arena_file_open(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int err = -EPERM;

	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & 077)
		goto fail;
	err = -EBUSY;
	if (flock(fd, LOCK_EX | LOCK_NB))
		goto fail;
	return fd;
fail:
	close(fd);
	return err;
}
