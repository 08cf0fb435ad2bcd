/*
 * Statements of T-SQL: which word begins which, control flow, variables, transactions, calls.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

static bool parse_list(struct parser *p, struct tsql_statement **out, const char *until);
static bool parse_statement(struct parser *p, struct tsql_statement **out);

/* ---- control flow ------------------------------------------------------------------------- */

/* "SELECT CASE WHEN … THEN 1 ELSE 0 END" */
static bool
parse_condition_query(struct parser *p, struct tsql_sql *out)
{
	struct expression e;

	p->tables = NULL;
	p->n_tables = p->n_ctes = 0;
	if (!parse_condition(p, &e))
		return false;
	*out = (struct tsql_sql){ .n_items = 1, .items = talloc_zero(p->parent, struct tsql_item) };
	out->items[0] = (struct tsql_item){ .name = "", .typed = true, .type = { TDS_INTEGER, 4, 0, 0 } };
	out->text = talloc_asprintf(p->parent, "SELECT CASE WHEN %s THEN 1 ELSE 0 END", e.sql);
	out->tables = p->tables;
	out->n_tables = p->n_tables;
	return true;
}

static bool
parse_if(struct parser *p, struct tsql_statement *st)
{
	if (!parse_condition_query(p, &st->sql) || !parse_statement(p, &st->body))
		return false;
	while (at_sign(p, ";") && tsql_is_word(peek_at(p, 1), "else"))
		p->at++;
	return !accept_word(p, "else") || parse_statement(p, &st->otherwise);
}

static bool
parse_while(struct parser *p, struct tsql_statement *st)
{
	return parse_condition_query(p, &st->sql) && parse_statement(p, &st->body);
}

static bool
parse_try(struct parser *p, struct tsql_statement *st)
{
	if (!parse_list(p, &st->body, "end") || !expect_word(p, "end") || !expect_word(p, "try"))
		return false;
	accept_sign(p, ";");
	return expect_word(p, "begin") && expect_word(p, "catch") && parse_list(p, &st->otherwise, "end") &&
	       expect_word(p, "end") && expect_word(p, "catch");
}

static bool
parse_begin(struct parser *p, struct tsql_statement *st)
{
	if (accept_word(p, "tran") || accept_word(p, "transaction")) {
		st->kind = TSQL_BEGIN_TRAN;
		st->word = accept_identifier(p);
		/* WITH MARK ['description']: the log will have a place of that name. */
		if (st->word == NULL || !accept_words(p, "with", "mark")) {
			st->word = NULL;
			return true;
		}
		p->at += peek(p)->kind == TSQL_STRING;
		return true;
	}
	if (accept_word(p, "try")) {
		st->kind = TSQL_TRY;
		return parse_try(p, st);
	}
	st->kind = TSQL_BLOCK;
	if (!parse_list(p, &st->body, "end"))
		return false;
	/* An empty block is an error to the server too. */
	return st->body == NULL ? syntax_error(p) : expect_word(p, "end");
}

static bool
parse_end_tran(struct parser *p, struct tsql_statement *st)
{
	(void)st;
	if (accept_word(p, "tran") || accept_word(p, "transaction"))
		accept_identifier(p);
	else
		accept_word(p, "work");
	return true;
}

static bool
parse_return(struct parser *p, struct tsql_statement *st)
{
	enum tsql_token_kind kind = peek(p)->kind;

	return kind == TSQL_NUMBER || kind == TSQL_VARIABLE ? parse_value_query(p, &st->sql, NULL) : true;
}

/* ---- variables and settings ---------------------------------------------------------------- */

