#include "restore/preflight.h"

#include <stdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ask_preflight.h"
#include "common/clock.h"
#include "common/compare.h"
#include "common/log.h"
#include "common/preflight.h"
#include "common/text.h"
#include "common/tsql.h"
#include "restore/run.h"

enum {
	QUESTION_SECONDS = 30, HEADER_SECONDS = 300, /* a header is at the front of a file, its other sets may be far behind */
	AGAIN_SECONDS = 60, RARELY_SECONDS = 600,    /* before anything is restored, and after */
	KEPT_MS = 60000,
	COMPARE_MS = 1000,                           /* of one visit; the lanes compare the rest as they come to it */
	COMPARE_SETS = 32,
	SETS_MAX = 200,                              /* whose headers are judged at once */
};

/* ---- rows as JSON and as values -------------------------------------------------------------------------- */

/* What Postgres and JSON take: words that were cut in the middle of a character, or never were text, are escaped. */
static const char *
as_utf8(TALLOC_CTX *mem, const char *s)
{
	return text_is_utf8(s, strlen(s)) ? s : text_escaped(mem, s);
}

static json_t *
rows_json(TALLOC_CTX *mem, const struct mssql_rows *rows)
{
	json_t *list = json_array();

	for (size_t i = 0; i < mssql_rows_count(rows); i++) {
		json_t *o = json_object();

		for (int c = 0; c < mssql_rows_columns(rows); c++) {
			const char *v = mssql_rows_value(rows, i, c);

			json_object_set_new(o, mssql_rows_name(rows, c), v == NULL ? json_null() : json_string(as_utf8(mem, v)));
		}
		json_array_append_new(list, o);
	}
	return list;
}

static int
number(const struct mssql_rows *rows, const char *name)
{
	const char *v = mssql_rows_named(rows, 0, name);

	return v == NULL ? 0 : atoi(v);
}

static enum preflight_answer
answer(const struct mssql_rows *rows, const char *name)
{
	const char *v = mssql_rows_named(rows, 0, name);

	return v == NULL ? PREFLIGHT_UNKNOWN : atoi(v) != 0 ? PREFLIGHT_YES : PREFLIGHT_NO;
}

/* NULL when the server does not answer it: older, or not for us. */
static struct mssql_rows *
ask(struct mssql *ms, TALLOC_CTX *mem, const char *sql)
{
	struct mssql_rows *rows = NULL;
	struct err err = { 0 };

	return mssql_is_dead(ms) || !mssql_run(ms, mem, sql, &rows, NULL, NULL, NULL, &err) ? NULL : rows;
}

/* ---- comparison -------------------------------------------------------------------------------------------- */

/* "{3,5}", as Postgres prints it. */
static char *
uploads_of(TALLOC_CTX *mem, const struct lane *lane, const struct plan_set *set)
{
	const struct chain_file *files = chain_files(lane->chain, set);
	char *s = talloc_strdup(mem, "{");

	for (size_t i = 0; i < set->n_files; i++)
		s = talloc_asprintf_append(s, "%s%lld", i == 0 ? "" : ",", (long long)files[i].upload);
	return talloc_strdup_append(s, "}");
}

/* Reads header and file list of the first stripe: each tells of the whole set. */
static bool
read_there(struct lane *lane, struct mssql *ms, TALLOC_CTX *mem, const struct plan_set *set, struct mssql_rows **headers, struct mssql_rows **files,
           struct mssql_outcome *o, struct err *err)
{
	const struct chain_file *f = chain_files(lane->chain, set);
	const char *path = tsql_backup_path(mem, lane->cluster->backup_path.theirs, f[0].vault_path);
	bool good;

	mssql_limit(ms, HEADER_SECONDS);
	good = mssql_run(ms, mem, tsql_header(mem, path), headers, o, NULL, NULL, err) &&
	       mssql_run(ms, mem, tsql_file_list(mem, path, f[0].position), files, o, NULL, NULL, err);
	mssql_limit(ms, 0);
	return good;
}

static enum preflight_outcome
keep_refusal(struct lane *lane, struct db *db, TALLOC_CTX *mem, struct restore_comparison *c, const struct mssql_outcome *o, char **why, int *again_ms,
             struct err *err)
{
	int rest = run_patience(run_remedy(o->first_error), 1);

