/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transfers past the page cache: large ones, and reads of what nobody here reads
 * again. Filling pages for the first time costs more than the disk does; small
 * writes are better off in the cache, which gathers them. Both may be mixed on one
 * file: before a direct transfer the kernel writes back what is cached of its range,
 * and before a write it drops it.
 */
#ifndef ZDEV_DIRECT_H
#define ZDEV_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Less than this is faster through the page cache ... */
#define DIRECT_MIN		((size_t)64 * 1024)
/* ... unless it is flushed right away: then the cache is one more stop. */
#define DIRECT_MIN_FLUSHED	((size_t)4096)

/*
 * A second descriptor of the open regular file fd, for direct reads and writes as
 * access (O_RDONLY, O_RDWR) says. -errno where the file system has none, or of a
 * coarser grain than our blocks.
 */
int direct_open(int fd, int access);

/* How buffers of direct transfers must be aligned in memory, as far as it is known. */
uint32_t direct_mem_align(int fd);

/* Do all buffers, lengths and the offset fit the grain of direct writes? */
bool direct_fits(const struct iovec *iov, int nr_iov, uint64_t off);

/* A direct write failed with err: can it be that only the direct way is closed? */
bool direct_refused(int err);

#endif
