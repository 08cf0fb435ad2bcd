/*
 * The run sheet of a backout: what to switch on at the source, in order, and what becomes of the hosted copy. Pure.
 *
 * Names come from backup headers: quoted in the statements, and as they are everywhere else; whoever shows them
 * escapes them for the place.
 */
#ifndef LANDFALL_RUN_SHEET_H
#define LANDFALL_RUN_SHEET_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct run_sheet_facts {
	const char *migration, *target_database;
	const char *database, *server;       /* at the source; server NULL while no backup has come */
	const char *tail, *tail_finished;    /* the last backup and when it was taken there; NULL: none is known */
	bool tail_norecovery;                /* it put the source's database into RESTORING */
	bool recovered;                      /* RECOVERY was done here, or was begun */
	bool clock;                          /* the downtime was counted */
	const char *agent_url, *portal_url;  /* NULL: not told */
	const char **after;                  /* names of backups that came and reach beyond the tail */
	size_t n_after;
	const char *reason, *by;
};

/*
 * landfall.run_sheet/1: {schema, migration, reason, by, source: [{step, what, server, statement}], copy: [text], later: [text],
 * after_tail: [name], lost: text or null}. statement and server are null where there is nothing to run. A new reference.
 */
json_t *run_sheet(const struct run_sheet_facts *facts);

#endif
