#include "common/db.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "common/log.h"

enum { CHANNELS_MAX = 8, RECONNECT_MS = 1000, KNOWN_MAX = 128, PREPARE_AT = 2 };

/* A question that was asked on this connection. Found by the address of its text, which is a literal nearly always. */
struct known {
	const char *at;
	char *text;
	int asked;
	bool prepared;
	char name[16];
};

struct db {
	char *host, *port, *database, *user, *password_file, *application;
	PGconn *conn;
	bool in_transaction, broken_transaction;
	bool came_back; /* since the last wake-up was looked for */
	bool woken;
	int64_t next_try_ms;
	char channels[CHANNELS_MAX][40];
	size_t n_channels;
	struct known *known; /* of this connection, n_known of KNOWN_MAX */
	size_t n_known;
	unsigned prepared;   /* so many had a name */
};

struct rows {
	PGresult *res;
};

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
forget_known(struct db *db)
{
	talloc_free(db->known);
	db->known = NULL;
	db->n_known = 0;
}

static void
drop(struct db *db)
{
	if (db->conn != NULL)
		PQfinish(db->conn);
	db->conn = NULL;
	forget_known(db);
	if (db->in_transaction)
		db->broken_transaction = true;
}

static int
db_close(struct db *db)
{
	drop(db);
	return 0;
}

struct db *
db_new(TALLOC_CTX *parent, const struct db_where *where)
{
	struct db *db = talloc_zero(parent, struct db);

	db->host = talloc_strdup(db, where->host);
	db->port = talloc_asprintf(db, "%d", where->port == 0 ? 5432 : where->port);
	db->database = talloc_strdup(db, where->database);
	db->user = where->user == NULL ? NULL : talloc_strdup(db, where->user);
	db->password_file = where->password_file == NULL ? NULL : talloc_strdup(db, where->password_file);
	db->application = talloc_strdup(db, where->application == NULL ? "landfall" : where->application);
	talloc_set_destructor(db, db_close);
	return db;
}

/* libpq ends its messages with a newline and may put several lines in one. */
static const char *
one_line(char *buf, size_t size, const char *message)
{
	size_t n;

	snprintf(buf, size, "%s", message);
	for (n = strlen(buf); n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' '); n--)
		buf[n - 1] = '\0';
	for (char *p = buf; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	return buf;
}

/*
 * What goes wrong with a statement, by SQLSTATE class: 08, 57 and 53 are the server's trouble, 40 is
 * serialisation and deadlock, 55 a lock not available; 22, 23 and 42501 say no to us; anything else is
 * a wrong statement.
 */
static bool
fail_of(struct db *db, PGresult *res, struct err *err)
{
	const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
	char text[400];

	one_line(text, sizeof(text), res == NULL ? PQerrorMessage(db->conn) : PQresultErrorMessage(res));
	if (state == NULL || PQstatus(db->conn) == CONNECTION_BAD) {
		drop(db);
		return err_set(err, ERR_AGAIN, 0, "postgres: %s", text);
	}
	if (strncmp(state, "08", 2) == 0 || strncmp(state, "57", 2) == 0 || strncmp(state, "53", 2) == 0 ||
	    strncmp(state, "40", 2) == 0 || strncmp(state, "55", 2) == 0)
		return err_set(err, ERR_AGAIN, 0, "postgres: %s", text);
	if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strcmp(state, "42501") == 0)
		return err_set(err, ERR_REFUSED, 0, "postgres: %s", text);
	return err_set(err, ERR_BUG, 0, "postgres, %s: %s", state, text);
}

static void
quiet(void *ctx, const PGresult *res)
{
	(void)ctx;
	(void)res;
}

static bool
wait_for(struct db *db, bool to_write, int64_t deadline)
{
	struct pollfd p = { .fd = PQsocket(db->conn), .events = to_write ? POLLOUT : POLLIN };
	int64_t left = deadline - now_ms();

	if (left <= 0)
		return false;
	return poll(&p, 1, (int)left) > 0 || (errno == EINTR && now_ms() < deadline);
}

/* PQconnectdb's own time-out does not cover a server that accepts and then says nothing. */
static bool
finish_connecting(struct db *db, struct err *err)
{
	int64_t deadline = now_ms() + DB_CONNECT_SECONDS * 1000;
	PostgresPollingStatusType s = PGRES_POLLING_WRITING;

	while (s != PGRES_POLLING_OK) {
		if (s == PGRES_POLLING_FAILED || !wait_for(db, s == PGRES_POLLING_WRITING, deadline)) {
			char text[300];

			one_line(text, sizeof(text), PQerrorMessage(db->conn));
			drop(db);
			return err_set(err, ERR_AGAIN, 0, "postgres at %s:%s does not let us in: %s", db->host, db->port,
			               text[0] == '\0' ? "no answer in time" : text);
		}
		s = PQconnectPoll(db->conn);
	}
	return true;
}

