#include "verify/check_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cyaml/cyaml.h>

enum { TEXT_MAX = 4000, CHECKS_MAX = 500, VARS_MAX = 100 };

#define INTAKE "intake."
#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, flags, type, member) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, 1, TEXT_MAX)
#define KIND(name) \
	CYAML_FIELD_MAPPING_PTR(#name, CYAML_FLAG_POINTER | OPTIONAL, struct check, name, name##_fields)

static const cyaml_schema_field_t sql_fields[] = {
	TEXT("query", 0, struct check_sql, query),
	TEXT("equals", OPTIONAL, struct check_sql, equals),
	CYAML_FIELD_INT_PTR("at_least", CYAML_FLAG_POINTER | OPTIONAL, struct check_sql, at_least),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t manifest_fields[] = {
	TEXT("tables", 0, struct check_manifest, tables),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t http_fields[] = {
	TEXT("url", 0, struct check_http, url),
	CYAML_FIELD_INT("status", OPTIONAL, struct check_http, status),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t manual_fields[] = {
	TEXT("ask", 0, struct check_manual, ask),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t check_fields[] = {
	TEXT("id", 0, struct check, id),
	TEXT("title", OPTIONAL, struct check, title),
	TEXT("severity", OPTIONAL, struct check, severity),
	TEXT("tier", OPTIONAL, struct check, tier),
	TEXT("needs_table", OPTIONAL, struct check, needs_table),
	KIND(sql),
	KIND(manifest),
	KIND(http),
	KIND(manual),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t check_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct check, check_fields),
};
static const cyaml_schema_field_t var_fields[] = {
	TEXT("name", 0, struct check_var, name),
	TEXT("from", 0, struct check_var, from),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t var_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct check_var, var_fields),
};
static const cyaml_schema_field_t file_fields[] = {
	TEXT("product", 0, struct check_file, product),
	CYAML_FIELD_SEQUENCE_COUNT("vars", CYAML_FLAG_POINTER | OPTIONAL, struct check_file, vars, n_vars,
	                           &var_entry, 0, VARS_MAX),
	CYAML_FIELD_SEQUENCE_COUNT("checks", CYAML_FLAG_POINTER, struct check_file, checks, n_checks,
	                           &check_entry, 1, CHECKS_MAX),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct check_file, file_fields),
};

/* What libcyaml says: first the key, then where it stands. */
struct complaint { char text[400]; };

__attribute__((format(printf, 3, 0))) static void
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

static cyaml_config_t
reading(struct complaint *complaint)
{
	return (cyaml_config_t){ .log_fn = on_log, .log_ctx = complaint, .mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_WARNING, .flags = CYAML_CFG_NO_ALIAS };
}

/* ---- what libcyaml cannot know ------------------------------------------------------------ */

/* libcyaml keeps no places; the line where the nth "key: value" stands is looked up, 0 when unseen. */
static unsigned
line_of(const char *path, const char *key, const char *value, int nth)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	unsigned number = 0, at = 0;

	while (f != NULL && nth > 0 && getline(&line, &room, f) >= 0) {
		const char *p = strstr(line, key);

		number++;
		if (p != NULL && p[strlen(key)] == ':') {
			p += strlen(key) + 1;
			p += strspn(p, " '\"");
			if (strncmp(p, value, strlen(value)) == 0 && strchr(" '\",}\r\n", p[strlen(value)]) != NULL) {
				at = number;
				nth--;
			}
		}
	}
	free(line);
	if (f != NULL)
		fclose(f);
	return at;
}

/* Where an entry begins, what it is called, the key, and what is the matter with it. */
static bool
complain(struct err *err, const char *path, unsigned line, const char *entry, const char *key,
         const char *what)
{
	return err_set(err, ERR_OPERATOR, 0, "%s:%u: %s: %s: %s", path, line, entry, key, what);
}

static bool
is_among(const char *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s != NULL && strcmp(words[i], s) == 0)
			return true;
	return s == NULL;
}

