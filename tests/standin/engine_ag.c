#include "tests/standin/engine_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/*
 * Availability groups. What the instances know of one another is one file beside their folders: groups, replicas,
 * and per replica and database whether it is joined. The primary's database file is where a secondary reads the
 * log from: the records behind its own end, applied as RESTORE LOG applies them. A thread of every instance that
 * is in a group does that, ten times a second.
 *
 * Known: the statements, the views' columns, which errors there are. Believed, and never tried on a real group:
 * that a secondary restored from elsewhere may join when it stands on the primary's own recovery branch, no
 * further back than the primary's newest log backup, and that else it is 1478 (the branch before) or 1412.
 */

enum { TICK_MS = 100 };

static const char ag_schema[] =
	"CREATE TABLE IF NOT EXISTS grp(name TEXT PRIMARY KEY COLLATE TSQL, id TEXT, prime TEXT COLLATE TSQL, former TEXT COLLATE TSQL);"
	"CREATE TABLE IF NOT EXISTS replica(grp TEXT COLLATE TSQL, server TEXT COLLATE TSQL, id TEXT, dir TEXT, endpoint TEXT, automatic INT,"
	" synchronous INT, joined INT, may_create INT, PRIMARY KEY(grp, server));"
	"CREATE TABLE IF NOT EXISTS base(grp TEXT COLLATE TSQL, name TEXT COLLATE TSQL, id TEXT, PRIMARY KEY(grp, name));"
	/* state: '' waits, 'seeding', 'joined', 'failed'; since: ms; at: how far it is, as an LSN */
	"CREATE TABLE IF NOT EXISTS member(grp TEXT COLLATE TSQL, server TEXT COLLATE TSQL, name TEXT COLLATE TSQL, state TEXT, since INT, finished INT,"
	" at TEXT, why TEXT, PRIMARY KEY(grp, server, name));";

/* NULL when no instance here was ever in a group. */
static sqlite3 *
ag_open(struct engine *e, bool make)
{
	sqlite3 *db;

	if (!make && access(e->ag_path, F_OK) != 0)
		return NULL;
	db = file_open(e->ag_path, false);
	if (db != NULL && make)
		run_sql(db, ag_schema);
	return db;
}

/* The one value of a query, or NULL. */
static char *
one(TALLOC_CTX *mem, sqlite3 *db, const char *sql, size_t n, const char *const *params)
{
	int step = SQLITE_ERROR;
	sqlite3_stmt *st = ask_sql(db, sql, n, params, &step);
	const char *text = st != NULL && step == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
	char *value = text == NULL ? NULL : talloc_strdup(mem, text);

	sqlite3_finalize(st);
	return value;
}

#define ONE(mem, db, sql, ...) one(mem, db, sql, PARAMS(__VA_ARGS__))

/* Of a count: it was asked, and there are none. */
static bool
is_none(const char *count)
{
	return count != NULL && strcmp(count, "0") == 0;
}

static bool
is_primary_of(struct engine *e, sqlite3 *ag, const char *group)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *prime = ONE(mem, ag, "SELECT prime FROM grp WHERE name = ?", group);
	bool yes = prime != NULL && strcasecmp(prime, e->server_name) == 0;

	talloc_free(mem);
	return yes;
}

bool
ag_is_primary(struct engine *e, const char *group)
{
	sqlite3 *ag = ag_open(e, false);
	bool yes = ag != NULL && is_primary_of(e, ag, group);

	sqlite3_close(ag);
	return yes;
}

/* ---- a database on another instance ---------------------------------------------------------------------------------- */

/* Another instance's row of a database, read from its own file; and the path of the database's file. */
static struct db_row *
row_at(TALLOC_CTX *mem, const char *dir, const char *name, char **file)
{
	struct engine other = { .dir = talloc_strdup(mem, dir) };
	struct db_row *row = NULL;

	other.meta = file_open(talloc_asprintf(mem, "%s/server.sqlite", dir), false);
	if (other.meta != NULL && (row = db_load(&other, mem, name)) != NULL)
		*file = db_path(&other, mem, row->id, ".sqlite");
	sqlite3_close(other.meta);
	return row;
}

static struct db_row *
primary_row(TALLOC_CTX *mem, sqlite3 *ag, const char *group, const char *name, char **file)
{
	char *dir = ONE(mem, ag, "SELECT r.dir FROM grp g JOIN replica r ON r.grp = g.name AND r.server = g.prime WHERE g.name = ?", group);

	return dir == NULL ? NULL : row_at(mem, dir, name, file);
}

