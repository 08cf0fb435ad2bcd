#include "common/plan_parts.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * What the plan says: the gaps in the customer's words (which backup, from which server, between which times, and what
 * is likely behind it, because that is what support calls are about), and of every set that is not used the reason.
 */

enum { GAPS_MAX = 100 }; /* a customer who sent every second log of ten thousand has enough to do with these */

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
	[PLAN_SKIPPED] = "skipped",
	[PLAN_RESTORED] = "restored",
};

const char *
plan_reason_word(enum plan_reason reason)
{
	return reason_words[reason];
}

/* What is said rests on this. */
struct say {
	const struct planner *p;
	struct plan *plan;
	const struct plan_set *full, *diff; /* of the steps; NULL */
	const struct plan_set *base;        /* the full beneath: that of the steps, or the one that was restored, if it is known */
	const struct plan_set *bridge;      /* a differential that reaches beyond the end and has no base here */
	const struct plan_set *newer;       /* a usable full beyond the end, once another was restored */
	bool *on_way;                       /* forks that the way was on */
	bool found, stopped, reached_last;
};

static const char *
first_file(const struct plan_set *s)
{
	return s->n_files == 0 ? "a backup" : s->files[0];
}

static size_t
fork_of(const struct say *y, struct guid fork)
{
	return forks_index(y->p->forks, fork, y->p->looks);
}

/* Its fork is one that the source has left for the one where the way ends. */
static bool
is_history(const struct say *y, const struct plan_set *s)
{
	return forks_left(y->p->forks, fork_of(y, s->fork), fork_of(y, y->plan->ends_fork));
}

/* ---- gaps ------------------------------------------------------------------------------------------------- */

/* How far one has come in looking for holes. */
struct reach {
	struct lsn end;
	struct guid fork;
	const struct plan_set *prev; /* what ends there; NULL when only the server knows */
};

static void
add_gap(struct plan *plan, struct plan_gap gap)
{
	if (plan->n_gaps == GAPS_MAX)
		return;
	if (plan->gaps == NULL)
		plan->gaps = talloc_array(plan, struct plan_gap, GAPS_MAX);
	plan->gaps[plan->n_gaps++] = gap;
}

static const struct plan_set *
last_applied(const struct say *y)
{
	const struct planner *p = y->p;
	const struct plan_set *best = NULL;

	if (y->plan->n_steps > 0)
		return y->plan->steps[y->plan->n_steps - 1].set;
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (guid_equal(s->family, p->family) && lsn_compare(s->last_lsn, y->plan->ends_at) == 0 &&
		    (best == NULL || bak_date_compare(s->finish, best->finish) < 0))
			best = s;
	}
	return best;
}

/* "…is missing: it was taken on S between T (end of a.trn) and T (start of b.trn), up to LSN N; cause" */
static const char *
log_missing(const struct say *y, const struct reach *r, const struct plan_set *next, bool to_its_end, const char *cause)
{
	return talloc_asprintf(y->plan,
		"the log backup of [%s] that contains LSN %s is missing: it was taken on %s between %s (end of %s) "
		"and %s (%s of %s), up to LSN %s; %s",
		next->database, lsn_text(r->end).s, next->server,
		r->prev == NULL || r->prev->finish.year == 0 ? "an unknown time" : bak_date_text(r->prev->finish).s,
		r->prev == NULL ? "what is restored" : first_file(r->prev), bak_date_text(to_its_end ? next->finish : next->start).s,
		to_its_end ? "end" : "start", first_file(next), lsn_text(to_its_end ? next->last_lsn : next->first_lsn).s, cause);
}

static struct plan_gap
gap_before(const struct reach *r, const struct plan_set *next, bool to_its_end)
{
	return (struct plan_gap){ .needed = r->end, .next = to_its_end ? next->last_lsn : next->first_lsn, .server = next->server,
		.after = r->prev == NULL ? (struct bak_date){ 0 } : r->prev->finish, .before = to_its_end ? next->finish : next->start };
}

