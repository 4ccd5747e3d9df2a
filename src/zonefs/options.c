/* SPDX-License-Identifier: BSD-2-Clause */
/* Mount options: one table drives the parsing. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "zonefsd/units.h"
#include "zonefsd/zonefs.h"

#define DEFAULT_APPEND_BUFFER	(UINT64_C(4) << 20)
#define DEFAULT_BUFFERS		(UINT64_C(64) << 20)
#define DEFAULT_FLUSH_INTERVAL	5u

void zonefs_opts_init(struct zonefs_opts *o)
{
	memset(o, 0, sizeof(*o));
	o->mounter_uid = getuid();
	o->mounter_gid = getgid();
	o->append_buffer = DEFAULT_APPEND_BUFFER;
	o->buffers = DEFAULT_BUFFERS;
	o->flush_interval = DEFAULT_FLUSH_INTERVAL;
}

static const char *const errors_names[] = {
	[ZONEFS_ERRORS_RO]	= "remount-ro",
	[ZONEFS_ERRORS_ZRO]	= "zone-ro",
	[ZONEFS_ERRORS_ZOL]	= "zone-offline",
	[ZONEFS_ERRORS_REPAIR]	= "repair",
};

static int parse_errors(void *field, const char *value)
{
	for (size_t i = 0; i < sizeof(errors_names) / sizeof(errors_names[0]); i++) {
		if (!strcmp(value, errors_names[i])) {
			*(enum zonefs_errors *)field = (enum zonefs_errors)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* uid and gid: the largest value means "no id" to the system. */
static int parse_id(void *field, const char *value)
{
	uint64_t v;
	int err = zu_parse_u64(value, UINT32_MAX - 1, &v);

	if (!err)
		*(uint32_t *)field = (uint32_t)v;
	return err;
}

static int parse_perm(void *field, const char *value)
{
	return zu_parse_octal(value, 0777, field);
}

static int parse_bytes(void *field, const char *value)
{
	return zu_parse_size(value, field);
}

static int parse_seconds(void *field, const char *value)
{
	uint64_t v;
	int err = zu_parse_u64(value, 24 * 3600, &v);

	if (!err)
		*(uint32_t *)field = (uint32_t)v;
	return err;
}

/*
 * A row without parse is a flag: the bool at `field` becomes `set`. With parse,
 * `given` (if not 0) is the offset of a bool that says the value was there.
 */
static const struct opt_row {
	const char	*name;
	size_t		field;
	size_t		given;
	int		(*parse)(void *field, const char *value);
	bool		set;
	const char	*takes;
} rows[] = {
#define F(member) offsetof(struct zonefs_opts, member)
	{ "errors",	     F(errors),		0, parse_errors, false,
	  "remount-ro, zone-ro, zone-offline or repair" },
	{ "explicit-open",   F(explicit_open),	0, NULL, true, NULL },
	{ "strict",	     F(strict),		0, NULL, true, NULL },
	{ "ro",		     F(read_only),	0, NULL, true, NULL },
	{ "rw",		     F(read_only),	0, NULL, false, NULL },
	{ "uid",	     F(uid),		F(has_uid), parse_id, false, "a user id" },
	{ "gid",	     F(gid),		F(has_gid), parse_id, false, "a group id" },
	{ "perm",	     F(perm),		F(has_perm), parse_perm, false,
	  "an octal number up to 777" },
	{ "append_buffer",   F(append_buffer),	0, parse_bytes, false, "a size" },
	{ "buffers",	     F(buffers),	0, parse_bytes, false, "a size" },
	{ "flush_interval",  F(flush_interval),	0, parse_seconds, false,
	  "seconds, up to 86400" },
	{ "no_passthrough",  F(no_passthrough),	0, NULL, true, NULL },
#undef F
};

static int apply_row(const struct opt_row *row, struct zonefs_opts *o, const char *opt,
		     const char *value, struct zerr *e)
{
	char *base = (char *)o;

	if (!row->parse) {
		if (value)
			return zerr_set(e, EINVAL, "option %s: takes no value", opt);
		*(bool *)(base + row->field) = row->set;
		return 0;
	}
	if (!value || row->parse(base + row->field, value))
		return zerr_set(e, EINVAL, "option %s: %s takes %s", opt, row->name, row->takes);
	if (row->given)
		*(bool *)(base + row->given) = true;
	return 0;
}

int zonefs_opts_apply(struct zonefs_opts *o, const char *opt, struct zerr *e)
{
	const char *eq = strchrnul(opt, '=');
	size_t len = (size_t)(eq - opt);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strlen(rows[i].name) == len && !memcmp(rows[i].name, opt, len))
			return apply_row(&rows[i], o, opt, *eq ? eq + 1 : NULL, e);
	}
	return -ENOENT;
}
