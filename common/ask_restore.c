#include "common/ask_restore.h"

#include <stdio.h>
#include <string.h>

#include "common/ask_lease.h"
#include "common/run_sheet.h"
#include "common/source_time.h"

bool
ask_must_change(const struct rows *rows, struct err *err)
{
	return rows_affected(rows) > 0 ? true : err_set(err, ERR_REFUSED, ASK_LEASE_LOST, "another worker has taken this run over");
}

/* One write under the lease; text parameters follow run and token ($1, $2). */
#define UNDER_LEASE(db, run, err, sql, ...)                                                                              \
	under_lease(db, run, err, sql, sizeof((const char *[]){ NULL, ##__VA_ARGS__ }) / sizeof(char *) - 1,             \
	            (const char *const *)((const char *[]){ NULL, ##__VA_ARGS__ } + 1))

static bool
under_lease(struct db *db, const struct restore_run *run, struct err *err, const char *sql, size_t n, const char *const *more)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *params[16] = { db_int(mem, run->id), db_int(mem, run->token) };
	struct rows *rows = NULL;
	bool good;

	for (size_t i = 0; i < n; i++)
		params[i + 2] = more[i];
	good = db_ask_often(db, mem, &rows, err, sql, n + 2, params) && ask_must_change(rows, err);
	talloc_free(mem);
	return good;
}

/*
 * For what is read again from the server, or only shown: its commit waits for no disk. It is durable with the next one that
 * does, and before anything is sent to a server there is one: the intent.
 */
#define SOON "with hurry as materialized (select set_config('synchronous_commit', 'off', true) as setting)"
#define IS_SOON "hurry.setting is not null"

bool
ask_worker_begin(struct db *db, const char *worker, const char *host, int pid, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "insert into worker(id, program, host, pid) values($1, 'landfall-restore', $2, $3)"
		" on conflict (id) do update set beat_at = now()", worker, host, db_int(mem, pid));

	talloc_free(mem);
	return good;
}

bool
ask_workers_of(struct db *db, TALLOC_CTX *mem, const char *host, struct rows **list, struct err *err)
{
	return DB_ASK(db, mem, list, err, "select w.id, w.pid from worker w where w.host = $1 and exists (select 1 from run r where r.worker = w.id)",
	              host);
}

bool
ask_worker_dead(struct db *db, const char *worker, struct err *err)
{
	return DB_ASK(db, NULL, NULL, err, "update run set lease_until = now() - interval '1 s' where worker = $1", worker);
}

bool
ask_worker_beat(struct db *db, const char *worker, const char *runs, struct err *err)
{
	return DB_ASK(db, NULL, NULL, err, "update worker set beat_at = now() where id = $1", worker) &&
	       DB_ASK(db, NULL, NULL, err, "update run set lease_until = now() + interval '15 s' where worker = $1 and id = any($2::bigint[])",
	              worker, runs);
}

/* ---- runs ------------------------------------------------------------------------------------------------- */

/* How long a run keeps its slot, from statement to statement, while others wait. */
#define TURN "10 s"
/* As the upper end of queue_at: those of class 0, see queue_delay. */
#define ONLY_CUTOVERS "now() - interval '500 days'"

#define RUN_COLUMNS                                                                                                       \
	"r.id, r.lease_token, coalesce(r.tail_set, 0), r.migration, r.kind, r.state, r.cluster, r.target_database, m.database_name," \
	" r.hold, r.last_file, m.family_guid, r.recover_asked is not null, r.cutover_at is not null,"                    \
	/* A cutover at once, whoever else after a while: who would come before us if we stood in line again. */           \
	" exists (select 1 from run o where o.cluster = r.cluster and o.wants_slot and o.lease_until is null"            \
	"  and o.queue_class is not null and o.queue_at < case when r.slot_at < now() - interval '" TURN "'"             \
	"   then now() + queue_delay(r.queue_class) else " ONLY_CUTOVERS " end),"                             \
	" r.drop_asked, r.backed_out, r.cancelled_at is not null, r.recovered_at is not null, r.chain, r.replanned, r.void_until,"    \
	" to_char(r.stop_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), r.stop_reason, r.stop_lsn"

static void
read_run(TALLOC_CTX *mem, const struct rows *r, size_t i, struct restore_run *run)
{
	struct source_point stop;
	struct err unread = { 0 };

	*run = (struct restore_run){ .id = rows_int(r, i, 0), .token = rows_int(r, i, 1), .tail_set = rows_int(r, i, 2) };
	run->migration = talloc_strdup(mem, rows_text(r, i, 3));
	run->kind = talloc_strdup(mem, rows_text(r, i, 4));
	run->state = talloc_strdup(mem, rows_text(r, i, 5));
	run->cluster = talloc_strdup(mem, rows_text(r, i, 6));
	run->target_database = talloc_strdup(mem, rows_text(r, i, 7));
	run->database = talloc_strdup(mem, rows_text(r, i, 8));
	run->hold = rows_is_null(r, i, 9) ? NULL : talloc_strdup(mem, rows_text(r, i, 9));
	run->last_file = rows_is_null(r, i, 10) ? NULL : talloc_strdup(mem, rows_text(r, i, 10));
	if (!rows_is_null(r, i, 11))
		guid_parse(rows_text(r, i, 11), &run->family);
	run->recover_asked = rows_bool(r, i, 12);
	run->cutover = rows_bool(r, i, 13);
	run->others_wait = rows_bool(r, i, 14);
	run->is_uat = strcmp(run->kind, "uat") == 0;
	run->drop_asked = rows_is_null(r, i, 15) ? NULL : talloc_strdup(mem, rows_text(r, i, 15));
	run->backed_out = rows_is_null(r, i, 16) ? NULL : talloc_strdup(mem, rows_text(r, i, 16));
	run->cancelled = rows_bool(r, i, 17);
	run->recovered = rows_bool(r, i, 18);
	run->chain = (int)rows_int(r, i, 19);
	run->replanned = (int)rows_int(r, i, 20);
	lsn_parse(rows_is_null(r, i, 21) ? NULL : rows_text(r, i, 21), &run->void_until);
	source_point_parse(rows_text_or_null(r, i, 22), &stop, &unread);
	run->stop_at = stop.at;
	run->stop_reason = rows_is_null(r, i, 23) ? NULL : talloc_strdup(mem, rows_text(r, i, 23));
	lsn_parse(rows_is_null(r, i, 24) ? NULL : rows_text(r, i, 24), &run->stop_lsn);
}

bool
ask_claim(struct db *db, TALLOC_CTX *mem, const char *worker, const char *clusters, struct restore_run *run, bool *got, struct err *err)
{
	struct rows *r = NULL;

	*got = false;
	/* The order and its reasons stand in the schema, where Postgres keeps the plan of the statement. */
	if (!DB_ASK_OFTEN(db, mem, &r, err, "select " RUN_COLUMNS " from claim_run($1, $2::text[]) r join migration m on m.id = r.migration", worker, clusters))
		return false;
	*got = rows_count(r) == 1;
	if (*got)
		read_run(mem, r, 0, run);
	return true;
}

bool
ask_reload(struct db *db, TALLOC_CTX *mem, struct restore_run *run, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK_OFTEN(db, mem, &r, err, "select " RUN_COLUMNS " from run r join migration m on m.id = r.migration"
		" where r.id = $1 and r.lease_token = $2 and r.lease_until > now()", db_int(mem, run->id), db_int(mem, run->token)))
		return false;
	if (rows_count(r) != 1)
		return err_set(err, ERR_REFUSED, ASK_LEASE_LOST, "another worker has taken this run over");
	read_run(mem, r, 0, run);
	return true;
}

bool
ask_release(struct db *db, const struct restore_run *run, const char *waits_for, const char *waits_on, bool in_line, int again_ms, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = UNDER_LEASE(db, run, err, "with was as (select id, has_slot from run where " LEASE " for update),"
		" now_free as (update run r set worker = null, lease_until = null, has_slot = false, waits_for = $3, waits_on = $5,"
		"  wants_slot = $6::boolean,"
		/* infinity since the claim; anything else means that something arrived meanwhile. */
		"  next_try = case when next_try = 'infinity' then now() + make_interval(secs => $4::int / 1000.0) else now() end"
		"  from was where r.id = was.id returning was.has_slot)"
		/* A slot that becomes free is somebody's turn. */
		" select case when has_slot then pg_notify('landfall_work', '')::text end from now_free", waits_for, db_int(mem, again_ms), waits_on,
		db_bool(in_line));

	talloc_free(mem);
	return good;
}

bool
ask_waits(struct db *db, const struct restore_run *run, const char *waits_for, struct err *err)
{
	return UNDER_LEASE(db, run, err, SOON " update run set waits_for = $3 from hurry where " IS_SOON " and " LEASE, waits_for);
}

bool
ask_slot(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, const char *volumes, bool *got, const char **who, struct err *err)
{
	struct rows *r = NULL;

	*got = false;
	*who = NULL;
	if (!DB_ASK_OFTEN(db, mem, &r, err, SOON " select t.who from hurry, lateral take_slot($1, $2, case when " IS_SOON " then $3::text[] end) t(who)", db_int(mem, run->id), db_int(mem, run->token), volumes))
		return false;
	if (rows_count(r) != 1)
		return err_set(err, ERR_REFUSED, ASK_LEASE_LOST, "another worker has taken this run over");
	*who = rows_text_or_null(r, 0, 0);
	*got = *who == NULL;
	return true;
}

bool
ask_volume_free(struct db *db, const struct restore_run *run, const char *volume, struct err *err)
{
	return UNDER_LEASE(db, run, err, "with freed as (update run set volumes = array_remove(volumes, $3) where " LEASE " returning id)"
		" select pg_notify('landfall_work', '')::text from freed", volume);
}

/* ---- replicas ----------------------------------------------------------------------------------------------- */

bool
ask_replicas(struct db *db, TALLOC_CTX *mem, int64_t run, struct restore_replica **list, size_t *n, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK_OFTEN(db, mem, &r, err, "select replica, left_out, ordinal, redo_start_lsn, redo_fork from run_replica where run = $1"
		" order by ordinal", db_int(mem, run)))
		return false;
	*n = rows_count(r);
	*list = talloc_zero_array(mem, struct restore_replica, *n + 1);
	for (size_t i = 0; i < *n; i++) {
		struct restore_replica *one = &(*list)[i];

		*one = (struct restore_replica){ .name = rows_text(r, i, 0), .left_out = rows_text_or_null(r, i, 1), .ordinal = (int)rows_int(r, i, 2) };
		lsn_parse(rows_text(r, i, 3), &one->redo);
		if (!rows_is_null(r, i, 4))
			guid_parse(rows_text(r, i, 4), &one->fork);
	}
	return true;
}

static const char *
date_or_null(TALLOC_CTX *mem, struct bak_date d)
{
	return d.year == 0 ? NULL : talloc_strdup(mem, bak_date_text(d).s);
}

static const char *
guid_or_null(TALLOC_CTX *mem, struct guid g)
{
	return guid_is_null(g) ? NULL : talloc_strdup(mem, guid_text(g).s);
}

bool
ask_replica_saw(struct db *db, const struct restore_run *run, const char *replica, const struct restore_seen *seen, int64_t *last, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* Half a copy has no row of its own yet: the newest is then of the copy before it, under the same name. And where nothing is to be
	 * stopped at, nobody asks. */
	bool whole = !lsn_is_null(seen->redo), asks = whole && run->stop_at.year != 0;
	struct rows *r = NULL;
	bool good = DB_ASK_OFTEN(db, mem, &r, err, SOON " update run_replica set state = $4, redo_start_lsn = $5::numeric, redo_fork = $6::uuid, asked_at = now(),"
		" last_set = own.id, last_stop = case when own.id is not null then $8::timestamp end from (select"
		"  (select b.id from run r join backup_set b on b.migration = r.migration and b.backup_set_guid = $7::uuid where r.id = $1 and exists ("
		"    select 1 from step s where s.run = r.id and s.replica = $3 and s.chain = r.chain and s.kind = b.kind and coalesce(s.backup_set, 0) = b.id)) id) own, hurry"
		" where " IS_SOON " and run = $1 and replica = $3 and " STEP_LEASE " returning coalesce(last_set, 0)", db_int(mem, run->id), db_int(mem, run->token),
		replica, seen->state, whole ? lsn_text(seen->redo).s : NULL, guid_or_null(mem, seen->fork), asks ? guid_or_null(mem, seen->last_set) : NULL,
		date_or_null(mem, seen->last_stop)) && ask_must_change(r, err);

	if (last != NULL)
		*last = good ? rows_int(r, 0, 0) : 0;
	talloc_free(mem);
	return good;
}

bool
ask_set_files(struct db *db, TALLOC_CTX *mem, int64_t set, struct restore_file **list, size_t *n, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK_OFTEN(db, mem, &r, err, "select file_id, type, logical_name from backup_file where backup_set = $1 order by file_id",
	            db_int(mem, set)))
		return false;
	*n = rows_count(r);
	*list = talloc_zero_array(mem, struct restore_file, *n + 1);
	for (size_t i = 0; i < *n; i++)
		(*list)[i] = (struct restore_file){ (int)rows_int(r, i, 0), rows_text(r, i, 1)[0], rows_text(r, i, 2) };
	return true;
}

