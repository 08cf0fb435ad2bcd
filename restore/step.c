#include "restore/step.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

enum { MESSAGES_MAX = 2000 };

struct heard {
	struct db *db;
	const struct restore_run *run;
	const struct restore_step *step;
	int64_t told;
	size_t n;
};

static void
on_message(void *ctx, const struct mssql_message *m)
{
	struct heard *h = ctx;
	struct err err = { 0 };

	/* 3211 "N percent processed.": 100 comes long before the end, so it is not called done. */
	if (m->number == 3211) {
		if (steady_seconds() != h->told)
			ask_step_percent(h->db, h->run, h->step->id, atoi(m->text), &err);
		h->told = steady_seconds();
	} else if (h->n++ < MESSAGES_MAX) {
		ask_message(h->db, h->run, h->step, m, &err);
	}
}

bool
step_run(struct db *db, struct mssql *ms, const struct restore_run *run, const struct restore_intent *intent, struct restore_step *step,
         struct mssql_outcome *outcome, struct err *ran, struct err *err)
{
	struct heard h = { .db = db, .run = run, .step = step };
	TALLOC_CTX *mem;

	/* The intent is durable and the lease is ours before the server hears of it. */
	if (!ask_step_begin(db, run, intent, step, err))
		return false;
	log_info("a statement begins", "migration", run->migration, "run", run->kind, "replica", intent->replica, "kind", intent->kind, NULL);
	mem = talloc_new(NULL);
	mssql_run(ms, mem, intent->statement, NULL, outcome, on_message, &h, ran);
	talloc_free(mem);
	return true;
}
