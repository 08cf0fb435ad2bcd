/*
 * Connections that outlive the visit which made them: a log-in costs more than all that a visit asks.
 *
 * Lanes' connections to Postgres serve any run. A conversation with a SQL Server is its run's, since the server knows it by the
 * run's name; it is kept while the run is visited again and again. Few are kept, and none for long. Safe from any thread.
 */
#ifndef LANDFALL_POOL_H
#define LANDFALL_POOL_H

#include "common/config.h"
#include "common/db.h"
#include "common/mssql.h"

/* A lane's connection to Postgres, owned by nobody. */
struct db *pool_db(const struct config *config);
void pool_db_keep(struct db *db);

/*
 * What was kept of this run on this replica, owned by nobody; NULL: nothing. It may have died meanwhile without anybody knowing.
 * Kept are only those that did nothing but ask and RESTORE: no settings, no other database. A dead one is closed.
 */
struct mssql *pool_conversation(int64_t run, const char *replica);
void pool_conversation_keep(int64_t run, const char *replica, struct mssql *ms);

/* Closes what was not used for a while. */
void pool_turn(void);

#endif
