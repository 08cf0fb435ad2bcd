/*
 * What the receiver asks Postgres: keys and policies to know, arrivals to tell, and where migrations stand.
 *
 * Every telling has an idempotent key (the upload's uuid, the backup set's GUID), so the journal may be fed
 * again from any earlier point.
 */
#ifndef LANDFALL_ASK_INTAKE_H
#define LANDFALL_ASK_INTAKE_H

#include <jansson.h>

#include "common/db.h"

/* {"migrations":[{id, database, allow_encrypted, newest_version, quota_bytes, quota_files}],
 *  "keys":[{migration, type, blob, fingerprint, from:[…], expires}], live ones only, expires in Unix seconds or null,
 *  "kicks":[session]}: sessions to be ended. */
json_t *intake_keyring(struct db *db, struct err *err);

/* {"m-0001":{stage, hold, waits_for, gaps:[…], restored, verdict, failure}}, for STATUS.txt. */
json_t *intake_standing(struct db *db, struct err *err);

/*
 * One record of the journal: an upload as it is now. facts is what the reader said (or a manifest), NULL when
 * there is none. ERR_REFUSED when Postgres will never take it.
 */
bool intake_upload(struct db *db, const json_t *record, const char *facts, struct err *err);
/* Several, in order, all of them or none (ERR_REFUSED: one of them is to blame; ask for each by itself). */
struct intake_record { const json_t *record; const char *facts; };
bool intake_uploads(struct db *db, const struct intake_record *records, size_t n, struct err *err);

/* An upload that goes on. session is its name for `landfall upload kick`; expected: bytes in all, 0 not known. */
struct intake_progress { char key[40], session[24], peer[64], client[100]; int64_t bytes, expected; };
bool intake_progress(struct db *db, const struct intake_progress *progress, struct err *err);

#endif
