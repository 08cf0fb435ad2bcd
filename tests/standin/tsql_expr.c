/*
 * Expressions of T-SQL, rewritten for SQLite.
 *
 * Comparisons get COLLATE SQL, which the engine registers: blind to case and to trailing blanks. `+`
 * becomes tsql_add unless both sides are known numbers, because only the values know whether it adds or
 * joins. Functions come from a table; what is not in it gets 195.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

static const struct tds_type as_int = { TDS_INTEGER, 4, 0, 0 };
static const struct tds_type as_bigint = { TDS_INTEGER, 8, 0, 0 };
static const struct tds_type as_text = { TDS_NVARCHAR, TDS_NVARCHAR_LIMIT, 0, 0 };

static bool parse_or(struct parser *p, struct expression *out);
static bool parse_sum(struct parser *p, struct expression *out);

/* ---- types ------------------------------------------------------------------------------- */

static bool
is_text(const struct expression *e)
{
	return e->typed && (e->type.kind == TDS_NVARCHAR || e->type.kind == TDS_NCHAR);
}

static bool
is_number(const struct expression *e)
{
	return e->typed && (e->type.kind == TDS_INTEGER || e->type.kind == TDS_NUMERIC ||
	                    e->type.kind == TDS_FLOAT || e->type.kind == TDS_BIT);
}

static void
set_type(struct expression *e, struct tds_type type)
{
	e->typed = true;
	e->type = type;
}

/* The type of a value that is one or the other (CASE, IIF, COALESCE). */
static void
merge_type(struct expression *into, const struct expression *other)
{
	if (into->like == NULL)
		into->like = other->like;
	if (!other->typed)
		return;
	if (!into->typed) {
		set_type(into, other->type);
		return;
	}
	if (is_text(into) && is_text(other)) {
		if (other->type.size == TDS_MAX_SIZE || into->type.size == TDS_MAX_SIZE)
			into->type.size = TDS_MAX_SIZE;
		else if (other->type.size > into->type.size)
			into->type.size = other->type.size;
		into->type.kind = TDS_NVARCHAR;
	} else if (is_text(into) || (into->type.kind == TDS_INTEGER && other->type.kind == TDS_INTEGER &&
	                             other->type.size > into->type.size)) {
		into->type = other->type; /* text yields to anything, a small integer to a larger one */
	}
}

/* ---- functions --------------------------------------------------------------------------- */

enum result { R_INT, R_BIGINT, R_BIT, R_FLOAT, R_TEXT, R_NAME, R_MAX, R_DATETIME, R_DATETIME2, R_DATE, R_GUID,
	R_BYTES, R_FIRST, R_UNKNOWN };

