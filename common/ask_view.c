#include "common/ask_view.h"

#include <string.h>

#include "common/ask_eta.h"
#include "common/ask_plan.h"

/* One value that Postgres builds as JSON. */
static json_t *
ask_json_of(struct db *db, struct err *err, const char *sql, size_t n, const char *const *params)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	json_t *o = NULL;
	json_error_t why;

	if (db_ask(db, mem, &r, err, sql, n, params)) {
		o = rows_count(r) == 0 || rows_is_null(r, 0, 0) ? json_null() : json_loads(rows_text(r, 0, 0), JSON_DECODE_ANY, &why);
		if (o == NULL)
			err_set(err, ERR_BUG, 0, "a view is no JSON: %s", why.text);
	}
	talloc_free(mem);
	return o;
}

static json_t *
ask_json(struct db *db, struct err *err, const char *sql, const char *a, const char *b)
{
	return ask_json_of(db, err, sql, b != NULL ? 2 : a != NULL ? 1 : 0, (const char *const[]){ a, b });
}

#define STAGE "case when p.state = 'waiting' and exists (select 1 from upload u where u.migration = m.id and u.state <> 'gone')" \
	" then 'receiving' else p.state end"

/* A person's word, as it is given. */
#define PRIORITY(run) "case " run ".priority when 1 then 'high' when 0 then 'normal' else 'low' end"

/* What the guide's intake asks and nobody has answered yet. */
#define MISSING "(select coalesce(json_agg(k order by o), '[]') from unnest(array['size', 'agent_url', 'portal_url', 'contact_name'," \
	" 'contact_email', 'source_version', 'backup_encryption', 'rencthumbprint_empty', 'integrations', 'upgrade_path', 'mail'])" \
	" with ordinality as f(k, o) where not (m.intake ? k) or m.intake->>k is null)"

/* Ids are numbers that grow longer: m-10000 comes after m-9999. */
#define BY_ID "length(m.id), m.id"

/* Those that are wanted are found before anything is counted of them. */
json_t *
view_list(struct db *db, const struct view_filter *f, int64_t *more, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	json_t *list = NULL, *o = ask_json_of(db, err, "with matched as (select m.id, p.id run from migration m join run p on p.migration = m.id"
		"  and p.kind = 'production' where m.ended_at is null and ($1::text is null or " STAGE " = $1) and ($2::text is null or m.region = $2)"
		"  and ($3::text is null or position(lower($3) in lower(m.customer)) > 0)"
		"  and ($4::text is null or (" BY_ID ") > (length($4), $4)) order by " BY_ID "),"
		" page as (select * from matched limit $5::bigint)"
		" select json_build_object('more', (select count(*) from matched) - (select count(*) from page),"
		" 'list', coalesce(json_agg(json_build_object('id', m.id, 'customer', m.customer, 'database', m.database_name,"
		" 'cluster', m.cluster, 'region', m.region, 'stage', " STAGE ", 'hold', p.hold, 'waits_for', p.waits_for, 'waits_on', p.waits_on, 'failure', p.failure,"
		" 'files', (select count(*) from upload u where u.migration = m.id and u.state = 'arrived'),"
		" 'steps', (select count(*) from step s where s.run = p.id and s.chain = p.chain and s.state = 'done'),"
		" 'gap', p.gap, 'verdict', p.verdict, 'chain', case when p.gap is not null then 'gap: ' || p.gap when p.whole then 'whole'"
		"  when not p.whole then 'not whole yet' end, 'priority', " PRIORITY("p") ","
		" 'uat', (select u.state from run u where u.migration = m.id and u.kind = 'uat'),"
		" 'downtime_seconds', extract(epoch from coalesce(p.clock_stopped, p.recovered_at, now()) - p.clock_started)::bigint,"
		" 'changed_at', to_char(p.changed_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) order by " BY_ID "), '[]'))"
		" from page g join migration m on m.id = g.id join run p on p.id = g.run", 5, (const char *const[]){ f->stage, f->region, f->customer, f->after,
		f->limit == 0 ? NULL : db_int(mem, f->limit) });

	if (o != NULL) {
		*more = json_integer_value(json_object_get(o, "more"));
		list = json_incref(json_object_get(o, "list"));
	}
	json_decref(o);
	talloc_free(mem);
	return list;
}

json_t *
view_migrations(struct db *db, struct err *err)
{
	int64_t more;

	return view_list(db, &(struct view_filter){ 0 }, &more, err);
}

