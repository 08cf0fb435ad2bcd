#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/standin/engine.h"
#include "tests/standin/teller.h"

/*
 * A cluster of instances side by side that forms an availability group, told as a hosted cluster would use it: a
 * customer's chain is restored on all replicas, one recovers, the others join from where they stand.
 */

enum { SERVERS = 3, PATIENCE_MS = 15000 };

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct engine *on[SERVERS]; /* 0 on-premise and apart; 1 and 2 the cluster */
	struct teller told;
};

static char *
filled(struct world *w, const char *text)
{
	char *out = talloc_strdup(w->mem, "");

	for (; *text != '\0'; text++)
		out = *text == '$' ? talloc_strdup_append_buffer(out, w->dir) : talloc_strndup_append_buffer(out, text, 1);
	return out;
}

static void
ask(struct world *w, int server, const char *sql)
{
	struct err err = { 0 };
	struct tsql_session *s = teller_session(w->mem, &w->told, w->on[server], "sa", 60 + server, &err);

	if (s == NULL)
		fail_msg("%s", err.text);
	teller_run(&w->told, s, filled(w, sql));
	talloc_free(s);
}

static void
must(struct world *w, int server, const char *sql)
{
	ask(w, server, sql);
	if (w->told.had_error)
		fail_msg("%s: %s", sql, w->told.text);
}

