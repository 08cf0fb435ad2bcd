/* Landfall's own door to SQL Server (db-lib) against the stand-in over TLS, whatever shape the answers have. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mssql.h"
#include "tests/standin/session.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct server server;
static struct mssql_target target = { .name = "S", .host = "127.0.0.1", .login = "sa" };
static char dir[64], paths[4][128];

static char *
text(const char *fmt, ...)
{
	static char s[4][1024];
	static int n;
	va_list ap;

	n = (n + 1) % 4;
	va_start(ap, fmt);
	vsnprintf(s[n], sizeof(s[n]), fmt, ap);
	va_end(ap);
	return s[n];
}

/* ---- the server -------------------------------------------------------------------------------------------- */

static void *
serve(void *ctx)
{
	session_serve(&server, (int)(intptr_t)ctx, 51);
	return NULL;
}

static void *
accept_all(void *ctx)
{
	for (;;) {
		int fd = accept((int)(intptr_t)ctx, NULL, NULL);
		pthread_t thread;

		if (fd < 0 || pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
			return NULL;
		pthread_detach(thread);
	}
}

static bool
listen_somewhere(int *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	pthread_t thread;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return false;
	*port = ntohs(sa.sin_port);
	return pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)fd) == 0;
}

static bool
make_certificate(void)
{
	return system(text("cd '%s' && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
	                   "subjectAltName=IP:127.0.0.1,DNS:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null", dir)) == 0;
}

static void
write_password(const char *path, const char *password)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0 && write(fd, password, strlen(password)) == (ssize_t)strlen(password));
	close(fd);
}

static int
begin(void **state)
{
	struct err err = { 0 };

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "/tmp/landfall-door-XXXXXX");
	if (mkdtemp(dir) == NULL || !make_certificate())
		return -1;
	snprintf(paths[0], sizeof(paths[0]), "%s/cert.pem", dir);
	snprintf(paths[1], sizeof(paths[1]), "%s/key.pem", dir);
	snprintf(paths[2], sizeof(paths[2]), "%s/password", dir);
	snprintf(paths[3], sizeof(paths[3]), "%s/wrong", dir);
	write_password(paths[2], "Sa1!");
	write_password(paths[3], "Sa2!");
	server = (struct server){ .e = engine_open(NULL, text("%s/data", dir), "S", &err), .policy = TDS_POLICY_REQUIRED,
		.identity = tds_identity_load(NULL, paths[0], paths[1], &err), .log = statement_log_open(NULL, text("%s/log", dir), &err),
		.wire = wire_open(NULL, text("%s/wire", dir)) };
	target.ca_file = paths[0];
	target.password_file = paths[2];
	return server.e != NULL && server.identity != NULL && server.log != NULL && engine_login_set(server.e, "sa", "Sa1!", true, &err) &&
	       listen_somewhere(&target.port) && mssql_setup(dir, &target, 1, &err) ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	return system(text("rm -rf '%s'", dir));
}

static void
knob(const char *name, long value)
{
	struct err err = { 0 };

	assert_true(wire_set(server.wire, name, text("%ld", value), &err));
}

/* ---- the client -------------------------------------------------------------------------------------------- */

struct heard {
	struct mssql *cancel; /* at the first 3211, or NULL */
	int progress, errors[4], states[4], severities[4];
	size_t n_errors;
};

static void
on_message(void *ctx, const struct mssql_message *m)
{
	struct heard *h = ctx;

	if (m->number == 3211 && h->progress++ == 0 && h->cancel != NULL)
		mssql_cancel(h->cancel);
	if (m->severity > 10 && h->n_errors < COUNT(h->errors)) {
		h->errors[h->n_errors] = m->number;
		h->states[h->n_errors] = m->state;
		h->severities[h->n_errors++] = m->severity;
	}
}

static struct mssql *
open_door(void)
{
	struct err err = { 0 };
	struct mssql *ms = mssql_open(NULL, &target, "door_test", NULL, &err);

	if (ms == NULL)
		fail_msg("%s", err.text);
	return ms;
}

static void
run(struct mssql *ms, const char *sql)
{
	struct err err = { 0 };

	if (!mssql_run(ms, ms, sql, NULL, NULL, NULL, NULL, &err))
		fail_msg("%s: %s", sql, err.text);
}

static void
goes_on(struct mssql *ms)
{
	struct mssql_rows *rows = NULL;
	struct err err = { 0 };

	assert_true(mssql_run(ms, ms, "SELECT 42", &rows, NULL, NULL, NULL, &err));
	assert_string_equal(mssql_rows_value(rows, 0, 0), "42");
}

static const char *
restore_to(const char *name)
{
	return text("RESTORE DATABASE [%s] FROM DISK = N'%s/full.bak' WITH MOVE N'Sales' TO N'%s/%s.mdf', MOVE N'Sales_log' TO N'%s/%s.ldf', NORECOVERY, REPLACE, "
	            "STATS = 10", name, dir, dir, name, dir, name);
}

