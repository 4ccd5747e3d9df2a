/* SPDX-License-Identifier: BSD-2-Clause */
/* A daemon in the path of the system's writeback. */
#ifndef PRESSURE_H
#define PRESSURE_H

#include "zonefsd/log.h"

/* What pressure_prepare may not have: errno, 0 when it has it. */
struct pressure {
	int	flusher;
	int	spared;
};

/*
 * Before any thread is started: the kernel shall not make us wait for memory that
 * only we can free, nor take us for its victim.
 */
void pressure_prepare(struct pressure *p);

/*
 * When all memory is there, and the right to lock it as well: it is never paged out.
 * So is what comes later, if the limit could be raised. Logs what is missing, of
 * pressure_prepare's too: there is a mount now, else its failure is all that counts.
 */
void pressure_lock(const struct pressure *p, const struct zlog *log);

#endif
