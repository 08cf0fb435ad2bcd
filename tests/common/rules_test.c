#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <talloc.h>

#include "common/gates.h"
#include "common/err.h"
#include "common/lsn.h"
#include "common/row_hash.h"
#include "common/text.h"
#include "common/tsql.h"

/* Small pure rules: quoting, LSNs, hostile text, gates, the hash of rows. */

static void
identifiers_and_literals_are_quoted(void **state)
{
	(void)state;
	assert_string_equal(tsql_name(NULL, "a]; DROP DATABASE [x"), "[a]]; DROP DATABASE [x]");
	assert_string_equal(tsql_text(NULL, "it's"), "N'it''s'");
	assert_string_equal(tsql_data_path(NULL, "D:\\Data", "m_1", 1, 'D'), "D:\\Data\\m_1_1.mdf");
	assert_string_equal(tsql_data_path(NULL, "/data", "m_1", 2, 'L'), "/data/m_1_2.ldf");
	assert_string_equal(tsql_data_path(NULL, "/data/", "m_1", 3, 'D'), "/data/m_1_3.ndf");
	assert_string_equal(tsql_backup_path(NULL, "\\\\spool\\areas", "m-0001/vault/x.bak"), "\\\\spool\\areas\\m-0001\\vault\\x.bak");
}

static void
a_restore_is_one_statement_with_norecovery(void **state)
{
	const char *paths[] = { "/v/a.bak", "/v/b'.bak" };
	struct tsql_file_move moves[] = { { "Da'ta", "/d/x_1.mdf" } };
	struct tsql_restore r = { .database = "x", .paths = paths, .n_paths = 2, .position = 3, .moves = moves, .n_moves = 1 };

	(void)state;
	assert_string_equal(tsql_restore(NULL, &r), "RESTORE DATABASE [x] FROM DISK = N'/v/a.bak', DISK = N'/v/b''.bak' WITH FILE = 3, "
	                    "MOVE N'Da''ta' TO N'/d/x_1.mdf', NORECOVERY, STATS = 5");
	r = (struct tsql_restore){ .database = "x", .is_log = true, .paths = paths, .n_paths = 1, .position = 1, .stop_at = "2019-05-02T21:12:27" };
	assert_string_equal(tsql_restore(NULL, &r), "RESTORE LOG [x] FROM DISK = N'/v/a.bak' WITH FILE = 1, STOPAT = N'2019-05-02T21:12:27', "
	                    "NORECOVERY, STATS = 5");
}

static void
what_would_undo_a_restore_carries_its_condition(void **state)
{
	(void)state;
	assert_string_equal(tsql_onto_nothing(NULL, "x'y", "RESTORE"), "IF NOT EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON "
	                    "f.database_id = d.database_id WHERE d.name = N'x''y' AND (d.state = 0 OR f.redo_start_lsn IS NOT NULL)) RESTORE");
	assert_string_equal(tsql_at(NULL, "x", "39000000060800001", "RESTORE"), "IF EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON "
	                    "f.database_id = d.database_id WHERE d.name = N'x' AND d.state = 1 AND f.redo_start_lsn = 39000000060800001) RESTORE");
}

static void
what_preflight_asks_is_quoted(void **state)
{
	const char *paths[] = { "/d/x'_1.mdf", "/d/x_2.ldf" };

	(void)state;
	assert_string_equal(tsql_ask_folder(NULL, "D:\\it's"), "EXEC master.dbo.xp_fileexist N'D:\\it''s'");
	assert_string_equal(tsql_header(NULL, "/v/a'.bak"), "RESTORE HEADERONLY FROM DISK = N'/v/a''.bak'");
	assert_string_equal(tsql_file_list(NULL, "/v/a'.bak", 3), "RESTORE FILELISTONLY FROM DISK = N'/v/a''.bak' WITH FILE = 3");
	assert_non_null(strstr(tsql_ask_paths(NULL, paths, 2), "IN (N'/d/x''_1.mdf', N'/d/x_2.ldf')"));
	assert_non_null(strstr(tsql_ask_paths(NULL, paths, 0), "IN (NULL)"));
	assert_non_null(strstr(tsql_ask_group(NULL, "x'y"), "= N'x''y'"));
}

static void
lsns_are_read_and_written_alike(void **state)
{
	static const char *const texts[] = { "39000000060800001", "24000000006800099", "4294967295429496729565535", "1000000000100001" };
	struct lsn a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_true(lsn_parse(texts[i], &a));
		assert_string_equal(lsn_text(a).s, texts[i]);
	}
	assert_false(lsn_parse("12x", &a));
	assert_false(lsn_parse("99999999999999999999999999999", &a));
	assert_true(lsn_parse("24:68:99", &a));
	assert_true(lsn_parse("24000000006800099", &b));
	assert_int_equal(lsn_compare(a, b), 0);
	assert_true(lsn_parse(NULL, &a) && lsn_is_null(a));
}

