/*
 * The stand-in SQL Server's engine: databases on disk, transactions with a log, BACKUP and RESTORE.
 *
 * A test double that obeys SQL Server's rules of backup and restore as documented; it shares with Landfall
 * only the backup reader (common/bak), never its planner. All state lives in one folder and survives
 * kill -9. Every function may be called from any thread. Messages and rows go to an engine_out that the
 * wire half turns into tokens.
 *
 * A database is a SQLite file whose main schema is called dbo. Each committed change is kept, in the same
 * file and transaction, as a log record: a changeset (rows) or a statement's text (DDL). Every table needs
 * a primary key, because SQLite's changesets ignore tables without one.
 */
#ifndef STANDIN_ENGINE_H
#define STANDIN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Debian builds both into its library; the header shows them only when asked. */
#define SQLITE_ENABLE_SESSION 1
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <talloc.h>

#include "common/err.h"
#include "common/lsn.h"

struct engine;

/* dir is made when it is not there. server_name is @@SERVERNAME and what backups carry. */
struct engine *engine_open(TALLOC_CTX *parent, const char *dir, const char *server_name, struct err *err);
const char *engine_server_name(const struct engine *e);

/* What a real server of a release answers. */
struct engine_release {
	int year, major, build, database_version, compat;
	const char *product; /* 15.0.4430.1 */
	const char *rtm;     /* 15.00.2000, as 3169 prints it */
	size_t header_columns; /* of HEADERONLY: 56, since 2022 59 */
};
const struct engine_release *engine_release(const struct engine *e); /* 2019 until told otherwise */
bool engine_set_release(struct engine *e, int year);                 /* 2016, 2019, 2022; false: not known */

/* ---- where answers go ------------------------------------------------------------------------------- */

enum engine_type { ENGINE_INT, ENGINE_BIGINT, ENGINE_BIT, ENGINE_NUMERIC25, ENGINE_DATETIME, ENGINE_GUID, ENGINE_TEXT,
	           ENGINE_BINARY, ENGINE_TINYINT, ENGINE_SMALLINT, ENGINE_NCHAR };

/* size: characters of text, bytes of binary; 0 is the type's limit. */
struct engine_column { const char *name; enum engine_type type; int size; };

struct engine_out {
	void *ctx;
	/* severity <= 10 goes out as INFO with class 0, above as ERROR. */
	void (*message)(void *ctx, int number, int state, int severity, const char *text);
	/* After each INFO of BACKUP and RESTORE: a DONE with the MORE bit. curcmd as SQL Server numbers it. */
	void (*done_more)(void *ctx, int curcmd);
	void (*columns)(void *ctx, const struct engine_column *columns, size_t n);
	/* Values as text (LSN as decimal, guid 8-4-4-4-12, datetime ISO, binary hex without 0x); NULL is NULL. */
	void (*row)(void *ctx, const char *const *values, size_t n);
	/* True once the client sent attention or is gone: the statement is broken off. */
	bool (*cancelled)(void *ctx);
	int session_id;
	const char *program, *login;
	const char *current;  /* the session's database, or NULL: master */
	bool in_transaction;
	bool is_stranger;     /* neither sysadmin nor dbcreator: may restore only over what it owns */
};

/* ---- databases ---------------------------------------------------------------------------------------- */

/* STANDBY is no state: it is ENGINE_ONLINE, and sys.databases says is_in_standby. */
enum engine_state { ENGINE_ONLINE = 0, ENGINE_RESTORING = 1, ENGINE_RECOVERING = 2, ENGINE_ABSENT = -1 };

enum engine_state engine_state(struct engine *e, const char *database);
int engine_database_id(struct engine *e, const char *database); /* 0: no such */
char *engine_database_name(struct engine *e, TALLOC_CTX *mem, int id);

/* These say what went wrong through out (1801 exists, 911/3701 does not, 3702 in use) and return false. */
bool engine_create(struct engine *e, const char *database, const struct engine_out *out);
bool engine_drop(struct engine *e, const char *database, const struct engine_out *out);

/* option in upper case: RECOVERY with value FULL | SIMPLE | BULK_LOGGED; SINGLE_USER, MULTI_USER, …: accepted. */
bool engine_alter(struct engine *e, const char *database, const char *option, const char *value,
                  const struct engine_out *out);
