#include "tests/standin/engine_parts.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/text.h"

/* ---- saying ------------------------------------------------------------------------------------------- */

void
say(const struct engine_out *out, int number, int state, int severity, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out->message(out->ctx, number, state, severity, text);
}

void
tell(const struct engine_out *out, int curcmd, int number, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out->message(out->ctx, number, 1, 0, text);
	if (out->done_more != NULL)
		out->done_more(out->ctx, curcmd);
}

/* ---- SQLite ------------------------------------------------------------------------------------------- */

bool
run_sql(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool
end_sql(sqlite3 *db, bool good)
{
	good = good && run_sql(db, "COMMIT");
	if (!good)
		run_sql(db, "ROLLBACK");
	return good;
}

/* SQL Server's usual collation as far as tests see it: blind to case and to blanks at the end. */
static int
collate(void *ctx, int na, const void *a, int nb, const void *b)
{
	const unsigned char *x = a, *y = b;
	int i = 0;

	(void)ctx;
	while (na > 0 && x[na - 1] == ' ')
		na--;
	while (nb > 0 && y[nb - 1] == ' ')
		nb--;
	for (; i < na && i < nb; i++) {
		int d = tolower(x[i]) - tolower(y[i]);

		if (d != 0)
			return d;
	}
	return na - nb;
}

sqlite3 *
file_open(const char *path, bool read_only)
{
	sqlite3 *db = NULL;
	char uri[4200];
	/* Read-only by the address and not by a flag, which what is attached (the catalogue) would inherit. */
	int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (read_only ? 0 : SQLITE_OPEN_CREATE);

	snprintf(uri, sizeof(uri), "file:%s%s", path, read_only ? "?mode=ro&immutable=1" : "");
	if (sqlite3_open_v2(uri, &db, flags, NULL) != SQLITE_OK) {
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_db_config(db, SQLITE_DBCONFIG_MAINDBNAME, "dbo");
	sqlite3_create_collation(db, "TSQL", SQLITE_UTF8, NULL, collate);
	sqlite3_create_collation(db, "SQL", SQLITE_UTF8, NULL, collate); /* as queries written anew name it */
	sqlite3_busy_timeout(db, 20000);
	if (!read_only)
		run_sql(db, "PRAGMA synchronous=FULL; PRAGMA journal_mode=DELETE; PRAGMA foreign_keys=OFF;");
	return db;
}

sqlite3_stmt *
ask_sql(sqlite3 *db, const char *sql, size_t n, const char *const *params, int *step)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return NULL;
	for (size_t i = 0; i < n; i++)
		sqlite3_bind_text(st, (int)i + 1, params[i], -1, SQLITE_TRANSIENT);
	*step = sqlite3_step(st);
	return st;
}

bool
change_sql(sqlite3 *db, const char *sql, size_t n, const char *const *params)
{
	int step = SQLITE_ERROR;
	sqlite3_stmt *st = ask_sql(db, sql, n, params, &step);

	sqlite3_finalize(st);
	return st != NULL && (step == SQLITE_DONE || step == SQLITE_ROW);
}

struct guid
guid_new(void)
{
	struct guid g;

	if (RAND_bytes(g.b, sizeof(g.b)) != 1)
		abort();
	return g;
}

/* ---- the server's own facts -------------------------------------------------------------------------------- */

static const char meta_schema[] =
	"CREATE TABLE IF NOT EXISTS db(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE TSQL, state INT, "
	" user_access INT, opaque INT, model TEXT, owner TEXT, family TEXT, binding TEXT, fork TEXT, fork1 TEXT, base_guid TEXT,"
	" last_full_guid TEXT, restored_base TEXT, pending TEXT, base_lsn TEXT, last_full_lsn TEXT, chain_origin TEXT,"
	" next_log TEXT, redo TEXT, redo_fork TEXT, fork1_lsn TEXT, created INT, pending_type TEXT, pages_checked INT,"
	" pages_bad INT, standby TEXT, redo_at INT, compat INT, ag TEXT);"
	"CREATE TABLE IF NOT EXISTS file(db INT, file_id INT, type TEXT, name TEXT, path TEXT UNIQUE, PRIMARY KEY(db, file_id));"
	"CREATE TABLE IF NOT EXISTS history(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, type TEXT, recovery INT, at INT,"
	" set_guid TEXT, family TEXT, first TEXT, last TEXT, login TEXT, replace INT, stop_at TEXT, devices INT);"
	"CREATE TABLE IF NOT EXISTS login(name TEXT PRIMARY KEY COLLATE TSQL, salt BLOB, hash BLOB, admin INT, sid TEXT, disabled INT DEFAULT 0);"
	"CREATE TABLE IF NOT EXISTS certificate(thumbprint BLOB PRIMARY KEY);"
	"CREATE TABLE IF NOT EXISTS knob(name TEXT PRIMARY KEY, value INT);";

char *
db_path(const struct engine *e, TALLOC_CTX *mem, int id, const char *suffix)
{
	return talloc_asprintf(mem, "%s/db%d%s", e->dir, id, suffix);
}

static void
set_guid(struct guid *g, sqlite3_stmt *st, int col)
{
	guid_parse((const char *)sqlite3_column_text(st, col), g);
}

static void
set_lsn(struct lsn *l, sqlite3_stmt *st, int col)
{
	lsn_parse((const char *)sqlite3_column_text(st, col), l);
}

static char *
dup_text(TALLOC_CTX *mem, sqlite3_stmt *st, int col)
{
	const char *s = (const char *)sqlite3_column_text(st, col);

	return s == NULL ? NULL : talloc_strdup(mem, s);
}

static struct db_row *
row_of(TALLOC_CTX *mem, sqlite3_stmt *st)
{
	struct db_row *r = talloc_zero(mem, struct db_row);
	const char *pending;

	r->id = sqlite3_column_int(st, 0);
	r->name = dup_text(r, st, 1);
	r->state = sqlite3_column_int(st, 2);
	r->user_access = sqlite3_column_int(st, 3);
	r->opaque = sqlite3_column_int(st, 4);
	r->model = dup_text(r, st, 5);
	r->owner = dup_text(r, st, 6);
	set_guid(&r->family, st, 7);
	set_guid(&r->binding, st, 8);
	set_guid(&r->fork, st, 9);
	set_guid(&r->fork1, st, 10);
	set_guid(&r->base_guid, st, 11);
	set_guid(&r->last_full_guid, st, 12);
	set_guid(&r->restored_base, st, 13);
	set_guid(&r->pending, st, 14);
	set_lsn(&r->base_lsn, st, 15);
	set_lsn(&r->last_full_lsn, st, 16);
	set_lsn(&r->chain_origin, st, 17);
	set_lsn(&r->next_log, st, 18);
	set_lsn(&r->redo, st, 19);
	set_guid(&r->redo_fork, st, 20);
	set_lsn(&r->fork1_lsn, st, 21);
	r->created = sqlite3_column_int64(st, 22);
	pending = (const char *)sqlite3_column_text(st, 23);
	r->pending_type = pending == NULL ? 0 : pending[0];
	r->pages_checked = sqlite3_column_int64(st, 24);
	r->pages_bad = sqlite3_column_int64(st, 25);
	r->standby = dup_text(r, st, 26);
	r->redo_at = sqlite3_column_int64(st, 27);
	r->compat = sqlite3_column_int(st, 28);
	r->ag = dup_text(r, st, 29);
	return r;
}

struct db_row *
db_load(struct engine *e, TALLOC_CTX *mem, const char *name)
{
	int step;
	sqlite3_stmt *st = ASK(e->meta, &step, "SELECT * FROM db WHERE name = ?", name);
	struct db_row *r = st != NULL && step == SQLITE_ROW ? row_of(mem, st) : NULL;

	sqlite3_finalize(st);
	return r;
}

bool
db_save(struct engine *e, const struct db_row *r)
{
	const char pending[2] = { r->pending_type, '\0' };
	char numbers[8][24];

	snprintf(numbers[0], 24, "%d", r->state);
	snprintf(numbers[1], 24, "%d", r->user_access);
	snprintf(numbers[2], 24, "%d", r->opaque);
	snprintf(numbers[3], 24, "%lld", (long long)r->created);
	snprintf(numbers[4], 24, "%lld", (long long)r->pages_checked);
	snprintf(numbers[5], 24, "%lld", (long long)r->pages_bad);
	snprintf(numbers[6], 24, "%lld", (long long)r->redo_at);
	snprintf(numbers[7], 24, "%d", r->compat);
	return CHANGE(e->meta,
		"INSERT INTO db(name, state, user_access, opaque, model, owner, family, binding, fork, fork1, base_guid, last_full_guid,"
		" restored_base, pending, base_lsn, last_full_lsn, chain_origin, next_log, redo, redo_fork, fork1_lsn, created,"
		" pending_type, pages_checked, pages_bad, standby, redo_at, compat, ag)"
		" VALUES(?,CAST(? AS INT),CAST(? AS INT),CAST(? AS INT),?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,CAST(? AS INT),?,CAST(? AS INT),"
		" CAST(? AS INT),?,CAST(? AS INT),CAST(? AS INT),?) ON CONFLICT(name) DO UPDATE SET state=excluded.state, user_access=excluded.user_access,"
		" opaque=excluded.opaque, model=excluded.model, owner=excluded.owner, family=excluded.family, binding=excluded.binding,"
		" fork=excluded.fork, fork1=excluded.fork1, base_guid=excluded.base_guid, last_full_guid=excluded.last_full_guid,"
		" restored_base=excluded.restored_base, pending=excluded.pending, base_lsn=excluded.base_lsn,"
		" last_full_lsn=excluded.last_full_lsn, chain_origin=excluded.chain_origin, next_log=excluded.next_log,"
		" redo=excluded.redo, redo_fork=excluded.redo_fork, fork1_lsn=excluded.fork1_lsn, created=excluded.created,"
		" pending_type=excluded.pending_type, pages_checked=excluded.pages_checked, pages_bad=excluded.pages_bad,"
		" standby=excluded.standby, redo_at=excluded.redo_at, compat=excluded.compat, ag=excluded.ag",
		r->name, numbers[0], numbers[1], numbers[2], r->model, r->owner, guid_text(r->family).s, guid_text(r->binding).s,
		guid_text(r->fork).s, guid_text(r->fork1).s, guid_text(r->base_guid).s, guid_text(r->last_full_guid).s,
		guid_text(r->restored_base).s, guid_text(r->pending).s, lsn_text(r->base_lsn).s, lsn_text(r->last_full_lsn).s,
		lsn_text(r->chain_origin).s, lsn_text(r->next_log).s, lsn_text(r->redo).s, guid_text(r->redo_fork).s,
		lsn_text(r->fork1_lsn).s, numbers[3], pending, numbers[4], numbers[5], r->standby, numbers[6], numbers[7], r->ag);
}

static int
engine_close(struct engine *e)
{
	ag_end(e);
	sqlite3_close(e->meta);
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->knobs_lock);
	return 0;
}

