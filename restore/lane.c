#include "restore/lane.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/statement.h"
#include "common/tsql.h"
#include "common/tsql_settle.h"
#include "restore/pool.h"
#include "restore/preflight.h"
#include "restore/run.h"
#include "restore/step.h"

/* FRESH_MS: for so long an answer of the server counts, while lease and conversation are the same. */
enum { BUSY_WAIT_MS = 500, FRESH_MS = 250, USERS_SECONDS = 60, KEPT_MS = 60000 /* what arrives wakes the run before that */ };

/* What a lane works with while it walks. */
struct walk {
	struct lane *lane;
	TALLOC_CTX *top; /* as long as the walk: both conversations hang on it */
	TALLOC_CTX *mem; /* of one turn: a chain may have ten thousand */
	struct db *db;
	struct mssql *ms;
	struct plan *plan; /* for this goal, made where the walk began or the server was not as promised; NULL: none yet */
	struct plan_goal goal;
	size_t next;       /* its step that is due */
};

static void
finish(struct lane *lane, enum lane_end end, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
finish(struct lane *lane, enum lane_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	lane->end = end;
	lane->waits_on = end == LANE_BROKEN ? WAITS_ON_OPERATOR : NULL;
	talloc_free(lane->why);
	lane->why = talloc_vasprintf(NULL, fmt, ap);
	va_end(ap);
}

/* An error of Postgres or of the way there: the lease decides whether we may try again at all. */
static void
finish_err(struct lane *lane, const struct err *err)
{
	bool lost = err->kind == ERR_REFUSED && err->code == ASK_LEASE_LOST;

	finish(lane, lost ? LANE_LOST : err->kind == ERR_OPERATOR ? LANE_BROKEN : LANE_WAITS, "%s", err->text);
}

/* How the program names of all conversations of this run begin, whichever worker holds them. */
static char *
program_of(TALLOC_CTX *mem, const struct lane *lane)
{
	return talloc_asprintf(mem, "landfall/%s/%s/", lane->run.migration, lane->run.kind);
}

struct mssql *
lane_open(TALLOC_CTX *mem, const struct lane *lane, struct err *err)
{
	struct mssql_target *t = talloc(mem, struct mssql_target);
	/* The token is new with every claim: an orphaned request is of this one or a later one. */
	char *program = talloc_asprintf(mem, "%s%lld", program_of(mem, lane), (long long)lane->run.token);

	*t = target_of(lane->cluster, lane->where);
	return mssql_open(mem, t, program, NULL, err);
}

/* Who breaks the statement off does it through this. */
static void
talks_with(struct lane *lane, struct mssql *ms)
{
	pthread_mutex_lock(&lane->talk);
	lane->talking = ms;
	pthread_mutex_unlock(&lane->talk);
}

void
lane_break_off(struct lane *lane)
{
	pthread_mutex_lock(&lane->talk);
	if (lane->talking != NULL)
		mssql_cancel(lane->talking);
	lane->broken_off = true;
	pthread_mutex_unlock(&lane->talk);
}

static bool
is_broken_off(struct lane *lane)
{
	bool is;

	pthread_mutex_lock(&lane->talk);
	is = lane->broken_off;
	pthread_mutex_unlock(&lane->talk);
	return is;
}

/* ---- plan ------------------------------------------------------------------------------------------------ */

static struct plan_goal
goal_of(const struct lane *lane)
{
	return (struct plan_goal){ .stop_at = lane->run.stop_at, .last = lane->run.tail_set, .follows = true };
}

static struct plan *
make_plan(TALLOC_CTX *mem, const struct lane *lane, const struct target *seen)
{
	struct plan_now now = { .absent = seen == NULL || !seen->exists || lsn_is_null(seen->redo) };
	struct plan_goal goal = goal_of(lane);

	if (!now.absent) {
		now.redo = seen->redo;
		now.fork = seen->fork;
		now.base = seen->base;
		now.last = lane->last;
		now.last_stop = seen->last_stop;
	}
	return plan_make(mem, lane->chain->sets, lane->chain->n, lane->family, &now, &goal);
}

bool
lane_ask(TALLOC_CTX *mem, struct lane *lane, struct mssql *ms, struct err *err)
{
	bool good = target_ask(ms, lane->run.target_database, program_of(mem, lane), &lane->seen, err);

	lane->seen_ms = good ? steady_ms() : 0;
	return good;
}

bool
lane_saw(struct db *db, struct lane *lane, struct err *err)
{
	const struct target *t = &lane->seen;
	const struct restore_seen seen = { t->state, t->redo, t->fork, t->last_set, t->last_stop };

	/* What an earlier lease left as running is judged once: under ours there comes nothing more of it. A busy server is still at it. */
	if (t->busy == 0 && !lane->settled)
		lane->settled = ask_steps_settle(db, &lane->run, lane->replica, &seen, t->is_online, err);
	return (t->busy != 0 || lane->settled) && ask_replica_saw(db, &lane->run, lane->replica, &seen, &lane->last, err);
}

struct plan *
lane_plan(TALLOC_CTX *mem, const struct lane *lane)
{
	return make_plan(mem, lane, &lane->seen);
}

struct plan *
lane_plan_anew(TALLOC_CTX *mem, const struct lane *lane)
{
	return make_plan(mem, lane, NULL);
}

/* ---- one statement ------------------------------------------------------------------------------------------ */

static bool
run_step(struct walk *w, const struct restore_intent *intent, struct restore_step *step, struct mssql_outcome *o, struct err *ran, struct err *err)
{
	struct lane *lane = w->lane;
	bool good;

	if (intent->set != 0) /* a RESTORE of a backup may be broken off; RECOVERY is not */
		talks_with(lane, w->ms);
	good = step_run(w->db, w->ms, &lane->run, intent, step, o, ran, err);
	talks_with(lane, NULL);
	lane->stepped = lane->stepped || good;
	return good;
}

/* Waits while somebody restores this database: our own orphaned request, or a person. */
static bool
wait_while_busy(struct walk *w, struct err *err)
{
	struct lane *lane = w->lane;
	TALLOC_CTX *last = NULL;

	while (lane->seen.busy != 0) {
		TALLOC_CTX *mem = talloc_new(w->mem);

		if (atomic_load(lane->stop))
			return err_set(err, ERR_AGAIN, 0, "the worker ends while session %d restores it on %s", lane->seen.busy, lane->replica);
		if (!ask_reload(w->db, mem, &lane->run, err))
			return false;
		talloc_free(last); /* what the run was before; this may take hours */
		last = mem;
		ask_waits(w->db, &lane->run, talloc_asprintf(mem, "session %d (%s) restores it on %s", lane->seen.busy, lane->seen.busy_program,
			lane->replica), err);
		usleep(BUSY_WAIT_MS * 1000);
		if (!target_ask(w->ms, lane->run.target_database, program_of(mem, lane), &lane->seen, err))
			return false;
	}
	return last == NULL || ask_waits(w->db, &lane->run, NULL, err);
}

static bool
look(struct walk *w, struct err *err)
{
	struct lane *lane = w->lane;
	bool good = lane_ask(w->mem, lane, w->ms, err) && wait_while_busy(w, err);

	lane->seen_ms = good ? steady_ms() : 0;
	return good && lane_saw(w->db, lane, err);
}

/*
 * What the server said after one statement is what it says before the next, and what it said to the visit is what it says to
 * the walk: moments ago, over the same conversation, under the same lease (which was read since). Anything older is asked again.
 */
static bool
is_fresh(const struct lane *lane)
{
	return lane->seen_ms != 0 && lane->settled && lane->seen.busy == 0 && steady_ms() - lane->seen_ms < FRESH_MS;
}

/* The batch for this step, from what is known and what the server has now. */
static char *
statement_of(struct walk *w, const struct plan_step *step, struct err *err)
{
	const struct lane *lane = w->lane;
	const struct chain_file *stripes = chain_files(lane->chain, step->set);
	const struct statement_place place = { lane->run.target_database, lane->cluster->backup_path.theirs, lane->where->data_path,
		lane->where->log_path };
	const char **paths = talloc_array(w->mem, const char *, step->set->n_files + 1);
	struct statement_facts facts = { .vault_paths = paths, .redo = lane->seen.redo };
	struct restore_file *files;
	int *asked = NULL;

	for (size_t i = 0; i < step->set->n_files; i++)
		paths[i] = stripes[i].vault_path;
	if (!ask_set_files(w->db, w->mem, step->set->id, &files, &facts.n_files, err) ||
	    (lane->seen.more_files && !target_files(w->ms, w->mem, place.database, &asked, &facts.n_there, err)))
		return NULL;
	facts.files = files;
	facts.there = asked != NULL ? asked : lane->seen.files;
	facts.n_there = asked != NULL ? facts.n_there : lane->seen.n_files;
	return statement_restore(w->mem, &place, step, &facts);
}

/*
 * True when the server now has what the step promised. A log that was stopped in is not there to its end: that it was restored
 * says its row in the history alone, which is written when all is done and names the STOPAT.
 *
 * Belief, tried on the stand-in only: a RESTORE LOG whose row could not be written, or that was cut off, may be sent again with
 * the same STOPAT and goes on from where roll forward stands.
 */
static bool
is_as_planned(const struct lane *lane, const struct plan_step *step)
{
	const struct target *seen = &lane->seen;

	if (!seen->is_restoring || lsn_is_null(seen->redo))
		return false;
	return lsn_compare(seen->redo, step->set->last_lsn) >= 0 ||
	       (step->stop_at.year != 0 && guid_equal(seen->last_set, step->set->backup_set_guid) && bak_date_compare(seen->last_stop, step->stop_at) == 0);
}

/* True when this step is not to be tried now: it rests, or was broken off so often that a person must look. */
static bool
is_put_off(struct walk *w, const char *kind, int64_t set, const char *what)
{
	struct lane *lane = w->lane;
	struct restore_past past;
	struct err err = { 0 };

	if (!ask_step_past(w->db, w->mem, &lane->run, lane->replica, kind, set, &past, &err)) {
		finish_err(lane, &err);
		return true;
	}
	if (past.rest_ms > 0) {
		lane->again_ms = past.rest_ms;
		finish(lane, LANE_WAITS, "%s could not restore %s (try %d of %d): %s", lane->replica, what, past.tries, RUN_TRIES, past.said);
		return true;
	}
	if (past.cut_off >= RUN_TRIES) {
		finish(lane, LANE_BROKEN, "%s could not restore %s: the server or its worker ended %d times while it was restored", lane->replica, what,
		       past.cut_off);
		return true;
	}
	return false;
}

/* What follows from a failure whose step rests for so long. The lane's end stays LEVEL when the target is asked again at once. */
static void
judge_failure(struct lane *lane, const struct mssql_outcome *o, int tries, int rest_ms, const char *what)
{
	const char *said = o->said[0] != '\0' ? o->said : o->dead ? "the connection broke" : "the server did not say why";
	enum run_remedy remedy = run_remedy(o->first_error);
	enum lane_end end = rest_ms == RUN_GIVES_UP ? LANE_BROKEN : LANE_WAITS;

	switch (remedy) {
	case RUN_DONE:
		if (rest_ms == RUN_GIVES_UP)
			finish(lane, LANE_BROKEN, "%s says %d of %s again and again, and does not have it: %s", lane->replica, o->first_error, what, said);
		break;
	case RUN_ASK: case RUN_PERSON: case RUN_ANEW: case RUN_WRONG:
		finish(lane, end, "%s refuses %s: message %d, %s; %s", lane->replica, what, o->first_error, said, run_advice(remedy));
		lane->waits_on = remedy == RUN_ASK ? WAITS_ON_CUSTOMER : WAITS_ON_OPERATOR;
		break;
	case RUN_AGAIN:
		finish(lane, end, "%s could not restore %s (try %d of %d): message %d, %s", lane->replica, what, tries, RUN_TRIES, o->first_error, said);
		break;
	}
	if (rest_ms > 0)
		lane->again_ms = rest_ms;
}

/* Records how the statement ended, after the server was asked again. False when the lane ends here (lane->end says how). */
static bool
end_step(struct walk *w, const struct restore_step *step, const struct mssql_outcome *o, bool good, const char *error, const char *what)
{
	struct lane *lane = w->lane;
	enum run_remedy remedy = run_remedy(o->first_error);
	int rest_ms = good ? 0 : run_patience(remedy, step->tries);
	struct err err = { 0 };

	/* A file that arrives may be what was asked for: then the step is tried at once, and no rest is written down. */
	if (!ask_step_end(w->db, &lane->run, step->id, good ? "done" : "failed", o->first_error, good ? NULL : error,
	                  remedy == RUN_ASK ? 0 : rest_ms, &err)) {
		finish_err(lane, &err);
		return false;
	}
	/* A person's word is no failure of the step. */
	if (!good && is_broken_off(lane))
		finish(lane, LANE_WAITS, "the restore of %s on %s was broken off", what, lane->replica);
	else if (!good)
		judge_failure(lane, o, step->tries, rest_ms, what);
	return lane->end == LANE_LEVEL;
}

/* The server is asked again after a statement, over a new conversation when the old one broke. */
static bool
look_again(struct walk *w)
{
	struct err err = { 0 };

	if (mssql_is_dead(w->ms)) {
		talks_with(w->lane, NULL);
		w->ms = lane_open(w->top, w->lane, &err);
	}
	if (w->ms == NULL || !look(w, &err)) {
		finish_err(w->lane, &err);
		return false;
	}
	return true;
}

/* True when preflight lets this replica begin, and the target reads this set as our reader does. Else lane->end says why not. */
static bool
is_cleared(struct walk *w, const struct plan_set *set)
{
	struct lane *lane = w->lane;
	struct err err = { 0 };
	TALLOC_CTX *mem;
	char *why = NULL;
	int again_ms = 0;
	bool clear = false;

	if (lane->kept != NULL && set->type == BAK_FULL) {
		lane->again_ms = KEPT_MS;
		finish(lane, LANE_WAITS, "%s", lane->kept);
		return false;
	}
	mem = talloc_new(w->mem);
	switch (preflight_compare(lane, w->db, w->ms, mem, set, &why, &again_ms, &err)) {
	case PREFLIGHT_SAME:
		clear = true;
		break;
	case PREFLIGHT_STOPS:
		finish(lane, LANE_BROKEN, "%s", why);
		break;
	case PREFLIGHT_REFUSED:
		lane->again_ms = again_ms;
		finish(lane, LANE_WAITS, "%s", why);
		break;
	case PREFLIGHT_FAILED:
		finish_err(lane, &err);
		break;
	}
	talloc_free(mem);
	return clear;
}

/* What follows a full backup is small beside it. */
static bool
give_volume_back(struct walk *w)
{
	struct lane *lane = w->lane;
	struct err err = { 0 };

	if (!lane->has_volume || lane->cluster->volume_slots == 0)
		return true;
	lane->has_volume = false;
	if (ask_volume_free(w->db, &lane->run, lane->volume, &err))
		return true;
	finish_err(lane, &err);
	return false;
}

/* One RESTORE. False when the walk ends here (lane->end says how). */
static bool
do_step(struct walk *w, const struct plan_step *step)
{
	struct lane *lane = w->lane;
	struct mssql_outcome o = { 0 };
	struct restore_step begun = { 0 };
	struct err err = { 0 }, ran = { 0 };
	const char *kind = statement_kind(step->set), *what = step->set->n_files > 0 ? step->set->files[0] : "a backup";
	char *statement;

	if (is_put_off(w, kind, step->set->id, what) || !is_cleared(w, step->set))
		return false;
	if (step->set->type == BAK_FULL && lane->cluster->volume_slots > 0 && !lane->has_volume) {
		finish(lane, LANE_YIELDS, "a turn for a full restore onto %s", lane->volume);
		return false;
	}
	statement = statement_of(w, step, &err);
	if (statement == NULL || !run_step(w, &(struct restore_intent){ lane->replica, kind, step->set->id, statement, step->stop_at }, &begun, &o, &ran,
	                                   &err)) {
		finish_err(lane, &err);
		return false;
	}
	lane->end = LANE_LEVEL;
	/* Never one sign alone: 3014, no error, a clean end, and the server's own state. */
	return look_again(w) && end_step(w, &begun, &o, is_as_planned(lane, step) && ((o.saw_3014 && o.clean && o.first_error == 0) || o.dead),
	                                 ran.text, what) && give_volume_back(w);
}

/* ---- the walk -------------------------------------------------------------------------------------------------- */

/* May the next statement be sent? */
static bool
may_go_on(struct walk *w)
{
	struct lane *lane = w->lane;
	struct err err = { 0 };

	if (atomic_load(lane->stop)) {
		finish(lane, LANE_STOPS, "the worker ends");
		return false;
	}
	if (!ask_reload(w->db, w->mem, &lane->run, &err)) {
		finish_err(lane, &err);
		return false;
	}
	if (lane->run.hold != NULL) {
		finish(lane, LANE_WAITS, "on hold: %s", lane->run.hold);
		return false;
	}
	if (lane->run.drop_asked != NULL || lane->run.replanned != lane->replanned) {
		/* No slot is wanted for what comes now: the run is given back, not put in line. */
		finish(lane, LANE_STOPS, lane->run.drop_asked != NULL ? "the copy is to be thrown away" : "a person changed what is planned");
		return false;
	}
	if (lane->stepped && lane->run.others_wait && !lane->run.cutover) {
		finish(lane, LANE_YIELDS, "another migration's turn");
		return false;
	}
	return true;
}

static bool
is_not_ours_to_touch(struct lane *lane)
{
	if (lane->seen.is_online)
		finish(lane, LANE_BROKEN, "%s is ONLINE on %s although nobody asked for RECOVERY: somebody else recovered it", lane->run.target_database,
		       lane->replica);
	else if (lane->seen.exists && !lane->seen.is_restoring)
		finish(lane, LANE_WAITS, "%s is %s on %s", lane->run.target_database, lane->seen.state, lane->replica);
	else
		return false;
	return true;
}

/* The goal is the plan's, and the server stands exactly where its last step was to lead. */
static bool
is_plan_good(const struct walk *w)
{
	const struct target *seen = &w->lane->seen;
	const struct plan_goal goal = goal_of(w->lane);
	const struct plan_set *done;

	if (w->plan == NULL || w->next == 0 || w->next >= w->plan->n_steps || goal.stop_at.year != 0 || w->goal.stop_at.year != 0 ||
	    goal.last != w->goal.last)
		return false;
	done = w->plan->steps[w->next - 1].set;
	return seen->is_restoring && lsn_compare(seen->redo, done->last_lsn) == 0 && guid_equal(seen->fork, done->fork) &&
	       guid_equal(seen->last_set, done->backup_set_guid);
}

/*
 * NULL: nothing is left to do. A plan is gone on with while all comes as it says: one of ten thousand logs takes some 20 ms to
 * make, and would be made ten thousand times. The chain that a visit has read stays the same for all of its walk. With a point
 * to stop at, where one step ends decides about the next, so each is planned anew.
 */
static const struct plan_step *
next_step(struct walk *w)
{
	if (!is_plan_good(w)) {
		talloc_free(w->plan);
		w->plan = make_plan(w->top, w->lane, &w->lane->seen);
		w->goal = goal_of(w->lane);
		w->next = 0;
	}
	return w->next < w->plan->n_steps ? &w->plan->steps[w->next++] : NULL;
}

static void
walk(struct walk *w)
{
	struct lane *lane = w->lane;
	struct err err = { 0 };

	for (;;) {
		TALLOC_CTX *last = w->mem;
		const struct plan_step *step;

		/* The run as it was read in the last turn hangs on that; this turn begins with reading it again. */
		w->mem = talloc_new(w->top);
		if (!may_go_on(w))
			return;
		talloc_free(last);
		if (!is_fresh(lane) && !look(w, &err)) {
			finish_err(lane, &err);
			return;
		}
		if (is_not_ours_to_touch(lane))
			return;
		if ((step = next_step(w)) == NULL) {
			lane->end = LANE_LEVEL;
			return;
		}
		if (!do_step(w, step))
			return;
	}
}

static void
end_walk(struct walk *w)
{
	pool_db_keep(w->db);
	talloc_free(w->top);
}

static bool
begin_walk(struct walk *w, struct lane *lane)
{
	struct err err = { 0 };

	*w = (struct walk){ .lane = lane, .top = talloc_new(NULL) };
	w->mem = talloc_new(w->top);
	lane->end = LANE_LEVEL;
	w->db = pool_db(lane->config);
	if (lane->ms != NULL && !mssql_is_dead(lane->ms)) {
		w->ms = talloc_steal(w->top, lane->ms);
		lane->ms = NULL;
	} else {
		lane->seen_ms = 0;
		w->ms = lane_open(w->top, lane, &err);
	}
	if (w->ms != NULL)
		return true;
	finish_err(lane, &err);
	end_walk(w);
	return false;
}

void
lane_walk(struct lane *lane)
{
	struct walk w;

	if (!begin_walk(&w, lane))
		return;
	walk(&w);
	/* For the next visit to this run. */
	if (lane->end != LANE_LOST)
		pool_conversation_keep(lane->run.id, lane->replica, w.ms);
	end_walk(&w);
}

/* ---- recovery and users -------------------------------------------------------------------------------------------- */

/*
 * False when the primary does not stand where the tail ends, or at the point to stop at: the gates said so, and nothing may have moved
 * it since. A rehearsal has passed no gates: it must have come to the point.
 */
static bool
is_at_tail(struct walk *w)
{
	const struct lane *lane = w->lane;
	const struct plan *plan = lane->run.stop_at.year == 0 ? NULL : make_plan(w->mem, lane, &lane->seen);

	if (plan != NULL && (!plan->complete || plan->n_steps > 0))
		return false;
	if (plan != NULL && plan->stops_in != 0)
		return lsn_is_null(lane->run.stop_lsn) || lsn_compare(lane->seen.redo, lane->run.stop_lsn) == 0;
	for (size_t i = 0; i < lane->chain->n; i++)
		if (lane->run.tail_set != 0 && lane->chain->sets[i].id == lane->run.tail_set)
			return lsn_compare(lane->seen.redo, lane->chain->sets[i].last_lsn) == 0;
	return lane->run.tail_set == 0;
}

/* ONLINE by our last backup, or not yet. */
static bool
bring_online(struct walk *w)
{
	struct lane *lane = w->lane;
	struct mssql_outcome o = { 0 };
	struct restore_step begun = { 0 };
	struct err ran = { 0 }, err = { 0 };
	char *statement;

	if (lane->seen.is_online)
		return true;
	if (!is_at_tail(w)) {
		finish(lane, LANE_BROKEN, "%s is at %s and not at %s: somebody else changed it", lane->run.target_database,
		       lsn_text(lane->seen.redo).s, lane->run.stop_at.year != 0 ? "the point to stop at" : "the end of the tail");
		return false;
	}
	if (is_put_off(w, "recovery", 0, "RECOVERY"))
		return false;
	statement = statement_recovery(w->mem, lane->run.target_database, lane->seen.redo);
	if (!run_step(w, &(struct restore_intent){ .replica = lane->replica, .kind = "recovery", .statement = statement }, &begun, &o, &ran, &err)) {
		finish_err(lane, &err);
		return false;
	}
	if (!look_again(w) || !end_step(w, &begun, &o, lane->seen.is_online, ran.text, "RECOVERY"))
		return false;
	/* "It is done already", and the server does not show it: asked again. */
	if (!lane->seen.is_online)
		finish(lane, LANE_WAITS, "%s says that %s is recovered and does not show it: %s", lane->replica, lane->run.target_database, o.said);
	return lane->seen.is_online;
}

/* The customer's DDL triggers that are armed now and those that we disarmed before, as a JSON array. */
static json_t *
armed_triggers(struct walk *w, struct err *err)
{
	const char *said = NULL;
	struct mssql_rows *rows = NULL;
	json_t *list;

	if (!ask_step_said(w->db, w->mem, w->lane->run.id, "users", &said, err) ||
	    !mssql_run(w->ms, w->mem, "SELECT name FROM sys.triggers WHERE parent_class = 0 AND is_disabled = 0", &rows, NULL, NULL, NULL, err))
		return NULL;
	list = said == NULL ? NULL : json_loads(said, 0, NULL);
	if (!json_is_array(list)) {
		json_decref(list);
		list = json_array();
	}
	for (size_t i = 0; i < mssql_rows_count(rows); i++) {
		bool known = false;
		json_t *v;
		size_t k;

		json_array_foreach(list, k, v)
			known = known || strcmp(json_string_value(v), mssql_rows_value(rows, i, 0)) == 0;
		if (!known)
			json_array_append_new(list, json_string(mssql_rows_value(rows, i, 0)));
	}
	return list;
}

static char *
switch_triggers(TALLOC_CTX *mem, const char *what, const json_t *list)
{
	char *s = talloc_strdup(mem, "");
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		s = talloc_asprintf_append(s, "%s TRIGGER %s ON DATABASE; ", what, tsql_name(mem, json_string_value(v)));
	return s;
}

/* What could not be done after RECOVERY and keeps nobody from working: said where the infra team looks. */
static void
finding(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
finding(struct walk *w, const char *fmt, ...)
{
	struct err err = { 0 };
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = talloc_vasprintf(w->mem, fmt, ap);
	va_end(ap);
	log_warning("after RECOVERY", "migration", w->lane->run.migration, "replica", w->lane->replica, "finding", text, NULL);
	ask_finding(w->db, w->lane->run.migration, w->lane->run.id, text, &err);
}

/* Tried once: what the server refuses is a finding. False when the connection is gone: then all of it is done again. */
static bool
try_once(struct walk *w, const char *statement, const char *what)
{
	struct mssql_outcome o = { 0 };
	struct err err = { 0 };

	if (!mssql_run(w->ms, w->mem, statement, NULL, &o, NULL, NULL, &err) && !o.dead)
		finding(w, "%s: %s", what, err.text);
	return !o.dead;
}

/* Settings of the database itself; ALTER DATABASE is no event of the customer's triggers, which are of the database only. */
static bool
set_settings(struct walk *w, struct err *err)
{
	const struct config_after_recovery *p = &w->lane->cluster->after_recovery;
	const char *database = w->lane->run.target_database;
	bool grouped = p->availability_group != NULL && !w->lane->run.is_uat;
	struct mssql_rows *now;

	if (!mssql_run(w->ms, w->mem, tsql_ask_settings(w->mem, database), &now, NULL, NULL, NULL, err))
		return false;
	const struct { bool wrong; const char *option; } options[] = {
		/* What an availability group wants: 1465, 1469 and 1488 otherwise. */
		{ grouped && strcmp(mssql_rows_text(now, 0, "recovery_model_desc"), "FULL") != 0, "RECOVERY FULL" },
		{ grouped && strcmp(mssql_rows_text(now, 0, "is_auto_close_on"), "1") == 0, "AUTO_CLOSE OFF" },
		{ grouped && strcmp(mssql_rows_text(now, 0, "user_access_desc"), "MULTI_USER") != 0, "MULTI_USER" },
		{ p->trustworthy && strcmp(mssql_rows_text(now, 0, "is_trustworthy_on"), "1") != 0, "TRUSTWORTHY ON" },
		{ !p->trustworthy && strcmp(mssql_rows_text(now, 0, "is_trustworthy_on"), "1") == 0, "TRUSTWORTHY OFF" },
		{ p->broker && strcmp(mssql_rows_text(now, 0, "is_broker_enabled"), "1") != 0, "ENABLE_BROKER" },
	};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].wrong && !try_once(w, tsql_set_option(w->mem, database, options[i].option), options[i].option))
			return err_set(err, ERR_AGAIN, 0, "the connection broke");
	if (p->compat_level != 0 && atoi(mssql_rows_text(now, 0, "compatibility_level")) != p->compat_level &&
	    !try_once(w, tsql_set_compat(w->mem, database, p->compat_level), "the compatibility level"))
		return err_set(err, ERR_AGAIN, 0, "the connection broke");
	return true;
}