static struct db_row *
former_row(TALLOC_CTX *mem, sqlite3 *ag, const char *group, const char *name, char **file)
{
	char *dir = ONE(mem, ag, "SELECT r.dir FROM grp g JOIN replica r ON r.grp = g.name AND r.server = g.former WHERE g.name = ?", group);

	return dir == NULL ? NULL : row_at(mem, dir, name, file);
}

/* ---- what a secondary does --------------------------------------------------------------------------------------------- */

/* Records of the primary behind our end, one transaction; false when the file could not be read or written. */
static bool
pull(sqlite3 *ours, sqlite3 *theirs, struct lsn *end, int64_t *at)
{
	sqlite3_stmt *st = NULL;
	struct lsn next = { 0 };
	bool good = run_sql(ours, "BEGIN IMMEDIATE") && log_next(ours, &next);

	sqlite3_db_config(ours, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	good = good && sqlite3_prepare_v2(theirs, "SELECT block, blocks, at, kind, data FROM dbo._standin_log WHERE block >= ? ORDER BY block", -1, &st,
	                                  NULL) == SQLITE_OK;
	*end = next;
	if (good)
		sqlite3_bind_int64(st, 1, next.block);
	while (good && sqlite3_step(st) == SQLITE_ROW) {
		struct lsn here, after;

		*at = sqlite3_column_int64(st, 2);
		good = apply_changes(ours, sqlite3_column_int(st, 3), sqlite3_column_blob(st, 4), sqlite3_column_bytes(st, 4)) &&
		       log_append(ours, *at, (enum record_kind)sqlite3_column_int(st, 3), sqlite3_column_blob(st, 4), (size_t)sqlite3_column_bytes(st, 4),
		                  &here, &after);
		if (good)
			*end = after;
	}
	sqlite3_finalize(st);
	if (sqlite3_get_autocommit(ours) == 0)
		good = end_sql(ours, good);
	return good;
}

/* Rolls our copy forward to the end of theirs; false when it is not there. */
static bool
follow(struct engine *e, sqlite3 *ag, const char *group, struct db_row *row, const struct db_row *theirs, const char *file)
{
	sqlite3 *from = file_open(file, false), *to = NULL;
	bool good = false;

	if (from != NULL)
		to = file_open(db_path(e, row, row->id, ".sqlite"), false);
	if (to != NULL && pull(to, from, &row->redo, &row->redo_at)) {
		row->redo_fork = row->fork = theirs->fork;
		row->fork1 = theirs->fork1;
		row->fork1_lsn = theirs->fork1_lsn;
		row->next_log = theirs->next_log;
		row->chain_origin = theirs->chain_origin;
		good = db_save(e, row) &&
		       CHANGE(ag, "UPDATE member SET at = ? WHERE grp = ? AND server = ? AND name = ?", lsn_text(row->redo).s, group, e->server_name, row->name);
	}
	sqlite3_close(to);
	sqlite3_close(from);
	return good;
}

static int64_t
file_bytes(const char *path)
{
	FILE *f = fopen(path, "re");
	int64_t n = -1;

	if (f != NULL) {
		fseeko(f, 0, SEEK_END);
		n = ftello(f);
		fclose(f);
	}
	return n;
}

static bool
copy_database(sqlite3 *from, const char *to)
{
	sqlite3 *db;
	sqlite3_backup *b;
	bool good;

	unlink(to);
	db = file_open(to, false);
	b = db == NULL ? NULL : sqlite3_backup_init(db, "dbo", from, "dbo");
	good = b != NULL && sqlite3_backup_step(b, -1) == SQLITE_DONE;
	sqlite3_backup_finish(b);
	sqlite3_close(db);
	return good;
}

static bool
name_files(struct engine *e, const struct db_row *row)
{
	char id[16];

	snprintf(id, sizeof(id), "%d", row->id);
	return CHANGE(e->meta, "INSERT INTO file VALUES(CAST(?1 AS INT), 1, 'D', ?2, ?3 || '/' || ?1 || '_data.mdf'),"
		" (CAST(?1 AS INT), 2, 'L', ?2 || '_log', ?3 || '/' || ?1 || '_log.ldf')", id, row->name, e->dir);
}

/* Roll forward goes on behind what is in the copy, also when the group lets it go before anything followed. */
static bool
stand_at_its_end(struct engine *e, struct db_row *row)
{
	sqlite3 *db = file_open(db_path(e, row, row->id, ".sqlite"), false);
	bool good = db != NULL && log_next(db, &row->redo);

	sqlite3_close(db);
	return good && db_save(e, row);
}

/* The seeded copy: a row of our own, RESTORING and in the group, with the primary's database in it. */
static bool
take_copy(struct engine *e, TALLOC_CTX *mem, const struct db_row *theirs, const char *file, const char *group)
{
	struct db_row *row = talloc_memdup(mem, theirs, sizeof(*theirs));
	sqlite3 *from = file_open(file, false);
	bool good;

	row->id = 0;
	row->state = 1;
	row->ag = talloc_strdup(mem, group);
	row->binding = guid_new();
	row->base_guid = (struct guid){ { 0 } };
	row->redo_fork = row->fork;
	run_sql(e->meta, "BEGIN IMMEDIATE");
	good = from != NULL && db_save(e, row) && (row = db_load(e, mem, theirs->name)) != NULL && name_files(e, row) &&
	       copy_database(from, db_path(e, mem, row->id, ".sqlite")) && stand_at_its_end(e, row);
	good = end_sql(e->meta, good);
	sqlite3_close(from);
	return good;
}

static void
set_member(sqlite3 *ag, const char *group, const char *server, const char *name, const char *state, const char *why, int64_t now)
{
	char when[24];

	snprintf(when, sizeof(when), "%lld", (long long)now);
	CHANGE(ag, "UPDATE member SET state = ?, why = ?, since = CASE WHEN ? = 'seeding' OR ? = 'joined' THEN CAST(? AS INT) ELSE since END,"
		" finished = CAST(? AS INT) WHERE grp = ? AND server = ? AND name = ?", state, why, state, state, when, when, group, server, name);
}

/* The branch and place that a database must stand at to follow the primary from there: 0, 1412, 1478. */
static int
may_follow(const struct db_row *ours, const struct db_row *theirs)
{
	if (!guid_equal(ours->family, theirs->family))
		return 1412;
	if (guid_equal(ours->redo_fork, theirs->fork))
		return lsn_compare(ours->redo, theirs->next_log) < 0 ? 1412 : 0;
	/* On the branch that the primary recovered from: one log backup of the new primary is missing. */
	return guid_equal(ours->redo_fork, theirs->fork1) ? 1478 : 1412;
}

static void
seed(struct engine *e, sqlite3 *ag, const char *group, const char *name, int64_t since)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *file = NULL, *state = ONE(mem, ag, "SELECT state FROM member WHERE grp = ? AND server = ? AND name = ?", group, e->server_name, name);
	struct db_row *theirs = primary_row(mem, ag, group, name, &file), *ours = db_load(e, mem, name);
	long kb_s = knob(e, KNOB_SEED_KB_S);
	int64_t now = engine_now_ms(e);

	if (theirs == NULL || theirs->state != 0 || state == NULL)
		set_member(ag, group, e->server_name, name, "failed", "the primary is not there", now);
	else if (ours != NULL && ours->state == 1 && ours->pending_type == 0 && may_follow(ours, theirs) == 0) {
		ours->ag = talloc_strdup(ours, group);
		set_member(ag, group, e->server_name, name, db_save(e, ours) ? "joined" : "failed", NULL, now);
	} else if (ours != NULL && ours->ag != NULL && strcasecmp(ours->ag, group) == 0)
		/* The copy was made, and the server died before it could say so. */
		set_member(ag, group, e->server_name, name, "joined", NULL, now);
	else if (ours != NULL)
		set_member(ag, group, e->server_name, name, "failed", "Remote database exists or cannot follow", now);
	else if (strcmp(state, "seeding") != 0) {
		set_member(ag, group, e->server_name, name, "seeding", NULL, now);
	} else if (kb_s == 0 || now - since >= file_bytes(file) / kb_s * 1000 / 1024) {
		set_member(ag, group, e->server_name, name, take_copy(e, mem, theirs, file, group) ? "joined" : "failed", NULL, now);
		e->generation++;
	}
	talloc_free(mem);
}

