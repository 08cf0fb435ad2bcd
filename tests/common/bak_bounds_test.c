#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <malloc.h>
#include <time.h>
#include <talloc.h>

#include "common/bak.h"
#include "tests/standin/xpress_write.h"

/* What a hostile file may claim: the reader's memory stays within 8 MiB and its work in proportion to the bytes. */

enum { HEAP_MAX = 8 << 20, PIECE = 1 << 16 };

/* ---- the heap, counted where it is given out ------------------------------------------------------------ */

static size_t heap_now, heap_peak;
static bool counting;

#if !defined(__SANITIZE_ADDRESS__) /* a sanitiser has an allocator of its own; what is tested there is that nothing is touched beside */
extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void __libc_free(void *p);

static void *
took(void *p)
{
	if (counting && p != NULL)
		heap_now += malloc_usable_size(p);
	heap_peak = heap_now > heap_peak ? heap_now : heap_peak;
	return p;
}

static void
gave(void *p)
{
	size_t n = p == NULL ? 0 : malloc_usable_size(p);

	if (counting)
		heap_now -= n < heap_now ? n : heap_now;
}

void *malloc(size_t n) { return took(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return took(__libc_calloc(n, size)); }
void free(void *p) { gave(p); __libc_free(p); }
void *
realloc(void *p, size_t n)
{
	gave(p);
	return took(__libc_realloc(p, n));
}
#endif

/* ---- a writer of tape format that says whatever it is told ------------------------------------------------- */

struct out {
	struct bak *bak;
	uint8_t buf[PIECE];
	size_t n;
	uint64_t at, set_at;
	uint32_t number; /* of the block in its set */
	bool ended;      /* the reader has had enough */
	bool packs;      /* what is put is fed as records of a compressed file */
	uint64_t fed;    /* bytes of that */
};

enum { RECORD_HEAD = 28, SECTOR = 512 };

static void
feed(struct out *o, const void *mem, size_t len)
{
	struct err err = { 0 };

	o->ended = !bak_feed(o->bak, mem, len, &err) || o->ended;
	o->fed += len;
}

/* The least input for the most output; what is packed over and over is packed once. */
static void
feed_packed(struct out *o)
{
	static uint8_t packed[RECORD_HEAD + XPRESS_WRITE_ROOM], last[PIECE];
	static size_t len, n;
	uint32_t sum = 0, word;

	if (n != o->n || memcmp(last, o->buf, n) != 0) {
		memcpy(last, o->buf, n = o->n);
		memset(packed, 0, sizeof(packed));
		len = xpress_write(o->buf, n, packed + RECORD_HEAD);
		for (size_t i = 0; i < len; i += 4) {
			memcpy(&word, packed + RECORD_HEAD + i, 4);
			sum = (sum << 1 | sum >> 31) ^ word;
		}
		packed[0] = 0x21;
		packed[1] = (uint8_t)(n / SECTOR);
		packed[2] = (uint8_t)len;
		packed[3] = (uint8_t)(len >> 8);
		memcpy(packed + 24, &sum, 4);
	}
	feed(o, packed, RECORD_HEAD + len);
}

static void
flush(struct out *o)
{
	if (!o->packs)
		feed(o, o->buf, o->n);
	else if (o->n > 0)
		feed_packed(o);
	o->n = 0;
}

static void
put(struct out *o, const void *mem, size_t len)
{
	const uint8_t *p = mem;

	o->at += len;
	while (len > 0 && !o->ended) {
		size_t n = PIECE - o->n < len ? PIECE - o->n : len;

		if (p != NULL) {
			memcpy(o->buf + o->n, p, n);
			p += n;
		} else {
			memset(o->buf + o->n, 0, n);
		}
		o->n += n;
		len -= n;
		if (o->n == PIECE)
			flush(o);
	}
}

static void set16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static void set32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static void set64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }

