#include "common/ask_settle.h"

#include "common/ask_lease.h"

bool
ask_settle_past(struct db *db, TALLOC_CTX *mem, int64_t run, const char *replica, const char *refusals, struct settle_past *past,
                struct err *err)
{
	struct rows *r = NULL;

	*past = (struct settle_past){ 0 };
	if (!DB_ASK(db, mem, &r, err,
		"with s as (select * from step where run = $1 and replica = $2),"
		" j as (select finished_at from s where kind = 'group-join' and state = 'failed' and first_error = any($3::int[]))"
		" select exists (select 1 from s where kind = 'backup' and state = 'done'), exists (select 1 from s where kind = 'log-backup' and state = 'done'),"
		" exists (select 1 from j where not exists (select 1 from s where kind = 'log-catch-up' and state = 'done' and s.finished_at > j.finished_at)),"
		" exists (select 1 from s where kind = 'log-catch-up' and state = 'done'),"
		" (select $2 || ' refused ' || s.kind || ' (try ' || s.tries || '): ' || coalesce(s.said, 'it did not say why') from s"
		"  where kind in ('backup', 'group-add', 'group-join', 'log-backup', 'log-catch-up', 'group-seed') and state = 'failed'"
		"  and not_before > now() and not (kind = 'group-join' and coalesce(first_error, 0) = any($3::int[])) order by id desc limit 1),"
		" coalesce((select attempts from s where kind = 'log-backup'), 0)",
		db_int(mem, run), replica, refusals))
		return false;
	*past = (struct settle_past){ .backed_up = rows_bool(r, 0, 0), .has_log = rows_bool(r, 0, 1), .join_refused = rows_bool(r, 0, 2),
		.caught_up = rows_bool(r, 0, 3), .failed = rows_text_or_null(r, 0, 4), .logs = (int)rows_int(r, 0, 5) };
	return true;
}

/* A write under the lease that changes nothing means that the lease is lost. */
bool
ask_replica_group(struct db *db, const struct restore_run *run, const char *replica, const char *state, int64_t lag_seconds,
                  int64_t redo_kb, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "update run_replica set group_state = $4, lag_seconds = $5::bigint, redo_kb = $6::bigint, asked_at = now()"
		" where run = $1 and replica = $3 and " STEP_LEASE,
		db_int(mem, run->id), db_int(mem, run->token), replica, state, lag_seconds < 0 ? NULL : db_int(mem, lag_seconds),
		redo_kb < 0 ? NULL : db_int(mem, redo_kb)) && ask_must_change(r, err);

	talloc_free(mem);
	return good;
}

bool
ask_settled(struct db *db, const struct restore_run *run, const char *text, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = db_begin(db, err);

	if (good) {
		good = DB_ASK(db, mem, &r, err, "update run set settled_at = now(), waits_for = null where " LEASE,
		              db_int(mem, run->id), db_int(mem, run->token)) && ask_must_change(r, err) &&
		       ask_run_event(db, run->migration, run->id, "settled", text, err);
		if (good)
			good = db_commit(db, err);
		else
			db_rollback(db);
	}
	talloc_free(mem);
	return good;
}