/* What else could lead over the first hole, or why what is here does not. */
static const char *
other_ways(const struct say *y)
{
	const char *text = "";

	if (y->plan->n_gaps > 0)
		return text;
	if (y->bridge != NULL)
		text = talloc_asprintf(y->plan, "; the differential %s does not lead over it: a full backup taken in between moved its base, "
			"which is set %s and is not here", first_file(y->bridge), guid_text(y->bridge->differential_base).s);
	if (y->newer != NULL)
		text = talloc_asprintf(y->plan, "%s; or the restore is begun again from the newer full backup %s, which is here", text,
			first_file(y->newer));
	return text;
}

static void
name_hole(const struct say *y, const struct reach *r, const struct plan_set *next)
{
	struct plan_gap gap = gap_before(r, next, false);
	const char *cause;

	if (next->begins_chain)
		cause = talloc_asprintf(y->plan, "the source began its log chain anew with %s, as it does after the SIMPLE recovery model, so that no "
			"log leads there: send a differential or a full backup taken since", first_file(next));
	else
		cause = "send it, or a differential backup taken later; if another tool took it, its file lies there";
	gap.text = log_missing(y, r, next, false, talloc_asprintf(y->plan, "%s%s", cause, other_ways(y)));
	add_gap(y->plan, gap);
}

static void
name_broken(const struct say *y, const struct reach *r, const struct plan_set *s)
{
	struct plan_gap gap = gap_before(r, s, true);

	if (s->complete && !s->damaged)
		gap.text = talloc_asprintf(y->plan, "%s contains the point to stop at and holds bulk-logged changes, so it can only be restored as a whole "
			"(message 4341): stop at %s or at %s (end of %s)", first_file(s), gap.after.year == 0 ? "a time before it" :
			talloc_asprintf(y->plan, "%s (end of %s)", bak_date_text(gap.after).s, first_file(r->prev)), bak_date_text(gap.before).s, first_file(s));
	else
		gap.text = log_missing(y, r, s, true, talloc_asprintf(y->plan, "%s%s", !s->complete
			? talloc_asprintf(y->plan, "its file is there but %s is missing", s->missing == NULL ? "a stripe" : s->missing)
			: "its file is there but damaged: send it again", other_ways(y)));
	add_gap(y->plan, gap);
}

static void
name_fork(const struct say *y, const struct reach *r, const struct plan_set *next)
{
	struct plan_gap gap = gap_before(r, next, true);

	gap.text = log_missing(y, r, next, true, talloc_asprintf(y->plan,
		"the source was restored or reverted in between: send a new full backup%s", other_ways(y)));
	add_gap(y->plan, gap);
}

/* A log that reaches beyond the end of the way. */
struct beyond {
	const struct plan_set *set;
	bool usable;
};

/* A sound one before a damaged one with the same begin; the id last, so that the order of arrival says nothing. */
static int
by_begin(const void *a, const void *b)
{
	const struct beyond *x = a, *y = b;
	int first = lsn_compare(x->set->first_lsn, y->set->first_lsn), last = lsn_compare(y->set->last_lsn, x->set->last_lsn);

	if (first != 0)
		return first;
	if (x->usable != y->usable)
		return x->usable ? -1 : 1;
	return last != 0 ? last : x->set->id < y->set->id ? -1 : x->set->id > y->set->id;
}

static bool
is_related(const struct plan_set *s, struct guid fork)
{
	return guid_equal(s->first_fork, fork) || guid_equal(s->fork, fork);
}

/* They in the order of their FirstLSN; not those of history that the source has left behind. */
static struct beyond *
logs_beyond(const struct say *y, size_t *n, bool *related)
{
	const struct planner *p = y->p;
	struct beyond *list = talloc_array(p->mem, struct beyond, p->n + 1);

	*n = 0;
	*related = false;
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (s->type != BAK_LOG || !plan_is_ours(p, s) || lsn_compare(s->last_lsn, y->plan->ends_at) <= 0 || plan_is_beyond_last(p, s) ||
		    is_history(y, s))
			continue;
		list[(*n)++] = (struct beyond){ s, plan_is_usable(p, s) && !plan_cannot_stop_in(p, s) };
		*related = *related || is_related(s, y->plan->ends_fork);
	}
	qsort(list, *n, sizeof(*list), by_begin);
	return list;
}

