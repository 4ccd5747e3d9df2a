/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The directory layout: the rules of all emulated devices, the kernel's zloop
 * layout (L1, L8, L9), and what a crash or a failing file system leaves.
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "conformance.h"
#include "dir-util.h"
#include "sync-error.h"

static char block[ZONE_SIZE];

static struct zdev *make(void *ctx, const struct zdev_geometry *g)
{
	create(g);
	return open_dev(false);
}

static struct zdev *reopen(void *ctx, struct zdev *dev)
{
	CHECK_EQ(zdev_close(dev), 0);
	return open_dev(false);
}

static void follows_the_rules(void)
{
	const struct conformance c = { .make = make, .reopen = reopen };

	conformance_run(&c);
}

/* ---- L1 ---- */

static void files_are_those_of_zloop(void)
{
	struct zdev *dev;
	struct stat st;

	create(&geometry);
	CHECK_EQ(size_of("cnv-000000"), ZONE_SIZE);
	CHECK_EQ(size_of("cnv-000001"), ZONE_SIZE);
	CHECK_EQ(size_of("seq-000002"), 0);
	CHECK_EQ(size_of("seq-000005"), 0);
	CHECK_EQ(size_of("seq-000006"), -1);
	CHECK_EQ(stat(in_dev("seq-000002"), &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(stat(in_dev("cnv-000000"), &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(size_of(DIR_CREATING), -1);

	/* The file size is the write pointer, at any moment. */
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, 2 * BS), 2 * BS);
	CHECK_EQ(size_of("seq-000002"), 2 * BS);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0), 0);
	CHECK_EQ(size_of("seq-000002"), CAP);	/* not the zone size (L9) */
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
	CHECK_EQ(size_of("seq-000002"), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void info_tells_the_geometry(void)
{
	struct zdev_geometry g = geometry;
	const struct zdev_info *info;
	struct zdev *dev;

	g.max_open = 2;
	g.max_active = 3;
	memcpy(g.uuid, "0123456789abcdef", 16);
	create(&g);
	dev = open_dev(false);
	info = zdev_info(dev);
	CHECK_STR(info->backend, "dir");
	CHECK_STR(info->path, path);
	CHECK(!memcmp(info->uuid, g.uuid, 16));
	CHECK_EQ(info->block_size, BS);
	CHECK_EQ(info->size, NR_ZONES * ZONE_SIZE);
	CHECK_EQ(info->zone_size, ZONE_SIZE);
	CHECK_EQ(info->zone_capacity, CAP);
	CHECK_EQ(info->nr_zones, NR_ZONES);
	CHECK_EQ(info->nr_conv, NR_CONV);
	CHECK_EQ(info->max_open, 2);
	CHECK_EQ(info->max_active, 3);
	CHECK(info->emulated && !info->read_only);
	CHECK_EQ(zdev_close(dev), 0);
}

/* L9: nothing is truncated where nothing is to do. */
static void reset_and_finish_leave_alone_what_is_done(void)
{
	char before[2048], after[2048];
	struct zdev *dev;

	create(&geometry);
	dev = open_dev(false);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 1), 0);
	fingerprint(before, sizeof(before));
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 1), 0);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- directories that zloop made ---- */

static void a_zloop_directory_opens(void)
{
	char before[2048], after[2048];
	struct zdev *dev;

	make_zloop();
	fingerprint(before, sizeof(before));
	dev = open_dev(true);
	CHECK_EQ(zdev_info(dev)->zone_size, ZONE_SIZE);
	CHECK_EQ(zdev_info(dev)->zone_capacity, ZONE_SIZE);
	CHECK_EQ(zdev_info(dev)->nr_zones, 6);
	CHECK_EQ(zdev_info(dev)->nr_conv, 2);
	CHECK_EQ(zdev_info(dev)->block_size, 4096);
	CHECK_EQ(zone(dev, 0).cond, BLK_ZONE_COND_NOT_WP);
	CHECK_EQ(zone(dev, 2).cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(zone(dev, 3).cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(zone(dev, 3).wp, 3 * BS);
	CHECK_EQ(zone(dev, 4).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(zdev_close(dev), 0);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);		/* a read-only open changes nothing */

	CHECK_EQ(zdev_close(open_dev(false)), 0);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);		/* nor one for writing that does not write */

	dev = open_dev(false);
	touch(dev);
	CHECK_HAS(read_meta_text(), "state=open\n");
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_HAS(read_meta_text(), "state=clean\nblock_size=4096\nzone_size=65536\n");
	dev = open_dev(false);
	CHECK_EQ(zone(dev, 3).wp, 3 * BS);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_zone_size_that_is_not_known_is_asked_for(void)
{
	static const char hint[] = "# made by zloop\nzone_size=131072\n"
				   "zone_capacity=98304\nmax_open=2\n";
	struct zdev *dev;

	unit_rm_tree(path);
	CHECK_EQ(mkdir(path, 0700), 0);
	set_size("seq-000000", BS);
	set_size("seq-000001", 98304);
	open_fails(EINVAL, "zone size unknown", "zone_size=BYTES into");
	CHECK_EQ(size_of(DIR_META), -1);
	put_file(DIR_META, hint, strlen(hint));
	dev = open_dev(false);
	CHECK_EQ(zdev_info(dev)->zone_size, 131072);
	CHECK_EQ(zdev_info(dev)->max_open, 2);
	CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, 0), 0);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_HAS(read_meta_text(), "version=1\n");

	make_zloop();
	set_size("cnv-000000", ZONE_SIZE + BS);
	open_fails(EINVAL, "cnv-000000", "not a power of two");
}