static const struct {
	const char *name;
	int least, most;
	enum result result;
	const char *sqlite; /* NULL: "tsql_" and the name */
} functions[] = {
	{ "abs", 1, 1, R_FIRST, "abs" },
	{ "app_name", 0, 0, R_NAME, NULL },
	{ "ascii", 1, 1, R_INT, "unicode" },
	{ "ceiling", 1, 1, R_FIRST, NULL },
	{ "char", 1, 1, R_TEXT, "char" },
	{ "charindex", 2, 3, R_INT, NULL },
	{ "coalesce", 2, 64, R_FIRST, "coalesce" },
	{ "col_name", 2, 2, R_NAME, NULL },
	{ "concat", 1, 64, R_TEXT, NULL },
	{ "connectionproperty", 1, 1, R_TEXT, NULL },
	{ "databasepropertyex", 2, 2, R_UNKNOWN, NULL },
	{ "datalength", 1, 1, R_INT, NULL },
	{ "day", 1, 1, R_INT, NULL },
	{ "db_id", 0, 1, R_INT, NULL },
	{ "db_name", 0, 1, R_NAME, NULL },
	{ "error_line", 0, 0, R_INT, NULL },
	{ "error_message", 0, 0, R_TEXT, NULL },
	{ "error_number", 0, 0, R_INT, NULL },
	{ "error_procedure", 0, 0, R_NAME, NULL },
	{ "error_severity", 0, 0, R_INT, NULL },
	{ "error_state", 0, 0, R_INT, NULL },
	{ "floor", 1, 1, R_FIRST, NULL },
	{ "getdate", 0, 0, R_DATETIME, NULL },
	{ "getutcdate", 0, 0, R_DATETIME, "tsql_getdate" },
	{ "has_dbaccess", 1, 1, R_INT, NULL },
	{ "has_perms_by_name", 3, 5, R_INT, NULL },
	{ "hashbytes", 2, 2, R_BYTES, NULL },
	{ "host_name", 0, 0, R_NAME, NULL },
	{ "is_member", 1, 1, R_INT, NULL },
	{ "is_rolemember", 1, 2, R_INT, "tsql_is_member" },
	{ "is_srvrolemember", 1, 2, R_INT, NULL },
	{ "isdate", 1, 1, R_INT, NULL },
	{ "isnull", 2, 2, R_FIRST, "ifnull" },
	{ "isnumeric", 1, 1, R_INT, NULL },
	{ "left", 2, 2, R_FIRST, NULL },
	{ "len", 1, 1, R_INT, NULL },
	{ "lower", 1, 1, R_FIRST, "lower" },
	{ "ltrim", 1, 1, R_FIRST, "ltrim" },
	{ "month", 1, 1, R_INT, NULL },
	{ "nchar", 1, 1, R_TEXT, "char" },
	{ "newid", 0, 0, R_GUID, NULL },
	{ "nullif", 2, 2, R_FIRST, "nullif" },
	{ "object_id", 1, 2, R_INT, NULL },
	{ "object_name", 1, 1, R_NAME, NULL },
	{ "original_login", 0, 0, R_NAME, "tsql_suser_sname" },
	{ "power", 2, 2, R_FIRST, NULL },
	{ "quotename", 1, 2, R_TEXT, NULL },
	{ "replace", 3, 3, R_TEXT, "replace" },
	{ "replicate", 2, 2, R_TEXT, NULL },
	{ "reverse", 1, 1, R_FIRST, NULL },
	{ "right", 2, 2, R_FIRST, NULL },
	{ "round", 2, 2, R_FIRST, "round" },
	{ "rtrim", 1, 1, R_FIRST, "rtrim" },
	{ "schema_id", 0, 1, R_INT, NULL },
	{ "schema_name", 0, 1, R_NAME, NULL },
	{ "scope_identity", 0, 0, R_BIGINT, NULL },
	{ "serverproperty", 1, 1, R_UNKNOWN, NULL },
	{ "sign", 1, 1, R_FIRST, "sign" },
	{ "space", 1, 1, R_TEXT, NULL },
	{ "str", 1, 3, R_TEXT, NULL },
	{ "stuff", 4, 4, R_TEXT, NULL },
	{ "substring", 3, 3, R_FIRST, NULL },
	{ "suser_id", 0, 1, R_INT, NULL },
	{ "suser_name", 0, 1, R_NAME, "tsql_suser_sname" },
	{ "suser_sid", 0, 1, R_BYTES, NULL },
	{ "suser_sname", 0, 1, R_NAME, NULL },
	{ "sysdatetime", 0, 0, R_DATETIME2, "tsql_sysutcdatetime" },
	{ "sysutcdatetime", 0, 0, R_DATETIME2, NULL },
	{ "trim", 1, 1, R_FIRST, "trim" },
	{ "type_name", 1, 1, R_NAME, NULL },
	{ "unicode", 1, 1, R_INT, "unicode" },
	{ "upper", 1, 1, R_FIRST, "upper" },
	{ "user_id", 0, 1, R_INT, NULL },
	{ "user_name", 0, 1, R_NAME, NULL },
	{ "xact_state", 0, 0, R_INT, NULL },
	{ "year", 1, 1, R_INT, NULL },
};

static const struct { const char *name; enum result result; bool star; const char *sqlite; } aggregates[] = {
	{ "avg", R_FIRST, false, "avg" },
	{ "count", R_INT, true, "count" },
	{ "count_big", R_BIGINT, true, "count" },
	{ "dense_rank", R_BIGINT, false, "dense_rank" },
	{ "max", R_FIRST, false, "max" },
	{ "min", R_FIRST, false, "min" },
	{ "rank", R_BIGINT, false, "rank" },
	{ "row_number", R_BIGINT, false, "row_number" },
	{ "string_agg", R_TEXT, false, "group_concat" },
	{ "sum", R_FIRST, false, "sum" },
};

