#include "common/ask_intake.h"

#include <string.h>

#include "common/bak.h"
#include "common/log.h"

static json_t *
ask_json(struct db *db, const char *sql, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *r;
	json_t *o = NULL;

	if (DB_ASK(db, mem, &r, err, sql) && (o = json_loads(rows_text(r, 0, 0), 0, NULL)) == NULL)
		err_set(err, ERR_BUG, 0, "an answer of Postgres is no JSON");
	talloc_free(mem);
	return o;
}

json_t *
intake_keyring(struct db *db, struct err *err)
{
	return ask_json(db, "select json_build_object('migrations', (select coalesce(json_agg(json_build_object('id', m.id, 'database', m.database_name,"
		" 'allow_encrypted', m.encryption = 'allow', 'newest_version', coalesce(c.database_version, 0), 'quota_bytes', m.quota_bytes,"
		" 'quota_files', m.quota_files)), '[]') from migration m join cluster c on c.name = m.cluster where m.ended_at is null),"
		" 'keys', (select coalesce(json_agg(json_build_object('migration', k.migration, 'type', k.type, 'blob', k.blob, 'fingerprint', k.fingerprint,"
		" 'from', to_json(k.from_list), 'expires', extract(epoch from k.expires_at)::bigint)), '[]') from key k where k.revoked_at is null),"
		" 'kicks', (select coalesce(json_agg(session), '[]') from kick where asked_at > now() - interval '1 minute'))", err);
}

json_t *
intake_standing(struct db *db, struct err *err)
{
	return ask_json(db, "select coalesce(json_object_agg(m.id, json_build_object('stage', p.state, 'hold', p.hold, 'waits_for', p.waits_for,"
		" 'gaps', coalesce(p.plan->'gaps', '[]'::jsonb), 'failure', p.failure, 'verdict', p.verdict,"
		" 'restored', (select count(distinct s.backup_set) from step s where s.run = p.id and s.state = 'done'),"
		" 'uat', (select u.state from run u where u.migration = m.id and u.kind = 'uat'))), '{}')"
		" from migration m join run p on p.migration = m.id and p.kind = 'production' where m.ended_at is null", err);
}

static const char *
text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static const char *
number(TALLOC_CTX *mem, const json_t *o, const char *key)
{
	return db_int(mem, json_integer_value(json_object_get(o, key)));
}

static bool
put_upload(struct db *db, TALLOC_CTX *mem, const json_t *rec, const char *facts, const char **id, struct err *err)
{
	const char *kind = text(rec, "kind"), *state = text(rec, "state");
	bool is_manifest = strcmp(kind, "manifest") == 0, arrived = strcmp(state, "arrived") == 0;
	const char **words = NULL;
	size_t n = 0;
	struct rows *r;
	json_t *word;

	json_array_foreach(json_object_get(rec, "findings"), n, word) {
		words = talloc_realloc(mem, words, const char *, n + 1);
		words[n] = json_string_value(word);
	}
	n = json_array_size(json_object_get(rec, "findings"));
	if (!DB_ASK_OFTEN(db, mem, &r, err,
		"insert into upload(migration, upload_key, name, state, kind, bytes, sha256, vault_path, findings, reason, inspect, manifest,"
		"  open_writer, version, arrived_at, changed_at) values($1, $2, $3, $4, $5, $6::bigint, $7, $8, $9::text[], $10, $11::jsonb, $12::jsonb,"
		"  $13::boolean, $14::int, to_timestamp($15::bigint), now())"
		" on conflict (upload_key) do update set name = excluded.name, state = excluded.state, kind = excluded.kind, bytes = excluded.bytes,"
		"  sha256 = excluded.sha256, vault_path = excluded.vault_path, findings = excluded.findings, reason = excluded.reason,"
		"  inspect = coalesce(excluded.inspect, upload.inspect), manifest = coalesce(excluded.manifest, upload.manifest),"
		"  open_writer = excluded.open_writer, version = excluded.version, arrived_at = excluded.arrived_at, changed_at = now() returning id",
		text(rec, "m"), text(rec, "key"), text(rec, "name"), state, kind, number(mem, rec, "bytes"), text(rec, "sha256"),
		arrived ? text(rec, "vault") : NULL, db_text_array(mem, words, n), text(rec, "reason"), is_manifest ? NULL : facts,
		is_manifest ? facts : NULL, db_bool(strcmp(state, "receiving") == 0), number(mem, rec, "version"),
		arrived ? number(mem, rec, "at") : NULL))
		return false;
	*id = rows_text(r, 0, 0);
	return true;
}

