/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside src/fuse only: one mount, its open files, its requests. The prototypes
 * are grouped under the file that defines them.
 *
 * Lock order: freq->lock, then the locks of zonefs. All other locks here are
 * leaves: nothing is called while one is held. libfuse holds its own lock of a
 * request while it calls the interrupt function, which takes one of them.
 */
#ifndef FUSE_I_H
#define FUSE_I_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "pressure.h"
#include "zonefsd/block.h"
#include "zonefsd/error.h"
#include "zonefsd/log.h"
#include "zonefsd/zdev.h"
#include "zonefsd/zonefs.h"

struct ctl;
struct ctl_entry;
struct ctl_file;
struct disk;
struct format;
struct freq_pool;
struct intr;
struct iobuf_pool;
struct notify;
struct pass;

#define MNT_MAX_WRITE	(1u << 20)	/* bytes in one READ or WRITE request */
/* Attributes and names change only through us, and we tell the kernel. */
#define MNT_TIMEOUT	86400.0		/* seconds */

/* transport.c's. Set until INIT is answered, constant after. */
struct transport {
	bool		wanted;		/* passthrough, if the kernel has it */
	bool		granted;
	uint64_t	init_unique;
};

/* One mount. All but the counters is set up before the first request. */
struct mnt {
	const struct options *opts;
	const struct zlog *log;
	const struct format *format;	/* what the device holds; NULL: not known yet */
	struct zdev	*devs[DMZ_MAX_DEVS];	/* that of opts->device first */
	uint32_t	nr_devs;
	struct zonefs	*fs;		/* format zonefs */
	struct disk	*disk;		/* format dmzoned */
	struct pressure	pressure;	/* of a disk's daemon */
	struct fuse_session *se;
	struct iobuf_pool *pool;
	struct freq_pool *freqs;	/* NULL: malloc serves */
	struct notify	*notify;
	struct intr	*intr;
	struct ctl	*ctl;
	struct pass	*pass;		/* NULL: no passthrough */
	struct transport transport;
	uint64_t	root_ino;
	dev_t		st_dev;		/* of our mount; 0: not known */
	uint8_t		*seq_map;	/* zonefs: bit ino: the file's zone is sequential */

	atomic_uint	nr_requests;	/* freqs that are not answered, and 1 until freq_drain */

	pthread_mutex_t	lock;		/* guards all below */
	pthread_cond_t	idle;		/* drained */
	bool		drained;	/* nr_requests became 0 */
	struct handle	*handles;	/* all that are open */
	struct onode	*onodes[256];	/* open inodes, hashed by inode number */
	uint32_t	nr_writers;	/* handles open for writing */
	uint32_t	nr_through;	/* handles whose reads pass through */
};

/* ---- node numbers: computed, so that a lookup allocates nothing ---- */

/* The control directory and its files, far above any zone. */
#define CTL_NODE	(UINT64_C(1) << 32)

static inline bool node_is_ctl(fuse_ino_t node)
{
	return node >= CTL_NODE;
}

/* FUSE wants 1 for the root, where zonefs has a zone. */
static inline fuse_ino_t node_of(const struct mnt *m, uint64_t ino)
{
	return ino == m->root_ino ? FUSE_ROOT_ID : ino + 2;
}

static inline uint64_t ino_of(const struct mnt *m, fuse_ino_t node)
{
	return node == FUSE_ROOT_ID ? m->root_ino : node - 2;
}

/* ino is that of a file on a sequential zone. */
static inline bool ino_is_seq(const struct mnt *m, uint64_t ino)
{
	return ino < m->root_ino && (m->seq_map[ino / 8] & 1u << ino % 8);
}

/* ---- what differs between the formats ---- */

/*
 * Handlers see no control files. Those with a req answer it, now or later; the
 * others return 0 or -errno and do not wait for the device.
 */
struct format {
	const char	*name;		/* as `info` has it */
	bool		block;		/* in the path of the system's writeback */

	/*
	 * Open m->devs and build upon them, on a thread without capabilities; close
	 * also undoes an open that failed half way.
	 */
	int (*open)(struct mnt *m, struct zerr *e);
	void (*stop)(struct mnt *m);	/* the end is near: what takes long shall stop; or NULL */
	int (*close)(struct mnt *m);	/* 0, or -errno: not all data arrived */
	void (*init)(struct fuse_conn_info *conn);