/* A log-in that a customer's user may be tied to: of the same name, living, without rights on the server and not ours. */
static bool
may_be_theirs(const struct lane *lane, const struct mssql_rows *rows, size_t i)
{
	const char *login = mssql_rows_text(rows, i, "login");

	return strcmp(mssql_rows_text(rows, i, "login_type"), "S") == 0 && strcmp(mssql_rows_text(rows, i, "login_disabled"), "0") == 0 &&
	       strcmp(mssql_rows_text(rows, i, "privileged"), "1") != 0 && strcasecmp(login, lane->cluster->login) != 0 &&
	       strcasecmp(login, lane->cluster->verify_login) != 0;
}

/* In the database, its triggers disarmed: users without a log-in here. */
static bool
mend_orphans(struct walk *w, struct err *err)
{
	struct lane *lane = w->lane;
	struct mssql_rows *rows;

	if (!mssql_run(w->ms, w->mem, tsql_ask_orphans(w->mem), &rows, NULL, NULL, NULL, err))
		return false;
	for (size_t i = 0; i < mssql_rows_count(rows); i++) {
		const char *user = mssql_rows_text(rows, i, "name");

		if (!lane->cluster->after_recovery.repair_users || !may_be_theirs(lane, rows, i))
			finding(w, "user %s of %s has no log-in on %s: make one with its SID, or ALTER USER … WITH LOGIN", user, lane->run.target_database,
			        lane->replica);
		else if (!try_once(w, tsql_repair_user(w->mem, user, mssql_rows_text(rows, i, "login")), "an orphaned user"))
			return err_set(err, ERR_AGAIN, 0, "the connection broke");
	}
	return true;
}

