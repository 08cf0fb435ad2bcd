#include "common/plan_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * A source that was restored or brought back after a tail goes on along another fork, and what was logged on the old one
 * behind the fork point is history that nobody wants. Which fork came of which only a set that spans two can say. The same
 * happens to a copy restored on a test server, whose family is the same, and there it says nothing about the source: so
 * only a step that one and the same server took makes a fork the younger one.
 */

enum { FORKS_DEEP = 256 }; /* headers may lie in circles */

static int
compare(const void *a, const void *b, void *looks)
{
	++*(size_t *)looks;
	return memcmp(((const struct guid *)a)->b, ((const struct guid *)b)->b, sizeof(struct guid));
}

size_t
forks_index(const struct forks *f, struct guid fork, size_t *looks)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(&f->guid[mid], &fork, looks) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < f->n && guid_equal(f->guid[low], fork) ? low : f->n;
}

/* Each once, in order; the null GUID is no fork. */
static void
collect(struct forks *f, const struct plan_set *sets, size_t n, struct guid family, struct guid extra, size_t *looks)
{
	struct guid seen = extra;
	size_t all = 0;

	f->guid = talloc_array(f, struct guid, 2 * n + 1);
	f->guid[all++] = extra;
	for (size_t i = 0; i < n; i++) {
		if (!guid_equal(sets[i].family, family) || (guid_equal(sets[i].fork, seen) && guid_equal(sets[i].first_fork, seen)))
			continue;
		f->guid[all++] = sets[i].first_fork;
		f->guid[all++] = seen = sets[i].fork;
	}
	qsort_r(f->guid, all, sizeof(*f->guid), compare, looks);
	for (size_t i = 0; i < all; i++)
		if (!guid_is_null(f->guid[i]) && (f->n == 0 || !guid_equal(f->guid[f->n - 1], f->guid[i])))
			f->guid[f->n++] = f->guid[i];
}

static bool
is_same_server(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

static void
find_parents(struct forks *f, const struct plan_set *sets, size_t n, struct guid family, size_t *looks)
{
	const struct plan_set **newest = talloc_zero_array(f, const struct plan_set *, f->n + 1);

	for (size_t i = 0; i < n; i++) { /* who speaks for a fork: its newest set */
		size_t at = forks_index(f, sets[i].fork, looks);

		if (guid_equal(sets[i].family, family) && at < f->n &&
		    (newest[at] == NULL || lsn_compare(sets[i].last_lsn, newest[at]->last_lsn) > 0))
			newest[at] = &sets[i];
	}
	for (size_t i = 0; i < n; i++) {
		const struct plan_set *s = &sets[i];
		size_t from, to;

		if (!guid_equal(s->family, family) || guid_equal(s->first_fork, s->fork))
			continue;
		from = forks_index(f, s->first_fork, looks);
		to = forks_index(f, s->fork, looks);
		if (from >= f->n || to >= f->n || from > f->parent[to])
			continue;
		f->own[to] = (from == f->parent[to] && f->own[to]) || (newest[from] != NULL && is_same_server(newest[from]->server, s->server));
		f->parent[to] = from;
	}
	talloc_free(newest);
}

struct forks *
forks_of(TALLOC_CTX *mem, const struct plan_set *sets, size_t n, struct guid family, struct guid extra, size_t *looks)
{
	struct forks *f = talloc_zero(mem, struct forks);

	collect(f, sets, n, family, extra, looks);
	f->parent = talloc_array(f, size_t, f->n + 1);
	f->own = talloc_zero_array(f, bool, f->n + 1);
	for (size_t i = 0; i < f->n; i++)
		f->parent[i] = f->n;
	find_parents(f, sets, n, family, looks);
	return f;
}

bool
forks_left(const struct forks *f, size_t ancestor, size_t child)
{
	for (unsigned i = 0; i < FORKS_DEEP && child < f->n && child != ancestor; i++, child = f->parent[child])
		if (f->own[child] && f->parent[child] == ancestor)
			return ancestor < f->n;
	return false;
}

void
forks_mark_left(const struct forks *f, size_t fork, bool *left)
{
	for (unsigned i = 0; i < FORKS_DEEP && fork < f->n && f->parent[fork] < f->n; i++, fork = f->parent[fork])
		if (f->own[fork])
			left[f->parent[fork]] = true;
}