static void
load_knobs(struct engine *e)
{
	size_t n;
	const struct engine_knob *list = engine_knobs(&n);

	for (size_t i = 0; i < n; i++) {
		int step;
		sqlite3_stmt *st = ASK(e->meta, &step, "SELECT value FROM knob WHERE name = ?", list[i].name);

		e->knob[i] = e->ordered[i] = st != NULL && step == SQLITE_ROW ? (long)sqlite3_column_int64(st, 0) : list[i].standard;
		sqlite3_finalize(st);
	}
}

static const struct engine_release releases[] = {
	{ 2016, 13, 6300, 852, 130, "13.0.6300.2", "13.00.6300", 56 },
	{ 2019, 15, 4430, 904, 150, "15.0.4430.1", "15.00.2000", 56 },
	{ 2022, 16, 4236, 957, 160, "16.0.4236.2", "16.00.1000", 59 },
};

bool
engine_set_release(struct engine *e, int year)
{
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++)
		if (releases[i].year == year) {
			e->release = &releases[i];
			return true;
		}
	return false;
}

const struct engine_release *
engine_release(const struct engine *e)
{
	return e->release;
}

struct engine *
engine_open(TALLOC_CTX *parent, const char *dir, const char *server_name, struct err *err)
{
	struct engine *e = talloc_zero(parent, struct engine);
	char *path = talloc_asprintf(e, "%s/server.sqlite", dir);

	/* Nobody asks how much SQLite has allocated, and counting it takes a lock of the whole process each time. Too late after the
	 * first engine, and done then. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
		err_errno(err, errno, "%s", dir);
		talloc_free(e);
		return NULL;
	}
	e->dir = talloc_strdup(e, dir);
	e->server_name = talloc_strdup(e, server_name);
	e->faults = talloc_asprintf(e, "%s/faults", dir);
	e->generation = 1;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->knobs_lock, NULL);
	e->meta = file_open(path, false);
	talloc_set_destructor(e, engine_close);
	if (e->meta == NULL || !run_sql(e->meta, meta_schema)) {
		err_set(err, ERR_OPERATOR, 0, "%s cannot be opened: %s", path, e->meta == NULL ? "" : sqlite3_errmsg(e->meta));
		talloc_free(e);
		return NULL;
	}
	engine_set_release(e, 2019);
	load_knobs(e);
	recover_all(e);
	ag_begin(e);
	return e;
}

const char *
engine_server_name(const struct engine *e)
{
	return e->server_name;
}

/* ---- running statements ---------------------------------------------------------------------------------------- */

void
running_enters(struct engine *e, struct running *r, const char *command, int database_id, const struct engine_out *out)
{
	*r = (struct running){ .session_id = out->session_id, .database_id = database_id, .since = engine_now_ms(e) / 1000 };
	snprintf(r->command, sizeof(r->command), "%s", command);
	snprintf(r->program, sizeof(r->program), "%s", out->program == NULL ? "" : out->program);
	r->next = e->running;
	e->running = r;
}

void
running_begin(struct engine *e, struct running *r, const char *command, int database_id, const struct engine_out *out)
{
	pthread_mutex_lock(&e->lock);
	running_enters(e, r, command, database_id, out);
	pthread_mutex_unlock(&e->lock);
}

void
running_end(struct engine *e, struct running *r)
{
	pthread_mutex_lock(&e->lock);
	for (struct running **p = &e->running; *p != NULL; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			break;
		}
	pthread_mutex_unlock(&e->lock);
}

void
engine_kill(struct engine *e, int session_id)
{
	pthread_mutex_lock(&e->lock);
	for (struct running *r = e->running; r != NULL; r = r->next)
		if (r->session_id == session_id)
			r->killed = true;
	pthread_mutex_unlock(&e->lock);
}

bool
is_cancelled(const struct engine_out *out, const struct running *r)
{
	return r->killed || (out->cancelled != NULL && out->cancelled(out->ctx));
}

/* ---- who is inside a database ---------------------------------------------------------------------------------- */

static void
guest_enters(struct engine *e, sqlite3 *db, int database_id, int session_id)
{
	struct guest *g = talloc(e, struct guest);

	*g = (struct guest){ e->guests, db, database_id, session_id };
	e->guests = g;
}

bool
has_guests(const struct engine *e, int database_id, int but_session)
{
	for (const struct guest *g = e->guests; g != NULL; g = g->next)
		if (g->database_id == database_id && g->session_id != but_session)
			return true;
	return false;
}

/* SINGLE_USER WITH ROLLBACK IMMEDIATE: the others are no longer in anybody's way. */
static void
guests_leave(struct engine *e, int database_id, int but_session)
{
	for (struct guest *g = e->guests; g != NULL; g = g->next)
		if (g->database_id == database_id && g->session_id != but_session)
			g->database_id = 0;
}

/* ---- databases ---------------------------------------------------------------------------------------------------- */

enum engine_state
engine_state(struct engine *e, const char *database)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	enum engine_state s = ENGINE_ABSENT;
	struct db_row *r;

	if (strcasecmp(database, "master") == 0 || strcasecmp(database, "msdb") == 0) {
		talloc_free(mem);
		return ENGINE_ONLINE;
	}
	pthread_mutex_lock(&e->lock);
	if ((r = db_load(e, mem, database)) != NULL)
		s = (enum engine_state)r->state;
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return s;
}

