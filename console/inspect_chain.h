/*
 * `landfall inspect --chain`: in which order the files given are restored, and why each other one is not used.
 */
#ifndef LANDFALL_INSPECT_CHAIN_H
#define LANDFALL_INSPECT_CHAIN_H

#include "console/cli.h"
#include "console/inspect_read.h"

/* Prints the plan of each database in the files; stop_at may be NULL. Returns the exit code. */
int inspect_chain(const struct cli *c, const struct inspected *files, size_t n, const char *stop_at);

#endif