	c->state = "refused";
	c->number = o->first_error;
	c->said = as_utf8(mem, o->said);
	*why = talloc_asprintf(mem, "%s cannot read %s: message %d, %s", lane->replica, c->file, c->number, c->said);
	*again_ms = rest > 0 ? rest : KEPT_MS;
	err_clear(err);
	return ask_comparison_keep(db, &lane->run, lane->replica, c, err) ? PREFLIGHT_REFUSED : PREFLIGHT_FAILED;
}

static enum preflight_outcome
keep_result(struct lane *lane, struct db *db, TALLOC_CTX *mem, struct restore_comparison *c, const struct compare_result *r, char **why, struct err *err)
{
	json_t *list = compare_json(r);
	char *text = json_dumps(list, JSON_COMPACT);
	bool good;

	c->state = r->stops ? "stops" : r->n > 0 ? "differs" : "same";
	c->said = r->text;
	c->differences = text;
	good = ask_comparison_keep(db, &lane->run, lane->replica, c, err);
	free(text);
	json_decref(list);
	if (good && r->stops)
		*why = talloc_asprintf(mem, "%s reads %s otherwise than our reader, and one of the two is wrong: %s; nothing of it was restored", lane->replica, c->file,
		                       r->text);
	return !good ? PREFLIGHT_FAILED : r->stops ? PREFLIGHT_STOPS : PREFLIGHT_SAME;
}

/* ours: what our reader said, as JSON. */
static enum preflight_outcome
compare_now(struct lane *lane, struct db *db, struct mssql *ms, TALLOC_CTX *mem, const struct plan_set *set, const char *ours, char **why,
            int *again_ms, struct err *err)
{
	struct restore_comparison c = { .set = set->id, .file = set->files[0], .uploads = uploads_of(mem, lane, set) };
	json_t *header = json_loads(ours, 0, NULL), *theirs[2];
	struct mssql_rows *headers = NULL, *files = NULL;
	struct mssql_outcome o = { 0 };
	enum preflight_outcome outcome;

	if (!read_there(lane, ms, mem, set, &headers, &files, &o, err)) {
		json_decref(header);
		return o.first_error != 0 && !o.dead ? keep_refusal(lane, db, mem, &c, &o, why, again_ms, err) : PREFLIGHT_FAILED;
	}
	theirs[0] = rows_json(mem, headers);
	theirs[1] = rows_json(mem, files);
	outcome = keep_result(lane, db, mem, &c, compare_set(mem, header, chain_files(lane->chain, set)[0].position, theirs[0], theirs[1]), why, err);
	json_decref(header);
	json_decref(theirs[0]);
	json_decref(theirs[1]);
	return outcome;
}

static bool
is_compared(const struct preflight_compared *c, int64_t set)
{
	for (size_t i = 0; c != NULL && i < c->n; i++)
		if (c->sets[i] == set)
			return true;
	return false;
}

/* What is known of these sets' comparison, see ask_compared; a set without files is in no plan. */
static bool
ask_next(struct db *db, TALLOC_CTX *mem, const struct lane *lane, const struct plan_set *const *sets, size_t n, struct rows **list, struct err *err)
{
	const char **uploads = talloc_array(mem, const char *, (unsigned)n + 1), **ids = talloc_array(mem, const char *, (unsigned)n + 1);

	for (size_t i = 0; i < n; i++) {
		ids[i] = db_int(mem, sets[i]->id);
		uploads[i] = uploads_of(mem, lane, sets[i]);
	}
	return ask_compared(db, mem, db_text_array(mem, ids, n), db_text_array(mem, uploads, n), list, err);
}

/* What our reader said of a set that has to be compared; NULL when it has not. */
static const char *
to_compare(const struct rows *list, int64_t set)
{
	for (size_t i = 0; i < rows_count(list); i++)
		if (rows_int(list, i, 0) == set)
			return rows_bool(list, i, 1) ? NULL : rows_text(list, i, 2);
	return NULL;
}

enum preflight_outcome
preflight_compare(struct lane *lane, struct db *db, struct mssql *ms, TALLOC_CTX *mem, const struct plan_set *set, char **why, int *again_ms,
                  struct err *err)
{
	struct rows *list;
	const char *ours;

