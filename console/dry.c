#include "console/dry.h"

#include <string.h>

#include "common/ask_dry.h"
#include "common/ask_plan.h"
#include "common/statement.h"

/* One dry run while it is made. */
struct dry {
	TALLOC_CTX *mem;
	struct db *db;
	const struct config_cluster *cluster;
	struct dry_run run;
	struct chain *chain;
	struct guid family;
};

static bool
begin(struct dry *d, struct db *db, const char *migration, int64_t run, struct err *err)
{
	*d = (struct dry){ .mem = talloc_new(NULL), .db = db };
	if (!ask_dry(db, d->mem, run, &d->run, err) || (d->chain = ask_chain(db, d->mem, migration, err)) == NULL)
		return false;
	d->family = guid_is_null(d->run.family) ? plan_choose_family(d->chain->sets, d->chain->n, d->run.database) : d->run.family;
	return true;
}

/* As the worker plans (restore/lane.c): replica NULL is a server where nothing is. */
static struct plan *
plan_for(const struct dry *d, const struct dry_replica *replica)
{
	struct plan_now now = { .absent = replica == NULL || lsn_is_null(replica->redo) };
	struct plan_goal goal = { .stop_at = d->run.stop_at, .last = d->run.tail, .follows = true };

	if (!now.absent) {
		now.redo = replica->redo;
		now.fork = replica->fork;
		now.base = d->run.base;
		now.last = replica->last;
		now.last_stop = replica->last_stop;
	}
	return plan_make(d->mem, d->chain->sets, d->chain->n, d->family, &now, &goal);
}

static bool
is_over(const struct dry *d)
{
	/* The primary that is ONLINE takes nothing more, whatever the run is called by now. */
	return strcmp(d->run.state, "online") == 0 || strcmp(d->run.state, "verified") == 0 ||
	       (d->run.n_replicas > 0 && strcmp(d->run.replicas[0].state, "ONLINE") == 0);
}

static json_t *
seconds(double rate, int64_t size)
{
	return rate <= 0 ? json_null() : json_real((double)size / rate);
}

/* Bytes and time of each step, added to what plan_json says of it. */
static bool
add_sizes(const struct dry *d, const struct plan *plan, json_t *steps, struct err *err)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		json_t *step = json_array_get(steps, i);
		struct dry_set set;

		if (!ask_dry_set(d->db, d->mem, plan->steps[i].set->id, &set, err))
			return false;
		json_object_set_new(step, "bytes", json_integer(set.read));
		json_object_set_new(step, "size", json_integer(set.size));
		json_object_set_new(step, "expected_seconds", seconds(d->run.rate, set.size));
	}
	return true;
}

static const struct config_target *
target_named(const struct config_cluster *c, const char *name)
{
	for (unsigned i = 0; c != NULL && i < c->n_targets; i++)
		if (strcmp(c->targets[i].name, name) == 0)
			return &c->targets[i];
	return NULL;
}

/* The files that the database has: those of every set that was restored, then those of each step. */
struct there { int *ids; size_t n; };

static void
put(TALLOC_CTX *mem, struct there *t, const struct dry_set *set)
{
	t->ids = talloc_realloc(mem, t->ids, int, t->n + set->n_files + 1);
	for (size_t i = 0; i < set->n_files; i++) {
		size_t k = 0;

		while (k < t->n && t->ids[k] != set->files[i].file_id)
			k++;
		if (k == t->n)
			t->ids[t->n++] = set->files[i].file_id;
	}
}

static bool
statements(const struct dry *d, const struct dry_replica *r, const struct plan *plan, json_t *list, struct err *err)
{
	const struct config_target *where = target_named(d->cluster, r->name);
	struct statement_place place;
	struct lsn redo = r->redo;
	struct there there = { 0 };
	struct dry_set set;

	if (where == NULL)
		return err_set(err, ERR_OPERATOR, 0, "replica %s of cluster %s is not in the configuration", r->name, d->run.cluster);
	place = (struct statement_place){ d->run.target_database, d->cluster->backup_path.theirs, where->data_path, where->log_path };
	for (size_t i = 0; i < d->run.n_restored; i++) {
		if (!ask_dry_set(d->db, d->mem, d->run.restored[i], &set, err))
			return false;
		put(d->mem, &there, &set);
	}
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_step *step = &plan->steps[i];
		const struct chain_file *stripes = chain_files(d->chain, step->set);
		const char **paths = talloc_array(d->mem, const char *, step->set->n_files + 1);

		for (size_t k = 0; k < step->set->n_files; k++)
			paths[k] = stripes[k].vault_path;
		if (!ask_dry_set(d->db, d->mem, step->set->id, &set, err))
			return false;
		json_array_append_new(list, json_string(statement_restore(d->mem, &place, step, &(struct statement_facts){ .vault_paths = paths,
			.files = set.files, .n_files = set.n_files, .there = there.ids, .n_there = there.n, .redo = redo })));
		put(d->mem, &there, &set);
		redo = step->set->last_lsn;
	}
	return true;
}

