#include "common/statement.h"

#include "common/tsql.h"

const char *
statement_kind(const struct plan_set *set)
{
	return set->type == BAK_FULL ? "full" : set->type == BAK_DIFFERENTIAL ? "differential" : "log";
}

/* The one path that a file has on this replica. */
static const char *
path_of(TALLOC_CTX *mem, const struct statement_place *place, const struct restore_file *f)
{
	const char *dir = f->type == 'L' && place->log_path != NULL ? place->log_path : place->data_path;

	return tsql_data_path(mem, dir, place->database, f->file_id, f->type);
}

static bool
is_there(const struct statement_facts *facts, int id)
{
	for (size_t i = 0; i < facts->n_there; i++)
		if (facts->there[i] == id)
			return true;
	return false;
}

/*
 * MOVE for every file that the set brings and the target does not have. A full brings all; a differential or a log those
 * that were added at the source since: without MOVE the server would make them at the source's path (5133, 3156). What it
 * has already is not named again: Microsoft documents MOVE in RESTORE LOG for added files only.
 */
static void
add_moves(TALLOC_CTX *mem, const struct statement_place *place, const struct statement_facts *facts, bool is_full, struct tsql_restore *r)
{
	struct tsql_file_move *moves = talloc_zero_array(mem, struct tsql_file_move, facts->n_files + 1);

	for (size_t i = 0; i < facts->n_files; i++)
		if (is_full || !is_there(facts, facts->files[i].file_id))
			moves[r->n_moves++] = (struct tsql_file_move){ facts->files[i].logical, path_of(mem, place, &facts->files[i]) };
	r->moves = moves;
}

char *
statement_restore(TALLOC_CTX *parent, const struct statement_place *place, const struct plan_step *step, const struct statement_facts *facts)
{
	TALLOC_CTX *mem = talloc_new(parent);
	const char **paths = talloc_array(mem, const char *, step->set->n_files + 1);
	struct tsql_restore r = { .database = place->database, .is_log = step->set->type == BAK_LOG, .paths = paths,
		.n_paths = step->set->n_files, .position = step->set->position };
	char *text;

	for (size_t i = 0; i < step->set->n_files; i++)
		paths[i] = tsql_backup_path(mem, place->backups, facts->vault_paths[i]);
	add_moves(mem, place, facts, step->set->type == BAK_FULL, &r);
	if (step->stop_at.year != 0)
		r.stop_at = talloc_strdup(mem, bak_date_text(step->stop_at).s);
	text = tsql_restore(mem, &r);
	/* A full or a differential would undo what came after. A log that lies behind is refused by the server (4326), but the newest
	 * is taken a second time, and a worker that slept past its lease between intent and statement would send it. */
	if (step->set->type == BAK_FULL)
		text = tsql_onto_nothing(mem, r.database, text);
	else if (!lsn_is_null(facts->redo))
		text = tsql_at(mem, r.database, lsn_text(facts->redo).s, text);
	text = talloc_steal(parent, text);
	talloc_free(mem);
	return text;
}

char *
statement_recovery(TALLOC_CTX *parent, const char *database, struct lsn redo)
{
	char *recovery = tsql_recovery(parent, database), *text = tsql_at(parent, database, lsn_text(redo).s, recovery);

	talloc_free(recovery);
	return text;
}
