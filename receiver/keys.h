/*
 * Who may log in, from memory: authentication never waits for Postgres. Pure but for the clock's value.
 */
#ifndef LANDFALL_KEYS_H
#define LANDFALL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "receiver/talk.h"

/* keyring is intake_keyring's object; NULL knows nobody. address is the peer's, now in Unix seconds. */
bool keys_allow(const json_t *keyring, const char *user, const char *blob, const char *address, int64_t now);

/* False when there is no such migration. */
bool keys_policy(const json_t *keyring, const char *migration, struct talk_policy *policy, uint64_t *quota_bytes, unsigned *quota_files);

/* 10.0.0.0/8, 2001:db8::/32, or one address. */
bool keys_address_in(const char *address, const char *range);

#endif
