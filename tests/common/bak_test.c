#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/common/backup_file.h"

/* The reader gives the same answer however its input is cut, and never calls half a file whole. */

static struct backup_file *files; /* made ones first, then the real ones */
static size_t n_files, n_made;

static int
load_all(void **state)
{
	static const struct backup_sample samples[] = {
		{ 'D', 64, 9, true, false, true, 1 }, { 'D', 128, 300, false, false, true, 2 }, { 'I', 24, 1, true, true, false, 3 },
		{ 'L', 0, 200, true, false, false, 4 }, { 'L', 0, 0, false, false, false, 5 },
	};
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file *real;
	size_t n_real;

	*state = mem;
	real = real_files(mem, &n_real);
	files = talloc_array(mem, struct backup_file, n_real + 2 * sizeof(samples) / sizeof(samples[0]) + 1);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		files[n_files++] = file_of_sample(mem, &samples[i]);
		files[n_files] = file_packed(mem, &files[n_files - 1]);
		n_files++;
	}
	files[n_files] = file_of_two(mem, &files[0], &files[6]); /* a full, and a log behind it */
	n_files++;
	n_made = n_files;
	for (size_t i = 0; i < n_real; i++)
		files[n_files++] = real[i];
	if (n_real == 0)
		printf("SKIP the real backups in every test of bak_test: LANDFALL_BACKUPS is not set\n");
	return 0;
}

static void
every_file_is_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_files; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct bak *b = reads(mem, &files[i], 1 << 20);

		if (bak_end(b) != BAK_END_WHOLE || !bak_is_whole(b))
			fail_msg("%s: %s", files[i].name, bak_why(b));
		assert_true(bak_n_sets(b) > 0 && bak_set(b, bak_n_sets(b) - 1)->final);
		talloc_free(mem);
	}
	printf("# %zu files, %zu of them real\n", n_files, n_files - n_made);
}

static void
every_cut_gives_the_same_answer(void **state)
{
	int splits = is_long() ? 200 : 20;
	uint64_t bytes = 0;

	(void)state;
	for (size_t i = 0; i < n_files; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		char *whole = json_of(mem, reads(mem, &files[i], files[i].len));

		for (int k = 0; k < splits; k++) {
			TALLOC_CTX *once = talloc_new(mem);

			assert_string_equal(whole, json_of(once, reads(once, &files[i], 0)));
			bytes += files[i].len;
			talloc_free(once);
		}
		talloc_free(mem);
	}
	printf("# %d random splits of each of %zu files, %.1f GB fed\n", splits, n_files, (double)bytes / 1e9);
}

static int
by_size(const void *a, const void *b)
{
	const struct backup_file *x = a, *y = b;

	return x->len < y->len ? -1 : x->len > y->len;
}

static void
byte_by_byte_gives_the_same_answer(void **state)
{
	size_t n = n_files < n_made + 10 ? n_files : n_made + 10; /* the made ones, and the ten smallest real ones */
	struct backup_file *sorted = talloc_memdup(*state, files, n_files * sizeof(*files));

	qsort(sorted + n_made, n_files - n_made, sizeof(*sorted), by_size);
	for (size_t i = 0; i < n; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);

		assert_string_equal(json_of(mem, reads(mem, &sorted[i], sorted[i].len)), json_of(mem, reads(mem, &sorted[i], 1)));
		talloc_free(mem);
	}
}

/* ---- cut off ---------------------------------------------------------------------------------------------------- */

/* What must be said of a plain file that is cut there, from where its parts are; NULL where it is a proper file. */
static const char *
what_is_missing(TALLOC_CTX *mem, const struct part *parts, size_t n, size_t len)
{
	const char *says = "inside the headers: nothing of the backup is there";
	unsigned set = 0, marks = 0;

	for (size_t i = 0; i < n; i++) {
		size_t end = parts[i].data + parts[i].len;
		bool mark = strcmp(parts[i].id, "SFMB") == 0;

		if (mark)
			marks++;
		if (mark && marks % 2 == 1 && set > 0) { /* the one that closes a set */
			if (len < end)
				break;
			says = len == end ? NULL : talloc_asprintf(mem, "where a set after set %u begins", set);
		}
		if (len < end)
			break;
		if (strcmp(parts[i].id, "SSET") == 0)
			says = talloc_asprintf(mem, "inside set %u", ++set);
		else if (strcmp(parts[i].id, "MQCI") == 0 && i > 0 && strcmp(parts[i - 1].id, "MSLS") == 0)
			says = talloc_asprintf(mem, "before the closing marks of set %u: all data is there, but the upload is not complete", set);
	}
	return says;
}

static bool
is_in(const size_t *list, size_t n, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == len)
			return true;
	return false;
}

struct cuts { const struct backup_file *f; struct part *parts; size_t n, *ends, n_ends, tried; };

static void
check_cut(struct cuts *c, size_t len)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct backup_file cut = { c->f->name, c->f->mem, len };
	struct bak *b = reads(mem, &cut, 1 << 20);
	const char *why = bak_why(b), *want = is_plain(c->f) ? what_is_missing(mem, c->parts, c->n, len) : "";
	bool undetectable = is_in(c->ends, c->n_ends, len);

	c->tried++;
	assert_int_equal(want == NULL, is_plain(c->f) && undetectable);
	if (undetectable) {
		if (!bak_is_whole(b))
			fail_msg("%s cut at %zu: %s", c->f->name, len, why);
		printf("# undetectable: %s cut at %zu, where a set ends: what is left is a proper file\n", c->f->name, len);
	} else if (bak_end(b) != BAK_END_TRUNCATED || bak_is_whole(b) || !has_finding(b, "truncated") || !names_byte(why, len) ||
	           strstr(why, want) == NULL) {
		fail_msg("%s cut at %zu of %zu: end %d, %s; wanted: %s", c->f->name, len, c->f->len, (int)bak_end(b), why, want);
	} else if (strstr(why, "inside set") != NULL && strstr(why, "is missing and it cannot be restored") == NULL) {
		fail_msg("%s cut at %zu: does not say what that means: %s", c->f->name, len, why);
	}
	talloc_free(mem);
}