static void
become_secondary(struct engine *e, struct db_row *row)
{
	sqlite3 *db = file_open(db_path(e, row, row->id, ".sqlite"), false);

	if (db != NULL)
		log_next(db, &row->redo);
	sqlite3_close(db);
	row->redo_fork = row->fork;
	row->state = 1;
	db_save(e, row);
	e->generation++;
}

/* Not before the former primary has stepped down and what it wrote last is here; else at the next look. Forced, nobody is waited for. */
static void
become_primary(struct engine *e, sqlite3 *ag, const char *group, struct db_row *row)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *file = NULL;
	struct db_row *theirs = former_row(mem, ag, group, row->name, &file);

	if (theirs == NULL || (theirs->state == 1 && follow(e, ag, group, row, theirs, file))) {
		row->state = 0;
		row->redo = (struct lsn){ 0 };
		row->redo_fork = (struct guid){ { 0 } };
		db_save(e, row);
		e->generation++;
	}
	talloc_free(mem);
}

static bool
leave(struct engine *e, const char *name)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *row = db_load(e, mem, name);
	bool good = row != NULL && row->ag != NULL;

	if (good) {
		row->ag = NULL;
		good = db_save(e, row);
		e->generation++;
	}
	talloc_free(mem);
	return good;
}

/* A database whose group let it go is RESTORING as any other. */
static void
forget_what_was_removed(struct engine *e, sqlite3 *ag, TALLOC_CTX *mem)
{
	int step = SQLITE_ERROR;
	sqlite3_stmt *st = ASK(e->meta, &step, "SELECT name, ag FROM db WHERE ag IS NOT NULL");
	char *names[64], *groups[64];
	size_t n = 0;

	for (; st != NULL && step == SQLITE_ROW && n < 64; step = sqlite3_step(st), n++) {
		names[n] = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 0));
		groups[n] = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 1));
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < n; i++)
		if (is_none(ONE(mem, ag, "SELECT count(*) FROM member WHERE grp = ? AND server = ? AND name = ?", groups[i], e->server_name, names[i])))
			leave(e, names[i]);
}

