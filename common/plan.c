#include "common/plan.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One way through the sets: a base (or what the target already has), perhaps a differential, then logs. */
struct way {
	const struct plan_set *full, *diff;
	const struct plan_set **logs;
	size_t n_logs;
	struct lsn end;
	struct guid fork;
	bool stopped; /* the last log contains the point to stop at */
	bool reached_last;
};

struct planner {
	TALLOC_CTX *mem;
	const struct plan_set *sets;
	size_t n;
	struct guid family;
	const struct plan_now *now;
	const struct plan_goal *goal;
};

static const char *const reason_words[] = {
	[PLAN_COVERED_BY_DIFFERENTIAL] = "covered-by-differential",
	[PLAN_COVERED_BY_LATER_FULL] = "covered-by-later-full",
	[PLAN_OLDER_THAN_BASE] = "older-than-base",
	[PLAN_NO_BASE] = "no-base",
	[PLAN_DUPLICATE] = "duplicate",
	[PLAN_OTHER_FAMILY] = "other-family",
	[PLAN_OTHER_FORK] = "other-fork",
	[PLAN_BEYOND_STOP] = "beyond-stop",
	[PLAN_AFTER_GAP] = "after-gap",
	[PLAN_INCOMPLETE_STRIPE] = "incomplete-stripe",
	[PLAN_DAMAGED] = "damaged",
	[PLAN_RESTORED] = "restored",
};

const char *
plan_reason_word(enum plan_reason reason)
{
	return reason_words[reason];
}

static bool
is_usable(const struct planner *p, const struct plan_set *s)
{
	return guid_equal(s->family, p->family) && s->complete && !s->damaged && !s->duplicate;
}

/* A full or differential must be finished before the point to stop at; a log may span it. */
static bool
is_before_stop(const struct planner *p, const struct plan_set *s)
{
	return p->goal->stop_at.year == 0 || bak_date_compare(s->finish, p->goal->stop_at) <= 0;
}

/* Nothing beyond the tail is ever planned: its LastLSN is the end of the database's life at the source. */
static const struct plan_set *
find_last(const struct planner *p)
{
	for (size_t i = 0; p->goal->last != 0 && i < p->n; i++)
		if (p->sets[i].id == p->goal->last)
			return &p->sets[i];
	return NULL;
}

static const struct plan_set *
next_log(const struct planner *p, struct lsn redo, struct guid fork, const struct plan_set *last)
{
	const struct plan_set *best = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (s->type != BAK_LOG || !is_usable(p, s) || !guid_equal(s->first_fork, fork))
			continue;
		if (lsn_compare(s->first_lsn, redo) > 0 || lsn_compare(redo, s->last_lsn) >= 0)
			continue;
		if (last != NULL && lsn_compare(s->last_lsn, last->last_lsn) > 0)
			continue;
		/* A log that spans more makes the others superfluous (a copy-only log, one sent again). */
		if (best == NULL || lsn_compare(s->last_lsn, best->last_lsn) > 0)
			best = s;
	}
	return best;
}

static void
walk_logs(const struct planner *p, struct way *w)
{
	const struct plan_set *log, *last = find_last(p);
	size_t room = 0;

	w->reached_last = last != NULL && lsn_compare(w->end, last->last_lsn) == 0;
	while (!w->stopped && (log = next_log(p, w->end, w->fork, last)) != NULL) {
		/* A log that begins after the point has nothing to give. */
		if (p->goal->stop_at.year != 0 && bak_date_compare(log->start, p->goal->stop_at) > 0 &&
		    w->n_logs > 0 && bak_date_compare(w->logs[w->n_logs - 1]->finish, p->goal->stop_at) >= 0)
			break;
		if (w->n_logs == room) {
			room = room == 0 ? 16 : room * 2;
			w->logs = talloc_realloc(p->mem, w->logs, const struct plan_set *, room);
		}
		w->logs[w->n_logs++] = log;
		w->end = log->last_lsn;
		w->fork = log->fork;
		w->stopped = p->goal->stop_at.year != 0 && bak_date_compare(log->finish, p->goal->stop_at) >= 0;
		w->reached_last = log == last;
	}
}