#define RUN_VIEW "json_build_object('id', r.id, 'run', r.kind, 'state', r.state, 'database', r.target_database," \
	" 'primary', (select x.replica from run_replica x where x.run = r.id order by x.ordinal limit 1)," \
	" 'hold', r.hold, 'waits_for', r.waits_for, 'waits_on', r.waits_on, 'failure', r.failure, 'verdict', r.verdict," \
	" 'tail', (select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = r.tail_set)," \
	" 'clock_started', r.clock_started, 'clock_stopped', r.clock_stopped, 'recovered_at', r.recovered_at, 'settled_at', r.settled_at," \
	" 'cancelled', r.cancelled_at is not null, 'backed_out', r.backed_out, 'run_sheet', case when r.backed_out is not null then r.run_sheet end," \
	" 'priority', " PRIORITY("r") ", 'priority_why', r.priority_why, 'preflight_wanted', r.preflight_wanted is not null," \
	" 'chain', r.chain, 'drop_asked', r.drop_asked, 'drop_said', r.drop_said," \
	" 'replicas', (select coalesce(json_agg(json_build_object('target', x.replica, 'state', x.state," \
	"   'redo_start_lsn', x.redo_start_lsn::text, 'left_out', x.left_out, 'group_state', x.group_state, 'lag_seconds', x.lag_seconds," \
"   'redo_kb', x.redo_kb) order by x.ordinal), '[]') from run_replica x where x.run = r.id)," \
	/* Stripes of one set in family order; a stripe sent twice is named once. */ \
	" 'restored', (select coalesce(json_agg(n.name order by s.finished_at, s.id, n.family_number), '[]') from step s" \
	"   join lateral (select distinct on (f.family_number) f.family_number, u.name from media_family f join upload u on u.id = f.upload" \
	"     and u.state = 'arrived' where f.backup_set = s.backup_set order by f.family_number, f.damaged, u.id) n on true" \
	"   where s.run = r.id and s.chain = r.chain and s.state = 'done'" \
	"     and s.replica = (select x.replica from run_replica x where x.run = r.id order by x.ordinal limit 1))," \
	" 'steps_todo', coalesce(r.plan->'steps', '[]'::jsonb), 'unused', coalesce(r.plan->'unused', '[]'::jsonb)," \
	" 'gaps', coalesce(r.plan->'gaps', '[]'::jsonb), 'awaits', r.plan->'awaits', 'stop_at', to_char(r.stop_at, 'YYYY-MM-DD\"T\"HH24:MI:SS')," \
	" 'stop_asked', r.stop_asked, 'stop_reason', r.stop_reason, 'stop_by', r.stop_by," \
	" 'preflight', (select coalesce(json_agg(json_build_object('replica', p.replica, 'asked_at', to_char(p.asked_at at time zone 'UTC'," \
	"   'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'age_seconds', extract(epoch from now() - p.asked_at)::bigint, 'blocks', p.blocks, 'findings', p.findings)" \
	"   order by x.ordinal), '[]') from preflight p join run_replica x on x.run = p.run and x.replica = p.replica and x.left_out is null where p.run = r.id)," \
	/* Made from all that is known by now. */ \
	" 'plan_is_current', coalesce((r.plan->'seen'->>'cutover')::boolean = (r.cutover_at is not null)" \
	"   and (r.plan->'seen'->>'tail')::bigint = coalesce(r.tail_set, 0) and coalesce((r.plan->'seen'->>'replanned')::int, 0) = r.replanned" \
	"   and (r.plan->'seen'->>'parts')::bigint = (select count(*)" \
	"   from media_family f join upload u on u.id = f.upload where u.migration = r.migration and u.state = 'arrived'), false))"

static bool
add_gates(struct db *db, json_t *run, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct gate gates[GATE_N];
	json_t *list = json_array();
	bool good = gates_of_run(db, mem, json_integer_value(json_object_get(run, "id")), gates, err);

	for (int i = 0; good && i < GATE_N; i++)
		json_array_append_new(list, json_pack("{s:s,s:b,s:s?}", "name", gates[i].name, "open", gates[i].open, "why", gates[i].why));
	json_object_set_new(run, "gates", list);
	talloc_free(mem);
	return good;
}

