/*
 * SELECT, INSERT, UPDATE and DELETE of T-SQL, rewritten for SQLite.
 *
 * TOP becomes LIMIT; every column gets its T-SQL name and what is known of its type; the tables a query
 * names are collected, so that the session can see to rights and to the right database.
 */
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

/* ---- columns of a SELECT ------------------------------------------------------------------ */

struct select_list {
	char *text;
	struct tsql_item *items;
	size_t n;
};

static struct tsql_item *
add_item(struct parser *p, struct select_list *list)
{
	list->items = talloc_realloc(p->parent, list->items, struct tsql_item, list->n + 1);
	list->items[list->n] = (struct tsql_item){ .name = "" };
	return &list->items[list->n++];
}

static void
append_item(struct select_list *list, const char *sql, const char *alias)
{
	list->text = talloc_asprintf_append(list->text, "%s%s%s%s", list->n == 1 ? " " : ", ", sql,
	                                    alias == NULL ? "" : " AS ", alias == NULL ? "" : alias);
}

/* "*" or "t.*" */
static bool
accept_star(struct parser *p, struct select_list *list)
{
	const char *table;

	if (accept_sign(p, "*")) {
		add_item(p, list)->star = true;
		append_item(list, "*", NULL);
		return true;
	}
	if (!tsql_is_sign(peek_at(p, 1), ".") || !tsql_is_sign(peek_at(p, 2), "*"))
		return false;
	table = accept_identifier(p);
	if (table == NULL)
		return false;
	p->at += 2;
	add_item(p, list)->star = true;
	append_item(list, talloc_asprintf(p->parent, "%s.*", quote_name(p->parent, table)), NULL);
	return true;
}

/* The name a column shall have: before (alias = x) or after (x [AS] alias) the expression. */
static bool
parse_alias(struct parser *p, const char **alias)
{
	if (accept_word(p, "as")) {
		*alias = expect_text(p);
		return *alias != NULL;
	}
	if (peek(p)->kind == TSQL_STRING) {
		*alias = peek(p)->text;
		p->at++;
	} else {
		*alias = accept_identifier(p);
	}
	return true;
}

static bool
parse_item(struct parser *p, struct select_list *list)
{
	const char *alias = NULL, *into = NULL;
	struct expression e;
	struct tsql_item *item;

	if (accept_star(p, list))
		return true;
	if (tsql_is_sign(peek_at(p, 1), "=") && peek(p)->kind == TSQL_VARIABLE) {
		struct expression variable;

		if (!parse_expression(p, &variable))
			return false;
		into = variable.variable;
		p->at++;
	} else if (tsql_is_sign(peek_at(p, 1), "=")) {
		alias = expect_text(p);
		if (alias == NULL)
			return false;
		p->at++;
	}
	if (!parse_expression(p, &e) || (alias == NULL && into == NULL && !parse_alias(p, &alias)))
		return false;
	item = add_item(p, list);
	item->name = alias != NULL ? alias : e.name != NULL ? e.name : "";
	item->typed = e.typed;
	item->type = e.type;
	item->like = e.name != NULL ? NULL : e.like; /* a bare column tells its type itself */
	item->variable = e.variable;
	item->into = into;
	append_item(list, e.sql, alias == NULL ? NULL : quote_name(p->parent, alias));
	return true;
}

/* ---- FROM --------------------------------------------------------------------------------- */

/* WITH (NOLOCK, …): locks are not modelled. */
static bool
skip_hints(struct parser *p)
{
	if (!at_word(p, "with") || !tsql_is_sign(peek_at(p, 1), "("))
		return true;
	for (p->at += 2; !at_sign(p, ")"); p->at++)
		if (peek(p)->kind != TSQL_WORD && !at_sign(p, ","))
			return syntax_error(p);
	p->at++;
	return true;
}

