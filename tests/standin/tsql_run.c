#include "tests/standin/tsql_run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

/*
 * Statements carried out. Rows are read and written through SQLite; whatever writes goes through the engine's
 * transactions, so that the log has it. An error ends its statement; errors of reading end the batch, as an
 * unknown table does there; errors of BACKUP and RESTORE do not, which is why clients send them alone.
 */

enum { COLUMNS_MAX = 1024, DEPTH_MAX = 32, ARGUMENTS_MAX = 64 };

static void run_list(struct tsql_session *s, const struct tsql_statement *st);

/* ---- saying -------------------------------------------------------------------------------------------- */

static void
note(struct tsql_session *s, int line, int number, int state, int severity, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static void
note_text(struct tsql_session *s, int line, int number, int state, int severity, const char *text)
{
	if (severity > 10) {
		s->error = number;
		if (s->try_depth > 0) {
			s->caught.number = number;
			s->caught.severity = severity;
			s->caught.state = state;
			s->caught.line = line;
			snprintf(s->caught.text, sizeof(s->caught.text), "%s", text);
			return;
		}
		s->failed = true;
	}
	s->replies->note(s->replies->ctx, number, state, severity, line, text);
}

static void
note(struct tsql_session *s, int line, int number, int state, int severity, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note_text(s, line, number, state, severity, text);
}

static void
done(struct tsql_session *s, int curcmd, bool has_count, uint64_t rows, bool error)
{
	s->replies->done(s->replies->ctx, curcmd, has_count, rows, error && s->try_depth == 0);
}

/* The engine speaks through the session. */
static void
engine_message(void *ctx, int number, int state, int severity, const char *text)
{
	note_text(ctx, 1, number, state, severity, text);
}

static void
engine_done_more(void *ctx, int curcmd)
{
	struct tsql_session *s = ctx;

	s->replies->done_more(s->replies->ctx, curcmd);
}

static struct tds_type
type_of_engine(enum engine_type t, int size)
{
	switch (t) {
	case ENGINE_INT: return (struct tds_type){ TDS_INTEGER, 4, 0, 0 };
	case ENGINE_BIGINT: return (struct tds_type){ TDS_INTEGER, 8, 0, 0 };
	case ENGINE_BIT: return (struct tds_type){ TDS_BIT, 1, 0, 0 };
	case ENGINE_NUMERIC25: return (struct tds_type){ TDS_NUMERIC, 0, 25, 0 };
	case ENGINE_DATETIME: return (struct tds_type){ TDS_DATETIME, 8, 0, 3 };
	case ENGINE_GUID: return (struct tds_type){ TDS_GUID, 16, 0, 0 };
	case ENGINE_TINYINT: return (struct tds_type){ TDS_INTEGER, 1, 0, 0 };
	case ENGINE_SMALLINT: return (struct tds_type){ TDS_INTEGER, 2, 0, 0 };
	case ENGINE_TEXT: return (struct tds_type){ TDS_NVARCHAR, size == 0 ? TDS_NVARCHAR_LIMIT : size, 0, 0 };
	case ENGINE_NCHAR: return (struct tds_type){ TDS_NCHAR, size, 0, 0 };
	case ENGINE_BINARY: break;
	}
	return (struct tds_type){ TDS_VARBINARY, size == 0 ? TDS_VARBINARY_LIMIT : size, 0, 0 };
}

static void
engine_columns(void *ctx, const struct engine_column *columns, size_t n)
{
	struct tsql_session *s = ctx;
	struct tds_column list[COLUMNS_MAX];

	for (size_t i = 0; i < n && i < COLUMNS_MAX; i++)
		list[i] = (struct tds_column){ columns[i].name, type_of_engine(columns[i].type, columns[i].size) };
	s->replies->columns(s->replies->ctx, list, n < COLUMNS_MAX ? n : COLUMNS_MAX);
	s->rowcount = 0;
}

static void
engine_row(void *ctx, const char *const *values, size_t n)
{
	struct tsql_session *s = ctx;
	struct tds_value list[COLUMNS_MAX];

	for (size_t i = 0; i < n && i < COLUMNS_MAX; i++)
		list[i] = tds_text(values[i]);
	s->replies->row(s->replies->ctx, list, n < COLUMNS_MAX ? n : COLUMNS_MAX);
	s->rowcount++;
}

static bool
engine_cancelled(void *ctx)
{
	struct tsql_session *s = ctx;

	return s->replies->cancelled(s->replies->ctx);
}

static struct engine_out
out_of(struct tsql_session *s)
{
	return (struct engine_out){ .ctx = s, .message = engine_message, .done_more = engine_done_more, .columns = engine_columns,
		.row = engine_row, .cancelled = engine_cancelled, .session_id = s->spid, .program = s->program, .login = s->login,
		.current = s->database, .in_transaction = s->trancount > 0, .is_stranger = !s->is_creator };
}

/* ---- the session's database ------------------------------------------------------------------------------- */

static bool
is_system(const char *database)
{
	return strcasecmp(database, "master") == 0 || strcasecmp(database, "msdb") == 0 || strcasecmp(database, "tempdb") == 0;
}

/* A user of that connection's database that stands for our log-in. */
static bool
has_user(struct tsql_session *s, sqlite3 *db, const char *login)
{
	char *sid = engine_login_sid(s->e, NULL, login);
	sqlite3_stmt *st = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(db, "SELECT 1 FROM dbo.standin_users WHERE sid = ?", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, sid, -1, SQLITE_TRANSIENT);
		found = sqlite3_step(st) == SQLITE_ROW;
	}
	sqlite3_finalize(st);
	talloc_free(sid);
	return found;
}

static bool
has_grant(struct tsql_session *s, const char *permission)
{
	char *sid = engine_login_sid(s->e, NULL, s->login);
	sqlite3_stmt *st = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(s->db, "SELECT 1 FROM dbo.standin_grants g JOIN dbo.standin_users u ON u.name = g.grantee COLLATE TSQL"
	    " WHERE u.sid = ? AND g.permission = ?", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, sid, -1, SQLITE_TRANSIENT);
		sqlite3_bind_text(st, 2, permission, -1, SQLITE_TRANSIENT);
		found = sqlite3_step(st) == SQLITE_ROW;
	}
	sqlite3_finalize(st);
	talloc_free(sid);
	return found;
}

static bool
enter_database(struct tsql_session *s, const char *name, int line)
{
	struct engine_out out = out_of(s);
	sqlite3 *db = engine_connect(s->e, strcasecmp(name, "tempdb") == 0 ? "master" : name, &out);

	(void)line;
	if (db == NULL)
		return false;
	if (!s->is_admin && !is_system(name) && !has_user(s, db, s->login) && !engine_login_owns(s->e, s->login, name)) {
		engine_disconnect(s->e, db);
		note(s, line, 916, 1, 14, "The server principal \"%s\" is not able to access the database \"%s\" under the current security context.",
		     s->login, name);
		return false;
	}
	if (s->db != NULL)
		engine_disconnect(s->e, s->db);
	s->db = db;
	s->generation = engine_generation(s->e, name);
	talloc_free(s->database);
	s->database = talloc_strdup(s, name);
	tsql_functions(s, db);
	return true;
}

/* After a restore or drop the file behind the connection may be another one. */
static bool
keep_database(struct tsql_session *s)
{
	char *name;
	bool good;

	if (s->tx != NULL || s->generation == engine_generation(s->e, s->database))
		return true;
	name = talloc_strdup(NULL, s->database);
	good = enter_database(s, name, 1);
	talloc_free(name);
	return good || enter_database(s, "master", 1);
}

static int
end_session(struct tsql_session *s)
{
	if (s->tx != NULL)
		engine_rollback(s->tx);
	if (s->db != NULL)
		engine_disconnect(s->e, s->db);
	for (size_t i = 0; i < s->n_variables; i++)
		sqlite3_value_free(s->variables[i].value);
	return 0;
}

static void
silent_note(void *ctx, int number, int state, int severity, int line, const char *text)
{
	(void)state;
	(void)line;
	if (severity > 10)
		err_set(ctx, ERR_REFUSED, number, "%s", text);
}

struct tsql_session *
tsql_session_new(TALLOC_CTX *parent, struct engine *e, const struct tsql_replies *replies, const char *login, const char *database,
                 struct err *err)
{
	struct tsql_session *s = talloc_zero(parent, struct tsql_session);
	struct tsql_replies silent = { .ctx = err, .note = silent_note };
	bool good;

	s->e = e;
	s->login = talloc_strdup(s, login);
	s->program = s->host = "";
	s->is_admin = engine_login_has(e, login, ENGINE_SYSADMIN);
	s->is_creator = s->is_admin || engine_login_has(e, login, ENGINE_DBCREATOR);
	s->replies = &silent;
	good = enter_database(s, database == NULL || database[0] == '\0' ? "master" : database, 1);
	s->replies = replies;
	s->failed = false;
	if (!good) {
		talloc_free(s);
		return NULL;
	}
	talloc_set_destructor(s, end_session);
	return s;
}

