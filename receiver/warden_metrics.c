#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/kernel.h"
#include "common/log.h"
#include "common/text.h"
#include "receiver/warden_parts.h"

/*
 * The receiver faces the internet, so it opens no second listener for its metrics: they go to a file, for the textfile
 * collector of Prometheus's node_exporter, which tells the file's age as well. A clean end takes it away.
 */
enum { METRICS_SECONDS = 5, STALLED_SECONDS = 10 /* as `landfall upload list` has it */ };

static void
look_at_sessions(struct warden *w, double *v)
{
	v[METRIC_SESSIONS_STRANGERS] = v[METRIC_SESSIONS_IN] = v[METRIC_SESSIONS_READERS] = 0;
	for (const struct session *s = w->sessions; s != NULL; s = s->next)
		if (s->pair >= 0)
			v[s->reading != 0 ? METRIC_SESSIONS_READERS : s->is_in ? METRIC_SESSIONS_IN : METRIC_SESSIONS_STRANGERS]++;
}

static void
look_at_uploads(struct warden *w, double *v)
{
	int64_t now = steady_seconds();

	v[METRIC_UPLOADS_NOW] = v[METRIC_UPLOADS_STALLED] = 0;
	for (const struct area *a = w->areas.first; a != NULL; a = a->next)
		for (const struct file *f = LIST_FIRST(&a->busy); f != NULL; f = LIST_NEXT(f, of_busy))
			if (f->state == FILE_RECEIVING && f->writer != 0) {
				v[METRIC_UPLOADS_NOW]++;
				v[METRIC_UPLOADS_STALLED] += now - f->moved_at >= STALLED_SECONDS;
			}
}

static void
look_at_disk(struct warden *w, double *v)
{
	struct journal_counts j;
	struct statvfs fs;
	bool is_up;

	journal_count(w->journal, &j);
	v[METRIC_JOURNAL_RECORDS] = (double)j.records;
	v[METRIC_JOURNAL_BYTES] = (double)j.bytes;
	v[METRIC_JOURNAL_FLUSHES] = (double)j.groups;
	v[METRIC_JOURNAL_SECONDS] = (double)j.ns / 1e9;
	v[METRIC_JOURNAL_FAILURES] = (double)j.failures;
	v[METRIC_JOURNAL_SIZE] = (double)j.length;
	v[METRIC_FEED_WAITING] = (double)feed_waiting(w->feed, &is_up);
	v[METRIC_POSTGRES_UP] = is_up;
	if (statvfs(w->config->receiver.spool, &fs) == 0) {
		v[METRIC_SPOOL_FREE] = (double)fs.f_bavail * (double)fs.f_frsize;
		v[METRIC_SPOOL_SIZE] = (double)fs.f_blocks * (double)fs.f_frsize;
		v[METRIC_SPOOL_FILES_FREE] = (double)fs.f_favail;
	}
}

/* What systemctl status shows. At its end it says something else. */
static void
say_status(struct warden *w, const double *v)
{
	double seconds = (double)(steady_seconds() - w->metrics_at), received = v[METRIC_RECEIVED_BYTES] - w->received_before;

	w->received_before = v[METRIC_RECEIVED_BYTES];
	if (!w->ends)
		sd_notifyf(0, "STATUS=%.0f sessions, %.0f uploads, %s/s", v[METRIC_SESSIONS_IN], v[METRIC_UPLOADS_NOW],
		           text_size((uint64_t)(received / seconds)).s);
}

/* Whoever reads it sees the old one or the new one, whole; of a power failure it need not survive. */
static bool
write_metrics(const char *path, const char *text)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	size_t len = strlen(text);
	bool good = fd >= 0 && write(fd, text, len) == (ssize_t)len && fchmod(fd, 0644) == 0 && rename(fresh, path) == 0;
	int why = errno;

	if (fd >= 0)
		close(fd);
	talloc_free(fresh);
	errno = why;
	return good;
}

void
metrics_begin(struct warden *w)
{
	w->metrics[METRIC_START_TIME] = (double)now_seconds();
	w->metrics[METRIC_LANDLOCK] = kernel_landlock() > 0;
}

void
metrics_tick(struct warden *w)
{
	const char *path = w->config->receiver.metrics_file;
	char *text;

	if (w->metrics_at != 0 && steady_seconds() - w->metrics_at < METRICS_SECONDS)
		return;
	look_at_sessions(w, w->metrics);
	look_at_uploads(w, w->metrics);
	say_status(w, w->metrics);
	w->metrics_at = steady_seconds();
	if (path == NULL)
		return;
	look_at_disk(w, w->metrics);
	text = metrics_text(NULL, w->metrics);
	if (write_metrics(path, text)) {
		w->metrics_fail = false;
	} else if (!w->metrics_fail) {
		w->metrics_fail = true; /* said once, until it works again */
		log_warning("the metrics cannot be written", "file", path, "error", strerror(errno), NULL);
	}
	talloc_free(text);
}

void
metrics_end(struct warden *w)
{
	if (w->config->receiver.metrics_file != NULL)
		unlink(w->config->receiver.metrics_file);
}
