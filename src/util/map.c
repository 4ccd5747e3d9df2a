/* SPDX-License-Identifier: BSD-2-Clause */
/* Mappings on a boundary. See zonefsd/map.h. */
#include <stdint.h>
#include <sys/mman.h>

#include "zonefsd/map.h"
#include "zonefsd/units.h"

#define PAGE	4096

/* The kernel chooses the place: map more, and give back what is before and behind. */
void *zmap_aligned(size_t len, size_t head, size_t align, int prot)
{
	size_t before;
	char *p, *base;

	len = zu_round_down(len + PAGE - 1, PAGE);
	p = mmap(NULL, len + align, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	before = -((uintptr_t)p + head) & (align - 1);
	base = p + before;
	if (before)
		munmap(p, before);
	munmap(base + len, align - before);
	return base;
}
