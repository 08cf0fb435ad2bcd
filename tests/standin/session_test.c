/* What the stand-in says on the wire, token for token: each row is a request and the answer that it must give. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/standin/session.h"
#include "tests/standin/talker.h"
#include "tests/standin/tds_value.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { ATTENTION = 0x06, IGNORE = 0x02, RESET = 0x08, SPID = 51 };

static struct server server;
static char dir[64];

/* ---- both ends --------------------------------------------------------------------------------------------- */

static void *
serve(void *ctx)
{
	session_serve(&server, (int)(intptr_t)ctx, SPID);
	return NULL;
}

static struct talker *
connect_to(uint32_t version)
{
	int fd[2];
	pthread_t thread;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd[0]), 0);
	pthread_detach(thread);
	return talker_new(NULL, fd[1], version);
}

static struct talker *
log_in_as(const char *user, const char *password)
{
	struct talker *t = connect_to(TDS_7_4);

	talker_login(t, &(struct talker_login){ .user = user, .password = password });
	assert_non_null(strstr(talker_read(t), "ack 74000004"));
	return t;
}

static struct talker *
log_in(void)
{
	return log_in_as("sa", "Sa1!");
}

static void
expect(struct talker *t, const char *what, const char *answer)
{
	if (strcmp(talker_read(t), answer) != 0)
		fail_msg("%s:\n  expected %s\n  got      %s", what, answer, t->last);
}

static void
run(const char *sql)
{
	struct talker *t = log_in();

	talker_batch(t, sql);
	if (strstr(talker_read(t), "error") != NULL)
		fail_msg("%s: %s", sql, t->last);
	talloc_free(t);
}

static void
knob(const char *name, const char *value)
{
	struct err err = { 0 };

	assert_true(wire_set(server.wire, name, value, &err));
}

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

static int
begin(void **state)
{
	struct err err = { 0 };

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/landfall-session-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	server = (struct server){ .e = engine_open(NULL, text("%s/data", dir), "S", &err), .policy = TDS_POLICY_NONE,
		.log = statement_log_open(NULL, text("%s/log", dir), &err), .wire = wire_open(NULL, text("%s/wire", dir)) };
	if (server.e == NULL || server.log == NULL || !engine_login_set(server.e, "sa", "Sa1!", true, &err))
		return -1;
	run("CREATE DATABASE [Sales]");
	run("USE [Sales] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, s nvarchar(1000) NULL)");
	run("USE [Sales] DECLARE @i int = 0 WHILE @i < 400 BEGIN INSERT INTO dbo.t VALUES (@i, REPLICATE(N'x', 500)) SET @i = @i + 1 END");
	run(text("BACKUP DATABASE [Sales] TO DISK = N'%s/full.bak' WITH INIT", dir));
	return 0;
}

static int
end(void **state)
{
	(void)state;
	return system(text("rm -rf '%s'", dir));
}

/* ---- log-in --------------------------------------------------------------------------------------------------- */

#define WELCOME_AS(ack, size, more) "env 1 master<master | info 5701/2/0 | env 7 | env 2 us_english< | info 5703/1/0 | ack " ack " | env 4 " size \
	"<4096 | " more "done 0000 0 0"