static bool
run_within(struct walk *w, const char *statement, struct mssql_outcome *o, struct err *err)
{
	return statement[0] == '\0' || mssql_run(w->ms, w->mem, statement, NULL, o, NULL, NULL, err);
}

/* What is done with the customer's DDL triggers disarmed. */
static bool
change_inside(struct walk *w, const char *make, struct mssql_outcome *o, struct err *err)
{
	struct lane *lane = w->lane;
	const char *owner = lane->cluster->after_recovery.owner;

	return mssql_run(w->ms, w->mem, make, NULL, o, NULL, NULL, err) && mend_orphans(w, err) &&
	       (owner == NULL || try_once(w, tsql_set_owner(w->mem, lane->run.target_database, owner), "the owner") ||
	        err_set(err, ERR_AGAIN, 0, "the connection broke"));
}

/*
 * A restored database holds the customer's code: a DDL trigger ON DATABASE would run with our rights when we
 * make a user. They are written down, disarmed, and armed again afterwards.
 */
static bool
make_users(struct walk *w, struct err *err)
{
	struct lane *lane = w->lane;
	char *user = tsql_name(w->mem, lane->cluster->verify_login), *statement, *list;
	struct mssql_outcome o = { 0 };
	struct restore_step step;
	json_t *triggers;
	bool good;

	/* Whoever holds a lock in their database must not keep us for ever. */
	mssql_limit(w->ms, USERS_SECONDS);
	if (!set_settings(w, err) || !mssql_run(w->ms, w->mem, talloc_asprintf(w->mem, "USE %s", tsql_name(w->mem, lane->run.target_database)), NULL,
	                                        NULL, NULL, NULL, err) || (triggers = armed_triggers(w, err)) == NULL)
		return false;
	list = json_dumps(triggers, JSON_COMPACT);
	statement = talloc_asprintf(w->mem, "IF USER_ID(%s) IS NULL CREATE USER %s FOR LOGIN %s; GRANT SELECT, VIEW DEFINITION TO %s",
		tsql_text(w->mem, lane->cluster->verify_login), user, user, user);
	/* The names are durable before the first of them is disarmed. */
	good = ask_step_begin(w->db, &lane->run, &(struct restore_intent){ .replica = lane->replica, .kind = "users", .statement = statement }, &step, err) &&
	       ask_step_remember(w->db, &lane->run, step.id, list, err);
	free(list);
	if (good) {
		struct mssql_outcome armed = { 0 };

		good = run_within(w, switch_triggers(w->mem, "DISABLE", triggers), &o, err) && change_inside(w, statement, &o, err);
		/* Armed again whatever came of it; when the connection is gone, the next try reads their names from the step. */
		good = run_within(w, switch_triggers(w->mem, "ENABLE", triggers), &armed, good ? err : &(struct err){ 0 }) && good;
		good = ask_step_end(w->db, &lane->run, step.id, good ? "done" : "failed", o.first_error, NULL, 0, good ? err : &(struct err){ 0 }) && good;
	}
	json_decref(triggers);
	return good;
}

