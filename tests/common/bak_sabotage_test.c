#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/common/backup_file.h"
#include "tests/standin/mtf_write.h"

/*
 * A table of sabotage: how a good backup is damaged, and what the reader must say of it, with the place. What the
 * format cannot show is in the table too, as undetectable, with the reason. Every row is tried on every made
 * backup and on every real one that has what it needs.
 */

enum { PAGE = 8192, EXTENT_PAGES = 8, EXTENT = EXTENT_PAGES * PAGE, SECTOR = 512, PFS_INTERVAL = 8088, BOOT_PAGE = 9 };

static uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static unsigned le16(const uint8_t *p) { return (unsigned)p[0] | (unsigned)p[1] << 8; }

/* ---- victims --------------------------------------------------------------------------------------------------- */

/* A page in its place, in an extent of pages of that extent only. */
struct page { uint64_t at; uint32_t file, id; bool known, allocated, summed, torn; };
struct log_block { uint64_t at; size_t size; };

struct victim {
	TALLOC_CTX *mem;
	struct backup_file f;
	bool made;
	struct part *parts;
	size_t n;
	struct page *pages; /* whole extents of the first pass, as they stand in the file */
	size_t n_pages;
	struct log_block *blocks; /* of the first log extent */
	size_t n_blocks;

	uint64_t place;           /* what was damaged: the words must name it */
	const struct page *page;  /* or this page */
	const char *says;         /* or these words, besides the table's */
};

static bool has(const struct victim *v, const char *id) { for (size_t i = 0; i < v->n; i++) if (strcmp(v->parts[i].id, id) == 0) return true; return false; }
static const struct part *part(const struct victim *v, const char *id, size_t nth) { return part_of(v->parts, v->n, id, nth); }
static bool is_striped(const struct victim *v) { return le16(v->f.mem + part(v, "RAID", 0)->data + 0x14) > 1; }

/* Pages of data files that the head announces. */
static uint64_t
announced(const struct victim *v)
{
	uint64_t pages = 0;
	const struct part *c = part(v, "MQCI", 0);

	for (size_t at = c->data; at < c->data + c->len; at += le32(v->f.mem + at + 4))
		if (memcmp(v->f.mem + at, "SFIN", 4) == 0 && le32(v->f.mem + at + 0x1C) == 1)
			pages += le32(v->f.mem + at + 0x18);
	return pages;
}

static bool
is_pfs(const uint8_t *m, uint32_t file, uint32_t id)
{
	return m[0] == 1 && m[1] == 11 && le32(m + 0x20) == id && le16(m + 0x24) == file;
}

/* The map that speaks of this page, somewhere before it; NULL when there is none. */
static const uint8_t *
map_of(const struct victim *v, const struct page *p)
{
	uint32_t id = p->id < PFS_INTERVAL ? 1 : p->id / PFS_INTERVAL * PFS_INTERVAL;

	for (const struct page *q = v->pages; q <= p; q++)
		if (is_pfs(v->f.mem + q->at, p->file, id))
			return v->f.mem + q->at;
	return NULL;
}

static void
find_pages(struct victim *v)
{
	const struct part *data = has(v, "MQDA") ? part(v, "MQDA", 0) : NULL;
	uint64_t n = data == NULL ? 0 : (data->len - 2) / PAGE, most;

	if (n == 0)
		return;
	most = announced(v) / (is_striped(v) ? 4 : 1); /* of what lies beyond, nothing is known; stripes share it out */
	v->n_pages = n < most ? n : most / EXTENT_PAGES * EXTENT_PAGES;
	v->pages = talloc_zero_array(v->mem, struct page, v->n_pages + 1);
	for (size_t i = 0; i < v->n_pages; i += EXTENT_PAGES) {
		struct page *p = &v->pages[i];
		unsigned in_place = 0;
		uint32_t base = 0, file = 0;

		for (size_t k = 0; k < EXTENT_PAGES; k++) {
			const uint8_t *m = v->f.mem + (p[k].at = data->data + 2 + (i + k) * PAGE);

			if (m[0] != 1 || le32(m + 0x20) % EXTENT_PAGES != k)
				continue;
			if (in_place++ == 0)
				base = le32(m + 0x20) - (uint32_t)k, file = le16(m + 0x24);
			else if (base != le32(m + 0x20) - k || file != le16(m + 0x24))
				in_place = EXTENT_PAGES + 1;
		}
		for (size_t k = 0; k < EXTENT_PAGES && in_place > 1 && in_place <= EXTENT_PAGES; k++) {
			const uint8_t *m = v->f.mem + p[k].at, *map;

			p[k].file = file;
			p[k].id = base + (uint32_t)k;
			p[k].known = true;
			map = map_of(v, &p[k]);
			p[k].allocated = map != NULL && (map[100 + p[k].id % PFS_INTERVAL] & 0x40) != 0;
			p[k].summed = m[0] == 1 && (m[5] & 2) != 0;
			p[k].torn = m[0] == 1 && (m[5] & 3) == 1;
		}
	}
}

/* The block that the stream belongs to. */
static uint8_t *
block_of(const struct victim *v, const struct part *stream)
{
	while (!stream->is_block)
		stream--;
	return v->f.mem + stream->at;
}

static void
find_blocks(struct victim *v)
{
	const struct part *log = has(v, "MQTL") ? part(v, "MQTL", 0) : NULL;
	uint64_t start, end, at = 0;

	if (log == NULL)
		return;
	memcpy(&start, block_of(v, log) + 0x3C, 8);
	memcpy(&end, block_of(v, log) + 0x44, 8);
	for (; start + at < end && at + SECTOR < log->len; at += v->blocks[v->n_blocks++].size) {
		uint64_t here = log->data + 2 + at;

		v->blocks = talloc_realloc(v->mem, v->blocks, struct log_block, v->n_blocks + 1);
		v->blocks[v->n_blocks] = (struct log_block){ here, le16(v->f.mem + here + 6) };
	}
}

static struct victim
victim_of(TALLOC_CTX *mem, const struct backup_file *f, bool made)
{
	struct victim v = { .mem = mem, .f = file_copy(mem, f), .made = made };

	v.parts = parts_of(mem, &v.f, &v.n);
	find_pages(&v);
	find_blocks(&v);
	return v;
}

/* ---- tools: each is false where the victim has not what it takes -------------------------------------------------- */

static void flip(struct victim *v, uint64_t at, uint8_t bits) { v->f.mem[at] ^= bits; }

static bool
flip_at(struct victim *v, uint64_t at, uint8_t bits)
{
	v->place = at;
	flip(v, at, bits);
	return true;
}

static bool summed(const struct victim *v, const struct page *p) { (void)v; return p->allocated && p->summed; }
static bool torn(const struct victim *v, const struct page *p) { (void)v; return p->allocated && p->torn; }
static bool allocated(const struct victim *v, const struct page *p) { return p->allocated && v->f.mem[p->at] == 1; }
static bool is_free(const struct victim *v, const struct page *p) { return !p->allocated && map_of(v, p) != NULL && p->id > BOOT_PAGE; }

/* Of its extent two more pages are allocated: without it they still say which one it is. The others may be remains of anything. */
static bool
of_many(const struct victim *v, const struct page *p)
{
	const struct page *first = v->pages + (p - v->pages) / EXTENT_PAGES * EXTENT_PAGES;
	unsigned n = 0;

	for (size_t k = 0; k < EXTENT_PAGES; k++)
		n += allocated(v, &first[k]);
	return allocated(v, p) && n >= 3;
}

