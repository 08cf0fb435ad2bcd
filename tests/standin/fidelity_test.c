#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/standin/engine.h"
#include "tests/standin/fidelity_rows.h"
#include "tests/standin/teller.h"

/*
 * Which tokens a statement is answered with: every message's number, state and class, every DONE's status and
 * command. The rows are in fidelity_rows.c, which tests/sqlserver asks a real server.
 */

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct engine *source, *target;
	struct teller told;
};

/* ---- doing ---------------------------------------------------------------------------------------------------------- */

static char *
filled(struct world *w, const char *text)
{
	return fidelity_fill(w->mem, text, &(struct fidelity_names){ .folder = w->dir, .prefix = "", .stop_at = "", .release = 2019 });
}

static struct tsql_session *
session(struct world *w, struct engine *e, const char *login)
{
	struct err err = { 0 };
	struct tsql_session *s = teller_session(w->mem, &w->told, e, login, 60, &err);

	if (s == NULL)
		fail_msg("%s: %s", login, err.text);
	return s;
}

static void
say_sql(struct world *w, struct tsql_session *s, const char *sql)
{
	teller_run(&w->told, s, filled(w, sql));
}

static void
as(struct world *w, struct engine *e, const char *login, const char *sql)
{
	struct tsql_session *s = session(w, e, login);

	say_sql(w, s, sql);
	talloc_free(s);
}

static void
must(struct world *w, struct engine *e, const char *sql)
{
	as(w, e, "sa", sql);
	if (w->told.had_error)
		fail_msg("%s: %s", sql, w->told.text);
}