static void gaps_in_a_zloop_directory_are_named(void)
{
	make_zloop();
	CHECK_EQ(unlink(in_dev("seq-000003")), 0);
	open_fails(EINVAL, "seq-000003", "missing");
	make_zloop();
	CHECK_EQ(unlink(in_dev("cnv-000001")), 0);
	set_size("cnv-000002", ZONE_SIZE);
	open_fails(EINVAL, "cnv-000001", "missing");
	make_zloop();
	set_size("seq-000003", 3 * BS + 512);
	open_fails(EINVAL, "seq-000003", "not a multiple of the block size 4096");
	/* Names that only look like zones do not count. */
	make_zloop();
	set_size("seq-6", 0);
	set_size("seq-0000006", 0);
	set_size("seq-000006x", 0);
	CHECK_EQ(zdev_close(open_dev(true)), 0);
}

/* ---- L8 ---- */

static void fresh(void)
{
	create(&geometry);
}

static void changed_files_are_detected(void)
{
	char sizes[64];

	fresh();
	CHECK_EQ(unlink(in_dev("seq-000003")), 0);
	open_fails(EINVAL, "seq-000003", "missing");
	fresh();
	CHECK_EQ(unlink(in_dev("cnv-000000")), 0);
	open_fails(EINVAL, "cnv-000000", "missing");
	fresh();
	set_size("seq-000004", CAP + BS);
	snprintf(sizes, sizeof(sizes), "size %u bytes, but the zone capacity is %u",
		 CAP + BS, CAP);
	open_fails(EINVAL, "seq-000004", sizes);
	fresh();
	set_size("seq-000004", BS + 1);
	open_fails(EINVAL, "seq-000004", "size 4097 bytes is not a multiple");
	fresh();
	set_size("cnv-000001", ZONE_SIZE - BS);	/* accepted by zloop (L9) */
	snprintf(sizes, sizeof(sizes), "size %u bytes, but a conventional zone has %u",
		 ZONE_SIZE - BS, ZONE_SIZE);
	open_fails(EINVAL, "cnv-000001", sizes);
	fresh();
	set_size("cnv-000001", ZONE_SIZE + 1);
	open_fails(EINVAL, "cnv-000001", "a conventional zone has");
	fresh();
	CHECK_EQ(unlink(in_dev("seq-000005")), 0);
	CHECK_EQ(symlink("seq-000004", in_dev("seq-000005")), 0);
	open_fails(EINVAL, "seq-000005", "not a regular file");
	fresh();
	CHECK_EQ(unlink(in_dev("seq-000005")), 0);
	CHECK_EQ(mkfifo(in_dev("seq-000005"), 0600), 0);
	open_fails(EINVAL, "seq-000005", "not a regular file");
	/* More files than zones are somebody else's. */
	fresh();
	set_size("seq-000006", 5);
	CHECK_EQ(zdev_close(open_dev(false)), 0);
}

