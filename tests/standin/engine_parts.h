/*
 * What the engine's own files share: the server's facts, one database's facts, the log inside its file.
 *
 * Only tests/standin/engine*.c includes this.
 */
#ifndef STANDIN_ENGINE_PARTS_H
#define STANDIN_ENGINE_PARTS_H

#include <pthread.h>

#include "tests/standin/engine.h"

/*
 * Log geometry. One virtual log file that never ends is enough for a test double: blocks are numbered in
 * units of 512 bytes from its start, as SQL Server does.
 */
enum { VLF_SEQ = 40, FIRST_BLOCK = 16, LOG_BLOCK_MAX = 60 * 1024, LOG_HEAD = 64, SECTOR = 512 };
#define VLF_START UINT64_C(8192)
#define VLF_SIZE (UINT64_C(1) << 40)

/* How an image travels in pages: this many bytes of it behind each page's header of 96 bytes. */
enum { PAGE = 8192, PAGE_HEAD = 96, PAYLOAD = PAGE - PAGE_HEAD, FIRST_PAYLOAD_PAGE = 16, PFS_INTERVAL = 8088 };

/* MARK is empty: it only moves the log on. NAMED and NAMED_END stand around a transaction WITH MARK. */
enum record_kind { RECORD_CHANGES = 0, RECORD_DDL = 1, RECORD_MARK = 2, RECORD_NAMED = 3, RECORD_NAMED_END = 4 };

enum { KNOBS_MAX = 40 };

/* Behind a data file's name: the pages of a differential while it is laid over them. */
#define OVERLAY ".diff"

/* A session inside a database: what 3101 and 3702 are about. */
struct guest {
	struct guest *next;
	sqlite3 *db;
	int database_id, session_id;
};

/* What engine_knobs lists, by number. */
enum knob {
	KNOB_LSN_CHECK, KNOB_DELAY_MS, KNOB_RESTORE_KB_S, KNOB_LOG_KB_S, KNOB_BACKUP_KB_S, KNOB_ZEROING_MS, KNOB_PERCENT_STEP, KNOB_SILENCE_MS,
	KNOB_RECOVERY_MS, KNOB_FAIL_NUMBER, KNOB_FAIL_AT, KNOB_FAIL_RECOVERY, KNOB_FAIL_BACKUP, KNOB_CRASH, KNOB_FAILOVER, KNOB_HANG,
	KNOB_FREE_KB, KNOB_DENIED, KNOB_CLOCK_OFFSET_S, KNOB_TIME_ZONE_MIN, KNOB_SEED_KB_S, KNOB_SYNC_MS, KNOB_FILESTREAM, KNOB_XTP,
	KNOB_HEADER_LIES,
};

struct engine {
	char *dir, *server_name;
	char *faults; /* path of the file that sets knobs from outside */
	pthread_mutex_t knobs_lock; /* guards the knobs; taken inside lock, never the other way round */
	pthread_mutex_t lock; /* guards meta and everything below; never held while a restore copies */
	sqlite3 *meta;        /* server.sqlite: databases, files, history, log-ins, knobs */
	struct running *running;
	struct guest *guests;
	unsigned generation;
	const struct engine_release *release;
	long knob[KNOBS_MAX], ordered[KNOBS_MAX]; /* as set, and as the file faults overrides it */
	struct timespec faults_seen;              /* the file's time when it was read */
	char *ag_path;                            /* of what instances side by side know of their groups */
	pthread_t ag_thread;
	bool ag_runs;
	volatile bool ag_stop;
};

/* A database's row, read and written as a whole under the lock. Text fields are talloc'd on the row. */
struct db_row {
	int id, state, user_access, opaque;
	char *name, *model, *owner;
	struct guid family, binding, fork, fork1, base_guid, last_full_guid, restored_base, pending;
	struct lsn base_lsn, last_full_lsn, chain_origin, next_log, redo, fork1_lsn;
	struct guid redo_fork;
	int64_t created;
	char pending_type; /* 0: none; D I L: a RESTORE of that kind was broken off; R: RECOVERY was; T: a tail WITH NORECOVERY */
	int64_t pages_checked, pages_bad;
	char *standby;   /* undo file of a database in STANDBY, else NULL */
	int64_t redo_at; /* when the newest commit was made that is in a database being restored; ms */
	int compat;
	char *ag;        /* availability group that it is in, or NULL; RESTORING and in one: a joined secondary */
};

