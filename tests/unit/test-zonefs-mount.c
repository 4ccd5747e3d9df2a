/* SPDX-License-Identifier: BSD-2-Clause */
/* Mount, names, attributes, statfs: Z3, Z4, Z5, and the directory part of Z10, Z11. */
#include <linux/fs.h>
#include <sys/stat.h>

#include "zonefs-unit.h"

/* ---- Z3 ---- */

static void test_no_super_block(void)
{
	struct env v = { 0 };
	struct zerr e;

	CHECK_EQ(zdev_mem_create(&usual, &v.dev, &e), 0);
	CHECK_EQ(try_mount(&v, ""), -EINVAL);
	CHECK_EQ(zdev_close(v.dev), 0);
}

/* How each condition shows, in both personalities. */
static void check_conditions(const char *options)
{
	char block[BS] = { 1 };
	struct env v;

	new_device(&v, &usual, "");
	CHECK_EQ(zdev_set_cond(v.dev, CNV(0), BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(v.dev, CNV(1), BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(1), 0, block, BS), BS);		/* implicitly open */
	CHECK_EQ(zdev_command(v.dev, ZDEV_OPEN, SEQ(2)), 0);		/* unwritten */
	CHECK_EQ(zdev_command(v.dev, ZDEV_FINISH, SEQ(3)), 0);
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(4), 0, block, BS), BS);
	CHECK_EQ(zdev_command(v.dev, ZDEV_CLOSE, SEQ(4)), 0);
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(5), 0, block, BS), BS);
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(5), BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(6), 0, block, BS), BS);
	CHECK_EQ(zdev_set_cond(v.dev, SEQ(6), BLK_ZONE_COND_OFFLINE), 0);
	do_mount(&v, options);

	CHECK_EQ(t_size(&v, CNV(0)), ZONE_SIZE);
	CHECK_EQ(t_mode(&v, CNV(0)), 0);
	CHECK_EQ(t_size(&v, CNV(1)), 0);
	CHECK_EQ(t_mode(&v, CNV(1)), 0);
	CHECK_EQ(t_size(&v, CNV(2)), ZONE_SIZE);
	CHECK_EQ(t_size(&v, SEQ(0)), 0);
	CHECK_EQ(t_size(&v, SEQ(1)), BS);
	CHECK_EQ(t_zone(&v, SEQ(1)).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(t_size(&v, SEQ(2)), 0);
	CHECK_EQ(t_zone(&v, SEQ(2)).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(t_size(&v, SEQ(3)), CAP);
	CHECK_EQ(t_size(&v, SEQ(4)), BS);
	CHECK_EQ(t_size(&v, SEQ(5)), 0);
	CHECK_EQ(t_mode(&v, SEQ(5)), 0);
	CHECK_EQ(t_size(&v, SEQ(6)), 0);
	CHECK_EQ(t_mode(&v, SEQ(6)), 0);
	CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
	CHECK_EQ(t_stats(&v).nr_active, 2);

	/* Immutable, and reads are refused too. */
	static const uint64_t bad[] = { CNV(0), CNV(1), SEQ(5), SEQ(6) };
	for (int i = 0; i < 4; i++) {
		struct zonefs_file *f;

		CHECK_EQ(t_open(&v, bad[i], O_RDWR, &f), -EPERM);
		CHECK_EQ(t_chmod(&v, bad[i], 0600), -EPERM);
		CHECK_EQ(t_truncate(&v, bad[i], 0), -EPERM);
		f = must_open(&v, bad[i], O_RDONLY);
		CHECK_EQ(t_read(f, 0, block, BS, 0), -EPERM);
		CHECK_EQ(t_fsync(f), -EPERM);
		t_release(f);
	}
	teardown(&v);
}

static void test_conditions_at_mount(void)
{
	check_conditions("");
	check_conditions("strict");
}

static void test_failing_close_fails_the_mount(void)
{
	char block[BS] = { 1 };
	struct env v;

	new_device(&v, &usual, "");
	CHECK_EQ(zdev_pwrite(v.dev, SEQ(0), 0, block, BS), BS);
	t_fault(&v, ZDEV_CLOSE, SEQ(0), EIO, 1, 0);
	CHECK_EQ(try_mount(&v, ""), -EIO);
	do_mount(&v, "");
	teardown(&v);
}

static void test_unwritten_open_zone_is_reset(void)
{
	struct env v;

	new_device(&v, &usual, "");
	CHECK_EQ(zdev_command(v.dev, ZDEV_OPEN, SEQ(0)), 0);
	t_fault(&v, ZDEV_CLOSE, SEQ(0), EIO, 0, 0);
	do_mount(&v, "");
	CHECK_EQ(t_zone(&v, SEQ(0)).cond, BLK_ZONE_COND_EMPTY);
	teardown(&v);
}

static void test_explicit_open_needs_a_limit(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_opts o;
	struct env v;

	setup(&v, "explicit-open");
	zonefs_get_opts(v.fs, &o);
	CHECK(!o.explicit_open);
	CHECK_HAS(v.last_log, "explicit-open");
	/* The test is not repeated by a remount. */
	o.explicit_open = true;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	zonefs_get_opts(v.fs, &o);
	CHECK(o.explicit_open);
	teardown(&v);
	g.max_active = 5;
	setup_with(&v, &g, "", "explicit-open");
	zonefs_get_opts(v.fs, &o);
	CHECK(o.explicit_open);
	teardown(&v);
}

/* ---- Z4 ---- */

static void check_names(struct env *v, unsigned nr_cnv, unsigned nr_seq)
{
	const uint64_t root = zonefs_root_ino(v->fs), nz = zdev_info(v->dev)->nr_zones;
	unsigned groups = !!nr_cnv + !!nr_seq;
	struct zonefs_attr a, b;
	char name[20], want[20];

	CHECK_EQ(root, nz);
	CHECK(zonefs_ino_is_dir(v->fs, root));
	CHECK_EQ(zonefs_getattr(v->fs, root, &a), 0);
	CHECK_EQ(a.mode, S_IFDIR | 0555);
	CHECK_EQ(a.size, 2 + groups);
	CHECK_EQ(a.nlink, 2 + groups);
	CHECK_EQ(a.blocks, 0);
	CHECK_EQ(zonefs_readdir(v->fs, root, 0, name, &a), 1);
	CHECK_STR(name, ".");
	CHECK_EQ(zonefs_readdir(v->fs, root, 1, name, &a), 1);
	CHECK_STR(name, "..");
	CHECK_EQ(zonefs_readdir(v->fs, root, 2 + groups, name, &a), 0);
	for (int seq = 0; seq < 2; seq++) {
		unsigned nr = seq ? nr_seq : nr_cnv;
		uint64_t dir = nz + 1 + seq;
		const char *group = seq ? "seq" : "cnv";

		if (!nr) {
			CHECK_EQ(zonefs_lookup(v->fs, root, group, &a), -ENOENT);
			CHECK_EQ(zonefs_getattr(v->fs, dir, &a), -ENOENT);
			continue;
		}
		CHECK_EQ(zonefs_readdir(v->fs, root, 2 + (seq && nr_cnv), name, &a), 1);
		CHECK_STR(name, group);
		CHECK_EQ(a.ino, dir);
		CHECK_EQ(zonefs_lookup(v->fs, root, group, &a), 0);
		CHECK_EQ(a.ino, dir);
		CHECK_EQ(a.size, nr);
		CHECK_EQ(a.nlink, 2);
		CHECK_EQ(zonefs_lookup(v->fs, dir, "..", &b), 0);
		CHECK_EQ(b.ino, root);
		for (unsigned k = 0; k < nr; k++) {
			CHECK_EQ(zonefs_readdir(v->fs, dir, 2 + k, name, &a), 1);
			snprintf(want, sizeof(want), "%u", k);
			CHECK_STR(name, want);
			CHECK_EQ(zonefs_lookup(v->fs, dir, name, &b), 0);
			CHECK_EQ(a.ino, b.ino);
			CHECK(S_ISREG(b.mode));
			CHECK_EQ(b.nlink, 1);
			CHECK_EQ(b.blksize, BS);
			CHECK_EQ(zonefs_zone_ino(v->fs, (uint32_t)b.ino), b.ino);
		}
		CHECK_EQ(zonefs_readdir(v->fs, dir, 2 + nr, name, &a), 0);
		snprintf(want, sizeof(want), "%u", nr);
		CHECK_EQ(zonefs_lookup(v->fs, dir, want, &a), -ENOENT);
	}
}

static void test_names(void)
{
	struct zdev_geometry g = usual;
	struct env v;

	setup(&v, "");
	check_names(&v, NR_CONV - 1, NR_SEQ);
	CHECK_EQ(zonefs_zone_ino(v.fs, 0), 0);
	teardown(&v);
	setup_with(&v, &usual, "aggr_cnv", "");
	check_names(&v, 1, NR_SEQ);
	CHECK_EQ(t_size(&v, CNV(0)), (NR_CONV - 1) * ZONE_SIZE);
	CHECK_EQ(zonefs_zone_ino(v.fs, CNV(2)), CNV(0));
	CHECK_EQ(zonefs_lookup(v.fs, CNV(1), "x", &(struct zonefs_attr) { 0 }), -ENOENT);
	teardown(&v);
	for (g.nr_conv = 0; g.nr_conv < 3; g.nr_conv++) {
		setup_with(&v, &g, "", "");
		check_names(&v, g.nr_conv == 2, NR_ZONES - (g.nr_conv ? g.nr_conv : 1));
		teardown(&v);
	}
}

static void test_bad_names(void)
{
	static const struct { const char *name; int err; } rows[] = {
		{ "00", -ENOENT }, { "01", -ENOENT }, { "-1", -ENOENT }, { "+1", -ENOENT },
		{ " 1", -ENOENT }, { "1 ", -ENOENT }, { "", -ENOENT }, { "0x1", -ENOENT },
		{ "1a", -ENOENT }, { "4294967296", -ENOENT }, { "9999999999999999", -ENOENT },
		{ "10000000000000000", -ENAMETOOLONG }, { "aaaaaaaaaaaaaaaa", -ENOENT },
		{ "aaaaaaaaaaaaaaaaa", -ENAMETOOLONG },
	};
	struct zonefs_attr a;
	struct env v;

	setup(&v, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(zonefs_lookup(v.fs, NR_ZONES + 2, rows[i].name, &a), rows[i].err);
		CHECK_EQ(zonefs_lookup(v.fs, NR_ZONES, rows[i].name, &a), rows[i].err);
	}
	CHECK_EQ(zonefs_lookup(v.fs, SEQ(0), "x", &a), -ENOTDIR);
	CHECK_EQ(zonefs_readdir(v.fs, SEQ(0), 0, (char[20]) { 0 }, &a), -ENOTDIR);
	CHECK_EQ(zonefs_lookup(v.fs, 0, "x", &a), -ENOENT);
	CHECK_EQ(zonefs_getattr(v.fs, 0, &a), -ENOENT);
	CHECK_EQ(zonefs_getattr(v.fs, NR_ZONES + 3, &a), -ENOENT);
	CHECK_EQ(zonefs_getattr(v.fs, UINT64_MAX, &a), -ENOENT);
	teardown(&v);
}

static void check_owner(const char *features, const char *options, uid_t uid, gid_t gid,
			uint32_t mode)
{
	struct zonefs_attr a;
	struct env v;

	setup_with(&v, &usual, features, options);
	for (uint64_t ino = 1; ino < NR_ZONES; ino++) {
		CHECK_EQ(zonefs_getattr(v.fs, ino, &a), 0);
		CHECK_EQ(a.uid, uid);
		CHECK_EQ(a.gid, gid);
		CHECK_EQ(a.mode, S_IFREG | mode);
		CHECK_EQ(a.blocks, (ino < NR_CONV ? ZONE_SIZE : CAP) / 512);
	}
	teardown(&v);
}

static void test_owner_and_mode(void)
{
	check_owner("", "", 0, 0, 0640);
	check_owner("uid=1000", "", 1000, 0, 0640);
	check_owner("uid=1000,gid=2000,perm=770", "", 1000, 2000, 0770);
	check_owner("uid=1000,perm=770", "uid=5,gid=6,perm=444", 5, 6, 0444);
	check_owner("", "strict,perm=600", 0, 0, 0600);
}

static void test_unprivileged_mounter_owns_the_files(void)
{
	struct zonefs_attr a;
	struct env v;

	new_device(&v, &usual, "");
	zonefs_opts_init(&v.opts);
	v.opts.mounter_uid = 1000;
	v.opts.mounter_gid = 1001;
	CHECK_EQ(zonefs_mount(v.dev, &v.opts, NULL, NULL, &v.fs, NULL), 0);
	CHECK_EQ(zonefs_getattr(v.fs, SEQ(0), &a), 0);
	CHECK_EQ(a.uid, 1000);
	CHECK_EQ(a.gid, 1001);
	CHECK_EQ(zonefs_getattr(v.fs, NR_ZONES + 2, &a), 0);
	CHECK_EQ(a.uid, 1000);
	CHECK_EQ(zonefs_getattr(v.fs, NR_ZONES, &a), 0);
	CHECK_EQ(a.uid, 0);
	teardown(&v);
}

/* ---- Z5 ---- */

static void test_statfs(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_statfs st;
	struct zonefs_file *f;
	struct env v;
	uint64_t blocks = ((NR_CONV - 1) * ZONE_SIZE + NR_SEQ * CAP) / BS;
	uint64_t used = (NR_CONV - 1) * ZONE_SIZE / BS;

	setup(&v, "");
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.block_size, BS);
	CHECK_EQ(st.blocks, blocks);
	CHECK_EQ(st.bfree, blocks - used);
	CHECK_EQ(st.files, NR_CONV - 1 + 1 + NR_SEQ + 1);
	CHECK_EQ(st.namelen, 16);
	f = must_open(&v, SEQ(0), O_WRONLY);
	CHECK_EQ(put(f, 0, 3 * BS + 1, 0, 0), 3 * BS + 1);
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.bfree, blocks - used - 4);
	CHECK_EQ(t_ftruncate(&v, f, 0), 0);
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.bfree, blocks - used);
	CHECK_EQ(t_close(f), 0);
	do_unmount(&v);
	/* An offline file still counts with its capacity, but as free. */
	CHECK_EQ(zdev_set_cond(v.dev, CNV(0), BLK_ZONE_COND_OFFLINE), 0);
	do_mount(&v, "");
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.blocks, blocks);
	CHECK_EQ(st.bfree, blocks - used + ZONE_SIZE / BS);
	teardown(&v);
	g.nr_conv = 0;
	setup_with(&v, &g, "", "");
	zonefs_statfs(v.fs, &st);
	CHECK_EQ(st.files, NR_ZONES - 1 + 1);
	CHECK_EQ(st.blocks, (NR_ZONES - 1) * CAP / BS);
	teardown(&v);
}

