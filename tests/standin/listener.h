/*
 * Hears what the engine answers, for tests that ask it without a session: messages, rows, and the order to break off.
 *
 * One for each statement: its out is what the engine is given. What it heard lives as long as it.
 */
#ifndef STANDIN_LISTENER_H
#define STANDIN_LISTENER_H

#include "tests/standin/engine.h"

struct heard {
	struct engine_out out;
	struct heard_message { int number, severity; const char *text; } *messages;
	size_t n, n_done_more;
	char *rows; /* "name=value;" for each value, one row a line; never NULL */
	struct engine_column *columns;
	size_t n_columns, n_rows;
	size_t asked;        /* how often cancelled() was asked */
	size_t cancel_after; /* answer yes from then on; 0: never */
	size_t die_after;    /* end the process as kill -9 does; 0: never */
	int line;            /* every message is written there first, so that a process can be ended at it; -1: nowhere */
};

/* program is what sys.dm_exec_sessions would say of us; session 51, log-in sa. */
struct heard *heard_new(TALLOC_CTX *parent, const char *program);

/* The first error's number and words; 0 and "" when there was none. */
int heard_error(const struct heard *h);
const char *heard_why(const struct heard *h);

/* "4305 3013": the errors in order. On h. */
const char *heard_errors(struct heard *h);

bool heard_number(const struct heard *h, int number);

/* The words of the first message of that number; "" when there was none. */
const char *heard_text(const struct heard *h, int number);

#endif