static bool run_plain(struct db *db, const char *sql, struct err *err);

static bool
listen_again(struct db *db, struct err *err)
{
	char sql[64];

	for (size_t i = 0; i < db->n_channels; i++) {
		snprintf(sql, sizeof(sql), "LISTEN %s", db->channels[i]);
		if (!run_plain(db, sql, err))
			return false;
	}
	return true;
}

bool
db_connect(struct db *db, struct err *err)
{
	const char *names[12] = { "host", "port", "dbname", "application_name", "keepalives_idle",
		                  "keepalives_interval", "keepalives_count", "client_encoding", "user" };
	const char *values[12] = { db->host, db->port, db->database, db->application, "10", "5", "3", "UTF8",
		                   db->user };
	char *password = NULL;
	int n = db->user == NULL ? 8 : 9;

	if (db->conn != NULL && PQstatus(db->conn) == CONNECTION_OK)
		return true;
	if (now_ms() < db->next_try_ms)
		return err_set(err, ERR_AGAIN, 0, "postgres at %s:%s is away", db->host, db->port);
	db->next_try_ms = now_ms() + RECONNECT_MS;
	drop(db);
	if (db->password_file != NULL) {
		if ((password = secret_read(db, db->password_file, err)) == NULL)
			return false;
		names[n] = "password";
		values[n++] = password;
	}
	names[n] = values[n] = NULL;
	db->conn = PQconnectStartParams(names, values, 0);
	talloc_free(password);
	if (db->conn == NULL)
		return err_set(err, ERR_AGAIN, ENOMEM, "no memory for a connection to postgres");
	PQsetNoticeReceiver(db->conn, quiet, NULL);
	if (PQstatus(db->conn) == CONNECTION_BAD) {
		char text[300];

		one_line(text, sizeof(text), PQerrorMessage(db->conn));
		drop(db);
		return err_set(err, ERR_AGAIN, 0, "postgres at %s:%s: %s", db->host, db->port, text);
	}
	if (!finish_connecting(db, err))
		return false;
	db->came_back = true;
	return listen_again(db, err);
}

static void
take_notifies(struct db *db)
{
	PGnotify *n;

	while ((n = PQnotifies(db->conn)) != NULL) {
		db->woken = true;
		PQfreemem(n);
	}
}

/* The last result of what was sent, read with a deadline; NULL with err set when there is none. */
static PGresult *
collect(struct db *db, int64_t deadline, struct err *err)
{
	PGresult *res, *last = NULL;
	int flushed;

	while ((flushed = PQflush(db->conn)) == 1)
		if (!wait_for(db, true, deadline))
			goto late;
	for (;;) {
		while (flushed == 0 && PQisBusy(db->conn)) {
			if (!wait_for(db, false, deadline))
				goto late;
			if (!PQconsumeInput(db->conn))
				break;
		}
		if ((res = PQgetResult(db->conn)) == NULL)
			break;
		if (last != NULL)
			PQclear(last);
		last = res;
	}
	take_notifies(db);
	if (last == NULL)
		fail_of(db, NULL, err);
	return last;
late:
	if (last != NULL)
		PQclear(last);
	drop(db);
	err_set(err, ERR_AGAIN, ETIMEDOUT, "postgres at %s:%s gave no answer in time", db->host, db->port);
	return NULL;
}

static bool
is_good(const PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);

	return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK || s == PGRES_EMPTY_QUERY;
}

static bool
run_for(struct db *db, const char *sql, int64_t deadline, struct err *err)
{
	PGresult *res;
	bool good;

	if (!PQsendQuery(db->conn, sql))
		return fail_of(db, NULL, err);
	if ((res = collect(db, deadline, err)) == NULL)
		return false;
	good = is_good(res);
	if (!good)
		fail_of(db, res, err);
	PQclear(res);
	return good;
}

static bool
run_plain(struct db *db, const char *sql, struct err *err)
{
	return run_for(db, sql, now_ms() + DB_ASK_SECONDS * 1000, err);
}

static int
rows_free(struct rows *rows)
{
	PQclear(rows->res);
	return 0;
}

/* NULL: there is no room for more. */
static struct known *
known_of(struct db *db, const char *sql)
{
	struct known *k = db->known;
	size_t i = 0;

	if (k == NULL)
		k = db->known = talloc_zero_array(db, struct known, KNOWN_MAX);
	while (i < db->n_known && k[i].at != sql)
		i++;
	if (i == KNOWN_MAX)
		return NULL;
	if (i < db->n_known && strcmp(k[i].text, sql) == 0)
		return &k[i];
	/* New, or another text where one was that is gone. */
	talloc_free(k[i].text);
	k[i] = (struct known){ .at = sql, .text = talloc_strdup(k, sql) };
	if (i == db->n_known)
		db->n_known++;
	return &k[i];
}

