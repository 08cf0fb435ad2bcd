/*
 * One step of a plan as the exact batch that one replica is sent: facts in, text out. Pure.
 *
 * The worker that sends it and whoever wants to see it beforehand (migration plan --sql) get it from here, so that
 * what is shown is what is sent.
 */
#ifndef LANDFALL_STATEMENT_H
#define LANDFALL_STATEMENT_H

#include "common/lsn.h"
#include "common/plan.h"

/* A file of the database as the backup lists it. logical is anybody's text. */
struct restore_file { int file_id; char type; const char *logical; };

/* Where on this replica. */
struct statement_place {
	const char *database;              /* its generated name */
	const char *backups;               /* our vault as this server sees it */
	const char *data_path, *log_path;  /* log_path NULL: data_path */
};

/* What the statement rests on besides the step. */
struct statement_facts {
	const char *const *vault_paths;    /* of the set's stripes, in the order of set->files */
	const struct restore_file *files;  /* that the set brings */
	size_t n_files;
	const int *there;                  /* ids of the files that the database has already */
	size_t n_there;
	struct lsn redo;                   /* where the replica stands; null: not known, and a log has no guard then */
};

/*
 * RESTORE … WITH NORECOVERY and its guard: a full only onto nothing, a differential or a log only where the replica stood when it
 * was planned. Each file that is new to the database gets a path of ours.
 */
char *statement_restore(TALLOC_CTX *parent, const struct statement_place *place, const struct plan_step *step,
                        const struct statement_facts *facts);

/* The point of no return, only exactly there. */
char *statement_recovery(TALLOC_CTX *parent, const char *database, struct lsn redo);

/* full, differential or log: the word of a step's kind. */
const char *statement_kind(const struct plan_set *set);

#endif