/* Under the lock. */
static void
tick(struct engine *e, sqlite3 *ag)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	int step = SQLITE_ERROR;
	struct { char *group, *name, *state; int64_t since; bool primary; } todo[64];
	size_t n = 0;
	sqlite3_stmt *st = ASK(ag, &step, "SELECT m.grp, m.name, m.state, m.since, g.prime = m.server FROM member m JOIN grp g ON g.name = m.grp"
		" JOIN replica r ON r.grp = m.grp AND r.server = m.server WHERE m.server = ? AND r.joined", e->server_name);

	for (; st != NULL && step == SQLITE_ROW && n < 64; step = sqlite3_step(st), n++) {
		todo[n].group = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 0));
		todo[n].name = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 1));
		todo[n].state = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 2));
		todo[n].since = sqlite3_column_int64(st, 3);
		todo[n].primary = sqlite3_column_int(st, 4) != 0;
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < n; i++) {
		struct db_row *row = db_load(e, mem, todo[i].name), *theirs;
		bool member = row != NULL && row->ag != NULL && strcmp(todo[i].state, "joined") == 0;
		char *file = NULL;

		if (member && todo[i].primary && row->state == 1)
			become_primary(e, ag, todo[i].group, row);
		else if (member && !todo[i].primary && row->state == 0)
			become_secondary(e, row);
		else if (member && !todo[i].primary && (theirs = primary_row(mem, ag, todo[i].group, row->name, &file)) != NULL && theirs->state == 0)
			follow(e, ag, todo[i].group, row, theirs, file);
		else if (!todo[i].primary && strcmp(todo[i].state, "seeding") == 0)
			seed(e, ag, todo[i].group, todo[i].name, todo[i].since);
	}
	forget_what_was_removed(e, ag, mem);
	talloc_free(mem);
}

static void *
run(void *ctx)
{
	struct engine *e = ctx;

	while (!e->ag_stop) {
		sqlite3 *ag = ag_open(e, false);

		if (ag != NULL) {
			pthread_mutex_lock(&e->lock);
			tick(e, ag);
			pthread_mutex_unlock(&e->lock);
		}
		sqlite3_close(ag);
		for (int i = 0; i < TICK_MS / 10 && !e->ag_stop; i++)
			usleep(10000);
	}
	return NULL;
}

static void
start_thread(struct engine *e)
{
	if (!e->ag_runs)
		e->ag_runs = pthread_create(&e->ag_thread, NULL, run, e) == 0;
}

void
ag_begin(struct engine *e)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	sqlite3 *ag;

	e->ag_path = talloc_asprintf(e, "%s/../availability.sqlite", e->dir);
	ag = ag_open(e, false);
	if (ag != NULL && ONE(mem, ag, "SELECT 1 FROM replica WHERE server = ?", e->server_name) != NULL)
		start_thread(e);
	sqlite3_close(ag);
	talloc_free(mem);
}

void
ag_end(struct engine *e)
{
	if (!e->ag_runs)
		return;
	e->ag_stop = true;
	pthread_join(e->ag_thread, NULL);
}

/* ---- statements ------------------------------------------------------------------------------------------------------------ */

static bool
unknown_group(const struct engine_out *out, const char *group)
{
	say(out, 15151, 1, 16, "Cannot alter the availability group '%s', because it does not exist or you do not have permission.", group);
	return false;
}

