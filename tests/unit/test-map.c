/* SPDX-License-Identifier: BSD-2-Clause */
/* Mappings on a boundary: where they are asked to be, and of use. */
#include <stdint.h>
#include <sys/mman.h>

#include "unit.h"
#include "zonefsd/map.h"

#define CHUNK	((size_t)2 << 20)

static void lies_where_asked(size_t len, size_t head)
{
	char *p = zmap_aligned(len, head, CHUNK, PROT_READ | PROT_WRITE);

	CHECK(p != NULL);
	CHECK_EQ(((uintptr_t)p + head) % CHUNK, 0);
	memset(p, 1, len);
	CHECK_EQ(munmap(p, len), 0);
}

static void every_size_lies_where_asked(void)
{
	static const size_t lens[] = { 1, 4096, 5000, CHUNK - 4096, CHUNK, CHUNK + 4096 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		lies_where_asked(lens[i], 0);
		lies_where_asked(lens[i], 4096);
		lies_where_asked(lens[i], CHUNK - 4096);
	}
}

static void too_much_is_refused(void)
{
	CHECK(!zmap_aligned(SIZE_MAX / 2, 0, CHUNK, PROT_NONE));
}

int main(void)
{
	RUN(every_size_lies_where_asked);
	RUN(too_much_is_refused);
	return 0;
}