	if (is_compared(lane->compared, set->id))
		return PREFLIGHT_SAME;
	if (!ask_next(db, mem, lane, &set, 1, &list, err))
		return PREFLIGHT_FAILED;
	ours = to_compare(list, set->id);
	return ours == NULL ? PREFLIGHT_SAME : compare_now(lane, db, ms, mem, set, ours, why, again_ms, err);
}

/* The ids of the next sets as a Postgres array. */
static char *
ids_of(TALLOC_CTX *mem, const struct plan *todo)
{
	char *s = talloc_strdup(mem, "{");

	for (size_t i = 0; i < todo->n_steps && i < SETS_MAX; i++)
		s = talloc_asprintf_append(s, "%s%lld", i == 0 ? "" : ",", (long long)todo->steps[i].set->id);
	return talloc_strdup_append(s, "}");
}

static void
add_compared(struct preflight *p, int64_t set)
{
	p->compared.sets = talloc_realloc(p->mem, p->compared.sets, int64_t, (unsigned)p->compared.n + 1);
	p->compared.sets[p->compared.n++] = set;
}

/* Takes in how the i-th of the next sets compared. False: the rest has to wait. */
static bool
take_outcome(struct preflight *p, enum preflight_outcome outcome, int64_t set, size_t i, char *why, int again_ms)
{
	switch (outcome) {
	case PREFLIGHT_SAME:
		add_compared(p, set);
		return true;
	case PREFLIGHT_STOPS:
		p->stops = talloc_steal(p->mem, why);
		break;
	case PREFLIGHT_REFUSED:
		/* One further on is tried again when its turn comes. */
		if (i == 0) {
			p->waits = talloc_steal(p->mem, why);
			p->again_ms = again_ms;
		}
		break;
	case PREFLIGHT_FAILED:
		break;
	}
	return false;
}

/* A handful of the plan's next sets, from the first on; *more: all of them compared and there was time. */
static bool
compare_some(struct preflight *p, struct db *db, struct lane *lane, struct mssql *ms, const struct plan *todo, size_t first, int64_t until, bool *more,
             struct err *err)
{
	const struct plan_set *sets[COMPARE_SETS] = { NULL };
	struct rows *list;
	size_t n;

	for (n = 0; first + n < todo->n_steps && n < COMPARE_SETS && todo->steps[first + n].set->n_files > 0; n++)
		sets[n] = todo->steps[first + n].set;
	*more = n > 0;
	if (n > 0 && !ask_next(db, p->mem, lane, sets, n, &list, err))
		return false;
	for (size_t i = 0; i < n && *more; i++) {
		TALLOC_CTX *mem = talloc_new(p->mem);
		enum preflight_outcome outcome = PREFLIGHT_SAME;
		const char *ours = to_compare(list, sets[i]->id);
		struct err failed = { 0 };
		char *why = NULL;
		int again_ms = 0;

		if (ours != NULL)
			outcome = compare_now(lane, db, ms, mem, sets[i], ours, &why, &again_ms, &failed);
		*more = take_outcome(p, outcome, sets[i]->id, first + i, why, again_ms) && steady_ms() < until && !atomic_load(lane->stop);
		talloc_free(mem);
		/* A target that went away is found by the lane as well; anything else is ours or Postgres's. */
		if (outcome == PREFLIGHT_FAILED && failed.kind != ERR_AGAIN) {
			*err = failed;
			return false;
		}
	}
	return true;
}

/* The plan's next sets in their order, until one is not to be restored or the moment is over. */
static bool
compare_next(struct preflight *p, struct db *db, struct lane *lane, struct mssql *ms, const struct plan *todo, struct err *err)
{
	int64_t until = steady_ms() + COMPARE_MS;
	bool more = true;

	for (size_t first = 0; more && first < todo->n_steps; first += COMPARE_SETS)
		if (!compare_some(p, db, lane, ms, todo, first, until, &more, err))
			return false;
	return true;
}

/* ---- what a replica says of itself ------------------------------------------------------------------------------ */

