/*
 * The check file of a product: YAML read by libcyaml; every complaint with file, line and key.
 */
#ifndef LANDFALL_CHECK_FILE_H
#define LANDFALL_CHECK_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* A comparison is a map with exactly one key. */
struct check_sql { char *query, *equals; int64_t *at_least; };
struct check_manifest { char *tables; };            /* "all" */
struct check_http { char *url; int status; };       /* url: the name of a var; status 0: 200 */
struct check_manual { char *ask; };

struct check {
	char *id, *title;
	char *severity, *tier; /* blocker, warning · gate, background, aftercare; NULL: the first */
	char *needs_table;     /* skipped when the database has no such table */
	struct check_sql *sql; /* exactly one of these four */
	struct check_manifest *manifest;
	struct check_http *http;
	struct check_manual *manual;
};

struct check_var { char *name, *from; }; /* from: intake.agent_url */

struct check_file {
	char *product;
	struct check_var *vars;
	unsigned n_vars;
	struct check *checks;
	unsigned n_checks;
};

/* NULL and ERR_OPERATOR with the first complaint. Ends with check_file_free. */
struct check_file *check_file_load(const char *path, struct err *err);
void check_file_free(struct check_file *file);

bool check_is_blocker(const struct check *check);
/* The field of the intake that a var is taken from. */
const char *check_var_key(const struct check_var *var);

#endif
