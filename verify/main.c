/*
 * landfall-verify: carries out verifications that are asked for; or, once, verifies a named database or
 * takes the row manifest of one.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/log.h"
#include "verify/report.h"
#include "verify/tables.h"
#include "verify/worker.h"

/* As everywhere: 2 usage, 4 cannot, 6 incomplete, 7 not verified. */
enum { EXIT_USAGE = 2, EXIT_CANNOT = 4, EXIT_INCOMPLETE = 6, EXIT_NOT_VERIFIED = 7 };

static const char usage[] =
	"usage: landfall-verify [--config FILE] [--ready-file FILE]\n"
	"       landfall-verify --now --cluster K --database D [--config FILE] [--manifest M] [--checks F]\n"
	"                       [--agent-url U] [--intake NAME=VALUE]… [--json]\n"
	"       landfall-verify --take-manifest --target HOST:PORT --database D --user U --password-file F\n"
	"                       --ca-file F --out OUT\n"
	"--now exits 0 verified (warnings too), 7 not verified, 6 incomplete, 4 when it cannot begin.\n";

/* work: where the private freetds.conf goes. One process's is never another's: only its owner reads it. */
static bool
set_up(const struct config *config, const char *work, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct mssql_target *targets = NULL;
	size_t n = 0;
	bool good = true;

	for (unsigned c = 0; c < config->n_clusters; c++)
		for (unsigned i = 0; i < config->clusters[c].n_targets; i++) {
			targets = talloc_realloc(mem, targets, struct mssql_target, n + 1);
			targets[n++] = worker_target(&config->clusters[c], &config->clusters[c].targets[i]);
		}
	if (work == NULL)
		good = err_set(err, ERR_OPERATOR, 0, "the configuration has no verify.work");
	else if (mkdir(work, 0700) != 0 && errno != EEXIST)
		good = err_errno(err, errno, "%s", work);
	good = good && mssql_setup(work, targets, n, err);
	talloc_free(mem);
	return good;
}

/* ---- the daemon --------------------------------------------------------------------------- */

/* Written beside and renamed, so that who waits for it never reads half of it. */
static void
say_ready(const char *path)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", path);
	FILE *f = fopen(fresh, "we");

	if (f != NULL) {
		fprintf(f, "0 %d\n", getpid());
		if (fclose(f) == 0)
			rename(fresh, path);
	}
	talloc_free(fresh);
}

static struct check_file *
load_checks(const struct config *config, const char *given, struct err *err)
{
	const char *path = given != NULL ? given : config->verify.checks;

	if (path != NULL)
		return check_file_load(path, err);
	err_set(err, ERR_OPERATOR, 0, "the configuration has no verify.checks");
	return NULL;
}

static int
cannot_start(const struct err *err)
{
	log_error("cannot start", "error", err->text, NULL);
	return 1;
}

