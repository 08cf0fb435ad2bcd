/*
 * Who may log in, from memory: authentication never waits for Postgres. Pure but for the clock's value.
 */
#ifndef LANDFALL_KEYS_H
#define LANDFALL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "receiver/talk.h"

/*
 * keyring is intake_keyring's object; NULL knows nobody. address is the peer's, now in Unix seconds. until (may be
 * NULL): from when on the key is good no more, INT64_MAX when it does not expire.
 */
bool keys_allow(const json_t *keyring, const char *user, const char *blob, const char *address, int64_t now, int64_t *until);

/* False, with nothing changed, when there is no such migration. migration may be policy's own: it is read anew so. */
bool keys_policy(const json_t *keyring, const char *migration, struct talk_policy *policy, uint64_t *quota_bytes, unsigned *quota_files);

#endif
