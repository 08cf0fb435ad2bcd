#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bak.h"
#include "tests/standin/mtf_write.h"

/*
 * Two witnesses for what the writer writes: the project's reader, and the small walker below, which
 * is shown on a file made by SQL Server 2019 itself before its word counts here.
 */

enum { PAGE = 8192, VLF = 1 << 20 };

struct image {
	uint8_t *mem;
	size_t len;
};

static struct image
read_all(TALLOC_CTX *mem, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct image i = { 0 };
	struct stat st;

	if (f == NULL || fstat(fileno(f), &st) != 0)
		return i;
	i.len = (size_t)st.st_size;
	i.mem = talloc_array(mem, uint8_t, i.len + 1);
	assert_int_equal(fread(i.mem, 1, i.len, f), i.len);
	fclose(f);
	return i;
}

static uint64_t
number(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static unsigned
xor_of(const uint8_t *p, size_t words)
{
	unsigned x = 0;

	for (size_t i = 0; i < words; i++)
		x ^= (unsigned)number(p + 2 * i, 2);
	return x;
}

/* The sum as SQL Server's documents of pages are understood: one rotating step per sector. */
static uint32_t
plain_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t s = 0; s < len; s += 512) {
		uint32_t x = 0;

		for (size_t i = 0; i < 512; i += 4)
			x ^= (uint32_t)number(p + s + i, 4);
		sum = (sum << 1 | sum >> 31) ^ x;
	}
	return sum;
}

/* ---- the walker ------------------------------------------------------------------------------------------- */

struct walked {
	char order[4096];                       /* block names in order */
	uint64_t sset, msci, msls, eset, end;
	const uint8_t *scin_head, *scin_final;
	uint64_t data_at[2], data_len[2];
	size_t n_data, n_log, n_sums, n_bad_sums;
	unsigned csum_flags;
};

static void
walk_extent(const uint8_t *m, const uint8_t *log, size_t *blocks)
{
	uint64_t start = number(m + 0x3C, 8), end = number(m + 0x44, 8), vlf_start = number(m + 0x68, 8);
	uint8_t parity = m[0x72];

	for (uint64_t at = start; at < end; (*blocks)++) {
		const uint8_t *b = log + (at - start);
		size_t size = (size_t)number(b + 6, 2);

		assert_true(size >= 512 && size % 512 == 0 && at + size <= end);
		assert_int_equal(number(b + 12, 4), number(m + 0x5C, 4));
		assert_int_equal(number(b + 16, 4), (at - vlf_start) / 512);
		for (size_t s = 0; s < size; s += 512)
			assert_int_equal(b[s] & 0xD8, parity | (s == 0 ? 0x10 : 0) | (s + 512 == size ? 0x08 : 0));
		at += size;
	}
}