static void
ask_rights(struct preflight_server *s, const struct mssql_rows *r)
{
	bool is_admin = answer(r, "is_sysadmin") == PREFLIGHT_YES;
	enum preflight_answer creates = answer(r, "may_create");

	s->may_restore = is_admin || answer(r, "is_dbcreator") == PREFLIGHT_YES ? PREFLIGHT_YES : creates;
	/* Since 2022 the smaller right is enough; older servers answer NULL of it. */
	s->sees_requests = is_admin || answer(r, "sees_performance") == PREFLIGHT_YES ? PREFLIGHT_YES : answer(r, "sees_requests");
	s->sees_history = is_admin ? PREFLIGHT_YES : answer(r, "sees_history");
}

static bool
ask_server(struct preflight_server *s, struct mssql *ms, TALLOC_CTX *mem)
{
	struct mssql_rows *r = ask(ms, mem, tsql_ask_server(mem));

	if (r == NULL || mssql_rows_count(r) != 1)
		return false;
	s->database_version = number(r, "database_version");
	s->engine_edition = number(r, "engine_edition");
	s->product = mssql_rows_named(r, 0, "product");
	s->edition = mssql_rows_named(r, 0, "edition");
	s->collation = mssql_rows_named(r, 0, "collation");
	s->filestream = answer(r, "filestream");
	s->memory_optimised = answer(r, "memory_optimised");
	ask_rights(s, r);
	return answer(r, "is_sysadmin") == PREFLIGHT_YES;
}

/* Who is not sysadmin sees those only that it has a right on: that one is not seen does not mean that it is not there. */
static void
ask_certificates(struct preflight_server *s, struct mssql *ms, TALLOC_CTX *mem, bool is_admin)
{
	struct mssql_rows *r = ask(ms, mem, tsql_ask_certificates(mem));
	size_t n = r == NULL ? 0 : mssql_rows_count(r);
	const char **list = talloc_zero_array(mem, const char *, (unsigned)n + 1);

	for (size_t i = 0; i < n; i++)
		if (mssql_rows_value(r, i, 0) != NULL)
			list[s->n_certificates++] = mssql_rows_value(r, i, 0);
	s->certificates = list;
	s->certificates_known = r != NULL && is_admin;
}

static void
add_volumes(struct preflight_server *s, TALLOC_CTX *mem, struct preflight_volume **list, const struct mssql_rows *r)
{
	for (size_t i = 0; r != NULL && i < mssql_rows_count(r); i++) {
		const char *mount = mssql_rows_value(r, i, 0), *bytes = mssql_rows_value(r, i, 1);

		if (mount == NULL || bytes == NULL)
			continue;
		*list = talloc_realloc(mem, *list, struct preflight_volume, (unsigned)s->n_volumes + 1);
		(*list)[s->n_volumes++] = (struct preflight_volume){ mount, strtoull(bytes, NULL, 10) };
	}
}

static bool
is_covered(const struct preflight_facts *f, const struct preflight_volume *volumes, size_t n)
{
	for (size_t i = 0; i < f->n_files; i++)
		if (preflight_volume_of(f->files[i].path, volumes, n) < 0)
			return false;
	return true;
}

/* Drives only where no database file tells of the volume. */
static void
ask_volumes(struct preflight_facts *f, struct mssql *ms, TALLOC_CTX *mem)
{
	struct preflight_volume *list = NULL;

	add_volumes(&f->server, mem, &list, ask(ms, mem, tsql_ask_volumes(mem)));
	if (!is_covered(f, list, f->server.n_volumes))
		add_volumes(&f->server, mem, &list, ask(ms, mem, tsql_ask_drives(mem)));
	f->server.volumes = list;
}

/* For log-ins without sysadmin newer servers answer no to everything: then a no is no answer. */
static struct preflight_folder
ask_folder(struct mssql *ms, TALLOC_CTX *mem, const char *path, bool is_admin)
{
	struct mssql_rows *r = ask(ms, mem, tsql_ask_folder(mem, path));
	const char *is_folder = r == NULL || mssql_rows_count(r) != 1 ? NULL : mssql_rows_value(r, 0, 1);
	enum preflight_answer a = is_folder == NULL ? PREFLIGHT_UNKNOWN : atoi(is_folder) != 0 ? PREFLIGHT_YES : is_admin ? PREFLIGHT_NO : PREFLIGHT_UNKNOWN;

	return (struct preflight_folder){ path, a };
}

