/*
 * A journal without what nobody needs any more.
 *
 * A journal is a file of lines, "SUM JSON\n", whose records carry ascending numbers "n". What a file or folder is now
 * is said by its last record alone; one that has ended (gone, removed) needs none. Postgres is told every record
 * of a file once, in order, so those it has not been told yet are all needed. What is kept stays as it was, byte for byte and in its
 * order: numbers are not used twice, and a journal that was cut is read like any other.
 */
#ifndef LANDFALL_COMPACT_H
#define LANDFALL_COMPACT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>
#include <talloc.h>

#include "common/err.h"

enum { COMPACT_WORTH = 4 }; /* less than that part of it must be needed */

/* The record of a line of that length, its end of line among it; NULL: it is none, or was spoilt. */
json_t *line_read(const char *line, size_t len);
/* Gives the record its number. */
char *line_make(TALLOC_CTX *parent, json_t *record, uint64_t n);

struct compacted {
	int fd;          /* of the fresh file, durable but for its name; -1: none was made, too much is needed */
	off_t length;
};

/*
 * What is needed of the first upto bytes of the journal at path, written to fresh. told: the last number Postgres was
 * told. Ends early, with an error, when *cancelled becomes true. Removals of files that the records told of have
 * happened before and are made durable first, since nothing would ask for them again.
 */
bool compact(const char *path, off_t upto, uint64_t told, const char *fresh, const atomic_bool *cancelled, struct compacted *out, struct err *err);

#endif
