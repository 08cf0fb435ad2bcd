#include "tests/standin/session.h"

#include <string.h>
#include <strings.h>

#include "tests/standin/tds_login.h"
#include "tests/standin/tds_request.h"
#include "tests/standin/tds_token.h"
#include "tests/standin/tsql_run.h"

/*
 * Tokens are gathered and sent when the batch ends, or at once after the messages of BACKUP and RESTORE, which
 * is how a client sees "10 percent processed" while the statement runs. Each statement's DONE is held back until
 * it is known whether more follows, because only the last one may lack the MORE bit.
 */

enum { LOGIN_WAIT_MS = 15000, FLUSH_AT = 64 * 1024, MAJOR = 15, BUILD = 4430 };

struct client {
	const struct server *server;
	struct tds_link *link;
	struct tds_buf *buf;
	struct tsql_session *session;
	uint32_t version;
	int spid;
	int done_token; /* TDS_DONE, or TDS_DONE_IN_PROC inside a call */
	struct { bool there; unsigned status, curcmd; uint64_t rows; } held;
	struct tds_column *columns;
	size_t n_columns;
	int first_error;
	bool attention, gone;
};

/* ---- replies --------------------------------------------------------------------------------------------- */

static void
flush(struct client *c, bool end)
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

static void
on_note(void *ctx, int number, int state, int severity, int line, const char *text)
{
	struct client *c = ctx;
	struct tds_note n = { .number = number, .state = state, .class = severity <= 10 ? 0 : severity, .text = text,
		.server = engine_server_name(c->server->e), .line = line };

	release_done(c, true);
	tds_message_token(c->buf, c->version, &n);
	if (severity > 10 && c->first_error == 0)
		c->first_error = number;
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
			on_note(c, err.code == 0 ? 245 : err.code, 1, 16, 1, err.text);
			return false;
		}
	if (c->buf->len >= FLUSH_AT)
		flush(c, false);
	return !c->gone;
}

static void
on_done(void *ctx, int curcmd, bool has_count, uint64_t rows, bool error)
{
	struct client *c = ctx;

	release_done(c, true);
	c->held.there = true;
	c->held.status = (error ? TDS_DONE_ERROR : 0u) | (has_count ? TDS_DONE_COUNT : 0u);
	c->held.curcmd = (unsigned)curcmd;
	c->held.rows = has_count ? rows : 0;
}

static void
on_done_more(void *ctx, int curcmd)
{
	struct client *c = ctx;

	tds_done_token(c->buf, c->version, c->done_token, TDS_DONE_MORE, (unsigned)curcmd, 0);
	flush(c, false);
}

static void
on_use(void *ctx, const char *now, const char *before)
{
	struct client *c = ctx;
	char text[400];

	release_done(c, true);
	tds_envchange_text(c->buf, TDS_ENV_DATABASE, now, before);
	snprintf(text, sizeof(text), "Changed database context to '%s'.", now);
	on_note(c, 5701, 2, 0, 1, text);
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
	switch (tds_link_read(c->link, 0, &m, &err)) {
	case TDS_GOT_NOTHING: break;
	case TDS_GOT_END: c->gone = true; break;
	case TDS_GOT_MESSAGE:
		if (m.type == TDS_ATTENTION)
			c->attention = true;
		else
			c->gone = true;
		break;
	}
	return c->attention || c->gone;
}

static struct tsql_replies
replies_of(struct client *c)
{
	return (struct tsql_replies){ .ctx = c, .note = on_note, .columns = on_columns, .row = on_row, .done = on_done,
		.done_more = on_done_more, .use = on_use, .cancelled = on_cancelled };
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static void
end_reply(struct client *c, bool is_call)
{
	release_done(c, is_call || c->attention);
	if (is_call) {
		tds_return_status(c->buf, c->first_error == 0 ? 0 : 1);
		tds_done_token(c->buf, c->version, TDS_DONE_PROC, (c->first_error == 0 ? 0u : TDS_DONE_ERROR) | (c->attention ? TDS_DONE_MORE : 0u), 224, 0);
	}
	if (c->attention)
		tds_done_token(c->buf, c->version, TDS_DONE, TDS_DONE_ATTENTION, 253, 0);
	flush(c, true);
	c->attention = false;
}

static void
run_logged(struct client *c, const char *text)
{
	struct statement st = { .session = c->spid, .program = c->session->program, .login = c->session->login,
		.database = c->session->database, .text = text };
	struct err err = { 0 };
	uint64_t id = statement_log_begin(c->server->log, &st, &err);

	c->first_error = 0;
	c->held.there = false;
	if (id == 0) {
		on_note(c, 9002, 1, 17, 1, err.text);
		on_done(c, 253, false, 0, true);
		return;
	}
	tsql_run(c->session, text);
	statement_log_end(c->server->log, id, c->first_error);
	/* A batch without any statement is still answered. */
	if (!c->held.there)
		on_done(c, 253, false, 0, c->first_error != 0);
}

static void
batch(struct client *c, const struct tds_message *m)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	char *text;

	if (tds_batch_parse(m->mem, m->len, c->version, mem, &text, &err)) {
		run_logged(c, text);
	} else {
		on_note(c, 102, 1, 15, 1, err.text);
		on_done(c, 253, false, 0, true);
	}
	end_reply(c, false);
	talloc_free(mem);
}