int
engine_database_id(struct engine *e, const char *database)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	int id = 0;

	pthread_mutex_lock(&e->lock);
	if (strcasecmp(database, "master") == 0)
		id = 1;
	else if (strcasecmp(database, "msdb") == 0)
		id = 4;
	else if ((r = db_load(e, mem, database)) != NULL)
		id = r->id + 4;
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return id;
}

char *
engine_database_name(struct engine *e, TALLOC_CTX *mem, int id)
{
	char text[16], *name = NULL;
	sqlite3_stmt *st;
	int step;

	if (id == 1)
		return talloc_strdup(mem, "master");
	if (id == 4)
		return talloc_strdup(mem, "msdb");
	snprintf(text, sizeof(text), "%d", id - 4);
	pthread_mutex_lock(&e->lock);
	st = ASK(e->meta, &step, "SELECT name FROM db WHERE id = CAST(? AS INT)", text);
	if (st != NULL && step == SQLITE_ROW)
		name = dup_text(mem, st, 0);
	sqlite3_finalize(st);
	pthread_mutex_unlock(&e->lock);
	return name;
}

bool
log_prepare(sqlite3 *db)
{
	return run_sql(db,
		"CREATE TABLE IF NOT EXISTS _standin_log(block INTEGER PRIMARY KEY, blocks INT NOT NULL, at INT NOT NULL, kind INT NOT NULL,"
		" data BLOB NOT NULL);"
		"CREATE TABLE IF NOT EXISTS _standin_state(k TEXT PRIMARY KEY, v INT NOT NULL);"
		"INSERT OR IGNORE INTO _standin_state VALUES('next_block', 16);");
}

static char *
file_setting(const char *name, const char *suffix, TALLOC_CTX *mem)
{
	return talloc_asprintf(mem, "%s%s", name, suffix);
}

bool
engine_create(struct engine *e, const char *database, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r = NULL;
	sqlite3 *db = NULL;
	char id[16], *path = NULL;
	bool good = false;

	pthread_mutex_lock(&e->lock);
	if (db_load(e, mem, database) != NULL || strcasecmp(database, "master") == 0) {
		say(out, 1801, 3, 16, "Database '%s' already exists. Choose a different database name.", database);
		goto out;
	}
	r = talloc_zero(mem, struct db_row);
	r->name = talloc_strdup(r, database);
	r->model = talloc_strdup(r, "FULL");
	r->owner = talloc_strdup(r, out->login == NULL ? "sa" : out->login);
	r->family = r->fork = guid_new();
	r->binding = guid_new();
	r->created = engine_now_ms(e) / 1000;
	r->compat = e->release->compat;
	run_sql(e->meta, "BEGIN IMMEDIATE");
	if (!db_save(e, r) || (r = db_load(e, mem, database)) == NULL)
		goto out;
	path = db_path(e, mem, r->id, ".sqlite");
	unlink(path);
	db = file_open(path, false);
	snprintf(id, sizeof(id), "%d", r->id);
	good = db != NULL && log_prepare(db) &&
	       CHANGE(e->meta, "INSERT INTO file VALUES(CAST(? AS INT), 1, 'D', ?, ?)", id, database,
	              talloc_asprintf(mem, "%s/%s", e->dir, file_setting(id, "_data.mdf", mem))) &&
	       CHANGE(e->meta, "INSERT INTO file VALUES(CAST(? AS INT), 2, 'L', ?, ?)", id, file_setting(database, "_log", mem),
	              talloc_asprintf(mem, "%s/%s", e->dir, file_setting(id, "_log.ldf", mem)));
out:
	if (sqlite3_get_autocommit(e->meta) == 0)
		good = end_sql(e->meta, good);
	e->generation++;
	pthread_mutex_unlock(&e->lock);
	sqlite3_close(db);
	talloc_free(mem);
	return good;
}

static void
remove_files(struct engine *e, TALLOC_CTX *mem, const struct db_row *r)
{
	static const char *const suffixes[] = { ".sqlite", ".sqlite-journal", ".base", ".base.new", ".work" };
	char id[16];
	sqlite3_stmt *st;
	int step;

	snprintf(id, sizeof(id), "%d", r->id);
	st = ASK(e->meta, &step, "SELECT path FROM file WHERE db = CAST(? AS INT)", id);
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st)) {
		unlink((const char *)sqlite3_column_text(st, 0));
		unlink(talloc_asprintf(mem, "%s" OVERLAY, (const char *)sqlite3_column_text(st, 0)));
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		unlink(db_path(e, mem, r->id, suffixes[i]));
}

