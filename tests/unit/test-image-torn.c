/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power loss at any moment, with a page cache that writes back what it likes.
 *
 * The program stands in for fdatasync and msync, so that it knows what is
 * durable, and for pwritev, to be killed in the middle of it. It keeps a second
 * copy of the file, the disk: a sync copies the pages that it covers, and now
 * and then single sectors are copied unasked, as write-back does. At random
 * moments, most of them inside syncs, the power fails: each 512-byte sector of
 * the file, and in the zone table each word, is independently the disk's or the
 * page cache's. That image is opened under another boot id. Each zone must then
 * be in one of the states that it went through since the last completed flush
 * began, with pointer, tail and data of the same state. Or the daemon is
 * killed: the same, but only the newest state will do.
 *
 * usage: test-image-torn [operations [seed]]
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "rnd.h"
#include "unit.h"
#include "../../src/zdev/image_i.h"

#define ZONE		(64u * 1024)
#define NR_ZONES	5u
#define NR_CONV		1u
#define SECTOR		512u
#define MAX_BLOCKS	(ZONE / 512)
#define MAX_STATES	4096

/* A state that a sequential zone has been in. */
struct state {
	uint32_t	nr_blocks;
	uint32_t	life;		/* which of the zone's fillings, for its data */
	uint32_t	from;		/* first block that a finish filled with zeros */
	uint32_t	tail;		/* names its content, 0: none */
	bool		offline;
};

struct model {
	struct state	states[MAX_STATES];
	uint32_t	nr;		/* the last is the newest */
	uint32_t	durable;	/* the oldest that may come back */
	bool		pending;	/* the newest is of an operation under way */
};

static struct model models[NR_ZONES];
static struct zdev_geometry geo = {
	.zone_size = ZONE, .nr_zones = NR_ZONES, .nr_conv = NR_CONV, .uuid = { 9 },
};
static char dir[64], path[128], crash_path[128];
static struct image *img;
static const struct emu_medium_ops *ops;
static uint8_t *cache, *disk;	/* the file as readers see it, and what is on disk */
static size_t file_size;
static bool watching;		/* syncs are those of img */
static bool flushing;		/* this thread is inside a flush of img */
static uint32_t next_life = 1, next_tail = 1;
static unsigned long nr_crashes, nr_kills, nr_syncs;

/* ---- what data belongs where ---- */

static uint8_t data_byte(uint32_t zno, uint32_t life, uint32_t nr)
{
	return 1 + (zno * 131 + life * 31 + nr * 7) % 255;
}

static size_t tail_len(uint32_t tail)
{
	/* Every other one reaches into the slot's second page, where there is one. */
	if (tail % 2)
		return geo.block_size - 1 - tail % 30;
	return 1 + tail * 37 % (geo.block_size - 1);
}

static struct state *newest(uint32_t zno)
{
	return &models[zno].states[models[zno].nr - 1];
}

static void push(uint32_t zno, struct state s)
{
	struct model *m = &models[zno];

	CHECK(m->nr < MAX_STATES);
	m->states[m->nr++] = s;
	m->pending = true;
}

/* The operation that pushed a state ended. */
static void settle(uint32_t zno)
{
	models[zno].pending = false;
}

/* ---- the disk ---- */

static bool in_table(size_t off)
{
	return off >= 65536 && off < 65536 + NR_ZONES * sizeof(struct image_entry);
}

static void write_back(size_t from, size_t to)
{
	memcpy(disk + from, cache + from, to - from);
}

/* The kernel writes some pages, or sectors, on its own. */
static void write_back_some(void)
{
	uint32_t n = rnd(20);
	size_t off;

	while (n--) {
		off = rnd(file_size / SECTOR) * (size_t)SECTOR;
		if (rnd(3) == 0)
			off = 65536;
		if (rnd(4) == 0)
			off = 131072 + rnd((1 << 20) - 131072) / SECTOR * SECTOR;
		write_back(off, off + SECTOR);
	}
}

