#include "common/ask_dry.h"

#include <stdlib.h>

#include "common/source_time.h"

/* NULL: none. */
static struct bak_date
date_of(const char *text)
{
	struct source_point point;
	struct err err = { 0 };

	source_point_parse(text, &point, &err);
	return point.at;
}

static bool
read_run(struct db *db, TALLOC_CTX *mem, const char *id, struct dry_run *dry, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select r.id, coalesce(r.tail_set, 0), m.cluster, r.target_database, m.database_name, r.state, r.hold, m.family_guid,"
		" (select b.backup_set_guid from step s join backup_set b on b.id = s.backup_set where s.run = r.id and s.chain = r.chain and s.kind = 'full'"
		"   and s.state = 'done' order by s.finished_at desc limit 1), to_char(r.stop_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), r.stop_asked, r.stop_reason, r.stop_by from run r join migration m on m.id = r.migration where r.id = $1", id))
		return false;
	if (rows_count(r) == 0)
		return err_set(err, ERR_REFUSED, 0, "there is no such run");
	*dry = (struct dry_run){ .id = rows_int(r, 0, 0), .tail = rows_int(r, 0, 1), .cluster = rows_text(r, 0, 2), .target_database = rows_text(r, 0, 3),
		.database = rows_text(r, 0, 4), .state = rows_text(r, 0, 5), .hold = rows_text_or_null(r, 0, 6) };
	dry->stop_at = date_of(rows_text_or_null(r, 0, 9));
	dry->stop_asked = rows_text_or_null(r, 0, 10);
	dry->stop_reason = rows_text_or_null(r, 0, 11);
	dry->stop_by = rows_text_or_null(r, 0, 12);
	if (!rows_is_null(r, 0, 7))
		guid_parse(rows_text(r, 0, 7), &dry->family);
	if (!rows_is_null(r, 0, 8))
		guid_parse(rows_text(r, 0, 8), &dry->base);
	return true;
}

static bool
read_replicas(struct db *db, TALLOC_CTX *mem, const char *id, struct dry_run *dry, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select replica, left_out, state, redo_start_lsn, redo_fork, coalesce(extract(epoch from now() - asked_at)::bigint, -1),"
		" coalesce(last_set, 0), to_char(last_stop, 'YYYY-MM-DD\"T\"HH24:MI:SS')"
		" from run_replica where run = $1 order by ordinal", id))
		return false;
	dry->n_replicas = rows_count(r);
	dry->replicas = talloc_zero_array(mem, struct dry_replica, dry->n_replicas + 1);
	for (size_t i = 0; i < dry->n_replicas; i++) {
		struct dry_replica *x = &dry->replicas[i];

		*x = (struct dry_replica){ .name = rows_text(r, i, 0), .left_out = rows_text_or_null(r, i, 1), .state = rows_text(r, i, 2),
			.asked = rows_int(r, i, 5), .last = rows_int(r, i, 6), .last_stop = date_of(rows_text_or_null(r, i, 7)) };
		lsn_parse(rows_text(r, i, 3), &x->redo);
		if (!rows_is_null(r, i, 4))
			guid_parse(rows_text(r, i, 4), &x->fork);
	}
	return true;
}

static bool
read_restored(struct db *db, TALLOC_CTX *mem, const char *id, struct dry_run *dry, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "select s.backup_set from step s join run r on r.id = s.run and r.chain = s.chain where s.run = $1"
		" and s.state = 'done' and s.backup_set is not null group by s.backup_set order by min(s.finished_at), s.backup_set", id))
		return false;
	dry->n_restored = rows_count(r);
	dry->restored = talloc_zero_array(mem, int64_t, dry->n_restored + 1);
	for (size_t i = 0; i < dry->n_restored; i++)
		dry->restored[i] = rows_int(r, i, 0);
	return true;
}

/* The server's own word after each restore (3014), of the cluster's last ones; where it gives no time, that of the steps. */
static bool
read_rate(struct db *db, TALLOC_CTX *mem, struct dry_run *dry, struct err *err)
{
	struct rows *r;

	if (!DB_ASK(db, mem, &r, err, "with last as (select s.id, s.backup_set, s.started_at, s.finished_at from step s join run r on r.id = s.run"
		"  join migration m on m.id = r.migration where m.cluster = $1 and s.state = 'done' and s.backup_set is not null order by s.id desc limit 500),"
		" said as (select regexp_match(g.text, 'processed ([0-9]+) pages in ([0-9]+[.][0-9]+) seconds') w from message g join last l on l.id = g.step"
		"  where g.number = 3014)"
		" select coalesce((select sum(w[1]::numeric) * 8192 / nullif(sum(w[2]::numeric), 0) from said),"
		"  (select sum(b.backup_size) / nullif(sum(extract(epoch from l.finished_at - l.started_at)), 0) from last l"
		"    join backup_set b on b.id = l.backup_set), 0)", dry->cluster))
		return false;
	dry->rate = strtod(rows_text(r, 0, 0), NULL);
	return true;
}

bool
ask_dry(struct db *db, TALLOC_CTX *mem, int64_t run, struct dry_run *dry, struct err *err)
{
	const char *id = db_int(mem, run);

	return read_run(db, mem, id, dry, err) && read_replicas(db, mem, id, dry, err) && read_restored(db, mem, id, dry, err) &&
	       read_rate(db, mem, dry, err);
}

bool
ask_dry_set(struct db *db, TALLOC_CTX *mem, int64_t set, struct dry_set *out, struct err *err)
{
	const char *id = db_int(mem, set);
	struct rows *r, *files;

	if (!DB_ASK(db, mem, &r, err, "select case when compressed_size > 0 then compressed_size else backup_size end, backup_size from backup_set where id = $1", id) ||
	    !DB_ASK(db, mem, &files, err, "select file_id, type, logical_name from backup_file where backup_set = $1 order by file_id", id))
		return false;
	if (rows_count(r) == 0)
		return err_set(err, ERR_REFUSED, 0, "there is no such backup set");
	*out = (struct dry_set){ rows_int(r, 0, 0), rows_int(r, 0, 1), talloc_zero_array(mem, struct restore_file, rows_count(files) + 1), rows_count(files) };
	for (size_t i = 0; i < out->n_files; i++)
		out->files[i] = (struct restore_file){ (int)rows_int(files, i, 0), rows_text(files, i, 1)[0], rows_text(files, i, 2) };
	return true;
}
