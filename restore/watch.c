#include "restore/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ask_restore.h"
#include "common/tsql.h"
#include "restore/target.h"

enum { QUESTION_SECONDS = 5, SERVERS_MAX = 64 };

struct server { const struct config_cluster *cluster; const struct config_target *target; struct mssql *ms; bool used; };

struct watch {
	const struct config *config;
	const char *worker;
	struct server servers[SERVERS_MAX];
	size_t n;
};

struct watch *
watch_new(TALLOC_CTX *parent, const struct config *config, const char *worker)
{
	struct watch *w = talloc_zero(parent, struct watch);

	w->config = config;
	w->worker = worker;
	for (unsigned c = 0; c < config->n_clusters; c++)
		for (unsigned t = 0; t < config->clusters[c].n_targets && w->n < SERVERS_MAX; t++)
			w->servers[w->n++] = (struct server){ &config->clusters[c], &config->clusters[c].targets[t], NULL, false };
	return w;
}

static bool
open_to(struct watch *w, struct server *s)
{
	struct mssql_target t = target_of(s->cluster, s->target);
	struct err err = { 0 };

	if (s->ms != NULL && mssql_is_dead(s->ms)) {
		talloc_free(s->ms);
		s->ms = NULL;
	}
	if (s->ms == NULL)
		s->ms = mssql_open(w, &t, "landfall/watch", NULL, &err);
	return s->ms != NULL;
}

static void
look(struct watch *w, struct server *s, struct db *db)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct mssql_rows *rows;
	struct err err = { 0 };

	if (open_to(w, s)) {
		mssql_limit(s->ms, QUESTION_SECONDS);
		if (mssql_run(s->ms, mem, tsql_ask_progress(mem), &rows, NULL, NULL, NULL, &err))
			for (size_t i = 0; i < mssql_rows_count(rows); i++) {
				char migration[32], run[16], token[24];

				/* landfall/m-0042/production/17: as lane_open says it. */
				if (sscanf(mssql_rows_text(rows, i, "program_name"), "landfall/%31[^/]/%15[^/]/%23[0-9]", migration, run, token) == 3)
					ask_step_seen(db, migration, run, token, s->target->name, atoi(mssql_rows_text(rows, i, "percent_complete")),
					              atoi(mssql_rows_text(rows, i, "session_id")), mssql_rows_text(rows, i, "wait_type"), &err);
			}
	}
	talloc_free(mem);
}

void
watch_turn(struct watch *w, struct db *db)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *busy;
	struct err err = { 0 };

	if (ask_busy_servers(db, mem, w->worker, &busy, &err))
		for (size_t i = 0; i < w->n; i++) {
			struct server *s = &w->servers[i];

			s->used = false;
			for (size_t k = 0; k < rows_count(busy); k++)
				s->used = s->used || (strcmp(rows_text(busy, k, 0), s->cluster->name) == 0 && strcmp(rows_text(busy, k, 1), s->target->name) == 0);
			if (s->used)
				look(w, s, db);
			else if (s->ms != NULL) {
				talloc_free(s->ms);
				s->ms = NULL;
			}
		}
	talloc_free(mem);
}