/* The file as a power loss at this moment leaves it, to crash_path. */
static void make_crash(bool power)
{
	uint8_t *out = malloc(file_size);
	size_t off, step;
	uint32_t bias = rnd(3);
	int fd;

	CHECK(out != NULL);
	memcpy(out, cache, file_size);
	for (off = 0; power && off < file_size; off += step) {
		step = in_table(off) ? 8 : SECTOR - off % SECTOR;
		if (memcmp(cache + off, disk + off, step) &&
		    (bias == 0 || (bias == 1 && rnd(2))))
			memcpy(out + off, disk + off, step);
	}
	fd = open(crash_path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(image_pwrite(fd, out, file_size, 0), 0);
	close(fd);
	free(out);
}

static void forget_boot(void)
{
	struct image_state st;
	int fd = open(crash_path, O_RDWR), i;

	CHECK(fd >= 0);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(image_pread(fd, &st, sizeof(st), IMAGE_STATE_OFFSET(i)), 0);
		if (!image_state_valid(&st, geo.uuid))
			continue;
		st.boot_id[0] ^= 0x55;
		image_state_seal(&st);
		CHECK_EQ(image_pwrite(fd, &st, sizeof(st), IMAGE_STATE_OFFSET(i)), 0);
	}
	close(fd);
}

/* ---- comparing ---- */

struct found {
	struct emu_zone_state st;
	uint8_t	data[ZONE];
	uint8_t	tail[4096];
	ssize_t	tail_len;
};

static void look(struct image *im, uint32_t zno, struct found *f)
{
	struct iovec iov = { .iov_base = f->data, .iov_len = ZONE };

	CHECK_EQ(ops->load(im, zno, &f->st), 0);
	CHECK_EQ(ops->read(im, zno, 0, &iov, 1, false), (ssize_t)f->st.wp);
	f->tail_len = ops->get_tail(im, zno, f->st.wp, f->tail);
	CHECK(f->tail_len >= 0);
}

static bool all_bytes(const uint8_t *p, size_t len, uint8_t byte)
{
	return p[0] == byte && !memcmp(p, p + 1, len - 1);
}

static bool matches(uint32_t zno, const struct found *f, const struct state *s)
{
	uint32_t bs = geo.block_size, i;

	if (f->st.wp != (uint64_t)s->nr_blocks * bs ||
	    (f->st.cond == BLK_ZONE_COND_OFFLINE) != s->offline)
		return false;
	for (i = 0; i < s->nr_blocks; i++)
		if (!all_bytes(f->data + (size_t)i * bs, bs,
			       i < s->from ? data_byte(zno, s->life, i) : 0))
			return false;
	if (!s->tail)
		return !f->tail_len;
	return f->tail_len == (ssize_t)tail_len(s->tail) &&
	       all_bytes(f->tail, f->tail_len, s->tail);
}

/* Which of the zone's states is it? Complains when it is none of the allowed. */
static uint32_t identify(uint32_t zno, const struct found *f, uint32_t oldest)
{
	struct model *m = &models[zno];
	uint32_t i;

	for (i = m->nr; i-- > oldest;)
		if (matches(zno, f, &m->states[i]))
			return i;
	fprintf(stderr, "zone %u: wp %llu tail %zd, states %u..%u:\n", zno,
		(unsigned long long)f->st.wp, f->tail_len, oldest, m->nr - 1);
	for (i = m->nr; i-- > 0;)
		fprintf(stderr, "  %u: wp %u life %u tail %zu%s%s\n", i,
			m->states[i].nr_blocks * geo.block_size, m->states[i].life,
			m->states[i].tail ? tail_len(m->states[i].tail) : 0,
			matches(zno, f, &m->states[i]) ? " <- this" : "",
			i == oldest ? " <- oldest allowed" : "");
	abort();
}

/* ---- crashing ---- */

static struct image *open_image(const char *name)
{
	struct zdev_open_opts opts = { .read_only = false };
	struct zdev_geometry g;
	struct image *im;
	struct zerr e;
	int ret;

	ret = image_open(name, &opts, &im, &ops, &g, &e);
	if (ret)
		fprintf(stderr, "%s\n", e.msg);
	CHECK_EQ(ret, 0);
	return im;
}

/* Crash here; check what the next open finds. Which state each zone is in goes to at[]. */
static void crash(bool power, uint32_t at[NR_ZONES])
{
	static struct found f;
	struct image *im;
	uint32_t zno;

	watching = false;
	make_crash(power);
	if (power) {
		forget_boot();
		nr_crashes++;
	} else {
		nr_kills++;
	}
	im = open_image(crash_path);
	for (zno = NR_CONV; zno < NR_ZONES; zno++) {
		struct model *m = &models[zno];
		uint32_t oldest = power ? m->durable : m->nr - 1 - m->pending;

		look(im, zno, &f);
		at[zno] = identify(zno, &f, oldest);
		/* All of the rest is out of sight, also once the zone is full. */
		if (f.st.wp < geo.zone_capacity && !f.st.cond && rnd(4) == 0) {
			CHECK_EQ(ops->finish(im, zno), 0);
			look(im, zno, &f);
			CHECK(all_bytes(f.data + models[zno].states[at[zno]].nr_blocks *
					geo.block_size, geo.zone_capacity -
					models[zno].states[at[zno]].nr_blocks *
					geo.block_size, 0));
		}
	}
	ops->abandon(im);
	watching = true;
}