static size_t
steps_of(const struct way *w)
{
	return w->n_logs + (w->full != NULL) + (w->diff != NULL);
}

/* Further beats shorter beats newer. */
static bool
is_better(const struct way *a, const struct way *b)
{
	int c = lsn_compare(a->end, b->end);

	if (a->reached_last != b->reached_last)
		return a->reached_last;
	if (c != 0)
		return c > 0;
	if (steps_of(a) != steps_of(b))
		return steps_of(a) < steps_of(b);
	return a->full != NULL && b->full != NULL && lsn_compare(a->full->last_lsn, b->full->last_lsn) > 0;
}

static bool
is_beyond_last(const struct planner *p, const struct plan_set *s)
{
	const struct plan_set *last = find_last(p);

	return last != NULL && lsn_compare(s->last_lsn, last->last_lsn) > 0;
}

/* From a base: alone with its logs, and through each of its differentials. */
static void
try_base(const struct planner *p, const struct plan_set *full, struct guid base, struct lsn redo,
         struct guid fork, struct way *best, bool *found)
{
	for (size_t i = 0; i <= p->n; i++) {
		const struct plan_set *diff = i == p->n ? NULL : &p->sets[i];
		struct way w = { .full = full, .end = redo, .fork = fork };

		if (diff != NULL) {
			if (diff->type != BAK_DIFFERENTIAL || !is_usable(p, diff) || guid_is_null(base) ||
			    !guid_equal(diff->differential_base, base) || !is_before_stop(p, diff) ||
			    lsn_compare(diff->last_lsn, redo) <= 0 || is_beyond_last(p, diff))
				continue;
			w.diff = diff;
			w.end = diff->last_lsn;
			w.fork = diff->fork;
		}
		walk_logs(p, &w);
		if (!*found || is_better(&w, best))
			*best = w;
		*found = true;
	}
}

static bool
find_way(const struct planner *p, struct way *best)
{
	bool found = false;

	if (!p->now->absent) {
		try_base(p, NULL, p->now->base, p->now->redo, p->now->fork, best, &found);
		return found;
	}
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (s->type == BAK_FULL && is_usable(p, s) && is_before_stop(p, s) && !is_beyond_last(p, s))
			try_base(p, s, s->backup_set_guid, s->last_lsn, s->fork, best, &found);
	}
	return found;
}

static void
add_step(struct plan *plan, const struct plan_set *set, struct bak_date stop_at)
{
	plan->steps = talloc_realloc(plan, plan->steps, struct plan_step, plan->n_steps + 1);
	plan->steps[plan->n_steps++] = (struct plan_step){ set, set->type == BAK_LOG ? stop_at
	                                                                             : (struct bak_date){ 0 } };
}

static bool
is_step(const struct plan *plan, const struct plan_set *set)
{
	for (size_t i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].set == set)
			return true;
	return false;
}

static const char *
first_file(const struct plan_set *s)
{
	return s->n_files == 0 ? "a backup" : s->files[0];
}

/* The earliest thing that lies wholly beyond the end of the way: what the missing backup must reach to. */
static const struct plan_set *
beyond(const struct planner *p, struct lsn end)
{
	const struct plan_set *first = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (s->type != BAK_LOG || !guid_equal(s->family, p->family) || s->duplicate)
			continue;
		if (lsn_compare(s->last_lsn, end) <= 0 || is_beyond_last(p, s))
			continue;
		if (first == NULL || lsn_compare(s->first_lsn, first->first_lsn) < 0)
			first = s;
	}
	return first;
}

