#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/run_sheet.h"
#include "common/statement.h"
#include "common/tsql.h"

/* Statements to the letter, whatever names the backups bring; and what a backout says. */

static const struct statement_place place = { "m_1", "\\\\spool\\vault", "D:\\Data", "E:\\Log\\" };

/* Brackets, quotes, a newline, T-SQL and characters beyond the first plane: all of it a name. */
#define EVIL "a]'; DROP DATABASE [x]--\n\xf0\x9f\x98\x80"
#define EVIL_TEXT "N'a]''; DROP DATABASE [x]--\n\xf0\x9f\x98\x80'"
#define EVIL_NAME "[a]]'; DROP DATABASE [x]]--\n\xf0\x9f\x98\x80]"

static struct plan_set
set_of(enum bak_type type, const char *const *files, size_t n)
{
	return (struct plan_set){ .id = 1, .type = type, .files = files, .n_files = n, .position = 3, .complete = true };
}

static void
a_full_moves_every_file_to_a_path_of_ours(void **state)
{
	const char *const names[] = { "x.bak", EVIL };
	const char *const vault[] = { "m-0001/vault/x.bak", "m-0001/vault/" EVIL };
	const struct restore_file files[] = { { 1, 'D', "Data" }, { 2, 'L', EVIL }, { 3, 'D', "More's" } };
	const int there[] = { 1, 2, 3 };
	struct plan_set set = set_of(BAK_FULL, names, 2);
	struct plan_step step = { .set = &set };
	char *s = statement_restore(NULL, &place, &step, &(struct statement_facts){ .vault_paths = vault, .files = files, .n_files = 3, .there = there,
		.n_there = 3 });

	(void)state;
	/* What is there before a full does not count: it is replaced. */
	assert_string_equal(s, "IF NOT EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id WHERE d.name = N'm_1'"
		" AND (d.state = 0 OR f.redo_start_lsn IS NOT NULL)) RESTORE DATABASE [m_1] FROM DISK = N'\\\\spool\\vault\\m-0001\\vault\\x.bak',"
		" DISK = N'\\\\spool\\vault\\m-0001\\vault\\a]''; DROP DATABASE [x]--\n\xf0\x9f\x98\x80' WITH FILE = 3, MOVE N'Data' TO N'D:\\Data\\m_1_1.mdf',"
		" MOVE " EVIL_TEXT " TO N'E:\\Log\\m_1_2.ldf', MOVE N'More''s' TO N'D:\\Data\\m_1_3.ndf', NORECOVERY, STATS = 5");
	talloc_free(s);
}

static void
a_differential_only_where_the_replica_stood(void **state)
{
	const char *const names[] = { "d.bak" }, *const vault[] = { "d.bak" };
	const struct restore_file files[] = { { 1, 'D', "Data" }, { 4, 'D', "New" } };
	const int there[] = { 1 };
	struct plan_set set = set_of(BAK_DIFFERENTIAL, names, 1);
	struct plan_step step = { .set = &set };
	char *s = statement_restore(NULL, &place, &step, &(struct statement_facts){ .vault_paths = vault, .files = files, .n_files = 2, .there = there,
		.n_there = 1, .redo = { 24, 68, 99 } });

	(void)state;
	assert_string_equal(s, "IF EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id WHERE d.name = N'm_1'"
		" AND d.state = 1 AND f.redo_start_lsn = 24000000006800099) RESTORE DATABASE [m_1] FROM DISK = N'\\\\spool\\vault\\d.bak' WITH FILE = 3,"
		" MOVE N'New' TO N'D:\\Data\\m_1_4.ndf', NORECOVERY, STATS = 5");
	talloc_free(s);
}

static void
a_log_stops_where_it_is_told(void **state)
{
	const char *const names[] = { "l.trn" }, *const vault[] = { "l.trn" };
	const struct restore_file files[] = { { 1, 'D', "Data" } };
	const int there[] = { 1 };
	struct plan_set set = set_of(BAK_LOG, names, 1);
	struct plan_step step = { .set = &set, .stop_at = { 2019, 5, 2, 21, 12, 27 } };
	struct statement_place linux_place = { "m_1", "/vault", "/data", NULL };
	char *s = statement_restore(NULL, &linux_place, &step, &(struct statement_facts){ .vault_paths = vault, .files = files, .n_files = 1,
		.there = there, .n_there = 1 });

	(void)state;
	assert_string_equal(s, "RESTORE LOG [m_1] FROM DISK = N'/vault/l.trn' WITH FILE = 3, STOPAT = N'2019-05-02T21:12:27', NORECOVERY, STATS = 5");
	talloc_free(s);
	s = statement_restore(NULL, &linux_place, &step, &(struct statement_facts){ .vault_paths = vault, .files = files, .n_files = 1,
		.there = there, .n_there = 1, .redo = { 24, 68, 99 } });
	assert_string_equal(s, "IF EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id WHERE d.name = N'm_1'"
		" AND d.state = 1 AND f.redo_start_lsn = 24000000006800099) RESTORE LOG [m_1] FROM DISK = N'/vault/l.trn' WITH FILE = 3,"
		" STOPAT = N'2019-05-02T21:12:27', NORECOVERY, STATS = 5");
	talloc_free(s);
	s = statement_recovery(NULL, "m_1", (struct lsn){ 24, 68, 99 });
	assert_string_equal(s, "IF EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id WHERE d.name = N'm_1'"
		" AND d.state = 1 AND f.redo_start_lsn = 24000000006800099) RESTORE DATABASE [m_1] WITH RECOVERY");
	talloc_free(s);
}

