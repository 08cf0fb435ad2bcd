/*
 * Preflight and the comparison of headers, as the worker does them: asks one replica, judges, writes down.
 *
 * Both only read on the target. A visit to a run does them before anything is restored; what it keeps is in its struct.
 */
#ifndef LANDFALL_RESTORE_PREFLIGHT_H
#define LANDFALL_RESTORE_PREFLIGHT_H

#include <jansson.h>

#include "common/plan.h"
#include "restore/lane.h"

/* Sets whose header the target reads as we do. Written by the visit before its lanes walk, then only read. */
struct preflight_compared { int64_t *sets; size_t n; };

/* One visit's state; zero but for mem. Ended by preflight_end. */
struct preflight {
	TALLOC_CTX *mem;
	json_t *facts;
	bool decided, due, compares;      /* compares: a replica has compared already */
	bool of_standing;                 /* decided at a replica that has something already */
	struct preflight_compared compared;
	char *stops;                      /* a difference that is for a person */
	char *waits;                      /* why nothing may be restored yet */
	int again_ms;
	char wanted[40];                  /* since when a person wants all of them asked anew; "": nobody does */
};

/*
 * With this replica's conversation, after it was asked (lane->seen) and its plan was made: compares the sets that will be
 * restored next, as many as fit in a moment; asks what preflight asks when it is due. Sets lane->kept when this replica
 * must not begin. False only when Postgres or the lease fails; a target that fails is for the walk to find.
 */
bool preflight_visit(struct preflight *p, struct db *db, struct lane *lane, struct mssql *ms, const struct plan *todo, struct err *err);

/*
 * After all replicas. A run of which no replica has anything yet is kept by a finding on any of them (p->waits). away: why
 * some could not be asked; such a one does not keep the others, but does not begin before it was asked either.
 */
bool preflight_settle(struct preflight *p, struct db *db, struct lane *lanes, size_t n, const char *away, struct err *err);

/* Before any backup has arrived: asks all replicas as soon as the header of one that is being received is known. */
bool preflight_early(struct preflight *p, struct db *db, struct lane *lanes, size_t n, struct err *err);

void preflight_end(struct preflight *p);

/* How a set compared. REFUSED: the target did not read it; *why says what it said and again_ms when to try it again. */
enum preflight_outcome { PREFLIGHT_SAME, PREFLIGHT_STOPS, PREFLIGHT_REFUSED, PREFLIGHT_FAILED };

/* Before the RESTORE of a set that the visit did not come to. FAILED fills err. */
enum preflight_outcome preflight_compare(struct lane *lane, struct db *db, struct mssql *ms, TALLOC_CTX *mem, const struct plan_set *set, char **why,
                                         int *again_ms, struct err *err);

#endif