static void
add_gap(struct plan *plan, struct plan_gap gap)
{
	plan->gaps = talloc_realloc(plan, plan->gaps, struct plan_gap, plan->n_gaps + 1);
	plan->gaps[plan->n_gaps++] = gap;
}

static const struct plan_set *
last_applied(const struct planner *p, const struct plan *plan)
{
	const struct plan_set *best = NULL;

	if (plan->n_steps > 0)
		return plan->steps[plan->n_steps - 1].set;
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (guid_equal(s->family, p->family) && lsn_compare(s->last_lsn, plan->ends_at) == 0 &&
		    (best == NULL || bak_date_compare(s->finish, best->finish) < 0))
			best = s;
	}
	return best;
}

/*
 * In the customer's words: what is missing, from which server, between which two times. The other
 * causes than a file not sent are named because they are what support calls are about.
 */
static void
name_gap(const struct planner *p, struct plan *plan, const struct plan_set *next)
{
	const struct plan_set *prev = last_applied(p, plan);
	struct plan_gap gap = { .needed = plan->ends_at, .next = next->first_lsn, .server = next->server,
		                .before = next->start };
	const char *cause;

	if (prev != NULL)
		gap.after = prev->finish;
	if (lsn_compare(next->first_lsn, plan->ends_at) <= 0) {
		/* LSNs fit, so it is the fork, a stripe or damage that stops us. */
		cause = !next->complete ? "its file is there but a stripe is missing"
		        : next->damaged ? "its file is there but damaged: send it again"
		                        : "the source was restored or reverted in between: send a new full backup";
		gap.next = next->last_lsn;
		gap.before = next->finish;
	} else {
		cause = "send it, or a differential backup taken later; if another tool took it, its file lies there";
	}
	gap.text = talloc_asprintf(plan,
		"the log backup of [%s] that contains LSN %s is missing: it was taken on %s between %s (end of %s) "
		"and %s (%s of %s), up to LSN %s; %s",
		next->database, lsn_text(gap.needed).s, gap.server,
		gap.after.year == 0 ? "an unknown time" : bak_date_text(gap.after).s,
		prev == NULL ? "what is restored" : first_file(prev), bak_date_text(gap.before).s,
		lsn_compare(next->first_lsn, plan->ends_at) <= 0 ? "end" : "start", first_file(next),
		lsn_text(gap.next).s, cause);
	add_gap(plan, gap);
}

/* No full to begin with: say which one the backups that are there ask for. */
static void
name_missing_base(const struct planner *p, struct plan *plan)
{
	const struct plan_set *first = NULL;
	struct plan_gap gap = { 0 };
	const char *why = "no full backup is here yet";

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (!guid_equal(s->family, p->family))
			continue;
		if (s->type == BAK_FULL && !s->complete)
			why = "the full backup is not complete";
		else if (s->type == BAK_FULL && s->damaged)
			why = "the full backup is damaged";
		else if (s->type == BAK_FULL)
			why = "no full backup was finished before the point to stop at";
		if (first == NULL || lsn_compare(s->first_lsn, first->first_lsn) < 0)
			first = s;
	}
	if (first == NULL)
		return;
	gap = (struct plan_gap){ .needed = first->first_lsn, .before = first->start, .server = first->server };
	if (first->type == BAK_DIFFERENTIAL)
		gap.text = talloc_asprintf(plan, "%s: the differential %s needs the full backup of [%s] whose set is %s, taken "
			"on %s before %s", why, first_file(first), first->database,
			guid_text(first->differential_base).s, first->server, bak_date_text(first->start).s);
	else
		gap.text = talloc_asprintf(plan, "%s: send a full backup of [%s] taken on %s; the earliest backup here begins at "
			"LSN %s (%s)", why, first->database, first->server, lsn_text(first->first_lsn).s,
			bak_date_text(first->start).s);
	add_gap(plan, gap);
}