/* Every rule of the format that can be checked without knowing what the bytes mean. */
static struct walked
walk(const struct image *f)
{
	struct walked w = { 0 };
	uint64_t at = 0, base = 0;
	uint32_t control = 0;

	while (at < f->len) {
		const uint8_t *m = f->mem + at, *last_data = NULL;
		uint64_t p, n = 0, last_len = 0;
		size_t first, blocks = 0;

		assert_true(at + 52 <= f->len);
		first = (size_t)number(m + 8, 2);
		assert_int_equal(xor_of(m, 25), number(m + 50, 2));
		snprintf(w.order + strlen(w.order), sizeof(w.order) - strlen(w.order), "%.4s ", (const char *)m);
		if (memcmp(m, "SFMB", 4) == 0) {
			assert_int_equal(first % 512, 0);
			at += first;
			base = at;
			w.end = at;
			continue;
		}
		assert_int_equal((at - base) % 1024, 0);
		if (memcmp(m, "SSET", 4) == 0) {
			w.sset = at;
			control = 0;
			assert_int_equal(number(m + 0x50, 8), at);
		}
		if (memcmp(m, "TAPE", 4) != 0 && memcmp(m, "ESET", 4) != 0) {
			assert_int_equal(number(m + 36, 4), control++);
			assert_int_equal(number(m + 20, 8), (at - w.sset) / 1024);
		}
		if (memcmp(m, "ESET", 4) == 0 && w.eset == 0)
			w.eset = at;
		for (p = at + first;; p += 22 + n) {
			const uint8_t *s;

			p = (p + 3) / 4 * 4;
			assert_true(p + 22 <= f->len);
			s = f->mem + p;
			assert_int_equal(xor_of(s, 10), number(s + 20, 2));
			n = number(s + 8, 8);
			assert_true(n <= f->len - p - 22);
			if (memcmp(s, "MQCI", 4) == 0)
				*(memcmp(m, "MSCI", 4) == 0 ? &w.scin_head : &w.scin_final) = s + 22;
			if ((memcmp(s, "MQDA", 4) == 0 || memcmp(s, "MQTL", 4) == 0) && n > 2) {
				assert_int_equal((p + 24) % 512, 0);
				last_data = s + 24;
				last_len = n - 2;
				w.csum_flags |= (unsigned)number(s + 6, 2);
				if (s[2] == 'D' && w.n_data < 2) {
					w.data_at[w.n_data] = p + 24;
					w.data_len[w.n_data++] = n - 2;
				} else if (s[2] == 'T') {
					w.n_log++;
					walk_extent(m, last_data, &blocks);
				}
			}
			if (memcmp(s, "CSUM", 4) == 0) {
				w.n_sums++;
				assert_non_null(last_data);
				w.n_bad_sums += plain_sum(0, last_data, (size_t)last_len) != number(s + 22, 4);
			}
			if (memcmp(s, "TSMP", 4) == 0) {
				assert_int_equal(number(s + 22, 4), number(f->mem + 0x34, 4));
				assert_int_equal(number(s + 22 + 0x14, 8), w.sset);
				assert_int_equal(8 + number(s + 30, 2) + number(s + 30 + number(s + 30, 2), 2), n);
				assert_memory_equal(s + 30 + number(s + 30, 2) + 2, "VOLB", 4);
			}
			if (memcmp(s, "SPAD", 4) == 0)
				break;
		}
		at = p + 22 + n;
	}
	assert_int_equal(at, f->len);
	return w;
}

/* ---- a backup to look at -------------------------------------------------------------------------------------- */

static const struct guid some_guid[] = { { { 1, 2, 3, 4 } }, { { 5, 6, 7 } }, { { 8, 9 } }, { { 10 } } };

static void
make_page(uint8_t page[static PAGE], uint32_t id)
{
	uint32_t sum;

	memset(page, 0, PAGE);
	page[0] = 1;
	page[1] = id == 0 ? 15 : id == 1 ? 11 : 1;
	page[5] = 2; /* checksummed */
	memcpy(page + 0x20, &id, 4);
	page[0x24] = 1;
	for (size_t i = 96; i < PAGE; i++)
		page[i] = id == 1 ? 0x40 : (uint8_t)(i * 31 + id * 7);
	sum = plain_sum(0, page, PAGE);
	memcpy(page + 0x3C, &sum, 4);
}

static size_t
make_log(uint8_t *out, uint32_t vlf, uint32_t block, size_t size, uint8_t parity)
{
	memset(out, 0, size);
	for (size_t s = 0; s < size; s += 512)
		out[s] = parity;
	out[0] |= 0x10;
	out[size - 512] |= 0x08;
	out[2] = 1;
	out[4] = (uint8_t)size;
	out[5] = (uint8_t)(size >> 8);
	out[6] = (uint8_t)size;
	out[7] = (uint8_t)(size >> 8);
	memcpy(out + 12, &vlf, 4);
	memcpy(out + 16, &block, 4);
	out[20] = 1;
	return size;
}

struct sample {
	char path[256];
	struct mtf_set head, final;
	struct mtf_file files[2];
};