bool
ask_restored(struct db *db, TALLOC_CTX *mem, int64_t run, int64_t **sets, size_t *n, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK_OFTEN(db, mem, &r, err, "select distinct s.backup_set from step s join run r on r.id = s.run and r.chain = s.chain"
		" where s.run = $1 and s.state = 'done' and s.backup_set is not null",
	            db_int(mem, run)))
		return false;
	*n = rows_count(r);
	*sets = talloc_zero_array(mem, int64_t, *n + 1);
	for (size_t i = 0; i < *n; i++)
		(*sets)[i] = rows_int(r, i, 0);
	return true;
}

static bool
one_set(struct db *db, const char *sql, size_t n, const char *const *params, int64_t *set, struct err *err)
{
	struct rows *r = NULL;
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = db_ask(db, mem, &r, err, sql, n, params);

	*set = good && rows_count(r) == 1 ? rows_int(r, 0, 0) : 0;
	talloc_free(mem);
	return good;
}

bool
ask_set_of_file(struct db *db, const char *migration, const char *file, struct guid family, int64_t *set, struct err *err)
{
	return one_set(db, "select f.backup_set from upload u join media_family f on f.upload = u.id join backup_set s on s.id = f.backup_set"
		" where u.migration = $1 and u.name = $2 and u.state = 'arrived' and s.family_guid = $3::uuid"
		" order by u.version desc, s.last_lsn desc limit 1", 3, (const char *const[]){ migration, file, guid_text(family).s }, set, err);
}