void
lane_recover(struct lane *lane)
{
	struct err err = { 0 };
	struct walk w;

	if (!begin_walk(&w, lane))
		return;
	if (!look(&w, &err))
		finish_err(lane, &err);
	else if (!lane->seen.exists)
		finish(lane, LANE_BROKEN, "%s is not on %s any more", lane->run.target_database, lane->replica);
	else if (may_go_on(&w) && bring_online(&w) && !make_users(&w, &err))
		finish(lane, err.kind == ERR_REFUSED && err.code == ASK_LEASE_LOST ? LANE_LOST : LANE_WAITS, "the verify user on %s: %s", lane->replica,
		       err.text);
	end_walk(&w);
}

/* ---- throwing a copy away --------------------------------------------------------------------------------------------- */

/* False (the lane's end says why): what stands under our generated name is not what we made, or is not to be dropped. */
static bool
is_ours_to_drop(struct lane *lane)
{
	bool known = guid_is_null(lane->seen.last_set);

	for (size_t i = 0; i < lane->chain->n && !known; i++)
		known = guid_equal(lane->chain->sets[i].backup_set_guid, lane->seen.last_set);
	if (!known)
		finish(lane, LANE_BROKEN, "%s on %s was restored from a backup that this migration does not have: it is not ours to drop",
		       lane->run.target_database, lane->replica);
	else if (lane->seen.is_online && !(lane->run.is_uat && lane->run.recovered))
		finish(lane, LANE_BROKEN, "%s is ONLINE on %s: it is not dropped", lane->run.target_database, lane->replica);
	else if (!lane->seen.is_online && !lane->seen.is_restoring)
		finish(lane, LANE_BROKEN, "%s is %s on %s: it is not dropped", lane->run.target_database, lane->seen.state, lane->replica);
	else
		return true;
	return false;
}