static char *
lower(struct parser *p, const char *text)
{
	char *out = talloc_strdup(p->parent, text);

	for (char *c = out; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	return out;
}

static struct tsql_variable *
add_variable(struct parser *p, struct tsql_statement *st)
{
	st->variables = talloc_realloc(p->parent, st->variables, struct tsql_variable, st->n_variables + 1);
	st->variables[st->n_variables] = (struct tsql_variable){ 0 };
	return &st->variables[st->n_variables++];
}

static bool
parse_declare(struct parser *p, struct tsql_statement *st)
{
	do {
		struct tsql_variable *v = add_variable(p, st);

		if (peek(p)->kind != TSQL_VARIABLE)
			return syntax_error(p);
		v->name = lower(p, peek(p)->text);
		p->at++;
		accept_word(p, "as");
		v->type_text = parse_type(p, &v->type);
		if (v->type_text == NULL)
			return false;
		if (accept_sign(p, "=") && !parse_value_query(p, &v->value, NULL))
			return false;
		if (accept_word(p, "output") || accept_word(p, "out"))
			continue; /* as sp_executesql's list has it */
	} while (accept_sign(p, ","));
	return true;
}

static bool
parse_set_variable(struct parser *p, struct tsql_statement *st)
{
	static const char *const compound[] = { "+=", "-=" };
	struct tsql_variable *v = add_variable(p, st);

	st->kind = TSQL_SET_VARIABLE;
	v->name = lower(p, peek(p)->text);
	p->at++;
	for (size_t i = 0; i < sizeof(compound) / sizeof(compound[0]); i++) {
		if (!accept_sign(p, compound[i]))
			continue;
		if (!parse_value_query(p, &v->value, NULL))
			return false;
		v->value.text = talloc_asprintf(p->parent, i == 0 ? "SELECT tsql_add(%s, (%s))" : "SELECT %s - (%s)",
		                                v->name, v->value.text);
		return true;
	}
	return expect_sign(p, "=") && parse_value_query(p, &v->value, NULL);
}

/* SET options that clients send on connecting; none changes anything here but IMPLICIT_TRANSACTIONS. */
static const char *const set_options[] = {
	"ansi_defaults", "ansi_null_dflt_on", "ansi_nulls", "ansi_padding", "ansi_warnings", "arithabort",
	"arithignore", "concat_null_yields_null", "context_info", "cursor_close_on_commit", "datefirst",
	"dateformat", "deadlock_priority", "fmtonly", "implicit_transactions", "language", "lock_timeout",
	"nocount", "noexec", "numeric_roundabort", "quoted_identifier", "rowcount", "statistics", "textsize",
	"xact_abort",
};

static bool
is_set_option(const char *word)
{
	for (size_t i = 0; i < sizeof(set_options) / sizeof(set_options[0]); i++)
		if (strcasecmp(word, set_options[i]) == 0)
			return true;
	return false;
}

static bool
parse_set(struct parser *p, struct tsql_statement *st)
{
	struct tsql_name name;

	if (peek(p)->kind == TSQL_VARIABLE)
		return parse_set_variable(p, st);
	st->kind = TSQL_SET_OPTION;
	if (accept_word(p, "transaction")) {
		if (!expect_word(p, "isolation") || !expect_word(p, "level"))
			return false;
		p->at += accept_word(p, "read") || accept_word(p, "repeatable") || peek(p)->kind == TSQL_WORD;
		return true;
	}
	if (accept_word(p, "identity_insert"))
		return parse_name(p, &name) && (accept_word(p, "off") || expect_word(p, "on"));
	do {
		if (peek(p)->kind != TSQL_WORD || !is_set_option(peek(p)->text))
			return parse_error(p, 195, "'%.100s' is not a recognized SET option.", peek(p)->text);
		st->word = lower(p, peek(p)->text);
		p->at++;
	} while (accept_sign(p, ","));
	if (strcmp(st->word, "statistics") == 0)
		p->at++;
	accept_sign(p, "-");
	st->all = at_word(p, "on");
	if (peek(p)->kind == TSQL_END)
		return syntax_error(p);
	p->at++;
	return true;
}

static bool
parse_use(struct parser *p, struct tsql_statement *st)
{
	st->name.object = expect_identifier(p);
	return st->name.object != NULL;
}

/* ---- calls and messages --------------------------------------------------------------------- */

static struct tsql_argument *
add_argument(struct parser *p, struct tsql_statement *st)
{
	st->arguments = talloc_realloc(p->parent, st->arguments, struct tsql_argument, st->n_arguments + 1);
	st->arguments[st->n_arguments] = (struct tsql_argument){ 0 };
	return &st->arguments[st->n_arguments++];
}

static bool
parse_argument(struct parser *p, struct tsql_statement *st)
{
	struct tsql_argument *a = add_argument(p, st);

	if (peek(p)->kind == TSQL_VARIABLE && tsql_is_sign(peek_at(p, 1), "=")) {
		a->name = lower(p, peek(p)->text);
		p->at += 2;
	}
	if (!parse_value_query(p, &a->value, &a->variable))
		return false;
	a->output = accept_word(p, "output") || accept_word(p, "out");
	return true;
}

static bool
parse_exec(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_EXEC;
	if (accept_sign(p, "("))
		return parse_argument(p, st) && expect_sign(p, ")");
	if (peek(p)->kind == TSQL_VARIABLE && tsql_is_sign(peek_at(p, 1), "=")) {
		st->word = lower(p, peek(p)->text);
		p->at += 2;
	}
	if (!parse_name(p, &st->name))
		return false;
	if (peek(p)->kind == TSQL_END || at_sign(p, ";") || at_word(p, "end") ||
	    (peek(p)->kind == TSQL_WORD && accept_identifier(p) == NULL))
		return true;
	if (peek(p)->kind == TSQL_WORD || (p->at > 0 && peek_at(p, 0)->kind == TSQL_END))
		return syntax_error(p);
	do {
		if (!parse_argument(p, st))
			return false;
	} while (accept_sign(p, ","));
	return true;
}

static bool
parse_print(struct parser *p, struct tsql_statement *st)
{
	return parse_value_query(p, &st->sql, NULL);
}

static bool
parse_raiserror(struct parser *p, struct tsql_statement *st)
{
	if (!expect_sign(p, "("))
		return false;
	do {
		if (!parse_argument(p, st))
			return false;
	} while (accept_sign(p, ","));
	if (st->n_arguments < 3 || !expect_sign(p, ")"))
		return syntax_error(p);
	if (accept_word(p, "with"))
		do {
			if (!accept_word(p, "nowait") && !accept_word(p, "log") && !expect_word(p, "seterror"))
				return false;
		} while (accept_sign(p, ","));
	return true;
}

static bool
parse_throw(struct parser *p, struct tsql_statement *st)
{
	if (peek(p)->kind != TSQL_NUMBER && peek(p)->kind != TSQL_VARIABLE)
		return true;
	return parse_argument(p, st) && expect_sign(p, ",") && parse_argument(p, st) && expect_sign(p, ",") &&
	       parse_argument(p, st);
}

static bool
parse_waitfor(struct parser *p, struct tsql_statement *st)
{
	return expect_word(p, "delay") && parse_value_query(p, &st->sql, NULL);
}

static bool
parse_kill(struct parser *p, struct tsql_statement *st)
{
	if (peek(p)->kind != TSQL_NUMBER)
		return syntax_error(p);
	st->number = atoi(peek(p)->text);
	p->at++;
	return true;
}

/* DBCC CHECKDB [(name [, …])] [WITH …]: checks that find nothing. */
static bool
parse_dbcc(struct parser *p, struct tsql_statement *st)
{
	if (!accept_word(p, "checkdb") && !accept_word(p, "checkalloc"))
		return parse_error(p, 2526, "Incorrect DBCC statement. Check the documentation for the correct DBCC "
		                   "syntax and options.");
	if (accept_sign(p, "(")) {
		st->name.object = expect_text(p);
		if (st->name.object == NULL)
			return false;
		while (accept_sign(p, ","))
			p->at++;
		if (!expect_sign(p, ")"))
			return false;
	}
	if (accept_word(p, "with"))
		do {
			if (accept_identifier(p) == NULL)
				return syntax_error(p);
		} while (accept_sign(p, ","));
	return true;
}

static bool
parse_select(struct parser *p, struct tsql_statement *st)
{
	p->at--; /* the query wants to see its own first word */
	return parse_query(p, &st->sql);
}

static bool
parse_truncate(struct parser *p, struct tsql_statement *st)
{
	return expect_word(p, "table") && parse_name(p, &st->name);
}

static bool
parse_nothing(struct parser *p, struct tsql_statement *st)
{
	(void)p;
	(void)st;
	return true;
}

/* ---- the table ------------------------------------------------------------------------------ */

static const struct {
	const char *word, *second; /* second NULL: any */
	enum tsql_kind kind;       /* the parser may refine it */
	bool (*parse)(struct parser *, struct tsql_statement *);
} statements[] = {
	{ "select", NULL, TSQL_SELECT, parse_select },
	{ "with", NULL, TSQL_SELECT, parse_select },
	{ "insert", NULL, TSQL_INSERT, parse_insert },
	{ "update", NULL, TSQL_UPDATE, parse_update },
	{ "delete", NULL, TSQL_DELETE, parse_delete },
	{ "truncate", NULL, TSQL_TRUNCATE, parse_truncate },
	{ "create", NULL, TSQL_NOTHING, parse_create },
	{ "alter", NULL, TSQL_NOTHING, parse_alter },
	{ "drop", NULL, TSQL_NOTHING, parse_drop },
	{ "use", NULL, TSQL_USE, parse_use },
	{ "set", NULL, TSQL_SET_OPTION, parse_set },
	{ "declare", NULL, TSQL_DECLARE, parse_declare },
	{ "begin", NULL, TSQL_BLOCK, parse_begin },
	{ "commit", NULL, TSQL_COMMIT, parse_end_tran },
	{ "rollback", NULL, TSQL_ROLLBACK, parse_end_tran },
	{ "if", NULL, TSQL_IF, parse_if },
	{ "while", NULL, TSQL_WHILE, parse_while },
	{ "return", NULL, TSQL_RETURN, parse_return },
	{ "print", NULL, TSQL_PRINT, parse_print },
	{ "raiserror", NULL, TSQL_RAISERROR, parse_raiserror },
	{ "throw", NULL, TSQL_THROW, parse_throw },
	{ "waitfor", NULL, TSQL_WAITFOR, parse_waitfor },
	{ "exec", NULL, TSQL_EXEC, parse_exec },
	{ "execute", NULL, TSQL_EXEC, parse_exec },
	{ "backup", NULL, TSQL_BACKUP, parse_media },
	{ "restore", NULL, TSQL_RESTORE, parse_media },
	{ "grant", NULL, TSQL_GRANT, parse_grant },
	{ "revoke", NULL, TSQL_REVOKE, parse_grant },
	{ "enable", "trigger", TSQL_ENABLE_TRIGGER, parse_trigger_switch },
	{ "disable", "trigger", TSQL_DISABLE_TRIGGER, parse_trigger_switch },
	{ "kill", NULL, TSQL_KILL, parse_kill },
	{ "dbcc", NULL, TSQL_DBCC, parse_dbcc },
	{ "checkpoint", NULL, TSQL_NOTHING, parse_nothing },
};

static bool
parse_statement(struct parser *p, struct tsql_statement **out)
{
	struct tsql_statement *st = talloc_zero(p->parent, struct tsql_statement);
	bool ok = false;

	*out = st;
	if (!enter(p))
		return false;
	st->line = peek(p)->line;
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (!at_word(p, statements[i].word) ||
		    (statements[i].second != NULL && !tsql_is_word(peek_at(p, 1), statements[i].second)))
			continue;
		st->kind = statements[i].kind;
		p->at++;
		ok = statements[i].parse(p, st);
		leave(p);
		return ok;
	}
	/* A batch may begin with a procedure's name and no EXEC. */
	if (p->at == 0 && (peek(p)->kind == TSQL_WORD || peek(p)->kind == TSQL_QUOTED))
		ok = parse_exec(p, st);
	else
		syntax_error(p);
	leave(p);
	return ok;
}

