#include "common/mssql.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sybfront.h>
#include <sybdb.h>

#include "common/db.h"

/*
 * What FreeTDS 1.3.17 does, tried out, and what follows from it here:
 *  - dbsqlexec returns after the first DONE, which a RESTORE sends after its first "10 percent processed":
 *    every batch is drained with dbresults until NO_MORE_RESULTS; leaving early sends attention and kills it.
 *  - With `tds version = auto` a failed log-in is tried again in TDS 5.0 with the password in clear: 7.4 is pinned.
 *  - `encryption = require` without a CA file takes any certificate: there is always a CA file.
 *  - The time limit handler fires each second of silence. During log-in it must answer INT_CANCEL, or it
 *    loops for ever. After attention it is counted: a server that never acknowledges would block us for good.
 *  - Text of a numeric(25,0) goes through dbconvert, never through a double.
 */

/* uniqueidentifier on the wire (MS-TDS 2.2.5.4); sybdb.h does not name it. */
enum { TYPE_UNIQUE = 36 };

enum { LOGIN_SECONDS = 10, UNACKNOWLEDGED_MS = 60000, ROWS_MAX = 100000, ATTENTION_PATIENCE = 15, CONVERSATIONS_MAX = 512, COLUMNS_MAX = 1024 };

struct mssql {
	DBPROCESS *proc;
	const struct mssql_target *target;
	bool is_open;         /* log-in is through */
	atomic_bool cancel;
	bool attention_sent;
	int silent, limit, after_attention;
	bool timed_out;

	mssql_on_message on_message;
	void *ctx;
	struct mssql_outcome *outcome; /* of the running batch */
	int login_refused;             /* message number */
	char said[480];                /* last thing the library or the server complained about */
};

struct mssql_rows {
	char **names;
	int n_columns;
	size_t n;
	char **values; /* n * n_columns */
};

/* Who is logging in on this thread: db-lib calls the handlers before the connection knows its user data. */
static __thread struct mssql *opening;

/* ---- handlers ------------------------------------------------------------------------------------------- */

static struct mssql *
of_process(DBPROCESS *proc)
{
	struct mssql *ms = proc == NULL ? NULL : (struct mssql *)(void *)dbgetuserdata(proc);

	return ms == NULL ? opening : ms;
}

static int
on_error(DBPROCESS *proc, int severity, int number, int os_error, char *text, char *os_text)
{
	struct mssql *ms = of_process(proc);

	(void)severity;
	if (ms == NULL || !ms->is_open || number != SYBETIME) {
		if (ms != NULL && number != SYBESMSG && number != SYBETIME && ms->login_refused == 0)
			snprintf(ms->said, sizeof(ms->said), "%s%s%s", text == NULL ? "" : text,
			         os_error > 0 && os_text != NULL ? ": " : "", os_error > 0 && os_text != NULL ? os_text : "");
		return INT_CANCEL;
	}
	ms->silent++;
	if (ms->attention_sent)
		return ++ms->after_attention > ATTENTION_PATIENCE ? INT_CANCEL : INT_CONTINUE;
	if (!atomic_load(&ms->cancel) && (ms->limit == 0 || ms->silent < ms->limit))
		return INT_CONTINUE;
	ms->timed_out = ms->limit != 0 && ms->silent >= ms->limit;
	ms->attention_sent = true;
	return INT_TIMEOUT; /* attention; the connection stays usable */
}

static void
note_outcome(struct mssql_outcome *o, int number, int severity, const char *text)
{
	if (number == 3014)
		o->saw_3014 = true;
	if (severity > o->worst_severity)
		o->worst_severity = severity;
	if (severity >= 11 && o->first_error == 0) {
		o->first_error = number;
		snprintf(o->said, sizeof(o->said), "%s", text);
		err_whole_characters(o->said);
	}
}

