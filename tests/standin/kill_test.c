#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bak.h"
#include "tests/standin/killer.h"
#include "tests/standin/listener.h"

/*
 * kill -9 inside RESTORE, BACKUP, CREATE, DROP, the seeding of a secondary, a failover, the removal from a group and the
 * start after it, before every system call that can leave a trace and before every answer. What must hold afterwards is said here anew and shares nothing with
 * the engine:
 *
 * - A database is as it was, as it would have become, or RESTORING; rows are those of before or of after.
 * - restorehistory has a row of a statement exactly when the statement is through.
 * - What was broken off lets nothing pass that would go on from its end, and is finished by saying it again, or by
 *   RECOVERY where 4347 asks for that.
 * - A backup file is whole and restores to the source's rows, or is refused; sets in front of it in the same file
 *   restore as before; a whole tail WITH NORECOVERY has left its database RESTORING.
 * - The log goes on: whatever the next log backup and the next differential hold completes what was taken before.
 * - A database that was being added to an availability group, or removed, is in it or is not; seeding comes to its end.
 * - After a failover exactly one replica is the primary, with every row, and the other follows it; it can fail over again.
 * - A database that was being created is there and empty, or is not there and can be created.
 * - After DROP nothing is left in the server's folder.
 *
 * Points are numbered by playing each statement once unkilled. A seeded sample (SEED) of them is played; LONG=1 plays
 * all, and at each kills the start that follows before each of its own calls as well (hours); LONG=points plays all, with one
 * death of the start that follows here and there.
 */

enum { WHY = 2000, SAMPLE = 2, PATIENCE_MS = 20000 };

/* How far rows are: a stage of the source's life, at the end of which something was backed up. */
enum stage { NOTHING, AT_FULL, AT_DIFF, AT_LOG1, AT_STOP, AT_LOG2, NOW, STAGES };
enum life { ABSENT, ONLINE, RESTORING, STANDBY };

struct world {
	TALLOC_CTX *mem;
	char *dir, *now, *ready; /* now: what statements work on; ready: prepared, copied to now for each point */
	char *rows[STAGES]; /* that the source had at the end of each */
	char *stop_at;      /* a time within the second log, at AT_STOP */
	const char *stop;   /* where roll forward stands after it */
	char *why;          /* shared with children: what is wrong */
	size_t wanted, points, starts;
	unsigned seed, dice;
	bool all, all_starts;
};

static unsigned
chance(struct world *w, unsigned n)
{
	w->dice = w->dice * 1103515245u + 12345u;
	return (w->dice >> 8) % n;
}

#define WRONG(w, ...) (snprintf((w)->why, WHY, __VA_ARGS__), false)

/* ---- saying and hearing ------------------------------------------------------------------------------------ */

static struct heard *
listen_anew(struct world *w)
{
	static int line = -1;
	struct heard *h = heard_new(w->mem, "kill_test");

	if (line < 0)
		line = open("/dev/null", O_WRONLY | O_CLOEXEC);
	h->line = line; /* answers are killed at, too */
	return h;
}

static const char *
at(struct world *w, const char *file)
{
	return talloc_asprintf(w->mem, "%s/%s", w->now, file);
}

static struct engine *
start(struct world *w, const char *server)
{
	struct err err = { 0 };
	struct engine *e = engine_open(w->mem, at(w, server), server, &err);

	if (e == NULL)
		snprintf(w->why, WHY, "%s does not start: %s", server, err.text);
	return e;
}

static bool
change(struct world *w, struct engine *e, const char *database, const char *sql, bool is_ddl)
{
	sqlite3 *db = engine_connect(e, database, &listen_anew(w)->out);
	struct err err = { 0 };
	struct engine_tx *tx = db == NULL ? NULL : engine_begin(e, db, database, &err);
	bool good = tx != NULL && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;

	if (good && is_ddl)
		engine_tx_ddl(tx, sql);
	if (good)
		good = engine_commit(tx, &err);
	else if (tx != NULL)
		engine_rollback(tx);
	if (db != NULL)
		engine_disconnect(e, db);
	return good;
}

static char *
rows(struct world *w, struct engine *e, const char *database)
{
	struct heard *h = listen_anew(w);

	return engine_rows(e, database, "dbo.ticket", &h->out) ? h->rows : talloc_asprintf(w->mem, "error %d", heard_error(h));
}

/* One value of the catalogue; NULL is "". */
static const char *
ask(struct world *w, struct engine *e, const char *sql)
{
	sqlite3 *db = engine_connect(e, "master", &listen_anew(w)->out);
	sqlite3_stmt *st = NULL;
	const char *value = "";

	if (db == NULL || !engine_refresh_catalogue(e, db, ENGINE_OBJECTS | ENGINE_GROUPS) || sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		value = "the catalogue cannot be asked";
	else if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0) != NULL)
		value = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	engine_disconnect(e, db);
	return value;
}

static enum life
life_of(struct world *w, struct engine *e, const char *database)
{
	enum engine_state state = engine_state(e, database);
	const char *standby = ask(w, e, talloc_asprintf(w->mem, "SELECT is_in_standby FROM sys.databases WHERE name = '%s'", database));

	return state == ENGINE_ABSENT ? ABSENT : state != ENGINE_ONLINE ? RESTORING : strcmp(standby, "1") == 0 ? STANDBY : ONLINE;
}

static const char *
redo(struct world *w, struct engine *e, const char *database)
{
	return ask(w, e, talloc_asprintf(w->mem, "SELECT f.redo_start_lsn FROM sys.master_files f JOIN sys.databases d ON d.database_id ="
	                                 " f.database_id WHERE d.name = '%s' AND f.type = 0", database));
}

static int
completed(struct world *w, struct engine *e)
{
	return atoi(ask(w, e, "SELECT count(*) FROM msdb.restorehistory"));
}

/* Everything in a folder but what a server always has. */
static const char *
left_over(struct world *w, const char *server)
{
	DIR *dir = opendir(at(w, server));
	char *list = talloc_strdup(w->mem, "");
	struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' && strcmp(d->d_name, "server.sqlite") != 0)
			list = talloc_asprintf_append(list, " %s", d->d_name);
	if (dir != NULL)
		closedir(dir);
	return list;
}

/* ---- statements ---------------------------------------------------------------------------------------------- */

