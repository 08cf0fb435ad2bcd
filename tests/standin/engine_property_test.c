#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bak.h"
#include "tests/standin/listener.h"

/*
 * Random lives of a database and random attempts to restore what was taken of it. What must come of each attempt
 * is said by a second statement of the rules, written here from the documentation and sharing nothing with the
 * engine's: positions are (LSN, branch) in a tree of recovery branches of our own, base and family are our own
 * numbers, rows are what the source had when a set was taken or a commit was made. Of a set's header only the
 * two LSNs are used.
 *
 * Every refusal must have the predicted number and change nothing; after every success the rows are those of the
 * source at that point. SEED repeats a run; LONG=1 plays 10,000 lives.
 */

enum { SETS_MAX = 64, COMMITS_MAX = 400, BRANCHES_MAX = 64, LIVES = 20, LONG_LIVES = 10000, STEPS = 22, ATTEMPTS = 26, HOUR = 3600 };

/* A branch of the source's history: where it left its parent. */
struct branch { int parent; struct lsn from; };

struct commit { int64_t at; char *rows; };

/* A backup set as this test remembers it. */
struct taken {
	char kind; /* D I L */
	bool simple;
	int family, number, base; /* number counts fulls; base: which one a differential is of */
	int branch;
	int media, position;
	struct lsn first, last;
	char *rows;
	int64_t at, newest; /* when it was taken; its newest commit */
	size_t commits, n_commits; /* of a log: which it holds */
};

struct media { const char *devices[3]; size_t n; int sets; bool packed; };

enum life { ABSENT, ONLINE, RESTORING, STANDBY };

/* What a database is in this test's eyes. */
struct shadow {
	enum life life;
	bool simple;
	int family, branch, base;
	struct lsn at;  /* where roll forward goes on; while RESTORING or STANDBY */
	int64_t newest; /* commit */
	char *rows;
	/* at the source only */
	bool chain;
	int full; /* the last that can be a base, or 0 */
	size_t since; /* first commit that no log holds */
};

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct engine *source, *target;
	struct shadow s, t;
	struct taken sets[SETS_MAX];
	size_t n_sets;
	struct commit commits[COMMITS_MAX];
	size_t n_commits;
	struct branch branches[BRANCHES_MAX];
	int n_branches, fulls, life;
	struct media media[SETS_MAX];
	int n_media;
	long clock;
	unsigned seed;
	/* of the last statement */
	struct heard *heard;
	size_t legal, refused, stops, forks, numbers[6000];
};

