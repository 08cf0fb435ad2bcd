/*
 * Who was turned away lately, so that a customer who came before his key was known is let in as soon as it is.
 *
 * A key is often tried before it has been added, or in the moments until it has reached this receiver. Each try is a
 * failed log-in, and some of them shut the customer's address out for minutes (receiver/penalty.h). When the keys
 * change, those tries are looked at again: what the new keys allow was no attack. Only the last KNOCKS_MAX are kept;
 * who knocks with very many keys pushes out others, who then wait as long as they were told. Pure but for the clock's value.
 */
#ifndef LANDFALL_KNOCKS_H
#define LANDFALL_KNOCKS_H

#include <stdint.h>

#include <jansson.h>
#include <talloc.h>

#include "receiver/address.h"

enum { KNOCKS_MAX = 256 };

struct knocks;
struct knocks *knocks_new(TALLOC_CTX *parent);

/* What cannot be the key of a session that gets in (user or blob too long) is not kept. */
void knocks_add(struct knocks *knocks, const struct address *address, const char *user, const char *blob);

/* now in Unix seconds. Whoever keyring (as keys_allow has it) allows now is told to let_in, once for each key that was tried, and forgotten. */
void knocks_answer(struct knocks *knocks, const json_t *keyring, int64_t now, void (*let_in)(void *ctx, const struct address *address), void *ctx);

#endif
