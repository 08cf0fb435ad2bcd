#include "tests/standin/engine_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * What must hold before RESTORE copies a byte, in SQL Server's order and with its numbers. The order is partly
 * known only by habit; README.md beside this says which parts.
 */

/* ---- before any device is opened ------------------------------------------------------------------------------------ */

static struct db_row *
load_row(struct work *w)
{
	struct db_row *row;

	pthread_mutex_lock(&w->e->lock);
	row = w->r->database == NULL ? NULL : db_load(w->e, w->mem, w->r->database);
	pthread_mutex_unlock(&w->e->lock);
	return row;
}

/* To make a database takes CREATE DATABASE, so does reading a header; to overwrite one takes owning it. */
static bool
has_the_right(struct work *w)
{
	struct db_row *row = w->out->is_stranger ? load_row(w) : NULL;

	if (!w->out->is_stranger || (row != NULL && w->out->login != NULL && strcasecmp(row->owner, w->out->login) == 0))
		return true;
	if (row != NULL)
		say_ordered(w->out, 3110, row->name, NULL, 0);
	else
		say_ordered(w->out, 262, NULL, NULL, 0);
	return false;
}

bool
may_ask(struct work *w)
{
	if (w->out->in_transaction) {
		say(w->out, 3021, 0, 16, "Cannot perform a backup or restore operation within a transaction.");
		return false;
	}
	if (w->r->database != NULL && strcasecmp(w->r->database, "tempdb") == 0) {
		say(w->out, 3147, 1, 16, "Backup and restore operations are not allowed on database tempdb.");
		return false;
	}
	if (w->r->database != NULL && strcasecmp(w->r->database, "master") == 0) {
		say(w->out, 3108, 1, 16, "To restore the master database, the server must be running in single-user mode. For information on starting in "
		    "single-user mode, see \"How to: Start an Instance of SQL Server (sqlservr.exe)\" in Books Online.");
		return false;
	}
	return has_the_right(w);
}

/* ---- who else is there ------------------------------------------------------------------------------------------------ */

bool
target_is_free(struct work *w)
{
	const struct db_row *row = w->row;

	if (row == NULL)
		return true;
	if (w->out->current != NULL && strcasecmp(w->out->current, row->name) == 0) {
		say(w->out, 3102, 1, 16, "RESTORE cannot process database '%s' because it is in use by this session. It is recommended that the "
		    "master database be used when performing this operation.", row->name);
		return false;
	}
	if (row->ag != NULL) {
		say_ordered(w->out, ag_is_primary(w->e, row->ag) ? 3104 : 3059, row->name, NULL, 0);
		return false;
	}
	for (const struct running *r = w->e->running; r != NULL; r = r->next)
		if (r->database_id == row->id + 4) {
			say_ordered(w->out, 3101, NULL, NULL, 0);
			return false;
		}
	if (has_guests(w->e, row->id + 4, w->out->session_id)) {
		say_ordered(w->out, 3101, NULL, NULL, 0);
		return false;
	}
	return true;
}

/* ---- files ------------------------------------------------------------------------------------------------------------- */

static const char *
path_of(struct work *w, const struct bak_file *f)
{
	for (size_t i = 0; i < w->r->n_moves; i++)
		if (strcasecmp(w->r->moves[i].logical, f->logical_name) == 0)
			return w->r->moves[i].path;
	return f->physical_name;
}

static bool
moves_are_known(struct work *w)
{
	for (size_t i = 0; i < w->r->n_moves; i++) {
		const char *logical = w->r->moves[i].logical;
		bool known = false;

		for (size_t k = 0; k < i; k++)
			if (strcasecmp(logical, w->r->moves[k].logical) == 0) {
				say(w->out, 4353, 1, 16, "Conflicting file relocations have been specified for file '%s'. Only a single WITH MOVE clause should be "
				    "specified for any logical file name.", logical);
				return false;
			}
		for (size_t k = 0; k < w->set->n_files; k++)
			known = known || strcasecmp(logical, w->set->files[k].logical_name) == 0;
		if (!known) {
			say(w->out, 3234, 2, 16, "Logical file '%s' is not part of database '%s'. Use RESTORE FILELISTONLY to list the logical file "
			    "names.", logical, w->set->database);
			return false;
		}
	}
	return true;
}

/* Whose file a path is already: a name, or NULL. */
static char *
owner_of(struct work *w, const char *path)
{
	sqlite3_stmt *st = NULL;
	char *name = NULL;

	if (sqlite3_prepare_v2(w->e->meta, "SELECT d.name FROM file f JOIN db d ON d.id = f.db WHERE f.path = ? AND d.name <> ?", -1, &st,
	                       NULL) != SQLITE_OK)
		return NULL;
	sqlite3_bind_text(st, 1, path, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 2, w->r->database, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(st) == SQLITE_ROW)
		name = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return name;
}

