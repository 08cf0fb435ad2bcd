#include "tests/standin/engine_parts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The start after a death: what was half done is undone, and what belongs to nobody is removed. Each step may be
 * killed and done again at the next start.
 */

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

/* SQLite rolls a transaction that died back when the file is next opened for writing; RESTORING ones are only read. */
static void
roll_back(struct engine *e, TALLOC_CTX *mem, int id)
{
	sqlite3 *db = file_open(db_path(e, mem, id, ".sqlite"), false);

	if (db != NULL && run_sql(db, "BEGIN IMMEDIATE"))
		run_sql(db, "ROLLBACK");
	sqlite3_close(db);
}

static bool
is_known(struct engine *e, int id)
{
	char text[16];
	int step = SQLITE_ERROR;
	sqlite3_stmt *st;
	bool is;

	snprintf(text, sizeof(text), "%d", id);
	st = ASK(e->meta, &step, "SELECT 1 FROM db WHERE id = CAST(? AS INT)", text);
	is = st != NULL && step == SQLITE_ROW;
	sqlite3_finalize(st);
	return is;
}

/* One file of the server's folder; ours are called db<N>. and something. */
static void
tidy(struct engine *e, TALLOC_CTX *mem, const char *name)
{
	int id = 0, len = 0;

	if (sscanf(name, "db%d.%n", &id, &len) != 1 || len == 0)
		return;
	if (!is_known(e, id) || ends_with(name, ".work") || strncmp(name + len, "backup.", 7) == 0)
		unlink(talloc_asprintf(mem, "%s/%s", e->dir, name));
	else if (ends_with(name, ".sqlite-journal"))
		roll_back(e, mem, id);
}

void
recover_all(struct engine *e)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct dirent **names;
	int n = scandir(e->dir, &names, NULL, NULL);

	/* What was becoming ONLINE when the server died waits for RECOVERY to be asked for again (4347). */
	run_sql(e->meta, "UPDATE db SET state = 1, pending_type = iif(pending_type = 'T', 'T', 'R') WHERE state = 2");
	for (int i = 0; i < n; i++) {
		tidy(e, mem, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	talloc_free(mem);
}