static void
every_version_is_welcomed_in_its_own_layout(void **state)
{
	static const struct { const char *name; uint32_t version; struct talker_login login; const char *answer; } cases[] = {
		{ "7.1", TDS_7_1, { .packet_size = 4096 }, WELCOME_AS("71000001", "4096", "") },
		{ "7.2", TDS_7_2, { .packet_size = 4096 }, WELCOME_AS("72090002", "4096", "") },
		{ "7.3", TDS_7_3, { .packet_size = 4096 }, WELCOME_AS("730b0003", "4096", "") },
		{ "7.4", TDS_7_4, { .packet_size = 4096 }, WELCOME_AS("74000004", "4096", "") },
		{ "newer than ours", 0x75000001, { .packet_size = 4096 }, WELCOME_AS("74000004", "4096", "") },
		{ "the smallest packets", TDS_7_4, { .packet_size = 512 }, WELCOME_AS("74000004", "512", "") },
		{ "smaller ones", TDS_7_4, { .packet_size = 8 }, WELCOME_AS("74000004", "512", "") },
		{ "the largest", TDS_7_4, { .packet_size = 32767 }, WELCOME_AS("74000004", "32767", "") },
		{ "larger ones", TDS_7_4, { .packet_size = 4000000 }, WELCOME_AS("74000004", "32767", "") },
		{ "no size", TDS_7_4, { .packet_size = 0 }, WELCOME_AS("74000004", "4096", "") },
		{ "UTF8_SUPPORT is acknowledged", TDS_7_4, { .features = "\x0A\1\0\0\0\1", .features_len = 6 }, WELCOME_AS("74000004", "4096", "features 0a=01 | ") },
		{ "SESSIONRECOVERY and GLOBALTRANSACTIONS are not", TDS_7_4, { .features = "\x01\0\0\0\0\5\0\0\0\0", .features_len = 10 },
		  WELCOME_AS("74000004", "4096", "features | ") },
		{ "read-only intent without a place to go to", TDS_7_4, { .read_only = true }, WELCOME_AS("74000004", "4096", "") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = connect_to(cases[i].version);
		struct talker_login l = cases[i].login;

		l.user = "sa";
		l.password = "Sa1!";
		if (i % 2 == 0) /* with PRELOGIN and, as jTDS does, without */
			assert_int_equal(talker_prelogin(t, TDS_ENCRYPT_OFF), TDS_ENCRYPT_NOT_SUP);
		talker_login(t, &l);
		expect(t, cases[i].name, cases[i].answer);
		talker_batch(t, "SELECT 7 AS n");
		expect(t, cases[i].name, "cols n:26 | row 7 | done 0010 193 1");
		talloc_free(t);
	}
}

#define REFUSED(user) "error 18456/1/14 Login failed for user '" user "'. | done 0002 253 0"

static void
who_is_refused_hears_why_and_no_more(void **state)
{
	static const struct { const char *name; struct talker_login login; const char *answer; } cases[] = {
		{ "a wrong password", { .user = "sa", .password = "sa1!" }, REFUSED("sa") },
		{ "an empty one", { .user = "sa", .password = "" }, REFUSED("sa") },
		{ "nobody", { .user = "nobody", .password = "Sa1!" }, REFUSED("nobody") },
		{ "no such database", { .user = "sa", .password = "Sa1!", .database = "none" },
		  "error 4060/1/11 Cannot open database \"none\" requested by the login. The login failed. | " REFUSED("sa") },
		{ "Windows", { .user = "", .password = "", .windows = true },
		  "error 18452/1/14 Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication. | done 0002 253 0" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = connect_to(TDS_7_4);

		talker_login(t, &cases[i].login);
		expect(t, cases[i].name, cases[i].answer);
		expect(t, cases[i].name, "end");
		talloc_free(t);
	}
}

static void
encryption_is_agreed_as_the_protocol_says(void **state)
{
	enum { OFF = TDS_ENCRYPT_OFF, ON = TDS_ENCRYPT_ON, NOT = TDS_ENCRYPT_NOT_SUP, REQ = TDS_ENCRYPT_REQ };
	/* MS-TDS 2.2.6.5, written down once more. A wish beyond the four counts as REQ. */
	static const struct { enum tds_policy policy; uint8_t client, answer; enum tds_cover cover; } cases[] = {
		{ TDS_POLICY_NONE, OFF, NOT, TDS_COVER_NONE }, { TDS_POLICY_NONE, ON, NOT, TDS_COVER_NEVER },
		{ TDS_POLICY_NONE, NOT, NOT, TDS_COVER_NONE }, { TDS_POLICY_NONE, REQ, NOT, TDS_COVER_NEVER },
		{ TDS_POLICY_LOGIN, OFF, OFF, TDS_COVER_LOGIN }, { TDS_POLICY_LOGIN, ON, ON, TDS_COVER_ALL },
		{ TDS_POLICY_LOGIN, NOT, NOT, TDS_COVER_NONE }, { TDS_POLICY_LOGIN, REQ, ON, TDS_COVER_ALL },
		{ TDS_POLICY_REQUIRED, OFF, REQ, TDS_COVER_ALL }, { TDS_POLICY_REQUIRED, ON, ON, TDS_COVER_ALL },
		{ TDS_POLICY_REQUIRED, NOT, REQ, TDS_COVER_NEVER }, { TDS_POLICY_REQUIRED, REQ, ON, TDS_COVER_ALL },
		{ TDS_POLICY_REQUIRED, 9, ON, TDS_COVER_ALL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum tds_cover cover;

		assert_int_equal(tds_encryption_answer(cases[i].policy, cases[i].client, &cover), cases[i].answer);
		assert_int_equal(cover, cases[i].cover);
	}
}

static void
where_tls_is_required_nobody_logs_in_without(void **state)
{
	struct talker *t;

	(void)state;
	server.policy = TDS_POLICY_REQUIRED;
	t = connect_to(TDS_7_4);
	assert_int_equal(talker_prelogin(t, TDS_ENCRYPT_NOT_SUP), TDS_ENCRYPT_REQ);
	expect(t, "a client that cannot encrypt", "end");
	talloc_free(t);
	t = connect_to(TDS_7_1);
	talker_login(t, &(struct talker_login){ .user = "sa", .password = "Sa1!" });
	expect(t, "a client that begins with LOGIN7", "end");
	talloc_free(t);
	server.policy = TDS_POLICY_NONE;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void
batches_are_answered_token_for_token(void **state)
{
	static const struct { const char *sql, *answer; } cases[] = {
		{ "SELECT 1 AS a", "cols a:26 | row 1 | done 0010 193 1" },
		{ "SELECT 1 AS a SELECT N'x' AS b", "cols a:26 | row 1 | done 0011 193 1 | cols b:e7 | row 'x' | done 0010 193 1" },
		{ "", "done 0000 253 0" },
		{ "SELECT 1 +", "error 102/1/15 Incorrect syntax near '+'. | done 0002 253 0" },
		{ "SELEC 1", "error 2812/62/16 Could not find stored procedure 'SELEC'. | done 0002 224 0" },
		{ "SELECT * FROM dbo.none", "error 208/1/16 Invalid object name 'dbo.none'. | done 0002 193 0" },
		{ "PRINT N'x'", "info 0/1/0 | done 0000 253 0" },
		{ "USE [Sales]", "env 1 Sales<master | info 5701/2/0 | done 0000 226 0" },
		{ "USE [master]", "env 1 master<Sales | info 5701/2/0 | done 0000 226 0" },
		{ "USE [none]", "error 911/1/16 Database 'none' does not exist. Make sure that the name is entered correctly. | done 0002 226 0" },
		{ "BEGIN TRAN", "env 8 | done 0000 212 0" },
		{ "BEGIN TRAN", "done 0000 212 0" }, /* nested: the client's transaction is the outermost */
		{ "COMMIT", "done 0000 213 0" },
		{ "COMMIT", "env 9 | done 0000 213 0" },
		{ "COMMIT", "error 3902/1/16 The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION. | done 0002 213 0" },
		{ "BEGIN TRAN ROLLBACK", "env 8 | done 0001 212 0 | env 10 | done 0000 210 0" },
	};
	struct talker *t = log_in();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		talker_batch(t, cases[i].sql);
		expect(t, cases[i].sql, cases[i].answer);
	}
	talloc_free(t);
}

static void
transaction_requests_and_what_is_none(void **state)
{
	static const struct { int request; bool next; const char *answer; } cases[] = {
		{ 5, false, "env 8 | done 0000 212 0" }, { 7, false, "env 9 | done 0000 213 0" },
		{ 5, false, "env 8 | done 0000 212 0" }, { 8, false, "env 10 | done 0000 210 0" },
		{ 5, false, "env 8 | done 0000 212 0" }, { 7, true, "env 9 | env 8 | done 0000 212 0" },
		{ 9, false, "error 50000/1/16 the stand-in has no savepoints and no distributed transactions; BEGIN, COMMIT and ROLLBACK are there | done 0002 253 0" },
		{ 8, true, "env 10 | env 8 | done 0000 212 0" }, { 8, false, "env 10 | done 0000 210 0" },
		{ 8, false, "error 3903/1/16 The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION. | done 0002 210 0" },
	};
	struct talker *t = log_in();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		talker_transaction(t, cases[i].request, cases[i].next);
		expect(t, text("request %d, the %zuth", cases[i].request, i), cases[i].answer);
	}
	talloc_free(t);
}

#define ROW(v) "cols :26 | row " v " | inproc 0011 193 1 | "

static void
calls_are_answered_token_for_token(void **state)
{
	static const struct { int number; const char *name, *params[5], *answer; } cases[] = {
		{ 10, NULL, { "tSELECT 7" }, ROW("7") "status 0 | proc 0000 224 0" },
		{ 10, NULL, { "tSELECT @a", "t@a int", "@a=i8" }, ROW("8") "status 0 | proc 0000 224 0" },
		{ 10, NULL, { "tSELECT @a", "t@a int", "i8" }, ROW("8") "status 0 | proc 0000 224 0" },
		{ 10, NULL, { "tSELECT @a", "t@a int", "n" }, ROW("null") "status 0 | proc 0000 224 0" },
		{ 0, "sp_executesql", { "tSET @a = @a + 1", "t@a int", "@a=o8" }, "inproc 0001 253 0 | status 0 | value 2 @a=9 | proc 0000 224 0" },
		{ 10, NULL, { "tSELECT @a", "t@a int, @b int", "@a=i8" },
		  "error 8178/1/16 The parameterized query 'SELECT @a' expects the parameter '@b', which was not supplied. | status 8178 | proc 0002 224 0" },
		{ 10, NULL, { "i8" }, "error 214/2/16 Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'. | status 214 | proc 0002 224 0" },
		{ 11, NULL, { "o0", "t@a int", "tSELECT @a" }, "status 0 | value 0 =1 | proc 0000 224 0" },
		{ 12, NULL, { "i1", "i5" }, ROW("5") "status 0 | proc 0000 224 0" },
		{ 12, NULL, { "i1", "@a=i6" }, ROW("6") "status 0 | proc 0000 224 0" },
		{ 13, NULL, { "@handle=o0", "t@a int", "tSELECT @a", "i4" }, ROW("4") "status 0 | value 0 @handle=2 | proc 0000 224 0" },
		{ 0, "SP_EXECUTE", { "i2", "i3" }, ROW("3") "status 0 | proc 0000 224 0" },
		{ 15, NULL, { "i1" }, "status 0 | proc 0000 224 0" },
		{ 12, NULL, { "i1", "i5" }, "error 8179/2/16 Could not find prepared statement with handle 1. | status 8179 | proc 0002 224 0" },
		{ 15, NULL, { "i1" }, "error 8179/2/16 Could not find prepared statement with handle 1. | status 8179 | proc 0002 224 0" },
		{ 11, NULL, { "o0", "t", "tSELECT 1 +" },
		  "error 102/1/15 Incorrect syntax near '+'. | error 8180/1/16 Statement(s) could not be prepared. | status 102 | proc 0002 224 0" },
		{ 2, NULL, { "o0", "tSELECT 1" }, "error 2812/62/16 Could not find stored procedure 'sp_cursoropen'. | status 2812 | proc 0002 224 0" },
		{ 0, "sp_none", { 0 }, "error 2812/62/16 Could not find stored procedure 'sp_none'. | status 2812 | proc 0002 224 0" },
		{ 10, NULL, { "tSELECT * FROM dbo.none" }, "error 208/1/16 Invalid object name 'dbo.none'. | inproc 0003 193 0 | status 208 | proc 0002 224 0" },
	};
	struct talker *t = log_in();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = 0;

		while (n < 5 && cases[i].params[n] != NULL)
			n++;
		talker_call(t, cases[i].number, cases[i].name, cases[i].params, n);
		expect(t, text("call %zu, %s", i, n == 0 ? "" : cases[i].params[0]), cases[i].answer);
	}
	talloc_free(t);
}

static void
what_was_taken_back_reset_or_cancelled_while_idle(void **state)
{
	struct talker *t = log_in();

	(void)state;
	talker_send(t, ATTENTION, 0, NULL, 0);
	expect(t, "attention while idle", "done 0020 253 0");
	talker_batch_with(t, IGNORE, "SELECT 1");
	expect(t, "a request taken back", "done 0002 253 0");
	talker_batch(t, "USE [Sales] BEGIN TRAN INSERT INTO dbo.t VALUES (9000, NULL)");
	talker_read(t);
	talker_batch_with(t, RESET, "SELECT DB_NAME() AS d");
	expect(t, "a reset session is as new", "env 18 | env 10 | cols d:e7 | row 'master' | done 0010 193 1");
	talker_batch(t, "USE [Sales] SELECT COUNT(*) AS n FROM dbo.t WHERE id = 9000");
	expect(t, "and its transaction rolled back", "env 1 Sales<master | info 5701/2/0 | done 0001 226 0 | cols n:26 | row 0 | done 0010 193 1");
	talloc_free(t);
}

/* What is against the protocol ends the line and nothing else. */
static void
what_is_no_conversation_ends_the_line(void **state)
{
	static const struct { const char *name, *bytes; size_t len; bool after_login; } cases[] = {
#define BYTES(name, bytes, after) { name, bytes, sizeof(bytes) - 1, after }
		BYTES("a packet type nobody knows", "\x55\1\0\x0C\0\0\1\0abcd", false),
		BYTES("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false),
		BYTES("TLS without PRELOGIN", "\x16\3\1\2\0\1\0\1\xFC\3\3", false),
		BYTES("a packet shorter than its header", "\x12\1\0\7\0\0\1\0", false),
		BYTES("a batch before the log-in", "\1\1\0\x0A\0\0\1\0a\0", false),
		BYTES("PRELOGIN with options outside it", "\x12\1\0\x0E\0\0\1\0\1\xFF\xFF\0\1\xFF", false),
		BYTES("LOGIN7 shorter than it says", "\x10\1\0\x0C\0\0\1\0\xFF\xFF\0\0", false),
		BYTES("a message that changes its type", "\x12\0\0\x0A\0\0\1\0aa\1\1\0\x0A\0\0\2\0bb", false),
		BYTES("a second LOGIN7", "\x10\1\0\x0C\0\0\1\0\xFF\xFF\0\0", true),
		BYTES("a second PRELOGIN", "\x12\1\0\x09\0\0\1\0\xFF", true),
		BYTES("a server's answer", "\4\1\0\x09\0\0\1\0\xFD", true),
#undef BYTES
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = cases[i].after_login ? log_in() : connect_to(TDS_7_4);

		assert_int_equal(send(t->fd, cases[i].bytes, cases[i].len, MSG_NOSIGNAL), (ssize_t)cases[i].len);
		expect(t, cases[i].name, "end");
		talloc_free(t);
	}
}

static void
requests_that_are_none_are_refused_and_the_session_goes_on(void **state)
{
	static const struct { const char *name; unsigned type; const char *bytes; size_t len; const char *answer; } cases[] = {
#define BYTES(name, type, bytes, answer) { name, type, bytes, sizeof(bytes) - 1, answer }
		BYTES("headers longer than the batch", 1, "\xFF\0\0\0", "error 102/1/15 the request's headers are longer than the request | done 0002 253 0"),
		BYTES("a call that ends within its name", 3, "\4\0\0\0\5\0a\0",
		      "error 8005/1/16 the remote call ends within its name | status 8005 | proc 0002 224 0"),
		BYTES("a parameter of an unknown type", 3, "\4\0\0\0\xFF\xFF\x0A\0\0\0\0\0\x01",
		      "error 8009/1/16 The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect: a parameter's type is not "
		      "supported. | status 8009 | proc 0002 224 0"),
		BYTES("a transaction request without a request", 14, "\4\0\0\0", "error 8022/1/16 the transaction request is empty | done 0002 253 0"),
		BYTES("a batch of nothing", 1, "", "error 102/1/15 the request's headers are longer than the request | done 0002 253 0"),
#undef BYTES
	};
	struct talker *t = log_in();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		talker_send(t, cases[i].type, 0, cases[i].bytes, cases[i].len);
		expect(t, cases[i].name, cases[i].answer);
		talker_batch(t, "SELECT 1 AS a");
		expect(t, "afterwards", "cols a:26 | row 1 | done 0010 193 1");
	}
	talloc_free(t);
}

/* ---- rights --------------------------------------------------------------------------------------------------- */

static void
each_log_in_may_what_its_roles_allow(void **state)
{
	static const struct { const char *user, *sql, *answer; } cases[] = {
		{ "verifier", "SELECT IS_SRVROLEMEMBER('sysadmin') AS a", "cols a:26 | row 0 | done 0010 193 1" },
		{ "creator", "SELECT IS_SRVROLEMEMBER('dbcreator') AS a", "cols a:26 | row 1 | done 0010 193 1" },
		{ "verifier", "USE [Sales]", "error 916/1/14 The server principal \"verifier\" is not able to access the database \"Sales\" under the current security "
		                             "context. | done 0002 226 0" },
		{ "verifier", "CREATE DATABASE [x]", "error 262/1/14 CREATE DATABASE permission denied in database 'master'. | done 0002 203 0" },
		{ "verifier", "DROP DATABASE [Sales]", "error 3701/1/11 Cannot drop the database 'Sales', because it does not exist or you do not have permission. | done 0002 215 0" },
		{ "verifier", "ALTER DATABASE [Sales] SET RECOVERY SIMPLE", "error 5011/9/14 User does not have permission to alter database 'Sales', the database does "
		  "not exist, or the database is not in a state that allows access checks. | error 5069/1/16 ALTER DATABASE statement failed. | done 0002 215 0" },
		{ "verifier", "BACKUP LOG [Sales] TO DISK = N'/none'", "error 262/1/14 BACKUP LOG permission denied in database 'Sales'. | "
		  "error 3013/1/16 BACKUP LOG is terminating abnormally. | done 0002 235 0" },
		{ "verifier", "RESTORE DATABASE [x] FROM DISK = N'/none'", "error 262/1/14 CREATE DATABASE permission denied in database 'master'. | "
		  "error 3013/1/16 RESTORE DATABASE is terminating abnormally. | done 0002 229 0" },
		{ "verifier", "RESTORE DATABASE [Sales] WITH RECOVERY", "error 3110/1/14 User does not have permission to RESTORE database 'Sales'. | "
		  "error 3013/1/16 RESTORE DATABASE is terminating abnormally. | done 0002 229 0" },
		{ "verifier", "RESTORE HEADERONLY FROM DISK = N'/none'", "error 262/1/14 CREATE DATABASE permission denied in database 'master'. | "
		  "error 3013/1/16 RESTORE HEADERONLY is terminating abnormally. | done 0002 250 0" },
		{ "verifier", "EXEC standin.wire N'split', N'1'", "error 15247/1/16 User does not have permission to perform this action. | done 0002 224 0" },
		{ "verifier", "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'CREATE ANY DATABASE') AS a", "cols a:26 | row 0 | done 0010 193 1" },
		{ "creator", "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'CREATE ANY DATABASE') AS a", "cols a:26 | row 1 | done 0010 193 1" },
		{ "creator", "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') AS a", "cols a:26 | row 0 | done 0010 193 1" },
		{ "creator", "CREATE DATABASE [x]", "done 0000 203 0" },
		{ "creator", "BACKUP DATABASE [Sales] TO DISK = N'/none'", "error 262/1/14 BACKUP DATABASE permission denied in database 'Sales'. | "
		  "error 3013/1/16 BACKUP DATABASE is terminating abnormally. | done 0002 228 0" },
		{ "creator", "DROP DATABASE [x]", "done 0000 215 0" },
		{ "owner", "ALTER DATABASE [Owned] SET RECOVERY FULL", "done 0000 215 0" },
		{ "owner", "DROP DATABASE [Sales]", "error 3701/1/11 Cannot drop the database 'Sales', because it does not exist or you do not have permission. | done 0002 215 0" },
		{ "owner", "DROP DATABASE [Owned]", "done 0000 215 0" },
	};

	(void)state;
	run("CREATE LOGIN [verifier] WITH PASSWORD = N'P1' CREATE LOGIN [creator] WITH PASSWORD = N'P1' CREATE LOGIN [owner] WITH PASSWORD = N'P1'");
	run("ALTER SERVER ROLE dbcreator ADD MEMBER [creator]");
	run("CREATE DATABASE [Owned] ALTER AUTHORIZATION ON DATABASE::[Owned] TO [owner]");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = log_in_as(cases[i].user, "P1");

		talker_batch(t, cases[i].sql);
		expect(t, text("%s: %s", cases[i].user, cases[i].sql), cases[i].answer);
		talloc_free(t);
	}
	/* A new password leaves the roles. */
	run("ALTER LOGIN [creator] WITH PASSWORD = N'P2'");
	assert_true(engine_login_has(server.e, "creator", ENGINE_DBCREATOR));
	assert_false(engine_login_has(server.e, "creator", ENGINE_SYSADMIN));
}