static void maybe_crash(uint32_t chance)
{
	uint32_t at[NR_ZONES];

	if (rnd(chance) == 0)
		crash(rnd(4) != 0, at);
}

static void change(uint32_t zno, uint32_t what);

/* What others do while a flush waits for the disk. */
static void others_change(void)
{
	uint32_t n = flushing ? rnd(4) : 0, zno;
	bool was = flushing;

	flushing = false;
	while (n--) {
		zno = NR_CONV + rnd(NR_ZONES - NR_CONV);
		/* The zone that this flush is about to free would wait for it. */
		if (img->stale[zno] == IMAGE_FRESH && models[zno].nr < MAX_STATES - 2)
			change(zno, rnd(83));
	}
	flushing = was;
}

/* ---- in the place of libc's; what no one watches need not last ---- */

int fdatasync(int fd)
{
	if (!watching)
		return 0;
	nr_syncs++;
	others_change();
	maybe_crash(12);
	write_back_some();
	maybe_crash(12);
	write_back(0, file_size);
	others_change();
	maybe_crash(12);
	return 0;
}

/* A kill ends a write between two pages. */
ssize_t pwritev(int fd, const struct iovec *iov, int nr, off_t off)
{
	size_t first = 4096 - off % 4096, len = iov->iov_len;

	if (watching && len > first && rnd(10) == 0) {
		CHECK_EQ(pwrite(fd, iov->iov_base, first, off), (ssize_t)first);
		maybe_crash(3);
	}
	return pwrite(fd, iov->iov_base, len, off);
}

int msync(void *addr, size_t len, int flags)
{
	if (!watching)
		return 0;
	nr_syncs++;
	others_change();
	maybe_crash(12);
	write_back_some();
	write_back(65536, 65536 + NR_ZONES * sizeof(struct image_entry));
	others_change();
	maybe_crash(12);
	return 0;
}

/* ---- operations ---- */

static void do_write(uint32_t zno)
{
	static uint8_t buf[ZONE];
	struct iovec iov = { .iov_base = buf };
	struct state s = *newest(zno);
	uint32_t cap = geo.zone_capacity / geo.block_size, n, i;
	uint64_t pos = (uint64_t)s.nr_blocks * geo.block_size;

	if (s.nr_blocks == cap)
		return;
	n = 1 + rnd(rnd(3) ? 2 : cap - s.nr_blocks);
	if (n > cap - s.nr_blocks)
		n = cap - s.nr_blocks;
	if (!s.nr_blocks)
		s.life = next_life++;
	for (i = 0; i < n; i++)
		memset(buf + i * geo.block_size, data_byte(zno, s.life, s.nr_blocks + i),
		       geo.block_size);
	iov.iov_len = n * geo.block_size;
	s.nr_blocks += n;
	s.from = s.nr_blocks;
	s.tail = 0;
	push(zno, s);
	CHECK_EQ(ops->write(img, zno, pos, &iov, 1), (ssize_t)iov.iov_len);
	settle(zno);
}

static void do_reset(uint32_t zno)
{
	if (!newest(zno)->nr_blocks && !newest(zno)->tail)
		return;
	push(zno, (struct state) { .life = 0 });
	CHECK_EQ(ops->reset(img, zno), 0);
	settle(zno);
}

static void do_finish(uint32_t zno)
{
	struct state s = *newest(zno);

	if (s.nr_blocks == geo.zone_capacity / geo.block_size)
		return;
	if (!s.nr_blocks)
		s.life = next_life++;
	s.from = s.nr_blocks;
	s.nr_blocks = geo.zone_capacity / geo.block_size;
	s.tail = 0;
	push(zno, s);
	CHECK_EQ(ops->finish(img, zno), 0);
	settle(zno);
}

static void do_tail(uint32_t zno)
{
	uint8_t buf[4096];
	struct state s = *newest(zno);

	if (s.nr_blocks == geo.zone_capacity / geo.block_size)
		return;
	s.tail = rnd(6) ? next_tail : 0;
	next_tail = next_tail % 255 + 1;
	memset(buf, s.tail, sizeof(buf));
	push(zno, s);
	CHECK_EQ(ops->put_tail(img, zno, (uint64_t)s.nr_blocks * geo.block_size, buf,
			       s.tail ? tail_len(s.tail) : 0), 0);
	settle(zno);
}