static unsigned
chance(struct world *w, unsigned n)
{
	w->seed = w->seed * 1103515245u + 12345u;
	return (w->seed >> 8) % n;
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

/* Of the statement that comes; what the one before it was answered with is gone. */
static const struct engine_out *
listen_anew(struct world *w)
{
	talloc_free(w->heard);
	w->heard = heard_new(w, "engine_property_test");
	return &w->heard->out;
}

static char *
rows_of(struct world *w, struct engine *e)
{
	const struct engine_out *out = listen_anew(w);

	if (!engine_rows(e, "S", "dbo.a", out) || !engine_rows(e, "S", "dbo.b", out))
		fail_msg("life %d: rows cannot be read: %s", w->life, heard_why(w->heard));
	return talloc_steal(w->mem, w->heard->rows);
}

/* ---- the source's life ---------------------------------------------------------------------------------------------- */

static void
change(struct world *w, const char *sql, bool ddl)
{
	sqlite3 *db = engine_connect(w->source, "S", listen_anew(w));
	struct err err = { 0 };
	struct engine_tx *tx = db == NULL ? NULL : engine_begin(w->source, db, "S", &err);

	if (tx == NULL || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("life %d: %s: %s %s", w->life, sql, heard_why(w->heard), err.text);
	if (ddl)
		engine_tx_ddl(tx, sql);
	assert_true(engine_commit(tx, &err));
	engine_disconnect(w->source, db);
}

/* An hour passes between any two things, so that a point in time is between them however slow the machine is. */
static int64_t
tick(struct world *w)
{
	w->clock += HOUR;
	assert_true(engine_knob(w->source, "clock_offset_s", w->clock));
	return engine_now_ms(w->source);
}

static void
commit(struct world *w)
{
	unsigned n = chance(w, 1000);
	char sql[256];
	int64_t at;
	char *rows;

	if (w->n_commits == COMMITS_MAX || w->s.life != ONLINE)
		return;
	at = tick(w);
	switch (chance(w, 5)) {
	case 0:
		snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO dbo.a SELECT abs(random()) %% 300, 'new %u', randomblob(20)"
		         " FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)", n);
		break;
	case 1: snprintf(sql, sizeof(sql), "UPDATE dbo.a SET v = 'changed %u' WHERE id %% 5 = %u", n, n % 5); break;
	case 2: snprintf(sql, sizeof(sql), "DELETE FROM dbo.a WHERE id %% 9 = %u", n % 9); break;
	case 3: snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO dbo.b VALUES('k%u', 'value %u')", n % 20, n); break;
	default: snprintf(sql, sizeof(sql), "UPDATE dbo.a SET body = randomblob(2000) WHERE id %% 11 = %u", n % 11); break;
	}
	change(w, sql, false);
	rows = rows_of(w, w->source);
	/* What changed nothing is no commit to the log. */
	if (strcmp(rows, w->s.rows) == 0)
		return;
	w->commits[w->n_commits++] = (struct commit){ at, rows };
	w->s.rows = rows;
	w->s.newest = at;
}

static int
new_branch(struct world *w, int parent, struct lsn from)
{
	assert_true(w->n_branches < BRANCHES_MAX);
	w->branches[w->n_branches] = (struct branch){ parent, from };
	return w->n_branches++;
}

static void
read_lsns(struct world *w, struct taken *set)
{
	struct bak *b = bak_new(w->mem, NULL);
	FILE *f = fopen(w->media[set->media].devices[0], "rb");
	static char buf[65536];
	struct err err = { 0 };
	size_t n;

	assert_non_null(f);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		if (!bak_feed(b, buf, n, &err))
			fail_msg("life %d: set %d of %s: %s", w->life, set->position, w->media[set->media].devices[0], err.text);
	fclose(f);
	if (bak_finish(b) != BAK_END_WHOLE || bak_n_sets(b) != (size_t)w->media[set->media].sets)
		fail_msg("life %d: %s has %zu sets of %d: %s", w->life, w->media[set->media].devices[0], bak_n_sets(b), w->media[set->media].sets,
		         bak_why(b) == NULL ? "whole" : bak_why(b));
	set->first = bak_set(b, (size_t)set->position - 1)->first_lsn;
	set->last = bak_set(b, (size_t)set->position - 1)->last_lsn;
	talloc_free(b);
}

/* New media of one to three stripes, or one that is there. */
static int
some_media(struct world *w, bool *append)
{
	int m = w->n_media;

	*append = w->n_media > 0 && chance(w, 4) == 0;
	if (*append)
		m = (int)chance(w, (unsigned)w->n_media);
	/* Nothing is appended to a compressed file. */
	*append = *append && !w->media[m].packed;
	if (*append)
		return m;
	m = w->n_media;
	w->media[m].packed = chance(w, 6) == 0;
	w->media[m].n = chance(w, 4) == 0 ? 2 + chance(w, 2) : 1;
	w->media[m].sets = 0;
	for (size_t i = 0; i < w->media[m].n; i++)
		w->media[m].devices[i] = talloc_asprintf(w->mem, "%s/l%d-m%d-%zu.bak", w->dir, w->life, m, i);
	w->n_media++;
	return m;
}

static int
predict_backup(const struct world *w, char kind)
{
	const struct shadow *s = &w->s;

	return s->life == RESTORING ? 927 : kind == 'I' && s->full == 0 ? 3035 : kind == 'L' && s->simple ? 4208 : kind == 'L' && !s->chain ? 4214 : 0;
}

static void
expect(struct world *w, bool good, int number, const char *what)
{
	const struct heard *h = w->heard;

	if (good != (number == 0) || (number != 0 && (heard_error(h) != number || h->messages[h->n - 1].number != 3013)))
		fail_msg("life %d (seed %u): %s: expected %d, got %d %s", w->life, w->seed, what, number, good ? 0 : heard_error(h), heard_why(h));
	w->numbers[number]++;
	w->legal += good;
	w->refused += !good;
}

static void
remember_set(struct world *w, char kind, bool copy_only, bool tail, int media, int64_t at)
{
	struct shadow *s = &w->s;
	struct taken *set = &w->sets[w->n_sets++];

	*set = (struct taken){ .kind = kind, .simple = s->simple, .family = s->family, .base = s->full, .branch = s->branch, .media = media,
		.position = ++w->media[media].sets, .rows = s->rows, .at = at, .newest = s->newest, .commits = s->since,
		.n_commits = w->n_commits - s->since };
	read_lsns(w, set);
	if (kind == 'D') {
		set->number = ++w->fulls;
		if (!copy_only && !s->simple && !s->chain) {
			s->chain = true;
			s->since = w->n_commits;
		}
		if (!copy_only)
			s->full = set->number;
	} else if (kind == 'L' && !copy_only) {
		s->since = w->n_commits;
	}
	if (tail) {
		s->life = RESTORING;
		s->at = set->last;
	}
}

static void
take_backup(struct world *w)
{
	static const char kinds[] = "DILLLL";
	char kind = w->fulls == 0 && chance(w, 5) != 0 ? 'D' : kinds[chance(w, 6)];
	bool append, copy_only = kind != 'I' && chance(w, 4) == 0, tail = kind == 'L' && !copy_only && chance(w, 6) == 0;
	int media, number = predict_backup(w, kind);
	struct engine_backup b = { .database = "S", .log = kind == 'L', .differential = kind == 'I', .copy_only = copy_only, .norecovery = tail,
		.checksum = chance(w, 2) };
	int64_t at = tick(w);
	bool good;

	if (w->n_sets == SETS_MAX || w->n_media == SETS_MAX)
		return;
	media = some_media(w, &append);
	b.devices = w->media[media].devices;
	b.n_devices = w->media[media].n;
	b.init = !append;
	b.compression = w->media[media].packed;
	good = engine_backup(w->source, &b, listen_anew(w));
	expect(w, good, number, "BACKUP");
	if (good)
		remember_set(w, kind, copy_only, tail, media, at);
	else if (!append)
		w->n_media--;
}

/* Back to SIMPLE and on again: the chain is broken until the next full. */
static void
switch_model(struct world *w)
{
	if (w->s.life != ONLINE)
		return;
	w->s.simple = !w->s.simple;
	assert_true(engine_alter(w->source, "S", "RECOVERY", w->s.simple ? "SIMPLE" : "FULL", listen_anew(w)));
	if (w->s.simple)
		w->s.chain = false;
}

/* ---- the second statement of RESTORE's rules ----------------------------------------------------------------------------- */

struct attempt {
	const struct taken *set; /* NULL: RESTORE DATABASE WITH RECOVERY alone */
	bool as_log, replace, norecovery, standby, lacks_stripe, wrong_file;
	int64_t stop; /* 0: none */
};

static bool
is_ancestor(const struct world *w, int a, int b)
{
	while (b > a)
		b = w->branches[b].parent;
	return a == b;
}

/* Where the way to b leaves a. */
static struct lsn
leaves(const struct world *w, int a, int b)
{
	while (w->branches[b].parent != a)
		b = w->branches[b].parent;
	return w->branches[b].from;
}

static bool
is_on_path(const struct world *w, const struct shadow *t, const struct taken *set)
{
	return t->branch == set->branch ||
	       (is_ancestor(w, t->branch, set->branch) && lsn_compare(t->at, leaves(w, t->branch, set->branch)) <= 0);
}

static int
predict_set(const struct world *w, const struct shadow *t, const struct attempt *a)
{
	const struct taken *set = a->set;

	if (a->lacks_stripe)
		return 3132;
	if (a->wrong_file)
		return 3287;
	if (a->as_log != (set->kind == 'L'))
		return 3135;
	if (set->kind != 'D' && t->life == ABSENT)
		return 3118;
	if (set->kind != 'D' && t->life == ONLINE)
		return 3117;
	if (t->life != ABSENT && t->family != set->family && !(set->kind == 'D' && a->replace))
		return 3154;
	if (a->stop != 0 && set->simple)
		return 3145;
	if (a->stop != 0 && set->kind != 'L' && a->stop / 1000 < set->at / 1000)
		return 4338;
	if (set->kind == 'D')
		return t->life == ONLINE && !t->simple && !a->replace ? 3159 : 0;
	if (set->kind == 'I')
		return set->base != t->base ? 3136 : lsn_compare(set->last, t->at) < 0 ? 3120 : 0;
	if (lsn_compare(set->last, t->at) < 0)
		return 4326;
	if (lsn_compare(set->first, t->at) > 0)
		return 4305;
	if (!is_on_path(w, t, set))
		return 4330;
	return a->stop != 0 && t->newest > a->stop ? 4335 : 0;
}

static int
predict(const struct world *w, const struct shadow *t, const struct attempt *a)
{
	if (a->set != NULL)
		return predict_set(w, t, a);
	return t->life == ABSENT ? 3118 : t->life == ONLINE ? 3153 : 0;
}

static struct lsn
redo_of(struct world *w, struct engine *e)
{
	sqlite3 *db = engine_connect(e, "master", listen_anew(w));
	sqlite3_stmt *st = NULL;
	struct lsn lsn = { 0 };

	assert_non_null(db);
	assert_true(engine_refresh_catalogue(e, db, ENGINE_OBJECTS | ENGINE_GROUPS));
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT f.redo_start_lsn FROM sys.master_files f JOIN sys.databases d ON d.database_id = f.database_id"
		" WHERE d.name = 'S' AND f.type = 0", -1, &st, NULL), SQLITE_OK);
	if (sqlite3_step(st) == SQLITE_ROW)
		lsn_parse((const char *)sqlite3_column_text(st, 0), &lsn);
	sqlite3_finalize(st);
	engine_disconnect(e, db);
	return lsn;
}

