/*
 * The door to Postgres: one connection that comes back by itself, questions with parameters, wake-ups.
 *
 * Nobody else includes libpq. There is no general query text outside the ask_*.c files: each question a
 * program asks is a named function there. A connection belongs to one thread. A lost or hung server is
 * ERR_AGAIN: the caller waits and asks again; db_ask reconnects (at most once a second) when it must.
 * Every question has a time limit (DB_ASK_SECONDS), so a hung server never hangs a daemon for good.
 */
#ifndef LANDFALL_DB_H
#define LANDFALL_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

enum { DB_PARAMS_MAX = 64, DB_ASK_SECONDS = 15, DB_CONNECT_SECONDS = 5 };

struct db;

/* Where and who. password_file may be NULL (libpq then uses PGPASSFILE or peer). Strings are copied. */
struct db_where {
	const char *host, *database, *user, *password_file, *application;
	int port;
};

/* Never connects by itself; the first question does. talloc_free closes. */
struct db *db_new(TALLOC_CTX *parent, const struct db_where *where);

/* True when a connection stands (trying once, without waiting more than DB_CONNECT_SECONDS). */
bool db_connect(struct db *db, struct err *err);

/* Rows of an answer, all as text. Owned by the context given to db_ask. */
struct rows;
size_t rows_count(const struct rows *rows);
const char *rows_text(const struct rows *rows, size_t row, int col); /* "" when NULL */
const char *rows_text_or_null(const struct rows *rows, size_t row, int col);
int64_t rows_int(const struct rows *rows, size_t row, int col);
bool rows_bool(const struct rows *rows, size_t row, int col);
bool rows_is_null(const struct rows *rows, size_t row, int col);
int rows_affected(const struct rows *rows);

/*
 * Asks one question. params are text, NULL for SQL's NULL. rows may be NULL when only success counts.
 * Errors: ERR_AGAIN connection, time limit, serialisation, deadlock · ERR_REFUSED a constraint or right
 * said no (text is the server's) · ERR_BUG the statement itself is wrong.
 */
bool db_ask(struct db *db, TALLOC_CTX *parent, struct rows **rows, struct err *err, const char *sql,
            size_t n_params, const char *const *params);

/*
 * The same for a question that is asked again and again and finds what it wants by an index: Postgres plans it once for this
 * connection, which saves more than the answer costs. Not for one that joins or gathers much: a plan made while the tables
 * were small is kept when they have grown.
 */
bool db_ask_often(struct db *db, TALLOC_CTX *parent, struct rows **rows, struct err *err, const char *sql,
                  size_t n_params, const char *const *params);
#define DB_ASK_OFTEN(db, parent, rows, err, sql, ...)                                                       \
	db_ask_often(db, parent, rows, err, sql,                                                            \
	             sizeof((const char *[]){ NULL, ##__VA_ARGS__ }) / sizeof(char *) - 1,                  \
	             (const char *const *)((const char *[]){ NULL, ##__VA_ARGS__ } + 1))

/* DB_ASK(db, parent, &rows, err, "… $1 … $2", a, b) */
#define DB_ASK(db, parent, rows, err, sql, ...)                                                             \
	db_ask(db, parent, rows, err, sql,                                                                  \
	       sizeof((const char *[]){ NULL, ##__VA_ARGS__ }) / sizeof(char *) - 1,                        \
	       (const char *const *)((const char *[]){ NULL, ##__VA_ARGS__ } + 1))

/* Transactions. A connection lost between them makes every later question fail until db_rollback. */
bool db_begin(struct db *db, struct err *err);
bool db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db);

/* Runs a script of several statements without parameters (schema files). No time limit. */
bool db_script(struct db *db, const char *sql, struct err *err);

/* Says LISTEN now and after every reconnect. At most eight channels; the names are literals of ours. */
bool db_listen(struct db *db, const char *channel, struct err *err);

/*
 * Waits up to timeout_ms for a wake-up on any channel. *woken tells whether one came (always true after
 * a reconnect: something may have been missed). Also returns early when wake_fd (or -1) is readable.
 */
bool db_wait(struct db *db, int timeout_ms, int wake_fd, bool *woken, struct err *err);

/* The connection's descriptor for an event loop, -1 while there is none; db_notified drains it and
 * tells whether a wake-up was among what came. */
int db_fd(const struct db *db);
bool db_notified(struct db *db);

/* Text parameters made on a context, for questions: numbers, and Postgres arrays of text. */
const char *db_int(TALLOC_CTX *parent, int64_t v);
const char *db_bool(bool v);
const char *db_text_array(TALLOC_CTX *parent, const char *const *items, size_t n);

/* Reads a secret file's first line; refuses one that others may read. Wiped when the context is freed. */
char *secret_read(TALLOC_CTX *parent, const char *path, struct err *err);

#endif
