#include "receiver/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "receiver/place.h"
#include "receiver/proxy.h"
#include "receiver/sftp.h"
#include "receiver/ssh.h"
#include "receiver/upload.h"

/*
 * Requests are answered one after the other, in order: a name request waits for the warden, who answers from
 * memory, and a CLOSE waits until the arrival is durable. A client's pipelined requests wait in its own channel
 * meanwhile. What a CLOSE has to read back first is read in slices between turns of the loop, so that keep-alives
 * are answered however long it takes. A warden that is gone ends the session at once.
 */

enum { HANDLES_MAX = 128, HANDLE_BYTES = 8, WARDEN_SECONDS = 120, OUT_MAX = 1024 * 1024, BACKLOG_MAX = 1024 * 1024, READ_MAX = 261120,
       LISTING_MAX = 64 * 1024 * 1024, PROGRESS_BYTES = 16 * 1024 * 1024, NAMES_PER_REPLY = 100,
       HEADER_MS = 5000, NAME_TOLD_MAX = 600 /* the log cuts it earlier */ };

enum handle_kind { HANDLE_NONE, HANDLE_READ, HANDLE_UPLOAD, HANDLE_FOLDER };

struct handle {
	enum handle_kind kind;
	uint32_t serial;        /* guards against a handle that was given out before */
	int fd;                 /* READ */
	struct work *work;      /* UPLOAD */
	bool append, can_read;
	uint8_t *listing;       /* FOLDER */
	struct bytes next;
	bool done;
};

/* An upload, its handles counted. */
struct work {
	struct work *next;
	struct upload *upload;
	struct talk_opened opened;
	int handles;
	int seed_fd;            /* an arrived file that nobody has written to yet; -1 otherwise */
	bool failed;
	char *failure;
	uint64_t told;
	int64_t told_at;
	char *path;             /* it was opened by */
	bool has_mtime;         /* said by FSETSTAT; told when the file is closed */
	uint32_t mtime;
};

/* One channel's SFTP conversation. */
struct talker {
	struct sftp *sftp;      /* NULL: none */
	bool behind;            /* requests wait because answers do */
	bool closing;           /* a CLOSE waits until its upload was read back */
	uint32_t closing_id;
	uint8_t closing_handle[HANDLE_BYTES];
};

struct session {
	TALLOC_CTX *mem;
	int pair;
	struct ssh_link *link;
	struct talk_policy policy;
	bool is_in, ends;
	uint32_t asked;         /* id of the last request to the warden */
	unsigned last_channel;
	struct talker talkers[SSH_CHANNELS_MAX];
	struct handle handles[HANDLES_MAX];
	unsigned owner[HANDLES_MAX]; /* channel of each handle */
	uint32_t serial;
	struct work *works;
	const char *doing;      /* the request that is answered, in a word */
	uint64_t received, sent, requests; /* of all channels */
	uint64_t totals_told;   /* received and sent together, as the warden knows them */
	int64_t totals_at;
	struct sftp_out out;
	struct talk_out talk;
	struct talk_frame frame;
};

/* ---- the warden -------------------------------------------------------------------------------------------------- */

static struct work *
work_of(struct session *s, uint64_t number)
{
	for (struct work *w = s->works; w != NULL; w = w->next)
		if (w->opened.upload == number)
			return w;
	return NULL;
}

static void
hear_revoke(struct session *s, struct talk_frame *f)
{
	uint64_t number = bytes_u64(&f->body);
	char *reason = talk_take_text(&f->body, s->mem);
	struct work *w = work_of(s, number);
	struct talk_out out;
	struct err err = { 0 };

	if (w != NULL && w->upload != NULL)
		upload_revoke(w->upload, reason);
	talk_start(&out, TALK_REVOKED, f->id);
	talk_u64(&out, number);
	talk_u64(&out, w == NULL || w->upload == NULL ? 0 : upload_solid(w->upload));
	if (!talk_send(s->pair, &out, &err))
		_exit(0);
	talloc_free(reason);
}

/* What the warden says without being asked. */
static void
hear(struct session *s, struct talk_frame *f)
{
	char *text;

	switch (f->type) {
	case TALK_REVOKE:
		hear_revoke(s, f);
		break;
	case TALK_SAY:
		text = talk_take_text(&f->body, s->mem);
		if (s->link != NULL && s->is_in)
			ssh_link_say(s->link, s->last_channel, text);
		talloc_free(text);
		break;
	case TALK_END:
		text = talk_take_text(&f->body, s->mem);
		if (s->link != NULL)
			ssh_link_reason(s->link, text);
		talloc_free(text);
		s->ends = true;
		break;
	default:
		break;
	}
	talk_close_fds(f);
}

/* Sends s->talk and waits for its answer in s->frame. The status; message on mem. Ends the process without a warden. */
static uint32_t
ask(struct session *s, TALLOC_CTX *mem, char **message)
{
	struct pollfd p = { .fd = s->pair, .events = POLLIN };
	struct err err = { 0 };
	int64_t until = steady_seconds() + WARDEN_SECONDS;
	uint32_t id = s->asked, status;
	int got;

	if (!talk_send(s->pair, &s->talk, &err))
		_exit(0);
	for (;;) {
		int ready = poll(&p, 1, 1000);

		if ((ready < 0 && errno != EINTR) || steady_seconds() > until)
			_exit(0);
		if (ready <= 0)
			continue;
		got = talk_receive(s->pair, &s->frame, &err);
		if (got < 0)
			_exit(0);
		if (got == 0)
			continue;
		if (s->frame.type == TALK_REPLY && s->frame.id == id)
			break;
		hear(s, &s->frame);
	}
	status = bytes_u32(&s->frame.body);
	*message = talk_take_text(&s->frame.body, mem);
	return status;
}

