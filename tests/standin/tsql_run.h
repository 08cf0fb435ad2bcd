/*
 * One client's session with the server: its database, its variables, its transaction, and what statements do.
 *
 * A session belongs to one thread. Everything it has to say goes through the replies it was given, which
 * the wire half turns into tokens. Rights are four: sysadmin may do all; dbcreator may create, alter, drop and
 * restore any database; a database's owner may do so with it; anybody else may use databases in which a user
 * stands for the log-in, SELECT there when it was granted, and read system views.
 */
#ifndef LANDFALL_STANDIN_TSQL_RUN_H
#define LANDFALL_STANDIN_TSQL_RUN_H

#include "tests/standin/engine.h"
#include "tests/standin/tds_token.h"
#include "tests/standin/tsql.h"

struct tsql_value {
	char *name; /* "@v", lower case */
	struct tds_type type;
	sqlite3_value *value; /* NULL: NULL */
};

/* Where answers go. */
struct tsql_replies {
	void *ctx;
	void (*note)(void *ctx, int number, int state, int severity, int line, const char *text);
	void (*columns)(void *ctx, const struct tds_column *columns, size_t n);
	/* False when a value does not fit its column; the error was noted. */
	bool (*row)(void *ctx, const struct tds_value *values, size_t n);
	void (*done)(void *ctx, int curcmd, bool has_count, uint64_t rows, bool error);
	void (*done_more)(void *ctx, int curcmd); /* between the messages of BACKUP and RESTORE; sent at once */
	void (*use)(void *ctx, const char *now, const char *before);
	bool (*cancelled)(void *ctx);
	/* EXEC standin.wire; false with err when there is no such knob. */
	bool (*wire)(void *ctx, const char *name, const char *value, struct err *err);
};

struct tsql_session {
	struct engine *e;
	const struct tsql_replies *replies;
	int spid;
	const char *login, *program, *host;
	bool is_admin, is_creator; /* sysadmin, dbcreator */

	char *database;
	sqlite3 *db;
	unsigned generation;
	unsigned filled;           /* which parts of it */
	int64_t filled_ms;         /* when the catalogue was filled in, if nothing but questions followed in this batch; 0: not */
	struct engine_tx *tx;      /* inside BEGIN TRAN */
	int trancount;
	char *mark;                /* BEGIN TRAN … WITH MARK, or NULL */
	bool implicit;             /* SET IMPLICIT_TRANSACTIONS ON */
	bool doomed;               /* a trigger or error ended the transaction */

	struct tsql_value *variables;
	size_t n_variables;
	int64_t rowcount;
	int error;                 /* @@ERROR */
	int try_depth;
	struct { int number, severity, state, line; char text[1024]; } caught;
	bool failed;               /* this batch had an error */
	bool stop;                 /* this batch is over */
	int depth;
};

/* NULL with err (kind, number, words) when the log-in may not have that database. */
struct tsql_session *tsql_session_new(TALLOC_CTX *parent, struct engine *e, const struct tsql_replies *replies, const char *login,
                                      const char *database, struct err *err);

/* Runs a batch. Variables declared in it are there until they are forgotten. */
void tsql_run(struct tsql_session *s, const char *batch);

/* sp_executesql: the batch with parameters that are there from the start, and what it left in them. */
void tsql_set_variable(struct tsql_session *s, const char *name, struct tds_type type, const struct tds_value *value);
/* NULL for a variable that there is not. Its memory lasts until the variable is set again or forgotten. */
struct tds_value tsql_get_variable(struct tsql_session *s, const char *name);
void tsql_forget_variables(struct tsql_session *s);

/* Puts T-SQL's functions into a connection. */
void tsql_functions(struct tsql_session *s, sqlite3 *db);

#endif