bool
ask_waived_tail(struct db *db, const char *migration, struct guid family, int64_t *set, struct err *err)
{
	return one_set(db, "select f.backup_set from upload u join media_family f on f.upload = u.id join backup_set s on s.id = f.backup_set"
		" where u.migration = $1 and u.waived_tail and u.state = 'arrived' and s.family_guid = $2::uuid"
		" order by s.last_lsn desc limit 1", 2, (const char *const[]){ migration, guid_text(family).s }, set, err);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

bool
ask_steps_settle(struct db *db, const struct restore_run *run, const char *replica, const struct restore_seen *seen, bool is_online, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK_OFTEN(db, mem, NULL, err,
		"update step s set finished_at = now(), state = case when $5::boolean and s.kind not in ('users', 'drop') then 'done'"
		"  when s.backup_set is not null and (select b.last_lsn <= $4::numeric or (b.backup_set_guid = $6::uuid and s.stop_at = $7::timestamp)"
		"   from backup_set b where b.id = s.backup_set) then 'done' else 'failed' end,"
		"  said = case when s.kind = 'users' then s.said else 'its worker ended; judged by what the server has' end, cut_off = s.cut_off + 1"
		" where s.run = $1 and s.replica = $3 and s.state = 'running' and s.lease_token <> $2 and " STEP_LEASE,
		db_int(mem, run->id), db_int(mem, run->token), replica, lsn_is_null(seen->redo) ? "-1" : lsn_text(seen->redo).s, db_bool(is_online),
		lsn_is_null(seen->redo) ? NULL : guid_or_null(mem, seen->last_set), date_or_null(mem, seen->last_stop));

	talloc_free(mem);
	return good;
}

bool
ask_step_past(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, const char *replica, const char *kind, int64_t set,
              struct restore_past *past, struct err *err)
{
	struct rows *r = NULL;

	*past = (struct restore_past){ 0 };
	if (!DB_ASK_OFTEN(db, mem, &r, err, "select tries, cut_off, said,"
		" coalesce(ceil(greatest(extract(epoch from not_before - now()), 0) * 1000), 0)::int from step"
		" where run = $1 and replica = $2 and kind = $3 and coalesce(backup_set, 0) = $4 and state = 'failed'"
		" and chain = (select r.chain from run r where r.id = $1)",
		db_int(mem, run->id), replica, kind, db_int(mem, set)))
		return false;
	if (rows_count(r) == 1)
		*past = (struct restore_past){ .tries = (int)rows_int(r, 0, 0), .cut_off = (int)rows_int(r, 0, 1), .said = rows_text(r, 0, 2),
			.rest_ms = (int)rows_int(r, 0, 3) };
	return true;
}

/* Nothing was begun: the lease is gone, or a person said something since the lane looked. */
static bool
why_not_begun(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err, "select case when hold is not null then 'on hold: ' || hold when drop_asked is not null"
		" then 'the copy is to be thrown away' else 'a person changed what is planned' end from run where " LEASE, db_int(mem, run->id),
		db_int(mem, run->token)))
		return false;
	return rows_count(r) == 1 ? err_set(err, ERR_AGAIN, 0, "%s", rows_text(r, 0, 0))
	                          : err_set(err, ERR_REFUSED, ASK_LEASE_LOST, "another worker has taken this run over");
}

bool
ask_step_begin(struct db *db, const struct restore_run *run, const struct restore_intent *intent, struct restore_step *step, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	/* The run's row is locked, so that what a person asked for is either before this statement or told that it runs. */
	bool good = DB_ASK_OFTEN(db, mem, &r, err,
		"insert into step(run, replica, chain, kind, backup_set, state, attempts, tries, statement, lease_token, started_at, stop_at)"
		" select r.id, $3, r.chain, $4, $5::bigint, 'running', 1, 1, $6, r.lease_token, now(), $8::timestamp from run r where r.id = $1 and r.lease_token = $2"
		"  and r.lease_until > now() and ($4 not in ('full', 'differential', 'log', 'recovery')"
		"   or (r.hold is null and r.drop_asked is null and r.replanned = $7::int)) for share of r"
		" on conflict (run, replica, chain, kind, coalesce(backup_set, 0)) do update set state = 'running', attempts = step.attempts + 1,"
		"  tries = step.tries + 1, not_before = null, statement = excluded.statement, lease_token = excluded.lease_token, started_at = now(), finished_at = null, percent = null, session = null, wait_type = null,"
		"  first_error = null, stop_at = excluded.stop_at returning id, attempts, tries",
		db_int(mem, run->id), db_int(mem, run->token), intent->replica, intent->kind, intent->set == 0 ? NULL : db_int(mem, intent->set),
		intent->statement, db_int(mem, run->replanned), date_or_null(mem, intent->stop_at));

	if (good && rows_count(r) != 1)
		good = why_not_begun(db, mem, run, err);
	if (good)
		*step = (struct restore_step){ rows_int(r, 0, 0), (int)rows_int(r, 0, 1), (int)rows_int(r, 0, 2) };
	talloc_free(mem);
	return good;
}

