#include "common/row_hash.h"

#include <ctype.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/text.h"
#include "common/tsql.h"

enum { TABLES_MAX = 100000, KEY_MAX = 64 };

struct row_hash { EVP_MD_CTX *md; uint64_t rows; };

static int
free_hash(struct row_hash *h)
{
	EVP_MD_CTX_free(h->md);
	return 0;
}

struct row_hash *
row_hash_new(TALLOC_CTX *parent)
{
	struct row_hash *h = talloc_zero(parent, struct row_hash);

	h->md = EVP_MD_CTX_new();
	EVP_DigestInit_ex(h->md, EVP_sha256(), NULL);
	talloc_set_destructor(h, free_hash);
	return h;
}

void
row_hash_row(struct row_hash *h, const char *const *values, const size_t *lengths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t len = __builtin_bswap64(values[i] == NULL ? UINT64_MAX : (uint64_t)lengths[i]);

		EVP_DigestUpdate(h->md, &len, sizeof(len));
		if (values[i] != NULL)
			EVP_DigestUpdate(h->md, values[i], lengths[i]);
	}
	h->rows++;
}

uint64_t
row_hash_rows(const struct row_hash *h)
{
	return h->rows;
}

void
row_hash_end(struct row_hash *h, char hex[65])
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	EVP_DigestFinal_ex(h->md, hash, NULL);
	text_hex(hex, hash, 32);
}

/* ---- the question ------------------------------------------------------------------------- */

enum manifest_form
manifest_form(const char *type)
{
	static const struct { const char *type; enum manifest_form form; } odd[] = {
		{ "text", FORM_TEXT }, { "ntext", FORM_TEXT }, { "xml", FORM_TEXT }, { "json", FORM_TEXT },
		{ "sql_variant", FORM_TEXT }, { "image", FORM_BINARY }, { "geography", FORM_BINARY },
		{ "geometry", FORM_BINARY }, { "hierarchyid", FORM_BINARY },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		if (strcasecmp(odd[i].type, type) == 0)
			return odd[i].form;
	return FORM_PLAIN;
}

static char *
column_list(TALLOC_CTX *mem, const struct manifest_columns *c)
{
	static const char *const before[] = { "", "CONVERT(nvarchar(max), ", "CONVERT(varbinary(max), " };
	char *s = talloc_strdup(mem, "");

	for (size_t i = 0; i < c->n; i++)
		s = talloc_asprintf_append(s, "%s%s%s%s", i == 0 ? "" : ", ", before[c->forms[i]],
		                           tsql_name(mem, c->names[i]), c->forms[i] == FORM_PLAIN ? "" : ")");
	return s;
}

static char *
key_list(TALLOC_CTX *mem, const char *const *key, size_t n)
{
	char *s = talloc_strdup(mem, "");

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ", ", tsql_name(mem, key[i]));
	return s;
}

char *
manifest_query(TALLOC_CTX *parent, const char *schema, const char *table,
               const struct manifest_columns *columns, const char *const *key, size_t n_key)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *list = column_list(mem, columns);
	char *sql = talloc_asprintf(parent, "SELECT %s FROM %s.%s ORDER BY %s", list, tsql_name(mem, schema),
	                            tsql_name(mem, table), n_key > 0 ? key_list(mem, key, n_key) : list);

	talloc_free(mem);
	return sql;
}

/* ---- the manifest ------------------------------------------------------------------------- */

static const char *
member(TALLOC_CTX *mem, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? NULL : talloc_strdup(mem, s);
}

/* A SHA-256 in hex, in lower case; NULL for anything else. */
static const char *
hash_member(TALLOC_CTX *mem, const json_t *o)
{
	const char *s = json_string_value(json_object_get(o, "sha256"));
	char *low;

	if (s == NULL || strlen(s) != 64 || strspn(s, "0123456789abcdefABCDEF") != 64)
		return NULL;
	low = talloc_strdup(mem, s);
	for (char *p = low; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return low;
}

static bool
parse_key(TALLOC_CTX *mem, const json_t *list, struct manifest_table *t)
{
	size_t n = json_array_size(list);

	if (list == NULL)
		return true;
	if (!json_is_array(list) || n > KEY_MAX)
		return false;
	t->key = talloc_zero_array(mem, const char *, n + 1);
	for (; t->n_key < n; t->n_key++) {
		const char *s = json_string_value(json_array_get(list, t->n_key));

		if (s == NULL)
			return false;
		t->key[t->n_key] = talloc_strdup(mem, s);
	}
	return true;
}

/* seen: names so far. */
static bool
parse_table(TALLOC_CTX *mem, const json_t *o, json_t *seen, struct manifest_table *t, struct err *err)
{
	const json_t *rows = json_object_get(o, "rows");

	t->name = member(mem, o, "name");
	if (t->name == NULL)
		return err_set(err, ERR_BROKEN, 0, "a table without a name");
	if (json_object_get(seen, t->name) != NULL)
		return err_set(err, ERR_BROKEN, 0, "the table %.200s stands in it twice", t->name);
	json_object_set_new(seen, t->name, json_true());
	t->sha256 = hash_member(mem, o);
	if (!json_is_integer(rows) || json_integer_value(rows) < 0 || t->sha256 == NULL)
		return err_set(err, ERR_BROKEN, 0, "the table %.200s has no rows or no sha256", t->name);
	t->rows = (uint64_t)json_integer_value(rows);
	if (!parse_key(mem, json_object_get(o, "key"), t))
		return err_set(err, ERR_BROKEN, 0, "the key of the table %.200s is no list of columns", t->name);
	return true;
}

static bool
parse_head(struct manifest *m, const json_t *o, struct err *err)
{
	const char *schema = json_string_value(json_object_get(o, "schema")), *taken = member(m, o, "taken_at");

	if (schema == NULL || strcmp(schema, "landfall.manifest/1") != 0)
		return err_set(err, ERR_BROKEN, 0, "it has no \"schema\": \"landfall.manifest/1\"");
	if (!json_is_true(json_object_get(o, "end")))
		return err_set(err, ERR_BROKEN, 0, "it does not end with \"end\": true");
	m->database = member(m, o, "database");
	if (m->database == NULL)
		return err_set(err, ERR_BROKEN, 0, "it names no database");
	m->taken_at = taken == NULL ? "" : taken;
	m->n_tables = json_array_size(json_object_get(o, "tables"));
	if (!json_is_array(json_object_get(o, "tables")) || m->n_tables > TABLES_MAX)
		return err_set(err, ERR_BROKEN, 0, "it has no list of tables, or one of more than %d", TABLES_MAX);
	return true;
}

struct manifest *
manifest_parse(TALLOC_CTX *parent, const json_t *o, struct err *err)
{
	struct manifest *m = talloc_zero(parent, struct manifest);
	json_t *seen = json_object();
	bool good = parse_head(m, o, err);

	if (good)
		m->tables = talloc_zero_array(m, struct manifest_table, m->n_tables + 1);
	for (size_t i = 0; good && i < m->n_tables; i++)
		good = parse_table(m, json_array_get(json_object_get(o, "tables"), i), seen, &m->tables[i], err);
	json_decref(seen);
	if (good)
		return m;
	err_under(err, "the manifest is not whole");
	talloc_free(m);
	return NULL;
}
