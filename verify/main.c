/*
 * landfall-verify: carries out verifications that are asked for; or, once, verifies a named database or takes the
 * row manifest of one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/ask_verify.h"
#include "common/config.h"
#include "common/log.h"
#include "verify/checks.h"
#include "verify/tables.h"

enum { POLL_MS = 1000, BEAT_SECONDS = 5 };

static struct config *config;
static char worker[40];
static volatile sig_atomic_t ended;

static void
on_signal(int number)
{
	(void)number;
	ended = 1;
}

static struct mssql_target
target_of(const struct config_cluster *c, const struct config_target *t)
{
	return (struct mssql_target){ .name = t->name, .host = t->host, .port = t->port == 0 ? 1433 : t->port, .ca_file = c->ca_file,
		.login = c->verify_login, .password_file = c->verify_password_file };
}

static struct db *
connection(const char *name)
{
	struct db_where where;

	config_where(config, &config->postgres.verify, name, &where);
	return db_new(NULL, &where);
}

/* ---- the daemon --------------------------------------------------------------------------------------------- */

static void *
beat(void *ctx)
{
	struct db *db = connection("landfall-verify heartbeat");
	char host[256] = "";

	(void)ctx;
	gethostname(host, sizeof(host) - 1);
	for (;;) {
		struct err err = { 0 };

		if (!verify_worker_begin(db, worker, host, getpid(), &err) || !verify_beat(db, worker, &err))
			log_warning("no sign of life could be given to Postgres", "error", err.text, NULL);
		sd_notify(0, "WATCHDOG=1");
		sleep(BEAT_SECONDS);
	}
	return NULL;
}

static const struct config_target *
target_named(const struct config_cluster *c, const char *name)
{
	for (unsigned i = 0; c != NULL && i < c->n_targets; i++)
		if (strcmp(c->targets[i].name, name) == 0)
			return &c->targets[i];
	return NULL;
}

static void
carry_out(struct db *db, const struct check_file *file, const struct verify_job *job)
{
	const struct config_cluster *c = config_cluster(config, job->cluster);
	const struct config_target *t = target_named(c, job->primary);
	struct checks_job checks = { .file = file, .cluster = job->cluster, .database = job->database, .migration = job->migration, .run = job->kind,
		.recovery_lsn = job->recovery_lsn };
	struct err err = { 0 };
	json_t *result;

	if (t == NULL) {
		log_error("the primary of a run is not in the configuration", "migration", job->migration, "primary", job->primary, NULL);
		return;
	}
	checks.target = target_of(c, t);
	checks.intake = json_loads(job->intake, 0, NULL);
	checks.manifest = job->manifest == NULL ? NULL : json_loads(job->manifest, 0, NULL);
	result = checks_run(&checks);
	log_info("verified", "migration", job->migration, "run", job->kind, "verdict", json_string_value(json_object_get(result, "verdict")), NULL);
	/* The result is not lost because Postgres is away for a while. */
	while (!ended && !verify_done(db, worker, job, result, &err) && err.kind == ERR_AGAIN) {
		log_warning("the result waits for Postgres", "error", err.text, NULL);
		sleep(1);
	}
	json_decref(result);
	json_decref(checks.intake);
	json_decref(checks.manifest);
}

static void
serve(const struct check_file *file)
{
	struct db *db = connection("landfall-verify");
	struct err err = { 0 };

	db_listen(db, "landfall_verify", &err);
	while (!ended) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct verify_job job;
		bool got = false, woken;

		if (!verify_claim(db, mem, worker, &job, &got, &err)) {
			log_warning("Postgres does not answer; waiting", "error", err.text, NULL);
			usleep(POLL_MS * 1000);
		} else if (got) {
			carry_out(db, file, &job);
		} else if (!db_wait(db, POLL_MS, -1, &woken, &err)) {
			usleep(POLL_MS * 1000);
		}
		talloc_free(mem);
	}
}

/* work: where the private freetds.conf goes. One process's is never another's: it is readable to its owner only. */
static bool
set_up(const char *work, struct err *err)
{
	struct mssql_target *targets = NULL;
	size_t n = 0;

	for (unsigned c = 0; c < config->n_clusters; c++)
		for (unsigned i = 0; i < config->clusters[c].n_targets; i++) {
			targets = talloc_realloc(NULL, targets, struct mssql_target, n + 1);
			targets[n++] = target_of(&config->clusters[c], &config->clusters[c].targets[i]);
		}
	if (work == NULL || config->verify.checks == NULL)
		return err_set(err, ERR_OPERATOR, 0, "the configuration has no verify.work or verify.checks");
	mkdir(work, 0700);
	return mssql_setup(work, targets, n, err);
}

static int
daemon_main(const char *ready)
{
	struct check_file *file;
	struct err err = { 0 };
	pthread_t thread;
	FILE *f;
	int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, worker, 36) != 36)
		err_errno(&err, errno, "uuid");
	close(fd);
	file = err.kind == ERR_NONE && set_up(config->verify.work, &err) ? check_file_load(config->verify.checks, &err) : NULL;
	if (file == NULL || pthread_create(&thread, NULL, beat, NULL) != 0) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	sd_notify(0, "READY=1");
	if (ready != NULL && (f = fopen(ready, "we")) != NULL) {
		fprintf(f, "0 %d\n", getpid());
		fclose(f);
	}
	log_info("ready", "checks", config->verify.checks, NULL);
	serve(file);
	_exit(0);
}

/* ---- once -------------------------------------------------------------------------------------------------------- */

struct once {
	const char *cluster, *database, *manifest, *checks, *agent_url, *target, *user, *password_file, *ca_file, *out;
	bool now, take, json;
};

