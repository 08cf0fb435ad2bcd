#include "restore/cluster.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/ask_settle.h"
#include "common/log.h"
#include "common/settle.h"
#include "common/tsql.h"
#include "common/tsql_settle.h"
#include "restore/run.h"
#include "restore/step.h"

enum { MEMBERS_MAX = 16, QUESTION_SECONDS = 30 };

struct member {
	struct lane *lane;
	struct mssql *ms;     /* NULL: away */
	const char *server;   /* what it calls itself, of this pass */
	bool has_log;
	int logs;             /* files that its log backups were written to */
};

struct home {
	struct db *db;
	TALLOC_CTX *mem;      /* of all passes; what one pass finds is freed with pass */
	TALLOC_CTX *pass;
	struct member members[MEMBERS_MAX];
	struct settle_replica replicas[MEMBERS_MAX];
	size_t n;
	struct settle_facts facts;
	const struct config_after_recovery *policy;
	const struct restore_run *run;
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static bool
is_word(const char *s, const char *word)
{
	return s != NULL && strcasecmp(s, word) == 0;
}

static int64_t
number(const char *s)
{
	return s == NULL ? -1 : atoll(s);
}

static bool
question(struct home *h, struct mssql *ms, const char *sql, struct mssql_rows **rows, struct err *err)
{
	bool good;

	mssql_limit(ms, QUESTION_SECONDS);
	good = mssql_run(ms, h->pass, sql, rows, NULL, NULL, NULL, err);
	mssql_limit(ms, 0);
	return good;
}

/* What a replica says of itself; an answer that does not come makes it away, not the run broken. */
static void
ask_copy(struct home *h, size_t i)
{
	struct member *m = &h->members[i];
	struct settle_replica *r = &h->replicas[i];
	struct mssql_rows *rows;
	struct err away = { 0 };
	const char *state;

	m->server = NULL;
	if (m->ms != NULL && mssql_is_dead(m->ms)) {
		talloc_free(m->ms);
		m->ms = NULL;
	}
	if (m->ms == NULL)
		m->ms = lane_open(h->mem, m->lane, &away);
	if (m->ms == NULL || !question(h, m->ms, tsql_ask_copy(h->pass, h->facts.database), &rows, &away)) {
		r->away = talloc_strdup(h->pass, away.text);
		return;
	}
	m->server = mssql_rows_named(rows, 0, "server");
	state = mssql_rows_named(rows, 0, "state");
	r->exists = state != NULL;
	r->restoring = is_word(state, "1");
	r->joined = mssql_rows_named(rows, 0, "group_database_id") != NULL;
}

static struct settle_replica *
replica_called(struct home *h, const char *server)
{
	for (size_t i = 0; server != NULL && i < h->n; i++)
		if (h->members[i].server != NULL && strcasecmp(h->members[i].server, server) == 0)
			return &h->replicas[i];
	return NULL;
}

static void
read_group(struct home *h, const struct mssql_rows *rows)
{
	h->facts.group_exists = mssql_rows_count(rows) > 0;
	h->facts.group_primary = NULL;
	for (size_t k = 0; k < mssql_rows_count(rows); k++) {
		const char *server = mssql_rows_named(rows, k, "replica_server_name");
		struct settle_replica *r = replica_called(h, server);
		bool is_primary = is_word(mssql_rows_named(rows, k, "role_desc"), "PRIMARY");

		if (is_primary)
			h->facts.group_primary = server;
		if (r == NULL)
			continue;
		r->in_group = true;
		r->is_group_primary = is_primary;
		r->synchronous = is_word(mssql_rows_named(rows, k, "availability_mode_desc"), "SYNCHRONOUS_COMMIT");
		r->automatic = is_word(mssql_rows_named(rows, k, "seeding_mode_desc"), "AUTOMATIC");
	}
}

static void
read_states(struct home *h, const struct mssql_rows *rows)
{
	for (size_t k = 0; k < mssql_rows_count(rows); k++) {
		struct settle_replica *r = replica_called(h, mssql_rows_named(rows, k, "replica_server_name"));

		if (r == NULL)
			continue;
		r->sync = mssql_rows_named(rows, k, "synchronization_state_desc");
		r->suspended = is_word(mssql_rows_named(rows, k, "is_suspended"), "1");
		r->lag_seconds = number(mssql_rows_named(rows, k, "secondary_lag_seconds"));
		r->redo_kb = number(mssql_rows_named(rows, k, "redo_queue_size"));
	}
}

/* Newest first: the first of each replica counts. */
static void
read_seeding(struct home *h, const struct mssql_rows *rows)
{
	for (size_t k = 0; k < mssql_rows_count(rows); k++) {
		struct settle_replica *r = replica_called(h, mssql_rows_named(rows, k, "replica_server_name"));

		if (r == NULL || r->seeding != NULL)
			continue;
		r->seeding = mssql_rows_named(rows, k, "current_state");
		r->seeding_why = mssql_rows_named(rows, k, "failure_state_desc");
	}
}

static bool
ask_group(struct home *h, struct err *err)
{
	struct mssql *primary = h->members[0].ms;
	struct mssql_rows *rows;

	if (!question(h, primary, tsql_ask_group_replicas(h->pass, h->facts.group), &rows, err))
		return false;
	read_group(h, rows);
	h->facts.added = h->replicas[0].joined;
	if (!h->facts.added)
		return true;
	if (!question(h, primary, tsql_ask_group_states(h->pass, h->facts.group, h->facts.database), &rows, err))
		return false;
	read_states(h, rows);
	if (!question(h, primary, tsql_ask_seeding(h->pass, h->facts.group, h->facts.database), &rows, err))
		return false;
	read_seeding(h, rows);
	return true;
}

static bool
ask_past(struct home *h, struct err *err)
{
	for (size_t i = 0; i < h->n; i++) {
		struct settle_past past;

		/* 1412: not rolled forward far enough; 1478: the log from where it stands is not there. */
		if (!ask_settle_past(h->db, h->pass, h->run->id, h->replicas[i].name, "{1412,1478}", &past, err))
			return false;
		h->replicas[i].join_refused = past.join_refused;
		h->replicas[i].caught_up = past.caught_up;
		h->replicas[i].failed = past.failed;
		h->members[i].has_log = past.has_log;
		h->members[i].logs = past.logs;
		if (i == 0) {
			h->facts.backed_up = past.backed_up;
			h->facts.failed = past.failed;
		}
	}
	return true;
}

static bool
ask_all(struct home *h, struct err *err)
{
	for (size_t i = 0; i < h->n; i++) {
		h->replicas[i] = (struct settle_replica){ .name = h->members[i].lane->replica, .lag_seconds = -1, .redo_kb = -1 };
		ask_copy(h, i);
	}
	if (!ask_past(h, err) || (h->facts.group != NULL && h->replicas[0].away == NULL && !ask_group(h, err)))
		return false;
	for (size_t i = 0; h->facts.group != NULL && i < h->n; i++)
		if (!ask_replica_group(h->db, h->run, h->replicas[i].name, h->replicas[i].joined ? h->replicas[i].sync : NULL, h->replicas[i].lag_seconds,
		                       h->replicas[i].redo_kb, err))
			return false;
	return true;
}

/* ---- acting ------------------------------------------------------------------------------------------------------ */

/* One step on one member; refusals are kept with their words and rest, longer each time, and never give up. */
static bool
act_on(struct home *h, size_t i, const char *kind, const char *statement, struct err *err)
{
	struct mssql_outcome o = { 0 };
	struct restore_step step;
	struct err ran = { 0 };
	bool good;

	if (!step_run(h->db, h->members[i].ms, h->run, &(struct restore_intent){ .replica = h->replicas[i].name, .kind = kind, .statement = statement },
	              &step, &o, &ran, err))
		return false;
	good = (o.clean && o.first_error == 0 && !o.dead) || run_remedy(o.first_error) == RUN_DONE;
	if (!good)
		log_warning("a step of settling was refused", "migration", h->run->migration, "replica", h->replicas[i].name, "kind", kind, "error",
		            ran.text, NULL);
	return ask_step_end(h->db, h->run, step.id, good ? "done" : "failed", o.first_error, good ? NULL : ran.text,
	                    good ? 0 : run_patience(RUN_ASK, step.tries), err);
}

static bool
act_backup(struct home *h, size_t i, struct err *err)
{
	const char *path = tsql_own_backup_path(h->pass, h->policy->backup_to, h->facts.database, "recovered", "bak");

	(void)i;
	return act_on(h, 0, "backup", tsql_backup_full(h->pass, h->facts.database, path), err);
}

static bool
act_add(struct home *h, size_t i, struct err *err)
{
	(void)i;
	return act_on(h, 0, "group-add", tsql_group_add(h->pass, h->facts.group, h->facts.database), err);
}

static bool
act_join(struct home *h, size_t i, struct err *err)
{
	return act_on(h, i, "group-join", tsql_group_join(h->pass, h->facts.group, h->facts.database), err);
}

static const char *
log_path(struct home *h, int number)
{
	return tsql_own_backup_path(h->pass, h->policy->backup_to, h->facts.database, talloc_asprintf(h->pass, "recovered_%d", number), "trn");
}

/*
 * One log backup of the new primary serves every replica: a second one would begin where the first ends. One whose end nobody
 * saw may have been taken all the same, so that each try has a file of its own, and all are restored in their order: what is
 * none, or is contained already, is refused, and only the last one's answer counts.
 */
static bool
act_catch_up(struct home *h, size_t i, struct err *err)
{
	bool good = true;

	if (!h->members[0].has_log)
		return act_on(h, 0, "log-backup", tsql_backup_log(h->pass, h->facts.database, log_path(h, h->members[0].logs + 1)), err);
	for (int number = 1; good && number <= h->members[0].logs && !mssql_is_dead(h->members[i].ms); number++) {
		const char *path = log_path(h, number);
		struct tsql_restore r = { .database = h->facts.database, .is_log = true, .paths = &path, .n_paths = 1, .position = 1 };

		good = act_on(h, i, "log-catch-up", tsql_restore(h->pass, &r), err);
	}
	return good;
}

/* The replica's mode is put to automatic and stays so: a person who wants it manual again says so when the database is there. The grant is what starts it. */
static bool
act_seed(struct home *h, size_t i, struct err *err)
{
	struct err said = { 0 };

	if (!h->replicas[i].automatic &&
	    !question(h, h->members[0].ms, tsql_group_seeding(h->pass, h->facts.group, h->members[i].server, true), NULL, &said))
		log_warning("a replica's seeding mode could not be changed", "replica", h->replicas[i].name, "error", said.text, NULL);
	return act_on(h, i, "group-seed", tsql_group_grant(h->pass, h->facts.group), err);
}

static bool (*const acts[])(struct home *h, size_t i, struct err *err) = {
	[SETTLE_BACKUP] = act_backup, [SETTLE_ADD] = act_add, [SETTLE_JOIN] = act_join, [SETTLE_CATCH_UP] = act_catch_up, [SETTLE_SEED] = act_seed,
};

static char *
how_it_stands(struct home *h)
{
	char *s = talloc_strdup(h->mem, h->facts.backed_up ? "a full backup of the new primary was taken" : "nothing was asked for after RECOVERY");

	for (size_t i = 0; h->facts.group != NULL && i < h->n; i++)
		s = talloc_asprintf(h->mem, "%s%s%s is %s", s, i == 0 ? talloc_asprintf(h->mem, "; in availability group %s: ", h->facts.group) : ", ",
		                    h->replicas[i].name, i == 0 ? "the primary" : h->replicas[i].sync == NULL ? "joined" : h->replicas[i].sync);
	return s;
}

/* One look and one act. *over: nothing more to do now. */
static bool
pass(struct home *h, bool *over, const char **why, struct err *err)
{
	struct settle_next next;

	if (!ask_all(h, err))
		return false;
	next = settle_decide(h->pass, &h->facts);
	*over = next.act == SETTLE_DONE || next.act == SETTLE_WAIT;
	if (next.act == SETTLE_WAIT)
		*why = talloc_strdup(h->mem, next.why);
	if (next.act == SETTLE_SEED) {
		*over = true; /* it shows in the server's own views after a while */
		*why = talloc_asprintf(h->mem, "automatic seeding of %s was asked for", h->replicas[next.replica].name);
		return acts[next.act](h, next.replica, err);
	}
	if (next.act == SETTLE_DONE)
		return ask_settled(h->db, h->run, how_it_stands(h), err);
	return *over || acts[next.act](h, next.replica, err);
}

bool
cluster_settle(struct db *db, TALLOC_CTX *mem, struct lane *lanes, size_t n, const char **why, struct err *err)
{
	struct home h = { .db = db, .mem = mem, .n = n < MEMBERS_MAX ? n : MEMBERS_MAX, .policy = &lanes[0].cluster->after_recovery, .run = &lanes[0].run };
	bool over = false, good = true;

	h.facts = (struct settle_facts){ .database = lanes[0].run.target_database, .group = h.policy->availability_group,
		.backup_to = h.policy->backup_to, .replicas = h.replicas, .n = h.n };
	*why = NULL;
	for (size_t i = 0; i < h.n; i++)
		h.members[i].lane = &lanes[i];
	while (good && !over && !atomic_load(lanes[0].stop)) {
		struct restore_run now = lanes[0].run;

		h.pass = talloc_new(mem);
		/* A person's hold stops between two acts, as everywhere. */
		good = ask_reload(db, h.pass, &now, err);
		if (good && now.hold != NULL) {
			*why = talloc_asprintf(mem, "on hold: %s", now.hold);
			over = true;
		} else if (good) {
			good = pass(&h, &over, why, err);
		}
		talloc_free(h.pass);
	}
	return good && over && *why == NULL;
}