/* The full a differential wants, when it is here and may be used. */
static bool
has_base(const struct planner *p, const struct plan_set *diff)
{
	if (!p->now->absent && guid_equal(p->now->base, diff->differential_base))
		return true;
	for (size_t i = 0; i < p->n; i++)
		if (p->sets[i].type == BAK_FULL && is_usable(p, &p->sets[i]) &&
		    guid_equal(p->sets[i].backup_set_guid, diff->differential_base))
			return true;
	return false;
}

static const struct plan_set *
step_of(const struct plan *plan, enum bak_type type)
{
	for (size_t i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].set->type == type)
			return plan->steps[i].set;
	return NULL;
}

static struct plan_unused
unused(const struct plan_set *s, enum plan_reason reason, const char *text)
{
	return (struct plan_unused){ s, reason, text };
}

static struct plan_unused
why_log_unused(const struct planner *p, const struct plan *plan, const struct plan_set *s)
{
	const struct plan_set *full = step_of(plan, BAK_FULL), *diff = step_of(plan, BAK_DIFFERENTIAL);

	if (full == NULL && p->now->absent)
		return unused(s, PLAN_NO_BASE, "there is no full backup it could be applied to");
	if (full != NULL && lsn_compare(s->last_lsn, full->last_lsn) <= 0)
		return unused(s, PLAN_OLDER_THAN_BASE, talloc_asprintf(plan,
			"it ends at LSN %s, before the full backup %s ends", lsn_text(s->last_lsn).s, first_file(full)));
	if (diff != NULL && lsn_compare(s->last_lsn, diff->last_lsn) <= 0)
		return unused(s, PLAN_COVERED_BY_DIFFERENTIAL, talloc_asprintf(plan,
			"all that it contains is in the differential %s", first_file(diff)));
	if (lsn_compare(s->last_lsn, plan->ends_at) <= 0) {
		if (!p->now->absent && lsn_compare(s->last_lsn, p->now->redo) <= 0)
			return unused(s, PLAN_RESTORED, "the database already contains it");
		return unused(s, PLAN_DUPLICATE, "all that it contains is in other logs that are restored");
	}
	if (is_beyond_last(p, s))
		return unused(s, PLAN_BEYOND_STOP, "it was taken after the last log of the migration");
	if (p->goal->stop_at.year != 0 && plan->n_gaps == 0)
		return unused(s, PLAN_BEYOND_STOP, "it lies beyond the point to stop at");
	if (lsn_compare(s->first_lsn, plan->ends_at) <= 0)
		return unused(s, PLAN_OTHER_FORK, "it belongs to another recovery fork: the source was restored in between");
	return unused(s, PLAN_AFTER_GAP, talloc_asprintf(plan, "it begins at LSN %s and the chain is broken at %s",
		lsn_text(s->first_lsn).s, lsn_text(plan->ends_at).s));
}

