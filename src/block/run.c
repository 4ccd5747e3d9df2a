/* SPDX-License-Identifier: BSD-2-Clause */
/* A request whose submitter waits for it. */
#include "zonefsd/block.h"
#include "zonefsd/latch.h"

static void put_latch(struct block_io *io)
{
	zlatch_put(io->owner);
}

ssize_t block_run(struct block *b, struct block_io *io)
{
	struct zlatch latch;

	zlatch_init(&latch, 1);
	io->done = put_latch;
	io->owner = &latch;
	block_submit(b, io);
	zlatch_wait(&latch);
	return io->result;
}
