#include "tests/standin/mtf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

enum { BUFFER = 1 << 16, BLOCK_MAX = 2048, FLB = 1024, ALIGN = 512, MARKS_LISTED = 8 };

struct mtf {
	FILE *f;
	char *path;
	uint64_t at, sset_at, eset_at;
	uint64_t base; /* where the blocks after the last mark begin: they stand on multiples of 1 KB from there */
	uint64_t marks[MARKS_LISTED];
	uint32_t n_marks;
	uint32_t control;
	bool bad, checksum;
	uint8_t parity;
	uint32_t family_id;
	struct guid media_set;
	unsigned families, family, position;
	uint64_t begin;       /* where the set's own bytes begin */
	uint8_t *map;         /* the entries of the sets before this one */
	size_t map_len;
	uint32_t sum, sector[128];
	size_t sector_at;
	uint64_t left;
};

static void
put(struct mtf *m, const void *mem, size_t len)
{
	if (len > 0 && !m->bad && fwrite(mem, 1, len, m->f) != len)
		m->bad = true;
	m->at += len;
}

static void
zeros(struct mtf *m, uint64_t n)
{
	static const uint8_t none[4096];

	for (; n > 0 && !m->bad; n -= n < sizeof(none) ? n : sizeof(none))
		put(m, none, n < sizeof(none) ? (size_t)n : sizeof(none));
}

