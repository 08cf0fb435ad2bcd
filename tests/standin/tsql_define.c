/*
 * CREATE, ALTER, DROP, GRANT and the switching of triggers.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

static char *
upper(struct parser *p, const char *text)
{
	char *out = talloc_strdup(p->parent, text);

	for (char *c = out; *c != '\0'; c++)
		*c = (char)toupper((unsigned char)*c);
	return out;
}

static struct tsql_option *
add_option(struct parser *p, struct tsql_statement *st)
{
	st->options = talloc_realloc(p->parent, st->options, struct tsql_option, st->n_options + 1);
	st->options[st->n_options] = (struct tsql_option){ 0 };
	return &st->options[st->n_options++];
}

static bool
parse_principal(struct parser *p, const char **out)
{
	*out = expect_identifier(p);
	return *out != NULL;
}

/* ---- tables -------------------------------------------------------------------------------- */

/* A default is kept in the file's schema, which is read where none of our functions exist: the few that
 * defaults use are written with SQLite's own. */
static const char *
default_text(struct parser *p, const char *sql)
{
	static const struct { const char *ours, *theirs; } own[] = {
		{ "tsql_getdate()", "strftime('%Y-%m-%d %H:%M:%f', 'now')" },
		{ "tsql_sysutcdatetime()", "strftime('%Y-%m-%d %H:%M:%f', 'now')" },
		{ "tsql_newid()", "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || "
		  "substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || "
		  "hex(randomblob(6)))" },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		const char *at = strstr(sql, own[i].ours);

		if (at != NULL)
			sql = talloc_asprintf(p->parent, "%.*s%s%s", (int)(at - sql), sql, own[i].theirs,
			                      at + strlen(own[i].ours));
	}
	if (strstr(sql, "tsql_") != NULL) {
		parse_error(p, 128, "The default is not one of those this server keeps.");
		return NULL;
	}
	return talloc_asprintf(p->parent, "(%s)", sql);
}

static bool
skip_clustered(struct parser *p)
{
	return accept_word(p, "clustered") || accept_word(p, "nonclustered");
}

/* (a [ASC|DESC], b …) */
static bool
parse_key(struct parser *p, const char ***columns, size_t *n)
{
	if (!expect_sign(p, "("))
		return false;
	do {
		const char *column = expect_identifier(p);

		if (column == NULL)
			return false;
		*columns = talloc_realloc(p->parent, *columns, const char *, *n + 1);
		(*columns)[(*n)++] = column;
		if (!accept_word(p, "desc"))
			accept_word(p, "asc");
	} while (accept_sign(p, ","));
	return expect_sign(p, ")");
}

static bool
parse_column_property(struct parser *p, struct tsql_column_def *def, bool *any)
{
	struct expression e;

	*any = true;
	if (accept_word(p, "constraint"))
		return expect_identifier(p) != NULL;
	if (accept_words(p, "not", "null"))
		def->not_null = true;
	else if (accept_word(p, "null"))
		return true;
	else if (accept_words(p, "primary", "key"))
		def->primary_key = (skip_clustered(p), true);
	else if (accept_word(p, "unique"))
		def->unique = (skip_clustered(p), true);
	else if (accept_word(p, "collate"))
		return expect_identifier(p) != NULL;
	else if (accept_word(p, "default")) {
		if (!parse_expression(p, &e))
			return false;
		def->standard = default_text(p, e.sql);
		return def->standard != NULL;
	} else if (accept_word(p, "identity")) {
		def->identity = true;
		if (!accept_sign(p, "("))
			return true;
		/* Counting starts where SQLite starts it: any other seed is refused. */
		if (strcmp(peek(p)->text, "1") != 0 || strcmp(peek_at(p, 2)->text, "1") != 0)
			return syntax_error(p);
		p->at += 3;
		return expect_sign(p, ")");
	} else {
		*any = false;
	}
	return true;
}

static bool
parse_column_def(struct parser *p, struct tsql_statement *st)
{
	struct tsql_column_def def = { 0 };
	struct tds_type type;
	bool any = true;

	def.name = expect_identifier(p);
	if (def.name == NULL)
		return false;
	def.type = parse_type(p, &type);
	while (def.type != NULL && any)
		if (!parse_column_property(p, &def, &any))
			return false;
	if (def.type == NULL)
		return false;
	st->defs = talloc_realloc(p->parent, st->defs, struct tsql_column_def, st->n_defs + 1);
	st->defs[st->n_defs++] = def;
	return true;
}

