#include "common/ask_health.h"

#define BEAT(program) "coalesce((select extract(epoch from now() - max(beat_at))::bigint from worker where program = '" program "'), -1)"

bool
ask_health(struct db *db, struct health *h, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = DB_ASK(db, mem, &r, err, "select (select max(version) from schema_migration), (extract(epoch from clock_timestamp()) * 1000)::bigint,"
		" (select count(*) from outbox where state = 'waiting'),"
		" (select count(*) from outbox where state = 'given-up' and made_at > now() - interval '1 day'),"
		" (select coalesce(extract(epoch from now() - min(made_at))::bigint, 0) from outbox where state = 'waiting'),"
		" " BEAT("landfall-restore") ", " BEAT("landfall-verify"));

	if (good)
		*h = (struct health){ .schema_version = (int)rows_int(r, 0, 0), .now_ms = rows_int(r, 0, 1), .mails_waiting = (int)rows_int(r, 0, 2),
			.mails_given_up = (int)rows_int(r, 0, 3), .mail_oldest_seconds = rows_int(r, 0, 4), .restore_beat = rows_int(r, 0, 5),
			.verify_beat = rows_int(r, 0, 6) };
	talloc_free(mem);
	return good;
}
