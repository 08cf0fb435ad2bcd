#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/compare.h"

/* Our reader's words and the server's, beside one another: a table of what the server says otherwise. */

static const char ours_text[] =
	"{\"BackupName\": null, \"BackupType\": 2, \"Position\": 1, \"DatabaseName\": \"Tickets\", \"DatabaseVersion\": 904,"
	" \"FirstLSN\": \"40000000001600001\", \"LastLSN\": \"40000000003200001\", \"CheckpointLSN\": \"40000000001600001\","
	" \"DatabaseBackupLSN\": null, \"BackupSetGUID\": \"5af3e50d-a4e0-4e9b-8aef-fe52898c6359\", \"ForkPointLSN\": null,"
	" \"FamilyGUID\": \"e4b9b1b7-255c-4866-af1f-eb4a29e8c2c9\", \"IsCopyOnly\": false, \"BackupSize\": 8192, \"DeviceType\": null,"
	" \"BackupStartDate\": \"2019-05-02T21:00:55\", \"BackupTypeDescription\": \"Transaction Log\", \"provisional\": false,"
	" \"files\": [{\"FileId\": 1, \"Type\": \"D\", \"LogicalName\": \"Tickets\", \"PhysicalName\": \"C:\\\\t.mdf\", \"Size\": 8388608, \"CreateLSN\": null},"
	" {\"FileId\": 2, \"Type\": \"L\", \"LogicalName\": \"Tickets_log\", \"PhysicalName\": \"C:\\\\t.ldf\", \"Size\": null, \"CreateLSN\": null}]}";

/* As a server sends them: two sets in the file, text, zeroes for none, three columns of its own, one more file column. */
static const char headers_text[] =
	"[{\"Position\": \"1\", \"BackupType\": \"1\", \"FirstLSN\": \"1\", \"BackupSetGUID\": \"00000000-0000-0000-0000-000000000001\"},"
	" {\"Position\": \"2\", \"BackupName\": \"\", \"BackupType\": \"2\", \"DatabaseName\": \"Tickets\", \"DatabaseVersion\": \"904\","
	" \"FirstLSN\": \"40000000001600001\", \"LastLSN\": \"40000000003200001\", \"CheckpointLSN\": \"40000000001600001\","
	" \"DatabaseBackupLSN\": \"0\", \"BackupSetGUID\": \"5AF3E50D-A4E0-4E9B-8AEF-FE52898C6359\", \"ForkPointLSN\": null,"
	" \"FamilyGUID\": \"e4b9b1b7-255c-4866-af1f-eb4a29e8c2c9\", \"IsCopyOnly\": \"0\", \"BackupSize\": \"8192\", \"DeviceType\": \"2\","
	" \"BackupStartDate\": \"2019-05-02T21:00:55.000\", \"BackupTypeDescription\": \"LOG\", \"Containment\": \"0\"}]";
static const char files_text[] =
	"[{\"FileId\": \"1\", \"Type\": \"D \", \"LogicalName\": \"Tickets\", \"PhysicalName\": \"C:\\\\t.mdf\", \"Size\": \"8388608\", \"CreateLSN\": \"0\", \"IsPresent\": \"1\"},"
	" {\"FileId\": \"2\", \"Type\": \"L\", \"LogicalName\": \"Tickets_log\", \"PhysicalName\": \"C:\\\\t.ldf\", \"Size\": \"1048576\", \"CreateLSN\": \"0\"}]";

