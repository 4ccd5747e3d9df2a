/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A filter that records every change sent to the devices of a target, and a
 * model of their volatile write caches: from the record, the contents that a
 * power loss at any moment may leave are built.
 *
 * Moments are counted in events: each submission and each completion of a
 * change is one, and so is each rec_mark(). The devices of a target share a
 * record, so the events of all have one order.
 *
 * A discard and a write of the same bytes that are in flight together end the
 * program: nobody could say which of them counts.
 */
#ifndef BLOCK_RECORD_H
#define BLOCK_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "zonefsd/zdev.h"

#define REC_MAX_DEVS	2
#define REC_SECTOR	512u	/* bytes that a medium writes whole or not at all */

/* A device's shape. All zones have the same size, their capacity. */
struct rec_shape {
	uint64_t	zone_size;
	uint32_t	block_size;
	uint32_t	nr_zones;
	uint32_t	nr_conv;	/* == nr_zones: an ordinary device */
	uint64_t	runt;		/* ordinary: bytes of the last zone if smaller, or 0 */
};

struct rec_zone {
	uint8_t		*data;		/* NULL: zeros */
	uint64_t	wp;		/* sequential zones */
};

/* What stands on the media. */
struct rec_image {
	uint32_t	nr_devs;
	struct rec_shape shape[REC_MAX_DEVS];
	struct rec_zone	*zone[REC_MAX_DEVS];
};

void rec_image_init(struct rec_image *img, const struct rec_shape *shape, uint32_t nr_devs);
void rec_image_copy(struct rec_image *to, const struct rec_image *from);
void rec_image_free(struct rec_image *img);

/* A device in memory that holds device d of img. */
struct zdev *rec_image_device(const struct rec_image *img, uint32_t d);

struct rec;

/* The record of devices that hold *start now. */
struct rec *rec_create(const struct rec_image *start);
void rec_free(struct rec *r);

/* Do not keep the record: for long runs that nobody asks about. */
void rec_forget(struct rec *r);

/*
 * A recording filter in front of next, device d of the target. Closing it leaves
 * next open: the medium outlives its users. copies: ZDEV_COPY works, else it is
 * -EOPNOTSUPP. jitter: completions come up to so many microseconds late.
 */
struct zdev *rec_stack(struct rec *r, uint32_t d, struct zdev *next, bool copies,
		       unsigned jitter);

/* An event: now. Its number. */
uint64_t rec_mark(struct rec *r);

/* Events so far. */
uint64_t rec_events(struct rec *r);

/* Changes that the devices refused. */
uint64_t rec_refused(struct rec *r);

struct rec_discard {
	uint32_t	dev, zno;
	uint64_t	pos, len;
	bool		dead;
	uint64_t	submitted;	/* event */
};

/* The discard after the first nr; false when there is none. */
bool rec_discard(struct rec *r, size_t nr, struct rec_discard *d);

/*
 * The events before and after which a crash tells most: those of flushes, resets
 * and finishes, and of writes of one block to the places of super blocks. Nothing may be in flight.
 * Returns their number, *at is the caller's to free.
 */
size_t rec_boundaries(struct rec *r, uint64_t **at);

/* Which of the unflushed changes a power loss leaves. */
enum rec_mood {
	REC_DROP,	/* none */
	REC_KEEP,	/* all */
	REC_PREFIX,	/* those completed before some moment */
	REC_SOME,	/* each or not */
	REC_TORN,	/* each, or not, or some of its sectors */
	REC_ALL_BUT_ONE,
	REC_ONLY_ONE,
	REC_BY_ZONE,	/* all or none of each zone */
	REC_BY_DEVICE,	/* all or none of each device */
	REC_NR_MOODS,
};
extern const char *const rec_mood_names[REC_NR_MOODS];

/*
 * The contents that a power loss after the first `events` events leaves:
 * everything that a completed flush or FUA covers, of the rest what mood and
 * the random numbers from *rng choose. Sequential zones lose only a tail of
 * what was done to them. Nothing may be in flight. Faster with rising events.
 */
void rec_build(struct rec *r, uint64_t events, enum rec_mood mood, uint64_t *rng,
	       struct rec_image *img);

/* Say on stderr what was done to the devices around an event. */
void rec_print(struct rec *r, uint64_t from, uint64_t to);

/* Below n; *rng is never 0. */
static inline uint64_t rec_rnd(uint64_t *rng, uint64_t n)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return n ? (*rng >> 11) % n : 0;
}

/* A start for *rng from any seed. */
static inline uint64_t rec_seed(uint64_t seed)
{
	uint64_t x = seed + UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return (x ^ x >> 31) | 1;
}

#endif
