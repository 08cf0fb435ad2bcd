/*
 * What the parts of a session share: the client, and how answers are gathered for it.
 *
 * Tokens are gathered and sent when the batch ends, or at once after the messages of BACKUP and RESTORE, which
 * is how a client sees "10 percent processed" while the statement runs. Each statement's DONE is held back until
 * it is known whether more follows, because only the last one may lack the MORE bit.
 */
#ifndef LANDFALL_STANDIN_SESSION_PARTS_H
#define LANDFALL_STANDIN_SESSION_PARTS_H

#include "tests/standin/session.h"
#include "tests/standin/tds_token.h"
#include "tests/standin/tsql_run.h"

/* Other numbers of DONE's curcmd stand where they are used; these are for what is no statement (captured). */
enum { CURCMD_CALL = 224, CURCMD_NONE = 253 };

struct prepared;

struct client {
	const struct server *server;
	struct tds_link *link;
	struct tds_buf *buf;
	struct tsql_session *session;
	struct tsql_replies replies;
	const char *login, *program, *host, *database; /* as LOGIN7 had them; for a session made anew */
	struct wire wire;  /* the knobs as they were when the request began, or later */
	uint32_t version;
	int spid;
	int done_token;    /* TDS_DONE, or TDS_DONE_IN_PROC inside a call */
	struct { bool there; unsigned status, curcmd; uint64_t rows; } held;
	struct tds_column *columns;
	size_t n_columns;
	struct prepared *prepared;
	int last_handle;
	uint64_t transaction; /* the number the client was told, 0 outside a transaction */
	uint64_t transactions;
	int first_error, last_note;
	bool attention, gone;
	bool idle; /* the attention came when nothing was running */
};

/* ---- answers (session.c) ---- */

void client_note(struct client *c, int number, int state, int severity, int line, const char *text);
void client_done(struct client *c, int curcmd, bool has_count, uint64_t rows, bool error);
void client_flush(struct client *c, bool end);
/* The DONE held back goes out, because more follows. */
void client_release_done(struct client *c);
/* What is held back is the end; an attention that came meanwhile is acknowledged after it, in a message of its own
 * (tedious waits for one; every client tried takes it). */
void client_end_reply(struct client *c);
/* One error and nothing else, as the answer to a request that is none. */
void client_refuse(struct client *c, int number, int state, int severity, const char *text);
/* Runs a batch under the statement log. */
void client_run(struct client *c, const char *text);
/* The session's state as it was after log-in. */
bool client_new_session(struct client *c, struct err *err);

/* ---- the other parts ---- */

/* session_login.c: from the first byte to the welcome. False: the client was refused or left. */
bool session_log_in(struct client *c);
/* session_call.c: a remote procedure call, answered. */
void session_call(struct client *c, const struct tds_message *m);

#endif