/* ---- variables ----------------------------------------------------------------------------------------------- */

static struct tsql_value *
variable(struct tsql_session *s, const char *name)
{
	for (size_t i = 0; i < s->n_variables; i++)
		if (strcasecmp(s->variables[i].name, name) == 0)
			return &s->variables[i];
	return NULL;
}

static struct tsql_value *
declare(struct tsql_session *s, const char *name, struct tds_type type)
{
	struct tsql_value *v = variable(s, name);

	if (v == NULL) {
		s->variables = talloc_realloc(s, s->variables, struct tsql_value, s->n_variables + 1);
		v = &s->variables[s->n_variables++];
		*v = (struct tsql_value){ .name = talloc_strdup(s, name) };
	}
	v->type = type;
	return v;
}

static void
assign(struct tsql_value *v, const sqlite3_value *value)
{
	sqlite3_value_free(v->value);
	v->value = value == NULL ? NULL : sqlite3_value_dup(value);
}

void
tsql_forget_variables(struct tsql_session *s)
{
	for (size_t i = 0; i < s->n_variables; i++)
		sqlite3_value_free(s->variables[i].value);
	s->n_variables = 0;
}

void
tsql_set_variable(struct tsql_session *s, const char *name, struct tds_type type, const struct tds_value *value)
{
	struct tsql_value *v = declare(s, name, type);
	sqlite3_stmt *st = NULL;

	assign(v, NULL);
	if (value->shape == TDS_NULL || sqlite3_prepare_v2(s->db, "SELECT ?", -1, &st, NULL) != SQLITE_OK)
		return;
	switch (value->shape) {
	case TDS_WHOLE: sqlite3_bind_int64(st, 1, value->whole); break;
	case TDS_REAL: sqlite3_bind_double(st, 1, value->real); break;
	case TDS_TEXT: sqlite3_bind_text(st, 1, value->mem, (int)value->len, SQLITE_TRANSIENT); break;
	case TDS_BYTES: sqlite3_bind_blob(st, 1, value->mem, (int)value->len, SQLITE_TRANSIENT); break;
	case TDS_NULL: break;
	}
	if (sqlite3_step(st) == SQLITE_ROW)
		assign(v, sqlite3_column_value(st, 0));
	sqlite3_finalize(st);
}

struct tds_value
tsql_get_variable(struct tsql_session *s, const char *name)
{
	struct tsql_value *v = variable(s, name);
	sqlite3_value *value = v == NULL ? NULL : v->value;

	switch (value == NULL ? SQLITE_NULL : sqlite3_value_type(value)) {
	case SQLITE_INTEGER: return tds_whole(sqlite3_value_int64(value));
	case SQLITE_FLOAT: return (struct tds_value){ .shape = TDS_REAL, .real = sqlite3_value_double(value) };
	case SQLITE_TEXT: return (struct tds_value){ .shape = TDS_TEXT, .mem = sqlite3_value_text(value), .len = (size_t)sqlite3_value_bytes(value) };
	case SQLITE_BLOB: return (struct tds_value){ .shape = TDS_BYTES, .mem = sqlite3_value_blob(value), .len = (size_t)sqlite3_value_bytes(value) };
	default: return (struct tds_value){ .shape = TDS_NULL };
	}
}

/* ---- queries --------------------------------------------------------------------------------------------------- */

/* SQLite's complaint as the server would word it. */
static void
complain(struct tsql_session *s, int line)
{
	const char *said = sqlite3_errmsg(s->db), *p;
	int number = 0, n = 0;

	if (sscanf(said, "%d:%n", &number, &n) == 1 && n > 0)
		note(s, line, number, 1, 16, "%s", said + n);
	else if ((p = strstr(said, "no such table: ")) != NULL)
		note(s, line, 208, 1, 16, "Invalid object name '%s'.", p + strlen("no such table: "));
	else if ((p = strstr(said, "no such column: ")) != NULL)
		note(s, line, 207, 1, 16, "Invalid column name '%s'.", p + strlen("no such column: "));
	else if ((p = strstr(said, "no such function: ")) != NULL)
		note(s, line, 195, 10, 15, "'%s' is not a recognized built-in function name.", p + strlen("no such function: "));
	else if (strstr(said, "UNIQUE constraint") != NULL)
		note(s, line, 2627, 1, 14, "Violation of PRIMARY KEY constraint. Cannot insert duplicate key. (%s)", said);
	else if (strstr(said, "NOT NULL constraint") != NULL)
		note(s, line, 515, 2, 16, "Cannot insert the value NULL into a column; column does not allow nulls. (%s)", said);
	else if (strstr(said, "already exists") != NULL)
		note(s, line, 2714, 6, 16, "There is already an object with that name in the database. (%s)", said);
	else
		note(s, line, 8180, 1, 16, "The stand-in could not do that: %s", said);
}

/* Some questions in a row of one batch see one state, as if they had been asked at the same moment. */
enum { SAME_MOMENT_MS = 50 };

/* The parts of the catalogue that cost most are filled in for who names them, or asks for whatever there is. */
static unsigned
parts_of(const char *sql)
{
	static const struct { const char *word; unsigned part; } words[] = {
		{ "*", ENGINE_OBJECTS | ENGINE_GROUPS }, { "availability", ENGINE_GROUPS }, { "hadr", ENGINE_GROUPS }, { "replica_id", ENGINE_GROUPS },
		{ "group_database_id", ENGINE_GROUPS }, { "sys.tables", ENGINE_OBJECTS }, { "sys.objects", ENGINE_OBJECTS }, { "sys.schemas", ENGINE_OBJECTS },
		{ "sys.columns", ENGINE_OBJECTS }, { "sys.index", ENGINE_OBJECTS }, { "information_schema", ENGINE_OBJECTS }, { "object_", ENGINE_OBJECTS },
	};
	unsigned parts = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (sql == NULL || strcasestr(sql, words[i].word) != NULL)
			parts |= words[i].part;
	return parts;
}

static bool
fill_catalogue(struct tsql_session *s, unsigned parts)
{
	const char *sql;

	if (s->filled_ms != 0 && steady_ms() - s->filled_ms < SAME_MOMENT_MS && (s->filled & parts) == parts)
		return true;
	s->filled_ms = steady_ms();
	s->filled = parts;
	if (!engine_refresh_catalogue(s->e, s->db, parts))
		return false;
	sql = "INSERT INTO sys.database_principals(name, principal_id, type, type_desc, sid, authentication_type)"
	      " SELECT name, rowid + 4, 'S', 'SQL_USER', CAST(sid AS BLOB), CASE WHEN sid IS NULL THEN 0 ELSE 1 END FROM dbo.standin_users";
	sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	sql = "INSERT INTO sys.triggers(name, object_id, parent_class, parent_class_desc, parent_id, type, is_disabled, is_ms_shipped)"
	      " SELECT name, rowid + 500, 0, 'DATABASE', 0, 'TR', is_disabled, 0 FROM dbo.standin_triggers";
	sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	return true;
}

/* What costs a look at the disk is filled in only for who names it. */
static void
fill_volumes(struct tsql_session *s, const struct tsql_name *t)
{
	if (strcasecmp(t->object, "dm_os_volume_stats") == 0)
		sqlite3_exec(s->db, "INSERT INTO sys.dm_os_volume_stats SELECT database_id, file_id, tsql_volume(physical_name, 0), tsql_volume(physical_name, 1),"
		             " tsql_volume(physical_name, 2) FROM sys.master_files", NULL, NULL, NULL);
	else if (strcasecmp(t->object, "dm_os_enumerate_fixed_drives") == 0)
		sqlite3_exec(s->db, "INSERT INTO sys.dm_os_enumerate_fixed_drives SELECT tsql_volume(physical_name, 0), 3, 'DRIVE_FIXED', tsql_volume(physical_name, 2)"
		             " FROM sys.master_files WHERE database_id = 1 AND file_id = 1", NULL, NULL, NULL);
}

static bool
is_own_table(const struct tsql_session *s, const struct tsql_name *t)
{
	return t->database == NULL || strcasecmp(t->database, s->database) == 0;
}

/* Rights, the right database, and a catalogue of now. */
static bool
may_read(struct tsql_session *s, const struct tsql_sql *sql, int line)
{
	bool system = sql->text != NULL && (strstr(sql->text, "tsql_object_") != NULL || strstr(sql->text, "information_schema") != NULL ||
	                                    strstr(sql->text, "sys.") != NULL);

	for (size_t i = 0; i < sql->n_tables; i++) {
		const struct tsql_name *t = &sql->tables[i];
		const char *schema = tsql_schema(s, t);

		if (strcmp(schema, "sys") == 0 || strcmp(schema, "msdb") == 0) {
			system = true;
			continue;
		}
		if (!is_own_table(s, t)) {
			note(s, line, 208, 1, 16, "Invalid object name '%s.%s.%s'.", t->database, t->schema == NULL ? "" : t->schema, t->object);
			return false;
		}
		if (!s->is_admin && !is_system(s->database) && !has_grant(s, "SELECT")) {
			note(s, line, 229, 5, 14, "The SELECT permission was denied on the object '%s', database '%s', schema 'dbo'.", t->object, s->database);
			return false;
		}
	}
	if (!system)
		return true;
	for (size_t i = 0; i < sql->n_tables; i++)
		if (strncasecmp(sql->tables[i].object, "dm_os_", 6) == 0)
			s->filled_ms = 0; /* what fill_volumes adds goes with the rest */
	if (!fill_catalogue(s, parts_of(sql->text)))
		return false;
	for (size_t i = 0; i < sql->n_tables; i++)
		fill_volumes(s, &sql->tables[i]);
	return true;
}

