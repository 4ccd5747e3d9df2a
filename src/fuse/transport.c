/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Passthrough, and writes side by side, as the kernel wants to be told with any
 * libfuse. Version 3.17 has
 * an API for it. An older one mounts, then we read and write the FUSE device in
 * its place, add what it does not know to its answer to INIT, and answer OPEN
 * ourselves.
 *
 * Registering a file is one ioctl, in both cases our own: libfuse would log each
 * refusal, which is nothing to bother anybody with.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse-abi.h"
#include "fuse_i.h"

#ifdef FUSE_CAP_PASSTHROUGH

int transport_take(struct mnt *m)
{
	return 0;
}

void transport_init(struct mnt *m, struct fuse_conn_info *conn)
{
	if (!m->transport.wanted || !(conn->capable & FUSE_CAP_PASSTHROUGH))
		return;
	conn->want |= FUSE_CAP_PASSTHROUGH;
	conn->max_backing_stack_depth = 0;	/* the zones' files are on no overlay */
	m->transport.granted = true;
}

int transport_reply_open(fuse_req_t req, struct fuse_file_info *fi, int32_t backing_id)
{
	fi->backing_id = backing_id;
	return fuse_reply_open(req, fi);
}

int transport_reply_open_parallel(fuse_req_t req, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->parallel_direct_writes = 1;
	return fuse_reply_open(req, fi);
}

#else

/* Remember INIT, which is the first request and comes while there is one thread. */
static void look_at_init(struct transport *t, const void *buf, size_t len)
{
	const struct abi_in_header *in = buf;
	const struct abi_init_in *init = (const void *)(in + 1);

	if (in->opcode != ABI_OP_INIT || len < sizeof(*in) + sizeof(*init))
		return;
	t->granted = init->flags & ABI_INIT_EXT && init->flags2 & ABI_INIT2_PASSTHROUGH;
	t->init_unique = in->unique;
}

static ssize_t shim_read(int fd, void *buf, size_t len, void *userdata)
{
	struct mnt *m = userdata;
	ssize_t n = read(fd, buf, len);

	if (!m->transport.granted && n >= (ssize_t)sizeof(struct abi_in_header))
		look_at_init(&m->transport, buf, n);
	return n;
}

static ssize_t write_init(int fd, const struct iovec *iov)
{
	struct abi_init_out init;
	struct iovec with[2] = { iov[0], { &init, sizeof(init) } };

	memcpy(&init, iov[1].iov_base, sizeof(init));
	init.flags |= ABI_INIT_EXT;
	init.flags2 |= ABI_INIT2_PASSTHROUGH;
	init.max_stack_depth = 1;
	return writev(fd, with, 2);
}

static ssize_t shim_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct transport *t = &((struct mnt *)userdata)->transport;
	const struct abi_out_header *out = iov[0].iov_base;

	if (t->granted && out->unique == t->init_unique && !out->error && count == 2 &&
	    iov[1].iov_len == sizeof(struct abi_init_out))
		return write_init(fd, iov);
	return writev(fd, iov, count);
}

int transport_take(struct mnt *m)
{
	static const struct fuse_custom_io io = { .read = shim_read, .writev = shim_writev };

	if (!m->transport.wanted)
		return 0;
	return fuse_session_custom_io(m->se, &io, fuse_session_fd(m->se));
}

void transport_init(struct mnt *m, struct fuse_conn_info *conn)
{
}

/* Kernels that do not know a flag leave it alone. */
int transport_reply_open_parallel(fuse_req_t req, struct fuse_file_info *fi)
{
	struct abi_open_out out = {
		.fh = fi->fh,
		.open_flags = ABI_OPEN_DIRECT_IO | ABI_OPEN_PARALLEL_DIRECT_WRITES,
	};

	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

int transport_reply_open(fuse_req_t req, struct fuse_file_info *fi, int32_t backing_id)
{
	struct abi_open_out out = {
		.fh = fi->fh,
		.open_flags = ABI_OPEN_PASSTHROUGH | (fi->direct_io ? ABI_OPEN_DIRECT_IO : 0),
		.backing_id = backing_id,
	};

	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

#endif

int32_t transport_register(struct mnt *m, int fd)
{
	struct abi_backing_map map = { .fd = fd };
	int id;

	id = ioctl(fuse_session_fd(m->se), ABI_IOC_BACKING_OPEN, &map);
	if (id < 0)
		return -errno;
	return id ? id : -EIO;
}

void transport_unregister(struct mnt *m, int32_t backing_id)
{
	uint32_t id = backing_id;

	/* It fails when the connection is gone, and all registered files with it. */
	ioctl(fuse_session_fd(m->se), ABI_IOC_BACKING_CLOSE, &id);
}
