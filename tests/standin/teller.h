/*
 * Hears a session's answers for tests: the tokens as one line of text, the first error's words, the rows.
 *
 * Tokens as written here: E number.state.class an ERROR, I number.state an INFO (class 0), C a result's number of
 * columns, R its rows, D status:command a DONE (1 more, 2 error, 16 count).
 */
#ifndef STANDIN_TELLER_H
#define STANDIN_TELLER_H

#include "tests/standin/tsql_run.h"

enum { TOKENS_MAX = 4096 };

/* Zeroed before its first use; owned by whoever has it. */
struct teller {
	char tokens[TOKENS_MAX], text[1024]; /* text: of the first error, else of the last message */
	size_t rows;
	struct { bool there; int status, curcmd; } held;
	bool had_error;
	void (*meanwhile)(void *ctx); /* called where a statement asks whether it was cancelled; may be NULL */
	void *meanwhile_ctx;
	struct tsql_replies replies;
	char *names; /* "name:kind:size name:…" of the newest result */
	char *first_row;
};

/* A session of that log-in; NULL with err. spid is what the server would have given it. */
struct tsql_session *teller_session(TALLOC_CTX *mem, struct teller *t, struct engine *e, const char *login, int spid, struct err *err);

/* Runs a batch; the teller then holds its answer. */
void teller_run(struct teller *t, struct tsql_session *s, const char *batch);

void teller_end(struct teller *t);

#endif