static void
ask_owned(struct preflight_facts *f, struct mssql *ms, TALLOC_CTX *mem)
{
	const char **paths = talloc_zero_array(mem, const char *, (unsigned)f->n_files + 1);
	struct preflight_owned *list;
	struct mssql_rows *r;

	for (size_t i = 0; i < f->n_files; i++)
		paths[i] = f->files[i].path;
	r = f->n_files == 0 ? NULL : ask(ms, mem, tsql_ask_paths(mem, paths, f->n_files));
	list = talloc_zero_array(mem, struct preflight_owned, (r == NULL ? 0 : (unsigned)mssql_rows_count(r)) + 1);
	for (size_t i = 0; r != NULL && i < mssql_rows_count(r); i++) {
		const char *path = mssql_rows_value(r, i, 0), *owner = mssql_rows_value(r, i, 1);

		if (path != NULL && owner != NULL && strcmp(owner, f->database) != 0)
			list[f->server.n_owned++] = (struct preflight_owned){ path, owner };
	}
	f->server.owned = list;
}

static bool
is_among(const json_t *list, const char *word)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (json_is_string(v) && strcmp(json_string_value(v), word) == 0)
			return true;
	return false;
}

/*
 * By our record, or because the server's history names a set of this migration. What is RESTORING where a full of ours was
 * tried is what that left behind: a full that was broken off has no history.
 */
static bool
is_ours(const struct lane *lane, const json_t *facts)
{
	for (size_t i = 0; i < lane->chain->n; i++)
		if (!guid_is_null(lane->seen.base) && guid_equal(lane->chain->sets[i].backup_set_guid, lane->seen.base))
			return true;
	return is_among(json_object_get(facts, "full"), lane->replica) ||
	       (lane->seen.is_restoring && is_among(json_object_get(facts, "begun"), lane->replica));
}

static void
ask_name(struct preflight_facts *f, const struct lane *lane, struct mssql *ms, TALLOC_CTX *mem, const json_t *facts)
{
	struct mssql_rows *r = ask(ms, mem, tsql_ask_group(mem, f->database));

	f->server.exists = lane->seen.exists;
	f->server.state = lane->seen.state;
	f->server.is_ours = is_ours(lane, facts);
	f->server.group = r == NULL || mssql_rows_count(r) == 0 ? NULL : mssql_rows_value(r, 0, 0);
}

/* ---- facts from Postgres ------------------------------------------------------------------------------------------ */

static const char *
text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void
take_backups(struct preflight_facts *f, TALLOC_CTX *mem, const json_t *list)
{
	struct preflight_backup *backups = talloc_zero_array(mem, struct preflight_backup, (unsigned)json_array_size(list) + 1);
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
		backups[i] = (struct preflight_backup){ .file = text_of(o, "file") == NULL ? "a backup" : text_of(o, "file"),
			.provisional = json_is_true(json_object_get(o, "provisional")), .database_version = (int)json_integer_value(json_object_get(o, "version")),
			.compat_level = (int)json_integer_value(json_object_get(o, "compat")), .simple = json_is_true(json_object_get(o, "simple")),
			.encrypted = json_is_true(json_object_get(o, "encrypted")), .tde = json_is_true(json_object_get(o, "tde")),
			.other_files = json_is_true(json_object_get(o, "other_files")), .thumbprint = text_of(o, "thumbprint"), .collation = text_of(o, "collation"),
			.stripes = (int)json_integer_value(json_object_get(o, "stripes")), .was_read = json_is_true(json_object_get(o, "was_read")),
			.refused = (int)json_integer_value(json_object_get(o, "refused")), .said = text_of(o, "said") };
	f->backups = backups;
	f->n_backups = json_array_size(list);
}