static const struct { const char *name; enum result result; } globals[] = {
	{ "version", R_TEXT },    { "spid", R_INT },      { "servername", R_NAME }, { "trancount", R_INT },
	{ "rowcount", R_INT },    { "error", R_INT },     { "max_precision", R_INT }, { "language", R_NAME },
	{ "servicename", R_NAME },{ "options", R_INT },   { "microsoftversion", R_INT }, { "textsize", R_INT },
	{ "lock_timeout", R_INT },{ "datefirst", R_INT }, { "identity", R_BIGINT },   { "max_connections", R_INT },
	{ "nestlevel", R_INT },
};

static void
type_of_result(struct expression *e, enum result result, const struct expression *first)
{
	switch (result) {
	case R_INT: set_type(e, as_int); break;
	case R_BIGINT: set_type(e, as_bigint); break;
	case R_BIT: set_type(e, (struct tds_type){ TDS_BIT, 1, 0, 0 }); break;
	case R_FLOAT: set_type(e, (struct tds_type){ TDS_FLOAT, 8, 0, 0 }); break;
	case R_TEXT: set_type(e, as_text); break;
	case R_NAME: set_type(e, (struct tds_type){ TDS_NVARCHAR, 128, 0, 0 }); break;
	case R_MAX: set_type(e, (struct tds_type){ TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 }); break;
	case R_DATETIME: set_type(e, (struct tds_type){ TDS_DATETIME, 8, 0, 3 }); break;
	case R_DATETIME2: set_type(e, (struct tds_type){ TDS_DATETIME2, 0, 0, 7 }); break;
	case R_DATE: set_type(e, (struct tds_type){ TDS_DATE, 3, 0, 0 }); break;
	case R_GUID: set_type(e, (struct tds_type){ TDS_GUID, 16, 0, 0 }); break;
	case R_BYTES: set_type(e, (struct tds_type){ TDS_VARBINARY, TDS_VARBINARY_LIMIT, 0, 0 }); break;
	case R_FIRST:
		if (first != NULL) {
			e->typed = first->typed;
			e->type = first->type;
			e->like = first->like;
		}
		break;
	case R_UNKNOWN: break;
	}
}

/* Arguments up to the closing parenthesis; text gets them joined by commas, first the first of them. */
static bool
parse_arguments(struct parser *p, const char **text, struct expression *first, int *n)
{
	char *joined = talloc_strdup(p->parent, "");
	struct expression e;

	*n = 0;
	*first = (struct expression){ 0 };
	if (accept_sign(p, ")")) {
		*text = joined;
		return true;
	}
	do {
		if (!parse_expression(p, &e))
			return false;
		joined = talloc_asprintf_append(joined, "%s%s", *n == 0 ? "" : ", ", e.sql);
		if ((*n)++ == 0)
			*first = e;
		else
			merge_type(first, &e);
	} while (accept_sign(p, ","));
	*text = joined;
	return expect_sign(p, ")");
}

/* OVER ([PARTITION BY …] [ORDER BY …]) behind a function; appended to the text. */
static bool
parse_over(struct parser *p, struct expression *out)
{
	struct expression e;
	char *text;
	const char *between = "";

	if (!accept_word(p, "over"))
		return true;
	if (!expect_sign(p, "("))
		return false;
	text = talloc_asprintf(p->parent, "%s OVER (", out->sql);
	if (accept_words(p, "partition", "by")) {
		text = talloc_strdup_append(text, "PARTITION BY ");
		do {
			if (!parse_expression(p, &e))
				return false;
			text = talloc_asprintf_append(text, "%s%s COLLATE SQL", between, e.sql);
			between = ", ";
		} while (accept_sign(p, ","));
	}
	if (accept_words(p, "order", "by")) {
		text = talloc_strdup_append(text, " ORDER BY ");
		between = "";
		do {
			if (!parse_expression(p, &e))
				return false;
			text = talloc_asprintf_append(text, "%s%s COLLATE SQL%s", between, e.sql,
			                              accept_word(p, "desc") ? " DESC" : "");
			accept_word(p, "asc");
			between = ", ";
		} while (accept_sign(p, ","));
	}
	out->sql = talloc_strdup_append(text, ")");
	return expect_sign(p, ")");
}