/* One of those that are so, by chance; NULL when there is none. Pages of the system have rows of their own. */
static const struct page *
choose(const struct victim *v, bool (*is)(const struct victim *v, const struct page *p))
{
	const struct page *found = NULL;
	unsigned n = 0;

	for (size_t i = 2 * EXTENT_PAGES; i < v->n_pages; i++)
		if (v->pages[i].known && v->pages[i].id % PFS_INTERVAL > BOOT_PAGE && is(v, &v->pages[i]) && chance(++n) == 0)
			found = &v->pages[i];
	return found;
}

static bool
damage_page(struct victim *v, bool (*is)(const struct victim *v, const struct page *p), size_t offset, uint8_t bits)
{
	v->page = choose(v, is);
	if (v->page != NULL)
		flip(v, v->page->at + offset, bits);
	return v->page != NULL;
}

static const struct page *
page_with_id(const struct victim *v, uint32_t id)
{
	for (size_t i = 0; i < v->n_pages; i++)
		if (v->pages[i].known && v->pages[i].file == 1 && v->pages[i].id == id)
			return &v->pages[i];
	return NULL;
}

static bool
zero_page(struct victim *v, const struct page *p)
{
	v->page = p;
	if (p != NULL)
		memset(v->f.mem + p->at, 0, PAGE);
	return p != NULL;
}

static bool
swap(struct victim *v, uint64_t a, uint64_t b, size_t len)
{
	uint8_t *copy = talloc_memdup(v->mem, v->f.mem + a, len);

	memcpy(v->f.mem + a, v->f.mem + b, len);
	memcpy(v->f.mem + b, copy, len);
	return true;
}

static void
cut_out(struct victim *v, uint64_t at, size_t len)
{
	memmove(v->f.mem + at, v->f.mem + at + len, v->f.len - at - len);
	v->f.len -= len;
}

