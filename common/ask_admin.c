#include "common/ask_admin.h"

#include <ctype.h>
#include <string.h>

bool
ask_cluster(struct db *db, TALLOC_CTX *mem, const char *name, bool *found, const char **region, int *version, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select region, coalesce(database_version, 0) from cluster where name = $1", name))
		return false;
	*found = rows_count(r) == 1;
	*region = *found ? rows_text(r, 0, 0) : NULL;
	*version = *found ? (int)rows_int(r, 0, 1) : 0;
	return true;
}

/* "Contoso Tickets!" -> contoso_tickets: nothing a customer wrote becomes a name on the target. */
static char *
slug(TALLOC_CTX *mem, const char *name)
{
	char *s = talloc_strdup(mem, name), *out = s;

	for (const char *p = name; *p != '\0' && out - s < 40; p++) {
		if (isalnum((unsigned char)*p) && (unsigned char)*p < 128)
			*out++ = (char)tolower((unsigned char)*p);
		else if (out > s && out[-1] != '_')
			*out++ = '_';
	}
	while (out > s && out[-1] == '_')
		out--;
	*out = '\0';
	return s[0] == '\0' ? talloc_strdup(mem, "db") : s;
}

static bool
make_run(struct db *db, TALLOC_CTX *mem, const char *id, const char *kind, const char *database, bool all_replicas, struct err *err)
{
	struct rows *r;

	return DB_ASK(db, mem, &r, err, "insert into run(migration, kind, target_database) values($1, $2, $3) returning id", id, kind, database) &&
	       DB_ASK(db, mem, NULL, err, "insert into run_replica(run, replica, ordinal) select $1::bigint, r.name, r.ordinal from replica r"
		" join migration m on m.cluster = r.cluster where m.id = $2 and ($3::boolean or r.ordinal = 0)", rows_text(r, 0, 0), id,
		db_bool(all_replicas));
}

static bool
create(struct db *db, TALLOC_CTX *mem, const struct admin_migration *m, const char **id, struct err *err)
{
	struct rows *r;
	const char *name;

	if (!DB_ASK(db, mem, &r, err, "insert into migration(customer, region, cluster, database_name, encryption, intake)"
		" values($1, $2, $3, $4, $5, $6::jsonb) returning id", m->customer, m->region, m->cluster, m->database, m->encryption, m->intake))
		return false;
	*id = rows_text(r, 0, 0);
	name = talloc_asprintf(mem, "%s_%s", slug(mem, m->database), *id + 2);
	return make_run(db, mem, *id, "production", name, true, err) &&
	       (!m->with_uat || make_run(db, mem, *id, "uat", talloc_asprintf(mem, "%s_uat", name), false, err)) &&
	       DB_ASK(db, mem, NULL, err, "insert into event(migration, kind, text) values($1, 'created', 'the migration was created')", *id);
}

bool
ask_migration_create(struct db *db, TALLOC_CTX *mem, const struct admin_migration *m, const char **id, struct err *err)
{
	if (!db_begin(db, err))
		return false;
	if (create(db, mem, m, id, err))
		return db_commit(db, err);
	db_rollback(db);
	return false;
}

bool
ask_migration_exists(struct db *db, const char *id, bool *found, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r;
	bool good = DB_ASK(db, mem, &r, err, "select 1 from migration where id = $1", id);

	*found = good && rows_count(r) == 1;
	talloc_free(mem);
	return good;
}

bool
ask_event(struct db *db, const char *migration, const char *kind, const char *text, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "insert into event(migration, kind, text) values($1, $2, $3)", migration, kind, text);

	talloc_free(mem);
	return good;
}

bool
ask_kick(struct db *db, const char *migration, const char *session, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = DB_ASK(db, mem, NULL, err, "insert into kick(session) values($1)", session) &&
	            ask_event(db, migration, "kick", talloc_asprintf(mem, "session %s is to be ended", session), err);

	talloc_free(mem);
	return good;
}

bool
ask_run_id(struct db *db, const char *migration, const char *kind, int64_t *run, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r;
	bool good = DB_ASK(db, mem, &r, err, "select id from run where migration = $1 and kind = $2", migration, kind);

	*run = good && rows_count(r) == 1 ? rows_int(r, 0, 0) : 0;
	talloc_free(mem);
	return good;
}

bool
ask_key_add(struct db *db, const char *migration, const struct admin_key *k, bool *added, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r;
	bool good = DB_ASK(db, mem, &r, err, "insert into key(migration, type, blob, comment, fingerprint, from_list, expires_at)"
		" values($1, $2, $3, $4, $5, $6::text[], $7::timestamptz) on conflict (migration, fingerprint) where revoked_at is null do nothing"
		" returning id", migration, k->type, k->blob, k->comment, k->fingerprint, db_text_array(mem, k->from, k->n_from), k->expires);

	*added = good && rows_count(r) == 1;
	talloc_free(mem);
	return good;
}

bool
ask_key_revoke(struct db *db, const char *migration, const char *fingerprint, int *revoked, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r;
	bool good = DB_ASK(db, mem, &r, err, "update key set revoked_at = now() where migration = $1 and fingerprint = $2 and revoked_at is null",
	                   migration, fingerprint);

	*revoked = good ? rows_affected(r) : 0;
	talloc_free(mem);
	return good;
}

bool
ask_action_new(struct db *db, const char *migration, int64_t run, const char *kind, const char *args, const char *key, int64_t *id, bool *same,
               struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r = NULL;
	bool good = true;

	*id = 0;
	*same = false;
	/* Who asks under the same key at the same moment is seen the second time. */
	for (int i = 0; i < 2 && good && *id == 0; i++) {
		good = DB_ASK(db, mem, &r, err, "with anew as (insert into action(migration, run, kind, args, idempotency_key)"
			"  values($1, $2::bigint, $3, $4::jsonb, coalesce($5::uuid, gen_random_uuid())) on conflict (idempotency_key) do nothing returning id)"
			" select id, true from anew union all select a.id, a.migration = $1 and a.run is not distinct from $2::bigint and a.kind = $3"
			"  and a.args = $4::jsonb from action a where a.idempotency_key = $5::uuid and not exists (select 1 from anew)", migration,
			run == 0 ? NULL : db_int(mem, run), kind, args, key);
		if (good && rows_count(r) == 1) {
			*id = rows_int(r, 0, 0);
			*same = rows_bool(r, 0, 1);
		}
	}
	talloc_free(mem);
	return good && *id == 0 ? err_set(err, ERR_AGAIN, 0, "another act under this key is just being asked") : good;
}

bool
ask_action_state(struct db *db, TALLOC_CTX *mem, int64_t id, const char **state, const char **said, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select coalesce(refusal, state), coalesce(said, '') from action where id = $1", db_int(mem, id)))
		return false;
	*state = rows_count(r) == 1 ? rows_text(r, 0, 0) : "conflict";
	*said = rows_count(r) == 1 ? rows_text(r, 0, 1) : "the action is gone";
	return true;
}
