/* SPDX-License-Identifier: BSD-2-Clause */
/* check: the format of the block view. */
#include <errno.h>

#include "cli.h"

struct to_problem {
	dmz_problem	problem;
	void		*ctx;
};

static void found(void *ctx, enum dmz_severity sev, const char *text)
{
	struct to_problem *to = ctx;

	to->problem(to->ctx, sev, text);
}

int check_dmzoned(const char *const *paths, uint32_t nr, bool repair, dmz_problem problem,
		  void *ctx, struct zerr *e)
{
	struct to_problem to = { problem, ctx };
	struct dmz_check_opts opts = { .repair = repair, .found = found, .ctx = &to };
	struct dmz_check_result res;
	struct dmz_devs *devs;
	int ret, err;

	ret = dmz_open(paths, nr, repair, &devs, e);
	if (ret)
		return ret;
	ret = dmz_check(devs, &opts, &res, e);
	/* A mount does it as well, but not the kernel, which then loses data (R13). */
	if (!ret && res.needs_sync)
		problem(ctx, DMZ_ERROR, "the metadata sets must be made the same before the kernel "
			"uses this disk: repair it, or mount it once");
	err = dmz_devs_close(devs);
	return ret || !err ? ret : zerr_errno(e, -err, "%s", paths[0]);
}
