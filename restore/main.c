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

#include "common/ask_restore.h"
#include "common/clock.h"
#include "common/log.h"
#include "restore/actions.h"
#include "restore/pool.h"
#include "restore/target.h"
#include "restore/watch.h"
#include "restore/worker.h"

/*
 * landfall-restore: some worker threads, one that keeps the leases alive, and the main thread, which carries
 * out what people asked for and wakes the workers.
 *
 * SIGTERM begins the drain: nothing more is claimed, a statement that runs is finished however long it takes (a RESTORE
 * that loses its client is undone by the server, hours of it), none is begun after it, and each run is given back at
 * once. A second SIGTERM ends at once, and so does restore.drain_seconds.
 */

enum { BEAT_SECONDS = 4, PROBE_SECONDS = 20, WATCH_SECONDS = 2, POLL_MS = 500, DRAIN_MS = 50 };
/* systemd's patience is renewed that far ahead, more often than it runs out. */
#define PATIENCE_US "60000000"

static void wake_one(void);

static struct worker worker = { .words_lock = PTHREAD_MUTEX_INITIALIZER, .claimed = wake_one };
static atomic_int working; /* worker threads that have not ended */
static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static unsigned wakes; /* counted, so that none is lost on a thread that has just asked and does not wait yet */
static volatile sig_atomic_t ended;

static void
on_signal(int number)
{
	(void)number;
	ended = ended + 1;
}

static struct db *
connection(const char *name)
{
	struct db_where where;

	config_where(worker.config, &worker.config->postgres.restore, name, &where);
	return db_new(NULL, &where);
}

static unsigned
wakes_until_now(void)
{
	unsigned n;

	pthread_mutex_lock(&wake_lock);
	n = wakes;
	pthread_mutex_unlock(&wake_lock);
	return n;
}

static void
wait_for_work(int ms, unsigned since)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&wake_lock);
	if (!atomic_load(&worker.stop) && wakes == since)
		pthread_cond_clockwait(&wake, &wake_lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&wake_lock);
}

static void *
work(void *ctx)
{
	struct db *db = connection("landfall-restore worker");
	int thread = (int)(intptr_t)ctx;

	while (!atomic_load(&worker.stop)) {
		unsigned since = wakes_until_now();

		if (!worker_turn(&worker, thread, db))
			wait_for_work(POLL_MS, since);
	}
	talloc_free(db);
	atomic_fetch_sub(&working, 1);
	return NULL;
}

/* Host and process namespace: a pid means something only within both. */
static void
where_we_are(char out[300])
{
	char host[200] = "", ns[64] = "";

	gethostname(host, sizeof(host) - 1);
	if (readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1) < 0)
		ns[0] = '\0';
	snprintf(out, 300, "%s %s", host, ns);
}

/* A worker of this machine that has died keeps nobody waiting: its leases end now and not with their time. */
static void
bury_the_dead(struct db *db, const char *host)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct rows *rows;
	struct err err = { 0 };

	if (ask_workers_of(db, mem, host, &rows, &err))
		for (size_t i = 0; i < rows_count(rows); i++)
			if (strcmp(rows_text(rows, i, 0), worker.id) != 0 && kill((pid_t)rows_int(rows, i, 1), 0) != 0 && errno == ESRCH)
				ask_worker_dead(db, rows_text(rows, i, 0), &err);
	talloc_free(mem);
}

static void *
beat(void *ctx)
{
	struct db *db = connection("landfall-restore heartbeat");
	struct err err = { 0 };
	char host[300];

	(void)ctx;
	where_we_are(host);
	/* To the very end: while we drain, the leases of what still runs are kept. */
	for (;;) {
		if (!ask_worker_begin(db, worker.id, host, getpid(), &err) || !worker_beat(&worker, db, &err))
			log_warning("no sign of life could be given to Postgres", "error", err.text, NULL);
		bury_the_dead(db, host);
		sd_notify(0, "WATCHDOG=1");
		sleep(BEAT_SECONDS);
	}
	return NULL;
}

static void *
probe(void *ctx)
{
	struct db *db = connection("landfall-restore probe");

	(void)ctx;
	while (!atomic_load(&worker.stop)) {
		worker_probe(worker.config, db);
		for (int i = 0; i < PROBE_SECONDS * 4 && !atomic_load(&worker.stop); i++)
			usleep(250000);
	}
	talloc_free(db);
	return NULL;
}

static void *
watch(void *ctx)
{
	struct db *db = connection("landfall-restore watch");
	struct watch *w = watch_new(NULL, worker.config, worker.id);

	(void)ctx;
	while (!atomic_load(&worker.stop)) {
		watch_turn(w, db);
		for (int i = 0; i < WATCH_SECONDS * 4 && !atomic_load(&worker.stop); i++)
			usleep(250000);
	}
	talloc_free(w);
	talloc_free(db);
	return NULL;
}