static int
on_server_message(DBPROCESS *proc, DBINT number, int state, int severity, char *text, char *server, char *procedure, int line)
{
	struct mssql *ms = of_process(proc);
	struct mssql_message m = { (int)number, state, severity, line, text == NULL ? "" : text };

	(void)server;
	(void)procedure;
	if (ms == NULL)
		return 0;
	ms->silent = 0;
	/* 5701, 5703: "changed database context", "changed language": news of the log-in, not of a batch. */
	if (number == 5701 || number == 5703)
		return 0;
	if (!ms->is_open) {
		if (severity >= 11) {
			ms->login_refused = (int)number;
			snprintf(ms->said, sizeof(ms->said), "%s", m.text);
		}
		return 0;
	}
	if (ms->outcome != NULL)
		note_outcome(ms->outcome, (int)number, severity, m.text);
	if (ms->on_message != NULL)
		ms->on_message(ms->ctx, &m);
	if (atomic_load(&ms->cancel) && !ms->attention_sent) {
		ms->attention_sent = true;
		dbcancel(proc);
	}
	return 0;
}

/* ---- set-up ----------------------------------------------------------------------------------------------- */

static void
start_library(void)
{
	dbinit();
	dberrhandle(on_error);
	dbmsghandle(on_server_message);
	dbsetmaxprocs(CONVERSATIONS_MAX);
	dbsetlogintime(LOGIN_SECONDS);
	dbsettime(1);
}

static char *
configuration(TALLOC_CTX *mem, const struct mssql_target *targets, size_t n)
{
	char *text = talloc_strdup(mem, "[global]\n\ttds version = 7.4\n\tencryption = require\n\tcheck certificate hostname = yes\n"
	                                "\tclient charset = UTF-8\n\ttext size = 67108864\n\tconnect timeout = 10\n");

	for (size_t i = 0; i < n; i++)
		text = talloc_asprintf_append(text, "[%s]\n\thost = %s\n\tport = %d\n\tca file = %s\n", targets[i].name, targets[i].host,
		                              targets[i].port, targets[i].ca_file);
	return text;
}

static bool
is_plain(const char *s)
{
	for (; s != NULL && *s != '\0'; s++)
		if (iscntrl((unsigned char)*s) || *s == ']' || *s == '[' || *s == ';' || *s == '#')
			return false;
	return s != NULL;
}

bool
mssql_setup(const char *dir, const struct mssql_target *targets, size_t n, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	TALLOC_CTX *mem = talloc_new(NULL);
	char *path = talloc_asprintf(mem, "%s/freetds.conf", dir), *fresh = talloc_asprintf(mem, "%s.new", path), *text;
	bool good = true;
	int fd;

	for (size_t i = 0; good && i < n; i++)
		if (!is_plain(targets[i].name) || !is_plain(targets[i].host) || !is_plain(targets[i].ca_file))
			good = err_set(err, ERR_OPERATOR, 0, "target %zu: name, host and ca_file must be plain text", i);
	if (good) {
		text = configuration(mem, targets, n);
		fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0;
		if (fd >= 0)
			close(fd);
		if (!good || rename(fresh, path) != 0)
			good = err_errno(err, errno, "%s", path);
	}
	if (good) {
		setenv("FREETDSCONF", path, 1);
		unsetenv("TDSDUMP"); /* would write statements and log-ins to a file */
		unsetenv("TDSVER");
		pthread_once(&once, start_library);
	}
	talloc_free(mem);
	return good;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static int
close_process(struct mssql *ms)
{
	if (ms->proc != NULL)
		dbclose(ms->proc);
	return 0;
}

static bool
say_why_not(const struct mssql *ms, struct err *err)
{
	const struct mssql_target *t = ms->target;

	if (ms->login_refused != 0)
		return err_set(err, ms->login_refused == 18456 || ms->login_refused == 4060 ? ERR_OPERATOR : ERR_AGAIN, ms->login_refused,
		               "%s (%s:%d) refuses the log-in %s: message %d, %s", t->name, t->host, t->port, t->login, ms->login_refused, ms->said);
	return err_set(err, ERR_AGAIN, 0, "%s (%s:%d) cannot be reached over TLS: %s; is it up, and is its certificate for this name and "
	               "signed by %s?", t->name, t->host, t->port, ms->said[0] == '\0' ? "no answer" : ms->said, t->ca_file);
}

struct mssql *
mssql_open(TALLOC_CTX *parent, const struct mssql_target *target, const char *application, const char *database, struct err *err)
{
	struct mssql *ms = talloc_zero(parent, struct mssql);
	char *password = secret_read(ms, target->password_file, err);
	LOGINREC *login;
	bool good;

	if (password == NULL) {
		talloc_free(ms);
		return NULL;
	}
	/* Conversations are handed on and outlive what their callers made up for the opening. */
	ms->target = talloc_memdup(ms, target, sizeof(*target));
	login = dblogin();
	/* 129 bytes and more would log in with an empty password if this went unseen. */
	good = login != NULL && DBSETLUSER(login, target->login) == SUCCEED && DBSETLPWD(login, password) == SUCCEED &&
	       DBSETLAPP(login, application) == SUCCEED && DBSETLCHARSET(login, "UTF-8") == SUCCEED &&
	       DBSETLVERSION(login, DBVERSION_74) == SUCCEED &&
	       DBSETLDBNAME(login, database == NULL ? "master" : database) == SUCCEED;
	if (!good) {
		err_set(err, ERR_OPERATOR, 0, "log-in, password or program name for %s is longer than the protocol allows", target->name);
	} else {
		opening = ms;
		ms->proc = dbopen(login, target->name);
		opening = NULL;
	}
	if (login != NULL)
		dbloginfree(login);
	talloc_free(password);
	if (ms->proc == NULL) {
		if (good)
			say_why_not(ms, err);
		talloc_free(ms);
		return NULL;
	}
	/* FreeTDS asks a silent line after 40 s; a packet of ours that is never acknowledged would wait for TCP's quarter of an hour. */
	setsockopt(DBIORDESC(ms->proc), IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){ UNACKNOWLEDGED_MS }, sizeof(unsigned));
	dbsetuserdata(ms->proc, (BYTE *)(void *)ms);
	ms->is_open = true;
	talloc_set_destructor(ms, close_process);
	return ms;
}