static void
seal(uint8_t *p, size_t words)
{
	uint16_t x = 0, w;

	for (size_t i = 0; i < words; i++) {
		memcpy(&w, p + 2 * i, 2);
		x ^= w;
	}
	set16(p + 2 * words, x);
}

/* size bytes of block, sealed; m has what the block says beyond its head. */
static void
put_block(struct out *o, const char *type, uint8_t *m, uint16_t size, bool in_set)
{
	memcpy(m, type, 4);
	set16(m + 8, size);
	if (in_set) {
		set64(m + 20, (o->at - o->set_at) / 1024);
		set32(m + 36, ++o->number);
	}
	seal(m, 25);
	put(o, m, size);
}

static void
put_stream(struct out *o, const char *id, uint64_t len)
{
	uint8_t m[22] = { 0 };

	memcpy(m, id, 4);
	set64(m + 8, len);
	seal(m, 10);
	put(o, m, sizeof(m));
}

/* Ends a block so that the next one lies on a multiple of 1024. */
static void
end_block(struct out *o)
{
	put(o, NULL, (4 - o->at % 4) % 4);
	put_stream(o, "SPAD", (1024 - (o->at + 22) % 1024) % 1024);
	put(o, NULL, (1024 - o->at % 1024) % 1024);
}

static void
put_mark(struct out *o)
{
	uint8_t m[1024] = { 0 };

	put_block(o, "SFMB", m, 1024, false);
}

static void
put_tape(struct out *o)
{
	static const char software[] = "Microsoft SQL Server";
	uint8_t m[0x100] = { 0 }, raid[32] = { [0x14] = 1, [0x16] = 1, [0x18] = 1 };

	set16(m + 0x40, 2);
	set16(m + 0x50, sizeof(software) * 2);
	set16(m + 0x52, 0x80);
	set16(m + 0x54, 1024);
	for (size_t i = 0; i < sizeof(software); i++)
		m[0x80 + 2 * i] = (uint8_t)software[i];
	put_block(o, "TAPE", m, sizeof(m), false);
	put_stream(o, "RAID", sizeof(raid));
	put(o, raid, sizeof(raid));
	end_block(o);
	put_mark(o);
}

static void
put_sset(struct out *o, unsigned position)
{
	uint8_t m[0x100] = { 0 };

	if (o->packs)
		flush(o); /* in a compressed file it says where its record is */
	o->set_at = o->at;
	o->number = 0;
	set16(m + 46, 0x80);
	set16(m + 0x3E, (uint16_t)position);
	set64(m + 0x50, o->packs ? o->fed : o->at);
	m[0x5D] = 15;
	memcpy(m + 0x80, &position, sizeof(position));
	put_block(o, "SSET", m, sizeof(m), false);
	end_block(o);
	memset(m, 0, sizeof(m));
	put_block(o, "VOLB", m, 0x80, true);
	end_block(o);
}

/* A structure with a name of so many characters, different for each i. */
static size_t
make_file(uint8_t *m, uint32_t i, size_t chars)
{
	size_t size = 0x200 + 2 * chars;

	memset(m, 0, size);
	memcpy(m, "SFIN", 4);
	set32(m + 4, (uint32_t)size);
	set32(m + 0x10, 8192);
	set32(m + 0x14, i);
	set32(m + 0x1C, 1);
	set16(m + 0x30, (uint16_t)(2 * chars));
	set16(m + 0x32, 0x200);
	set16(m + 0x34, (uint16_t)(2 * chars));
	set16(m + 0x36, 0x200);
	for (size_t k = 0; k < chars; k++)
		m[0x200 + 2 * k] = (uint8_t)('a' + (i >> (k % 8) * 4 & 15));
	return size;
}

