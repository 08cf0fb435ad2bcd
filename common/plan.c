#include "common/plan_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * The way is the shortest one through a graph: a node is what the database would be after a set, at an LSN on a fork. Ways
 * begin at a full, at a full with one of its differentials, or at what the target has already; every log leads from each
 * state that it fits on to one state of its own. A differential is cumulative, so logs before it never help, and the
 * beginnings are few. All states that a log fits on lie in one range of LSNs on a fork and below its LastLSN: logs
 * looked at in the order of their ends find the cheapest of these in a tree over (fork, LSN) in log n looks. No way is
 * walked twice, whatever is sent.
 */

enum { PRICE_MAX = 1 << 30 }; /* a size comes from a header: sums of it stay far from overflow */

struct node {
	const struct plan_set *set; /* NULL: the database as it is */
	struct lsn end, start;      /* where it leads, and from where logs are rolled forward */
	size_t fork;
	const struct node *from;
	uint64_t cost;
	unsigned steps;
	bool reached;
};

struct graph {
	const struct planner *p;
	struct node *nodes; /* by fork, then by end */
	size_t n;
	size_t *begins;     /* where a fork's nodes begin; one more than there are forks */
	const struct node **tree;
};

/* ---- predicates ------------------------------------------------------------------------------------------- */

bool
plan_is_ours(const struct planner *p, const struct plan_set *s)
{
	return guid_equal(s->family, p->family) && !s->duplicate && s->skipped == NULL;
}

bool
plan_is_usable(const struct planner *p, const struct plan_set *s)
{
	return plan_is_ours(p, s) && s->complete && !s->damaged;
}

/* A full or differential must be finished before the point to stop at (4338); a log may span it. */
bool
plan_is_before_stop(const struct planner *p, const struct plan_set *s)
{
	return p->goal->stop_at.year == 0 || (s->finish.year != 0 && bak_date_compare(s->finish, p->goal->stop_at) <= 0);
}

/* Nothing beyond the tail is ever planned: its LastLSN is the end of the database's life at the source. */
bool
plan_is_beyond_last(const struct planner *p, const struct plan_set *s)
{
	return p->last != NULL && lsn_compare(s->last_lsn, p->last->last_lsn) > 0;
}

bool
plan_holds_stop(const struct planner *p, const struct plan_set *s)
{
	return p->goal->stop_at.year != 0 && bak_date_compare(s->finish, p->goal->stop_at) >= 0;
}

bool
plan_cannot_stop_in(const struct planner *p, const struct plan_set *s)
{
	/* Its very end can be had: the log as a whole. */
	return s->bulk_logged && p->goal->stop_at.year != 0 && bak_date_compare(s->finish, p->goal->stop_at) > 0;
}

/*
 * Where the database stands in time is what the set restored last says, not redo: after a log with STOPAT that held the point, redo
 * is somewhere before that log's LastLSN. Its end is enough only where it had to be restored as a whole: the point is its very end.
 */
bool
plan_has_stopped(const struct planner *p)
{
	if (p->now->absent || p->at == NULL || p->at->type != BAK_LOG || !plan_holds_stop(p, p->at))
		return false;
	return p->now->last_stop.year != 0 ? bak_date_compare(p->now->last_stop, p->goal->stop_at) == 0
	                                   : p->at->bulk_logged && bak_date_compare(p->at->finish, p->goal->stop_at) == 0;
}

/*
 * The dates of a backup are cut to the second: a log that ends in the point's own second and was restored as a whole has, perhaps,
 * what was written after the point.
 */
bool
plan_is_past_stop(const struct planner *p)
{
	const struct plan_set *at = p->at;
	struct bak_date stop = p->goal->stop_at, reached;

	if (p->now->absent || at == NULL || stop.year == 0 || plan_has_stopped(p))
		return false;
	if (p->now->last_stop.year != 0 && bak_date_compare(p->now->last_stop, stop) <= 0)
		return false;
	reached = p->now->last_stop.year != 0 && bak_date_compare(p->now->last_stop, at->finish) < 0 ? p->now->last_stop : at->finish;
	return bak_date_compare(reached, stop) > 0 || (bak_date_compare(reached, stop) == 0 && at->type == BAK_LOG && !at->bulk_logged);
}