/* ---- values -------------------------------------------------------------------------------------------------- */

static char *
date_text(struct mssql *ms, TALLOC_CTX *mem, int type, const BYTE *data)
{
	DBDATEREC2 d;
	char fraction[16] = "";

	memset(&d, 0, sizeof(d));
	if (dbanydatecrack(ms->proc, &d, type, data) != SUCCEED)
		return talloc_strdup(mem, "");
	if (d.datensecond != 0) {
		snprintf(fraction, sizeof(fraction), ".%07d", d.datensecond / 100);
		for (size_t n = strlen(fraction); n > 1 && fraction[n - 1] == '0'; n--)
			fraction[n - 1] = '\0';
	}
	/* Debian builds FreeTDS compatible with Sybase: months count from 0. */
	if (type == SYBMSDATE)
		return talloc_asprintf(mem, "%04d-%02d-%02d", d.dateyear, d.datemonth + 1, d.datedmonth);
	if (type == SYBMSTIME)
		return talloc_asprintf(mem, "%02d:%02d:%02d%s", d.datehour, d.dateminute, d.datesecond, fraction);
	return talloc_asprintf(mem, "%04d-%02d-%02dT%02d:%02d:%02d%s", d.dateyear, d.datemonth + 1, d.datedmonth, d.datehour, d.dateminute,
	                       d.datesecond, fraction);
}

static char *
binary_text(TALLOC_CTX *mem, const BYTE *data, int len)
{
	char *s = talloc_array(mem, char, (size_t)len * 2 + 3), *p = s + 2;

	memcpy(s, "0x", 3);
	for (int i = 0; i < len; i++, p += 2)
		sprintf(p, "%02X", data[i]);
	return s;
}

static char *
converted(struct mssql *ms, TALLOC_CTX *mem, int type, const BYTE *data, int len)
{
	char buf[512];
	DBINT n = dbconvert(ms->proc, type, data, len, SYBCHAR, (BYTE *)(void *)buf, -1);

	return n < 0 ? talloc_strdup(mem, "") : talloc_strdup(mem, buf);
}

/* The value of the current row as text; NULL for NULL. */
static char *
value_text(struct mssql *ms, TALLOC_CTX *mem, int col)
{
	int type = dbcoltype(ms->proc, col), len = dbdatlen(ms->proc, col);
	const BYTE *data = dbdata(ms->proc, col);
	char *s;

	if (data == NULL)
		return NULL;
	switch (type) {
	case SYBCHAR: case SYBVARCHAR: case SYBTEXT: case SYBNTEXT: case SYBNVARCHAR:
		return talloc_strndup(mem, (const char *)data, (size_t)len);
	case SYBBINARY: case SYBVARBINARY: case SYBIMAGE:
		return binary_text(mem, data, len);
	case SYBDATETIME: case SYBDATETIME4: case SYBMSDATE: case SYBMSTIME: case SYBMSDATETIME2: case SYBMSDATETIMEOFFSET:
		return date_text(ms, mem, type, data);
	case TYPE_UNIQUE:
		s = converted(ms, mem, type, data, len);
		for (char *p = s; *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);
		return s;
	default:
		return converted(ms, mem, type, data, len);
	}
}

