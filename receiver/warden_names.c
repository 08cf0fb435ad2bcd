#include "receiver/warden_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "receiver/sidecar.h"
#include "receiver/status_txt.h"

enum { TAKEOVER_SECONDS = 1, SETTLE_SECONDS = 60 };

/* A session's path is checked again here: what was sent may not be what the client sent. */
char *
names_take_path(struct talk_frame *f, TALLOC_CTX *mem)
{
	struct err err = { 0 };
	char *sent = talk_take_text(&f->body, mem);

	return f->body.short_of ? NULL : place_normal(mem, sent, strlen(sent), &err);
}

static void
new_key(char key[40])
{
	uint8_t r[16];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		abort(); /* it cannot fail once the machine is up, and nothing can be kept without a key */
	r[6] = (r[6] & 0x0F) | 0x40;
	r[8] = (r[8] & 0x3F) | 0x80;
	snprintf(key, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8],
	         r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

/* What is not there is no refusal. */
static void
refuse(struct session *s, uint32_t id, const char *request, const char *path, uint32_t status, const char *why)
{
	if (status != STATUS_NO_SUCH_FILE)
		audit_refused(s, request, path == NULL ? "" : path, why);
	reply(s, id, status, why);
}

/* ---- what is ours: README, STATUS, receipts, outbox ----------------------------------------------------------------- */

static char *
read_text(TALLOC_CTX *mem, const char *path)
{
	FILE *in = fopen(path, "re");
	char *text = talloc_strdup(mem, ""), buf[65536];
	size_t n;

	if (in == NULL)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		text = talloc_strndup_append_buffer(text, buf, n);
	fclose(in);
	return text;
}

static struct file *
receipt_of(struct session *s, const char *path)
{
	size_t n = strlen("/receipts"), len = strlen(path);
	char name[PLACE_PATH_MAX + 2];

	if (len < n + 5 || strcmp(path + len - 4, ".txt") != 0)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)(len - n - 4), path + n);
	return area_find(s->area, name);
}

char *
names_receipt(struct session *s, TALLOC_CTX *mem, const struct file *f)
{
	char *text = read_text(mem, disk_path(s->warden, mem, f, ".json"));
	json_t *facts = text == NULL ? NULL : json_loads(text, 0, NULL);

	text = status_receipt(mem, f, s->policy.database, facts);
	json_decref(facts);
	return text;
}

/* The text of one of our own files, or NULL when there is none. */
static char *
own_text(struct session *s, TALLOC_CTX *mem, const char *path)
{
	struct warden *w = s->warden;
	struct file *f;
	json_t *standing;
	char when[40], *text = NULL;
	time_t now = time(NULL);
	struct tm tm;
	bool fresh;

	switch (place_kind(path)) {
	case PLACE_README:
		return status_readme(mem, s->area->migration, s->policy.database, w->fingerprints == NULL ? "" : w->fingerprints);
	case PLACE_STATUS:
		standing = feed_standing(w->feed, &fresh);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &tm));
		text = status_text(mem, s->area, s->policy.database, fresh ? json_object_get(standing, s->area->migration) : NULL, when);
		json_decref(standing);
		return text;
	case PLACE_RECEIPTS:
		f = receipt_of(s, path);
		return f == NULL ? NULL : names_receipt(s, mem, f);
	case PLACE_OUTBOX:
	case PLACE_DROP:
		break;
	}
	return NULL;
}