/*
 * sys.master_files has it that first_fork_guid of the next log must match redo_start_fork_guid. That is the rule for a
 * log within one fork. One that spans a fork point goes on from the old fork up to that point, and from the new one
 * behind it: else the first log after restoring a database and taking a full of it would fit on nothing.
 */
bool
plan_is_on_path(const struct plan_set *s, struct lsn redo, struct guid fork)
{
	if (guid_equal(s->first_fork, fork) &&
	    (guid_equal(s->first_fork, s->fork) || lsn_is_null(s->fork_point) || lsn_compare(redo, s->fork_point) <= 0))
		return true;
	return guid_equal(s->fork, fork) && (lsn_is_null(s->fork_point) || lsn_compare(redo, s->fork_point) >= 0);
}

const struct plan_set *
plan_base(const struct planner *p, struct guid base)
{
	size_t low = 0, high = p->n_fulls;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = memcmp(p->fulls[mid]->backup_set_guid.b, base.b, sizeof(base.b));

		++*p->looks;
		if (c == 0)
			return p->fulls[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* Nothing but its base lies beneath a differential that is laid over it: then no path can be wrong. */
static bool
is_on_base_alone(const struct planner *p, const struct plan_set *diff)
{
	const struct plan_set *base = plan_base(p, diff->differential_base);

	return base != NULL && lsn_compare(base->last_lsn, p->now->redo) == 0 && lsn_compare(diff->last_lsn, p->now->redo) > 0;
}

/* ---- the graph -------------------------------------------------------------------------------------------- */

static uint64_t
price_of(const struct planner *p, const struct plan_set *s)
{
	uint64_t bytes = p->by_bytes ? s->bytes / PLAN_STEP_BYTES : 0;

	return 1 + (bytes < PRICE_MAX ? bytes : PRICE_MAX);
}

static struct node
begin_at(const struct planner *p, const struct plan_set *full)
{
	return (struct node){ .set = full, .end = full->last_lsn, .start = full->last_lsn, .fork = forks_index(p->forks, full->fork, p->looks),
		.cost = price_of(p, full), .steps = 1, .reached = true };
}

static bool
may_be_used(const struct planner *p, const struct plan_set *s)
{
	return plan_is_usable(p, s) && !plan_is_beyond_last(p, s) && !guid_is_null(s->fork) &&
	       (s->type == BAK_LOG ? !plan_cannot_stop_in(p, s) : plan_is_before_stop(p, s));
}

/* The full and its differential as one: a beginning. */
static void
add_full_with(struct graph *g, const struct plan_set *diff)
{
	const struct plan_set *full = plan_base(g->p, diff->differential_base);
	struct node n;

	if (full == NULL || !may_be_used(g->p, full) || lsn_compare(diff->last_lsn, full->last_lsn) <= 0)
		return;
	n = begin_at(g->p, full);
	n.set = diff;
	n.end = n.start = diff->last_lsn;
	n.fork = forks_index(g->p->forks, diff->fork, g->p->looks);
	n.cost += price_of(g->p, diff);
	n.steps++;
	g->nodes[g->n++] = n;
}

/*
 * After logs, too, a later differential of the same full is taken: it is how a broken log shipping or mirroring copy is
 * caught up. Some tools refuse it (dbatools among them), SQL Server does not. On another path, though, it would lay pages
 * over changes that it knows nothing of.
 */
static void
add_differential_of_now(struct graph *g, const struct plan_set *diff)
{
	const struct planner *p = g->p;
	struct node n = { .set = diff, .end = diff->last_lsn, .start = diff->last_lsn, .fork = forks_index(p->forks, diff->fork, p->looks) };

	if (guid_is_null(p->now->base) || !guid_equal(diff->differential_base, p->now->base))
		return;
	if (is_on_base_alone(p, diff)) {
		n.cost = price_of(p, diff);
		n.steps = 1;
		n.reached = true;
	}
	g->nodes[g->n++] = n;
}

static void
add_nodes(struct graph *g)
{
	const struct planner *p = g->p;

	g->nodes = talloc_array(p->mem, struct node, p->n + 1);
	if (!p->now->absent)
		g->nodes[g->n++] = (struct node){ .end = p->now->redo, .start = p->now->redo, .fork = forks_index(p->forks, p->now->fork, p->looks), .reached = true };
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (!may_be_used(p, s))
			continue;
		if (s->type == BAK_FULL && p->now->absent)
			g->nodes[g->n++] = begin_at(p, s);
		else if (s->type == BAK_DIFFERENTIAL && p->now->absent)
			add_full_with(g, s);
		else if (s->type == BAK_DIFFERENTIAL)
			add_differential_of_now(g, s);
		else if (s->type == BAK_LOG)
			g->nodes[g->n++] = (struct node){ .set = s, .end = s->last_lsn, .fork = forks_index(p->forks, s->fork, p->looks) };
	}
}

static int
by_fork_and_end(const void *a, const void *b, void *looks)
{
	const struct node *x = a, *y = b;

	++*(size_t *)looks;
	return x->fork != y->fork ? (x->fork < y->fork ? -1 : 1) : lsn_compare(x->end, y->end);
}

static int
by_end(const void *a, const void *b, void *looks)
{
	const struct node *const *x = a, *const *y = b;

	++*(size_t *)looks;
	return lsn_compare((*x)->end, (*y)->end);
}

/* Cheaper, then shorter, then with less to roll forward; the id last, so that the order of arrival says nothing. */
static int
compare_price(const struct node *a, const struct node *b)
{
	int newer = lsn_compare(b->start, a->start);

	if (a->cost != b->cost)
		return a->cost < b->cost ? -1 : 1;
	if (a->steps != b->steps)
		return a->steps < b->steps ? -1 : 1;
	if (newer != 0 || a->set == NULL || b->set == NULL)
		return newer;
	return a->set->id < b->set->id ? -1 : a->set->id > b->set->id;
}

static const struct node *
cheaper(const struct graph *g, const struct node *a, const struct node *b)
{
	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	++*g->p->looks;
	return compare_price(a, b) <= 0 ? a : b;
}

static void
put(struct graph *g, const struct node *n)
{
	size_t at = (size_t)(n - g->nodes) + g->n;

	for (g->tree[at] = n; at > 1; at /= 2)
		g->tree[at / 2] = cheaper(g, g->tree[at], g->tree[at ^ 1]);
}

/* The first node of a fork whose end is not below lsn (not at it either, when beyond). */
static size_t
first_at(const struct graph *g, size_t fork, struct lsn lsn, bool beyond)
{
	size_t low = g->begins[fork], high = g->begins[fork + 1];

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = lsn_compare(g->nodes[mid].end, lsn);

		++*g->p->looks;
		if (c < 0 || (beyond && c == 0))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The cheapest reached node of a fork between two LSNs, upper alone excluded (or not, when it may be hit). */
static const struct node *
cheapest(const struct graph *g, size_t fork, struct lsn from, struct lsn upper, bool hit)
{
	const struct node *best = NULL;
	size_t low, high;

	if (fork >= g->p->forks->n)
		return NULL;
	low = first_at(g, fork, from, false) + g->n;
	high = first_at(g, fork, upper, hit) + g->n;
	for (; low < high; low /= 2, high /= 2) {
		if (low & 1)
			best = cheaper(g, best, g->tree[low++]);
		if (high & 1)
			best = cheaper(g, best, g->tree[--high]);
	}
	return best;
}

static struct lsn
greater(struct lsn a, struct lsn b)
{
	return lsn_compare(a, b) >= 0 ? a : b;
}

/* What a set can best be applied to; the rule of plan_is_on_path as two ranges. A differential fits on all that is older. */
static const struct node *
best_before(const struct graph *g, const struct plan_set *s)
{
	size_t first = forks_index(g->p->forks, s->first_fork, g->p->looks), fork = forks_index(g->p->forks, s->fork, g->p->looks);
	bool ends_at_point = !lsn_is_null(s->fork_point) && lsn_compare(s->fork_point, s->last_lsn) < 0;
	struct lsn from = s->type == BAK_LOG ? s->first_lsn : (struct lsn){ 0 };
	const struct node *old;

	if (first == fork)
		return cheapest(g, fork, from, s->last_lsn, false);
	old = cheapest(g, first, from, ends_at_point ? s->fork_point : s->last_lsn, ends_at_point);
	return cheaper(g, old, cheapest(g, fork, greater(from, s->fork_point), s->last_lsn, false));
}

static bool
is_stopped(const struct planner *p, const struct node *n)
{
	return n->set != NULL && n->set->type == BAK_LOG && plan_holds_stop(p, n->set);
}

static void
walk(struct graph *g)
{
	struct node **order = talloc_array(g->p->mem, struct node *, g->n);

	for (size_t i = 0; i < g->n; i++) {
		order[i] = &g->nodes[i];
		if (g->nodes[i].reached)
			put(g, &g->nodes[i]);
	}
	qsort_r(order, g->n, sizeof(*order), by_end, g->p->looks);
	for (size_t i = 0; i < g->n; i++) {
		struct node *n = order[i];

		if (n->reached || (n->from = best_before(g, n->set)) == NULL)
			continue;
		n->cost = n->from->cost + price_of(g->p, n->set);
		n->steps = n->from->steps + 1;
		n->start = n->set->type == BAK_LOG ? n->from->start : n->end;
		n->reached = true;
		if (!is_stopped(g->p, n)) /* nothing goes on from there */
			put(g, n);
	}
	talloc_free(order);
}

/* The goal's last set, or another that ends as it does. */
static bool
is_last(const struct planner *p, const struct plan_set *s)
{
	return p->last != NULL && (s == p->last || (lsn_compare(s->last_lsn, p->last->last_lsn) == 0 && guid_equal(s->fork, p->last->fork)));
}

static bool
is_at_last(const struct planner *p, const struct node *n)
{
	return p->last != NULL && (n->set == p->last || (lsn_compare(n->end, p->last->last_lsn) == 0 && n->fork < p->forks->n &&
	                                                 guid_equal(p->forks->guid[n->fork], p->last->fork)));
}

static bool
is_better(const struct planner *p, const bool *left, const struct node *a, const struct node *b)
{
	int c = lsn_compare(a->end, b->end);

	if (is_at_last(p, a) != is_at_last(p, b))
		return is_at_last(p, a);
	if (is_stopped(p, a) != is_stopped(p, b))
		return is_stopped(p, a);
	if (is_stopped(p, a)) {
		int sooner = bak_date_compare(a->set->finish, b->set->finish);

		return sooner != 0 ? sooner < 0 : compare_price(a, b) < 0;
	}
	if (left[a->fork] != left[b->fork])
		return left[b->fork];
	return c != 0 ? c > 0 : compare_price(a, b) < 0;
}

/* The end of the best way. A fork that its own server left for one that can be reached too is history. */
static const struct node *
choose(const struct graph *g)
{
	const struct planner *p = g->p;
	bool *left = talloc_zero_array(p->mem, bool, p->forks->n + 1);
	const struct node *best = NULL;
	size_t marked = p->forks->n;

	for (size_t i = 0; i < g->n; i++) /* they lie in order of their forks */
		if (g->nodes[i].reached && g->nodes[i].fork != marked) {
			marked = g->nodes[i].fork;
			forks_mark_left(p->forks, marked, left);
		}
	for (size_t i = 0; i < g->n; i++)
		if (g->nodes[i].reached && (best == NULL || is_better(p, left, &g->nodes[i], best)))
			best = &g->nodes[i];
	return best;
}

/* The way that ends where the database is. */
static const struct node *
stay(const struct planner *p)
{
	struct node *n = talloc(p->mem, struct node);

	*n = (struct node){ .end = p->now->redo, .start = p->now->redo, .fork = forks_index(p->forks, p->now->fork, p->looks), .reached = true };
	return n;
}

/* The end of the best way, or NULL when there is none. */
static const struct node *
find_way(const struct planner *p)
{
	struct graph g = { .p = p };

	add_nodes(&g);
	qsort_r(g.nodes, g.n, sizeof(*g.nodes), by_fork_and_end, p->looks);
	g.begins = talloc_zero_array(p->mem, size_t, p->forks->n + 2);
	for (size_t i = 0; i < g.n; i++)
		g.begins[g.nodes[i].fork + 1] = i + 1;
	for (size_t i = 1; i <= p->forks->n; i++)
		if (g.begins[i] < g.begins[i - 1])
			g.begins[i] = g.begins[i - 1];
	g.tree = talloc_zero_array(p->mem, const struct node *, 2 * g.n + 2);
	walk(&g);
	return choose(&g);
}

/* ---- the plan --------------------------------------------------------------------------------------------- */

static int
by_guid(const void *a, const void *b, void *looks)
{
	const struct plan_set *const *x = a, *const *y = b;

	++*(size_t *)looks;
	return memcmp((*x)->backup_set_guid.b, (*y)->backup_set_guid.b, sizeof((*x)->backup_set_guid.b));
}

static void
prepare(struct planner *p)
{
	p->forks = forks_of(p->mem, p->sets, p->n, p->family, p->now->absent ? (struct guid){ { 0 } } : p->now->fork, p->looks);
	p->fulls = talloc_array(p->mem, const struct plan_set *, p->n + 1);
	p->by_bytes = true;
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_set *s = &p->sets[i];

		if (p->goal->last != 0 && s->id == p->goal->last)
			p->last = s;
		if (p->now->last != 0 && s->id == p->now->last)
			p->at = s;
		if (!plan_is_usable(p, s))
			continue;
		p->by_bytes = p->by_bytes && s->bytes != 0;
		if (s->type == BAK_FULL)
			p->fulls[p->n_fulls++] = s;
	}
	qsort_r(p->fulls, p->n_fulls, sizeof(*p->fulls), by_guid, p->looks);
}

static void
add_step(struct plan *plan, const struct plan_set *set, struct bak_date stop_at)
{
	bool may_stop = set->type == BAK_LOG && !set->bulk_logged;

	plan->steps[plan->n_steps++] = (struct plan_step){ set, may_stop ? stop_at : (struct bak_date){ 0 } };
}

/* From its end back to its beginning: logs, then the differential with its full in one. */
static void
add_steps(const struct planner *p, struct plan *plan, const struct node *end)
{
	const struct plan_set **back = talloc_array(p->mem, const struct plan_set *, end->steps + 1);
	size_t n = 0;

	for (const struct node *at = end; at != NULL && at->set != NULL; at = at->from) {
		back[n++] = at->set;
		if (at->set->type == BAK_DIFFERENTIAL && p->now->absent)
			back[n++] = plan_base(p, at->set->differential_base);
	}
	plan->steps = talloc_array(plan, struct plan_step, n + 1);
	while (n > 0)
		add_step(plan, back[--n], p->goal->stop_at);
	plan->ends_at = end->end;
	plan->ends_fork = end->fork < p->forks->n ? p->forks->guid[end->fork] : (struct guid){ { 0 } };
}

struct plan *
plan_make(TALLOC_CTX *parent, const struct plan_set *sets, size_t n, struct guid family,
          const struct plan_now *now, const struct plan_goal *goal)
{
	struct plan *plan = talloc_zero(parent, struct plan);
	struct planner p = { .mem = talloc_new(plan), .sets = sets, .n = n, .family = family, .now = now, .goal = goal, .looks = &plan->looks };
	const struct node *end;
	bool stopped;

	prepare(&p);
	plan->past_stop = plan_is_past_stop(&p);
	stopped = plan_has_stopped(&p);
	end = stopped || plan->past_stop ? stay(&p) : find_way(&p);
	if (end != NULL)
		add_steps(&p, plan, end);
	if (stopped)
		plan->stops_in = p.at->id;
	else if (end != NULL && is_stopped(&p, end))
		plan->stops_in = end->set->id;
	for (size_t i = 0; i < n && end != NULL; i++)
		plan->has_tail = plan->has_tail || (sets[i].type == BAK_LOG && sets[i].tail_norecovery && guid_equal(sets[i].family, family) &&
			lsn_compare(sets[i].last_lsn, plan->ends_at) == 0 && guid_equal(sets[i].fork, plan->ends_fork));
	plan_say(&p, plan, end != NULL, plan->stops_in != 0, stopped ? is_last(&p, p.at) : end != NULL && is_at_last(&p, end));
	talloc_free(p.mem);
	return plan;
}

/* ---- what is asked before there is a plan ------------------------------------------------------------------ */

/* How much a set says about which database is meant: a full that can be restored most of all. */
static int
says_family(const struct plan_set *s)
{
	return s->type != BAK_FULL ? 0 : s->complete && !s->damaged ? 2 : 1;
}

struct guid
plan_choose_family(const struct plan_set *sets, size_t n, const char *database)
{
	const struct plan_set *best = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct plan_set *s = &sets[i];

		if (database != NULL && strcasecmp(s->database, database) != 0)
			continue;
		if (best == NULL || (says_family(s) != says_family(best) ? says_family(s) > says_family(best) : lsn_compare(s->last_lsn, best->last_lsn) > 0))
			best = s;
	}
	return best == NULL ? (struct guid){ { 0 } } : best->family;
}

