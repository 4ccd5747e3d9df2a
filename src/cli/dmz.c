/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands share about devices in the format of the block view. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "cli.h"

const char *const *dmz_operands(struct args *a, const char *what, uint32_t *nr)
{
	int i, left = args_left(a);

	for (i = 0; i < left && a->argv[a->next + i][0]; i++)
		;
	if (!left || i < left)
		a->status = usage_error(a, "%s: no %s given", a->cmd->name, what);
	else if (left > DMZ_MAX_DEVS)
		a->status = usage_error(a, "%s: at most %d devices", a->cmd->name, DMZ_MAX_DEVS);
	else
		*nr = (uint32_t)left;
	return !left || i < left || left > DMZ_MAX_DEVS ? NULL :
	       (const char *const *)(a->argv + a->next);
}

/* Is paths[i] one of those before it? */
static bool is_named_before(const char *const *paths, uint32_t i)
{
	struct stat st, other;
	uint32_t j;

	if (stat(paths[i], &st))
		return false;
	for (j = 0; j < i; j++)
		if (!stat(paths[j], &other) && st.st_dev == other.st_dev &&
		    st.st_ino == other.st_ino)
			return true;
	return false;
}

int dmz_open(const char *const *paths, uint32_t nr, bool write, struct dmz_devs **devs,
	     struct zerr *e)
{
	struct zdev_open_opts opts = { .read_only = !write, .wait_ms = HOLDER_WAIT_MS };
	uint32_t i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++)
		ret = is_named_before(paths, i) ?
		      zerr_set(e, EBUSY, "%s: is named twice", paths[i]) :
		      target_unmounted(paths[i], e);
	return ret ? ret : dmz_devs_open(paths, nr, &opts, devs, e);
}

void put_dmz_status(FILE *f, const struct dmz_status *st)
{
	const struct dmz_super *sb = &st->super;
	int i;

	fprintf(f, "format_version %" PRIu32 "\ngeneration %" PRIu64 "\ndisk_size %" PRIu64
		"\nnr_chunks %" PRIu32 "\nnr_reserved %" PRIu32 "\n", sb->version, sb->gen,
		st->size, sb->nr_chunks, sb->nr_reserved_seq);
	for (i = 0; i < 2; i++) {
		fprintf(f, "metadata_set_%d ", i);
		if (!st->set[i].good)
			fprintf(f, "bad: %s\n", st->set[i].why);
		else
			fprintf(f, "generation %" PRIu64 "%s\n", st->set[i].gen,
				i == st->winner ? ", wins" : "");
	}
	fprintf(f, "needs_sync %d\n", st->needs_sync);
}