/* A file the infra team put into the outbox; beneath it and through no link. */
int
names_open_outbox(struct session *s, const char *path, bool is_folder)
{
	struct open_how how = { .flags = (is_folder ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK) | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	const char *beneath = path + strlen("/outbox");
	char *dir = disk_in(s->warden, NULL, s->area, "outbox", "", "");
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	struct stat st;

	talloc_free(dir);
	if (folder < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, folder, beneath[0] == '/' ? beneath + 1 : ".", &how, sizeof(how));
	close(folder);
	/* No folder, pipe or device is handed to a session. */
	if (fd >= 0 && !is_folder && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- OPEN ------------------------------------------------------------------------------------------------------------ */

static void
give(struct session *s, uint32_t id, int fd, const struct file *f, const char *path, bool writable, bool arrived, uint64_t size)
{
	struct talk_opened o = { .writable = writable, .upload = writable ? f->number : 0, .size = size, .arrived = arrived };
	struct talk_out out;
	unsigned files;

	snprintf(o.name, sizeof(o.name), "%s", path + 1);
	o.backup_name = place_is_backup(place_base(path));
	o.temporary_name = place_is_temporary(place_base(path));
	o.limit = UINT64_MAX;
	if (writable) {
		uint64_t used = area_used(s->area, &files);

		o.limit = s->quota_bytes > used ? size + (s->quota_bytes - used) : size;
	}
	reply_begin(&out, id);
	talk_opened(&out, &o);
	talk_fd(&out, fd);
	reply_out(s, &out);
	close(fd);
}

/* While an arrival is made durable, the journal's thread moves the file at a time of its own. */
static int
open_bytes(struct warden *w, TALLOC_CTX *mem, const struct file *f)
{
	int fd = open(disk_path(w, mem, f, ""), O_RDONLY | O_CLOEXEC);

	return fd < 0 && f->settling ? open(disk_in(w, mem, f->area, "vault", f->key, ".bak"), O_RDONLY | O_CLOEXEC) : fd;
}

static void
open_to_read(struct session *s, uint32_t id, const char *path)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct file *f = area_find(s->area, path);
	struct err err = { 0 };
	struct stat st;
	char *text;
	int fd = -1;

	if (place_kind(path) == PLACE_OUTBOX)
		fd = names_open_outbox(s, path, false);
	else if (place_kind(path) != PLACE_DROP)
		fd = (text = own_text(s, mem, path)) == NULL ? -1 : talk_memfd("text", text, strlen(text), &err);
	else if (f != NULL)
		fd = open_bytes(s->warden, mem, f);
	if (fd < 0) {
		reply(s, id, STATUS_NO_SUCH_FILE, "there is no such file");
		talloc_free(mem);
		return;
	}
	/* Sending it costs CPU as well. */
	if (fstat(fd, &st) == 0)
		guard_credit(s, (uint64_t)st.st_size);
	give(s, id, fd, NULL, path, false, false, 0);
	talloc_free(mem);
}

/* A refusal in words, or NULL. */
static const char *
why_not_write(struct session *s, const char *path, uint32_t flags, const struct file *f)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *parent = place_parent(mem, path), *why = NULL;
	struct statvfs fs;
	unsigned files;
	uint64_t used = area_used(s->area, &files);

	if (area_is_folder(s->area, path))
		why = "this is a folder";
	else if (!area_is_folder(s->area, parent))
		why = "the folder is not there";
	else if (f != NULL && (flags & OPEN_CREAT) && (flags & OPEN_EXCL))
		why = "the file is there already";
	else if (used >= s->quota_bytes || (f == NULL && files >= s->quota_files))
		why = "the quota of this migration is used up; ask for a larger one";
	else if (statvfs(s->warden->config->receiver.spool, &fs) == 0 &&
	         (uint64_t)fs.f_bavail * fs.f_frsize < s->warden->config->receiver.min_free_bytes)
		why = "there is too little space at the moment; the team has been told, try again later";
	talloc_free(mem);
	return why;
}

static bool
begin_upload(struct session *s, uint32_t id, struct file *f, int flags)
{
	char *path = disk_in(s->warden, NULL, s->area, "staging", f->key, "");
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0640);
	struct stat st;

	talloc_free(path);
	if (fd < 0 || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		refuse(s, id, "open", f->path, STATUS_FAILURE, errno == ENOSPC ? "there is no space left" : "the file cannot be opened");
		return false;
	}
	/* Several handles of one session share the upload: its bytes are what that session knows. */
	if (f->writer != s->number || f->state != FILE_RECEIVING) {
		area_set_writer(f, s->number);
		area_set_state(f, FILE_RECEIVING);
		area_set_bytes(f, (uint64_t)st.st_size);
		f->began_whole = f->began_whole || f->whole;
		f->whole = false;
		others_reopened(f);
		f->mtime = now_seconds();
		f->moved_at = steady_seconds();
		/* What is there already will be read back by the session: that costs CPU too. */
		guard_credit(s, f->bytes);
		uploads_record_opened(s->warden, f);
		audit_upload_begun(s, f);
		f->expected = 0;
		uploads_show(s, f);
	}
	give(s, id, fd, f, f->path, true, false, (uint64_t)st.st_size);
	return true;
}