static struct sample
make_sample(TALLOC_CTX *mem, char type, bool checksum)
{
	struct sample s = { .files = {
		{ .file_id = 1, .group_id = 1, .pages = 16, .type = 'D', .name = "Sales", .path = "D:\\data\\Sales.mdf",
		  .size = 16 * PAGE, .max_size = 35184372080640, .unique_id = some_guid[0] },
		{ .file_id = 2, .type = 'L', .name = "Sales_log", .path = "D:\\data\\Sales_log.ldf", .size = VLF,
		  .max_size = 2199023255552, .unique_id = some_guid[1] },
	} };

	snprintf(s.path, sizeof(s.path), "%s/landfall-mtf-%d-%c%d.bak", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
	         (int)getpid(), type, checksum);
	s.head = (struct mtf_set){
		.type = type, .checksum = checksum, .database = "Sales ]'\xF0\x9F\x9A\xA2", .server = "ONPREM\\SQL2019",
		.machine = "ONPREM", .user = "ONPREM\\dba", .name = "Sales-Full", .backup_set = { { 0x42 } },
		.binding = some_guid[2], .fork = some_guid[3], .family = some_guid[0],
		.first = { 32, 16, 1 }, .last = { 32, 17, 1 }, .checkpoint = { 32, 16, 1 },
		.created = 1700000000, .start = 1700000100, .database_id = 7, .database_version = 904, .compat = 150,
		.backup_size = 1, .n_files = 2,
	};
	s.head.files = talloc_memdup(mem, s.files, sizeof(s.files));
	if (type == 'L')
		s.head.files[0].pages = 0;
	s.final = s.head;
	s.final.first = (struct lsn){ 32, 16, 2 };
	s.final.last = (struct lsn){ 32, 19, 1 };
	s.final.finish = 1700000160;
	s.final.backup_size = 16 * PAGE;
	return s;
}

static struct image
write_sample(TALLOC_CTX *mem, const struct sample *s)
{
	struct err err = { 0 };
	struct mtf *m = mtf_begin(mem, s->path, &s->head, &err);
	uint8_t page[PAGE], block[1536];
	struct image i;

	assert_non_null(m);
	if (s->head.type != 'L') {
		mtf_pages_begin(m, 16);
		for (uint32_t k = 0; k < 16; k++) {
			make_page(page, k);
			mtf_page(m, page);
		}
		mtf_pages_end(m);
	}
	mtf_log_parity(m, 0x80);
	mtf_log_begin(m, 32, 0x2000, VLF, 0x2000 + 16 * 512, 0x2000 + 19 * 512);
	mtf_log(m, block, make_log(block, 32, 16, sizeof(block), 0x80));
	mtf_log_end(m);
	assert_true(mtf_end(m, &s->final, &err));
	talloc_free(m);
	i = read_all(mem, s->path);
	unlink(s->path);
	return i;
}

static struct bak *
read_back(TALLOC_CTX *mem, const struct image *f, size_t piece)
{
	struct bak *b = bak_new(mem, NULL);
	struct err err = { 0 };

	for (size_t at = 0; at < f->len; at += piece)
		if (!bak_feed(b, f->mem + at, f->len - at < piece ? f->len - at : piece, &err))
			fail_msg("%s", err.text);
	bak_finish(b);
	return b;
}

static const char *
backups(void)
{
	const char *dir = getenv("LANDFALL_BACKUPS");

	return dir != NULL && dir[0] != '\0' && access(dir, R_OK) == 0 ? dir : NULL;
}

/* ---- claims -------------------------------------------------------------------------------------------------------- */

static void
the_walker_understands_a_file_of_sql_server_2019(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *dir = backups();
	struct image f;
	struct walked w;

	(void)state;
	if (dir == NULL) {
		printf("SKIP the_walker_understands_a_file_of_sql_server_2019: no real backups (LANDFALL_BACKUPS)\n");
		talloc_free(mem);
		skip();
	}
	f = read_all(mem, talloc_asprintf(mem, "%s/single/Northwind-2019.bak", dir));
	if (f.mem == NULL)
		fail_msg("no file single/Northwind-2019.bak in %s", dir);
	w = walk(&f);
	assert_int_equal(w.n_data, 2);
	assert_int_equal(w.n_log, 1);
	assert_memory_not_equal(w.scin_head + 0x20, w.scin_final + 0x20, 10);
	talloc_free(mem);
}

