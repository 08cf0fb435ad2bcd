#include "receiver/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/ask_intake.h"
#include "common/clock.h"
#include "common/log.h"

enum { STANDING_SECONDS = 2, KEYS_SECONDS = 30, IDLE_MS = 500, AWAY_MS = 1000, PROGRESS_MAX = 256, TOGETHER_MAX = 64, TELL_MS = 1000, FACTS_TOGETHER_MAX = 4 * 1024 * 1024 };

struct item { struct item *next; json_t *record; char *facts_path; };

struct feed {
	const struct config *config;
	struct db *db;
	pthread_t thread;
	pthread_mutex_t lock;
	struct item *first, **last;
	/* Of what is under way. A row that is not there yet takes none, so it is told again after the record that makes it. */
	struct { struct intake_progress is; bool told; } progress[PROGRESS_MAX];
	unsigned n_progress;
	json_t *keyring, *standing;
	int64_t keys_at, standing_at, remembered_at, progress_at; /* steady seconds */
	uint64_t fed, remembered;
	int wake, kick;        /* wake: to the loop · kick: to this thread */
	bool ends, away;
	size_t waiting;        /* items */
	bool is_up;            /* as others may see it */
};

/* ---- files of its own ---------------------------------------------------------------------------------------- */

static char *
spool_file(const struct feed *f, TALLOC_CTX *mem, const char *name)
{
	return talloc_asprintf(mem, "%s/%s", f->config->receiver.spool, name);
}

static void
write_file(const char *path, const char *text)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) != 0 || rename(fresh, path) != 0)
		log_warning("a file of the spool cannot be written", "file", path, NULL);
	if (fd >= 0)
		close(fd);
	talloc_free(fresh);
}

static void
load_own(struct feed *f)
{
	char *path = spool_file(f, NULL, "fed"), *keys = spool_file(f, NULL, "keys.json"), line[32] = "";
	FILE *in = fopen(path, "re");

	if (in != NULL && fgets(line, sizeof(line), in) != NULL)
		f->fed = f->remembered = strtoull(line, NULL, 10);
	if (in != NULL)
		fclose(in);
	f->keyring = json_load_file(keys, 0, NULL);
	talloc_free(path);
	talloc_free(keys);
}

/* Once a second: what was told and is not remembered is told again after a crash, which changes nothing. */
static void
remember_fed(struct feed *f, bool now)
{
	char *path, text[32];

	if (f->fed == f->remembered || (!now && steady_seconds() == f->remembered_at))
		return;
	path = spool_file(f, NULL, "fed");
	f->remembered = f->fed;
	f->remembered_at = steady_seconds();
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)f->fed);
	write_file(path, text);
	talloc_free(path);
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

static bool
fetch_keys(struct feed *f, struct err *err)
{
	json_t *fresh = intake_keyring(f->db, err);
	uint64_t one = 1;
	char *path, *text;
	bool changed;

	if (fresh == NULL)
		return false;
	f->keys_at = steady_seconds();
	pthread_mutex_lock(&f->lock);
	changed = !json_equal(fresh, f->keyring);
	json_decref(f->keyring);
	f->keyring = json_incref(fresh);
	pthread_mutex_unlock(&f->lock);
	if (changed) {
		path = spool_file(f, NULL, "keys.json");
		text = json_dumps(fresh, JSON_COMPACT);
		write_file(path, text);
		free(text);
		talloc_free(path);
		if (write(f->wake, &one, sizeof(one)) < 0)
			log_warning("the loop cannot be woken", NULL);
	}
	json_decref(fresh);
	return true;
}

static bool
fetch_standing(struct feed *f, struct err *err)
{
	json_t *fresh = intake_standing(f->db, err);

	if (fresh == NULL)
		return false;
	pthread_mutex_lock(&f->lock);
	json_decref(f->standing);
	f->standing = fresh;
	f->standing_at = steady_seconds();
	pthread_mutex_unlock(&f->lock);
	return true;
}

static char *
read_facts(TALLOC_CTX *mem, const char *path)
{
	FILE *in = path == NULL ? NULL : fopen(path, "re");
	char *text = NULL, buf[65536];
	size_t n;

	if (in == NULL)
		return NULL;
	text = talloc_strdup(mem, "");
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		text = talloc_strndup_append_buffer(text, buf, n);
	fclose(in);
	return text;
}

static const char *
text_of(const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text == NULL ? "" : text;
}

/* Of this upload, or of all of them. */
static void
tell_again(struct feed *f, const char *key)
{
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->n_progress; i++)
		if (key == NULL || strcmp(f->progress[i].is.key, key) == 0)
			f->progress[i].told = false;
	pthread_mutex_unlock(&f->lock);
}

