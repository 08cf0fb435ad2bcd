/*
 * Many workers at one queue, as threads with connections of their own: claim, ask for a slot, give back, in a loop, by the
 * named questions that landfall-restore asks. Says how long a claim took, and fails when a run was held twice, a token
 * that was taken over could still write, a cluster had more in its slots than it has, or a run was never claimed.
 *
 *   queue-race --config FILE --cluster NAME --threads N --seconds S [--dies PERCENT] [--every-run] [--wake] [--work MS]
 *
 * --dies: so many of the visits end without giving back, as those of a worker that was killed. --every-run: each run of the
 * cluster that is in the queue must have been claimed. --wake: besides, the time from a commit that makes a run due to its
 * claim by a worker that listens. --work: a visit takes so long on average and not as little as can be.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ask_restore.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"

enum { THREADS_MAX = 256, TIMES_MAX = 200000, RUNS_MAX = 1 << 20, WAKES = 200, PATIENCE_MS = 60000, WARM_UPS = 10 };

struct times { int64_t *us; size_t n; };

static struct config *config;
static const char *clusters, *cluster;
static int threads = 50, seconds = 10, dies, work_ms;
static bool every_run, wake;
static _Atomic int64_t *holder; /* by run: the token that holds it, 0 for none */
static _Atomic bool *awaited;   /* by run: in the queue at the beginning, and not claimed since */
static atomic_int in_slots, most_in_slots, twice, late_writes, over, n_dead, failed, unclaimed;
static int slots;

static struct db *
connection(const struct config_role *role, const char *name)
{
	struct db_where where;

	config_where(config, role, name, &where);
	return db_new(NULL, &where);
}

static void
new_id(char id[static 40])
{
	FILE *f = fopen("/proc/sys/kernel/random/uuid", "re");

	if (f == NULL || fgets(id, 37, f) == NULL)
		abort();
	fclose(f);
}

static void
keep(struct times *t, int64_t us)
{
	if (t->n < TIMES_MAX)
		t->us[t->n++] = us;
}

static void
fail(const char *what, const struct err *err)
{
	if (atomic_fetch_add(&failed, 1) < 5)
		fprintf(stderr, "%s: %s\n", what, err->text);
}

/* A restore: others must not be in the same slot, nor at the same run. */
static void
hold_slot(unsigned work_us)
{
	int now = atomic_fetch_add(&in_slots, 1) + 1, most = atomic_load(&most_in_slots);

	while (now > most && !atomic_compare_exchange_weak(&most_in_slots, &most, now))
		;
	if (now > slots)
		atomic_fetch_add(&over, 1);
	usleep(work_us);
	atomic_fetch_sub(&in_slots, 1);
}

/* Its worker is killed here: whoever buries it ends the lease, and what it would still write comes too late. */
static void
die(struct db *db, const char *id, const struct restore_run *run)
{
	struct err err = { 0 };

	atomic_fetch_add(&n_dead, 1);
	atomic_store(&holder[run->id], 0);
	if (!ask_worker_dead(db, id, &err))
		fail("a worker is buried", &err);
	if (ask_waits(db, run, "too late", &err))
		atomic_fetch_add(&late_writes, 1);
}

/* The least that a durable write costs on this machine at this moment: what the claim is to be compared with. */
static void
write_little(struct db *db, const char *id, struct times *t)
{
	struct err err = { 0 };
	int64_t begun = steady_ns();

	if (ask_worker_begin(db, id, "queue-race", 0, &err))
		keep(t, (steady_ns() - begun) / 1000);
}

static bool
visit(struct db *db, const char *id, struct times *t, unsigned *seed)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct restore_run run;
	struct err err = { 0 };
	const char *who = NULL;
	bool got = false, slot = false;
	unsigned work_us = work_ms == 0 ? 1000 : (unsigned)rand_r(seed) % ((unsigned)work_ms * 2000);
	int64_t begun = steady_ns();

	if (!ask_claim(db, mem, id, clusters, &run, &got, &err)) {
		fail("a claim", &err);
	} else if (got) {
		keep(t, (steady_ns() - begun) / 1000);
		if (atomic_exchange(&holder[run.id], run.token) != 0)
			atomic_fetch_add(&twice, 1);
		if (atomic_exchange(&awaited[run.id], false))
			atomic_fetch_sub(&unclaimed, 1);
		if (!ask_slot(db, mem, &run, NULL, &slot, &who, &err))
			fail("a slot", &err);
		if (slot)
			hold_slot(work_us);
		else if (work_ms != 0)
			usleep(work_us);
		if ((int)(rand_r(seed) % 100) < dies) {
			die(db, id, &run);
		} else {
			atomic_store(&holder[run.id], 0);
			if (!ask_release(db, &run, who, NULL, !slot, slot ? 1000 + (int)(rand_r(seed) % 1000) : 100, &err))
				fail("giving back", &err);
		}
	}
	talloc_free(mem);
	return got;
}