static void w16(uint8_t *p, unsigned v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
static void w32(uint8_t *p, uint32_t v) { w16(p, v & 0xFFFF); w16(p + 2, v >> 16); }
static void w64(uint8_t *p, uint64_t v) { w32(p, (uint32_t)v); w32(p + 4, (uint32_t)(v >> 32)); }

static uint16_t
fold(const uint8_t *p, size_t words)
{
	unsigned x = 0;

	while (words-- > 0) {
		x ^= (unsigned)p[0] | (unsigned)p[1] << 8;
		p += 2;
	}
	return (uint16_t)x;
}

/* The packed date: year 14 bits, month 4, day 5, hour 5, minute 6, second 6, first bit first. */
static void
wdate(uint8_t *p, time_t t)
{
	struct tm tm;
	uint64_t v;

	memset(p, 0, 5);
	if (t == 0)
		return;
	gmtime_r(&t, &tm);
	v = (uint64_t)(tm.tm_year + 1900) << 26 | (uint64_t)(tm.tm_mon + 1) << 22 | (uint64_t)tm.tm_mday << 17 |
	    (uint64_t)tm.tm_hour << 12 | (uint64_t)tm.tm_min << 6 | (uint64_t)(tm.tm_sec % 60);
	for (int i = 0; i < 5; i++)
		p[i] = (uint8_t)(v >> (8 * (4 - i)));
}

/* A structure whose strings stand behind its fixed part, each named by {bytes, offset} within it. */
struct part {
	uint8_t mem[BLOCK_MAX * 4];
	size_t len;
};

static void
wstring(struct part *p, size_t where, const char *s)
{
	enum { MOST = 520 }; /* a path of 260 characters */
	size_t n;
	uint8_t *u = text_to_utf16(NULL, s, &n);

	if (n > MOST)
		n = MOST;
	w16(p->mem + where, (unsigned)n);
	w16(p->mem + where + 2, n == 0 ? 0 : (unsigned)p->len);
	memcpy(p->mem + p->len, u, n);
	p->len += n;
	talloc_free(u);
}

/* ---- blocks and streams ---------------------------------------------------------------------------- */

/*
 * A block's fixed fields; p holds them from 52 on already. Strings follow; the first stream begins at a
 * multiple of four. Only blocks that may hold strings name their alphabet (2: UTF-16).
 */
static void
block(struct mtf *m, const char *type, struct part *p, uint32_t attributes, bool in_set)
{
	static const char *const with_strings[] = { "TAPE", "SSET", "VOLB", "MSCI", "MSLS" };

	p->len = (p->len + 3) / 4 * 4;
	memcpy(p->mem, type, 4);
	w32(p->mem + 4, attributes);
	w16(p->mem + 8, (unsigned)p->len);
	p->mem[10] = 0x0E;
	p->mem[11] = 1;
	if (in_set) {
		w64(p->mem + 20, (m->at - m->sset_at) / FLB);
		w32(p->mem + 36, m->control++);
	}
	for (size_t i = 0; i < sizeof(with_strings) / sizeof(with_strings[0]); i++)
		if (strcmp(type, with_strings[i]) == 0)
			p->mem[48] = 2;
	w16(p->mem + 50, fold(p->mem, 25));
	put(m, p->mem, p->len);
}

static void
stream(struct mtf *m, const char *id, unsigned media, uint64_t len)
{
	uint8_t h[22] = { 0 };

	zeros(m, (4 - m->at % 4) % 4);
	memcpy(h, id, 4);
	w16(h + 6, media);
	w64(h + 8, len);
	w16(h + 20, fold(h, 10));
	put(m, h, sizeof(h));
}

/* SPAD ends the block and fills up to where the next may begin: a logical block of 1 KB after the last mark. */
static void
spad(struct mtf *m)
{
	uint64_t used = (m->at + 3) / 4 * 4 + 22 - m->base, pad = (FLB - used % FLB) % FLB;

	stream(m, "SPAD", 0, pad);
	zeros(m, pad);
}

/* A stream whose data, after two filler bytes, begins at a multiple of 512: APAD before it makes it so. */
static void
apad_then(struct mtf *m, const char *id, unsigned media, uint64_t len)
{
	/* Both headers and the filler are 22 + 22 + 2 bytes; the second header may need two to reach a multiple of four. */
	uint64_t after_apad = (m->at + 3) / 4 * 4 + 22, header = (after_apad + 3) / 4 * 4;
	uint64_t pad = (ALIGN - (header + 24) % ALIGN) % ALIGN + (header - after_apad);

	stream(m, "APAD", 0x80, pad);
	zeros(m, pad);
	stream(m, id, media, len);
	zeros(m, 2);
}

/*
 * The mark between parts lists where the earlier marks are, newest first; 55 would fit. Read off real files
 * of 2008 R2 to 2019.
 */
static void
mark(struct mtf *m)
{
	uint8_t b[512] = { 0 };
	uint32_t listed = m->n_marks < MARKS_LISTED ? m->n_marks : MARKS_LISTED;

	memcpy(b, "SFMB", 4);
	w32(b + 4, 0x80000000u);
	w16(b + 8, sizeof(b));
	b[10] = 0x0E;
	b[11] = 1;
	w16(b + 50, fold(b, 25));
	w32(b + 52, (sizeof(b) - 72) / 8);
	w32(b + 56, m->n_marks);
	w16(b + 60, 72);
	for (uint32_t i = 0; i < listed; i++)
		w64(b + 72 + 8 * i, m->marks[(m->n_marks - 1 - i) % MARKS_LISTED]);
	m->marks[m->n_marks++ % MARKS_LISTED] = m->at;
	put(m, b, sizeof(b));
	m->base = m->at;
}

/* ---- the catalogue ----------------------------------------------------------------------------------- */

static void
wlsn(uint8_t *p, struct lsn l)
{
	w32(p, l.vlf);
	w32(p + 4, l.block);
	w16(p + 8, l.slot);
}

static void
wguid(uint8_t *p, struct guid g)
{
	memcpy(p, g.b, 16);
}

static void
scin(struct part *p, const struct mtf_set *s)
{
	static const uint8_t collation[5] = { 0x09, 0x04, 0xD0, 0x00, 0x34 };
	uint8_t *c = p->mem;

	memset(p, 0, sizeof(*p));
	p->len = 0x190;
	memcpy(c, "SCIN", 4);
	w32(c + 0x08, s->flags | 0x200 | (s->checksum ? 0x10 : 0) | (s->type == 'I' ? 0x800 : 0) | (s->copy_only ? 0x400 : 0));
	w32(c + 0x0C, 1);
	w32(c + 0x10, 1);
	w16(c + 0x18, s->software_build == 0 ? 4430 : s->software_build);
	c[0x1A] = 0;
	c[0x1B] = s->software_major == 0 ? 15 : s->software_major;
	w32(c + 0x1C, 9);
	wlsn(c + 0x20, s->first);
	wlsn(c + 0x2A, s->last);
	wlsn(c + 0x34, s->checkpoint);
	wlsn(c + 0x3E, s->database_backup);
	wdate(c + 0x48, s->created);
	wdate(c + 0x4D, s->start);
	wdate(c + 0x52, s->finish);
	c[0x57] = (uint8_t)s->type;
	c[0x58] = 52;
	w16(c + 0x59, 1);
	c[0x5B] = s->compat;
	w16(c + 0x5C, s->database_id);
	w16(c + 0x5E, s->database_version);
	w64(c + 0x60, s->backup_size);
	w32(c + 0x74, 1033);
	w32(c + 0x78, 196609);
	wguid(c + 0x7C, s->binding);
	wlsn(c + 0x90, s->last);
	wguid(c + 0x9C, s->fork);
	wlsn(c + 0xAC, s->fork1_lsn);
	wguid(c + 0xB8, s->fork1);
	wguid(c + 0xC8, s->base_full);
	memcpy(c + 0xD8, collation, 5);
	wguid(c + 0xE0, s->family);
	w32(c + 0xF0, 0x10000);
	w32(c + 0xF4, s->status);
	wlsn(c + 0xF8, s->chain_origin);
	wlsn(c + 0x104, s->differential_base_lsn);
	wguid(c + 0x110, s->differential_base);
	wlsn(c + 0x130, s->fork1_lsn);
	wguid(c + 0x13C, s->fork1);
	wlsn(c + 0x14C, s->next_log);
	w64(c + 0x158, s->backup_size);
	w32(c + 0x174, 1);
	wstring(p, 0x68, s->database);
	wstring(p, 0x6C, s->server);
	w32(c + 4, (uint32_t)p->len);
}

static void
sfgi(struct part *p, const struct mtf_set *s)
{
	uint8_t *c = p->mem;

	memset(p, 0, sizeof(*p));
	p->len = 0xE0;
	memcpy(c, "SFGI", 4);
	w32(c + 0x08, 0x10);
	w32(c + 0x0C, 1);
	w32(c + 0x14, 1);
	w32(c + 0x28, 4);
	wlsn(c + 0x34, s->first);
	wlsn(c + 0x40, s->last);
	wlsn(c + 0x4C, s->checkpoint);
	wlsn(c + 0x70, s->first);
	wlsn(c + 0x80, s->last);
	wguid(c + 0x8C, s->fork);
	wstring(p, 0x10, "PRIMARY");
	w32(c + 4, (uint32_t)p->len);
}

/*
 * A data file names its differential base: before the data the one in force, after the data of a full the
 * full itself (its checkpoint and its set's id), because from then on it is the base. Copy-only fulls never
 * become one.
 */
static void
sfin(struct part *p, const struct mtf_set *s, const struct mtf_file *f)
{
	uint8_t *c = p->mem;
	bool becomes_base = s->type == 'D' && s->finish != 0 && !s->copy_only;

	memset(p, 0, sizeof(*p));
	p->len = 0x400;
	memcpy(c, "SFIN", 4);
	w32(c + 0x08, 4 | (s->type == 'D' && f->type == 'D' ? 0x80 : 0));
	w32(c + 0x10, 8192);
	w32(c + 0x14, f->file_id);
	w32(c + 0x18, f->pages);
	w32(c + 0x1C, f->type == 'D' ? 1 : 2);
	w32(c + 0x20, 512);
	w32(c + 0x24, f->group_id);
	w64(c + 0x28, f->size);
	w64(c + 0x56, f->max_size);
	w64(c + 0x5E, f->growth);
	w64(c + 0x72, f->size);
	w64(c + 0x82, f->size);
	if (f->type == 'D') {
		wlsn(c + 0x9E, becomes_base ? s->checkpoint : s->type == 'I' ? s->differential_base_lsn : s->database_backup);
		wguid(c + 0xAA, becomes_base ? s->backup_set : s->type == 'I' ? s->differential_base : s->base_full);
	}
	wguid(c + 0xBA, f->unique_id);
	wlsn(c + 0xCA, s->first);
	wlsn(c + 0xDA, s->last);
	wlsn(c + 0xEA, s->checkpoint);
	w32(c + 0xFC, f->pages / 8);
	wstring(p, 0x30, f->name);
	wstring(p, 0x34, f->path);
	w32(c + 4, (uint32_t)p->len);
}

static void
catalog(struct mtf *m, const char *type, const struct mtf_set *s)
{
	struct part *head = talloc_zero(m, struct part), *group = talloc(m, struct part);
	struct part *parts = talloc_array(m, struct part, s->n_files + 1);
	size_t len = 0;

	head->len = 0x38;
	block(m, type, head, 0, true);
	scin(&parts[0], s);
	sfgi(group, s);
	len = parts[0].len + group->len;
	for (size_t i = 0; i < s->n_files; i++) {
		sfin(&parts[i + 1], s, &s->files[i]);
		len += parts[i + 1].len;
	}
	stream(m, "MQCI", 0, len);
	put(m, parts[0].mem, parts[0].len);
	put(m, group->mem, group->len);
	for (size_t i = 0; i < s->n_files; i++)
		put(m, parts[i + 1].mem, parts[i + 1].len);
	spad(m);
	talloc_free(parts);
	talloc_free(group);
	talloc_free(head);
}

/* ---- the file in order ---------------------------------------------------------------------------------- */

static void
random_bytes(void *mem, size_t len)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, mem, len) != (ssize_t)len)
		abort();
	close(fd);
}