static void
question(struct session *s, enum talk_type type)
{
	talk_start(&s->talk, type, ++s->asked);
}

static int
take_fd(struct session *s)
{
	int fd = s->frame.fds[0];

	s->frame.fds[0] = -1;
	talk_close_fds(&s->frame);
	return fd;
}

/* The process has no stderr of its own: its lines go to the warden. */
static void
note(void *ctx, enum log_level level, const char *line)
{
	struct session *s = ctx;
	struct talk_out out;
	struct err err = { 0 };

	talk_start(&out, TALK_NOTE, 0);
	talk_u8(&out, (uint8_t)level);
	talk_text(&out, line);
	if (!talk_send(s->pair, &out, &err))
		_exit(0);
}

/* Once a second, and at the end. */
static void
tell_totals(struct session *s, bool is_last)
{
	struct talk_out out;
	struct err err = { 0 };
	int64_t now = steady_seconds();

	if (!s->is_in || (!is_last && (now == s->totals_at || s->totals_told == s->received + s->sent)))
		return;
	talk_start(&out, TALK_TOTALS, 0);
	talk_u64(&out, s->received);
	talk_u64(&out, s->sent);
	talk_u64(&out, s->requests);
	talk_u8(&out, is_last);
	s->totals_told = s->received + s->sent;
	s->totals_at = now;
	if (!talk_send(s->pair, &out, &err))
		_exit(0);
}

/* ---- handles -------------------------------------------------------------------------------------------------------- */

static struct handle *
new_handle(struct session *s, unsigned channel, uint8_t name[HANDLE_BYTES])
{
	for (uint32_t i = 0; i < HANDLES_MAX; i++) {
		struct handle *h = &s->handles[i];

		if (h->kind != HANDLE_NONE)
			continue;
		*h = (struct handle){ .serial = ++s->serial, .fd = -1 };
		s->owner[i] = channel;
		memcpy(name, &i, 4);
		memcpy(name + 4, &h->serial, 4);
		return h;
	}
	return NULL;
}

static struct handle *
handle_of(struct session *s, unsigned channel, struct sftp_text name)
{
	uint32_t i, serial;

	if (name.len != HANDLE_BYTES)
		return NULL;
	memcpy(&i, name.s, 4);
	memcpy(&serial, name.s + 4, 4);
	if (i >= HANDLES_MAX || s->handles[i].kind == HANDLE_NONE || s->handles[i].serial != serial || s->owner[i] != channel)
		return NULL;
	return &s->handles[i];
}

