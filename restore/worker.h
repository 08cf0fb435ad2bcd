/*
 * A worker thread: claims one run at a time, walks it as far as it goes, gives it back.
 */
#ifndef LANDFALL_WORKER_H
#define LANDFALL_WORKER_H

#include <stdatomic.h>

#include "common/config.h"

struct worker {
	const struct config *config;
	char id[40];             /* uuid, new at every process start */
	const char *clusters;    /* names as a Postgres array */
	atomic_bool stop;
};

/* Claims and walks one run. False: there was none (or Postgres is away); wait before asking again. */
struct db;
bool worker_turn(struct worker *worker, struct db *db);

/* Asks every replica of every cluster who it is; for the console and the receiver's version check. */
void worker_probe(const struct config *config, struct db *db);

#endif
