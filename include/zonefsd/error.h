/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One line that explains a failure to the user. Library code does not print:
 * it returns -errno and, where the errno alone would not name the cause,
 * fills in a struct zerr that the program prints after "PROGRAM: ".
 */
#ifndef ZONEFSD_ERROR_H
#define ZONEFSD_ERROR_H

struct zerr {
	char	msg[512];	/* "SUBJECT: CAUSE", no newline; "" if unset */
};

/*
 * Fill *e (which may be NULL) with a printf-style "SUBJECT: CAUSE" and return
 * -err, so that a caller can write: return zerr_set(e, EINVAL, "%s: ...").
 * Overwrites an older message. Control characters that came from a file name
 * or from disk are replaced by '?', so that a hostile name cannot forge lines.
 */
int zerr_set(struct zerr *e, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As zerr_set, with ": strerror(err)" put behind the text. */
int zerr_errno(struct zerr *e, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