static bool
parse_table_element(struct parser *p, struct tsql_statement *st)
{
	if (accept_word(p, "constraint") && expect_identifier(p) == NULL)
		return false;
	if (accept_words(p, "primary", "key")) {
		skip_clustered(p);
		return parse_key(p, &st->key, &st->n_key);
	}
	return parse_column_def(p, st);
}

static bool
parse_create_table(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_CREATE_TABLE;
	if (!parse_name(p, &st->name) || !expect_sign(p, "("))
		return false;
	do {
		if (at_sign(p, ")"))
			break; /* a comma before the end is accepted */
		if (!parse_table_element(p, st))
			return false;
	} while (accept_sign(p, ","));
	if (!expect_sign(p, ")"))
		return false;
	for (size_t i = 0; i < st->n_defs && st->n_key == 0; i++)
		if (st->defs[i].primary_key) {
			st->key = talloc_array(p->parent, const char *, 1);
			st->key[st->n_key++] = st->defs[i].name;
		}
	if (st->n_key == 0)
		return parse_error(p, 50000, "This server keeps no table without a primary key.");
	return true;
}

static bool
parse_create_index(struct parser *p, struct tsql_statement *st, bool unique)
{
	struct tsql_name table;

	st->kind = TSQL_CREATE_INDEX;
	st->unique = unique;
	st->word = expect_identifier(p);
	if (st->word == NULL || !expect_word(p, "on") || !parse_name(p, &table))
		return false;
	st->name = table;
	return parse_key(p, &st->columns, &st->n_columns);
}

/* ---- log-ins and users ---------------------------------------------------------------------- */

/* "a = b, c = d"; PASSWORD goes to st->secret. */
static bool
parse_login_options(struct parser *p, struct tsql_statement *st)
{
	do {
		const char *name = expect_identifier(p);
		const struct tsql_token *value;

		if (name == NULL || !expect_sign(p, "="))
			return false;
		value = peek(p);
		if (value->kind == TSQL_END)
			return syntax_error(p);
		p->at++;
		if (strcasecmp(name, "password") == 0) {
			if (value->kind != TSQL_STRING)
				return syntax_error(p);
			st->secret = value->text;
		} else {
			struct tsql_option *o = add_option(p, st);

			o->name = upper(p, name);
			o->value = value->text;
		}
	} while (accept_sign(p, ","));
	return true;
}

static bool
parse_create_login(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_CREATE_LOGIN;
	return parse_principal(p, &st->name.object) && expect_word(p, "with") && parse_login_options(p, st) &&
	       (st->secret != NULL || syntax_error(p));
}

static bool
parse_alter_login(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_ALTER_LOGIN;
	if (!parse_principal(p, &st->name.object))
		return false;
	st->word = at_word(p, "enable") ? "ENABLE" : at_word(p, "disable") ? "DISABLE" : NULL;
	if (accept_word(p, "enable") || accept_word(p, "disable"))
		return true;
	return expect_word(p, "with") && parse_login_options(p, st);
}

static bool
parse_create_user(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_CREATE_USER;
	if (!parse_principal(p, &st->name.object))
		return false;
	if (accept_words(p, "without", "login"))
		return true;
	st->principal = st->name.object;
	if (!accept_word(p, "for") && !accept_word(p, "from"))
		return true;
	return expect_word(p, "login") && parse_principal(p, &st->principal);
}

static bool
parse_alter_user(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_ALTER_USER;
	return parse_principal(p, &st->name.object) && expect_word(p, "with") && expect_word(p, "login") &&
	       expect_sign(p, "=") && parse_principal(p, &st->principal);
}

/* [DATABASE|SCHEMA|OBJECT ::] name; st->word gets the class, "" when none was given. */
static bool
parse_securable(struct parser *p, struct tsql_name *name, const char **class)
{
	*class = "";
	if (tsql_is_sign(peek_at(p, 1), "::")) {
		*class = upper(p, peek(p)->text);
		p->at += 2;
	}
	return parse_name(p, name);
}

