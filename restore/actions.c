#include "restore/actions.h"

#include <string.h>

#include <jansson.h>

#include "common/ask_plan.h"
#include "common/ask_restore.h"
#include "common/log.h"

/* One action on one run (or, for file ones, on the migration). Refusals are words in said, not errors. */
struct asked {
	struct db *db;
	TALLOC_CTX *mem;
	const struct restore_action *action;
	json_t *args;
	struct restore_run *run;
	const char *said, *refusal; /* one word of ask_action_end, or NULL */
};

static const char CONFLICT[] = "conflict", NOT_FOUND[] = "not-found", NOT_READY[] = "not-ready";

static bool
refuse(struct asked *a, const char *refusal, const char *said)
{
	a->refusal = refusal;
	a->said = said;
	return true;
}

static bool
done(struct asked *a, const char *said)
{
	a->said = said;
	return true;
}

static const char *
arg(const struct asked *a, const char *name)
{
	return json_string_value(json_object_get(a->args, name));
}

static bool
is_state(const struct asked *a, const char *words)
{
	const char *at = strstr(words, a->run->state);

	return at != NULL;
}

static bool
do_hold(struct asked *a, struct err *err)
{
	const char *reason = arg(a, "reason");

	return ask_hold(a->db, a->run->id, reason == NULL || reason[0] == '\0' ? "no reason given" : reason, err) && done(a, "held");
}

static bool
do_release(struct asked *a, struct err *err)
{
	return ask_hold(a->db, a->run->id, NULL, err) && done(a, "released");
}

static bool
do_clock_start(struct asked *a, struct err *err)
{
	return ask_clock(a->db, a->run->id, true, err) && done(a, "the clock runs");
}

static bool
do_clock_stop(struct asked *a, struct err *err)
{
	return ask_clock(a->db, a->run->id, false, err) && done(a, "the clock is stopped");
}

/* A file that cannot be the last one any more: the targets have more than it, or another one is it. NULL: it can. */
static bool
why_not_last(struct asked *a, const char *file, const char **why, struct err *err)
{
	int64_t set = 0;
	bool past = false;

	*why = NULL;
	if (!ask_set_of_file(a->db, a->run->migration, file, a->run->family, &set, err) ||
	    (set != 0 && !ask_is_past(a->db, a->run->id, set, &past, err)))
		return false;
	if (past)
		*why = talloc_asprintf(a->mem, "%s cannot be the last file: more than it holds is restored already", file);
	else if (a->run->tail_set != 0 && a->run->tail_set != set)
		*why = talloc_asprintf(a->mem, "%s cannot be the last file: the tail is recognised already (migration show)", file);
	return true;
}

