/* SPDX-License-Identifier: BSD-2-Clause */
/* A daemon in the path of the system's writeback. */
#ifndef PRESSURE_H
#define PRESSURE_H

#include "zonefsd/log.h"

/*
 * Before any thread is started: the kernel shall not make us wait for memory that
 * only we can free, nor take us for its victim. What may not be had is logged.
 */
void pressure_prepare(const struct zlog *log);

/*
 * When all memory is there, and the right to lock it as well: it is never paged out.
 * So is what comes later, if the limit could be raised.
 */
void pressure_lock(const struct zlog *log);

#endif