bool
ask_break_off(struct db *db, const struct restore_run *run, bool *wanted, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK_OFTEN(db, mem, &r, err, "select break_off from run where id = $1", db_int(mem, run->id));

	*wanted = good && rows_count(r) == 1 && rows_bool(r, 0, 0);
	talloc_free(mem);
	return good;
}

bool
ask_step_percent(struct db *db, const struct restore_run *run, int64_t step, int percent, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = UNDER_LEASE(db, run, err, SOON " update step set percent = $4::int from hurry where " IS_SOON " and id = $3::bigint and " STEP_LEASE, db_int(mem, step),
	                        db_int(mem, percent));

	talloc_free(mem);
	return good;
}

bool
ask_step_seen(struct db *db, const char *migration, const char *kind, const char *token, const char *replica, int percent, int session,
              const char *wait_type, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* A conversation may be older than the claim. No step is begun while an orphaned request is there, so none is taken for it. */
	bool good = DB_ASK(db, mem, NULL, err, SOON " update step s set session = $6::int, wait_type = nullif($7, ''),"
		" percent = case when $5::int between 1 and 100 then greatest(s.percent, $5::int) else s.percent end from run r, hurry"
		" where " IS_SOON " and r.id = s.run and r.migration = $1 and r.kind = $2 and r.lease_token >= $3::bigint and s.lease_token = r.lease_token"
		" and s.replica = $4 and s.state = 'running'", migration, kind, token, replica, db_int(mem, percent), db_int(mem, session), wait_type);

	talloc_free(mem);
	return good;
}

bool
ask_busy_servers(struct db *db, TALLOC_CTX *mem, const char *worker, struct rows **list, struct err *err)
{
	return DB_ASK(db, mem, list, err, "select distinct m.cluster, s.replica from run r join migration m on m.id = r.migration"
		" join step s on s.run = r.id where r.worker = $1 and r.lease_until > now() and s.state = 'running'"
		" and s.started_at < now() - interval '1 s'", worker);
}

bool
ask_step_end(struct db *db, const struct restore_run *run, int64_t step, const char *state, int first_error, const char *said,
             int rest_ms, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = UNDER_LEASE(db, run, err, "update step set state = $4, first_error = $5::int, said = coalesce($6, said), finished_at = now(),"
		" percent = case when $4 = 'done' then 100 else percent end, cut_off = 0, not_before = now() + make_interval(secs => $7::int / 1000.0)"
		" where id = $3::bigint and " STEP_LEASE, db_int(mem, step), state, first_error == 0 ? NULL : db_int(mem, first_error), said,
		rest_ms <= 0 ? NULL : db_int(mem, rest_ms));

	talloc_free(mem);
	return good;
}

bool
ask_message(struct db *db, const struct restore_run *run, const struct restore_step *step, const struct mssql_message *m, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* The record of the step's end comes after it and makes it durable. */
	bool good = UNDER_LEASE(db, run, err, SOON " insert into message(step, attempt, number, severity, state, line, text)"
		" select $3::bigint, $4::int, $5::int, $6::int, $7::int, $8::int, $9 from hurry where " IS_SOON " and " STEP_LEASE, db_int(mem, step->id),
		db_int(mem, step->attempt), db_int(mem, m->number), db_int(mem, m->severity), db_int(mem, m->state), db_int(mem, m->line), m->text);

	talloc_free(mem);
	return good;
}

bool
ask_step_said(struct db *db, TALLOC_CTX *mem, int64_t run, const char *kind, const char **said, struct err *err)
{
	struct rows *r = NULL;

	*said = NULL;
	if (!DB_ASK(db, mem, &r, err, "select said from step where run = $1 and kind = $2 and said is not null order by id desc limit 1",
	            db_int(mem, run), kind))
		return false;
	if (rows_count(r) == 1)
		*said = rows_text(r, 0, 0);
	return true;
}

bool
ask_step_remember(struct db *db, const struct restore_run *run, int64_t step, const char *said, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = UNDER_LEASE(db, run, err, "update step set said = $4 where id = $3::bigint and " STEP_LEASE, db_int(mem, step), said);

	talloc_free(mem);
	return good;
}

/* ---- where a run stands ------------------------------------------------------------------------------------------ */

bool
ask_plan_keep(struct db *db, const struct restore_run *run, const char *json, struct err *err)
{
	return UNDER_LEASE(db, run, err, SOON " update run set plan = $3::jsonb from hurry where " IS_SOON " and " LEASE, json);
}

bool
ask_tail_keep(struct db *db, const struct restore_run *run, int64_t set, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* Who names another last file, or another point to stop at, at this moment is heard first. */
	bool good = UNDER_LEASE(db, run, err, "update run set tail_set = $3::bigint where " LEASE " and last_file is not distinct from $4"
		" and stop_at is not distinct from $5::timestamp", set == 0 ? NULL : db_int(mem, set), run->last_file, date_or_null(mem, run->stop_at));

	talloc_free(mem);
	return good;
}

bool
ask_run_event(struct db *db, const char *migration, int64_t run, const char *kind, const char *text, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "insert into event(migration, run, kind, text) values($1, $2, $3, $4)", migration,
	                   run == 0 ? NULL : db_int(mem, run), kind, text);

	talloc_free(mem);
	return good;
}

bool
ask_finding(struct db *db, const char *migration, int64_t run, const char *text, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "insert into event(migration, run, kind, text) select $1, $2::bigint, 'finding', $3"
		" where not exists (select 1 from event e where e.migration = $1 and e.run = $2::bigint and e.kind = 'finding' and e.text = $3)",
		migration, db_int(mem, run), text);

	talloc_free(mem);
	return good;
}

static bool
move_online(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, bool *moved, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err, "update run set state = 'online', failure = null, recovered_at = now(), users_done = true where " LEASE
		" and state = $3", db_int(mem, run->id), db_int(mem, run->token), run->state))
		return false;
	*moved = rows_affected(r) == 1;
	return true;
}

