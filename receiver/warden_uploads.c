#include "receiver/warden_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/advice.h"
#include "common/log.h"
#include "common/text.h"
#include "receiver/sidecar.h"
#include "receiver/status_txt.h"

/* Of facts: more values than the reader can keep, which a session that was taken over may send; each costs memory when parsed. */
enum { LEASE_TRIES = 20, LEASE_MS = 100, FINDINGS_MAX = 50, FACTS_VALUES_MAX = 1000000 };

const char uploads_over_quota[] = "over the quota of this migration; ask for a larger one";

/* ---- telling ------------------------------------------------------------------------------------------------- */

struct recorded { struct warden *w; uint64_t file; json_t *record; };

void
uploads_feed(struct warden *w, struct file *f, json_t *record)
{
	char *facts = disk_path(w, NULL, f, ".json");

	feed_add(w->feed, json_incref(record), facts);
	talloc_free(facts);
}

static void
on_recorded(void *ctx, bool good, const char *why)
{
	struct recorded *r = ctx;
	struct file *f = area_by_number(&r->w->areas, r->file);

	(void)why;
	if (good && f != NULL)
		uploads_feed(r->w, f, r->record);
	/* Nobody asks for it again; without this a client could fill the memory with files that are gone. */
	if (good && f != NULL && f->state == FILE_GONE)
		area_forget(f);
	json_decref(r->record);
	talloc_free(r);
}

static void
record(struct warden *w, struct file *f, bool removes, bool lazy)
{
	struct recorded *r = talloc_zero(NULL, struct recorded);
	struct journal_job job = { .record = file_record(f), .done = on_recorded, .ctx = r, .lazy = lazy };

	if (removes)
		job.remove = disk_in(w, r, f->area, "staging", f->key, "");
	r->w = w;
	r->file = f->number;
	r->record = json_incref(job.record);
	journal_add(w->journal, &job);
}

void
uploads_record(struct warden *w, struct file *f)
{
	record(w, f, false, false);
}

void
uploads_record_opened(struct warden *w, struct file *f)
{
	record(w, f, false, true);
}

void
uploads_record_and_remove(struct warden *w, struct file *f)
{
	record(w, f, true, false);
}

void
uploads_replace(struct warden *w, struct file *f)
{
	bool was_open;

	area_show(f, false);
	if (f->state == FILE_ARRIVED) {
		uploads_record(w, f);
		return;
	}
	/* A handle that is still open to it writes into nothing, and its CLOSE fails. */
	was_open = f->state == FILE_RECEIVING;
	area_set_state(f, FILE_GONE);
	area_set_settles_at(f, 0);
	if (was_open)
		audit_upload_ended(w, f, f->writer, NULL);
	area_set_writer(f, 0);
	uploads_record_and_remove(w, f);
}

void
uploads_settled(struct warden *w, uint64_t file)
{
	for (struct session *s = w->sessions; s != NULL; s = s->next)
		if (s->pending.there && s->pending.file == file)
			names_open_again(s);
}

/* ---- what to say to the customer ---------------------------------------------------------------------------------- */

static char *
arrival_line(TALLOC_CTX *mem, const struct session *s, const struct file *f, const struct file *twin, const json_t *facts)
{
	char *line = talloc_asprintf(mem, "%s arrived: %llu bytes, %s", text_shown(mem, f->path + 1), (unsigned long long)f->bytes,
	                             status_what(mem, facts));
	const json_t *set = json_array_get(json_object_get(facts, "sets"), 0);
	const char *database = json_string_value(json_object_get(set, "DatabaseName"));

	for (size_t i = 0; i < json_array_size(f->findings); i++) {
		const char *says = advice_sentence(json_string_value(json_array_get(f->findings, i)));

		if (says != NULL)
			line = talloc_asprintf_append(line, "; %s", says);
	}
	if (s != NULL && database != NULL && strcasecmp(database, s->policy.database) != 0)
		line = talloc_asprintf_append(line, "; it is of another database than the agreed %s and will not be restored",
		                              text_shown(mem, s->policy.database));
	if (twin != NULL)
		line = talloc_asprintf_append(line, "; it is the same as %s, which was here before", text_shown(mem, twin->path + 1));
	return line;
}

/* ---- arriving ------------------------------------------------------------------------------------------------------- */

struct arrival {
	struct warden *w;
	uint64_t file;
	unsigned session;
	uint32_t id;
	char *facts;
	int fd, tries;
	struct event *timer;
	json_t *record;
	char *line;
};