bool
engine_drop(struct engine *e, const char *database, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	char id[16];
	bool good = false, busy = false;

	pthread_mutex_lock(&e->lock);
	if ((r = db_load(e, mem, database)) == NULL) {
		say(out, 3701, 1, 11, "Cannot drop the database '%s', because it does not exist or you do not have permission.", database);
		goto out;
	}
	if (r->ag != NULL) {
		say(out, 3752, 1, 16, "The database '%s' is currently joined to an availability group.  Before you can drop the database, you need to remove it "
		    "from the availability group.", database);
		goto out;
	}
	for (struct running *x = e->running; x != NULL; x = x->next)
		busy = busy || x->database_id == r->id + 4;
	if (busy || has_guests(e, r->id + 4, out->session_id)) {
		say(out, 3702, 3, 16, "Cannot drop database \"%s\" because it is currently in use.", database);
		goto out;
	}
	snprintf(id, sizeof(id), "%d", r->id);
	/* Killed among its files, it is a database that can only be restored or dropped again. */
	r->state = 1;
	r->pending_type = 'D';
	r->pending = (struct guid){ { 0 } };
	r->standby = NULL;
	r->redo = (struct lsn){ 0 };
	if (!db_save(e, r))
		goto out;
	remove_files(e, mem, r);
	run_sql(e->meta, "BEGIN IMMEDIATE");
	good = CHANGE(e->meta, "DELETE FROM file WHERE db = CAST(? AS INT)", id) &&
	       CHANGE(e->meta, "DELETE FROM db WHERE id = CAST(? AS INT)", id);
	good = end_sql(e->meta, good);
	e->generation++;
out:
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

bool
engine_alter(struct engine *e, const char *database, const char *option, const char *value, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	bool good = false;

	pthread_mutex_lock(&e->lock);
	if ((r = db_load(e, mem, database)) == NULL) {
		say(out, 5011, 5, 14, "User does not have permission to alter database '%s', the database does not exist, or the database is "
		    "not in a state that allows access checks.", database);
	} else if (r->state == 1 || r->standby != NULL) {
		say(out, 5052, 1, 16, "ALTER DATABASE is not permitted while a database is in the %s state.", r->standby == NULL ? "Restoring" : "Standby");
	} else if (r->ag != NULL && (strcasecmp(option, "RECOVERY") == 0 || strcasecmp(option, "SINGLE_USER") == 0)) {
		say(out, 1468, 1, 16, "The operation cannot be performed on database \"%s\" because it is involved in a database mirroring session or an "
		    "availability group. Some operations are not allowed on a database that is participating in a database mirroring session or in an "
		    "availability group.", database);
	} else {
		if (strcasecmp(option, "RECOVERY") == 0)
			r->model = talloc_strdup(r, strcasecmp(value, "BULK_LOGGED") == 0 ? "BULK-LOGGED" : value);
		else if (strcasecmp(option, "SINGLE_USER") == 0)
			r->user_access = 1;
		else if (strcasecmp(option, "RESTRICTED_USER") == 0)
			r->user_access = 2;
		else if (strcasecmp(option, "MULTI_USER") == 0)
			r->user_access = 0;
		else if (strcasecmp(option, "COMPATIBILITY_LEVEL") == 0)
			r->compat = atoi(value);
		if (r->user_access == 1)
			guests_leave(e, r->id + 4, out->session_id);
		/* SIMPLE breaks the log chain: the next log needs a new full first. */
		if (strcasecmp(r->model, "SIMPLE") == 0)
			r->chain_origin = r->next_log = (struct lsn){ 0 };
		good = db_save(e, r);
	}
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

bool
engine_set_owner(struct engine *e, const char *database, const char *login, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	bool good = false;

	pthread_mutex_lock(&e->lock);
	if ((r = db_load(e, mem, database)) == NULL || r->state == 1) {
		say(out, 15151, 1, 16, "Cannot find the database '%s', because it does not exist or you do not have permission.", database);
	} else {
		r->owner = talloc_strdup(r, login);
		good = db_save(e, r);
	}
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

/* An LSN is kept as text: SQLite's numbers would round those of a log of more than 9,223 virtual files. */
static const char catalogue_schema[] =
	"ATTACH ':memory:' AS sys; ATTACH ':memory:' AS msdb;"
	"CREATE TABLE sys.databases(name NVARCHAR COLLATE TSQL, database_id INT, state INT, state_desc NVARCHAR, is_in_standby BIT,"
	" is_read_only BIT, user_access INT, user_access_desc NVARCHAR, recovery_model INT, recovery_model_desc NVARCHAR,"
	" compatibility_level INT, is_encrypted BIT, is_cdc_enabled BIT, is_published BIT, is_broker_enabled BIT,"
	" is_trustworthy_on BIT, owner_sid VARBINARY, create_date DATETIME, replica_id UNIQUEIDENTIFIER,"
	" group_database_id UNIQUEIDENTIFIER, collation_name NVARCHAR, page_verify_option INT, is_auto_close_on BIT);"
	"CREATE TABLE sys.master_files(database_id INT, file_id INT, type INT, type_desc NVARCHAR, state INT, name NVARCHAR,"
	" physical_name NVARCHAR, size INT, redo_start_lsn NUMERIC25 TEXT, redo_start_fork_guid UNIQUEIDENTIFIER,"
	" differential_base_lsn NUMERIC25 TEXT, differential_base_guid UNIQUEIDENTIFIER, create_lsn NUMERIC25 TEXT);"
	"CREATE TABLE sys.database_recovery_status(database_id INT, database_guid UNIQUEIDENTIFIER, family_guid UNIQUEIDENTIFIER,"
	" recovery_fork_guid UNIQUEIDENTIFIER, first_recovery_fork_guid UNIQUEIDENTIFIER, fork_point_lsn NUMERIC25 TEXT,"
	" last_log_backup_lsn NUMERIC25 TEXT);"
	"CREATE TABLE sys.dm_exec_requests(session_id INT, command NVARCHAR COLLATE TSQL, percent_complete INT,"
	" estimated_completion_time BIGINT, start_time DATETIME, wait_type NVARCHAR, database_id INT, status NVARCHAR);"
	"CREATE TABLE sys.dm_exec_sessions(session_id INT, program_name NVARCHAR COLLATE TSQL, host_name NVARCHAR, login_name NVARCHAR);"
	"CREATE TABLE sys.server_principals(name NVARCHAR COLLATE TSQL, principal_id INT, sid VARBINARY, type NVARCHAR, is_disabled BIT);"
	"CREATE TABLE sys.objects(name NVARCHAR COLLATE TSQL, object_id INT, schema_id INT, type NVARCHAR COLLATE TSQL, is_ms_shipped BIT);"
	"CREATE TABLE sys.tables(name NVARCHAR COLLATE TSQL, object_id INT, schema_id INT, type NVARCHAR, is_ms_shipped BIT);"
	"CREATE TABLE sys.schemas(name NVARCHAR COLLATE TSQL, schema_id INT);"
	"CREATE TABLE sys.columns(object_id INT, column_id INT, name NVARCHAR COLLATE TSQL, system_type_name NVARCHAR, is_nullable BIT,"
	" is_computed BIT);"
	"CREATE TABLE sys.indexes(object_id INT, index_id INT, name NVARCHAR, is_primary_key BIT, is_unique BIT);"
	"CREATE TABLE sys.index_columns(object_id INT, index_id INT, column_id INT, key_ordinal INT);"
	"CREATE TABLE sys.triggers(name NVARCHAR COLLATE TSQL, object_id INT, parent_class INT, parent_class_desc NVARCHAR, parent_id INT,"
	" type NVARCHAR, is_disabled BIT, is_ms_shipped BIT);"
	"CREATE TABLE sys.database_principals(name NVARCHAR COLLATE TSQL, principal_id INT, type NVARCHAR, type_desc NVARCHAR, sid VARBINARY,"
	" authentication_type INT);"
	"CREATE TABLE msdb.restorehistory(restore_history_id INT, restore_date DATETIME, destination_database_name NVARCHAR COLLATE TSQL,"
	" user_name NVARCHAR, backup_set_id INT, restore_type NVARCHAR, replace BIT, recovery BIT, stop_at DATETIME, device_count INT);"
	"CREATE TABLE msdb.backupset(backup_set_id INT, backup_set_uuid UNIQUEIDENTIFIER, first_lsn NUMERIC25 TEXT, last_lsn NUMERIC25 TEXT,"
	" family_guid UNIQUEIDENTIFIER, database_name NVARCHAR COLLATE TSQL, type NVARCHAR);"
	"CREATE INDEX msdb.restorehistory_id ON restorehistory(restore_history_id); CREATE INDEX msdb.backupset_id ON backupset(backup_set_id);"
	"CREATE TABLE sys.availability_groups(group_id UNIQUEIDENTIFIER, name NVARCHAR COLLATE TSQL);"
	"CREATE TABLE sys.availability_replicas(replica_id UNIQUEIDENTIFIER, group_id UNIQUEIDENTIFIER, replica_server_name NVARCHAR COLLATE TSQL,"
	" endpoint_url NVARCHAR, availability_mode INT, availability_mode_desc NVARCHAR, seeding_mode INT, seeding_mode_desc NVARCHAR);"
	"CREATE TABLE sys.availability_databases_cluster(group_id UNIQUEIDENTIFIER, group_database_id UNIQUEIDENTIFIER, database_name NVARCHAR COLLATE TSQL);"
	"CREATE TABLE sys.dm_hadr_availability_replica_states(replica_id UNIQUEIDENTIFIER, group_id UNIQUEIDENTIFIER, is_local BIT, role INT, role_desc NVARCHAR,"
	" connected_state INT, connected_state_desc NVARCHAR, synchronization_health INT, synchronization_health_desc NVARCHAR);"
	"CREATE TABLE sys.dm_hadr_database_replica_states(database_id INT, group_id UNIQUEIDENTIFIER, replica_id UNIQUEIDENTIFIER,"
	" group_database_id UNIQUEIDENTIFIER, is_local BIT, is_primary_replica BIT, synchronization_state INT, synchronization_state_desc NVARCHAR,"
	" synchronization_health INT, synchronization_health_desc NVARCHAR, database_state INT, database_state_desc NVARCHAR, is_suspended BIT,"
	" suspend_reason_desc NVARCHAR, last_hardened_lsn NUMERIC25 TEXT, last_redone_lsn NUMERIC25 TEXT, log_send_queue_size BIGINT, redo_queue_size BIGINT,"
	" redo_rate BIGINT, secondary_lag_seconds BIGINT);"
	"CREATE TABLE sys.dm_hadr_automatic_seeding(ag_id UNIQUEIDENTIFIER, ag_db_id UNIQUEIDENTIFIER, ag_remote_replica_id UNIQUEIDENTIFIER,"
	" start_time DATETIME, completion_time DATETIME, current_state NVARCHAR, performed_seeding BIT, failure_state INT, failure_state_desc NVARCHAR);"
	"CREATE TABLE sys.dm_hadr_physical_seeding_stats(local_database_name NVARCHAR, remote_machine_name NVARCHAR, transferred_size_bytes BIGINT,"
	" database_size_bytes BIGINT, start_time_utc DATETIME, estimate_time_complete_utc DATETIME, failure_message NVARCHAR);"
	"CREATE TABLE msdb.suspect_pages(database_id INT, file_id INT, page_id BIGINT, event_type INT);"
	"CREATE TABLE sys.certificates(name NVARCHAR COLLATE TSQL, certificate_id INT, thumbprint VARBINARY);"
	"CREATE TABLE sys.dm_os_volume_stats(database_id INT, file_id INT, volume_mount_point NVARCHAR, total_bytes BIGINT, available_bytes BIGINT);"
	"CREATE TABLE sys.dm_os_enumerate_fixed_drives(fixed_drive_path NVARCHAR, drive_type INT, drive_type_desc NVARCHAR, free_space_in_bytes BIGINT);";

sqlite3 *
engine_connect(struct engine *e, const char *database, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r = NULL;
	sqlite3 *db = NULL;

	if (strcasecmp(database, "master") == 0 || strcasecmp(database, "msdb") == 0) {
		db = file_open(":memory:", false);
		if (db != NULL)
			log_prepare(db);
	} else {
		pthread_mutex_lock(&e->lock);
		r = db_load(e, mem, database);
		if (r == NULL)
			say(out, 911, 1, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", database);
		else if (r->state == 1 && r->ag != NULL)
			say(out, 976, 1, 14, "The target database, '%s', is participating in an availability group and is currently not accessible for queries. "
			    "Either data movement is suspended or the availability replica is not enabled for read access. To allow read-only access to this and "
			    "other databases in the availability group, enable read access to one or more secondary availability replicas in the group.", database);
		else if (r->state == 1)
			say(out, 927, 2, 14, "Database '%s' cannot be opened. It is in the middle of a restore.", database);
		else if (r->state == 2)
			say(out, 922, 1, 14, "Database '%s' is being recovered. Waiting until recovery is finished.", database);
		else
			db = file_open(db_path(e, mem, r->id, ".sqlite"), r->standby != NULL);
		if (db != NULL)
			guest_enters(e, db, r->id + 4, out->session_id);
		pthread_mutex_unlock(&e->lock);
	}
	if (db != NULL && !run_sql(db, catalogue_schema)) {
		say(out, 9001, 1, 21, "The stand-in cannot make its catalogue: %s", sqlite3_errmsg(db));
		engine_disconnect(e, db);
		db = NULL;
	}
	talloc_free(mem);
	return db;
}

void
engine_disconnect(struct engine *e, sqlite3 *db)
{
	pthread_mutex_lock(&e->lock);
	for (struct guest **p = &e->guests; *p != NULL; p = &(*p)->next)
		if ((*p)->db == db) {
			struct guest *g = *p;

			*p = g->next;
			talloc_free(g);
			break;
		}
	pthread_mutex_unlock(&e->lock);
	sqlite3_close_v2(db);
}

unsigned
engine_generation(struct engine *e, const char *database)
{
	unsigned g;

	/* Nothing takes their place; a session that stays in one keeps its connection, and with it the history that was filled in. */
	if (strcasecmp(database, "master") == 0 || strcasecmp(database, "msdb") == 0)
		return 0;
	pthread_mutex_lock(&e->lock);
	g = e->generation;
	pthread_mutex_unlock(&e->lock);
	return g;
}

/* ---- catalogue ------------------------------------------------------------------------------------------------------ */

static const char *
iso(char buf[static 32], int64_t t)
{
	time_t tt = (time_t)t;
	struct tm tm;

	gmtime_r(&tt, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	return buf;
}

static const char *
lsn_or_null(struct lsn_text *t, struct lsn l)
{
	*t = lsn_text(l);
	return lsn_is_null(l) ? NULL : t->s;
}

static const char *
guid_or_null(struct guid_text *t, struct guid g)
{
	*t = guid_text(g);
	return guid_is_null(g) ? NULL : t->s;
}

static void
fill_database(sqlite3 *db, const struct db_row *r)
{
	static const char *const states[] = { "ONLINE", "RESTORING", "RECOVERING" };
	static const char *const accesses[] = { "MULTI_USER", "SINGLE_USER", "RESTRICTED_USER" };
	int shown = r->ag != NULL ? 0 : r->state; /* a joined secondary is ONLINE, though nobody may enter */
	char id[16], state[8], access[8], compat[8], when[32];
	struct guid_text g1, g2;
	struct lsn_text l1;

	snprintf(id, sizeof(id), "%d", r->id + 4);
	snprintf(state, sizeof(state), "%d", shown);
	snprintf(access, sizeof(access), "%d", r->user_access == 1 ? 1 : r->user_access == 2 ? 2 : 0);
	snprintf(compat, sizeof(compat), "%d", r->compat);
	CHANGE(db, "INSERT INTO sys.databases(name, database_id, state, state_desc, is_in_standby, is_read_only, user_access,"
		" user_access_desc, recovery_model, recovery_model_desc, compatibility_level, is_encrypted, is_cdc_enabled, is_published,"
		" is_broker_enabled, is_trustworthy_on, owner_sid, create_date, collation_name, page_verify_option, is_auto_close_on)"
		" VALUES(?, CAST(? AS INT), CAST(? AS INT), ?, ? IS NOT NULL, ? IS NOT NULL, CAST(? AS INT), ?, CASE ? WHEN 'FULL' THEN 1 WHEN 'SIMPLE' THEN 3 ELSE 2 END,"
		" ?, CAST(? AS INT), 0, 0, 0, 0, 0, CAST(? AS BLOB), ?, 'SQL_Latin1_General_CP1_CI_AS', 2, 0)",
		r->name, id, state, states[shown], r->standby, r->standby, access, accesses[access[0] - '0'], r->model, r->model, compat,
		r->owner, iso(when, r->created));
	CHANGE(db, "INSERT INTO sys.database_recovery_status(database_id, family_guid, recovery_fork_guid, last_log_backup_lsn)"
		" VALUES(CAST(? AS INT), ?, ?, ?)", id, r->state == 1 ? NULL : guid_or_null(&g1, r->family),
		r->state == 1 ? NULL : guid_or_null(&g2, r->fork), lsn_or_null(&l1, r->next_log));
}

static void
fill_files(struct engine *e, sqlite3 *db, const struct db_row *r)
{
	char own[16], id[16];
	struct guid_text g1, g2;
	struct lsn_text l1, l2;
	sqlite3_stmt *st;
	int step;

	snprintf(own, sizeof(own), "%d", r->id);
	snprintf(id, sizeof(id), "%d", r->id + 4);
	st = ASK(e->meta, &step, "SELECT file_id, type, name, path FROM file WHERE db = CAST(? AS INT)", own);
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st)) {
		bool is_data = ((const char *)sqlite3_column_text(st, 1))[0] == 'D', restoring = r->state == 1 && r->ag == NULL;

		CHANGE(db, "INSERT INTO sys.master_files VALUES(CAST(? AS INT), CAST(? AS INT), CAST(? AS INT), ?, CAST(? AS INT), ?, ?, 1024,"
			" ?, ?, ?, ?, NULL)", id, (const char *)sqlite3_column_text(st, 0), is_data ? "0" : "1", is_data ? "ROWS" : "LOG",
			restoring ? "1" : "0", (const char *)sqlite3_column_text(st, 2), (const char *)sqlite3_column_text(st, 3),
			restoring && is_data ? lsn_or_null(&l1, r->redo) : NULL, restoring && is_data ? guid_or_null(&g1, r->redo_fork) : NULL,
			is_data ? lsn_or_null(&l2, r->base_lsn) : NULL, is_data ? guid_or_null(&g2, restoring ? r->restored_base : r->base_guid) : NULL);
	}
	sqlite3_finalize(st);
}

/* Nothing of it is ever changed: what this connection does not have yet is added. */
static void
fill_history(struct engine *e, sqlite3 *db)
{
	sqlite3_stmt *st;
	char known[24] = "0";
	int step;

	st = ASK(db, &step, "SELECT max(restore_history_id) FROM msdb.restorehistory");
	if (st != NULL && step == SQLITE_ROW)
		snprintf(known, sizeof(known), "%lld", (long long)sqlite3_column_int64(st, 0));
	sqlite3_finalize(st);
	st = ASK(e->meta, &step, "SELECT id, name, type, recovery, at, set_guid, family, first, last, login, replace, stop_at, devices FROM history"
		" WHERE id > CAST(? AS INT)", known);
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st)) {
		const char *c[13];
		char when[32];

		for (int i = 0; i < 13; i++)
			c[i] = (const char *)sqlite3_column_text(st, i);
		CHANGE(db, "INSERT INTO msdb.restorehistory VALUES(CAST(? AS INT), ?, ?, ?, CAST(? AS INT), ?, CAST(? AS INT), CAST(? AS INT), ?,"
			" CAST(? AS INT))", c[0], iso(when, sqlite3_column_int64(st, 4)), c[1], c[9], c[0], c[2], c[10], c[3], c[11], c[12]);
		CHANGE(db, "INSERT INTO msdb.backupset VALUES(CAST(? AS INT), ?, ?, ?, ?, ?, ?)", c[0], c[5], c[7], c[8], c[6], c[1], c[2]);
	}
	sqlite3_finalize(st);
}

static void
insert_certificate(sqlite3 *db, sqlite3_stmt *row)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, "INSERT INTO sys.certificates VALUES('certificate' || ?1, 256 + ?1, ?2)", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_int(st, 1, sqlite3_column_int(row, 0));
		sqlite3_bind_value(st, 2, sqlite3_column_value(row, 1));
		sqlite3_step(st);
	}
	sqlite3_finalize(st);
}