static bool
put_replica(struct engine *e, sqlite3 *ag, const char *group, const struct engine_replica *r)
{
	bool me = strcasecmp(r->server, e->server_name) == 0;

	return CHANGE(ag, "INSERT INTO replica VALUES(?, ?, ?, ?, ?, CAST(? AS INT), CAST(? AS INT), CAST(? AS INT), CAST(? AS INT))", group, r->server,
		guid_text(guid_new()).s, me ? e->dir : NULL, r->endpoint, r->automatic_seeding ? "1" : "0", r->synchronous ? "1" : "0", me ? "1" : "0",
		me ? "1" : "0");
}

bool
engine_ag_create(struct engine *e, const char *group, const struct engine_replica *replicas, size_t n, const struct engine_out *out)
{
	sqlite3 *ag;
	bool good;

	pthread_mutex_lock(&e->lock);
	ag = ag_open(e, true);
	good = ag != NULL && run_sql(ag, "BEGIN IMMEDIATE") && CHANGE(ag, "INSERT INTO grp VALUES(?, ?, ?, NULL)", group, guid_text(guid_new()).s, e->server_name);

	for (size_t i = 0; i < n && good; i++)
		good = put_replica(e, ag, group, &replicas[i]);
	if (ag != NULL && sqlite3_get_autocommit(ag) == 0)
		good = end_sql(ag, good);
	sqlite3_close(ag);
	if (good)
		start_thread(e);
	pthread_mutex_unlock(&e->lock);
	if (!good)
		say(out, 41152, 2, 16, "Failed to create availability group '%s'.  The operation encountered SQL Server error 41042 and has been rolled back.", group);
	return good;
}

/* What a database must be to be added on the primary. */
static bool
may_be_added(const struct db_row *row, const char *name, const struct engine_out *out)
{
	if (row == NULL)
		say(out, 911, 1, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", name);
	else if (row->state == 1)
		say_ordered(out, 927, row->name, NULL, 0);
	else if (strcasecmp(row->model, "FULL") != 0)
		say(out, 1465, 1, 16, "Database \"%s\" database is not in full recovery mode on each of the server instances. The full recovery model is required for a "
		    "database to participate in database mirroring or in an availability group.", row->name);
	else if (row->standby != NULL)
		say(out, 1466, 1, 16, "Database \"%s\" is read-only on one of the server instances which is incompatible with participating in database mirroring or in "
		    "an availability group. Set the database to read-write mode, and retry the operation.", row->name);
	else if (row->user_access == 1)
		say(out, 1488, 1, 16, "Database \"%s\" cannot be opened because it is in single-user mode.", row->name);
	else if (guid_is_null(row->last_full_guid))
		say(out, 1475, 1, 16, "Database \"%s\" might contain bulk logged changes that have not been backed up. Take a log backup on the principal database or "
		    "primary database. Then restore this backup either on the mirror database to enable database mirroring or on every secondary "
		    "database to enable you to join it to the availability group.", row->name);
	else
		return true;
	return false;
}

static bool
add_database(struct engine *e, sqlite3 *ag, const char *group, const char *name, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *row = db_load(e, mem, name);
	bool good = may_be_added(row, name, out);
	char now[24];

	snprintf(now, sizeof(now), "%lld", (long long)engine_now_ms(e));
	if (good) {
		row->ag = talloc_strdup(row, group);
		good = db_save(e, row) && run_sql(ag, "BEGIN IMMEDIATE") && CHANGE(ag, "INSERT OR REPLACE INTO base VALUES(?, ?, ?)", group, row->name, guid_text(guid_new()).s) &&
		       /* A replica that seeds by itself and may not create fails at once; one that is seeded by hand waits. */
		       CHANGE(ag, "INSERT OR REPLACE INTO member SELECT grp, server, ?, CASE WHEN server = ? THEN 'joined' WHEN NOT automatic THEN '' WHEN"
				" may_create THEN 'seeding' ELSE 'failed' END, CAST(? AS INT), 0, NULL, CASE WHEN server <> ? AND automatic AND NOT may_create THEN"
				" 'Seeding Check Message Timeout' END FROM replica WHERE grp = ?", row->name, e->server_name, now, e->server_name, group) &&
		       run_sql(ag, "COMMIT");
	}
	talloc_free(mem);
	return good;
}

static bool
remove_database(struct engine *e, sqlite3 *ag, const char *group, const char *name)
{
	/* Each takes the word off its own row, now or when it next looks; secondaries are left RESTORING. */
	return run_sql(ag, "BEGIN IMMEDIATE") && CHANGE(ag, "DELETE FROM base WHERE grp = ? AND name = ?", group, name) &&
	       CHANGE(ag, "DELETE FROM member WHERE grp = ? AND name = ?", group, name) && run_sql(ag, "COMMIT") && leave(e, name);
}

static bool
all_synchronised(struct engine *e, sqlite3 *ag, const char *group)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char limit[24];
	bool good;

	snprintf(limit, sizeof(limit), "%lld", (long long)(engine_now_ms(e) - knob(e, KNOB_SYNC_MS)));
	good = is_none(ONE(mem, ag, "SELECT count(*) FROM member m JOIN replica r ON r.grp = m.grp AND r.server = m.server WHERE m.grp = ? AND m.server = ? AND"
		" (m.state <> 'joined' OR NOT r.synchronous OR m.since > CAST(? AS INT))", group, e->server_name, limit));
	talloc_free(mem);
	return good;
}

