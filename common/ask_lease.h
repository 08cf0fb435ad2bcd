/*
 * What every write of a worker rests on: the run is still its own. A worker that slept past its lease changes no row of it.
 *
 * Parts of query text; $1 is the run's id, $2 the fencing token of the claim.
 */
#ifndef LANDFALL_ASK_LEASE_H
#define LANDFALL_ASK_LEASE_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* Of the run's own row; of a row that belongs to it. */
#define LEASE "id = $1 and lease_token = $2 and lease_until > now()"
#define STEP_LEASE "exists (select 1 from run r where r.id = $1 and r.lease_token = $2 and r.lease_until > now())"

/* Nothing was changed: another worker has the run (ERR_REFUSED, ASK_LEASE_LOST). */
bool ask_must_change(const struct rows *rows, struct err *err);

#endif
