/*
 * A worker thread: claims one run at a time, walks it as far as it goes, gives it back.
 */
#ifndef LANDFALL_WORKER_H
#define LANDFALL_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"

enum { WORKER_THREADS = 32 };

struct worker {
	const struct config *config;
	char id[40];             /* uuid, new at every process start */
	const char *clusters;    /* names as a Postgres array */
	void (*claimed)(void);   /* called when a run was claimed, before it is walked: there may be another for another thread */
	atomic_bool stop;        /* no more claims; statements that run are finished, and no other is begun */
	_Atomic int64_t beaten;  /* when a sign of life was last written, by the steady clock in milliseconds */
	/* By thread: the run it is at, 0 for none. Only these leases are renewed: one that could not be given back runs out. */
	_Atomic int64_t at[WORKER_THREADS];
	/* The same in words, for who waits for our end. */
	pthread_mutex_t words_lock;
	char words[WORKER_THREADS][80];
};

/* Claims and walks one run. False: there was none (or Postgres is away, or no sign of life could be written for half a lease);
 * wait before asking again. */
struct db;
bool worker_turn(struct worker *worker, int thread, struct db *db);

/* Signs of life: the worker's own, and of every run that a thread is at. */
bool worker_beat(struct worker *worker, struct db *db, struct err *err);

/* "2 runs: m-0001 production, m-0007 uat". */
char *worker_words(struct worker *worker, TALLOC_CTX *mem);

/* Asks every replica of every cluster who it is; for the console and the receiver's version check. */
void worker_probe(const struct config *config, struct db *db);

#endif