static void
hostile_text_is_made_safe(void **state)
{
	(void)state;
	assert_string_equal(text_html(NULL, "<script>alert('x')&\"</script>"), "&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;&lt;/script&gt;");
	assert_null(strchr(text_escaped(NULL, "a\033[2Jb\n\rc"), '\033'));
	assert_null(strchr(text_escaped(NULL, "a\nb"), '\n'));
	assert_null(strstr(text_escaped(NULL, "\xE2\x80\xAE" "gnp.exe"), "\xE2\x80\xAE"));
	assert_false(text_is_utf8("\xC0\xAF", 2));
	assert_true(text_is_utf8("J\xC3\xB6rg", 5));
}

static void
gates_say_why_they_are_closed(void **state)
{
	struct lsn end = { 1, 2, 3 };
	struct gate_replica replicas[] = { { "a", "RESTORING", NULL, { 1, 2, 3 }, 1, false }, { "b", "RESTORING", NULL, { 1, 2, 2 }, 1, false } };
	struct gate_facts f = { .plan_known = true, .plan_complete = true, .cutover = true, .tail = "tail.trn", .tail_end = end, .tail_norecovery = true,
		.replicas = replicas, .n_replicas = 2 };
	struct gate g[GATE_N];

	(void)state;
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_CHAIN].open && g[GATE_FROZEN].open && g[GATE_QUIET].open);
	assert_false(g[GATE_REPLICAS].open);
	assert_non_null(strstr(g[GATE_REPLICAS].why, "b is RESTORING"));
	replicas[1].left_out = "broken disk";
	f.tail_norecovery = false;
	f.open_writers = 1;
	f.gap = "a log is missing";
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_REPLICAS].open);
	assert_false(g[GATE_CHAIN].open || g[GATE_FROZEN].open || g[GATE_QUIET].open);
	f.tail_waived = true;
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_FROZEN].open);
	/* What nobody has asked the server for lately is no proof; behind RECOVERY nobody asks any more. */
	replicas[0].asked = GATE_ASKED + 1;
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_REPLICAS].open);
	assert_non_null(strstr(g[GATE_REPLICAS].why, "a was last asked 61 s ago"));
	f.recovered = true;
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_REPLICAS].open);
}

/* A person's point to stop at stands in the place of the proof, and his reason is shown; redo is then before the tail's end. */
static void
a_point_to_stop_at_is_a_waiver_and_every_replica_is_there(void **state)
{
	struct gate_replica replicas[] = { { "a", "RESTORING", NULL, { 1, 1, 9 }, 1, true }, { "b", "RESTORING", NULL, { 1, 1, 9 }, 1, false } };
	struct gate_facts f = { .plan_known = true, .cutover = true, .replicas = replicas, .n_replicas = 2, .stop_at = "2024-01-01T02:10:00",
		.stop_reason = "the import at 02:11 was wrong", .stop_by = "ada", .awaits = "the log backup that contains 2024-01-01T02:10:00" };
	struct gate g[GATE_N];

	(void)state;
	gates_decide(NULL, &f, g);
	assert_string_equal(g[GATE_CHAIN].why, f.awaits);
	assert_string_equal(g[GATE_FROZEN].why, "waiting for the log backup that contains 2024-01-01T02:10:00, where the run is to end");
	assert_false(g[GATE_CHAIN].open || g[GATE_FROZEN].open || g[GATE_REPLICAS].open);
	f.awaits = NULL;
	f.plan_complete = f.stops = true;
	f.tail = "log3.trn";
	f.tail_end = (struct lsn){ 1, 2, 3 };
	f.stop_lsn = (struct lsn){ 1, 1, 9 };
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_CHAIN].open && g[GATE_FROZEN].open && g[GATE_QUIET].open);
	assert_string_equal(g[GATE_FROZEN].why, "the run ends at 2024-01-01T02:10:00, and what came after it is left behind, by the word of ada: "
	                    "the import at 02:11 was wrong");
	/* Beside the primary, but its server does not say that the log was restored: not there. */
	assert_string_equal(g[GATE_REPLICAS].why, "b is RESTORING at 1000000000100009; the run ends at 2024-01-01T02:10:00, where the primary is at 1000000000100009");
	replicas[1].stopped = true;
	replicas[1].redo = (struct lsn){ 1, 1, 8 };
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_REPLICAS].open);
	replicas[1].redo = (struct lsn){ 1, 1, 9 };
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_REPLICAS].open);
	/* The tail's end is past the point. */
	replicas[0].redo = replicas[1].redo = f.tail_end;
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_REPLICAS].open);
	/* The source was off before the point: the usual gates. */
	f.stops = false;
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_REPLICAS].open);
	assert_false(g[GATE_FROZEN].open);
	f.tail_norecovery = true;
	gates_decide(NULL, &f, g);
	assert_true(g[GATE_FROZEN].open && g[GATE_FROZEN].why == NULL);
	f.cutover = false;
	f.stops = true;
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_FROZEN].open);
}