/* Where: 0 the header, 1 and 2 the files; value NULL takes the column away, "null" sets it to null. */
static const struct { const char *name; int where; const char *column, *value; size_t n; bool stops; const char *text; } rows[] = {
	{ "nothing", 0, NULL, NULL, 0, false, NULL },
	{ "set guid", 0, "BackupSetGUID", "5af3e50d-a4e0-4e9b-8aef-fe52898c6350", 1, true,
	  "BackupSetGUID is 5af3e50d-a4e0-4e9b-8aef-fe52898c6359 for our reader and 5af3e50d-a4e0-4e9b-8aef-fe52898c6350 for the server" },
	{ "family", 0, "FamilyGUID", "e4b9b1b7-255c-4866-af1f-eb4a29e8c2c8", 1, true, NULL },
	{ "first lsn", 0, "FirstLSN", "40000000001600002", 1, true, NULL },
	{ "last lsn", 0, "LastLSN", "40000000003200002", 1, true,
	  "LastLSN is 40000000003200001 for our reader and 40000000003200002 for the server" },
	{ "checkpoint", 0, "CheckpointLSN", "40000000003200002", 1, true, NULL },
	{ "base", 0, "DatabaseBackupLSN", "40000000000100001", 1, true, "DatabaseBackupLSN is none for our reader and 40000000000100001 for the server" },
	{ "base as NULL", 0, "DatabaseBackupLSN", "null", 0, false, NULL },
	{ "type", 0, "BackupType", "5", 1, true, NULL },
	{ "version", 0, "DatabaseVersion", "905", 1, true, NULL },
	{ "version as NULL", 0, "DatabaseVersion", "null", 1, true, "DatabaseVersion is 904 for our reader and none for the server" },
	{ "an LSN that is not sent", 0, "LastLSN", NULL, 0, false, NULL },
	{ "position", 0, "Position", "3", 1, true, "Position is 2 for our reader and no set of that position for the server" },
	{ "file type", 1, "Type", "L", 1, true, "file 1: Type is D for our reader and L for the server" },
	{ "logical name", 1, "LogicalName", "tickets", 1, true, NULL },
	{ "size", 1, "Size", "8388609", 1, true, "file 1: Size is 8388608 for our reader and 8388609 for the server" },
	{ "a size that our reader does not know", 2, "Size", "5", 0, false, NULL },
	{ "another file", 2, "FileId", "3", 2, true, "file 2 is Tickets_log for our reader and absent for the server; "
	  "file 3 is absent for our reader and Tickets_log for the server" },
	{ "name of the database", 0, "DatabaseName", "Tickets2", 1, false, "DatabaseName is Tickets for our reader and Tickets2 for the server" },
	{ "copy-only", 0, "IsCopyOnly", "1", 1, false, NULL },
	{ "backup size", 0, "BackupSize", "8193", 1, false, NULL },
	{ "start", 0, "BackupStartDate", "2019-05-02T21:00:56.000", 1, false, NULL },
	{ "physical name", 1, "PhysicalName", "D:\\t.mdf", 1, false, NULL },
	{ "an LSN that our reader may not know", 1, "CreateLSN", "7", 0, false, NULL },
	{ "what our reader does not know", 0, "BackupName", "nightly", 0, false, NULL },
	{ "how the server reads it", 0, "DeviceType", "9", 0, false, NULL },
	{ "words", 0, "BackupTypeDescription", "Transaction log", 0, false, NULL },
};

static json_t *
parsed(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static void
each_difference_is_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *ours = parsed(ours_text), *headers = parsed(headers_text), *files = parsed(files_text);
		json_t *at = rows[i].where == 0 ? json_array_get(headers, 1) : json_array_get(files, (size_t)rows[i].where - 1);
		TALLOC_CTX *mem = talloc_new(NULL);
		struct compare_result *r;

		print_message("%s\n", rows[i].name);
		if (rows[i].column != NULL && rows[i].value == NULL)
			json_object_del(at, rows[i].column);
		else if (rows[i].column != NULL)
			json_object_set_new(at, rows[i].column, strcmp(rows[i].value, "null") == 0 ? json_null() : json_string(rows[i].value));
		r = compare_set(mem, ours, 2, headers, files);
		assert_int_equal(r->n, rows[i].n);
		assert_int_equal(r->stops, rows[i].stops);
		assert_true((r->text == NULL) == (r->n == 0));
		if (rows[i].text != NULL)
			assert_string_equal(r->text, rows[i].text);
		talloc_free(mem);
		json_decref(ours);
		json_decref(headers);
		json_decref(files);
	}
}

/* What stops is told alone; what does not stop is in the list all the same. Long and hostile values are kept short. */
static void
what_stops_is_told_first(void **state)
{
	json_t *ours = parsed(ours_text), *headers = parsed(headers_text), *files = parsed(files_text), *list;
	TALLOC_CTX *mem = talloc_new(NULL);
	struct compare_result *r;
	char name[1025] = "";

	(void)state;
	for (int i = 0; i < 256; i++)
		strcat(name, "\xF0\x9F\x98\x80");
	json_object_set_new(json_array_get(headers, 1), "DatabaseName", json_string(name));
	json_object_set_new(json_array_get(headers, 1), "LastLSN", json_string("1"));
	r = compare_set(mem, ours, 2, headers, files);
	assert_int_equal(r->n, 2);
	assert_string_equal(r->text, "LastLSN is 40000000003200001 for our reader and 1 for the server");
	list = compare_json(r);
	assert_int_equal(json_array_size(list), 2);
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "stops")));
	assert_int_equal(strlen(json_string_value(json_object_get(json_array_get(list, 1), "theirs"))), 200);
	json_decref(list);
	talloc_free(mem);
	json_decref(ours);
	json_decref(headers);
	json_decref(files);
}

/* A server that sends nothing at all says nothing good. */
static void
empty_answers_stop(void **state)
{
	json_t *ours = parsed(ours_text), *none = json_array();
	TALLOC_CTX *mem = talloc_new(NULL);
	struct compare_result *r = compare_set(mem, ours, 1, none, none);

	(void)state;
	assert_true(r->stops);
	assert_int_equal(r->n, 3); /* the position and both files */
	talloc_free(mem);
	json_decref(ours);
	json_decref(none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_difference_is_judged), cmocka_unit_test(what_stops_is_told_first), cmocka_unit_test(empty_answers_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
