/* SPDX-License-Identifier: BSD-2-Clause */
/* Filling in the one line that explains a failure. See zonefsd/error.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "zonefsd/error.h"

/* C0 controls and DEL; bytes above are left alone, they may be UTF-8. */
static void hide_controls(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			*s = '?';
	}
}

__attribute__((format(printf, 3, 0)))
static void format_line(struct zerr *e, int err, const char *fmt, va_list ap)
{
	/*
	 * Built aside: an argument may be the old message of this very zerr,
	 * when a caller puts a subject in front of it.
	 */
	char msg[sizeof(e->msg)];
	char text[128];
	size_t len;

	vsnprintf(msg, sizeof(msg), fmt, ap);
	len = strlen(msg);
	if (err)
		snprintf(msg + len, sizeof(msg) - len, ": %s",
			 strerror_r(err, text, sizeof(text)));
	hide_controls(msg);
	memcpy(e->msg, msg, sizeof(msg));
}

int zerr_set(struct zerr *e, int err, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		format_line(e, 0, fmt, ap);
		va_end(ap);
	}
	return -err;
}

int zerr_errno(struct zerr *e, int err, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		format_line(e, err, fmt, ap);
		va_end(ap);
	}
	return -err;
}