#define REFUSED(w, server, sql, number)                                                                                                        \
	do {                                                                                                                                   \
		ask(w, server, sql);                                                                                                           \
		if (strncmp((w)->told.tokens, "E" #number ".", sizeof("E" #number)) != 0)                                                      \
			fail_msg("%s: expected " #number ", got %s %s", sql, (w)->told.tokens, (w)->told.text);                                \
	} while (0)

static const char *
value(struct world *w, int server, const char *sql)
{
	must(w, server, sql);
	return w->told.rows == 0 && strchr(w->told.tokens, 'R') == NULL ? "" : w->told.first_row;
}

/* Asked again until it is so: what happens over there takes its time. */
static void
becomes(struct world *w, int server, const char *sql, const char *wanted)
{
	for (int ms = 0; strcmp(value(w, server, sql), wanted) != 0; ms += 20) {
		if (ms > PATIENCE_MS)
			fail_msg("%s: %s and not %s", sql, w->told.first_row, wanted);
		usleep(20000);
	}
}

#define STATE_OF(server, what)                                                                                                                 \
	"SELECT d." what " FROM sys.dm_hadr_database_replica_states d JOIN sys.availability_replicas r ON r.replica_id = d.replica_id WHERE"   \
	" r.replica_server_name = N'" server "'"

static char *
rows_of(struct world *w, int server)
{
	char *all = talloc_strdup(w->mem, "");

	must(w, server, "EXEC standin.rows N'Sales', N'dbo.t'");
	return talloc_asprintf_append(all, "%s%s", w->told.tokens, w->told.first_row);
}

/* ---- surroundings --------------------------------------------------------------------------------------------------- */

static int
begin_world(void **state)
{
	static const char *const names[] = { "onprem", "sql1", "sql2" };
	struct world *w = talloc_zero(NULL, struct world);
	struct err err = { 0 };

	w->mem = w;
	w->dir = talloc_asprintf(w, "%s/landfall-ag-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	for (int i = 0; i < SERVERS; i++) {
		w->on[i] = engine_open(w, talloc_asprintf(w, "%s/%s", w->dir, names[i]), names[i], &err);
		if (w->on[i] == NULL || !engine_login_set(w->on[i], "sa", "Sa1!", true, &err))
			return -1;
	}
	*state = w;
	return 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;
	char *command = talloc_asprintf(w, "rm -rf '%s'", w->dir);
	int status;

	teller_end(&w->told);
	for (int i = 0; i < SERVERS; i++)
		talloc_free(w->on[i]);
	status = system(command);
	talloc_free(w);
	return status;
}

static void
make_group(struct world *w, const char *seeding)
{
	must(w, 1, talloc_asprintf(w->mem, "CREATE AVAILABILITY GROUP [ag] WITH (AUTOMATED_BACKUP_PREFERENCE = PRIMARY) FOR REPLICA ON"
		" N'sql1' WITH (ENDPOINT_URL = N'TCP://sql1:5022', AVAILABILITY_MODE = SYNCHRONOUS_COMMIT, FAILOVER_MODE = MANUAL, SEEDING_MODE = %s),"
		" N'sql2' WITH (ENDPOINT_URL = N'TCP://sql2:5022', AVAILABILITY_MODE = SYNCHRONOUS_COMMIT, FAILOVER_MODE = MANUAL, SEEDING_MODE = %s)",
		seeding, seeding));
	must(w, 2, "ALTER AVAILABILITY GROUP [ag] JOIN");
}

/* A customer's database, and its chain: a full and the tail. */
static void
make_chain(struct world *w)
{
	must(w, 0, "CREATE DATABASE [Sales]");
	must(w, 0, "USE [Sales] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL) INSERT INTO dbo.t VALUES (1, N'one')");
	must(w, 0, "BACKUP DATABASE [Sales] TO DISK = N'$/full.bak' WITH INIT");
	must(w, 0, "USE [Sales] INSERT INTO dbo.t VALUES (2, N'two')");
	must(w, 0, "BACKUP LOG [Sales] TO DISK = N'$/tail.trn' WITH INIT, NORECOVERY");
}

static void
restore_chain(struct world *w, int server)
{
	must(w, server, talloc_asprintf(w->mem, "RESTORE DATABASE [Sales] FROM DISK = N'$/full.bak' WITH NORECOVERY, MOVE N'Sales' TO N'$/%d.mdf',"
		" MOVE N'Sales_log' TO N'$/%d.ldf'", server, server));
	must(w, server, "RESTORE LOG [Sales] FROM DISK = N'$/tail.trn' WITH NORECOVERY");
}

/* ---- stories -------------------------------------------------------------------------------------------------------------- */

static void
a_restored_secondary_joins_over_one_log_of_the_new_primary(void **state)
{
	struct world *w = *state;

	make_chain(w);
	restore_chain(w, 1);
	restore_chain(w, 2);
	make_group(w, "MANUAL");
	REFUSED(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]", 927);
	must(w, 1, "RESTORE DATABASE [Sales] WITH RECOVERY");
	REFUSED(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]", 1475);
	must(w, 1, "BACKUP DATABASE [Sales] TO DISK = N'$/new.bak' WITH INIT");
	must(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]");
	/* It stands where the primary recovered, on the branch before. */
	REFUSED(w, 2, "ALTER DATABASE [Sales] SET HADR AVAILABILITY GROUP = [ag]", 1478);
	must(w, 1, "USE [Sales] INSERT INTO dbo.t VALUES (3, N'three')");
	must(w, 1, "BACKUP LOG [Sales] TO DISK = N'$/new.trn' WITH INIT");
	must(w, 2, "RESTORE LOG [Sales] FROM DISK = N'$/new.trn' WITH NORECOVERY");
	must(w, 2, "ALTER DATABASE [Sales] SET HADR AVAILABILITY GROUP = [ag]");
	becomes(w, 1, STATE_OF("sql2", "synchronization_state_desc"), "SYNCHRONIZED|");
	must(w, 1, "USE [Sales] INSERT INTO dbo.t VALUES (4, N'four')");
	becomes(w, 2, "SELECT state_desc FROM sys.databases WHERE name = N'Sales'", "ONLINE|");
	for (int ms = 0; strcmp(rows_of(w, 1), rows_of(w, 2)) != 0; ms += 20) {
		assert_true(ms < PATIENCE_MS);
		usleep(20000);
	}
	REFUSED(w, 2, "USE [Sales]", 976);
}

static void
what_is_in_a_group_is_not_restored_nor_dropped(void **state)
{
	struct world *w = *state;

	make_chain(w);
	restore_chain(w, 1);
	must(w, 1, "RESTORE DATABASE [Sales] WITH RECOVERY");
	must(w, 1, "BACKUP DATABASE [Sales] TO DISK = N'$/new.bak' WITH INIT");
	make_group(w, "AUTOMATIC");
	must(w, 2, "ALTER AVAILABILITY GROUP [ag] GRANT CREATE ANY DATABASE");
	must(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]");
	becomes(w, 1, STATE_OF("sql2", "synchronization_state_desc"), "SYNCHRONIZED|");
	REFUSED(w, 1, "RESTORE DATABASE [Sales] FROM DISK = N'$/full.bak' WITH REPLACE", 3104);
	REFUSED(w, 2, "RESTORE LOG [Sales] FROM DISK = N'$/tail.trn' WITH NORECOVERY", 3059);
	REFUSED(w, 2, "BACKUP DATABASE [Sales] TO DISK = N'$/x.bak'", 3059);
	REFUSED(w, 1, "DROP DATABASE [Sales]", 3752);
	REFUSED(w, 1, "ALTER DATABASE [Sales] SET RECOVERY SIMPLE", 1468);
	REFUSED(w, 2, "ALTER AVAILABILITY GROUP [ag] REMOVE DATABASE [Sales]", 41190);
	REFUSED(w, 1, "ALTER AVAILABILITY GROUP [other] ADD DATABASE [Sales]", 15151);
	must(w, 1, "ALTER AVAILABILITY GROUP [ag] REMOVE DATABASE [Sales]");
	becomes(w, 2, "SELECT state_desc FROM sys.databases WHERE name = N'Sales'", "RESTORING|");
	must(w, 2, "DROP DATABASE [Sales]");
	must(w, 1, "DROP DATABASE [Sales]");
}

static void
seeding_takes_a_right_and_its_time(void **state)
{
	struct world *w = *state;
	static const char seeding[] = "SELECT current_state FROM sys.dm_hadr_automatic_seeding";

	make_chain(w);
	restore_chain(w, 1);
	must(w, 1, "RESTORE DATABASE [Sales] WITH RECOVERY");
	must(w, 1, "BACKUP DATABASE [Sales] TO DISK = N'$/new.bak' WITH INIT");
	make_group(w, "AUTOMATIC");
	must(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]");
	assert_string_equal(value(w, 1, seeding), "FAILED|");
	/* Slower than any machine, then at once. */
	must(w, 2, "EXEC standin.fault N'seed_kb_s', 1");
	must(w, 1, "EXEC standin.fault N'sync_ms', 3600000");
	must(w, 2, "ALTER AVAILABILITY GROUP [ag] GRANT CREATE ANY DATABASE");
	assert_string_equal(value(w, 1, seeding), "SEEDING|");
	assert_int_equal(engine_state(w->on[2], "Sales"), ENGINE_ABSENT);
	must(w, 2, "EXEC standin.fault N'seed_kb_s', 0");
	becomes(w, 1, seeding, "COMPLETED|");
	assert_string_equal(value(w, 1, STATE_OF("sql2", "synchronization_state_desc")), "SYNCHRONIZING|");
	must(w, 1, "EXEC standin.fault N'sync_ms', 0");
	becomes(w, 1, STATE_OF("sql2", "synchronization_state_desc"), "SYNCHRONIZED|");
}

static void
a_failover_loses_nothing_and_can_go_back(void **state)
{
	struct world *w = *state;

	make_chain(w);
	restore_chain(w, 1);
	must(w, 1, "RESTORE DATABASE [Sales] WITH RECOVERY");
	must(w, 1, "BACKUP DATABASE [Sales] TO DISK = N'$/new.bak' WITH INIT");
	make_group(w, "AUTOMATIC");
	must(w, 2, "ALTER AVAILABILITY GROUP [ag] GRANT CREATE ANY DATABASE");
	must(w, 1, "ALTER AVAILABILITY GROUP [ag] ADD DATABASE [Sales]");
	REFUSED(w, 1, "ALTER AVAILABILITY GROUP [ag] FAILOVER", 41142);
	becomes(w, 2, STATE_OF("sql2", "synchronization_state_desc"), "SYNCHRONIZED|");
	must(w, 1, "USE [Sales] INSERT INTO dbo.t VALUES (50, N'at the last moment')");
	must(w, 2, "ALTER AVAILABILITY GROUP [ag] FAILOVER");
	must(w, 2, "USE [Sales] INSERT INTO dbo.t VALUES (51, N'on the other side')");
	assert_string_equal(value(w, 2, "USE [Sales] SELECT v FROM dbo.t WHERE id = 50"), "at the last moment|");
	becomes(w, 1, "SELECT role_desc FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1", "SECONDARY|");
	REFUSED(w, 1, "USE [Sales]", 976);
	becomes(w, 1, STATE_OF("sql1", "synchronization_state_desc"), "SYNCHRONIZED|");
	/* And without being asked: as ordered at half of a RESTORE of another database. */
	must(w, 2, "EXEC standin.fault N'fail_at', 50");
	must(w, 2, "EXEC standin.fault N'failover', 1");
	must(w, 2, "RESTORE DATABASE [uat] FROM DISK = N'$/full.bak' WITH NORECOVERY, MOVE N'Sales' TO N'$/uat.mdf', MOVE N'Sales_log' TO N'$/uat.ldf'");
	becomes(w, 1, "SELECT role_desc FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1", "PRIMARY|");
	becomes(w, 1, "SELECT CONVERT(nvarchar(10), state) FROM sys.databases WHERE name = N'Sales'", "0|");
	for (int ms = 0; engine_state(w->on[1], "Sales") != ENGINE_ONLINE; ms += 20) {
		assert_true(ms < PATIENCE_MS);
		usleep(20000);
	}
	assert_string_equal(value(w, 1, "USE [Sales] SELECT v FROM dbo.t WHERE id = 51"), "on the other side|");
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, begin_world, end_world)
	const struct CMUnitTest tests[] = {
		STORY(a_restored_secondary_joins_over_one_log_of_the_new_primary),
		STORY(what_is_in_a_group_is_not_restored_nor_dropped),
		STORY(seeding_takes_a_right_and_its_time),
		STORY(a_failover_loses_nothing_and_can_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