static void
what_is_written_follows_every_rule_of_the_format(void **state)
{
	static const char types[] = { 'D', 'I', 'L' };

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++)
		for (int checksum = 0; checksum < 2; checksum++) {
			TALLOC_CTX *mem = talloc_new(NULL);
			struct sample s = make_sample(mem, types[i], checksum);
			struct image f = write_sample(mem, &s);
			struct walked w = walk(&f);

			assert_string_equal(w.order, types[i] == 'L'
				? "TAPE SFMB SSET VOLB MSCI MSTL MSLS SFMB ESET ESET SFMB "
				: "TAPE SFMB SSET VOLB MSCI MSDA MSTL MSLS SFMB ESET ESET SFMB ");
			assert_int_equal(w.end, f.len);
			assert_int_equal(w.n_log, 1);
			assert_int_equal(w.n_data, types[i] != 'L');
			assert_int_equal(w.n_sums, checksum * (types[i] == 'L' ? 1 : 2));
			assert_int_equal(w.n_bad_sums, 0);
			assert_int_equal(w.csum_flags & 0x100, checksum * 0x100);
			/* Provisional in front, final behind. */
			assert_int_equal(number(w.scin_head + 0x52, 5), 0);
			assert_int_not_equal(number(w.scin_final + 0x52, 5), 0);
			assert_int_equal(number(w.scin_head + 0x28, 2), 1);
			assert_int_equal(number(w.scin_final + 0x28, 2), 2);
			talloc_free(mem);
		}
}

static void
pages_stand_on_sectors_with_their_sum_inside(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct sample s = make_sample(mem, 'D', true);
	struct image f = write_sample(mem, &s);
	struct walked w = walk(&f);

	(void)state;
	assert_int_equal(w.data_len[0], 16 * PAGE);
	for (size_t k = 0; k < 16; k++) {
		uint8_t page[PAGE];
		uint32_t stored;

		memcpy(page, f.mem + w.data_at[0] + k * PAGE, PAGE);
		assert_int_equal(number(page + 0x20, 4), k);
		stored = (uint32_t)number(page + 0x3C, 4);
		memset(page + 0x3C, 0, 4);
		assert_int_equal(plain_sum(0, page, PAGE), stored);
	}
	talloc_free(mem);
}

static void
the_reader_reads_it_whole_however_it_is_cut(void **state)
{
	static const size_t pieces[] = { 1, 511, 4096, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct sample s = make_sample(mem, 'D', true);
		struct image f = write_sample(mem, &s);
		struct bak *b = read_back(mem, &f, pieces[i]);
		const struct bak_set *set;

		if (bak_end(b) != BAK_END_WHOLE)
			fail_msg("%s", bak_why(b));
		assert_int_equal(bak_n_sets(b), 1);
		set = bak_set(b, 0);
		assert_true(set->final);
		assert_string_equal(set->database, s.final.database);
		assert_string_equal(set->server, "ONPREM\\SQL2019");
		assert_string_equal(set->machine, "ONPREM");
		assert_string_equal(set->user, "ONPREM\\dba");
		assert_string_equal(set->name, "Sales-Full");
		assert_string_equal(bak_media(b)->software, "Microsoft SQL Server");
		assert_int_equal(set->type, BAK_FULL);
		assert_int_equal(lsn_compare(set->last_lsn, s.final.last), 0);
		assert_int_equal(lsn_compare(set->head->last_lsn, s.head.last), 0);
		assert_string_equal(bak_date_text(set->finish).s, "2023-11-14T22:16:00");
		assert_int_equal(set->head->finish.year, 0);
		assert_int_equal(set->flags, 0x210);
		assert_int_equal(set->software_major, 15);
		assert_int_equal(set->database_version, 904);
		assert_int_equal(set->n_files, 2);
		assert_string_equal(set->files[0].physical_name, "D:\\data\\Sales.mdf");
		assert_string_equal(set->files[0].group_name, "PRIMARY");
		assert_true(guid_equal(set->files[0].differential_base_guid, s.final.backup_set));
		assert_int_equal(set->files[1].type, 'L');
		assert_int_equal(set->pages[0].checked, 16);
		assert_int_equal(set->pages[0].bad, 0);
		assert_int_equal(set->csum_streams, 2);
		assert_int_equal(set->csum_bad, 0);
		assert_int_equal(set->n_extents, 1);
		assert_int_equal(set->extents[0].blocks, 1);
		assert_int_equal(set->extents[0].parity, 0x80);
		talloc_free(mem);
	}
}