static sqlite3_stmt *
prepare(struct tsql_session *s, const char *sql, int line)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
		complain(s, line);
		return NULL;
	}
	for (int i = 1; i <= sqlite3_bind_parameter_count(st); i++) {
		const char *name = sqlite3_bind_parameter_name(st, i);
		struct tsql_value *v = name == NULL ? NULL : variable(s, name);

		if (v == NULL) {
			note(s, line, 137, 2, 15, "Must declare the scalar variable \"%s\".", name == NULL ? "?" : name);
			sqlite3_finalize(st);
			return NULL;
		}
		if (v->value != NULL)
			sqlite3_bind_value(st, i, v->value);
	}
	return st;
}

static struct tds_type
type_of_declared(const char *declared)
{
	static const struct { const char *name; struct tds_type type; } catalogue[] = {
		{ "NVARCHAR", { TDS_NVARCHAR, TDS_NVARCHAR_LIMIT, 0, 0 } }, { "NUMERIC25 TEXT", { TDS_NUMERIC, 0, 25, 0 } },
		{ "VARBINARY", { TDS_VARBINARY, 85, 0, 0 } }, { "INTEGER", { TDS_INTEGER, 4, 0, 0 } },
	};
	struct tds_type type = { TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 };

	for (size_t i = 0; declared != NULL && i < sizeof(catalogue) / sizeof(catalogue[0]); i++)
		if (strcmp(declared, catalogue[i].name) == 0)
			return catalogue[i].type;
	if (declared != NULL)
		tds_type_parse(declared, &type);
	return type;
}

/* Where the written query does not know a type: the declared one of the column, or of the one it is like. */
static struct tds_type
type_of_column(struct tsql_session *s, sqlite3_stmt *st, int col, const struct tsql_sql *sql, const struct tsql_item *item)
{
	const char *declared = sqlite3_column_decltype(st, col);
	struct tds_type type;
	sqlite3_stmt *other = NULL;
	char *query;

	if (item != NULL && item->typed)
		return item->type;
	if (item != NULL && item->variable != NULL && variable(s, item->variable) != NULL)
		return variable(s, item->variable)->type;
	if (declared != NULL || item == NULL || item->like == NULL || sql->from == NULL)
		return type_of_declared(declared);
	query = talloc_asprintf(s, "SELECT %s%s", item->like, sql->from);
	type = type_of_declared(sqlite3_prepare_v2(s->db, query, -1, &other, NULL) == SQLITE_OK ? sqlite3_column_decltype(other, 0) : NULL);
	sqlite3_finalize(other);
	talloc_free(query);
	return type;
}

static struct tds_value
value_of(sqlite3_stmt *st, int col)
{
	struct tds_value v = { .shape = TDS_NULL };

	switch (sqlite3_column_type(st, col)) {
	case SQLITE_INTEGER: v.shape = TDS_WHOLE; v.whole = sqlite3_column_int64(st, col); break;
	case SQLITE_FLOAT: v.shape = TDS_REAL; v.real = sqlite3_column_double(st, col); break;
	case SQLITE_TEXT:
		v.shape = TDS_TEXT;
		v.mem = sqlite3_column_text(st, col);
		v.len = (size_t)sqlite3_column_bytes(st, col);
		break;
	case SQLITE_BLOB:
		v.shape = TDS_BYTES;
		v.mem = sqlite3_column_blob(st, col);
		v.len = (size_t)sqlite3_column_bytes(st, col);
		break;
	default: break;
	}
	return v;
}

static bool
has_star(const struct tsql_sql *sql)
{
	for (size_t i = 0; i < sql->n_items; i++)
		if (sql->items[i].star)
			return true;
	return false;
}

static void
send_columns(struct tsql_session *s, sqlite3_stmt *st, const struct tsql_sql *sql)
{
	struct tds_column columns[COLUMNS_MAX];
	int n = sqlite3_column_count(st);
	bool star = has_star(sql);

	for (int i = 0; i < n && i < COLUMNS_MAX; i++) {
		const struct tsql_item *item = star || (size_t)i >= sql->n_items ? NULL : &sql->items[i];

		columns[i] = (struct tds_column){ item == NULL ? sqlite3_column_name(st, i) : item->name, type_of_column(s, st, i, sql, item) };
	}
	s->replies->columns(s->replies->ctx, columns, (size_t)n);
}

static bool
send_rows(struct tsql_session *s, sqlite3_stmt *st, int line)
{
	struct tds_value values[COLUMNS_MAX];
	int n = sqlite3_column_count(st), step;

	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		for (int i = 0; i < n && i < COLUMNS_MAX; i++)
			values[i] = value_of(st, i);
		if (!s->replies->row(s->replies->ctx, values, (size_t)n) || ((s->rowcount & 255) == 0 && engine_cancelled(s)))
			return false;
		s->rowcount++;
	}
	if (step == SQLITE_DONE)
		return true;
	complain(s, line);
	return false;
}

static bool
assigns(const struct tsql_sql *sql)
{
	return sql->n_items > 0 && sql->items[0].into != NULL;
}

static void
run_select(struct tsql_session *s, const struct tsql_statement *stmt)
{
	sqlite3_stmt *st;
	bool good;

	s->rowcount = 0;
	if (!may_read(s, &stmt->sql, stmt->line) || (st = prepare(s, stmt->sql.text, stmt->line)) == NULL) {
		s->stop = s->try_depth == 0;
		done(s, 193, false, 0, true);
		return;
	}
	if (assigns(&stmt->sql)) {
		while (sqlite3_step(st) == SQLITE_ROW) {
			for (size_t i = 0; i < stmt->sql.n_items; i++) {
				struct tsql_value *v = variable(s, stmt->sql.items[i].into);

				if (v != NULL)
					assign(v, sqlite3_column_value(st, (int)i));
			}
			s->rowcount++;
		}
		sqlite3_finalize(st);
		return;
	}
	send_columns(s, st, &stmt->sql);
	good = send_rows(s, st, stmt->line);
	sqlite3_finalize(st);
	done(s, 193, true, (uint64_t)s->rowcount, !good);
	s->stop = s->stop || !good;
}

/* One value of a query that stands for an expression. False: noted. */
static bool
evaluate(struct tsql_session *s, const struct tsql_sql *sql, int line, sqlite3_value **out)
{
	sqlite3_stmt *st;
	int step;

	*out = NULL;
	if (!may_read(s, sql, line) || (st = prepare(s, sql->text, line)) == NULL)
		return false;
	step = sqlite3_step(st);
	if (step == SQLITE_ROW)
		*out = sqlite3_value_dup(sqlite3_column_value(st, 0));
	else if (step != SQLITE_DONE)
		complain(s, line);
	sqlite3_finalize(st);
	return step == SQLITE_ROW || step == SQLITE_DONE;
}