/* The answer to one question; NULL with err set when none came. */
static PGresult *
answer(struct db *db, const char *sql, size_t n_params, const char *const *params, bool often, struct err *err)
{
	struct known *k = often ? known_of(db, sql) : NULL;
	int64_t deadline = now_ms() + DB_ASK_SECONDS * 1000;
	PGresult *res;

	if (k != NULL && ++k->asked >= PREPARE_AT && !k->prepared) {
		snprintf(k->name, sizeof(k->name), "q%u", db->prepared++);
		if (!PQsendPrepare(db->conn, k->name, sql, (int)n_params, NULL)) {
			fail_of(db, NULL, err);
			return NULL;
		}
		if ((res = collect(db, deadline, err)) == NULL || !is_good(res))
			return res;
		PQclear(res);
		k->prepared = true;
	}
	if (k != NULL && k->prepared ? !PQsendQueryPrepared(db->conn, k->name, (int)n_params, params, NULL, NULL, 0)
	                             : !PQsendQueryParams(db->conn, sql, (int)n_params, NULL, params, NULL, NULL, 0)) {
		fail_of(db, NULL, err);
		return NULL;
	}
	return collect(db, deadline, err);
}

/* The tables are others than when it was planned, or somebody dropped what was prepared (DISCARD). */
static bool
is_outdated(const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return state != NULL && (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0);
}

static bool
ask(struct db *db, TALLOC_CTX *parent, struct rows **rows, struct err *err, const char *sql, size_t n_params, const char *const *params,
    bool often)
{
	PGresult *res;

	if (db->broken_transaction)
		return err_set(err, ERR_AGAIN, 0, "the connection to postgres was lost inside a transaction");
	if (n_params > DB_PARAMS_MAX)
		return err_set(err, ERR_BUG, 0, "%zu parameters are more than the door takes", n_params);
	if (!db_connect(db, err))
		return false;
	if ((res = answer(db, sql, n_params, params, often, err)) == NULL)
		return false;
	if (is_outdated(res) && db->n_known > 0) {
		forget_known(db);
		if (!db->in_transaction) {
			PQclear(res);
			if ((res = answer(db, sql, n_params, params, false, err)) == NULL)
				return false;
		}
	}
	if (!is_good(res)) {
		fail_of(db, res, err);
		PQclear(res);
		return false;
	}
	if (rows == NULL) {
		PQclear(res);
		return true;
	}
	*rows = talloc(parent, struct rows);
	(*rows)->res = res;
	talloc_set_destructor(*rows, rows_free);
	return true;
}

bool
db_ask(struct db *db, TALLOC_CTX *parent, struct rows **rows, struct err *err, const char *sql,
       size_t n_params, const char *const *params)
{
	return ask(db, parent, rows, err, sql, n_params, params, false);
}

bool
db_ask_often(struct db *db, TALLOC_CTX *parent, struct rows **rows, struct err *err, const char *sql,
             size_t n_params, const char *const *params)
{
	return ask(db, parent, rows, err, sql, n_params, params, true);
}

size_t
rows_count(const struct rows *rows)
{
	return (size_t)PQntuples(rows->res);
}

bool
rows_is_null(const struct rows *rows, size_t row, int col)
{
	return PQgetisnull(rows->res, (int)row, col) != 0;
}

const char *
rows_text(const struct rows *rows, size_t row, int col)
{
	return PQgetvalue(rows->res, (int)row, col);
}

const char *
rows_text_or_null(const struct rows *rows, size_t row, int col)
{
	return rows_is_null(rows, row, col) ? NULL : rows_text(rows, row, col);
}

int64_t
rows_int(const struct rows *rows, size_t row, int col)
{
	return strtoll(rows_text(rows, row, col), NULL, 10);
}

bool
rows_bool(const struct rows *rows, size_t row, int col)
{
	return rows_text(rows, row, col)[0] == 't';
}

int
rows_affected(const struct rows *rows)
{
	return atoi(PQcmdTuples(rows->res));
}

bool
db_begin(struct db *db, struct err *err)
{
	db_rollback(db);
	if (!db_connect(db, err) || !run_plain(db, "BEGIN", err))
		return false;
	db->in_transaction = true;
	return true;
}

