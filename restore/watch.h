/*
 * Looks at running statements over a second conversation: percent, session and what it waits for, while their own
 * conversations are silent (a server zeroing files or rolling a log forward says nothing for hours).
 *
 * It only tells; nothing rests on it. One conversation per server with something running, opened and dropped as needed.
 */
#ifndef LANDFALL_WATCH_H
#define LANDFALL_WATCH_H

#include "common/config.h"
#include "common/db.h"

struct watch;
struct watch *watch_new(TALLOC_CTX *parent, const struct config *config, const char *worker);

/* One look at every server that runs something of this worker's. Trouble is left for the next look. */
void watch_turn(struct watch *watch, struct db *db);

#endif
