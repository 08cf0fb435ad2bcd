#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bak.h"
#include "tests/standin/listener.h"

/*
 * The stand-in's judgement, told as stories between an on-premise server and a hosted one. What must hold is
 * always the same: rows at the source = rows at the target, or the message number that SQL Server has for it.
 */

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct engine *source, *target;
	struct heard *last;
};

/* ---- listening ------------------------------------------------------------------------------------------------------ */

static struct heard *
listen_anew(struct world *w)
{
	return w->last = heard_new(w->mem, "engine_test");
}

static void
print_heard(const struct heard *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->messages[i].severity > 10)
			print_message("  %d: %s\n", h->messages[i].number, h->messages[i].text);
}

#define EXPECT_ERRORS(w, numbers)                                                \
	do {                                                                     \
		if (strcmp(heard_errors((w)->last), numbers) != 0)               \
			print_heard((w)->last);                                  \
		assert_string_equal(heard_errors((w)->last), numbers);           \
	} while (0)

/* ---- doing ------------------------------------------------------------------------------------------------------------ */

static struct engine *
open_server(struct world *w, const char *name)
{
	struct err err = { 0 };
	struct engine *e = engine_open(w->mem, talloc_asprintf(w->mem, "%s/%s", w->dir, name), name, &err);

	if (e == NULL)
		fail_msg("%s", err.text);
	return e;
}

static int
begin_world(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct world *w = talloc_zero(mem, struct world);
	const char *tmp = getenv("TMPDIR");

	w->mem = mem;
	w->dir = talloc_asprintf(mem, "%s/landfall-engine-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->source = open_server(w, "onprem");
	w->target = open_server(w, "hosted");
	listen_anew(w);
	*state = w;
	return 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;
	char *command = talloc_asprintf(w->mem, "rm -rf '%s'", w->dir);
	int status = system(command);

	talloc_free(w->mem);
	return status;
}

static const char *
at(struct world *w, const char *file)
{
	return talloc_asprintf(w->mem, "%s/%s", w->dir, file);
}

/* Statements that change rows, in one transaction; ddl tells those that change the schema. */
static void
change(struct world *w, struct engine *e, const char *database, const char *sql, bool ddl)
{
	struct heard *h = listen_anew(w);
	sqlite3 *db = engine_connect(e, database, &h->out);
	struct err err = { 0 };
	struct engine_tx *tx;
	char *said = NULL;

	if (db == NULL) {
		print_heard(h);
		fail_msg("no connection to %s", database);
	}
	tx = engine_begin(e, db, database, &err);
	if (tx == NULL)
		fail_msg("%s", err.text);
	if (sqlite3_exec(db, sql, NULL, NULL, &said) != SQLITE_OK)
		fail_msg("%s: %s", sql, said);
	if (ddl)
		engine_tx_ddl(tx, sql);
	if (!engine_commit(tx, &err))
		fail_msg("%s", err.text);
	engine_disconnect(e, db);
}

static void
make_sales(struct world *w, const char *name)
{
	assert_true(engine_create(w->source, name, &listen_anew(w)->out));
	change(w, w->source, name, "CREATE TABLE dbo.ticket(id INTEGER PRIMARY KEY, subject NVARCHAR(100), body BLOB)", true);
	change(w, w->source, name, "CREATE TABLE dbo.control(k NVARCHAR(50) PRIMARY KEY, rencthumbprint NVARCHAR(100))", true);
	change(w, w->source, name, "INSERT INTO dbo.control VALUES('one', NULL)", false);
}

static void
insert_tickets(struct world *w, const char *name, int from, int n)
{
	char *sql = talloc_asprintf(w->mem, "WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM c WHERE i < %d)"
		" INSERT INTO dbo.ticket SELECT i, 'ticket ' || i, randomblob(50) FROM c", from, from + n - 1);

	change(w, w->source, name, sql, false);
}

/* To one file, anew. */
static bool
backup_to(struct world *w, const char *path, struct engine_backup b)
{
	b.devices = &path;
	b.n_devices = 1;
	b.init = true;
	return engine_backup(w->source, &b, &listen_anew(w)->out);
}

static void
must_backup_to(struct world *w, const char *path, struct engine_backup b)
{
	if (!backup_to(w, path, b)) {
		print_heard(w->last);
		fail_msg("BACKUP to %s failed", path);
	}
}

static void full(struct world *w, const char *file)
{
	must_backup_to(w, at(w, file), (struct engine_backup){ .database = "Sales", .checksum = true });
}

static void diff(struct world *w, const char *file)
{
	must_backup_to(w, at(w, file), (struct engine_backup){ .database = "Sales", .differential = true });
}

static void blog(struct world *w, const char *file)
{
	must_backup_to(w, at(w, file), (struct engine_backup){ .database = "Sales", .log = true });
}

static void tail(struct world *w, const char *file)
{
	must_backup_to(w, at(w, file), (struct engine_backup){ .database = "Sales", .log = true, .norecovery = true });
}

static bool
restore_with(struct world *w, struct heard *h, enum engine_verb verb, const char *file, struct engine_restore more)
{
	const char *device = file == NULL ? NULL : file[0] == '/' ? file : at(w, file);
	struct engine_move moves[] = { { "Sales", at(w, "m1.mdf") }, { "Sales_log", at(w, "m1.ldf") } };

	more.verb = verb;
	if (more.database == NULL && verb <= ENGINE_RESTORE_LOG)
		more.database = "m0001";
	more.devices = &device;
	more.n_devices = file != NULL;
	if (more.file == 0)
		more.file = 1;
	if (verb == ENGINE_RESTORE_DATABASE && file != NULL && more.moves == NULL) {
		more.moves = moves;
		more.n_moves = 2;
	}
	return engine_restore(w->target, &more, &h->out);
}

static bool
restore(struct world *w, enum engine_verb verb, const char *file)
{
	return restore_with(w, listen_anew(w), verb, file, (struct engine_restore){ .norecovery = file != NULL });
}

#define MUST(w, what)                                                            \
	do {                                                                     \
		if (!(what)) {                                                   \
			print_heard((w)->last);                                  \
			fail_msg("%s", #what);                                   \
		}                                                                \
	} while (0)

static void database(struct world *w, const char *file) { MUST(w, restore(w, ENGINE_RESTORE_DATABASE, file)); }
static void log_of(struct world *w, const char *file) { MUST(w, restore(w, ENGINE_RESTORE_LOG, file)); }
static void recover(struct world *w) { MUST(w, restore(w, ENGINE_RESTORE_DATABASE, NULL)); }

static char *
rows(struct world *w, struct engine *e, const char *name, const char *table)
{
	struct heard *h = listen_anew(w);

	if (!engine_rows(e, name, table, &h->out)) {
		print_heard(h);
		fail_msg("rows of %s", table);
	}
	return h->rows;
}

static void
same_rows(struct world *w)
{
	static const char *const tables[] = { "dbo.ticket", "dbo.control" };

	for (size_t i = 0; i < 2; i++)
		assert_string_equal(rows(w, w->source, "Sales", tables[i]), rows(w, w->target, "m0001", tables[i]));
}

static const char *
query(struct world *w, struct engine *e, const char *sql)
{
	sqlite3 *db = engine_connect(e, "master", &listen_anew(w)->out);
	sqlite3_stmt *st = NULL;
	const char *value = NULL;

	assert_non_null(db);
	assert_true(engine_refresh_catalogue(e, db, ENGINE_OBJECTS | ENGINE_GROUPS));
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0) != NULL)
		value = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	engine_disconnect(e, db);
	return value;
}

