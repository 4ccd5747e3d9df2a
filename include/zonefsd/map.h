/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that begins where huge pages can. */
#ifndef ZONEFSD_MAP_H
#define ZONEFSD_MAP_H

#include <stddef.h>

/*
 * Map len bytes of anonymous memory, prot as for mmap(2), of which byte `head`
 * lies on a multiple of align, a power of two; len is rounded up to whole pages.
 * NULL with errno. To be unmapped with munmap(2).
 */
void *zmap_aligned(size_t len, size_t head, size_t align, int prot);

#endif
