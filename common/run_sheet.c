#include "common/run_sheet.h"

#include <stdarg.h>
#include <stdio.h>

#include <talloc.h>

#include "common/tsql.h"

struct sheet {
	TALLOC_CTX *mem;
	const struct run_sheet_facts *facts;
	json_t *source;
};

/* A name that is no UTF-8 cannot be said in JSON; it is left out rather than the whole sheet. */
static json_t *
text(const char *s)
{
	json_t *o = s == NULL ? NULL : json_string(s);

	return o == NULL ? json_null() : o;
}

static void
say(struct sheet *s, const char *server, const char *statement, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void
say(struct sheet *s, const char *server, const char *statement, const char *fmt, ...)
{
	va_list ap;
	char *what;

	va_start(ap, fmt);
	what = talloc_vasprintf(s->mem, fmt, ap);
	va_end(ap);
	json_array_append_new(s->source, json_pack("{s:i,s:o,s:o,s:o}", "step", (int)json_array_size(s->source) + 1, "what", text(what), "server",
		text(server), "statement", text(statement)));
}

static void
source_database(struct sheet *s)
{
	const struct run_sheet_facts *f = s->facts;
	const char *name = f->database == NULL ? "the database" : f->database;
	char *recover = f->database == NULL ? NULL : tsql_recovery(s->mem, f->database);
	char *look = f->database == NULL ? NULL : talloc_asprintf(s->mem, "SELECT state_desc FROM sys.databases WHERE name = %s",
		tsql_text(s->mem, f->database));

	if (f->tail_norecovery) {
		say(s, f->server, recover, "bring %s ONLINE again: its last log backup (%s, taken %s) was taken WITH NORECOVERY and left it RESTORING",
		    name, f->tail, f->tail_finished == NULL ? "at an unknown time" : f->tail_finished);
		say(s, f->server, look, "see that %s is ONLINE before anything is switched on", name);
		return;
	}
	say(s, f->server, look, "%s is ONLINE there already, as far as the backups tell (no log taken WITH NORECOVERY has come); see that it is", name);
	say(s, f->server, recover, "only if it says RESTORING: a log was taken WITH NORECOVERY that did not come here; bring it ONLINE");
}

static void
source_services(struct sheet *s)
{
	const struct run_sheet_facts *f = s->facts;

	if (f->agent_url != NULL || f->portal_url != NULL)
		say(s, NULL, NULL, "let names and addresses that were switched point to the old servers again: %s%s%s", f->agent_url == NULL ? "" : f->agent_url,
		    f->agent_url != NULL && f->portal_url != NULL ? ", " : "", f->portal_url == NULL ? "" : f->portal_url);
	else
		say(s, NULL, NULL, "let names and addresses that were switched point to the old servers again");
	say(s, NULL, NULL, "switch the application on, then the processing of e-mail, then integrations");
	say(s, NULL, NULL, "switch the backup jobs on again: they were stopped for the migration");
	say(s, NULL, NULL, "tell the users, and test: agents' application, portal, e-mail in and out");
}

static json_t *
copy(struct sheet *s)
{
	const struct run_sheet_facts *f = s->facts;
	json_t *list = json_array();

	if (f->recovered) {
		json_array_append_new(list, text(talloc_asprintf(s->mem, "%s was recovered here and is kept ONLINE; nothing is done to it, and no further"
			" backup can be restored onto it", f->target_database)));
		json_array_append_new(list, text("keep users and e-mail off it: what is written there does not go back to the source"));
		return list;
	}
	json_array_append_new(list, text(talloc_asprintf(s->mem, "%s is kept RESTORING on every replica; nothing more is restored until it is released",
		f->target_database)));
	json_array_append_new(list, text(talloc_asprintf(s->mem, "it is thrown away only by: landfall migration drop %s --run production --yes --confirm %s",
		f->migration, f->target_database)));
	return list;
}

/* SQL Server makes a new recovery fork whenever a database is recovered WITH RECOVERY (recovery paths, in its documentation). */
static json_t *
later(struct sheet *s)
{
	const struct run_sheet_facts *f = s->facts;
	json_t *list = json_array();

	if (f->recovered) {
		json_array_append_new(list, text("a new attempt begins with a new full backup of the source, in a new migration: this copy is ONLINE and takes"
			" no more backups"));
		return list;
	}
	if (f->tail_norecovery) {
		json_array_append_new(list, text("when the source is recovered it goes on along a new recovery fork; log backups taken after that may not fit this"
			" copy (migration plan then says other-fork)"));
		json_array_append_new(list, text("the sure way: with the source ONLINE take a log backup there first (it closes the old fork and may stay there), then a new full;"
			" send a new full backup and what follows it, and begin the chain again from it"));
		json_array_append_new(list, text("shorter, where it applies: a differential taken then, as long as no other full was taken at the source since the"
			" one that is restored here; the plan says whether it fits"));
	} else {
		json_array_append_new(list, text("the source was not recovered, so its log goes on: the next log backup that follows what is restored here continues"
			" the chain"));
	}
	json_array_append_new(list, text(talloc_asprintf(s->mem, "go on: landfall migration release %s; begin the chain again: landfall migration restart %s;"
		" the cutover has to be said again", f->migration, f->migration)));
	return list;
}

json_t *
run_sheet(const struct run_sheet_facts *f)
{
	struct sheet s = { talloc_new(NULL), f, json_array() };
	json_t *after = json_array(), *o, *lost = json_null();

	if (f->recovered) {
		lost = text("what was written in the hosted copy since RECOVERY is lost to the source: nothing carries it back");
		say(&s, NULL, NULL, "switch off what uses the hosted copy: application, e-mail, integrations");
	}
	source_database(&s);
	source_services(&s);
	for (size_t i = 0; i < f->n_after; i++)
		json_array_append_new(after, text(f->after[i]));
	o = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "schema", "landfall.run_sheet/1", "migration", text(f->migration), "reason", text(f->reason),
		"by", text(f->by), "source", s.source, "copy", copy(&s), "later", later(&s), "after_tail", after, "lost", lost);
	talloc_free(s.mem);
	return o;
}
