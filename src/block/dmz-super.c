/* SPDX-License-Identifier: BSD-2-Clause */
/* The super block: bytes to numbers and back (parts 4 and 5). */
#include <errno.h>
#include <inttypes.h>
#include <zlib.h>

#include "dmz_i.h"

/* By byte offset. What stands beyond SB_DEV_UUID belongs to others (R11). */
enum {
	SB_MAGIC	= 0,	/* 4 */
	SB_VERSION	= 4,	/* 4 */
	SB_GEN		= 8,	/* 8 */
	SB_PLACE	= 16,	/* 8: absolute block of this super block */
	SB_META		= 24,	/* 4 */
	SB_RESERVED	= 28,	/* 4 */
	SB_CHUNKS	= 32,	/* 4 */
	SB_MAP		= 36,	/* 4 */
	SB_BITMAP	= 40,	/* 4 */
	SB_CRC		= 44,	/* 4: over the whole block with this field as 0 */
	SB_LABEL	= 48,	/* 32, from here on version 2 only */
	SB_UUID		= 80,	/* 16 */
	SB_DEV_UUID	= 96,	/* 16 */
};

uint32_t dmz_crc(uint32_t seed, const void *buf, size_t len)
{
	/* zlib inverts what goes in and what comes out; the format does neither. */
	return ~(uint32_t)crc32_z(~seed, buf, len);
}

static uint32_t block_crc(const uint8_t *block)
{
	static const uint8_t zero[4];
	uLong crc = ~dmz_get32(block + SB_GEN);	/* the low half is the seed */

	crc = crc32_z(crc, block, SB_CRC);
	crc = crc32_z(crc, zero, sizeof(zero));
	return ~(uint32_t)crc32_z(crc, block + SB_LABEL, DMZ_BLOCK_SIZE - SB_LABEL);
}

void dmz_super_encode(const struct dmz_super *sb, void *block)
{
	uint8_t *b = block;

	dmz_put32(b + SB_MAGIC, DMZ_MAGIC);
	dmz_put32(b + SB_VERSION, sb->version);
	dmz_put64(b + SB_GEN, sb->gen);
	dmz_put64(b + SB_PLACE, sb->sb_block);
	dmz_put32(b + SB_META, sb->nr_meta_blocks);
	dmz_put32(b + SB_RESERVED, sb->nr_reserved_seq);
	dmz_put32(b + SB_CHUNKS, sb->nr_chunks);
	dmz_put32(b + SB_MAP, sb->nr_map_blocks);
	dmz_put32(b + SB_BITMAP, sb->nr_bitmap_blocks);
	if (sb->version > 1) {
		memset(b + SB_LABEL, 0, sizeof(sb->label));
		memcpy(b + SB_LABEL, sb->label, strnlen(sb->label, DMZ_LABEL_MAX));
		memcpy(b + SB_UUID, sb->uuid, sizeof(sb->uuid));
		memcpy(b + SB_DEV_UUID, sb->dev_uuid, sizeof(sb->dev_uuid));
	}
	dmz_put32(b + SB_CRC, block_crc(b));
}

/* What version 2 has more. */
static int decode_names(const uint8_t *b, struct dmz_super *sb, struct zerr *e)
{
	static const uint8_t none[16];

	if (!memcmp(b + SB_UUID, none, sizeof(none)))
		return zerr_set(e, EINVAL, "super block: has no uuid");
	if (b[SB_LABEL + DMZ_LABEL_MAX])
		return zerr_set(e, EINVAL, "super block: the label has no end");
	if (!memcmp(b + SB_DEV_UUID, none, sizeof(none)))
		return zerr_set(e, EINVAL, "super block: has no uuid of the device");
	memcpy(sb->label, b + SB_LABEL, sizeof(sb->label));
	memcpy(sb->uuid, b + SB_UUID, sizeof(sb->uuid));
	memcpy(sb->dev_uuid, b + SB_DEV_UUID, sizeof(sb->dev_uuid));
	return 0;
}

uint64_t dmz_super_place(const void *block)
{
	return dmz_get64((const uint8_t *)block + SB_PLACE);
}

int dmz_super_decode(const void *block, uint64_t place, struct dmz_super *sb, struct zerr *e)
{
	const uint8_t *b = block;

	memset(sb, 0, sizeof(*sb));
	if (dmz_get32(b + SB_MAGIC) != DMZ_MAGIC)
		return -ENODEV;
	sb->version = dmz_get32(b + SB_VERSION);
	if (sb->version > 2)
		return zerr_set(e, EINVAL, "super block: version %" PRIu32
				", only 1 and 2 are known", sb->version);
	if (!sb->version)
		sb->version = 1;	/* as the kernel takes it */
	if (dmz_get32(b + SB_CRC) != block_crc(b))
		return zerr_set(e, EINVAL, "super block: checksum is %08" PRIx32
				", should be %08" PRIx32, dmz_get32(b + SB_CRC), block_crc(b));
	sb->gen = dmz_get64(b + SB_GEN);
	sb->sb_block = dmz_get64(b + SB_PLACE);
	if (sb->sb_block != place)
		return zerr_set(e, EINVAL, "super block: is that of block %" PRIu64
				", and stands at block %" PRIu64 "%s", sb->sb_block, place,
				sb->gen ? "" : " (a later device of several?)");
	sb->nr_meta_blocks = dmz_get32(b + SB_META);
	sb->nr_reserved_seq = dmz_get32(b + SB_RESERVED);
	sb->nr_chunks = dmz_get32(b + SB_CHUNKS);
	sb->nr_map_blocks = dmz_get32(b + SB_MAP);
	sb->nr_bitmap_blocks = dmz_get32(b + SB_BITMAP);
	return sb->version > 1 ? decode_names(b, sb, e) : 0;
}
