/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of the kernel's FUSE protocol libfuse does not offer us: passthrough,
 * protocol 7.40, Linux 6.9; parallel direct writes, 7.39. Header files of older
 * systems lack them, so the few numbers stand here.
 */
#ifndef FUSE_ABI_H
#define FUSE_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define ABI_OP_INIT		26

/* Of INIT, request and reply. With EXT there are 32 more flags in flags2. */
#define ABI_INIT_EXT		(1u << 30)
#define ABI_INIT2_PASSTHROUGH	(1u << 5)

struct abi_in_header {
	uint32_t	len;
	uint32_t	opcode;
	uint64_t	unique;
	uint64_t	nodeid;
	uint32_t	uid, gid, pid;
	uint32_t	extensions;
};

struct abi_init_in {
	uint32_t	major, minor;
	uint32_t	max_readahead;
	uint32_t	flags;
	uint32_t	flags2;
	uint32_t	unused[11];
};

struct abi_out_header {
	uint32_t	len;
	int32_t		error;
	uint64_t	unique;
};

struct abi_init_out {
	uint32_t	major, minor;
	uint32_t	max_readahead;
	uint32_t	flags;
	uint16_t	max_background, congestion_threshold;
	uint32_t	max_write;
	uint32_t	time_gran;
	uint16_t	max_pages, map_alignment;
	uint32_t	flags2;
	uint32_t	max_stack_depth;	/* this file system's own layer included */
	uint32_t	unused[6];
};

/* The reply to OPEN. */
#define ABI_OPEN_DIRECT_IO	(1u << 0)
#define ABI_OPEN_PARALLEL_DIRECT_WRITES (1u << 6)
#define ABI_OPEN_PASSTHROUGH	(1u << 7)

struct abi_open_out {
	uint64_t	fh;
	uint32_t	open_flags;
	int32_t		backing_id;
};

/* On the FUSE device, with CAP_SYS_ADMIN: a file as one to pass through to. */
struct abi_backing_map {
	int32_t		fd;
	uint32_t	flags;
	uint64_t	unused;
};

#define ABI_IOC_BACKING_OPEN	_IOW(229, 1, struct abi_backing_map)
#define ABI_IOC_BACKING_CLOSE	_IOW(229, 2, uint32_t)

_Static_assert(sizeof(struct abi_in_header) == 40, "FUSE protocol");
_Static_assert(sizeof(struct abi_init_in) == 64, "FUSE protocol");
_Static_assert(sizeof(struct abi_out_header) == 16, "FUSE protocol");
_Static_assert(sizeof(struct abi_init_out) == 64, "FUSE protocol");
_Static_assert(sizeof(struct abi_open_out) == 16, "FUSE protocol");

#endif
