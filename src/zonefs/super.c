/* SPDX-License-Identifier: BSD-2-Clause */
/* The super block (Z1) and the formatter (Z2). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>
#include <zlib.h>

#include "zonefsd/super.h"
#include "zonefsd/units.h"

/*
 * The block, all integers little endian, by byte offset. What follows
 * SB_RESERVED is zero up to the end.
 */
enum {
	SB_MAGIC	= 0,	/* 4 */
	SB_CRC		= 4,	/* 4: over the whole block with this field as 0 */
	SB_LABEL	= 8,	/* 64 */
	SB_UUID		= 72,	/* 16 */
	SB_FEATURES	= 88,	/* 8: ZONEFS_F_* */
	SB_UID		= 96,	/* 4: if ZONEFS_F_UID */
	SB_GID		= 100,	/* 4: if ZONEFS_F_GID */
	SB_PERM		= 104,	/* 4: if ZONEFS_F_PERM */
	SB_RESERVED	= 108,
};

#define DEFAULT_PERM	0640u
/* Set-id bits in a block from a stranger would make programs of zone files. */
#define PERM_MASK	0777u
/* (uid_t)-1 and (gid_t)-1 mean "nobody in particular" to every system call. */
#define ID_INVALID	UINT32_MAX
#define PROGRESS_STEP	256u

static void put_le(uint8_t *p, unsigned bytes, uint64_t v)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* The format wants the CRC register as it is, zlib hands out its complement. */
static uint32_t block_crc(const uint8_t *block)
{
	static const uint8_t zero[4];
	uLong crc = crc32(0, block, SB_CRC);

	crc = crc32(crc, zero, sizeof(zero));
	crc = crc32(crc, block + SB_LABEL, ZONEFS_SUPER_SIZE - SB_LABEL);
	return ~(uint32_t)crc;
}

void zonefs_super_encode(const struct zonefs_super *sb, void *block)
{
	uint8_t *b = block;

	memset(b, 0, ZONEFS_SUPER_SIZE);
	put_le(b + SB_MAGIC, 4, ZONEFS_MAGIC);
	memcpy(b + SB_LABEL, sb->label, strnlen(sb->label, ZONEFS_LABEL_MAX));
	memcpy(b + SB_UUID, sb->uuid, sizeof(sb->uuid));
	put_le(b + SB_FEATURES, 8, sb->features);
	put_le(b + SB_UID, 4, sb->uid);
	put_le(b + SB_GID, 4, sb->gid);
	put_le(b + SB_PERM, 4, sb->perm);
	put_le(b + SB_CRC, 4, block_crc(b));
}

static int check_ids(const struct zonefs_super *sb, struct zerr *e)
{
	if ((sb->features & ZONEFS_F_UID) && sb->uid == ID_INVALID)
		return zerr_set(e, EINVAL, "super block: invalid uid");
	if ((sb->features & ZONEFS_F_GID) && sb->gid == ID_INVALID)
		return zerr_set(e, EINVAL, "super block: invalid gid");
	if ((sb->features & ZONEFS_F_PERM) && (sb->perm & ~PERM_MASK))
		return zerr_set(e, EINVAL, "super block: permissions %#o are not within 0777",
				sb->perm);
	return 0;
}

int zonefs_super_decode(const void *block, struct zonefs_super *sb, struct zerr *e)
{
	const uint8_t *b = block;
	int err;

	memset(sb, 0, sizeof(*sb));
	if (get_le(b + SB_MAGIC, 4) != ZONEFS_MAGIC)
		return -ENODEV;
	if (get_le(b + SB_CRC, 4) != block_crc(b))
		return zerr_set(e, EINVAL, "super block: checksum is %08" PRIx64
				", should be %08" PRIx32, get_le(b + SB_CRC, 4), block_crc(b));
	sb->features = get_le(b + SB_FEATURES, 8);
	if (sb->features & ~(uint64_t)ZONEFS_F_ALL)
		return zerr_set(e, EINVAL, "super block: unknown features %#" PRIx64,
				sb->features & ~(uint64_t)ZONEFS_F_ALL);
	sb->uid = get_le(b + SB_UID, 4);
	sb->gid = get_le(b + SB_GID, 4);
	sb->perm = get_le(b + SB_PERM, 4);
	err = check_ids(sb, e);
	if (err)
		return err;
	for (unsigned i = SB_RESERVED; i < ZONEFS_SUPER_SIZE; i++)
		if (b[i])
			return zerr_set(e, EINVAL, "super block: reserved byte %u is not zero", i);
	memcpy(sb->label, b + SB_LABEL, ZONEFS_LABEL_MAX);
	memcpy(sb->uuid, b + SB_UUID, sizeof(sb->uuid));
	if (!(sb->features & ZONEFS_F_UID))
		sb->uid = 0;
	if (!(sb->features & ZONEFS_F_GID))
		sb->gid = 0;
	if (!(sb->features & ZONEFS_F_PERM))
		sb->perm = DEFAULT_PERM;
	return 0;
}

int zonefs_super_read(struct zdev *dev, struct zonefs_super *sb, struct zerr *e)
{
	_Alignas(4096) uint8_t block[ZONEFS_SUPER_SIZE];
	ssize_t n = zdev_pread(dev, 0, 0, block, sizeof(block));
	struct zerr why;
	int ret;

	if (n < 0)
		return zerr_errno(e, (int)-n, "%s: reading the super block", zdev_info(dev)->path);
	if (n != sizeof(block))
		return zerr_set(e, EIO, "%s: super block: short read", zdev_info(dev)->path);
	ret = zonefs_super_decode(block, sb, &why);
	if (ret == -EINVAL)
		zerr_set(e, EINVAL, "%s: %s", zdev_info(dev)->path, why.msg);
	return ret;
}