/* ---- Z10, Z11 on names and directories ---- */

static void check_dirops(struct env *v, bool ro)
{
	const uint64_t root = NR_ZONES, seq = NR_ZONES + 2;
	struct zonefs *fs = v->fs;
	const char *longest = "12345678901234567";

	CHECK_EQ(zonefs_dirop(fs, ZONEFS_CREATE, seq, "99"), -ENOENT);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_CREATE, seq, "0"), -EEXIST);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_CREATE, root, "cnv"), -EEXIST);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_CREATE, root, "x"), -ENOENT);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_CREATE, root, longest), -ENAMETOOLONG);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_UNLINK, seq, "0"), ro ? -EROFS : -EPERM);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_UNLINK, seq, "99"), ro ? -EROFS : -ENOENT);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_RMDIR, root, "seq"), ro ? -EROFS : -EPERM);
	CHECK_EQ(zonefs_dirop(fs, ZONEFS_RMDIR, root, "no"), ro ? -EROFS : -ENOENT);
	CHECK_EQ(zonefs_rename(fs, seq, "0", seq, "1", 0), ro ? -EROFS : -EPERM);
	CHECK_EQ(zonefs_rename(fs, seq, "0", seq, "x", 0), ro ? -EROFS : -ENOENT);
	CHECK_EQ(zonefs_rename(fs, seq, "x", seq, "0", 0), ro ? -EROFS : -ENOENT);
	CHECK_EQ(zonefs_rename(fs, seq, "0", seq, longest, 0), ro ? -EROFS : -ENAMETOOLONG);
	CHECK_EQ(zonefs_rename(fs, seq, "0", seq, "0", 0), ro ? -EROFS : 0);
	CHECK_EQ(zonefs_rename(fs, seq, "0", seq, "1", RENAME_NOREPLACE),
		 ro ? -EROFS : -EEXIST);
}

