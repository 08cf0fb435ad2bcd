/*
 * What people look at: the same views for the command line and the console's pages, as JSON.
 *
 * Each returns a new reference, or NULL with err. Text in them is the customer's and anybody's: escape it
 * for the place it is shown in.
 */
#ifndef LANDFALL_ASK_VIEW_H
#define LANDFALL_ASK_VIEW_H

#include <jansson.h>

#include "common/db.h"

json_t *view_migrations(struct db *db, struct err *err);
/* NULL and 0: no such limit. customer: a part of the name. after: an id, of those after it. */
struct view_filter { const char *stage, *region, *customer, *after; int64_t limit; };
/* By id. *more: how many others there are that the limit has left off. */
json_t *view_list(struct db *db, const struct view_filter *filter, int64_t *more, struct err *err);
/* json null when there is no such migration. Gates are in each run, and preflight: [{replica, asked_at, age_seconds, blocks,
 * findings: [{replica, id, severity, who, text}]}] of the replicas that take part. */
json_t *view_migration(struct db *db, const char *id, struct err *err);
/* Newest first: {migration, name, state, bytes, expected, rate (bytes/s; 0 when it stands still), eta_seconds, quiet_seconds,
 * stalled_since (when nothing came for ten seconds; else null), session, address, client,
 * started_at}; live: only those that are being received, otherwise the partial ones too. At most 500. */
json_t *view_uploads(struct db *db, bool live, struct err *err);
/* Per cluster: who runs, waits and is blocked; at most shown of each of the last two: waiting_left_off, blocked_left_off. */
enum { VIEW_QUEUE_SHOWN = 200 };
json_t *view_queue(struct db *db, int64_t shown, struct err *err);
json_t *view_status(struct db *db, struct err *err);
json_t *view_keys(struct db *db, const char *id, struct err *err);
/* Newest steps with their messages, and newest events. */
json_t *view_history(struct db *db, const char *id, struct err *err);
/* The latest finished verification's result (landfall.verify/1); json null when there is none. */
json_t *view_report(struct db *db, const char *id, const char *run, struct err *err);
/* Counters for /metrics. */
json_t *view_metrics(struct db *db, struct err *err);

#endif