static bool
new_id(char id[static 40], struct err *err)
{
	int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, 36);

	if (fd >= 0)
		close(fd);
	if (n != 36)
		return err_errno(err, errno, "/proc/sys/kernel/random/uuid");
	id[36] = '\0';
	return true;
}

static bool
begin(const char *path, struct err *err)
{
	struct config *config = config_load(NULL, path, err);
	struct mssql_target *targets = NULL;
	const char **names;
	size_t n = 0;

	if (config == NULL || !new_id(worker.id, err))
		return false;
	worker.config = config;
	if (config->restore.work == NULL)
		return err_set(err, ERR_OPERATOR, 0, "%s has no restore.work", path == NULL ? "the configuration" : path);
	names = talloc_array(NULL, const char *, config->n_clusters + 1);
	for (unsigned c = 0; c < config->n_clusters; c++) {
		names[c] = config->clusters[c].name;
		for (unsigned i = 0; i < config->clusters[c].n_targets; i++) {
			targets = talloc_realloc(NULL, targets, struct mssql_target, n + 1);
			targets[n++] = target_of(&config->clusters[c], &config->clusters[c].targets[i]);
		}
	}
	worker.clusters = db_text_array(NULL, names, config->n_clusters);
	mkdir(config->restore.work, 0700);
	return mssql_setup(config->restore.work, targets, n, err);
}

static void
say_ready(const char *file)
{
	FILE *f = file == NULL ? NULL : fopen(file, "we");

	sd_notify(0, "READY=1");
	if (f != NULL) {
		fprintf(f, "0 %d\n", getpid());
		fclose(f);
	}
	log_info("ready", "worker", worker.id, NULL);
}

/* One asks; when it has found something it wakes the next. All at once would ask in vain and in each other's way. */
static void
wake_one(void)
{
	pthread_mutex_lock(&wake_lock);
	wakes++;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&wake_lock);
}

static void
wake_workers(void)
{
	pthread_mutex_lock(&wake_lock);
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&wake_lock);
}

static void
turn(struct db *db, int ms)
{
	struct err err = { 0 };
	bool woken;

	while (actions_turn(db, worker.config))
		;
	if (!db_wait(db, ms, -1, &woken, &err))
		usleep((useconds_t)ms * 1000);
	else if (woken)
		wake_one();
	pool_turn();
}

static void
say_draining(void)
{
	char *words = worker_words(&worker, NULL);

	sd_notifyf(0, "EXTEND_TIMEOUT_USEC=" PATIENCE_US "\nSTATUS=Ends when the statement that runs is finished; %s", words);
	log_info("ends when the statements that run are finished", "still", words, NULL);
	talloc_free(words);
}

/* What people ask for is carried out meanwhile: a hold may be what ends the wait. */
static void
drain(struct db *db)
{
	int64_t begun = steady_seconds(), said = -1;

	atomic_store(&worker.stop, true);
	sd_notify(0, "STOPPING=1");
	wake_workers();
	while (ended == 1 && atomic_load(&working) > 0 && steady_seconds() - begun < worker.config->restore.drain_seconds) {
		/* Not of what ends within the second. */
		if (steady_seconds() > begun && (said < 0 || steady_seconds() - said >= 15)) {
			said = steady_seconds();
			say_draining();
		}
		turn(db, DRAIN_MS);
	}
	if (atomic_load(&working) > 0) {
		char *words = worker_words(&worker, NULL);

		log_warning("ends in the middle of a statement; the server undoes it and another worker begins it again", "of", words, NULL);
		talloc_free(words);
	}
}

static void
serve(void)
{
	struct db *db = connection("landfall-restore actions");
	struct err err = { 0 };

	db_listen(db, "landfall_work", &err);
	while (!ended)
		turn(db, POLL_MS);
	drain(db);
	talloc_free(db);
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "ready-file", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

int
main(int argc, char **argv)
{
	const char *config = NULL, *ready = NULL;
	pthread_t threads[WORKER_THREADS + 3];
	struct err err = { 0 };
	int opt, n;

	while ((opt = getopt_long(argc, argv, "c:r:h", options, NULL)) != -1) {
		if (opt == 'c')
			config = optarg;
		else if (opt == 'r')
			ready = optarg;
		else {
			fprintf(opt == 'h' ? stdout : stderr, "usage: landfall-restore [--config FILE] [--ready-file FILE]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	log_begin("landfall-restore");
	if (!begin(config, &err)) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	n = worker.config->restore.workers;
	n = n < 1 ? 4 : n > WORKER_THREADS ? WORKER_THREADS : n;
	atomic_store(&working, n);
	atomic_store(&worker.beaten, steady_ms());
	for (int i = 0; i < n + 3; i++)
		if (pthread_create(&threads[i], NULL, i == n ? beat : i == n + 1 ? probe : i == n + 2 ? watch : work, (void *)(intptr_t)i) != 0) {
			log_error("cannot start a thread", NULL);
			return 1;
		}
	say_ready(ready);
	serve();
	log_info("ends", NULL);
	_exit(0);
}
