/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where run-time messages go. A struct zlog is owned by main() and handed
 * down; no layer keeps a global one. Safe from any thread.
 */
#ifndef ZONEFSD_LOG_H
#define ZONEFSD_LOG_H

#include <stdarg.h>

/* Same order and meaning as syslog(3). */
enum zlog_level { ZLOG_ERR = 3, ZLOG_WARN = 4, ZLOG_INFO = 6, ZLOG_DEBUG = 7 };

struct zlog {
	/* Takes one line without newline. May block shortly. */
	void	(*write)(void *ctx, enum zlog_level level, const char *line);
	void	*ctx;
	enum zlog_level	max_level;	/* lines above this are dropped */
};

/* Format one line and hand it to log->write. log == NULL: dropped. */
void zlog(const struct zlog *log, enum zlog_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sinks for main(): stderr as "PROGRAM: line" (ctx: the program name), syslog. */
void zlog_to_stderr(void *ctx, enum zlog_level level, const char *line);
void zlog_to_syslog(void *ctx, enum zlog_level level, const char *line);

#endif