static char *
evaluate_text(struct tsql_session *s, TALLOC_CTX *mem, const struct tsql_sql *sql, int line, bool *good)
{
	sqlite3_value *v;
	char *text = NULL;

	*good = evaluate(s, sql, line, &v);
	if (*good && v != NULL && sqlite3_value_type(v) != SQLITE_NULL)
		text = talloc_strdup(mem, (const char *)sqlite3_value_text(v));
	sqlite3_value_free(v);
	return text;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static struct engine_tx *
begin_write(struct tsql_session *s, int line)
{
	struct err err = { 0 };
	struct engine_tx *tx = s->tx != NULL ? s->tx : engine_begin(s->e, s->db, s->database, &err);

	if (tx == NULL && err.code == 927)
		note(s, line, 927, 2, 14, "%s", err.text);
	else if (tx == NULL)
		note(s, line, 1222, 51, 16, "Lock request time out period exceeded. (%s)", err.text);
	/* BEGIN TRAN takes no lock; the first change after it does, in whatever database that is. */
	if (s->trancount > 0 && s->tx == NULL && tx != NULL && s->mark != NULL)
		engine_tx_mark(tx, s->mark);
	if (s->trancount > 0)
		s->tx = tx;
	return tx;
}

static bool
end_write(struct tsql_session *s, struct engine_tx *tx, bool good, int line)
{
	struct err err = { 0 };

	if (s->tx != NULL)
		return good;
	if (!good) {
		engine_rollback(tx);
		return false;
	}
	if (engine_commit(tx, &err))
		return true;
	note(s, line, 3902, 1, 16, "%s", err.text);
	return false;
}

static bool
may_write(struct tsql_session *s, const struct tsql_statement *st)
{
	if (s->is_admin && is_own_table(s, &st->name))
		return true;
	note(s, st->line, s->is_admin ? 208 : 262, 1, 14, s->is_admin ? "Invalid object name '%s'." : "Permission denied: '%s'.",
	     st->name.object == NULL ? "" : st->name.object);
	return false;
}

static char *
own_table(TALLOC_CTX *mem, const char *name)
{
	char *q = sqlite3_mprintf("\"dbo\".\"%w\"", name), *out = talloc_strdup(mem, q);

	sqlite3_free(q);
	return out;
}

static char *
quoted(TALLOC_CTX *mem, const char *name)
{
	char *q = sqlite3_mprintf("\"%w\"", name), *out = talloc_strdup(mem, q);

	sqlite3_free(q);
	return out;
}

static char *
insert_text(TALLOC_CTX *mem, const struct tsql_statement *st)
{
	char *sql = talloc_asprintf(mem, "INSERT INTO %s", own_table(mem, st->name.object));

	for (size_t i = 0; i < st->n_columns; i++)
		sql = talloc_asprintf_append(sql, "%s%s%s", i == 0 ? " (" : ", ", quoted(mem, st->columns[i]), i + 1 == st->n_columns ? ")" : "");
	if (st->n_rows == 0)
		return talloc_asprintf_append(sql, " %s", st->sql.text == NULL ? "DEFAULT VALUES" : st->sql.text);
	for (size_t r = 0; r < st->n_rows; r++) {
		sql = talloc_strdup_append_buffer(sql, r == 0 ? " VALUES (" : ", (");
		for (size_t i = 0; i < st->row_width; i++) {
			sql = talloc_strdup_append_buffer(sql, i == 0 ? "" : ", ");
			sql = talloc_strdup_append_buffer(sql, st->rows[r][i] == NULL ? "NULL" : st->rows[r][i]);
		}
		sql = talloc_strdup_append_buffer(sql, ")");
	}
	return sql;
}

static char *
update_text(TALLOC_CTX *mem, const struct tsql_statement *st)
{
	char *sql = talloc_asprintf(mem, "UPDATE %s SET ", own_table(mem, st->name.object));

	for (size_t i = 0; i < st->n_sets; i++)
		sql = talloc_asprintf_append(sql, "%s%s = %s", i == 0 ? "" : ", ", quoted(mem, st->sets[i].column), st->sets[i].value);
	return talloc_strdup_append(sql, st->where == NULL ? "" : st->where);
}

static void
run_change(struct tsql_session *s, const struct tsql_statement *stmt)
{
	static const struct { enum tsql_kind kind; int curcmd; } commands[] = {
		{ TSQL_INSERT, 195 }, { TSQL_UPDATE, 197 }, { TSQL_DELETE, 196 }, { TSQL_TRUNCATE, 265 },
	};
	TALLOC_CTX *mem = talloc_new(NULL);
	struct engine_tx *tx = NULL;
	sqlite3_stmt *st = NULL;
	char *sql;
	bool good;
	int curcmd = 0;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].kind == stmt->kind)
			curcmd = commands[i].curcmd;
	sql = stmt->kind == TSQL_INSERT ? insert_text(mem, stmt) : stmt->kind == TSQL_UPDATE ? update_text(mem, stmt)
	    : talloc_asprintf(mem, "DELETE FROM %s%s", own_table(mem, stmt->name.object), stmt->where == NULL ? "" : stmt->where);
	good = may_write(s, stmt) && may_read(s, &stmt->sql, stmt->line) && (tx = begin_write(s, stmt->line)) != NULL &&
	       (st = prepare(s, sql, stmt->line)) != NULL;
	if (good && sqlite3_step(st) != SQLITE_DONE) {
		complain(s, stmt->line);
		good = false;
	}
	sqlite3_finalize(st);
	s->rowcount = good ? sqlite3_changes(s->db) : 0;
	if (tx != NULL)
		good = end_write(s, tx, good, stmt->line);
	done(s, curcmd, good, (uint64_t)s->rowcount, !good);
	talloc_free(mem);
}

/* ---- changes of the schema, and the triggers that watch them ------------------------------------------------------ */

static const char own_tables[] =
	"CREATE TABLE IF NOT EXISTS dbo.standin_users(name TEXT PRIMARY KEY, sid TEXT);"
	"CREATE TABLE IF NOT EXISTS dbo.standin_grants(id INTEGER PRIMARY KEY, grantee TEXT, permission TEXT, securable TEXT);"
	"CREATE TABLE IF NOT EXISTS dbo.standin_triggers(name TEXT PRIMARY KEY, events TEXT, body TEXT, is_disabled INT)";

static bool
execute(struct tsql_session *s, struct engine_tx *tx, const char *sql, int line)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
		complain(s, line);
		return false;
	}
	return engine_tx_ddl(tx, sql);
}

static bool
listens(const char *events, const char *event)
{
	return strstr(events, event) != NULL || strstr(events, "DDL_DATABASE_LEVEL_EVENTS") != NULL || strstr(events, "DDL_EVENTS") != NULL;
}

/* Runs what the database's triggers say; false when one of them rolled back. */
static bool
fire(struct tsql_session *s, const char *event, int line)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char **bodies = NULL;
	size_t n = 0;
	sqlite3_stmt *st = NULL;
	bool good = true;

	if (sqlite3_prepare_v2(s->db, "SELECT events, body FROM dbo.standin_triggers WHERE NOT is_disabled", -1, &st, NULL) == SQLITE_OK)
		while (sqlite3_step(st) == SQLITE_ROW)
			if (listens((const char *)sqlite3_column_text(st, 0), event)) {
				bodies = talloc_realloc(mem, bodies, char *, n + 1);
				bodies[n++] = talloc_strdup(mem, (const char *)sqlite3_column_text(st, 1));
			}
	sqlite3_finalize(st);
	for (size_t i = 0; i < n && good; i++) {
		struct tsql_statement *list;
		struct err err = { 0 };
		int at;

		s->doomed = false;
		if (s->depth++ < DEPTH_MAX && tsql_parse(mem, bodies[i], &list, &at, &err))
			run_list(s, list);
		s->depth--;
		if (s->doomed) {
			note(s, line, 3609, 2, 16, "The transaction ended in the trigger. The batch has been aborted.");
			s->stop = true;
			good = false;
		}
	}
	s->doomed = false;
	talloc_free(mem);
	return good;
}

/* One DDL statement in its own transaction, with its triggers. */
static bool
change_schema(struct tsql_session *s, const struct tsql_statement *st, const char *event, const char *sql)
{
	struct engine_tx *tx;
	bool good, outer;

	if (!may_write(s, st))
		return false;
	if (is_system(s->database)) {
		note(s, st->line, 262, 1, 14, "The stand-in keeps nothing in %s.", s->database);
		return false;
	}
	tx = begin_write(s, st->line);
	if (tx == NULL)
		return false;
	outer = s->tx != NULL;
	good = sqlite3_exec(s->db, own_tables, NULL, NULL, NULL) == SQLITE_OK && engine_tx_ddl(tx, own_tables) && execute(s, tx, sql, st->line);
	/* What a trigger writes belongs to the same transaction. */
	s->tx = tx;
	good = good && fire(s, event, st->line);
	if (!outer)
		s->tx = NULL;
	return end_write(s, tx, good, st->line);
}

static char *
column_text(TALLOC_CTX *mem, const struct tsql_column_def *d, bool is_key)
{
	char *s = talloc_asprintf(mem, "%s %s", quoted(mem, d->name), d->identity ? "INTEGER" : quoted(mem, d->type));

	if (d->identity && is_key)
		s = talloc_strdup_append(s, " PRIMARY KEY AUTOINCREMENT");
	if (d->not_null || is_key)
		s = talloc_strdup_append(s, " NOT NULL");
	if (d->unique)
		s = talloc_strdup_append(s, " UNIQUE");
	if (d->standard != NULL)
		s = talloc_asprintf_append(s, " DEFAULT %s", d->standard);
	return s;
}

static char *
create_table_text(TALLOC_CTX *mem, const struct tsql_statement *st)
{
	char *s = talloc_asprintf(mem, "CREATE TABLE %s (", own_table(mem, st->name.object));
	bool inline_key = false;

	for (size_t i = 0; i < st->n_defs; i++) {
		bool is_key = st->n_key == 1 && strcasecmp(st->key[0], st->defs[i].name) == 0;

		inline_key = inline_key || (is_key && st->defs[i].identity);
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ", ", column_text(mem, &st->defs[i], is_key));
	}
	for (size_t i = 0; !inline_key && i < st->n_key; i++)
		s = talloc_asprintf_append(s, "%s%s%s", i == 0 ? ", PRIMARY KEY (" : ", ", quoted(mem, st->key[i]), i + 1 == st->n_key ? ")" : "");
	return talloc_strdup_append(s, ")");
}

