#include "verify/tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- what tables there are ---------------------------------------------------------------- */

/* Answers come table by table, so the last one found is usually the next. */
struct gathering { TALLOC_CTX *mem; struct tables *tables; size_t last; };

static struct table *
by_id(struct gathering *g, int64_t id)
{
	for (size_t i = 0; i < g->tables->n; i++) {
		size_t k = (g->last + i) % g->tables->n;

		if (g->tables->list[k].id == id) {
			g->last = k;
			return &g->tables->list[k];
		}
	}
	return NULL;
}

static bool
on_column(void *ctx, int n, const char *const *v, const size_t *lengths)
{
	struct gathering *g = ctx;
	struct table *t = n < 2 || v[0] == NULL || v[1] == NULL ? NULL : by_id(g, atoll(v[0]));

	(void)lengths;
	if (t == NULL)
		return true;
	t->columns = talloc_realloc(g->mem, t->columns, const char *, t->n_columns + 1);
	t->forms = talloc_realloc(g->mem, t->forms, enum manifest_form, t->n_columns + 1);
	t->forms[t->n_columns] = FORM_PLAIN;
	t->columns[t->n_columns++] = talloc_strdup(g->mem, v[1]);
	return true;
}

static bool
on_key(void *ctx, int n, const char *const *v, const size_t *lengths)
{
	struct gathering *g = ctx;
	struct table *t = n < 2 || v[0] == NULL || v[1] == NULL ? NULL : by_id(g, atoll(v[0]));

	(void)lengths;
	if (t == NULL)
		return true;
	t->key = talloc_realloc(g->mem, t->key, const char *, t->n_key + 1);
	t->key[t->n_key++] = talloc_strdup(g->mem, v[1]);
	return true;
}

/* Schema, table, column, type: only of types that are read in a form of their own. */
static bool
on_type(void *ctx, int n, const char *const *v, const size_t *lengths)
{
	struct gathering *g = ctx;

	(void)lengths;
	for (int i = 0; i < 4; i++)
		if (n < 4 || v[i] == NULL)
			return true;
	for (size_t i = 0; i < g->tables->n; i++) {
		struct table *t = &g->tables->list[i];

		if (strcmp(t->schema, v[0]) == 0 && strcmp(t->own_name, v[1]) == 0)
			for (size_t k = 0; k < t->n_columns; k++)
				if (strcmp(t->columns[k], v[2]) == 0)
					t->forms[k] = manifest_form(v[3]);
	}
	return true;
}

static bool
list_names(struct mssql *ms, TALLOC_CTX *mem, struct tables *tables, struct err *err)
{
	struct mssql_rows *rows;

	if (!mssql_run(ms, mem, "SELECT s.name, t.name, t.object_id FROM sys.tables t"
	               " JOIN sys.schemas s ON s.schema_id = t.schema_id WHERE t.is_ms_shipped = 0"
	               " ORDER BY s.name, t.name", &rows, NULL, NULL, NULL, err))
		return false;
	tables->n = mssql_rows_count(rows);
	tables->list = talloc_zero_array(mem, struct table, tables->n + 1);
	for (size_t i = 0; i < tables->n; i++) {
		struct table *t = &tables->list[i];

		t->schema = mssql_rows_value(rows, i, 0);
		t->own_name = mssql_rows_value(rows, i, 1);
		t->name = talloc_asprintf(mem, "%s.%s", t->schema, t->own_name);
		t->id = atoll(mssql_rows_value(rows, i, 2));
	}
	return true;
}

/* A server that names no types there has only types that are read as they are. */
static bool
list_types(struct mssql *ms, struct gathering *g, struct err *err)
{
	struct mssql_rows *rows;

	if (!mssql_run(ms, g->mem, "SELECT TOP (1) * FROM INFORMATION_SCHEMA.COLUMNS", &rows, NULL, NULL, NULL,
	               err))
		return false;
	return mssql_rows_count(rows) == 0 || mssql_rows_column(rows, "DATA_TYPE") < 0 ||
	       mssql_stream(ms, "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE"
	                    " FROM INFORMATION_SCHEMA.COLUMNS WHERE DATA_TYPE IN (N'text', N'ntext', N'xml',"
	                    " N'json', N'sql_variant', N'image', N'geography', N'geometry', N'hierarchyid')",
	                    on_type, g, err);
}