/* ---- knobs ------------------------------------------------------------------------------------------------------ */

/* What a restore has to know of a server before it begins, in any order and of things that are not there. */
static void
what_a_restore_needs_can_be_asked(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct { const char *sql, *answer; } cases[] = {
		{ "SELECT CONVERT(int, SERVERPROPERTY('FilestreamConfiguredLevel')) AS f, CONVERT(int, SERVERPROPERTY('IsXTPSupported')) AS x",
		  "cols f:26 x:26 | row 2 0 | done 0010 193 1" },
		{ talloc_asprintf(mem, "EXEC master.dbo.xp_fileexist N'%s'", dir), "row 0 1 1" },
		{ talloc_asprintf(mem, "EXEC master.dbo.xp_fileexist N'%s/'", dir), "row 0 1 1" },
		{ talloc_asprintf(mem, "EXEC master.dbo.xp_fileexist N'%s/full.bak'", dir), "row 1 0 1" },
		{ talloc_asprintf(mem, "EXEC master.dbo.xp_fileexist N'%s/none'", dir), "row 0 0 1" },
		{ talloc_asprintf(mem, "EXEC master.dbo.xp_fileexist N'%s/none/none'", dir), "row 0 0 0" },
		{ "SELECT thumbprint FROM master.sys.certificates", "cols thumbprint:a5 | row 48042 | done 0010 193 1" },
		{ "SELECT DISTINCT s.available_bytes FROM sys.master_files f CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) AS s", "row 3072 |" },
		{ "SELECT free_space_in_bytes FROM sys.dm_os_enumerate_fixed_drives", "row 3072 |" },
		{ "SELECT 1 FROM sys.master_files f CROSS APPLY sys.dm_nothing(f.database_id, f.file_id) s", "error 208/1/15 Invalid object name 'dm_nothing'." },
		{ "SELECT g.name FROM sys.availability_databases_cluster c JOIN sys.availability_groups g ON g.group_id = c.group_id WHERE c.database_name = N'Sales'",
		  "| done 0010 193 0" },
	};

	(void)state;
	run("EXEC standin.certificate N'0xaabb' EXEC standin.knob N'free_kb', 3 EXEC standin.knob N'filestream', 2 EXEC standin.knob N'xtp', 0");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = log_in();

		talker_batch(t, cases[i].sql);
		if (strstr(talker_read(t), cases[i].answer) == NULL)
			fail_msg("%s:\n  expected %s\n  got      %s", cases[i].sql, cases[i].answer, t->last);
		talloc_free(t);
	}
	run("EXEC standin.knob N'free_kb', -1 EXEC standin.knob N'filestream', 0 EXEC standin.knob N'xtp', 1");
	talloc_free(mem);
}