static void
drop_work(struct session *s, struct work *w)
{
	for (struct work **p = &s->works; *p != NULL; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	if (w->seed_fd >= 0)
		close(w->seed_fd);
	talloc_free(w);
}

/* ---- answers ---------------------------------------------------------------------------------------------------------- */

static void
flush(struct session *s, unsigned channel)
{
	ssh_link_write(s->link, channel, s->out.mem, s->out.len);
	s->sent += s->out.len;
	s->out.len = 0;
}

static void
status(struct session *s, unsigned channel, uint32_t id, uint32_t code, const char *message)
{
	sftp_put_status(&s->out, id, (enum sftp_status)code, message);
	flush(s, channel);
}

static struct sftp_attrs
attrs_of(const struct talk_attrs *a)
{
	return (struct sftp_attrs){ .has_size = true, .size = a->size, .has_mode = true, .mode = a->mode, .has_times = true,
		.atime = (uint32_t)a->mtime, .mtime = (uint32_t)a->mtime };
}

static const char *
longname(char buf[400], const char *name, const struct talk_attrs *a)
{
	time_t t = (time_t)a->mtime;
	struct tm tm;
	char when[20];

	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%b %e %H:%M", &tm);
	snprintf(buf, 400, "%s   1 customer customer %12llu %s %.255s", S_ISDIR(a->mode) ? "drwxr-xr-x" : (a->mode & 0200) ? "-rw-r--r--" : "-r--r--r--",
	         (unsigned long long)a->size, when, name);
	return buf;
}

/* No name of ours: the warden never sees it, so the audit is told of it. A NUL would end it there. */
static void
tell_refused_name(struct session *s, struct sftp_text name, const char *why)
{
	char *shown = talloc_strdup(NULL, "");
	struct talk_out out;
	struct err err = { 0 };

	for (size_t i = 0; i < name.len && i < NAME_TOLD_MAX; i++)
		shown = name.s[i] == '\0' ? talloc_strdup_append(shown, "\342\220\200") /* U+2400, its symbol */
		                         : talloc_strndup_append(shown, name.s + i, 1);
	talk_start(&out, TALK_REFUSED_NAME, 0);
	talk_text(&out, s->doing);
	talk_text(&out, shown);
	talk_text(&out, why);
	talloc_free(shown);
	if (!talk_send(s->pair, &out, &err))
		_exit(0);
}

/* The path of a request, or NULL after the refusal was sent. */
static char *
path_of(struct session *s, unsigned channel, uint32_t id, struct sftp_text text, TALLOC_CTX *mem)
{
	struct err err = { 0 };
	char *path = place_normal(mem, text.s, text.len, &err);

	if (path == NULL) {
		tell_refused_name(s, text, err.text);
		status(s, channel, id, SFTP_NO_SUCH_FILE, err.text);
	}
	return path;
}

/* ---- uploads ------------------------------------------------------------------------------------------------------------- */

static void
tell_progress(struct session *s, struct work *w)
{
	struct talk_out out;
	struct err err = { 0 };
	uint64_t solid = upload_solid(w->upload);
	int64_t now = steady_seconds();
	TALLOC_CTX *mem;

	if (solid - w->told < PROGRESS_BYTES && (now == w->told_at || solid == w->told))
		return;
	mem = talloc_new(NULL);
	talk_start(&out, TALK_PROGRESS, 0);
	talk_u64(&out, w->opened.upload);
	talk_u64(&out, solid);
	talk_text(&out, upload_findings(w->upload, mem));
	talk_u64(&out, upload_expected(w->upload));
	w->told = solid;
	w->told_at = now;
	if (!talk_send(s->pair, &out, &err))
		_exit(0);
	talloc_free(mem);
}

static uint32_t
tell_closed(struct session *s, const struct work *w, const struct upload_end *end, TALLOC_CTX *mem, char **message)
{
	struct err err = { 0 };
	int facts = talk_memfd("facts", end->facts, strlen(end->facts), &err);
	uint32_t code;

	question(s, TALK_CLOSED);
	talk_u64(&s->talk, w->opened.upload);
	talk_u8(&s->talk, (uint8_t)end->verdict);
	talk_u64(&s->talk, end->bytes);
	talk_text(&s->talk, end->sha256);
	talk_text(&s->talk, end->reason);
	if (facts >= 0)
		talk_fd(&s->talk, facts);
	code = ask(s, mem, message);
	talk_close_fds(&s->frame);
	if (facts >= 0)
		close(facts);
	return code;
}

/* A time that was set while the file was open counts from its end: until then it is the warden's. */
static void
tell_mtime(struct session *s, const struct work *w, TALLOC_CTX *mem)
{
	char *message;

	question(s, TALK_TIMES);
	talk_text(&s->talk, w->path);
	talk_u64(&s->talk, w->mtime);
	ask(s, mem, &message);
	talk_close_fds(&s->frame);
}

/* The end of an upload: what it is goes to the warden, its answer to the client. */
static uint32_t
end_work(struct session *s, struct work *w, bool is_closed, TALLOC_CTX *mem, char **message)
{
	const char *broken = w->failed ? w->failure : NULL;
	struct upload_end end;
	struct err err = { 0 };
	uint32_t code;

	*message = talloc_strdup(mem, "");
	if (w->upload == NULL) /* an arrived file that nobody wrote to: nothing has changed */
		return SFTP_OK;
	if (!upload_close(w->upload, mem, broken, is_closed, &end, &err)) {
		w->failed = true;
		w->failure = talloc_strdup(w, err.text);
	}
	code = tell_closed(s, w, &end, mem, message);
	if (code == SFTP_OK && is_closed && (w->failed || upload_reason(w->upload) != NULL)) {
		code = SFTP_FAILURE;
		*message = talloc_strdup(mem, w->failed ? w->failure : upload_reason(w->upload));
	}
	if (code == SFTP_OK && is_closed && w->has_mtime)
		tell_mtime(s, w, mem);
	return code;
}

static void
close_handle(struct session *s, struct handle *h, bool is_closed, uint32_t *code, TALLOC_CTX *mem, char **message)
{
	*code = SFTP_OK;
	*message = talloc_strdup(mem, "");
	if (h->kind == HANDLE_READ)
		close(h->fd);
	else if (h->kind == HANDLE_FOLDER)
		talloc_free(h->listing);
	else if (h->kind == HANDLE_UPLOAD && --h->work->handles == 0) {
		*code = end_work(s, h->work, is_closed, mem, message);
		drop_work(s, h->work);
	}
	h->kind = HANDLE_NONE;
}

/* Answered when everything was read back; until then the channel's other requests wait. */
static void
finish_close(struct session *s, unsigned channel, bool *busy, TALLOC_CTX *mem)
{
	struct talker *t = &s->talkers[channel];
	struct handle *h = handle_of(s, channel, (struct sftp_text){ (const char *)t->closing_handle, HANDLE_BYTES });
	char *message;
	uint32_t code;

	if (h->kind == HANDLE_UPLOAD && h->work->handles == 1 && h->work->upload != NULL && !h->work->failed &&
	    upload_catch_up(h->work->upload, true)) {
		*busy = true;
		return;
	}
	t->closing = false;
	close_handle(s, h, true, &code, mem, &message);
	/* The stock client shows no status text, but it shows stderr. */
	if (message[0] != '\0')
		ssh_link_say(s->link, channel, message);
	status(s, channel, t->closing_id, code, message);
}

static void
on_close(struct session *s, unsigned channel, const struct sftp_request *r)
{
	struct talker *t = &s->talkers[channel];

	if (handle_of(s, channel, r->handle) == NULL) {
		status(s, channel, r->id, SFTP_FAILURE, "there is no such handle");
		return;
	}
	t->closing = true;
	t->closing_id = r->id;
	memcpy(t->closing_handle, r->handle.s, HANDLE_BYTES);
}

static struct work *
new_work(struct session *s, const struct talk_opened *opened, int fd, const char *path)
{
	struct work *w = work_of(s, opened->upload);

	if (w != NULL) { /* several handles share one inode */
		close(fd);
		return w;
	}
	w = talloc_zero(s->mem, struct work);
	w->opened = *opened;
	w->path = talloc_strdup(w, path);
	w->told_at = steady_seconds(); /* what takes less than a second is told at its end */
	w->seed_fd = -1;
	if (opened->arrived)
		w->seed_fd = fd;
	else
		w->upload = upload_new(w, fd, &w->opened, &s->policy);
	w->next = s->works;
	s->works = w;
	return w;
}

static uint32_t
ask_open(struct session *s, const char *path, uint32_t flags, struct talk_opened *opened, int *fd, TALLOC_CTX *mem, char **message)
{
	uint32_t code;

	question(s, TALK_OPEN);
	talk_text(&s->talk, path);
	talk_u32(&s->talk, flags);
	code = ask(s, mem, message);
	if (code == SFTP_OK)
		talk_take_opened(&s->frame.body, opened);
	*fd = take_fd(s);
	if (code == SFTP_OK && (s->frame.body.short_of || *fd < 0))
		_exit(1);
	return code;
}

static void
on_open(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *path = path_of(s, channel, r->id, r->path, mem), *message;
	struct talk_opened opened;
	struct handle *h;
	uint8_t name[HANDLE_BYTES];
	uint32_t code;
	int fd;

	if (path == NULL)
		return;
	h = new_handle(s, channel, name);
	if (h == NULL) {
		status(s, channel, r->id, SFTP_FAILURE, "too many open handles");
		return;
	}
	code = ask_open(s, path, r->flags, &opened, &fd, mem, &message);
	if (code != SFTP_OK) {
		status(s, channel, r->id, code, message);
		if (code != SFTP_NO_SUCH_FILE && message[0] != '\0')
			ssh_link_say(s->link, channel, message);
		return;
	}
	if (opened.writable) {
		h->kind = HANDLE_UPLOAD;
		h->work = new_work(s, &opened, fd, path);
		h->work->handles++;
		h->append = (r->flags & SFTP_APPEND_FLAG) != 0;
		h->can_read = (r->flags & SFTP_READ_FLAG) != 0;
	} else {
		h->kind = HANDLE_READ;
		h->fd = fd;
	}
	sftp_put_handle(&s->out, r->id, name, sizeof(name));
	flush(s, channel);
}

/* The first WRITE on an arrived file: a new version that begins with its bytes. */
static bool
seed(struct session *s, struct work *w, TALLOC_CTX *mem, char **message)
{
	struct talk_opened opened;
	int fd;

	question(s, TALK_SEED);
	talk_u64(&s->talk, w->opened.upload);
	if (ask(s, mem, message) != SFTP_OK) {
		talk_close_fds(&s->frame);
		return false;
	}
	talk_take_opened(&s->frame.body, &opened);
	fd = take_fd(s);
	if (s->frame.body.short_of || fd < 0)
		_exit(1);
	close(w->seed_fd);
	w->seed_fd = -1;
	w->opened = opened;
	w->upload = upload_new(w, fd, &w->opened, &s->policy);
	return true;
}

/* With APPEND some clients say where the end is (OpenSSH, libssh2) and some leave it to the server (asyncssh says 0). */
static uint64_t
offset_of(const struct handle *h, uint64_t said)
{
	return h->append && said < upload_solid(h->work->upload) ? upload_size(h->work->upload) : said;
}

static void
on_write(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	struct handle *h = handle_of(s, channel, r->handle);
	struct err err = { 0 };
	char *message = NULL;
	struct work *w;

	if (h == NULL || h->kind != HANDLE_UPLOAD) {
		status(s, channel, r->id, SFTP_FAILURE, h == NULL ? "there is no such handle" : "the file is not open for writing");
		return;
	}
	w = h->work;
	if (w->upload == NULL && !seed(s, w, mem, &message)) {
		status(s, channel, r->id, SFTP_FAILURE, message);
		return;
	}
	if (!upload_write(w->upload, offset_of(h, r->offset), r->data, r->length, &err)) {
		if (w->failure == NULL) {
			w->failed = upload_reason(w->upload) == NULL;
			w->failure = talloc_strdup(w, err.text);
			ssh_link_say(s->link, channel, err.text);
		}
		status(s, channel, r->id, SFTP_FAILURE, err.text);
		return;
	}
	tell_progress(s, w);
	status(s, channel, r->id, SFTP_OK, "");
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

static void
on_read(struct session *s, unsigned channel, const struct sftp_request *r)
{
	struct handle *h = handle_of(s, channel, r->handle);
	size_t want = r->length > READ_MAX ? READ_MAX : r->length;
	int fd = -1;
	ssize_t n;

	if (h != NULL && h->kind == HANDLE_READ)
		fd = h->fd;
	else if (h != NULL && h->kind == HANDLE_UPLOAD && h->can_read)
		fd = h->work->upload == NULL ? h->work->seed_fd : upload_fd(h->work->upload);
	if (fd < 0) {
		status(s, channel, r->id, SFTP_FAILURE, "the file is not open for reading");
		return;
	}
	n = pread(fd, sftp_begin_data(&s->out, r->id, want), want, (off_t)r->offset);
	if (n > 0) {
		sftp_end_data(&s->out, (size_t)n);
		flush(s, channel);
		return;
	}
	s->out.len = 0;
	status(s, channel, r->id, n == 0 ? SFTP_EOF : SFTP_FAILURE, n == 0 ? "end of file" : "the file cannot be read");
}

static void
on_opendir(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *path = path_of(s, channel, r->id, r->path, mem), *message;
	struct handle *h;
	uint8_t name[HANDLE_BYTES];
	uint32_t code;
	off_t size;
	int fd;

	if (path == NULL)
		return;
	if ((h = new_handle(s, channel, name)) == NULL) {
		status(s, channel, r->id, SFTP_FAILURE, "too many open handles");
		return;
	}
	question(s, TALK_LIST);
	talk_text(&s->talk, path);
	code = ask(s, mem, &message);
	fd = take_fd(s);
	if (code != SFTP_OK || fd < 0) {
		if (fd >= 0)
			close(fd);
		status(s, channel, r->id, code == SFTP_OK ? SFTP_FAILURE : code, message);
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	h->kind = HANDLE_FOLDER;
	h->listing = talloc_size(s->mem, size > 0 && size <= LISTING_MAX ? (size_t)size : 1);
	h->next = bytes_of(h->listing, 0);
	if (size > 0 && size <= LISTING_MAX && pread(fd, h->listing, (size_t)size, 0) == size)
		h->next = bytes_of(h->listing, (size_t)size);
	close(fd);
	sftp_put_handle(&s->out, r->id, name, sizeof(name));
	flush(s, channel);
}

static void
on_readdir(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	struct handle *h = handle_of(s, channel, r->handle);
	uint32_t n = 0;

	if (h == NULL || h->kind != HANDLE_FOLDER) {
		status(s, channel, r->id, SFTP_FAILURE, "this is no open folder");
		return;
	}
	if (bytes_left(&h->next) == 0) {
		status(s, channel, r->id, SFTP_EOF, "");
		return;
	}
	sftp_begin_names(&s->out, r->id);
	while (n < NAMES_PER_REPLY && bytes_left(&h->next) > 0) {
		char *name = talk_take_text(&h->next, mem), buf[400];
		struct talk_attrs a;
		struct sftp_attrs sa;

		talk_take_attrs(&h->next, &a);
		if (h->next.short_of)
			_exit(1);
		sa = attrs_of(&a);
		sftp_put_name(&s->out, name, longname(buf, name, &a), &sa);
		n++;
	}
	sftp_end_names(&s->out, n);
	flush(s, channel);
}

/* ---- names -------------------------------------------------------------------------------------------------------------------- */

/* One path, one answer without more. */
static void
simple(struct session *s, unsigned channel, const struct sftp_request *r, enum talk_type type, TALLOC_CTX *mem)
{
	char *path = path_of(s, channel, r->id, r->path, mem), *message;
	uint32_t code;

	if (path == NULL)
		return;
	question(s, type);
	talk_text(&s->talk, path);
	code = ask(s, mem, &message);
	talk_close_fds(&s->frame);
	status(s, channel, r->id, code, message);
}

static void
on_stat(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *path = path_of(s, channel, r->id, r->path, mem), *message;
	struct talk_attrs a;
	struct sftp_attrs sa;
	uint32_t code;

	if (path == NULL)
		return;
	question(s, TALK_STAT);
	talk_text(&s->talk, path);
	code = ask(s, mem, &message);
	if (code != SFTP_OK) {
		status(s, channel, r->id, code, message);
		return;
	}
	talk_take_attrs(&s->frame.body, &a);
	sa = attrs_of(&a);
	sftp_put_attrs(&s->out, r->id, &sa);
	flush(s, channel);
}

static void
on_fstat(struct session *s, unsigned channel, const struct sftp_request *r)
{
	struct handle *h = handle_of(s, channel, r->handle);
	struct sftp_attrs a = { .has_size = true, .has_mode = true, .mode = S_IFREG | 0644 };
	struct stat st;
	int fd = h == NULL ? -1 : h->kind == HANDLE_READ ? h->fd : h->kind == HANDLE_UPLOAD && h->work->upload == NULL ? h->work->seed_fd : -1;

	if (h == NULL || (h->kind != HANDLE_UPLOAD && h->kind != HANDLE_READ && h->kind != HANDLE_FOLDER)) {
		status(s, channel, r->id, SFTP_FAILURE, "there is no such handle");
		return;
	}
	/* The library's fstat would ask by an empty path, which the jail does not let through. */
	if (h->kind == HANDLE_FOLDER)
		a.mode = S_IFDIR | 0755;
	else if (fd < 0)
		a.size = upload_size(h->work->upload);
	else if (syscall(SYS_fstat, fd, &st) == 0)
		a.size = (uint64_t)st.st_size;
	sftp_put_attrs(&s->out, r->id, &a);
	flush(s, channel);
}

static bool
set_size(struct session *s, struct work *w, uint64_t size, TALLOC_CTX *mem, struct err *err)
{
	char *message = NULL;

	if (w->upload == NULL && size == w->opened.size)
		return true; /* as long as what has arrived */
	if (w->upload == NULL && !seed(s, w, mem, &message))
		return err_set(err, ERR_REFUSED, 0, "%s", message);
	return upload_truncate(w->upload, size, err);
}

/* Of a file by its name, as sshfs does it: opened, cut and closed. */
static uint32_t
set_size_of(struct session *s, const char *path, uint64_t size, TALLOC_CTX *mem, char **message)
{
	struct talk_opened opened;
	struct err err = { 0 };
	int fd;
	uint32_t code = ask_open(s, path, SFTP_WRITE_FLAG | (size == 0 ? SFTP_TRUNC_FLAG : 0u), &opened, &fd, mem, message);
	struct work *w;

	if (code != SFTP_OK)
		return code;
	w = new_work(s, &opened, fd, path);
	w->handles++;
	if (!set_size(s, w, size, mem, &err)) {
		w->failed = true;
		w->failure = talloc_strdup(w, err.text);
	}
	if (--w->handles > 0)
		return w->failed ? SFTP_FAILURE : SFTP_OK;
	code = end_work(s, w, true, mem, message);
	drop_work(s, w);
	return code;
}

static void
on_setstat(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *path = path_of(s, channel, r->id, r->path, mem), *message = NULL;
	uint32_t code = SFTP_OK;

	if (path == NULL)
		return;
	if (r->attrs.has_size)
		code = set_size_of(s, path, r->attrs.size, mem, &message);
	if (code == SFTP_OK && r->attrs.has_times) {
		question(s, TALK_TIMES);
		talk_text(&s->talk, path);
		talk_u64(&s->talk, r->attrs.mtime);
		code = ask(s, mem, &message);
		talk_close_fds(&s->frame);
	}
	status(s, channel, r->id, code, message);
}

/* Permissions are accepted and mean nothing: what arrives belongs to the warden. */
static void
on_fsetstat(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	struct handle *h = handle_of(s, channel, r->handle);
	struct err err = { .text = "the file is not open for writing" };
	bool good = h != NULL;

	if (good && r->attrs.has_size)
		good = h->kind == HANDLE_UPLOAD && set_size(s, h->work, r->attrs.size, mem, &err);
	if (good && r->attrs.has_times && h->kind == HANDLE_UPLOAD) {
		h->work->has_mtime = true;
		h->work->mtime = r->attrs.mtime;
	}
	status(s, channel, r->id, good ? SFTP_OK : SFTP_FAILURE, good ? "" : err.text);
}

static void
on_realpath(struct session *s, unsigned channel, const struct sftp_request *r, struct sftp_text text, TALLOC_CTX *mem)
{
	struct sftp_attrs none = { 0 };
	struct sftp_text from = text;
	char *path;

	/* "~" and "~/x" are home, which is the root. */
	if (from.len > 0 && from.s[0] == '~' && (from.len == 1 || from.s[1] == '/')) {
		from.s++;
		from.len--;
	}
	path = path_of(s, channel, r->id, from, mem);
	if (path == NULL)
		return;
	sftp_begin_names(&s->out, r->id);
	sftp_put_name(&s->out, path, path, &none);
	sftp_end_names(&s->out, 1);
	flush(s, channel);
}

static void
rename_file(struct session *s, unsigned channel, const struct sftp_request *r, struct sftp_text from, struct sftp_text to, bool overwrite,
            TALLOC_CTX *mem)
{
	char *a = path_of(s, channel, r->id, from, mem), *b = a == NULL ? NULL : path_of(s, channel, r->id, to, mem), *message;
	uint32_t code;

	if (b == NULL)
		return;
	question(s, TALK_RENAME);
	talk_text(&s->talk, a);
	talk_text(&s->talk, b);
	talk_u8(&s->talk, overwrite);
	code = ask(s, mem, &message);
	talk_close_fds(&s->frame);
	if (message[0] != '\0')
		ssh_link_say(s->link, channel, message);
	status(s, channel, r->id, code, message);
}

/* ---- extensions ------------------------------------------------------------------------------------------------------------------ */

static void
ext_space(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *message;
	uint64_t size, blocks, left;

	question(s, TALK_SPACE);
	if (ask(s, mem, &message) != SFTP_OK) {
		status(s, channel, r->id, SFTP_FAILURE, message);
		return;
	}
	size = bytes_u64(&s->frame.body);
	blocks = bytes_u64(&s->frame.body);
	left = bytes_u64(&s->frame.body);
	/* f_bsize f_frsize f_blocks f_bfree f_bavail f_files f_ffree f_favail f_fsid f_flag f_namemax */
	sftp_put_numbers(&s->out, r->id, (const uint64_t[]){ size, size, blocks, left, left, 1000000, 1000000, 1000000, 0, 0, PLACE_PART_MAX }, 11);
	flush(s, channel);
}

static void
on_extended(struct session *s, unsigned channel, const struct sftp_request *r, TALLOC_CTX *mem)
{
	char *name = talloc_strndup(mem, r->name.s, r->name.len);
	struct handle *h;
	struct err err = { 0 };
	bool good;

	if (strcmp(name, "posix-rename@openssh.com") == 0)
		rename_file(s, channel, r, r->path, r->other, true, mem);
	else if (strcmp(name, "limits@openssh.com") == 0) {
		sftp_put_numbers(&s->out, r->id, (const uint64_t[]){ SFTP_PACKET_MAX, READ_MAX, SFTP_WRITE_MAX, HANDLES_MAX }, 4);
		flush(s, channel);
	} else if (strcmp(name, "statvfs@openssh.com") == 0 || strcmp(name, "fstatvfs@openssh.com") == 0)
		ext_space(s, channel, r, mem);
	else if (strcmp(name, "expand-path@openssh.com") == 0)
		on_realpath(s, channel, r, r->path, mem);
	else if (strcmp(name, "lsetstat@openssh.com") == 0) /* there are no links: the same as SETSTAT */
		on_setstat(s, channel, r, mem);
	else if (strcmp(name, "home-directory") == 0)
		on_realpath(s, channel, r, (struct sftp_text){ "/", 1 }, mem);
	else if (strcmp(name, "fsync@openssh.com") == 0) {
		h = handle_of(s, channel, r->handle);
		good = h != NULL && h->kind == HANDLE_UPLOAD && (h->work->upload == NULL || upload_sync(h->work->upload, &err));
		status(s, channel, r->id, good ? SFTP_OK : SFTP_FAILURE, good ? "" : err.text);
	} else
		status(s, channel, r->id, SFTP_OP_UNSUPPORTED, "this extension is not known here");
}

/* ---- requests ----------------------------------------------------------------------------------------------------------------------- */

static const char *
word_of(const struct sftp_request *r)
{
	static const struct { enum sftp_type type; const char *word; } words[] = {
		{ SFTP_OPEN, "open" }, { SFTP_STAT, "stat" }, { SFTP_LSTAT, "stat" }, { SFTP_SETSTAT, "setstat" }, { SFTP_OPENDIR, "list" },
		{ SFTP_REMOVE, "remove" }, { SFTP_MKDIR, "mkdir" }, { SFTP_RMDIR, "rmdir" }, { SFTP_REALPATH, "realpath" }, { SFTP_RENAME, "rename" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].type == r->type)
			return words[i].word;
	return "extended";
}

static void
answer(struct session *s, unsigned channel, const struct sftp_request *r)
{
	TALLOC_CTX *mem = talloc_new(NULL);

	s->last_channel = channel;
	s->doing = word_of(r);
	s->requests++;
	switch (r->type) {
	case SFTP_INIT:
		sftp_put_version(&s->out);
		flush(s, channel);
		break;
	case SFTP_OPEN: on_open(s, channel, r, mem); break;
	case SFTP_CLOSE: on_close(s, channel, r); break;
	case SFTP_READ: on_read(s, channel, r); break;
	case SFTP_WRITE: on_write(s, channel, r, mem); break;
	case SFTP_STAT: case SFTP_LSTAT: on_stat(s, channel, r, mem); break;
	case SFTP_FSTAT: on_fstat(s, channel, r); break;
	case SFTP_SETSTAT: on_setstat(s, channel, r, mem); break;
	case SFTP_FSETSTAT: on_fsetstat(s, channel, r, mem); break;
	case SFTP_OPENDIR: on_opendir(s, channel, r, mem); break;
	case SFTP_READDIR: on_readdir(s, channel, r, mem); break;
	case SFTP_REMOVE: simple(s, channel, r, TALK_REMOVE, mem); break;
	case SFTP_MKDIR: simple(s, channel, r, TALK_MKDIR, mem); break;
	case SFTP_RMDIR: simple(s, channel, r, TALK_RMDIR, mem); break;
	case SFTP_REALPATH: on_realpath(s, channel, r, r->path, mem); break;
	case SFTP_RENAME: rename_file(s, channel, r, r->path, r->other, false, mem); break;
	case SFTP_EXTENDED: on_extended(s, channel, r, mem); break;
	case SFTP_READLINK: case SFTP_SYMLINK:
		status(s, channel, r->id, SFTP_OP_UNSUPPORTED, "there are no links here");
		break;
	default:
		status(s, channel, r->id, SFTP_OP_UNSUPPORTED, "this request is not known here");
		break;
	}
	talloc_free(mem);
}

/* ---- calls of the link ------------------------------------------------------------------------------------------------------------------ */

static bool
call_key(void *ctx, const char *user, const char *type, const char *blob)
{
	struct session *s = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	char *message;
	uint32_t code;

	question(s, TALK_KEY);
	talk_text(&s->talk, user);
	talk_text(&s->talk, type);
	talk_text(&s->talk, blob);
	code = ask(s, mem, &message);
	talk_close_fds(&s->frame);
	talloc_free(mem);
	return code == SFTP_OK;
}

static bool
call_login(void *ctx, const char *user, const char *blob, const char *software)
{
	struct session *s = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	char *message;

	question(s, TALK_LOGIN);
	talk_text(&s->talk, user);
	talk_text(&s->talk, blob);
	talk_text(&s->talk, software);
	s->is_in = ask(s, mem, &message) == SFTP_OK;
	if (s->is_in)
		talk_take_policy(&s->frame.body, &s->policy);
	else if (message[0] != '\0') {
		/* No other key would help: the client is told why, and not asked for one. */
		ssh_link_reason(s->link, message);
		s->ends = true;
	}
	talk_close_fds(&s->frame);
	talloc_free(mem);
	return s->is_in;
}

static void
call_open(void *ctx, unsigned channel)
{
	struct session *s = ctx;

	s->talkers[channel] = (struct talker){ .sftp = sftp_new(s->mem) };
	s->last_channel = channel;
}

static void
call_bytes(void *ctx, unsigned channel, const void *mem, size_t len)
{
	struct session *s = ctx;

	s->received += len;
	sftp_push(s->talkers[channel].sftp, mem, len);
}

static bool
call_wants(void *ctx, unsigned channel)
{
	const struct talker *t = &((struct session *)ctx)->talkers[channel];

	return t->sftp != NULL && sftp_waiting(t->sftp) < BACKLOG_MAX;
}

static bool
call_idle(void *ctx, unsigned channel)
{
	const struct talker *t = &((struct session *)ctx)->talkers[channel];

	return !t->behind && !t->closing;
}

/* A channel is gone: what it left open ends as partial. */
static void
call_closed(void *ctx, unsigned channel)
{
	struct session *s = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	char *message;
	uint32_t code;

	for (unsigned i = 0; i < HANDLES_MAX; i++)
		if (s->handles[i].kind != HANDLE_NONE && s->owner[i] == channel)
			close_handle(s, &s->handles[i], false, &code, mem, &message);
	talloc_free(s->talkers[channel].sftp);
	s->talkers[channel] = (struct talker){ .sftp = NULL };
	talloc_free(mem);
}

static bool
call_other(void *ctx)
{
	struct session *s = ctx;
	struct err err = { 0 };
	int got = talk_receive(s->pair, &s->frame, &err);

	if (got < 0)
		_exit(0);
	if (got > 0)
		hear(s, &s->frame);
	return !s->ends;
}

/* Every request that is there, until one has to wait. */
static void
talk_on(struct session *s, unsigned channel, bool *busy)
{
	struct talker *t = &s->talkers[channel];
	TALLOC_CTX *mem = talloc_new(NULL);
	struct sftp_request r;
	struct err err = { 0 };
	int got = 1;

	while (got == 1 && !s->ends) {
		if (t->closing)
			finish_close(s, channel, busy, mem);
		/* A client that does not read its answers is not asked for more. */
		t->behind = ssh_link_pending(s->link, channel) >= OUT_MAX;
		if (t->closing || t->behind)
			break;
		got = sftp_next(t->sftp, &r, &err);
		if (got == 1)
			answer(s, channel, &r);
	}
	if (got < 0) {
		log_warning("an SFTP conversation is ended", "error", err.text, NULL);
		ssh_link_hang_up(s->link, channel);
		TALLOC_FREE(t->sftp);
	}
	talloc_free(mem);
}

static bool
call_turn(void *ctx, bool *busy)
{
	struct session *s = ctx;

	for (unsigned c = 0; c < SSH_CHANNELS_MAX; c++)
		if (s->talkers[c].sftp != NULL)
			talk_on(s, c, busy);
	for (struct work *w = s->works; w != NULL; w = w->next) {
		if (w->upload == NULL)
			continue;
		if (upload_catch_up(w->upload, false))
			*busy = true;
		tell_progress(s, w); /* of a client that has stopped in the middle too */
	}
	tell_totals(s, false);
	return !s->ends;
}

static struct session *
new_session(int pair)
{
	struct session *s = talloc_zero(NULL, struct session);

	s->mem = s;
	s->pair = pair;
	log_to(note, s);
	return s;
}

/* ---- a connection's beginning and end ------------------------------------------------------------------------------------------------------- */

/*
 * Only the header is taken from the socket, by looking first: what follows is the library's. PROXY_MORE when the
 * balancer went without a word, which it does to see whether we are there.
 */
static enum proxy_state
read_header(int connection, int pair, struct proxy *p)
{
	int64_t until = steady_ms() + HEADER_MS, left;
	uint8_t mem[1024];

	while (p->state == PROXY_MORE) {
		struct pollfd ready[2] = { { connection, POLLIN, 0 }, { pair, 0, 0 } };
		ssize_t n;

		left = until - steady_ms();
		if (left <= 0 || (poll(ready, 2, (int)left) < 0 && errno != EINTR) || ready[1].revents != 0)
			return PROXY_BROKEN;
		n = recv(connection, mem, sizeof(mem), MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return p->len == 0 ? PROXY_MORE : PROXY_BROKEN;
		n = (ssize_t)proxy_push(p, mem, (size_t)n);
		if (recv(connection, mem, (size_t)n, MSG_DONTWAIT) != n)
			return PROXY_BROKEN;
	}
	return p->state;
}

/* Whom the connection is for, told to the warden. False: there will be no session. */
static bool
pass_header(struct session *s, int connection)
{
	struct proxy p = { .state = PROXY_MORE };
	enum proxy_state state = read_header(connection, s->pair, &p);
	char client[ADDRESS_TEXT_MAX] = "", *why;

	if (state == PROXY_BROKEN)
		log_warning("a balancer's connection has no PROXY header, or not in time", NULL);
	if (state != PROXY_CLIENT && state != PROXY_ITSELF)
		return false;
	if (state == PROXY_CLIENT)
		address_text(&p.client, client);
	question(s, TALK_PEER);
	talk_text(&s->talk, client);
	if (ask(s, s->mem, &why) == SFTP_OK)
		return true;
	why = talloc_asprintf(s->mem, "%s\r\n", why);
	send(connection, why, strlen(why), MSG_DONTWAIT | MSG_NOSIGNAL);
	return false;
}

static void
tell_silence(struct session *s)
{
	struct err err = { 0 };

	talk_start(&s->talk, TALK_SILENT, 0);
	talk_send(s->pair, &s->talk, &err);
}

void
session_main(int connection, int pair, bool is_proxied)
{
	struct session *s = new_session(pair);
	const struct ssh_calls calls = { s, call_key, call_login, call_open, call_bytes, call_closed, call_wants, call_idle, call_other,
		call_turn };
	struct err err = { 0 };

	if (is_proxied && !pass_header(s, connection))
		_exit(0);
	s->link = ssh_link_new(s, connection, pair, &calls, &err);
	if (s->link != NULL)
		ssh_link_run(s->link);
	else if (!ssh_is_silent())
		log_info("a connection ends before it began", "error", err.text, NULL);
	if (!s->is_in && ssh_is_silent())
		tell_silence(s);
	tell_totals(s, true);
	talloc_free(s->link);
	_exit(0);
}

void
session_digest(int file, int pair)
{
	struct session *s = new_session(pair);
	struct upload_end end = { .verdict = TALK_OTHER, .reason = "", .facts = talloc_strdup(s, "{}") };
	struct work w = { .seed_fd = -1 };
	char *message;

	if (upload_md5(file, end.sha256))
		tell_closed(s, &w, &end, s, &message);
	_exit(0);
}

void
session_reader(int file, int pair, const char *name, const struct talk_policy *policy)
{
	struct session *s = new_session(pair);
	const char *slash = strrchr(name, '/'), *base = slash == NULL ? name : slash + 1;
	struct work w = { .seed_fd = -1, .opened = { .backup_name = place_is_backup(base), .temporary_name = place_is_temporary(base) } };
	char *message;
	off_t size = lseek(file, 0, SEEK_END);

	s->policy = *policy;
	snprintf(w.opened.name, sizeof(w.opened.name), "%s", name);
	w.opened.size = size < 0 ? 0 : (uint64_t)size;
	w.upload = upload_new(s, file, &w.opened, &s->policy);
	end_work(s, &w, true, s, &message);
	_exit(0);
}
