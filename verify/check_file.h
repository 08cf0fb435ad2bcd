/*
 * The check file of a product: YAML read by libcyaml; every complaint with file, line and key.
 */
#ifndef LANDFALL_CHECK_FILE_H
#define LANDFALL_CHECK_FILE_H

#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

/* A comparison is a map with exactly one key. */
struct check_sql { char *query, *equals; int64_t *at_least; };
struct check_manifest { char *tables; };            /* "all" */
struct check_http { char *url; int status; };       /* url: the name of a var */
struct check_manual { char *ask; };

struct check {
	char *id, *title, *severity, *tier; /* severity: blocker, warning · tier: gate, background, aftercare */
	char *needs_table;                  /* skipped when the database has no such table */
	struct check_sql *sql;              /* exactly one of these four */
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

/* Lives as long as the program. */
struct check_file *check_file_load(const char *path, struct err *err);

#endif