static void
call(struct client *c, const struct tds_message *m)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	struct tds_call call_;

	c->done_token = TDS_DONE_IN_PROC;
	if (!tds_call_parse(m->mem, m->len, c->version, mem, &call_, &err)) {
		on_note(c, 8005, 1, 16, 1, err.text);
		on_done(c, 224, false, 0, true);
	} else if ((call_.number != TDS_PROC_EXECUTESQL && strcasecmp(call_.name, "sp_executesql") != 0) || call_.n_params < 1 ||
	           call_.params[0].value.shape != TDS_TEXT) {
		on_note(c, 2812, 62, 16, 1, "Could not find stored procedure.");
		on_done(c, 224, false, 0, true);
	} else {
		char *text = talloc_strndup(mem, call_.params[0].value.mem, call_.params[0].value.len);

		for (size_t i = 2; i < call_.n_params; i++)
			tsql_set_variable(c->session, call_.params[i].name, call_.params[i].type, &call_.params[i].value);
		run_logged(c, text);
	}
	end_reply(c, true);
	c->done_token = TDS_DONE;
	talloc_free(mem);
}

static void
transaction(struct client *c, const struct tds_message *m)
{
	struct err err = { 0 };
	int request = 0;

	if (!tds_transaction_parse(m->mem, m->len, c->version, &request, &err)) {
		on_note(c, 8022, 1, 16, 1, err.text);
		on_done(c, 253, false, 0, true);
	} else {
		run_logged(c, request == TDS_TRAN_BEGIN ? "BEGIN TRAN" : request == TDS_TRAN_COMMIT ? "COMMIT" : "ROLLBACK");
		if (c->first_error == 0)
			tds_envchange_transaction(c->buf, request == TDS_TRAN_BEGIN ? TDS_ENV_BEGIN : request == TDS_TRAN_COMMIT ? TDS_ENV_COMMIT
			                          : TDS_ENV_ROLLBACK, (uint64_t)c->spid);
	}
	end_reply(c, false);
}

static void
conversation(struct client *c)
{
	struct tds_message m;
	struct err err = { 0 };

	while (!c->gone && tds_link_read(c->link, -1, &m, &err) == TDS_GOT_MESSAGE) {
		if (m.reset)
			tds_envchange_reset(c->buf);
		if (m.ignore)
			end_reply(c, false);
		else if (m.type == TDS_BATCH)
			batch(c, &m);
		else if (m.type == TDS_RPC)
			call(c, &m);
		else if (m.type == TDS_TRANSACTION)
			transaction(c, &m);
		else if (m.type == TDS_ATTENTION) {
			c->attention = true;
			end_reply(c, false);
		} else {
			return;
		}
	}
}

/* ---- log-in ------------------------------------------------------------------------------------------------------ */

static bool
prelogin(struct client *c)
{
	struct tds_message m;
	struct tds_prelogin asked;
	struct err err = { 0 };
	bool go_on;
	uint8_t answer;

	if (tds_link_read(c->link, LOGIN_WAIT_MS, &m, &err) != TDS_GOT_MESSAGE || m.type != TDS_PRELOGIN ||
	    !tds_prelogin_parse(m.mem, m.len, &asked, &err))
		return false;
	answer = tds_encryption_answer(asked.encryption, &go_on);
	tds_prelogin_reply(c->buf, &asked, answer, MAJOR, BUILD);
	flush(c, true);
	return go_on && !c->gone && tds_link_encrypt(c->link, c->server->identity, LOGIN_WAIT_MS, &err);
}

static void
refuse(struct client *c, int number, int state, int severity, const char *text)
{
	on_note(c, number, state, severity, 1, text);
	on_done(c, 253, false, 0, true);
	end_reply(c, false);
}

static bool
log_in(struct client *c, TALLOC_CTX *mem, const struct tsql_replies *replies)
{
	struct tds_message m;
	struct tds_login login;
	struct err err = { 0 };
	char text[400];
	bool good;

	if (tds_link_read(c->link, LOGIN_WAIT_MS, &m, &err) != TDS_GOT_MESSAGE || m.type != TDS_LOGIN7 ||
	    !tds_login_parse(m.mem, m.len, mem, &login, &err))
		return false;
	c->version = login.version;
	good = !login.wants_windows_login && engine_login_check(c->server->e, login.user, login.password);
	explicit_bzero((void *)(uintptr_t)login.password, strlen(login.password));
	if (!good) {
		snprintf(text, sizeof(text), "Login failed for user '%.128s'.", login.user);
		refuse(c, 18456, 1, 14, text);
		return false;
	}
	c->session = tsql_session_new(mem, c->server->e, replies, login.user, login.database, &err);
	if (c->session == NULL) {
		snprintf(text, sizeof(text), "Cannot open database \"%.128s\" requested by the login. The login failed.", login.database);
		on_note(c, 4060, 1, 11, 1, text);
		snprintf(text, sizeof(text), "Login failed for user '%.128s'.", login.user);
		refuse(c, 18456, 38, 14, text);
		return false;
	}
	c->session->spid = c->spid;
	c->session->program = login.application;
	c->session->host = login.host;
	tds_login_reply(c->buf, &login, engine_server_name(c->server->e), c->session->database, MAJOR, BUILD);
	tds_link_set_packet_size(c->link, login.packet_size);
	on_done(c, 0, false, 0, false);
	end_reply(c, false);
	return !c->gone;
}

void
session_serve(const struct server *server, int fd, int spid)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct client *c = talloc_zero(mem, struct client);
	struct tsql_replies replies;

	c->server = server;
	c->spid = spid;
	c->version = TDS_7_4;
	c->done_token = TDS_DONE;
	c->link = tds_link_new(mem, fd, (uint16_t)spid);
	c->buf = tds_buf_new(mem);
	replies = replies_of(c);
	if (prelogin(c) && log_in(c, mem, &replies))
		conversation(c);
	talloc_free(c->session);
	talloc_free(mem);
}