static void
append(struct victim *v, const uint8_t *mem, size_t len)
{
	v->place = v->f.len;
	v->f.mem = talloc_realloc(v->mem, v->f.mem, uint8_t, v->f.len + len);
	memcpy(v->f.mem + v->f.len, mem, len);
	v->f.len += len;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

static bool page_body(struct victim *v) { return damage_page(v, summed, 96 + chance(PAGE - 96), (uint8_t)(1u << chance(8))); }
static bool page_type(struct victim *v) { return damage_page(v, summed, 1, 0x02); }
static bool page_sum(struct victim *v) { return damage_page(v, summed, 0x3C + chance(4), (uint8_t)(1u << chance(8))); }
static bool page_id(struct victim *v) { return damage_page(v, summed, 0x20 + chance(3), (uint8_t)(1u << chance(8))); }
static bool page_file(struct victim *v) { return damage_page(v, summed, 0x24, 0x02); }
static bool page_version(struct victim *v) { return damage_page(v, summed, 0, 0x04); }
static bool page_flag(struct victim *v) { return damage_page(v, summed, 5, 0x02); }
static bool torn_sector(struct victim *v) { return damage_page(v, torn, 511 + 512 * (1 + chance(15)), 0x03); }
static bool torn_body(struct victim *v) { return damage_page(v, torn, 4000, 0x10); }
static bool zeroed_page(struct victim *v) { return !is_striped(v) && zero_page(v, choose(v, allocated)); }
static bool zeroed_map(struct victim *v) { return zero_page(v, page_with_id(v, 1)); }
static bool zeroed_header(struct victim *v) { return zero_page(v, page_with_id(v, 0)); }
static bool zeroed_boot_page(struct victim *v) { return zero_page(v, page_with_id(v, BOOT_PAGE)); }

static bool
garbage_on_free_page(struct victim *v)
{
	const struct page *p = choose(v, is_free);

	for (size_t i = 64; p != NULL && i < PAGE; i++)
		v->f.mem[p->at + i] = (uint8_t)chance(256);
	return p != NULL;
}

static bool
zeros_on_free_page(struct victim *v)
{
	const struct page *p = choose(v, is_free);

	if (p == NULL || v->f.mem[p->at] != 1)
		return false;
	memset(v->f.mem + p->at, 0, PAGE);
	return true;
}

/* An extent of the file between its two neighbours. */
static const struct page *
inner_extent(const struct victim *v)
{
	for (size_t i = 2 * EXTENT_PAGES; i + 2 * EXTENT_PAGES <= v->n_pages && !is_striped(v); i += EXTENT_PAGES) {
		const struct page *p = &v->pages[i];

		if (p->known && p[-1].known && p[EXTENT_PAGES].known && allocated(v, p) && p[-1].id + 1 == p->id && p[EXTENT_PAGES].id == p->id + EXTENT_PAGES)
			return p;
	}
	return NULL;
}

static bool
zeroed_extent(struct victim *v)
{
	v->page = inner_extent(v);
	if (v->page != NULL)
		memset(v->f.mem + v->page->at, 0, EXTENT);
	return v->page != NULL;
}

static bool
zeroed_end(struct victim *v)
{
	if (v->n_pages <= 2 * EXTENT_PAGES || is_striped(v))
		return false;
	memset(v->f.mem + v->pages[v->n_pages - EXTENT_PAGES].at, 0, EXTENT);
	return true;
}

static bool
pages_swapped_in_extent(struct victim *v)
{
	const struct page *p = inner_extent(v);

	if (p == NULL || !allocated(v, p + 1))
		return false;
	v->page = p;
	return swap(v, p->at, p[1].at, PAGE);
}

static bool
pages_swapped(struct victim *v)
{
	const struct page *a = choose(v, of_many), *b = choose(v, of_many);

	if (a == NULL || is_striped(v) || a->id / EXTENT_PAGES == b->id / EXTENT_PAGES)
		return false;
	v->page = a;
	v->says = talloc_asprintf(v->mem, "page (%u:%u) is allocated, and another page stands in its place", b->file, b->id);
	return swap(v, a->at, b->at, PAGE);
}

static bool
extents_swapped(struct victim *v)
{
	const struct page *p = inner_extent(v);

	return p != NULL && swap(v, p->at, p->at + EXTENT, EXTENT);
}

/*
 * The stream keeps its length: it swallows what follows it, and where it ends no header stands. Where less than an
 * extent follows, the file looks cut off, which it is.
 */
static bool
extent_cut_out(struct victim *v)
{
	const struct part *data = has(v, "MQDA") ? part(v, "MQDA", 0) : NULL;

	if (v->n_pages <= 3 * EXTENT_PAGES || v->f.len - data->data - data->len <= EXTENT)
		return false;
	v->place = (data->data + data->len + 3) / 4 * 4;
	cut_out(v, v->pages[2 * EXTENT_PAGES].at, EXTENT);
	return true;
}

/* Its sum fits, and it is page (1:9): of another database. */
static bool
boot_page_of_another(struct victim *v)
{
	struct backup_sample s = { 'D', 16, 9, false, false, true, 77 };
	struct backup_file f = file_of_sample(v->mem, &s);
	struct victim other = victim_of(v->mem, &f, true);
	const struct page *p = page_with_id(v, BOOT_PAGE);

	if (p == NULL)
		return false;
	v->place = p->at;
	memcpy(v->f.mem + p->at, f.mem + page_with_id(&other, BOOT_PAGE)->at, PAGE);
	return true;
}

/* ---- sums and log ------------------------------------------------------------------------------------------------- */

static const struct part *
sum_of(const struct victim *v, const char *data)
{
	for (size_t i = 1; i < v->n; i++)
		if (strcmp(v->parts[i].id, "CSUM") == 0 && strcmp(v->parts[i - 1].id, data) == 0)
			return &v->parts[i];
	return NULL;
}

static bool
damage_sum(struct victim *v, const char *data)
{
	const struct part *sum = sum_of(v, data);

	return sum != NULL && (flip(v, sum->data + chance(4), (uint8_t)(1u << chance(8))), v->place = sum->data) > 0;
}
static bool page_sums(struct victim *v) { return damage_sum(v, "MQDA"); }
static bool log_sum(struct victim *v) { return damage_sum(v, "MQTL"); }

/* With BACKUP's own sum over them, whatever is damaged is found there too. */
static bool with_sum(struct victim *v, const char *data) { return sum_of(v, data) != NULL && (v->place = sum_of(v, data)->data) > 0; }
static bool without_sum(const struct victim *v, const char *data) { return sum_of(v, data) == NULL; }
static bool free_page_bare(struct victim *v) { return without_sum(v, "MQDA") && garbage_on_free_page(v); }
static bool free_zeros_bare(struct victim *v) { return without_sum(v, "MQDA") && zeros_on_free_page(v); }
static bool free_page_summed(struct victim *v) { return with_sum(v, "MQDA") && garbage_on_free_page(v); }
static bool page_flag_bare(struct victim *v) { return without_sum(v, "MQDA") && page_flag(v); }
static bool torn_body_bare(struct victim *v) { return without_sum(v, "MQDA") && torn_body(v); }
static bool zeroed_end_bare(struct victim *v) { return without_sum(v, "MQDA") && zeroed_end(v); }
static bool zeroed_end_summed(struct victim *v) { return with_sum(v, "MQDA") && zeroed_end(v); }
static bool extents_swapped_bare(struct victim *v) { return without_sum(v, "MQDA") && extents_swapped(v); }

static const struct log_block *
some_block(const struct victim *v, size_t more)
{
	return v->n_blocks > 1 + more ? &v->blocks[1 + chance((unsigned)(v->n_blocks - 1 - more))] : NULL;
}

static bool
damage_block(struct victim *v, size_t offset, uint8_t bits)
{
	const struct log_block *b = some_block(v, 0);

	if (b == NULL)
		return false;
	flip(v, b->at + offset, bits);
	v->place = b->at;
	return true;
}
static bool log_number(struct victim *v) { return damage_block(v, 16, 0x02); }
static bool log_vlf(struct victim *v) { return damage_block(v, 12, 0x04); }
static bool log_size(struct victim *v) { return damage_block(v, 6, 0x40); }
static bool log_first_parity(struct victim *v) { return damage_block(v, 0, 0xC0); }

static bool
log_bigger(struct victim *v)
{
	const struct log_block *b = some_block(v, 1);

	if (b == NULL || (b->size / SECTOR & 1) != 0)
		return false;
	flip(v, b->at + 7, 0x02); /* one sector more: its last one is no longer the last */
	v->place = b->at + b->size - SECTOR;
	return true;
}

static bool
log_parity(struct victim *v)
{
	const struct log_block *b = some_block(v, 0);

	return b != NULL && b->size > SECTOR && flip_at(v, b->at + SECTOR, 0xC0);
}

static bool
log_body(struct victim *v)
{
	const struct log_block *b = some_block(v, 0);

	if (b != NULL)
		flip(v, b->at + 100, 0x10);
	return b != NULL;
}
static bool log_body_bare(struct victim *v) { return without_sum(v, "MQTL") && log_body(v); }
static bool log_body_summed(struct victim *v) { return with_sum(v, "MQTL") && log_body(v); }

static bool
log_blocks_swapped(struct victim *v)
{
	const struct log_block *b = some_block(v, 1);

	if (b == NULL || b[0].size != b[1].size)
		return false;
	v->place = b->at;
	return swap(v, b->at, b[1].at, b->size);
}

/* The extent begins one block later than it did: not where FirstLSN is. */
static bool
log_starts_late(struct victim *v)
{
	const struct part *log = v->n_blocks < 2 ? NULL : part(v, "MQTL", 0);
	uint64_t start;

	if (log == NULL)
		return false;
	memcpy(&start, block_of(v, log) + 0x3C, 8);
	start += v->blocks[0].size;
	memcpy(block_of(v, log) + 0x3C, &start, 8);
	memmove(v->f.mem + v->blocks[0].at, v->f.mem + v->blocks[1].at, log->data + log->len - v->blocks[1].at);
	v->place = part(v, "SSET", 0)->at;
	return true;
}

/* ---- structure ------------------------------------------------------------------------------------------------------ */

static bool set_place(struct victim *v) { flip(v, part(v, "SSET", 0)->at + 0x50, 4); return (v->place = part(v, "SSET", 0)->at) > 0; }
static bool set_number(struct victim *v) { flip(v, part(v, "SSET", 0)->at + 0x3E, 2); return (v->place = part(v, "SSET", 0)->at) > 0; }
static bool map_place(struct victim *v) { flip(v, part(v, "TSMP", 0)->data + 8 + 12, 4); return (v->place = part(v, "TSMP", 0)->data) > 0; }
static bool map_count(struct victim *v) { return flip_at(v, part(v, "TSMP", 0)->data + 4, 2) && (v->place -= 4) > 0; }
static bool map_family(struct victim *v) { return flip_at(v, part(v, "TSMP", 0)->data, 1); }
static bool map_size(struct victim *v) { flip(v, part(v, "TSMP", 0)->data + 8 + 0x36, 1); return (v->place = part(v, "TSMP", 0)->data + 8) > 0; }
static bool filler(struct victim *v) { flip(v, part(v, "SPAD", 1)->data + 3, 1); return true; }
static bool tag_length(struct victim *v) { flip(v, part(v, "MQCI", 0)->data + 7, 0x40); return (v->place = part(v, "MQCI", 0)->data) > 0; }
static bool file_behind_file(struct victim *v) { append(v, talloc_memdup(v->mem, v->f.mem, v->f.len), v->f.len); return true; }

/* The end of the set says nothing that the walk knows: what the head announced would be taken for final. */
static bool
end_without_description(struct victim *v)
{
	flip(v, part(v, "MQCI", 1)->data + 3, 1);
	return true;
}

static bool
other_name(struct victim *v)
{
	const uint8_t *scin = v->f.mem + part(v, "MQCI", 1)->data;

	flip(v, part(v, "MQCI", 1)->data + le16(scin + 0x6A), 1);
	return (v->place = part(v, "SSET", 0)->at) > 0;
}

static struct backup_file
another(const struct victim *v)
{
	struct backup_sample s = { 'D', 64, 9, false, false, true, 77 };
	struct backup_file f = { 0 };

	if (!v->made)
		f = real_file(v->mem, strcmp(v->f.name, "single/testlastbackup.bak") == 0 ? "single/singlerestore.bak" : "single/testlastbackup.bak");
	return f.mem != NULL ? f : file_of_sample(v->mem, &s);
}

/* Headers of one backup, data and end of another: each half is right in itself. */
static bool
head_of_another(struct victim *v)
{
	struct backup_file f = another(v);
	struct victim other = victim_of(v->mem, &f, v->made);
	size_t at = has(v, "MSDA") ? part(v, "MSDA", 0)->at : 0, begin = part(&other, "MSDA", 0)->at;

	if (at == 0)
		return false;
	v->f.mem = talloc_realloc(v->mem, v->f.mem, uint8_t, at + f.len - begin);
	memcpy(v->f.mem + at, f.mem + begin, f.len - begin);
	v->f.len = at + f.len - begin;
	return true;
}

static const struct {
	const char *name;
	bool (*damage)(struct victim *v);
	enum bak_end end; /* BAK_END_WHOLE: undetectable; says is the reason then */
	const char *says, *finding;
} table[] = {
#define DAMAGED BAK_END_DAMAGED
#define FOUND "damaged-page"
#define IN_ITS_PLACE "is allocated, and another page stands in its place"
#define ZEROS "is allocated, and nothing but zeros"
	{ "a bit in a page's body", page_body, DAMAGED, "is damaged: its checksum and its bytes differ", FOUND },
	{ "a bit in a page's type", page_type, DAMAGED, "is damaged: its checksum and its bytes differ", FOUND },
	{ "a bit in a page's checksum", page_sum, DAMAGED, "is damaged: its checksum and its bytes differ", FOUND },
	{ "a bit in a page's id", page_id, DAMAGED, IN_ITS_PLACE, FOUND },
	{ "a bit in a page's file", page_file, DAMAGED, IN_ITS_PLACE, FOUND },
	{ "a bit in a page's version", page_version, DAMAGED, IN_ITS_PLACE, FOUND },
	{ "the bit that says that a page has a checksum", page_flag_bare, BAK_END_WHOLE, "pages without any protection are legal", NULL },
	{ "a torn sector", torn_sector, DAMAGED, "is torn: its sectors do not end in the same bits", FOUND },
	{ "a bit in the body of a page with torn bits", torn_body_bare, BAK_END_WHOLE, "torn bits protect two bits of each sector", NULL },
	{ "garbage over a page that is not allocated", free_page_bare, BAK_END_WHOLE, "such a page may hold anything", NULL },
	{ "zeros over a page that is not allocated", free_zeros_bare, BAK_END_WHOLE, "such a page may hold anything", NULL },
	{ "garbage over such a page WITH CHECKSUM", free_page_summed, DAMAGED, "the backup checksum over the pages", FOUND },
	{ "zeros over a page", zeroed_page, DAMAGED, ZEROS, FOUND },
	{ "zeros over the allocation map", zeroed_map, DAMAGED, ZEROS, FOUND },
	{ "zeros over the file's header page", zeroed_header, DAMAGED, ZEROS, FOUND },
	{ "zeros over the boot page", zeroed_boot_page, DAMAGED, ZEROS, FOUND },
	{ "zeros over an extent", zeroed_extent, DAMAGED, ZEROS, FOUND },
	{ "zeros over the last extent", zeroed_end_bare, BAK_END_WHOLE, "an extent of zeros with none behind it does not say which one it is", NULL },
	{ "zeros over the last extent WITH CHECKSUM", zeroed_end_summed, DAMAGED, "the backup checksum over the pages", FOUND },
	{ "two pages of an extent swapped", pages_swapped_in_extent, DAMAGED, IN_ITS_PLACE, FOUND },
	{ "two pages of two extents swapped", pages_swapped, DAMAGED, IN_ITS_PLACE, FOUND },
	{ "two extents swapped", extents_swapped_bare, BAK_END_WHOLE, "one that is out of order may be the remains of freed pages", NULL },
	{ "an extent cut out", extent_cut_out, DAMAGED, "stream", FOUND },
	{ "the boot page of another database", boot_page_of_another, DAMAGED, "FamilyGUID on the database's boot page (1:9) is not what the header", FOUND },
	{ "the headers of another database", head_of_another, DAMAGED, "", FOUND },
	{ "a bit in the sum over the pages", page_sums, DAMAGED, "the backup checksum over the pages", FOUND },
	{ "a bit in the sum over the log", log_sum, DAMAGED, "the backup checksum over the log", FOUND },
	{ "a log block's size", log_size, DAMAGED, "a block without a size", FOUND },
	{ "a log block that claims the next one", log_bigger, DAMAGED, "a sector with the wrong parity", FOUND },
	{ "a log block's number", log_number, DAMAGED, "a block that belongs elsewhere", FOUND },
	{ "a log block's virtual log file", log_vlf, DAMAGED, "a block of another virtual log file", FOUND },
	{ "the parity of a log block's first sector", log_first_parity, DAMAGED, "a sector with the wrong parity", FOUND },
	{ "the parity of another sector of a log block", log_parity, DAMAGED, "a sector with the wrong parity", FOUND },
	{ "two log blocks swapped", log_blocks_swapped, DAMAGED, "a block that belongs elsewhere", FOUND },
	{ "a log that begins late", log_starts_late, DAMAGED, "the log in it does not begin at LSN", FOUND },
	{ "a bit in a log block's body", log_body_bare, BAK_END_WHOLE, "log blocks have no sum of their own that is known", NULL },
	{ "a bit in a log block's body WITH CHECKSUM", log_body_summed, DAMAGED, "the backup checksum over the log", FOUND },
	{ "the set's own place", set_place, DAMAGED, "but says that it begins at", FOUND },
	{ "the set's number", set_number, DAMAGED, "says that it is number 3 and is number 1", FOUND },
	{ "a place in the set map", map_place, DAMAGED, "the set map at", FOUND },
	{ "the count of the set map", map_count, DAMAGED, "lists 3 sets, the file has 1", FOUND },
	{ "the family of the set map", map_family, DAMAGED, "belongs to another media family", FOUND },
	{ "the size in the set map", map_size, DAMAGED, "CompressedBackupSize in the set map is not what set 1 says", FOUND },
	{ "filler", filler, BAK_END_WHOLE, "padding means nothing", NULL },
	{ "a structure's length in the catalogue", tag_length, DAMAGED, "the catalogue is damaged at", FOUND },
	{ "a set whose end does not describe it", end_without_description, DAMAGED, "the catalogue in the end of set 1 does not describe a backup", FOUND },
	{ "another database's name at the end", other_name, DAMAGED, "DatabaseName differs between the head and the end of set 1", FOUND },
	{ "two files glued together", file_behind_file, BAK_END_TRAILING, "the backup ends properly at", "trailing-bytes" },
#undef DAMAGED
#undef FOUND
#undef IN_ITS_PLACE
#undef ZEROS
};

/* ---- judgement ------------------------------------------------------------------------------------------------------ */

static void
must_say(TALLOC_CTX *mem, const char *name, const struct backup_file *f, enum bak_end end, const char *says, uint64_t place, const char *finding)
{
	struct bak *b = reads(mem, f, 0);
	char *words = words_of_reader(mem, b);

	if (bak_end(b) != end)
		fail_msg("%s: %s: ends %d and not %d: %s", f->name, name, (int)bak_end(b), (int)end, words);
	if (bak_is_whole(b) != (end == BAK_END_WHOLE))
		fail_msg("%s: %s: called whole", f->name, name);
	if (end == BAK_END_WHOLE)
		return;
	if (strstr(words, says) == NULL)
		fail_msg("%s: %s: does not say \"%s\": %s", f->name, name, says, words);
	if (place > 0 && !names_byte(words, place))
		fail_msg("%s: %s: does not name byte %llu: %s", f->name, name, (unsigned long long)place, words);
	if (!has_finding(b, finding))
		fail_msg("%s: %s: not found as %s", f->name, name, finding);
}

/* The page is listed by its number and its place, with what is wrong. */
static void
must_list(struct victim *v, const char *name, const char *says)
{
	struct bak *b = reads(v->mem, &v->f, 0);
	char *page = talloc_asprintf(v->mem, "page (%u:%u) %s", v->page->file, v->page->id, says);
	const struct bak_damage *d;
	uint64_t all;
	size_t n;

	d = bak_damage(b, &n, &all);
	for (size_t i = 0; i < n; i++)
		if (d[i].kind == BAK_BAD_PAGE && d[i].file_id == v->page->file && d[i].page_id == v->page->id && d[i].offset == v->page->at &&
		    strstr(d[i].text, page) != NULL && names_byte(d[i].text, v->page->at))
			return;
	fail_msg("%s: %s: does not list %s at byte %llu: %s", v->f.name, name, page, (unsigned long long)v->page->at, words_of_reader(v->mem, b));
}

struct count { size_t made, real; };

static void
try_row(size_t i, const struct backup_file *f, bool made, struct count *count)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct victim v = victim_of(mem, f, made);

	if (table[i].damage(&v)) {
		must_say(mem, table[i].name, &v.f, table[i].end, table[i].says, v.place, table[i].finding);
		if (v.says != NULL)
			must_say(mem, table[i].name, &v.f, table[i].end, v.says, v.place, table[i].finding);
		if (v.page != NULL && table[i].end != BAK_END_WHOLE)
			must_list(&v, table[i].name, table[i].says);
		*(made ? &count->made : &count->real) += 1;
	}
	talloc_free(mem);
}

