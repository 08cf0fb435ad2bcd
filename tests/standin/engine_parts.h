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

enum record_kind { RECORD_CHANGES = 0, RECORD_DDL = 1, RECORD_MARK = 2 };

struct engine {
	char *dir, *server_name;
	pthread_mutex_t lock; /* guards meta and everything below; never held while a restore copies */
	sqlite3 *meta;        /* server.sqlite: databases, files, history, log-ins, knobs */
	struct running *running;
	unsigned generation;
};

/* A database's row, read and written as a whole under the lock. Text fields are talloc'd on the row. */
struct db_row {
	int id, state, user_access, opaque;
	char *name, *model, *owner;
	struct guid family, binding, fork, fork1, base_guid, last_full_guid, restored_base, pending;
	struct lsn base_lsn, last_full_lsn, chain_origin, next_log, redo, fork1_lsn;
	struct guid redo_fork;
	int64_t created;
	char pending_type; /* 0: none; D I L: a RESTORE of that kind was broken off */
	int64_t pages_checked, pages_bad;
	int64_t n_user_rows;
};

/* NULL when there is no such database. */
struct db_row *db_load(struct engine *e, TALLOC_CTX *mem, const char *name);
bool db_save(struct engine *e, const struct db_row *row); /* inserts when id is 0 (and sets it not) */

char *db_path(const struct engine *e, TALLOC_CTX *mem, int id, const char *suffix);

/* Next LSN of a database's log, from its file. */
bool log_next(sqlite3 *db, struct lsn *next);
bool log_append(sqlite3 *db, enum record_kind kind, const void *data, size_t len, struct lsn *at, struct lsn *after);
/* Writes the tables that hold log and state into a fresh file. */
bool log_prepare(sqlite3 *db);

/* Opens a database file with schema dbo and our collation; read-only ones are opened immutable. */
sqlite3 *file_open(const char *path, bool read_only);
bool run_sql(sqlite3 *db, const char *sql);

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
void running_begin(struct engine *e, struct running *r, const char *command, int database_id,
                   const struct engine_out *out);
void running_end(struct engine *e, struct running *r);

bool history_add(struct engine *e, const char *database, char type, bool recovery, struct guid set, struct guid family,
                 struct lsn first, struct lsn last, const char *user);

bool is_cancelled(const struct engine_out *out, const struct running *r);

#endif
