/*
 * One client from its first byte to its last: PRELOGIN, TLS, log-in, batches, remote calls, attention.
 */
#ifndef LANDFALL_STANDIN_SESSION_H
#define LANDFALL_STANDIN_SESSION_H

#include "tests/standin/engine.h"
#include "tests/standin/statement_log.h"
#include "tests/standin/tds_link.h"
#include "tests/standin/tds_login.h"
#include "tests/standin/wire.h"

struct server {
	struct engine *e;
	enum tds_policy policy;
	struct tds_identity *identity; /* NULL with TDS_POLICY_NONE */
	struct statement_log *log;
	struct wire_file *wire;
};

/* Serves the connection until it ends, on the caller's thread. Takes fd over. */
void session_serve(const struct server *server, int fd, int spid);

#endif