static struct plan_unused
why_unused(const struct planner *p, const struct plan *plan, const struct plan_set *s)
{
	const struct plan_set *full = step_of(plan, BAK_FULL);

	if (!guid_equal(s->family, p->family))
		return unused(s, PLAN_OTHER_FAMILY, talloc_asprintf(plan, "it is a backup of another database ([%s], family %s)",
			s->database, guid_text(s->family).s));
	if (s->duplicate)
		return unused(s, PLAN_DUPLICATE, "the same backup set is here under another name");
	if (s->damaged)
		return unused(s, PLAN_DAMAGED, s->damage == NULL ? "it is damaged" : s->damage);
	if (!s->complete)
		return unused(s, PLAN_INCOMPLETE_STRIPE, talloc_asprintf(plan, "%s is missing",
			s->missing == NULL ? "a stripe" : s->missing));
	if (s->type == BAK_LOG)
		return why_log_unused(p, plan, s);
	if (!is_before_stop(p, s) || is_beyond_last(p, s))
		return unused(s, PLAN_BEYOND_STOP, "it was finished after the point to stop at");
	if (s->type == BAK_DIFFERENTIAL) {
		if (!has_base(p, s))
			return unused(s, PLAN_NO_BASE, talloc_asprintf(plan, "its base, the full backup with set %s, is not here",
				guid_text(s->differential_base).s));
		if (full != NULL && !guid_equal(s->differential_base, full->backup_set_guid))
			return unused(s, PLAN_COVERED_BY_LATER_FULL, talloc_asprintf(plan, "it belongs to another full than %s",
				first_file(full)));
		if (!p->now->absent && lsn_compare(s->last_lsn, p->now->redo) <= 0)
			return unused(s, PLAN_RESTORED, "the database already contains what it holds");
		return unused(s, PLAN_COVERED_BY_DIFFERENTIAL, "a later differential or the logs cover it");
	}
	if (s->type == BAK_FULL) {
		if (!p->now->absent)
			return unused(s, lsn_compare(s->last_lsn, p->now->redo) <= 0 ? PLAN_RESTORED : PLAN_COVERED_BY_LATER_FULL,
				"the restore began from another full and goes on");
		return unused(s, PLAN_COVERED_BY_LATER_FULL, talloc_asprintf(plan, "%s leads to the same end or further in fewer steps",
			full == NULL ? "another full" : first_file(full)));
	}
	return unused(s, PLAN_NO_BASE, "file, filegroup and partial backups are not restored by this process");
}

static void
explain_the_rest(const struct planner *p, struct plan *plan)
{
	plan->unused = talloc_array(plan, struct plan_unused, p->n);
	for (size_t i = 0; i < p->n; i++)
		if (!is_step(plan, &p->sets[i]))
			plan->unused[plan->n_unused++] = why_unused(p, plan, &p->sets[i]);
}

struct plan *
plan_make(TALLOC_CTX *parent, const struct plan_set *sets, size_t n, struct guid family,
          const struct plan_now *now, const struct plan_goal *goal)
{
	struct plan *plan = talloc_zero(parent, struct plan);
	struct planner p = { talloc_new(plan), sets, n, family, now, goal };
	const struct plan_set *next, *end = NULL;
	struct way w = { 0 };

	if (!find_way(&p, &w)) {
		name_missing_base(&p, plan);
		explain_the_rest(&p, plan);
		talloc_free(p.mem);
		return plan;
	}
	if (w.full != NULL)
		add_step(plan, w.full, goal->stop_at);
	if (w.diff != NULL)
		add_step(plan, w.diff, goal->stop_at);
	for (size_t i = 0; i < w.n_logs; i++)
		add_step(plan, w.logs[i], goal->stop_at);
	plan->ends_at = w.end;
	plan->ends_fork = w.fork;
	next = w.stopped ? NULL : beyond(&p, w.end);
	if (next != NULL)
		name_gap(&p, plan, next);
	for (size_t i = 0; i < n; i++)
		if (sets[i].type == BAK_LOG && guid_equal(sets[i].family, family) &&
		    lsn_compare(sets[i].last_lsn, plan->ends_at) == 0 && sets[i].tail_norecovery)
			end = &sets[i];
	plan->has_tail = end != NULL;
	plan->complete = plan->n_gaps == 0 && (goal->last == 0 || w.reached_last);
	explain_the_rest(&p, plan);
	talloc_free(p.mem);
	return plan;
}

struct guid
plan_choose_family(const struct plan_set *sets, size_t n, const char *database)
{
	const struct plan_set *best = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct plan_set *s = &sets[i];

		if (s->type != BAK_FULL || (database != NULL && strcasecmp(s->database, database) != 0))
			continue;
		if (best == NULL || (s->complete && !s->damaged && (!best->complete || best->damaged)) ||
		    lsn_compare(s->last_lsn, best->last_lsn) > 0)
			best = s;
	}
	return best == NULL ? (struct guid){ { 0 } } : best->family;
}
