/*
 * One client from its first byte to its last: PRELOGIN, TLS, log-in, batches, remote calls, attention.
 */
#ifndef LANDFALL_STANDIN_SESSION_H
#define LANDFALL_STANDIN_SESSION_H

#include "tests/standin/engine.h"
#include "tests/standin/statement_log.h"
#include "tests/standin/tds_link.h"

struct server {
	struct engine *e;
	struct tds_identity *identity;
	struct statement_log *log;
};

/* Serves the connection until it ends, on the caller's thread. Takes fd over. */
void session_serve(const struct server *server, int fd, int spid);

#endif
