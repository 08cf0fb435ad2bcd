#include "tests/standin/session_parts.h"

#include <stdlib.h>
#include <string.h>

#include "tests/standin/tds_request.h"

enum { FLUSH_AT = 64 * 1024, MESSAGE_PROGRESS = 3211, MESSAGE_FILE = 4035 };

/* ---- answers --------------------------------------------------------------------------------------------- */

void
client_flush(struct client *c, bool end)
{
	struct err err = { 0 };

	if (!c->gone && (c->buf->len > 0 || end) && !tds_link_send(c->link, TDS_REPLY, c->buf->mem, c->buf->len, end, &err))
		c->gone = true;
	tds_buf_clear(c->buf);
}

static void
release_done(struct client *c, bool more)
{
	if (c->held.there)
		tds_done_token(c->buf, c->version, c->done_token, c->held.status | (more ? TDS_DONE_MORE : 0), c->held.curcmd, c->held.rows);
	c->held.there = false;
}

void
client_release_done(struct client *c)
{
	release_done(c, true);
}

/* From 7.2 on the client carries the transaction's number in its requests, so it is told of every change. */
static void
tell_transaction(struct client *c, int what)
{
	bool open = c->session != NULL && c->session->trancount > 0;

	if (c->version < TDS_7_2 || open == (c->transaction != 0))
		return;
	if (open)
		c->transaction = (uint64_t)(unsigned)c->spid << 32 | ++c->transactions;
	tds_envchange_transaction(c->buf, open ? TDS_ENV_BEGIN : what, c->transaction);
	if (!open)
		c->transaction = 0;
}

/* Knobs that bite in the middle of a BACKUP or RESTORE. */
static void
play_faults(struct client *c, const char *progress)
{
	int percent = atoi(progress);

	c->wire = wire_now(c->server->wire);
	if (c->wire.drop_at > 0 && percent >= c->wire.drop_at) {
		tds_link_hang_up(c->link);
		c->gone = true;
	} else if (c->wire.silent_at > 0 && percent >= c->wire.silent_at) {
		tds_link_mute(c->link);
	}
}

void
client_note(struct client *c, int number, int state, int severity, int line, const char *text)
{
	struct tds_note n = { .number = number, .state = state, .class = severity <= 10 ? 0 : severity, .text = text,
		.server = engine_server_name(c->server->e), .line = line };

	release_done(c, true);
	tds_message_token(c->buf, c->version, &n);
	c->last_note = number;
	if (severity > 10 && c->first_error == 0)
		c->first_error = number;
	if (number == MESSAGE_PROGRESS)
		play_faults(c, text);
}

void
client_done(struct client *c, int curcmd, bool has_count, uint64_t rows, bool error)
{
	release_done(c, true);
	tell_transaction(c, curcmd == 213 ? TDS_ENV_COMMIT : TDS_ENV_ROLLBACK);
	c->held.there = true;
	c->held.status = (error ? TDS_DONE_ERROR : 0u) | (has_count ? TDS_DONE_COUNT : 0u);
	c->held.curcmd = (unsigned)curcmd;
	c->held.rows = has_count ? rows : 0;
}

void
client_end_reply(struct client *c)
{
	bool same = c->attention && (c->idle || c->wire.attention_shape == WIRE_ATTENTION_SAME);

	tell_transaction(c, TDS_ENV_ROLLBACK);
	/* What was broken off ends with an error's DONE, whatever it was (captured for WAITFOR). */
	if (c->attention && !c->idle)
		c->held.status |= TDS_DONE_ERROR;
	release_done(c, same);
	if (c->attention && !same)
		client_flush(c, true);
	if (c->attention)
		tds_done_token(c->buf, c->version, TDS_DONE, TDS_DONE_ATTENTION, CURCMD_NONE, 0);
	client_flush(c, true);
	c->attention = false;
}

void
client_refuse(struct client *c, int number, int state, int severity, const char *text)
{
	client_note(c, number, state, severity, 1, text);
	client_done(c, CURCMD_NONE, false, 0, true);
	client_end_reply(c);
}

