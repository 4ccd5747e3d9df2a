/* SPDX-License-Identifier: BSD-2-Clause */
/* The monotonic clock in nanoseconds. */
#ifndef ZONEFSD_CLOCK_H
#define ZONEFSD_CLOCK_H

#include <stdint.h>
#include <time.h>

#define ZCLOCK_SECOND	INT64_C(1000000000)
#define ZCLOCK_MS	INT64_C(1000000)

static inline int64_t zclock_of(const struct timespec *ts)
{
	return ts->tv_sec * ZCLOCK_SECOND + ts->tv_nsec;
}

static inline int64_t zclock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return zclock_of(&ts);
}

/* Costs less, and is behind by a tick at the most. */
static inline int64_t zclock_coarse(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return zclock_of(&ts);
}

/* For pthread_cond_timedwait. */
static inline struct timespec zclock_timespec(int64_t ns)
{
	return (struct timespec) { ns / ZCLOCK_SECOND, ns % ZCLOCK_SECOND };
}

#endif