static bool
parse_authorization(struct parser *p, struct tsql_statement *st)
{
	const char *class;

	st->kind = TSQL_AUTHORIZATION;
	if (!expect_word(p, "on") || !parse_securable(p, &st->name, &class))
		return false;
	if (strcmp(class, "DATABASE") != 0)
		return syntax_error(p);
	return expect_word(p, "to") && parse_principal(p, &st->principal);
}

/* ALTER [SERVER] ROLE r ADD MEMBER x */
static bool
parse_role(struct parser *p, struct tsql_statement *st, bool server)
{
	st->kind = TSQL_ROLE_MEMBER;
	st->all = server;
	st->word = expect_identifier(p);
	if (st->word == NULL)
		return false;
	if (accept_word(p, "drop"))
		st->if_exists = true; /* here: takes away */
	else if (!expect_word(p, "add"))
		return false;
	return expect_word(p, "member") && parse_principal(p, &st->principal);
}

/* SELECT, VIEW DEFINITION ON DATABASE::x TO u */
bool
parse_grant(struct parser *p, struct tsql_statement *st)
{
	char *all = talloc_strdup(p->parent, "");
	const char *class;

	do {
		all = talloc_strdup_append(all, *all == '\0' ? "" : ",");
		while (peek(p)->kind == TSQL_WORD && !at_word(p, "on") && !at_word(p, "to") && !at_word(p, "from")) {
			all = talloc_asprintf_append(all, "%s%s", *all == '\0' || all[strlen(all) - 1] == ',' ? "" : " ",
			                             upper(p, peek(p)->text));
			p->at++;
		}
	} while (accept_sign(p, ","));
	if (*all == '\0')
		return syntax_error(p);
	st->word = all;
	st->text = "DATABASE";
	if (accept_word(p, "on")) {
		if (!parse_securable(p, &st->name, &class))
			return false;
		st->text = *class == '\0' ? "OBJECT" : class;
	}
	if (!accept_word(p, "to") && !(st->kind == TSQL_REVOKE && accept_word(p, "from")))
		return syntax_error(p);
	return parse_principal(p, &st->principal);
}

/* ---- databases ------------------------------------------------------------------------------- */

static bool
parse_create_database(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_CREATE_DATABASE;
	if (!parse_principal(p, &st->name.object))
		return false;
	return !accept_word(p, "collate") || expect_identifier(p) != NULL;
}

/* One of SET's options: a word and perhaps a value, with or without "=". */
static bool
parse_database_option(struct parser *p, struct tsql_statement *st)
{
	struct tsql_option *o = add_option(p, st);
	const struct tsql_token *t = peek(p);

	if (t->kind != TSQL_WORD || at_word(p, "with"))
		return syntax_error(p);
	p->at++;
	o->name = upper(p, t->text);
	if (strcmp(o->name, "PARTNER") == 0)
		return parse_error(p, 102, "Incorrect syntax near '%s'.", t->text); /* there is no mirroring here */
	if (strcmp(o->name, "HADR") == 0) {
		if (accept_word(p, "off"))
			return true;
		return accept_words(p, "availability", "group") && expect_sign(p, "=") && (o->value = expect_identifier(p)) != NULL ? true : syntax_error(p);
	}
	accept_sign(p, "=");
	t = peek(p);
	if ((t->kind == TSQL_WORD && !at_word(p, "with") && !at_word(p, "select")) || t->kind == TSQL_NUMBER ||
	    t->kind == TSQL_STRING) {
		o->value = upper(p, t->text);
		p->at++;
	}
	return true;
}

static bool
parse_alter_database(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_ALTER_DATABASE;
	if (!accept_word(p, "current") && !parse_principal(p, &st->name.object))
		return false;
	if (!expect_word(p, "set"))
		return false;
	do {
		if (!parse_database_option(p, st))
			return false;
	} while (accept_sign(p, ","));
	if (!accept_word(p, "with"))
		return true;
	if (accept_word(p, "no_wait") || accept_words(p, "rollback", "immediate"))
		return true;
	if (!accept_words(p, "rollback", "after") || peek(p)->kind != TSQL_NUMBER)
		return syntax_error(p);
	p->at++;
	accept_word(p, "seconds");
	return true;
}

/* ---- triggers -------------------------------------------------------------------------------- */

/* ON DATABASE | ON ALL SERVER: triggers on tables are not spoken. */
static bool
parse_trigger_place(struct parser *p, struct tsql_statement *st)
{
	if (!expect_word(p, "on"))
		return false;
	if (accept_words(p, "all", "server")) {
		st->all = true;
		return true;
	}
	return expect_word(p, "database");
}