static struct backup_file *files; /* plain ones of one set: the made ones, then the real ones */
static size_t n_files, n_made;

static int
load_all(void **state)
{
	static const struct backup_sample samples[] = {
		{ 'D', 64, 9, false, false, true, 1 }, { 'D', 64, 9, true, false, true, 1 }, { 'L', 0, 200, false, false, false, 2 },
		{ 'L', 0, 200, true, false, false, 2 }, { 'D', 64, 9, false, true, true, 3 }, { 'D', 512, 9, false, false, true, 4 },
	};
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file *real;
	size_t n_real;

	*state = mem;
	real = real_files(mem, &n_real);
	files = talloc_array(mem, struct backup_file, n_real + sizeof(samples) / sizeof(samples[0]));
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		files[n_files++] = file_of_sample(mem, &samples[i]);
	n_made = n_files;
	for (size_t i = 0; i < n_real; i++)
		if (is_plain(&real[i]))
			files[n_files++] = real[i];
	if (n_real == 0)
		printf("SKIP the real backups in every test of bak_sabotage_test: LANDFALL_BACKUPS is not set\n");
	return 0;
}

static int free_all(void **state) { return talloc_free(*state); }

static void
each_sabotage_is_recognised_with_its_place(void **state)
{
	size_t undetectable = 0, tried = 0;

	(void)state;
	for (size_t k = 0; k < n_files; k++) {
		TALLOC_CTX *mem = talloc_new(NULL);

		must_say(mem, "unharmed", &files[k], BAK_END_WHOLE, NULL, 0, NULL);
		talloc_free(mem);
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct count count = { 0, 0 };

		for (size_t k = 0; k < n_files; k++)
			try_row(i, &files[k], k < n_made, &count);
		/* Made files have nothing but zeros on pages that are not allocated. */
		if (count.made + count.real == 0 && table[i].damage != free_zeros_bare)
			fail_msg("%s: there is no file to try it on", table[i].name);
		tried += count.made + count.real;
		undetectable += table[i].end == BAK_END_WHOLE;
		if (table[i].end == BAK_END_WHOLE)
			printf("# undetectable: %s: %s\n", table[i].name, table[i].says);
		printf("# %s: %zu made and %zu real files\n", table[i].name, count.made, count.real);
	}
	printf("# %zu kinds of sabotage, %zu of them undetectable by the format; %zu files damaged\n", sizeof(table) / sizeof(table[0]), undetectable, tried);
}

