#include "tests/standin/engine_work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

/*
 * RESTORE's copying: pages to their places in the data files, the image out of the pages, log records into the
 * image. Told of on the way, and broken off where an order says so.
 */

/* ---- progress and faults ------------------------------------------------------------------------------------ */

void
pause_ms(struct work *w, long ms)
{
	for (; ms > 0 && !is_cancelled(w->out, &w->run); ms -= 10)
		usleep((ms < 10 ? (useconds_t)ms : 10) * 1000);
}

void
copying_begins(struct work *w)
{
	if (w->r->verb == ENGINE_RESTORE_DATABASE && w->set->type == BAK_FULL)
		pause_ms(w, knob(w->e, KNOB_ZEROING_MS));
	w->since_ms = steady_ms();
}

/* As slow as was ordered: a pause for each percent, and so many kilobytes a second. */
static void
keep_pace(struct work *w, int now)
{
	long kb_s = knob(w->e, w->r->verb == ENGINE_RESTORE_LOG ? KNOB_LOG_KB_S : KNOB_RESTORE_KB_S);

	pause_ms(w, knob(w->e, KNOB_DELAY_MS) * (now - w->percent));
	if (kb_s > 0)
		pause_ms(w, w->since_ms + (int64_t)(w->done * 1000 / 1024) / kb_s - steady_ms());
}

/* Once: the order is taken back before it is carried out, so that the next start of the server lives. */
static bool
is_due_once(struct work *w, enum knob k, const char *name, int now)
{
	return knob(w->e, k) != 0 && now >= knob(w->e, KNOB_FAIL_AT) && engine_knob(w->e, name, 0);
}

static bool
was_ordered_to_fail(struct work *w, int now)
{
	long number = knob(w->e, KNOB_FAIL_NUMBER);

	if (is_due_once(w, KNOB_CRASH, "crash", now))
		kill(getpid(), SIGKILL);
	if (is_due_once(w, KNOB_FAILOVER, "failover", now))
		ag_fail_over(w->e);
	if (number <= 0 || now < knob(w->e, KNOB_FAIL_AT))
		return false;
	say_ordered(w->out, number, w->r->database, w->r->n_devices == 0 ? NULL : w->r->devices[0], now);
	w->struck = true;
	return true;
}

void
tell_percent(struct work *w, int now)
{
	long step = knob(w->e, KNOB_PERCENT_STEP) > 0 ? knob(w->e, KNOB_PERCENT_STEP) : w->r->stats;

	while (step > 0 && w->told + step <= now) {
		w->told += (int)step;
		tell(w->out, engine_curcmd(w->r), 3211, "%d percent processed.", w->told);
	}
}

/* Told after every piece; false when the statement must break off. */
static bool
progress(struct work *w, size_t len)
{
	int now;

	w->done += len;
	now = w->total == 0 ? 100 : (int)(w->done * 100 / w->total);
	keep_pace(w, now);
	if (was_ordered_to_fail(w, now))
		return false;
	w->percent = w->run.percent = now;
	tell_percent(w, now);
	while (knob(w->e, KNOB_HANG) != 0 && !is_cancelled(w->out, &w->run))
		usleep(20000);
	if (now == 100)
		pause_ms(w, knob(w->e, KNOB_SILENCE_MS));
	return !is_cancelled(w->out, &w->run);
}

/* ---- pages into data files ------------------------------------------------------------------------------------ */

struct pages {
	struct work *w;
	const struct bak_set *set;
	uint8_t page[PAGE];
	size_t have;
	unsigned pass;
	int fds[FILES_MAX]; /* by file id */
	int position;       /* of the set that is wanted */
	bool failed;
	uint64_t written;
};

static void
put_page(struct pages *p)
{
	uint32_t id;
	uint16_t file;

	memcpy(&id, p->page + 0x20, 4);
	memcpy(&file, p->page + 0x24, 2);
	/* An empty page says nothing of where it belongs; the file is made of zeroes already. */
	if (p->page[0] == 0 || file >= FILES_MAX || p->fds[file] < 0)
		return;
	if (pwrite(p->fds[file], p->page, PAGE, (off_t)id * PAGE) != PAGE)
		p->failed = true;
	p->written++;
}

