/*
 * What the parts of the T-SQL grammar share: the place in the token list, names, expressions, queries.
 *
 * Every parse function moves on past what it took. On failure it fills the parser's err and returns
 * false or NULL, which is passed up at once.
 */
#ifndef LANDFALL_STANDIN_TSQL_PARSER_H
#define LANDFALL_STANDIN_TSQL_PARSER_H

#include "tests/standin/tsql.h"
#include "tests/standin/tsql_lex.h"

enum { TSQL_DEPTH_MAX = 200 };

struct parser {
	TALLOC_CTX *parent;     /* everything made hangs here */
	const char *batch;
	struct tsql_tokens tokens;
	size_t at;
	int depth;              /* of nested expressions and blocks */
	struct tsql_name *tables; /* of the query being read */
	size_t n_tables;
	const char **ctes;      /* names that WITH made; they are no tables */
	size_t n_ctes;
	struct err *err;
	int error_line;
};

const struct tsql_token *peek(struct parser *p);
const struct tsql_token *peek_at(struct parser *p, size_t ahead);

/* Take it if it is there. */
bool accept_word(struct parser *p, const char *word);
bool accept_sign(struct parser *p, const char *sign);
/* Two words in a row, or neither. */
bool accept_words(struct parser *p, const char *first, const char *second);
bool at_word(struct parser *p, const char *word);
bool at_sign(struct parser *p, const char *sign);

/* Take it or fail with 102. */
bool expect_word(struct parser *p, const char *word);
bool expect_sign(struct parser *p, const char *sign);

/* "Incorrect syntax near '…'."; always false. */
bool syntax_error(struct parser *p);
bool parse_error(struct parser *p, int number, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

bool enter(struct parser *p); /* counts depth; false with 191 when nested too deep */
void leave(struct parser *p);

/* A bare word that may be a name here (no reserved word), or a quoted one. NULL when there is none. */
const char *accept_identifier(struct parser *p);
const char *expect_identifier(struct parser *p);
bool parse_name(struct parser *p, struct tsql_name *out);
/* String or identifier, as in IN 'x' or WITH LOGIN = [x]. */
const char *expect_text(struct parser *p);

/* "nvarchar(100)", without blanks. */
const char *parse_type(struct parser *p, struct tds_type *out);

/* SQLite spellings. */
const char *quote_name(TALLOC_CTX *parent, const char *name);
const char *quote_text(TALLOC_CTX *parent, const char *text);
const char *table_text(struct parser *p, const struct tsql_name *name);

struct expression {
	const char *sql;
	bool typed, is_condition;
	struct tds_type type;
	const char *like;  /* as in struct tsql_item */
	const char *name;  /* last part of a bare column */
	const char *variable; /* "@v" of a bare variable */
};

bool parse_expression(struct parser *p, struct expression *out); /* a value */
bool parse_condition(struct parser *p, struct expression *out);  /* what follows WHERE, ON, IF, WHEN */

/* SELECT … with everything that may follow, without WITH when nested. */
bool parse_query(struct parser *p, struct tsql_sql *out);
/* The text alone, for subqueries. */
bool parse_subquery(struct parser *p, struct tsql_sql *out);
bool parse_from(struct parser *p, const char **text);
/* A query of one value, for SET, PRINT, arguments. */
bool parse_value_query(struct parser *p, struct tsql_sql *out, const char **variable);

/* One statement each; st->kind and st->line are set by the caller's table. */
bool parse_media(struct parser *p, struct tsql_statement *st);          /* BACKUP, RESTORE */
bool parse_create(struct parser *p, struct tsql_statement *st);
bool parse_alter(struct parser *p, struct tsql_statement *st);
bool parse_drop(struct parser *p, struct tsql_statement *st);
bool parse_grant(struct parser *p, struct tsql_statement *st);
bool parse_trigger_switch(struct parser *p, struct tsql_statement *st); /* ENABLE, DISABLE */
bool parse_insert(struct parser *p, struct tsql_statement *st);
bool parse_update(struct parser *p, struct tsql_statement *st);
bool parse_delete(struct parser *p, struct tsql_statement *st);

/* Behind CREATE, ALTER, DROP AVAILABILITY GROUP. */
bool parse_create_availability(struct parser *p, struct tsql_statement *st);
bool parse_alter_availability(struct parser *p, struct tsql_statement *st);
bool parse_drop_availability(struct parser *p, struct tsql_statement *st);

#endif