static void
tape(struct mtf *m, const struct mtf_set *s)
{
	struct part *p = talloc_zero(m, struct part);
	uint8_t raid[32] = { 0 };

	p->len = 0x5E;
	w32(p->mem + 0x34, m->family_id);
	w32(p->mem + 0x38, 5);
	w16(p->mem + 0x3C, 1);
	w16(p->mem + 0x40, 1);
	w16(p->mem + 0x42, 3);
	wstring(p, 0x50, "Microsoft SQL Server");
	w16(p->mem + 0x50, 44); /* the text and two NULs, as the server has it */
	p->len += 4;
	w16(p->mem + 0x54, FLB);
	w16(p->mem + 0x56, 0x1200);
	wdate(p->mem + 0x58, s->start);
	p->mem[0x5D] = 1;
	block(m, "TAPE", p, 0x30000, false);
	wguid(raid, m->media_set);
	w32(raid + 0x10, 0xF00000ADu);
	w16(raid + 0x14, m->families);
	w16(raid + 0x16, 1);
	w16(raid + 0x18, m->family);
	w16(raid + 0x1E, 1);
	stream(m, "RAID", 0, sizeof(raid));
	put(m, raid, sizeof(raid));
	spad(m);
	mark(m);
	talloc_free(p);
}

static void
sset(struct mtf *m, const struct mtf_set *s)
{
	struct part *p = talloc_zero(m, struct part);

	m->sset_at = m->at;
	m->control = 0;
	p->len = 0x64 + 21;
	w16(p->mem + 44, 21);
	w16(p->mem + 46, 0x64);
	wguid(p->mem + 0x64, s->backup_set);
	w32(p->mem + 0x34, (s->type == 'I' ? 8u : 4u) | (s->copy_only ? 2u : 0));
	w16(p->mem + 0x3C, 0x1200);
	w16(p->mem + 0x3E, m->position);
	wstring(p, 0x40, s->name);
	wstring(p, 0x4C, s->user);
	w64(p->mem + 0x50, m->sset_at);
	wdate(p->mem + 0x58, s->start);
	p->mem[0x5D] = s->software_major == 0 ? 15 : s->software_major;
	p->mem[0x5F] = (uint8_t)s->time_zone;
	p->mem[0x61] = 2;
	block(m, "SSET", p, 0, true);
	spad(m);
	talloc_free(p);
}