static void
fill_server(struct engine *e, sqlite3 *db)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	sqlite3_stmt *st;
	int step;

	for (const struct running *r = e->running; r != NULL; r = r->next) {
		char n[4][24], when[32];

		snprintf(n[0], 24, "%d", r->session_id);
		snprintf(n[1], 24, "%d", r->percent);
		snprintf(n[2], 24, "%d", r->database_id);
		CHANGE(db, "INSERT INTO sys.dm_exec_requests VALUES(CAST(? AS INT), ?, CAST(? AS INT), 0, ?, NULL, CAST(? AS INT), 'running')",
			n[0], r->command, n[1], iso(when, r->since), n[2]);
		CHANGE(db, "INSERT INTO sys.dm_exec_sessions VALUES(CAST(? AS INT), ?, '', '')", n[0], r->program);
	}
	st = ASK(e->meta, &step, "SELECT name, rowid, sid, disabled FROM login");
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st))
		CHANGE(db, "INSERT INTO sys.server_principals VALUES(?, CAST(? AS INT) + 256, CAST(? AS BLOB), 'S', CAST(? AS INT))",
			(const char *)sqlite3_column_text(st, 0), (const char *)sqlite3_column_text(st, 1),
			(const char *)sqlite3_column_text(st, 2), (const char *)sqlite3_column_text(st, 3));
	sqlite3_finalize(st);
	/* A database remembers its owner by name here; the views show the SID. */
	run_sql(db, "UPDATE sys.databases SET owner_sid = (SELECT p.sid FROM sys.server_principals p WHERE p.name = CAST(sys.databases.owner_sid AS TEXT))"
		" WHERE owner_sid IS NOT NULL");
	st = ASK(e->meta, &step, "SELECT rowid, thumbprint FROM certificate");
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st))
		insert_certificate(db, st);
	sqlite3_finalize(st);
	talloc_free(mem);
}