static char *
drop_of(struct walk *w)
{
	const struct target *seen = &w->lane->seen;
	const char *database = w->lane->run.target_database;

	return seen->is_online ? tsql_drop_online(w->mem, database) : tsql_drop(w->mem, database, lsn_is_null(seen->redo) ? NULL : lsn_text(seen->redo).s);
}

void
lane_drop(struct lane *lane)
{
	struct mssql_outcome o = { 0 };
	struct restore_step begun = { 0 };
	struct err err = { 0 }, ran = { 0 };
	struct walk w;

	if (!begin_walk(&w, lane))
		return;
	if (!look(&w, &err))
		finish_err(lane, &err);
	else if (lane->seen.exists && is_ours_to_drop(lane) && !is_put_off(&w, "drop", 0, "DROP DATABASE")) {
		if (!run_step(&w, &(struct restore_intent){ .replica = lane->replica, .kind = "drop", .statement = drop_of(&w) }, &begun, &o, &ran, &err))
			finish_err(lane, &err);
		else if (look_again(&w) && end_step(&w, &begun, &o, !lane->seen.exists, ran.text, "DROP DATABASE") && lane->seen.exists)
			finish(lane, LANE_WAITS, "%s is still on %s", lane->run.target_database, lane->replica);
	}
	end_walk(&w);
}
