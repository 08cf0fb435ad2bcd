#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "receiver/warden_parts.h"

/*
 * One line per thing that happened, the same fields spelled the same way in all of them: session, migration, address,
 * software, key (fingerprint), file, upload (its key on disk and in Postgres), bytes, sha256, verdict, why. What is
 * refused may come as fast as a client can send, so it is bounded per session, and so are connections that never log
 * in, for all together; how many were not told stands in the session's last line, and in the metrics.
 */
enum { REFUSALS_PER_SECOND = 20, STRANGERS_PER_SECOND = 20 };

struct number { char s[24]; };

static struct number
number(uint64_t n)
{
	struct number text;

	snprintf(text.s, sizeof(text.s), "%llu", (unsigned long long)n);
	return text;
}

struct session_name
session_name(const struct warden *w, unsigned session)
{
	struct session_name name = { "" };

	if (session != 0)
		snprintf(name.s, sizeof(name.s), "%s-%u", w->name, session);
	return name;
}

static bool
may_say(int64_t *second, unsigned *said, unsigned most)
{
	if (*second != steady_seconds()) {
		*second = steady_seconds();
		*said = 0;
	}
	return (*said)++ < most;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

void
audit_login(const struct session *s)
{
	count(s->warden, METRIC_LOGINS_ACCEPTED);
	log_info("log-in", "session", session_name(s->warden, s->number).s, "migration", s->policy.migration, "address", s->address, "key",
	         s->key, "software", s->software, NULL);
}

void
audit_login_refused(struct session *s, const char *user, const char *why)
{
	count(s->warden, METRIC_LOGINS_TOO_MANY);
	if (!audit_has_room(s))
		return;
	log_warning("a log-in is refused", "session", session_name(s->warden, s->number).s, "migration", user, "address", s->address, "key", s->key,
	            "why", why, NULL);
}

/* The first cause is the one. */
void
audit_cause(struct session *s, enum metric cause, const char *why)
{
	if (s->cause != 0)
		return;
	s->cause = cause;
	snprintf(s->why, sizeof(s->why), "%s", why);
}

static void
end_of_session(struct session *s)
{
	if (s->told_end)
		audit_cause(s, METRIC_ENDED_DRAINED, "the receiver ends");
	else if (s->said_last)
		audit_cause(s, METRIC_ENDED_ITSELF, "the connection ended");
	else
		audit_cause(s, METRIC_ENDED_DIED, "its process died");
	count(s->warden, s->cause);
	log_info("a session ended", "session", session_name(s->warden, s->number).s, "migration", s->policy.migration, "address", s->address, "software",
	         s->software, "seconds", number((uint64_t)(steady_seconds() - s->begun)).s, "received", number(s->received).s, "sent", number(s->sent).s,
	         "requests", number(s->requests).s, "uploads", number(s->uploads).s, "untold", number(s->untold).s, "why", s->why, NULL);
}

/* Who looks whether we are there and goes (health checks), or was not let in, leaves no line. */
static void
end_of_stranger(struct session *s)
{
	struct warden *w = s->warden;

	if (!s->is_excused)
		count(w, METRIC_STRANGERS_GONE);
	if ((s->is_excused && s->cause == 0) || !may_say(&w->strangers_second, &w->strangers_said, STRANGERS_PER_SECOND))
		return;
	log_info("a connection ended without a log-in", "session", session_name(w, s->number).s, "address", s->address, "user", s->tried, "key", s->key,
	         "keys", number(s->keys).s, "seconds", number((uint64_t)(steady_seconds() - s->begun)).s, "why", s->why, NULL);
}

void
audit_end(struct session *s)
{
	if (s->is_in)
		end_of_session(s);
	else if (s->reading == 0)
		end_of_stranger(s);
}

/* ---- requests ---------------------------------------------------------------------------------------------------------- */

bool
audit_has_room(struct session *s)
{
	bool has = may_say(&s->said_second, &s->said, REFUSALS_PER_SECOND);

	s->untold += !has;
	return has;
}

void
audit_refused(struct session *s, const char *request, const char *name, const char *why)
{
	count(s->warden, METRIC_REQUESTS_REFUSED);
	if (audit_has_room(s))
		log_info("a request was refused", "session", session_name(s->warden, s->number).s, "migration", s->policy.migration, "request", request, "file",
		         name[0] == '/' ? name + 1 : name, "why", why, NULL);
}

void
audit_refused_name(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *request = talk_take_text(&fr->body, mem), *name = talk_take_text(&fr->body, mem), *why = talk_take_text(&fr->body, mem);

	if (fr->body.short_of)
		session_end(s, "it said a refusal wrongly");
	else
		audit_refused(s, request, name, why);
	talloc_free(mem);
}

/* They may be wrong in a session that was taken over, but not go down, nor beyond what a line carries in its life. */
void
audit_totals(struct session *s, struct talk_frame *fr)
{
	uint64_t received = bytes_u64(&fr->body), sent = bytes_u64(&fr->body), requests = bytes_u64(&fr->body), most = UINT64_C(1) << 50;
	bool is_last = bytes_u8(&fr->body) != 0;

	if (fr->body.short_of || received < s->received || sent < s->sent || requests < s->requests || received > most || sent > most || requests > most) {
		session_end(s, "it said totals that cannot be");
		return;
	}
	s->warden->metrics[METRIC_RECEIVED_BYTES] += (double)(received - s->received);
	s->warden->metrics[METRIC_SENT_BYTES] += (double)(sent - s->sent);
	s->warden->metrics[METRIC_REQUESTS] += (double)(requests - s->requests);
	s->received = received;
	s->sent = sent;
	s->requests = requests;
	s->said_last = is_last;
}

void
audit_renamed(const struct session *s, const struct file *f, const char *to)
{
	log_info("a file was renamed", "session", session_name(s->warden, s->number).s, "migration", f->area->migration, "upload", f->key, "file", f->path + 1,
	         "to", to + 1, NULL);
}

void
audit_removed(const struct session *s, const struct file *f)
{
	log_info("a file was removed", "session", session_name(s->warden, s->number).s, "migration", f->area->migration, "upload", f->key, "file", f->path + 1,
	         "was", file_state_word(f->state), NULL);
}

void
audit_folder(const struct session *s, const char *path, bool is_made)
{
	log_info(is_made ? "a folder was made" : "a folder was removed", "session", session_name(s->warden, s->number).s, "migration", s->policy.migration,
	         "file", path + 1, NULL);
}

/* ---- uploads ------------------------------------------------------------------------------------------------------------ */

void
audit_upload_begun(struct session *s, const struct file *f)
{
	s->uploads++;
	count(s->warden, METRIC_UPLOADS_BEGUN);
	log_info("an upload begins", "session", session_name(s->warden, s->number).s, "migration", f->area->migration, "upload", f->key, "file", f->path + 1,
	         "bytes", number(f->bytes).s, NULL);
}

/* What was refused for what it holds has a finding that says so. */
static enum metric
metric_of_refused(const struct file *f)
{
	static const struct { const char *finding; enum metric metric; } reasons[] = {
		{ "not-a-backup", METRIC_UPLOADS_NOT_A_BACKUP }, { "encrypted", METRIC_UPLOADS_ENCRYPTED }, { "newer-than-target", METRIC_UPLOADS_NEWER },
	};

	if (f->reason != NULL && strcmp(f->reason, uploads_over_quota) == 0)
		return METRIC_UPLOADS_QUOTA;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		for (size_t k = 0; k < json_array_size(f->findings); k++)
			if (strcmp(json_string_value(json_array_get(f->findings, k)), reasons[i].finding) == 0)
				return reasons[i].metric;
	return METRIC_UPLOADS_REFUSED;
}

static enum metric
metric_of(const struct file *f)
{
	static const enum metric of_state[] = {
		[FILE_RECEIVING] = METRIC_UPLOADS_PARTIAL, [FILE_PARTIAL] = METRIC_UPLOADS_PARTIAL, [FILE_WHOLE_NOT_NAMED] = METRIC_UPLOADS_NOT_NAMED,
		[FILE_ARRIVED] = METRIC_UPLOADS_ARRIVED, [FILE_OTHER] = METRIC_UPLOADS_OTHER, [FILE_GONE] = METRIC_UPLOADS_REPLACED,
		[FILE_REFUSED] = METRIC_UPLOADS_REFUSED,
	};

	return f->state == FILE_REFUSED ? metric_of_refused(f) : of_state[f->state];
}

void
audit_upload_ended(struct warden *w, const struct file *f, unsigned session, const char *not_recorded)
{
	const char *verdict = not_recorded != NULL ? "not-recorded" : f->state == FILE_GONE ? "replaced" : file_state_word(f->state);
	const char *why = not_recorded != NULL ? not_recorded : f->reason;

	count(w, not_recorded != NULL ? METRIC_UPLOADS_FAILED : metric_of(f));
	if (not_recorded == NULL && f->state == FILE_ARRIVED)
		w->metrics[METRIC_ARRIVED_BYTES] += (double)f->bytes;
	log_info("an upload ended", "session", session_name(w, session).s, "migration", f->area->migration, "upload", f->key, "file", f->path + 1, "verdict",
	         verdict, "bytes", number(f->bytes).s, "sha256", f->sha256, "why", why == NULL ? "" : why, NULL);
}
