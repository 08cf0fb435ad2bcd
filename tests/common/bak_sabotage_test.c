#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/common/backup_file.h"

/*
 * A table of sabotage: how a good backup is damaged, and what the reader must say of it, with the place. What the
 * format cannot show is in the table too, as undetectable, with the reason.
 */

enum { PAGE = 8192, EXTENT = 8 * PAGE };

/* A victim, where its parts are, and the place that was damaged: the words must name it. */
struct victim {
	TALLOC_CTX *mem;
	struct backup_file f;
	struct part *parts;
	size_t n;
	uint64_t place;
};

enum source { PLAIN, SUMMED /* BACKUP WITH CHECKSUM */, LOG, SUMMED_LOG, TORN };

static const struct backup_sample samples[] = {
	[PLAIN] = { 'D', 64, 9, false, false, true, 1 },  [SUMMED] = { 'D', 64, 9, true, false, true, 1 },
	[LOG] = { 'L', 0, 200, false, false, false, 2 },  [SUMMED_LOG] = { 'L', 0, 200, true, false, false, 2 },
	[TORN] = { 'D', 64, 9, false, true, true, 3 },
};

static struct victim
victim_of(TALLOC_CTX *mem, struct backup_file f)
{
	struct victim v = { .mem = mem, .f = file_copy(mem, &f) };

	v.parts = parts_of(mem, &v.f, &v.n);
	return v;
}

static const struct part *part(const struct victim *v, const char *id, size_t nth) { return part_of(v->parts, v->n, id, nth); }

static void
flip(struct victim *v, uint64_t at, uint8_t bits)
{
	v->f.mem[at] ^= bits;
}

