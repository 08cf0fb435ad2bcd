#include "common/settle.h"

#include <string.h>

bool
settle_is_level(const struct settle_replica *r)
{
	return r->joined && !r->suspended && r->sync != NULL &&
	       (strcmp(r->sync, "SYNCHRONIZED") == 0 || (!r->synchronous && strcmp(r->sync, "SYNCHRONIZING") == 0));
}

static bool
is_seeding(const struct settle_replica *r)
{
	return r->seeding != NULL && strcmp(r->seeding, "FAILED") != 0 && strcmp(r->seeding, "CANCELLED") != 0 && strcmp(r->seeding, "COMPLETED") != 0;
}

/* Why this replica is not level, in words that say who has to do something. */
static const char *
joined_why(TALLOC_CTX *mem, const struct settle_replica *r)
{
	if (r->suspended)
		return talloc_asprintf(mem, "%s: data movement is suspended there; ALTER DATABASE … SET HADR RESUME", r->name);
	if (r->lag_seconds >= 0 || r->redo_kb > 0)
		return talloc_asprintf(mem, "%s is %s, %lld s behind, %lld KB to redo", r->name, r->sync == NULL ? "unknown" : r->sync,
		                       (long long)(r->lag_seconds < 0 ? 0 : r->lag_seconds), (long long)(r->redo_kb < 0 ? 0 : r->redo_kb));
	return talloc_asprintf(mem, "%s is %s", r->name, r->sync == NULL ? "joined and says nothing yet" : r->sync);
}

/* What is next on one replica: an act, or why none (NULL and SETTLE_DONE when it is level). */
static enum settle_act
next_on(TALLOC_CTX *mem, const struct settle_facts *f, const struct settle_replica *r, const char **why)
{
	*why = NULL;
	if (r->left_out != NULL || settle_is_level(r))
		return SETTLE_DONE;
	if (r->away != NULL)
		*why = talloc_asprintf(mem, "%s does not answer (%s); it joins when it is back, or leave it out", r->name, r->away);
	else if (!r->in_group)
		*why = talloc_asprintf(mem, "%s is no replica of availability group %s; add it, or leave it out", r->name, f->group);
	else if (r->failed != NULL)
		*why = r->failed;
	else if (r->joined)
		*why = joined_why(mem, r);
	else if (is_seeding(r))
		*why = talloc_asprintf(mem, "%s is being seeded: %s", r->name, r->seeding);
	else if (r->restoring && !r->join_refused)
		return SETTLE_JOIN;
	else if (r->restoring && !r->caught_up)
		return SETTLE_CATCH_UP;
	else if (r->seeding == NULL)
		return SETTLE_SEED;
	else
		*why = talloc_asprintf(mem, "automatic seeding of %s: %s%s%s; %s, then `migration retry`, or leave it out", r->name, r->seeding,
		                       r->seeding_why == NULL ? "" : ", ", r->seeding_why == NULL ? "" : r->seeding_why,
		                       r->exists ? "drop its copy of the database there" : "see its error log");
	return SETTLE_WAIT;
}

static struct settle_next
wait_for(const char *why)
{
	return (struct settle_next){ .act = SETTLE_WAIT, .why = why };
}

/* What stands before anything can be asked of the group; false when nothing does. */
static bool
is_held_up(TALLOC_CTX *mem, const struct settle_facts *f, struct settle_next *next)
{
	const struct settle_replica *first = &f->replicas[0];

	if (f->failed != NULL)
		*next = wait_for(f->failed);
	else if (first->away != NULL)
		*next = wait_for(talloc_asprintf(mem, "%s does not answer: %s", first->name, first->away));
	else if (f->group == NULL)
		return false;
	else if (!f->group_exists)
		*next = wait_for(talloc_asprintf(mem, "%s knows no availability group %s; make it, or mend availability_group in the configuration",
		                                 first->name, f->group));
	else if (!first->is_group_primary)
		*next = wait_for(talloc_asprintf(mem, "%s has the database and %s is the primary of availability group %s; fail the group over to %s",
		                                 first->name, f->group_primary == NULL ? "nobody" : f->group_primary, f->group, first->name));
	else if (!f->backed_up && f->backup_to == NULL)
		*next = wait_for(talloc_asprintf(mem, "availability group %s wants a full backup of the new primary; give backup_to in the configuration",
		                                 f->group));
	else
		return false;
	return true;
}

struct settle_next
settle_decide(TALLOC_CTX *parent, const struct settle_facts *f)
{
	struct settle_next next = { SETTLE_DONE, 0, NULL };
	char *all = NULL;

	if (is_held_up(parent, f, &next))
		return next;
	if (f->backup_to != NULL && !f->backed_up)
		return (struct settle_next){ SETTLE_BACKUP, 0, NULL };
	if (f->group == NULL)
		return next;
	if (!f->added)
		return (struct settle_next){ SETTLE_ADD, 0, NULL };
	for (size_t i = 1; i < f->n; i++) {
		const char *why;
		enum settle_act act = next_on(parent, f, &f->replicas[i], &why);

		if (act != SETTLE_DONE && act != SETTLE_WAIT)
			return (struct settle_next){ act, i, NULL };
		if (why != NULL)
			all = talloc_asprintf(parent, "%s%s%s", all == NULL ? "" : all, all == NULL ? "" : "; ", why);
	}
	return all == NULL ? next : wait_for(all);
}