bool
ask_move(struct db *db, struct restore_run *run, const char *to, const char *text, const char *failure, bool *moved, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	/* In one statement: a log that comes moves its run twice. A rehearsal goes to RECOVERY by itself: not by a plan that a person has
	 * changed since. */
	bool good = DB_ASK_OFTEN(db, mem, &r, err, SOON ", moved as (update run set state = $4, failure = $5 from hurry where " IS_SOON " and " LEASE " and state = $3"
		"  and ($4 <> 'recovering' or replanned = $7::int) returning id, migration) insert into event(migration, run, kind, text) select m.migration, m.id, $4, $6 from moved m", db_int(mem, run->id),
		db_int(mem, run->token), run->state, to, failure, text, db_int(mem, run->replanned));

	*moved = good && rows_affected(r) == 1;
	talloc_free(mem);
	if (*moved)
		run->state = to;
	return good;
}

bool
ask_online(struct db *db, struct restore_run *run, bool *moved, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good;

	*moved = false;
	good = db_begin(db, err);
	if (good) {
		good = move_online(db, mem, run, moved, err) && (!*moved || ask_run_event(db, run->migration, run->id, "online", "the primary is ONLINE", err)) &&
		       (!*moved || DB_ASK(db, mem, NULL, err, "insert into verification(run) values($1)", db_int(mem, run->id)));
		if (good)
			good = db_commit(db, err);
		else
			db_rollback(db);
	}
	if (good && *moved)
		run->state = "online";
	talloc_free(mem);
	return good;
}

bool
ask_dropped(struct db *db, const struct restore_run *run, const char *left, struct err *err)
{
	/* A restart in the middle of a cutover goes on with it; after a drop or a backout it has to be said again. */
	return UNDER_LEASE(db, run, err, "with gone as (update run set chain = chain + 1,"
		"  state = case when drop_asked = 'restart' and cutover_at is not null and backed_out is null then 'cutover' else 'waiting' end,"
		"  cutover_at = case when drop_asked = 'restart' and backed_out is null then cutover_at end,"
		"  last_file = case when drop_asked = 'restart' and backed_out is null then last_file end,"
		"  tail_set = case when drop_asked = 'restart' and backed_out is null then tail_set end,"
		"  drop_asked = null, break_off = false, drop_said = 'the copy is gone' || coalesce(', but ' || $3, ''), recover_asked = null, recovered_at = null,"
		"  users_done = false, verdict = null, failure = null, plan = null, stop_lsn = null where " LEASE " and drop_asked is not null returning *),"
		" steps as (update step s set state = 'done', said = 'judged by what the server has', finished_at = now() from gone g"
		"  where s.run = g.id and s.chain = g.chain - 1 and s.kind = 'drop' and s.state <> 'done'),"
		" replicas as (update run_replica x set state = 'absent', redo_start_lsn = null, redo_fork = null, last_set = null, last_stop = null,"
		"   asked_at = now() from gone g"
		"  where x.run = g.id and (x.left_out is null or $3::text is null))"
		" insert into event(migration, run, kind, text, data) select g.migration, g.id, 'dropped',"
		"  'the copy ' || g.target_database || ' was thrown away, asked by ' || coalesce(g.drop_by, '?') || coalesce('; but ' || $3, ''),"
		"  jsonb_build_object('chain', g.chain) from gone g", left);
}

bool
ask_drop_refused(struct db *db, const struct restore_run *run, const char *why, struct err *err)
{
	return UNDER_LEASE(db, run, err, "with kept as (update run set drop_asked = null, break_off = false, drop_said = $3 where " LEASE
		" and drop_asked is not null returning *) insert into event(migration, run, kind, text) select k.migration, k.id, 'not-dropped',"
		" 'the copy ' || k.target_database || ' was not thrown away: ' || $3 from kept k", why);
}

/* ---- clusters -------------------------------------------------------------------------------------------------------- */

bool
ask_replica_is(struct db *db, const char *cluster, const char *replica, int ordinal, const char *state, const char *said,
               const char *server_version, int database_version, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err,
		"insert into replica(cluster, name, ordinal, state, said, server_version, database_version, seen_at)"
		" values($1, $2, $3, $4, $5, $6, $7::int, case when $4 = 'up' then now() end)"
		" on conflict (cluster, name) do update set state = excluded.state, said = excluded.said,"
		"  server_version = coalesce(excluded.server_version, replica.server_version),"
		"  database_version = coalesce(excluded.database_version, replica.database_version),"
		"  seen_at = coalesce(excluded.seen_at, replica.seen_at)", cluster, replica, db_int(mem, ordinal), state, said, server_version,
		database_version == 0 ? NULL : db_int(mem, database_version));

	talloc_free(mem);
	return good;
}

bool
ask_cluster_version(struct db *db, const char *cluster, struct err *err)
{
	return DB_ASK(db, NULL, NULL, err,
		"update cluster c set database_version = v.v, updated_at = now() from (select min(database_version) v from replica where cluster = $1) v"
		" where c.name = $1 and v.v is not null and c.database_version is distinct from v.v", cluster);
}

/* ---- actions ------------------------------------------------------------------------------------------------------------ */

bool
ask_action(struct db *db, TALLOC_CTX *mem, struct restore_action *a, bool *got, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK_OFTEN(db, mem, &r, err, "select id, coalesce(run, 0), migration, kind, args, asked_by from action where state = 'asked'"
		" order by id limit 1 for update skip locked"))
		return false;
	*got = rows_count(r) == 1;
	if (*got)
		*a = (struct restore_action){ rows_int(r, 0, 0), rows_int(r, 0, 1), rows_text(r, 0, 2), rows_text(r, 0, 3), rows_text(r, 0, 4),
			rows_text(r, 0, 5) };
	return true;
}

bool
ask_action_end(struct db *db, const struct restore_action *a, const char *refusal, const char *said, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* One statement, so that no action ends without its event; and another worker may have ended it meanwhile. */
	bool good = DB_ASK(db, mem, NULL, err, "with ended as (update action set state = $2, refusal = $3, said = $4, done_at = now()"
		"  where id = $1 and state = 'asked' returning id)"
		" insert into event(migration, run, kind, text, data) select $5, $6::bigint, $7, $8, $9::jsonb from ended", db_int(mem, a->id),
		refusal == NULL ? "done" : "refused", refusal, said, a->migration, a->run == 0 ? NULL : db_int(mem, a->run), a->kind,
		talloc_asprintf(mem, "%s by %s: %s", refusal == NULL ? "asked" : "refused", a->asked_by, said), a->args);

	talloc_free(mem);
	return good;
}

bool
ask_second_wanted(struct db *db, int64_t action, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update action set needs_second = true where id = $1", db_int(mem, action));

	talloc_free(mem);
	return good;
}

