/*
 * Who has failed to log in too often, and how long it must stay away: a rule with the clock's value given.
 *
 * Per network (an IPv4 address, an IPv6 /64). The first few failures cost nothing; each further one shuts the
 * network out for twice as long as the one before, up to a limit. What was let in before a shut-out began counts
 * as one failure, however many connections those are. Once a shut-out is over, one failure is forgotten per
 * forget_seconds, which halves what the next one costs.
 *
 * The table has a fixed size: who fails from very many networks pushes out what weighs least.
 */
#ifndef LANDFALL_PENALTY_H
#define LANDFALL_PENALTY_H

#include <stdbool.h>
#include <stdint.h>

#include <talloc.h>

#include "receiver/address.h"

enum { PENALTY_NETWORKS = 4096 };

struct penalty_rule { unsigned free, first_seconds, most_seconds, forget_seconds; };

struct penalties;
struct penalties *penalties_new(TALLOC_CTX *parent, const struct penalty_rule *rule);

/* now in seconds of a clock that is never set. For how many seconds it is shut out from now on; 0: it is not, or was already. */
unsigned penalties_failed(struct penalties *penalties, const struct address *address, int64_t now);
/* Its failures never were. True if there were any. */
bool penalties_forgive(struct penalties *penalties, const struct address *address);
/* Seconds until it may come again; 0: now. */
unsigned penalties_wait(const struct penalties *penalties, const struct address *address, int64_t now);

#endif
