/* SPDX-License-Identifier: BSD-2-Clause */
/* One line on the terminal that shows how far a long command has come. */
#include <stdio.h>
#include <unistd.h>

#include "cli.h"

static double seconds_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - t->tv_sec) + (now.tv_nsec - t->tv_nsec) / 1e9;
}

void progress_start(struct progress *p, const char *what)
{
	p->what = what;
	p->tty = isatty(STDERR_FILENO);
	p->shown = false;
	clock_gettime(CLOCK_MONOTONIC, &p->last);
}

void progress_update(void *ctx, uint32_t done, uint32_t all)
{
	struct progress *p = ctx;

	if (!p->tty || seconds_since(&p->last) < (p->shown ? 0.2 : 1.0))
		return;
	fprintf(stderr, "\r%s: %u of %u zones, %u%%\033[K", p->what, done, all,
		all ? (unsigned)(done * UINT64_C(100) / all) : 100);
	p->shown = true;
	clock_gettime(CLOCK_MONOTONIC, &p->last);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
