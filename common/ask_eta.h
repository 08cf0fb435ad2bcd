/*
 * Where running statements are and how long what is left will take, as JSON for the views. See eta.h for what it rests on.
 */
#ifndef LANDFALL_ASK_ETA_H
#define LANDFALL_ASK_ETA_H

#include <jansson.h>

#include "common/db.h"

/*
 * Adds to a run's object of the view (its "id" is read):
 *   running   what runs now: replica, kind, file, phase in words, percent or null, bytes and bytes_done, rate (bytes/s), seconds,
 *             left_low and left_high (seconds or null), session, wait
 *   forecast  null after RECOVERY, else "downtime if you cut over now": low and high in seconds or null, text, and parts (what,
 *             low, high)
 */
bool ask_eta(struct db *db, json_t *run, struct err *err);

#endif
