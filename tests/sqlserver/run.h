/*
 * One run over a server: makes databases and backups of its own, asks every row, and takes everything away again.
 *
 * All databases and the one log-in have a prefix that was drawn for this run, all files lie in a folder that it made;
 * nothing else on the server is named in any statement but master and, for the run's own history rows, msdb.
 */
#ifndef TESTS_SQLSERVER_RUN_H
#define TESTS_SQLSERVER_RUN_H

#include <signal.h>

#include "tests/sqlserver/report.h"
#include "tests/sqlserver/server.h"

struct run_settings {
	struct server server;
	const char *user, *password;
	const char *backup_dir, *backup_dir_here; /* one folder: as the server sees it, and as we do */
	const char *out;                          /* where the report goes */
	const char *only;                         /* one row, "columns of KIND", or "chain"; NULL: everything */
	const char *spoil;                        /* a row that is expected wrong, so that the run can be seen to fail; or NULL */
};

extern volatile sig_atomic_t run_stopped; /* set by a signal: ends a run after the statement at hand, and cleans up */

/* False with err when it could not be carried through; *differences otherwise says what came of it. */
bool run_all(TALLOC_CTX *mem, struct run_settings *settings, size_t *differences, struct err *err);

#endif