/* Two files of this database at one place. */
static bool
is_claimed_twice(struct work *w, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(w->paths[i], w->paths[k]) == 0) {
			say(w->out, 3176, 1, 16, "File '%s' is claimed by '%s'(%u) and '%s'(%u). The WITH MOVE clause can be used to relocate one or more "
			    "files.", w->paths[i], w->set->files[i].logical_name, w->set->files[i].file_id, w->set->files[k].logical_name,
			    w->set->files[k].file_id);
			return true;
		}
	return false;
}

/* A file that is there and no database's: only REPLACE writes over it. Ours may be there from an earlier try. */
static bool
is_strangers_file(struct work *w, const char *path)
{
	sqlite3_stmt *st = NULL;
	bool ours = false;

	if (w->r->replace || access(path, F_OK) != 0)
		return false;
	if (sqlite3_prepare_v2(w->e->meta, "SELECT 1 FROM file WHERE path = ?", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, path, -1, SQLITE_TRANSIENT);
		ours = sqlite3_step(st) == SQLITE_ROW;
	}
	sqlite3_finalize(st);
	return !ours;
}

static bool
folder_is_there(struct work *w, const char *path)
{
	char *dir = talloc_strdup(w->mem, path), *slash = strrchr(dir, '/');
	struct stat st;

	if (slash == NULL)
		return false;
	slash[slash == dir] = '\0';
	return stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
}

/* True when the file can be made where it is to be; else everything about it was said. */
static bool
plan_file(struct work *w, size_t i)
{
	const struct bak_file *f = &w->set->files[i];
	const char *path = w->paths[i], *owner = owner_of(w, path);

	if (is_claimed_twice(w, i))
		return false;
	if (is_strangers_file(w, path)) {
		say(w->out, 3142, 1, 16, "File \"%s\" cannot be restored over the existing \"%s\". Reissue the RESTORE statement using WITH REPLACE to overwrite "
		    "pre-existing files, or WITH MOVE to identify an alternate location.", f->logical_name, path);
		return false;
	}
	if (owner != NULL)
		say(w->out, 1834, 1, 16, "The file '%s' cannot be overwritten.  It is being used by database '%s'.", path, owner);
	else if (!folder_is_there(w, path))
		say(w->out, 5133, 1, 16, "Directory lookup for the file \"%s\" failed with the operating system error 3(The system cannot find "
		    "the path specified.).", path);
	else
		return true;
	say(w->out, 3156, 4, 16, "File '%s' cannot be restored to '%s'. Use WITH MOVE to identify a valid location for the file.",
	    f->logical_name, path);
	return false;
}

static bool
has_room(struct work *w)
{
	long free_kb = knob(w->e, KNOB_FREE_KB);
	uint64_t need = 0;

	for (size_t i = 0; i < w->set->n_files; i++)
		need += w->set->files[i].size;
	if (free_kb < 0 || (uint64_t)free_kb * 1024 >= need)
		return true;
	say(w->out, 3257, 1, 16, "There is insufficient free space on disk volume '%s' to create the database. The database requires %llu additional free "
	    "bytes, while only %llu bytes are available.", w->e->dir, (unsigned long long)need, (unsigned long long)free_kb * 1024);
	return false;
}

bool
plan_files(struct work *w)
{
	bool good = true;

	if (!moves_are_known(w))
		return false;
	w->paths = talloc_array(w->mem, const char *, w->set->n_files + 1);
	for (size_t i = 0; i < w->set->n_files; i++)
		w->paths[i] = path_of(w, &w->set->files[i]);
	for (size_t i = 0; i < w->set->n_files; i++)
		good = plan_file(w, i) && good;
	good = good && has_room(w);
	if (!good)
		say(w->out, 3119, 1, 16, "Problems were identified while planning for the RESTORE statement. Previous messages provide details.");
	return good;
}

/* ---- the database against the set -------------------------------------------------------------------------------------------- */

bool
stop_time(const char *text, int64_t *ms)
{
	struct tm tm = { 0 };
	double seconds;
	char t;

	if (text == NULL || sscanf(text, "%d-%d-%d%c%d:%d:%lf", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &t, &tm.tm_hour, &tm.tm_min, &seconds) != 7 ||
	    (t != 'T' && t != ' ') || seconds < 0 || seconds >= 61)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ms = (int64_t)timegm(&tm) * 1000 + (int64_t)(seconds * 1000 + 0.5);
	return true;
}

