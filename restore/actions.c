#include "restore/actions.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/ask_choose.h"
#include "common/ask_plan.h"
#include "common/ask_restore.h"
#include "common/config.h"
#include "common/log.h"
#include "common/run_sheet.h"
#include "common/source_time.h"

/* One action on one run (or, for file ones, on the migration). Refusals are words in said, not errors. */
struct asked {
	struct db *db;
	TALLOC_CTX *mem;
	const struct restore_action *action;
	json_t *args;
	struct restore_run *run;
	const char *said, *refusal; /* one word of ask_action_end, or NULL */
	const struct config *config;
	bool confirmed;             /* by a second person */
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

/*
 * The cluster's policy may ask for two people. *waits: this act is refused until another person confirms it; everything else that
 * could be against it was looked at before, and is looked at again then.
 */
static bool
second_person(struct asked *a, bool *waits, struct err *err)
{
	const struct config_cluster *cluster = config_cluster(a->config, a->run->cluster);

	*waits = cluster != NULL && cluster->second_person && !a->confirmed;
	if (!*waits)
		return true;
	return ask_second_wanted(a->db, a->action->id, err) &&
	       refuse(a, NOT_READY, talloc_asprintf(a->mem, "another person than %s has to say so too, within %d minutes: landfall migration confirm %s %lld",
	                                            a->action->asked_by, SECOND_MINUTES, a->action->migration, (long long)a->action->id));
}

static bool
do_hold(struct asked *a, struct err *err)
{
	const char *reason = arg(a, "reason");

	if (a->run->cancelled)
		return done(a, talloc_asprintf(a->mem, "the %s run is stopped already: %s", a->run->kind, a->run->hold == NULL ? "" : a->run->hold));
	return ask_hold(a->db, a->run->id, reason == NULL || reason[0] == '\0' ? "no reason given" : reason, err) && done(a, "held");
}

static bool
do_release(struct asked *a, struct err *err)
{
	const char *said = a->run->backed_out == NULL ? "released" : a->run->recovered ? "released; it was backed out, and the hosted copy is in use again"
		: "released; it follows the source again after the backout: migration plan says which backup continues, and cutover has to be said again";

	return ask_go_on(a->db, a->run->id, err) && done(a, said);
}

/* Whoever looks at night sees who and why. NULL: no reason was given. */
static char *
by_and_why(struct asked *a, const char *what)
{
	const char *reason = arg(a, "reason");

	return reason == NULL || reason[0] == '\0' ? NULL : talloc_asprintf(a->mem, "%s by %s: %s", what, a->action->asked_by, reason);
}

static bool
is_now(const struct asked *a)
{
	return json_is_true(json_object_get(a->args, "now"));
}

static const char *
what_runs(const struct restore_doing *doing, bool now)
{
	return !doing->running ? "nothing runs" : now ? "the RESTORE that runs is broken off" : "the RESTORE that runs ends first";
}

static bool
do_cancel(struct asked *a, struct err *err)
{
	const char *hold = by_and_why(a, "cancelled");
	struct restore_doing doing;

	if (hold == NULL)
		return refuse(a, CONFLICT, "a reason is needed");
	if (is_state(a, "online verified"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s: there is nothing to cancel any more (backout says how to go back)",
			a->run->kind, a->run->state));
	if (!ask_doing(a->db, a->run->id, &doing, err))
		return false;
	if (doing.recovery)
		return refuse(a, CONFLICT, "RECOVERY has begun and is not broken off (backout says how to go back)");
	if (a->run->cancelled && !is_now(a))
		return done(a, talloc_asprintf(a->mem, "it was stopped before: %s", a->run->hold == NULL ? "" : a->run->hold));
	return ask_cancel(a->db, a->run->id, hold, is_now(a), err) &&
	       done(a, talloc_asprintf(a->mem, "cancelled: %s, and no more is planned; %s is kept as it is", what_runs(&doing, is_now(a)),
	                               a->run->target_database));
}

/* Why this run's copy cannot be thrown away, or NULL. */
static const char *
why_not_dropped(struct asked *a, const struct restore_doing *doing)
{
	if (!a->run->is_uat && (a->run->recovered || doing->recovery || is_state(a, "online verified")))
		return talloc_asprintf(a->mem, "%s was recovered: a production database that is or may be ONLINE is never dropped", a->run->target_database);
	if (a->run->is_uat && doing->recovery && is_state(a, "recovering"))
		return talloc_asprintf(a->mem, "%s is being recovered; it can be dropped when that has ended", a->run->target_database);
	return NULL;
}

static bool
do_drop(struct asked *a, struct err *err)
{
	const char *confirm = arg(a, "confirm"), *why;
	struct restore_doing doing;
	bool waits;

	if (confirm == NULL || strcmp(confirm, a->run->target_database) != 0)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the confirmation names %s; this run's database is %s", confirm == NULL ? "nothing" : confirm,
			a->run->target_database));
	if (!ask_doing(a->db, a->run->id, &doing, err))
		return false;
	if ((why = why_not_dropped(a, &doing)) != NULL)
		return refuse(a, CONFLICT, why);
	if (!a->run->is_uat && !a->run->cancelled)
		return refuse(a, CONFLICT, "migration cancel comes first: dropping is a second act");
	if (a->run->drop_asked != NULL)
		return done(a, "it was asked before and is being done");
	if (doing.running)
		return refuse(a, NOT_READY, "a statement is running; it ends first (or migration cancel --now breaks it off)");
	if (!second_person(a, &waits, err) || waits)
		return a->refusal != NULL;
	return ask_drop(a->db, a->run->id, "drop", a->action->asked_by, talloc_asprintf(a->mem, "dropped by %s", a->action->asked_by), false, err) &&
	       done(a, talloc_asprintf(a->mem, "%s is thrown away on every replica; the run stays stopped", a->run->target_database));
}