	int (*getattr)(struct mnt *m, fuse_ino_t node, struct stat *st);
	int (*lookup)(struct mnt *m, fuse_ino_t parent, const char *name,
		      struct fuse_entry_param *e);
	/* Entry index of a directory: 1, 0 at the end. *name: to buf or a constant. */
	int (*readdir)(struct mnt *m, fuse_ino_t node, uint64_t index, char buf[20],
		       const char **name, struct fuse_entry_param *e);
	/* Nothing may change a directory, only the errno differs. */
	int (*dirop)(struct mnt *m, enum zonefs_dirop op, fuse_ino_t parent, const char *name);
	int (*rename)(struct mnt *m, fuse_ino_t parent, const char *name,
		      fuse_ino_t new_parent, const char *new_name, unsigned flags);
	void (*statfs)(struct mnt *m, struct statvfs *st);

	void (*setattr)(fuse_req_t req, fuse_ino_t node, struct stat *st, int valid,
			struct fuse_file_info *fi);
	void (*open_file)(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
	void (*release)(fuse_req_t req, struct fuse_file_info *fi);
	void (*read)(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
	void (*write)(fuse_req_t req, fuse_ino_t node, const char *data, size_t size,
		      off_t off, struct fuse_file_info *fi);
	void (*flush)(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
	void (*fsync)(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
	void (*fallocate)(fuse_req_t req, int mode, off_t off, off_t len,
			  struct fuse_file_info *fi);
	void (*copy)(fuse_req_t req, struct fuse_file_info *from, off_t src, fuse_ino_t node,
		     off_t pos, size_t len, struct fuse_file_info *fi);
	int64_t (*lseek)(struct mnt *m, struct fuse_file_info *fi, off_t off, int whence);

	const struct ctl_entry *entries;	/* of .zonefsd; NULL name: the end */
	const struct ctl_cmd *commands;		/* of ctl; likewise */
};

extern const struct format zone_format, disk_format;

/* ---- iobuf.c: memory for one request with data ---- */

/*
 * The received bytes begin at recv, placed so that the payload of a WRITE, which
 * comes behind 80 bytes of headers, is data: page aligned.
 */
enum iobuf_kind {
	IOBUF_RECEIVE,		/* for any request */
	IOBUF_LARGE,		/* for what a READ of IOBUF_LARGE_MIN or more returns */
	IOBUF_SMALL,		/* IOBUF_SMALL_SIZE bytes at least */
};

#define IOBUF_SMALL_SIZE	(32u << 10)

/* Less is not worth a huge page. */
#define IOBUF_LARGE_MIN	(64u << 10)

struct iobuf {
	enum iobuf_kind	kind;
	struct iobuf	*next;
	struct iobuf	**slot;	/* the receiver's pointer to it, while it has one */
	char		*recv;
	char		*data;	/* MNT_MAX_WRITE bytes, but for IOBUF_SMALL */
};

/* fixed: with all memory that it will ever have. NULL when memory is short. */
struct iobuf_pool *iobuf_pool_new(bool fixed);
void iobuf_pool_free(struct iobuf_pool *p);
/* Waits while too many are in use; NULL when memory is short, which fixed never is. */
struct iobuf *iobuf_get(struct iobuf_pool *p, enum iobuf_kind kind);
void iobuf_put(struct iobuf_pool *p, struct iobuf *b);
/* Give the memory of unused buffers back, but for `keep` of each kind. */
void iobuf_trim(struct iobuf_pool *p, uint32_t keep);
/* The buffer of data, the payload of the WRITE that this thread is handling. */
struct iobuf *iobuf_of(const char *data);
/* Take it away from this thread, which will get itself another one. */
void iobuf_take(struct iobuf *b);

/* ---- loop.c: the threads that receive requests ---- */

struct loop;

int loop_start(struct mnt *m, struct loop **loop, struct zerr *e);
/* A descriptor that becomes readable when the session has ended. */
int loop_event_fd(const struct loop *l);
/* Make the threads return, wait for them, free. 0 or the error that ended them. */
int loop_stop(struct loop *l);

/* ---- readahead.c ---- */

/* After INIT, as root: let the kernel read ahead further. Best effort. */
void readahead_raise(const struct mnt *m);

/* ---- request.c: a request that is answered later ---- */

struct freq {
	union {
		struct zonefs_req zr;
		struct {		/* the block view's */
			struct block_io	io;
			struct iovec	iov;
		};
	};
	struct mnt	*m;
	fuse_req_t	req;
	/* Answers req and gives back what f holds, but does not free f. */
	void		(*reply)(struct freq *f, ssize_t result);
	/*
	 * Asks what works on it to end early, and does not complete it before it
	 * returns; zonefs_cancel unless set otherwise.
	 */
	void		(*cancel)(struct freq *f);
	ssize_t		result;
	struct freq	*next;		/* in notify's or ctl's list */

	struct handle	*h;
	struct iobuf	*buf;
	bool		buf_lent;	/* by the receiver, until f has to wait */
	uint64_t	off;
	size_t		size;
	uint64_t	ino;
	struct fuse_file_info fi;
	struct zonefs_setattr_args set;
	char		*line;		/* a control command */
	atomic_bool	stop;		/* the command shall end early */

	bool		interruptible;
	/* From a client that may be dying already, of which no interrupt tells. */
	bool		closes;
	bool		watched;	/* libfuse's lock of req guards it */
	struct {			/* interrupt.c's */
		struct freq	*next, **prev;	/* prev NULL: not in the list */
		int64_t		due;	/* ns of the monotonic clock */
		pid_t		tid;
		unsigned	looks;		/* that told nothing */
	} watch;
	/*
	 * Orders submission, completion and cancelling, guards all below. Taken by
	 * zonefs's done().
	 */
	pthread_mutex_t	lock;
	bool		on_its_own;	/* the submitter has let go of it */
	bool		finished;
	bool		past_cancel;	/* cancel can do nothing about it */
};

/* Memory for `nr` requests at once, so that none needs malloc. NULL: there is none. */
struct freq_pool *freq_pool_new(unsigned nr);
void freq_pool_free(struct freq_pool *p);

/* NULL after answering ENOMEM. */
struct freq *freq_new(struct mnt *m, fuse_req_t req,
		      void (*reply)(struct freq *f, ssize_t result));
/* A reply: what was read into f->buf, which goes back to its pool. */
void freq_reply_read(struct freq *f, ssize_t result);
/* Answer now with -errno: for what fails before it is submitted. */
void freq_fail(struct freq *f, int err);
/*
 * To be called by the submitter right after the zonefs call that takes &f->zr, or
 * whatever else will finish f: until then f is kept, after it f may be gone.
 */
void freq_submitted(struct freq *f, bool interruptible);
/* Ask what works on f to end early, if it still can. */
void freq_cancel(struct freq *f);
/* What f was submitted to is done with it, though it is not answered yet. */
void freq_past_cancel(struct freq *f);
/* f waits on, but for nothing that needs its buffer. */
void freq_drop_buf(struct freq *f);
/*
 * Answer and free f, or have its submitter do it: zonefs's done callback, and
 * whoever else ends a request.
 */
void freq_finish(struct freq *f, ssize_t result);
/* Wait until every request is answered. */
void freq_drain(struct mnt *m);
/* reply() of calls that return nothing but an errno. */
void freq_reply_err(struct freq *f, ssize_t result);

/* ---- interrupt.c: clients that are killed while they wait ---- */

/* NULL when memory or threads are short. */
struct intr *intr_new(void);
void intr_free(struct intr *w);	/* when every request is answered */
/* Cancel f if and when the client that waits for it is killed; now: it may be already. */
void intr_watch(struct intr *w, struct freq *f, bool now);
/* f is about to be answered. Waits while the thread looks at it. */
void intr_forget(struct intr *w, struct freq *f);

/* ---- handle.c: open files ---- */

/* Where the kernel sends the reads and maps of a handle. */
enum io_mode {
	IO_UNDECIDED,
	IO_CACHED,		/* to its page cache, which asks us */
	IO_DIRECT,		/* to us, and no shared map */
	IO_PASS,		/* to the file behind the zone */
	IO_PASS_DIRECT,		/* reads to us, maps to the file behind the zone */
};

enum pass_step {
	PASS_NOTHING, PASS_ADMIT, PASS_REGISTER, PASS_UNREGISTER,
	PASS_THROUGH_ON, PASS_THROUGH_OFF,
};

/*
 * One inode while it is open. m->lock guards all but ino and nr_cached.
 *
 * A reader may have the partial page cached in which an append begins, with
 * zeros behind the old end. That page must be gone before the client learns of
 * the new size, be it from the answer to the append or by asking meanwhile.
 */
struct onode {
	struct onode	*next;
	struct mnt	*m;
	uint64_t	ino;
	uint32_t	refs;
	uint32_t	nr_appends;	/* under way */
	uint64_t	shown;		/* with appends under way: the size before */
	atomic_uint	nr_cached;	/* handles in that mode */
	uint32_t	nr_plain;	/* IO_DIRECT ones, which it may be opening still */
	uint32_t	nr_pass;	/* IO_PASS and IO_PASS_DIRECT */
	uint32_t	nr_through;	/* of these, those that must find all data there */

	/* passthrough.c's. */
	int32_t		backing_id;	/* 0: none */
	bool		through;	/* the file behind the zone has all data */
	bool		refused;	/* the opens that wait go without */
	bool		busy;		/* step is under way */
	enum pass_step	step;
	struct onode	*next_step;
	struct freq	*waiting;	/* opens that zonefs is done with */
	struct zonefs_req through_req;
};

struct handle {
	struct handle	*next, **prev;
	struct zonefs_file *file;	/* NULL for control files, and until open is done */
	struct ctl_file	*ctl;		/* control file, or NULL */
	struct onode	*node;
	int		flags;		/* of open(2) */
	bool		seq;
	bool		writable;
	bool		barred;		/* all reads fail, from the open on */
	atomic_uint	seen;		/* the disk's late errors that it was told of */
	enum io_mode	mode;		/* constant once the open is answered */
	atomic_bool	settled;	/* the kernel has used it: its open is over */
};

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* Not counted and not listed until handle_add. NULL when memory is short. */
struct handle *handle_new(void);
/*
 * Enter a file that is about to be opened, so that nothing can fail after zonefs
 * opened it; false when memory is short.
 */
bool handle_add(struct mnt *m, struct handle *h, uint64_t ino);
/* m->lock held. The kernel is about to hear of it. */
void handle_set_mode(struct mnt *m, struct handle *h, enum io_mode mode);
/* To be called for each read and write of h. */
void handle_settle(struct mnt *m, struct handle *h);
/* Take it out and free it (the file in it is released already). */
void handle_drop(struct mnt *m, struct handle *h);
/* Release all that the kernel left open, as it does when the connection breaks. Blocks. */
void handle_drop_all(struct mnt *m);
/* Between these two the client is shown no larger size of the file than before. */
void handle_append_begin(struct mnt *m, struct handle *h);
void handle_append_end(struct mnt *m, struct handle *h);
/* The size of inode ino that the client may know. */
uint64_t handle_shown_size(struct mnt *m, uint64_t ino, uint64_t size);
/* m->lock held. Give a reference back. */
void onode_put(struct mnt *m, struct onode *n);

/* ---- passthrough.c: reads that never come to us ---- */

/* The options and the device allow it. */
bool pass_wanted(const struct mnt *m);
/*
 * override: the device's files can be opened only by who may open all. To be
 * called with all capabilities. 0 or -errno.
 */
int pass_start(struct mnt *m, bool override);
void pass_stop(struct mnt *m);	/* with no file left open */
/* Decide how the sequential file f has opened is read, and finish f; may take a while. */
void pass_open(struct freq *f);
/* m->lock held, released. A handle of n is gone. */
void pass_released(struct mnt *m, struct onode *n);
bool pass_is_on(struct mnt *m, uint64_t *nr_files);

/* ---- transport.c: passthrough with old and new libfuse ---- */

/* After libfuse has mounted. 0 or -errno. */
int transport_take(struct mnt *m);
void transport_init(struct mnt *m, struct fuse_conn_info *conn);
int transport_reply_open(fuse_req_t req, struct fuse_file_info *fi, int32_t backing_id);
/* A file whose I/O all comes to us, writes side by side, too. */
int transport_reply_open_parallel(fuse_req_t req, struct fuse_file_info *fi);
/* fd as a file to pass through to; stays the caller's. The id, > 0, or -errno. */
int32_t transport_register(struct mnt *m, int fd);
void transport_unregister(struct mnt *m, int32_t backing_id);

/* ---- ops.c, dir-ops.c: the handlers ---- */

extern const struct fuse_lowlevel_ops mnt_ops;

/* The device number of what is mounted there, 0 if that fails. Sends no request. */
dev_t mnt_st_dev(const char *mountpoint);
/*
 * An O_PATH descriptor of our mount's root, the caller's to close. -ESTALE when it
 * is not the one that is seen at the mount point: after a lazy unmount, or with
 * another mounted over it. What is done to the descriptor is done to our mount,
 * whatever becomes of the path. Sends no request.
 */
int mnt_open(const struct mnt *m);
/*
 * The same for a nameless copy of our mount, which does not keep ours from being
 * unmounted while the descriptor is open. Needs CAP_SYS_ADMIN.
 */
int mnt_clone(const struct mnt *m);

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync,
		 struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t new_parent, const char *new_name, unsigned flags);

/* ---- zone-file.c: open files of the format zonefs ---- */

void zone_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void zone_release(fuse_req_t req, struct fuse_file_info *fi);
void zone_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void zone_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off,
		struct fuse_file_info *fi);
void zone_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void zone_fsync(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void zone_fallocate(fuse_req_t req, int mode, off_t off, off_t len, struct fuse_file_info *fi);
int64_t zone_lseek(struct mnt *m, struct fuse_file_info *fi, off_t off, int whence);
/*
 * The done() of an append to f->h. Drops the page in which it began before anybody
 * hears of it, see onode. Who hears of a failure may look at once, too: the size may
 * have gone back.
 */
void zone_append_done(struct zonefs_req *zr, ssize_t result);

/* ---- copy-ops.c ---- */

void zone_copy(fuse_req_t req, struct fuse_file_info *from, off_t src, fuse_ino_t node,
	       off_t pos, size_t len, struct fuse_file_info *fi);

/* ---- ctl.c: the directory .zonefsd ---- */

struct ctl *ctl_new(struct mnt *m);
/* End the commands at hand as soon as possible and refuse new ones. Blocks. */
void ctl_stop(struct ctl *c);
void ctl_free(struct ctl *c);	/* after ctl_stop, with no file left open */

int ctl_lookup(const struct mnt *m, const char *name, struct stat *st);
int ctl_getattr(const struct mnt *m, fuse_ino_t node, struct stat *st);
/* Entry index of the directory, the dots included; NULL at the end. */
const char *ctl_readdir(const struct mnt *m, uint64_t index, struct stat *st);
void ctl_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void ctl_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void ctl_write(fuse_req_t req, const char *data, size_t size, struct fuse_file_info *fi);
void ctl_file_free(struct ctl_file *file);

/* ---- ctl-cmd.c: the commands ---- */

/* Carry out one line. Blocks. *stop asks it to end early with -EINTR. 0 or -errno. */
int ctl_command(struct mnt *m, const char *line, atomic_bool *stop);

/* ---- notify.c: telling the kernel ---- */

/* Takes orders at once, delivers them after notify_start: when FUSE is ready. */
struct notify *notify_new(struct mnt *m);
int notify_start(struct notify *n);
/* Deliver what is queued, then answer all else at once; the thread ends. */
void notify_stop(struct notify *n);
void notify_free(struct notify *n);

/* The kernel shall forget attributes and pages of ino. Does not block. */
void notify_inode(struct notify *n, uint64_t ino);
/* Have the pages of f's file from f->off on dropped, then finish f with result. */
void notify_then_finish(struct notify *n, struct freq *f, ssize_t result);
/* An error made the file system read-only: show it in the mount table. */
void notify_readonly(struct notify *n);
/* A remount asks for writing again: forget notify_readonly. Not from the notify thread. */
void notify_writable(struct notify *n);
/* The last writer went: a remount that was refused may work now. */
void notify_no_writer(struct notify *n);
/* Wait until what is queued now has been delivered. */
void notify_flush(struct notify *n);

#endif
