/*
 * What is known of the answers to RESTORE and BACKUP, as data: statements and the tokens they are answered with.
 *
 * Two programs play it: fidelity_test on the stand-in's engine, and tests/sqlserver over the wire on any server, a
 * real one above all. Where each row is known from stands in README.md beside this. Tokens are written as teller.h says.
 *
 * In every text "$" is the folder of the run as the server sees it, "#" the prefix of the run's databases, "~" the time
 * that STOPAT is given, and "%" (in tokens) how many columns HEADERONLY has in the server's release.
 */
#ifndef STANDIN_FIDELITY_ROWS_H
#define STANDIN_FIDELITY_ROWS_H

#include <stddef.h>

#include <talloc.h>

#include "common/err.h"

enum { FIDELITY_BEFORE = 6 };

struct fidelity_row {
	const char *name;
	const char *before[FIDELITY_BEFORE]; /* "inside:" another session enters and stays; "knob:" name value; all else must succeed */
	const char *statement;               /* "stranger:" before it: by a log-in without rights */
	const char *tokens, *says;           /* says: how the first error's words, else the last message's, begin; or NULL */
};
const struct fidelity_row *fidelity_rows(size_t *n);

/* Why a row can be asked of the stand-in only; NULL when it can be asked of any server. */
const char *fidelity_only_standin(const struct fidelity_row *row);

/* The statements that make the databases and backups which the rows take, in order; all must succeed. */
const char *const *fidelity_media(size_t *n);

/* The media that no BACKUP would write: each is full.bak with something done to it, in that folder (as we see it). */
bool fidelity_bad_media(TALLOC_CTX *mem, const char *folder, struct err *err);

/* "name type, name type, …" of what a kind of RESTORE answers, from one release to another (both inclusive). */
struct fidelity_columns { const char *kind; int from, to; const char *list; };
const struct fidelity_columns *fidelity_columns(size_t *n);

/*
 * A migration from its first full to RECOVERY, and to a time: steps in order on one connection, each in master. Without
 * tokens a step must succeed and no more. keeps: its rows are kept under that name ("~": its first value is the time of STOPAT).
 * equals: its rows are those kept under that name, or the one value in quotes. Unnamed steps prepare.
 */
struct fidelity_step { const char *name, *statement, *tokens, *keeps, *equals; };
const struct fidelity_step *fidelity_chain(size_t *n);

struct fidelity_names { const char *folder, *prefix, *stop_at; int release; };
char *fidelity_fill(TALLOC_CTX *mem, const char *text, const struct fidelity_names *names);

/* ---- how the statements are put together; fidelity_test uses them too ---- */

#define FULL "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH NORECOVERY"
#define MOVED(name) "MOVE N'#" name "' TO N'$/m1.mdf', MOVE N'#" name "_log' TO N'$/m1.ldf'"
#define INTO(set, name) "RESTORE DATABASE [#m1] FROM DISK = N'$/" set "' WITH NORECOVERY, " MOVED(name)
#define LOG(set) "RESTORE LOG [#m1] FROM DISK = N'$/" set "' WITH NORECOVERY"
#define DIFF(set) "RESTORE DATABASE [#m1] FROM DISK = N'$/" set "' WITH NORECOVERY"
#define RECOVER "RESTORE DATABASE [#m1] WITH RECOVERY"

/* A RESTORE that copied two files; and one refused for one reason. */
#define COPIED "I4035.1 D1:229 I4035.1 D1:229 I3014.1 D0:229"
#define REFUSED(why) why " E3013.1.16 D2:229"
#define LOG_REFUSED(why) why " E3013.1.16 D2:236"

#endif