/* A RESTORE by name: of which files, and what comes of it. */
struct step {
	const char *says;
	enum engine_verb verb;
	const char *files[4];
	enum life life;   /* it says WITH NORECOVERY, STANDBY or RECOVERY */
	enum stage stage; /* that the rows are at then */
	bool replace, stops; /* stops: WITH STOPAT, in the second log */
};

enum { FULL, FULL_READ, FULL_UP, STRIPED, PACKED, REPLACE, DIFF, LOG1, LOG1_READ, LOG1_UP, LOG2, LOG2_READ, LOG2_STOP, LOG2_STOP_UP, UP, DROP, END = -1 };
static const struct step steps[] = {
	[FULL] = { "RESTORE DATABASE", ENGINE_RESTORE_DATABASE, { "full.bak" }, RESTORING, AT_FULL, false, false },
	[FULL_READ] = { "RESTORE DATABASE WITH STANDBY", ENGINE_RESTORE_DATABASE, { "full.bak" }, STANDBY, AT_FULL, false, false },
	[FULL_UP] = { "RESTORE DATABASE WITH RECOVERY", ENGINE_RESTORE_DATABASE, { "full.bak" }, ONLINE, AT_FULL, false, false },
	[STRIPED] = { "RESTORE DATABASE from stripes", ENGINE_RESTORE_DATABASE, { "s1.bak", "s2.bak", "s3.bak" }, RESTORING, AT_FULL, false, false },
	[PACKED] = { "RESTORE DATABASE of a compressed one", ENGINE_RESTORE_DATABASE, { "packed.bak" }, RESTORING, AT_FULL, false, false },
	[REPLACE] = { "RESTORE DATABASE WITH REPLACE", ENGINE_RESTORE_DATABASE, { "full.bak" }, RESTORING, AT_FULL, true, false },
	[DIFF] = { "RESTORE DATABASE, a differential", ENGINE_RESTORE_DATABASE, { "diff.bak" }, RESTORING, AT_DIFF, false, false },
	[LOG1] = { "RESTORE LOG", ENGINE_RESTORE_LOG, { "log1.trn" }, RESTORING, AT_LOG1, false, false },
	[LOG1_READ] = { "RESTORE LOG WITH STANDBY", ENGINE_RESTORE_LOG, { "log1.trn" }, STANDBY, AT_LOG1, false, false },
	[LOG1_UP] = { "RESTORE LOG WITH RECOVERY", ENGINE_RESTORE_LOG, { "log1.trn" }, ONLINE, AT_LOG1, false, false },
	[LOG2] = { "RESTORE LOG", ENGINE_RESTORE_LOG, { "log2.trn" }, RESTORING, AT_LOG2, false, false },
	[LOG2_READ] = { "RESTORE LOG WITH STANDBY", ENGINE_RESTORE_LOG, { "log2.trn" }, STANDBY, AT_LOG2, false, false },
	[LOG2_STOP] = { "RESTORE LOG WITH STOPAT", ENGINE_RESTORE_LOG, { "log2.trn" }, RESTORING, AT_STOP, false, true },
	[LOG2_STOP_UP] = { "RESTORE LOG WITH STOPAT, RECOVERY", ENGINE_RESTORE_LOG, { "log2.trn" }, ONLINE, AT_STOP, false, true },
	[UP] = { "RESTORE DATABASE WITH RECOVERY, without a device", ENGINE_RESTORE_DATABASE, { NULL }, ONLINE, AT_LOG1, false, false },
	[DROP] = { "DROP DATABASE", ENGINE_VERIFYONLY, { NULL }, ABSENT, NOTHING, false, false },
};

static size_t
count(const char *const files[4])
{
	size_t n = 0;

	while (n < 4 && files[n] != NULL)
		n++;
	return n;
}

/* 0, or the first error. position: FILE = n. */
static int
restore_from(struct world *w, struct engine *e, const char *database, const struct step *s, int position)
{
	struct heard *h = listen_anew(w);
	const char *devices[4];
	struct engine_move moves[] = { { "Sales", at(w, talloc_asprintf(w->mem, "hosted/%s.mdf", database)) },
		{ "Sales_log", at(w, talloc_asprintf(w->mem, "hosted/%s.ldf", database)) } };
	struct engine_restore r = { .verb = s->verb, .database = s->verb <= ENGINE_RESTORE_LOG ? database : NULL, .devices = devices,
		.n_devices = count(s->files), .file = position, .norecovery = s->life == RESTORING, .replace = s->replace,
		.standby = s->life == STANDBY ? at(w, "undo") : NULL, .stop_at = s->stops ? w->stop_at : NULL };

	for (size_t i = 0; i < r.n_devices; i++)
		devices[i] = at(w, s->files[i]);
	if (s->verb == ENGINE_RESTORE_DATABASE && r.n_devices > 0) {
		r.moves = moves;
		r.n_moves = 2;
	}
	return engine_restore(e, &r, &h->out) ? 0 : heard_error(h);
}

static int
drop(struct world *w, struct engine *e, const char *database)
{
	struct heard *h = listen_anew(w);

	return engine_drop(e, database, &h->out) ? 0 : heard_error(h);
}

static int
do_step(struct world *w, struct engine *e, const char *database, int step)
{
	return step == DROP ? drop(w, e, database) : restore_from(w, e, database, &steps[step], 1);
}

/* A BACKUP by name. */
struct taking {
	const char *says;
	struct engine_backup b;
	const char *files[4];
	int position;     /* that its set has; more than 1: it is appended */
	int base[4];      /* what must be restored before it */
};

static const struct taking takings[] = {
	{ "BACKUP DATABASE", { .init = true, .checksum = true }, { "new.bak" }, 1, { END } },
	{ "BACKUP DATABASE over an older file", { .init = true }, { "old.bak" }, 1, { END } },
	{ "BACKUP DATABASE to three stripes", { .init = true }, { "n1.bak", "n2.bak", "n3.bak" }, 1, { END } },
	{ "BACKUP DATABASE WITH COMPRESSION", { .init = true, .compression = true }, { "new.bak" }, 1, { END } },
	{ "BACKUP DATABASE WITH COPY_ONLY, appended", { .copy_only = true }, { "old.bak" }, 2, { END } },
	{ "BACKUP DATABASE WITH DIFFERENTIAL", { .init = true, .differential = true }, { "new.bak" }, 1, { FULL, END } },
	{ "BACKUP LOG", { .init = true, .log = true }, { "new.trn" }, 1, { FULL, LOG1, LOG2, END } },
	{ "BACKUP LOG, appended", { .log = true }, { "old.bak" }, 2, { FULL, LOG1, LOG2, END } },
	{ "BACKUP LOG WITH NORECOVERY", { .init = true, .log = true, .norecovery = true }, { "new.trn" }, 1, { FULL, LOG1, LOG2, END } },
};