static void
advance(struct reach *r, const struct plan_set *s)
{
	*r = (struct reach){ s->last_lsn, s->fork, s };
}

/* A file that could fill the hole and cannot be used is what is missing, as far as it goes. */
static void
end_broken(const struct say *y, struct reach *r, const struct plan_set **broken)
{
	if (*broken == NULL || lsn_compare((*broken)->last_lsn, r->end) <= 0)
		return;
	name_broken(y, r, *broken);
	advance(r, *broken);
	*broken = NULL;
}

static void
sweep_over(const struct say *y, struct reach *r, const struct beyond *b, const struct plan_set **broken)
{
	const struct plan_set *s = b->set;

	if (lsn_compare(s->first_lsn, r->end) > 0)
		end_broken(y, r, broken);
	if (lsn_compare(s->last_lsn, r->end) <= 0)
		return;
	if (lsn_compare(s->first_lsn, r->end) > 0) {
		name_hole(y, r, s);
		*r = (struct reach){ s->first_lsn, s->first_fork, NULL };
	} else if (!plan_is_on_path(s, r->end, r->fork)) {
		name_fork(y, r, s);
		advance(r, s);
		return;
	}
	if (b->usable)
		advance(r, s);
	else if (*broken == NULL || lsn_compare(s->last_lsn, (*broken)->last_lsn) > 0)
		*broken = s;
}

/* Sweeps over them once: what does not reach up to the next one is a hole. */
static void
name_holes(const struct say *y)
{
	struct reach r = { y->plan->ends_at, y->plan->ends_fork, last_applied(y) };
	const struct plan_set *broken = NULL;
	bool related;
	size_t n;
	struct beyond *list = logs_beyond(y, &n, &related);

	for (size_t i = 0; i < n; i++) {
		/* Where some log goes on along our fork, those of strangers to it name no hole. */
		if (related && !is_related(list[i].set, r.fork))
			continue;
		sweep_over(y, &r, &list[i], &broken);
		if (y->plan->n_gaps > 0 && plan_holds_stop(y->p, list[i].set))
			break;
	}
	end_broken(y, &r, &broken);
	talloc_free(list);
}

/* A differential (or, before anything is restored, a full) that reaches further than all that is restored, and why it cannot be. */
static const char *
why_not_applied(const struct say *y, const struct plan_set *s)
{
	const char *kind = s->type == BAK_FULL ? "full" : "differential";
	const struct planner *p = y->p;
	const struct plan_set *base;

	if (!s->complete)
		return talloc_asprintf(y->plan, "the %s backup %s of [%s], taken on %s, reaches further and %s is missing", kind, first_file(s),
			s->database, s->server, s->missing == NULL ? "a stripe" : s->missing);
	if (s->damaged)
		return talloc_asprintf(y->plan, "the %s backup %s of [%s], taken on %s, reaches further and is damaged: send it again", kind,
			first_file(s), s->database, s->server);
	if (s->type == BAK_FULL || (!p->now->absent && guid_equal(s->differential_base, p->now->base)))
		return NULL;
	base = plan_base(p, s->differential_base);
	/* Of a full that is here the logs may still come; without logs there is no other way than to begin again. */
	if (base != NULL && (y->base == NULL || !y->base->simple))
		return NULL;
	if (base != NULL)
		return talloc_asprintf(y->plan, "the differential backup %s of [%s] belongs to the full backup %s, and the restore begins with another: "
			"it is begun again from that one, or a differential of the first one is sent", first_file(s), s->database, first_file(base));
	return talloc_asprintf(y->plan, "the full backup of [%s] whose set is %s is missing: it was taken on %s before %s (start of %s); a full backup taken "
		"in between moved the base of the differential (message 3136), so send that full, the logs since, or a differential of the full that is here",
		s->database, guid_text(s->differential_base).s, s->server, bak_date_text(s->start).s, first_file(s));
}