static void
write_file(struct world *w, const char *name, const void *mem, size_t len)
{
	FILE *f = fopen(filled(w, name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(mem, 1, len, f), len);
	fclose(f);
}

/* ---- media that every row may use -------------------------------------------------------------------------------------- */

static void
make_database(struct world *w, const char *name)
{
	must(w, w->source, talloc_asprintf(w->mem, "CREATE DATABASE [%s]", name));
	must(w, w->source, talloc_asprintf(w->mem, "USE [%s] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)", name));
	must(w, w->source, talloc_asprintf(w->mem, "USE [%s] INSERT INTO dbo.t VALUES (1, N'one')", name));
}

static void
make_backups(struct world *w)
{
	struct err err = { 0 };
	size_t n;
	const char *const *steps = fidelity_media(&n);

	for (size_t i = 0; i < n; i++)
		must(w, w->source, steps[i]);
	assert_true(engine_set_release(w->source, 2022));
	make_database(w, "Newer");
	must(w, w->source, "BACKUP DATABASE [Newer] TO DISK = N'$/newer.bak' WITH INIT");
	assert_true(engine_set_release(w->source, 2016));
	make_database(w, "Older");
	must(w, w->source, "BACKUP DATABASE [Older] TO DISK = N'$/older.bak' WITH INIT");
	assert_true(engine_set_release(w->source, 2019));
	if (!fidelity_bad_media(w->mem, w->dir, &err))
		fail_msg("%s", err.text);
}

/* ---- playing them ---------------------------------------------------------------------------------------------------------- */

static void
begin_row(struct world *w)
{
	size_t n;
	const struct engine_knob *knobs = engine_knobs(&n);

	for (size_t i = 0; i < n; i++)
		assert_true(engine_knob(w->target, knobs[i].name, knobs[i].standard));
	must(w, w->target, "DROP DATABASE IF EXISTS [m1]");
	must(w, w->target, "DROP DATABASE IF EXISTS [m2]");
}

static void
prepare_row(struct world *w, const struct fidelity_row *row, struct tsql_session **inside)
{
	char name[64];
	long value;

	for (size_t i = 0; i < FIDELITY_BEFORE && row->before[i] != NULL; i++) {
		if (sscanf(row->before[i], "knob:%63s %ld", name, &value) == 2) {
			assert_true(engine_knob(w->target, name, value));
		} else if (strncmp(row->before[i], "inside:", 7) == 0) {
			*inside = session(w, w->target, "sa");
			(*inside)->spid = 61;
			say_sql(w, *inside, talloc_asprintf(w->mem, "USE [%s]", row->before[i] + 7));
			assert_false(w->told.had_error);
		} else {
			must(w, w->target, row->before[i]);
		}
	}
}

static bool
row_is_right(struct world *w, const struct fidelity_row *row)
{
	const char *says = row->says == NULL ? "" : filled(w, row->says);
	bool by_stranger = strncmp(row->statement, "stranger:", 9) == 0;

	as(w, w->target, by_stranger ? "stranger" : "sa", row->statement + (by_stranger ? 9 : 0));
	if (strcmp(w->told.tokens, filled(w, row->tokens)) == 0 && strncmp(w->told.text, says, strlen(says)) == 0)
		return true;
	print_message("# %s\n#   expected %s\n#   got      %s\n#   saying   %s\n", row->name, row->tokens, w->told.tokens, w->told.text);
	return false;
}

static void
every_statement_has_its_tokens(void **state)
{
	struct world *w = *state;
	size_t bad = 0, n;
	const struct fidelity_row *rows = fidelity_rows(&n);

	for (size_t i = 0; i < n; i++) {
		struct tsql_session *inside = NULL;

		begin_row(w);
		prepare_row(w, &rows[i], &inside);
		bad += !row_is_right(w, &rows[i]);
		talloc_free(inside);
	}
	print_message("# %zu statements, %zu wrong\n", n, bad);
	assert_int_equal(bad, 0);
}

/* ---- columns by release ------------------------------------------------------------------------------------------------------ */

static void
columns_are_those_of_the_release(void **state)
{
	static const struct { int year; const char *tokens; } releases[] = {
		{ 2016, "C56 R1 D17:230 D0:250" }, { 2019, "C56 R1 D17:230 D0:250" }, { 2022, "C59 R1 D17:230 D0:250" },
	};
	/* A few whose type on the wire is not the documented one, and the three that came in 2022. */
	static const char *const types[] = { "BackupName:8:128 ", "BackupDescription:8:255 ", "BackupType:0:1 ", "Position:0:2 ", "BackupSize:0:8 ",
		"FirstLSN:2:0 ", "RecoveryModel:8:60 ", "EncryptorThumbprint:10:20 " };
	static const char *const newer[] = { "LastValidRestoreTime:4:8 ", "TimeZone:0:2 ", "CompressionAlgorithm:8:32 " };
	struct world *w = *state;

	begin_row(w);
	for (size_t r = 0; r < 3; r++) {
		assert_true(engine_set_release(w->target, releases[r].year));
		as(w, w->target, "sa", "RESTORE HEADERONLY FROM DISK = N'$/older.bak'");
		assert_string_equal(w->told.tokens, releases[r].tokens);
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (strstr(w->told.names, types[i]) == NULL)
				fail_msg("%s is not in %s", types[i], w->told.names);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(strstr(w->told.names, newer[i]) != NULL, releases[r].year == 2022);
	}
	as(w, w->target, "sa", "RESTORE FILELISTONLY FROM DISK = N'$/older.bak'");
	assert_non_null(strstr(w->told.names, "Type:9:1 "));
	assert_non_null(strstr(w->told.names, "PhysicalName:8:260 "));
	assert_non_null(strstr(w->told.names, "SnapshotUrl:8:336 "));
	as(w, w->target, "sa", "SELECT SERVERPROPERTY('ProductVersion'), DATABASEPROPERTYEX(N'master', N'Version')");
	assert_string_equal(w->told.tokens, "C2 R1 D16:193");
	/* 2022 restores what 2019 refuses. */
	must(w, w->target, INTO("newer.bak", "Newer"));
	assert_true(engine_set_release(w->target, 2019));
}

/* ---- states --------------------------------------------------------------------------------------------------------------------- */

static const char *
value(struct world *w, const char *sql)
{
	as(w, w->target, "sa", sql);
	return w->told.first_row;
}

static void
standby_is_online_and_read_only(void **state)
{
	struct world *w = *state;

	begin_row(w);
	must(w, w->target, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales"));
	must(w, w->target, "USE [m1] SELECT COUNT(*) FROM dbo.t");
	must(w, w->target, LOG("log1.trn"));
	as(w, w->target, "sa", "USE [m1]");
	assert_string_equal(w->told.tokens, "E927.2.14 D2:226");
	must(w, w->target, "RESTORE LOG [m1] FROM DISK = N'$/log2.trn' WITH STANDBY = N'$/undo'");
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_ONLINE);
	/* Without its undo file the whole chain begins again. */
	assert_int_equal(unlink(filled(w, "$/undo")), 0);
	as(w, w->target, "sa", LOG("log3.trn"));
	assert_string_equal(w->told.tokens, LOG_REFUSED("E3441.1.17"));
	must(w, w->target, "RESTORE DATABASE [m1] WITH RECOVERY");
	must(w, w->target, "USE [m1] INSERT INTO dbo.t VALUES (100, N'writable again')");
}

/* A transaction WITH MARK is a place that RESTORE LOG stops at, with it or before it; an LSN is one too. */
static void
logs_stop_at_marks(void **state)
{
	static const struct { const char *stop, *rows; } stops[] = {
		{ "STOPATMARK = N'deploy'", "R2" }, { "STOPBEFOREMARK = N'deploy'", "R1" }, { "STOPATMARK = N'no such mark'", "R3" },
		{ "STOPBEFOREMARK = N'lsn:1'", "R1" }, { "STOPATMARK = N'lsn:99000000000000000000'", "R3" },
	};
	struct world *w = *state;

	begin_row(w);
	make_database(w, "Marked");
	must(w, w->source, "BACKUP DATABASE [Marked] TO DISK = N'$/marked.bak' WITH INIT");
	must(w, w->source, "USE [Marked] BEGIN TRAN deploy WITH MARK N'a new version' INSERT INTO dbo.t VALUES (2, N'with it') COMMIT");
	must(w, w->source, "USE [Marked] INSERT INTO dbo.t VALUES (3, N'after it')");
	must(w, w->source, "BACKUP LOG [Marked] TO DISK = N'$/marked.trn' WITH INIT");
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		must(w, w->target, INTO("marked.bak", "Marked"));
		must(w, w->target, talloc_asprintf(w->mem, "RESTORE LOG [m1] FROM DISK = N'$/marked.trn' WITH NORECOVERY, %s", stops[i].stop));
		must(w, w->target, "EXEC standin.rows N'm1', N'dbo.t'");
		if (strstr(w->told.tokens, stops[i].rows) == NULL)
			fail_msg("%s: %s and not %s", stops[i].stop, w->told.tokens, stops[i].rows);
	}
	must(w, w->target, "DROP DATABASE [m1]");
	must(w, w->source, "DROP DATABASE [Marked]");
}

