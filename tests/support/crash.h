/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What those that write until the daemon dies, and then verify, have in common.
 * What goes wrong in here ends the program with status 2.
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file path, made if need be, as shared memory: what was written is kept there. */
static inline void *map_state(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *state;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		err(2, "%s", path);
	state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (state == MAP_FAILED)
		err(2, "%s", path);
	close(fd);
	return state;
}

/* All of a file, to be freed. */
static inline char *read_file(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t done = 0;
	char *data;

	if (fd < 0 || fstat(fd, st))
		err(2, "%s", path);
	data = malloc((size_t)st->st_size + 1);
	if (!data)
		err(2, "%s", path);
	while (done < st->st_size) {
		ssize_t n = pread(fd, data + done, (size_t)(st->st_size - done), done);

		if (n <= 0)
			err(2, "%s", path);
		done += n;
	}
	close(fd);
	return data;
}

/* What a killed daemon answers. ENOENT: the mount is gone already. */
static inline bool is_the_kill(int error)
{
	return error == ENOTCONN || error == ECONNABORTED || error == EIO ||
	       error == ENODEV || error == ENOENT;
}

#endif
