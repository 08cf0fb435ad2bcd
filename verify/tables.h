/*
 * A database's tables as a manifest counts them: rows and an ordered hash, read at either end.
 */
#ifndef LANDFALL_TABLES_H
#define LANDFALL_TABLES_H

#include <stdatomic.h>

#include <jansson.h>

#include "common/mssql.h"
#include "common/row_hash.h"

struct table {
	const char *schema, *own_name;
	const char *name; /* dbo.ticket */
	int64_t id;
	const char **columns, **key; /* without computed columns */
	enum manifest_form *forms;   /* of the columns */
	size_t n_columns, n_key;
};
struct tables { struct table *list; size_t n; };

/* All user tables of the conversation's database, by name. Owned by parent. */
bool tables_list(struct mssql *ms, TALLOC_CTX *parent, struct tables *tables, struct err *err);
/* As it is written, else without regard to case; NULL when there is none. */
const struct table *tables_find(const struct tables *tables, const char *name);
bool table_has_column(const struct table *table, const char *column);

/* rows and hash of one; a table without a key is read in the order of all its columns. Ends with an
 * error soon after *stop; stop may be NULL. */
bool tables_hash(struct mssql *ms, const struct table *table, const atomic_bool *stop, uint64_t *rows,
                 char hex[65], struct err *err);

/* landfall.manifest/1 of the whole database; new reference. */
json_t *tables_manifest(struct mssql *ms, const char *database, struct err *err);

#endif
