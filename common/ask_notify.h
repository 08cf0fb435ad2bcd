/*
 * The outbox: what is to be told to whom, one row per event and target, at least once. Rows are made by a trigger on
 * event, so that nothing is told of what was not committed.
 */
#ifndef LANDFALL_ASK_NOTIFY_H
#define LANDFALL_ASK_NOTIFY_H

#include <jansson.h>

#include "common/db.h"

struct notice {
	int64_t id, event;
	int attempts;
	const char *target;  /* mail:ADDRESS */
	const char *kind;    /* of the event */
	const char *text;
	const char *migration, *database, *contact; /* contact: a person's name, or "" */
	const char *file;    /* shown name, or "" */
	const char *reason;  /* or "" */
	json_t *findings;    /* words; belongs to whoever asked */
};

/* The next that is due; nobody else gets it for five minutes. Owned by mem. */
bool notify_claim(struct db *db, TALLOC_CTX *mem, struct notice *notice, bool *got, struct err *err);
/* said NULL: it was sent. Otherwise it is tried again later, for a day, or given up at once when for_good. */
bool notify_end(struct db *db, const struct notice *notice, const char *said, bool for_good, struct err *err);

/* [{id, migration, kind, target, state, attempts, next_try, said, at}], newest first, at most 500. */
json_t *notify_list(struct db *db, struct err *err);
bool notify_retry(struct db *db, int64_t id, bool *found, struct err *err);
/* A message that says that messages arrive. */
bool notify_test(struct db *db, const char *target, int64_t *id, struct err *err);
/* waiting, sent or given-up; said: the last words of the other side. */
bool notify_state(struct db *db, TALLOC_CTX *mem, int64_t id, const char **state, const char **said, struct err *err);

#endif
