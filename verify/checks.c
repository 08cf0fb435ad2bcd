#include "verify/checks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "verify/kind_http.h"
#include "verify/kind_manifest.h"
#include "verify/kind_sql.h"
#include "verify/report.h"
#include "verify/tables.h"

enum { HTTP_ATTEMPTS = 3, PATIENCE_MS = 30000, PAUSE_MS = 1000, SLICE_MS = 100, LIST_SECONDS = 120 };

/* ---- stopping ----------------------------------------------------------------------------- */

struct checks_stop {
	atomic_bool asked;
	pthread_mutex_t lock;
	struct mssql *ms; /* the conversation going on */
};

struct checks_stop *
checks_stop_new(TALLOC_CTX *parent)
{
	struct checks_stop *s = talloc_zero(parent, struct checks_stop);

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void
checks_stop(struct checks_stop *s)
{
	atomic_store(&s->asked, true);
	pthread_mutex_lock(&s->lock);
	if (s->ms != NULL)
		mssql_cancel(s->ms);
	pthread_mutex_unlock(&s->lock);
}

bool
checks_stopped(struct checks_stop *s)
{
	return atomic_load(&s->asked);
}

static void
converse(struct checks_stop *s, struct mssql *ms)
{
	pthread_mutex_lock(&s->lock);
	s->ms = ms;
	pthread_mutex_unlock(&s->lock);
}

/* ---- one run ------------------------------------------------------------------------------ */

struct running {
	const struct checks_job *job;
	const struct check *check;
	TALLOC_CTX *mem;
	struct mssql *ms;     /* NULL while the target is away */
	const char *away;     /* why */
	bool given_up;        /* it was away for too long: nothing waits for it any more */
	int64_t away_since;
	const char *version;
	struct tables tables;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
found(struct finding *f, enum check_result result, const char *expected, const char *observed)
{
	f->result = result;
	f->expected = expected;
	f->observed = observed;
}

static void
hang_up(struct running *r)
{
	struct mssql *ms = r->ms;

	r->ms = NULL;
	converse(r->job->stop, NULL);
	talloc_free(ms);
}

static bool
learn(struct running *r, struct err *err)
{
	struct mssql_rows *rows;
	const char *version;

	mssql_limit(r->ms, LIST_SECONDS);
	if (!mssql_run(r->ms, r->mem, "SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion'))", &rows,
	               NULL, NULL, NULL, err) || !tables_list(r->ms, r->mem, &r->tables, err))
		return false;
	version = mssql_rows_value(rows, 0, 0);
	r->version = version == NULL ? "" : version;
	return true;
}

/* Connects when there is no connection. On false, r->away says why; *again whether waiting may help. */
static bool
is_connected(struct running *r, bool *again)
{
	struct err err = { 0 };

	*again = false;
	if (r->ms != NULL && !mssql_is_dead(r->ms))
		return true;
	if (r->ms != NULL)
		hang_up(r);
	if (r->given_up || r->job->target == NULL) {
		r->away = r->away == NULL ? r->job->no_target : r->away;
		return false;
	}
	r->ms = mssql_open(r->mem, r->job->target, "landfall-verify", r->job->database, &err);
	converse(r->job->stop, r->ms);
	if (r->ms != NULL && learn(r, &err))
		return true;
	hang_up(r);
	r->away = talloc_strdup(r->mem, err.text);
	*again = err.kind == ERR_AGAIN;
	return false;
}

/* The value of a var: only what the intake holds. */
static const char *
var(const struct running *r, const char *name)
{
	const struct check_file *f = r->job->file;

	for (unsigned i = 0; i < f->n_vars; i++)
		if (strcmp(f->vars[i].name, name) == 0)
			return json_string_value(json_object_get(r->job->intake, check_var_key(&f->vars[i])));
	return NULL;
}

static void
ask_url(struct running *r, struct finding *f)
{
	const struct check_http *c = r->check->http;
	const char *url = var(r, c->url);

	if (url == NULL)
		found(f, CHECK_SKIP, "", talloc_asprintf(r->mem, "the intake has no %s", c->url));
	else
		kind_http(r->mem, url, c->status == 0 ? 200 : c->status, f);
}

static void
ask_target(struct running *r, struct finding *f)
{
	const struct check *c = r->check;
	const struct checks_job *job = r->job;

	if (c->manifest != NULL && job->manifest == NULL) {
		if (job->no_manifest == NULL)
			found(f, CHECK_SKIP, "rows as at the source", "there is no manifest.json from the source");
		else
			found(f, CHECK_ERROR, "rows as at the source", job->no_manifest);
	} else if (!is_connected(r, &f->again)) {
		found(f, CHECK_ERROR, "an answer", r->away);
	} else if (c->needs_table != NULL && tables_find(&r->tables, c->needs_table) == NULL) {
		found(f, CHECK_SKIP, "", talloc_asprintf(r->mem, "the database has no table %s", c->needs_table));
	} else if (c->manifest != NULL) {
		kind_manifest(r->ms, r->mem, job->manifest, &r->tables, &job->stop->asked, f);
	} else {
		kind_sql(r->ms, r->mem, c->sql, f);
	}
}

/* Whether another attempt is due; waits for it. */
static bool
may_try_again(struct running *r, int attempts)
{
	if (r->check->http != NULL) {
		if (attempts >= HTTP_ATTEMPTS)
			return false;
	} else {
		r->away_since = r->away_since == 0 ? now_ms() : r->away_since;
		r->given_up = now_ms() - r->away_since > PATIENCE_MS;
		if (r->given_up)
			return false;
	}
	for (int ms = 0; ms < PAUSE_MS && !checks_stopped(r->job->stop); ms += SLICE_MS)
		usleep(SLICE_MS * 1000);
	return !checks_stopped(r->job->stop);
}

/* Gives the number of attempts. */
static int
run_check(struct running *r, struct finding *f)
{
	bool failed_before = false;
	int attempts = 0;

	for (;;) {
		*f = (struct finding){ .result = CHECK_ERROR, .evidence = json_array() };
		attempts++;
		if (r->check->manual != NULL)
			found(f, CHECK_MANUAL, r->check->manual->ask, "nobody has looked yet");
		else if (r->check->http != NULL)
			ask_url(r, f);
		else
			ask_target(r, f);
		if (!f->again || !may_try_again(r, attempts))
			break;
		failed_before = failed_before || f->result == CHECK_FAIL;
		json_decref(f->evidence);
	}
	if (!f->again && r->ms != NULL)
		r->away_since = 0;
	if (failed_before && f->result == CHECK_PASS) {
		f->result = CHECK_WARN;
		json_array_append_new(f->evidence, json_string("it failed before it passed"));
	}
	return attempts;
}

static json_t *
run_all(struct running *r, struct verdict_input *inputs)
{
	const struct check_file *file = r->job->file;
	json_t *list = json_array();

	for (unsigned i = 0; i < file->n_checks && !checks_stopped(r->job->stop); i++) {
		struct report_stamp started = report_now();
		int64_t begun = now_ms();
		struct finding f;
		int attempts;

		r->check = &file->checks[i];
		attempts = run_check(r, &f);
		inputs[i].is_blocker = check_is_blocker(r->check);
		/* What only warns has no failure. */
		if (!inputs[i].is_blocker && f.result == CHECK_FAIL)
			f.result = CHECK_WARN;
		inputs[i].result = f.result;
		json_array_append_new(list, report_check(r->check, &f, attempts, now_ms() - begun, started.s));
	}
	return list;
}

static struct report_head
head_of(const struct checks_job *job, const struct report_stamp *started)
{
	return (struct report_head){ .migration = job->migration, .run = job->run, .product = job->file->product,
		.started = started->s, .cluster = job->cluster, .database = job->database,
		.recovery_lsn = job->recovery_lsn };
}

json_t *
checks_run(const struct checks_job *job)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct running r = { .job = job, .mem = mem };
	struct verdict_input *inputs = talloc_zero_array(mem, struct verdict_input, job->file->n_checks);
	struct report_stamp started = report_now();
	struct report_head head = head_of(job, &started);
	json_t *list = run_all(&r, inputs), *result = NULL;

	hang_up(&r);
	if (checks_stopped(job->stop)) {
		json_decref(list);
	} else {
		head.server_version = r.version;
		head.verdict = verdict_of(inputs, job->file->n_checks);
		result = report_json(&head, list);
	}
	talloc_free(mem);
	return result;
}

json_t *
checks_none(const struct checks_job *job, int attempts, const char *why)
{
	static char id[] = "verification", title[] = "The verification itself";
	static const struct check itself = { .id = id, .title = title };
	struct finding f = { .result = CHECK_ERROR, .expected = "a result", .observed = why, .evidence = json_array() };
	const struct verdict_input input = { .result = f.result, .is_blocker = true };
	struct report_stamp started = report_now();
	struct report_head head = head_of(job, &started);

	head.verdict = verdict_of(&input, 1);
	return report_json(&head, json_pack("[o]", report_check(&itself, &f, attempts, 0, started.s)));
}
