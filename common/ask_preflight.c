#include "common/ask_preflight.h"

#include <stdio.h>

#include "common/ask_lease.h"

static json_t *
ask_json(struct db *db, struct err *err, const char *sql, size_t n, const char *const *params)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	json_t *o = NULL;

	if (db_ask(db, mem, &r, err, sql, n, params) && (rows_count(r) != 1 || (o = json_loads(rows_text(r, 0, 0), 0, NULL)) == NULL))
		err_set(err, ERR_BUG, 0, "an answer of Postgres is no JSON");
	talloc_free(mem);
	return o;
}

static bool
under_lease(struct db *db, struct err *err, const char *sql, size_t n, const char *const *params)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = db_ask_often(db, mem, &r, err, sql, n, params) && ask_must_change(r, err);

	talloc_free(mem);
	return good;
}

bool
ask_preflight_last(struct db *db, int64_t run, struct preflight_last *last, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "select count(*), coalesce(extract(epoch from now() - min(p.asked_at))::int, 0), coalesce(min(p.parts), 0),"
		" coalesce(bool_or(p.blocks), false), coalesce((select preflight_wanted::text from run where id = $1), '') from preflight p join run_replica x on x.run = p.run and x.replica = p.replica and x.left_out is null"
		" where p.run = $1", db_int(mem, run));

	if (good) {
		*last = (struct preflight_last){ (int)rows_int(r, 0, 0), (int)rows_int(r, 0, 1), rows_int(r, 0, 2), rows_bool(r, 0, 3), "" };
		snprintf(last->wanted, sizeof(last->wanted), "%s", rows_text(r, 0, 4));
	}
	talloc_free(mem);
	return good;
}

/* One backup of those that will be restored, by its set. */
#define BACKUPS "select min(u.name) as file, false as provisional, to_jsonb(s.database_version) as version, to_jsonb(s.compat_level) as compat," \
	" s.recovery_model = 'SIMPLE' as simple, bool_or('encrypted' = any(u.findings)) as encrypted, bool_or('tde' = any(u.findings)) as tde," \
	" bool_or(u.findings && array['filestream', 'memory-optimised']) as other_files, s.header->'Collation' as collation," \
	" to_jsonb(s.family_count) as stripes, coalesce(s.header->>'EncryptorThumbprint', jsonb_path_query_first(s.header, '$.files[*].TDEThumbprint ? (@ != null)')" \
	"  #>> '{}') as thumbprint, coalesce(c.state <> 'refused', false) as was_read, coalesce(c.number, 0) as refused, c.said" \
	" from backup_set s join media_family f on f.backup_set = s.id join upload u on u.id = f.upload and u.state = 'arrived'" \
	"  left join comparison c on c.backup_set = s.id where s.id = any($3::bigint[]) group by s.id, c.backup_set"

/* What is still coming: only while nothing has come that could be restored, so that a bad try keeps no good one. */
#define COMING "select u.name, true, s->'DatabaseVersion', s->'CompatibilityLevel', s->>'RecoveryModel' = 'SIMPLE', 'encrypted' = any(u.findings)," \
	" 'tde' = any(u.findings), u.findings && array['filestream', 'memory-optimised'], s->'Collation', u.inspect#>'{media,FamilyCount}'," \
	" s->>'EncryptorThumbprint', false, 0, null from upload u, jsonb_path_query(u.inspect, '$.sets[*] ? (@.BackupType == 1)') s" \
	" where u.migration = $1 and $3::bigint[] = '{}' and u.state in ('receiving', 'partial', 'whole-not-named')" \
	"  and lower(s->>'DatabaseName') = lower($4)"

/* Encrypted media are not read at all, so there is no set of them. */
#define SEALED "select u.name, u.state <> 'arrived', null, null, false, true, false, false, null, null, null, false, 0, null from upload u" \
	" where u.migration = $1 and $3::bigint[] = '{}' and u.state in ('receiving', 'partial', 'whole-not-named', 'arrived')" \
	"  and 'encrypted' = any(u.findings) and not exists (select 1 from media_family f where f.upload = u.id)"

json_t *
ask_preflight_facts(struct db *db, const struct restore_run *run, const char *sets, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	json_t *o = ask_json(db, err, "select json_build_object('allow', (select encryption = 'allow' from migration where id = $1),"
		" 'begun', (select coalesce(json_agg(distinct t.replica), '[]') from step t where t.run = $2 and t.kind = 'full'),"
		" 'full', (select coalesce(json_agg(distinct t.replica), '[]') from step t where t.run = $2 and t.kind = 'full' and t.state in ('running', 'done')),"
		" 'backups', (select coalesce(json_agg(b), '[]') from ((" BACKUPS " order by s.id) union all (" COMING ") union all (" SEALED ")) b),"
		" 'files', (select coalesce(json_agg(json_build_object('id', x.file_id, 'type', x.type, 'bytes', x.bytes) order by x.file_id), '[]') from ("
		"   select f.file_id, min(f.type) as type, to_jsonb(max(f.size_bytes)) as bytes from backup_file f where f.backup_set = any($3::bigint[]) group by f.file_id"
		"   union all select k.n, f->>'Type', f->'Size' from (" COMING " limit 1) c(file), upload u, jsonb_path_query(u.inspect, '$.sets[*] ? (@.BackupType == 1)') s,"
		"    jsonb_path_query(s, '$.files[*]') with ordinality k(f, n) where u.migration = $1 and u.name = c.file and u.state in ('receiving', 'partial', 'whole-not-named')"
		" ) x))", 4, (const char *const[]){ run->migration, db_int(mem, run->id), sets, run->database });

	talloc_free(mem);
	return o;
}