static const char *
wrong_with(const struct check_file *file, const struct check *c, const char **key)
{
	static const char *const severities[] = { "blocker", "warning" };
	static const char *const tiers[] = { "gate", "background", "aftercare" };
	bool is_known = false;

	*key = "kind";
	if ((c->sql != NULL) + (c->manifest != NULL) + (c->http != NULL) + (c->manual != NULL) != 1)
		return "exactly one of sql, manifest, http, manual is needed";
	*key = "severity";
	if (!is_among(c->severity, severities, 2))
		return "it is blocker or warning";
	*key = "tier";
	if (!is_among(c->tier, tiers, 3))
		return "it is gate, background or aftercare";
	*key = "sql";
	if (c->sql != NULL && (c->sql->equals != NULL) + (c->sql->at_least != NULL) != 1)
		return "exactly one of equals, at_least is needed";
	*key = "manifest.tables";
	if (c->manifest != NULL && strcmp(c->manifest->tables, "all") != 0)
		return "it is all";
	*key = "http.status";
	if (c->http != NULL && c->http->status != 0 && (c->http->status < 100 || c->http->status > 599))
		return "it is a number from 100 to 599";
	*key = "http.url";
	for (unsigned i = 0; i < file->n_vars; i++)
		is_known = is_known || (c->http != NULL && strcmp(file->vars[i].name, c->http->url) == 0);
	return c->http != NULL && !is_known ? "it is the name of a var, and there is none of that name" : NULL;
}

static bool
is_sound(const char *path, const struct check_file *file, struct err *err)
{
	for (unsigned i = 0; i < file->n_vars; i++) {
		const struct check_var *v = &file->vars[i];

		if (strncmp(v->from, INTAKE, strlen(INTAKE)) != 0 || v->from[strlen(INTAKE)] == '\0')
			return complain(err, path, line_of(path, "name", v->name, 1), v->name, "from",
			                "a var comes from the intake: intake.agent_url");
	}
	for (unsigned i = 0; i < file->n_checks; i++) {
		const struct check *c = &file->checks[i];
		const char *key, *wrong = wrong_with(file, c, &key);

		if (wrong != NULL)
			return complain(err, path, line_of(path, "id", c->id, 1), c->id, key, wrong);
		for (unsigned k = 0; k < i; k++)
			if (strcmp(file->checks[k].id, c->id) == 0)
				return complain(err, path, line_of(path, "id", c->id, 2), c->id, "id",
				                "another check has this id already");
	}
	return true;
}

/* ---- reading ------------------------------------------------------------------------------ */

void
check_file_free(struct check_file *file)
{
	struct complaint unheard = { "" };
	cyaml_config_t config = reading(&unheard);

	cyaml_free(&config, &schema, file, 0);
}

struct check_file *
check_file_load(const char *path, struct err *err)
{
	struct complaint complaint = { "" };
	cyaml_config_t config = reading(&complaint);
	struct check_file *file = NULL;
	cyaml_err_t e;

	if (access(path, R_OK) != 0) {
		err_set(err, ERR_OPERATOR, 0, "%s cannot be read", path);
		return NULL;
	}
	e = cyaml_load_file(path, &config, &schema, (cyaml_data_t **)&file, NULL);
	if (e != CYAML_OK || file == NULL) {
		err_set(err, ERR_OPERATOR, 0, "%s: %s", path,
		        complaint.text[0] == '\0' ? cyaml_strerror(e) : complaint.text);
		return NULL;
	}
	if (is_sound(path, file, err))
		return file;
	check_file_free(file);
	return NULL;
}

bool
check_is_blocker(const struct check *c)
{
	return c->severity == NULL || strcmp(c->severity, "blocker") == 0;
}

const char *
check_var_key(const struct check_var *v)
{
	return v->from + strlen(INTAKE);
}
