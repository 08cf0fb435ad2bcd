#include "tests/standin/engine_work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/*
 * RESTORE. Real backup bytes go through the project's reader; every page lands at its place in the data
 * file that MOVE names, and nothing else ever writes there: the data file keeps the pages of the full.
 * A database made by the stand-in carries its SQLite file in those pages; it is taken out into db<N>.sqlite
 * when the full is complete. A differential is laid over the pages of the full, never over what logs made
 * of it, because replayed changes give the same rows and other pages. Log records are applied commit by
 * commit in one SQLite transaction that also moves next_block, so a record is applied once whatever dies.
 *
 * A database from a real SQL Server is opaque: its pages are written and checked, its redo point moves by
 * the headers, its rows are not understood.
 */

enum { CURCMD_RESTORE_DATABASE = 229, CURCMD_RESTORE_LOG = 236, CURCMD_HEADERONLY = 250, CURCMD_FILELISTONLY = 376,
       CURCMD_VERIFYONLY = 377, CURCMD_LABELONLY = 251 };

int
engine_curcmd(const struct engine_restore *r)
{
	static const int curcmd[] = {
		[ENGINE_RESTORE_DATABASE] = CURCMD_RESTORE_DATABASE, [ENGINE_RESTORE_LOG] = CURCMD_RESTORE_LOG,
		[ENGINE_HEADERONLY] = CURCMD_HEADERONLY, [ENGINE_FILELISTONLY] = CURCMD_FILELISTONLY,
		[ENGINE_LABELONLY] = CURCMD_LABELONLY, [ENGINE_VERIFYONLY] = CURCMD_VERIFYONLY,
	};

	return curcmd[r->verb];
}

static bool
ends_abnormally(const struct work *w)
{
	static const char *const what[] = {
		[ENGINE_RESTORE_DATABASE] = "RESTORE DATABASE", [ENGINE_RESTORE_LOG] = "RESTORE LOG",
		[ENGINE_HEADERONLY] = "RESTORE HEADERONLY", [ENGINE_FILELISTONLY] = "RESTORE FILELIST",
		[ENGINE_LABELONLY] = "RESTORE LABELONLY", [ENGINE_VERIFYONLY] = "VERIFY DATABASE",
	};

	say(w->out, 3013, 1, 16, "%s is terminating abnormally.", what[w->r->verb]);
	return false;
}

/* ---- doing it -------------------------------------------------------------------------------------------------------------- */

static bool
save_files(struct work *w)
{
	char sql[64];
	bool good;

	snprintf(sql, sizeof(sql), "DELETE FROM file WHERE db = %d", w->row->id);
	good = run_sql(w->e->meta, sql);
	for (size_t i = 0; good && i < w->set->n_files; i++) {
		const struct bak_file *f = &w->set->files[i];
		sqlite3_stmt *st = NULL;
		const char type[2] = { f->type, '\0' };

		good = sqlite3_prepare_v2(w->e->meta, "INSERT INTO file VALUES(?, ?, ?, ?, ?)", -1, &st, NULL) == SQLITE_OK;
		if (good) {
			sqlite3_bind_int(st, 1, w->row->id);
			sqlite3_bind_int(st, 2, (int)f->file_id);
			sqlite3_bind_text(st, 3, type, 1, SQLITE_TRANSIENT);
			sqlite3_bind_text(st, 4, f->logical_name, -1, SQLITE_TRANSIENT);
			sqlite3_bind_text(st, 5, w->paths[i], -1, SQLITE_TRANSIENT);
			good = sqlite3_step(st) == SQLITE_DONE;
		}
		sqlite3_finalize(st);
	}
	return good;
}