static bool
parse_table(struct parser *p, char **text)
{
	const char *alias = NULL;
	struct tsql_sql query;
	struct tsql_name name;

	if (accept_sign(p, "(")) {
		if (!parse_subquery(p, &query) || !expect_sign(p, ")"))
			return false;
		accept_word(p, "as");
		alias = expect_identifier(p);
		if (alias == NULL)
			return false;
		*text = talloc_asprintf_append(*text, "(%s) AS %s", query.text, quote_name(p->parent, alias));
		return true;
	}
	if (!parse_name(p, &name))
		return false;
	*text = talloc_strdup_append(*text, table_text(p, &name));
	if (!skip_hints(p))
		return false;
	if (accept_word(p, "as")) {
		alias = expect_identifier(p);
		if (alias == NULL)
			return false;
	} else {
		alias = accept_identifier(p);
	}
	/* A view written out as a query needs its name back. */
	if (alias == NULL && (*text)[strlen(*text) - 1] == ')')
		alias = name.object;
	if (alias != NULL)
		*text = talloc_asprintf_append(*text, " AS %s", quote_name(p->parent, alias));
	return skip_hints(p);
}

/* JOIN in any of its spellings; NULL when there is none. */
static const char *
accept_join(struct parser *p, bool *needs_on)
{
	static const struct { const char *first, *sqlite; bool outer; } kinds[] = {
		{ "inner", " JOIN ", false }, { "left", " LEFT JOIN ", true }, { "right", " RIGHT JOIN ", true },
		{ "full", " FULL JOIN ", true }, { "cross", " CROSS JOIN ", false },
	};

	*needs_on = true;
	if (accept_word(p, "join"))
		return " JOIN ";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (accept_words(p, kinds[i].first, "join") ||
		    (kinds[i].outer && at_word(p, kinds[i].first) && tsql_is_word(peek_at(p, 1), "outer") &&
		     tsql_is_word(peek_at(p, 2), "join") && (p->at += 3) > 0)) {
			*needs_on = strcmp(kinds[i].first, "cross") != 0;
			return kinds[i].sqlite;
		}
	}
	return NULL;
}

/* CROSS APPLY sys.dm_os_volume_stats(database, file) [AS] s: the one function of its kind here, which is a table in the catalogue. */
static bool
parse_apply(struct parser *p, char **text)
{
	struct expression database, file;
	struct tsql_name name;
	const char *alias;

	if (!parse_name(p, &name) || !expect_sign(p, "("))
		return false;
	if (name.schema == NULL || strcasecmp(name.schema, "sys") != 0 || strcasecmp(name.object, "dm_os_volume_stats") != 0)
		return parse_error(p, 208, "Invalid object name '%s'.", name.object);
	if (!parse_expression(p, &database) || !expect_sign(p, ",") || !parse_expression(p, &file) || !expect_sign(p, ")"))
		return false;
	accept_word(p, "as");
	if ((alias = expect_identifier(p)) == NULL)
		return false;
	alias = quote_name(p->parent, alias);
	*text = talloc_asprintf_append(*text, " JOIN %s AS %s ON %s.database_id = %s AND %s.file_id = %s", table_text(p, &name), alias, alias, database.sql,
	                               alias, file.sql);
	return true;
}

bool
parse_from(struct parser *p, const char **out)
{
	char *text = talloc_strdup(p->parent, " FROM ");
	struct expression on;
	const char *join;
	bool needs_on;

	do {
		if (!parse_table(p, &text))
			return false;
		while (accept_words(p, "cross", "apply"))
			if (!parse_apply(p, &text))
				return false;
		while ((join = accept_join(p, &needs_on)) != NULL) {
			text = talloc_strdup_append(text, join);
			if (!parse_table(p, &text))
				return false;
			if (!needs_on)
				continue;
			if (!expect_word(p, "on") || !parse_condition(p, &on))
				return false;
			text = talloc_asprintf_append(text, " ON %s", on.sql);
		}
		if (at_sign(p, ","))
			text = talloc_strdup_append(text, ", ");
	} while (accept_sign(p, ","));
	*out = text;
	return true;
}

/* ---- SELECT ------------------------------------------------------------------------------- */

static bool
parse_top(struct parser *p, const char **limit)
{
	struct expression e;
	bool parenthesis;

	*limit = NULL;
	if (!accept_word(p, "top"))
		return true;
	parenthesis = accept_sign(p, "(");
	if (parenthesis ? !parse_expression(p, &e) || !expect_sign(p, ")")
	                : peek(p)->kind != TSQL_NUMBER ? !syntax_error(p) : !parse_expression(p, &e))
		return false;
	*limit = e.sql;
	return !at_word(p, "percent") && !(at_word(p, "with") && tsql_is_word(peek_at(p, 1), "ties"))
	               ? true : syntax_error(p);
}

