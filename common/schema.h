/*
 * The schema in Postgres, forward only: files NNNN_name.sql, applied in order, each once.
 */
#ifndef LANDFALL_SCHEMA_H
#define LANDFALL_SCHEMA_H

#include "common/config.h"
#include "common/db.h"

struct schema_result { int version, applied; char **names; };

/* The version that these files bring; 0 and err when there are none. */
int schema_newest(const char *dir, struct err *err);

/*
 * Applies what is missing under an advisory lock, each file in one transaction; a file that was applied and
 * has changed since is refused. Then writes the configuration's clusters and replicas into their tables.
 */
bool schema_migrate(struct db *db, TALLOC_CTX *mem, const struct config *config, struct schema_result *result, struct err *err);

#endif