static void
volb(struct mtf *m, const struct mtf_set *s)
{
	struct part *p = talloc_zero(m, struct part);

	p->len = 0x4C;
	w32(p->mem + 0x34, 2);
	wstring(p, 0x38, "C:");
	wstring(p, 0x40, s->machine);
	wdate(p->mem + 0x44, s->start);
	block(m, "VOLB", p, 0, true);
	spad(m);
	talloc_free(p);
}

static int
mtf_close(struct mtf *m)
{
	if (m->f != NULL)
		fclose(m->f);
	return 0;
}

/* ---- behind other sets ------------------------------------------------------------------------------------ */

static uint32_t r32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static uint64_t r64(const uint8_t *p) { return r32(p) | (uint64_t)r32(p + 4) << 32; }

static bool
read_at(FILE *f, uint64_t at, void *mem, size_t len)
{
	return fseeko(f, (off_t)at, SEEK_SET) == 0 && fread(mem, 1, len, f) == len;
}

/* A stream's header at or after `at`, on a multiple of four: its length, and where its data begin. */
static bool
read_stream(FILE *f, uint64_t at, const char *id, uint64_t *data, uint64_t *len)
{
	uint8_t h[22];

	at = (at + 3) / 4 * 4;
	if (!read_at(f, at, h, sizeof(h)) || memcmp(h, id, 4) != 0)
		return false;
	*data = at + sizeof(h);
	*len = r64(h + 8);
	return true;
}