static void an_unreadable_file_is_named(void)
{
	pid_t pid;
	int status;

	fresh();
	CHECK_EQ(chmod(in_dev("seq-000004"), 0), 0);
	/* Root may read everything: try it as somebody else. */
	pid = fork();
	if (!pid) {
		struct zdev *dev;
		struct zerr e;

		if (!geteuid() && (chown(path, 65534, 65534) || chmod(dir, 0755) ||
				   system("chown -R 65534:65534 \"$TESTDEV\"") ||
				   setgid(65534) || setuid(65534)))
			_exit(2);
		CHECK_EQ(try_open(false, &dev, &e), -EACCES);
		CHECK_HAS(e.msg, "seq-000004: Permission denied");
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void what_is_no_device_is_refused(void)
{
	struct zdev *dev;
	struct zerr e;

	unit_rm_tree(path);
	CHECK_EQ(try_open(false, &dev, &e), -ENOENT);	/* not EINVAL (L9) */
	CHECK_HAS(e.msg, path);
	CHECK_EQ(mkdir(path, 0700), 0);
	open_fails(ENODEV, path, "not a zoned device");
	set_size("seq-1", 0);
	open_fails(ENODEV, path, "not a zoned device");
	strcpy(path, "/dev/null");
	open_fails(ENODEV, "/dev/null", "not a zoned device");
	snprintf(path, sizeof(path), "%s/dev", dir);
}

/* L9: an open that fails leaves no file open and nothing changed. */
static void a_failed_open_leaves_nothing(void)
{
	char before[2048], after[2048];
	unsigned nr = nr_open_files();

	fresh();
	set_size("seq-000004", CAP + BS);
	fingerprint(before, sizeof(before));
	open_fails(EINVAL, "seq-000004", NULL);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);
	CHECK_EQ(nr_open_files(), nr);
	set_size("seq-000004", 0);
	CHECK_EQ(zdev_close(open_dev(false)), 0);
	CHECK_EQ(nr_open_files(), nr);
}

/* ---- creation ---- */

static void creation_leaves_nothing_when_it_fails(void)
{
	struct rlimit old, low = { .rlim_cur = BS, .rlim_max = RLIM_INFINITY };
	struct zerr e;

	/* The second conventional zone cannot be made. */
	unit_rm_tree(path);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, &geometry, NULL, NULL, &e), -EFBIG);
	CHECK_HAS(e.msg, "cnv-000000: File too large");
	CHECK_EQ(access(path, F_OK), -1);
	/* A directory that was there stays, empty. */
	CHECK_EQ(mkdir(path, 0700), 0);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, &geometry, NULL, NULL, &e), -EFBIG);
	CHECK_EQ(rmdir(path), 0);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);

	CHECK_EQ(mkdir(path, 0700), 0);
	set_size("precious", 1);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, &geometry, NULL, NULL, &e),
		 -ENOTEMPTY);
	CHECK_EQ(size_of("precious"), 1);
	CHECK_EQ(size_of("cnv-000000"), -1);
	create(&geometry);
	CHECK_EQ(zdev_create(path, ZDEV_LAYOUT_DIR, &geometry, NULL, NULL, &e),
		 -ENOTEMPTY);
	CHECK_EQ(zdev_close(open_dev(false)), 0);
}

static void an_interrupted_creation_is_recognised(void)
{
	fresh();
	CHECK_EQ(unlink(in_dev(DIR_META)), 0);
	CHECK_EQ(unlink(in_dev("seq-000005")), 0);
	set_size(DIR_CREATING, 0);
	open_fails(EINVAL, path, "incomplete device");
}

static void only_one_opens_for_writing(void)
{
	struct zdev *dev, *other;
	struct zerr e;
	char pid[32];

	fresh();
	dev = open_dev(false);
	CHECK_EQ(try_open(false, &other, &e), -EBUSY);
	snprintf(pid, sizeof(pid), "(pid %d)", (int)getpid());
	CHECK_HAS(e.msg, "in use by ");	/* the name is another one under valgrind */
	CHECK_HAS(e.msg, pid);
	CHECK_EQ(try_open(true, &other, &e), -EBUSY);
	CHECK_EQ(zdev_close(dev), 0);
	dev = open_dev(true);
	other = open_dev(true);
	CHECK_EQ(zdev_close(other), 0);
	CHECK_EQ(zdev_close(dev), 0);
}

static void a_read_only_device_refuses_changes(void)
{
	char before[2048], after[2048];
	struct zdev *dev;

	fresh();
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(put_tail(dev, Z0, BS, "tail", 4), 0);
	CHECK_EQ(zdev_close(dev), 0);

	fingerprint(before, sizeof(before));
	dev = open_dev(true);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, block, BS), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_OPEN, Z0), -EPERM);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0, BLK_ZONE_COND_OFFLINE), -EPERM);
	check_tail(dev, Z0, "tail");
	CHECK_EQ(zdev_close(dev), 0);
	fingerprint(after, sizeof(after));
	CHECK_STR(after, before);
}

/* ---- open files ---- */