static const char *
redo(struct world *w)
{
	return query(w, w->target, "SELECT f.redo_start_lsn FROM sys.master_files f JOIN sys.databases d ON d.database_id = f.database_id"
		" WHERE d.name = 'm0001' AND f.type = 0");
}

static const struct bak_set *
read_set(struct world *w, const char *file)
{
	const char *path = file[0] == '/' ? file : at(w, file);
	struct bak *b = bak_new(w->mem, NULL);
	FILE *f = fopen(path, "rb");
	static char buf[65536];
	struct err err = { 0 };
	size_t n;

	assert_non_null(f);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		if (!bak_feed(b, buf, n, &err))
			fail_msg("%s: %s", file, err.text);
	fclose(f);
	if (bak_finish(b) != BAK_END_WHOLE)
		fail_msg("%s: %s", file, bak_why(b));
	return bak_set(b, 0);
}

static off_t
size_of(struct world *w, const char *file)
{
	struct stat st;

	assert_int_equal(stat(at(w, file), &st), 0);
	return st.st_size;
}

/* ---- stories: what must come out ------------------------------------------------------------------------------------------- */

static void
rows_at_the_source_are_rows_at_the_target(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 500);
	full(w, "full.bak");
	database(w, "full.bak");
	same_rows(w);
	for (int i = 0; i < 3; i++) {
		const char *file = talloc_asprintf(w->mem, "log%d.trn", i);

		insert_tickets(w, "Sales", 1000 + 100 * i, 20);
		change(w, w->source, "Sales", "UPDATE dbo.ticket SET subject = 'changed ' || id WHERE id % 7 = 0", false);
		change(w, w->source, "Sales", "DELETE FROM dbo.ticket WHERE id % 11 = 0", false);
		blog(w, file);
		log_of(w, file);
		same_rows(w);
	}
	change(w, w->source, "Sales", "UPDATE dbo.control SET rencthumbprint = 'last word'", false);
	tail(w, "tail.trn");
	log_of(w, "tail.trn");
	assert_int_equal(engine_state(w->source, "Sales"), ENGINE_RESTORING);
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_RESTORING);
	assert_string_equal(redo(w), lsn_text(read_set(w, "tail.trn")->last_lsn).s);
	same_rows(w);
	recover(w);
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
	assert_null(redo(w));
	same_rows(w);
	change(w, w->target, "m0001", "INSERT INTO dbo.ticket(id, subject) VALUES(900001, 'a new life')", false);
}

static void
new_tables_travel_in_the_log(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	change(w, w->source, "Sales", "CREATE TABLE dbo.extra(id INTEGER PRIMARY KEY, v NVARCHAR(10))", true);
	change(w, w->source, "Sales", "INSERT INTO dbo.extra VALUES(1, 'one')", false);
	blog(w, "log.trn");
	database(w, "full.bak");
	log_of(w, "log.trn");
	assert_string_equal(rows(w, w->target, "m0001", "dbo.extra"), "id=1;v=one;\n");
}

static void
a_log_that_began_before_the_full_is_applied_once(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "first.bak");
	insert_tickets(w, "Sales", 1, 10);
	full(w, "full.bak");
	insert_tickets(w, "Sales", 100, 10);
	blog(w, "log.trn");
	assert_true(lsn_compare(read_set(w, "log.trn")->first_lsn, read_set(w, "full.bak")->last_lsn) < 0);
	database(w, "full.bak");
	log_of(w, "log.trn");
	same_rows(w);
}

static void
a_differential_stands_for_the_logs_before_it(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 3000);
	full(w, "full.bak");
	insert_tickets(w, "Sales", 5000, 50);
	blog(w, "log1.trn");
	change(w, w->source, "Sales", "DELETE FROM dbo.ticket WHERE id < 100", false);
	diff(w, "diff.bak");
	insert_tickets(w, "Sales", 6000, 50);
	blog(w, "log2.trn");
	assert_true(size_of(w, "diff.bak") < size_of(w, "full.bak"));
	database(w, "full.bak");
	database(w, "diff.bak");
	log_of(w, "log2.trn");
	same_rows(w);
}