static void
history_has_a_row_for_what_completed_only(void **state)
{
	struct world *w = *state;
	const char *count = "SELECT CONVERT(nvarchar(10), COUNT(*)) FROM msdb.dbo.restorehistory WHERE destination_database_name = N'm1' AND stop_at IS NULL";
	char *before;

	begin_row(w);
	before = talloc_strdup(w->mem, value(w, count));
	assert_true(engine_knob(w->target, "fail_number", 3271));
	assert_true(engine_knob(w->target, "fail_at", 50));
	as(w, w->target, "sa", INTO("full.bak", "Sales"));
	assert_true(w->told.had_error);
	assert_string_equal(before, value(w, count));
	/* Broken off: neither logs nor recovery, but the same set again. */
	assert_true(engine_knob(w->target, "fail_number", 0));
	as(w, w->target, "sa", LOG("log1.trn"));
	assert_string_equal(w->told.tokens, LOG_REFUSED("E4319.3.16"));
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4333.1.16"));
	must(w, w->target, INTO("full.bak", "Sales"));
	assert_string_not_equal(before, value(w, count));
}

/* The file goes before what was set by EXEC, is read again when it changes, and is gone when it is removed. */
static void
the_file_of_faults_is_obeyed(void **state)
{
	struct world *w = *state;

	begin_row(w);
	write_file(w, "$/hosted/faults", "# by hand\ndenied 1\n", 18);
	as(w, w->target, "sa", FULL);
	assert_string_equal(w->told.tokens, REFUSED("E3201.2.16"));
	assert_int_equal(unlink(filled(w, "$/hosted/faults")), 0);
	must(w, w->target, INTO("full.bak", "Sales"));
	as(w, w->target, "sa", "EXEC standin.fault N'no_such_knob', 1");
	assert_true(w->told.had_error);
	must(w, w->target, "EXEC standin.fault N'fail_recovery', 4347");
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4347.1.16"));
}

