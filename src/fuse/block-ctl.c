/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control files and commands of the format dm-zoned (docs/control.md). Commands
 * run on ctl.c's threads and may wait for the devices.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl_i.h"
#include "disk.h"

/* ---- texts ---- */

/* Those behind the regular one, for readers that take one value a name. */
static void put_zoned(struct mnt *m, FILE *out)
{
	char *list = NULL;
	size_t len;
	FILE *f = open_memstream(&list, &len);
	uint32_t i;

	if (!f)
		return;
	for (i = 1; i < m->nr_devs; i++)
		fprintf(f, "%s%s", i > 1 ? " " : "", zdev_info(m->devs[i])->path);
	if (!fclose(f))
		ctl_put_text(out, "zoned_devices", list);
	free(list);
}

static int text_info(struct mnt *m, FILE *out)
{
	const struct dmz_super *sb = block_super(m->disk->b);
	bool ro = block_is_readonly(m->disk->b) || atomic_load(&m->disk->refuse_writes);
	uint32_t nr_zones = 0, nr_conv = 0, i;

	for (i = 0; i < m->nr_devs; i++) {
		nr_zones += zdev_info(m->devs[i])->nr_zones;
		nr_conv += zdev_info(m->devs[i])->nr_conv;
	}
	ctl_put_device(out, m, nr_zones, nr_conv);
	if (m->nr_devs > 1)
		put_zoned(m, out);
	fprintf(out, "format %s\nformat_version %" PRIu32 "\n", m->format->name, sb->version);
	ctl_put_uuid(out, "format_uuid", sb->uuid);
	ctl_put_text(out, "label", sb->label);
	fprintf(out, "disk_size %" PRIu64 "\nnr_chunks %" PRIu32 "\nnr_reserved %" PRIu32
		"\nread_only %d\n", m->disk->size, sb->nr_chunks, sb->nr_reserved_seq, ro);
	return 0;
}

/* As `dmsetup status` has it: the regular device's zones are the cache. */
static void put_status(FILE *out, const struct block_stats *st)
{
	uint32_t i = st->nr_devs > 1 ? 1 : 0;

	fprintf(out, "status %" PRIu32 " zones %" PRIu32 "/%" PRIu32 " cache", st->nr_zones,
		st->cache_free, st->cache_all);
	for (; i < st->nr_devs; i++)
		fprintf(out, " %" PRIu32 "/%" PRIu32 " random %" PRIu32 "/%" PRIu32
			" sequential", st->dev[i].random_free, st->dev[i].random_all,
			st->dev[i].seq_free, st->dev[i].seq_all);
	fputc('\n', out);
}

/* Of all devices together. */
static void put_zones(FILE *out, const struct block_stats *st)
{
	uint64_t random_free = 0, random_all = 0, seq_free = 0, seq_all = 0;
	uint32_t i;

	for (i = 0; i < st->nr_devs; i++) {
		random_free += st->dev[i].random_free;
		random_all += st->dev[i].random_all;
		seq_free += st->dev[i].seq_free;
		seq_all += st->dev[i].seq_all;
	}
	const struct ctl_row rows[] = {
		{ "nr_zones", st->nr_zones },
		{ "cache_free", st->cache_free }, { "cache_all", st->cache_all },
		{ "random_free", random_free }, { "random_all", random_all },
		{ "seq_free", seq_free }, { "seq_all", seq_all },
	};
	ctl_put_rows(out, rows, sizeof(rows) / sizeof(rows[0]));
}

static int text_stats(struct mnt *m, FILE *out)
{
	struct block_stats st;

	block_get_stats(m->disk->b, &st);
	put_status(out, &st);
	put_zones(out, &st);
	const struct ctl_row rows[] = {
		{ "nr_devs", st.nr_devs },
		{ "reserved", st.reserved }, { "unavailable", st.unavailable },
		{ "mapped_chunks", st.mapped_chunks },
		{ "buffered_chunks", st.buffered_chunks },
		{ "waiting_free", st.waiting_free },
		{ "metadata_bytes", st.metadata_bytes },
		{ "commits", st.commits }, { "commit_errors", st.commit_errors },
		{ "metadata_blocks_written", st.metadata_blocks_written },
		{ "flushes", st.flushes },
		{ "direct_writes", st.direct_writes },
		{ "buffered_writes", st.buffered_writes },
		{ "reclaim_empty", st.reclaim_empty }, { "reclaim_move", st.reclaim_move },
		{ "reclaim_append", st.reclaim_append },
		{ "reclaim_merge", st.reclaim_merge },
		{ "reclaim_rewrite", st.reclaim_rewrite },
		{ "reclaim_bytes", st.reclaim_bytes },
		{ "copies", st.copies }, { "copy_bytes", st.copy_bytes },
		{ "offload_bytes", st.offload_bytes },
		{ "offload_fallbacks", st.offload_fallbacks },
		{ "waits_for_zone", st.waits_for_zone },
		{ "discards", st.discards }, { "discard_bytes", st.discard_bytes },
		{ "discards_refused", st.discards_refused },
		{ "read_only", block_is_readonly(m->disk->b) },
	};
	ctl_put_rows(out, rows, sizeof(rows) / sizeof(rows[0]));
	return 0;
}

