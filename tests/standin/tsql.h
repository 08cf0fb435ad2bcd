/*
 * T-SQL statements, as far as the stand-in speaks the language: a batch in, a list of statements out.
 *
 * Pure. Nothing of the batch ever reaches SQLite as it was written: a small grammar of listed statements
 * reads it, and whatever becomes SQLite text is written anew here (tried: `isnull(` is a syntax error
 * there, 'a'+'b' silently gives 0 and 'a' = 'A' is false). What the grammar does not list gets the
 * server's own 102, 195 or 156. Statements are owned by the context given to tsql_parse.
 */
#ifndef LANDFALL_STANDIN_TSQL_H
#define LANDFALL_STANDIN_TSQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/tds_value.h"

/* a.b.c; what was left out is NULL. */
struct tsql_name {
	const char *database, *schema, *object;
};

/* What is known of a column of a result before anything ran. */
struct tsql_item {
	bool star;          /* stands for any number of columns */
	const char *name;   /* "" when T-SQL gives it none */
	bool typed;
	struct tds_type type;
	const char *like;   /* SQLite text of a column whose declared type this one has, or NULL */
	const char *variable; /* "@v" of a bare variable, whose type this is, or NULL */
	const char *into;   /* "@v" when the value goes to a variable */
};

/* A query for SQLite. Tables stand in it as "schema"."object" (see tsql_schema). */
struct tsql_sql {
	const char *text;
	const char *from;  /* the FROM clause alone, for finding types of `like`; NULL without one */
	struct tsql_item *items;
	size_t n_items;
	struct tsql_name *tables;
	size_t n_tables;
};

/* "dbo" for the session's own database, "sys" for system views, else the other database's own schema. */
const char *tsql_schema(TALLOC_CTX *parent, const struct tsql_name *name);

enum tsql_kind {
	TSQL_SELECT, TSQL_INSERT, TSQL_UPDATE, TSQL_DELETE, TSQL_TRUNCATE,
	TSQL_CREATE_TABLE, TSQL_DROP_TABLE, TSQL_ADD_COLUMN, TSQL_CREATE_INDEX,
	TSQL_CREATE_DATABASE, TSQL_DROP_DATABASE, TSQL_ALTER_DATABASE,
	TSQL_USE, TSQL_SET_OPTION, TSQL_DECLARE, TSQL_SET_VARIABLE,
	TSQL_BEGIN_TRAN, TSQL_COMMIT, TSQL_ROLLBACK,
	TSQL_BLOCK, TSQL_IF, TSQL_WHILE, TSQL_TRY, TSQL_RETURN,
	TSQL_PRINT, TSQL_RAISERROR, TSQL_THROW, TSQL_WAITFOR,
	TSQL_EXEC, TSQL_BACKUP, TSQL_RESTORE,
	TSQL_CREATE_LOGIN, TSQL_ALTER_LOGIN, TSQL_DROP_LOGIN, TSQL_ROLE_MEMBER,
	TSQL_CREATE_USER, TSQL_ALTER_USER, TSQL_DROP_USER, TSQL_GRANT, TSQL_REVOKE, TSQL_AUTHORIZATION,
	TSQL_CREATE_TRIGGER, TSQL_DROP_TRIGGER, TSQL_ENABLE_TRIGGER, TSQL_DISABLE_TRIGGER,
	TSQL_AVAILABILITY, TSQL_KILL, TSQL_DBCC, TSQL_NOTHING,
};

/* "name = value" in a WITH list, or a bare word (value NULL). */
struct tsql_option {
	const char *name;
	const char *value;      /* text, number or variable as written */
	bool is_variable;
};

struct tsql_move {
	const char *logical, *physical;
};

enum tsql_restore_verb {
	TSQL_OF_DATABASE, TSQL_OF_LOG, TSQL_OF_HEADER, TSQL_OF_FILELIST, TSQL_OF_LABEL, TSQL_OF_VERIFY,
};

/* BACKUP and RESTORE as written; devices may be "@v". */
struct tsql_media {
	enum tsql_restore_verb verb;
	const char *database;   /* may be "@v"; NULL for HEADERONLY and its like */
	const char **devices;
	size_t n_devices;
	struct tsql_move *moves;
	size_t n_moves;
	struct tsql_option *options;
	size_t n_options;
};

struct tsql_set {
	const char *column, *value; /* value: SQLite text */
};

struct tsql_column_def {
	const char *name, *type; /* type as T-SQL wrote it, without blanks: "nvarchar(100)" */
	bool not_null, primary_key, identity, unique;
	const char *standard;    /* SQLite text of DEFAULT, or NULL */
};

struct tsql_argument {
	const char *name;        /* "@p" or NULL */
	struct tsql_sql value;   /* a query of one value */
	const char *variable;    /* when the value is a bare variable: where OUTPUT goes */
	bool output;
};

struct tsql_variable {
	const char *name;        /* "@v", lower case */
	struct tds_type type;
	const char *type_text;
	struct tsql_sql value;   /* text NULL when there is none */
};

/* One REPLICA ON of an availability group. */
struct tsql_replica {
	const char *server, *endpoint;
	bool says_seeding, automatic_seeding, asynchronous;
};

struct tsql_statement {
	enum tsql_kind kind;
	int line;
	struct tsql_statement *next;
	struct tsql_statement *body, *otherwise; /* of a block, IF, WHILE, TRY (otherwise: CATCH) */

	struct tsql_name name;       /* what it is about: table, database, login, user, trigger, procedure */
	struct tsql_sql sql;         /* SELECT; condition of IF and WHILE; PRINT, RAISERROR, THROW arguments */
	const char **columns;        /* INSERT, CREATE INDEX */
	size_t n_columns;
	const char ***rows;          /* INSERT … VALUES: SQLite texts, n_columns_of_row each */
	size_t n_rows, row_width;
	struct tsql_set *sets;       /* UPDATE */
	size_t n_sets;
	const char *where;           /* SQLite text with the WHERE, or "" (UPDATE, DELETE) */
	const char *alias;           /* of the table in UPDATE and DELETE, or NULL */
	struct tsql_column_def *defs;
	size_t n_defs;
	const char **key;            /* CREATE TABLE: PRIMARY KEY columns */
	size_t n_key;
	bool if_exists, unique;

	struct tsql_option *options; /* ALTER DATABASE SET, CREATE LOGIN, DBCC */
	size_t n_options;
	struct tsql_media *media;
	struct tsql_replica *replicas;
	size_t n_replicas;
	struct tsql_variable *variables; /* DECLARE, SET @v */
	size_t n_variables;
	struct tsql_argument *arguments; /* EXEC, RAISERROR, THROW */
	size_t n_arguments;
	const char *word;            /* option name, permission, role, event list, return variable … */
	const char *principal;       /* login or user on the other side of the statement */
	const char *secret;          /* password */
	const char *text;            /* source of a trigger's body; dynamic text is an argument */
	bool all;                    /* TRIGGER ALL; ON ALL SERVER */
	int number;                  /* KILL */
};

/* False with the server's number and words; *line is where. */
bool tsql_parse(TALLOC_CTX *parent, const char *batch, struct tsql_statement **out, int *line,
                struct err *err);

/* "@a int, @b nvarchar(10) = N'x' OUTPUT", as sp_executesql takes it. */
bool tsql_parse_parameters(TALLOC_CTX *parent, const char *text, struct tsql_variable **out, size_t *n,
                           struct err *err);

#endif
