/*
 * The daemon's work: claims verifications that are asked for and carries them out, one at a time.
 *
 * Any number of workers may run. One that dies leaves its verification to whoever asks after its lease;
 * one that is told to stop gives it back at once. Postgres away: it waits, and a result is not lost.
 */
#ifndef LANDFALL_VERIFY_WORKER_H
#define LANDFALL_VERIFY_WORKER_H

#include "common/config.h"
#include "common/mssql.h"
#include "verify/checks.h"

struct worker;

/* Everything given outlives it. Starts nothing. */
struct worker *worker_new(TALLOC_CTX *parent, const struct config *config, const struct check_file *file,
                          struct checks_stop *stop, struct err *err);
/* Two threads' lives: both end after checks_stop. */
void *worker_serve(void *worker);
void *worker_beat(void *worker);

/* A server of the configuration under the verification's log-in. */
struct mssql_target worker_target(const struct config_cluster *cluster, const struct config_target *target);

#endif