static int
back_up(struct world *w, struct engine *e, const struct taking *t)
{
	struct heard *h = listen_anew(w);
	const char *devices[4];
	struct engine_backup b = t->b;

	b.database = "Sales";
	b.devices = devices;
	b.n_devices = count(t->files);
	for (size_t i = 0; i < b.n_devices; i++)
		devices[i] = at(w, t->files[i]);
	return engine_backup(e, &b, &h->out) ? 0 : heard_error(h);
}

/* ---- what is there before ---------------------------------------------------------------------------------------- */

static void
shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void
insert(struct world *w, struct engine *e, int from)
{
	char *sql = talloc_asprintf(w->mem, "WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM c WHERE i < %d) INSERT INTO dbo.ticket"
	                            " SELECT i, 'ticket ' || i, hex(zeroblob(60)) FROM c", from, from + 39);

	assert_true(change(w, e, "Sales", sql, false));
	assert_true(change(w, e, "Sales", talloc_asprintf(w->mem, "UPDATE dbo.ticket SET subject = 'changed' WHERE id %% 7 = %d %% 7", from), false));
	assert_true(change(w, e, "Sales", talloc_asprintf(w->mem, "DELETE FROM dbo.ticket WHERE id = %d", from + 3), false));
}

static void
must_take(struct world *w, struct engine *e, struct engine_backup b, const char *a, const char *second, const char *third)
{
	struct taking t = { "", b, { a, second, third }, 1, { END } };

	t.b.init = true;
	assert_int_equal(back_up(w, e, &t), 0);
}

/* A time between what was committed before and what will be, half an hour from each. */
static char *
some_time_passes(struct world *w, struct engine *e)
{
	char text[32];
	time_t then;
	struct tm tm;

	assert_true(engine_knob(e, "clock_offset_s", 1800));
	then = (time_t)(engine_now_ms(e) / 1000);
	assert_true(engine_knob(e, "clock_offset_s", 3600));
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&then, &tm));
	return talloc_strdup(w->mem, text);
}

/* The source's life, with a backup at each stage's end; NOW is in none. */
static void
live(struct world *w)
{
	struct engine *e = start(w, "onprem");

	assert_non_null(e);
	assert_true(engine_create(e, "Sales", &listen_anew(w)->out));
	assert_true(change(w, e, "Sales", "CREATE TABLE dbo.ticket(id INTEGER PRIMARY KEY, subject NVARCHAR(100), body NVARCHAR(200))", true));
	insert(w, e, 100);
	must_take(w, e, (struct engine_backup){ .checksum = true }, "full.bak", NULL, NULL);
	must_take(w, e, (struct engine_backup){ .copy_only = true }, "s1.bak", "s2.bak", "s3.bak");
	must_take(w, e, (struct engine_backup){ .copy_only = true, .compression = true }, "packed.bak", NULL, NULL);
	must_take(w, e, (struct engine_backup){ .copy_only = true }, "old.bak", NULL, NULL);
	w->rows[AT_FULL] = rows(w, e, "Sales");
	insert(w, e, 200);
	must_take(w, e, (struct engine_backup){ .differential = true }, "diff.bak", NULL, NULL);
	w->rows[AT_DIFF] = rows(w, e, "Sales");
	insert(w, e, 300);
	must_take(w, e, (struct engine_backup){ .log = true }, "log1.trn", NULL, NULL);
	w->rows[AT_LOG1] = rows(w, e, "Sales");
	insert(w, e, 400);
	w->rows[AT_STOP] = rows(w, e, "Sales");
	w->stop_at = some_time_passes(w, e);
	insert(w, e, 450);
	must_take(w, e, (struct engine_backup){ .log = true }, "log2.trn", NULL, NULL);
	w->rows[AT_LOG2] = rows(w, e, "Sales");
	insert(w, e, 500);
	w->rows[NOW] = rows(w, e, "Sales");
	talloc_free(e);
}