bool
tables_list(struct mssql *ms, TALLOC_CTX *mem, struct tables *tables, struct err *err)
{
	struct gathering g = { .mem = mem, .tables = tables };

	return list_names(ms, mem, tables, err) &&
	       mssql_stream(ms, "SELECT c.object_id, c.name FROM sys.columns c"
	                    " JOIN sys.tables t ON t.object_id = c.object_id"
	                    " WHERE t.is_ms_shipped = 0 AND c.is_computed = 0"
	                    " ORDER BY c.object_id, c.column_id", on_column, &g, err) &&
	       mssql_stream(ms, "SELECT i.object_id, c.name FROM sys.indexes i JOIN sys.index_columns k"
	                    " ON k.object_id = i.object_id AND k.index_id = i.index_id JOIN sys.columns c"
	                    " ON c.object_id = k.object_id AND c.column_id = k.column_id"
	                    " WHERE i.is_primary_key = 1 AND k.key_ordinal > 0"
	                    " ORDER BY i.object_id, k.key_ordinal", on_key, &g, err) &&
	       list_types(ms, &g, err);
}

const struct table *
tables_find(const struct tables *tables, const char *name)
{
	const struct table *alike = NULL;

	for (size_t i = 0; i < tables->n; i++) {
		if (strcmp(tables->list[i].name, name) == 0)
			return &tables->list[i];
		if (alike == NULL && strcasecmp(tables->list[i].name, name) == 0)
			alike = &tables->list[i];
	}
	return alike;
}

bool
table_has_column(const struct table *t, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i], column) == 0)
			return true;
	return false;
}

/* ---- what is in one ----------------------------------------------------------------------- */

struct hashing { struct row_hash *hash; const atomic_bool *stop; };

static bool
on_row(void *ctx, int n, const char *const *values, const size_t *lengths)
{
	struct hashing *h = ctx;

	row_hash_row(h->hash, values, lengths, (size_t)n);
	return h->stop == NULL || !atomic_load(h->stop);
}

bool
tables_hash(struct mssql *ms, const struct table *t, const atomic_bool *stop, uint64_t *rows, char hex[65],
            struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct hashing h = { row_hash_new(mem), stop };
	struct manifest_columns columns = { t->columns, t->forms, t->n_columns };
	bool good = mssql_stream(ms, manifest_query(mem, t->schema, t->own_name, &columns, t->key, t->n_key),
	                         on_row, &h, err);

	*rows = row_hash_rows(h.hash);
	row_hash_end(h.hash, hex);
	talloc_free(mem);
	return good;
}

static json_t *
table_json(const struct table *t, uint64_t rows, const char *hex)
{
	json_t *key = json_array();

	for (size_t k = 0; k < t->n_key; k++)
		json_array_append_new(key, json_string(t->key[k]));
	return json_pack("{s:s,s:o,s:I,s:s}", "name", t->name, "key", key, "rows", (json_int_t)rows, "sha256",
	                 hex);
}

json_t *
tables_manifest(struct mssql *ms, const char *database, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	json_t *list = json_array();
	struct tables tables;
	time_t now = time(NULL);
	char when[32];
	bool good = tables_list(ms, mem, &tables, err);

	for (size_t i = 0; good && i < tables.n; i++) {
		char hex[65];
		uint64_t rows;

		good = tables_hash(ms, &tables.list[i], NULL, &rows, hex, err);
		if (!good)
			err_under(err, "%s", tables.list[i].name);
		else if (json_array_append_new(list, table_json(&tables.list[i], rows, hex)) != 0)
			good = err_set(err, ERR_BROKEN, 0, "the name of a table or column is no UTF-8");
	}
	talloc_free(mem);
	if (!good) {
		json_decref(list);
		return NULL;
	}
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	return json_pack("{s:s,s:s,s:s,s:o,s:b}", "schema", "landfall.manifest/1", "database", database,
	                 "taken_at", when, "tables", list, "end", 1);
}