static bool
all_are_up(struct engine *e, const char *group)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool up = is_none(ONE(mem, e->meta, "SELECT count(*) FROM db WHERE ag = ? AND state <> 0", group));

	talloc_free(mem);
	return up;
}

/* On the secondary that is to be the primary. The last of the log is pulled before anybody changes sides. */
static bool
fail_over(struct engine *e, sqlite3 *ag, const char *group, bool force, const struct engine_out *out)
{
	if (is_primary_of(e, ag, group) || (!force && !all_synchronised(e, ag, group))) {
		say(out, 41142, 34, 16, "The availability replica for availability group '%s' on this instance of SQL Server cannot become the primary replica. One or "
		    "more databases are not synchronized or have not joined the availability group. If the availability replica uses the asynchronous-commit mode, "
		    "consider performing a forced manual failover (with possible data loss).", group);
		return false;
	}
	if (!CHANGE(ag, "UPDATE grp SET former = iif(? = '1', NULL, prime), prime = ? WHERE name = ?", force ? "1" : "0", e->server_name, group))
		return false;
	/* The statement ends when the databases are up here, which takes the former primary's next look; others are served meanwhile. */
	for (int i = 0; i < 250 && !all_are_up(e, group); i++) {
		tick(e, ag);
		pthread_mutex_unlock(&e->lock);
		usleep(20000);
		pthread_mutex_lock(&e->lock);
	}
	if (all_are_up(e, group))
		return true;
	say(out, 41131, 0, 10, "Failed to bring availability group '%s' online.  The operation timed out.", group);
	return false;
}

void
ag_fail_over(struct engine *e)
{
	sqlite3 *ag = ag_open(e, false);

	if (ag != NULL)
		CHANGE(ag, "UPDATE grp SET former = prime, prime = (SELECT server FROM replica r WHERE r.grp = grp.name AND r.joined AND r.server <> grp.prime ORDER BY server LIMIT 1)"
			" WHERE prime = ? AND EXISTS(SELECT 1 FROM replica r WHERE r.grp = grp.name AND r.joined AND r.server <> grp.prime)", e->server_name);
	sqlite3_close(ag);
}

static bool
drop_group(struct engine *e, sqlite3 *ag, const char *group)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	int step = SQLITE_ERROR;
	sqlite3_stmt *st = ASK(ag, &step, "SELECT name FROM base WHERE grp = ?", group);

	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st))
		leave(e, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	talloc_free(mem);
	return CHANGE(ag, "DELETE FROM member WHERE grp = ?", group) && CHANGE(ag, "DELETE FROM base WHERE grp = ?", group) &&
	       CHANGE(ag, "DELETE FROM replica WHERE grp = ?", group) && CHANGE(ag, "DELETE FROM grp WHERE name = ?", group);
}

static bool
not_here(const struct engine_out *out, const char *group)
{
	say(out, 41190, 8, 16, "Availability group '%s' failed to process the command.  The local availability replica is not in a state that could process the "
	    "command. Verify that the availability group is online and that the local availability replica is the primary replica, then retry the command.", group);
	return false;
}

