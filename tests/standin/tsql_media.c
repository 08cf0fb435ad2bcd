/*
 * BACKUP and RESTORE of T-SQL. What is written is only collected; what it means is the engine's.
 */
#include <string.h>
#include <strings.h>

#include "tests/standin/tsql_parser.h"

/* Name, variable or text. */
static const char *
parse_database(struct parser *p)
{
	const struct tsql_token *t = peek(p);

	if (t->kind != TSQL_VARIABLE)
		return expect_identifier(p);
	p->at++;
	return t->text;
}

/* DISK = 'x' [, DISK = 'y' …] */
static bool
parse_devices(struct parser *p, struct tsql_media *m)
{
	do {
		const struct tsql_token *t;

		if (!expect_word(p, "disk") || !expect_sign(p, "="))
			return false;
		t = peek(p);
		if (t->kind != TSQL_STRING && t->kind != TSQL_VARIABLE)
			return syntax_error(p);
		p->at++;
		if (m->n_devices == 64)
			return parse_error(p, 3205, "Too many backup devices specified for backup or restore; only "
			                   "64 are allowed.");
		m->devices = talloc_realloc(p->parent, m->devices, const char *, m->n_devices + 1);
		/* A file called @x cannot be told from a variable later; nobody names one so. */
		m->devices[m->n_devices++] = t->text;
	} while (accept_sign(p, ","));
	return true;
}

enum { FOR_BACKUP = 1, FOR_RESTORE = 2, FOR_BOTH = 3 };

/* What may stand in WITH. Options that would change what is restored and are not obeyed here are left
 * out on purpose and refused with 155: PARTIAL, CONTINUE_AFTER_ERROR, ENCRYPTION. */
static const struct { const char *name; int where; enum { ALONE, VALUE, MAYBE } takes; } known[] = {
	{ "BLOCKSIZE", FOR_BOTH, VALUE },      { "BUFFERCOUNT", FOR_BOTH, VALUE },
	{ "CHECKSUM", FOR_BOTH, ALONE },       { "COMPRESSION", FOR_BACKUP, ALONE },
	{ "COPY_ONLY", FOR_BACKUP, ALONE },    { "DESCRIPTION", FOR_BACKUP, VALUE },
	{ "DIFFERENTIAL", FOR_BACKUP, ALONE }, { "FILE", FOR_RESTORE, VALUE },
	{ "FORMAT", FOR_BACKUP, ALONE },       { "INIT", FOR_BACKUP, ALONE },
	{ "LOADHISTORY", FOR_RESTORE, ALONE }, { "MAXTRANSFERSIZE", FOR_BOTH, VALUE },
	{ "MEDIANAME", FOR_BOTH, VALUE },      { "NAME", FOR_BACKUP, VALUE },
	{ "NOFORMAT", FOR_BACKUP, ALONE },     { "NOINIT", FOR_BACKUP, ALONE },
	{ "NORECOVERY", FOR_BOTH, ALONE },     { "NOREWIND", FOR_BOTH, ALONE },
	{ "NOSKIP", FOR_BACKUP, ALONE },       { "NOUNLOAD", FOR_BOTH, ALONE },
	{ "NO_CHECKSUM", FOR_BOTH, ALONE },    { "NO_COMPRESSION", FOR_BACKUP, ALONE },
	{ "NO_TRUNCATE", FOR_BACKUP, ALONE },  { "RECOVERY", FOR_RESTORE, ALONE },
	{ "REPLACE", FOR_RESTORE, ALONE },     { "RESTART", FOR_RESTORE, ALONE },
	{ "RESTRICTED_USER", FOR_RESTORE, ALONE }, { "REWIND", FOR_BOTH, ALONE },
	{ "SKIP", FOR_BACKUP, ALONE },         { "STANDBY", FOR_RESTORE, VALUE },
	{ "STATS", FOR_BOTH, MAYBE },          { "STOPAT", FOR_RESTORE, VALUE },
	{ "STOPATMARK", FOR_RESTORE, VALUE },  { "STOPBEFOREMARK", FOR_RESTORE, VALUE },
	{ "STOP_ON_ERROR", FOR_BOTH, ALONE },  { "UNLOAD", FOR_BOTH, ALONE },
};

