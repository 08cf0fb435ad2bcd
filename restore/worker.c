#include "restore/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "restore/cluster.h"
#include "restore/lane.h"
#include "restore/pool.h"
#include "restore/preflight.h"
#include "restore/run.h"

/*
 * How soon a run is looked at again. Whatever arrives or is asked makes it due at once (the schema's nudge), so the rest is for
 * what only the server knows, and for a cutover, whose gates want fresh answers. A run without backups has nothing there.
 */
enum { CUTOVER_MS = 3000, IDLE_MS = 15000, EMPTY_MS = 60000, SETTLE_MS = 3000, TROUBLE_MS = 2000, SLOT_MS = 100 };
enum { REPLICAS_MAX = 16 };

/* One visit to a run. */
struct visit {
	struct worker *worker;
	struct db *db;
	TALLOC_CTX *mem;
	struct restore_run run;
	const struct config_cluster *cluster;
	struct chain *chain;
	struct lane lanes[REPLICAS_MAX];
	size_t n;
	bool has_steps, complete;
	const char *gap, *awaits; /* awaits: the log that the run is to stop in */
	bool stopped, past_stop;
	char *trouble; /* why some replica could not be asked */
	struct preflight preflight;
};

/* Whose turn it is: the first lane's that says so; a gap, a first full and the tail are the customer's. */
static const char *
waits_on(const struct visit *v)
{
	bool cutover = strcmp(v->run.state, "cutover") == 0;

	if (v->run.hold != NULL)
		return WAITS_ON_OPERATOR;
	for (size_t i = 0; i < v->n; i++)
		if (v->lanes[i].waits_on != NULL && strcmp(v->lanes[i].waits_on, WAITS_ON_OPERATOR) == 0)
			return WAITS_ON_OPERATOR;
	for (size_t i = 0; i < v->n; i++)
		if (v->lanes[i].waits_on != NULL)
			return v->lanes[i].waits_on;
	if (v->chain == NULL)
		return NULL;
	if (v->past_stop)
		return WAITS_ON_OPERATOR;
	if ((v->awaits != NULL && (cutover || v->run.is_uat)) || v->gap != NULL || v->chain->n == 0 || (cutover && v->run.tail_set == 0) ||
	    (strcmp(v->run.state, "waiting") == 0 && !v->has_steps && v->trouble == NULL))
		return WAITS_ON_CUSTOMER;
	return cutover && !v->has_steps && v->trouble == NULL ? WAITS_ON_OPERATOR : NULL;
}

static void
give_back(struct visit *v, const char *why, bool in_line, int again_ms)
{
	struct err err = { 0 };

	/* A line moves by itself. */
	if (!ask_release(v->db, &v->run, why, why == NULL || in_line ? NULL : waits_on(v), in_line, again_ms, &err))
		log_warning("a run could not be given back", "migration", v->run.migration, "error", err.text, NULL);
}

static void
release(struct visit *v, const char *why, int again_ms)
{
	give_back(v, why, false, again_ms);
}

/* In line for a slot: claimed again when there is room; the time is for who was let in by the claim and not by ask_slot. */
static void
stand_in_line(struct visit *v, const char *why)
{
	give_back(v, why, true, SLOT_MS);
}

static int
idle_ms(const struct visit *v)
{
	return strcmp(v->run.state, "cutover") == 0 ? CUTOVER_MS : IDLE_MS;
}

static bool
move(struct visit *v, enum run_event event, const char *text, const char *failure)
{
	const char *to = run_next(v->run.state, v->run.is_uat, event);
	struct err err = { 0 };
	bool moved = false;

	if (!run_knows(v->run.state, event))
		log_error("a run met an event its state does not know", "migration", v->run.migration, "state", v->run.state, NULL);
	if (to == NULL)
		return true;
	if (!ask_move(v->db, &v->run, to, text, failure, &moved, &err)) {
		log_warning("a run could not be moved", "migration", v->run.migration, "to", to, "error", err.text, NULL);
		return false;
	}
	if (moved)
		log_info("a run moved", "migration", v->run.migration, "run", v->run.kind, "to", to, NULL);
	return moved;
}