/* Applied changes give the same rows and other pages: laid over those, a differential would lose rows. */
static void
a_differential_after_logs_replaces_what_they_added(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 2000);
	full(w, "full.bak");
	insert_tickets(w, "Sales", 5000, 400);
	blog(w, "log1.trn");
	change(w, w->source, "Sales", "UPDATE dbo.ticket SET body = randomblob(300) WHERE id % 3 = 0", false);
	diff(w, "diff1.bak");
	change(w, w->source, "Sales", "DELETE FROM dbo.ticket WHERE id % 5 = 0", false);
	diff(w, "diff2.bak");
	insert_tickets(w, "Sales", 9000, 5);
	blog(w, "log2.trn");
	database(w, "full.bak");
	log_of(w, "log1.trn");
	database(w, "diff1.bak");
	database(w, "diff2.bak");
	log_of(w, "log2.trn");
	same_rows(w);
}

static void
a_commit_larger_than_many_blocks_arrives(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	change(w, w->source, "Sales", "INSERT INTO dbo.ticket VALUES(1, 'big', randomblob(3000000)), (2, 'b', randomblob(59000)),"
		" (3, 'c', randomblob(61376)), (4, 'd', randomblob(448))", false);
	for (int i = 0; i < 40; i++)
		change(w, w->source, "Sales", talloc_asprintf(w->mem, "INSERT INTO dbo.ticket VALUES(%d, 'x', randomblob(%d))", 10 + i,
			380 + i * 7), false);
	must_backup_to(w, at(w, "log.trn"), (struct engine_backup){ .database = "Sales", .log = true, .checksum = true });
	database(w, "full.bak");
	log_of(w, "log.trn");
	same_rows(w);
	assert_true(read_set(w, "log.trn")->extents[0].blocks > 90);
}

static void
ten_rows_make_a_small_log_of_a_large_database(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	change(w, w->source, "Sales", "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)"
		" INSERT INTO dbo.ticket SELECT i, 'bulk', randomblob(1000000) FROM c", false);
	full(w, "full.bak");
	blog(w, "log0.trn");
	insert_tickets(w, "Sales", 100, 10);
	diff(w, "diff.bak");
	blog(w, "log.trn");
	assert_true(size_of(w, "full.bak") > 20000000);
	assert_true(size_of(w, "log.trn") < 256 * 1024);
	assert_true(size_of(w, "diff.bak") < 4 * 1024 * 1024);
	database(w, "full.bak");
	database(w, "diff.bak");
	log_of(w, "log.trn");
	same_rows(w);
}

static void
backups_say_what_they_are(void **state)
{
	struct world *w = *state;
	const struct bak_set *f, *d, *l, *t;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 10);
	full(w, "full.bak");
	assert_true(heard_number(w->last, 4035));
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3014);
	insert_tickets(w, "Sales", 100, 10);
	must_backup_to(w, at(w, "copy.bak"), (struct engine_backup){ .database = "Sales", .copy_only = true });
	diff(w, "diff.bak");
	blog(w, "log.trn");
	tail(w, "tail.trn");
	f = read_set(w, "full.bak");
	d = read_set(w, "diff.bak");
	l = read_set(w, "log.trn");
	t = read_set(w, "tail.trn");
	assert_int_equal(f->type, BAK_FULL);
	assert_true(f->flags & BAK_FLAG_CHECKSUMS);
	assert_true(f->csum_streams > 0);
	assert_true(f->pages[0].checked >= 16);
	assert_true(read_set(w, "copy.bak")->copy_only);
	assert_int_equal(d->type, BAK_DIFFERENTIAL);
	assert_true(guid_equal(d->differential_base_guid, f->backup_set_guid));
	assert_int_equal(lsn_compare(d->database_backup_lsn, f->checkpoint_lsn), 0);
	assert_int_equal(l->type, BAK_LOG);
	assert_true(lsn_compare(l->first_lsn, f->last_lsn) <= 0 && lsn_compare(l->last_lsn, f->last_lsn) >= 0);
	assert_int_equal(lsn_compare(t->first_lsn, l->last_lsn), 0);
	assert_int_equal(t->flags & 0x140, 0x140);
	assert_true(guid_equal(t->family_guid, f->family_guid));
	assert_true(guid_equal(t->recovery_fork_id, f->recovery_fork_id));
	/* A log's extents run without hole from the first to the last LSN. */
	assert_true(l->n_extents > 0);
	assert_int_equal(l->extents[0].start, l->extents[0].vlf_start + UINT64_C(512) * l->first_lsn.block);
	assert_int_equal(l->extents[l->n_extents - 1].end, l->extents[l->n_extents - 1].vlf_start + UINT64_C(512) * l->last_lsn.block);
}

static void
what_was_said_before_a_restart_holds_after_it(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 100);
	full(w, "full.bak");
	database(w, "full.bak");
	talloc_free(w->source);
	talloc_free(w->target);
	w->source = open_server(w, "onprem");
	w->target = open_server(w, "hosted");
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_RESTORING);
	insert_tickets(w, "Sales", 200, 10);
	blog(w, "log.trn");
	log_of(w, "log.trn");
	same_rows(w);
}

/* ---- stories: what must be refused, and with which number -------------------------------------------------------------------- */