/* TAPE names the family, its RAID stream the media set. */
static bool
read_media(FILE *f, uint32_t *family_id, struct mtf_place *out)
{
	uint8_t head[0x60], raid[32];
	uint64_t at, len;

	if (!read_at(f, 0, head, sizeof(head)) || memcmp(head, "TAPE", 4) != 0 ||
	    !read_stream(f, (uint64_t)head[8] | (uint64_t)head[9] << 8, "RAID", &at, &len) || len != sizeof(raid) || !read_at(f, at, raid, sizeof(raid)))
		return false;
	*family_id = r32(head + 0x34);
	memcpy(out->media_set.b, raid, 16);
	out->families = (unsigned)(raid[0x14] | raid[0x15] << 8);
	out->family = (unsigned)(raid[0x18] | raid[0x19] << 8);
	return out->families > 0 && out->family > 0;
}

bool
mtf_look(const char *path, struct mtf_place *out, struct err *err)
{
	FILE *f = fopen(path, "re");
	uint32_t family_id;
	struct stat st;
	bool good;

	*out = (struct mtf_place){ .append = true };
	if (f == NULL)
		return errno == ENOENT || err_errno(err, errno, "%s", path);
	good = fstat(fileno(f), &st) == 0 && (st.st_size == 0 || read_media(f, &family_id, out));
	fclose(f);
	return good || err_set(err, ERR_BROKEN, 3241, "%s is no media that a set could be appended to", path);
}