static void test_directories_do_not_change(void)
{
	struct env v;

	setup(&v, "");
	check_dirops(&v, false);
	do_unmount(&v);
	do_mount(&v, "ro");
	check_dirops(&v, true);
	teardown(&v);
}

static void test_attributes_of_directories(void)
{
	struct zonefs_setattr_args a = {
		.valid = ZONEFS_SET_UID | ZONEFS_SET_GID | ZONEFS_SET_MTIME,
		.uid = 12, .gid = 13, .mtime = { 1000, 5 },
	};
	struct zonefs_attr attr;
	struct env v;

	setup(&v, "strict");
	for (uint64_t ino = NR_ZONES; ino < NR_ZONES + 3; ino++) {
		CHECK_EQ(t_chmod(&v, ino, 0755), -EPERM);
		CHECK_EQ(t_chmod(&v, ino, 0575), -EPERM);
		CHECK_EQ(t_chmod(&v, ino, 0500), 0);
		CHECK_EQ(t_setattr(&v, ino, &a), 0);
		CHECK_EQ(zonefs_getattr(v.fs, ino, &attr), 0);
		CHECK_EQ(attr.mode, S_IFDIR | 0500);
		CHECK_EQ(attr.uid, 12);
		CHECK_EQ(attr.gid, 13);
		CHECK_EQ(attr.mtime.tv_sec, 1000);
		CHECK_EQ(attr.mtime.tv_nsec, 5);
		CHECK_EQ(t_truncate(&v, ino, 0), -EISDIR);
		CHECK_EQ(t_open(&v, ino, O_RDONLY, NULL), -EISDIR);
	}
	CHECK_EQ(t_truncate(&v, 0, 0), -ENOENT);
	CHECK_EQ(t_open(&v, 0, O_RDONLY, NULL), -ENOENT);
	teardown(&v);
}