/* ---- batches -------------------------------------------------------------------------------------------------- */

static void
begin_batch(struct mssql *ms, struct mssql_outcome *outcome, mssql_on_message on_message, void *ctx)
{
	*outcome = (struct mssql_outcome){ .clean = true };
	ms->outcome = outcome;
	ms->on_message = on_message;
	ms->ctx = ctx;
	ms->silent = ms->after_attention = 0;
	ms->attention_sent = ms->timed_out = false;
	ms->said[0] = '\0';
}

static bool
end_batch(struct mssql *ms, struct err *err)
{
	struct mssql_outcome *o = ms->outcome;

	o->dead = dbdead(ms->proc);
	ms->outcome = NULL;
	ms->on_message = NULL;
	atomic_store(&ms->cancel, false);
	if (o->dead)
		return err_set(err, ERR_AGAIN, 0, "the connection to %s broke: %s", ms->target->name,
		               ms->said[0] == '\0' ? "no word came from there" : ms->said);
	if (ms->timed_out)
		return err_set(err, ERR_AGAIN, 0, "%s said nothing for %d seconds", ms->target->name, ms->limit);
	if (o->first_error != 0)
		return err_set(err, ERR_REFUSED, o->first_error, "%s: %s", ms->target->name, o->said);
	if (ms->attention_sent)
		return err_set(err, ERR_AGAIN, 0, "the statement on %s was cancelled", ms->target->name);
	if (!o->clean)
		return err_set(err, ERR_AGAIN, 0, "%s ended the batch with an error: %s", ms->target->name, ms->said);
	return true;
}

/* Takes a row of the first, second, … result set (from 0) while it wants more of it. */
typedef bool (*take_row)(struct mssql *ms, size_t set, void *ctx);

/* Of the first n_sets result sets the rows are taken. */
static void
drain(struct mssql *ms, const char *sql, size_t n_sets, take_row take, void *ctx)
{
	size_t set = 0;
	RETCODE rc;

	dbfreebuf(ms->proc);
	if (dbcmd(ms->proc, sql) != SUCCEED || dbsqlexec(ms->proc) != SUCCEED)
		ms->outcome->clean = false;
	while (!dbdead(ms->proc) && (rc = dbresults(ms->proc)) != NO_MORE_RESULTS) {
		ms->outcome->clean = rc == SUCCEED;
		if (rc != SUCCEED || dbnumcols(ms->proc) == 0)
			continue;
		while (!dbdead(ms->proc) && (rc = dbnextrow(ms->proc)) != NO_MORE_ROWS && rc != FAIL)
			if (rc == REG_ROW && set < n_sets && !take(ms, set, ctx)) {
				n_sets = 0;
				dbcanquery(ms->proc);
				break;
			}
		set++;
	}
}

struct keeping { struct mssql_rows **rows; size_t room; bool too_many; };

static void
keep_names(struct mssql *ms, struct mssql_rows *rows)
{
	rows->n_columns = dbnumcols(ms->proc);
	rows->names = talloc_array(rows, char *, (size_t)rows->n_columns);
	for (int i = 0; i < rows->n_columns; i++)
		rows->names[i] = talloc_strdup(rows, dbcolname(ms->proc, i + 1));
}

static bool
keep_row(struct mssql *ms, size_t set, void *ctx)
{
	struct keeping *k = ctx;
	struct mssql_rows *r = k->rows[set];

	if (r->names == NULL) {
		keep_names(ms, r);
		k->room = 0;
	}
	if (r->n >= ROWS_MAX) {
		k->too_many = true;
		return false;
	}
	if (r->n == k->room) {
		k->room = k->room == 0 ? 16 : k->room * 2;
		r->values = talloc_realloc(r, r->values, char *, k->room * (size_t)r->n_columns);
	}
	for (int i = 0; i < r->n_columns; i++)
		r->values[r->n * (size_t)r->n_columns + (size_t)i] = value_text(ms, r, i + 1);
	r->n++;
	return true;
}