/* From here the database is RESTORING and belongs to this set until it is through. Called under the lock. */
static bool
begin_full(struct work *w)
{
	struct db_row *row = w->row == NULL ? talloc_zero(w->mem, struct db_row) : w->row;
	bool good;

	row->name = talloc_strdup(row, w->r->database);
	row->model = talloc_strdup(row, w->set->recovery_model == NULL ? "FULL" : w->set->recovery_model);
	row->owner = talloc_strdup(row, w->out->login == NULL ? "sa" : w->out->login);
	row->state = 1;
	row->user_access = 0;
	row->standby = NULL;
	row->redo_at = 0;
	/* The source's level, raised to the least that this server knows. */
	row->compat = w->set->compat_level < 100 ? 100 : w->set->compat_level;
	row->family = w->set->family_guid;
	row->binding = guid_new();
	row->fork = w->set->recovery_fork_id;
	row->redo = row->base_lsn = row->last_full_lsn = row->chain_origin = row->next_log = row->fork1_lsn = (struct lsn){ 0 };
	row->redo_fork = row->base_guid = row->last_full_guid = row->restored_base = row->fork1 = (struct guid){ { 0 } };
	row->pending = w->set->backup_set_guid;
	row->pending_type = 'D';
	row->created = engine_now_ms(w->e) / 1000;
	row->pages_checked = row->pages_bad = 0;
	run_sql(w->e->meta, "BEGIN IMMEDIATE");
	good = db_save(w->e, row) && (w->row = db_load(w->e, w->mem, w->r->database)) != NULL && save_files(w);
	good = end_sql(w->e->meta, good);
	w->e->generation++;
	return good;
}

static bool
begin_more(struct work *w, char type)
{
	w->row->pending = w->set->backup_set_guid;
	w->row->pending_type = type;
	w->row->state = 1; /* STANDBY ends where rolling forward goes on */
	w->row->standby = NULL;
	return db_save(w->e, w->row);
}

static void
count_pages(struct work *w)
{
	for (size_t i = 0; i < w->r->n_devices; i++) {
		const struct bak_set *s = bak_set(w->baks[i], (size_t)w->set->position - 1);

		for (size_t p = 0; s != NULL && p < s->n_passes; p++) {
			w->row->pages_checked += (int64_t)s->pages[p].checked;
			w->row->pages_bad += (int64_t)s->pages[p].bad;
		}
	}
}

static char
type_of(const struct bak_set *s)
{
	return s->type == BAK_LOG ? 'L' : s->type == BAK_DIFFERENTIAL ? 'I' : 'D';
}

static bool
remember(struct work *w)
{
	struct history h = { .database = w->row->name, .user = w->out->login, .stop_at = w->r->stop_at, .type = type_of(w->set),
		.recovery = !w->r->norecovery && w->r->standby == NULL, .replace = w->r->replace, .n_devices = w->r->n_devices,
		.set = w->set->backup_set_guid, .family = w->set->family_guid, .first = w->set->first_lsn, .last = w->set->last_lsn };

	return history_add(w->e, &h);
}

/* The database's row; where the statement has come to its end, together with its row of restorehistory. */
static bool
save_row(struct work *w, bool is_end)
{
	bool good;

	run_sql(w->e->meta, "BEGIN IMMEDIATE");
	good = db_save(w->e, w->row) && (!is_end || w->set == NULL || remember(w));
	good = end_sql(w->e->meta, good);
	w->e->generation++;
	return good;
}