bool
ask_preflight_keep(struct db *db, const struct restore_run *run, const char *replica, int64_t parts, const char *findings, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* Sentences hold numbers that change by themselves: only another list of words is an event. */
	bool good = under_lease(db, err, "with was as (select findings from preflight where run = $1 and replica = $3),"
		" kept as (insert into preflight(run, replica, parts, findings) select $1::bigint, $3, $4::bigint, $5::jsonb where " STEP_LEASE
		"  on conflict (run, replica) do update set parts = excluded.parts, findings = excluded.findings, asked_at = now() returning findings),"
		" words as (select coalesce((select jsonb_path_query_array(findings, '$[*] ? (@.severity == \"blocks\").id') from was), '[]') as before,"
		"  jsonb_path_query_array(kept.findings, '$[*] ? (@.severity == \"blocks\").id') as now from kept),"
		" told as (insert into event(migration, run, kind, text, data) select r.migration, r.id, 'preflight', $3 || ': ' || case when w.now = '[]' then"
		"  'nothing blocks any more' else (select string_agg(f->>'text', '; ') from jsonb_path_query($5::jsonb, '$[*] ? (@.severity == \"blocks\")') f) end,"
		"  jsonb_build_object('replica', $3::text, 'findings', $5::jsonb) from run r, words w where r.id = $1 and w.now <> w.before returning seq)"
		" select 1 from kept", 5, (const char *const[]){ db_int(mem, run->id), db_int(mem, run->token), replica, db_int(mem, parts), findings });

	talloc_free(mem);
	return good;
}

bool
ask_preflight_kept(struct db *db, const struct restore_run *run, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = under_lease(db, err, "update run set wants_slot = false where " LEASE, 2,
	                        (const char *const[]){ db_int(mem, run->id), db_int(mem, run->token) });

	talloc_free(mem);
	return good;
}

bool
ask_preflight_answered(struct db *db, const struct restore_run *run, const char *wanted, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = under_lease(db, err, "update run set preflight_wanted = case when preflight_wanted > $3::timestamptz then preflight_wanted end"
		" where " LEASE, 3, (const char *const[]){ db_int(mem, run->id), db_int(mem, run->token), wanted });

	talloc_free(mem);
	return good;
}

/* ---- comparison ------------------------------------------------------------------------------------------- */

bool
ask_compared(struct db *db, TALLOC_CTX *mem, const char *sets, const char *uploads, struct rows **list, struct err *err)
{
	return DB_ASK_OFTEN(db, mem, list, err, "select s.id, c.backup_set is not null, case when c.backup_set is null then s.header end"
		" from unnest($1::bigint[], $2::text[]) as w(id, uploads) join backup_set s on s.id = w.id"
		" left join comparison c on c.backup_set = s.id and c.state in ('same', 'differs') and c.uploads = w.uploads::bigint[]", sets, uploads);
}

bool
ask_comparison_keep(struct db *db, const struct restore_run *run, const char *replica, const struct restore_comparison *c, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/*
	 * What may be restored waits for nothing: after a crash of Postgres that forgets it, it is compared again. What stops is
	 * written down for certain.
	 */
	bool good = under_lease(db, err, "with hurry as (select set_config('synchronous_commit', case when $6 in ('same', 'differs') then 'off' else"
		"  current_setting('synchronous_commit') end, true) as setting),"
		" kept as (insert into comparison(backup_set, uploads, run, replica, state, number, said, differences)"
		"  select $4::bigint, $5::bigint[], $1::bigint, $3, $6, $7::int, $8, $9::jsonb from hurry where hurry.setting is not null and "
		STEP_LEASE "  on conflict (backup_set) do update set uploads = excluded.uploads, run = excluded.run, replica = excluded.replica, state = excluded.state,"
		"   number = excluded.number, said = excluded.said, differences = excluded.differences, compared_at = now() returning backup_set),"
		" told as (insert into event(migration, run, kind, text, data) select r.migration, r.id, 'compared', $10 || ': ' || $8,"
		"  jsonb_build_object('replica', $3::text, 'set', $4::bigint, 'differences', $9::jsonb) from run r, kept where r.id = $1 and $6 in ('differs', 'stops')"
		"  returning seq) select 1 from kept", 10, (const char *const[]){ db_int(mem, run->id), db_int(mem, run->token), replica, db_int(mem, c->set), c->uploads,
		c->state, c->number == 0 ? NULL : db_int(mem, c->number), c->said, c->differences == NULL ? "[]" : c->differences, c->file });

	talloc_free(mem);
	return good;
}