static bool
run_keeping(struct mssql *ms, TALLOC_CTX *parent, const char *sql, struct mssql_rows **rows, size_t n, struct err *err)
{
	struct keeping k = { .rows = rows };
	bool good;

	for (size_t i = 0; i < n; i++)
		rows[i] = talloc_zero(parent, struct mssql_rows);
	drain(ms, sql, n, keep_row, &k);
	good = end_batch(ms, err);
	return good && k.too_many ? err_set(err, ERR_BROKEN, 0, "%s answered with more than %d rows", ms->target->name, ROWS_MAX) : good;
}

bool
mssql_run(struct mssql *ms, TALLOC_CTX *parent, const char *sql, struct mssql_rows **rows, struct mssql_outcome *outcome,
          mssql_on_message on_message, void *ctx, struct err *err)
{
	struct mssql_outcome own, *o = outcome == NULL ? &own : outcome;

	begin_batch(ms, o, on_message, ctx);
	return run_keeping(ms, parent, sql, rows, rows == NULL ? 0 : 1, err);
}

bool
mssql_ask(struct mssql *ms, TALLOC_CTX *parent, const char *sql, struct mssql_rows **rows, size_t n, struct err *err)
{
	struct mssql_outcome o;

	begin_batch(ms, &o, NULL, NULL);
	return run_keeping(ms, parent, sql, rows, n, err);
}

struct streaming { mssql_on_row on_row; void *ctx; bool stopped; };

static bool
stream_row(struct mssql *ms, size_t set, void *ctx)
{
	struct streaming *s = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	int n = dbnumcols(ms->proc);
	char *values[COLUMNS_MAX];
	size_t lengths[COLUMNS_MAX];
	bool more;

	(void)set;
	for (int i = 0; i < n && i < COLUMNS_MAX; i++) {
		values[i] = value_text(ms, mem, i + 1);
		lengths[i] = values[i] == NULL ? 0 : strlen(values[i]);
	}
	more = n <= COLUMNS_MAX && s->on_row(s->ctx, n, (const char *const *)values, lengths);
	s->stopped = !more;
	talloc_free(mem);
	return more;
}

bool
mssql_stream(struct mssql *ms, const char *sql, mssql_on_row on_row, void *ctx, struct err *err)
{
	struct mssql_outcome o;
	struct streaming s = { on_row, ctx, false };

	begin_batch(ms, &o, NULL, NULL);
	drain(ms, sql, 1, stream_row, &s);
	return end_batch(ms, err) && !s.stopped ? true : s.stopped ? err_set(err, ERR_BROKEN, 0, "reading from %s was stopped",
		ms->target->name) : false;
}

void
mssql_limit(struct mssql *ms, int seconds)
{
	ms->limit = seconds;
}

void
mssql_cancel(struct mssql *ms)
{
	atomic_store(&ms->cancel, true);
}

bool
mssql_is_dead(const struct mssql *ms)
{
	return dbdead(ms->proc);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

size_t
mssql_rows_count(const struct mssql_rows *rows)
{
	return rows == NULL ? 0 : rows->n;
}

int
mssql_rows_columns(const struct mssql_rows *rows)
{
	return rows == NULL ? 0 : rows->n_columns;
}

const char *
mssql_rows_name(const struct mssql_rows *rows, int col)
{
	return col >= 0 && col < rows->n_columns ? rows->names[col] : NULL;
}

int
mssql_rows_column(const struct mssql_rows *rows, const char *name)
{
	for (int i = 0; rows != NULL && i < rows->n_columns; i++)
		if (strcasecmp(rows->names[i], name) == 0)
			return i;
	return -1;
}

const char *
mssql_rows_value(const struct mssql_rows *rows, size_t row, int col)
{
	if (rows == NULL || row >= rows->n || col < 0 || col >= rows->n_columns)
		return NULL;
	return rows->values[row * (size_t)rows->n_columns + (size_t)col];
}

const char *
mssql_rows_named(const struct mssql_rows *rows, size_t row, const char *name)
{
	return mssql_rows_value(rows, row, mssql_rows_column(rows, name));
}

const char *
mssql_rows_text(const struct mssql_rows *rows, size_t row, const char *name)
{
	const char *v = mssql_rows_named(rows, row, name);

	return v == NULL ? "" : v;
}
