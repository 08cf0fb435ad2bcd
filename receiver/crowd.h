/*
 * Whether one more connection that has not logged in yet may come in, and at whose cost. Pure.
 *
 * A network may hold so many of them, all together so many. When all places are taken, a newcomer gets that of the
 * oldest connection of the network that holds most, provided that is more than the newcomer's own holds: who opens
 * connections by the dozen and says nothing pushes out his own, and a customer with one never notices.
 */
#ifndef LANDFALL_CROWD_H
#define LANDFALL_CROWD_H

#include <stdbool.h>
#include <stddef.h>

#include "receiver/address.h"

enum crowd_answer { CROWD_COME, CROWD_INSTEAD, CROWD_ITS_SHARE, CROWD_FULL };

struct crowd_limits { size_t all, per_network; };

/* networks: of who is there, the oldest first, as address_network gives them. leaves: whose place it gets (CROWD_INSTEAD). */
enum crowd_answer crowd_ask(const struct crowd_limits *limits, const struct address *networks, size_t n, const struct address *newcomer,
                            bool is_exempt, size_t *leaves);

#endif