static int
daemon_main(const struct config *config, const char *ready)
{
	struct checks_stop *stop = checks_stop_new(NULL);
	struct err err = { 0 };
	struct check_file *file = set_up(config, config->verify.work, &err) ? load_checks(config, NULL, &err)
	                                                                    : NULL;
	struct worker *w = file == NULL ? NULL : worker_new(NULL, config, file, stop, &err);
	pthread_t serving, beating;
	sigset_t ends;
	int number;

	if (w == NULL)
		return cannot_start(&err);
	/* Blocked everywhere and taken here, so that no question is cut in half. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (pthread_create(&beating, NULL, worker_beat, w) != 0 ||
	    pthread_create(&serving, NULL, worker_serve, w) != 0) {
		err_set(&err, ERR_OPERATOR, 0, "no thread can be started");
		return cannot_start(&err);
	}
	sd_notify(0, "READY=1");
	if (ready != NULL)
		say_ready(ready);
	log_info("ready", "checks", config->verify.checks, NULL);
	sigwait(&ends, &number);
	sd_notify(0, "STOPPING=1");
	checks_stop(stop);
	pthread_join(serving, NULL);
	pthread_join(beating, NULL);
	log_info("ended", NULL);
	talloc_free(w);
	talloc_free(stop);
	check_file_free(file);
	return 0;
}

/* ---- once --------------------------------------------------------------------------------- */

struct once {
	const char *cluster, *database, *manifest, *checks, *target, *user, *password_file, *ca_file, *out;
	json_t *intake;
	bool now, take, json;
};

static int
fail(const struct err *err)
{
	fprintf(stderr, "landfall-verify: %s\n", err->text);
	return EXIT_CANNOT;
}

/* A folder for one freetds.conf, taken away again. */
struct scratch { char path[32]; };

static bool
scratch_make(struct scratch *s, struct err *err)
{
	snprintf(s->path, sizeof(s->path), "/tmp/landfall-verify-XXXXXX");
	return mkdtemp(s->path) != NULL ? true : err_errno(err, errno, "%s", s->path);
}

static void
scratch_remove(const struct scratch *s)
{
	char conf[64];

	snprintf(conf, sizeof(conf), "%s/freetds.conf", s->path);
	unlink(conf);
	rmdir(s->path);
}

static struct manifest *
load_manifest(TALLOC_CTX *parent, const char *path, struct err *err)
{
	json_error_t why;
	json_t *o = json_load_file(path, 0, &why);
	struct manifest *m = NULL;

	if (o == NULL)
		err_set(err, ERR_BROKEN, 0, "%s:%d: %s", path, why.line, why.text);
	else if ((m = manifest_parse(parent, o, err)) == NULL)
		err_under(err, "%s", path);
	json_decref(o);
	return m;
}

static int
verdict_exit(const char *verdict)
{
	return strncmp(verdict, "verified", 8) == 0       ? 0
	       : strcmp(verdict, "not_verified") == 0 ? EXIT_NOT_VERIFIED
	                                              : EXIT_INCOMPLETE;
}

static int
verify_now(const struct config *config, const struct once *o)
{
	const struct config_cluster *c = o->cluster == NULL ? NULL : config_cluster(config, o->cluster);
	struct checks_job job = { .cluster = o->cluster, .database = o->database, .migration = "-",
		.run = "now", .intake = o->intake };
	struct check_file *file;
	struct mssql_target target;
	struct scratch scratch;
	struct err err = { 0 };
	json_t *result;
	int code;

	if (c == NULL || c->n_targets == 0 || o->database == NULL) {
		fprintf(stderr, "landfall-verify: --now needs --database and the --cluster of the configuration\n");
		return EXIT_USAGE;
	}
	job.stop = checks_stop_new(NULL);
	if (o->manifest != NULL && (job.manifest = load_manifest(job.stop, o->manifest, &err)) == NULL) {
		fail(&err);
		talloc_free(job.stop);
		return EXIT_USAGE;
	}
	job.file = file = load_checks(config, o->checks, &err);
	if (file == NULL || !scratch_make(&scratch, &err))
		return fail(&err);
	if (!set_up(config, scratch.path, &err)) {
		scratch_remove(&scratch);
		return fail(&err);
	}
	target = worker_target(c, &c->targets[0]);
	job.target = &target;
	result = checks_run(&job);
	scratch_remove(&scratch);
	if (o->json)
		json_dumpf(result, stdout, JSON_INDENT(2));
	else
		fputs(report_text(job.stop, result), stdout);
	code = verdict_exit(json_string_value(json_object_get(result, "verdict")));
	json_decref(result);
	check_file_free(file);
	talloc_free(job.stop);
	return code;
}

/* Written beside and renamed, so that nobody uploads half a manifest. */
static bool
write_manifest(const char *path, json_t *manifest, struct err *err)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", path);
	bool good = json_dump_file(manifest, fresh, JSON_INDENT(1)) == 0 && rename(fresh, path) == 0;

	if (!good)
		err_errno(err, errno, "%s", path);
	talloc_free(fresh);
	return good;
}

