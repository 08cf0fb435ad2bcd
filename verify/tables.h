/*
 * A database's tables as a manifest counts them: rows and an ordered hash, read at either end.
 */
#ifndef LANDFALL_TABLES_H
#define LANDFALL_TABLES_H

#include <jansson.h>

#include "common/mssql.h"

struct table { const char *name; /* dbo.ticket */ const char **columns, **key; size_t n_columns, n_key; };

/* All user tables of the conversation's database, by name. */
bool tables_list(struct mssql *ms, TALLOC_CTX *mem, struct table **tables, size_t *n, struct err *err);
/* rows and hash of one; a table without a key is read in the order of all its columns. */
bool tables_hash(struct mssql *ms, const struct table *table, uint64_t *rows, char hex[65], struct err *err);

/* landfall.manifest/1 of the whole database; new reference. */
json_t *tables_manifest(struct mssql *ms, const char *database, struct err *err);

#endif