static bool
do_restart(struct asked *a, struct err *err)
{
	struct restore_doing doing;
	const char *why, *held;
	bool waits;

	if (!ask_doing(a->db, a->run->id, &doing, err))
		return false;
	if ((why = why_not_dropped(a, &doing)) != NULL)
		return refuse(a, CONFLICT, why);
	if (a->run->drop_asked != NULL)
		return done(a, "it was asked before and is being done");
	if (!second_person(a, &waits, err) || waits)
		return a->refusal != NULL;
	held = a->run->hold == NULL ? "" : talloc_asprintf(a->mem, "; it begins when it is released, for it is on hold: %s", a->run->hold);
	return ask_drop(a->db, a->run->id, "restart", a->action->asked_by, NULL, is_now(a), err) &&
	       done(a, talloc_asprintf(a->mem, "%s; then %s is thrown away and the chain begins again from the best full (try %d)%s",
	                               what_runs(&doing, is_now(a)), a->run->target_database, a->run->chain + 1, held));
}

static bool
do_backout(struct asked *a, struct err *err)
{
	const char *hold = by_and_why(a, "backed out");
	struct run_sheet_facts facts;
	char *text;
	json_t *sheet;
	bool good, waits = false;

	if (hold == NULL)
		return refuse(a, CONFLICT, "a reason is needed");
	if (a->run->is_uat)
		return refuse(a, CONFLICT, "a rehearsal has no source to go back to; it can be cancelled and dropped");
	if (a->run->backed_out != NULL)
		return done(a, talloc_asprintf(a->mem, "it was backed out before: %s", a->run->backed_out));
	if (!ask_backout_facts(a->db, a->mem, a->run->id, &facts, err))
		return false;
	if (facts.recovered && (!second_person(a, &waits, err) || waits))
		return a->refusal != NULL;
	facts.reason = arg(a, "reason");
	facts.by = a->action->asked_by;
	sheet = run_sheet(&facts);
	text = json_dumps(sheet, JSON_COMPACT);
	good = ask_backout(a->db, a->run->id, facts.reason, hold, text, err);
	free(text);
	json_decref(sheet);
	return good && done(a, talloc_asprintf(a->mem, "backed out%s: %s; the run sheet says what to switch on at the source", facts.clock ? ", and the clock is stopped" : "",
		facts.recovered ? "what was written in the hosted copy since RECOVERY is lost" : "the copy is kept RESTORING"));
}