static void
a_copy_is_dropped_under_its_condition(void **state)
{
	(void)state;
	assert_string_equal(tsql_drop(NULL, "m_1", "24000000006800099"), "IF EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id ="
		" d.database_id WHERE d.name = N'm_1' AND d.state = 1 AND f.redo_start_lsn = 24000000006800099) DROP DATABASE [m_1]");
	assert_string_equal(tsql_drop(NULL, EVIL, NULL), "IF EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = " EVIL_TEXT " AND d.state = 1 AND NOT EXISTS"
		" (SELECT 1 FROM sys.master_files f WHERE f.database_id = d.database_id AND f.redo_start_lsn IS NOT NULL)) DROP DATABASE " EVIL_NAME);
	assert_string_equal(tsql_drop_online(NULL, "m_1"), "IF EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = N'm_1' AND d.state = 0) BEGIN ALTER DATABASE"
		" [m_1] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [m_1] END");
}

/* ---- the run sheet ------------------------------------------------------------------------------------------------ */

static const char *
source(json_t *sheet, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(sheet, "source"), i), key));
}

/* Every text of a list, to be searched. */
static char *
all(json_t *sheet, const char *key)
{
	char *s = json_dumps(json_object_get(sheet, key), JSON_ENSURE_ASCII);

	assert_non_null(s);
	return s;
}

static void
assert_says(json_t *sheet, const char *key, const char *words, bool want)
{
	char *s = all(sheet, key);

	if ((strstr(s, words) != NULL) != want)
		fail_msg("%s %s [%s]: %s", key, want ? "does not say" : "says", words, s);
	free(s);
}

static void
a_source_that_was_frozen_is_brought_back_first(void **state)
{
	const char *after[] = { "later.trn" };
	struct run_sheet_facts f = { .migration = "m-0001", .target_database = "m_1", .database = EVIL, .server = "SRV\\A", .tail = "tail.trn",
		.tail_finished = "2026-01-02T03:04:05", .tail_norecovery = true, .after = after, .n_after = 1, .reason = EVIL, .by = "ada" };
	json_t *sheet = run_sheet(&f);

	(void)state;
	assert_string_equal(source(sheet, 0, "statement"), "RESTORE DATABASE " EVIL_NAME " WITH RECOVERY");
	assert_string_equal(source(sheet, 0, "server"), "SRV\\A");
	assert_string_equal(source(sheet, 1, "statement"), "SELECT state_desc FROM sys.databases WHERE name = " EVIL_TEXT);
	for (size_t i = 0; i < json_array_size(json_object_get(sheet, "source")); i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(sheet, "source"), i), "step")), i + 1);
	assert_true(json_is_null(json_object_get(sheet, "lost")));
	assert_string_equal(json_string_value(json_object_get(sheet, "reason")), EVIL);
	assert_says(sheet, "after_tail", "later.trn", true);
	assert_says(sheet, "copy", "kept RESTORING", true);
	assert_says(sheet, "later", "new recovery fork", true);
	json_decref(sheet);
}

static void
a_source_that_runs_is_looked_at_first(void **state)
{
	struct run_sheet_facts f = { .migration = "m-0001", .target_database = "m_1", .database = "Sales", .server = "SRV", .tail = "log.trn",
		.agent_url = "https://agent.example.com/", .reason = "r", .by = "ada" };
	json_t *sheet = run_sheet(&f);

	(void)state;
	assert_string_equal(source(sheet, 0, "statement"), "SELECT state_desc FROM sys.databases WHERE name = N'Sales'");
	assert_non_null(strstr(source(sheet, 0, "what"), "is ONLINE there already"));
	assert_string_equal(source(sheet, 1, "statement"), "RESTORE DATABASE [Sales] WITH RECOVERY");
	assert_non_null(strstr(source(sheet, 1, "what"), "only if"));
	assert_non_null(strstr(source(sheet, 2, "what"), "https://agent.example.com/"));
	assert_says(sheet, "later", "the next log backup", true);
	assert_says(sheet, "later", "new recovery fork", false);
	json_decref(sheet);
}

static void
after_recovery_it_says_what_is_lost(void **state)
{
	struct run_sheet_facts f = { .migration = "m-0001", .target_database = "m_1", .database = "Sales", .server = "SRV", .tail = "tail.trn",
		.tail_norecovery = true, .recovered = true, .reason = "r", .by = "ada" };
	json_t *sheet = run_sheet(&f);

	(void)state;
	assert_non_null(strstr(json_string_value(json_object_get(sheet, "lost")), "is lost"));
	assert_non_null(strstr(source(sheet, 0, "what"), "switch off what uses the hosted copy"));
	assert_string_equal(source(sheet, 1, "statement"), "RESTORE DATABASE [Sales] WITH RECOVERY");
	assert_says(sheet, "copy", "kept ONLINE", true);
	assert_says(sheet, "copy", "migration drop", false);
	assert_says(sheet, "later", "in a new migration", true);
	json_decref(sheet);
}

static void
nothing_is_known_yet(void **state)
{
	struct run_sheet_facts f = { .migration = "m-0001", .target_database = "m_1", .reason = "\xff", .by = "ada" };
	json_t *sheet = run_sheet(&f);

	(void)state;
	assert_non_null(sheet);
	assert_null(source(sheet, 0, "statement"));
	assert_true(json_is_null(json_object_get(sheet, "reason")));
	json_decref(sheet);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_moves_every_file_to_a_path_of_ours),
		cmocka_unit_test(a_differential_only_where_the_replica_stood),
		cmocka_unit_test(a_log_stops_where_it_is_told),
		cmocka_unit_test(a_copy_is_dropped_under_its_condition),
		cmocka_unit_test(a_source_that_was_frozen_is_brought_back_first),
		cmocka_unit_test(a_source_that_runs_is_looked_at_first),
		cmocka_unit_test(after_recovery_it_says_what_is_lost),
		cmocka_unit_test(nothing_is_known_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
