#include "common/ask_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/source_time.h"

static struct bak_date
date_of(const char *s)
{
	struct bak_date d = { 0 };
	unsigned y, mo, da, h, mi, se;

	if (sscanf(s, "%u-%u-%uT%u:%u:%u", &y, &mo, &da, &h, &mi, &se) == 6)
		d = (struct bak_date){ (uint16_t)y, (uint8_t)mo, (uint8_t)da, (uint8_t)h, (uint8_t)mi, (uint8_t)se };
	return d;
}

static enum bak_type
type_of(const char *kind)
{
	static const struct { const char *word; enum bak_type type; } types[] = {
		{ "full", BAK_FULL }, { "differential", BAK_DIFFERENTIAL }, { "log", BAK_LOG }, { "file", BAK_FILE },
		{ "file-differential", BAK_FILE_DIFFERENTIAL }, { "partial", BAK_PARTIAL },
		{ "partial-differential", BAK_PARTIAL_DIFFERENTIAL },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].word, kind) == 0)
			return types[i].type;
	return BAK_TYPE_UNKNOWN;
}

/* What files_of_sets gives, and how far it is read: both questions' rows come in the order of the sets. */
struct file_rows { struct rows *r; size_t n, next; };

enum { FILE_SET, FILE_FAMILY, FILE_NAME, FILE_POSITION, FILE_VAULT_PATH, FILE_UPLOAD, FILE_DAMAGED };

/* The rows of one set: of each stripe the first one counts, and a sound one comes first. False: nothing of it is there. */
static bool
set_files(struct chain *c, struct plan_set *s, struct file_rows *rows, int family_count)
{
	struct rows *r = rows->r;
	size_t first, k;
	const char **names;
	struct chain_file *files;
	int last = 0;

	while (rows->next < rows->n && rows_int(r, rows->next, FILE_SET) < s->id)
		rows->next++;
	for (first = rows->next; rows->next < rows->n && rows_int(r, rows->next, FILE_SET) == s->id;)
		rows->next++;
	if (first == rows->next)
		return false;
	c->n_parts += rows->next - first;
	c->files[c->n] = files = talloc_array(c, struct chain_file, rows->next - first);
	s->files = names = talloc_array(c, const char *, rows->next - first);
	for (k = first; k < rows->next; k++) {
		int family = (int)rows_int(r, k, FILE_FAMILY);

		if (family == last)
			continue;
		/* Stripes are numbered from 1: the first that is left out is the one to ask for. */
		if (family != last + 1 && last < family_count && s->missing == NULL)
			s->missing = talloc_asprintf(c, "stripe %d of %d", last + 1, family_count);
		last = family;
		files[s->n_files] = (struct chain_file){ rows_int(r, k, FILE_UPLOAD), talloc_strdup(c, rows_text(r, k, FILE_NAME)),
			talloc_strdup(c, rows_text(r, k, FILE_VAULT_PATH)), family, (int)rows_int(r, k, FILE_POSITION) };
		names[s->n_files] = files[s->n_files].name;
		s->n_files++;
		s->damaged = s->damaged || rows_bool(r, k, FILE_DAMAGED);
	}
	if (last < family_count && s->missing == NULL)
		s->missing = talloc_asprintf(c, "stripe %d of %d", last + 1, family_count);
	s->complete = s->missing == NULL;
	s->position = files[0].position;
	return true;
}

