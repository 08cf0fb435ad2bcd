#include "verify/checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/text.h"
#include "verify/kind_http.h"
#include "verify/tables.h"
#include "verify/verdict.h"

enum { QUESTION_SECONDS = 120 };

/* One check on its way. */
struct running {
	const struct checks_job *job;
	const struct check *check;
	TALLOC_CTX *mem;
	struct mssql *ms;     /* NULL: the target could not be reached; why in away */
	const char *away;
	struct table *tables;
	size_t n_tables;
	const char *expected, *observed;
	json_t *evidence;
};

static enum check_result
said(struct running *r, enum check_result result, const char *expected, const char *observed)
{
	r->expected = expected;
	r->observed = observed;
	return result;
}

static const struct table *
table_named(const struct running *r, const char *name)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (strcasecmp(r->tables[i].name, name) == 0)
			return &r->tables[i];
	return NULL;
}

static enum check_result
run_sql(struct running *r)
{
	const struct check_sql *c = r->check->sql;
	struct mssql_rows *rows;
	struct err err = { 0 };
	const char *value, *expected = c->equals != NULL ? c->equals : talloc_asprintf(r->mem, "at least %lld", (long long)*c->at_least);
	bool good;

	if (!mssql_run(r->ms, r->mem, c->query, &rows, NULL, NULL, NULL, &err))
		return said(r, CHECK_ERROR, expected, talloc_strdup(r->mem, err.text));
	value = mssql_rows_count(rows) == 0 ? NULL : mssql_rows_value(rows, 0, 0);
	good = value != NULL && (c->equals != NULL ? strcmp(value, c->equals) == 0 : strtoll(value, NULL, 10) >= *c->at_least);
	return said(r, good ? CHECK_PASS : CHECK_FAIL, expected, value == NULL ? mssql_rows_count(rows) == 0 ? "no row" : "NULL" : value);
}

/* One table of the manifest; a difference is a line of evidence with both counts and both hashes. */
static bool
compare_table(struct running *r, json_t *want, uint64_t *total, struct err *err)
{
	const char *name = json_string_value(json_object_get(want, "name")), *hash = json_string_value(json_object_get(want, "sha256"));
	long long rows = (long long)json_integer_value(json_object_get(want, "rows"));
	const struct table *t = name == NULL ? NULL : table_named(r, name);
	char hex[65], *line;
	uint64_t got;

	if (t == NULL) {
		line = talloc_asprintf(r->mem, "%s: %lld rows expected, the table is missing", name == NULL ? "?" : name, rows);
	} else if (!tables_hash(r->ms, t, &got, hex, err)) {
		return false;
	} else {
		*total += got;
		if ((long long)got == rows && hash != NULL && strcmp(hash, hex) == 0)
			return true;
		line = talloc_asprintf(r->mem, "%s: %lld rows expected, %llu found; hash %s expected, %s found", name, rows, (unsigned long long)got,
		                       hash == NULL ? "-" : hash, hex);
	}
	json_array_append_new(r->evidence, json_string(line));
	return true;
}

static enum check_result
run_manifest(struct running *r)
{
	json_t *list = json_object_get(r->job->manifest, "tables"), *t;
	size_t i, n = json_array_size(list);
	char *expected = talloc_asprintf(r->mem, "%zu tables equal", n);
	struct err err = { 0 };
	uint64_t rows = 0;

	if (r->job->manifest == NULL)
		return said(r, CHECK_SKIP, "rows as at the source", "there is no manifest.json from the source");
	json_array_foreach(list, i, t)
		if (!compare_table(r, t, &rows, &err))
			return said(r, CHECK_ERROR, expected, talloc_strdup(r->mem, err.text));
	return said(r, json_array_size(r->evidence) == 0 && n > 0 ? CHECK_PASS : CHECK_FAIL, expected,
	            talloc_asprintf(r->mem, "%zu of %zu, %llu rows", n - json_array_size(r->evidence), n, (unsigned long long)rows));
}

/* The value of a var: only what the intake holds. */
static const char *
var(const struct running *r, const char *name)
{
	const struct check_file *f = r->job->file;

	for (unsigned i = 0; i < f->n_vars; i++)
		if (strcmp(f->vars[i].name, name) == 0 && strncmp(f->vars[i].from, "intake.", 7) == 0)
			return json_string_value(json_object_get(r->job->intake, f->vars[i].from + 7));
	return NULL;
}

static enum check_result
run_http(struct running *r)
{
	const struct check_http *c = r->check->http;
	const char *url = var(r, c->url);
	long status = 0, want = c->status == 0 ? 200 : c->status;
	char *expected = talloc_asprintf(r->mem, "status %ld", want);
	struct err err = { 0 };

	if (url == NULL)
		return said(r, CHECK_SKIP, expected, talloc_asprintf(r->mem, "the intake has no %s", c->url));
	if (!http_status(url, &status, &err))
		return said(r, CHECK_FAIL, expected, talloc_strdup(r->mem, err.text));
	return said(r, status == want ? CHECK_PASS : CHECK_FAIL, expected, talloc_asprintf(r->mem, "status %ld", status));
}