static void
it_logs_in_or_is_told_why_not(void **state)
{
	struct mssql_target wrong = target;
	struct mssql *ms = open_door();
	struct err err = { 0 };

	(void)state;
	goes_on(ms);
	run(ms, "CREATE DATABASE [Sales]");
	run(ms, "USE [Sales] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, s nvarchar(1000) NULL) DECLARE @i int = 0 "
	        "WHILE @i < 400 BEGIN INSERT INTO dbo.t VALUES (@i, REPLICATE(N'x', 500)) SET @i = @i + 1 END");
	run(ms, text("BACKUP DATABASE [Sales] TO DISK = N'%s/full.bak' WITH INIT", dir));
	talloc_free(ms);
	wrong.password_file = paths[3];
	assert_null(mssql_open(NULL, &wrong, "door_test", NULL, &err));
	assert_int_equal(err.kind, ERR_OPERATOR);
	assert_non_null(strstr(err.text, "18456"));
}

static void
a_restore_is_understood_in_every_shape(void **state)
{
	static const long splits[] = { 0, 1, 2, 3, 7, 61 };

	(void)state;
	for (long shape = 0; shape < WIRE_DONE_SHAPES; shape++)
		for (size_t i = 0; i < COUNT(splits); i++) {
			struct mssql *ms = open_door();
			struct mssql_outcome outcome;
			struct heard heard = { 0 };
			struct err err = { 0 };

			knob("done_shape", shape);
			knob("split", splits[i]);
			if (!mssql_run(ms, ms, restore_to("shapes"), NULL, &outcome, on_message, &heard, &err))
				fail_msg("shape %ld, split %ld: %s", shape, splits[i], err.text);
			assert_true(outcome.saw_3014 && outcome.clean);
			assert_int_equal(heard.progress, 10);
			/* And what fails: the cause first, 3013 last. */
			heard = (struct heard){ 0 };
			assert_false(mssql_run(ms, ms, "RESTORE LOG [shapes] FROM DISK = N'/none.trn' WITH NORECOVERY", NULL, &outcome, on_message, &heard, &err));
			assert_int_equal(heard.n_errors, 2);
			assert_true(heard.errors[0] == 3201 && heard.states[0] == 2 && heard.severities[0] == 16 && heard.errors[1] == 3013);
			assert_true(!outcome.clean && !outcome.saw_3014 && !outcome.dead);
			goes_on(ms);
			talloc_free(ms);
		}
	knob("split", 0);
	knob("done_shape", 0);
}

static void
a_cancelled_restore_leaves_the_conversation_usable(void **state)
{
	(void)state;
	assert_true(engine_knob(server.e, "delay_ms", 30));
	for (long shape = 0; shape < WIRE_ATTENTION_SHAPES; shape++) {
		struct mssql *ms = open_door();
		struct heard heard = { .cancel = ms };
		struct mssql_outcome outcome;
		struct err err = { 0 };

		knob("attention_shape", shape);
		assert_false(mssql_run(ms, ms, restore_to("cancelled"), NULL, &outcome, on_message, &heard, &err));
		assert_true(heard.progress >= 1 && heard.progress < 10 && !outcome.saw_3014);
		assert_int_equal(heard.errors[0], 3204);
		goes_on(ms);
		talloc_free(ms);
	}
	knob("attention_shape", 0);
	assert_true(engine_knob(server.e, "delay_ms", 0));
}

static void
a_line_that_is_cut_is_known_to_be_dead(void **state)
{
	struct mssql *ms = open_door();
	struct heard heard = { 0 };
	struct mssql_outcome outcome;
	struct err err = { 0 };

	(void)state;
	knob("drop_at", 50);
	assert_false(mssql_run(ms, ms, restore_to("dropped"), NULL, &outcome, on_message, &heard, &err));
	assert_true(outcome.dead && !outcome.saw_3014 && err.kind == ERR_AGAIN && mssql_is_dead(ms));
	knob("drop_at", 0);
	talloc_free(ms);
}

/* A statement that never answers again, and a server that ignores being told so: the limit is the way out. */
static void
a_server_that_ignores_attention_is_left(void **state)
{
	struct mssql *ms = open_door();
	struct err err = { 0 };

	(void)state;
	knob("ignore_attention", 1);
	mssql_limit(ms, 1);
	assert_false(mssql_run(ms, ms, "WAITFOR DELAY '00:00:20'", NULL, NULL, NULL, NULL, &err));
	assert_int_equal(err.kind, ERR_AGAIN);
	assert_true(mssql_is_dead(ms));
	knob("ignore_attention", 0);
	talloc_free(ms);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_logs_in_or_is_told_why_not),
		cmocka_unit_test(a_restore_is_understood_in_every_shape),
		cmocka_unit_test(a_cancelled_restore_leaves_the_conversation_usable),
		cmocka_unit_test(a_line_that_is_cut_is_known_to_be_dead),
		cmocka_unit_test(a_server_that_ignores_attention_is_left),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, begin, end);
}