static void
run_ddl(struct tsql_session *s, const struct tsql_statement *st)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *table = st->name.object == NULL ? "" : own_table(mem, st->name.object), *event = "CREATE_TABLE";
	char *sql = NULL;
	bool good;

	switch ((int)st->kind) {
	case TSQL_CREATE_TABLE:
		sql = create_table_text(mem, st);
		break;
	case TSQL_DROP_TABLE:
		sql = talloc_asprintf(mem, "DROP TABLE %s%s", st->if_exists ? "IF EXISTS " : "", table);
		event = "DROP_TABLE";
		break;
	case TSQL_ADD_COLUMN:
		sql = talloc_asprintf(mem, "ALTER TABLE %s ADD COLUMN %s", table, column_text(mem, &st->defs[0], false));
		event = "ALTER_TABLE";
		break;
	case TSQL_CREATE_INDEX:
		sql = talloc_asprintf(mem, "CREATE %sINDEX dbo.%s ON %s (", st->unique ? "UNIQUE " : "", quoted(mem, st->word), quoted(mem, st->name.object));
		for (size_t i = 0; i < st->n_columns; i++)
			sql = talloc_asprintf_append(sql, "%s%s", i == 0 ? "" : ", ", quoted(mem, st->columns[i]));
		sql = talloc_strdup_append(sql, ")");
		event = "CREATE_INDEX";
		break;
	default:
		break;
	}
	good = sql != NULL && change_schema(s, st, event, sql);
	done(s, 198, false, 0, !good);
	talloc_free(mem);
}

/* ---- users, grants, triggers: rows that travel with the database ----------------------------------------------------- */

static char *
literal(TALLOC_CTX *mem, const char *text)
{
	char *q = sqlite3_mprintf("%Q", text), *out = talloc_strdup(mem, q);

	sqlite3_free(q);
	return out;
}

static bool
row_exists(struct tsql_session *s, const char *sql, const char *name)
{
	sqlite3_stmt *st = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
		found = sqlite3_step(st) == SQLITE_ROW;
	}
	sqlite3_finalize(st);
	return found;
}

#define FIND_USER "SELECT 1 FROM dbo.standin_users WHERE name = ? COLLATE TSQL"
#define FIND_TRIGGER "SELECT 1 FROM dbo.standin_triggers WHERE name = ? COLLATE TSQL"

/* NULL: WITHOUT LOGIN, and no such log-in. */
static const char *
sid_of(struct tsql_session *s, TALLOC_CTX *mem, const char *login)
{
	return login == NULL ? NULL : engine_login_sid(s->e, mem, login);
}

static bool
create_user(struct tsql_session *s, const struct tsql_statement *st, TALLOC_CTX *mem)
{
	if (row_exists(s, FIND_USER, st->name.object)) {
		note(s, st->line, 15023, 1, 16, "User, group, or role '%s' already exists in the current database.", st->name.object);
		return false;
	}
	if (st->kind == TSQL_CREATE_USER && st->principal != NULL && !engine_login_exists(s->e, st->principal)) {
		note(s, st->line, 15007, 1, 16, "'%s' is not a valid login or you do not have permission.", st->principal);
		return false;
	}
	return change_schema(s, st, "CREATE_USER", talloc_asprintf(mem, "INSERT INTO dbo.standin_users(name, sid) VALUES(%s, %s)",
		literal(mem, st->name.object), literal(mem, sid_of(s, mem, st->principal))));
}

static bool
alter_user(struct tsql_session *s, const struct tsql_statement *st, TALLOC_CTX *mem)
{
	if (!row_exists(s, FIND_USER, st->name.object)) {
		note(s, st->line, 15151, 1, 16, "Cannot alter the user '%s', because it does not exist or you do not have permission.", st->name.object);
		return false;
	}
	if (st->principal != NULL && !engine_login_exists(s->e, st->principal)) {
		note(s, st->line, 15007, 1, 16, "'%s' is not a valid login or you do not have permission.", st->principal);
		return false;
	}
	return change_schema(s, st, "ALTER_USER", talloc_asprintf(mem, "UPDATE dbo.standin_users SET sid = %s WHERE name = %s COLLATE TSQL",
		literal(mem, sid_of(s, mem, st->principal)), literal(mem, st->name.object)));
}

static bool
drop_user(struct tsql_session *s, const struct tsql_statement *st, TALLOC_CTX *mem)
{
	return change_schema(s, st, "DROP_USER", talloc_asprintf(mem, "DELETE FROM dbo.standin_users WHERE name = %s COLLATE TSQL",
		literal(mem, st->name.object)));
}

static bool
grant(struct tsql_session *s, const struct tsql_statement *st, TALLOC_CTX *mem)
{
	char *list = talloc_strdup(mem, st->word), *save = NULL, *sql = talloc_strdup(mem, "");

	if (!row_exists(s, FIND_USER, st->principal)) {
		note(s, st->line, 15151, 1, 16, "Cannot find the user '%s', because it does not exist or you do not have permission.", st->principal);
		return false;
	}
	for (char *p = strtok_r(list, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save))
		sql = talloc_asprintf_append(sql, "%s%s", sql[0] == '\0' ? "" : "; ", st->kind == TSQL_GRANT
			? talloc_asprintf(mem, "INSERT INTO dbo.standin_grants(grantee, permission, securable) VALUES(%s, %s, %s)", literal(mem, st->principal),
			                  literal(mem, p), literal(mem, st->text))
			: talloc_asprintf(mem, "DELETE FROM dbo.standin_grants WHERE grantee = %s COLLATE TSQL AND permission = %s", literal(mem, st->principal),
			                  literal(mem, p)));
	return change_schema(s, st, st->kind == TSQL_GRANT ? "GRANT_DATABASE" : "REVOKE_DATABASE", sql);
}

static bool
trigger(struct tsql_session *s, const struct tsql_statement *st, TALLOC_CTX *mem)
{
	bool known = st->name.object != NULL && row_exists(s, FIND_TRIGGER, st->name.object);
	const char *name = st->name.object == NULL ? NULL : literal(mem, st->name.object);
	struct engine_tx *tx;
	const char *sql;

	if (st->kind == TSQL_CREATE_TRIGGER) {
		if (known) {
			note(s, st->line, 2714, 6, 16, "There is already an object named '%s' in the database.", st->name.object);
			return false;
		}
		return change_schema(s, st, "CREATE_TRIGGER", talloc_asprintf(mem, "INSERT INTO dbo.standin_triggers VALUES(%s, %s, %s, 0)", name,
			literal(mem, st->word), literal(mem, st->text)));
	}
	if (!known && name != NULL) {
		note(s, st->line, 4902, 1, 16, "Cannot find the object '%s' because it does not exist or you do not have permissions.", st->name.object);
		return false;
	}
	if (st->kind == TSQL_DROP_TRIGGER)
		return change_schema(s, st, "DROP_TRIGGER", talloc_asprintf(mem, "DELETE FROM dbo.standin_triggers WHERE name = %s COLLATE TSQL", name));
	/* Switching is no event that a trigger could watch. */
	sql = talloc_asprintf(mem, "UPDATE dbo.standin_triggers SET is_disabled = %d%s%s%s", st->kind == TSQL_DISABLE_TRIGGER,
	                      name == NULL ? "" : " WHERE name = ", name == NULL ? "" : name, name == NULL ? "" : " COLLATE TSQL");
	tx = begin_write(s, st->line);
	return tx != NULL && end_write(s, tx, execute(s, tx, sql, st->line), st->line);
}

static bool
server_admin_only(struct tsql_session *s, const struct tsql_statement *st)
{
	if (s->is_admin)
		return true;
	note(s, st->line, 15247, 1, 16, "User does not have permission to perform this action.");
	return false;
}

static bool
login_statement(struct tsql_session *s, const struct tsql_statement *st)
{
	struct err err = { 0 };
	bool exists;

	if (!server_admin_only(s, st))
		return false;
	exists = engine_login_exists(s->e, st->name.object);
	if (st->kind == TSQL_CREATE_LOGIN && exists) {
		note(s, st->line, 15025, 1, 16, "The server principal '%s' already exists.", st->name.object);
		return false;
	}
	if (st->kind != TSQL_CREATE_LOGIN && !exists) {
		note(s, st->line, 15151, 1, 16, "Cannot alter the login '%s', because it does not exist or you do not have permission.", st->name.object);
		return false;
	}
	if (st->kind == TSQL_DROP_LOGIN)
		return engine_login_drop(s->e, st->name.object);
	if (st->kind == TSQL_ALTER_LOGIN && st->word != NULL)
		return engine_login_disable(s->e, st->name.object, strcmp(st->word, "DISABLE") == 0);
	if (st->secret == NULL)
		return true;
	return engine_login_set(s->e, st->name.object, st->secret, false, &err);
}