static bool
parse_group(struct parser *p, char **text)
{
	const char *between = " GROUP BY ";
	struct expression e;

	if (accept_words(p, "group", "by")) {
		do {
			if (!parse_expression(p, &e))
				return false;
			*text = talloc_asprintf_append(*text, "%s%s COLLATE SQL", between, e.sql);
			between = ", ";
		} while (accept_sign(p, ","));
	}
	if (accept_word(p, "having")) {
		if (!parse_condition(p, &e))
			return false;
		*text = talloc_asprintf_append(*text, " HAVING %s", e.sql);
	}
	return true;
}

/* One SELECT without UNION and ORDER BY. limit gets what TOP said. */
static bool
parse_select_core(struct parser *p, struct tsql_sql *out, const char **limit)
{
	struct select_list list = { .text = talloc_strdup(p->parent, "SELECT") };
	struct expression where;

	if (!expect_word(p, "select"))
		return false;
	if (accept_word(p, "distinct"))
		list.text = talloc_strdup_append(list.text, " DISTINCT");
	else
		accept_word(p, "all");
	if (!parse_top(p, limit))
		return false;
	do {
		if (!parse_item(p, &list))
			return false;
	} while (accept_sign(p, ","));
	out->from = NULL;
	if (accept_word(p, "from")) {
		if (!parse_from(p, &out->from))
			return false;
		list.text = talloc_strdup_append(list.text, out->from);
	}
	if (accept_word(p, "where")) {
		if (!parse_condition(p, &where))
			return false;
		list.text = talloc_asprintf_append(list.text, " WHERE %s", where.sql);
	}
	if (!parse_group(p, &list.text))
		return false;
	out->text = list.text;
	out->items = list.items;
	out->n_items = list.n;
	return true;
}

static const char *
accept_set_operator(struct parser *p)
{
	if (accept_words(p, "union", "all"))
		return " UNION ALL ";
	if (accept_word(p, "union"))
		return " UNION ";
	if (accept_word(p, "except"))
		return " EXCEPT ";
	return accept_word(p, "intersect") ? " INTERSECT " : NULL;
}

static bool
parse_order(struct parser *p, char **text)
{
	const char *between = " ORDER BY ";
	struct expression e;

	do {
		bool position = peek(p)->kind == TSQL_NUMBER;

		if (!parse_expression(p, &e))
			return false;
		*text = talloc_asprintf_append(*text, "%s%s%s", between, e.sql, position ? "" : " COLLATE SQL");
		if (accept_word(p, "desc"))
			*text = talloc_strdup_append(*text, " DESC");
		else
			accept_word(p, "asc");
		between = ", ";
	} while (accept_sign(p, ","));
	return true;
}

/* OFFSET n ROWS [FETCH NEXT m ROWS ONLY] */
static bool
parse_offset(struct parser *p, char **text)
{
	struct expression offset, fetch = { .sql = "-1" };

	if (!accept_word(p, "offset"))
		return true;
	if (!parse_expression(p, &offset) || !(accept_word(p, "rows") || expect_word(p, "row")))
		return false;
	if (accept_word(p, "fetch")) {
		if (!accept_word(p, "next") && !expect_word(p, "first"))
			return false;
		if (!parse_expression(p, &fetch) || !(accept_word(p, "rows") || expect_word(p, "row")) ||
		    !expect_word(p, "only"))
			return false;
	}
	*text = talloc_asprintf_append(*text, " LIMIT %s OFFSET %s", fetch.sql, offset.sql);
	return true;
}

/* One side of a UNION: a SELECT, with its TOP kept inside. */
static bool
parse_operand(struct parser *p, struct tsql_sql *out, const char **limit)
{
	if (!accept_sign(p, "("))
		return parse_select_core(p, out, limit);
	*limit = NULL;
	if (!parse_subquery(p, out) || !expect_sign(p, ")"))
		return false;
	out->text = talloc_asprintf(p->parent, "SELECT * FROM (%s)", out->text);
	return true;
}

