/*
 * What the worker asks Postgres while a recovered run settles into its cluster. See settle.h; writes are under the lease.
 */
#ifndef LANDFALL_ASK_SETTLE_H
#define LANDFALL_ASK_SETTLE_H

#include "common/ask_restore.h"

/* How the acts on one replica stand. Strings are owned by mem; failed NULL: nothing failed, or it has rested. */
struct settle_past {
	bool backed_up, has_log;   /* of the primary */
	int logs;                  /* how often a log backup of it was begun: each wrote a file of its own */
	bool join_refused, caught_up;
	const char *failed;
};
/* refusals: message numbers of SET HADR that mean "one log more", as a Postgres array. */
bool ask_settle_past(struct db *db, TALLOC_CTX *mem, int64_t run, const char *replica, const char *refusals, struct settle_past *past,
                     struct err *err);

/* lag and redo -1: not known; state NULL: not joined. */
bool ask_replica_group(struct db *db, const struct restore_run *run, const char *replica, const char *state, int64_t lag_seconds,
                       int64_t redo_kb, struct err *err);

/* The run is at home: text says how it stands now. */
bool ask_settled(struct db *db, const struct restore_run *run, const char *text, struct err *err);

#endif