static bool
has_finding(const json_t *rec, const char *word)
{
	json_t *w;
	size_t i;

	json_array_foreach(json_object_get(rec, "findings"), i, w)
		if (strcmp(json_string_value(w), word) == 0)
			return true;
	return false;
}

/* A finding without a bad page is of the file's own structure: then no set in it is sound. */
static bool
is_damaged_throughout(const json_t *rec, const json_t *facts)
{
	json_t *set;
	size_t i;

	json_array_foreach(json_object_get(facts, "sets"), i, set)
		if (json_integer_value(json_object_get(json_object_get(set, "pages"), "bad")) > 0)
			return false;
	return has_finding(rec, "damaged-page");
}

/* The columns are taken out of the reader's own object; names are those of RESTORE HEADERONLY. */
static bool
put_set(struct db *db, TALLOC_CTX *mem, const json_t *rec, const char *upload, json_t *facts, json_t *set, struct err *err)
{
	const char *migration = text(rec, "m");
	char *o = json_dumps(set, JSON_COMPACT), *media = json_dumps(json_object_get(facts, "media"), JSON_COMPACT);
	struct rows *r;
	bool good = DB_ASK_OFTEN(db, mem, NULL, err,
		"insert into backup_set(migration, backup_set_guid, kind, database_name, server_name, family_guid, binding_id, recovery_fork,"
		"  first_recovery_fork, fork_point_lsn, first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn, differential_base_lsn,"
		"  differential_base_guid, started, finished, database_version, compat_level, recovery_model, flags, copy_only, damaged, compressed,"
		"  backup_size, compressed_size, media_set_id, family_count, header, has_password)"
		" select $1, (s->>'BackupSetGUID')::uuid, case s->>'BackupType' when '1' then 'full' when '2' then 'log' when '4' then 'file'"
		"  when '5' then 'differential' when '6' then 'file-differential' when '7' then 'partial' when '8' then 'partial-differential'"
		"  else 'unknown' end, coalesce(s->>'DatabaseName', ''), coalesce(s->>'ServerName', ''), (s->>'FamilyGUID')::uuid,"
		"  (s->>'BindingID')::uuid, (s->>'RecoveryForkID')::uuid, coalesce(s->>'FirstRecoveryForkID', s->>'RecoveryForkID')::uuid,"
		"  (s->>'ForkPointLSN')::numeric, (s->>'FirstLSN')::numeric, (s->>'LastLSN')::numeric,"
		"  coalesce((s->>'CheckpointLSN')::numeric, 0), (s->>'DatabaseBackupLSN')::numeric, (s->>'DifferentialBaseLSN')::numeric,"
		"  (s->>'DifferentialBaseGUID')::uuid, (s->>'BackupStartDate')::timestamp, (s->>'BackupFinishDate')::timestamp,"
		"  (s->>'DatabaseVersion')::int, (s->>'CompatibilityLevel')::int, coalesce(s->>'RecoveryModel', ''), (s->>'Flags')::int,"
		"  coalesce((s->>'IsCopyOnly')::boolean, false),"
		"  coalesce((s->>'IsDamaged')::boolean, false),"
		"  coalesce((s->>'Compressed')::boolean, false), coalesce((s->>'BackupSize')::bigint, 0),"
		"  coalesce((s->>'CompressedBackupSize')::bigint, 0), (m->>'MediaSetId')::uuid, greatest(1, (m->>'FamilyCount')::int), s,"
		"  $4::boolean"
		" from (select $2::jsonb s, $3::jsonb m) x on conflict do nothing", migration, o, media,
		db_bool(has_finding(rec, "media-password"))) &&
		DB_ASK_OFTEN(db, mem, &r, err, "select id from backup_set where migration = $1 and backup_set_guid = ($2::jsonb->>'BackupSetGUID')::uuid",
		       migration, o) && rows_count(r) == 1 &&
		DB_ASK_OFTEN(db, mem, NULL, err, "insert into media_family(backup_set, upload, family_number, position, damaged)"
		" values($1, $2, greatest(1, ($3::jsonb->>'FamilySequenceNumber')::int), greatest(1, ($4::jsonb->>'Position')::int),"
		"  $5::boolean or coalesce(($4::jsonb->'pages'->>'bad')::bigint, 0) > 0) on conflict do nothing",
		rows_text(r, 0, 0), upload, media, o, db_bool(is_damaged_throughout(rec, facts))) &&
		DB_ASK_OFTEN(db, mem, NULL, err, "insert into backup_file(backup_set, file_id, type, logical_name, physical_name, size_bytes)"
		" select $1::bigint, (f->>'FileId')::int, f->>'Type', coalesce(f->>'LogicalName', ''), coalesce(f->>'PhysicalName', ''),"
		"  coalesce((f->>'Size')::bigint, 0) from jsonb_array_elements($2::jsonb->'files') f on conflict do nothing", rows_text(r, 0, 0), o) &&
		/* Which database of that name it is: the first full that bears the agreed one says it. */
		DB_ASK_OFTEN(db, mem, NULL, err, "update migration set family_guid = ($2::jsonb->>'FamilyGUID')::uuid where id = $1 and family_guid is null"
		" and $2::jsonb->>'BackupType' = '1' and lower(database_name) = lower($2::jsonb->>'DatabaseName')", migration, o);

	free(o);
	free(media);
	return good;
}

