/* SPDX-License-Identifier: BSD-2-Clause */
/* An image file's life: recognise, open, close. docs/image-format.md has the format. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "direct.h"
#include "image_i.h"

/* ---- header and state blocks ---- */

int image_header_read(int fd, uint64_t offset, struct image_layout *lay, struct zerr *e)
{
	struct image_header h = { .magic = "" };
	struct iovec iov = { .iov_base = &h, .iov_len = sizeof(h) };
	ssize_t n;

	n = image_readv(fd, &iov, 1, sizeof(h), offset);
	if (n < 0)
		return n;
	if ((size_t)n < sizeof(h) && !memcmp(h.magic, IMAGE_MAGIC, sizeof(h.magic)))
		return zerr_set(e, EINVAL, "truncated image: its header is not complete");
	return image_header_decode(&h, lay, e);
}

int image_state_read(int fd, const uint8_t uuid[16], struct image_state *st)
{
	struct image_state s;
	bool found = false;
	int i, ret;

	for (i = 0; i < 2; i++) {
		ret = image_pread(fd, &s, sizeof(s), IMAGE_STATE_OFFSET(i));
		if (ret)
			return ret;
		if (!image_state_valid(&s, uuid))
			continue;
		if (!found || le64toh(s.seq) > le64toh(st->seq))
			*st = s;
		found = true;
	}
	return found ? 0 : -EINVAL;
}

int image_state_write(struct image *img, uint32_t flags)
{
	struct image_state st = {
		.flags = htole32(flags),
		.seq = htole64(img->state_seq + 1),
		.sb_id = htole64(img->instance.sb_id),
		.mnt_id = htole64(img->instance.mnt_id),
	};
	int ret;

	memcpy(st.uuid, img->layout.geo.uuid, sizeof(st.uuid));
	memcpy(st.boot_id, img->instance.boot_id, sizeof(st.boot_id));
	image_state_seal(&st);
	/* Over the older block: if this is torn the newer one still counts. */
	ret = image_pwrite(img->fd, &st, sizeof(st),
			   IMAGE_STATE_OFFSET((img->state_seq + 1) % 2));
	if (ret)
		return ret;
	img->state_seq++;
	return fdatasync(img->fd) ? -errno : 0;
}

/* ---- open ---- */

/* Turn an *e that names the cause into one that names the file as well. */
static int with_path(const char *path, int ret, struct zerr *e)
{
	struct zerr cause;

	if (!e || !e->msg[0])
		return zerr_errno(e, -ret, "%s", path);
	cause = *e;
	return zerr_set(e, -ret, "%s: %s", path, cause.msg);
}

/* A write past this limit would raise SIGXFSZ, long after the mount. */
static int check_file_limit(const struct image *img, struct zerr *e)
{
	struct rlimit lim;

	if (img->read_only || getrlimit(RLIMIT_FSIZE, &lim) ||
	    lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur >= img->layout.file_size)
		return 0;
	return zerr_set(e, EFBIG, "%s: larger than the file size limit of this process "
			"(ulimit -f)", img->path);
}

/* Is the file what its header says, and may we open it the way we want to? */
static int check_file(struct image *img, struct zerr *e)
{
	const struct image_layout *lay = &img->layout;
	uint64_t unknown = lay->ro_compat & ~IMAGE_RO_COMPAT_KNOWN;
	struct stat st;

	if (fstat(img->fd, &st))
		return zerr_errno(e, errno, "%s", img->path);
	if ((uint64_t)st.st_size < lay->file_size)
		return zerr_set(e, EINVAL, "%s: truncated image: %jd bytes of %" PRIu64,
				img->path, (intmax_t)st.st_size, lay->file_size);
	if (unknown && !img->read_only)
		return zerr_set(e, EINVAL, "%s: image format features %#" PRIx64
				" are not known: it can be opened read-only",
				img->path, unknown);
	return check_file_limit(img, e);
}

static int alloc_state(struct image *img)
{
	uint32_t nr = img->layout.geo.nr_zones;

	img->tails = calloc(nr, sizeof(*img->tails));
	if (!img->tails)
		return -ENOMEM;
	if (img->read_only)
		return 0;
	img->dirty = calloc(nr / 64 + 1, sizeof(*img->dirty));
	img->stale = calloc(nr, sizeof(*img->stale));
	img->batch = calloc(IMAGE_FLUSH_BATCH, sizeof(*img->batch));
	img->reserved = calloc(nr / 64 + 1, sizeof(*img->reserved));
	img->flushed = calloc(nr / 64 + 1, sizeof(*img->flushed));
	return img->dirty && img->stale && img->batch && img->reserved && img->flushed ?
	       0 : -ENOMEM;
}