/* The last mark lists the marks before it; behind the newest of those stand the end blocks with the map of sets. */
static bool
read_end(struct mtf *m, FILE *f, uint64_t size)
{
	uint8_t b[512], eset[52];
	uint64_t at, len;
	uint32_t listed;

	if (size < sizeof(b) || !read_at(f, size - sizeof(b), b, sizeof(b)) || memcmp(b, "SFMB", 4) != 0 || (m->n_marks = r32(b + 56)) == 0)
		return false;
	listed = m->n_marks < MARKS_LISTED ? m->n_marks : MARKS_LISTED;
	for (uint32_t i = 0; i < listed; i++)
		m->marks[(m->n_marks - 1 - i) % MARKS_LISTED] = r64(b + 72 + 8 * i);
	at = r64(b + 72) + 512;
	m->marks[m->n_marks++ % MARKS_LISTED] = size - sizeof(b);
	if (!read_at(f, at, eset, sizeof(eset)) || memcmp(eset, "ESET", 4) != 0 ||
	    !read_stream(f, at + ((uint64_t)eset[8] | (uint64_t)eset[9] << 8), "OTCP", &at, &len) || !read_stream(f, at + len, "TSMP", &at, &len) ||
	    len < 8 || len > 1 << 20 || !read_at(f, at, b, 8))
		return false;
	m->position = (unsigned)(b[4] | b[5] << 8) + 1;
	m->map_len = (size_t)len - 8;
	m->map = talloc_size(m, m->map_len);
	return read_at(f, at + 8, m->map, m->map_len);
}

/* ---- beginning ---------------------------------------------------------------------------------------------- */

static struct mtf *
mtf_new(TALLOC_CTX *parent, const char *path, const struct mtf_set *set)
{
	struct mtf *m = talloc_zero(parent, struct mtf);

	talloc_set_destructor(m, mtf_close);
	m->path = talloc_strdup(m, path);
	m->checksum = set->checksum;
	m->parity = 0x40;
	m->position = 1;
	return m;
}

static bool
open_new(struct mtf *m, const struct mtf_place *place, const struct mtf_set *set, struct err *err)
{
	int fd = open(m->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || (m->f = fdopen(fd, "w")) == NULL)
		return err_errno(err, errno, "%s", m->path);
	fchmod(fd, 0644);
	/* An extent at a time, as a server writes: a death leaves a part and not all or nothing. */
	setvbuf(m->f, NULL, _IOFBF, BUFFER);
	random_bytes(&m->family_id, sizeof(m->family_id));
	m->media_set = place->media_set;
	m->families = place->families;
	m->family = place->family;
	tape(m, set);
	return true;
}

static bool
open_behind(struct mtf *m, struct err *err)
{
	struct mtf_place was = { 0 };
	struct stat st;

	m->f = fopen(m->path, "r+e");
	if (m->f == NULL || fstat(fileno(m->f), &st) != 0)
		return err_errno(err, errno, "%s", m->path);
	if (!read_media(m->f, &m->family_id, &was) || !read_end(m, m->f, (uint64_t)st.st_size) || fseeko(m->f, 0, SEEK_END) != 0)
		return err_set(err, ERR_BROKEN, 3241, "%s does not end as a backup does: nothing can be appended", m->path);
	m->media_set = was.media_set;
	m->families = was.families;
	m->family = was.family;
	m->at = m->begin = m->base = (uint64_t)st.st_size;
	return true;
}

struct mtf *
mtf_begin_at(TALLOC_CTX *parent, const char *path, const struct mtf_place *place, const struct mtf_set *set, struct err *err)
{
	struct mtf *m = mtf_new(parent, path, set);
	struct stat st;
	bool behind = place->append && stat(path, &st) == 0 && st.st_size > 0;

	if (behind ? !open_behind(m, err) : !open_new(m, place, set, err)) {
		talloc_free(m);
		return NULL;
	}
	sset(m, set);
	volb(m, set);
	catalog(m, "MSCI", set);
	return m;
}

struct mtf *
mtf_begin(TALLOC_CTX *parent, const char *path, const struct mtf_set *set, struct err *err)
{
	struct mtf_place place = { .families = 1, .family = 1 };

	random_bytes(place.media_set.b, 16);
	return mtf_begin_at(parent, path, &place, set, err);
}

unsigned
mtf_position(const struct mtf *m)
{
	return m->position;
}