json_t *
view_migration(struct db *db, const char *id, struct err *err)
{
	json_t *run, *o = ask_json(db, err, "select json_build_object('id', m.id, 'customer', m.customer, 'database', m.database_name, 'cluster', m.cluster,"
		" 'region', m.region, 'encryption', m.encryption, 'stage', " STAGE ", 'missing', " MISSING ", 'hold', p.hold, 'intake', m.intake,"
		" 'runs', (select json_agg(" RUN_VIEW " order by r.kind) from run r where r.migration = m.id),"
		" 'second_person', (select coalesce(json_agg(json_build_object('act', a.id, 'kind', a.kind, 'asked_by', a.asked_by, 'asked_at',"
		"   to_char(a.asked_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) order by a.id), '[]') from action a where a.migration = m.id"
		"   and a.needs_second and a.confirmed_by is null and a.asked_at > now() - interval '60 min'),"
		" 'files', (select coalesce(json_agg(json_build_object('name', u.name, 'state', u.state, 'bytes', u.bytes, 'sha256', u.sha256,"
		"   'findings', to_json(u.findings), 'reason', u.reason, 'version', u.version) order by u.name), '[]') from (select distinct on (u.name) u.*"
		"   from upload u where u.migration = m.id and u.state <> 'gone' order by u.name, u.version desc, u.id desc) u),"
		/* Where the target reads a backup otherwise than our reader. */
		" 'compared', (select count(*) from comparison c join backup_set s on s.id = c.backup_set where s.migration = m.id),"
		" 'differences', (select coalesce(json_agg(json_build_object('file', (select min(u.name) from media_family f join upload u on u.id = f.upload"
		"    where f.backup_set = c.backup_set), 'replica', c.replica, 'state', c.state, 'said', c.said, 'differences', c.differences) order by c.backup_set), '[]')"
		"   from comparison c join backup_set s on s.id = c.backup_set where s.migration = m.id and c.state <> 'same'))"
		" from migration m join run p on p.migration = m.id and p.kind = 'production' where m.id = $1", id, NULL);
	size_t i;

	if (o == NULL || json_is_null(o))
		return o;
	json_array_foreach(json_object_get(o, "runs"), i, run)
		if (!add_gates(db, run, err) || !ask_eta(db, run, err)) {
			json_decref(o);
			return NULL;
		}
	return o;
}

/* What was measured before it stood still says nothing of when it will be there. */
#define STALLED "(u.state = 'receiving' and now() - u.changed_at >= interval '10 s')"

json_t *
view_uploads(struct db *db, bool live, struct err *err)
{
	return ask_json(db, err, "select coalesce(json_agg(json_build_object('migration', u.migration, 'name', u.name, 'state', u.state, 'bytes', u.bytes,"
		" 'expected', u.expected, 'rate', case when " STALLED " then 0 else u.rate end,"
		" 'eta_seconds', case when not " STALLED " and u.rate > 0 and u.expected > u.bytes"
		"   then ((u.expected - u.bytes) / u.rate)::bigint end, 'quiet_seconds', extract(epoch from now() - u.changed_at)::bigint,"
		" 'stalled_since', case when " STALLED " then to_char(u.changed_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') end,"
		" 'session', u.session, 'address', u.peer, 'client', u.client,"
		" 'started_at', to_char(u.started_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) order by u.id desc), '[]')"
		" from (select * from upload where state = 'receiving' or ($1 = 'all' and state in ('partial', 'whole-not-named'))"
		"   order by id desc limit 500) u", live ? "live" : "all", NULL);
}

/* A slot counts while its lease lives: that of a worker that died runs out and the run waits again. */
#define HAS_SLOT "(r.has_slot and coalesce(r.lease_until > now(), false))"

/* The schema's queue_class, in words. */
#define CLASS "case r.queue_class when 0 then 'cutover' when 1 then 'catch-up' when 2 then 'logs' when 3 then 'first full' when 4 then 'rehearsal'" \
	" when 5 then 'settling' end"

/*
 * One pass over the runs for all clusters: it is read again at every look at the page. No more than shown of those that wait, and
 * of those that are blocked, are put into words; how many are left off is said.
 */