/* The oldest records are told. */
static void
drop_told(struct feed *f, size_t n)
{
	struct item *item;

	while (n-- > 0) {
		pthread_mutex_lock(&f->lock);
		item = f->first;
		f->first = item->next;
		if (f->first == NULL)
			f->last = &f->first;
		f->waiting--;
		f->fed = (uint64_t)json_integer_value(json_object_get(item->record, "n"));
		pthread_mutex_unlock(&f->lock);
		tell_again(f, text_of(item->record, "key"));
		json_decref(item->record);
		talloc_free(item);
	}
}

static bool
is_opened(const json_t *record)
{
	return strcmp(text_of(record, "state"), "receiving") == 0;
}

/* That it was opened need not be told of what has ended meanwhile. */
static bool
is_outdone(struct item *const *items, size_t n, size_t i)
{
	if (!is_opened(items[i]->record))
		return false;
	for (size_t j = i + 1; j < n; j++)
		if (strcmp(text_of(items[j]->record, "key"), text_of(items[i]->record, "key")) == 0)
			return true;
	return false;
}

/*
 * The oldest records in one transaction: small files come faster than Postgres syncs. False: Postgres is away, or
 * it takes one of them not (ERR_REFUSED); nothing is told then.
 */
static bool
tell_together(struct feed *f, struct item *const *items, size_t n, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct intake_record records[TOGETHER_MAX];
	size_t i, n_records = 0, bytes = 0;
	bool good;

	for (i = 0; i < n && bytes < FACTS_TOGETHER_MAX; i++)
		if (!is_outdone(items, n, i)) {
			records[n_records] = (struct intake_record){ items[i]->record, read_facts(mem, items[i]->facts_path) };
			bytes += records[n_records].facts == NULL ? 0 : strlen(records[n_records].facts);
			n_records++;
		}
	good = intake_uploads(f->db, records, n_records, err);
	talloc_free(mem);
	if (good)
		drop_told(f, i);
	return good;
}

/* False: Postgres is away and it must be told again. */
static bool
tell_one(struct feed *f, struct item *item, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good;

	good = intake_upload(f->db, item->record, read_facts(mem, item->facts_path), err);
	talloc_free(mem);
	if (!good && err->kind == ERR_AGAIN)
		return false;
	if (!good) {
		/* What Postgres will never take must not stand in the way of everything after it; that the file is here is told all the same. */
		log_error("Postgres refuses a record of the journal", "error", err->text, NULL);
		*err = (struct err){ 0 };
		if (!intake_upload(f->db, item->record, NULL, err)) {
			if (err->kind == ERR_AGAIN)
				return false;
			log_error("nor does it take it without what was found in the file", "error", err->text, NULL);
		}
		*err = (struct err){ 0 };
	}
	drop_told(f, 1);
	return true;
}

/* Those that wait, up to a limit. */
static size_t
oldest(struct feed *f, struct item *items[TOGETHER_MAX])
{
	size_t n = 0;

	pthread_mutex_lock(&f->lock);
	for (struct item *i = f->first; i != NULL && n < TOGETHER_MAX; i = i->next)
		items[n++] = i;
	pthread_mutex_unlock(&f->lock);
	return n;
}

/* All of them, or as many as can be told in a while: keys that were revoked meanwhile must not wait for ever. */
static bool
tell_all(struct feed *f, struct err *err)
{
	const int64_t until = steady_ms() + TELL_MS;
	struct item *items[TOGETHER_MAX];
	bool good = true;
	size_t n;

	while (good && steady_ms() < until && (n = oldest(f, items)) > 0) {
		good = tell_together(f, items, n, err);
		if (!good && err->kind != ERR_AGAIN) {
			err_clear(err);
			good = true;
			for (size_t i = 0; good && i < n; i++)
				good = tell_one(f, items[i], err);
		}
		remember_fed(f, false);
	}
	return good;
}

/* With the lock held: one that is to be told. */
static bool
next_progress(struct feed *f, struct intake_progress *p)
{
	for (unsigned i = 0; i < f->n_progress; i++)
		if (!f->progress[i].told) {
			f->progress[i].told = true;
			*p = f->progress[i].is;
			return true;
		}
	return false;
}

static bool
tell_progress(struct feed *f, struct err *err)
{
	struct intake_progress p;
	bool good = true, any;

	if (steady_seconds() == f->progress_at)
		return true;
	f->progress_at = steady_seconds();
	do {
		pthread_mutex_lock(&f->lock);
		any = next_progress(f, &p);
		pthread_mutex_unlock(&f->lock);
		good = !any || intake_progress(f->db, &p, err);
	} while (any && good);
	/* Which of them came through is not known. */
	if (!good)
		tell_again(f, NULL);
	return good;
}

static bool
turn(struct feed *f, bool woken, struct err *err)
{
	int64_t now = steady_seconds();

	return ((!woken && now - f->keys_at < KEYS_SECONDS) || fetch_keys(f, err)) && tell_all(f, err) && tell_progress(f, err) &&
	       (now - f->standing_at < STANDING_SECONDS || fetch_standing(f, err));
}

