/* SPDX-License-Identifier: BSD-2-Clause */
/* One line on the terminal that shows how far a long command has come. */
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "zonefsd/clock.h"

void progress_start(struct progress *p, const char *what)
{
	p->what = what;
	p->tty = isatty(STDERR_FILENO);
	p->shown = false;
	p->last = zclock_now();
}

void progress_update(void *ctx, uint32_t done, uint32_t all)
{
	struct progress *p = ctx;

	if (!p->tty || zclock_now() - p->last < (p->shown ? 200 : 1000) * ZCLOCK_MS)
		return;
	fprintf(stderr, "\r%s: %u of %u zones, %u%%\033[K", p->what, done, all,
		all ? (unsigned)(done * UINT64_C(100) / all) : 100);
	p->shown = true;
	p->last = zclock_now();
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