/* The server's reading of a backup by order: RESTORE itself goes by the file. */
static void
headers_lie_by_order(void **state)
{
	struct talker *t = log_in();
	char *header, *files;
	const char *all[] = { talloc_asprintf(t, "RESTORE HEADERONLY FROM DISK = N'%s/full.bak'", dir),
		talloc_asprintf(t, "RESTORE FILELISTONLY FROM DISK = N'%s/full.bak'", dir) };

	(void)state;
	talker_batch(t, all[0]);
	header = talloc_strdup(t, talker_read(t));
	talker_batch(t, all[1]);
	files = talloc_strdup(t, talker_read(t));
	for (int lie = 1; lie <= 3; lie++) {
		run(text("EXEC standin.knob N'header_lies', %d", lie));
		talker_batch(t, all[0]);
		assert_int_equal(strcmp(talker_read(t), header) != 0, lie != 2);
		talker_batch(t, all[1]);
		assert_int_equal(strcmp(talker_read(t), files) != 0, lie == 2);
	}
	run("EXEC standin.knob N'header_lies', 0");
	talker_batch(t, all[0]);
	expect(t, "the truth again", header);
	talloc_free(t);
}

static const char *
restore_to(const char *name)
{
	return text("RESTORE DATABASE [%s] FROM DISK = N'%s/full.bak' WITH MOVE N'Sales' TO N'%s/%s.mdf', MOVE N'Sales_log' TO N'%s/%s.ldf', NORECOVERY, REPLACE, "
	            "STATS = 25", name, dir, dir, name, dir, name);
}

