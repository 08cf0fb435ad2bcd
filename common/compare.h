/*
 * What the target reads in a backup, beside what our reader said of it. Pure.
 *
 * The plan rests on our reader alone. Before the first RESTORE of a set its RESTORE HEADERONLY and FILELISTONLY are
 * therefore laid beside it: a difference in what order and identity rest on (COMPARE_STOPS) is for a person, since one of
 * the two is wrong about which database this is or where it goes on; any other is only written down. Columns are bound by
 * name: releases append columns, and a server that does not send one says nothing about it. Our null is "cannot be known"
 * and differs from nothing, except in the LSNs that stop: there it is "none", which servers print as 0 or NULL.
 */
#ifndef LANDFALL_COMPARE_H
#define LANDFALL_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <talloc.h>

struct compare_difference {
	const char *what;           /* "LastLSN", "file 2: Size" */
	const char *ours, *theirs;  /* never NULL: "none", "absent" */
	bool stops;
};

struct compare_result {
	struct compare_difference *differences;
	size_t n;
	bool stops;
	char *text; /* the differences that stop, or else all, as a sentence; NULL when there is none */
};

/*
 * ours: the set's object as the reader prints it (bak_json_set); position: where the file that was read has it. headers
 * and files: the server's rows as arrays of objects, each value a string or null. A file may hold several sets: the row
 * of that Position counts. Owned by parent.
 */
struct compare_result *compare_set(TALLOC_CTX *parent, const json_t *ours, int position, const json_t *headers, const json_t *files);

/* [{"what", "ours", "theirs", "stops"}]; a new reference. */
json_t *compare_json(const struct compare_result *result);

#endif