static void do_flush(uint32_t zno)
{
	uint32_t nr[NR_ZONES], i;

	for (i = NR_CONV; i < NR_ZONES; i++)
		nr[i] = models[i].nr;
	flushing = true;
	CHECK_EQ(ops->flush(img, rnd(2) ? zno : ZDEV_ALL_ZONES), 0);
	flushing = false;
	for (i = NR_CONV; i < NR_ZONES; i++)
		/* A flush of one zone promises nothing about the others. */
		if (i == zno)
			models[i].durable = nr[i] - 1;
}

/* Start over from one state. */
static void model_reset(uint32_t zno, struct state s)
{
	models[zno].states[0] = s;
	models[zno].nr = 1;
	models[zno].durable = 0;
	models[zno].pending = false;
}

static void map_file(void)
{
	int fd = open(path, O_RDWR);
	struct stat st;

	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	file_size = st.st_size;
	cache = mmap(NULL, file_size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(cache != MAP_FAILED);
	close(fd);
	disk = realloc(disk, file_size);
	CHECK(disk != NULL);
	memcpy(disk, cache, file_size);
}

/* The power fails or the daemon dies, and this time life goes on from there. */
static void do_crash(void)
{
	uint32_t at[NR_ZONES], zno;
	bool power = rnd(2);
	static struct found f;

	crash(power, at);
	watching = false;
	make_crash(power);
	if (power)
		forget_boot();
	ops->abandon(img);
	munmap(cache, file_size);
	CHECK_EQ(rename(crash_path, path), 0);
	img = open_image(path);
	map_file();
	for (zno = NR_CONV; zno < NR_ZONES; zno++) {
		look(img, zno, &f);
		at[zno] = identify(zno, &f, power ? models[zno].durable :
				   models[zno].nr - 1);
		model_reset(zno, models[zno].states[at[zno]]);
	}
	watching = true;
}

static void do_close(void)
{
	static struct found f;
	uint32_t zno;

	watching = rnd(2);
	CHECK_EQ(ops->close(img), 0);
	watching = false;
	munmap(cache, file_size);
	img = open_image(path);
	map_file();
	for (zno = NR_CONV; zno < NR_ZONES; zno++) {
		look(img, zno, &f);
		CHECK(matches(zno, &f, newest(zno)));
		model_reset(zno, *newest(zno));
	}
	watching = true;
}

static void change(uint32_t zno, uint32_t what)
{
	if (what < 35)
		do_write(zno);
	else if (what < 70)
		do_tail(zno);
	else if (what < 80)
		do_reset(zno);
	else
		do_finish(zno);
}

static void step(void)
{
	uint32_t zno = NR_CONV + rnd(NR_ZONES - NR_CONV), what = rnd(100);

	if (models[zno].nr > MAX_STATES - 2)
		do_flush(zno);
	if (models[zno].nr > MAX_STATES - 2)
		model_reset(zno, *newest(zno));
	if (what < 83)
		change(zno, what);
	else if (what < 97)
		do_flush(zno);
	else if (what < 99)
		do_crash();
	else
		do_close();
	if (rnd(3) == 0)
		write_back_some();
	maybe_crash(40);
}

static void run(uint32_t block_size, uint64_t capacity, unsigned long n)
{
	struct zerr e;
	uint32_t zno;

	geo.block_size = block_size;
	geo.zone_capacity = capacity;
	watching = false;
	unlink(path);
	CHECK_EQ(zdev_image_create(path, &geo, NULL, NULL, &e), 0);
	img = open_image(path);
	map_file();
	for (zno = 0; zno < NR_ZONES; zno++)
		model_reset(zno, (struct state) { .life = 0 });
	watching = true;
	while (n--)
		step();
	watching = false;
	CHECK_EQ(ops->close(img), 0);
	munmap(cache, file_size);
}

int main(int argc, char **argv)
{
	unsigned long n = rnd_begin(argc, argv, 3000);

	unit_tmpdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	snprintf(crash_path, sizeof(crash_path), "%s/crash.img", dir);
	run(4096, ZONE, n / 2);
	run(512, 48 * 1024 + 512, n / 2);
	printf("%lu power losses, %lu kills, %lu syncs\n", nr_crashes, nr_kills, nr_syncs);
	free(disk);
	unit_rm_tree(dir);
	return 0;
}
