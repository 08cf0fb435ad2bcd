#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/settle.h"
#include "common/tsql_settle.h"

/* What a recovered database needs next in its cluster: one row is one moment of a group of three. */

struct moment {
	const char *says;
	struct settle_facts facts;
	struct settle_replica two, three;
	enum settle_act act;
	size_t on;
	const char *why; /* part of the words, NULL: none */
};

#define LEVEL { .name = "b", .in_group = true, .synchronous = true, .joined = true, .sync = "SYNCHRONIZED" }
#define LEVEL3 { .name = "c", .in_group = true, .joined = true, .sync = "SYNCHRONIZING" }
#define COPY(...) { .name = "b", .in_group = true, .synchronous = true, .exists = true, .restoring = true, ##__VA_ARGS__ }
#define ABSENT(...) { .name = "b", .in_group = true, .synchronous = true, ##__VA_ARGS__ }
#define GROUP(...) { .database = "d", .group = "ag", .group_primary = "A", .backup_to = "/b", .group_exists = true, ##__VA_ARGS__ }
#define ADDED GROUP(.backed_up = true, .added = true)

static const struct moment moments[] = {
	{ "nothing is asked for", { .database = "d" }, LEVEL, LEVEL3, SETTLE_DONE, 0, NULL },
	{ "a backup and no group", { .database = "d", .backup_to = "/b" }, LEVEL, LEVEL3, SETTLE_BACKUP, 0, NULL },
	{ "it was taken", { .database = "d", .backup_to = "/b", .backed_up = true }, LEVEL, LEVEL3, SETTLE_DONE, 0, NULL },
	{ "the group is not there", { .database = "d", .group = "ag", .backup_to = "/b" }, COPY(), LEVEL3, SETTLE_WAIT, 0, "knows no availability group ag" },
	{ "no folder for the backup that it wants", { .database = "d", .group = "ag", .group_exists = true }, COPY(), LEVEL3, SETTLE_WAIT, 0, "give backup_to" },
	{ "the backup comes first", GROUP(), COPY(), LEVEL3, SETTLE_BACKUP, 0, NULL },
	{ "then the group", GROUP(.backed_up = true), COPY(), LEVEL3, SETTLE_ADD, 0, NULL },
	{ "a copy joins as it is", ADDED, COPY(), LEVEL3, SETTLE_JOIN, 1, NULL },
	{ "refused: a log more", ADDED, COPY(.join_refused = true), LEVEL3, SETTLE_CATCH_UP, 1, NULL },
	{ "with it, joining again", ADDED, COPY(.caught_up = true), LEVEL3, SETTLE_JOIN, 1, NULL },
	{ "refused again: seeding", ADDED, COPY(.join_refused = true, .caught_up = true), LEVEL3, SETTLE_SEED, 1, NULL },
	{ "a copy that is gone is seeded", ADDED, ABSENT(), LEVEL3, SETTLE_SEED, 1, NULL },
	{ "seeding goes on", ADDED, ABSENT(.seeding = "SEEDING"), LEVEL3, SETTLE_WAIT, 0, "b is being seeded: SEEDING" },
	{ "seeding failed", ADDED, ABSENT(.seeding = "FAILED", .seeding_why = "no right"), LEVEL3, SETTLE_WAIT, 0, "FAILED, no right; see its error log" },
	{ "seeding over a copy failed", ADDED, COPY(.join_refused = true, .caught_up = true, .seeding = "FAILED"), LEVEL3, SETTLE_WAIT, 0, "drop its copy" },
	/* Automatic mode tries at once, when nobody asked; the copy joins all the same. */
	{ "an early failure of seeding keeps no copy out", ADDED, COPY(.seeding = "FAILED"), LEVEL3, SETTLE_JOIN, 1, NULL },
	{ "all level", ADDED, LEVEL, LEVEL3, SETTLE_DONE, 0, NULL },
	{ "a synchronous one that is only synchronising lags", ADDED, { .name = "b", .in_group = true, .synchronous = true, .joined = true,
	    .sync = "SYNCHRONIZING", .lag_seconds = 7, .redo_kb = 512 }, LEVEL3, SETTLE_WAIT, 0, "b is SYNCHRONIZING, 7 s behind, 512 KB to redo" },
	{ "suspended", ADDED, { .name = "b", .in_group = true, .joined = true, .sync = "NOT SYNCHRONIZING", .suspended = true }, LEVEL3, SETTLE_WAIT, 0,
	    "HADR RESUME" },
	{ "who is away holds up nobody", ADDED, { .name = "b", .away = "no route" }, { .name = "c", .in_group = true, .exists = true, .restoring = true },
	    SETTLE_JOIN, 2, NULL },
	{ "and is named at the end", ADDED, { .name = "b", .away = "no route" }, LEVEL3, SETTLE_WAIT, 0, "b does not answer (no route)" },
	{ "who was left out is not waited for", ADDED, { .name = "b", .away = "no route", .left_out = "burnt" }, LEVEL3, SETTLE_DONE, 0, NULL },
	{ "who refused rests", ADDED, COPY(.failed = "b refused group-join (try 1): 35250"), LEVEL3, SETTLE_WAIT, 0, "35250" },
	{ "a stranger to the group", ADDED, { .name = "b", .exists = true, .restoring = true }, LEVEL3, SETTLE_WAIT, 0, "b is no replica of availability group ag" },
	{ "the primary refused and rests", GROUP(.failed = "a refused backup (try 2): 3201"), COPY(), LEVEL3, SETTLE_WAIT, 0, "3201" },
};

