#include "common/gates.h"

#include <string.h>

static const char *
chain_why(const struct gate_facts *f)
{
	if (!f->plan_known)
		return "nothing has been planned yet";
	if (f->gap != NULL)
		return f->gap;
	if (f->awaits != NULL)
		return f->awaits;
	if (!f->plan_complete)
		return "the chain does not reach the tail yet";
	return NULL;
}

static const char *
frozen_why(TALLOC_CTX *mem, const struct gate_facts *f)
{
	if (!f->cutover)
		return "the source has not been said to be off (migration cutover)";
	if (f->tail == NULL && f->stop_at != NULL)
		return talloc_asprintf(mem, "waiting for the log backup that contains %s, where the run is to end", f->stop_at);
	if (f->tail == NULL)
		return "waiting for the tail: a log backup taken WITH NORECOVERY, or a backup accepted as tail";
	if (f->stop_at != NULL && f->stops)
		return NULL;
	if (!f->tail_norecovery && !f->tail_waived)
		return talloc_asprintf(mem, "%s was not taken WITH NORECOVERY, so the source may have gone on; take the tail again, or accept "
		                       "the file (file accept-as-tail)", f->tail);
	return NULL;
}

static const char *
quiet_why(TALLOC_CTX *mem, const struct gate_facts *f)
{
	if (f->running_steps > 0)
		return "a restore is running";
	if (f->open_writers > 0)
		return talloc_asprintf(mem, "%d upload%s still open", f->open_writers, f->open_writers == 1 ? " is" : "s are");
	if (f->continuing != NULL)
		return talloc_asprintf(mem, "%s has arrived in part and continues this chain", f->continuing);
	return NULL;
}

/*
 * A person who ends the run at a point in time says with it that what the source did later is left behind: the proof that nothing
 * came later is not asked for, and his word stands in its place.
 */
static const char *
waiver(TALLOC_CTX *mem, const struct gate_facts *f)
{
	if (f->stop_at == NULL || !f->stops)
		return NULL;
	return talloc_asprintf(mem, "the run ends at %s, and what came after it is left behind, by the word of %s: %s", f->stop_at,
	                       f->stop_by == NULL ? "?" : f->stop_by, f->stop_reason == NULL ? "no reason given" : f->stop_reason);
}

static bool
is_at_tail(const struct gate_facts *f, const struct gate_replica *r)
{
	if (strcmp(r->state, "RESTORING") != 0)
		return false;
	if (f->stops)
		return r->stopped && !lsn_is_null(r->redo) && lsn_compare(r->redo, f->stop_lsn) == 0;
	return lsn_compare(r->redo, f->tail_end) == 0;
}

static const char *
end_text(TALLOC_CTX *mem, const struct gate_facts *f)
{
	if (!f->stops)
		return talloc_asprintf(mem, "the tail ends at %s", lsn_text(f->tail_end).s);
	if (lsn_is_null(f->stop_lsn))
		return talloc_asprintf(mem, "the run ends at %s, in %s", f->stop_at, f->tail);
	return talloc_asprintf(mem, "the run ends at %s, where the primary is at %s", f->stop_at, lsn_text(f->stop_lsn).s);
}

static const char *
replicas_why(TALLOC_CTX *mem, const struct gate_facts *f)
{
	char *why = NULL;

	if (f->tail == NULL)
		return f->stop_at != NULL ? "the log that they are to stop in is not here yet" : "there is no tail for them to reach yet";
	for (size_t i = 0; i < f->n_replicas; i++) {
		const struct gate_replica *r = &f->replicas[i];

		bool is_known = f->recovered || r->asked <= GATE_ASKED;

		if (r->left_out != NULL || (f->recovered && i == 0) || (is_at_tail(f, r) && is_known))
			continue;
		why = talloc_asprintf(mem, "%s%s%s %s %s at %s", why == NULL ? "" : why, why == NULL ? "" : "; ", r->name,
		                      is_known ? "is" : talloc_asprintf(mem, "was last asked %lld s ago, when it was", (long long)r->asked), r->state,
		                      lsn_text(r->redo).s);
	}
	return why == NULL ? NULL : talloc_asprintf(mem, "%s; %s", why, end_text(mem, f));
}

void
gates_decide(TALLOC_CTX *parent, const struct gate_facts *f, struct gate gates[GATE_N])
{
	gates[GATE_CHAIN] = (struct gate){ "chain-complete", false, chain_why(f) };
	gates[GATE_FROZEN] = (struct gate){ "source-frozen", false, frozen_why(parent, f) };
	gates[GATE_QUIET] = (struct gate){ "nothing-in-flight", false, quiet_why(parent, f) };
	gates[GATE_REPLICAS] = (struct gate){ "replicas-at-tail", false, replicas_why(parent, f) };
	for (int i = 0; i < GATE_N; i++) {
		if (f->rehearsal && i != GATE_CHAIN)
			gates[i].why = NULL;
		gates[i].open = gates[i].why == NULL;
	}
	if (gates[GATE_FROZEN].open && !f->rehearsal)
		gates[GATE_FROZEN].why = waiver(parent, f);
}