static void
kinds_and_flags_arrive_as_meant(void **state)
{
	static const struct {
		char type;
		uint32_t flags;
		bool copy_only;
		enum bak_type is;
		const char *findings;
	} cases[] = {
		{ 'D', 0, true, BAK_FULL, "copy-only" },
		{ 'I', 0, false, BAK_DIFFERENTIAL, "" },
		{ 'L', 0x140, false, BAK_LOG, "tail tail-norecovery" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct sample s = make_sample(mem, cases[i].type, false);
		struct image f;
		struct bak *b;
		const char *const *words;
		char *all = talloc_strdup(mem, "");
		size_t n;

		s.head.flags = s.final.flags = cases[i].flags;
		s.head.copy_only = s.final.copy_only = cases[i].copy_only;
		s.head.differential_base = s.final.differential_base = some_guid[3];
		f = write_sample(mem, &s);
		b = read_back(mem, &f, 65536);
		if (bak_end(b) != BAK_END_WHOLE)
			fail_msg("%s", bak_why(b));
		assert_int_equal(bak_set(b, 0)->type, cases[i].is);
		assert_true(guid_equal(bak_set(b, 0)->differential_base_guid, some_guid[3]));
		words = bak_findings(mem, b, 0, &n);
		for (size_t k = 0; k < n; k++)
			all = talloc_asprintf_append(all, "%s%s", k == 0 ? "" : " ", words[k]);
		assert_string_equal(all, cases[i].findings);
		talloc_free(mem);
	}
}

/* Sabotage: the reader's and the walker's agreement means something only if damage is seen. */
static void
a_flipped_page_byte_is_seen(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct sample s = make_sample(mem, 'D', true);
	struct image f = write_sample(mem, &s);
	struct walked w = walk(&f);
	struct bak *b;

	(void)state;
	f.mem[w.data_at[0] + 5 * PAGE + 1000] ^= 4;
	b = read_back(mem, &f, 65536);
	assert_int_equal(bak_end(b), BAK_END_DAMAGED);
	assert_int_equal(bak_set(b, 0)->pages[0].bad, 1);
	assert_int_equal(bak_set(b, 0)->csum_bad, 1);
	talloc_free(mem);
}

static void
a_file_that_cannot_be_made_is_said(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct sample s = make_sample(mem, 'D', false);
	struct err err = { 0 };

	(void)state;
	assert_null(mtf_begin(mem, "/nonexistent/folder/x.bak", &s.head, &err));
	assert_int_equal(err.code, 2); /* ENOENT */
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_walker_understands_a_file_of_sql_server_2019),
		cmocka_unit_test(what_is_written_follows_every_rule_of_the_format),
		cmocka_unit_test(pages_stand_on_sectors_with_their_sum_inside),
		cmocka_unit_test(the_reader_reads_it_whole_however_it_is_cut),
		cmocka_unit_test(kinds_and_flags_arrive_as_meant),
		cmocka_unit_test(a_flipped_page_byte_is_seen),
		cmocka_unit_test(a_file_that_cannot_be_made_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