static void
each_moment_has_its_act(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		const struct moment *m = &moments[i];
		struct settle_replica replicas[3] = { { .name = "a", .in_group = true, .is_group_primary = true, .joined = m->facts.added }, m->two, m->three };
		struct settle_facts f = m->facts;
		TALLOC_CTX *mem = talloc_new(NULL);
		struct settle_next next;

		f.replicas = replicas;
		f.n = 3;
		next = settle_decide(mem, &f);
		if (next.act != m->act || next.replica != m->on || (m->why != NULL) != (next.why != NULL) ||
		    (m->why != NULL && strstr(next.why, m->why) == NULL))
			fail_msg("%s: act %d on %zu, %s", m->says, next.act, next.replica, next.why == NULL ? "no words" : next.why);
		talloc_free(mem);
	}
}

static void
another_primary_is_named_and_never_moved(void **state)
{
	struct settle_replica replicas[2] = { { .name = "a", .in_group = true }, { .name = "b", .in_group = true, .is_group_primary = true } };
	struct settle_facts f = { .database = "d", .group = "ag", .group_primary = "B\\X", .backup_to = "/b", .group_exists = true, .replicas = replicas, .n = 2 };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct settle_next next = settle_decide(mem, &f);

	(void)state;
	assert_int_equal(next.act, SETTLE_WAIT);
	assert_string_equal(next.why, "a has the database and B\\X is the primary of availability group ag; fail the group over to a");
	talloc_free(mem);
}

static void
statements_are_quoted_to_the_letter(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);

	(void)state;
	assert_string_equal(tsql_repair_user(mem, "a]b'; DROP", "c]]"), "ALTER USER [a]]b'; DROP] WITH LOGIN = [c]]]]]");
	assert_string_equal(tsql_set_owner(mem, "d]", "o'"), "ALTER AUTHORIZATION ON DATABASE::[d]]] TO [o']");
	assert_string_equal(tsql_group_add(mem, "g]", "d'"), "IF NOT EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = N'd''' AND"
		" d.group_database_id IS NOT NULL) ALTER AVAILABILITY GROUP [g]]] ADD DATABASE [d']");
	assert_string_equal(tsql_group_seeding(mem, "g", "s'\\i", true), "ALTER AVAILABILITY GROUP [g] MODIFY REPLICA ON N's''\\i' WITH (SEEDING_MODE = AUTOMATIC)");
	assert_string_equal(tsql_backup_log(mem, "d", "\\\\s\\a'b"), "BACKUP LOG [d] TO DISK = N'\\\\s\\a''b' WITH FORMAT, INIT, CHECKSUM, STATS = 5");
	assert_string_equal(tsql_own_backup_path(mem, "\\\\s\\b\\", "d", "recovered", "bak"), "\\\\s\\b\\d_recovered.bak");
	assert_string_equal(tsql_own_backup_path(mem, "/b", "d", "recovered", "trn"), "/b/d_recovered.trn");
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_moment_has_its_act),
		cmocka_unit_test(another_primary_is_named_and_never_moved),
		cmocka_unit_test(statements_are_quoted_to_the_letter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