static void
done_stands_where_the_knob_says(void **state)
{
	static const char *const answers[] = {
		"info 3211/1/0 | done 0001 229 0 | info 3211/1/0 | done 0001 229 0 | info 3211/1/0 | done 0001 229 0 | info 3211/1/0 | done 0001 229 0 | "
		"info 4035/1/0 | done 0001 229 0 | info 4035/1/0 | done 0001 229 0 | info 3014/1/0 | done 0000 229 0",
		"info 3211/1/0 | info 3211/1/0 | info 3211/1/0 | info 3211/1/0 | info 4035/1/0 | done 0001 229 0 | info 4035/1/0 | done 0001 229 0 | "
		"info 3014/1/0 | done 0000 229 0",
		"info 3211/1/0 | info 3211/1/0 | info 3211/1/0 | info 3211/1/0 | info 4035/1/0 | info 4035/1/0 | info 3014/1/0 | done 0000 229 0",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct talker *t = log_in();

		knob("done_shape", text("%zu", i));
		talker_batch(t, restore_to("shape"));
		expect(t, text("shape %zu", i), answers[i]);
		assert_true(t->packets > 5); /* each message went out when it was said */
		talloc_free(t);
	}
	knob("done_shape", "0");
}

static void
tokens_cut_anywhere_are_the_same_tokens(void **state)
{
	static const char sql[] = "SELECT 1 AS a, N'some text' AS b, NULL AS c USE [Sales] SELECT TOP (3) id, s FROM dbo.t ORDER BY id SELECT * FROM dbo.none";
	struct talker *t = log_in();
	char *whole;

	(void)state;
	talker_batch(t, sql);
	whole = talloc_strdup(t, talker_read(t));
	talker_batch(t, "USE [master]");
	talker_read(t);
	for (int n = 1; n <= 64; n++) {
		knob("split", text("%d", n));
		talker_batch(t, sql);
		expect(t, text("pieces of %d", n), whole);
		assert_int_equal(t->longest, n);
		talker_batch(t, "USE [master]");
		talker_read(t);
	}
	knob("split", "0");
	talloc_free(t);
}

