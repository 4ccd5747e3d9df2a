/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two files of zcompare share: its state and the table of operations. */
#ifndef TESTS_ZCOMPARE_H
#define TESTS_ZCOMPARE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NR_SLOTS	8
#define NR_MAPS		3
#define NR_FILES	12
#define NR_AIO		6
#define NR_PAST		4096		/* steps remembered for the report */
#define NR_SHOWN	16		/* of them shown */
#define ALL_EVERY	256		/* steps, then all data are compared */
#define FRESH_EVERY	4		/* steps, then data are read from the device */
#define BUF_BYTES	(9u << 20)
#define MAX_WRITE	(1u << 20)	/* of one FUSE request */
#define USER		1000
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

enum side { KERNEL, OURS, NR_SIDES };

struct file {
	char		name[24];
	bool		seq;
	int64_t		cap;
	int64_t		size;		/* as both agreed after the last step */
	int64_t		bs;
};

struct slot {
	int		fd[NR_SIDES];	/* -1: free */
	int		file;		/* -1: a directory */
	int		flags;
};

struct map {
	unsigned char	*at[NR_SIDES];	/* NULL: free */
	size_t		len;
	int		file;
};

/* What came back from one side. */
struct result {
	long long	ret;
	int		err;
	int		sig;
	uint64_t	hash;		/* of the data read */
	char		text[400];
};

struct cmp;
struct op;

struct op_def {
	const char	*name;
	int		weight;
	void		(*choose)(struct cmp *c, struct op *op);
	void		(*run)(struct cmp *c, enum side s, const struct op *op,
			       struct result *r);
	/* After both have run, and agree: keep what they made. */
	void		(*keep)(struct cmp *c, const struct op *op,
				const struct result r[NR_SIDES]);
};

/* One operation; what a field means is for its run() to say. */
struct op {
	const struct op_def *def;
	char		path[40];
	char		path2[40];
	int		file;		/* -1: none */
	int		slot;		/* -1: none */
	int		map;
	int		flags;		/* open flags, or the call's own */
	int		mode;
	int		whence;
	int		rwf;
	int		nvec;
	int		mis;		/* bytes the buffer is misaligned by */
	bool		at;		/* at off, not at the position */
	bool		as_user;
	int64_t		off;
	int64_t		len;
	int64_t		limit;		/* RLIMIT_FSIZE, -1 none */
};

struct cmp {
	const char	*mnt[NR_SIDES];
	const char	*sysfs;
	int		root[NR_SIDES];
	struct file	file[NR_FILES];
	int		nr_files;
	struct slot	slot[NR_SLOTS];
	struct map	map[NR_MAPS];
	uint64_t	seed, first, end, step;
	uint64_t	rnd;		/* state of the step's generator */
	bool		verbose;
	bool		differed;
	unsigned int	tolerated;	/* differences that do not end the run */
	unsigned char	*wbuf;
	unsigned char	*rbuf[NR_SIDES];
	uint64_t	excused[16];	/* by known[] */
	char		(*past)[256];	/* ring of NR_PAST */
	int		*past_file;
};

/* The operations, and how many. */
extern const struct op_def ops[];
extern const size_t nr_ops;

/* Where an access to a map that faults goes on; a signal handler has no argument. */
extern sigjmp_buf fault_jump;

/* A random number below n, 0 if n is 0; from the step's own sequence. */
uint64_t below(struct cmp *c, uint64_t n);
uint64_t hash_bytes(const void *data, size_t len);
int fd_of(const struct cmp *c, enum side s, const struct op *op);

#endif
