#include "receiver/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "receiver/compact.h"

enum { COMPACT_BYTES = 8 * 1024 * 1024 }; /* shorter ones are read in a moment */

struct job {
	struct job *next;
	struct journal_job what;
	struct copying *copying; /* NULL: it is none */
	bool good;
	char why[300];
};

struct journal {
	int fd, wake;
	uint64_t seq;
	off_t length;         /* of whole records */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct job *first, **last; /* to do */
	struct job *finished, **finished_last;
	bool hurry;           /* somebody waits for one of them */
	bool busy, ends;
	unsigned copies;      /* under way */
	atomic_bool ends_copies;
	uint64_t added, told; /* the loop's thread only */
	struct journal_counts counts;
	/* Compaction: a thread makes a shorter file of what was there when it began; the journal's thread puts it in place. */
	char *path, *fresh_path;
	off_t settled;        /* length when the thread last was between two groups */
	off_t short_of;       /* length after the last one: it is worth it again when it is COMPACT_WORTH times that */
	bool compacting, compacted;
	pthread_t compactor;
	off_t upto;
	uint64_t fed;
	struct compacted fresh;
	atomic_bool cancelled;
	bool name_is_new;     /* a fresh one's name is not durable yet: nothing may be promised that is in it */
};

/* ---- records ----------------------------------------------------------------------------------------------- */

/*
 * Only the end of a write that was cut off should be wrong, and nobody was told of that. Should a disk have spoilt
 * more, people can still read what was there: it is kept before it is cut.
 */
