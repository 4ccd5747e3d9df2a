/* SPDX-License-Identifier: BSD-2-Clause */
/* The name space: lookups, directories, and what may not be done to them (Z4, Z11). */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

#include "zonefs_i.h"

#define NAME_MAX_LEN	16u

static const char *const dir_names[NR_DIRS] = { [DIR_CNV] = "cnv", [DIR_SEQ] = "seq" };

uint64_t zonefs_root_ino(const struct zonefs *fs)
{
	return fs->info->nr_zones;
}

static uint64_t dir_ino(const struct zonefs *fs, int d)
{
	return (uint64_t)fs->info->nr_zones + (unsigned)d;
}

int zonefs_dir_of(const struct zonefs *fs, uint64_t ino)
{
	for (int d = DIR_ROOT; d < NR_DIRS; d++)
		if (ino == dir_ino(fs, d) && (d == DIR_ROOT || fs->group[d].nr))
			return d;
	return -1;
}

bool zonefs_ino_is_dir(const struct zonefs *fs, uint64_t ino)
{
	return zonefs_dir_of(fs, ino) >= 0;
}

/* A decimal number below max without sign or leading zero, or -1. */
static int64_t parse_index(const char *name, uint32_t max)
{
	uint64_t v;

	if (name[0] == '0' && name[1])
		return -1;
	if (!max || zu_parse_u64(name, max - 1, &v))
		return -1;
	return (int64_t)v;
}

/* The inode number of a name, or -errno. */
static int64_t find(const struct zonefs *fs, uint64_t parent, const char *name)
{
	int d = zonefs_dir_of(fs, parent);
	int64_t index;

	if (d < 0)
		return zonefs_zone_by_ino(fs, parent) ? -ENOTDIR : -ENOENT;
	if (strlen(name) > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	if (!strcmp(name, "."))
		return (int64_t)parent;
	if (!strcmp(name, ".."))
		return (int64_t)zonefs_root_ino(fs);
	if (d == DIR_ROOT) {
		for (d = DIR_CNV; d <= DIR_SEQ; d++)
			if (fs->group[d].nr && !strcmp(name, dir_names[d]))
				return (int64_t)dir_ino(fs, d);
		return -ENOENT;
	}
	index = parse_index(name, fs->group[d].nr);
	if (index < 0)
		return -ENOENT;
	return fs->zones[fs->group[d].files[index]].zno;
}

int zonefs_lookup(struct zonefs *fs, uint64_t parent, const char *name,
		  struct zonefs_attr *attr)
{
	int64_t ino = find(fs, parent, name);

	return ino < 0 ? (int)ino : zonefs_getattr(fs, (uint64_t)ino, attr);
}

/* Entry k (dots not counted) of the root: the groups that are there. */
static int root_entry(const struct zonefs *fs, uint64_t k)
{
	for (int d = DIR_CNV; d <= DIR_SEQ; d++)
		if (fs->group[d].nr && !k--)
			return d;
	return -1;
}

int zonefs_readdir(struct zonefs *fs, uint64_t parent, uint64_t index,
		   char name[20], struct zonefs_attr *attr)
{
	int d = zonefs_dir_of(fs, parent), sub;
	uint64_t ino;
	int err;

	if (d < 0)
		return zonefs_zone_by_ino(fs, parent) ? -ENOTDIR : -ENOENT;
	if (index < 2) {
		strcpy(name, index ? ".." : ".");
		ino = index ? zonefs_root_ino(fs) : parent;
	} else if (d == DIR_ROOT) {
		sub = root_entry(fs, index - 2);
		if (sub < 0)
			return 0;
		strcpy(name, dir_names[sub]);
		ino = dir_ino(fs, sub);
	} else {
		if (index - 2 >= fs->group[d].nr)
			return 0;
		snprintf(name, 20, "%u", (unsigned)(index - 2));
		ino = fs->zones[fs->group[d].files[index - 2]].zno;
	}
	err = zonefs_getattr(fs, ino, attr);
	return err ? err : 1;
}

int zonefs_dirop(struct zonefs *fs, enum zonefs_dirop op, uint64_t parent,
		 const char *name)
{
	int64_t ino;

	/* The read-only check comes first but for what is new (Z11). */
	if (op != ZONEFS_CREATE && atomic_load(&fs->read_only))
		return -EROFS;
	ino = find(fs, parent, name);
	if (ino < 0)
		return (int)ino;
	return op == ZONEFS_CREATE ? -EEXIST : -EPERM;
}

int zonefs_rename(struct zonefs *fs, uint64_t parent, const char *name,
		  uint64_t new_parent, const char *new_name, unsigned flags)
{
	int64_t from, to;

	if (atomic_load(&fs->read_only))
		return -EROFS;
	from = find(fs, parent, name);
	if (from < 0)
		return (int)from;
	to = find(fs, new_parent, new_name);
	if (to < 0)
		return (int)to;
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	return from == to ? 0 : -EPERM;
}