static int
fail(const struct err *err)
{
	fprintf(stderr, "landfall-verify: %s\n", err->text);
	return 4;
}

static int
verify_now(const struct once *o)
{
	const struct config_cluster *c = o->cluster == NULL ? NULL : config_cluster(config, o->cluster);
	struct checks_job job = { .cluster = o->cluster, .database = o->database, .migration = "-", .run = "now" };
	char dir[] = "/tmp/landfall-verify-XXXXXX", *conf;
	struct err err = { 0 };
	json_t *result;
	const char *verdict;
	bool good;

	if (c == NULL || o->database == NULL) {
		fprintf(stderr, "landfall-verify: --now needs --cluster and --database\n");
		return 2;
	}
	good = mkdtemp(dir) != NULL && set_up(dir, &err) &&
	       (job.file = check_file_load(o->checks != NULL ? o->checks : config->verify.checks, &err)) != NULL;
	if (!good)
		return fail(&err);
	job.target = target_of(c, &c->targets[0]);
	job.intake = o->agent_url == NULL ? NULL : json_pack("{s:s}", "agent_url", o->agent_url);
	job.manifest = o->manifest == NULL ? NULL : json_load_file(o->manifest, 0, NULL);
	if (o->manifest != NULL && job.manifest == NULL) {
		fprintf(stderr, "landfall-verify: %s is no manifest\n", o->manifest);
		return 2;
	}
	result = checks_run(&job);
	conf = talloc_asprintf(NULL, "%s/freetds.conf", dir);
	unlink(conf);
	rmdir(dir);
	verdict = json_string_value(json_object_get(result, "verdict"));
	if (o->json)
		json_dumpf(result, stdout, JSON_INDENT(2));
	else
		fputs(checks_text(NULL, result), stdout);
	return strncmp(verdict, "verified", 8) == 0 ? 0 : strcmp(verdict, "not_verified") == 0 ? 7 : 6;
}

/* Written beside and renamed, so that nobody uploads half a manifest. */
static bool
write_manifest(const char *path, json_t *manifest, struct err *err)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", path);
	bool good = json_dump_file(manifest, fresh, JSON_INDENT(1)) == 0 && rename(fresh, path) == 0;

	talloc_free(fresh);
	return good ? true : err_errno(err, errno, "%s", path);
}

static int
take_manifest(const struct once *o)
{
	char host[256], dir[] = "/tmp/landfall-verify-XXXXXX", *conf;
	struct mssql_target t = { .name = "source", .host = host, .login = o->user, .password_file = o->password_file, .ca_file = o->ca_file };
	struct err err = { 0 };
	struct mssql *ms = NULL;
	json_t *manifest;
	uint16_t port;
	bool good;

	if (o->target == NULL || o->database == NULL || o->user == NULL || o->password_file == NULL || o->ca_file == NULL || o->out == NULL) {
		fprintf(stderr, "landfall-verify: --take-manifest needs --target --database --user --password-file --ca-file --out\n");
		return 2;
	}
	if (!config_address(o->target, host, sizeof(host), &port, &err) || mkdtemp(dir) == NULL)
		return fail(&err);
	t.port = port;
	if (mssql_setup(dir, &t, 1, &err))
		ms = mssql_open(NULL, &t, "landfall-manifest", o->database, &err);
	conf = talloc_asprintf(NULL, "%s/freetds.conf", dir);
	unlink(conf);
	rmdir(dir);
	manifest = ms == NULL ? NULL : tables_manifest(ms, o->database, &err);
	good = manifest != NULL && write_manifest(o->out, manifest, &err);
	return good ? 0 : fail(&err);
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "ready-file", required_argument, NULL, 'r' }, { "now", no_argument, NULL, 'n' },
	{ "take-manifest", no_argument, NULL, 't' }, { "json", no_argument, NULL, 'j' }, { "cluster", required_argument, NULL, 'k' },
	{ "database", required_argument, NULL, 'd' }, { "manifest", required_argument, NULL, 'm' }, { "checks", required_argument, NULL, 'x' },
	{ "agent-url", required_argument, NULL, 'a' }, { "target", required_argument, NULL, 'g' }, { "user", required_argument, NULL, 'u' },
	{ "password-file", required_argument, NULL, 'p' }, { "ca-file", required_argument, NULL, 'f' }, { "out", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' }, { 0 },
};

int
main(int argc, char **argv)
{
	const char *arg[128] = { NULL };
	struct once o = { 0 };
	struct err err = { 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?' || opt == 'h') {
			fprintf(opt == 'h' ? stdout : stderr, "usage: landfall-verify [--config FILE] [--ready-file FILE]\n"
			        "       landfall-verify --now --cluster K --database D [--manifest M] [--checks F] [--agent-url U] [--json]\n"
			        "       landfall-verify --take-manifest --target HOST:PORT --database D --user U --password-file F --ca-file F --out OUT\n");
			return opt == 'h' ? 0 : 2;
		}
		arg[opt] = optarg == NULL ? "" : optarg;
	}
	o = (struct once){ arg['k'], arg['d'], arg['m'], arg['x'], arg['a'], arg['g'], arg['u'], arg['p'], arg['f'], arg['o'], arg['n'] != NULL,
		arg['t'] != NULL, arg['j'] != NULL };
	log_begin("landfall-verify");
	signal(SIGPIPE, SIG_IGN);
	if (o.take)
		return take_manifest(&o);
	config = config_load(NULL, arg['c'], &err);
	if (config == NULL)
		return o.now ? fail(&err) : (log_error("cannot start", "error", err.text, NULL), 1);
	return o.now ? verify_now(&o) : daemon_main(arg['r']);
}