struct thread { pthread_t id; struct db *db; struct times claims, least; unsigned seed; int64_t until, empty; };

/* However slow the machine is, each run has its turn. */
static bool
goes_on(const struct thread *t)
{
	return steady_ms() < t->until || (every_run && atomic_load(&unclaimed) > 0 && steady_ms() < t->until + PATIENCE_MS);
}

/* A worker asks for days over one connection: that Postgres plans the question anew at first is not what is measured. */
static void
warm_up(struct db *db)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct restore_run run;
	struct err err = { 0 };
	char id[40];
	bool got;

	new_id(id);
	for (int i = 0; i < WARM_UPS; i++)
		if (!ask_claim(db, mem, id, db_text_array(mem, NULL, 0), &run, &got, &err))
			fail("a claim among no clusters", &err);
	talloc_free(mem);
}

static void *
work(void *ctx)
{
	struct thread *t = ctx;
	struct db *db = t->db;
	char id[40] = "";

	warm_up(db);
	/* Workers do not all begin in the same instant, where their visits take time. */
	usleep(work_ms == 0 ? 0 : (useconds_t)rand_r(&t->seed) % ((useconds_t)work_ms * 2000));
	while (goes_on(t)) {
		/* Who died has another name when it comes back. */
		new_id(id);
		for (int i = 0; i < 50 && goes_on(t); i++) {
			write_little(db, id, &t->least);
			if (!visit(db, id, &t->claims, &t->seed)) {
				t->empty++;
				usleep(5000);
			}
		}
	}
	return NULL;
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double
percentile(struct times *t, double p)
{
	if (t->n == 0)
		return 0;
	qsort(t->us, t->n, sizeof(t->us[0]), by_size);
	return (double)t->us[(size_t)((double)(t->n - 1) * p)] / 1000;
}

/* How long after the commit that makes it due does a worker that listens hold the run? */
static void
measure_wake(void)
{
	struct db *hears = connection(&config->postgres.restore, "queue-race hears"), *tells = connection(&config->postgres.owner, "queue-race tells");
	struct times t = { .us = calloc(WAKES, sizeof(int64_t)) };
	char id[40];
	struct err err = { 0 };
	bool woken;

	new_id(id);
	/* Nobody else is due. */
	if (!DB_ASK(tells, NULL, NULL, &err, "update landfall.run set next_try = now() + interval '1 hour' where cluster = $1", cluster))
		fail("the others are put off", &err);
	db_listen(hears, "landfall_work", &err);
	while (db_wait(hears, 100, -1, &woken, &err) && woken)
		;
	for (int i = 0; i < WAKES; i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct restore_run run;
		struct rows *rows = NULL;
		bool got = false;
		int64_t begun;

		/* What the receiver's feed does at its end: a set is known, its trigger makes the run due and says so. */
		if (!DB_ASK(tells, mem, &rows, &err, "update landfall.run set next_try = 'infinity' where id = (select id from landfall.run where cluster = $1"
			" and state = 'ready' and lease_until is null and not wants_slot order by random() limit 1) returning id, migration", cluster) ||
		    rows_count(rows) == 0) {
			fail("a run that is ready", &err);
			talloc_free(mem);
			break;
		}
		begun = steady_ns();
		if (!DB_ASK(tells, mem, NULL, &err, "insert into landfall.backup_set(migration, backup_set_guid, kind, database_name, server_name, family_guid,"
			" recovery_fork, first_recovery_fork, first_lsn, last_lsn, checkpoint_lsn, database_version, compat_level, recovery_model, flags,"
			" copy_only, backup_size, compressed_size, media_set_id, family_count, header) values($1, gen_random_uuid(), 'log', 'd', 's',"
			" gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 2, 1, 904, 150, 'FULL', 0, false, 1, 1, gen_random_uuid(), 1, '{}')",
			rows_text(rows, 0, 1)))
			fail("a set", &err);
		while (steady_ns() - begun < INT64_C(5000000000)) {
			if (!ask_claim(hears, mem, id, clusters, &run, &got, &err) || (!got && !db_wait(hears, 500, -1, &woken, &err)))
				break;
			if (!got)
				continue;
			if (run.id == rows_int(rows, 0, 0))
				keep(&t, (steady_ns() - begun) / 1000);
			ask_release(hears, &run, NULL, NULL, false, 600000, &err);
			if (run.id == rows_int(rows, 0, 0))
				break;
		}
		talloc_free(mem);
	}
	printf("commit to claim: %zu times, p50 %.1f ms, p99 %.1f ms\n", t.n, percentile(&t, 0.5), percentile(&t, 0.99));
	free(t.us);
	talloc_free(hears);
	talloc_free(tells);
}

static bool
begin(TALLOC_CTX *mem, struct db *db)
{
	struct rows *rows = NULL;
	struct err err = { 0 };

	if (!DB_ASK(db, mem, &rows, &err, "select slots from cluster where name = $1", cluster) || rows_count(rows) != 1) {
		fail("the cluster", &err);
		return false;
	}
	slots = (int)rows_int(rows, 0, 0);
	holder = calloc(RUNS_MAX, sizeof(*holder));
	awaited = calloc(RUNS_MAX, sizeof(*awaited));
	if (!DB_ASK(db, mem, &rows, &err, "select id from run where cluster = $1 and queue_class is not null", cluster)) {
		fail("the runs", &err);
		return false;
	}
	for (size_t i = 0; i < rows_count(rows); i++)
		atomic_store(&awaited[rows_int(rows, i, 0)], true);
	atomic_store(&unclaimed, (int)rows_count(rows));
	return holder != NULL && awaited != NULL;
}

static int
say(struct thread *t)
{
	struct times all = { .us = calloc(TIMES_MAX, sizeof(int64_t)) }, least = { .us = calloc(TIMES_MAX, sizeof(int64_t)) };
	int64_t empty = 0;
	size_t n = 0;
	int lost_runs = every_run ? atomic_load(&unclaimed) : 0;

	for (int i = 0; i < threads; i++) {
		empty += t[i].empty;
		n += t[i].claims.n;
		for (size_t k = 0; k < t[i].claims.n; k++)
			keep(&all, t[i].claims.us[k]);
		for (size_t k = 0; k < t[i].least.n; k++)
			keep(&least, t[i].least.us[k]);
	}
	printf("claims: %zu by %d workers in %d s (%zu/s), p50 %.1f ms, p99 %.1f ms; %lld times there was none; %d died\n", n, threads, seconds,
	       n / (size_t)seconds, percentile(&all, 0.5), percentile(&all, 0.99), (long long)empty, atomic_load(&n_dead));
	printf("the least write beside them: p50 %.1f ms, p99 %.1f ms\n", percentile(&least, 0.5), percentile(&least, 0.99));
	printf("held twice %d, written too late %d, over the slots %d (most at once %d of %d), lost %d, failed %d\n", atomic_load(&twice),
	       atomic_load(&late_writes), atomic_load(&over), atomic_load(&most_in_slots), slots, lost_runs, atomic_load(&failed));
	free(all.us);
	free(least.us);
	return n == 0 || atomic_load(&twice) + atomic_load(&late_writes) + atomic_load(&over) + lost_runs + atomic_load(&failed) > 0;
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "cluster", required_argument, NULL, 'k' }, { "threads", required_argument, NULL, 't' },
	{ "seconds", required_argument, NULL, 's' }, { "dies", required_argument, NULL, 'd' }, { "every-run", no_argument, NULL, 'e' },
	{ "wake", no_argument, NULL, 'w' }, { "work", required_argument, NULL, 'm' }, { 0 },
};