/* ---- headers, blocks, ends --------------------------------------------------------------------------------------------- */

static void
every_bit_of_block_and_stream_headers_counts(void **state)
{
	static const struct backup_sample samples[] = { { 'D', 16, 2, true, false, true, 1 }, { 'L', 0, 2, false, false, false, 1 } };
	size_t tried = 0;

	(void)state;
	for (size_t s = 0; s < 2; s++) {
		TALLOC_CTX *all = talloc_new(NULL);
		struct backup_file f = file_of_sample(all, &samples[s]);
		size_t n;
		struct part *parts = parts_of(all, &f, &n);

		for (size_t p = 0; p < n; p++)
			for (size_t i = 0; i < 8 * (parts[p].is_block ? 52u : 22u); i++, tried++) {
				TALLOC_CTX *mem = talloc_new(all);
				size_t at = parts[p].at + i / 8;
				struct bak *b;

				f.mem[at] ^= (uint8_t)(1u << i % 8);
				b = reads(mem, &f, 1 << 20);
				f.mem[at] ^= (uint8_t)(1u << i % 8);
				if (at < 4 ? bak_end(b) != BAK_END_OTHER : bak_end(b) != BAK_END_DAMAGED || strstr(bak_why(b), "is damaged: its checksum is") == NULL ||
				    (parts[p].at > 0 && !names_byte(bak_why(b), parts[p].at)))
					fail_msg("bit %zu of the %s at %zu: %d, %s", i, parts[p].id, parts[p].at, (int)bak_end(b), bak_why(b));
				talloc_free(mem);
			}
		talloc_free(all);
	}
	printf("# %zu flipped bits\n", tried);
}

/* Where block i ends, and the next begins. */
static size_t
end_of_block(const struct part *parts, size_t n, size_t i, size_t len)
{
	do
		i++;
	while (i < n && !parts[i].is_block);
	return i < n ? parts[i].at : len;
}

