#include "tests/standin/statement_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "tests/standin/tsql_lex.h"

struct statement_log {
	int fd;
	pthread_mutex_t lock;
	uint64_t next_id; /* starts at the clock's microseconds, so ids do not repeat after a restart */
};

static int
log_free(struct statement_log *log)
{
	close(log->fd);
	pthread_mutex_destroy(&log->lock);
	return 0;
}

struct statement_log *
statement_log_open(TALLOC_CTX *parent, const char *path, struct err *err)
{
	struct statement_log *log;
	struct timespec now;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0) {
		err_errno(err, errno, "statement log %s", path);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	log = talloc_zero(parent, struct statement_log);
	log->fd = fd;
	log->next_id = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	pthread_mutex_init(&log->lock, NULL);
	talloc_set_destructor(log, log_free);
	return log;
}

static json_t *
stamp(void)
{
	char text[40];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%06ldZ", now.tv_nsec / 1000);
	return json_string(text);
}

/* One write per line: O_APPEND keeps lines of several threads apart. */
static bool
append(struct statement_log *log, json_t *line, bool force, struct err *err)
{
	char *text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
	size_t len = text == NULL ? 0 : strlen(text);
	bool ok = text != NULL;

	json_decref(line);
	if (!ok)
		return err_set(err, ERR_BUG, 0, "statement log: a line is no JSON");
	text[len] = '\n'; /* in the place of the NUL; len + 1 bytes are written */
	if (write(log->fd, text, len + 1) != (ssize_t)len + 1)
		ok = err_errno(err, errno, "writing the statement log");
	else if (force && fdatasync(log->fd) != 0)
		ok = err_errno(err, errno, "forcing the statement log to disk");
	free(text);
	return ok;
}

/* SELECT and SET, and the RESTOREs that only look: none of the words by which a statement changes something, whatever else is in the batch. */
static bool
only_reads(const char *batch)
{
	static const char *const changing[] = { "INTO", "BACKUP", "CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "EXEC", "EXECUTE",
		"GRANT", "DENY", "REVOKE", "ADD", "KILL", "ENABLE", "DISABLE", "BEGIN", "COMMIT", "ROLLBACK", "SAVE", "DBCC", "SHUTDOWN", "USE" };
	static const char *const looking[] = { "HEADERONLY", "FILELISTONLY", "LABELONLY" };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tsql_tokens all;
	struct err err = { 0 };
	bool reads = tsql_lex(mem, batch, &all, &err) && all.n > 1 &&
	             (tsql_is_word(&all.at[0], "SELECT") || tsql_is_word(&all.at[0], "SET") || tsql_is_word(&all.at[0], "RESTORE"));

	for (size_t i = 0; reads && i < all.n; i++) {
		for (size_t k = 0; reads && k < sizeof(changing) / sizeof(changing[0]); k++)
			reads = !tsql_is_word(&all.at[i], changing[k]);
		if (reads && tsql_is_word(&all.at[i], "RESTORE")) {
			reads = false;
			for (size_t k = 0; !reads && i + 1 < all.n && k < sizeof(looking) / sizeof(looking[0]); k++)
				reads = tsql_is_word(&all.at[i + 1], looking[k]);
		}
	}
	talloc_free(mem);
	return reads;
}

uint64_t
statement_log_begin(struct statement_log *log, const struct statement *s, struct err *err)
{
	char *text = tsql_without_passwords(NULL, s->text);
	json_t *line = json_object();
	uint64_t id;

	pthread_mutex_lock(&log->lock);
	id = log->next_id++;
	pthread_mutex_unlock(&log->lock);
	json_object_set_new(line, "at", stamp());
	json_object_set_new(line, "id", json_integer((json_int_t)id));
	json_object_set_new(line, "session", json_integer(s->session));
	json_object_set_new(line, "program", json_string(s->program));
	json_object_set_new(line, "login", json_string(s->login));
	json_object_set_new(line, "database", json_string(s->database));
	json_object_set_new(line, "text", json_string(text));
	talloc_free(text);
	/* No real server writes to its disk for a question. */
	return append(log, line, !only_reads(s->text), err) ? id : 0;
}

void
statement_log_end(struct statement_log *log, uint64_t id, int first_error, int last_note)
{
	json_t *line = json_object();
	struct err err = { 0 };

	json_object_set_new(line, "at", stamp());
	json_object_set_new(line, "id", json_integer((json_int_t)id));
	json_object_set_new(line, "error", json_integer(first_error));
	json_object_set_new(line, "said", json_integer(last_note));
	/* The outcome is a comfort: what counts was written before. */
	append(log, line, false, &err);
}