/* Statements up to the word that closes their block, or to the end. */
static bool
parse_list(struct parser *p, struct tsql_statement **out, const char *until)
{
	struct tsql_statement **tail = out;

	*out = NULL;
	for (;;) {
		while (accept_sign(p, ";"))
			continue;
		if (peek(p)->kind == TSQL_END || (until != NULL && at_word(p, until)))
			return true;
		if (!parse_statement(p, tail))
			return false;
		tail = &(*tail)->next;
	}
}

bool
tsql_parse(TALLOC_CTX *parent, const char *batch, struct tsql_statement **out, int *line, struct err *err)
{
	struct parser p = { .parent = parent, .batch = batch, .err = err };

	*out = NULL;
	*line = 1;
	if (!tsql_lex(parent, batch, &p.tokens, err))
		return false;
	if (parse_list(&p, out, NULL))
		return true;
	*line = p.error_line;
	return false;
}

bool
tsql_parse_parameters(TALLOC_CTX *parent, const char *text, struct tsql_variable **out, size_t *n,
                      struct err *err)
{
	struct parser p = { .parent = parent, .batch = text, .err = err };
	struct tsql_statement st = { 0 };

	*out = NULL;
	*n = 0;
	if (!tsql_lex(parent, text, &p.tokens, err))
		return false;
	if (p.tokens.n == 0)
		return true;
	if (!parse_declare(&p, &st) || (peek(&p)->kind != TSQL_END && !syntax_error(&p)))
		return false;
	*out = st.variables;
	*n = st.n_variables;
	return true;
}