static bool
do_skip(struct asked *a, struct err *err)
{
	const char *file = arg(a, "file"), *reason = arg(a, "reason");
	enum restore_skip how;

	if (file == NULL || reason == NULL || reason[0] == '\0')
		return refuse(a, CONFLICT, "a file and a reason are needed");
	if (!ask_skip(a->db, a->action, file, reason, &how, err))
		return false;
	switch (how) {
	case SKIP_NOT_FOUND:
		return refuse(a, NOT_FOUND, talloc_asprintf(a->mem, "no backup called %s has arrived (file list shows them)", file));
	case SKIP_RESTORED:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "%s is restored already, or is being restored: it cannot be taken out any more (migration restart"
			" begins the chain again)", file));
	case SKIP_TAIL:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "%s is the recognised tail of this migration: without it the cutover cannot end", file));
	case SKIP_DONE:
		break;
	}
	return done(a, talloc_asprintf(a->mem, "%s is taken out of the plan", file));
}

static bool
do_unskip(struct asked *a, struct err *err)
{
	const char *file = arg(a, "file");
	bool found = false;

	if (file == NULL)
		return refuse(a, CONFLICT, "a file is needed");
	if (!ask_unskip(a->db, a->action, file, &found, err))
		return false;
	return found ? done(a, talloc_asprintf(a->mem, "%s is back in the plan", file))
	             : refuse(a, NOT_FOUND, talloc_asprintf(a->mem, "%s was not taken out of the plan", file));
}

/* The person's time as the source's clock showed it; NULL in *why, or why it cannot be stopped at. */
static bool
find_stop(struct asked *a, struct bak_date *at, const char **why, struct err *err)
{
	const char *time = arg(a, "time");
	struct source_point point;
	struct chain *chain = ask_chain(a->db, a->mem, a->run->migration, err);
	struct err bad = { 0 };
	struct guid family;
	const struct plan_set *full;

	*why = NULL;
	if (chain == NULL || !ask_family(a->db, a->run->migration, chain, &family, err))
		return false;
	if (!source_point_parse(time == NULL ? "" : time, &point, &bad) || !source_point_local(&point, chain->sets, chain->n, family, at, &bad)) {
		*why = talloc_strdup(a->mem, bad.text);
		return true;
	}
	full = plan_last_full(chain->sets, chain->n, family);
	if (full != NULL && full->simple)
		*why = talloc_asprintf(a->mem, "[%s] is in the SIMPLE recovery model: there are no log backups to stop in (message 3145); "
			"migration skip takes what is later out of the plan, file accept-as-tail says that the run ends with the differential before it", full->database);
	/* A copy that is to be thrown away keeps nobody from a point before it. */
	if (*why != NULL || a->run->drop_asked != NULL || !ask_past_stop(a->db, a->mem, a->run->id, *at, why, err))
		return *why != NULL || err->kind == ERR_NONE;
	if (*why != NULL)
		*why = talloc_asprintf(a->mem, "%s, which is more than %s: no database can be taken back to a point; migration restart begins the chain again"
			" (hold it first, so that the logs are not restored again before the point is given)",
		                       *why, bak_date_text(*at).s);
	return true;
}

static const char *
stop_said(struct asked *a, struct bak_date at)
{
	const char *asked = arg(a, "time");
	struct source_point point;
	struct err unread = { 0 };

	source_point_parse(asked, &point, &unread);
	return talloc_asprintf(a->mem, "the %s run ends at %s, the source's local time%s; what came after it is left behind, and the log that contains it is "
		"the last one%s", a->run->kind, bak_date_text(at).s, point.has_zone ? talloc_asprintf(a->mem, " (%s, by the zone in the backups' headers)", asked) : "",
		a->run->last_file != NULL ? talloc_asprintf(a->mem, "; %s is not the last file any more", a->run->last_file) : "");
}

/*
 * The point is turned into the source's local time now, once: every RESTORE LOG of a sequence is to have the same STOPAT, and a
 * header that comes later, from the other side of a change of the clocks, must not move it.
 */