static void
logs_in_the_wrong_order_get_the_servers_numbers(void **state)
{
	struct world *w = *state;
	const char *before;

	make_sales(w, "Sales");
	full(w, "full.bak");
	for (int i = 0; i < 3; i++) {
		insert_tickets(w, "Sales", 100 * i + 1, 10);
		blog(w, talloc_asprintf(w->mem, "log%d.trn", i));
	}
	assert_false(restore(w, ENGINE_RESTORE_LOG, "log0.trn"));
	EXPECT_ERRORS(w, "3118 3013");
	database(w, "full.bak");
	before = redo(w);
	assert_false(restore(w, ENGINE_RESTORE_LOG, "log1.trn"));
	EXPECT_ERRORS(w, "4305 3013");
	assert_non_null(strstr(heard_text(w->last, 4305), lsn_text(read_set(w, "log1.trn")->first_lsn).s));
	assert_non_null(strstr(heard_text(w->last, 4305), before));
	assert_string_equal(redo(w), before);
	log_of(w, "log0.trn");
	/* Equal to the redo point: accepted, and nothing changes. */
	before = redo(w);
	log_of(w, "log0.trn");
	assert_string_equal(redo(w), before);
	log_of(w, "log1.trn");
	assert_false(restore(w, ENGINE_RESTORE_LOG, "log0.trn"));
	EXPECT_ERRORS(w, "4326 3013");
	log_of(w, "log2.trn");
	recover(w);
	assert_false(restore(w, ENGINE_RESTORE_LOG, "log2.trn"));
	EXPECT_ERRORS(w, "3117 3013");
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, NULL));
	assert_true(heard_number(w->last, 3153));
	same_rows(w);
}

static void
a_switched_off_check_lets_the_gap_through(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	insert_tickets(w, "Sales", 1, 10);
	blog(w, "log0.trn");
	insert_tickets(w, "Sales", 100, 10);
	blog(w, "log1.trn");
	database(w, "full.bak");
	assert_true(engine_knob(w->target, "lsn_check", 0));
	MUST(w, restore(w, ENGINE_RESTORE_LOG, "log1.trn"));
	assert_string_not_equal(rows(w, w->source, "Sales", "dbo.ticket"), rows(w, w->target, "m0001", "dbo.ticket"));
}

static void
a_log_of_another_database_is_refused(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	make_sales(w, "Other");
	must_backup_to(w, at(w, "other.bak"), (struct engine_backup){ .database = "Other" });
	must_backup_to(w, at(w, "other.trn"), (struct engine_backup){ .database = "Other", .log = true });
	database(w, "full.bak");
	assert_false(restore(w, ENGINE_RESTORE_LOG, "other.trn"));
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3013);
	assert_true(heard_number(w->last, 4330) || heard_number(w->last, 3154) || heard_number(w->last, 4305));
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "other.bak"));
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3013);
}

static void
a_differential_of_another_full_is_refused(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "old.bak");
	insert_tickets(w, "Sales", 1, 10);
	full(w, "new.bak");
	insert_tickets(w, "Sales", 100, 10);
	diff(w, "diff.bak");
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "diff.bak"));
	EXPECT_ERRORS(w, "3118 3013");
	database(w, "old.bak");
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "diff.bak"));
	EXPECT_ERRORS(w, "3136 3013");
	database(w, "new.bak");
	database(w, "diff.bak");
	same_rows(w);
}

static void
write_file(struct world *w, const char *file, const char *text)
{
	FILE *f = fopen(at(w, file), "wb");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
devices_that_are_no_backup_get_the_servers_numbers(void **state)
{
	struct world *w = *state;
	static const struct { const char *file, *text; const char *errors; } cases[] = {
		{ "absent.bak", NULL, "3201 3013" },
		{ "empty.bak", "", "3254 3013" },
		{ "text.bak", "-- this is a script and no backup at all ------------------------------------------------------", "3241 3013" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].text != NULL)
			write_file(w, cases[i].file, cases[i].text);
		assert_false(restore(w, ENGINE_RESTORE_DATABASE, cases[i].file));
		EXPECT_ERRORS(w, cases[i].errors);
		assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ABSENT);
		assert_false(restore(w, ENGINE_HEADERONLY, cases[i].file));
		EXPECT_ERRORS(w, cases[i].errors);
	}
}

static void
a_truncated_backup_is_never_a_database(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 2000);
	full(w, "full.bak");
	assert_int_equal(truncate(at(w, "full.bak"), size_of(w, "full.bak") / 2), 0);
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "full.bak"));
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3013);
	assert_int_not_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
	assert_null(query(w, w->target, "SELECT 1 FROM msdb.restorehistory"));
}

static void
a_damaged_page_ends_the_restore(void **state)
{
	struct world *w = *state;
	FILE *f;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 2000);
	full(w, "full.bak");
	f = fopen(at(w, "full.bak"), "r+b");
	assert_non_null(f);
	fseek(f, 0x1E00 + 400 * 1024, SEEK_SET);
	fputs("damage", f);
	fclose(f);
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "full.bak"));
	assert_true(heard_number(w->last, 3183) || heard_number(w->last, 3189) || heard_number(w->last, 3241));
	assert_int_not_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
}

static void
planning_errors_leave_nothing_behind(void **state)
{
	struct world *w = *state;
	struct engine_move unknown[] = { { "Nonsense", at(w, "x.mdf") } };
	struct engine_move nowhere[] = { { "Sales", "/nonexistent/x.mdf" }, { "Sales_log", "/nonexistent/x.ldf" } };

	make_sales(w, "Sales");
	full(w, "full.bak");
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak",
		(struct engine_restore){ .norecovery = true, .moves = unknown, .n_moves = 1 }));
	EXPECT_ERRORS(w, "3234 3013");
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak",
		(struct engine_restore){ .norecovery = true, .moves = nowhere, .n_moves = 2 }));
	assert_true(heard_number(w->last, 5133) && heard_number(w->last, 3156) && heard_number(w->last, 3119));
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak", (struct engine_restore){ .norecovery = true, .file = 2 }));
	assert_true(heard_number(w->last, 3287) || heard_number(w->last, 4038));
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ABSENT);
	database(w, "full.bak");
	/* The paths belong to m0001 now. */
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak",
		(struct engine_restore){ .norecovery = true, .database = "m0002" }));
	EXPECT_ERRORS(w, "1834 3156 1834 3156 3119 3013");
	assert_int_equal(engine_state(w->target, "m0002"), ENGINE_ABSENT);
	same_rows(w);
}

