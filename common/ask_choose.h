/*
 * What people choose about a run: its turn in the queue, the replica that RECOVERY is for, asking its servers anew.
 *
 * Called in the transaction of an act, whose run is locked (ask_action_runs).
 */
#ifndef LANDFALL_ASK_CHOOSE_H
#define LANDFALL_ASK_CHOOSE_H

#include "common/ask_restore.h"

/* why: who says so, and why. */
bool ask_priority(struct db *db, int64_t run, int priority, const char *why, struct err *err);

enum restore_primary {
	PRIMARY_MAY, PRIMARY_IS_IT, PRIMARY_NOT_FOUND, PRIMARY_LEFT_OUT,
	PRIMARY_SENT,  /* RECOVERY was sent in this try of the chain, whatever came of it */
	PRIMARY_BEGUN, /* a rehearsal's only copy is begun */
};
/* Whether this replica may become the run's primary. */
bool ask_primary_may(struct db *db, const struct restore_run *run, const char *replica, enum restore_primary *may, struct err *err);
/* A worker that planned with the old one begins no statement after this. */
bool ask_primary(struct db *db, const struct restore_run *run, const char *replica, struct err *err);

bool ask_preflight_want(struct db *db, int64_t run, struct err *err);

#endif