bool
parse_subquery(struct parser *p, struct tsql_sql *out)
{
	const char *limit, *operator;
	struct tsql_sql right;
	char *text;

	if (!enter(p) || !parse_operand(p, out, &limit))
		return false;
	text = talloc_strdup(p->parent, out->text);
	while ((operator = accept_set_operator(p)) != NULL) {
		if (limit != NULL)
			text = talloc_asprintf(p->parent, "SELECT * FROM (%s LIMIT %s)", text, limit);
		if (!parse_operand(p, &right, &limit))
			return false;
		if (limit != NULL)
			right.text = talloc_asprintf(p->parent, "SELECT * FROM (%s LIMIT %s)", right.text, limit);
		limit = NULL;
		text = talloc_asprintf_append(text, "%s%s", operator, right.text);
	}
	if (accept_words(p, "order", "by") && (!parse_order(p, &text) || !parse_offset(p, &text)))
		return false;
	if (limit != NULL)
		text = talloc_asprintf_append(text, " LIMIT %s", limit);
	out->text = text;
	leave(p);
	return true;
}

/* WITH a [(x, y)] AS (…), b AS (…) */
static bool
parse_ctes(struct parser *p, char **text)
{
	const char *between = "WITH ", *name, *column;
	struct tsql_sql query;

	do {
		name = expect_identifier(p);
		if (name == NULL)
			return false;
		*text = talloc_asprintf_append(*text, "%s%s", between, quote_name(p->parent, name));
		for (between = "("; accept_sign(p, *between == '(' ? "(" : ","); between = ", ") {
			column = expect_identifier(p);
			if (column == NULL)
				return false;
			*text = talloc_asprintf_append(*text, "%s%s", between, quote_name(p->parent, column));
		}
		if (*between == ',') {
			if (!expect_sign(p, ")"))
				return false;
			*text = talloc_strdup_append(*text, ")");
		}
		if (!expect_word(p, "as") || !expect_sign(p, "("))
			return false;
		p->ctes = talloc_realloc(p->parent, p->ctes, const char *, p->n_ctes + 1);
		p->ctes[p->n_ctes++] = name; /* before its body: it may name itself */
		if (!parse_subquery(p, &query) || !expect_sign(p, ")"))
			return false;
		*text = talloc_asprintf_append(*text, " AS (%s)", query.text);
		between = ", ";
	} while (accept_sign(p, ","));
	*text = talloc_strdup_append(*text, " ");
	return true;
}

/* FOR …, OPTION (…) and INTO are not spoken; OPTION's hints change no result and are skipped. */
static bool
skip_option(struct parser *p)
{
	if (!accept_word(p, "option"))
		return true;
	if (!expect_sign(p, "("))
		return false;
	while (!at_sign(p, ")"))
		if (peek(p)->kind == TSQL_END)
			return syntax_error(p);
		else
			p->at++;
	p->at++;
	return true;
}

static void
begin_tables(struct parser *p)
{
	p->tables = NULL;
	p->n_tables = p->n_ctes = 0;
}

static void
end_tables(struct parser *p, struct tsql_sql *sql)
{
	sql->tables = p->tables;
	sql->n_tables = p->n_tables;
}

bool
parse_query(struct parser *p, struct tsql_sql *out)
{
	char *with = talloc_strdup(p->parent, "");

	*out = (struct tsql_sql){ 0 };
	begin_tables(p);
	if (accept_word(p, "with") && !parse_ctes(p, &with))
		return false;
	if (!parse_subquery(p, out) || !skip_option(p))
		return false;
	out->text = talloc_asprintf(p->parent, "%s%s", with, out->text);
	if (*with != '\0' && out->from != NULL)
		out->from = NULL; /* types cannot be looked up without the WITH */
	end_tables(p, out);
	return true;
}

bool
parse_value_query(struct parser *p, struct tsql_sql *out, const char **variable)
{
	struct expression e;

	*out = (struct tsql_sql){ .n_items = 1, .items = talloc_zero(p->parent, struct tsql_item) };
	begin_tables(p);
	if (!parse_expression(p, &e))
		return false;
	if (variable != NULL)
		*variable = e.variable;
	out->items[0] = (struct tsql_item){ .name = "", .typed = e.typed, .type = e.type };
	out->text = talloc_asprintf(p->parent, "SELECT %s", e.sql);
	end_tables(p, out);
	return true;
}

/* ---- changes ------------------------------------------------------------------------------ */

static const char **
add_text(struct parser *p, const char **list, size_t *n, const char *text)
{
	list = talloc_realloc(p->parent, list, const char *, *n + 1);
	list[(*n)++] = text;
	return list;
}