void zonefs_super_init(struct zonefs_super *sb)
{
	memset(sb, 0, sizeof(*sb));
	uuid_generate(sb->uuid);
	sb->perm = DEFAULT_PERM;
}

/* "uid=N", "gid=N": the number behind the sign. */
static int parse_id(const char *opt, const char *value, uint32_t *id, struct zerr *e)
{
	uint64_t v;

	if (zu_parse_u64(value, ID_INVALID - 1, &v))
		return zerr_set(e, EINVAL, "%s: not a valid id", opt);
	*id = (uint32_t)v;
	return 0;
}

int zonefs_super_option(struct zonefs_super *sb, const char *opt, struct zerr *e)
{
	uint64_t feature;
	int err = 0;

	if (!strcmp(opt, "aggr_cnv")) {
		feature = ZONEFS_F_AGGR_CNV;
	} else if (!strncmp(opt, "uid=", 4)) {
		feature = ZONEFS_F_UID;
		err = parse_id(opt, opt + 4, &sb->uid, e);
	} else if (!strncmp(opt, "gid=", 4)) {
		feature = ZONEFS_F_GID;
		err = parse_id(opt, opt + 4, &sb->gid, e);
	} else if (!strncmp(opt, "perm=", 5)) {
		feature = ZONEFS_F_PERM;
		if (zu_parse_octal(opt + 5, PERM_MASK, &sb->perm))
			err = zerr_set(e, EINVAL, "%s: not an octal number up to 777", opt);
	} else {
		return -ENOENT;
	}
	if (!err)
		sb->features |= feature;
	return err;
}

/* ---- formatting ---- */

static bool is_bad(const struct zdev_zone *z)
{
	return z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE;
}

/*
 * An empty zone needs a reset only for a tail stored behind its write pointer;
 * a zone that the medium has given up takes no command at all.
 */
static int empty_zone(struct zdev *dev, uint32_t zno, const struct zdev_zone *z, void *buf)
{
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL || is_bad(z))
		return 0;
	if (z->cond == BLK_ZONE_COND_EMPTY && zdev_get_tail(dev, zno, buf) == 0)
		return 0;
	return zdev_command(dev, ZDEV_RESET, zno);
}

static int check_zones(struct zdev *dev, struct zerr *e)
{
	const struct zdev_info *info = zdev_info(dev);
	uint32_t good = 0;
	struct zdev_zone z;
	int err;

	for (uint32_t zno = 0; zno < info->nr_zones; zno++) {
		err = zdev_report(dev, zno, 1, &z);
		if (err)
			return zerr_errno(e, -err, "%s: zone %u", info->path, zno);
		good += z.cond != BLK_ZONE_COND_OFFLINE;
		if (!zno && z.capacity < ZONEFS_SUPER_SIZE)
			return zerr_set(e, EINVAL, "%s: zone 0 has no room for the super block",
					info->path);
		if (!zno && is_bad(&z))
			return zerr_set(e, EIO, "%s: zone 0 cannot be written", info->path);
	}
	if (good < 2)
		return zerr_set(e, EINVAL, "%s: all zones but one are offline", info->path);
	return 0;
}

static int empty_all(struct zdev *dev,
		     void (*progress)(void *ctx, uint32_t done, uint32_t all), void *ctx,
		     struct zerr *e)
{
	const struct zdev_info *info = zdev_info(dev);
	void *buf = malloc(info->block_size);
	struct zdev_zone z;
	int err = buf ? 0 : -ENOMEM;

	for (uint32_t zno = 0; zno < info->nr_zones && !err; zno++) {
		err = zdev_report(dev, zno, 1, &z);
		if (!err)
			err = empty_zone(dev, zno, &z, buf);
		if (err)
			zerr_errno(e, -err, "%s: resetting zone %u", info->path, zno);
		else if (progress && (zno + 1) % PROGRESS_STEP == 0)
			progress(ctx, zno + 1, info->nr_zones);
	}
	if (progress && !err)
		progress(ctx, info->nr_zones, info->nr_zones);
	free(buf);
	return err;
}

static int write_super(struct zdev *dev, const struct zonefs_super *sb, struct zerr *e)
{
	_Alignas(4096) uint8_t block[ZONEFS_SUPER_SIZE];
	const char *path = zdev_info(dev)->path;
	struct zdev_zone z;
	ssize_t n;
	int err;

	zonefs_super_encode(sb, block);
	n = zdev_pwrite(dev, 0, 0, block, sizeof(block));
	if (n != sizeof(block))
		return zerr_errno(e, n < 0 ? (int)-n : EIO, "%s: writing the super block", path);
	err = zdev_report(dev, 0, 1, &z);
	if (!err && z.type != BLK_ZONE_TYPE_CONVENTIONAL)
		err = zdev_command(dev, ZDEV_FINISH, 0);
	if (err)
		return zerr_errno(e, -err, "%s: finishing zone 0", path);
	err = zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES);
	if (err)
		return zerr_errno(e, -err, "%s: flushing", path);
	return 0;
}

int zonefs_format(struct zdev *dev, const struct zonefs_super *sb,
		  void (*progress)(void *ctx, uint32_t done, uint32_t all), void *ctx,
		  struct zerr *e)
{
	int err;

	if (zdev_info(dev)->read_only)
		return zerr_set(e, EROFS, "%s: is read-only", zdev_info(dev)->path);
	err = check_zones(dev, e);
	if (!err)
		err = empty_all(dev, progress, ctx, e);
	if (!err)
		err = write_super(dev, sb, e);
	return err;
}
