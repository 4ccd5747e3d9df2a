/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The option string of the kernel's zloop control file, with the kernel's
 * defaults and limits (rule L2).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "zonefsd/units.h"

#define DEFAULT_BASE	"/var/local/zloop"

/* One number of the string. */
struct number {
	const char	*name;
	uint64_t	min, max;
	uint64_t	*value;
};

struct strings {
	uint64_t capacity_mb, zone_size_mb, zone_capacity_mb, conv_zones, max_open_zones;
	uint64_t nr_queues, queue_depth, zone_append, id;
	bool	have_id, ordered;
	char	*base_dir;
};

static int bad(const struct args *a, const char *name, const char *value)
{
	return usage_error(a, "-o %s: '%s' is not a number", name, value);
}

static int set_number(const struct args *a, const struct number *n, const char *value)
{
	uint64_t v;
	int ret;

	ret = zu_parse_u64(value, UINT64_MAX, &v);
	if (ret == -EINVAL)
		return bad(a, n->name, value);
	if (ret || v < n->min || v > n->max)
		return fail("-o %s: %s is out of range, %llu to %llu", n->name, value,
			    (unsigned long long)n->min, (unsigned long long)n->max);
	*n->value = v;
	return 0;
}

/* Negative: the lowest free one. */
static int set_id(const struct args *a, const char *value, struct strings *s)
{
	uint64_t v;
	int ret;

	ret = zu_parse_u64(value + (*value == '-'), INT32_MAX, &v);
	if (ret == -EINVAL)
		return bad(a, "id", value);
	if (ret)
		return fail("-o id: %s is too large", value);
	s->have_id = *value != '-';
	s->id = v;
	return 0;
}

static void note(struct zloop_params *p, const char *name)
{
	size_t len = strlen(p->noted);

	snprintf(p->noted + len, sizeof(p->noted) - len, "%s%s", len ? ", " : "", name);
}

static int set_flag(const char *name, struct strings *s, struct zloop_params *p)
{
	if (!strcmp(name, "discard_write_cache"))
		p->discard_write_cache = true;
	else if (!strcmp(name, "buffered_io"))
		note(p, name);
	else if (!strcmp(name, "ordered_zone_append"))
		s->ordered = true;
	else
		return -ENOENT;
	return 0;
}

static int set_option(const struct args *a, const char *name, const char *value,
		      struct strings *s, struct zloop_params *p)
{
	const struct number numbers[] = {
		{ "capacity_mb", 1, ZDEV_MAX_SIZE >> 20, &s->capacity_mb },
		{ "zone_size_mb", 1, 16384, &s->zone_size_mb },
		{ "zone_capacity_mb", 1, 16384, &s->zone_capacity_mb },
		{ "conv_zones", 0, ZDEV_MAX_ZONES, &s->conv_zones },
		{ "max_open_zones", 0, ZDEV_MAX_ZONES, &s->max_open_zones },
		{ "nr_queues", 1, UINT32_MAX, &s->nr_queues },
		{ "queue_depth", 1, UINT32_MAX, &s->queue_depth },
		{ "zone_append", 0, 1, &s->zone_append },
	};
	size_t i;

	if (!value) {
		if (!set_flag(name, s, p))
			return 0;
		return usage_error(a, "-o %s: not a zloop option, or it needs a value", name);
	}
	if (!strcmp(name, "id"))
		return set_id(a, value, s);
	if (!strcmp(name, "base_dir")) {
		free(s->base_dir);
		s->base_dir = strdup(value);
		if (!s->base_dir)
			return fail("-o base_dir: %s", strerror(ENOMEM));
		return *value ? 0 : usage_error(a, "-o base_dir: empty");
	}
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(name, numbers[i].name))
			continue;
		if (i > 4)	/* how the kernel queues requests */
			note(p, name);
		return set_number(a, &numbers[i], value);
	}
	return usage_error(a, "-o %s: not a zloop option, or it takes no value", name);
}

static int parse_list(const struct args *a, const char *text, struct strings *s,
		      struct zloop_params *p)
{
	char *copy = strdup(text), *rest = copy, *word, *value;
	int ret = copy ? 0 : fail("-o: %s", strerror(ENOMEM));

	while (!ret && (word = strsep(&rest, ","))) {
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (*word || value)
			ret = set_option(a, word, value, s, p);
	}
	free(copy);
	return ret;
}

static int fill_geometry(const struct strings *s, struct zdev_geometry *g)
{
	struct zerr e;
	int ret;

	if (!zu_is_pow2(s->zone_size_mb))
		return fail("-o zone_size_mb: %llu is not a power of two",
			    (unsigned long long)s->zone_size_mb);
	if (s->capacity_mb <= s->zone_size_mb)
		return fail("-o capacity_mb: %llu is not more than the zone size",
			    (unsigned long long)s->capacity_mb);
	if (s->capacity_mb / s->zone_size_mb > ZDEV_MAX_ZONES)
		return fail("-o capacity_mb: more than %u zones", ZDEV_MAX_ZONES);
	if (s->ordered && !s->zone_append)
		return fail("-o ordered_zone_append: needs zone_append=1");
	*g = (struct zdev_geometry){
		.block_size = 4096,
		.zone_size = s->zone_size_mb << 20,
		.zone_capacity = (s->zone_capacity_mb ? s->zone_capacity_mb :
				  s->zone_size_mb) << 20,
		/* Down, as the kernel does, so that it finds the same device. */
		.nr_zones = s->capacity_mb / s->zone_size_mb,
		.nr_conv = s->conv_zones,
		.max_open = s->max_open_zones,
	};
	ret = zdev_geometry_check(g, &e);
	return ret ? fail("-o: %s", e.msg) : 0;
}

/* BASE/ID; without an id the lowest one whose directory is not there. */
static int make_path(const struct strings *s, struct zloop_params *p)
{
	struct stat st;
	uint64_t id = s->have_id ? s->id : 0;

	p->base = strdup(s->base_dir ? s->base_dir : DEFAULT_BASE);
	if (!p->base)
		return fail("-o base_dir: %s", strerror(ENOMEM));
	for (;; id++) {
		if (asprintf(&p->path, "%s/%llu", p->base, (unsigned long long)id) < 0) {
			p->path = NULL;
			return fail("-o base_dir: %s", strerror(ENOMEM));
		}
		if (s->have_id || lstat(p->path, &st))
			return 0;
		free(p->path);
	}
}

int zloop_parse(const struct args *a, const char *text, struct zloop_params *p)
{
	struct strings s = {
		.capacity_mb = 16384, .zone_size_mb = 256, .conv_zones = 8, .zone_append = 1,
	};
	int ret;

	memset(p, 0, sizeof(*p));
	ret = parse_list(a, text, &s, p);
	if (!ret)
		ret = fill_geometry(&s, &p->geometry);
	if (!ret && s.ordered)
		note(p, "ordered_zone_append");
	if (!ret)
		ret = make_path(&s, p);
	free(s.base_dir);
	if (ret)
		zloop_free(p);
	return ret;
}

void zloop_free(struct zloop_params *p)
{
	free(p->path);
	free(p->base);
	p->path = p->base = NULL;
}