static void
a_file_that_is_cut_off_is_never_whole(void **state)
{
	int random = is_long() ? 300 : 30;
	size_t all = 0, cuts = 0;

	(void)state;
	for (size_t i = 0; i < n_files; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct cuts c = { .f = &files[i] };
		size_t step;

		c.parts = is_plain(c.f) ? parts_of(mem, c.f, &c.n) : records_of(mem, c.f, &c.n);
		c.ends = ends_of_sets(mem, c.f, &c.n_ends);
		assert_int_equal(c.ends[--c.n_ends], c.f->len); /* the last is no cut */
		/* Real compressed files have hundreds of records, and each cut unpacks all before it. */
		step = is_plain(c.f) || is_long() ? 1 : 1 + c.n / 50;
		for (size_t k = 0; k < c.n; k += step)
			if (c.parts[k].at > 0)
				check_cut(&c, c.parts[k].at);
		for (size_t k = 0; k < c.n_ends; k++)
			check_cut(&c, c.ends[k]), check_cut(&c, c.ends[k] + 1), check_cut(&c, c.ends[k] - 1);
		for (int k = 0; k < random; k++)
			check_cut(&c, 1 + chance((unsigned)c.f->len - 1));
		check_cut(&c, c.f->len - 1);
		all += c.n;
		cuts += c.tried;
		talloc_free(mem);
	}
	printf("# %zu cuts, at the begin of blocks, streams and records (of %zu) and at %d random places of each file\n", cuts, all, random);
}

static void
damage_is_survived(void **state)
{
	int rounds = is_long() ? 20000 : 1000;

	(void)state;
	for (int i = 0; i < rounds; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		const struct backup_file *f = &files[chance((unsigned)n_files)];
		struct backup_file part = { f->name, f->mem, f->len > 120000 ? 120000 : f->len }, copy = file_copy(mem, &part);

		for (int k = 0; k < 12; k++)
			copy.mem[chance(k % 2 == 0 && copy.len > 8192 ? 8192 : (unsigned)copy.len)] = (uint8_t)chance(256);
		assert_string_equal(json_of(mem, reads(mem, &copy, 0)), json_of(mem, reads(mem, &copy, copy.len)));
		talloc_free(mem);
	}
}

static void
what_is_no_backup_is_named(void **state)
{
	static const struct { const char *mem; size_t len; const char *says; } cases[] = {
		{ "PK\003\004zzzzzzzz", 12, "zip" },
		{ "PK\003\004\x14\0\x06\0\x08\0\0\0!\0zzzzzzzzzzzz\x13\0\0\0[Content_Types].xml", 50, "Office" },
		{ "PK\003\004zzzzzzzzzzzz model.xml PK\003\004 Origin.xml", 40, "bacpac" },
		{ "PK\003\004zzzzzzzzzzzz DacMetadata.xml", 32, "dacpac" },
		{ "PK\005\006zzzz", 8, "empty zip" },
		{ "7z\xBC\xAF\x27\x1Czzz", 9, "7-Zip" },
		{ "\x1f\x8b\x08zzzzzzz", 10, "gzip" },
		{ "\x28\xB5\x2F\xFDzzzz", 8, "Zstandard" },
		{ "Rar!\x1A\x07zzz", 9, "RAR" },
		{ "\xD0\xCF\x11\xE0zzz", 7, "Office" },
		{ "\x01\x0F\x00\x00\x00\x02zzz", 9, ".mdf" },
		{ "-- a script\nSELECT 1;\nGO\n", 25, "script" },
		{ "\xFF\xFE" "C\0R\0E\0A\0T\0E\0", 14, "script" },
		{ "dear team, here it comes", 24, "text" },
		{ "\0\0\0\0\0\0\0\0\0\0", 10, "zeros" },
		{ "\x7f\x01\x02\x03\x99\x98", 6, "not a SQL Server backup" },
		{ "", 0, "empty file" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t piece = 1; piece <= 64; piece += 63) {
			TALLOC_CTX *mem = talloc_new(NULL);
			struct backup_file f = { "case", (uint8_t *)(uintptr_t)cases[i].mem, cases[i].len };
			struct bak *b = reads(mem, &f, piece);

			assert_int_equal(bak_container(b), BAK_OTHER);
			assert_int_equal(bak_end(b), BAK_END_OTHER);
			assert_true(has_finding(b, "not-a-backup"));
			if (strstr(bak_other_what(b), cases[i].says) == NULL)
				fail_msg("%s is called %s", cases[i].says, bak_other_what(b));
			talloc_free(mem);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_file_is_whole), cmocka_unit_test(every_cut_gives_the_same_answer),
		cmocka_unit_test(byte_by_byte_gives_the_same_answer), cmocka_unit_test(a_file_that_is_cut_off_is_never_whole),
		cmocka_unit_test(damage_is_survived), cmocka_unit_test(what_is_no_backup_is_named),
	};

	return cmocka_run_group_tests(tests, load_all, NULL);
}