static void
on_page_bytes(void *ctx, const struct bak_set *set, unsigned pass, uint64_t offset, const void *mem, size_t len)
{
	struct pages *p = ctx;
	const uint8_t *from = mem;

	if (set->position != p->position)
		return;
	if (pass != p->pass || offset == 0)
		p->have = 0;
	p->pass = pass;
	while (len > 0) {
		size_t n = PAGE - p->have < len ? PAGE - p->have : len;

		memcpy(p->page + p->have, from, n);
		p->have += n;
		from += n;
		len -= n;
		if (p->have == PAGE) {
			put_page(p);
			p->have = 0;
		}
	}
}

/* Feeds every device to a reader with that sink; false when broken off or failed. */
bool
feed_devices(struct work *w, const struct bak_sink *sink)
{
	uint8_t *buf = talloc_size(w->mem, CHUNK);
	bool good = true;

	for (size_t i = 0; good && i < w->r->n_devices; i++) {
		struct bak *b = bak_new(w->mem, sink);
		int fd = open(w->r->devices[i], O_RDONLY | O_CLOEXEC);
		struct err err = { 0 };
		ssize_t n = 0;

		good = fd >= 0;
		while (good && (n = read(fd, buf, CHUNK)) > 0) {
			bak_feed(b, buf, (size_t)n, &err);
			good = progress(w, (size_t)n);
		}
		good = good && n == 0;
		if (fd >= 0)
			close(fd);
		talloc_free(b);
	}
	return good;
}

bool
write_pages(struct work *w, bool is_overlay)
{
	struct pages *p = talloc_zero(w->mem, struct pages);
	struct bak_sink sink = { p, on_page_bytes, NULL };
	bool good = true;

	p->w = w;
	p->position = w->set->position;
	for (size_t i = 0; i < FILES_MAX; i++)
		p->fds[i] = -1;
	for (size_t i = 0; good && i < w->set->n_files; i++) {
		const struct bak_file *f = &w->set->files[i];
		const char *path = is_overlay ? talloc_asprintf(w->mem, "%s" OVERLAY, w->paths[i]) : w->paths[i];

		if (f->type != 'D' || f->file_id >= FILES_MAX)
			continue;
		p->fds[f->file_id] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		good = p->fds[f->file_id] >= 0;
	}
	good = good && feed_devices(w, &sink) && !p->failed;
	for (size_t i = 0; i < FILES_MAX; i++)
		if (p->fds[i] >= 0) {
			good = fsync(p->fds[i]) == 0 && good;
			close(p->fds[i]);
		}
	if (p->failed)
		say(w->out, 3271, 1, 16, "A nonrecoverable I/O error occurred on file \"%s:\" %s.", w->paths[0], strerror(errno));
	return good;
}

/* ---- the image that travels in the pages --------------------------------------------------------------------------- */

/* A page of the differential where it has one, else of the full. */
static bool
read_page(int full, int diff, uint64_t id, uint8_t page[static PAGE])
{
	if (diff >= 0 && pread(diff, page, PAGE, (off_t)(id * PAGE)) == PAGE && page[0] != 0)
		return true;
	return pread(full, page, PAGE, (off_t)(id * PAGE)) == PAGE;
}

static bool
copy_image(int full, int diff, int out, bool *is_ours)
{
	uint8_t page[PAGE];
	uint64_t size, chunk = 0;

	*is_ours = read_page(full, diff, 0, page) && memcmp(page + 4096, IMAGE_MAGIC, 8) == 0;
	if (!*is_ours)
		return true;
	memcpy(&size, page + 4104, 8);
	for (uint64_t id = FIRST_PAYLOAD_PAGE; chunk * PAYLOAD < size; id++) {
		size_t n = size - chunk * PAYLOAD < PAYLOAD ? (size_t)(size - chunk * PAYLOAD) : PAYLOAD;

		if (id % PFS_INTERVAL == 0)
			continue;
		if (!read_page(full, diff, id, page) || pwrite(out, page + PAGE_HEAD, n, (off_t)(chunk * PAYLOAD)) != (ssize_t)n)
			return false;
		chunk++;
	}
	return fsync(out) == 0;
}

/* The differential's pages are in the image now, and the full's stay as they were. */
static void
drop_overlays(struct work *w)
{
	for (size_t i = 0; i < w->set->n_files; i++)
		unlink(talloc_asprintf(w->mem, "%s" OVERLAY, w->paths[i]));
}