/* Rotating sum over sectors as pages have it, for the CSUM stream. */
static void
add_to_sum(struct mtf *m, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 4) {
		m->sector[m->sector_at++] = (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 |
		                            (uint32_t)p[i + 3] << 24;
		if (m->sector_at == 128) {
			uint32_t x = 0;

			for (size_t k = 0; k < 128; k++)
				x ^= m->sector[k];
			m->sum = (m->sum << 1 | m->sum >> 31) ^ x;
			m->sector_at = 0;
		}
	}
}

static void
csum(struct mtf *m)
{
	uint8_t b[4];

	if (!m->checksum)
		return;
	w32(b, m->sum);
	stream(m, "CSUM", 0, 4);
	put(m, b, 4);
}

bool
mtf_pages_begin(struct mtf *m, uint64_t n_pages)
{
	struct part *p = talloc_zero(m, struct part);

	p->len = 0x3C;
	w16(p->mem + 0x3A, 1);
	block(m, "MSDA", p, 0, true);
	talloc_free(p);
	m->left = n_pages;
	m->sum = 0;
	m->sector_at = 0;
	apad_then(m, "MQDA", 0x02u | (m->checksum ? 0x100u : 0), n_pages * 8192 + 2);
	return !m->bad;
}

bool
mtf_page(struct mtf *m, const uint8_t page[static 8192])
{
	put(m, page, 8192);
	if (m->checksum)
		add_to_sum(m, page, 8192);
	m->left--;
	return !m->bad;
}

bool
mtf_pages_end(struct mtf *m)
{
	if (m->left != 0)
		m->bad = true;
	csum(m);
	stream(m, "MQDA", 0x06, 0);
	spad(m);
	return !m->bad;
}

void
mtf_log_parity(struct mtf *m, uint8_t parity)
{
	m->parity = parity;
}

static void
log_block(struct mtf *m, uint32_t vlf, uint64_t vlf_start, uint64_t vlf_size, uint64_t start, uint64_t end)
{
	struct part *p = talloc_zero(m, struct part);

	p->len = 0x254;
	w16(p->mem + 0x3A, 1);
	w64(p->mem + 0x3C, start);
	w64(p->mem + 0x44, end);
	w16(p->mem + 0x4C, 2);
	w16(p->mem + 0x50, 0x20);
	w16(p->mem + 0x52, 0x5C);
	w32(p->mem + 0x5C, vlf);
	w64(p->mem + 0x60, vlf_size);
	w64(p->mem + 0x68, vlf_start);
	w16(p->mem + 0x70, 2);
	p->mem[0x72] = m->parity;
	block(m, "MSTL", p, 0, true);
	talloc_free(p);
}

bool
mtf_log_begin(struct mtf *m, uint32_t vlf, uint64_t vlf_start, uint64_t vlf_size, uint64_t start, uint64_t end)
{
	uint64_t data = (end - start + 65535) / 65536 * 65536;

	log_block(m, vlf, vlf_start, vlf_size, start, end);
	m->left = data;
	m->sum = 0;
	m->sector_at = 0;
	apad_then(m, "MQTL", m->checksum ? 0x100u : 0, data + 2);
	return !m->bad;
}

bool
mtf_log_elsewhere(struct mtf *m, uint32_t vlf, uint64_t vlf_start, uint64_t vlf_size, uint64_t start, uint64_t end)
{
	log_block(m, vlf, vlf_start, vlf_size, start, end);
	spad(m);
	return !m->bad;
}

bool
mtf_log(struct mtf *m, const void *mem, size_t len)
{
	put(m, mem, len);
	if (m->checksum)
		add_to_sum(m, mem, len);
	m->left -= len;
	return !m->bad;
}

bool
mtf_log_end(struct mtf *m)
{
	static const uint8_t none[512];

	while (m->left > 0 && !m->bad)
		mtf_log(m, none, sizeof(none));
	csum(m);
	spad(m);
	return !m->bad;
}