static void
take_files(struct preflight_facts *f, TALLOC_CTX *mem, const struct lane *lane, const json_t *list)
{
	struct preflight_file *files = talloc_zero_array(mem, struct preflight_file, (unsigned)json_array_size(list) + 1);
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *type = text_of(o, "type");
		json_int_t bytes = json_integer_value(json_object_get(o, "bytes"));

		files[i].type = type == NULL ? 'D' : type[0];
		files[i].bytes = bytes < 0 ? 0 : (uint64_t)bytes;
		files[i].path = tsql_data_path(mem, files[i].type == 'L' && lane->where->log_path != NULL ? lane->where->log_path : lane->where->data_path,
			f->database, (int)json_integer_value(json_object_get(o, "id")), files[i].type);
	}
	f->files = files;
	f->n_files = json_array_size(list);
}

static void
take_facts(struct preflight_facts *f, TALLOC_CTX *mem, const struct lane *lane, const json_t *facts)
{
	f->database = lane->run.target_database;
	f->allow_encrypted = json_is_true(json_object_get(facts, "allow"));
	f->server.replica = lane->replica;
	take_backups(f, mem, json_object_get(facts, "backups"));
	take_files(f, mem, lane, json_object_get(facts, "files"));
}

static void
ask_all(struct preflight_facts *f, const struct lane *lane, struct mssql *ms, TALLOC_CTX *mem, const json_t *facts)
{
	const char *log = lane->where->log_path;
	bool is_admin;

	mssql_limit(ms, QUESTION_SECONDS);
	is_admin = ask_server(&f->server, ms, mem);
	ask_certificates(&f->server, ms, mem, is_admin);
	ask_volumes(f, ms, mem);
	f->server.data = ask_folder(ms, mem, lane->where->data_path, is_admin);
	f->server.log = log == NULL ? f->server.data : ask_folder(ms, mem, log, is_admin);
	ask_name(f, lane, ms, mem, facts);
	ask_owned(f, ms, mem);
	mssql_limit(ms, 0);
	if (mssql_is_dead(ms))
		f->server.away = "the connection broke while it was asked";
}

/* ---- a visit ------------------------------------------------------------------------------------------------------- */

/* NULL when nothing blocks. */
static char *
blocking(TALLOC_CTX *mem, const struct preflight_finding *list, size_t n)
{
	size_t more = 0;

	while (more < n && list[more].severity == PREFLIGHT_BLOCKS)
		more++;
	return more == 0 ? NULL : more == 1 ? talloc_asprintf(mem, "preflight: %s (%s, for the %s)", list[0].text, list[0].id, list[0].who)
	                                    : talloc_asprintf(mem, "preflight: %s (%s, for the %s; and %zu more: migration preflight)", list[0].text, list[0].id,
	                                                      list[0].who, more - 1);
}

