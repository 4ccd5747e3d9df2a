/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes in the default personality: what a user of the shell expects. The
 * rules are D1 to D5 of docs/zonefs-rules.md.
 */
#include <errno.h>
#include <fcntl.h>

#include "zonefs_i.h"

int zonefs_write_check_any(struct zonefs_req *r)
{
	struct zonefs_zone *z = r->zone;
	uint64_t room;

	if (zonefs_zone_writable(z))
		return -EPERM;
	if (atomic_load(&r->fs->read_only))
		return -EROFS;
	if (!r->asked)
		return 0;
	/* The client's idea of the end may be old. */
	if (r->flags & O_APPEND)
		r->pos = z->size;
	if (r->pos >= z->capacity)
		return -EFBIG;
	if (zone_is_seq(z) && r->pos < z->size)
		return -EINVAL;
	/* Bytes between were acknowledged and then lost: no zeros in their place. */
	if (zone_is_seq(z) && r->pos > z->size && r->pos <= r->file->lost_end)
		return z->act->late_err;
	room = z->capacity - r->pos;
	r->len = r->asked < room ? r->asked : room;
	return 1;
}