/* Everything after the lock is held and the header known. */
static int load(struct image *img, struct zerr *e)
{
	struct image_state st;
	enum image_past past;
	int ret;

	ret = check_file(img, e);
	if (ret)
		return ret;
	ret = image_state_read(img->fd, img->layout.geo.uuid, &st);
	if (ret == -EINVAL)
		return zerr_set(e, EINVAL, "%s: damaged image: no valid state block",
				img->path);
	if (!ret)
		ret = image_instance_get(img->fd, &img->instance);
	if (!ret)
		ret = alloc_state(img);
	if (ret)
		return zerr_errno(e, -ret, "%s", img->path);
	img->state_seq = le64toh(st.seq);
	/* Larger than in any session before: each takes a state block. */
	img->tail_seq = (img->state_seq + 1) << 32;
	past = image_past(&st, &img->instance);
	ret = image_table_verify(img, past, e);
	if (ret)
		return ret;
	/* A recovery stores to the table. */
	if (!img->read_only && past != IMAGE_PAST_CLEAN)
		ret = image_table_unshare(img);
	if (!ret)
		ret = image_table_map(img);
	if (!ret)
		ret = image_recover(img, past);
	/* A clean one stays so until the first change. */
	if (!ret && !img->read_only && past != IMAGE_PAST_CLEAN) {
		ret = image_state_write(img, 0);
		atomic_store(&img->marked_open, true);
	}
	return ret ? zerr_errno(e, -ret, "%s: opening the zone table", img->path) : 0;
}

static struct image *image_new(const char *path, const struct zdev_open_opts *opts)
{
	struct image *img;

	img = calloc(1, sizeof(*img));
	if (!img)
		return NULL;
	img->fd = -1;
	img->direct = -1;
	img->read_only = opts->read_only;
	img->log = opts->log;
	img->page_size = sysconf(_SC_PAGESIZE);
	pthread_mutex_init(&img->open_lock, NULL);
	pthread_mutex_init(&img->flush_lock, NULL);
	pthread_mutex_init(&img->stale_lock, NULL);
	pthread_mutex_init(&img->tail_lock, NULL);
	pthread_cond_init(&img->flush_cond, NULL);
	pthread_cond_init(&img->stale_cond, NULL);
	img->path = strdup(path);
	if (!img->path) {
		image_free(img);
		return NULL;
	}
	return img;
}

/* Open the file and recognise it. -ENODEV without message when it is none of ours. */
static int open_file(struct image *img, struct zerr *e)
{
	struct stat st;
	int ret;

	img->fd = open(img->path, (img->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
	if (img->fd < 0 && errno == EISDIR)
		return -ENODEV;
	if (img->fd < 0)
		return zerr_errno(e, errno, "%s", img->path);
	if (fstat(img->fd, &st))
		return zerr_errno(e, errno, "%s", img->path);
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	ret = image_header_read(img->fd, IMAGE_HEADER_OFFSET, &img->layout, e);
	return ret && ret != -ENODEV ? with_path(img->path, ret, e) : ret;
}

int image_open(const char *path, const struct zdev_open_opts *opts, struct image **imgp,
	       const struct emu_medium_ops **ops, struct zdev_geometry *g, struct zerr *e)
{
	struct image *img;
	int ret;

	if (e)
		e->msg[0] = '\0';
	img = image_new(path, opts);
	if (!img)
		return zerr_errno(e, ENOMEM, "%s", path);
	/* The header never changes, so it may be read before the lock is held. */
	ret = open_file(img, e);
	if (!ret)
		ret = zdev_lock(img->fd, path, img->read_only, opts->wait_ms, e);
	if (!ret)
		ret = load(img, e);
	if (ret) {
		image_free(img);
		return ret;
	}
	/* Without it everything goes through the page cache. */
	if (!img->read_only) {
		img->direct = direct_open(img->fd, O_RDWR);
		image_sync_init(img);
	}
	*imgp = img;
	*ops = &image_ops;
	*g = img->layout.geo;
	return 0;
}

int zdev_image_open(const char *path, const struct zdev_open_opts *opts,
		    struct zdev **dev, struct zerr *e)
{
	struct emu_params p = {
		.backend = "image", .path = path, .read_only = opts->read_only,
		.powercut = opts->powercut, .log = opts->log,
	};
	struct image *img;
	int ret;

	ret = image_open(path, opts, &img, &p.ops, &p.geometry, e);
	if (ret)
		return ret;
	p.medium = img;
	ret = emu_create(&p, dev, e);
	if (ret)
		image_close(img);
	return ret;
}

/* ---- close ---- */

int image_close(struct image *img)
{
	int ret = 0;

	if (atomic_load(&img->marked_open)) {
		image_release_all(img);
		ret = image_flush(img);
		if (!ret && img->tails_written)
			ret = image_tails_trim(img, false);
		if (!ret)
			ret = image_state_write(img, IMAGE_STATE_CLEAN);
	}
	image_free(img);
	return ret;
}

void image_free(struct image *img)
{
	image_table_unmap(img);
	image_sync_free(img);
	if (img->direct >= 0)
		close(img->direct);
	if (img->fd >= 0)
		close(img->fd);
	pthread_mutex_destroy(&img->open_lock);
	pthread_mutex_destroy(&img->flush_lock);
	pthread_mutex_destroy(&img->stale_lock);
	pthread_mutex_destroy(&img->tail_lock);
	pthread_cond_destroy(&img->flush_cond);
	pthread_cond_destroy(&img->stale_cond);
	free(img->batch);
	free(img->stale);
	free(img->dirty);
	free(img->reserved);
	free(img->flushed);
	free(img->tails);
	free(img->path);
	free(img);
}
