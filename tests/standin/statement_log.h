/*
 * The stand-in's own record of what it was asked, the judge of "run once".
 *
 * One JSON line before a batch runs, forced to disk unless the batch only reads, and one with its outcome after. Passwords
 * never stand in it. Safe from any thread.
 */
#ifndef LANDFALL_STANDIN_STATEMENT_LOG_H
#define LANDFALL_STANDIN_STATEMENT_LOG_H

#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

struct statement_log;
struct statement_log *statement_log_open(TALLOC_CTX *parent, const char *path, struct err *err);

struct statement {
	int session;
	const char *program, *login, *database, *text;
};

/* {"at", "id", "session", "program", "login", "database", "text"}; gives the id, 0 when it could not be
 * written, in which case the batch must not run. */
uint64_t statement_log_begin(struct statement_log *log, const struct statement *statement, struct err *err);

/* {"at", "id", "error", "said"}: the first error's number, 0 for none; the last message's, so 3014 where a RESTORE was
 * done and not only asked for under a condition. */
void statement_log_end(struct statement_log *log, uint64_t id, int first_error, int last_note);

#endif
