/*
 * Runs a check file against one database and gives the result model landfall.verify/1.
 *
 * A target or an application that is away is tried again for a while; then the check is `error` (or,
 * an application, `fail`). What failed first and passed later is `warn`, because it is not to be relied on.
 */
#ifndef LANDFALL_CHECKS_H
#define LANDFALL_CHECKS_H

#include <jansson.h>

#include "common/mssql.h"
#include "common/row_hash.h"
#include "verify/check_file.h"

/* Ends a run from another thread, within seconds and for good. */
struct checks_stop;
struct checks_stop *checks_stop_new(TALLOC_CTX *parent);
void checks_stop(struct checks_stop *stop);
bool checks_stopped(struct checks_stop *stop);

struct checks_job {
	const struct check_file *file;
	const struct mssql_target *target; /* the primary, under the log-in without server rights */
	const char *no_target;             /* why target is NULL */
	const char *cluster, *database, *migration, *run, *recovery_lsn;
	const json_t *intake;              /* may be NULL */
	const struct manifest *manifest;   /* NULL: there is none, or no_manifest says what is wrong with it */
	const char *no_manifest;
	struct checks_stop *stop;
};

/* New reference; what cannot be asked is a check with result error. NULL only when it was stopped. */
json_t *checks_run(const struct checks_job *job);

/* What stands for the result of a verification that gave none: incomplete, with the reason as its only check. New reference. */
json_t *checks_none(const struct checks_job *job, int attempts, const char *why);

#endif