/* ---- knobs that take time, or the server away ----------------------------------------------------------------------------------- */

static void
a_restore_is_as_slow_as_was_ordered(void **state)
{
	/* full.bak has about 270 KB; nothing here waits longer than it must, so only the least is claimed. */
	static const struct { const char *knob; long value; const char *statement; int64_t least; } rows_[] = {
		{ "restore_kb_s", 900, INTO("full.bak", "Sales"), 200 }, { "zeroing_ms", 300, INTO("full.bak", "Sales"), 300 },
		{ "silence_ms", 300, INTO("full.bak", "Sales"), 300 }, { "delay_ms", 3, INTO("full.bak", "Sales"), 250 },
		{ "backup_kb_s", 600, "BACKUP DATABASE [slow] TO DISK = N'$/slow.bak' WITH INIT", 200 },
	};
	struct world *w = *state;

	must(w, w->target, "CREATE DATABASE [slow]");
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
		int64_t t0;

		begin_row(w);
		assert_true(engine_knob(w->target, rows_[i].knob, rows_[i].value));
		t0 = steady_ms();
		must(w, w->target, rows_[i].statement);
		if (steady_ms() - t0 < rows_[i].least)
			fail_msg("%s: %lld ms", rows_[i].knob, (long long)(steady_ms() - t0));
	}
	begin_row(w);
	must(w, w->target, "EXEC standin.fault N'percent_step', 20");
	as(w, w->target, "sa", INTO("full.bak", "Sales"));
	assert_string_equal(w->told.tokens, "I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 " COPIED);
	must(w, w->target, "DROP DATABASE [slow]");
}

static struct { size_t recovering; } watch;

/* Another session looks while the first recovers. */
static void
look_at_recovery(void *ctx)
{
	struct world *w = ctx;
	struct teller told = { 0 };
	struct tsql_session *s;
	struct err err = { 0 };

	if (engine_state(w->target, "m1") != ENGINE_RECOVERING || watch.recovering++ > 0)
		return;
	s = teller_session(w->mem, &told, w->target, "sa", 62, &err);
	teller_run(&told, s, "SELECT state_desc FROM sys.databases WHERE name = N'm1'");
	assert_string_equal(told.first_row, "RECOVERING|");
	teller_run(&told, s, "USE [m1]");
	assert_string_equal(told.tokens, "E922.1.14 D2:226");
	teller_run(&told, s, filled(w, RECOVER));
	assert_string_equal(told.tokens, REFUSED("E3101.1.16"));
	teller_run(&told, s, "SELECT command FROM sys.dm_exec_requests");
	assert_string_equal(told.first_row, "RESTORE DATABASE|");
	talloc_free(s);
	teller_end(&told);
}

