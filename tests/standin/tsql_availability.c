/*
 * CREATE, ALTER and DROP AVAILABILITY GROUP. The word of the statement says which; name.object is the group.
 */
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

/* ENDPOINT_URL = N'…', SEEDING_MODE = AUTOMATIC …: what changes nothing here is read and left. */
static bool
parse_replica_option(struct parser *p, struct tsql_replica *r)
{
	const char *name = accept_identifier(p), *value;

	if (name == NULL)
		return syntax_error(p);
	if (accept_sign(p, "(")) { /* SECONDARY_ROLE (ALLOW_CONNECTIONS = NO) */
		bool good = enter(p) && parse_replica_option(p, r) && expect_sign(p, ")");

		leave(p);
		return good;
	}
	if (!expect_sign(p, "="))
		return false;
	value = peek(p)->text;
	p->at++;
	if (strcasecmp(name, "ENDPOINT_URL") == 0)
		r->endpoint = value;
	else if (strcasecmp(name, "SEEDING_MODE") == 0) {
		r->says_seeding = true;
		r->automatic_seeding = strcasecmp(value, "AUTOMATIC") == 0;
	} else if (strcasecmp(name, "AVAILABILITY_MODE") == 0)
		r->asynchronous = strcasecmp(value, "ASYNCHRONOUS_COMMIT") == 0;
	return true;
}

static bool
parse_replica(struct parser *p, struct tsql_statement *st)
{
	struct tsql_replica *r;

	st->replicas = talloc_realloc(p->parent, st->replicas, struct tsql_replica, st->n_replicas + 1);
	r = &st->replicas[st->n_replicas++];
	*r = (struct tsql_replica){ .server = expect_text(p) };
	if (r->server == NULL || !expect_word(p, "with") || !expect_sign(p, "("))
		return false;
	do {
		if (!parse_replica_option(p, r))
			return false;
	} while (accept_sign(p, ","));
	return expect_sign(p, ")");
}

static bool
parse_replicas(struct parser *p, struct tsql_statement *st)
{
	if (!expect_word(p, "replica") || !expect_word(p, "on"))
		return false;
	do {
		if (!parse_replica(p, st))
			return false;
	} while (accept_sign(p, ","));
	return true;
}

bool
parse_create_availability(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_AVAILABILITY;
	st->word = "create";
	st->name.object = expect_identifier(p);
	if (st->name.object == NULL)
		return false;
	if (accept_word(p, "with")) {
		struct tsql_replica nothing;

		if (!expect_sign(p, "("))
			return false;
		do {
			if (!parse_replica_option(p, &nothing))
				return false;
		} while (accept_sign(p, ","));
		if (!expect_sign(p, ")"))
			return false;
	}
	if (!expect_word(p, "for"))
		return false;
	if (accept_word(p, "database") && (st->principal = expect_identifier(p)) == NULL)
		return false;
	return parse_replicas(p, st);
}

bool
parse_alter_availability(struct parser *p, struct tsql_statement *st)
{
	static const struct { const char *first, *second, *third; bool names_database; } verbs[] = {
		{ "join", NULL, NULL, false }, { "grant", "create", "any", false }, { "add", "database", NULL, true },
		{ "remove", "database", NULL, true }, { "failover", NULL, NULL, false }, { "force_failover_allow_data_loss", NULL, NULL, false },
		{ "modify", NULL, NULL, false },
	};

	st->kind = TSQL_AVAILABILITY;
	st->name.object = expect_identifier(p);
	if (st->name.object == NULL)
		return false;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!accept_word(p, verbs[i].first))
			continue;
		st->word = verbs[i].first;
		if (verbs[i].second != NULL && !expect_word(p, verbs[i].second))
			return false;
		if (verbs[i].third != NULL)
			return expect_word(p, verbs[i].third) && expect_word(p, "database");
		if (strcmp(st->word, "modify") == 0)
			return parse_replicas(p, st);
		return !verbs[i].names_database || (st->principal = expect_identifier(p)) != NULL;
	}
	return syntax_error(p);
}

bool
parse_drop_availability(struct parser *p, struct tsql_statement *st)
{
	st->kind = TSQL_AVAILABILITY;
	st->word = "drop";
	st->name.object = expect_identifier(p);
	return st->name.object != NULL;
}