int
main(int argc, char **argv)
{
	static struct thread list[THREADS_MAX];
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *file = NULL;
	struct err err = { 0 };
	struct db *db;
	int64_t begun;
	int opt, bad;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (opt) {
		case 'c': file = optarg; break;
		case 'k': cluster = optarg; break;
		case 't': threads = atoi(optarg); break;
		case 's': seconds = atoi(optarg); break;
		case 'd': dies = atoi(optarg); break;
		case 'e': every_run = true; break;
		case 'w': wake = true; break;
		case 'm': work_ms = atoi(optarg); break;
		default: return 2;
		}
	log_begin("queue-race");
	if (cluster == NULL || threads < 1 || threads > THREADS_MAX || seconds < 1 || (config = config_load(mem, file, &err)) == NULL) {
		fprintf(stderr, "queue-race: %s\n", err.text);
		return 2;
	}
	clusters = db_text_array(mem, &cluster, 1);
	db = connection(&config->postgres.restore, "queue-race");
	if (!begin(mem, db))
		return 1;
	/* Log-ins are no part of what is measured. */
	for (int i = 0; i < threads; i++) {
		list[i] = (struct thread){ .seed = (unsigned)i, .db = connection(&config->postgres.restore, "queue-race"),
			.claims = { calloc(TIMES_MAX, sizeof(int64_t)), 0 }, .least = { calloc(TIMES_MAX, sizeof(int64_t)), 0 } };
		if (!db_connect(list[i].db, &err)) {
			fail("a connection", &err);
			return 1;
		}
	}
	begun = steady_ms();
	for (int i = 0; i < threads; i++) {
		list[i].until = begun + seconds * 1000;
		if (pthread_create(&list[i].id, NULL, work, &list[i]) != 0)
			return 1;
	}
	for (int i = 0; i < threads; i++)
		pthread_join(list[i].id, NULL);
	bad = say(list);
	if (wake)
		measure_wake();
	talloc_free(db);
	return bad;
}