static bool
parse_aggregate(struct parser *p, size_t which, struct expression *out)
{
	const char *distinct = "", *text;
	struct expression first = { 0 };
	int n;

	if (aggregates[which].star && at_sign(p, "*")) {
		p->at++;
		text = "*";
		if (!expect_sign(p, ")"))
			return false;
	} else {
		if (accept_word(p, "distinct"))
			distinct = "DISTINCT ";
		else
			accept_word(p, "all");
		if (!parse_arguments(p, &text, &first, &n))
			return false;
	}
	/* Integers average to an integer, which only the values tell; tsql_div knows. */
	if (strcmp(aggregates[which].sqlite, "avg") == 0)
		out->sql = talloc_asprintf(p->parent, "tsql_div(sum(%s%s), count(%s%s))", distinct, text, distinct,
		                           text);
	else
		out->sql = talloc_asprintf(p->parent, "%s(%s%s)", aggregates[which].sqlite, distinct, text);
	type_of_result(out, aggregates[which].result, &first);
	return parse_over(p, out);
}

/* CAST(x AS type), CONVERT(type, x [, style]) and their TRY_ forms. */
static bool
parse_cast(struct parser *p, bool convert, bool try, struct expression *out)
{
	struct expression value, style = { .sql = "0" };
	struct tds_type type;
	const char *type_text;

	if (convert) {
		type_text = parse_type(p, &type);
		if (type_text == NULL || !expect_sign(p, ",") || !parse_expression(p, &value))
			return false;
		if (accept_sign(p, ",") && !parse_expression(p, &style))
			return false;
	} else {
		if (!parse_expression(p, &value) || !expect_word(p, "as"))
			return false;
		type_text = parse_type(p, &type);
		if (type_text == NULL)
			return false;
	}
	out->sql = talloc_asprintf(p->parent, "tsql_cast(%s, '%s', %s, %d)", value.sql, type_text, style.sql, try);
	set_type(out, type);
	return expect_sign(p, ")");
}

static bool
parse_iif(struct parser *p, struct expression *out)
{
	struct expression condition, yes, no;

	if (!parse_condition(p, &condition) || !expect_sign(p, ",") || !parse_expression(p, &yes) ||
	    !expect_sign(p, ",") || !parse_expression(p, &no) || !expect_sign(p, ")"))
		return false;
	*out = yes;
	out->name = out->variable = NULL;
	merge_type(out, &no);
	out->sql = talloc_asprintf(p->parent, "(CASE WHEN %s THEN %s ELSE %s END)", condition.sql, yes.sql, no.sql);
	return true;
}

/* DATEADD, DATEDIFF, DATEPART, DATENAME: their first argument is a bare word. */
static bool
parse_date_function(struct parser *p, const char *name, struct expression *out)
{
	const char *part = expect_identifier(p), *text;
	struct expression first;
	int n;

	if (part == NULL || !expect_sign(p, ",") || !parse_arguments(p, &text, &first, &n))
		return false;
	out->sql = talloc_asprintf(p->parent, "tsql_%s(%s, %s)", name, quote_text(p->parent, part), text);
	for (char *c = (char *)strchr(out->sql, '_'); *c != '('; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strcasecmp(name, "dateadd") == 0)
		type_of_result(out, R_DATETIME2, NULL);
	else if (strcasecmp(name, "datename") == 0)
		type_of_result(out, R_NAME, NULL);
	else if (strcasecmp(name, "datediff_big") == 0)
		type_of_result(out, R_BIGINT, NULL);
	else
		type_of_result(out, R_INT, NULL);
	return true;
}

static bool
parse_listed_function(struct parser *p, const char *name, struct expression *out)
{
	const char *text;
	struct expression first;
	int n;

	for (size_t i = 0; i < sizeof(aggregates) / sizeof(aggregates[0]); i++)
		if (strcasecmp(name, aggregates[i].name) == 0)
			return parse_aggregate(p, i, out);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (strcasecmp(name, functions[i].name) != 0)
			continue;
		if (!parse_arguments(p, &text, &first, &n))
			return false;
		if (n < functions[i].least || n > functions[i].most)
			return parse_error(p, 174, "The %s function requires %d argument(s).", functions[i].name,
			                   functions[i].least);
		out->sql = talloc_asprintf(p->parent, "%s%s(%s)", functions[i].sqlite == NULL ? "tsql_" : "",
		                           functions[i].sqlite == NULL ? functions[i].name
		                                                       : functions[i].sqlite, text);
		type_of_result(out, functions[i].result, &first);
		return true;
	}
	return parse_error(p, 195, "'%.100s' is not a recognized built-in function name.", name);
}