static void
read_set(struct chain *c, struct rows *r, size_t i, struct file_rows *files)
{
	struct plan_set *s = &c->sets[c->n];
	int flags = (int)rows_int(r, i, 13);
	bool password = rows_bool(r, i, 16);

	s->id = rows_int(r, i, 0);
	if (!set_files(c, s, files, (int)rows_int(r, i, 18)))
		return;
	guid_parse(rows_text(r, i, 1), &s->backup_set_guid);
	s->type = type_of(rows_text(r, i, 2));
	guid_parse(rows_text(r, i, 3), &s->family);
	guid_parse(rows_text(r, i, 4), &s->first_fork);
	guid_parse(rows_text(r, i, 5), &s->fork);
	if (!rows_is_null(r, i, 6))
		guid_parse(rows_text(r, i, 6), &s->differential_base);
	lsn_parse(rows_text(r, i, 7), &s->first_lsn);
	lsn_parse(rows_text(r, i, 8), &s->last_lsn);
	s->start = date_of(rows_text(r, i, 9));
	s->finish = date_of(rows_text(r, i, 10));
	s->database = talloc_strdup(c, rows_text(r, i, 11));
	s->server = talloc_strdup(c, rows_text(r, i, 12));
	s->copy_only = rows_bool(r, i, 14);
	s->tail = (flags & (BAK_FLAG_TAIL | BAK_FLAG_TAIL_NORECOVERY)) != 0;
	s->tail_norecovery = (flags & BAK_FLAG_TAIL_NORECOVERY) != 0;
	s->bulk_logged = (flags & BAK_FLAG_BULK_LOGGED) != 0;
	s->simple = strcmp(rows_text(r, i, 17), "SIMPLE") == 0;
	lsn_parse(rows_text(r, i, 19), &s->fork_point);
	s->bytes = (uint64_t)rows_int(r, i, 20);
	s->begins_chain = rows_bool(r, i, 21);
	s->has_zone = !rows_is_null(r, i, 22) && source_zone_is_known((int)rows_int(r, i, 22));
	s->zone = (int8_t)(s->has_zone ? rows_int(r, i, 22) : 0);
	s->damaged = s->damaged || rows_bool(r, i, 15) || (flags & BAK_FLAG_DAMAGED) != 0 || password;
	s->skipped = rows_is_null(r, i, 23) ? NULL : talloc_strdup(c, rows_text(r, i, 23));
	s->damage = password ? "it has a media password" : s->damaged ? "it holds damaged pages" : NULL;
	c->n++;
}

/*
 * Of several copies of a stripe: a sound one, not one that was sent again under its name, the first. In one question with the sets,
 * as JSON, these took five times as long.
 */
static bool
files_of_sets(struct db *db, TALLOC_CTX *mem, const char *migration, struct file_rows *rows, struct err *err)
{
	bool good = DB_ASK(db, mem, &rows->r, err, "select x.backup_set, x.family_number, x.name, x.position, x.vault_path, x.id, x.damaged from"
		" (select f.backup_set, f.family_number, u.name, f.position, u.vault_path, u.id, f.damaged,"
		"   max(u.id) over (partition by f.backup_set, u.name) > u.id as sent_again"
		"  from upload u join media_family f on f.upload = u.id where u.migration = $1 and u.state = 'arrived') x"
		" order by x.backup_set, x.family_number, x.damaged, x.sent_again, x.id", migration);

	rows->n = good ? rows_count(rows->r) : 0;
	return good;
}

struct chain *
ask_chain(struct db *db, TALLOC_CTX *mem, const char *migration, struct err *err)
{
	TALLOC_CTX *all = talloc_new(mem);
	struct chain *c = NULL;
	struct file_rows files = { 0 };
	struct rows *r;

	/* The files first: a set that comes between the two questions has none of them, and is seen on the next visit. */
	if (files_of_sets(db, all, migration, &files, err) && DB_ASK(db, all, &r, err,
		"select s.id, s.backup_set_guid, s.kind, s.family_guid, s.first_recovery_fork, s.recovery_fork, s.differential_base_guid,"
		" s.first_lsn, s.last_lsn, to_char(s.started, 'YYYY-MM-DD\"T\"HH24:MI:SS'), to_char(s.finished, 'YYYY-MM-DD\"T\"HH24:MI:SS'),"
		" s.database_name, s.server_name, s.flags, s.copy_only, s.damaged, s.has_password, s.recovery_model, s.family_count,"
		" s.fork_point_lsn, case when s.compressed_size > 0 then s.compressed_size else s.backup_size end, s.begins_chain, s.time_zone,"
		" k.reason || ' (' || k.skipped_by || ')'"
		" from backup_set s left join skipped k on k.backup_set = s.id where s.migration = $1 order by s.id", migration)) {
		c = talloc_zero(mem, struct chain);
		c->sets = talloc_zero_array(c, struct plan_set, rows_count(r) + 1);
		c->files = talloc_zero_array(c, struct chain_file *, rows_count(r) + 1);
		for (size_t i = 0; i < rows_count(r); i++)
			read_set(c, r, i, &files);
	}
	talloc_free(all);
	return c;
}

bool
ask_family(struct db *db, const char *migration, const struct chain *chain, struct guid *family, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "select family_guid, database_name from migration where id = $1", migration);

	*family = (struct guid){ { 0 } };
	if (good && rows_count(r) == 1 && !rows_is_null(r, 0, 0))
		guid_parse(rows_text(r, 0, 0), family);
	else if (good && rows_count(r) == 1)
		*family = plan_choose_family(chain->sets, chain->n, rows_text(r, 0, 1));
	talloc_free(mem);
	return good;
}