/* ---- what the language half says ------------------------------------------------------------------------------ */

static void
on_note(void *ctx, int number, int state, int severity, int line, const char *text)
{
	client_note(ctx, number, state, severity, line, text);
}

static void
on_done(void *ctx, int curcmd, bool has_count, uint64_t rows, bool error)
{
	client_done(ctx, curcmd, has_count, rows, error);
}

static void
on_columns(void *ctx, const struct tds_column *columns, size_t n)
{
	struct client *c = ctx;

	release_done(c, true);
	talloc_free(c->columns);
	c->columns = talloc_array(c->link, struct tds_column, n + 1);
	for (size_t i = 0; i < n; i++)
		c->columns[i] = (struct tds_column){ talloc_strdup(c->columns, columns[i].name), tds_type_for(columns[i].type, c->version) };
	c->n_columns = n;
	tds_columns_token(c->buf, c->version, c->columns, n);
}

static bool
on_row(void *ctx, const struct tds_value *values, size_t n)
{
	struct client *c = ctx;
	size_t before = c->buf->len;
	struct err err = { 0 };

	tds_row_token(c->buf);
	for (size_t i = 0; i < n && i < c->n_columns; i++)
		if (!tds_put_value(c->buf, c->columns[i].type, values[i], &err)) {
			c->buf->len = before;
			client_note(c, err.code == 0 ? 245 : err.code, 1, 16, 1, err.text);
			return false;
		}
	if (c->buf->len >= FLUSH_AT)
		client_flush(c, false);
	return !c->gone;
}

/* After a message of BACKUP or RESTORE: the client sees it now, with a DONE of its own or without. */
static void
on_done_more(void *ctx, int curcmd)
{
	struct client *c = ctx;

	if (c->wire.done_shape == WIRE_DONE_EACH || (c->wire.done_shape == WIRE_DONE_FILES && c->last_note == MESSAGE_FILE))
		tds_done_token(c->buf, c->version, c->done_token, TDS_DONE_MORE, (unsigned)curcmd, 0);
	client_flush(c, false);
}

static void
on_use(void *ctx, const char *now, const char *before)
{
	struct client *c = ctx;
	char text[400];

	release_done(c, true);
	tds_envchange_text(c->buf, TDS_ENV_DATABASE, now, before);
	snprintf(text, sizeof(text), "Changed database context to '%s'.", now);
	client_note(c, 5701, 2, 0, 1, text);
}

/* Attention, or the end of the line; anything else while a batch runs is against the protocol. */
static bool
on_cancelled(void *ctx)
{
	struct client *c = ctx;
	struct tds_message m;
	struct err err = { 0 };

	if (c->attention || c->gone)
		return true;
	/* A server whose line went dead does not know it before it has something to say. */
	if (tds_link_is_mute(c->link))
		return false;
	switch (tds_link_read(c->link, 0, &m, &err)) {
	case TDS_GOT_NOTHING: break;
	case TDS_GOT_END: c->gone = true; break;
	case TDS_GOT_MESSAGE:
		if (m.type != TDS_ATTENTION)
			c->gone = true;
		else
			c->attention = !wire_now(c->server->wire).ignore_attention;
		break;
	}
	return c->attention || c->gone;
}

static bool
on_wire(void *ctx, const char *name, const char *value, struct err *err)
{
	struct client *c = ctx;

	return wire_set(c->server->wire, name, value, err);
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

bool
client_new_session(struct client *c, struct err *err)
{
	struct tsql_session *fresh = tsql_session_new(c->link, c->server->e, &c->replies, c->login, c->database, err);

	if (fresh == NULL)
		return false;
	talloc_free(c->session);
	c->session = fresh;
	fresh->spid = c->spid;
	fresh->program = c->program;
	fresh->host = c->host;
	return true;
}

void
client_run(struct client *c, const char *text)
{
	struct statement st = { .session = c->spid, .program = c->session->program, .login = c->session->login,
		.database = c->session->database, .text = text };
	struct err err = { 0 };
	uint64_t id = statement_log_begin(c->server->log, &st, &err);

	c->first_error = c->last_note = 0;
	c->held.there = false;
	if (id == 0) {
		client_note(c, 9002, 1, 17, 1, err.text);
		client_done(c, CURCMD_NONE, false, 0, true);
		return;
	}
	tsql_run(c->session, text);
	statement_log_end(c->server->log, id, c->first_error, c->last_note);
	/* A batch without any statement is still answered. */
	if (!c->held.there)
		client_done(c, CURCMD_NONE, false, 0, c->first_error != 0);
}

static void
batch(struct client *c, const struct tds_message *m)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	char *text;

	if (tds_batch_parse(m->mem, m->len, c->version, mem, &text, &err)) {
		client_run(c, text);
		tsql_forget_variables(c->session);
		client_end_reply(c);
	} else {
		client_refuse(c, 102, 1, 15, err.text);
	}
	talloc_free(mem);
}