static void
packets_are_as_large_as_was_agreed(void **state)
{
	static const struct { const char *insisted; uint32_t asked; size_t size; } cases[] = {
		{ "0", 512, 512 }, { "0", 4096, 4096 }, { "0", 32767, 32767 }, { "512", 4096, 512 }, { "32767", 512, 32767 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = connect_to(TDS_7_4);

		knob("packet_size", cases[i].insisted);
		talker_login(t, &(struct talker_login){ .user = "sa", .password = "Sa1!", .packet_size = cases[i].asked });
		assert_non_null(strstr(talker_read(t), text("env 4 %zu<4096", cases[i].size)));
		talker_batch(t, "USE [Sales] SELECT id, s FROM dbo.t");
		talker_read(t);
		assert_int_equal(t->longest, cases[i].size - 8);
		talloc_free(t);
	}
	knob("packet_size", "0");
}

static void
an_attention_ends_a_restore_and_the_session_goes_on(void **state)
{
	static const char broken_off[] = "error 3204/1/16 The backup or restore was aborted. | error 3013/1/16 RESTORE DATABASE is terminating abnormally. | ";

	(void)state;
	assert_true(engine_knob(server.e, "delay_ms", 30));
	for (int shape = 0; shape <= 1; shape++) {
		struct talker *t = log_in();
		const char *rest;

		knob("attention_shape", text("%d", shape));
		talker_batch(t, restore_to("cancelled"));
		assert_non_null(strstr(talker_read_until(t, "info 3211"), "info 3211"));
		talker_send(t, ATTENTION, 0, NULL, 0);
		rest = strstr(talker_read(t), "error");
		assert_non_null(rest);
		assert_string_equal(rest, text("%s%s", broken_off, shape == 0 ? "done 0002 229 0" : "done 0003 229 0 | done 0020 253 0"));
		if (shape == 0)
			expect(t, "the acknowledgement", "done 0020 253 0");
		talker_batch(t, "SELECT 1 AS a");
		expect(t, "afterwards", "cols a:26 | row 1 | done 0010 193 1");
		talker_batch(t, "WAITFOR DELAY '00:01:00'");
		talker_send(t, ATTENTION, 0, NULL, 0);
		expect(t, "WAITFOR", shape == 0 ? "done 0002 216 0" : "done 0003 216 0 | done 0020 253 0");
		talloc_free(t);
	}
	knob("attention_shape", "0");
	assert_true(engine_knob(server.e, "delay_ms", 0));
}

static void
an_attention_that_is_ignored_is_never_acknowledged(void **state)
{
	struct talker *t = log_in();
	const char *said;

	(void)state;
	knob("ignore_attention", "1");
	assert_true(engine_knob(server.e, "delay_ms", 5));
	talker_batch(t, restore_to("ignored"));
	talker_read_until(t, "info 3211");
	talker_send(t, ATTENTION, 0, NULL, 0);
	said = talker_read(t);
	assert_non_null(strstr(said, "info 3014/1/0 | done 0000 229 0"));
	assert_null(strstr(said, "done 0020"));
	talker_batch(t, "SELECT 1 AS a");
	expect(t, "afterwards", "cols a:26 | row 1 | done 0010 193 1");
	knob("ignore_attention", "0");
	assert_true(engine_knob(server.e, "delay_ms", 0));
	talloc_free(t);
}

static void
a_line_is_cut_or_goes_silent_at_a_percentage(void **state)
{
	struct talker *t = log_in();
	const char *said;

	(void)state;
	knob("drop_at", "50");
	talker_batch(t, restore_to("dropped"));
	said = talker_read(t);
	assert_non_null(strstr(said, "info 3211"));
	assert_non_null(strstr(said, "end"));
	assert_null(strstr(said, "info 3014"));
	knob("drop_at", "0");
	talloc_free(t);
	/* Whose line was cut, his restore is broken off. */
	t = log_in();
	for (int i = 0; i < 200; i++) {
		talker_batch(t, "SELECT COUNT(*) AS n FROM sys.dm_exec_requests WHERE command LIKE 'RESTORE%'");
		if (strstr(talker_read(t), "row 0") != NULL)
			break;
		usleep(20000);
	}
	talker_batch(t, "SELECT state_desc AS s FROM sys.databases WHERE name = N'dropped'");
	expect(t, "a restore cut off", "cols s:e7 | row 'RESTORING' | done 0010 193 1");
	talker_batch(t, "SELECT COUNT(*) AS n FROM msdb.dbo.restorehistory WHERE destination_database_name = N'dropped'");
	expect(t, "is not in the history", "cols n:26 | row 0 | done 0010 193 1");
	/* A line that went silent: the restore comes to its end and nobody hears of it. */
	knob("silent_at", "50");
	talker_batch(t, restore_to("silent"));
	said = talker_read(t);
	assert_non_null(strstr(said, "end"));
	assert_null(strstr(said, "info 3014"));
	knob("silent_at", "0");
	talloc_free(t);
	t = log_in();
	talker_batch(t, "SELECT COUNT(*) AS n FROM msdb.dbo.restorehistory WHERE destination_database_name = N'silent'");
	expect(t, "it was restored", "cols n:26 | row 1 | done 0010 193 1");
	talloc_free(t);
}

static void
read_only_clients_are_sent_on(void **state)
{
	static const struct { bool read_only; uint32_t version; const char *more; } cases[] = {
		{ true, TDS_7_4, "env 20 other.example:1444 | " }, { false, TDS_7_4, "" }, { true, TDS_7_1, "" },
	};

	(void)state;
	knob("route_read_only", "other.example:1444");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talker *t = connect_to(cases[i].version);
		const char *said;

		talker_login(t, &(struct talker_login){ .user = "sa", .password = "Sa1!", .read_only = cases[i].read_only });
		said = strstr(talker_read(t), "<4096 | ");
		assert_non_null(said);
		assert_string_equal(said, text("<4096 | %sdone 0000 0 0", cases[i].more));
		talloc_free(t);
	}
	knob("route_read_only", "0");
}

