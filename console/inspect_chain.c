#include "console/inspect_chain.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "common/group.h"
#include "common/plan.h"
#include "common/source_time.h"
#include "common/text.h"


static json_t *
files_json(const struct plan_set *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_files; i++)
		json_array_append_new(a, json_string(s->files[i]));
	return a;
}

static json_t *
date_json(struct bak_date d)
{
	return d.year == 0 ? json_null() : json_string(bak_date_text(d).s);
}

static json_t *
unused_json(json_t *files, int position, const char *reason, const char *text)
{
	json_t *o = json_object();

	json_object_set_new(o, "files", files);
	json_object_set_new(o, "position", position == 0 ? json_null() : json_integer(position));
	json_object_set_new(o, "reason", json_string(reason));
	json_object_set_new(o, "text", json_string(text));
	return o;
}

static json_t *
chain_json(const char *database, struct guid family, const struct plan *plan)
{
	json_t *o = json_object(), *restore = json_array(), *unused = json_array(), *gaps = json_array(), *notes = json_array();

	for (size_t i = 0; i < plan->n_notes; i++)
		json_array_append_new(notes, json_string(plan->notes[i]));
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_set *s = plan->steps[i].set;
		json_t *step = json_object();

		json_object_set_new(step, "files", files_json(s));
		json_object_set_new(step, "position", json_integer(s->position));
		json_object_set_new(step, "type", json_string(bak_type_word(s->type)));
		json_object_set_new(step, "first_lsn", json_string(lsn_text(s->first_lsn).s));
		json_object_set_new(step, "last_lsn", json_string(lsn_text(s->last_lsn).s));
		json_object_set_new(step, "stop_at", date_json(plan->steps[i].stop_at));
		json_array_append_new(restore, step);
	}
	for (size_t i = 0; i < plan->n_unused; i++)
		json_array_append_new(unused, unused_json(files_json(plan->unused[i].set), plan->unused[i].set->position,
			plan_reason_word(plan->unused[i].reason), plan->unused[i].text));
	for (size_t i = 0; i < plan->n_gaps; i++) {
		const struct plan_gap *g = &plan->gaps[i];
		json_t *gap = json_object();

		json_object_set_new(gap, "needed_lsn", json_string(lsn_text(g->needed).s));
		json_object_set_new(gap, "next_lsn", lsn_is_null(g->next) ? json_null() : json_string(lsn_text(g->next).s));
		json_object_set_new(gap, "after", date_json(g->after));
		json_object_set_new(gap, "before", date_json(g->before));
		json_object_set_new(gap, "text", json_string(g->text));
		json_array_append_new(gaps, gap);
	}
	json_object_set_new(o, "database", json_string(database));
	json_object_set_new(o, "family", json_string(guid_text(family).s));
	json_object_set_new(o, "restore", restore);
	json_object_set_new(o, "unused", unused);
	json_object_set_new(o, "gaps", gaps);
	json_object_set_new(o, "notes", notes);
	return o;
}

static void
print_chain(TALLOC_CTX *mem, const char *database, const struct plan *plan)
{
	printf("[%s]\n", text_shown(mem, database));
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_set *s = plan->steps[i].set;

		printf("  %2zu. %-12s %s", i + 1, bak_type_word(s->type), s->n_files > 0 ? text_shown(mem, s->files[0]) : "");
		for (size_t f = 1; f < s->n_files; f++)
			printf(" + %s", text_shown(mem, s->files[f]));
		printf("  LSN %s to %s%s%s\n", lsn_text(s->first_lsn).s, lsn_text(s->last_lsn).s,
		       plan->steps[i].stop_at.year ? ", stop at " : "",
		       plan->steps[i].stop_at.year ? bak_date_text(plan->steps[i].stop_at).s : "");
	}
	for (size_t i = 0; i < plan->n_gaps; i++)
		printf("  gap: %s\n", text_shown(mem, plan->gaps[i].text));
	for (size_t i = 0; i < plan->n_notes; i++)
		printf("  note: %s\n", text_shown(mem, plan->notes[i]));
	for (size_t i = 0; i < plan->n_unused; i++)
		printf("  not used: %s: %s: %s\n", plan->unused[i].set->n_files > 0 ? text_shown(mem, plan->unused[i].set->files[0]) : "?",
		       plan_reason_word(plan->unused[i].reason), text_shown(mem, plan->unused[i].text));
}

/*
 * Sets of one database name form one plan per family that has a full; a family without one joins the
 * first plan of its name, where its sets are explained as belonging elsewhere, or stands alone when that
 * name has no full at all.
 */
struct chains {
	TALLOC_CTX *mem;
	bool json;
	const struct plan_set *sets;
	size_t n;
	struct source_point stop;
	json_t *list;
	bool complete;
	bool *taken;
};