/* master has two files of its own, so that the volume of the server's folder is there to be asked before any database is. */
static void
fill_master(struct engine *e, sqlite3 *db)
{
	static const char *const files[] = { "master.mdf", "mastlog.ldf" };

	for (int i = 0; i < 2; i++) {
		char *path = talloc_asprintf(NULL, "%s/%s", e->dir, files[i]);

		CHANGE(db, "INSERT INTO sys.master_files(database_id, file_id, type, type_desc, state, name, physical_name, size)"
			" VALUES(1, CAST(? AS INT), CAST(? AS INT), ?, 0, ?, ?, 1024)", i == 0 ? "1" : "2", i == 0 ? "0" : "1", i == 0 ? "ROWS" : "LOG",
			i == 0 ? "master" : "mastlog", path);
		talloc_free(path);
	}
}

/* The database's own objects: what a client needs to list tables, columns and keys. */
static const char own_objects[] =
	"INSERT INTO sys.schemas VALUES('dbo', 1), ('sys', 4);"
	"INSERT INTO sys.tables SELECT name, rowid + 1000, 1, 'U', 0 FROM dbo.sqlite_master WHERE type = 'table'"
	"  AND name NOT LIKE '\\_standin\\_%' ESCAPE '\\' AND name NOT LIKE 'standin\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\';"
	"INSERT INTO sys.objects SELECT name, object_id, 1, 'U', 0 FROM sys.tables;"
	"INSERT INTO sys.columns SELECT t.object_id, c.cid + 1, c.name, c.type, c.\"notnull\" = 0, 0"
	"  FROM sys.tables t JOIN pragma_table_info(t.name, 'dbo') c;"
	"INSERT INTO sys.indexes SELECT object_id, 1, 'PK_' || name, 1, 1 FROM sys.tables;"
	"INSERT INTO sys.index_columns SELECT t.object_id, 1, c.cid + 1, c.pk FROM sys.tables t JOIN pragma_table_info(t.name, 'dbo') c"
	"  WHERE c.pk > 0;";

bool
engine_refresh_catalogue(struct engine *e, sqlite3 *db, unsigned parts)
{
	static const char *const tables[] = { "sys.databases", "sys.master_files", "sys.database_recovery_status", "sys.dm_exec_requests",
		"sys.dm_exec_sessions", "sys.server_principals", "sys.tables", "sys.objects", "sys.schemas", "sys.columns", "sys.indexes",
		"sys.index_columns", "sys.triggers", "sys.database_principals", "sys.availability_groups",
		"sys.availability_replicas", "sys.availability_databases_cluster", "sys.dm_hadr_availability_replica_states",
		"sys.dm_hadr_database_replica_states", "sys.dm_hadr_automatic_seeding", "sys.dm_hadr_physical_seeding_stats", "sys.certificates",
		"sys.dm_os_volume_stats", "sys.dm_os_enumerate_fixed_drives" };
	TALLOC_CTX *mem = talloc_new(NULL);
	char sql[80];
	sqlite3_stmt *st;
	int step;
	bool good;

	/* One transaction; a savepoint, as a session may be within one. */
	run_sql(db, "SAVEPOINT catalogue");
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		snprintf(sql, sizeof(sql), "DELETE FROM %s", tables[i]);
		run_sql(db, sql);
	}
	run_sql(db, "INSERT INTO sys.database_principals VALUES('dbo', 1, 'S', 'SQL_USER', NULL, 1), ('guest', 2, 'S', 'SQL_USER', NULL, 0);"
		"INSERT INTO sys.databases(name, database_id, state, state_desc, is_in_standby, is_read_only, user_access, recovery_model,"
		" recovery_model_desc, compatibility_level, is_encrypted, create_date) VALUES('master', 1, 0, 'ONLINE', 0, 0, 0, 3, 'SIMPLE', 150,"
		" 0, '2003-04-08T09:13:36'), ('msdb', 4, 0, 'ONLINE', 0, 0, 0, 3, 'SIMPLE', 150, 0, '2019-09-24T14:21:42')");
	pthread_mutex_lock(&e->lock);
	st = ASK(e->meta, &step, "SELECT * FROM db ORDER BY id");
	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st)) {
		struct db_row *r = row_of(mem, st);

		fill_database(db, r);
		fill_files(e, db, r);
	}
	sqlite3_finalize(st);
	fill_master(e, db);
	fill_history(e, db);
	fill_server(e, db);
	good = (parts & ENGINE_OBJECTS) == 0 || run_sql(db, own_objects);
	run_sql(db, "RELEASE catalogue");
	if ((parts & ENGINE_GROUPS) != 0)
		ag_fill(e, db);
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

bool
history_add(struct engine *e, const struct history *h)
{
	const char t[2] = { h->type, '\0' };
	char when[24], devices[24];

	snprintf(when, sizeof(when), "%lld", (long long)(engine_now_ms(e) / 1000));
	snprintf(devices, sizeof(devices), "%zu", h->n_devices);
	return CHANGE(e->meta, "INSERT INTO history(name, type, recovery, at, set_guid, family, first, last, login, replace, stop_at, devices)"
		" VALUES(?, ?, CAST(? AS INT), CAST(? AS INT), ?, ?, ?, ?, ?, CAST(? AS INT), ?, CAST(? AS INT))", h->database, t,
		h->recovery ? "1" : "0", when, guid_text(h->set).s, guid_text(h->family).s, lsn_text(h->first).s, lsn_text(h->last).s,
		h->user == NULL ? "" : h->user, h->replace ? "1" : "0", h->stop_at, devices);
}

/* ---- the log inside a database's file ----------------------------------------------------------------------------------- */