static bool
do_stop_at(struct asked *a, struct err *err)
{
	bool clear = json_is_true(json_object_get(a->args, "clear"));
	struct restore_stop stop = { .asked = arg(a, "time"), .reason = arg(a, "reason"), .by = a->action->asked_by };
	struct restore_doing doing;
	const char *why;

	if (!clear && (stop.reason == NULL || stop.reason[0] == '\0'))
		return refuse(a, CONFLICT, "a reason is needed");
	if (!ask_doing(a->db, a->run->id, &doing, err))
		return false;
	if (doing.recovery || is_state(a, "recovering online verified"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s: RECOVERY has begun, and where it ends is decided", a->run->kind, a->run->state));
	if (a->run->backed_out != NULL)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the run was backed out: %s (migration release comes first)", a->run->backed_out));
	if (clear && a->run->stop_at.year == 0)
		return done(a, "the run has no point to stop at");
	if (clear)
		return ask_stop(a->db, a->run->id, &(struct restore_stop){ .at = { 0 } }, err) &&
		       done(a, talloc_asprintf(a->mem, "the %s run does not end at %s any more: it goes on to the tail", a->run->kind,
		                               bak_date_text(a->run->stop_at).s));
	if (!find_stop(a, &stop.at, &why, err))
		return false;
	if (why != NULL)
		return refuse(a, CONFLICT, why);
	if (bak_date_compare(stop.at, a->run->stop_at) == 0)
		return done(a, talloc_asprintf(a->mem, "it was asked before: the %s run ends at %s: %s", a->run->kind, bak_date_text(stop.at).s,
			a->run->stop_reason));
	return ask_stop(a->db, a->run->id, &stop, err) && done(a, stop_said(a, stop.at));
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

	if (a->run->cancelled)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is stopped: %s (migration release)", a->run->kind,
			a->run->hold == NULL ? "by a person" : a->run->hold));
	if (file != NULL && a->run->stop_at.year != 0)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the run ends at %s: no file is named as its last one (migration stop-at --clear)",
			bak_date_text(a->run->stop_at).s));
	if (file != NULL && !why_not_last(a, file, &why, err))
		return false;
	if (why != NULL)
		return refuse(a, CONFLICT, why);
	if (a->run->cutover && file != NULL)
		return ask_last_file(a->db, a->run->id, file, err) && done(a, talloc_asprintf(a->mem, "the cutover goes on; the last file is %s", file));
	if (a->run->cutover)
		return done(a, "the cutover was asked before and goes on");
	if (!is_state(a, "waiting restoring ready"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s%s", a->run->kind, a->run->state,
			is_state(a, "failed") ? " (migration retry, when it is mended)" : ""));
	return ask_cutover(a->db, a->run->id, file, err) && done(a, "the source is off; waiting for the tail");
}

static bool
do_recover(struct asked *a, struct err *err)
{
	struct gate gates[GATE_N];
	char *why = NULL;
	bool waits;

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
	if (!second_person(a, &waits, err) || waits)
		return a->refusal != NULL;
	return ask_recover(a->db, a->run->id, err) && done(a, "RECOVERY begins");
}

