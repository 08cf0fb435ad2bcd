#include "common/ask_eta.h"

#include <stdlib.h>
#include <string.h>

#include "common/eta.h"

struct measured { struct eta_sample *list; size_t n; };

/* The newest measurements of this cluster, this migration's own first. What was tried more than once says nothing of one try. */
static bool
ask_samples(struct db *db, TALLOC_CTX *mem, const char *run, struct measured *m, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err,
		"with me as (select m.cluster, m.id from run r join migration m on m.id = r.migration where r.id = $1)"
		" select k.kind, coalesce(case when b.compressed_size > 0 then b.compressed_size else b.backup_size end, 0),"
		"  extract(epoch from k.finished_at - k.started_at), k.migration = me.id from me, lateral"
		"  (select s.kind, s.backup_set, s.finished_at, s.started_at, o.migration, row_number() over (partition by s.kind"
		"    order by o.migration = me.id desc, s.id desc) n from step s join run o on o.id = s.run join migration om on om.id = o.migration"
		"   where om.cluster = me.cluster and s.state = 'done' and s.attempts = 1 and s.finished_at is not null"
		"    and s.started_at > now() - interval '90 days') k left join backup_set b on b.id = k.backup_set where k.n <= 60", run))
		return false;
	m->n = rows_count(r);
	m->list = talloc_zero_array(mem, struct eta_sample, m->n + 1);
	for (size_t i = 0; i < m->n; i++)
		m->list[i] = (struct eta_sample){ rows_text(r, i, 0), rows_int(r, i, 1), atof(rows_text(r, i, 2)), rows_bool(r, i, 3) };
	return true;
}

static json_t *
seconds(struct eta_range e, double value)
{
	return e.samples == 0 ? json_null() : json_real(value);
}

/* ---- what runs ---------------------------------------------------------------------------------------------------- */

static json_t *
running(const struct rows *r, size_t i, const struct measured *m)
{
	const char *kind = rows_text(r, i, 1);
	int percent = rows_is_null(r, i, 3) ? -1 : (int)rows_int(r, i, 3);
	int64_t bytes = rows_int(r, i, 4), done = percent < 0 ? 0 : bytes / 100 * percent;
	double elapsed = atof(rows_text(r, i, 5));
	struct eta_range left = eta_left(eta_of(m->list, m->n, kind, bytes), percent, elapsed);

	return json_pack("{s:s,s:s,s:s?,s:s,s:o,s:I,s:I,s:o,s:f,s:o,s:o,s:o,s:s?}", "replica", rows_text(r, i, 0), "kind", kind, "file",
		rows_text_or_null(r, i, 2), "phase", eta_phase(kind, percent), "percent", percent < 0 ? json_null() : json_integer(percent), "bytes",
		(json_int_t)bytes, "bytes_done", (json_int_t)done, "rate", done == 0 || elapsed <= 0 ? json_null() : json_integer((json_int_t)((double)done / elapsed)),
		"seconds", elapsed, "left_low", seconds(left, left.low), "left_high", seconds(left, left.high), "session",
		rows_is_null(r, i, 6) ? json_null() : json_integer(rows_int(r, i, 6)), "wait", rows_text_or_null(r, i, 7));
}

static bool
add_running(struct db *db, TALLOC_CTX *mem, const char *run, const struct measured *m, json_t *o, struct err *err)
{
	json_t *list = json_array();
	struct rows *r = NULL;

	json_object_set_new(o, "running", list);
	if (!DB_ASK(db, mem, &r, err,
		"select s.replica, s.kind, (select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = s.backup_set),"
		" s.percent, coalesce(case when b.compressed_size > 0 then b.compressed_size else b.backup_size end, 0),"
		" extract(epoch from now() - s.started_at), s.session, s.wait_type from step s left join backup_set b on b.id = s.backup_set"
		" where s.run = $1 and s.state = 'running' order by s.id", run))
		return false;
	for (size_t i = 0; i < rows_count(r); i++)
		json_array_append_new(list, running(r, i, m));
	return true;
}

/* ---- what a cutover would cost now ---------------------------------------------------------------------------------- */

struct forecast { json_t *parts; struct eta_range all; const char *unknown; };

static void
add_part(struct forecast *f, const char *what, struct eta_range e)
{
	json_array_append_new(f->parts, json_pack("{s:s,s:o,s:o}", "what", what, "low", seconds(e, e.low), "high", seconds(e, e.high)));
	if (e.samples == 0 && f->unknown == NULL)
		f->unknown = what;
	f->all = json_array_size(f->parts) == 1 ? e : eta_then(f->all, e);
}