/* Fields of a block's or stream's header, its sum made right again: what no accident does, and a hostile file may. */
static const struct {
	const char *name, *id;
	size_t nth;
	struct { unsigned at, bytes; uint64_t value; } edit[2];
	const char *rename, *says;
} sealed_table[] = {
	{ "a block's number", "VOLB", 0, { { 36, 4, 9 } }, NULL, "is number 9 of its set where number 1 belongs" },
	{ "a block's place", "VOLB", 0, { { 20, 8, 7 } }, NULL, "belongs elsewhere: it says 7 blocks behind the begin of its set, it is 1" },
	{ "a block without a size", "VOLB", 0, { { 8, 2, 20 } }, NULL, "has no size" },
	{ "a mark of an odd size", "SFMB", 1, { { 8, 2, 700 } }, NULL, "has a wrong size" },
	{ "a mark without a size", "SFMB", 1, { { 8, 2, 100 } }, NULL, "has a wrong size" },
	{ "a second media header", "VOLB", 0, { { 0, 0, 0 } }, "TAPE", "a second TAPE block at" },
	{ "a second set in the first", "VOLB", 0, { { 0, 0, 0 } }, "SSET", "a backup set begins at" },
	{ "an end in the middle", "VOLB", 0, { { 0, 0, 0 } }, "ESET", "an end of set at" },
	{ "an unknown block", "VOLB", 0, { { 0, 0, 0 } }, "WHAT", "an unknown block 'WHAT' at" },
	{ "a second head", "MSLS", 0, { { 0, 0, 0 } }, "MSCI", "a second catalogue head at" },
	{ "an end before its head", "MSCI", 0, { { 0, 0, 0 } }, "MSLS", "the end of a set at" },
	{ "a catalogue in another block", "MSCI", 0, { { 0, 0, 0 } }, "VOLB", "a catalogue at" },
	{ "pages in another block", "MSDA", 0, { { 0, 0, 0 } }, "VOLB", "data at" },
	{ "a stream longer than any file", "MQDA", 0, { { 8, 8, UINT64_MAX / 2 } }, NULL, "claims an impossible length" },
	{ "a stream longer than any of its kind", "RAID", 0, { { 8, 8, 5000 } }, NULL, "the RAID stream at byte 140 claims 5000 bytes" },
	{ "a stream without a name", "MQDA", 1, { { 0, 4, 0 } }, NULL, "no stream begins at" },
	{ "more stripes than there can be", "RAID", 0, { { 22 + 0x14, 2, 65 } }, NULL, "the media header says file 1 of 65" },
	{ "a stripe beyond the last", "RAID", 0, { { 22 + 0x18, 2, 3 } }, NULL, "the media header says file 3 of 1" },
	{ "a log extent that ends before it begins", "MSTL", 0, { { 0x44, 8, 5 } }, NULL, "the log extent announced at" },
	{ "a log extent outside its virtual log file", "MSTL", 0, { { 0x68, 8, 1 << 30 } }, NULL, "the log extent announced at" },
	{ "a log longer than what follows", "MSTL", 0, { { 0x44, 8, 0x40000 }, { 0x60, 8, 0x80000 } }, NULL, "fewer bytes follow than were announced" },
	{ "a log of two files", "MSTL", 0, { { 0x70, 2, 3 } }, NULL, "is of file 2 and of file 3" },
};

static void
right_sums_do_not_make_it_right(void **state)
{
	struct backup_sample sample = { 'D', 16, 9, false, false, true, 1 };
	TALLOC_CTX *all = talloc_new(NULL);
	struct backup_file f = file_of_sample(all, &sample);

	(void)state;
	for (size_t i = 0; i < sizeof(sealed_table) / sizeof(sealed_table[0]); i++) {
		TALLOC_CTX *mem = talloc_new(all);
		struct victim v = victim_of(mem, &f, true);
		const struct part *p = part(&v, sealed_table[i].id, sealed_table[i].nth);

		for (size_t k = 0; k < 2; k++)
			put_le(v.f.mem + p->at + sealed_table[i].edit[k].at, sealed_table[i].edit[k].value, sealed_table[i].edit[k].bytes);
		if (sealed_table[i].rename != NULL)
			memcpy(v.f.mem + p->at, sealed_table[i].rename, 4);
		(p->is_block ? seal_block : seal_stream)(v.f.mem + p->at);
		must_say(mem, sealed_table[i].name, &v.f, BAK_END_DAMAGED, sealed_table[i].says, 0, "damaged-page");
		talloc_free(mem);
	}
	printf("# %zu kinds of sabotage behind right sums\n", sizeof(sealed_table) / sizeof(sealed_table[0]));
	talloc_free(all);
}

/* A log of two extents, each of one block in the same virtual log file; the second begins so many sectors late. */
static struct backup_file
log_of_two_extents(TALLOC_CTX *mem, unsigned hole, unsigned longer)
{
	enum { VLF = 40, START = 8192, FIRST = 16, SECTORS = 2 };
	char *path = talloc_asprintf(mem, "%s/landfall-extents-%p", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (void *)mem);
	struct mtf_file log = { .file_id = 2, .type = 'L', .name = "l", .path = "l" };
	struct mtf_set set = {
		.type = 'L', .database = "d", .server = "s", .machine = "m", .user = "u", .name = "n", .first = { VLF, FIRST, 1 },
		.last = { VLF, FIRST + 2 * SECTORS + hole, 1 }, .start = 1700000000, .compat = 150, .database_version = 904, .files = &log, .n_files = 1,
	};
	struct err err = { 0 };
	struct mtf *m = mtf_begin(mem, path, &set, &err);
	struct backup_file f;
	struct victim v;

	for (unsigned i = 0; i < 2; i++) {
		unsigned number = FIRST + i * (SECTORS + hole);
		uint8_t block[SECTORS * SECTOR] = { 0x50 };

		put_le(block + 6, sizeof(block), 2);
		put_le(block + 12, VLF, 4);
		put_le(block + 16, number, 4);
		block[SECTOR] = 0x48;
		mtf_log_begin(m, VLF, START, 1 << 20, START + number * SECTOR, START + (number + SECTORS) * SECTOR);
		mtf_log(m, block, sizeof(block));
		mtf_log_end(m);
	}
	set.finish = 1700000060;
	assert_true(mtf_end(m, &set, &err));
	f = file_of_path(mem, path);
	v = victim_of(mem, &f, true);
	put_le(v.f.mem + part(&v, "MQTL", 1)->data + 2 + 6, SECTORS * SECTOR + longer, 2);
	return v.f;
}

static void
a_log_with_a_hole_is_not_whole(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file good = log_of_two_extents(mem, 0, 0), hole = log_of_two_extents(mem, 3, 0), cut = log_of_two_extents(mem, 0, SECTOR);

	(void)state;
	must_say(mem, "two extents", &good, BAK_END_WHOLE, NULL, 0, NULL);
	must_say(mem, "a hole between them", &hole, BAK_END_DAMAGED, "a hole in the log: after VLF 40 byte 17408 comes VLF 40 byte 18944", 0, "damaged-page");
	must_say(mem, "a last block that is longer than its extent", &cut, BAK_END_DAMAGED, "the last block is cut off", 0, "damaged-page");
	talloc_free(mem);
}

/* The next block stands there and says that it belongs elsewhere, or may not come now; of two alike the one behind them. */
static void
check_block_cut_out(TALLOC_CTX *mem, const struct backup_file *f, const struct part *parts, size_t n, size_t i)
{
	struct victim v = { .mem = mem, .f = file_copy(mem, f) };
	size_t at = parts[i].at, end = end_of_block(parts, n, i, f->len);
	bool last = end == f->len, twins = i + 1 < n && strcmp(parts[i].id, "ESET") == 0 && memcmp(f->mem + end, "ESET", 4) == 0;
	size_t next = i + 1;

	while (next < n && parts[next].at != end)
		next++;
	cut_out(&v, at, end - at);
	must_say(mem, talloc_asprintf(mem, "the %s block at %zu taken out", parts[i].id, at), &v.f, last ? BAK_END_TRUNCATED : BAK_END_DAMAGED, "",
	         twins ? at + end_of_block(parts, n, next, f->len) - end : at, last ? "truncated" : "damaged-page");
}

static void
every_block_that_is_cut_out_is_missed(void **state)
{
	size_t tried = 0;

	(void)state;
	for (size_t k = 0; k < n_files; k++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		size_t n;
		struct part *parts = parts_of(mem, &files[k], &n);

		for (size_t i = 1; i < n; i++) {
			TALLOC_CTX *once = talloc_new(mem);

			if (parts[i].is_block)
				check_block_cut_out(once, &files[k], parts, n, i), tried++;
			talloc_free(once);
		}
		talloc_free(mem);
	}
	printf("# %zu blocks cut out of %zu files\n", tried, n_files);
}

