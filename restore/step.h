/*
 * One statement that must run once: its intent made durable, sent, and every message of the answer kept.
 */
#ifndef LANDFALL_STEP_H
#define LANDFALL_STEP_H

#include "common/ask_restore.h"
#include "common/mssql.h"

/*
 * False when the statement was not sent (err says why: Postgres, or the lease is lost). True when it was: outcome and ran say
 * what came of it, which is never enough to call it done; the server is asked again for that. Call ask_step_end then.
 */
bool step_run(struct db *db, struct mssql *ms, const struct restore_run *run, const struct restore_intent *intent, struct restore_step *step,
              struct mssql_outcome *outcome, struct err *ran, struct err *err);

#endif