static void
answer_arrival(struct arrival *a, uint32_t status, const char *message)
{
	struct session *s = session_of(a->w, a->session);
	struct file *f = area_by_number(&a->w->areas, a->file);

	if (f != NULL)
		audit_upload_ended(a->w, f, a->session, status == STATUS_OK ? NULL : message);
	if (s != NULL && s->pair >= 0)
		reply(s, a->id, status, message);
	uploads_settled(a->w, a->file);
	if (a->fd >= 0)
		close(a->fd);
	if (a->timer != NULL)
		event_free(a->timer);
	json_decref(a->record);
	talloc_free(a);
}

static void
on_arrived(void *ctx, bool good, const char *why)
{
	struct arrival *a = ctx;
	struct file *f = area_by_number(&a->w->areas, a->file);
	const char *checked;

	if (f != NULL)
		area_set_settling(f, false);
	if (good && f != NULL) {
		uploads_feed(a->w, f, a->record);
		checked = others_check(a, a->w, f);
		answer_arrival(a, STATUS_OK, checked == NULL ? a->line : talloc_asprintf(a, "%s; %s", a->line, checked));
		return;
	}
	if (f != NULL)
		area_set_state(f, FILE_PARTIAL);
	answer_arrival(a, STATUS_FAILURE, talloc_asprintf(a, "the arrival could not be recorded (%s); nothing is lost, close the file again later", why));
}

/* A session's words: only what looks like one of the reader's is believed to be one. */
static void
take_findings(struct file *f, const json_t *facts)
{
	const json_t *said = json_object_get(facts, "findings");

	json_decref(f->findings);
	f->findings = json_array();
	for (size_t i = 0; i < json_array_size(said) && json_array_size(f->findings) < FINDINGS_MAX; i++) {
		const char *word = json_string_value(json_array_get(said, i));

		if (word != NULL && word[0] != '\0' && strlen(word) < 40 && word[strspn(word, "abcdefghijklmnopqrstuvwxyz-")] == '\0')
			json_array_append_new(f->findings, json_string(word));
	}
}

/* The file is frozen; from here it is only read. */
static void
journal_arrival(struct arrival *a, struct file *f)
{
	struct warden *w = a->w;
	struct session *s = session_of(w, a->session);
	const struct file *twin;
	json_t *facts = json_loads(a->facts, 0, NULL);
	struct journal_job job = { .facts = a->facts, .facts_path = disk_in(w, a, f->area, "vault", f->key, ".json"),
		.from = disk_in(w, a, f->area, "staging", f->key, ""), .to = disk_in(w, a, f->area, "vault", f->key, ".bak"), .done = on_arrived, .ctx = a };

	twin = area_arrived_as(f->area, f->sha256);
	area_set_state(f, FILE_ARRIVED);
	f->is_backup = true;
	f->arrived_at = f->mtime = now_seconds();
	area_set_writer(f, 0);
	area_set_reason(f, NULL);
	take_findings(f, facts);
	a->line = arrival_line(a, s, f, twin, facts);
	job.record = file_record(f);
	a->record = json_incref(job.record);
	json_decref(facts);
	journal_add(w->journal, &job);
}

static void
try_lease(evutil_socket_t fd, short what, void *ctx)
{
	struct arrival *a = ctx;
	struct file *f = area_by_number(&a->w->areas, a->file);
	struct timeval soon = { 0, LEASE_MS * 1000 };
	struct stat st;

	(void)fd;
	(void)what;
	if (f == NULL) {
		answer_arrival(a, STATUS_FAILURE, "the file is gone");
	} else if (fcntl(a->fd, F_SETLEASE, F_RDLCK) == 0) {
		if (fstat(a->fd, &st) == 0 && (uint64_t)st.st_size == f->bytes) {
			journal_arrival(a, f);
			return;
		}
		area_set_settling(f, false);
		area_set_state(f, FILE_PARTIAL);
		answer_arrival(a, STATUS_FAILURE, "the file on disk is not as long as was said");
	} else if (errno == EAGAIN && ++a->tries < LEASE_TRIES) {
		event_add(a->timer, &soon);
	} else {
		struct session *s = session_of(a->w, a->session);

		/* Somebody still holds a writing descriptor: not to be trusted as frozen. */
		area_set_settling(f, false);
		area_set_state(f, FILE_PARTIAL);
		if (s != NULL)
			session_end(s, "it did not give a written file up");
		answer_arrival(a, STATUS_FAILURE, "the file is still being written");
	}
}

