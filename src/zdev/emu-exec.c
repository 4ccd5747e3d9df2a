/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One operation in its turn: ask the condition machine, call the medium, settle
 * the outcome. After a failure the medium is the truth (L7): the zone's write
 * pointer is loaded from it before anything else runs on the zone, so that the
 * writes queued behind are judged by what is really there.
 */
#include <errno.h>
#include <string.h>

#include "emu_i.h"
#include "zonefsd/units.h"

/* ---- the medium ---- */

/* The errnos a medium may show to users of a zdev; all else is a failing medium. */
static ssize_t medium_result(ssize_t ret)
{
	switch (ret) {
	case -EDQUOT:
		return -ENOSPC;
	case -ENOSPC:
	case -ENOMEM:
	case -EOPNOTSUPP:
		return ret;
	default:
		return ret < 0 ? -EIO : ret;
	}
}

static ssize_t failed(struct emu *emu, uint32_t zno, const char *what, ssize_t ret)
{
	zdev_log_failure(emu->log, emu->path, zno, what, ret);
	return medium_result(ret);
}

int emu_state_check(const struct emu *emu, uint32_t zno,
		    const struct emu_zone_state *st)
{
	if (st->cond && st->cond != BLK_ZONE_COND_READONLY &&
	    st->cond != BLK_ZONE_COND_OFFLINE)
		return -EIO;
	if (emu_is_conv(&emu->conds, zno))
		return 0;
	if (st->wp > emu->conds.capacity || (st->wp & (emu->dev.info.block_size - 1)))
		return -EIO;
	return 0;
}

/* Make a zone whose write pointer is in doubt right again. In the zone's turn. */
static int reload(struct emu *emu, uint32_t zno)
{
	struct emu_zone_state st = { 0 };
	int ret;

	ret = emu->ops->load(emu->medium, zno, &st);
	if (!ret)
		ret = emu_state_check(emu, zno, &st);
	if (ret)
		return (int)failed(emu, zno, "reading its write pointer", ret);
	pthread_mutex_lock(&emu->lock);
	emu_cond_load(&emu->conds, zno, &st, false);
	pthread_mutex_unlock(&emu->lock);
	return 0;
}

static int reload_if_stale(struct emu *emu, uint32_t zno)
{
	bool stale;

	pthread_mutex_lock(&emu->lock);
	stale = emu->conds.zones[zno].stale;
	pthread_mutex_unlock(&emu->lock);
	return stale ? reload(emu, zno) : 0;
}

/* The zone's write pointer and condition, in its turn. 0 or -EIO. */
static int known_state(struct emu *emu, uint32_t zno, uint64_t *wp, uint8_t *cond)
{
	const struct emu_zone *z = &emu->conds.zones[zno];
	int ret = reload_if_stale(emu, zno);

	if (ret)
		return ret;
	pthread_mutex_lock(&emu->lock);
	*wp = z->wp;
	*cond = z->cond;
	pthread_mutex_unlock(&emu->lock);
	return 0;
}

static int flush(struct emu *emu, uint32_t zno)
{
	int ret;

	/* Nothing can be dirty, and the medium may not be able to. */
	if (emu->dev.info.read_only)
		return 0;
	ret = emu->ops->flush(emu->medium, zno);
	return ret ? (int)failed(emu, zno, "flush", ret) : 0;
}

static ssize_t medium_write(struct emu *emu, struct zdev_io *io)
{
	ssize_t ret;

	ret = emu->ops->write(emu->medium, io->zno, io->pos, io->iov, io->nr_iov);
	if (ret >= 0 && (size_t)ret != io->len)
		ret = -EIO;
	if (ret < 0)
		return failed(emu, io->zno, "write", ret);
	if (io->fua) {
		int err = flush(emu, io->zno);

		return err ? err : ret;
	}
	return ret;
}