static bool
do_cutover(struct asked *a, struct err *err)
{
	const char *file = arg(a, "last_file"), *why = NULL;

	if (file != NULL && !why_not_last(a, file, &why, err))
		return false;
	if (why != NULL)
		return refuse(a, CONFLICT, why);
	if (a->run->cutover && file != NULL)
		return ask_last_file(a->db, a->run->id, file, err) && done(a, talloc_asprintf(a->mem, "the cutover goes on; the last file is %s", file));
	if (a->run->cutover)
		return done(a, "the cutover was asked before and goes on");
	if (!is_state(a, "waiting restoring ready"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s", a->run->kind, a->run->state));
	return ask_cutover(a->db, a->run->id, file, err) && done(a, "the source is off; waiting for the tail");
}

static bool
do_recover(struct asked *a, struct err *err)
{
	struct gate gates[GATE_N];
	char *why = NULL;

	if (is_state(a, "recovering online verified"))
		return done(a, talloc_asprintf(a->mem, "the %s run is %s already", a->run->kind, a->run->state));
	if (a->run->hold != NULL)
		why = talloc_asprintf(a->mem, "on hold: %s", a->run->hold);
	if (strcmp(a->run->state, "cutover") != 0)
		why = talloc_asprintf(a->mem, "%s%sthe %s run is %s; cutover comes first", why == NULL ? "" : why, why == NULL ? "" : "\n", a->run->kind,
		                      a->run->state);
	if (!gates_of_run(a->db, a->mem, a->run->id, gates, err))
		return false;
	for (int i = 0; i < GATE_N; i++)
		if (!gates[i].open)
			why = talloc_asprintf(a->mem, "%s%sgate %s: %s", why == NULL ? "" : why, why == NULL ? "" : "\n", gates[i].name, gates[i].why);
	if (why != NULL)
		return refuse(a, NOT_READY, why);
	return ask_recover(a->db, a->run->id, err) && done(a, "RECOVERY begins");
}

static bool
do_retry(struct asked *a, struct err *err)
{
	bool settling = false;

	if (is_state(a, "online verified") && !ask_retry_settling(a->db, a->run->id, &settling, err))
		return false;
	if (settling)
		return done(a, "what the cluster refused is asked again");
	if (strcmp(a->run->state, "failed") != 0)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s, not failed", a->run->kind, a->run->state));
	return ask_retry(a->db, a->run->id, err) && done(a, "tried again");
}

static bool
do_leave_out(struct asked *a, struct err *err)
{
	const char *replica = arg(a, "replica"), *reason = arg(a, "reason");
	bool found = false;

	if (replica == NULL || reason == NULL || reason[0] == '\0')
		return refuse(a, CONFLICT, "a replica and a reason are needed");
	if (!ask_leave_out(a->db, a->run->id, replica, reason, &found, err))
		return false;
	return found ? done(a, "left out") : refuse(a, NOT_FOUND, "there is no such replica, or it is the primary");
}

static bool
do_verify(struct asked *a, struct err *err)
{
	if (!is_state(a, "online verified"))
		return refuse(a, NOT_READY, talloc_asprintf(a->mem, "the %s run is %s; there is nothing ONLINE to verify", a->run->kind, a->run->state));
	return ask_verify_again(a->db, a->run->id, err) && done(a, "verification is queued");
}

static bool
do_accept(struct asked *a, struct err *err)
{
	const char *file = arg(a, "file"), *reason = arg(a, "reason");
	bool found = false;

	if (file == NULL || reason == NULL || reason[0] == '\0')
		return refuse(a, CONFLICT, "a file and a reason are needed");
	if (!ask_accept_tail(a->db, a->action->migration, file, &found, err))
		return false;
	return found ? done(a, talloc_asprintf(a->mem, "%s is accepted as the tail: %s", file, reason))
	             : refuse(a, NOT_READY, talloc_asprintf(a->mem, "%s is not an arrived log backup of this migration's database, or another file is its tail already", file));
}

static const struct { const char *kind; bool (*act)(struct asked *a, struct err *err); bool of_migration; } kinds[] = {
	{ "hold", do_hold, false },
	{ "release", do_release, false },
	{ "clock-start", do_clock_start, false },
	{ "clock-stop", do_clock_stop, false },
	{ "cutover", do_cutover, false },
	{ "recover", do_recover, false },
	{ "retry", do_retry, false },
	{ "leave-out", do_leave_out, false },
	{ "verify", do_verify, false },
	{ "accept-as-tail", do_accept, true },
};

static bool
act(struct asked *a, struct err *err)
{
	struct restore_run *runs;
	size_t n;

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		if (strcmp(kinds[k].kind, a->action->kind) != 0)
			continue;
		if (kinds[k].of_migration)
			return kinds[k].act(a, err);
		if (!ask_action_runs(a->db, a->mem, a->action, &runs, &n, err))
			return false;
		if (n == 0)
			return refuse(a, NOT_FOUND, "there is no such run");
		for (size_t i = 0; i < n && a->refusal == NULL; i++) {
			a->run = &runs[i];
			if (!kinds[k].act(a, err))
				return false;
		}
		return true;
	}
	return refuse(a, "failed", "this worker does not know that action");
}

bool
actions_turn(struct db *db)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct restore_action action;
	struct asked a = { .db = db, .mem = mem, .action = &action };
	struct err err = { 0 };
	bool got = false, good;

	good = db_begin(db, &err);
	if (good) {
		good = ask_action(db, mem, &action, &got, &err);
		if (good && got) {
			a.args = json_loads(action.args, 0, NULL);
			good = act(&a, &err) && ask_action_end(db, &action, a.refusal, a.said, &err);
			json_decref(a.args);
		}
		if (good)
			good = db_commit(db, &err);
		else
			db_rollback(db);
	}
	/* What can never be carried out must not keep the others waiting. */
	if (!good && got && (err.kind == ERR_REFUSED || err.kind == ERR_BUG)) {
		struct err second = { 0 };

		log_error("an action is refused because it fails", "migration", action.migration, "kind", action.kind, "error", err.text, NULL);
		good = ask_action_end(db, &action, "failed", err.text, &second);
		a.said = err.text;
	}
	if (!good)
		log_warning("an action could not be carried out yet", "error", err.text, NULL);
	else if (got)
		log_info("an action was carried out", "migration", action.migration, "kind", action.kind, "by", action.asked_by, "said", a.said, NULL);
	talloc_free(mem);
	return good && got;
}