static bool
role_member(struct tsql_session *s, const struct tsql_statement *st)
{
	if (!server_admin_only(s, st))
		return false;
	if (!st->all)
		return true; /* roles of a database give nothing here that GRANT does not */
	if (strcasecmp(st->word, "sysadmin") != 0 && strcasecmp(st->word, "dbcreator") != 0)
		return true;
	return engine_login_role(s->e, st->principal, strcasecmp(st->word, "sysadmin") == 0 ? ENGINE_SYSADMIN : ENGINE_DBCREATOR, !st->if_exists);
}

static bool
principal_statement(struct tsql_session *s, const struct tsql_statement *st)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct engine_out out = out_of(s);
	bool good = false;

	switch ((int)st->kind) {
	case TSQL_CREATE_LOGIN: case TSQL_ALTER_LOGIN: case TSQL_DROP_LOGIN: good = login_statement(s, st); break;
	case TSQL_ROLE_MEMBER: good = role_member(s, st); break;
	case TSQL_CREATE_USER: good = create_user(s, st, mem); break;
	case TSQL_ALTER_USER: good = alter_user(s, st, mem); break;
	case TSQL_DROP_USER: good = drop_user(s, st, mem); break;
	case TSQL_GRANT: case TSQL_REVOKE: good = grant(s, st, mem); break;
	case TSQL_AUTHORIZATION: good = server_admin_only(s, st) && engine_set_owner(s->e, st->name.object, st->principal, &out); break;
	case TSQL_CREATE_TRIGGER: case TSQL_DROP_TRIGGER: case TSQL_ENABLE_TRIGGER: case TSQL_DISABLE_TRIGGER: good = trigger(s, st, mem); break;
	default: break;
	}
	talloc_free(mem);
	return good;
}

/* ---- databases, BACKUP, RESTORE ------------------------------------------------------------------------------------------ */

/* CREATE, ALTER, DROP: each refuses in words of its own, which do not tell whether the database exists. */
static bool
may_manage(struct tsql_session *s, const struct tsql_statement *st, const char *database)
{
	if (s->is_creator || (st->kind != TSQL_CREATE_DATABASE && engine_login_owns(s->e, s->login, database)))
		return true;
	if (st->kind == TSQL_CREATE_DATABASE) {
		note(s, st->line, 262, 1, 14, "CREATE DATABASE permission denied in database 'master'.");
	} else if (st->kind == TSQL_DROP_DATABASE) {
		note(s, st->line, 3701, 1, 11, "Cannot drop the database '%s', because it does not exist or you do not have permission.", database);
	} else {
		note(s, st->line, 5011, 9, 14, "User does not have permission to alter database '%s', the database does not exist, or the database is not in a "
		     "state that allows access checks.", database);
		note(s, st->line, 5069, 1, 16, "ALTER DATABASE statement failed.");
	}
	return false;
}

static bool
database_statement(struct tsql_session *s, const struct tsql_statement *st)
{
	struct engine_out out = out_of(s);
	const char *name = st->name.object == NULL ? s->database : st->name.object;
	bool good = true;

	if (!may_manage(s, st, name))
		return false;
	if (st->kind == TSQL_CREATE_DATABASE)
		return engine_create(s->e, name, &out);
	if (st->kind == TSQL_DROP_DATABASE)
		return st->if_exists && engine_database_id(s->e, name) == 0 ? true : engine_drop(s->e, name, &out);
	for (size_t i = 0; i < st->n_options && good; i++)
		good = strcmp(st->options[i].name, "HADR") == 0 ? engine_ag_join_database(s->e, name, st->options[i].value, &out) : engine_alter(s->e, name, st->options[i].name, st->options[i].value == NULL ? "" : st->options[i].value, &out);
	return good;
}

static bool
availability_statement(struct tsql_session *s, const struct tsql_statement *st)
{
	static const struct { const char *word; enum engine_ag_verb verb; } verbs[] = {
		{ "join", ENGINE_AG_JOIN }, { "grant", ENGINE_AG_GRANT }, { "add", ENGINE_AG_ADD }, { "remove", ENGINE_AG_REMOVE },
		{ "failover", ENGINE_AG_FAILOVER }, { "force_failover_allow_data_loss", ENGINE_AG_FORCE }, { "drop", ENGINE_AG_DROP },
		{ "modify", ENGINE_AG_MODIFY },
	};
	struct engine_replica *replicas = talloc_array(st, struct engine_replica, st->n_replicas);
	struct engine_out out = out_of(s);

	if (!server_admin_only(s, st))
		return false;
	for (size_t i = 0; i < st->n_replicas; i++)
		replicas[i] = (struct engine_replica){ st->replicas[i].server, st->replicas[i].endpoint, st->replicas[i].says_seeding,
			st->replicas[i].automatic_seeding, !st->replicas[i].asynchronous };
	if (strcmp(st->word, "create") == 0)
		return engine_ag_create(s->e, st->name.object, replicas, st->n_replicas, &out) &&
		       (st->principal == NULL || engine_ag_do(s->e, st->name.object, ENGINE_AG_ADD, st->principal, NULL, &out));
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].word, st->word) == 0)
			return engine_ag_do(s->e, st->name.object, verbs[i].verb, st->principal, st->n_replicas == 0 ? NULL : &replicas[0], &out);
	return false;
}

static const char *
text_or_variable(struct tsql_session *s, const char *text)
{
	struct tsql_value *v = text != NULL && text[0] == '@' ? variable(s, text) : NULL;

	return v == NULL ? text : v->value == NULL ? "" : (const char *)sqlite3_value_text(v->value);
}

static const struct tsql_option *
option(const struct tsql_media *m, const char *name)
{
	for (size_t i = 0; i < m->n_options; i++)
		if (strcasecmp(m->options[i].name, name) == 0)
			return &m->options[i];
	return NULL;
}

static int
number_option(struct tsql_session *s, const struct tsql_media *m, const char *name, int without)
{
	const struct tsql_option *o = option(m, name);

	return o == NULL ? 0 : o->value == NULL ? without : atoi(text_or_variable(s, o->value));
}

static const char **
devices_of(struct tsql_session *s, TALLOC_CTX *mem, const struct tsql_media *m)
{
	const char **devices = talloc_array(mem, const char *, m->n_devices + 1);

	for (size_t i = 0; i < m->n_devices; i++)
		devices[i] = text_or_variable(s, m->devices[i]);
	return devices;
}

static bool
backup(struct tsql_session *s, const struct tsql_statement *st, int *curcmd)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct tsql_media *m = st->media;
	const struct tsql_option *name = option(m, "NAME");
	struct engine_out out = out_of(s);
	struct engine_backup b = { .database = text_or_variable(s, m->database), .devices = devices_of(s, mem, m), .n_devices = m->n_devices,
		.name = name == NULL ? NULL : text_or_variable(s, name->value), .log = m->verb == TSQL_OF_LOG,
		.differential = option(m, "DIFFERENTIAL") != NULL, .copy_only = option(m, "COPY_ONLY") != NULL, .checksum = option(m, "CHECKSUM") != NULL,
		.norecovery = option(m, "NORECOVERY") != NULL, .init = option(m, "INIT") != NULL,
		.compression = option(m, "COMPRESSION") != NULL, .format = option(m, "FORMAT") != NULL,
		.stats = number_option(s, m, "STATS", 10) };
	bool good = false;

	*curcmd = b.log ? 235 : 228;
	if (!s->is_admin && !engine_login_owns(s->e, s->login, b.database)) {
		note(s, st->line, 262, 1, 14, "BACKUP %s permission denied in database '%s'.", b.log ? "LOG" : "DATABASE", b.database);
		note(s, st->line, 3013, 1, 16, "BACKUP %s is terminating abnormally.", b.log ? "LOG" : "DATABASE");
	} else {
		good = engine_backup(s->e, &b, &out);
	}
	talloc_free(mem);
	return good;
}

/* STOPATMARK = 'lsn:… or name' [AFTER time] and STOPBEFOREMARK. */
static const char *
stop_mark(struct tsql_session *s, const struct tsql_media *m, bool *before)
{
	const struct tsql_option *o = option(m, "STOPATMARK");

	*before = o == NULL;
	if (o == NULL)
		o = option(m, "STOPBEFOREMARK");
	return o == NULL ? NULL : text_or_variable(s, o->value);
}