bool engine_set_owner(struct engine *e, const char *database, const char *login, const struct engine_out *out);

/*
 * A session's connection to an ONLINE database, made ready (schema dbo, collation SQL blind to case and
 * trailing blanks, catalogue attached as sys and msdb). NULL with a message (911, 927) otherwise. The
 * database "master" is always there and empty. Close with engine_disconnect. generation changes when a
 * restore or drop has replaced the file: a session holding an older one must connect again.
 */
sqlite3 *engine_connect(struct engine *e, const char *database, const struct engine_out *out);
void engine_disconnect(struct engine *e, sqlite3 *db);
unsigned engine_generation(struct engine *e, const char *database);

/*
 * Users, grants and DDL triggers are rows of three tables in the database's own file, so that they travel
 * with backups: standin_users(name PRIMARY KEY, login), standin_grants(id PRIMARY KEY, grantee, permission,
 * securable), standin_triggers(name PRIMARY KEY, events, body, is_disabled). The wire half makes them when
 * first needed, through engine_begin like any other table, and after each engine_refresh_catalogue adds
 * their rows to sys.database_principals(name, principal_id, type, type_desc, sid, authentication_type, …)
 * and sys.triggers(name, object_id, parent_class, parent_class_desc, type, is_disabled, …), which the
 * engine makes (empty but for what it knows itself). sys.tables leaves names that begin with standin_ out.
 */

/* Fills sys.* and msdb.* of that connection with what is true now; call before a batch that names them. What is no part of those asked
 * for is left empty. */
enum engine_part { ENGINE_OBJECTS = 1, ENGINE_GROUPS = 2 }; /* tables and their columns; availability groups */
bool engine_refresh_catalogue(struct engine *e, sqlite3 *db, unsigned parts);

/*
 * Transactions on a connection of engine_connect: everything that writes goes between begin and commit
 * (one statement in autocommit is its own pair). begin waits for other writers; commit puts the log record
 * beside the rows. ddl: text (SQLite's) of statements that change the schema, in order, or NULL.
 */
struct engine_tx;
struct engine_tx *engine_begin(struct engine *e, sqlite3 *db, const char *database, struct err *err);
bool engine_tx_ddl(struct engine_tx *tx, const char *sqlite_sql); /* remember a DDL statement that was run */
void engine_tx_mark(struct engine_tx *tx, const char *name); /* WITH MARK 'name': a place that RESTORE LOG can stop at */
bool engine_commit(struct engine_tx *tx, struct err *err);
void engine_rollback(struct engine_tx *tx);

/* Rows of one table in primary-key order in any state of the database; values as text. False: 208 was said. */
bool engine_rows(struct engine *e, const char *database, const char *table, const struct engine_out *out);

/* EXEC standin.certificate: one more row in sys.certificates. Thumbprint as 0x… or hex; false: it is none. */
bool engine_certificate(struct engine *e, const char *thumbprint);

/* The volume that a path lies on, also of one that is not there yet. free_kb holds here too. */
struct engine_volume { char mount[1024]; int64_t total, available; };
bool engine_volume_of(struct engine *e, const char *path, struct engine_volume *volume);

/* EXEC standin.pages: one row (checked, bad) of the pages that the restore of this database met. */
bool engine_pages(struct engine *e, const char *database, const struct engine_out *out);

/* ---- log-ins ------------------------------------------------------------------------------------------- */

/* The server roles that matter here; a log-in in neither may only connect. */
enum engine_role { ENGINE_SYSADMIN = 1, ENGINE_DBCREATOR = 2 };

/* A new log-in, or a new password for an old one, whose roles stay. */
bool engine_login_set(struct engine *e, const char *login, const char *password, bool is_admin, struct err *err);
bool engine_login_drop(struct engine *e, const char *login);
/* Constant time whether or not the log-in exists. */
bool engine_login_check(struct engine *e, const char *login, const char *password);
bool engine_login_has(struct engine *e, const char *login, enum engine_role role);
bool engine_login_owns(struct engine *e, const char *login, const char *database);
bool engine_login_exists(struct engine *e, const char *login);
bool engine_login_is_disabled(struct engine *e, const char *login);
bool engine_login_disable(struct engine *e, const char *login, bool disabled); /* false: no such log-in */
/* New with every CREATE LOGIN: a log-in of the same name on another server is another one. NULL: no such log-in. */
char *engine_login_sid(struct engine *e, TALLOC_CTX *mem, const char *login);
bool engine_login_role(struct engine *e, const char *login, enum engine_role role, bool is_member); /* false: no such log-in */

