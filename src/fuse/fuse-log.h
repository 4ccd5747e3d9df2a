/* SPDX-License-Identifier: BSD-2-Clause */
/* libfuse's messages as lines of ours. */
#ifndef FUSE_LOG_H
#define FUSE_LOG_H

#include "zonefsd/error.h"
#include "zonefsd/log.h"

/* Send them to log, from now on and from all threads. */
void fuse_log_to(const struct zlog *log);

/* Until fuse_log_release, keep the last one in *e instead. One thread only. */
void fuse_log_capture(struct zerr *e);
void fuse_log_release(void);

#endif