/* NULL when there is no such database. */
struct db_row *db_load(struct engine *e, TALLOC_CTX *mem, const char *name);
bool db_save(struct engine *e, const struct db_row *row); /* inserts when id is 0 (and sets it not) */

char *db_path(const struct engine *e, TALLOC_CTX *mem, int id, const char *suffix);

/* A database that a tail WITH NORECOVERY froze is as it was before. */
void thaw(struct db_row *row);

/* Undoes what the death before this start left half done. Before anybody else is there. */
void recover_all(struct engine *e);

/* Next LSN of a database's log, from its file. */
bool log_next(sqlite3 *db, struct lsn *next);
bool log_append(sqlite3 *db, int64_t now_ms, enum record_kind kind, const void *data, size_t len, struct lsn *at, struct lsn *after);
/* Writes the tables that hold log and state into a fresh file. */
bool log_prepare(sqlite3 *db);

/* Opens a database file with schema dbo and our collation; read-only ones are opened immutable. */
sqlite3 *file_open(const char *path, bool read_only);
/* What page 0 says, eight bytes, of the image behind it; real backups have something else there. */
#define IMAGE_MAGIC "LFIMAGE1"

bool run_sql(sqlite3 *db, const char *sql);
/* COMMIT when good, ROLLBACK otherwise; what came of it. */
bool end_sql(sqlite3 *db, bool good);

/* One statement with text parameters (NULL is NULL); returns it stepped once, or NULL. */
sqlite3_stmt *ask_sql(sqlite3 *db, const char *sql, size_t n, const char *const *params, int *step);
bool change_sql(sqlite3 *db, const char *sql, size_t n, const char *const *params);
#define PARAMS(...)                                                                                         \
	sizeof((const char *[]){ NULL, ##__VA_ARGS__ }) / sizeof(char *) - 1,                               \
	(const char *const *)((const char *[]){ NULL, ##__VA_ARGS__ } + 1)
#define ASK(db, step, sql, ...) ask_sql(db, sql, PARAMS(__VA_ARGS__), step)
#define CHANGE(db, sql, ...) change_sql(db, sql, PARAMS(__VA_ARGS__))

void say(const struct engine_out *out, int number, int state, int severity, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* say, then DONE(MORE): how BACKUP and RESTORE send what they have to tell. */
void tell(const struct engine_out *out, int curcmd, int number, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

struct guid guid_new(void);

/* dm_exec_requests: what runs now. Linked under the lock. */
struct running {
	struct running *next;
	int session_id;
	char command[32], program[132];
	int database_id;
	volatile int percent;
	volatile bool killed;
	int64_t since;
};
/* enters: under the lock already. */
void running_enters(struct engine *e, struct running *r, const char *command, int database_id, const struct engine_out *out);
void running_begin(struct engine *e, struct running *r, const char *command, int database_id,
                   const struct engine_out *out);
void running_end(struct engine *e, struct running *r);

/* A row of restorehistory; set and user as far as it has them. */
struct history {
	const char *database, *user, *stop_at;
	char type;
	bool recovery, replace;
	size_t n_devices;
	struct guid set, family;
	struct lsn first, last;
};
bool history_add(struct engine *e, const struct history *h);

long knob(struct engine *e, enum knob k);

/* Availability groups: begin and end with the engine; fill adds the views' rows (under the lock). */
void ag_begin(struct engine *e);
void ag_end(struct engine *e);
void ag_fill(struct engine *e, sqlite3 *db);
bool ag_is_primary(struct engine *e, const char *group);
void ag_fail_over(struct engine *e); /* as ordered: another replica becomes the primary of each group of ours */

/* Changes by another's log: what SQLite calls a conflict (a row that is not as it was) is settled as RESTORE LOG does. */
bool apply_changes(sqlite3 *db, int kind, const void *data, int len);

/* Says what was ordered for that number, in the catalogue's own words. */
void say_ordered(const struct engine_out *out, long number, const char *database, const char *device, int percent);

/* A session other than this one is inside. Under the lock. */
bool has_guests(const struct engine *e, int database_id, int but_session);

bool is_cancelled(const struct engine_out *out, const struct running *r);

#endif
