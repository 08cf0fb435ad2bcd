/*
 * A dry run: what would be restored on each replica, as which statements, and what it would cost to begin again.
 *
 * Made from what Postgres knows, with the functions that the worker uses; nothing is asked of a SQL Server and nothing changes.
 */
#ifndef LANDFALL_DRY_H
#define LANDFALL_DRY_H

#include <stdbool.h>

#include <jansson.h>

#include "common/config.h"
#include "common/db.h"

/*
 * What plan_json says (steps, unused, gaps, complete), and: state, hold, restored (names), rate (bytes/s of this cluster, or null), recovery
 * (null, or {replica, statement} once the chain reaches the tail), nothing_to_do (no replica has a step, and the chain is complete), replicas
 * ({target, state, left_out, redo_start_lsn, asked_seconds_ago, steps, statements}; statements null without sql: one that lags has more).
 * steps are the primary's, with bytes (read), size (of the database in it) and expected_seconds (or null). A new reference, or NULL with err.
 */
json_t *dry_plan(struct db *db, const struct config *config, const char *migration, int64_t run, bool sql, struct err *err);

/* {bytes, steps, seconds, from}: what is restored again when the chain begins anew; seconds null when no rate is known, from null without a full. */
json_t *dry_restart(struct db *db, const char *migration, int64_t run, struct err *err);

#endif