/* The catalogue of an empty log backup with so many files, or with one structure of so many bytes that nobody knows. */
static void
put_catalog(struct out *o, const char *block, uint32_t n_files, size_t chars, uint32_t unknown)
{
	static uint8_t m[0x200 + 2 * 4096];
	uint8_t head[0x80] = { 0 }, scin[0x200] = { 0 };

	memcpy(scin, "SCIN", 4);
	set32(scin + 4, sizeof(scin));
	scin[0x1B] = 15;
	scin[0x57] = 'L';
	put_block(o, block, head, sizeof(head), true);
	put_stream(o, "MQCI", sizeof(scin) + (uint64_t)n_files * (0x200 + 2 * chars) + unknown);
	put(o, scin, sizeof(scin));
	for (uint32_t i = 0; i < n_files && !o->ended; i++)
		put(o, m, make_file(m, i + 1, chars));
	if (unknown > 0) {
		memcpy(m, "WHAT", 4);
		set32(m + 4, unknown);
		put(o, m, 8);
		put(o, NULL, unknown - 8);
	}
	end_block(o);
}

/* The marks at the end. No set map: what is not there is not judged. */
static void
put_end(struct out *o)
{
	uint8_t m[0x80] = { 0 };

	put_mark(o);
	put_block(o, "ESET", m, sizeof(m), false);
	end_block(o);
	memset(m, 0, sizeof(m));
	put_block(o, "ESET", m, sizeof(m), false);
	end_block(o);
	put_mark(o);
}

static struct out *
begin_as(bool packs)
{
	static const uint8_t head[0x1E0] = "MSSQLBAK\2\0\0\0\3";
	struct out *o = calloc(1, sizeof(*o));

	heap_now = heap_peak = 0;
	counting = true;
	o->bak = bak_new(NULL, NULL);
	o->packs = packs;
	if (packs)
		feed(o, head, sizeof(head));
	put_tape(o);
	return o;
}

static struct out *
begin(void)
{
	return begin_as(false);
}

static enum bak_end
end(struct out *o)
{
	enum bak_end end;

	flush(o);
	end = bak_finish(o->bak);
	printf("# %.1f MB read, peak heap %.2f MiB, ends %d: %s\n", (double)o->at / 1e6, (double)heap_peak / (1 << 20), (int)end,
	       bak_why(o->bak) == NULL ? "whole" : bak_why(o->bak));
	assert_true(heap_peak < HEAP_MAX);
	return end;
}

static void
done(struct out *o)
{
	talloc_free(o->bak);
	counting = false;
	free(o);
}

static void
put_set(struct out *o, unsigned position, uint32_t n_files, size_t chars)
{
	put_sset(o, position);
	put_catalog(o, "MSCI", n_files, chars, 0);
	put_catalog(o, "MSLS", n_files, chars, 0);
	put_end(o);
}

static void
a_month_of_logs_in_one_file_is_read(void **state)
{
	struct out *o = begin();

	(void)state;
	for (unsigned i = 1; i <= 3000; i++)
		put_set(o, i, 2, 20);
	assert_int_equal(end(o), BAK_END_WHOLE);
	assert_int_equal(bak_n_sets(o->bak), 3000);
	done(o);
}

static void
endless_sets_end(void **state)
{
	struct out *o = begin();

	(void)state;
	for (unsigned i = 1; i <= 10000 && !o->ended; i++)
		put_set(o, i, 40, 200);
	assert_int_equal(end(o), BAK_END_DAMAGED);
	assert_true(bak_n_sets(o->bak) > 100);
	done(o);
}

static void
a_database_of_a_thousand_files_is_read(void **state)
{
	struct out *o = begin();

	(void)state;
	put_set(o, 1, 1000, 120);
	assert_int_equal(end(o), BAK_END_WHOLE);
	assert_int_equal(bak_set(o->bak, 0)->n_files, 1000);
	done(o);
}

static void
endless_files_end(void **state)
{
	struct out *o = begin();

	(void)state;
	put_sset(o, 1);
	put_catalog(o, "MSCI", 10000000, 4000, 0);
	assert_int_equal(end(o), BAK_END_DAMAGED);
	assert_true(o->at < UINT64_C(1) << 30);
	done(o);
}