static void
name_unapplied(const struct say *y)
{
	const struct planner *p = y->p;
	const struct plan_set *furthest = NULL, *prev = last_applied(y);
	const char *text = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];
		const char *why;

		if ((s->type != BAK_DIFFERENTIAL && (s->type != BAK_FULL || !p->now->absent)) || !plan_is_ours(p, s) ||
		    lsn_compare(s->last_lsn, y->plan->ends_at) <= 0 || plan_is_beyond_last(p, s) || !plan_is_before_stop(p, s) || is_history(y, s) ||
		    (furthest != NULL && lsn_compare(s->last_lsn, furthest->last_lsn) <= 0) || (why = why_not_applied(y, s)) == NULL)
			continue;
		furthest = s;
		text = why;
	}
	if (furthest != NULL)
		add_gap(y->plan, (struct plan_gap){ .needed = y->plan->ends_at, .next = furthest->last_lsn, .server = furthest->server, .text = text,
			.after = prev == NULL ? (struct bak_date){ 0 } : prev->finish, .before = furthest->finish });
}

/* Everything here ends before the point, and more will come. */
static void
await_stop(const struct say *y)
{
	const struct plan_set *prev = last_applied(y);
	struct bak_date stop = y->p->goal->stop_at;

	if (prev == NULL)
		y->plan->awaits = talloc_asprintf(y->plan, "the log backup that contains %s, the point to stop at", bak_date_text(stop).s);
	else
		y->plan->awaits = talloc_asprintf(y->plan, "the log backup of [%s] that contains %s, the point to stop at: the first one finished at that time or "
			"later on %s; what is here ends at %s (end of %s)", prev->database, bak_date_text(stop).s, prev->server,
			bak_date_text(prev->finish).s, first_file(prev));
}

/* Everything here ends before the point. With SIMPLE nothing else can be had, and behind a tail there is nothing. */
static void
name_stop(const struct say *y)
{
	const struct plan_set *prev = last_applied(y);
	struct bak_date stop = y->p->goal->stop_at;

	if (stop.year == 0 || y->plan->has_tail || (y->base != NULL && y->base->simple))
		return;
	if (y->p->goal->follows) {
		await_stop(y);
		return;
	}
	if (prev == NULL || bak_date_compare(prev->finish, stop) >= 0)
		return;
	add_gap(y->plan, (struct plan_gap){ .needed = y->plan->ends_at, .after = prev->finish, .server = prev->server,
		.text = talloc_asprintf(y->plan, "the log backup of [%s] that contains %s is missing: it was taken on %s after %s (end of %s); send all log backups "
			"up to the first one finished at that time or later", prev->database, bak_date_text(stop).s, prev->server,
			bak_date_text(prev->finish).s, first_file(prev)) });
}

/* What is restored cannot be taken out of a database. */
static void
name_past_stop(const struct say *y)
{
	const struct planner *p = y->p;
	const struct plan_set *at = p->at;

	add_gap(y->plan, (struct plan_gap){ .needed = y->plan->ends_at, .server = at->server, .before = at->finish,
		.text = talloc_asprintf(y->plan, "%s is restored%s%s, which is more than the point to stop at, %s: no database can be taken back to it; "
			"begin the chain again (migration restart), or stop later", first_file(at), p->now->last_stop.year == 0 ? ", finished at " : " up to ",
			bak_date_text(p->now->last_stop.year == 0 ? at->finish : p->now->last_stop).s, bak_date_text(p->goal->stop_at).s) });
}

static void
name_last(const struct say *y)
{
	const struct plan_set *last = y->p->last, *prev = last_applied(y);
	const char *why;

	if (last == NULL || y->reached_last)
		return;
	why = !last->complete ? talloc_asprintf(y->plan, "%s is missing", last->missing == NULL ? "a stripe" : last->missing)
	      : last->damaged ? "it is damaged: send it again"
	      : lsn_compare(y->plan->ends_at, last->last_lsn) > 0 ? "the database contains more than it already: it was not the last one"
	      : "it does not go on from what is restored: the source was restored or reverted in between";
	add_gap(y->plan, (struct plan_gap){ .needed = y->plan->ends_at, .next = last->last_lsn, .server = last->server,
		.after = prev == NULL ? (struct bak_date){ 0 } : prev->finish, .before = last->finish,
		.text = talloc_asprintf(y->plan, "the last backup of [%s], %s, taken on %s, cannot be restored: %s", last->database, first_file(last),
			last->server, why) });
}