/* A name and its opening parenthesis have been taken. */
static bool
parse_function(struct parser *p, const char *name, struct expression *out)
{
	bool try = strncasecmp(name, "try_", 4) == 0;
	const char *plain = try ? name + 4 : name;

	if (strcasecmp(plain, "cast") == 0 || strcasecmp(plain, "convert") == 0)
		return parse_cast(p, (plain[1] | 0x20) == 'o', try, out);
	if (strcasecmp(name, "iif") == 0)
		return parse_iif(p, out);
	if (strcasecmp(name, "dateadd") == 0 || strcasecmp(name, "datediff") == 0 ||
	    strcasecmp(name, "datediff_big") == 0 || strcasecmp(name, "datepart") == 0 ||
	    strcasecmp(name, "datename") == 0)
		return parse_date_function(p, name, out);
	return parse_listed_function(p, name, out);
}

/* ---- primaries --------------------------------------------------------------------------- */

static bool
parse_case(struct parser *p, struct expression *out)
{
	struct expression e;
	char *text = talloc_strdup(p->parent, "(CASE");
	bool simple = !at_word(p, "when");

	*out = (struct expression){ 0 };
	if (simple) {
		if (!parse_expression(p, &e))
			return false;
		text = talloc_asprintf_append(text, " %s COLLATE SQL", e.sql);
	}
	do {
		if (!expect_word(p, "when") || !(simple ? parse_expression(p, &e) : parse_condition(p, &e)))
			return false;
		text = talloc_asprintf_append(text, " WHEN %s", e.sql);
		if (!expect_word(p, "then") || !parse_expression(p, &e))
			return false;
		text = talloc_asprintf_append(text, " THEN %s", e.sql);
		merge_type(out, &e);
	} while (at_word(p, "when"));
	if (accept_word(p, "else")) {
		if (!parse_expression(p, &e))
			return false;
		text = talloc_asprintf_append(text, " ELSE %s", e.sql);
		merge_type(out, &e);
	}
	out->sql = talloc_strdup_append(text, " END)");
	return expect_word(p, "end");
}

static bool
parse_number(struct parser *p, const char *text, struct expression *out)
{
	size_t digits = strspn(text, "0123456789");

	out->sql = talloc_strdup(p->parent, text);
	if (text[digits] == '\0') {
		int64_t value = strtoll(text, NULL, 10);

		if (digits > 18) {
			/* Beyond 64 bits a number keeps its digits as text; comparing is all anyone does. */
			set_type(out, (struct tds_type){ TDS_NUMERIC, 0, (uint8_t)(digits > 38 ? 38 : digits), 0 });
			out->sql = talloc_asprintf(p->parent, "'%s'", text);
		} else {
			set_type(out, value > INT32_MAX ? as_bigint : as_int);
		}
	} else if (strpbrk(text, "eE") != NULL) {
		set_type(out, (struct tds_type){ TDS_FLOAT, 8, 0, 0 });
	} else {
		size_t after = strlen(text) - digits - 1;

		set_type(out, (struct tds_type){ TDS_NUMERIC, 0,
			(uint8_t)(digits + after > 38 ? 38 : digits + after), (uint8_t)(after > 38 ? 38 : after) });
	}
	return true;
}

static bool
parse_text_literal(struct parser *p, const char *text, struct expression *out)
{
	size_t units = 0;

	for (const char *c = text; *c != '\0'; c++)
		units += (*c & 0xC0) != 0x80 ? ((*c & 0xF8) == 0xF0 ? 2 : 1) : 0;
	out->sql = quote_text(p->parent, text);
	set_type(out, (struct tds_type){ TDS_NVARCHAR,
		units == 0 ? 1 : units > TDS_NVARCHAR_LIMIT ? TDS_MAX_SIZE : (int)units, 0, 0 });
	return true;
}

static bool
parse_global(struct parser *p, const char *name, struct expression *out)
{
	for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++) {
		if (strcasecmp(name, globals[i].name) != 0)
			continue;
		out->sql = talloc_asprintf(p->parent, "tsql_global('%s')", globals[i].name);
		type_of_result(out, globals[i].result, NULL);
		return true;
	}
	return parse_error(p, 137, "Must declare the scalar variable \"@@%.100s\".", name);
}