bool
ask_second(struct db *db, TALLOC_CTX *mem, const char *migration, int64_t action, const char *by, enum restore_second *how,
           struct restore_action *a, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err, "select id, coalesce(run, 0), migration, kind, args, asked_by, needs_second, confirmed_by is not null,"
		" asked_at < now() - make_interval(mins => $3::int) from action where id = $1 and migration = $2 for update", db_int(mem, action), migration,
		db_int(mem, SECOND_MINUTES)))
		return false;
	*how = rows_count(r) == 0 ? SECOND_NONE : !rows_bool(r, 0, 6) ? SECOND_WAITS_NOT : rows_bool(r, 0, 7) ? SECOND_DONE : rows_bool(r, 0, 8) ? SECOND_LATE
	       : strcmp(rows_text(r, 0, 5), by) == 0 ? SECOND_SAME : SECOND_MAY;
	if (*how == SECOND_MAY)
		*a = (struct restore_action){ rows_int(r, 0, 0), rows_int(r, 0, 1), rows_text(r, 0, 2), rows_text(r, 0, 3), rows_text(r, 0, 4),
			talloc_asprintf(mem, "%s, confirmed by %s", rows_text(r, 0, 5), by) };
	return true;
}

bool
ask_second_gave(struct db *db, int64_t action, const char *by, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update action set confirmed_by = $2 where id = $1", db_int(mem, action), by);

	talloc_free(mem);
	return good;
}

bool
ask_action_runs(struct db *db, TALLOC_CTX *mem, const struct restore_action *a, struct restore_run **runs, size_t *n, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err, "select " RUN_COLUMNS " from run r join migration m on m.id = r.migration where r.migration = $1"
		" and ($2::bigint = 0 or r.id = $2::bigint) order by r.id for update of r", a->migration, db_int(mem, a->run)))
		return false;
	*n = rows_count(r);
	*runs = talloc_zero_array(mem, struct restore_run, *n + 1);
	for (size_t i = 0; i < *n; i++)
		read_run(mem, r, i, &(*runs)[i]);
	return true;
}

static bool
change_run(struct db *db, int64_t run, const char *sql, const char *param, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = db_ask(db, mem, NULL, err, sql, param == NULL && strstr(sql, "$2") == NULL ? 1 : 2,
	                   (const char *const[]){ db_int(mem, run), param });

	talloc_free(mem);
	return good;
}

bool
ask_hold(struct db *db, int64_t run, const char *reason, struct err *err)
{
	return change_run(db, run, "update run set hold = $2, wants_slot = false, next_try = now() where id = $1", reason, err);
}

/* The run's row before the statement decides everywhere: Postgres evaluates each SET with the old values. */
#define BACK "backed_out is not null and recovered_at is null"

bool
ask_go_on(struct db *db, int64_t run, struct err *err)
{
	return change_run(db, run, "with anew as (update step set tries = 0, cut_off = 0, not_before = null where run = $1 and state <> 'done'"
		"   and exists (select 1 from run r where r.id = $1 and r.cancelled_at is not null)),"
		" waivers as (update upload u set waived_tail = false from run r where r.id = $1 and r.backed_out is not null and r.recovered_at is null"
		"   and u.migration = r.migration and u.waived_tail)"
		" update run r set hold = null, cancelled_at = null, break_off = false, wants_slot = false, next_try = now(), backed_out = null, backed_out_at = null,"
		" void_until = case when " BACK " then greatest(void_until, (select max(b.last_lsn) from backup_set b where b.migration = r.migration"
		"   and b.kind = 'log' and b.family_guid = coalesce((select m.family_guid from migration m where m.id = r.migration), b.family_guid)"
		"   and (b.flags & 256 <> 0 or b.id = r.tail_set))) else void_until end,"
		" state = case when " BACK " and state in ('cutover', 'recovering') then case when exists (select 1 from step s where s.run = r.id"
		"   and s.chain = r.chain and s.state = 'done' and s.backup_set is not null) then 'restoring' else 'waiting' end else state end,"
		" cutover_at = case when not (" BACK ") then cutover_at end, last_file = case when not (" BACK ") then last_file end,"
		" tail_set = case when not (" BACK ") then tail_set end, recover_asked = case when not (" BACK ") then recover_asked end,"
		" stop_at = case when not (" BACK ") then stop_at end, stop_reason = case when not (" BACK ") then stop_reason end,"
		" stop_asked = case when not (" BACK ") then stop_asked end, stop_by = case when not (" BACK ") then stop_by end,"
		" stop_lsn = case when not (" BACK ") then stop_lsn end,"
		" clock_started = case when not (" BACK ") then clock_started end, clock_stopped = case when not (" BACK ") then clock_stopped end"
		" where id = $1", NULL, err);
}

/* Who stops a run wants its copy kept: a restart that waits for the statement that runs is withdrawn. */
#define NO_RESTART " drop_asked = case when drop_asked = 'restart' then null else drop_asked end,"

bool
ask_cancel(struct db *db, int64_t run, const char *hold, bool now, struct err *err)
{
	return change_run(db, run, now ? "update run set hold = $2, cancelled_at = coalesce(cancelled_at, now()), break_off = true, wants_slot = false,"
		NO_RESTART " next_try = now() where id = $1" : "update run set hold = $2, cancelled_at = coalesce(cancelled_at, now()), wants_slot = false,"
		NO_RESTART " next_try = now() where id = $1", hold, err);
}

bool
ask_drop(struct db *db, int64_t run, const char *what, const char *by, const char *hold, bool now, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "with anew as (update step set tries = 0, cut_off = 0, not_before = null where run = $1 and kind = 'drop'"
		"  and state <> 'done') update run set drop_asked = $2, drop_by = $3, drop_said = null, break_off = $5::boolean,"
		" hold = coalesce(hold, $4), cancelled_at = case when $4::text is null then cancelled_at else coalesce(cancelled_at, now()) end,"
		" wants_slot = false, next_try = now() where id = $1", db_int(mem, run), what, by, hold, db_bool(now));

	talloc_free(mem);
	return good;
}

bool
ask_doing(struct db *db, int64_t run, struct restore_doing *doing, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "select coalesce(bool_or(s.state = 'running'), false),"
		" coalesce(bool_or(s.kind = 'recovery' and s.state in ('running', 'done')), false)"
		" from step s join run r on r.id = s.run and r.chain = s.chain where s.run = $1", db_int(mem, run));

	*doing = good ? (struct restore_doing){ rows_bool(r, 0, 0), rows_bool(r, 0, 1) } : (struct restore_doing){ 0 };
	talloc_free(mem);
	return good;
}