const struct plan_set *
plan_last_full(const struct plan_set *sets, size_t n, struct guid family)
{
	const struct plan_set *last = NULL;

	for (size_t i = 0; i < n; i++)
		if (sets[i].type == BAK_FULL && guid_equal(sets[i].family, family) && (last == NULL || lsn_compare(sets[i].last_lsn, last->last_lsn) > 0))
			last = &sets[i];
	return last;
}

static bool
is_left_behind(const struct forks *f, const struct plan_set *tail, const struct plan_now *now, size_t *looks)
{
	if (now->absent)
		return false;
	return lsn_compare(now->redo, tail->last_lsn) > 0 ||
	       forks_left(f, forks_index(f, tail->fork, looks), forks_index(f, now->fork, looks));
}

/*
 * The same server ended another fork later on. Without the log that spans the two (it may have stayed at the source) nothing
 * else tells that this one was a rehearsal's, and recovering there would bring old data ONLINE with every gate open.
 */
static bool
is_followed(const struct plan_set *const *tails, size_t n, const struct plan_set *tail)
{
	for (size_t i = 0; i < n; i++)
		if (!guid_equal(tails[i]->fork, tail->fork) && strcmp(tails[i]->server, tail->server) == 0 &&
		    lsn_compare(tails[i]->first_lsn, tail->last_lsn) >= 0)
			return true;
	return false;
}

