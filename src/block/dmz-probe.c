/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does a device, taken alone, carry the format? Asked before anything is known
 * of its companions, so only what stands in the super blocks counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dmz_i.h"

#define ZONEFS_MAGIC	0x5A4F4653u	/* at the start of a device with zones as files */

struct probe {
	struct zdev	*dev;
	uint64_t	zone_blocks;
	uint8_t		*block;		/* room for one */
};

/* The first conventional zone from zno on, or the first good one. nr_zones: none. */
static int next_random(struct zdev *dev, uint32_t *zno, bool good)
{
	const struct zdev_info *info = zdev_info(dev);
	struct zdev_zone z;
	int ret;

	for (; info->nr_conv && *zno < info->nr_zones; ++*zno) {
		ret = zdev_report(dev, *zno, 1, &z);
		if (ret || (z.type == BLK_ZONE_TYPE_CONVENTIONAL && (!good || !dmz_zone_bad(&z))))
			return ret;
	}
	*zno = info->nr_zones;
	return 0;
}

/* The first block of a zone; zeros when the zone has gone. 0 or -errno. */
static int read_first(struct probe *p, uint32_t zno)
{
	struct zdev_zone z;
	ssize_t n;
	int ret;

	memset(p->block, 0, DMZ_BLOCK_SIZE);
	ret = zdev_report(p->dev, zno, 1, &z);
	if (ret || z.cond == BLK_ZONE_COND_OFFLINE || z.size < DMZ_BLOCK_SIZE)
		return ret;
	n = zdev_pread(p->dev, zno, 0, p->block, DMZ_BLOCK_SIZE);
	if (n == DMZ_BLOCK_SIZE)
		return 0;
	return n < 0 ? (int)n : -EIO;
}

/* Is the block read a super block that says it stands where it does? */
static bool is_super(const struct probe *p, uint32_t zno, struct dmz_super *sb)
{
	return !dmz_super_decode(p->block, zno * p->zone_blocks, sb, NULL);
}

/* Is it that of a device behind others? Where those end is unknown here. */
static bool is_later(const struct probe *p)
{
	struct dmz_super sb;
	uint64_t place = dmz_super_place(p->block);

	return place && !(place % p->zone_blocks) &&
	       !dmz_super_decode(p->block, place, &sb, NULL) && sb.version > 1 && !sb.gen;
}

/*
 * Set 1, when set 0 at base is bad: as far away as its super block says. How far
 * that can be follows from the number of zones, or, on a regular device where
 * more zones follow, only from what fits.
 */
static bool find_second(struct probe *p, uint32_t base)
{
	const struct zdev_info *info = zdev_info(p->dev);
	bool regular = info->nr_conv == info->nr_zones;
	uint64_t bits = p->zone_blocks / DMZ_BITS_PER_BLOCK;
	uint64_t bitmap = info->nr_zones * (bits ? bits : 1);
	uint64_t map = info->nr_zones / DMZ_MAP_PER_BLOCK + 1;
	uint64_t mz = bitmap / p->zone_blocks, last = (1 + map + bitmap) / p->zone_blocks + 1;
	uint64_t room = (info->nr_zones - base) / 2;
	struct dmz_super sb;

	if (regular || last > room)
		last = room;
	for (mz += !mz; mz <= last; mz++)
		if (!read_first(p, (uint32_t)(base + mz)) && is_super(p, (uint32_t)(base + mz), &sb) &&
		    (sb.nr_meta_blocks + p->zone_blocks - 1) / p->zone_blocks == mz)
			return true;
	return false;
}

/*
 * Do sets begin at zone base? A zonefs super block at the front rules out what
 * is left of an older format, but not a whole one. 1, 0 or -errno.
 */
static int probe_at(struct probe *p, uint32_t base, bool zonefs)
{
	struct dmz_super sb;
	bool magic;
	int ret = read_first(p, base);

	if (ret || is_super(p, base, &sb))
		return ret ? ret : 1;
	magic = dmz_get32(p->block) == DMZ_MAGIC;
	return !zonefs && (find_second(p, base) || magic);
}

static int probe(struct probe *p)
{
	uint32_t base = 0, nr = zdev_info(p->dev)->nr_zones, first;
	bool zonefs;
	int ret;

	ret = read_first(p, 0);
	if (ret)
		return ret;
	if (is_later(p))
		return 2;
	zonefs = dmz_get32(p->block) == ZONEFS_MAGIC;
	ret = next_random(p->dev, &base, false);
	if (ret || base == nr)
		return ret;
	first = base;
	ret = probe_at(p, base, zonefs);
	/* It may have been bad already when the format was made. */
	if (!ret)
		ret = next_random(p->dev, &base, true);
	if (ret || base == nr || base == first)
		return ret;
	return probe_at(p, base, zonefs);
}

static int start(struct probe *p, struct zdev *dev)
{
	*p = (struct probe) {
		.dev = dev, .zone_blocks = zdev_info(dev)->zone_size / DMZ_BLOCK_SIZE,
		.block = malloc(DMZ_BLOCK_SIZE),
	};
	return p->block ? 0 : -ENOMEM;
}

int dmz_probe(struct zdev *dev)
{
	struct probe p;
	int ret = start(&p, dev);

	/* The format has no zones of other sizes. */
	if (!ret && p.zone_blocks)
		ret = probe(&p);
	free(p.block);
	return ret;
}

bool dmz_probe_regular(const char *path)
{
	uint8_t block[DMZ_BLOCK_SIZE];
	struct dmz_super sb;
	struct stat st;
	bool found;
	int fd;

	/* A fifo, or a device of another kind, may wait or act when it is opened. */
	if (stat(path, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return false;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	found = pread(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block) &&
		!dmz_super_decode(block, 0, &sb, NULL) && sb.version > 1;
	close(fd);
	return found;
}

static int wipe_zone(struct probe *p, uint32_t zno)
{
	ssize_t n;
	int ret = read_first(p, zno);

	if (ret || dmz_get32(p->block) != DMZ_MAGIC)
		return ret;
	memset(p->block, 0, DMZ_BLOCK_SIZE);
	n = zdev_pwrite(p->dev, zno, 0, p->block, DMZ_BLOCK_SIZE);
	return n < 0 ? (int)n : 0;
}

int dmz_wipe(struct zdev *dev)
{
	uint32_t zno = 0, nr = zdev_info(dev)->nr_zones;
	struct probe p;
	int ret = start(&p, dev);

	while (!ret && p.zone_blocks) {
		ret = next_random(dev, &zno, true);
		if (ret || zno == nr)
			break;
		ret = wipe_zone(&p, zno++);
	}
	free(p.block);
	return ret ? ret : zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES);
}