static bool
do_verb(struct engine *e, sqlite3 *ag, const char *group, enum engine_ag_verb verb, const char *what, const struct engine_replica *r,
        const struct engine_out *out)
{
	switch (verb) {
	case ENGINE_AG_JOIN:
		return (CHANGE(ag, "UPDATE replica SET joined = 1, dir = ? WHERE grp = ? AND server = ?", e->dir, group, e->server_name) && sqlite3_changes(ag) == 1) ||
		       not_here(out, group);
	case ENGINE_AG_GRANT:
		return CHANGE(ag, "UPDATE replica SET may_create = 1 WHERE grp = ? AND server = ?", group, e->server_name) &&
		       CHANGE(ag, "UPDATE member SET state = 'seeding', why = NULL WHERE grp = ? AND server = ? AND state = 'failed'", group, e->server_name);
	case ENGINE_AG_ADD: return is_primary_of(e, ag, group) ? add_database(e, ag, group, what, out) : not_here(out, group);
	case ENGINE_AG_REMOVE: return is_primary_of(e, ag, group) ? remove_database(e, ag, group, what) : not_here(out, group);
	case ENGINE_AG_FAILOVER: return fail_over(e, ag, group, false, out);
	case ENGINE_AG_FORCE: return fail_over(e, ag, group, true, out);
	case ENGINE_AG_DROP: return drop_group(e, ag, group);
	case ENGINE_AG_MODIFY:
		return !r->says_seeding || CHANGE(ag, "UPDATE replica SET automatic = CAST(? AS INT) WHERE grp = ? AND server = ?", r->automatic_seeding ? "1" : "0", group, r->server);
	}
	return false;
}

bool
engine_ag_do(struct engine *e, const char *group, enum engine_ag_verb verb, const char *what, const struct engine_replica *replica,
             const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	sqlite3 *ag = ag_open(e, false);
	bool known = ag != NULL && ONE(mem, ag, "SELECT 1 FROM replica WHERE grp = ? AND server = ?", group, e->server_name) != NULL, good;

	if (!known) {
		good = unknown_group(out, group);
	} else {
		pthread_mutex_lock(&e->lock);
		good = do_verb(e, ag, group, verb, what, replica, out);
		if (good)
			start_thread(e);
		pthread_mutex_unlock(&e->lock);
	}
	sqlite3_close(ag);
	talloc_free(mem);
	return good;
}

/* On a secondary, by hand. */
static bool
join_database(struct engine *e, sqlite3 *ag, TALLOC_CTX *mem, struct db_row *row, const char *group, const struct engine_out *out)
{
	char *file = NULL;
	struct db_row *theirs = primary_row(mem, ag, group, row->name, &file);
	int number;

	if (row->state != 1) {
		say(out, 1464, 1, 16, "Database \"%s\" is not in a recovering state which is required for a mirror database or secondary database. The remote database must "
		    "be restored using WITH NORECOVERY.", row->name);
		return false;
	}
	number = theirs == NULL || theirs->state != 0 ? 1412 : may_follow(row, theirs);
	if (number == 1478)
		say(out, 1478, 2, 16, "The mirror database, \"%s\", has insufficient transaction log data to preserve the log backup chain of the principal database.  This "
		    "may happen if a log backup from the principal database has not been taken or has not been restored on the mirror database.", row->name);
	else if (number == 1412)
		say(out, 1412, 211, 16, "The remote copy of database \"%s\" has not been rolled forward to a point in time that is encompassed in the local copy of the "
		    "database log.", row->name);
	if (number != 0)
		return false;
	row->ag = talloc_strdup(row, group);
	if (!db_save(e, row))
		return false;
	set_member(ag, group, e->server_name, row->name, "joined", NULL, engine_now_ms(e));
	return true;
}

bool
engine_ag_join_database(struct engine *e, const char *database, const char *group, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	sqlite3 *ag = ag_open(e, false);
	struct db_row *row;
	bool good = false;

	pthread_mutex_lock(&e->lock);
	row = db_load(e, mem, database);
	if (row == NULL)
		say(out, 5011, 5, 14, "User does not have permission to alter database '%s', the database does not exist, or the database is "
		    "not in a state that allows access checks.", database);
	else if (group == NULL)
		good = leave(e, database);
	else if (ag == NULL || ONE(mem, ag, "SELECT 1 FROM member WHERE grp = ? AND server = ? AND name = ?", group, e->server_name, database) == NULL)
		unknown_group(out, group);
	else
		good = join_database(e, ag, mem, row, group, out);
	pthread_mutex_unlock(&e->lock);
	sqlite3_close(ag);
	talloc_free(mem);
	return good;
}

/* ---- views ------------------------------------------------------------------------------------------------------------------ */

/*
 * One statement each, over the attached file of groups. Everything that depends on the moment is a parameter:
 * ?1 this server, ?2 the time before which a join is SYNCHRONIZED, ?3 now.
 */