static void *
run(void *ctx)
{
	struct feed *f = ctx;
	bool woken = true;

	while (!f->ends) {
		struct err err = { 0 };
		bool good = turn(f, woken, &err), more;
		uint64_t n;

		if (!good && !f->away)
			log_warning("Postgres does not answer; uploads go on and are told later", "error", err.text, NULL);
		if (good && f->away)
			log_info("Postgres is back", NULL);
		f->away = !good;
		pthread_mutex_lock(&f->lock);
		f->is_up = good;
		more = f->first != NULL;
		pthread_mutex_unlock(&f->lock);
		woken = false;
		if (!good)
			usleep(AWAY_MS * 1000);
		else if (!db_wait(f->db, more ? 0 : IDLE_MS, f->kick, &woken, &err))
			usleep(AWAY_MS * 1000);
		if (read(f->kick, &n, sizeof(n)) < 0 && errno != EAGAIN)
			log_warning("the feed's wake-up cannot be read", NULL);
	}
	return NULL;
}

static int
end_feed(struct feed *f)
{
	uint64_t one = 1;

	f->ends = true;
	if (write(f->kick, &one, sizeof(one)) < 0)
		log_warning("the feed cannot be woken", NULL);
	pthread_join(f->thread, NULL);
	remember_fed(f, true);
	return 0;
}

struct feed *
feed_start(TALLOC_CTX *parent, const struct config *config, struct err *err)
{
	struct feed *f = talloc_zero(parent, struct feed);
	struct db_where where;

	f->config = config;
	config_where(config, &config->postgres.receiver, "landfall-receiver", &where);
	f->db = db_new(f, &where);
	db_listen(f->db, "landfall_keys", err);
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&f->lock, NULL);
	f->last = &f->first;
	load_own(f);
	if (pthread_create(&f->thread, NULL, run, f) != 0) {
		err_set(err, ERR_OPERATOR, 0, "the feed's thread cannot start");
		talloc_free(f);
		return NULL;
	}
	talloc_set_destructor(f, end_feed);
	return f;
}

/* With the lock held. It has ended: how far it was is of no interest any more. */
static void
drop_progress(struct feed *f, const char *key)
{
	for (unsigned i = 0; i < f->n_progress; i++)
		if (strcmp(f->progress[i].is.key, key) == 0) {
			f->progress[i] = f->progress[--f->n_progress];
			return;
		}
}

void
feed_add(struct feed *f, json_t *record, const char *facts_path)
{
	struct item *item;
	uint64_t one = 1;

	/* Records that were told before are told again only after a crash between telling and remembering. */
	if ((uint64_t)json_integer_value(json_object_get(record, "n")) <= feed_told(f) || json_object_get(record, "key") == NULL) {
		json_decref(record);
		return;
	}
	item = talloc_zero(NULL, struct item);
	item->record = record;
	item->facts_path = talloc_strdup(item, facts_path);
	pthread_mutex_lock(&f->lock);
	if (!is_opened(record))
		drop_progress(f, text_of(record, "key"));
	*f->last = item;
	f->last = &item->next;
	f->waiting++;
	pthread_mutex_unlock(&f->lock);
	if (write(f->kick, &one, sizeof(one)) < 0)
		log_warning("the feed cannot be woken", NULL);
}

uint64_t
feed_told(struct feed *f)
{
	uint64_t told;

	pthread_mutex_lock(&f->lock);
	told = f->fed;
	pthread_mutex_unlock(&f->lock);
	return told;
}

void
feed_progress(struct feed *f, const struct intake_progress *p)
{
	unsigned i = 0;

	pthread_mutex_lock(&f->lock);
	while (i < f->n_progress && strcmp(f->progress[i].is.key, p->key) != 0)
		i++;
	if (i < PROGRESS_MAX) {
		f->progress[i].is = *p;
		f->progress[i].told = false;
	}
	if (i == f->n_progress && i < PROGRESS_MAX)
		f->n_progress++;
	pthread_mutex_unlock(&f->lock);
}

size_t
feed_waiting(struct feed *f, bool *up)
{
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = f->waiting;
	*up = f->is_up;
	pthread_mutex_unlock(&f->lock);
	return n;
}

json_t *
feed_keyring(struct feed *f)
{
	json_t *o;

	pthread_mutex_lock(&f->lock);
	o = json_incref(f->keyring);
	pthread_mutex_unlock(&f->lock);
	return o;
}

json_t *
feed_standing(struct feed *f, bool *fresh)
{
	json_t *o;

	pthread_mutex_lock(&f->lock);
	*fresh = steady_seconds() - f->standing_at < 5 * STANDING_SECONDS;
	o = json_incref(f->standing);
	pthread_mutex_unlock(&f->lock);
	return o;
}

int
feed_fd(const struct feed *f)
{
	return f->wake;
}

void
feed_woken(struct feed *f)
{
	uint64_t n;

	if (read(f->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warning("the feed's wake-up cannot be read", NULL);
}