static void many_zones_need_few_open_files(void)
{
	struct zdev_geometry g = geometry;
	struct rlimit old, low;
	struct zdev *dev;
	char got[BS];
	uint32_t zno;
	int round;

	g.nr_zones = 600;
	create(&g);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 64;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	dev = open_dev(false);
	for (round = 0; round < 2; round++) {
		for (zno = Z0; zno < g.nr_zones; zno++) {
			memset(block, (int)(zno % 251 + 1), BS);
			CHECK_EQ(zdev_pwrite(dev, zno, round * BS, block, BS), BS);
		}
	}
	CHECK(nr_open_files() < 48);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	for (zno = Z0; zno < g.nr_zones; zno++) {
		CHECK_EQ(zdev_pread(dev, zno, BS, got, BS), BS);
		CHECK_EQ((unsigned char)got[BS - 1], zno % 251 + 1);
	}
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
}

#define NR_THREADS	6u
#define NR_SHARED	40u	/* zones, several times the files that may be open */

struct hand {
	struct zdev	*dev;
	unsigned	nr;
};

/* Each thread writes its own zones, reads anyone's, and flushes now and then. */
static void *write_some_zones(void *arg)
{
	const struct hand *h = arg;
	char data[BS], got[BS];
	uint32_t i, zno;

	memset(data, 'a' + (int)h->nr, sizeof(data));
	for (i = 0; i < 6 * NR_SHARED; i++) {
		zno = Z0 + i % NR_SHARED;
		if (zno % NR_THREADS == h->nr) {
			uint64_t wp = zone(h->dev, zno).wp;

			CHECK_EQ(put_tail(h->dev, zno, wp, data, 10), 0);
			CHECK_EQ(zdev_pwrite(h->dev, zno, wp, data, BS), BS);
			CHECK_EQ(put_tail(h->dev, zno, wp + BS, data, 20), 0);
		} else {
			CHECK_EQ(zdev_pread(h->dev, zno, 0, got, BS), BS);
			CHECK(!got[0] || got[0] == 'a' + (char)(zno % NR_THREADS));
		}
		if (i % 37 == h->nr)
			CHECK_EQ(zdev_command(h->dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
		else if (i % 5 == h->nr)
			CHECK_EQ(zdev_command(h->dev, ZDEV_FLUSH, zno), 0);
	}
	return NULL;
}

static void threads_share_few_open_files(void)
{
	struct zdev_geometry g = geometry;
	pthread_t thread[NR_THREADS];
	struct hand hand[NR_THREADS];
	struct rlimit old, low;
	struct zdev *dev;
	char tail[BS];
	uint32_t i;

	g.nr_zones = NR_CONV + NR_SHARED;
	create(&g);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 48;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	dev = open_dev(false);
	for (i = 0; i < NR_THREADS; i++) {
		hand[i] = (struct hand) { .dev = dev, .nr = i };
		CHECK_EQ(pthread_create(&thread[i], NULL, write_some_zones, &hand[i]), 0);
	}
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	dev = reopen(NULL, dev);
	for (i = Z0; i < g.nr_zones; i++) {
		CHECK_EQ(zone(dev, i).wp, 6 * BS);
		CHECK_EQ(zdev_get_tail(dev, i, tail), 20);
		CHECK_EQ(tail[19], 'a' + (char)(i % NR_THREADS));
	}
	CHECK_EQ(zdev_close(dev), 0);
}

/* ---- writes that fail ---- */

static void set_file_limit(rlim_t bytes)
{
	struct rlimit rl;

	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &rl), 0);
	rl.rlim_cur = bytes;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

/* The limit of file sizes makes short writes, then errors: like a full disk. */
static void a_short_write_leaves_whole_blocks(void)
{
	struct zdev *dev;
	char got[BS];

	fresh();
	memset(block, 'd', sizeof(block));
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	set_file_limit(3 * BS + 100);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, block, 4 * BS), -EIO);
	CHECK_EQ(zone(dev, Z0).wp, 3 * BS);
	CHECK_EQ(zone(dev, Z0).cond, BLK_ZONE_COND_IMP_OPEN);
	CHECK_EQ(size_of("seq-000002"), 3 * BS);	/* not 100 bytes more */
	check_tail(dev, Z0, "");
	set_file_limit(RLIM_INFINITY);
	CHECK_EQ(zdev_pread(dev, Z0, 2 * BS, got, BS), BS);
	CHECK_EQ(got[BS - 1], 'd');
	CHECK_EQ(zdev_pwrite(dev, Z0, 3 * BS, block, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(size_of("seq-000002"), 4 * BS);
}

/* A write over a tail that gets nowhere must not take the tail along. */
static void a_failed_write_keeps_the_tail(void)
{
	char first[BS] = "the tail, and what was to follow";
	struct zdev *dev;

	fresh();
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(put_tail(dev, Z0, BS, first, 8), 0);
	set_file_limit(BS + 200);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, first, BS), -EIO);
	CHECK_EQ(zone(dev, Z0).wp, BS);
	check_tail(dev, Z0, "the tail");
	set_file_limit(BS + 8);
	CHECK_EQ(put_tail(dev, Z0, BS, first, 20), -EIO);
	check_tail(dev, Z0, "the tail");
	/* With a whole block written the tail is part of it. */
	set_file_limit(2 * BS + 1);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, block, 2 * BS), -EIO);
	CHECK_EQ(zone(dev, Z0).wp, 2 * BS);
	check_tail(dev, Z0, "");
	set_file_limit(RLIM_INFINITY);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A disk that is really full: ENOSPC, and what is there fits the write pointer. */