/* How the set map and the set's own block describe a volume and a set: the strings count from the entry. */
static void
map_volume(struct part *p, const struct mtf_set *s)
{
	uint8_t *c = p->mem;

	memset(p, 0, sizeof(*p));
	p->len = 0x3E;
	memcpy(c + 2, "VOLB", 4);
	w16(c + 0x06, 1);
	w16(c + 0x0C, 1);
	w32(c + 0x20, 0x0002010E);
	w16(c + 0x24, 2);
	wdate(c + 0x38, s->start);
	wstring(p, 0x28, "C:");
	wstring(p, 0x30, s->machine);
	w16(c, (unsigned)p->len);
}

static void
map_set(struct part *p, const struct mtf *m, const struct mtf_set *s)
{
	uint8_t *c = p->mem;

	memset(p, 0, sizeof(*p));
	p->len = 0x5C;
	w16(c + 0x02, 1);
	w32(c + 0x08, (s->type == 'I' ? 8u : 4u) | (s->copy_only ? 2u : 0));
	w64(c + 0x0C, m->sset_at);
	w16(c + 0x1E, 1);
	w64(c + 0x34, s->backup_size);
	w16(c + 0x3C, m->position);
	wdate(c + 0x50, s->start);
	c[0x55] = 12;
	w32(c + 0x56, 0x0002010E);
	w16(c + 0x5A, 2);
	wstring(p, 0x40, s->name);
	wstring(p, 0x4C, s->user);
	w16(c, (unsigned)p->len);
}

static void
end_block(struct mtf *m, const struct mtf_set *s, uint64_t first)
{
	struct part *p = talloc_zero(m, struct part);

	p->len = 0x58;
	w32(p->mem + 0x34, (s->type == 'I' ? 8u : 4u) | (s->copy_only ? 2u : 0));
	w64(p->mem + 0x3C, first);
	w16(p->mem + 0x4E, m->position);
	wdate(p->mem + 0x50, s->start);
	block(m, "ESET", p, 0, false);
	talloc_free(p);
}

/* OTCP (a table of contents, empty here as in real files) reaches to where the set map's header begins a KB. */
static void
contents(struct mtf *m)
{
	uint64_t used = (m->at + 3) / 4 * 4 + 22 - m->base, pad = (FLB - used % FLB) % FLB;

	stream(m, "OTCP", 0, pad);
	zeros(m, pad);
}

/* The first end block carries the map of all sets; the second says where the first is. */
static void
end_blocks(struct mtf *m, const struct mtf_set *s)
{
	struct part *set = talloc_zero(m, struct part), *volume = talloc_zero(m, struct part);
	uint8_t head[8] = { 0 };

	m->eset_at = m->at;
	end_block(m, s, 0);
	contents(m);
	map_set(set, m, s);
	map_volume(volume, s);
	w32(head, m->family_id);
	w16(head + 4, m->position);
	stream(m, "TSMP", 0, sizeof(head) + m->map_len + set->len + volume->len);
	put(m, head, sizeof(head));
	put(m, m->map, m->map_len);
	put(m, set->mem, set->len);
	put(m, volume->mem, volume->len);
	spad(m);
	end_block(m, s, m->eset_at);
	spad(m);
	mark(m);
	talloc_free(set);
	talloc_free(volume);
}

static bool
sync_folder_of(const char *path)
{
	char *copy = strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return good;
}

bool
mtf_end(struct mtf *m, const struct mtf_set *final, struct err *err)
{
	catalog(m, "MSLS", final);
	mark(m);
	end_blocks(m, final);
	if (m->bad || fflush(m->f) != 0 || fsync(fileno(m->f)) != 0 || !sync_folder_of(m->path))
		return err_errno(err, errno == 0 ? EIO : errno, "writing %s", m->path);
	return true;
}

uint64_t
mtf_bytes(const struct mtf *m)
{
	return m->at - m->begin;
}