static uint64_t
page_at(const struct victim *v, uint32_t id)
{
	return part(v, "MQDA", 0)->data + 2 + (uint64_t)id * PAGE;
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

/* ---- pages ------------------------------------------------------------------------------------------------ */

static void page_body(struct victim *v) { v->place = page_at(v, 20); flip(v, v->place + 4000, 0x10); }
static void page_type(struct victim *v) { v->place = page_at(v, 20); flip(v, v->place + 1, 0x02); }
static void page_sum(struct victim *v) { v->place = page_at(v, 20); flip(v, v->place + 0x3E, 0x80); }
static void page_id(struct victim *v) { v->place = page_at(v, 20); flip(v, v->place + 0x20, 0x40); }
static void torn_sector(struct victim *v) { v->place = page_at(v, 20); flip(v, v->place + 511 + 5 * 512, 0x03); }
static void torn_body(struct victim *v) { flip(v, page_at(v, 20) + 4000, 0x10); }
static void free_page(struct victim *v) { flip(v, page_at(v, 23) + 4000, 0x10); }
static void zeroed_page(struct victim *v) { v->place = page_at(v, 20); memset(v->f.mem + v->place, 0, PAGE); }
static void zeroed_map(struct victim *v) { v->place = page_at(v, 1); memset(v->f.mem + v->place, 0, PAGE); }
static void zeroed_header(struct victim *v) { v->place = page_at(v, 0); memset(v->f.mem + v->place, 0, PAGE); }
static void zeroed_extent(struct victim *v) { v->place = page_at(v, 16); memset(v->f.mem + v->place, 0, EXTENT); }
static void zeroed_end(struct victim *v) { memset(v->f.mem + page_at(v, 56), 0, EXTENT); }

static void
swap_pages(struct victim *v, uint32_t a, uint32_t b)
{
	uint8_t *copy = talloc_memdup(v->mem, v->f.mem + page_at(v, a), PAGE);

	v->place = page_at(v, a);
	memcpy(v->f.mem + page_at(v, a), v->f.mem + page_at(v, b), PAGE);
	memcpy(v->f.mem + page_at(v, b), copy, PAGE);
}
static void pages_swapped_in_extent(struct victim *v) { swap_pages(v, 20, 21); }
static void pages_swapped(struct victim *v) { swap_pages(v, 20, 44); }

static void
extent_cut_out(struct victim *v)
{
	/* The stream's length stays, so it swallows what follows it: the next header is none. */
	cut_out(v, page_at(v, 24), EXTENT);
}

/* ---- sums and log -------------------------------------------------------------------------------------------- */

static void page_sums(struct victim *v) { v->place = part(v, "CSUM", 0)->data; flip(v, v->place, 1); }
static void log_sum(struct victim *v) { v->place = part(v, "CSUM", 0)->data; flip(v, v->place + 3, 0x80); }
static uint64_t log_at(const struct victim *v) { return part(v, "MQTL", 0)->data + 2; }
static void log_size(struct victim *v) { v->place = log_at(v) + 3 * 1024; flip(v, v->place + 6, 0x40); }
static void log_bigger(struct victim *v) { v->place = log_at(v) + 3 * 1024 + 512; flip(v, log_at(v) + 3 * 1024 + 7, 0x02); }
static void log_number(struct victim *v) { v->place = log_at(v) + 3 * 1024; flip(v, v->place + 16, 0x02); }
static void log_vlf(struct victim *v) { v->place = log_at(v) + 3 * 1024; flip(v, v->place + 12, 0x04); }
static void log_parity(struct victim *v) { v->place = log_at(v) + 3 * 1024 + 512; flip(v, v->place, 0xC0); }
static void log_body(struct victim *v) { flip(v, log_at(v) + 3 * 1024 + 100, 0x10); }
static void log_body_summed(struct victim *v) { v->place = part(v, "CSUM", 0)->data; log_body(v); }

static void
log_blocks_swapped(struct victim *v)
{
	uint8_t copy[1024];

	v->place = log_at(v) + 2 * 1024;
	memcpy(copy, v->f.mem + v->place, 1024);
	memcpy(v->f.mem + v->place, v->f.mem + v->place + 1024, 1024);
	memcpy(v->f.mem + v->place + 1024, copy, 1024);
}

/* The extent begins one block later than it did: not where FirstLSN is. */
static void
log_starts_late(struct victim *v)
{
	uint64_t start;

	v->place = part(v, "SSET", 0)->at;
	memcpy(&start, v->f.mem + part(v, "MSTL", 0)->at + 0x3C, 8);
	start += 1024;
	memcpy(v->f.mem + part(v, "MSTL", 0)->at + 0x3C, &start, 8);
	memmove(v->f.mem + log_at(v), v->f.mem + log_at(v) + 1024, 100 * 1024);
}

/* ---- structure -------------------------------------------------------------------------------------------------- */

static void set_place(struct victim *v) { v->place = part(v, "SSET", 0)->at; flip(v, v->place + 0x50, 4); }
static void map_place(struct victim *v) { v->place = part(v, "TSMP", 0)->data; flip(v, v->place + 8 + 12, 4); }
static void map_count(struct victim *v) { v->place = part(v, "TSMP", 0)->data; flip(v, v->place + 4, 2); }
static void map_family(struct victim *v) { v->place = part(v, "TSMP", 0)->data; flip(v, v->place, 1); }
static void filler(struct victim *v) { flip(v, part(v, "SPAD", 1)->data + 3, 1); }

static void
block_cut_out(struct victim *v)
{
	uint64_t begin = part(v, "VOLB", 0)->at, end = part(v, "MSCI", 0)->at;

	v->place = begin; /* the next block now stands there and says that it belongs elsewhere */
	cut_out(v, begin, end - begin);
}

static void
tag_length(struct victim *v)
{
	v->place = part(v, "MQCI", 0)->data;
	flip(v, v->place + 6, 1);
}

static void zeros_1(struct victim *v) { append(v, (const uint8_t *)"\0", 1); }
static void zeros_512(struct victim *v) { append(v, talloc_zero_size(v->mem, 512), 512); }

static void
garbage(struct victim *v, size_t n)
{
	uint8_t *m = talloc_size(v->mem, n);

	for (size_t i = 0; i < n; i++)
		m[i] = (uint8_t)chance(256);
	m[0] = 'x';
	append(v, m, n);
}
static void garbage_1(struct victim *v) { garbage(v, 1); }
static void garbage_3(struct victim *v) { garbage(v, 3); }
static void garbage_4(struct victim *v) { garbage(v, 4); }
static void garbage_51(struct victim *v) { garbage(v, 51); }
static void garbage_52(struct victim *v) { garbage(v, 52); }
static void garbage_100000(struct victim *v) { garbage(v, 100000); }
static void file_behind_file(struct victim *v) { append(v, talloc_memdup(v->mem, v->f.mem, v->f.len), v->f.len); }

static struct victim
other_database(struct victim *v)
{
	struct backup_sample s = samples[PLAIN];

	s.seed = 77;
	return victim_of(v->mem, file_of_sample(v->mem, &s));
}

/* Head and data of one backup, the end of another: each is right in itself. */
static void
other_end(struct victim *v)
{
	struct victim o = other_database(v);
	uint64_t at = part(v, "MSLS", 0)->at;

	v->place = part(v, "SSET", 0)->at;
	memcpy(v->f.mem + at, o.f.mem + at, part(v, "SFMB", 1)->at - at);
}

static void
other_pages(struct victim *v)
{
	struct victim o = other_database(v);

	v->place = page_at(v, 9);
	memcpy(v->f.mem + page_at(v, 0), o.f.mem + page_at(&o, 0), 64 * PAGE);
}

static const struct {
	const char *name;
	enum source source;
	void (*damage)(struct victim *v);
	enum bak_end end; /* BAK_END_WHOLE: undetectable; says is the reason then */
	const char *says, *finding;
} table[] = {
	{ "a bit in a page's body", PLAIN, page_body, BAK_END_DAMAGED, "page (1:20) is damaged: its checksum and its bytes differ", "damaged-page" },
	{ "a bit in a page's type", PLAIN, page_type, BAK_END_DAMAGED, "page (1:20) is damaged", "damaged-page" },
	{ "a bit in a page's checksum", PLAIN, page_sum, BAK_END_DAMAGED, "page (1:20) is damaged", "damaged-page" },
	{ "a bit in a page's id", PLAIN, page_id, BAK_END_DAMAGED, "page (1:20) is allocated, and another page stands in its place", "damaged-page" },
	{ "a torn sector", TORN, torn_sector, BAK_END_DAMAGED, "page (1:20) is torn", "damaged-page" },
	{ "a bit in the body of a page with torn bits", TORN, torn_body, BAK_END_WHOLE, "torn bits protect two bits of each sector", NULL },
	{ "a bit in a page that is not allocated", PLAIN, free_page, BAK_END_WHOLE, "such a page may hold anything", NULL },
	{ "a bit in such a page WITH CHECKSUM", SUMMED, free_page, BAK_END_DAMAGED, "the backup checksum over the pages", "damaged-page" },
	{ "zeros over a page", PLAIN, zeroed_page, BAK_END_DAMAGED, "page (1:20) is allocated, and nothing but zeros", "damaged-page" },
	{ "zeros over the allocation map", PLAIN, zeroed_map, BAK_END_DAMAGED, "page (1:1) is allocated, and nothing but zeros", "damaged-page" },
	{ "zeros over the file's header page", PLAIN, zeroed_header, BAK_END_DAMAGED, "page (1:0) is allocated, and nothing but zeros", "damaged-page" },
	{ "zeros over an extent", PLAIN, zeroed_extent, BAK_END_DAMAGED, "page (1:16) is allocated, and nothing but zeros", "damaged-page" },
	{ "zeros over the last extent", PLAIN, zeroed_end, BAK_END_WHOLE, "an extent of zeros with none behind it does not say which one it is", NULL },
	{ "zeros over an extent WITH CHECKSUM", SUMMED, zeroed_extent, BAK_END_DAMAGED, "the backup checksum over the pages", "damaged-page" },
	{ "two pages of an extent swapped", PLAIN, pages_swapped_in_extent, BAK_END_DAMAGED, "page (1:20) is allocated, and another page stands in its place", "damaged-page" },
	{ "two pages swapped", PLAIN, pages_swapped, BAK_END_DAMAGED, "page (1:20) is allocated, and another page stands in its place", "damaged-page" },
	{ "an extent cut out", PLAIN, extent_cut_out, BAK_END_DAMAGED, "belongs elsewhere", "damaged-page" },
	{ "the pages of another database", PLAIN, other_pages, BAK_END_DAMAGED, "FamilyGUID on the database's boot page (1:9) is not what the header", "damaged-page" },
	{ "a bit in the sum over the pages", SUMMED, page_sums, BAK_END_DAMAGED, "the backup checksum over the pages", "damaged-page" },
	{ "a bit in the sum over the log", SUMMED_LOG, log_sum, BAK_END_DAMAGED, "the backup checksum over the log", "damaged-page" },
	{ "a log block's size", LOG, log_size, BAK_END_DAMAGED, "a block without a size", "damaged-page" },
	{ "a log block that claims the next one", LOG, log_bigger, BAK_END_DAMAGED, "a sector with the wrong parity", "damaged-page" },
	{ "a log block's number", LOG, log_number, BAK_END_DAMAGED, "a block that belongs elsewhere", "damaged-page" },
	{ "a log block's virtual log file", LOG, log_vlf, BAK_END_DAMAGED, "a block of another virtual log file", "damaged-page" },
	{ "a log sector's parity", LOG, log_parity, BAK_END_DAMAGED, "a sector with the wrong parity", "damaged-page" },
	{ "two log blocks swapped", LOG, log_blocks_swapped, BAK_END_DAMAGED, "a block that belongs elsewhere", "damaged-page" },
	{ "a log that begins late", LOG, log_starts_late, BAK_END_DAMAGED, "the log in it does not begin at LSN 40000000001600001", "damaged-page" },
	{ "a bit in a log block's body", LOG, log_body, BAK_END_WHOLE, "log blocks have no sum of their own that is known", NULL },
	{ "a bit in a log block's body WITH CHECKSUM", SUMMED_LOG, log_body_summed, BAK_END_DAMAGED, "the backup checksum over the log", "damaged-page" },
	{ "the set's own place", PLAIN, set_place, BAK_END_DAMAGED, "set 1 begins at", "damaged-page" },
	{ "a place in the set map", PLAIN, map_place, BAK_END_DAMAGED, "the set map at", "damaged-page" },
	{ "the count of the set map", PLAIN, map_count, BAK_END_DAMAGED, "the set map at", "damaged-page" },
	{ "the family of the set map", PLAIN, map_family, BAK_END_DAMAGED, "belongs to another media family", "damaged-page" },
	{ "filler", PLAIN, filler, BAK_END_WHOLE, "padding means nothing", NULL },
	{ "a block cut out", PLAIN, block_cut_out, BAK_END_DAMAGED, "the MSCI block at", "damaged-page" },
	{ "a structure's length in the catalogue", PLAIN, tag_length, BAK_END_DAMAGED, "the catalogue is damaged at", "damaged-page" },
	{ "the end of another backup", PLAIN, other_end, BAK_END_DAMAGED, "differs between the head and the end of set 1", "damaged-page" },
	{ "one zero behind it", PLAIN, zeros_1, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "a sector of zeros behind it", PLAIN, zeros_512, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "1 byte behind it", PLAIN, garbage_1, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "3 bytes behind it", LOG, garbage_3, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "4 bytes behind it", PLAIN, garbage_4, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "51 bytes behind it", PLAIN, garbage_51, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "52 bytes behind it", PLAIN, garbage_52, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "100,000 bytes behind it", PLAIN, garbage_100000, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
	{ "two files glued together", PLAIN, file_behind_file, BAK_END_TRAILING, "other bytes follow", "trailing-bytes" },
};

static void
must_say(TALLOC_CTX *mem, const char *name, const struct backup_file *f, enum bak_end end, const char *says, uint64_t place, const char *finding)
{
	struct bak *b = reads(mem, f, 0);
	char *words = words_of_reader(mem, b), *where = talloc_asprintf(mem, "byte %llu", (unsigned long long)place);

	if (bak_end(b) != end)
		fail_msg("%s: ends %d and not %d: %s", name, (int)bak_end(b), (int)end, words);
	if (end == BAK_END_WHOLE)
		return;
	if (strstr(words, says) == NULL)
		fail_msg("%s: does not say \"%s\": %s", name, says, words);
	if (place > 0 && strstr(words, where) == NULL)
		fail_msg("%s: does not name %s: %s", name, where, words);
	if (!has_finding(b, finding))
		fail_msg("%s: not found as %s", name, finding);
}

static void
each_sabotage_is_recognised_with_its_place(void **state)
{
	size_t undetectable = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct victim v = victim_of(mem, file_of_sample(mem, &samples[table[i].source]));

		must_say(mem, "unharmed", &v.f, BAK_END_WHOLE, NULL, 0, NULL);
		table[i].damage(&v);
		must_say(mem, table[i].name, &v.f, table[i].end, table[i].says, v.place, table[i].finding);
		if (table[i].end == BAK_END_WHOLE) {
			printf("# undetectable: %s: %s\n", table[i].name, table[i].says);
			undetectable++;
		}
		talloc_free(mem);
	}
	printf("# %zu kinds of sabotage, %zu of them undetectable by the format\n", sizeof(table) / sizeof(table[0]), undetectable);
}

/* ---- every bit of every header ------------------------------------------------------------------------------- */

static void
every_bit_of_block_and_stream_headers_counts(void **state)
{
	size_t tried = 0;

	(void)state;
	for (enum source s = PLAIN; s <= SUMMED_LOG; s++) {
		TALLOC_CTX *all = talloc_new(NULL);
		struct victim whole = victim_of(all, file_of_sample(all, &samples[s]));

		for (size_t p = 0; p < whole.n; p++)
			for (size_t at = whole.parts[p].at; at < whole.parts[p].at + (whole.parts[p].is_block ? 52 : 22); at++) {
				TALLOC_CTX *mem = talloc_new(all);
				struct backup_file f = file_copy(mem, &whole.f);
				struct bak *b;

				f.mem[at] ^= (uint8_t)(1u << chance(8));
				b = reads(mem, &f, 1 << 20);
				if (at >= 4 && (bak_end(b) != BAK_END_DAMAGED || strstr(bak_why(b), "is damaged") == NULL))
					fail_msg("byte %zu of the %s at %zu: %d, %s", at - whole.parts[p].at, whole.parts[p].id,
					         whole.parts[p].at, (int)bak_end(b), bak_why(b));
				assert_int_not_equal(bak_end(b), BAK_END_WHOLE);
				tried++;
				talloc_free(mem);
			}
		talloc_free(all);
	}
	printf("# %zu flipped bits\n", tried);
}

/* ---- every byte of the catalogue ------------------------------------------------------------------------------- */

/* Parts of SCIN and SFIN whose damage the format cannot show; from, to: offsets, to exclusive. */
struct blind { unsigned from, to; const char *why; };

static const struct blind scin_head[] = {
	{ 0x08, 0x0C, "Flags: the server may still learn some of them, the end's count" },
	{ 0x0C, 0x18, "not known what it is" }, { 0x1C, 0x20, "not known what it is" },
	{ 0x20, 0x3E, "LSNs at the head are provisional, the end's count" },
	{ 0x52, 0x57, "no finish date yet" }, { 0x59, 0x5B, "not known what it is" }, { 0x60, 0x68, "an estimate" },
	{ 0x70, 0x74, "an empty text" }, { 0x8C, 0x9C, "uninitialised, and the provisional LastLSN once more" },
	{ 0xAC, 0xB8, "where the fork before ended: provisional" }, { 0xDD, 0xE0, "not known what it is" },
	{ 0xF4, 0x104, "status and origin of the chain may move on" }, { 0x10E, 0x110, "not known what it is" },
	{ 0x120, 0x190, "not known, or provisional" },
};
static const struct blind scin_end[] = {
	{ 0x08, 0x0C, "Flags: bulk-logged, damaged, incomplete metadata may come up at the end" },
	{ 0x0C, 0x18, "not known what it is" }, { 0x1C, 0x20, "not known what it is" },
	{ 0x52, 0x57, "the finish date stands nowhere else" }, { 0x59, 0x5B, "not known what it is" },
	{ 0x60, 0x68, "the size stands nowhere else" }, { 0x70, 0x74, "an empty text" }, { 0x8C, 0x90, "uninitialised" },
	{ 0x9A, 0x9C, "not known what it is" }, { 0xAC, 0xB8, "where the fork before ended stands nowhere else" },
	{ 0xDD, 0xE0, "not known what it is" }, { 0xF4, 0x104, "status and origin of the chain may move on" },
	{ 0x10E, 0x110, "not known what it is" }, { 0x120, 0x190, "not known, or stands nowhere else" },
};
static const struct blind sfin_both[] = {
	{ 0x08, 0x10, "not known, and how it grows" }, { 0x18, 0x1C, "pages in this pass" }, { 0x28, 0x30, "the size may move on" },
	{ 0x38, 0xBA, "not known, or may move on" }, { 0xD4, 0xDA, "not known what it is" }, { 0xE4, 0xEA, "not known what it is" }, { 0xF4, 0x400, "not known what it is" },
};
static const struct blind sfin_head_only[] = { { 0xCA, 0xF4, "the set's LSNs once more: provisional at the head" } };

static bool
is_blind(const struct blind *list, size_t n, size_t at)
{
	for (size_t i = 0; i < n; i++)
		if (at >= list[i].from && at < list[i].to)
			return true;
	return false;
}

static size_t
try_structure(const struct victim *v, uint64_t begin, size_t len, const struct blind *a, size_t n_a, const struct blind *b, size_t n_b, size_t *blind)
{
	size_t found = 0;

	for (size_t at = 8; at < len; at++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct backup_file f = file_copy(mem, &v->f);
		struct bak *r;

		f.mem[begin + at] ^= (uint8_t)(1u << chance(8));
		r = reads(mem, &f, 1 << 20);
		if (is_blind(a, n_a, at) || is_blind(b, n_b, at))
			(*blind)++;
		else if (bak_end(r) == BAK_END_WHOLE)
			fail_msg("byte 0x%zX of %.4s at %llu: nothing was found", at, (const char *)v->f.mem + begin, (unsigned long long)begin);
		else
			found++;
		talloc_free(mem);
	}
	return found;
}

#define LIST(l) l, sizeof(l) / sizeof((l)[0])

static uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static void
every_byte_of_the_catalogue_counts_or_is_known_not_to(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct victim v = victim_of(mem, file_of_sample(mem, &samples[PLAIN]));
	size_t found = 0, blind = 0;

	(void)state;
	for (size_t end = 0; end < 2; end++) {
		uint64_t at = part(&v, "MQCI", end)->data, until = at + part(&v, "MQCI", end)->len;

		for (uint32_t n; at < until; at += n) {
			n = le32(v.f.mem + at + 4);
			if (memcmp(v.f.mem + at, "SCIN", 4) == 0 && end == 0)
				found += try_structure(&v, at, n, LIST(scin_head), NULL, 0, &blind);
			else if (memcmp(v.f.mem + at, "SCIN", 4) == 0)
				found += try_structure(&v, at, n, LIST(scin_end), NULL, 0, &blind);
			else if (memcmp(v.f.mem + at, "SFIN", 4) == 0)
				found += try_structure(&v, at, n, LIST(sfin_both), sfin_head_only, end == 0, &blind);
		}
	}
	for (size_t i = 0; i < sizeof(scin_end) / sizeof(scin_end[0]); i++)
		printf("# undetectable in SCIN at the end, 0x%X to 0x%X: %s\n", scin_end[i].from, scin_end[i].to - 1, scin_end[i].why);
	printf("# %zu bytes whose damage is found, %zu where the format has nothing to hold against it\n", found, blind);
	assert_true(found > 300);
	talloc_free(mem);
}

/* ---- compressed files -------------------------------------------------------------------------------------------- */

/* Where record number nth of that kind begins; records follow each other from 0x1E0 on, marks stand between. */
static uint64_t
record_at(const struct backup_file *f, uint8_t kind, size_t nth)
{
	for (uint64_t at = 0x1E0; at < f->len;) {
		unsigned n = f->mem[at + 2] | (unsigned)f->mem[at + 3] << 8;

		if (f->mem[at] == kind && nth-- == 0)
			return at;
		if (f->mem[at] == 'S')
			at += f->mem[at + 8] | (unsigned)f->mem[at + 9] << 8;
		else
			at += f->mem[at] == 0x2C ? 24 + le32(f->mem + at + 24 + 8) : (f->mem[at] == 0x21 ? 28u : 24u) + n;
	}
	fail_msg("no record 0x%02X", kind);
	return 0;
}

static const struct {
	const char *name;
	uint8_t kind;
	unsigned offset; /* in the record */
	uint8_t bits;
	enum bak_end end;
	const char *says;
} packed_table[] = {
	{ "a record's bytes", 0x21, 28 + 300, 0x04, BAK_END_DAMAGED, "is damaged: its checksum is" },
	{ "a record's checksum", 0x21, 24, 0x01, BAK_END_DAMAGED, "is damaged: its checksum is" },
	{ "a record's length", 0x21, 2, 0x01, BAK_END_DAMAGED, "is damaged" },
	{ "a record's unpacked size", 0x21, 1, 0x01, BAK_END_DAMAGED, "" },
	{ "a record's kind", 0x21, 0, 0x02, BAK_END_DAMAGED, "no record begins at" },
	{ "uninitialised bytes of a record's head", 0x21, 9, 0x80, BAK_END_WHOLE, "the server leaves old memory there" },
	{ "padding", 0x24, 30, 0x80, BAK_END_WHOLE, "padding means nothing" },
	{ "an entry of the index", 0x2C, 24 + 16 + 3, 0x01, BAK_END_DAMAGED, "the index at" },
	{ "the index's checksum", 0x2C, 24 + 12, 0x01, BAK_END_DAMAGED, "the index at" },
	{ "the index's count", 0x2C, 24 + 4, 0x01, BAK_END_DAMAGED, "the index at" },
};

static void
compressed_files_are_checked_record_by_record(void **state)
{
	struct backup_sample s = samples[PLAIN];

	(void)state;
	s.pages = 512;
	for (size_t i = 0; i < sizeof(packed_table) / sizeof(packed_table[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct backup_file plain = file_of_sample(mem, &s), f = file_packed(mem, &plain);
		/* Not the first of its kind but a record of pages; of padding and index there are few. */
		uint64_t at = record_at(&f, packed_table[i].kind, packed_table[i].kind == 0x21 ? 20 : 0);
		bool named = packed_table[i].offset != 1 && packed_table[i].offset != 2;

		must_say(mem, "unharmed", &f, BAK_END_WHOLE, NULL, 0, NULL);
		f.mem[at + packed_table[i].offset] ^= packed_table[i].bits;
		must_say(mem, packed_table[i].name, &f, packed_table[i].end, packed_table[i].says, named ? at : 0, "damaged-page");
		talloc_free(mem);
	}
}

static void
a_record_that_is_missing_is_missed(void **state)
{
	struct backup_sample s = samples[PLAIN];
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file plain, f;
	uint64_t at, next;

	(void)state;
	s.pages = 512;
	plain = file_of_sample(mem, &s);
	f = file_packed(mem, &plain);
	at = record_at(&f, 0x21, 20);
	next = record_at(&f, 0x21, 21);
	memmove(f.mem + at, f.mem + next, f.len - next);
	f.len -= next - at;
	must_say(mem, "a record cut out", &f, BAK_END_DAMAGED, "", 0, "damaged-page");
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
		struct backup_file plain = file_of_sample(mem, &samples[PLAIN]), f = file_packed(mem, &plain);

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
		struct victim v = victim_of(mem, file_of_sample(mem, &samples[PLAIN]));

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
	struct victim v = victim_of(mem, file_of_sample(mem, &samples[PLAIN]));
	struct bak *b;

	(void)state;
	for (uint32_t id = 0; id < 64; id++)
		for (size_t i = 96; i < PAGE && id != 9; i++)
			v.f.mem[page_at(&v, id) + i] = (uint8_t)chance(256);
	b = reads(mem, &v.f, 0);
	if (bak_end(b) != BAK_END_WHOLE)
		fail_msg("%s", words_of_reader(mem, b));
	assert_true(has_finding(b, "tde"));
	assert_int_equal(bak_set(b, 0)->pages[0].bad, 0);
	talloc_free(mem);
}

/* ---- real files --------------------------------------------------------------------------------------------------- */

static void
a_set_that_was_taken_out_of_a_real_file_is_missed(void **state)
{
	enum { FIRST = 0x600, SECOND = 1880576 }; /* where the two sets of this file begin */
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file f = real_file(mem, "compressed/SharePoint_Config-2014-two-sets.bak"), cut;

	(void)state;
	if (f.mem == NULL) {
		printf("SKIP a_set_that_was_taken_out_of_a_real_file_is_missed: no real backups (LANDFALL_BACKUPS)\n");
		talloc_free(mem);
		skip();
	}
	cut = file_copy(mem, &f);
	memmove(cut.mem + FIRST, cut.mem + SECOND, cut.len - SECOND);
	cut.len -= SECOND - FIRST;
	must_say(mem, "the first set taken out", &cut, BAK_END_DAMAGED, "but says that it begins at byte 1880576", 0, "damaged-page");
	cut = file_copy(mem, &f);
	cut.len = SECOND;
	must_say(mem, "the last set taken out", &cut, BAK_END_WHOLE, NULL, 0, NULL);
	printf("# undetectable: the last set taken out: what is left is a proper file\n");
	talloc_free(mem);
}

static void
damaged_pages_of_real_backups_are_named(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file *files;
	size_t n, tried = 0;

	(void)state;
	files = real_files(mem, &n);
	if (n == 0) {
		printf("SKIP damaged_pages_of_real_backups_are_named: no real backups (LANDFALL_BACKUPS)\n");
		talloc_free(mem);
		skip();
	}
	for (size_t i = 0; i < n; i++) {
		TALLOC_CTX *once = talloc_new(mem);
		struct victim v;
		char *want;

		if (files[i].mem[0] != 'T' || bak_set(reads(once, &files[i], 1 << 20), 0)->type == BAK_LOG) {
			talloc_free(once);
			continue;
		}
		v = victim_of(once, files[i]);
		v.place = page_at(&v, 9); /* the boot page, in the second extent of every such file; stripes share extents out */
		if (v.f.mem[v.place + 1] == 13 && le32(v.f.mem + v.place + 0x20) == 9) {
			bool summed = (v.f.mem[v.place + 5] & 2) != 0;

			flip(&v, summed ? v.place + 5000 : v.place + 511 + 512, 3);
			want = talloc_asprintf(once, "page (1:9) is %s", summed ? "damaged" : "torn");
			must_say(once, files[i].name, &v.f, BAK_END_DAMAGED, want, v.place, "damaged-page");
			tried++;
		}
		talloc_free(once);
	}
	printf("# %zu real files, a bit each\n", tried);
	assert_true(tried > 20);
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sabotage_is_recognised_with_its_place),
		cmocka_unit_test(every_bit_of_block_and_stream_headers_counts),
		cmocka_unit_test(every_byte_of_the_catalogue_counts_or_is_known_not_to),
		cmocka_unit_test(compressed_files_are_checked_record_by_record),
		cmocka_unit_test(a_record_that_is_missing_is_missed),
		cmocka_unit_test(what_cannot_be_read_is_named_politely),
		cmocka_unit_test(servers_that_are_not_known_are_named_politely),
		cmocka_unit_test(a_database_under_tde_is_not_called_damaged),
		cmocka_unit_test(a_set_that_was_taken_out_of_a_real_file_is_missed),
		cmocka_unit_test(damaged_pages_of_real_backups_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
