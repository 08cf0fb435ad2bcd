#include "common/ask_verify.h"

#include <stdlib.h>
#include <string.h>

bool
verify_worker_begin(struct db *db, const char *worker, const char *host, int pid, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err,
		"insert into worker(id, program, host, pid) values($1, 'landfall-verify', $2, $3)"
		" on conflict (id) do update set beat_at = now()", worker, host, db_int(mem, pid));

	talloc_free(mem);
	return good;
}

bool
verify_claim(struct db *db, TALLOC_CTX *mem, const char *worker, struct verify_job *job, bool *got,
             struct err *err)
{
	struct rows *r;

	*got = false;
	if (!DB_ASK(db, mem, &r, err,
		"with due as (select id from verification"
		"  where state = 'asked' or (state = 'running' and lease_until < now())"
		"  order by id limit 1 for update skip locked),"
		" taken as (update verification v set state = 'running', worker = $1,"
		"  lease_until = now() + interval '20 s', attempts = attempts + 1, started_at = now()"
		"  from due where v.id = due.id returning v.id, v.run, v.attempts)"
		" select t.id, t.run, r.migration, r.kind, m.cluster, r.target_database,"
		"  (select x.replica from run_replica x where x.run = r.id order by x.ordinal limit 1), m.intake,"
		"  (select u.manifest from upload u where u.migration = m.id and u.kind = 'manifest'"
		"    and u.manifest is not null order by u.id desc limit 1),"
		"  (select s.last_lsn from backup_set s where s.id = r.tail_set), t.attempts"
		" from taken t join run r on r.id = t.run join migration m on m.id = r.migration", worker))
		return false;
	*got = rows_count(r) == 1;
	if (*got)
		*job = (struct verify_job){ .id = rows_int(r, 0, 0), .run = rows_int(r, 0, 1),
			.migration = rows_text(r, 0, 2), .kind = rows_text(r, 0, 3), .cluster = rows_text(r, 0, 4),
			.database = rows_text(r, 0, 5), .primary = rows_text(r, 0, 6), .intake = rows_text(r, 0, 7),
			.manifest = rows_text_or_null(r, 0, 8), .recovery_lsn = rows_text_or_null(r, 0, 9),
			.attempts = (int)rows_int(r, 0, 10) };
	return true;
}

bool
verify_beat(struct db *db, const char *worker, int64_t at, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update worker set beat_at = now() where id = $1", worker) &&
	            DB_ASK(db, mem, NULL, err, "update verification set lease_until = now() + interval '20 s'"
	                   " where worker = $1 and id = $2 and state = 'running'", worker, db_int(mem, at));

	talloc_free(mem);
	return good;
}

static const char *
text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

static bool
put_check(struct db *db, TALLOC_CTX *mem, const char *id, size_t i, json_t *c, struct err *err)
{
	return DB_ASK(db, mem, NULL, err, "insert into check_result(verification, ordinal, check_id, title,"
		" result, severity, tier, expected, observed, duration_ms)"
		" values($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", id, db_int(mem, (int64_t)i), text(c, "id"),
		text(c, "title"), text(c, "result"), text(c, "severity"), text(c, "tier"), text(c, "expected"),
		text(c, "observed"), db_int(mem, json_integer_value(json_object_get(c, "duration_ms"))));
}

/* Rows of an attempt that did not end are replaced. */
static bool
put_checks(struct db *db, TALLOC_CTX *mem, const char *id, json_t *result, struct err *err)
{
	bool good = DB_ASK(db, mem, NULL, err, "delete from check_result where verification = $1", id);
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(result, "checks"), i, c)
		good = good && put_check(db, mem, id, i, c, err);
	return good;
}

/* A run with a bad verdict stays online, and its clock goes on: nobody may work with it yet. */
static bool
put_verdict(struct db *db, TALLOC_CTX *mem, const struct verify_job *job, const char *verdict,
            struct err *err)
{
	const char *run = db_int(mem, job->run);

	return DB_ASK(db, mem, NULL, err, "update run set verdict = $2,"
		" clock_stopped = case when $2 in ('verified', 'verified_with_warnings')"
		"  and clock_started is not null then coalesce(clock_stopped, now()) else clock_stopped end,"
		" state = case when state = 'online' and $2 in ('verified', 'verified_with_warnings')"
		"  then 'verified' else state end where id = $1", run, verdict) &&
	       DB_ASK(db, mem, NULL, err, "insert into event(migration, run, kind, text)"
		" values($1, $2, 'verified', $3)", job->migration, run, verdict);
}

static bool
put_all(struct db *db, TALLOC_CTX *mem, const char *worker, const struct verify_job *job, json_t *result,
        struct err *err)
{
	const char *verdict = text(result, "verdict"), *id = db_int(mem, job->id);
	char *dump = json_dumps(result, JSON_COMPACT);
	struct rows *r;
	bool good;

	if (dump == NULL)
		return err_set(err, ERR_BUG, 0, "a result that is no JSON");
	good = DB_ASK(db, mem, &r, err, "update verification set state = 'done', verdict = $3,"
		" result = $4::jsonb, product = $5, finished_at = now()"
		" where id = $1 and worker = $2 and state = 'running'", id, worker, verdict, dump,
		text(result, "product"));
	free(dump);
	if (good && rows_affected(r) != 1)
		return err_set(err, ERR_REFUSED, 0, "another worker has taken this verification over");
	return good && put_checks(db, mem, id, result, err) && put_verdict(db, mem, job, verdict, err);
}

bool
verify_done(struct db *db, const char *worker, const struct verify_job *job, json_t *result,
            struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = db_begin(db, err);

	if (good) {
		good = put_all(db, mem, worker, job, result, err);
		if (good)
			good = db_commit(db, err);
		else
			db_rollback(db);
	}
	talloc_free(mem);
	return good;
}

bool
verify_give_back(struct db *db, const char *worker, const struct verify_job *job, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update verification set state = 'asked', worker = null,"
		" lease_until = null, attempts = attempts - 1 where id = $1 and worker = $2 and state = 'running'",
		db_int(mem, job->id), worker);

	talloc_free(mem);
	return good;
}

bool
verify_failed(struct db *db, const char *worker, const struct verify_job *job, const char *why,
              struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err,
		"with ended as (update verification set state = 'failed', finished_at = now()"
		"  where id = $1 and worker = $2 and state = 'running' returning run)"
		" insert into event(migration, run, kind, text)"
		" select $3, run, 'verification-failed', $4 from ended",
		db_int(mem, job->id), worker, job->migration, why);

	talloc_free(mem);
	return good;
}