static int
compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int
compare_to_set(const void *id, const void *set)
{
	return compare_ids(id, &((const struct plan_set *)set)->id);
}

const struct plan_set *
chain_set(const struct chain *chain, int64_t id)
{
	return bsearch(&id, chain->sets, chain->n, sizeof(*chain->sets), compare_to_set);
}

const struct chain_file *
chain_files(const struct chain *chain, const struct plan_set *set)
{
	const struct plan_set *found = chain_set(chain, set->id);

	return found == NULL ? NULL : chain->files[found - chain->sets];
}

/* ---- gates ------------------------------------------------------------------------------------------------ */

static bool
gate_replicas(struct db *db, TALLOC_CTX *mem, const char *run, struct gate_facts *facts, struct err *err)
{
	struct gate_replica *list;
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select replica, state, left_out, redo_start_lsn,"
		" coalesce(extract(epoch from now() - asked_at)::bigint, 0),"
		/* As plan_has_stopped has it. */
		" coalesce((select b.kind = 'log' and b.finished >= r.stop_at and (x.last_stop = r.stop_at or (x.last_stop is null and b.flags & 1 <> 0"
		"   and b.finished = r.stop_at)) from run r, backup_set b where r.id = x.run and b.id = x.last_set), false)"
		" from run_replica x where run = $1 order by ordinal", run))
		return false;
	list = talloc_zero_array(mem, struct gate_replica, rows_count(r) + 1);
	for (size_t i = 0; i < rows_count(r); i++) {
		list[i] = (struct gate_replica){ rows_text(r, i, 0), rows_text(r, i, 1), rows_text_or_null(r, i, 2), { 0 }, rows_int(r, i, 4), rows_bool(r, i, 5) };
		lsn_parse(rows_text(r, i, 3), &list[i].redo);
	}
	facts->replicas = list;
	facts->n_replicas = rows_count(r);
	return true;
}

bool
ask_gate_facts(struct db *db, TALLOC_CTX *mem, int64_t run, struct gate_facts *facts, struct err *err)
{
	const char *id = db_int(mem, run);
	struct rows *r;

	*facts = (struct gate_facts){ 0 };
	if (!DB_ASK(db, mem, &r, err,
		"select r.plan is not null, coalesce((r.plan->>'complete')::boolean, false), r.plan->'gaps'->0->>'text', r.cutover_at is not null,"
		" (select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = r.tail_set),"
		" t.last_lsn, coalesce(t.flags & 256, 0) <> 0,"
		" exists (select 1 from media_family f join upload u on u.id = f.upload where f.backup_set = r.tail_set and u.waived_tail),"
		" (select count(*) from upload u where u.migration = r.migration and u.open_writer),"
		" (select count(*) from step s where s.run = r.id and s.state = 'running'),"
		/* A partial continues the chain when its provisional header says: our family, a log, and not before the tail's end. */
		" (select min(u.name) from upload u, migration m where m.id = r.migration and u.migration = r.migration and u.state = 'partial'"
		"   and u.inspect->'sets'->0->>'FamilyGUID' = m.family_guid::text and u.inspect->'sets'->0->>'BackupType' = '2'"
		"   and (u.inspect->'sets'->0->>'FirstLSN')::numeric >= coalesce(t.last_lsn, 0)"
		/* Behind a point to stop at nothing is a part of it. */
		"   and not coalesce(t.finished >= r.stop_at, false))"
		" , r.recovered_at is not null, r.kind = 'uat', r.plan->>'awaits', to_char(r.stop_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), r.stop_reason, r.stop_by,"
		" coalesce(t.finished >= r.stop_at, false), coalesce(r.stop_lsn, (select x.redo_start_lsn from run_replica x where x.run = r.id"
		"  order by x.ordinal limit 1)) from run r left join backup_set t on t.id = r.tail_set where r.id = $1", id))
		return false;
	if (rows_count(r) == 0)
		return err_set(err, ERR_REFUSED, 0, "there is no such run");
	facts->plan_known = rows_bool(r, 0, 0);
	facts->plan_complete = rows_bool(r, 0, 1);
	facts->gap = rows_text_or_null(r, 0, 2);
	facts->cutover = rows_bool(r, 0, 3);
	facts->tail = rows_text_or_null(r, 0, 4);
	lsn_parse(rows_text(r, 0, 5), &facts->tail_end);
	facts->tail_norecovery = rows_bool(r, 0, 6);
	facts->tail_waived = rows_bool(r, 0, 7);
	facts->open_writers = (int)rows_int(r, 0, 8);
	facts->running_steps = (int)rows_int(r, 0, 9);
	facts->continuing = rows_text_or_null(r, 0, 10);
	facts->recovered = rows_bool(r, 0, 11);
	facts->rehearsal = rows_bool(r, 0, 12);
	facts->awaits = rows_text_or_null(r, 0, 13);
	facts->stop_at = rows_text_or_null(r, 0, 14);
	facts->stop_reason = rows_text_or_null(r, 0, 15);
	facts->stop_by = rows_text_or_null(r, 0, 16);
	facts->stops = rows_bool(r, 0, 17);
	if (!gate_replicas(db, mem, id, facts, err))
		return false;
	/* Where the primary stands counts when it stands at the point. */
	if (facts->recovered || (facts->n_replicas > 0 && facts->replicas[0].stopped))
		lsn_parse(rows_text_or_null(r, 0, 18), &facts->stop_lsn);
	return true;
}