static void
a_log_in_is_delayed(void **state)
{
	struct talker *t = connect_to(TDS_7_4);
	struct timespec before, after;

	(void)state;
	knob("login_delay_ms", "300");
	clock_gettime(CLOCK_MONOTONIC, &before);
	talker_login(t, &(struct talker_login){ .user = "sa", .password = "Sa1!" });
	assert_non_null(strstr(talker_read(t), "ack"));
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 299);
	knob("login_delay_ms", "0");
	talloc_free(t);
}

static void
knobs_are_a_file_that_is_read_again(void **state)
{
	static const struct { const char *name, *value; } wrong[] = {
		{ "none", "1" }, { "split", "-1" }, { "split", "x" }, { "split", "" }, { "drop_at", "101" }, { "done_shape", "3" }, { "route_read_only", "host" },
		{ "route_read_only", ":1433" }, { "route_read_only", "host:70000" },
	};
	struct err err = { 0 };
	FILE *f = fopen(text("%s/wire", dir), "w");

	(void)state;
	assert_non_null(f);
	fputs("# by hand\nsplit 7\nnonsense 1\ndrop_at\nroute_read_only a:1\n", f);
	fclose(f);
	assert_int_equal(wire_now(server.wire).split, 7);
	assert_string_equal(wire_now(server.wire).route_host, "a");
	knob("split", "0");
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_false(wire_set(server.wire, wrong[i].name, wrong[i].value, &err));
	assert_string_equal(wire_now(server.wire).route_host, "a"); /* what is refused changes nothing */
	assert_int_equal(unlink(text("%s/wire", dir)), 0);
	assert_string_equal(wire_now(server.wire).route_host, "");
	run("EXEC standin.wire N'drop_at', N'40'");
	assert_int_equal(wire_now(server.wire).drop_at, 40);
	knob("drop_at", "0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_version_is_welcomed_in_its_own_layout),
		cmocka_unit_test(who_is_refused_hears_why_and_no_more),
		cmocka_unit_test(encryption_is_agreed_as_the_protocol_says),
		cmocka_unit_test(where_tls_is_required_nobody_logs_in_without),
		cmocka_unit_test(batches_are_answered_token_for_token),
		cmocka_unit_test(transaction_requests_and_what_is_none),
		cmocka_unit_test(calls_are_answered_token_for_token),
		cmocka_unit_test(what_was_taken_back_reset_or_cancelled_while_idle),
		cmocka_unit_test(what_is_no_conversation_ends_the_line),
		cmocka_unit_test(requests_that_are_none_are_refused_and_the_session_goes_on),
		cmocka_unit_test(each_log_in_may_what_its_roles_allow),
		cmocka_unit_test(what_a_restore_needs_can_be_asked),
		cmocka_unit_test(headers_lie_by_order),
		cmocka_unit_test(done_stands_where_the_knob_says),
		cmocka_unit_test(tokens_cut_anywhere_are_the_same_tokens),
		cmocka_unit_test(packets_are_as_large_as_was_agreed),
		cmocka_unit_test(an_attention_ends_a_restore_and_the_session_goes_on),
		cmocka_unit_test(an_attention_that_is_ignored_is_never_acknowledged),
		cmocka_unit_test(a_line_is_cut_or_goes_silent_at_a_percentage),
		cmocka_unit_test(read_only_clients_are_sent_on),
		cmocka_unit_test(a_log_in_is_delayed),
		cmocka_unit_test(knobs_are_a_file_that_is_read_again),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, begin, end);
}