static const char *const views[] = {
	"INSERT INTO sys.availability_groups SELECT g.id, g.name FROM ag.grp g WHERE EXISTS(SELECT 1 FROM ag.replica r WHERE r.grp = g.name AND r.server = ?1)",
	"INSERT INTO sys.availability_replicas SELECT r.id, g.id, r.server, r.endpoint, r.synchronous, iif(r.synchronous, 'SYNCHRONOUS_COMMIT',"
	" 'ASYNCHRONOUS_COMMIT'), NOT r.automatic, iif(r.automatic, 'AUTOMATIC', 'MANUAL') FROM ag.replica r JOIN ag.grp g ON g.name = r.grp",
	"INSERT INTO sys.availability_databases_cluster SELECT g.id, b.id, b.name FROM ag.base b JOIN ag.grp g ON g.name = b.grp",
	/* A secondary knows of itself only; the primary knows of all. */
	"INSERT INTO sys.dm_hadr_availability_replica_states SELECT r.id, g.id, r.server = ?1, iif(r.server = g.prime, 1, 2), iif(r.server = g.prime, 'PRIMARY',"
	" 'SECONDARY'), r.joined, iif(r.joined, 'CONNECTED', 'DISCONNECTED'), iif(r.joined, 2, 0), iif(r.joined, 'HEALTHY', 'NOT_HEALTHY')"
	" FROM ag.replica r JOIN ag.grp g ON g.name = r.grp WHERE r.server = ?1 OR g.prime = ?1",
	"INSERT INTO sys.dm_hadr_database_replica_states SELECT d.database_id, g.id, r.id, b.id, r.server = ?1, r.server = g.prime,"
	" iif(m.server = g.prime, 2, iif(r.synchronous AND m.since <= CAST(?2 AS INT), 2, 1)), NULL, iif(r.server = g.prime OR m.since <= CAST(?2 AS INT), 2, 1),"
	" NULL, 0, 'ONLINE', 0, NULL, m.at, m.at, 0, 0, 0, iif(m.server = g.prime, NULL, 0)"
	" FROM ag.member m JOIN ag.grp g ON g.name = m.grp JOIN ag.replica r ON r.grp = m.grp AND r.server = m.server JOIN ag.base b ON b.grp = m.grp AND b.name ="
	" m.name LEFT JOIN sys.databases d ON d.name = m.name WHERE m.state = 'joined' AND (r.server = ?1 OR g.prime = ?1)",
	"UPDATE sys.dm_hadr_database_replica_states SET synchronization_state_desc = iif(synchronization_state = 2, 'SYNCHRONIZED', 'SYNCHRONIZING'),"
	" synchronization_health_desc = iif(synchronization_health = 2, 'HEALTHY', 'PARTIALLY_HEALTHY')",
	"INSERT INTO sys.dm_hadr_automatic_seeding SELECT g.id, b.id, r.id, strftime('%Y-%m-%dT%H:%M:%S', m.since / 1000, 'unixepoch'),"
	" iif(m.state = 'seeding', NULL, strftime('%Y-%m-%dT%H:%M:%S', m.finished / 1000, 'unixepoch')), CASE m.state WHEN 'joined' THEN 'COMPLETED'"
	" WHEN 'failed' THEN 'FAILED' ELSE 'SEEDING' END, m.state = 'joined', iif(m.state = 'failed', 15, NULL), m.why FROM ag.member m JOIN ag.grp g ON g.name = m.grp"
	" JOIN ag.replica r ON r.grp = m.grp AND r.server = m.server JOIN ag.base b ON b.grp = m.grp AND b.name = m.name WHERE r.automatic AND m.server <> g.prime",
	"INSERT INTO sys.dm_hadr_physical_seeding_stats SELECT m.name, m.server, 0, 0, strftime('%Y-%m-%dT%H:%M:%S', m.since / 1000, 'unixepoch'), NULL, NULL"
	" FROM ag.member m WHERE m.state = 'seeding'",
	"UPDATE sys.databases SET group_database_id = (SELECT b.id FROM ag.base b JOIN ag.member m ON m.grp = b.grp AND m.name = b.name WHERE b.name ="
	" sys.databases.name AND m.server = ?1 AND m.state = 'joined'), replica_id = (SELECT r.id FROM ag.replica r JOIN ag.member m ON m.grp = r.grp AND m.server ="
	" r.server WHERE m.name = sys.databases.name AND r.server = ?1 AND m.state = 'joined')",
};

void
ag_fill(struct engine *e, sqlite3 *db)
{
	char before[24], now[24];

	if (access(e->ag_path, F_OK) != 0 || !CHANGE(db, "ATTACH ? AS ag", e->ag_path))
		return;
	snprintf(before, sizeof(before), "%lld", (long long)(engine_now_ms(e) - knob(e, KNOB_SYNC_MS)));
	snprintf(now, sizeof(now), "%lld", (long long)engine_now_ms(e));
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		CHANGE(db, views[i], e->server_name, before, now);
	run_sql(db, "DETACH ag");
}