/* ---- backup and restore ---------------------------------------------------------------------------------- */

struct engine_backup {
	const char *database, *name;
	const char *const *devices; /* stripes: up to 64 */
	size_t n_devices;
	bool log, differential, copy_only, checksum, norecovery;
	bool compression; /* of a new file; nothing can be appended to one */
	bool init;   /* else the set is appended to what is there */
	bool format; /* a new media set, whatever is there */
	int stats;   /* 0: no 3211 */
};
bool engine_backup(struct engine *e, const struct engine_backup *b, const struct engine_out *out);

enum engine_verb { ENGINE_RESTORE_DATABASE, ENGINE_RESTORE_LOG, ENGINE_HEADERONLY, ENGINE_FILELISTONLY, ENGINE_LABELONLY,
	           ENGINE_VERIFYONLY };

struct engine_move { const char *logical, *path; };

struct engine_restore {
	enum engine_verb verb;
	const char *database;       /* NULL for HEADERONLY and friends */
	const char *const *devices; /* n_devices 0: RESTORE DATABASE x WITH RECOVERY */
	size_t n_devices;
	int file; /* FILE = n, 1 when not given */
	const struct engine_move *moves;
	size_t n_moves;
	bool norecovery, replace, checksum, restricted;
	const char *standby;   /* the undo file, or NULL */
	const char *stop_at;   /* NULL, or a date and time as text */
	const char *stop_mark; /* NULL, or "lsn:…" or a mark's name */
	bool before_mark;      /* STOPBEFOREMARK */
	int stats;             /* 0: no 3211; STATS without a number is 10 */
};
/* True when it succeeded; otherwise the messages ended with 3013 and nothing after it. */
bool engine_restore(struct engine *e, const struct engine_restore *r, const struct engine_out *out);

/* curcmd of DONE after the statement, as captured from SQL Server 2022 where known. */
int engine_curcmd(const struct engine_restore *r);

/* ---- availability groups ------------------------------------------------------------------------------------- */

/*
 * Instances whose folders stand side by side can form groups; what they know of one another is in a file
 * beside the folders. A thread of each instance seeds, joins and rolls forward what it is secondary of.
 */
struct engine_replica { const char *server, *endpoint; bool says_seeding, automatic_seeding, synchronous; };

enum engine_ag_verb { ENGINE_AG_JOIN, ENGINE_AG_GRANT, ENGINE_AG_ADD, ENGINE_AG_REMOVE, ENGINE_AG_FAILOVER, ENGINE_AG_FORCE, ENGINE_AG_DROP,
	              ENGINE_AG_MODIFY };

bool engine_ag_create(struct engine *e, const char *group, const struct engine_replica *replicas, size_t n, const struct engine_out *out);
/* what: the database of ADD and REMOVE; replica: of MODIFY. */
bool engine_ag_do(struct engine *e, const char *group, enum engine_ag_verb verb, const char *what, const struct engine_replica *replica,
                  const struct engine_out *out);
/* ALTER DATABASE … SET HADR AVAILABILITY GROUP = group, or HADR OFF when that is NULL. */
bool engine_ag_join_database(struct engine *e, const char *database, const char *group, const struct engine_out *out);

/* ---- knobs for tests --------------------------------------------------------------------------------------- */

/*
 * What goes wrong by order; the list with a sentence on each is engine_knobs. Kept in the folder. A file
 * "faults" there, lines of "name value", goes before what was set here and is read again when it changes.
 */
struct engine_knob { const char *name, *does; long standard; };
const struct engine_knob *engine_knobs(size_t *n);
bool engine_knob(struct engine *e, const char *name, long value); /* false: no such knob */
long engine_knob_value(struct engine *e, const char *name);

/* The server's clock, knobs clock_offset_s and time_zone_min included: milliseconds of local time since 1970. */
int64_t engine_now_ms(struct engine *e);

/* KILL: makes the cancelled() of that session's running statement true. */
void engine_kill(struct engine *e, int session_id);

#endif
