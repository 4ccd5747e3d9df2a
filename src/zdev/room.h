/* SPDX-License-Identifier: BSD-2-Clause */
/* Space of the file system beneath, held for writes to come or given back. */
#ifndef ZDEV_ROOM_H
#define ZDEV_ROOM_H

#include <stdint.h>

/*
 * Allocate [off, off + len) of a regular file, its size unchanged. 0, or -errno:
 * -ENOSPC, -EOPNOTSUPP where the file system cannot. A large range that does not
 * fit fails before anything of it is taken. May block.
 */
int room_allocate(int fd, uint64_t off, uint64_t len);

/*
 * [off, off + len) of a regular file or a block device reads as zeros after, and
 * takes up no space. 0, or -errno: -EOPNOTSUPP where that cannot be had. May block.
 */
int room_punch(int fd, uint64_t off, uint64_t len);

/*
 * [off, off + len) of a block device takes up no space after, and may hold anything.
 * 0 or -errno as above. May block.
 */
int room_discard(int fd, uint64_t off, uint64_t len);

#endif
