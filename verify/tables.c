#include "verify/tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/row_hash.h"
#include "common/tsql.h"

static bool
column(struct mssql *ms, TALLOC_CTX *mem, const char *sql, const char ***out, size_t *n, struct err *err)
{
	struct mssql_rows *rows;

	if (!mssql_run(ms, mem, sql, &rows, NULL, NULL, NULL, err))
		return false;
	*n = mssql_rows_count(rows);
	*out = talloc_array(mem, const char *, *n + 1);
	for (size_t i = 0; i < *n; i++)
		(*out)[i] = mssql_rows_value(rows, i, 0);
	return true;
}

bool
tables_list(struct mssql *ms, TALLOC_CTX *mem, struct table **tables, size_t *n, struct err *err)
{
	struct mssql_rows *rows;

	if (!mssql_run(ms, mem, "SELECT s.name, t.name, t.object_id FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id"
	               " WHERE t.is_ms_shipped = 0 ORDER BY s.name, t.name", &rows, NULL, NULL, NULL, err))
		return false;
	*n = mssql_rows_count(rows);
	*tables = talloc_zero_array(mem, struct table, *n + 1);
	for (size_t i = 0; i < *n; i++) {
		struct table *t = &(*tables)[i];
		const char *id = mssql_rows_value(rows, i, 2);

		t->name = talloc_asprintf(mem, "%s.%s", mssql_rows_value(rows, i, 0), mssql_rows_value(rows, i, 1));
		if (!column(ms, mem, talloc_asprintf(mem, "SELECT c.name FROM sys.columns c WHERE c.object_id = %d AND c.is_computed = 0"
			" ORDER BY c.column_id", atoi(id)), &t->columns, &t->n_columns, err) ||
		    !column(ms, mem, talloc_asprintf(mem, "SELECT c.name FROM sys.indexes i JOIN sys.index_columns k ON k.object_id = i.object_id AND"
			" k.index_id = i.index_id JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id"
			" WHERE i.is_primary_key = 1 AND i.object_id = %d ORDER BY k.key_ordinal", atoi(id)), &t->key, &t->n_key, err))
			return false;
	}
	return true;
}

static bool
on_row(void *ctx, int n, const char *const *values, const size_t *lengths)
{
	row_hash_row(ctx, values, lengths, (size_t)n);
	return true;
}

static char *
join(TALLOC_CTX *mem, const char *const *names, size_t n)
{
	char *s = talloc_strdup(mem, "");

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ", ", tsql_name(mem, names[i]));
	return s;
}

bool
tables_hash(struct mssql *ms, const struct table *t, uint64_t *rows, char hex[65], struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct row_hash *hash = row_hash_new(mem);
	const char *dot = strchr(t->name, '.');
	char *schema = talloc_strndup(mem, t->name, (size_t)(dot - t->name));
	char *sql = talloc_asprintf(mem, "SELECT %s FROM %s.%s ORDER BY %s", join(mem, t->columns, t->n_columns), tsql_name(mem, schema),
	                            tsql_name(mem, dot + 1), t->n_key > 0 ? join(mem, t->key, t->n_key) : join(mem, t->columns, t->n_columns));
	bool good = mssql_stream(ms, sql, on_row, hash, err);

	*rows = row_hash_rows(hash);
	row_hash_end(hash, hex);
	talloc_free(mem);
	return good;
}

json_t *
tables_manifest(struct mssql *ms, const char *database, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	json_t *list = json_array(), *key;
	struct table *tables;
	time_t now = time(NULL);
	char when[32];
	size_t n;
	bool good = tables_list(ms, mem, &tables, &n, err);

	for (size_t i = 0; good && i < n; i++) {
		char hex[65];
		uint64_t rows;

		good = tables_hash(ms, &tables[i], &rows, hex, err);
		key = json_array();
		for (size_t k = 0; k < tables[i].n_key; k++)
			json_array_append_new(key, json_string(tables[i].key[k]));
		json_array_append_new(list, json_pack("{s:s,s:o,s:I,s:s}", "name", tables[i].name, "key", key, "rows", (json_int_t)rows, "sha256", hex));
	}
	talloc_free(mem);
	if (!good) {
		json_decref(list);
		return NULL;
	}
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	return json_pack("{s:s,s:s,s:s,s:o,s:b}", "schema", "landfall.manifest/1", "database", database, "taken_at", when, "tables", list, "end", 1);
}