static void
whatever_follows_a_backup_is_found(void **state)
{
	static const size_t sizes[] = { 1, 3, 4, 51, 52, 512, 100000 };
	size_t tried = 0;

	(void)state;
	for (size_t k = 0; k < 2 * n_files; k++)
		for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++, tried++) {
			TALLOC_CTX *mem = talloc_new(NULL);
			struct backup_file f = k % 2 == 0 ? files[k / 2] : file_packed(mem, &files[k / 2]);
			struct victim v = { .mem = mem, .f = file_copy(mem, &f) };
			size_t n = sizes[i / 2];
			uint8_t *m = talloc_zero_size(mem, n);

			for (size_t j = 0; i % 2 == 1 && j < n; j++)
				m[j] = (uint8_t)chance(256);
			m[0] = i % 2 == 1 ? 'x' : 0; /* an S may be the begin of a next set, a ! of a record: what is cut off is no trailing byte */
			append(&v, m, n);
			must_say(mem, talloc_asprintf(mem, "%zu bytes behind it", n), &v.f, BAK_END_TRAILING, "the backup ends properly at", v.place, "trailing-bytes");
			talloc_free(mem);
			if (k / 2 >= n_made)
				i += chance(6); /* some of them on each real file */
		}
	printf("# %zu times bytes behind a plain or packed backup\n", tried);
}

/* ---- several sets, several files ------------------------------------------------------------------------------------------ */

/* The two sets of a file and what stands before them. */
struct two { struct backup_file f; size_t first, second; };

static struct backup_file
rearranged(TALLOC_CTX *mem, const struct two *t, bool second, bool first)
{
	struct backup_file f = file_copy(mem, &t->f);
	size_t at = t->first;

	if (second)
		memcpy(f.mem + at, t->f.mem + t->second, t->f.len - t->second), at += t->f.len - t->second;
	if (first)
		memcpy(f.mem + at, t->f.mem + t->first, t->second - t->first), at += t->second - t->first;
	f.len = at;
	return f;
}

static void
sets_that_are_missing_or_swapped_are_missed(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file real = real_file(mem, "compressed/SharePoint_Config-2014-two-sets.bak");
	struct two t[2] = { { .f = file_of_two(mem, &files[0], &files[2]) }, { real, 0x600, 1880576 } };

	(void)state;
	t[0].first = 0x600;
	t[0].second = files[0].len;
	for (size_t i = 0; i < (real.mem == NULL ? 1 : 2); i++) {
		struct backup_file only_second = rearranged(mem, &t[i], true, false), only_first = rearranged(mem, &t[i], false, true);
		struct backup_file swapped = rearranged(mem, &t[i], true, true);
		char *says = talloc_asprintf(mem, "but says that it begins at byte %zu", t[i].second);

		must_say(mem, "both sets", &t[i].f, BAK_END_WHOLE, NULL, 0, NULL);
		must_say(mem, "the first set taken out", &only_second, BAK_END_DAMAGED, says, t[i].second, "damaged-page");
		must_say(mem, "the sets swapped", &swapped, BAK_END_DAMAGED, says, t[i].second, "damaged-page");
		must_say(mem, "the last set taken out", &only_first, BAK_END_WHOLE, NULL, 0, NULL);
	}
	printf("# undetectable: the last set taken out: what is left is a proper file\n");
	talloc_free(mem);
}

/* Each member of a stripe has pages of its own; by which rule they are shared out is not known. */
static void
a_stripe_with_the_pages_of_another_cannot_be_told(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file one = real_file(mem, "striped/Stripe1/RestoreTimeStripe.bak"), two = real_file(mem, "striped/Stripe2/RestoreTimeStripe1.bak");
	struct victim a, b;
	size_t n;

	(void)state;
	if (one.mem == NULL) {
		printf("SKIP a_stripe_with_the_pages_of_another_cannot_be_told: no real backups (LANDFALL_BACKUPS)\n");
		talloc_free(mem);
		skip();
	}
	a = victim_of(mem, &one, false);
	b = victim_of(mem, &two, false);
	n = part(&a, "MQDA", 0)->len < part(&b, "MQDA", 0)->len ? part(&a, "MQDA", 0)->len : part(&b, "MQDA", 0)->len;
	memcpy(b.f.mem + part(&b, "MQDA", 0)->data, a.f.mem + part(&a, "MQDA", 0)->data, n);
	must_say(mem, "a stripe's pages in the other's file", &b.f, BAK_END_WHOLE, NULL, 0, NULL);
	printf("# undetectable: a stripe's pages in the other's file: by which rule they are shared out is not known\n");
	b = victim_of(mem, &two, false);
	memcpy(b.f.mem + part(&b, "MSLS", 0)->at, a.f.mem + part(&a, "MSLS", 0)->at, 100);
	memcpy(b.f.mem + part(&b, "TSMP", 0)->data, a.f.mem + part(&a, "TSMP", 0)->data, 4);
	must_say(mem, "a stripe's end in the other's file", &b.f, BAK_END_DAMAGED, "belongs", 0, "damaged-page");
	talloc_free(mem);
}

/* ---- compressed files ------------------------------------------------------------------------------------------------------ */

enum { LAST_BYTE = 0x10000 };

static const struct {
	const char *name, *id;
	unsigned offset; /* in the record */
	uint8_t bits;
	enum bak_end end;
	const char *says;
} packed_table[] = {
	{ "a record's bytes", "data", 28 + 200, 0x04, BAK_END_DAMAGED, "is damaged: its checksum is" },
	{ "a record's checksum", "data", 24, 0x01, BAK_END_DAMAGED, "is damaged: its checksum is" },
	{ "a record's length", "data", 2, 0x10, BAK_END_DAMAGED, "the compressed record at byte" },
	{ "a record's unpacked size, a sector more or less", "data", 1, 0x01, BAK_END_DAMAGED, "record at byte" },
	{ "a record's unpacked size, eight sectors more or less", "data", 1, 0x08, BAK_END_DAMAGED, "record at byte" },
	{ "a record's kind", "data", 0, 0x02, BAK_END_DAMAGED, "no record begins at" },
	{ "uninitialised bytes of a record's head", "data", 9, 0x80, BAK_END_WHOLE, "the server leaves old memory there" },
	{ "padding", "fill", 24, 0x80, BAK_END_WHOLE, "padding means nothing" },
	{ "an entry of the index", "indx", 24 + 16 + 3, 0x01, BAK_END_DAMAGED, "the index at" },
	{ "the index's checksum", "indx", 24 + 12, 0x01, BAK_END_DAMAGED, "the index at" },
	{ "the index's count", "indx", 24 + 4, 0x01, BAK_END_DAMAGED, "the index at" },
	{ "an index that is longer than itself", "indx", 24 + 6, 0x10, BAK_END_DAMAGED, "bytes of entries in" },
	{ "the end of the index", "indx", LAST_BYTE, 0x01, BAK_END_DAMAGED, "head and tail of the index at" },
};

/* Compressed ones: made, and the real ones. */
static struct backup_file *
packed_files(TALLOC_CTX *mem, size_t *n)
{
	struct backup_sample s = { 'D', 512, 9, false, false, true, 1 };
	size_t n_real;
	struct backup_file plain = file_of_sample(mem, &s), *real = real_files(mem, &n_real), *list = talloc_array(mem, struct backup_file, n_real + 1);

	list[0] = file_packed(mem, &plain);
	*n = 1;
	for (size_t i = 0; i < n_real; i++)
		if (!is_plain(&real[i]))
			list[(*n)++] = real[i];
	return list;
}