bool
log_next(sqlite3 *db, struct lsn *next)
{
	sqlite3_stmt *st = NULL;
	bool good = sqlite3_prepare_v2(db, "SELECT v FROM dbo._standin_state WHERE k = 'next_block'", -1, &st, NULL) == SQLITE_OK &&
	            sqlite3_step(st) == SQLITE_ROW;

	if (good)
		*next = (struct lsn){ VLF_SEQ, (uint32_t)sqlite3_column_int64(st, 0), 1 };
	sqlite3_finalize(st);
	return good;
}

/* Sectors that a record of len bytes takes: each sector's first byte belongs to its parity. */
static uint32_t
sectors_of(size_t len)
{
	enum { PER_BLOCK = LOG_BLOCK_MAX - LOG_HEAD - LOG_BLOCK_MAX / SECTOR };
	uint32_t n = 0;

	do {
		size_t piece = len < PER_BLOCK ? len : PER_BLOCK, bytes = LOG_HEAD + piece;

		/* After the head, 448 bytes fit the first sector and 511 each further one. */
		n += bytes <= SECTOR ? 1 : 1 + (uint32_t)((piece - (SECTOR - LOG_HEAD) + SECTOR - 2) / (SECTOR - 1));
		len -= piece;
	} while (len > 0);
	return n;
}

bool
log_append(sqlite3 *db, int64_t now_ms, enum record_kind kind, const void *data, size_t len, struct lsn *at, struct lsn *after)
{
	sqlite3_stmt *st = NULL;
	uint32_t blocks = sectors_of(len);
	bool good;

	if (!log_next(db, at))
		return false;
	good = sqlite3_prepare_v2(db, "INSERT INTO dbo._standin_log VALUES(?, ?, ?, ?, ?)", -1, &st, NULL) == SQLITE_OK;
	if (good) {
		sqlite3_bind_int64(st, 1, at->block);
		sqlite3_bind_int64(st, 2, blocks);
		sqlite3_bind_int64(st, 3, now_ms);
		sqlite3_bind_int(st, 4, kind);
		sqlite3_bind_blob(st, 5, len == 0 ? "" : data, (int)len, SQLITE_TRANSIENT);
		good = sqlite3_step(st) == SQLITE_DONE;
	}
	sqlite3_finalize(st);
	*after = (struct lsn){ VLF_SEQ, at->block + blocks, 1 };
	st = NULL;
	good = good && sqlite3_prepare_v2(db, "UPDATE dbo._standin_state SET v = ? WHERE k = 'next_block'", -1, &st, NULL) == SQLITE_OK &&
	       sqlite3_bind_int64(st, 1, after->block) == SQLITE_OK && sqlite3_step(st) == SQLITE_DONE;
	sqlite3_finalize(st);
	return good;
}

struct engine_tx {
	struct engine *e;
	sqlite3 *db;
	sqlite3_session *session;
	char *ddl; /* statements in order, each ended with ";\n" */
	char *mark; /* BEGIN TRAN … WITH MARK, or NULL */
	bool master;
};

/* Our own tables are never part of a changeset: each database keeps its own log and users travel as DDL. */
static int
is_ours(void *ctx, const char *table)
{
	(void)ctx;
	return strncmp(table, "_standin_log", 12) != 0 && strncmp(table, "_standin_state", 14) != 0;
}

static void
tx_free(struct engine_tx *tx)
{
	if (tx->session != NULL)
		sqlite3session_delete(tx->session);
	talloc_free(tx);
}

struct engine_tx *
engine_begin(struct engine *e, sqlite3 *db, const char *database, struct err *err)
{
	struct engine_tx *tx = talloc_zero(NULL, struct engine_tx);

	tx->e = e;
	tx->db = db;
	tx->master = strcasecmp(database, "master") == 0;
	if (!run_sql(db, "BEGIN IMMEDIATE")) {
		err_set(err, ERR_AGAIN, 1222, "%s", sqlite3_errmsg(db));
		talloc_free(tx);
		return NULL;
	}
	/* A writer that waited for a tail to be taken comes too late: what it wrote now would be in no backup. */
	if (engine_state(e, database) == ENGINE_RESTORING) {
		err_set(err, ERR_AGAIN, 927, "Database '%s' cannot be opened. It is in the middle of a restore.", database);
		run_sql(db, "ROLLBACK");
		talloc_free(tx);
		return NULL;
	}
	if (sqlite3session_create(db, "dbo", &tx->session) != SQLITE_OK || sqlite3session_attach(tx->session, NULL) != SQLITE_OK) {
		err_set(err, ERR_AGAIN, 701, "what is changed cannot be recorded: %s", sqlite3_errmsg(db));
		run_sql(db, "ROLLBACK");
		tx_free(tx);
		return NULL;
	}
	sqlite3session_table_filter(tx->session, is_ours, NULL);
	return tx;
}

bool
engine_tx_ddl(struct engine_tx *tx, const char *sql)
{
	tx->ddl = talloc_asprintf(tx, "%s%s;\n", tx->ddl == NULL ? "" : tx->ddl, sql);
	return true;
}

void
engine_tx_mark(struct engine_tx *tx, const char *name)
{
	tx->mark = talloc_strdup(tx, name);
}

bool
engine_commit(struct engine_tx *tx, struct err *err)
{
	void *changes = NULL;
	int len = 0;
	struct lsn at, after;
	int64_t now = engine_now_ms(tx->e);
	bool good = true;

	if (tx->mark != NULL)
		good = log_append(tx->db, now, RECORD_NAMED, tx->mark, strlen(tx->mark), &at, &after);
	if (good && tx->ddl != NULL)
		good = log_append(tx->db, now, RECORD_DDL, tx->ddl, strlen(tx->ddl), &at, &after);
	good = good && sqlite3session_changeset(tx->session, &len, &changes) == SQLITE_OK;
	if (good && len > 0)
		good = log_append(tx->db, now, RECORD_CHANGES, changes, (size_t)len, &at, &after);
	sqlite3_free(changes);
	if (good && tx->mark != NULL)
		good = log_append(tx->db, now, RECORD_NAMED_END, tx->mark, strlen(tx->mark), &at, &after);
	if (tx->session != NULL)
		sqlite3session_delete(tx->session);
	tx->session = NULL;
	good = good && run_sql(tx->db, "COMMIT");
	if (!good) {
		err_set(err, ERR_AGAIN, 3902, "commit: %s", sqlite3_errmsg(tx->db));
		run_sql(tx->db, "ROLLBACK");
	}
	tx_free(tx);
	return good;
}

void
engine_rollback(struct engine_tx *tx)
{
	sqlite3 *db = tx->db;

	tx_free(tx);
	run_sql(db, "ROLLBACK");
}

/* ---- rows and pages for tests --------------------------------------------------------------------------------------------- */

static char *
key_columns(sqlite3 *db, TALLOC_CTX *mem, const char *table)
{
	int step;
	sqlite3_stmt *st = ASK(db, &step, "SELECT name FROM pragma_table_info(?, 'dbo') WHERE pk > 0 ORDER BY pk", table);
	char *list = NULL;

	for (; st != NULL && step == SQLITE_ROW; step = sqlite3_step(st)) {
		char *q = sqlite3_mprintf("\"%w\"", sqlite3_column_text(st, 0));

		list = list == NULL ? talloc_strdup(mem, q) : talloc_asprintf_append(list, ", %s", q);
		sqlite3_free(q);
	}
	sqlite3_finalize(st);
	return list;
}