static struct file *
new_file(struct session *s, const char *path)
{
	struct file *f;
	char key[40];

	new_key(key);
	f = area_new(s->area, path, key);
	f->is_backup = place_is_backup(place_base(path));
	return f;
}

static void
wait_for_file(struct session *s, uint32_t id, const char *path, uint32_t flags, const struct file *f, int seconds)
{
	struct timeval limit = { seconds, 0 };

	s->pending.there = true;
	s->pending.id = id;
	s->pending.flags = flags;
	s->pending.file = f->number;
	talloc_free(s->pending.path);
	s->pending.path = talloc_strdup(NULL, path);
	event_add(s->pending.timer, &limit);
}

/* Another session of the same migration writes it: the newer one takes over. */
static void
take_over(struct session *s, uint32_t id, const char *path, uint32_t flags, struct file *f)
{
	struct session *other = session_of(s->warden, f->writer);
	struct talk_out out;
	struct err err = { 0 };

	wait_for_file(s, id, path, flags, f, TAKEOVER_SECONDS);
	if (other == NULL || other->pair < 0) {
		area_set_writer(f, 0);
		names_open_again(s);
		return;
	}
	talk_start(&out, TALK_REVOKE, 0);
	talk_u64(&out, f->number);
	talk_text(&out, "resumed from another connection");
	if (!talk_send(other->pair, &out, &err))
		session_end(other, "it does not listen");
}

/* A client that wants to go on writing does not wait until what is there was read. Always true. */
static bool
give_way(struct warden *w, const struct file *f)
{
	for (struct session *r = w->sessions; r != NULL; r = r->next)
		if (r->reading == f->number && !r->told)
			session_end(r, "its file is being written again");
	return true;
}

/* The new one is written down first: whenever that ends, one of them has the name. */
static void
begin_anew(struct session *s, uint32_t id, const char *path, struct file *old)
{
	struct file *f = new_file(s, path);

	if (old != NULL)
		strcpy(f->replaces, old->key);
	if (!begin_upload(s, id, f, O_CREAT | O_EXCL))
		area_forget(f);
	else if (old != NULL)
		uploads_replace(s->warden, old);
}

static void
open_to_write(struct session *s, uint32_t id, const char *path, uint32_t flags)
{
	struct file *f = area_find(s->area, path);
	const char *why = why_not_write(s, path, flags, f);
	bool fresh = f == NULL || (flags & OPEN_TRUNC) || f->state == FILE_REFUSED || f->state == FILE_GONE;
	char *vault;
	int fd;

	if (place_kind(path) != PLACE_DROP)
		refuse(s, id, "open", path, STATUS_DENIED, "this is read-only; put your files into /");
	else if (why != NULL)
		refuse(s, id, "open", path, STATUS_FAILURE, why);
	else if (f == NULL && !(flags & OPEN_CREAT))
		reply(s, id, STATUS_NO_SUCH_FILE, "there is no such file");
	else if (f != NULL && f->settling && give_way(s->warden, f))
		wait_for_file(s, id, path, flags, f, SETTLE_SECONDS);
	else if (f != NULL && f->writer != 0 && f->writer != s->number)
		take_over(s, id, path, flags, f);
	else if (fresh) {
		begin_anew(s, id, path, f);
	} else if (f->state == FILE_ARRIVED) {
		vault = disk_path(s->warden, NULL, f, "");
		fd = open(vault, O_RDONLY | O_CLOEXEC);
		talloc_free(vault);
		if (fd < 0)
			reply(s, id, STATUS_FAILURE, "the file cannot be opened");
		else
			give(s, id, fd, f, path, true, true, f->bytes);
	} else {
		begin_upload(s, id, f, 0);
	}
}

static void
open_path(struct session *s, uint32_t id, const char *path, uint32_t flags)
{
	if (flags & (OPEN_WRITE | OPEN_APPEND | OPEN_CREAT | OPEN_TRUNC))
		open_to_write(s, id, path, flags);
	else
		open_to_read(s, id, path);
}

void
names_open(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = names_take_path(fr, mem);
	uint32_t flags = bytes_u32(&fr->body);

	if (path == NULL || fr->body.short_of || s->pending.there)
		refuse(s, fr->id, "open", path, STATUS_FAILURE, "that name cannot be used");
	else
		open_path(s, fr->id, path, flags);
	talloc_free(mem);
}

