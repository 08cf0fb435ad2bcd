/*
 * What people asked for, carried out: one row of the table action in one transaction.
 */
#ifndef LANDFALL_ACTIONS_H
#define LANDFALL_ACTIONS_H

#include <stdbool.h>

struct db;

/* Carries out the oldest one, by the policies of the configuration. False: there is none, or Postgres is away. */
struct config;
bool actions_turn(struct db *db, const struct config *config);

#endif