bool
gates_of_run(struct db *db, TALLOC_CTX *mem, int64_t run, struct gate gates[GATE_N], struct err *err)
{
	struct gate_facts facts;

	if (!ask_gate_facts(db, mem, run, &facts, err))
		return false;
	gates_decide(mem, &facts, gates);
	return true;
}

/* ---- the plan as JSON ---------------------------------------------------------------------------------------- */

static json_t *
file_names(const struct plan_set *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_files; i++)
		json_array_append_new(a, json_string(s->files[i]));
	return a;
}

static json_t *
lsn_or_null(struct lsn l)
{
	return lsn_is_null(l) ? json_null() : json_string(lsn_text(l).s);
}

static json_t *
date_or_null(struct bak_date d)
{
	return d.year == 0 ? json_null() : json_string(bak_date_text(d).s);
}

json_t *
plan_json(const struct plan *todo, const struct plan *whole, const int64_t *restored, size_t n_restored)
{
	json_t *o = json_object(), *steps = json_array(), *unused = json_array(), *gaps = json_array(), *notes = json_array();
	int64_t *sorted = talloc_array(NULL, int64_t, n_restored + 1);

	for (size_t i = 0; i < n_restored; i++)
		sorted[i] = restored[i];
	qsort(sorted, n_restored, sizeof(*sorted), compare_ids);
	for (size_t i = 0; i < todo->n_notes; i++)
		json_array_append_new(notes, json_string(todo->notes[i]));
	for (size_t i = 0; i < todo->n_steps; i++) {
		const struct plan_set *s = todo->steps[i].set;

		json_array_append_new(steps, json_pack("{s:I,s:o,s:s,s:o,s:o,s:o}", "set", (json_int_t)s->id, "files", file_names(s), "type",
			bak_type_word(s->type), "first_lsn", lsn_or_null(s->first_lsn), "last_lsn", lsn_or_null(s->last_lsn), "stop_at",
			date_or_null(todo->steps[i].stop_at)));
	}
	for (size_t i = 0; i < whole->n_unused; i++) {
		const struct plan_unused *u = &whole->unused[i];

		if (bsearch(&u->set->id, sorted, n_restored, sizeof(*sorted), compare_ids) == NULL)
			json_array_append_new(unused, json_pack("{s:o,s:s,s:s}", "files", file_names(u->set), "reason", plan_reason_word(u->reason),
				"text", u->text == NULL ? "" : u->text));
	}
	for (size_t i = 0; i < todo->n_gaps; i++) {
		const struct plan_gap *g = &todo->gaps[i];

		json_array_append_new(gaps, json_pack("{s:o,s:o,s:o,s:o,s:s}", "needed_lsn", lsn_or_null(g->needed), "next_lsn", lsn_or_null(g->next),
			"after", date_or_null(g->after), "before", date_or_null(g->before), "text", g->text == NULL ? "" : g->text));
	}
	talloc_free(sorted);
	json_object_set_new(o, "steps", steps);
	json_object_set_new(o, "unused", unused);
	json_object_set_new(o, "gaps", gaps);
	json_object_set_new(o, "notes", notes);
	json_object_set_new(o, "complete", json_boolean(todo->complete));
	json_object_set_new(o, "awaits", todo->awaits == NULL ? json_null() : json_string(todo->awaits));
	json_object_set_new(o, "ends_at", lsn_or_null(todo->ends_at));
	json_object_set_new(o, "has_tail", json_boolean(todo->has_tail));
	return o;
}
