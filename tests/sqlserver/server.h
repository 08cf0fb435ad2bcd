/*
 * A SQL Server that is asked: log-ins over TLS, a statement at a time, and a transcript of the bytes it answers with.
 *
 * The transcript never holds a log-in nor its answer, nor what was sent but the text of the statements that were asked
 * under a heading.
 */
#ifndef TESTS_SQLSERVER_SERVER_H
#define TESTS_SQLSERVER_SERVER_H

#include <stdint.h>
#include <stdio.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/talker.h"

struct server {
	char host[256];
	uint16_t port;
	const char *ca_file;
	FILE *transcript;
};

/* A conversation in master. */
struct talker *server_open(TALLOC_CTX *parent, const struct server *s, const char *user, const char *password, struct err *err);

/* Asks and reads the whole answer, which the talker then holds. heading NULL: it stays out of the transcript. */
void server_ask(const struct server *s, struct talker *t, const char *heading, const char *sql);

/* The answer at hand had an error, or did not come to its end. */
bool server_refused(const struct talker *t);

#endif
