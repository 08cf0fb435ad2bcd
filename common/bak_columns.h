/*
 * The columns of RESTORE LABELONLY, HEADERONLY and FILELISTONLY in SQL Server's own names and order (2022),
 * each with where its value comes from and when it is final.
 *
 * One table is behind `landfall inspect --json`, `--columns`, what Postgres keeps and what the stand-in
 * server answers.
 */
#ifndef LANDFALL_BAK_COLUMNS_H
#define LANDFALL_BAK_COLUMNS_H

#include <jansson.h>

#include "common/bak.h"

enum bak_statement { BAK_LABELONLY, BAK_HEADERONLY, BAK_FILELISTONLY };

/* When a value is final: at the set's head already, or only at its end. UNKNOWN: not in the file; always null. */
enum bak_settles { BAK_AT_HEAD, BAK_AT_END, BAK_UNKNOWN };

struct bak_column {
	const char *name;
	int kind; /* how the value is shown */
	size_t at; /* in struct bak_media, bak_set or bak_file */
	uint32_t bit;
	enum bak_settles settles;
	const char *source; /* structure and offset in the file, or how it is derived, and how sure that is */
};

const struct bak_column *bak_columns(enum bak_statement statement, size_t *n);

/* The caller owns the reference. set for HEADERONLY and FILELISTONLY, file for the latter. */
json_t *bak_column_value(const struct bak_column *column, enum bak_statement statement, const struct bak *bak,
                         const struct bak_set *set, const struct bak_file *file);

#endif