/* A UAT copy takes nothing from the source and nobody works at it yet: it may come up whenever its chain is whole. */
static void
a_rehearsal_needs_only_the_first_gate(void **state)
{
	struct gate_replica replicas[] = { { "a", "absent", NULL, { 0 }, GATE_ASKED + 1, false } };
	struct gate_facts f = { .rehearsal = true, .plan_known = true, .plan_complete = true, .open_writers = 3, .running_steps = 1,
		.continuing = "log2.trn", .replicas = replicas, .n_replicas = 1 };
	struct gate g[GATE_N];

	(void)state;
	gates_decide(NULL, &f, g);
	for (int i = 0; i < GATE_N; i++)
		assert_true(g[i].open && g[i].why == NULL);
	f.gap = "a log is missing";
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_CHAIN].open);
	assert_string_equal(g[GATE_CHAIN].why, "a log is missing");
	assert_true(g[GATE_FROZEN].open && g[GATE_QUIET].open && g[GATE_REPLICAS].open);
	f.gap = NULL;
	f.plan_known = false;
	gates_decide(NULL, &f, g);
	assert_false(g[GATE_CHAIN].open);
	/* The same facts close every gate of a production run. */
	f.rehearsal = false;
	gates_decide(NULL, &f, g);
	for (int i = 0; i < GATE_N; i++)
		assert_false(g[i].open);
}

static char *
hash_of(const char *const rows[][2], size_t n)
{
	struct row_hash *h = row_hash_new(NULL);
	static char hex[65];

	for (size_t i = 0; i < n; i++) {
		size_t lengths[2] = { rows[i][0] == NULL ? 0 : strlen(rows[i][0]), rows[i][1] == NULL ? 0 : strlen(rows[i][1]) };

		row_hash_row(h, rows[i], lengths, 2);
	}
	assert_int_equal(row_hash_rows(h), n);
	row_hash_end(h, hex);
	talloc_free(h);
	return hex;
}

static void
the_hash_of_rows_tells_them_apart(void **state)
{
	static const char *const a[][2] = { { "1", "x" }, { "2", NULL } }, *const b[][2] = { { "1", "x" }, { "2", "" } },
		*const c[][2] = { { "1x", "" }, { "2", NULL } };
	char first[65];

	(void)state;
	strcpy(first, hash_of(a, 2));
	/* printf '\0\0\0\0\0\0\0\1''1''\0\0\0\0\0\0\0\1''x''\0\0\0\0\0\0\0\1''2''\377\377\377\377\377\377\377\377' | sha256sum */
	assert_string_equal(first, "c081cb589eeb86151add9410929915eaefda54319d32a4d3006e4e93f0c43da3");
	assert_string_not_equal(first, hash_of(b, 2));
	assert_string_not_equal(first, hash_of(c, 2));
}

static void
a_text_that_was_cut_ends_with_a_whole_character(void **state)
{
	static const char *const characters[] = { "x", "\u00e4", "\u20ac", "\U0001F600" };

	(void)state;
	/* Every length of what stands before it: the cut falls before, into and behind it. */
	for (size_t c = 0; c < sizeof(characters) / sizeof(characters[0]); c++)
		for (size_t before = sizeof(((struct err *)0)->text) - 8; before < sizeof(((struct err *)0)->text); before++) {
			struct err err = { 0 };

			err_set(&err, ERR_BUG, 0, "%*s%s%s%s", (int)before, "", characters[c], characters[c], characters[c]);
			assert_true(text_is_utf8(err.text, strlen(err.text)));
			err_under(&err, "%*s%s%s", (int)sizeof(err.text) / 2 - (int)c, "", characters[c], characters[c]);
			assert_true(text_is_utf8(err.text, strlen(err.text)));
			assert_true(strlen(err.text) > sizeof(err.text) / 2);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_and_literals_are_quoted), cmocka_unit_test(a_restore_is_one_statement_with_norecovery),
		cmocka_unit_test(what_would_undo_a_restore_carries_its_condition),
		cmocka_unit_test(what_preflight_asks_is_quoted),
		cmocka_unit_test(lsns_are_read_and_written_alike), cmocka_unit_test(hostile_text_is_made_safe),
		cmocka_unit_test(gates_say_why_they_are_closed),
		cmocka_unit_test(a_rehearsal_needs_only_the_first_gate),
		cmocka_unit_test(a_point_to_stop_at_is_a_waiver_and_every_replica_is_there), cmocka_unit_test(the_hash_of_rows_tells_them_apart),
		cmocka_unit_test(a_text_that_was_cut_ends_with_a_whole_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