static void test_attributes_of_files(void)
{
	struct zonefs_setattr_args a = {
		.valid = ZONEFS_SET_MODE | ZONEFS_SET_UID | ZONEFS_SET_GID |
			 ZONEFS_SET_ATIME | ZONEFS_SET_MTIME,
		.mode = S_IFREG | 0604, .uid = 3, .gid = 4, .atime = { 7, 0 }, .mtime = { 8, 9 },
	};
	struct zonefs_attr attr;
	struct env v;

	setup(&v, "strict");
	for (uint64_t ino = 1; ino < NR_ZONES; ino++) {
		CHECK_EQ(t_setattr(&v, ino, &a), 0);
		CHECK_EQ(zonefs_getattr(v.fs, ino, &attr), 0);
		CHECK_EQ(attr.mode, S_IFREG | 0604);
		CHECK_EQ(attr.uid, 3);
		CHECK_EQ(attr.gid, 4);
		CHECK_EQ(attr.atime.tv_sec, 7);
		CHECK_EQ(attr.mtime.tv_sec, 8);
		CHECK(attr.ctime.tv_sec > 1000);
	}
	do_unmount(&v);
	/* Nothing of it is on the device. */
	do_mount(&v, "ro");
	CHECK_EQ(t_mode(&v, SEQ(0)), 0640);
	CHECK_EQ(t_setattr(&v, SEQ(0), &a), -EROFS);
	CHECK_EQ(t_setattr(&v, NR_ZONES, &a), -EROFS);
	teardown(&v);
}