void
uploads_arrive(struct warden *w, struct file *f, unsigned session, uint32_t id, char *facts)
{
	struct arrival *a = talloc_zero(NULL, struct arrival);
	char *path = disk_in(w, a, f->area, "staging", f->key, "");

	a->w = w;
	a->file = f->number;
	a->session = session;
	a->id = id;
	a->facts = talloc_steal(a, facts);
	a->fd = open(path, O_RDONLY | O_CLOEXEC);
	a->timer = evtimer_new(w->base, try_lease, a);
	area_set_settling(f, true);
	if (a->fd < 0) {
		area_set_settling(f, false);
		answer_arrival(a, STATUS_FAILURE, "the file cannot be opened again");
		return;
	}
	try_lease(-1, 0, a);
}

/* ---- the other ends --------------------------------------------------------------------------------------------------- */

struct closing { struct warden *w; unsigned session; uint32_t id, status; uint64_t file; char *message; json_t *record; };

static void
on_closed(void *ctx, bool good, const char *why)
{
	struct closing *c = ctx;
	struct session *s = session_of(c->w, c->session);
	struct file *f = area_by_number(&c->w->areas, c->file);

	const char *checked = NULL;

	if (good && f != NULL)
		uploads_feed(c->w, f, c->record);
	if (f != NULL) {
		area_set_settling(f, false);
		audit_upload_ended(c->w, f, c->session, good ? NULL : why);
	}
	if (good && f != NULL && f->state == FILE_OTHER)
		checked = f->promised[0] == '\0' ? others_check(c, c->w, f) : (f = others_target(f)) == NULL ? NULL : others_check(c, c->w, f);
	if (s != NULL && s->pair >= 0)
		reply(s, c->id, good ? c->status : STATUS_FAILURE, !good ? why : checked != NULL ? checked : c->message);
	uploads_settled(c->w, c->file);
	json_decref(c->record);
	talloc_free(c);
}

static void
journal_closing(struct warden *w, struct file *f, unsigned session, uint32_t id, uint32_t status, const char *message, const char *facts)
{
	struct closing *c = talloc_zero(NULL, struct closing);
	struct journal_job job = { .done = on_closed, .ctx = c };

	*c = (struct closing){ .w = w, .session = session, .id = id, .status = status, .file = f->number, .message = talloc_strdup(c, message) };
	if (facts != NULL && strcmp(facts, "{}") != 0 && f->state != FILE_REFUSED) {
		job.facts = talloc_strdup(c, facts);
		job.facts_path = disk_in(w, c, f->area, "staging", f->key, ".json");
	}
	if (f->state == FILE_REFUSED)
		job.remove = disk_in(w, c, f->area, "staging", f->key, "");
	else
		job.sync = disk_in(w, c, f->area, "staging", f->key, "");
	area_set_writer(f, 0);
	area_set_settling(f, true);
	job.record = file_record(f);
	c->record = json_incref(job.record);
	journal_add(w->journal, &job);
}

static char *
take_facts(struct talk_frame *fr, TALLOC_CTX *mem)
{
	off_t size = fr->fds[0] < 0 ? -1 : lseek(fr->fds[0], 0, SEEK_END);
	size_t values = 0;
	char *text;

	if (size <= 0 || size > TALK_FACTS_MAX)
		return talloc_strdup(mem, "{}");
	text = talloc_size(mem, (size_t)size + 1);
	if (pread(fr->fds[0], text, (size_t)size, 0) != size)
		return talloc_strdup(mem, "{}");
	for (off_t i = 0; i < size; i++)
		values += text[i] == ',';
	if (values > FACTS_VALUES_MAX)
		return talloc_strdup(mem, "{}");
	text[size] = '\0';
	return text;
}

/*
 * Read again because nobody closed it: more may have been meant to come, so it is only what it says itself that it is
 * in full, a backup or a manifest with its end, a sidecar with its digest.
 */
static enum talk_verdict
unclosed(struct file *f, enum talk_verdict verdict, const char *promise)
{
	f->was_open = false;
	if (verdict == TALK_WHOLE || verdict == TALK_MANIFEST || (verdict == TALK_OTHER && promise != NULL))
		return verdict;
	if (f->reason == NULL)
		area_set_reason(f, "the connection ended before the file was closed");
	return TALK_PARTIAL;
}

