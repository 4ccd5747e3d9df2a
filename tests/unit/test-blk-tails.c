/* SPDX-License-Identifier: BSD-2-Clause */
/* Tails of a block device: they stay while the write pointer does, and no longer. */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <zlib.h>

#include "../../src/zdev/blk-tail.h"
#include "fake-zbd.h"
#include "unit.h"

#define BS	4096u
#define ZONE	(1u << 20)

static _Alignas(4096) char data[BS], super[BS];

static int put(struct zdev *dev, uint32_t zno, uint64_t pos, const char *text)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct zdev_io io = {
		.op = ZDEV_PUT_TAIL, .zno = zno, .pos = pos, .iov = &iov,
		.nr_iov = *text ? 1 : 0,
	};

	return (int)zdev_run(dev, &io);
}

/* The zone's tail must be this; "" for none. */
#define CHECK_TAIL(dev, zno, text) do {						\
	_Alignas(4096) char tail_[BS] = "";					\
										\
	CHECK_EQ(zdev_get_tail(dev, zno, tail_), strlen(text));			\
	CHECK(!memcmp(tail_, text, strlen(text)));				\
} while (0)

/* The same after the device was closed and opened again, and that was the test. */
#define CHECK_TAIL_LASTS(dev, zno, text) do {					\
	dev = reopen(dev);							\
	CHECK_TAIL(dev, zno, text);						\
	CHECK_EQ(zdev_close(dev), 0);						\
} while (0)

static void write_block(struct zdev *dev, uint32_t zno, uint64_t pos, char fill)
{
	memset(data, fill, sizeof(data));
	CHECK_EQ(zdev_pwrite(dev, zno, pos, data, BS), BS);
}

static struct zdev *make(const char *types)
{
	struct zdev *dev;

	fake_make(types, ZONE, ZONE, 0);
	dev = fake_open();
	memset(super, 's', sizeof(super));
	if (types[0] == 'c')
		CHECK_EQ(zdev_pwrite(dev, 0, 0, super, BS), BS);
	return dev;
}

static struct zdev *reopen(struct zdev *dev)
{
	CHECK_EQ(zdev_close(dev), 0);
	return fake_open();
}

static void tails_outlive_the_close(void)
{
	struct zdev *dev = make("css");

	write_block(dev, 1, 0, 'a');
	CHECK_EQ(put(dev, 1, BS, "first"), 0);
	CHECK_EQ(put(dev, 1, BS, "second, longer"), 0);
	CHECK_EQ(put(dev, 2, 0, "of an empty zone"), 0);
	CHECK_EQ(put(dev, 2, BS, "elsewhere"), -EIO);
	CHECK_EQ(put(dev, 0, 0, "no"), -EIO);
	CHECK_TAIL(dev, 1, "second, longer");
	dev = reopen(dev);
	CHECK_TAIL(dev, 1, "second, longer");
	CHECK_TAIL(dev, 2, "of an empty zone");
	CHECK_EQ(put(dev, 1, BS, ""), 0);
	CHECK_TAIL(dev, 1, "");
	CHECK_TAIL_LASTS(dev, 1, "");
}

static void a_tail_of_almost_a_block_fits(void)
{
	struct zdev *dev = make("cs");
	char text[BS];

	memset(text, 't', sizeof(text));
	text[BS - 1] = '\0';
	CHECK_EQ(put(dev, 1, 0, text), 0);
	CHECK_TAIL_LASTS(dev, 1, text);
}

static void changes_of_the_zone_drop_it(void)
{
	struct zdev *dev = make("csss");
	uint32_t zno;

	for (zno = 1; zno < 4; zno++)
		CHECK_EQ(put(dev, zno, 0, "gone"), 0);
	write_block(dev, 1, 0, 'a');
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 2), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, 3), 0);
	for (int round = 0; round < 2; round++) {
		for (zno = 1; zno < 4; zno++)
			CHECK_TAIL(dev, zno, "");
		dev = reopen(dev);
	}
	CHECK_EQ(zdev_close(dev), 0);
}