static void
recovery_takes_its_time_and_is_seen(void **state)
{
	struct world *w = *state;

	begin_row(w);
	must(w, w->target, INTO("full.bak", "Sales"));
	assert_true(engine_knob(w->target, "recovery_ms", 100));
	watch.recovering = 0;
	w->told.meanwhile = look_at_recovery;
	w->told.meanwhile_ctx = w;
	must(w, w->target, RECOVER);
	w->told.meanwhile = NULL;
	assert_true(watch.recovering > 0);
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_ONLINE);
}

/* What another session is told while a statement runs: a row each, played in the middle of it. */
struct interruption { const char *statement, *tokens, *row; };

static struct { const struct interruption *list; size_t n; bool done; } between;

static void
interrupt(void *ctx)
{
	struct world *w = ctx;

	if (between.done)
		return;
	between.done = true;
	for (size_t i = 0; i < between.n; i++) {
		const struct interruption *x = &between.list[i];
		struct teller told = { 0 };
		struct err err = { 0 };
		struct tsql_session *s = teller_session(w->mem, &told, w->target, "sa", 63, &err);

		teller_run(&told, s, filled(w, x->statement));
		if (strcmp(told.tokens, x->tokens) != 0 || (x->row != NULL && strcmp(told.first_row, x->row) != 0))
			fail_msg("%s: expected %s, got %s %s", x->statement, x->tokens, told.tokens, told.text);
		talloc_free(s);
		teller_end(&told);
	}
}

static void
meanwhile(struct world *w, const struct interruption *list, size_t n, const char *statement)
{
	between.list = list;
	between.n = n;
	between.done = false;
	w->told.meanwhile = interrupt;
	w->told.meanwhile_ctx = w;
	must(w, w->target, statement);
	w->told.meanwhile = NULL;
	assert_true(between.done);
}

static void
a_busy_database_is_seen_and_left_alone(void **state)
{
	static const struct interruption restoring[] = {
		{ "SELECT command FROM sys.dm_exec_requests", "C1 R1 D16:193", "RESTORE DATABASE|" },
		{ "SELECT state_desc FROM sys.databases WHERE name = N'm1'", "C1 R1 D16:193", "RESTORING|" },
		{ FULL, REFUSED("E3101.1.16"), NULL },
		{ LOG("log1.trn"), LOG_REFUSED("E3101.1.16"), NULL },
		{ RECOVER, REFUSED("E3101.1.16"), NULL },
		{ "DROP DATABASE [m1]", "E3702.3.16 D2:215", NULL },
		{ "USE [m1]", "E927.2.14 D2:226", NULL },
		{ "SELECT restore_type FROM msdb.dbo.restorehistory WHERE destination_database_name = N'busy'", "C1 D16:193", NULL },
	};
	static const struct interruption backing_up[] = {
		{ "SELECT command FROM sys.dm_exec_requests", "C1 R1 D16:193", "BACKUP DATABASE|" },
		{ "BACKUP DATABASE [m1] TO DISK = N'$/second.bak' WITH INIT", "E3023.2.16 E3013.1.16 D2:228", NULL },
		{ "USE [m1] SELECT v FROM dbo.t WHERE id = 1", "D1:226 C1 R1 D16:193", "one|" },
	};
	struct world *w = *state;

	begin_row(w);
	meanwhile(w, restoring, sizeof(restoring) / sizeof(restoring[0]), INTO("full.bak", "Sales"));
	must(w, w->target, RECOVER);
	meanwhile(w, backing_up, sizeof(backing_up) / sizeof(backing_up[0]), "BACKUP DATABASE [m1] TO DISK = N'$/first.bak' WITH INIT");
}

