/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zone map: a grid of cells, each for one zone or for a group of zones of
 * the same number, sized so that the whole device fits the terminal.
 *
 * A cell shows the most notable condition among its zones by colour (by letter
 * without colour) and how full they are on average by its glyph.
 */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "zonefsd/units.h"

#define FRAME_LINES	5	/* title, blank, two of legend, the prompt after it */
#define MIN_CELLS	10

/* What a cell can say, the most notable last. */
enum look { CONV, EMPTY, FULL, CLOSED, IMP_OPEN, EXP_OPEN, READ_ONLY, OFFLINE, NR_LOOKS };

static const struct {
	const char	*name;
	const char	*colour;	/* SGR parameters */
	char		letter;		/* without colour; 0: a digit, tenths filled */
} looks[NR_LOOKS] = {
	[CONV] = { "conventional", "34", 'c' },
	[EMPTY] = { "empty", "90", '.' },
	[FULL] = { "full", "32", '#' },
	[CLOSED] = { "closed", "36", 0 },
	[IMP_OPEN] = { "implicitly open", "33", 'i' },
	[EXP_OPEN] = { "explicitly open", "93", 'o' },
	[READ_ONLY] = { "read-only", "35", 'R' },
	[OFFLINE] = { "offline", "31", 'X' },
};

struct zone_map {
	uint32_t	nr_zones;
	uint32_t	added;
	uint32_t	counts[NR_LOOKS];
	struct {
		uint8_t	look;
		uint8_t	fill;	/* 0 .. 255; partly written is neither 0 nor 255 */
	} zones[];
};

/* How to draw: decided once a map. */
struct style {
	bool		colour, utf8;
	unsigned	columns, lines;
};

struct grid {
	uint32_t	group;		/* zones a cell */
	uint32_t	per_row;	/* cells a row */
	int		label;		/* width of the zone numbers */
};

struct zone_map *zone_map_new(uint32_t nr_zones)
{
	struct zone_map *map;

	map = calloc(1, sizeof(*map) + nr_zones * sizeof(map->zones[0]));
	if (map)
		map->nr_zones = nr_zones;
	return map;
}

void zone_map_free(struct zone_map *map)
{
	free(map);
}

static enum look look_of(const struct zdev_zone *z)
{
	switch (z->cond) {
	case BLK_ZONE_COND_OFFLINE:
		return OFFLINE;
	case BLK_ZONE_COND_READONLY:
		return READ_ONLY;
	case BLK_ZONE_COND_EXP_OPEN:
		return EXP_OPEN;
	case BLK_ZONE_COND_IMP_OPEN:
		return IMP_OPEN;
	case BLK_ZONE_COND_CLOSED:
		return CLOSED;
	case BLK_ZONE_COND_FULL:
		return FULL;
	case BLK_ZONE_COND_EMPTY:
		return EMPTY;
	}
	return CONV;
}

static uint8_t fill_of(const struct zdev_zone *z)
{
	uint8_t part;

	if (z->wp == ZDEV_WP_NONE || !z->wp || !z->capacity)
		return 0;
	if (z->wp >= z->capacity)
		return 255;
	/* Zones are at most 2^40 bytes: no overflow. */
	part = z->wp * 255 / z->capacity;
	return part ? part : 1;
}

int zone_map_add(void *ctx, uint32_t zno, const struct zdev_zone *z)
{
	struct zone_map *map = ctx;
	enum look look = look_of(z);

	map->zones[map->added].look = look;
	map->zones[map->added++].fill = fill_of(z);
	map->counts[look]++;
	return 0;
}

static unsigned env_number(const char *name, unsigned fallback)
{
	const char *text = getenv(name);
	uint64_t v;

	return text && !zu_parse_u64(text, 10000, &v) && v ? v : fallback;
}

static struct style choose_style(void)
{
	struct style s = { .columns = 80, .lines = 24 };
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	bool tty = isatty(STDOUT_FILENO);
	struct winsize ws;

	if (tty && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_col && ws.ws_row) {
		s.columns = ws.ws_col;
		s.lines = ws.ws_row;
	} else {
		s.columns = env_number("COLUMNS", s.columns);
		s.lines = env_number("LINES", s.lines);
	}
	s.colour = tty && !(no_colour && *no_colour) && term && strcmp(term, "dumb");
	setlocale(LC_CTYPE, "");
	s.utf8 = s.colour && !strcmp(nl_langinfo(CODESET), "UTF-8");
	return s;
}

static int digits(uint32_t v)
{
	int n = 1;

	for (; v >= 10; v /= 10)
		n++;
	return n;
}