bool
take_out_image(struct work *w, bool with_diff)
{
	const char *path = db_path(w->e, w->mem, w->row->id, ".sqlite"), *fresh = db_path(w->e, w->mem, w->row->id, ".work");
	int full = open(w->paths[0], O_RDONLY | O_CLOEXEC), diff = -1, out = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good, ours = false;

	if (with_diff)
		diff = open(talloc_asprintf(w->mem, "%s" OVERLAY, w->paths[0]), O_RDONLY | O_CLOEXEC);
	good = full >= 0 && out >= 0 && (!with_diff || diff >= 0) && copy_image(full, diff, out, &ours);
	if (full >= 0)
		close(full);
	if (diff >= 0)
		close(diff);
	if (out >= 0)
		close(out);
	w->row->opaque = !ours;
	if (!good)
		return false;
	if (with_diff)
		drop_overlays(w);
	unlink(talloc_asprintf(w->mem, "%s-journal", path));
	return ours ? rename(fresh, path) == 0 : unlink(fresh) == 0;
}

/* ---- log records ------------------------------------------------------------------------------------------------------ */

struct replay {
	struct work *w;
	sqlite3 *db;
	int position;
	size_t extent;
	uint8_t block[LOG_BLOCK_MAX + 2 * SECTOR];
	size_t have;
	uint8_t *record;
	size_t record_len, record_total;
	uint32_t first_block;
	uint64_t from;    /* records before this block are in the database already */
	bool has_time;
	int64_t stop;     /* records of later milliseconds are not applied */
	int64_t newest;   /* of what is in the database */
	bool stopped, failed;
	bool covered; /* the stop lies in what the database had already: reached without anything to do */
	struct lsn stopped_at;
};

/* A row that is not as it was at the source is left alone: a gap shows in the rows, never as a crash. */
static int
on_conflict(void *ctx, int kind, sqlite3_changeset_iter *iter)
{
	(void)ctx;
	(void)iter;
	return kind == SQLITE_CHANGESET_DATA || kind == SQLITE_CHANGESET_CONFLICT ? SQLITE_CHANGESET_REPLACE : SQLITE_CHANGESET_OMIT;
}

bool
apply_changes(sqlite3 *db, int kind, const void *data, int len)
{
	char *sql;
	bool good;

	if (kind == RECORD_DDL) {
		sql = talloc_strndup(NULL, data, (size_t)len);
		good = run_sql(db, sql);
		talloc_free(sql);
		return good;
	}
	return kind != RECORD_CHANGES || sqlite3changeset_apply(db, len, (void *)(uintptr_t)data, NULL, on_conflict, NULL) == SQLITE_OK;
}

/* STOPATMARK = 'lsn:…' takes that record along, STOPBEFOREMARK does not; a name stands around its transaction. */
static bool
is_past_mark(const struct replay *p, uint8_t kind)
{
	const struct engine_restore *r = p->w->r;
	struct lsn mark, here = { VLF_SEQ, p->first_block, 1 };

	if (r->stop_mark == NULL)
		return false;
	if (strncasecmp(r->stop_mark, "lsn:", 4) == 0)
		return lsn_parse(r->stop_mark + 4, &mark) && lsn_compare(here, mark) >= (r->before_mark ? 0 : 1);
	return kind == (r->before_mark ? RECORD_NAMED : RECORD_NAMED_END) && p->record_len == strlen(r->stop_mark) &&
	       strncasecmp((const char *)p->record, r->stop_mark, p->record_len) == 0;
}

static void
apply_record(struct replay *p, uint8_t kind, int64_t at)
{
	bool past = (p->has_time && at > p->stop) || is_past_mark(p, kind);

	if (p->stopped)
		return;
	if (p->first_block < p->from) {
		p->covered = p->covered || past;
		/* Put there, perhaps, by a try of this same log that died before anybody noted its time. */
		if (!past && (kind == RECORD_DDL || kind == RECORD_CHANGES) && at > p->newest)
			p->newest = at;
		return;
	}
	if (past) {
		p->stopped = true;
		p->stopped_at = (struct lsn){ VLF_SEQ, p->first_block, 1 };
		return;
	}
	if (!apply_changes(p->db, kind, p->record, (int)p->record_len))
		p->failed = true;
	if (kind == RECORD_DDL || kind == RECORD_CHANGES)
		p->newest = at;
}