static bool
parse_create_trigger(struct parser *p, struct tsql_statement *st)
{
	struct tsql_statement *body;
	struct parser inner;
	char *events = talloc_strdup(p->parent, "");
	int line;

	st->kind = TSQL_CREATE_TRIGGER;
	if (!parse_name(p, &st->name) || !parse_trigger_place(p, st))
		return false;
	if (!accept_word(p, "for") && !expect_word(p, "after"))
		return false;
	do {
		const char *event = expect_identifier(p);

		if (event == NULL)
			return false;
		events = talloc_asprintf_append(events, "%s%s", *events == '\0' ? "" : ",", upper(p, event));
	} while (accept_sign(p, ","));
	if (!expect_word(p, "as"))
		return false;
	/* The body is the rest of the batch. It is read now so that it cannot fail to be read later. */
	st->word = events;
	st->text = talloc_strdup(p->parent, p->batch + peek(p)->from);
	inner = *p;
	if (!tsql_parse(p->parent, st->text, &body, &line, p->err)) {
		p->error_line = inner.tokens.at[inner.at].line + line - 1;
		return false;
	}
	if (body == NULL)
		return syntax_error(p);
	p->at = p->tokens.n;
	return true;
}

bool
parse_trigger_switch(struct parser *p, struct tsql_statement *st)
{
	p->at++; /* TRIGGER */
	if (!accept_word(p, "all")) {
		if (!parse_name(p, &st->name))
			return false;
		if (at_sign(p, ","))
			return syntax_error(p);
	}
	return parse_trigger_place(p, st);
}

/* ---- the three words ---------------------------------------------------------------------------- */

bool
parse_create(struct parser *p, struct tsql_statement *st)
{
	bool unique;

	if (accept_words(p, "availability", "group"))
		return parse_create_availability(p, st);
	if (accept_word(p, "database"))
		return parse_create_database(p, st);
	if (accept_word(p, "table"))
		return parse_create_table(p, st);
	if (accept_word(p, "login"))
		return parse_create_login(p, st);
	if (accept_word(p, "user"))
		return parse_create_user(p, st);
	if (at_word(p, "trigger")) {
		if (p->at > 1)
			return parse_error(p, 111, "'CREATE TRIGGER' must be the first statement in a query batch.");
		p->at++;
		return parse_create_trigger(p, st);
	}
	unique = accept_word(p, "unique");
	skip_clustered(p);
	return accept_word(p, "index") ? parse_create_index(p, st, unique) : syntax_error(p);
}

bool
parse_alter(struct parser *p, struct tsql_statement *st)
{
	if (accept_words(p, "availability", "group"))
		return parse_alter_availability(p, st);
	if (accept_word(p, "database"))
		return parse_alter_database(p, st);
	if (accept_word(p, "login"))
		return parse_alter_login(p, st);
	if (accept_word(p, "user"))
		return parse_alter_user(p, st);
	if (accept_word(p, "authorization"))
		return parse_authorization(p, st);
	if (accept_words(p, "server", "role"))
		return parse_role(p, st, true);
	if (accept_word(p, "role"))
		return parse_role(p, st, false);
	if (!expect_word(p, "table"))
		return false;
	st->kind = TSQL_ADD_COLUMN;
	return parse_name(p, &st->name) && expect_word(p, "add") && parse_column_def(p, st);
}

bool
parse_drop(struct parser *p, struct tsql_statement *st)
{
	static const struct { const char *word; enum tsql_kind kind; } kinds[] = {
		{ "database", TSQL_DROP_DATABASE }, { "table", TSQL_DROP_TABLE }, { "login", TSQL_DROP_LOGIN },
		{ "user", TSQL_DROP_USER }, { "trigger", TSQL_DROP_TRIGGER },
	};

	if (accept_words(p, "availability", "group"))
		return parse_drop_availability(p, st);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!accept_word(p, kinds[i].word))
			continue;
		st->kind = kinds[i].kind;
		st->if_exists = accept_words(p, "if", "exists");
		if (!parse_name(p, &st->name))
			return false;
		return st->kind != TSQL_DROP_TRIGGER || parse_trigger_place(p, st);
	}
	return syntax_error(p);
}
