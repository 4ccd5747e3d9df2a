/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies within the file system beneath, which need not move the data through us. */
#ifndef ZDEV_CLONE_H
#define ZDEV_CLONE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Copy len bytes from offset src_off of src, a regular file, to dst_off of dst,
 * another one or the same (then without overlap); with share_only by sharing the
 * blocks and in no other way. 0; -EOPNOTSUPP when the file
 * system does no such copies, and nothing was written; -errno, when any part may
 * have been. *done: bytes that are there for sure. May block.
 */
int clone_range(int src, uint64_t src_off, int dst, uint64_t dst_off, uint64_t len,
		bool share_only, uint64_t *done);

#endif
