#include "common/schema.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/text.h"

/* Any number that no other program of the installation uses: "LFsc". */
#define LOCK "1279685475"

static int
is_schema_file(const struct dirent *d)
{
	const char *n = d->d_name;

	for (int i = 0; i < 4; i++)
		if (!isdigit((unsigned char)n[i]))
			return 0;
	return n[4] == '_' && strlen(n) > 8 && strcmp(n + strlen(n) - 4, ".sql") == 0;
}

static char *
read_all(TALLOC_CTX *mem, const char *path, struct err *err)
{
	FILE *f = fopen(path, "re");
	char *text = talloc_strdup(mem, ""), buf[8192];
	size_t n;

	if (f == NULL) {
		err_errno(err, errno, "%s", path);
		return NULL;
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text = talloc_strndup_append_buffer(text, buf, n);
	fclose(f);
	return text;
}

static void
digest(const char *text, char hex[65])
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_Digest(text, strlen(text), hash, &len, EVP_sha256(), NULL);
	text_hex(hex, hash, 32);
}

static bool
apply(struct db *db, TALLOC_CTX *mem, const char *dir, const char *name, struct schema_result *result, struct err *err)
{
	char *text = read_all(mem, talloc_asprintf(mem, "%s/%s", dir, name), err), hex[65];
	int version = atoi(name);
	struct rows *r;
	bool good;

	if (text == NULL)
		return false;
	digest(text, hex);
	if (!DB_ASK(db, mem, &r, err, "select sha256 from landfall.schema_migration where version = $1", db_int(mem, version)))
		return false;
	result->version = version;
	if (rows_count(r) == 1)
		return strcmp(rows_text(r, 0, 0), hex) == 0 ? true : err_set(err, ERR_OPERATOR, 0,
			"%s was applied before and has changed since; put it back and write a new file", name);
	if (!db_begin(db, err))
		return false;
	good = db_script(db, text, err) && DB_ASK(db, mem, NULL, err,
		"insert into landfall.schema_migration(version, name, sha256) values($1, $2, $3)", db_int(mem, version), name, hex);
	if (good)
		good = db_commit(db, err);
	else
		db_rollback(db);
	if (!good)
		return err_under(err, "%s", name);
	result->names = talloc_realloc(mem, result->names, char *, (size_t)result->applied + 1);
	result->names[result->applied++] = talloc_strdup(mem, name);
	return true;
}

/* Older files on a newer schema: these programs would ask for what is no longer there. */
static bool
is_newest(struct db *db, TALLOC_CTX *mem, int version, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select max(version) from landfall.schema_migration"))
		return false;
	return rows_int(r, 0, 0) <= version ? true : err_set(err, ERR_OPERATOR, 0,
		"the database is at schema version %s, newer than these files (%d); install the newer programs",
		rows_text(r, 0, 0), version);
}

int
schema_newest(const char *dir, struct err *err)
{
	struct dirent **list;
	int n = dir == NULL ? 0 : scandir(dir, &list, is_schema_file, alphasort), newest = 0;

	if (dir == NULL)
		err_set(err, ERR_OPERATOR, 0, "the configuration has no key schema (the folder of the schema files)");
	else if (n <= 0)
		err_errno(err, n == 0 ? ENOENT : errno, "schema files in %s", dir);
	for (int i = 0; i < n; i++) {
		newest = atoi(list[i]->d_name);
		free(list[i]);
	}
	if (dir != NULL && n >= 0)
		free(list);
	return newest;
}

static bool
apply_all(struct db *db, TALLOC_CTX *mem, const char *dir, struct schema_result *result, struct err *err)
{
	struct dirent **list;
	int n;
	bool good;

	if (dir == NULL)
		return err_set(err, ERR_OPERATOR, 0, "the configuration has no key schema (the folder of the schema files)");
	n = scandir(dir, &list, is_schema_file, alphasort);
	good = n > 0;

	if (n <= 0)
		return err_errno(err, n == 0 ? ENOENT : errno, "schema files in %s", dir);
	for (int i = 0; i < n; i++) {
		good = good && apply(db, mem, dir, list[i]->d_name, result, err);
		free(list[i]);
	}
	free(list);
	return good && is_newest(db, mem, result->version, err);
}

static bool
write_cluster(struct db *db, TALLOC_CTX *mem, const struct config_cluster *c, struct err *err)
{
	const char **names = talloc_array(mem, const char *, c->n_targets + 1);

	if (!DB_ASK(db, mem, NULL, err, "insert into landfall.cluster(name, region, slots, volume_slots) values($1, $2, $3, $4)"
		" on conflict (name) do update set region = excluded.region, slots = excluded.slots, volume_slots = excluded.volume_slots,"
		" updated_at = now()", c->name, c->region, db_int(mem, c->slots == 0 ? 2 : c->slots), db_int(mem, c->volume_slots)))
		return false;
	for (unsigned i = 0; i < c->n_targets; i++) {
		names[i] = c->targets[i].name;
		if (!DB_ASK(db, mem, NULL, err, "insert into landfall.replica(cluster, name, ordinal) values($1, $2, $3)"
			" on conflict (cluster, name) do update set ordinal = excluded.ordinal", c->name, c->targets[i].name, db_int(mem, i)))
			return false;
	}
	return DB_ASK(db, mem, NULL, err, "delete from landfall.replica where cluster = $1 and name <> all($2::text[])", c->name,
	              db_text_array(mem, names, c->n_targets));
}

static bool
write_clusters(struct db *db, TALLOC_CTX *mem, const struct config *config, struct err *err)
{
	bool good = db_begin(db, err);

	if (!good)
		return false;
	for (unsigned i = 0; good && i < config->n_clusters; i++)
		good = write_cluster(db, mem, &config->clusters[i], err);
	if (good)
		return db_commit(db, err);
	db_rollback(db);
	return false;
}

bool
schema_migrate(struct db *db, TALLOC_CTX *mem, const struct config *config, struct schema_result *result, struct err *err)
{
	bool good;

	*result = (struct schema_result){ 0 };
	good = db_script(db, "set statement_timeout = 0; select pg_advisory_lock(" LOCK "); create schema if not exists landfall;"
		" create table if not exists landfall.schema_migration(version integer primary key, name text not null, sha256 text not null,"
		" applied_at timestamptz not null default now())", err);
	good = good && apply_all(db, mem, config->schema, result, err) && write_clusters(db, mem, config, err);
	db_script(db, "select pg_advisory_unlock(" LOCK ")", &(struct err){ 0 });
	return good;
}