/* What the session found, turned into what the file is. */
static void
settle(struct warden *w, struct file *f, struct session *s, uint32_t id, enum talk_verdict verdict, const char *reason, char *facts)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *name = text_shown(mem, f->path + 1), *promise;
	unsigned number = s == NULL ? 0 : s->number;
	bool temporary = place_is_temporary(place_base(f->path));
	json_t *parsed = json_loads(facts, 0, NULL);

	f->mtime = now_seconds();
	f->whole = verdict == TALK_WHOLE;
	area_set_reason(f, reason);
	if (json_is_array(json_object_get(parsed, "findings")))
		take_findings(f, parsed);
	f->is_backup = f->is_backup || json_array_size(json_object_get(parsed, "sets")) > 0;
	promise = talloc_strdup(mem, json_string_value(json_object_get(parsed, "promise")));
	json_decref(parsed);
	if (f->was_open)
		verdict = unclosed(f, verdict, promise);
	/* It got a backup's name while it was open. */
	if (verdict == TALK_OTHER && !temporary && place_is_backup(place_base(f->path))) {
		verdict = TALK_REFUSED;
		reason = talloc_asprintf(mem, "%s: this is no SQL Server backup", name);
		area_set_reason(f, reason);
	}
	switch (verdict) {
	case TALK_WHOLE:
		if (!temporary) {
			uploads_arrive(w, f, number, id, talloc_steal(NULL, facts));
			break;
		}
		area_set_state(f, FILE_WHOLE_NOT_NAMED);
		journal_closing(w, f, number, id, STATUS_OK, talloc_asprintf(mem, "%s is whole; rename it to its final name", name), facts);
		break;
	case TALK_PARTIAL:
		area_set_state(f, FILE_PARTIAL);
		journal_closing(w, f, number, id, STATUS_OK, talloc_asprintf(mem, "%s is partial, %llu bytes: %s", name, (unsigned long long)f->bytes,
			text_shown(mem, reason)), facts);
		break;
	case TALK_OTHER:
		others_closed(w, f, number, promise);
		journal_closing(w, f, number, id, STATUS_OK, "", NULL);
		break;
	case TALK_MANIFEST:
		area_set_state(f, FILE_OTHER);
		f->is_manifest = true;
		journal_closing(w, f, number, id, STATUS_OK, "", facts);
		break;
	case TALK_REFUSED:
	default:
		area_set_state(f, FILE_REFUSED);
		journal_closing(w, f, number, id, STATUS_FAILURE, reason, facts);
		break;
	}
	talloc_free(mem);
}

static uint64_t
size_on_disk(struct warden *w, const struct file *f)
{
	char *path = disk_in(w, NULL, f->area, "staging", f->key, "");
	struct stat st;
	uint64_t size = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;

	talloc_free(path);
	return size;
}

/*
 * How many bytes a file really has, cut to what the session says: beyond that nothing is certain. A session that was
 * taken over may say anything, and the quota goes by this.
 */
static uint64_t
as_on_disk(struct warden *w, const struct file *f, uint64_t said)
{
	char *path = disk_in(w, NULL, f->area, "staging", f->key, "");
	uint64_t size = size_on_disk(w, f);

	if (size > said && truncate(path, (off_t)said) != 0)
		log_warning("a partial cannot be cut", "file", f->key, NULL);
	else if (size > said)
		size = said;
	talloc_free(path);
	return size;
}

static void
let_go(struct warden *w, struct file *f, uint64_t bytes, const char *why)
{
	unsigned writer = f->writer;

	area_set_bytes(f, as_on_disk(w, f, bytes));
	area_set_writer(f, 0);
	area_set_state(f, FILE_PARTIAL);
	area_set_reason(f, why);
	audit_upload_ended(w, f, writer, NULL);
	uploads_record(w, f);
}

void
uploads_closed(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	uint64_t number = bytes_u64(&fr->body);
	uint8_t verdict = bytes_u8(&fr->body);
	uint64_t bytes = bytes_u64(&fr->body);
	char *sha = talk_take_text(&fr->body, mem), *reason = talk_take_text(&fr->body, mem), *facts;
	struct file *f = area_by_number(&s->warden->areas, s->reading != 0 ? s->reading : number);
	bool is_his = f != NULL && (s->reading == f->number || (f->area == s->area && f->writer == s->number && !f->settling));

	facts = is_his ? take_facts(fr, mem) : NULL;
	talk_close_fds(fr);
	if (fr->body.short_of || !is_his) {
		/* Its bytes are somebody else's now. */
		reply(s, fr->id, STATUS_FAILURE, f == NULL || f->state == FILE_GONE ? "the name has gone to a newer upload"
		      : f->area == s->area && f->reason != NULL ? f->reason : "resumed from another connection");
	} else if (verdict == TALK_WHOLE && size_on_disk(s->warden, f) != bytes) {
		area_set_settling(f, false);
		let_go(s->warden, f, bytes, "the file on disk is not as long as was said");
		uploads_settled(s->warden, f->number);
		reply(s, fr->id, STATUS_FAILURE, f->reason);
	} else {
		area_set_sha256(f, sidecar_is_hex(sha, 64) ? sha : "");
		if (verdict == TALK_WHOLE && f->sha256[0] == '\0')
			verdict = TALK_PARTIAL;
		area_set_bytes(f, verdict == TALK_WHOLE ? bytes : as_on_disk(s->warden, f, bytes));
		settle(s->warden, f, s, fr->id, (enum talk_verdict)verdict, reason, facts);
	}
	talloc_free(mem);
}