void
names_open_again(struct session *s)
{
	struct file *f = area_by_number(&s->warden->areas, s->pending.file);
	char *path = s->pending.path;

	if (!s->pending.there || (f != NULL && (f->settling || (f->writer != 0 && f->writer != s->number))))
		return;
	event_del(s->pending.timer);
	s->pending.there = false;
	s->pending.path = NULL;
	open_path(s, s->pending.id, path, s->pending.flags);
	talloc_free(path);
}

/* ---- looking ------------------------------------------------------------------------------------------------------------ */

void
names_attrs_of(struct session *s, const struct file *f, bool looks, struct talk_attrs *a)
{
	char *path = looks ? disk_path(s->warden, NULL, f, "") : NULL;
	struct stat st;

	*a = (struct talk_attrs){ f->bytes, f->state == FILE_ARRIVED ? MODE_OURS : MODE_FILE, (uint64_t)f->mtime };
	if (looks && f->state != FILE_ARRIVED && stat(path, &st) == 0)
		a->size = (uint64_t)st.st_size;
	talloc_free(path);
}

bool
names_attrs(struct session *s, TALLOC_CTX *mem, const char *path, struct talk_attrs *a)
{
	struct file *f = area_find(s->area, path);
	struct stat st;
	char *text;
	int fd;

	*a = (struct talk_attrs){ 0, MODE_FOLDER, (uint64_t)now_seconds() };
	if (area_is_folder(s->area, path))
		return true;
	if (place_kind(path) == PLACE_OUTBOX) {
		fd = names_open_outbox(s, path, false);
		if (fd < 0 || fstat(fd, &st) != 0) {
			if (fd >= 0)
				close(fd);
			return false;
		}
		*a = (struct talk_attrs){ (uint64_t)st.st_size, S_ISDIR(st.st_mode) ? MODE_FOLDER : MODE_OURS, (uint64_t)st.st_mtime };
		close(fd);
		return true;
	}
	if (place_kind(path) != PLACE_DROP) {
		text = own_text(s, mem, path);
		*a = (struct talk_attrs){ text == NULL ? 0 : strlen(text), MODE_OURS, (uint64_t)now_seconds() };
		return text != NULL;
	}
	if (f != NULL)
		names_attrs_of(s, f, true, a);
	return f != NULL;
}

/* A look at one file, not at all of a folder. */
static void
saw(struct session *s, const char *path)
{
	struct file *f = area_find(s->area, path);

	if (f != NULL)
		others_seen(s->warden, f);
}

void
names_stat(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = names_take_path(fr, mem);
	struct talk_attrs a;
	struct talk_out out;

	if (path == NULL || !names_attrs(s, mem, path, &a)) {
		reply(s, fr->id, STATUS_NO_SUCH_FILE, "there is no such file");
	} else {
		saw(s, path);
		reply_begin(&out, fr->id);
		talk_attrs(&out, &a);
		reply_out(s, &out);
	}
	talloc_free(mem);
}

/* ---- changing names ----------------------------------------------------------------------------------------------------------- */

static void
journal_folder(struct session *s, const char *what, const char *path)
{
	struct journal_job job = { .record = json_pack("{s:s,s:s,s:s}", "t", what, "m", s->area->migration, "path", path) };

	journal_add(s->warden->journal, &job);
}

void
names_folder(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = names_take_path(fr, mem);
	bool makes = fr->type == TALK_MKDIR;
	const char *request = makes ? "mkdir" : "rmdir";

	if (path == NULL || place_kind(path) != PLACE_DROP || strcmp(path, "/") == 0)
		refuse(s, fr->id, request, path, STATUS_DENIED, "this folder is not yours to change");
	else if (makes && (area_is_folder(s->area, path) || area_find(s->area, path) != NULL))
		refuse(s, fr->id, request, path, STATUS_FAILURE, "the name is taken");
	else if (makes && !area_is_folder(s->area, place_parent(mem, path)))
		refuse(s, fr->id, request, path, STATUS_NO_SUCH_FILE, "the folder above is not there");
	else if (makes && s->area->n_folders >= 10000)
		refuse(s, fr->id, request, path, STATUS_FAILURE, "there are too many folders");
	else if (!makes && !area_is_folder(s->area, path))
		refuse(s, fr->id, request, path, STATUS_NO_SUCH_FILE, "there is no such folder");
	else if (!makes && !area_is_empty(s->area, path))
		refuse(s, fr->id, request, path, STATUS_FAILURE, "the folder is not empty");
	else {
		if (makes)
			area_add_folder(s->area, path);
		else
			area_remove_folder(s->area, path);
		journal_folder(s, request, path);
		audit_folder(s, path, makes);
		reply(s, fr->id, STATUS_OK, "");
	}
	talloc_free(mem);
}