static void
take_block(struct replay *p, size_t len)
{
	uint32_t total, offset, piece, block;
	int64_t at;
	size_t from = LOG_HEAD;

	memcpy(&block, p->block + 16, 4);
	memcpy(&total, p->block + 24, 4);
	memcpy(&offset, p->block + 28, 4);
	memcpy(&piece, p->block + 32, 4);
	memcpy(&at, p->block + 40, 8);
	if (offset == 0) {
		talloc_free(p->record);
		p->record = talloc_size(p->w->mem, total == 0 ? 1 : total);
		p->record_total = total;
		p->record_len = 0;
		p->first_block = block;
	}
	if (p->record == NULL || offset != p->record_len || piece > p->record_total - p->record_len) {
		p->failed = true;
		return;
	}
	for (uint32_t i = 0; i < piece && from < len; i++) {
		if (from % SECTOR == 0)
			from++;
		p->record[p->record_len++] = p->block[from++];
	}
	if (p->record_len == p->record_total)
		apply_record(p, p->block[36], at);
}

static void
on_log_bytes(void *ctx, const struct bak_set *set, size_t extent, uint64_t offset, const void *mem, size_t len)
{
	struct replay *p = ctx;
	const uint8_t *from = mem;

	if (set->position != p->position || p->failed)
		return;
	if (extent != p->extent || offset == 0)
		p->have = 0;
	p->extent = extent;
	while (len > 0 && !p->failed) {
		uint16_t size = SECTOR;
		size_t n;

		if (p->have >= SECTOR)
			memcpy(&size, p->block + 6, 2);
		if (size < SECTOR || size % SECTOR != 0 || size > sizeof(p->block)) {
			p->failed = true;
			return;
		}
		n = size - p->have < len ? size - p->have : len;
		memcpy(p->block + p->have, from, n);
		p->have += n;
		from += n;
		len -= n;
		memcpy(&size, p->block + 6, 2);
		if (p->have >= SECTOR && p->have == size) {
			take_block(p, p->have);
			p->have = 0;
		}
	}
}

static bool
set_next_block(sqlite3 *db, uint64_t block)
{
	char sql[96];

	snprintf(sql, sizeof(sql), "UPDATE dbo._standin_state SET v = %llu WHERE k = 'next_block'", (unsigned long long)block);
	return run_sql(db, sql);
}

int64_t
last_commit_at(sqlite3 *db, uint64_t before_block)
{
	sqlite3_stmt *st = NULL;
	int64_t at = 0;

	if (sqlite3_prepare_v2(db, "SELECT max(at) FROM dbo._standin_log WHERE block < ? AND kind < 2", -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, (sqlite3_int64)before_block);
		if (sqlite3_step(st) == SQLITE_ROW)
			at = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	return at;
}

/* Rows and redo point move in one transaction; to says where roll forward goes on. */
bool
replay_log(struct work *w, struct rolled *to)
{
	struct replay *p = talloc_zero(w->mem, struct replay);
	struct bak_sink sink = { p, NULL, on_log_bytes };
	struct lsn next;
	bool good;

	p->w = w;
	p->position = w->set->position;
	p->has_time = stop_time(w->r->stop_at, &p->stop);
	p->newest = w->row->redo_at;
	p->db = file_open(db_path(w->e, w->mem, w->row->id, ".sqlite"), false);
	good = p->db != NULL && run_sql(p->db, "BEGIN IMMEDIATE") && log_next(p->db, &next);
	p->from = good ? next.block : 0;
	if (good)
		sqlite3_db_config(p->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	good = good && feed_devices(w, &sink) && !p->failed;
	*to = (struct rolled){ p->stopped ? p->stopped_at : w->set->last_lsn, p->newest, p->stopped || p->covered };
	if (good && lsn_compare(to->redo, next) > 0)
		good = set_next_block(p->db, to->redo.block);
	if (p->db != NULL && sqlite3_get_autocommit(p->db) == 0)
		good = end_sql(p->db, good);
	if (p->failed)
		say(w->out, 3283, 1, 16, "The stand-in could not apply a log record of '%s': %s", w->r->devices[0],
		    p->db == NULL ? "no database" : sqlite3_errmsg(p->db));
	sqlite3_close(p->db);
	return good;
}