/* ---- facts ------------------------------------------------------------------------------------------------ */

static struct guid
family_of(const struct visit *v)
{
	return guid_is_null(v->run.family) ? plan_choose_family(v->chain->sets, v->chain->n, v->run.database) : v->run.family;
}

/*
 * The log that says itself that the source ended with it. What the primary stood at when it was last asked tells a
 * rehearsal's tail, which the chain has gone past since, from the one that is waited for.
 */
static bool
offline_tail(const struct visit *v, struct guid family, int64_t *tail, struct err *err)
{
	struct plan_now now = { .absent = true };
	const struct plan_set *found;
	struct restore_replica *list;
	size_t n;

	if (!ask_replicas(v->db, v->mem, v->run.id, &list, &n, err))
		return false;
	for (size_t i = 0; i < n && now.absent; i++)
		if (list[i].left_out == NULL && !lsn_is_null(list[i].redo))
			now = (struct plan_now){ .redo = list[i].redo, .fork = list[i].fork };
	now.void_until = v->run.void_until;
	found = plan_tail(v->chain->sets, v->chain->n, family, &now);
	*tail = found == NULL ? 0 : found->id;
	return true;
}

/* Which log is the last one: named, accepted by a person, or the one that says so itself. Never another database's. */
static bool
recognise_tail(struct visit *v, struct err *err)
{
	struct guid family = family_of(v);
	int64_t tail = 0;

	/* Where a person's point lies is seen when the primary's plan is made. */
	if (v->run.tail_set != 0 || !v->run.cutover || guid_is_null(family) || v->run.stop_at.year != 0)
		return true;
	if (v->run.last_file != NULL) {
		if (!ask_set_of_file(v->db, v->run.migration, v->run.last_file, family, &tail, err))
			return false;
	} else if (!ask_waived_tail(v->db, v->run.migration, family, &tail, err) ||
	           (tail == 0 && !offline_tail(v, family, &tail, err))) {
		return false;
	}
	if (tail == 0)
		return true;
	v->run.tail_set = tail;
	return ask_tail_keep(v->db, &v->run, tail, err);
}

/*
 * The last log of a run that ends at a point is the one that holds it. A tail before it is the end of all there is: the source was off
 * by then.
 */
static bool
recognise_stop(struct visit *v, const struct plan *todo, struct err *err)
{
	int64_t tail = todo->stops_in;

	if (v->run.stop_at.year == 0 || v->run.tail_set != 0 || !v->run.cutover)
		return true;
	if (tail == 0 && !offline_tail(v, family_of(v), &tail, err))
		return false;
	for (size_t i = 0; i < v->chain->n; i++)
		if (todo->stops_in == 0 && v->chain->sets[i].id == tail && bak_date_compare(v->chain->sets[i].finish, v->run.stop_at) >= 0)
			tail = 0; /* it holds the point, and what leads there is missing still */
	if (tail == 0)
		return true;
	v->run.tail_set = tail;
	return ask_tail_keep(v->db, &v->run, tail, err);
}

static const struct config_target *
target_named(const struct config_cluster *c, const char *name)
{
	for (unsigned i = 0; i < c->n_targets; i++)
		if (strcmp(c->targets[i].name, name) == 0)
			return &c->targets[i];
	return NULL;
}

static bool
make_lanes(struct visit *v, struct err *err)
{
	struct restore_replica *list;
	size_t n;

	if (!ask_replicas(v->db, v->mem, v->run.id, &list, &n, err))
		return false;
	for (size_t i = 0; i < n && v->n < REPLICAS_MAX; i++) {
		struct lane *lane = &v->lanes[v->n];

		if (list[i].left_out != NULL && v->run.drop_asked == NULL)
			continue;
		*lane = (struct lane){ .config = v->worker->config, .cluster = v->cluster, .where = target_named(v->cluster, list[i].name),
			.replica = list[i].name, .is_primary = list[i].ordinal == 0, .run = v->run, .chain = v->chain, .family = family_of(v),
			.stop = &v->worker->stop, .replanned = v->run.replanned, .left_out = list[i].left_out != NULL, .talk = PTHREAD_MUTEX_INITIALIZER };
		if (lane->where == NULL)
			return err_set(err, ERR_OPERATOR, 0, "replica %s of cluster %s is not in the configuration", list[i].name, v->run.cluster);
		lane->volume = target_volume(v->mem, lane->where);
		v->n++;
	}
	return v->n > 0 ? true : err_set(err, ERR_OPERATOR, 0, "cluster %s has no replica for this run", v->run.cluster);
}

