/*
 * A recovered database's way into its cluster: a backup of the new primary, the availability group, every replica level.
 *
 * It runs beside the verification and the customer's work. What is next is a pure rule (common/settle.h); here the servers
 * are asked and one act at a time is carried out, as a step with its messages. A replica that is away or refuses is named
 * and does not hold up the others.
 */
#ifndef LANDFALL_CLUSTER_H
#define LANDFALL_CLUSTER_H

#include "restore/lane.h"

/*
 * Goes as far as it goes now. True: settled, nothing is left. False: *why (owned by mem) says what it waits for, or err
 * what went wrong (ASK_LEASE_LOST: touch nothing). lanes: every replica that takes part, the primary first.
 */
bool cluster_settle(struct db *db, TALLOC_CTX *mem, struct lane *lanes, size_t n, const char **why, struct err *err);

#endif
