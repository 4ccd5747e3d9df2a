/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was asked of a disk, and from that, what each of its 512-byte sectors
 * may hold after a power loss: what the last flush that was answered covers, or
 * anything that was written there later.
 *
 * Moments are events of the record (block-record.h). Operations of which one
 * writes may not be in flight on the same sector at the same time.
 */
#ifndef BLOCK_HIST_H
#define BLOCK_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_SECTOR	512u

enum hist_kind {
	HIST_WRITE,
	HIST_ZERO,	/* discard and write-zeroes */
	HIST_COPY,
	HIST_FLUSH,	/* a clean close, too */
	HIST_FOUND,	/* a read after an error: this is what stands there */
};

struct hist_op {
	enum hist_kind	kind;
	bool		fua;
	bool		failed;
	uint64_t	pos, len, src;
	uint64_t	start, done;	/* events; done UINT64_MAX: not answered */
};

struct hist;

/* The history of a disk that holds base (NULL: zeros). */
struct hist *hist_create(uint64_t size, const uint8_t *base);
void hist_free(struct hist *h);

/*
 * An operation starts at an event. data: what WRITE and FOUND put there. Returns
 * its number.
 */
size_t hist_start(struct hist *h, const struct hist_op *op, const uint8_t *data);
void hist_done(struct hist *h, size_t nr, uint64_t event, bool failed);

size_t hist_nr(const struct hist *h);
const struct hist_op *hist_op(const struct hist *h, size_t nr);

/* The contents as of now, all operations carried out. */
const uint8_t *hist_latest(const struct hist *h);

/*
 * Is data what the disk may hold from pos on, after a power loss after `events`
 * events (UINT64_MAX: after all)? pos and len are whole sectors. Says on stderr
 * what is wrong, and returns false.
 */
bool hist_allows(const struct hist *h, uint64_t events, uint64_t pos, const uint8_t *data,
		 uint64_t len);

/* Likewise without a power loss: the last that was written or, after errors, may have been. */
bool hist_current(const struct hist *h, uint64_t pos, const uint8_t *data, uint64_t len);

#endif