static bool
do_retry(struct asked *a, struct err *err)
{
	bool failed = strcmp(a->run->state, "failed") == 0, settling = false, resting = false;

	if (is_state(a, "online verified") && !ask_retry_settling(a->db, a->run->id, &settling, err))
		return false;
	if (settling)
		return done(a, "what the cluster refused is asked again");
	if (!failed && !a->run->cancelled && !ask_retry_resting(a->db, a->run->id, &resting, err))
		return false;
	if (resting)
		return done(a, "what was refused is tried again at once");
	if (!failed && !a->run->cancelled)
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s, not failed", a->run->kind, a->run->state));
	if (a->run->cancelled && !do_release(a, err))
		return false;
	return !failed || (ask_retry(a->db, a->run->id, err) && done(a, "tried again"));
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

/* Its word, as the schema counts: 1 comes before the others of its cluster, -1 after them. */
static const struct { const char *word; int priority; } priorities[] = { { "high", 1 }, { "normal", 0 }, { "low", -1 } };

static bool
do_priority(struct asked *a, struct err *err)
{
	const char *word = arg(a, "priority"), *why = by_and_why(a, "set");
	size_t i = 0, n = sizeof(priorities) / sizeof(priorities[0]);

	while (i < n && (word == NULL || strcmp(priorities[i].word, word) != 0))
		i++;
	if (i == n || why == NULL)
		return refuse(a, CONFLICT, "a priority (high, normal or low) and a reason are needed");
	if (is_state(a, "online verified"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s: it waits for no turn any more", a->run->kind, a->run->state));
	return ask_priority(a->db, a->run->id, priorities[i].priority, why, err) &&
	       done(a, talloc_asprintf(a->mem, "the %s run's priority is %s: %s", a->run->kind, word, arg(a, "reason")));
}

static bool
do_primary(struct asked *a, struct err *err)
{
	const char *replica = arg(a, "replica"), *reason = arg(a, "reason");
	enum restore_primary may = PRIMARY_NOT_FOUND;

	if (replica == NULL || reason == NULL || reason[0] == '\0')
		return refuse(a, CONFLICT, "a replica and a reason are needed");
	if (a->run->recovered || is_state(a, "online verified"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s: its primary is where it was recovered", a->run->kind, a->run->state));
	if (!ask_primary_may(a->db, a->run, replica, &may, err))
		return false;
	switch (may) {
	case PRIMARY_NOT_FOUND:
		return refuse(a, NOT_FOUND, talloc_asprintf(a->mem, "the %s run has no replica %s (migration show)", a->run->kind, replica));
	case PRIMARY_SENT:
		return refuse(a, CONFLICT, "RECOVERY was sent to the primary and may have happened: the primary is not changed any more");
	case PRIMARY_LEFT_OUT:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "%s is left out of this run", replica));
	case PRIMARY_BEGUN:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "a rehearsal stands on its primary alone, and %s is begun there: drop comes first",
			a->run->target_database));
	case PRIMARY_IS_IT:
		return done(a, talloc_asprintf(a->mem, "%s is the primary already", replica));
	case PRIMARY_MAY:
		break;
	}
	return ask_primary(a->db, a->run, replica, err) &&
	       done(a, talloc_asprintf(a->mem, "RECOVERY of the %s run will be on %s: %s", a->run->kind, replica, reason));
}

static bool
do_preflight(struct asked *a, struct err *err)
{
	if (is_state(a, "recovering online verified failed"))
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "the %s run is %s: its servers are asked before anything is restored%s", a->run->kind, a->run->state,
			is_state(a, "failed") ? ", as soon as migration retry was said" : ""));
	return ask_preflight_want(a->db, a->run->id, err) && done(a, "every replica is asked anew");
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
	             : refuse(a, NOT_READY, talloc_asprintf(a->mem, "%s is not an arrived backup of this migration's database, or another file is its tail already", file));
}

static bool act(struct asked *a, struct err *err);

/* Does what the other person asked for, as if it were asked now, in both names. */
static bool
do_confirm(struct asked *a, struct err *err)
{
	int64_t id = json_integer_value(json_object_get(a->args, "action"));
	struct restore_action first;
	struct asked b = *a;
	enum restore_second how;
	bool good;

	if (!ask_second(a->db, a->mem, a->action->migration, id, a->action->asked_by, &how, &first, err))
		return false;
	switch (how) {
	case SECOND_NONE:
		return refuse(a, NOT_FOUND, talloc_asprintf(a->mem, "%s has no act %lld", a->action->migration, (long long)id));
	case SECOND_WAITS_NOT:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "act %lld waits for nobody", (long long)id));
	case SECOND_DONE:
		return done(a, "it was confirmed before");
	case SECOND_LATE:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "act %lld was asked more than %d minutes ago: it has to be asked again", (long long)id,
			SECOND_MINUTES));
	case SECOND_SAME:
		return refuse(a, CONFLICT, talloc_asprintf(a->mem, "%s asked for it: another person has to confirm", a->action->asked_by));
	case SECOND_MAY:
		break;
	}
	b.action = &first;
	b.args = json_loads(first.args, 0, NULL);
	b.confirmed = true;
	good = act(&b, err);
	json_decref(b.args);
	a->refusal = b.refusal;
	a->said = b.said == NULL ? NULL : talloc_asprintf(a->mem, "%s, asked by %s: %s", first.kind, first.asked_by, b.said);
	return good && (b.refusal != NULL || ask_second_gave(a->db, id, a->action->asked_by, err));
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
	{ "priority", do_priority, false },
	{ "primary", do_primary, false },
	{ "preflight", do_preflight, false },
	{ "cancel", do_cancel, false },
	{ "drop", do_drop, false },
	{ "restart", do_restart, false },
	{ "backout", do_backout, false },
	{ "stop-at", do_stop_at, false },
	{ "accept-as-tail", do_accept, true },
	{ "skip", do_skip, true },
	{ "unskip", do_unskip, true },
	{ "confirm", do_confirm, true },
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
actions_turn(struct db *db, const struct config *config)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct restore_action action;
	struct asked a = { .db = db, .mem = mem, .action = &action, .config = config };
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
