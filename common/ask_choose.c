#include "common/ask_choose.h"

#include <string.h>

bool
ask_priority(struct db *db, int64_t run, int priority, const char *why, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update run set priority = $2::smallint, priority_why = $3 where id = $1", db_int(mem, run),
	                   db_int(mem, priority), why);

	talloc_free(mem);
	return good;
}

bool
ask_primary_may(struct db *db, const struct restore_run *run, const char *replica, enum restore_primary *may, struct err *err)
{
	static const struct { const char *word; enum restore_primary may; } words[] = {
		{ "may", PRIMARY_MAY }, { "is it", PRIMARY_IS_IT }, { "not found", PRIMARY_NOT_FOUND }, { "left out", PRIMARY_LEFT_OUT },
		{ "sent", PRIMARY_SENT }, { "begun", PRIMARY_BEGUN },
	};
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	/* A RECOVERY whose answer was lost, or that the server refused, may have happened all the same: two primaries would be the end of both. */
	bool good = DB_ASK(db, mem, &r, err, "with s as (select * from step where run = $1 and chain = $3::int)"
		" select case when not exists (select 1 from replica p where p.cluster = $4 and p.name = $2)"
		"   or (not $5::boolean and x.replica is null) then 'not found'"
		"  when exists (select 1 from s where kind = 'recovery') then 'sent' when x.ordinal = 0 then 'is it'"
		"  when x.left_out is not null then 'left out'"
		"  when $5::boolean and exists (select 1 from s where backup_set is not null) then 'begun' else 'may' end"
		" from (select 1) one left join run_replica x on x.run = $1 and x.replica = $2", db_int(mem, run->id), replica, db_int(mem, run->chain),
		run->cluster, db_bool(run->is_uat));

	for (size_t i = 0; good && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, rows_text(r, 0, 0)) == 0)
			*may = words[i].may;
	talloc_free(mem);
	return good;
}

/* The first of a run's replicas is its primary; the others keep their order. A rehearsal has one only. */
bool
ask_primary(struct db *db, const struct restore_run *run, const char *replica, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *id = db_int(mem, run->id);
	bool good = DB_ASK(db, mem, NULL, err, "update run set replanned = replanned + 1, wants_slot = false, next_try = now() where id = $1", id);

	if (good && run->is_uat)
		good = DB_ASK(db, mem, NULL, err, "update run_replica set replica = $2, state = 'unknown', redo_start_lsn = null, redo_fork = null,"
			" asked_at = null where run = $1", id, replica);
	else if (good)
		good = DB_ASK(db, mem, NULL, err, "update run_replica x set ordinal = case when x.replica = $2 then 0 when x.ordinal < chosen.ordinal"
			" then x.ordinal + 1 else x.ordinal end from (select ordinal from run_replica where run = $1 and replica = $2) chosen where x.run = $1", id,
			replica);
	talloc_free(mem);
	return good;
}

bool
ask_preflight_want(struct db *db, int64_t run, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update run set preflight_wanted = clock_timestamp(), next_try = now() where id = $1", db_int(mem, run));

	talloc_free(mem);
	return good;
}