/* Keeps the plan that the console shows; the primary's view is the one that counts. */
static bool
keep_plan(struct visit *v, const struct plan *todo, const struct plan *whole, struct err *err)
{
	int64_t *restored;
	size_t n;
	json_t *json;
	char *text;
	bool good;

	if (!ask_restored(v->db, v->mem, v->run.id, &restored, &n, err))
		return false;
	json = plan_json(todo, whole, restored, n);
	/* What it was made from, so that nobody takes a gap for real that was closed a moment ago. */
	json_object_set_new(json, "seen", json_pack("{s:b,s:i,s:I,s:I}", "cutover", v->run.cutover, "replanned", v->run.replanned, "tail", (json_int_t)v->run.tail_set, "parts",
		(json_int_t)v->chain->n_parts));
	text = json_dumps(json, JSON_COMPACT);
	good = ask_plan_keep(v->db, &v->run, text, err);
	free(text);
	json_decref(json);
	v->complete = todo->complete;
	v->gap = todo->n_gaps > 0 ? talloc_strdup(v->mem, todo->gaps[0].text) : NULL;
	v->awaits = todo->awaits == NULL ? NULL : talloc_strdup(v->mem, todo->awaits);
	v->stopped = todo->stops_in != 0;
	v->past_stop = todo->past_stop;
	return good;
}

/* Asks a replica, over the conversation that was kept of the last visit if there is one: it may be dead by now. */
static struct mssql *
ask(TALLOC_CTX *mem, struct lane *lane, struct err *err)
{
	struct mssql *ms = pool_conversation(lane->run.id, lane->replica);

	if (ms != NULL && lane_ask(mem, lane, ms, err))
		return talloc_steal(mem, ms);
	talloc_free(ms);
	err_clear(err);
	ms = lane_open(mem, lane, err);
	return ms != NULL && lane_ask(mem, lane, ms, err) ? ms : NULL;
}

/* Asks every replica; a replica that is away is said and does not stop the others. */
static bool
survey(struct visit *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		TALLOC_CTX *mem = talloc_new(v->mem);
		struct lane *lane = &v->lanes[i];
		struct plan *todo;
		struct err away = { 0 };
		struct mssql *ms;

		lane->run = v->run;
		ms = ask(mem, lane, &away);
		if (ms == NULL) {
			v->trouble = talloc_asprintf(v->mem, "%s%s%s", v->trouble == NULL ? "" : v->trouble, v->trouble == NULL ? "" : "; ", away.text);
			ask_replica_saw(v->db, &v->run, lane->replica, &(struct restore_seen){ .state = "away" }, NULL, err);
			talloc_free(mem);
			continue;
		}
		/* A busy server is still at it: the lane waits for it. */
		if (!lane_saw(v->db, lane, err))
			return false;
		todo = lane_plan(mem, lane);
		if ((lane->is_primary && (!recognise_stop(v, todo, err) || !keep_plan(v, todo, lane_plan_anew(mem, lane), err))) ||
		    !preflight_visit(&v->preflight, v->db, lane, ms, todo, err))
			return false;
		v->has_steps = v->has_steps || todo->n_steps > 0;
		lane->has_volume = todo->n_steps > 0 && todo->steps[0].set->type == BAK_FULL;
		/* Its walk goes on with the conversation: a log-in costs more than many questions. */
		lane->ms = talloc_steal(NULL, ms);
		talloc_free(mem);
	}
	return true;
}

/* ---- walking ------------------------------------------------------------------------------------------------- */