static bool
judge(struct preflight *p, struct db *db, struct lane *lane, const struct preflight_facts *f, int64_t parts, struct err *err)
{
	struct preflight_finding *list;
	json_t *json = json_array();
	bool good;
	char *text;
	size_t n;

	list = preflight_judge(p->mem, f, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(json, json_pack("{s:s,s:s,s:s,s:s,s:s}", "replica", lane->replica, "id", list[i].id, "severity",
			preflight_word(list[i].severity), "who", list[i].who, "text", as_utf8(p->mem, list[i].text)));
	text = json_dumps(json, JSON_COMPACT);
	good = ask_preflight_keep(db, &lane->run, lane->replica, parts, text, err);
	free(text);
	json_decref(json);
	lane->kept = blocking(p->mem, list, n);
	return good;
}

static bool
stands(const struct lane *lane)
{
	return lane->seen.exists && !lsn_is_null(lane->seen.redo);
}

/* Once per visit, at its first replica, and at the first that begins anew. What stands and has something to restore is not made to wait for questions. */
static bool
decide(struct preflight *p, struct db *db, const struct lane *lane, const struct plan *todo, struct err *err)
{
	bool begun = stands(lane), has_steps = todo != NULL && todo->n_steps > 0;
	struct preflight_last last;

	p->decided = true;
	p->of_standing = begun;
	if (!ask_preflight_last(db, lane->run.id, &last, err))
		return false;
	snprintf(p->wanted, sizeof(p->wanted), "%s", last.wanted);
	if (begun && has_steps && p->waits == NULL && p->wanted[0] == '\0')
		return true;
	/* Before anything has arrived every look is due that has something to judge: nothing else remembers what the last one found. */
	p->due = p->wanted[0] != '\0' || todo == NULL || last.n == 0 || p->waits != NULL || last.seconds >= (begun && !last.blocks ? RARELY_SECONDS : AGAIN_SECONDS) ||
	         (!begun && ((last.blocks && has_steps && lane->run.hold == NULL) || last.parts != (int64_t)lane->chain->n_parts));
	if (!p->due)
		return true;
	json_decref(p->facts);
	p->facts = ask_preflight_facts(db, &lane->run, has_steps ? ids_of(p->mem, todo) : "{}", err);
	/* Before anything has begun there is nothing to judge while no header is known. */
	p->due = p->facts != NULL && (begun || json_array_size(json_object_get(p->facts, "backups")) > 0);
	return p->facts != NULL;
}

bool
preflight_visit(struct preflight *p, struct db *db, struct lane *lane, struct mssql *ms, const struct plan *todo, struct err *err)
{
	struct preflight_facts f = { 0 };

	if (!p->compares && todo != NULL && todo->n_steps > 0) {
		p->compares = true;
		if (!compare_next(p, db, lane, ms, todo, err))
			return false;
	}
	lane->compared = &p->compared;
	/* A replica that begins anew beside others that stand is asked before it does. */
	if ((!p->decided || (p->of_standing && !p->due && !stands(lane))) && !decide(p, db, lane, todo, err))
		return false;
	if (!p->due)
		return true;
	take_facts(&f, p->mem, lane, p->facts);
	ask_all(&f, lane, ms, p->mem, p->facts);
	return judge(p, db, lane, &f, (int64_t)lane->chain->n_parts, err);
}

static bool
was_visited(const struct lane *lane)
{
	return lane->compared != NULL;
}

/* Those that were not visited could not be asked. */
static bool
judge_away(struct preflight *p, struct db *db, struct lane *lane, const char *away, struct err *err)
{
	struct preflight_facts f = { 0 };

	take_facts(&f, p->mem, lane, p->facts);
	f.server.away = away == NULL ? "it is not known why" : away;
	/* As if nothing had been known: it is asked as soon as it answers. */
	return judge(p, db, lane, &f, -1, err);
}

bool
preflight_settle(struct preflight *p, struct db *db, struct lane *lanes, size_t n, const char *away, struct err *err)
{
	bool begun = false;

	for (size_t i = 0; i < n; i++) {
		begun = begun || stands(&lanes[i]);
		if (!was_visited(&lanes[i]) && p->due && !judge_away(p, db, &lanes[i], away, err))
			return false;
	}
	for (size_t i = n; i-- > 0 && !begun;)
		if (lanes[i].kept != NULL) {
			p->waits = lanes[i].kept;
			p->again_ms = p->again_ms > 0 ? p->again_ms : KEPT_MS;
		}
	for (size_t i = 0; i < n; i++)
		if (!was_visited(&lanes[i]))
			lanes[i].kept = talloc_asprintf(p->mem, "preflight: %s has not been asked yet", lanes[i].replica);
	if (p->wanted[0] != '\0' && !ask_preflight_answered(db, &lanes[0].run, p->wanted, err))
		return false;
	return p->waits == NULL || ask_preflight_kept(db, &lanes[0].run, err);
}

bool
preflight_early(struct preflight *p, struct db *db, struct lane *lanes, size_t n, struct err *err)
{
	char *away = NULL;

	if (!decide(p, db, &lanes[0], NULL, err))
		return false;
	if (p->due)
		p->again_ms = KEPT_MS;
	for (size_t i = 0; i < n && p->due; i++) {
		TALLOC_CTX *mem = talloc_new(p->mem);
		struct err trouble = { 0 };
		struct mssql *ms = lane_open(mem, &lanes[i], &trouble);
		bool good = true;

		if (ms == NULL || !target_ask(ms, lanes[i].run.target_database, NULL, &lanes[i].seen, &trouble))
			away = talloc_strdup(p->mem, trouble.text);
		else
			good = preflight_visit(p, db, &lanes[i], ms, NULL, err);
		talloc_free(mem);
		if (!good)
			return false;
	}
	return preflight_settle(p, db, lanes, n, away, err);
}

void
preflight_end(struct preflight *p)
{
	json_decref(p->facts);
	p->facts = NULL;
}
