#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

enum { FIELDS_MAX = 16, VALUE_MAX = 512, LINE_MAX_BYTES = 4096 };

static const char *program = "landfall";
static bool to_journal, debug_on;
static void (*other_sink)(void *, enum log_level, const char *);
static void *other_ctx;

void
log_begin(const char *name)
{
	program = name;
	to_journal = getenv("JOURNAL_STREAM") != NULL && getenv("INVOCATION_ID") != NULL;
	debug_on = getenv("LANDFALL_DEBUG") != NULL;
	setvbuf(stderr, NULL, _IOLBF, 0);
}

void
log_to(void (*sink)(void *, enum log_level, const char *), void *ctx)
{
	other_sink = sink;
	other_ctx = ctx;
}

static void
append(char *line, size_t *at, const char *text)
{
	size_t n = strlen(text), room = LINE_MAX_BYTES - 1 - *at;

	if (n > room)
		n = room;
	memcpy(line + *at, text, n);
	*at += n;
	line[*at] = '\0';
}

static void
format_line(char *line, enum log_level level, const char *message, va_list ap, bool with_time)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char stamp[40], value[VALUE_MAX * 4 + 8];
	size_t at = 0;
	const char *name, *raw;
	struct timespec now;
	struct tm tm;

	line[0] = '\0';
	if (with_time) {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
		append(line, &at, stamp);
		snprintf(stamp, sizeof(stamp), ".%03ldZ ", now.tv_nsec / 1000000);
		append(line, &at, stamp);
		append(line, &at, names[level]);
		append(line, &at, " ");
		append(line, &at, program);
		append(line, &at, ": ");
	}
	append(line, &at, message);
	while ((name = va_arg(ap, const char *)) != NULL) {
		raw = va_arg(ap, const char *);
		text_escape(value, sizeof(value), raw == NULL ? "" : raw, VALUE_MAX);
		append(line, &at, " ");
		append(line, &at, name);
		append(line, &at, "=\"");
		append(line, &at, value);
		append(line, &at, "\"");
	}
}

static void
send_to_journal(enum log_level level, const char *message, va_list ap)
{
	static const int priority[] = { 3, 4, 6, 7 };
	struct iovec iov[FIELDS_MAX + 3];
	char *made[FIELDS_MAX + 3];
	int n = 0;
	const char *name, *raw;
	char value[VALUE_MAX * 4 + 8], upper[40];

	if (asprintf(&made[n], "MESSAGE=%s", message) < 0)
		return;
	n++;
	if (asprintf(&made[n], "PRIORITY=%d", priority[level]) >= 0)
		n++;
	if (asprintf(&made[n], "SYSLOG_IDENTIFIER=%s", program) >= 0)
		n++;
	while (n < FIELDS_MAX + 3 && (name = va_arg(ap, const char *)) != NULL) {
		raw = va_arg(ap, const char *);
		text_escape(value, sizeof(value), raw == NULL ? "" : raw, VALUE_MAX);
		snprintf(upper, sizeof(upper), "%s", name);
		for (char *p = upper; *p != '\0'; p++)
			*p = (char)((*p >= 'a' && *p <= 'z') ? *p - 32 : *p);
		if (asprintf(&made[n], "LANDFALL_%s=%s", upper, value) >= 0)
			n++;
	}
	for (int i = 0; i < n; i++)
		iov[i] = (struct iovec){ .iov_base = made[i], .iov_len = strlen(made[i]) };
	sd_journal_sendv(iov, n);
	for (int i = 0; i < n; i++)
		free(made[i]);
}

static void
say(enum log_level level, const char *message, va_list ap)
{
	char line[LINE_MAX_BYTES + 1];
	size_t n;

	if (level == LOG_LEVEL_DEBUG && !debug_on)
		return;
	if (other_sink != NULL) {
		format_line(line, level, message, ap, false);
		other_sink(other_ctx, level, line);
		return;
	}
	if (to_journal) {
		send_to_journal(level, message, ap);
		return;
	}
	format_line(line, level, message, ap, true);
	n = strlen(line);
	line[n++] = '\n';
	/* One write, so that lines of several threads and processes never mix. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

#define LEVEL(fn, level)                                                                                     \
	void fn(const char *message, ...)                                                                    \
	{                                                                                                    \
		va_list ap;                                                                                  \
		va_start(ap, message);                                                                       \
		say(level, message, ap);                                                                     \
		va_end(ap);                                                                                  \
	}
LEVEL(log_error, LOG_LEVEL_ERROR)
LEVEL(log_warning, LOG_LEVEL_WARNING)
LEVEL(log_info, LOG_LEVEL_INFO)
LEVEL(log_debug, LOG_LEVEL_DEBUG)