static int
take_manifest(const struct once *o)
{
	char host[256];
	struct mssql_target t = { .name = "source", .host = host, .login = o->user,
		.password_file = o->password_file, .ca_file = o->ca_file };
	struct scratch scratch;
	struct err err = { 0 };
	struct mssql *ms = NULL;
	json_t *manifest;
	uint16_t port;
	bool good;

	if (o->target == NULL || o->database == NULL || o->user == NULL || o->password_file == NULL ||
	    o->ca_file == NULL || o->out == NULL) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!config_address(o->target, host, sizeof(host), &port, &err) || !scratch_make(&scratch, &err))
		return fail(&err);
	t.port = port;
	if (mssql_setup(scratch.path, &t, 1, &err))
		ms = mssql_open(NULL, &t, "landfall-manifest", o->database, &err);
	scratch_remove(&scratch);
	manifest = ms == NULL ? NULL : tables_manifest(ms, o->database, &err);
	talloc_free(ms);
	good = manifest != NULL && write_manifest(o->out, manifest, &err);
	json_decref(manifest);
	return good ? 0 : fail(&err);
}

/* ---- options ------------------------------------------------------------------------------ */

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },        { "ready-file", required_argument, NULL, 'r' },
	{ "now", no_argument, NULL, 'n' },                 { "take-manifest", no_argument, NULL, 't' },
	{ "json", no_argument, NULL, 'j' },                { "cluster", required_argument, NULL, 'k' },
	{ "database", required_argument, NULL, 'd' },      { "manifest", required_argument, NULL, 'm' },
	{ "checks", required_argument, NULL, 'x' },        { "agent-url", required_argument, NULL, 'a' },
	{ "intake", required_argument, NULL, 'i' },        { "target", required_argument, NULL, 'g' },
	{ "user", required_argument, NULL, 'u' },          { "password-file", required_argument, NULL, 'p' },
	{ "ca-file", required_argument, NULL, 'f' },       { "out", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },                { 0 },
};

/* NAME=VALUE of the intake. */
static bool
take_field(json_t *intake, const char *field)
{
	const char *equals = strchr(field, '=');
	char *name = equals == NULL ? NULL : talloc_strndup(NULL, field, (size_t)(equals - field));
	bool good = name != NULL && json_object_set_new(intake, name, json_string(equals + 1)) == 0;

	talloc_free(name);
	return good;
}

/* Into arg by the option's letter; false for what nobody knows. */
static bool
take_options(int argc, char **argv, const char *arg[128], json_t *intake)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?' || (opt == 'i' && !take_field(intake, optarg)))
			return false;
		arg[opt] = optarg == NULL ? "" : optarg;
	}
	if (arg['a'] != NULL)
		json_object_set_new(intake, "agent_url", json_string(arg['a']));
	return optind == argc;
}

static int
with_config(const struct once *o, const char *path, const char *ready)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	const struct config *config = config_load(mem, path, &err);
	int code;

	if (config == NULL)
		code = o->now ? fail(&err) : cannot_start(&err);
	else
		code = o->now ? verify_now(config, o) : daemon_main(config, ready);
	talloc_free(mem);
	return code;
}

int
main(int argc, char **argv)
{
	const char *arg[128] = { NULL };
	json_t *intake = json_object();
	bool known = take_options(argc, argv, arg, intake);
	const struct once o = { .cluster = arg['k'], .database = arg['d'], .manifest = arg['m'],
		.checks = arg['x'], .target = arg['g'], .user = arg['u'], .password_file = arg['p'],
		.ca_file = arg['f'], .out = arg['o'], .intake = intake, .now = arg['n'] != NULL,
		.take = arg['t'] != NULL, .json = arg['j'] != NULL };
	int code;

	log_begin("landfall-verify");
	signal(SIGPIPE, SIG_IGN);
	if (!known || arg['h'] != NULL) {
		fputs(usage, known ? stdout : stderr);
		code = known ? 0 : EXIT_USAGE;
	} else {
		code = o.take ? take_manifest(&o) : with_config(&o, arg['c'], arg['r']);
	}
	json_decref(intake);
	return code;
}
