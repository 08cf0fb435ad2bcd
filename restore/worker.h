/*
 * A worker thread: claims one run at a time, walks it as far as it goes, gives it back.
 */
#ifndef LANDFALL_WORKER_H
#define LANDFALL_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"

enum { WORKER_THREADS = 32 };

struct worker {
	const struct config *config;
	char id[40];             /* uuid, new at every process start */
	const char *clusters;    /* names as a Postgres array */
	atomic_bool stop;
	/* By thread: the run it is at, 0 for none. Only these leases are renewed: one that could not be given back runs out. */
	_Atomic int64_t at[WORKER_THREADS];
};

/* Claims and walks one run. False: there was none (or Postgres is away); wait before asking again. */
struct db;
bool worker_turn(struct worker *worker, int thread, struct db *db);

/* Signs of life: the worker's own, and of every run that a thread is at. */
bool worker_beat(struct worker *worker, struct db *db, struct err *err);

/* Asks every replica of every cluster who it is; for the console and the receiver's version check. */
void worker_probe(const struct config *config, struct db *db);

#endif