json_t *
view_queue(struct db *db, int64_t shown, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	json_t *o = ask_json(db, err,
		"with held as (select r.cluster, count(*) n, min(r.migration || ' ' || r.kind) who, json_agg(json_build_object('migration', r.migration,"
		"   'run', r.kind, 'state', r.state, 'class', " CLASS ", 'priority', " PRIORITY("r") ", 'since', extract(epoch from now() - r.slot_at)::bigint,"
		"   'step', q.steps->0->>'kind', 'percent', q.steps->0->'percent', 'replica', q.steps->0->>'replica', 'volumes', coalesce(to_json(r.volumes), '[]'),"
		"   'steps', coalesce(q.steps, '[]')) order by r.id) list"
		"  from run r left join lateral (select json_agg(json_build_object('replica', s.replica, 'kind', s.kind, 'percent', s.percent,"
		"    'since', extract(epoch from now() - s.started_at)::bigint,"
		/* What was read so far by the time it took; of a few seconds or percent it says nothing. */
		"    'rate', case when s.percent > 0 and now() > s.started_at + interval '1 s'"
		"      then (b.backup_size / 100.0 * s.percent / extract(epoch from now() - s.started_at))::bigint end) order by s.id) steps"
		"   from step s left join backup_set b on b.id = s.backup_set where s.run = r.id and s.state = 'running') q on true"
		"  where " HAS_SLOT " group by r.cluster),"
		" line as (select r.cluster, r.migration, r.kind, r.waits_for, r.waits_on, " PRIORITY("r") " priority, r.priority_why, " CLASS " class, coalesce(r.wants_since, r.changed_at) since,"
		"   row_number() over w place, lag(r.migration || ' ' || r.kind) over w before"
		"  from run r where r.wants_slot and not " HAS_SLOT " and r.queue_class is not null window w as (partition by r.cluster order by r.queue_at, r.id)),"
		" waiting as (select l.cluster, count(*) n, extract(epoch from now() - min(l.since))::bigint oldest, json_agg(json_build_object("
		"   'migration', l.migration, 'run', l.kind, 'position', l.place, 'class', l.class, 'priority', l.priority, 'priority_why', l.priority_why, 'why', l.waits_for,"
		"   'waits_on', l.waits_on, 'blocked_by', coalesce(l.before, h.who), 'since', extract(epoch from now() - l.since)::bigint) order by l.place)"
		"   filter (where l.place <= $1::bigint) list from line l left join held h on h.cluster = l.cluster group by l.cluster),"
		/* One number to sort by: what is on hold, what waits for an operator, the class. */
		" still as (select r.*, row_number() over (partition by r.cluster order by (r.hold is null)::int * 16"
		"    + (r.waits_on is distinct from 'operator')::int * 8 + coalesce(r.queue_class, 7), r.id) place"
		"  from run r where not (r.wants_slot and r.queue_class is not null) and not " HAS_SLOT " and r.state not in ('online', 'verified')"
		"   and (r.hold is not null or r.failure is not null or r.waits_for is not null)),"
		" blocked as (select s.cluster, count(*) n, json_agg(json_build_object('migration', s.migration, 'run', s.kind, 'state', s.state,"
		"   'waits_on', case when s.hold is not null then 'operator' else s.waits_on end,"
		"   'why', coalesce('on hold: ' || s.hold, s.failure, s.waits_for)) order by s.place) filter (where s.place <= $1::bigint) list"
		"  from still s group by s.cluster)"
		" select json_build_object('clusters', coalesce(json_agg(json_build_object('name', c.name, 'slots', c.slots, 'slots_used', coalesce(h.n, 0),"
		"   'slots_free', greatest(c.slots - coalesce(h.n, 0), 0), 'slots_kept', (c.slots > 1)::int, 'volume_slots', c.volume_slots,"
		"   'oldest_wait_seconds', coalesce(w.oldest, 0), 'running', coalesce(h.list, '[]'),"
		"   'waiting_total', coalesce(w.n, 0), 'waiting_left_off', greatest(coalesce(w.n, 0) - $1::bigint, 0), 'waiting', coalesce(w.list, '[]'),"
		"   'blocked_total', coalesce(b.n, 0), 'blocked_left_off', greatest(coalesce(b.n, 0) - $1::bigint, 0), 'blocked', coalesce(b.list, '[]')) order by c.name), '[]'))"
		" from cluster c left join held h on h.cluster = c.name left join waiting w on w.cluster = c.name"
		" left join blocked b on b.cluster = c.name", db_int(mem, shown), NULL);

	talloc_free(mem);
	return o;
}

json_t *
view_status(struct db *db, struct err *err)
{
	return ask_json(db, err, "select json_build_object('postgres', 'up', 'schema_version', (select max(version) from schema_migration),"
		" 'workers', (select coalesce(json_agg(json_build_object('program', w.program, 'host', w.host, 'pid', w.pid,"
		"   'beat_seconds_ago', extract(epoch from now() - w.beat_at)::bigint) order by w.program, w.started_at), '[]') from worker w"
		"   where w.beat_at > now() - interval '1 hour'),"
		" 'clusters', (select coalesce(json_agg(json_build_object('name', c.name, 'region', c.region, 'slots', c.slots,"
		"   'replicas', (select json_agg(json_build_object('name', r.name, 'state', r.state, 'said', r.said, 'server_version', r.server_version,"
		"     'seen_seconds_ago', extract(epoch from now() - r.seen_at)::bigint) order by r.ordinal) from replica r where r.cluster = c.name))"
		"   order by c.name), '[]') from cluster c))", NULL, NULL);
}