bool
is_right_kind(struct work *w)
{
	bool is_log = w->set->type == BAK_LOG;

	if (is_log == (w->r->verb == ENGINE_RESTORE_LOG) && (is_log || w->set->type == BAK_FULL || w->set->type == BAK_DIFFERENTIAL))
		return true;
	say(w->out, 3135, 1, 16, "The backup set in file '%s' was created by %s and cannot be used for this restore operation.",
	    w->r->devices[0], is_log ? "BACKUP LOG" : "BACKUP DATABASE");
	return false;
}

static bool
is_same_family(struct work *w)
{
	if (w->row == NULL || guid_is_null(w->row->family) || guid_equal(w->row->family, w->set->family_guid))
		return true;
	say_ordered(w->out, 3154, w->row->name, NULL, 0);
	return false;
}

/* Commits up to that time that no log backup has: what STOPAT would need and overwrite. */
static bool
tail_reaches(struct work *w, int64_t stop)
{
	sqlite3 *db = file_open(db_path(w->e, w->mem, w->row->id, ".sqlite"), false);
	sqlite3_stmt *st = NULL;
	bool reaches = false;

	if (db != NULL && sqlite3_prepare_v2(db, "SELECT 1 FROM dbo._standin_log WHERE block >= ? AND at <= ? AND kind < 2", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, w->row->next_log.block);
		sqlite3_bind_int64(st, 2, stop);
		reaches = sqlite3_step(st) == SQLITE_ROW;
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return reaches;
}

/* An online database in FULL has work in its log that nobody may throw away by mistake. */
static bool
tail_is_safe(struct work *w)
{
	const struct db_row *row = w->row;
	int64_t stop = 0;

	if (row == NULL || w->r->replace || row->state != 0 || row->standby != NULL || strcasecmp(row->model, "SIMPLE") == 0)
		return true;
	if (w->r->stop_at == NULL) {
		say_ordered(w->out, 3159, row->name, NULL, 0);
		return false;
	}
	if (!stop_time(w->r->stop_at, &stop) || !tail_reaches(w, stop))
		return true;
	say(w->out, 3173, 1, 16, "The STOPAT clause provided with this RESTORE statement indicates that the tail of the log contains changes that must be "
	    "backed up to reach the target point in time. The tail of the log for the database \"%s\" has not been backed up. Use BACKUP LOG WITH "
	    "NORECOVERY to back up the log, or use the WITH REPLACE clause in your RESTORE statement to overwrite the tail of the log.", row->name);
	return false;
}

static bool
may_stop_there(struct work *w)
{
	struct bak_date f = w->set->finish;
	struct tm tm = { .tm_year = f.year - 1900, .tm_mon = f.month - 1, .tm_mday = f.day, .tm_hour = f.hour, .tm_min = f.minute, .tm_sec = f.second };
	int64_t stop;

	if (w->r->stop_at == NULL)
		return true;
	if (!stop_time(w->r->stop_at, &stop)) {
		say(w->out, 241, 1, 16, "Conversion failed when converting date and/or time from character string.");
		return false;
	}
	if (w->set->recovery_model != NULL && strcmp(w->set->recovery_model, "SIMPLE") == 0) {
		say(w->out, 3145, 1, 16, "The STOPAT option is not supported for databases that use the SIMPLE recovery model.");
		return false;
	}
	if (w->set->type != BAK_LOG && f.year != 0 && stop / 1000 < timegm(&tm)) {
		say(w->out, 4338, 1, 16, "The STOPAT clause specifies a point too early to allow this backup set to be restored. Choose a different stop point or "
		    "use RESTORE DATABASE WITH RECOVERY to recover at the current point.");
		return false;
	}
	if (w->set->type == BAK_LOG && (w->set->flags & BAK_FLAG_BULK_LOGGED)) {
		say(w->out, 4341, 1, 16, "This log backup contains bulk-logged changes. It cannot be used to stop at an arbitrary point in time.");
		return false;
	}
	return true;
}

/* Asked last: a log that does not fit at all is told so first. */
static bool
is_not_past_it(struct work *w)
{
	int64_t stop;

	if (!stop_time(w->r->stop_at, &stop) || w->row->redo_at <= stop)
		return true;
	say(w->out, 4335, 1, 16, "The specified STOPAT time is too early. All or part of the database is already rolled forward beyond that point.");
	return false;
}

/* STANDBY brings the database up for reading, and a database of an older server cannot be brought up without an upgrade. */
static bool
may_stand_by(struct work *w)
{
	if (w->r->standby == NULL || w->set->database_version == engine_release(w->e)->database_version)
		return true;
	say(w->out, 3180, 1, 16, "This backup cannot be restored using WITH STANDBY because a database upgrade is needed. Reissue the RESTORE without WITH "
	    "STANDBY.");
	return false;
}

/* RESTORING, or STANDBY with its undo file still there. */
static bool
is_rolling_forward(struct work *w)
{
	if (w->row == NULL) {
		say_ordered(w->out, 3118, w->r->database, NULL, 0);
		return false;
	}
	if (w->row->state != 1 && w->row->standby == NULL) {
		say_ordered(w->out, 3117, NULL, NULL, 0);
		return false;
	}
	if (w->row->standby != NULL && access(w->row->standby, R_OK) != 0) {
		say(w->out, 3441, 1, 17, "During startup of warm standby database '%s' (database ID %d), its standby file ('%s') was inaccessible to the RESTORE "
		    "statement. The operating system error was '2(The system cannot find the file specified.)'. Diagnose the operating system error, "
		    "correct the problem, and retry startup.", w->row->name, w->row->id + 4, w->row->standby);
		return false;
	}
	return true;
}

/* Nothing may have broken off but this very set. */
static bool
was_not_interrupted(struct work *w)
{
	if (w->row->pending_type == 0 || guid_equal(w->row->pending, w->set->backup_set_guid))
		return true;
	say_ordered(w->out, w->row->pending_type == 'R' ? 4347 : 4319, w->row->name, NULL, 0);
	return false;
}

static bool
differential_fits(struct work *w)
{
	if (!was_not_interrupted(w))
		return false;
	if (knob(w->e, KNOB_LSN_CHECK) == 0)
		return true;
	if (!guid_equal(w->set->differential_base_guid, w->row->restored_base))
		say_ordered(w->out, 3136, NULL, NULL, 0);
	else if (lsn_compare(w->set->last_lsn, w->row->redo) < 0)
		say_ordered(w->out, 3120, NULL, NULL, 0);
	else
		return true;
	return false;
}

/*
 * A log is on the database's path when it goes on from its fork: all of it is of that fork, or it begins there
 * and leaves it no earlier than where the database stands.
 */
static bool
is_on_the_path(const struct bak_set *s, const struct db_row *row)
{
	if (guid_equal(s->recovery_fork_id, row->redo_fork))
		return true;
	return guid_equal(s->first_recovery_fork_id, row->redo_fork) &&
	       (lsn_is_null(s->fork_point_lsn) || lsn_compare(row->redo, s->fork_point_lsn) <= 0);
}

static bool
log_fits(struct work *w)
{
	const struct bak_set *s = w->set;

	if (!was_not_interrupted(w))
		return false;
	if (knob(w->e, KNOB_LSN_CHECK) == 0)
		return true;
	if (lsn_compare(s->last_lsn, w->row->redo) < 0)
		say(w->out, 4326, 1, 16, "The log in this backup set terminates at LSN %s, which is too early to apply to the database. A more recent "
		    "log backup that includes LSN %s can be restored.", lsn_text(s->last_lsn).s, lsn_text(w->row->redo).s);
	else if (lsn_compare(s->first_lsn, w->row->redo) > 0)
		say(w->out, 4305, 1, 16, "The log in this backup set begins at LSN %s, which is too recent to apply to the database. An earlier log "
		    "backup that includes LSN %s can be restored.", lsn_text(s->first_lsn).s, lsn_text(w->row->redo).s);
	else if (!is_on_the_path(s, w->row))
		say(w->out, 4330, 1, 16, "This backup set cannot be applied because it is on a recovery path that is inconsistent with the database. "
		    "The recovery path is the sequence of data and log backups that have brought the database to a particular recovery point. Find a "
		    "compatible backup to restore, or restore the rest of the database to match a recovery point within this backup set, which will "
		    "restore the database to a different point in time.");
	else
		return true;
	return false;
}

bool
set_fits(struct work *w)
{
	bool is_full = w->set->type == BAK_FULL;

	if (!is_full && !is_rolling_forward(w))
		return false;
	if ((!is_full || !w->r->replace) && (is_full || knob(w->e, KNOB_LSN_CHECK) != 0) && !is_same_family(w))
		return false;
	if (!target_is_free(w) || !may_stand_by(w) || !may_stop_there(w))
		return false;
	return is_full ? tail_is_safe(w) : w->set->type == BAK_LOG ? log_fits(w) && is_not_past_it(w) : differential_fits(w);
}