/* The same place again, by a reset and the same data: it is not the same file. */
static void a_reset_clears_all_that_was(void)
{
	struct zdev *dev = make("cs");

	write_block(dev, 1, 0, 'a');
	CHECK_EQ(put(dev, 1, BS, "old"), 0);
	CHECK_EQ(put(dev, 1, BS, "older than the next"), 0);
	write_block(dev, 1, BS, 'b');
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), 0);
	write_block(dev, 1, 0, 'a');
	CHECK_TAIL(dev, 1, "");
	CHECK_TAIL_LASTS(dev, 1, "");
}

/* What was flushed is there when a power loss takes the pointer back. */
static void a_power_loss_finds_the_tail(void)
{
	struct zdev *dev = make("cs");
	int i;

	write_block(dev, 1, 0, 'a');
	CHECK_EQ(put(dev, 1, BS, "durable"), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 1), 0);
	write_block(dev, 1, BS, 'b');
	for (i = 0; i < 50; i++)
		CHECK_EQ(put(dev, 1, 2 * BS, i % 2 ? "one" : "other"), 0);
	CHECK_EQ(zdev_close(dev), 0);
	fake_set(1, BLK_ZONE_COND_CLOSED, BS);
	dev = fake_open();
	CHECK_TAIL(dev, 1, "durable");
	CHECK_EQ(zdev_close(dev), 0);
	/* The others were cleared by now, as nothing matched them. */
	fake_set(1, BLK_ZONE_COND_CLOSED, 2 * BS);
	dev = fake_open();
	CHECK_TAIL(dev, 1, "");
	CHECK_EQ(zdev_close(dev), 0);
}

/* Somebody who knows no tails reset the zone and wrote up to the same place. */
static void what_others_wrote_is_told(void)
{
	struct zdev *dev = make("cs");
	struct zdev_zone z;

	write_block(dev, 1, 0, 'a');
	CHECK_EQ(put(dev, 1, BS, "tail"), 0);
	CHECK_EQ(zdev_close(dev), 0);
	/* Behind the backend's back: the tail would be cleared by our reset. */
	fake_set(1, BLK_ZONE_COND_EMPTY, 0);
	fake.zones[0].type = BLK_ZONE_TYPE_SEQWRITE_PREF;
	fake.zones[0].cond = BLK_ZONE_COND_EMPTY;
	dev = fake_open();
	write_block(dev, 1, 0, 'x');
	CHECK_EQ(zdev_close(dev), 0);
	fake.zones[0].type = BLK_ZONE_TYPE_CONVENTIONAL;
	fake.zones[0].cond = BLK_ZONE_COND_NOT_WP;
	dev = fake_open();
	CHECK_EQ(zdev_report(dev, 1, 1, &z), 0);
	CHECK_EQ(z.wp, BS);
	CHECK_TAIL(dev, 1, "");
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_new_format_has_no_tails(void)
{
	struct zdev *dev = make("cs");

	CHECK_EQ(put(dev, 1, 0, "tail"), 0);
	memset(super, 'n', sizeof(super));
	CHECK_EQ(zdev_pwrite(dev, 0, 0, super, BS), BS);
	dev = reopen(dev);
	CHECK_TAIL(dev, 1, "");
	CHECK_EQ(put(dev, 1, 0, "of the new one"), 0);
	CHECK_TAIL_LASTS(dev, 1, "of the new one");
}

static void damage_is_no_tail(void)
{
	_Alignas(4096) char slot[2 * BS];
	struct zdev *dev = make("cs");
	_Alignas(4096) char tail[BS];

	CHECK_EQ(put(dev, 1, 0, "tail"), 0);
	CHECK_EQ(zdev_pread(dev, 0, BLK_TAIL_SLOTS_POS, slot, sizeof(slot)), sizeof(slot));
	slot[sizeof(struct blk_tail)] ^= 1;
	CHECK_EQ(zdev_pwrite(dev, 0, BLK_TAIL_SLOTS_POS, slot, sizeof(slot)), sizeof(slot));
	CHECK_EQ(zdev_get_tail(dev, 1, tail), -EIO);	/* it was there a moment ago */
	CHECK_TAIL_LASTS(dev, 1, "");
}

static void a_damaged_head_is_made_anew(void)
{
	_Alignas(4096) char head[BS];
	struct zdev *dev = make("cs");

	CHECK_EQ(put(dev, 1, 0, "tail"), 0);
	CHECK_EQ(zdev_pread(dev, 0, BLK_TAIL_HEAD_POS, head, BS), BS);
	head[offsetof(struct blk_tail_head, uuid)] ^= 1;
	CHECK_EQ(zdev_pwrite(dev, 0, BLK_TAIL_HEAD_POS, head, BS), BS);
	dev = reopen(dev);
	CHECK_TAIL(dev, 1, "");
	CHECK_EQ(put(dev, 1, 0, "new"), 0);
	CHECK_TAIL_LASTS(dev, 1, "new");
}

static void another_version_is_left_alone(void)
{
	_Alignas(4096) char block[BS], now[BS];
	struct zdev *dev = make("cs");
	struct blk_tail_head h;

	CHECK_EQ(put(dev, 1, 0, "tail"), 0);
	CHECK_EQ(zdev_pread(dev, 0, BLK_TAIL_HEAD_POS, block, BS), BS);
	memcpy(&h, block, sizeof(h));
	h.version = htole32(BLK_TAIL_VERSION + 1);
	h.crc = 0;
	h.crc = htole32((uint32_t)crc32(0, (const void *)&h, sizeof(h)));
	memcpy(block, &h, sizeof(h));
	CHECK_EQ(zdev_pwrite(dev, 0, BLK_TAIL_HEAD_POS, block, BS), BS);
	dev = reopen(dev);
	CHECK_TAIL(dev, 1, "");
	CHECK_EQ(put(dev, 1, 0, "new"), -EOPNOTSUPP);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 1), 0);
	CHECK_EQ(zdev_pread(dev, 0, BLK_TAIL_HEAD_POS, now, BS), BS);
	CHECK(!memcmp(now, block, BS));
	CHECK_EQ(zdev_close(dev), 0);
}