static const char *
text_or_null(TALLOC_CTX *mem, const struct rows *r, int col)
{
	return rows_is_null(r, 0, col) ? NULL : talloc_strdup(mem, rows_text(r, 0, col));
}

bool
ask_backout_facts(struct db *db, TALLOC_CTX *mem, int64_t run, struct run_sheet_facts *f, struct err *err)
{
	struct rows *r = NULL, *after = NULL;
	const char *id = db_int(mem, run);

	/* The tail: the one that was recognised, or the newest log that says that the source stopped with it. */
	if (!DB_ASK(db, mem, &r, err, "select r.migration, r.target_database, m.database_name, r.recovered_at is not null or exists (select 1 from step s"
		"  where s.run = r.id and s.chain = r.chain and s.kind = 'recovery' and s.state in ('running', 'done')), r.clock_started is not null,"
		" t.database_name, t.server_name, coalesce(t.flags & 256, 0) <> 0, to_char(t.finished, 'YYYY-MM-DD\"T\"HH24:MI:SS'),"
		" (select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = t.id),"
		" (select s.server_name from backup_set s where s.migration = r.migration and s.kind = 'full' and s.family_guid = coalesce(m.family_guid,"
		"   s.family_guid) order by s.last_lsn desc limit 1), m.intake->>'agent_url', m.intake->>'portal_url', t.last_lsn::text,"
		" (select b.database_name from backup_set b where b.migration = r.migration and b.kind = 'full' and b.family_guid = coalesce(m.family_guid,"
		"   b.family_guid) order by b.last_lsn desc limit 1)"
		" from run r join migration m on m.id = r.migration left join lateral (select b.* from backup_set b where b.migration = r.migration"
		"  and (b.id = r.tail_set or (r.tail_set is null and b.kind = 'log' and b.flags & 256 <> 0"
		"   and b.family_guid = coalesce(m.family_guid, b.family_guid) and b.last_lsn > coalesce(r.void_until, 0)))"
		"  order by b.last_lsn desc limit 1) t on true where r.id = $1", id))
		return false;
	*f = (struct run_sheet_facts){ .migration = text_or_null(mem, r, 0), .target_database = text_or_null(mem, r, 1),
		.database = text_or_null(mem, r, 5) != NULL ? text_or_null(mem, r, 5) : text_or_null(mem, r, 14) != NULL ? text_or_null(mem, r, 14)
		            : text_or_null(mem, r, 2),
		.recovered = rows_bool(r, 0, 3), .clock = rows_bool(r, 0, 4),
		.server = text_or_null(mem, r, 6) != NULL ? text_or_null(mem, r, 6) : text_or_null(mem, r, 10), .tail_norecovery = rows_bool(r, 0, 7),
		.tail_finished = text_or_null(mem, r, 8), .tail = text_or_null(mem, r, 9), .agent_url = text_or_null(mem, r, 11),
		.portal_url = text_or_null(mem, r, 12) };
	if (f->tail == NULL)
		return true;
	if (!DB_ASK(db, mem, &after, err, "select distinct u.name from backup_set b join media_family f on f.backup_set = b.id join upload u on u.id = f.upload"
		" and u.state = 'arrived' where b.migration = $1 and b.last_lsn > $2::numeric order by 1", f->migration, rows_text(r, 0, 13)))
		return false;
	f->n_after = rows_count(after);
	f->after = talloc_zero_array(mem, const char *, f->n_after + 1);
	for (size_t i = 0; i < f->n_after; i++)
		f->after[i] = rows_text(after, i, 0);
	return true;
}

bool
ask_backout(struct db *db, int64_t run, const char *reason, const char *hold, const char *sheet, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update run set backed_out = $2, backed_out_at = now(), hold = $3, run_sheet = $4::jsonb,"
		" cancelled_at = coalesce(cancelled_at, now()), wants_slot = false, drop_asked = null, next_try = now(),"
		" clock_stopped = case when clock_started is null then clock_stopped else coalesce(clock_stopped, now()) end where id = $1",
		db_int(mem, run), reason, hold, sheet);

	talloc_free(mem);
	return good;
}

#define SETS_OF_FILE "select distinct f.backup_set id from upload u join media_family f on f.upload = u.id where u.migration = $1 and u.name = $2" \
	" and u.state = 'arrived' and u.version = (select max(v.version) from upload v where v.migration = $1 and v.name = $2 and v.state = 'arrived')"

/* The runs are locked: a worker begins no statement meanwhile, and none after it by an older plan. */
static bool
replan(struct db *db, const char *migration, struct err *err)
{
	return DB_ASK(db, NULL, NULL, err, "update run set replanned = replanned + 1, wants_slot = false, next_try = now() where migration = $1", migration);
}

bool
ask_skip(struct db *db, const struct restore_action *a, const char *file, const char *reason, enum restore_skip *how, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = replan(db, a->migration, err) && DB_ASK(db, mem, &r, err, "with sets as (" SETS_OF_FILE ") select (select count(*) from sets),"
		" exists (select 1 from step s join run r on r.id = s.run and r.chain = s.chain join sets x on x.id = s.backup_set"
		"  where r.migration = $1 and s.state in ('done', 'running')),"
		" exists (select 1 from run r join sets x on x.id = r.tail_set where r.migration = $1)", a->migration, file);

	if (good) {
		*how = rows_int(r, 0, 0) == 0 ? SKIP_NOT_FOUND : rows_bool(r, 0, 1) ? SKIP_RESTORED : rows_bool(r, 0, 2) ? SKIP_TAIL : SKIP_DONE;
		if (*how == SKIP_DONE)
			good = DB_ASK(db, mem, NULL, err, "insert into skipped(backup_set, reason, skipped_by) select x.id, $3, $4 from (" SETS_OF_FILE ") x"
				" on conflict (backup_set) do update set reason = excluded.reason, skipped_by = excluded.skipped_by, skipped_at = now()",
				a->migration, file, reason, a->asked_by);
	}
	talloc_free(mem);
	return good;
}

bool
ask_unskip(struct db *db, const struct restore_action *a, const char *file, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = replan(db, a->migration, err) && DB_ASK(db, mem, &r, err, "delete from skipped k using (" SETS_OF_FILE ") x where k.backup_set = x.id",
	                                                    a->migration, file);

	*found = good && rows_affected(r) > 0;
	talloc_free(mem);
	return good;
}