static void
a_living_database_is_not_overwritten(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	database(w, "full.bak");
	assert_null(engine_connect(w->target, "m0001", &listen_anew(w)->out));
	assert_int_equal(w->last->messages[0].number, 927);
	recover(w);
	change(w, w->target, "m0001", "INSERT INTO dbo.ticket(id) VALUES(7)", false);
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "full.bak"));
	EXPECT_ERRORS(w, "3159 3013");
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
	make_sales(w, "Other");
	must_backup_to(w, at(w, "other.bak"), (struct engine_backup){ .database = "Other" });
	assert_false(restore(w, ENGINE_RESTORE_DATABASE, "other.bak"));
	EXPECT_ERRORS(w, "3154 3013");
	assert_true(engine_drop(w->target, "m0001", &listen_anew(w)->out));
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ABSENT);
	database(w, "full.bak");
	assert_true(engine_drop(w->target, "m0001", &listen_anew(w)->out));
}

static void
log_backups_need_a_full_and_the_full_model(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	assert_false(backup_to(w, at(w, "l.trn"), (struct engine_backup){ .database = "Sales", .log = true }));
	EXPECT_ERRORS(w, "4214 3013");
	assert_true(engine_alter(w->source, "Sales", "RECOVERY", "SIMPLE", &listen_anew(w)->out));
	full(w, "simple.bak");
	assert_string_equal(read_set(w, "simple.bak")->recovery_model, "SIMPLE");
	assert_false(backup_to(w, at(w, "l.trn"), (struct engine_backup){ .database = "Sales", .log = true }));
	EXPECT_ERRORS(w, "4208 3013");
	assert_false(backup_to(w, at(w, "n.bak"), (struct engine_backup){ .database = "Nobody" }));
	EXPECT_ERRORS(w, "911 3013");
	assert_false(backup_to(w, "/nonexistent/x.bak", (struct engine_backup){ .database = "Sales" }));
	EXPECT_ERRORS(w, "3201 3013");
}

static void
recovery_on_the_source_starts_a_new_fork(void **state)
{
	struct world *w = *state;
	const struct bak_set *t, *after;
	struct engine_restore again = { .verb = ENGINE_RESTORE_DATABASE, .database = "Sales" };

	make_sales(w, "Sales");
	full(w, "full.bak");
	insert_tickets(w, "Sales", 1, 5);
	tail(w, "tail.trn");
	/* Backout: the source comes back without loss and goes another way than the target. */
	MUST(w, engine_restore(w->source, &again, &listen_anew(w)->out));
	assert_int_equal(engine_state(w->source, "Sales"), ENGINE_ONLINE);
	insert_tickets(w, "Sales", 100, 5);
	full(w, "full2.bak");
	insert_tickets(w, "Sales", 200, 5);
	blog(w, "after.trn");
	t = read_set(w, "tail.trn");
	after = read_set(w, "after.trn");
	assert_true(guid_equal(t->family_guid, after->family_guid));
	assert_false(guid_equal(t->recovery_fork_id, after->recovery_fork_id));
	database(w, "full2.bak");
	log_of(w, "after.trn");
	same_rows(w);
}

static void
nothing_is_written_after_the_tail(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	sqlite3 *early;

	make_sales(w, "Sales");
	full(w, "full.bak");
	early = engine_connect(w->source, "Sales", &listen_anew(w)->out);
	assert_non_null(early);
	tail(w, "tail.trn");
	assert_null(engine_begin(w->source, early, "Sales", &err));
	assert_int_equal(err.code, 927);
	engine_disconnect(w->source, early);
}

/* ---- stories: broken off ------------------------------------------------------------------------------------------------------ */

/* A second process does it and dies by kill -9 inside; true when it really died there. */
static bool
die_restoring(struct world *w, enum engine_verb verb, const char *file, size_t after)
{
	pid_t pid;
	int status = 0;

	talloc_free(w->target);
	w->target = NULL;
	pid = fork();
	if (pid == 0) {
		struct heard *h;

		w->target = open_server(w, "hosted");
		h = listen_anew(w);
		h->die_after = after;
		restore_with(w, h, verb, file, (struct engine_restore){ .norecovery = true });
		_exit(0);
	}
	waitpid(pid, &status, 0);
	w->target = open_server(w, "hosted");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void
a_full_killed_anywhere_can_be_restored_again(void **state)
{
	struct world *w = *state;
	size_t deaths = 0;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 5000);
	full(w, "full.bak");
	insert_tickets(w, "Sales", 100000, 5);
	blog(w, "log.trn");
	for (size_t after = 1; after < 12; after += 3) {
		if (!die_restoring(w, ENGINE_RESTORE_DATABASE, "full.bak", after))
			break;
		deaths++;
		assert_int_not_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
		assert_null(query(w, w->target, "SELECT 1 FROM msdb.restorehistory"));
		assert_null(redo(w));
		assert_false(restore(w, ENGINE_RESTORE_LOG, "log.trn"));
		assert_false(restore(w, ENGINE_RESTORE_DATABASE, NULL));
		assert_int_not_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
	}
	assert_true(deaths > 0);
	database(w, "full.bak");
	log_of(w, "log.trn");
	same_rows(w);
}

