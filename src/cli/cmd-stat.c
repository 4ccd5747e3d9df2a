/* SPDX-License-Identifier: BSD-2-Clause */
/* stat: the counters of a mounted file system, once or every second. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "zonefsd/units.h"

enum { JSON = OPT_LONG, WATCH };

static const struct opt stat_opts[] = {
	{ JSON, "json", NULL, "JSON for programs" },
	{ WATCH, "watch", NULL, "show them again every second, with rates, until the mount is gone" },
	OPT_END
};

/* One line of the stats file, cut in place. */
struct counter {
	const char	*name;
	const char	*text;		/* the value as it stands there */
	bool		is_number;
	uint64_t	value;		/* if it is one */
};

/* Take the next "name value" line off *text; false at the end. */
static bool next_counter(char **text, struct counter *c)
{
	char *line, *value;

	while ((line = strsep(text, "\n"))) {
		value = strchr(line, ' ');
		if (!value)
			continue;
		*value++ = '\0';
		c->name = line;
		c->text = value;
		c->is_number = !zu_parse_u64(value, UINT64_MAX, &c->value);
		return true;
	}
	return false;
}

/* The length of the longest name. */
static int name_width(const char *text)
{
	size_t width = 18, len;

	for (; *text; text += *text == '\n') {
		len = strcspn(text, " \n");
		width = len > width ? len : width;
		text += strcspn(text, "\n");
	}
	return width;
}

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= n && !strcmp(s + len - n, end);
}

static const char *people_value(const struct counter *c, uint64_t v, char *buf, size_t len)
{
	if (ends_with(c->name, "_bytes"))
		return zu_format_size(v, buf, len);
	snprintf(buf, len, "%" PRIu64, v);
	return buf;
}

/* What an earlier text had for this counter; the value itself if nothing. */
static uint64_t earlier(const char *before, const struct counter *c)
{
	char text[24];
	uint64_t v;

	if (!before || mounted_value(before, c->name, text, sizeof(text)) ||
	    zu_parse_u64(text, UINT64_MAX, &v))
		return c->value;
	return v;
}

/* text is cut up; before is the text of a second ago, or NULL. */
static void print_stats(char *text, const char *before)
{
	char value[24], rate[24];
	int width = name_width(text);
	struct counter c;
	uint64_t old;

	while (next_counter(&text, &c)) {
		if (!c.is_number) {	/* a line for itself, as dmsetup prints it */
			say("%s", c.text);
			continue;
		}
		printf("%-*s %12s", width, c.name, people_value(&c, c.value, value, sizeof(value)));
		old = earlier(before, &c);
		if (c.value > old)
			printf("  %10s/s", people_value(&c, c.value - old, rate, sizeof(rate)));
		putchar('\n');
	}
}

static json_t *json_counter(const struct counter *c)
{
	if (!c->is_number)
		return json_string(c->text) ?: json_null();
	return !strcmp(c->name, "read_only") ? json_boolean(c->value) : json_integer(c->value);
}

static void print_json(const struct target *t, char *text)
{
	json_t *root = json_object(), *stats = json_object();
	struct counter c;

	/* A path need not be UTF-8. */
	json_object_set_new(root, "device", json_string(t->mounted.device) ?: json_null());
	json_object_set_new(root, "mountpoint",
			    json_string(t->mounted.mountpoint) ?: json_null());
	while (next_counter(&text, &c))
		json_object_set_new(stats, c.name, json_counter(&c));
	json_object_set_new(root, "stats", stats);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

/* *text: the counters as they are now. 0 or -errno. */
static int show(const struct target *t, bool json, const char *before, char **text)
{
	char *copy;
	int ret;

	ret = mounted_read(t->mounted.mountpoint, "stats", text);
	if (ret)
		return ret;
	copy = strdup(*text);
	if (!copy) {
		free(*text);
		*text = NULL;
		return -ENOMEM;
	}
	if (before && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	else if (before)
		putchar('\n');
	if (json)
		print_json(t, copy);
	else
		print_stats(copy, before);
	free(copy);
	return finish_output(0) ? -EIO : 0;
}

static int watch(const struct target *t, bool json)
{
	const struct timespec second = { .tv_sec = 1 };
	char *before = NULL, *text = NULL;
	int ret;

	/* Nothing is kept open in between: the mount can be unmounted. */
	while (!(ret = show(t, json, before, &text))) {
		free(before);
		before = text;
		nanosleep(&second, NULL);
	}
	if (ret == -ENOENT && before) {
		fail("%s: no longer mounted", t->name);
		ret = 0;
	} else if (!ferror(stdout)) {
		ret = fail("%s: %s", t->name, strerror(-ret));
	}
	free(before);
	return ret ? EXIT_FAILED : 0;
}

static int run_stat(struct args *a)
{
	bool json = false, again = false;
	struct mounted m;
	struct target t;
	const char *path;
	char *text;
	int c, ret;

	while ((c = args_next(a)) > 0) {
		json |= c == JSON;
		again |= c == WATCH;
	}
	path = c < 0 ? NULL : args_operand(a, "MNT");
	if (!path)
		return a->status;
	ret = mounted_find(path, &m);
	if (ret != 1)
		return fail("%s: %s", path, ret ? strerror(-ret) : access(path, F_OK) ?
			    strerror(errno) : "not a mount of zonefsd");
	mounted_free(&m);
	ret = target_open(path, &t);
	if (ret)
		return ret;
	if (t.dev) {	/* what mounted_find found is dead */
		ret = fail("%s: its daemon is gone", path);
	} else if (again) {
		ret = watch(&t, json);
	} else {
		ret = show(&t, json, NULL, &text);
		if (!ret)
			free(text);
		else if (!ferror(stdout))
			ret = fail("%s: %s", path, strerror(-ret));
	}
	return target_close(&t, ret ? EXIT_FAILED : 0);
}

const struct cmd cmd_stat = {
	.name = "stat",
	.synopsis = "[--json] [--watch] MNT",
	.summary = "show the counters of a mounted file system",
	.opts = stat_opts,
	.run = run_stat,
};
