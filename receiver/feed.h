/*
 * The receiver's line to Postgres, on a thread of its own: tells what the journal holds, fetches keys and where
 * migrations stand. Postgres may be away or hung for as long as it likes.
 */
#ifndef LANDFALL_FEED_H
#define LANDFALL_FEED_H

#include <stdbool.h>

#include <jansson.h>
#include <talloc.h>

#include "common/ask_intake.h"
#include "common/config.h"

struct feed;

/* spool holds "fed" (how far the journal was told) and keys.json (for a start without Postgres). */
struct feed *feed_start(TALLOC_CTX *parent, const struct config *config, struct err *err);

/* A durable record; the reference is stolen. facts_path: where its facts lie, or NULL. */
void feed_add(struct feed *feed, json_t *record, const char *facts_path);
/* Number of the last record that Postgres was told of. */
uint64_t feed_told(struct feed *feed);
/* How far an upload is; only the newest counts, and it may be lost. */
void feed_progress(struct feed *feed, const struct intake_progress *progress);

/* Records that Postgres was not told yet; *up: did it answer the last time? */
size_t feed_waiting(struct feed *feed, bool *up);

/* New references; NULL while nothing is known. */
json_t *feed_keyring(struct feed *feed);
json_t *feed_standing(struct feed *feed, bool *fresh);

/* Readable after new keys came; feed_woken drains it. */
int feed_fd(const struct feed *feed);
void feed_woken(struct feed *feed);

#endif
