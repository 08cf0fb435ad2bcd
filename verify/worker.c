#include "verify/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/ask_verify.h"
#include "common/log.h"

enum { POLL_MS = 1000, BEAT_MS = 5000, SLICE_MS = 100, ATTEMPTS_MAX = 3 };

struct worker {
	const struct config *config;
	const struct check_file *file;
	struct checks_stop *stop;
	char id[37];
	_Atomic int64_t at; /* the verification that is carried out now, 0 for none */
};

struct worker *
worker_new(TALLOC_CTX *parent, const struct config *config, const struct check_file *file,
           struct checks_stop *stop, struct err *err)
{
	struct worker *w = talloc_zero(parent, struct worker);
	int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, w->id, 36);

	if (fd >= 0)
		close(fd);
	if (n != 36) {
		err_errno(err, errno, "/proc/sys/kernel/random/uuid");
		talloc_free(w);
		return NULL;
	}
	w->config = config;
	w->file = file;
	w->stop = stop;
	return w;
}

struct mssql_target
worker_target(const struct config_cluster *c, const struct config_target *t)
{
	return (struct mssql_target){ .name = t->name, .host = t->host, .port = t->port == 0 ? 1433 : t->port,
		.ca_file = c->ca_file, .login = c->verify_login, .password_file = c->verify_password_file };
}

static struct db *
connection(const struct worker *w, const char *name)
{
	struct db_where where;

	config_where(w->config, &w->config->postgres.verify, name, &where);
	return db_new(NULL, &where);
}

static void
rest(const struct worker *w, int ms)
{
	for (int i = 0; i < ms && !checks_stopped(w->stop); i += SLICE_MS)
		usleep(SLICE_MS * 1000);
}

void *
worker_beat(void *ctx)
{
	struct worker *w = ctx;
	struct db *db = connection(w, "landfall-verify heartbeat");
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	while (!checks_stopped(w->stop)) {
		struct err err = { 0 };

		if (!verify_worker_begin(db, w->id, host, getpid(), &err) || !verify_beat(db, w->id, atomic_load(&w->at), &err))
			log_warning("no sign of life could be given to Postgres", "error", err.text, NULL);
		sd_notify(0, "WATCHDOG=1");
		rest(w, BEAT_MS);
	}
	talloc_free(db);
	return NULL;
}

static bool
find_target(const struct worker *w, const struct verify_job *job, struct mssql_target *target)
{
	const struct config_cluster *c = config_cluster(w->config, job->cluster);

	for (unsigned i = 0; c != NULL && i < c->n_targets; i++)
		if (strcmp(c->targets[i].name, job->primary) == 0) {
			*target = worker_target(c, &c->targets[i]);
			return true;
		}
	log_error("the primary of a run is not in the configuration", "migration", job->migration, "cluster",
	          job->cluster, "primary", job->primary, NULL);
	return false;
}

/* The result is not lost because Postgres is away for a while. False: Postgres does not take it, and err says why. */
static bool
put(struct worker *w, struct db *db, const struct verify_job *job, json_t *result, struct err *err)
{

	while (!verify_done(db, w->id, job, result, err)) {
		if (err->kind == ERR_AGAIN && !checks_stopped(w->stop)) {
			log_warning("the result waits for Postgres", "migration", job->migration, "error", err->text,
			            NULL);
			err_clear(err);
			rest(w, POLL_MS);
			continue;
		}
		log_error("the result of a verification was not taken", "migration", job->migration, "run",
		          job->kind, "error", err->text, NULL);
		return false;
	}
	log_info("verified", "migration", job->migration, "run", job->kind, "verdict",
	         json_string_value(json_object_get(result, "verdict")), NULL);
	return true;
}

/* It ends as incomplete, and a person reads why; when not even that is taken, without a verdict. */
static void
give_up(struct worker *w, struct db *db, const struct verify_job *job, const struct checks_job *checks,
        const char *why)
{
	json_t *result = checks_none(checks, job->attempts, why);
	struct err err = { 0 }, second = { 0 };

	if (!put(w, db, job, result, &err) && err.kind != ERR_AGAIN)
		verify_failed(db, w->id, job, why, &second);
	json_decref(result);
}

/* A manifest that cannot be read is not the same as none. */
static void
read_manifest(TALLOC_CTX *mem, const char *text, struct checks_job *checks)
{
	json_t *o = text == NULL ? NULL : json_loads(text, 0, NULL);
	struct err err = { 0 };

	if (text == NULL)
		return;
	checks->manifest = manifest_parse(mem, o, &err);
	if (checks->manifest == NULL)
		checks->no_manifest = talloc_strdup(mem, err.text);
	json_decref(o);
}

static void
carry_out(struct worker *w, struct db *db, TALLOC_CTX *mem, const struct verify_job *job)
{
	json_t *intake = json_loads(job->intake, 0, NULL), *result;
	struct mssql_target target;
	struct checks_job checks = { .file = w->file, .cluster = job->cluster, .database = job->database,
		.migration = job->migration, .run = job->kind, .recovery_lsn = job->recovery_lsn,
		.intake = intake, .stop = w->stop };
	struct err err = { 0 };

	/* What ends its program every time would do so for ever, and keep every other verification waiting. */
	if (job->attempts > ATTEMPTS_MAX) {
		give_up(w, db, job, &checks, talloc_asprintf(mem, "the program ended %d times in the middle of this verification; "
		        "see its log, then ask again (migration verify)", ATTEMPTS_MAX));
		json_decref(intake);
		return;
	}
	if (find_target(w, job, &target))
		checks.target = &target;
	else
		checks.no_target = talloc_asprintf(mem, "the primary %s is not in the configuration", job->primary);
	read_manifest(mem, job->manifest, &checks);
	result = checks_run(&checks);
	if (result != NULL && !put(w, db, job, result, &err) && err.kind != ERR_AGAIN)
		give_up(w, db, job, &checks, talloc_asprintf(mem, "the result was not taken: %s", err.text));
	if (result == NULL && !verify_give_back(db, w->id, job, &err))
		log_warning("a verification is left to its lease", "migration", job->migration, "error", err.text,
		            NULL);
	json_decref(result);
	json_decref(intake);
}

void *
worker_serve(void *ctx)
{
	struct worker *w = ctx;
	struct db *db = connection(w, "landfall-verify");
	struct err err = { 0 };

	db_listen(db, "landfall_verify", &err);
	while (!checks_stopped(w->stop)) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct verify_job job;
		bool got = false, woken;

		if (!verify_claim(db, mem, w->id, &job, &got, &err)) {
			log_warning("Postgres does not answer; waiting", "error", err.text, NULL);
			rest(w, POLL_MS);
		} else if (got) {
			atomic_store(&w->at, job.id);
			carry_out(w, db, mem, &job);
			atomic_store(&w->at, 0);
		} else if (!db_wait(db, POLL_MS, -1, &woken, &err)) {
			rest(w, POLL_MS);
		}
		talloc_free(mem);
	}
	talloc_free(db);
	return NULL;
}