/* A log's commits go on from what is there, up to the stop; true when the log reaches it. */
static bool
roll(struct world *w, struct engine *e, struct shadow *t, const struct attempt *a)
{
	const struct taken *set = a->set;
	bool reached = a->stop != 0 && a->stop < set->at;
	struct lsn before = t->at;

	for (size_t i = 0; i < set->n_commits; i++) {
		const struct commit *c = &w->commits[set->commits + i];

		if (c->at > t->newest && (a->stop == 0 || c->at <= a->stop)) {
			t->newest = c->at;
			t->rows = c->rows;
		}
	}
	t->at = set->last;
	if (reached) {
		/* Where exactly is the engine's to say; it must lie within the log and not behind. */
		struct lsn now = a->norecovery ? redo_of(w, e) : before;

		assert_true(lsn_compare(now, before) >= 0 && lsn_compare(now, set->last) <= 0);
		t->at = now;
	}
	if (t->branch != set->branch && lsn_compare(t->at, leaves(w, t->branch, set->branch)) > 0)
		t->branch = set->branch;
	return reached;
}

static void
come_up(struct world *w, struct shadow *t)
{
	t->life = ONLINE;
	if (t == &w->s)
		t->branch = new_branch(w, t->branch, t->at);
	w->forks++;
}

static void
follow(struct world *w, struct engine *e, struct shadow *t, const struct attempt *a)
{
	const struct taken *set = a->set;
	bool stays = a->norecovery, short_of = false;

	if (set != NULL && set->kind != 'L') {
		*t = (struct shadow){ .life = RESTORING, .simple = set->simple, .family = set->family, .branch = set->branch, .at = set->last,
			.newest = set->newest, .rows = set->rows, .base = set->kind == 'D' ? set->number : set->base };
		short_of = a->stop != 0;
	} else if (set != NULL) {
		t->life = RESTORING;
		t->simple = set->simple; /* the recovery model is what it was when the last set was taken */
		short_of = !roll(w, e, t, a) && a->stop != 0;
	}
	w->stops += a->stop != 0;
	if (stays || short_of)
		return;
	if (a->standby)
		t->life = STANDBY;
	else
		come_up(w, t);
}