static int medium_put_tail(struct emu *emu, struct zdev_io *io)
{
	char tail[4096];	/* the largest block size */
	size_t at = 0;
	int i;

	for (i = 0; i < io->nr_iov; i++) {
		memcpy(tail + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return emu->ops->put_tail(emu->medium, io->zno, io->pos, tail, at);
}

/* It copies what a read would return, unless there is more to that than data. */
static int check_source(struct emu *emu, const struct zdev_io *io)
{
	const struct emu_zone *z = &emu->conds.zones[io->src_zno];
	bool seq = !emu_is_conv(&emu->conds, io->src_zno);
	int ret = 0;

	pthread_mutex_lock(&emu->lock);
	if (z->cond == BLK_ZONE_COND_OFFLINE)
		ret = -EIO;
	else if (seq && io->src_pos + io->bytes > z->wp)
		ret = -EOPNOTSUPP;
	pthread_mutex_unlock(&emu->lock);
	return ret;
}

static int medium_copy(struct emu *emu, const struct zdev_io *io)
{
	int ret;

	ret = emu->ops->copy(emu->medium, io->zno, io->pos, io->src_zno, io->src_pos,
			     io->bytes, io->share_only);
	/* It is no fault to have no copies. */
	return ret && ret != -EOPNOTSUPP ? (int)failed(emu, io->zno, "copy", ret) : ret;
}

static int medium_discard(struct emu *emu, const struct zdev_io *io)
{
	int ret = emu->ops->discard(emu->medium, io->zno, io->pos, io->bytes);

	return ret && ret != -EOPNOTSUPP ? (int)failed(emu, io->zno, "discard", ret) : ret;
}

static ssize_t call_medium(struct emu *emu, struct zdev_io *io)
{
	int ret;

	switch (io->op) {
	case ZDEV_RESET:
		ret = emu->ops->reset(emu->medium, io->zno);
		return ret ? failed(emu, io->zno, "reset", ret) : 0;
	case ZDEV_FINISH:
		ret = emu->ops->finish(emu->medium, io->zno);
		return ret ? failed(emu, io->zno, "finish", ret) : 0;
	case ZDEV_PUT_TAIL:
		ret = medium_put_tail(emu, io);
		return ret ? failed(emu, io->zno, "storing the tail", ret) : 0;
	case ZDEV_COPY:
		return medium_copy(emu, io);
	default:
		return medium_write(emu, io);
	}
}

/* ---- operations ---- */

/*
 * Whether a reset counts where there was no more than a tail is the medium's to
 * say: users compare the count with one that was reported before a reopen.
 */
static void learn_resets(struct emu *emu, uint32_t zno)
{
	struct emu_zone_state st = { 0 };

	if (!emu->conds.count_resets || emu->ops->load(emu->medium, zno, &st))
		return;
	pthread_mutex_lock(&emu->lock);
	emu->conds.zones[zno].resets = st.resets;
	pthread_mutex_unlock(&emu->lock);
}

static ssize_t exec_change(struct emu *emu, struct zdev_io *io)
{
	struct emu_zone *z = &emu->conds.zones[io->zno];
	ssize_t ret;

	ret = reload_if_stale(emu, io->zno);
	if (!ret && io->op == ZDEV_COPY)
		ret = check_source(emu, io);
	if (ret)
		return ret;
	pthread_mutex_lock(&emu->lock);
	if (io->op == ZDEV_APPEND)
		io->pos = z->wp;
	ret = emu_cond_take(&emu->conds, io->zno, io->op, io->pos, io->len);
	z->moving = ret > 0;
	pthread_mutex_unlock(&emu->lock);
	if (ret <= 0)
		return ret;

	ret = call_medium(emu, io);

	pthread_mutex_lock(&emu->lock);
	z->moving = 0;
	if (ret >= 0)
		emu_cond_done(&emu->conds, io->zno, io->op, io->pos, io->len);
	else
		z->stale = 1;
	pthread_mutex_unlock(&emu->lock);
	/* If this fails too the zone stays marked, and the next in turn tries again. */
	if (ret < 0)
		reload(emu, io->zno);
	else if (io->op == ZDEV_RESET)
		learn_resets(emu, io->zno);
	return ret;
}

/* Not a change of the zone: a failure leaves nothing in doubt, a full disk is no fault. */
static ssize_t exec_reserve(struct emu *emu, struct zdev_io *io)
{
	uint64_t wp, pos = io->pos, end;
	uint8_t cond;
	int ret;

	ret = known_state(emu, io->zno, &wp, &cond);
	if (ret)
		return ret;
	if (cond == BLK_ZONE_COND_READONLY || cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	if (!emu->ops->reserve)
		return -EOPNOTSUPP;
	if (!zu_add(pos, io->bytes, &end) || end > emu->conds.capacity)
		end = emu->conds.capacity;
	if (io->bytes && end <= (pos > wp ? pos : wp))
		return 0;
	if (!io->bytes)
		pos = end = wp;
	else if (pos < wp)
		pos = wp;
	ret = emu->ops->reserve(emu->medium, io->zno, pos, end - pos);
	if (ret == -ENOSPC || ret == -EDQUOT || ret == -EOPNOTSUPP)
		return medium_result(ret);
	return ret ? failed(emu, io->zno, "reserving space", ret) : 0;
}

/* Zero what lies behind the first `from` bytes. */
static void zero_rest(const struct iovec *iov, int nr_iov, size_t from)
{
	int i;

	for (i = 0; i < nr_iov; i++) {
		if (from < iov[i].iov_len) {
			memset((char *)iov[i].iov_base + from, 0,
			       iov[i].iov_len - from);
			from = 0;
		} else {
			from -= iov[i].iov_len;
		}
	}
}

/*
 * The medium may return bytes behind the write pointer: a tail, or a write
 * under way. They must not be seen, nor hide data before it (L9: a short read
 * is completed, not replaced, with zeros).
 */
static ssize_t exec_read(struct emu *emu, struct zdev_io *io)
{
	const struct emu_zone *z = &emu->conds.zones[io->zno];
	uint64_t end, valid = 0;
	bool offline;
	ssize_t ret;

	pthread_mutex_lock(&emu->lock);
	end = emu_is_conv(&emu->conds, io->zno) ? emu->dev.info.zone_size : z->wp;
	offline = z->cond == BLK_ZONE_COND_OFFLINE;
	pthread_mutex_unlock(&emu->lock);
	if (offline)
		return -EIO;
	if (io->pos < end) {
		ret = emu->ops->read(emu->medium, io->zno, io->pos, io->iov,
				     io->nr_iov, io->once);
		if (ret < 0)
			return failed(emu, io->zno, "read", ret);
		valid = end - io->pos;
		if (valid > (uint64_t)ret)
			valid = (uint64_t)ret;
	}
	if (valid < io->len)
		zero_rest(io->iov, io->nr_iov, valid);
	return (ssize_t)io->len;
}

static ssize_t exec_conv_change(struct emu *emu, struct zdev_io *io)
{
	uint8_t cond;
	int ret;

	pthread_mutex_lock(&emu->lock);
	cond = emu->conds.zones[io->zno].cond;
	pthread_mutex_unlock(&emu->lock);
	if (cond != BLK_ZONE_COND_NOT_WP)
		return -EIO;
	if (io->op == ZDEV_DISCARD)
		return medium_discard(emu, io);
	if (io->op != ZDEV_COPY)
		return medium_write(emu, io);
	ret = check_source(emu, io);
	return ret ? ret : medium_copy(emu, io);
}

ssize_t emu_exec(struct emu *emu, struct zdev_io *io)
{
	struct emu_call *call = io->priv;

	if (call)
		return call->run(emu, call);
	if (io->op == ZDEV_READ)
		return exec_read(emu, io);
	/* Whatever the condition: what was written before it changed must last. */
	if (io->op == ZDEV_FLUSH)
		return flush(emu, io->zno);
	if (emu_is_conv(&emu->conds, io->zno))
		return exec_conv_change(emu, io);
	if (io->op == ZDEV_RESERVE)
		return exec_reserve(emu, io);
	return exec_change(emu, io);
}

/* ---- calls in a zone's turn ---- */

ssize_t emu_call_reload(struct emu *emu, struct emu_call *call)
{
	return reload_if_stale(emu, call->zno);
}

ssize_t emu_call_set_cond(struct emu *emu, struct emu_call *call)
{
	struct emu_zone *z = &emu->conds.zones[call->zno];
	uint8_t old;
	int ret;

	pthread_mutex_lock(&emu->lock);
	old = z->cond;
	pthread_mutex_unlock(&emu->lock);
	if (old == call->cond)
		return 0;
	/* Worn out is for good. */
	if (old == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	ret = emu->ops->set_cond(emu->medium, call->zno, call->cond);
	if (ret)
		return failed(emu, call->zno, "storing its condition", ret);
	pthread_mutex_lock(&emu->lock);
	emu_cond_set(&emu->conds, call->zno, call->cond);
	pthread_mutex_unlock(&emu->lock);
	return 0;
}

ssize_t emu_call_get_tail(struct emu *emu, struct emu_call *call)
{
	uint64_t wp;
	uint8_t cond;
	ssize_t ret;

	ret = known_state(emu, call->zno, &wp, &cond);
	if (ret)
		return ret;
	if (cond == BLK_ZONE_COND_OFFLINE)
		return -EIO;
	if (cond == BLK_ZONE_COND_FULL)
		return 0;
	ret = emu->ops->get_tail(emu->medium, call->zno, wp, call->buf);
	return ret < 0 ? failed(emu, call->zno, "reading the tail", ret) : ret;
}