static void
a_log_killed_anywhere_is_applied_exactly_once(void **state)
{
	struct world *w = *state;
	size_t deaths = 0;

	make_sales(w, "Sales");
	full(w, "full.bak");
	for (int i = 0; i < 40; i++)
		insert_tickets(w, "Sales", 1 + i * 200, 200);
	blog(w, "log0.trn");
	insert_tickets(w, "Sales", 100000, 5);
	blog(w, "log1.trn");
	database(w, "full.bak");
	for (size_t after = 1; after < 12; after += 2) {
		if (!die_restoring(w, ENGINE_RESTORE_LOG, "log0.trn", after))
			break;
		deaths++;
		assert_int_equal(engine_state(w->target, "m0001"), ENGINE_RESTORING);
		assert_false(restore(w, ENGINE_RESTORE_LOG, "log1.trn"));
		assert_true(heard_number(w->last, 4319) || heard_number(w->last, 4305));
	}
	assert_true(deaths > 0);
	log_of(w, "log0.trn");
	log_of(w, "log1.trn");
	same_rows(w);
}

static void
an_attention_leaves_the_database_restoring(void **state)
{
	struct world *w = *state;
	struct heard *h;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 5000);
	full(w, "full.bak");
	h = listen_anew(w);
	h->cancel_after = 2;
	assert_false(restore_with(w, h, ENGINE_RESTORE_DATABASE, "full.bak", (struct engine_restore){ .norecovery = true }));
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_RESTORING);
	assert_null(query(w, w->target, "SELECT 1 FROM msdb.restorehistory"));
	assert_null(query(w, w->target, "SELECT 1 FROM sys.dm_exec_requests"));
	database(w, "full.bak");
	same_rows(w);
}

static void
an_ordered_error_strikes_where_it_was_ordered(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 3000);
	full(w, "full.bak");
	assert_true(engine_knob(w->target, "fail_number", 3271));
	assert_true(engine_knob(w->target, "fail_at", 40));
	assert_false(engine_knob(w->target, "no_such_knob", 1));
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak", (struct engine_restore){ .norecovery = true, .stats = 5 }));
	assert_true(heard_number(w->last, 3271));
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3013);
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_RESTORING);
	assert_true(engine_knob(w->target, "fail_number", 0));
	database(w, "full.bak");
	same_rows(w);
}

/* ---- what RESTORE tells and shows ------------------------------------------------------------------------------------------------ */

static void
messages_come_one_done_each_and_end_with_3014(void **state)
{
	struct world *w = *state;
	size_t percents = 0;

	make_sales(w, "Sales");
	insert_tickets(w, "Sales", 1, 3000);
	full(w, "full.bak");
	MUST(w, restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, "full.bak", (struct engine_restore){ .norecovery = true, .stats = 10 }));
	for (size_t i = 0; i < w->last->n; i++) {
		assert_int_equal(w->last->messages[i].severity <= 10, 1);
		percents += w->last->messages[i].number == 3211;
	}
	assert_int_equal(percents, 10);
	assert_string_equal(w->last->messages[percents - 1].text, "100 percent processed.");
	assert_int_equal(w->last->messages[w->last->n - 1].number, 3014);
	assert_true(w->last->n_done_more >= w->last->n - 1);
	assert_string_equal(query(w, w->target, "SELECT restore_type || recovery FROM msdb.restorehistory"), "D0");
	assert_string_equal(query(w, w->target, "SELECT b.backup_set_uuid FROM msdb.restorehistory h JOIN msdb.backupset b"
		" ON b.backup_set_id = h.backup_set_id WHERE h.destination_database_name = 'M0001'"),
		guid_text(read_set(w, "full.bak")->backup_set_guid).s);
}

static void
header_and_file_list_have_the_servers_columns(void **state)
{
	struct world *w = *state;

	make_sales(w, "Sales");
	full(w, "full.bak");
	MUST(w, restore(w, ENGINE_HEADERONLY, "full.bak"));
	assert_int_equal(w->last->n_columns, 56);
	assert_int_equal(w->last->n_rows, 1);
	assert_non_null(strstr(w->last->rows, "BackupType=1;"));
	assert_non_null(strstr(w->last->rows, "DatabaseName=Sales;"));
	assert_non_null(strstr(w->last->rows, talloc_asprintf(w->mem, "LastLSN=%s;", lsn_text(read_set(w, "full.bak")->last_lsn).s)));
	assert_non_null(strstr(w->last->rows, "RecoveryModel=FULL;"));
	MUST(w, restore(w, ENGINE_FILELISTONLY, "full.bak"));
	assert_int_equal(w->last->n_columns, 22);
	assert_int_equal(w->last->n_rows, 2);
	assert_non_null(strstr(w->last->rows, "LogicalName=Sales_log;"));
	MUST(w, restore(w, ENGINE_LABELONLY, "full.bak"));
	assert_int_equal(w->last->n_columns, 13);
	assert_int_equal(w->last->n_rows, 1);
	MUST(w, restore(w, ENGINE_VERIFYONLY, "full.bak"));
	assert_true(heard_number(w->last, 3262));
}

static void
a_restore_is_seen_while_it_runs(void **state)
{
	struct world *w = *state;

	/* The cancelled() callback is a second session's moment to look. */
	make_sales(w, "Sales");
	full(w, "full.bak");
	database(w, "full.bak");
	assert_null(query(w, w->target, "SELECT 1 FROM sys.dm_exec_requests"));
	assert_string_equal(query(w, w->target, "SELECT state_desc FROM sys.databases WHERE name = 'M0001'"), "RESTORING");
}

/* ---- real files --------------------------------------------------------------------------------------------------------------------- */