static void *
lane_thread(void *ctx)
{
	lane_walk(ctx);
	return NULL;
}

/* Waits for a lane; a person who wants the statements broken off is heard within a second. */
static void
join(struct visit *v, pthread_t thread)
{
	struct timespec until;
	struct err err = { 0 };
	bool wanted;

	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 1;
		if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
			return;
		if (!ask_break_off(v->db, &v->run, &wanted, &err) || !wanted)
			continue;
		for (size_t i = 0; i < v->n; i++)
			lane_break_off(&v->lanes[i]);
	}
}

static void
walk_lanes(struct visit *v)
{
	pthread_t threads[REPLICAS_MAX];
	bool started[REPLICAS_MAX] = { false };

	for (size_t i = 0; i < v->n; i++) {
		v->lanes[i].run = v->run;
		started[i] = pthread_create(&threads[i], NULL, lane_thread, &v->lanes[i]) == 0;
		if (!started[i])
			lane_walk(&v->lanes[i]);
	}
	for (size_t i = 0; i < v->n; i++)
		if (started[i])
			join(v, threads[i]);
}

/* The worst end of all lanes, with the reasons of those that ended so. */
static enum lane_end
worst(struct visit *v, const char **why)
{
	enum lane_end end = LANE_LEVEL;
	char *text = NULL;

	for (size_t i = 0; i < v->n; i++)
		if (v->lanes[i].end > end)
			end = v->lanes[i].end;
	for (size_t i = 0; i < v->n; i++)
		if (v->lanes[i].end == end && v->lanes[i].why != NULL)
			text = talloc_asprintf(v->mem, "%s%s%s", text == NULL ? "" : text, text == NULL ? "" : "; ", v->lanes[i].why);
	*why = text;
	return end;
}

static int
patience(const struct visit *v)
{
	int ms = TROUBLE_MS;

	for (size_t i = 0; i < v->n; i++)
		ms = v->lanes[i].again_ms > ms ? v->lanes[i].again_ms : ms;
	return ms;
}

/*
 * Without logs nothing tells by itself that the source was off. A tail that came and does not count (plan_tail says which) is named:
 * who sent it waits for us.
 */
static const char *
waits_for_tail(const struct visit *v)
{
	struct guid family = family_of(v);
	const struct plan_set *full = plan_last_full(v->chain->sets, v->chain->n, family);

	for (size_t i = v->chain->n; i-- > 0;) {
		const struct plan_set *s = &v->chain->sets[i];

		if (s->type == BAK_LOG && s->tail_norecovery && guid_equal(s->family, family) && !s->duplicate && s->skipped == NULL && s->n_files > 0)
			return talloc_asprintf(v->mem, "the tail: a log backup taken WITH NORECOVERY. %s is one and does not count: the source came back after it, or"
				" the copy is past it or on another fork (migration restart begins the chain again)", s->files[0]);
	}
	return full != NULL && full->simple ? "the last differential, accepted as the tail (file accept-as-tail): the SIMPLE recovery model has no logs"
	                                    : "the tail: a log backup taken WITH NORECOVERY";
}

static const char *
waits_when_level(const struct visit *v)
{
	if (v->trouble != NULL)
		return v->trouble;
	if (v->gap != NULL)
		return v->gap;
	if (v->awaits != NULL)
		return v->awaits;
	if (v->chain->n == 0 || guid_is_null(family_of(v)))
		return "a full backup";
	if (strcmp(v->run.state, "cutover") == 0)
		return v->run.tail_set != 0 ? "recover, or the gates before it"
		       : v->run.last_file != NULL ? talloc_asprintf(v->mem, "the last file: %s", v->run.last_file)
		                                  : waits_for_tail(v);
	if (strcmp(v->run.state, "waiting") == 0)
		return "a full backup that can be restored";
	if (v->run.is_uat)
		return NULL;
	return v->stopped ? "cutover: it has come to the point to stop at" : "the next log backup, or cutover";
}