static const char *
time_text(struct world *w, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[40];
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03d", (int)(ms % 1000));
	return talloc_strdup(w->mem, text);
}

static void
attempt(struct world *w, struct engine *e, struct shadow *t, const struct attempt *a)
{
	const struct taken *set = a->set;
	const struct media *m = set == NULL ? NULL : &w->media[set->media];
	struct engine_move moves[] = { { "S", talloc_asprintf(w->mem, "%s/%s.mdf", w->dir, engine_server_name(e)) },
		{ "S_log", talloc_asprintf(w->mem, "%s/%s.ldf", w->dir, engine_server_name(e)) } };
	struct engine_restore r = { .verb = a->as_log ? ENGINE_RESTORE_LOG : ENGINE_RESTORE_DATABASE, .database = "S", .norecovery = a->norecovery,
		.replace = a->replace, .stop_at = a->stop == 0 ? NULL : time_text(w, a->stop),
		.standby = a->standby ? talloc_asprintf(w->mem, "%s/%s.undo", w->dir, engine_server_name(e)) : NULL };
	int number = predict(w, t, a);
	enum life was = t->life;
	char what[300];
	bool good;

	if (m != NULL) {
		r.devices = m->devices;
		r.n_devices = m->n - a->lacks_stripe;
		r.file = a->wrong_file ? m->sets + 1 : set->position;
	}
	if (m != NULL && !a->as_log) {
		r.moves = moves;
		r.n_moves = 2;
	}
	snprintf(what, sizeof(what), "%s of set %td (%c, branch %d of family %d)%s%s%s at state %d branch %d %s", a->as_log ? "RESTORE LOG" : "RESTORE DATABASE",
	         set == NULL ? -1 : set - w->sets, set == NULL ? '-' : set->kind, set == NULL ? 0 : set->branch, set == NULL ? 0 : set->family,
	         a->norecovery ? " NORECOVERY" : "", a->standby ? " STANDBY" : "", r.stop_at == NULL ? "" : " STOPAT", t->life, t->branch,
	         lsn_text(t->at).s);
	good = engine_restore(e, &r, listen_anew(w));
	expect(w, good, number, what);
	if (good)
		follow(w, e, t, a);
	if (engine_state(e, "S") != (t->life == ABSENT ? ENGINE_ABSENT : t->life == RESTORING ? ENGINE_RESTORING : ENGINE_ONLINE))
		fail_msg("life %d: after %s the state is %d", w->life, what, engine_state(e, "S"));
	if (t->life != ABSENT && strcmp(rows_of(w, e), t->rows) != 0)
		fail_msg("life %d: after %s (was %d) the rows are not the source's", w->life, what, was);
}

