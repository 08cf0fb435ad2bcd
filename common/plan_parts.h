/*
 * What the parts of the planner share: plan.c finds the way, plan_forks.c knows which recovery fork came of which,
 * plan_words.c says what is missing and why a set is not used. For these three files only.
 */
#ifndef LANDFALL_PLAN_PARTS_H
#define LANDFALL_PLAN_PARTS_H

#include "common/plan.h"

/* Every recovery fork that the sets of a family name, by GUID, and which came of which. */
struct forks {
	struct guid *guid;
	size_t n;
	size_t *parent; /* n: none that is known */
	bool *own;      /* it was the same server that went from the parent to this one */
};

/* Owned by mem. extra (what the database stands on) is among them even when no set names it. */
struct forks *forks_of(TALLOC_CTX *mem, const struct plan_set *sets, size_t n, struct guid family, struct guid extra, size_t *looks);
size_t forks_index(const struct forks *forks, struct guid fork, size_t *looks); /* n: unknown */
/* True when the server that had ancestor left it itself, on the way to child. */
bool forks_left(const struct forks *forks, size_t ancestor, size_t child);
/* Sets left[] of every fork that was so left on the way to this one. */
void forks_mark_left(const struct forks *forks, size_t fork, bool *left);

struct planner {
	TALLOC_CTX *mem;
	const struct plan_set *sets;
	size_t n;
	struct guid family;
	const struct plan_now *now;
	const struct plan_goal *goal;
	const struct plan_set *last; /* the goal's; NULL without one */
	const struct plan_set *at;   /* what was restored last; NULL when it is not known */
	struct forks *forks;
	const struct plan_set **fulls; /* usable ones by BackupSetGUID */
	size_t n_fulls;
	bool by_bytes; /* every size is known */
	size_t *looks;
};

bool plan_is_ours(const struct planner *p, const struct plan_set *s);   /* this family, no copy of another set, not taken out by a person */
bool plan_is_usable(const struct planner *p, const struct plan_set *s); /* and whole */
bool plan_is_before_stop(const struct planner *p, const struct plan_set *s);
bool plan_is_beyond_last(const struct planner *p, const struct plan_set *s);
bool plan_holds_stop(const struct planner *p, const struct plan_set *s); /* a log that contains the point or ends behind it */
/* It contains the point, and holds changes that can only be restored as a whole (messages 4327 and 4341). */
bool plan_cannot_stop_in(const struct planner *p, const struct plan_set *s);
/* The database stands at the point: nothing more is restored. Or behind it. */
bool plan_has_stopped(const struct planner *p);
bool plan_is_past_stop(const struct planner *p);
/* On the recovery path of a database that stands at redo on fork; LSNs but the fork point's are not looked at. */
bool plan_is_on_path(const struct plan_set *s, struct lsn redo, struct guid fork);
/* A differential's base: the usable full, or NULL. */
const struct plan_set *plan_base(const struct planner *p, struct guid base);

/* Fills gaps, notes and unused of a plan whose steps, ends_at and ends_fork stand; stopped: the point to stop at is reached. */
void plan_say(const struct planner *p, struct plan *plan, bool found, bool stopped, bool reached_last);

#endif