void
names_remove(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = names_take_path(fr, mem);
	struct file *f = path == NULL ? NULL : area_find(s->area, path);

	if (path == NULL || place_kind(path) != PLACE_DROP)
		refuse(s, fr->id, "remove", path, STATUS_DENIED, "this is not yours to remove");
	else if (f == NULL)
		refuse(s, fr->id, "remove", path, STATUS_NO_SUCH_FILE, "there is no such file");
	else if (f->settling || f->writer != 0)
		refuse(s, fr->id, "remove", path, STATUS_FAILURE, "the file is being written");
	else {
		struct file *checked = f->promised[0] == '\0' ? NULL : others_target(f);

		audit_removed(s, f);
		/* What has arrived stays in the vault: a name that goes takes no backup with it. */
		uploads_replace(s->warden, f);
		if (checked != NULL)
			others_check(mem, s->warden, checked);
		reply(s, fr->id, STATUS_OK, "");
	}
	talloc_free(mem);
}

static void
rename_now(struct session *s, uint32_t id, struct file *f, const char *to)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool final = !place_is_temporary(place_base(to)), was_temporary = place_is_temporary(place_base(f->path));
	bool is_other = f->state == FILE_OTHER || (f->state == FILE_PARTIAL && f->is_other);
	char *facts;

	area_set_name(f, to, area_next_version(f->area, to));
	f->is_backup = f->is_backup || place_is_backup(place_base(to));
	if (f->state == FILE_WHOLE_NOT_NAMED && final && (facts = read_text(mem, disk_path(s->warden, mem, f, ".json"))) != NULL) {
		uploads_arrive(s->warden, f, s->number, id, talloc_steal(NULL, facts));
	} else if ((strcmp(to, "/manifest.json") == 0 || sidecar_digits(to) > 0) && f->writer == 0 &&
	           (f->state == FILE_OTHER || f->state == FILE_PARTIAL)) {
		/* Under its temporary name it was any file. */
		uploads_record(s->warden, f);
		examine(s->warden, f);
		reply(s, id, STATUS_OK, "");
	} else if (is_other && final && !f->is_manifest && place_is_backup(place_base(to))) {
		/* Under a backup's name what is none is refused, also when it comes by a rename. */
		area_set_state(f, FILE_REFUSED);
		area_set_settles_at(f, 0);
		area_set_reason(f, "this is no SQL Server backup");
		audit_upload_ended(s->warden, f, s->number, NULL);
		uploads_record_and_remove(s->warden, f);
		reply(s, id, STATUS_FAILURE, talloc_asprintf(mem, "%s: this is no SQL Server backup", to + 1));
	} else {
		others_renamed(f, was_temporary);
		uploads_record(s->warden, f);
		reply(s, id, STATUS_OK, "");
	}
	talloc_free(mem);
}

void
names_rename(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *from = names_take_path(fr, mem), *to = names_take_path(fr, mem);
	bool overwrite = bytes_u8(&fr->body) != 0;
	struct file *f = from == NULL ? NULL : area_find(s->area, from), *there = to == NULL ? NULL : area_find(s->area, to);

	if (from == NULL || to == NULL || fr->body.short_of || place_kind(from) != PLACE_DROP || place_kind(to) != PLACE_DROP)
		refuse(s, fr->id, "rename", from, STATUS_DENIED, "that name cannot be used");
	else if (f == NULL)
		refuse(s, fr->id, "rename", from, area_is_folder(s->area, from) ? STATUS_FAILURE : STATUS_NO_SUCH_FILE,
		      area_is_folder(s->area, from) ? "folders cannot be renamed" : "there is no such file");
	else if (strcmp(from, to) == 0)
		reply(s, fr->id, STATUS_OK, "");
	else if (f->settling || (there != NULL && (there->settling || there->writer != 0)))
		refuse(s, fr->id, "rename", from, STATUS_FAILURE, "the file is being recorded; try again");
	else if (area_is_folder(s->area, to) || !area_is_folder(s->area, place_parent(mem, to)) || (there != NULL && !overwrite))
		refuse(s, fr->id, "rename", from, STATUS_FAILURE, there != NULL ? "the name is taken" : "the folder is not there");
	else {
		if (there != NULL)
			uploads_replace(s->warden, there);
		audit_renamed(s, f, to);
		rename_now(s, fr->id, f, to);
	}
	talloc_free(mem);
}

