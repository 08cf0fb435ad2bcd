/*
 * The customer's manifest: its form, and the hash of a table's rows in it. Pure.
 *
 * The hash is SHA-256 over the rows in key order; of each row every column in table order: the length
 * of its UTF-8 text in bytes as a signed 64-bit big-endian number, then the text; NULL is length -1
 * and nothing. The text of a value is what common/mssql gives for it (dates ISO, uniqueidentifier in
 * lower case, binary 0x…). Limits to know: both ends share the text of float and real because both use
 * this program; a value beyond the client's text size (64 MB) counts as far as it was read, and text
 * only up to its first U+0000.
 */
#ifndef LANDFALL_ROW_HASH_H
#define LANDFALL_ROW_HASH_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <talloc.h>

#include "common/err.h"

struct row_hash;
struct row_hash *row_hash_new(TALLOC_CTX *parent);
void row_hash_row(struct row_hash *hash, const char *const *values, const size_t *lengths, size_t n);
uint64_t row_hash_rows(const struct row_hash *hash);
void row_hash_end(struct row_hash *hash, char hex[65]); /* once */

/* How a column is read: as it is, or converted because its type cannot be ordered or be text as it is. */
enum manifest_form { FORM_PLAIN, FORM_TEXT, FORM_BINARY };
enum manifest_form manifest_form(const char *data_type); /* a word of INFORMATION_SCHEMA: xml */

struct manifest_columns {
	const char *const *names;
	const enum manifest_form *forms;
	size_t n;
};
/* The question that reads a table for its hash, the same at both ends. Without a key: in the order of
 * all columns. */
char *manifest_query(TALLOC_CTX *parent, const char *schema, const char *table,
                     const struct manifest_columns *columns, const char *const *key, size_t n_key);

struct manifest_table {
	const char *name; /* dbo.ticket */
	const char **key;
	size_t n_key;
	uint64_t rows;
	const char *sha256; /* lower case */
};
struct manifest {
	const char *database, *taken_at; /* taken_at may be "" */
	struct manifest_table *tables;
	size_t n_tables;
};
/* landfall.manifest/1, whole. NULL and ERR_BROKEN for anything else; its text is a stranger's. */
struct manifest *manifest_parse(TALLOC_CTX *parent, const json_t *json, struct err *err);

#endif