/* ---- what is tried ------------------------------------------------------------------------------------------------------ */

/* One that goes on from here as often as one that does not. */
static const struct taken *
some_set(struct world *w, const struct shadow *t)
{
	struct attempt a = { .norecovery = true };
	unsigned start = chance(w, (unsigned)w->n_sets);

	for (size_t i = 0; i < w->n_sets && chance(w, 3) != 0; i++) {
		const struct taken *set = &w->sets[(start + i) % w->n_sets];

		a.set = set;
		a.as_log = set->kind == 'L';
		if (predict(w, t, &a) == 0 && (set->kind != 'D' || chance(w, 4) == 0))
			return set;
	}
	return &w->sets[start];
}

static struct attempt
some_attempt(struct world *w, const struct shadow *t)
{
	struct attempt a = { .set = chance(w, 12) == 0 ? NULL : some_set(w, t), .norecovery = chance(w, 8) != 0 };

	if (a.set == NULL) {
		a.norecovery = false;
		return a;
	}
	a.as_log = (a.set->kind == 'L') != (chance(w, 20) == 0);
	a.replace = chance(w, 6) == 0;
	a.standby = !a.norecovery && chance(w, 2) == 0;
	a.lacks_stripe = w->media[a.set->media].n > 1 && chance(w, 5) == 0;
	a.wrong_file = chance(w, 25) == 0;
	/* Between two things that happened; the tail of what is ONLINE is another rule (3173), with a test of its own. */
	if (chance(w, 5) == 0 && t->life != ONLINE && w->n_commits > 0)
		a.stop = w->commits[chance(w, (unsigned)w->n_commits)].at + HOUR * 1000 / 2;
	return a;
}

/* A point in time before a set's last commit, now and then, so that stops are reached. */
static void
aim_into_log(struct world *w, struct attempt *a)
{
	if (a->set != NULL && a->set->kind == 'L' && a->set->n_commits > 1 && chance(w, 4) == 0)
		a->stop = w->commits[a->set->commits + chance(w, (unsigned)a->set->n_commits - 1)].at + HOUR * 1000 / 2;
}

static void
drop(struct world *w, struct engine *e)
{
	if (engine_state(e, "S") != ENGINE_ABSENT)
		assert_true(engine_drop(e, "S", listen_anew(w)));
}

