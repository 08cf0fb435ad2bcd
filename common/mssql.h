/*
 * The door to SQL Server: one conversation over TLS, one batch at a time, every answer drained.
 *
 * Nobody else includes FreeTDS. db-lib's handlers and its configuration file are process-global, so one
 * dispatcher tells conversations apart, and mssql_setup writes one private freetds.conf (never the
 * system's): TDS 7.4 pinned, encryption required, CA and host name checked. There is no way to log in
 * without TLS. A conversation belongs to one thread. Calls block; a batch may take hours: progress comes
 * through the message callback and mssql_cancel may be called from any thread.
 */
#ifndef LANDFALL_MSSQL_H
#define LANDFALL_MSSQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

struct mssql_target {
	const char *name, *host; /* name: section in freetds.conf, shown in errors */
	int port;
	const char *ca_file;
	const char *login, *password_file;
};

/* Once per process, before threads: writes DIR/freetds.conf (0600, atomically) and makes it db-lib's.
 * May be called again with other targets. */
bool mssql_setup(const char *dir, const struct mssql_target *targets, size_t n, struct err *err);

struct mssql_message { int number, state, severity, line; const char *text; };

struct mssql;

/* database NULL: master. application is seen by the server (program_name); at most 128 characters.
 * ERR_AGAIN when the server is away; ERR_OPERATOR when it refuses the log-in. target is copied, the texts in it are borrowed. */
struct mssql *mssql_open(TALLOC_CTX *parent, const struct mssql_target *target, const char *application,
                         const char *database, struct err *err);

/* Rows of the first result set that had columns; values as text (dates ISO, guids lower case, bits 0/1,
 * binary 0x…), NULL for NULL. */
struct mssql_rows;
size_t mssql_rows_count(const struct mssql_rows *rows);
int mssql_rows_columns(const struct mssql_rows *rows);
const char *mssql_rows_name(const struct mssql_rows *rows, int col);
int mssql_rows_column(const struct mssql_rows *rows, const char *name); /* -1 when there is none */
const char *mssql_rows_value(const struct mssql_rows *rows, size_t row, int col);
const char *mssql_rows_named(const struct mssql_rows *rows, size_t row, const char *name); /* NULL also without such a column */
const char *mssql_rows_text(const struct mssql_rows *rows, size_t row, const char *name);  /* the same; "" for NULL */

/* What a batch did. Success of a RESTORE is never one of these alone: see restore/. */
struct mssql_outcome {
	bool clean;           /* the last DONE had no error */
	bool saw_3014;        /* "successfully processed" */
	int first_error;      /* number of the first message of severity >= 11, 0 for none */
	int worst_severity;
	bool dead;            /* the connection is gone: what the server did is unknown */
	char said[480];       /* text of the first error */
};

/* Called for every message while the batch runs, from within mssql_run; text is the server's, verbatim. */
typedef void (*mssql_on_message)(void *ctx, const struct mssql_message *message);

/*
 * Runs one batch and drains every result. True when clean and no message of severity >= 11 came;
 * otherwise err says the first error (code = message number; ERR_AGAIN when the connection died).
 * rows, outcome and on_message may be NULL. At most row_limit rows are kept (0: 100,000); more is an error.
 */
bool mssql_run(struct mssql *ms, TALLOC_CTX *parent, const char *sql, struct mssql_rows **rows,
               struct mssql_outcome *outcome, mssql_on_message on_message, void *ctx, struct err *err);

/* Several questions in one batch, for one way there and back: rows[i] is the i-th result set that had columns, and each is there. */
bool mssql_ask(struct mssql *ms, TALLOC_CTX *parent, const char *sql, struct mssql_rows **rows, size_t n, struct err *err);

/* Streams rows instead of keeping them: values[] as above. Return false to stop (the rest is cancelled). */
typedef bool (*mssql_on_row)(void *ctx, int columns, const char *const *values, const size_t *lengths);
bool mssql_stream(struct mssql *ms, const char *sql, mssql_on_row on_row, void *ctx, struct err *err);

/* Ends a later batch with ERR_AGAIN when the server says nothing for that many seconds; 0: waits for ever,
 * which is right for RESTORE (hours of silence are legal) and the state after mssql_open. */
void mssql_limit(struct mssql *ms, int seconds);

/* Sends attention to a running batch within a second or two; safe from any thread, harmless when idle. */
void mssql_cancel(struct mssql *ms);
bool mssql_is_dead(const struct mssql *ms);

#endif