const struct plan_set *
plan_tail(const struct plan_set *sets, size_t n, struct guid family, const struct plan_now *now)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct plan_set **tails = talloc_array(mem, const struct plan_set *, n + 1), *first = NULL;
	size_t n_tails = 0, looks = 0;
	struct forks *f = forks_of(mem, sets, n, family, now->absent ? (struct guid){ { 0 } } : now->fork, &looks);
	bool *came_back = talloc_zero_array(mem, bool, f->n + 1);

	for (size_t i = 0; i < n; i++) {
		const struct plan_set *s = &sets[i];

		if (s->type != BAK_LOG || !s->tail_norecovery || s->duplicate || s->skipped != NULL || !guid_equal(s->family, family) ||
		    lsn_compare(s->last_lsn, now->void_until) <= 0 || is_left_behind(f, s, now, &looks))
			continue;
		tails[n_tails++] = s;
		forks_mark_left(f, forks_index(f, s->fork, &looks), came_back);
	}
	for (size_t i = 0; i < n_tails; i++)
		if (!came_back[forks_index(f, tails[i]->fork, &looks)] &&
		    (first == NULL || lsn_compare(tails[i]->last_lsn, first->last_lsn) < 0) && !is_followed(tails, n_tails, tails[i]))
			first = tails[i];
	talloc_free(mem);
	return first;
}