/* No full to begin with: say which one the backups that are there ask for. */
static void
name_missing_base(const struct say *y)
{
	const struct planner *p = y->p;
	const struct plan_set *first = NULL;
	struct plan_gap gap = { 0 };
	const char *why = "no full backup is here yet";

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (!guid_equal(s->family, p->family))
			continue;
		if (s->type == BAK_FULL && s->skipped != NULL)
			why = "the full backup was taken out of the plan";
		else if (s->type == BAK_FULL && !s->complete)
			why = "the full backup is not complete";
		else if (s->type == BAK_FULL && s->damaged)
			why = "the full backup is damaged";
		else if (s->type == BAK_FULL && plan_is_beyond_last(p, s))
			why = "no full backup was taken before the last backup of the migration";
		else if (s->type == BAK_FULL)
			why = "no full backup was finished before the point to stop at";
		if (first == NULL || lsn_compare(s->first_lsn, first->first_lsn) < 0)
			first = s;
	}
	if (first == NULL)
		return;
	gap = (struct plan_gap){ .needed = first->first_lsn, .before = first->start, .server = first->server };
	if (first->type == BAK_DIFFERENTIAL)
		gap.text = talloc_asprintf(y->plan, "%s: the differential %s needs the full backup of [%s] whose set is %s, taken "
			"on %s before %s", why, first_file(first), first->database,
			guid_text(first->differential_base).s, first->server, bak_date_text(first->start).s);
	else
		gap.text = talloc_asprintf(y->plan, "%s: send a full backup of [%s] taken on %s; the earliest backup here begins at "
			"LSN %s (%s)", why, first->database, first->server, lsn_text(first->first_lsn).s,
			bak_date_text(first->start).s);
	add_gap(y->plan, gap);
}

/* ---- notes ------------------------------------------------------------------------------------------------ */

static void
note_simple(const struct say *y)
{
	const struct plan *plan = y->plan;

	if (y->base == NULL || !y->base->simple || (plan->n_steps > 0 && plan->steps[plan->n_steps - 1].set->type == BAK_LOG))
		return;
	y->plan->notes = talloc_array(y->plan, const char *, 1);
	y->plan->notes[y->plan->n_notes++] = talloc_asprintf(y->plan, "[%s] is in the SIMPLE recovery model, where there are no log backups: only a full "
		"backup and a differential of it can be restored, so %s", y->base->database, y->diff == NULL
		? "take a differential once the application is off, or change to FULL and take a new full backup first"
		: "what is changed after the differential is in none of these files");
}

/* ---- reasons ---------------------------------------------------------------------------------------------- */

/* The full a differential wants, when it is here and may be used. */
static bool
has_base(const struct planner *p, const struct plan_set *diff)
{
	return (!p->now->absent && guid_equal(p->now->base, diff->differential_base)) || plan_base(p, diff->differential_base) != NULL;
}

static struct plan_unused
unused(const struct plan_set *s, enum plan_reason reason, const char *text)
{
	return (struct plan_unused){ s, reason, text };
}

static bool
is_on_way(const struct say *y, const struct plan_set *s)
{
	return y->on_way[fork_of(y, s->fork)];
}

static const char forked[] = "it belongs to another recovery fork: the source was restored in between";