static void
after_level(struct visit *v)
{
	bool anything = false;

	for (size_t i = 0; i < v->n; i++)
		anything = anything || v->lanes[i].seen.is_restoring;
	/* A rehearsal goes on to RECOVERY by itself, but never over a gap; production stays for a person. */
	if (v->trouble == NULL && anything && (!v->run.is_uat || v->complete))
		move(v, RUN_ALL_RESTORED, v->run.is_uat ? "everything known is restored" : "every replica has everything known", NULL);
	release(v, waits_when_level(v), v->trouble != NULL ? TROUBLE_MS : strcmp(v->run.state, "recovering") == 0 ? 0 : idle_ms(v));
}

/* Those that a full backup would be restored onto, or NULL. */
static const char *
volumes_for_full(const struct visit *v)
{
	const char *list[REPLICAS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		if (v->lanes[i].has_volume)
			list[n++] = v->lanes[i].volume;
	return n == 0 || v->cluster->volume_slots == 0 ? NULL : db_text_array(v->mem, list, n);
}

static void
go_restore(struct visit *v)
{
	struct err err = { 0 };
	const char *who, *why;
	bool slot;

	if (!ask_slot(v->db, v->mem, &v->run, volumes_for_full(v), &slot, &who, &err)) {
		release(v, NULL, TROUBLE_MS);
		return;
	}
	if (!slot) {
		stand_in_line(v, who);
		return;
	}
	if (!move(v, RUN_STEPS_BEGIN, "restoring begins", NULL)) {
		release(v, NULL, 0);
		return;
	}
	ask_waits(v->db, &v->run, NULL, &err);
	walk_lanes(v);
	switch (worst(v, &why)) {
	case LANE_LEVEL:
		release(v, NULL, 0); /* looked at again at once: more may have come */
		break;
	case LANE_WAITS:
		release(v, why, patience(v));
		break;
	case LANE_YIELDS:
		stand_in_line(v, why);
		break;
	case LANE_STOPS:
		release(v, NULL, 0);
		break;
	case LANE_BROKEN:
		log_error("a restore needs a person", "migration", v->run.migration, "why", why, NULL);
		ask_reload(v->db, v->mem, &v->run, &err);
		move(v, RUN_BROKEN, why, why);
		release(v, why, IDLE_MS);
		break;
	case LANE_LOST:
		log_warning("a run was left", "migration", v->run.migration, "why", why, NULL);
		break;
	}
}

static void
go_recover(struct visit *v)
{
	struct lane *lane = &v->lanes[0];
	struct err err = { 0 };
	bool moved;

	lane->run = v->run;
	lane_recover(lane);
	if (lane->end == LANE_LEVEL) {
		if (!ask_online(v->db, &v->run, &moved, &err))
			log_warning("a recovered run could not be recorded", "migration", v->run.migration, "error", err.text, NULL);
		release(v, NULL, 0);
	} else if (lane->end == LANE_BROKEN) {
		move(v, RUN_BROKEN, lane->why, lane->why);
		release(v, lane->why, IDLE_MS);
	} else if (lane->end == LANE_STOPS) {
		release(v, NULL, 0);
	} else if (lane->end != LANE_LOST) {
		release(v, lane->why, patience(v));
	}
}

/* ONLINE, and the users work: what the cluster still needs, beside the verification. */
static void
go_settle(struct visit *v)
{
	const char *why = NULL;
	struct err err = { 0 };

	for (size_t i = 0; i < v->n; i++)
		v->lanes[i].run = v->run;
	if (cluster_settle(v->db, v->mem, v->lanes, v->n, &why, &err))
		release(v, NULL, 0);
	else if (err.kind != ERR_REFUSED || err.code != ASK_LEASE_LOST)
		release(v, why != NULL ? why : err.kind != ERR_NONE ? err.text : NULL, atomic_load(&v->worker->stop) ? 0 : SETTLE_MS);
}

/* The copy goes from every replica; what is left out of the run and away as well is told, not waited for. */
static void
go_drop(struct visit *v)
{
	struct err err = { 0 };
	const char *why;
	char *left = NULL;

	for (size_t i = 0; i < v->n; i++) {
		struct lane *lane = &v->lanes[i];

		lane->run = v->run;
		lane_drop(lane);
		if (lane->left_out && lane->end == LANE_WAITS && lane->seen.state[0] == '\0') {
			left = talloc_asprintf(v->mem, "%s%s%s is left out and could not be asked (%s)", left == NULL ? "" : left, left == NULL ? "" : "; ",
			                       lane->replica, lane->why);
			lane->end = LANE_LEVEL;
		}
	}
	switch (worst(v, &why)) {
	case LANE_LEVEL:
		if (ask_dropped(v->db, &v->run, left, &err)) {
			release(v, NULL, 0);
		} else {
			log_warning("a dropped copy could not be recorded", "migration", v->run.migration, "error", err.text, NULL);
			release(v, err.text, TROUBLE_MS);
		}
		break;
	case LANE_BROKEN:
		log_error("a copy is not dropped", "migration", v->run.migration, "why", why, NULL);
		ask_drop_refused(v->db, &v->run, why, &err);
		release(v, why, IDLE_MS);
		break;
	case LANE_STOPS:
		release(v, NULL, 0);
		break;
	case LANE_WAITS:
	case LANE_YIELDS:
		release(v, why, patience(v));
		break;
	case LANE_LOST:
		log_warning("a run was left", "migration", v->run.migration, "why", why, NULL);
		break;
	}
}

/* A difference between what we read and what the target reads: nobody but a person knows which of the two is right. */
static void
stop_for_a_person(struct visit *v, const char *why)
{
	log_error("a restore needs a person", "migration", v->run.migration, "why", why, NULL);
	move(v, RUN_BROKEN, why, why);
	release(v, why, IDLE_MS);
}

static void
go(struct visit *v)
{
	struct err err = { 0 };

	v->cluster = config_cluster(v->worker->config, v->run.cluster);
	v->chain = ask_chain(v->db, v->mem, v->run.migration, &err);
	if (v->chain == NULL || !recognise_tail(v, &err) || !make_lanes(v, &err)) {
		release(v, err.text, TROUBLE_MS);
		return;
	}
	if (v->run.drop_asked != NULL) {
		go_drop(v);
		return;
	}
	if (strcmp(v->run.state, "recovering") == 0) {
		go_recover(v);
		return;
	}
	if (strcmp(v->run.state, "online") == 0 || strcmp(v->run.state, "verified") == 0) {
		go_settle(v);
		return;
	}
	if (v->chain->n == 0) {
		if (!preflight_early(&v->preflight, v->db, v->lanes, v->n, &err))
			log_warning("preflight could not ask", "migration", v->run.migration, "error", err.text, NULL);
		release(v, v->preflight.waits != NULL ? v->preflight.waits : "a full backup",
		        strcmp(v->run.state, "cutover") == 0 ? CUTOVER_MS : v->preflight.again_ms > 0 ? v->preflight.again_ms : EMPTY_MS);
		return;
	}
	if (!survey(v, &err) || !preflight_settle(&v->preflight, v->db, v->lanes, v->n, v->trouble, &err)) {
		release(v, err.text, TROUBLE_MS);
		return;
	}
	if (v->preflight.stops != NULL)
		stop_for_a_person(v, v->preflight.stops);
	else if (v->run.hold != NULL)
		release(v, talloc_asprintf(v->mem, "on hold: %s", v->run.hold), idle_ms(v));
	else if (v->has_steps && v->preflight.waits != NULL)
		release(v, v->preflight.waits, v->preflight.again_ms);
	else if (v->has_steps)
		go_restore(v);
	else
		after_level(v);
}

/* run NULL: none. */
static void
remember(struct worker *worker, int thread, const struct restore_run *run)
{
	pthread_mutex_lock(&worker->words_lock);
	snprintf(worker->words[thread], sizeof(worker->words[thread]), "%s%s%s", run == NULL ? "" : run->migration, run == NULL ? "" : " ",
	         run == NULL ? "" : run->kind);
	pthread_mutex_unlock(&worker->words_lock);
	atomic_store(&worker->at[thread], run == NULL ? 0 : run->id);
}

bool
worker_turn(struct worker *worker, int thread, struct db *db)
{
	struct visit v = { .worker = worker, .db = db, .mem = talloc_new(NULL) };
	struct err err = { 0 };
	bool got = false;

	v.preflight.mem = v.mem;
	/* Whose leases nobody renews must not take more. */
	if (steady_ms() - atomic_load(&worker->beaten) > ASK_LEASE_SECONDS * 1000 / 2)
		;
	else if (!ask_claim(db, v.mem, worker->id, worker->clusters, &v.run, &got, &err))
		log_warning("Postgres does not answer; waiting", "error", err.text, NULL);
	else if (got) {
		remember(worker, thread, &v.run);
		worker->claimed();
		go(&v);
		remember(worker, thread, NULL);
	}
	preflight_end(&v.preflight);
	for (size_t i = 0; i < v.n; i++) {
		talloc_free(v.lanes[i].why);
		/* What a person changes of our log-in's rights may count from the next log-in only. */
		if (v.preflight.waits != NULL || v.lanes[i].kept != NULL)
			talloc_free(v.lanes[i].ms);
		else
			pool_conversation_keep(v.run.id, v.lanes[i].replica, v.lanes[i].ms);
	}
	talloc_free(v.mem);
	return got;
}

char *
worker_words(struct worker *worker, TALLOC_CTX *mem)
{
	char *list = talloc_strdup(mem, "");
	int n = 0;

	pthread_mutex_lock(&worker->words_lock);
	for (int i = 0; i < WORKER_THREADS; i++)
		if (worker->words[i][0] != '\0')
			list = talloc_asprintf_append(list, "%s%s", n++ == 0 ? "" : ", ", worker->words[i]);
	pthread_mutex_unlock(&worker->words_lock);
	return talloc_asprintf(mem, "%d run%s%s%s", n, n == 1 ? "" : "s", n == 0 ? "" : ": ", list);
}

bool
worker_beat(struct worker *worker, struct db *db, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *runs[WORKER_THREADS];
	size_t n = 0;
	bool good;

	for (int i = 0; i < WORKER_THREADS; i++) {
		int64_t run = atomic_load(&worker->at[i]);

		if (run != 0)
			runs[n++] = db_int(mem, run);
	}
	good = ask_worker_beat(db, worker->id, db_text_array(mem, runs, n), err);
	if (good)
		atomic_store(&worker->beaten, steady_ms());
	talloc_free(mem);
	return good;
}

/* ---- clusters ---------------------------------------------------------------------------------------------------- */

static void
probe(const struct config_cluster *c, unsigned i, struct db *db)
{
	static const char question[] = "SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')) AS product,"
	                               " CONVERT(int, DATABASEPROPERTYEX(N'master', 'Version')) AS version";
	TALLOC_CTX *mem = talloc_new(NULL);
	struct mssql_target t = target_of(c, &c->targets[i]);
	struct err err = { 0 }, away = { 0 };
	struct mssql *ms = mssql_open(mem, &t, "landfall/probe", NULL, &away);
	struct mssql_rows *rows = NULL;
	const char *version = NULL;

	if (ms != NULL) {
		mssql_limit(ms, 10);
		if (mssql_run(ms, mem, question, &rows, NULL, NULL, NULL, &away))
			version = mssql_rows_value(rows, 0, 1);
	}
	ask_replica_is(db, c->name, t.name, (int)i, version != NULL ? "up" : "away", version != NULL ? NULL : away.text,
	               version != NULL ? mssql_rows_value(rows, 0, 0) : NULL, version == NULL ? 0 : atoi(version), &err);
	talloc_free(mem);
}

void
worker_probe(const struct config *config, struct db *db)
{
	struct err err = { 0 };

	for (unsigned c = 0; c < config->n_clusters; c++) {
		for (unsigned i = 0; i < config->clusters[c].n_targets; i++)
			probe(&config->clusters[c], i, db);
		ask_cluster_version(db, config->clusters[c].name, &err);
	}
}
