#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>
#include <talloc.h>

#include "common/bak.h"
#include "common/bak_json.h"

/* The reader gives the same answer however its input is cut, never calls half a file whole, and survives anything. */

struct file { char *name; uint8_t *mem; size_t len; };

static struct file files[80];
static size_t n_files;
static unsigned seed = 1;

static unsigned
chance(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

static void
load_folder(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL && n_files < 80) {
		char *path = talloc_asprintf(NULL, "%s/%s", dir, e->d_name);
		struct stat st;
		FILE *f;

		if (e->d_name[0] == '.' || stat(path, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			load_folder(path);
			continue;
		}
		if (st.st_size > 4 << 20 || st.st_size < 1024 || strstr(path, ".jsonl") != NULL || strstr(path, ".tsv") != NULL || strstr(path, ".md") != NULL)
			continue;
		files[n_files] = (struct file){ path, malloc((size_t)st.st_size), (size_t)st.st_size };
		f = fopen(path, "rb");
		if (fread(files[n_files].mem, 1, files[n_files].len, f) == files[n_files].len)
			n_files++;
		fclose(f);
	}
	if (d != NULL)
		closedir(d);
}

static int
load(void **state)
{
	const char *dir = getenv("LANDFALL_BACKUPS");

	(void)state;
	if (getenv("SEED") != NULL)
		seed = (unsigned)strtoul(getenv("SEED"), NULL, 10);
	if (dir != NULL && dir[0] != '\0')
		load_folder(dir);
	return 0;
}

static void
need_files(const char *test)
{
	if (n_files > 0)
		return;
	printf("SKIP %s: no real backups (LANDFALL_BACKUPS)\n", test);
	skip();
}

/* Everything the reader says, as one text; piece 0 feeds pieces of random size. */
static char *
read_as_text(const uint8_t *mem, size_t len, size_t piece, enum bak_end *end)
{
	struct bak *b = bak_new(NULL, NULL);
	struct err err = { 0 };
	json_t *o;
	char *dump, *text;

	for (size_t at = 0; at < len;) {
		size_t n = piece != 0 ? piece : 1 + chance(70000);

		n = n > len - at ? len - at : n;
		bak_feed(b, mem + at, n, &err);
		at += n;
	}
	*end = bak_finish(b);
	o = bak_json("x", b, 0);
	dump = json_dumps(o, JSON_COMPACT);
	text = talloc_strdup(NULL, dump);
	free(dump);
	json_decref(o);
	talloc_free(b);
	return text;
}

static void
every_cut_gives_the_same_answer(void **state)
{
	(void)state;
	need_files("every_cut_gives_the_same_answer");
	for (size_t i = 0; i < n_files; i += 3) {
		enum bak_end a, b;
		char *whole = read_as_text(files[i].mem, files[i].len, files[i].len, &a), *cut = read_as_text(files[i].mem, files[i].len, 0, &b);

		assert_string_equal(whole, cut);
		assert_int_equal(a, b);
		if (files[i].len < 200000) {
			talloc_free(cut);
			cut = read_as_text(files[i].mem, files[i].len, 1, &b);
			assert_string_equal(whole, cut);
		}
		talloc_free(whole);
		talloc_free(cut);
	}
}

static void
a_file_that_is_cut_off_is_never_whole(void **state)
{
	size_t tried = 0;

	(void)state;
	need_files("a_file_that_is_cut_off_is_never_whole");
	for (size_t i = 0; i < n_files; i++) {
		enum bak_end end;

		talloc_free(read_as_text(files[i].mem, files[i].len, files[i].len, &end));
		if (end != BAK_END_WHOLE)
			continue;
		for (int k = 0; k < 4; k++) {
			/* Up to the last 64 KB may be padding of the last block, which says nothing. */
			size_t len = files[i].len > 70000 ? 1 + chance((unsigned)(files[i].len - 66000)) : 1 + chance((unsigned)files[i].len / 2);

			talloc_free(read_as_text(files[i].mem, len, len, &end));
			if (end == BAK_END_WHOLE)
				fail_msg("%s is called whole at %zu of %zu bytes", files[i].name, len, files[i].len);
			tried++;
		}
	}
	assert_true(tried > 100);
}

static void
damage_is_survived(void **state)
{
	int rounds = getenv("LONG") != NULL && getenv("LONG")[0] != '\0' ? 20000 : 400;

	(void)state;
	need_files("damage_is_survived");
	for (int i = 0; i < rounds; i++) {
		const struct file *f = &files[chance((unsigned)n_files)];
		size_t len = f->len > 120000 ? 120000 : f->len;
		uint8_t *copy = malloc(len);
		enum bak_end end;

		memcpy(copy, f->mem, len);
		for (int k = 0; k < 12; k++)
			copy[chance(k % 2 == 0 ? 8192 : (unsigned)len)] = (uint8_t)chance(256);
		talloc_free(read_as_text(copy, len, 0, &end));
		free(copy);
	}
}

static void
what_is_no_backup_is_named(void **state)
{
	static const struct { const char *mem; size_t len; const char *word; } cases[] = {
		{ "PK\003\004zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 40, "zip" }, { "-- a script\nSELECT 1;\n                                        ", 50, "script" },
		{ "\x1f\x8b\x08zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 40, "gzip" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bak *b = bak_new(NULL, NULL);
		struct err err = { 0 };

		bak_feed(b, cases[i].mem, cases[i].len, &err);
		bak_finish(b);
		assert_int_equal(bak_container(b), BAK_OTHER);
		assert_non_null(bak_other_what(b));
		if (strstr(bak_other_what(b), cases[i].word) == NULL)
			fail_msg("%s is called %s", cases[i].word, bak_other_what(b));
		talloc_free(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut_gives_the_same_answer), cmocka_unit_test(a_file_that_is_cut_off_is_never_whole),
		cmocka_unit_test(damage_is_survived), cmocka_unit_test(what_is_no_backup_is_named),
	};

	return cmocka_run_group_tests(tests, load, NULL);
}