static int
begin_world(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct world *w = talloc_zero(mem, struct world);
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR"), *seed = getenv("SEED"), *is_long = getenv("LONG");

	w->mem = mem;
	w->dir = talloc_asprintf(mem, "%s/landfall-kill-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	w->why = mmap(NULL, WHY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mkdtemp(w->dir) == NULL || w->why == MAP_FAILED)
		return -1;
	w->now = talloc_asprintf(mem, "%s/now", w->dir);
	w->ready = talloc_asprintf(mem, "%s/ready", w->dir);
	w->seed = w->dice = seed == NULL ? 1 : (unsigned)strtoul(seed, NULL, 10);
	w->all_starts = is_long != NULL && is_long[0] == '1';
	w->all = w->all_starts || (is_long != NULL && strcmp(is_long, "points") == 0);
	shell(talloc_asprintf(mem, "mkdir '%s'", w->now));
	live(w);
	*state = w;
	return 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;

	shell(talloc_asprintf(w->mem, "rm -rf '%s'", w->dir));
	talloc_free(w->mem);
	return 0;
}

static void
keep_as_ready(struct world *w)
{
	shell(talloc_asprintf(w->mem, "rm -rf '%s' && cp -a --reflink=auto '%s' '%s'", w->ready, w->now, w->ready));
}

static void
make_anew(struct world *w)
{
	shell(talloc_asprintf(w->mem, "rm -rf '%s' && cp -a --reflink=auto '%s' '%s'", w->now, w->ready, w->now));
}

/* ---- one statement, killed ------------------------------------------------------------------------------------------ */

/* What is killed, and what is asked of the world that is left. */
struct act {
	struct world *w;
	const char *says;
	const char *server;
	bool (*play)(struct act *a);  /* the server's start and the statement */
	bool (*judge)(struct act *a); /* false: why says what is wrong */
	int step;                     /* of a RESTORE */
	enum life life;               /* before it */
	enum stage stage;
	int history;
	const struct taking *taking;  /* of a BACKUP */
	bool has_threads;             /* so that not every run comes to every point */
};

static bool
plays(void *ctx)
{
	struct act *a = ctx;

	return a->play(a);
}

static bool
starts(void *ctx)
{
	struct act *a = ctx;

	return start(a->w, a->server) != NULL;
}

static bool
judges(void *ctx)
{
	struct act *a = ctx;

	return a->judge(a);
}

static void
must_be(struct act *a, enum killer_end got, enum killer_end wanted, const char *what, size_t point, size_t start_point)
{
	static const char *const ends[] = { "it was done", "it failed", "it was killed", "it ended by itself" };

	if (got != wanted)
		fail_msg("%s, killed at call %zu, then at call %zu of the start: %s: %s. %s (SEED=%u)", a->says, point, start_point, what, ends[got],
		         a->w->why, a->w->seed);
}

/* The statement killed at a point, the start after it killed at another (0: not), then what is left is judged. */
static bool
try_point(struct act *a, size_t point, size_t start_point)
{
	enum killer_end end;
	bool was_killed = false;
	size_t met;

	make_anew(a->w);
	a->w->why[0] = '\0';
	end = killer_play(plays, a, point, &met);
	if (!a->has_threads || end != KILLER_DONE)
		must_be(a, end, KILLER_KILLED, "the statement", point, start_point);
	a->w->points += end == KILLER_KILLED;
	if (start_point > 0) {
		end = killer_play(starts, a, start_point, &met);
		was_killed = end == KILLER_KILLED;
		must_be(a, end, was_killed ? KILLER_KILLED : KILLER_DONE, "the start", point, start_point);
		a->w->starts += was_killed;
	}
	must_be(a, killer_play(judges, a, 0, NULL), KILLER_DONE, "what is left", point, start_point);
	return was_killed;
}

static void
try_points(struct act *a)
{
	size_t n, tries, start_point;

	keep_as_ready(a->w);
	a->w->why[0] = '\0';
	must_be(a, killer_play(plays, a, 0, &n), KILLER_DONE, "unkilled", 0, 0);
	must_be(a, killer_play(judges, a, 0, NULL), KILLER_DONE, "what is left", 0, 0);
	tries = a->w->all || n < SAMPLE ? n : SAMPLE;
	a->w->wanted += a->has_threads ? 0 : tries;
	for (size_t i = 0; i < tries; i++) {
		size_t point = tries == n ? i + 1 : i * n / tries + 1 + chance(a->w, (unsigned)(n / tries));

		if (!a->w->all_starts)
			try_point(a, point, chance(a->w, 8));
		for (start_point = 0; a->w->all_starts && (try_point(a, point, start_point) || start_point == 0); start_point++)
			;
	}
	print_message("# %-50s %4zu points, %zu of them played\n", a->says, n, tries);
}

/* ---- RESTORE ------------------------------------------------------------------------------------------------------------ */

static bool
play_step(struct act *a)
{
	struct engine *e = start(a->w, a->server);

	return e != NULL && do_step(a->w, e, "m1", a->step) == 0;
}

/* Where roll forward goes on after that file. */
static const char *
last_lsn(struct world *w, const char *file)
{
	static char buf[65536];
	FILE *f = fopen(at(w, file), "re");
	struct bak *b = bak_new(w->mem, NULL);
	struct err err = { 0 };
	size_t n;

	while (f != NULL && (n = fread(buf, 1, sizeof(buf), f)) > 0)
		bak_feed(b, buf, n, &err);
	if (f != NULL)
		fclose(f);
	return bak_finish(b) == BAK_END_WHOLE ? talloc_strdup(w->mem, lsn_text(bak_set(b, 0)->last_lsn).s) : "not a whole file";
}

/* The database shows all that the statement makes of it. */
static bool
is_made(struct act *a, enum life life, const char *stands, const char *are)
{
	const struct step *s = &steps[a->step];
	const char *end = life == RESTORING ? (s->stops ? a->w->stop : last_lsn(a->w, s->files[0])) : "";

	return life == s->life && (life == ABSENT || (life == RESTORING ? strcmp(stands, end) == 0
	                                                                : strcmp(are, a->w->rows[s->stage]) == 0));
}

/* A full that was broken off, or a DROP, leaves nothing that could be read. */
static bool
is_readable(enum life life, const char *stands)
{
	return life == ONLINE || life == STANDBY || (life == RESTORING && stands[0] != '\0');
}

/* What the catalogue and the rows say right after the restart; *through: the statement had come to its end. */
static bool
state_is_allowed(struct act *a, struct engine *e, bool *through)
{
	struct world *w = a->w;
	const struct step *s = &steps[a->step];
	enum life life = life_of(w, e, "m1");
	const char *stands = redo(w, e, "m1"), *are = life == ABSENT ? "" : rows(w, e, "m1");
	bool made = is_made(a, life, stands, are), is_before = strcmp(are, a->stage == NOTHING ? "" : w->rows[a->stage]) == 0,
	     is_after = s->stage != NOTHING && strcmp(are, w->rows[s->stage]) == 0;
	int more = completed(w, e) - a->history;

	*through = made;
	if (more != (made && s->files[0] != NULL))
		return WRONG(w, "restorehistory grew by %d, and the state is %d at %s", more, life, stands);
	if (life != a->life && life != s->life && life != RESTORING)
		return WRONG(w, "the state is %d, before %d, after %d", life, a->life, s->life);
	if (made && life != ABSENT && !is_after)
		return WRONG(w, "it is through with other rows");
	if (!made && is_readable(life, stands) && !is_before && !is_after)
		return WRONG(w, "rows are neither those of before nor of after");
	return made || life != ONLINE || is_before || WRONG(w, "it is ONLINE with rows that it should not have yet");
}

/* Nothing goes on from the end of what never came to it. */
static bool
nothing_passes(struct act *a, struct engine *e)
{
	bool would_be_a_gap = steps[a->step].stage < AT_LOG1 || a->step == LOG1 || a->step == LOG1_UP;

	return !would_be_a_gap || do_step(a->w, e, "m1", LOG2) != 0 || WRONG(a->w, "a log that goes on from its end is taken");
}

/* Said again, or with RECOVERY where the server asks for that. */
static bool
finish(struct act *a, struct engine *e, int *history)
{
	struct world *w = a->w;
	const struct step *s = &steps[a->step];
	int said = do_step(w, e, "m1", a->step);

	*history += said == 0 && s->files[0] != NULL;
	if (said == 4347 && s->life == ONLINE)
		said = do_step(w, e, "m1", UP);
	return said == 0 || WRONG(w, "said again it is refused with %d", said);
}

/* From where the statement leads to the end of the chain. */
static bool
goes_on(struct act *a, struct engine *e, int *history)
{
	struct world *w = a->w;
	const struct step *s = &steps[a->step];
	enum stage stage = s->stage;
	int said = 0;

	if (s->life != ONLINE) {
		if (stage < AT_LOG1 && (said = do_step(w, e, "m1", LOG1)) != 0)
			return WRONG(w, "the first log after it is refused with %d", said);
		if (stage < AT_LOG2 && (said = do_step(w, e, "m1", LOG2)) != 0)
			return WRONG(w, "the second log after it is refused with %d", said);
		*history += (stage < AT_LOG1) + (stage < AT_LOG2);
		if ((said = do_step(w, e, "m1", UP)) != 0)
			return WRONG(w, "RECOVERY is refused with %d", said);
		stage = AT_LOG2;
	}
	if (strcmp(rows(w, e, "m1"), w->rows[stage]) != 0)
		return WRONG(w, "at the chain's end the rows are others");
	return true;
}

static bool
judge_restore(struct act *a)
{
	struct world *w = a->w;
	struct engine *e = start(w, a->server);
	int history = a->history, said;
	bool through;

	if (e == NULL || !state_is_allowed(a, e, &through))
		return false;
	history += through && steps[a->step].files[0] != NULL;
	if (!through && ((a->step != DROP && !nothing_passes(a, e)) || !finish(a, e, &history)))
		return false;
	if (a->step != DROP) {
		if (life_of(w, e, "m1") != steps[a->step].life || strcmp(rows(w, e, "m1"), w->rows[steps[a->step].stage]) != 0)
			return WRONG(w, "finished, it is not what it should be");
		if (!goes_on(a, e, &history))
			return false;
		if (!change(w, e, "m1", "INSERT INTO dbo.ticket VALUES(1, 'new', '')", false))
			return WRONG(w, "what came up cannot be written");
		if ((said = drop(w, e, "m1")) != 0)
			return WRONG(w, "DROP is refused with %d", said);
	}
	if (completed(w, e) != history)
		return WRONG(w, "restorehistory has %d rows, %d statements came to their end", completed(w, e), history);
	if (left_over(w, "hosted")[0] != '\0')
		return WRONG(w, "after DROP the folder has%s", left_over(w, "hosted"));
	return true;
}

/* Where STOPAT leaves roll forward is the engine's to say, within the log; the world is as before. */
static void
find_the_stop(struct world *w)
{
	struct engine *e;
	struct lsn stop = { 0 }, begin = { 0 }, end = { 0 };

	keep_as_ready(w);
	assert_non_null(e = start(w, "hosted"));
	assert_int_equal(do_step(w, e, "m1", LOG2_STOP), 0);
	w->stop = redo(w, e, "m1");
	talloc_free(e);
	assert_true(lsn_parse(w->stop, &stop) && lsn_parse(last_lsn(w, "log1.trn"), &begin) && lsn_parse(last_lsn(w, "log2.trn"), &end));
	assert_true(lsn_compare(begin, stop) < 0 && lsn_compare(stop, end) < 0);
	make_anew(w);
}

static void
restore_killed_anywhere(void **state)
{
	static const struct { int before[4], step; } rows_of[] = {
		{ { END }, FULL }, { { END }, FULL_READ }, { { END }, FULL_UP }, { { END }, STRIPED }, { { END }, PACKED },
		{ { FULL, LOG1, UP, END }, REPLACE }, { { FULL, END }, DIFF }, { { FULL, END }, LOG1 }, { { FULL, DIFF, END }, LOG1 },
		{ { FULL, END }, LOG1_READ }, { { FULL, LOG1_READ, END }, LOG2_READ }, { { FULL, LOG1_READ, END }, LOG2 }, { { FULL, END }, LOG1_UP },
		{ { FULL, LOG1, END }, LOG2_STOP }, { { FULL, LOG1, END }, LOG2_STOP_UP }, { { FULL, LOG1, END }, UP }, { { FULL, LOG1_READ, END }, UP }, { { FULL, LOG1, END }, DROP }, { { FULL, LOG1, UP, END }, DROP },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows_of) / sizeof(rows_of[0]); i++) {
		struct act a = { .w = w, .says = steps[rows_of[i].step].says, .server = "hosted", .play = play_step, .judge = judge_restore,
			.step = rows_of[i].step, .life = ABSENT, .stage = NOTHING };
		struct engine *e;

		shell(talloc_asprintf(w->mem, "rm -rf '%s'", at(w, "hosted")));
		assert_non_null(e = start(w, "hosted"));
		for (const int *b = rows_of[i].before; *b != END; b++) {
			assert_int_equal(do_step(w, e, "m1", *b), 0);
			a.life = steps[*b].life;
			a.stage = *b == UP ? a.stage : steps[*b].stage;
			a.history += steps[*b].files[0] != NULL;
		}
		talloc_free(e);
		if (steps[a.step].stops)
			find_the_stop(w);
		try_points(&a);
		make_anew(w);
	}
}