/* a, t.a, dbo.t.a; the database of a four-part column name is not spoken. */
static bool
parse_column(struct parser *p, const char *first, struct expression *out)
{
	const char *parts[3] = { first };
	char *text;
	int n = 1;

	while (at_sign(p, ".")) {
		p->at++;
		if (n == 3)
			return syntax_error(p);
		parts[n] = accept_identifier(p);
		if (parts[n++] == NULL)
			return syntax_error(p);
	}
	text = talloc_strdup(p->parent, quote_name(p->parent, parts[0]));
	for (int i = 1; i < n; i++)
		text = talloc_asprintf_append(text, ".%s", quote_name(p->parent, parts[i]));
	out->sql = out->like = text;
	out->name = parts[n - 1];
	return true;
}

static bool
parse_variable(struct parser *p, const char *name, struct expression *out)
{
	char *lower = talloc_strdup(p->parent, name);

	for (char *c = lower; *c != '\0'; c++) {
		if (strchr("#$@", *c) != NULL && c != lower)
			return parse_error(p, 102, "Incorrect syntax near '%.100s'.", name);
		*c = (char)tolower((unsigned char)*c);
	}
	out->sql = out->variable = lower;
	return true;
}

static bool
parse_parenthesis(struct parser *p, struct expression *out)
{
	struct tsql_sql query;

	if (!at_word(p, "select") && !(at_sign(p, "(") && tsql_is_word(peek_at(p, 1), "select"))) {
		if (!parse_or(p, out))
			return false;
		out->sql = talloc_asprintf(p->parent, "(%s)", out->sql);
		out->name = out->variable = NULL;
		return expect_sign(p, ")");
	}
	if (!parse_subquery(p, &query))
		return false;
	out->sql = talloc_asprintf(p->parent, "(%s)", query.text);
	if (query.n_items == 1) {
		out->typed = query.items[0].typed;
		out->type = query.items[0].type;
	}
	return expect_sign(p, ")");
}

static bool
parse_word(struct parser *p, const struct tsql_token *t, struct expression *out)
{
	/* Reserved words that are functions nevertheless. */
	static const char *const callable[] = { "left", "right", "coalesce", "nullif", "convert", "try_convert" };
	static const struct { const char *word, *function; enum result result; } bare[] = {
		{ "current_timestamp", "tsql_getdate()", R_DATETIME },
		{ "system_user", "tsql_suser_sname()", R_NAME },
		{ "current_user", "tsql_user_name()", R_NAME },
		{ "session_user", "tsql_user_name()", R_NAME },
	};

	for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++)
		if (tsql_is_word(t, bare[i].word)) {
			p->at++;
			out->sql = bare[i].function;
			type_of_result(out, bare[i].result, NULL);
			return true;
		}
	if (accept_word(p, "null")) {
		out->sql = "NULL";
		return true;
	}
	if (accept_word(p, "case"))
		return parse_case(p, out);
	for (size_t i = 0; i < sizeof(callable) / sizeof(callable[0]); i++)
		if (tsql_is_word(t, callable[i]) && tsql_is_sign(peek_at(p, 1), "(")) {
			p->at += 2;
			return parse_function(p, t->text, out);
		}
	if (accept_identifier(p) == NULL)
		return syntax_error(p);
	if (t->kind == TSQL_WORD && accept_sign(p, "("))
		return parse_function(p, t->text, out);
	return parse_column(p, t->text, out);
}

static bool
parse_primary(struct parser *p, struct expression *out)
{
	const struct tsql_token *t = peek(p);

	*out = (struct expression){ 0 };
	switch (t->kind) {
	case TSQL_NUMBER:
		p->at++;
		return parse_number(p, t->text, out);
	case TSQL_STRING:
		p->at++;
		return parse_text_literal(p, t->text, out);
	case TSQL_BINARY:
		p->at++;
		out->sql = talloc_asprintf(p->parent, "x'%s%s'", strlen(t->text) % 2 == 0 ? "" : "0", t->text);
		set_type(out, (struct tds_type){ TDS_VARBINARY, (int)strlen(t->text) / 2 + 1, 0, 0 });
		return true;
	case TSQL_VARIABLE:
		p->at++;
		return parse_variable(p, t->text, out);
	case TSQL_GLOBAL:
		p->at++;
		return parse_global(p, t->text, out);
	case TSQL_WORD:
	case TSQL_QUOTED:
		return parse_word(p, t, out);
	case TSQL_SIGN:
		if (accept_sign(p, "("))
			return parse_parenthesis(p, out);
		break;
	case TSQL_END:
		break;
	}
	return syntax_error(p);
}