/*
 * Not the first of its kind but a record of pages; of padding and index there are few. Nor the first of a set: where
 * one may begin, what is no record of any kind is taken for bytes behind the backup.
 */
static const struct part *
some_record(const struct part *records, size_t n, const char *id)
{
	const struct part *r;
	size_t of_kind = 0;

	for (size_t i = 0; i < n; i++)
		of_kind += strcmp(records[i].id, id) == 0;
	if (strcmp(id, "data") != 0)
		return part_of(records, n, id, 0);
	do
		r = part_of(records, n, id, 3 + chance((unsigned)of_kind / 2));
	while (strcmp(r[-1].id, id) != 0);
	return r;
}

static void
compressed_files_are_checked_record_by_record(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	size_t n_packed, n;
	struct backup_file *packed = packed_files(mem, &n_packed);

	(void)state;
	for (size_t k = 0; k < n_packed; k++) {
		struct part *records = records_of(mem, &packed[k], &n);

		must_say(mem, "unharmed", &packed[k], BAK_END_WHOLE, NULL, 0, NULL);
		for (size_t i = 0; i < sizeof(packed_table) / sizeof(packed_table[0]); i++) {
			TALLOC_CTX *once = talloc_new(mem);
			const struct part *r = some_record(records, n, packed_table[i].id);
			struct backup_file f = file_copy(once, &packed[k]);

			f.mem[packed_table[i].offset == LAST_BYTE ? r->data + r->len - 1 : r->at + packed_table[i].offset] ^= packed_table[i].bits;
			must_say(once, packed_table[i].name, &f, packed_table[i].end, packed_table[i].says, r->at, "damaged-page");
			if (packed_table[i].end == BAK_END_WHOLE && k == 0)
				printf("# undetectable: %s: %s\n", packed_table[i].name, packed_table[i].says);
			talloc_free(once);
		}
	}
	printf("# %zu kinds of sabotage on %zu compressed files\n", sizeof(packed_table) / sizeof(packed_table[0]), n_packed);
	talloc_free(mem);
}

/* The code lengths of its first symbols: they no longer fill the code. */
static void
a_record_that_cannot_be_unpacked_is_named(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	size_t n_packed, n;
	struct backup_file *packed = packed_files(mem, &n_packed);

	(void)state;
	for (size_t k = 0; k < n_packed; k++) {
		struct backup_file f = file_copy(mem, &packed[k]);
		struct part *records = records_of(mem, &f, &n);
		const struct part *r = some_record(records, n, "data");

		f.mem[r->data] ^= 0x0F;
		seal_record(f.mem + r->at);
		must_say(mem, "a record's code", &f, BAK_END_DAMAGED, "cannot be unpacked", r->at, "damaged-page");
	}
	talloc_free(mem);
}

/* Every record is right in itself: what it unpacks to is missed, or stands in a wrong place. */
static void
records_that_are_missing_are_missed(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	size_t n_packed, n, tried = 0;
	struct backup_file *packed = packed_files(mem, &n_packed);

	(void)state;
	for (size_t k = 0; k < n_packed; k++) {
		struct part *records = records_of(mem, &packed[k], &n);

		for (size_t i = 0; i + 1 < n; i += k == 0 ? 1 : 1 + n / 12) {
			TALLOC_CTX *once = talloc_new(mem);
			struct victim v = { .mem = once, .f = file_copy(once, &packed[k]) };
			struct bak *b;

			if (strcmp(records[i].id, "data") == 0) {
				cut_out(&v, records[i].at, records[i + 1].at - records[i].at);
				b = reads(once, &v.f, 0);
				if (bak_is_whole(b) || strstr(bak_why(b), "byte ") == NULL || !(has_finding(b, "damaged-page") || has_finding(b, "truncated")))
					fail_msg("%s: record at %zu taken out: %d, %s", v.f.name, records[i].at, (int)bak_end(b), bak_why(b));
				tried++;
			}
			talloc_free(once);
		}
	}
	printf("# %zu records taken out of %zu compressed files\n", tried, n_packed);
	talloc_free(mem);
}

static void
what_cannot_be_read_is_named_politely(void **state)
{
	static const struct { const char *name; unsigned at; uint8_t value; const char *says, *finding; } cases[] = {
		{ "container version 1", 8, 1, "SQL Server 2008 to 2012", "unknown-version" },
		{ "container version 9", 8, 9, "container version 9", "unknown-version" },
		{ "other flags", 12, 7, "in a way that is not known here", "unknown-version" },
		{ "an encrypted record", 0x1E0, 0x31, "the backup is encrypted", "encrypted" },
		{ "another encrypted record", 0x1E0, 0x71, "the backup is encrypted", "encrypted" },
		{ "a record of another kind", 0x1E0, 0x41, "record kind 0x41", "unknown-version" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct backup_file f = file_packed(mem, &files[0]);

		f.mem[cases[i].at] = cases[i].value;
		must_say(mem, cases[i].name, &f, BAK_END_OTHER, cases[i].says, 0, cases[i].finding);
		talloc_free(mem);
	}
}

static void
servers_that_are_not_known_are_named_politely(void **state)
{
	static const struct { uint8_t major; const char *says, *finding; } cases[] = {
		{ 8, "SQL Server 2000", "older-than-supported" }, { 7, "7.0 or older", "older-than-supported" },
		{ 18, "newer than this reader knows", "unknown-version" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct victim v = victim_of(mem, &files[0], true);

		v.f.mem[part(&v, "SSET", 0)->at + 0x5D] = cases[i].major;
		must_say(mem, "an unknown server", &v.f, BAK_END_OTHER, cases[i].says, 0, cases[i].finding);
		talloc_free(mem);
	}
}

/* Ciphertext where the allocation maps were; their headers and sums stay right. */
static void
a_database_under_tde_is_not_called_damaged(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct victim v = victim_of(mem, &files[0], true);
	struct bak *b;

	(void)state;
	for (uint32_t id = 0; id < 64; id++)
		for (size_t i = 96; i < PAGE && id != 9; i++)
			v.f.mem[v.pages[id].at + i] = (uint8_t)chance(256);
	b = reads(mem, &v.f, 0);
	if (bak_end(b) != BAK_END_WHOLE)
		fail_msg("%s", words_of_reader(mem, b));
	assert_true(has_finding(b, "tde"));
	assert_int_equal(bak_set(b, 0)->pages[0].bad, 0);
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sabotage_is_recognised_with_its_place),
		cmocka_unit_test(every_bit_of_block_and_stream_headers_counts),
		cmocka_unit_test(every_block_that_is_cut_out_is_missed),
		cmocka_unit_test(whatever_follows_a_backup_is_found),
		cmocka_unit_test(sets_that_are_missing_or_swapped_are_missed),
		cmocka_unit_test(a_stripe_with_the_pages_of_another_cannot_be_told),
		cmocka_unit_test(compressed_files_are_checked_record_by_record),
		cmocka_unit_test(a_record_that_cannot_be_unpacked_is_named),
		cmocka_unit_test(records_that_are_missing_are_missed),
		cmocka_unit_test(right_sums_do_not_make_it_right),
		cmocka_unit_test(a_log_with_a_hole_is_not_whole),
		cmocka_unit_test(what_cannot_be_read_is_named_politely),
		cmocka_unit_test(servers_that_are_not_known_are_named_politely),
		cmocka_unit_test(a_database_under_tde_is_not_called_damaged),
	};

	return cmocka_run_group_tests(tests, load_all, free_all);
}
