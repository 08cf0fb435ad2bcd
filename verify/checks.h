/*
 * Runs a check file against one database and gives the result model landfall.verify/1.
 */
#ifndef LANDFALL_CHECKS_H
#define LANDFALL_CHECKS_H

#include <jansson.h>

#include "common/mssql.h"
#include "verify/check_file.h"

struct checks_job {
	const struct check_file *file;
	struct mssql_target target; /* the primary, under the log-in without server rights */
	const char *cluster, *database, *migration, *run, *recovery_lsn;
	json_t *intake;             /* borrowed; may be NULL */
	json_t *manifest;           /* borrowed; NULL: there is none */
};

/* New reference; never NULL: what cannot be asked is a check with result error. */
json_t *checks_run(const struct checks_job *job);

/* A readable page of it. */
char *checks_text(TALLOC_CTX *parent, json_t *result);

#endif
