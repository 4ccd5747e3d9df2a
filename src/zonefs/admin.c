/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Zone commands by zone number. They take their turn among the writes of the
 * file, and leave its size and the counts as if its user had done the same.
 */
#include <errno.h>

#include "zonefs_i.h"

static struct zonefs_req *admin_end(struct zonefs_req *r)
{
	if (r->result >= 0)
		zonefs_attr_changed(r->fs, r->zone);
	return zonefs_req_finish(r, r->result < 0 ? r->result : 0);
}

static struct zonefs_req *opened_or_closed(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;

	if (r->io.result < 0)
		return zonefs_req_finish(r, r->io.result);
	zonefs_zone_lock(r->fs, z);
	if (r->op == ZONEFS_ADM_OPEN)
		z->flags |= ZF_ADM_OPEN;
	else
		z->flags &= ~(ZF_OPEN | ZF_ADM_OPEN);
	zonefs_zone_account(r->fs, z);
	zonefs_zone_unlock(r->fs, z);
	return zonefs_req_finish(r, 0);
}

static struct zonefs_req *admin_drained(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;

	if (atomic_load(&r->fs->read_only))
		return zonefs_req_finish(r, -EROFS);
	if (zonefs_zone_writable(z))
		return zonefs_req_finish(r, -EPERM);
	switch (r->op) {
	case ZONEFS_ADM_RESET:
		return zonefs_reset(r, admin_end);
	case ZONEFS_ADM_FINISH:
		return zonefs_finish(r, admin_end);
	case ZONEFS_ADM_OPEN:
		return zonefs_req_io(r, ZDEV_OPEN, z->zno, 0, 0, opened_or_closed);
	case ZONEFS_ADM_CLOSE:
		return zonefs_req_io(r, ZDEV_CLOSE, z->zno, 0, 0, opened_or_closed);
	default:
		return zonefs_seal(r, admin_end);
	}
}

static struct zonefs_req *admin_turn(struct zonefs_req *r)
{
	return zonefs_drain(r, admin_drained);
}

/* The file of a zone that takes commands, or why there is none. */
static int admin_check(struct zonefs *fs, uint32_t zno, struct zonefs_zone **z)
{
	if (zno >= fs->info->nr_zones)
		return -EINVAL;
	*z = zonefs_zone_by_zno(fs, zno);
	if (!*z)
		return -EPERM;
	return zone_is_seq(*z) ? 0 : -EIO;
}

void zonefs_admin(struct zonefs *fs, enum zonefs_admin op, uint32_t zno,
		  struct zonefs_req *r)
{
	struct zonefs_zone *z = NULL;
	int err = admin_check(fs, zno, &z);

	zonefs_req_begin(fs, z, NULL, r);
	r->op = (uint8_t)op;
	if (!err)
		err = zonefs_zone_get(fs, z);
	r->pinned = !err;
	r = err ? zonefs_req_finish(r, err) : zonefs_req_queue(r, admin_turn);
	zonefs_req_run(r);
}