static bool
put_all(struct db *db, TALLOC_CTX *mem, const json_t *rec, const char *facts_text, json_t *facts, struct err *err)
{
	const char *id, *migration = text(rec, "m"), *state = text(rec, "state");
	json_t *set;
	size_t i;

	if (!put_upload(db, mem, rec, facts_text, &id, err))
		return false;
	if (strcmp(state, "arrived") == 0)
		json_array_foreach(json_object_get(facts, "sets"), i, set)
			/* No reader says more; a session that was taken over might. */
			if (i < BAK_SETS_MAX && !put_set(db, mem, rec, id, facts, set, err))
				return false;
	if (strcmp(state, "receiving") == 0)
		return true;
	return DB_ASK_OFTEN(db, mem, NULL, err, "insert into event(migration, kind, text, data) values($1, $2, $3,"
		" jsonb_build_object('journal', $4::text, 'upload', $5::text)) on conflict do nothing", migration, state,
		talloc_asprintf(mem, "%s: %s, %s bytes%s%s", text(rec, "name"), state, number(mem, rec, "bytes"),
		                text(rec, "reason") == NULL || text(rec, "reason")[0] == '\0' ? "" : ", ", text(rec, "reason") == NULL ? "" : text(rec, "reason")),
		number(mem, rec, "n"), text(rec, "key"));
}

static bool
put_record(struct db *db, TALLOC_CTX *mem, const struct intake_record *r, struct err *err)
{
	json_t *facts = r->facts == NULL ? NULL : json_loads(r->facts, 0, NULL);
	bool good = put_all(db, mem, r->record, facts == NULL ? NULL : r->facts, facts, err);

	json_decref(facts);
	return good;
}

bool
intake_uploads(struct db *db, const struct intake_record *records, size_t n, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = db_begin(db, err);

	for (size_t i = 0; good && i < n; i++) {
		good = put_record(db, mem, &records[i], err);
		if (!good)
			db_rollback(db);
		talloc_free_children(mem);
	}
	good = good && db_commit(db, err);
	talloc_free(mem);
	return good;
}

bool
intake_upload(struct db *db, const json_t *record, const char *facts, struct err *err)
{
	bool good = intake_uploads(db, &(struct intake_record){ record, facts }, 1, err);
	json_t *plain;

	/* A header may hold what no column takes (an LSN that ends before it begins, U+0000): the file is known all the same. */
	if (!good && err->kind != ERR_AGAIN && facts != NULL) {
		log_warning("what a file says of itself cannot be recorded", "error", err->text, NULL);
		plain = json_deep_copy(record);
		json_object_set_new(plain, "reason", json_string("its header holds values that cannot be; it will not be restored, send it again"));
		err_clear(err);
		good = intake_uploads(db, &(struct intake_record){ plain, NULL }, 1, err);
		json_decref(plain);
	}
	return good;
}

bool
intake_progress(struct db *db, const struct intake_progress *p, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	/* Half of the rate is the last piece's, so that it neither jumps nor lags for long. */
	bool good = DB_ASK(db, mem, NULL, err, "update upload set bytes = $2, session = $3, peer = $4, client = $5, expected = nullif($6::bigint, 0),"
		" changed_at = case when $2::bigint <> bytes or session is distinct from $3 then now() else changed_at end,"
		" rate = case when session is distinct from $3 or $2::bigint < bytes then null when now() - changed_at < interval '0.2 s' then rate else"
		"  (coalesce(rate, 0) * case when rate is null then 0 else 0.5 end + ($2::bigint - bytes) / extract(epoch from now() - changed_at)"
		"   * case when rate is null then 1 else 0.5 end)::bigint end"
		" where upload_key = $1 and state = 'receiving'", p->key, db_int(mem, p->bytes), p->session, p->peer, p->client, db_int(mem, p->expected));

	talloc_free(mem);
	return good;
}