static int text_reclaim(struct mnt *m, FILE *out)
{
	struct block_stats st;

	block_get_stats(m->disk->b, &st);
	fprintf(out, "state %s\n", atomic_load(&m->disk->reclaiming) ? "running" : "idle");
	put_zones(out, &st);
	return 0;
}

/* ---- commands ---- */

static int run_flush(struct mnt *m)
{
	struct block_io io = { .op = BLOCK_FLUSH };

	return block_run(m->disk->b, &io);
}

static int cmd_sync(struct ctl_args *c)
{
	int ret = run_flush(c->m);

	if (ret < 0 && ret != -EROFS)
		disk_late_error(c->m->disk);
	return ret;
}

static int reclaim(struct mnt *m)
{
	int ret;

	if (atomic_load(&m->disk->refuse_writes) || block_is_readonly(m->disk->b))
		return -EROFS;
	atomic_fetch_add(&m->disk->reclaiming, 1);
	ret = block_reclaim(m->disk->b, true);
	atomic_fetch_sub(&m->disk->reclaiming, 1);
	return ret;
}

/* Whatever is written. */
static int write_reclaim(struct mnt *m, const char *line, atomic_bool *stop)
{
	return reclaim(m);
}

static int cmd_reclaim(struct ctl_args *c)
{
	return reclaim(c->m);
}

static int make_readonly(struct mnt *m)
{
	bool writers;
	int ret;

	pthread_mutex_lock(&m->lock);
	writers = m->nr_writers;
	if (!writers)
		atomic_store(&m->disk->refuse_writes, true);
	pthread_mutex_unlock(&m->lock);
	if (writers)
		return -EBUSY;
	ret = block_is_readonly(m->disk->b) ? 0 : run_flush(m);
	if (ret)
		atomic_store(&m->disk->refuse_writes, false);
	return ret;
}

static int make_writable(struct mnt *m)
{
	if (block_is_readonly(m->disk->b))
		return -EROFS;
	atomic_store(&m->disk->refuse_writes, false);
	/* What an error before this wanted would come late, and stay. */
	notify_writable(m->notify);
	return 0;
}

static int cmd_remount(struct ctl_args *c)
{
	char *rest = c->word[1], *opt;
	bool ro = false;

	while ((opt = strsep(&rest, ","))) {
		if (!strcmp(opt, "ro") || !strcmp(opt, "rw"))
			ro = opt[1] == 'o';
		else if (strcmp(opt, "errors=remount-ro"))
			return -EINVAL;
	}
	return ro ? make_readonly(c->m) : make_writable(c->m);
}

/* The zones hold the disk: a command to one of them would destroy it. */
static int cmd_refused(struct ctl_args *c)
{
	zlog(c->m->log, ZLOG_WARN, "%s: %s refused: the zones hold the disk",
	     c->m->opts->mountpoint, c->word[0]);
	return -EPERM;
}

const struct ctl_entry block_ctl_entries[] = {
	{ .name = "version", .text = ctl_text_version },
	{ .name = "info", .text = text_info },
	{ .name = "stats", .text = text_stats },
	{ .name = "zones", .text = ctl_text_zones, .slow = true },
	{ .name = "reclaim", .text = text_reclaim, .write = write_reclaim, .long_write = true },
	{ .name = "ctl", .write = ctl_command },
	{ .name = NULL }
};

const struct ctl_cmd block_ctl_commands[] = {
	{ "sync",	cmd_sync,	1, 1 },
	{ "reclaim",	cmd_reclaim,	1, 1 },
	{ "remount",	cmd_remount,	2, 2 },
	{ "inject",	ctl_cmd_inject,	2, CTL_MAX_WORDS },
	{ "reset",	cmd_refused,	2, 2 },
	{ "finish",	cmd_refused,	2, 2 },
	{ "open",	cmd_refused,	2, 2 },
	{ "close",	cmd_refused,	2, 2 },
	{ "seal",	cmd_refused,	2, 2 },
	{ .name = NULL }
};