/* ---- Z12, remount ---- */

static void test_remount(void)
{
	struct zonefs_opts o;
	struct zonefs_file *f;
	struct env v;

	setup(&v, "errors=repair,strict");
	zonefs_opts_init(&o);
	o.read_only = true;
	f = must_open(&v, CNV(0), O_WRONLY);
	CHECK_EQ(zonefs_remount(v.fs, &o), -EBUSY);
	zonefs_get_opts(v.fs, &o);
	CHECK_EQ(o.errors, ZONEFS_ERRORS_REPAIR);
	t_release(f);
	f = must_open(&v, SEQ(0), O_RDWR);
	o.read_only = true;
	CHECK_EQ(zonefs_remount(v.fs, &o), -EBUSY);
	t_release(f);
	f = must_open(&v, SEQ(0), O_RDONLY);
	zonefs_opts_init(&o);
	o.read_only = true;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	t_release(f);
	zonefs_get_opts(v.fs, &o);
	CHECK_EQ(o.errors, ZONEFS_ERRORS_RO);
	CHECK(o.read_only && o.strict);
	CHECK_EQ(t_open(&v, SEQ(0), O_WRONLY, &f), -EROFS);
	CHECK_EQ(t_open(&v, SEQ(0), O_RDONLY | O_TRUNC, &f), -EROFS);
	CHECK_EQ(t_truncate(&v, SEQ(0), 0), -EROFS);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, SEQ(0)), -EROFS);
	CHECK(t_stats(&v).read_only);
	o.read_only = false;
	CHECK_EQ(zonefs_remount(v.fs, &o), 0);
	t_release(must_open(&v, SEQ(0), O_WRONLY));
	teardown(&v);
}