static void without_room_there_are_none(void)
{
	struct zdev *dev = make("scs");
	struct zerr e;

	CHECK_EQ(put(dev, 2, 0, "tail"), -EOPNOTSUPP);
	CHECK_TAIL(dev, 2, "");
	CHECK_EQ(zdev_close(dev), 0);

	dev = make("cs");
	CHECK_EQ(put(dev, 1, 0, "tail"), 0);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(fake_try_open(true, &dev, &e), 0);
	CHECK_TAIL(dev, 1, "tail");
	CHECK_EQ(put(dev, 1, 0, "no"), -EPERM);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A zone of few slots, and more tails than that: flushes make them free again. */
static void slots_are_used_again(void)
{
	const uint32_t zone_size = BLK_TAIL_SLOTS_POS + 3 * 2 * BS;
	struct zdev *dev;
	int i;

	fake_make("css", 32768, 32768, 0);
	CHECK_EQ(zone_size, 32768);
	dev = fake_open();
	for (i = 0; i < 20; i++)
		CHECK_EQ(put(dev, 1, 0, i % 2 ? "one" : "other"), 0);
	CHECK_TAIL(dev, 1, "one");
	CHECK_EQ(put(dev, 2, 0, "two"), 0);
	for (i = 0; i < 7; i++) {
		write_block(dev, 1, (uint64_t)i * BS, 'x');
		CHECK_EQ(put(dev, 1, (uint64_t)(i + 1) * BS, "end"), i == 7 ? -EIO : 0);
	}
	CHECK_TAIL(dev, 2, "two");
	dev = reopen(dev);
	CHECK_TAIL(dev, 1, "end");
	CHECK_TAIL(dev, 2, "two");
	CHECK_EQ(zdev_close(dev), 0);
}

int main(void)
{
	RUN(tails_outlive_the_close);
	RUN(a_tail_of_almost_a_block_fits);
	RUN(changes_of_the_zone_drop_it);
	RUN(a_reset_clears_all_that_was);
	RUN(a_power_loss_finds_the_tail);
	RUN(what_others_wrote_is_told);
	RUN(a_new_format_has_no_tails);
	RUN(damage_is_no_tail);
	RUN(a_damaged_head_is_made_anew);
	RUN(another_version_is_left_alone);
	RUN(without_room_there_are_none);
	RUN(slots_are_used_again);
	fake_end();
	return 0;
}
