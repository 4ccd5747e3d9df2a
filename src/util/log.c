/* SPDX-License-Identifier: BSD-2-Clause */
/* Formatting of log lines and the two sinks. See zonefsd/log.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "zonefsd/log.h"

void zlog(const struct zlog *log, enum zlog_level level, const char *fmt, ...)
{
	int saved = errno;
	char line[1024];
	va_list ap;
	char *s;

	if (!log || !log->write || level > log->max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* A name from disk must not be able to forge a second line. */
	for (s = line; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	log->write(log->ctx, level, line);
	errno = saved;
}

void zlog_to_stderr(void *ctx, enum zlog_level level, const char *line)
{
	char out[1280];
	int len;

	/* One write(2) a line, so that lines of several threads do not mix. */
	len = snprintf(out, sizeof(out), "%s: %s\n", (const char *)ctx, line);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(out)) {
		len = sizeof(out) - 1;
		out[len - 1] = '\n';
	}
	while (write(STDERR_FILENO, out, len) < 0 && errno == EINTR)
		;
}

void zlog_to_syslog(void *ctx, enum zlog_level level, const char *line)
{
	syslog((int)level, "%s", line);
}