static const char *
real(struct world *w, const char *file)
{
	const char *dir = getenv("LANDFALL_BACKUPS");
	char *path, full_path[4096];

	if (dir == NULL || dir[0] == '\0')
		return NULL;
	path = talloc_asprintf(w->mem, "%s/%s", dir, file);
	return realpath(path, full_path) == NULL ? NULL : talloc_strdup(w->mem, full_path);
}

static void
need_real(struct world *w, const char *test)
{
	if (real(w, "chain-2016/RestoreTimeClean.bak") != NULL)
		return;
	printf("SKIP %s: no real backups (LANDFALL_BACKUPS)\n", test);
	skip();
}

static bool
restore_real(struct world *w, enum engine_verb verb, const char *file)
{
	struct engine_move moves[] = { { "RestoreTimeClean", at(w, "r.mdf") }, { "RestoreTimeClean_log", at(w, "r.ldf") } };

	return restore_with(w, listen_anew(w), verb, real(w, file), (struct engine_restore){ .norecovery = true,
		.moves = verb == ENGINE_RESTORE_DATABASE ? moves : NULL, .n_moves = verb == ENGINE_RESTORE_DATABASE ? 2 : 0 });
}

static void
the_chain_of_2016_restores_as_it_did_on_real_servers(void **state)
{
	static const struct { enum engine_verb verb; const char *file; } steps[] = {
		{ ENGINE_RESTORE_DATABASE, "chain-2016/RestoreTimeClean.bak" },
		{ ENGINE_RESTORE_DATABASE, "chain-2016/RestoreTimeClean2.bak" },
		{ ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean2_1.trn" },
		{ ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean2_2.trn" },
		{ ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean2_3.trn" },
	};
	struct world *w = *state;

	need_real(w, "the_chain_of_2016_restores_as_it_did_on_real_servers");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (i == 2) {
			assert_false(restore_real(w, ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean2_2.trn"));
			EXPECT_ERRORS(w, "4305 3013");
			assert_false(restore_real(w, ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean_1.trn"));
			EXPECT_ERRORS(w, "4326 3013");
		}
		MUST(w, restore_real(w, steps[i].verb, steps[i].file));
		assert_string_equal(redo(w), lsn_text(read_set(w, real(w, steps[i].file))->last_lsn).s);
	}
	recover(w);
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ONLINE);
	assert_true(engine_pages(w->target, "m0001", &listen_anew(w)->out));
	assert_non_null(strstr(w->last->rows, "bad=0;"));
	assert_null(strstr(w->last->rows, "checked=0;"));
}

static void
the_logs_of_2016_alone_reach_the_differential(void **state)
{
	struct world *w = *state;

	need_real(w, "the_logs_of_2016_alone_reach_the_differential");
	MUST(w, restore_real(w, ENGINE_RESTORE_DATABASE, "chain-2016/RestoreTimeClean.bak"));
	for (int i = 1; i <= 3; i++)
		MUST(w, restore_real(w, ENGINE_RESTORE_LOG, talloc_asprintf(w->mem, "chain-2016/RestoreTimeClean_%d.trn", i)));
	MUST(w, restore_real(w, ENGINE_RESTORE_LOG, "chain-2016/RestoreTimeClean2_1.trn"));
}

static void
a_backup_from_a_newer_server_is_refused(void **state)
{
	struct world *w = *state;
	struct engine_move none[] = { { "x", "x" } };

	need_real(w, "a_backup_from_a_newer_server_is_refused");
	assert_false(restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, real(w, "half-stripe/Chinook-2025-1of2.bak"),
		(struct engine_restore){ .norecovery = true, .moves = none }));
	assert_true(heard_number(w->last, 3132) || heard_number(w->last, 3169));
	assert_int_equal(engine_state(w->target, "m0001"), ENGINE_ABSENT);
}

/* What must be said to a real full: by what the reader knows of it. */
static const char *
expected_of(const struct bak *b)
{
	const struct bak_set *s = bak_n_sets(b) == 0 ? NULL : bak_set(b, 0);

	if (bak_media(b) != NULL && bak_media(b)->has_password)
		return "3279 3013";
	if (bak_media(b) != NULL && bak_media(b)->family_count > 1)
		return "3132 3013";
	return s != NULL && s->database_version > 904 ? "3169 3013" : "";
}

/* Every page that the data file has says itself that it belongs there. */
static size_t
pages_at_their_place(struct world *w, const char *path, const struct bak_file *f)
{
	static uint8_t page[8192];
	FILE *in = fopen(path, "rb");
	size_t n = 0;

	assert_non_null(in);
	for (uint32_t k = 0; fread(page, 1, sizeof(page), in) == sizeof(page); k++) {
		uint32_t id = (uint32_t)page[0x20] | (uint32_t)page[0x21] << 8 | (uint32_t)page[0x22] << 16 | (uint32_t)page[0x23] << 24;
		unsigned file = (unsigned)page[0x24] | (unsigned)page[0x25] << 8;

		if (page[0] == 0)
			continue;
		if (id != k || file != f->file_id)
			fail_msg("%s: page (%u:%u) stands at page %u", path, file, id, k);
		n++;
	}
	fclose(in);
	(void)w;
	return n;
}

static size_t
restore_real_full(struct world *w, const char *path)
{
	struct bak *b = bak_new(w->mem, NULL);
	FILE *f = fopen(path, "rb");
	static char buf[65536];
	struct err err = { 0 };
	const struct bak_set *s;
	struct engine_move *moves;
	const char *expected;
	size_t n, pages = 0;
	bool good;

	assert_non_null(f);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0 && bak_feed(b, buf, n, &err))
		continue;
	fclose(f);
	bak_finish(b);
	s = bak_n_sets(b) == 0 ? NULL : bak_set(b, 0);
	if (s != NULL && s->type != BAK_FULL)
		return 0;
	expected = expected_of(b);
	moves = talloc_array(w->mem, struct engine_move, s == NULL ? 1 : s->n_files + 1);
	for (size_t i = 0; s != NULL && i < s->n_files; i++)
		moves[i] = (struct engine_move){ s->files[i].logical_name, at(w, talloc_asprintf(w->mem, "real-%zu.file", i)) };
	good = restore_with(w, listen_anew(w), ENGINE_RESTORE_DATABASE, path, (struct engine_restore){ .database = "real", .norecovery = true, .moves = moves,
		.n_moves = s == NULL ? 0 : s->n_files });
	if (strcmp(heard_errors(w->last), expected) != 0) {
		print_heard(w->last);
		fail_msg("%s: expected [%s], got [%s]", path, expected, heard_errors(w->last));
	}
	for (size_t i = 0; good && i < s->n_files; i++)
		if (s->files[i].type == 'D')
			pages += pages_at_their_place(w, moves[i].path, &s->files[i]);
	if (good)
		assert_true(engine_drop(w->target, "real", &listen_anew(w)->out));
	talloc_free(b);
	return pages;
}

static void
real_stripes_restore_together(void **state)
{
	static const char *const pairs[][2] = {
		{ "striped/Stripe1/RestoreTimeStripe.bak", "striped/Stripe2/RestoreTimeStripe1.bak" },
		{ "striped/Stripe1/RestoreTimeStripe_1.trn", "striped/Stripe2/RestoreTimeStripe_1a.trn" },
		{ "striped/Stripe1/RestoreTimeStripe_2.trn", "striped/Stripe2/RestoreTimeStripe_2a.trn" },
		{ "striped/Stripe1/RestoreTimeStripe_3.trn", "striped/Stripe2/RestoreTimeStripe_3a.trn" },
	};
	struct world *w = *state;
	struct engine_move moves[] = { { "RestoreTimeStripe", at(w, "s.mdf") }, { "RestoreTimeStripe_log", at(w, "s.ldf") } };

	need_real(w, "real_stripes_restore_together");
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		/* In either order. */
		const char *devices[] = { real(w, pairs[i][i % 2]), real(w, pairs[i][1 - i % 2]) };
		struct engine_restore r = { .verb = i == 0 ? ENGINE_RESTORE_DATABASE : ENGINE_RESTORE_LOG, .database = "m0001", .devices = devices,
			.n_devices = 2, .file = 1, .norecovery = true, .moves = moves, .n_moves = i == 0 ? 2 : 0 };

		MUST(w, engine_restore(w->target, &r, &listen_anew(w)->out));
		assert_string_equal(redo(w), lsn_text(read_set(w, devices[0])->last_lsn).s);
	}
}

static struct world *walking;
static size_t files_walked, pages_walked;

static int
walk(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)where;
	if (type == FTW_F && strlen(path) > 4 && strcasecmp(path + strlen(path) - 4, ".bak") == 0) {
		pages_walked += restore_real_full(walking, path);
		files_walked++;
	}
	return 0;
}

static void
every_real_full_restores_or_says_why_not(void **state)
{
	char folder[4096];

	need_real(*state, "every_real_full_restores_or_says_why_not");
	walking = *state;
	files_walked = pages_walked = 0;
	assert_non_null(realpath(getenv("LANDFALL_BACKUPS"), folder));
	assert_int_equal(nftw(folder, walk, 16, FTW_PHYS), 0);
	print_message("# %zu real files, %zu pages at their place\n", files_walked, pages_walked);
	assert_true(files_walked > 20 && pages_walked > 1000);
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, begin_world, end_world)
	const struct CMUnitTest tests[] = {
		STORY(rows_at_the_source_are_rows_at_the_target),
		STORY(new_tables_travel_in_the_log),
		STORY(a_log_that_began_before_the_full_is_applied_once),
		STORY(a_differential_stands_for_the_logs_before_it),
		STORY(a_differential_after_logs_replaces_what_they_added),
		STORY(a_commit_larger_than_many_blocks_arrives),
		STORY(ten_rows_make_a_small_log_of_a_large_database),
		STORY(backups_say_what_they_are),
		STORY(what_was_said_before_a_restart_holds_after_it),
		STORY(logs_in_the_wrong_order_get_the_servers_numbers),
		STORY(a_switched_off_check_lets_the_gap_through),
		STORY(a_log_of_another_database_is_refused),
		STORY(a_differential_of_another_full_is_refused),
		STORY(devices_that_are_no_backup_get_the_servers_numbers),
		STORY(a_truncated_backup_is_never_a_database),
		STORY(a_damaged_page_ends_the_restore),
		STORY(planning_errors_leave_nothing_behind),
		STORY(a_living_database_is_not_overwritten),
		STORY(log_backups_need_a_full_and_the_full_model),
		STORY(recovery_on_the_source_starts_a_new_fork),
		STORY(nothing_is_written_after_the_tail),
		STORY(a_full_killed_anywhere_can_be_restored_again),
		STORY(a_log_killed_anywhere_is_applied_exactly_once),
		STORY(an_attention_leaves_the_database_restoring),
		STORY(an_ordered_error_strikes_where_it_was_ordered),
		STORY(messages_come_one_done_each_and_end_with_3014),
		STORY(header_and_file_list_have_the_servers_columns),
		STORY(a_restore_is_seen_while_it_runs),
		STORY(the_chain_of_2016_restores_as_it_did_on_real_servers),
		STORY(the_logs_of_2016_alone_reach_the_differential),
		STORY(a_backup_from_a_newer_server_is_refused),
		STORY(every_real_full_restores_or_says_why_not),
		STORY(real_stripes_restore_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
