#include "restore/target.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/source_time.h"
#include "common/tsql.h"

enum { QUESTION_SECONDS = 30 };

static void
read_database(struct target *t, const struct mssql_rows *rows, int *id)
{
	const char *state = mssql_rows_named(rows, 0, "state"), *guid;

	t->exists = true;
	*id = atoi(mssql_rows_named(rows, 0, "database_id"));
	t->is_restoring = state != NULL && atoi(state) == 1;
	t->is_online = state != NULL && atoi(state) == 0;
	snprintf(t->state, sizeof(t->state), "%s", mssql_rows_named(rows, 0, "state_desc") == NULL ? "unknown" : mssql_rows_named(rows, 0, "state_desc"));
	/* Files may stand at different points: the lowest counts, and rows come in that order. */
	lsn_parse(mssql_rows_named(rows, 0, "redo_start_lsn"), &t->redo);
	if ((guid = mssql_rows_named(rows, 0, "redo_start_fork_guid")) != NULL)
		guid_parse(guid, &t->fork);
	if ((guid = mssql_rows_named(rows, 0, "differential_base_guid")) != NULL)
		guid_parse(guid, &t->base);
}

/*
 * Who restores it now. While the server has no row for the database yet (a RESTORE that only began), our own request is
 * known by its program name.
 */
static void
read_requests(struct target *t, const struct mssql_rows *rows, int id, const char *ours)
{
	for (size_t i = 0; i < mssql_rows_count(rows); i++) {
		const char *database = mssql_rows_named(rows, i, "database_id"), *program = mssql_rows_named(rows, i, "program_name");

		if ((id == 0 || database == NULL || atoi(database) != id) &&
		    (ours == NULL || program == NULL || strncmp(program, ours, strlen(ours)) != 0))
			continue;
		t->busy = atoi(mssql_rows_named(rows, i, "session_id"));
		snprintf(t->busy_program, sizeof(t->busy_program), "%s", program == NULL ? "" : program);
	}
}

/*
 * The base is the newest full in the history; what master_files says of it is only the second best source.
 *
 * Documented: a row is made for each restore, and stop_at is "the point in time to which the database was restored". Belief, as the
 * stand-in plays it and no real server has been asked: the row is there when the RESTORE has succeeded and never before; stop_at is
 * the statement's STOPAT also where the log ended before the point (4322); redo_start_lsn is then the log's LastLSN, and after a log
 * that holds the point somewhere within it, the same on every replica.
 */
static void
read_history(struct target *t, const struct mssql_rows *rows)
{
	for (size_t i = mssql_rows_count(rows); i-- > 0;) {
		const char *type = mssql_rows_named(rows, i, "restore_type"), *set = mssql_rows_named(rows, i, "backup_set_uuid");
		struct source_point stop;
		struct err unread = { 0 };

		if (set == NULL)
			continue;
		guid_parse(set, &t->last_set);
		source_point_parse(mssql_rows_named(rows, i, "stop_at"), &stop, &unread); /* NULL: none */
		t->last_stop = stop.at;
		if (type != NULL && type[0] == 'D')
			guid_parse(set, &t->base);
	}
}

static void
read_files(struct target *t, const struct mssql_rows *rows)
{
	size_t n = mssql_rows_count(rows);

	t->more_files = n > TARGET_FILES_MAX;
	for (size_t i = 0; i < n && !t->more_files; i++)
		t->files[t->n_files++] = mssql_rows_value(rows, i, 0) == NULL ? 0 : atoi(mssql_rows_value(rows, i, 0));
}

bool
target_ask(struct mssql *ms, const char *database, const char *ours, struct target *t, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	enum { DATABASE, REQUESTS, HISTORY, FILES, QUESTIONS };
	struct mssql_rows *rows[QUESTIONS];
	bool good;
	int id = 0;

	memset(t, 0, sizeof(*t));
	strcpy(t->state, "absent");
	mssql_limit(ms, QUESTION_SECONDS);
	/* In one batch: the way there and back is what a question costs. */
	good = mssql_ask(ms, mem, talloc_asprintf(mem, "%s; %s; %s; %s", tsql_ask_database(mem, database), tsql_ask_requests(mem),
	                 tsql_ask_history(mem, database), tsql_ask_files(mem, database)), rows, QUESTIONS, err);
	mssql_limit(ms, 0);
	if (good && mssql_rows_count(rows[DATABASE]) > 0) {
		read_database(t, rows[DATABASE], &id);
		read_history(t, rows[HISTORY]);
		read_files(t, rows[FILES]);
	}
	if (good)
		read_requests(t, rows[REQUESTS], id, ours);
	talloc_free(mem);
	return good;
}

bool
target_files(struct mssql *ms, TALLOC_CTX *mem, const char *database, int **ids, size_t *n, struct err *err)
{
	struct mssql_rows *rows;
	bool good;

	mssql_limit(ms, QUESTION_SECONDS);
	good = mssql_run(ms, mem, tsql_ask_files(mem, database), &rows, NULL, NULL, NULL, err);
	mssql_limit(ms, 0);
	*n = good ? mssql_rows_count(rows) : 0;
	*ids = talloc_zero_array(mem, int, *n + 1);
	for (size_t i = 0; i < *n; i++)
		(*ids)[i] = mssql_rows_value(rows, i, 0) == NULL ? 0 : atoi(mssql_rows_value(rows, i, 0));
	return good;
}

struct mssql_target
target_of(const struct config_cluster *c, const struct config_target *t)
{
	return (struct mssql_target){ .name = t->name, .host = t->host, .port = t->port == 0 ? 1433 : t->port, .ca_file = c->ca_file,
		.login = c->login, .password_file = c->password_file };
}

static size_t
length_of_volume(const char *path)
{
	size_t n;

	if (path[0] != '\0' && path[1] == ':')
		return 2;
	if (strncmp(path, "\\\\", 2) != 0)
		return strlen(path);
	n = 2 + strcspn(path + 2, "\\");
	return path[n] == '\0' ? n : n + 1 + strcspn(path + n + 1, "\\");
}

char *
target_volume(TALLOC_CTX *mem, const struct config_target *t)
{
	char *volume = talloc_asprintf(mem, "%s %.*s", t->host, (int)length_of_volume(t->data_path), t->data_path);

	/* Neither tells capitals from small letters, and one that does would hardly have both. */
	for (char *p = volume; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return volume;
}