bool
engine_rows(struct engine *e, const char *database, const char *table, const struct engine_out *out)
{
	enum { COLUMNS_MAX = 256 };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct engine_column columns[COLUMNS_MAX];
	const char *bare = strncasecmp(table, "dbo.", 4) == 0 ? table + 4 : table, *values[COLUMNS_MAX];
	struct db_row *r;
	sqlite3 *db = NULL;
	int step;
	sqlite3_stmt *st = NULL;
	char *keys = NULL, *sql;
	bool good = false;
	int n;

	pthread_mutex_lock(&e->lock);
	r = db_load(e, mem, database);
	pthread_mutex_unlock(&e->lock);
	if (r == NULL) {
		say(out, 911, 1, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", database);
		talloc_free(mem);
		return false;
	}
	if (access(db_path(e, mem, r->id, ".sqlite"), R_OK) == 0)
		db = file_open(db_path(e, mem, r->id, ".sqlite"), r->state != 0 || r->standby != NULL);
	if (db != NULL)
		keys = key_columns(db, mem, bare);
	if (keys != NULL) {
		sql = sqlite3_mprintf("SELECT * FROM dbo.\"%w\" ORDER BY %s", bare, keys);
		good = sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_column_count(st) <= COLUMNS_MAX;
		sqlite3_free(sql);
	}
	if (!good) {
		say(out, 208, 1, 16, "Invalid object name '%s'.", table);
	} else {
		n = sqlite3_column_count(st);
		for (int i = 0; i < n; i++)
			columns[i] = (struct engine_column){ sqlite3_column_name(st, i), ENGINE_TEXT, 0 };
		out->columns(out->ctx, columns, (size_t)n);
		while ((step = sqlite3_step(st)) == SQLITE_ROW) {
			for (int i = 0; i < n; i++)
				values[i] = (const char *)sqlite3_column_text(st, i);
			out->row(out->ctx, values, (size_t)n);
		}
		good = step == SQLITE_DONE;
		if (!good)
			say(out, 823, 2, 24, "The rows of '%s' cannot be read: %s", table, sqlite3_errmsg(db));
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	talloc_free(mem);
	return good;
}

bool
engine_pages(struct engine *e, const char *database, const struct engine_out *out)
{
	static const struct engine_column columns[] = { { "checked", ENGINE_BIGINT, 0 }, { "bad", ENGINE_BIGINT, 0 } };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	char a[24], b[24];
	const char *values[] = { a, b };

	pthread_mutex_lock(&e->lock);
	r = db_load(e, mem, database);
	pthread_mutex_unlock(&e->lock);
	if (r == NULL) {
		say(out, 911, 1, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", database);
		talloc_free(mem);
		return false;
	}
	snprintf(a, sizeof(a), "%lld", (long long)r->pages_checked);
	snprintf(b, sizeof(b), "%lld", (long long)r->pages_bad);
	out->columns(out->ctx, columns, 2);
	out->row(out->ctx, values, 2);
	talloc_free(mem);
	return true;
}

/* ---- log-ins ------------------------------------------------------------------------------------------------------------- */

enum { SALT = 16, HASH = 32, ROUNDS = 10000 };

static void
hash_password(const char *password, const uint8_t salt[SALT], uint8_t hash[HASH])
{
	if (PKCS5_PBKDF2_HMAC(password, -1, salt, SALT, ROUNDS, EVP_sha256(), HASH, hash) != 1)
		abort();
}

bool
engine_login_set(struct engine *e, const char *login, const char *password, bool is_admin, struct err *err)
{
	uint8_t salt[SALT], hash[HASH];
	sqlite3_stmt *st = NULL;
	bool good;

	if (RAND_bytes(salt, SALT) != 1)
		abort();
	hash_password(password, salt, hash);
	pthread_mutex_lock(&e->lock);
	good = sqlite3_prepare_v2(e->meta, "INSERT INTO login(name, salt, hash, admin, sid) VALUES(?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET salt=excluded.salt,"
		" hash=excluded.hash", -1, &st, NULL) == SQLITE_OK;
	if (good) {
		sqlite3_bind_text(st, 1, login, -1, SQLITE_TRANSIENT);
		sqlite3_bind_blob(st, 2, salt, SALT, SQLITE_TRANSIENT);
		sqlite3_bind_blob(st, 3, hash, HASH, SQLITE_TRANSIENT);
		sqlite3_bind_int(st, 4, is_admin);
		sqlite3_bind_text(st, 5, guid_text(guid_new()).s, -1, SQLITE_TRANSIENT);
		good = sqlite3_step(st) == SQLITE_DONE;
	}
	sqlite3_finalize(st);
	if (!good)
		err_set(err, ERR_OPERATOR, 0, "%s", sqlite3_errmsg(e->meta));
	pthread_mutex_unlock(&e->lock);
	return good;
}

bool
engine_login_drop(struct engine *e, const char *login)
{
	bool good;

	pthread_mutex_lock(&e->lock);
	good = CHANGE(e->meta, "DELETE FROM login WHERE name = ?", login) && sqlite3_changes(e->meta) == 1;
	pthread_mutex_unlock(&e->lock);
	return good;
}

bool
engine_login_role(struct engine *e, const char *login, enum engine_role role, bool is_member)
{
	char bit[8];
	bool good;

	snprintf(bit, sizeof(bit), "%d", role);
	pthread_mutex_lock(&e->lock);
	good = CHANGE(e->meta, is_member ? "UPDATE login SET admin = admin | CAST(? AS INT) WHERE name = ?"
	                                 : "UPDATE login SET admin = admin & ~CAST(? AS INT) WHERE name = ?", bit, login) &&
	       sqlite3_changes(e->meta) == 1;
	pthread_mutex_unlock(&e->lock);
	return good;
}

bool
engine_login_check(struct engine *e, const char *login, const char *password)
{
	uint8_t salt[SALT] = { 0 }, stored[HASH] = { 0 }, hash[HASH];
	sqlite3_stmt *st;
	bool exists = false;
	int step;

	pthread_mutex_lock(&e->lock);
	st = ASK(e->meta, &step, "SELECT salt, hash FROM login WHERE name = ?", login);
	if (st != NULL && step == SQLITE_ROW && sqlite3_column_bytes(st, 0) == SALT && sqlite3_column_bytes(st, 1) == HASH) {
		memcpy(salt, sqlite3_column_blob(st, 0), SALT);
		memcpy(stored, sqlite3_column_blob(st, 1), HASH);
		exists = true;
	}
	sqlite3_finalize(st);
	pthread_mutex_unlock(&e->lock);
	hash_password(password, salt, hash);
	return (CRYPTO_memcmp(hash, stored, HASH) == 0) & exists;
}

static bool
login_fact(struct engine *e, const char *login, const char *sql)
{
	sqlite3_stmt *st;
	bool is;
	int step;

	pthread_mutex_lock(&e->lock);
	st = ask_sql(e->meta, sql, 1, &login, &step);
	is = st != NULL && step == SQLITE_ROW && sqlite3_column_int(st, 0) != 0;
	sqlite3_finalize(st);
	pthread_mutex_unlock(&e->lock);
	return is;
}

bool
engine_login_has(struct engine *e, const char *login, enum engine_role role)
{
	return login_fact(e, login, role == ENGINE_SYSADMIN ? "SELECT admin & 1 FROM login WHERE name = ?" : "SELECT admin & 2 FROM login WHERE name = ?");
}

bool
engine_login_owns(struct engine *e, const char *login, const char *database)
{
	const char *const values[] = { database, login };
	sqlite3_stmt *st;
	bool is;
	int step;

	pthread_mutex_lock(&e->lock);
	st = ask_sql(e->meta, "SELECT 1 FROM db WHERE name = ? COLLATE NOCASE AND owner = ? COLLATE NOCASE", 2, values, &step);
	is = st != NULL && step == SQLITE_ROW;
	sqlite3_finalize(st);
	pthread_mutex_unlock(&e->lock);
	return is;
}

bool
engine_login_exists(struct engine *e, const char *login)
{
	return login_fact(e, login, "SELECT 1 FROM login WHERE name = ?");
}

bool
engine_login_is_disabled(struct engine *e, const char *login)
{
	return login_fact(e, login, "SELECT disabled FROM login WHERE name = ?");
}

bool
engine_login_disable(struct engine *e, const char *login, bool disabled)
{
	bool good;

	pthread_mutex_lock(&e->lock);
	good = CHANGE(e->meta, "UPDATE login SET disabled = CAST(? AS INT) WHERE name = ?", disabled ? "1" : "0", login) && sqlite3_changes(e->meta) == 1;
	pthread_mutex_unlock(&e->lock);
	return good;
}

char *
engine_login_sid(struct engine *e, TALLOC_CTX *mem, const char *login)
{
	char *sid = NULL;
	sqlite3_stmt *st;
	int step;

	pthread_mutex_lock(&e->lock);
	st = ask_sql(e->meta, "SELECT sid FROM login WHERE name = ?", 1, &login, &step);
	if (st != NULL && step == SQLITE_ROW && sqlite3_column_text(st, 0) != NULL)
		sid = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	pthread_mutex_unlock(&e->lock);
	return sid;
}
