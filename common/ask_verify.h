/*
 * What the verification asks Postgres: what to verify, and where the result goes.
 *
 * A verification belongs to the worker that claimed it while its lease lasts; every later question
 * carries the worker's id, and what was taken over by another is ERR_REFUSED or no change at all.
 */
#ifndef LANDFALL_ASK_VERIFY_H
#define LANDFALL_ASK_VERIFY_H

#include <jansson.h>

#include "common/db.h"

struct verify_job {
	int64_t id, run;
	int attempts;         /* this one counted; one that was given back is none */
	const char *migration, *kind, *cluster, *database, *primary;
	const char *intake;   /* a JSON object */
	const char *manifest; /* the newest whole one, or NULL */
	const char *recovery_lsn;
};

bool verify_worker_begin(struct db *db, const char *worker, const char *host, int pid, struct err *err);
/* One that is asked, or whose worker died; leased for 20 seconds at a time. Owned by mem. */
bool verify_claim(struct db *db, TALLOC_CTX *mem, const char *worker, struct verify_job *job, bool *got,
                  struct err *err);
/* The worker's sign of life, and its lease on the verification it is at (0: none): one it does not know of runs out. */
bool verify_beat(struct db *db, const char *worker, int64_t at, struct err *err);
/* Result, verdict, check rows and the run's move, in one transaction. */
bool verify_done(struct db *db, const char *worker, const struct verify_job *job, json_t *result,
                 struct err *err);
/* Somebody else may carry it out at once: this worker ends. */
bool verify_give_back(struct db *db, const char *worker, const struct verify_job *job, struct err *err);
/* It ends without a verdict; a person may ask for another. */
bool verify_failed(struct db *db, const char *worker, const struct verify_job *job, const char *why,
                   struct err *err);

#endif
