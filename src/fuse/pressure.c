/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk of ours carries file systems, whose dirty pages the system writes back
 * through us when memory is short. If we then waited for memory, which comes free
 * when these pages are written, nothing would ever move again. So our threads are
 * marked as those who flush (their allocations never wait for I/O), what we need is
 * allocated at the start and locked, and malloc keeps what it has.
 */
#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER	/* Linux 5.6 */
#define PR_SET_IO_FLUSHER	57
#endif

/* Stacks are locked in full. The largest is for sanitizers, which keep much there. */
#define STACK_SIZE	(256u << 10)
#define STACK_SIZE_MAX	(8u << 20)
/* What libfuse and the reports may have in use at once. */
#define HEAP_RESERVE	(4u << 20)

static void missing(const struct zlog *log, const char *what, int err)
{
	if (err)
		zlog(log, ZLOG_INFO, "the disk may stall when memory is short: %s: %s", what,
		     strerror(err));
}

static void *nothing(void *arg)
{
	return arg;
}

/* The smallest with which threads start: what libraries put there counts, too. */
static void set_stack_size(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	size_t size;

	if (pthread_attr_init(&attr))
		return;
	for (size = STACK_SIZE; size <= STACK_SIZE_MAX; size *= 2) {
		if (pthread_attr_setstacksize(&attr, size) || pthread_setattr_default_np(&attr) ||
		    pthread_create(&thread, NULL, nothing, NULL))
			continue;
		pthread_join(thread, NULL);
		break;
	}
	pthread_attr_destroy(&attr);
}

/* One heap, which grows by brk and never shrinks, and has its size from the start. */
static void keep_heap(void)
{
	void *p;

	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, -1);
	p = malloc(HEAP_RESERVE);
	if (p)
		memset(p, 0, HEAP_RESERVE);
	/* The compiler must not take the pair for needless. */
	__asm__ volatile("" : : "r"(p) : "memory");
	free(p);
}

static int spare_us(void)
{
	static const char never[] = "-1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return errno;
	if (write(fd, never, sizeof(never) - 1) < 0)
		ret = errno;
	close(fd);
	return ret;
}

void pressure_prepare(struct pressure *p)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	set_stack_size();
	keep_heap();
	p->flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) ? errno : 0;
	p->spared = spare_us();
	/* It matters only where the right to lock memory has been given up. */
	setrlimit(RLIMIT_MEMLOCK, &all);
}

void pressure_lock(const struct pressure *p, const struct zlog *log)
{
	struct rlimit limit;
	int flags = MCL_CURRENT;

	/* What comes later must not fail for a limit that what is here has used up. */
	if (!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur == RLIM_INFINITY)
		flags |= MCL_FUTURE;
	missing(log, "our memory is not locked", mlockall(flags) ? errno : 0);
	missing(log, "the kernel does not know that it depends on us", p->flusher);
	missing(log, "we are not spared when memory has run out", p->spared);
}