bool
ask_stop(struct db *db, int64_t run, const struct restore_stop *stop, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* replanned: no statement of an older plan begins after this. */
	bool good = DB_ASK(db, mem, NULL, err, "update run set stop_at = $2::timestamp, stop_asked = $3, stop_reason = $4, stop_by = $5, stop_lsn = null,"
		" tail_set = null, last_file = case when $2::timestamp is null then last_file end, replanned = replanned + 1, wants_slot = false, next_try = now()"
		" where id = $1", db_int(mem, run), date_or_null(mem, stop->at), stop->asked, stop->reason, stop->by);

	talloc_free(mem);
	return good;
}

bool
ask_past_stop(struct db *db, TALLOC_CTX *mem, int64_t run, struct bak_date stop, const char **what, struct err *err)
{
	struct rows *r = NULL;

	/* As plan_is_past_stop has it, of everything that was restored or begun; a statement that runs may end well. */
	if (!DB_ASK(db, mem, &r, err, "select coalesce((select min(u.name) from media_family f join upload u on u.id = f.upload where f.backup_set = b.id), 'a backup')"
		" || ', finished at ' || to_char(b.finished, 'YYYY-MM-DD\"T\"HH24:MI:SS') || ', is ' || case s.state when 'running' then 'being restored' else 'restored' end"
		" || coalesce(' up to ' || to_char(s.stop_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), '') || ' on ' || s.replica"
		" from step s join run r on r.id = s.run and r.chain = s.chain join backup_set b on b.id = s.backup_set"
		" join run_replica x on x.run = s.run and x.replica = s.replica and x.left_out is null"
		" where s.run = $1 and s.state in ('done', 'running') and (s.stop_at is null or s.stop_at > $2::timestamp)"
		"  and (b.finished > $2::timestamp or (b.finished = $2::timestamp and b.kind = 'log' and b.flags & 1 = 0)) order by b.finished, x.ordinal limit 1",
		db_int(mem, run), date_or_null(mem, stop)))
		return false;
	*what = rows_count(r) == 1 ? rows_text(r, 0, 0) : NULL;
	return true;
}

bool
ask_clock(struct db *db, int64_t run, bool start, struct err *err)
{
	return change_run(db, run, start ? "update run set clock_started = coalesce(clock_started, now()) where id = $1"
	                                 : "update run set clock_stopped = now() where id = $1", NULL, err);
}

bool
ask_cutover(struct db *db, int64_t run, const char *last_file, struct err *err)
{
	return change_run(db, run, "update run set state = 'cutover', cutover_at = now(), clock_started = coalesce(clock_started, now()),"
		" last_file = coalesce($2, last_file), waits_for = null, next_try = now() where id = $1", last_file, err);
}

bool
ask_last_file(struct db *db, int64_t run, const char *file, struct err *err)
{
	return change_run(db, run, "update run set last_file = $2, next_try = now() where id = $1 and tail_set is null", file, err);
}

bool
ask_is_past(struct db *db, int64_t run, int64_t set, bool *past, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "select exists (select 1 from run_replica x, backup_set s where x.run = $1 and s.id = $2"
		" and x.left_out is null and x.redo_start_lsn > s.last_lsn)", db_int(mem, run), db_int(mem, set));

	*past = good && rows_bool(r, 0, 0);
	talloc_free(mem);
	return good;
}

bool
ask_recover(struct db *db, int64_t run, struct err *err)
{
	return change_run(db, run, "update run set recover_asked = coalesce(recover_asked, now()), state = 'recovering', waits_for = null, next_try = now(),"
		" stop_lsn = case when stop_at is not null then (select x.redo_start_lsn from run_replica x where x.run = run.id order by x.ordinal limit 1) end"
		" where id = $1", NULL, err);
}

bool
ask_retry(struct db *db, int64_t run, struct err *err)
{
	return change_run(db, run, "with anew as (update step set tries = 0, cut_off = 0, not_before = null where run = $1 and state <> 'done')"
		" update run set state = case when recover_asked is not null then 'recovering' when cutover_at is not null"
		" then 'cutover' when exists (select 1 from step s where s.run = $1 and s.chain = run.chain and s.state = 'done' and s.backup_set is not null)"
		" then 'restoring' else 'waiting' end, failure = null, next_try = now() where id = $1 and state = 'failed'", NULL, err);
}

static bool
retry_now(struct db *db, int64_t run, const char *which, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, talloc_asprintf(mem, "with due as (update run set next_try = now() where id = $1 and %s returning id)"
		" , anew as (update step s set tries = 0, cut_off = 0, not_before = null from due where s.run = due.id and s.state = 'failed')"
		" select id from due", which), db_int(mem, run));

	*found = good && rows_count(r) == 1;
	talloc_free(mem);
	return good;
}

bool
ask_retry_settling(struct db *db, int64_t run, bool *found, struct err *err)
{
	return retry_now(db, run, "state in ('online', 'verified') and settled_at is null", found, err);
}

bool
ask_retry_resting(struct db *db, int64_t run, bool *found, struct err *err)
{
	return retry_now(db, run, "state in ('waiting', 'restoring', 'ready', 'cutover', 'recovering') and exists (select 1 from step s where s.run = run.id"
		" and s.chain = run.chain and s.state = 'failed')", found, err);
}

bool
ask_leave_out(struct db *db, int64_t run, const char *replica, const char *reason, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "update run_replica set left_out = $3 where run = $1 and replica = $2 and ordinal > 0",
	                   db_int(mem, run), replica, reason);

	*found = good && rows_affected(r) == 1;
	talloc_free(mem);
	return good;
}

bool
ask_accept_tail(struct db *db, const char *migration, const char *file, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "update upload u set waived_tail = true where u.migration = $1 and u.name = $2 and u.state = 'arrived'"
		" and exists (select 1 from media_family f join backup_set s on s.id = f.backup_set join migration m on m.id = s.migration"
		"  where f.upload = u.id and s.family_guid = coalesce(m.family_guid, s.family_guid))"
		/* Once a tail is recognised no other file can become it. */
		" and not exists (select 1 from run r where r.migration = $1 and r.kind = 'production' and r.tail_set is not null"
		"  and not exists (select 1 from media_family f where f.upload = u.id and f.backup_set = r.tail_set))",
		migration, file);

	*found = good && rows_affected(r) > 0;
	talloc_free(mem);
	return good;
}

bool
ask_verify_again(struct db *db, int64_t run, struct err *err)
{
	return change_run(db, run, "insert into verification(run) values($1)", NULL, err) &&
	       change_run(db, run, "update run set state = 'online' where id = $1 and state = 'verified'", NULL, err);
}