/* The source itself goes back to one of its own sets and lives on from there. */
static void
restore_at_source(struct world *w)
{
	struct attempt a = { .norecovery = false, .replace = true };
	struct shadow *s = &w->s;

	if (s->life == RESTORING && chance(w, 2) == 0) {
		attempt(w, w->source, s, &(struct attempt){ .set = NULL });
		return;
	}
	for (size_t i = 0; i < w->n_sets; i++)
		if (w->sets[i].kind == 'D' && w->sets[i].family == s->family && chance(w, 2) == 0)
			a.set = &w->sets[i];
	if (a.set == NULL)
		return;
	attempt(w, w->source, s, &a);
	s->chain = !s->simple;
	s->full = 0;
	s->since = w->n_commits;
}

static void
be_born(struct world *w, int family)
{
	int64_t at = tick(w);

	drop(w, w->source);
	assert_true(engine_create(w->source, "S", listen_anew(w)));
	change(w, "CREATE TABLE dbo.a(id INTEGER PRIMARY KEY, v TEXT, body BLOB)", true);
	change(w, "CREATE TABLE dbo.b(k TEXT PRIMARY KEY, v TEXT)", true);
	w->s = (struct shadow){ .life = ONLINE, .family = family, .branch = new_branch(w, -1, (struct lsn){ 0 }), .rows = talloc_strdup(w->mem, ""),
		.since = w->n_commits, .newest = at };
}

static void
live(struct world *w, int family, int steps)
{
	be_born(w, family);
	for (int i = 0; i < steps; i++)
		switch (chance(w, 12)) {
		case 0: switch_model(w); break;
		case 1: restore_at_source(w); break;
		case 2: case 3: case 4: case 5: take_backup(w); break;
		default: commit(w); break;
		}
}

static void
one_life(struct world *w)
{
	w->n_sets = w->n_commits = 0;
	w->n_media = w->n_branches = w->fulls = 0;
	w->t = (struct shadow){ .life = ABSENT };
	drop(w, w->target);
	live(w, 1, STEPS * 2);
	if (chance(w, 3) == 0)
		live(w, 2, STEPS / 2);
	for (int i = 0; i < ATTEMPTS && w->n_sets > 0; i++) {
		struct attempt a = some_attempt(w, &w->t);

		if (w->t.life != ONLINE)
			aim_into_log(w, &a);
		/* Where a stop left a database cannot be seen while it stands by. */
		a.standby = a.standby && a.stop == 0;
		attempt(w, w->target, &w->t, &a);
		if ((w->t.life == ONLINE && chance(w, 2) == 0) || chance(w, 30) == 0) {
			drop(w, w->target);
			w->t = (struct shadow){ .life = ABSENT };
		}
	}
	for (int m = 0; m < w->n_media; m++)
		for (size_t i = 0; i < w->media[m].n; i++)
			unlink(w->media[m].devices[i]);
}

static void
rows_or_the_number_whatever_is_tried(void **state)
{
	struct world *w = *state;
	const char *seed = getenv("SEED"), *is_long = getenv("LONG");
	int lives = is_long != NULL && is_long[0] != '\0' ? LONG_LIVES : LIVES;
	unsigned begin = seed == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(seed, NULL, 10);
	TALLOC_CTX *mem = w->mem;

	print_message("# SEED=%u, %d lives\n", begin, lives);
	for (w->life = 0; w->life < lives; w->life++) {
		w->seed = begin + (unsigned)w->life * 7919u;
		w->mem = talloc_new(mem);
		one_life(w);
		talloc_free(w->mem);
	}
	print_message("# %zu statements did what was asked (%zu with STOPAT, %zu recoveries), %zu were refused:", w->legal, w->stops, w->forks, w->refused);
	for (int n = 1; n < 6000; n++)
		if (w->numbers[n] > 0)
			print_message(" %d×%zu", n, w->numbers[n]);
	print_message("\n");
	assert_true(w->legal > 0 && w->refused > 0);
}

static int
begin_world(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);
	struct err err = { 0 };

	w->mem = w;
	/* In memory: that what was said is on disk is proven elsewhere, by killing. */
	w->dir = talloc_asprintf(w, "%s/landfall-property-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->source = engine_open(w, talloc_asprintf(w, "%s/onprem", w->dir), "onprem", &err);
	w->target = engine_open(w, talloc_asprintf(w, "%s/hosted", w->dir), "hosted", &err);
	*state = w;
	return w->source == NULL || w->target == NULL ? -1 : 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;
	char *command = talloc_asprintf(w, "rm -rf '%s'", w->dir);
	int status = system(command);

	talloc_free(w);
	return status;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_or_the_number_whatever_is_tried, begin_world, end_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
