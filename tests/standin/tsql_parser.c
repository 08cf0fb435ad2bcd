#include "tests/standin/tsql_parser.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct tsql_token *
peek_at(struct parser *p, size_t ahead)
{
	size_t i = p->at + ahead;

	return &p->tokens.at[i < p->tokens.n ? i : p->tokens.n];
}

const struct tsql_token *
peek(struct parser *p)
{
	return peek_at(p, 0);
}

bool
at_word(struct parser *p, const char *word)
{
	return tsql_is_word(peek(p), word);
}

bool
at_sign(struct parser *p, const char *sign)
{
	return tsql_is_sign(peek(p), sign);
}

bool
accept_word(struct parser *p, const char *word)
{
	if (!at_word(p, word))
		return false;
	p->at++;
	return true;
}

bool
accept_sign(struct parser *p, const char *sign)
{
	if (!at_sign(p, sign))
		return false;
	p->at++;
	return true;
}

bool
accept_words(struct parser *p, const char *first, const char *second)
{
	if (!at_word(p, first) || !tsql_is_word(peek_at(p, 1), second))
		return false;
	p->at += 2;
	return true;
}

bool
parse_error(struct parser *p, int number, const char *fmt, ...)
{
	char text[sizeof(p->err->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->error_line = peek(p)->line;
	return err_set(p->err, ERR_BROKEN, number, "%s", text);
}

/* Words that never are names unless quoted; a cut of the server's list: those the grammar must stop at. */
static const char *const reserved[] = {
	"add", "all", "alter", "and", "as", "asc", "authorization", "backup", "begin", "between", "by", "case",
	"check", "close", "coalesce", "collate", "column", "commit", "constraint", "convert", "create", "cross",
	"current_timestamp", "current_user", "database", "dbcc", "declare", "default", "delete", "deny", "desc",
	"distinct", "drop", "else", "end", "escape", "except", "exec", "execute", "exists", "external", "fetch",
	"for", "foreign", "from", "full", "function", "go", "grant", "group", "having", "identity", "if", "in",
	"index", "inner", "insert", "intersect", "into", "is", "join", "key", "kill", "left", "like", "merge",
	"not", "null", "nullif", "of", "on", "open", "option", "or", "order", "outer", "over", "percent",
	"pivot", "primary", "print", "proc", "procedure", "raiserror", "references", "restore", "return",
	"revoke", "right", "rollback", "save", "schema", "select", "session_user", "set", "system_user",
	"table", "then", "to", "top", "tran", "transaction", "trigger", "truncate", "try_convert", "union",
	"unique", "update", "use", "user", "values", "view", "waitfor", "when", "where", "while", "with",
};

static bool
is_reserved(const char *word)
{
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (strcasecmp(reserved[i], word) == 0)
			return true;
	return false;
}

bool
syntax_error(struct parser *p)
{
	const struct tsql_token *t = peek(p);

	/* At the end the server names the last thing it read. */
	if (t->kind == TSQL_END && p->at > 0)
		t = &p->tokens.at[p->at - 1];
	if (t->kind == TSQL_WORD && is_reserved(t->text))
		return parse_error(p, 156, "Incorrect syntax near the keyword '%s'.", t->text);
	return parse_error(p, 102, "Incorrect syntax near '%s%.100s'.", t->kind == TSQL_GLOBAL ? "@@" : "",
	                   t->text);
}

bool
expect_word(struct parser *p, const char *word)
{
	return accept_word(p, word) || syntax_error(p);
}

bool
expect_sign(struct parser *p, const char *sign)
{
	return accept_sign(p, sign) || syntax_error(p);
}

bool
enter(struct parser *p)
{
	if (p->depth >= TSQL_DEPTH_MAX)
		return parse_error(p, 191, "Some part of your SQL statement is nested too deeply. Rewrite the "
		                   "query or break it up into smaller queries.");
	p->depth++;
	return true;
}

void
leave(struct parser *p)
{
	p->depth--;
}

const char *
accept_identifier(struct parser *p)
{
	const struct tsql_token *t = peek(p);

	if (t->kind != TSQL_QUOTED && (t->kind != TSQL_WORD || is_reserved(t->text)))
		return NULL;
	p->at++;
	return t->text;
}

const char *
expect_identifier(struct parser *p)
{
	const char *name = accept_identifier(p);

	if (name == NULL)
		syntax_error(p);
	else if (strlen(name) > 128 * 3)
		parse_error(p, 103, "The identifier that starts with '%.64s' is too long. Maximum length is 128.",
		            name);
	else
		return name;
	return NULL;
}

bool
parse_name(struct parser *p, struct tsql_name *out)
{
	*out = (struct tsql_name){ .object = expect_identifier(p) };
	if (out->object == NULL)
		return false;
	while (at_sign(p, ".")) {
		p->at++;
		if (out->database != NULL)
			return syntax_error(p); /* four parts would be another server */
		out->database = out->schema;
		out->schema = out->object;
		/* a..b leaves the schema out */
		out->object = at_sign(p, ".") ? "" : expect_identifier(p);
		if (out->object == NULL)
			return false;
	}
	if (out->schema != NULL && out->schema[0] == '\0')
		out->schema = NULL;
	return true;
}

const char *
expect_text(struct parser *p)
{
	const struct tsql_token *t = peek(p);

	if (t->kind != TSQL_STRING)
		return expect_identifier(p);
	p->at++;
	return t->text;
}

const char *
parse_type(struct parser *p, struct tds_type *out)
{
	const struct tsql_token *t = peek(p);
	char *text;

	if (t->kind != TSQL_WORD && t->kind != TSQL_QUOTED) {
		syntax_error(p);
		return NULL;
	}
	p->at++;
	text = talloc_strdup(p->parent, t->text);
	for (char *c = text; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (accept_sign(p, "(")) {
		text = talloc_strdup_append(text, "(");
		while (!at_sign(p, ")")) {
			t = peek(p);
			if (t->kind != TSQL_NUMBER && !tsql_is_word(t, "max") && !tsql_is_sign(t, ",")) {
				syntax_error(p);
				return NULL;
			}
			text = talloc_strdup_append(text, t->text);
			p->at++;
		}
		p->at++;
		text = talloc_strdup_append(text, ")");
	}
	if (!tds_type_parse(text, out)) {
		parse_error(p, 2715, "Column, parameter, or variable: Cannot find data type %.100s.", text);
		return NULL;
	}
	return text;
}

static const char *
quoted(TALLOC_CTX *parent, const char *text, char mark)
{
	char *out = talloc_size(parent, strlen(text) * 2 + 3), *o = out;

	*o++ = mark;
	for (; *text != '\0'; text++) {
		if (*text == mark)
			*o++ = mark;
		*o++ = *text;
	}
	*o++ = mark;
	*o = '\0';
	return out;
}

const char *
quote_name(TALLOC_CTX *parent, const char *name)
{
	return quoted(parent, name, '"');
}

const char *
quote_text(TALLOC_CTX *parent, const char *text)
{
	return quoted(parent, text, '\'');
}

const char *
tsql_schema(TALLOC_CTX *parent, const struct tsql_name *name)
{
	if (name->schema != NULL && strcasecmp(name->schema, "sys") == 0)
		return "sys";
	if (name->database != NULL && strcasecmp(name->database, "msdb") == 0)
		return "msdb";
	return name->schema == NULL ? "dbo" : talloc_strdup(parent, name->schema);
}

static bool
is_cte(struct parser *p, const struct tsql_name *name)
{
	for (size_t i = 0; name->schema == NULL && name->database == NULL && i < p->n_ctes; i++)
		if (strcasecmp(p->ctes[i], name->object) == 0)
			return true;
	return false;
}

/* System views that are written in terms of others. */
static const struct { const char *schema, *object, *text; } views[] = {
	{ "information_schema", "tables",
	  "(SELECT tsql_db_name() AS TABLE_CATALOG, 'dbo' AS TABLE_SCHEMA, name AS TABLE_NAME, "
	  "'BASE TABLE' AS TABLE_TYPE FROM sys.tables)" },
	{ "information_schema", "columns",
	  "(SELECT tsql_db_name() AS TABLE_CATALOG, 'dbo' AS TABLE_SCHEMA, t.name AS TABLE_NAME, "
	  "c.name AS COLUMN_NAME, c.column_id AS ORDINAL_POSITION, "
	  "CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END AS IS_NULLABLE "
	  "FROM sys.columns c JOIN sys.tables t ON t.object_id = c.object_id)" },
};

const char *
table_text(struct parser *p, const struct tsql_name *name)
{
	if (is_cte(p, name))
		return quote_name(p->parent, name->object);
	p->tables = talloc_realloc(p->parent, p->tables, struct tsql_name, p->n_tables + 1);
	p->tables[p->n_tables++] = *name;
	for (size_t i = 0; name->schema != NULL && i < sizeof(views) / sizeof(views[0]); i++)
		if (strcasecmp(name->schema, views[i].schema) == 0 &&
		    strcasecmp(name->object, views[i].object) == 0) {
			p->tables[p->n_tables - 1].schema = "sys";
			return views[i].text;
		}
	return talloc_asprintf(p->parent, "%s.%s", quote_name(p->parent, tsql_schema(p->parent, name)),
	                       quote_name(p->parent, name->object));
}