/* Every replica's own steps: one that lags has more of them. */
static bool
replicas(const struct dry *d, bool sql, json_t *list, bool *nothing, struct err *err)
{
	for (size_t i = 0; i < d->run.n_replicas; i++) {
		const struct dry_replica *r = &d->run.replicas[i];
		struct plan *plan = r->left_out != NULL ? NULL : plan_for(d, r);
		json_t *texts = sql ? json_array() : json_null();

		json_array_append_new(list, json_pack("{s:s,s:s,s:s?,s:o,s:I,s:I,s:o}", "target", r->name, "state", r->state, "left_out", r->left_out,
			"redo_start_lsn", lsn_is_null(r->redo) ? json_null() : json_string(lsn_text(r->redo).s), "asked_seconds_ago", (json_int_t)r->asked,
			"steps", (json_int_t)(plan == NULL ? 0 : plan->n_steps), "statements", texts));
		*nothing = *nothing && (plan == NULL || plan->n_steps == 0);
		if (sql && plan != NULL && !statements(d, r, plan, texts, err))
			return false;
	}
	return true;
}

/*
 * RECOVERY is a person's word, behind the gates: shown apart from what is restored by itself. Where a log that is stopped in ends is
 * known when the server has restored it.
 */
static json_t *
recovery(const struct dry *d, const struct plan *plan)
{
	const char *statement;

	if (d->run.n_replicas == 0 || d->run.tail == 0 || !plan->complete || (plan->stops_in != 0 && plan->n_steps > 0))
		return json_null();
	statement = statement_recovery(d->mem, d->run.target_database, plan->ends_at);
	return json_pack("{s:s,s:s}", "replica", d->run.replicas[0].name, "statement", statement);
}

static json_t *
restored(const struct dry *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->run.n_restored; i++) {
		const struct plan_set *s = chain_set(d->chain, d->run.restored[i]);

		for (size_t f = 0; s != NULL && f < s->n_files; f++)
			json_array_append_new(list, json_string(s->files[f]));
	}
	return list;
}

/* Nothing is planned for a run that is ONLINE. */
static json_t *
over(void)
{
	return json_pack("{s:b,s:b,s:[],s:[],s:[],s:n,s:n,s:[]}", "complete", true, "nothing_to_do", true, "steps", "unused", "gaps", "awaits", "recovery", "replicas");
}

static void
add_run(const struct dry *d, json_t *o)
{
	json_object_set_new(o, "state", json_string(d->run.state));
	json_object_set_new(o, "hold", d->run.hold == NULL ? json_null() : json_string(d->run.hold));
	json_object_set_new(o, "stop_at", d->run.stop_at.year == 0 ? json_null() : json_string(bak_date_text(d->run.stop_at).s));
	json_object_set_new(o, "stop_asked", d->run.stop_asked == NULL ? json_null() : json_string(d->run.stop_asked));
	json_object_set_new(o, "stop_reason", d->run.stop_reason == NULL ? json_null() : json_string(d->run.stop_reason));
	json_object_set_new(o, "stop_by", d->run.stop_by == NULL ? json_null() : json_string(d->run.stop_by));
	json_object_set_new(o, "restored", restored(d));
	json_object_set_new(o, "rate", d->run.rate <= 0 ? json_null() : json_real(d->run.rate));
}

static json_t *
whole_plan(struct dry *d, const struct config *config, bool sql, struct err *err)
{
	struct plan *todo, *whole;
	json_t *o, *list = json_array();
	bool nothing = true;

	if (is_over(d)) {
		json_decref(list);
		o = over();
		add_run(d, o);
		return o;
	}
	d->cluster = config_cluster(config, d->run.cluster);
	todo = plan_for(d, d->run.n_replicas == 0 ? NULL : &d->run.replicas[0]);
	whole = plan_for(d, NULL);
	o = plan_json(todo, whole, d->run.restored, d->run.n_restored);
	if (!add_sizes(d, todo, json_object_get(o, "steps"), err) || !replicas(d, sql, list, &nothing, err)) {
		json_decref(o);
		json_decref(list);
		return NULL;
	}
	add_run(d, o);
	json_object_set_new(o, "recovery", recovery(d, todo));
	json_object_set_new(o, "replicas", list);
	json_object_set_new(o, "nothing_to_do", json_boolean(nothing && todo->complete && strcmp(d->run.state, "recovering") != 0));
	return o;
}

json_t *
dry_plan(struct db *db, const struct config *config, const char *migration, int64_t run, bool sql, struct err *err)
{
	struct dry d;
	json_t *o = NULL;

	if (begin(&d, db, migration, run, err))
		o = whole_plan(&d, config, sql, err);
	talloc_free(d.mem);
	return o;
}

json_t *
dry_restart(struct db *db, const char *migration, int64_t run, struct err *err)
{
	struct dry d;
	json_t *o = NULL;

	if (begin(&d, db, migration, run, err)) {
		struct plan *plan = plan_for(&d, NULL);
		int64_t read = 0, size = 0;
		struct dry_set set;
		bool good = true;

		for (size_t i = 0; i < plan->n_steps && good; i++) {
			good = ask_dry_set(db, d.mem, plan->steps[i].set->id, &set, err);
			read += good ? set.read : 0;
			size += good ? set.size : 0;
		}
		if (good)
			o = json_pack("{s:I,s:I,s:o,s:s?}", "bytes", (json_int_t)read, "steps", (json_int_t)plan->n_steps, "seconds",
				plan->n_steps == 0 ? json_null() : seconds(d.run.rate, size), "from", plan->n_steps == 0 ? NULL : plan->steps[0].set->files[0]);
	}
	talloc_free(d.mem);
	return o;
}