void
uploads_show(struct session *s, const struct file *f)
{
	struct intake_progress p = { .bytes = (int64_t)f->bytes, .expected = (int64_t)f->expected };

	snprintf(p.key, sizeof(p.key), "%s", f->key);
	snprintf(p.session, sizeof(p.session), "%s", session_name(s->warden, s->number).s);
	snprintf(p.peer, sizeof(p.peer), "%s", s->address);
	snprintf(p.client, sizeof(p.client), "%s", s->software);
	feed_progress(s->warden->feed, &p);
}

void
uploads_progress(struct session *s, struct talk_frame *fr)
{
	uint64_t number = bytes_u64(&fr->body), bytes = bytes_u64(&fr->body), size, expected;
	struct file *f = area_by_number(&s->warden->areas, number);
	struct talk_out out;
	struct err err = { 0 };
	unsigned files;

	talloc_free(talk_take_text(&fr->body, NULL));
	expected = bytes_u64(&fr->body);
	if (fr->body.short_of || f == NULL || f->writer != s->number || f->settling)
		return;
	f->expected = expected <= INT64_MAX ? expected : 0;
	size = size_on_disk(s->warden, f);
	bytes = bytes < size ? bytes : size;
	guard_credit(s, bytes > f->bytes ? bytes - f->bytes : 0);
	if (bytes != f->bytes)
		f->moved_at = steady_seconds();
	area_set_bytes(f, bytes);
	f->mtime = now_seconds();
	uploads_show(s, f);
	/* Each OPEN was told what was left then; several uploads at once share it. */
	if (area_used(s->area, &files) - bytes + size <= s->quota_bytes)
		return;
	talk_start(&out, TALK_REVOKE, 0);
	talk_u64(&out, number);
	talk_text(&out, uploads_over_quota);
	if (!talk_send(s->pair, &out, &err))
		session_end(s, "it does not listen");
}

void
uploads_revoked(struct session *s, struct talk_frame *fr)
{
	uint64_t number = bytes_u64(&fr->body), bytes = bytes_u64(&fr->body);
	struct file *f = area_by_number(&s->warden->areas, number);
	unsigned files;

	if (fr->body.short_of || f == NULL || f->writer != s->number || f->settling)
		return;
	area_set_bytes(f, as_on_disk(s->warden, f, bytes));
	let_go(s->warden, f, f->bytes, area_used(s->area, &files) > s->quota_bytes ? uploads_over_quota : "resumed from another connection");
	uploads_settled(s->warden, number);
}

bool
uploads_may_be_whole(const struct file *f)
{
	return f->was_open && !f->began_whole && f->state == FILE_PARTIAL && f->shown && f->writer == 0 && !place_is_temporary(place_base(f->path));
}

/*
 * Its session is gone and nobody has closed it. A client whose line died behind the last byte cannot go on with it
 * (OpenSSH's reput: "same size or larger"), so when what is there may be a whole backup it is read again, as at
 * start-up, unless somebody who waited for the name has it now.
 */
static void
orphan(struct warden *w, struct file *f)
{
	/* Said in its record: should the program end before it was read again, the next start does that. */
	if (f->state == FILE_RECEIVING) {
		f->was_open = f->bytes > 0;
		let_go(w, f, f->bytes, "the connection broke");
	}
	area_set_writer(f, 0);
	uploads_settled(w, f->number);
	if (uploads_may_be_whole(f))
		examine(w, f);
}

void
uploads_orphan(struct warden *w, struct session *s)
{
	struct file *f = s->area == NULL ? NULL : LIST_FIRST(&s->area->busy), *next;

	for (; f != NULL; f = next) {
		next = LIST_NEXT(f, of_busy);
		if (f->writer == s->number && !f->settling)
			orphan(w, f);
	}
	if (s->reading == 0)
		return;
	f = area_by_number(&w->areas, s->reading);
	/* The reader died over it: it stays what it is, and nobody waits for it any more. */
	if (f != NULL && f->settling && !s->told)
		area_set_settling(f, false);
	if (!s->told)
		uploads_settled(w, s->reading);
	if (s->spawned)
		readers_begin(w);
}
