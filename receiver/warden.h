/*
 * The warden: listens, keeps keys, areas and the journal, starts sessions and gives them descriptors. It never
 * parses a byte from the network; what sessions say is checked as if a customer had said it.
 */
#ifndef LANDFALL_WARDEN_H
#define LANDFALL_WARDEN_H

#include "common/config.h"

/* Serves until SIGTERM. ready_file gets "port pid" when it listens; may be NULL. Exit code. */
int warden_main(const struct config *config, const char *ready_file);

#endif