static void test_sequential_zone_0_counts_nowhere(void)
{
	struct zdev_geometry g = usual;
	struct zonefs_stats st;
	struct env v;

	g.nr_conv = 0;
	g.max_open = 3;
	g.max_active = 4;
	setup_with(&v, &g, "", "strict");
	st = t_stats(&v);
	CHECK_EQ(st.nr_active, 0);
	CHECK_EQ(st.nr_wro, 0);
	CHECK_EQ(st.max_wro, 3);
	CHECK_EQ(st.max_active, 4);
	CHECK_EQ(st.nr_seq, NR_ZONES - 1);
	CHECK_EQ(t_admin(&v, ZONEFS_ADM_RESET, 0), -EPERM);
	teardown(&v);
}

int main(void)
{
	RUN(test_no_super_block);
	RUN(test_conditions_at_mount);
	RUN(test_failing_close_fails_the_mount);
	RUN(test_unwritten_open_zone_is_reset);
	RUN(test_explicit_open_needs_a_limit);
	RUN(test_names);
	RUN(test_bad_names);
	RUN(test_owner_and_mode);
	RUN(test_unprivileged_mounter_owns_the_files);
	RUN(test_statfs);
	RUN(test_directories_do_not_change);
	RUN(test_attributes_of_directories);
	RUN(test_attributes_of_files);
	RUN(test_remount);
	RUN(test_sequential_zone_0_counts_nowhere);
	return 0;
}