/* ---- CREATE DATABASE ----------------------------------------------------------------------------------------------------- */

static int
create(struct world *w, struct engine *e)
{
	struct heard *h = listen_anew(w);

	return engine_create(e, "Sales", &h->out) ? 0 : heard_error(h);
}

static bool
play_create(struct act *a)
{
	struct engine *e = start(a->w, a->server);

	return e != NULL && create(a->w, e) == 0;
}

/* There or not; then it lives as any other: it is written, backed up, restored and dropped. */
static bool
judge_create(struct act *a)
{
	struct world *w = a->w;
	struct engine *e = start(w, a->server);
	struct step copy = { "", ENGINE_RESTORE_DATABASE, { "new.bak" }, ONLINE, NOW, false, false };
	enum life life = e == NULL ? ABSENT : life_of(w, e, "Sales");
	int said;

	if (e == NULL)
		return false;
	if (life != ABSENT && life != ONLINE)
		return WRONG(w, "the state is %d", life);
	said = create(w, e);
	if (said != (life == ONLINE ? 1801 : 0))
		return WRONG(w, "its state was %d, and CREATE says %d", life, said);
	if (!change(w, e, "Sales", "CREATE TABLE dbo.ticket(id INTEGER PRIMARY KEY, subject NVARCHAR(100))", true) ||
	    !change(w, e, "Sales", "INSERT INTO dbo.ticket VALUES(1, 'first')", false))
		return WRONG(w, "what was created cannot be written, or was not empty");
	if ((said = back_up(w, e, &takings[0])) != 0)
		return WRONG(w, "its full backup fails with %d", said);
	if ((said = restore_from(w, e, "m1", &copy, 1)) != 0)
		return WRONG(w, "its backup is refused with %d", said);
	if (strcmp(rows(w, e, "m1"), rows(w, e, "Sales")) != 0)
		return WRONG(w, "its backup has other rows");
	if ((said = drop(w, e, "m1")) != 0 || (said = drop(w, e, "Sales")) != 0)
		return WRONG(w, "DROP is refused with %d", said);
	return left_over(w, a->server)[0] == '\0' || WRONG(w, "after DROP the folder has%s", left_over(w, a->server));
}

