/*
 * What came of a run: every answer beside what was expected, as lines, as a table of the differences, as files.
 *
 * What a server says is put out with everything taken from it that a terminal, a table or a page would obey.
 */
#ifndef TESTS_SQLSERVER_REPORT_H
#define TESTS_SQLSERVER_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <talloc.h>

#include "common/err.h"

struct report;
struct report *report_new(TALLOC_CTX *parent, const char *title);

struct report_answer { const char *name, *statement, *expected, *got, *said; };
/* Copies it and prints a line: ok or not ok. */
void report_add(struct report *r, const struct report_answer *a, bool same);
/* What was not asked, and why. */
void report_not_asked(struct report *r, const char *name, const char *why);

size_t report_differences(const struct report *r);
/* Prints the table and the sums; writes differences.md and answers.tsv into that folder. */
bool report_end(const struct report *r, const char *folder, struct err *err);

#endif