static void a_full_disk_is_reported(void)
{
	struct zdev_geometry g = geometry;
	struct zdev *dev;
	uint64_t wp;
	ssize_t ret;

	unit_rm_tree(path);
	CHECK_EQ(mkdir(path, 0700), 0);
	if (mount("zonefsd-test", path, "tmpfs", 0, "size=64k,nr_inodes=100")) {
		printf("  skipped: cannot mount a small tmpfs\n");
		return;
	}
	strcat(path, "/d");
	g.zone_size = g.zone_capacity = 1 << 20;
	create(&g);
	dev = open_dev(false);
	memset(block, 'f', sizeof(block));
	for (wp = 0;; wp += 3 * BS) {
		ret = zdev_pwrite(dev, Z0, wp, block, 3 * BS);
		if (ret != 3 * BS)
			break;
	}
	CHECK_EQ(ret, -ENOSPC);
	CHECK(zone(dev, Z0).wp >= wp);
	CHECK_EQ(zone(dev, Z0).wp % BS, 0);
	CHECK_EQ(zone(dev, Z0).wp, size_of("seq-000002"));
	CHECK_EQ(put_tail(dev, Z0 + 1, 0, "x", 1), -ENOSPC);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(zdev_close(dev), 0);
	snprintf(path, sizeof(path), "%s/dev", dir);
	CHECK_EQ(umount(path), 0);
}

/* ---- space set aside, the file behind a zone ---- */

static long long blocks_of(const char *name)
{
	struct stat st;

	CHECK_EQ(stat(in_dev(name), &st), 0);
	return (long long)st.st_blocks * 512;
}

static void reserved_space_is_given_back(void)
{
	struct zdev *dev;

	fresh();
	dev = open_dev(false);
	if (zdev_reserve(dev, Z0, 0, CAP) == -EOPNOTSUPP) {
		printf("  skipped: no space can be reserved here\n");
		CHECK_EQ(zdev_close(dev), 0);
		return;
	}
	CHECK_EQ(size_of("seq-000002"), 0);
	CHECK(blocks_of("seq-000002") >= CAP);
	CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);		/* an empty zone */
	CHECK_EQ(blocks_of("seq-000002"), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(zdev_reserve(dev, Z0, BS, CAP - BS), 0);
	CHECK(blocks_of("seq-000002") >= CAP);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, 0), 0);
	CHECK(blocks_of("seq-000002") < CAP);
	CHECK_EQ(zdev_reserve(dev, Z0, BS, CAP), 0);
	CHECK_EQ(put_tail(dev, Z0, BS, "tail", 4), 0);
	CHECK_EQ(zdev_reserve(dev, Z0 + 1, 0, CAP), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 1), 0);
	CHECK_EQ(size_of("seq-000003"), CAP);
	CHECK_EQ(blocks_of("seq-000003"), 0);
	CHECK_EQ(zdev_reserve(dev, Z0 + 2, 0, CAP), 0);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(size_of("seq-000002"), BS);
	CHECK(blocks_of("seq-000002") < CAP);
	CHECK_EQ(blocks_of("seq-000004"), 0);
	dev = open_dev(false);
	check_tail(dev, Z0, "tail");
	CHECK_EQ(zdev_close(dev), 0);
}

static bool reads_as(int fd, const char *want, size_t len)
{
	char got[CAP + 1];

	return pread(fd, got, sizeof(got), 0) == (ssize_t)len && !memcmp(got, want, len);
}

