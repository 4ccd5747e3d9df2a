/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading options from a command's table, and the lines that say what is wrong. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "zonefsd/units.h"

#define MAX_OPTS	24

static const struct opt common_opts[] = {
	{ 'h', "help", NULL, "show this help" },
	{ 'V', "version", NULL, "show the version" },
	OPT_END
};

static void print_line(const struct zerr *e)
{
	fflush(stdout);
	fprintf(stderr, PROGRAM ": %s\n", e->msg);
}

/* Through a zerr, because it is what replaces control characters. */
static void vprint(const char *fmt, va_list ap, const char *tail)
	__attribute__((format(printf, 1, 0)));
static void vprint(const char *fmt, va_list ap, const char *tail)
{
	char text[sizeof(((struct zerr *)0)->msg)];
	struct zerr e;

	vsnprintf(text, sizeof(text), fmt, ap);
	zerr_set(&e, EINVAL, "%s%s", text, tail);
	print_line(&e);
}

int fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap, "");
	va_end(ap);
	return EXIT_FAILED;
}

int fail_zerr(const struct zerr *e, const char *subject, int err)
{
	if (e->msg[0]) {
		print_line(e);
		return EXIT_FAILED;
	}
	return fail("%s: %s", subject, strerror(-err));
}

int usage_error(const struct args *a, const char *fmt, ...)
{
	char tail[64] = "";
	va_list ap;

	snprintf(tail, sizeof(tail), " (see '" PROGRAM " %s --help')", a->cmd->name);
	va_start(ap, fmt);
	vprint(fmt, ap, tail);
	va_end(ap);
	return EXIT_USAGE;
}

void say(const char *fmt, ...)
{
	va_list ap;
	char *line, *c;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	for (c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	puts(line);
	free(line);
}

int finish_output(int status)
{
	if (fflush(stdout))
		return fail("standard output: %s", strerror(errno));
	/* An earlier write failed; its errno is gone. */
	if (ferror(stdout))
		return fail("standard output: write error");
	return status;
}

static void print_opts(const struct opt *o)
{
	char left[64];

	for (; o->key; o++) {
		if (o->key >= OPT_LONG)
			snprintf(left, sizeof(left), "    --%s%s%s", o->name,
				 o->arg ? " " : "", o->arg ? o->arg : "");
		else
			snprintf(left, sizeof(left), "-%c%s%s%s%s", o->key,
				 o->name ? ", --" : "", o->name ? o->name : "",
				 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-26s %s\n", left, o->help);
	}
}

void print_usage(const struct cmd *cmd)
{
	printf("Usage: " PROGRAM " %s %s\n\n%c%s.\n\nOptions:\n", cmd->name, cmd->synopsis,
	       cmd->summary[0] - 'a' + 'A', cmd->summary + 1);
	print_opts(cmd->opts);
	print_opts(common_opts);
	if (cmd->notes)
		printf("\n%s", cmd->notes);
}

static const struct opt *find_key(const struct opt *o, int key)
{
	for (; o->key; o++)
		if (o->key == key)
			return o;
	return NULL;
}

struct getopt_tables {
	char		letters[3 * MAX_OPTS];
	struct option	longs[MAX_OPTS + 1];
};

static void add_opts(struct getopt_tables *t, int *nr, const struct opt *o)
{
	char *p = t->letters + strlen(t->letters);

	for (; o->key && *nr < MAX_OPTS; o++) {
		if (o->key < OPT_LONG) {
			*p++ = o->key;
			if (o->arg)
				*p++ = ':';
		}
		if (o->name)
			t->longs[(*nr)++] = (struct option){
				.name = o->name,
				.has_arg = o->arg ? required_argument : no_argument,
				.val = o->key,
			};
	}
	*p = '\0';
}

/* How an option is called in messages. */
static const char *opt_label(const struct opt *o, char buf[40])
{
	if (o->name)
		snprintf(buf, 40, "--%s", o->name);
	else
		snprintf(buf, 40, "-%c", o->key);
	return buf;
}

static int bad_option(struct args *a, int c)
{
	const struct opt *o = NULL;
	char label[40];

	if (optopt) {
		o = find_key(a->cmd->opts, optopt);
		if (!o)
			o = find_key(common_opts, optopt);
	}
	if (o)
		a->status = usage_error(a, "%s: %s", opt_label(o, label),
					c == ':' ? "needs a value" : "takes no value");
	else if (optopt)
		a->status = usage_error(a, "-%c: unknown option", optopt);
	else
		a->status = usage_error(a, "%s: unknown option", a->argv[optind - 1]);
	return -1;
}

int args_next(struct args *a)
{
	struct getopt_tables t = { .letters = "" };
	int c, nr = 0;

	/* ':' first: a missing value is told apart from an unknown option. */
	strcpy(t.letters, a->operands_only ? "+:" : ":");
	add_opts(&t, &nr, a->cmd->opts);
	add_opts(&t, &nr, common_opts);
	opterr = 0;
	a->value = NULL;
	c = getopt_long(a->argc, a->argv, t.letters, t.longs, NULL);
	a->next = optind;
	switch (c) {
	case -1:
		return 0;
	case '?':
	case ':':
		return bad_option(a, c);
	case 'h':
		print_usage(a->cmd);
		a->status = finish_output(EXIT_DONE);
		return -1;
	case 'V':
		puts(PROGRAM " " ZONEFSD_VERSION);
		a->status = finish_output(EXIT_DONE);
		return -1;
	}
	a->value = optarg;
	a->opt = find_key(a->cmd->opts, c);
	return c;
}

int args_left(const struct args *a)
{
	return a->argc - a->next;
}

const char *args_operand(struct args *a, const char *what)
{
	if (args_left(a) == 1 && a->argv[a->next][0])
		return a->argv[a->next];
	if (args_left(a) > 1)
		a->status = usage_error(a, "%s: one %s at a time", a->argv[a->next + 1], what);
	else
		a->status = usage_error(a, "%s: no %s given", a->cmd->name, what);
	return NULL;
}

static int bad_value(const struct args *a, int err, const char *expected)
{
	char label[40];

	opt_label(a->opt, label);
	if (err == -ERANGE)
		return fail("%s: %s is too large", label, a->value);
	return usage_error(a, "%s: '%s' is not %s", label, a->value, expected);
}

int args_size(struct args *a, uint64_t *bytes)
{
	int ret = zu_parse_size(a->value, bytes);

	return ret ? bad_value(a, ret, "a size") : 0;
}

int args_u32(struct args *a, uint32_t *value)
{
	uint64_t v;
	int ret = zu_parse_u64(a->value, UINT32_MAX, &v);

	if (ret)
		return bad_value(a, ret, "a number");
	*value = v;
	return 0;
}

int args_range(struct args *a, struct zone_range *r)
{
	char first[16];
	const char *dash = strchr(a->value, '-');
	size_t len = dash ? (size_t)(dash - a->value) : strlen(a->value);
	uint64_t lo, hi;
	int ret;

	if (len >= sizeof(first))
		return bad_value(a, -EINVAL, "a zone or a range of zones");
	memcpy(first, a->value, len);
	first[len] = '\0';
	ret = zu_parse_u64(first, UINT32_MAX, &lo);
	hi = lo;
	if (!ret && dash)
		ret = zu_parse_u64(dash + 1, UINT32_MAX, &hi);
	if (ret)
		return bad_value(a, ret, "a zone or a range of zones");
	if (hi < lo)
		return usage_error(a, "--zones: the range '%s' ends before it begins", a->value);
	r->first = lo;
	r->last = hi;
	return 0;
}
