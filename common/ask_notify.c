#include "common/ask_notify.h"

#include <string.h>

bool
notify_claim(struct db *db, TALLOC_CTX *mem, struct notice *n, bool *got, struct err *err)
{
	struct rows *r = NULL;

	*got = false;
	if (!DB_ASK(db, mem, &r, err, "with mine as (update outbox set attempts = attempts + 1, next_try = now() + interval '5 min' where id ="
		" (select id from outbox where state = 'waiting' and next_try <= now() order by id limit 1 for update skip locked) returning *)"
		" select o.id, o.event, o.attempts, o.target, e.kind, e.text, coalesce(e.migration, ''), coalesce(m.database_name, ''),"
		" coalesce(m.intake->>'contact_name', ''), coalesce(u.name, ''), coalesce(u.reason, ''), coalesce(to_json(u.findings), '[]')"
		" from mine o join event e on e.seq = o.event left join migration m on m.id = e.migration"
		" left join upload u on u.upload_key = (e.data->>'upload')::uuid"))
		return false;
	if (rows_count(r) == 0)
		return true;
	*got = true;
	*n = (struct notice){ rows_int(r, 0, 0), rows_int(r, 0, 1), (int)rows_int(r, 0, 2), rows_text(r, 0, 3), rows_text(r, 0, 4), rows_text(r, 0, 5),
		rows_text(r, 0, 6), rows_text(r, 0, 7), rows_text(r, 0, 8), rows_text(r, 0, 9), rows_text(r, 0, 10), json_loads(rows_text(r, 0, 11), 0, NULL) };
	return true;
}

bool
notify_end(struct db *db, const struct notice *n, const char *said, bool for_good, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "update outbox set said = $2, state = case when $2::text is null then 'sent'"
		"  when $3::boolean or now() - made_at > interval '1 day' then 'given-up' else 'waiting' end,"
		" next_try = now() + least(interval '30 s' * power(2, least(attempts, 10)), interval '2 hours') where id = $1", db_int(mem, n->id), said,
		db_bool(for_good));

	talloc_free(mem);
	return good;
}

json_t *
notify_list(struct db *db, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	json_t *o = NULL;

	if (DB_ASK(db, mem, &r, err, "select coalesce(json_agg(json_build_object('id', o.id, 'migration', o.migration, 'kind', o.kind, 'target', o.target,"
		" 'state', o.state, 'attempts', o.attempts, 'said', o.said, 'at', to_char(o.at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
		" 'next_try', case when o.state = 'waiting' then to_char(o.next_try at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') end)"
		" order by o.id desc), '[]') from (select o.*, e.migration, e.kind, e.at from outbox o join event e on e.seq = o.event"
		"  order by o.id desc limit 500) o"))
		o = json_loads(rows_text(r, 0, 0), 0, NULL);
	talloc_free(mem);
	return o;
}

bool
notify_retry(struct db *db, int64_t id, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "update outbox set state = 'waiting', next_try = now(), made_at = now() where id = $1 and state <> 'sent'"
		" returning id", db_int(mem, id));

	*found = good && rows_count(r) == 1;
	talloc_free(mem);
	return good;
}

bool
notify_test(struct db *db, const char *target, int64_t *id, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "with e as (insert into event(kind, text) values('test', 'a test message was asked for') returning seq)"
		" insert into outbox(event, target) select seq, $1 from e returning id", target);

	if (good)
		*id = rows_int(r, 0, 0);
	talloc_free(mem);
	return good;
}

bool
notify_state(struct db *db, TALLOC_CTX *mem, int64_t id, const char **state, const char **said, struct err *err)
{
	struct rows *r = NULL;

	if (!DB_ASK(db, mem, &r, err, "select state, coalesce(said, '') from outbox where id = $1", db_int(mem, id)))
		return false;
	*state = rows_count(r) == 1 ? rows_text(r, 0, 0) : "given-up";
	*said = rows_count(r) == 1 ? rows_text(r, 0, 1) : "it is gone";
	return true;
}