static bool
parse_column_list(struct parser *p, struct tsql_statement *st)
{
	do {
		const char *column = expect_identifier(p);

		if (column == NULL)
			return false;
		st->columns = add_text(p, st->columns, &st->n_columns, column);
	} while (accept_sign(p, ","));
	return expect_sign(p, ")");
}

static bool
parse_row(struct parser *p, struct tsql_statement *st)
{
	const char **row = NULL;
	size_t n = 0;
	struct expression e;

	if (!expect_sign(p, "("))
		return false;
	do {
		if (accept_word(p, "default"))
			e.sql = NULL; /* the column's default, filled in when the table is known */
		else if (!parse_expression(p, &e))
			return false;
		row = add_text(p, row, &n, e.sql);
	} while (accept_sign(p, ","));
	if (st->n_rows > 0 && n != st->row_width)
		return parse_error(p, 10709, "The number of columns for each row in a table value constructor "
		                   "must be the same.");
	st->row_width = n;
	st->rows = talloc_realloc(p->parent, st->rows, const char **, st->n_rows + 1);
	st->rows[st->n_rows++] = row;
	return expect_sign(p, ")");
}

bool
parse_insert(struct parser *p, struct tsql_statement *st)
{
	accept_word(p, "into");
	begin_tables(p);
	if (!parse_name(p, &st->name) || !skip_hints(p))
		return false;
	if (at_sign(p, "(") && !tsql_is_word(peek_at(p, 1), "select")) {
		p->at++;
		if (!parse_column_list(p, st))
			return false;
	}
	if (accept_words(p, "default", "values"))
		return true;
	if (at_word(p, "select") || at_word(p, "with") || at_sign(p, "("))
		return parse_query(p, &st->sql);
	if (!expect_word(p, "values"))
		return false;
	do {
		if (!parse_row(p, st))
			return false;
		if (st->n_rows > 1000)
			return parse_error(p, 10738, "The number of row value expressions in the INSERT statement "
			                   "exceeds the maximum allowed number of 1000 row values.");
	} while (accept_sign(p, ","));
	end_tables(p, &st->sql);
	return true;
}

static bool
parse_set_clause(struct parser *p, struct tsql_statement *st)
{
	static const char *const signs[] = { "=", "+=", "-=", "*=", "/=" };
	struct tsql_name column;
	struct expression e;

	if (!parse_name(p, &column))
		return false;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		const char *own = quote_name(p->parent, column.object), *value;

		if (!accept_sign(p, signs[i]))
			continue;
		if (!parse_expression(p, &e))
			return false;
		switch (i) {
		case 0: value = e.sql; break;
		case 1: value = talloc_asprintf(p->parent, "tsql_add(%s, %s)", own, e.sql); break;
		case 2: value = talloc_asprintf(p->parent, "(%s - %s)", own, e.sql); break;
		case 3: value = talloc_asprintf(p->parent, "(%s * %s)", own, e.sql); break;
		default: value = talloc_asprintf(p->parent, "tsql_div(%s, %s)", own, e.sql); break;
		}
		st->sets = talloc_realloc(p->parent, st->sets, struct tsql_set, st->n_sets + 1);
		st->sets[st->n_sets++] = (struct tsql_set){ column.object, value };
		return true;
	}
	return syntax_error(p);
}

static bool
parse_where(struct parser *p, struct tsql_statement *st)
{
	struct expression e;

	st->where = "";
	if (accept_word(p, "where")) {
		if (!parse_condition(p, &e))
			return false;
		st->where = talloc_asprintf(p->parent, " WHERE %s", e.sql);
	}
	end_tables(p, &st->sql);
	return skip_option(p);
}

bool
parse_update(struct parser *p, struct tsql_statement *st)
{
	begin_tables(p);
	if (!parse_name(p, &st->name) || !skip_hints(p) || !expect_word(p, "set"))
		return false;
	do {
		if (!parse_set_clause(p, st))
			return false;
	} while (accept_sign(p, ","));
	return parse_where(p, st);
}

bool
parse_delete(struct parser *p, struct tsql_statement *st)
{
	accept_word(p, "from");
	begin_tables(p);
	return parse_name(p, &st->name) && skip_hints(p) && parse_where(p, st);
}