static void
transaction(struct client *c, const struct tds_message *m)
{
	static const struct { int request; const char *text; } known[] = {
		{ TDS_TRAN_BEGIN, "BEGIN TRAN" }, { TDS_TRAN_COMMIT, "COMMIT" }, { TDS_TRAN_ROLLBACK, "ROLLBACK" },
	};
	struct tds_transaction asked;
	struct err err = { 0 };
	const char *text = NULL;

	if (!tds_transaction_parse(m->mem, m->len, c->version, &asked, &err)) {
		client_refuse(c, 8022, 1, 16, err.text);
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].request == asked.request)
			text = known[i].text;
	if (text == NULL) {
		client_refuse(c, 50000, 1, 16, "the stand-in has no savepoints and no distributed transactions; BEGIN, COMMIT and ROLLBACK are there");
		return;
	}
	client_run(c, text);
	if (asked.begins_next && c->first_error == 0)
		client_run(c, "BEGIN TRAN");
	client_end_reply(c);
}

/* The client's pool gives the connection to somebody else. Keeping the transaction, it keeps the session. */
static void
reset(struct client *c, bool keep_transaction)
{
	struct err err = { 0 };

	if (!keep_transaction && !client_new_session(c, &err))
		c->gone = true;
	tds_envchange_reset(c->buf);
	tell_transaction(c, TDS_ENV_ROLLBACK);
}

static void
answer(struct client *c, const struct tds_message *m)
{
	c->wire = wire_now(c->server->wire);
	tds_link_set_split(c->link, (size_t)c->wire.split);
	if (m->reset)
		reset(c, m->reset_keeps_transaction);
	if (m->ignore) {
		client_done(c, CURCMD_NONE, false, 0, true);
		client_end_reply(c);
	} else if (m->type == TDS_BATCH) {
		batch(c, m);
	} else if (m->type == TDS_RPC) {
		session_call(c, m);
	} else if (m->type == TDS_TRANSACTION) {
		transaction(c, m);
	} else if (m->type == TDS_ATTENTION) {
		c->attention = c->idle = true;
		client_end_reply(c);
		c->idle = false;
	} else {
		c->gone = true;
	}
	/* Who was not heard any more is not served any further: only now does the server notice. */
	if (tds_link_is_mute(c->link))
		c->gone = true;
}

static void
conversation(struct client *c)
{
	struct tds_message m;
	struct err err = { 0 };

	while (!c->gone && tds_link_read(c->link, -1, &m, &err) == TDS_GOT_MESSAGE)
		answer(c, &m);
}

void
session_serve(const struct server *server, int fd, int spid)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct client *c = talloc_zero(mem, struct client);

	c->server = server;
	c->spid = spid;
	c->version = TDS_7_4;
	c->done_token = TDS_DONE;
	c->link = tds_link_new(mem, fd, (uint16_t)spid);
	c->buf = tds_buf_new(mem);
	c->replies = (struct tsql_replies){ .ctx = c, .note = on_note, .columns = on_columns, .row = on_row, .done = on_done,
		.done_more = on_done_more, .use = on_use, .cancelled = on_cancelled, .wire = on_wire };
	if (session_log_in(c))
		conversation(c);
	talloc_free(c->session);
	talloc_free(mem);
}