static struct plan_unused
why_log_unused(const struct say *y, const struct plan_set *s)
{
	const struct planner *p = y->p;
	struct plan *plan = y->plan;
	const struct plan_set *full = y->full, *diff = y->diff;

	if (!y->found)
		return unused(s, PLAN_NO_BASE, "there is no full backup it could be applied to");
	if (full != NULL && lsn_compare(s->last_lsn, full->last_lsn) <= 0)
		return unused(s, PLAN_OLDER_THAN_BASE, talloc_asprintf(plan,
			"it ends at LSN %s, before the full backup %s ends", lsn_text(s->last_lsn).s, first_file(full)));
	if (s == p->at && y->stopped && plan->stops_in == s->id)
		return unused(s, PLAN_RESTORED, "the database already contains it, up to the point to stop at");
	if (lsn_compare(s->last_lsn, plan->ends_at) <= 0 && !is_on_way(y, s))
		return unused(s, PLAN_OTHER_FORK, forked);
	if (!p->now->absent && lsn_compare(s->last_lsn, p->now->redo) <= 0)
		return unused(s, PLAN_RESTORED, "the database already contains it");
	if (diff != NULL && lsn_compare(s->last_lsn, diff->last_lsn) <= 0)
		return unused(s, PLAN_COVERED_BY_DIFFERENTIAL, talloc_asprintf(plan,
			"all that it contains is in the differential %s", first_file(diff)));
	if (lsn_compare(s->last_lsn, plan->ends_at) <= 0)
		return unused(s, PLAN_DUPLICATE, "all that it contains is in other logs that are restored");
	if (plan_is_beyond_last(p, s))
		return unused(s, PLAN_BEYOND_STOP, "it was taken after the last log of the migration");
	if (plan_cannot_stop_in(p, s) && plan_is_on_path(s, plan->ends_at, plan->ends_fork) && lsn_compare(s->first_lsn, plan->ends_at) <= 0)
		return unused(s, PLAN_BEYOND_STOP, "the point to stop at lies in it, and its bulk-logged changes can only be restored as a whole");
	if (y->stopped || plan->past_stop)
		return unused(s, PLAN_BEYOND_STOP, "it lies beyond the point to stop at");
	if (lsn_compare(s->first_lsn, plan->ends_at) <= 0 || is_history(y, s))
		return unused(s, PLAN_OTHER_FORK, forked);
	return unused(s, PLAN_AFTER_GAP, talloc_asprintf(plan, "it begins at LSN %s and the chain is broken at %s",
		lsn_text(s->first_lsn).s, lsn_text(plan->ends_at).s));
}

static struct plan_unused
why_differential_unused(const struct say *y, const struct plan_set *s)
{
	const struct planner *p = y->p;

	if (!has_base(p, s))
		return unused(s, PLAN_NO_BASE, talloc_asprintf(y->plan, "its base, the full backup with set %s, is not here",
			guid_text(s->differential_base).s));
	if (!p->now->absent && lsn_compare(s->last_lsn, p->now->redo) <= 0)
		return unused(s, PLAN_RESTORED, "the database already contains what it holds");
	if (y->full != NULL && !guid_equal(s->differential_base, y->full->backup_set_guid))
		return unused(s, PLAN_COVERED_BY_LATER_FULL, talloc_asprintf(y->plan, "it belongs to another full than %s", first_file(y->full)));
	if (!p->now->absent && !guid_equal(s->differential_base, p->now->base))
		return unused(s, PLAN_COVERED_BY_LATER_FULL, "it belongs to another full than the one that was restored");
	if (!is_on_way(y, s) || lsn_compare(s->last_lsn, y->plan->ends_at) > 0)
		return unused(s, PLAN_OTHER_FORK, forked);
	return unused(s, PLAN_COVERED_BY_DIFFERENTIAL, y->diff != NULL ? "a later differential covers it" : "the logs cover it and are less to read");
}

static struct plan_unused
why_full_unused(const struct say *y, const struct plan_set *s)
{
	const struct planner *p = y->p;

	if (!p->now->absent)
		return unused(s, lsn_compare(s->last_lsn, p->now->redo) <= 0 ? PLAN_RESTORED : PLAN_COVERED_BY_LATER_FULL,
			"the restore began from another full and goes on");
	if (y->full != NULL && !is_on_way(y, s))
		return unused(s, PLAN_OTHER_FORK, forked);
	return unused(s, PLAN_COVERED_BY_LATER_FULL, talloc_asprintf(y->plan, "%s leads further, or as far with less to read",
		y->full == NULL ? "another full" : first_file(y->full)));
}