/* All of the set is in the database; is_end: nothing else is asked. */
static bool
complete(struct work *w, const struct rolled *to, bool is_end)
{
	char type = type_of(w->set);
	bool good;

	pthread_mutex_lock(&w->e->lock);
	w->row->redo = to->redo;
	w->row->redo_at = to->at;
	/* Stopped before the fork that the log spans, it is still on the one before. */
	if (lsn_is_null(w->set->fork_point_lsn) || lsn_compare(to->redo, w->set->fork_point_lsn) > 0)
		w->row->redo_fork = w->set->recovery_fork_id;
	w->row->chain_origin = w->set->log_chain_origin;
	/* As it was when the set was taken, not when its base was. */
	if (w->set->recovery_model != NULL)
		w->row->model = talloc_strdup(w->row, w->set->recovery_model);
	/* Dead between here and ONLINE, it waits for RECOVERY (4347). */
	w->row->pending_type = is_end || w->r->standby != NULL ? 0 : 'R';
	w->row->pending = (struct guid){ { 0 } };
	if (type == 'D')
		w->row->restored_base = w->set->backup_set_guid;
	if (type != 'L')
		count_pages(w);
	good = save_row(w, is_end);
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

/* Paths of the files that the database has, in the order of the set's files. */
static void
load_paths(struct work *w)
{
	w->paths = talloc_zero_array(w->mem, const char *, w->set->n_files + 1);
	for (size_t i = 0; i < w->set->n_files; i++) {
		sqlite3_stmt *st = NULL;

		w->paths[i] = "";
		if (sqlite3_prepare_v2(w->e->meta, "SELECT path FROM file WHERE db = ? AND file_id = ?", -1, &st, NULL) == SQLITE_OK) {
			sqlite3_bind_int(st, 1, w->row->id);
			sqlite3_bind_int(st, 2, (int)w->set->files[i].file_id);
			if (sqlite3_step(st) == SQLITE_ROW)
				w->paths[i] = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
		}
		sqlite3_finalize(st);
	}
}

static void
tell_end(struct work *w, const struct timespec *t0)
{
	struct timespec t1;
	double seconds;
	unsigned long long pages = 0;
	bool is_log = w->r->verb == ENGINE_RESTORE_LOG;

	clock_gettime(CLOCK_MONOTONIC, &t1);
	seconds = (double)(t1.tv_sec - t0->tv_sec) + (double)(t1.tv_nsec - t0->tv_nsec) / 1e9 + 0.001;
	for (size_t i = 0; i < w->set->n_files; i++) {
		unsigned long long n = is_log || w->set->files[i].type != 'D' ? 0 : w->set->files[i].pages;

		tell(w->out, engine_curcmd(w->r), 4035, "Processed %llu pages for database '%s', file '%s' on file %d.", n, w->row->name,
		     w->set->files[i].logical_name, w->set->position);
		pages += n;
	}
	say(w->out, 3014, 1, 0, "%s successfully processed %llu pages in %.3f seconds (%.3f MB/sec).",
	    is_log ? "RESTORE LOG" : "RESTORE DATABASE", pages, seconds, (double)w->total / 1048576 / seconds);
}

/* When the newest commit was made that the image holds; of a real database only the backup's end is known. */
static int64_t
newest_in_image(struct work *w)
{
	struct bak_date f = w->set->finish;
	struct tm tm = { .tm_year = f.year - 1900, .tm_mon = f.month - 1, .tm_mday = f.day, .tm_hour = f.hour, .tm_min = f.minute, .tm_sec = f.second };
	sqlite3 *db;
	int64_t at;

	if (w->row->opaque)
		return f.year == 0 ? 0 : (int64_t)timegm(&tm) * 1000;
	db = file_open(db_path(w->e, w->mem, w->row->id, ".sqlite"), true);
	at = db == NULL ? 0 : last_commit_at(db, w->set->last_lsn.block);
	sqlite3_close(db);
	return at;
}

/* NORECOVERY, or a point in time that the set does not reach: more is to be rolled forward. */
static bool
stays_restoring(const struct work *w, bool is_short)
{
	return is_short || (w->r->norecovery && w->r->standby == NULL);
}

static bool
copy_data(struct work *w, bool is_differential, bool *is_short)
{
	struct rolled to = { .redo = w->set->last_lsn };

	if (!is_sound(w) || !write_pages(w, is_differential) || !take_out_image(w, is_differential))
		return false;
	to.at = newest_in_image(w);
	*is_short = w->r->stop_at != NULL;
	return complete(w, &to, stays_restoring(w, *is_short));
}

static bool
copy_log(struct work *w, bool *is_short)
{
	struct bak_sink nothing = { NULL, NULL, NULL };
	struct rolled to = { .redo = w->set->last_lsn };

	if (!is_sound(w))
		return false;
	if (w->row->opaque ? !feed_devices(w, &nothing) : !replay_log(w, &to))
		return false;
	if (lsn_compare(to.redo, w->row->redo) < 0)
		to.redo = w->row->redo;
	*is_short = (w->r->stop_at != NULL || w->r->stop_mark != NULL) && !to.stopped;
	return complete(w, &to, stays_restoring(w, *is_short));
}

/* A point in time that this set does not reach: more must be rolled forward, so nothing is recovered. */
static void
tell_short(struct work *w)
{
	tell(w->out, engine_curcmd(w->r), 4322, "This backup set contains records that were logged before the designated point in time. The "
	     "database is being left in the restoring state so that more roll forward can be performed.");
}

/* Everything that can be said before a byte is copied; the database is claimed when it returns true. */
static bool
prepare(struct work *w)
{
	bool is_full = w->set->type == BAK_FULL, good;

	pthread_mutex_lock(&w->e->lock);
	w->row = db_load(w->e, w->mem, w->r->database);
	good = set_fits(w);
	if (good && is_full) {
		good = plan_files(w) && begin_full(w);
	} else if (good) {
		load_paths(w);
		good = begin_more(w, type_of(w->set));
	}
	if (good)
		running_enters(w->e, &w->run, w->r->verb == ENGINE_RESTORE_LOG ? "RESTORE LOG" : "RESTORE DATABASE", w->row->id + 4, w->out);
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

/* A real server's pages are not understood: what comes up is a database without tables, so that it can be entered. */
static bool
make_shell(struct work *w)
{
	const char *path = db_path(w->e, w->mem, w->row->id, ".sqlite");
	sqlite3 *db;
	bool good;

	unlink(path);
	db = file_open(path, false);
	good = db != NULL && log_prepare(db);
	sqlite3_close(db);
	return good;
}

static void
begin_fork(struct db_row *row)
{
	row->fork1 = row->redo_fork;
	/* One past the last record of the old fork: the log that goes on from there spans it. */
	row->fork1_lsn = row->redo;
	row->fork1_lsn.slot++;
	row->fork = guid_new();
	/* Rolled forward through the logs of elsewhere, its own log goes on where those ended. */
	if (lsn_is_null(row->next_log) || lsn_compare(row->next_log, row->redo) < 0)
		row->next_log = row->redo;
	if (lsn_is_null(row->chain_origin))
		row->chain_origin = row->next_log;
	if (strcasecmp(row->model, "SIMPLE") == 0 || row->opaque)
		row->chain_origin = row->next_log = (struct lsn){ 0 };
	row->redo = (struct lsn){ 0 };
	row->redo_fork = (struct guid){ { 0 } };
}

static bool
save_state(struct work *w, int state)
{
	bool good;

	pthread_mutex_lock(&w->e->lock);
	w->row->state = state;
	good = save_row(w, state == 0);
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

static bool
make_undo_file(struct work *w)
{
	FILE *f = fopen(w->r->standby, "we");
	bool good = f != NULL && fprintf(f, "undo of %s\n", w->row->name) > 0;

	if (f != NULL)
		good = fclose(f) == 0 && good;
	if (!good)
		say(w->out, 5123, 1, 16, "CREATE FILE encountered operating system error 3(The system cannot find the path specified.) while attempting to open or "
		    "create the physical file '%s'.", w->r->standby);
	return good;
}

/* Readable between two logs: nothing is decided, the redo point stays. */
static bool
stand_by(struct work *w)
{
	if (!make_undo_file(w) || (w->row->opaque && !make_shell(w)))
		return false;
	w->row->standby = talloc_strdup(w->row, w->r->standby);
	return save_state(w, 0);
}

/* The point of no return: a new recovery fork begins and the database may be written. */
static bool
come_up(struct work *w)
{
	if (knob(w->e, KNOB_RECOVERY_MS) > 0) {
		if (!save_state(w, 2))
			return false;
		pause_ms(w, knob(w->e, KNOB_RECOVERY_MS));
	}
	/* A tail that was broken off froze the database and took nothing: its log goes on as before. */
	if (w->row->pending_type == 'T')
		thaw(w->row);
	else
		begin_fork(w->row);
	w->row->pending_type = 0;
	w->row->standby = NULL;
	w->row->user_access = w->r->restricted ? 2 : 0;
	return (!w->row->opaque || make_shell(w)) && save_state(w, 0);
}

/* RESTORE DATABASE x WITH RECOVERY may be asked of anything. The database is claimed when it returns true. */
static bool
may_come_up(struct work *w)
{
	struct db_row *row;
	bool good = false;

	if (!may_ask(w))
		return false;
	pthread_mutex_lock(&w->e->lock);
	row = w->row = db_load(w->e, w->mem, w->r->database);
	if (row == NULL)
		say_ordered(w->out, 3118, w->r->database, NULL, 0);
	else if (row->state == 0 && row->standby == NULL)
		say_ordered(w->out, 3153, NULL, NULL, 0);
	else if ((good = target_is_free(w)) && row->pending_type != 0 && strchr("RT", row->pending_type) == NULL) {
		say_ordered(w->out, 4333, NULL, NULL, 0);
		good = false;
	}
	if (good)
		running_enters(w->e, &w->run, "RESTORE DATABASE", row->id + 4, w->out);
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

static bool
recover_only(struct work *w)
{
	long number = knob(w->e, KNOB_FAIL_RECOVERY);
	bool good;

	if (number > 0) {
		say_ordered(w->out, number, w->r->database, NULL, 0);
		return ends_abnormally(w);
	}
	if (!may_come_up(w))
		return ends_abnormally(w);
	good = w->r->norecovery ? true : w->r->standby != NULL ? stand_by(w) : come_up(w);
	running_end(w->e, &w->run);
	if (!good)
		return ends_abnormally(w);
	say(w->out, 3014, 1, 0, "RESTORE DATABASE successfully processed 0 pages in 0.010 seconds (0.000 MB/sec).");
	return true;
}

static bool
copy(struct work *w, bool *is_short)
{
	bool good;

	copying_begins(w);
	good = w->set->type == BAK_LOG ? copy_log(w, is_short) : copy_data(w, w->set->type == BAK_DIFFERENTIAL, is_short);
	if (!good && !w->struck && is_cancelled(w->out, &w->run))
		say_ordered(w->out, 3204, NULL, NULL, 0);
	return good;
}

static bool
restore_set(struct work *w)
{
	struct timespec t0;
	bool good, is_short = false;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (!media_is_complete(w) || !choose_set(w) || !version_fits(w) || !has_checksums(w) || !is_right_kind(w) || !prepare(w))
		return ends_abnormally(w);
	good = copy(w, &is_short);
	if (good && is_short)
		tell_short(w);
	else if (good && w->r->standby != NULL)
		good = stand_by(w);
	else if (good && !w->r->norecovery)
		good = come_up(w);
	running_end(w->e, &w->run);
	if (!good)
		return ends_abnormally(w);
	tell_end(w, &t0);
	return true;
}

bool
engine_restore(struct engine *e, const struct engine_restore *r, const struct engine_out *out)
{
	struct work *w = talloc_zero(NULL, struct work);
	bool good;

	w->e = e;
	w->r = r;
	w->out = out;
	w->mem = w;
	if (r->n_devices == 0 && r->verb == ENGINE_RESTORE_DATABASE) {
		good = recover_only(w);
	} else if (!may_ask(w) || !read_devices(w)) {
		good = ends_abnormally(w);
	} else if (r->verb == ENGINE_RESTORE_DATABASE || r->verb == ENGINE_RESTORE_LOG) {
		good = restore_set(w);
	} else {
		good = r->verb == ENGINE_HEADERONLY ? send_header(w) : r->verb == ENGINE_FILELISTONLY ? send_files(w)
		     : r->verb == ENGINE_LABELONLY ? send_label(w) : verify_only(w);
		if (!good)
			ends_abnormally(w);
	}
	talloc_free(w);
	return good;
}