bool
db_commit(struct db *db, struct err *err)
{
	PGTransactionStatusType status;

	if (db->broken_transaction || db->conn == NULL) {
		db_rollback(db);
		return err_set(err, ERR_AGAIN, 0, "the connection to postgres was lost inside a transaction");
	}
	/* COMMIT of a failed transaction answers ROLLBACK without an error. */
	status = PQtransactionStatus(db->conn);
	if (status != PQTRANS_INTRANS) {
		db_rollback(db);
		return err_set(err, ERR_AGAIN, 0, "the transaction had failed before its commit");
	}
	if (!run_plain(db, "COMMIT", err)) {
		db_rollback(db);
		return false;
	}
	db->in_transaction = false;
	return true;
}

void
db_rollback(struct db *db)
{
	struct err ignored;

	if (db->conn != NULL && db->in_transaction && PQtransactionStatus(db->conn) != PQTRANS_IDLE)
		run_plain(db, "ROLLBACK", &ignored);
	db->in_transaction = db->broken_transaction = false;
}

bool
db_script(struct db *db, const char *sql, struct err *err)
{
	if (db->broken_transaction)
		return err_set(err, ERR_AGAIN, 0, "the connection to postgres was lost inside a transaction");
	if (!db_connect(db, err))
		return false;
	return run_for(db, sql, now_ms() + INT64_C(3600000), err);
}

bool
db_listen(struct db *db, const char *channel, struct err *err)
{
	char sql[64];

	if (db->n_channels == CHANNELS_MAX || strlen(channel) >= sizeof(db->channels[0]))
		return err_set(err, ERR_BUG, 0, "cannot listen to %s", channel);
	strcpy(db->channels[db->n_channels++], channel);
	if (db->conn == NULL)
		return db_connect(db, err); /* which listens to all of them */
	snprintf(sql, sizeof(sql), "LISTEN %s", channel);
	return run_plain(db, sql, err);
}

int
db_fd(const struct db *db)
{
	return db->conn == NULL ? -1 : PQsocket(db->conn);
}

bool
db_notified(struct db *db)
{
	bool woken;

	if (db->conn != NULL && !PQconsumeInput(db->conn))
		drop(db);
	if (db->conn != NULL)
		take_notifies(db);
	woken = db->woken || db->came_back;
	db->woken = db->came_back = false;
	return woken;
}

bool
db_wait(struct db *db, int timeout_ms, int wake_fd, bool *woken, struct err *err)
{
	struct pollfd p[2] = { { .fd = wake_fd, .events = POLLIN } };
	nfds_t n = 1;
	bool there = db_connect(db, err);

	*woken = false;
	if (there) {
		if (db_notified(db)) {
			*woken = true;
			return true;
		}
		p[n++] = (struct pollfd){ .fd = db_fd(db), .events = POLLIN };
	}
	poll(p, n, timeout_ms);
	if (there)
		*woken = db_notified(db);
	return there;
}

const char *
db_int(TALLOC_CTX *parent, int64_t v)
{
	return talloc_asprintf(parent, "%lld", (long long)v);
}

const char *
db_bool(bool v)
{
	return v ? "t" : "f";
}

const char *
db_text_array(TALLOC_CTX *parent, const char *const *items, size_t n)
{
	char *out = talloc_strdup(parent, "{");

	for (size_t i = 0; i < n; i++) {
		out = talloc_strdup_append_buffer(out, i == 0 ? "\"" : ",\"");
		for (const char *p = items[i]; *p != '\0'; p++) {
			const char piece[3] = { *p == '"' || *p == '\\' ? '\\' : *p, *p == '"' || *p == '\\' ? *p : '\0' };

			out = talloc_strdup_append_buffer(out, piece);
		}
		out = talloc_strdup_append_buffer(out, "\"");
	}
	return talloc_strdup_append_buffer(out, "}");
}

static int
wipe(char *secret)
{
	explicit_bzero(secret, talloc_get_size(secret));
	return 0;
}

char *
secret_read(TALLOC_CTX *parent, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *secret;
	struct stat st;
	ssize_t n;

	if (fd < 0) {
		err_errno(err, errno, "the secret file %s", path);
		return NULL;
	}
	if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0) {
		close(fd);
		err_set(err, ERR_OPERATOR, 0, "the secret file %s may be read by others; chmod 600 it", path);
		return NULL;
	}
	secret = talloc_zero_size(parent, 1024);
	talloc_set_name_const(secret, "char");
	talloc_set_destructor(secret, wipe);
	n = read(fd, secret, 1023);
	close(fd);
	if (n <= 0) {
		talloc_free(secret);
		err_set(err, ERR_OPERATOR, 0, "the secret file %s is empty", path);
		return NULL;
	}
	secret[strcspn(secret, "\r\n")] = '\0';
	return secret;
}