static struct plan_unused
why_unused(const struct say *y, const struct plan_set *s)
{
	const struct planner *p = y->p;

	if (!guid_equal(s->family, p->family))
		return unused(s, PLAN_OTHER_FAMILY, talloc_asprintf(y->plan, "it is a backup of another database ([%s], family %s)",
			s->database, guid_text(s->family).s));
	if (s->duplicate)
		return unused(s, PLAN_DUPLICATE, "the same backup set is here under another name");
	if (s->skipped != NULL)
		return unused(s, PLAN_SKIPPED, talloc_asprintf(y->plan, "a person took it out of the plan: %s", s->skipped));
	if (s->damaged)
		return unused(s, PLAN_DAMAGED, s->damage == NULL ? "it is damaged" : s->damage);
	if (!s->complete)
		return unused(s, PLAN_INCOMPLETE_STRIPE, talloc_asprintf(y->plan, "%s is missing", s->missing == NULL ? "a stripe" : s->missing));
	if (s->type == BAK_LOG)
		return why_log_unused(y, s);
	if (s->type != BAK_FULL && s->type != BAK_DIFFERENTIAL)
		return unused(s, PLAN_NO_BASE, "file, filegroup and partial backups are not restored by this process");
	if (!plan_is_before_stop(p, s))
		return unused(s, PLAN_BEYOND_STOP, "it was finished after the point to stop at");
	if (plan_is_beyond_last(p, s))
		return unused(s, PLAN_BEYOND_STOP, "it was taken after the last backup of the migration");
	return s->type == BAK_FULL ? why_full_unused(y, s) : why_differential_unused(y, s);
}

/* Every step is a set of the array, so where it lies there says which one it is. */
static void
explain_the_rest(const struct say *y)
{
	const struct planner *p = y->p;
	struct plan *plan = y->plan;
	bool *used = talloc_zero_array(p->mem, bool, p->n + 1);

	for (size_t i = 0; i < plan->n_steps; i++)
		used[plan->steps[i].set - p->sets] = true;
	plan->unused = talloc_array(plan, struct plan_unused, p->n + 1);
	for (size_t i = 0; i < p->n; i++)
		if (!used[i])
			plan->unused[plan->n_unused++] = why_unused(y, &p->sets[i]);
}

/* ---- all of it -------------------------------------------------------------------------------------------- */

static void
look_at_the_way(struct say *y)
{
	const struct planner *p = y->p;

	y->on_way = talloc_zero_array(p->mem, bool, p->forks->n + 1);
	if (!p->now->absent)
		y->on_way[fork_of(y, p->now->fork)] = true;
	for (size_t i = 0; i < y->plan->n_steps; i++) {
		const struct plan_set *s = y->plan->steps[i].set;

		y->on_way[fork_of(y, s->first_fork)] = y->on_way[fork_of(y, s->fork)] = true;
		if (s->type == BAK_FULL)
			y->full = s;
		else if (s->type == BAK_DIFFERENTIAL)
			y->diff = s;
	}
	y->on_way[p->forks->n] = false;
	y->base = y->full != NULL ? y->full : p->now->absent ? NULL : plan_base(p, p->now->base);
	for (size_t i = 0; i < p->n && y->found; i++) {
		const struct plan_set *s = &p->sets[i];

		if (!plan_is_usable(p, s) || lsn_compare(s->last_lsn, y->plan->ends_at) <= 0 || plan_is_beyond_last(p, s) || !plan_is_before_stop(p, s))
			continue;
		if (s->type == BAK_DIFFERENTIAL && !has_base(p, s))
			y->bridge = s;
		if (s->type == BAK_FULL && !p->now->absent && (y->newer == NULL || lsn_compare(s->last_lsn, y->newer->last_lsn) > 0))
			y->newer = s;
	}
}

void
plan_say(const struct planner *p, struct plan *plan, bool found, bool stopped, bool reached_last)
{
	struct say y = { .p = p, .plan = plan, .found = found, .stopped = stopped, .reached_last = reached_last };

	look_at_the_way(&y);
	if (!found)
		name_missing_base(&y);
	else if (plan->past_stop)
		name_past_stop(&y);
	else if (!stopped)
		name_holes(&y);
	if (found && !stopped && plan->n_gaps == 0)
		name_unapplied(&y);
	if (found && !stopped && plan->n_gaps == 0)
		name_stop(&y);
	if (found && plan->n_gaps == 0)
		name_last(&y);
	note_simple(&y);
	plan->complete = found && plan->n_gaps == 0 && plan->awaits == NULL && (p->last == NULL ? p->goal->last == 0 : reached_last);
	explain_the_rest(&y);
}
