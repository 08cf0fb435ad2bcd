#include "receiver/warden_parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "receiver/sidecar.h"

/*
 * Files that are no backups. They do not say themselves that they are whole, and stock clients close a file properly
 * when a person interrupts them, so one counts only when nothing more came for a while. A client that looks at the
 * file after its CLOSE shortens that: they do it only when all went well (seen of paramiko, rclone, WinSCP, lftp).
 */

enum { SEEN_SECONDS = 5, PATIENCE = 10, SETTLED_PER_TICK = 500 };

/* ---- sidecars -------------------------------------------------------------------------------------------------------- */

struct file *
others_target(const struct file *sidecar)
{
	char *path = talloc_strndup(NULL, sidecar->path, sidecar_stem(sidecar->path));
	struct file *f = area_find(sidecar->area, path);

	talloc_free(path);
	return f;
}

/* The verdict in words; NULL: there is none yet. *same tells what it is. */
static char *
compare(TALLOC_CTX *mem, struct file *f, const struct file *sidecar, bool *same)
{
	bool is_md5 = strlen(sidecar->promised) == 32;
	const char *name = text_shown(mem, f->path + 1), *by = text_shown(mem, sidecar->path + 1);

	if (is_md5 && f->md5[0] == '\0') {
		area_set_wants(f, f->wants | WANTS_MD5);
		return NULL;
	}
	*same = strcmp(is_md5 ? f->md5 : f->sha256, sidecar->promised) == 0;
	if (*same)
		return talloc_asprintf(mem, "%s is what %s says", name, by);
	return talloc_asprintf(mem, "%s is NOT what %s says: it was changed on the way, or the checksum is of another file; "
	                       "compare, and send the wrong one again", name, by);
}

static void
keep_verdict(struct warden *w, struct file *f, const char *verdict, bool same)
{
	bool was_bad = f->is_disputed;

	if (same && !was_bad)
		return;
	f->is_disputed = !same;
	area_set_reason(f, same ? NULL : verdict);
	if (!same)
		log_warning("a checksum differs", "migration", f->area->migration, "file", f->path + 1, NULL);
	uploads_record(w, f);
}

char *
others_check(TALLOC_CTX *mem, struct warden *w, struct file *f)
{
	char *line = NULL, *verdict;
	struct file *s;
	bool same = true, all = true, any = false;

	if (!is_settled(f))
		return NULL;
	LIST_FOREACH(s, &f->at->sidecars, of_sidecars) {
		if (s->promised[0] == '\0' || s->state != FILE_OTHER || others_target(s) != f || (verdict = compare(mem, f, s, &same)) == NULL)
			continue;
		any = true;
		if (all)
			line = verdict;
		all = all && same;
	}
	/* A checksum that was taken back disputes nothing any more. */
	if (any || f->is_disputed)
		keep_verdict(w, f, line, all);
	return line;
}

/* ---- MD5, of what has a sidecar that wants it ------------------------------------------------------------------------------ */

void
others_digest(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct file *f = area_by_number(&s->warden->areas, s->reading);
	char *md5;

	bytes_u64(&fr->body);
	bytes_u8(&fr->body);
	bytes_u64(&fr->body);
	md5 = talk_take_text(&fr->body, mem);
	if (f != NULL && is_settled(f) && f->reopened == s->of_reopened && !fr->body.short_of && sidecar_is_hex(md5, 32)) {
		strcpy(f->md5, md5);
		uploads_record(s->warden, f);
		others_check(mem, s->warden, f);
	}
	reply(s, fr->id, STATUS_OK, "");
	talloc_free(mem);
}

/* ---- settling ------------------------------------------------------------------------------------------------------------------ */

static void
due_at(struct warden *w, int64_t when)
{
	if (w->next_settle == 0 || when < w->next_settle)
		w->next_settle = when;
}

static void
becomes_other(struct file *f)
{
	area_set_state(f, FILE_OTHER);
	area_set_settles_at(f, 0);
	area_set_reason(f, NULL);
}