static void
create_killed_anywhere(void **state)
{
	struct world *w = *state;
	struct act a = { .w = w, .says = "CREATE DATABASE", .server = "hosted", .play = play_create, .judge = judge_create };
	struct engine *e;

	shell(talloc_asprintf(w->mem, "rm -rf '%s'", at(w, "hosted")));
	assert_non_null(e = start(w, "hosted"));
	talloc_free(e);
	try_points(&a);
	make_anew(w);
}

/* ---- BACKUP ------------------------------------------------------------------------------------------------------------- */

static bool
play_taking(struct act *a)
{
	struct engine *e = start(a->w, a->server);

	return e != NULL && back_up(a->w, e, a->taking) == 0;
}

/* Numbers for a file that was cut off, or that is not there at all. */
static bool
is_refusal(int number)
{
	static const int numbers[] = { 3201, 3203, 3132, 3189, 3241, 3242, 3254, 3256, 3258, 3287 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static bool
restore_chain(struct world *w, struct engine *hosted, const char *database, const int *chain)
{
	int said;

	for (; *chain != END; chain++)
		if ((said = do_step(w, hosted, database, *chain)) != 0)
			return WRONG(w, "%s of %s is refused with %d", steps[*chain].says, steps[*chain].files[0], said);
	return true;
}

static struct step
step_of(const struct taking *t)
{
	struct step s = { t->says, t->b.log ? ENGINE_RESTORE_LOG : ENGINE_RESTORE_DATABASE, { NULL }, RESTORING, NOW, false, false };

	memcpy(s.files, t->files, sizeof(s.files));
	return s;
}

static bool
is_over_old(const struct taking *t)
{
	return t->position == 1 && strcmp(t->files[0], "old.bak") == 0;
}

/* *whole: it restores, to the source's rows. */
static bool
file_is_whole_or_refused(struct act *a, struct engine *hosted, bool *whole)
{
	struct world *w = a->w;
	struct step s = step_of(a->taking);
	int said;

	if (!restore_chain(w, hosted, "file", a->taking->base))
		return false;
	said = restore_from(w, hosted, "file", &s, a->taking->position);
	*whole = said == 0;
	/* What it was to be written over is there as it was. */
	if (*whole && is_over_old(a->taking) && strcmp(rows(w, hosted, "file"), w->rows[AT_FULL]) == 0)
		return !(*whole = false);
	if (*whole && strcmp(rows(w, hosted, "file"), w->rows[NOW]) != 0)
		return WRONG(w, "the backup restores to other rows");
	return *whole || is_refusal(said) || WRONG(w, "the file is refused with %d", said);
}

/* The set in front of an appended one. */
static bool
earlier_set_is_kept(struct act *a, struct engine *hosted)
{
	struct world *w = a->w;
	struct step s = { "", ENGINE_RESTORE_DATABASE, { a->taking->files[0] }, RESTORING, AT_FULL, false, false };
	int said = a->taking->position == 1 ? 0 : restore_from(w, hosted, "earlier", &s, 1);

	if (said != 0)
		return WRONG(w, "the set in front of it is refused with %d", said);
	return a->taking->position == 1 || strcmp(rows(w, hosted, "earlier"), w->rows[AT_FULL]) == 0 || WRONG(w, "the set in front of it has other rows");
}

/* The log backup taken next completes the chain, with the one that was killed in it where that is whole. */
static bool
next_log_completes(struct act *a, struct engine *hosted, bool whole, const char *wanted)
{
	static const int chain[] = { FULL, LOG1, LOG2, END };
	const char *database = "chain";
	struct step killed = step_of(a->taking), next = { "", ENGINE_RESTORE_LOG, { "next.trn" }, RESTORING, NOW, false, false };
	struct world *w = a->w;
	int said;

	if (!restore_chain(w, hosted, database, chain))
		return false;
	if (whole && a->taking->b.log && (said = restore_from(w, hosted, database, &killed, a->taking->position)) != 0)
		return WRONG(w, "the whole log is refused with %d", said);
	if ((said = restore_from(w, hosted, database, &next, 1)) != 0)
		return WRONG(w, "the next log is refused with %d", said);
	return strcmp(rows(w, hosted, database), wanted) == 0 || WRONG(w, "the next log leads to other rows");
}

/* Of the old full or of the one that was killed: it must be the very one that its pages were compared with. */
static bool
next_differential_fits(struct act *a, struct engine *hosted, bool whole, const char *wanted)
{
	struct world *w = a->w;
	struct step full = a->taking->b.log || a->taking->b.differential || !whole ? steps[FULL] : step_of(a->taking);
	struct step next = { "", ENGINE_RESTORE_DATABASE, { "next.bak" }, RESTORING, NOW, false, false };
	int said = restore_from(w, hosted, "base", &full, full.files[0] == steps[FULL].files[0] ? 1 : a->taking->position);

	if (said == 0 && (said = restore_from(w, hosted, "base", &next, 1)) == 3136 && (said = do_step(w, hosted, "base", FULL)) == 0)
		said = restore_from(w, hosted, "base", &next, 1);
	if (said != 0)
		return WRONG(w, "the next differential is refused with %d", said);
	return strcmp(rows(w, hosted, "base"), wanted) == 0 || WRONG(w, "the next differential leads to other rows");
}

/* The source lives on, and what it backs up next fits what was taken before. */
static bool
source_goes_on(struct act *a, struct engine *source, struct engine *hosted, bool whole)
{
	static const struct taking next_diff = { "", { .init = true, .differential = true }, { "next.bak" }, 1, { END } };
	static const struct taking next_log = { "", { .init = true, .log = true }, { "next.trn" }, 1, { END } };
	struct world *w = a->w;
	const char *wanted;
	int said;

	if (life_of(w, source, "Sales") == RESTORING && (said = restore_from(w, source, "Sales", &steps[UP], 1)) != 0)
		return WRONG(w, "RECOVERY of the source is refused with %d", said);
	if (strcmp(rows(w, source, "Sales"), w->rows[NOW]) != 0)
		return WRONG(w, "the source's rows are others");
	if (!change(w, source, "Sales", "INSERT INTO dbo.ticket VALUES(7, 'later', '')", false))
		return WRONG(w, "the source cannot be written");
	wanted = rows(w, source, "Sales");
	/* RECOVERY begins a branch on which a full must come first. */
	if (!a->taking->b.norecovery && (said = back_up(w, source, &next_diff)) != 0)
		return WRONG(w, "the next differential backup fails with %d", said);
	if ((said = back_up(w, source, &next_log)) != 0)
		return WRONG(w, "the next log backup fails with %d", said);
	return (a->taking->b.norecovery || next_differential_fits(a, hosted, whole, wanted)) && next_log_completes(a, hosted, whole, wanted);
}

static bool
judge_backup(struct act *a)
{
	struct world *w = a->w;
	struct engine *source = start(w, "onprem"), *hosted = start(w, "hosted");
	enum life life = source == NULL ? ABSENT : life_of(w, source, "Sales");
	bool whole;
	int said;

	if (source == NULL || hosted == NULL || !file_is_whole_or_refused(a, hosted, &whole) || !earlier_set_is_kept(a, hosted))
		return false;
	if (strcmp(rows(w, source, "Sales"), w->rows[NOW]) != 0)
		return WRONG(w, "the source's rows are others right after the start");
	if (life != ONLINE && !(a->taking->b.norecovery && life == RESTORING))
		return WRONG(w, "the source's state is %d", life);
	if (a->taking->b.norecovery && whole && life != RESTORING)
		return WRONG(w, "the tail is whole, and its database can be written");
	if (!source_goes_on(a, source, hosted, whole))
		return false;
	said = back_up(w, source, a->taking);
	/* Nothing goes behind a set that was cut off. */
	if (said != 0 && !(a->taking->position > 1 && !whole && said == 3241))
		return WRONG(w, "said again it fails with %d", said);
	if (life_of(w, source, "Sales") == RESTORING)
		restore_from(w, source, "Sales", &steps[UP], 1);
	if ((said = drop(w, source, "Sales")) != 0)
		return WRONG(w, "DROP is refused with %d", said);
	return left_over(w, "onprem")[0] == '\0' || WRONG(w, "after DROP the folder has%s", left_over(w, "onprem"));
}

static void
backup_killed_anywhere(void **state)
{
	struct world *w = *state;

	shell(talloc_asprintf(w->mem, "rm -rf '%s'", at(w, "hosted")));
	for (size_t i = 0; i < sizeof(takings) / sizeof(takings[0]); i++) {
		struct act a = { .w = w, .says = takings[i].says, .server = "onprem", .play = play_taking, .judge = judge_backup, .taking = &takings[i] };

		try_points(&a);
		make_anew(w);
	}
}

/* ---- an availability group ------------------------------------------------------------------------------------------------ */

static bool
add_to_group(struct world *w, struct engine *primary)
{
	struct heard *h = listen_anew(w);

	return engine_ag_do(primary, "ag", ENGINE_AG_ADD, "Sales", NULL, &h->out) || WRONG(w, "ADD DATABASE is refused with %d", heard_error(h));
}

/* Asked again until it is so. */
static bool
becomes(struct world *w, struct engine *e, const char *sql, const char *wanted)
{
	const char *is = ask(w, e, sql);

	for (int ms = 0; strcmp(is, wanted) != 0; ms += 10, is = ask(w, e, sql)) {
		if (ms > PATIENCE_MS)
			return WRONG(w, "%s: it is %s and not %s", sql, is, wanted);
		usleep(10000);
	}
	return true;
}

#define SEEDING "SELECT current_state FROM sys.dm_hadr_automatic_seeding"
#define ROLE "SELECT role_desc FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1"
#define MEMBER "SELECT database_name FROM sys.availability_databases_cluster"

/* Both servers live in one process and die together. */
static bool
play_seeding(struct act *a)
{
	struct engine *primary = start(a->w, "onprem"), *secondary = start(a->w, "hosted");

	return primary != NULL && secondary != NULL && add_to_group(a->w, primary) && becomes(a->w, secondary, SEEDING, "COMPLETED");
}

/* The secondary comes to the rows that the primary has. id: of a row that is not there yet. */
static bool
follows(struct world *w, struct engine *primary, struct engine *secondary, int id)
{
	const char *wanted;

	if (!change(w, primary, "Sales", talloc_asprintf(w->mem, "INSERT INTO dbo.ticket VALUES(%d, 'in the group', '')", id), false))
		return WRONG(w, "the primary cannot be written");
	wanted = rows(w, primary, "Sales");
	for (int ms = 0; strcmp(rows(w, secondary, "Sales"), wanted) != 0; ms += 10) {
		if (ms > PATIENCE_MS)
			return WRONG(w, "the secondary does not come to the primary's rows");
		usleep(10000);
	}
	return life_of(w, secondary, "Sales") == RESTORING || WRONG(w, "the secondary's state is %d", life_of(w, secondary, "Sales"));
}

static bool
remove_from_group(struct world *w, struct engine *primary)
{
	struct heard *h = listen_anew(w);

	return engine_ag_do(primary, "ag", ENGINE_AG_REMOVE, "Sales", NULL, &h->out) || WRONG(w, "REMOVE DATABASE is refused with %d", heard_error(h));
}

static bool
leaves_nothing(struct world *w, struct engine *primary, struct engine *secondary)
{
	int said = 3752;

	if (!remove_from_group(w, primary))
		return false;
	/* The secondary hears of it when it next looks. */
	for (int ms = 0; said == 3752 && ms < PATIENCE_MS; ms += 10, usleep(10000))
		said = drop(w, secondary, "Sales");
	if (said != 0 || (said = drop(w, primary, "Sales")) != 0)
		return WRONG(w, "DROP is refused with %d", said);
	return (left_over(w, "hosted")[0] == '\0' && left_over(w, "onprem")[0] == '\0') ||
	       WRONG(w, "after DROP the folders have%s and%s", left_over(w, "onprem"), left_over(w, "hosted"));
}

static bool
judge_seeding(struct act *a)
{
	struct world *w = a->w;
	struct engine *primary = start(w, "onprem"), *secondary = start(w, "hosted");

	if (primary == NULL || secondary == NULL)
		return false;
	if (life_of(w, primary, "Sales") != ONLINE || strcmp(rows(w, primary, "Sales"), w->rows[NOW]) != 0)
		return WRONG(w, "the primary is not what it was");
	if (ask(w, primary, MEMBER)[0] == '\0' && !add_to_group(w, primary))
		return false;
	return becomes(w, secondary, SEEDING, "COMPLETED") && follows(w, primary, secondary, 8) && leaves_nothing(w, primary, secondary);
}

/* The primary's rows are all there, whatever was being done to its group. */
static bool
primary_is_whole(struct world *w, struct engine *primary)
{
	for (int ms = 0; life_of(w, primary, "Sales") != ONLINE; ms += 10) {
		if (ms > PATIENCE_MS)
			return WRONG(w, "the primary's state is %d", life_of(w, primary, "Sales"));
		usleep(10000);
	}
	return strcmp(rows(w, primary, "Sales"), w->rows[NOW]) == 0 || WRONG(w, "the primary's rows are others");
}

static bool
play_removal(struct act *a)
{
	struct engine *primary = start(a->w, "onprem"), *secondary = start(a->w, "hosted");

	return primary != NULL && secondary != NULL && remove_from_group(a->w, primary);
}

/* In the group or out of it; once it is out it can come in again, from where the secondary stands. */
static bool
judge_removal(struct act *a)
{
	struct world *w = a->w;
	struct engine *primary = start(w, "onprem"), *secondary = start(w, "hosted");

	if (primary == NULL || secondary == NULL || !primary_is_whole(w, primary))
		return false;
	if (life_of(w, secondary, "Sales") != RESTORING)
		return WRONG(w, "the secondary's state is %d", life_of(w, secondary, "Sales"));
	if (ask(w, primary, MEMBER)[0] != '\0' && !remove_from_group(w, primary))
		return false;
	return add_to_group(w, primary) && becomes(w, secondary, SEEDING, "COMPLETED") && follows(w, primary, secondary, 8) &&
	       leaves_nothing(w, primary, secondary);
}

static bool
fail_over_to(struct world *w, struct engine *e)
{
	struct heard *h = listen_anew(w);

	return engine_ag_do(e, "ag", ENGINE_AG_FAILOVER, NULL, NULL, &h->out) || WRONG(w, "FAILOVER is refused with %d", heard_error(h));
}

static bool
play_failover(struct act *a)
{
	struct engine *primary = start(a->w, "onprem"), *secondary = start(a->w, "hosted");

	return primary != NULL && secondary != NULL && fail_over_to(a->w, secondary);
}

static bool
judge_failover(struct act *a)
{
	struct world *w = a->w;
	struct engine *onprem = start(w, "onprem"), *hosted = start(w, "hosted"), *primary, *secondary;
	bool moved;

	if (onprem == NULL || hosted == NULL)
		return false;
	moved = strcmp(ask(w, hosted, ROLE), "PRIMARY") == 0;
	if (strcmp(ask(w, moved ? onprem : hosted, ROLE), "SECONDARY") != 0 || strcmp(ask(w, moved ? hosted : onprem, ROLE), "PRIMARY") != 0)
		return WRONG(w, "onprem is %s and hosted is %s", ask(w, onprem, ROLE), ask(w, hosted, ROLE));
	primary = moved ? hosted : onprem;
	secondary = moved ? onprem : hosted;
	return primary_is_whole(w, primary) && follows(w, primary, secondary, 8) && fail_over_to(w, secondary) && follows(w, secondary, primary, 9) &&
	       leaves_nothing(w, secondary, primary);
}

static void
group_killed_anywhere(void **state)
{
	static const struct engine_replica replicas[] = { { "onprem", "TCP://onprem:5022", true, true, true }, { "hosted", "TCP://hosted:5022", true, true, true } };
	struct world *w = *state;
	struct act seeding = { .w = w, .says = "ADD DATABASE, seeding", .server = "hosted", .play = play_seeding, .judge = judge_seeding, .has_threads = true };
	struct act others[] = {
		{ .w = w, .says = "REMOVE DATABASE", .server = "hosted", .play = play_removal, .judge = judge_removal, .has_threads = true },
		{ .w = w, .says = "FAILOVER", .server = "hosted", .play = play_failover, .judge = judge_failover, .has_threads = true },
	};
	struct engine *primary = start(w, "onprem"), *secondary;
	struct heard *h = listen_anew(w);

	shell(talloc_asprintf(w->mem, "rm -rf '%s'", at(w, "hosted")));
	assert_non_null(secondary = start(w, "hosted"));
	assert_true(engine_knob(secondary, "seed_kb_s", 0));
	assert_true(engine_ag_create(primary, "ag", replicas, 2, &h->out));
	assert_true(engine_ag_do(secondary, "ag", ENGINE_AG_JOIN, NULL, NULL, &h->out));
	assert_true(engine_ag_do(secondary, "ag", ENGINE_AG_GRANT, NULL, NULL, &h->out));
	talloc_free(secondary);
	talloc_free(primary);
	try_points(&seeding);
	make_anew(w);
	assert_non_null(primary = start(w, "onprem"));
	assert_non_null(secondary = start(w, "hosted"));
	assert_true(add_to_group(w, primary) && becomes(w, secondary, SEEDING, "COMPLETED"));
	talloc_free(secondary);
	talloc_free(primary);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		try_points(&others[i]);
		make_anew(w);
	}
}

static void
points_were_met(void **state)
{
	struct world *w = *state;

	print_message("# killed at %zu points, %zu times again in the start after one (SEED=%u)\n", w->points, w->starts, w->seed);
	assert_true(w->points >= w->wanted);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restore_killed_anywhere),
		cmocka_unit_test(backup_killed_anywhere),
		cmocka_unit_test(create_killed_anywhere),
		cmocka_unit_test(group_killed_anywhere),
		cmocka_unit_test(points_were_met),
	};

	return cmocka_run_group_tests(tests, begin_world, end_world);
}