/* Backups that are here and not restored yet, by kind: the slowest replica counts, which walks the same way as the others. */
static struct eta_range
waiting(const struct rows *r, const struct measured *m)
{
	struct eta_range all = { 0, 0, 1 };

	for (size_t i = 0; i < rows_count(r); i++)
		all = eta_then(all, eta_of(m->list, m->n, rows_text(r, i, 0), rows_int(r, i, 1)));
	return all;
}

/* What the customer's last uploads ran at, and how big their logs are: the tail is taken for another such log. */
static bool
ask_tail(struct db *db, TALLOC_CTX *mem, const char *run, int64_t *bytes, struct eta_range *upload, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err,
		"with u as (select u.bytes, greatest(extract(epoch from u.arrived_at - u.started_at), 0.05) s from upload u join run r on r.migration = u.migration"
		"  where r.id = $1 and u.state = 'arrived' and u.kind = 'backup' order by u.id desc limit 20),"
		" l as (select case when b.compressed_size > 0 then b.compressed_size else b.backup_size end bytes from backup_set b join run r"
		"  on r.migration = b.migration where r.id = $1 and b.kind = 'log' order by b.last_lsn desc limit 10)"
		" select (select percentile_disc(0.5) within group (order by bytes) from l), (select percentile_disc(0.5) within group (order by s / greatest(bytes, 1)) from u),"
		" (select percentile_disc(0.9) within group (order by s / greatest(bytes, 1)) from u), (select count(*) from u)", run))
		return false;
	*bytes = rows_int(r, 0, 0);
	*upload = (struct eta_range){ atof(rows_text(r, 0, 1)) * (double)*bytes, atof(rows_text(r, 0, 2)) * (double)*bytes,
		rows_is_null(r, 0, 0) ? 0 : (size_t)rows_int(r, 0, 3) };
	return true;
}

static bool
add_forecast(struct db *db, TALLOC_CTX *mem, const char *run, const struct measured *m, json_t *o, struct err *err)
{
	struct forecast f = { .parts = json_array() };
	struct rows *r = NULL, *todo = NULL;
	struct eta_range upload;
	int64_t tail;
	char *text;

	json_object_set_new(o, "forecast", json_null());
	if (!DB_ASK(db, mem, &r, err, "select recovered_at is null, tail_set is not null or (stop_at is not null"
		"  and coalesce((plan->>'complete')::boolean, false)) from run where id = $1", run) || rows_count(r) == 0 ||
	    !rows_bool(r, 0, 0) ||
	    !DB_ASK(db, mem, &todo, err, "select b.kind, case when b.compressed_size > 0 then b.compressed_size else b.backup_size end from run r,"
		" jsonb_array_elements(coalesce(r.plan->'steps', '[]'::jsonb)) p join backup_set b on b.id = (p->>'set')::bigint where r.id = $1", run) ||
	    !ask_tail(db, mem, run, &tail, &upload, err)) {
		json_decref(f.parts);
		return err->kind == ERR_NONE;
	}
	if (rows_count(todo) > 0)
		add_part(&f, "restoring what is here", waiting(todo, m));
	if (!rows_bool(r, 0, 1)) {
		add_part(&f, "upload of the tail", upload);
		add_part(&f, "restoring the tail", eta_of(m->list, m->n, "log", tail));
	}
	add_part(&f, "recovery", eta_of(m->list, m->n, "recovery", 0));
	add_part(&f, "users and settings", eta_of(m->list, m->n, "users", 0));
	text = f.unknown == NULL ? talloc_asprintf(mem, "%.1f to %.1f s, from what was measured on this cluster", f.all.low, f.all.high)
	                         : talloc_asprintf(mem, "not known yet: nothing was measured for: %s", f.unknown);
	json_object_set_new(o, "forecast", json_pack("{s:o,s:o,s:s,s:o}", "low", seconds(f.all, f.all.low), "high", seconds(f.all, f.all.high), "text", text,
		"parts", f.parts));
	return true;
}

bool
ask_eta(struct db *db, json_t *run, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *id = db_int(mem, json_integer_value(json_object_get(run, "id")));
	struct measured m;
	bool good = ask_samples(db, mem, id, &m, err) && add_running(db, mem, id, &m, run, err) && add_forecast(db, mem, id, &m, run, err);

	talloc_free(mem);
	return good;
}
