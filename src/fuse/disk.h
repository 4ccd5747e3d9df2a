/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside src/fuse only: the block view, one file `disk` in the root. */
#ifndef DISK_H
#define DISK_H

#include "fuse_i.h"

/* Its inode number as ino_of() computes it; the root's comes behind. */
#define DISK_INO	0
#define DISK_ROOT_INO	1

struct disk {
	struct block	*b;
	uint64_t	size;
	atomic_bool	refuse_writes;	/* remounted read-only */
	/* Failures that a later flush or close has to tell of, see disk_late_error. */
	atomic_uint	errors;
	atomic_uint	reclaiming;	/* by hand */

	pthread_mutex_t	lock;		/* guards all below, which no device keeps */
	mode_t		mode;
	uid_t		uid;
	gid_t		gid;
	struct timespec	atime, mtime, ctime;
};

/* ---- block-file.c: `disk` while it is open ---- */

void disk_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void disk_release(fuse_req_t req, struct fuse_file_info *fi);
void disk_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void disk_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off,
		struct fuse_file_info *fi);
void disk_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void disk_fsync(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void disk_fallocate(fuse_req_t req, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void disk_copy(fuse_req_t req, struct fuse_file_info *from, off_t src, fuse_ino_t node,
	       off_t pos, size_t len, struct fuse_file_info *fi);
int64_t disk_lseek(struct mnt *m, struct fuse_file_info *fi, off_t off, int whence);

/*
 * What was acknowledged may not be on the medium: each file that is open for
 * writing shall be told once. Any thread.
 */
void disk_late_error(struct disk *d);

#endif
