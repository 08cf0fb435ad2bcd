/*
 * The hash of a table's rows, as the customer's manifest has it. Pure.
 *
 * SHA-256 over the rows in key order; of each row every column in table order: its length in bytes as a signed
 * 64-bit big-endian number, then its UTF-8 text; NULL is length -1 and nothing. The text of a value is what
 * common/mssql gives for it (dates ISO, uniqueidentifier in lower case, binary 0x…), the same at both ends. A
 * limit to know: float and real come in the client library's shortest form, which both ends share only because
 * both use this program.
 */
#ifndef LANDFALL_ROW_HASH_H
#define LANDFALL_ROW_HASH_H

#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

struct row_hash;
struct row_hash *row_hash_new(TALLOC_CTX *parent);
void row_hash_row(struct row_hash *hash, const char *const *values, const size_t *lengths, size_t n);
uint64_t row_hash_rows(const struct row_hash *hash);
void row_hash_end(struct row_hash *hash, char hex[65]); /* once */

#endif