void
names_times(struct session *s, struct talk_frame *fr)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = names_take_path(fr, mem);
	uint64_t mtime = bytes_u64(&fr->body);
	struct file *f = path == NULL ? NULL : area_find(s->area, path);

	if (fr->body.short_of || (f == NULL && (path == NULL || !area_is_folder(s->area, path))))
		reply(s, fr->id, STATUS_NO_SUCH_FILE, "there is no such file");
	else {
		if (f != NULL && mtime <= UINT32_MAX)
			f->mtime = (int64_t)mtime;
		reply(s, fr->id, STATUS_OK, "");
	}
	talloc_free(mem);
}

void
names_space(struct session *s, struct talk_frame *fr)
{
	struct talk_out out;
	unsigned files;
	uint64_t used = area_used(s->area, &files), block = 4096;

	reply_begin(&out, fr->id);
	talk_u64(&out, block);
	talk_u64(&out, s->quota_bytes / block);
	talk_u64(&out, s->quota_bytes > used ? (s->quota_bytes - used) / block : 0);
	reply_out(s, &out);
}

/* ---- a new version of what has arrived ---------------------------------------------------------------------------------------------- */

enum { COPIES_MAX = 8 };

struct seeding { struct warden *w; unsigned session; uint32_t id; uint64_t old, file; };

static void
on_seeded(void *ctx, bool good, const char *why)
{
	struct seeding *x = ctx;
	struct session *s = session_of(x->w, x->session);
	struct file *f = area_by_number(&x->w->areas, x->file), *old = area_by_number(&x->w->areas, x->old);
	bool goes_on = good && s != NULL && s->pair >= 0;

	x->w->copies--;
	f->area->is_copied = false;
	area_set_settling(old, false);
	area_set_settling(f, false);
	if (goes_on) {
		area_show(f, true);
		f->began_whole = true;
		strcpy(f->replaces, old->key);
		if (begin_upload(s, x->id, f, 0))
			uploads_replace(x->w, old);
		else
			uploads_replace(x->w, f);
	} else {
		uploads_replace(x->w, f);
		if (s != NULL && s->pair >= 0)
			reply(s, x->id, STATUS_FAILURE, why);
	}
	uploads_settled(x->w, x->old);
	talloc_free(x);
}

void
names_seed(struct session *s, struct talk_frame *fr)
{
	struct file *old = area_by_number(&s->warden->areas, bytes_u64(&fr->body)), *f;
	struct seeding *x;
	const char *from, *why;

	if (fr->body.short_of || old == NULL || old->area != s->area || old->state != FILE_ARRIVED || !old->shown ||
	    old->settling) {
		reply(s, fr->id, STATUS_FAILURE, "the file has changed; open it again");
		return;
	}
	/* OPEN asked for it, but that may be long ago, and for another file. */
	if ((why = why_not_write(s, old->path, OPEN_WRITE, old)) != NULL) {
		refuse(s, fr->id, "open", old->path, STATUS_FAILURE, why);
		return;
	}
	/* One after the other: each is checked against the quota, and disks are everybody's. */
	if (s->area->is_copied || s->warden->copies >= COPIES_MAX) {
		reply(s, fr->id, STATUS_FAILURE, "another file is being copied; try again when that is done");
		return;
	}
	x = talloc_zero(NULL, struct seeding);
	from = disk_path(s->warden, x, old, "");
	/* The copy gets the name when it is there; until then nobody touches either. */
	f = new_file(s, old->path);
	area_show(f, false);
	area_set_settling(f, true);
	area_set_settling(old, true);
	*x = (struct seeding){ s->warden, s->number, fr->id, old->number, f->number };
	s->area->is_copied = true;
	s->warden->copies++;
	journal_copy(s->warden->journal, from, disk_in(s->warden, x, f->area, "staging", f->key, ""), on_seeded, x);
}