static enum check_result
run_one(struct running *r)
{
	const struct check *c = r->check;

	if (c->manual != NULL)
		return said(r, CHECK_MANUAL, c->manual->ask, "nobody has looked yet");
	if (c->http != NULL)
		return run_http(r);
	if (r->ms == NULL)
		return said(r, CHECK_ERROR, "an answer", r->away);
	if (c->needs_table != NULL && table_named(r, c->needs_table) == NULL)
		return said(r, CHECK_SKIP, "", talloc_asprintf(r->mem, "the database has no table %s", c->needs_table));
	return c->manifest != NULL ? run_manifest(r) : run_sql(r);
}

static const char *
stamp(char buf[32])
{
	time_t now = time(NULL);

	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	return buf;
}

static json_t *
check_json(struct running *r, enum check_result *result)
{
	const struct check *c = r->check;
	struct timespec a, b;
	char when[32];

	r->evidence = json_array();
	stamp(when);
	clock_gettime(CLOCK_MONOTONIC, &a);
	*result = run_one(r);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:I,s:s,s:s,s:o,s:s}", "id", c->id, "title", c->title == NULL ? "" : c->title, "result",
		check_result_word(*result), "severity", c->severity == NULL ? "blocker" : c->severity, "tier", c->tier == NULL ? "gate" : c->tier,
		"attempts", 1, "duration_ms", (json_int_t)((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000), "expected",
		r->expected == NULL ? "" : r->expected, "observed", r->observed == NULL ? "" : r->observed, "evidence", r->evidence, "started", when);
}

static void
connect_target(struct running *r, char version[64])
{
	struct mssql_rows *rows;
	struct err err = { 0 };

	version[0] = '\0';
	r->ms = mssql_open(r->mem, &r->job->target, "landfall-verify", r->job->database, &err);
	if (r->ms != NULL) {
		mssql_limit(r->ms, QUESTION_SECONDS);
		if (mssql_run(r->ms, r->mem, "SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion'))", &rows, NULL, NULL, NULL, &err) &&
		    tables_list(r->ms, r->mem, &r->tables, &r->n_tables, &err)) {
			snprintf(version, 64, "%s", mssql_rows_value(rows, 0, 0) == NULL ? "" : mssql_rows_value(rows, 0, 0));
			return;
		}
	}
	r->ms = NULL;
	r->away = talloc_strdup(r->mem, err.text);
}

json_t *
checks_run(const struct checks_job *job)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct running r = { .job = job, .mem = mem };
	struct verdict_input *inputs = talloc_array(mem, struct verdict_input, job->file->n_checks);
	json_t *list = json_array(), *statistics = json_object(), *result;
	int counts[CHECK_RESULTS] = { 0 };
	char begun[32], ended[32], version[64];

	stamp(begun);
	connect_target(&r, version);
	for (unsigned i = 0; i < job->file->n_checks; i++) {
		r.check = &job->file->checks[i];
		r.expected = r.observed = NULL;
		json_array_append_new(list, check_json(&r, &inputs[i].result));
		inputs[i].is_blocker = r.check->severity == NULL || strcmp(r.check->severity, "blocker") == 0;
		/* What only warns has no failure. */
		if (!inputs[i].is_blocker && inputs[i].result == CHECK_FAIL) {
			inputs[i].result = CHECK_WARN;
			json_object_set_new(json_array_get(list, i), "result", json_string("warn"));
		}
		counts[inputs[i].result]++;
	}
	json_object_set_new(statistics, "total", json_integer(job->file->n_checks));
	for (int k = 0; k < CHECK_RESULTS; k++)
		json_object_set_new(statistics, check_result_word((enum check_result)k), json_integer(counts[k]));
	result = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:{s:s,s:s,s:s,s:s},s:o}", "schema", "landfall.verify/1", "migration", job->migration,
		"run", job->run, "product", job->file->product, "verdict", verdict_of(inputs, job->file->n_checks), "started", begun, "finished",
		stamp(ended), "statistics", statistics, "target", "cluster", job->cluster, "server_version", version, "database", job->database,
		"recovery_lsn", job->recovery_lsn == NULL ? "" : job->recovery_lsn, "checks", list);
	talloc_free(mem);
	return result;
}

char *
checks_text(TALLOC_CTX *parent, json_t *o)
{
	char *s = talloc_asprintf(parent, "%s: %s\n", json_string_value(json_object_get(json_object_get(o, "target"), "database")),
	                          json_string_value(json_object_get(o, "verdict")));
	json_t *c, *e;
	size_t i, k;

	json_array_foreach(json_object_get(o, "checks"), i, c) {
		s = talloc_asprintf_append(s, "  %-6s %-28s expected %s, observed %s\n", json_string_value(json_object_get(c, "result")),
			json_string_value(json_object_get(c, "id")), text_escaped(parent, json_string_value(json_object_get(c, "expected"))),
			text_escaped(parent, json_string_value(json_object_get(c, "observed"))));
		json_array_foreach(json_object_get(c, "evidence"), k, e)
			s = talloc_asprintf_append(s, "         %s\n", text_escaped(parent, json_string_value(e)));
	}
	return s;
}