static bool
restore(struct tsql_session *s, const struct tsql_statement *st, int *curcmd)
{
	static const enum engine_verb verbs[] = {
		[TSQL_OF_DATABASE] = ENGINE_RESTORE_DATABASE, [TSQL_OF_LOG] = ENGINE_RESTORE_LOG, [TSQL_OF_HEADER] = ENGINE_HEADERONLY,
		[TSQL_OF_FILELIST] = ENGINE_FILELISTONLY, [TSQL_OF_LABEL] = ENGINE_LABELONLY, [TSQL_OF_VERIFY] = ENGINE_VERIFYONLY,
	};
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct tsql_media *m = st->media;
	struct engine_move *moves = talloc_array(mem, struct engine_move, m->n_moves + 1);
	const struct tsql_option *stop = option(m, "STOPAT"), *standby = option(m, "STANDBY");
	struct engine_restore r = { .verb = verbs[m->verb], .database = text_or_variable(s, m->database), .devices = devices_of(s, mem, m),
		.n_devices = m->n_devices, .file = number_option(s, m, "FILE", 1), .moves = moves, .n_moves = m->n_moves,
		.norecovery = option(m, "NORECOVERY") != NULL, .replace = option(m, "REPLACE") != NULL, .checksum = option(m, "CHECKSUM") != NULL,
		.restricted = option(m, "RESTRICTED_USER") != NULL, .standby = standby == NULL ? NULL : text_or_variable(s, standby->value),
		.stop_at = stop == NULL ? NULL : text_or_variable(s, stop->value), .stats = number_option(s, m, "STATS", 10) };
	struct engine_out out = out_of(s);
	bool good;

	r.stop_mark = stop_mark(s, m, &r.before_mark);
	for (size_t i = 0; i < m->n_moves; i++)
		moves[i] = (struct engine_move){ m->moves[i].logical, m->moves[i].physical };
	*curcmd = engine_curcmd(&r);
	if (m->verb >= TSQL_OF_HEADER)
		s->rowcount = 0;
	good = engine_restore(s->e, &r, &out);
	talloc_free(mem);
	return good;
}

static void
run_media(struct tsql_session *s, const struct tsql_statement *st)
{
	int curcmd = 0;
	bool rows = st->kind == TSQL_RESTORE && st->media->verb >= TSQL_OF_HEADER && st->media->verb != TSQL_OF_VERIFY;
	bool good = st->kind == TSQL_BACKUP ? backup(s, st, &curcmd) : restore(s, st, &curcmd);

	if (good && rows)
		done(s, 230, true, (uint64_t)s->rowcount, false);
	done(s, curcmd, false, 0, !good);
}

/* ---- EXEC ------------------------------------------------------------------------------------------------------------------ */

static void
run_text(struct tsql_session *s, const char *text)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tsql_statement *list;
	struct err err = { 0 };
	int line;

	if (s->depth++ >= DEPTH_MAX)
		note(s, 1, 217, 1, 16, "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).");
	else if (!tsql_parse(mem, text, &list, &line, &err)) {
		note(s, line, err.code, 1, 15, "%s", err.text);
		done(s, 253, false, 0, true);
	} else {
		run_list(s, list);
	}
	s->depth--;
	talloc_free(mem);
}

static bool
exec_standin(struct tsql_session *s, const struct tsql_statement *st, char **args, size_t n)
{
	struct engine_out out = out_of(s);
	bool good = false;

	if (!server_admin_only(s, st))
		return false;
	for (size_t i = 0; i < n; i++)
		if (args[i] == NULL)
			args[i] = talloc_strdup(s, "");
	if (strcasecmp(st->name.object, "rows") == 0 && n == 2)
		good = engine_rows(s->e, args[0], args[1], &out);
	else if (strcasecmp(st->name.object, "pages") == 0 && n == 1)
		good = engine_pages(s->e, args[0], &out);
	else if (strcasecmp(st->name.object, "wire") == 0 && n == 2) {
		struct err err = { 0 };

		good = s->replies->wire(s->replies->ctx, args[0], args[1], &err);
		if (!good)
			note(s, st->line, 50000, 1, 16, "%s", err.text);
		return good;
	} else if (strcasecmp(st->name.object, "certificate") == 0 && n == 1) {
		good = engine_certificate(s->e, args[0]);
		if (!good)
			note(s, st->line, 50000, 1, 16, "'%s' is no thumbprint.", args[0]);
		return good;
	} else if ((strcasecmp(st->name.object, "knob") == 0 || strcasecmp(st->name.object, "fault") == 0) && n == 2) {
		good = engine_knob(s->e, args[0], atol(args[1]));
		if (!good)
			note(s, st->line, 50000, 1, 16, "There is no knob '%s'.", args[0]);
		return good;
	} else {
		note(s, st->line, 2812, 62, 16, "Could not find stored procedure 'standin.%s'.", st->name.object);
		return false;
	}
	if (good)
		done(s, 193, true, (uint64_t)s->rowcount, false);
	return good;
}

static void
exec_sql(struct tsql_session *s, const struct tsql_statement *st, char **args, size_t n)
{
	struct tsql_variable *params = NULL;
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	size_t n_params = 0;

	if (n > 1 && args[1] != NULL && !tsql_parse_parameters(mem, args[1], &params, &n_params, &err)) {
		note(s, st->line, err.code, 1, 15, "%s", err.text);
	} else {
		for (size_t i = 0; i < n_params; i++) {
			struct tds_value v = i + 2 < n ? tds_text(args[i + 2]) : (struct tds_value){ .shape = TDS_NULL };

			tsql_set_variable(s, params[i].name, params[i].type, &v);
		}
		run_text(s, args[0] == NULL ? "" : args[0]);
	}
	talloc_free(mem);
}

/* What xp_fileexist answers, as a SELECT. */
static char *
file_exists(TALLOC_CTX *mem, const char *path)
{
	struct stat st = { 0 }, parent = { 0 };
	char *above = talloc_strdup(mem, path), *slash;

	while ((slash = strrchr(above, '/')) != NULL && slash > above && slash[1] == '\0')
		*slash = '\0';
	if (slash != NULL)
		slash[slash == above ? 1 : 0] = '\0';
	if (stat(path, &st) != 0)
		st.st_mode = 0;
	if (stat(above, &parent) != 0)
		parent.st_mode = 0;
	return talloc_asprintf(mem, "SELECT CONVERT(int, %d) AS [File Exists], CONVERT(int, %d) AS [File is a Directory], CONVERT(int, %d) AS [Parent Directory "
	                       "Exists]", S_ISREG(st.st_mode) != 0, S_ISDIR(st.st_mode) != 0, S_ISDIR(parent.st_mode) != 0);
}

static void
run_exec(struct tsql_session *s, const struct tsql_statement *st)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *args[ARGUMENTS_MAX] = { NULL };
	size_t n = st->n_arguments < ARGUMENTS_MAX ? st->n_arguments : ARGUMENTS_MAX;
	bool good = true;

	for (size_t i = 0; i < n && good; i++)
		args[i] = evaluate_text(s, mem, &st->arguments[i].value, st->line, &good);
	if (good && st->name.object == NULL && n == 1) {
		run_text(s, args[0] == NULL ? "" : args[0]);
	} else if (good && st->name.schema != NULL && strcasecmp(st->name.schema, "standin") == 0) {
		good = exec_standin(s, st, args, n);
		done(s, 224, false, 0, !good);
	} else if (good && st->name.object != NULL && strcasecmp(st->name.object, "xp_fileexist") == 0 && n == 1 && args[0] != NULL) {
		run_text(s, file_exists(mem, args[0]));
		done(s, 224, false, 0, false);
	} else if (good && st->name.object != NULL && strcasecmp(st->name.object, "sp_executesql") == 0 && n >= 1) {
		exec_sql(s, st, args, n);
	} else if (good) {
		note(s, st->line, 2812, 62, 16, "Could not find stored procedure '%s'.", st->name.object == NULL ? "" : st->name.object);
		done(s, 224, false, 0, true);
	} else {
		done(s, 224, false, 0, true);
	}
	talloc_free(mem);
}

/* ---- transactions, variables, messages ---------------------------------------------------------------------------------------- */

static void
run_transaction(struct tsql_session *s, const struct tsql_statement *st)
{
	struct err err = { 0 };
	bool good = true;

	if (st->kind == TSQL_BEGIN_TRAN) {
		if (s->trancount++ == 0) {
			talloc_free(s->mark);
			s->mark = st->word == NULL ? NULL : talloc_strdup(s, st->word);
		}
	} else if (s->trancount == 0 && s->tx == NULL) {
		note(s, st->line, st->kind == TSQL_COMMIT ? 3902 : 3903, 1, 16, "The %s TRANSACTION request has no corresponding BEGIN TRANSACTION.",
		     st->kind == TSQL_COMMIT ? "COMMIT" : "ROLLBACK");
		good = false;
	} else if (st->kind == TSQL_COMMIT) {
		if (--s->trancount <= 0) {
			struct engine_tx *tx = s->tx;

			s->tx = NULL;
			s->trancount = 0;
			good = tx == NULL || engine_commit(tx, &err);
		}
	} else if (s->depth > 0 && s->trancount == 0) {
		s->doomed = true; /* a trigger's ROLLBACK ends the statement that fired it */
	} else {
		if (s->tx != NULL)
			engine_rollback(s->tx);
		s->tx = NULL;
		s->trancount = 0;
	}
	done(s, st->kind == TSQL_BEGIN_TRAN ? 212 : st->kind == TSQL_COMMIT ? 213 : 210, false, 0, !good);
}