/* The server's clock and zone are in what it says of itself and of its backups. */
static void
the_clock_can_be_wrong_and_elsewhere(void **state)
{
	struct world *w = *state;
	char day[16];
	time_t then = time(NULL) + 10 * 86400 + 2 * 3600;
	struct tm tm;

	begin_row(w);
	must(w, w->target, "CREATE DATABASE [m1]");
	assert_true(engine_knob(w->target, "clock_offset_s", 10 * 86400));
	assert_true(engine_knob(w->target, "time_zone_min", 120));
	must(w, w->target, "BACKUP DATABASE [m1] TO DISK = N'$/later.bak' WITH INIT");
	assert_true(engine_set_release(w->target, 2022));
	as(w, w->target, "sa", "RESTORE HEADERONLY FROM DISK = N'$/later.bak'");
	assert_true(engine_set_release(w->target, 2019));
	gmtime_r(&then, &tm);
	strftime(day, sizeof(day), "|%Y-%m-%dT%H:", &tm);
	assert_non_null(strstr(w->told.first_row, day));
	/* LastValidRestoreTime, TimeZone in quarter hours, CompressionAlgorithm. */
	assert_non_null(strstr(w->told.first_row, "|NULL|8|NULL|"));
	assert_int_equal(strncmp(value(w, "SELECT CONVERT(nvarchar(30), GETDATE(), 126)"), day + 1, 10), 0);
}

/* A second process restores and is gone at 40 percent; the order is not repeated. */
static void
a_server_that_died_as_ordered_comes_back_restoring(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	int status = 0;
	pid_t pid;

	begin_row(w);
	must(w, w->target, "EXEC standin.fault N'fail_at', 40");
	must(w, w->target, "EXEC standin.fault N'crash', 1");
	talloc_free(w->target);
	pid = fork();
	if (pid == 0) {
		w->target = engine_open(w, filled(w, "$/hosted"), "hosted", &err);
		as(w, w->target, "sa", INTO("full.bak", "Sales"));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	w->target = engine_open(w, filled(w, "$/hosted"), "hosted", &err);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_RESTORING);
	assert_int_equal(engine_knob_value(w->target, "crash"), 0);
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4333.1.16"));
	must(w, w->target, INTO("full.bak", "Sales"));
	must(w, w->target, RECOVER);
}

/* ---- world ------------------------------------------------------------------------------------------------------------------------- */

static int
begin_world(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);
	struct err err = { 0 };

	w->mem = w;
	w->dir = talloc_asprintf(w, "%s/landfall-fidelity-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->source = engine_open(w, talloc_asprintf(w, "%s/onprem", w->dir), "onprem", &err);
	w->target = engine_open(w, talloc_asprintf(w, "%s/hosted", w->dir), "hosted", &err);
	if (w->source == NULL || w->target == NULL || !engine_login_set(w->source, "sa", "Sa1!", true, &err) ||
	    !engine_login_set(w->target, "sa", "Sa1!", true, &err) || !engine_login_set(w->target, "stranger", "Str1!", false, &err))
		return -1;
	make_backups(w);
	*state = w;
	return 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;
	char *command = talloc_asprintf(w, "rm -rf '%s'", w->dir);
	int status = system(command);

	teller_end(&w->told);
	talloc_free(w);
	return status;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement_has_its_tokens),
		cmocka_unit_test(columns_are_those_of_the_release),
		cmocka_unit_test(standby_is_online_and_read_only),
		cmocka_unit_test(logs_stop_at_marks),
		cmocka_unit_test(history_has_a_row_for_what_completed_only),
		cmocka_unit_test(the_file_of_faults_is_obeyed),
		cmocka_unit_test(a_restore_is_as_slow_as_was_ordered),
		cmocka_unit_test(recovery_takes_its_time_and_is_seen),
		cmocka_unit_test(a_busy_database_is_seen_and_left_alone),
		cmocka_unit_test(the_clock_can_be_wrong_and_elsewhere),
		cmocka_unit_test(a_server_that_died_as_ordered_comes_back_restoring),
	};

	return cmocka_run_group_tests(tests, begin_world, end_world);
}