static bool
parse_unary(struct parser *p, struct expression *out)
{
	const char *sign = at_sign(p, "-") ? "-" : at_sign(p, "+") ? "+" : at_sign(p, "~") ? "~" : NULL;

	if (!enter(p))
		return false;
	if (sign != NULL) {
		p->at++;
		if (!parse_unary(p, out))
			return false;
		out->sql = talloc_asprintf(p->parent, "(%s %s)", sign, out->sql);
		out->name = out->variable = NULL;
	} else if (!parse_primary(p, out)) {
		return false;
	}
	/* There is one collation here; naming another changes nothing. */
	if (accept_word(p, "collate") && expect_identifier(p) == NULL)
		return false;
	leave(p);
	return true;
}

/* ---- arithmetic -------------------------------------------------------------------------- */

static bool
want_value(struct parser *p, const struct expression *e)
{
	return !e->is_condition || syntax_error(p);
}

static void
type_of_arithmetic(struct expression *out, const struct expression *right)
{
	if (is_text(out) && !right->typed && right->like == NULL)
		out->typed = false;
	merge_type(out, right);
	/* Room for any result; the server's own rule for precision is finer. */
	if (out->typed && out->type.kind == TDS_NUMERIC)
		set_type(out, (struct tds_type){ TDS_NUMERIC, 0, 38, out->type.scale < 6 ? 6 : out->type.scale });
	out->name = out->variable = NULL;
}

static bool
parse_product(struct parser *p, struct expression *out)
{
	struct expression right;

	if (!parse_unary(p, out))
		return false;
	while (at_sign(p, "*") || at_sign(p, "/") || at_sign(p, "%")) {
		char sign = peek(p)->text[0];

		p->at++;
		if (!want_value(p, out) || !parse_unary(p, &right) || !want_value(p, &right))
			return false;
		out->sql = sign == '*' ? talloc_asprintf(p->parent, "(%s * %s)", out->sql, right.sql)
		                       : talloc_asprintf(p->parent, "tsql_%s(%s, %s)", sign == '/' ? "div" : "mod",
		                                         out->sql, right.sql);
		type_of_arithmetic(out, &right);
	}
	return true;
}

static bool
parse_sum(struct parser *p, struct expression *out)
{
	struct expression right;

	if (!parse_product(p, out))
		return false;
	while (at_sign(p, "+") || at_sign(p, "-") || at_sign(p, "&") || at_sign(p, "|")) {
		char sign = peek(p)->text[0];

		p->at++;
		if (!want_value(p, out) || !parse_product(p, &right) || !want_value(p, &right))
			return false;
		if (sign == '+' && !(is_number(out) && is_number(&right)))
			out->sql = talloc_asprintf(p->parent, "tsql_add(%s, %s)", out->sql, right.sql);
		else
			out->sql = talloc_asprintf(p->parent, "(%s %c %s)", out->sql, sign, right.sql);
		if (is_text(out) && is_text(&right))
			set_type(out, as_text);
		type_of_arithmetic(out, &right);
	}
	return true;
}

/* ---- conditions -------------------------------------------------------------------------- */

static void
make_condition(struct expression *e, const char *sql)
{
	*e = (struct expression){ .sql = sql, .is_condition = true };
}

static bool
parse_in(struct parser *p, struct expression *out, const char *not)
{
	struct tsql_sql query;
	struct expression first;
	const char *list;
	int n;

	if (!expect_sign(p, "("))
		return false;
	if (at_word(p, "select")) {
		if (!parse_subquery(p, &query) || !expect_sign(p, ")"))
			return false;
		list = query.text;
	} else if (!parse_arguments(p, &list, &first, &n) || (n == 0 && !syntax_error(p))) {
		return false;
	}
	make_condition(out, talloc_asprintf(p->parent, "(%s COLLATE SQL %sIN (%s))", out->sql, not, list));
	return true;
}

static bool
parse_like(struct parser *p, struct expression *out, const char *not)
{
	struct expression pattern, escape = { .sql = "''" };

	if (!parse_sum(p, &pattern) || (accept_word(p, "escape") && !parse_sum(p, &escape)))
		return false;
	make_condition(out, talloc_asprintf(p->parent, "(%s tsql_like(%s, %s, %s))", not, out->sql, pattern.sql,
	                                    escape.sql));
	return true;
}