static void the_file_behind_a_zone(void)
{
	const struct zdev_fault fault = { .op = ZDEV_READ, .zno = Z0, .err = EIO };
	const struct zdev_fault none = { .op = ZDEV_READ, .zno = Z0 };
	const struct zdev_open_opts cut = { .powercut = true };
	char want[BS + 4];
	struct zdev *dev;
	struct zerr e;
	int fd;

	fresh();
	dev = open_dev(false);
	memset(want, 'w', BS);
	memcpy(want + BS, "tail", 4);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, want, BS), BS);
	fd = zdev_backing(dev, Z0);
	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK(reads_as(fd, want, BS));
	CHECK_EQ(put_tail(dev, Z0, BS, "tail", 4), 0);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, CAP), 0);
	CHECK(reads_as(fd, want, BS + 4));
	close(fd);
	CHECK_EQ(zdev_inject(dev, &fault), 0);
	CHECK_EQ(zdev_backing(dev, Z0), -EOPNOTSUPP);
	CHECK_EQ(zdev_inject(dev, &none), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0 + 1, BLK_ZONE_COND_OFFLINE), 0);
	CHECK_EQ(zdev_backing(dev, Z0 + 1), -EOPNOTSUPP);
	CHECK_EQ(zdev_backing(dev, NR_ZONES), -EINVAL);
	fd = zdev_backing(dev, 0);
	CHECK_EQ(lseek(fd, 0, SEEK_END), ZONE_SIZE);
	close(fd);
	CHECK_EQ(zdev_close(dev), 0);
	/* Its tail is elsewhere now. */
	dev = open_dev(true);
	CHECK_EQ(zdev_backing(dev, Z0), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
	CHECK_EQ(zdev_open(path, &cut, &dev, &e), 0);
	CHECK_EQ(zdev_backing(dev, Z0), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A full disk met by writes past the page cache, and one that was provided for. */
static void a_full_disk_under_direct_writes(void)
{
	const size_t len = 128 * 1024;
	struct zdev_geometry g = geometry;
	char cmd[1024], image[80], *buf;
	struct zdev *dev;
	ssize_t ret;
	uint64_t wp;

	snprintf(image, sizeof(image), "%s/ext4", dir);
	unit_rm_tree(path);
	CHECK_EQ(mkdir(path, 0700), 0);
	snprintf(cmd, sizeof(cmd), "truncate -s 8M %s && mkfs.ext4 -q -b 4096 -m 0 -O ^has_journal %s && "
		 "mount -o loop %s %s 2>/dev/null", image, image, image, path);
	if (system(cmd)) {
		printf("  skipped: cannot mount a small ext4\n");
		return;
	}
	CHECK(!posix_memalign((void **)&buf, 4096, len));
	memset(buf, 'f', len);
	strcat(path, "/d");
	g.zone_size = g.zone_capacity = 16 << 20;
	create(&g);
	dev = open_dev(false);
	CHECK_EQ(zdev_reserve(dev, Z0, 0, 4 * len), 0);
	for (wp = 0; (ret = zdev_pwrite(dev, Z0 + 1, wp, buf, len)) == (ssize_t)len; wp += len)
		;
	CHECK_EQ(ret, -ENOSPC);
	CHECK(wp >= len);
	CHECK(zone(dev, Z0 + 1).wp >= wp);
	CHECK_EQ(zone(dev, Z0 + 1).wp, size_of("seq-000003"));
	CHECK_EQ(zdev_reserve(dev, Z0 + 2, 0, 8 << 20), -ENOSPC);
	CHECK_EQ(zone(dev, Z0 + 2).wp, 0);
	/* What was reserved is there, for both kinds of writes and a tail. */
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, buf, len), len);
	CHECK_EQ(zdev_pwrite(dev, Z0, len, buf, BS), BS);
	CHECK_EQ(put_tail(dev, Z0, len + BS, buf, 100), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	CHECK_EQ(zdev_close(dev), 0);
	free(buf);
	snprintf(path, sizeof(path), "%s/dev", dir);
	CHECK_EQ(umount(path), 0);
}

/* ---- crashes ---- */

/* What a child does to the device before it dies without closing it. */
static void dies(void (*work)(struct zdev *dev))
{
	pid_t pid = fork();

	if (!pid) {
		work(open_dev(false));
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void work_everything(struct zdev *dev)
{
	memset(block, 'k', sizeof(block));
	CHECK_EQ(zdev_pwrite(dev, 0, BS, block, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, 2 * BS), 2 * BS);
	CHECK_EQ(put_tail(dev, Z0, 2 * BS, "killed", 6), 0);
	CHECK_EQ(put_tail(dev, Z0 + 1, 0, "early", 5), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 2, 0, block, CAP), CAP);
	CHECK_EQ(zdev_command(dev, ZDEV_FINISH, Z0 + 3), 0);
}

static void kill_loses_nothing_acknowledged(void)
{
	struct zdev *dev;
	char got[BS];
	int round;

	fresh();
	dies(work_everything);
	CHECK_HAS(read_meta_text(), "state=open\n");
	/* Look read-only first: what it finds must not depend on recovery. */
	for (round = 0; round < 3; round++) {
		dev = open_dev(round == 0);
		CHECK_EQ(zone(dev, Z0).wp, 2 * BS);
		CHECK_EQ(zone(dev, Z0).cond, BLK_ZONE_COND_CLOSED);
		check_tail(dev, Z0, "killed");
		CHECK_EQ(zone(dev, Z0 + 1).cond, BLK_ZONE_COND_EMPTY);
		check_tail(dev, Z0 + 1, "early");
		CHECK_EQ(zone(dev, Z0 + 2).cond, BLK_ZONE_COND_FULL);
		CHECK_EQ(zone(dev, Z0 + 3).cond, BLK_ZONE_COND_FULL);
		CHECK_EQ(zdev_pread(dev, Z0, BS, got, BS), BS);
		CHECK_EQ(got[BS - 1], 'k');
		CHECK_EQ(zdev_pread(dev, Z0, 2 * BS, got, BS), BS);
		CHECK_EQ(got[0], 0);		/* the tail is not zone data */
		CHECK_EQ(zdev_pread(dev, 0, BS, got, BS), BS);
		CHECK_EQ(got[0], 'k');
		CHECK_EQ(zdev_close(dev), 0);
	}
	/* Closed in the end: the files are zloop's again. */
	CHECK_EQ(size_of("seq-000002"), 2 * BS);
	CHECK_EQ(size_of("seq-000003"), 0);
	CHECK_HAS(read_meta_text(), "state=clean\n");
}

static void work_set_cond(struct zdev *dev)
{
	CHECK_EQ(zdev_set_cond(dev, 0, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0 + 1, BLK_ZONE_COND_READONLY), 0);
	CHECK_EQ(zdev_set_cond(dev, Z0 + 1, BLK_ZONE_COND_OFFLINE), 0);
}

static void worn_out_zones_stay_worn_out(void)
{
	struct zdev *dev;
	int round;

	fresh();
	dies(work_set_cond);
	for (round = 0; round < 2; round++) {
		dev = open_dev(false);
		CHECK_EQ(zone(dev, 0).cond, BLK_ZONE_COND_READONLY);
		CHECK_EQ(zone(dev, 1).cond, BLK_ZONE_COND_NOT_WP);
		CHECK_EQ(zone(dev, Z0).cond, BLK_ZONE_COND_READONLY);
		CHECK_EQ(zone(dev, Z0 + 1).cond, BLK_ZONE_COND_OFFLINE);
		CHECK_EQ(zone(dev, Z0 + 2).cond, BLK_ZONE_COND_EMPTY);
		CHECK_EQ(zdev_close(dev), 0);
	}
}

/* Writers killed at any moment: a block is there whole or not at all. */
static void work_until_killed(struct zdev *dev)
{
	uint64_t pos = 0;
	char tail[100];

	memset(tail, 't', sizeof(tail));
	for (;;) {
		if (pos == CAP) {
			CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
			pos = 0;
		}
		memset(block, (int)('A' + pos / BS), 2 * BS);
		CHECK_EQ(put_tail(dev, Z0, pos, tail, sizeof(tail)), 0);
		CHECK_EQ(zdev_pwrite(dev, Z0, pos, block, 2 * BS), 2 * BS);
		pos += 2 * BS;
	}
}

static void kills_at_any_moment_leave_a_valid_device(void)
{
	char got[BS];
	int round;

	fresh();
	for (round = 0; round < 40; round++) {
		struct zdev *dev;
		uint64_t pos, wp;
		pid_t pid = fork();
		ssize_t len;

		if (!pid) {
			dev = open_dev(false);
			CHECK_EQ(zdev_command(dev, ZDEV_RESET, Z0), 0);
			work_until_killed(dev);
		}
		usleep(3000 + (useconds_t)round * 700);
		kill(pid, SIGKILL);
		CHECK_EQ(waitpid(pid, NULL, 0), pid);
		dev = open_dev(false);
		wp = zone(dev, Z0).cond == BLK_ZONE_COND_FULL ? CAP : zone(dev, Z0).wp;
		for (pos = 0; pos < wp; pos += BS) {
			CHECK_EQ(zdev_pread(dev, Z0, pos, got, BS), BS);
			CHECK_EQ(got[0], 'A' + (pos / BS & ~1ull));
			CHECK_EQ(got[BS - 1], got[0]);
		}
		len = zdev_get_tail(dev, Z0, got);
		CHECK(len == 0 || len == 100);
		CHECK(len == 0 || got[99] == 't');
		CHECK_EQ(zdev_close(dev), 0);
	}
}

static void work_reserve(struct zdev *dev)
{
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	zdev_reserve(dev, Z0, 0, CAP);
	zdev_reserve(dev, Z0 + 1, 0, CAP);
}

static void a_kill_leaves_no_reserved_space(void)
{
	dies(work_reserve);
	CHECK_EQ(zdev_close(open_dev(false)), 0);
	CHECK(blocks_of("seq-000002") < CAP);
	CHECK_EQ(blocks_of("seq-000003"), 0);
}

/* ---- power cuts ---- */

static void a_power_cut_takes_back_what_was_not_flushed(void)
{
	const struct zdev_open_opts opts = { .powercut = true };
	struct zdev *dev;
	struct zerr e;

	fresh();
	CHECK_EQ(zdev_open(path, &opts, &dev, &e), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	CHECK_EQ(put_tail(dev, Z0, BS, "durable", 7), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, block, BS), BS);
	CHECK_EQ(zdev_pwrite(dev, Z0 + 1, 0, block, BS), BS);
	CHECK_EQ(put_tail(dev, Z0 + 2, 0, "lost", 4), 0);
	CHECK_EQ(zdev_power_cut(dev), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, 2 * BS, block, BS), -EIO);
	CHECK_EQ(zdev_get_tail(dev, Z0, block), -EIO);
	CHECK_EQ(zdev_close(dev), 0);
	dev = open_dev(false);
	CHECK_EQ(zone(dev, Z0).wp, BS);
	check_tail(dev, Z0, "durable");
	CHECK_EQ(zone(dev, Z0 + 1).wp, 0);
	check_tail(dev, Z0 + 2, "");
	CHECK_EQ(zdev_power_cut(dev), -EOPNOTSUPP);
	CHECK_EQ(zdev_close(dev), 0);
}

/* A flush of the whole device, for another file, meets the error of a zone. */
static void a_sync_error_waits_for_its_zone(void)
{
	struct zdev *dev;

	create(&geometry);
	dev = open_dev(false);
	CHECK_EQ(zdev_pwrite(dev, Z0, 0, block, BS), BS);
	sync_error = EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0 + 1), 0);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), 0);
	CHECK_EQ(zdev_pwrite(dev, Z0, BS, block, BS), BS);
	sync_error = ENOSPC;
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, Z0), -ENOSPC);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	/* So it is with a conventional zone. */
	CHECK_EQ(zdev_pwrite(dev, 0, 0, block, BS), BS);
	sync_error = EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, 0), -EIO);
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), 0);
	/* What nobody was told of keeps the device from being marked clean. */
	CHECK_EQ(zdev_pwrite(dev, Z0, 2 * BS, block, BS), BS);
	sync_error = EIO;
	CHECK_EQ(zdev_command(dev, ZDEV_FLUSH, ZDEV_ALL_ZONES), -EIO);
	CHECK_EQ(zdev_close(dev), -EIO);
}