json_t *
view_keys(struct db *db, const char *id, struct err *err)
{
	return ask_json(db, err, "select coalesce(json_agg(json_build_object('fingerprint', fingerprint, 'type', type, 'comment', comment,"
		" 'from', to_json(from_list), 'expires_at', expires_at, 'added_at', added_at, 'added_by', added_by, 'revoked_at', revoked_at)"
		" order by id), '[]') from key where migration = $1", id, NULL);
}

json_t *
view_history(struct db *db, const char *id, struct err *err)
{
	return ask_json(db, err, "select json_build_object('steps', (select coalesce(json_agg(s.o), '[]') from (select json_build_object("
		" 'run', r.kind, 'replica', s.replica, 'kind', s.kind, 'state', s.state, 'attempts', s.attempts, 'percent', s.percent, 'said', s.said,"
		" 'file', (select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = s.backup_set),"
		" 'seconds', extract(epoch from coalesce(s.finished_at, now()) - s.started_at),"
		" 'messages', (select coalesce(json_agg(json_build_object('number', g.number, 'severity', g.severity, 'text', g.text) order by g.id), '[]')"
		"   from message g where g.step = s.id)) o from step s join run r on r.id = s.run where r.migration = $1 order by s.id desc limit 100) s),"
		" 'events', (select coalesce(json_agg(e.o), '[]') from (select json_build_object('at', to_char(e.at at time zone 'UTC',"
		"  'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'kind', e.kind, 'text', e.text, 'actor', e.actor) o from event e where e.migration = $1"
		"  order by e.seq desc limit 100) e))", id, NULL);
}

json_t *
view_report(struct db *db, const char *id, const char *run, struct err *err)
{
	return ask_json(db, err, "select v.result from verification v join run r on r.id = v.run where r.migration = $1 and r.kind = $2"
		" and v.state = 'done' order by v.id desc limit 1", id, run);
}

json_t *
view_metrics(struct db *db, struct err *err)
{
	return ask_json(db, err, "select json_build_object('runs', (select coalesce(json_agg(json_build_object('kind', kind, 'state', state, 'n', n)), '[]')"
		"  from (select kind, state, count(*) n from run group by kind, state) r),"
		" 'uploads', (select coalesce(json_agg(json_build_object('state', state, 'n', n, 'bytes', b)), '[]')"
		"  from (select state, count(*) n, sum(bytes) b from upload group by state) u),"
		" 'steps', (select coalesce(json_agg(json_build_object('kind', kind, 'state', state, 'n', n)), '[]')"
		"  from (select kind, state, count(*) n from step group by kind, state) s),"
		" 'waiting', (select count(*) from run where wants_slot),"
		" 'replicas_away', (select count(*) from replica where state = 'away'),"
		" 'migrations', (select coalesce(json_agg(json_build_object('stage', stage, 'region', region, 'n', n)), '[]')"
		"  from (select " STAGE " stage, m.region, count(*) n from migration m join run p on p.migration = m.id and p.kind = 'production'"
		"  where m.ended_at is null group by 1, 2) g),"
		" 'queue', (select coalesce(json_agg(json_build_object('cluster', c.name, 'seconds', coalesce((select"
		"   max(extract(epoch from now() - coalesce(r.wants_since, r.changed_at)))::bigint from run r"
		"   where r.cluster = c.name and r.wants_slot), 0)) order by c.name), '[]') from cluster c),"
		" 'active', (select coalesce(json_agg(json_build_object('migration', m.id,"
		"   'gaps', p.gaps, 'downtime', coalesce(extract(epoch from"
		"   coalesce(p.clock_stopped, p.recovered_at, now()) - p.clock_started)::bigint, 0)) order by m.id), '[]')"
		"  from migration m join run p on p.migration = m.id and p.kind = 'production'"
		"  where m.ended_at is null and p.state <> 'verified'),"
		" 'workers', (select coalesce(json_agg(json_build_object('program', program, 'beat', beat)), '[]')"
		"  from (select program, max(extract(epoch from beat_at))::bigint beat from worker group by program) w))",
		NULL, NULL);
}