void
others_closed(struct warden *w, struct file *f, unsigned session, const char *promise)
{
	int seconds = w->config->receiver.settle_seconds;

	f->is_other = true;
	f->promised[0] = '\0';
	f->closed_by = session;
	if (place_is_temporary(place_base(f->path))) {
		area_set_state(f, FILE_PARTIAL);
		area_set_reason(f, "it has a temporary name; rename it when it is whole");
		return;
	}
	if (promise != NULL && sidecar_is_hex(promise, sidecar_digits(f->path)))
		strcpy(f->promised, promise);
	if (f->promised[0] != '\0' || seconds == 0) {
		becomes_other(f);
		return;
	}
	area_set_state(f, FILE_PARTIAL);
	area_set_settles_at(f, now_seconds() + seconds);
	area_set_reason(f, "closed; it counts as complete when nothing more comes for a while");
	due_at(w, f->settles_at);
}

void
others_renamed(struct file *f, bool was_temporary)
{
	if (f->is_other && f->state == FILE_PARTIAL && was_temporary && !place_is_temporary(place_base(f->path)))
		becomes_other(f);
}

void
others_reopened(struct file *f)
{
	f->is_other = f->is_disputed = f->was_open = false;
	f->reopened++;
	area_set_wants(f, WANTS_NOTHING);
	area_set_settles_at(f, 0);
	f->promised[0] = f->md5[0] = '\0';
}

void
others_seen(struct warden *w, struct file *f)
{
	int64_t soon = now_seconds() + SEEN_SECONDS;

	if (f->settles_at == 0 || f->writer != 0)
		return;
	f->closed_by = 0;
	if (soon < f->settles_at)
		area_set_settles_at(f, soon);
	due_at(w, f->settles_at);
}

/* Whoever is still connected may go on with it. */
static int64_t
settles_at(struct warden *w, const struct file *f)
{
	bool is_there = f->closed_by != 0 && session_of(w, f->closed_by) != NULL;

	return f->settles_at + (is_there ? (PATIENCE - 1) * (int64_t)w->config->receiver.settle_seconds : 0);
}

void
others_begin(struct warden *w)
{
	struct file *f, *s;

	for (struct area *a = w->areas.first; a != NULL; a = a->next)
		LIST_FOREACH(s, &a->files, of_area)
			if (strlen(s->promised) == 32 && (f = others_target(s)) != NULL && f->md5[0] == '\0')
				area_set_wants(f, f->wants | WANTS_MD5);
	w->next_settle = now_seconds();
}

/* Whether nothing more will come: it becomes what it is. */
static bool
has_settled(struct warden *w, struct file *f, int64_t now, int64_t most)
{
	if (f->state != FILE_PARTIAL || f->writer != 0 || f->settling)
		return false;
	if (f->settles_at > now + most)
		area_set_settles_at(f, now + w->config->receiver.settle_seconds);
	if (now < settles_at(w, f)) {
		due_at(w, now + 1);
		return false;
	}
	becomes_other(f);
	audit_upload_ended(w, f, f->closed_by, NULL);
	uploads_record(w, f);
	return true;
}

void
others_tick(struct warden *w)
{
	int settled = 0;
	int64_t now = now_seconds(), most = PATIENCE * (int64_t)w->config->receiver.settle_seconds + SEEN_SECONDS;

	/* A clock that was set back must not make a file wait for as long as that: look at all of them again. */
	if (w->next_settle == 0 || (now < w->next_settle && w->next_settle <= now + most))
		return;
	w->next_settle = 0;
	for (struct file *f = TAILQ_FIRST(&w->areas.counting), *next; f != NULL; f = next) {
		next = TAILQ_NEXT(f, of_counting);
		/* So many a turn of the loop: a client may have closed thousands in the same second. */
		if (settled == SETTLED_PER_TICK) {
			due_at(w, now);
			break;
		}
		settled += has_settled(w, f, now, most);
	}
}