int main(void)
{
	signal(SIGXFSZ, SIG_IGN);
	start_tests();
	setenv("TESTDEV", path, 1);
	RUN(follows_the_rules);
	RUN(files_are_those_of_zloop);
	RUN(info_tells_the_geometry);
	RUN(reset_and_finish_leave_alone_what_is_done);
	RUN(a_zloop_directory_opens);
	RUN(a_zone_size_that_is_not_known_is_asked_for);
	RUN(gaps_in_a_zloop_directory_are_named);
	RUN(changed_files_are_detected);
	RUN(an_unreadable_file_is_named);
	RUN(what_is_no_device_is_refused);
	RUN(a_failed_open_leaves_nothing);
	RUN(creation_leaves_nothing_when_it_fails);
	RUN(an_interrupted_creation_is_recognised);
	RUN(only_one_opens_for_writing);
	RUN(a_read_only_device_refuses_changes);
	RUN(many_zones_need_few_open_files);
	RUN(threads_share_few_open_files);
	RUN(a_short_write_leaves_whole_blocks);
	RUN(a_failed_write_keeps_the_tail);
	RUN(a_full_disk_is_reported);
	RUN(reserved_space_is_given_back);
	RUN(the_file_behind_a_zone);
	RUN(a_full_disk_under_direct_writes);
	RUN(a_sync_error_waits_for_its_zone);
	RUN(kill_loses_nothing_acknowledged);
	RUN(a_kill_leaves_no_reserved_space);
	RUN(worn_out_zones_stay_worn_out);
	RUN(kills_at_any_moment_leave_a_valid_device);
	RUN(a_power_cut_takes_back_what_was_not_flushed);
	unit_rm_tree(dir);
	return 0;
}
