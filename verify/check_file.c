#include "verify/check_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cyaml/cyaml.h>

enum { TEXT_MAX = 4000 };

#define TEXT(key, flags, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, 1, TEXT_MAX)
#define OPTIONAL CYAML_FLAG_OPTIONAL

static const cyaml_schema_field_t sql_fields[] = {
	TEXT("query", 0, struct check_sql, query), TEXT("equals", OPTIONAL, struct check_sql, equals),
	CYAML_FIELD_INT_PTR("at_least", CYAML_FLAG_POINTER | OPTIONAL, struct check_sql, at_least), CYAML_FIELD_END,
};
static const cyaml_schema_field_t manifest_fields[] = { TEXT("tables", 0, struct check_manifest, tables), CYAML_FIELD_END };
static const cyaml_schema_field_t http_fields[] = {
	TEXT("url", 0, struct check_http, url), CYAML_FIELD_INT("status", OPTIONAL, struct check_http, status), CYAML_FIELD_END,
};
static const cyaml_schema_field_t manual_fields[] = { TEXT("ask", 0, struct check_manual, ask), CYAML_FIELD_END };

static const cyaml_schema_field_t check_fields[] = {
	TEXT("id", 0, struct check, id), TEXT("title", OPTIONAL, struct check, title), TEXT("severity", OPTIONAL, struct check, severity),
	TEXT("tier", OPTIONAL, struct check, tier), TEXT("needs_table", OPTIONAL, struct check, needs_table),
	CYAML_FIELD_MAPPING_PTR("sql", CYAML_FLAG_POINTER | OPTIONAL, struct check, sql, sql_fields),
	CYAML_FIELD_MAPPING_PTR("manifest", CYAML_FLAG_POINTER | OPTIONAL, struct check, manifest, manifest_fields),
	CYAML_FIELD_MAPPING_PTR("http", CYAML_FLAG_POINTER | OPTIONAL, struct check, http, http_fields),
	CYAML_FIELD_MAPPING_PTR("manual", CYAML_FLAG_POINTER | OPTIONAL, struct check, manual, manual_fields), CYAML_FIELD_END,
};
static const cyaml_schema_value_t check_entry = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct check, check_fields) };

static const cyaml_schema_field_t var_fields[] = {
	TEXT("name", 0, struct check_var, name), TEXT("from", 0, struct check_var, from), CYAML_FIELD_END,
};
static const cyaml_schema_value_t var_entry = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct check_var, var_fields) };

static const cyaml_schema_field_t file_fields[] = {
	TEXT("product", 0, struct check_file, product),
	CYAML_FIELD_SEQUENCE_COUNT("vars", CYAML_FLAG_POINTER | OPTIONAL, struct check_file, vars, n_vars, &var_entry, 0, 100),
	CYAML_FIELD_SEQUENCE_COUNT("checks", CYAML_FLAG_POINTER, struct check_file, checks, n_checks, &check_entry, 1, 500), CYAML_FIELD_END,
};
static const cyaml_schema_value_t schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct check_file, file_fields) };

struct complaint { char text[400]; };

static void
on_log(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct complaint *c = ctx;
	size_t have = strlen(c->text);

	(void)level;
	vsnprintf(c->text + have, sizeof(c->text) - have, fmt, ap);
	for (char *p = c->text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
}

static bool
is_among(const char *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s != NULL && strcmp(words[i], s) == 0)
			return true;
	return s == NULL;
}

static bool
is_sound(const char *path, const struct check *c, struct err *err)
{
	static const char *const severities[] = { "blocker", "warning" }, *const tiers[] = { "gate", "background", "aftercare" };
	int kinds = (c->sql != NULL) + (c->manifest != NULL) + (c->http != NULL) + (c->manual != NULL);

	if (kinds != 1)
		return err_set(err, ERR_OPERATOR, 0, "%s: check %s needs exactly one of sql, manifest, http, manual", path, c->id);
	if (c->sql != NULL && (c->sql->equals != NULL) + (c->sql->at_least != NULL) != 1)
		return err_set(err, ERR_OPERATOR, 0, "%s: check %s needs exactly one of equals, at_least", path, c->id);
	if (!is_among(c->severity, severities, 2) || !is_among(c->tier, tiers, 3))
		return err_set(err, ERR_OPERATOR, 0, "%s: check %s: severity is blocker or warning, tier is gate, background or aftercare", path, c->id);
	return true;
}

struct check_file *
check_file_load(const char *path, struct err *err)
{
	struct complaint complaint = { "" };
	const cyaml_config_t config = { .log_fn = on_log, .log_ctx = &complaint, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_WARNING,
		.flags = CYAML_CFG_NO_ALIAS };
	struct check_file *file = NULL;
	cyaml_err_t e;

	if (access(path, R_OK) != 0) {
		err_set(err, ERR_OPERATOR, 0, "%s cannot be read", path);
		return NULL;
	}
	e = cyaml_load_file(path, &config, &schema, (cyaml_data_t **)&file, NULL);
	if (e != CYAML_OK || file == NULL) {
		err_set(err, ERR_OPERATOR, 0, "%s: %s", path, complaint.text[0] == '\0' ? cyaml_strerror(e) : complaint.text);
		return NULL;
	}
	for (unsigned i = 0; i < file->n_checks; i++)
		if (!is_sound(path, &file->checks[i], err))
			return NULL;
	return file;
}
