/* SPDX-License-Identifier: BSD-2-Clause */
/* libfuse's messages as lines of ours. */
#include "fuse-log.h"

#include <fuse_log.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* libfuse's hook has no argument for a context, so these must be static. */
static const struct zlog *sink;
static struct zerr *captured;

static enum zlog_level to_level(enum fuse_log_level level)
{
	if (level <= FUSE_LOG_ERR)
		return ZLOG_ERR;
	if (level == FUSE_LOG_WARNING)
		return ZLOG_WARN;
	return level == FUSE_LOG_DEBUG ? ZLOG_DEBUG : ZLOG_INFO;
}

__attribute__((format(printf, 2, 0)))
static void take_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512], *text = line;
	size_t len;

	vsnprintf(line, sizeof(line), fmt, ap);
	len = strlen(line);
	if (len && line[len - 1] == '\n')
		line[--len] = '\0';
	if (!strncmp(text, "fuse: ", 6))
		text += 6;
	if (!*text)
		return;
	if (captured)
		zerr_set(captured, 0, "%s", text);
	else
		zlog(sink, to_level(level), "fuse: %s", text);
}

void fuse_log_to(const struct zlog *log)
{
	sink = log;
	fuse_set_log_func(take_message);
}

void fuse_log_capture(struct zerr *e)
{
	captured = e;
}

void fuse_log_release(void)
{
	captured = NULL;
}