static struct grid choose_grid(const struct style *s, uint32_t nr, uint32_t last)
{
	struct grid g = { .label = digits(last) };
	uint32_t room, rows;

	room = s->columns > g.label + 1u + MIN_CELLS ? s->columns - g.label - 1 : MIN_CELLS;
	g.per_row = room - room % 10;
	rows = s->lines > FRAME_LINES + 1 ? s->lines - FRAME_LINES : 1;
	g.group = (nr + (uint64_t)rows * g.per_row - 1) / ((uint64_t)rows * g.per_row);
	if (!g.group)
		g.group = 1;
	return g;
}

/* Eighths, one at least where something is written, eight only when all is. */
static unsigned eighths(unsigned fill)
{
	return fill == 255 ? 8 : fill ? 1 + fill * 7 / 256 : 0;
}

static void put_glyph(const struct style *s, enum look look, unsigned fill)
{
	static const char *const bars[9] = {
		"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█",
	};
	char letter = looks[look].letter;

	if (!s->utf8 || look == READ_ONLY || look == OFFLINE)
		putchar(letter ? letter : (int)('0' + fill * 10 / 256));
	else if (look == CONV)
		fputs("▒", stdout);
	else
		fputs(bars[eighths(fill)], stdout);
}

/* The group of zones from zno on as one cell. *colour: what is set by now. */
static void put_cell(const struct zone_map *map, const struct style *s, uint32_t zno,
		     uint32_t nr, enum look *colour)
{
	uint64_t fill = 0;
	uint32_t i, nr_seq = 0, nr_full = 0;
	enum look look = CONV, this;

	for (i = zno; i < zno + nr; i++) {
		this = map->zones[i].look;
		if (this > look)
			look = this;
		nr_full += this == FULL;
		nr_seq += this != CONV;
		fill += map->zones[i].fill;
	}
	if (nr_seq)
		fill /= nr_seq;
	/* Empty and full ones in one cell are neither. */
	if (look == FULL && nr_full < nr_seq)
		look = CLOSED;
	if (s->colour && look != *colour)
		printf("\033[%sm", looks[look].colour);
	*colour = look;
	put_glyph(s, look, fill);
}

static void put_rows(const struct zone_map *map, const struct style *s,
		     const struct grid *g, uint32_t first)
{
	uint32_t zno, cell, nr;
	enum look colour;

	for (zno = 0; zno < map->nr_zones;) {
		printf("%*u ", g->label, first + zno);
		colour = NR_LOOKS;
		for (cell = 0; cell < g->per_row && zno < map->nr_zones; cell++) {
			nr = map->nr_zones - zno;
			if (nr > g->group)
				nr = g->group;
			put_cell(map, s, zno, nr, &colour);
			zno += nr;
		}
		puts(s->colour ? "\033[0m" : "");
	}
}

/* Only what occurs, with its number of zones; broken to the terminal's width. */
static void put_legend(const struct zone_map *map, const struct style *s, bool groups)
{
	unsigned column = 0;
	const char *name;
	int len, look;

	for (look = 0; look < NR_LOOKS; look++) {
		/* A group of empty and full zones is drawn as a closed one. */
		if (!map->counts[look] && !(look == CLOSED && groups))
			continue;
		name = look == CLOSED && groups ? "closed or mixed" : looks[look].name;
		len = strlen(name) + digits(map->counts[look]) + 5;
		if (column && column + len > s->columns) {
			putchar('\n');
			column = 0;
		}
		if (s->colour)
			printf("\033[%sm", looks[look].colour);
		if (look == CLOSED && !s->utf8)
			fputs("0-9", stdout);
		else
			put_glyph(s, look, look == FULL ? 255 : look == EMPTY ? 0 : 128);
		printf("%s %s %u  ", s->colour ? "\033[0m" : "", name, map->counts[look]);
		column += len + (look == CLOSED && !s->utf8 ? 2 : 0);
	}
	putchar('\n');
}

void zone_map_print(const struct zone_map *map, const char *name, uint64_t zone_size,
		    uint32_t first)
{
	struct style s = choose_style();
	struct grid g = choose_grid(&s, map->nr_zones, first + map->nr_zones);
	char size[16];

	/* The name may be hostile, and must not scroll the map away. */
	for (; *name; name++)
		putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
	printf(": %u zones of %s", map->nr_zones, zu_format_size(zone_size, size, sizeof(size)));
	if (g.group > 1)
		printf(", %u zones a cell", g.group);
	printf("\n\n");
	put_rows(map, &s, &g, first);
	put_legend(map, &s, g.group > 1);
}