static void
run_variables(struct tsql_session *s, const struct tsql_statement *st)
{
	for (size_t i = 0; i < st->n_variables; i++) {
		const struct tsql_variable *d = &st->variables[i];
		struct tsql_value *v = st->kind == TSQL_DECLARE ? declare(s, d->name, d->type) : variable(s, d->name);
		sqlite3_value *value;

		if (v == NULL) {
			note(s, st->line, 137, 1, 15, "Must declare the scalar variable \"%s\".", d->name);
			s->stop = true;
			return;
		}
		if (d->value.text == NULL)
			continue;
		if (!evaluate(s, &d->value, st->line, &value)) {
			s->stop = s->try_depth == 0;
			return;
		}
		/* evaluate may have moved the list. */
		assign(variable(s, d->name), value);
		sqlite3_value_free(value);
	}
}

static void
run_message(struct tsql_session *s, const struct tsql_statement *st)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *args[3] = { NULL };
	bool good = true;

	if (st->kind == TSQL_PRINT) {
		char *text = evaluate_text(s, mem, &st->sql, st->line, &good);

		if (good)
			note(s, st->line, 0, 1, 0, "%s", text == NULL ? "" : text);
	} else if (st->kind == TSQL_THROW && st->n_arguments == 0) {
		if (s->caught.number != 0) {
			int depth = s->try_depth;

			s->try_depth = 0;
			note(s, s->caught.line, s->caught.number, s->caught.state, s->caught.severity, "%s", s->caught.text);
			s->try_depth = depth;
		}
		s->stop = true;
	} else {
		for (size_t i = 0; i < 3 && i < st->n_arguments && good; i++)
			args[i] = evaluate_text(s, mem, &st->arguments[i].value, st->line, &good);
		if (good && st->kind == TSQL_THROW) {
			note(s, st->line, args[0] == NULL ? 50000 : atoi(args[0]), args[2] == NULL ? 1 : atoi(args[2]), 16, "%s", args[1] == NULL ? "" : args[1]);
			s->stop = s->try_depth == 0;
		} else if (good) {
			note(s, st->line, 50000, args[2] == NULL ? 1 : atoi(args[2]), args[1] == NULL ? 16 : atoi(args[1]), "%s", args[0] == NULL ? "" : args[0]);
		}
	}
	if (s->error != 0 && s->failed)
		done(s, 253, false, 0, true);
	talloc_free(mem);
}

static bool
is_true(struct tsql_session *s, const struct tsql_statement *st, bool *good)
{
	sqlite3_value *v;
	bool yes;

	*good = evaluate(s, &st->sql, st->line, &v);
	yes = *good && v != NULL && sqlite3_value_int(v) != 0;
	sqlite3_value_free(v);
	if (!*good) {
		s->stop = s->try_depth == 0;
		done(s, 193, false, 0, true);
	}
	return yes;
}

static void
run_while(struct tsql_session *s, const struct tsql_statement *st)
{
	bool good;

	while (!s->stop && is_true(s, st, &good) && !engine_cancelled(s)) {
		const struct tsql_statement *body = st->body;

		run_list(s, body);
		if (s->try_depth > 0 && s->caught.number != 0)
			return;
	}
}

static void
run_try(struct tsql_session *s, const struct tsql_statement *st)
{
	s->caught.number = 0;
	s->try_depth++;
	run_list(s, st->body);
	s->try_depth--;
	if (s->caught.number != 0) {
		run_list(s, st->otherwise);
		s->caught.number = 0;
	}
}

static void
wait_for(struct tsql_session *s, const struct tsql_statement *st)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	int h = 0, m = 0;
	double sec = 0;
	bool good;
	char *text = evaluate_text(s, mem, &st->sql, st->line, &good);

	if (good && text != NULL && sscanf(text, "%d:%d:%lf", &h, &m, &sec) >= 2)
		for (double left = h * 3600 + m * 60 + sec; left > 0 && !engine_cancelled(s); left -= 0.02)
			usleep(20000);
	talloc_free(mem);
	done(s, 216, false, 0, false);
}

static void
use_database(struct tsql_session *s, const struct tsql_statement *st)
{
	char *before = talloc_strdup(NULL, s->database);
	bool good = s->tx == NULL;

	if (!good)
		note(s, st->line, 50000, 1, 16, "The stand-in's transactions change one database; commit or roll back before USE.");
	else
		good = enter_database(s, st->name.object, st->line);
	if (good)
		s->replies->use(s->replies->ctx, s->database, before);
	else
		s->stop = true;
	talloc_free(before);
	done(s, 226, false, 0, !good);
}

/* Statements that begin a transaction when SET IMPLICIT_TRANSACTIONS is ON. */
static bool
begins_implicitly(const struct tsql_statement *st)
{
	switch ((int)st->kind) {
	case TSQL_SELECT: return st->sql.from != NULL;
	case TSQL_INSERT: case TSQL_UPDATE: case TSQL_DELETE: case TSQL_TRUNCATE: case TSQL_CREATE_TABLE: case TSQL_DROP_TABLE: case TSQL_ADD_COLUMN:
	case TSQL_CREATE_INDEX: case TSQL_GRANT: case TSQL_REVOKE: return true;
	default: return false;
	}
}

static void
run_one(struct tsql_session *s, const struct tsql_statement *st)
{
	bool good;

	if (s->implicit && s->trancount == 0 && begins_implicitly(st))
		s->trancount = 1;
	switch (st->kind) {
	case TSQL_SELECT: run_select(s, st); break;
	case TSQL_INSERT: case TSQL_UPDATE: case TSQL_DELETE: case TSQL_TRUNCATE: run_change(s, st); break;
	case TSQL_CREATE_TABLE: case TSQL_DROP_TABLE: case TSQL_ADD_COLUMN: case TSQL_CREATE_INDEX: run_ddl(s, st); break;
	case TSQL_CREATE_DATABASE: case TSQL_DROP_DATABASE: case TSQL_ALTER_DATABASE:
		good = database_statement(s, st);
		keep_database(s);
		done(s, st->kind == TSQL_CREATE_DATABASE ? 203 : 215, false, 0, !good);
		break;
	case TSQL_USE: use_database(s, st); break;
	case TSQL_DECLARE: case TSQL_SET_VARIABLE: run_variables(s, st); break;
	case TSQL_BEGIN_TRAN: case TSQL_COMMIT: case TSQL_ROLLBACK: run_transaction(s, st); break;
	case TSQL_BLOCK: run_list(s, st->body); break;
	case TSQL_IF:
		if (is_true(s, st, &good))
			run_one(s, st->body);
		else if (good && st->otherwise != NULL)
			run_one(s, st->otherwise);
		break;
	case TSQL_WHILE: run_while(s, st); break;
	case TSQL_TRY: run_try(s, st); break;
	case TSQL_RETURN: s->stop = true; break;
	case TSQL_PRINT: case TSQL_RAISERROR: case TSQL_THROW: run_message(s, st); break;
	case TSQL_WAITFOR: wait_for(s, st); break;
	case TSQL_EXEC: run_exec(s, st); break;
	case TSQL_BACKUP: case TSQL_RESTORE: run_media(s, st); break;
	case TSQL_CREATE_LOGIN: case TSQL_ALTER_LOGIN: case TSQL_DROP_LOGIN: case TSQL_ROLE_MEMBER: case TSQL_CREATE_USER: case TSQL_ALTER_USER:
	case TSQL_DROP_USER: case TSQL_GRANT: case TSQL_REVOKE: case TSQL_AUTHORIZATION: case TSQL_CREATE_TRIGGER: case TSQL_DROP_TRIGGER:
	case TSQL_ENABLE_TRIGGER: case TSQL_DISABLE_TRIGGER:
		good = principal_statement(s, st);
		done(s, 224, false, 0, !good);
		break;
	case TSQL_AVAILABILITY:
		good = availability_statement(s, st);
		keep_database(s);
		done(s, 253, false, 0, !good);
		break;
	case TSQL_KILL:
		if ((good = server_admin_only(s, st)))
			engine_kill(s->e, st->number);
		done(s, 224, false, 0, !good);
		break;
	case TSQL_DBCC:
		note(s, st->line, 2528, 1, 0, "DBCC execution completed. If DBCC printed error messages, contact your system administrator.");
		done(s, 230, false, 0, false);
		break;
	case TSQL_SET_OPTION:
		/* jTDS and old ODBC programs switch autocommit off this way. */
		if (st->word != NULL && strcmp(st->word, "implicit_transactions") == 0)
			s->implicit = st->all;
		break;
	case TSQL_NOTHING: break;
	}
}

static void
run_list(struct tsql_session *s, const struct tsql_statement *st)
{
	for (; st != NULL && !s->stop; st = st->next) {
		s->error = 0;
		run_one(s, st);
		if (st->kind != TSQL_SELECT)
			s->filled_ms = 0;
		if (s->try_depth > 0 && s->caught.number != 0)
			return;
		if (engine_cancelled(s))
			s->stop = true;
	}
}

void
tsql_run(struct tsql_session *s, const char *batch)
{
	s->failed = s->stop = false;
	s->filled_ms = 0;
	s->try_depth = s->depth = 0;
	s->caught.number = 0;
	s->error = 0;
	if (!keep_database(s))
		return;
	run_text(s, batch);
	s->depth = 0;
}