static bool
parse_move(struct parser *p, struct tsql_media *m)
{
	struct tsql_move move;

	move.logical = expect_text(p);
	if (move.logical == NULL || !expect_word(p, "to"))
		return false;
	move.physical = expect_text(p);
	if (move.physical == NULL)
		return false;
	m->moves = talloc_realloc(p->parent, m->moves, struct tsql_move, m->n_moves + 1);
	m->moves[m->n_moves++] = move;
	return true;
}

static bool
parse_media_option(struct parser *p, struct tsql_media *m, int where)
{
	struct tsql_option o = { 0 };
	const struct tsql_token *t = peek(p);
	size_t i = 0, n = sizeof(known) / sizeof(known[0]);

	if (where == FOR_RESTORE && accept_word(p, "move"))
		return parse_move(p, m);
	while (i < n && (!tsql_is_word(t, known[i].name) || !(known[i].where & where)))
		i++;
	if (i == n)
		return t->kind != TSQL_WORD ? syntax_error(p)
		                            : parse_error(p, 155, "'%.100s' is not a recognized %s option.", t->text,
		                                          where == FOR_BACKUP ? "BACKUP" : "RESTORE");
	p->at++;
	o.name = known[i].name;
	if (known[i].takes != ALONE && (known[i].takes == VALUE || at_sign(p, "="))) {
		if (!expect_sign(p, "="))
			return false;
		t = peek(p);
		if (t->kind != TSQL_STRING && t->kind != TSQL_NUMBER && t->kind != TSQL_VARIABLE)
			return syntax_error(p);
		o.value = t->text;
		o.is_variable = t->kind == TSQL_VARIABLE;
		p->at++;
	}
	m->options = talloc_realloc(p->parent, m->options, struct tsql_option, m->n_options + 1);
	m->options[m->n_options++] = o;
	return true;
}

static bool
parse_verb(struct parser *p, struct tsql_media *m, bool restore)
{
	static const struct { const char *word; enum tsql_restore_verb verb; bool names_database; } verbs[] = {
		{ "database", TSQL_OF_DATABASE, true },      { "log", TSQL_OF_LOG, true },
		{ "headeronly", TSQL_OF_HEADER, false },     { "filelistonly", TSQL_OF_FILELIST, false },
		{ "labelonly", TSQL_OF_LABEL, false },       { "verifyonly", TSQL_OF_VERIFY, false },
	};

	for (size_t i = 0; i < (restore ? sizeof(verbs) / sizeof(verbs[0]) : 2); i++) {
		if (!accept_word(p, verbs[i].word))
			continue;
		m->verb = verbs[i].verb;
		if (!verbs[i].names_database)
			return true;
		m->database = parse_database(p);
		return m->database != NULL;
	}
	return syntax_error(p);
}

bool
parse_media(struct parser *p, struct tsql_statement *st)
{
	bool restore = st->kind == TSQL_RESTORE;
	bool may_lack_devices;
	struct tsql_media *m = talloc_zero(p->parent, struct tsql_media);

	st->media = m;
	if (!parse_verb(p, m, restore))
		return false;
	/* RESTORE DATABASE x [WITH RECOVERY] takes nothing more: it only brings the database up. */
	may_lack_devices = restore && (m->verb == TSQL_OF_DATABASE || m->verb == TSQL_OF_LOG);
	if (accept_word(p, restore ? "from" : "to")) {
		if (!parse_devices(p, m))
			return false;
	} else if (!may_lack_devices) {
		return syntax_error(p);
	}
	if (accept_word(p, "with"))
		do {
			if (!parse_media_option(p, m, restore ? FOR_RESTORE : FOR_BACKUP))
				return false;
		} while (accept_sign(p, ","));
	return true;
}
