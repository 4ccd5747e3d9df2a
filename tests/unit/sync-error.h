/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A medium whose sync fails: the library's fdatasync is replaced in the program
 * that includes this, once. As the kernel does, it tells an error once.
 */
#ifndef SYNC_ERROR_H
#define SYNC_ERROR_H

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int sync_error;	/* of the next fdatasync; 0: it is done */

int fdatasync(int fd)
{
	int err = atomic_exchange(&sync_error, 0);

	if (!err)
		return (int)syscall(SYS_fdatasync, fd);
	errno = err;
	return -1;
}

#endif
