#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/row_hash.h"

/* Known answers were computed apart from this program, from the bytes that the header describes. */

static void
expect_hash(const char *const *values, size_t columns, size_t rows, const char *want)
{
	struct row_hash *h = row_hash_new(NULL);
	char hex[65];

	for (size_t r = 0; r < rows; r++) {
		size_t lengths[8];

		for (size_t c = 0; c < columns; c++)
			lengths[c] = values[r * columns + c] == NULL ? 0 : strlen(values[r * columns + c]);
		row_hash_row(h, values + r * columns, lengths, columns);
	}
	assert_int_equal(row_hash_rows(h), rows);
	row_hash_end(h, hex);
	assert_string_equal(hex, want);
	talloc_free(h);
}

static void
known_answers(void **state)
{
	static const char *const rows[] = { "1", "Ada", NULL, "2", "", "J\xc3\xb6rg" };
	static const char *const null[] = { NULL }, *const empty[] = { "" };

	(void)state;
	expect_hash(rows, 3, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect_hash(rows, 3, 2, "d1d19bdfd1dccd1086b38b0d0bd19187734b16786d3e710d8e2b1b0510b7aa15");
	expect_hash(null, 1, 1, "12a3ae445661ce5dee78d0650d33362dec29c4f82af05e7e57fb595bbbacf0ca");
	expect_hash(empty, 1, 1, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
}

static void
questions(void **state)
{
	static const char *const names[] = { "id", "no]te", "shape" }, *const key[] = { "id" };
	static const enum manifest_form forms[] = { FORM_PLAIN, FORM_TEXT, FORM_BINARY };
	const struct manifest_columns columns = { names, forms, 3 };
	char *with = manifest_query(NULL, "dbo", "a.b", &columns, key, 1);
	char *without = manifest_query(NULL, "dbo", "t", &columns, NULL, 0);

	(void)state;
	assert_string_equal(with, "SELECT [id], CONVERT(nvarchar(max), [no]]te]), CONVERT(varbinary(max), [shape])"
	                    " FROM [dbo].[a.b] ORDER BY [id]");
	assert_string_equal(strstr(without, " ORDER BY "), " ORDER BY [id], CONVERT(nvarchar(max), [no]]te]),"
	                    " CONVERT(varbinary(max), [shape])");
	assert_int_equal(manifest_form("XML"), FORM_TEXT);
	assert_int_equal(manifest_form("nvarchar"), FORM_PLAIN);
	assert_int_equal(manifest_form("image"), FORM_BINARY);
	talloc_free(with);
	talloc_free(without);
}

#define HASH "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
#define HEAD "{\"schema\":\"landfall.manifest/1\",\"database\":\"Tickets\",\"taken_at\":\"2026-11-24T10:00:00Z\","
#define TABLE(name, key, rows) "{\"name\":\"" name "\",\"key\":" key ",\"rows\":" rows ",\"sha256\":\"" HASH "\"}"

static void
a_whole_manifest(void **state)
{
	json_t *o = json_loads(HEAD "\"tables\":[" TABLE("dbo.a", "[\"x\",\"y\"]", "3") ","
	                       TABLE("dbo.b", "[]", "0") "],\"end\":true}", 0, NULL);
	struct err err = { 0 };
	struct manifest *m = manifest_parse(NULL, o, &err);

	(void)state;
	json_decref(o);
	assert_non_null(m);
	assert_string_equal(m->database, "Tickets");
	assert_int_equal(m->n_tables, 2);
	assert_string_equal(m->tables[0].name, "dbo.a");
	assert_int_equal(m->tables[0].n_key, 2);
	assert_string_equal(m->tables[0].key[1], "y");
	assert_int_equal(m->tables[0].rows, 3);
	assert_int_equal(m->tables[0].sha256[0], 'e');
	talloc_free(m);
}

static void
what_is_no_whole_manifest(void **state)
{
	static const struct { const char *text, *about; } cases[] = {
		{ HEAD "\"tables\":[]}", "end" },
		{ HEAD "\"tables\":[],\"end\":false}", "end" },
		{ HEAD "\"tables\":[],\"end\":\"true\"}", "end" },
		{ HEAD "\"end\":true}", "list of tables" },
		{ "{\"schema\":\"landfall.manifest/2\",\"tables\":[],\"end\":true}", "schema" },
		{ "{\"schema\":\"landfall.manifest/1\",\"tables\":[],\"end\":true}", "database" },
		{ HEAD "\"tables\":[" TABLE("a", "[]", "-1") "],\"end\":true}", "rows" },
		{ HEAD "\"tables\":[" TABLE("a", "[1]", "1") "],\"end\":true}", "key" },
		{ HEAD "\"tables\":[" TABLE("a", "{}", "1") "],\"end\":true}", "key" },
		{ HEAD "\"tables\":[" TABLE("a", "[]", "1") "," TABLE("a", "[]", "1") "],\"end\":true}", "twice" },
		{ HEAD "\"tables\":[{\"name\":\"a\",\"rows\":1,\"sha256\":\"00\"}],\"end\":true}", "sha256" },
		{ HEAD "\"tables\":[7],\"end\":true}", "name" },
		{ "[]", "schema" },
	};

	(void)state;
	assert_null(manifest_parse(NULL, NULL, &(struct err){ 0 }));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *o = json_loads(cases[i].text, 0, NULL);
		struct err err = { 0 };

		assert_non_null(o);
		assert_null(manifest_parse(NULL, o, &err));
		assert_int_equal(err.kind, ERR_BROKEN);
		if (strstr(err.text, cases[i].about) == NULL)
			fail_msg("[%s] says nothing of [%s]", err.text, cases[i].about);
		json_decref(o);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(known_answers), cmocka_unit_test(questions),
		cmocka_unit_test(a_whole_manifest), cmocka_unit_test(what_is_no_whole_manifest) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