static bool
parse_between(struct parser *p, struct expression *out, const char *not)
{
	struct expression low, high;

	if (!parse_sum(p, &low) || !expect_word(p, "and") || !parse_sum(p, &high))
		return false;
	make_condition(out, talloc_asprintf(p->parent, "(%s COLLATE SQL %sBETWEEN %s AND %s)", out->sql, not,
	                                    low.sql, high.sql));
	return true;
}

static bool
parse_is(struct parser *p, struct expression *out)
{
	bool not = accept_word(p, "not");

	if (!expect_word(p, "null"))
		return false;
	make_condition(out, talloc_asprintf(p->parent, "(%s IS %sNULL)", out->sql, not ? "NOT " : ""));
	return true;
}

static bool
parse_comparison(struct parser *p, struct expression *out)
{
	static const struct { const char *sign, *sqlite; } signs[] = {
		{ "=", "=" }, { "<>", "<>" }, { "!=", "<>" }, { "<", "<" }, { ">", ">" }, { "<=", "<=" },
		{ ">=", ">=" }, { "!<", ">=" }, { "!>", "<=" },
	};
	struct expression right;

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (!at_sign(p, signs[i].sign))
			continue;
		p->at++;
		if (!parse_sum(p, &right) || !want_value(p, &right))
			return false;
		make_condition(out, talloc_asprintf(p->parent, "(%s COLLATE SQL %s %s)", out->sql,
		                                    signs[i].sqlite, right.sql));
		return true;
	}
	return true;
}

static bool
parse_predicate(struct parser *p, struct expression *out)
{
	struct tsql_sql query;
	const char *not;

	if (accept_word(p, "exists")) {
		if (!expect_sign(p, "(") || !parse_subquery(p, &query) || !expect_sign(p, ")"))
			return false;
		make_condition(out, talloc_asprintf(p->parent, "EXISTS (%s)", query.text));
		return true;
	}
	if (!parse_sum(p, out))
		return false;
	if (out->is_condition)
		return true;
	if (accept_word(p, "is"))
		return parse_is(p, out);
	not = accept_word(p, "not") ? "NOT " : "";
	if (accept_word(p, "in"))
		return parse_in(p, out, not);
	if (accept_word(p, "like"))
		return parse_like(p, out, not);
	if (accept_word(p, "between"))
		return parse_between(p, out, not);
	return *not == '\0' ? parse_comparison(p, out) : syntax_error(p);
}

static bool
parse_not(struct parser *p, struct expression *out)
{
	if (!accept_word(p, "not"))
		return parse_predicate(p, out);
	if (!enter(p) || !parse_not(p, out))
		return false;
	leave(p);
	if (!out->is_condition)
		return syntax_error(p);
	make_condition(out, talloc_asprintf(p->parent, "(NOT %s)", out->sql));
	return true;
}

static bool
parse_and(struct parser *p, struct expression *out)
{
	struct expression right;

	if (!parse_not(p, out))
		return false;
	while (out->is_condition && accept_word(p, "and")) {
		if (!parse_not(p, &right) || (!right.is_condition && !syntax_error(p)))
			return false;
		make_condition(out, talloc_asprintf(p->parent, "(%s AND %s)", out->sql, right.sql));
	}
	return true;
}

static bool
parse_or(struct parser *p, struct expression *out)
{
	struct expression right;

	if (!enter(p) || !parse_and(p, out))
		return false;
	while (out->is_condition && accept_word(p, "or")) {
		if (!parse_and(p, &right) || (!right.is_condition && !syntax_error(p)))
			return false;
		make_condition(out, talloc_asprintf(p->parent, "(%s OR %s)", out->sql, right.sql));
	}
	leave(p);
	return true;
}

bool
parse_expression(struct parser *p, struct expression *out)
{
	return parse_sum(p, out) && want_value(p, out);
}

bool
parse_condition(struct parser *p, struct expression *out)
{
	if (!parse_or(p, out))
		return false;
	if (!out->is_condition)
		return parse_error(p, 4145, "An expression of non-boolean type specified in a context where a "
		                   "condition is expected, near '%.100s'.", peek(p)->text);
	return true;
}
