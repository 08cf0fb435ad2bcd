#include "tests/standin/session_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOGIN_WAIT_MS = 15000 };

/* PRELOGIN, or the LOGIN7 of a client that does without (jTDS with its TLS off), which stays in m. */
static bool
prelogin(struct client *c, struct tds_message *m, enum tds_cover *cover)
{
	struct tds_prelogin asked;
	struct err err = { 0 };
	uint8_t said;

	if (tds_link_read(c->link, LOGIN_WAIT_MS, m, &err) != TDS_GOT_MESSAGE)
		return false;
	if (m->type == TDS_LOGIN7) {
		*cover = TDS_COVER_NONE;
		return c->server->policy != TDS_POLICY_REQUIRED;
	}
	if (m->type != TDS_PRELOGIN || !tds_prelogin_parse(m->mem, m->len, &asked, &err))
		return false;
	said = tds_encryption_answer(c->server->policy, asked.encryption, cover);
	tds_prelogin_reply(c->buf, &asked, said, engine_release(c->server->e)->major, engine_release(c->server->e)->build);
	client_flush(c, true);
	if (c->gone || *cover == TDS_COVER_NEVER)
		return false;
	if (*cover != TDS_COVER_NONE && !tds_link_encrypt(c->link, c->server->identity, LOGIN_WAIT_MS, &err))
		return false;
	return tds_link_read(c->link, LOGIN_WAIT_MS, m, &err) == TDS_GOT_MESSAGE && m->type == TDS_LOGIN7;
}

static void
pause_ms(long ms)
{
	for (; ms > 0; ms -= 100)
		usleep((useconds_t)(ms < 100 ? ms : 100) * 1000);
}

/* The client is told no more than this; the reason behind it stays the server's secret, so the state is always 1. */
static bool
refuse_login(struct client *c, const char *user)
{
	char text[400];

	snprintf(text, sizeof(text), "Login failed for user '%.128s'.", user);
	client_refuse(c, 18456, 1, 14, text);
	return false;
}

static bool
is_welcome(struct client *c, struct tds_login *login)
{
	bool good;

	if (login->wants_windows_login) {
		client_refuse(c, 18452, 1, 14, "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.");
		return false;
	}
	good = engine_login_check(c->server->e, login->user, login->password);
	explicit_bzero((void *)(uintptr_t)login->password, strlen(login->password));
	if (good && engine_login_is_disabled(c->server->e, login->user)) {
		char text[400];

		snprintf(text, sizeof(text), "Login failed for user '%.128s'. Reason: The account is disabled.", login->user);
		client_refuse(c, 18470, 1, 14, text);
		return false;
	}
	return good || refuse_login(c, login->user);
}

static bool
enter(struct client *c, const struct tds_login *login)
{
	struct err err = { 0 };
	char text[400];

	c->login = login->user;
	c->program = login->application;
	c->host = login->host;
	c->database = login->database;
	if (client_new_session(c, &err))
		return true;
	snprintf(text, sizeof(text), "Cannot open database \"%.128s\" requested by the login. The login failed.", login->database);
	client_note(c, 4060, 1, 11, 1, text);
	return refuse_login(c, login->user);
}

static void
welcome(struct client *c, struct tds_login *login)
{
	const struct wire *w = &c->wire;

	if (w->packet_size >= TDS_PACKET_MIN)
		login->packet_size = (uint32_t)w->packet_size;
	tds_login_reply(c->buf, login, engine_server_name(c->server->e), c->session->database, engine_release(c->server->e)->major,
	                engine_release(c->server->e)->build, w->route_host,
	                (unsigned)atoi(w->route_port));
	client_done(c, 0, false, 0, false);
	client_end_reply(c);
	/* Both ends use the new size with the message after this one (MS-TDS 2.2.7.9). */
	tds_link_set_packet_size(c->link, login->packet_size);
}

bool
session_log_in(struct client *c)
{
	struct tds_message m;
	struct tds_login login;
	enum tds_cover cover;
	struct err err = { 0 };

	/* Strings of the log-in hang on the link: a session may be made anew from them. */
	if (!prelogin(c, &m, &cover) || !tds_login_parse(m.mem, m.len, c->link, &login, &err))
		return false;
	if (cover == TDS_COVER_LOGIN)
		tds_link_uncover(c->link);
	c->version = login.version;
	c->wire = wire_now(c->server->wire);
	tds_link_set_split(c->link, (size_t)c->wire.split);
	pause_ms(c->wire.login_delay_ms);
	if (!is_welcome(c, &login) || !enter(c, &login))
		return false;
	welcome(c, &login);
	return !c->gone;
}