static bool
has_full(const struct chains *c, const char *database, struct guid family)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->sets[i].type == BAK_FULL && strcasecmp(c->sets[i].database, database) == 0 &&
		    guid_equal(c->sets[i].family, family))
			return true;
	return false;
}

static void
plan_one(struct chains *c, const char *database, struct guid family, bool with_strays)
{
	struct plan_set *mine = talloc_array(c->mem, struct plan_set, c->n);
	const struct plan_now now = { .absent = true };
	struct plan_goal goal = { 0 };
	struct err err = { 0 };
	struct plan *plan;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct plan_set *s = &c->sets[i];
		bool is_mine = guid_equal(s->family, family) ||
		               (with_strays && !has_full(c, s->database, s->family));

		if (c->taken[i] || strcasecmp(s->database, database) != 0 || !is_mine)
			continue;
		c->taken[i] = true;
		mine[n++] = *s;
	}
	source_point_local(&c->stop, c->sets, c->n, family, &goal.stop_at, &err); /* tried for all of them before */
	plan = plan_make(c->mem, mine, n, family, &now, &goal);
	c->complete = c->complete && plan->complete;
	if (c->json)
		json_array_append_new(c->list, chain_json(database, family, plan));
	else
		print_chain(c->mem, database, plan);
}

static void
plan_all(struct chains *c)
{
	for (size_t i = 0; i < c->n; i++) { /* families that can be restored first */
		bool first = true;

		if (c->taken[i] || !has_full(c, c->sets[i].database, c->sets[i].family))
			continue;
		for (size_t k = 0; k < i; k++)
			first = first && !(strcasecmp(c->sets[k].database, c->sets[i].database) == 0 && c->taken[k]);
		plan_one(c, c->sets[i].database, c->sets[i].family, first);
	}
	for (size_t i = 0; i < c->n; i++)
		if (!c->taken[i])
			plan_one(c, c->sets[i].database, c->sets[i].family, false);
}

/* A file that cannot be read belongs to no database that we know: it is shown with the first. */
static void
add_orphans(struct chains *c, json_t *orphans)
{
	json_t *first = json_array_get(c->list, 0);

	if (json_array_size(orphans) > 0 && first == NULL) {
		first = json_pack("{s:n, s:n, s:[], s:[], s:[]}", "database", "family", "restore", "unused", "gaps");
		json_array_append_new(c->list, first);
	}
	json_array_extend(json_object_get(first, "unused"), orphans);
	json_decref(orphans);
}

int
inspect_chain(const struct cli *cli, const struct inspected *in, size_t n, const char *stop_at)
{
	TALLOC_CTX *mem = cli->mem;
	bool json = cli->json;
	struct group_file *files = talloc_array(mem, struct group_file, n);
	struct chains c = { .mem = mem, .json = json, .list = json_array(), .complete = true };
	json_t *out, *orphans = json_array();
	struct err err = { 0 };
	bool missing = false;
	size_t n_files = 0;

	if (!source_point_parse(stop_at, &c.stop, &err))
		return cli_fail(cli, CLI_USAGE, "--stop-at: %s", err.text);
	for (size_t i = 0; i < n; i++) {
		const char *why = in[i].bak == NULL ? in[i].trouble : bak_why(in[i].bak);

		missing = missing || in[i].bak == NULL;
		if (in[i].bak != NULL && bak_n_sets(in[i].bak) > 0) {
			files[n_files++] = (struct group_file){ in[i].name, in[i].bak };
			continue;
		}
		c.complete = false;
		json_array_append_new(orphans, unused_json(json_pack("[s]", in[i].name), 0, "damaged", why));
		if (!json)
			printf("not used: %s: damaged: %s\n", text_shown(mem, in[i].name), text_shown(mem, why));
	}
	c.sets = group_sets(mem, files, n_files, &c.n);
	for (size_t i = 0; i < c.n; i++) {
		struct bak_date local;

		if ((i == 0 || !guid_equal(c.sets[i].family, c.sets[i - 1].family)) &&
		    !source_point_local(&c.stop, c.sets, c.n, c.sets[i].family, &local, &err))
			return cli_fail(cli, CLI_USAGE, "--stop-at: %s ([%s])", err.text, c.sets[i].database);
	}
	c.taken = talloc_zero_array(mem, bool, c.n);
	plan_all(&c);
	add_orphans(&c, orphans);
	out = json_pack("{s:o}", "databases", c.list);
	if (json) {
		json_dumpf(out, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
	}
	json_decref(out);
	return missing ? CLI_NOT_FOUND : c.complete ? CLI_FINE : CLI_NOT_READY;
}