static void
an_unknown_structure_of_a_gigabyte_is_passed_over(void **state)
{
	struct out *o = begin();

	(void)state;
	put_sset(o, 1);
	put_catalog(o, "MSCI", 1, 20, 1u << 30);
	put_catalog(o, "MSLS", 1, 20, 0);
	put_end(o);
	assert_int_equal(end(o), BAK_END_WHOLE);
	done(o);
}

static void
endless_empty_blocks_end(void **state)
{
	struct out *o = begin();
	uint8_t m[0x80];

	(void)state;
	put_sset(o, 1);
	put_catalog(o, "MSCI", 1, 20, 0);
	for (int i = 0; i < 1000000 && !o->ended; i++) {
		memset(m, 0, sizeof(m));
		put_block(o, "MSTL", m, sizeof(m), true);
		end_block(o);
	}
	assert_true(o->ended);
	assert_int_equal(end(o), BAK_END_DAMAGED);
	done(o);
}

static void
endless_log_extents_are_counted(void **state)
{
	struct out *o = begin();
	static uint8_t m[0x80], log[512];

	(void)state;
	put_sset(o, 1);
	put_catalog(o, "MSCI", 1, 20, 0);
	for (uint32_t i = 0; i < 50000 && !o->ended; i++) {
		memset(m, 0, sizeof(m));
		set64(m + 0x3C, 8192 + (uint64_t)i * 512);
		set64(m + 0x44, 8192 + (uint64_t)(i + 1) * 512);
		set32(m + 0x5C, 7);
		set64(m + 0x60, UINT64_C(1) << 40);
		set64(m + 0x68, 8192);
		m[0x72] = 0x40;
		put_block(o, "MSTL", m, sizeof(m), true);
		put_stream(o, "MQTL", 2 + sizeof(log));
		put(o, NULL, 2);
		log[0] = 0x58;
		set16(log + 6, 512);
		set32(log + 12, 7);
		set32(log + 16, i);
		put(o, log, sizeof(log));
		end_block(o);
	}
	assert_false(o->ended);
	end(o);
	assert_int_equal(bak_set(o->bak, 0)->n_extents, 50000);
	assert_int_equal(bak_set(o->bak, 0)->log_blocks, 50000);
	assert_int_equal(bak_set(o->bak, 0)->log_bad, 0);
	done(o);
}

/*
 * Records of 64 KiB out of some three hundred bytes, to the end of a gigabyte: what claims most. One of its file marks is
 * packed, which is never seen, so it is not whole; until then it is read like any other.
 */
static void
a_gigabyte_out_of_megabytes_is_read_in_proportion(void **state)
{
	struct out *o = begin_as(true);
	struct timespec from, to;
	double took;

	(void)state;
	put_sset(o, 1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	put_catalog(o, "MSCI", 1, 20, 1u << 30);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	printf("# %.1f MB unpack to %.1f MB in %.2f s\n", (double)o->fed / 1e6, (double)o->at / 1e6, took);
	assert_false(o->ended);
	assert_true(o->at > UINT64_C(1) << 30);
	assert_true(o->fed < o->at / 100);
	assert_true(took < 5);
	assert_int_not_equal(end(o), BAK_END_WHOLE);
	done(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_month_of_logs_in_one_file_is_read), cmocka_unit_test(endless_sets_end),
		cmocka_unit_test(a_database_of_a_thousand_files_is_read), cmocka_unit_test(endless_files_end),
		cmocka_unit_test(an_unknown_structure_of_a_gigabyte_is_passed_over), cmocka_unit_test(endless_empty_blocks_end),
		cmocka_unit_test(endless_log_extents_are_counted), cmocka_unit_test(a_gigabyte_out_of_megabytes_is_read_in_proportion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
