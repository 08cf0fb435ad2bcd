#include "console/inspect_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"

enum { PIECE = 1 << 20, BAR = 24, TICK_MS = 200, WORTH_SHOWING = 64 << 20 };

struct reading {
	struct inspected *files;
	size_t n, next, ended;
	uint64_t done, total; /* bytes; total 0 while a pipe is among them */
	bool has_pipe;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static bool
is_pipe(const struct inspected *f)
{
	return strcmp(f->path, "-") == 0;
}

static void
note_bytes(struct reading *r, size_t n)
{
	pthread_mutex_lock(&r->lock);
	r->done += n;
	pthread_mutex_unlock(&r->lock);
}

static void
feed_all(struct reading *r, struct inspected *f, int fd)
{
	char *piece = talloc_array(f->mem, char, PIECE);
	struct bak *bak = bak_new(f->mem, NULL);
	struct err err;
	ssize_t n;

	while ((n = read(fd, piece, PIECE)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		bak_feed(bak, piece, (size_t)n, &err);
		note_bytes(r, (size_t)n);
	}
	if (n < 0) {
		f->trouble = talloc_asprintf(f->mem, "cannot read it: %s", strerror(errno));
		talloc_free(bak);
	} else {
		bak_finish(bak);
		f->bak = bak;
	}
	talloc_free(piece);
}

static void
read_one(struct reading *r, struct inspected *f)
{
	int fd = is_pipe(f) ? STDIN_FILENO : open(f->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		f->trouble = talloc_asprintf(f->mem, "cannot open it: %s", strerror(errno));
		return;
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	feed_all(r, f, fd);
	if (!is_pipe(f))
		close(fd);
}

static void *
read_in_turn(void *arg)
{
	struct reading *r = arg;

	pthread_mutex_lock(&r->lock);
	while (r->next < r->n) {
		struct inspected *f = &r->files[r->next++];

		pthread_mutex_unlock(&r->lock);
		read_one(r, f);
		pthread_mutex_lock(&r->lock);
		r->ended++;
		pthread_cond_signal(&r->changed);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* ---- how far it is ------------------------------------------------------------------------------------------ */

static double
seconds_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

static void
show(const struct reading *r, uint64_t done, double seconds)
{
	double rate = seconds > 0 ? (double)done / seconds : 0, part = r->total > 0 ? (double)done / (double)r->total : 0;
	char bar[BAR + 1];

	if (r->has_pipe) {
		fprintf(stderr, "\r%s read, %s/s \033[K", text_size(done).s, text_size((uint64_t)rate).s);
		return;
	}
	part = part > 1 ? 1 : part;
	for (int i = 0; i < BAR; i++)
		bar[i] = i < (int)(part * BAR) ? '#' : '.';
	bar[BAR] = '\0';
	fprintf(stderr, "\r[%s] %3.0f %%  %s of %s, %s/s, %.0f s left \033[K", bar, part * 100, text_size(done).s, text_size(r->total).s,
	        text_size((uint64_t)rate).s, rate > 0 && r->total > done ? (double)(r->total - done) / rate : 0);
}

static void
wait_and_show(struct reading *r, bool visible)
{
	struct timespec begin, until;
	bool shown = false;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	pthread_mutex_lock(&r->lock);
	while (r->ended < r->n) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TICK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		if (pthread_cond_clockwait(&r->changed, &r->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT && visible) {
			show(r, r->done, seconds_since(&begin));
			shown = true;
		}
	}
	pthread_mutex_unlock(&r->lock);
	if (shown)
		fputs("\r\033[K", stderr);
}

void
inspect_read(TALLOC_CTX *parent, struct inspected *files, size_t n)
{
	enum { THREADS_MAX = 64 };
	struct reading r = { .files = files, .n = n, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t want = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (size_t)cores, started = 0;
	pthread_t threads[THREADS_MAX];
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		files[i].mem = talloc_new(NULL);
		r.has_pipe = r.has_pipe || is_pipe(&files[i]);
		if (!is_pipe(&files[i]) && stat(files[i].path, &st) == 0 && S_ISREG(st.st_mode))
			r.total += (uint64_t)st.st_size;
	}
	while (started < want && started < n && pthread_create(&threads[started], NULL, read_in_turn, &r) == 0)
		started++;
	if (started == 0)
		read_in_turn(&r); /* no thread to be had: then one file after the other */
	wait_and_show(&r, isatty(STDERR_FILENO) && (r.has_pipe || r.total >= WORTH_SHOWING));
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < n; i++)
		talloc_steal(parent, files[i].mem);
}