static bool
cut_torn_end(struct journal *j, const char *dir, struct err *err)
{
	off_t end = lseek(j->fd, 0, SEEK_END), from = j->length;
	char *path = talloc_asprintf(NULL, "%s/journal.cut-%lld", dir, (long long)time(NULL));
	bool good = true;
	ssize_t n = 1;
	int fd;

	if (end == j->length) {
		talloc_free(path);
		return true;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	while (fd >= 0 && n > 0 && from < end)
		n = copy_file_range(j->fd, &from, fd, NULL, (size_t)(end - from), 0);
	if (fd < 0 || from < end || fsync(fd) != 0 || ftruncate(j->fd, j->length) != 0) {
		good = err_errno(err, errno, "the torn end of the journal cannot be kept as %s", path);
	} else {
		log_warning("the journal had a torn end, which was cut off and kept", "file", path, NULL);
		j->length = lseek(j->fd, 0, SEEK_END);
	}
	if (fd >= 0)
		close(fd);
	talloc_free(path);
	return good;
}

static bool
replay_file(struct journal *j, const char *dir, void (*replay)(void *ctx, const json_t *record), void *ctx, struct err *err)
{
	FILE *f = fdopen(dup(j->fd), "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (f == NULL)
		return err_errno(err, errno, "journal");
	while ((n = getline(&line, &room, f)) > 0) {
		json_t *record = line_read(line, (size_t)n);

		if (record == NULL)
			break;
		j->seq = (uint64_t)json_integer_value(json_object_get(record, "n"));
		replay(ctx, record);
		json_decref(record);
		j->length += n;
	}
	free(line);
	fclose(f);
	return cut_torn_end(j, dir, err);
}

/* ---- file work ------------------------------------------------------------------------------------------------- */

static bool
fail(struct job *job, const char *what, const char *path)
{
	snprintf(job->why, sizeof(job->why), "%s%s%s: %s", what, path[0] == '\0' ? "" : " ", path, strerror(errno));
	job->good = false;
	return false;
}

/* All or nothing; a disk that is full takes a part first and says so only the next time. */
static bool
write_whole(int fd, const char *text, size_t len, off_t at)
{
	ssize_t n = 1;

	for (; len > 0 && (n = pwrite(fd, text, len, at)) > 0; text += n, len -= (size_t)n)
		at += n;
	if (n == 0)
		errno = ENOSPC;
	return len == 0;
}

static bool
sync_folder(struct job *job, const char *path)
{
	char *copy = strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	free(copy);
	if (fd >= 0)
		close(fd);
	return good ? true : fail(job, "folder of", path);
}

static bool
write_facts(struct job *job)
{
	const char *path = job->what.facts_path, *text = job->what.facts;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	bool good = fd >= 0 && write_whole(fd, text, strlen(text), 0) && fsync(fd) == 0;

	if (!good)
		fail(job, "cannot write", path);
	if (fd >= 0)
		close(fd);
	return good && sync_folder(job, path);
}

static void
after(struct job *job)
{
	struct journal_job *w = &job->what;

	/* Already there: done before an earlier end. */
	if (job->good && w->from != NULL && rename(w->from, w->to) != 0 && !(errno == ENOENT && access(w->to, F_OK) == 0))
		fail(job, "cannot move to", w->to);
	if (job->good && w->from != NULL && sync_folder(job, w->to))
		sync_folder(job, w->from);
	if (job->good && w->remove != NULL)
		unlink(w->remove);
}

/* ---- the thread ---------------------------------------------------------------------------------------------------- */

/* In a flood a group has many thousands of lines, so the room for them doubles. */
static void
add_line(char **text, size_t *len, json_t *record, uint64_t seq)
{
	char *line = line_make(NULL, record, seq);
	size_t n = strlen(line);

	if (*len + n > talloc_get_size(*text))
		*text = talloc_realloc(NULL, *text, char, 2 * (*len + n));
	memcpy(*text + *len, line, n);
	*len += n;
	talloc_free(line);
}

static bool
sync_name(struct journal *j)
{
	struct job job = { .good = true };

	if (j->name_is_new)
		j->name_is_new = !sync_folder(&job, j->path);
	return !j->name_is_new;
}

static void
write_group(struct journal *j, struct job *group)
{
	char *text = NULL;
	off_t before = j->length;
	bool good = true;
	int why = 0;
	size_t len = 0;

	for (struct job *job = group; job != NULL; job = job->next) {
		job->good = true;
		if ((job->what.facts != NULL && !write_facts(job)) || (job->what.sync != NULL && !sync_folder(job, job->what.sync)))
			continue;
		if (job->what.record != NULL)
			add_line(&text, &len, job->what.record, ++j->seq);
	}
	if (len > 0) {
		good = sync_name(j) && write_whole(j->fd, text, len, before) && fdatasync(j->fd) == 0;
		why = errno;
		if (good)
			j->length += (off_t)len;
		else if (ftruncate(j->fd, before) != 0)
			log_error("the journal cannot be cut back", NULL);
	}
	for (struct job *job = group; job != NULL; job = job->next) {
		errno = why;
		if (!good && job->what.record != NULL)
			fail(job, "the journal cannot be written", "");
		after(job);
	}
	talloc_free(text);
}

/* With the lock held: until there is something to write. False at the end. */
static bool
wait_for_work(struct journal *j)
{
	struct timespec until;

	while (j->first == NULL && !j->ends && !j->compacted)
		pthread_cond_wait(&j->work, &j->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += JOURNAL_LAZY_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!j->hurry && !j->ends && !j->compacted && pthread_cond_timedwait(&j->work, &j->lock, &until) == 0)
		;
	return j->first != NULL || j->compacted;
}

/* With the lock held. */
static void
count_group(struct journal *j, const struct job *group, int64_t ns)
{
	for (const struct job *job = group; job != NULL; job = job->next) {
		j->counts.failures += !job->good;
		j->counts.records += job->good && job->what.record != NULL;
	}
	j->counts.bytes += (uint64_t)j->length - j->counts.length;
	j->counts.length = (uint64_t)j->length;
	j->counts.groups++;
	j->counts.ns += (uint64_t)ns;
}

/* ---- compaction ------------------------------------------------------------------------------------------------------ */

static void *
run_compactor(void *ctx)
{
	struct journal *j = ctx;
	struct compacted fresh;
	struct err err = { 0 };

	if (!compact(j->path, j->upto, j->fed, j->fresh_path, &j->cancelled, &fresh, &err) && !atomic_load(&j->cancelled))
		log_warning("the journal stays as long as it is", "why", err.text, NULL);
	/* It had a little of each line in memory, which it does not need again soon. */
	malloc_trim(0);
	pthread_mutex_lock(&j->lock);
	j->fresh = fresh;
	j->compacted = true;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

/* What was written meanwhile follows; then it takes the journal's name. Until that the old one is the journal. */
static bool
put_in_place(struct journal *j)
{
	off_t from = j->upto, to = j->fresh.length;
	ssize_t n = 1;

	while (from < j->length && (n = copy_file_range(j->fd, &from, j->fresh.fd, &to, (size_t)(j->length - from), 0)) > 0)
		;
	if (n == 0)
		errno = EIO; /* the old one is shorter than it was */
	if (from < j->length || fdatasync(j->fresh.fd) != 0 || rename(j->fresh_path, j->path) != 0)
		return false;
	close(j->fd);
	j->fd = j->fresh.fd;
	j->length = to;
	j->name_is_new = true;
	if (!sync_name(j))
		log_error("the journal's folder cannot be synced", NULL);
	return true;
}

/* The journal's thread, between two groups. */
static void
end_compaction(struct journal *j)
{
	off_t before = j->length;
	char bytes[2][24];

	pthread_join(j->compactor, NULL);
	if (j->fresh.fd >= 0 && put_in_place(j)) {
		snprintf(bytes[0], sizeof(bytes[0]), "%lld", (long long)before);
		snprintf(bytes[1], sizeof(bytes[1]), "%lld", (long long)j->length);
		log_info("the journal was cut to what is needed", "before", bytes[0], "now", bytes[1], NULL);
	} else if (j->fresh.fd >= 0) {
		log_warning("the journal stays as long as it is", "why", strerror(errno), NULL);
		close(j->fresh.fd);
		unlink(j->fresh_path);
	}
	pthread_mutex_lock(&j->lock);
	j->settled = j->short_of = j->length;
	j->counts.length = (uint64_t)j->length;
	j->compacting = j->compacted = false;
	pthread_cond_broadcast(&j->idle);
	pthread_mutex_unlock(&j->lock);
}

void
journal_tend(struct journal *j, uint64_t fed)
{
	pthread_mutex_lock(&j->lock);
	if (!j->compacting && j->settled > COMPACT_BYTES && j->settled > COMPACT_WORTH * j->short_of) {
		j->upto = j->settled;
		j->fed = fed;
		j->compacting = pthread_create(&j->compactor, NULL, run_compactor, j) == 0;
		if (!j->compacting) {
			log_warning("the journal stays as long as it is", "why", "no thread can be started", NULL);
			j->short_of = j->settled;
		}
	}
	pthread_mutex_unlock(&j->lock);
}

/* ---- the thread's life -------------------------------------------------------------------------------------------------- */

static void *
run(void *ctx)
{
	struct journal *j = ctx;
	uint64_t one = 1;
	int64_t begun;

	pthread_mutex_lock(&j->lock);
	for (;;) {
		struct job *group;

		if (!wait_for_work(j))
			break;
		if (j->compacted) {
			pthread_mutex_unlock(&j->lock);
			end_compaction(j);
			pthread_mutex_lock(&j->lock);
			continue;
		}
		group = j->first;
		j->first = NULL;
		j->hurry = false;
		j->last = &j->first;
		j->busy = true;
		pthread_mutex_unlock(&j->lock);
		begun = steady_ns();
		write_group(j, group);
		pthread_mutex_lock(&j->lock);
		count_group(j, group, steady_ns() - begun);
		*j->finished_last = group;
		while (*j->finished_last != NULL)
			j->finished_last = &(*j->finished_last)->next;
		j->busy = false;
		j->settled = j->length;
		pthread_cond_broadcast(&j->idle);
		if (write(j->wake, &one, sizeof(one)) < 0)
			log_error("the loop cannot be woken", NULL);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static void end_copies(struct journal *j);

static int
close_journal(struct journal *j)
{
	atomic_store(&j->cancelled, true);
	pthread_mutex_lock(&j->lock);
	while (j->compacting)
		pthread_cond_wait(&j->idle, &j->lock);
	end_copies(j);
	j->ends = true;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	close(j->fd);
	close(j->wake);
	return 0;
}

struct journal *
journal_open(TALLOC_CTX *parent, const char *dir, void (*replay)(void *ctx, const json_t *record), void *ctx, struct err *err)
{
	struct journal *j = talloc_zero(parent, struct journal);
	pthread_condattr_t steady;

	j->path = talloc_asprintf(j, "%s/journal.log", dir);
	j->fresh_path = talloc_asprintf(j, "%s/journal.new", dir);
	j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (j->fd < 0) {
		err_errno(err, errno, "%s", j->path);
		talloc_free(j);
		return NULL;
	}
	/* One that was made just now must have a name after a power failure too. */
	j->name_is_new = true;
	if (!replay_file(j, dir, replay, ctx, err) || (!sync_name(j) && !err_errno(err, errno, "folder of %s", j->path))) {
		close(j->fd);
		talloc_free(j);
		return NULL;
	}
	j->counts.length = (uint64_t)j->length;
	j->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&steady);
	pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
	pthread_cond_init(&j->work, &steady);
	pthread_cond_init(&j->idle, NULL);
	j->last = &j->first;
	j->finished_last = &j->finished;
	j->settled = j->length;
	if (pthread_create(&j->thread, NULL, run, j) != 0) {
		err_set(err, ERR_OPERATOR, 0, "the journal's thread cannot start");
		talloc_free(j);
		return NULL;
	}
	talloc_set_destructor(j, close_journal);
	return j;
}

void
journal_add(struct journal *j, const struct journal_job *what)
{
	struct job *job = talloc_zero(NULL, struct job);

	j->added++;
	job->what = *what;
	job->what.facts = talloc_strdup(job, what->facts);
	job->what.facts_path = talloc_strdup(job, what->facts_path);
	job->what.from = talloc_strdup(job, what->from);
	job->what.to = talloc_strdup(job, what->to);
	job->what.sync = talloc_strdup(job, what->sync);
	job->what.remove = talloc_strdup(job, what->remove);
	pthread_mutex_lock(&j->lock);
	*j->last = job;
	j->last = &job->next;
	j->hurry = j->hurry || !what->lazy;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
}

/* ---- copies ---------------------------------------------------------------------------------------------------------------- */

struct copying { struct journal *j; char *from, *to; };

static void
copy_file(struct job *job)
{
	const struct copying *c = job->copying;
	int in = open(c->from, O_RDONLY | O_CLOEXEC), out = open(c->to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	ssize_t n = in < 0 || out < 0 ? -1 : 1;

	while (n > 0 && !atomic_load(&c->j->ends_copies))
		n = copy_file_range(in, NULL, out, NULL, 1 << 28, 0);
	if (n > 0)
		errno = ECANCELED;
	job->good = n == 0 || fail(job, "cannot copy to", c->to);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
}

static void *
run_copy(void *ctx)
{
	struct job *job = ctx;
	struct journal *j = job->copying->j;
	const uint64_t one = 1;

	copy_file(job);
	pthread_mutex_lock(&j->lock);
	*j->finished_last = job;
	j->finished_last = &job->next;
	if (write(j->wake, &one, sizeof(one)) < 0)
		log_error("the loop cannot be woken", NULL);
	j->copies--;
	pthread_cond_broadcast(&j->idle);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

void
journal_copy(struct journal *j, const char *from, const char *to, journal_done done, void *ctx)
{
	struct job *job = talloc_zero(NULL, struct job);
	pthread_t thread;

	job->what = (struct journal_job){ .done = done, .ctx = ctx };
	job->copying = talloc(job, struct copying);
	*job->copying = (struct copying){ j, talloc_strdup(job, from), talloc_strdup(job, to) };
	pthread_mutex_lock(&j->lock);
	j->copies++;
	pthread_mutex_unlock(&j->lock);
	if (pthread_create(&thread, NULL, run_copy, job) == 0)
		pthread_detach(thread);
	else
		run_copy(job);
}

static void
end_copies(struct journal *j)
{
	atomic_store(&j->ends_copies, true);
	while (j->copies > 0)
		pthread_cond_wait(&j->idle, &j->lock);
}

void
journal_go_on_after(struct journal *j, uint64_t n)
{
	pthread_mutex_lock(&j->lock);
	if (j->seq < n) {
		log_warning("the journal ends before what Postgres has been told; its numbers go on after that", NULL);
		j->seq = n;
	}
	pthread_mutex_unlock(&j->lock);
}

uint64_t
journal_added(const struct journal *j)
{
	return j->added;
}

uint64_t
journal_told(const struct journal *j)
{
	return j->told;
}

void
journal_count(struct journal *j, struct journal_counts *counts)
{
	pthread_mutex_lock(&j->lock);
	*counts = j->counts;
	pthread_mutex_unlock(&j->lock);
}

int
journal_fd(const struct journal *j)
{
	return j->wake;
}

void
journal_finished(struct journal *j)
{
	struct job *list;
	uint64_t n;

	if (read(j->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("the journal's wake-up cannot be read", NULL);
	pthread_mutex_lock(&j->lock);
	list = j->finished;
	j->finished = NULL;
	j->finished_last = &j->finished;
	pthread_mutex_unlock(&j->lock);
	while (list != NULL) {
		struct job *job = list;

		list = job->next;
		j->told += job->copying == NULL;
		if (!job->good)
			log_error(job->copying == NULL ? "a record could not be made durable" : "a file could not be copied", "why", job->why, NULL);
		if (job->what.done != NULL)
			job->what.done(job->what.ctx, job->good, job->why);
		json_decref(job->what.record);
		talloc_free(job);
	}
}

void
journal_drain(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	j->hurry = true;
	pthread_cond_signal(&j->work);
	while (j->first != NULL || j->busy)
		pthread_cond_wait(&j->idle, &j->lock);
	end_copies(j);
	pthread_mutex_unlock(&j->lock);
}
